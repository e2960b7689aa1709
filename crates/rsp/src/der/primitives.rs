use std::fmt;
use std::ops::Deref;

use super::{Describe, Element, Error, Shape, Tlv, TypeInfo, Value, Writer};

/// OCTET STRING of any length.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Octets(pub Vec<u8>);

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Octets {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Octets {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl Value for Octets {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        Ok(Self(tlv.content().to_vec()))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for Octets {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "OCTET STRING",
            shape: Shape::Octets,
        }
    }
}

/// OCTET STRING of exactly `N` octets.
impl<const N: usize> Value for [u8; N] {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        tlv.content()
            .try_into()
            .map_err(|_| Error::invalid("wrong number of octets for a string of fixed length"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(self);
    }
}

impl<const N: usize> Describe for [u8; N] {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "OCTET STRING",
            shape: Shape::Octets,
        }
    }
}

/// UTF8String.
impl Value for String {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        std::str::from_utf8(tlv.content())
            .map(str::to_owned)
            .map_err(|_| Error::invalid("not UTF-8"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(self.as_bytes());
    }
}

impl Describe for String {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "UTF8String",
            shape: Shape::Text,
        }
    }
}

/// BOOLEAN. DER writes TRUE as `FF`; any other non-zero octet is BER and refused.
impl Value for bool {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        match tlv.content() {
            [0x00] => Ok(false),
            [0xFF] => Ok(true),
            [_] if tlv.limits().non_minimal_lengths => Ok(true),
            _ => Err(Error::invalid("a BOOLEAN is one octet, 00 or FF")),
        }
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.octet(if *self { 0xFF } else { 0x00 });
    }
}

impl Describe for bool {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "BOOLEAN",
            shape: Shape::Boolean,
        }
    }
}

/// INTEGER of at most eight octets, minimal two's complement.
impl Value for i64 {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        let content = tlv.content();
        let Some(&first) = content.first() else {
            return Err(Error::invalid("an INTEGER has at least one octet"));
        };
        if content.len() > 8 {
            return Err(Error::invalid("an INTEGER of more than eight octets"));
        }
        if let [high, next, ..] = *content
            && ((high == 0x00 && next < 0x80) || (high == 0xFF && next >= 0x80))
        {
            return Err(Error::invalid("an INTEGER with a redundant leading octet"));
        }
        let sign = if first & 0x80 == 0 { 0 } else { -1 };
        Ok(content
            .iter()
            .fold(sign, |value: i64, &octet| (value << 8) | i64::from(octet)))
    }

    fn encode_content(&self, writer: &mut Writer) {
        let octets = self.to_be_bytes();
        let redundant = octets
            .windows(2)
            .take_while(|pair| {
                matches!(pair, [0x00, next] if *next < 0x80)
                    || matches!(pair, [0xFF, next] if *next >= 0x80)
            })
            .count();
        writer.raw(octets.get(redundant..).unwrap_or_default());
    }
}

impl Describe for i64 {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "INTEGER",
            shape: Shape::Integer(|_| None),
        }
    }
}

/// NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Null;

impl Value for Null {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        if !tlv.content().is_empty() {
            return Err(Error::invalid("a NULL has no content"));
        }
        Ok(Self)
    }

    fn encode_content(&self, _: &mut Writer) {}
}

impl Describe for Null {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "NULL",
            shape: Shape::Empty,
        }
    }
}

/// BIT STRING, bit 0 being the most significant bit of the first octet.
///
/// DER drops trailing zero bits of a named bit list; some cards do not, so they are kept as
/// received. [`BitString::from_bits`] makes the minimal form.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct BitString {
    octets: Vec<u8>,
    unused: u8,
}

impl BitString {
    /// The minimal string with these bits set.
    pub fn from_bits(bits: impl IntoIterator<Item = usize>) -> Self {
        let mut octets: Vec<u8> = Vec::new();
        for bit in bits {
            if octets.len() <= bit / 8 {
                octets.resize(bit / 8 + 1, 0);
            }
            if let Some(octet) = octets.get_mut(bit / 8) {
                *octet |= 0x80 >> (bit % 8);
            }
        }
        let unused = octets.last().map_or(0, |last| last.trailing_zeros() as u8);
        Self { octets, unused }
    }

