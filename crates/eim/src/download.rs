//! Indirect Profile download (SGP.32 section 3.2.3.2): this eIM stands between the IPA and the
//! SM-DP+ and relays what they sign, untouched.
//!
//! Sessions live in memory. After a restart a device finds its session gone, cancels, and gets the
//! trigger again at its next poll, because the operation is still in flight.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsp::binding::ErrorCode;
use rsp::binding::es9plus::{Request, Response};
use rsp::der::{Element, Oid};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{
    AuthenticateClientOk, AuthenticateClientOkEs11, AuthenticateClientRequest,
    AuthenticateResponseOk, AuthenticateServerResponse, BoundProfilePackage,
    CancelSessionRequestEs9, CancelSessionResponse, Certificate, CompactAuthenticateResponseOk,
    EuiccInfo1, GetBoundProfilePackageRequest, InitiateAuthenticationRequest,
    PrepareDownloadResponse, StoreMetadataRequest,
};
use rsp::sgp32::{
    AuthenticateClientErrorEsipa, AuthenticateClientOkDpEsipa, AuthenticateClientOkDsEsipa,
    AuthenticateClientRequestEsipa, AuthenticateClientResponseEsipa, CancelSessionErrorEsipa,
    CancelSessionOk, CancelSessionRequestEsipa, CancelSessionResponseEsipa,
    GetBoundProfilePackageErrorEsipa, GetBoundProfilePackageOkEsipa,
    GetBoundProfilePackageRequestEsipa, GetBoundProfilePackageResponseEsipa,
    InitiateAuthenticationErrorEsipa, InitiateAuthenticationOkEsipa,
    InitiateAuthenticationRequestEsipa, InitiateAuthenticationResponseEsipa,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::compact::{self, Known};
use crate::devices::CertificateProblem;
use crate::openings::NotOpened;
use crate::servers::{ServerRefused, SubCas};
use crate::tables::operations;
use crate::{ConnectionId, Device, Eim, Operation, OperationState, Peer};
use intent::command::{self, ActivationCode, Command, DownloadSource};

/// Sessions at a time; beyond it the oldest ends.
const SESSIONS_MAX: usize = 10_000;
/// How long a session lasts.
const SESSION_MS: i64 = 15 * 60 * 1000;

#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<TransactionId, Session>>,
    /// Where the events of an SM-DS have sent an operation.
    redirects: Memory<Uuid, Redirect>,
    pub(crate) lost_results: Memory<Eid, Uuid>,
}

/// An event that an SM-DS holds for an eUICC.
#[derive(Clone)]
struct Redirect {
    smdp_address: String,
    event_id: String,
}

#[derive(Clone)]
struct Session {
    eid: Eid,
    operation: Uuid,
    connection: ConnectionId,
    confirmation_code: Option<String>,
    metadata: Option<StoreMetadataRequest>,
    sub_cas: SubCas,
    known: Known,
    started_at: i64,
}

impl Session {
    fn smdp_address(&self) -> &str {
        &self.known.server_address
    }
}

/// Whose download a session was.
#[derive(Clone, Copy)]
pub(crate) struct SessionOwner {
    pub(crate) eid: Eid,
    pub(crate) operation: Uuid,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<TransactionId, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: TransactionId, session: Session) {
        let mut open = self.lock();
        let now = session.started_at;
        open.retain(|_, session| now - session.started_at < SESSION_MS);
        if open.len() >= SESSIONS_MAX
            && let Some(oldest) = open
                .iter()
                .min_by_key(|(_, session)| session.started_at)
                .map(|(id, _)| id.clone())
        {
            open.remove(&oldest);
        }
        open.insert(id, session);
    }

    /// The session, if it is this connection's.
    fn of(&self, id: &TransactionId, connection: ConnectionId, now: i64) -> Option<Session> {
        self.lock()
            .get(id)
            .filter(|session| {
                session.connection == connection && now - session.started_at < SESSION_MS
            })
            .cloned()
    }

    /// Whose session it was, whatever the connection: for a result that the eUICC signed.
    pub(crate) fn ended(&self, id: &TransactionId) -> Option<SessionOwner> {
        self.lock().get(id).map(|session| SessionOwner {
            eid: session.eid,
            operation: session.operation,
        })
    }

    /// The metadata that the SM-DP+ announced in a session.
    pub(crate) fn metadata(&self, id: &TransactionId) -> Option<StoreMetadataRequest> {
        self.lock()
            .get(id)
            .and_then(|session| session.metadata.clone())
    }

    /// What the SM-DP+ answered to AuthenticateClient.
    fn announce(&self, id: &TransactionId, ok: &AuthenticateClientOk, hash_cc: Option<[u8; 32]>) {
        if let Some(session) = self.lock().get_mut(id) {
            session.known.iccid = Some(ok.profile_meta_data.iccid);
            session.known.euicc_otpk = ok.smdp_signed2.bpp_euicc_otpk.clone();
            session.known.hash_cc = hash_cc;
            session.metadata = Some(ok.profile_meta_data.clone());
        }
    }

    /// What may be left out of compact messages of a session.
    pub(crate) fn known(&self, id: &TransactionId) -> Option<Known> {
        self.lock().get(id).map(|session| session.known.clone())
    }
}

