//! A console with two fleets and four people, for tests of routes: the authority is a double that answers from a few lists.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use eim::authority::{AuthorityError, Reply};
use eim::es9::{Call, ConnectorError, SmdpConnector};
use eim::{Clock, Config, Eim, Entropy};
use http::{HeaderMap, Method, Request, StatusCode};
use intent::api::{
    Associate, Feed, FeedItem, IntentState, IntentStatus, PrincipalInfo, RecordResult, Reference,
    Refusal, RefusalCode, SignedPackage,
};
use intent::{Action, Fleet, FleetScope, Grant, Intent, IntentId, PolicyDocument, Role};
use rsp::binding::es9plus;
use rsp::ids::Eid;
use rsp::sgp32::EimConfigurationData;
use serde_json::{Value, json};
use tower_service::Service;

use crate::authority::Answer;
use crate::reader::{Reader, Via};
use crate::webhooks::{Courier, Delivery};
use crate::{Console, Parts, Problem, Settings};

pub(crate) const NOW: i64 = 1_790_000_000_000;
pub(crate) const INSTALLATION: &str = "eim.example.com/ledger";

/// A console, and what stands around it.
pub(crate) struct World {
    pub(crate) console: Arc<Console>,
    pub(crate) authority: Arc<Double>,
}

/// An answer, read.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl World {
    /// Five devices of the fleet `meters` (numbers 0 to 4) and three of `cars` (10 to 12).
    pub(crate) async fn new() -> Self {
        let authority = Arc::new(Double::default());
        authority
            .feed
            .lock()
            .unwrap()
            .extend([registered("meters", 0..5), registered("cars", 10..13)]);
        let clock = Arc::new(Stopped(AtomicI64::new(NOW)));
        let entropy = Arc::new(Counting(AtomicU64::new(0)));
        let parts = eim::Parts {
            authority: Arc::clone(&authority) as Arc<_>,
            trust: Default::default(),
            smdp: Arc::new(NoSmdp),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::clone(&entropy) as Arc<dyn Entropy>,
        };
        let config = Config::new("eim.example.com".parse().unwrap());
        let eim = Eim::open_temporary(config, parts).unwrap();
        eim.follow().await.unwrap();
        let parts = Parts {
            eim,
            authority: Arc::clone(&authority) as Arc<_>,
            clock,
            entropy,
            courier: Arc::new(NoCourier),
        };
        let settings = Settings::new("https://eim.example.com".to_owned());
        let console = Console::open_temporary(settings, parts).unwrap();
        Self { console, authority }
    }

    /// Asks as somebody.
    pub(crate) async fn ask(&self, router: Router, request: Request<Body>) -> Answered {
        let mut router = router;
        let response = router.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let octets = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let _ = self;
        Answered {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_slice(&octets).unwrap_or(Value::Null),
        }
    }
}

/// A device of these tests.
pub(crate) fn eid(number: u32) -> Eid {
    Eid::with_check_digits(&format!("8904903200000000000000{number:08}")).unwrap()
}

/// Somebody who is signed in.
pub(crate) fn session(name: &str, grants: Vec<Grant>) -> Reader {
    Reader {
        via: Via::Session {
            principal: name.parse().unwrap(),
            credential: "a-passkey".parse().unwrap(),
            session: 1,
        },
        grants,
        network: Some("192.0.2.7".parse().unwrap()),
    }
}

/// A role in one fleet, or in all of them.
pub(crate) fn grant(role: Role, fleet: Option<&str>) -> Grant {
    let fleets = match fleet {
        Some(name) => FleetScope::Only([name.parse::<Fleet>().unwrap()].into()),
        None => FleetScope::All,
    };
    Grant { role, fleets }
}

/// An authority that accepts everything once.
#[derive(Default)]
pub(crate) struct Double {
    pub(crate) feed: Mutex<Vec<FeedItem>>,
    pub(crate) intents: Mutex<Vec<IntentStatus>>,
    /// What was proposed, as it came.
    pub(crate) proposals: Mutex<Vec<Value>>,
}

impl Double {
    /// An intent that somebody proposed.
    pub(crate) fn keep(&self, proposer: &str, action: Action) -> IntentId {
        let intent = Intent {
            v: 1,
            installation: INSTALLATION.to_owned(),
            nonce: [u8::try_from(self.intents.lock().unwrap().len()).unwrap(); 16],
            created_at: NOW,
            expires_at: NOW + 60_000,
            action,
            note: None,
        };
        self.accept(proposer, intent).id
    }

    fn accept(&self, proposer: &str, intent: Intent) -> IntentStatus {
        let mut intents = self.intents.lock().unwrap();
        let status = IntentStatus {
            id: IntentId::of(&intent.encode().unwrap()),
            entry: intents.len() as u64 + 1,
            at: NOW,
            proposer: proposer.parse().unwrap(),
            state: IntentState::Waiting,
            approvers: 1,
            approved_by: Vec::new(),
            devices: intent.action.devices().map_or(0, |set| set.count()),
            done: 0,
            intent,
        };
        intents.push(status.clone());
        status
    }

