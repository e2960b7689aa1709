//! ES9+ (LPA or IPA to SM-DP+), ES9+' (eIM to SM-DP+) and ES11 (to an SM-DS): SGP.22 v2.5
//! sections 5.6, 5.8 and 6.5 to 6.6.
//!
//! An answer is the typed success or a [`Failure`] with the status codes of the JSON binding; in
//! the ASN.1 binding they become the error codes of the module ([`ErrorCode`]).

use super::json::{Member, Object, Writer};
use super::status::{failed, read_outcome, success};
use super::{Error, ErrorCode, Failure};
use crate::der::{Element, Extensions, Limits};
use crate::sgp22::{
    AuthenticateClientError, AuthenticateClientErrorEs11, AuthenticateClientOk,
    AuthenticateClientOkEs11, AuthenticateClientRequest, AuthenticateClientResponseEs9,
    AuthenticateClientResponseEs11, CancelSessionError, CancelSessionOk, CancelSessionRequestEs9,
    CancelSessionResponseEs9, EventEntries, GetBoundProfilePackageError, GetBoundProfilePackageOk,
    GetBoundProfilePackageRequest, GetBoundProfilePackageResponse, HandleNotification,
    InitiateAuthenticationError, InitiateAuthenticationOkEs9, InitiateAuthenticationRequest,
    InitiateAuthenticationResponse, RemoteProfileProvisioningRequest,
    RemoteProfileProvisioningResponse,
};

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// First step of a session.
    InitiateAuthentication,
    /// Second step.
    AuthenticateClient,
    /// Third step.
    GetBoundProfilePackage,
    /// End of a session that does not succeed.
    CancelSession,
    /// Delivery of a Notification.
    HandleNotification,
}

/// What a client asks of an SM-DP+ or SM-DS.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[expect(missing_docs, reason = "the functions are described in Function")]
#[expect(
    clippy::large_enum_variant,
    reason = "made once per request and moved rarely"
)]
pub enum Request {
    InitiateAuthentication(InitiateAuthenticationRequest),
    AuthenticateClient(AuthenticateClientRequest),
    GetBoundProfilePackage(GetBoundProfilePackageRequest),
    CancelSession(CancelSessionRequestEs9),
    HandleNotification(HandleNotification),
}

/// What an SM-DP+ or SM-DS answers.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[expect(missing_docs, reason = "the functions are described in Function")]
pub enum Response {
    InitiateAuthentication(Result<InitiateAuthenticationOkEs9, Failure>),
    AuthenticateClient(Result<AuthenticateClientOk, Failure>),
    /// AuthenticateClient as an SM-DS answers it. In the JSON binding a failure of an SM-DS is
    /// read as [`Response::AuthenticateClient`], since nothing in it tells them apart.
    AuthenticateClientEs11(Result<AuthenticateClientOkEs11, Failure>),
    GetBoundProfilePackage(Result<GetBoundProfilePackageOk, Failure>),
    CancelSession(Result<(), Failure>),
    /// No body: HTTP 204.
    HandleNotification,
}

impl Function {
    /// Every function.
    pub const ALL: [Self; 5] = [
        Self::InitiateAuthentication,
        Self::AuthenticateClient,
        Self::GetBoundProfilePackage,
        Self::CancelSession,
        Self::HandleNotification,
    ];

