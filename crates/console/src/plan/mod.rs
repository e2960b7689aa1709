//! What a change would do, told before anybody signs it.
//!
//! A [`Wish`] becomes a [`Plan`]: the intent, complete and canonical, with the id that is signed and approved unchanged, and what
//! it would do to each device as far as that can be told. The plan decides nothing. It is made from what eUICCs have signed and
//! from the policy as it is now; the authority and the eUICC look again when it is carried out.
//!
//! Nothing here knows HTTP: the API and the pages make the same plans.

mod card;
mod effect;
mod outlook;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use eim::search::DeviceQuery;
use eim::{DeviceError, Eim, ReadingError, Visible};
use intent::action::FreezeScope;
use intent::device_set::{CHANGED_MAX, DeviceSetError};
use intent::{
    Action, Circumstances, Command, DeviceSet, Draft, Fleet, IntentError, Opening, PolicyDocument,
};
use rsp::ids::Eid;
use serde::Serialize;
use utoipa::ToSchema;

use crate::reader::Reader;
use crate::site::Console;
use crate::{Problem, site};

pub use card::ProfileView;
pub use effect::{Effect, Verdict};
pub use words::{described, described_command};

/// Effects that a plan tells one by one; of the others it tells the numbers.
pub const EFFECTS_MAX: usize = 100;
/// Devices that one plan looks at.
pub const DEVICES_MAX: usize = 100_000;
/// How long an intent is valid unless said otherwise: 7 days.
pub const LIFETIME_MS: i64 = 7 * 86_400_000;

/// What somebody wants changed.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What.
    pub change: Change,
    /// Why, for the people who approve and for the record.
    pub note: Option<String>,
    /// For how many milliseconds it may be approved and carried out; [`LIFETIME_MS`] unless said otherwise.
    pub lifetime_ms: Option<i64>,
}

/// The kinds of changes, as far as plans differ.
#[derive(Debug, Clone)]
pub enum Change {
    /// Commands on devices, one package for each. Secrets may be in the clear: the intent only commits to them.
    Operate {
        /// Where.
        devices: Devices,
        /// What.
        commands: Vec<Command>,
    },
    /// Takes devices under management.
    Register {
        /// The fleet they will belong to.
        fleet: Fleet,
        /// Which.
        eids: Vec<Eid>,
        /// Leave out those that are registered already, instead of having the whole intent refused.
        only_effective: bool,
    },
    /// Ends the management of devices.
    Retire {
        /// Which.
        devices: Devices,
    },
    /// Lets devices be associated anew.
    Reassociate {
        /// Which.
        devices: Devices,
    },
    /// What is not about devices: people, keys, policy, freezes, withdrawing an intent.
    Other(Box<Action>),
}

/// Devices that a change is about.
#[derive(Debug, Clone)]
pub struct Devices {
    /// Which.
    pub which: Which,
    /// Leave out those on which it would do nothing or be refused.
    pub only_effective: bool,
}

/// How devices are named. What the reader does not see is not there.
#[derive(Debug, Clone)]
pub enum Which {
    /// These. Order and repetitions do not matter.
    Eids(Vec<Eid>),
    /// All that are found, at most [`DEVICES_MAX`]. Cursor, order and limit of the query do not matter.
    Found(Box<DeviceQuery>),
}

/// What would happen, and the intent that would make it happen.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Plan {
    /// SHA-256 of the intent's octets, base64url: what the proposer signs and what approvers approve. It does not change any more.
    #[schema(value_type = String, example = "kJ3l2w0y7o0XbXq0w1m0k3m8q9n0p1r2s3t4u5v6w7x")]
    pub id: intent::IntentId,
    /// The intent: canonical JSON in a string, exactly as it is hashed and signed. Send it to `POST /intents` unchanged.
    pub intent: String,
    /// The list of devices to send along, if the intent only commits to one (more than 100 devices).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// What opens the activation and confirmation codes that the intent commits to. Send it along; it is shown to nobody else.
    #[schema(value_type = Vec<Object>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<Opening>,
    /// In one line, for people.
    #[schema(example = "enable 89000123456789012341 (rollback armed) on 3 devices")]
    pub summary: String,
    /// Until when it may be approved and carried out. Milliseconds since 1970.
    pub expires_at: i64,
    /// Devices that the intent is about.
    pub count: u64,
    /// Their fleets.
    pub fleets: Vec<String>,
    /// People who have to approve, none of them the proposer, by the policy as it is now.
    pub approvers: u8,
    /// Why the authority would not accept it from whoever asks, as far as that can be told. Empty: it can be proposed.
    pub blocked_by: Vec<Reason>,
    /// How many devices there are of each verdict.
    pub tally: Tally,
    /// What it changes that is no device, one line each.
    pub changes: Vec<String>,
    /// The first devices, those with something to read first.
    pub effects: Vec<Effect>,
    /// Devices that are counted above and not told one by one.
    pub effects_left_out: u64,
    /// Devices that were asked for and are not in the intent, because nothing would come of it there.
    pub left_out: Vec<Counted>,
    /// Why nothing would come of it on some devices.
    pub refusals: Vec<Counted>,
    /// Why some devices would have to wait for it.
    pub holds: Vec<Counted>,
    /// What could go wrong, in plain words.
    pub warnings: Vec<Counted>,
}

