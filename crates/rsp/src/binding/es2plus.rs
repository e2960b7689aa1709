//! ES2+, from operator to SM-DP+ and back: JSON only (SGP.22 v2.5 sections 5.3 and 6.5).
//!
//! Identifiers are checked on reading: whoever holds a [`Request`] holds valid EIDs and ICCIDs.

use std::fmt;
use std::str::FromStr;

use super::json::{Member, Object, Writer};
use super::status::{failed, read_outcome, success};
use super::{Error, Failure, StatusCode};
use crate::der::Limits;
use crate::ids::{Eid, Iccid};

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// Reserve a Profile.
    DownloadOrder,
    /// Give a reserved Profile a MatchingID.
    ConfirmOrder,
    /// Undo an order.
    CancelOrder,
    /// Make a confirmed Profile ready for download.
    ReleaseProfile,
    /// SM-DP+ to operator: how a download goes.
    HandleDownloadProgressInfo,
}

/// A request with its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who calls.
    pub header: RequestHeader,
    /// What for.
    pub call: Call,
}

/// Who calls, and how the call is told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// OID of the caller in dotted form.
    pub function_requester_identifier: String,
    /// Chosen by the caller.
    pub function_call_identifier: String,
}

/// The function and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the functions are described in Function")]
pub enum Call {
    DownloadOrder(DownloadOrder),
    ConfirmOrder(ConfirmOrder),
    CancelOrder(CancelOrder),
    ReleaseProfile(ReleaseProfile),
    HandleDownloadProgressInfo(HandleDownloadProgressInfo),
}

/// Reserve a Profile: a certain one, or any of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadOrder {
    /// The eUICC it is for, if known.
    pub eid: Option<Eid>,
    /// Which one.
    pub profile: OrderedProfile,
}

/// Which Profile an order is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderedProfile {
    /// This one. A type beside it is kept.
    Iccid {
        /// The Profile.
        iccid: Iccid,
        /// Its type, if named.
        profile_type: Option<String>,
    },
    /// Any of this type.
    Type(String),
}

/// Give a reserved Profile a MatchingID.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmOrder {
    /// The Profile.
    pub iccid: Iccid,
    /// The eUICC, if known by now.
    pub eid: Option<Eid>,
    /// Empty: for use through the default SM-DP+ address. Absent: the SM-DP+ chooses one.
    pub matching_id: Option<MatchingId>,
    /// To be asked of the user. Not printed.
    pub confirmation_code: Option<String>,
    /// Where to register an event.
    pub smds_address: Option<String>,
    /// Release at once.
    pub release_flag: bool,
}

/// Undo an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelOrder {
    /// The Profile.
    pub iccid: Iccid,
    /// The eUICC of the order.
    pub eid: Option<Eid>,
    /// The MatchingID of the order.
    pub matching_id: Option<MatchingId>,
    /// What becomes of the Profile.
    pub final_profile_status_indicator: FinalProfileStatus,
}

/// What becomes of a Profile whose order is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinalProfileStatus {
    /// It can be ordered again.
    Available,
    /// It cannot.
    Unavailable,
}

/// Make a confirmed Profile ready for download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseProfile {
    /// The Profile.
    pub iccid: Iccid,
}

/// How a download goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleDownloadProgressInfo {
    /// The eUICC, once known.
    pub eid: Option<Eid>,
    /// The Profile.
    pub iccid: Iccid,
    /// Its type.
    pub profile_type: String,
    /// `YYYY-MM-DDThh:mm:ssTZD` (W3C profile of ISO 8601).
    pub timestamp: String,
    /// 1 eligibility and retry limit check, 2 confirmation failure, 3 download, 4 installation.
    pub notification_point_id: i64,
    /// The outcome at this point.
    pub notification_point_status: Result<(), Failure>,
    /// Encoded result of the eUICC.
    pub result_data: Option<Vec<u8>>,
}

/// A MatchingID: capitals, digits and `-`, at most 255; may be empty (SGP.22 v2.5 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MatchingId(String);

/// Not a MatchingID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a MatchingID has at most 255 capital letters, digits and hyphens")]
pub struct InvalidMatchingId;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Reserved.
    DownloadOrder(Result<DownloadOrderOk, Failure>),
    /// Confirmed.
    ConfirmOrder(Result<ConfirmOrderOk, Failure>),
    /// Undone.
    CancelOrder(Result<(), Failure>),
    /// Released.
    ReleaseProfile(Result<(), Failure>),
    /// No body: HTTP 204.
    HandleDownloadProgressInfo,
}

