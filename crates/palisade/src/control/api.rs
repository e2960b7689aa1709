//! Bodies of requests.

use intent::IntentId;
use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

use console::Problem;

/// `POST /v1/devices/data`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrichDevices {
    /// Registered devices, or those that the intent is to register.
    pub(crate) devices: Vec<DeviceEnrichment>,
    /// The intent whose approval is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) intent: Option<IntentId>,
}

/// What is known of a registered device beforehand. What is absent stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceEnrichment {
    /// 32 digits.
    pub(crate) eid: String,
    /// The operator's name for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The token that AddInitialEim returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) association_token: Option<i64>,
    /// CERT.EUICC, DER in hexadecimal; with `eum_certificate` or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) euicc_certificate: Option<String>,
    /// CERT.EUM, DER in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) eum_certificate: Option<String>,
}

/// What became of one of them.
#[derive(Debug, Serialize)]
pub(super) struct Enriched {
    /// Which.
    pub(super) eid: String,
    /// Why it was not taken.
    pub(super) refused: Option<Problem>,
    /// Whether it is kept until the device is registered.
    pub(super) waits: bool,
}

impl DeviceEnrichment {
    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.label.is_none()
            && self.association_token.is_none()
            && self.euicc_certificate.is_none()
            && self.eum_certificate.is_none()
    }

    /// Parses what is text on the wire.
    pub(super) fn to_data(&self) -> Result<eim::DeviceData, String> {
        let eid: Eid = self
            .eid
            .parse()
            .map_err(|error| format!("{:?}: {error}", self.eid))?;
        let der = |name: &str, text: &Option<String>| {
            let decoded = text.as_deref().map(hex::decode).transpose();
            decoded.map_err(|_| format!("{name} is not hexadecimal"))
        };
        let euicc = der("euicc_certificate", &self.euicc_certificate)?;
        let eum = der("eum_certificate", &self.eum_certificate)?;
        let certificates = match (euicc, eum) {
            (Some(euicc), Some(eum)) => Some((euicc, eum)),
            (None, None) => None,
            _ => {
                return Err(
                    "the eUICC certificate and that of its EUM are given together".to_owned(),
                );
            }
        };
        Ok(eim::DeviceData {
            label: self.label.clone(),
            association_token: self.association_token,
            certificates,
            ..eim::DeviceData::new(eid)
        })
    }
}
