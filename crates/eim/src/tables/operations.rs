//! Operations: one row per eIM Package that somebody asked for.

use intent::IntentId;
use intent::command::Command;
use rsp::ids::{Eid, TransactionId};
use serde::Serialize;
use store::{ReadTx, Row, RowResult, SqlError, Tx, params};
use uuid::Uuid;

use super::{conversion, eid, parsed};

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Waits for the device to poll. Can be cancelled.
    Queued,
    /// Handed to the device and not answered yet; handed over again at each poll until it is.
    InFlight,
    /// Executed: every command succeeded.
    Done,
    /// Executed or refused, and something failed; the outcome says what.
    Failed,
    /// Withdrawn before a device took it.
    Cancelled,
    /// Ran out of time. If it was in flight, a late signed result still counts.
    Expired,
    /// Executed, and then undone by the device because the new profile had no connectivity.
    RolledBack,
}

/// An operation on one device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operation {
    /// UUIDv7.
    pub id: Uuid,
    /// The device.
    #[serde(serialize_with = "super::as_text")]
    pub eid: Eid,
    /// The intent that it carries out; none for what the eIM wants to read itself.
    pub intent: Option<IntentId>,
    /// Under which reference the eIM has its own reads signed.
    #[serde(skip)]
    pub reference: Option<String>,
    /// Who asked.
    pub actor: String,
    /// What for.
    pub commands: Vec<Command>,
    /// Where it stands.
    pub state: OperationState,
    /// Why the authority did not sign it when it was asked last.
    pub held: Option<Held>,
    /// Ties package and result together; upper-case hexadecimal.
    #[serde(serialize_with = "transaction_id_text")]
    pub eim_transaction_id: Option<TransactionId>,
    /// Counter of the package, for eUICC Packages in flight or later.
    pub counter: Option<i64>,
    /// The association token under its signature, and so under that of its result.
    #[serde(skip)]
    pub association_token: Option<i64>,
    /// The package as sent. Download triggers are not kept: they may hold an activation code.
    #[serde(skip)]
    pub request: Option<Vec<u8>>,
    /// The result as received.
    #[serde(skip)]
    pub result: Option<Vec<u8>>,
    /// When the authority took the result; milliseconds since 1970.
    pub recorded_at: Option<i64>,
    /// What came of it, for reading.
    pub outcome: Option<Outcome>,
    /// Unsigned refusals seen while in flight. They are counted, not believed.
    pub refusals: i64,
    /// Proofs of presence asked for before it could be handed over.
    pub proofs: i64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub expires_at: i64,
    /// First handed to the device; milliseconds since 1970.
    pub delivered_at: Option<i64>,
    /// Milliseconds since 1970.
    pub finished_at: Option<i64>,
}

/// Why an operation waits although the device polls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Code of the authority's refusal.
    pub code: String,
    /// In words.
    pub message: String,
    /// When the authority is asked again, at the next poll after it; milliseconds since 1970.
    pub retry_at: i64,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Outcome {
    /// One sentence.
    pub summary: String,
    /// One entry per command that the eUICC executed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<CommandResult>,
}

/// What came of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct CommandResult {
    /// Name of the result in the SGP.32 module.
    pub name: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// The code and its name, or what was returned.
    pub detail: String,
}

fn transaction_id_text<S: serde::Serializer>(
    id: &Option<TransactionId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, eid, actor, commands, state, eim_transaction_id, counter, request, result, outcome, \
             refusals, proofs, created_at, expires_at, delivered_at, finished_at, association_token, \
             intent, reference, held_code, held_message, held_until, recorded_at FROM operation ",
            $rest
        )
    };
}

fn operation(row: &Row<'_>) -> RowResult<Operation> {
    let json = |column: usize| -> RowResult<Option<String>> { row.get(column) };
    let held_code = json(19)?;
    let (held_message, held_until) = (json(20)?, row.get::<_, Option<i64>>(21)?);
    let commands: String = row.get(3)?;
    let outcome = json(9)?;
    Ok(Operation {
        id: parsed(row, 0)?,
        eid: eid(row, 1)?,
        actor: row.get(2)?,
        commands: serde_json::from_str(&commands).map_err(|error| conversion(3, error))?,
        state: parsed(row, 4)?,
        eim_transaction_id: json(5)?
            .map(|text| text.parse().map_err(|error| conversion(5, error)))
            .transpose()?,
        counter: row.get(6)?,
        request: row.get(7)?,
        result: row.get(8)?,
        outcome: outcome
            .map(|text| serde_json::from_str(&text).map_err(|error| conversion(9, error)))
            .transpose()?,
        refusals: row.get(10)?,
        proofs: row.get(11)?,
        created_at: row.get(12)?,
        expires_at: row.get(13)?,
        delivered_at: row.get(14)?,
        finished_at: row.get(15)?,
        association_token: row.get(16)?,
        intent: json(17)?
            .map(|text| text.parse().map_err(|error| conversion(17, error)))
            .transpose()?,
        reference: row.get(18)?,
        held: held_code
            .zip(held_message)
            .zip(held_until)
            .map(|((code, message), retry_at)| Held {
                code,
                message,
                retry_at,
            }),
        recorded_at: row.get(22)?,
    })
}

