use super::{Element, Tag, Value};

/// Appends DER. Lengths are filled in when a TLV is closed.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self {
            out: Vec::with_capacity(256),
        }
    }

    /// Appends content octets as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends one content octet.
    pub fn octet(&mut self, octet: u8) {
        self.out.push(octet);
    }

    /// Appends a TLV whose content `body` writes.
    pub fn tlv(&mut self, tag: Tag, body: impl FnOnce(&mut Self)) {
        tag.write(&mut self.out);
        let length_at = self.out.len();
        self.out.push(0);
        body(self);
        let length = self.out.len() - length_at - 1;
        self.fill_length(length_at, length);
    }

    /// Appends a value under a tag.
    pub fn value<T: Value>(&mut self, tag: u32, value: &T) {
        self.tlv(Tag::new(tag), |writer| value.encode_content(writer));
    }

    /// Appends a value under a tag when there is one.
    pub fn optional<T: Value>(&mut self, tag: u32, value: Option<&T>) {
        if let Some(value) = value {
            self.value(tag, value);
        }
    }

    /// Appends the members of a SEQUENCE OF.
    pub fn members<T: Element>(&mut self, members: &[T]) {
        for member in members {
            member.encode_element(self);
        }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// One octet was reserved for the length; longer forms move the content up.
    fn fill_length(&mut self, at: usize, length: usize) {
        if let (true, Some(slot)) = (length < 0x80, self.out.get_mut(at)) {
            *slot = length as u8;
            return;
        }
        let octets = length.to_be_bytes();
        let skip = (length.leading_zeros() / 8) as usize;
        let significant = octets.len() - skip;
        let header = std::iter::once(0x80 | significant as u8).chain(octets.into_iter().skip(skip));
        self.out.splice(at..=at, header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_forms_change_where_x690_says() {
        for (content, header) in [
            (0_usize, vec![0x04, 0x00]),
            (127, vec![0x04, 0x7F]),
            (128, vec![0x04, 0x81, 0x80]),
            (255, vec![0x04, 0x81, 0xFF]),
            (256, vec![0x04, 0x82, 0x01, 0x00]),
            (65_536, vec![0x04, 0x83, 0x01, 0x00, 0x00]),
        ] {
            let mut writer = Writer::new();
            writer.tlv(Tag::new(0x04), |w| w.raw(&vec![0xAA; content]));
            let bytes = writer.into_bytes();
            assert_eq!(bytes[..header.len()], header);
            assert_eq!(bytes.len(), header.len() + content);
        }
    }
}
