//! Telling what there is to tell.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use eim::stream::{EventCursor, SeenEvent};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use intent::Principal;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Standing, State, Webhook};
use crate::Problem;
use crate::reader::{Reader, Via};
use crate::site::Console;

/// Events that are told in one go before the others' turn.
const PAGE: u32 = 50;
/// Pauses after failures in a row, in seconds; then the last one again and again.
const BACK_OFF_S: [i64; 8] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600];
/// After so long without a success it is given up: 5 days.
const GIVE_UP_MS: i64 = 5 * 86_400_000;
/// Between two looks, if nothing seems to happen.
const PAUSE_MAX_MS: i64 = 15_000;
/// Characters of an error that are kept.
const ERROR_MAX: usize = 300;
/// The receiver does not want it any more.
const GONE: u16 = 410;

impl Console {
    /// Tells everybody what is new, as soon as it is, until it is told to stop.
    pub async fn run_webhooks(&self, stopped: impl Future<Output = ()>) {
        /// What happens at once is told at once.
        const GATHER: Duration = Duration::from_millis(200);
        let mut stopped = pin!(stopped);
        let mut changed = self.eim.events_changed();
        loop {
            changed.borrow_and_update();
            // What is under way when the server stops is told again after the start.
            let told = tokio::select! {
                () = stopped.as_mut() => return,
                told = self.tell_webhooks() => told,
            };
            let pause = told.unwrap_or_else(|problem| {
                tracing::warn!(%problem, "webhooks could not be told");
                PAUSE_MAX_MS
            });
            let pause = Duration::from_millis(u64::try_from(pause).unwrap_or_default());
            tokio::select! {
                () = stopped.as_mut() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.webhook_wanted.notified() => {}
                Ok(()) = changed.changed() => tokio::time::sleep(GATHER).await,
            }
        }
    }

    /// Tells everybody what is new, once around. When to come back at the latest, in milliseconds, if nothing happens before.
    async fn tell_webhooks(&self) -> Result<i64, Problem> {
        let now = self.now();
        let mut owners: BTreeMap<Principal, Option<Reader>> = BTreeMap::new();
        let mut pause = PAUSE_MAX_MS;
        for hook in self.webhooks.list(None)? {
            if hook.standing.state != State::Active {
                continue;
            }
            if hook.standing.next_attempt_at > now {
                pause = pause.min(hook.standing.next_attempt_at - now);
                continue;
            }
            let reader = match owners.get(&hook.owner) {
                Some(reader) => reader.clone(),
                None => {
                    let reader = self.reader_of(&hook.owner).await?;
                    owners.insert(hook.owner.clone(), reader.clone());
                    reader
                }
            };
            if self.tell(&hook, reader.as_ref()).await? {
                pause = 0;
            }
        }
        Ok(pause)
    }

    /// What somebody sees now; none if they may not read any more.
    async fn reader_of(&self, owner: &Principal) -> Result<Option<Reader>, Problem> {
        let info = self.authority.principal(owner).await?;
        let is_good = !info.revoked && self.now() < info.expires_at;
        let via = Via::Token {
            principal: owner.clone(),
        };
        Ok(is_good.then(|| Reader::known(via, info, None)))
    }

    /// Tells one webhook up to a page of events. Whether there may be more.
    async fn tell(&self, hook: &Webhook, reader: Option<&Reader>) -> Result<bool, Problem> {
        let Some(reader) = reader else {
            let ended = Standing {
                state: State::OwnerEnded,
                ..hook.standing.clone()
            };
            self.webhooks
                .stands(hook.id, hook.standing.cursor, &ended)
                .await?;
            return Ok(false);
        };
        let from = hook.standing.cursor;
        let page = self
            .eim
            .events_after(&reader.visible(), EventCursor(from), PAGE)?;
        let mut standing = hook.standing.clone();
        for seen in &page.events {
            let is_wanted = hook
                .kinds
                .as_ref()
                .is_none_or(|kinds| kinds.contains(&seen.event.kind));
            if is_wanted {
                let told = self.send(hook, &message(seen)).await;
                self.note(&mut standing, &told);
                if !is_success(&told) {
                    self.webhooks.stands(hook.id, from, &standing).await?;
                    return Ok(false);
                }
            }
            standing.cursor = seen.cursor.0;
        }
        standing.cursor = page.next.0;
        if standing != hook.standing {
            self.webhooks.stands(hook.id, from, &standing).await?;
        }
        Ok(!page.is_end)
    }

    /// Sends something that says that it is a test, and gives what came of it.
    pub(super) async fn test_webhook(&self, hook: &Webhook) -> Result<u16, String> {
        let id = format!("test_{}_{}", hook.id, self.now());
        self.send(
            hook,
            &Message {
                id,
                body: json!({
                    "type": "palisade.test",
                    "timestamp": timestamp(self.now()),
                    "data": { "webhook": hook.id, "message": "This is a test; nothing happened." },
                }),
            },
        )
        .await
    }

    async fn send(&self, hook: &Webhook, message: &Message) -> Result<u16, String> {
        let seconds = self.now().div_euclid(1000);
        let body = message.body.to_string();
        let signature = hook.secret.sign(&message.id, seconds, body.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("palisade/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, value) in [
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ] {
            let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        self.courier
            .post(hook.url.clone(), headers, Bytes::from(body))
            .await
    }

    fn note(&self, standing: &mut Standing, told: &Result<u16, String>) {
        let now = self.now();
        standing.last_status = told.as_ref().ok().map(|status| i64::from(*status));
        if is_success(told) {
            *standing = Standing {
                cursor: standing.cursor,
                last_status: standing.last_status,
                last_success_at: Some(now),
                ..Standing::beginning(standing.cursor)
            };
            return;
        }
        let error = match told {
            Ok(status) => format!("the receiver answered {status}"),
            Err(error) => error.clone(),
        };
        standing.last_error = Some(error.chars().take(ERROR_MAX).collect());
        let since = *standing.failing_since.get_or_insert(now);
        let step = usize::try_from(standing.attempts).unwrap_or(usize::MAX);
        let pause = BACK_OFF_S.get(step).or(BACK_OFF_S.last()).unwrap_or(&5);
        standing.attempts = standing.attempts.saturating_add(1);
        standing.next_attempt_at = now.saturating_add(pause * 1000);
        if *told == Ok(GONE) {
            standing.state = State::Gone;
        } else if now.saturating_sub(since) >= GIVE_UP_MS {
            standing.state = State::GivenUp;
        }
    }
}

struct Message {
    id: String,
    body: Value,
}

fn message(seen: &SeenEvent) -> Message {
    Message {
        // The same however often it is sent.
        id: format!("evt_{}", seen.event.id),
        body: json!({
            "type": format!("device.{}", seen.event.kind),
            "timestamp": timestamp(seen.event.at),
            "data": seen,
        }),
    }
}

fn is_success(told: &Result<u16, String>) -> bool {
    matches!(told, Ok(200..=299))
}

fn timestamp(at: i64) -> String {
    Timestamp::from_millisecond(at)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}
