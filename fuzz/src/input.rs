//! Reading choices out of the octets that a fuzzer gives.

/// What is left of the octets. At their end every choice is 0 and every piece empty.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn octet(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Big-endian.
    pub fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.octet(), self.octet()]))
    }

    /// Two octets of length, then so many octets or as many as there are.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = self.number().min(self.0.len());
        let (piece, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        piece
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Damages octets: a number of changes, each with its kind, place and value.
    pub fn edit(&mut self, octets: &mut Vec<u8>) {
        for _ in 0..self.octet() % 8 {
            let (kind, place, value) = (self.octet(), self.number(), self.octet());
            let place = place % (octets.len() + 1);
            match (kind % 6, octets.get_mut(place)) {
                (0, _) => octets.truncate(place),
                (1, _) => octets.insert(place, value),
                (2, Some(_)) => drop(octets.remove(place)),
                (3, Some(octet)) => *octet ^= 1 << (value % 8),
                (4, Some(octet)) => *octet = octet.wrapping_add(value),
                (_, Some(octet)) => *octet = value,
                (_, None) => octets.push(value),
            }
        }
    }
}

/// What [`Input::piece`] reads back.
pub fn piece(octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    let mut piece = length.to_be_bytes().to_vec();
    piece.extend_from_slice(octets.get(..usize::from(length)).unwrap_or_default());
    piece
}