    /// The last segment of the path in the JSON binding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitiateAuthentication => "initiateAuthentication",
            Self::AuthenticateClient => "authenticateClient",
            Self::GetBoundProfilePackage => "getBoundProfilePackage",
            Self::CancelSession => "cancelSession",
            Self::HandleNotification => "handleNotification",
        }
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
        }
    }

    /// Reads a body of the ASN.1 binding: a RemoteProfileProvisioningRequest.
    pub fn from_asn1(body: &[u8]) -> Result<Self, Error> {
        use RemoteProfileProvisioningRequest as R;
        match R::from_der(body).map_err(Error::Asn1)? {
            R::InitiateAuthentication(request) => Ok(Self::InitiateAuthentication(request)),
            R::AuthenticateClient(request) => Ok(Self::AuthenticateClient(request)),
            R::GetBoundProfilePackage(request) => Ok(Self::GetBoundProfilePackage(request)),
            R::CancelSession(request) => Ok(Self::CancelSession(request)),
            R::HandleNotification(request) => Ok(Self::HandleNotification(request)),
            R::Unknown(raw) => Err(Error::unknown_function(&raw.tag().to_string())),
        }
    }

    /// The body of the ASN.1 binding.
    pub fn to_asn1(&self) -> Vec<u8> {
        use RemoteProfileProvisioningRequest as R;
        match self.clone() {
            Self::InitiateAuthentication(request) => R::InitiateAuthentication(request),
            Self::AuthenticateClient(request) => R::AuthenticateClient(request),
            Self::GetBoundProfilePackage(request) => R::GetBoundProfilePackage(request),
            Self::CancelSession(request) => R::CancelSession(request),
            Self::HandleNotification(request) => R::HandleNotification(request),
        }
        .to_der()
    }

    /// Reads a body of the JSON binding, posted to the path that ends in `function`.
    pub fn from_json(function: &str, body: &[u8]) -> Result<Self, Error> {
        let function = function.parse()?;
        let limits = Limits::default();
        let body = Object::parse(body, &limits)?;
        match function {
            Function::InitiateAuthentication => Ok(Self::InitiateAuthentication(
                InitiateAuthenticationRequest {
                    euicc_challenge: body.required("euiccChallenge", Member::octets_exactly)?,
                    smdp_address: body.required("smdpAddress", Member::text)?,
                    euicc_info1: body.required("euiccInfo1", Member::der)?,
                    extensions: Extensions::default(),
                },
            )),
            Function::AuthenticateClient => {
                Ok(Self::AuthenticateClient(AuthenticateClientRequest {
                    transaction_id: body.required("transactionId", Member::parsed)?,
                    authenticate_server_response: body
                        .required("authenticateServerResponse", Member::der)?,
                    extensions: Extensions::default(),
                }))
            }
            Function::GetBoundProfilePackage => Ok(Self::GetBoundProfilePackage(
                GetBoundProfilePackageRequest {
                    transaction_id: body.required("transactionId", Member::parsed)?,
                    prepare_download_response: body
                        .required("prepareDownloadResponse", Member::der)?,
                    extensions: Extensions::default(),
                },
            )),
            Function::CancelSession => Ok(Self::CancelSession(CancelSessionRequestEs9 {
                transaction_id: body.required("transactionId", Member::parsed)?,
                cancel_session_response: body.required("cancelSessionResponse", Member::der)?,
                extensions: Extensions::default(),
            })),
            Function::HandleNotification => Ok(Self::HandleNotification(HandleNotification {
                pending_notification: body.required("pendingNotification", Member::der)?,
                extensions: Extensions::default(),
            })),
        }
    }

    /// The last path segment and the body of the JSON binding, without a header as LPAs send it.
    pub fn to_json(&self) -> (&'static str, Vec<u8>) {
        let body = match self {
            Self::InitiateAuthentication(request) => Writer::new()
                .octets("euiccChallenge", &request.euicc_challenge)
                .text("smdpAddress", &request.smdp_address)
                .der("euiccInfo1", &request.euicc_info1),
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
            Self::HandleNotification(request) => {
                Writer::new().der("pendingNotification", &request.pending_notification)
            }
        };
        (self.function().name(), body.into_body())
    }
}

impl Response {
    /// The function answered.
    pub fn function(&self) -> Function {
        match self {
            Self::InitiateAuthentication(_) => Function::InitiateAuthentication,
            Self::AuthenticateClient(_) | Self::AuthenticateClientEs11(_) => {
                Function::AuthenticateClient
            }
            Self::GetBoundProfilePackage(_) => Function::GetBoundProfilePackage,
            Self::CancelSession(_) => Function::CancelSession,
            Self::HandleNotification => Function::HandleNotification,
        }
    }

