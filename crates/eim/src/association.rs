//! Telling the authority which eUICC a device has: its certificates and its association token. Until it has accepted them,
//! nothing is signed for the device.

use std::future::{Future, poll_fn};
use std::task::Poll;

use intent::api::{Associate, HexOctets, Refusal, RefusalCode};
use serde_json::json;

use crate::actor::Actor;
use crate::reports::{ReportError, next_attempt};
use crate::tables::devices;
use crate::{Association, Device, Eim, StorageError};

/// Devices that one call of [`Eim::associate_devices`] tells of.
const BATCH: u32 = 256;
/// Pause before it is told again what it refused: it may trust another CI by then.
const REFUSED_RETRY_MS: i64 = 3_600_000;
/// Calls under way at a time, so that the authority writes them down together.
const AT_A_TIME: usize = 16;
/// Pause before the authority is told again, if it did not say.
const RETRY_MS: i64 = 30_000;

impl Eim {
    /// Tells the authority of devices that it was not told of yet; of how many. To be called again and again: a device that has
    /// something to do is not kept waiting for it.
    pub async fn associate_devices(&self) -> Result<usize, ReportError> {
        let now = self.now_ms();
        let due = self.read(|tx| -> Result<_, StorageError> {
            Ok(devices::associations_due(tx, now, BATCH)?)
        })?;
        let mut told = 0;
        for devices in due.chunks(AT_A_TIME) {
            let calls = devices.iter().map(|device| self.tell_association(device));
            for answer in join_all(calls).await {
                told += usize::from(answer?);
            }
        }
        Ok(told)
    }

    /// Tells the authority what is known of a device's eUICC, if it is due; whether it has said yes or no.
    pub(crate) async fn tell_association(&self, device: &Device) -> Result<bool, ReportError> {
        let (Some(euicc), Some(eum)) = (&device.euicc_certificate, &device.eum_certificate) else {
            return Ok(false);
        };
        let eid = device.eid;
        let answer = self
            .link
            .associate(&Associate {
                eid,
                euicc_certificate: euicc.clone(),
                eum_certificates: vec![HexOctets(eum.clone())],
                association_token: device.association_token,
            })
            .await?;
        let now = self.now_ms();
        let (association, retry_at) = match &answer {
            Ok(()) => (Association::Accepted, None),
            Err(refusal) if is_passing(refusal) => {
                let retry_at = next_attempt(now, RETRY_MS, refusal.retry_at);
                (Association::Due, Some(retry_at))
            }
            Err(_) => (Association::Refused, Some(now + REFUSED_RETRY_MS)),
        };
        let refusal = answer.err().map(|refusal| refusal.message);
        let kind = match association {
            Association::Refused => {
                tracing::warn!(%eid, ?refusal, "the authority does not accept the device's eUICC");
                "association-refused"
            }
            _ => "association-accepted",
        };
        let is_over = association != Association::Due;
        let is_news = device.association != association || device.association_refusal != refusal;
        let event = (is_over && is_news).then(|| {
            let detail = json!({
                "association_token": device.association_token.is_some(),
                "refusal": refusal,
            });
            self.event(eid, &Actor::system("association"), kind, detail)
        });
        let told = device.clone();
        self.change(eid, move |tx| -> Result<(), StorageError> {
            let outcome = (association, refusal.as_deref(), retry_at);
            if devices::associated(tx, &told, outcome)?
                && let Some(event) = &event
            {
                event.append(tx)?;
            }
            Ok(())
        })
        .await?;
        Ok(is_over)
    }
}

impl Device {
    /// Whether the authority is to be told before it is asked to sign.
    pub(crate) fn is_association_due(&self, now: i64) -> bool {
        self.association_due_at.is_some_and(|due| due <= now)
    }
}

/// Waits for all of them.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut under_way: Vec<_> = futures.map(Box::pin).map(Some).collect();
    let mut answers: Vec<Option<F::Output>> = under_way.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, answer) in under_way.iter_mut().zip(&mut answers) {
            if let Some(running) = future
                && let Poll::Ready(value) = running.as_mut().poll(context)
            {
                (*future, *answer) = (None, Some(value));
            }
        }
        match under_way.iter().all(Option::is_none) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

fn is_passing(refusal: &Refusal) -> bool {
    refusal.retry_at.is_some() || refusal.code == RefusalCode::Unavailable
}
