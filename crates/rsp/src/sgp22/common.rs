//! Certificates, keys, signatures and other small types that every function uses.

use std::fmt;

use crate::der::{
    Describe, Element, Error, ErrorKind, Limits, Octets, Reader, Shape, Tag, Tlv, TypeInfo, Value,
    Writer,
};
use crate::{tagged, tolerance};

tagged! {
    /// SubjectKeyIdentifier of a CI: 20 octets, SHA-1 of its public key (RFC 5280 section 4.2.1.2).
    pub struct KeyIdentifier @ 0x04: Octets;

    /// A signature: `r ‖ s` of 32 octets each on a 256-bit curve (BSI TR-03111 plain format).
    pub struct Signature @ 0x5F37: Octets;

    /// A one-time public key for ES8+: an uncompressed point `04 ‖ x ‖ y`.
    pub struct OneTimePublicKey @ 0x5F49: Octets;
}

/// Certificates between one and its CI, which are not among them (SGP.22 v3 section 2.6.7.2). No order is relied on.
pub type CertificateChain = Vec<Certificate>;

/// Major, minor and revision of a specification, one binary octet each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct VersionType(pub [u8; 3]);

impl VersionType {
    /// `major.minor.revision`.
    pub const fn new(major: u8, minor: u8, revision: u8) -> Self {
        Self([major, minor, revision])
    }
}

impl fmt::Display for VersionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, revision] = self.0;
        write!(f, "{major}.{minor}.{revision}")
    }
}

impl fmt::Debug for VersionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value for VersionType {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        <[u8; 3]>::decode_content(tlv)
            .map(Self)
            .map_err(|_| Error::invalid("a version has three octets"))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Element for VersionType {
    fn accepts(tag: Tag) -> bool {
        tag == Tag::new(0x04)
    }

    fn decode_element(tlv: Tlv<'_>) -> Result<Self, Error> {
        crate::der::check_tag::<Self>(&tlv)?;
        Self::decode_content(tlv)
    }

    fn encode_element(&self, writer: &mut Writer) {
        writer.value(0x04, self);
    }
}

impl Describe for VersionType {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "VersionType",
            shape: Shape::Version,
        }
    }
}

/// OCTET STRING of 1 to 16 octets: application and host identifiers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OctetTo16(Vec<u8>);

impl OctetTo16 {
    /// Takes 1 to 16 octets.
    pub fn new(octets: &[u8]) -> Result<Self, Error> {
        if !(1..=16).contains(&octets.len()) {
            return Err(Error::invalid("this string has 1 to 16 octets"));
        }
        Ok(Self(octets.to_vec()))
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for OctetTo16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}

impl Value for OctetTo16 {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        Self::new(tlv.content())
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(&self.0);
    }
}

impl Describe for OctetTo16 {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "OctetTo16",
            shape: Shape::Octets,
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for OctetTo16 {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let octets: [u8; 16] = u.arbitrary()?;
        let length = u.int_in_range(1..=16)?;
        Self::new(octets.get(..length).unwrap_or(&octets))
            .map_err(|_| arbitrary::Error::IncorrectFormat)
    }
}

/// Declares a SEQUENCE of X.509 that is carried whole and looked into elsewhere. Only the tags of
/// its members are checked here.
macro_rules! x509_structure {
    ( $( $(#[$meta:meta])* $name:ident { $($member:literal),* } )* ) => { $(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name {
            der: Vec<u8>,
            header_octets: usize,
        }

        impl $name {
            /// Takes the DER of the whole structure, `30 LL …`, with nothing behind it.
            pub fn from_der_bytes(der: Vec<u8>) -> Result<Self, Error> {
                let limits = Limits::default();
                let mut reader = Reader::new(&der, &limits)?;
                let header_octets = Self::header_octets(reader.expect(Tag::SEQUENCE)?)?;
                reader.finish()?;
                Ok(Self { der, header_octets })
            }

            /// The DER of the whole structure.
            pub fn as_der(&self) -> &[u8] {
                &self.der
            }

            /// Checks the members and returns the length of tag and length field.
            fn header_octets(tlv: Tlv<'_>) -> Result<usize, Error> {
                let mut members = tlv.open()?;
                $( members.expect(Tag::new($member)).map_err(|error| error.within(stringify!($name)))?; )*
                members.finish().map_err(|error| error.within(stringify!($name)))?;
                Ok(tlv.whole().len() - tlv.content().len())
            }

            fn from_whole(tlv: Tlv<'_>) -> Result<Self, Error> {
                Ok(Self { header_octets: Self::header_octets(tlv)?, der: tlv.whole().to_vec() })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} octets)"), self.der.len())
            }
        }

        impl Value for $name {
            const CONSTRUCTED: bool = true;

            fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
                if let Some(inner) = tolerance::sequence_kept_inside(tlv) {
                    return Self::from_whole(inner);
                }
                Self::header_octets(tlv)?;
                let mut writer = Writer::new();
                writer.tlv(Tag::SEQUENCE, |writer| writer.raw(tlv.content()));
                let der = writer.into_bytes();
                let header_octets = der.len() - tlv.content().len();
                Ok(Self { der, header_octets })
            }

            fn encode_content(&self, writer: &mut Writer) {
                writer.raw(self.der.get(self.header_octets..).unwrap_or_default());
            }
        }

        impl Element for $name {
            fn accepts(tag: Tag) -> bool {
                tag == Tag::SEQUENCE
            }

            fn decode_element(tlv: Tlv<'_>) -> Result<Self, Error> {
                if tlv.tag() != Tag::SEQUENCE {
                    return Err(Error::new(ErrorKind::UnexpectedTag { found: tlv.tag() })
                        .within(stringify!($name)));
                }
                Self::from_whole(tlv)
            }

            fn encode_element(&self, writer: &mut Writer) {
                writer.raw(&self.der);
            }
        }

        impl Describe for $name {
            fn info() -> TypeInfo {
                TypeInfo { name: stringify!($name), shape: Shape::Foreign }
            }
        }

        #[cfg(feature = "arbitrary")]
        impl<'a> arbitrary::Arbitrary<'a> for $name {
            fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                let mut writer = Writer::new();
                let members = [$((Tag::new($member), u.arbitrary::<[u8; 3]>()?)),*];
                writer.tlv(Tag::SEQUENCE, |writer| {
                    for (tag, [_, octets @ ..]) in &members {
                        writer.tlv(*tag, |writer| {
                            if tag.is_constructed() {
                                writer.tlv(Tag::new(0x04), |writer| writer.raw(octets));
                            } else {
                                writer.octet(0);
                                writer.raw(octets);
                            }
                        });
                    }
                });
                Self::from_der_bytes(writer.into_bytes()).map_err(|_| arbitrary::Error::IncorrectFormat)
            }
        }
    )* };
}

