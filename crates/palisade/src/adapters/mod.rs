//! What the protocol crates ask of the world, answered with the operating system.
//!
//! The protocol crates take time, randomness, cards and networks as arguments. Here is where they come from when the
//! program runs for real; simulations and measurements use the same adapters or exchange single ones.

mod card;
mod clock;
mod connectivity;
mod entropy;
mod files;
mod memory;
mod network;

pub(crate) use card::SoftCard;
pub(crate) use clock::SystemClock;
pub(crate) use connectivity::ProfileConnectivity;
pub(crate) use entropy::SystemEntropy;
pub(crate) use files::{FolderLock, create_private_directory, is_private_directory};
pub(crate) use memory::FileMemory;
pub(crate) use network::HttpsNetwork;
