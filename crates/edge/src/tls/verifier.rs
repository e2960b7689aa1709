use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::chain::{self, Role};
use super::{TlsError, Trust, subject_public_key_info};

/// The server showed another key or certificate than the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("the server's key or certificate is not the pinned one")]
pub(crate) struct PinMismatch;

/// A client's decision about a server.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Rule {
    Roots(Roots),
    Certificate(CertificateDer<'static>),
    Spki(Vec<u8>),
}

impl ServerVerifier {
    pub(super) fn new(
        trust: Trust,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsError> {
        let rule = match trust {
            Trust::Roots(roots) => Rule::Roots(Roots::new(&roots)?),
            Trust::CaCertificate(root) => Rule::Roots(Roots::new(&[root])?),
            Trust::PinnedCertificate(certificate) => {
                Certificate::from_der(&certificate).map_err(|_| TlsError::CertificateFormat)?;
                Rule::Certificate(certificate)
            }
            Trust::PinnedSpki(spki) => {
                let key = SubjectPublicKeyInfoDer::from(spki.as_slice());
                RawPublicKeyEntity::try_from(&key).map_err(|_| TlsError::PinFormat)?;
                Rule::Spki(spki)
            }
        };
        Ok(Self { rule, algorithms })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.rule {
            Rule::Roots(roots) if chain::has_critical_policies(end_entity, intermediates) => {
                let role = Role::Server(server_name);
                chain::verify(
                    end_entity,
                    intermediates,
                    &roots.certificates,
                    role,
                    now,
                    self.algorithms.all,
                )?;
            }
            Rule::Roots(roots) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let (store, algorithms) = (&roots.store, self.algorithms.all);
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    store,
                    intermediates,
                    now,
                    algorithms,
                )?;
                verify_server_name(&parsed, server_name)?;
            }
            Rule::Certificate(pinned) => {
                if pinned != end_entity {
                    return Err(pin_mismatch());
                }
                let certificate =
                    Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
                chain::check_validity(&certificate, now)?;
            }
            Rule::Spki(pinned) => {
                if subject_public_key_info(end_entity).as_ref() != Some(pinned) {
                    return Err(pin_mismatch());
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A server's decision about a client that shows a certificate.
#[derive(Debug)]
pub(super) struct ClientChainVerifier {
    roots: Roots,
    web: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientChainVerifier {
    pub(super) fn new(
        roots: Vec<CertificateDer<'static>>,
        optional: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let roots = Roots::new(&roots)?;
        let builder = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&roots.store),
            Arc::clone(provider),
        );
        let builder = if optional {
            builder.allow_unauthenticated()
        } else {
            builder
        };
        let web = builder
            .build()
            .map_err(|error| TlsError::Setup(Error::General(error.to_string())))?;
        Ok(Self {
            roots,
            web,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ClientCertVerifier for ClientChainVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.web.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.web.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !chain::has_critical_policies(end_entity, intermediates) {
            return self.web.verify_client_cert(end_entity, intermediates, now);
        }
        let (roots, algorithms) = (&self.roots.certificates, self.algorithms.all);
        chain::verify(
            end_entity,
            intermediates,
            roots,
            Role::Client,
            now,
            algorithms,
        )?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The same roots in the form of either path check.
#[derive(Debug)]
struct Roots {
    store: Arc<RootCertStore>,
    certificates: Vec<Certificate>,
}

impl Roots {
    fn new(roots: &[CertificateDer<'static>]) -> Result<Self, TlsError> {
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let mut store = RootCertStore::empty();
        let mut certificates = Vec::with_capacity(roots.len());
        for root in roots {
            store
                .add(root.clone())
                .map_err(|_| TlsError::CertificateFormat)?;
            certificates
                .push(Certificate::from_der(root).map_err(|_| TlsError::CertificateFormat)?);
        }
        Ok(Self {
            store: Arc::new(store),
            certificates,
        })
    }
}

fn pin_mismatch() -> Error {
    CertificateError::Other(OtherError(Arc::new(PinMismatch))).into()
}

// The library's own functions read the whole certificate and so refuse critical extensions that `chain` accepts. Only the
// key matters for a handshake signature.

fn verify_tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = handshake_key(cert)?;
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
    let scheme = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == dss.scheme);
    // A scheme that was not offered has no algorithms here.
    let candidates = scheme.map_or(&[][..], |(_, candidates)| *candidates);
    if candidates
        .iter()
        .any(|one| key.verify_signature(*one, message, dss.signature()).is_ok())
    {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

fn verify_tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &handshake_key(cert)?, dss, algorithms)
}

fn handshake_key(cert: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let spki = subject_public_key_info(cert).ok_or(CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(spki))
}
