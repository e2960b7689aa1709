//! What a list of commands does to an eUICC, as far as what it signed before tells.
//!
//! The rules are those of the eUICC (SGP.32 v1.2 sections 3.3 and 5.9, SGP.22 v2.5 section 2.9 for Profile Policy Rules). It checks
//! them itself; here they are applied to tell people beforehand.

use eim::{AssociatedEim, Device, Profile};
use intent::Command;
use intent::command::{DownloadSource, Route};
use rsp::ids::Iccid;
use serde::Serialize;
use utoipa::ToSchema;

use super::Reason;

/// A profile, as a plan shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProfileView {
    /// ICCID.
    #[schema(example = "89000123456789012341")]
    pub iccid: String,
    /// The profile's name.
    pub name: String,
    /// Its service provider's name.
    pub provider: String,
    /// `operational`, `provisioning` or `test`.
    pub class: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it is the fallback profile.
    pub fallback: bool,
}

/// An eUICC that commands are tried on.
pub(crate) struct Card {
    profiles: Vec<(ProfileView, Rules)>,
    default_smdp: Option<String>,
    eims: Vec<String>,
    own_eim: String,
    enabled_at_start: Option<String>,
    /// Whether the eUICC has ever said what it holds.
    is_listed: bool,
    pub(crate) trial: Trial,
}

/// What came of the trial.
#[derive(Default)]
pub(crate) struct Trial {
    /// One line for each thing that changes.
    pub(crate) changes: Vec<String>,
    /// Why a command would be refused by the eUICC.
    pub(crate) refusals: Vec<Reason>,
    /// What is so already.
    pub(crate) already: Vec<Reason>,
    /// What cannot be told.
    pub(crate) unknown: Vec<Reason>,
    /// What could go wrong.
    pub(crate) warnings: Vec<Reason>,
    /// Commands that only read.
    pub(crate) reads: usize,
}

#[derive(Clone, Copy)]
struct Rules {
    /// PPR1.
    keeps_enabled: bool,
    /// PPR2.
    keeps_installed: bool,
    may_fall_back: bool,
}

impl Card {
    pub(crate) fn new(
        device: &Device,
        profiles: &[Profile],
        eims: &[AssociatedEim],
        own_eim: &str,
    ) -> Self {
        let profiles: Vec<(ProfileView, Rules)> = profiles.iter().map(seen).collect();
        Self {
            enabled_at_start: enabled(&profiles).map(|profile| profile.iccid.clone()),
            is_listed: !profiles.is_empty(),
            profiles,
            default_smdp: device.default_smdp.clone(),
            eims: eims.iter().map(|eim| eim.eim_id.clone()).collect(),
            own_eim: own_eim.to_owned(),
            trial: Trial::default(),
        }
    }

    /// The profiles as they are now.
    pub(crate) fn profiles(&self) -> Vec<ProfileView> {
        self.profiles.iter().map(|(view, _)| view.clone()).collect()
    }

    /// Tries commands one after the other.
    pub(crate) fn run(&mut self, commands: &[Command]) {
        for command in commands {
            self.step(command);
        }
        let is_cut_off = self.enabled_at_start.is_some() && enabled(&self.profiles).is_none();
        if is_cut_off {
            let has_fallback = self.profiles.iter().any(|(view, _)| view.fallback);
            self.trial.warnings.push(match has_fallback {
                true => reason(
                    "only-fallback-left",
                    "no profile stays enabled; the device has to reach its fallback profile to be heard of again",
                ),
                false => reason(
                    "no-profile-enabled",
                    "no profile stays enabled and there is no fallback profile: through this eUICC the device has no connectivity any more, and cannot be told to enable another profile unless it reaches the eIM in another way",
                ),
            });
        }
    }

