//! A passkey in a file: a WebAuthn authenticator for command lines, labs and tests.
//!
//! It does what a security key does, with a key on P-256, except the part that makes a security key one: **its key can be
//! copied.** Whoever reads the file, and knows the passphrase if there is one, is the person. It says so: the model
//! ([`SOFTWARE_AAGUID`]) is a fixed one and the flag BE (backup eligible) is set, so that a policy can refuse it. An attacker
//! who makes a key of his own can leave both out; they keep honest people honest and are no proof of hardware.
//!
//! The flag UV (user verified) says that whoever used it could open the file; with a passphrase that is a second factor.
//!
//! This module encodes and decodes text; the binary reads and writes the file (mode 0600), and writes it anew after each
//! assertion **before** it sends the assertion, so that the counter never repeats.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::{Curve, PrivateKey, Signer};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::client_data::{Ceremony, client_data_json};
use super::sealing::{self, SEALED};
use super::{
    Aaguid, AssertionMembers, AssertionResponse, AttestationMembers, Base64Url, CredentialType,
    RegistrationResponse,
};
use crate::name::Principal;

/// The model that every software passkey says it is: `9f5f0d2c-58a3-4a4e-9f0b-50616c697361`.
pub const SOFTWARE_AAGUID: Aaguid = Aaguid([
    0x9f, 0x5f, 0x0d, 0x2c, 0x58, 0xa3, 0x4a, 0x4e, 0x9f, 0x0b, 0x50, 0x61, 0x6c, 0x69, 0x73, 0x61,
]);

/// Octets of an uncompressed point on P-256 (SEC 1 section 2.3.3).
const POINT: usize = 65;

/// Octets of a passkey file at most.
const FILE_MAX: usize = 4096;

/// Characters of a relying party's id at most: a host name.
const RP_ID_MAX: usize = 253;
/// Characters of an origin at most.
const ORIGIN_MAX: usize = 512;

/// What every passkey file says it is. The version stands for the cipher and its parameters, too.
const KIND: &str = "palisade-software-passkey-1";

/// Flags of authenticator data (WebAuthn Level 3 section 6.1).
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const ATTESTED_DATA: u8 = 0x40;

/// An authenticator in a file. Its key is wiped when dropped and never shown by `Debug`.
pub struct SoftwarePasskey {
    rp_id: String,
    name: Principal,
    credential_id: [u8; 32],
    counter: u32,
    /// The private scalar, 32 octets, big-endian.
    seed: Zeroizing<[u8; 32]>,
    key: PrivateKey,
    sealed: Option<[u8; SEALED]>,
}

/// Why a software passkey could not be made, opened or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoftwarePasskeyError {
    /// Longer than any passkey file.
    #[error(
        "this file is longer than the {FILE_MAX} octets a software passkey can have: is it another file?"
    )]
    TooLong,
    /// Not the JSON of a passkey file.
    #[error("not a software passkey file: {reason}")]
    Form {
        /// What does not fit; names no secret.
        reason: &'static str,
    },
    /// A passphrase is needed.
    #[error("this passkey is protected by a passphrase: give it")]
    PassphraseMissing,
    /// A passphrase was given for nothing.
    #[error("this passkey has no passphrase: leave it out")]
    PassphraseUnexpected,
    /// Nothing, or too much.
    #[error("a passphrase has 1 to 1024 octets")]
    PassphraseLength,
    /// The wrong passphrase, or an altered file.
    #[error("the passphrase is wrong, or the file was altered")]
    NotOpened,
    /// The parts of the file contradict each other.
    #[error(
        "the key in this file is not the one the file states: it is damaged or was edited; enrol a new passkey"
    )]
    Damaged,
    /// Not a host name.
    #[error(
        "the relying party id is a host name of at most {RP_ID_MAX} characters, such as eim.example.com"
    )]
    RpId,
    /// Not an origin.
    #[error(
        "the origin is at most {ORIGIN_MAX} printable characters, such as https://eim.example.com"
    )]
    Origin,
    /// The counter has reached its end.
    #[error("the signature counter is used up: enrol a new passkey")]
    CounterUsedUp,
    /// The key could not be used.
    #[error("the key of this passkey could not be used")]
    NotSigned,
}

