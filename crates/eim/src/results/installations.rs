//! How triggered downloads end.

use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp22::{FinalResult, ProfileInstallationResult};
use rsp::sgp32::{
    ProfileDownloadError, ProfileDownloadTriggerResult, ProfileDownloadTriggerResultData,
};
use serde_json::json;

use super::{Acknowledged, Refusal};
use crate::actor::Actor;
use crate::operations::OwnRead;
use crate::tables::{inventory, notifications, operations};
use crate::{ConnectionId, Device, Eim, Operation, OperationState, Outcome, outcome};
use intent::command::Command;

impl Eim {
    pub(super) async fn take_download_result(
        &self,
        claimed: Option<Eid>,
        result: &ProfileDownloadTriggerResult,
        connection: ConnectionId,
    ) -> Result<Acknowledged, Refusal> {
        let operation = self.find(claimed, result.eim_transaction_id.as_ref(), connection)?;
        if !matches!(operation.commands.as_slice(), [Command::Download { .. }]) {
            return Err(Refusal::UnknownOperation);
        }
        match &result.profile_download_trigger_result_data {
            ProfileDownloadTriggerResultData::ProfileInstallationResult(installation) => {
                let device = self.managed(operation.eid)?;
                self.verify_installation(&device, installation)?;
                self.take_installation(&device, &operation, installation, false)
                    .await
            }
            ProfileDownloadTriggerResultData::ProfileDownloadError(error) => {
                if !self.may_trust(connection, operation.eid) {
                    return Err(Refusal::NotProven);
                }
                if !operation.state.is_over() {
                    self.end(
                        &operation,
                        OperationState::Failed,
                        &download_error(error),
                        self.now_ms(),
                    )
                    .await?;
                }
                Ok(Vec::new())
            }
            ProfileDownloadTriggerResultData::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    /// A verified ProfileInstallationResult ends the download it belongs to.
    pub(crate) async fn take_installation(
        &self,
        device: &Device,
        operation: &Operation,
        installation: &ProfileInstallationResult,
        forward: bool,
    ) -> Result<Acknowledged, Refusal> {
        let data = &installation.profile_installation_result_data;
        let seq_number = data.notification_metadata.seq_number;
        let (eid, id, at) = (device.eid, operation.id, self.now_ms());
        let iccid = data.notification_metadata.iccid;
        let (state, summary) = match &data.final_result {
            FinalResult::SuccessResult(_) => {
                (OperationState::Done, "the profile is installed".to_owned())
            }
            FinalResult::ErrorResult(error) => (
                OperationState::Failed,
                format!(
                    "the eUICC did not install it: {} in {}",
                    error.error_reason, error.bpp_command_id
                ),
            ),
            FinalResult::Unknown(_) => return Err(Refusal::Unknown),
        };
        let profile = iccid
            .filter(|_| state == OperationState::Done)
            .map(|iccid| {
                self.downloads
                    .metadata(&data.transaction_id)
                    .filter(|metadata| metadata.iccid == iccid)
                    .map_or_else(
                        || outcome::installed_unseen(iccid, at),
                        |metadata| outcome::installed(&metadata, at),
                    )
            });
        // What the eIM did not see itself, a list tells.
        let refresh = profile
            .as_ref()
            .is_some_and(|profile| profile.class.is_empty())
            .then(|| self.draft_read(eid, &Actor::system("download"), OwnRead::Profiles));
        let notification = crate::notifications::of_installation(eid, installation, at);
        let received = installation.to_der();
        let is_over = operation.state.is_over();
        let last_result = device.last_seq_number;
        let recorded = self.event(
            eid,
            &Actor::device(eid),
            "profile-installation-result",
            json!({
                "operation": id,
                "state": state,
                "seq_number": seq_number,
                "iccid": iccid.map(|iccid| iccid.to_string()),
                "summary": summary,
            }),
        );
        let outcome = Outcome {
            summary,
            results: Vec::new(),
        };
        self.change(eid, move |tx| -> Result<(), Refusal> {
            let is_new = notifications::insert(tx, &notification, forward)?;
            if is_over {
                return Ok(());
            }
            // It must be younger than what proved the eUICC's presence before the trigger was sent,
            // or somebody could end this download with the result of an older one.
            if !is_new || seq_number <= last_result {
                return Err(Refusal::Replayed);
            }
            operations::finish(tx, id, state, &outcome, Some(&received), at)?;
            if let Some(profile) = &profile {
                inventory::put_profile(tx, eid, profile)?;
            }
            if let Some(refresh) = &refresh {
                refresh.insert_once(tx)?;
            }
            recorded.append(tx)?;
            Ok(())
        })
        .await?;
        Ok(vec![seq_number])
    }
}

fn download_error(error: &ProfileDownloadError) -> String {
    match &error.profile_download_error_reason {
        Some(reason) => format!("the device did not download it: {reason}"),
        None => "the device did not download it".to_owned(),
    }
}
