use std::fmt;

use crate::der::{Error, FieldReader, Null, Tag, Tlv};

macro_rules! kinds {
    ( $( $(#[$meta:meta])* $kind:ident = $tag:literal $name:literal ),* $(,)? ) => {
        /// What a profile element does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ElementKind {
            $( $(#[$meta])* $kind, )*
            /// A tag that this version does not know.
            Unknown(Tag),
        }

        impl ElementKind {
            /// All that have a name.
            pub const ALL: &[Self] = &[$( Self::$kind ),*];

            /// The kind with this tag.
            pub fn from_tag(tag: Tag) -> Self {
                match tag.octets() {
                    $( $tag => Self::$kind, )*
                    _ => Self::Unknown(tag),
                }
            }

            /// The tag of the element.
            pub fn tag(self) -> Tag {
                match self {
                    $( Self::$kind => Tag::new($tag), )*
                    Self::Unknown(tag) => tag,
                }
            }

            /// The name in the module.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$kind => $name, )*
                    Self::Unknown(_) => "unknown",
                }
            }
        }
    };
}

kinds! {
    /// ProfileHeader.
    Header = 0xA0 "header",
    /// Files without a template.
    GenericFileManagement = 0xA1 "genericFileManagement",
    /// PINs.
    PinCodes = 0xA2 "pinCodes",
    /// PUKs.
    PukCodes = 0xA3 "pukCodes",
    /// Authentication and key agreement: algorithm and keys.
    AkaParameter = 0xA4 "akaParameter",
    /// CDMA authentication.
    CdmaParameter = 0xA5 "cdmaParameter",
    /// A security domain and its keys.
    SecurityDomain = 0xA6 "securityDomain",
    /// Remote file management.
    Rfm = 0xA7 "rfm",
    /// A load package, or applications from one.
    Application = 0xA8 "application",
    /// Something that an issuer defined.
    NonStandard = 0xA9 "nonStandard",
    /// The last element.
    End = 0xAA "end",
    /// Reserved.
    Rfu1 = 0xAB "rfu1",
    /// Reserved.
    Rfu2 = 0xAC "rfu2",
    /// Reserved.
    Rfu3 = 0xAD "rfu3",
    /// Reserved.
    Rfu4 = 0xAE "rfu4",
    /// Reserved.
    Rfu5 = 0xAF "rfu5",
    /// The master file and what stands under it.
    Mf = 0xB0 "mf",
    /// DF.CD.
    Cd = 0xB1 "cd",
    /// DF.TELECOM.
    Telecom = 0xB2 "telecom",
    /// ADF.USIM.
    Usim = 0xB3 "usim",
    /// Optional files of the USIM.
    OptUsim = 0xB4 "opt-usim",
    /// ADF.ISIM.
    Isim = 0xB5 "isim",
    /// Optional files of the ISIM.
    OptIsim = 0xB6 "opt-isim",
    /// DF.PHONEBOOK.
    Phonebook = 0xB7 "phonebook",
    /// DF.GSM-ACCESS.
    GsmAccess = 0xB8 "gsm-access",
    /// ADF.CSIM.
    Csim = 0xB9 "csim",
    /// Optional files of the CSIM.
    OptCsim = 0xBA "opt-csim",
    /// DF.EAP.
    Eap = 0xBB "eap",
    /// DF.5GS.
    Df5gs = 0xBC "df-5gs",
    /// DF.SAIP.
    DfSaip = 0xBD "df-saip",
    /// DF.SNPN.
    DfSnpn = 0xBE "df-snpn",
    /// DF.5GPROSE.
    Df5gProse = 0xBF1F "df-5gprose",
    /// The IoT Minimal Profile: MF and USIM in one.
    Iot = 0xBF20 "iot",
    /// Optional files of the IoT Minimal Profile.
    OptIot = 0xBF21 "opt-iot",
}

impl ElementKind {
    /// Whether the element creates files.
    pub fn is_file_system(self) -> bool {
        self == Self::GenericFileManagement || self.template_arc().is_some()
    }

    /// Whether the element brings the master file.
    pub fn brings_master_file(self) -> bool {
        matches!(self, Self::Mf | Self::Iot)
    }

    /// The arc behind 2.23.143.1.2 of the file structure templates for this kind; `None` for
    /// elements without a template.
    pub(crate) fn template_arc(self) -> Option<u32> {
        Some(match self {
            Self::Mf => 1,
            Self::Cd => 2,
            Self::Telecom => 3,
            Self::Usim => 4,
            Self::OptUsim => 5,
            Self::Phonebook => 6,
            Self::GsmAccess => 7,
            Self::Isim => 8,
            Self::OptIsim => 9,
            Self::Csim => 10,
            Self::OptCsim => 11,
            Self::Eap => 12,
            Self::Df5gs => 13,
            Self::DfSaip => 14,
            Self::DfSnpn => 15,
            Self::Df5gProse => 16,
            Self::Iot => 17,
            Self::OptIot => 18,
            _ => return None,
        })
    }

    /// The kinds one of which must stand before this one, because it creates the directory.
    pub(super) fn parents(self) -> &'static [Self] {
        match self {
            Self::OptUsim
            | Self::GsmAccess
            | Self::Df5gs
            | Self::DfSaip
            | Self::DfSnpn
            | Self::Df5gProse => &[Self::Usim, Self::Iot],
            Self::OptIsim => &[Self::Isim],
            Self::OptCsim => &[Self::Csim],
            Self::OptIot => &[Self::Iot],
            _ => &[],
        }
    }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(tag) => write!(f, "unknown element {tag}"),
            known => f.write_str(known.name()),
        }
    }
}

