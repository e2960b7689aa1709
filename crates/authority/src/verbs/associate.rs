//! Taking the certificates that an eUICC shows.
//!
//! What is certain here is the chain: a trusted CI vouches for an eUICC with this EID and this key. That the certificates were
//! shown by the device is not certain, nor is the association token: both come through the eIM. A wrong token makes packages
//! that the eUICC refuses, and nothing else; the first answer that the eUICC signs settles it, since its signature covers the
//! token that the package was signed with. Until then another token may be claimed. After that, another token or certificate
//! means that the eUICC was reset, which people have to say (`reassociate-devices`).

use intent::Digest;
use intent::api::{Associate, Refusal, RefusalCode};
use pki::{Certificate, ChainPolicy, INTERMEDIATES_MAX, TrustAnchors, UnixTime};
use rsp::ids::Eid;

use crate::event::{Actor, Associated, Event};
use crate::package::to_base64;
use crate::verbs::{Context, Decided};

/// Octets of all certificates together: they fit into one entry.
const CERTIFICATES_MAX: usize = 32_000;
/// Tokens that may be claimed for one eUICC before one is proven.
const CLAIMS_MAX: u8 = 32;

/// Certificates whose chain is good.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    eid: Eid,
    euicc: Vec<u8>,
    eum: Vec<Vec<u8>>,
    token: Option<i64>,
}

impl Shown {
    /// Verifies the chain of certificates and that they are of this device. `now` in milliseconds since 1970.
    pub(crate) fn verify(
        trust: &TrustAnchors,
        policy: ChainPolicy,
        now: i64,
        request: &Associate,
    ) -> Result<Self, Refusal> {
        let eum: Vec<Vec<u8>> = request
            .eum_certificates
            .iter()
            .map(|octets| octets.0.clone())
            .collect();
        let length = request.euicc_certificate.len() + eum.iter().map(Vec::len).sum::<usize>();
        if length > CERTIFICATES_MAX || eum.len() > INTERMEDIATES_MAX + 1 {
            return Err(refused(
                "the certificates are too many or too long to be recorded",
            ));
        }
        let parse = |octets: &[u8]| {
            Certificate::from_der(octets).map_err(|error| refused(&error.to_string()))
        };
        let euicc = parse(&request.euicc_certificate)?;
        let chain = eum
            .iter()
            .map(|octets| parse(octets))
            .collect::<Result<Vec<_>, _>>()?;
        let (next, others) = chain
            .split_first()
            .ok_or_else(|| refused("the certificate of the EUM is missing"))?;
        let time = UnixTime(now.div_euclid(1_000));
        let verified = trust
            .verify_euicc_chain_in_message(&euicc, next, others, Some(time), policy)
            .map_err(|error| refused(&error.to_string()))?;
        if verified.eid != *request.eid.octets() {
            return Err(refused(&format!(
                "these are the certificates of the eUICC {}",
                verified.eid_digits
            )));
        }
        Ok(Self {
            eid: request.eid,
            euicc: request.euicc_certificate.clone(),
            eum,
            token: request.association_token,
        })
    }
}

/// Associates a device.
pub(crate) fn associate(cx: &Context<'_>, shown: &Shown) -> Result<Decided<()>, Refusal> {
    let device = cx.state.devices.get(&shown.eid);
    let Some(device) = device.filter(|_| cx.state.devices.fleet(&shown.eid).is_some()) else {
        return Err(Refusal::new(
            RefusalCode::NotAssociated,
            format!(
                "{} is not registered: register it with `palisade device register`",
                shown.eid
            ),
        ));
    };
    let conflict = |message: &str| Err(Refusal::new(RefusalCode::Conflict, message));
    if let Some(known) = device.association().filter(|_| !device.is_reassociable()) {
        let is_same_euicc = known.certificate == Digest::of(&[&shown.euicc]);
        if is_same_euicc && known.token == shown.token {
            return Ok(Decided {
                events: Vec::new(),
                answer: (),
            });
        }
        if !is_same_euicc {
            return conflict(
                "the device is associated with another certificate: if that is right, let it be associated anew (`palisade device reassociate`)",
            );
        }
        if known.is_proven {
            return conflict(
                "the eUICC has proven another association token: if it was reset, let it be associated anew (`palisade device reassociate`)",
            );
        }
        if known.claims >= CLAIMS_MAX {
            return conflict(
                "too many association tokens were claimed for this eUICC and none was proven: let it be associated anew (`palisade device reassociate`)",
            );
        }
    }
    if cx.state.keys.for_association().is_none() {
        return Err(Refusal::new(
            RefusalCode::Unavailable,
            "the eIM has no signing key",
        ));
    }
    let event = Associated {
        eid: Some(shown.eid),
        euicc_certificate: to_base64(&shown.euicc),
        eum_certificates: shown.eum.iter().map(|octets| to_base64(octets)).collect(),
        association_token: shown.token,
    };
    Ok(Decided {
        events: vec![(Actor::Eim, Event::DeviceAssociated(Box::new(event)))],
        answer: (),
    })
}

fn refused(message: &str) -> Refusal {
    Refusal::new(RefusalCode::EuiccRefused, message)
}
