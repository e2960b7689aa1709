//! What an eIM does without being asked.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use eim::Eim;

use crate::authority::{AuthorityClient, Remembered};

/// When devices were last heard of is at most this old in the database.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// New notifications wait at most this long.
const FORWARD_EVERY: Duration = Duration::from_secs(1);

/// Writes contacts, again and again.
pub(super) async fn flush_contacts(eim: Arc<Eim>, stopped: impl Future<Output = ()>) {
    let mut stopped = pin!(stopped);
    while !is_over(FLUSH_EVERY, stopped.as_mut()).await {
        if let Err(error) = eim.flush_contacts().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "contacts could not be written"
            );
        }
    }
}

/// Forwards notifications to their SM-DP+s.
pub(super) async fn forward_notifications(eim: Arc<Eim>, stopped: impl Future<Output = ()>) {
    let mut stopped = pin!(stopped);
    let mut pause = FORWARD_EVERY;
    while !is_over(pause, stopped.as_mut()).await {
        // A call under way is given up when the server stops: what was not confirmed is forwarded again after the start.
        let forwarded = tokio::select! {
            () = stopped.as_mut() => return,
            forwarded = eim.forward_notifications() => forwarded,
        };
        pause = match forwarded {
            Ok(0) => FORWARD_EVERY,
            Ok(count) => {
                tracing::info!(count, "notifications forwarded");
                Duration::ZERO
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "notifications could not be forwarded"
                );
                FLUSH_EVERY
            }
        };
    }
}

/// What the authority decided is looked for at least this often.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Follows the authority's feed.
pub(super) async fn follow(eim: Arc<Eim>, stopped: impl Future<Output = ()>) {
    let mut trouble = Trouble::default();
    let mut stopped = pin!(stopped);
    while !is_over(FOLLOW_EVERY, stopped.as_mut()).await {
        match eim.follow().await {
            Ok(_) => trouble.is_over("the authority's feed is followed again"),
            Err(error) => trouble.say(&error, "the authority's feed cannot be followed"),
        }
    }
}

/// Tells the authority what new eUICCs showed.
pub(super) async fn associate(eim: Arc<Eim>, stopped: impl Future<Output = ()>) {
    let mut trouble = Trouble::default();
    let mut stopped = pin!(stopped);
    while !is_over(FOLLOW_EVERY, stopped.as_mut()).await {
        match eim.associate_devices().await {
            Ok(_) => trouble.is_over("the authority takes associations again"),
            Err(error) => trouble.say(&error, "the authority cannot be told of associations"),
        }
    }
}

/// Gives the authority what eUICCs answered.
pub(super) async fn report_results(eim: Arc<Eim>, stopped: impl Future<Output = ()>) {
    let mut trouble = Trouble::default();
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            () = stopped.as_mut() => break,
            () = eim.results_waiting() => {}
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
        loop {
            match eim.report_results().await {
                Ok(0) => {
                    trouble.is_over("the authority takes results again");
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    trouble.say(&error, "the authority cannot be given results");
                    break;
                }
            }
        }
    }
    // What came in at the end. What does not reach it now does after the next start.
    let _ = tokio::time::timeout(FOLLOW_EVERY, eim.report_results()).await;
}

/// Remembers the authority's newest checkpoint.
pub(super) async fn remember(
    authority: Arc<AuthorityClient>,
    remembered: Arc<Remembered>,
    stopped: impl Future<Output = ()>,
) {
    let mut stopped = pin!(stopped);
    while !is_over(FOLLOW_EVERY, stopped.as_mut()).await {
        if let Err(error) = remembered.update(&authority).await {
            tracing::warn!("the authority's checkpoint is not remembered: {error:#}");
        }
    }
}

/// Something that goes on for a while is said once, and when it is over.
#[derive(Default)]
struct Trouble {
    said: Option<String>,
}

impl Trouble {
    fn say(&mut self, error: &(dyn std::error::Error + 'static), what: &str) {
        let text = error.to_string();
        if self.said.as_ref() != Some(&text) {
            tracing::error!(error, "{what}");
            self.said = Some(text);
        }
    }

    fn is_over(&mut self, what: &str) {
        if self.said.take().is_some() {
            tracing::info!("{what}");
        }
    }
}

/// Waits; true when the server stops meanwhile.
async fn is_over(pause: Duration, stopped: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(pause, stopped).await.is_ok()
}
