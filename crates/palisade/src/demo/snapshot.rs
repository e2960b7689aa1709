//! What eUICCs, eIM, SM-DP+ and authority know at one moment, to be compared with another one.

use std::collections::BTreeMap;

use anyhow::bail;
use ledger::{Checked, check_bundle};

use super::world::World;

/// How closely the cards are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cards {
    /// Every octet of their memory.
    Memory,
    /// Profiles, eIMs, addresses and package results: a download session that fails leaves a signed record and a one-time key,
    /// as it must.
    Content,
}

/// Everything worth comparing, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<String, String>);

/// Rows read of each list.
const ROWS_MAX: u32 = 1000;

impl Snapshot {
    /// Looks at everything.
    pub(super) fn take(world: &mut World<'_>, cards: Cards) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        snapshot.cards(world, cards)?;
        snapshot.eim(world)?;
        snapshot.smdp(world)?;
        Ok(snapshot)
    }

    /// Looks at everything but the eIM, for whoever takes the eIM's database as lost.
    pub(super) fn without_eim(world: &mut World<'_>) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        snapshot.cards(world, Cards::Content)?;
        snapshot.smdp(world)?;
        Ok(snapshot)
    }

    /// Looks at what the authority signs by, and at what it has on record about each device. What it refused is on record,
    /// too, and is no change.
    pub(super) fn of_authority(world: &World<'_>) -> anyhow::Result<Self> {
        let mut snapshot = Self::default();
        // What eUICCs answered before this is on its way to the record.
        let eim = world.eim()?;
        world.servers.wait(async {
            eim.follow().await?;
            while eim.report_results().await? > 0 {}
            anyhow::Ok(())
        })?;
        let office = world.servers.eim.office();
        let (engine, key) = (office.engine(), office.public_key()?);
        for device in world.fleet.iter() {
            let bundle = engine.history(device.eid)?;
            let Checked::History(history) = check_bundle(bundle.as_bytes(), &key)? else {
                bail!("the authority proves something else than a history");
            };
            let name = format!("authority: record of {}", device.eid);
            snapshot.note(name, history.entries);
        }
        for principal in engine.principals()? {
            let held = principal.credentials.into_iter();
            let held: Vec<_> = held
                .map(|credential| (credential.id, credential.expires_at, credential.revoked))
                .collect();
            let name = format!("authority: {}", principal.name);
            snapshot.note(name, (principal.grants, principal.revoked, held));
        }
        snapshot.note("authority: policy".to_owned(), engine.policy()?);
        snapshot.note("authority: freezes".to_owned(), engine.freezes()?);
        snapshot.note("authority: keys".to_owned(), engine.signing_keys()?);
        Ok(snapshot)
    }

    fn note(&mut self, name: String, value: impl std::fmt::Debug) {
        self.0.insert(name, format!("{value:?}"));
    }

    fn cards(&mut self, world: &mut World<'_>, cards: Cards) -> anyhow::Result<()> {
        for (index, device) in world.fleet.iter_mut().enumerate() {
            let named = |what: &str| format!("eUICC {}: {what}", index + 1);
            if cards == Cards::Memory {
                self.note(named("memory"), device.card_state()?);
            }
            self.note(named("enabled profile"), device.enabled());
            let mut es10 = device.ipa.es10();
            self.note(named("profiles"), es10.profiles(None)?);
            self.note(named("eIMs"), es10.eim_configuration()?);
            self.note(named("addresses"), es10.addresses()?);
            self.note(named("package results"), es10.package_results()?);
        }
        Ok(())
    }

    /// Of the operations all that decides what is executed; how often somebody claimed that a package is unusable is counted
    /// on purpose.
    fn eim(&mut self, world: &World<'_>) -> anyhow::Result<()> {
        let eim = world.eim()?;
        for device in eim.devices(None, ROWS_MAX)? {
            let eid = device.eid;
            let named = |what: &str| format!("eIM: {what} of {eid}");
            let operations = eim
                .operations(eid, None, ROWS_MAX)?
                .into_iter()
                .map(|operation| {
                    let sent = (
                        operation.counter,
                        operation.eim_transaction_id,
                        operation.request,
                    );
                    (
                        operation.id,
                        operation.state,
                        sent,
                        operation.result,
                        operation.outcome,
                    )
                });
            self.note(named("operations"), operations.collect::<Vec<_>>());
            self.note(named("profiles"), eim.profiles(eid)?);
            self.note(named("eIMs"), eim.associated_eims(eid)?);
            self.note(named("notifications"), eim.notifications(eid, ROWS_MAX)?);
            self.note(named("record"), device);
        }
        Ok(())
    }

    fn smdp(&mut self, world: &World<'_>) -> anyhow::Result<()> {
        let smdp = &world.servers.smdp;
        self.note(
            "SM-DP+: profiles and orders".to_owned(),
            smdp.inventory().profiles(None, ROWS_MAX)?,
        );
        for device in world.fleet.iter() {
            let eid = device.eid.to_string();
            let records = smdp.notifications().of_euicc(&eid, ROWS_MAX)?;
            self.note(format!("SM-DP+: notifications of {eid}"), records);
        }
        Ok(())
    }

    /// The names of what is different, or is there only once.
    pub(super) fn changes(&self, after: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.0.keys().chain(after.0.keys()).collect();
        let differs = |name: &&&String| self.0.get(**name) != after.0.get(**name);
        names
            .iter()
            .filter(differs)
            .map(|name| (*name).clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(values: &[(&str, u32)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, value) in values {
            snapshot.note((*name).to_owned(), value);
        }
        snapshot
    }

    #[test]
    fn what_differs_is_named() {
        let before = snapshot(&[("same", 1), ("other", 2), ("gone", 3)]);
        assert!(before.changes(&before).is_empty());
        let after = snapshot(&[("same", 1), ("other", 9), ("new", 4)]);
        assert_eq!(before.changes(&after), ["gone", "new", "other"]);
    }
}
