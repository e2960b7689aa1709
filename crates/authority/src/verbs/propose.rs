//! Accepting what somebody asks for.

use intent::api::{IntentState, IntentStatus, Refusal, RefusalCode};
use intent::{Action, IntentId, Principal};

use crate::event::{Actor, DEVICES_PER_ENTRY, Event, Proposed, Waiver};
use crate::proof::{Proposal, Verified};
use crate::state::people::{Credential, Hourly, MemberKind};
use crate::verbs::effects::{Origin, effects, not_registered};
use crate::verbs::entitlement::{Reach, approvers, check_proposer};
use crate::verbs::{Context, Decided};

/// How far the clock of who made an intent may be ahead: 2 minutes.
const AHEAD_MS: i64 = 120_000;
/// Devices of one intent, whatever policy says: their list becomes durable in one commit.
const DEVICES_MAX: usize = 250_000;
/// Proposals that a credential may make in an hour at least, however low the quota.
const PROPOSALS_MIN: u32 = 60;
/// Characters of a refusal in the record.
const DETAIL_MAX: usize = 300;

/// A refusal, and whether it is an incident.
pub(crate) struct Rejected {
    pub(crate) refusal: Refusal,
    incident: Option<&'static str>,
}

/// Accepts a proposal, or refuses it on the record.
pub(crate) fn propose(
    cx: &Context<'_>,
    proposal: &Proposal,
) -> Decided<Result<IntentStatus, Refusal>> {
    match accept(cx, proposal) {
        Ok((events, status)) => Decided {
            events,
            answer: Ok(status),
        },
        Err(rejected) => rejected.on_record(cx, proposal.id, &proposal.by),
    }
}

fn accept(
    cx: &Context<'_>,
    proposal: &Proposal,
) -> Result<(Vec<(Actor, Event)>, IntentStatus), Rejected> {
    let (intent, by) = (&proposal.intent, &proposal.by);
    let action = &intent.action;
    let (name, member, credential) =
        cx.state
            .people
            .active(&by.credential, cx.now, proposal.network)?;
    if let Some(refusal) = cx.state.frozen_credential(name, &by.credential) {
        return Err(refusal.into());
    }
    check_time(cx, proposal)?;
    if cx.state.intents.get(&proposal.id).is_some() || cx.state.intents.is_used(&intent.nonce) {
        return Err(refused(
            RefusalCode::Replayed,
            "this intent, or its nonce, was used before: look at how it stands, or make a new one",
        ));
    }
    check_counter(credential, by)?;
    check_rate(cx, member.kind, credential)?;

    let eids = proposal.eids.as_ref().map_err(Clone::clone)?;
    let reach = Reach::of(cx.state, action, eids.as_slice());
    check_proposer(cx.state, name, member, action, &reach)?;
    check_number(cx, member.kind, eids.as_slice().len())?;
    if let Action::Operate { .. } = action {
        let unknown = eids
            .as_slice()
            .iter()
            .find(|eid| cx.state.devices.fleet(eid).is_none());
        if let Some(eid) = unknown {
            return Err(not_registered(eid).into());
        }
    }

    let listed = action
        .devices()
        .is_some_and(|devices| devices.resolve(None).is_ok());
    let chunks: Vec<_> = match listed {
        true => Vec::new(),
        false => eids.as_slice().chunks(DEVICES_PER_ENTRY).collect(),
    };
    let number = cx.next.saturating_add(chunks.len() as u64);
    let origin = Origin {
        number,
        name,
        member,
    };
    let consequences = effects(cx, &origin, action, eids.as_slice())?;
    let (approvers, waived) = approvers(cx.state, cx.now, name, member, action, &reach);

    let actor = Actor::Principal(name.clone());
    let mut events: Vec<(Actor, Event)> = Vec::new();
    for chunk in chunks {
        let event = Event::IntentDevices {
            id: proposal.id,
            eids: chunk.to_vec(),
        };
        events.push((actor.clone(), event));
    }
    let proposed = Proposed {
        id: proposal.id,
        intent: intent.clone(),
        proof: proposal.proof.clone(),
        principal: name.clone(),
        credential: by.credential.clone(),
        network: proposal.network,
        counter: by.new_counter,
        approvers,
        waived,
    };
    events.push((actor.clone(), Event::IntentProposed(Box::new(proposed))));
    if approvers == 0 {
        events.extend(consequences.into_iter().map(|event| (actor.clone(), event)));
    }
    if waived == Some(Waiver::BreakGlass) {
        let incident = Event::IncidentRaised {
            what: "break-glass".to_owned(),
            detail: "the break-glass key was used: find out by whom, and rotate it".to_owned(),
            entry: Some(number),
        };
        events.push((Actor::Authority, incident));
    }
    let status = IntentStatus {
        id: proposal.id,
        entry: number,
        at: cx.now,
        proposer: name.clone(),
        state: match (approvers, action) {
            (0, Action::Operate { .. }) => IntentState::Approved,
            (0, _) => IntentState::Done,
            _ => IntentState::Waiting,
        },
        approvers,
        approved_by: Vec::new(),
        devices: action.devices().map_or(0, |devices| devices.count()),
        done: 0,
        intent: intent.clone(),
    };
    Ok((events, status))
}

