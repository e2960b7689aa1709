//! The client's process.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use pki::PrivateKey;
use rsp::ids::Eid;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::channel::Channel;
use super::{Done, Job, Work, device};
use crate::bench::{site, usage};

/// Does the jobs on the standard input until there are no more.
pub(crate) fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let mut client = Client::default();
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?).context("not a job")?;
        let done = client.answer(&runtime, &job);
        let mut line = serde_json::to_string(&done)?;
        line.push('\n');
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Client {
    channels: HashMap<SocketAddr, Vec<Channel>>,
    eids: Vec<Eid>,
}

impl Client {
    fn answer(&mut self, runtime: &Runtime, job: &Job) -> Done {
        let worked = self.prepare(runtime, job).and_then(|channels| {
            let (begun, cpu) = (Instant::now(), usage::this_process()?);
            let (count, channels) = runtime.block_on(work(job, channels, &self.eids))?;
            let (elapsed, cpu) = (begun.elapsed(), usage::this_process()?.saturating_sub(cpu));
            self.channels.insert(job.address, channels);
            Ok(Done {
                count,
                elapsed,
                cpu,
                problem: None,
            })
        });
        worked.unwrap_or_else(|problem| Done {
            count: 0,
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
            problem: Some(format!("{problem:#}")),
        })
    }

    /// Everything that is not to be measured.
    fn prepare(&mut self, runtime: &Runtime, job: &Job) -> anyhow::Result<Vec<Channel>> {
        let numbers = site::spread(job.devices, job.registered);
        self.eids = numbers.map(site::eid).collect::<Result<_, _>>()?;
        match self.channels.remove(&job.address) {
            Some(channels) if channels.len() == job.connections => Ok(channels),
            _ => runtime.block_on(Channel::open_all(job)),
        }
    }
}

/// Shares the devices out to the connections and waits until all are done.
async fn work(
    job: &Job,
    channels: Vec<Channel>,
    eids: &[Eid],
) -> anyhow::Result<(u64, Vec<Channel>)> {
    let end = match job.work {
        Work::PollFor(millis) => Some(Instant::now() + Duration::from_millis(millis)),
        _ => None,
    };
    let key = match &job.work {
        Work::Cycle { euicc_key } => Some(PrivateKey::from_pem(euicc_key)?),
        _ => None,
    };
    let count = channels.len();
    let mut tasks = JoinSet::new();
    for (index, mut channel) in channels.into_iter().enumerate() {
        let share: Vec<Eid> = eids.iter().skip(index).step_by(count).copied().collect();
        let (work, key) = (job.work.clone(), key.clone());
        tasks.spawn(async move {
            let count = match (work, key) {
                (Work::Connect, _) => 0,
                (Work::Cycle { .. }, Some(key)) => cycles(&mut channel, &share, &key).await?,
                _ => polls(&mut channel, &share, end).await?,
            };
            anyhow::Ok((count, channel))
        });
    }
    let mut total = 0;
    let mut channels = Vec::with_capacity(count);
    while let Some(ended) = tasks.join_next().await {
        let (count, channel) = ended??;
        total += count;
        channels.push(channel);
    }
    Ok((total, channels))
}

/// Polls for the devices in turn, until `end` or once for each.
async fn polls(channel: &mut Channel, eids: &[Eid], end: Option<Instant>) -> anyhow::Result<u64> {
    let nothing = device::nothing();
    let mut count = 0;
    loop {
        for eid in eids {
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(count);
            }
            let answer = channel.post(&device::poll(*eid)).await?;
            ensure!(answer == nothing, "device {eid} should have nothing to do");
            count += 1;
        }
        if end.is_none() || eids.is_empty() {
            return Ok(count);
        }
    }
}

/// One package for each device, to its acknowledged result.
async fn cycles(channel: &mut Channel, eids: &[Eid], key: &PrivateKey) -> anyhow::Result<u64> {
    let mut count = 0;
    for eid in eids {
        let answer = channel.post(&device::poll(*eid)).await?;
        let (result, seq_number) = device::result(*eid, answer, key)?;
        let answer = channel.post(&result).await?;
        ensure!(
            device::is_acknowledged(answer, seq_number)?,
            "the result of device {eid} was not accepted"
        );
        count += 1;
    }
    Ok(count)
}
