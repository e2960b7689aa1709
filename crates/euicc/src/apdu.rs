//! Command APDUs, their class byte, and status words (ISO/IEC 7816-4, ETSI TS 102 221 section 10).

use std::fmt;

/// SW1 SW2.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Normal ending.
    pub const OK: Self = Self(0x9000);
    /// The non-volatile memory failed.
    pub const MEMORY_FAILURE: Self = Self(0x6581);
    /// Wrong length of the data.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// No such logical channel.
    pub const CHANNEL_NOT_SUPPORTED: Self = Self(0x6881);
    /// Secure messaging is not supported.
    pub const SECURE_MESSAGING_NOT_SUPPORTED: Self = Self(0x6882);
    /// Command chaining is not supported.
    pub const CHAINING_NOT_SUPPORTED: Self = Self(0x6884);
    /// Conditions of use not satisfied.
    pub const CONDITIONS_NOT_SATISFIED: Self = Self(0x6985);
    /// Wrong data.
    pub const WRONG_DATA: Self = Self(0x6A80);
    /// Function not supported.
    pub const FUNCTION_NOT_SUPPORTED: Self = Self(0x6A81);
    /// Application not found.
    pub const NOT_FOUND: Self = Self(0x6A82);
    /// Not enough memory.
    pub const NOT_ENOUGH_MEMORY: Self = Self(0x6A84);
    /// Wrong P1 or P2.
    pub const WRONG_P1_P2: Self = Self(0x6A86);
    /// Referenced data not found; for ES10: no such function.
    pub const REFERENCED_DATA_NOT_FOUND: Self = Self(0x6A88);
    /// Instruction not supported.
    pub const INSTRUCTION_NOT_SUPPORTED: Self = Self(0x6D00);
    /// Class not supported.
    pub const CLASS_NOT_SUPPORTED: Self = Self(0x6E00);
    /// Something inside failed.
    pub const NO_DIAGNOSIS: Self = Self(0x6F00);

    /// More response data: GET RESPONSE. 0 stands for 256 or more.
    pub(crate) fn more_data(octets: usize) -> Self {
        Self(0x6100 | short_length(octets))
    }

    /// Wrong Le; this is the right one.
    pub(crate) fn exact_length(octets: usize) -> Self {
        Self(0x6C00 | short_length(octets))
    }

    /// Normal ending, and a proactive command of this length waits (ETSI TS 102 221 section 7.4.2).
    pub(crate) fn proactive(octets: usize) -> Self {
        Self(0x9100 | short_length(octets))
    }

    /// The two octets.
    pub fn octets(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

fn short_length(octets: usize) -> u16 {
    u8::try_from(octets).map_or(0, u16::from)
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Number of the highest logical channel.
pub(crate) const CHANNEL_MAX: u8 = 19;

/// A command APDU of short length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Command<'a> {
    /// The class is one of GlobalPlatform or ETSI, not an interindustry one.
    pub(crate) is_proprietary: bool,
    pub(crate) channel: u8,
    pub(crate) ins: u8,
    pub(crate) p1: u8,
    pub(crate) p2: u8,
    pub(crate) data: &'a [u8],
    /// Octets expected, 1 to 256.
    pub(crate) le: Option<usize>,
}

impl<'a> Command<'a> {
    /// Reads an APDU of cases 1 to 4. Extended lengths are not supported.
    pub(crate) fn parse(apdu: &'a [u8]) -> Result<Self, StatusWord> {
        let [cla, ins, p1, p2, body @ ..] = apdu else {
            return Err(StatusWord::WRONG_LENGTH);
        };
        let (is_proprietary, channel) = class(*cla)?;
        let (data, le) = match body {
            [] => (&[][..], None),
            [le] => (&[][..], Some(expected(*le))),
            [lc, rest @ ..] => {
                let (data, rest) = rest
                    .split_at_checked(usize::from(*lc))
                    .filter(|_| *lc != 0)
                    .ok_or(StatusWord::WRONG_LENGTH)?;
                match rest {
                    [] => (data, None),
                    [le] => (data, Some(expected(*le))),
                    _ => return Err(StatusWord::WRONG_LENGTH),
                }
            }
        };
        Ok(Self {
            is_proprietary,
            channel,
            ins: *ins,
            p1: *p1,
            p2: *p2,
            data,
            le,
        })
    }
}

fn expected(le: u8) -> usize {
    if le == 0 { 256 } else { usize::from(le) }
}

/// Whether the class is proprietary, and its channel (ETSI TS 102 221 section 10.1.1).
fn class(cla: u8) -> Result<(bool, u8), StatusWord> {
    let is_proprietary = cla & 0x80 != 0;
    let (is_secured, channel) = match cla & 0x60 {
        0x00 => (cla & 0x0C != 0, cla & 0x03),
        0x20 => return Err(StatusWord::CLASS_NOT_SUPPORTED),
        _ => (cla & 0x20 != 0, 4 + (cla & 0x0F)),
    };
    if cla == 0xFF {
        return Err(StatusWord::CLASS_NOT_SUPPORTED);
    }
    if is_secured {
        return Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED);
    }
    if cla & 0x10 != 0 {
        return Err(StatusWord::CHAINING_NOT_SUPPORTED);
    }
    Ok((is_proprietary, channel))
}

