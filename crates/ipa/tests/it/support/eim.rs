//! An eIM that does what the test queued, signs with a real key, and believes only results that verify.

use std::collections::VecDeque;

use pki::{Certificate, PrivateKey, Signer as _};
use rsp::binding::es9plus;
use rsp::binding::esipa::{Request, Response};
use rsp::der::{Encoded, Null, Octets, Writer};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{
    AuthenticateServerResponse, PendingNotification, PrepareDownloadResponse, Signature,
    SubjectPublicKeyInfo,
};
use rsp::sgp32::{
    AuthenticateClientOkDpEsipa, AuthenticateClientOkDsEsipa, AuthenticateClientResponseEsipa,
    CancelSessionOk, CancelSessionResponseEsipa, Eco, EimAcknowledgements, EimConfigurationData,
    EimIdType, EimPackageError, EimPackageResult, EimPublicKeyData, EimSupportedProtocol,
    EmptyResponse, EuiccPackage, EuiccPackageRequest, EuiccPackageResult, EuiccPackageSigned,
    EuiccResultData, GetBoundProfilePackageOkEsipa, GetBoundProfilePackageResponseEsipa,
    GetEimPackageRequest, GetEimPackageResponse, HandleNotificationEsipa,
    InitiateAuthenticationOkEsipa, InitiateAuthenticationResponseEsipa, IpaEuiccDataRequest,
    IpaEuiccDataResponse, ProfileDownloadData, ProfileDownloadTriggerRequest,
    ProvideEimPackageResultError, ProvideEimPackageResultResponse, Psmo, SequenceNumber,
    TrustedPublicKeyDataTls,
};

use super::{SMDP, ScriptedSmdp};

/// Something that the eIM has for the device.
#[derive(Debug, Clone)]
pub(crate) enum Package {
    Psmos(Vec<Psmo>),
    Ecos(Vec<Eco>),
    /// A package signed elsewhere.
    Signed(EuiccPackageRequest),
    Data(IpaEuiccDataRequest),
    Download(Option<ProfileDownloadData>),
    Raw(GetEimPackageResponse),
}

/// Something that the device answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// A signed result, verified, with the number of Notifications that came along.
    Result {
        outcomes: Vec<EuiccResultData>,
        sequence_number: i64,
        notifications: usize,
    },
    /// A result that is an error.
    Error(EuiccPackageResult),
    Data(IpaEuiccDataResponse),
    /// Anything else in ProvideEimPackageResult or HandleNotification.
    Other(EimPackageResult),
    Notification(PendingNotification),
}

pub(crate) struct ScriptedEim {
    pub(crate) id: String,
    pub(crate) eid: Eid,
    pub(crate) key: PrivateKey,
    euicc: Certificate,
    pub(crate) token: i64,
    pub(crate) counter: i64,
    pub(crate) queue: VecDeque<Package>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) polls: Vec<GetEimPackageRequest>,
    pub(crate) acknowledges: bool,
    /// Results that it goes on to refuse.
    pub(crate) refusals_left: usize,
    /// Acknowledged besides what came.
    pub(crate) also_acknowledge: Vec<i64>,
    /// The code that the eIM holds for indirect downloads.
    pub(crate) matching_id: Option<String>,
    pub(crate) hash_cc: Option<[u8; 32]>,
    pub(crate) cancelled: Vec<i64>,
    /// For an SM-DS: the trigger that answers AuthenticateClient.
    pub(crate) event: Option<Option<ProfileDownloadData>>,
}

impl ScriptedEim {
    pub(crate) fn new(id: &str, eid: Eid, key: PrivateKey, euicc: Certificate) -> Self {
        Self {
            id: id.to_owned(),
            eid,
            key,
            euicc,
            token: 0,
            counter: 0,
            queue: VecDeque::new(),
            answers: Vec::new(),
            polls: Vec::new(),
            acknowledges: true,
            refusals_left: 0,
            also_acknowledge: Vec::new(),
            matching_id: None,
            hash_cc: None,
            cancelled: Vec::new(),
            event: None,
        }
    }

    pub(crate) fn configuration(&self, indirect: bool) -> EimConfigurationData {
        let key =
            SubjectPublicKeyInfo::from_der_bytes(self.key.public_key().to_spki_der()).unwrap();
        EimConfigurationData {
            eim_id_type: Some(EimIdType::EimIdTypeFqdn),
            counter_value: Some(0),
            association_token: Some(EimConfigurationData::COMPUTE_ASSOCIATION_TOKEN),
            eim_public_key_data: Some(EimPublicKeyData::EimPublicKey(key.clone())),
            trusted_public_key_data_tls: Some(TrustedPublicKeyDataTls::TrustedEimPkTls(key)),
            eim_supported_protocol: Some(EimSupportedProtocol::of([
                EimSupportedProtocol::EIM_RETRIEVE_HTTPS,
            ])),
            indirect_profile_download: indirect.then_some(Null),
            ..EimConfigurationData::named(self.id.parse().unwrap())
        }
    }

