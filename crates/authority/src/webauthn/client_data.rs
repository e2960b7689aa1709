//! Checks client data (WebAuthn Level 3 section 5.8.1), which the browser vouches for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use intent::passkey::Ceremony;
use serde::Deserialize;

use super::{RelyingParty, WebauthnError};

/// Octets of client data at most. Browsers write some 250.
const CLIENT_DATA_MAX: usize = 4096;

/// The members that count. Others may come (the specification says so) and are ignored; one of these twice is an error.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<serde_json::Value>,
}

pub(super) fn check(
    party: &RelyingParty,
    ceremony: Ceremony,
    challenge: &[u8],
    json: &[u8],
) -> Result<(), WebauthnError> {
    if json.len() > CLIENT_DATA_MAX {
        return Err(WebauthnError::ClientData);
    }
    let data: ClientData = serde_json::from_slice(json).map_err(|_| WebauthnError::ClientData)?;
    let expected = ceremony.client_data_type();
    if data.kind != expected {
        return Err(WebauthnError::Ceremony { expected });
    }
    if data.challenge != URL_SAFE_NO_PAD.encode(challenge) {
        return Err(WebauthnError::Challenge);
    }
    if !party.origins.contains(&data.origin) {
        return Err(WebauthnError::Origin {
            origin: data.origin.chars().take(100).collect(),
        });
    }
    if data.cross_origin || data.top_origin.is_some() {
        return Err(WebauthnError::CrossOrigin);
    }
    Ok(())
}
