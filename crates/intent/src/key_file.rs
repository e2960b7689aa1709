//! The Ed25519 keys by which machines and command lines prove their requests, and the file a client keeps one in.
//!
//! This module encodes and decodes text; the binary reads and writes the file and sees to it that nobody else can
//! (mode 0600).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::name::{CredentialId, Principal};

/// Octets of a client key file at most.
pub const FILE_MAX: usize = 4096;

/// What every client key file says it is.
const KIND: &str = "palisade-client-key-1";

/// How much of the SHA-256 of a public key its id shows: 144 bits, 24 characters.
const ID_OCTETS: usize = 18;

/// An Ed25519 public key (RFC 8032). As text: base64url without padding, 43 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A client's private key and whose it is. Wiped when dropped, never shown by `Debug`.
pub struct ClientKey {
    name: Principal,
    key: SigningKey,
}

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not a point of the curve, or one of the few whose signatures anybody can make.
    #[error("a public key is 32 octets in base64url (43 characters) that are a usable Ed25519 key")]
    PublicKey,
    /// Longer than any key file.
    #[error(
        "this file is longer than the {FILE_MAX} octets a client key can have: is it another file?"
    )]
    TooLong,
    /// Not the JSON of a client key file.
    #[error("not a client key file as `palisade key create` writes it: {reason}")]
    Form {
        /// What does not fit; names no secret.
        reason: &'static str,
    },
    /// The parts of the file contradict each other.
    #[error(
        "the key in this file does not have the id the file states: it is damaged or was edited; create a new key"
    )]
    Damaged,
}

/// The signature was not made over this message with this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature is not valid for this message and key")]
pub struct SignatureInvalid;

impl PublicKey {
    /// Takes the 32 octets of RFC 8032 section 5.1.5. Keys of small order, for which one signature fits many messages,
    /// are refused, and so is a second encoding of a key.
    pub fn from_bytes(octets: &[u8; 32]) -> Result<Self, KeyFileError> {
        let key = VerifyingKey::from_bytes(octets).map_err(|_| KeyFileError::PublicKey)?;
        if key.is_weak() || !is_canonical(octets) {
            return Err(KeyFileError::PublicKey);
        }
        Ok(Self(key))
    }

    /// The 32 octets.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// `pk_` and the first 18 octets of the key's SHA-256 in base64url.
    pub fn id(&self) -> CredentialId {
        let hash = Sha256::digest(self.as_bytes());
        let shown = hash.get(..ID_OCTETS).unwrap_or_default();
        let text = format!("pk_{}", URL_SAFE_NO_PAD.encode(shown));
        #[expect(
            clippy::expect_used,
            reason = "27 characters of base64url are a credential id"
        )]
        text.parse().expect("an id made of base64url")
    }

    /// Checks a signature (RFC 8032 section 5.1.7), refusing the malleable and the ambiguous ones that the RFC lets
    /// implementations differ on.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureInvalid> {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| SignatureInvalid)
    }
}

impl ClientKey {
    /// Makes a new key.
    pub fn generate(name: Principal, rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(name, &seed)
    }

    /// Makes the key from its 32 octets of private key (RFC 8032 section 5.1.5).
    pub fn from_seed(name: Principal, seed: &[u8; 32]) -> Self {
        Self {
            name,
            key: SigningKey::from_bytes(seed),
        }
    }

