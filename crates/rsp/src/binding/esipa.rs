//! ESipa, between IPA and eIM (SGP.32 v1.2 sections 5.14 and 6.2 to 6.4).
//!
//! [`Request`] and [`Response`] are the functions that an IPA calls; [`InjectionRequest`] and
//! [`InjectionResponse`] are TransferEimPackage, which an eIM calls.

use super::json::{Member, Object, Writer};
use super::status::{failed, read_outcome, success};
use super::{Error, ErrorCode, Failure};
use crate::der::{self, Element, ErrorKind, Extensions, Limits, Null, Octets, Reader, Tag};
use crate::ids::EidOctets;
use crate::sgp22::{KeyIdentifier, PendingNotification};
use crate::sgp32::{
    AuthenticateClientErrorEsipa, AuthenticateClientOkDpEsipa, AuthenticateClientOkDsEsipa,
    AuthenticateClientRequestEsipa, AuthenticateClientResponseEsipa, CancelSessionErrorEsipa,
    CancelSessionOk, CancelSessionRequestEsipa, CancelSessionResponseEsipa, EimPackageError,
    EimPackageResultErrorCode, EmptyResponse, EprAndNotifications,
    GetBoundProfilePackageErrorEsipa, GetBoundProfilePackageOkEsipa,
    GetBoundProfilePackageRequestEsipa, GetBoundProfilePackageResponseEsipa, GetEimPackageRequest,
    GetEimPackageResponse, HandleNotificationEsipa, InitiateAuthenticationErrorEsipa,
    InitiateAuthenticationOkEsipa, InitiateAuthenticationRequestEsipa,
    InitiateAuthenticationResponseEsipa, ProvideEimPackageResult, ProvideEimPackageResultError,
    ProvideEimPackageResultResponse, StateChangeCause, TransferEimPackageRequest,
    TransferEimPackageResponse,
};

/// Name of TransferEimPackage in the path of the JSON binding.
pub const TRANSFER_EIM_PACKAGE: &str = "transferEimPackage";

/// The functions that an IPA calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// First step of an indirect download.
    InitiateAuthentication,
    /// Second step.
    AuthenticateClient,
    /// Third step.
    GetBoundProfilePackage,
    /// End of a download that does not succeed.
    CancelSession,
    /// Delivery of a Notification, or of a result that needs no answer.
    HandleNotification,
    /// The poll for work.
    GetEimPackage,
    /// Delivery of a result.
    ProvideEimPackageResult,
}

/// What an IPA asks of an eIM.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[expect(missing_docs, reason = "the functions are described in Function")]
pub enum Request {
    InitiateAuthentication(InitiateAuthenticationRequestEsipa),
    AuthenticateClient(AuthenticateClientRequestEsipa),
    GetBoundProfilePackage(GetBoundProfilePackageRequestEsipa),
    CancelSession(CancelSessionRequestEsipa),
    HandleNotification(HandleNotificationEsipa),
    GetEimPackage(GetEimPackageRequest),
    ProvideEimPackageResult(ProvideEimPackageResult),
}

/// What an eIM answers to an IPA.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[expect(missing_docs, reason = "the functions are described in Function")]
pub enum Response {
    InitiateAuthentication(InitiateAuthenticationResponseEsipa),
    AuthenticateClient(AuthenticateClientResponseEsipa),
    GetBoundProfilePackage(GetBoundProfilePackageResponseEsipa),
    CancelSession(CancelSessionResponseEsipa),
    /// No body: HTTP 204.
    HandleNotification,
    GetEimPackage(GetEimPackageResponse),
    ProvideEimPackageResult(ProvideEimPackageResultResponse),
}

/// What an eIM pushes to an IPA.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct InjectionRequest(pub TransferEimPackageRequest);

/// What an IPA answers to a push.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct InjectionResponse(pub TransferEimPackageResponse);

