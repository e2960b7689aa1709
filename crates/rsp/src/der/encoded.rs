use std::ops::Deref;

use super::{Describe, Element, Error, Tag, Tlv, TypeInfo, Writer};

/// A value together with its encoding as received, or as first made.
///
/// Signatures are verified and computed over [`Encoded::bytes`], never over a re-encoding: a
/// peer may have written what a DER encoder of ours would not. The value cannot be changed, so
/// that value and octets never disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<T> {
    value: T,
    bytes: Vec<u8>,
}

impl<T: Element> Encoded<T> {
    /// Encodes a value of ours.
    pub fn new(value: T) -> Self {
        let bytes = value.to_der();
        Self { value, bytes }
    }

    /// The whole TLV as it stands on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value alone.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Encoded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Element> Element for Encoded<T> {
    fn accepts(tag: Tag) -> bool {
        T::accepts(tag)
    }

    fn decode_element(tlv: Tlv<'_>) -> Result<Self, Error> {
        Ok(Self {
            value: T::decode_element(tlv)?,
            bytes: tlv.whole().to_vec(),
        })
    }

    fn encode_element(&self, writer: &mut Writer) {
        writer.raw(&self.bytes);
    }
}

impl<T: Describe> Describe for Encoded<T> {
    fn info() -> TypeInfo {
        T::info()
    }
}

/// One TLV that this version does not know, kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawElement {
    tag: Tag,
    bytes: Vec<u8>,
}

impl RawElement {
    /// Keeps a TLV.
    pub fn from_tlv(tlv: Tlv<'_>) -> Self {
        Self {
            tag: tlv.tag(),
            bytes: tlv.whole().to_vec(),
        }
    }

    /// Its tag.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The whole TLV.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Elements behind the known members of a SEQUENCE, put there by a newer version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions(Vec<RawElement>);

impl Extensions {
    pub(super) fn new(elements: Vec<RawElement>) -> Self {
        Self(elements)
    }

    /// The elements in their order.
    pub fn iter(&self) -> impl Iterator<Item = &RawElement> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them back.
    pub fn encode(&self, writer: &mut Writer) {
        for element in &self.0 {
            writer.raw(&element.bytes);
        }
    }
}

#[cfg(feature = "arbitrary")]
mod generators {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::{Element, Encoded, Extensions, RawElement, Tag, Writer};

    impl<'a, T: Element + Arbitrary<'a>> Arbitrary<'a> for Encoded<T> {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            T::arbitrary(u).map(Self::new)
        }
    }

    impl<'a> Arbitrary<'a> for RawElement {
        /// Private-class tags, which no GSMA module uses.
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let tag = Tag::new(u.int_in_range(0xDF70..=0xDF7F)?);
            let length = u.int_in_range(0..=12)?;
            let content = u.bytes(usize::min(length, u.len()))?.to_vec();
            let mut writer = Writer::new();
            writer.tlv(tag, |w| w.raw(&content));
            Ok(Self {
                tag,
                bytes: writer.into_bytes(),
            })
        }
    }

    impl<'a> Arbitrary<'a> for Extensions {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let count = if u.ratio(1, 8)? {
                u.int_in_range(1..=2)?
            } else {
                0
            };
            (0..count)
                .map(|_| RawElement::arbitrary(u))
                .collect::<Result<_>>()
                .map(Self)
        }
    }
}