impl SoftwarePasskey {
    /// Makes a new credential of `name` for a relying party, without a passphrase.
    pub fn create(
        rp_id: &str,
        name: Principal,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, SoftwarePasskeyError> {
        check_rp_id(rp_id)?;
        let mut seed = Zeroizing::new([0; 32]);
        // One octet string in four billion is no scalar of the curve.
        let key = loop {
            rng.fill_bytes(seed.as_mut());
            if let Ok(key) = PrivateKey::from_scalar(Curve::P256, &seed) {
                break key;
            }
        };
        let mut credential_id = [0; 32];
        rng.fill_bytes(&mut credential_id);
        Ok(Self {
            rp_id: rp_id.to_owned(),
            name,
            credential_id,
            counter: 0,
            seed,
            key,
            sealed: None,
        })
    }

    /// Puts the key under a passphrase; [`SoftwarePasskey::to_json`] then writes it encrypted.
    pub fn protect(
        &mut self,
        passphrase: &str,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), SoftwarePasskeyError> {
        if passphrase.is_empty() || passphrase.len() > sealing::PASSPHRASE_MAX {
            return Err(SoftwarePasskeyError::PassphraseLength);
        }
        let sealed = sealing::seal(&self.seed, passphrase, &self.bound(), rng)
            .map_err(|_| SoftwarePasskeyError::NotOpened)?;
        self.sealed = Some(sealed);
        Ok(())
    }

    /// Reads the text of a passkey file.
    pub fn from_json(text: &str, passphrase: Option<&str>) -> Result<Self, SoftwarePasskeyError> {
        if text.len() > FILE_MAX {
            return Err(SoftwarePasskeyError::TooLong);
        }
        let form = |reason| SoftwarePasskeyError::Form { reason };
        let mut file: File = serde_json::from_str(text).map_err(|_| {
            form("it is not an object of type, rp_id, name, credential_id, public_key, counter and seed or sealed_seed")
        })?;
        if file.kind != KIND {
            return Err(form("its type is another one"));
        }
        check_rp_id(&file.rp_id)?;
        let rp_id = std::mem::take(&mut file.rp_id);
        let credential_id =
            octets(&file.credential_id).ok_or(form("its credential_id is not 32 octets"))?;
        let public: [u8; POINT] =
            octets(&file.public_key).ok_or(form("its public_key is not 65 octets"))?;
        let mut protection = None;
        let seed = match (&file.seed, &file.sealed_seed, passphrase) {
            (Some(_), None, Some(_)) => return Err(SoftwarePasskeyError::PassphraseUnexpected),
            (None, Some(_), None) => return Err(SoftwarePasskeyError::PassphraseMissing),
            (Some(seed), None, None) => {
                Zeroizing::new(octets(seed).ok_or(form("its seed is not 32 octets"))?)
            }
            (None, Some(sealed), Some(passphrase)) => {
                let sealed: [u8; SEALED] =
                    octets(sealed).ok_or(form("its sealed_seed is not 64 octets"))?;
                protection = Some(sealed);
                let bound = bound(&rp_id, &credential_id, &public);
                sealing::open(&sealed, passphrase, &bound)
                    .map_err(|_| SoftwarePasskeyError::NotOpened)?
            }
            _ => return Err(form("it holds a seed and a sealed_seed, or neither")),
        };
        let key = PrivateKey::from_scalar(Curve::P256, &seed)
            .map_err(|_| SoftwarePasskeyError::Damaged)?;
        if key.public_key().uncompressed_point() != public {
            return Err(SoftwarePasskeyError::Damaged);
        }
        Ok(Self {
            rp_id,
            name: file.name.clone(),
            credential_id,
            counter: file.counter,
            seed,
            key,
            sealed: protection,
        })
    }

    /// The text of a passkey file: the secret, encrypted if there is a passphrase.
    pub fn to_json(&self) -> Zeroizing<String> {
        // Written out and of one allocation, because a serializer would leave the seed behind in buffers it outgrew.
        let mut text = Zeroizing::new(String::with_capacity(FILE_MAX));
        text.push_str(&format!(
            "{{\n  \"type\": \"{KIND}\",\n  \"rp_id\": {},\n  \"name\": \"{}\",\n  \"credential_id\": \"{}\",\n  \"public_key\": \"{}\",\n  \"counter\": {},\n",
            serde_json::Value::from(self.rp_id.as_str()),
            self.name,
            URL_SAFE_NO_PAD.encode(self.credential_id),
            URL_SAFE_NO_PAD.encode(self.public()),
            self.counter,
        ));
        match &self.sealed {
            Some(sealed) => {
                text.push_str("  \"sealed_seed\": \"");
                text.push_str(&URL_SAFE_NO_PAD.encode(sealed));
            }
            None => {
                text.push_str("  \"seed\": \"");
                text.push_str(&Zeroizing::new(URL_SAFE_NO_PAD.encode(self.seed.as_ref())));
            }
        }
        text.push_str("\"\n}\n");
        text
    }

    /// Registers the credential: what `navigator.credentials.create` would give, with attestation `none`.
    pub fn register(
        &self,
        origin: &str,
        challenge: &[u8; 32],
    ) -> Result<RegistrationResponse, SoftwarePasskeyError> {
        let client_data = client_data(Ceremony::Registration, origin, challenge)?;
        let mut authenticator_data = self.authenticator_data(ATTESTED_DATA);
        authenticator_data.extend_from_slice(&SOFTWARE_AAGUID.0);
        authenticator_data.extend_from_slice(&[0x00, 0x20]);
        authenticator_data.extend_from_slice(&self.credential_id);
        authenticator_data.extend_from_slice(&self.cose_key());

        // CBOR: {"fmt": "none", "attStmt": {}, "authData": octets}, WebAuthn Level 3 section 8.7.
        let mut attestation = vec![0xA3];
        attestation.extend_from_slice(b"\x63fmt\x64none\x67attStmt\xA0\x68authData");
        // 37 octets, 18 and the id, and the key: always 129, which CBOR writes in one octet.
        attestation.push(0x58);
        attestation.push(u8::try_from(authenticator_data.len()).unwrap_or(u8::MAX));
        attestation.append(&mut authenticator_data);
        Ok(RegistrationResponse {
            id: Base64Url(self.credential_id.to_vec()),
            kind: CredentialType::PublicKey,
            response: AttestationMembers {
                client_data_json: Base64Url(client_data.into_bytes()),
                attestation_object: Base64Url(attestation),
            },
        })
    }

    /// Asserts: what `navigator.credentials.get` would give. Counts up; write the file before sending the result.
    pub fn assert(
        &mut self,
        origin: &str,
        challenge: &[u8; 32],
    ) -> Result<AssertionResponse, SoftwarePasskeyError> {
        let client_data = client_data(Ceremony::Assertion, origin, challenge)?;
        self.counter = self
            .counter
            .checked_add(1)
            .ok_or(SoftwarePasskeyError::CounterUsedUp)?;
        let authenticator_data = self.authenticator_data(0);
        let mut message = authenticator_data.clone();
        message.extend_from_slice(&Sha256::digest(client_data.as_bytes()));
        let signature = self
            .key
            .sign_parts(&[&message])
            .ok()
            .and_then(|signature| signature.to_der())
            .ok_or(SoftwarePasskeyError::NotSigned)?;
        Ok(AssertionResponse {
            id: Base64Url(self.credential_id.to_vec()),
            kind: CredentialType::PublicKey,
            response: AssertionMembers {
                client_data_json: Base64Url(client_data.into_bytes()),
                authenticator_data: Base64Url(authenticator_data),
                signature: Base64Url(signature),
            },
        })
    }

    /// The relying party it was made for.
    pub fn rp_id(&self) -> &str {
        &self.rp_id
    }

    /// Whose it is.
    pub fn name(&self) -> &Principal {
        &self.name
    }

    /// The credential's id.
    pub fn id(&self) -> &[u8; 32] {
        &self.credential_id
    }

    /// How many assertions it has made.
    pub fn counter(&self) -> u32 {
        self.counter
    }

    /// Whether the file is written encrypted.
    pub fn is_protected(&self) -> bool {
        self.sealed.is_some()
    }

    /// WebAuthn Level 3 section 6.1, without attested credential data.
    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        data.push(USER_PRESENT | USER_VERIFIED | BACKUP_ELIGIBLE | flags);
        data.extend_from_slice(&self.counter.to_be_bytes());
        data
    }