    fn step(&mut self, command: &Command) {
        match command {
            Command::Enable { iccid, rollback } => self.enable(iccid, *rollback),
            Command::Disable { iccid } => self.disable(iccid),
            Command::Delete { iccid } => self.delete(iccid),
            Command::SetFallback { iccid } => self.set_fallback(iccid),
            Command::UnsetFallback => self.unset_fallback(),
            Command::SetDefaultSmdp { address } => self.set_default_smdp(address),
            Command::ConfigureImmediateEnable { enabled, .. } => {
                self.trial.changes.push(match enabled {
                    true => "enabling right after a download becomes allowed".to_owned(),
                    false => "enabling right after a download becomes forbidden".to_owned(),
                });
            }
            Command::AddEim { configuration } => {
                let name = configuration.eim_id.as_str();
                self.trial
                    .changes
                    .push(format!("the eIM {name} is associated"));
                self.warn(
                    "further-eim",
                    format!("{name} can then manage this eUICC by itself: enable, disable and delete profiles, and remove this eIM"),
                );
            }
            Command::UpdateEim { configuration } => {
                let name = configuration.eim_id.as_str();
                self.trial.changes.push(format!(
                    "what the eUICC knows of the eIM {name} is replaced"
                ));
                if name == self.own_eim {
                    self.warn(
                        "own-eim",
                        "this replaces what the eUICC knows of this very eIM; with a wrong key or counter it is never obeyed again".to_owned(),
                    );
                }
            }
            Command::DeleteEim { eim_id } => self.delete_eim(eim_id.as_str()),
            Command::AdoptEimKey { .. } => {
                self.trial
                    .changes
                    .push("the eUICC takes another key of this eIM".to_owned());
            }
            Command::Download {
                source,
                route,
                confirmation_code,
            } => {
                let from = match source {
                    DownloadSource::ActivationCode { smdp, .. } => format!("the SM-DP+ {smdp}"),
                    DownloadSource::DefaultSmdp => match &self.default_smdp {
                        Some(address) if !address.is_empty() => {
                            format!("its default SM-DP+ {address}")
                        }
                        _ => "its default SM-DP+".to_owned(),
                    },
                    DownloadSource::Smds(Some(address)) => {
                        format!("whichever SM-DP+ the SM-DS {address} names")
                    }
                    DownloadSource::Smds(None) => {
                        "whichever SM-DP+ the root SM-DS names".to_owned()
                    }
                };
                self.trial
                    .changes
                    .push(format!("a profile from {from} is installed, disabled"));
                if *route == Route::Direct && self.enabled_at_start.is_none() {
                    self.warn(
                        "no-connectivity-known",
                        "no profile is known to be enabled; the device has to reach the SM-DP+ by other means".to_owned(),
                    );
                }
                if confirmation_code.is_none()
                    && matches!(source, DownloadSource::ActivationCode { .. })
                {
                    self.trial.warnings.push(reason(
                        "code-used-up",
                        "an activation code is usually good for one download: if it fails half-way, the SM-DP+ may ask for another one",
                    ));
                }
            }
            Command::ListProfiles
            | Command::GetRat
            | Command::ListEims
            | Command::ReadDeviceData { .. } => self.trial.reads += 1,
        }
    }

    fn enable(&mut self, iccid: &Iccid, rollback: bool) {
        let Some(place) = self.place(iccid) else {
            return;
        };
        let current = enabled(&self.profiles).cloned();
        if current
            .as_ref()
            .is_some_and(|one| one.iccid == iccid.to_string())
        {
            return self.already(format!("{iccid} is enabled already"));
        }
        let keeps = self
            .profiles
            .iter()
            .any(|(view, rules)| view.enabled && rules.keeps_enabled);
        if let Some(current) = current.as_ref().filter(|_| keeps) {
            return self.refuse(
                "profile-protected",
                format!(
                    "{} is enabled and has PPR1: its owner does not let it be disabled",
                    current.iccid
                ),
            );
        }
        let way_back = self
            .enabled_at_start
            .as_ref()
            .is_some_and(|at_start| *at_start != iccid.to_string());
        match (rollback, way_back) {
            (true, false) => {
                return self.refuse(
                    "no-way-back",
                    "no profile is enabled that the device could return to: ask without rollback".to_owned(),
                );
            }
            (false, true) => self.warn(
                "no-rollback",
                "no rollback is armed: if the new profile has no connectivity, the device stays cut off".to_owned(),
            ),
            _ => {}
        }
        for (view, _) in &mut self.profiles {
            view.enabled = false;
        }
        if let Some(current) = &current {
            self.trial
                .changes
                .push(format!("{} is disabled", shown(current)));
        }
        if let Some((view, _)) = self.profiles.get_mut(place) {
            view.enabled = true;
            let line = format!("{} is enabled", shown(view));
            self.trial.changes.push(line);
        }
    }

