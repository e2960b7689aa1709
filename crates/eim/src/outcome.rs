//! What a signed result means: for reading, and for what is known about the eUICC.

use rsp::ids::{Eid, Iccid};
use rsp::sgp22::{
    PprIds, ProfileClass, ProfileInfo, ProfileInfoListResponse, ProfileState, StoreMetadataRequest,
};
use rsp::sgp32::{
    AddEimResult, AddEimResultCode, ConfigureImmediateEnableResult, DeleteEimResult,
    DeleteProfileResult, DisableProfileResult, EnableProfileResult, EuiccResultData, ListEimResult,
    OkOrUndefinedError, RollbackProfileResult, SetFallbackAttributeResult,
    UnsetFallbackAttributeResult, UpdateEimResult,
};
use store::{SqlError, Tx};

use crate::tables::inventory::{self, AssociatedEim, Profile};
use crate::{CommandResult, OperationState, Outcome};
use intent::command::Command;

/// Summarises the results of a package.
pub(crate) fn of_results(
    commands: &[Command],
    results: &[EuiccResultData],
) -> (OperationState, Outcome) {
    let rows: Vec<CommandResult> = results.iter().map(describe).collect();
    let failed = rows.iter().filter(|row| !row.ok).count();
    let missing = commands.len().saturating_sub(rows.len());
    let ended_early = results.iter().find_map(|result| match result {
        EuiccResultData::ProcessingTerminated(code) => Some(*code),
        _ => None,
    });
    if let Some(code) = ended_early {
        let executed = rows.len().saturating_sub(1);
        let summary = format!(
            "ended early, {code}: {executed} of {} commands were executed",
            commands.len()
        );
        let outcome = Outcome {
            summary,
            results: rows,
        };
        return (OperationState::Failed, outcome);
    }
    let summary = match (failed, missing) {
        (0, 0) => "executed".to_owned(),
        (0, missing) => format!("{missing} of {} commands were not executed", commands.len()),
        (failed, _) => format!("{failed} of {} commands failed", commands.len()),
    };
    let state = if failed == 0 && missing == 0 {
        OperationState::Done
    } else {
        OperationState::Failed
    };
    (
        state,
        Outcome {
            summary,
            results: rows,
        },
    )
}

/// Whether the result takes back an enable (SGP.32 section 5.9.16).
pub(crate) fn is_rollback(results: &[EuiccResultData]) -> bool {
    results.iter().any(|result| {
        matches!(
            result,
            EuiccResultData::RollbackResult(RollbackProfileResult::Ok)
        )
    })
}

fn describe(result: &EuiccResultData) -> CommandResult {
    use EuiccResultData as R;
    let row = |name: &str, ok: bool, detail: String| CommandResult {
        name: name.to_owned(),
        ok,
        detail,
    };
    match result {
        R::EnableResult(code) => row(
            "enableResult",
            *code == EnableProfileResult::Ok,
            code.to_string(),
        ),
        R::DisableResult(code) => row(
            "disableResult",
            *code == DisableProfileResult::Ok,
            code.to_string(),
        ),
        R::DeleteResult(code) => row(
            "deleteResult",
            *code == DeleteProfileResult::Ok,
            code.to_string(),
        ),
        R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(profiles)) => row(
            "listProfileInfoResult",
            true,
            format!("{} profiles", profiles.len()),
        ),
        R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListError(code)) => {
            row("listProfileInfoResult", false, code.to_string())
        }
        R::ListProfileInfoResult(_) => row(
            "listProfileInfoResult",
            false,
            "unknown alternative".to_owned(),
        ),
        R::GetRatResult(rules) => row("getRATResult", true, format!("{} rules", rules.len())),
        R::ConfigureImmediateEnableResult(code) => row(
            "configureImmediateEnableResult",
            *code == ConfigureImmediateEnableResult::Ok,
            code.to_string(),
        ),
        R::AddEimResult(AddEimResult::AssociationToken(token)) => {
            row("addEimResult", true, format!("association token {token}"))
        }
        R::AddEimResult(AddEimResult::AddEimResultCode(code)) => row(
            "addEimResult",
            *code == AddEimResultCode::Ok,
            code.to_string(),
        ),
        R::AddEimResult(_) => row("addEimResult", false, "unknown alternative".to_owned()),
        R::DeleteEimResult(code) => row(
            "deleteEimResult",
            matches!(code, DeleteEimResult::Ok | DeleteEimResult::LastEimDeleted),
            code.to_string(),
        ),
        R::UpdateEimResult(code) => row(
            "updateEimResult",
            *code == UpdateEimResult::Ok,
            code.to_string(),
        ),
        R::ListEimResult(ListEimResult::EimIdList(eims)) => {
            let names: Vec<&str> = eims.iter().map(|eim| eim.eim_id.as_str()).collect();
            row("listEimResult", true, names.join(", "))
        }
        R::ListEimResult(ListEimResult::ListEimError(code)) => {
            row("listEimResult", false, code.to_string())
        }
        R::ListEimResult(_) => row("listEimResult", false, "unknown alternative".to_owned()),
        R::RollbackResult(code) => row(
            "rollbackResult",
            *code == RollbackProfileResult::Ok,
            code.to_string(),
        ),
        R::SetFallbackAttributeResult(code) => row(
            "setFallbackAttributeResult",
            *code == SetFallbackAttributeResult::Ok,
            code.to_string(),
        ),
        R::UnsetFallbackAttributeResult(code) => row(
            "unsetFallbackAttributeResult",
            *code == UnsetFallbackAttributeResult::Ok,
            code.to_string(),
        ),
        R::ProcessingTerminated(code) => row("processingTerminated", false, code.to_string()),
        R::SetDefaultDpAddressResult(response) => row(
            "setDefaultDpAddressResult",
            response.set_default_dp_address_result == OkOrUndefinedError::Ok,
            response.set_default_dp_address_result.to_string(),
        ),
        R::Unknown(raw) => row("unknown", false, format!("tag {}", raw.tag())),
    }
}

