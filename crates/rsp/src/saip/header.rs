use crate::der::{
    BitString, Describe, Error, Extensions, FieldInfo, Null, Octets, Oid, Shape, Tag, Tlv,
    TypeInfo, Value, Writer,
};
use crate::ids::Iccid;
use crate::{sequence, tagged};

sequence! {
    /// ProfileHeader: the first element of a package.
    pub struct ProfileHeader @ 0xA0 {
        /// Version of the format.
        req major_version @ 0x80: i64,
        /// Version of the format.
        req minor_version @ 0x81: i64,
        /// What the profile is, 1 to 100 characters.
        opt profile_type @ 0x82: String,
        /// 20 digits in order (not nibble-swapped), filled with F. See [`ProfileHeader::iccid`].
        req iccid_digits @ 0x83: [u8; 10],
        /// Policy rules of the M2M variant (SGP.02); not used in SGP.32.
        opt pol @ 0x84: Octets,
        /// Services without which the profile does not work.
        req mandatory_services @ 0xA5: ServicesList,
        /// File structure templates that the package uses.
        req mandatory_templates @ 0xA6: Vec<TemplateId>,
        /// Bearer parameters for reaching the network (SGP.32 GetConnectivityParameters).
        opt connectivity_parameters @ 0x87: Octets,
        /// Load packages that must already be on the eUICC.
        opt mandatory_aids @ 0xA8: Vec<MandatoryAid>,
        /// Present in IoT Minimal Profiles.
        opt iot_options @ 0xA9: IotOptions,
    }
}

tagged! {
    /// The identifier of a file structure template (2.23.143.1.2.x).
    pub struct TemplateId @ 0x06: Oid;
}

sequence! {
    /// A load package that the profile builds on.
    pub struct MandatoryAid @ 0x30 {
        /// 5 to 16 octets.
        req aid @ 0x80: Octets,
        /// Major and minor version.
        req version @ 0x81: [u8; 2],
    }
}

sequence! {
    /// IotOptions.
    pub struct IotOptions @ 0xA9 {
        /// The part of the AIDs behind the RID, 7 to 11 octets.
        req pix @ 0x80: Octets,
    }
}

/// Why a header that is well-formed cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// The ICCID is not 18 to 20 digits.
    #[error("the ICCID in the profile header is not 18 to 20 digits")]
    Iccid,
}

impl ProfileHeader {
    /// The ICCID as an identifier.
    pub fn iccid(&self) -> Result<Iccid, InvalidHeader> {
        let digits: String = self
            .iccid_digits
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        digits.parse().map_err(|_| InvalidHeader::Iccid)
    }

    /// Whether this is one of the GSMA's generic eUICC test profiles (TS.48), by its type text.
    pub fn is_generic_test_profile(&self) -> bool {
        self.profile_type.as_deref().is_some_and(|text| {
            text.starts_with("GSMA Generic eUICC Test Profile") || text.starts_with("GSMA TS.48")
        })
    }

    /// The version number in the type text (`… v7.0` gives `7.0`), if its author wrote one.
    /// The published TS.48 v7 packages do not.
    pub fn profile_type_version(&self) -> Option<&str> {
        self.profile_type
            .as_deref()?
            .split_whitespace()
            .find_map(|word| {
                let number = word.strip_prefix(['v', 'V'])?;
                let is_number = number
                    .split('.')
                    .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
                is_number.then_some(number)
            })
    }
}

