//! The control socket, spoken to by hand: what matters here is at which point an exchange breaks.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::PATIENCE;

/// The control socket of a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Control(PathBuf);

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The request did not leave.
    NotSent,
    /// The server may have executed the request.
    Unanswered,
}

impl Control {
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.join("control.sock"))
    }

    pub(crate) fn get(&self, path: &str) -> Result<(u16, Value), Broken> {
        self.exchange("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Result<(u16, Value), Broken> {
        self.exchange("POST", path, &[], body)
    }

    /// With header fields of its own: a signed request.
    pub(crate) fn post_with(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<(u16, Value), Broken> {
        self.exchange("POST", path, fields, body)
    }

    /// What a server that is not being killed answers with success.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> Value {
        let (status, answer) = self.get(path).unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<(u16, Value), Broken> {
        let mut stream = UnixStream::connect(&self.0).map_err(|_| Broken::NotSent)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()));
        sent.map_err(|_| Broken::Unanswered)?;
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .map_err(|_| Broken::Unanswered)?;
        whole_answer(&answer).ok_or(Broken::Unanswered)
    }
}

/// `None` when the server died while it wrote.
fn whole_answer(answer: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    })?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    let body = (body.len() == length).then_some(body)?;
    Some((status, serde_json::from_str(body).ok()?))
}
