//! The function bindings of ESipa, ES9+ (with ES9+' and ES11) and ES2+: which octets of an HTTP
//! body are which function (SGP.32 v1.2 sections 6.1 to 6.4, SGP.22 v2.5 sections 6.2 to 6.6).
//!
//! Everything here is conversion: bytes in, a typed message out, and back. The caller owns the
//! connection and bounds the size of a body; nesting, the number of members and the length of
//! text are bounded here.
//!
//! ESipa and ES9+ have two bindings each, JSON and ASN.1, with the same functions. A JSON member
//! that holds an ASN.1 object holds its DER in base64, so whatever a signature covers passes
//! through untouched ([`Encoded`](crate::der::Encoded)). Members that a newer peer adds are
//! ignored; a member that stands twice is refused, because two readers could then disagree.

mod error;
pub mod es2plus;
pub mod es9plus;
pub mod esipa;
pub mod http;
mod json;
mod status;

pub use error::Error;
pub use status::{ErrorCode, Failure, StatusCode};
