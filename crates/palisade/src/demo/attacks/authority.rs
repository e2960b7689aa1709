//! Whoever took the console, the eIM or its disk over, and what the authority does about it.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use intent::action::{FreezeScope, OperationKind};
use intent::api::{Account, IntentState, Propose, Reference, Refusal, RefusalCode, SignedPackage};
use intent::command::Command;
use intent::key_file::ClientKey;
use intent::policy::ApprovalRule;
use intent::{Action, Decision, DeviceSet, IntentId, Role};
use ledger::{Bundle, CheckError, Finding, FolderStore, check_bundle, layout, verify};
use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::EuiccPackageRequest;

use super::super::authority::{Office, Who, admission};
use super::super::pki::EID_PREFIX;
use super::super::report::{Reaction, Trial};
use super::super::snapshot::{Cards, Snapshot};
use super::arena::{Arena, InFlight, VICTIM, all_refused};
use crate::adapters::SystemEntropy;
use crate::proposing::Prover;

pub(super) const AUTHORITY_NAME: &str = "authority";
const VERIFIER: &str = "ledger verification";

/// What a machine and a person signed about the victim is sent on with another profile, and for another device.
pub(super) fn altered(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let iccid = arena.victim()?.disabled()?;
    let commands = arena.enabling()?;
    let eid = arena.eid()?;
    let (other, bootstrap) = (arena.other()?.eid, arena.other()?.bootstrap);
    let changes = [
        (iccid.to_string(), bootstrap.to_string()),
        (eid.to_string(), other.to_string()),
    ];
    let mut requests = Vec::new();
    for who in [Who::Machine, Who::Owner] {
        for (old, new) in &changes {
            let (_, mut request) = office(arena).proven(who, operate(eid, commands.clone()))?;
            let intent = request.intent.replace(old, new);
            ensure!(intent != request.intent, "{old} is not in the intent");
            request.intent = intent;
            requests.push(request);
        }
    }
    watch(arena, |arena| {
        let tried = requests
            .into_iter()
            .map(|request| refused(propose(arena, request), RefusalCode::ProofInvalid));
        all_refused(
            tried.collect::<Vec<_>>(),
            AUTHORITY_NAME,
            "the proof covers each octet: proof-invalid",
        )
    })
}

/// The victim did what was asked for. Later it is asked for again, in the very same words.
pub(super) fn replayed(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (eid, commands) = (arena.eid()?, arena.enabling()?);
    let ((id, _), request) = office(arena).proven(Who::Machine, operate(eid, commands))?;
    office(arena).engine().propose(request.clone())?;
    carried_out(arena, id)?;
    watch(arena, |arena| {
        Ok(refused(propose(arena, request), RefusalCode::Replayed))
    })
}

/// Deleting needs a second person. The owner asks for it, and approves it.
pub(super) fn same_person(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (eid, iccid) = (arena.eid()?, arena.victim()?.disabled()?);
    let before = office(arena).change_policy(|policy| {
        policy.approvals.push(ApprovalRule {
            kinds: [OperationKind::Delete].into(),
            fleets: Default::default(),
            devices_over: 0,
            approvers: 1,
        });
    })?;
    let deletion = operate(eid, vec![Command::Delete { iccid }]);
    let ((id, _), request) = office(arena).proven(Who::Owner, deletion)?;
    let status = office(arena).engine().propose(request)?;
    ensure!(
        status.state == IntentState::Waiting,
        "the intent is {:?}",
        status.state
    );
    let trial = watch(arena, |arena| {
        let approval = office(arena).decision(Who::Owner, id, Decision::Approve)?;
        let decided = office(arena).engine().decide(id, approval);
        let signed = sign(arena, Account::Intent(id), eid)?;
        all_refused(
            [
                refused(decided, RefusalCode::SamePerson),
                refused(signed, RefusalCode::NotApproved),
            ],
            AUTHORITY_NAME,
            "somebody else has to: same-person",
        )
    })?;
    let rejection = office(arena).decision(Who::Second, id, Decision::Reject)?;
    office(arena).engine().decide(id, rejection)?;
    office(arena).change_policy(|policy| *policy = before)?;
    Ok(trial)
}

