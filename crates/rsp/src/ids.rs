//! Identifiers that are valid by construction: EID, ICCID, transaction and key identifiers.

use std::fmt;
use std::str::FromStr;

use crate::der::{Describe, Error, Shape, Tlv, TypeInfo, Value, Writer};

/// An eUICC identifier: 32 decimal digits starting with 89, with valid check digits
/// (SGP.02 and SGP.29; ISO 7064 MOD 97-10). Digits are compared, never parsed further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Eid(EidOctets);

/// An EID field as it stands on the wire: 16 octets, two digits each, in order (not
/// nibble-swapped). Peers can send anything here; [`Eid::try_from`] says whether it is an EID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct EidOctets(pub [u8; 16]);

/// An ICCID: 18 to 20 digits as printed on a card. On the wire 10 octets, nibble-swapped and
/// filled with F (ITU-T E.118; ETSI TS 102 221 section 13.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Iccid([u8; 10]);

/// TransactionId: 1 to 16 octets; in JSON upper-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Vec<u8>);

/// Why text or octets are not the identifier they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not 32 digits.
    #[error("an EID has 32 digits")]
    EidLength,
    /// Not decimal, or not beginning with 89.
    #[error("an EID is decimal and begins with 89")]
    EidDigits,
    /// The last two digits do not fit the others.
    #[error("the check digits of this EID are wrong: mistyped?")]
    EidCheckDigits,
    /// Not 18 to 20 digits.
    #[error("an ICCID has 18 to 20 digits")]
    IccidLength,
    /// Something else than digits, or filling in the middle.
    #[error("an ICCID is decimal")]
    IccidDigits,
    /// Not 1 to 16 octets of hexadecimal.
    #[error("a transaction id is 1 to 16 octets, written in hexadecimal")]
    TransactionId,
}

impl Eid {
    /// The 16 octets of the wire.
    pub fn octets(&self) -> &[u8; 16] {
        &self.0.0
    }

    /// The wire field.
    pub fn to_field(self) -> EidOctets {
        self.0
    }

    /// Completes 30 digits with the two check digits (98 - (n * 100 mod 97)).
    pub fn with_check_digits(first_30: &str) -> Result<Self, InvalidId> {
        if first_30.len() != 30 || !first_30.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidId::EidLength);
        }
        let remainder = mod_97(first_30.bytes().chain(*b"00"));
        format!("{first_30}{:02}", 98 - remainder).parse()
    }
}

impl FromStr for Eid {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() != 32 {
            return Err(InvalidId::EidLength);
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidId::EidDigits);
        }
        let mut octets = [0; 16];
        for (octet, pair) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *octet = pair
                .iter()
                .fold(0, |packed, digit| (packed << 4) | (digit - b'0'));
        }
        Self::try_from(EidOctets(octets))
    }
}

impl TryFrom<EidOctets> for Eid {
    type Error = InvalidId;

    fn try_from(field: EidOctets) -> Result<Self, InvalidId> {
        let digits = || field.0.iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
        if digits().any(|digit| digit > 9) || field.0.first() != Some(&0x89) {
            return Err(InvalidId::EidDigits);
        }
        if mod_97(digits().map(|digit| b'0' + digit)) != 1 {
            return Err(InvalidId::EidCheckDigits);
        }
        Ok(Self(field))
    }
}

/// Upper-case hexadecimal of up to 16 octets, in one go: identifiers stand in every row and record.
fn write_hexadecimal(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digit = |nibble: u8| match nibble {
        0..=9 => b'0' + nibble,
        _ => b'A' - 10 + nibble,
    };
    let mut text = [0; 32];
    for (pair, octet) in text.chunks_exact_mut(2).zip(octets) {
        pair.copy_from_slice(&[digit(octet >> 4), digit(octet & 0x0F)]);
    }
    let text = text.get(..2 * octets.len()).ok_or(fmt::Error)?;
    f.write_str(std::str::from_utf8(text).map_err(|_| fmt::Error)?)
}

fn mod_97(digits: impl Iterator<Item = u8>) -> u32 {
    digits.fold(0, |remainder, digit| {
        (remainder * 10 + u32::from(digit - b'0')) % 97
    })
}

impl fmt::Display for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Eid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for EidOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for EidOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Eid> for EidOctets {
    fn from(eid: Eid) -> Self {
        eid.0
    }
}

impl Value for EidOctets {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        <[u8; 16]>::decode_content(tlv)
            .map(Self)
            .map_err(|_| Error::invalid("an EID has 16 octets"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for EidOctets {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "EID",
            shape: Shape::Eid,
        }
    }
}

impl Iccid {
    /// From the ten octets of EF.ICCID.
    pub fn from_octets(octets: [u8; 10]) -> Result<Self, InvalidId> {
        let nibbles = || octets.iter().flat_map(|octet| [octet & 0x0F, octet >> 4]);
        let digits = nibbles().take_while(|&nibble| nibble < 10).count();
        if nibbles().skip(digits).any(|nibble| nibble != 0x0F) {
            return Err(InvalidId::IccidDigits);
        }
        if digits < 18 {
            return Err(InvalidId::IccidLength);
        }
        Ok(Self(octets))
    }