impl Function {
    /// Every function.
    pub const ALL: [Self; 7] = [
        Self::InitiateAuthentication,
        Self::AuthenticateClient,
        Self::GetBoundProfilePackage,
        Self::CancelSession,
        Self::HandleNotification,
        Self::GetEimPackage,
        Self::ProvideEimPackageResult,
    ];

    /// The last segment of the path in the JSON binding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitiateAuthentication => "initiateAuthentication",
            Self::AuthenticateClient => "authenticateClient",
            Self::GetBoundProfilePackage => "getBoundProfilePackage",
            Self::CancelSession => "cancelSession",
            Self::HandleNotification => "handleNotification",
            Self::GetEimPackage => "getEimPackage",
            Self::ProvideEimPackageResult => "provideEimPackageResult",
        }
    }

    /// The tag of request and answer in the ASN.1 binding.
    pub const fn tag(self) -> Tag {
        Tag::new(match self {
            Self::InitiateAuthentication => 0xBF39,
            Self::AuthenticateClient => 0xBF3B,
            Self::GetBoundProfilePackage => 0xBF3A,
            Self::CancelSession => 0xBF41,
            Self::HandleNotification => 0xBF3D,
            Self::GetEimPackage => 0xBF4F,
            Self::ProvideEimPackageResult => 0xBF50,
        })
    }

    /// The function with this tag.
    pub fn from_tag(tag: Tag) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.tag() == tag)
    }
}

impl std::str::FromStr for Function {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|function| function.name() == name)
            .ok_or_else(|| Error::unknown_function(name))
    }
}

impl Request {
    /// The function called.
    pub fn function(&self) -> Function {
        match self {
            Self::InitiateAuthentication(_) => Function::InitiateAuthentication,
            Self::AuthenticateClient(_) => Function::AuthenticateClient,
            Self::GetBoundProfilePackage(_) => Function::GetBoundProfilePackage,
            Self::CancelSession(_) => Function::CancelSession,
            Self::HandleNotification(_) => Function::HandleNotification,
            Self::GetEimPackage(_) => Function::GetEimPackage,
            Self::ProvideEimPackageResult(_) => Function::ProvideEimPackageResult,
        }
    }

    /// Reads a body of the ASN.1 binding; its tag selects the function.
    pub fn from_asn1(body: &[u8]) -> Result<Self, Error> {
        Self::from_asn1_within(body, &Limits::default())
    }

    /// [`Request::from_asn1`] under other limits.
    pub fn from_asn1_within(body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let tag = Reader::new(body, limits)
            .and_then(|mut reader| reader.expect_any())
            .map_err(Error::Asn1)?
            .tag();
        let function = Function::from_tag(tag)
            .ok_or_else(|| Error::Asn1(der::Error::new(ErrorKind::UnexpectedTag { found: tag })))?;
        match function {
            Function::InitiateAuthentication => {
                decode(body, limits).map(Self::InitiateAuthentication)
            }
            Function::AuthenticateClient => decode(body, limits).map(Self::AuthenticateClient),
            Function::GetBoundProfilePackage => {
                decode(body, limits).map(Self::GetBoundProfilePackage)
            }
            Function::CancelSession => decode(body, limits).map(Self::CancelSession),
            Function::HandleNotification => decode(body, limits).map(Self::HandleNotification),
            Function::GetEimPackage => decode(body, limits).map(Self::GetEimPackage),
            Function::ProvideEimPackageResult => {
                decode(body, limits).map(Self::ProvideEimPackageResult)
            }
        }
    }

    /// The body of the ASN.1 binding.
    pub fn to_asn1(&self) -> Vec<u8> {
        match self {
            Self::InitiateAuthentication(request) => request.to_der(),
            Self::AuthenticateClient(request) => request.to_der(),
            Self::GetBoundProfilePackage(request) => request.to_der(),
            Self::CancelSession(request) => request.to_der(),
            Self::HandleNotification(request) => request.to_der(),
            Self::GetEimPackage(request) => request.to_der(),
            Self::ProvideEimPackageResult(request) => request.to_der(),
        }
    }

