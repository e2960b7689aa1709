//! The keys of checkpoints: Ed25519 in the text forms of C2SP signed-note.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer;
use rand_core::CryptoRng;
use signed_note::{Signature, StandardSigner, StandardVerifier, Verifier};
use zeroize::Zeroizing;

/// The algorithm octet of Ed25519 note keys (C2SP signed-note, "Signature types").
const ED25519: u8 = 0x01;
/// The algorithm octet of keys for timestamped cosignatures (C2SP tlog-cosignature).
const COSIGNATURE: u8 = 0x04;

/// What signs the checkpoints of one ledger. Its name is the ledger's origin.
pub struct SigningKey {
    pub(crate) signer: StandardSigner,
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
    text: Zeroizing<String>,
}

/// What verifies the checkpoints of one ledger. As text: `origin+id+key`, the verifier key of C2SP signed-note.
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) verifier: StandardVerifier,
    text: String,
}

/// What verifies the cosignatures of one witness (C2SP tlog-cosignature). As text: `name+id+key`, algorithm 4.
#[derive(Clone)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: ed25519_dalek::VerifyingKey,
    text: String,
}

/// What a witness cosigns checkpoints with (C2SP tlog-cosignature). As text: `PRIVATE+KEY+name+id+key`, algorithm 4.
pub struct CosigningKey {
    key: ed25519_dalek::SigningKey,
    public: WitnessKey,
}

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An origin that cannot stand in a checkpoint.
    #[error(
        "an origin is 1 to 128 printable ASCII characters without spaces and '+', such as a host name with a path"
    )]
    Origin,
    /// Not a key in the form asked for.
    #[error("not a key: expected the text form of C2SP signed-note with an intact key id")]
    Text,
    /// A key for something else.
    #[error("this key is not for Ed25519 checkpoints or for cosignatures, as was asked for")]
    Algorithm,
}

impl SigningKey {
    /// Makes a new key for the ledger called `origin`.
    pub fn generate(origin: &str, rng: &mut dyn CryptoRng) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(origin, &seed)
    }

    /// Makes the key from its 32 octets of private key (RFC 8032 section 5.1.5).
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(origin)?;
        let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key();
        let id = signed_note::key_id(origin, &[&[ED25519], public.as_bytes().as_slice()].concat());
        let mut key = Zeroizing::new([ED25519; 33]);
        if let Some(rest) = key.get_mut(1..) {
            rest.copy_from_slice(seed);
        }
        let encoded = Zeroizing::new(STANDARD.encode(*key));
        let text = Zeroizing::new(format!("PRIVATE+KEY+{origin}+{id:08x}+{}", *encoded));
        Self::from_text(&text)
    }

    /// Reads the text form, `PRIVATE+KEY+origin+id+key`.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_end_matches('\n');
        let signer = StandardSigner::new(text).map_err(|_| KeyError::Text)?;
        let [_, _, origin, _, key] = text
            .splitn(5, '+')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| KeyError::Text)?;
        check_name(origin)?;
        let octets = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyError::Text)?);
        let seed = octets
            .get(1..)
            .and_then(|seed| <&[u8; 32]>::try_from(seed).ok())
            .ok_or(KeyError::Text)?;
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Ok(Self {
            signer,
            public: signed_note::new_ed25519_verifier_key(origin, &key.verifying_key()).parse()?,
            key,
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// The text form. It is the secret: keep it where the other keys are.
    pub fn to_text(&self) -> Zeroizing<String> {
        self.text.clone()
    }

    /// Signs something that is no note: a commit in the journal.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// What verifies its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

impl PublicKey {
    /// The name of the ledger, which is the first line of its checkpoints.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let verifier = StandardVerifier::new(text).map_err(|error| match error {
            signed_note::VerifierError::Alg => KeyError::Algorithm,
            signed_note::VerifierError::Format | signed_note::VerifierError::Id => KeyError::Text,
        })?;
        check_name(verifier.name())?;
        Ok(Self {
            verifier,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl CosigningKey {
    /// Makes a new key for the witness called `name`.
    pub fn generate(name: &str, rng: &mut dyn CryptoRng) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(name, &seed)
    }

    /// Makes the key from its 32 octets of private key (RFC 8032 section 5.1.5).
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let octets = [&[COSIGNATURE], key.verifying_key().as_bytes().as_slice()].concat();
        let id = signed_note::key_id(name, &octets);
        let public = format!("{name}+{id:08x}+{}", STANDARD.encode(&octets)).parse()?;
        Ok(Self { key, public })
    }

    /// Reads the text form.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let [private, key, name, _, seed] = text
            .trim_end_matches('\n')
            .splitn(5, '+')
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| KeyError::Text)?;
        if (private, key) != ("PRIVATE", "KEY") || seed.len() > 64 {
            return Err(KeyError::Text);
        }
        let octets = Zeroizing::new(STANDARD.decode(seed).map_err(|_| KeyError::Text)?);
        let (algorithm, seed) = octets.split_first().ok_or(KeyError::Text)?;
        if *algorithm != COSIGNATURE {
            return Err(KeyError::Algorithm);
        }
        let key = Self::from_seed(name, seed.try_into().map_err(|_| KeyError::Text)?)?;
        // The id is that of the public key.
        if key.to_text().as_str() == text.trim_end_matches('\n') {
            Ok(key)
        } else {
            Err(KeyError::Text)
        }
    }

    /// The text form. It is the secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut octets = Zeroizing::new([COSIGNATURE; 33]);
        if let Some(seed) = octets.get_mut(1..) {
            seed.copy_from_slice(self.key.as_bytes());
        }
        let encoded = Zeroizing::new(STANDARD.encode(*octets));
        let WitnessKey { name, id, .. } = &self.public;
        Zeroizing::new(format!("PRIVATE+KEY+{name}+{id:08x}+{}", *encoded))
    }

    /// What verifies its cosignatures.
    pub fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// The octets of a cosignature on the text of a checkpoint, at a time in seconds since 1970.
    pub(crate) fn cosign(&self, text: &[u8], time: u64) -> Vec<u8> {
        let signature = self.key.sign(&cosigned(text, time));
        [&time.to_be_bytes()[..], &signature.to_bytes()].concat()
    }
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CosigningKey").field(&self.public).finish()
    }
}