/// A bounded map for what may be forgotten.
pub(crate) struct Memory<K, V>(Mutex<HashMap<K, V>>);

const MEMORY_MAX: usize = 10_000;

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    pub(crate) fn insert(&self, key: K, value: V) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MEMORY_MAX {
            map.clear();
        }
        map.insert(key, value);
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    pub(crate) fn remove(&self, key: &K) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// What the operator asked to download.
struct Order {
    smdp_address: String,
    matching_id: Option<String>,
    smdp_oid: Option<String>,
    confirmation_code: Option<String>,
}

impl Eim {
    /// ESipa.InitiateAuthentication.
    pub(crate) async fn initiate_authentication(
        &self,
        request: InitiateAuthenticationRequestEsipa,
        peer: &Peer,
    ) -> InitiateAuthenticationResponseEsipa {
        match self.initiate(request, peer).await {
            Ok(ok) => InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa(ok),
            Err(code) => {
                InitiateAuthenticationResponseEsipa::InitiateAuthenticationErrorEsipa(code)
            }
        }
    }

    async fn initiate(
        &self,
        request: InitiateAuthenticationRequestEsipa,
        peer: &Peer,
    ) -> Result<InitiateAuthenticationOkEsipa, InitiateAuthenticationErrorEsipa> {
        use InitiateAuthenticationErrorEsipa as Code;
        let operation = self
            .triggered(request.eim_transaction_id.as_ref(), peer.connection)
            .ok_or(Code::InvalidEimTransactionId)?;
        let device = self
            .managed(operation.eid)
            .map_err(|_| Code::InvalidEimTransactionId)?;
        let reference = operation
            .authority_reference()
            .ok_or(Code::UndefinedError)?;
        let Ok(Ok(released)) = self.link.release(reference).await else {
            return Err(Code::UndefinedError);
        };
        let operation = match self.opened(&operation, &released) {
            Ok(opened) => opened,
            Err(why) => {
                if !matches!(why, NotOpened::Storage(_)) {
                    self.end_in_flight(operation.id, &why.to_string()).await;
                }
                return Err(Code::UndefinedError);
            }
        };
        let redirect = self.downloads.redirects.get(&operation.id);
        let order = order(
            &operation,
            &device,
            request.smdp_address.as_deref(),
            redirect,
        )?;
        let euicc_info1 = match request.euicc_info1 {
            Some(info) => info,
            None => device
                .euicc_info1
                .as_deref()
                .and_then(|der| EuiccInfo1::from_der(der).ok())
                .ok_or(Code::UndefinedError)?,
        };
        let call = Request::InitiateAuthentication(InitiateAuthenticationRequest {
            euicc_challenge: request.euicc_challenge,
            smdp_address: order.smdp_address.clone(),
            euicc_info1,
            extensions: Default::default(),
        });
        let answer = self
            .relay(&order.smdp_address, call)
            .await
            .ok_or(Code::UndefinedError)?;
        let ok = match answer {
            Response::InitiateAuthentication(Ok(ok)) => ok,
            Response::InitiateAuthentication(Err(failure)) => {
                return Err(Code::from_status(&failure.code));
            }
            _ => return Err(Code::UndefinedError),
        };
        if !ok
            .server_signed1
            .server_address
            .eq_ignore_ascii_case(&order.smdp_address)
        {
            return Err(Code::SmdpAddressMismatch);
        }
        if !has_oid(&ok.server_certificate, order.smdp_oid.as_deref()) {
            return Err(Code::SmdpOidMismatch);
        }
        let others = ok.other_certs_in_chain.as_ref();
        let sub_cas = match self.check_server(&ok.server_certificate, others) {
            Ok(sub_cas) => sub_cas,
            Err(problem) => {
                self.end_refused(operation.id, &order.smdp_address, &problem)
                    .await;
                return Err(server_code(&problem));
            }
        };
        self.downloads.begin(
            ok.transaction_id.clone(),
            Session {
                eid: operation.eid,
                operation: operation.id,
                connection: peer.connection,
                confirmation_code: order.confirmation_code,
                metadata: None,
                sub_cas,
                known: Known {
                    transaction_id: ok.transaction_id.clone(),
                    server_address: order.smdp_address,
                    server_challenge: ok.server_signed1.server_challenge,
                    smdp_oid: registered_id(&ok.server_certificate),
                    euicc_otpk: None,
                    hash_cc: None,
                    iccid: None,
                },
                started_at: self.now_ms(),
            },
        );
        Ok(InitiateAuthenticationOkEsipa {
            transaction_id: Some(ok.transaction_id),
            server_signed1: ok.server_signed1,
            server_signature1: ok.server_signature1,
            euicc_ci_pk_identifier_to_be_used: ok.euicc_ci_pk_id_to_be_used.0,
            server_certificate: ok.server_certificate,
            matching_id: order.matching_id,
            ctx_params1: None,
            // SGP.32 v1.2 has no place for them, and without them the eUICC could not verify the server.
            other_certs_in_chain: ok.other_certs_in_chain,
            extensions: Default::default(),
        })
    }

