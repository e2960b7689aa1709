//! Brings webhooks to where they are to go, and nowhere else.
//!
//! Whoever may name an address could have this server talk to machines that only it can reach (server-side request forgery).
//! So names are resolved here, addresses that are not public are refused unless the host was allowed by name in the settings, and
//! the connection goes to the very address that was looked at. Redirections are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use edge::client::{Client, ClientLimits, ClientOptions};
use edge::tls::Trust;
use http::{HeaderMap, Uri};

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The status that a receiver answered with, or why there is none.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<u16, String>> + Send + 'a>>;

/// Posts something.
pub trait Courier: Send + Sync {
    /// Posts a body of JSON.
    fn post(&self, url: String, headers: HeaderMap, body: Bytes) -> Delivery<'_>;
}

/// Over HTTPS.
pub struct HttpsCourier {
    roots: Vec<Vec<u8>>,
    hosts: Vec<String>,
}

impl HttpsCourier {
    /// `roots`: certificates (DER) that receivers chain to. `hosts`: names in lower case that may lead to addresses that are not
    /// public.
    pub fn new(roots: Vec<Vec<u8>>, hosts: Vec<String>) -> Self {
        Self { roots, hosts }
    }

    async fn deliver(&self, url: String, headers: HeaderMap, body: Bytes) -> Result<u16, String> {
        let uri: Uri = url.parse().map_err(|_| "the URL is malformed".to_owned())?;
        let host = uri
            .host()
            .ok_or("the URL has no host")?
            .to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(443);
        let address = self.address(&host, port).await?;
        let client = Client::with_options(ClientOptions {
            limits: ClientLimits {
                connect_timeout: TIMEOUT,
                total_timeout: TIMEOUT,
                ..ClientLimits::default()
            },
            resolve: vec![(host, address)],
            ..ClientOptions::new(Trust::roots(self.roots.iter().cloned()))
        })
        .map_err(|error| with_causes(&error))?;
        match client.post(&url, headers, body).await {
            Ok(response) => Ok(response.status.as_u16()),
            Err(error) => Err(with_causes(&error)),
        }
    }

    async fn address(&self, host: &str, port: u16) -> Result<SocketAddr, String> {
        let name = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let found = tokio::net::lookup_host((name, port))
            .await
            .map_err(|error| format!("{host} cannot be resolved: {error}"))?;
        let is_allowed = self.hosts.iter().any(|allowed| allowed == host);
        let mut seen = None;
        for address in found {
            if is_allowed || is_public(address.ip()) {
                return Ok(address);
            }
            seen = Some(address);
        }
        Err(match seen {
            Some(address) => format!(
                "{host} leads to {}, which is not a public address; name the host in console.webhook_hosts if that is meant",
                address.ip()
            ),
            None => format!("{host} has no address"),
        })
    }
}

impl Courier for HttpsCourier {
    fn post(&self, url: String, headers: HeaderMap, body: Bytes) -> Delivery<'_> {
        Box::pin(self.deliver(url, headers, body))
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

/// Whether an address is one of the Internet at large (IANA special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_broadcast()
        || address.is_multicast()
        // Carrier-grade NAT, IETF protocol assignments, benchmarking, reserved.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, ..] = segments;
    // Global unicast is 2000::/3; of that, documentation, 6to4 and Teredo lead elsewhere.
    (first & 0xe000) == 0x2000
        && !(first == 0x2001 && (second == 0x0db8 || second == 0))
        && first != 0x2002
        && first != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_internet_at_large_is_public() {
        for text in ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "100.128.0.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2001::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_unless_it_was_allowed() {
        let strict = HttpsCourier::new(Vec::new(), Vec::new());
        let refused = strict.address("localhost", 443).await.unwrap_err();
        assert!(refused.contains("not a public address"), "{refused}");
        assert!(strict.address("127.0.0.1", 443).await.is_err());
        assert!(strict.address("[::1]", 443).await.is_err());
        let allowing = HttpsCourier::new(Vec::new(), vec!["localhost".to_owned()]);
        assert!(allowing.address("localhost", 443).await.is_ok());
        assert!(allowing.address("127.0.0.1", 443).await.is_err());
    }
}