    /// Reads a body of the JSON binding, posted to the path that ends in `function`.
    pub fn from_json(function: &str, body: &[u8]) -> Result<Self, Error> {
        Self::from_json_within(function, body, &Limits::default())
    }

    /// [`Request::from_json`] under other limits for the DER inside.
    pub fn from_json_within(function: &str, body: &[u8], limits: &Limits) -> Result<Self, Error> {
        let function = function.parse()?;
        let body = Object::parse(body, limits)?;
        match function {
            Function::InitiateAuthentication => Ok(Self::InitiateAuthentication(
                InitiateAuthenticationRequestEsipa {
                    euicc_challenge: body.required("euiccChallenge", Member::octets_exactly)?,
                    smdp_address: body.optional("smdpAddress", Member::text)?,
                    euicc_info1: body.optional("euiccInfo1", Member::der)?,
                    eim_transaction_id: body.optional("eimTransactionId", Member::parsed)?,
                    extensions: Extensions::default(),
                },
            )),
            Function::AuthenticateClient => {
                Ok(Self::AuthenticateClient(AuthenticateClientRequestEsipa {
                    transaction_id: body.required("transactionId", Member::parsed)?,
                    authenticate_server_response: body
                        .required("authenticateServerResponse", Member::der)?,
                    extensions: Extensions::default(),
                }))
            }
            Function::GetBoundProfilePackage => Ok(Self::GetBoundProfilePackage(
                GetBoundProfilePackageRequestEsipa {
                    transaction_id: body.required("transactionId", Member::parsed)?,
                    prepare_download_response: body
                        .required("prepareDownloadResponse", Member::der)?,
                    extensions: Extensions::default(),
                },
            )),
            Function::CancelSession => Ok(Self::CancelSession(CancelSessionRequestEsipa {
                transaction_id: body.required("transactionId", Member::parsed)?,
                cancel_session_response: body.required("cancelSessionResponse", Member::der)?,
                extensions: Extensions::default(),
            })),
            Function::HandleNotification => {
                handle_notification_from_json(&body).map(Self::HandleNotification)
            }
            Function::GetEimPackage => get_eim_package_from_json(&body).map(Self::GetEimPackage),
            Function::ProvideEimPackageResult => {
                Ok(Self::ProvideEimPackageResult(ProvideEimPackageResult {
                    eid_value: body.optional("eidValue", eid)?,
                    eim_package_result: body.required("eimPackageResult", Member::der)?,
                    extensions: Extensions::default(),
                }))
            }
        }
    }

    /// The last path segment and the body of the JSON binding.
    ///
    /// Elements that a newer version put behind the known members of the request itself have no
    /// place in it; those inside the objects it carries are kept.
    pub fn to_json(&self) -> Result<(&'static str, Vec<u8>), Error> {
        let body = match self {
            Self::InitiateAuthentication(request) => Writer::new()
                .octets("euiccChallenge", &request.euicc_challenge)
                .text_optional("smdpAddress", request.smdp_address.as_ref())
                .der_optional("euiccInfo1", request.euicc_info1.as_ref())
                .text_optional("eimTransactionId", request.eim_transaction_id.as_ref()),
            Self::AuthenticateClient(request) => Writer::new()
                .text("transactionId", &request.transaction_id)
                .der(
                    "authenticateServerResponse",
                    &request.authenticate_server_response,
                ),
            Self::GetBoundProfilePackage(request) => Writer::new()
                .text("transactionId", &request.transaction_id)
                .der(
                    "prepareDownloadResponse",
                    &request.prepare_download_response,
                ),
            Self::CancelSession(request) => Writer::new()
                .text("transactionId", &request.transaction_id)
                .der("cancelSessionResponse", &request.cancel_session_response),
            Self::HandleNotification(HandleNotificationEsipa::PendingNotification(
                notification,
            )) => Writer::new().der("pendingNotification", notification),
            Self::HandleNotification(HandleNotificationEsipa::ProvideEimPackageResult(result)) => {
                Writer::new().der("provideEimPackageResult", result)
            }
            Self::HandleNotification(HandleNotificationEsipa::Unknown(_)) => {
                return Err(Error::NotExpressible {
                    message: "this kind of Notification",
                });
            }
            Self::GetEimPackage(request) => get_eim_package_to_json(request),
            Self::ProvideEimPackageResult(request) => Writer::new()
                .text_optional("eidValue", request.eid_value.as_ref())
                .der("eimPackageResult", &request.eim_package_result),
        };
        Ok((self.function().name(), body.into_body()))
    }
}