    /// The operation ends with the reason, which no error code of ESipa can say.
    async fn end_refused(&self, id: Uuid, address: &str, problem: &ServerRefused) {
        tracing::warn!(%address, error = problem as &dyn std::error::Error, "server refused");
        self.end_in_flight(id, &problem.summary(address)).await;
    }

    async fn end_in_flight(&self, id: Uuid, summary: &str) {
        let operation = self.read(|tx| operations::find(tx, id)).ok().flatten();
        if let Some(operation) = operation.filter(|it| it.state == OperationState::InFlight)
            && let Err(error) = self
                .end(&operation, OperationState::Failed, summary, self.now_ms())
                .await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the end of a download could not be stored"
            );
        }
    }

    /// The download that was triggered on this connection. Whoever did not get the trigger here
    /// cannot start it.
    fn triggered(&self, id: Option<&TransactionId>, connection: ConnectionId) -> Option<Operation> {
        let eid = self.presence.speaks_for(connection)?;
        let operation = self
            .read(|tx| match id {
                Some(id) => operations::find_by_transaction(tx, id),
                None => operations::in_flight(tx, eid),
            })
            .ok()
            .flatten()?;
        let is_this = operation.eid == eid
            && operation.state == OperationState::InFlight
            && matches!(operation.commands.as_slice(), [Command::Download { .. }])
            && self.may_trust(connection, eid);
        is_this.then_some(operation)
    }

    /// ESipa.AuthenticateClient.
    pub(crate) async fn authenticate_client(
        &self,
        request: AuthenticateClientRequestEsipa,
        peer: &Peer,
    ) -> AuthenticateClientResponseEsipa {
        self.authenticate(request, peer)
            .await
            .unwrap_or_else(AuthenticateClientResponseEsipa::AuthenticateClientErrorEsipa)
    }

    async fn authenticate(
        &self,
        request: AuthenticateClientRequestEsipa,
        peer: &Peer,
    ) -> Result<AuthenticateClientResponseEsipa, AuthenticateClientErrorEsipa> {
        use AuthenticateClientErrorEsipa as Code;
        let id = request.transaction_id;
        let session = self
            .downloads
            .of(&id, peer.connection, self.now_ms())
            .ok_or(Code::InvalidTransactionId)?;
        let response = match request.authenticate_server_response.into_value() {
            AuthenticateServerResponse::CompactAuthenticateResponseOk(compact) => self
                .rebuild_authentication(&compact, &session)
                .map(AuthenticateServerResponse::AuthenticateResponseOk)
                .ok_or(Code::EuiccSignatureInvalid)?,
            response => response,
        };
        if let AuthenticateServerResponse::AuthenticateResponseOk(ok) = &response {
            self.verify_message_chain(
                session.eid,
                &ok.euicc_certificate,
                &ok.eum_certificate,
                ok.other_certs_in_chain.as_deref(),
            )
            .map_err(|problem| client_certificate_code(&problem))?;
        }
        let call = Request::AuthenticateClient(AuthenticateClientRequest {
            transaction_id: id.clone(),
            authenticate_server_response: response,
            extensions: Default::default(),
        });
        let answer = self
            .relay(session.smdp_address(), call)
            .await
            .ok_or(Code::UndefinedError)?;
        let ok = match answer {
            Response::AuthenticateClient(Ok(ok)) => ok,
            Response::AuthenticateClientEs11(Ok(ok)) => return Ok(self.follow_event(&session, ok)),
            Response::AuthenticateClientEs11(Err(failure))
            | Response::AuthenticateClient(Err(failure)) => {
                return Err(Code::from_status(&failure.code));
            }
            _ => return Err(Code::UndefinedError),
        };
        if let Err(problem) = self.check_profile_binding(&ok.smdp_certificate, &session.sub_cas) {
            self.end_refused(session.operation, session.smdp_address(), &problem)
                .await;
            return Err(Code::UndefinedError);
        }
        let hash_cc = session
            .confirmation_code
            .as_deref()
            .map(|code| confirmation_hash(code, &id));
        self.downloads.announce(&id, &ok, hash_cc);
        Ok(
            AuthenticateClientResponseEsipa::AuthenticateClientOkDpEsipa(
                AuthenticateClientOkDpEsipa {
                    transaction_id: Some(ok.transaction_id),
                    profile_meta_data: Some(rsp::der::Encoded::new(ok.profile_meta_data)),
                    smdp_signed2: ok.smdp_signed2,
                    smdp_signature2: ok.smdp_signature2,
                    smdp_certificate: ok.smdp_certificate,
                    hash_cc,
                    extensions: Default::default(),
                },
            ),
        )
    }

    fn rebuild_authentication(
        &self,
        short: &CompactAuthenticateResponseOk,
        session: &Session,
    ) -> Option<AuthenticateResponseOk> {
        let device = self.managed(session.eid).ok()?;
        let certificates = device.certificates();
        let info = device.euicc_info2.as_deref();
        compact::authentication(short, &session.known, info, certificates)
    }

    /// The SM-DS holds an event: the same operation goes on with the SM-DP+ that it names.
    fn follow_event(
        &self,
        session: &Session,
        ok: AuthenticateClientOkEs11,
    ) -> AuthenticateClientResponseEsipa {
        let trigger = ok.event_entries.into_iter().next().and_then(|event| {
            let id = self
                .read(|tx| operations::find(tx, session.operation))
                .ok()
                .flatten()?
                .eim_transaction_id?;
            let code = format!("1${}${}", event.rsp_server_address, event.event_id);
            let source = DownloadSource::activation_code(&code).ok()?;
            let redirect = Redirect {
                smdp_address: event.rsp_server_address,
                event_id: event.event_id,
            };
            self.downloads.redirects.insert(session.operation, redirect);
            command::download_trigger(&source, false, id)
        });
        AuthenticateClientResponseEsipa::AuthenticateClientOkDsEsipa(AuthenticateClientOkDsEsipa {
            transaction_id: ok.transaction_id,
            profile_download_trigger: trigger,
            extensions: Default::default(),
        })
    }

    /// ESipa.GetBoundProfilePackage.
    pub(crate) async fn get_bound_profile_package(
        &self,
        request: GetBoundProfilePackageRequestEsipa,
        peer: &Peer,
    ) -> GetBoundProfilePackageResponseEsipa {
        match self.bound_profile_package(request, peer).await {
            Ok(ok) => GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageOkEsipa(ok),
            Err(code) => {
                GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageErrorEsipa(code)
            }
        }
    }

    async fn bound_profile_package(
        &self,
        request: GetBoundProfilePackageRequestEsipa,
        peer: &Peer,
    ) -> Result<GetBoundProfilePackageOkEsipa, GetBoundProfilePackageErrorEsipa> {
        use GetBoundProfilePackageErrorEsipa as Code;
        let id = request.transaction_id;
        let session = self
            .downloads
            .of(&id, peer.connection, self.now_ms())
            .ok_or(Code::InvalidTransactionId)?;
        let response = match request.prepare_download_response.into_value() {
            PrepareDownloadResponse::CompactDownloadResponseOk(short) => {
                compact::preparation(&short, &session.known)
                    .map(PrepareDownloadResponse::DownloadResponseOk)
                    .ok_or(Code::EuiccSignatureInvalid)?
            }
            response => response,
        };
        let call = Request::GetBoundProfilePackage(GetBoundProfilePackageRequest {
            transaction_id: id,
            prepare_download_response: response,
            extensions: Default::default(),
        });
        let answer = self
            .relay(session.smdp_address(), call)
            .await
            .ok_or(Code::UndefinedError)?;
        let ok = match answer {
            Response::GetBoundProfilePackage(Ok(ok)) => ok,
            Response::GetBoundProfilePackage(Err(failure)) => {
                return Err(Code::from_status(&failure.code));
            }
            _ => return Err(Code::UndefinedError),
        };
        if session.metadata != metadata_inside(&ok.bound_profile_package) {
            return Err(Code::MetadataMismatch);
        }
        Ok(GetBoundProfilePackageOkEsipa {
            transaction_id: Some(ok.transaction_id),
            bound_profile_package: rsp::der::Encoded::new(ok.bound_profile_package),
            extensions: Default::default(),
        })
    }

    /// ESipa.CancelSession.
    pub(crate) async fn cancel_session(
        &self,
        request: CancelSessionRequestEsipa,
        peer: &Peer,
    ) -> CancelSessionResponseEsipa {
        use CancelSessionErrorEsipa as Code;
        let id = request.transaction_id;
        let Some(session) = self.downloads.of(&id, peer.connection, self.now_ms()) else {
            return CancelSessionResponseEsipa::CancelSessionError(Code::InvalidTransactionId);
        };
        let response = match request.cancel_session_response {
            CancelSessionResponse::CompactCancelSessionResponseOk(short) => {
                let Some(full) = compact::cancellation(&short, &session.known) else {
                    return CancelSessionResponseEsipa::CancelSessionError(
                        Code::EuiccSignatureInvalid,
                    );
                };
                CancelSessionResponse::CancelSessionResponseOk(full)
            }
            response => response,
        };
        let call = Request::CancelSession(CancelSessionRequestEs9 {
            transaction_id: id,
            cancel_session_response: response,
            extensions: Default::default(),
        });
        match self.relay(session.smdp_address(), call).await {
            Some(Response::CancelSession(Ok(()))) => {
                CancelSessionResponseEsipa::CancelSessionOk(CancelSessionOk {
                    extensions: Default::default(),
                })
            }
            Some(Response::CancelSession(Err(failure))) => {
                CancelSessionResponseEsipa::CancelSessionError(Code::from_status(&failure.code))
            }
            _ => CancelSessionResponseEsipa::CancelSessionError(Code::UndefinedError),
        }
    }

    async fn relay(&self, address: &str, request: Request) -> Option<Response> {
        match self.parts.smdp.call(address, request).await {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::warn!(%address, error = &error as &dyn std::error::Error, "ES9+' call failed");
                None
            }
        }
    }
}

