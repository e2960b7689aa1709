//! What replaying the ledger gives.
//!
//! [`State::apply`] is the only way in. It believes events, since every one was checked before it was written, and refuses only
//! what does not fit together: a device that is not there, a counter that goes back. That means a program error or a ledger
//! made by somebody else, and the authority does not run on it.

pub mod people;

/// All that decides.
#[derive(Debug, Default)]
pub struct State {}
