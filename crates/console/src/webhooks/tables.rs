//! SQL of webhooks: the console's only.

use intent::Principal;
use store::rusqlite::types::Type;
use store::{ReadTx, Row, RowResult, SqlError, Tx, conversion, params, parsed};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::signature::Secret;
use super::{Standing, State, Webhook};

const COLUMNS: &str = "id, owner, url, secret, kinds, created_at, cursor, state, attempts, next_attempt_at, \
     last_status, last_error, last_success_at, failing_since";

pub(super) fn insert(tx: &Tx<'_>, hook: &Webhook) -> Result<(), SqlError> {
    let kinds = hook
        .kinds
        .as_ref()
        .and_then(|kinds| serde_json::to_string(kinds).ok());
    tx.execute(
        &format!(
            "INSERT INTO webhook ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, NULL, NULL, NULL, NULL)"
        ),
        params![
            hook.id.to_string(),
            hook.owner.as_str(),
            hook.url,
            &**hook.secret.0,
            kinds,
            hook.created_at,
            hook.standing.cursor,
            hook.standing.state.as_str(),
        ],
    )?;
    Ok(())
}

pub(super) fn count(tx: &ReadTx<'_>, owner: &Principal) -> Result<i64, SqlError> {
    tx.query_row(
        "SELECT COUNT(*) FROM webhook WHERE owner = $1",
        params![owner.as_str()],
        |row| row.get(0),
    )
}

/// Those of a person, or all.
pub(super) fn list(tx: &ReadTx<'_>, owner: Option<&Principal>) -> Result<Vec<Webhook>, SqlError> {
    tx.query_all(
        &format!("SELECT {COLUMNS} FROM webhook WHERE $1 IS NULL OR owner = $1 ORDER BY id"),
        params![owner.map(Principal::as_str)],
        webhook,
    )
}

pub(super) fn remove(tx: &Tx<'_>, id: Uuid) -> Result<bool, SqlError> {
    let rows = tx.execute("DELETE FROM webhook WHERE id = $1", params![id.to_string()])?;
    Ok(rows > 0)
}

/// Writes how it stands. Whoever has set it back meanwhile (`from` is not where it is) is not overruled.
pub(super) fn stands(
    tx: &Tx<'_>,
    id: Uuid,
    from: i64,
    standing: &Standing,
) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE webhook SET cursor = $3, state = $4, attempts = $5, next_attempt_at = $6, last_status = $7, \
         last_error = $8, last_success_at = $9, failing_since = $10 WHERE id = $1 AND cursor = $2",
        params![
            id.to_string(),
            from,
            standing.cursor,
            standing.state.as_str(),
            standing.attempts,
            standing.next_attempt_at,
            standing.last_status,
            standing.last_error,
            standing.last_success_at,
            standing.failing_since,
        ],
    )?;
    Ok(rows > 0)
}

fn webhook(row: &Row<'_>) -> RowResult<Webhook> {
    let kinds: Option<String> = row.get(4)?;
    let kinds = kinds
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| conversion(4, Type::Text, error))?;
    let state: String = row.get(7)?;
    Ok(Webhook {
        id: parsed(row, 0)?,
        owner: parsed(row, 1)?,
        url: row.get(2)?,
        secret: Secret(Zeroizing::new(row.get(3)?)),
        kinds,
        created_at: row.get(5)?,
        standing: Standing {
            cursor: row.get(6)?,
            state: State::of(&state),
            attempts: row.get(8)?,
            next_attempt_at: row.get(9)?,
            last_status: row.get(10)?,
            last_error: row.get(11)?,
            last_success_at: row.get(12)?,
            failing_since: row.get(13)?,
        },
    })
}
