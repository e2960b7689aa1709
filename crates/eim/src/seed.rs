//! A database full of plausible devices, for measurements of everything that reads many of them.
//!
//! Nothing here was approved or signed by anybody, and the authority knows nothing of it: devices and operations made up here
//! are for looking at. The same seed makes the same fleet.

use std::path::Path;

use intent::IntentId;
use intent::command::Command;
use rsp::ids::{Eid, Iccid};
use serde_json::json;
use store::{OpenError, SqlError, Store, StoreFault, StoreOptions, WriteError};
use uuid::Uuid;

use crate::actor::Actor;
use crate::tables::{self, devices, seed};
use crate::{Contact, OperationState, Profile};

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    /// Devices.
    pub devices: u32,
    /// Events, about: two for each device at least, and up to three for each operation.
    pub events: u32,
    /// The time at which the fleet is looked at; milliseconds since 1970.
    pub now_ms: i64,
    /// Where made-up numbers begin.
    pub seed: u64,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Devices.
    pub devices: u64,
    /// Operations.
    pub operations: u64,
    /// Events.
    pub events: u64,
}

/// Why nothing, or not all of it, was made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// There are devices.
    #[error(
        "the database has devices already, and they are not to be mixed with made-up ones: use another data folder"
    )]
    NotEmpty,
    /// A made-up number is none.
    #[error("a made-up identifier is not valid: {0}")]
    Id(#[from] rsp::ids::InvalidId),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A statement failed.
    #[error("the database could not be written")]
    Sql(#[from] SqlError),
    /// A transaction has no durable outcome.
    #[error("the database could not be written")]
    Fault(#[from] StoreFault),
}

/// CERT.EUICC and CERT.EUM of a device, X.509 DER.
pub type Certificates = (Vec<u8>, Vec<u8>);

/// Devices in one transaction.
const BATCH: usize = 1_000;
/// Rows of the log in one transaction.
const LOG_BATCH: usize = 50_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Fleets and providers, with their shares in percent.
const FLEETS: [(&str, u64); 7] = [
    ("meters-north", 34),
    ("meters-south", 26),
    ("trackers", 18),
    ("vending", 12),
    ("charging", 6),
    ("cold-chain", 3),
    ("pilot", 1),
];
const PROVIDERS: [(&str, u64); 13] = [
    ("Aurora Mobile", 31),
    ("Bergnetz", 19),
    ("Cormorant Telecom", 14),
    ("Deltafon", 10),
    ("Estrela Movel", 7),
    ("Fjord IoT", 5),
    ("Gallus", 4),
    ("Halcyon M2M", 3),
    ("Isar Mobil", 2),
    ("Jura Cellular", 2),
    ("Kestrel", 1),
    ("Lagune", 1),
    ("Mistral Net", 1),
];
const PEOPLE: [&str; 4] = ["olga", "amir", "lena", "fleet-automation"];
const SITES: [&str; 6] = ["Aachen", "Bremen", "Celle", "Dresden", "Essen", "Fulda"];

/// Fills an empty database at `path`, which is made if it is not there. `certificates` gives those of a device, if there are
/// any; `progress` is told how many devices are done.
///
/// # Errors
/// When the database has devices, cannot be opened or written.
pub fn fill(
    path: &Path,
    options: &Seed,
    certificates: &mut dyn FnMut(Eid) -> Option<Certificates>,
    progress: &mut dyn FnMut(u32),
) -> Result<Seeded, SeedError> {
    let store = Store::open(path, tables::MIGRATIONS, StoreOptions::default())?;
    if store.read(devices::count)? > 0 {
        return Err(SeedError::NotEmpty);
    }
    let (mut made, mut log) = (Seeded::default(), Vec::new());
    let mut dice = Dice(options.seed);
    let mut budget = Budget::of(options);
    let mut number = 0;
    while number < options.devices {
        let upto = number.saturating_add(BATCH as u32).min(options.devices);
        let mut batch = Vec::new();
        for number in number..upto {
            let device = made_up(number, options, &mut dice, &mut budget, certificates)?;
            made.devices += 1;
            made.operations += device.operations.len() as u64;
            made.events += device.events.len() as u64;
            let events = device.events.iter();
            log.extend(events.map(|event| (event.at, event.id, device.eid)));
            batch.push(device);
        }
        store
            .write(move |tx| -> Result<(), SeedError> {
                for device in &batch {
                    device.write(tx)?;
                }
                Ok(())
            })
            .map_err(WriteError::into_verb)?;
        number = upto;
        progress(number);
    }
    log.sort_unstable();
    for batch in log.chunks(LOG_BATCH) {
        let batch = batch.to_vec();
        store
            .write(move |tx| -> Result<(), SeedError> {
                for (_, id, eid) in &batch {
                    seed::log(tx, *eid, *id)?;
                }
                Ok(())
            })
            .map_err(WriteError::into_verb)?;
    }
    store.shut_down();
    Ok(made)
}

/// How many operations devices still get.
struct Budget {
    operations: u64,
    devices: u64,
}

impl Budget {
    fn of(options: &Seed) -> Self {
        let devices = u64::from(options.devices);
        Self {
            // Nearly all operations have three events; those that are not over have fewer.
            operations: u64::from(options.events).saturating_sub(2 * devices) * 10 / 29,
            devices,
        }
    }

    /// For the next device: some more, some fewer, and in the end all of them.
    fn take(&mut self, dice: &mut Dice) -> u64 {
        let even = self.operations.div_ceil(self.devices.max(1));
        let share = match self.devices {
            0 | 1 => self.operations,
            _ => dice.below(2 * even + 1).min(self.operations),
        };
        self.operations -= share;
        self.devices = self.devices.saturating_sub(1);
        share
    }
}

/// Numbers that look random (SplitMix64) and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// A time span below `end` milliseconds.
    fn span(&mut self, end: i64) -> i64 {
        let below = self.below(u64::try_from(end).unwrap_or(1));
        i64::try_from(below).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len() as u64);
        from.get(usize::try_from(index).unwrap_or(0)).copied()
    }

    /// One of several with their shares in percent.
    fn share<T: Copy>(&mut self, from: &[(T, u64)]) -> Option<T> {
        let mut left = self.below(100);
        for (value, share) in from {
            if left < *share {
                return Some(*value);
            }
            left -= share;
        }
        from.last().map(|(value, _)| *value)
    }

    fn uuid(&mut self, at: i64) -> Uuid {
        let mut random = [0; 10];
        let octets = self.roll().to_be_bytes().into_iter();
        for (random, octet) in random
            .iter_mut()
            .zip(octets.chain(self.roll().to_be_bytes()))
        {
            *random = octet;
        }
        let at = u64::try_from(at).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(at, &random).into_uuid()
    }
}

