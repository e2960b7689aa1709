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

pub(crate) fn clear_profiles(tx: &Tx<'_>, eid: Eid) -> Result<(), SqlError> {
    tx.execute(
        "DELETE FROM profile WHERE eid = $1",
        params![eid.to_string()],
    )?;
    Ok(())
}

pub(crate) fn remove_profile(tx: &Tx<'_>, eid: Eid, iccid: Iccid) -> Result<(), SqlError> {
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
    Ok(())
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
