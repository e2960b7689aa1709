use std::fmt;

use rsp::der::{Describe, Error, Shape, Tlv, TypeInfo, Value, Writer};
use zeroize::Zeroizing;

/// OCTET STRING that is a key: wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretOctets(Zeroizing<Vec<u8>>);

impl SecretOctets {
    pub(crate) fn new(octets: &[u8]) -> Self {
        Self(Zeroizing::new(octets.to_vec()))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretOctets(..)")
    }
}

impl Value for SecretOctets {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        Ok(Self::new(tlv.content()))
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(self.expose());
    }
}

impl Describe for SecretOctets {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "secret",
            shape: Shape::Octets,
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for SecretOctets {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let octets: [u8; 33] = u.arbitrary()?;
        Ok(Self::new(&octets))
    }
}
