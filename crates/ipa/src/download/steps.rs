//! The functions of a download session, the same whether they go to the server itself or through an eIM.

use rsp::binding::{Failure, es9plus, esipa};
use rsp::der::{Element, Encoded, Oid};
use rsp::ids::TransactionId;
use rsp::sgp22::{
    AuthenticateClientRequest, AuthenticateServerResponse, CancelSessionReason,
    CancelSessionRequestEs9, CancelSessionResponse, Certificate, CertificateChain, CtxParams1,
    EuiccInfo1, EventEntries, GetBoundProfilePackageRequest, InitiateAuthenticationRequest,
    KeyIdentifier, PrepareDownloadResponse, ServerSigned1, Signature, SmdpSigned2,
    StoreMetadataRequest,
};
use rsp::sgp32::{
    AuthenticateClientErrorEsipa, AuthenticateClientRequestEsipa, AuthenticateClientResponseEsipa,
    CancelSessionRequestEsipa, GetBoundProfilePackageErrorEsipa,
    GetBoundProfilePackageRequestEsipa, GetBoundProfilePackageResponseEsipa,
    InitiateAuthenticationRequestEsipa, InitiateAuthenticationResponseEsipa, IpaFeatures,
    ProfileDownloadTriggerRequest,
};

use super::{Abort, Order, Way};
use crate::card::CardError;
use crate::client::ServerError;
use crate::engine::Engine;

/// Answer of InitiateAuthentication.
pub(super) struct Initiated {
    pub(super) transaction_id: TransactionId,
    pub(super) server_signed1: Encoded<ServerSigned1>,
    pub(super) server_signature1: Signature,
    pub(super) ci_key_id: KeyIdentifier,
    pub(super) server_certificate: Certificate,
    /// Sub-CAs between the certificate and the CI. For the eUICC to judge, as the certificate.
    pub(super) other_certs_in_chain: Option<CertificateChain>,
    /// From an eIM that holds the code.
    pub(super) matching_id: Option<String>,
    /// From an eIM that makes them itself.
    pub(super) ctx_params1: Option<CtxParams1>,
}

/// Answer of AuthenticateClient.
pub(super) enum Authenticated {
    Profile(Box<Offer>),
    Events(Vec<EventEntries>),
    Trigger(Option<ProfileDownloadTriggerRequest>),
}

/// A Profile that a server holds ready.
pub(super) struct Offer {
    /// Absent when the eIM looked at them.
    pub(super) metadata: Option<StoreMetadataRequest>,
    pub(super) smdp_signed2: Encoded<SmdpSigned2>,
    pub(super) smdp_signature2: Signature,
    pub(super) smdp_certificate: Certificate,
    pub(super) hash_cc: Option<[u8; 32]>,
}

