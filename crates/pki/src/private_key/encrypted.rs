//! Private keys under a passphrase: EncryptedPrivateKeyInfo (RFC 5958 section 3) with PBES2 (RFC 8018 section 6.2).

use der::pem::LineEnding;
use der::{Decode, SecretDocument};
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{self, Kdf, ScryptParams};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{PrivateKey, pem_block};
use crate::public_key::KeyError;

/// What stands in the BEGIN line of an encrypted key (RFC 7468 section 11).
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";

impl PrivateKey {
    /// Parses PEM of an `ENCRYPTED PRIVATE KEY` and decrypts it.
    ///
    /// Reads PBES2 with scrypt or PBKDF2 (HMAC with SHA-2) and AES, which includes what
    /// `openssl pkcs8 -topk8 -v2 aes-256-cbc` and its `-scrypt` write. A key in the clear is refused: somebody believes it to
    /// be protected.
    pub fn from_encrypted_pem(pem: &str, passphrase: &str) -> Result<Self, KeyError> {
        let Some(block) = pem_block(pem, LABEL) else {
            return Err(match Self::from_pem(pem) {
                Ok(_) => KeyError::NotEncrypted,
                Err(error) => error,
            });
        };
        let (_, der) = SecretDocument::from_pem(block).map_err(|_| KeyError::Malformed)?;
        Self::from_encrypted_pkcs8_der(der.as_bytes(), passphrase)
    }

    /// As [`PrivateKey::from_encrypted_pem`], from DER.
    pub fn from_encrypted_pkcs8_der(der: &[u8], passphrase: &str) -> Result<Self, KeyError> {
        // An algorithm that the library does not know fails to parse, as broken DER does.
        let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::Encryption)?;
        check_cost(&info.encryption_algorithm)?;
        let key = info.decrypt(passphrase).map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(
                pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
                | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
            ) => KeyError::Encryption,
            // One wrong passphrase in 256 gives a plausible padding, and then no key.
            _ => KeyError::WrongPassphrase,
        })?;
        if PrivateKeyInfoRef::from_der(key.as_bytes()).is_err() {
            return Err(KeyError::WrongPassphrase);
        }
        Self::from_pkcs8_der(key.as_bytes())
    }

    /// The key as PEM `ENCRYPTED PRIVATE KEY`: AES-256-CBC under a key made with scrypt (N = 16,384, r = 8, p = 5).
    ///
    /// This costs a guess 16 MiB and some hundred milliseconds. It is the strongest of the settings that OWASP holds to be
    /// equivalent which OpenSSL 3 still reads without being told to spend more memory. `rng` makes salt and initialisation
    /// vector.
    pub fn to_encrypted_pem<R: CryptoRng + ?Sized>(
        &self,
        passphrase: &str,
        rng: &mut R,
    ) -> Result<Zeroizing<String>, KeyError> {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let mut iv = [0; 16];
        rng.fill_bytes(&mut iv);
        let parameters = pbes2::Parameters {
            kdf: Kdf::Scrypt(ScryptParams {
                salt: salt.as_slice().try_into().map_err(|_| KeyError::Library)?,
                cost_parameter: SCRYPT_N,
                block_size: SCRYPT_R,
                parallelization: SCRYPT_P,
                key_length: None,
            }),
            encryption: pbes2::EncryptionScheme::Aes256Cbc { iv },
        };
        let plain = self.to_pkcs8_der()?;
        let info = PrivateKeyInfoRef::from_der(plain.as_bytes()).map_err(|_| KeyError::Library)?;
        info.encrypt_with_params(parameters, passphrase)
            .map_err(|_| KeyError::Library)?
            .to_pem(LABEL, LineEnding::LF)
            .map_err(|_| KeyError::Library)
    }
}

/// Refuses what would take memory or time without end: the file may not be ours.
fn check_cost(scheme: &EncryptionScheme) -> Result<(), KeyError> {
    let affordable = match scheme.pbes2().map(|parameters| &parameters.kdf) {
        Some(Kdf::Pbkdf2(parameters)) => {
            (1..=PBKDF2_ROUNDS_MAX).contains(&parameters.iteration_count)
        }
        Some(Kdf::Scrypt(parameters)) => {
            let memory = parameters
                .cost_parameter
                .checked_mul(u64::from(parameters.block_size))
                .and_then(|blocks| blocks.checked_mul(128));
            let lanes = u64::from(parameters.parallelization);
            let work = memory.and_then(|memory| memory.checked_mul(lanes));
            parameters.cost_parameter > 1
                && parameters.cost_parameter.is_power_of_two()
                && memory.is_some_and(|memory| memory <= SCRYPT_OCTETS_MAX)
                && work.is_some_and(|work| work <= SCRYPT_WORK_MAX)
        }
        _ => false,
    };
    match affordable {
        true => Ok(()),
        false => Err(KeyError::Encryption),
    }
}

const SCRYPT_N: u64 = 1 << 14;
const SCRYPT_R: u16 = 8;
const SCRYPT_P: u16 = 5;

const SCRYPT_OCTETS_MAX: u64 = 256 << 20;
/// Octets written over all lanes: some ten seconds.
const SCRYPT_WORK_MAX: u64 = 2 << 30;
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> bool {
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: [0; 8].as_slice().try_into().unwrap(),
            cost_parameter,
            block_size,
            parallelization,
            key_length: None,
        });
        let encryption = pbes2::EncryptionScheme::Aes256Cbc { iv: [0; 16] };
        check_cost(&pbes2::Parameters { kdf, encryption }.into()).is_ok()
    }

    #[test]
    fn a_derivation_has_bounds() {
        assert!(scrypt(SCRYPT_N, SCRYPT_R, SCRYPT_P), "what we write");
        assert!(scrypt(1 << 18, 8, 1), "256 MiB");
        assert!(!scrypt(1 << 19, 8, 1), "512 MiB");
        assert!(scrypt(1 << 18, 8, 8), "2 GiB of work");
        assert!(!scrypt(1 << 18, 8, 9));
        assert!(!scrypt(1 << 14, 8, u16::MAX));
        assert!(!scrypt(1 << 63, u16::MAX, u16::MAX));
        for no_power_of_two in [0, 1, 3, (1 << 14) + 1] {
            assert!(!scrypt(no_power_of_two, 8, 1), "{no_power_of_two}");
        }
    }
}