/// Devices by what would happen to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tally {
    /// Something changes.
    pub changes: u64,
    /// It is so already.
    pub unchanged: u64,
    /// Something is only read.
    pub reads: u64,
    /// It would be refused.
    pub refused: u64,
    /// It cannot be told: the eUICC has not said what it holds.
    pub unknown: u64,
}

/// Why not, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Reason {
    /// Which kind. Stable.
    #[schema(value_type = String, example = "profile-enabled")]
    pub code: &'static str,
    /// In words, with what to do.
    pub text: String,
}

/// A reason that several devices share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counted {
    /// Which kind. Stable.
    #[schema(value_type = String, example = "no-rollback")]
    pub code: &'static str,
    /// In words, of the first of the devices.
    pub text: String,
    /// How many devices; 0: it is about no device.
    pub devices: u64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What is wanted makes no intent.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// The devices.
    #[error(transparent)]
    Devices(#[from] DeviceSetError),
    /// No device is found, or nothing is left of them.
    #[error("there is no device for this: {0}")]
    Nobody(&'static str),
    /// More than one plan looks at.
    #[error("one plan is about at most {limit} devices: make several of them")]
    TooMany {
        /// How many.
        limit: usize,
    },
    /// A list of devices by its root, without the list.
    #[error("a plan is made of devices by their EIDs or of a filter")]
    Unlisted,
    /// Reading the devices.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// The authority or the database, or what is asked about does not exist.
    #[error(transparent)]
    Other(#[from] Problem),
}

impl From<eim::StorageError> for PlanError {
    fn from(error: eim::StorageError) -> Self {
        Self::Reading(error.into())
    }
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Other(problem) => problem,
            PlanError::Reading(ReadingError::Storage(error)) => Self::unavailable(&error),
            PlanError::Nobody(_) => Self::refused_by(
                "nothing-to-do",
                "Nothing would change",
                &error,
                "look at the devices, and ask for something else",
            ),
            error => Self::invalid(error.to_string()),
        }
    }
}

impl Change {
    /// A change from an action with its devices in it.
    pub fn of(action: Action) -> Result<Self, PlanError> {
        let listed = |set: DeviceSet| -> Result<Vec<Eid>, PlanError> {
            match set {
                DeviceSet::Listed(_) => Ok(set.resolve(None)?),
                DeviceSet::Committed(_) => Err(PlanError::Unlisted),
            }
        };
        let exactly = |set: DeviceSet| -> Result<Devices, PlanError> {
            Ok(Devices {
                which: Which::Eids(listed(set)?),
                only_effective: false,
            })
        };
        Ok(match action {
            Action::Operate { devices, commands } => Self::Operate {
                devices: exactly(devices)?,
                commands,
            },
            Action::RegisterDevices { fleet, devices } => Self::Register {
                fleet,
                eids: listed(devices)?,
                only_effective: false,
            },
            Action::RetireDevices { devices } => Self::Retire {
                devices: exactly(devices)?,
            },
            Action::ReassociateDevices { devices } => Self::Reassociate {
                devices: exactly(devices)?,
            },
            other => Self::Other(Box::new(other)),
        })
    }
}

impl Console {
    /// Tells what a change would do, for whoever asks: of devices that they do not see it says what it says of devices that do
    /// not exist.
    pub async fn plan(&self, reader: &Reader, wish: Wish) -> Result<Plan, PlanError> {
        let outlook = self.outlook(reader).await?;
        let site = self.authority.parameters().await?;
        let created_at = self.now();
        let circumstances = Circumstances {
            installation: site.installation,
            created_at,
            expires_at: created_at.saturating_add(wish.lifetime_ms.unwrap_or(LIFETIME_MS)),
            note: wish.note,
        };
        let entropy = Arc::clone(&self.entropy);
        let mut random = move || {
            let mut octets = [0; 16];
            entropy.fill(&mut octets);
            octets
        };
        match wish.change {
            Change::Other(action) => {
                let reach = self.reach_of_other(reader, &action).await?;
                let draft = Draft::new(*action, None, circumstances, &mut random)?;
                Ok(outlook.of_other(&draft, reach))
            }
            change => {
                let eim = Arc::clone(&self.eim);
                let place = Arc::clone(&self.planning.0).acquire_owned().await;
                let made = tokio::task::spawn_blocking(move || {
                    // Kept to the end, whether or not somebody still waits for the plan.
                    let _place = place;
                    let looked = effect::look(&eim, &outlook, &change)?;
                    let draft = draft(change, &looked, circumstances, &mut random)?;
                    Ok(outlook.of_devices(&draft, looked))
                });
                made.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "a plan broke off");
                    Err(PlanError::Other(site::broke_off()))
                })
            }
        }
    }

    /// What every plan of this reader looks at.
    async fn outlook(&self, reader: &Reader) -> Result<Outlook, Problem> {
        let policy: PolicyDocument = self.authority.get("/v1/policy").await?;
        let freezes: Vec<FreezeScope> = self.authority.get("/v1/freezes").await?;
        Ok(Outlook {
            policy,
            freezes,
            visible: reader.visible(),
            reader: reader.clone(),
            now: self.now(),
        })
    }
}

