use super::{Element, Error, ErrorKind, Extensions, RawElement, Tag, Value};

/// Bounds on one message, checked before anything is allocated for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the whole message.
    pub message_octets_max: usize,
    /// Levels of constructed TLVs.
    pub depth_max: u8,
    /// Members of one SEQUENCE OF.
    pub list_members_max: usize,
    /// Accept lengths written with more octets than needed (BER). Some cards send them;
    /// see [`crate::tolerance::card_limits`].
    pub non_minimal_lengths: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets_max: 1 << 20,
            depth_max: 24,
            list_members_max: 4096,
            non_minimal_lengths: false,
        }
    }
}

/// Walks the TLVs of a run of octets.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    depth: u8,
    limits: &'a Limits,
}

/// One TLV: tag, content and the whole of it as received.
#[derive(Clone, Copy, Debug)]
pub struct Tlv<'a> {
    tag: Tag,
    content: &'a [u8],
    whole: &'a [u8],
    depth: u8,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    /// Starts reading a message.
    pub fn new(bytes: &'a [u8], limits: &'a Limits) -> Result<Self, Error> {
        if bytes.len() > limits.message_octets_max {
            return Err(Error::new(ErrorKind::TooLong {
                length: bytes.len(),
                limit: limits.message_octets_max,
            }));
        }
        Ok(Self {
            rest: bytes,
            depth: 0,
            limits,
        })
    }

    /// The next TLV, or `None` at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible, and not an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Tlv<'a>>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (tag, tag_octets) =
            Tag::read(self.rest).ok_or_else(|| Error::new(ErrorKind::MalformedTag))?;
        let after_tag = self.rest.get(tag_octets..).unwrap_or_default();
        let (length, length_octets) = read_length(after_tag, self.limits.non_minimal_lengths)?;
        let start = tag_octets + length_octets;
        let end = start
            .checked_add(length)
            .ok_or_else(|| Error::new(ErrorKind::Truncated))?;
        let (Some(content), Some(whole), Some(rest)) = (
            self.rest.get(start..end),
            self.rest.get(..end),
            self.rest.get(end..),
        ) else {
            return Err(Error::new(ErrorKind::Truncated));
        };
        self.rest = rest;
        Ok(Some(Tlv {
            tag,
            content,
            whole,
            depth: self.depth,
            limits: self.limits,
        }))
    }

    /// The next TLV; its absence is an error.
    pub fn expect_any(&mut self) -> Result<Tlv<'a>, Error> {
        self.next()?.ok_or_else(|| Error::new(ErrorKind::Missing))
    }

    /// The next TLV, which must have this tag.
    pub fn expect(&mut self, tag: Tag) -> Result<Tlv<'a>, Error> {
        let tlv = self.expect_any()?;
        if tlv.tag != tag {
            return Err(Error::new(ErrorKind::UnexpectedTag { found: tlv.tag }));
        }
        Ok(tlv)
    }

    /// The tag of the next TLV without consuming it.
    pub fn peek_tag(&self) -> Option<Tag> {
        Tag::read(self.rest).map(|(tag, _)| tag)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The octets not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails when octets are left over.
    pub fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TrailingOctets {
            count: self.rest.len(),
        }))
    }
}

impl<'a> Tlv<'a> {
    /// The identifier octets.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The content octets.
    pub fn content(&self) -> &'a [u8] {
        self.content
    }

    /// Tag, length and content as received.
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }

    /// A reader over the TLVs inside. Counts as one level of depth.
    pub fn open(&self) -> Result<Reader<'a>, Error> {
        if self.depth >= self.limits.depth_max {
            return Err(Error::new(ErrorKind::TooDeep {
                limit: self.limits.depth_max,
            }));
        }
        Ok(Reader {
            rest: self.content,
            depth: self.depth + 1,
            limits: self.limits,
        })
    }

    /// The same octets seen under another tag: for a CHOICE arm whose own tag was left out.
    pub fn retagged(&self, tag: Tag) -> Self {
        Self { tag, ..*self }
    }

    /// The limits in force.
    pub fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// The members of a SEQUENCE OF.
    pub fn members<T: Element>(&self) -> Result<Vec<T>, Error> {
        let mut reader = self.open()?;
        let mut members = Vec::new();
        while let Some(tlv) = reader.next()? {
            if members.len() >= self.limits.list_members_max {
                return Err(Error::new(ErrorKind::TooMany {
                    limit: self.limits.list_members_max,
                }));
            }
            members.push(T::decode_element(tlv)?);
        }
        Ok(members)
    }
}

/// Reads the members of a SEQUENCE in their declared order; what is left is the extensions.
#[derive(Debug)]
pub struct FieldReader<'a> {
    reader: Reader<'a>,
    pending: Option<Tlv<'a>>,
}

impl<'a> FieldReader<'a> {
    /// Opens a SEQUENCE.
    pub fn open(tlv: Tlv<'a>) -> Result<Self, Error> {
        let mut reader = tlv.open()?;
        let pending = reader.next()?;
        Ok(Self { reader, pending })
    }

