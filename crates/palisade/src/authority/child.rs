//! The authority that `palisade serve` starts beside itself: a process of its own, from the same program.
//!
//! The two hold on to each other by a pipe. What the eIM writes into it are orders (`reload`); when it is closed, because
//! the eIM stops or dies, the authority stops as well, so that the next one finds its ledger free.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child as Process, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::AuthorityClient;
use super::folder::AuthorityFolder;
use crate::config::LogSection;

/// How long an authority may take until it answers: it replays its ledger.
const READY_WITHIN: Duration = Duration::from_secs(600);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long it may take to publish and write a snapshot when it stops.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
/// Pauses before it is started again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// After this long, an authority that ends was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(30);

/// The exit status of an authority that is not to be started again by itself: it would try a PIN that its token has refused, until
/// the token locks itself.
pub(crate) const NOT_AGAIN: u8 = 77;

/// The order to read its settings again.
pub(super) const RELOAD: &str = "reload";

/// A supervised authority.
pub(crate) struct Child {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Reload,
    Stop,
}

/// How it is started.
struct Start {
    folder: PathBuf,
    remembered: PathBuf,
    log: LogSection,
}

impl Child {
    /// Starts an authority and waits until it answers.
    ///
    /// # Errors
    /// When it ends instead: it has said why in the log.
    pub(crate) async fn start(
        folder: &AuthorityFolder,
        remembered: &Path,
        log: &LogSection,
        client: &Arc<AuthorityClient>,
    ) -> anyhow::Result<Self> {
        let start = Start {
            folder: folder.path().to_owned(),
            remembered: remembered.to_owned(),
            log: log.clone(),
        };
        let (mut process, pipe) = start.spawn()?;
        let begun = Instant::now();
        loop {
            if let Ok(Ok(_)) = client.status().await {
                break;
            }
            if let Some(status) = process.try_wait().context("the authority is lost")? {
                bail!(
                    "the authority ended at once ({status}); above it said why. Nothing can be signed without it"
                );
            }
            if begun.elapsed() > READY_WITHIN {
                bail!(
                    "the authority does not answer within {} s",
                    READY_WITHIN.as_secs()
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let (orders, received) = mpsc::channel(4);
        let task = tokio::spawn(supervise(start, process, pipe, received));
        Ok(Self { orders, task })
    }

    /// Has it read its settings again.
    pub(crate) async fn reload(&self) {
        // A supervisor that has ended is about to be told to stop.
        let _ = self.orders.send(Order::Reload).await;
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let _ = self.orders.send(Order::Stop).await;
        self.task
            .await
            .context("the authority's supervisor broke off")
    }
}

/// This very program. Its file may have been replaced since it was started, by an upgrade for example; an authority of another
/// version beside this eIM would surprise both. Then Linux still has what is running, under a name that tells less.
fn program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    let path = std::env::current_exe().context("the path of this program is not known")?;
    let file = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    Ok(match (file(&running), file(&path)) {
        (Ok(now), Ok(then)) if now == then => path,
        (Ok(_), _) => running,
        (Err(_), _) => path,
    })
}

impl Start {
    fn spawn(&self) -> anyhow::Result<(Process, ChildStdin)> {
        let mut command = Command::new(program()?);
        command
            .arg0("palisade")
            .arg("authority")
            .arg("--supervised")
            .arg("--data")
            .arg(&self.folder)
            .arg("--remembered")
            .arg(&self.remembered)
            .args(["--log", &self.log.filter])
            .args(["--log-format", self.log.format.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut process = command.spawn().context("the authority cannot be started")?;
        let pipe = process.stdin.take().context("the authority has no pipe")?;
        Ok((process, pipe))
    }
}

/// Keeps an authority running until it is told to stop.
async fn supervise(
    start: Start,
    mut process: Process,
    mut pipe: ChildStdin,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        let ended = loop {
            tokio::select! {
                status = process.wait() => break status,
                order = orders.recv() => match order {
                    Some(Order::Reload) => {
                        let line = format!("{RELOAD}\n");
                        if let Err(error) = pipe.write_all(line.as_bytes()).await {
                            tracing::warn!(%error, "the authority could not be told to read its settings again");
                        }
                    }
                    // Without anybody to give orders it is time, too.
                    Some(Order::Stop) | None => return stop(process, pipe).await,
                },
            }
        };
        tracing::error!(
            status = described(&ended),
            "the authority ended; nothing is signed until it is back"
        );
        if begun.elapsed() > GOOD_AFTER {
            pause = PAUSE_MIN;
        }
        if matches!(&ended, Ok(status) if status.code() == Some(i32::from(NOT_AGAIN))) {
            tracing::error!(
                "its token does not take the PIN, so it is not started again by itself: correct the PIN, then send SIGHUP"
            );
            match orders.recv().await {
                Some(Order::Reload) => pause = PAUSE_MIN,
                Some(Order::Stop) | None => return,
            }
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                order = orders.recv() => match order {
                    Some(Order::Reload) => {}
                    Some(Order::Stop) | None => return,
                },
            }
            pause = (pause * 2).min(PAUSE_MAX);
            match start.spawn() {
                Ok((next, next_pipe)) => {
                    tracing::info!("the authority was started again");
                    (process, pipe) = (next, next_pipe);
                    break;
                }
                Err(error) => tracing::error!("{error:#}"),
            }
        }
    }
}

/// Closes the pipe, which tells it to stop, and waits.
async fn stop(mut process: Process, pipe: ChildStdin) {
    drop(pipe);
    match tokio::time::timeout(STOPPED_WITHIN, process.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(ended) => tracing::error!(
            status = described(&ended),
            "the authority did not stop properly"
        ),
        Err(_) => {
            tracing::error!("the authority does not stop; it is killed");
            if let Err(error) = process.kill().await {
                tracing::error!(%error, "the authority could not be killed");
            }
        }
    }
}

fn described(ended: &std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
