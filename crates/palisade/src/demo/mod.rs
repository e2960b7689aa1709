//! The whole chain in one process: a private PKI, an SM-DP+, an eIM and a small fleet of devices that are managed end to end;
//! then attacks on all of it.
//!
//! Nothing is simulated that could be real: servers are reached over TLS on the loopback interface, eUICCs through APDUs, and
//! the profiles are those of GSMA TS.48. What a device lacks is a radio, and its clock is a number that the demo advances.
//!
//! [`steps`] is what a fleet's owner does, [`attacks`] what an attacker does. Each attack is watched: what eUICCs, eIM and
//! SM-DP+ know (and the authority, if it is attacked) must be the same before and after ([`snapshot`]). [`report`] decides what counts as success.

mod attacks;
mod authority;
mod console;
mod device;
mod fleet;
mod folder;
mod interrupt;
mod packages;
mod pki;
mod report;
mod screen;
mod servers;
mod snapshot;
mod steps;
mod wire;
mod world;

use std::path::PathBuf;

use crate::output;
use console::Place;
use folder::Folder;
use interrupt::Interrupt;
use report::Report;
use screen::Screen;
use world::Setting;

/// How a demo is run.
#[derive(Debug)]
pub(crate) struct Options {
    /// Devices, at least [`DEVICES_MIN`].
    pub(crate) devices: u16,
    /// Where everything is kept; a temporary folder that is removed if absent.
    pub(crate) keep: Option<PathBuf>,
    /// Print JSON instead of the table.
    pub(crate) json: bool,
    /// Do not serve the console afterwards.
    pub(crate) once: bool,
}

/// One for a direct download, one for disabling and deleting, and one for an indirect download.
pub(crate) const DEVICES_MIN: u16 = 3;
/// What one machine does in reasonable time.
pub(crate) const DEVICES_MAX: u16 = 200;

/// Runs the demo and prints what happened, then serves the console until it is interrupted. Whether every step succeeded and
/// every attack was stopped.
///
/// # Errors
/// When nothing could even be begun, or nothing printed.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let folder = Folder::new(options.keep.clone())?;
    let place = Place::find()?;
    let (interrupt, interrupted) = Interrupt::new();
    let mut report = Report::new(options.devices);
    let mut screen = Screen::new();
    let setting = Setting {
        folder: &folder,
        devices: options.devices,
        origin: place.origin.clone(),
        interrupt: interrupt.clone(),
    };
    let mut world = steps::run(&mut report, &mut screen, &setting);
    if let Some(world) = &mut world {
        attacks::run(&mut report, &mut screen, world);
        steps::afterwards(&mut report, &mut screen, world);
    }
    report.finish();
    match options.json {
        true => output::print_json(&report)?,
        false => output::print(&report.to_table(screen::colours_for_output()))?,
    }
    if let Some(mut world) = world {
        if !options.once {
            interrupt.ends_politely();
            place.serve(&mut world, &folder, &interrupted)?;
        }
        world.servers.stop();
    }
    if let Some(kept) = folder.kept() {
        output::note(&format!(
            "PKI, databases and cards are kept in {}",
            kept.display()
        ));
    }
    Ok(report.is_good())
}
