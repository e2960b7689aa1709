//! Signing keys: the trait that every store serves, and the key that is held in memory.

mod encrypted;

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bp256::BrainpoolP256r1;
use der::asn1::OctetStringRef;
use der::pem::LineEnding;
use der::{Decode, Encode, SecretDocument};
use pkcs8::PrivateKeyInfo;
use rand_core::CryptoRng;
use sec1::{EcParameters, EcPrivateKey};
use signature::Signer as _;
use x509_cert::spki::AlgorithmIdentifier;
use zeroize::Zeroizing;

use crate::curve::{Curve, EC_PUBLIC_KEY};
use crate::public_key::{KeyError, PublicKey};
use crate::signature_value::Signature;

/// Something that signs with ECDSA and SHA-256: a key in memory, or a handle to one in a security module.
pub trait Signer: Send + Sync {
    /// The public half of the key.
    fn public_key(&self) -> &PublicKey;

    /// Signs SHA-256 of `message`.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;

    /// Signs the concatenation of `parts`.
    fn sign_parts(&self, parts: &[&[u8]]) -> Result<Signature, SignError> {
        self.sign(&parts.concat())
    }
}

impl<S: Signer + ?Sized> Signer for Arc<S> {
    fn public_key(&self) -> &PublicKey {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        (**self).sign(message)
    }
}

/// The key could not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The cryptographic library failed.
    #[error("cryptographic library could not sign")]
    Library,
    /// The key store or security module failed.
    #[error("key store could not sign")]
    Store(#[source] Box<dyn core::error::Error + Send + Sync>),
}

/// A private key in memory, wiped when the last clone is dropped.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

impl PrivateKey {
    /// Makes a new key from the caller's randomness.
    pub fn generate<R: CryptoRng + ?Sized>(curve: Curve, rng: &mut R) -> Result<Self, KeyError> {
        let scalar = random_scalar(curve, rng)?;
        Self::from_scalar(curve, &scalar)
    }

    /// The key with this secret, 32 octets big-endian.
    pub fn from_scalar(curve: Curve, scalar: &[u8; 32]) -> Result<Self, KeyError> {
        let public = public_key_of(curve, scalar)?;
        let signing = match curve {
            Curve::P256 => Signing::P256(
                EcdsaKeyPair::from_private_key_and_public_key(
                    &ECDSA_P256_SHA256_FIXED_SIGNING,
                    scalar,
                    public.uncompressed_point(),
                )
                .map_err(|_| KeyError::Library)?,
            ),
            Curve::BrainpoolP256r1 => Signing::BrainpoolP256r1(
                ecdsa::SigningKey::from_slice(scalar).map_err(|_| KeyError::ScalarOutOfRange)?,
            ),
        };
        Ok(Self(Arc::new(Inner {
            public,
            scalar: Zeroizing::new(*scalar),
            signing,
        })))
    }