    /// {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}, RFC 9053 sections 2.1 and 7.1.1.
    fn cose_key(&self) -> Vec<u8> {
        let (x, y) = self.public().get(1..).unwrap_or_default().split_at(32);
        let mut key = vec![0xA5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        key.extend_from_slice(x);
        key.extend_from_slice(&[0x22, 0x58, 0x20]);
        key.extend_from_slice(y);
        key
    }

    /// The uncompressed point: `04`, x, y.
    fn public(&self) -> &[u8] {
        self.key.public_key().uncompressed_point()
    }

    fn bound(&self) -> Vec<u8> {
        bound(&self.rp_id, &self.credential_id, self.public())
    }
}

/// What cannot be exchanged in a protected file without the passphrase. The counter can: it changes without it.
fn bound(rp_id: &str, credential_id: &[u8; 32], public: &[u8]) -> Vec<u8> {
    [
        KIND.as_bytes(),
        b"\0",
        rp_id.as_bytes(),
        b"\0",
        credential_id,
        public,
    ]
    .concat()
}

fn client_data(
    ceremony: Ceremony,
    origin: &str,
    challenge: &[u8; 32],
) -> Result<String, SoftwarePasskeyError> {
    if origin.len() > ORIGIN_MAX || !origin.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(SoftwarePasskeyError::Origin);
    }
    Ok(client_data_json(ceremony, challenge, origin))
}

