//! Client data (WebAuthn Level 3 section 5.8.1) as a client writes it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What an authenticator is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceremony {
    /// Making a credential.
    Registration,
    /// Using one.
    Assertion,
}

impl Ceremony {
    /// The member `type` of the client data.
    pub const fn client_data_type(self) -> &'static str {
        match self {
            Self::Registration => "webauthn.create",
            Self::Assertion => "webauthn.get",
        }
    }
}

/// The serialization of client data (WebAuthn Level 3 section 5.8.1.1), not cross-origin.
pub fn client_data_json(ceremony: Ceremony, challenge: &[u8; 32], origin: &str) -> String {
    let origin = serde_json::Value::from(origin);
    format!(
        "{{\"type\":\"{}\",\"challenge\":\"{}\",\"origin\":{origin},\"crossOrigin\":false}}",
        ceremony.client_data_type(),
        URL_SAFE_NO_PAD.encode(challenge)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_of_the_specification() {
        // WebAuthn Level 3 section 16.2, "ES256 Credential with No Attestation", authentication.
        let challenge =
            hex::decode("39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408")
                .unwrap();
        assert_eq!(
            client_data_json(
                Ceremony::Assertion,
                &challenge.try_into().unwrap(),
                "https://example.org"
            ),
            r#"{"type":"webauthn.get","challenge":"OcDnUhQXulTUPo3JUXT0I97pvzzYBP9tZchXyav01Ag","origin":"https://example.org","crossOrigin":false}"#
        );
    }

    #[test]
    fn an_origin_cannot_break_out() {
        let text = client_data_json(
            Ceremony::Registration,
            &[0; 32],
            "a\",\"crossOrigin\":true,\"x\":\"",
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["crossOrigin"], false);
    }
}