impl Engine<'_> {
    pub(super) fn initiate_authentication(
        &mut self,
        order: &Order,
        euicc_challenge: [u8; 16],
        info1: EuiccInfo1,
    ) -> Result<Initiated, Abort> {
        match &order.way {
            Way::Direct(server) => {
                let request = InitiateAuthenticationRequest {
                    euicc_challenge,
                    smdp_address: server.host().to_owned(),
                    euicc_info1: info1,
                    extensions: Default::default(),
                };
                let request = es9plus::Request::InitiateAuthentication(request);
                let answer = self.call_rsp(server, &request).map_err(unanswered)?;
                let ok = match answer {
                    es9plus::Response::InitiateAuthentication(Ok(ok)) => ok,
                    es9plus::Response::InitiateAuthentication(Err(ref failure)) => {
                        return Err(refused_directly(failure, &answer));
                    }
                    _ => return Err(out_of_place()),
                };
                Ok(Initiated {
                    transaction_id: ok.transaction_id,
                    server_signed1: ok.server_signed1,
                    server_signature1: ok.server_signature1,
                    ci_key_id: ok.euicc_ci_pk_id_to_be_used,
                    server_certificate: ok.server_certificate,
                    other_certs_in_chain: ok.other_certs_in_chain,
                    matching_id: None,
                    ctx_params1: None,
                })
            }
            Way::Indirect {
                eim,
                address,
                eim_transaction_id,
            } => {
                let is_minimal = self
                    .config
                    .features
                    .contains(IpaFeatures::MINIMIZE_ESIPA_BYTES);
                let request = InitiateAuthenticationRequestEsipa {
                    euicc_challenge,
                    smdp_address: address.clone(),
                    euicc_info1: (!is_minimal).then_some(info1),
                    eim_transaction_id: eim_transaction_id.clone(),
                    extensions: Default::default(),
                };
                let request = esipa::Request::InitiateAuthentication(request);
                let esipa::Response::InitiateAuthentication(answer) =
                    self.call_eim(eim, &request).map_err(unanswered)?
                else {
                    return Err(out_of_place());
                };
                let ok = match answer {
                    InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(ok) => ok,
                    InitiateAuthenticationResponseEsipa::InitiateAuthenticationErrorEsipa(code) => {
                        let reason = format!("InitiateAuthentication: {code}");
                        return Err(Abort::refused(reason, answer.to_der()));
                    }
                    InitiateAuthenticationResponseEsipa::Unknown(_) => return Err(out_of_place()),
                };
                let transaction_id = match ok.transaction_id {
                    Some(transaction_id) => transaction_id,
                    None => ok.server_signed1.transaction_id.clone(),
                };
                Ok(Initiated {
                    transaction_id,
                    server_signed1: ok.server_signed1,
                    server_signature1: ok.server_signature1,
                    ci_key_id: KeyIdentifier(ok.euicc_ci_pk_identifier_to_be_used),
                    server_certificate: ok.server_certificate,
                    other_certs_in_chain: ok.other_certs_in_chain,
                    matching_id: ok.matching_id,
                    ctx_params1: ok.ctx_params1,
                })
            }
        }
    }

    pub(super) fn authenticate_client(
        &mut self,
        order: &Order,
        transaction_id: &TransactionId,
        response: AuthenticateServerResponse,
    ) -> Result<Authenticated, Abort> {
        let unanswered = |error| unanswered_within(error, transaction_id);
        match &order.way {
            Way::Direct(server) => {
                let request = es9plus::Request::AuthenticateClient(AuthenticateClientRequest {
                    transaction_id: transaction_id.clone(),
                    authenticate_server_response: response,
                    extensions: Default::default(),
                });
                let answer = self.call_rsp(server, &request).map_err(unanswered)?;
                match answer {
                    es9plus::Response::AuthenticateClient(Ok(ok)) => {
                        check_transaction(transaction_id, Some(&ok.transaction_id))?;
                        Ok(Authenticated::Profile(Box::new(Offer {
                            metadata: Some(ok.profile_meta_data),
                            smdp_signed2: ok.smdp_signed2,
                            smdp_signature2: ok.smdp_signature2,
                            smdp_certificate: ok.smdp_certificate,
                            hash_cc: None,
                        })))
                    }
                    es9plus::Response::AuthenticateClientEs11(Ok(ok)) => {
                        Ok(Authenticated::Events(ok.event_entries))
                    }
                    es9plus::Response::AuthenticateClient(Err(ref failure))
                    | es9plus::Response::AuthenticateClientEs11(Err(ref failure)) => {
                        Err(refused_directly(failure, &answer))
                    }
                    _ => Err(out_of_place()),
                }
            }
            Way::Indirect { eim, .. } => {
                let request = esipa::Request::AuthenticateClient(AuthenticateClientRequestEsipa {
                    transaction_id: transaction_id.clone(),
                    authenticate_server_response: Encoded::new(response),
                    extensions: Default::default(),
                });
                let esipa::Response::AuthenticateClient(answer) =
                    self.call_eim(eim, &request).map_err(unanswered)?
                else {
                    return Err(out_of_place());
                };
                use AuthenticateClientResponseEsipa as A;
                match answer {
                    A::AuthenticateClientOkDpEsipa(ok) => {
                        check_transaction(transaction_id, ok.transaction_id.as_ref())?;
                        Ok(Authenticated::Profile(Box::new(Offer {
                            metadata: ok.profile_meta_data.map(Encoded::into_value),
                            smdp_signed2: ok.smdp_signed2,
                            smdp_signature2: ok.smdp_signature2,
                            smdp_certificate: ok.smdp_certificate,
                            hash_cc: ok.hash_cc,
                        })))
                    }
                    A::AuthenticateClientOkDsEsipa(ok) => {
                        Ok(Authenticated::Trigger(ok.profile_download_trigger))
                    }
                    A::AuthenticateClientErrorEsipa(code) => {
                        // The server still has its session only where it was the eIM that refused.
                        let cancel = (code == AuthenticateClientErrorEsipa::PprNotAllowed)
                            .then(|| (transaction_id.clone(), CancelSessionReason::PprNotAllowed));
                        Err(Abort::Failed {
                            reason: format!("AuthenticateClient: {code}"),
                            error_response: Some(answer.to_der()),
                            cancel,
                        })
                    }
                    A::Unknown(_) => Err(out_of_place()),
                }
            }
        }
    }

    /// The Bound Profile Package as DER.
    pub(super) fn get_bound_profile_package(
        &mut self,
        order: &Order,
        transaction_id: &TransactionId,
        response: PrepareDownloadResponse,
    ) -> Result<Vec<u8>, Abort> {
        let unanswered = |error| unanswered_within(error, transaction_id);
        match &order.way {
            Way::Direct(server) => {
                let request =
                    es9plus::Request::GetBoundProfilePackage(GetBoundProfilePackageRequest {
                        transaction_id: transaction_id.clone(),
                        prepare_download_response: response,
                        extensions: Default::default(),
                    });
                let answer = self.call_rsp(server, &request).map_err(unanswered)?;
                match answer {
                    es9plus::Response::GetBoundProfilePackage(Ok(ok)) => {
                        check_transaction(transaction_id, Some(&ok.transaction_id))?;
                        Ok(ok.bound_profile_package.to_der())
                    }
                    es9plus::Response::GetBoundProfilePackage(Err(ref failure)) => {
                        Err(refused_directly(failure, &answer))
                    }
                    _ => Err(out_of_place()),
                }
            }
            Way::Indirect { eim, .. } => {
                let request =
                    esipa::Request::GetBoundProfilePackage(GetBoundProfilePackageRequestEsipa {
                        transaction_id: transaction_id.clone(),
                        prepare_download_response: Encoded::new(response),
                        extensions: Default::default(),
                    });
                let esipa::Response::GetBoundProfilePackage(answer) =
                    self.call_eim(eim, &request).map_err(unanswered)?
                else {
                    return Err(out_of_place());
                };
                use GetBoundProfilePackageResponseEsipa as A;
                match answer {
                    A::GetBoundProfilePackageOkEsipa(ok) => {
                        check_transaction(transaction_id, ok.transaction_id.as_ref())?;
                        Ok(ok.bound_profile_package.bytes().to_vec())
                    }
                    A::GetBoundProfilePackageErrorEsipa(code) => {
                        let cancel = (code == GetBoundProfilePackageErrorEsipa::MetadataMismatch)
                            .then(|| {
                                (
                                    transaction_id.clone(),
                                    CancelSessionReason::MetadataMismatch,
                                )
                            });
                        Err(Abort::Failed {
                            reason: format!("GetBoundProfilePackage: {code}"),
                            error_response: Some(answer.to_der()),
                            cancel,
                        })
                    }
                    A::Unknown(_) => Err(out_of_place()),
                }
            }
        }
    }

    /// Ends a session on the eUICC and tells the server, as far as that is possible.
    pub(super) fn cancel(
        &mut self,
        order: &Order,
        transaction_id: &TransactionId,
        reason: CancelSessionReason,
    ) -> Result<(), CardError> {
        let response = match self.es10().cancel_session(transaction_id.clone(), reason) {
            Ok(response @ CancelSessionResponse::CancelSessionResponseOk(_)) => response,
            Ok(_) | Err(CardError::Status { .. } | CardError::Malformed { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        // A server that does not hear of it forgets the session after a while.
        let transaction_id = transaction_id.clone();
        let outcome = match &order.way {
            Way::Direct(server) => {
                let request = es9plus::Request::CancelSession(CancelSessionRequestEs9 {
                    transaction_id,
                    cancel_session_response: response,
                    extensions: Default::default(),
                });
                self.call_rsp(server, &request).map(drop)
            }
            Way::Indirect { eim, .. } => {
                let request = esipa::Request::CancelSession(CancelSessionRequestEsipa {
                    transaction_id,
                    cancel_session_response: response,
                    extensions: Default::default(),
                });
                self.call_eim(eim, &request).map(drop)
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(
                error = error.describe(),
                "the server did not hear of the cancellation"
            );
        }
        Ok(())
    }
}

/// OID of the server, from its certificate.
pub(super) fn registered_id(certificate: &Certificate) -> Option<Oid> {
    let certificate = pki::Certificate::from_der(certificate.as_der()).ok()?;
    certificate.registered_id().cloned()
}

fn check_transaction(ours: &TransactionId, found: Option<&TransactionId>) -> Result<(), Abort> {
    if found.is_some_and(|found| found != ours) {
        let reason = "the server answers for another transaction";
        return Err(Abort::cancelled(
            reason,
            ours,
            CancelSessionReason::UndefinedReason,
        ));
    }
    Ok(())
}

fn unanswered(error: ServerError) -> Abort {
    Abort::Server {
        error,
        open_session: None,
    }
}

fn unanswered_within(error: ServerError, transaction_id: &TransactionId) -> Abort {
    Abort::Server {
        error,
        open_session: Some(transaction_id.clone()),
    }
}

fn refused_directly(failure: &Failure, answer: &es9plus::Response) -> Abort {
    Abort::Failed {
        reason: failure.to_string(),
        error_response: answer.to_asn1(),
        cancel: None,
    }
}

fn out_of_place() -> Abort {
    Abort::failed("the server answers with something else than was asked for")
}
