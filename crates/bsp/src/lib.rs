//! BSP: the secure messaging that protects a bound profile package on its way from the SM-DP+ to the eUICC
//! (SGP.22 v2 section 5.5 and annex G; the cryptography is that of SCP03t).
//!
//! * [`BspKeys`] are derived from the key agreement, or made by the SM-DP+ and delivered in ReplaceSessionKeys;
//! * a [`Protector`] turns data into segments, an [`Opener`] checks and opens them in the same order;
//! * [`bind`] makes the four segment lists of a BoundProfilePackage.
//!
//! A segment is `T L P' M`: tag 86 or 87 (encrypted) or 88 (readable), the length, the payload, and 8 octets of MAC. Each MAC
//! covers the full MAC of the segment before, so segments cannot be altered, left out, repeated or put in another order.
//!
//! The crate is pure: no clock, no input or output, randomness as an argument.

mod bind;
mod keys;
mod opener;
mod protector;
mod segment;

pub use bind::{BoundSegments, bind, bind_protected, protect_profile};
pub use keys::{BspKeys, HostIdLength, KEY_LENGTH, KEY_TYPE_AES_128, x963_kdf};
pub use opener::{OpenError, Opener};
pub use protector::{ProtectError, Protector};
pub use segment::{SEGMENT_OCTETS_ACCEPTED_MAX, SEGMENT_OCTETS_MAX, SegmentTag};
