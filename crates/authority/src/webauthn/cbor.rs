//! Reads the CBOR (RFC 8949) that authenticators write: definite lengths, no tags, nothing nested deeply.

/// How deep arrays and maps may nest. An attestation statement needs two levels, extensions three.
const DEPTH_MAX: usize = 8;

/// Goes through octets. Every method gives none where they are not what was asked for, and then must not be used further.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// The first octet of an item and its argument (RFC 8949 section 3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Unsigned(u64),
    /// The value is -1 minus this.
    Negative(u64),
    Octets(usize),
    Text(usize),
    Array(usize),
    Map(usize),
    /// A simple value or a number with a fraction.
    Other,
}

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        match self.head()? {
            Head::Unsigned(value) => i64::try_from(value).ok(),
            Head::Negative(value) => Some(-1 - i64::try_from(value).ok()?),
            _ => None,
        }
    }

    pub(super) fn octets(&mut self) -> Option<&'a [u8]> {
        match self.head()? {
            Head::Octets(length) => self.take(length),
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        match self.head()? {
            Head::Text(length) => std::str::from_utf8(self.take(length)?).ok(),
            _ => None,
        }
    }

    /// The number of pairs that follow, which is never more than the octets that follow.
    pub(super) fn map(&mut self) -> Option<usize> {
        match self.head()? {
            Head::Map(pairs) if pairs <= self.rest.len() => Some(pairs),
            _ => None,
        }
    }

    /// The octets of one whole item.
    pub(super) fn item(&mut self) -> Option<&'a [u8]> {
        let before = self.rest;
        self.skip(DEPTH_MAX)?;
        before.get(..before.len() - self.rest.len())
    }

    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.head()? {
            Head::Unsigned(_) | Head::Negative(_) | Head::Other => {}
            Head::Octets(length) => {
                self.take(length)?;
            }
            Head::Text(length) => {
                std::str::from_utf8(self.take(length)?).ok()?;
            }
            Head::Array(items) => self.skip_many(items, depth)?,
            Head::Map(pairs) => self.skip_many(pairs.checked_mul(2)?, depth)?,
        }
        Some(())
    }

    fn skip_many(&mut self, items: usize, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        if items > self.rest.len() {
            return None;
        }
        for _ in 0..items {
            self.skip(depth)?;
        }
        Some(())
    }

    fn head(&mut self) -> Option<Head> {
        let first = *self.take(1)?.first()?;
        let argument = match first & 0x1F {
            small @ 0..=23 => u64::from(small),
            24 => self.number(1)?,
            25 => self.number(2)?,
            26 => self.number(4)?,
            27 => self.number(8)?,
            // Reserved, or of a length that is not stated.
            _ => return None,
        };
        let length = usize::try_from(argument);
        Some(match first >> 5 {
            0 => Head::Unsigned(argument),
            1 => Head::Negative(argument),
            2 => Head::Octets(length.ok()?),
            3 => Head::Text(length.ok()?),
            4 => Head::Array(length.ok()?),
            5 => Head::Map(length.ok()?),
            7 => Head::Other,
            // Tags.
            _ => return None,
        })
    }

    fn number(&mut self, octets: usize) -> Option<u64> {
        let octets = self.take(octets)?;
        Some(
            octets
                .iter()
                .fold(0, |value, octet| value << 8 | u64::from(*octet)),
        )
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_examples_of_the_standard() {
        // RFC 8949 appendix A.
        let integer = |text: &str| Reader::new(&hex::decode(text).unwrap()).integer();
        for (text, value) in [
            ("00", 0),
            ("17", 23),
            ("1818", 24),
            ("1903e8", 1000),
            ("1b000000e8d4a51000", 1_000_000_000_000),
            ("20", -1),
            ("3863", -100),
            ("3903e7", -1000),
        ] {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        assert_eq!(integer("1bffffffffffffffff"), None);
        assert_eq!(integer("3bffffffffffffffff"), None);
        assert_eq!(
            Reader::new(&[0x44, 1, 2, 3, 4]).octets(),
            Some(&[1, 2, 3, 4][..])
        );
        assert_eq!(Reader::new(b"\x64IETF").text(), Some("IETF"));
        // [_ 1, 2]: no stated length; a tag; a text that is not UTF-8; lengths beyond the end.
        for bad in [
            "9f0102ff",
            "c11a514b67b0",
            "62c328",
            "5bffffffffffffffff00",
            "5803aa",
        ] {
            assert_eq!(
                Reader::new(&hex::decode(bad).unwrap()).item(),
                None,
                "{bad}"
            );
        }
        assert_eq!(
            Reader::new(&[0xBB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).map(),
            None
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();
        assert!(Reader::new(&nested(DEPTH_MAX)).item().is_some());
        assert!(Reader::new(&nested(DEPTH_MAX + 1)).item().is_none());
        assert!(Reader::new(&nested(100_000)).item().is_none());
    }

    proptest! {
        #[test]
        fn no_octets_make_it_fail_otherwise(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&octets);
            if let Some(item) = reader.item() {
                prop_assert_eq!(item.len() + reader.rest().len(), octets.len());
            }
        }
    }
}
