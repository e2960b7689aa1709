//! ESipa, between IPA and eIM (SGP.32 v1.2 sections 5.14 and 6.2 to 6.4).
//!
//! [`Request`] and [`Response`] are the functions that an IPA calls; [`InjectionRequest`] and
//! [`InjectionResponse`] are TransferEimPackage, which an eIM calls.

mod injection;
mod members;

pub use injection::{InjectionRequest, InjectionResponse, TRANSFER_EIM_PACKAGE};
use members::{
    authenticate_client_ok_from_json, authenticate_client_to_json, eid, eim_package_from_json,
    eim_package_to_json, get_eim_package_from_json, get_eim_package_to_json,
    handle_notification_from_json, initiate_authentication_ok_from_json,
    initiate_authentication_to_json,
};

use super::json::{Member, Object, Writer};
use super::status::{failed, read_outcome, success};
use super::{Error, ErrorCode, Failure};
use crate::der::{self, Element, ErrorKind, Extensions, Limits, Reader, Tag};
use crate::sgp32::{
    AuthenticateClientErrorEsipa, AuthenticateClientRequestEsipa, AuthenticateClientResponseEsipa,
    CancelSessionErrorEsipa, CancelSessionOk, CancelSessionRequestEsipa,
    CancelSessionResponseEsipa, EimPackageError, EmptyResponse, GetBoundProfilePackageErrorEsipa,
    GetBoundProfilePackageOkEsipa, GetBoundProfilePackageRequestEsipa,
    GetBoundProfilePackageResponseEsipa, GetEimPackageRequest, GetEimPackageResponse,
    HandleNotificationEsipa, InitiateAuthenticationErrorEsipa, InitiateAuthenticationRequestEsipa,
    InitiateAuthenticationResponseEsipa, ProvideEimPackageResult, ProvideEimPackageResultError,
    ProvideEimPackageResultResponse,
};

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
