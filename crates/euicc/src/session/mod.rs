//! Mutual authentication and profile installation (SGP.22 v2.5 sections 3.0.1, 3.1.3, 5.5 and 5.7.5 to 5.7.14, with the
//! additions of SGP.32 v1.2).
//!
//! A session is a chain of states, each of which owns what the step after it needs: no state but the one that a successful
//! authentication made can prepare a download, and none but the one that this made can take a bound profile package. Whatever
//! a server or an LPA sends out of order therefore meets a state that has no such step.
//!
//! Rules that hold in every state:
//! * the eUICC has no clock, so validity dates are not checked;
//! * one refusal ends the session, and a new one needs a new challenge;
//! * nothing of a segment is looked at before its MAC was checked, and nothing is installed before the last segment was.

mod authentication;
mod bpp;
mod installation;
mod policy;
mod result;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::{fmt, mem};

use pki::{Signer, TrustAnchors};
use rand_core::CryptoRng;
use rsp::der::{Element, Error, Oid};
use rsp::ids::{EidOctets, Iccid, TransactionId};
use rsp::saip::EuiccCapabilities;
use rsp::sgp22::{
    AuthenticateErrorCode, AuthenticateResponseError, AuthenticateServerRequest,
    AuthenticateServerResponse, CancelSessionReason, CancelSessionRequest, CancelSessionResponse,
    CancelSessionResponseError, Certificate, CertificateChain, DownloadErrorCode,
    DpProprietaryData, EuiccInfo2, KeyIdentifier, OctetTo16, OtherSignedNotification,
    PrepareDownloadRequest, PrepareDownloadResponse, PrepareDownloadResponseError,
    ProfileInstallationResult, ProfilePolicyAuthorisationRule, StoreMetadataRequest,
};
use zeroize::Zeroizing;

use authentication::{Authenticated, ChallengeIssued, Prepared};
use bpp::{Failed, Receiver, Taken};
use result::Transaction;

/// What a session needs of the eUICC around it. Everything that outlives the session goes through here.
pub(crate) trait Host {
    /// The EID, digits in order; it goes into the key derivation of ES8+.
    fn eid(&self) -> EidOctets;

    /// SK.EUICC and the certificates that chain to the CI with this SubjectKeyIdentifier (`euiccCiPKIdListForSigning`).
    fn identity(&self, ci_key_id: &[u8]) -> Option<Identity>;

    /// The CI keys that server certificates may chain to (`euiccCiPKIdListForVerification`), with their CRLs.
    fn trust_anchors(&self) -> &TrustAnchors;

    /// EUICCInfo2 as it is now; it is signed during authentication.
    fn euicc_info2(&self) -> EuiccInfo2;

    /// What profile packages may ask for.
    fn capabilities(&self) -> EuiccCapabilities;

    /// The Rules Authorisation Table. Empty: no Profile Policy Rule is allowed.
    fn rat(&self) -> Vec<ProfilePolicyAuthorisationRule>;

    /// Whether a Profile with this ICCID is installed.
    fn iccid_exists(&self, iccid: &Iccid) -> bool;

    /// Whether an operational Profile is installed. None with ppr1 may be added then (SGP.22 v2.5 section 2.9.2.1).
    fn has_operational_profile(&self) -> bool;

    /// Non-volatile memory left for Profiles, in octets.
    fn free_memory_octets(&self) -> usize;

    /// An ISD-P AID that no installed Profile has. `None` when there is no room for another Profile. Taken only once
    /// [`Host::install`] succeeds.
    fn allocate_isdp_aid(&mut self) -> Option<OctetTo16>;

    /// The next number of the counter that all notifications and package results share. Never gives a number again, also
    /// after a power cycle, once [`Host::install`] or [`Host::store_result`] has stored what carries it. Gaps are allowed.
    fn next_sequence_number(&mut self) -> i64;

    /// Stores the Profile (state disabled), its result and its notifications: all of it or nothing. Also forgets the
    /// retained one-time key.
    fn install(&mut self, profile: NewProfile) -> Result<(), InstallError>;

    /// Stores the result of a failed installation until it is removed from the notification list. Also forgets the retained
    /// one-time key.
    fn store_result(&mut self, result: &ProfileInstallationResult) -> Result<(), InstallError>;

    /// The one-time key of the last prepared download that has not led to a result.
    fn retained_key(&self) -> Option<RetainedKey>;

