//! ES9+' and ES11': this eIM as the client of an SM-DP+ or SM-DS.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edge::client::{Client, ClientError, ClientLimits, ClientOptions};
use edge::tls::{TlsError, Trust};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rsp::binding::es9plus::{Request, Response};
use rsp::binding::http::{AdminProtocol, Binding, HEADER_ADMIN_PROTOCOL, Interface, UserAgent};
use rsp::sgp22::HandleNotification;

/// A call under way.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, ConnectorError>> + Send + 'a>>;

/// Talks to SM-DP+s and SM-DSs by their addresses.
pub trait SmdpConnector: Send + Sync {
    /// Calls a function of ES9+ (or ES11) at `address`, an FQDN with an optional port.
    fn call<'a>(&'a self, address: &'a str, request: Request) -> Call<'a, Response>;

    /// Delivers a Notification.
    fn notify<'a>(&'a self, address: &'a str, notification: HandleNotification) -> Call<'a, ()> {
        Box::pin(async move {
            self.call(address, Request::HandleNotification(notification))
                .await
                .map(|_| ())
        })
    }
}

/// Why a server could not be called.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// Not an address that may be called.
    #[error("{0:?} is not the address of a server")]
    Address(String),
    /// The client could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] TlsError),
    /// The exchange failed.
    #[error("the server could not be reached")]
    Http(#[from] ClientError),
    /// An HTTP status that the interface does not know.
    #[error("the server answered with HTTP status {0}")]
    Status(StatusCode),
    /// The answer is not one of this function.
    #[error("the server's answer does not decode")]
    Answer(#[from] rsp::binding::Error),
}

/// ES9+' over HTTPS in the JSON binding, which every SM-DP+ has.
pub struct HttpConnector {
    trust: Trust,
    resolve: Vec<(String, SocketAddr)>,
    clients: Mutex<HashMap<String, Client>>,
}

const CLIENTS_MAX: usize = 64;
const CONNECTIONS_PER_SERVER: usize = 16;
const BOUND_PROFILE_PACKAGE_BYTES_MAX: usize = 4 << 20;

impl HttpConnector {
    /// A connector that accepts servers whose certificate chains to one of `roots`.
    ///
    /// `resolve` replaces name resolution for some hosts.
    pub fn new(
        roots: impl IntoIterator<Item = Vec<u8>>,
        resolve: Vec<(String, SocketAddr)>,
    ) -> Self {
        Self {
            trust: Trust::roots(roots),
            resolve,
            clients: Mutex::default(),
        }
    }

    fn client(&self, address: &str) -> Result<Client, ConnectorError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let client = Client::with_options(ClientOptions {
            limits: ClientLimits {
                total_timeout: Duration::from_secs(30),
                body_bytes_max: BOUND_PROFILE_PACKAGE_BYTES_MAX,
                connections_max: CONNECTIONS_PER_SERVER,
                ..ClientLimits::default()
            },
            resolve: self.resolve.clone(),
            ..ClientOptions::new(self.trust.clone())
        })?;
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}

impl SmdpConnector for HttpConnector {
    fn call<'a>(&'a self, address: &'a str, request: Request) -> Call<'a, Response> {
        Box::pin(async move {
            let address = checked(address)?;
            let function = request.function();
            let (name, body) = request.to_json();
            let url = format!("https://{address}{}", Interface::Es9Plus.path(name));
            let answer = self.client(address)?.post(&url, headers(), body).await?;
            match answer.status {
                StatusCode::OK => Ok(Response::from_json(function, &answer.body)?),
                StatusCode::NO_CONTENT => Ok(Response::HandleNotification),
                status => Err(ConnectorError::Status(status)),
            }
        })
    }
}

/// Activation codes and Notifications come from outside: what they name is a host, nothing else.
fn checked(address: &str) -> Result<&str, ConnectorError> {
    const ADDRESS_CHARACTERS_MAX: usize = 255;
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    let well_formed = !address.is_empty()
        && address.len() <= ADDRESS_CHARACTERS_MAX
        && address.bytes().all(is_host)
        && address.bytes().filter(|&b| b == b':').count() <= 1;
    if well_formed {
        Ok(address)
    } else {
        Err(ConnectorError::Address(address.chars().take(80).collect()))
    }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(Binding::Json.content_type()),
    );
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(UserAgent::Lpad.as_str()),
    );
    if let Ok(version) = HeaderValue::from_str(&AdminProtocol::DEFAULT.to_string()) {
        headers.insert(HEADER_ADMIN_PROTOCOL, version);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_host_and_nothing_else() {
        assert!(checked("smdp.example.com").is_ok());
        assert!(checked("smdp.example.com:8443").is_ok());
        for bad in ["", "a/b", "a@b", "a?b", "http://a", "a:1:2", "a b", "[::1]"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