    /// A failure of a function. HandleNotification can only fail by the HTTP status: `None`.
    pub fn failure(function: Function, failure: Failure) -> Option<Self> {
        Some(match function {
            Function::InitiateAuthentication => Self::InitiateAuthentication(Err(failure)),
            Function::AuthenticateClient => Self::AuthenticateClient(Err(failure)),
            Function::GetBoundProfilePackage => Self::GetBoundProfilePackage(Err(failure)),
            Function::CancelSession => Self::CancelSession(Err(failure)),
            Function::HandleNotification => return None,
        })
    }

    /// Reads the body of an answer in the ASN.1 binding: a RemoteProfileProvisioningResponse that
    /// answers `function`. HandleNotification has none; what stands in its place is not looked at.
    pub fn from_asn1(function: Function, body: &[u8]) -> Result<Self, Error> {
        if function == Function::HandleNotification {
            return Ok(Self::HandleNotification);
        }
        let answer = RemoteProfileProvisioningResponse::from_der(body).map_err(Error::Asn1)?;
        let response = Self::from_wrapped(answer)?;
        if response.function() != function {
            return Err(Error::unknown_function(response.function().name()));
        }
        Ok(response)
    }

    fn from_wrapped(answer: RemoteProfileProvisioningResponse) -> Result<Self, Error> {
        use RemoteProfileProvisioningResponse as R;
        match answer {
            R::InitiateAuthentication(
                InitiateAuthenticationResponse::InitiateAuthenticationOk(ok),
            ) => Ok(Self::InitiateAuthentication(Ok(ok))),
            R::InitiateAuthentication(
                InitiateAuthenticationResponse::InitiateAuthenticationError(code),
            ) => Ok(Self::InitiateAuthentication(Err(code.status().into()))),
            R::AuthenticateClientEs9(AuthenticateClientResponseEs9::AuthenticateClientOk(ok)) => {
                Ok(Self::AuthenticateClient(Ok(ok)))
            }
            R::AuthenticateClientEs9(AuthenticateClientResponseEs9::AuthenticateClientError(
                code,
            )) => Ok(Self::AuthenticateClient(Err(code.status().into()))),
            R::AuthenticateClientEs11(AuthenticateClientResponseEs11::AuthenticateClientOk(ok)) => {
                Ok(Self::AuthenticateClientEs11(Ok(ok)))
            }
            R::AuthenticateClientEs11(AuthenticateClientResponseEs11::AuthenticateClientError(
                code,
            )) => Ok(Self::AuthenticateClientEs11(Err(code.status().into()))),
            R::GetBoundProfilePackage(
                GetBoundProfilePackageResponse::GetBoundProfilePackageOk(ok),
            ) => Ok(Self::GetBoundProfilePackage(Ok(ok))),
            R::GetBoundProfilePackage(
                GetBoundProfilePackageResponse::GetBoundProfilePackageError(code),
            ) => Ok(Self::GetBoundProfilePackage(Err(code.status().into()))),
            R::CancelSession(CancelSessionResponseEs9::CancelSessionOk(_)) => {
                Ok(Self::CancelSession(Ok(())))
            }
            R::CancelSession(CancelSessionResponseEs9::CancelSessionError(code)) => {
                Ok(Self::CancelSession(Err(code.status().into())))
            }
            R::InitiateAuthentication(InitiateAuthenticationResponse::Unknown(raw))
            | R::AuthenticateClientEs9(AuthenticateClientResponseEs9::Unknown(raw))
            | R::AuthenticateClientEs11(AuthenticateClientResponseEs11::Unknown(raw))
            | R::GetBoundProfilePackage(GetBoundProfilePackageResponse::Unknown(raw))
            | R::CancelSession(CancelSessionResponseEs9::Unknown(raw))
            | R::Unknown(raw) => Err(Error::unknown_function(&raw.tag().to_string())),
        }
    }

