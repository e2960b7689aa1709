//! The members of the single functions in the JSON binding.

use super::not_expressible;
use crate::binding::json::{Member, Object, Writer};
use crate::binding::status::{failed, success};
use crate::binding::{Error, ErrorCode, Failure};
use crate::der::{Extensions, Null, Octets};
use crate::ids::EidOctets;
use crate::sgp22::KeyIdentifier;
use crate::sgp32::{
    AuthenticateClientOkDpEsipa, AuthenticateClientOkDsEsipa, AuthenticateClientResponseEsipa,
    EimPackageError, GetEimPackageRequest, GetEimPackageResponse, HandleNotificationEsipa,
    InitiateAuthenticationOkEsipa, InitiateAuthenticationResponseEsipa, StateChangeCause,
};

/// 32 digits. Whether they are an EID is for the caller to check, as in the ASN.1 binding.
pub(super) fn eid(member: Member<'_>) -> Result<EidOctets, Error> {
    let malformed = Error::Malformed {
        member: "eidValue",
        problem: "is not 32 digits",
    };
    let text = member.text()?;
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 32) else {
        return Err(malformed);
    };
    let mut octets = [0; 16];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = pair.iter().fold(0, |packed, digit| (packed << 4) | digit);
    }
    Ok(EidOctets(octets))
}

pub(super) fn get_eim_package_from_json(body: &Object<'_>) -> Result<GetEimPackageRequest, Error> {
    Ok(GetEimPackageRequest {
        eid_value: body.required("eidValue", eid)?,
        notify_state_change: body
            .optional("notifyStateChange", Member::boolean)?
            .unwrap_or(false)
            .then_some(Null),
        state_change_cause: body
            .optional("stateChangeCause", Member::number)?
            .map(StateChangeCause::from_number),
        r_plmn: body.optional("rPlmn", Member::octets)?.map(Octets),
        extensions: Extensions::default(),
    })
}

pub(super) fn get_eim_package_to_json(request: &GetEimPackageRequest) -> Writer {
    let mut body = Writer::new().text("eidValue", request.eid_value);
    if request.notify_state_change.is_some() {
        body = body.value("notifyStateChange", true);
    }
    if let Some(cause) = request.state_change_cause {
        body = body.value("stateChangeCause", cause.number());
    }
    if let Some(plmn) = &request.r_plmn {
        body = body.octets("rPlmn", plmn);
    }
    body
}

pub(super) fn handle_notification_from_json(
    body: &Object<'_>,
) -> Result<HandleNotificationEsipa, Error> {
    if let Some(result) = body.optional("provideEimPackageResult", Member::der)? {
        return Ok(HandleNotificationEsipa::ProvideEimPackageResult(result));
    }
    body.required("pendingNotification", Member::der)
        .map(HandleNotificationEsipa::PendingNotification)
}

pub(super) fn initiate_authentication_ok_from_json(
    body: &Object<'_>,
) -> Result<InitiateAuthenticationOkEsipa, Error> {
    Ok(InitiateAuthenticationOkEsipa {
        transaction_id: body.optional("transactionId", Member::parsed)?,
        server_signed1: body.required("serverSigned1", Member::der)?,
        server_signature1: body.required("serverSignature1", Member::signature)?,
        euicc_ci_pk_identifier_to_be_used: body
            .required("euiccCiPKIdentifierToBeUsed", Member::key_identifier)?
            .0,
        server_certificate: body.required("serverCertificate", Member::der)?,
        matching_id: body.optional("matchingId", Member::text)?,
        ctx_params1: body.optional("ctxParams1", Member::der)?,
        other_certs_in_chain: body.optional("otherCertsInChain", |m| m.array(Member::der))?,
        extensions: Extensions::default(),
    })
}

pub(super) fn initiate_authentication_to_json(
    response: &InitiateAuthenticationResponseEsipa,
) -> Result<Writer, Error> {
    use InitiateAuthenticationResponseEsipa as R;
    match response {
        R::InitiateAuthenticationOkEsipa(ok) => Ok(success()
            .text_optional("transactionId", ok.transaction_id.as_ref())
            .der("serverSigned1", &ok.server_signed1)
            .der("serverSignature1", &ok.server_signature1)
            .der(
                "euiccCiPKIdentifierToBeUsed",
                &KeyIdentifier(ok.euicc_ci_pk_identifier_to_be_used.clone()),
            )
            .der("serverCertificate", &ok.server_certificate)
            .text_optional("matchingId", ok.matching_id.as_ref())
            .der_optional("ctxParams1", ok.ctx_params1.as_ref())
            .der_list_optional("otherCertsInChain", ok.other_certs_in_chain.as_deref())),
        R::InitiateAuthenticationErrorEsipa(code) => Ok(failed(&code.status().into())),
        R::Unknown(_) => Err(not_expressible("InitiateAuthenticationResponse")),
    }
}

