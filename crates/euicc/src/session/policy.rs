//! Whether the metadata of a profile may be accepted (SGP.22 v2.5 sections 2.9.2, 2.4.12 and 5.5.3).

use rsp::sgp22::{
    ErrorReason, NotificationEvent, OperatorId, PprIds, ProfileClass,
    ProfilePolicyAuthorisationRule, RspCapability, StoreMetadataRequest,
};

use super::Host;

/// Addresses that one profile may ask to notify. Each costs a signature and memory on every event.
pub(super) const NOTIFICATION_ADDRESSES_MAX: usize = 16;

const SERVICE_PROVIDER_NAME_OCTETS_MAX: usize = 32;
const PROFILE_NAME_OCTETS_MAX: usize = 64;
const ICON_OCTETS_MAX: usize = 1024;

/// The checks of ES8+.StoreMetadata.
pub(super) fn check_metadata(
    host: &dyn Host,
    metadata: &StoreMetadataRequest,
) -> Result<(), ErrorReason> {
    check_sizes(metadata)?;
    if host.iccid_exists(&metadata.iccid) {
        return Err(ErrorReason::InstallFailedDueToIccidAlreadyExistsOnEuicc);
    }
    check_class(host, metadata.class())?;
    check_rules(host, metadata)
}

/// The addresses that want to hear of the installation.
pub(super) fn install_addresses(metadata: &StoreMetadataRequest) -> impl Iterator<Item = &str> {
    metadata
        .notification_configuration_info
        .iter()
        .flatten()
        .filter(|entry| {
            entry
                .profile_management_operation
                .contains(NotificationEvent::INSTALL)
        })
        .map(|entry| entry.notification_address.as_str())
}

fn check_sizes(metadata: &StoreMetadataRequest) -> Result<(), ErrorReason> {
    let addresses = metadata
        .notification_configuration_info
        .as_ref()
        .map_or(0, Vec::len);
    let fits = metadata.service_provider_name.len() <= SERVICE_PROVIDER_NAME_OCTETS_MAX
        && metadata.profile_name.len() <= PROFILE_NAME_OCTETS_MAX
        && metadata
            .icon
            .as_ref()
            .is_none_or(|icon| icon.len() <= ICON_OCTETS_MAX)
        && (metadata.icon.is_none() || metadata.icon_type.is_some())
        && addresses <= NOTIFICATION_ADDRESSES_MAX;
    if fits {
        Ok(())
    } else {
        Err(ErrorReason::IncorrectInputValues)
    }
}

fn check_class(host: &dyn Host, class: ProfileClass) -> Result<(), ErrorReason> {
    let supported = match class {
        ProfileClass::Operational | ProfileClass::Provisioning => true,
        ProfileClass::Test => host
            .euicc_info2()
            .rsp_capability
            .contains(RspCapability::TEST_PROFILE_SUPPORT),
        ProfileClass::Other(_) => false,
    };
    if supported {
        Ok(())
    } else {
        Err(ErrorReason::UnsupportedProfileClass)
    }
}

fn check_rules(host: &dyn Host, metadata: &StoreMetadataRequest) -> Result<(), ErrorReason> {
    let Some(rules) = &metadata.profile_policy_rules else {
        return Ok(());
    };
    // pprUpdateControl says who may change rules; it is no rule by itself.
    let rules: Vec<usize> = rules
        .0
        .bits()
        .filter(|&bit| bit != PprIds::PPR_UPDATE_CONTROL)
        .collect();
    if rules.is_empty() {
        return Ok(());
    }
    let Some(owner) = &metadata.profile_owner else {
        return Err(ErrorReason::IncorrectInputValues);
    };
    if digits(&owner.mcc_mnc).any(|digit| digit == ANY_DIGIT) {
        return Err(ErrorReason::IncorrectInputValues);
    }
    let forbidden = host
        .euicc_info2()
        .forbidden_profile_policy_rules
        .unwrap_or_default();
    let table = host.rat();
    let is_allowed = |rule: usize| {
        !forbidden.contains(rule)
            && table
                .iter()
                .any(|entry| entry.ppr_ids.contains(rule) && names(entry, owner))
    };
    // A profile that cannot be disabled would lock out those that are there already.
    let locks_out = rules.contains(&PprIds::PPR1) && host.has_operational_profile();
    if locks_out || !rules.iter().all(|&rule| is_allowed(rule)) {
        return Err(ErrorReason::PprNotAllowed);
    }
    Ok(())
}

/// Whether a rule of the table is for this owner.
fn names(rule: &ProfilePolicyAuthorisationRule, owner: &OperatorId) -> bool {
    rule.allowed_operators.iter().any(|allowed| {
        let same_network = digits(&allowed.mcc_mnc)
            .zip(digits(&owner.mcc_mnc))
            .all(|(allowed, owned)| allowed == ANY_DIGIT || allowed == owned);
        same_network
            && fits(allowed.gid1.as_deref(), owner.gid1.as_deref())
            && fits(allowed.gid2.as_deref(), owner.gid2.as_deref())
    })
}

/// An empty group identifier stands for any, an absent one for none.
fn fits(allowed: Option<&[u8]>, owned: Option<&[u8]>) -> bool {
    match allowed {
        Some([]) => true,
        Some(allowed) => owned == Some(allowed),
        None => owned.is_none_or(<[u8]>::is_empty),
    }
}

const ANY_DIGIT: u8 = 0x0E;

fn digits(mcc_mnc: &[u8; 3]) -> impl Iterator<Item = u8> {
    mcc_mnc.iter().flat_map(|octet| [octet & 0x0F, octet >> 4])
}
