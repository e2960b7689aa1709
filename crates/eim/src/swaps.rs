//! Whether the SIM of a device was changed lately: for applications that do not trust a freshly swapped one.
//!
//! Only what eUICCs signed counts: results of packages, lists of profiles, Notifications. What happened on a device that was not
//! heard of since is not known here; [`ProfileHistory::heard_at`] says since when.

use rsp::ids::{Eid, Iccid};
use serde::Serialize;
use store::{ReadTx, SqlError};

use crate::fleet::{Visible, page_size};
use crate::tables::{devices, fleet, inventory};
use crate::{Eim, ProfileChange, ReadingError};

/// Devices that one ICCID leads to.
const DEVICES_MAX: usize = 16;

/// Which SIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimReference {
    /// That of the device with this EID.
    Eid(Eid),
    /// The profile with this ICCID, on every device on which it was seen.
    Iccid(Iccid),
}

/// What is known of the enabled profile of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileHistory {
    /// The device.
    #[serde(serialize_with = "crate::tables::as_text")]
    pub eid: Eid,
    /// The profile that is enabled, as far as it is known.
    #[serde(serialize_with = "crate::tables::text_or_null")]
    pub enabled: Option<Iccid>,
    /// When the enabled profile changed last; milliseconds since 1970. None: not since `known_since`.
    pub last_change: Option<i64>,
    /// From when on changes are known; milliseconds since 1970. None: nothing is known.
    pub known_since: Option<i64>,
    /// When the device polled last, and would have told; milliseconds since 1970.
    pub heard_at: Option<i64>,
    /// What changed since the time asked for, the newest first.
    pub changes: Vec<ProfileChange>,
}

impl Eim {
    /// How the enabled profile changed since a time (milliseconds since 1970), of each visible device that is meant.
    ///
    /// Nothing when there is no such device for whoever asks. More than one device only for an ICCID that was seen on several;
    /// the one where it is enabled stands first.
    pub fn profile_changes(
        &self,
        visible: &Visible,
        sim: SimReference,
        since: i64,
        limit: u32,
    ) -> Result<Vec<ProfileHistory>, ReadingError> {
        let limit = page_size(limit);
        self.read(|tx| {
            let eids = match sim {
                SimReference::Eid(eid) => vec![eid],
                SimReference::Iccid(iccid) => inventory::devices_with(tx, iccid, DEVICES_MAX)?,
            };
            let mut histories = Vec::new();
            for eid in eids {
                if let Some(fleet) = fleet::of_device(tx, eid)?
                    && visible.covers(&fleet)
                {
                    histories.push(history(tx, eid, since, limit)?);
                }
            }
            Ok(histories)
        })
    }
}

fn history(
    tx: &ReadTx<'_>,
    eid: Eid,
    since: i64,
    limit: usize,
) -> Result<ProfileHistory, SqlError> {
    let ends = inventory::newest_and_first_change(tx, eid)?;
    let newest = ends.as_ref().map(|(newest, _)| newest);
    let mut changes = inventory::changes(tx, eid, since, limit)?;
    changes.retain(|change| !change.is_first);
    Ok(ProfileHistory {
        eid,
        enabled: newest.and_then(|newest| newest.to),
        last_change: newest
            .filter(|newest| !newest.is_first)
            .map(|newest| newest.at),
        known_since: ends.as_ref().map(|(_, first)| first.at),
        heard_at: devices::contact(tx, eid)?.map(|contact| contact.last_poll_at),
        changes,
    })
}
