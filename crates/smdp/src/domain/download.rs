//! Common mutual authentication and download of a profile: ES9+ (SGP.22 v2.5 sections 3.0.1,
//! 3.1.3 and 5.6).

use std::sync::Arc;

use jiff::Timestamp;
use pki::{Signer, VerifiedEuicc};
use rsp::der::{Element, Encoded, Octets};
use rsp::ids::{EidOctets, TransactionId};
use rsp::sgp22::{
    AuthenticateClientOk, AuthenticateClientRequest, AuthenticateResponseOk,
    AuthenticateServerResponse, CancelSessionRequestEs9, CancelSessionResponse,
    CancelSessionResponseOk, CcRequiredFlag, Certificate, CtxParams1, EuiccInfo1,
    GetBoundProfilePackageOk, GetBoundProfilePackageRequest, InitiateAuthenticationOkEs9,
    InitiateAuthenticationRequest, KeyIdentifier, OneTimePublicKey, PrepareDownloadResponse,
    PrepareDownloadResponseOk, ServerSigned1, Signature, SmdpSigned2,
};

use super::decisions::{Chosen, Delivery, cancel, choose, deliver};
use super::euicc::{is_signed, signature_object};
use super::server::{Core, after, unix_time};
use super::session::{Authenticated, Phase, Session};
use super::status::{Error, Fault, Refusal};
use crate::config::ServerIdentity;
use crate::protection::{
    Binding, Fresh, ProtectionError, bind_package, is_one_time_key, personalise,
};
use crate::store;

/// The device's side of the server: the steps of one download, in their order.
///
/// A refusal ends the session, so that nothing can be tried twice in it; a [`Fault`] does not.
#[derive(Clone)]
pub struct Downloads {
    core: Arc<Core>,
}

impl Downloads {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// ES9+.InitiateAuthentication: begins a session and authenticates this server.
    pub fn initiate_authentication(
        &self,
        request: &InitiateAuthenticationRequest,
    ) -> Result<InitiateAuthenticationOkEs9, Error> {
        let core = &self.core;
        let now = core.now();
        if !request
            .smdp_address
            .eq_ignore_ascii_case(&core.config.address)
        {
            return self.refuse(None, Refusal::AddressNotOurs);
        }
        let chosen = self.choose_ci(&request.euicc_info1, now);
        let (identity, ci_key_id) = match chosen {
            Ok(chosen) => chosen,
            Err(refusal) => return self.refuse(None, refusal),
        };
        let transaction_id = TransactionId::new(&core.random_octets::<16>())
            .map_err(|_| Fault::Corrupt("random transaction id"))?;
        let server_challenge = core.random_octets();
        let server_signed1 = Encoded::new(ServerSigned1 {
            transaction_id: transaction_id.clone(),
            euicc_challenge: request.euicc_challenge,
            server_address: core.config.address.clone(),
            server_challenge,
            extensions: Default::default(),
        });
        let server_signature1 = sign(&*identity.auth_signer, &[server_signed1.bytes()])?;
        let server_certificate = carried(&identity.auth_certificate)?;
        let sub_cas: Vec<_> = identity
            .sub_cas
            .iter()
            .map(carried)
            .collect::<Result<_, _>>()?;
        let other_certs_in_chain = (!sub_cas.is_empty()).then_some(sub_cas);
        let session = Session {
            identity,
            ci_key_id: ci_key_id.to_vec(),
            server_challenge,
            phase: Phase::Initiated,
            expires_at: after(now, core.config.limits.session_initiated_max),
        };
        core.sessions.begin(transaction_id.clone(), session, now)?;
        core.counters.sessions_begun.add();
        Ok(InitiateAuthenticationOkEs9 {
            transaction_id,
            server_signed1,
            server_signature1,
            euicc_ci_pk_id_to_be_used: ci_key_id,
            server_certificate,
            other_certs_in_chain,
            extensions: Default::default(),
        })
    }

