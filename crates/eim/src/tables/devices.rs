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

/// What the authority knows of a device's certificates and token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Association {
    /// There is nothing to tell yet.
    Unknown,
    /// It is to be told.
    Due,
    /// It signs for this eUICC.
    Accepted,
    /// It did not accept what it was told last.
    Refused,
}

/// A device and what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// The eUICC's identity.
    #[serde(serialize_with = "super::as_text")]
    pub eid: Eid,
    /// The operator's name for it.
    pub label: String,
    /// Where it stands.
    pub state: DeviceState,
    /// The fleet it was registered in.
    pub fleet: String,
    /// What the authority knows of it.
    pub association: Association,
    /// Why the authority did not accept what it was told.
    pub association_refusal: Option<String>,
    /// When the authority is to be told, or told again; milliseconds since 1970.
    #[serde(skip)]
    pub association_due_at: Option<i64>,
    /// Counter of the newest package. The authority allocates them.
    pub counter: i64,
    /// The token that eUICC and eIM share, if one was configured.
    #[serde(skip)]
    pub association_token: Option<i64>,
    /// Whether the token was given by an operator (and is not to be learnt from the device).
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
    /// Whether the token is known to be the one that the eUICC keeps: given by an operator, or
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
             registered_at, proof_asked_at, fleet, association, association_refusal, association_due_at FROM device ",
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
        fleet: row.get(15)?,
        association: parsed(row, 16)?,
        association_refusal: row.get(17)?,
        association_due_at: row.get(18)?,
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

/// Enters a device, or takes it back under management; false when it is managed already.
pub(crate) fn register(tx: &Tx<'_>, eid: Eid, fleet: &str, at: i64) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "INSERT INTO device (eid, label, state, fleet, counter, token_origin, last_seq_number, association, \
         registered_at, updated_at) VALUES ($1, '', 'registered', $2, 0, $3, -1, 'unknown', $4, $4) \
         ON CONFLICT (eid) DO UPDATE SET state = 'registered', fleet = $2, updated_at = $4, \
         association = CASE WHEN device.euicc_certificate IS NULL THEN 'unknown' ELSE 'due' END, \
         association_refusal = NULL, \
         association_due_at = CASE WHEN device.euicc_certificate IS NULL THEN NULL ELSE $4 END \
         WHERE device.state = 'retired'",
        params![eid.to_string(), fleet, ORIGIN_DEVICE, at],
    )?;
    Ok(rows == 1)
}

/// Ends the management of a device; false when it is not managed.
pub(crate) fn retire(tx: &Tx<'_>, eid: Eid, at: i64) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET state = 'retired', association_due_at = NULL, updated_at = $2 \
         WHERE eid = $1 AND state <> 'retired'",
        params![eid.to_string(), at],
    )?;
    Ok(rows == 1)
}

/// Forgets what the device said about certificates and token, so that it is asked again; false when it is not managed.
pub(crate) fn reassociate(tx: &Tx<'_>, eid: Eid, at: i64) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET state = 'registered', counter = 0, association_token = NULL, token_origin = $2, \
         token_learnt_at = NULL, proof_asked_at = NULL, last_seq_number = -1, euicc_certificate = NULL, \
         eum_certificate = NULL, association = 'unknown', association_refusal = NULL, association_due_at = NULL, \
         updated_at = $3 WHERE eid = $1 AND state <> 'retired'",
        params![eid.to_string(), ORIGIN_DEVICE, at],
    )?;
    Ok(rows == 1)
}

