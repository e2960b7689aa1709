//! Segmentation of a Bound Profile Package into ES10 commands (SGP.22 v2.5 section 2.5.5).

use rsp::der::Element;
use rsp::der::{Error, ErrorKind, Limits, Reader, Tag, Tlv};
use rsp::sgp22::StoreMetadataRequest;

const BOUND_PROFILE_PACKAGE: Tag = Tag::new(0xBF36);
const INITIALISE_SECURE_CHANNEL: Tag = Tag::new(0xBF23);
const FIRST_SEQUENCE_OF_87: Tag = Tag::new(0xA0);
const SEQUENCE_OF_88: Tag = Tag::new(0xA1);
const SECOND_SEQUENCE_OF_87: Tag = Tag::new(0xA2);
const SEQUENCE_OF_86: Tag = Tag::new(0xA3);
const SEGMENT_88: Tag = Tag::new(0x88);
const SEGMENT_86: Tag = Tag::new(0x86);

/// Octets of the MAC at the end of a segment.
const MAC_OCTETS: usize = 8;

/// The ES10 commands of a package, in their order.
pub(super) fn commands<'a>(package: &'a [u8], limits: &'a Limits) -> Result<Vec<&'a [u8]>, Error> {
    let whole = whole_package(package, limits)?;
    let mut members = whole.open()?;
    let secure_channel = members.expect(INITIALISE_SECURE_CHANNEL)?;
    // The first command is the header of BF36 with all of BF23.
    let first_octets = header_octets(&whole) + secure_channel.whole().len();
    let mut commands = vec![package.get(..first_octets).unwrap_or_default()];
    commands.push(members.expect(FIRST_SEQUENCE_OF_87)?.whole());
    push_apart(&mut commands, members.expect(SEQUENCE_OF_88)?, SEGMENT_88)?;
    let mut last = members.expect_any()?;
    if last.tag() == SECOND_SEQUENCE_OF_87 {
        commands.push(last.whole());
        last = members.expect_any()?;
    }
    if last.tag() != SEQUENCE_OF_86 {
        return Err(Error::new(ErrorKind::UnexpectedTag { found: last.tag() }));
    }
    push_apart(&mut commands, last, SEGMENT_86)?;
    Ok(commands)
}

/// The metadata in a package. They are protected against change, not against reading; the MACs are for the eUICC to check.
pub(crate) fn metadata(package: &[u8]) -> Result<StoreMetadataRequest, Error> {
    let limits = Limits::default();
    let mut members = whole_package(package, &limits)?.open()?;
    members.expect(INITIALISE_SECURE_CHANNEL)?;
    members.expect(FIRST_SEQUENCE_OF_87)?;
    let mut segments = members.expect(SEQUENCE_OF_88)?.open()?;
    let mut metadata = Vec::new();
    while let Some(segment) = segments.next()? {
        if segment.tag() != SEGMENT_88 {
            return Err(Error::new(ErrorKind::UnexpectedTag {
                found: segment.tag(),
            }));
        }
        let data_octets = segment
            .content()
            .len()
            .checked_sub(MAC_OCTETS)
            .ok_or_else(|| Error::invalid("a segment is shorter than its MAC"))?;
        metadata.extend_from_slice(segment.content().get(..data_octets).unwrap_or_default());
    }
    StoreMetadataRequest::from_der(&metadata)
}

fn whole_package<'a>(package: &'a [u8], limits: &'a Limits) -> Result<Tlv<'a>, Error> {
    let mut reader = Reader::new(package, limits)?;
    let whole = reader.expect(BOUND_PROFILE_PACKAGE)?;
    reader.finish()?;
    Ok(whole)
}

/// Header of the sequence alone, then each segment alone.
fn push_apart<'a>(
    commands: &mut Vec<&'a [u8]>,
    sequence: Tlv<'a>,
    segment: Tag,
) -> Result<(), Error> {
    commands.push(
        sequence
            .whole()
            .get(..header_octets(&sequence))
            .unwrap_or_default(),
    );
    let mut segments = sequence.open()?;
    while let Some(found) = segments.next()? {
        if found.tag() != segment {
            return Err(Error::new(ErrorKind::UnexpectedTag { found: found.tag() }));
        }
        commands.push(found.whole());
    }
    Ok(())
}

fn header_octets(tlv: &Tlv<'_>) -> usize {
    tlv.whole().len() - tlv.content().len()
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn a_package_is_cut_where_sgp22_section_2_5_5_says() {
        let package = hex!(
            "BF36 20" "BF23 03 820101" "A0 03 870111" "A1 06 880122 880133" "A2 03 870144" "A3 06 860155 860166"
        );
        let expected: [&[u8]; 9] = [
            &hex!("BF3620 BF2303820101"),
            &hex!("A003870111"),
            &hex!("A106"),
            &hex!("880122"),
            &hex!("880133"),
            &hex!("A203870144"),
            &hex!("A306"),
            &hex!("860155"),
            &hex!("860166"),
        ];
        assert_eq!(commands(&package, &Limits::default()).unwrap(), expected);
        let without_a2 =
            hex!("BF36 18" "BF23 03 820101" "A0 03 870111" "A1 03 880122" "A3 06 860155 860166");
        assert_eq!(commands(&without_a2, &Limits::default()).unwrap().len(), 7);
    }

    #[test]
    fn what_is_no_package_yields_no_commands() {
        for wrong in [
            &hex!("BF36 00")[..],
            &hex!("BF37 00"),
            &hex!("BF36 06 BF23 03 820101"),
            &hex!("BF36 15 BF23 03 820101 A0 03 870111 A1 03 880122 A2 03 870111"),
            &hex!("BF36 14 BF23 03 820101 A0 03 870111 A1 03 860122 A3 02 8600"),
            &[],
        ] {
            assert!(commands(wrong, &Limits::default()).is_err(), "{wrong:02X?}");
        }
    }

    #[test]
    fn metadata_are_put_together_from_their_segments() {
        let metadata_der = hex!("BF25 12 5A0A98001032547698103214 9101 41 9201 42");
        let (one, two) = metadata_der.split_at(5);
        let mut segments = Vec::new();
        for part in [one, two] {
            segments.extend([0x88, part.len() as u8 + 8]);
            segments.extend_from_slice(part);
            segments.extend([0xEE; 8]);
        }
        let mut content = hex!("BF23 03 820101 A0 03 870111").to_vec();
        content.extend([0xA1, segments.len() as u8]);
        content.extend(segments);
        content.extend(hex!("A3 03 860155"));
        let package = [&[0xBF, 0x36, content.len() as u8][..], &content].concat();
        let found = metadata(&package).unwrap();
        assert_eq!(
            (
                found.service_provider_name.as_str(),
                found.profile_name.as_str()
            ),
            ("A", "B")
        );
        let short = hex!("BF36 10 BF23 03 820101 A0 03 870111 A1 03 880122");
        assert!(metadata(&short).is_err());
    }
}