/// A Profile was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadOrderOk {
    /// Which one.
    pub iccid: Iccid,
}

/// An order was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmOrderOk {
    /// The eUICC, if known.
    pub eid: Option<Eid>,
    /// For the activation code.
    pub matching_id: MatchingId,
    /// For the activation code, if it differs from the address called.
    pub smdp_address: Option<String>,
}

impl Function {
    /// Every function.
    pub const ALL: [Self; 5] = [
        Self::DownloadOrder,
        Self::ConfirmOrder,
        Self::CancelOrder,
        Self::ReleaseProfile,
        Self::HandleDownloadProgressInfo,
    ];

    /// The last segment of the path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DownloadOrder => "downloadOrder",
            Self::ConfirmOrder => "confirmOrder",
            Self::CancelOrder => "cancelOrder",
            Self::ReleaseProfile => "releaseProfile",
            Self::HandleDownloadProgressInfo => "handleDownloadProgressInfo",
        }
    }
}

impl FromStr for Function {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|function| function.name() == name)
            .ok_or_else(|| Error::unknown_function(name))
    }
}

impl MatchingId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for use through the default SM-DP+ address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for MatchingId {
    type Err = InvalidMatchingId;

    fn from_str(text: &str) -> Result<Self, InvalidMatchingId> {
        let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
        if text.len() > 255 || !text.bytes().all(allowed) {
            return Err(InvalidMatchingId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MatchingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ConfirmOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmOrder")
            .field("iccid", &self.iccid)
            .field("eid", &self.eid)
            .field("matching_id", &self.matching_id)
            .field(
                "confirmation_code",
                &self.confirmation_code.as_ref().map(|_| "(not shown)"),
            )
            .field("smds_address", &self.smds_address)
            .field("release_flag", &self.release_flag)
            .finish()
    }
}

impl Call {
    /// The function called.
    pub fn function(&self) -> Function {
        match self {
            Self::DownloadOrder(_) => Function::DownloadOrder,
            Self::ConfirmOrder(_) => Function::ConfirmOrder,
            Self::CancelOrder(_) => Function::CancelOrder,
            Self::ReleaseProfile(_) => Function::ReleaseProfile,
            Self::HandleDownloadProgressInfo(_) => Function::HandleDownloadProgressInfo,
        }
    }
}

impl Request {
    /// Reads a body posted to the path that ends in `function`. The header is mandatory.
    pub fn from_json(function: &str, body: &[u8]) -> Result<Self, Error> {
        let function = function.parse()?;
        let limits = Limits::default();
        let body = Object::parse(body, &limits)?;
        let header = body.required("header", Member::object)?;
        let header = RequestHeader {
            function_requester_identifier: header
                .required("header.functionRequesterIdentifier", Member::text)?,
            function_call_identifier: header
                .required("header.functionCallIdentifier", Member::text)?,
        };
        let call = match function {
            Function::DownloadOrder => Call::DownloadOrder(download_order(&body)?),
            Function::ConfirmOrder => Call::ConfirmOrder(ConfirmOrder {
                iccid: body.required("iccid", Member::parsed)?,
                eid: body.optional("eid", Member::parsed)?,
                matching_id: body.optional("matchingId", Member::parsed)?,
                confirmation_code: body.optional("confirmationCode", Member::text)?,
                smds_address: body.optional("smdsAddress", Member::text)?,
                release_flag: body.required("releaseFlag", Member::boolean)?,
            }),
            Function::CancelOrder => Call::CancelOrder(CancelOrder {
                iccid: body.required("iccid", Member::parsed)?,
                eid: body.optional("eid", Member::parsed)?,
                matching_id: body.optional("matchingId", Member::parsed)?,
                final_profile_status_indicator: final_profile_status(&body)?,
            }),
            Function::ReleaseProfile => Call::ReleaseProfile(ReleaseProfile {
                iccid: body.required("iccid", Member::parsed)?,
            }),
            Function::HandleDownloadProgressInfo => {
                Call::HandleDownloadProgressInfo(download_progress_info(&body)?)
            }
        };
        Ok(Self { header, call })
    }

    /// The last path segment and the body.
    pub fn to_json(&self) -> (&'static str, Vec<u8>) {
        let header = Writer::new()
            .text(
                "functionRequesterIdentifier",
                &self.header.function_requester_identifier,
            )
            .text(
                "functionCallIdentifier",
                &self.header.function_call_identifier,
            );
        let body = Writer::new().value("header", header.into_value());
        let body = match &self.call {
            Call::DownloadOrder(order) => {
                let body = body.text_optional("eid", order.eid);
                match &order.profile {
                    OrderedProfile::Iccid {
                        iccid,
                        profile_type,
                    } => body
                        .text("iccid", iccid)
                        .text_optional("profileType", profile_type.as_ref()),
                    OrderedProfile::Type(profile_type) => body.text("profileType", profile_type),
                }
            }
            Call::ConfirmOrder(order) => body
                .text("iccid", order.iccid)
                .text_optional("eid", order.eid)
                .text_optional("matchingId", order.matching_id.as_ref())
                .text_optional("confirmationCode", order.confirmation_code.as_ref())
                .text_optional("smdsAddress", order.smds_address.as_ref())
                .value("releaseFlag", order.release_flag),
            Call::CancelOrder(order) => body
                .text("iccid", order.iccid)
                .text_optional("eid", order.eid)
                .text_optional("matchingId", order.matching_id.as_ref())
                .text(
                    "finalProfileStatusIndicator",
                    match order.final_profile_status_indicator {
                        FinalProfileStatus::Available => "Available",
                        FinalProfileStatus::Unavailable => "Unavailable",
                    },
                ),
            Call::ReleaseProfile(release) => body.text("iccid", release.iccid),
            Call::HandleDownloadProgressInfo(info) => {
                let body = body
                    .text_optional("eid", info.eid)
                    .text("iccid", info.iccid)
                    .text("profileType", &info.profile_type)
                    .text("timestamp", &info.timestamp)
                    .value("notificationPointId", info.notification_point_id)
                    .value(
                        "notificationPointStatus",
                        execution_status(&info.notification_point_status),
                    );
                match &info.result_data {
                    Some(data) => body.octets("resultData", data),
                    None => body,
                }
            }
        };
        (self.call.function().name(), body.into_body())
    }
}

impl Response {
    /// The function answered.
    pub fn function(&self) -> Function {
        match self {
            Self::DownloadOrder(_) => Function::DownloadOrder,
            Self::ConfirmOrder(_) => Function::ConfirmOrder,
            Self::CancelOrder(_) => Function::CancelOrder,
            Self::ReleaseProfile(_) => Function::ReleaseProfile,
            Self::HandleDownloadProgressInfo => Function::HandleDownloadProgressInfo,
        }
    }

    /// A failure of a function; `None` for the one that can only fail by the HTTP status.
    pub fn failure(function: Function, failure: Failure) -> Option<Self> {
        Some(match function {
            Function::DownloadOrder => Self::DownloadOrder(Err(failure)),
            Function::ConfirmOrder => Self::ConfirmOrder(Err(failure)),
            Function::CancelOrder => Self::CancelOrder(Err(failure)),
            Function::ReleaseProfile => Self::ReleaseProfile(Err(failure)),
            Function::HandleDownloadProgressInfo => return None,
        })
    }

    /// Reads the body of an answer.
    pub fn from_json(function: Function, body: &[u8]) -> Result<Self, Error> {
        if function == Function::HandleDownloadProgressInfo {
            return Ok(Self::HandleDownloadProgressInfo);
        }
        let limits = Limits::default();
        let body = Object::parse(body, &limits)?;
        let outcome = read_outcome(&body)?.ok_or(Error::Missing { member: "header" })?;
        Ok(match (function, outcome) {
            (Function::DownloadOrder, Ok(())) => Self::DownloadOrder(Ok(DownloadOrderOk {
                iccid: body.required("iccid", Member::parsed)?,
            })),
            (Function::DownloadOrder, Err(failure)) => Self::DownloadOrder(Err(failure)),
            (Function::ConfirmOrder, Ok(())) => Self::ConfirmOrder(Ok(ConfirmOrderOk {
                eid: body.optional("eid", Member::parsed)?,
                matching_id: body.required("matchingId", Member::parsed)?,
                smdp_address: body.optional("smdpAddress", Member::text)?,
            })),
            (Function::ConfirmOrder, Err(failure)) => Self::ConfirmOrder(Err(failure)),
            (Function::CancelOrder, outcome) => Self::CancelOrder(outcome),
            (Function::ReleaseProfile, outcome) => Self::ReleaseProfile(outcome),
            (Function::HandleDownloadProgressInfo, _) => Self::HandleDownloadProgressInfo,
        })
    }

    /// The body; `None` means HTTP 204.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let body = match self {
            Self::DownloadOrder(Ok(ok)) => success().text("iccid", ok.iccid),
            Self::ConfirmOrder(Ok(ok)) => success()
                .text_optional("eid", ok.eid)
                .text("matchingId", &ok.matching_id)
                .text_optional("smdpAddress", ok.smdp_address.as_ref()),
            Self::CancelOrder(Ok(())) | Self::ReleaseProfile(Ok(())) => success(),
            Self::HandleDownloadProgressInfo => return None,
            Self::DownloadOrder(Err(failure))
            | Self::ConfirmOrder(Err(failure))
            | Self::CancelOrder(Err(failure))
            | Self::ReleaseProfile(Err(failure)) => failed(failure),
        };
        Some(body.into_body())
    }
}