macro_rules! services {
    ( $( $(#[$meta:meta])* $service:ident = $number:literal $name:literal $capability:expr ),* $(,)? ) => {
        /// One entry of eUICC-Mandatory-services.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Service {
            $( $(#[$meta])* $service, )*
            /// A service that this version does not know, by its tag.
            Unknown(Tag),
        }

        impl Service {
            /// All that have a name.
            pub const ALL: &[Self] = &[$( Self::$service ),*];

            /// The service with this tag.
            pub fn from_tag(tag: Tag) -> Self {
                $(
                    if tag == Tag::new(0x80 | $number) {
                        return Self::$service;
                    }
                )*
                Self::Unknown(tag)
            }

            /// The tag in ServicesList.
            pub fn tag(self) -> Tag {
                match self {
                    $( Self::$service => Tag::new(0x80 | $number), )*
                    Self::Unknown(tag) => tag,
                }
            }

            /// The name in the module.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$service => $name, )*
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The bit of UICCCapability with which an eUICC announces the service.
            pub fn capability_bit(self) -> Option<usize> {
                match self {
                    $( Self::$service => Some($capability), )*
                    Self::Unknown(_) => None,
                }
            }
        }

        impl Describe for ServicesList {
            fn info() -> TypeInfo {
                const FIELDS: &[FieldInfo] = &[
                    $( FieldInfo {
                        name: $name,
                        tag: Some(Tag::new(0x80 | $number)),
                        optional: true,
                        info: <Null as Describe>::info,
                        accepts: |tag| tag == Tag::new(0x80 | $number),
                    } ),*
                ];
                TypeInfo { name: "ServicesList", shape: Shape::Sequence(FIELDS) }
            }
        }
    };
}

services! {
    /// Contactless (SWP, HCI).
    Contactless = 0 "contactless" 0,
    /// USIM.
    Usim = 1 "usim" 1,
    /// ISIM.
    Isim = 2 "isim" 2,
    /// CSIM.
    Csim = 3 "csim" 3,
    /// Milenage.
    Milenage = 4 "milenage" 4,
    /// TUAK, 128-bit keys.
    Tuak128 = 5 "tuak128" 6,
    /// CAVE.
    Cave = 6 "cave" 5,
    /// GBA in the USIM.
    GbaUsim = 7 "gba-usim" 10,
    /// GBA in the ISIM.
    GbaIsim = 8 "gba-isim" 11,
    /// MBMS.
    Mbms = 9 "mbms" 12,
    /// EAP client.
    Eap = 10 "eap" 13,
    /// Java Card.
    Javacard = 11 "javacard" 14,
    /// MULTOS.
    Multos = 12 "multos" 15,
    /// More than one USIM.
    MultipleUsim = 13 "multiple-usim" 16,
    /// More than one ISIM.
    MultipleIsim = 14 "multiple-isim" 17,
    /// More than one CSIM.
    MultipleCsim = 15 "multiple-csim" 18,
    /// TUAK, 256-bit keys.
    Tuak256 = 16 "tuak256" 7,
    /// The USIM test algorithm of TS 34.108.
    UsimTestAlgorithm = 17 "usim-test-algorithm" 8,
    /// BER-TLV files.
    BerTlv = 18 "ber-tlv" 19,
    /// Linked directories.
    DfLink = 19 "dfLink" 20,
    /// CAT_TP.
    CatTp = 20 "cat-tp" 21,
    /// GET IDENTITY.
    GetIdentity = 21 "get-identity" 22,
    /// ECIES profile A (TS 33.501).
    ProfileAX25519 = 22 "profile-a-x25519" 23,
    /// ECIES profile B (TS 33.501).
    ProfileBP256 = 23 "profile-b-p256" 24,
    /// SUCI calculation API.
    SuciCalculatorApi = 24 "suciCalculatorApi" 25,
    /// DNS resolution (GlobalPlatform amendment B).
    DnsResolution = 25 "dns-resolution" 26,
    /// SCP11 a and c (GlobalPlatform amendment F).
    Scp11ac = 26 "scp11ac" 27,
    /// Authorization mechanism of SCP11c.
    Scp11cAuthorizationMechanism = 27 "scp11c-authorization-mechanism" 28,
    /// S16 mode.
    S16Mode = 28 "s16mode" 29,
    /// Enhanced AKA (TS 33.102).
    Eaka = 29 "eaka" 30,
}

/// ServicesList: the services a profile needs, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServicesList(pub Vec<Service>);

impl ServicesList {
    /// Whether a service is in the list.
    pub fn contains(&self, service: Service) -> bool {
        self.0.contains(&service)
    }

    /// The UICCCapability bits of an eUICC that has exactly these services, as EUICCInfo2
    /// carries them.
    pub fn to_uicc_capability(&self) -> BitString {
        BitString::from_bits(self.0.iter().filter_map(|service| service.capability_bit()))
    }
}

impl Value for ServicesList {
    const CONSTRUCTED: bool = true;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        let mut reader = tlv.open()?;
        let mut services: Vec<Service> = Vec::new();
        while let Some(entry) = reader.next()? {
            // Unknown services are kept: an eUICC has to refuse what it does not know.
            let service = Service::from_tag(entry.tag());
            if services
                .last()
                .is_some_and(|last| last.tag() >= service.tag())
            {
                return Err(Error::invalid("a service stands twice or out of order"));
            }
            if !entry.content().is_empty() {
                return Err(Error::invalid("a service is a NULL without content"));
            }
            services.push(service);
        }
        Ok(Self(services))
    }

    fn encode_content(&self, writer: &mut Writer) {
        for service in &self.0 {
            writer.tlv(service.tag(), |_| {});
        }
    }
}

impl MandatoryAid {
    /// A load package and its version.
    pub fn new(aid: &[u8], version: [u8; 2]) -> Self {
        Self {
            aid: aid.into(),
            version,
            extensions: Extensions::default(),
        }
    }
}

#[cfg(feature = "arbitrary")]
mod generators {
    use arbitrary::{Arbitrary, Result, Unstructured};

    use super::{Service, ServicesList};

    impl<'a> Arbitrary<'a> for ServicesList {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
            let mask: u32 = u.arbitrary()?;
            let chosen = Service::ALL
                .iter()
                .enumerate()
                .filter(|(index, _)| mask & (1 << index) != 0);
            Ok(Self(chosen.map(|(_, &service)| service).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::Element;

    fn header(services: &[u8]) -> Result<ProfileHeader, Error> {
        let mut writer = Writer::new();
        writer.tlv(Tag::new(0xA0), |w| {
            w.value(0x80, &3_i64);
            w.value(0x81, &1_i64);
            w.tlv(Tag::new(0x83), |w| {
                w.raw(&hex_literal::hex!("8944476500001224158F"))
            });
            w.tlv(Tag::new(0xA5), |w| w.raw(services));
            w.tlv(Tag::new(0xA6), |_| {});
            w.value(0x87, &Octets(vec![1, 2, 3]));
        });
        ProfileHeader::from_der(&writer.into_bytes())
    }

    #[test]
    fn the_iccid_is_in_order_and_may_be_shorter_than_twenty_digits() {
        let header = header(&[0x81, 0]).unwrap();
        assert_eq!(header.iccid().unwrap().to_string(), "8944476500001224158");
        assert_eq!(
            header.connectivity_parameters.as_deref(),
            Some(&[1, 2, 3][..])
        );
        let broken = ProfileHeader {
            iccid_digits: [0xAB; 10],
            ..header
        };
        assert_eq!(broken.iccid(), Err(InvalidHeader::Iccid));
    }

    #[test]
    fn services_are_named_kept_when_unknown_and_refused_when_repeated() {
        let known = header(&[0x81, 0, 0x84, 0, 0x9E, 0])
            .unwrap()
            .mandatory_services;
        assert_eq!(
            known.0,
            [
                Service::Usim,
                Service::Milenage,
                Service::Unknown(Tag::new(0x9E))
            ]
        );
        assert_eq!(
            known.to_uicc_capability().bits().collect::<Vec<_>>(),
            [1, 4]
        );
        assert!(header(&[0x81, 0, 0x81, 0]).is_err());
        assert!(header(&[0x84, 0, 0x81, 0]).is_err());
        assert!(header(&[0x81, 1, 0]).is_err());
    }

    #[test]
    fn a_version_is_found_in_the_type_text_only_when_written() {
        let typed = |text: &str| ProfileHeader {
            profile_type: Some(text.to_owned()),
            ..header(&[]).unwrap()
        };
        let with = typed("GSMA Generic eUICC Test Profile v5.0 extended");
        assert_eq!(
            (with.is_generic_test_profile(), with.profile_type_version()),
            (true, Some("5.0"))
        );
        let without = typed("Acme live versatile");
        assert_eq!(
            (
                without.is_generic_test_profile(),
                without.profile_type_version()
            ),
            (false, None)
        );
    }
}
