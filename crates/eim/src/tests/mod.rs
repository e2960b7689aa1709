//! An eIM for unit tests, with an authority that obeys and a clock that stands still.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use intent::command::Command;
use intent::{Fleet, IntentId, Principal};
use pki::{Curve, PrivateKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rsp::binding::es9plus;
use rsp::ids::Eid;
use store::{StoreOptions, Tx};
use uuid::Uuid;

use crate::authority::unguarded::{EimIdentity, UnguardedAuthority};
use crate::es9::{Call, ConnectorError, SmdpConnector};
use crate::fleet::Visible;
use crate::tables::{devices, operations};
use crate::{Clock, Config, Contact, Eim, Entropy, OperationState, Outcome, Parts, StorageError};

/// 2026-06-01T00:00:00Z.
pub(crate) const START_MS: i64 = 1_780_272_000_000;

pub(crate) struct StoppedClock(AtomicI64);

impl Clock for StoppedClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// No randomness: what is made is only told apart.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (octet, value) in out.iter_mut().rev().zip(number.iter().rev()) {
            *octet = *value;
        }
    }
}

struct NoSmdp;

impl SmdpConnector for NoSmdp {
    fn call<'a>(
        &'a self,
        _address: &'a str,
        _request: es9plus::Request,
    ) -> Call<'a, es9plus::Response> {
        let nobody = ConnectorError::Address("there is none".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }
}

pub(crate) struct Home {
    pub(crate) eim: Arc<Eim>,
    pub(crate) authority: Arc<UnguardedAuthority>,
    pub(crate) clock: Arc<StoppedClock>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::opened(|config, parts| Eim::open_temporary(config, parts).unwrap())
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self::opened(|config, parts| {
            Eim::open(path, StoreOptions::default(), config, parts).unwrap()
        })
    }

    fn opened(open: impl FnOnce(Config, Parts) -> Arc<Eim>) -> Self {
        let clock = Arc::new(StoppedClock(AtomicI64::new(START_MS)));
        let key = PrivateKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let identity = EimIdentity {
            eim_id: "eim.example.com".parse().unwrap(),
            fqdn: "eim.example.com".to_owned(),
            tls_trust: None,
        };
        let authority = Arc::new(UnguardedAuthority::new(
            identity,
            Arc::new(key),
            Arc::clone(&clock) as Arc<dyn Clock>,
        ));
        let parts = Parts {
            authority: Arc::clone(&authority) as Arc<_>,
            trust: pki::TrustAnchors::default(),
            smdp: Arc::new(NoSmdp),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(Counting(AtomicU64::new(0))),
        };
        let config = Config::new("eim.example.com".parse().unwrap());
        Self {
            eim: open(config, parts),
            authority,
            clock,
        }
    }

    pub(crate) fn advance_ms(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    /// Registers devices with these numbers.
    pub(crate) async fn register(&self, fleet: &str, numbers: std::ops::Range<u32>) {
        self.authority
            .register(fleet, numbers.map(eid).collect())
            .unwrap();
        self.eim.follow().await.unwrap();
    }

    /// Asks for one package on each device.
    pub(crate) async fn propose(&self, by: &str, eids: Vec<Eid>) -> IntentId {
        let by: Principal = by.parse().unwrap();
        let intent = self
            .authority
            .propose(&by, eids, vec![Command::GetRat], None)
            .unwrap();
        self.eim.follow().await.unwrap();
        intent
    }

    /// The device has polled now.
    pub(crate) fn polled(&self, eid: Eid) {
        let contact = Contact {
            last_poll_at: self.clock.now_ms(),
            polls: 1,
            peer: "192.0.2.1".to_owned(),
        };
        self.write(move |tx| Ok(devices::add_contact(tx, eid, &contact)?));
    }

    /// Ends the oldest open operation of a device.
    pub(crate) fn end(&self, eid: Eid, state: OperationState) -> Uuid {
        let (now, outcome) = (self.clock.now_ms(), nothing());
        self.write(move |tx| {
            let operation = operations::next(tx, eid, now)?.unwrap();
            operations::finish(tx, operation.id, state, &outcome, None, now)?;
            Ok(operation.id)
        })
    }

    /// Changes rows directly.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> T {
        self.eim.store.write(verb).unwrap()
    }
}

pub(crate) fn nothing() -> Outcome {
    Outcome {
        summary: "tested".to_owned(),
        results: Vec::new(),
    }
}

pub(crate) fn eid(number: u32) -> Eid {
    Eid::with_check_digits(&format!("89049032{number:022}")).unwrap()
}

pub(crate) fn fleet(name: &str) -> Fleet {
    name.parse().unwrap()
}

pub(crate) fn only(names: &[&str]) -> Visible {
    Visible::Only(names.iter().map(|name| fleet(name)).collect())
}