fn download_order(body: &Object<'_>) -> Result<DownloadOrder, Error> {
    let profile_type = body.optional("profileType", Member::text)?;
    Ok(DownloadOrder {
        eid: body.optional("eid", Member::parsed)?,
        profile: match (body.optional("iccid", Member::parsed)?, profile_type) {
            (Some(iccid), profile_type) => OrderedProfile::Iccid {
                iccid,
                profile_type,
            },
            (None, Some(profile_type)) => OrderedProfile::Type(profile_type),
            (None, None) => return Err(Error::Missing { member: "iccid" }),
        },
    })
}

fn final_profile_status(body: &Object<'_>) -> Result<FinalProfileStatus, Error> {
    const NAME: &str = "finalProfileStatusIndicator";
    match body.required(NAME, Member::text)?.as_str() {
        "Available" => Ok(FinalProfileStatus::Available),
        "Unavailable" => Ok(FinalProfileStatus::Unavailable),
        _ => Err(Error::Malformed {
            member: NAME,
            problem: "is neither Available nor Unavailable",
        }),
    }
}

fn download_progress_info(body: &Object<'_>) -> Result<HandleDownloadProgressInfo, Error> {
    let timestamp = body.required("timestamp", Member::text)?;
    if !is_timestamp(&timestamp) {
        return Err(Error::Malformed {
            member: "timestamp",
            problem: "is not YYYY-MM-DDThh:mm:ssTZD",
        });
    }
    Ok(HandleDownloadProgressInfo {
        eid: body.optional("eid", Member::parsed)?,
        iccid: body.required("iccid", Member::parsed)?,
        profile_type: body.required("profileType", Member::text)?,
        timestamp,
        notification_point_id: body.required("notificationPointId", Member::number)?,
        notification_point_status: body
            .required("notificationPointStatus", super::status::read_status)?,
        result_data: body.optional("resultData", Member::octets)?,
    })
}

fn execution_status(status: &Result<(), Failure>) -> serde_json::Value {
    super::status::write_status(status.as_ref().err())
}

/// The shape only: digits and separators where they belong; `Z` or an offset behind.
fn is_timestamp(text: &str) -> bool {
    let follows = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(found, wanted)| match wanted {
                    b'0' => found.is_ascii_digit(),
                    b'+' => found == b'+' || found == b'-',
                    _ => found == wanted,
                })
    };
    let Some((moment, zone)) = text.split_at_checked("0000-00-00T00:00:00".len()) else {
        return false;
    };
    follows(moment, "0000-00-00T00:00:00") && (zone == "Z" || follows(zone, "+00:00"))
}

impl StatusCode {
    /// What to answer to a request of ES2+ whose member is absent or malformed.
    pub fn of_es2plus(error: &Error) -> Self {
        match error.member() {
            Some("eid") => Self::EID_INVALID,
            Some(_) if error.is_missing() => Self::MANDATORY_ELEMENT_MISSING,
            _ => Self::EXECUTION_ERROR,
        }
    }
}
