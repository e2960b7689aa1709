//! The profiles of an eUICC, as it listed them over its own signature: what policy needs to know before one is enabled.

use rsp::ids::Iccid;
use rsp::sgp22::{ProfileClass, ProfileInfo, ProfileInfoListResponse, ProfileState};
use rsp::sgp32::{
    DeleteProfileResult, DisableProfileResult, EnableProfileResult, EuiccPackage, EuiccResultData,
    Psmo, RollbackProfileResult,
};
use serde::{Deserialize, Serialize};

use crate::package::{self, Answer};

/// Profiles that are remembered of one eUICC.
const PROFILES_MAX: usize = 64;

/// What an eUICC last listed, and what it changed since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Sequence number of the newest answer taken in: an older one that arrives late changes nothing.
    #[serde(rename = "s")]
    seq_number: i64,
    #[serde(rename = "p")]
    profiles: Vec<Profile>,
}

/// One profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its ICCID.
    #[serde(rename = "i", with = "iccid")]
    pub iccid: Iccid,
    /// Whether it is enabled. Absent after a rollback, until the profiles are listed again.
    #[serde(rename = "e")]
    pub enabled: Option<bool>,
    /// Its class.
    #[serde(rename = "c")]
    pub class: Class,
    /// MCC and MNC of its owner, for example `26201`.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<String>,
}

/// Classes of profiles (SGP.22 section 2.4.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// For testing.
    Test,
    /// For getting other profiles.
    Provisioning,
    /// For everything else.
    Operational,
    /// Not known here.
    Other,
}

impl Inventory {
    /// The profile, if the eUICC listed it.
    pub fn profile(&self, iccid: &Iccid) -> Option<&Profile> {
        self.profiles.iter().find(|known| known.iccid == *iccid)
    }

    /// All profiles.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Takes in what an eUICC answered to a package that was recorded.
    pub(crate) fn take_in(inventory: &mut Option<Self>, package: &str, answer: &Answer) {
        let Some(seq_number) = answer.seq_number() else {
            return;
        };
        let is_older = inventory
            .as_ref()
            .is_some_and(|known| known.seq_number >= seq_number);
        let content = package::recorded(package).map(|signed| signed.euicc_package);
        let (false, Some(EuiccPackage::PsmoList(psmos))) = (is_older, content) else {
            return;
        };
        let is_rollback = |result: &EuiccResultData| {
            matches!(
                result,
                EuiccResultData::RollbackResult(RollbackProfileResult::Ok)
            )
        };
        if answer.results().iter().any(is_rollback) {
            // Which profile is enabled again, only a list tells.
            for profile in inventory.iter_mut().flat_map(|known| &mut known.profiles) {
                profile.enabled = None;
            }
        } else {
            for (psmo, result) in psmos.iter().zip(answer.results()) {
                Self::take_in_one(inventory, psmo, result);
            }
        }
        if let Some(known) = inventory {
            known.seq_number = seq_number;
        }
    }

    fn take_in_one(inventory: &mut Option<Self>, psmo: &Psmo, result: &EuiccResultData) {
        use EuiccResultData as R;
        if let (
            Psmo::ListProfileInfo(_),
            R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(infos)),
        ) = (psmo, result)
        {
            let profiles = infos.iter().filter_map(Profile::of);
            *inventory = Some(Self {
                seq_number: 0,
                profiles: profiles.take(PROFILES_MAX).collect(),
            });
            return;
        }
        let Some(known) = inventory else {
            return;
        };
        match (psmo, result) {
            (Psmo::Enable(enable), R::EnableResult(EnableProfileResult::Ok)) => {
                for profile in &mut known.profiles {
                    profile.enabled = Some(profile.iccid == enable.iccid);
                }
            }
            (Psmo::Disable(disable), R::DisableResult(DisableProfileResult::Ok)) => {
                for profile in &mut known.profiles {
                    if profile.iccid == disable.iccid {
                        profile.enabled = Some(false);
                    }
                }
            }
            (Psmo::Delete(delete), R::DeleteResult(DeleteProfileResult::Ok)) => known
                .profiles
                .retain(|profile| profile.iccid != delete.iccid),
            _ => {}
        }
    }
}

impl Profile {
    fn of(info: &ProfileInfo) -> Option<Self> {
        Some(Self {
            iccid: info.iccid?,
            enabled: info
                .profile_state
                .map(|state| state == ProfileState::Enabled),
            class: match info.profile_class.unwrap_or(ProfileClass::Operational) {
                ProfileClass::Test => Class::Test,
                ProfileClass::Provisioning => Class::Provisioning,
                ProfileClass::Operational => Class::Operational,
                _ => Class::Other,
            },
            owner: info.profile_owner.as_ref().map(|it| owner(it.mcc_mnc)),
        })
    }
}

/// MCC and MNC as digits (3GPP TS 24.008 section 10.5.1.3: low half first, F where the MNC has two digits).
fn owner([a, b, c]: [u8; 3]) -> String {
    [a & 0xF, a >> 4, b & 0xF, c & 0xF, c >> 4, b >> 4]
        .into_iter()
        .filter_map(|digit| char::from_digit(digit.into(), 10))
        .collect()
}

mod iccid {
    use rsp::ids::Iccid;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(iccid: &Iccid, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(iccid)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Iccid, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_as_the_network_writes_them() {
        assert_eq!(owner([0x62, 0xF2, 0x10]), "26201");
        assert_eq!(owner([0x13, 0x00, 0x14]), "310410");
    }
}