    /// Replaces the retained one-time key, or wipes it. It should survive a power cycle: a server that saw the connection
    /// break sends its package again only for the same key.
    fn retain_key(&mut self, key: Option<RetainedKey>) -> Result<(), InstallError>;
}

/// One of the eUICC's own keys, with the certificates that go with it.
#[derive(Clone)]
pub(crate) struct Identity {
    /// SK.EUICC.ECDSA.
    pub(crate) signer: Arc<dyn Signer>,
    /// CERT.EUICC.
    pub(crate) euicc_certificate: Certificate,
    /// CERT.EUM.
    pub(crate) eum_certificate: Certificate,
    /// What certifies CERT.EUICC: CERT.EUM or that of its sub-CA.
    pub(crate) next_in_chain: Certificate,
    /// The rest of the chain below the CI; `None` in chains of SGP.22 v2.
    pub(crate) others_in_chain: Option<CertificateChain>,
}

impl Identity {
    /// `sub_cas` are those of the EUM and the CI, if there are some.
    pub(crate) fn new(
        signer: Arc<dyn Signer>,
        euicc_certificate: Certificate,
        eum_certificate: Certificate,
        sub_cas: &[Certificate],
    ) -> Self {
        let key_id_of = |certificate: &Certificate| {
            let certificate = pki::Certificate::from_der(certificate.as_der()).ok()?;
            certificate.subject_key_identifier().map(<[u8]>::to_vec)
        };
        let issuer = pki::Certificate::from_der(euicc_certificate.as_der())
            .ok()
            .and_then(|it| it.authority_key_identifier().map(<[u8]>::to_vec));
        let mut others = sub_cas.to_vec();
        let next = others
            .iter_mut()
            .find(|sub_ca| issuer.is_some() && key_id_of(sub_ca) == issuer);
        let next_in_chain = match next {
            Some(sub_ca) => std::mem::replace(sub_ca, eum_certificate.clone()),
            None => eum_certificate.clone(),
        };
        Self {
            signer,
            euicc_certificate,
            eum_certificate,
            next_in_chain,
            others_in_chain: (!others.is_empty()).then_some(others),
        }
    }
}

/// A Profile that passed every check, with what its installation leaves behind.
pub(crate) struct NewProfile {
    /// From [`Host::allocate_isdp_aid`].
    pub(crate) isdp_aid: OctetTo16,
    /// The CI under which the session was held; the Profile's later notifications are signed under it too.
    pub(crate) ci_key_id: KeyIdentifier,
    /// As the SM-DP+ sent it.
    pub(crate) metadata: StoreMetadataRequest,
    /// Of ConfigureISDP.
    pub(crate) dp_proprietary_data: Option<DpProprietaryData>,
    /// Who delivered it, for ImmediateEnable.
    pub(crate) origin: Downloaded,
    /// The unprotected profile package. Contains keys and codes.
    pub(crate) package: Zeroizing<Vec<u8>>,
    /// Non-volatile memory that it takes, in octets.
    pub(crate) size_octets: usize,
    /// For the SM-DP+ that delivered it; kept as a notification.
    pub(crate) result: ProfileInstallationResult,
    /// One for each address that asked for install notifications.
    pub(crate) notifications: Vec<OtherSignedNotification>,
}

impl fmt::Debug for NewProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewProfile")
            .field("isdp_aid", &self.isdp_aid)
            .field("origin", &self.origin)
            .field("package_octets", &self.package.len())
            .finish_non_exhaustive()
    }
}

/// Which Profile a session installed, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Downloaded {
    /// The Profile.
    pub(crate) iccid: Iccid,
    /// registeredID of the SM-DP+.
    pub(crate) smdp_oid: Oid,
    /// Its address as it signed it.
    pub(crate) smdp_address: String,
}

/// A one-time key pair kept for a retry.
#[derive(Clone)]
pub(crate) struct RetainedKey {
    /// Only this SM-DP+ may ask for the key again.
    pub(crate) smdp_oid: Oid,
    /// [`pki::EphemeralKey::to_bytes`].
    pub(crate) key: Zeroizing<[u8; 33]>,
}

impl fmt::Debug for RetainedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetainedKey")
            .field("smdp_oid", &self.smdp_oid)
            .finish_non_exhaustive()
    }
}

/// Why the eUICC could not store something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InstallError {
    /// Not enough non-volatile memory.
    #[error("not enough non-volatile memory")]
    InsufficientMemory,
    /// The non-volatile memory failed.
    #[error("non-volatile memory failed")]
    Storage,
}