/// A device with all that belongs to it.
pub(crate) struct MadeUp {
    pub(crate) eid: Eid,
    pub(crate) label: String,
    pub(crate) fleet: &'static str,
    pub(crate) state: &'static str,
    pub(crate) association: &'static str,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) registered_at: i64,
    pub(crate) contact: Option<Contact>,
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    pub(crate) profiles: Vec<Profile>,
    /// When which profile was enabled, the oldest first.
    pub(crate) switches: Vec<(i64, Iccid)>,
    pub(crate) operations: Vec<MadeUpOperation>,
    pub(crate) events: Vec<MadeUpEvent>,
}

pub(crate) struct MadeUpOperation {
    pub(crate) id: Uuid,
    pub(crate) intent: IntentId,
    pub(crate) actor: String,
    pub(crate) commands: String,
    pub(crate) state: OperationState,
    pub(crate) counter: Option<i64>,
    pub(crate) outcome: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) delivered_at: Option<i64>,
    pub(crate) finished_at: Option<i64>,
}

pub(crate) struct MadeUpEvent {
    pub(crate) id: Uuid,
    pub(crate) at: i64,
    pub(crate) actor: String,
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
}

fn made_up(
    number: u32,
    options: &Seed,
    dice: &mut Dice,
    budget: &mut Budget,
    certificates: &mut dyn FnMut(Eid) -> Option<Certificates>,
) -> Result<MadeUp, SeedError> {
    let now = options.now_ms;
    let eid = Eid::with_check_digits(&format!("89049032{number:022}"))?;
    let fleet = dice.share(&FLEETS).unwrap_or("pilot");
    let registered_at = now - DAY_MS - dice.span(700 * DAY_MS);
    let is_retired = dice.below(50) == 0;
    let silence = match dice.below(100) {
        0..60 => Some(dice.span(HOUR_MS)),
        60..85 => Some(dice.span(DAY_MS)),
        85..93 => Some(dice.span(7 * DAY_MS)),
        93..97 => Some(dice.span(200 * DAY_MS)),
        _ => None,
    };
    let contact = silence.map(|silence| Contact {
        last_poll_at: (now - silence).max(registered_at),
        polls: dice.span(100_000) + 1,
        peer: format!(
            "10.{}.{}.{}",
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        ),
    });
    let has_answered = contact.is_some();
    let mut device = MadeUp {
        eid,
        label: format!("{fleet} {number:06}"),
        fleet,
        state: match (is_retired, has_answered) {
            (true, _) => "retired",
            (false, true) => "associated",
            (false, false) => "registered",
        },
        association: match (has_answered, dice.below(1_000)) {
            (true, 0) => "refused",
            (true, _) => "accepted",
            (false, _) => "unknown",
        },
        certificates: certificates(eid).filter(|_| has_answered),
        registered_at,
        contact,
        tags: Vec::new(),
        profiles: Vec::new(),
        switches: Vec::new(),
        operations: Vec::new(),
        events: Vec::new(),
    };
    if dice.below(3) == 0 {
        device
            .tags
            .extend(dice.pick(&SITES).map(|site| ("site", site)));
    }
    if dice.below(200) == 0 {
        device.tags.push(("watch", ""));
    }
    if has_answered {
        for slot in 0..=dice.below(3) {
            let provider = dice.share(&PROVIDERS).unwrap_or_default();
            let iccid: Iccid = format!("898800{number:010}{slot:03}").parse()?;
            device
                .profiles
                .push(profile(iccid, provider, slot == 0, registered_at));
        }
        let first = device.profiles.first().map(|profile| profile.iccid);
        device
            .switches
            .extend(first.map(|iccid| (registered_at, iccid)));
    }
    device.tell(
        dice,
        registered_at,
        Actor::Principal("olga".to_owned()),
        "device-registered",
        json!({ "fleet": fleet }),
    );
    let learnt = device
        .contact
        .as_ref()
        .map_or(now, |_| registered_at + HOUR_MS);
    device.tell(
        dice,
        learnt.min(now),
        Actor::system("association"),
        "association-accepted",
        json!({ "association_token": false, "refusal": null }),
    );
    for index in 0..budget.take(dice) {
        device.operate(index, number, options, dice);
    }
    device.operations.sort_by_key(|operation| operation.id);
    device.switches.sort_unstable();
    Ok(device)
}

