//! The policy: what needs whose approval, how much may happen, and what may never.
//!
//! It is a document that is replaced as a whole, by an intent, so every version is signed and in the record. Everything it
//! says is checked by the authority twice: when something is proposed, and again when it is signed.

mod commands;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::OperationKind;
use crate::name::Fleet;

pub use commands::Forbidden;

/// Entries of any list in a policy.
const LIST_MAX: usize = 256;
/// People who may be asked to approve one thing.
const APPROVERS_MAX: u8 = 8;

/// The whole policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// 1, 2, 3 …: one more than the version it replaces.
    pub version: u64,
    /// All rules that fit apply; the highest number of approvers counts.
    pub approvals: Vec<ApprovalRule>,
    /// How much may happen.
    pub quotas: Quotas,
    /// Where profiles may come from.
    pub downloads: Downloads,
    /// Which profiles may be used.
    pub profiles: Profiles,
    /// When things may happen. A kind that no window names may happen at any time.
    pub windows: Vec<Window>,
    /// Accept passkeys that are files. Whoever copies such a file and learns its passphrase is that person.
    pub insecure_software_passkeys: bool,
}

/// Who has to agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// For these kinds; empty for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<OperationKind>,
    /// In these fleets; empty for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fleets: BTreeSet<Fleet>,
    /// For more devices than this.
    #[serde(default)]
    pub devices_over: u64,
    /// How many people, none of them the proposer.
    pub approvers: u8,
}

/// How much may happen. What is absent is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Changes signed in one hour for what one credential proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_per_hour: Option<u32>,
    /// Changes signed in one hour for the devices of one fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_per_hour: Option<u32>,
    /// Devices that one intent may be about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_per_intent: Option<u64>,
    /// Changes signed in one day, everything together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_per_day: Option<u64>,
    /// Reads that the eIM may have signed on its own account, for one device in one hour.
    pub reads_per_device_hour: u32,
}

/// Where profiles may come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downloads {
    /// SM-DP+ addresses. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smdp_addresses: Option<BTreeSet<String>>,
    /// Whether a device may be told to ask its default SM-DP+, which the intent does not name.
    pub default_smdp: bool,
    /// Whether a device may be told to ask an SM-DS.
    pub smds: bool,
}

/// Which profiles may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// First digits of ICCIDs. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iccid_prefixes: Option<BTreeSet<String>>,
    /// Profile owners as MCC and MNC, for example `26201`. Absent: any. A profile of unknown owner is refused if present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<BTreeSet<String>>,
    /// Fleets whose devices may use profiles of the class `test`. TS.48 profiles up to version 6 let anybody load applets.
    pub test_class_fleets: BTreeSet<Fleet>,
}

/// A time in which something may happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// For these kinds.
    pub kinds: BTreeSet<OperationKind>,
    /// In these fleets; empty for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fleets: BTreeSet<Fleet>,
    /// On these days, 1 for Monday to 7 for Sunday.
    pub days: BTreeSet<u8>,
    /// From this minute of the day.
    pub from_minute: u16,
    /// To before this minute of the day, at most 1440. Less than `from_minute`: past midnight, counted to the day it began on.
    pub to_minute: u16,
    /// Minutes that local time is ahead of UTC. Fixed: summer time is not followed.
    #[serde(default)]
    pub utc_offset_minutes: i16,
}

/// Why a policy document makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Versions begin with 1.
    #[error("the version of a policy is 1 or more")]
    Version,
    /// Too long.
    #[error("no list of a policy has more than {LIST_MAX} entries")]
    TooLong,
    /// Nobody could ever fulfil it.
    #[error("a rule can ask for at most {APPROVERS_MAX} approvers")]
    Approvers,
    /// Not digits.
    #[error("an ICCID prefix is 1 to 20 digits, an owner is MCC and MNC: 5 or 6 digits")]
    Digits,
    /// Not an address.
    #[error("an SM-DP+ address is a lower-case host name, perhaps with a port")]
    Address,
    /// Not a window.
    #[error(
        "a window has at least one kind and one day (1 to 7), minutes from 0 to 1440, and an offset of at most 14 hours"
    )]
    Window,
}

impl PolicyDocument {
    /// What an installation begins with: deleting a profile, touching eIM configuration, more than 100 devices, and every
    /// change of policy, credentials, keys or freezes need one approver who is not the proposer.
    pub fn initial() -> Self {
        use OperationKind as K;
        let rule = |kinds: &[K], devices_over| ApprovalRule {
            kinds: kinds.iter().copied().collect(),
            fleets: BTreeSet::new(),
            devices_over,
            approvers: 1,
        };
        Self {
            version: 1,
            approvals: vec![
                rule(&[K::Delete, K::EimConfiguration], 0),
                rule(&[K::Policy, K::Credential, K::SigningKey, K::Thaw], 0),
                rule(&[], 100),
            ],
            quotas: Quotas {
                credential_per_hour: Some(1_000),
                fleet_per_hour: Some(10_000),
                devices_per_intent: Some(100_000),
                all_per_day: Some(200_000),
                reads_per_device_hour: 240,
            },
            downloads: Downloads {
                smdp_addresses: None,
                default_smdp: true,
                smds: true,
            },
            profiles: Profiles {
                iccid_prefixes: None,
                owners: None,
                test_class_fleets: BTreeSet::new(),
            },
            windows: Vec::new(),
            insecure_software_passkeys: false,
        }
    }

