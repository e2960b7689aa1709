//! Devices: one row per EID, and when each was last heard of.

use rsp::ids::Eid;
use rsp::sgp22::Certificate;
use serde::Serialize;
use store::{ReadTx, Row, RowResult, SqlError, Tx, params};

use super::{eid, parsed};

/// Where a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// Known, but no signed result was seen yet.
    Registered,
    /// Its eUICC has signed a result for this eIM.
    Associated,
    /// No longer managed. Its record is kept.
    Retired,
}

/// A device and what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// The eUICC's identity.
    #[serde(with = "crate::text", rename = "eid")]
    pub eid: Eid,
    /// The operator's name for it.
    pub label: String,
    /// Where it stands.
    pub state: DeviceState,
    /// Last counter allocated for a package.
    pub counter: i64,
    /// The token that eUICC and eIM share, if one was configured.
    #[serde(skip)]
    pub association_token: Option<i64>,
    /// Whether the token was given at registration (and is not to be learnt from the device).
    #[serde(skip)]
    pub token_is_registered: bool,
    /// When the eUICC was last asked to prove its presence; milliseconds since 1970.
    #[serde(skip)]
    pub proof_asked_at: Option<i64>,
    /// Highest sequence number accepted in a signed result; -1 before the first.
    pub last_seq_number: i64,
    /// CERT.EUICC, X.509 DER.
    #[serde(skip)]
    pub euicc_certificate: Option<Vec<u8>>,
    /// CERT.EUM, X.509 DER.
    #[serde(skip)]
    pub eum_certificate: Option<Vec<u8>>,
    /// EUICCInfo1 as received.
    #[serde(skip)]
    pub euicc_info1: Option<Vec<u8>>,
    /// EUICCInfo2 as received.
    #[serde(skip)]
    pub euicc_info2: Option<Vec<u8>>,
    /// IpaCapabilities as received.
    #[serde(skip)]
    pub ipa_capabilities: Option<Vec<u8>>,
    /// Default SM-DP+ address of the eUICC.
    pub default_smdp: Option<String>,
    /// Milliseconds since 1970.
    pub registered_at: i64,
}

impl Device {
    /// Whether the token is known to be the one that the eUICC keeps: given at registration, or
    /// proved by a signature.
    pub(crate) fn token_is_proven(&self) -> bool {
        self.token_is_registered || self.state != DeviceState::Registered
    }

    /// CERT.EUICC and CERT.EUM, when both are known.
    pub(crate) fn certificates(&self) -> Option<(Certificate, Certificate)> {
        let read = |der: &Option<Vec<u8>>| Certificate::from_der_bytes(der.clone()?).ok();
        read(&self.euicc_certificate).zip(read(&self.eum_certificate))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT eid, label, state, counter, association_token, token_origin, last_seq_number, \
             euicc_certificate, eum_certificate, euicc_info1, euicc_info2, ipa_capabilities, default_smdp, \
             registered_at, proof_asked_at FROM device ",
            $rest
        )
    };
}

fn device(row: &Row<'_>) -> RowResult<Device> {
    Ok(Device {
        eid: eid(row, 0)?,
        label: row.get(1)?,
        state: parsed(row, 2)?,
        counter: row.get(3)?,
        association_token: row.get(4)?,
        token_is_registered: row.get::<_, String>(5)? == ORIGIN_REGISTRATION,
        last_seq_number: row.get(6)?,
        euicc_certificate: row.get(7)?,
        eum_certificate: row.get(8)?,
        euicc_info1: row.get(9)?,
        euicc_info2: row.get(10)?,
        ipa_capabilities: row.get(11)?,
        default_smdp: row.get(12)?,
        registered_at: row.get(13)?,
        proof_asked_at: row.get(14)?,
    })
}

const ORIGIN_REGISTRATION: &str = "registration";
const ORIGIN_DEVICE: &str = "device";