    /// ES9+.AuthenticateClient: authenticates the eUICC and finds the profile that waits for it.
    pub fn authenticate_client(
        &self,
        request: &AuthenticateClientRequest,
    ) -> Result<AuthenticateClientOk, Error> {
        let id = &request.transaction_id;
        let now = self.core.now();
        let initiated = self.core.sessions.get(id, now);
        let Some(session) = initiated.filter(|s| matches!(s.phase, Phase::Initiated)) else {
            // A session at another step goes on: whoever repeats a request must not end it.
            return self.refuse(None, Refusal::TransactionUnknown);
        };
        let response = match &request.authenticate_server_response {
            AuthenticateServerResponse::AuthenticateResponseOk(response) => response,
            AuthenticateServerResponse::AuthenticateResponseError(error) => {
                tracing::info!(transaction = %id, code = %error.authenticate_error_code, "eUICC refused this server");
                return self.refuse(Some(id), Refusal::EuiccError);
            }
            AuthenticateServerResponse::CompactAuthenticateResponseOk(_)
            | AuthenticateServerResponse::Unknown(_) => {
                return self.refuse(Some(id), Refusal::ElementMalformed);
            }
        };
        let euicc = match self.check_euicc(id, &session, response) {
            Ok(euicc) => euicc,
            Err(refusal) => return self.refuse(Some(id), refusal),
        };
        let CtxParams1::CtxParamsForCommonAuthentication(context) =
            &response.euicc_signed1.ctx_params1
        else {
            return self.refuse(Some(id), Refusal::ElementMalformed);
        };

        let chosen = {
            let config = Arc::clone(&self.core.config);
            let eid = euicc.eid_digits.clone();
            let matching_id = context.matching_id.clone().unwrap_or_default();
            let euicc_info2 = response.euicc_signed1.euicc_info2.clone();
            self.core.write_with_progress(move |tx| {
                choose(&config, tx, &eid, &matching_id, &euicc_info2, now)
            })?
        };
        let Chosen {
            profile,
            order,
            metadata,
        } = match chosen {
            Ok(chosen) => chosen,
            Err(refusal) => return self.refuse(Some(id), refusal),
        };

        let identity = &session.identity;
        let curve = identity.pb_signer.public_key().curve();
        let bound_otpk = order
            .bound_otpk
            .filter(|point| is_one_time_key(curve, point));
        let smdp_signed2 = Encoded::new(SmdpSigned2 {
            transaction_id: id.clone(),
            cc_required_flag: CcRequiredFlag(order.confirmation_hash.is_some()),
            bpp_euicc_otpk: bound_otpk.map(|point| OneTimePublicKey(Octets(point))),
            extensions: Default::default(),
        });
        let euicc_signature1 = signature_object(&response.euicc_signature1);
        let smdp_signature2 = sign(
            &*identity.pb_signer,
            &[smdp_signed2.bytes(), &euicc_signature1],
        )?;
        let authenticated = Authenticated {
            eid: EidOctets(euicc.eid),
            euicc_key: euicc.public_key,
            iccid: profile.iccid,
            order_id: order.id,
            smdp_signature2: signature_object(&smdp_signature2),
        };
        let expires_at = after(now, self.core.config.limits.session_authenticated_max);
        if !self
            .core
            .sessions
            .authenticate(id, authenticated, expires_at)
        {
            return self.refuse(None, Refusal::TransactionUnknown);
        }
        Ok(AuthenticateClientOk {
            transaction_id: id.clone(),
            profile_meta_data: metadata,
            smdp_signed2,
            smdp_signature2,
            smdp_certificate: carried(&identity.pb_certificate)?,
            extensions: Default::default(),
        })
    }

    /// ES9+.GetBoundProfilePackage: binds the profile to the one-time key of the eUICC.
    ///
    /// That the package was delivered is in the database before it is returned.
    pub fn get_bound_profile_package(
        &self,
        request: &GetBoundProfilePackageRequest,
    ) -> Result<GetBoundProfilePackageOk, Error> {
        let id = &request.transaction_id;
        let now = self.core.now();
        let Some((session, authenticated)) = self.authenticated(id, now) else {
            return self.refuse(None, Refusal::TransactionUnknown);
        };
        let response = match &request.prepare_download_response {
            PrepareDownloadResponse::DownloadResponseOk(response) => response,
            PrepareDownloadResponse::DownloadResponseError(error) => {
                tracing::info!(transaction = %id, code = %error.download_error_code, "eUICC refused the download");
                return self.refuse(Some(id), Refusal::EuiccError);
            }
            PrepareDownloadResponse::CompactDownloadResponseOk(_)
            | PrepareDownloadResponse::Unknown(_) => {
                return self.refuse(Some(id), Refusal::ElementMalformed);
            }
        };
        if let Err(refusal) = check_preparation(id, &session, &authenticated, response) {
            return self.refuse(Some(id), refusal);
        }

        let delivery = Delivery {
            transaction_id: id.clone(),
            authenticated: Arc::clone(&authenticated),
            euicc_otpk: response.euicc_signed2.euicc_otpk.to_vec(),
            hash_cc: response.euicc_signed2.hash_cc.as_ref().map(|hash| hash.0),
            now,
        };
        let delivered = {
            let config = Arc::clone(&self.core.config);
            let delivery = delivery.clone();
            self.core
                .write_with_progress(move |tx| deliver(&config, tx, &delivery))?
        };
        let profile = match delivered {
            Ok(profile) => profile,
            Err(refusal) => return self.refuse(Some(id), refusal),
        };
        let package = self
            .core
            .read(|tx| Ok(store::profiles::package(tx, profile.package_id)?))?;
        let package = personalise(&package, profile.iccid)
            .map_err(|source| Fault::Protection(ProtectionError::Personalisation(source)))?;
        let curve = session.identity.pb_signer.public_key().curve();
        let profile_keys = self.core.config.profile_keys;
        let fresh = self
            .core
            .random(|rng| Fresh::draw(curve, profile_keys, rng))
            .map_err(Fault::Protection)?;
        let bound_profile_package = bind_package(
            &Binding {
                transaction_id: id,
                eid: &authenticated.eid.0,
                euicc_otpk: &delivery.euicc_otpk,
                pb_signer: &*session.identity.pb_signer,
                smdp_oid: &self.core.config.oid,
                metadata: &profile.metadata,
                package: &package,
            },
            fresh,
        )
        .map_err(Fault::Protection)?;
        self.core.counters.packages_bound.add();
        Ok(GetBoundProfilePackageOk {
            transaction_id: id.clone(),
            bound_profile_package,
            extensions: Default::default(),
        })
    }