    /// Whether a bit is set; bits beyond the end are not.
    pub fn contains(&self, bit: usize) -> bool {
        self.octets
            .get(bit / 8)
            .is_some_and(|octet| octet & (0x80 >> (bit % 8)) != 0)
    }

    /// The numbers of the set bits.
    pub fn bits(&self) -> impl Iterator<Item = usize> {
        (0..self.octets.len() * 8).filter(|&bit| self.contains(bit))
    }

    /// The octets, the last one padded with zero bits.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

impl fmt::Debug for BitString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.bits()).finish()
    }
}

impl Value for BitString {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        let Some((&unused, octets)) = tlv.content().split_first() else {
            return Err(Error::invalid("a BIT STRING has at least one octet"));
        };
        let padding = match octets.last() {
            Some(last) if unused < 8 => last & ((1_u8 << unused) - 1),
            None if unused == 0 => 0,
            _ => {
                return Err(Error::invalid(
                    "a BIT STRING with an impossible number of unused bits",
                ));
            }
        };
        if padding != 0 {
            return Err(Error::invalid(
                "a BIT STRING with unused bits that are not zero",
            ));
        }
        Ok(Self {
            octets: octets.to_vec(),
            unused,
        })
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.octet(self.unused);
        writer.raw(&self.octets);
    }
}

impl Describe for BitString {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "BIT STRING",
            shape: Shape::Bits(&[]),
        }
    }
}

/// OBJECT IDENTIFIER, kept as its content octets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Oid(Vec<u8>);

impl Oid {
    /// From content octets (X.690 section 8.19).
    pub fn from_content(content: &[u8]) -> Result<Self, Error> {
        let mut at_start = true;
        for &octet in content {
            if at_start && octet == 0x80 {
                return Err(Error::invalid("an OBJECT IDENTIFIER with a padded arc"));
            }
            at_start = octet & 0x80 == 0;
        }
        if content.is_empty() || !at_start || content.len() > 64 {
            return Err(Error::invalid("a malformed OBJECT IDENTIFIER"));
        }
        Ok(Self(content.to_vec()))
    }

    /// From the dotted form, for example `2.999.10`.
    pub fn from_dotted(text: &str) -> Result<Self, Error> {
        let malformed = || Error::invalid("an object identifier is written like 2.999.10");
        let arcs = text
            .split('.')
            .map(|arc| arc.parse::<u32>().map(u64::from))
            .collect::<Result<Vec<u64>, _>>()
            .map_err(|_| malformed())?;
        let [top, second, rest @ ..] = arcs.as_slice() else {
            return Err(malformed());
        };
        if *top > 2 || (*top < 2 && *second > 39) {
            return Err(malformed());
        }
        let mut content = Vec::new();
        push_arc(&mut content, top * 40 + second);
        for &arc in rest {
            push_arc(&mut content, arc);
        }
        Self::from_content(&content)
    }

    /// The content octets.
    pub fn content(&self) -> &[u8] {
        &self.0
    }
}

fn push_arc(content: &mut Vec<u8>, arc: u64) {
    let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group == 0 { 0 } else { 0x80 };
        content.push(((arc >> (7 * group)) & 0x7F) as u8 | more);
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc = 0_u128;
        let mut is_first = true;
        for &octet in &self.0 {
            arc = (arc << 7) | u128::from(octet & 0x7F);
            if octet & 0x80 != 0 {
                continue;
            }
            if is_first {
                let top = (arc / 40).min(2);
                write!(f, "{top}.{}", arc - top * 40)?;
            } else {
                write!(f, ".{arc}")?;
            }
            is_first = false;
            arc = 0;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for Oid {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        Self::from_content(tlv.content())
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for Oid {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "OBJECT IDENTIFIER",
            shape: Shape::Oid,
        }
    }
}

/// SEQUENCE OF.
impl<T: Element> Value for Vec<T> {
    const CONSTRUCTED: bool = true;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        tlv.members()
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.members(self);
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "SEQUENCE OF",
            shape: Shape::List(T::info),
        }
    }
}

/// Constructed content that the GSMA modules take from elsewhere and that is carried untouched.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Opaque(Vec<u8>);

impl Opaque {
    /// Takes content octets, which must be a run of well-formed TLVs when they are decoded again.
    pub fn new(content: Vec<u8>) -> Self {
        Self(content)
    }

