//! HTTP/1.1 over one kept-alive connection, reduced to what a measurement needs.

use std::io;

use anyhow::{Context, bail};
use edge::client::{Client, ClientLimits, ClientOptions};
use edge::tls::Trust;
use rsp::binding::http::PATH_ASN1;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Job, headers};
use crate::bench::site::EIM;

/// One connection.
pub(super) struct Channel {
    stream: Box<dyn Stream>,
    head: Vec<u8>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The largest answer read, in octets.
const ANSWER_OCTETS_MAX: usize = 64 * 1024;

impl Channel {
    /// Opens as many connections as the job asks for.
    pub(super) async fn open_all(job: &Job) -> anyhow::Result<Vec<Self>> {
        let pin = hex::decode(&job.pin).context("the pin is not hexadecimal")?;
        let options = ClientOptions {
            limits: ClientLimits {
                connections_max: job.connections,
                ..ClientLimits::default()
            },
            resolve: vec![(EIM.to_owned(), job.address)],
            ..ClientOptions::new(Trust::PinnedSpki(pin))
        };
        let client = Client::with_options(options)?;
        let head = head()?;
        let mut channels = Vec::new();
        for _ in 0..job.connections {
            channels.push(Self {
                stream: Box::new(client.open(&format!("https://{EIM}")).await?),
                head: head.clone(),
                request: Vec::new(),
                answer: Vec::new(),
            });
        }
        Ok(channels)
    }

    /// Posts `body` and returns the body of the answer, whose status must be 200.
    pub(super) async fn post(&mut self, body: &[u8]) -> anyhow::Result<&[u8]> {
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        self.request
            .extend_from_slice(body.len().to_string().as_bytes());
        self.request.extend_from_slice(b"\r\n\r\n");
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;
        self.stream.flush().await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if let Some((start, end)) = body_of(&self.answer)?
                && self.answer.len() >= end
            {
                return self
                    .answer
                    .get(start..end)
                    .context("an answer without an end");
            }
            if self.answer.len() > ANSWER_OCTETS_MAX {
                bail!("an answer has more than {ANSWER_OCTETS_MAX} octets");
            }
        }
    }
}

/// Everything in front of the number of octets in the body.
fn head() -> anyhow::Result<Vec<u8>> {
    let mut head = format!("POST {PATH_ASN1} HTTP/1.1\r\nhost: {EIM}\r\n");
    for (name, value) in &headers()? {
        head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
    }
    head.push_str("content-length: ");
    Ok(head.into_bytes())
}

/// Where the body begins and ends, once the head is there.
fn body_of(answer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|octets| octets == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(answer.get(..end).unwrap_or_default())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200") {
        bail!("the server answered {status:?}");
    }
    let length = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse::<usize>().ok())
        .context("an answer without its length")?;
    Ok(Some((end + 4, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_by_their_length() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx: y\r\n\r\nabcd";
        assert_eq!(body_of(whole).unwrap(), Some((44, 47)));
        assert_eq!(&whole[44..47], b"abc");
        assert_eq!(body_of(&whole[..20]).unwrap(), None);
        assert!(body_of(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(body_of(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
