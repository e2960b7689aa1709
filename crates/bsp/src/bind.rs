//! The segment lists of a bound profile package (SGP.22 section 2.5.4 and 5.5).

use crate::keys::BspKeys;
use crate::protector::{ProtectError, Protector};
use crate::segment::SegmentTag;

/// Segments of a BoundProfilePackage, each a whole TLV, in the order in which the eUICC gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundSegments {
    /// `A0`: ConfigureISDP.
    pub first_sequence_of_87: Vec<Vec<u8>>,
    /// `A1`: StoreMetadata.
    pub sequence_of_88: Vec<Vec<u8>>,
    /// `A2`: ReplaceSessionKeys; empty if the session keys protect the profile, and then `A2` is left out.
    pub second_sequence_of_87: Vec<Vec<u8>>,
    /// `A3`: the profile.
    pub sequence_of_86: Vec<Vec<u8>>,
}

/// Binds a profile to an eUICC: protects the DER ConfigureISDPRequest (`BF24`), the DER StoreMetadataRequest (`BF25`) and the
/// unprotected profile package.
///
/// Without `profile_keys` everything is under the session keys. With them, the session keys protect a ReplaceSessionKeys that
/// delivers them, and the profile is under `profile_keys`.
pub fn bind(
    session_keys: &BspKeys,
    configure_isdp: &[u8],
    store_metadata: &[u8],
    profile_keys: Option<&BspKeys>,
    profile_package: &[u8],
) -> Result<BoundSegments, ProtectError> {
    match profile_keys {
        Some(profile_keys) => {
            let profile = protect_profile(profile_keys, profile_package)?;
            bind_protected(
                session_keys,
                configure_isdp,
                store_metadata,
                profile_keys,
                profile,
            )
        }
        None => {
            let mut protector = Protector::new(session_keys);
            Ok(BoundSegments {
                first_sequence_of_87: vec![
                    protector.protect(SegmentTag::Command87, configure_isdp)?,
                ],
                sequence_of_88: protector.protect_all(SegmentTag::Metadata88, store_metadata)?,
                second_sequence_of_87: Vec::new(),
                sequence_of_86: protector.protect_all(SegmentTag::Profile86, profile_package)?,
            })
        }
    }
}

/// Protects a profile before its eUICC is known (the "protected profile package"), for [`bind_protected`].
pub fn protect_profile(
    profile_keys: &BspKeys,
    profile_package: &[u8],
) -> Result<Vec<Vec<u8>>, ProtectError> {
    Protector::new(profile_keys).protect_all(SegmentTag::Profile86, profile_package)
}

/// As [`bind`] with `profile_keys`, for a profile that [`protect_profile`] protected under them.
pub fn bind_protected(
    session_keys: &BspKeys,
    configure_isdp: &[u8],
    store_metadata: &[u8],
    profile_keys: &BspKeys,
    protected_profile: Vec<Vec<u8>>,
) -> Result<BoundSegments, ProtectError> {
    let mut protector = Protector::new(session_keys);
    let first_sequence_of_87 = vec![protector.protect(SegmentTag::Command87, configure_isdp)?];
    let sequence_of_88 = protector.protect_all(SegmentTag::Metadata88, store_metadata)?;
    let replace_keys = profile_keys.replace_session_keys_request();
    Ok(BoundSegments {
        first_sequence_of_87,
        sequence_of_88,
        second_sequence_of_87: vec![protector.protect(SegmentTag::Command87, &replace_keys)?],
        sequence_of_86: protected_profile,
    })
}