    /// Reads the text of a key file.
    pub fn from_json(text: &str) -> Result<Self, KeyFileError> {
        if text.len() > FILE_MAX {
            return Err(KeyFileError::TooLong);
        }
        let file: File = serde_json::from_str(text).map_err(|_| KeyFileError::Form {
            reason: "it is not an object of type, name, key_id, public_key and seed",
        })?;
        if file.kind != KIND {
            return Err(KeyFileError::Form {
                reason: "its type is another one",
            });
        }
        let mut seed = Zeroizing::new([0; 32]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(file.seed.as_bytes(), seed.as_mut())
            .map_err(|_| KeyFileError::Form {
                reason: "its seed is not base64url of 32 octets",
            })?;
        if length != seed.len() {
            return Err(KeyFileError::Form {
                reason: "its seed is not 32 octets",
            });
        }
        let key = Self::from_seed(file.name.clone(), &seed);
        if key.id() != file.key_id || key.public() != file.public_key {
            return Err(KeyFileError::Damaged);
        }
        Ok(key)
    }

    /// The text of a key file. It is the secret: write it where only its owner can read it (mode 0600).
    pub fn to_json(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.key.as_bytes()));
        // Written out, because a serializer would leave the seed behind in buffers it outgrew.
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX));
        text.push_str(&format!(
            "{{\n  \"type\": \"{KIND}\",\n  \"name\": \"{}\",\n  \"key_id\": \"{}\",\n  \"public_key\": \"{}\",\n  \"seed\": \"",
            self.name,
            self.id(),
            self.public()
        ));
        text.push_str(&seed);
        text.push_str("\"\n}\n");
        text
    }

    /// Whose key it is.
    pub fn name(&self) -> &Principal {
        &self.name
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The id under which the authority knows it.
    pub fn id(&self) -> CredentialId {
        self.public().id()
    }

    /// Signs (RFC 8032 section 5.1.6): deterministic, 64 octets.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// Whether y, the lower 255 bits, is below the prime 2^255 - 19 (RFC 8032 section 5.1.3), which the library does not ask.
fn is_canonical(octets: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = octets;
    *lowest < 0xED || highest & 0x7F != 0x7F || middle.iter().any(|octet| *octet != 0xFF)
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    name: Principal,
    key_id: CredentialId,
    public_key: PublicKey,
    seed: String,
}

impl Drop for File {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey")
            .field("name", &self.name)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl FromStr for PublicKey {
    type Err = KeyFileError;

    fn from_str(text: &str) -> Result<Self, KeyFileError> {
        let mut octets = [0; 32];
        // Into an array: a longer text is refused without allocating for it.
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut octets)
            .map_err(|_| KeyFileError::PublicKey)?;
        if length != octets.len() {
            return Err(KeyFileError::PublicKey);
        }
        Self::from_bytes(&octets)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ClientKey {
        ClientKey::from_seed("ci-runner".parse().unwrap(), &[7; 32])
    }

    #[test]
    fn signs_as_rfc_8032_says() {
        // RFC 8032 section 7.1, TEST 2.
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let key = ClientKey::from_seed(
            "test".parse().unwrap(),
            &hex::decode(seed).unwrap().try_into().unwrap(),
        );
        assert_eq!(
            hex::encode(key.public().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert_eq!(key.public().verify(&[0x72], &signature), Ok(()));
        assert_eq!(
            key.public().verify(&[0x73], &signature),
            Err(SignatureInvalid)
        );
    }

    #[test]
    fn a_file_reads_back() {
        let text = key().to_json();
        let read = ClientKey::from_json(&text).unwrap();
        assert_eq!(read.id(), key().id());
        assert_eq!(read.name().as_str(), "ci-runner");
        assert_eq!(read.sign(b"x"), key().sign(b"x"));
        assert!(read.id().as_str().starts_with("pk_"));
        assert_eq!(read.id().as_str().len(), 27);
    }

    #[test]
    fn a_damaged_file_is_refused_without_showing_its_secret() {
        let text = key().to_json();
        let seed = URL_SAFE_NO_PAD.encode([7; 32]);
        let other = URL_SAFE_NO_PAD.encode([8; 32]);
        assert_eq!(
            ClientKey::from_json(&text.replace(&seed, &other)).unwrap_err(),
            KeyFileError::Damaged
        );
        for bad in [
            text.replace(&seed, &seed[..42]),
            text.replace(KIND, "palisade-client-key-2"),
            text.replace("\"name\"", "\"nom\""),
            text.replace("ci-runner", "CI RUNNER"),
            String::new(),
        ] {
            let error = ClientKey::from_json(&bad).unwrap_err();
            assert!(matches!(error, KeyFileError::Form { .. }), "{error}");
            assert!(!format!("{error:?} {error}").contains(&seed[..20]));
        }
        assert_eq!(
            ClientKey::from_json(&" ".repeat(FILE_MAX + 1)).unwrap_err(),
            KeyFileError::TooLong
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", key());
        assert!(shown.contains("ci-runner"));
        assert!(!shown.contains(&URL_SAFE_NO_PAD.encode([7; 32])));
        assert!(!shown.contains('7') || !shown.contains("7, 7"));
    }

    #[test]
    fn weak_keys_are_refused() {
        // The neutral element, a point of order 4, and y = 18 written as 2^255 - 1.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        for octets in [neutral, [0; 32], [0xFF; 32]] {
            assert_eq!(PublicKey::from_bytes(&octets), Err(KeyFileError::PublicKey));
        }
        assert!("AAAA".parse::<PublicKey>().is_err());
        assert!("A".repeat(100_000).parse::<PublicKey>().is_err());
    }
}
