use std::fmt;

/// The identifier octets of a TLV, as they stand on the wire: `0x30`, `0x5F37`, `0xBF51`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u32);

impl Tag {
    /// SEQUENCE.
    pub const SEQUENCE: Self = Self(0x30);

    /// A tag from its identifier octets, most significant first.
    pub const fn new(octets: u32) -> Self {
        Self(octets)
    }

    /// The identifier octets as one big-endian number.
    pub const fn octets(self) -> u32 {
        self.0
    }

    /// Whether the content consists of TLVs (X.690 section 8.1.2.5).
    pub const fn is_constructed(self) -> bool {
        let first = match self.0 {
            0..=0xFF => self.0,
            0x100..=0xFFFF => self.0 >> 8,
            0x1_0000..=0xFF_FFFF => self.0 >> 16,
            _ => self.0 >> 24,
        };
        first & 0x20 != 0
    }

    /// Reads identifier octets, returning the tag and their number.
    ///
    /// At most four octets; the long form only where the short one does not fit
    /// (X.690 section 8.1.2.4).
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, rest) = bytes.split_first()?;
        let mut value = u32::from(first);
        if first & 0x1F != 0x1F {
            return Some((Self(value), 1));
        }
        for (index, &octet) in rest.iter().take(3).enumerate() {
            let leading_zero = index == 0 && octet == 0x80;
            let short_form_fits = index == 0 && octet < 0x1F;
            if leading_zero || short_form_fits {
                return None;
            }
            value = (value << 8) | u32::from(octet);
            if octet & 0x80 == 0 {
                return Some((Self(value), index + 2));
            }
        }
        None
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let octets = self.0.to_be_bytes();
        let skip = (self.0.leading_zeros() / 8).min(3) as usize;
        out.extend(octets.iter().skip(skip));
    }
}

impl From<u32> for Tag {
    fn from(octets: u32) -> Self {
        Self(octets)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_one_two_and_three_octets_are_read_and_written() {
        for octets in [0x30, 0x5A, 0x5F37, 0xBF51, 0x9F70, 0xBF8101] {
            let tag = Tag::new(octets);
            let mut bytes = Vec::new();
            tag.write(&mut bytes);
            assert_eq!(Tag::read(&bytes), Some((tag, bytes.len())));
        }
    }

    #[test]
    fn a_long_form_that_is_not_needed_is_refused() {
        assert_eq!(Tag::read(&[0xBF, 0x1E]), None);
        assert_eq!(Tag::read(&[0xBF, 0x80, 0x51]), None);
        assert_eq!(Tag::read(&[0xBF]), None);
        assert_eq!(Tag::read(&[0xBF, 0x81, 0x81, 0x81, 0x01]), None);
    }

    #[test]
    fn constructed_is_bit_six_of_the_first_octet() {
        assert!(Tag::new(0xBF51).is_constructed());
        assert!(Tag::new(0xA0).is_constructed());
        assert!(!Tag::new(0x5F37).is_constructed());
        assert!(!Tag::new(0x9F70).is_constructed());
    }
}
