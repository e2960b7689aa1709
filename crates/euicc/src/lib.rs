//! A software eUICC for IoT (SGP.32 v1.2): an ISD-R behind APDUs, with everything that lasts in a
//! non-volatile memory that survives a power cut at any byte.
//!
//! The crate is pure. It reads no clock (an eUICC has none) and takes its randomness as an argument. A [`Card`] is
//! made once with [`Card::personalise`] and comes back with [`Card::power_on`]; after that it is spoken to as a real
//! one, with [`Card::transmit`].
//!
//! What it refuses to do: enable, disable and delete of Profiles are not offered to the device (ES10c); they come in
//! packages that an Associated eIM signed, and by the few functions that SGP.32 gives the IPA. Whether a Profile has
//! network connectivity is not the card's business either; a simulation asks [`Card::active_profile`].

mod apdu;
mod card;
mod decisions;
mod eims;
mod isdr;
mod limits;
mod nvm;
mod package;
mod personalisation;
mod platform;
mod session;
mod state;

pub use apdu::StatusWord;
pub use card::Card;
pub use nvm::{FileNvm, MemoryNvm, Nvm, NvmError, SLOT_OCTETS_MAX, Slot, stored_state};
pub use personalisation::{CardIdentity, Options, Personalisation, PreloadedProfile};
pub use platform::CardError;