/// Plans for devices that are made at a time: one of a hundred thousand devices keeps a processor busy for seconds.
const AT_A_TIME: usize = 4;

/// Places for plans.
pub(crate) struct Places(Arc<tokio::sync::Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(AT_A_TIME)))
    }
}

/// What is known beforehand.
pub(crate) struct Outlook {
    pub(crate) policy: PolicyDocument,
    pub(crate) freezes: Vec<FreezeScope>,
    pub(crate) visible: Visible,
    pub(crate) reader: Reader,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Devices that were looked at.
#[derive(Default)]
pub(crate) struct Looked {
    /// Those that the intent is about.
    pub(crate) eids: Vec<Eid>,
    pub(crate) fleets: BTreeSet<Fleet>,
    pub(crate) tally: Tally,
    pub(crate) effects: Vec<Effect>,
    pub(crate) left_out: outlook::Counter,
    pub(crate) refusals: outlook::Counter,
    pub(crate) holds: outlook::Counter,
    pub(crate) warnings: outlook::Counter,
    /// Devices for which the authority would refuse the whole intent.
    pub(crate) fatal: Option<Reason>,
}

fn draft(
    change: Change,
    looked: &Looked,
    circumstances: Circumstances,
    random: &mut dyn FnMut() -> [u8; 16],
) -> Result<Draft, PlanError> {
    if looked.eids.is_empty() {
        return Err(PlanError::Nobody(match looked.left_out.is_empty() {
            true => "none was found",
            false => "nothing would come of it on any of them",
        }));
    }
    let (devices, along) = DeviceSet::of(looked.eids.clone())?;
    let is_changed = !matches!(change, Change::Operate { .. });
    if is_changed && looked.eids.len() > CHANGED_MAX {
        return Err(PlanError::TooMany { limit: CHANGED_MAX });
    }
    let action = match change {
        Change::Operate { commands, .. } => Action::Operate { devices, commands },
        Change::Register { fleet, .. } => Action::RegisterDevices { fleet, devices },
        Change::Retire { .. } => Action::RetireDevices { devices },
        Change::Reassociate { .. } => Action::ReassociateDevices { devices },
        Change::Other(action) => *action,
    };
    Ok(Draft::new(action, along, circumstances, random)?)
}

/// Whether somebody sees an intent: auditors and this machine see all, everybody sees their own, and those about devices that
/// they see, each of them.
pub(crate) fn sees_intent(
    eim: &Eim,
    reader: &Reader,
    status: &intent::api::IntentStatus,
) -> Result<bool, eim::StorageError> {
    let visible = reader.visible();
    let is_own = reader.principal() == Some(&status.proposer);
    if visible == Visible::All && reader.may_see_devices() || reader.may_audit() || is_own {
        return Ok(true);
    }
    let Some(devices) = status.intent.action.devices() else {
        return Ok(false);
    };
    if let Action::RegisterDevices { fleet, .. } = &status.intent.action {
        return Ok(visible.covers(fleet.as_str()));
    }
    let eids = match devices.resolve(None) {
        Ok(eids) => eids,
        // The list is with the authority. What came of it is here.
        Err(_) => {
            let operations = eim.operations_of(status.id, None, 100)?;
            operations.iter().map(|operation| operation.eid).collect()
        }
    };
    if eids.is_empty() {
        return Ok(false);
    }
    for eid in eids {
        match eim.visible_device(&visible, eid) {
            Ok(_) => {}
            Err(DeviceError::Storage(error)) => return Err(error),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// All devices of a query, by EID.
pub(crate) fn found(
    eim: &Eim,
    visible: &Visible,
    query: &DeviceQuery,
) -> Result<Vec<Eid>, PlanError> {
    let mut query = DeviceQuery {
        order: eim::search::DeviceOrder::Eid,
        descending: false,
        after: None,
        limit: eim::fleet::PAGE_MAX,
        ..query.clone()
    };
    let mut eids = Vec::new();
    loop {
        let page = eim.search_devices(visible, &query)?;
        eids.extend(page.devices.iter().map(|device| device.eid));
        if eids.len() > DEVICES_MAX {
            return Err(PlanError::TooMany { limit: DEVICES_MAX });
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(eids),
        }
    }
}
