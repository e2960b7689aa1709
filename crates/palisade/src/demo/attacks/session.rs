//! A download session led by hand: a real card on one side, the real SM-DP+ over TLS on the other, and the attacker between
//! them.

use anyhow::{Context, bail};
use rsp::binding::{Failure, es9plus};
use rsp::der::Element;
use rsp::ids::TransactionId;
use rsp::sgp22::{
    AuthenticateClientOk, AuthenticateClientRequest, AuthenticateErrorCode,
    AuthenticateServerRequest, AuthenticateServerResponse, BoundProfilePackage, CtxParams1,
    CtxParamsForCommonAuthentication, ErrorReason, FinalResult, GetBoundProfilePackageRequest,
    InitiateAuthenticationOkEs9, InitiateAuthenticationRequest, OneTimePublicKey,
    PrepareDownloadRequest, PrepareDownloadResponse, ProfileInstallationResult,
};

use super::super::device::Device;
use super::super::pki::SMDP;
use super::super::report::Reaction;
use super::super::wire::Wire;

/// A card that is ready for its package.
pub(super) struct Prepared {
    pub(super) transaction_id: TransactionId,
    /// The card's one-time key.
    pub(super) euicc_otpk: OneTimePublicKey,
    response: PrepareDownloadResponse,
}

/// ES9+.InitiateAuthentication with the card's challenge.
pub(super) fn initiate(
    wire: &Wire,
    device: &mut Device,
) -> anyhow::Result<Result<InitiateAuthenticationOkEs9, Failure>> {
    let request = es9plus::Request::InitiateAuthentication(InitiateAuthenticationRequest {
        euicc_challenge: device.ipa.es10().challenge()?,
        smdp_address: SMDP.to_owned(),
        euicc_info1: device.ipa.es10().info1()?,
        extensions: Default::default(),
    });
    match wire.es9(&request)? {
        es9plus::Response::InitiateAuthentication(outcome) => Ok(outcome),
        other => bail!("InitiateAuthentication was answered with {other:?}"),
    }
}

/// ES10b.AuthenticateServer.
pub(super) fn authenticate_server(
    device: &mut Device,
    server: InitiateAuthenticationOkEs9,
    matching_id: Option<String>,
) -> anyhow::Result<AuthenticateServerResponse> {
    let device_info = device.ipa.config().device_info.clone();
    let context = CtxParamsForCommonAuthentication {
        matching_id,
        device_info,
        extensions: Default::default(),
    };
    Ok(device
        .ipa
        .es10()
        .authenticate_server(&AuthenticateServerRequest {
            server_signed1: server.server_signed1,
            server_signature1: server.server_signature1,
            euicc_ci_pk_id_to_be_used: server.euicc_ci_pk_id_to_be_used,
            server_certificate: server.server_certificate,
            ctx_params1: CtxParams1::CtxParamsForCommonAuthentication(context),
            other_certs_in_chain: None,
            extensions: Default::default(),
        })?)
}

/// The first two steps, up to what the SM-DP+ says about the eUICC.
pub(super) fn authenticate(
    wire: &Wire,
    device: &mut Device,
    matching_id: &str,
) -> anyhow::Result<Result<AuthenticateClientOk, Failure>> {
    let server = match initiate(wire, device)? {
        Ok(server) => server,
        Err(failure) => return Ok(Err(failure)),
    };
    let transaction_id = server.transaction_id.clone();
    let response = authenticate_server(device, server, Some(matching_id.to_owned()))?;
    let request = es9plus::Request::AuthenticateClient(AuthenticateClientRequest {
        transaction_id,
        authenticate_server_response: response,
        extensions: Default::default(),
    });
    match wire.es9(&request)? {
        es9plus::Response::AuthenticateClient(outcome) => Ok(outcome),
        other => bail!("AuthenticateClient was answered with {other:?}"),
    }
}

