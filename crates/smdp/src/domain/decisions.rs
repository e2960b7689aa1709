//! What the steps of a download decide and change, each in one transaction.

use std::sync::Arc;

use ::store::{ReadTx, Tx};
use jiff::Timestamp;
use rsp::ids::TransactionId;
use rsp::sgp22::{CancelSessionReason, EuiccInfo2, StoreMetadataRequest};

use super::eligibility;
use super::inventory::metadata_of;
use super::orders::order_of;
use super::profile::{ProfileEvent, ProfileState};
use super::progress::{self, Progress, ProgressPoint};
use super::server::advance;
use super::session::Authenticated;
use super::status::{Error, Fault, Refusal};
use super::text::ConfirmationHash;
use crate::config::{Config, Rebinding};
use crate::store;
use crate::store::orders::OrderRow;
use crate::store::profiles::ProfileRow;

/// What waits for an eUICC.
pub(super) struct Chosen {
    pub(super) profile: ProfileRow,
    pub(super) order: OrderRow,
    pub(super) metadata: StoreMetadataRequest,
}

/// Finds the order that an authenticated eUICC may download, and counts the attempt. A refusal
/// inside `Ok` is committed: what it changes (counts, states, messages to the operator) stays.
pub(super) fn choose(
    config: &Config,
    tx: &Tx<'_>,
    eid: &str,
    matching_id: &str,
    euicc_info2: &EuiccInfo2,
    now: Timestamp,
) -> Result<Result<Chosen, Refusal>, Error> {
    let found = match matching_id.is_empty() {
        true => store::orders::open_default(tx, eid)?,
        false => store::orders::open_by_matching_id(tx, matching_id)?,
    };
    let Some(mut order) = found else {
        return Ok(Err(Refusal::MatchingIdRefused));
    };
    if order.eid.as_deref().is_some_and(|linked| linked != eid) {
        return Ok(Err(Refusal::EidMismatch));
    }
    let mut profile = profile_of(tx, &order)?;
    if !matches!(
        profile.state,
        ProfileState::Released | ProfileState::Downloaded
    ) {
        return Ok(Err(Refusal::ProfileNotReleased));
    }
    if order.expires_at.is_some_and(|end| end <= now) {
        return Ok(Err(Refusal::OrderExpired));
    }
    let metadata = metadata_of(&profile)?.into_value();
    let memory = store::profiles::package_memory(tx, profile.package_id)?;
    let checked = if order.attempts >= config.limits.download_attempts_max {
        advance(tx, &mut profile, ProfileEvent::Fail, &euicc_actor(eid), now)?;
        Err(Refusal::TooManyDownloadAttempts)
    } else {
        // Every attempt counts, so an eUICC that cannot take the profile cannot ask for ever.
        order.attempts += 1;
        store::orders::update(tx, &order)?;
        eligibility::check(euicc_info2, &metadata, memory)
    };
    let progress = Progress {
        point: ProgressPoint::EligibilityAndRetryLimit,
        refused: checked.err(),
        eid: Some(eid),
        result: None,
    };
    progress::note(config, tx, &profile, &order, &progress, now)?;
    Ok(checked.map(|()| Chosen {
        profile,
        order,
        metadata,
    }))
}

/// A package about to be delivered.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) transaction_id: TransactionId,
    pub(super) authenticated: Arc<Authenticated>,
    pub(super) euicc_otpk: Vec<u8>,
    pub(super) hash_cc: Option<[u8; 32]>,
    pub(super) now: Timestamp,
}

