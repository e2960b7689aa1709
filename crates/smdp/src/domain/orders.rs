//! The verbs of ES2+ (SGP.22 v2.5 section 5.3): how an operator prepares a download.

use std::sync::Arc;

use ::store::{ReadTx, Tx};
use rsp::binding::es2plus::{
    CancelOrder, ConfirmOrder, ConfirmOrderOk, DownloadOrder, DownloadOrderOk, FinalProfileStatus,
    MatchingId, OrderedProfile, ReleaseProfile,
};
use rsp::ids::Iccid;

use super::profile::{ProfileEvent, ProfileState};
use super::server::{Actor, Core, advance, after};
use super::status::{Error, Fault, Refusal};
use super::text::{ConfirmationHash, random_matching_id};
use crate::store;
use crate::store::orders::OrderRow;
use crate::store::profiles::ProfileRow;

/// The operator's side of the server.
#[derive(Clone)]
pub struct Orders {
    core: Arc<Core>,
}

impl Orders {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// ES2+.DownloadOrder: Available becomes Allocated, or Linked with an EID.
    pub fn download_order(
        &self,
        actor: &Actor,
        order: DownloadOrder,
    ) -> Result<DownloadOrderOk, Error> {
        let actor = actor.clone();
        let now = self.core.now();
        self.write(move |tx| {
            let mut profile = match &order.profile {
                OrderedProfile::Iccid {
                    iccid,
                    profile_type,
                } => {
                    let profile = owned(tx, &actor, iccid)?;
                    if profile_type
                        .as_ref()
                        .is_some_and(|named| *named != profile.profile_type)
                    {
                        return Err(Refusal::ProfileTypeMismatch.into());
                    }
                    profile
                }
                OrderedProfile::Type(profile_type) => any_of_type(tx, &actor, profile_type)?,
            };
            if profile.state != ProfileState::Available {
                return Err(Refusal::IccidInUse.into());
            }
            let eid = order.eid.map(|eid| eid.to_string());
            let by = actor.operator();
            profile.order_id = Some(store::orders::insert(
                tx,
                &profile.iccid,
                by,
                eid.as_deref(),
                now,
            )?);
            let event = if eid.is_some() {
                ProfileEvent::Link
            } else {
                ProfileEvent::Allocate
            };
            advance(tx, &mut profile, event, &actor.describe(), now)?;
            Ok(DownloadOrderOk {
                iccid: profile.iccid,
            })
        })
    }

    /// ES2+.ConfirmOrder: Allocated or Linked becomes Confirmed, or Released with `release_flag`.
    ///
    /// This server has no ES12, so an order with an SM-DS address is refused.
    pub fn confirm_order(
        &self,
        actor: &Actor,
        order: ConfirmOrder,
    ) -> Result<ConfirmOrderOk, Error> {
        let ConfirmOrder {
            iccid,
            eid,
            matching_id,
            confirmation_code,
            smds_address,
            release_flag,
        } = order;
        // Accepting an SM-DS address and registering nothing would leave the device waiting.
        if smds_address.is_some_and(|address| !address.is_empty()) {
            return self.refuse(Refusal::SmdsInaccessible);
        }
        let confirmation = match confirmation_code.map(|code| ConfirmationHash::of(&code)) {
            Some(Err(refusal)) => return self.refuse(refusal),
            Some(Ok(hash)) => Some(hash),
            None => None,
        };
        let matching_id = match matching_id {
            Some(matching_id) => matching_id,
            None => self.core.random(random_matching_id)?,
        };
        let actor = actor.clone();
        let now = self.core.now();
        let expires_at = self
            .core
            .config
            .limits
            .order_lifetime
            .map(|life| after(now, life));
        let smdp_address = self.core.config.address.clone();
        self.write(move |tx| {
            let mut profile = owned(tx, &actor, &iccid)?;
            if !matches!(
                profile.state,
                ProfileState::Allocated | ProfileState::Linked
            ) {
                return Err(Refusal::IccidInUse.into());
            }
            let mut order = order_of_actor(tx, &actor, &profile)?;
            let digits = eid.map(|eid| eid.to_string());
            if order.eid.is_some() && digits.is_some() && order.eid != digits {
                return Err(Refusal::EidOther.into());
            }
            let by = actor.describe();
            if order.eid.is_none() && digits.is_some() {
                order.eid = digits;
                advance(tx, &mut profile, ProfileEvent::Link, &by, now)?;
            }
            if matching_id.is_empty() && order.eid.is_none() {
                return Err(Refusal::EidMissing.into());
            }
            if store::orders::open_by_matching_id(tx, matching_id.as_str())?.is_some() {
                return Err(Refusal::MatchingIdInUse.into());
            }
            order.matching_id = Some(matching_id.to_string());
            order.confirmation_hash = confirmation.map(|hash| hash.0);
            order.expires_at = expires_at;
            store::orders::update(tx, &order)?;
            advance(tx, &mut profile, ProfileEvent::Confirm, &by, now)?;
            if release_flag {
                advance(tx, &mut profile, ProfileEvent::Release, &by, now)?;
            }
            let eid = order.eid.as_deref().map(str::parse).transpose();
            Ok(ConfirmOrderOk {
                eid: eid.map_err(|_| Fault::Corrupt("EID of an order"))?,
                matching_id: matching_id.clone(),
                smdp_address: Some(smdp_address.clone()),
            })
        })
    }