x509_structure! {
    /// An X.509 certificate, whole and unchanged (RFC 5280 section 4.1).
    ///
    /// Under an IMPLICIT tag its three members stand directly in the content. Senders that keep
    /// the SEQUENCE inside are understood too, see [`tolerance::sequence_kept_inside`].
    Certificate { 0x30, 0x30, 0x03 }

    /// A public key with its algorithm, whole and unchanged (RFC 5280 section 4.1.2.7). The rules
    /// for IMPLICIT tags are those of [`Certificate`].
    SubjectPublicKeyInfo { 0x30, 0x03 }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    crate::sequence! {
        struct Holder @ 0x30 {
            req certificate @ 0xA5: Certificate,
        }
    }

    const CERTIFICATE: [u8; 13] = hex!("30 0B 30 03 02 01 07 30 00 03 02 00 AA");

    #[test]
    fn a_certificate_under_an_implicit_tag_has_no_inner_sequence() {
        let certificate = Certificate::from_der_bytes(CERTIFICATE.to_vec()).unwrap();
        assert_eq!(certificate.to_der(), CERTIFICATE);
        let holder = Holder {
            certificate: certificate.clone(),
            extensions: Default::default(),
        };
        let implicit = hex!("30 0D A5 0B 30 03 02 01 07 30 00 03 02 00 AA");
        assert_eq!(holder.to_der(), implicit);
        assert_eq!(
            Holder::from_der(&implicit).unwrap().certificate,
            certificate
        );
    }

    #[test]
    fn a_sequence_kept_inside_is_understood_and_written_without() {
        let kept = hex!("30 0F A5 0D 30 0B 30 03 02 01 07 30 00 03 02 00 AA");
        let holder = Holder::from_der(&kept).unwrap();
        assert_eq!(holder.certificate.as_der(), CERTIFICATE);
        assert_eq!(
            holder.to_der(),
            hex!("30 0D A5 0B 30 03 02 01 07 30 00 03 02 00 AA")
        );
    }

    #[test]
    fn what_is_not_one_certificate_is_refused() {
        let mut trailing = CERTIFICATE.to_vec();
        trailing.push(0);
        assert!(Certificate::from_der_bytes(trailing).is_err());
        for other in [
            &hex!("30 00")[..],
            &hex!("31 0B 30 03 02 01 07 30 00 03 02 00 AA"),
            &hex!("30 05 30 00 03 01 00"),
            &hex!("30 0D 30 03 02 01 07 30 00 03 02 00 AA 05 00"),
            &hex!("30 0B 30 03"),
            &[],
        ] {
            assert!(
                Certificate::from_der_bytes(other.to_vec()).is_err(),
                "{other:02X?}"
            );
        }
        assert!(
            SubjectPublicKeyInfo::from_der_bytes(hex!("30 05 30 00 03 01 00").to_vec()).is_ok()
        );
    }

    #[test]
    fn versions_and_identifiers_have_their_lengths() {
        assert_eq!(
            VersionType::from_der(&hex!("04 03 01 02 00"))
                .unwrap()
                .to_string(),
            "1.2.0"
        );
        assert!(VersionType::from_der(&hex!("04 02 01 02")).is_err());
        assert!(OctetTo16::new(&[]).is_err());
        assert!(OctetTo16::new(&[0; 16]).is_ok());
        assert!(OctetTo16::new(&[0; 17]).is_err());
    }
}
