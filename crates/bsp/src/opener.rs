//! The eUICC side.

use core::fmt;

use aes::Aes128;
use aes::cipher::block_padding::Iso7816;
use aes::cipher::{BlockModeDecrypt, InnerIvInit};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::keys::BspKeys;
use crate::segment::{
    BLOCK_OCTETS, Channel, MAC_OCTETS, SEGMENT_OCTETS_ACCEPTED_MAX, SegmentTag, take_apart,
};

/// Checks and opens segments in the order in which they were made.
///
/// The first segment that fails ends the session: the keys are wiped, and everything after it is refused.
#[derive(Clone)]
pub struct Opener {
    channel: Option<Channel>,
}

/// Why a segment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Larger than accepted.
    #[error("segment has {0} octets; at most {SEGMENT_OCTETS_ACCEPTED_MAX} are accepted")]
    TooLarge(usize),
    /// Not exactly one TLV that can be a segment.
    #[error("segment is not well-formed")]
    Malformed,
    /// A segment of another kind was expected here.
    #[error("expected a segment with tag {expected:02X}, found {found:02X}", expected = .expected.octet(), found = .found.octet())]
    UnexpectedTag {
        /// The tag that belongs here.
        expected: SegmentTag,
        /// The tag that came.
        found: SegmentTag,
    },
    /// The MAC is wrong: altered, out of order, or protected with other keys.
    #[error("MAC of the segment is wrong")]
    BadMac,
    /// The MAC is right, but the encrypted payload is not whole blocks or its padding is wrong.
    #[error("encrypted payload of the segment is not padded correctly")]
    BadPadding,
    /// An earlier segment was refused.
    #[error("an earlier segment was refused; the session is over")]
    SessionOver,
}

impl Opener {
    /// Begins with the session keys.
    pub fn new(keys: &BspKeys) -> Self {
        Self {
            channel: Some(Channel::new(keys)),
        }
    }

    /// Goes on with the keys of ReplaceSessionKeys: chain and counter begin anew. An ended session stays ended.
    pub fn replace_keys(&mut self, keys: &BspKeys) {
        if self.channel.is_some() {
            self.channel = Some(Channel::new(keys));
        }
    }

    /// Whether a segment was refused.
    pub fn is_over(&self) -> bool {
        self.channel.is_none()
    }

    /// Checks the MAC of one segment (a whole TLV), then decrypts it if its tag says so, and gives its data.
    pub fn open(
        &mut self,
        expected: SegmentTag,
        segment: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        // Taken out, so that every early return leaves the session ended.
        let mut channel = self.channel.take().ok_or(OpenError::SessionOver)?;
        let data = open_in(&mut channel, expected, segment)?;
        self.channel = Some(channel);
        Ok(data)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

fn open_in(
    channel: &mut Channel,
    expected: SegmentTag,
    segment: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    if segment.len() > SEGMENT_OCTETS_ACCEPTED_MAX {
        return Err(OpenError::TooLarge(segment.len()));
    }
    let parts = take_apart(segment).ok_or(OpenError::Malformed)?;
    if parts.tag != expected {
        return Err(OpenError::UnexpectedTag {
            expected,
            found: parts.tag,
        });
    }
    let mac = channel.mac(parts.header, parts.payload);
    let shown = mac.get(..MAC_OCTETS).unwrap_or_default();
    if !bool::from(shown.ct_eq(parts.mac)) {
        return Err(OpenError::BadMac);
    }
    channel.chain_to(mac);
    let iv = channel.next_iv();
    let mut data = Zeroizing::new(parts.payload.to_vec());
    if expected.is_encrypted() {
        if data.is_empty() || data.len() % BLOCK_OCTETS != 0 {
            return Err(OpenError::BadPadding);
        }
        let plain = cbc::Decryptor::<Aes128>::inner_iv_init(channel.cipher(), &iv.into())
            .decrypt_padded::<Iso7816>(&mut data)
            .map_err(|_| OpenError::BadPadding)?
            .len();
        data.truncate(plain);
    }
    Ok(data)
}
