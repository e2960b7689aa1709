//! What an approved intent does at once: everything that is not about packages.
//!
//! Asked twice, when something is proposed and when the last approval comes in. The first time the result is thrown away if
//! people have to approve: it only tells early that it could not be.

use intent::action::{FreezeScope, MachineKey};
use intent::api::{IntentState, Refusal, RefusalCode};
use intent::device_set::CHANGED_MAX;
use intent::key_file::PublicKey;
use intent::{Action, CredentialId, FleetScope, Grant, Principal};
use rsp::ids::Eid;

use crate::event::Event;
use crate::state::people::{KEYS_MAX, Member, MemberKind};
use crate::verbs::entitlement::is_owner;
use crate::verbs::{Context, policy};

/// How long a person, key or token can be valid: 5 years.
const VALID_MAX_MS: i64 = 5 * 366 * 86_400_000;
/// How long an invitation can be used: 31 days.
const INVITATION_MAX_MS: i64 = 31 * 86_400_000;
/// How long a rotated key can stay valid: 31 days.
const OVERLAP_MAX_MS: i64 = 31 * 86_400_000;

/// Who wanted it, and where that is recorded.
pub(crate) struct Origin<'a> {
    /// Entry of the intent.
    pub(crate) number: u64,
    /// Who proposed it.
    pub(crate) name: &'a Principal,
    /// The same, as they are now.
    pub(crate) member: &'a Member,
}