/// What became of one command of a bound profile package.
#[derive(Debug)]
pub(crate) enum BppOutcome {
    /// Taken; the answer is empty.
    Continue,
    /// The session is over, with or without a new Profile; the answer is this result.
    Finished(Box<ProfileInstallationResult>),
    /// No download is prepared, so there is nobody to make a result for: 6985.
    NoSession,
    /// The session is over and nothing is installed, but no result could be signed: 6F00.
    Fault,
}

/// The one session of an eUICC. Volatile: a power cycle ends it.
#[derive(Default)]
pub(crate) struct Session {
    state: State,
    downloaded: Option<Downloaded>,
}

/// How far the session is. Each step takes the state apart and builds the next one from it.
#[derive(Default)]
enum State {
    #[default]
    Idle,
    ChallengeIssued(ChallengeIssued),
    Authenticated(Box<Authenticated>),
    Prepared(Box<Prepared>),
    Receiving(Box<Receiver>),
}

impl Session {
    /// No session.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// ES10b.GetEUICCChallenge. Ends the session before it, as [`Session::interrupt`] does.
    pub(crate) fn new_challenge(
        &mut self,
        host: &mut dyn Host,
        rng: &mut dyn CryptoRng,
    ) -> [u8; 16] {
        self.interrupt(host);
        let issued = ChallengeIssued::new(rng);
        let challenge = issued.challenge();
        self.state = State::ChallengeIssued(issued);
        challenge
    }

    /// ES10b.AuthenticateServer (`BF38`). An error means malformed octets: 6A80, and the session stays as it is.
    ///
    /// A refusal ends the session.
    pub(crate) fn authenticate_server(
        &mut self,
        host: &mut dyn Host,
        request: &[u8],
    ) -> Result<AuthenticateServerResponse, Error> {
        let request = AuthenticateServerRequest::from_der(request)?;
        let transaction_id = request.server_signed1.transaction_id.clone();
        let State::ChallengeIssued(issued) = self.end(host) else {
            return Ok(authenticate_refused(
                transaction_id,
                AuthenticateErrorCode::NoSessionContext,
            ));
        };
        Ok(match issued.authenticate(host, request) {
            Ok((authenticated, response)) => {
                self.state = State::Authenticated(Box::new(authenticated));
                AuthenticateServerResponse::AuthenticateResponseOk(response)
            }
            Err(code) => authenticate_refused(transaction_id, code),
        })
    }

    /// ES10b.PrepareDownload (`BF21`). An error means malformed octets: 6A80, and the session stays as it is.
    ///
    /// A refusal ends the session.
    pub(crate) fn prepare_download(
        &mut self,
        host: &mut dyn Host,
        rng: &mut dyn CryptoRng,
        request: &[u8],
    ) -> Result<PrepareDownloadResponse, Error> {
        let request = PrepareDownloadRequest::from_der(request)?;
        let State::Authenticated(authenticated) = self.end(host) else {
            let transaction_id = request.smdp_signed2.transaction_id.clone();
            return Ok(download_refused(
                transaction_id,
                DownloadErrorCode::NoSessionContext,
            ));
        };
        let transaction_id = authenticated.transaction.id.clone();
        Ok(match authenticated.prepare(host, rng, request) {
            Ok((prepared, response)) => {
                self.state = State::Prepared(Box::new(prepared));
                PrepareDownloadResponse::DownloadResponseOk(response)
            }
            Err(code) => download_refused(transaction_id, code),
        })
    }

    /// Whether a reassembled ES10 command is a part of a bound profile package, by its tag: BF36, A0 to A3, 86 to 88.
    pub(crate) fn is_bpp_command(command: &[u8]) -> bool {
        matches!(command, [0xBF, 0x36, ..] | [0xA0..=0xA3 | 0x86..=0x88, ..])
    }

    /// ES10b.LoadBoundProfilePackage: one command, reassembled from its STORE DATA blocks.
    ///
    /// The first command that is not what it should be ends the session with an error result, and nothing is installed.
    pub(crate) fn load_bpp(&mut self, host: &mut dyn Host, command: &[u8]) -> BppOutcome {
        let taken = match mem::take(&mut self.state) {
            State::Prepared(prepared) => prepared
                .initialise(host, command)
                .map(|receiver| Taken::More(Box::new(receiver))),
            State::Receiving(receiver) => receiver.take(host, command),
            other => {
                self.state = other;
                return BppOutcome::NoSession;
            }
        };
        let finished = match taken {
            Ok(Taken::More(receiver)) => {
                self.state = State::Receiving(receiver);
                return BppOutcome::Continue;
            }
            Ok(Taken::Complete(received)) => received.install(host),
            Err(failed) => Err(failed),
        };
        match finished {
            Ok(installed) => {
                self.downloaded = Some(installed.downloaded);
                BppOutcome::Finished(Box::new(installed.result))
            }
            Err(failed) => match failed.store(host) {
                Some(result) => BppOutcome::Finished(Box::new(result)),
                None => BppOutcome::Fault,
            },
        }
    }

