//! The data objects of SGP.22 v2.5 that SGP.32 v1.2 uses, in the form SGP.32 gives them where it
//! redefines one (SGP.32 v1.2 module; SGP.22 v2.5 annex H).
//!
//! Objects that a signature covers are [`Encoded`](crate::der::Encoded): verify over their octets
//! as received. Objects of a version 3 peer decode too; what it adds stays in `extensions`.

mod authentication;
mod cancel_session;
mod common;
mod download;
mod es10;
mod es9plus;
mod info;
mod notification;
mod profile;

pub use authentication::*;
pub use cancel_session::*;
pub use common::*;
pub use download::*;
pub use es9plus::*;
pub use es10::*;
pub use info::*;
pub use notification::*;
pub use profile::*;