/// The events of an action, or why it cannot be.
pub(crate) fn effects(
    cx: &Context<'_>,
    origin: &Origin<'_>,
    action: &Action,
    eids: &[Eid],
) -> Result<Vec<Event>, Refusal> {
    let intent = origin.number;
    match action {
        Action::Operate { commands, .. } => {
            policy::check_commands(&cx.state.policy, commands)?;
            for command in commands {
                if let intent::Command::AdoptEimKey { spki_sha256 } = command
                    && !cx.state.keys.is_usable(spki_sha256)
                {
                    return refused(
                        RefusalCode::Unknown,
                        "the eIM has no such key: add it with `palisade key signing add` first",
                    );
                }
            }
            Ok(Vec::new())
        }
        Action::RegisterDevices { fleet, .. } => {
            check_changed(eids)?;
            each(eids, |eid| match cx.state.devices.fleet(&eid) {
                None => Ok(Event::DeviceRegistered {
                    intent,
                    eid: Some(eid),
                    fleet: fleet.clone(),
                }),
                Some(fleet) => refused(
                    RefusalCode::Conflict,
                    format!("{eid} is registered already, in the fleet {fleet}: retire it first"),
                ),
            })
        }
        Action::RetireDevices { .. } => {
            check_changed(eids)?;
            each(eids, |eid| {
                check_registered(cx, &eid)?;
                Ok(Event::DeviceRetired {
                    intent,
                    eid: Some(eid),
                })
            })
        }
        Action::ReassociateDevices { .. } => {
            check_changed(eids)?;
            each(eids, |eid| {
                check_registered(cx, &eid)?;
                Ok(Event::DeviceReassociable {
                    intent,
                    eid: Some(eid),
                })
            })
        }
        Action::Cancel { intent: target } => {
            let open = cx.state.intents.known(target)?;
            match open.state(cx.now) {
                IntentState::Waiting | IntentState::Approved => Ok(vec![Event::IntentCancelled {
                    id: *target,
                    by: intent,
                }]),
                state => refused(
                    RefusalCode::WrongState,
                    format!("there is nothing left to cancel: the intent is {state:?}")
                        .to_lowercase(),
                ),
            }
        }
        Action::InvitePerson { .. } => invite(cx, intent, action),
        Action::AdmitMachine {
            name,
            grants,
            key,
            networks,
        } => {
            check_new_name(cx, name)?;
            check_grants(grants)?;
            check_key(cx, key)?;
            Ok(vec![Event::MachineAdmitted {
                intent,
                name: name.clone(),
                grants: grants.clone(),
                key: key.clone(),
                networks: networks.clone(),
            }])
        }
        Action::RotateKey {
            name,
            key,
            overlap_until,
        } => rotate(cx, intent, name, key, *overlap_until),
        Action::RevokeCredential { credential } => revoke_credential(cx, origin, credential),
        Action::RevokePrincipal { name } => {
            let member = cx.state.people.member(name);
            if member.is_none() && cx.state.people.invitation(name).is_none() {
                return Err(nobody(name));
            }
            if let Some(member) = member {
                check_not_revoked(name, member)?;
                check_owner_remains(cx, origin, name, member)?;
            }
            Ok(vec![Event::PrincipalRevoked {
                intent,
                name: name.clone(),
            }])
        }
        Action::SetGrants { name, grants } => {
            check_grants(grants)?;
            let member = cx.state.people.member(name).ok_or_else(|| nobody(name))?;
            check_not_revoked(name, member)?;
            let after = Member {
                grants: grants.clone(),
                ..member.clone()
            };
            if !is_owner(&after) {
                check_owner_remains(cx, origin, name, member)?;
            }
            Ok(vec![Event::GrantsSet {
                intent,
                name: name.clone(),
                grants: grants.clone(),
            }])
        }
        Action::IssueReadToken {
            name,
            token_id,
            secret_sha256,
            grants,
            expires_at,
        } => {
            check_new_name(cx, name)?;
            check_grants(grants)?;
            check_expiry(cx, *expires_at)?;
            let id: CredentialId = token_id
                .parse()
                .map_err(|error: intent::NameError| malformed(error.to_string()))?;
            check_new_credential(cx, &id)?;
            Ok(vec![Event::TokenIssued {
                intent,
                name: name.clone(),
                token_id: token_id.clone(),
                secret_sha256: *secret_sha256,
                grants: grants.clone(),
                expires_at: *expires_at,
            }])
        }
        Action::SetPolicy { policy } => {
            let next = cx.state.policy.version.saturating_add(1);
            match policy.version == next {
                true => Ok(vec![Event::PolicySet {
                    intent,
                    policy: policy.clone(),
                }]),
                false => refused(
                    RefusalCode::Conflict,
                    format!(
                        "this is version {} of the policy and the next one is {next}: look at what changed meanwhile",
                        policy.version
                    ),
                ),
            }
        }
        Action::Freeze { scope } => {
            check_freezable(cx, origin, scope)?;
            Ok(vec![Event::FreezeSet {
                intent,
                scope: scope.clone(),
            }])
        }
        Action::Thaw { scope } => match cx.state.freezes.contains(scope) {
            true => Ok(vec![Event::FreezeLifted {
                intent,
                scope: scope.clone(),
            }]),
            false => refused(
                RefusalCode::Unknown,
                "this is not frozen; `palisade freeze list` shows what is",
            ),
        },
        Action::AddSigningKey { spki_sha256 } => {
            if cx.state.keys.is_usable(spki_sha256) {
                return refused(RefusalCode::Conflict, "this key is in use already");
            }
            match cx.signers.get(spki_sha256) {
                Some(spki) => Ok(vec![Event::SigningKeyAdded {
                    intent,
                    spki: spki.clone(),
                }]),
                None => refused(
                    RefusalCode::Unknown,
                    "the authority does not hold this key: make it (`palisade signing-key make`) and have it read, by SIGHUP to `palisade serve` or a restart",
                ),
            }
        }
        Action::RetireSigningKey { spki_sha256 } => {
            if !cx.state.keys.is_usable(spki_sha256) {
                return refused(RefusalCode::Unknown, "the eIM has no such key in use");
            }
            let depending = cx.state.devices.depending_on(spki_sha256);
            if depending > 0 || cx.state.keys.usable() < 2 {
                return refused(
                    RefusalCode::LastOne,
                    format!(
                        "{depending} devices know no other key of this eIM, and one key must remain: have them adopt a newer one first"
                    ),
                );
            }
            Ok(vec![Event::SigningKeyRetired {
                intent,
                spki_sha256: *spki_sha256,
            }])
        }
    }
}

fn invite(cx: &Context<'_>, intent: u64, action: &Action) -> Result<Vec<Event>, Refusal> {
    let Action::InvitePerson {
        name,
        grants,
        code_sha256,
        code_expires_at,
        expires_at,
        networks,
    } = action
    else {
        return Ok(Vec::new());
    };
    match cx.state.people.member(name) {
        Some(member) if grants.is_empty() && member.kind == MemberKind::Person => {
            check_not_revoked(name, member)?;
            if !networks.is_empty() {
                return refused(
                    RefusalCode::Malformed,
                    format!(
                        "a further passkey of {name} is for the networks there are: leave them out"
                    ),
                );
            }
        }
        Some(_) if grants.is_empty() => {
            return refused(
                RefusalCode::Conflict,
                format!("{name} is no person, and so has no passkey"),
            );
        }
        Some(_) => {
            return refused(
                RefusalCode::Conflict,
                format!(
                    "{name} is there already: invite without grants for a further passkey, or set grants"
                ),
            );
        }
        None if grants.is_empty() => {
            return refused(
                RefusalCode::Malformed,
                format!("{name} is not enrolled: say what they are to be"),
            );
        }
        None => check_grants(grants)?,
    }
    let pending = cx.state.people.invitation(name);
    if pending.is_some_and(|open| cx.now < open.code_expires_at) {
        return refused(
            RefusalCode::Conflict,
            format!("{name} is invited already: revoke {name} to take that back, or wait"),
        );
    }
    check_expiry(cx, *expires_at)?;
    let usable = code_expires_at.saturating_sub(cx.now);
    if !(1..=INVITATION_MAX_MS).contains(&usable) {
        return refused(
            RefusalCode::Expired,
            "an enrolment code can be used for a time between now and 31 days from now",
        );
    }
    Ok(vec![Event::PersonInvited {
        intent,
        name: name.clone(),
        grants: grants.clone(),
        code_sha256: *code_sha256,
        code_expires_at: *code_expires_at,
        expires_at: *expires_at,
        networks: networks.clone(),
    }])
}

