//! The same authority as a process of its own, asked over its socket as the eIM asks it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::Context;
use eim::authority::Authority as _;
use tokio::task::JoinSet;

use super::floors;
use super::site::Site;
use super::{Asking, Round, fresh};
use crate::authority::{AuthorityClient, Child, Connection};
use crate::bench::usage::whole_process;
use crate::config::LogSection;

/// An authority in another process.
pub(super) struct Process {
    runtime: tokio::runtime::Runtime,
    client: Arc<AuthorityClient>,
    child: Child,
    pid: u64,
}

impl Process {
    /// Starts one on the record of the site.
    pub(super) fn start(site: &Site) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        let client = Arc::new(AuthorityClient::new(Connection::socket(
            site.place.socket(),
        )));
        // There is no such file: nothing is remembered.
        let remembered = site.folder.path().join("nothing-remembered");
        let log = LogSection {
            filter: "warn".to_owned(),
            ..LogSection::default()
        };
        let (child, pid) = runtime.block_on(async {
            let child = Child::start(&site.place, &remembered, &log, &client).await?;
            let status = client.status().await??;
            let pid = status.get("pid").and_then(serde_json::Value::as_u64);
            anyhow::Ok((child, pid.context("the authority does not say who it is")?))
        })?;
        Ok(Self {
            runtime,
            client,
            child,
            pid,
        })
    }

    /// Asks for `time`, beside bare signatures.
    pub(super) fn measure(
        &self,
        asking: &Asking,
        site: &Site,
        numbers: &Arc<AtomicU64>,
        time: Duration,
    ) -> anyhow::Result<Round> {
        let floor = floors::signatures(&site.signing_key, time / 4)?;
        let eids: Arc<[_]> = site.eids.as_slice().into();
        let cpu = || anyhow::Ok(whole_process("self")? + whole_process(&self.pid.to_string())?);
        let before = cpu()?;
        let begun = Instant::now();
        let times = self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..asking.in_flight {
                let (client, eids) = (Arc::clone(&self.client), Arc::clone(&eids));
                let (numbers, count) = (Arc::clone(numbers), asking.references);
                tasks.spawn(async move {
                    let mut times = Vec::new();
                    while begun.elapsed() < time {
                        let references = fresh(&eids, &numbers, count);
                        let asked = Instant::now();
                        for answer in client.sign(&references).await? {
                            answer?;
                        }
                        times.push(asked.elapsed().as_secs_f64() * 1e6);
                    }
                    anyhow::Ok(times)
                });
            }
            let mut times = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                times.extend(ended.context("a task broke off")??);
            }
            anyhow::Ok(times)
        })?;
        Ok(Round {
            floor,
            elapsed: begun.elapsed(),
            cpu: cpu()?.saturating_sub(before),
            times,
        })
    }

    /// Stops it and waits for its end.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.runtime.block_on(self.child.stop())
    }
}
