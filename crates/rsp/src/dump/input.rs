//! From what people paste to octets.

use super::DumpError;

/// Reads hexadecimal (spaces, line breaks, colons and `0x` allowed), base64 (both alphabets,
/// with or without padding, PEM lines allowed), or octets as they are.
///
/// Text that is hexadecimal is taken as such although it could be base64.
///
/// # Errors
/// When there is nothing.
pub fn parse_input(input: &[u8]) -> Result<Vec<u8>, DumpError> {
    let octets = match std::str::from_utf8(input) {
        Ok(text) => hexadecimal(text)
            .or_else(|| base64(text))
            .unwrap_or_else(|| input.to_vec()),
        Err(_) => input.to_vec(),
    };
    if octets.is_empty() {
        return Err(DumpError::Empty);
    }
    Ok(octets)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let mut digits = Vec::with_capacity(text.len());
    for word in
        text.split(|letter: char| letter.is_ascii_whitespace() || matches!(letter, ':' | ',' | '-'))
    {
        let word = word
            .strip_prefix("0x")
            .or_else(|| word.strip_prefix("0X"))
            .unwrap_or(word);
        for letter in word.chars() {
            digits.push(letter.to_digit(16)? as u8);
        }
    }
    digits.len().is_multiple_of(2).then_some(())?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |octet, digit| (octet << 4) | digit))
            .collect(),
    )
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let mut held = 0_u32;
    let mut held_bits = 0_u32;
    let mut padding = 0_usize;
    let mut symbols = 0_usize;
    for line in text.lines().filter(|line| !line.starts_with("-----")) {
        for letter in line.bytes().filter(|letter| !letter.is_ascii_whitespace()) {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' => {
                    padding += 1;
                    continue;
                }
                _ => return None,
            };
            if padding > 0 {
                return None;
            }
            symbols += 1;
            held = (held << 6) | u32::from(value);
            held_bits += 6;
            if held_bits >= 8 {
                held_bits -= 8;
                octets.push((held >> held_bits) as u8);
                held &= (1 << held_bits) - 1;
            }
        }
    }
    let is_whole = symbols % 4 != 1
        && held == 0
        && (padding == 0 || (symbols + padding).is_multiple_of(4) && padding <= 2);
    is_whole.then_some(octets)
}

/// The data of STORE DATA commands, put together.
pub(super) struct StoreData {
    pub(super) data: Vec<u8>,
    pub(super) note: String,
}

/// Takes input apart that consists of STORE DATA commands only (SGP.22 section 5.7.2: CLA with
/// the channel, E2, 11 or 91, block number, length, data).
///
/// No message begins like that: E2 would be a length of 98 octets.
pub(super) fn store_data(bytes: &[u8]) -> Option<StoreData> {
    let mut rest = bytes;
    let mut data = Vec::new();
    let mut blocks = 0_usize;
    while !rest.is_empty() {
        let (header, behind) = rest.split_at_checked(5)?;
        let [class, 0xE2, 0x11 | 0x91, number, length] = *header else {
            return None;
        };
        if class < 0x80 || usize::from(number) != blocks % 256 {
            return None;
        }
        let (block, behind) = behind.split_at_checked(usize::from(length))?;
        data.extend_from_slice(block);
        // An expected length of 00 may follow.
        rest = match behind {
            [0x00, after @ ..] => after,
            all => all,
        };
        blocks += 1;
    }
    let note = format!(
        "the data of {blocks} STORE DATA command{}",
        if blocks == 1 { "" } else { "s" }
    );
    (!data.is_empty()).then_some(StoreData { data, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_base64_and_raw_octets_are_told_apart() {
        let octets = [0xBF, 0x2E, 0x00];
        for text in [
            "BF2E00",
            "bf 2e\n00\n",
            "BF:2E:00",
            "0xBF 0x2E 0x00",
            "vy4A",
            "vy4A\n",
            " vy4 A ",
        ] {
            assert_eq!(parse_input(text.as_bytes()).unwrap(), octets, "{text}");
        }
        assert_eq!(parse_input(&octets).unwrap(), octets);
        assert_eq!(
            parse_input(b"-----BEGIN X-----\nvy4A\n-----END X-----\n").unwrap(),
            octets
        );
        assert_eq!(parse_input(b"_-8").unwrap(), [0xFF, 0xEF]);
        assert_eq!(parse_input(b"/+8=").unwrap(), [0xFF, 0xEF]);
        for empty in [&b""[..], b" \n", b"-----BEGIN X-----"] {
            assert_eq!(parse_input(empty), Err(DumpError::Empty));
        }
        // Neither: taken as they are, to be refused with a place.
        for other in ["BF2E0", "vy4A=", "vy=4A", "hello, world"] {
            assert_eq!(
                parse_input(other.as_bytes()).unwrap(),
                other.as_bytes(),
                "{other}"
            );
        }
    }

    #[test]
    fn store_data_blocks_are_put_together_in_order() {
        let one = store_data(&hex_literal::hex!("80E2910003BF2E00 00")).unwrap();
        assert_eq!(one.data, [0xBF, 0x2E, 0x00]);
        let two = store_data(&hex_literal::hex!("81E2110002BF2E 81E291010100")).unwrap();
        assert_eq!(
            (two.data, two.note.as_str()),
            (vec![0xBF, 0x2E, 0x00], "the data of 2 STORE DATA commands")
        );
        for other in [
            &hex_literal::hex!("80E2910103BF2E00")[..],
            &hex_literal::hex!("80E2910004BF2E00"),
            &hex_literal::hex!("BF2E00"),
            &[],
        ] {
            assert!(store_data(other).is_none(), "{other:02X?}");
        }
    }
}
