//! Everything that a demo has, and the verbs of a fleet's owner.

use anyhow::{Context, bail, ensure};
use eim::actor::Actor;
use eim::{DeviceData, Eim, Operation, OperationState};
use intent::Sealed;
use intent::command::{Command, DownloadSource, Route};
use rsp::binding::es2plus::{ConfirmOrder, DownloadOrder, OrderedProfile};
use rsp::ids::{Eid, Iccid};
use rsp::sgp22::ProfileClass;
use smdp::{ImportProfile, Owner, ProfileMetadata, ProfileState};
use uuid::Uuid;

use super::device::{TEST_NETWORK, iccid};
use super::fleet::Fleet;
use super::folder::Folder;
use super::interrupt::Interrupt;
use super::packages::TS48;
use super::pki::{Pki, SMDP};
use super::servers::{EimHost, Servers};

/// What a demo begins with.
pub(super) struct Setting<'a> {
    pub(super) folder: &'a Folder,
    pub(super) devices: u16,
    /// Where the console will be, and passkeys are used.
    pub(super) origin: String,
    pub(super) interrupt: Interrupt,
}

/// PKI, servers and devices.
pub(super) struct World<'f> {
    pub(super) folder: &'f Folder,
    pub(super) pki: Pki,
    pub(super) servers: Servers,
    pub(super) fleet: Fleet,
    /// Profiles offered so far.
    offered: u32,
    /// Extra EIDs handed out so far.
    pub(super) strangers: u32,
}

/// A profile that waits at the SM-DP+.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) iccid: Iccid,
    pub(super) matching_id: String,
    /// What a device is told.
    pub(super) activation_code: String,
}

impl Offer {
    /// To download it.
    pub(super) fn download(&self, route: Route) -> Vec<Command> {
        vec![Command::Download {
            source: DownloadSource::ActivationCode {
                smdp: SMDP.to_owned(),
                code: Sealed::Open(self.activation_code.clone()),
            },
            route,
            confirmation_code: None,
        }]
    }
}

fn operator() -> Actor {
    Actor::operator("demo")
}

impl<'f> World<'f> {
    pub(super) fn new(folder: &'f Folder, pki: Pki, servers: Servers, fleet: Fleet) -> Self {
        Self {
            folder,
            pki,
            servers,
            fleet,
            offered: 0,
            strangers: 0,
        }
    }

    /// The eIM.
    pub(super) fn eim(&self) -> anyhow::Result<&Eim> {
        Ok(self.servers.eim.eim()?)
    }

    /// Puts a profile into the SM-DP+ and orders it for a device; the TS.48 packages take turns. The first one has the
    /// ICCID that GSMA gave it, the others are made to carry their own.
    pub(super) fn offer(&mut self, eid: Option<Eid>) -> anyhow::Result<Offer> {
        let number = self.offered;
        self.offered += 1;
        let index = usize::try_from(number)? % TS48.len();
        let package = TS48.get(index).context("there is no package")?;
        let iccids = match number {
            0 => Vec::new(),
            _ => vec![iccid("890001", number)?],
        };
        let metadata = ProfileMetadata {
            fallback_allowed: true,
            owner: Some(Owner {
                mcc_mnc: TEST_NETWORK,
                gid1: None,
                gid2: None,
            }),
            ..ProfileMetadata::new("GSMA TS.48", package.name, ProfileClass::Operational)
        };
        let smdp = &self.servers.smdp;
        let imported = smdp.inventory().import(ImportProfile {
            package: package.octets,
            profile_type: package.name.to_owned(),
            operator: None,
            metadata: metadata.notifying(SMDP),
            iccids,
        })?;
        let iccid = imported.first().copied().context("nothing was imported")?;
        let actor = smdp::Actor::Administration;
        let profile = OrderedProfile::Iccid {
            iccid,
            profile_type: None,
        };
        smdp.orders()
            .download_order(&actor, DownloadOrder { eid, profile })?;
        let confirmed = smdp.orders().confirm_order(
            &actor,
            ConfirmOrder {
                iccid,
                eid: None,
                matching_id: None,
                confirmation_code: None,
                smds_address: None,
                release_flag: true,
            },
        )?;
        Ok(Offer {
            iccid,
            activation_code: smdp::activation_code(SMDP, &confirmed.matching_id, false),
            matching_id: confirmed.matching_id.to_string(),
        })
    }