pub(crate) fn find(tx: &ReadTx<'_>, eid: Eid) -> Result<Option<Device>, SqlError> {
    tx.query_optional(select!("WHERE eid = $1"), params![eid.to_string()], device)
}

/// Devices after `after`, in the order of their EIDs.
pub(crate) fn page(
    tx: &ReadTx<'_>,
    after: Option<Eid>,
    limit: u32,
) -> Result<Vec<Device>, SqlError> {
    tx.query_all(
        select!("WHERE eid > $1 ORDER BY eid LIMIT $2"),
        params![after.map(|eid| eid.to_string()).unwrap_or_default(), limit],
        device,
    )
}

pub(crate) fn count(tx: &ReadTx<'_>) -> Result<i64, SqlError> {
    tx.query_row("SELECT count(*) FROM device", params![], |row| row.get(0))
}

/// A device as it is entered.
pub(crate) struct NewRow {
    pub(crate) eid: Eid,
    pub(crate) label: String,
    pub(crate) counter: i64,
    pub(crate) association_token: Option<i64>,
    pub(crate) euicc_certificate: Option<Vec<u8>>,
    pub(crate) eum_certificate: Option<Vec<u8>>,
    pub(crate) at: i64,
}

/// Enters a device; fails with a unique violation when it is there already.
pub(crate) fn insert(tx: &Tx<'_>, new: &NewRow) -> Result<(), SqlError> {
    let origin = if new.association_token.is_some() {
        ORIGIN_REGISTRATION
    } else {
        ORIGIN_DEVICE
    };
    tx.execute(
        "INSERT INTO device (eid, label, state, counter, association_token, token_origin, last_seq_number, \
         euicc_certificate, eum_certificate, registered_at, updated_at) \
         VALUES ($1, $2, 'registered', $3, $4, $5, -1, $6, $7, $8, $8)",
        params![
            new.eid.to_string(),
            new.label,
            new.counter,
            new.association_token,
            origin,
            new.euicc_certificate,
            new.eum_certificate,
            new.at
        ],
    )?;
    Ok(())
}

/// Moves the counter from `from` to `to`; false when another package took it first.
pub(crate) fn advance_counter(
    tx: &Tx<'_>,
    eid: Eid,
    from: i64,
    to: i64,
    at: i64,
) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET counter = $3, updated_at = $4 WHERE eid = $1 AND counter = $2 AND state <> 'retired'",
        params![eid.to_string(), from, to, at],
    )?;
    Ok(rows == 1)
}

/// Records that a signed result was accepted, and with it that `token` is the right one; false when
/// `seq_number` is not above the last one.
pub(crate) fn accept_seq_number(
    tx: &Tx<'_>,
    eid: Eid,
    seq_number: i64,
    token: Option<i64>,
    at: i64,
) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET last_seq_number = $2, association_token = $3, updated_at = $4, \
         state = CASE state WHEN 'registered' THEN 'associated' ELSE state END \
         WHERE eid = $1 AND last_seq_number < $2",
        params![eid.to_string(), seq_number, token, at],
    )?;
    Ok(rows == 1)
}

/// A signed error proves the association as a signed result does, but has no sequence number.
pub(crate) fn mark_associated(
    tx: &Tx<'_>,
    eid: Eid,
    token: Option<i64>,
    at: i64,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE device SET state = 'associated', association_token = $2, updated_at = $3 \
         WHERE eid = $1 AND state = 'registered'",
        params![eid.to_string(), token, at],
    )?;
    Ok(())
}

pub(crate) fn set_state(
    tx: &Tx<'_>,
    eid: Eid,
    state: DeviceState,
    at: i64,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE device SET state = $2, updated_at = $3 WHERE eid = $1",
        params![eid.to_string(), state.to_string(), at],
    )?;
    Ok(())
}