/// PEHeader: what every element except the profile header begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeHeader {
    /// An eUICC that does not know the element must refuse the package.
    pub mandated: bool,
    /// 0 to 32767, unique in the package.
    pub identification: u16,
}

impl PeHeader {
    /// The tag under which the header stands in every element.
    const TAG: Tag = Tag::new(0xA0);

    /// Reads the header that stands first in an element.
    ///
    /// `None` when an element of an unknown kind begins with something else.
    pub(super) fn of(element: Tlv<'_>, kind: ElementKind) -> Result<Option<Self>, Error> {
        let first = match element.open()?.next()? {
            Some(tlv) if tlv.tag() == Self::TAG => tlv,
            _ if Self::may_lack(kind) => return Ok(None),
            _ => {
                return Err(Error::invalid(
                    "a profile element begins with its header (A0)",
                ));
            }
        };
        match Self::read(first) {
            Err(_) if Self::may_lack(kind) => Ok(None),
            header => header.map(Some).map_err(|error| error.within("PEHeader")),
        }
    }

    fn may_lack(kind: ElementKind) -> bool {
        use ElementKind::{Rfu1, Rfu2, Rfu3, Rfu4, Rfu5, Unknown};
        matches!(kind, Unknown(_) | Rfu1 | Rfu2 | Rfu3 | Rfu4 | Rfu5)
    }

    fn read(tlv: Tlv<'_>) -> Result<Self, Error> {
        let mut fields = FieldReader::open(tlv)?;
        let mandated = fields.optional::<Null>(0x80, "mandated")?.is_some();
        let identification: i64 = fields.required(0x81, "identification")?;
        fields.extensions(|tag| matches!(tag.octets(), 0x80 | 0x81))?;
        let identification = u16::try_from(identification)
            .ok()
            .filter(|&number| number < 1 << 15)
            .ok_or_else(|| {
                Error::invalid("an identification is 0 to 32767").within("identification")
            })?;
        Ok(Self {
            mandated,
            identification,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_tags_are_one_to_one() {
        for (index, &kind) in ElementKind::ALL.iter().enumerate() {
            assert_eq!(ElementKind::from_tag(kind.tag()), kind);
            // The alternatives are numbered without a gap under AUTOMATIC TAGS.
            let expected = if index < 31 {
                0xA0 + index as u32
            } else {
                0xBF00 + index as u32
            };
            assert_eq!(kind.tag().octets(), expected, "{kind}");
        }
        let unknown = ElementKind::from_tag(Tag::new(0xBF22));
        assert_eq!(unknown, ElementKind::Unknown(Tag::new(0xBF22)));
        assert_eq!(unknown.to_string(), "unknown element BF22");
    }
}
