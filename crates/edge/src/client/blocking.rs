use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::runtime::{Builder, Runtime};

use super::{Client, ClientError, ClientLimits, ClientOptions, Response};
use crate::tls::{TlsError, Trust};

/// A [`Client`] for plain threads, with a small runtime of its own.
///
/// Its methods block and must not be called from asynchronous code, where they panic.
#[derive(Debug)]
pub struct BlockingClient {
    client: Client,
    /// Taken only on drop.
    runtime: Option<Runtime>,
}

impl BlockingClient {
    /// A client with defaults for everything but trust and limits.
    pub fn new(trust: Trust, limits: ClientLimits) -> Result<Self, TlsError> {
        Self::with_options(ClientOptions {
            limits,
            ..ClientOptions::new(trust)
        })
    }

    /// A client.
    pub fn with_options(options: ClientOptions) -> Result<Self, TlsError> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(TlsError::Runtime)?;
        Ok(Self {
            client: Client::with_options(options)?,
            runtime: Some(runtime),
        })
    }

    /// Like [`Client::post`].
    pub fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Response, ClientError> {
        self.request(Method::POST, url, headers, body.into())
    }

    /// Like [`Client::get`].
    pub fn get(&self, url: &str, headers: HeaderMap) -> Result<Response, ClientError> {
        self.request(Method::GET, url, headers, Bytes::new())
    }

    /// Like [`Client::request`].
    pub fn request(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, ClientError> {
        match &self.runtime {
            Some(runtime) => runtime.block_on(self.client.request(method, url, headers, body)),
            None => Err(ClientError::Closed),
        }
    }

    /// Closes the connections that are kept open; the next request makes a new one.
    pub fn close_idle(&self) {
        let _context = self.runtime.as_ref().map(Runtime::enter);
        self.client.close_idle();
    }
}

impl Drop for BlockingClient {
    fn drop(&mut self) {
        self.close_idle();
        if let Some(runtime) = self.runtime.take() {
            // The usual drop waits for name resolution threads, and panics in asynchronous code.
            runtime.shutdown_background();
        }
    }
}