/// On whose account an operation is entered.
#[derive(Clone)]
pub(crate) enum Cause {
    Intent(IntentId),
    /// The eIM's own, under this reference.
    Own(String),
}

/// An operation as it is entered.
pub(crate) struct NewRow {
    pub(crate) id: Uuid,
    pub(crate) eid: Eid,
    pub(crate) cause: Cause,
    pub(crate) actor: String,
    pub(crate) commands: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
}

/// Enters an operation; false when the device is not managed, or the same intent has one for it already.
pub(crate) fn insert(tx: &Tx<'_>, new: &NewRow) -> Result<bool, SqlError> {
    let (intent, reference) = match &new.cause {
        Cause::Intent(id) => (Some(id.to_string()), None),
        Cause::Own(reference) => (None, Some(reference)),
    };
    let rows = tx.execute(
        "INSERT INTO operation (id, eid, intent, reference, actor, commands, state, refusals, proofs, created_at, \
         expires_at, fleet) SELECT $1, eid, $3, $4, $5, $6, 'queued', 0, 0, $7, $8, fleet FROM device \
         WHERE eid = $2 AND state <> 'retired' ON CONFLICT (intent, eid) DO NOTHING",
        params![
            new.id.to_string(),
            new.eid.to_string(),
            intent,
            reference,
            new.actor,
            new.commands,
            new.created_at,
            new.expires_at
        ],
    )?;
    Ok(rows == 1)
}

pub(crate) fn find(tx: &ReadTx<'_>, id: Uuid) -> Result<Option<Operation>, SqlError> {
    tx.query_optional(select!("WHERE id = $1"), params![id.to_string()], operation)
}

pub(crate) fn find_by_transaction(
    tx: &ReadTx<'_>,
    id: &TransactionId,
) -> Result<Option<Operation>, SqlError> {
    tx.query_optional(
        select!("WHERE eim_transaction_id = $1"),
        params![id.to_string()],
        operation,
    )
}

/// The operation in flight, else the oldest one queued that is not held at `now`, else the oldest one held: what is held does
/// not stand in the way of what is not.
pub(crate) fn next(tx: &ReadTx<'_>, eid: Eid, now: i64) -> Result<Option<Operation>, SqlError> {
    tx.query_optional(
        select!(
            "WHERE eid = $1 AND state IN ('queued', 'in-flight') ORDER BY CASE WHEN state = 'in-flight' THEN 0 \
             WHEN held_until IS NULL OR held_until <= $2 THEN 1 ELSE 2 END, id LIMIT 1"
        ),
        params![eid.to_string(), now],
        operation,
    )
}

pub(crate) fn in_flight(tx: &ReadTx<'_>, eid: Eid) -> Result<Option<Operation>, SqlError> {
    tx.query_optional(
        select!("WHERE eid = $1 AND state = 'in-flight'"),
        params![eid.to_string()],
        operation,
    )
}

/// Operations of a device, newest first, before `before`.
pub(crate) fn page(
    tx: &ReadTx<'_>,
    eid: Eid,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Operation>, SqlError> {
    // 'g' sorts behind every hexadecimal digit.
    let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
    tx.query_all(
        select!("WHERE eid = $1 AND id < $2 ORDER BY id DESC LIMIT $3"),
        params![eid.to_string(), before, limit],
        operation,
    )
}

/// Operations of an intent, in the order in which they were entered, after `after`.
pub(crate) fn page_of_intent(
    tx: &ReadTx<'_>,
    intent: IntentId,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Operation>, SqlError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    tx.query_all(
        select!("WHERE intent = $1 AND id > $2 ORDER BY id LIMIT $3"),
        params![intent.to_string(), after, limit],
        operation,
    )
}

/// Operations of an intent that no device has taken yet, with their devices.
pub(crate) fn queued_of_intent(
    tx: &ReadTx<'_>,
    intent: IntentId,
    limit: u32,
) -> Result<Vec<(Uuid, Eid)>, SqlError> {
    tx.query_all(
        "SELECT id, eid FROM operation WHERE intent = $1 AND finished_at IS NULL AND state = 'queued' LIMIT $2",
        params![intent.to_string(), limit],
        |row| Ok((parsed(row, 0)?, eid(row, 1)?)),
    )
}

/// Operations of a device that no device has taken yet.
pub(crate) fn queued_on(tx: &ReadTx<'_>, device: Eid) -> Result<Vec<Uuid>, SqlError> {
    tx.query_all(
        "SELECT id FROM operation WHERE eid = $1 AND state = 'queued' ORDER BY id",
        params![device.to_string()],
        |row| parsed(row, 0),
    )
}

/// Operations that are queued or in flight on a device.
pub(crate) fn open_count(tx: &ReadTx<'_>, eid: Eid) -> Result<i64, SqlError> {
    tx.query_row(
        "SELECT count(*) FROM operation WHERE eid = $1 AND state IN ('queued', 'in-flight')",
        params![eid.to_string()],
        |row| row.get(0),
    )
}

/// Whether an operation with just these commands is open.
pub(crate) fn is_open(tx: &ReadTx<'_>, eid: Eid, commands: &str) -> Result<bool, SqlError> {
    tx.exists(
        "SELECT 1 FROM operation WHERE eid = $1 AND state IN ('queued', 'in-flight') AND commands = $2",
        params![eid.to_string(), commands],
    )
}

/// What is recorded when a package leaves.
pub(crate) struct Departure<'a> {
    pub(crate) eim_transaction_id: &'a TransactionId,
    pub(crate) counter: Option<i64>,
    pub(crate) association_token: Option<i64>,
    pub(crate) request: Option<&'a [u8]>,
    pub(crate) at: i64,
}