    /// Signs the next package.
    pub(crate) fn sign(&mut self, euicc_package: EuiccPackage) -> EuiccPackageRequest {
        self.counter += 1;
        let signed = Encoded::new(EuiccPackageSigned {
            eim_id: self.id.parse().unwrap(),
            eid_value: self.eid.to_field(),
            counter_value: self.counter,
            eim_transaction_id: Some(self.transaction_id()),
            euicc_package,
            extensions: Default::default(),
        });
        let signature = self
            .key
            .sign_parts(&[signed.bytes(), &self.token_object()])
            .unwrap();
        EuiccPackageRequest {
            euicc_package_signed: signed,
            eim_signature: Signature(Octets(signature.as_bytes().to_vec())),
            extensions: Default::default(),
        }
    }

    pub(crate) fn transaction_id(&self) -> TransactionId {
        TransactionId::new(&self.counter.to_be_bytes()).unwrap()
    }

    fn token_object(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.value(0x84, &self.token);
        writer.into_bytes()
    }

    pub(crate) fn trigger(
        &mut self,
        data: Option<ProfileDownloadData>,
    ) -> ProfileDownloadTriggerRequest {
        self.counter += 1;
        ProfileDownloadTriggerRequest {
            profile_download_data: data,
            eim_transaction_id: Some(self.transaction_id()),
            extensions: Default::default(),
        }
    }

    pub(crate) fn handle(&mut self, request: Request, smdp: &mut ScriptedSmdp) -> Response {
        match request {
            Request::GetEimPackage(poll) => {
                assert_eq!(poll.eid_value, self.eid.to_field());
                self.polls.push(poll);
                Response::GetEimPackage(self.next_package())
            }
            Request::ProvideEimPackageResult(result) => {
                assert_eq!(result.eid_value, Some(self.eid.to_field()));
                if self.refusals_left > 0 {
                    self.refusals_left -= 1;
                    return Response::ProvideEimPackageResult(
                        ProvideEimPackageResultResponse::ProvideEimPackageResultError(
                            ProvideEimPackageResultError::UndefinedError,
                        ),
                    );
                }
                let mut numbers = self.take_result(result.eim_package_result);
                numbers.append(&mut self.also_acknowledge);
                let answer = if numbers.is_empty() || !self.acknowledges {
                    ProvideEimPackageResultResponse::EmptyResponse(EmptyResponse {
                        extensions: Default::default(),
                    })
                } else {
                    let list = numbers.into_iter().map(SequenceNumber).collect();
                    ProvideEimPackageResultResponse::EimAcknowledgements(EimAcknowledgements(list))
                };
                Response::ProvideEimPackageResult(answer)
            }
            Request::HandleNotification(HandleNotificationEsipa::ProvideEimPackageResult(
                result,
            )) => {
                self.take_result(result.eim_package_result);
                Response::HandleNotification
            }
            Request::HandleNotification(HandleNotificationEsipa::PendingNotification(found)) => {
                self.answers.push(Answer::Notification(found));
                Response::HandleNotification
            }
            other => self.relay(other, smdp),
        }
    }

    fn next_package(&mut self) -> GetEimPackageResponse {
        match self.queue.pop_front() {
            None => GetEimPackageResponse::EimPackageError(EimPackageError::NoEimPackageAvailable),
            Some(Package::Psmos(operations)) => GetEimPackageResponse::EuiccPackageRequest(
                self.sign(EuiccPackage::PsmoList(operations)),
            ),
            Some(Package::Ecos(operations)) => GetEimPackageResponse::EuiccPackageRequest(
                self.sign(EuiccPackage::EcoList(operations)),
            ),
            Some(Package::Signed(package)) => GetEimPackageResponse::EuiccPackageRequest(package),
            Some(Package::Data(request)) => GetEimPackageResponse::IpaEuiccDataRequest(request),
            Some(Package::Download(data)) => {
                GetEimPackageResponse::ProfileDownloadTriggerRequest(self.trigger(data))
            }
            Some(Package::Raw(response)) => response,
        }
    }

    /// Notes an answer and returns the numbers in it.
    pub(crate) fn take_result(&mut self, result: EimPackageResult) -> Vec<i64> {
        match result {
            EimPackageResult::EuiccPackageResult(result) => self.take_package_result(result, &[]),
            EimPackageResult::EprAndNotifications(both) => {
                assert!(
                    !both.notification_list.is_empty(),
                    "an empty list is not allowed"
                );
                self.take_package_result(both.euicc_package_result, &both.notification_list)
            }
            EimPackageResult::IpaEuiccDataResponse(data) => {
                self.answers.push(Answer::Data(data));
                Vec::new()
            }
            other => {
                self.answers.push(Answer::Other(other));
                Vec::new()
            }
        }
    }

