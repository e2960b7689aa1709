//! What the protocol crates ask of the world, answered with the operating system.
//!
//! The protocol crates take time, randomness, cards and networks as arguments. Here is where they come from when the
//! program runs for real; simulations and measurements use the same adapters or exchange single ones.

mod clock;
mod entropy;
mod files;

pub(crate) use clock::SystemClock;
pub(crate) use entropy::SystemEntropy;
pub(crate) use files::{FolderLock, create_private_directory, is_private_directory};
