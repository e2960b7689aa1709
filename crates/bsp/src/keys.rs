//! Session keys and their derivation.

use core::fmt;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// keyType in ControlRefTemplate: AES-128 (SGP.22 section 5.5.1, tag 80).
pub const KEY_TYPE_AES_128: u8 = 0x88;
/// keyLen in ControlRefTemplate, in octets (tag 81).
pub const KEY_LENGTH: u8 = 0x10;

/// One set of keys: S-ENC, S-MAC and the initial MAC chaining value, 16 octets each. Wiped on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BspKeys {
    /// Encrypts; `ppkEnc` in ReplaceSessionKeys.
    pub s_enc: [u8; 16],
    /// Authenticates; `ppkCmac` in ReplaceSessionKeys.
    pub s_mac: [u8; 16],
    /// What the MAC of the first segment is chained to.
    pub initial_mac_chaining_value: [u8; 16],
}

/// hostId has 1 to 16 octets (SGP.22 section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host id has {0} octets; 1 to 16 are allowed")]
pub struct HostIdLength(pub usize);

impl BspKeys {
    /// Derives the session keys (SGP.22 annex G).
    ///
    /// `shared_secret` is the x coordinate of the key agreement, big-endian. `eid` is the EID with its digits in order, as
    /// in `5A` and not swapped; it need not have valid check digits.
    pub fn derive(
        shared_secret: &[u8; 32],
        host_id: &[u8],
        eid: &[u8; 16],
    ) -> Result<Self, HostIdLength> {
        let host_id_length = match u8::try_from(host_id.len()) {
            Ok(length @ 1..=16) => length,
            _ => return Err(HostIdLength(host_id.len())),
        };
        let mut shared_info = vec![KEY_TYPE_AES_128, KEY_LENGTH, host_id_length];
        shared_info.extend_from_slice(host_id);
        shared_info.push(16);
        shared_info.extend_from_slice(eid);

        let mut key_data = Zeroizing::new([0; 48]);
        x963_kdf(shared_secret, &shared_info, &mut *key_data);
        let mut keys = Self {
            s_enc: [0; 16],
            s_mac: [0; 16],
            initial_mac_chaining_value: [0; 16],
        };
        let parts = [
            &mut keys.initial_mac_chaining_value,
            &mut keys.s_enc,
            &mut keys.s_mac,
        ];
        for (part, octets) in parts.into_iter().zip(key_data.chunks_exact(16)) {
            part.copy_from_slice(octets);
        }
        Ok(keys)
    }

    /// Makes random keys, for protecting a profile before the eUICC is known.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut keys = Self {
            s_enc: [0; 16],
            s_mac: [0; 16],
            initial_mac_chaining_value: [0; 16],
        };
        rng.fill_bytes(&mut keys.s_enc);
        rng.fill_bytes(&mut keys.s_mac);
        rng.fill_bytes(&mut keys.initial_mac_chaining_value);
        keys
    }

    /// The DER ReplaceSessionKeysRequest (`BF26`) that tells an eUICC to go on with these keys.
    pub fn replace_session_keys_request(&self) -> Zeroizing<Vec<u8>> {
        let mut request = Zeroizing::new(Vec::with_capacity(57));
        request.extend_from_slice(&[0xBF, 0x26, 0x36]);
        let fields = [
            (0x80, &self.initial_mac_chaining_value),
            (0x81, &self.s_enc),
            (0x82, &self.s_mac),
        ];
        for (tag, value) in fields {
            request.extend_from_slice(&[tag, KEY_LENGTH]);
            request.extend_from_slice(value);
        }
        request
    }
}

impl fmt::Debug for BspKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BspKeys(..)")
    }
}

/// Fills `key_data` by the key derivation function of ANSI X9.63 with SHA-256 (also SEC1 section 3.6.1, TR-03111 section 4.3.3).
pub fn x963_kdf(shared_secret: &[u8], shared_info: &[u8], key_data: &mut [u8]) {
    for (counter, block) in (1_u32..).zip(key_data.chunks_mut(32)) {
        let mut hash = Sha256::new();
        hash.update(shared_secret);
        hash.update(counter.to_be_bytes());
        hash.update(shared_info);
        let mut digest = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
        block.copy_from_slice(digest.get(..block.len()).unwrap_or_default());
        digest.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn host_id_is_bounded() {
        assert_eq!(
            BspKeys::derive(&[1; 32], &[], &[0; 16]).unwrap_err(),
            HostIdLength(0)
        );
        assert_eq!(
            BspKeys::derive(&[1; 32], &[0; 17], &[0; 16]).unwrap_err(),
            HostIdLength(17)
        );
        assert!(BspKeys::derive(&[1; 32], &[0; 16], &[0; 16]).is_ok());
    }

    #[test]
    fn keys_are_not_printed() {
        let keys = BspKeys::derive(&[1; 32], &[1], &[0; 16]).unwrap();
        assert_eq!(format!("{keys:?}"), "BspKeys(..)");
    }

    #[test]
    fn replace_session_keys_layout() {
        let keys = BspKeys {
            s_enc: [1; 16],
            s_mac: [2; 16],
            initial_mac_chaining_value: [3; 16],
        };
        let mut expected = hex!("BF2636 8010").to_vec();
        expected.extend([3; 16]);
        expected.extend(hex!("8110"));
        expected.extend([1; 16]);
        expected.extend(hex!("8210"));
        expected.extend([2; 16]);
        assert_eq!(*keys.replace_session_keys_request(), expected);
    }
}
