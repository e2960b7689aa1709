//! Signatures of webhooks by the Standard Webhooks convention, symmetric form (`v1`, HMAC-SHA256).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Octets of a secret; the convention asks for 24 to 64.
pub(crate) const SECRET_OCTETS: usize = 32;

/// What a receiver verifies with.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) Zeroizing<Vec<u8>>);

impl Secret {
    /// As receivers are given it: `whsec_` and base64.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("whsec_{}", STANDARD.encode(&*self.0)))
    }

    /// The field `webhook-signature` of a message. `timestamp`: seconds since 1970.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn the_library_of_the_convention_accepts_what_is_signed_here_and_nothing_else() {
        let secret = Secret(Zeroizing::new(vec![7; SECRET_OCTETS]));
        let theirs = standardwebhooks::Webhook::new(&secret.to_text()).unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs() as i64;
        let body = br#"{"type":"device.operation-done"}"#;
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static("evt_1"));
        headers.insert("webhook-timestamp", now.into());
        headers.insert(
            "webhook-signature",
            secret.sign("evt_1", now, body).parse().unwrap(),
        );
        theirs.verify(body, &headers).unwrap();
        assert!(theirs.verify(b"{}", &headers).is_err());
        headers.insert("webhook-id", HeaderValue::from_static("evt_2"));
        assert!(theirs.verify(body, &headers).is_err());
    }
}
