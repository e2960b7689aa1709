//! Approving and rejecting.

use intent::api::{IntentState, IntentStatus, Refusal, RefusalCode};
use intent::{Action, Decision};

use crate::event::{self, Actor, Event};
use crate::proof::Ballot;
use crate::state::intents::{Approval, OpenIntent};
use crate::verbs::effects::{Origin, effects};
use crate::verbs::entitlement::{Reach, approvers_now, check_approver, check_proposer};
use crate::verbs::propose::{Rejected, check_counter, refused};
use crate::verbs::{Context, Decided};

/// Takes an approver's word, or refuses it on the record.
pub(crate) fn decide(cx: &Context<'_>, ballot: &Ballot) -> Decided<Result<IntentStatus, Refusal>> {
    match accept(cx, ballot) {
        Ok((events, status)) => Decided {
            events,
            answer: Ok(status),
        },
        Err(rejected) => rejected.on_record(cx, ballot.id, &ballot.by),
    }
}

fn accept(
    cx: &Context<'_>,
    ballot: &Ballot,
) -> Result<(Vec<(Actor, Event)>, IntentStatus), Rejected> {
    let by = &ballot.by;
    let (name, member, credential) =
        cx.state
            .people
            .active(&by.credential, cx.now, ballot.network)?;
    if let Some(refusal) = cx.state.frozen_credential(name, &by.credential) {
        return Err(refusal.into());
    }
    let open = cx.state.intents.known(&ballot.id)?;
    let has_approved = |approval: &Approval| approval.principal == *name;
    match open.state(cx.now) {
        _ if open.approvals().iter().any(has_approved) => {
            return Err(refused(
                RefusalCode::SamePerson,
                format!("{name} has approved this already: other people have to"),
            ));
        }
        IntentState::Waiting => {}
        IntentState::Expired => {
            return Err(refused(
                RefusalCode::Expired,
                "the intent expired before enough people approved: it has to be proposed anew",
            ));
        }
        state => {
            let message = format!("nothing is left to decide: the intent is {state:?}");
            return Err(refused(RefusalCode::WrongState, message.to_lowercase()));
        }
    }
    if open.principal() == name {
        return Err(refused(
            RefusalCode::SamePerson,
            "who proposed an intent cannot decide on it; cancel it to withdraw it",
        ));
    }
    let action = &open.intent().action;
    let reach = Reach::of(cx.state, action, open.eids());
    check_approver(name, member, &reach)?;
    check_counter(credential, by)?;

    let mut status = open.status(cx.now);
    let (complete, consequences) = match ballot.decision {
        Decision::Reject => {
            status.state = IntentState::Rejected;
            (false, Vec::new())
        }
        Decision::Approve => {
            status.approved_by.push(name.clone());
            status.approvers = needed(cx, open, &reach);
            let counted = open
                .approvals()
                .iter()
                .filter(|approval| still_counts(cx, approval, &reach))
                .count();
            match counted.saturating_add(1) >= usize::from(status.approvers) {
                true => (true, complete(cx, open, &reach)?),
                false => (false, Vec::new()),
            }
        }
    };
    if complete {
        status.state = match action {
            Action::Operate { .. } => IntentState::Approved,
            _ => IntentState::Done,
        };
    }

    let decided = event::Decided {
        id: ballot.id,
        decision: ballot.decision,
        proof: ballot.proof.clone(),
        principal: name.clone(),
        credential: by.credential.clone(),
        network: ballot.network,
        counter: by.new_counter.unwrap_or(0),
        complete,
    };
    let mut events = vec![(
        Actor::Principal(name.clone()),
        Event::IntentDecided(Box::new(decided)),
    )];
    let proposer = Actor::Principal(open.principal().clone());
    events.extend(
        consequences
            .into_iter()
            .map(|event| (proposer.clone(), event)),
    );
    Ok((events, status))
}

/// What was asked for then, or what is asked for now: whichever is more.
fn needed(cx: &Context<'_>, open: &OpenIntent, reach: &Reach) -> u8 {
    open.approvers()
        .max(approvers_now(cx.state, &open.intent().action, reach))
}

/// An approval of somebody who was revoked, frozen or demoted meanwhile is worth nothing.
fn still_counts(cx: &Context<'_>, approval: &Approval, reach: &Reach) -> bool {
    let people = &cx.state.people;
    let Some(member) = people.member(&approval.principal) else {
        return false;
    };
    !people.is_revoked(&approval.principal, &approval.credential)
        && member.can_act(cx.now)
        && cx
            .state
            .frozen_credential(&approval.principal, &approval.credential)
            .is_none()
        && check_approver(&approval.principal, member, reach).is_ok()
}

/// What follows from the last approval. The proposer must still be who they were, and what they want must still be possible.
fn complete(cx: &Context<'_>, open: &OpenIntent, reach: &Reach) -> Result<Vec<Event>, Rejected> {
    let (people, proposer) = (&cx.state.people, open.principal());
    let member = people
        .member(proposer)
        .filter(|member| member.can_act(cx.now))
        .filter(|_| !people.is_revoked(proposer, open.credential()))
        .ok_or_else(|| {
            refused(
                RefusalCode::WrongState,
                format!(
                    "{proposer}, who proposed this, was revoked or has expired since: reject it"
                ),
            )
        })?;
    if let Some(refusal) = cx.state.frozen_credential(proposer, open.credential()) {
        return Err(refusal.into());
    }
    let action = &open.intent().action;
    check_proposer(cx.state, proposer, member, action, reach)?;
    let origin = Origin {
        number: open.number(),
        name: proposer,
        member,
    };
    Ok(effects(cx, &origin, action, open.eids())?)
}
