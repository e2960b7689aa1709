//! One-time keys for ECKA (elliptic curve key agreement) in profile downloads.

use core::fmt;

use aws_lc_rs::agreement;
use bp256::BrainpoolP256r1;
use bp256::elliptic_curve::point::AffineCoordinates;
use bp256::elliptic_curve::{PublicKey as CurvePoint, SecretKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::curve::Curve;
use crate::private_key::{p256_agreement_key, public_key_of, random_scalar};
use crate::public_key::{KeyError, PublicKey};

/// A one-time key pair (`otSK`/`otPK` in SGP.22 section 5.7.5 and annex G). The secret is wiped on drop and never printed.
pub struct EphemeralKey {
    scalar: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

/// The other side's point cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer's one-time key is not a valid uncompressed point of the curve")]
pub struct AgreementError;

impl EphemeralKey {
    /// Makes a new pair from the caller's randomness.
    pub fn generate<R: CryptoRng + ?Sized>(curve: Curve, rng: &mut R) -> Result<Self, KeyError> {
        let scalar = random_scalar(curve, rng)?;
        let public = public_key_of(curve, &scalar)?;
        Ok(Self { scalar, public })
    }

    /// The pair with this secret, 32 octets big-endian.
    pub fn from_scalar(curve: Curve, scalar: &[u8; 32]) -> Result<Self, KeyError> {
        let public = public_key_of(curve, scalar)?;
        Ok(Self {
            scalar: Zeroizing::new(*scalar),
            public,
        })
    }

    /// The curve of this pair.
    pub fn curve(&self) -> Curve {
        self.public.curve()
    }

    /// The public point, 65 octets `04 || x || y`, as it goes into `5F49`.
    pub fn public_point(&self) -> &[u8] {
        self.public.uncompressed_point()
    }

    /// The shared secret ShS: the x coordinate of the product, 32 octets big-endian (BSI TR-03111 section 4.3.1).
    ///
    /// `peer_point` must be 65 octets and on the curve of this key; anything else is refused, so that no invalid-curve
    /// attack can learn about the secret.
    pub fn agree(&self, peer_point: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgreementError> {
        let peer = PublicKey::from_uncompressed_point(self.curve(), peer_point)
            .map_err(|_| AgreementError)?;
        match self.curve() {
            Curve::P256 => p256_agree(&self.scalar, peer.uncompressed_point()),
            Curve::BrainpoolP256r1 => brainpool_agree(&self.scalar, peer.uncompressed_point()),
        }
    }

    /// 33 octets for storage: one for the curve, then the secret. An eUICC keeps a pair so that a download can be retried
    /// with the same bound package.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 33]> {
        let mut stored = Zeroizing::new([0; 33]);
        if let Some((tag, secret)) = stored.split_first_mut() {
            *tag = curve_octet(self.curve());
            secret.copy_from_slice(&*self.scalar);
        }
        stored
    }

    /// Restores what [`EphemeralKey::to_bytes`] gave.
    pub fn from_bytes(stored: &[u8]) -> Result<Self, KeyError> {
        let (tag, secret) = stored.split_first().ok_or(KeyError::Malformed)?;
        let curve = Curve::ALL
            .into_iter()
            .find(|c| curve_octet(*c) == *tag)
            .ok_or(KeyError::Malformed)?;
        let mut scalar = Zeroizing::new([0; 32]);
        if secret.len() != scalar.len() {
            return Err(KeyError::Malformed);
        }
        scalar.copy_from_slice(secret);
        Self::from_scalar(curve, &scalar)
    }
}

impl fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EphemeralKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

const fn curve_octet(curve: Curve) -> u8 {
    match curve {
        Curve::P256 => 1,
        Curve::BrainpoolP256r1 => 2,
    }
}

fn p256_agree(scalar: &[u8; 32], peer: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgreementError> {
    let key = p256_agreement_key(scalar).map_err(|_| AgreementError)?;
    let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, peer);
    agreement::agree(&key, peer, AgreementError, |shared| {
        let mut x = Zeroizing::new([0; 32]);
        if shared.len() != x.len() {
            return Err(AgreementError);
        }
        x.copy_from_slice(shared);
        Ok(x)
    })
}

fn brainpool_agree(scalar: &[u8; 32], peer: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgreementError> {
    let key = SecretKey::<BrainpoolP256r1>::from_slice(scalar).map_err(|_| AgreementError)?;
    let peer = CurvePoint::<BrainpoolP256r1>::from_sec1_bytes(peer).map_err(|_| AgreementError)?;
    let shared = Zeroizing::new((peer.to_projective() * *key.to_nonzero_scalar()).to_affine());
    Ok(Zeroizing::new(shared.x().into()))
}