    fn take_package_result(
        &mut self,
        result: EuiccPackageResult,
        notifications: &[PendingNotification],
    ) -> Vec<i64> {
        let EuiccPackageResult::EuiccPackageResultSigned(signed) = result else {
            self.answers.push(Answer::Error(result));
            return Vec::new();
        };
        let data = &signed.euicc_package_result_data_signed;
        let signature = pki::Signature::from_wire(&signed.euicc_sign_epr).unwrap();
        self.euicc
            .public_key()
            .unwrap()
            .verify_parts(&[data.bytes(), &self.token_object()], &signature)
            .expect("the result must come through untouched");
        assert_eq!(data.eim_id.as_str(), self.id);
        self.answers.push(Answer::Result {
            outcomes: data.euicc_result.clone(),
            sequence_number: data.seq_number,
            notifications: notifications.len(),
        });
        let of_notifications = notifications.iter().map(|notification| match notification {
            PendingNotification::OtherSignedNotification(other) => {
                other.tbs_other_notification.seq_number
            }
            PendingNotification::ProfileInstallationResult(result) => {
                result
                    .profile_installation_result_data
                    .notification_metadata
                    .seq_number
            }
            other => panic!("{other:?}"),
        });
        std::iter::once(data.seq_number)
            .chain(of_notifications)
            .collect()
    }

    /// ES9+' as an eIM that holds the code.
    fn relay(&mut self, request: Request, smdp: &mut ScriptedSmdp) -> Response {
        match request {
            Request::InitiateAuthentication(request) => {
                let answer = smdp.handle(
                    es9plus::Request::InitiateAuthentication(
                        rsp::sgp22::InitiateAuthenticationRequest {
                            euicc_challenge: request.euicc_challenge,
                            smdp_address: request.smdp_address.unwrap_or_else(|| SMDP.to_owned()),
                            euicc_info1: request.euicc_info1.unwrap(),
                            extensions: Default::default(),
                        },
                    ),
                    false,
                );
                let es9plus::Response::InitiateAuthentication(Ok(ok)) = answer else {
                    panic!("{answer:?}")
                };
                Response::InitiateAuthentication(
                    InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(
                        InitiateAuthenticationOkEsipa {
                            transaction_id: Some(ok.transaction_id),
                            server_signed1: ok.server_signed1,
                            server_signature1: ok.server_signature1,
                            euicc_ci_pk_identifier_to_be_used: ok.euicc_ci_pk_id_to_be_used.0,
                            server_certificate: ok.server_certificate,
                            matching_id: self.matching_id.clone(),
                            ctx_params1: None,
                            other_certs_in_chain: ok.other_certs_in_chain,
                            extensions: Default::default(),
                        },
                    ),
                )
            }
            Request::AuthenticateClient(request) => {
                if let Some(event) = self.event.take() {
                    let trigger = event.map(|data| self.trigger(Some(data)));
                    return Response::AuthenticateClient(
                        AuthenticateClientResponseEsipa::AuthenticateClientOkDsEsipa(
                            AuthenticateClientOkDsEsipa {
                                transaction_id: request.transaction_id,
                                profile_download_trigger: trigger,
                                extensions: Default::default(),
                            },
                        ),
                    );
                }
                let response: AuthenticateServerResponse =
                    request.authenticate_server_response.into_value();
                let answer = smdp.handle(
                    es9plus::Request::AuthenticateClient(rsp::sgp22::AuthenticateClientRequest {
                        transaction_id: request.transaction_id,
                        authenticate_server_response: response,
                        extensions: Default::default(),
                    }),
                    false,
                );
                let es9plus::Response::AuthenticateClient(Ok(ok)) = answer else {
                    panic!("{answer:?}")
                };
                Response::AuthenticateClient(
                    AuthenticateClientResponseEsipa::AuthenticateClientOkDpEsipa(
                        AuthenticateClientOkDpEsipa {
                            transaction_id: Some(ok.transaction_id),
                            profile_meta_data: Some(Encoded::new(ok.profile_meta_data)),
                            smdp_signed2: ok.smdp_signed2,
                            smdp_signature2: ok.smdp_signature2,
                            smdp_certificate: ok.smdp_certificate,
                            hash_cc: self.hash_cc,
                            extensions: Default::default(),
                        },
                    ),
                )
            }
            Request::GetBoundProfilePackage(request) => {
                let response: PrepareDownloadResponse =
                    request.prepare_download_response.into_value();
                let answer = smdp.handle(
                    es9plus::Request::GetBoundProfilePackage(
                        rsp::sgp22::GetBoundProfilePackageRequest {
                            transaction_id: request.transaction_id,
                            prepare_download_response: response,
                            extensions: Default::default(),
                        },
                    ),
                    false,
                );
                let es9plus::Response::GetBoundProfilePackage(Ok(ok)) = answer else {
                    panic!("{answer:?}")
                };
                Response::GetBoundProfilePackage(
                    GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageOkEsipa(
                        GetBoundProfilePackageOkEsipa {
                            transaction_id: Some(ok.transaction_id),
                            bound_profile_package: Encoded::new(ok.bound_profile_package),
                            extensions: Default::default(),
                        },
                    ),
                )
            }
            Request::CancelSession(request) => {
                self.cancelled
                    .push(super::smdp::cancel_reason(&request.cancel_session_response));
                Response::CancelSession(CancelSessionResponseEsipa::CancelSessionOk(
                    CancelSessionOk {
                        extensions: Default::default(),
                    },
                ))
            }
            other => panic!("{other:?}"),
        }
    }
}
