//! A seed under a passphrase: Argon2id (RFC 9106) and ChaCha20-Poly1305 (RFC 8439).
//!
//! The parameters belong to the version of the file and do not stand in it: a file cannot ask for less work, nor for memory
//! without end.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Octets of a passphrase at most; the hash would take any number.
pub(super) const PASSPHRASE_MAX: usize = 1024;

/// RFC 9106 section 4, the second recommended option, with one lane: 64 MiB, three passes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

const SALT: usize = 16;
const SEED: usize = 32;
const TAG: usize = 16;

/// Octets of a sealed seed.
pub(super) const SEALED: usize = SALT + SEED + TAG;

/// The passphrase is wrong, or the file was altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotOpened;

/// Salt, encrypted seed, tag. `bound` are octets that must be the same when it is opened.
pub(super) fn seal(
    seed: &[u8; SEED],
    passphrase: &str,
    bound: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<[u8; SEALED], NotOpened> {
    let mut salt = [0; SALT];
    rng.fill_bytes(&mut salt);
    let mut buffer = Zeroizing::new(*seed);
    let tag = cipher(passphrase, &salt)?
        .encrypt_inout_detached(&nonce(), bound, buffer.as_mut_slice().into())
        .map_err(|_| NotOpened)?;
    let mut sealed = [0; SEALED];
    for (to, from) in sealed
        .iter_mut()
        .zip(salt.iter().chain(buffer.iter()).chain(tag.iter()))
    {
        *to = *from;
    }
    Ok(sealed)
}

/// The seed.
pub(super) fn open(
    sealed: &[u8; SEALED],
    passphrase: &str,
    bound: &[u8],
) -> Result<Zeroizing<[u8; SEED]>, NotOpened> {
    let (salt, rest) = sealed.split_first_chunk::<SALT>().ok_or(NotOpened)?;
    let (encrypted, rest) = rest.split_first_chunk::<SEED>().ok_or(NotOpened)?;
    let tag: &[u8; TAG] = rest.try_into().map_err(|_| NotOpened)?;
    let mut seed = Zeroizing::new(*encrypted);
    cipher(passphrase, salt)?
        .decrypt_inout_detached(
            &nonce(),
            bound,
            seed.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| NotOpened)?;
    Ok(seed)
}

fn cipher(passphrase: &str, salt: &[u8; SALT]) -> Result<ChaCha20Poly1305, NotOpened> {
    if passphrase.is_empty() || passphrase.len() > PASSPHRASE_MAX {
        return Err(NotOpened);
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(SEED)).map_err(|_| NotOpened)?;
    let mut key = Zeroizing::new([0; SEED]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        .map_err(|_| NotOpened)?;
    Ok(ChaCha20Poly1305::new(&(*key).into()))
}

/// Fixed, because the salt makes the key a new one each time.
fn nonce() -> Nonce {
    Nonce::from([0; 12])
}