/// Brings the inventory in line with what the eUICC says it did.
pub(crate) fn apply(
    tx: &Tx<'_>,
    eid: Eid,
    commands: &[Command],
    results: &[EuiccResultData],
    at: i64,
) -> Result<(), SqlError> {
    use EuiccResultData as R;
    for (command, result) in commands.iter().zip(results) {
        match (command, result) {
            (Command::Enable { iccid, .. }, R::EnableResult(EnableProfileResult::Ok)) => {
                inventory::set_enabled(tx, eid, Some(*iccid), at)?;
            }
            (Command::Disable { .. }, R::DisableResult(DisableProfileResult::Ok)) => {
                inventory::set_enabled(tx, eid, None, at)?;
            }
            (Command::Delete { iccid }, R::DeleteResult(DeleteProfileResult::Ok)) => {
                inventory::remove_profile(tx, eid, *iccid)?;
            }
            (
                Command::SetFallback { iccid },
                R::SetFallbackAttributeResult(SetFallbackAttributeResult::Ok),
            ) => {
                inventory::set_fallback(tx, eid, Some(*iccid), at)?;
            }
            (
                Command::UnsetFallback,
                R::UnsetFallbackAttributeResult(UnsetFallbackAttributeResult::Ok),
            ) => {
                inventory::set_fallback(tx, eid, None, at)?;
            }
            (
                Command::ListProfiles,
                R::ListProfileInfoResult(ProfileInfoListResponse::ProfileInfoListOk(profiles)),
            ) => replace_profiles(tx, eid, profiles, at)?,
            (Command::ListEims, R::ListEimResult(ListEimResult::EimIdList(eims))) => {
                let eims: Vec<AssociatedEim> = eims
                    .iter()
                    .map(|eim| AssociatedEim {
                        eim_id: eim.eim_id.to_string(),
                        id_type: eim.eim_id_type.map(|kind| kind.number()),
                        seen_at: at,
                    })
                    .collect();
                inventory::replace_eims(tx, eid, &eims)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn replace_profiles(tx: &Tx<'_>, eid: Eid, infos: &[ProfileInfo], at: i64) -> Result<(), SqlError> {
    // A Profile without an ICCID cannot be told from others; no eUICC lists one.
    let profiles = infos
        .iter()
        .filter_map(|info| Some(listed(info.iccid?, info, at)));
    inventory::replace_profiles(tx, eid, &profiles.collect::<Vec<_>>(), at)
}

fn listed(iccid: Iccid, info: &ProfileInfo, at: i64) -> Profile {
    Profile {
        iccid,
        enabled: info.profile_state == Some(ProfileState::Enabled),
        class: class_word(info.profile_class.unwrap_or(ProfileClass::Operational)),
        name: info.profile_name.clone().unwrap_or_default(),
        provider: info.service_provider_name.clone().unwrap_or_default(),
        nickname: info.profile_nickname.clone(),
        isdp_aid: info
            .isdp_aid
            .as_ref()
            .map(|aid| hex::encode_upper(aid.octets())),
        fallback_attribute: info.fallback_attribute.unwrap_or(false),
        fallback_allowed: info.fallback_allowed.unwrap_or(false),
        ecall: info.ecall_indication.unwrap_or(false),
        policy_rules: info
            .profile_policy_rules
            .as_ref()
            .map(rules_word)
            .unwrap_or_default(),
        updated_at: at,
    }
}

/// A Profile that was just installed: disabled, with what its metadata says.
pub(crate) fn installed(metadata: &StoreMetadataRequest, at: i64) -> Profile {
    Profile {
        iccid: metadata.iccid,
        enabled: false,
        class: class_word(metadata.class()),
        name: metadata.profile_name.clone(),
        provider: metadata.service_provider_name.clone(),
        nickname: None,
        isdp_aid: None,
        fallback_attribute: false,
        fallback_allowed: metadata.fallback_allowed.unwrap_or(false),
        ecall: metadata.ecall_indication.unwrap_or(false),
        policy_rules: metadata
            .profile_policy_rules
            .as_ref()
            .map(rules_word)
            .unwrap_or_default(),
        updated_at: at,
    }
}

/// A Profile of which nothing but the ICCID is known.
pub(crate) fn installed_unseen(iccid: Iccid, at: i64) -> Profile {
    Profile {
        iccid,
        enabled: false,
        class: String::new(),
        name: String::new(),
        provider: String::new(),
        nickname: None,
        isdp_aid: None,
        fallback_attribute: false,
        fallback_allowed: false,
        ecall: false,
        policy_rules: String::new(),
        updated_at: at,
    }
}

fn class_word(class: ProfileClass) -> String {
    match class {
        ProfileClass::Test => "test".to_owned(),
        ProfileClass::Provisioning => "provisioning".to_owned(),
        ProfileClass::Operational => "operational".to_owned(),
        other => other.to_string(),
    }
}

fn rules_word(rules: &PprIds) -> String {
    [(PprIds::PPR1, "PPR1"), (PprIds::PPR2, "PPR2")]
        .into_iter()
        .filter(|(bit, _)| rules.contains(*bit))
        .map(|(_, name)| name)
        .collect::<Vec<_>>()
        .join(" ")
}