impl Response {
    /// The function answered.
    pub fn function(&self) -> Function {
        match self {
            Self::InitiateAuthentication(_) => Function::InitiateAuthentication,
            Self::AuthenticateClient(_) => Function::AuthenticateClient,
            Self::GetBoundProfilePackage(_) => Function::GetBoundProfilePackage,
            Self::CancelSession(_) => Function::CancelSession,
            Self::HandleNotification => Function::HandleNotification,
            Self::GetEimPackage(_) => Function::GetEimPackage,
            Self::ProvideEimPackageResult(_) => Function::ProvideEimPackageResult,
        }
    }

    /// What to answer to a request that could not be read, when its function is known.
    ///
    /// An absent or malformed EID has codes of its own in GetEimPackage and
    /// ProvideEimPackageResult. `None` for HandleNotification, which can only be refused by the
    /// HTTP status.
    pub fn refusal(function: Function, error: &Error) -> Option<Self> {
        Some(match function {
            Function::InitiateAuthentication => Self::InitiateAuthentication(
                InitiateAuthenticationErrorEsipa::UndefinedError.into(),
            ),
            Function::AuthenticateClient => {
                Self::AuthenticateClient(AuthenticateClientErrorEsipa::UndefinedError.into())
            }
            Function::GetBoundProfilePackage => Self::GetBoundProfilePackage(
                GetBoundProfilePackageErrorEsipa::UndefinedError.into(),
            ),
            Function::CancelSession => {
                Self::CancelSession(CancelSessionErrorEsipa::UndefinedError.into())
            }
            Function::HandleNotification => return None,
            Function::GetEimPackage => Self::GetEimPackage(GetEimPackageResponse::EimPackageError(
                match EidFault::of(error) {
                    Some(EidFault::Missing) => EimPackageError::MissingEid,
                    Some(EidFault::Invalid) => EimPackageError::InvalidEid,
                    None => EimPackageError::UndefinedError,
                },
            )),
            Function::ProvideEimPackageResult => Self::ProvideEimPackageResult(
                ProvideEimPackageResultResponse::ProvideEimPackageResultError(
                    match EidFault::of(error) {
                        Some(EidFault::Missing) => ProvideEimPackageResultError::MissingEid,
                        Some(EidFault::Invalid) => ProvideEimPackageResultError::InvalidEid,
                        None => ProvideEimPackageResultError::UndefinedError,
                    },
                ),
            ),
        })
    }

    /// Reads the body of an answer in the ASN.1 binding. HandleNotification has none; what some
    /// eIMs send in its place is not looked at.
    pub fn from_asn1(function: Function, body: &[u8]) -> Result<Self, Error> {
        Self::from_asn1_within(function, body, &Limits::default())
    }

    /// [`Response::from_asn1`] under other limits.
    pub fn from_asn1_within(
        function: Function,
        body: &[u8],
        limits: &Limits,
    ) -> Result<Self, Error> {
        match function {
            Function::InitiateAuthentication => {
                decode(body, limits).map(Self::InitiateAuthentication)
            }
            Function::AuthenticateClient => decode(body, limits).map(Self::AuthenticateClient),
            Function::GetBoundProfilePackage => {
                decode(body, limits).map(Self::GetBoundProfilePackage)
            }
            Function::CancelSession => decode(body, limits).map(Self::CancelSession),
            Function::HandleNotification => Ok(Self::HandleNotification),
            Function::GetEimPackage => decode(body, limits).map(Self::GetEimPackage),
            Function::ProvideEimPackageResult => {
                decode(body, limits).map(Self::ProvideEimPackageResult)
            }
        }
    }

