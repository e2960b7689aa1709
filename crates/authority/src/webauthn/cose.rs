//! The public keys of passkeys (COSE_Key: RFC 9052 section 7, RFC 9053 section 7, RFC 8230 section 4).

use intent::passkey::PasskeyAlgorithm;
use pki::{Curve, RsaPublicKey};

use super::WebauthnError;
use super::cbor::Reader;

/// Parameters of a key at most.
const PARAMETERS_MAX: usize = 16;

/// A key that fits its algorithm.
pub(super) enum CoseKey {
    Es256(pki::PublicKey),
    EdDsa(intent::key_file::PublicKey),
    Rs256(RsaPublicKey),
}

/// The parameters that the three kinds of keys have. The labels -1 and -2 mean something else in RSA keys.
#[derive(Default)]
struct Parameters<'a> {
    key_type: Option<i64>,
    algorithm: Option<i64>,
    curve: Option<i64>,
    /// n of RSA.
    modulus: Option<&'a [u8]>,
    /// x, or e of RSA.
    x_or_exponent: Option<&'a [u8]>,
    y: Option<&'a [u8]>,
}

impl CoseKey {
    pub(super) fn parse(octets: &[u8]) -> Result<Self, WebauthnError> {
        let parameters = Parameters::read(octets).ok_or(WebauthnError::Key)?;
        parameters.key().ok_or(WebauthnError::Key)
    }

    pub(super) fn algorithm(&self) -> PasskeyAlgorithm {
        match self {
            Self::Es256(_) => PasskeyAlgorithm::Es256,
            Self::EdDsa(_) => PasskeyAlgorithm::EdDsa,
            Self::Rs256(_) => PasskeyAlgorithm::Rs256,
        }
    }

    /// Checks a signature in the form that WebAuthn gives it (Level 3 section 6.5.5).
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), WebauthnError> {
        let fits = match self {
            Self::Es256(key) => pki::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::EdDsa(key) => signature
                .try_into()
                .is_ok_and(|signature| key.verify(message, signature).is_ok()),
            Self::Rs256(key) => key.verify(message, signature).is_ok(),
        };
        fits.then_some(()).ok_or(WebauthnError::Signature)
    }
}

impl<'a> Parameters<'a> {
    fn read(octets: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let pairs = reader.map()?;
        if pairs > PARAMETERS_MAX {
            return None;
        }
        let mut parameters = Self::default();
        let mut labels = Vec::new();
        for _ in 0..pairs {
            let label = reader.integer()?;
            if labels.contains(&label) {
                return None;
            }
            labels.push(label);
            let item = reader.item()?;
            let mut value = Reader::new(item);
            match label {
                1 => parameters.key_type = Some(value.integer()?),
                3 => parameters.algorithm = Some(value.integer()?),
                -1 => match value.integer() {
                    Some(curve) => parameters.curve = Some(curve),
                    None => parameters.modulus = Some(Reader::new(item).octets()?),
                },
                -2 => parameters.x_or_exponent = Some(value.octets()?),
                // RSA public keys have none, and the sign of y (RFC 9053 section 7.1.1) is not for WebAuthn.
                -3 => parameters.y = Some(value.octets()?),
                _ => {}
            }
        }
        reader.is_at_end().then_some(parameters)
    }

    /// Key type, algorithm and curve must fit each other: a key never says one thing and is used as another.
    fn key(&self) -> Option<CoseKey> {
        match (self.key_type?, self.algorithm?, self.curve) {
            // EC2, ES256, P-256.
            (2, -7, Some(1)) => {
                let x: &[u8; 32] = self.x_or_exponent?.try_into().ok()?;
                let y: &[u8; 32] = self.y?.try_into().ok()?;
                let point = [&[0x04][..], x, y].concat();
                pki::PublicKey::from_uncompressed_point(Curve::P256, &point)
                    .ok()
                    .map(CoseKey::Es256)
            }
            // OKP, EdDSA, Ed25519.
            (1, -8, Some(6)) => {
                let x: &[u8; 32] = self.x_or_exponent?.try_into().ok()?;
                intent::key_file::PublicKey::from_bytes(x)
                    .ok()
                    .map(CoseKey::EdDsa)
            }
            // RSA, RS256.
            (3, -257, None) => RsaPublicKey::from_components(self.modulus?, self.x_or_exponent?)
                .ok()
                .map(CoseKey::Rs256),
            _ => None,
        }
    }
}
