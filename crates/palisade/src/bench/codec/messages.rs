//! The messages: published ones where there are any, else made of published parts.

use anyhow::{Context, ensure};
use rsp::binding::{es9plus, esipa};
use rsp::der::{Element, Encoded, Octets};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::*;
use rsp::sgp32::*;
use serde::Serialize;

/// One message with its reader and writer.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) octets: Vec<u8>,
    /// Whether the octets are this message.
    pub(super) decode: Reader,
    pub(super) encode: Box<dyn Fn() -> Vec<u8>>,
}

type Reader = Box<dyn Fn(&[u8]) -> bool>;

/// How a message is written.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    Der,
    Json,
}

impl Form {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Der => "DER",
            Self::Json => "JSON",
        }
    }
}

macro_rules! vector {
    ($name:literal) => {
        hex::decode(
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../tests/data/vectors/",
                $name,
                ".hex"
            ))
            .trim(),
        )
        .context(concat!($name, " is not hexadecimal"))
    };
}

/// Every message.
pub(super) fn all() -> anyhow::Result<Vec<Case>> {
    let parts = Parts::load()?;
    let mut cases = esipa_der(&parts)?;
    cases.extend(es10(&parts)?);
    cases.extend(es9plus_der(&parts)?);
    cases.extend(json(&parts)?);
    Ok(cases)
}

fn esipa_der(parts: &Parts) -> anyhow::Result<Vec<Case>> {
    Ok(vec![
        der::<GetEimPackageRequest>(
            "GetEimPackage request",
            vector!("get_eim_package_request_minimal")?,
        )?,
        of("GetEimPackage: nothing", nothing())?,
        of(
            "GetEimPackage: package",
            GetEimPackageResponse::EuiccPackageRequest(parts.package()?),
        )?,
        der::<ProfileDownloadTriggerRequest>(
            "ProfileDownloadTrigger",
            vector!("profile_download_trigger_activation_code")?,
        )?,
        of("IpaEuiccDataRequest", data_request()?)?,
        der::<ProvideEimPackageResult>(
            "ProvideEimPackageResult: 4 profiles",
            vector!("provide_eim_package_result_listprofileinfo_kigen")?,
        )?,
        of(
            "ProvideEimPackageResult: certificates",
            parts.device_data()?,
        )?,
        of("ProvideEimPackageResult answer", acknowledged(1))?,
        of("InitiateAuthentication request", parts.initiate()?)?,
        of("InitiateAuthentication answer", parts.initiated()?)?,
        of("AuthenticateClient request", parts.authenticate()?)?,
        of("AuthenticateClient answer", parts.authenticated()?)?,
        of("GetBoundProfilePackage request", parts.get_bound()?)?,
        of("GetBoundProfilePackage answer", parts.bound()?)?,
        of("HandleNotification", parts.notify()?)?,
    ])
}

fn es10(parts: &Parts) -> anyhow::Result<Vec<Case>> {
    Ok(vec![
        der::<AddInitialEimRequest>(
            "AddInitialEim",
            vector!("add_initial_eim_request_onomondo")?,
        )?,
        of("EuiccPackageRequest", parts.package()?)?,
        of("EuiccPackageResult: 4 profiles", parts.package_result()?)?,
        of("GetCerts answer", parts.certs()?)?,
        der::<EuiccInfo1>("EUICCInfo1", vector!("euicc_info1_sysmo_i2t")?)?,
        of("AuthenticateServer request", parts.authenticate_server()?)?,
        der::<AuthenticateServerResponse>(
            "AuthenticateServer answer",
            vector!("es9_session_synthetic/auth_server_response")?,
        )?,
        of("PrepareDownload request", parts.prepare_download()?)?,
        der::<PrepareDownloadResponse>(
            "PrepareDownload answer",
            vector!("es9_session_synthetic/prepare_download_response")?,
        )?,
        der::<BoundProfilePackage>("BoundProfilePackage", vector!("bpp_onomondo")?)?,
        der::<StoreMetadataRequest>(
            "StoreMetadata",
            vector!("es9_session_synthetic/store_metadata")?,
        )?,
        der::<ProfileInstallationResult>(
            "ProfileInstallationResult",
            vector!("es9_session_synthetic/pending_notification")?,
        )?,
        der::<EimAcknowledgements>("EimAcknowledgements", vector!("eim_acknowledgements_two")?)?,
    ])
}