/// Signatures for an intent that there is not, for a device that an intent is not about, for one that nobody registered, and
/// for something that is not signed but released.
pub(super) fn unasked(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let commands = arena.enabling()?;
    let InFlight { operation, .. } = arena.in_flight(commands)?;
    let asked = arena.world.operation(operation)?.intent;
    let asked = asked.context("the operation has no intent")?;
    let (eid, other) = (arena.eid()?, arena.other()?.eid);
    let stranger = arena.unused_eid(EID_PREFIX)?;
    let trial = watch(arena, |arena| {
        let mut reactions = Vec::new();
        for (id, eid, code) in [
            (IntentId::of(b"nothing"), eid, RefusalCode::Unknown),
            (asked, other, RefusalCode::OutOfScope),
            (asked, stranger, RefusalCode::NotAssociated),
        ] {
            let account = Account::Intent(id);
            reactions.push(refused(sign(arena, account.clone(), eid)?, code));
            reactions.push(refused(release(arena, account, eid)?, code));
        }
        let released = release(arena, Account::Intent(asked), eid)?;
        reactions.push(refused(released, RefusalCode::Malformed));
        all_refused(
            reactions,
            AUTHORITY_NAME,
            "signs by its own record: unknown, out-of-scope, not-associated",
        )
    })?;
    arena.settle(operation, trial)
}

/// While a package is under way, the eIM has it signed again and again.
pub(super) fn twice(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let commands = arena.enabling()?;
    let InFlight {
        operation, package, ..
    } = arena.in_flight(commands)?;
    let asked = arena.world.operation(operation)?.intent;
    let asked = asked.context("the operation has no intent")?;
    let eid = arena.eid()?;
    let first = &package.euicc_package_signed;
    let trial = watch(arena, |arena| {
        for _ in 0..3 {
            let again = sign(arena, Account::Intent(asked), eid)?;
            let again = again.context("the authority does not repeat itself")?;
            let octets = EuiccPackageRequest::from_der(&again.package)?;
            if octets.euicc_package_signed.bytes() != first.bytes() {
                let other = format!("signed another package, counter {}", again.counter);
                return Ok(Reaction::through(other));
            }
        }
        let same = format!("the same octets each time, counter {}", first.counter_value);
        Ok(Reaction::refused(AUTHORITY_NAME, same))
    })?;
    arena.settle(operation, trial)
}

/// The eIM may have things listed without being asked to; not as often as it likes.
pub(super) fn reads(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let eid = arena.eid()?;
    let before = office(arena).change_policy(|policy| policy.quotas.reads_per_device_hour = 1)?;
    // Perhaps it has had its read in this hour, perhaps not.
    let _ = sign(arena, Account::ListProfiles("demo".to_owned()), eid)?;
    let trial = watch(arena, |arena| {
        let profiles = sign(arena, Account::ListProfiles("demo-more".to_owned()), eid)?;
        let eims = sign(arena, Account::ListEims("demo-more".to_owned()), eid)?;
        all_refused(
            [profiles, eims].map(|answer| refused(answer, RefusalCode::QuotaExceeded)),
            AUTHORITY_NAME,
            "reads per device and hour: quota-exceeded",
        )
    })?;
    office(arena).change_policy(|policy| *policy = before)?;
    Ok(trial)
}

/// A machine's key is revoked. What it asks for on its next call is refused, and what it has asked for is not signed.
pub(super) fn revoked(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (eid, commands) = (arena.eid()?, arena.enabling()?);
    let key = ClientKey::generate("stolen".parse()?, &mut SystemEntropy);
    let credential = key.id();
    office(arena).done(Who::Owner, admission(&key, &[Role::Operator]))?;
    let mut thief = Prover::Key(key);
    let mut asked_for =
        |arena: &Arena<'_, '_>| office(arena).proven_by(&mut thief, operate(eid, commands.clone()));
    let ((waiting, _), request) = asked_for(arena)?;
    office(arena).engine().propose(request)?;
    office(arena).done(Who::Owner, Action::RevokeCredential { credential })?;
    let trial = watch(arena, |arena| {
        let (_, request) = asked_for(arena)?;
        let proposed = propose(arena, request);
        let signed = sign(arena, Account::Intent(waiting), eid)?;
        all_refused(
            [
                refused(proposed, RefusalCode::CredentialInvalid),
                refused(signed, RefusalCode::CredentialInvalid),
            ],
            AUTHORITY_NAME,
            "the very next call, and what waits: credential-invalid",
        )
    })?;
    // The eIM has it in its queue, and gives it up when it is refused.
    arena.victim()?.poll();
    Ok(trial)
}