    /// Parses a DER PKCS#8 PrivateKeyInfo (RFC 5958) that holds an EC key (RFC 5915).
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = pkcs8::PrivateKeyInfoRef::from_der(der).map_err(|_| KeyError::Malformed)?;
        if info.algorithm.oid != EC_PUBLIC_KEY {
            return Err(KeyError::Algorithm(info.algorithm.oid));
        }
        let parameters = info.algorithm.parameters.ok_or(KeyError::CurveNotNamed)?;
        let oid = parameters
            .decode_as()
            .map_err(|_| KeyError::CurveNotNamed)?;
        let curve = Curve::from_oid(&oid).ok_or(KeyError::UnsupportedCurve(oid))?;
        Self::from_ec_private_key(info.private_key.as_bytes(), Some(curve))
    }

    /// Parses a DER ECPrivateKey with a named curve (SEC1 appendix C.4, RFC 5915).
    pub fn from_sec1_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_ec_private_key(der, None)
    }

    /// Parses PEM: a `PRIVATE KEY` (PKCS#8) or an `EC PRIVATE KEY` (SEC1). Other blocks, such as the `EC PARAMETERS` that
    /// OpenSSL writes first, are skipped. An encrypted key is refused as such: see [`PrivateKey::from_encrypted_pem`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if let Some(block) = pem_block(pem, "PRIVATE KEY") {
            let (_, der) = SecretDocument::from_pem(block).map_err(|_| KeyError::Malformed)?;
            return Self::from_pkcs8_der(der.as_bytes());
        }
        if pem_block(pem, encrypted::LABEL).is_some() {
            return Err(KeyError::Encrypted);
        }
        let block = pem_block(pem, "EC PRIVATE KEY").ok_or(KeyError::Malformed)?;
        let (_, der) = SecretDocument::from_pem(block).map_err(|_| KeyError::Malformed)?;
        Self::from_sec1_der(der.as_bytes())
    }

    /// The key as DER PKCS#8.
    pub fn to_pkcs8_der(&self) -> Result<SecretDocument, KeyError> {
        let ec_key = EcPrivateKey {
            private_key: &*self.0.scalar,
            parameters: None,
            public_key: Some(self.0.public.uncompressed_point()),
        };
        let ec_key = Zeroizing::new(ec_key.to_der().map_err(|_| KeyError::Library)?);
        let curve = self.0.public.curve().oid();
        let info = PrivateKeyInfo::<_, _, der::asn1::BitString>::new(
            AlgorithmIdentifier {
                oid: EC_PUBLIC_KEY,
                parameters: Some(der::AnyRef::from(&curve)),
            },
            OctetStringRef::new(&ec_key).map_err(|_| KeyError::Library)?,
        );
        SecretDocument::encode_msg(&info).map_err(|_| KeyError::Library)
    }

    /// The key as PEM PKCS#8 (`PRIVATE KEY`). The text is wiped when dropped.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.to_pkcs8_der()?
            .to_pem("PRIVATE KEY", LineEnding::LF)
            .map_err(|_| KeyError::Library)
    }

    fn from_ec_private_key(der: &[u8], curve: Option<Curve>) -> Result<Self, KeyError> {
        let key = EcPrivateKey::from_der(der).map_err(|_| KeyError::Malformed)?;
        let named = match key.parameters {
            Some(EcParameters::NamedCurve(oid)) => {
                Some(Curve::from_oid(&oid).ok_or(KeyError::UnsupportedCurve(oid))?)
            }
            None => None,
        };
        let curve = match (curve, named) {
            (Some(outer), Some(inner)) if outer != inner => return Err(KeyError::Mismatch),
            (Some(curve), _) | (None, Some(curve)) => curve,
            (None, None) => return Err(KeyError::CurveNotNamed),
        };
        let mut scalar = Zeroizing::new([0; 32]);
        if key.private_key.len() != scalar.len() {
            return Err(KeyError::ScalarOutOfRange);
        }
        scalar.copy_from_slice(key.private_key);
        let this = Self::from_scalar(curve, &scalar)?;
        match key.public_key {
            Some(stored) if stored != this.public_key().uncompressed_point() => {
                Err(KeyError::Mismatch)
            }
            _ => Ok(this),
        }
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        let plain = match &self.0.signing {
            Signing::P256(key) => {
                let signature = key
                    .sign(&SystemRandom::new(), message)
                    .map_err(|_| SignError::Library)?;
                <[u8; 64]>::try_from(signature.as_ref()).map_err(|_| SignError::Library)?
            }
            Signing::BrainpoolP256r1(key) => {
                let signature: ecdsa::Signature<BrainpoolP256r1> =
                    key.try_sign(message).map_err(|_| SignError::Library)?;
                signature.to_bytes().into()
            }
        };
        Ok(Signature::from_bytes(plain))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public_key", &self.0.public)
            .finish_non_exhaustive()
    }
}

struct Inner {
    public: PublicKey,
    scalar: Zeroizing<[u8; 32]>,
    signing: Signing,
}

enum Signing {
    P256(EcdsaKeyPair),
    BrainpoolP256r1(ecdsa::SigningKey<BrainpoolP256r1>),
}

/// A uniformly distributed secret in 1..order, by rejection.
pub(crate) fn random_scalar<R: CryptoRng + ?Sized>(
    curve: Curve,
    rng: &mut R,
) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    // A draw fits with probability above 1/2 on both curves, so running out means a broken source.
    for _ in 0..DRAWS_MAX {
        let mut scalar = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *scalar);
        if scalar_in_range(curve, &scalar) {
            return Ok(scalar);
        }
    }
    Err(KeyError::Randomness)
}

const DRAWS_MAX: usize = 128;

fn scalar_in_range(curve: Curve, scalar: &[u8; 32]) -> bool {
    match curve {
        Curve::P256 => p256_agreement_key(scalar).is_ok(),
        Curve::BrainpoolP256r1 => ecdsa::SigningKey::<BrainpoolP256r1>::from_slice(scalar).is_ok(),
    }
}

/// Fails when the secret is zero or not below the order.
pub(crate) fn p256_agreement_key(scalar: &[u8; 32]) -> Result<agreement::PrivateKey, KeyError> {
    agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar)
        .map_err(|_| KeyError::ScalarOutOfRange)
}

/// The public key that belongs to a secret.
pub(crate) fn public_key_of(curve: Curve, scalar: &[u8; 32]) -> Result<PublicKey, KeyError> {
    match curve {
        Curve::P256 => {
            let key = p256_agreement_key(scalar)?;
            let point = key.compute_public_key().map_err(|_| KeyError::Library)?;
            PublicKey::from_uncompressed_point(curve, point.as_ref())
        }
        Curve::BrainpoolP256r1 => {
            let key = ecdsa::SigningKey::<BrainpoolP256r1>::from_slice(scalar)
                .map_err(|_| KeyError::ScalarOutOfRange)?;
            let point = key.verifying_key().to_sec1_point(false);
            PublicKey::from_uncompressed_point(curve, point.as_bytes())
        }
    }
}

/// The first block with this label, from its BEGIN line to its END line.
fn pem_block<'a>(pem: &'a str, label: &str) -> Option<&'a str> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let start = pem.find(&begin)?;
    let block = pem.get(start..)?;
    let stop = block.find(&end)?.checked_add(end.len())?;
    block.get(..stop)
}
