//! The list of notifications and package results that wait for acknowledgement (SGP.22 v2.5 sections 5.7.9 to 5.7.11;
//! SGP.32 adds the package results).

use rsp::sgp22::{
    DeleteNotificationStatus, ListNotificationRequest, ListNotificationResponse, NotificationEvent,
    NotificationMetadata, NotificationSentRequest, NotificationSentResponse,
    OtherSignedNotification, PendingNotification,
};
use rsp::sgp32::{
    EuiccPackageResult, RetrieveNotificationsListRequest, RetrieveNotificationsListResponse,
    RetrieveNotificationsSearchCriteria as Criteria,
};

use super::Answer;
use crate::platform::{Failure, Platform};
use crate::state::{KeptNotification, Pending};

pub(super) fn list(
    platform: &Platform,
    request: &ListNotificationRequest,
) -> Result<Answer, Failure> {
    let wanted = request.profile_management_operation.as_ref();
    let list = platform
        .state
        .pending
        .iter()
        .filter_map(Pending::metadata)
        .filter(|metadata| wanted.is_none_or(|events| is_one_of(metadata, events)))
        .cloned()
        .collect();
    Ok(Answer::of(
        &ListNotificationResponse::NotificationMetadataList(list),
    ))
}

pub(super) fn retrieve(
    platform: &Platform,
    request: &RetrieveNotificationsListRequest,
) -> Result<Answer, Failure> {
    use RetrieveNotificationsListResponse as Response;
    let response = match &request.search_criteria {
        None => Response::NotificationList(notifications(platform, |_| true)),
        Some(Criteria::ProfileManagementOperation(events)) => {
            Response::NotificationList(notifications(platform, |metadata| {
                is_one_of(metadata, events)
            }))
        }
        Some(Criteria::EuiccPackageResults(_)) => {
            Response::EuiccPackageResultList(results(platform, |_| true))
        }
        Some(Criteria::SeqNumber(wanted)) => {
            let results = results(platform, |number| number == *wanted);
            if results.is_empty() {
                Response::NotificationList(notifications(platform, |metadata| {
                    metadata.seq_number == *wanted
                }))
            } else {
                Response::EuiccPackageResultList(results)
            }
        }
        Some(Criteria::Unknown(_)) => Response::NotificationList(Vec::new()),
    };
    Ok(Answer::of(&response))
}

/// ES10b.RemoveNotificationFromList, for notifications and package results alike.
pub(super) fn remove(
    platform: &mut Platform,
    request: &NotificationSentRequest,
) -> Result<Answer, Failure> {
    let pending = &mut platform.state.pending;
    let before = pending.len();
    pending.retain(|entry| entry.seq_number() != Some(request.seq_number));
    let delete_notification_status = if pending.len() < before {
        DeleteNotificationStatus::Ok
    } else {
        DeleteNotificationStatus::NothingToDelete
    };
    Ok(Answer::of(&NotificationSentResponse {
        delete_notification_status,
        extensions: Default::default(),
    }))
}

fn is_one_of(metadata: &NotificationMetadata, events: &NotificationEvent) -> bool {
    events
        .0
        .bits()
        .any(|event| metadata.profile_management_operation.contains(event))
}

fn notifications(
    platform: &Platform,
    is_wanted: impl Fn(&NotificationMetadata) -> bool,
) -> Vec<PendingNotification> {
    platform
        .state
        .pending
        .iter()
        .filter(|entry| entry.metadata().is_some_and(&is_wanted))
        .filter_map(|entry| match entry {
            Pending::Notification(kept) => with_certificates(platform, kept),
            Pending::InstallationResult(result) => Some(
                PendingNotification::ProfileInstallationResult(result.clone()),
            ),
            Pending::PackageResult(_) | Pending::Unknown(_) => None,
        })
        .collect()
}

/// Identities are never removed, so the certificates are always there.
fn with_certificates(platform: &Platform, kept: &KeptNotification) -> Option<PendingNotification> {
    let identity = platform.identity(Some(&kept.ci_key_id[..]))?;
    Some(PendingNotification::OtherSignedNotification(
        OtherSignedNotification {
            tbs_other_notification: kept.metadata.clone(),
            euicc_notification_signature: kept.signature.clone(),
            euicc_certificate: identity.euicc_certificate.clone(),
            eum_certificate: identity.next_in_chain.clone(),
            other_certs_in_chain: identity.others_in_chain.clone(),
            extensions: Default::default(),
        },
    ))
}

fn results(platform: &Platform, is_wanted: impl Fn(i64) -> bool) -> Vec<EuiccPackageResult> {
    platform
        .state
        .pending
        .iter()
        .filter_map(|entry| match entry {
            Pending::PackageResult(kept) if is_wanted(kept.seq_number) => Some(kept.result.clone()),
            _ => None,
        })
        .collect()
}
