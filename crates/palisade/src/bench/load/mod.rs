//! Load from devices, made in a process of its own so that what the servers use can be told apart.
//!
//! The process is this program again with a hidden command. It takes one [`Job`] a line on its standard input and answers
//! each with one [`Done`] a line on its standard output. Its connections stay open from job to job. It runs in one thread and
//! reads answers with as little work as possible, so that it is never the slower side.

mod channel;
mod device;
mod worker;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use rsp::binding::http::{AdminProtocol, CONTENT_TYPE_ASN1, HEADER_ADMIN_PROTOCOL, UserAgent};
use serde::{Deserialize, Serialize};

pub(super) use device::{ICCIDS, poll};
pub(crate) use worker::run;

/// One piece of work for the client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    /// The server.
    pub(super) address: SocketAddr,
    /// Its key: SubjectPublicKeyInfo, DER in hexadecimal.
    pub(super) pin: String,
    /// Connections, which share the work.
    pub(super) connections: usize,
    /// Devices that take turns, spread evenly over those that are registered.
    pub(super) devices: u32,
    pub(super) registered: u32,
    pub(super) work: Work,
}

/// What a client does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Work {
    /// Opens the connections.
    Connect,
    /// Polls once for each device.
    PollEach,
    /// Polls for as many milliseconds.
    PollFor(u64),
    /// For each device: polls, signs a result for the package that comes, delivers it.
    /// The eUICC key is PKCS#8 PEM.
    Cycle { euicc_key: String },
}

/// What came of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Done {
    /// Polls or cycles.
    pub(super) count: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the client.
    pub(super) cpu: Duration,
    /// The first thing that went wrong, after which nothing counts.
    pub(super) problem: Option<String>,
}

/// The client's process. It ends with this value.
pub(super) struct Load {
    child: Child,
    jobs: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Load {
    /// Starts it.
    pub(super) fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program cannot be found")?;
        let mut child = Command::new(program)
            .args(["bench", "load"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the client's process cannot be started")?;
        let jobs = child.stdin.take().context("no way to the client")?;
        let answers = BufReader::new(child.stdout.take().context("no way from the client")?);
        Ok(Self {
            child,
            jobs,
            answers,
        })
    }

    /// Has it do one job and waits for the end.
    pub(super) fn run(&mut self, job: &Job) -> anyhow::Result<Done> {
        let mut line = serde_json::to_string(job)?;
        line.push('\n');
        self.jobs
            .write_all(line.as_bytes())
            .context("the client is gone")?;
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .context("the client is gone")?;
        let done: Done = serde_json::from_str(&answer).context("the client broke off")?;
        match done.problem {
            Some(problem) => bail!("the client cannot go on: {problem}"),
            None => Ok(done),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Header fields of a device's request.
pub(super) fn headers() -> anyhow::Result<HeaderMap> {
    let version = HeaderValue::from_str(&AdminProtocol::DEFAULT.to_string())?;
    Ok(HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_ASN1)),
        (
            USER_AGENT,
            HeaderValue::from_static(UserAgent::Ipad.as_str()),
        ),
        (
            HeaderName::from_bytes(HEADER_ADMIN_PROTOCOL.as_bytes())?,
            version,
        ),
    ]))
}