fn check_rp_id(rp_id: &str) -> Result<(), SoftwarePasskeyError> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    if rp_id.is_empty() || rp_id.len() > RP_ID_MAX || !rp_id.bytes().all(is_plain) {
        return Err(SoftwarePasskeyError::RpId);
    }
    Ok(())
}

/// Exactly `N` octets in base64url.
fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut octets = Zeroizing::new([0; N]);
    let length = URL_SAFE_NO_PAD.decode_slice(text, octets.as_mut()).ok()?;
    (length == N).then_some(*octets)
}

/// The file as it stands.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    rp_id: String,
    name: Principal,
    credential_id: String,
    public_key: String,
    counter: u32,
    #[serde(default)]
    seed: Option<String>,
    #[serde(default)]
    sealed_seed: Option<String>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl fmt::Debug for SoftwarePasskey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwarePasskey")
            .field("rp_id", &self.rp_id)
            .field("name", &self.name)
            .field("credential_id", &Base64Url(self.credential_id.to_vec()))
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use pki::Signature;

    use super::*;

    const RP: &str = "eim.example.com";
    const ORIGIN: &str = "https://eim.example.com";

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([9; 32])
    }

    fn passkey() -> SoftwarePasskey {
        SoftwarePasskey::create(RP, "alice".parse().unwrap(), &mut rng()).unwrap()
    }

    fn seed_text(passkey: &SoftwarePasskey) -> String {
        URL_SAFE_NO_PAD.encode(passkey.seed.as_ref())
    }

    #[test]
    fn an_assertion_signs_the_challenge_and_counts() {
        let mut passkey = passkey();
        for count in 1..=3 {
            let response = passkey.assert(ORIGIN, &[5; 32]).unwrap().response;
            let data = response.authenticator_data.0;
            assert_eq!(data.len(), 37);
            assert_eq!(data[..32], *Sha256::digest(RP));
            assert_eq!(data[32], 0x0D, "present, verified, backup eligible");
            assert_eq!(data[33..], [0, 0, 0, count]);
            let client_data = response.client_data_json.0;
            let value: serde_json::Value = serde_json::from_slice(&client_data).unwrap();
            assert_eq!(value["challenge"], URL_SAFE_NO_PAD.encode([5; 32]));
            let message = [data, Sha256::digest(&client_data).to_vec()].concat();
            let signature = Signature::from_der(&response.signature.0).unwrap();
            let public = passkey.key.public_key();
            assert!(public.verify(&message, &signature).is_ok());
        }
        passkey.counter = u32::MAX;
        assert_eq!(
            passkey.assert(ORIGIN, &[5; 32]).unwrap_err(),
            SoftwarePasskeyError::CounterUsedUp
        );
    }

    #[test]
    fn a_plain_file_reads_back_with_its_counter() {
        let mut passkey = passkey();
        passkey.assert(ORIGIN, &[1; 32]).unwrap();
        let text = passkey.to_json();
        let read = SoftwarePasskey::from_json(&text, None).unwrap();
        assert_eq!(read.counter(), 1);
        assert_eq!(
            read.register(ORIGIN, &[2; 32]).unwrap(),
            passkey.register(ORIGIN, &[2; 32]).unwrap()
        );
        assert_eq!(
            SoftwarePasskey::from_json(&text, Some("x")).unwrap_err(),
            SoftwarePasskeyError::PassphraseUnexpected
        );
    }

    #[test]
    fn a_protected_file_holds_no_seed_and_needs_its_passphrase() {
        let mut passkey = passkey();
        let seed = seed_text(&passkey);
        assert!(passkey.to_json().contains(&seed));
        passkey.protect("correct horse", &mut rng()).unwrap();
        let text = passkey.to_json();
        assert!(!text.contains(&seed));
        assert_eq!(
            SoftwarePasskey::from_json(&text, None).unwrap_err(),
            SoftwarePasskeyError::PassphraseMissing
        );
        assert_eq!(
            SoftwarePasskey::from_json(&text, Some("wrong horse")).unwrap_err(),
            SoftwarePasskeyError::NotOpened
        );
        let mut read = SoftwarePasskey::from_json(&text, Some("correct horse")).unwrap();
        assert!(read.is_protected());
        // The counter goes on in the file without the passphrase; a changed relying party does not open.
        read.assert(ORIGIN, &[1; 32]).unwrap();
        let text = read.to_json();
        assert_eq!(
            SoftwarePasskey::from_json(&text, Some("correct horse"))
                .unwrap()
                .counter(),
            1
        );
        let moved = text.replace(RP, "evil.example.com");
        assert_eq!(
            SoftwarePasskey::from_json(&moved, Some("correct horse")).unwrap_err(),
            SoftwarePasskeyError::NotOpened
        );
        assert_eq!(
            passkey.protect("", &mut rng()),
            Err(SoftwarePasskeyError::PassphraseLength)
        );
    }

    #[test]
    fn damaged_files_are_refused_without_showing_secrets() {
        let passkey = passkey();
        let text = passkey.to_json();
        let seed = seed_text(&passkey);
        let other = URL_SAFE_NO_PAD.encode([1; 32]);
        assert_eq!(
            SoftwarePasskey::from_json(&text.replace(&seed, &other), None).unwrap_err(),
            SoftwarePasskeyError::Damaged
        );
        for bad in [
            text.replace("\"seed\"", "\"seeds\""),
            text.replace(&seed, &seed[..40]),
            text.replace(KIND, "palisade-software-passkey-9"),
            text.replace("\"counter\": 0", "\"counter\": -1"),
            String::new(),
        ] {
            let error = SoftwarePasskey::from_json(&bad, None).unwrap_err();
            assert!(
                matches!(error, SoftwarePasskeyError::Form { .. }),
                "{error}"
            );
            assert!(!format!("{error} {error:?}").contains(&seed[..20]));
        }
        assert!(!format!("{passkey:?}").contains(&seed));
        assert_eq!(
            SoftwarePasskey::from_json(&" ".repeat(FILE_MAX + 1), None).unwrap_err(),
            SoftwarePasskeyError::TooLong
        );
    }

    #[test]
    fn relying_party_and_origin_are_checked() {
        for bad in ["", "EIM.example.com", "a b", "a/b", &"a".repeat(254)] {
            assert_eq!(
                SoftwarePasskey::create(bad, "alice".parse().unwrap(), &mut rng()).unwrap_err(),
                SoftwarePasskeyError::RpId
            );
        }
        assert_eq!(
            passkey().register("https://a\n", &[0; 32]).unwrap_err(),
            SoftwarePasskeyError::Origin
        );
    }
}
