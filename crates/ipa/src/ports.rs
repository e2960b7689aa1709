//! What an IPA needs of the device around it.

use std::error::Error;

use rsp::sgp32::EimId;

/// The way to a card: a card in the same process, a reader, a modem.
pub trait CardTransport {
    /// Sends one command APDU of short length and returns the answer with SW1 SW2 at its end.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError>;

    /// Resets the card (cold or warm) and returns when it answers again.
    fn reset(&mut self) -> Result<(), TransportError>;
}

/// The card cannot be reached, or the exchange with it broke.
#[derive(Debug, thiserror::Error)]
#[error("the card does not answer: {message}")]
pub struct TransportError {
    /// What happened.
    pub message: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl TransportError {
    /// Without a cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }
}

/// HTTPS requests. Connections, their reuse and time limits are the implementer's business.
pub trait Network {
    /// Sends one POST request over TLS and returns the whole answer. Redirects are not to be followed.
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError>;
}

/// The peer of a request, with what its TLS certificate is to be judged by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Server {
    /// An eIM.
    Eim {
        /// Its name in the eUICC.
        eim_id: EimId,
        /// Host name, possibly with a port.
        host: String,
        /// What the eUICC has stored about its TLS server.
        trust: EimTrust,
    },
    /// An SM-DP+, to be trusted by the device's list of CIs.
    Smdp {
        /// Host name, possibly with a port.
        address: String,
    },
    /// An SM-DS, to be trusted by the device's list of CIs.
    Smds {
        /// Host name, possibly with a port.
        address: String,
    },
}

impl Server {
    /// Host name, possibly with a port.
    pub fn host(&self) -> &str {
        match self {
            Self::Eim { host, .. } => host,
            Self::Smdp { address } | Self::Smds { address } => address,
        }
    }
}

/// `trustedPublicKeyDataTls` of an eIM (SGP.32 v1.2 section 2.6.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EimTrust {
    /// The server must have this key: DER of SubjectPublicKeyInfo.
    PinnedSpki(Vec<u8>),
    /// The server must have this certificate (DER).
    PinnedCertificate(Vec<u8>),
    /// The server's chain must lead to this certificate (DER), and its name must be the host.
    CaCertificate(Vec<u8>),
    /// Nothing is stored: the device's own trust store decides.
    DeviceTrustStore,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The peer.
    pub server: Server,
    /// Path, beginning with a slash.
    pub path: String,
    /// Header fields beyond Host and Content-Length.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Octets of the answer's body beyond which it is to be given up.
    pub response_octets_max: usize,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header fields; of these only Retry-After is looked at.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// An answer without header fields.
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// Retry-After in seconds; its form with a date is not read.
    pub fn retry_after_s(&self) -> Option<u64> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
        value.trim().parse().ok()
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No connection; the server did not see the request.
    #[error("the server cannot be reached: {message}")]
    Unreachable {
        /// What happened.
        message: String,
    },
    /// The server is not the one that it should be.
    #[error("the server is not trusted: {message}")]
    Untrusted {
        /// What happened.
        message: String,
    },
    /// The connection broke or the time ran out; the server may have executed the request.
    #[error("the answer was lost: {message}")]
    Lost {
        /// What happened.
        message: String,
    },
}

/// Judge of the enabled Profile.
pub trait Connectivity {
    /// Whether the enabled Profile has connectivity. After a change of Profile the implementer waits, as long as attaching
    /// may take, before it says no: a no right after an enabling with rollback ends in the rollback.
    fn check(&mut self) -> bool;
}

/// What an IPA remembers over restarts: timers, undelivered reports, downloads under way. Holds no secret, but activation
/// codes of downloads that are not finished.
pub trait Memory {
    /// What was stored last, or nothing.
    fn load(&self) -> Option<Vec<u8>>;

    /// Replaces what is stored. Should be atomic: whatever cannot be read later counts as nothing.
    fn store(&mut self, state: &[u8]);
}

/// A memory that does not outlive its owner.
#[derive(Debug, Clone, Default)]
pub struct VolatileMemory(Option<Vec<u8>>);

impl Memory for VolatileMemory {
    fn load(&self) -> Option<Vec<u8>> {
        self.0.clone()
    }

    fn store(&mut self, state: &[u8]) {
        self.0 = Some(state.to_vec());
    }
}

impl<T: CardTransport + ?Sized> CardTransport for Box<T> {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        (**self).transmit(command)
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        (**self).reset()
    }
}

impl<T: Network + ?Sized> Network for Box<T> {
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError> {
        (**self).post(request)
    }
}

impl<T: Connectivity + ?Sized> Connectivity for Box<T> {
    fn check(&mut self) -> bool {
        (**self).check()
    }
}

impl<T: Memory + ?Sized> Memory for Box<T> {
    fn load(&self) -> Option<Vec<u8>> {
        (**self).load()
    }

    fn store(&mut self, state: &[u8]) {
        (**self).store(state);
    }
}