    fn disable(&mut self, iccid: &Iccid) {
        let Some(place) = self.place(iccid) else {
            return;
        };
        let Some((view, rules)) = self.profiles.get_mut(place) else {
            return;
        };
        if !view.enabled {
            return self.already(format!("{iccid} is disabled already"));
        }
        if rules.keeps_enabled {
            return self.refuse(
                "profile-protected",
                format!("{iccid} has PPR1: its owner does not let it be disabled"),
            );
        }
        view.enabled = false;
        let line = format!("{} is disabled", shown(view));
        self.trial.changes.push(line);
    }

    fn delete(&mut self, iccid: &Iccid) {
        let Some(place) = self.place(iccid) else {
            return;
        };
        let Some((view, rules)) = self.profiles.get(place).cloned() else {
            return;
        };
        if view.enabled {
            return self.refuse(
                "profile-enabled",
                format!("{iccid} is enabled; disable it first, or enable another one"),
            );
        }
        if rules.keeps_installed {
            return self.refuse(
                "profile-protected",
                format!("{iccid} has PPR2: its owner does not let it be deleted"),
            );
        }
        self.profiles.remove(place);
        self.trial
            .changes
            .push(format!("{} is deleted", shown(&view)));
        self.warn(
            "delete-is-final",
            "a deleted profile is gone for good: having it back takes a new download, and mostly a new order with its owner".to_owned(),
        );
        if view.fallback {
            self.warn(
                "fallback-deleted",
                format!("{iccid} is the fallback profile: there is none afterwards"),
            );
        }
    }

    fn set_fallback(&mut self, iccid: &Iccid) {
        let Some(place) = self.place(iccid) else {
            return;
        };
        match self.profiles.get(place) {
            Some((view, _)) if view.fallback => {
                return self.already(format!("{iccid} is the fallback profile already"));
            }
            Some((_, rules)) if !rules.may_fall_back => {
                return self.refuse(
                    "fallback-not-allowed",
                    format!("{iccid} may not be the fallback profile: its owner did not allow it"),
                );
            }
            _ => {}
        }
        for (view, _) in &mut self.profiles {
            view.fallback = view.iccid == iccid.to_string();
        }
        self.trial
            .changes
            .push(format!("{iccid} becomes the fallback profile"));
    }

    fn unset_fallback(&mut self) {
        let had = self.profiles.iter().any(|(view, _)| view.fallback);
        if !had && self.is_listed {
            return self.already("there is no fallback profile".to_owned());
        }
        for (view, _) in &mut self.profiles {
            view.fallback = false;
        }
        self.trial
            .changes
            .push("there is no fallback profile any more".to_owned());
        self.warn(
            "no-fallback",
            "without a fallback profile a device whose profile loses its network stays cut off"
                .to_owned(),
        );
    }

    fn set_default_smdp(&mut self, address: &str) {
        let current = self.default_smdp.as_deref();
        if current == Some(address) {
            return self.already(match address {
                "" => "there is no default SM-DP+".to_owned(),
                address => format!("the default SM-DP+ is {address} already"),
            });
        }
        let from = current
            .filter(|text| !text.is_empty())
            .unwrap_or("unknown or none");
        let to = if address.is_empty() { "none" } else { address };
        self.trial
            .changes
            .push(format!("the default SM-DP+ becomes {to} (now: {from})"));
        self.default_smdp = Some(address.to_owned());
    }

