//! The elliptic curves of SGP.22 that Palisade implements.

use core::fmt;

use const_oid::ObjectIdentifier;

/// A curve for signatures and key agreement (SGP.22 section 2.6.7, "algorithms").
///
/// FRP256v1 (1.2.250.1.223.101.256.1), which SGP.22 also allows, is refused as unsupported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, also called secp256r1 and prime256v1.
    P256,
    /// brainpoolP256r1 (RFC 5639).
    BrainpoolP256r1,
}

impl Curve {
    /// Every implemented curve.
    pub const ALL: [Curve; 2] = [Curve::P256, Curve::BrainpoolP256r1];

    /// The object identifier in the parameters of a SubjectPublicKeyInfo.
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Curve::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Curve::BrainpoolP256r1 => ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7"),
        }
    }

    /// The curve with that object identifier, if it is implemented.
    pub fn from_oid(oid: &ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == *oid)
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Curve::P256 => "P-256",
            Curve::BrainpoolP256r1 => "brainpoolP256r1",
        })
    }
}

/// id-ecPublicKey (RFC 5480 section 2.1.1).
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// ecdsa-with-SHA256 (RFC 5758 section 3.2).
pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