    /// The ten octets of EF.ICCID.
    pub fn octets(&self) -> &[u8; 10] {
        &self.0
    }
}

impl FromStr for Iccid {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // ES2+ peers pad 19 digits with one F.
        let digits = text.trim_end_matches(['F', 'f']);
        if !(18..=20).contains(&digits.len()) || text.len() > 20 {
            return Err(InvalidId::IccidLength);
        }
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidId::IccidDigits);
        }
        let mut nibbles = digits
            .bytes()
            .map(|digit| digit - b'0')
            .chain(std::iter::repeat(0x0F));
        let mut octets = [0; 10];
        for octet in &mut octets {
            let low = nibbles.next().unwrap_or(0x0F);
            let high = nibbles.next().unwrap_or(0x0F);
            *octet = (high << 4) | low;
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .flat_map(|octet| [octet & 0x0F, octet >> 4])
            .take_while(|&nibble| nibble < 10)
            .try_for_each(|nibble| write!(f, "{nibble}"))
    }
}

impl fmt::Debug for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for Iccid {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        let octets = <[u8; 10]>::decode_content(tlv)
            .map_err(|_| Error::invalid("an ICCID has ten octets"))?;
        Self::from_octets(octets).map_err(|_| Error::invalid("an ICCID is 18 to 20 decimal digits"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for Iccid {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "Iccid",
            shape: Shape::Iccid,
        }
    }
}

impl TransactionId {
    /// From 1 to 16 octets.
    pub fn new(octets: &[u8]) -> Result<Self, InvalidId> {
        if !(1..=16).contains(&octets.len()) {
            return Err(InvalidId::TransactionId);
        }
        Ok(Self(octets.to_vec()))
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for TransactionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() > 32 || !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(InvalidId::TransactionId);
        }
        let octets = text
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| {
                let text = std::str::from_utf8(pair).ok()?;
                text.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
                u8::from_str_radix(text, 16).ok()
            })
            .collect::<Option<Vec<u8>>>()
            .ok_or(InvalidId::TransactionId)?;
        Self::new(&octets)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for TransactionId {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        Self::new(tlv.content()).map_err(|_| Error::invalid("a transaction id has 1 to 16 octets"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for TransactionId {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "TransactionId",
            shape: Shape::Octets,
        }
    }
}

#[cfg(feature = "arbitrary")]
mod generators {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::{Iccid, TransactionId};

    impl<'a> Arbitrary<'a> for Iccid {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let number = u.int_in_range(0..=99_999_999_999_999_999_u64)?;
            let digits = u.int_in_range(18..=20)?;
            format!("{number:0digits$}")
                .parse()
                .map_err(|_| arbitrary::Error::IncorrectFormat)
        }
    }

    impl<'a> Arbitrary<'a> for TransactionId {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let octets: [u8; 16] = u.arbitrary()?;
            let length = u.int_in_range(1..=16)?;
            Self::new(octets.get(..length).unwrap_or(&octets))
                .map_err(|_| arbitrary::Error::IncorrectFormat)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_eids_pass_and_a_changed_digit_does_not() {
        for eid in [
            "89033024343000012200000000031331",
            "89044045930000000000002153893210",
            "89049032123451234512345678901235",
            "89044045118427484800000000011628",
        ] {
            assert_eq!(eid.parse::<Eid>().unwrap().to_string(), eid);
            assert_eq!(Eid::with_check_digits(&eid[..30]).unwrap().to_string(), eid);
        }
        assert_eq!(
            "89049032123451234512345678901335".parse::<Eid>(),
            Err(InvalidId::EidCheckDigits)
        );
        assert_eq!(
            "8904903212345123451234567890123".parse::<Eid>(),
            Err(InvalidId::EidLength)
        );
        assert_eq!(
            "11049032123451234512345678901235".parse::<Eid>(),
            Err(InvalidId::EidDigits)
        );
        assert_eq!(
            "8904903212345123451234567890123A".parse::<Eid>(),
            Err(InvalidId::EidDigits)
        );
        assert!("8９49032123451234512345678901235".parse::<Eid>().is_err());
    }

    #[test]
    fn iccids_are_nibble_swapped_on_the_wire() {
        let iccid: Iccid = "89000123456789012341".parse().unwrap();
        assert_eq!(
            iccid.octets(),
            &[0x98, 0x00, 0x10, 0x32, 0x54, 0x76, 0x98, 0x10, 0x32, 0x14]
        );
        let of_19: Iccid = "8944476500001224158".parse().unwrap();
        assert_eq!(of_19.octets().last(), Some(&0xF8));
        assert_eq!(of_19.to_string(), "8944476500001224158");
        assert_eq!("8944476500001224158F".parse::<Iccid>().unwrap(), of_19);
        assert!(Iccid::from_octets([0x98, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!("12345".parse::<Iccid>().is_err());
    }

    #[test]
    fn transaction_ids_are_hexadecimal_of_either_case() {
        let id: TransactionId = "0aFF".parse().unwrap();
        assert_eq!(id.to_string(), "0AFF");
        for bad in ["", "0", "0G", "+1", &"00".repeat(17)] {
            assert!(bad.parse::<TransactionId>().is_err(), "{bad}");
        }
    }
}