    fn delete_eim(&mut self, name: &str) {
        if !self.eims.is_empty() && !self.eims.iter().any(|eim| eim == name) {
            return self.refuse(
                "eim-unknown",
                format!("the eUICC has not listed an eIM {name}: have them listed with list-eims"),
            );
        }
        self.eims.retain(|eim| eim != name);
        self.trial
            .changes
            .push(format!("the eIM {name} is removed"));
        if name == self.own_eim {
            self.warn(
                "own-eim",
                "this is this very eIM: the eUICC obeys it never again until it is associated anew"
                    .to_owned(),
            );
        }
        if self.eims.is_empty() {
            self.warn(
                "last-eim",
                "if this is the last eIM, whoever reaches the device's IPA can associate another one".to_owned(),
            );
        }
    }

    /// Where a profile stands among those that the eUICC listed.
    fn place(&mut self, iccid: &Iccid) -> Option<usize> {
        let text = iccid.to_string();
        let place = self
            .profiles
            .iter()
            .position(|(view, _)| view.iccid == text);
        if place.is_none() {
            match self.is_listed {
                true => self.refuse(
                    "profile-unknown",
                    format!("the eUICC has not listed a profile {iccid}: download it first, or have the profiles listed anew"),
                ),
                false => self.trial.unknown.push(reason(
                    "not-listed",
                    "the eUICC has not said which profiles it holds: have them listed first",
                )),
            }
        }
        place
    }

    fn refuse(&mut self, code: &'static str, text: String) {
        self.trial.refusals.push(Reason { code, text });
    }

    fn already(&mut self, text: String) {
        self.trial.already.push(Reason {
            code: "already-so",
            text,
        });
    }

    fn warn(&mut self, code: &'static str, text: String) {
        self.trial.warnings.push(Reason { code, text });
    }
}

pub(crate) fn reason(code: &'static str, text: &str) -> Reason {
    Reason {
        code,
        text: text.to_owned(),
    }
}

fn seen(profile: &Profile) -> (ProfileView, Rules) {
    let has = |rule: &str| profile.policy_rules.split(' ').any(|one| one == rule);
    let view = ProfileView {
        iccid: profile.iccid.to_string(),
        name: profile
            .nickname
            .clone()
            .unwrap_or_else(|| profile.name.clone()),
        provider: profile.provider.clone(),
        class: profile.class.clone(),
        enabled: profile.enabled,
        fallback: profile.fallback_attribute,
    };
    let rules = Rules {
        keeps_enabled: has("PPR1"),
        keeps_installed: has("PPR2"),
        may_fall_back: profile.fallback_allowed,
    };
    (view, rules)
}

fn enabled(profiles: &[(ProfileView, Rules)]) -> Option<&ProfileView> {
    let mut views = profiles.iter().map(|(view, _)| view);
    views.find(|view| view.enabled)
}

/// `89000123456789012341 (Acme)`
fn shown(view: &ProfileView) -> String {
    match view.provider.as_str() {
        "" => view.iccid.clone(),
        provider => format!("{} ({provider})", view.iccid),
    }
}

#[cfg(test)]
mod tests {
    use eim::{Association, DeviceState};
    use rsp::ids::Eid;

    use super::*;

    const ONE: &str = "89000123456789012341";
    const TWO: &str = "89000123456789012358";

    fn profile(iccid: &str, enabled: bool, rules: &str) -> Profile {
        Profile {
            iccid: iccid.parse().unwrap(),
            enabled,
            class: "operational".to_owned(),
            name: "a profile".to_owned(),
            provider: "Acme".to_owned(),
            nickname: None,
            isdp_aid: None,
            fallback_attribute: false,
            fallback_allowed: false,
            ecall: false,
            policy_rules: rules.to_owned(),
            updated_at: 0,
        }
    }

    fn device() -> Device {
        Device {
            eid: Eid::with_check_digits("890490320000000000000000000001").unwrap(),
            label: String::new(),
            state: DeviceState::Associated,
            fleet: "meters".to_owned(),
            association: Association::Accepted,
            association_refusal: None,
            association_due_at: None,
            counter: 0,
            association_token: None,
            token_is_registered: false,
            proof_asked_at: None,
            last_seq_number: -1,
            euicc_certificate: None,
            eum_certificate: None,
            euicc_info1: None,
            euicc_info2: None,
            ipa_capabilities: None,
            default_smdp: None,
            registered_at: 0,
        }
    }