/// Decides whether the package may be delivered, and notes that it is. A refusal inside `Ok` is
/// committed.
pub(super) fn deliver(
    config: &Config,
    tx: &Tx<'_>,
    delivery: &Delivery,
) -> Result<Result<ProfileRow, Refusal>, Error> {
    let Delivery {
        transaction_id,
        authenticated,
        euicc_otpk,
        hash_cc,
        now,
    } = delivery;
    let eid = authenticated.eid.to_string();
    let Some((mut profile, mut order)) = current(tx, authenticated)? else {
        return Ok(Err(Refusal::ProfileNotReleased));
    };
    if order.eid.as_ref().is_some_and(|linked| *linked != eid) {
        return Ok(Err(Refusal::EidMismatch));
    }
    if order.expires_at.is_some_and(|end| end <= *now) {
        return Ok(Err(Refusal::OrderExpired));
    }
    if let Err(refusal) = check_code(config, &mut order, hash_cc.as_ref(), transaction_id) {
        store::orders::update(tx, &order)?;
        if refusal == Refusal::ConfirmationCodeRetriesExceeded {
            advance(
                tx,
                &mut profile,
                ProfileEvent::Fail,
                &euicc_actor(&eid),
                *now,
            )?;
        }
        let progress = Progress {
            point: ProgressPoint::ConfirmationFailure,
            refused: Some(refusal),
            eid: Some(&eid),
            result: None,
        };
        progress::note(config, tx, &profile, &order, &progress, *now)?;
        return Ok(Err(refusal));
    }
    let is_other_key = order
        .bound_otpk
        .as_ref()
        .is_some_and(|bound| bound != euicc_otpk);
    if is_other_key && config.rebinding == Rebinding::SameKeyOnly {
        return Ok(Err(Refusal::RebindingRefused));
    }
    order.bound_otpk = Some(euicc_otpk.clone());
    order.eid = Some(eid.clone());
    store::orders::update(tx, &order)?;
    let euicc_key = authenticated.euicc_key.spki_der();
    store::downloads::insert(
        tx,
        transaction_id,
        order.id,
        &profile.iccid,
        &eid,
        euicc_key,
        *now,
    )?;
    advance(
        tx,
        &mut profile,
        ProfileEvent::Deliver,
        &euicc_actor(&eid),
        *now,
    )?;
    let progress = Progress {
        point: ProgressPoint::BppDownload,
        refused: None,
        eid: Some(&eid),
        result: None,
    };
    progress::note(config, tx, &profile, &order, &progress, *now)?;
    Ok(Ok(profile))
}

/// Checks the confirmation code and counts a wrong one.
fn check_code(
    config: &Config,
    order: &mut OrderRow,
    hash_cc: Option<&[u8; 32]>,
    transaction_id: &TransactionId,
) -> Result<(), Refusal> {
    let Some(stored) = order.confirmation_hash.map(ConfirmationHash) else {
        return Ok(());
    };
    let Some(hash_cc) = hash_cc else {
        return Err(Refusal::ConfirmationCodeMissing);
    };
    if stored.matches(hash_cc, transaction_id) {
        return Ok(());
    }
    order.confirmation_failures += 1;
    match order.confirmation_failures < config.limits.confirmation_attempts_max {
        true => Err(Refusal::ConfirmationCodeWrong),
        false => Err(Refusal::ConfirmationCodeRetriesExceeded),
    }
}

/// What a cancellation means for the order (SGP.22 v2.5 section 3.0.2): postponing keeps it, any
/// other reason ends it.
pub(super) fn cancel(
    config: &Config,
    tx: &Tx<'_>,
    authenticated: &Authenticated,
    reason: CancelSessionReason,
    signed: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    if matches!(
        reason,
        CancelSessionReason::Postponed | CancelSessionReason::Timeout
    ) {
        return Ok(());
    }
    let eid = authenticated.eid.to_string();
    let Some((mut profile, order)) = current(tx, authenticated)? else {
        return Ok(());
    };
    advance(
        tx,
        &mut profile,
        ProfileEvent::Fail,
        &euicc_actor(&eid),
        now,
    )?;
    let progress = Progress {
        point: ProgressPoint::BppInstallation,
        refused: Some(Refusal::EuiccError),
        eid: Some(&eid),
        result: Some(signed),
    };
    progress::note(config, tx, &profile, &order, &progress, now)
}

/// Profile and order of a session, if that order is still under way.
fn current(
    tx: &ReadTx<'_>,
    authenticated: &Authenticated,
) -> Result<Option<(ProfileRow, OrderRow)>, Error> {
    let found = store::profiles::by_iccid(tx, &authenticated.iccid)?;
    let profile = found.filter(|profile| {
        profile.order_id == Some(authenticated.order_id)
            && matches!(
                profile.state,
                ProfileState::Released | ProfileState::Downloaded
            )
    });
    profile
        .map(|profile| order_of(tx, &profile).map(|order| (profile, order)))
        .transpose()
}

fn profile_of(tx: &ReadTx<'_>, order: &OrderRow) -> Result<ProfileRow, Error> {
    store::profiles::by_iccid(tx, &order.iccid)?
        .filter(|profile| profile.order_id == Some(order.id))
        .ok_or_else(|| Fault::Corrupt("order without its profile").into())
}

/// How an eUICC is named in the history.
pub(super) fn euicc_actor(eid: &str) -> String {
    format!("eUICC {eid}")
}
