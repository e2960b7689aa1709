//! What a change would do to single devices.

use std::collections::BTreeSet;

use eim::{Device, DeviceError, DeviceState, Eim};
use intent::action::OperationKind;
use intent::{Command, Fleet};
use rsp::ids::Eid;
use serde::Serialize;
use utoipa::ToSchema;

use super::card::{Card, ProfileView, reason};
use super::{
    Change, Devices, EFFECTS_MAX, Looked, Outlook, PlanError, Reason, Tally, Which, found,
};

/// What would happen to one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Effect {
    /// The device.
    #[schema(example = "89049032123451234512345678901235")]
    pub eid: String,
    /// The operator's name for it.
    pub label: String,
    /// Its fleet, or for a registration the one it would be in.
    pub fleet: String,
    /// In one word.
    pub verdict: Verdict,
    /// Its profiles now, as its eUICC last listed them.
    pub now: Vec<ProfileView>,
    /// Its profiles afterwards. A profile that would be downloaded is not among them: nothing is known of it yet.
    pub after: Vec<ProfileView>,
    /// What changes, one line each.
    pub changes: Vec<String>,
    /// Why nothing would come of it, or of a part of it.
    pub refusals: Vec<Reason>,
    /// Why it would have to wait.
    pub holds: Vec<Reason>,
    /// What could go wrong.
    pub warnings: Vec<Reason>,
}

/// What would happen to a device, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It would be refused.
    Refused,
    /// It cannot be told.
    Unknown,
    /// Something changes.
    Changes,
    /// Something is only read.
    Reads,
    /// It is so already.
    Unchanged,
}

/// Looks at every device of a change.
pub(crate) fn look(eim: &Eim, outlook: &Outlook, change: &Change) -> Result<Looked, PlanError> {
    let everything;
    let (devices, fleet) = match change {
        Change::Operate { devices, .. }
        | Change::Retire { devices }
        | Change::Reassociate { devices } => (devices, None),
        Change::Register {
            fleet,
            eids,
            only_effective,
        } => {
            everything = Devices {
                which: Which::Eids(eids.clone()),
                only_effective: *only_effective,
            };
            (&everything, Some(fleet))
        }
        Change::Other(_) => return Ok(Looked::default()),
    };
    let eids = match &devices.which {
        Which::Eids(eids) => {
            let each: BTreeSet<Eid> = eids.iter().copied().collect();
            each.into_iter().collect()
        }
        Which::Found(query) => found(eim, &outlook.visible, query)?,
    };
    if eids.len() > super::DEVICES_MAX {
        return Err(PlanError::TooMany {
            limit: super::DEVICES_MAX,
        });
    }
    let mut looked = Looked::default();
    for eid in eids {
        let device = match eim.visible_device(&outlook.visible, eid) {
            Ok(device) => Some(device),
            Err(DeviceError::Storage(error)) => return Err(error.into()),
            Err(_) => None,
        };
        let (effect, fatal) = match (change, fleet) {
            (Change::Operate { commands, .. }, _) => operate(eim, outlook, eid, device, commands)?,
            (_, Some(fleet)) => register(eid, device, fleet),
            (Change::Retire { .. }, _) => retire(eim, eid, device)?,
            _ => reassociate(eid, device),
        };
        looked.take(eid, effect, fatal, devices.only_effective);
    }
    looked
        .effects
        .sort_by_key(|effect| (effect.verdict, effect.warnings.is_empty()));
    looked.effects.truncate(EFFECTS_MAX);
    Ok(looked)
}

impl Looked {
    fn take(&mut self, eid: Eid, effect: Effect, fatal: Option<Reason>, only_effective: bool) {
        let is_idle = matches!(effect.verdict, Verdict::Refused | Verdict::Unchanged);
        if only_effective && is_idle {
            for reason in &effect.refusals {
                self.left_out.add(reason);
            }
            return;
        }
        self.eids.push(eid);
        if let Ok(fleet) = effect.fleet.parse() {
            self.fleets.insert(fleet);
        }
        self.fatal = self.fatal.take().or(fatal);
        let Tally {
            changes,
            unchanged,
            reads,
            refused,
            unknown,
        } = &mut self.tally;
        *match effect.verdict {
            Verdict::Changes => changes,
            Verdict::Unchanged => unchanged,
            Verdict::Reads => reads,
            Verdict::Refused => refused,
            Verdict::Unknown => unknown,
        } += 1;
        effect
            .refusals
            .iter()
            .for_each(|one| self.refusals.add(one));
        effect.holds.iter().for_each(|one| self.holds.add(one));
        effect
            .warnings
            .iter()
            .for_each(|one| self.warnings.add(one));
        // Those with something to read are kept, whichever come first.
        let place = match effect.verdict {
            Verdict::Refused | Verdict::Unknown => 2 * EFFECTS_MAX,
            _ => EFFECTS_MAX,
        };
        if self.effects.len() < place {
            self.effects.push(effect);
        }
    }
}