    /// The same without approvals, for a laboratory with one person in it.
    pub fn insecure_without_approvals() -> Self {
        Self {
            approvals: Vec::new(),
            insecure_software_passkeys: true,
            ..Self::initial()
        }
    }

    /// Checks that the document makes sense.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.version == 0 {
            return Err(PolicyError::Version);
        }
        let lengths = [
            self.approvals.len(),
            self.windows.len(),
            self.profiles.test_class_fleets.len(),
            self.downloads
                .smdp_addresses
                .as_ref()
                .map_or(0, BTreeSet::len),
            self.profiles
                .iccid_prefixes
                .as_ref()
                .map_or(0, BTreeSet::len),
            self.profiles.owners.as_ref().map_or(0, BTreeSet::len),
        ];
        let rule_lengths = self.approvals.iter().map(|rule| rule.fleets.len());
        let window_lengths = self.windows.iter().map(|window| window.fleets.len());
        if lengths
            .into_iter()
            .chain(rule_lengths)
            .chain(window_lengths)
            .any(|length| length > LIST_MAX)
        {
            return Err(PolicyError::TooLong);
        }
        if self
            .approvals
            .iter()
            .any(|rule| rule.approvers > APPROVERS_MAX)
        {
            return Err(PolicyError::Approvers);
        }
        let digits = |text: &String, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        let mut prefixes = self.profiles.iccid_prefixes.iter().flatten();
        let mut owners = self.profiles.owners.iter().flatten();
        if !prefixes.all(|text| digits(text, 1..=20)) || !owners.all(|text| digits(text, 5..=6)) {
            return Err(PolicyError::Digits);
        }
        let is_address = |text: &String| {
            (1..=255).contains(&text.len())
                && text.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':')
                })
        };
        if !self
            .downloads
            .smdp_addresses
            .iter()
            .flatten()
            .all(is_address)
        {
            return Err(PolicyError::Address);
        }
        match self.windows.iter().all(Window::makes_sense) {
            true => Ok(()),
            false => Err(PolicyError::Window),
        }
    }

    /// How many people have to approve such a thing.
    pub fn approvers(
        &self,
        kinds: &BTreeSet<OperationKind>,
        fleets: &BTreeSet<Fleet>,
        devices: u64,
    ) -> u8 {
        let fits = |rule: &&ApprovalRule| {
            (rule.kinds.is_empty() || !rule.kinds.is_disjoint(kinds))
                && (rule.fleets.is_empty() || !rule.fleets.is_disjoint(fleets))
                && (rule.devices_over == 0 || devices > rule.devices_over)
        };
        let asked = self
            .approvals
            .iter()
            .filter(fits)
            .map(|rule| rule.approvers);
        asked.max().unwrap_or(0)
    }

    /// Whether such a thing may happen on devices of `fleet` at `now_ms`.
    pub fn is_open(&self, kind: OperationKind, fleet: &Fleet, now_ms: i64) -> bool {
        let mut windows = self
            .windows
            .iter()
            .filter(|window| window.kinds.contains(&kind))
            .filter(|window| window.fleets.is_empty() || window.fleets.contains(fleet))
            .peekable();
        windows.peek().is_none() || windows.any(|window| window.contains(now_ms))
    }

    /// What differs in `next`, one line for each member: path, old value, new value.
    pub fn diff(&self, next: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let value = |document: &Self| serde_json::to_value(document).unwrap_or(Value::Null);
        compare("", &value(self), &value(next), &mut differences);
        differences
    }
}

/// One member in which two policies differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, like `quotas.fleet_per_hour`.
    pub path: String,
    /// Before; absent if it was not there.
    pub before: Option<Value>,
    /// After; absent if it is no longer there.
    pub after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {}: {before} -> {after}", self.path),
            (Some(before), None) => write!(f, "- {}: {before}", self.path),
            (None, Some(after)) => write!(f, "+ {}: {after}", self.path),
            (None, None) => write!(f, "  {}", self.path),
        }
    }
}

fn compare(path: &str, before: &Value, after: &Value, differences: &mut Vec<Difference>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                match (old.get(name), new.get(name)) {
                    (Some(old), Some(new)) => compare(&below(name), old, new, differences),
                    (before, after) => differences.push(Difference {
                        path: below(name),
                        before: before.cloned(),
                        after: after.cloned(),
                    }),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let gone = old.iter().filter(|value| !new.contains(value));
            differences.extend(gone.map(|value| Difference {
                path: below("*"),
                before: Some(value.clone()),
                after: None,
            }));
            let added = new.iter().filter(|value| !old.contains(value));
            differences.extend(added.map(|value| Difference {
                path: below("*"),
                before: None,
                after: Some(value.clone()),
            }));
        }
        (before, after) if before == after => {}
        (before, after) => differences.push(Difference {
            path: path.to_owned(),
            before: Some(before.clone()),
            after: Some(after.clone()),
        }),
    }
}

