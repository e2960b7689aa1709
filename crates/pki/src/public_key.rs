//! Public keys: parsed once, verified often.

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use bp256::BrainpoolP256r1;
use der::asn1::{BitStringRef, ObjectIdentifier};
use der::{Decode, Encode};
use sha1::{Digest, Sha1};
use signature::{MultipartVerifier, Verifier};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};

use crate::curve::{Curve, EC_PUBLIC_KEY};
use crate::signature_value::Signature;

/// A public key on an implemented curve, known to be a valid point. Clones share the parsed key.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

/// Why octets are not a usable key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The encoding (SubjectPublicKeyInfo, PKCS#8, SEC1, PEM) is broken.
    #[error("key is not well-formed")]
    Malformed,
    /// Not an elliptic curve key.
    #[error("key algorithm {0} is not an elliptic curve key")]
    Algorithm(ObjectIdentifier),
    /// A curve that is not implemented.
    #[error("curve {0} is not supported; P-256 and brainpoolP256r1 are")]
    UnsupportedCurve(ObjectIdentifier),
    /// Curve parameters are missing or are not a named curve.
    #[error("curve is not given by name")]
    CurveNotNamed,
    /// Not 65 octets `04 || x || y`, or not a point of the curve.
    #[error("public point is not a valid uncompressed point of the curve")]
    InvalidPoint,
    /// The secret is zero or not below the order of the group.
    #[error("private key is out of range for its curve")]
    ScalarOutOfRange,
    /// The public key stored beside the private key is another one.
    #[error("private key does not belong to the public key that is stored with it")]
    Mismatch,
    /// The source of randomness does not deliver usable octets.
    #[error("randomness source delivers no usable private key")]
    Randomness,
    /// The key is encrypted, and nobody gave a passphrase.
    #[error("private key is encrypted: say where its passphrase is")]
    Encrypted,
    /// The key lies in the clear although a passphrase is given.
    #[error(
        "private key is not encrypted although a passphrase is given for it: encrypt it, or take the passphrase away"
    )]
    NotEncrypted,
    /// The passphrase is another one, or the file is damaged; the two cannot be told apart.
    #[error("private key cannot be decrypted: the passphrase is wrong or the file is damaged")]
    WrongPassphrase,
    /// Not PBES2 with scrypt or PBKDF2 (SHA-2) and AES, or one that costs more than 256 MiB or ten million rounds.
    #[error(
        "encryption of the private key is not supported: use PBES2 with scrypt (up to 256 MiB) or PBKDF2 (HMAC with SHA-2, up to 10,000,000 rounds) and AES"
    )]
    Encryption,
    /// The cryptographic library refused a key that looked right.
    #[error("cryptographic library refused the key")]
    Library,
}

/// The signature was not made over this message with this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature is not valid for this message and key")]
pub struct SignatureInvalid;