/// The class byte of STORE DATA and GET RESPONSE on a channel.
pub(crate) fn proprietary_class(channel: u8) -> u8 {
    if channel < 4 {
        0x80 | channel
    } else {
        0xC0 | (channel - 4)
    }
}

/// The class byte of SELECT on a channel.
pub(crate) fn interindustry_class(channel: u8) -> u8 {
    if channel < 4 {
        channel
    } else {
        0x40 | (channel - 4)
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn the_four_cases_are_told_apart() {
        let parse =
            |apdu: &'static [u8]| Command::parse(apdu).map(|command| (command.data, command.le));
        assert_eq!(parse(&hex!("00 70 80 01")), Ok((&[][..], None)));
        assert_eq!(parse(&hex!("00 70 00 00 01")), Ok((&[][..], Some(1))));
        assert_eq!(parse(&hex!("00 70 00 00 00")), Ok((&[][..], Some(256))));
        assert_eq!(
            parse(&hex!("81 E2 91 00 03 BF2D00")),
            Ok((&hex!("BF2D00")[..], None))
        );
        assert_eq!(
            parse(&hex!("81 E2 91 00 03 BF2D00 00")),
            Ok((&hex!("BF2D00")[..], Some(256)))
        );
        for wrong in [
            &hex!("")[..],
            &hex!("00 A4 04"),
            &hex!("81 E2 91 00 03 BF2D"),
            &hex!("81 E2 91 00 03 BF2D00 00 00"),
            &hex!("81 E2 91 00 00 00 03 BF2D00"),
        ] {
            assert_eq!(
                Command::parse(wrong),
                Err(StatusWord::WRONG_LENGTH),
                "{wrong:02X?}"
            );
        }
    }

    #[test]
    fn every_channel_has_a_class_of_each_kind() {
        for channel in 0..=CHANNEL_MAX {
            assert_eq!(class(proprietary_class(channel)), Ok((true, channel)));
            assert_eq!(class(interindustry_class(channel)), Ok((false, channel)));
        }
        assert_eq!((proprietary_class(1), proprietary_class(4)), (0x81, 0xC0));
        assert_eq!(class(0x04), Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED));
        assert_eq!(class(0xE0), Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED));
        assert_eq!(class(0x90), Err(StatusWord::CHAINING_NOT_SUPPORTED));
        assert_eq!(class(0xA0), Err(StatusWord::CLASS_NOT_SUPPORTED));
        assert_eq!(class(0x20), Err(StatusWord::CLASS_NOT_SUPPORTED));
        assert_eq!(class(0xFF), Err(StatusWord::CLASS_NOT_SUPPORTED));
    }
}