impl Window {
    const DAY_MINUTES: i64 = 1440;

    fn makes_sense(&self) -> bool {
        !self.kinds.is_empty()
            && !self.days.is_empty()
            && self.days.iter().all(|day| (1..=7).contains(day))
            && self.from_minute < 1440
            && self.to_minute <= 1440
            && self.from_minute != self.to_minute
            && self.utc_offset_minutes.abs() <= 14 * 60
    }

    fn contains(&self, now_ms: i64) -> bool {
        let minutes = now_ms.div_euclid(60_000) + i64::from(self.utc_offset_minutes);
        let minute = minutes.rem_euclid(Self::DAY_MINUTES);
        let day = minutes.div_euclid(Self::DAY_MINUTES);
        let (from, to) = (i64::from(self.from_minute), i64::from(self.to_minute));
        // Day 0, the first of January 1970, was a Thursday.
        let is_day = |day: i64| {
            u8::try_from((day + 3).rem_euclid(7) + 1).is_ok_and(|day| self.days.contains(&day))
        };
        match from < to {
            true => (from..to).contains(&minute) && is_day(day),
            false => (minute >= from && is_day(day)) || (minute < to && is_day(day - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use OperationKind as K;

    const HOUR: i64 = 3_600_000;
    /// Monday, 2026-11-23, 00:00 UTC.
    const MONDAY: i64 = 1_795_392_000_000;

    fn fleet(name: &str) -> Fleet {
        name.parse().unwrap()
    }

    #[test]
    fn the_defaults_ask_for_a_second_person_where_it_hurts() {
        let policy = PolicyDocument::initial();
        policy.check().unwrap();
        let asked =
            |kind, devices| policy.approvers(&BTreeSet::from([kind]), &BTreeSet::new(), devices);
        for kind in [
            K::Delete,
            K::EimConfiguration,
            K::Policy,
            K::Credential,
            K::Thaw,
        ] {
            assert_eq!(asked(kind, 1), 1, "{kind:?}");
        }
        assert_eq!(asked(K::Enable, 100), 0);
        assert_eq!(asked(K::Enable, 101), 1);
        assert_eq!(asked(K::Freeze, 1), 0, "stopping is always quick");
        assert_eq!(asked(K::Read, 100), 0);
        assert_eq!(asked(K::RegisterDevices, 101), 1);
    }

    #[test]
    fn windows_open_and_close() {
        let mut policy = PolicyDocument::initial();
        policy.windows.push(Window {
            kinds: BTreeSet::from([K::Enable]),
            fleets: BTreeSet::from([fleet("meters")]),
            days: BTreeSet::from([1]),
            from_minute: 22 * 60,
            to_minute: 4 * 60,
            utc_offset_minutes: 60,
        });
        policy.check().unwrap();
        let open = |hours| policy.is_open(K::Enable, &fleet("meters"), MONDAY + hours * HOUR);
        assert!(!open(20), "21:00 local");
        assert!(open(21), "22:00 local");
        assert!(
            open(26),
            "03:00 local on Tuesday belongs to Monday's window"
        );
        assert!(!open(27));
        assert!(!open(-2), "Sunday 23:00 local");
        assert!(policy.is_open(K::Disable, &fleet("meters"), MONDAY));
        assert!(policy.is_open(K::Enable, &fleet("cars"), MONDAY));
    }

    #[test]
    fn differences_can_be_read() {
        let old = PolicyDocument::initial();
        let mut new = old.clone();
        new.version = 2;
        new.quotas.fleet_per_hour = None;
        new.downloads.smdp_addresses = Some(BTreeSet::from(["smdp.example.com".to_owned()]));
        new.approvals.remove(0);
        let lines: Vec<String> = old.diff(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                r#"- approvals.*: {"approvers":1,"devices_over":0,"kinds":["delete","eim-configuration"]}"#,
                r#"+ downloads.smdp_addresses: ["smdp.example.com"]"#,
                "- quotas.fleet_per_hour: 10000",
                "~ version: 1 -> 2",
            ]
        );
        assert!(old.diff(&old).is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        let broken: [fn(&mut PolicyDocument); 5] = [
            |policy| policy.version = 0,
            |policy| {
                policy
                    .approvals
                    .iter_mut()
                    .for_each(|rule| rule.approvers = 9)
            },
            |policy| policy.profiles.iccid_prefixes = Some(BTreeSet::from(["89x".to_owned()])),
            |policy| policy.downloads.smdp_addresses = Some(BTreeSet::from(["A b".to_owned()])),
            |policy| {
                policy.windows.push(Window {
                    kinds: BTreeSet::from([K::Enable]),
                    fleets: BTreeSet::new(),
                    days: BTreeSet::from([8]),
                    from_minute: 0,
                    to_minute: 1,
                    utc_offset_minutes: 0,
                });
            },
        ];
        for (index, breaks) in broken.iter().enumerate() {
            let mut policy = PolicyDocument::initial();
            breaks(&mut policy);
            assert!(policy.check().is_err(), "{index}");
        }
    }
}