    /// The body of the ASN.1 binding; `None` means HTTP 204.
    pub fn to_asn1(&self) -> Option<Vec<u8>> {
        use RemoteProfileProvisioningResponse as R;
        let answer = match self.clone() {
            Self::InitiateAuthentication(outcome) => R::InitiateAuthentication(match outcome {
                Ok(ok) => InitiateAuthenticationResponse::InitiateAuthenticationOk(ok),
                Err(failure) => InitiateAuthenticationResponse::InitiateAuthenticationError(
                    InitiateAuthenticationError::from_status(&failure.code),
                ),
            }),
            Self::AuthenticateClient(outcome) => R::AuthenticateClientEs9(match outcome {
                Ok(ok) => AuthenticateClientResponseEs9::AuthenticateClientOk(ok),
                Err(failure) => AuthenticateClientResponseEs9::AuthenticateClientError(
                    AuthenticateClientError::from_status(&failure.code),
                ),
            }),
            Self::AuthenticateClientEs11(outcome) => R::AuthenticateClientEs11(match outcome {
                Ok(ok) => AuthenticateClientResponseEs11::AuthenticateClientOk(ok),
                Err(failure) => AuthenticateClientResponseEs11::AuthenticateClientError(
                    AuthenticateClientErrorEs11::from_status(&failure.code),
                ),
            }),
            Self::GetBoundProfilePackage(outcome) => R::GetBoundProfilePackage(match outcome {
                Ok(ok) => GetBoundProfilePackageResponse::GetBoundProfilePackageOk(ok),
                Err(failure) => GetBoundProfilePackageResponse::GetBoundProfilePackageError(
                    GetBoundProfilePackageError::from_status(&failure.code),
                ),
            }),
            Self::CancelSession(outcome) => R::CancelSession(match outcome {
                Ok(()) => CancelSessionResponseEs9::CancelSessionOk(CancelSessionOk {
                    extensions: Extensions::default(),
                }),
                Err(failure) => CancelSessionResponseEs9::CancelSessionError(
                    CancelSessionError::from_status(&failure.code),
                ),
            }),
            Self::HandleNotification => return None,
        };
        Some(answer.to_der())
    }

    /// Reads the body of an answer in the JSON binding. AuthenticateClient with `eventEntries` is
    /// an SM-DS's answer.
    pub fn from_json(function: Function, body: &[u8]) -> Result<Self, Error> {
        if function == Function::HandleNotification {
            return Ok(Self::HandleNotification);
        }
        let limits = Limits::default();
        let body = Object::parse(body, &limits)?;
        let outcome = read_outcome(&body)?.ok_or(Error::Missing { member: "header" })?;
        match function {
            Function::InitiateAuthentication => outcome
                .map_or_else(
                    |failure| Ok(Err(failure)),
                    |()| initiate_authentication_ok(&body).map(Ok),
                )
                .map(Self::InitiateAuthentication),
            Function::AuthenticateClient => match outcome {
                Err(failure) => Ok(Self::AuthenticateClient(Err(failure))),
                Ok(()) if body.has("eventEntries") => authenticate_client_ok_es11(&body)
                    .map(Ok)
                    .map(Self::AuthenticateClientEs11),
                Ok(()) => authenticate_client_ok(&body)
                    .map(Ok)
                    .map(Self::AuthenticateClient),
            },
            Function::GetBoundProfilePackage => outcome
                .map_or_else(
                    |failure| Ok(Err(failure)),
                    |()| bound_profile_package_ok(&body).map(Ok),
                )
                .map(Self::GetBoundProfilePackage),
            Function::CancelSession => Ok(Self::CancelSession(outcome)),
            Function::HandleNotification => Ok(Self::HandleNotification),
        }
    }

