//! Measurements of speed and size, as ratios to what cannot be avoided, measured in the same run on the same machine.
//!
//! A figure in absolute time says as much about the machine as about the program. So each stands beside a floor: a server of
//! the same libraries that does nothing, the bare signatures, a plain walk over the same octets.

mod authority;
mod codec;
mod esipa;
mod figures;
mod load;
mod seed;
mod servers;
mod site;
mod usage;

pub(crate) use authority::{Options as AuthorityOptions, run as authority};
pub(crate) use codec::run as codec;
pub(crate) use esipa::{Options as EsipaOptions, run as esipa};
pub(crate) use load::run as load;
pub(crate) use seed::{Options as SeedOptions, run as seed};
