//! A client of the servers that says what it wants to: the attacker's, and for devices that are led by hand.

use anyhow::{Context, bail};
use edge::client::{BlockingClient, Client, ClientOptions, Response};
use edge::tls::Trust;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use rsp::binding::http::{
    AdminProtocol, Binding, HEADER_ADMIN_PROTOCOL, Interface, PATH_ASN1, UserAgent,
};
use rsp::binding::{es9plus, esipa};
use rsp::ids::Eid;
use rsp::sgp32::{
    EimPackageResult, GetEimPackageRequest, GetEimPackageResponse, ProvideEimPackageResult,
    ProvideEimPackageResultResponse,
};

use super::pki::{EIM, SMDP};
use super::world::World;

/// One connection to each server. It stays open, so what is said on a wire is said on one connection.
pub(super) struct Wire {
    client: BlockingClient,
}

/// How a client reaches the servers of the demo, trusting the right root.
pub(super) fn options(world: &World<'_>) -> ClientOptions {
    ClientOptions {
        resolve: world.servers.resolve(),
        ..ClientOptions::new(Trust::roots([world.pki.tls_root()]))
    }
}

/// The same for asynchronous code.
pub(super) fn client(world: &World<'_>) -> anyhow::Result<Client> {
    Ok(Client::with_options(options(world))?)
}

impl Wire {
    pub(super) fn new(world: &World<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            client: BlockingClient::with_options(options(world))?,
        })
    }

    /// Sends a body and gives the answer, whatever it is.
    pub(super) fn post(
        &self,
        host: &str,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<Response> {
        let headers = headers(content_type)?;
        Ok(self
            .client
            .post(&format!("https://{host}{path}"), headers, body)?)
    }

    /// Calls a function of ESipa in the ASN.1 binding. `None`: the eIM did not accept it (HTTP 403).
    pub(super) fn esipa(
        &self,
        request: &esipa::Request,
    ) -> anyhow::Result<Option<esipa::Response>> {
        let answer = self.post(
            EIM,
            PATH_ASN1,
            Binding::Asn1.content_type(),
            request.to_asn1(),
        )?;
        match answer.status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(Some(esipa::Response::from_asn1(
                request.function(),
                &answer.body,
            )?)),
            StatusCode::FORBIDDEN => Ok(None),
            status => bail!("the eIM answered with HTTP {status}"),
        }
    }

    /// GetEimPackage.
    pub(super) fn poll(&self, eid: Eid) -> anyhow::Result<GetEimPackageResponse> {
        let request = esipa::Request::GetEimPackage(GetEimPackageRequest {
            eid_value: eid.to_field(),
            notify_state_change: None,
            state_change_cause: None,
            r_plmn: None,
            extensions: Default::default(),
        });
        match self.esipa(&request)? {
            Some(esipa::Response::GetEimPackage(response)) => Ok(response),
            other => bail!("GetEimPackage was answered with {other:?}"),
        }
    }

    /// ProvideEimPackageResult.
    pub(super) fn provide(
        &self,
        eid: Eid,
        eim_package_result: EimPackageResult,
    ) -> anyhow::Result<ProvideEimPackageResultResponse> {
        let request = esipa::Request::ProvideEimPackageResult(ProvideEimPackageResult {
            eid_value: Some(eid.to_field()),
            eim_package_result,
            extensions: Default::default(),
        });
        match self.esipa(&request)? {
            Some(esipa::Response::ProvideEimPackageResult(response)) => Ok(response),
            other => bail!("ProvideEimPackageResult was answered with {other:?}"),
        }
    }

    /// Calls a function of ES9+ in the JSON binding.
    pub(super) fn es9(&self, request: &es9plus::Request) -> anyhow::Result<es9plus::Response> {
        let (function, body) = request.to_json();
        let path = Interface::Es9Plus.path(function);
        let answer = self.post(SMDP, &path, Binding::Json.content_type(), body)?;
        match answer.status {
            StatusCode::OK => Ok(es9plus::Response::from_json(
                request.function(),
                &answer.body,
            )?),
            StatusCode::NO_CONTENT => Ok(es9plus::Response::HandleNotification),
            status => bail!("the SM-DP+ answered with HTTP {status}"),
        }
    }
}

fn headers(content_type: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type)?);
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(UserAgent::Ipad.as_str()),
    );
    let version =
        HeaderValue::from_str(&AdminProtocol::DEFAULT.to_string()).context("no version")?;
    headers.insert(
        HeaderName::from_bytes(HEADER_ADMIN_PROTOCOL.as_bytes())?,
        version,
    );
    Ok(headers)
}