    /// The body of the ASN.1 binding; `None` means HTTP 204.
    pub fn to_asn1(&self) -> Option<Vec<u8>> {
        match self {
            Self::InitiateAuthentication(response) => Some(response.to_der()),
            Self::AuthenticateClient(response) => Some(response.to_der()),
            Self::GetBoundProfilePackage(response) => Some(response.to_der()),
            Self::CancelSession(response) => Some(response.to_der()),
            Self::HandleNotification => None,
            Self::GetEimPackage(response) => Some(response.to_der()),
            Self::ProvideEimPackageResult(response) => Some(response.to_der()),
        }
    }

    /// Reads the body of an answer in the JSON binding.
    pub fn from_json(function: Function, body: &[u8]) -> Result<Self, Error> {
        Self::from_json_within(function, body, &Limits::default())
    }

    /// [`Response::from_json`] under other limits for the DER inside.
    pub fn from_json_within(
        function: Function,
        body: &[u8],
        limits: &Limits,
    ) -> Result<Self, Error> {
        if function == Function::HandleNotification {
            return Ok(Self::HandleNotification);
        }
        let body = Object::parse(body, limits)?;
        let outcome = read_outcome(&body)?.ok_or(Error::Missing { member: "header" })?;
        if function == Function::GetEimPackage {
            return eim_package_from_json(&body, outcome).map(Self::GetEimPackage);
        }
        if let Err(failure) = outcome {
            return Ok(Self::from_failure(function, &failure));
        }
        match function {
            Function::InitiateAuthentication => initiate_authentication_ok_from_json(&body)
                .map(InitiateAuthenticationResponseEsipa::InitiateAuthenticationOkEsipa)
                .map(Self::InitiateAuthentication),
            Function::AuthenticateClient => {
                authenticate_client_ok_from_json(&body).map(Self::AuthenticateClient)
            }
            Function::GetBoundProfilePackage => Ok(Self::GetBoundProfilePackage(
                GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageOkEsipa(
                    GetBoundProfilePackageOkEsipa {
                        transaction_id: body.optional("transactionId", Member::parsed)?,
                        bound_profile_package: body.required("boundProfilePackage", Member::der)?,
                        extensions: Extensions::default(),
                    },
                ),
            )),
            Function::CancelSession => Ok(Self::CancelSession(
                CancelSessionResponseEsipa::CancelSessionOk(CancelSessionOk {
                    extensions: Extensions::default(),
                }),
            )),
            Function::ProvideEimPackageResult => {
                use ProvideEimPackageResultResponse as R;
                Ok(Self::ProvideEimPackageResult(
                    match body.optional("eimAcknowledgements", Member::der)? {
                        Some(acknowledgements) => R::EimAcknowledgements(acknowledgements),
                        None => R::EmptyResponse(EmptyResponse {
                            extensions: Extensions::default(),
                        }),
                    },
                ))
            }
            Function::GetEimPackage | Function::HandleNotification => {
                Err(Error::unknown_function(function.name()))
            }
        }
    }