/// An approved operation is under way when somebody stops everything. Two people let it go on.
pub(super) fn frozen(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (eid, commands) = (arena.eid()?, arena.enabling()?);
    let operation = arena.world.propose(eid, commands)?;
    let asked = arena.world.operation(operation)?.intent;
    let asked = asked.context("the operation has no intent")?;
    let scope = FreezeScope::Everything;
    let thaw = Action::Thaw {
        scope: scope.clone(),
    };
    office(arena).done(Who::Second, Action::Freeze { scope })?;
    let ((thawing, _), request) = office(arena).proven(Who::Owner, thaw)?;
    let trial = watch(arena, |arena| {
        office(arena).engine().propose(request)?;
        let approval = office(arena).decision(Who::Owner, thawing, Decision::Approve)?;
        let thawed = office(arena).engine().decide(thawing, approval);
        let own = sign(arena, Account::ListEims("frozen".to_owned()), eid)?;
        let signed = sign(arena, Account::Intent(asked), eid)?;
        all_refused(
            [
                refused(thawed, RefusalCode::SamePerson),
                refused(own, RefusalCode::Frozen),
                refused(signed, RefusalCode::Frozen),
            ],
            AUTHORITY_NAME,
            "nothing is signed until two people thaw it: frozen",
        )
    })?;
    let approval = office(arena).decision(Who::Second, thawing, Decision::Approve)?;
    let thawed = office(arena).engine().decide(thawing, approval)?;
    ensure!(
        thawed.state == IntentState::Done,
        "the thaw is {:?}",
        thawed.state
    );
    arena.settle(operation, trial)
}

/// A copy of the record in which one entry is another.
pub(super) fn altered_ledger(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let key = office(arena).public_key()?;
    watch(arena, |arena| {
        let copy = arena.world.folder.inner("altered-ledger")?;
        office(arena).engine().checkpoint(0, true)?;
        copy_files(&office(arena).ledger(), &copy)?;
        let untouched = verify(&FolderStore::reader(&copy), &key, None, &mut |_| {});
        ensure!(untouched.is_good(), "the copy is not good: {untouched}");
        let number = untouched.entries / 2;
        alter(&copy, number, untouched.entries)?;
        let report = verify(&FolderStore::reader(&copy), &key, None, &mut |_| {});
        fs::remove_dir_all(&copy).context("the copy cannot be removed")?;
        Ok(match report.findings.as_slice() {
            [finding @ Finding::Altered { number: found }] if *found == number => {
                Reaction::refused(VERIFIER, finding.to_string())
            }
            _ => Reaction::through(format!("entry {number} was altered: {report}")),
        })
    })
}

/// The proven history of the victim is shown without one of its entries: in the middle, and at the end.
pub(super) fn shortened_history(arena: &mut Arena<'_, '_>) -> anyhow::Result<Trial> {
    let (eid, key) = (arena.eid()?, office(arena).public_key()?);
    watch(arena, |arena| {
        let whole = office(arena).engine().history(eid)?;
        check_bundle(whole.as_bytes(), &key)?;
        let bundle: Bundle = serde_json::from_str(&whole)?;
        let last = bundle.entries.len().saturating_sub(1);
        let without = |index| -> anyhow::Result<Result<(), CheckError>> {
            let mut shorter = bundle.clone();
            shorter.entries.remove(index);
            Ok(check_bundle(&serde_json::to_vec(&shorter)?, &key).map(|_| ()))
        };
        Ok(match (without(last / 2)?, without(last)?) {
            (
                Err(CheckError::Gap { wanted, found, .. }),
                Err(CheckError::Incomplete { recorded, .. }),
            ) => {
                let rule = format!(
                    "entries are numbered and counted: {found} instead of {wanted}; {recorded} are recorded"
                );
                Reaction::refused(VERIFIER, rule)
            }
            other => Reaction::through(format!("checked with {other:?}")),
        })
    })
}

/// Commands on one device.
pub(super) fn operate(eid: Eid, commands: Vec<Command>) -> Action {
    Action::Operate {
        devices: DeviceSet::one(eid),
        commands,
    }
}

/// What the eIM gets that asks for a signature.
pub(super) fn sign(
    arena: &Arena<'_, '_>,
    account: Account,
    eid: Eid,
) -> anyhow::Result<Result<SignedPackage, Refusal>> {
    let answers = office(arena)
        .engine()
        .sign(vec![Reference { account, eid }])?;
    answers.into_iter().next().context("there is no answer")
}