/// ES10b.PrepareDownload.
pub(super) fn prepare_download(
    device: &mut Device,
    ok: AuthenticateClientOk,
) -> anyhow::Result<PrepareDownloadResponse> {
    Ok(device
        .ipa
        .es10()
        .prepare_download(&PrepareDownloadRequest {
            smdp_signed2: ok.smdp_signed2,
            smdp_signature2: ok.smdp_signature2,
            hash_cc: None,
            smdp_certificate: ok.smdp_certificate,
            extensions: Default::default(),
        })?)
}

/// Up to the card's readiness, as it should be.
pub(super) fn prepare(
    wire: &Wire,
    device: &mut Device,
    matching_id: &str,
) -> anyhow::Result<Prepared> {
    let ok = authenticate(wire, device, matching_id)?.context("a genuine eUICC was refused")?;
    let transaction_id = ok.transaction_id.clone();
    let response = prepare_download(device, ok)?;
    let PrepareDownloadResponse::DownloadResponseOk(signed) = &response else {
        bail!("PrepareDownload was answered with {response:?}");
    };
    let euicc_otpk = signed.euicc_signed2.euicc_otpk.clone();
    Ok(Prepared {
        transaction_id,
        euicc_otpk,
        response,
    })
}

/// ES9+.GetBoundProfilePackage.
pub(super) fn package(wire: &Wire, prepared: &Prepared) -> anyhow::Result<BoundProfilePackage> {
    let request = es9plus::Request::GetBoundProfilePackage(GetBoundProfilePackageRequest {
        transaction_id: prepared.transaction_id.clone(),
        prepare_download_response: prepared.response.clone(),
        extensions: Default::default(),
    });
    match wire.es9(&request)? {
        es9plus::Response::GetBoundProfilePackage(Ok(ok)) => Ok(ok.bound_profile_package),
        other => bail!("GetBoundProfilePackage was answered with {other:?}"),
    }
}

/// Loads a package, which must be refused for this reason with the eUICC's signature under it.
pub(super) fn load(
    device: &mut Device,
    package: &BoundProfilePackage,
    expected: ErrorReason,
) -> anyhow::Result<Reaction> {
    let result = device
        .ipa
        .es10()
        .load_bound_profile_package(&package.to_der())?;
    let verified = is_signed_by(device, &result);
    Ok(
        match &result.profile_installation_result_data.final_result {
            FinalResult::ErrorResult(error) if error.error_reason == expected && verified => {
                Reaction::refused(
                    "eUICC",
                    format!("{} at {}", error.error_reason, error.bpp_command_id),
                )
            }
            other => Reaction::through(format!("the package was answered with {other:?}")),
        },
    )
}

fn is_signed_by(device: &Device, result: &ProfileInstallationResult) -> bool {
    let data = result.profile_installation_result_data.bytes();
    let key = pki::Signer::public_key(&device.credential.key);
    pki::Signature::from_wire(&result.euicc_sign_pir)
        .is_ok_and(|signature| key.verify(data, &signature).is_ok())
}

/// What it means that the card answered a server so.
pub(super) fn refused_server(
    response: &AuthenticateServerResponse,
    expected: AuthenticateErrorCode,
) -> Reaction {
    match response {
        AuthenticateServerResponse::AuthenticateResponseError(error)
            if error.authenticate_error_code == expected =>
        {
            Reaction::refused(
                "eUICC",
                format!("AuthenticateServer: {}", error.authenticate_error_code),
            )
        }
        other => Reaction::through(format!("the server was answered with {other:?}")),
    }
}

/// What it means that the SM-DP+ refused with this status.
pub(super) fn refused_by_smdp<T>(outcome: Result<T, Failure>, expected: smdp::Refusal) -> Reaction {
    match outcome {
        Err(failure) if failure.code == expected.status() => {
            Reaction::refused("SM-DP+", format!("{} {}", failure.code, expected.message()))
        }
        Err(failure) => Reaction::through(format!("refused for another reason: {failure}")),
        Ok(_) => Reaction::through("the SM-DP+ took it"),
    }
}