    /// The body of the JSON binding; `None` means HTTP 204.
    pub fn to_json(&self) -> Result<Option<Vec<u8>>, Error> {
        let body = match self {
            Self::InitiateAuthentication(response) => initiate_authentication_to_json(response)?,
            Self::AuthenticateClient(response) => authenticate_client_to_json(response)?,
            Self::GetBoundProfilePackage(response) => {
                use GetBoundProfilePackageResponseEsipa as R;
                match response {
                    R::GetBoundProfilePackageOkEsipa(ok) => success()
                        .text_optional("transactionId", ok.transaction_id.as_ref())
                        .der("boundProfilePackage", &ok.bound_profile_package),
                    R::GetBoundProfilePackageErrorEsipa(code) => failed(&code.status().into()),
                    R::Unknown(_) => return Err(not_expressible("GetBoundProfilePackageResponse")),
                }
            }
            Self::CancelSession(response) => match response {
                CancelSessionResponseEsipa::CancelSessionOk(_) => success(),
                CancelSessionResponseEsipa::CancelSessionError(code) => {
                    failed(&code.status().into())
                }
                CancelSessionResponseEsipa::Unknown(_) => {
                    return Err(not_expressible("CancelSessionResponse"));
                }
            },
            Self::HandleNotification => return Ok(None),
            Self::GetEimPackage(response) => eim_package_to_json(response)?,
            Self::ProvideEimPackageResult(response) => {
                use ProvideEimPackageResultResponse as R;
                match response {
                    R::EimAcknowledgements(acknowledgements) => {
                        success().der("eimAcknowledgements", acknowledgements)
                    }
                    R::EmptyResponse(_) => success(),
                    R::ProvideEimPackageResultError(code) => failed(&code.status().into()),
                    R::Unknown(_) => {
                        return Err(not_expressible("ProvideEimPackageResultResponse"));
                    }
                }
            }
        };
        Ok(Some(body.into_body()))
    }

    fn from_failure(function: Function, failure: &Failure) -> Self {
        let code = &failure.code;
        match function {
            Function::InitiateAuthentication => Self::InitiateAuthentication(
                InitiateAuthenticationErrorEsipa::from_status(code).into(),
            ),
            Function::AuthenticateClient => {
                Self::AuthenticateClient(AuthenticateClientErrorEsipa::from_status(code).into())
            }
            Function::GetBoundProfilePackage => Self::GetBoundProfilePackage(
                GetBoundProfilePackageErrorEsipa::from_status(code).into(),
            ),
            Function::CancelSession => {
                Self::CancelSession(CancelSessionErrorEsipa::from_status(code).into())
            }
            Function::HandleNotification => Self::HandleNotification,
            Function::GetEimPackage => Self::GetEimPackage(GetEimPackageResponse::EimPackageError(
                EimPackageError::from_status(code),
            )),
            Function::ProvideEimPackageResult => Self::ProvideEimPackageResult(
                ProvideEimPackageResultResponse::ProvideEimPackageResultError(
                    ProvideEimPackageResultError::from_status(code),
                ),
            ),
        }
    }
}

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

macro_rules! error_arms {
    ( $( $code:ty => $response:ident :: $arm:ident; )* ) => { $(
        impl From<$code> for $response {
            fn from(code: $code) -> Self {
                Self::$arm(code)
            }
        }
    )* };
}

error_arms! {
    InitiateAuthenticationErrorEsipa => InitiateAuthenticationResponseEsipa::InitiateAuthenticationErrorEsipa;
    AuthenticateClientErrorEsipa => AuthenticateClientResponseEsipa::AuthenticateClientErrorEsipa;
    GetBoundProfilePackageErrorEsipa => GetBoundProfilePackageResponseEsipa::GetBoundProfilePackageErrorEsipa;
    CancelSessionErrorEsipa => CancelSessionResponseEsipa::CancelSessionError;
}

fn decode<T: Element>(body: &[u8], limits: &Limits) -> Result<T, Error> {
    T::from_der_within(body, limits).map_err(Error::Asn1)
}

fn not_expressible(message: &'static str) -> Error {
    Error::NotExpressible { message }
}

/// What is wrong with the EID of a request.
enum EidFault {
    Missing,
    Invalid,
}

impl EidFault {
    fn of(error: &Error) -> Option<Self> {
        let is_about_eid = match error {
            Error::Asn1(source) => source.place().ends_with("eid_value"),
            other => other.member() == Some("eidValue"),
        };
        is_about_eid.then_some(if error.is_missing() {
            Self::Missing
        } else {
            Self::Invalid
        })
    }
}

