use ::store::{ReadTx, Row, RowResult, SqlError, Tx, params, rusqlite::types::Type};
use rsp::ids::Iccid;
use zeroize::Zeroizing;

use super::{UnknownWord, conversion, parsed};
use crate::domain::ProfileState;

/// One profile of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileRow {
    pub(crate) iccid: Iccid,
    pub(crate) profile_type: String,
    pub(crate) operator: Option<String>,
    pub(crate) package_id: i64,
    pub(crate) metadata: Vec<u8>,
    pub(crate) state: ProfileState,
    pub(crate) order_id: Option<i64>,
}

/// Keeps a package, once however often it is imported, and gives its number.
pub(crate) fn keep_package(
    tx: &Tx<'_>,
    sha256: &[u8; 32],
    octets: &[u8],
    memory: u64,
) -> Result<i64, SqlError> {
    let known = tx.query_optional(
        "SELECT id FROM profile_package WHERE sha256 = $1",
        params![sha256],
        |row| row.get(0),
    )?;
    match known {
        Some(id) => Ok(id),
        None => tx.query_row(
            "INSERT INTO profile_package (sha256, octets, memory) VALUES ($1, $2, $3) RETURNING id",
            params![sha256, octets, i64::try_from(memory).unwrap_or(i64::MAX)],
            |row| row.get(0),
        ),
    }
}

/// The octets of an unprotected profile package.
pub(crate) fn package(tx: &ReadTx<'_>, id: i64) -> Result<Zeroizing<Vec<u8>>, SqlError> {
    tx.query_row(
        "SELECT octets FROM profile_package WHERE id = $1",
        params![id],
        |row| row.get(0).map(Zeroizing::new),
    )
}

/// Octets of memory that an eUICC needs for a package.
pub(crate) fn package_memory(tx: &ReadTx<'_>, id: i64) -> Result<u64, SqlError> {
    let memory: i64 = tx.query_row(
        "SELECT memory FROM profile_package WHERE id = $1",
        params![id],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(memory).unwrap_or(0))
}

/// Adds a profile. A known ICCID is a unique violation.
pub(crate) fn insert(tx: &Tx<'_>, profile: &ProfileRow) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO profile (iccid, profile_type, operator, package_id, metadata, state, order_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            profile.iccid.to_string(),
            profile.profile_type,
            profile.operator,
            profile.package_id,
            profile.metadata,
            profile.state.name(),
            profile.order_id
        ],
    )?;
    Ok(())
}

pub(crate) fn by_iccid(tx: &ReadTx<'_>, iccid: &Iccid) -> Result<Option<ProfileRow>, SqlError> {
    tx.query_optional(
        "SELECT iccid, profile_type, operator, package_id, metadata, state, order_id
         FROM profile WHERE iccid = $1",
        params![iccid.to_string()],
        read,
    )
}

/// The first profile of a type that an operator may take; `None` as operator takes any.
pub(crate) fn first_available(
    tx: &ReadTx<'_>,
    profile_type: &str,
    operator: Option<&str>,
) -> Result<Option<ProfileRow>, SqlError> {
    tx.query_optional(
        "SELECT iccid, profile_type, operator, package_id, metadata, state, order_id
         FROM profile
         WHERE profile_type = $1 AND state = 'Available'
           AND ($2 IS NULL OR operator IS NULL OR operator = $2)
         ORDER BY iccid LIMIT 1",
        params![profile_type, operator],
        read,
    )
}

pub(crate) fn type_exists(
    tx: &ReadTx<'_>,
    profile_type: &str,
    operator: Option<&str>,
) -> Result<bool, SqlError> {
    tx.exists(
        "SELECT 1 FROM profile
         WHERE profile_type = $1 AND ($2 IS NULL OR operator IS NULL OR operator = $2)",
        params![profile_type, operator],
    )
}

/// Profiles in the order of their ICCIDs, those after `after`.
pub(crate) fn list(
    tx: &ReadTx<'_>,
    after: Option<&Iccid>,
    count_max: u32,
) -> Result<Vec<ProfileRow>, SqlError> {
    tx.query_all(
        "SELECT iccid, profile_type, operator, package_id, metadata, state, order_id
         FROM profile WHERE iccid > $1 ORDER BY iccid LIMIT $2",
        params![
            after.map(ToString::to_string).unwrap_or_default(),
            count_max
        ],
        read,
    )
}

pub(crate) fn set_state(
    tx: &Tx<'_>,
    iccid: &Iccid,
    state: ProfileState,
    order_id: Option<i64>,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE profile SET state = $2, order_id = $3 WHERE iccid = $1",
        params![iccid.to_string(), state.name(), order_id],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> RowResult<ProfileRow> {
    let state: String = row.get(5)?;
    let state = ProfileState::from_name(&state)
        .ok_or_else(|| conversion(5, Type::Text, UnknownWord(state)))?;
    Ok(ProfileRow {
        iccid: parsed(row, 0)?,
        profile_type: row.get(1)?,
        operator: row.get(2)?,
        package_id: row.get(3)?,
        metadata: row.get(4)?,
        state,
        order_id: row.get(6)?,
    })
}
