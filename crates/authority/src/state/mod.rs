//! What replaying the ledger gives.
//!
//! [`State::apply`] is the only way in. It believes events, since every one was checked before it was written, and refuses only
//! what does not fit together: a device that is not there, a counter that goes back. That means a program error or a ledger
//! made by somebody else, and the authority does not run on it.

pub mod devices;
pub mod intents;
pub mod keys;
pub mod people;
mod sign_ins;
pub mod usage;

mod eid_list;

use std::collections::BTreeSet;

use intent::action::FreezeScope;
use intent::api::{Refusal, RefusalCode};
use intent::{Action, Decision, Digest, Fleet, PolicyDocument};
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

use crate::event::{Event, Genesis, RelyingParty, Waiver};

use devices::Devices;
use intents::{Intents, OpenIntent};
use keys::SigningKeys;
use people::{LastUse, MemberKind, People};
use sign_ins::SignIns;
use usage::Usage;

pub use eid_list::EidList;

/// The layout of a serialized [`State`]. A snapshot of another version is not restored, the ledger is replayed instead.
pub const SNAPSHOT_VERSION: u32 = 3;

/// All that decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it is the state of; none before the first entry.
    pub(crate) installation: Option<Installation>,
    /// Who may do something, and what they show.
    pub(crate) people: People,
    /// What was asked for and is not over yet.
    pub(crate) intents: Intents,
    /// Devices and what was signed for them.
    pub(crate) devices: Devices,
    /// How much was signed.
    pub(crate) usage: Usage,
    /// Keys of the eIM.
    pub(crate) keys: SigningKeys,
    /// People who came in to look around.
    pub(crate) sign_ins: SignIns,
    /// What holds now.
    pub(crate) policy: PolicyDocument,
    /// What is stopped.
    pub(crate) freezes: BTreeSet<FreezeScope>,
    /// Milliseconds since 1970 of the newest entry: the authority's time never runs back behind it.
    pub(crate) newest_at: i64,
    /// Number of the newest entry that was applied.
    pub(crate) newest: u64,
}

/// What an installation is, from its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Its name: the origin of the ledger.
    pub name: String,
    /// The name of the eIM (eimId).
    pub eim_id: String,
    /// What passkeys are bound to.
    pub relying_party: RelyingParty,
    /// The first owner's code, until it is used.
    pub owner_code: Option<OwnerCode>,
}

/// The one-time code of the first owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerCode {
    /// SHA-256 of it.
    pub sha256: Digest,
    /// Until when it can be used. Milliseconds since 1970.
    pub expires_at: i64,
}

/// An entry that contradicts those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {number} contradicts those before it: {why}")]
pub struct Misfit {
    /// Which entry.
    pub number: u64,
    /// What does not fit.
    pub why: String,
}

impl Misfit {
    /// An entry that does not fit.
    pub(crate) fn new(number: u64, why: impl Into<String>) -> Self {
        Self {
            number,
            why: why.into(),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            installation: None,
            people: People::default(),
            intents: Intents::default(),
            devices: Devices::default(),
            usage: Usage::default(),
            keys: SigningKeys::default(),
            sign_ins: SignIns::default(),
            policy: PolicyDocument::initial(),
            freezes: BTreeSet::new(),
            newest_at: 0,
            newest: 0,
        }
    }
}

