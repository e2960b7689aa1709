//! Enrolling a passkey with a code.

use intent::api::{Enrol, PrincipalInfo, Refusal, RefusalCode, enrolment_challenge};
use intent::passkey::{PasskeyCredential, SOFTWARE_AAGUID};
use intent::{Digest, Principal};
use subtle::ConstantTimeEq;

use crate::event::{Actor, Event};
use crate::lists::principal_info;
use crate::state::State;
use crate::verbs::{Context, Decided};
use crate::webauthn;

/// Characters of a code that are looked at.
const CODE_MAX: usize = 128;

/// An enrolment whose passkey was verified. The code is checked again by the verb: it can be used once.
#[derive(Debug, Clone)]
pub struct Enrolment {
    name: Principal,
    code_sha256: Digest,
    passkey: PasskeyCredential,
}

impl Enrolment {
    /// Checks the code and verifies the registration. `now` in milliseconds since 1970.
    pub fn verify(state: &State, now: i64, request: &Enrol) -> Result<Self, Refusal> {
        if request.code.len() > CODE_MAX {
            return Err(code_refused());
        }
        let installation = state.installation()?;
        let code_sha256 = Digest::of(&[request.code.as_bytes()]);
        // Before the signature, so that nobody without a code makes work here.
        invitation(state, now, &request.name, &code_sha256)?;
        let challenge = enrolment_challenge(&installation.name, &request.code, &request.name);
        let passkey = webauthn::verify_registration(
            &installation.relying_party,
            challenge.as_bytes(),
            &request.registration,
        )
        .map_err(|error| Refusal::new(RefusalCode::ProofInvalid, error.to_string()))?;
        Ok(Self {
            name: request.name.clone(),
            code_sha256,
            passkey,
        })
    }
}

/// Enrols a passkey.
pub(crate) fn enrol(
    cx: &Context<'_>,
    enrolment: &Enrolment,
) -> Result<Decided<PrincipalInfo>, Refusal> {
    let Enrolment {
        name,
        code_sha256,
        passkey,
    } = enrolment;
    let invitation = invitation(cx.state, cx.now, name, code_sha256)?;
    if passkey.aaguid == SOFTWARE_AAGUID && !cx.state.policy.insecure_software_passkeys {
        return Err(Refusal::new(
            RefusalCode::PolicyRefused,
            "policy does not accept passkeys that are files: use a security key, a phone or the computer's own",
        ));
    }
    let id = passkey.credential_id().ok_or_else(|| {
        Refusal::new(
            RefusalCode::ProofInvalid,
            "the id of the passkey is empty or too long",
        )
    })?;
    if cx.state.people.credential(&id).is_some() {
        return Err(Refusal::new(
            RefusalCode::Conflict,
            "this passkey was enrolled before: make a new one",
        ));
    }
    // Enrolling is rare and people are few: what the answer shows is found by doing it to a copy.
    let mut people = cx.state.people.clone();
    people
        .apply_enrolled(cx.next, cx.now, invitation, name, passkey)
        .map_err(|misfit| Refusal::new(RefusalCode::Conflict, misfit.to_string()))?;
    let answer = people
        .member(name)
        .map(|member| principal_info(name, member))
        .ok_or_else(code_refused)?;
    let event = Event::PersonEnrolled {
        invitation,
        name: name.clone(),
        passkey: Box::new(passkey.clone()),
    };
    Ok(Decided {
        events: vec![(Actor::Principal(name.clone()), event)],
        answer,
    })
}

/// The entry of the invitation that a code is for; 0 for the first owner. Every way to be wrong looks the same from outside.
fn invitation(state: &State, now: i64, name: &Principal, code: &Digest) -> Result<u64, Refusal> {
    let fits = |known: &Digest, expires_at: i64| {
        bool::from(known.as_bytes().ct_eq(code.as_bytes())) && now < expires_at
    };
    let owner_code = state.installation()?.owner_code;
    if owner_code.is_some_and(|open| fits(&open.sha256, open.expires_at))
        && state.people.member(name).is_none()
    {
        return Ok(0);
    }
    let open = state.people.invitation(name).ok_or_else(code_refused)?;
    let is_revoked = state
        .people
        .member(name)
        .is_some_and(|member| member.revoked);
    match fits(&open.code_sha256, open.code_expires_at) && !is_revoked {
        true => Ok(open.number),
        false => Err(code_refused()),
    }
}

fn code_refused() -> Refusal {
    Refusal::new(
        RefusalCode::CodeRefused,
        "this code is not valid for this name: it is mistyped, used or expired; ask for another invitation",
    )
}