fn operate(
    eim: &Eim,
    outlook: &Outlook,
    eid: Eid,
    device: Option<Device>,
    commands: &[Command],
) -> Result<(Effect, Option<Reason>), PlanError> {
    let device = match managed(eid, device) {
        Ok(device) => device,
        Err(refused) => {
            let (effect, reason) = *refused;
            return Ok((effect, Some(reason)));
        }
    };
    let profiles = eim.profiles(eid)?;
    let eims = eim.associated_eims(eid)?;
    let mut card = Card::new(&device, &profiles, &eims, eim.eim_id().as_str());
    let now = card.profiles();
    card.run(commands);
    let after = card.profiles();
    let trial = card.trial;
    let verdict = match &trial {
        trial if !trial.refusals.is_empty() => Verdict::Refused,
        trial if !trial.unknown.is_empty() => Verdict::Unknown,
        trial if !trial.changes.is_empty() => Verdict::Changes,
        trial if trial.reads > 0 => Verdict::Reads,
        _ => Verdict::Unchanged,
    };
    let refusals = [trial.refusals, trial.already, trial.unknown].concat();
    let mut effect = Effect {
        eid: eid.to_string(),
        label: device.label.clone(),
        fleet: device.fleet.clone(),
        verdict,
        now,
        after,
        changes: trial.changes,
        refusals,
        holds: Vec::new(),
        warnings: trial.warnings,
    };
    if let Ok(fleet) = device.fleet.parse::<Fleet>() {
        effect.holds = outlook.holds(&device, &fleet, commands);
        let forbidden = outlook.profile_forbidden(&fleet, commands, &profiles);
        if !forbidden.is_empty() {
            effect.verdict = Verdict::Refused;
            effect.refusals.extend(forbidden);
        }
    }
    Ok((effect, None))
}

fn register(eid: Eid, device: Option<Device>, fleet: &Fleet) -> (Effect, Option<Reason>) {
    let mut effect = empty(eid, fleet.as_str());
    match device.filter(|device| device.state != DeviceState::Retired) {
        Some(device) => {
            let taken = Reason {
                code: "registered-already",
                text: format!(
                    "it is registered already, in the fleet {}: retire it first",
                    device.fleet
                ),
            };
            effect.label = device.label;
            effect.verdict = Verdict::Refused;
            effect.refusals.push(taken.clone());
            (effect, Some(taken))
        }
        None => {
            effect
                .changes
                .push(format!("it comes under management, in the fleet {fleet}"));
            (effect, None)
        }
    }
}

fn retire(
    eim: &Eim,
    eid: Eid,
    device: Option<Device>,
) -> Result<(Effect, Option<Reason>), PlanError> {
    let device = match managed(eid, device) {
        Ok(device) => device,
        Err(refused) => {
            let (effect, reason) = *refused;
            return Ok((effect, Some(reason)));
        }
    };
    let mut effect = about(&device);
    effect
        .changes
        .push("nothing is signed for it any more; its record stays".to_owned());
    let eims = eim.associated_eims(eid)?;
    if eims.is_empty() || eims.iter().any(|one| one.eim_id == eim.eim_id().as_str()) {
        effect.warnings.push(reason(
            "still-associated",
            "its eUICC goes on trusting this eIM: to take it out of this eIM's hands, delete the eIM on it first",
        ));
    }
    Ok((effect, None))
}

fn reassociate(eid: Eid, device: Option<Device>) -> (Effect, Option<Reason>) {
    let device = match managed(eid, device) {
        Ok(device) => device,
        Err(refused) => {
            let (effect, reason) = *refused;
            return (effect, Some(reason));
        }
    };
    let mut effect = about(&device);
    effect
        .changes
        .push("it is asked anew for its certificates and its association token".to_owned());
    if device.state == DeviceState::Associated {
        effect.warnings.push(reason(
            "association-is-good",
            "it is associated; do this only if its eUICC lost or replaced its association, a memory reset for example",
        ));
    }
    (effect, None)
}

/// A device that something can be signed for.
fn managed(eid: Eid, device: Option<Device>) -> Result<Device, Box<(Effect, Reason)>> {
    let (label, why) = match device {
        Some(device) if device.state != DeviceState::Retired => return Ok(device),
        Some(device) => (
            device.label,
            reason("retired", "it is retired: register it again first"),
        ),
        None => (
            String::new(),
            reason("not-registered", "it is not registered: register it first"),
        ),
    };
    let effect = Effect {
        label,
        verdict: Verdict::Refused,
        refusals: vec![why.clone()],
        ..empty(eid, "")
    };
    Err(Box::new((effect, why)))
}

fn about(device: &Device) -> Effect {
    Effect {
        label: device.label.clone(),
        ..empty(device.eid, &device.fleet)
    }
}

fn empty(eid: Eid, fleet: &str) -> Effect {
    Effect {
        eid: eid.to_string(),
        label: String::new(),
        fleet: fleet.to_owned(),
        verdict: Verdict::Changes,
        now: Vec::new(),
        after: Vec::new(),
        changes: Vec::new(),
        refusals: Vec::new(),
        holds: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A kind as it is written.
pub(crate) fn word(kind: OperationKind) -> String {
    let value = serde_json::to_value(kind).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
