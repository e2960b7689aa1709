//! What protecting and opening have in common: layout of a segment, the chain of MACs, the counter.

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt;
use cmac::{Cmac, KeyInit, Mac};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::BspKeys;

/// Largest segment that is produced, in octets with tag, length and MAC.
pub const SEGMENT_OCTETS_MAX: usize = 1020;

/// Largest segment that is accepted. Older servers cut at 1024 octets of payload with 12 of overhead.
pub const SEGMENT_OCTETS_ACCEPTED_MAX: usize = 1036;

/// Tag of a segment, which decides how it is protected (SGP.22 section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentTag {
    /// `86`: a piece of the profile package, encrypted.
    Profile86,
    /// `87`: ConfigureISDP or ReplaceSessionKeys, encrypted.
    Command87,
    /// `88`: a piece of StoreMetadata, authenticated only, readable by the LPA or IPA.
    Metadata88,
}

impl SegmentTag {
    /// The tag octet.
    pub const fn octet(self) -> u8 {
        match self {
            SegmentTag::Profile86 => 0x86,
            SegmentTag::Command87 => 0x87,
            SegmentTag::Metadata88 => 0x88,
        }
    }

    /// The tag with that octet.
    pub const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0x86 => Some(SegmentTag::Profile86),
            0x87 => Some(SegmentTag::Command87),
            0x88 => Some(SegmentTag::Metadata88),
            _ => None,
        }
    }

    /// Whether the payload is encrypted.
    pub const fn is_encrypted(self) -> bool {
        !matches!(self, SegmentTag::Metadata88)
    }

    /// Most octets of data that one produced segment holds: 1007 encrypted (there is always padding), 1008 otherwise.
    pub const fn data_octets_max(self) -> usize {
        let payload = SEGMENT_OCTETS_MAX - HEADER_OCTETS_MAX - MAC_OCTETS;
        match self.is_encrypted() {
            true => payload - payload % BLOCK_OCTETS - 1,
            false => payload,
        }
    }
}

pub(crate) const MAC_OCTETS: usize = 8;
pub(crate) const BLOCK_OCTETS: usize = 16;
/// Tag, `82`, two octets of length.
const HEADER_OCTETS_MAX: usize = 4;

/// Keys in use, MAC chain and block counter. Sender and receiver go through the same states.
#[derive(Clone)]
pub(crate) struct Channel {
    cipher: Aes128,
    mac: Cmac<Aes128>,
    chain: [u8; 16],
    /// Segments so far under these keys, whether encrypted or not.
    count: u128,
}

impl Channel {
    pub(crate) fn new(keys: &BspKeys) -> Self {
        Self {
            cipher: Aes128::new(&keys.s_enc.into()),
            mac: Cmac::new(&keys.s_mac.into()),
            chain: keys.initial_mac_chaining_value,
            count: 0,
        }
    }

    pub(crate) fn cipher(&self) -> Aes128 {
        self.cipher.clone()
    }

    /// Counts a segment and gives the IV for it: the encrypted counter, which starts at 1.
    pub(crate) fn next_iv(&mut self) -> [u8; 16] {
        // 2^128 segments cannot happen.
        self.count = self.count.wrapping_add(1);
        let mut block = self.count.to_be_bytes().into();
        self.cipher.encrypt_block(&mut block);
        block.into()
    }

    /// Full MAC of a segment, given everything of it before the MAC.
    pub(crate) fn mac(&self, header: &[u8], payload: &[u8]) -> [u8; 16] {
        let mut mac = self.mac.clone();
        mac.update(&self.chain);
        mac.update(header);
        mac.update(payload);
        mac.finalize().into_bytes().into()
    }

    pub(crate) fn chain_to(&mut self, mac: [u8; 16]) {
        self.chain = mac;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The cipher and the MAC wipe themselves.
        self.chain.zeroize();
    }
}

impl ZeroizeOnDrop for Channel {}

/// Tag and length, with the length in its shortest form.
pub(crate) fn header(tag: SegmentTag, length: usize) -> Option<Vec<u8>> {
    let length = u16::try_from(length).ok()?;
    let [high, low] = length.to_be_bytes();
    Some(match length {
        0..=0x7F => vec![tag.octet(), low],
        0x80..=0xFF => vec![tag.octet(), 0x81, low],
        _ => vec![tag.octet(), 0x82, high, low],
    })
}

/// A segment taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) tag: SegmentTag,
    pub(crate) header: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) mac: &'a [u8],
}

/// `None` if it is not exactly one TLV with a segment tag, a length in its shortest form and room for the MAC.
pub(crate) fn take_apart(segment: &[u8]) -> Option<Parts<'_>> {
    let (length, header_octets) = match *segment {
        [_, low @ ..=0x7F, ..] => (usize::from(low), 2),
        [_, 0x81, low @ 0x80..=0xFF, ..] => (usize::from(low), 3),
        [_, 0x82, high @ 1..=0xFF, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
        _ => return None,
    };
    let tag = SegmentTag::from_octet(*segment.first()?)?;
    let (header, content) = segment.split_at_checked(header_octets)?;
    if content.len() != length {
        return None;
    }
    let (payload, mac) = content.split_at_checked(length.checked_sub(MAC_OCTETS)?)?;
    Some(Parts {
        tag,
        header,
        payload,
        mac,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn capacities() {
        assert_eq!(SegmentTag::Profile86.data_octets_max(), 1007);
        assert_eq!(SegmentTag::Command87.data_octets_max(), 1007);
        assert_eq!(SegmentTag::Metadata88.data_octets_max(), 1008);
    }

    #[test]
    fn lengths_are_minimal_both_ways() {
        for length in [8, 0x7F, 0x80, 0xFF, 0x100, 1016] {
            let mut segment = header(SegmentTag::Profile86, length).unwrap();
            segment.resize(segment.len() + length, 0);
            let parts = take_apart(&segment).unwrap();
            assert_eq!(parts.payload.len() + 8, length);
            segment.push(0);
            assert!(take_apart(&segment).is_none(), "trailing octet");
        }
        let padded = |head: &[u8], length: usize| {
            let mut segment = head.to_vec();
            segment.resize(head.len() + length, 0);
            segment
        };
        for bad in [
            padded(&hex!("86 81 7F"), 0x7F),
            padded(&hex!("86 82 00 FF"), 0xFF),
            padded(&hex!("86 83 00 01 00"), 0x100),
            padded(&hex!("86 80"), 8),
            padded(&hex!("86 07"), 7),
            padded(&hex!("85 08"), 8),
            padded(&hex!("A6 08"), 8),
            padded(&hex!("86"), 0),
            vec![],
        ] {
            assert!(take_apart(&bad).is_none(), "{bad:02X?}");
        }
    }

    /// RFC 4493 section 4: the examples of AES-CMAC, through the library as it is used here.
    #[test]
    fn rfc_4493() {
        let message = hex!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        );
        let expected = [
            (0, hex!("bb1d6929e95937287fa37d129b756746")),
            (16, hex!("070a16b46b4d4144f79bdd9dd04a287c")),
            (40, hex!("dfa66747de9ae63030ca32611497c827")),
            (64, hex!("51f0bebf7e3b9d92fc49741779363cfe")),
        ];
        for (length, tag) in expected {
            let key = hex!("2b7e151628aed2a6abf7158809cf4f3c");
            let mut mac = Cmac::<Aes128>::new(&key.into());
            mac.update(&message[..length]);
            assert_eq!(<[u8; 16]>::from(mac.finalize().into_bytes()), tag);
        }
    }
}
