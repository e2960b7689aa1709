//! Who may ask for what, and who may approve it.

use std::collections::BTreeSet;

use intent::action::{FreezeScope, OperationKind, check_machine};
use intent::api::{Refusal, RefusalCode};
use intent::{Action, CredentialId, FleetScope, Grant, Principal, Role};
use rsp::ids::Eid;

use crate::event::Waiver;
use crate::state::State;
use crate::state::people::{Member, MemberKind, covers};

/// What an action is about, as roles and policy see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Kinds of things.
    pub(crate) kinds: BTreeSet<OperationKind>,
    /// Where a role has to hold for it.
    pub(crate) scope: FleetScope,
    /// How many devices.
    pub(crate) devices: u64,
}

impl Reach {
    /// What an action is about now.
    pub(crate) fn of(state: &State, action: &Action, eids: &[Eid]) -> Self {
        let scope = scope(state, action, eids);
        Self {
            kinds: action.kinds(),
            scope,
            devices: action.devices().map_or(0, |devices| devices.count()),
        }
    }
}

/// Whether somebody may propose this, whatever else may stand against it.
pub(crate) fn check_proposer(
    state: &State,
    name: &Principal,
    member: &Member,
    action: &Action,
    reach: &Reach,
) -> Result<(), Refusal> {
    if member.kind == MemberKind::BreakGlass {
        return check_targets(state, action);
    }
    if !is_about_oneself(state, name, member, action) {
        check_role(name, member, reach)?;
        check_freezer(state, name, member, action)?;
        for grant in grants_touched(state, action) {
            let gives = |role: Role| role.may_grant(grant.role);
            if !member.may(&grant.fleets, gives) {
                return Err(Refusal::new(
                    RefusalCode::RoleRefused,
                    format!(
                        "{name} may not give or take the role {:?} there: ask somebody who holds more",
                        grant.role
                    ),
                ));
            }
        }
        if touches_break_glass(state, action) && !is_owner(member) {
            return Err(Refusal::new(
                RefusalCode::RoleRefused,
                "only an owner may exchange the break-glass key",
            ));
        }
    }
    check_targets(state, action)
}

/// Whether somebody may approve this.
pub(crate) fn check_approver(
    name: &Principal,
    member: &Member,
    reach: &Reach,
) -> Result<(), Refusal> {
    if member.kind != MemberKind::Person {
        return Err(Refusal::new(
            RefusalCode::PasskeyNeeded,
            "people approve and reject, with a passkey",
        ));
    }
    for kind in &reach.kinds {
        let allows = |role: Role| role.may_approve(*kind);
        if !member.grants.iter().any(|grant| allows(grant.role)) {
            return Err(Refusal::new(
                RefusalCode::RoleRefused,
                format!("the roles of {name} do not approve {}", word(*kind)),
            ));
        }
        if !member.may(&reach.scope, allows) {
            return Err(out_of_scope(name, *kind));
        }
    }
    Ok(())
}

/// How many people have to approve this, and why fewer than policy says.
pub(crate) fn approvers(
    state: &State,
    now: i64,
    name: &Principal,
    member: &Member,
    action: &Action,
    reach: &Reach,
) -> (u8, Option<Waiver>) {
    if member.kind == MemberKind::BreakGlass {
        return (0, Some(Waiver::BreakGlass));
    }
    let needed = approvers_now(state, action, reach);
    let waived = needed > 0
        && matches!(action, Action::InvitePerson { .. })
        && is_owner(member)
        && state
            .people
            .others(name, now, |other| {
                check_approver(name, other, reach).is_ok()
            })
            .next()
            .is_none();
    match waived {
        true => (0, Some(Waiver::SoleOwner)),
        false => (needed, None),
    }
}

/// How many people policy asks for now. Freezing is always at once, thawing always takes two.
pub(crate) fn approvers_now(state: &State, action: &Action, reach: &Reach) -> u8 {
    state
        .policy
        .approvers_of(action, &reach.scope, reach.devices)
}

/// Whether somebody is owner of everything.
pub(crate) fn is_owner(member: &Member) -> bool {
    member.kind == MemberKind::Person
        && covers(&member.grants, &FleetScope::All, |role| role == Role::Owner)
}

