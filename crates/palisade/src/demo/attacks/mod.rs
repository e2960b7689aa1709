//! What an attacker does.

use super::report::Report;
use super::screen::Screen;
use super::world::World;

pub(super) fn run(_report: &mut Report, _screen: &mut Screen, _world: &mut World<'_>) {}