/// 32 digits. Whether they are an EID is for the caller to check, as in the ASN.1 binding.
fn eid(member: Member<'_>) -> Result<EidOctets, Error> {
    let malformed = Error::Malformed {
        member: "eidValue",
        problem: "is not 32 digits",
    };
    let text = member.text()?;
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 32) else {
        return Err(malformed);
    };
    let mut octets = [0; 16];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = pair.iter().fold(0, |packed, digit| (packed << 4) | digit);
    }
    Ok(EidOctets(octets))
}

fn get_eim_package_from_json(body: &Object<'_>) -> Result<GetEimPackageRequest, Error> {
    Ok(GetEimPackageRequest {
        eid_value: body.required("eidValue", eid)?,
        notify_state_change: body
            .optional("notifyStateChange", Member::boolean)?
            .unwrap_or(false)
            .then_some(Null),
        state_change_cause: body
            .optional("stateChangeCause", Member::number)?
            .map(StateChangeCause::from_number),
        r_plmn: body.optional("rPlmn", Member::octets)?.map(Octets),
        extensions: Extensions::default(),
    })
}

fn get_eim_package_to_json(request: &GetEimPackageRequest) -> Writer {
    let mut body = Writer::new().text("eidValue", request.eid_value);
    if request.notify_state_change.is_some() {
        body = body.value("notifyStateChange", true);
    }
    if let Some(cause) = request.state_change_cause {
        body = body.value("stateChangeCause", cause.number());
    }
    if let Some(plmn) = &request.r_plmn {
        body = body.octets("rPlmn", plmn);
    }
    body
}

fn handle_notification_from_json(body: &Object<'_>) -> Result<HandleNotificationEsipa, Error> {
    if let Some(result) = body.optional("provideEimPackageResult", Member::der)? {
        return Ok(HandleNotificationEsipa::ProvideEimPackageResult(result));
    }
    body.required("pendingNotification", Member::der)
        .map(HandleNotificationEsipa::PendingNotification)
}

fn initiate_authentication_ok_from_json(
    body: &Object<'_>,
) -> Result<InitiateAuthenticationOkEsipa, Error> {
    Ok(InitiateAuthenticationOkEsipa {
        transaction_id: body.optional("transactionId", Member::parsed)?,
        server_signed1: body.required("serverSigned1", Member::der)?,
        server_signature1: body.required("serverSignature1", Member::signature)?,
        euicc_ci_pk_identifier_to_be_used: body
            .required("euiccCiPKIdentifierToBeUsed", Member::key_identifier)?
            .0,
        server_certificate: body.required("serverCertificate", Member::der)?,
        matching_id: body.optional("matchingId", Member::text)?,
        ctx_params1: body.optional("ctxParams1", Member::der)?,
        extensions: Extensions::default(),
    })
}

fn initiate_authentication_to_json(
    response: &InitiateAuthenticationResponseEsipa,
) -> Result<Writer, Error> {
    use InitiateAuthenticationResponseEsipa as R;
    match response {
        R::InitiateAuthenticationOkEsipa(ok) => Ok(success()
            .text_optional("transactionId", ok.transaction_id.as_ref())
            .der("serverSigned1", &ok.server_signed1)
            .der("serverSignature1", &ok.server_signature1)
            .der(
                "euiccCiPKIdentifierToBeUsed",
                &KeyIdentifier(ok.euicc_ci_pk_identifier_to_be_used.clone()),
            )
            .der("serverCertificate", &ok.server_certificate)
            .text_optional("matchingId", ok.matching_id.as_ref())
            .der_optional("ctxParams1", ok.ctx_params1.as_ref())),
        R::InitiateAuthenticationErrorEsipa(code) => Ok(failed(&code.status().into())),
        R::Unknown(_) => Err(not_expressible("InitiateAuthenticationResponse")),
    }
}

