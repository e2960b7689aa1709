use std::collections::HashMap;
use std::net::SocketAddr;

use edge::client::{
    BlockingClient, ClientError, ClientLimits, ClientOptions, Response, TlsFailure,
};
use edge::tls::Trust;
use edge::tls::rustls_pki_types::CertificateDer;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipa::{EimTrust, HttpRequest, HttpResponse, Network, NetworkError, Server};

/// HTTPS of a device. Its calls block, and must not be made from asynchronous code.
///
/// An eIM is trusted by what the eUICC has stored about it, SM-DP+s and SM-DSs by the device's roots. Connections stay open
/// between requests, one for each server: an eIM takes the one on which the eUICC has proved itself for the device.
pub(crate) struct HttpsNetwork {
    roots: Vec<Vec<u8>>,
    resolve: Vec<(String, SocketAddr)>,
    clients: HashMap<Server, BlockingClient>,
}

/// Servers to which connections are kept.
const SERVERS_MAX: usize = 16;
/// Octets of the largest answer; requests name lower limits.
const RESPONSE_OCTETS_MAX: usize = 4 << 20;

impl HttpsNetwork {
    /// With the device's roots (X.509 DER), and addresses that replace name resolution.
    pub(crate) fn new(roots: Vec<Vec<u8>>, resolve: Vec<(String, SocketAddr)>) -> Self {
        Self {
            roots,
            resolve,
            clients: HashMap::new(),
        }
    }

    /// Closes the connections; the next requests make new ones.
    pub(crate) fn disconnect(&mut self) {
        self.clients.clear();
    }

    fn client(&mut self, server: &Server) -> Result<&BlockingClient, NetworkError> {
        if !self.clients.contains_key(server) {
            if self.clients.len() >= SERVERS_MAX {
                self.disconnect();
            }
            let options = ClientOptions {
                limits: ClientLimits {
                    body_bytes_max: RESPONSE_OCTETS_MAX,
                    ..ClientLimits::default()
                },
                resolve: self.resolve.clone(),
                ..ClientOptions::new(self.trust(server)?)
            };
            let client =
                BlockingClient::with_options(options).map_err(|error| NetworkError::Untrusted {
                    message: with_causes(&error),
                })?;
            self.clients.insert(server.clone(), client);
        }
        self.clients.get(server).ok_or(NetworkError::Unreachable {
            message: "no client could be made".to_owned(),
        })
    }

    fn trust(&self, server: &Server) -> Result<Trust, NetworkError> {
        let certificate = |der: &[u8]| CertificateDer::from(der.to_vec());
        Ok(match server {
            Server::Eim {
                trust: EimTrust::PinnedSpki(spki),
                ..
            } => Trust::PinnedSpki(spki.clone()),
            Server::Eim {
                trust: EimTrust::PinnedCertificate(der),
                ..
            } => Trust::PinnedCertificate(certificate(der)),
            Server::Eim {
                trust: EimTrust::CaCertificate(der),
                ..
            } => Trust::CaCertificate(certificate(der)),
            Server::Eim {
                trust: EimTrust::DeviceTrustStore,
                ..
            }
            | Server::Smdp { .. }
            | Server::Smds { .. } => {
                if self.roots.is_empty() {
                    return Err(NetworkError::Untrusted {
                        message: "the device has no roots; give it some with --trust".to_owned(),
                    });
                }
                Trust::roots(self.roots.iter().cloned())
            }
        })
    }
}

impl Network for HttpsNetwork {
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError> {
        let url = format!("https://{}{}", request.server.host(), request.path);
        let headers = header_map(&request.headers)?;
        let octets_max = request.response_octets_max;
        let response = self
            .client(&request.server)?
            .post(&url, headers, request.body)
            .map_err(network_error)?;
        if response.body.len() > octets_max {
            return Err(NetworkError::Lost {
                message: format!("the answer has more than {octets_max} octets"),
            });
        }
        Ok(to_answer(response))
    }
}

fn header_map(fields: &[(&'static str, String)]) -> Result<HeaderMap, NetworkError> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
            return Err(NetworkError::Unreachable {
                message: "a header field is malformed".to_owned(),
            });
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

fn to_answer(response: Response) -> HttpResponse {
    let headers = response.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    HttpResponse {
        status: response.status.as_u16(),
        headers: headers.collect(),
        body: response.body.into(),
    }
}

/// Whether the server can have seen the request decides what an IPA does next.
fn network_error(error: ClientError) -> NetworkError {
    let message = with_causes(&error);
    match error {
        ClientError::Url
        | ClientError::Dns { .. }
        | ClientError::Connect(_)
        | ClientError::Closed => NetworkError::Unreachable { message },
        ClientError::Tls(TlsFailure::Alert(_) | TlsFailure::Handshake(_)) => {
            NetworkError::Unreachable { message }
        }
        ClientError::Tls(_) => NetworkError::Untrusted { message },
        _ => NetworkError::Lost { message },
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(server: Server) -> HttpRequest {
        HttpRequest {
            server,
            path: "/".to_owned(),
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: Vec::new(),
            response_octets_max: 10,
        }
    }

    #[test]
    fn servers_without_roots_are_not_called() {
        let mut network = HttpsNetwork::new(Vec::new(), Vec::new());
        let server = Server::Smdp {
            address: "127.0.0.1:1".to_owned(),
        };
        assert!(matches!(
            network.post(request(server)),
            Err(NetworkError::Untrusted { .. })
        ));
    }

    #[test]
    fn a_closed_port_is_unreachable() {
        // Bound and closed again: nobody listens there now.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let key = pki::PrivateKey::generate(pki::Curve::P256, &mut crate::adapters::SystemEntropy)
            .unwrap();
        let server = Server::Eim {
            eim_id: "eim".parse().unwrap(),
            host: format!("localhost:{port}"),
            trust: EimTrust::PinnedSpki(pki::Signer::public_key(&key).to_spki_der()),
        };
        let mut network = HttpsNetwork::new(Vec::new(), Vec::new());
        assert!(matches!(
            network.post(request(server)),
            Err(NetworkError::Unreachable { .. })
        ));
    }
}