impl WitnessKey {
    /// Whose key it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a signature line says that it is of this key.
    pub(crate) fn made(&self, signature: &Signature) -> bool {
        signature.name() == self.name && signature.id() == self.id
    }
}

impl FromStr for WitnessKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Text)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Text)?;
        check_name(name)?;
        if id.len() != 8 || key.len() > 64 {
            return Err(KeyError::Text);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Text)?;
        let octets = STANDARD.decode(key).map_err(|_| KeyError::Text)?;
        if id != signed_note::key_id(name, &octets) {
            return Err(KeyError::Text);
        }
        let (algorithm, key) = octets.split_first().ok_or(KeyError::Text)?;
        if *algorithm != COSIGNATURE {
            return Err(KeyError::Algorithm);
        }
        let key = key.try_into().map_err(|_| KeyError::Text)?;
        Ok(Self {
            name: name.to_owned(),
            id,
            key: ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| KeyError::Text)?,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A cosignature is 8 octets of time, big-endian seconds, and an Ed25519 signature over a header with that time and the
/// text of the checkpoint (C2SP tlog-cosignature, "Format").
impl Verifier for WitnessKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn key_id(&self) -> u32 {
        self.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = cosignature(signature) else {
            return false;
        };
        let message = cosigned(text, time);
        self.key
            .verify_strict(&message, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    }
}

/// What a cosignature is over.
fn cosigned(text: &[u8], time: u64) -> Vec<u8> {
    let mut message = format!("cosignature/v1\ntime {time}\n").into_bytes();
    message.extend_from_slice(text);
    message
}

/// Takes the octets of a cosignature apart: seconds since 1970, and the signature.
pub(crate) fn cosignature(octets: &[u8]) -> Option<(u64, &[u8; 64])> {
    let (time, signature) = octets.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), signature.try_into().ok()?))
}

/// Names of keys are narrower here than in the specification, so that they are safe in file names, logs and terminals.
fn check_name(name: &str) -> Result<(), KeyError> {
    let good =
        (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    if good { Ok(()) } else { Err(KeyError::Origin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_form() {
        let key = SigningKey::from_seed("example.com/ledger", &[7; 32]).unwrap();
        let again = SigningKey::from_text(&key.to_text()).unwrap();
        assert_eq!(again.public().to_string(), key.public().to_string());
        assert_eq!(key.public().origin(), "example.com/ledger");
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    /// From the specification of signed-note's reference implementation (golang.org/x/mod/sumdb/note).
    #[test]
    fn reads_the_published_key() {
        let private =
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let key = SigningKey::from_text(private).unwrap();
        assert_eq!(
            key.public().to_string(),
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        );
    }

    #[test]
    fn the_key_of_a_witness_survives_its_text_form() {
        let key = CosigningKey::from_seed("example.com/witness", &[9; 32]).unwrap();
        let text = key.to_text();
        let again = CosigningKey::from_text(&text).unwrap();
        assert_eq!(again.public().to_string(), key.public().to_string());
        assert!(!format!("{key:?}").contains("PRIVATE"));
        assert_eq!(
            SigningKey::from_text(&text).map(drop).unwrap_err(),
            KeyError::Text
        );
        for (good, bad) in [
            ("witness+", "witnesz+"),
            ("PRIVATE", "PUBLIC"),
            ("+B", "+C"),
        ] {
            let altered = text.replacen(good, bad, 1);
            assert_ne!(altered, *text);
            CosigningKey::from_text(&altered).unwrap_err();
        }
    }

    #[test]
    fn wrong_keys_are_refused() {
        let key = SigningKey::from_seed("a", &[7; 32]).unwrap();
        let public = key.public().to_string();
        assert_eq!(
            public.parse::<WitnessKey>().unwrap_err(),
            KeyError::Algorithm
        );
        assert_eq!(
            public
                .replacen("a+", "b+", 1)
                .parse::<PublicKey>()
                .unwrap_err(),
            KeyError::Text
        );
        assert!(SigningKey::from_text(&public).is_err());
        for origin in ["", "a b", "a+b", "a\nb", "ä", &"a".repeat(129)] {
            assert_eq!(
                SigningKey::from_seed(origin, &[7; 32]).unwrap_err(),
                KeyError::Origin,
                "{origin:?}"
            );
        }
    }
}
