//! An authority without anything that makes one: whoever asks is obeyed, and the record is gone with the process.
//!
//! For tests and measurements of the eIM alone. It signs with the same octets as the real one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use intent::action::Action;
use intent::api::{
    Account, Associate, Feed, FeedItem, RecordResult, Reference, Refusal, RefusalCode,
    SignedPackage,
};
use intent::command::Command;
use intent::{DeviceSet, Digest, Intent, IntentError, IntentId, LIFETIME_MAX_MS, Principal};
use pki::Signer;
use rsp::der::{Element, Encoded};
use rsp::ids::{Eid, TransactionId};
use rsp::sgp22::{Signature, SubjectPublicKeyInfo};
use rsp::sgp32::{
    EimConfigurationData, EimId, EuiccPackageRequest, EuiccPackageSigned, TrustedPublicKeyDataTls,
    association_token_object,
};

use super::{Authority, Reply};
use crate::Clock;

/// What this eIM calls itself and how devices reach it.
#[derive(Debug, Clone)]
pub struct EimIdentity {
    /// The name that eUICCs know this eIM by.
    pub eim_id: EimId,
    /// Where devices poll.
    pub fqdn: String,
    /// What devices trust for the TLS connection.
    pub tls_trust: Option<TrustedPublicKeyDataTls>,
}

/// An authority in this process that checks nothing.
pub struct UnguardedAuthority {
    identity: EimIdentity,
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    feed: Vec<FeedItem>,
    intents: HashMap<IntentId, Order>,
    devices: HashMap<Eid, Euicc>,
    signed: HashMap<Reference, SignedPackage>,
    results: Vec<RecordResult>,
}

struct Order {
    commands: Vec<Command>,
    is_cancelled: bool,
}

#[derive(Default)]
struct Euicc {
    is_retired: bool,
    is_associated: bool,
    token: Option<i64>,
    counter: i64,
}

/// Items in one answer of the feed.
const FEED_MAX: usize = 500;
/// EIDs in one item.
const EIDS_MAX: usize = 1_500;

impl UnguardedAuthority {
    /// An authority that signs with `signer` whatever is asked for.
    pub fn new(identity: EimIdentity, signer: Arc<dyn Signer>, clock: Arc<dyn Clock>) -> Self {
        Self {
            identity,
            signer,
            clock,
            books: Mutex::default(),
        }
    }

    /// Takes devices under management.
    pub fn register(&self, fleet: &str, eids: Vec<Eid>) -> Result<(), intent::NameError> {
        let (fleet, by): (intent::Fleet, Principal) = (fleet.parse()?, nobody()?);
        let mut books = self.books();
        for eids in eids.chunks(EIDS_MAX) {
            for eid in eids {
                books.devices.entry(*eid).or_default().is_retired = false;
            }
            books.feed.push(FeedItem::Registered {
                fleet: fleet.clone(),
                eids: texts(eids),
                by: by.clone(),
                intent: None,
            });
        }
        Ok(())
    }

    /// Ends the management of devices.
    pub fn retire(&self, eids: &[Eid]) -> Result<(), intent::NameError> {
        let by = nobody()?;
        let mut books = self.books();
        for eid in eids {
            books.devices.entry(*eid).or_default().is_retired = true;
        }
        books.feed.push(FeedItem::Retired {
            eids: texts(eids),
            by,
        });
        Ok(())
    }

    /// Lets devices be associated anew.
    pub fn reassociate(&self, eids: &[Eid]) -> Result<(), intent::NameError> {
        let by = nobody()?;
        let mut books = self.books();
        for eid in eids {
            books.devices.insert(*eid, Euicc::default());
        }
        books.feed.push(FeedItem::Reassociable {
            eids: texts(eids),
            by,
        });
        Ok(())
    }