/// A refusal with exactly this code, or the attack got through.
pub(super) fn refused<T>(answer: Result<T, Refusal>, code: RefusalCode) -> Reaction {
    match answer {
        Err(refusal) if refusal.code == code => Reaction::refused(AUTHORITY_NAME, word(code)),
        Err(refusal) => Reaction::through(format!(
            "refused for another reason: {}: {refusal}",
            word(refusal.code)
        )),
        Ok(_) => Reaction::through(format!("accepted instead of {}", word(code))),
    }
}

fn release(
    arena: &Arena<'_, '_>,
    account: Account,
    eid: Eid,
) -> anyhow::Result<Result<(), Refusal>> {
    let answers = office(arena)
        .engine()
        .release(vec![Reference { account, eid }])?;
    let answer = answers.into_iter().next().context("there is no answer")?;
    Ok(answer.map(|_| ()))
}

fn propose(arena: &Arena<'_, '_>, request: Propose) -> Result<(), Refusal> {
    office(arena).engine().propose(request).map(|_| ())
}

/// A code as it goes over the wire.
fn word(code: RefusalCode) -> String {
    let value = serde_json::to_value(code).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn office<'a>(arena: &'a Arena<'_, '_>) -> &'a Office {
    arena.world.servers.eim.office()
}

/// Watches the authority as well as everything else.
fn watch(
    arena: &mut Arena<'_, '_>,
    strike: impl FnOnce(&mut Arena<'_, '_>) -> anyhow::Result<Reaction>,
) -> anyhow::Result<Trial> {
    let before = Snapshot::of_authority(arena.world)?;
    let mut trial = arena.watch(Cards::Memory, |arena| strike(arena))?;
    let after = Snapshot::of_authority(arena.world)?;
    trial.changes.extend(before.changes(&after));
    Ok(trial)
}

/// Lets the victim carry out the operation of an intent.
fn carried_out(arena: &mut Arena<'_, '_>, id: IntentId) -> anyhow::Result<()> {
    let eim = arena.world.eim()?;
    arena.world.servers.wait(eim.follow())?;
    let operations = eim.operations_of(id, None, 1)?;
    let operation = operations.first().context("there is no operation")?.id;
    arena.world.fleet.device_mut(VICTIM)?.poll();
    arena
        .world
        .expect(operation, eim::OperationState::Done)
        .map(|_| ())
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for found in fs::read_dir(from)? {
        let found = found?;
        let target = to.join(found.file_name());
        match found.file_type()?.is_dir() {
            true => copy_files(&found.path(), &target)?,
            false => {
                fs::copy(found.path(), target)?;
            }
        }
    }
    Ok(())
}

/// Turns a bit in an entry, which stands in its bundle behind two octets of length.
fn alter(ledger: &Path, number: u64, size: u64) -> anyhow::Result<()> {
    const BUNDLE: u64 = 256;
    let index = number / BUNDLE;
    let width = (size - index * BUNDLE).min(BUNDLE);
    let path = ledger.join(layout::bundle_path(index, width));
    let mut octets = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
    let mut rest = octets.as_mut_slice();
    for _ in 0..number % BUNDLE {
        rest = entry(rest)?.1;
    }
    match entry(rest)?.0 {
        [.., last] => *last ^= 1,
        [] => bail!("the entry is empty"),
    }
    fs::write(&path, octets)?;
    Ok(())
}

/// The first entry, and what is behind it.
fn entry(octets: &mut [u8]) -> anyhow::Result<(&mut [u8], &mut [u8])> {
    let [high, low, rest @ ..] = octets else {
        bail!("the bundle ends early");
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    rest.split_at_mut_checked(length)
        .context("the bundle ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_code_is_a_refusal() {
        let answer = |code| Err::<(), _>(Refusal::new(code, "no"));
        let expected = RefusalCode::ProofInvalid;
        assert_eq!(
            refused(answer(expected), expected),
            Reaction::refused(AUTHORITY_NAME, "proof-invalid")
        );
        for through in [
            refused(answer(RefusalCode::Replayed), expected),
            refused(Ok(()), expected),
        ] {
            assert!(matches!(through, Reaction::Through(_)), "{through:?}");
        }
    }

    #[test]
    fn one_bit_of_the_named_entry_is_turned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(layout::bundle_path(0, 3));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bundle = [0, 1, b'a', 0, 2, b'b', b'c', 0, 1, b'd'];
        fs::write(&path, bundle).unwrap();
        alter(folder.path(), 1, 3).unwrap();
        let mut expected = bundle;
        expected[6] ^= 1;
        assert_eq!(fs::read(&path).unwrap(), expected);
        fs::write(&path, &bundle[..6]).unwrap();
        assert!(alter(folder.path(), 1, 3).is_err());
    }
}
