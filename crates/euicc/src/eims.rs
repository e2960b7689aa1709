//! Associated eIMs: what their configuration must contain, and their keys.

use pki::{Certificate, PublicKey};
use rsp::der::Element;
use rsp::sgp32::{AddEimResultCode, EimConfigurationData, EimPublicKeyData};

use crate::decisions::COUNTER_VALUE_MAX;
use crate::limits::EIM_CONFIGURATION_OCTETS_MAX;
use crate::platform::Platform;
use crate::state::AssociatedEim;

/// Configuration data that may be stored.
#[derive(Debug)]
pub(crate) struct NewAssociation {
    pub(crate) eim: AssociatedEim,
    /// The eUICC is to compute an association token.
    pub(crate) wants_token: bool,
}

/// Checks the configuration data of a new eIM (SGP.32 v1.2 sections 2.11.1.1.1, 3.5). Whether its name is taken is for
/// the caller to check.
pub(crate) fn new_association(
    platform: &Platform,
    data: &EimConfigurationData,
) -> Result<NewAssociation, AddEimResultCode> {
    let (Some(counter_value), Some(_)) = (data.counter_value, &data.eim_public_key_data) else {
        return Err(AddEimResultCode::CommandError);
    };
    if !is_counter_in_range(counter_value) {
        return Err(AddEimResultCode::CounterValueOutOfRange);
    }
    if !is_ci_known(platform, data) {
        return Err(AddEimResultCode::CiPKUnknown);
    }
    let wants_token = match data.association_token {
        None => false,
        Some(EimConfigurationData::COMPUTE_ASSOCIATION_TOKEN) => true,
        Some(_) => return Err(AddEimResultCode::InvalidAssociationToken),
    };
    if data
        .eim_public_key_data
        .as_ref()
        .and_then(public_key)
        .is_none()
    {
        return Err(AddEimResultCode::CommandError);
    }
    if !fits(data) {
        return Err(AddEimResultCode::InsufficientMemory);
    }
    let configuration = EimConfigurationData {
        counter_value: None,
        association_token: None,
        ..data.clone()
    };
    Ok(NewAssociation {
        eim: AssociatedEim {
            configuration,
            counter_value,
            association_token: None,
            extensions: Default::default(),
        },
        wants_token,
    })
}

/// Whether a counter value can be stored.
pub(crate) fn is_counter_in_range(counter_value: i64) -> bool {
    (0..=COUNTER_VALUE_MAX).contains(&counter_value)
}

/// Whether the CI that the eIM wants signatures under is one that the eUICC can sign under.
pub(crate) fn is_ci_known(platform: &Platform, data: &EimConfigurationData) -> bool {
    data.euicc_ci_pk_id
        .as_ref()
        .is_none_or(|key_id| platform.identity(Some(&key_id[..])).is_some())
}

/// Whether the configuration data of one eIM is small enough to be kept.
pub(crate) fn fits(data: &EimConfigurationData) -> bool {
    data.to_der().len() <= EIM_CONFIGURATION_OCTETS_MAX
}

/// The key that verifies packages. Chain and dates of a certificate are not verified: the trust comes from the eIM
/// Configuration Data, and an eUICC has no clock.
///
/// `None` when it is of an unknown form or on a curve that the eUICC does not have.
pub(crate) fn public_key(data: &EimPublicKeyData) -> Option<PublicKey> {
    match data {
        EimPublicKeyData::EimPublicKey(spki) => PublicKey::from_spki_der(spki.as_der()).ok(),
        EimPublicKeyData::EimCertificate(certificate) => {
            Certificate::from_der(certificate.as_der())
                .ok()?
                .public_key()
                .ok()
                .cloned()
        }
        EimPublicKeyData::Unknown(_) => None,
    }
}
