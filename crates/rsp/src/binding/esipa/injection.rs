//! TransferEimPackage (SGP.32 v1.2 section 5.14): an eIM pushes, an IPA answers.

use super::{decode, not_expressible};
use crate::binding::Error;
use crate::binding::json::{Member, Object, Writer};
use crate::binding::status::{read_outcome, success};
use crate::der::{self, Element, ErrorKind, Extensions, Limits, Null, Reader, Tag};
use crate::sgp22::PendingNotification;
use crate::sgp32::{
    EimPackageResultErrorCode, EprAndNotifications, TransferEimPackageRequest,
    TransferEimPackageResponse,
};

/// Name of TransferEimPackage in the path of the JSON binding.
pub const TRANSFER_EIM_PACKAGE: &str = "transferEimPackage";

/// What an eIM pushes to an IPA.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct InjectionRequest(pub TransferEimPackageRequest);

/// What an IPA answers to a push.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct InjectionResponse(pub TransferEimPackageResponse);

impl InjectionRequest {
    /// Reads a body of the ASN.1 binding.
    pub fn from_asn1(body: &[u8]) -> Result<Self, Error> {
        decode(body, &Limits::default()).map(Self)
    }

    /// The body of the ASN.1 binding.
    pub fn to_asn1(&self) -> Vec<u8> {
        self.0.to_der()
    }

    /// Reads a body of the JSON binding, posted to the path that ends in `function`.
    pub fn from_json(function: &str, body: &[u8]) -> Result<Self, Error> {
        use TransferEimPackageRequest as R;
        if function != TRANSFER_EIM_PACKAGE {
            return Err(Error::unknown_function(function));
        }
        let limits = Limits::default();
        let body = Object::parse(body, &limits)?;
        if let Some(request) = body.optional("euiccPackageRequest", Member::der)? {
            return Ok(Self(R::EuiccPackageRequest(request)));
        }
        if let Some(request) = body.optional("ipaEuiccDataRequest", Member::der)? {
            return Ok(Self(R::IpaEuiccDataRequest(request)));
        }
        if let Some(acknowledgements) = body.optional("eimAcknowledgements", Member::der)? {
            return Ok(Self(R::EimAcknowledgements(acknowledgements)));
        }
        body.required("profileDownloadTriggerRequest", Member::der)
            .map(R::ProfileDownloadTriggerRequest)
            .map(Self)
    }

    /// The last path segment and the body of the JSON binding.
    pub fn to_json(&self) -> Result<(&'static str, Vec<u8>), Error> {
        use TransferEimPackageRequest as R;
        let body = match &self.0 {
            R::EuiccPackageRequest(request) => Writer::new().der("euiccPackageRequest", request),
            R::IpaEuiccDataRequest(request) => Writer::new().der("ipaEuiccDataRequest", request),
            R::EimAcknowledgements(acknowledgements) => {
                Writer::new().der("eimAcknowledgements", acknowledgements)
            }
            R::ProfileDownloadTriggerRequest(request) => {
                Writer::new().der("profileDownloadTriggerRequest", request)
            }
            R::Unknown(_) => return Err(not_expressible("this kind of eIM Package")),
        };
        Ok((TRANSFER_EIM_PACKAGE, body.into_body()))
    }
}

impl InjectionResponse {
    /// Reads the body of an answer in the ASN.1 binding.
    pub fn from_asn1(body: &[u8]) -> Result<Self, Error> {
        decode(body, &Limits::default()).map(Self)
    }

    /// The body of the ASN.1 binding.
    pub fn to_asn1(&self) -> Vec<u8> {
        self.0.to_der()
    }

    /// Reads the body of an answer in the JSON binding. The header may be absent: not every IPA
    /// writes it.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        use TransferEimPackageResponse as R;
        let limits = Limits::default();
        let body = Object::parse(body, &limits)?;
        let outcome = read_outcome(&body)?.unwrap_or(Ok(()));
        if let Some(number) = body.optional("eimPackageError", Member::number)? {
            return Ok(Self(R::EimPackageError(
                EimPackageResultErrorCode::from_number(number),
            )));
        }
        if outcome.is_err() {
            return Ok(Self(R::EimPackageError(
                EimPackageResultErrorCode::UndefinedError,
            )));
        }
        if let Some(result) = body.optional("euiccPackageResult", Member::der)? {
            return Ok(Self(R::EuiccPackageResult(result)));
        }
        if let Some(both) = body.optional("ePRAndNotifications", Member::object)? {
            return Ok(Self(R::EprAndNotifications(EprAndNotifications {
                euicc_package_result: both
                    .required("ePRAndNotifications.euiccPackageResult", Member::der)?,
                notification_list: both
                    .required("ePRAndNotifications.notificationList", notification_list)?,
                extensions: Extensions::default(),
            })));
        }
        if let Some(response) = body.optional("ipaEuiccDataResponse", Member::der)? {
            return Ok(Self(R::IpaEuiccDataResponse(response)));
        }
        Ok(Self(R::EimPackageReceived(Null)))
    }

    /// The body of the JSON binding.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        use TransferEimPackageResponse as R;
        let body = match &self.0 {
            R::EuiccPackageResult(result) => success().der("euiccPackageResult", result),
            R::EprAndNotifications(both) => success().value(
                "ePRAndNotifications",
                Writer::new()
                    .der("euiccPackageResult", &both.euicc_package_result)
                    .octets(
                        "notificationList",
                        &pending_notification_list(&both.notification_list),
                    )
                    .into_value(),
            ),
            R::IpaEuiccDataResponse(response) => success().der("ipaEuiccDataResponse", response),
            R::EimPackageReceived(_) => success(),
            // No status code is defined for these, so the number alone says it.
            R::EimPackageError(code) => success().value("eimPackageError", code.number()),
            R::EimPackageReceivedWithCid(_) | R::EimPackageErrorWithCid(_) | R::Unknown(_) => {
                return Err(not_expressible("this kind of TransferEimPackageResponse"));
            }
        };
        Ok(body.into_body())
    }
}

/// PendingNotificationList by itself: a SEQUENCE OF.
fn pending_notification_list(list: &Vec<PendingNotification>) -> Vec<u8> {
    let mut writer = der::Writer::new();
    writer.value(Tag::SEQUENCE.octets(), list);
    writer.into_bytes()
}

/// The list under its own tag `30`, or under the `A0` that it has inside ePRAndNotifications.
fn notification_list(member: Member<'_>) -> Result<Vec<PendingNotification>, Error> {
    let octets = member.octets()?;
    let limits = Limits::default();
    let decode = || {
        let mut reader = Reader::new(&octets, &limits)?;
        let list = reader.expect_any()?;
        reader.finish()?;
        if ![Tag::SEQUENCE, Tag::new(0xA0)].contains(&list.tag()) {
            return Err(der::Error::new(ErrorKind::UnexpectedTag {
                found: list.tag(),
            }));
        }
        list.members()
    };
    decode().map_err(|source| Error::Object {
        member: "ePRAndNotifications.notificationList",
        source,
    })
}