    /// The content octets.
    pub fn content(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl Value for Opaque {
    const CONSTRUCTED: bool = true;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        let mut reader = tlv.open()?;
        while reader.next()?.is_some() {}
        Ok(Self(tlv.content().to_vec()))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for Opaque {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "ANY",
            shape: Shape::Foreign,
        }
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const SHOWN_OCTETS_MAX: usize = 64;
    for byte in bytes.iter().take(SHOWN_OCTETS_MAX) {
        write!(f, "{byte:02X}")?;
    }
    if bytes.len() > SHOWN_OCTETS_MAX {
        write!(f, "… ({} octets)", bytes.len())?;
    }
    Ok(())
}

#[cfg(feature = "arbitrary")]
mod generators {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::{BitString, Oid, Opaque, Writer};
    use crate::der::Tag;

    impl<'a> Arbitrary<'a> for BitString {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let mask: u16 = u.arbitrary()?;
            Ok(Self::from_bits(
                (0..16).filter(|bit| mask & (1 << bit) != 0),
            ))
        }
    }

    impl<'a> Arbitrary<'a> for Oid {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let arcs: [u16; 2] = u.arbitrary()?;
            let [second, third] = arcs;
            Self::from_dotted(&format!("2.{second}.{third}"))
                .map_err(|_| arbitrary::Error::IncorrectFormat)
        }
    }

    impl<'a> Arbitrary<'a> for Opaque {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let mut writer = Writer::new();
            for _ in 0..u.int_in_range(1..=3)? {
                let octets: [u8; 3] = u.arbitrary()?;
                writer.tlv(Tag::new(0x04), |w| w.raw(&octets));
            }
            Ok(Self(writer.into_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{ErrorKind, Limits, Reader};

    fn decode<T: Value>(content: &[u8]) -> Result<T, ErrorKind> {
        let mut bytes = vec![0x80, content.len() as u8];
        bytes.extend_from_slice(content);
        let limits = Limits::default();
        Reader::new(&bytes, &limits)
            .and_then(|mut reader| reader.expect_any())
            .and_then(T::decode_content)
            .map_err(|error| error.kind().clone())
    }

    fn encode<T: Value>(value: &T) -> Vec<u8> {
        let mut writer = Writer::new();
        value.encode_content(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn integers_are_minimal_twos_complement() {
        for (value, content) in [
            (0_i64, &[0x00][..]),
            (-1, &[0xFF]),
            (127, &[0x7F]),
            (128, &[0x00, 0x80]),
            (-128, &[0x80]),
            (-129, &[0xFF, 0x7F]),
            (8_388_607, &[0x7F, 0xFF, 0xFF]),
            (i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(encode(&value), content);
            assert_eq!(decode::<i64>(content), Ok(value));
        }
        for padded in [&[0x00, 0x7F][..], &[0xFF, 0x80], &[], &[1; 9]] {
            assert!(matches!(decode::<i64>(padded), Err(ErrorKind::Invalid(_))));
        }
    }

    #[test]
    fn bit_strings_number_bits_from_the_most_significant() {
        let bits = BitString::from_bits([0, 3]);
        assert_eq!(encode(&bits), [0x04, 0x90]);
        assert_eq!(BitString::from_bits([]), decode(&[0x00]).unwrap());
        assert!(
            decode::<BitString>(&[0x04, 0x98]).is_err(),
            "padding must be zero"
        );
        assert!(decode::<BitString>(&[0x08, 0x00]).is_err());
        let with_trailing_zeros: BitString = decode(&[0x00, 0x80]).unwrap();
        assert_eq!(
            encode(&with_trailing_zeros),
            [0x00, 0x80],
            "kept as a card sent it"
        );
    }

    #[test]
    fn oids_convert_both_ways() {
        let oid = Oid::from_dotted("2.999.10").unwrap();
        assert_eq!(oid.content(), [0x88, 0x37, 0x0A]);
        assert_eq!(oid.to_string(), "2.999.10");
        assert_eq!(
            Oid::from_dotted("2.23.146.1.2.1.0").unwrap().to_string(),
            "2.23.146.1.2.1.0"
        );
        for bad in ["", "1", "3.1", "1.40", "a.b", "2.999."] {
            assert!(Oid::from_dotted(bad).is_err(), "{bad}");
        }
        assert!(Oid::from_content(&[0x88]).is_err());
        assert!(Oid::from_content(&[0x80, 0x01]).is_err());
    }
}