    /// Asks for one package on each of these devices; approved at once. A lifetime that is not given is the longest.
    pub fn propose(
        &self,
        proposer: &Principal,
        eids: Vec<Eid>,
        commands: Vec<Command>,
        lifetime_ms: Option<i64>,
    ) -> Result<IntentId, IntentError> {
        let (devices, along) = DeviceSet::of(eids).map_err(intent::action::ActionError::from)?;
        let eids = devices
            .resolve(along.as_deref())
            .map_err(intent::action::ActionError::from)?;
        let created_at = self.clock.now_ms();
        let mut books = self.books();
        let mut nonce = [0; 16];
        let number = books.intents.len() as u64;
        let (_, low) = nonce.split_at_mut(8);
        low.copy_from_slice(&number.to_be_bytes());
        let intent = Intent {
            v: 1,
            installation: "unguarded".to_owned(),
            nonce,
            created_at,
            expires_at: created_at + lifetime_ms.unwrap_or(LIFETIME_MAX_MS),
            action: Action::Operate {
                devices,
                commands: commands.clone(),
            },
            note: None,
        };
        let id = IntentId::of(&intent.encode()?);
        books.intents.insert(
            id,
            Order {
                commands,
                is_cancelled: false,
            },
        );
        for eids in eids.chunks(EIDS_MAX) {
            books.feed.push(FeedItem::Approved {
                id,
                intent: Box::new(intent.clone()),
                proposer: proposer.clone(),
                eids: texts(eids),
            });
        }
        Ok(id)
    }

    /// Withdraws an intent where nothing was signed yet.
    pub fn cancel(&self, id: IntentId, by: &Principal) {
        let mut books = self.books();
        if let Some(order) = books.intents.get_mut(&id) {
            order.is_cancelled = true;
        }
        books.feed.push(FeedItem::Cancelled { id, by: by.clone() });
    }

    /// Tells that something is not frozen any more.
    pub fn thaw(&self, by: &Principal) {
        let item = FeedItem::Thawed { by: by.clone() };
        self.books().feed.push(item);
    }

    /// The results that it was given.
    pub fn results(&self) -> Vec<RecordResult> {
        self.books().results.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign_one(&self, reference: &Reference) -> Result<SignedPackage, Refusal> {
        let mut books = self.books();
        let books = &mut *books;
        if let Some(signed) = books.signed.get(reference) {
            return Ok(signed.clone());
        }
        let commands = match &reference.account {
            Account::Intent(id) => books.order(id)?.commands.clone(),
            Account::ListProfiles(_) => vec![Command::ListProfiles],
            Account::ListEims(_) => vec![Command::ListEims],
        };
        let entry = books.signed.len() as u64 + 1;
        let euicc = books.euicc(reference.eid)?;
        if !euicc.is_associated {
            return Err(not_associated());
        }
        let refuse = |why: String| Refusal::new(RefusalCode::Malformed, why);
        let package = Command::to_package(&commands).map_err(|error| refuse(error.to_string()))?;
        // Rising, so that those in use together stand together in an index.
        let transaction_id = [entry.to_be_bytes(), random_of(reference)].concat();
        let counter = euicc.counter + 1;
        let signed = Encoded::new(EuiccPackageSigned {
            eim_id: self.identity.eim_id.clone(),
            eid_value: reference.eid.to_field(),
            counter_value: counter,
            eim_transaction_id: TransactionId::new(&transaction_id).ok(),
            euicc_package: package,
            extensions: Default::default(),
        });
        let token = association_token_object(euicc.token);
        let signature = self
            .signer
            .sign_parts(&[signed.bytes(), &token])
            .map_err(|error| refuse(error.to_string()))?;
        euicc.counter = counter;
        let signed = SignedPackage {
            package: EuiccPackageRequest {
                euicc_package_signed: signed,
                eim_signature: Signature(signature.as_bytes().as_slice().into()),
                extensions: Default::default(),
            }
            .to_der(),
            transaction_id,
            counter,
            association_token: euicc.token,
            entry,
        };
        books.signed.insert(reference.clone(), signed.clone());
        Ok(signed)
    }

    fn release_one(&self, reference: &Reference) -> Result<Vec<Command>, Refusal> {
        let mut books = self.books();
        let commands = match &reference.account {
            Account::Intent(id) => books.order(id)?.commands.clone(),
            Account::ListProfiles(_) | Account::ListEims(_) => Vec::new(),
        };
        match books.euicc(reference.eid)?.is_associated {
            true => Ok(commands),
            false => Err(not_associated()),
        }
    }

    fn configuration(&self) -> EimConfigurationData {
        EimConfigurationData::for_initial_association(
            self.identity.eim_id.clone(),
            &self.identity.fqdn,
            self.identity.tls_trust.clone(),
            SubjectPublicKeyInfo::from_der(self.signer.public_key().spki_der()).ok(),
        )
    }
}

impl Books {
    fn order(&self, id: &IntentId) -> Result<&Order, Refusal> {
        let order = self
            .intents
            .get(id)
            .ok_or_else(|| Refusal::new(RefusalCode::Unknown, "no such intent"))?;
        match order.is_cancelled {
            true => Err(Refusal::new(
                RefusalCode::WrongState,
                "the intent was cancelled",
            )),
            false => Ok(order),
        }
    }