fn es9plus_der(parts: &Parts) -> anyhow::Result<Vec<Case>> {
    use RemoteProfileProvisioningRequest as Request;
    use RemoteProfileProvisioningResponse as Response;
    Ok(vec![
        of(
            "InitiateAuthentication request",
            Request::InitiateAuthentication(parts.es9_initiate()?),
        )?,
        of(
            "InitiateAuthentication answer",
            Response::InitiateAuthentication(
                InitiateAuthenticationResponse::InitiateAuthenticationOk(parts.initiated.clone()),
            ),
        )?,
        of(
            "AuthenticateClient request",
            Request::AuthenticateClient(parts.es9_authenticate()?),
        )?,
        der::<AuthenticateClientResponseEs9>(
            "AuthenticateClient answer",
            vector!("es9_session_synthetic/authenticate_response")?,
        )?,
        of(
            "HandleNotification",
            Request::HandleNotification(parts.es9_notify()),
        )?,
    ]
    .into_iter()
    .map(|case| Case {
        name: es9(case.name),
        ..case
    })
    .collect())
}

/// The same names stand for messages of ESipa.
fn es9(name: &'static str) -> &'static str {
    match name {
        "InitiateAuthentication request" => "ES9+ InitiateAuthentication request",
        "InitiateAuthentication answer" => "ES9+ InitiateAuthentication answer",
        "AuthenticateClient request" => "ES9+ AuthenticateClient request",
        "AuthenticateClient answer" => "ES9+ AuthenticateClient answer",
        "HandleNotification" => "ES9+ HandleNotification",
        other => other,
    }
}

fn json(parts: &Parts) -> anyhow::Result<Vec<Case>> {
    let result = decode(&vector!(
        "provide_eim_package_result_listprofileinfo_kigen"
    )?)?;
    let poll = decode(&vector!("get_eim_package_request_minimal")?)?;
    let package = GetEimPackageResponse::EuiccPackageRequest(parts.package()?);
    let bound = GetBoundProfilePackageOk {
        transaction_id: parts.transaction_id.clone(),
        bound_profile_package: decode(&vector!("bpp_onomondo")?)?,
        extensions: Default::default(),
    };
    let initiated = es9plus::Response::InitiateAuthentication(Ok(parts.initiated.clone()));
    Ok(vec![
        esipa_request("GetEimPackage request", esipa::Request::GetEimPackage(poll))?,
        esipa_response(
            "GetEimPackage: nothing",
            esipa::Response::GetEimPackage(nothing()),
        )?,
        esipa_response(
            "GetEimPackage: package",
            esipa::Response::GetEimPackage(package),
        )?,
        esipa_request(
            "ProvideEimPackageResult: 4 profiles",
            esipa::Request::ProvideEimPackageResult(result),
        )?,
        es9_request(
            "ES9+ InitiateAuthentication request",
            es9plus::Request::InitiateAuthentication(parts.es9_initiate()?),
        )?,
        es9_response("ES9+ InitiateAuthentication answer", initiated)?,
        es9_request(
            "ES9+ AuthenticateClient request",
            es9plus::Request::AuthenticateClient(parts.es9_authenticate()?),
        )?,
        es9_response(
            "ES9+ GetBoundProfilePackage answer",
            es9plus::Response::GetBoundProfilePackage(Ok(bound)),
        )?,
        es9_request(
            "ES9+ HandleNotification",
            es9plus::Request::HandleNotification(parts.es9_notify()),
        )?,
    ])
}

/// A published message, which must come back as it was.
fn der<T: Element + 'static>(name: &'static str, octets: Vec<u8>) -> anyhow::Result<Case> {
    let value = decode::<T>(&octets).context(name)?;
    ensure!(
        value.to_der() == octets,
        "{name} does not come back as it was"
    );
    Ok(Case {
        name,
        form: Form::Der,
        octets,
        decode: Box::new(|octets| T::from_der(octets).is_ok()),
        encode: Box::new(move || value.to_der()),
    })
}