/// An SM-DP+'s answer has signed data, an SM-DS's has not.
pub(super) fn authenticate_client_ok_from_json(
    body: &Object<'_>,
) -> Result<AuthenticateClientResponseEsipa, Error> {
    use AuthenticateClientResponseEsipa as R;
    if !body.has("smdpSigned2") && !body.has("smdpCertificate") {
        return Ok(R::AuthenticateClientOkDsEsipa(
            AuthenticateClientOkDsEsipa {
                transaction_id: body.required("transactionId", Member::parsed)?,
                profile_download_trigger: body.optional("profileDownloadTrigger", Member::der)?,
                extensions: Extensions::default(),
            },
        ));
    }
    Ok(R::AuthenticateClientOkDpEsipa(
        AuthenticateClientOkDpEsipa {
            transaction_id: body.optional("transactionId", Member::parsed)?,
            profile_meta_data: body.optional("profileMetadata", Member::der)?,
            smdp_signed2: body.required("smdpSigned2", Member::der)?,
            smdp_signature2: body.required("smdpSignature2", Member::signature)?,
            smdp_certificate: body.required("smdpCertificate", Member::der)?,
            hash_cc: body.optional("hashCc", Member::hash)?,
            extensions: Extensions::default(),
        },
    ))
}

pub(super) fn authenticate_client_to_json(
    response: &AuthenticateClientResponseEsipa,
) -> Result<Writer, Error> {
    use AuthenticateClientResponseEsipa as R;
    match response {
        R::AuthenticateClientOkDpEsipa(ok) => {
            let body = success()
                .text_optional("transactionId", ok.transaction_id.as_ref())
                .der_optional("profileMetadata", ok.profile_meta_data.as_ref())
                .der("smdpSigned2", &ok.smdp_signed2)
                .der("smdpSignature2", &ok.smdp_signature2)
                .der("smdpCertificate", &ok.smdp_certificate);
            Ok(match &ok.hash_cc {
                Some(hash) => body.octets("hashCc", hash),
                None => body,
            })
        }
        R::AuthenticateClientOkDsEsipa(ok) => Ok(success()
            .text("transactionId", &ok.transaction_id)
            .der_optional(
                "profileDownloadTrigger",
                ok.profile_download_trigger.as_ref(),
            )),
        R::AuthenticateClientErrorEsipa(code) => Ok(failed(&code.status().into())),
        R::Unknown(_) => Err(not_expressible("AuthenticateClientResponse")),
    }
}

/// Some eIMs answer the bare number together with success, others the status code alone.
pub(super) fn eim_package_from_json(
    body: &Object<'_>,
    outcome: Result<(), Failure>,
) -> Result<GetEimPackageResponse, Error> {
    use GetEimPackageResponse as R;
    if let Some(number) = body.optional("eimPackageError", Member::number)? {
        return Ok(R::EimPackageError(EimPackageError::from_number(number)));
    }
    if let Err(failure) = outcome {
        return Ok(R::EimPackageError(EimPackageError::from_status(
            &failure.code,
        )));
    }
    if let Some(request) = body.optional("euiccPackageRequest", Member::der)? {
        return Ok(R::EuiccPackageRequest(request));
    }
    if let Some(request) = body.optional("ipaEuiccDataRequest", Member::der)? {
        return Ok(R::IpaEuiccDataRequest(request));
    }
    body.required("profileDownloadTriggerRequest", Member::der)
        .map(R::ProfileDownloadTriggerRequest)
}

pub(super) fn eim_package_to_json(response: &GetEimPackageResponse) -> Result<Writer, Error> {
    use GetEimPackageResponse as R;
    Ok(match response {
        R::EuiccPackageRequest(request) => success().der("euiccPackageRequest", request),
        R::IpaEuiccDataRequest(request) => success().der("ipaEuiccDataRequest", request),
        R::ProfileDownloadTriggerRequest(request) => {
            success().der("profileDownloadTriggerRequest", request)
        }
        R::EimPackageError(code) => {
            failed(&code.status().into()).value("eimPackageError", code.number())
        }
        R::Unknown(_) => return Err(not_expressible("this kind of eIM Package")),
    })
}