impl PublicKey {
    /// Parses a DER SubjectPublicKeyInfo (RFC 5480 section 2).
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| KeyError::Malformed)?;
        Self::from_spki(&spki)
    }

    pub(crate) fn from_spki(spki: &SubjectPublicKeyInfoRef<'_>) -> Result<Self, KeyError> {
        if spki.algorithm.oid != EC_PUBLIC_KEY {
            return Err(KeyError::Algorithm(spki.algorithm.oid));
        }
        let parameters = spki.algorithm.parameters.ok_or(KeyError::CurveNotNamed)?;
        let oid = parameters
            .decode_as::<ObjectIdentifier>()
            .map_err(|_| KeyError::CurveNotNamed)?;
        let curve = Curve::from_oid(&oid).ok_or(KeyError::UnsupportedCurve(oid))?;
        let point = spki
            .subject_public_key
            .as_bytes()
            .ok_or(KeyError::Malformed)?;
        Self::from_uncompressed_point(curve, point)
    }

    /// Takes a point of 65 octets `04 || x || y`, as in `5F49` and TR-03111 section 3.2.1, and checks that it is on the curve.
    pub fn from_uncompressed_point(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        let point: [u8; 65] = point.try_into().map_err(|_| KeyError::InvalidPoint)?;
        if point.first() != Some(&0x04) {
            return Err(KeyError::InvalidPoint);
        }
        let verifier = match curve {
            Curve::P256 => Verifying::P256(
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .map_err(|_| KeyError::InvalidPoint)?,
            ),
            Curve::BrainpoolP256r1 => Verifying::BrainpoolP256r1(
                ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| KeyError::InvalidPoint)?,
            ),
        };
        let spki = SubjectPublicKeyInfo {
            algorithm: AlgorithmIdentifier {
                oid: EC_PUBLIC_KEY,
                parameters: Some(curve.oid()),
            },
            subject_public_key: BitStringRef::from_bytes(&point).map_err(|_| KeyError::Library)?,
        };
        let spki_der = spki.to_der().map_err(|_| KeyError::Library)?;
        Ok(Self(Arc::new(Inner {
            curve,
            point,
            spki_der,
            verifier,
        })))
    }

    /// The DER SubjectPublicKeyInfo with a named curve and an uncompressed point.
    pub fn to_spki_der(&self) -> Vec<u8> {
        self.0.spki_der.clone()
    }

    /// As [`PublicKey::to_spki_der`], borrowed.
    pub fn spki_der(&self) -> &[u8] {
        &self.0.spki_der
    }

    /// The point, 65 octets `04 || x || y`.
    pub fn uncompressed_point(&self) -> &[u8] {
        &self.0.point
    }

    /// The curve of this key.
    pub fn curve(&self) -> Curve {
        self.0.curve
    }

    /// SHA-1 over the content of the subjectPublicKey BIT STRING (RFC 5280 section 4.2.1.2 method 1), the usual
    /// SubjectKeyIdentifier.
    pub fn key_identifier(&self) -> [u8; 20] {
        Sha1::digest(self.0.point).into()
    }

    /// Checks an ECDSA-SHA256 signature.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureInvalid> {
        match &self.0.verifier {
            Verifying::P256(key) => key
                .verify_sig(message, signature.as_bytes())
                .map_err(|_| SignatureInvalid),
            Verifying::BrainpoolP256r1(key) => key
                .verify(message, &brainpool_signature(signature)?)
                .map_err(|_| SignatureInvalid),
        }
    }

    /// Checks an ECDSA-SHA256 signature over the concatenation of `parts`, without building it.
    pub fn verify_parts(
        &self,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), SignatureInvalid> {
        match &self.0.verifier {
            Verifying::P256(key) => {
                let mut hash = digest::Context::new(&digest::SHA256);
                for part in parts {
                    hash.update(part);
                }
                key.verify_digest_sig(&hash.finish(), signature.as_bytes())
                    .map_err(|_| SignatureInvalid)
            }
            Verifying::BrainpoolP256r1(key) => key
                .multipart_verify(parts, &brainpool_signature(signature)?)
                .map_err(|_| SignatureInvalid),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.curve == other.0.curve && self.0.point == other.0.point
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, ", self.0.curve)?;
        for octet in self.0.point {
            write!(f, "{octet:02X}")?;
        }
        f.write_str(")")
    }
}

struct Inner {
    curve: Curve,
    point: [u8; 65],
    spki_der: Vec<u8>,
    verifier: Verifying,
}

enum Verifying {
    P256(ParsedPublicKey),
    BrainpoolP256r1(ecdsa::VerifyingKey<BrainpoolP256r1>),
}

/// Fails when r or s is zero or not below the order.
fn brainpool_signature(
    signature: &Signature,
) -> Result<ecdsa::Signature<BrainpoolP256r1>, SignatureInvalid> {
    ecdsa::Signature::from_slice(signature.as_bytes()).map_err(|_| SignatureInvalid)
}