/// From where, as the operator said and the IPA does not contradict.
fn order(
    operation: &Operation,
    device: &Device,
    asked: Option<&str>,
    redirect: Option<Redirect>,
) -> Result<Order, InitiateAuthenticationErrorEsipa> {
    use InitiateAuthenticationErrorEsipa as Code;
    let Some(Command::Download {
        source,
        confirmation_code,
        ..
    }) = operation.commands.first()
    else {
        return Err(Code::InvalidEimTransactionId);
    };
    let confirmation_code = confirmation_code
        .as_ref()
        .and_then(|code| code.open())
        .map(str::to_owned);
    let order = match source {
        DownloadSource::ActivationCode { code, .. } => {
            let code = code.open().ok_or(Code::UndefinedError)?;
            let code = ActivationCode::parse(code).map_err(|_| Code::InvalidDpAddress)?;
            Order {
                smdp_address: code.smdp_address.to_owned(),
                matching_id: (!code.matching_id.is_empty()).then(|| code.matching_id.to_owned()),
                smdp_oid: code.smdp_oid.map(str::to_owned),
                confirmation_code,
            }
        }
        DownloadSource::DefaultSmdp => Order {
            smdp_address: asked
                .map(str::to_owned)
                .or_else(|| device.default_smdp.clone())
                .filter(|address| !address.is_empty())
                .ok_or(Code::InvalidDpAddress)?,
            matching_id: None,
            smdp_oid: None,
            confirmation_code,
        },
        DownloadSource::Smds(address) => match redirect {
            Some(redirect) => Order {
                smdp_address: redirect.smdp_address,
                matching_id: Some(redirect.event_id),
                smdp_oid: None,
                confirmation_code,
            },
            // Without an address it is the root SM-DS, which the IPA reads from the eUICC.
            None => Order {
                smdp_address: address
                    .as_deref()
                    .or(asked)
                    .map(str::to_owned)
                    .ok_or(Code::InvalidDpAddress)?,
                matching_id: None,
                smdp_oid: None,
                confirmation_code: None,
            },
        },
    };
    if asked.is_some_and(|asked| !asked.eq_ignore_ascii_case(&order.smdp_address)) {
        return Err(Code::SmdpAddressMismatch);
    }
    Ok(order)
}