    /// ES10b.CancelSession (`BF41`). An error means malformed octets: 6A80.
    ///
    /// Ends the session if it is the one named; otherwise the session stays as it is.
    pub(crate) fn cancel_session(
        &mut self,
        host: &mut dyn Host,
        request: &[u8],
    ) -> Result<CancelSessionResponse, Error> {
        let request = CancelSessionRequest::from_der(request)?;
        let refused = |error| Ok(CancelSessionResponse::CancelSessionResponseError(error));
        let response = match self.transaction() {
            Some(transaction) if transaction.id == request.transaction_id => {
                transaction.cancellation(request.reason)
            }
            _ => return refused(CancelSessionResponseError::InvalidTransactionId),
        };
        let Ok(response) = response else {
            return refused(CancelSessionResponseError::UndefinedError);
        };
        self.state = State::Idle;
        // After these two the order stays open, and the package that is bound already may be asked for again.
        if !matches!(
            request.reason,
            CancelSessionReason::Postponed | CancelSessionReason::Timeout
        ) && let Err(error) = host.retain_key(None)
        {
            tracing::warn!(%error, "one-time key of a cancelled session could not be wiped");
        }
        Ok(CancelSessionResponse::CancelSessionResponseOk(response))
    }

    /// Ends the session as a reset does. A package that was being loaded leaves a result with reason
    /// `installFailedDueToInterruption`.
    pub(crate) fn interrupt(&mut self, host: &mut dyn Host) {
        self.downloaded = None;
        self.end(host);
    }

    /// The Profile that the current session installed, for ES10b.ImmediateEnable. A new challenge ends that, and so does
    /// [`Session::forget_download`].
    pub(crate) fn last_downloaded(&self) -> Option<&Downloaded> {
        self.downloaded.as_ref()
    }

    /// Makes the installation one like any before.
    pub(crate) fn forget_download(&mut self) {
        self.downloaded = None;
    }

    /// Takes the state out, so that whatever fails afterwards leaves no session. What was being loaded is given up.
    fn end(&mut self, host: &mut dyn Host) -> State {
        match mem::take(&mut self.state) {
            State::Receiving(receiver) => {
                receiver.interrupted().store(host);
                State::Idle
            }
            other => other,
        }
    }

    fn transaction(&self) -> Option<&Transaction> {
        match &self.state {
            State::Idle | State::ChallengeIssued(_) => None,
            State::Authenticated(authenticated) => Some(&authenticated.transaction),
            State::Prepared(prepared) => Some(&prepared.transaction),
            State::Receiving(receiver) => Some(&receiver.transaction),
        }
    }
}

impl Failed {
    /// Signs the result, keeps it as a notification, and gives it back for the answer.
    fn store(self, host: &mut dyn Host) -> Option<ProfileInstallationResult> {
        let Self {
            transaction,
            refusal,
        } = self;
        let iccid = refusal.iccid;
        let result =
            transaction.installation_result(host.next_sequence_number(), iccid, refusal.into());
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "result of a failed installation could not be signed");
                return None;
            }
        };
        if let Err(error) = host.store_result(&result) {
            tracing::warn!(%error, "result of a failed installation is not kept as a notification");
        }
        Some(result)
    }
}

fn authenticate_refused(
    transaction_id: TransactionId,
    code: AuthenticateErrorCode,
) -> AuthenticateServerResponse {
    AuthenticateServerResponse::AuthenticateResponseError(AuthenticateResponseError {
        transaction_id,
        authenticate_error_code: code,
        extensions: Default::default(),
    })
}

fn download_refused(
    transaction_id: TransactionId,
    code: DownloadErrorCode,
) -> PrepareDownloadResponse {
    PrepareDownloadResponse::DownloadResponseError(PrepareDownloadResponseError {
        transaction_id,
        download_error_code: code,
        extensions: Default::default(),
    })
}