/// Puts a queued operation in flight; false when it is no longer queued.
pub(crate) fn depart(tx: &Tx<'_>, id: Uuid, departure: &Departure<'_>) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE operation SET state = 'in-flight', eim_transaction_id = $2, counter = $3, request = $4, \
         delivered_at = $5, association_token = $6, held_code = NULL, held_message = NULL, held_until = NULL \
         WHERE id = $1 AND state = 'queued'",
        params![
            id.to_string(),
            departure.eim_transaction_id.to_string(),
            departure.counter,
            departure.request,
            departure.at,
            departure.association_token
        ],
    )?;
    Ok(rows == 1)
}

/// Lets a proof of presence go first. What was handed over already keeps its transaction id, so
/// that a late answer still finds it.
pub(crate) fn wait_for_proof(tx: &Tx<'_>, id: Uuid) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE operation SET state = 'queued', proofs = proofs + 1 WHERE id = $1 AND state IN ('queued', 'in-flight')",
        params![id.to_string()],
    )?;
    Ok(rows == 1)
}

/// The authority does not sign it for the time being; false when it is no longer queued.
pub(crate) fn hold(tx: &Tx<'_>, id: Uuid, held: &Held) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE operation SET held_code = $2, held_message = $3, held_until = $4 \
         WHERE id = $1 AND state IN ('queued', 'in-flight')",
        params![id.to_string(), held.code, held.message, held.retry_at],
    )?;
    Ok(rows == 1)
}

/// Ends an operation.
pub(crate) fn finish(
    tx: &Tx<'_>,
    id: Uuid,
    state: OperationState,
    outcome: &Outcome,
    result: Option<&[u8]>,
    at: i64,
) -> Result<(), SqlError> {
    let outcome = serde_json::to_string(outcome).unwrap_or_default();
    tx.execute(
        "UPDATE operation SET state = $2, outcome = $3, result = coalesce($4, result), finished_at = $5 \
         WHERE id = $1",
        params![id.to_string(), state.to_string(), outcome, result, at],
    )?;
    Ok(())
}

/// As [`finish`], if it still is in the state `expected`; whether it was.
pub(crate) fn finish_from(
    tx: &Tx<'_>,
    id: Uuid,
    expected: OperationState,
    state: OperationState,
    outcome: &Outcome,
    result: Option<&[u8]>,
    at: i64,
) -> Result<bool, SqlError> {
    let outcome = serde_json::to_string(outcome).unwrap_or_default();
    let rows = tx.execute(
        "UPDATE operation SET state = $3, outcome = $4, result = coalesce($5, result), finished_at = $6 \
         WHERE id = $1 AND state = $2",
        params![
            id.to_string(),
            expected.to_string(),
            state.to_string(),
            outcome,
            result,
            at
        ],
    )?;
    Ok(rows == 1)
}

pub(crate) fn count_refusal(tx: &Tx<'_>, id: Uuid) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE operation SET refusals = refusals + 1 WHERE id = $1",
        params![id.to_string()],
    )?;
    Ok(())
}

/// An enum that is stored and shown as a word.
macro_rules! text_enum {
    ($name:ident, $what:literal { $( $variant:ident = $word:literal, )* }) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $( Self::$variant => $word, )* })
            }
        }

        impl std::str::FromStr for $name {
            type Err = store::rusqlite::Error;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $( $word => Ok(Self::$variant), )*
                    _ => Err(store::rusqlite::Error::InvalidColumnName(format!(concat!("unknown ", $what, " {}"), word))),
                }
            }
        }
    };
}
pub(crate) use text_enum;

text_enum! {
    OperationState, "operation state" {
        Queued = "queued",
        InFlight = "in-flight",
        Done = "done",
        Failed = "failed",
        Cancelled = "cancelled",
        Expired = "expired",
        RolledBack = "rolled-back",
    }
}
