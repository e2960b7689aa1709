//! Where attacks are made and watched.

use anyhow::{Context, bail, ensure};
use eim::{Device as Record, OperationState};
use intent::command::Command;
use rsp::der::Element;
use rsp::ids::Eid;
use rsp::sgp32::{
    EimPackageResult, EuiccPackageRequest, EuiccPackageResult, GetEimPackageResponse,
    ProvideEimPackageResultResponse,
};
use uuid::Uuid;

use super::super::device::Device;
use super::super::report::{Reaction, Trial};
use super::super::snapshot::{Cards, Snapshot};
use super::super::wire::Wire;
use super::super::world::World;

/// The world with its roles: a device that is attacked, and another one.
pub(super) struct Arena<'a, 'f> {
    pub(super) world: &'a mut World<'f>,
}

/// The device that is attacked.
pub(super) const VICTIM: usize = 0;
/// A device whose card the attacker uses.
pub(super) const OTHER: usize = 1;

/// A package on its way to the victim.
pub(super) struct InFlight {
    /// The victim's own connection.
    pub(super) wire: Wire,
    pub(super) operation: Uuid,
    pub(super) package: EuiccPackageRequest,
}

impl<'a, 'f> Arena<'a, 'f> {
    pub(super) fn new(world: &'a mut World<'f>) -> Self {
        Self { world }
    }

    pub(super) fn victim(&mut self) -> anyhow::Result<&mut Device> {
        self.world.fleet.device_mut(VICTIM)
    }

    pub(super) fn other(&mut self) -> anyhow::Result<&mut Device> {
        self.world.fleet.device_mut(OTHER)
    }

    pub(super) fn eid(&mut self) -> anyhow::Result<Eid> {
        Ok(self.victim()?.eid)
    }

    /// What the eIM knows of the victim.
    pub(super) fn record(&mut self) -> anyhow::Result<Record> {
        let eid = self.eid()?;
        Ok(self.world.eim()?.device(eid)?)
    }

    /// A connection that nobody has used yet.
    pub(super) fn wire(&self) -> anyhow::Result<Wire> {
        Wire::new(self.world)
    }

    /// Looks at everything, lets the attack strike, and looks again.
    pub(super) fn watch(
        &mut self,
        cards: Cards,
        strike: impl FnOnce(&mut Self) -> anyhow::Result<Reaction>,
    ) -> anyhow::Result<Trial> {
        let before = Snapshot::take(self.world, cards)?;
        let reaction = strike(self)?;
        let after = Snapshot::take(self.world, cards)?;
        Ok(Trial {
            reaction,
            changes: before.changes(&after),
        })
    }

    /// To enable the victim's profile that is not.
    pub(super) fn enabling(&mut self) -> anyhow::Result<Vec<Command>> {
        let iccid = self.victim()?.disabled()?;
        Ok(vec![Command::Enable {
            iccid,
            rollback: false,
        }])
    }

    /// Queues commands for the victim and takes the package on its own connection, without executing it.
    pub(super) fn in_flight(&mut self, commands: Vec<Command>) -> anyhow::Result<InFlight> {
        let eid = self.eid()?;
        let operation = self.world.propose(eid, commands)?;
        let wire = self.wire()?;
        let package = package_of(wire.poll(eid)?)?;
        Ok(InFlight {
            wire,
            operation,
            package,
        })
    }

    /// Executes a package on the victim's card by hand, and delivers the result on this connection.
    pub(super) fn execute(
        &mut self,
        wire: &Wire,
        package: &EuiccPackageRequest,
    ) -> anyhow::Result<()> {
        let eid = self.eid()?;
        let answer = self
            .victim()?
            .ipa
            .es10()
            .load_euicc_package(&package.to_der())?;
        let result = EimPackageResult::EuiccPackageResult(EuiccPackageResult::from_der(&answer)?);
        match wire.provide(eid, result)? {
            ProvideEimPackageResultResponse::EimAcknowledgements(numbers) => {
                for number in numbers.iter() {
                    self.victim()?.ipa.es10().remove_notification(number.0)?;
                }
                Ok(())
            }
            other => bail!("a genuine result was answered with {other:?}"),
        }
    }

    /// After an attack on something in flight, the victim must be able to bring it to its end.
    pub(super) fn settle(&mut self, operation: Uuid, trial: Trial) -> anyhow::Result<Trial> {
        self.victim()?.poll();
        match self.world.expect(operation, OperationState::Done) {
            Ok(_) => Ok(trial),
            Err(error) => {
                let reaction = Reaction::through(format!("the victim cannot go on: {error}"));
                Ok(Trial { reaction, ..trial })
            }
        }
    }

    /// Executes something genuine on the victim, and gives the package with its result.
    pub(super) fn genuine(&mut self) -> anyhow::Result<(EuiccPackageRequest, EuiccPackageResult)> {
        let InFlight {
            wire,
            operation,
            package,
        } = self.in_flight(vec![Command::ListProfiles])?;
        self.execute(&wire, &package)?;
        let done = self.world.expect(operation, OperationState::Done)?;
        let result = done.result.context("the eIM kept no result")?;
        Ok((package, EuiccPackageResult::from_der(&result)?))
    }

    /// An EID of the good manufacturer that no device has.
    pub(super) fn unused_eid(&mut self, prefix: &str) -> anyhow::Result<Eid> {
        self.world.strangers += 1;
        super::super::pki::eid(prefix, 9_000 + self.world.strangers)
    }
}

/// The signed package that a poll must have brought.
pub(super) fn package_of(response: GetEimPackageResponse) -> anyhow::Result<EuiccPackageRequest> {
    match response {
        GetEimPackageResponse::EuiccPackageRequest(package) => Ok(package),
        other => bail!("a package was expected, not {other:?}"),
    }
}

/// All of several reactions were refusals; the first that was not decides.
pub(super) fn all_refused(
    reactions: impl IntoIterator<Item = Reaction>,
    by: &'static str,
    rule: impl Into<String>,
) -> anyhow::Result<Reaction> {
    let reactions: Vec<Reaction> = reactions.into_iter().collect();
    ensure!(!reactions.is_empty(), "nothing was tried");
    let through = reactions
        .into_iter()
        .find(|reaction| matches!(reaction, Reaction::Through(_)));
    Ok(through.unwrap_or_else(|| Reaction::refused(by, rule)))
}
