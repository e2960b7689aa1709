//! RSA, for passkeys in TPMs that have nothing else. Nothing in RSP uses it.

use core::fmt;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

use crate::public_key::SignatureInvalid;

/// Octets of a modulus, 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Octets of a public exponent at most. 65537 has three.
const EXPONENT_MAX: usize = 4;

/// An RSA public key of 2048 to 8192 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// The numbers are no usable RSA key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an RSA key has a modulus of 2048 to 8192 bits and an odd exponent from 3 to 32 bits, without leading zeros"
)]
pub struct RsaKeyError;

impl RsaPublicKey {
    /// Takes modulus and public exponent, unsigned, the first octet the highest and not zero (as in RFC 8230 section 4).
    pub fn from_components(modulus: &[u8], exponent: &[u8]) -> Result<Self, RsaKeyError> {
        let starts_well = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !MODULUS.contains(&modulus.len())
            || exponent.len() > EXPONENT_MAX
            || exponent == [1]
            || [modulus, exponent]
                .into_iter()
                .any(|number| !starts_well(number) || !is_odd(number))
        {
            return Err(RsaKeyError);
        }
        Ok(Self {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// Checks an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017 section 8.2.2).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
        .map_err(|_| SignatureInvalid)
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublicKey({} octets)", self.modulus.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_even_and_padded_numbers_are_refused() {
        let modulus = [0xFF; 256];
        let exponent = [1, 0, 1];
        assert!(RsaPublicKey::from_components(&modulus, &exponent).is_ok());
        for (modulus, exponent) in [
            (&[0xFF; 255][..], &exponent[..]),
            (&[0xFF; 1025][..], &exponent[..]),
            (&[&[0x00], &modulus[..]].concat()[..], &exponent[..]),
            (&[&modulus[..], &[0xFE]].concat()[..], &exponent[..]),
            (&modulus[..], &[][..]),
            (&modulus[..], &[1][..]),
            (&modulus[..], &[1, 0, 0][..]),
            (&modulus[..], &[0, 1, 0, 1][..]),
            (&modulus[..], &[1, 0, 0, 0, 1][..]),
        ] {
            assert_eq!(
                RsaPublicKey::from_components(modulus, exponent),
                Err(RsaKeyError)
            );
        }
    }

    #[test]
    fn a_wrong_signature_is_refused_and_not_more() {
        let key = RsaPublicKey::from_components(&[0xFF; 256], &[1, 0, 1]).unwrap();
        for length in [0, 1, 255, 256, 257, 5000] {
            assert_eq!(key.verify(b"x", &vec![1; length]), Err(SignatureInvalid));
        }
    }
}