impl State {
    /// Takes the next event: entry `number`, recorded at `at` (milliseconds since 1970). After an error the state is not to be
    /// used any more.
    pub fn apply(&mut self, number: u64, at: i64, event: &Event) -> Result<(), Misfit> {
        let first = matches!(event, Event::Genesis(_));
        if first != self.installation.is_none() || (!first && number <= self.newest) {
            let why = match first {
                true => "an installation begins once, with its first entry",
                false => "entries follow each other, behind the beginning of the installation",
            };
            return Err(Misfit::new(number, why));
        }
        self.newest = number;
        self.newest_at = self.newest_at.max(at);
        self.intents.forget_until(self.newest_at);
        match event {
            Event::Genesis(genesis) => self.begin(number, genesis)?,
            Event::IntentDevices { id, eids } => {
                self.intents.apply_devices(number, *id, eids)?;
            }
            Event::IntentProposed(proposed) => {
                let last_use = LastUse {
                    at,
                    from: proposed.network,
                    what: people::describe(&proposed.intent.action),
                };
                self.people
                    .apply_use(number, &proposed.credential, last_use, proposed.counter)?;
                self.people
                    .apply_proposal(number, &proposed.credential, at)?;
                let eids = self.intents.take_devices(number, proposed)?;
                let fleets = self.fleets_concerned(&proposed.intent.action, eids.as_slice());
                self.intents
                    .apply_proposed(number, at, proposed, eids, fleets)?;
            }
            Event::IntentRefused {
                credential, code, ..
            } => self.people.apply_refused(number, credential, at, code)?,
            Event::SignedIn {
                credential,
                network,
                counter,
                nonce,
                expires_at,
                ..
            } => {
                let last_use = LastUse {
                    at,
                    from: *network,
                    what: "sign in".to_owned(),
                };
                self.people
                    .apply_use(number, credential, last_use, *counter)?;
                self.sign_ins.apply_used(at, nonce, *expires_at);
            }
            Event::SignInRefused {
                credential, code, ..
            } => match credential {
                Some(credential) => self.people.apply_refused(number, credential, at, code)?,
                None => self.sign_ins.apply_stranger(at),
            },
            Event::IntentDecided(decided) => {
                let what = match decided.decision {
                    Decision::Approve => "approve",
                    Decision::Reject => "reject",
                };
                let last_use = LastUse {
                    at,
                    from: decided.network,
                    what: what.to_owned(),
                };
                self.people.apply_use(
                    number,
                    &decided.credential,
                    last_use,
                    Some(decided.counter),
                )?;
                let fleets = self
                    .intents
                    .get(&decided.id)
                    .map(|open| self.fleets_concerned(&open.intent().action, open.eids()))
                    .unwrap_or_default();
                self.intents.apply_decided(number, decided, fleets)?;
            }
            Event::IntentCancelled { id, by } => self.intents.apply_cancelled(number, *id, *by)?,
            Event::PersonInvited { intent, .. } => {
                let by = self.intents.proposer(number, *intent)?.clone();
                self.people.apply_invited(number, by, event)?;
            }
            Event::PersonEnrolled {
                invitation,
                name,
                passkey,
            } => {
                if *invitation == 0
                    && let Some(installation) = &mut self.installation
                {
                    installation.owner_code = None;
                }
                self.people
                    .apply_enrolled(number, at, *invitation, name, passkey)?;
            }
            Event::MachineAdmitted { .. }
            | Event::KeyRotated { .. }
            | Event::CredentialRevoked { .. }
            | Event::PrincipalRevoked { .. }
            | Event::GrantsSet { .. }
            | Event::TokenIssued { .. } => self.people.apply(number, event)?,
            Event::PolicySet { policy, .. } => self.policy = policy.as_ref().clone(),
            Event::FreezeSet { scope, .. } => {
                self.freezes.insert(scope.clone());
            }
            Event::FreezeLifted { intent, scope } => {
                if !self.freezes.remove(scope) {
                    return Err(Misfit::new(number, "what is not frozen cannot be thawed"));
                }
                self.intents.apply_thawed(number, *intent)?;
            }
            Event::SigningKeyAdded { .. } | Event::SigningKeyRetired { .. } => {
                self.keys.apply(number, event)?;
            }
            Event::DeviceRegistered { intent, .. }
            | Event::DeviceRetired { intent, .. }
            | Event::DeviceReassociable { intent, .. } => {
                let open = self.intents.at(*intent);
                let approvals = open.map(OpenIntent::approval_numbers);
                let behind = [*intent]
                    .into_iter()
                    .chain(approvals.unwrap_or_default())
                    .collect();
                self.devices.apply(number, at, event, &self.keys, behind)?;
            }
            Event::DeviceAssociated(_) | Event::ResultRecorded(_) => {
                self.devices
                    .apply(number, at, event, &self.keys, Vec::new())?;
            }
            Event::PackageOrdered(ordered) => {
                if let crate::event::Account::Intent(intent) = &ordered.account {
                    self.intents.apply_done(number, *intent, ordered.eid)?;
                }
                self.devices
                    .apply(number, at, event, &self.keys, Vec::new())?;
                self.usage.apply(at, event, &self.devices, &self.intents);
            }
            Event::PackageReleased { eid, intent, .. } => {
                self.intents.apply_done(number, *intent, *eid)?;
                self.devices
                    .apply(number, at, event, &self.keys, Vec::new())?;
                self.usage.apply(at, event, &self.devices, &self.intents);
            }
            Event::IncidentRaised { .. } => {}
        }
        Ok(())
    }