    /// ES9+.CancelSession: the eUICC, signed, does not want to go on.
    pub fn cancel_session(&self, request: &CancelSessionRequestEs9) -> Result<(), Error> {
        let id = &request.transaction_id;
        let now = self.core.now();
        let Some((_, authenticated)) = self.authenticated(id, now) else {
            return self.refuse(None, Refusal::TransactionUnknown);
        };
        let response = match &request.cancel_session_response {
            CancelSessionResponse::CancelSessionResponseOk(response) => response,
            CancelSessionResponse::CancelSessionResponseError(code) => {
                // Unsigned, so it changes nothing but that this session is over.
                tracing::info!(transaction = %id, %code, "eUICC could not cancel");
                self.core.sessions.end(id);
                return Ok(());
            }
            CancelSessionResponse::CompactCancelSessionResponseOk(_)
            | CancelSessionResponse::Unknown(_) => {
                return self.refuse(None, Refusal::ElementMalformed);
            }
        };
        if let Err(refusal) = self.check_cancellation(id, &authenticated, response) {
            // Only the eUICC may end its session this way, so a forged request leaves it as it is.
            return self.refuse(None, refusal);
        }
        let config = Arc::clone(&self.core.config);
        let reason = response.euicc_cancel_session_signed.reason;
        let signed = request.cancel_session_response.to_der();
        self.core.write_with_progress(move |tx| {
            cancel(&config, tx, &authenticated, reason, &signed, now)
        })?;
        self.core.sessions.end(id);
        tracing::info!(transaction = %id, %reason, "session cancelled by the eUICC");
        Ok(())
    }

    /// The certificates to use, and the CI under which the eUICC shall show its own: its first
    /// choice that is trusted here, with a certificate of ours that it can verify; under the same
    /// CI if there is one.
    fn choose_ci(
        &self,
        euicc: &EuiccInfo1,
        now: Timestamp,
    ) -> Result<(Arc<ServerIdentity>, KeyIdentifier), Refusal> {
        let [major, ..] = euicc.svn.0;
        if !SVN_MAJORS.contains(&major) {
            return Err(Refusal::SvnNotSupported);
        }
        let trust = self.core.trust();
        let mut for_signing = euicc
            .euicc_ci_pk_id_list_for_signing
            .iter()
            .filter(|id| trust.ci_by_key_id(id).is_some())
            .peekable();
        let Some(&first) = for_signing.peek() else {
            return Err(Refusal::NoCommonCi);
        };
        let now = Some(unix_time(now));
        let known = &euicc.euicc_ci_pk_id_list_for_verification;
        let is_known = |ci: &[u8]| known.iter().any(|id| ***id == *ci);
        // What cannot match costs no verification.
        let may_match = |server: &ServerIdentity| {
            let issuer = server.auth_certificate.authority_key_identifier();
            !server.sub_cas.is_empty() || issuer.is_some_and(is_known)
        };
        let mut usable: Vec<_> = self
            .core
            .servers
            .iter()
            .filter(|server| may_match(server))
            .filter_map(|server| Some((server, server.verified_ci(&trust, now)?)))
            .filter(|(_, ci)| is_known(ci))
            .collect();
        // Nothing says whether an eUICC knows sub-CAs, so it is not asked to where there is a choice.
        usable.sort_by_key(|(server, _)| server.sub_cas.len());
        for id in for_signing {
            let of_ci = usable.iter().find(|(_, ci)| **ci == ***id);
            if let Some((server, _)) = of_ci {
                return Ok((Arc::clone(server), id.clone()));
            }
        }
        let (server, _) = usable.first().ok_or(Refusal::NoCertificateForEuicc)?;
        Ok((Arc::clone(server), first.clone()))
    }