    /// The body of the JSON binding; `None` means HTTP 204.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let body = match self {
            Self::InitiateAuthentication(Ok(ok)) => success()
                .text("transactionId", &ok.transaction_id)
                .der("serverSigned1", &ok.server_signed1)
                .der("serverSignature1", &ok.server_signature1)
                .der("euiccCiPKIdToBeUsed", &ok.euicc_ci_pk_id_to_be_used)
                .der("serverCertificate", &ok.server_certificate)
                .der_list_optional("otherCertsInChain", ok.other_certs_in_chain.as_deref()),
            Self::AuthenticateClient(Ok(ok)) => success()
                .text("transactionId", &ok.transaction_id)
                .der("profileMetadata", &ok.profile_meta_data)
                .der("smdpSigned2", &ok.smdp_signed2)
                .der("smdpSignature2", &ok.smdp_signature2)
                .der("smdpCertificate", &ok.smdp_certificate),
            Self::AuthenticateClientEs11(Ok(ok)) => {
                let entry = |entry: &EventEntries| {
                    Writer::new()
                        .text("eventId", &entry.event_id)
                        .text("rspServerAddress", &entry.rsp_server_address)
                        .into_value()
                };
                success().text("transactionId", &ok.transaction_id).value(
                    "eventEntries",
                    ok.event_entries.iter().map(entry).collect::<Vec<_>>(),
                )
            }
            Self::GetBoundProfilePackage(Ok(ok)) => success()
                .text("transactionId", &ok.transaction_id)
                .der("boundProfilePackage", &ok.bound_profile_package),
            Self::CancelSession(Ok(())) => success(),
            Self::HandleNotification => return None,
            Self::InitiateAuthentication(Err(failure))
            | Self::AuthenticateClient(Err(failure))
            | Self::AuthenticateClientEs11(Err(failure))
            | Self::GetBoundProfilePackage(Err(failure))
            | Self::CancelSession(Err(failure)) => failed(failure),
        };
        Some(body.into_body())
    }
}

fn initiate_authentication_ok(body: &Object<'_>) -> Result<InitiateAuthenticationOkEs9, Error> {
    Ok(InitiateAuthenticationOkEs9 {
        transaction_id: body.required("transactionId", Member::parsed)?,
        server_signed1: body.required("serverSigned1", Member::der)?,
        server_signature1: body.required("serverSignature1", Member::signature)?,
        euicc_ci_pk_id_to_be_used: body.required("euiccCiPKIdToBeUsed", Member::key_identifier)?,
        server_certificate: body.required("serverCertificate", Member::der)?,
        other_certs_in_chain: body.optional("otherCertsInChain", |m| m.array(Member::der))?,
        extensions: Extensions::default(),
    })
}

fn authenticate_client_ok(body: &Object<'_>) -> Result<AuthenticateClientOk, Error> {
    Ok(AuthenticateClientOk {
        transaction_id: body.required("transactionId", Member::parsed)?,
        profile_meta_data: body.required("profileMetadata", Member::der)?,
        smdp_signed2: body.required("smdpSigned2", Member::der)?,
        smdp_signature2: body.required("smdpSignature2", Member::signature)?,
        smdp_certificate: body.required("smdpCertificate", Member::der)?,
        extensions: Extensions::default(),
    })
}

fn authenticate_client_ok_es11(body: &Object<'_>) -> Result<AuthenticateClientOkEs11, Error> {
    let entry = |member: Member<'_>| {
        let entry = member.object()?;
        Ok(EventEntries {
            event_id: entry.required("eventEntries.eventId", Member::text)?,
            rsp_server_address: entry.required("eventEntries.rspServerAddress", Member::text)?,
            extensions: Extensions::default(),
        })
    };
    Ok(AuthenticateClientOkEs11 {
        transaction_id: body.required("transactionId", Member::parsed)?,
        event_entries: body.required("eventEntries", |member| member.array(entry))?,
        extensions: Extensions::default(),
    })
}

fn bound_profile_package_ok(body: &Object<'_>) -> Result<GetBoundProfilePackageOk, Error> {
    Ok(GetBoundProfilePackageOk {
        transaction_id: body.required("transactionId", Member::parsed)?,
        bound_profile_package: body.required("boundProfilePackage", Member::der)?,
        extensions: Extensions::default(),
    })
}