    /// What the state is of. An authority without is refused to everybody.
    pub(crate) fn installation(&self) -> Result<&Installation, Refusal> {
        self.installation.as_ref().ok_or_else(|| {
            Refusal::new(
                RefusalCode::Unavailable,
                "this authority has no installation yet: run `palisade init`",
            )
        })
    }

    /// Why nothing may be signed for an approved intent on a device of `fleet`, if that is so: something is frozen, the
    /// proposer was revoked, or the device belongs to another fleet than those that were approved.
    pub(crate) fn stop(&self, open: &OpenIntent, fleet: &Fleet) -> Option<Refusal> {
        if open.waived() == Some(Waiver::BreakGlass) {
            return None;
        }
        let frozen = |what: String| {
            Some(Refusal::new(
                RefusalCode::Frozen,
                format!("{what} is frozen: nothing is signed until two people thaw it"),
            ))
        };
        let (principal, credential) = (open.principal(), open.credential());
        if self.freezes.contains(&FreezeScope::Everything) {
            return frozen("everything".to_owned());
        }
        if self.freezes.contains(&FreezeScope::Fleet(fleet.clone())) {
            return frozen(format!("the fleet {fleet}"));
        }
        if let Some(refusal) = self.frozen_credential(principal, credential) {
            return Some(refusal);
        }
        if self.people.is_revoked(principal, credential) {
            return Some(Refusal::new(
                RefusalCode::CredentialInvalid,
                format!("{principal} proposed this and was revoked since: propose it anew"),
            ));
        }
        if !open.fleets().contains(fleet) {
            return Some(Refusal::new(
                RefusalCode::OutOfScope,
                format!(
                    "the device moved to the fleet {fleet} since this was approved: propose it anew"
                ),
            ));
        }
        None
    }

    /// Why the eIM may have nothing read on its own account in a fleet, if that is so.
    pub(crate) fn stop_of_reads(&self, fleet: &Fleet) -> Option<Refusal> {
        let is_frozen = self.freezes.contains(&FreezeScope::Everything)
            || self.freezes.contains(&FreezeScope::Fleet(fleet.clone()));
        is_frozen.then(|| {
            Refusal::new(
                RefusalCode::Frozen,
                format!("the fleet {fleet} is frozen: nothing is signed until two people thaw it"),
            )
        })
    }

    /// Whether a principal or its credential is frozen.
    pub(crate) fn frozen_credential(
        &self,
        principal: &intent::Principal,
        credential: &intent::CredentialId,
    ) -> Option<Refusal> {
        let is_frozen = self
            .freezes
            .contains(&FreezeScope::Principal(principal.clone()))
            || self
                .freezes
                .contains(&FreezeScope::Credential(credential.clone()));
        let is_break_glass = self
            .people
            .member(principal)
            .is_some_and(|member| member.kind == MemberKind::BreakGlass);
        (is_frozen && !is_break_glass).then(|| {
            Refusal::new(
                RefusalCode::Frozen,
                format!("{principal} is frozen: two others have to thaw it first"),
            )
        })
    }

    /// The fleets that an action is about now, if it is about devices. Devices that are not registered belong to none.
    pub(crate) fn fleets_concerned(&self, action: &Action, eids: &[Eid]) -> BTreeSet<Fleet> {
        match action {
            Action::RegisterDevices { fleet, .. } => return BTreeSet::from([fleet.clone()]),
            Action::Cancel { intent } => {
                let target = self.intents.get(intent);
                return target.map(|open| open.fleets().clone()).unwrap_or_default();
            }
            _ => {}
        }
        let mut fleets = BTreeSet::new();
        for fleet in eids.iter().filter_map(|eid| self.devices.fleet(eid)) {
            // Most devices share their fleet with the one before: no need to clone names for nothing.
            if !fleets.contains(fleet) {
                fleets.insert(fleet.clone());
            }
        }
        fleets
    }

    fn begin(&mut self, number: u64, genesis: &Genesis) -> Result<(), Misfit> {
        self.installation = Some(Installation {
            name: genesis.installation.clone(),
            eim_id: genesis.eim_id.clone(),
            relying_party: genesis.relying_party.clone(),
            owner_code: Some(OwnerCode {
                sha256: genesis.owner_code_sha256,
                expires_at: genesis.owner_code_expires_at,
            }),
        });
        self.policy = genesis.policy.clone();
        self.people.begin(number, &genesis.break_glass)?;
        self.keys.begin(number, &genesis.signing_key);
        Ok(())
    }
}
