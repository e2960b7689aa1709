//! What eUICCs hold, from what they signed: Profiles and Associated eIMs.

use rsp::ids::{Eid, Iccid};
use serde::Serialize;
use store::{ReadTx, SqlError, Tx, params};

use super::parsed;

/// A Profile on an eUICC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are those of ProfileInfo")]
pub struct Profile {
    #[serde(serialize_with = "super::as_text")]
    pub iccid: Iccid,
    pub enabled: bool,
    pub class: String,
    pub name: String,
    pub provider: String,
    pub nickname: Option<String>,
    pub isdp_aid: Option<String>,
    pub fallback_attribute: bool,
    pub fallback_allowed: bool,
    pub ecall: bool,
    pub policy_rules: String,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

const ENABLED: &str = "enabled";
const DISABLED: &str = "disabled";

pub(crate) fn profiles(tx: &ReadTx<'_>, eid: Eid) -> Result<Vec<Profile>, SqlError> {
    tx.query_all(
        "SELECT iccid, state, class, name, provider, nickname, isdp_aid, fallback_attribute, fallback_allowed, \
         ecall, policy_rules, updated_at FROM profile WHERE eid = $1 ORDER BY iccid",
        params![eid.to_string()],
        |row| {
            Ok(Profile {
                iccid: parsed(row, 0)?,
                enabled: row.get::<_, String>(1)? == ENABLED,
                class: row.get(2)?,
                name: row.get(3)?,
                provider: row.get(4)?,
                nickname: row.get(5)?,
                isdp_aid: row.get(6)?,
                fallback_attribute: row.get(7)?,
                fallback_allowed: row.get(8)?,
                ecall: row.get(9)?,
                policy_rules: row.get(10)?,
                updated_at: row.get(11)?,
            })
        },
    )
}

/// Sets what the eUICC holds. Rows that say the same already stay as they are: most lists tell nothing new.
pub(crate) fn replace_profiles(
    tx: &Tx<'_>,
    eid: Eid,
    listed: &[Profile],
    at: i64,
) -> Result<(), SqlError> {
    let known = profiles(tx, eid)?;
    for profile in &known {
        if !listed.iter().any(|listed| listed.iccid == profile.iccid) {
            delete(tx, eid, profile.iccid)?;
        }
    }
    for profile in listed {
        let is_known = known.iter().any(|known| {
            let unchanged = Profile {
                updated_at: profile.updated_at,
                ..known.clone()
            };
            unchanged == *profile
        });
        if !is_known {
            put_profile(tx, eid, profile)?;
        }
    }
    let enabled = listed.iter().find(|profile| profile.enabled);
    note_enabled(tx, eid, enabled.map(|profile| profile.iccid), at)
}

pub(crate) fn put_profile(tx: &Tx<'_>, eid: Eid, profile: &Profile) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO profile (eid, iccid, state, class, name, provider, nickname, isdp_aid, fallback_attribute, \
         fallback_allowed, ecall, policy_rules, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (eid, iccid) DO UPDATE SET state = $3, class = $4, name = $5, provider = $6, nickname = $7, \
         isdp_aid = $8, fallback_attribute = $9, fallback_allowed = $10, ecall = $11, policy_rules = $12, \
         updated_at = $13",
        params![
            eid.to_string(),
            profile.iccid.to_string(),
            if profile.enabled { ENABLED } else { DISABLED },
            profile.class,
            profile.name,
            profile.provider,
            profile.nickname,
            profile.isdp_aid,
            profile.fallback_attribute,
            profile.fallback_allowed,
            profile.ecall,
            profile.policy_rules,
            profile.updated_at
        ],
    )?;
    Ok(())
}

pub(crate) fn remove_profile(tx: &Tx<'_>, eid: Eid, iccid: Iccid) -> Result<(), SqlError> {
    delete(tx, eid, iccid)
}

fn delete(tx: &Tx<'_>, eid: Eid, iccid: Iccid) -> Result<(), SqlError> {
    tx.execute(
        "DELETE FROM profile WHERE eid = $1 AND iccid = $2",
        params![eid.to_string(), iccid.to_string()],
    )?;
    Ok(())
}

/// Marks `iccid` as the enabled Profile, and every other one as disabled; `None` disables all.
pub(crate) fn set_enabled(
    tx: &Tx<'_>,
    eid: Eid,
    iccid: Option<Iccid>,
    at: i64,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE profile SET state = CASE iccid WHEN $2 THEN 'enabled' ELSE 'disabled' END, updated_at = $3 \
         WHERE eid = $1",
        params![eid.to_string(), iccid.map(|iccid| iccid.to_string()).unwrap_or_default(), at],
    )?;
    note_enabled(tx, eid, iccid, at)
}

/// Another profile than before is the enabled one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileChange {
    /// When the signed result came in that says so; milliseconds since 1970. The eUICC did it before that, and after the
    /// result before it.
    pub at: i64,
    /// The profile that was enabled; none: none was, or it is what was found first.
    #[serde(serialize_with = "super::text_or_null")]
    pub from: Option<Iccid>,
    /// The profile that is enabled since; none: none is.
    #[serde(serialize_with = "super::text_or_null")]
    pub to: Option<Iccid>,
    /// What was found when the eUICC was first heard of, which is no change.
    pub is_first: bool,
    /// The operation whose result says so; none when it was a Notification.
    pub operation: Option<uuid::Uuid>,
}

