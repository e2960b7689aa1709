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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use crate::tables::inventory::{remove_profile, replace_profiles, set_enabled};
    use crate::tests::{Home, START_MS, eid, only};

    fn iccid(number: u64) -> Iccid {
        format!("89880{number:014}").parse().unwrap()
    }

    fn profile(number: u64, enabled: bool) -> Profile {
        let mut profile = crate::outcome::installed_unseen(iccid(number), START_MS);
        profile.enabled = enabled;
        profile
    }

    fn list(home: &Home, device: u32, profiles: Vec<Profile>, at: i64) {
        home.write(move |tx| Ok(replace_profiles(tx, eid(device), &profiles, at)?));
    }

    fn one(home: &Home, device: u32, since: i64) -> ProfileHistory {
        let sim = SimReference::Eid(eid(device));
        let mut histories = home
            .eim
            .profile_changes(&Visible::All, sim, since, 100)
            .unwrap();
        assert_eq!(histories.len(), 1);
        histories.remove(0)
    }

    #[tokio::test]
    async fn a_change_is_known_from_what_was_signed_and_what_was_found_first_is_none() {
        let home = Home::new();
        home.register("north", 0..1).await;
        let unknown = one(&home, 0, 0);
        assert_eq!((unknown.known_since, unknown.last_change), (None, None));

        list(&home, 0, vec![profile(1, true), profile(2, false)], 1_000);
        let first = one(&home, 0, 0);
        assert_eq!(first.enabled, Some(iccid(1)));
        assert_eq!((first.known_since, first.last_change), (Some(1_000), None));
        assert!(first.changes.is_empty());

        // The same list again, and the same profile enabled again, change nothing.
        list(&home, 0, vec![profile(1, true), profile(2, false)], 2_000);
        home.write(|tx| Ok(set_enabled(tx, eid(0), Some(iccid(1)), 2_500)?));
        assert_eq!(one(&home, 0, 0), first);

        home.write(|tx| Ok(set_enabled(tx, eid(0), Some(iccid(2)), 3_000)?));
        // A list shows that the device went back by itself.
        list(&home, 0, vec![profile(1, true), profile(2, false)], 4_000);
        home.write(|tx| {
            set_enabled(tx, eid(0), None, 5_000)?;
            Ok(remove_profile(tx, eid(0), iccid(1))?)
        });
        let history = one(&home, 0, 0);
        let steps: Vec<_> = history
            .changes
            .iter()
            .map(|change| (change.at, change.from, change.to))
            .collect();
        let (first, second) = (Some(iccid(1)), Some(iccid(2)));
        let expected = [
            (5_000, first, None),
            (4_000, second, first),
            (3_000, first, second),
        ];
        assert_eq!(steps, expected);
        assert_eq!((history.last_change, history.enabled), (Some(5_000), None));
        let late = one(&home, 0, 4_500);
        assert_eq!((late.changes.len(), late.last_change), (1, Some(5_000)));
        let none_lately = one(&home, 0, 6_000);
        assert_eq!(
            (none_lately.changes.len(), none_lately.last_change),
            (0, Some(5_000))
        );
    }

    #[tokio::test]
    async fn the_operation_that_changed_it_is_named() {
        let home = Home::new();
        home.register("north", 0..1).await;
        list(&home, 0, vec![profile(1, true), profile(2, false)], 1_000);
        home.propose("olga", vec![eid(0)]).await;
        home.advance_ms(10);
        let operation = home.end(eid(0), crate::OperationState::Done);
        home.write(|tx| Ok(set_enabled(tx, eid(0), Some(iccid(2)), START_MS + 10)?));
        assert_eq!(one(&home, 0, 0).changes[0].operation, Some(operation));
    }

    #[tokio::test]
    async fn an_iccid_leads_to_visible_devices_only() {
        let home = Home::new();
        home.register("north", 0..1).await;
        home.register("south", 1..2).await;
        list(&home, 0, vec![profile(7, false)], 1_000);
        list(&home, 1, vec![profile(7, true)], 2_000);
        let seen = |visible: &Visible, sim| -> Vec<Eid> {
            let histories = home.eim.profile_changes(visible, sim, 0, 0).unwrap();
            histories.iter().map(|history| history.eid).collect()
        };
        let sim = SimReference::Iccid(iccid(7));
        assert_eq!(seen(&Visible::All, sim), [eid(1), eid(0)]);
        assert_eq!(seen(&only(&["north"]), sim), [eid(0)]);
        assert!(seen(&only(&["north"]), SimReference::Eid(eid(1))).is_empty());
        assert!(seen(&only(&["north"]), SimReference::Eid(eid(9))).is_empty());
        assert!(seen(&Visible::All, SimReference::Iccid(iccid(8))).is_empty());
    }
}