fn rotate(
    cx: &Context<'_>,
    intent: u64,
    name: &Principal,
    key: &MachineKey,
    overlap_until: i64,
) -> Result<Vec<Event>, Refusal> {
    let member = cx.state.people.member(name).ok_or_else(|| nobody(name))?;
    if !matches!(member.kind, MemberKind::Machine | MemberKind::BreakGlass) {
        return refused(
            RefusalCode::Conflict,
            format!("{name} is no machine, and so has no key to rotate"),
        );
    }
    check_not_revoked(name, member)?;
    check_key(cx, key)?;
    if overlap_until.saturating_sub(cx.now) > OVERLAP_MAX_MS {
        return refused(
            RefusalCode::Malformed,
            "the keys before a new one stay valid for at most 31 days",
        );
    }
    let staying = member
        .lasting(cx.now)
        .filter(|old| old.expires_at.min(overlap_until) > cx.now);
    if staying.count() >= KEYS_MAX {
        return refused(
            RefusalCode::Conflict,
            format!(
                "{name} would have more than {KEYS_MAX} valid keys: revoke one, or end the overlap at once"
            ),
        );
    }
    Ok(vec![Event::KeyRotated {
        intent,
        name: name.clone(),
        key: key.clone(),
        overlap_until,
    }])
}

fn revoke_credential(
    cx: &Context<'_>,
    origin: &Origin<'_>,
    id: &CredentialId,
) -> Result<Vec<Event>, Refusal> {
    let Some((name, member, credential)) = cx.state.people.credential(id) else {
        return refused(RefusalCode::Unknown, "no such credential");
    };
    if credential.revoked {
        return refused(
            RefusalCode::WrongState,
            "this credential is revoked already",
        );
    }
    let others_of_theirs = member
        .credentials
        .iter()
        .any(|other| other.id != *id && other.is_valid(cx.now));
    if !others_of_theirs {
        check_owner_remains(cx, origin, name, member)?;
    }
    Ok(vec![Event::CredentialRevoked {
        intent: origin.number,
        credential: id.clone(),
    }])
}

/// Whether somebody owns everything when `leaving` does no longer. The key in the safe may leave nobody: it lets people in.
fn check_owner_remains(
    cx: &Context<'_>,
    origin: &Origin<'_>,
    leaving: &Principal,
    member: &Member,
) -> Result<(), Refusal> {
    if origin.member.kind == MemberKind::BreakGlass || !is_owner(member) || !member.can_act(cx.now)
    {
        return Ok(());
    }
    let mut others = cx.state.people.others(leaving, cx.now, is_owner);
    match others.next() {
        Some(_) => Ok(()),
        None => refused(
            RefusalCode::LastOne,
            format!("{leaving} is the last owner: make somebody else owner first"),
        ),
    }
}

fn check_registered(cx: &Context<'_>, eid: &Eid) -> Result<(), Refusal> {
    match cx.state.devices.fleet(eid) {
        Some(_) => Ok(()),
        None => Err(not_registered(eid)),
    }
}

/// The refusal for a device that is not under management.
pub(crate) fn not_registered(eid: &Eid) -> Refusal {
    Refusal::new(
        RefusalCode::Unknown,
        format!("{eid} is not registered: register it first, or leave it out"),
    )
}

fn check_changed(eids: &[Eid]) -> Result<(), Refusal> {
    match eids.len() > CHANGED_MAX {
        true => refused(
            RefusalCode::QuotaExceeded,
            format!("one intent registers or retires at most {CHANGED_MAX} devices: make several"),
        ),
        false => Ok(()),
    }
}

fn check_new_name(cx: &Context<'_>, name: &Principal) -> Result<(), Refusal> {
    let is_taken =
        cx.state.people.member(name).is_some() || cx.state.people.invitation(name).is_some();
    match is_taken {
        true => refused(
            RefusalCode::Conflict,
            format!("the name {name} was given before: names are never used again, take another"),
        ),
        false => Ok(()),
    }
}

