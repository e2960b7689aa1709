//! ES10a: the addresses of the default SM-DP+ and the root SM-DS (SGP.22 v2.5 sections 5.7.3 and 5.7.4; BF65 is
//! SGP.32's).

use rsp::sequence;
use rsp::sgp22::{EuiccConfiguredAddressesRequest, EuiccConfiguredAddressesResponse};
use rsp::sgp32::{OkOrUndefinedError, SetDefaultDpAddressRequest, SetDefaultDpAddressResponse};

use super::{Answer, read};
use crate::limits::ADDRESS_OCTETS_MAX;
use crate::platform::{Failure, Platform};

sequence! {
    /// The same function under the tag that SGP.22 gives it.
    struct SetDefaultDpAddressOfSgp22 @ 0xBF3F {
        req default_dp_address @ 0x80: String,
    }
}

sequence! {
    /// Its answer.
    struct SetDefaultDpAddressOfSgp22Response @ 0xBF3F {
        req set_default_dp_address_result @ 0x80: OkOrUndefinedError,
    }
}

pub(super) fn get(
    platform: &Platform,
    _: &EuiccConfiguredAddressesRequest,
) -> Result<Answer, Failure> {
    Ok(Answer::of(&EuiccConfiguredAddressesResponse {
        default_dp_address: platform.state.default_smdp_address.clone(),
        root_ds_address: platform.state.root_smds_address.clone(),
        extensions: Default::default(),
    }))
}

pub(super) fn set_default_smdp(
    platform: &mut Platform,
    request: &SetDefaultDpAddressRequest,
) -> Result<Answer, Failure> {
    Ok(Answer::of(&SetDefaultDpAddressResponse {
        set_default_dp_address_result: set(platform, &request.default_dp_address),
        extensions: Default::default(),
    }))
}

pub(super) fn set_default_smdp_sgp22(
    platform: &mut Platform,
    command: &[u8],
) -> Result<Answer, Failure> {
    let request: SetDefaultDpAddressOfSgp22 = read(command)?;
    Ok(Answer::of(&SetDefaultDpAddressOfSgp22Response {
        set_default_dp_address_result: set(platform, &request.default_dp_address),
        extensions: Default::default(),
    }))
}

/// Stores the address; an empty one removes what was there.
pub(crate) fn set(platform: &mut Platform, address: &str) -> OkOrUndefinedError {
    if address.len() > ADDRESS_OCTETS_MAX {
        return OkOrUndefinedError::UndefinedError;
    }
    platform.state.default_smdp_address = (!address.is_empty()).then(|| address.to_owned());
    OkOrUndefinedError::Ok
}
