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
use ledger::witness::{ANSWER_MAX, Answer, REQUEST_MAX, add_checkpoint, read_answer};
use ledger::{Checkpoint, CosigningKey, FolderStore, PublicKey, Reader, Witness, WitnessKey};

use super::folder::{AuthorityFolder, read_public_key};
use super::process::read_tls_key;
use crate::adapters::{SystemClock, SystemEntropy, create_private_directory};
use crate::config::{File, LimitsSection, WitnessSection};
use crate::proposing::{create_private, read_private, replace_private};
use crate::trust;

/// The witnesses of an authority.
pub(super) struct Witnesses {
    folder: AuthorityFolder,
    public: PublicKey,
    witnesses: Vec<Asked>,
}

/// One of them.
struct Asked {
    key: WitnessKey,
    url: String,
    client: Client,
    /// Entries of the checkpoint that it cosigned last, as far as is known.
    seen: u64,
}

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

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.witnesses.is_empty()
    }

    /// Asks each for its cosignature of the published checkpoint. Gives those that were given: lines with their keys.
    pub(super) async fn ask(&mut self) -> Vec<(String, WitnessKey)> {
        let mut given = Vec::new();
        for witness in &mut self.witnesses {
            match witness.ask(&self.folder, &self.public).await {
                Ok(Some(line)) => given.push((line, witness.key.clone())),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(witness = %witness.key, "no cosignature: {error:#}");
                }
            }
        }
        given
    }
}

impl Asked {
    async fn ask(
        &mut self,
        folder: &AuthorityFolder,
        public: &PublicKey,
    ) -> anyhow::Result<Option<String>> {
        const TRIES: usize = 2;
        for _ in 0..TRIES {
            let (checkpoint, body) = {
                let files = FolderStore::reader(folder.ledger());
                let reader = Reader::open(&files, public)?;
                let checkpoint = reader.checkpoint().clone();
                if checkpoint.size() == self.seen {
                    return Ok(None);
                }
                // A witness that has seen more than there is says so itself.
                let since = self.seen.min(checkpoint.size());
                let body = add_checkpoint(&reader, since)?;
                (checkpoint, body)
            };
            let response = self.client.post(&self.url, HeaderMap::new(), body).await?;
            let status = response.status.as_u16();
            match read_answer(status, &response.body, &checkpoint, &self.key)? {
                Answer::Cosigned(line) => {
                    self.seen = checkpoint.size();
                    return Ok(Some(line));
                }
                Answer::Conflict(size) if size > checkpoint.size() => bail!(
                    "it has cosigned {size} entries, and the ledger has {}: the ledger was rolled back",
                    checkpoint.size()
                ),
                Answer::Conflict(size) => self.seen = size,
            }
        }
        bail!("it does not say which checkpoint it cosigned last")
    }
}

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
