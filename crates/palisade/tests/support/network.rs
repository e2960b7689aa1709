//! The way to a server that comes and goes, and a witness of every package that passes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge::client::{BlockingClient, ClientError, ClientLimits, ClientOptions};
use edge::tls::Trust;
use edge::tls::rustls_pki_types::CertificateDer;
use euicc::MemoryNvm;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipa::{EimTrust, HttpRequest, HttpResponse, Network, NetworkError, Server};
use rsp::binding::esipa::{self, Function};
use rsp::binding::http::Route;
use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::GetEimPackageResponse;
use std::time::Duration;

use super::device::Life;
use super::seeded::Seeded;

/// What the devices' networks share.
#[derive(Default)]
pub(crate) struct World {
    server: Mutex<Option<SocketAddr>>,
    /// Requests that were made.
    exchanges: AtomicU64,
    /// Nothing goes wrong any more.
    is_calm: AtomicBool,
    /// The octets of every package that came from the eIM, by device and counter.
    packages: Mutex<BTreeMap<(String, i64), Vec<u8>>>,
    faults: Mutex<Vec<String>>,
}

impl World {
    /// Where the server listens now.
    pub(crate) fn set_server(&self, address: Option<SocketAddr>) {
        *lock(&self.server) = address;
    }

    pub(crate) fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::Relaxed)
    }

    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// Packages that a device was given, by counter.
    pub(crate) fn packages(&self, eid: Eid) -> BTreeMap<i64, Vec<u8>> {
        let eid = eid.to_string();
        let packages = lock(&self.packages);
        let of_device = packages.iter().filter(|((device, _), _)| *device == eid);
        of_device
            .map(|((_, counter), octets)| (*counter, octets.clone()))
            .collect()
    }

    /// What no eIM may do.
    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    /// Once a counter was used, it stands for these octets and no others, and none below it is used for the first time.
    /// Whether the package is new.
    fn saw(&self, eid: Eid, counter: i64, octets: Vec<u8>) -> bool {
        let eid = eid.to_string();
        let mut packages = lock(&self.packages);
        let mut counters = packages.range((eid.clone(), i64::MIN)..=(eid.clone(), i64::MAX));
        let last = counters.next_back().map(|((_, counter), _)| *counter);
        let fault = match packages.get(&(eid.clone(), counter)) {
            Some(before) if *before == octets => return false,
            Some(_) => format!("{eid} got two different packages with counter {counter}"),
            None if last.is_some_and(|last| last > counter) => {
                format!("{eid} got counter {counter} after {last:?}")
            }
            None => {
                packages.insert((eid, counter), octets);
                return true;
            }
        };
        lock(&self.faults).push(fault);
        false
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of so many packages, one is met by a power cut.
const CUT_EVERY: i64 = 8;
/// Octets that a card writes at most until then: about what executing a package takes.
const CUT_WITHIN: u64 = 12_000;

/// The network of one device. It loses requests and answers, changes connections, sends twice, and brings old answers.
pub(crate) struct Line {
    eid: Eid,
    world: Arc<World>,
    client: Option<(SocketAddr, BlockingClient)>,
    life: Life,
    random: Seeded,
    /// Of the card: its power fails while it executes some of the packages.
    memory: MemoryNvm,
    /// Packages received, as bodies of answers.
    old: Vec<HttpResponse>,
}

impl Line {
    pub(crate) fn new(
        eid: Eid,
        world: Arc<World>,
        life: Life,
        memory: MemoryNvm,
        random: Seeded,
    ) -> Self {
        Self {
            eid,
            memory,
            world,
            client: None,
            life,
            random,
            old: Vec::new(),
        }
    }

    /// One request over the connection that is open, or a new one.
    fn exchange(&mut self, request: &HttpRequest) -> Result<HttpResponse, NetworkError> {
        let Some(address) = *lock(&self.world.server) else {
            return Err(unreachable("the server is down"));
        };
        if self
            .client
            .as_ref()
            .is_none_or(|(known, _)| *known != address)
        {
            self.client = Some((address, client(&request.server, address)));
        }
        let (_, client) = self.client.as_ref().unwrap();
        self.world.exchanges.fetch_add(1, Ordering::Relaxed);
        let url = format!("https://{}{}", request.server.host(), request.path);
        let response = client
            .post(&url, headers(request), request.body.clone())
            .map_err(|error| match error {
                ClientError::Connect(_) | ClientError::Tls(_) | ClientError::Closed => {
                    unreachable(&error.to_string())
                }
                error => lost(&error.to_string()),
            })?;
        let response = HttpResponse {
            status: response.status.as_u16(),
            headers: Vec::new(),
            body: response.body.to_vec(),
        };
        self.look_at(request, &response);
        Ok(response)
    }

    fn look_at(&mut self, request: &HttpRequest, response: &HttpResponse) {
        if response.status >= 500 {
            let fault = format!(
                "{} was answered with HTTP {}",
                request.path, response.status
            );
            lock(&self.world.faults).push(fault);
        }
        if function(request) != Some(Function::GetEimPackage) {
            return;
        }
        let body = &response.body;
        let decoded = match Route::from_path(&request.path) {
            Some(Route::Json { .. }) => esipa::Response::from_json(Function::GetEimPackage, body),
            _ => esipa::Response::from_asn1(Function::GetEimPackage, body),
        };
        if let Ok(esipa::Response::GetEimPackage(GetEimPackageResponse::EuiccPackageRequest(
            package,
        ))) = decoded
        {
            let counter = package.euicc_package_signed.counter_value;
            let is_new = self.world.saw(self.eid, counter, package.to_der());
            if is_new && !self.world.is_calm() && counter % CUT_EVERY == 0 {
                self.memory.cut_power_after(self.random.below(CUT_WITHIN));
            }
            self.old.push(response.clone());
        }
    }
}

impl Network for Line {
    fn post(&mut self, request: HttpRequest) -> Result<HttpResponse, NetworkError> {
        if !self.life.lives_on() {
            return Err(unreachable("the IPA is dead"));
        }
        if self.world.is_calm() {
            return self.exchange(&request);
        }
        match self.random.below(100) {
            0..3 => return Err(unreachable("the request was lost")),
            3..6 => {
                let _answer = self.exchange(&request);
                self.client = None;
                return Err(lost("the answer was lost"));
            }
            6..9 => self.client = None,
            9..12 => {
                let _first = self.exchange(&request)?;
            }
            12..14 if function(&request) == Some(Function::GetEimPackage) => {
                let count = self.old.len() as u64;
                if count > 0 {
                    let old = self.random.below(count) as usize;
                    return Ok(self.old[old].clone());
                }
            }
            _ => {}
        }
        self.exchange(&request)
    }
}

fn function(request: &HttpRequest) -> Option<Function> {
    match Route::from_path(&request.path)? {
        Route::Asn1 => {
            let request = esipa::Request::from_asn1(&request.body).ok()?;
            Some(request.function())
        }
        Route::Json { function, .. } => function.parse().ok(),
    }
}

fn client(server: &Server, address: SocketAddr) -> BlockingClient {
    let Server::Eim { host, trust, .. } = server else {
        panic!("no other server is called here: {server:?}");
    };
    let trust = match trust {
        EimTrust::PinnedSpki(spki) => Trust::PinnedSpki(spki.clone()),
        EimTrust::PinnedCertificate(der) => {
            Trust::PinnedCertificate(CertificateDer::from(der.clone()))
        }
        EimTrust::CaCertificate(der) => Trust::CaCertificate(CertificateDer::from(der.clone())),
        EimTrust::DeviceTrustStore => panic!("the eIM tells its devices what to trust"),
    };
    BlockingClient::with_options(ClientOptions {
        resolve: vec![(host.clone(), address)],
        limits: ClientLimits {
            total_timeout: Duration::from_secs(30),
            ..ClientLimits::default()
        },
        ..ClientOptions::new(trust)
    })
    .unwrap()
}

fn headers(request: &HttpRequest) -> HeaderMap {
    let fields = request.headers.iter().map(|(name, value)| {
        (
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    fields.collect()
}

fn unreachable(message: &str) -> NetworkError {
    NetworkError::Unreachable {
        message: message.to_owned(),
    }
}

fn lost(message: &str) -> NetworkError {
    NetworkError::Lost {
        message: message.to_owned(),
    }
}
