//! The wire of SGP.32: every data object of the SGP.32 v1.2 module, and those of
//! SGP.22 v2.5 that it and ES8+, ES9+ and ES10 use, as typed values.
//!
//! This crate turns octets into values and values into octets. It does no I/O and
//! no cryptography, and knows no clock. Three promises hold for every type:
//!
//! * **Strict.** DER only, bounded in size, depth and list length ([`der::Limits`]).
//!   The deviations that deployed devices are known to send are accepted in one
//!   place, [`tolerance`], and nowhere else.
//! * **Lossless.** Both modules say EXTENSIBILITY IMPLIED: elements that a newer
//!   peer added are kept in `extensions` and written back.
//! * **Signed bytes stay as received.** Whatever a signature covers is an
//!   [`der::Encoded`], which keeps the received octets beside the value.

pub mod binding;
pub mod der;
pub mod dump;
pub mod ids;
pub mod saip;
pub mod sgp22;
pub mod sgp32;
pub mod tolerance;
