//! What an eIM does without being asked.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use eim::Eim;

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

/// Waits; true when the server stops meanwhile.
async fn is_over(pause: Duration, stopped: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(pause, stopped).await.is_ok()
}