    fn answer(&self, method: &Method, target: &str, body: &[u8]) -> Result<Value, Refusal> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let unknown = || Refusal::new(RefusalCode::Unknown, format!("no {path}"));
        let value = |value: serde_json::Result<Value>| value.map_err(|_| unknown());
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["policy"]) => value(serde_json::to_value(PolicyDocument::initial())),
            ("GET", ["freezes"]) => Ok(json!([{ "fleet": "cars" }])),
            ("GET", ["signing-keys"]) => Ok(json!([])),
            ("GET", ["status"]) => Ok(json!({ "entries": 7 })),
            ("GET", ["enrolments", "parameters"]) => Ok(
                json!({ "installation": INSTALLATION, "rp_id": "eim.example.com", "origins": ["https://eim.example.com"] }),
            ),
            ("GET", ["principals"]) => value(serde_json::to_value([person("ada"), person("bob")])),
            ("GET", ["principals", name @ ("ada" | "bob")]) => {
                value(serde_json::to_value(person(name)))
            }
            ("GET", ["entries", number, "proof"]) => Ok(json!({ "number": number })),
            ("GET", ["devices", eid, "history"]) => Ok(json!({ "eid": eid })),
            ("GET", ["intents"]) => {
                let limit = field(query, "limit").unwrap_or(100);
                let before = field(query, "before").unwrap_or(u64::MAX);
                let intents = self.intents.lock().unwrap();
                let newest = intents.iter().rev().filter(|one| one.entry < before);
                let page: Vec<&IntentStatus> =
                    newest.take(usize::try_from(limit).unwrap()).collect();
                value(serde_json::to_value(page))
            }
            ("GET", ["intents", id]) => {
                let intents = self.intents.lock().unwrap();
                let found = intents.iter().find(|one| one.id.to_string() == *id);
                value(serde_json::to_value(found.ok_or_else(unknown)?))
            }
            ("POST", ["intents"]) => {
                let proposal: Value = serde_json::from_slice(body).map_err(|_| unknown())?;
                let text = proposal["intent"].as_str().unwrap_or_default().to_owned();
                self.proposals.lock().unwrap().push(proposal);
                let (intent, id) = Intent::decode(text.as_bytes())
                    .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
                let is_known = self.intents.lock().unwrap().iter().any(|one| one.id == id);
                match is_known {
                    true => Err(Refusal::new(RefusalCode::Replayed, "used before")),
                    false => value(serde_json::to_value(self.accept("ada", intent))),
                }
            }
            _ => Err(unknown()),
        }
    }
}

fn field(query: &str, name: &str) -> Option<u64> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, _)| *key == name);
    found.next()?.1.parse().ok()
}

fn person(name: &str) -> PrincipalInfo {
    PrincipalInfo {
        name: name.parse().unwrap(),
        kind: "person".to_owned(),
        grants: vec![grant(Role::Operator, Some("meters"))],
        expires_at: NOW + 1_000_000,
        revoked: false,
        networks: Vec::new(),
        credentials: Vec::new(),
    }
}

fn registered(fleet: &str, numbers: std::ops::Range<u32>) -> FeedItem {
    FeedItem::Registered {
        fleet: fleet.parse().unwrap(),
        eids: numbers.map(|number| eid(number).to_string()).collect(),
        by: "ada".parse().unwrap(),
        intent: None,
    }
}

impl crate::authority::Authority for Double {
    fn call(&self, method: Method, target: String, body: Bytes) -> Reply<'_, Answer> {
        let answer = match self.answer(&method, &target, &body) {
            Ok(value) => (StatusCode::OK, serde_json::to_vec(&value)),
            Err(refusal) => {
                let problem = Problem::refused(&refusal);
                let status = StatusCode::from_u16(problem.status).unwrap();
                (status, serde_json::to_vec(&problem))
            }
        };
        Box::pin(std::future::ready(Ok(Answer {
            status: answer.0,
            body: answer.1.unwrap().into(),
        })))
    }
}

impl eim::authority::Authority for Double {
    fn sign<'a>(&'a self, _: &'a [Reference]) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>> {
        away()
    }

    fn release<'a>(
        &'a self,
        _: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<intent::Command>, Refusal>>> {
        away()
    }

    fn associate<'a>(&'a self, _: &'a Associate) -> Reply<'a, Result<(), Refusal>> {
        away()
    }

    fn record_results<'a>(&'a self, _: &'a [RecordResult]) -> Reply<'a, Vec<Result<(), Refusal>>> {
        away()
    }

    fn feed(&self, after: u64) -> Reply<'_, Feed> {
        let feed = self.feed.lock().unwrap();
        let begin = usize::try_from(after).unwrap();
        let items = feed.get(begin..).unwrap_or_default().to_vec();
        let next = feed.len() as u64;
        Box::pin(std::future::ready(Ok(Feed {
            items,
            next,
            forgotten: None,
        })))
    }

    fn association_data(&self) -> Reply<'_, EimConfigurationData> {
        away()
    }
}

fn away<'a, T: Send + 'a>() -> Reply<'a, T> {
    let away = AuthorityError::Unreachable("this double does not sign".to_owned());
    Box::pin(std::future::ready(Err(away)))
}

struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        out.fill(0);
        for (octet, value) in out.iter_mut().rev().zip(number.iter().rev()) {
            *octet = *value;
        }
    }
}

struct NoSmdp;

impl SmdpConnector for NoSmdp {
    fn call<'a>(&'a self, _: &'a str, _: es9plus::Request) -> Call<'a, es9plus::Response> {
        let nobody = ConnectorError::Address("there is none".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }
}

struct NoCourier;

impl Courier for NoCourier {
    fn post(&self, _: String, _: HeaderMap, _: Bytes) -> Delivery<'_> {
        Box::pin(std::future::pending())
    }
}
