//! eIM Configuration Data (SGP.32 section 2.11.1.1.1 and 4.1): what an eUICC stores about an eIM.

use std::fmt;
use std::str::FromStr;

use crate::der::{Describe, Error, Null, Shape, Tlv, TypeInfo, Value, Writer};
use crate::sgp22::{Certificate, KeyIdentifier, SubjectPublicKeyInfo};
use crate::{bits, choice, codes, sequence};

/// The name of an eIM: 1 to 128 characters, unique within an eUICC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EimId(String);

impl EimId {
    /// Characters allowed.
    pub const CHARACTERS_MAX: usize = 128;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EimId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.chars().count() > Self::CHARACTERS_MAX {
            return Err(Error::invalid("an eimId has 1 to 128 characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for EimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value for EimId {
    const CONSTRUCTED: bool = false;

    fn decode_content(tlv: Tlv<'_>) -> Result<Self, Error> {
        String::decode_content(tlv)?.parse()
    }

    fn encode_content(&self, writer: &mut Writer) {
        writer.raw(self.0.as_bytes());
    }
}

impl Describe for EimId {
    fn info() -> TypeInfo {
        TypeInfo {
            name: "EimId",
            shape: Shape::Text,
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for EimId {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let number: u32 = u.arbitrary()?;
        Ok(Self(format!("eim-{number}.example.com")))
    }
}

codes! {
    /// What kind of name an eimId is. Absent means proprietary.
    pub enum EimIdType { EimIdTypeOid = 1, EimIdTypeFqdn = 2, EimIdTypeProprietary = 3 }
}

bits! {
    /// How an eIM can be reached. Absent means only the proprietary bit.
    pub struct EimSupportedProtocol {
        EIM_RETRIEVE_HTTPS = 0,
        EIM_RETRIEVE_COAPS = 1,
        EIM_INJECT_HTTPS = 2,
        EIM_INJECT_COAPS = 3,
        EIM_PROPRIETARY = 4,
    }
}

sequence! {
    /// What an eUICC stores about one eIM.
    pub struct EimConfigurationData @ 0x30 {
        req eim_id @ 0x80: EimId,
        opt eim_fqdn @ 0x81: String,
        opt eim_id_type @ 0x82: EimIdType,
        /// The last counter value used by this eIM; packages must go above it. Not returned by
        /// GetEimConfigurationData.
        opt counter_value @ 0x83: i64,
        /// In a request: -1 asks the eUICC to compute a token; in a response: the token.
        opt association_token @ 0x84: i64,
        /// Verifies eUICC Packages of this eIM.
        opt eim_public_key_data @ 0xA5: EimPublicKeyData,
        /// What the IPA trusts for the (D)TLS connection to this eIM.
        opt trusted_public_key_data_tls @ 0xA6: TrustedPublicKeyDataTls,
        opt eim_supported_protocol @ 0x87: EimSupportedProtocol,
        /// The CI that the eUICC's certificate must chain to when it signs for this eIM.
        opt euicc_ci_pk_id @ 0x88: KeyIdentifier,
        opt indirect_profile_download @ 0x89: Null,
    }
}

impl EimConfigurationData {
    /// Asks the eUICC to compute an association token.
    pub const COMPUTE_ASSOCIATION_TOKEN: i64 = -1;

    /// Configuration data with nothing but a name.
    pub fn named(eim_id: EimId) -> Self {
        Self {
            eim_id,
            eim_fqdn: None,
            eim_id_type: None,
            counter_value: None,
            association_token: None,
            eim_public_key_data: None,
            trusted_public_key_data_tls: None,
            eim_supported_protocol: None,
            euicc_ci_pk_id: None,
            indirect_profile_download: None,
            extensions: Default::default(),
        }
    }

    /// What AddInitialEim hands over for an eIM that devices poll by HTTPS and that relays downloads: it counts from 0, and the
    /// eUICC is to compute a token.
    pub fn for_initial_association(
        eim_id: EimId,
        fqdn: &str,
        tls_trust: Option<TrustedPublicKeyDataTls>,
        key: Option<SubjectPublicKeyInfo>,
    ) -> Self {
        Self {
            eim_fqdn: Some(fqdn.to_owned()),
            eim_id_type: Some(EimIdType::EimIdTypeFqdn),
            counter_value: Some(0),
            association_token: Some(Self::COMPUTE_ASSOCIATION_TOKEN),
            eim_public_key_data: key.map(EimPublicKeyData::EimPublicKey),
            trusted_public_key_data_tls: tls_trust,
            eim_supported_protocol: Some(EimSupportedProtocol::of([
                EimSupportedProtocol::EIM_RETRIEVE_HTTPS,
            ])),
            indirect_profile_download: Some(Null),
            ..Self::named(eim_id)
        }
    }
}

/// The association token as it goes into signatures of packages and results, behind what they sign: `84 LL VV`, with 0 where
/// none is configured (SGP.32 v1.2 section 2.11.1.1).
pub fn association_token_object(token: Option<i64>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.value(0x84, &token.unwrap_or(0));
    writer.into_bytes()
}

choice! {
    /// The key that verifies eUICC Packages, bare or in a certificate.
    pub enum EimPublicKeyData {
        value EimPublicKey @ 0xA0: SubjectPublicKeyInfo,
        value EimCertificate @ 0xA1: Certificate,
    }
}

choice! {
    /// The key of the eIM's TLS server, its certificate, or the certificate of the CA above it.
    pub enum TrustedPublicKeyDataTls {
        value TrustedEimPkTls @ 0xA0: SubjectPublicKeyInfo,
        value TrustedCertificateTls @ 0xA1: Certificate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_der_integer_and_none_is_zero() {
        assert_eq!(association_token_object(None), [0x84, 0x01, 0x00]);
        assert_eq!(association_token_object(Some(5)), [0x84, 0x01, 0x05]);
        assert_eq!(
            association_token_object(Some(128)),
            [0x84, 0x02, 0x00, 0x80]
        );
    }
}
