//! Deviations from the modules that deployed devices are known to send: each one accepted
//! here and nowhere else. Emitting is always by the module.

use crate::der::{Element, Error, ErrorKind, Limits, Tag, Tlv, Value};
use crate::sgp22::{ProfileInfo, ProfileInfoListResponse};
use crate::sgp32::{
    EuiccPackageErrorSigned, EuiccPackageErrorUnsigned, EuiccPackageResult,
    EuiccPackageResultSigned, IpaEuiccData, IpaEuiccDataResponse,
};

/// Limits for octets that come out of a card: some write lengths with more octets than needed.
pub fn card_limits() -> Limits {
    Limits {
        non_minimal_lengths: true,
        ..Limits::default()
    }
}

/// BF51 results without the arm tag A0, A1 or A2, or with SEQUENCE written for it.
pub(crate) fn euicc_package_result(
    tlv: Tlv<'_>,
    is_arm: fn(Tag) -> bool,
) -> Option<Result<EuiccPackageResult, Error>> {
    use EuiccPackageResult as R;
    let decode = |tlv: Tlv<'_>| {
        EuiccPackageResultSigned::decode_content(tlv)
            .map(R::EuiccPackageResultSigned)
            .or_else(|_| {
                EuiccPackageErrorSigned::decode_content(tlv).map(R::EuiccPackageErrorSigned)
            })
            .or_else(|_| {
                EuiccPackageErrorUnsigned::decode_content(tlv).map(R::EuiccPackageErrorUnsigned)
            })
    };
    arm_without_its_tag(tlv, is_arm, |tlv| match sequence_kept_inside(tlv) {
        Some(inner) => decode(inner),
        None => decode(tlv),
    })
}

/// BF52 responses without the arm tag A0, or with SEQUENCE written for it.
pub(crate) fn ipa_euicc_data_response(
    tlv: Tlv<'_>,
    is_arm: fn(Tag) -> bool,
) -> Option<Result<IpaEuiccDataResponse, Error>> {
    arm_without_its_tag(tlv, is_arm, |tlv| {
        let tlv = sequence_kept_inside(tlv).unwrap_or(tlv);
        let data = IpaEuiccData::decode_content(tlv)?;
        // Every member is optional, so anything at all would do; it takes one that is known.
        let unknown: usize = data.extensions.iter().map(|e| e.bytes().len()).sum();
        if unknown == tlv.content().len() {
            return Err(Error::new(ErrorKind::Missing));
        }
        Ok(IpaEuiccDataResponse::IpaEuiccData(data))
    })
}

/// A CHOICE under AUTOMATIC TAGS whose arm tag was left out (seen for BF51 results, BF2D and
/// BF52): the members of an arm stand directly in the CHOICE's own tag.
///
/// Returns `None` when the content is exactly one known arm, or one that a newer version added.
pub(crate) fn arm_without_its_tag<C>(
    tlv: Tlv<'_>,
    is_arm: fn(Tag) -> bool,
    decode: impl FnOnce(Tlv<'_>) -> Result<C, Error>,
) -> Option<Result<C, Error>> {
    let mut reader = tlv.open().ok()?;
    let first = reader.next().ok()??;
    let stands_alone = reader.is_empty();
    if is_arm(first.tag()) && stands_alone {
        return None;
    }
    match decode(tlv) {
        Err(_) if stands_alone && first.tag() != Tag::SEQUENCE => None,
        outcome => Some(outcome),
    }
}

/// BF2D responses without the arm tag A0.
pub(crate) fn profile_info_list(
    tlv: Tlv<'_>,
    is_arm: fn(Tag) -> bool,
) -> Option<Result<ProfileInfoListResponse, Error>> {
    let first = tlv.open().ok()?.peek_tag()?;
    if !ProfileInfo::accepts(first) {
        return None;
    }
    arm_without_its_tag(tlv, is_arm, |tlv| {
        tlv.members()
            .map(ProfileInfoListResponse::ProfileInfoListOk)
    })
}

/// A structure that should stand under an IMPLICIT tag, but whose own SEQUENCE was kept inside
/// (seen for certificates in IpaEuiccData and GetCerts, and in EimConfigurationData).
///
/// Returns the inner SEQUENCE if the content is exactly one.
pub fn sequence_kept_inside(tlv: Tlv<'_>) -> Option<Tlv<'_>> {
    let mut reader = tlv.open().ok()?;
    let inner = reader.next().ok()??;
    (inner.tag() == Tag::SEQUENCE && reader.is_empty()).then_some(inner)
}
