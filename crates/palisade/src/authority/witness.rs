//! Witnesses over HTTPS (C2SP tlog-witness): asking them for cosignatures, and being one.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use edge::client::{Client, ClientLimits};
use edge::server::Server;
use edge::tls::{Identity, TlsConfig, Trust};
use http::{HeaderMap, StatusCode, header};
use ledger::witness::{ANSWER_MAX, Answer, AnswerError, REQUEST_MAX, add_checkpoint, read_answer};
use ledger::{Checkpoint, CosigningKey, FolderStore, PublicKey, Reader, Witness, WitnessKey};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::folder::{AuthorityFolder, read_public_key};
use super::process::read_tls_key;
use crate::adapters::{SystemClock, SystemEntropy, create_private_directory};
use crate::config::{File, LimitsSection, WitnessSection};
use crate::proposing::{create_private, read_private, replace_private};
use crate::trust;

/// The witnesses of an authority, before they are asked for the first time.
pub(super) struct Witnesses {
    folder: AuthorityFolder,
    public: PublicKey,
    witnesses: Vec<Asked>,
}

/// Witnesses that are asked again and again, each by a task of its own: one that hangs holds nobody up.
pub(super) struct Cosigning {
    engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// One of them.
struct Asked {
    key: WitnessKey,
    url: String,
    client: Client,
    /// Entries of the checkpoint that it cosigned last, as far as is known.
    seen: u64,
    /// What is wrong with it, as the log said it last.
    trouble: Option<String>,
}

/// What a witness saw before does not go with what the record is now. Evidence, whoever is to blame.
#[derive(Debug, thiserror::Error)]
enum Contradiction {
    #[error(
        "it has cosigned {witnessed} entries, and the ledger has {found}: the ledger was rolled back"
    )]
    RolledBack { witnessed: u64, found: u64 },
    #[error(
        "what it cosigned before is not the beginning of this ledger: the ledger was forked, or an old copy of it was put back and went on"
    )]
    Forked,
}

/// How often it is looked whether there is another checkpoint.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Pause at most between two attempts with a witness that does not cosign.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the last checkpoint waits for cosignatures when the authority stops.
const LAST_WITHIN: Duration = Duration::from_secs(5);

