//! When a signed result leaves it open what an eUICC holds, so that only a list tells.
//!
//! An eUICC that lost power in a package says so and not how far it came; and what is enabled can be a Profile of which the eIM
//! never had a list, because nobody asked for one.

use rsp::ids::{Eid, Iccid};
use rsp::sgp22::ProfileInfoListResponse;
use rsp::sgp32::{
    DisableProfileResult, EnableProfileResult, EuiccResultData, ProcessingTerminated,
    SetFallbackAttributeResult,
};
use store::{SqlError, Tx};

use crate::OperationState;
use crate::tables::{inventory, operations};
use intent::command::Command;

/// Lists of the eIM's own that fail one after the other, with nothing else proposed meanwhile, before it stops asking: an eUICC
/// may be unable to list.
const LISTINGS_MAX: u32 = 3;

/// What to look for in the inventory once a result was applied to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// That it is open how things are is certain.
    Certain,
    /// They are known, if these Profiles are.
    Unless(Vec<Iccid>),
}

/// What a result leaves open; none for most results.
pub(super) fn of_results(
    commands: &[Command],
    results: &[EuiccResultData],
    state: OperationState,
) -> Option<Doubt> {
    use EuiccResultData as R;
    if state == OperationState::RolledBack {
        // The old Profile is enabled again; which one that is, only a list tells.
        return Some(Doubt::Certain);
    }
    let terminated = results.iter().position(|result| {
        matches!(result, R::ProcessingTerminated(code) if *code != ProcessingTerminated::UnknownOrDamagedCommand)
    });
    if let Some(executed) = terminated
        && commands.iter().skip(executed).any(is_about_profiles)
    {
        return Some(Doubt::Certain);
    }
    let mut touched = Vec::new();
    for (command, result) in commands.iter().zip(results) {
        match (command, result) {
            (Command::Enable { iccid, .. }, R::EnableResult(EnableProfileResult::Ok))
            | (Command::Disable { iccid }, R::DisableResult(DisableProfileResult::Ok))
            | (
                Command::SetFallback { iccid },
                R::SetFallbackAttributeResult(SetFallbackAttributeResult::Ok),
            ) => touched.push(*iccid),
            (
                Command::ListProfiles,
                R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(_)),
            ) => {}
            (Command::ListProfiles, _) => return Some(Doubt::Certain),
            _ => {}
        }
    }
    (!touched.is_empty()).then_some(Doubt::Unless(touched))
}

impl Doubt {
    /// Whether to ask for a list, after the result was applied.
    pub(super) fn is_to_be_settled(&self, tx: &Tx<'_>, eid: Eid) -> Result<bool, SqlError> {
        if let Self::Unless(touched) = self {
            let known = inventory::profiles(tx, eid)?;
            let is_known = |iccid: &Iccid| known.iter().any(|profile| profile.iccid == *iccid);
            if touched.iter().all(is_known) {
                return Ok(false);
            }
        }
        let newest = operations::page(tx, eid, None, LISTINGS_MAX)?;
        let in_vain = newest.iter().filter(|one| {
            one.intent.is_none()
                && one.commands == [Command::ListProfiles]
                && one.state == OperationState::Failed
        });
        Ok(in_vain.count() < LISTINGS_MAX as usize)
    }
}

fn is_about_profiles(command: &Command) -> bool {
    matches!(
        command,
        Command::Enable { .. }
            | Command::Disable { .. }
            | Command::Delete { .. }
            | Command::ListProfiles
            | Command::SetFallback { .. }
            | Command::UnsetFallback
    )
}

#[cfg(test)]
mod tests {
    use rsp::sgp32::OkOrUndefinedError;
    use rsp::sgp32::SetDefaultDpAddressResponse;

    use super::*;

    fn enable() -> Command {
        Command::Enable {
            iccid: iccid(),
            rollback: false,
        }
    }

    fn iccid() -> Iccid {
        "89000123456789012341".parse().unwrap()
    }

    fn doubt(commands: &[Command], results: &[EuiccResultData]) -> Option<Doubt> {
        of_results(commands, results, OperationState::Done)
    }

    #[test]
    fn a_result_that_ended_early_leaves_open_what_it_did_to_profiles() {
        let address = Command::SetDefaultSmdp {
            address: "smdp.example.com".to_owned(),
        };
        let set = || {
            EuiccResultData::SetDefaultDpAddressResult(SetDefaultDpAddressResponse {
                set_default_dp_address_result: OkOrUndefinedError::Ok,
                extensions: Default::default(),
            })
        };
        let enabled = || EuiccResultData::EnableResult(EnableProfileResult::Ok);
        let ended = |code| EuiccResultData::ProcessingTerminated(code);
        let interrupted = || ended(ProcessingTerminated::Interruption);
        let both = [address.clone(), enable()];

        assert_eq!(doubt(&both, &[interrupted()]), Some(Doubt::Certain));
        assert_eq!(doubt(&both, &[set(), interrupted()]), Some(Doubt::Certain));
        assert_eq!(
            doubt(&[enable(), address.clone()], &[enabled(), interrupted()]),
            Some(Doubt::Unless(vec![iccid()])),
            "the enabling is certain"
        );
        assert_eq!(
            doubt(std::slice::from_ref(&address), &[interrupted()]),
            None
        );
        assert_eq!(
            doubt(
                &both,
                &[ended(ProcessingTerminated::UnknownOrDamagedCommand)]
            ),
            None,
            "a command that cannot be read did nothing"
        );
        assert_eq!(
            doubt(&[Command::ListProfiles], &[interrupted()]),
            Some(Doubt::Certain)
        );
        assert_eq!(doubt(&[address], &[set()]), None);
        let failed = EuiccResultData::EnableResult(EnableProfileResult::ProfileNotInDisabledState);
        assert_eq!(doubt(&[enable()], &[failed]), None);
    }
}
