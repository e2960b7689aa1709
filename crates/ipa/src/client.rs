//! ESipa and ES9+ over [`Network`](crate::Network), and the pauses that failing servers get.

use pki::Certificate;
use rsp::binding::http::{
    AdminProtocol, Binding, HEADER_ADMIN_PROTOCOL, Interface, PATH_ASN1, UserAgent,
};
use rsp::binding::{self, es9plus, esipa};
use rsp::sgp32::{
    EimConfigurationData, EimId, EimIdType, EimSupportedProtocol, TrustedPublicKeyDataTls,
};

use crate::address;
use crate::engine::Engine;
use crate::event::Event;
use crate::ports::{EimTrust, HttpRequest, HttpResponse, NetworkError, Server};

/// An eIM that can be reached.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) configuration: EimConfigurationData,
    pub(crate) server: Server,
    /// Name of its back-off.
    pub(crate) key: String,
    /// Not associated any more; it gets what it waits for, and is not polled.
    pub(crate) is_former: bool,
}

/// Why a server's function has no (usable) answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("no answer")]
    Network(#[from] NetworkError),
    #[error("the server answered with HTTP status {status}")]
    Status {
        status: u16,
        retry_after_s: Option<u64>,
    },
    #[error("the server's answer cannot be read")]
    Binding {
        #[source]
        source: binding::Error,
        /// The answer.
        body: Vec<u8>,
    },
    #[error("the request has no form in this binding")]
    Request(#[source] binding::Error),
    #[error("the answer is longer than allowed")]
    TooLong,
    #[error("{0:?} is not an address")]
    Address(String),
    #[error("the server is given a pause")]
    Pausing,
}

impl ServerError {
    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Network(_) | Self::Pausing => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// The error and its causes, for people.
    pub(crate) fn describe(&self) -> String {
        describe(self)
    }
}

/// An error and its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl Contact {
    /// An eIM whose configuration data say where it is: by `eimFqdn`, else by an `eimId` that is an FQDN.
    pub(crate) fn new(configuration: EimConfigurationData) -> Option<Self> {
        let host = match (&configuration.eim_fqdn, configuration.eim_id_type) {
            (Some(fqdn), _) => fqdn.clone(),
            (None, Some(EimIdType::EimIdTypeFqdn)) => configuration.eim_id.as_str().to_owned(),
            _ => return None,
        };
        if !address::is_address(&host) {
            return None;
        }
        let server = Server::Eim {
            eim_id: configuration.eim_id.clone(),
            host,
            trust: trust(configuration.trusted_public_key_data_tls.as_ref()),
        };
        let key = format!("eim:{}", configuration.eim_id);
        Some(Self {
            configuration,
            server,
            key,
            is_former: false,
        })
    }

    /// An eIM that was deleted.
    pub(crate) fn former(configuration: EimConfigurationData) -> Option<Self> {
        Self::new(configuration).map(|contact| Self {
            is_former: true,
            ..contact
        })
    }

    pub(crate) fn eim_id(&self) -> &EimId {
        &self.configuration.eim_id
    }

    /// Whether it answers polls over HTTPS.
    pub(crate) fn is_polled(&self, without_protocol: bool) -> bool {
        if self.is_former {
            return false;
        }
        match &self.configuration.eim_supported_protocol {
            Some(protocols) => protocols.contains(EimSupportedProtocol::EIM_RETRIEVE_HTTPS),
            None => without_protocol,
        }
    }
}

/// A certificate that is no CA's can only be the server's own. One that cannot be read is pinned: nothing matches it.
fn trust(stored: Option<&TrustedPublicKeyDataTls>) -> EimTrust {
    match stored {
        Some(TrustedPublicKeyDataTls::TrustedEimPkTls(key)) => {
            EimTrust::PinnedSpki(key.as_der().to_vec())
        }
        Some(TrustedPublicKeyDataTls::TrustedCertificateTls(certificate)) => {
            let der = certificate.as_der().to_vec();
            match Certificate::from_der(&der) {
                Ok(parsed) if parsed.is_ca() => EimTrust::CaCertificate(der),
                _ => EimTrust::PinnedCertificate(der),
            }
        }
        Some(TrustedPublicKeyDataTls::Unknown(raw)) => {
            EimTrust::PinnedCertificate(raw.bytes().to_vec())
        }
        None => EimTrust::DeviceTrustStore,
    }
}