impl Witnesses {
    /// Those of the settings.
    pub(super) fn of(folder: &AuthorityFolder, file: &File) -> anyhow::Result<Self> {
        let one = |section: &WitnessSection| -> anyhow::Result<Asked> {
            let roots = trust::read_chain(&file.path(&section.ca))?;
            let limits = ClientLimits {
                connect_timeout: Duration::from_secs(5),
                total_timeout: Duration::from_secs(10),
                body_bytes_max: ANSWER_MAX,
                ..ClientLimits::default()
            };
            let roots = roots.iter().map(|root| root.der().to_vec());
            Ok(Asked {
                key: section.key.parse().context("not the key of a witness")?,
                url: format!("{}/add-checkpoint", section.url.trim_end_matches('/')),
                client: Client::new(Trust::roots(roots), limits)?,
                seen: 0,
                trouble: None,
            })
        };
        let witnesses = file.authority.witnesses.iter().map(|section| {
            one(section).with_context(|| format!("the witness at {} cannot be used", section.url))
        });
        Ok(Self {
            public: folder.public_key()?,
            folder: folder.clone(),
            witnesses: witnesses.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Begins to ask each for its cosignature of whatever is published.
    pub(super) fn start(self, engine: &Arc<Engine>) -> Cosigning {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for witness in self.witnesses {
            let ledger = (self.folder.clone(), self.public.clone());
            tasks.spawn(witness.attend(ledger, Arc::clone(engine), stopped.clone()));
        }
        Cosigning {
            engine: Arc::clone(engine),
            stop,
            tasks,
        }
    }
}

impl Cosigning {
    /// Publishes what there is, asks each once more, and ends. To be called when nothing is decided any more, so that the last
    /// checkpoint is a cosigned one.
    pub(super) async fn finish(mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let engine = Arc::clone(&self.engine);
        // Whoever stops it publishes as well, and hears what goes wrong.
        let _ = tokio::task::spawn_blocking(move || engine.checkpoint(0, true)).await;
        // Nobody listening any more is as good.
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WITHIN, all).await.is_err() {
            tracing::warn!("not all witnesses cosigned the last checkpoint in time");
        }
    }
}

impl Asked {
    /// Asks again and again, and once more when it is to stop.
    async fn attend(
        mut self,
        (folder, public): (AuthorityFolder, PublicKey),
        engine: Arc<Engine>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut pause = ASK_EVERY;
        loop {
            let is_last = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                // An error means that the sender is gone: then it is time, too.
                _ = stopped.wait_for(|stopped| *stopped) => true,
            };
            pause = match self.ask(&folder, &public, &engine).await {
                Ok(()) => {
                    if self.trouble.take().is_some() {
                        tracing::info!(witness = %self.key, "it cosigns again");
                    }
                    ASK_EVERY
                }
                Err(error) => {
                    self.say(&error);
                    (pause * 2).min(PAUSE_MAX)
                }
            };
            engine.note_witness(&self.key, self.seen, self.trouble.as_deref());
            if is_last {
                return;
            }
        }
    }

    /// Says what is wrong, once.
    fn say(&mut self, error: &anyhow::Error) {
        let words = format!("{error:#}");
        if self.trouble.as_ref() == Some(&words) {
            return;
        }
        match error.is::<Contradiction>() {
            true => tracing::error!(
                witness = %self.key,
                "a witness contradicts this ledger and does not cosign: {words}"
            ),
            false => tracing::warn!(witness = %self.key, "no cosignature: {words}"),
        }
        self.trouble = Some(words);
    }

    async fn ask(
        &mut self,
        folder: &AuthorityFolder,
        public: &PublicKey,
        engine: &Arc<Engine>,
    ) -> anyhow::Result<()> {
        const TRIES: usize = 2;
        for _ in 0..TRIES {
            let (checkpoint, body) = {
                let files = FolderStore::reader(folder.ledger());
                let reader = Reader::open(&files, public)?;
                let checkpoint = reader.checkpoint().clone();
                let own = checkpoint.cosignatures(std::slice::from_ref(&self.key));
                if own.is_ok_and(|own| !own.is_empty()) {
                    self.seen = checkpoint.size();
                    return Ok(());
                }
                // A witness that has seen more than there is says so itself.
                let since = self.seen.min(checkpoint.size());
                let body = add_checkpoint(&reader, since)?;
                (checkpoint, body)
            };
            let found = checkpoint.size();
            let response = self.client.post(&self.url, HeaderMap::new(), body).await?;
            let status = response.status.as_u16();
            match read_answer(status, &response.body, &checkpoint, &self.key) {
                Ok(Answer::Cosigned(line)) => {
                    self.seen = found;
                    let (engine, key) = (Arc::clone(engine), self.key.clone());
                    let added = tokio::task::spawn_blocking(move || engine.cosign(&line, &key));
                    if let Ok(Err(refusal)) = added.await {
                        // Another checkpoint was published meanwhile; its turn comes.
                        tracing::debug!("a cosignature came too late: {refusal}");
                    }
                    return Ok(());
                }
                Ok(Answer::Conflict(witnessed)) if witnessed > found => {
                    return Err(Contradiction::RolledBack { witnessed, found }.into());
                }
                Ok(Answer::Conflict(witnessed)) => self.seen = witnessed,
                Err(AnswerError::Refused { status, .. }) if status == INCONSISTENT => {
                    return Err(Contradiction::Forked.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        bail!("it does not say which checkpoint it cosigned last")
    }
}

/// What a witness answers to a checkpoint that does not continue the one before (C2SP tlog-witness, "add-checkpoint").
const INCONSISTENT: u16 = 422;

/// The folder of a witness: its key, and what it cosigned last.
#[derive(Debug, Clone)]
pub(crate) struct WitnessFolder(PathBuf);

/// How a witness is run.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Its folder.
    pub(crate) folder: WitnessFolder,
    /// Public keys of the ledgers that it knows.
    pub(crate) ledgers: Vec<PathBuf>,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// Its certificate chain.
    pub(crate) certificate: PathBuf,
    /// The key of it.
    pub(crate) key: PathBuf,
}

impl WitnessFolder {
    /// The folder at this path.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("witness.key")
    }

    fn latest_file(&self, log: &PublicKey) -> PathBuf {
        // An origin may hold characters that a file name may not.
        self.0.join(format!("latest-{}", hex::encode(log.origin())))
    }

    /// Makes a key under this name. Gives what verifies its cosignatures.
    pub(crate) fn make(&self, name: &str) -> anyhow::Result<WitnessKey> {
        create_private_directory(&self.0)?;
        let key = CosigningKey::generate(name, &mut SystemEntropy)?;
        create_private(&self.key_file(), key.to_text().as_bytes())?;
        Ok(key.public().clone())
    }

    fn open(&self, ledgers: &[PathBuf]) -> anyhow::Result<Witness> {
        let text = read_private(&self.key_file())?;
        let mut witness = Witness::new(CosigningKey::from_text(&text)?);
        for path in ledgers {
            let log = read_public_key(path)?;
            let latest = self.latest_file(&log);
            let latest = match latest.exists() {
                true => {
                    let note = std::fs::read(&latest)
                        .with_context(|| format!("{} cannot be read", latest.display()))?;
                    Some(
                        Checkpoint::open(&note, &log)
                            .with_context(|| format!("{} holds no checkpoint", latest.display()))?,
                    )
                }
                false => None,
            };
            witness.know(log, latest);
        }
        Ok(witness)
    }
}

struct Shared {
    witness: Mutex<Witness>,
    folder: WitnessFolder,
    logs: Vec<PublicKey>,
}

/// Runs a witness until `stop` is ready.
pub(crate) async fn watch(watch: Watch, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let witness = watch.folder.open(&watch.ledgers)?;
    let name = witness.key().to_string();
    let logs: anyhow::Result<Vec<PublicKey>> = watch
        .ledgers
        .iter()
        .map(|path| read_public_key(path))
        .collect();
    let shared = Arc::new(Shared {
        witness: Mutex::new(witness),
        folder: watch.folder,
        logs: logs?,
    });
    let router = Router::new()
        .route("/add-checkpoint", post(cosign))
        .with_state(shared);
    let chain = trust::read_chain(&watch.certificate)?;
    let chain = chain.iter().map(|one| one.der().to_vec()).collect();
    let identity = Identity::from_der(chain, read_tls_key(&watch.key)?)
        .context("the certificate and its key must belong together")?;
    let limits = edge::server::Limits {
        body_bytes_max: REQUEST_MAX,
        ..LimitsSection::default().to_edge()
    };
    let server = Server::bind(watch.listen, TlsConfig::new(identity), limits).await?;
    tracing::info!(listen = %server.local_addr(), witness = name, "the witness is ready");
    server.serve(router, stop).await;
    Ok(())
}

async fn cosign(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let time = u64::try_from(SystemClock.millis() / 1000).unwrap_or_default();
    let answered = tokio::task::spawn_blocking(move || {
        let mut keep = |checkpoint: &Checkpoint| keep(&shared, checkpoint);
        let mut witness = shared
            .witness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        witness.add_checkpoint(&body, time, &mut keep)
    })
    .await;
    match answered {
        Ok(Ok(line)) => line.into_response(),
        Ok(Err(refusal)) => {
            tracing::warn!(%refusal, "no cosignature");
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            let kind = [(header::CONTENT_TYPE, refusal.content_type())];
            (status, kind, refusal.body()).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn keep(shared: &Shared, checkpoint: &Checkpoint) -> io::Result<()> {
    let note = checkpoint.note();
    let log = shared
        .logs
        .iter()
        .find(|log| note.starts_with(format!("{}\n", log.origin()).as_bytes()))
        .ok_or_else(|| io::Error::other("the log is not known"))?;
    let path: &Path = &shared.folder.latest_file(log);
    replace_private(path, note).map_err(io::Error::other)
}
