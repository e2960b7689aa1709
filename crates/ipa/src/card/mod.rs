//! ES10 client: the functions of an eUICC over APDUs (SGP.32 v1.2 section 5.9, SGP.22 v2.5 section 5.7).

mod bpp;
mod channel;
mod functions;

pub(crate) use bpp::metadata as bound_package_metadata;
pub use channel::{CardError, CardSession, CardSettings, Es10};
pub use functions::NotificationCriteria;
pub(crate) use functions::package_result;
