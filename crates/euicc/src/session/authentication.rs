//! Common mutual authentication (SGP.22 v2.5 section 5.7.13) and what follows from it: the right to prepare one download
//! (section 5.7.5) or to cancel (section 5.7.14).

use pki::{
    Certificate as X509, ChainError, EphemeralKey, INTERMEDIATES_MAX, PublicKey, Role,
    VerifiedServer,
};
use rand_core::CryptoRng;
use rsp::der::{Element, Encoded};
use rsp::sgp22::{
    AuthenticateErrorCode, AuthenticateResponseOk, AuthenticateServerRequest, Certificate,
    DownloadErrorCode, EuiccSigned1, EuiccSigned2, OneTimePublicKey, PrepareDownloadRequest,
    PrepareDownloadResponseOk, Signature,
};
use subtle::ConstantTimeEq;

use super::result::Transaction;
use super::{Host, RetainedKey};

/// A challenge is out; the next server that signs it may be authenticated. Good for one attempt.
pub(super) struct ChallengeIssued {
    challenge: [u8; 16],
}

/// A server proved who it is.
pub(super) struct Authenticated {
    pub(super) transaction: Transaction,
    role: Role,
    /// Between its certificate and the CI.
    sub_cas: Vec<X509>,
    /// The whole TLV, which the SM-DP+ signs next.
    euicc_signature1: Vec<u8>,
}

/// An SM-DP+ may send the package that is bound to this one-time key.
pub(super) struct Prepared {
    pub(super) transaction: Transaction,
    pub(super) pb_key: PublicKey,
    pub(super) one_time_key: EphemeralKey,
}

impl ChallengeIssued {
    pub(super) fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut challenge = [0; 16];
        rng.fill_bytes(&mut challenge);
        Self { challenge }
    }

    pub(super) fn challenge(&self) -> [u8; 16] {
        self.challenge
    }

    /// The checks of ES10b.AuthenticateServer in their order. The first that fails decides the answer.
    pub(super) fn authenticate(
        self,
        host: &dyn Host,
        request: AuthenticateServerRequest,
    ) -> Result<(Authenticated, AuthenticateResponseOk), AuthenticateErrorCode> {
        let ci_key_id = request.euicc_ci_pk_id_to_be_used;
        let identity = host
            .identity(&ci_key_id)
            .ok_or(AuthenticateErrorCode::CiPkUnknown)?;
        let anchors = host.trust_anchors();
        let ci = anchors
            .ci_by_key_id(&ci_key_id)
            .ok_or(AuthenticateErrorCode::CiPkUnknown)?;
        ci.public_key()
            .map_err(|_| AuthenticateErrorCode::UnsupportedCurve)?;

        let certificate =
            parse(&request.server_certificate).ok_or(AuthenticateErrorCode::InvalidCertificate)?;
        let role = match certificate.role() {
            Some(role @ (Role::SmDpAuth | Role::SmDsAuth)) => role,
            _ => return Err(AuthenticateErrorCode::InvalidCertificate),
        };
        let sub_cas = parse_all(request.other_certs_in_chain.as_deref())
            .ok_or(AuthenticateErrorCode::InvalidCertificate)?;
        let server = anchors
            .verify_server_through(&certificate, role, &sub_cas, None)
            .map_err(|error| authenticate_error(&error))?;
        // One CI per session: that of the server's certificates, of ours, and of every signature.
        if server.ci_key_id.as_slice() != &**ci_key_id {
            return Err(AuthenticateErrorCode::InvalidCertificate);
        }
        let smdp_oid = server.oid.ok_or(AuthenticateErrorCode::InvalidOid)?;

        let signed = request.server_signed1;
        if !is_signed(
            &server.public_key,
            &[signed.bytes()],
            &request.server_signature1,
        ) {
            return Err(AuthenticateErrorCode::InvalidSignature);
        }
        if !bool::from(signed.euicc_challenge.ct_eq(&self.challenge)) {
            return Err(AuthenticateErrorCode::EuiccChallengeMismatch);
        }

        let signed = signed.into_value();
        let euicc_signed1 = Encoded::new(EuiccSigned1 {
            transaction_id: signed.transaction_id.clone(),
            server_address: signed.server_address.clone(),
            server_challenge: signed.server_challenge,
            euicc_info2: host.euicc_info2(),
            ctx_params1: request.ctx_params1,
            extensions: Default::default(),
        });
        let transaction = Transaction {
            id: signed.transaction_id,
            ci_key_id,
            smdp_oid,
            server_address: signed.server_address,
            identity,
        };
        let euicc_signature1 = transaction
            .sign(&[euicc_signed1.bytes()])
            .map_err(|_| AuthenticateErrorCode::UndefinedError)?;
        let response = AuthenticateResponseOk {
            euicc_signature1: euicc_signature1.clone(),
            euicc_certificate: transaction.identity.euicc_certificate.clone(),
            eum_certificate: transaction.identity.next_in_chain.clone(),
            other_certs_in_chain: transaction.identity.others_in_chain.clone(),
            euicc_signed1,
            extensions: Default::default(),
        };
        let euicc_signature1 = euicc_signature1.to_der();
        Ok((
            Authenticated {
                transaction,
                role,
                sub_cas,
                euicc_signature1,
            },
            response,
        ))
    }
}

