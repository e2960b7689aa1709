//! ECDSA signature values in their two encodings.

use core::fmt;

use der::asn1::UintRef;
use der::{Decode, Encode, Sequence};

/// An ECDSA signature over a 256-bit curve, held as `r || s`, each 32 octets, big-endian (BSI TR-03111 "plain format").
///
/// That is the form of every signature in SGP.22 and SGP.32 messages (`5F37 40`); X.509 uses the DER form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

/// The octets are neither a plain nor a DER signature of a 256-bit curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signature value is neither 64 octets r || s nor a DER ECDSA-Sig-Value of a 256-bit curve")]
pub struct SignatureMalformed;

impl Signature {
    /// Takes a signature as it comes in messages: 64 octets are the plain form, anything else must be DER.
    ///
    /// Some peers send DER although the specifications ask for the plain form.
    pub fn from_wire(octets: &[u8]) -> Result<Self, SignatureMalformed> {
        match <[u8; 64]>::try_from(octets) {
            Ok(plain) => Ok(Self(plain)),
            Err(_) => Self::from_der(octets),
        }
    }

    /// Takes the DER ECDSA-Sig-Value that X.509 uses (RFC 3279 section 2.2.3).
    pub fn from_der(octets: &[u8]) -> Result<Self, SignatureMalformed> {
        if octets.len() > DER_OCTETS_MAX {
            return Err(SignatureMalformed);
        }
        let value = EcdsaSigValue::from_der(octets).map_err(|_| SignatureMalformed)?;
        let mut plain = [0; 64];
        let (r, s) = plain.split_at_mut(32);
        put_right_aligned(r, value.r.as_bytes())?;
        put_right_aligned(s, value.s.as_bytes())?;
        Ok(Self(plain))
    }

    /// The signature with these octets `r || s`.
    pub const fn from_bytes(plain: [u8; 64]) -> Self {
        Self(plain)
    }

    /// `r || s`, 64 octets.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The DER ECDSA-Sig-Value. `None` only if the DER library refuses, which it has no reason to.
    pub fn to_der(&self) -> Option<Vec<u8>> {
        let (r, s) = self.0.split_at(32);
        let value = EcdsaSigValue {
            r: UintRef::new(r).ok()?,
            s: UintRef::new(s).ok()?,
        };
        value.to_der().ok()
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        for octet in self.0 {
            write!(f, "{octet:02X}")?;
        }
        f.write_str(")")
    }
}

/// Two INTEGERs of at most 33 octets each and three headers.
const DER_OCTETS_MAX: usize = 72;

#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

fn put_right_aligned(to: &mut [u8], from: &[u8]) -> Result<(), SignatureMalformed> {
    let start = to.len().checked_sub(from.len()).ok_or(SignatureMalformed)?;
    to.get_mut(start..)
        .ok_or(SignatureMalformed)?
        .copy_from_slice(from);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn plain_and_der_are_the_same_value() {
        let mut plain = [0x11; 64];
        plain[0] = 0x80; // needs a leading zero in DER
        plain[32] = 0x00; // is shorter in DER
        plain[33] = 0x01;
        let signature = Signature::from_wire(&plain).unwrap();
        let der = signature.to_der().unwrap();
        assert_eq!(der[..5], hex!("30 44 02 21 00"));
        assert_eq!(Signature::from_wire(&der).unwrap(), signature);
        assert_eq!(signature.as_bytes(), &plain);
    }

    #[test]
    fn malformed_values_are_refused() {
        for bad in [
            &hex!("")[..],
            &[0x11; 63],
            &[0x11; 65],
            &[0x30; 200],
            &hex!("3006020101020101 00"), // trailing octet
            &hex!("30070201010202 0001"), // not minimal
            &hex!("3006020181020101"),    // negative
            &hex!("308106020101020101"),  // long length
            &hex!("3003020101"),          // no s
        ] {
            assert_eq!(
                Signature::from_wire(bad),
                Err(SignatureMalformed),
                "{bad:02X?}"
            );
        }
        let mut too_wide = hex!("3026 0221").to_vec();
        too_wide.extend([0x01; 33]);
        too_wide.extend(hex!("020101"));
        assert_eq!(Signature::from_wire(&too_wide), Err(SignatureMalformed));
    }
}