fn check_time(cx: &Context<'_>, proposal: &Proposal) -> Result<(), Rejected> {
    let intent = &proposal.intent;
    if intent.created_at.saturating_sub(cx.now) > AHEAD_MS {
        return Err(refused(
            RefusalCode::Expired,
            "the intent was made in the future: set the clock of who made it",
        ));
    }
    match cx.now >= intent.expires_at {
        true => Err(refused(
            RefusalCode::Expired,
            "the intent has expired: make a new one",
        )),
        false => Ok(()),
    }
}

/// What one credential may have signed in an hour, it may also propose in an hour. More would only fill the record.
fn check_rate(cx: &Context<'_>, kind: MemberKind, credential: &Credential) -> Result<(), Rejected> {
    let allowed = match kind {
        MemberKind::BreakGlass => None,
        _ => cx.state.policy.quotas.credential_per_hour,
    };
    // Who may have nothing signed can still freeze and cancel.
    let allowed = allowed.map(|allowed| allowed.max(PROPOSALS_MIN));
    match allowed.is_some_and(|allowed| credential.proposals.at(cx.now) >= allowed) {
        true => Err(Refusal::new(
            RefusalCode::QuotaExceeded,
            "this credential proposed as much in this hour as it may: put more devices into one intent, or wait",
        )
        .until(Hourly::over_at(cx.now))
        .into()),
        false => Ok(()),
    }
}

fn check_number(cx: &Context<'_>, kind: MemberKind, devices: usize) -> Result<(), Rejected> {
    let allowed = match (kind, cx.state.policy.quotas.devices_per_intent) {
        (MemberKind::BreakGlass, _) | (_, None) => DEVICES_MAX as u64,
        (_, Some(allowed)) => allowed.min(DEVICES_MAX as u64),
    };
    match devices as u64 > allowed {
        true => Err(refused(
            RefusalCode::QuotaExceeded,
            format!("one intent may be about {allowed} devices, this one is about {devices}"),
        )),
        false => Ok(()),
    }
}

/// A passkey that counts and did not count on was copied (WebAuthn Level 3 section 6.1.1).
pub(crate) fn check_counter(credential: &Credential, by: &Verified) -> Result<(), Rejected> {
    let Some(counter) = by.new_counter else {
        return Ok(());
    };
    // An authenticator that counted and now says it does not, did not count on either.
    match credential.counter > 0 && counter <= credential.counter {
        true => Err(Rejected {
            refusal: Refusal::new(
                RefusalCode::ProofInvalid,
                "the passkey's counter did not go on: there may be a copy of it. Use it again; if this repeats, revoke it",
            ),
            incident: Some("passkey-counter"),
        }),
        false => Ok(()),
    }
}

pub(crate) fn refused(code: RefusalCode, message: impl Into<String>) -> Rejected {
    Refusal::new(code, message).into()
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            incident: None,
        }
    }
}

impl Rejected {
    /// What people must look at, if the refusal shows that something is wrong. `entry` is that of the refusal.
    pub(crate) fn incident_of(&self, whose: Option<&Principal>, entry: u64) -> Option<Event> {
        let whose = whose.map_or("nobody known", Principal::as_str);
        Some(Event::IncidentRaised {
            what: self.incident?.to_owned(),
            detail: format!("a passkey of {whose} stated a counter that was used before"),
            entry: Some(entry),
        })
    }

    /// The refusal with the entries that keep it on record. Somebody known tried something they may not: worth knowing, but
    /// not worth filling the ledger with.
    pub(crate) fn on_record<T>(
        self,
        cx: &Context<'_>,
        id: IntentId,
        by: &Verified,
    ) -> Decided<Result<T, Refusal>> {
        let mut events = Vec::new();
        if cx.state.people.records_refusals(&by.credential, cx.now) {
            let code = serde_json::to_value(self.refusal.code).unwrap_or_default();
            let event = Event::IntentRefused {
                id,
                principal: by.principal.clone(),
                credential: by.credential.clone(),
                code: code.as_str().unwrap_or_default().to_owned(),
                detail: self.refusal.message.chars().take(DETAIL_MAX).collect(),
            };
            events.push((Actor::Principal(by.principal.clone()), event));
            events.extend(
                self.incident_of(Some(&by.principal), cx.next)
                    .map(|incident| (Actor::Authority, incident)),
            );
        }
        Decided {
            events,
            answer: Err(self.refusal),
        }
    }
}
