//! The SM-DP+ side.

use core::fmt;

use aes::Aes128;
use aes::cipher::block_padding::Iso7816;
use aes::cipher::{BlockModeEncrypt, InnerIvInit};

use crate::keys::BspKeys;
use crate::segment::{BLOCK_OCTETS, Channel, MAC_OCTETS, SegmentTag, header};

/// Turns data into segments, one after the other.
#[derive(Clone)]
pub struct Protector {
    channel: Channel,
}

/// Data cannot be put into a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{octets} octets of data do not fit into one segment; at most {maximum} do")]
pub struct ProtectError {
    /// Octets of data.
    pub octets: usize,
    /// The limit for this tag.
    pub maximum: usize,
}

impl Protector {
    /// Begins with the session keys.
    pub fn new(keys: &BspKeys) -> Self {
        Self {
            channel: Channel::new(keys),
        }
    }

    /// Goes on with other keys, as the eUICC does after ReplaceSessionKeys: chain and counter begin anew.
    pub fn replace_keys(&mut self, keys: &BspKeys) {
        self.channel = Channel::new(keys);
    }

    /// Makes one segment, a whole TLV of at most [`crate::SEGMENT_OCTETS_MAX`] octets. No more than
    /// [`SegmentTag::data_octets_max`] octets of data fit.
    pub fn protect(&mut self, tag: SegmentTag, data: &[u8]) -> Result<Vec<u8>, ProtectError> {
        let too_long = ProtectError {
            octets: data.len(),
            maximum: tag.data_octets_max(),
        };
        if data.len() > too_long.maximum {
            return Err(too_long);
        }
        let iv = self.channel.next_iv();
        let mut buffer = Vec::with_capacity(data.len() + BLOCK_OCTETS);
        buffer.extend_from_slice(data);
        if tag.is_encrypted() {
            // One octet of padding at least, then up to the block.
            buffer.resize(data.len() + BLOCK_OCTETS - data.len() % BLOCK_OCTETS, 0);
            cbc::Encryptor::<Aes128>::inner_iv_init(self.channel.cipher(), &iv.into())
                .encrypt_padded::<Iso7816>(&mut buffer, data.len())
                .map_err(|_| too_long)?;
        }
        let mut segment = header(tag, buffer.len() + MAC_OCTETS).ok_or(too_long)?;
        let mac = self.channel.mac(&segment, &buffer);
        self.channel.chain_to(mac);
        segment.extend_from_slice(&buffer);
        segment.extend(mac.into_iter().take(MAC_OCTETS));
        Ok(segment)
    }

    /// Cuts data into as many segments as it needs. No data gives no segment.
    pub fn protect_all(
        &mut self,
        tag: SegmentTag,
        data: &[u8],
    ) -> Result<Vec<Vec<u8>>, ProtectError> {
        data.chunks(tag.data_octets_max())
            .map(|piece| self.protect(tag, piece))
            .collect()
    }
}

impl fmt::Debug for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protector(..)")
    }
}
