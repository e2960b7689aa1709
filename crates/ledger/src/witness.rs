//! Witnesses (C2SP tlog-witness): what a log asks of them, what they answer, and a witness.
//!
//! A witness remembers the newest checkpoint of each log it knows and cosigns another only if that continues it. Who sees
//! the cosignatures of witnesses that others run knows that nobody was shown another history. All of this is octets in and
//! octets out: the calls of `POST <prefix>/add-checkpoint` are made and served by somebody else.

use std::collections::BTreeMap;
use std::io;

use signed_note::Signature;

use crate::checkpoint::{CHECKPOINT_MAX, Checkpoint, CheckpointError};
use crate::files::ReadFiles;
use crate::hash::Hash;
use crate::key::{CosigningKey, PublicKey, WitnessKey};
use crate::proof::{ProofError, check_consistency};
use crate::read::Reader;

/// Octets of a request at most.
pub const REQUEST_MAX: usize = CHECKPOINT_MAX + 64 * 64;

/// Octets of an answer at most.
pub const ANSWER_MAX: usize = 64 * 1024;

/// Hashes in a consistency proof at most ("add-checkpoint").
const PROOF_MAX: usize = 63;

/// The content type of the answer to a log that is wrong about what the witness has seen.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// What a witness answered to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It cosigned: the line to give to `Ledger::cosign`, already verified.
    Cosigned(String),
    /// It has last cosigned a checkpoint of this size: ask again with that.
    Conflict(u64),
}

/// Why an answer of a witness is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It refused.
    #[error("the witness refused with status {status}: {text}")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// Not what a witness answers.
    #[error("what the witness answered is not of the protocol")]
    Malformed,
    /// There is no cosignature of this witness in it.
    #[error("the answer holds no cosignature of {0}")]
    Absent(String),
    /// The cosignature is wrong.
    #[error("the cosignature is not good")]
    Cosignature(#[from] CheckpointError),
}

/// The body of an `add-checkpoint` request for the reader's checkpoint, given the size that the witness cosigned last, or 0.
pub fn add_checkpoint<F: ReadFiles>(
    reader: &Reader<'_, F>,
    old: u64,
) -> Result<String, ProofError> {
    let mut body = format!("old {old}\n");
    for hash in reader.consistency(old)? {
        body.push_str(&hash.to_string());
        body.push('\n');
    }
    body.push('\n');
    body.push_str(&crate::proof::text(reader.checkpoint().note())?);
    Ok(body)
}

/// Reads the answer to a request for `checkpoint`: the HTTP status code and the body.
pub fn read_answer(
    status: u16,
    body: &[u8],
    checkpoint: &Checkpoint,
    witness: &WitnessKey,
) -> Result<Answer, AnswerError> {
    if body.len() > ANSWER_MAX {
        return Err(AnswerError::Malformed);
    }
    let text = std::str::from_utf8(body).map_err(|_| AnswerError::Malformed);
    match status {
        200 => {
            for line in text?.lines() {
                let signature =
                    Signature::from_bytes(line.as_bytes()).map_err(|_| AnswerError::Malformed)?;
                if witness.made(&signature) {
                    checkpoint.with_cosignature(line, witness)?;
                    return Ok(Answer::Cosigned(format!("{line}\n")));
                }
            }
            Err(AnswerError::Absent(witness.to_string()))
        }
        409 => text?
            .strip_suffix('\n')
            .and_then(decimal)
            .map(Answer::Conflict)
            .ok_or(AnswerError::Malformed),
        _ => Err(AnswerError::Refused {
            status,
            // Shown to people.
            text: text
                .unwrap_or_default()
                .trim_end()
                .chars()
                .take(200)
                .flat_map(char::escape_default)
                .collect(),
        }),
    }
}

/// A witness: cosigns checkpoints that continue what it has seen.
pub struct Witness {
    key: CosigningKey,
    logs: BTreeMap<String, Log>,
}

struct Log {
    key: PublicKey,
    latest: Option<Checkpoint>,
}