    /// Whether the eUICC is who it says, in this session.
    fn check_euicc(
        &self,
        id: &TransactionId,
        session: &Session,
        response: &AuthenticateResponseOk,
    ) -> Result<VerifiedEuicc, Refusal> {
        let signed = &response.euicc_signed1;
        if signed.transaction_id != *id {
            return Err(Refusal::TransactionUnknown);
        }
        let euicc = self.core.verify_chain(
            &response.euicc_certificate,
            &response.eum_certificate,
            response.other_certs_in_chain.as_deref(),
        )?;
        if euicc.ci_key_id != session.ci_key_id {
            return Err(Refusal::CiUnknown);
        }
        let is_signed = is_signed(
            &euicc.public_key,
            &[signed.bytes()],
            &response.euicc_signature1,
        );
        if !is_signed || signed.server_challenge != session.server_challenge {
            return Err(Refusal::EuiccSignatureInvalid);
        }
        if !signed
            .server_address
            .eq_ignore_ascii_case(&self.core.config.address)
        {
            return Err(Refusal::AddressNotOurs);
        }
        Ok(euicc)
    }

    fn check_cancellation(
        &self,
        id: &TransactionId,
        authenticated: &Authenticated,
        response: &CancelSessionResponseOk,
    ) -> Result<(), Refusal> {
        let signed = &response.euicc_cancel_session_signed;
        let signature = &response.euicc_cancel_session_signature;
        if !is_signed(&authenticated.euicc_key, &[signed.bytes()], signature) {
            return Err(Refusal::EuiccSignatureInvalid);
        }
        if signed.transaction_id != *id {
            return Err(Refusal::TransactionUnknown);
        }
        if signed.smdp_oid != self.core.config.oid {
            return Err(Refusal::OidNotOurs);
        }
        Ok(())
    }

    fn authenticated(
        &self,
        id: &TransactionId,
        now: Timestamp,
    ) -> Option<(Session, Arc<Authenticated>)> {
        let session = self.core.sessions.get(id, now)?;
        let authenticated = Arc::clone(session.phase.authenticated()?);
        Some((session, authenticated))
    }

    /// Refuses, and ends the session if one is named.
    fn refuse<T>(&self, session: Option<&TransactionId>, refusal: Refusal) -> Result<T, Error> {
        if let Some(id) = session {
            self.core.sessions.end(id);
        }
        self.core.counters.refused.add();
        tracing::info!(status = %refusal.status(), %refusal, "download refused");
        Err(refusal.into())
    }
}

/// Major versions of SGP.22 whose eUICCs are served; version 3 ones work as version 2.
const SVN_MAJORS: [u8; 2] = [2, 3];

/// Whether the eUICC agreed to this download, in this session.
fn check_preparation(
    id: &TransactionId,
    session: &Session,
    authenticated: &Authenticated,
    response: &PrepareDownloadResponseOk,
) -> Result<(), Refusal> {
    let signed = &response.euicc_signed2;
    let parts = [signed.bytes(), &authenticated.smdp_signature2];
    if !is_signed(&authenticated.euicc_key, &parts, &response.euicc_signature2) {
        return Err(Refusal::EuiccSignatureInvalid);
    }
    if signed.transaction_id != *id {
        return Err(Refusal::TransactionUnknown);
    }
    let curve = session.identity.pb_signer.public_key().curve();
    if !is_one_time_key(curve, &signed.euicc_otpk) {
        return Err(Refusal::ElementMalformed);
    }
    Ok(())
}

fn sign(signer: &dyn Signer, parts: &[&[u8]]) -> Result<Signature, Error> {
    let signature = signer.sign_parts(parts)?;
    Ok(Signature(Octets(signature.as_bytes().to_vec())))
}

fn carried(certificate: &pki::Certificate) -> Result<Certificate, Error> {
    Certificate::from_der_bytes(certificate.der().to_vec())
        .map_err(|_| Fault::Corrupt("certificate").into())
}