impl Engine<'_> {
    /// Calls a function of an eIM. A failure of the server begins or lengthens its pause, an answer ends it.
    pub(crate) fn call_eim(
        &mut self,
        eim: &Contact,
        request: &esipa::Request,
    ) -> Result<esipa::Response, ServerError> {
        let outcome = self.call_esipa(&eim.server, request);
        self.note_outcome(&eim.key, outcome)
    }

    fn call_esipa(
        &mut self,
        server: &Server,
        request: &esipa::Request,
    ) -> Result<esipa::Response, ServerError> {
        let function = request.function();
        let has_answer = function != esipa::Function::HandleNotification;
        match self.config.esipa_binding {
            Binding::Asn1 => {
                let path = PATH_ASN1.to_owned();
                let body = self.post(server, Binding::Asn1, path, request.to_asn1(), has_answer)?;
                esipa::Response::from_asn1(function, &body)
                    .map_err(|source| ServerError::Binding { source, body })
            }
            Binding::Json => {
                let (name, body) = request.to_json().map_err(ServerError::Request)?;
                let path = Interface::Esipa.path(name);
                let body = self.post(server, Binding::Json, path, body, has_answer)?;
                esipa::Response::from_json(function, &body)
                    .map_err(|source| ServerError::Binding { source, body })
            }
        }
    }

    /// Calls a function of an SM-DP+ or SM-DS.
    pub(crate) fn call_rsp(
        &mut self,
        server: &Server,
        request: &es9plus::Request,
    ) -> Result<es9plus::Response, ServerError> {
        if !address::is_address(server.host()) {
            return Err(ServerError::Address(
                server.host().chars().take(64).collect(),
            ));
        }
        let key = rsp_key(server.host());
        if self.is_pausing(&key) {
            return Err(ServerError::Pausing);
        }
        let outcome = self.call_es9plus(server, request);
        self.note_outcome(&key, outcome)
    }

    fn call_es9plus(
        &mut self,
        server: &Server,
        request: &es9plus::Request,
    ) -> Result<es9plus::Response, ServerError> {
        let function = request.function();
        let has_answer = function != es9plus::Function::HandleNotification;
        match self.config.es9plus_binding {
            Binding::Asn1 => {
                let path = PATH_ASN1.to_owned();
                let body = self.post(server, Binding::Asn1, path, request.to_asn1(), has_answer)?;
                es9plus::Response::from_asn1(function, &body)
                    .map_err(|source| ServerError::Binding { source, body })
            }
            Binding::Json => {
                let (name, body) = request.to_json();
                let path = Interface::Es9Plus.path(name);
                let body = self.post(server, Binding::Json, path, body, has_answer)?;
                es9plus::Response::from_json(function, &body)
                    .map_err(|source| ServerError::Binding { source, body })
            }
        }
    }

    fn post(
        &mut self,
        server: &Server,
        binding: Binding,
        path: String,
        body: Vec<u8>,
        has_answer: bool,
    ) -> Result<Vec<u8>, ServerError> {
        let agent = match server {
            Server::Eim { .. } => UserAgent::Ipad.as_str(),
            Server::Smdp { .. } | Server::Smds { .. } => UserAgent::Lpad.as_str(),
        };
        let agent = match self.config.user_agent_text.as_str() {
            "" => agent.to_owned(),
            text => format!("{agent}; {text}"),
        };
        let response_octets_max = self.config.limits.response_octets_max;
        let request = HttpRequest {
            server: server.clone(),
            path,
            headers: vec![
                ("Content-Type", binding.content_type().to_owned()),
                ("User-Agent", agent),
                (HEADER_ADMIN_PROTOCOL, AdminProtocol::DEFAULT.to_string()),
            ],
            body,
            response_octets_max,
        };
        let HttpResponse {
            status,
            headers,
            body,
        } = self.network.post(request)?;
        if body.len() > response_octets_max {
            return Err(ServerError::TooLong);
        }
        match status {
            200 => Ok(body),
            204 if !has_answer => Ok(Vec::new()),
            status => {
                let response = HttpResponse {
                    status,
                    headers,
                    body: Vec::new(),
                };
                Err(ServerError::Status {
                    status,
                    retry_after_s: response.retry_after_s(),
                })
            }
        }
    }

    fn note_outcome<T>(
        &mut self,
        key: &str,
        outcome: Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        match &outcome {
            Ok(_) => self.state.forget_failures(key),
            Err(error) => self.pause(key, error.retry_after_s(), &error.describe()),
        }
        outcome
    }

    /// Gives a server a pause: exponential with jitter, or what it asked for.
    pub(crate) fn pause(&mut self, key: &str, retry_after_s: Option<u64>, reason: &str) {
        let timing = &self.config.timing;
        let failures = self.state.count_failure(key);
        let doublings = u32::try_from(failures.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(32);
        let whole = timing
            .back_off_first_ms
            .saturating_mul(1_u64 << doublings)
            .min(timing.back_off_max_ms);
        let half = whole / 2;
        let jittered = half + self.random_below(whole - half + 1);
        let asked = retry_after_s
            .unwrap_or(0)
            .saturating_mul(1000)
            .min(timing.retry_after_max_ms);
        let pause_ms = i64::try_from(jittered.max(asked)).unwrap_or(i64::MAX);
        self.state
            .set_not_before_ms(key, self.now_ms.saturating_add(pause_ms));
        self.events.push(Event::ServerFailed {
            server: key.to_owned(),
            reason: reason.to_owned(),
        });
    }

    pub(crate) fn is_pausing(&self, key: &str) -> bool {
        self.state
            .not_before_ms(key)
            .is_some_and(|instant| instant > self.now_ms)
    }

    /// 0 up to but not including `bound`; 0 for 0.
    pub(crate) fn random_below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is below 2^-20 for pauses of a day and does not matter for jitter.
        self.rng.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

/// Name of the back-off of an SM-DP+ or SM-DS.
pub(crate) fn rsp_key(address: &str) -> String {
    format!("rsp:{}", address.to_ascii_lowercase())
}