/// Writes down that this Profile is the enabled one, if it was not before.
fn note_enabled(tx: &Tx<'_>, eid: Eid, enabled: Option<Iccid>, at: i64) -> Result<(), SqlError> {
    let eid = eid.to_string();
    let enabled = enabled.map(|iccid| iccid.to_string());
    let before: Option<Option<String>> = tx.query_optional(
        "SELECT to_iccid FROM profile_change WHERE eid = $1 ORDER BY id DESC LIMIT 1",
        params![eid],
        |row| row.get(0),
    )?;
    if before.as_ref() == Some(&enabled) {
        return Ok(());
    }
    // The operation ended in this transaction, so it is among the newest of its device.
    tx.execute(
        "INSERT INTO profile_change (eid, at, is_first, from_iccid, to_iccid, operation) \
         VALUES ($1, $2, $3, $4, $5, (SELECT id FROM (SELECT id, finished_at FROM operation WHERE eid = $1 \
         ORDER BY id DESC LIMIT 256) ended WHERE finished_at = $2 ORDER BY id DESC LIMIT 1))",
        params![eid, at, before.is_none(), before.flatten(), enabled],
    )?;
    Ok(())
}

/// What changed since `since`, newest first; with what was found first, if it is not older.
pub(crate) fn changes(
    tx: &ReadTx<'_>,
    eid: Eid,
    since: i64,
    limit: usize,
) -> Result<Vec<ProfileChange>, SqlError> {
    tx.query_all(
        "SELECT at, is_first, from_iccid, to_iccid, operation FROM profile_change WHERE eid = $1 AND at >= $2 \
         ORDER BY id DESC LIMIT $3",
        params![eid.to_string(), since, i64::try_from(limit).unwrap_or(i64::MAX)],
        change,
    )
}

/// The newest entry, and the first.
pub(crate) fn newest_and_first_change(
    tx: &ReadTx<'_>,
    eid: Eid,
) -> Result<Option<(ProfileChange, ProfileChange)>, SqlError> {
    macro_rules! one {
        ($order:literal) => {
            concat!(
                "SELECT at, is_first, from_iccid, to_iccid, operation FROM profile_change WHERE eid = $1 ORDER BY id",
                $order,
                " LIMIT 1"
            )
        };
    }
    let newest = tx.query_optional(one!(" DESC"), params![eid.to_string()], change)?;
    let first = tx.query_optional(one!(""), params![eid.to_string()], change)?;
    Ok(newest.zip(first))
}

fn change(row: &store::Row<'_>) -> store::RowResult<ProfileChange> {
    let iccid = |column: usize| -> store::RowResult<Option<Iccid>> {
        match row.get::<_, Option<String>>(column)? {
            Some(_) => parsed(row, column).map(Some),
            None => Ok(None),
        }
    };
    let operation: Option<String> = row.get(4)?;
    Ok(ProfileChange {
        at: row.get(0)?,
        is_first: row.get(1)?,
        from: iccid(2)?,
        to: iccid(3)?,
        operation: operation.and_then(|id| id.parse().ok()),
    })
}

/// Devices on which a Profile was seen, those where it is enabled first.
pub(crate) fn devices_with(
    tx: &ReadTx<'_>,
    iccid: Iccid,
    limit: usize,
) -> Result<Vec<Eid>, SqlError> {
    tx.query_all(
        "SELECT eid FROM profile WHERE iccid = $1 ORDER BY CASE state WHEN 'enabled' THEN 0 ELSE 1 END, eid LIMIT $2",
        params![iccid.to_string(), i64::try_from(limit).unwrap_or(i64::MAX)],
        |row| super::eid(row, 0),
    )
}

pub(crate) fn set_fallback(
    tx: &Tx<'_>,
    eid: Eid,
    iccid: Option<Iccid>,
    at: i64,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE profile SET fallback_attribute = (iccid = $2), updated_at = $3 WHERE eid = $1",
        params![
            eid.to_string(),
            iccid.map(|iccid| iccid.to_string()).unwrap_or_default(),
            at
        ],
    )?;
    Ok(())
}

/// An eIM that an eUICC has associated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssociatedEim {
    /// Its name.
    pub eim_id: String,
    /// EimIdType on the wire: 1 OID, 2 FQDN, 3 proprietary.
    pub id_type: Option<i64>,
    /// Milliseconds since 1970.
    pub seen_at: i64,
}

pub(crate) fn eims(tx: &ReadTx<'_>, eid: Eid) -> Result<Vec<AssociatedEim>, SqlError> {
    tx.query_all(
        "SELECT eim_id, id_type, seen_at FROM associated_eim WHERE eid = $1 ORDER BY eim_id",
        params![eid.to_string()],
        |row| {
            Ok(AssociatedEim {
                eim_id: row.get(0)?,
                id_type: row.get(1)?,
                seen_at: row.get(2)?,
            })
        },
    )
}

pub(crate) fn replace_eims(tx: &Tx<'_>, eid: Eid, eims: &[AssociatedEim]) -> Result<(), SqlError> {
    tx.execute(
        "DELETE FROM associated_eim WHERE eid = $1",
        params![eid.to_string()],
    )?;
    for eim in eims {
        tx.execute(
            "INSERT INTO associated_eim (eid, eim_id, id_type, seen_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (eid, eim_id) DO NOTHING",
            params![eid.to_string(), eim.eim_id, eim.id_type, eim.seen_at],
        )?;
    }
    Ok(())
}