/// Learns the token from the device; only while none was registered and none proved right yet, and
/// at most every [`TOKEN_LEARNING_INTERVAL_MS`]: each token tried costs a counter value, and
/// anybody who knows the EID can name one.
pub(crate) fn learn_token(tx: &Tx<'_>, eid: Eid, token: i64, at: i64) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET association_token = $2, token_learnt_at = $3, proof_asked_at = NULL, updated_at = $3 \
         WHERE eid = $1 AND state = 'registered' AND token_origin = 'device' \
         AND (token_learnt_at IS NULL OR token_learnt_at <= $4)",
        params![eid.to_string(), token, at, at - TOKEN_LEARNING_INTERVAL_MS],
    )?;
    Ok(rows == 1)
}

const TOKEN_LEARNING_INTERVAL_MS: i64 = 30_000;

/// Records that the eUICC was asked to prove its presence.
pub(crate) fn proof_asked(tx: &Tx<'_>, eid: Eid, at: i64) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE device SET proof_asked_at = $2 WHERE eid = $1",
        params![eid.to_string(), at],
    )?;
    Ok(())
}

pub(crate) fn set_certificates(
    tx: &Tx<'_>,
    eid: Eid,
    euicc: &[u8],
    eum: &[u8],
    at: i64,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE device SET euicc_certificate = $2, eum_certificate = $3, updated_at = $4 WHERE eid = $1",
        params![eid.to_string(), euicc, eum, at],
    )?;
    Ok(())
}

/// What an IPA said about itself and its eUICC. Absent members leave the old value.
#[derive(Default)]
pub(crate) struct Reported {
    pub(crate) euicc_info1: Option<Vec<u8>>,
    pub(crate) euicc_info2: Option<Vec<u8>>,
    pub(crate) ipa_capabilities: Option<Vec<u8>>,
    pub(crate) device_info: Option<Vec<u8>>,
    pub(crate) default_smdp: Option<String>,
}

pub(crate) fn set_reported(
    tx: &Tx<'_>,
    eid: Eid,
    reported: &Reported,
    at: i64,
) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE device SET euicc_info1 = coalesce($2, euicc_info1), euicc_info2 = coalesce($3, euicc_info2), \
         ipa_capabilities = coalesce($4, ipa_capabilities), device_info = coalesce($5, device_info), \
         default_smdp = coalesce($6, default_smdp), updated_at = $7 WHERE eid = $1",
        params![
            eid.to_string(),
            reported.euicc_info1,
            reported.euicc_info2,
            reported.ipa_capabilities,
            reported.device_info,
            reported.default_smdp,
            at
        ],
    )?;
    Ok(())
}

/// When a device was last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// Milliseconds since 1970.
    pub last_poll_at: i64,
    /// Polls since registration.
    pub polls: i64,
    /// Address it last polled from.
    pub peer: String,
}

pub(crate) fn contact(tx: &ReadTx<'_>, eid: Eid) -> Result<Option<Contact>, SqlError> {
    tx.query_optional(
        "SELECT last_poll_at, polls, peer FROM device_contact WHERE eid = $1",
        params![eid.to_string()],
        |row| {
            Ok(Contact {
                last_poll_at: row.get(0)?,
                polls: row.get(1)?,
                peer: row.get(2)?,
            })
        },
    )
}

/// Adds `polls` to what is recorded. Devices that are not registered are left out.
pub(crate) fn add_contact(tx: &Tx<'_>, eid: Eid, contact: &Contact) -> Result<(), SqlError> {
    let eid = eid.to_string();
    let row = params![eid, contact.last_poll_at, contact.polls, contact.peer];
    // Nearly every device that polls has polled before.
    let known = tx.execute(
        "UPDATE device_contact SET last_poll_at = $2, polls = polls + $3, peer = $4 WHERE eid = $1",
        row,
    )?;
    if known == 0 {
        tx.execute(
            "INSERT INTO device_contact (eid, last_poll_at, polls, peer) \
             SELECT eid, $2, $3, $4 FROM device WHERE eid = $1",
            row,
        )?;
    }
    Ok(())
}

super::operations::text_enum! {
    DeviceState, "device state" {
        Registered = "registered",
        Associated = "associated",
        Retired = "retired",
    }
}