/// A message that was made here.
fn of<T: Element + 'static>(name: &'static str, value: T) -> anyhow::Result<Case> {
    der::<T>(name, value.to_der())
}

fn esipa_request(name: &'static str, request: esipa::Request) -> anyhow::Result<Case> {
    let (function, octets) = request.to_json()?;
    Ok(Case {
        name,
        form: Form::Json,
        octets,
        decode: Box::new(move |octets| esipa::Request::from_json(function, octets).is_ok()),
        encode: Box::new(move || {
            request
                .to_json()
                .map(|(_, octets)| octets)
                .unwrap_or_default()
        }),
    })
}

fn esipa_response(name: &'static str, response: esipa::Response) -> anyhow::Result<Case> {
    let function = response.function();
    Ok(Case {
        name,
        form: Form::Json,
        octets: response.to_json()?.context("no body")?,
        decode: Box::new(move |octets| esipa::Response::from_json(function, octets).is_ok()),
        encode: Box::new(move || response.to_json().ok().flatten().unwrap_or_default()),
    })
}

fn es9_request(name: &'static str, request: es9plus::Request) -> anyhow::Result<Case> {
    let (function, octets) = request.to_json();
    Ok(Case {
        name,
        form: Form::Json,
        octets,
        decode: Box::new(move |octets| es9plus::Request::from_json(function, octets).is_ok()),
        encode: Box::new(move || request.to_json().1),
    })
}

fn es9_response(name: &'static str, response: es9plus::Response) -> anyhow::Result<Case> {
    let function = response.function();
    Ok(Case {
        name,
        form: Form::Json,
        octets: response.to_json().context("no body")?,
        decode: Box::new(move |octets| es9plus::Response::from_json(function, octets).is_ok()),
        encode: Box::new(move || response.to_json().unwrap_or_default()),
    })
}

fn decode<T: Element>(octets: &[u8]) -> anyhow::Result<T> {
    Ok(T::from_der(octets)?)
}

fn nothing() -> GetEimPackageResponse {
    GetEimPackageResponse::EimPackageError(EimPackageError::NoEimPackageAvailable)
}

fn acknowledged(seq_number: i64) -> ProvideEimPackageResultResponse {
    ProvideEimPackageResultResponse::EimAcknowledgements(EimAcknowledgements(vec![SequenceNumber(
        seq_number,
    )]))
}

fn eid() -> anyhow::Result<Eid> {
    Ok("89049032123451234512345678901235".parse()?)
}

fn data_request() -> anyhow::Result<IpaEuiccDataRequest> {
    Ok(IpaEuiccDataRequest {
        tag_list: Octets(vec![0xBF, 0x20, 0xBF, 0x22, 0x84, 0xA5, 0xA6, 0xA8, 0xA9]),
        euicc_ci_pk_identifier_to_be_used: None,
        search_criteria_notification: None,
        search_criteria_euicc_package_result: None,
        eim_transaction_id: Some(TransactionId::new(&[7; 16])?),
        extensions: Default::default(),
    })
}

/// Parts of one published download session, and certificates of a card.
struct Parts {
    transaction_id: TransactionId,
    info1: EuiccInfo1,
    initiated: InitiateAuthenticationOkEs9,
    authenticated: AuthenticateClientOk,
    server_response: AuthenticateServerResponse,
    prepared: PrepareDownloadResponse,
    installed: ProfileInstallationResult,
    eum_certificate: Certificate,
    euicc_certificate: Certificate,
}