/// The OID of an activation code binds the SM-DP+ by the registeredID of its certificate.
fn has_oid(certificate: &Certificate, expected: Option<&str>) -> bool {
    expected.is_none_or(|expected| {
        registered_id(certificate).is_some_and(|oid| oid.to_string() == expected)
    })
}

fn registered_id(certificate: &Certificate) -> Option<Oid> {
    let certificate = pki::Certificate::from_der(certificate.as_der()).ok()?;
    certificate.registered_id().cloned()
}

/// ESipa names one of the reasons for which a server is refused.
fn server_code(problem: &ServerRefused) -> InitiateAuthenticationErrorEsipa {
    match problem {
        ServerRefused::Chain(pki::ChainError::UnknownCi { .. }) => {
            InitiateAuthenticationErrorEsipa::CiPKIdNotSupported
        }
        _ => InitiateAuthenticationErrorEsipa::UndefinedError,
    }
}

fn client_certificate_code(problem: &CertificateProblem) -> AuthenticateClientErrorEsipa {
    use AuthenticateClientErrorEsipa as Code;
    use pki::{ChainError, Role};
    match problem {
        CertificateProblem::OtherEid { .. } => Code::EidMismatch,
        CertificateProblem::Chain(ChainError::UnknownCi { .. }) => Code::CiPKUnknown,
        CertificateProblem::Chain(ChainError::Expired {
            which: Role::Eum, ..
        }) => Code::EumCertificateExpired,
        CertificateProblem::Chain(ChainError::Expired { .. }) => Code::EuiccCertificateExpired,
        CertificateProblem::Chain(_) | CertificateProblem::Malformed(_) => {
            Code::EuiccCertificateInvalid
        }
    }
}

/// SHA-256( SHA-256(code) || transactionId ) (SGP.22 section 4.7).
fn confirmation_hash(code: &str, id: &TransactionId) -> [u8; 32] {
    let inner = Sha256::digest(code.as_bytes());
    Sha256::new()
        .chain_update(inner)
        .chain_update(id.octets())
        .finalize()
        .into()
}

/// StoreMetadata in the 88 segments, which are not encrypted; each ends in a MAC of eight octets.
fn metadata_inside(package: &BoundProfilePackage) -> Option<StoreMetadataRequest> {
    const MAC_OCTETS: usize = 8;
    let octets: Vec<u8> = package
        .sequence_of88
        .iter()
        .flat_map(|segment| {
            segment
                .get(..segment.len().saturating_sub(MAC_OCTETS))
                .unwrap_or_default()
        })
        .copied()
        .collect();
    StoreMetadataRequest::from_der(&octets).ok()
}