fn profile(iccid: Iccid, provider: &str, enabled: bool, at: i64) -> Profile {
    Profile {
        iccid,
        enabled,
        class: "operational".to_owned(),
        name: format!("{provider} IoT"),
        provider: provider.to_owned(),
        nickname: None,
        isdp_aid: None,
        fallback_attribute: false,
        fallback_allowed: false,
        ecall: false,
        policy_rules: String::new(),
        updated_at: at,
    }
}

impl MadeUp {
    fn tell(
        &mut self,
        dice: &mut Dice,
        at: i64,
        actor: Actor,
        kind: &'static str,
        detail: serde_json::Value,
    ) {
        self.events.push(MadeUpEvent {
            id: dice.uuid(at),
            at,
            actor: actor.to_string(),
            kind,
            detail: detail.to_string(),
        });
    }

    /// One operation with its three events, most of them done long ago.
    fn operate(&mut self, index: u64, number: u32, options: &Seed, dice: &mut Dice) {
        let now = options.now_ms;
        // More happened lately than long ago.
        let age = match dice.below(100) {
            0..4 => dice.span(DAY_MS),
            4..40 => dice.span(30 * DAY_MS),
            _ => dice.span(700 * DAY_MS),
        };
        let created_at = (now - age).max(self.registered_at);
        let delivered_at = (created_at + dice.span(HOUR_MS)).min(now);
        let finished_at = (delivered_at + 200 + dice.span(20_000)).min(now);
        let has_open = self
            .operations
            .iter()
            .any(|operation| operation.finished_at.is_none());
        let may_be_open = age < 30 * DAY_MS && self.state == "associated" && !has_open;
        let state = match dice.below(1_000) {
            0..40 if may_be_open => OperationState::Queued,
            40..55 if may_be_open => OperationState::InFlight,
            0..40 => OperationState::Failed,
            40..60 => OperationState::Expired,
            60..70 => OperationState::Cancelled,
            70..78 => OperationState::RolledBack,
            _ => OperationState::Done,
        };
        let other = dice.below(self.profiles.len().max(1) as u64);
        let other = self.profiles.get(usize::try_from(other).unwrap_or(0));
        let command = match (dice.below(4), other) {
            (0, Some(profile)) => Command::Enable {
                iccid: profile.iccid,
                rollback: true,
            },
            (1, _) => Command::GetRat,
            _ => Command::ListProfiles,
        };
        if let (Command::Enable { iccid, .. }, OperationState::Done) = (&command, state) {
            self.switches.push((finished_at, *iccid));
        }
        let person = dice.pick(&PEOPLE).unwrap_or_default();
        // The first operation of many devices is that of one campaign, the others are of few devices each.
        let group = match index {
            0 => number / 20_000,
            _ => number / 40,
        };
        let intent = IntentId::of(format!("seed {} {index} {group}", options.seed).as_bytes());
        let id = dice.uuid(created_at);
        let counter = i64::try_from(index + 1).ok();
        let (words, is_over) = (state.to_string(), state.is_over());
        let taken = state != OperationState::Queued && state != OperationState::Cancelled;
        let outcome = is_over.then(|| json!({ "summary": format!("made up: {words}") }));
        let commands = [command];
        self.tell(
            dice,
            created_at,
            Actor::Principal(person.to_owned()),
            "operation-queued",
            json!({ "operation": id, "intent": intent, "commands": commands }),
        );
        if taken {
            self.tell(
                dice,
                delivered_at,
                Actor::device(self.eid),
                "package-delivered",
                json!({ "operation": id, "counter": counter }),
            );
        }
        if is_over {
            let (actor, kind) = match state {
                OperationState::Cancelled => {
                    (Actor::Principal(person.to_owned()), "operation-cancelled")
                }
                OperationState::Expired => (Actor::system("delivery"), "operation-ended"),
                _ => (Actor::device(self.eid), "result-accepted"),
            };
            let detail = json!({ "operation": id, "state": state, "outcome": outcome });
            self.tell(dice, finished_at, actor, kind, detail);
        }
        self.operations.push(MadeUpOperation {
            id,
            intent,
            actor: Actor::Principal(person.to_owned()).to_string(),
            commands: serde_json::to_string(&commands).unwrap_or_default(),
            state,
            counter: counter.filter(|_| taken),
            outcome: outcome.map(|outcome| outcome.to_string()),
            created_at,
            delivered_at: taken.then_some(delivered_at),
            finished_at: is_over.then_some(finished_at),
        });
    }
}
