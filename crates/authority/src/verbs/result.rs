//! Recording what eUICCs answer.

use intent::Digest;
use intent::api::{RecordResult, Refusal, RefusalCode};
use pki::PublicKey;
use rsp::ids::Eid;

use crate::event::{Actor, Event, Recorded};
use crate::package::{Answer, NoAnswer, to_base64};
use crate::state::State;
use crate::state::devices::News;
use crate::verbs::{Context, Decided};

/// An answer before its signature is verified, with what that takes.
#[derive(Debug)]
pub(crate) struct Claim {
    eid: Eid,
    answer: Answer,
    certificate: Digest,
    euicc_key: Vec<u8>,
    token: Option<i64>,
}

/// An answer that an eUICC really gave.
#[derive(Debug)]
pub(crate) struct Heard {
    eid: Eid,
    answer: Answer,
    /// SHA-256 of the certificate whose key it was verified with.
    certificate: Digest,
}

impl Claim {
    /// Reads an answer and takes from the state what its signature is verified with.
    pub(crate) fn prepare(state: &State, request: &RecordResult) -> Result<Self, Refusal> {
        let answer = Answer::parse(&request.result).map_err(|error| {
            let code = match error {
                NoAnswer::TooLong | NoAnswer::Malformed(_) => RefusalCode::Malformed,
                NoAnswer::Unsigned => RefusalCode::EuiccRefused,
            };
            Refusal::new(code, error.to_string())
        })?;
        if answer.eim_id().to_string() != state.installation()?.eim_id {
            return Err(refused("the result is for another eIM"));
        }
        let known = state.devices.get(&request.eid).and_then(|device| {
            let association = device.association()?;
            // The eUICC signs over the token that it accepted the package with.
            let token = match device.trace(answer.counter()) {
                Some(trace) => trace.token,
                None => association.token,
            };
            Some((association, token))
        });
        let Some((association, token)) = known else {
            return Err(Refusal::new(
                RefusalCode::NotAssociated,
                "the device has not shown the certificates of its eUICC",
            ));
        };
        Ok(Self {
            eid: request.eid,
            certificate: association.certificate,
            euicc_key: association.euicc_key.clone(),
            token,
            answer,
        })
    }

    /// Verifies the signature.
    pub(crate) fn verify(self) -> Result<Heard, Refusal> {
        let key = PublicKey::from_spki_der(&self.euicc_key)
            .map_err(|error| refused(&error.to_string()))?;
        match self.answer.is_signed_by(&key, self.token) {
            true => Ok(Heard {
                eid: self.eid,
                answer: self.answer,
                certificate: self.certificate,
            }),
            false => Err(refused("the signature of the result does not verify")),
        }
    }
}

/// Records an answer.
pub(crate) fn record(cx: &Context<'_>, heard: &Heard) -> Result<Decided<()>, Refusal> {
    let device = cx.state.devices.get(&heard.eid);
    let current = device.and_then(|device| Some((device, device.association()?)));
    let Some((device, association)) = current else {
        return Err(Refusal::new(
            RefusalCode::NotAssociated,
            "the device is no longer associated",
        ));
    };
    if association.certificate != heard.certificate {
        return Err(refused("the device was associated anew meanwhile"));
    }
    let answer = &heard.answer;
    let counter = answer.counter();
    match device.news(counter, answer.seq_number(), &answer.digest()) {
        News::New => {}
        News::Recorded => {
            return Ok(Decided {
                events: Vec::new(),
                answer: (),
            });
        }
        News::Stale => {
            return Err(Refusal::new(
                RefusalCode::Conflict,
                "the result is older than those on record, or contradicts one of them",
            ));
        }
    }
    let trace = device.trace(counter);
    let commands = trace.and_then(|trace| trace.commands);
    let recorded = Recorded {
        eid: Some(heard.eid),
        package: trace.map(|trace| trace.number),
        counter,
        result: to_base64(answer.octets()),
        success: commands.is_some_and(|commands| answer.is_success(commands)),
    };
    let mut events = vec![(Actor::Eim, Event::ResultRecorded(Box::new(recorded)))];
    if counter > device.counter() {
        let incident = Event::IncidentRaised {
            what: "counter-ahead".to_owned(),
            detail: format!(
                "the eUICC {} answered a package with counter {counter}, the highest signed here is {}: somebody else signs with the key of this eIM, or this record was rolled back",
                heard.eid,
                device.counter()
            ),
            entry: Some(cx.next),
        };
        events.push((Actor::Authority, incident));
    }
    Ok(Decided { events, answer: () })
}

fn refused(message: &str) -> Refusal {
    Refusal::new(RefusalCode::EuiccRefused, message)
}