    /// ES2+.ReleaseProfile: Confirmed becomes Released.
    pub fn release_profile(&self, actor: &Actor, release: &ReleaseProfile) -> Result<(), Error> {
        let actor = actor.clone();
        let iccid = release.iccid;
        let now = self.core.now();
        self.write(move |tx| {
            let mut profile = owned(tx, &actor, &iccid)?;
            if profile.state != ProfileState::Confirmed {
                return Err(Refusal::ProfileNotReleased.into());
            }
            order_of_actor(tx, &actor, &profile)?;
            advance(
                tx,
                &mut profile,
                ProfileEvent::Release,
                &actor.describe(),
                now,
            )
        })
    }

    /// ES2+.CancelOrder: ends an order whose profile was not delivered, or failed. One that was delivered can
    /// only be written off (Unavailable): it may be installed although no result came.
    pub fn cancel_order(&self, actor: &Actor, order: CancelOrder) -> Result<(), Error> {
        let actor = actor.clone();
        let now = self.core.now();
        self.write(move |tx| {
            let mut profile = owned(tx, &actor, &order.iccid)?;
            let event = match order.final_profile_status_indicator {
                FinalProfileStatus::Available => ProfileEvent::Reuse,
                FinalProfileStatus::Unavailable => ProfileEvent::Withdraw,
            };
            if profile.state.after(event).is_none() {
                return Err(Refusal::IccidInUse.into());
            }
            let current = order_of_actor(tx, &actor, &profile)?;
            if order
                .eid
                .is_some_and(|eid| current.eid.as_deref() != Some(&*eid.to_string()))
            {
                return Err(Refusal::EidOther.into());
            }
            let named = order.matching_id.as_ref().map(MatchingId::as_str);
            if named.is_some() && named != current.matching_id.as_deref() {
                return Err(Refusal::MatchingIdMismatch.into());
            }
            store::orders::close(tx, current.id, now)?;
            advance(tx, &mut profile, event, &actor.describe(), now)
        })
    }

    fn write<T: Send + 'static>(
        &self,
        verb: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let outcome = self.core.write(verb);
        if let Err(Error::Refused(refusal)) = &outcome {
            tracing::info!(status = %refusal.status(), %refusal, "order refused");
            self.core.counters.refused.add();
        }
        outcome
    }

    fn refuse<T>(&self, refusal: Refusal) -> Result<T, Error> {
        self.core.counters.refused.add();
        Err(refusal.into())
    }
}

/// A profile that the actor may touch. Those of others do not exist for it.
fn owned(tx: &ReadTx<'_>, actor: &Actor, iccid: &Iccid) -> Result<ProfileRow, Error> {
    store::profiles::by_iccid(tx, iccid)?
        .filter(|profile| actor.may_touch(profile.operator.as_deref()))
        .ok_or_else(|| Refusal::IccidUnknown.into())
}

fn any_of_type(tx: &ReadTx<'_>, actor: &Actor, profile_type: &str) -> Result<ProfileRow, Error> {
    if let Some(profile) = store::profiles::first_available(tx, profile_type, actor.operator())? {
        return Ok(profile);
    }
    match store::profiles::type_exists(tx, profile_type, actor.operator())? {
        true => Err(Refusal::ProfileTypeExhausted.into()),
        false => Err(Refusal::ProfileTypeUnknown.into()),
    }
}

/// The order that a profile is in.
pub(super) fn order_of(tx: &ReadTx<'_>, profile: &ProfileRow) -> Result<OrderRow, Error> {
    let order = match profile.order_id {
        Some(id) => store::orders::by_id(tx, id)?,
        None => None,
    };
    order.ok_or_else(|| Fault::Corrupt("profile without its order").into())
}

/// The same, if the actor made it or owns the profile: of a profile that all may order, one
/// operator must not touch the order of another.
fn order_of_actor(tx: &ReadTx<'_>, actor: &Actor, profile: &ProfileRow) -> Result<OrderRow, Error> {
    let order = order_of(tx, profile)?;
    let name = actor.operator();
    match name.is_none() || order.operator.as_deref() == name || profile.operator.as_deref() == name
    {
        true => Ok(order),
        false => Err(Refusal::IccidUnknown.into()),
    }
}