    /// Where a profile stands at the SM-DP+.
    pub(super) fn state_at_smdp(&self, iccid: &Iccid) -> anyhow::Result<ProfileState> {
        let profile = self.servers.smdp.inventory().profile(iccid)?;
        Ok(profile
            .context("the SM-DP+ does not know the profile")?
            .state)
    }

    /// Has a device registered, and tells the eIM what is known of it.
    pub(super) fn register(&self, eid: Eid, label: &str, token: Option<i64>) -> anyhow::Result<()> {
        let data = DeviceData {
            label: Some(label.to_owned()),
            association_token: token,
            ..DeviceData::new(eid)
        };
        let (eim, office) = (self.eim()?, self.servers.eim.office());
        self.servers.wait(async {
            office.register(eim, eid).await?;
            eim.enrich_device(&operator(), data).await?;
            Ok(())
        })
    }

    /// Asks for an operation; gives it as it waits for the device.
    pub(super) fn propose(&self, eid: Eid, commands: Vec<Command>) -> anyhow::Result<Uuid> {
        propose(&self.servers, &self.servers.eim, eid, commands)
    }

    /// Queues an operation for a device of the fleet, lets the device poll, and expects the operation to be done.
    pub(super) fn operate(
        &mut self,
        index: usize,
        commands: Vec<Command>,
    ) -> anyhow::Result<Operation> {
        let id = self.propose(self.fleet.device(index)?.eid, commands)?;
        self.fleet.device_mut(index)?.poll();
        self.expect(id, OperationState::Done)
    }

    pub(super) fn operation(&self, id: Uuid) -> anyhow::Result<Operation> {
        Ok(self.eim()?.operation(id)?)
    }

    /// The operation, which must stand here.
    pub(super) fn expect(&self, id: Uuid, state: OperationState) -> anyhow::Result<Operation> {
        let operation = self.operation(id)?;
        if operation.state == state {
            return Ok(operation);
        }
        let outcome = operation.outcome.as_ref();
        let results = outcome.map(|outcome| format!("{}: {:?}", outcome.summary, outcome.results));
        bail!(
            "operation {:?} is {} instead of {state} ({})",
            operation.commands,
            operation.state,
            results.unwrap_or_default()
        )
    }

    /// Nothing may wait for the device.
    pub(super) fn expect_idle(&self, eid: Eid) -> anyhow::Result<()> {
        let operations = self.eim()?.operations(eid, None, 100)?;
        let open = operations
            .iter()
            .find(|operation| !operation.state.is_over());
        ensure!(open.is_none(), "an operation is still open: {open:?}");
        Ok(())
    }

    /// What the eIM knows of a device's profiles must be what is on its card.
    pub(super) fn expect_inventory(&mut self, index: usize) -> anyhow::Result<()> {
        let device = self.fleet.device_mut(index)?;
        let (eid, enabled) = (device.eid, device.enabled());
        let mut on_card = device.profiles()?;
        let known = self.eim()?.profiles(eid)?;
        let mut at_eim: Vec<Iccid> = known.iter().map(|profile| profile.iccid).collect();
        on_card.sort();
        at_eim.sort();
        let known_enabled = known
            .iter()
            .find(|profile| profile.enabled)
            .map(|profile| profile.iccid);
        ensure!(
            (&on_card, enabled) == (&at_eim, known_enabled),
            "the eIM believes {at_eim:?} with {known_enabled:?} enabled; the card holds {on_card:?} with {enabled:?}"
        );
        Ok(())
    }
}

/// Asks for an operation at one of the eIMs.
pub(super) fn propose(
    servers: &Servers,
    host: &EimHost,
    eid: Eid,
    commands: Vec<Command>,
) -> anyhow::Result<Uuid> {
    let eim = host.eim()?;
    let intent = servers.wait(host.office().operate(eim, eid, commands))?;
    let operations = eim.operations_of(intent, None, 1)?;
    let operation = operations
        .first()
        .context("the eIM has no operation of the intent")?;
    Ok(operation.id)
}
