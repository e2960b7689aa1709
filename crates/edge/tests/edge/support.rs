//! A small PKI, a server in the background and a bare TLS client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use edge::client::{Client, ClientOptions};
use edge::server::{Counters, Drained, Handler, Limits, Server, TlsHandle};
use edge::tls::{Clock, Identity, TlsConfig, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

pub(crate) const HOST: &str = "smdp.example.com";
/// 2026-01-15, within the validity of everything that is issued here by default.
pub(crate) const NOW: u64 = 1_768_435_200;

pub(crate) fn clock() -> Clock {
    Arc::new(|| NOW)
}

/// A certification authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// How a certificate differs from a good one.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) host: &'static str,
    pub(crate) years: (i32, i32),
    pub(crate) critical_policies: bool,
    pub(crate) unknown_critical: bool,
    pub(crate) purpose: ExtendedKeyUsagePurpose,
    pub(crate) usage: KeyUsagePurpose,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            host: HOST,
            years: (2025, 2035),
            critical_policies: false,
            unknown_critical: false,
            purpose: ExtendedKeyUsagePurpose::ServerAuth,
            usage: KeyUsagePurpose::DigitalSignature,
        }
    }
}

/// A chain with its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
    pub(crate) spki: Vec<u8>,
}

impl Issued {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_der(
            self.chain.iter().map(|one| one.to_vec()).collect(),
            self.key.clone(),
        )
        .unwrap()
    }
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name, BasicConstraints::Unconstrained, true);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A subordinate authority, with critical certificatePolicies as the eSIM PKI has them.
    pub(crate) fn subordinate(&self, name: &str, constraints: BasicConstraints) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name, constraints, true);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, profile: &Profile) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, profile.host);
        params.not_before = rcgen::date_time_ymd(profile.years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(profile.years.1, 1, 1);
        params.key_usages = vec![profile.usage];
        params.extended_key_usages = vec![profile.purpose.clone()];
        params.custom_extensions = vec![alternative_names(profile.host)];
        if profile.critical_policies {
            params.custom_extensions.push(policies());
        }
        if profile.unknown_critical {
            let mut extension =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![0x05, 0x00]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Issued {
            chain: vec![certificate],
            key: key.serialize_der(),
            spki: key.subject_public_key_info(),
        }
    }
}

fn authority_params(
    name: &str,
    constraints: BasicConstraints,
    with_policies: bool,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2055, 1, 1);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if with_policies {
        params.custom_extensions = vec![policies()];
    }
    params
}

/// Critical certificatePolicies with 2.23.146.1.2.1.3, the role of an SM-DP+ TLS certificate.
fn policies() -> CustomExtension {
    let content = vec![
        0x30, 0x0B, 0x30, 0x09, 0x06, 0x07, 0x67, 0x81, 0x12, 0x01, 0x02, 0x01, 0x03,
    ];
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 32], content);
    extension.set_criticality(true);
    extension
}

/// SubjectAltName with a DNS name and the registered identifier 2.999.10.
fn alternative_names(host: &str) -> CustomExtension {
    let host_length = u8::try_from(host.len()).unwrap();
    let mut content = vec![0x30, host_length + 2 + 5, 0x82, host_length];
    content.extend_from_slice(host.as_bytes());
    content.extend_from_slice(&[0x88, 0x03, 0x88, 0x37, 0x0A]);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], content)
}

/// A server that runs in the background, with the root that its certificate leads to.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tls: TlsHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

impl Running {
    /// A server with a good certificate of its own root.
    pub(crate) async fn start(limits: Limits, router: Router) -> Self {
        let authority = Authority::root("Test CI");
        let tls = TlsConfig::new(authority.issue(&Profile::default()).identity());
        Self::start_with(limits, tls, authority.certificate, router).await
    }

    pub(crate) async fn start_with(
        limits: Limits,
        tls: TlsConfig,
        root: CertificateDer<'static>,
        router: Router,
    ) -> Self {
        let server = Self::bind(tls, limits).await;
        let (address, counters, tls) = (server.local_addr(), server.counters(), server.tls());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(router, async { drop(stopped.await) }));
        Self {
            address,
            root,
            counters,
            tls,
            stop,
            task,
        }
    }

    pub(crate) async fn start_handler(limits: Limits, handler: impl Handler) -> Self {
        let authority = Authority::root("Test CI");
        let tls = TlsConfig::new(authority.issue(&Profile::default()).identity());
        let server = Self::bind(tls, limits).await;
        let (address, counters, tls) = (server.local_addr(), server.counters(), server.tls());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve_handler(handler, async { drop(stopped.await) }));
        Self {
            address,
            root: authority.certificate,
            counters,
            tls,
            stop,
            task,
        }
    }

    async fn bind(tls: TlsConfig, limits: Limits) -> Server {
        Server::bind(
            "127.0.0.1:0".parse().unwrap(),
            TlsConfig {
                clock: Some(clock()),
                ..tls
            },
            limits,
        )
        .await
        .unwrap()
    }

    pub(crate) fn options(&self) -> ClientOptions {
        options(self.address, Trust::CaCertificate(self.root.clone()))
    }

    pub(crate) fn client(&self) -> Client {
        Client::with_options(self.options()).unwrap()
    }

    /// A bare TLS connection, HTTP/1.1.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        connect(
            self.address,
            &tls_client(self.root.clone(), rustls::DEFAULT_VERSIONS),
        )
        .await
        .unwrap()
    }

    /// Tells the server to stop; the task ends once it has drained.
    pub(crate) fn stop(self) -> JoinHandle<Drained> {
        self.stop.send(()).unwrap();
        self.task
    }
}

pub(crate) fn options(address: SocketAddr, trust: Trust) -> ClientOptions {
    ClientOptions {
        resolve: vec![(HOST.to_owned(), address)],
        clock: Some(clock()),
        ..ClientOptions::new(trust)
    }
}

pub(crate) fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

pub(crate) fn tls_client(
    root: CertificateDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

pub(crate) async fn connect(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    connector
        .connect(ServerName::try_from(HOST).unwrap(), stream)
        .await
}

/// Everything that the peer sends until it closes, at most for 20 seconds.
pub(crate) async fn read_to_close(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    // A peer that cuts the connection without a TLS closure alert gives an error after the bytes.
    drop(
        tokio::time::timeout(Duration::from_secs(20), reading)
            .await
            .expect("the peer does not close"),
    );
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One response with a Content-Length, without waiting for the connection to close.
pub(crate) async fn read_response(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            let byte = stream
                .read_u8()
                .await
                .expect("the connection ends before the response");
            bytes.push(byte);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("no response")
}

pub(crate) async fn send(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}