/// Why a witness does not cosign.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not a request.
    #[error("the request is not of the protocol")]
    Malformed,
    /// A log that this witness does not know.
    #[error("this witness does not know the log")]
    Unknown,
    /// Not signed by the log's key.
    #[error("the checkpoint is not good")]
    Checkpoint(#[source] CheckpointError),
    /// The old size is greater than the new.
    #[error("the old size is greater than that of the checkpoint")]
    Backwards,
    /// The log is wrong about what was cosigned last.
    #[error("the checkpoint cosigned last has {0} entries")]
    Conflict(u64),
    /// The checkpoint does not continue the one cosigned last. It is evidence against the log and worth keeping.
    #[error("the checkpoint does not continue the one cosigned last")]
    Inconsistent,
    /// What was seen could not be kept, so nothing was cosigned.
    #[error("the checkpoint could not be kept")]
    Keep(#[source] io::Error),
}

impl Refusal {
    /// The HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed | Self::Backwards => 400,
            Self::Checkpoint(_) => 403,
            Self::Unknown => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
            Self::Keep(_) => 500,
        }
    }

    /// The content type of the answer.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict(_) => SIZE_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The body of the answer.
    pub fn body(&self) -> String {
        match self {
            Self::Conflict(size) => format!("{size}\n"),
            other => format!("{other}\n"),
        }
    }
}

impl Witness {
    /// A witness that knows no log yet.
    pub fn new(key: CosigningKey) -> Self {
        Self {
            key,
            logs: BTreeMap::new(),
        }
    }

    /// Makes a log known. `latest` is the checkpoint that `add_checkpoint` gave to `keep` last: a witness that forgets what
    /// it has cosigned is none.
    pub fn know(&mut self, log: PublicKey, latest: Option<Checkpoint>) {
        self.logs
            .insert(log.origin().to_owned(), Log { key: log, latest });
    }

    /// What verifies its cosignatures.
    pub fn key(&self) -> &WitnessKey {
        self.key.public()
    }

    /// The newest checkpoint of a log that this witness cosigned, with the cosignature: what it shows to monitors.
    pub fn latest(&self, origin: &str) -> Option<&Checkpoint> {
        self.logs.get(origin)?.latest.as_ref()
    }

    /// Answers an `add-checkpoint` request at `time`, in seconds since 1970. `keep` makes the checkpoint durable; only then
    /// the cosignature is given out. What it gives is the body of a 200 answer.
    pub fn add_checkpoint(
        &mut self,
        request: &[u8],
        time: u64,
        keep: &mut dyn FnMut(&Checkpoint) -> io::Result<()>,
    ) -> Result<String, Refusal> {
        let (old, proof, note) = parse(request).ok_or(Refusal::Malformed)?;
        let (origin, _) = note.split_once('\n').ok_or(Refusal::Malformed)?;
        let log = self.logs.get_mut(origin).ok_or(Refusal::Unknown)?;
        let checkpoint =
            Checkpoint::open(note.as_bytes(), &log.key).map_err(|error| match error {
                CheckpointError::EmptyRoot => Refusal::Inconsistent,
                other => Refusal::Checkpoint(other),
            })?;
        if old > checkpoint.size() {
            return Err(Refusal::Backwards);
        }
        let seen = log.latest.as_ref().map_or(0, Checkpoint::size);
        if old != seen {
            return Err(Refusal::Conflict(seen));
        }
        let continues = match &log.latest {
            Some(latest) if latest.size() == checkpoint.size() => {
                latest.root() == checkpoint.root() && proof.is_empty()
            }
            Some(latest) => check_consistency(latest, &checkpoint, &proof).is_ok(),
            None => proof.is_empty(),
        };
        if !continues {
            return Err(Refusal::Inconsistent);
        }
        let line = checkpoint
            .cosign(&self.key, time)
            .map_err(Refusal::Checkpoint)?;
        let cosigned = checkpoint
            .with_cosignature(&line, self.key.public())
            .map_err(Refusal::Checkpoint)?;
        keep(&cosigned).map_err(Refusal::Keep)?;
        log.latest = Some(cosigned);
        Ok(line)
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness")
            .field("key", &self.key)
            .field("logs", &self.logs.keys())
            .finish()
    }
}

/// Takes a request apart: old size, proof, checkpoint.
fn parse(request: &[u8]) -> Option<(u64, Vec<Hash>, &str)> {
    if request.len() > REQUEST_MAX {
        return None;
    }
    let text = std::str::from_utf8(request).ok()?;
    let (head, note) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    let old = decimal(lines.next()?.strip_prefix("old ")?)?;
    let mut proof = Vec::new();
    for line in lines {
        if proof.len() >= PROOF_MAX {
            return None;
        }
        proof.push(line.parse().ok()?);
    }
    Some((old, proof, note))
}

/// A decimal number without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}