    fn take_if(&mut self, accepts: impl FnOnce(Tag) -> bool) -> Result<Option<Tlv<'a>>, Error> {
        match self.pending {
            Some(tlv) if accepts(tlv.tag) => {
                self.pending = self.reader.next()?;
                Ok(Some(tlv))
            }
            _ => Ok(None),
        }
    }

    /// A member that may be absent.
    pub fn optional<T: Value>(&mut self, tag: u32, name: &'static str) -> Result<Option<T>, Error> {
        let Some(tlv) = self.take_if(|found| found == Tag::new(tag))? else {
            return Ok(None);
        };
        T::decode_content(tlv)
            .map(Some)
            .map_err(|error| error.within(name))
    }

    /// A member that must be there.
    pub fn required<T: Value>(&mut self, tag: u32, name: &'static str) -> Result<T, Error> {
        self.optional(tag, name)?
            .ok_or_else(|| Error::new(ErrorKind::Missing).within(name))
    }

    /// A member with a tag of its own that may be absent.
    pub fn element_optional<T: Element>(&mut self, name: &'static str) -> Result<Option<T>, Error> {
        let Some(tlv) = self.take_if(T::accepts)? else {
            return Ok(None);
        };
        T::decode_element(tlv)
            .map(Some)
            .map_err(|error| error.within(name))
    }

    /// A member with a tag of its own that must be there. An unknown alternative of an
    /// extensible CHOICE is accepted here.
    pub fn element<T: Element>(&mut self, name: &'static str) -> Result<T, Error> {
        let Some(tlv) = self.take_if(|_| true)? else {
            return Err(Error::new(ErrorKind::Missing).within(name));
        };
        T::decode_element(tlv).map_err(|error| error.within(name))
    }

    /// All that follows the known members. A known member among it is out of order.
    pub fn extensions(mut self, is_known: impl Fn(Tag) -> bool) -> Result<Extensions, Error> {
        let mut extensions = Vec::new();
        while let Some(tlv) = self.take_if(|_| true)? {
            if is_known(tlv.tag) {
                return Err(Error::new(ErrorKind::Misplaced { found: tlv.tag }));
            }
            if extensions.len() >= tlv.limits.list_members_max {
                return Err(Error::new(ErrorKind::TooMany {
                    limit: tlv.limits.list_members_max,
                }));
            }
            extensions.push(RawElement::from_tlv(tlv));
        }
        Ok(Extensions::new(extensions))
    }
}

/// Returns the length and the number of octets it took.
fn read_length(bytes: &[u8], non_minimal_allowed: bool) -> Result<(usize, usize), Error> {
    let (&first, rest) = bytes
        .split_first()
        .ok_or_else(|| Error::new(ErrorKind::Truncated))?;
    if first < 0x80 {
        return Ok((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7F);
    if !(1..=4).contains(&count) {
        return Err(Error::new(ErrorKind::MalformedLength));
    }
    let octets = rest
        .get(..count)
        .ok_or_else(|| Error::new(ErrorKind::Truncated))?;
    let length = octets
        .iter()
        .fold(0_usize, |length, &octet| (length << 8) | usize::from(octet));
    let minimal = length >= 0x80 && octets.first() != Some(&0);
    if !minimal && !non_minimal_allowed {
        return Err(Error::new(ErrorKind::MalformedLength));
    }
    Ok((length, 1 + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8], limits: &Limits) -> Result<(u32, Vec<u8>), ErrorKind> {
        let tlv = Reader::new(bytes, limits)
            .and_then(|mut reader| reader.expect_any())
            .map_err(|error| error.kind().clone())?;
        Ok((tlv.tag().octets(), tlv.content().to_vec()))
    }

    #[test]
    fn lengths_must_be_minimal_unless_the_limits_say_otherwise() {
        let strict = Limits::default();
        let lenient = Limits {
            non_minimal_lengths: true,
            ..strict
        };
        for padded in [
            &[0x04, 0x81, 0x01, 0xAA][..],
            &[0x04, 0x82, 0x00, 0x01, 0xAA][..],
        ] {
            assert_eq!(first(padded, &strict), Err(ErrorKind::MalformedLength));
            assert_eq!(first(padded, &lenient), Ok((0x04, vec![0xAA])));
        }
        assert_eq!(
            first(&[0x30, 0x80, 0x00, 0x00], &lenient),
            Err(ErrorKind::MalformedLength)
        );
        assert_eq!(
            first(&[0x04, 0x85, 0, 0, 0, 0, 1, 0xAA], &lenient),
            Err(ErrorKind::MalformedLength)
        );
    }

    #[test]
    fn a_length_beyond_the_octets_is_truncation_not_an_allocation() {
        assert_eq!(
            first(&[0x04, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], &Limits::default()),
            Err(ErrorKind::Truncated)
        );
    }

    #[test]
    fn the_size_limit_holds_exactly() {
        let message = [0x04, 0x02, 1, 2];
        let on_it = Limits {
            message_octets_max: 4,
            ..Limits::default()
        };
        let below = Limits {
            message_octets_max: 3,
            ..Limits::default()
        };
        assert!(first(&message, &on_it).is_ok());
        assert_eq!(
            first(&message, &below),
            Err(ErrorKind::TooLong {
                length: 4,
                limit: 3
            })
        );
    }

    #[test]
    fn the_depth_limit_holds_exactly() {
        let limits = Limits {
            depth_max: 3,
            ..Limits::default()
        };
        let descend = |levels: usize| -> Result<(), ErrorKind> {
            let bytes: Vec<u8> = (0..levels)
                .rev()
                .flat_map(|below| [0x30, 2 * below as u8])
                .collect();
            let mut reader = Reader::new(&bytes, &limits).map_err(|e| e.kind().clone())?;
            while let Some(tlv) = reader.next().map_err(|e| e.kind().clone())? {
                reader = tlv.open().map_err(|e| e.kind().clone())?;
            }
            Ok(())
        };
        assert_eq!(descend(3), Ok(()));
        assert_eq!(descend(4), Err(ErrorKind::TooDeep { limit: 3 }));
    }
}