/// What an operator knows of a device. Absent members leave the old value.
#[derive(Clone)]
pub(crate) struct Enrichment {
    pub(crate) label: Option<String>,
    pub(crate) association_token: Option<i64>,
    pub(crate) certificates: Option<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn enrich(tx: &Tx<'_>, eid: Eid, new: &Enrichment, at: i64) -> Result<(), SqlError> {
    if let Some(label) = &new.label {
        tx.execute(
            "UPDATE device SET label = $2, updated_at = $3 WHERE eid = $1",
            params![eid.to_string(), label, at],
        )?;
    }
    if let Some(token) = new.association_token {
        tx.execute(
            "UPDATE device SET association_token = $2, token_origin = $3, updated_at = $4 WHERE eid = $1",
            params![eid.to_string(), token, ORIGIN_REGISTRATION, at],
        )?;
    }
    match &new.certificates {
        Some((euicc, eum)) => set_certificates(tx, eid, euicc, eum, at),
        None if new.association_token.is_some() => association_due(tx, eid, at),
        None => Ok(()),
    }
}

/// Records the counter of a package that leaves; false when the device is not managed.
pub(crate) fn set_counter(tx: &Tx<'_>, eid: Eid, counter: i64, at: i64) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET counter = $2, updated_at = $3 WHERE eid = $1 AND state <> 'retired'",
        params![eid.to_string(), counter, at],
    )?;
    Ok(rows == 1)
}

/// The authority is to be told of certificates and token, once certificates are known.
pub(crate) fn association_due(tx: &Tx<'_>, eid: Eid, at: i64) -> Result<(), SqlError> {
    tx.execute(
        "UPDATE device SET association = 'due', association_due_at = $2 \
         WHERE eid = $1 AND state <> 'retired' AND euicc_certificate IS NOT NULL",
        params![eid.to_string(), at],
    )?;
    Ok(())
}

/// Devices of which the authority is to be told.
pub(crate) fn associations_due(
    tx: &ReadTx<'_>,
    now: i64,
    limit: u32,
) -> Result<Vec<Device>, SqlError> {
    tx.query_all(
        select!(
            "WHERE association_due_at IS NOT NULL AND association_due_at <= $1 \
             ORDER BY association_due_at LIMIT $2"
        ),
        params![now, limit],
        device,
    )
}

/// What the authority said to what it was told of `told`, unless something else is to be told meanwhile; whether that is so.
pub(crate) fn associated(
    tx: &Tx<'_>,
    told: &Device,
    (association, refusal, due_at): (Association, Option<&str>, Option<i64>),
) -> Result<bool, SqlError> {
    let rows = tx.execute(
        "UPDATE device SET association = $2, association_refusal = $3, association_due_at = $4 \
         WHERE eid = $1 AND association IN ('due', 'refused') AND euicc_certificate = $5 AND eum_certificate = $6 \
         AND association_token IS NOT DISTINCT FROM $7",
        params![
            told.eid.to_string(),
            association.to_string(),
            refusal,
            due_at,
            told.euicc_certificate,
            told.eum_certificate,
            told.association_token
        ],
    )?;
    Ok(rows == 1)
}

/// Sets the token $2, of which the authority is to be told at $3 if another one was taken for the right one.
macro_rules! prove_token {
    () => {
        "association_token = $2, updated_at = $3, \
         association = CASE WHEN association_token IS NOT DISTINCT FROM $2 THEN association ELSE 'due' END, \
         association_due_at = CASE WHEN association_token IS NOT DISTINCT FROM $2 THEN association_due_at ELSE $3 END"
    };
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
        concat!(
            "UPDATE device SET last_seq_number = $4, state = CASE state WHEN 'registered' THEN 'associated' ELSE state END, ",
            prove_token!(),
            " WHERE eid = $1 AND last_seq_number < $4"
        ),
        params![eid.to_string(), token, at, seq_number],
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
        concat!(
            "UPDATE device SET state = 'associated', ",
            prove_token!(),
            " WHERE eid = $1 AND state = 'registered'"
        ),
        params![eid.to_string(), token, at],
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
    if rows == 1 {
        association_due(tx, eid, at)?;
    }
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
    association_due(tx, eid, at)
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

super::operations::text_enum! {
    Association, "association" {
        Unknown = "unknown",
        Due = "due",
        Accepted = "accepted",
        Refused = "refused",
    }
}
