//! What policy, freezes and roles say beforehand, and the plan put together.

use std::collections::BTreeMap;

use eim::{Association, Device, Profile};
use intent::action::{FreezeScope, OperationKind};
use intent::api::IntentStatus;
use intent::device_set::CHANGED_MAX;
use intent::{Action, Command, Draft, Fleet, FleetScope, Grant};

use super::card::reason;
use super::effect::word;
use super::{Counted, Looked, Outlook, Plan, PlanError, Reason, described};
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Reasons with the number of devices that share them.
#[derive(Default)]
pub(crate) struct Counter(BTreeMap<&'static str, (String, u64)>);

impl Counter {
    pub(crate) fn add(&mut self, reason: &Reason) {
        let first = || (reason.text.clone(), 0);
        self.0.entry(reason.code).or_insert_with(first).1 += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of most devices first.
    fn listed(self) -> Vec<Counted> {
        let each = self.0.into_iter();
        let mut listed: Vec<Counted> = each
            .map(|(code, (text, devices))| Counted {
                code,
                text,
                devices,
            })
            .collect();
        listed.sort_by_key(|one| std::cmp::Reverse(one.devices));
        listed
    }
}

/// What something that is not about devices reaches.
pub(crate) struct Reach {
    scope: FleetScope,
    devices: u64,
    changes: Vec<String>,
    warnings: Vec<Reason>,
}

impl Console {
    /// What an action that is not about devices reaches, as far as the reader may know.
    pub(super) async fn reach_of_other(
        &self,
        reader: &Reader,
        action: &Action,
    ) -> Result<Reach, PlanError> {
        let mut reach = Reach {
            scope: FleetScope::All,
            devices: 0,
            changes: Vec::new(),
            warnings: Vec::new(),
        };
        let of_grants = |grants: &[Grant]| {
            let mut fleets = std::collections::BTreeSet::new();
            for grant in grants {
                match &grant.fleets {
                    FleetScope::All => return FleetScope::All,
                    FleetScope::Only(these) => fleets.extend(these.iter().cloned()),
                }
            }
            match fleets.is_empty() {
                true => FleetScope::All,
                false => FleetScope::Only(fleets),
            }
        };
        match action {
            Action::Cancel { intent } => {
                let status: IntentStatus = self.authority.intent(*intent).await?;
                if !self.sees_intent(reader, &status)? {
                    return Err(PlanError::Other(crate::site::no_such_intent(*intent)));
                }
                let left = status.devices.saturating_sub(status.done);
                reach.changes.push(format!(
                    "{left} of {} devices are not signed for any more",
                    status.devices
                ));
                if status.done > 0 {
                    reach.warnings.push(Reason {
                        code: "signed-already",
                        text: format!(
                            "{} devices were signed for: what they have cannot be taken back",
                            status.done
                        ),
                    });
                }
            }
            Action::SetPolicy { policy } => {
                if reader.may_audit() {
                    let current: intent::PolicyDocument = self.authority.get("/v1/policy").await?;
                    let differences = current.diff(policy);
                    reach
                        .changes
                        .extend(differences.iter().map(ToString::to_string));
                }
                if policy.insecure_software_passkeys {
                    reach.warnings.push(reason(
                        "software-passkeys",
                        "passkeys that are files are accepted: whoever copies such a file and learns its passphrase is that person",
                    ));
                }
                if policy.approvals.iter().all(|rule| rule.approvers == 0) {
                    reach.warnings.push(reason(
                        "no-approvals",
                        "nothing needs an approval any more: one person or machine alone can change every SIM",
                    ));
                }
            }
            Action::Freeze { scope } => {
                if let FreezeScope::Fleet(fleet) = scope {
                    reach.scope = FleetScope::Only([fleet.clone()].into());
                }
                reach.warnings.push(reason(
                    "freeze-at-once",
                    "it takes effect on the next signature; ending it takes two people",
                ));
            }
            Action::Thaw {
                scope: FreezeScope::Fleet(fleet),
            } => reach.scope = FleetScope::Only([fleet.clone()].into()),
            Action::InvitePerson { grants, .. }
            | Action::AdmitMachine { grants, .. }
            | Action::IssueReadToken { grants, .. } => reach.scope = of_grants(grants),
            Action::SetGrants { name, grants } => {
                reach.scope = of_grants(grants);
                if reader.may_audit() || reader.principal() == Some(name) {
                    let info = self.authority.principal(name).await?;
                    reach.changes.push(format!(
                        "{name} was {} and becomes {}",
                        super::words::grants(&info.grants),
                        super::words::grants(grants)
                    ));
                    reach.scope = of_grants(&[info.grants, grants.clone()].concat());
                }
            }
            Action::RevokePrincipal { .. } | Action::RevokeCredential { .. } => {
                reach.warnings.push(reason(
                    "revoked-for-good",
                    "it takes effect on the very next call, and a revoked credential is never valid again",
                ));
            }
            _ => {}
        }
        Ok(reach)
    }
}

impl Outlook {
    /// Why a device would have to wait.
    pub(super) fn holds(
        &self,
        device: &Device,
        fleet: &Fleet,
        commands: &[Command],
    ) -> Vec<Reason> {
        let mut holds = Vec::new();
        if self.is_frozen(fleet) {
            holds.push(reason(
                "frozen",
                "signing is stopped here; nothing is handed over until two people thaw it",
            ));
        }
        match device.association {
            Association::Accepted => {}
            Association::Refused => holds.push(Reason {
                code: "association-refused",
                text: format!(
                    "the authority did not accept what its eUICC showed ({}): check its certificates, or have it associated anew",
                    device.association_refusal.as_deref().unwrap_or("no reason is known")
                ),
            }),
            Association::Unknown | Association::Due => holds.push(reason(
                "not-associated",
                "its eUICC has not shown its certificates yet; it is asked for them when it polls",
            )),
        }
        let closed = commands
            .iter()
            .map(Command::kind)
            .find(|kind| !self.policy.is_open(*kind, fleet, self.now));
        if let Some(kind) = closed {
            holds.push(Reason {
                code: "outside-window",
                text: format!(
                    "policy does not let {} happen in the fleet {fleet} at this time; it waits for the window",
                    word(kind)
                ),
            });
        }
        holds
    }

    /// What policy says of the profiles that commands name, by what the eUICC listed.
    pub(super) fn profile_forbidden(
        &self,
        fleet: &Fleet,
        commands: &[Command],
        profiles: &[Profile],
    ) -> Vec<Reason> {
        if self.policy.profiles.test_class_fleets.contains(fleet) {
            return Vec::new();
        }
        let named = commands.iter().filter_map(|command| match command {
            Command::Enable { iccid, .. } | Command::SetFallback { iccid } => Some(iccid),
            _ => None,
        });
        let listed = named.filter_map(|iccid| profiles.iter().find(|one| one.iccid == *iccid));
        let tests = listed.filter(|profile| profile.class == "test");
        tests
            .map(|profile| Reason {
                code: "policy-refused",
                text: format!(
                    "{} is a profile of the class test, which policy does not allow in the fleet {fleet}",
                    profile.iccid
                ),
            })
            .collect()
    }

    /// The plan for devices.
    pub(super) fn of_devices(&self, draft: &Draft, looked: Looked) -> Plan {
        let scope = FleetScope::Only(looked.fleets.clone());
        let count = looked.eids.len() as u64;
        let mut plan = self.begin(draft, &scope, count);
        plan.fleets = looked.fleets.iter().map(ToString::to_string).collect();
        plan.tally = looked.tally;
        plan.effects_left_out = count.saturating_sub(looked.effects.len() as u64);
        plan.effects = looked.effects;
        plan.left_out = looked.left_out.listed();
        plan.refusals = looked.refusals.listed();
        plan.holds = looked.holds.listed();
        plan.warnings.extend(looked.warnings.listed());
        // One device for which it cannot be has the authority refuse all of it.
        plan.blocked_by.extend(looked.fatal.map(|fatal| Reason {
            text: format!(
                "{} (the authority refuses the whole intent then)",
                fatal.text
            ),
            ..fatal
        }));
        plan
    }

    /// The plan for something else.
    pub(super) fn of_other(&self, draft: &Draft, reach: Reach) -> Plan {
        let mut plan = self.begin(draft, &reach.scope, reach.devices);
        plan.changes = reach.changes;
        plan.warnings
            .extend(reach.warnings.into_iter().map(|warning| Counted {
                code: warning.code,
                text: warning.text,
                devices: 0,
            }));
        plan
    }

    fn begin(&self, draft: &Draft, scope: &FleetScope, devices: u64) -> Plan {
        let action = &draft.intent.action;
        let approvers = self.policy.approvers_of(action, scope, devices);
        Plan {
            id: draft.id,
            intent: draft.text.clone(),
            devices: draft.devices_text(),
            openings: draft.openings.clone(),
            summary: described(action),
            expires_at: draft.intent.expires_at,
            count: devices,
            fleets: Vec::new(),
            approvers,
            blocked_by: self.blocked_by(action, scope, devices),
            tally: super::Tally::default(),
            changes: Vec::new(),
            effects: Vec::new(),
            effects_left_out: 0,
            left_out: Vec::new(),
            refusals: Vec::new(),
            holds: Vec::new(),
            warnings: many(devices, approvers),
        }
    }

    /// What the authority would say no to, whatever the devices are.
    fn blocked_by(&self, action: &Action, scope: &FleetScope, devices: u64) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let quota = self.policy.quotas.devices_per_intent;
        let is_registry = action.devices().is_some() && !matches!(action, Action::Operate { .. });
        let allowed = match is_registry {
            true => Some(quota.unwrap_or(u64::MAX).min(CHANGED_MAX as u64)),
            false => quota,
        };
        if let Some(allowed) = allowed.filter(|allowed| devices > *allowed) {
            reasons.push(Reason {
                code: "quota-exceeded",
                text: format!("one intent may be about {allowed} devices, this one is about {devices}: make several of them"),
            });
        }
        if let Action::Operate { commands, .. } = action
            && let Err(forbidden) = self.policy.check_commands(commands)
        {
            reasons.push(Reason {
                code: "policy-refused",
                text: forbidden.to_string(),
            });
        }
        if let Via::Session { principal, .. } = &self.reader.via {
            let own = FreezeScope::Principal(principal.clone());
            if self.freezes.contains(&own) {
                reasons.push(reason(
                    "frozen",
                    "you are frozen: two other people can end it",
                ));
            }
            // What is one's own can be changed and withdrawn without a role.
            let is_own = matches!(
                action,
                Action::Cancel { .. } | Action::RevokeCredential { .. } | Action::RotateKey { .. }
            ) || matches!(action, Action::RevokePrincipal { name } if name == principal);
            if !is_own {
                reasons.extend(self.role_refused(action, scope));
            }
        }
        reasons
    }

    fn role_refused(&self, action: &Action, scope: &FleetScope) -> Option<Reason> {
        let may = |kind: OperationKind, place: &FleetScope| {
            let grants = self.reader.grants.iter();
            let mut holding = grants.filter(|grant| grant.role.may_propose(kind));
            match place {
                FleetScope::All => holding.any(|grant| grant.fleets == FleetScope::All),
                FleetScope::Only(fleets) => fleets.iter().all(|fleet| {
                    let mut grants = self.reader.grants.iter();
                    grants.any(|grant| grant.role.may_propose(kind) && grant.fleets.covers(fleet))
                }),
            }
        };
        let somewhere = |kind: OperationKind| {
            self.reader
                .grants
                .iter()
                .any(|one| one.role.may_propose(kind))
        };
        let kinds = action.kinds();
        if let Some(kind) = kinds.iter().find(|kind| !somewhere(**kind)) {
            return Some(Reason {
                code: "role-refused",
                text: format!(
                    "your roles do not propose {}: have it asked for by somebody whose role does",
                    word(*kind)
                ),
            });
        }
        let kind = kinds.iter().find(|kind| !may(**kind, scope))?;
        Some(Reason {
            code: "out-of-scope",
            text: format!(
                "a part of this is outside of the fleets in which you hold a role for {}",
                word(*kind)
            ),
        })
    }

    fn is_frozen(&self, fleet: &Fleet) -> bool {
        self.freezes.iter().any(|scope| match scope {
            FreezeScope::Everything => true,
            FreezeScope::Fleet(frozen) => frozen == fleet,
            FreezeScope::Principal(name) => self.reader.principal() == Some(name),
            FreezeScope::Credential(_) => false,
        })
    }
}

fn many(devices: u64, approvers: u8) -> Vec<Counted> {
    const MANY: u64 = 100;
    if devices <= MANY || approvers > 0 {
        return Vec::new();
    }
    vec![Counted {
        code: "many-at-once",
        text: format!(
            "it is about {devices} devices and nobody else has to agree: try it on a few first"
        ),
        devices,
    }]
}
