//! Bodies of requests.

use rsp::ids::Eid;
use serde::{Deserialize, Serialize};

/// `POST /v1/devices`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterDevice {
    /// 32 digits.
    pub(crate) eid: String,
    /// The operator's name for the device.
    #[serde(default)]
    pub(crate) label: String,
    /// The token that AddInitialEim returned, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) association_token: Option<i64>,
    /// Counter value last used for this association.
    #[serde(default)]
    pub(crate) counter: i64,
    /// CERT.EUICC, DER in hexadecimal; with `eum_certificate` or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) euicc_certificate: Option<String>,
    /// CERT.EUM, DER in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) eum_certificate: Option<String>,
}

impl RegisterDevice {
    /// Parses what is text on the wire.
    pub(crate) fn to_device(&self) -> Result<eim::NewDevice, String> {
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
        Ok(eim::NewDevice {
            label: self.label.clone(),
            association_token: self.association_token,
            counter: self.counter,
            certificates,
            ..eim::NewDevice::new(eid)
        })
    }
}

/// `POST /v1/devices/{eid}/operations`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Propose {
    /// Becomes one eIM Package.
    pub(crate) commands: Vec<eim::command::Command>,
    /// Seconds for which it may wait and be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime_s: Option<u32>,
}