    fn euicc(&mut self, eid: Eid) -> Result<&mut Euicc, Refusal> {
        self.devices
            .get_mut(&eid)
            .filter(|euicc| !euicc.is_retired)
            .ok_or_else(|| Refusal::new(RefusalCode::Unknown, "the device is not registered"))
    }
}

impl Authority for UnguardedAuthority {
    fn sign<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<SignedPackage, Refusal>>> {
        Box::pin(async { Ok(references.iter().map(|one| self.sign_one(one)).collect()) })
    }

    fn release<'a>(
        &'a self,
        references: &'a [Reference],
    ) -> Reply<'a, Vec<Result<Vec<Command>, Refusal>>> {
        Box::pin(async { Ok(references.iter().map(|one| self.release_one(one)).collect()) })
    }

    fn associate<'a>(&'a self, device: &'a Associate) -> Reply<'a, Result<(), Refusal>> {
        Box::pin(async {
            let mut books = self.books();
            Ok(books.euicc(device.eid).map(|euicc| {
                euicc.is_associated = true;
                euicc.token = device.association_token;
            }))
        })
    }

    fn record_results<'a>(
        &'a self,
        results: &'a [RecordResult],
    ) -> Reply<'a, Vec<Result<(), Refusal>>> {
        Box::pin(async {
            self.books().results.extend_from_slice(results);
            Ok(vec![Ok(()); results.len()])
        })
    }

    fn feed(&self, after: u64) -> Reply<'_, Feed> {
        Box::pin(async move {
            let books = self.books();
            let skipped = usize::try_from(after).unwrap_or(usize::MAX);
            let items: Vec<_> = books
                .feed
                .iter()
                .skip(skipped)
                .take(FEED_MAX)
                .cloned()
                .collect();
            let next = after.min(books.feed.len() as u64) + items.len() as u64;
            Ok(Feed {
                items,
                next,
                forgotten: None,
            })
        })
    }

    fn association_data(&self) -> Reply<'_, EimConfigurationData> {
        Box::pin(async { Ok(self.configuration()) })
    }
}

fn not_associated() -> Refusal {
    Refusal::new(RefusalCode::NotAssociated, "the device is not associated")
}

/// Who registers where nobody has to be somebody.
fn nobody() -> Result<Principal, intent::NameError> {
    "nobody".parse()
}

fn texts(eids: &[Eid]) -> Vec<String> {
    eids.iter().map(ToString::to_string).collect()
}

/// Eight octets that nothing else has.
fn random_of(reference: &Reference) -> [u8; 8] {
    let text = serde_json::to_vec(reference).unwrap_or_default();
    let Digest(digest) = Digest::of(&[&text]);
    let mut octets = [0; 8];
    octets.copy_from_slice(digest.first_chunk::<8>().map_or(&[0; 8][..], |chunk| chunk));
    octets
}
