//! A strict DER codec (ITU-T X.690) for modules with EXTENSIBILITY IMPLIED.
//!
//! Types are declared with [`sequence!`](crate::sequence), [`choice!`](crate::choice),
//! [`tagged!`](crate::tagged), [`codes!`](crate::codes) and [`bits!`](crate::bits); each
//! declaration yields the decoder, the encoder and the description that the annotated
//! dump prints.
//!
//! Two traits carry everything. A [`Value`] is content that stands under whatever tag its
//! surroundings give it (IMPLICIT tagging); an [`Element`] brings its own tag. An untagged
//! CHOICE is an `Element` with several possible tags, and as a `Value` it is wrapped, because
//! a tag on a CHOICE is always EXPLICIT (X.680 section 31.2.7).

mod describe;
mod encoded;
mod error;
mod macros;
mod primitives;
mod reader;
mod tag;
mod writer;

pub use describe::{Describe, FieldInfo, Shape, TypeInfo};
pub use encoded::{Encoded, Extensions, RawElement};
pub use error::{Error, ErrorKind};
pub use primitives::{BitString, Null, Octets, Oid, Opaque};
pub use reader::{FieldReader, Limits, Reader, Tlv};
pub use tag::Tag;
pub use writer::Writer;

/// Content that takes the tag its surroundings give it.
pub trait Value: Sized + Describe {
    /// Whether bit 6 of the identifier octet must be set for this content.
    const CONSTRUCTED: bool;
    /// Reads the content of `tlv`, whose tag was already checked by the caller.
    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error>;
    /// Appends the content octets.
    fn encode_content(&self, writer: &mut Writer);
}

/// A complete TLV with a tag of its own, or one of several (CHOICE).
pub trait Element: Sized + Describe {
    /// Whether a TLV with this tag is this element.
    fn accepts(tag: Tag) -> bool;
    /// Reads a whole TLV.
    fn decode_element(tlv: Tlv<'_>) -> Result<Self, Error>;
    /// Appends the whole TLV.
    fn encode_element(&self, writer: &mut Writer);

    /// Decodes exactly one TLV under [`Limits::default`]; trailing octets are an error.
    fn from_der(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_der_within(bytes, &Limits::default())
    }

    /// Decodes exactly one TLV under the given limits.
    fn from_der_within(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes, limits)?;
        let tlv = reader.expect_any()?;
        reader.finish()?;
        if !Self::accepts(tlv.tag()) {
            return Err(
                Error::new(ErrorKind::UnexpectedTag { found: tlv.tag() }).within(Self::info().name)
            );
        }
        Self::decode_element(tlv).map_err(|error| error.within(Self::info().name))
    }

    /// The DER encoding.
    fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode_element(&mut writer);
        writer.into_bytes()
    }
}

/// Fails when a TLV is not the element it should be.
pub fn check_tag<T: Element>(tlv: &Tlv<'_>) -> Result<(), Error> {
    if T::accepts(tlv.tag()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::UnexpectedTag { found: tlv.tag() }).within(T::info().name))
}