impl Parts {
    fn load() -> anyhow::Result<Self> {
        let answer = vector!("es9_session_synthetic/authenticate_response")?;
        let AuthenticateClientResponseEs9::AuthenticateClientOk(authenticated) = decode(&answer)?
        else {
            anyhow::bail!("the published answer is no success");
        };
        Ok(Self {
            transaction_id: TransactionId::new(&vector!("es9_session_synthetic/transaction_id")?)?,
            info1: decode(&vector!("euicc_info1_sysmo_i2t")?)?,
            initiated: decode(&vector!("es9_session_synthetic/initiate_response")?)?,
            authenticated,
            server_response: decode(&vector!("es9_session_synthetic/auth_server_response")?)?,
            prepared: decode(&vector!("es9_session_synthetic/prepare_download_response")?)?,
            installed: decode(&vector!("es9_session_synthetic/pending_notification")?)?,
            eum_certificate: decode(&vector!("eum_certificate_sgp26")?)?,
            euicc_certificate: decode(&vector!("euicc_certificate_sysmo_i2t")?)?,
        })
    }

    fn package(&self) -> anyhow::Result<EuiccPackageRequest> {
        let enable = Psmo::Enable(EnablePsmo {
            iccid: "89000123456789012341".parse()?,
            rollback_flag: Some(rsp::der::Null),
            extensions: Default::default(),
        });
        Ok(EuiccPackageRequest {
            euicc_package_signed: Encoded::new(EuiccPackageSigned {
                eim_id: "eim.example.com".parse()?,
                eid_value: eid()?.to_field(),
                counter_value: 4711,
                eim_transaction_id: Some(TransactionId::new(&[7; 16])?),
                euicc_package: EuiccPackage::PsmoList(vec![enable]),
                extensions: Default::default(),
            }),
            eim_signature: Signature(Octets(vec![0x55; 64])),
            extensions: Default::default(),
        })
    }

    fn package_result(&self) -> anyhow::Result<EuiccPackageResult> {
        let whole = vector!("provide_eim_package_result_listprofileinfo_kigen")?;
        match decode::<ProvideEimPackageResult>(&whole)?.eim_package_result {
            EimPackageResult::EuiccPackageResult(result) => Ok(result),
            _ => anyhow::bail!("the published result is none of a package"),
        }
    }

    fn device_data(&self) -> anyhow::Result<ProvideEimPackageResult> {
        let data = IpaEuiccData {
            notifications_list: None,
            default_smdp_address: None,
            euicc_package_result_list: None,
            euicc_info1: Some(self.info1.clone()),
            euicc_info2: None,
            root_smds_address: None,
            association_token: Some(1),
            eum_certificate: Some(self.eum_certificate.clone()),
            euicc_certificate: Some(self.euicc_certificate.clone()),
            eim_transaction_id: Some(TransactionId::new(&[7; 16])?),
            ipa_capabilities: None,
            device_info: None,
            extensions: Default::default(),
        };
        Ok(ProvideEimPackageResult {
            eid_value: Some(eid()?.to_field()),
            eim_package_result: EimPackageResult::IpaEuiccDataResponse(
                IpaEuiccDataResponse::IpaEuiccData(data),
            ),
            extensions: Default::default(),
        })
    }

    fn certs(&self) -> anyhow::Result<GetCertsResponse> {
        Ok(GetCertsResponse::Certs(Certs {
            eum_certificate: self.eum_certificate.clone(),
            euicc_certificate: self.euicc_certificate.clone(),
            extensions: Default::default(),
        }))
    }

    fn initiate(&self) -> anyhow::Result<InitiateAuthenticationRequestEsipa> {
        Ok(InitiateAuthenticationRequestEsipa {
            euicc_challenge: [7; 16],
            smdp_address: Some("smdp.example.com".to_owned()),
            euicc_info1: Some(self.info1.clone()),
            eim_transaction_id: Some(TransactionId::new(&[7; 16])?),
            extensions: Default::default(),
        })
    }

    fn initiated(&self) -> anyhow::Result<InitiateAuthenticationResponseEsipa> {
        let of = self.initiated.clone();
        let ok = InitiateAuthenticationOkEsipa {
            transaction_id: Some(of.transaction_id),
            server_signed1: of.server_signed1,
            server_signature1: of.server_signature1,
            euicc_ci_pk_identifier_to_be_used: of.euicc_ci_pk_id_to_be_used.0,
            server_certificate: of.server_certificate,
            matching_id: Some("MATCHING-ID-1".to_owned()),
            ctx_params1: None,
            other_certs_in_chain: None,
            extensions: Default::default(),
        };
        Ok(InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(ok))
    }