    fn tried(profiles: &[Profile], commands: serde_json::Value) -> (Vec<bool>, Trial) {
        let mut card = Card::new(&device(), profiles, &[], "eim.example.com");
        card.run(&serde_json::from_value::<Vec<Command>>(commands).unwrap());
        let after = card.profiles().iter().map(|view| view.enabled).collect();
        (after, card.trial)
    }

    fn codes(reasons: &[Reason]) -> Vec<&'static str> {
        reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn a_switch_names_both_profiles_and_what_is_missing() {
        let card = [profile(ONE, true, ""), profile(TWO, false, "")];
        let enable = |rollback| serde_json::json!([{ "command": "enable", "iccid": TWO, "rollback": rollback }]);
        let (after, trial) = tried(&card, enable(true));
        assert_eq!(after, [false, true]);
        assert_eq!(trial.changes.len(), 2);
        assert!(trial.warnings.is_empty() && trial.refusals.is_empty());
        let (_, trial) = tried(&card, enable(false));
        assert_eq!(codes(&trial.warnings), ["no-rollback"]);
        // Nothing to return to.
        let (after, trial) = tried(&[profile(TWO, false, "")], enable(true));
        assert_eq!(
            (codes(&trial.refusals), after),
            (vec!["no-way-back"], vec![false])
        );
        let (_, trial) = tried(&[profile(TWO, true, "")], enable(true));
        assert_eq!(codes(&trial.already), ["already-so"]);
    }

    #[test]
    fn rules_of_profiles_hold() {
        let protected = [profile(ONE, true, "PPR1 PPR2"), profile(TWO, false, "PPR2")];
        for command in [
            serde_json::json!([{ "command": "enable", "iccid": TWO }]),
            serde_json::json!([{ "command": "disable", "iccid": ONE }]),
            serde_json::json!([{ "command": "delete", "iccid": TWO }]),
        ] {
            let (after, trial) = tried(&protected, command);
            assert_eq!(codes(&trial.refusals), ["profile-protected"]);
            assert_eq!(after, [true, false]);
        }
    }

    #[test]
    fn what_cuts_a_device_off_or_is_final_is_said() {
        let card = [profile(ONE, true, ""), profile(TWO, false, "")];
        let (_, trial) = tried(
            &card,
            serde_json::json!([{ "command": "disable", "iccid": ONE }]),
        );
        assert_eq!(codes(&trial.warnings), ["no-profile-enabled"]);
        let (_, trial) = tried(
            &card,
            serde_json::json!([{ "command": "delete", "iccid": ONE }]),
        );
        assert_eq!(codes(&trial.refusals), ["profile-enabled"]);
        let (after, trial) = tried(
            &card,
            serde_json::json!([{ "command": "delete", "iccid": TWO }]),
        );
        assert_eq!(
            (codes(&trial.warnings), after),
            (vec!["delete-is-final"], vec![true])
        );
        // Commands build on each other.
        let both = serde_json::json!([{ "command": "disable", "iccid": ONE }, { "command": "delete", "iccid": ONE }]);
        let (after, trial) = tried(&card, both);
        assert_eq!(after, [false]);
        assert!(codes(&trial.warnings).contains(&"no-profile-enabled"));
    }

    #[test]
    fn unknown_is_not_refused() {
        let enable = serde_json::json!([{ "command": "enable", "iccid": ONE }]);
        let (_, trial) = tried(&[], enable.clone());
        assert_eq!(
            (codes(&trial.unknown), trial.refusals.len()),
            (vec!["not-listed"], 0)
        );
        let (_, trial) = tried(&[profile(TWO, true, "")], enable);
        assert_eq!(codes(&trial.refusals), ["profile-unknown"]);
        let (_, trial) = tried(&[], serde_json::json!([{ "command": "list-profiles" }]));
        assert_eq!(trial.reads, 1);
    }
}