/// An SM-DP+'s answer has signed data, an SM-DS's has not.
fn authenticate_client_ok_from_json(
    body: &Object<'_>,
) -> Result<AuthenticateClientResponseEsipa, Error> {
    use AuthenticateClientResponseEsipa as R;
    if !body.has("smdpSigned2") && !body.has("smdpCertificate") {
        return Ok(R::AuthenticateClientOkDsEsipa(
            AuthenticateClientOkDsEsipa {
                transaction_id: body.required("transactionId", Member::parsed)?,
                profile_download_trigger: body.optional("profileDownloadTrigger", Member::der)?,
                extensions: Extensions::default(),
            },
        ));
    }
    Ok(R::AuthenticateClientOkDpEsipa(
        AuthenticateClientOkDpEsipa {
            transaction_id: body.optional("transactionId", Member::parsed)?,
            profile_meta_data: body.optional("profileMetadata", Member::der)?,
            smdp_signed2: body.required("smdpSigned2", Member::der)?,
            smdp_signature2: body.required("smdpSignature2", Member::signature)?,
            smdp_certificate: body.required("smdpCertificate", Member::der)?,
            hash_cc: body.optional("hashCc", Member::hash)?,
            extensions: Extensions::default(),
        },
    ))
}

fn authenticate_client_to_json(
    response: &AuthenticateClientResponseEsipa,
) -> Result<Writer, Error> {
    use AuthenticateClientResponseEsipa as R;
    match response {
        R::AuthenticateClientOkDpEsipa(ok) => {
            let body = success()
                .text_optional("transactionId", ok.transaction_id.as_ref())
                .der_optional("profileMetadata", ok.profile_meta_data.as_ref())
                .der("smdpSigned2", &ok.smdp_signed2)
                .der("smdpSignature2", &ok.smdp_signature2)
                .der("smdpCertificate", &ok.smdp_certificate);
            Ok(match &ok.hash_cc {
                Some(hash) => body.octets("hashCc", hash),
                None => body,
            })
        }
        R::AuthenticateClientOkDsEsipa(ok) => Ok(success()
            .text("transactionId", &ok.transaction_id)
            .der_optional(
                "profileDownloadTrigger",
                ok.profile_download_trigger.as_ref(),
            )),
        R::AuthenticateClientErrorEsipa(code) => Ok(failed(&code.status().into())),
        R::Unknown(_) => Err(not_expressible("AuthenticateClientResponse")),
    }
}

/// Some eIMs answer the bare number together with success, others the status code alone.
fn eim_package_from_json(
    body: &Object<'_>,
    outcome: Result<(), Failure>,
) -> Result<GetEimPackageResponse, Error> {
    use GetEimPackageResponse as R;
    if let Some(number) = body.optional("eimPackageError", Member::number)? {
        return Ok(R::EimPackageError(EimPackageError::from_number(number)));
    }
    if let Err(failure) = outcome {
        return Ok(R::EimPackageError(EimPackageError::from_status(
            &failure.code,
        )));
    }
    if let Some(request) = body.optional("euiccPackageRequest", Member::der)? {
        return Ok(R::EuiccPackageRequest(request));
    }
    if let Some(request) = body.optional("ipaEuiccDataRequest", Member::der)? {
        return Ok(R::IpaEuiccDataRequest(request));
    }
    body.required("profileDownloadTriggerRequest", Member::der)
        .map(R::ProfileDownloadTriggerRequest)
}

fn eim_package_to_json(response: &GetEimPackageResponse) -> Result<Writer, Error> {
    use GetEimPackageResponse as R;
    Ok(match response {
        R::EuiccPackageRequest(request) => success().der("euiccPackageRequest", request),
        R::IpaEuiccDataRequest(request) => success().der("ipaEuiccDataRequest", request),
        R::ProfileDownloadTriggerRequest(request) => {
            success().der("profileDownloadTriggerRequest", request)
        }
        R::EimPackageError(code) => {
            failed(&code.status().into()).value("eimPackageError", code.number())
        }
        R::Unknown(_) => return Err(not_expressible("this kind of eIM Package")),
    })
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
