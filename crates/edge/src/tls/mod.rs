//! Protocol versions, cipher suites, keys and trust for both sides of a TLS connection.
//!
//! TLS 1.2 with ECDHE-ECDSA and AES-GCM, and TLS 1.3 with all its suites: what SGP.22 v2.5 section 2.6.6 and SGP.32 v1.2 ask
//! for, and nothing weaker. Session resumption is on; renegotiation and 0-RTT do not exist here.

mod chain;
mod trust;
mod verifier;

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConfig, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode, Tagged};

pub use rustls_pki_types;
pub use trust::Trust;

pub(crate) use self::verifier::PinMismatch;
use self::verifier::{ClientChainVerifier, ServerVerifier};

/// Where certificate checks take the time from: seconds since 1970-01-01 UTC.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// TLS protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    V1_2,
    /// TLS 1.3, RFC 8446.
    V1_3,
}

/// A certificate chain, end entity first, with the private key of that end entity.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From DER: the chain as X.509 certificates, the key as PKCS#8 (or SEC1) structure.
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::try_from(key).map_err(|_| TlsError::KeyFormat)?;
        Self::new(chain.into_iter().map(CertificateDer::from).collect(), key)
    }

    /// From PEM texts; other blocks than certificates in the first and private keys in the second are skipped.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::KeyFormat)?;
        Self::new(chain.map_err(|_| TlsError::CertificateFormat)?, key)
    }

    /// From the library's own types.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        Ok(Self { chain, key })
    }

    fn certified_key(self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let key = provider
            .key_provider
            .load_private_key(self.key)
            .map_err(TlsError::Key)?;
        let leaf = self.chain.first().ok_or(TlsError::NoCertificate)?;
        let spki = subject_public_key_info(leaf).ok_or(TlsError::CertificateFormat)?;
        if key.public_key().is_none_or(|own| own.as_ref() != spki) {
            return Err(TlsError::KeyMismatch);
        }
        Ok(CertifiedKey::new(self.chain, key))
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Whether a server asks its clients for a certificate.
#[derive(Debug, Clone, Default)]
pub enum ClientAuth {
    /// It does not.
    #[default]
    None,
    /// It asks; a client may have none, but one that it shows must lead to these roots.
    Optional(Vec<CertificateDer<'static>>),
    /// It asks, and refuses clients without a certificate that leads to these roots.
    Required(Vec<CertificateDer<'static>>),
}

impl ClientAuth {
    /// [`ClientAuth::Required`] from DER certificates.
    pub fn required(roots: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::Required(roots.into_iter().map(CertificateDer::from).collect())
    }
}

/// TLS side of a listener.
#[derive(Clone)]
pub struct TlsConfig {
    /// The server's certificate chain and key.
    pub identity: Identity,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Lowest version that is spoken.
    pub version_min: TlsVersion,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
    /// Time for checking client certificates; none takes the system's clock.
    pub clock: Option<Clock>,
}

impl TlsConfig {
    /// TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, no client certificates.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            client_auth: ClientAuth::None,
            version_min: TlsVersion::V1_2,
            http2: true,
            clock: None,
        }
    }

    /// The same with client certificates.
    pub fn with_client_auth(self, client_auth: ClientAuth) -> Self {
        Self {
            client_auth,
            ..self
        }
    }

    /// Accepts TLS on connections of a listener that is not a [`Server`](crate::server::Server), with none of its limits:
    /// for comparing with one.
    pub fn into_acceptor(self) -> Result<tokio_rustls::TlsAcceptor, TlsError> {
        Ok(Arc::new(self.into_rustls()?).into())
    }

    pub(crate) fn into_rustls(self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(provider());
        let key = self.identity.certified_key(&provider)?;
        let verifier = client_verifier(self.client_auth, &provider)?;
        let mut config =
            ServerConfig::builder_with_details(Arc::clone(&provider), time_provider(self.clock))
                .with_protocol_versions(versions(self.version_min))
                .map_err(TlsError::Setup)?
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = if self.http2 {
            vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()]
        } else {
            vec![ALPN_H1.to_vec()]
        };
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_KEPT);
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
        // A device makes one connection at a time, so a second ticket would only be bytes on the air.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("identity", &self.identity)
            .field("version_min", &self.version_min)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}

/// Why keys, certificates or trust cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The chain is empty.
    #[error(
        "no certificate was given; a PEM file must hold the server's certificate first, then its issuers"
    )]
    NoCertificate,
    /// Not an X.509 certificate.
    #[error("a certificate cannot be read; it must be X.509 in DER or PEM")]
    CertificateFormat,
    /// Not a private key.
    #[error("the private key cannot be read; it must be PKCS#8 in DER or PEM")]
    KeyFormat,
    /// A private key of a kind that is not supported.
    #[error("the private key is not of a supported kind; use an ECDSA P-256 key")]
    Key(#[source] rustls::Error),
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A pinned public key cannot be read.
    #[error("the pinned public key is not a SubjectPublicKeyInfo of a supported kind")]
    PinFormat,
    /// There is no root to trust.
    #[error("no root certificate was given, so that nobody could be trusted")]
    NoRoots,
    /// A blocking client's runtime could not be started.
    #[error("the client's runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    /// The library refused the set-up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

pub(crate) const ALPN_H1: &[u8] = b"http/1.1";
pub(crate) const ALPN_H2: &[u8] = b"h2";
/// Sessions remembered for clients that cannot use tickets.
const SESSIONS_KEPT: usize = 4096;

/// The client's side: `trust` decides about the server, `identity` is shown if it asks.
pub(crate) fn client_config(
    trust: Trust,
    identity: Option<Identity>,
    version_min: TlsVersion,
    clock: Option<Clock>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider());
    let verifier = ServerVerifier::new(trust, provider.signature_verification_algorithms)?;
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time_provider(clock))
        .with_protocol_versions(versions(version_min))
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = identity.certified_key(&provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    };
    config.alpn_protocols = vec![ALPN_H1.to_vec()];
    Ok(config)
}

fn client_verifier(
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let (roots, optional) = match auth {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Optional(roots) => (roots, true),
        ClientAuth::Required(roots) => (roots, false),
    };
    Ok(Arc::new(ClientChainVerifier::new(
        roots, optional, provider,
    )?))
}

fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite as suite;
    CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    }
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    static NEWEST: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match min {
        TlsVersion::V1_2 => &BOTH,
        TlsVersion::V1_3 => &NEWEST,
    }
}

fn time_provider(clock: Option<Clock>) -> Arc<dyn TimeProvider> {
    match clock {
        None => Arc::new(DefaultTimeProvider),
        Some(clock) => Arc::new(ClockTime(clock)),
    }
}

struct ClockTime(Clock);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            (self.0)(),
        )))
    }
}

/// The SubjectPublicKeyInfo of a certificate, DER.
///
/// Looks at nothing else in the certificate, so that no unusual extension or name stands in the way.
fn subject_public_key_info(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = Vec::<AnyRef<'_>>::from_der(certificate).ok()?;
    let to_be_signed = certificate.first()?.to_der().ok()?;
    let fields = Vec::<AnyRef<'_>>::from_der(&to_be_signed).ok()?;
    // RFC 5280 section 4.1: [0] version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo.
    let has_version = fields.first()?.tag().is_context_specific();
    fields.get(if has_version { 6 } else { 5 })?.to_der().ok()
}
