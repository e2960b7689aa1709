//! Letting people in to look around. Nothing is decided by it but that they are who they say.

use std::net::IpAddr;

use intent::api::{Refusal, RefusalCode, SignIn, SignedIn};
use intent::sign_in::{SignInError, SignInStatement};
use intent::{CredentialId, Principal, Proof};

use crate::event::{Actor, Event};
use crate::lists::principal_info;
use crate::proof::{Verified, by_person, check_length};
use crate::state::State;
use crate::verbs::propose::{Rejected, check_counter, refused};
use crate::verbs::{Context, Decided};

/// How far the clock of who made a statement may be ahead: a minute.
const AHEAD_MAX_MS: i64 = 60_000;
/// Characters of a detail that is recorded.
const DETAIL_MAX: usize = 500;

/// Somebody came to the door.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    network: Option<IpAddr>,
    shown: Result<(SignInStatement, Verified), Stranger>,
}

/// Somebody whose passkey did not verify.
#[derive(Debug, Clone)]
struct Stranger {
    /// Whose passkey was named, if it is known.
    claims: Option<(Principal, CredentialId)>,
    refusal: Refusal,
}

impl Attempt {
    /// Reads a request and verifies its proof. What is wrong is for [`sign_in`], which puts it on record.
    pub(crate) fn verify(state: &State, request: &SignIn) -> Self {
        let claims = match &request.proof {
            Proof::Passkey { credential, .. } => state
                .people
                .credential(credential)
                .map(|(name, ..)| (name.clone(), credential.clone())),
            Proof::HttpSignature(_) => None,
        };
        Self {
            network: request.network,
            shown: verify(state, request).map_err(|refusal| Stranger { claims, refusal }),
        }
    }
}

fn verify(state: &State, request: &SignIn) -> Result<(SignInStatement, Verified), Refusal> {
    check_length(&request.proof)?;
    let octets = request.statement.as_bytes();
    let statement = SignInStatement::decode(octets).map_err(|error| {
        let code = match error {
            SignInError::Lifetime => RefusalCode::Expired,
            _ => RefusalCode::Malformed,
        };
        Refusal::new(code, error.to_string())
    })?;
    let installation = state.installation()?;
    if statement.installation != installation.name {
        return Err(Refusal::new(
            RefusalCode::Malformed,
            format!(
                "this sign-in is for the installation {:?}, this is {:?}",
                statement.installation, installation.name
            ),
        ));
    }
    let Proof::Passkey {
        credential,
        assertion,
    } = &request.proof
    else {
        return Err(Refusal::new(
            RefusalCode::PasskeyNeeded,
            "people sign in, with a passkey; machines sign each request, or read with a token",
        ));
    };
    let challenge = SignInStatement::challenge(octets);
    let by = by_person(state, credential, assertion, &challenge)?;
    Ok((statement, by))
}

/// Lets somebody in, or refuses it on the record.
pub(crate) fn sign_in(cx: &Context<'_>, attempt: &Attempt) -> Decided<Result<SignedIn, Refusal>> {
    let (claims, rejected) = match &attempt.shown {
        Ok((statement, by)) => match accept(cx, attempt, statement, by) {
            Ok(decided) => return decided,
            Err(rejected) => (
                Some((by.principal.clone(), by.credential.clone())),
                rejected,
            ),
        },
        Err(stranger) => (stranger.claims.clone(), stranger.refusal.clone().into()),
    };
    on_record(cx, attempt, claims, rejected)
}

fn accept(
    cx: &Context<'_>,
    attempt: &Attempt,
    statement: &SignInStatement,
    by: &Verified,
) -> Result<Decided<Result<SignedIn, Refusal>>, Rejected> {
    let (name, member, credential) =
        cx.state
            .people
            .active(&by.credential, cx.now, attempt.network)?;
    if let Some(refusal) = cx.state.frozen_credential(name, &by.credential) {
        return Err(refusal.into());
    }
    if cx.now >= statement.expires_at || statement.created_at > cx.now.saturating_add(AHEAD_MAX_MS)
    {
        return Err(refused(
            RefusalCode::Expired,
            "this sign-in took too long, or a clock is wrong: begin again",
        ));
    }
    if cx.state.sign_ins.was_used(&statement.nonce) {
        return Err(refused(
            RefusalCode::Replayed,
            "this sign-in was used before: begin again",
        ));
    }
    check_counter(credential, by)?;
    let event = Event::SignedIn {
        principal: name.clone(),
        credential: by.credential.clone(),
        network: attempt.network,
        counter: by.new_counter,
        nonce: statement.nonce,
        expires_at: statement.expires_at,
    };
    Ok(Decided {
        events: vec![(Actor::Principal(name.clone()), event)],
        answer: Ok(SignedIn {
            principal: principal_info(name, member),
            credential: by.credential.clone(),
            entry: cx.next,
        }),
    })
}

/// Keeps who tried, for one passkey and for all that are unknown at most 60 times in an hour.
fn on_record(
    cx: &Context<'_>,
    attempt: &Attempt,
    claims: Option<(Principal, CredentialId)>,
    rejected: Rejected,
) -> Decided<Result<SignedIn, Refusal>> {
    let records = match &claims {
        Some((_, credential)) => cx.state.people.records_refusals(credential, cx.now),
        None => cx.state.sign_ins.records_strangers(cx.now),
    };
    let mut events = Vec::new();
    if records {
        let code = serde_json::to_value(rejected.refusal.code).unwrap_or_default();
        let (principal, credential) = claims.clone().unzip();
        let event = Event::SignInRefused {
            principal,
            credential,
            network: attempt.network,
            code: code.as_str().unwrap_or_default().to_owned(),
            detail: rejected.refusal.message.chars().take(DETAIL_MAX).collect(),
        };
        events.push((Actor::Authority, event));
        events.extend(
            rejected
                .incident_of(claims.as_ref().map(|(name, _)| name), cx.next)
                .map(|incident| (Actor::Authority, incident)),
        );
    }
    Decided {
        events,
        answer: Err(rejected.refusal),
    }
}
