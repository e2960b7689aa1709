//! The data objects of the SGP.32 v1.2 module.
//!
//! Additions of v1.3 that stand behind known members or as new alternatives are accepted: they
//! appear as typed members where this version uses them, else as extensions.

mod configuration;
mod es10;
mod esipa;
mod package;
mod result;

pub use configuration::*;
pub use es10::*;
pub use esipa::*;
pub use package::*;
pub use result::*;