fn check_grants(grants: &[Grant]) -> Result<(), Refusal> {
    let is_nowhere = |grant: &Grant| match &grant.fleets {
        FleetScope::All => false,
        FleetScope::Only(fleets) => fleets.is_empty(),
    };
    match grants.iter().any(is_nowhere) {
        true => refused(
            RefusalCode::Malformed,
            "a grant names at least one fleet, or all",
        ),
        false => Ok(()),
    }
}

fn check_key(cx: &Context<'_>, key: &MachineKey) -> Result<(), Refusal> {
    let public =
        PublicKey::from_bytes(&key.public).map_err(|error| malformed(error.to_string()))?;
    if public.id() != key.id {
        return refused(
            RefusalCode::Malformed,
            format!("the id of this key is {}", public.id()),
        );
    }
    check_expiry(cx, key.expires_at)?;
    check_new_credential(cx, &key.id)
}

fn check_new_credential(cx: &Context<'_>, id: &CredentialId) -> Result<(), Refusal> {
    match cx.state.people.credential(id) {
        Some(_) => refused(
            RefusalCode::Conflict,
            "this key or token was enrolled before: make a new one",
        ),
        None => Ok(()),
    }
}

fn check_expiry(cx: &Context<'_>, expires_at: i64) -> Result<(), Refusal> {
    match (1..=VALID_MAX_MS).contains(&expires_at.saturating_sub(cx.now)) {
        true => Ok(()),
        false => refused(
            RefusalCode::Expired,
            "people, keys and tokens expire at a time between now and 5 years from now",
        ),
    }
}

fn check_freezable(
    cx: &Context<'_>,
    origin: &Origin<'_>,
    scope: &FreezeScope,
) -> Result<(), Refusal> {
    let (name, target) = match scope {
        FreezeScope::Everything | FreezeScope::Fleet(_) => return Ok(()),
        FreezeScope::Principal(name) => {
            let member = cx.state.people.member(name).ok_or_else(|| nobody(name))?;
            (name, member)
        }
        FreezeScope::Credential(id) => {
            let (name, member, _) = cx.state.people.known(id)?;
            (name, member)
        }
    };
    if target.kind == MemberKind::BreakGlass {
        return refused(
            RefusalCode::LastOne,
            "the break-glass key cannot be frozen: rotate it instead",
        );
    }
    check_owner_can_answer(cx, origin, name, target, scope)
}

/// Whoever freezes an owner leaves another one who can do something about it: a thief with the passkey of one of two could
/// otherwise silence the other, who would have to get up first. Themselves everybody may freeze.
fn check_owner_can_answer(
    cx: &Context<'_>,
    origin: &Origin<'_>,
    name: &Principal,
    target: &Member,
    scope: &FreezeScope,
) -> Result<(), Refusal> {
    let is_free = |name: &Principal, member: &Member, but: Option<&FreezeScope>| {
        let frozen = |scope| cx.state.freezes.contains(&scope) || but == Some(&scope);
        is_owner(member)
            && member.can_act(cx.now)
            && !frozen(FreezeScope::Principal(name.clone()))
            && member.credentials.iter().any(|credential| {
                credential.is_valid(cx.now)
                    && !frozen(FreezeScope::Credential(credential.id.clone()))
            })
    };
    if origin.member.kind == MemberKind::BreakGlass
        || name == origin.name
        || !is_free(name, target, None)
    {
        return Ok(());
    }
    let mut members = cx.state.people.members();
    match members.any(|(name, member)| name != origin.name && is_free(name, member, Some(scope))) {
        true => Ok(()),
        false => refused(
            RefusalCode::LastOne,
            format!(
                "no owner but {} could act any more if {name} was frozen: freeze everything or a fleet, which stops signing as well, or use the break-glass key",
                origin.name
            ),
        ),
    }
}

fn check_not_revoked(name: &Principal, member: &Member) -> Result<(), Refusal> {
    match member.revoked {
        true => refused(
            RefusalCode::WrongState,
            format!("{name} is revoked already"),
        ),
        false => Ok(()),
    }
}

fn nobody(name: &Principal) -> Refusal {
    Refusal::new(RefusalCode::Unknown, format!("nobody is called {name}"))
}

fn malformed(message: String) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message)
}

fn refused<T>(code: RefusalCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

fn each(
    eids: &[Eid],
    event: impl FnMut(Eid) -> Result<Event, Refusal>,
) -> Result<Vec<Event>, Refusal> {
    eids.iter().copied().map(event).collect()
}