    fn authenticate(&self) -> anyhow::Result<AuthenticateClientRequestEsipa> {
        Ok(AuthenticateClientRequestEsipa {
            transaction_id: self.transaction_id.clone(),
            authenticate_server_response: Encoded::new(self.server_response.clone()),
            extensions: Default::default(),
        })
    }

    fn authenticated(&self) -> anyhow::Result<AuthenticateClientResponseEsipa> {
        let of = self.authenticated.clone();
        let ok = AuthenticateClientOkDpEsipa {
            transaction_id: Some(of.transaction_id),
            profile_meta_data: Some(Encoded::new(of.profile_meta_data)),
            smdp_signed2: of.smdp_signed2,
            smdp_signature2: of.smdp_signature2,
            smdp_certificate: of.smdp_certificate,
            hash_cc: None,
            extensions: Default::default(),
        };
        Ok(AuthenticateClientResponseEsipa::AuthenticateClientOkDpEsipa(ok))
    }

    fn get_bound(&self) -> anyhow::Result<GetBoundProfilePackageRequestEsipa> {
        Ok(GetBoundProfilePackageRequestEsipa {
            transaction_id: self.transaction_id.clone(),
            prepare_download_response: Encoded::new(self.prepared.clone()),
            extensions: Default::default(),
        })
    }

    fn bound(&self) -> anyhow::Result<GetBoundProfilePackageResponseEsipa> {
        let ok = GetBoundProfilePackageOkEsipa {
            transaction_id: Some(self.transaction_id.clone()),
            bound_profile_package: decode(&vector!("bpp_onomondo")?)?,
            extensions: Default::default(),
        };
        Ok(GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageOkEsipa(ok))
    }

    fn notify(&self) -> anyhow::Result<HandleNotificationEsipa> {
        let notification = PendingNotification::ProfileInstallationResult(self.installed.clone());
        Ok(HandleNotificationEsipa::PendingNotification(notification))
    }

    fn authenticate_server(&self) -> anyhow::Result<AuthenticateServerRequest> {
        let of = self.initiated.clone();
        let AuthenticateServerResponse::AuthenticateResponseOk(ok) = &self.server_response else {
            anyhow::bail!("the published response is no success");
        };
        Ok(AuthenticateServerRequest {
            server_signed1: of.server_signed1,
            server_signature1: of.server_signature1,
            euicc_ci_pk_id_to_be_used: of.euicc_ci_pk_id_to_be_used,
            server_certificate: of.server_certificate,
            ctx_params1: ok.euicc_signed1.ctx_params1.clone(),
            other_certs_in_chain: None,
            extensions: Default::default(),
        })
    }

    fn prepare_download(&self) -> anyhow::Result<PrepareDownloadRequest> {
        let of = self.authenticated.clone();
        Ok(PrepareDownloadRequest {
            smdp_signed2: of.smdp_signed2,
            smdp_signature2: of.smdp_signature2,
            hash_cc: None,
            smdp_certificate: of.smdp_certificate,
            extensions: Default::default(),
        })
    }

    fn es9_initiate(&self) -> anyhow::Result<InitiateAuthenticationRequest> {
        Ok(InitiateAuthenticationRequest {
            euicc_challenge: [7; 16],
            smdp_address: "smdp.example.com".to_owned(),
            euicc_info1: self.info1.clone(),
            extensions: Default::default(),
        })
    }

    fn es9_authenticate(&self) -> anyhow::Result<AuthenticateClientRequest> {
        Ok(AuthenticateClientRequest {
            transaction_id: self.transaction_id.clone(),
            authenticate_server_response: self.server_response.clone(),
            extensions: Default::default(),
        })
    }

    fn es9_notify(&self) -> HandleNotification {
        HandleNotification {
            pending_notification: PendingNotification::ProfileInstallationResult(
                self.installed.clone(),
            ),
            extensions: Default::default(),
        }
    }
}
