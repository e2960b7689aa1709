//! What the session needs of the eUICC.

use pki::TrustAnchors;
use rsp::ids::{EidOctets, Iccid};
use rsp::saip::{EuiccCapabilities, ProfilePackage};
use rsp::sgp22::{
    EuiccInfo2, KeyIdentifier, OctetTo16, OtherSignedNotification, ProfileClass,
    ProfileInstallationResult, ProfilePolicyAuthorisationRule,
};
use zeroize::Zeroizing;

use super::Platform;
use crate::limits::PROFILES_MAX;
use crate::session::{Host, Identity, InstallError, NewProfile, RetainedKey};
use crate::state::{KeptNotification, Pending, Profile, SecretOctets, StoredRetainedKey};

impl Host for Platform {
    fn eid(&self) -> EidOctets {
        self.state.eid
    }

    fn identity(&self, ci_key_id: &[u8]) -> Option<Identity> {
        self.identity(Some(ci_key_id)).cloned()
    }

    fn trust_anchors(&self) -> &TrustAnchors {
        &self.trust
    }

    fn euicc_info2(&self) -> EuiccInfo2 {
        self.info2()
    }

    fn capabilities(&self) -> EuiccCapabilities {
        EuiccCapabilities::telecom(self.free_memory_octets())
    }

    fn rat(&self) -> Vec<ProfilePolicyAuthorisationRule> {
        self.state.rat.clone()
    }

    fn iccid_exists(&self, iccid: &Iccid) -> bool {
        self.state.profile(iccid).is_some()
    }

    fn has_operational_profile(&self) -> bool {
        self.state
            .profiles
            .iter()
            .any(|profile| profile.class() == ProfileClass::Operational)
    }

    fn free_memory_octets(&self) -> usize {
        usize::try_from(self.state.free_octets()).unwrap_or(usize::MAX)
    }

    fn allocate_isdp_aid(&mut self) -> Option<OctetTo16> {
        (self.state.profiles.len() < PROFILES_MAX)
            .then(|| self.free_isdp())
            .flatten()
            .map(|(aid, _)| aid)
    }

    fn next_sequence_number(&mut self) -> i64 {
        self.state.take_sequence_number()
    }

    fn install(&mut self, new: NewProfile) -> Result<(), InstallError> {
        let size_octets = i64::try_from(new.size_octets).unwrap_or(i64::MAX);
        if size_octets > self.state.free_octets() || self.state.profiles.len() >= PROFILES_MAX {
            return Err(InstallError::InsufficientMemory);
        }
        let connectivity_parameters = ProfilePackage::parse(&new.package)
            .ok()
            .and_then(|package| package.header().ok())
            .and_then(|header| header.connectivity_parameters);
        if let Some((_, number)) = self.free_isdp() {
            self.state.next_isdp_number = number_after(number);
        }
        self.state.profiles.push(Profile {
            aid: new.isdp_aid,
            metadata: new.metadata,
            enabled: false,
            fallback_attribute: false,
            pre_loaded: false,
            nickname: None,
            connectivity_parameters,
            size_octets,
            dp_proprietary_data: new.dp_proprietary_data,
            smdp_oid: Some(new.origin.smdp_oid),
            ci_key_id: Some(new.ci_key_id.clone()),
            extensions: Default::default(),
        });
        self.keep(Pending::InstallationResult(new.result));
        for notification in new.notifications {
            self.keep(kept(notification, new.ci_key_id.clone()));
        }
        self.state.retained_key = None;
        self.commit().map_err(|_| InstallError::Storage)
    }

    fn store_result(&mut self, result: &ProfileInstallationResult) -> Result<(), InstallError> {
        self.keep(Pending::InstallationResult(result.clone()));
        self.state.retained_key = None;
        self.commit().map_err(|_| InstallError::Storage)
    }

    fn retained_key(&self) -> Option<RetainedKey> {
        let stored = self.state.retained_key.as_ref()?;
        let key = <[u8; 33]>::try_from(stored.key.expose()).ok()?;
        Some(RetainedKey {
            smdp_oid: stored.smdp_oid.clone(),
            key: Zeroizing::new(key),
        })
    }

    fn retain_key(&mut self, key: Option<RetainedKey>) -> Result<(), InstallError> {
        self.state.retained_key = key.map(|key| StoredRetainedKey {
            smdp_oid: key.smdp_oid,
            key: SecretOctets::new(&*key.key),
            extensions: Default::default(),
        });
        self.commit().map_err(|_| InstallError::Storage)
    }
}

fn kept(notification: OtherSignedNotification, ci_key_id: KeyIdentifier) -> Pending {
    Pending::Notification(KeptNotification {
        metadata: notification.tbs_other_notification,
        signature: notification.euicc_notification_signature,
        ci_key_id,
        extensions: Default::default(),
    })
}

impl Platform {
    /// An ISD-P AID that is free, and its number.
    fn free_isdp(&self) -> Option<(OctetTo16, i64)> {
        let mut number = self.state.next_isdp_number;
        for _ in 0..=PROFILES_MAX {
            let aid = isdp_aid(number)?;
            if self.state.profile_by_aid(&aid).is_none() {
                return Some((aid, number));
            }
            number = number_after(number);
        }
        None
    }
}

fn number_after(number: i64) -> i64 {
    if number >= ISDP_NUMBER_MAX {
        ISDP_NUMBER_MIN
    } else {
        number + 1
    }
}

/// The range of ISD-P numbers: those below are of the ISD-R, the ECASD and reserved.
pub(super) const ISDP_NUMBER_MIN: i64 = 0x0010;
const ISDP_NUMBER_MAX: i64 = 0xFFFF;

/// `A0 00 00 05 59 10 10 FF FF FF FF 89 00 XX XX 00`.
pub(super) fn isdp_aid(number: i64) -> Option<OctetTo16> {
    let [high, low] = u16::try_from(number).ok()?.to_be_bytes();
    let aid = [
        0xA0, 0x00, 0x00, 0x05, 0x59, 0x10, 0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x89, 0x00, high, low,
        0x00,
    ];
    OctetTo16::new(&aid).ok()
}
