//! The proactive command REFRESH (ETSI TS 102 223 sections 6.4.7, 6.6.13).

use crate::decisions::REFRESH_QUALIFIER;

/// Where the one proactive command of this card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proactive {
    Idle,
    /// Announced by 91xx until it is fetched.
    Waiting,
    /// The terminal works on it.
    Fetched,
}

/// `D0 { 81 command details: number, type REFRESH, qualifier; 82 devices: UICC to terminal }`.
pub(super) const REFRESH: [u8; 11] = [
    0xD0,
    0x09,
    0x81,
    0x03,
    0x01,
    0x01,
    REFRESH_QUALIFIER,
    0x82,
    0x02,
    0x81,
    0x82,
];

/// Reads the general result of a TERMINAL RESPONSE to REFRESH: whether it was performed (0x and 1x). `None` when it is
/// not a response to it.
pub(super) fn is_performed(response: &[u8]) -> Option<bool> {
    let details = comprehension_tlv(response, 0x01)?;
    if details.get(1) != Some(&0x01) {
        return None;
    }
    let result = comprehension_tlv(response, 0x03)?.first()?;
    Some(*result < 0x20)
}

/// The value under a tag, whose comprehension bit does not matter.
fn comprehension_tlv(mut octets: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [tag, length, rest @ ..] = octets {
        let (value, behind) = rest.split_at_checked(usize::from(*length))?;
        if tag & 0x7F == wanted {
            return Some(value);
        }
        octets = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn the_result_of_the_terminal_is_read() {
        assert_eq!(
            is_performed(&hex!("8103010104 82028281 830100")),
            Some(true)
        );
        assert_eq!(
            is_performed(&hex!("0103010104 02028281 030120")),
            Some(false)
        );
        assert_eq!(
            is_performed(&hex!("8103012104 82028281 830100")),
            None,
            "DISPLAY TEXT"
        );
        assert_eq!(is_performed(&hex!("8103010104 82028281")), None);
        assert_eq!(is_performed(&hex!("8103010104 8305")), None);
        assert_eq!(is_performed(&[]), None);
    }
}