impl Authenticated {
    /// The checks of ES10b.PrepareDownload in their order. The first that fails decides the answer.
    pub(super) fn prepare(
        self,
        host: &mut dyn Host,
        rng: &mut dyn CryptoRng,
        request: PrepareDownloadRequest,
    ) -> Result<(Prepared, PrepareDownloadResponseOk), DownloadErrorCode> {
        // An SM-DS has no profiles: with one, no session exists that could download.
        if self.role != Role::SmDpAuth {
            return Err(DownloadErrorCode::NoSessionContext);
        }
        let server = self.verify_pb(host, &request.smdp_certificate)?;
        let signed = &request.smdp_signed2;
        let signed_parts = [signed.bytes(), self.euicc_signature1.as_slice()];
        if !is_signed(&server.public_key, &signed_parts, &request.smdp_signature2) {
            return Err(DownloadErrorCode::InvalidSignature);
        }
        if signed.transaction_id != self.transaction.id {
            return Err(DownloadErrorCode::InvalidTransactionId);
        }

        let one_time_key =
            match self.retained(host, &server.public_key, signed.bpp_euicc_otpk.as_ref()) {
                Some(key) => key,
                None => EphemeralKey::generate(server.public_key.curve(), rng)
                    .map_err(|_| DownloadErrorCode::UndefinedError)?,
            };
        let euicc_signed2 = Encoded::new(EuiccSigned2 {
            transaction_id: self.transaction.id.clone(),
            euicc_otpk: otpk(&one_time_key),
            hash_cc: request.hash_cc,
            extensions: Default::default(),
        });
        let euicc_signature2 = self
            .transaction
            .sign(&[euicc_signed2.bytes(), &request.smdp_signature2.to_der()])
            .map_err(|_| DownloadErrorCode::UndefinedError)?;
        let kept = RetainedKey {
            smdp_oid: self.transaction.smdp_oid.clone(),
            key: one_time_key.to_bytes(),
        };
        if let Err(error) = host.retain_key(Some(kept)) {
            // The download itself does not need it, only a retry after a power cycle.
            tracing::warn!(%error, "one-time key is not kept for a retry");
        }
        let response = PrepareDownloadResponseOk {
            euicc_signed2,
            euicc_signature2,
            extensions: Default::default(),
        };
        Ok((
            Prepared {
                transaction: self.transaction,
                pb_key: server.public_key,
                one_time_key,
            },
            response,
        ))
    }

    /// CERT.DPpb must come from the same CI, through the same sub-CAs, and belong to the same SM-DP+ as CERT.DPauth: else one
    /// server could hand its session to another.
    fn verify_pb(
        &self,
        host: &dyn Host,
        certificate: &Certificate,
    ) -> Result<VerifiedServer, DownloadErrorCode> {
        let certificate = parse(certificate).ok_or(DownloadErrorCode::InvalidCertificate)?;
        let server = host
            .trust_anchors()
            .verify_server_through(&certificate, Role::SmDpPb, &self.sub_cas, None)
            .map_err(|error| match error {
                ChainError::UnsupportedCurve { .. } => DownloadErrorCode::UnsupportedCurve,
                _ => DownloadErrorCode::InvalidCertificate,
            })?;
        if server.ci_key_id.as_slice() != &**self.transaction.ci_key_id
            || server.oid.as_ref() != Some(&self.transaction.smdp_oid)
        {
            return Err(DownloadErrorCode::InvalidCertificate);
        }
        Ok(server)
    }

    /// The one-time key of an earlier attempt, when this SM-DP+ asks for it: its package is bound to that key already.
    fn retained(
        &self,
        host: &dyn Host,
        pb_key: &PublicKey,
        wanted: Option<&OneTimePublicKey>,
    ) -> Option<EphemeralKey> {
        let wanted = wanted?;
        let kept = host
            .retained_key()
            .filter(|kept| kept.smdp_oid == self.transaction.smdp_oid)?;
        let key = EphemeralKey::from_bytes(&*kept.key).ok()?;
        (key.curve() == pb_key.curve() && key.public_point() == &***wanted).then_some(key)
    }
}

impl Prepared {
    /// otPK.EUICC.ECKA, which the SM-DP+ signs without sending it.
    pub(super) fn euicc_otpk(&self) -> OneTimePublicKey {
        otpk(&self.one_time_key)
    }
}

/// Whether the signature is that of `key` over the concatenation of `parts`.
pub(super) fn is_signed(key: &PublicKey, parts: &[&[u8]], signature: &Signature) -> bool {
    // Plain form only: an eUICC has no reason to be liberal here.
    <[u8; 64]>::try_from(&***signature).is_ok_and(|plain| {
        key.verify_parts(parts, &pki::Signature::from_bytes(plain))
            .is_ok()
    })
}

fn otpk(key: &EphemeralKey) -> OneTimePublicKey {
    OneTimePublicKey(key.public_point().into())
}

fn parse(certificate: &Certificate) -> Option<X509> {
    X509::from_der(certificate.as_der()).ok()
}

/// The sub-CAs that came along. More than any chain has are not looked at.
fn parse_all(certificates: Option<&[Certificate]>) -> Option<Vec<X509>> {
    let certificates = certificates.unwrap_or_default();
    if certificates.len() > INTERMEDIATES_MAX {
        return None;
    }
    certificates.iter().map(parse).collect()
}

fn authenticate_error(error: &ChainError) -> AuthenticateErrorCode {
    match error {
        ChainError::UnsupportedCurve { .. } => AuthenticateErrorCode::UnsupportedCurve,
        // The one extension that verification misses by itself is the subjectAltName with the server's OID.
        ChainError::MissingExtension { .. } => AuthenticateErrorCode::InvalidOid,
        _ => AuthenticateErrorCode::InvalidCertificate,
    }
}
