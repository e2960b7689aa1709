//! The commands' side of the control socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use console::Problem;

/// Calls a running server.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    start_hint: String,
    runtime: Runtime,
}

/// Nobody listens on the socket.
#[derive(Debug, thiserror::Error)]
#[error("no server runs on {}; start it with: {start_hint}", folder.display())]
pub(crate) struct NotRunning {
    folder: PathBuf,
    start_hint: String,
}

/// Longer than any verb of the server takes; imports of large files take longest.
const TIMEOUT: Duration = Duration::from_secs(300);
const ANSWER_OCTETS_MAX: usize = 256 << 20;

impl Client {
    /// For the eIM with this data folder.
    pub(crate) fn of_eim(data: &Path) -> anyhow::Result<Self> {
        let hint = format!("palisade serve --data {}", data.display());
        Self::new(data.join(super::EIM_SOCKET), hint)
    }

    /// For any socket; `start_hint` is the command that starts its server.
    pub(crate) fn new(socket: PathBuf, start_hint: String) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        Ok(Self {
            socket,
            start_hint,
            runtime,
        })
    }

    /// Reads.
    ///
    /// # Errors
    /// [`NotRunning`] without a server, [`Problem`] when the server says no.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, Bytes::new())
    }

    /// Reads octets as they are.
    pub(crate) fn get_octets(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        Ok(self.octets(Method::GET, path, Bytes::new(), &[])?.to_vec())
    }

    /// Changes, with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Value> {
        let body = serde_json::to_vec(body).context("the request cannot be encoded")?;
        self.call(Method::POST, path, body.into())
    }

    /// Changes, with a body that is sent as it is, and header fields that say how it was signed.
    pub(crate) fn post_signed(
        &self,
        path: &str,
        body: Vec<u8>,
        fields: &[(&'static str, &str)],
    ) -> anyhow::Result<Value> {
        self.call_with(Method::POST, path, body.into(), fields)
    }

    fn call(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        self.call_with(method, path, body, &[])
    }

    fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        fields: &[(&'static str, &str)],
    ) -> anyhow::Result<Value> {
        let body = self.octets(method, path, body, fields)?;
        serde_json::from_slice(&body).context("the server's answer cannot be read")
    }

    fn octets(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        fields: &[(&'static str, &str)],
    ) -> anyhow::Result<Bytes> {
        let exchange = self.exchange(method, path, body, fields);
        let (is_success, body) = self
            .runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, exchange).await })
            .with_context(|| {
                format!("the server did not answer within {} s", TIMEOUT.as_secs())
            })??;
        if is_success {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(problem.into()),
            Err(_) => bail!(
                "the server's answer cannot be read; use this program and the server in the same version"
            ),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        fields: &[(&'static str, &str)],
    ) -> anyhow::Result<(bool, Bytes)> {
        let stream = match UnixStream::connect(&self.socket).await {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                let folder = self.socket.parent().map(Path::to_owned).unwrap_or_default();
                return Err(NotRunning {
                    folder,
                    start_hint: self.start_hint.clone(),
                }
                .into());
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(error).with_context(|| {
                    format!(
                        "{} is another user's; run this command as the user that runs the server",
                        self.socket.display()
                    )
                });
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{} cannot be opened", self.socket.display()));
            }
        };
        let broken = || "the exchange with the server broke off; look whether it is still running";
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .with_context(broken)?;
        // Ends when the sender is dropped; its errors come to the sender too.
        let driver = tokio::spawn(async move { connection.await.ok() });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body))
            .context("the request cannot be made")?;
        let response = sender.send_request(request).await.with_context(broken)?;
        let is_success = response.status().is_success();
        let body = Limited::new(response.into_body(), ANSWER_OCTETS_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!(error))
            .with_context(broken)?
            .to_bytes();
        drop(sender);
        driver.await.ok();
        Ok((is_success, body))
    }
}