/// A kind as it is written.
pub(crate) fn word(kind: OperationKind) -> String {
    let value = serde_json::to_value(kind).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn check_role(name: &Principal, member: &Member, reach: &Reach) -> Result<(), Refusal> {
    for kind in &reach.kinds {
        if !member.may_propose_somewhere(*kind) {
            return Err(Refusal::new(
                RefusalCode::RoleRefused,
                format!(
                    "the roles of {name} do not propose {}: ask for another role, or somebody who has it",
                    word(*kind)
                ),
            ));
        }
        if !member.may(&reach.scope, |role| role.may_propose(*kind)) {
            return Err(out_of_scope(name, *kind));
        }
    }
    Ok(())
}

fn out_of_scope(name: &Principal, kind: OperationKind) -> Refusal {
    Refusal::new(
        RefusalCode::OutOfScope,
        format!(
            "a part of this is outside of the fleets in which {name} holds a role for {}",
            word(kind)
        ),
    )
}

/// Who administers an installation can be stopped only by somebody of their kind: otherwise one approver could lock all of them
/// out.
fn check_freezer(
    state: &State,
    name: &Principal,
    member: &Member,
    action: &Action,
) -> Result<(), Refusal> {
    let Action::Freeze { scope } = action else {
        return Ok(());
    };
    let administers = |role: Role| matches!(role, Role::SecurityAdmin | Role::Owner);
    let target = frozen_member(state, scope);
    let is_administrator =
        target.is_some_and(|target| target.grants.iter().any(|grant| administers(grant.role)));
    match is_administrator && !member.may(&FleetScope::All, administers) {
        true => Err(Refusal::new(
            RefusalCode::RoleRefused,
            format!("{name} may not freeze an administrator: a security admin or owner may"),
        )),
        false => Ok(()),
    }
}

/// Changing or ending what is one's own needs no role.
fn is_about_oneself(state: &State, name: &Principal, member: &Member, action: &Action) -> bool {
    match action {
        Action::RotateKey { name: target, .. } => {
            target == name && member.kind == MemberKind::Machine
        }
        Action::RevokePrincipal { name: target } => target == name,
        Action::RevokeCredential { credential } => member.credential(credential).is_some(),
        Action::Cancel { intent } => state
            .intents
            .get(intent)
            .is_some_and(|open| open.principal() == name),
        _ => false,
    }
}

/// Grants that an action gives, replaces or takes away.
fn grants_touched(state: &State, action: &Action) -> Vec<Grant> {
    let (given, target) = match action {
        Action::InvitePerson { name, grants, .. } => (grants.clone(), state.people.member(name)),
        Action::AdmitMachine { grants, .. } | Action::IssueReadToken { grants, .. } => {
            (grants.clone(), None)
        }
        Action::SetGrants { name, grants } => (grants.clone(), state.people.member(name)),
        Action::RotateKey { name, .. } | Action::RevokePrincipal { name } => {
            let invited = state.people.invitation(name);
            let invited = invited.map(|open| open.grants.clone());
            (invited.unwrap_or_default(), state.people.member(name))
        }
        Action::RevokeCredential { credential } => (Vec::new(), holder(state, credential)),
        _ => (Vec::new(), None),
    };
    let held = target.map(|member| member.grants.clone());
    given.into_iter().chain(held.unwrap_or_default()).collect()
}

fn touches_break_glass(state: &State, action: &Action) -> bool {
    let target = match action {
        Action::RotateKey { name, .. } => state.people.member(name),
        _ => None,
    };
    target.is_some_and(|member| member.kind == MemberKind::BreakGlass)
}

/// What cannot be done to somebody, whoever asks.
fn check_targets(state: &State, action: &Action) -> Result<(), Refusal> {
    let target = match action {
        Action::SetGrants { name, .. } | Action::RevokePrincipal { name } => {
            state.people.member(name)
        }
        Action::RevokeCredential { credential } => holder(state, credential),
        _ => return Ok(()),
    };
    let Some(target) = target else {
        return Ok(());
    };
    if target.kind == MemberKind::BreakGlass {
        return Err(Refusal::new(
            RefusalCode::LastOne,
            "the break-glass key cannot be revoked or limited: rotate it instead",
        ));
    }
    if let Action::SetGrants { grants, .. } = action {
        let fits = match target.kind {
            MemberKind::Machine => check_machine(grants).is_ok(),
            MemberKind::Token => grants
                .iter()
                .all(|grant| matches!(grant.role, Role::Viewer | Role::Auditor)),
            MemberKind::Person | MemberKind::BreakGlass => true,
        };
        if !fits {
            return Err(Refusal::new(
                RefusalCode::RoleRefused,
                "machines can be viewer, auditor, operator or fleet-admin, tokens viewer or auditor",
            ));
        }
    }
    Ok(())
}

fn holder<'a>(state: &'a State, credential: &CredentialId) -> Option<&'a Member> {
    state
        .people
        .credential(credential)
        .map(|(_, member, _)| member)
}

fn frozen_member<'a>(state: &'a State, scope: &FreezeScope) -> Option<&'a Member> {
    match scope {
        FreezeScope::Principal(name) => state.people.member(name),
        FreezeScope::Credential(credential) => holder(state, credential),
        FreezeScope::Everything | FreezeScope::Fleet(_) => None,
    }
}

/// Where a role has to hold for an action.
fn scope(state: &State, action: &Action, eids: &[Eid]) -> FleetScope {
    match action {
        Action::Operate { .. }
        | Action::RegisterDevices { .. }
        | Action::RetireDevices { .. }
        | Action::ReassociateDevices { .. } => {
            FleetScope::Only(state.fleets_concerned(action, eids))
        }
        Action::Cancel { intent } => match state.intents.get(intent) {
            Some(open) if open.intent().action.devices().is_some() => {
                FleetScope::Only(open.fleets().clone())
            }
            _ => FleetScope::All,
        },
        Action::InvitePerson { .. }
        | Action::AdmitMachine { .. }
        | Action::RotateKey { .. }
        | Action::RevokeCredential { .. }
        | Action::RevokePrincipal { .. }
        | Action::SetGrants { .. }
        | Action::IssueReadToken { .. } => scope_of(&grants_touched(state, action)),
        Action::Freeze { scope } | Action::Thaw { scope } => match scope {
            FreezeScope::Everything => FleetScope::All,
            FreezeScope::Fleet(fleet) => FleetScope::Only(BTreeSet::from([fleet.clone()])),
            FreezeScope::Principal(_) | FreezeScope::Credential(_) => {
                frozen_member(state, scope).map_or(FleetScope::All, |held| scope_of(&held.grants))
            }
        },
        Action::SetPolicy { .. }
        | Action::AddSigningKey { .. }
        | Action::RetireSigningKey { .. } => FleetScope::All,
    }
}

/// The fleets of grants together. Of none: everything, for lack of anything smaller.
fn scope_of(grants: &[Grant]) -> FleetScope {
    let mut fleets = BTreeSet::new();
    for grant in grants {
        match &grant.fleets {
            FleetScope::All => return FleetScope::All,
            FleetScope::Only(these) => fleets.extend(these.iter().cloned()),
        }
    }
    match fleets.is_empty() {
        true => FleetScope::All,
        false => FleetScope::Only(fleets),
    }
}
