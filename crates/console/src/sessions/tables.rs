//! SQL of sessions: the console's only.

use intent::{Digest, Principal};
use store::{ReadTx, Row, RowResult, SqlError, Tx, params, parsed};

use super::{Begun, Session};

const COLUMNS: &str = "id, principal, credential, address, agent, created_at, seen_at, expires_at";

pub(super) fn insert(
    tx: &mut Tx<'_>,
    hash: &Digest,
    begun: &Begun,
    now: i64,
    until: i64,
) -> Result<i64, SqlError> {
    tx.query_row(
        "INSERT INTO session (secret_sha256, principal, credential, address, agent, created_at, seen_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7) RETURNING id",
        params![
            hash.as_bytes(),
            begun.principal.as_str(),
            begun.credential.as_str(),
            begun.address,
            begun.agent,
            now,
            until
        ],
        |row| row.get(0),
    )
}

pub(super) fn find(tx: &ReadTx<'_>, hash: &Digest) -> Result<Option<Session>, SqlError> {
    tx.query_optional(
        &format!("SELECT {COLUMNS} FROM session WHERE secret_sha256 = $1"),
        params![hash.as_bytes()],
        session,
    )
}

pub(super) fn of(
    tx: &ReadTx<'_>,
    principal: &Principal,
    now: i64,
) -> Result<Vec<Session>, SqlError> {
    tx.query_all(
        &format!(
            "SELECT {COLUMNS} FROM session WHERE principal = $1 AND expires_at > $2 ORDER BY id DESC"
        ),
        params![principal.as_str(), now],
        session,
    )
}

pub(super) fn seen(tx: &mut Tx<'_>, id: i64, now: i64) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE session SET seen_at = $2 WHERE id = $1",
        params![id, now],
    )?;
    Ok(())
}

pub(super) fn remove(tx: &mut Tx<'_>, id: i64, owner: &Principal) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "DELETE FROM session WHERE id = $1 AND principal = $2",
        params![id, owner.as_str()],
    )?;
    Ok(rows > 0)
}

pub(super) fn remove_secret(tx: &mut Tx<'_>, hash: &Digest) -> Result<(), SqlError> {
    tx.execute(
        "DELETE FROM session WHERE secret_sha256 = $1",
        params![hash.as_bytes()],
    )?;
    Ok(())
}

pub(super) fn remove_others(
    tx: &mut Tx<'_>,
    owner: &Principal,
    but: i64,
) -> Result<usize, SqlError> {
    tx.execute(
        "DELETE FROM session WHERE principal = $1 AND id <> $2",
        params![owner.as_str(), but],
    )
}

/// Keeps the newest of a person.
pub(super) fn remove_all_but(
    tx: &mut Tx<'_>,
    owner: &Principal,
    keep: usize,
) -> Result<(), SqlError> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    tx.execute(
        "DELETE FROM session WHERE principal = $1 AND id NOT IN \
         (SELECT id FROM session WHERE principal = $1 ORDER BY id DESC LIMIT $2)",
        params![owner.as_str(), keep],
    )?;
    Ok(())
}

pub(super) fn remove_ended(tx: &mut Tx<'_>, now: i64) -> Result<(), SqlError> {
    tx.execute("DELETE FROM session WHERE expires_at <= $1", params![now])?;
    Ok(())
}

fn session(row: &Row<'_>) -> RowResult<Session> {
    Ok(Session {
        id: row.get(0)?,
        principal: parsed(row, 1)?,
        credential: parsed(row, 2)?,
        address: row.get(3)?,
        agent: row.get(4)?,
        created_at: row.get(5)?,
        seen_at: row.get(6)?,
        expires_at: row.get(7)?,
    })
}
