//! What the operating system says about this process and this machine (Linux, proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

/// CPU time of the threads of this process, by the name of the thread.
#[derive(Debug, Clone, Default)]
pub(super) struct CpuTimes(BTreeMap<String, Duration>);

impl CpuTimes {
    /// Now. A thread that runs at this moment may be counted short by one tick of the scheduler.
    pub(super) fn now() -> anyhow::Result<Self> {
        let mut times = BTreeMap::<String, Duration>::new();
        for task in fs::read_dir("/proc/self/task").context("the threads cannot be listed")? {
            let task = task?.path();
            // A thread may have ended since the folder was read.
            let (Ok(name), Ok(time)) = (fs::read_to_string(task.join("comm")), on_cpu(&task))
            else {
                continue;
            };
            *times.entry(name.trim().to_owned()).or_default() += time;
        }
        Ok(Self(times))
    }

    /// Since then, of the threads with these names.
    pub(super) fn since(&self, then: &Self, names: &[&str]) -> Duration {
        let of = |times: &Self, name: &str| times.0.get(name).copied().unwrap_or_default();
        names
            .iter()
            .map(|&name| of(self, name).saturating_sub(of(then, name)))
            .sum()
    }
}

/// CPU time of the calling thread.
pub(super) fn this_thread() -> anyhow::Result<Duration> {
    on_cpu(Path::new("/proc/thread-self"))
}

/// CPU time of this process.
pub(super) fn this_process() -> anyhow::Result<Duration> {
    Ok(CpuTimes::now()?.0.values().sum())
}

/// CPU time of a process (`self` or its number), threads that have ended included. In steps of 10 ms.
pub(super) fn whole_process(process: &str) -> anyhow::Result<Duration> {
    /// Linux counts in hundredths of a second for programs (USER_HZ).
    const STEP: Duration = Duration::from_millis(10);
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    // The name may contain anything; behind it, the twelfth and thirteenth are those for the program and the kernel.
    let (_, behind) = stat.rsplit_once(')').context("stat has no name")?;
    let steps = behind
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|word| word.parse::<u32>().ok());
    let steps: Option<u32> = steps.sum();
    Ok(STEP * steps.context("stat has no CPU times")?)
}

/// The first number of schedstat: nanoseconds on a CPU.
fn on_cpu(task: &Path) -> anyhow::Result<Duration> {
    let path = task.join("schedstat");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{} cannot be read; CPU times are measured on Linux only",
            path.display()
        )
    })?;
    let nanos = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    Ok(Duration::from_nanos(
        nanos.context("schedstat has no number")?,
    ))
}

/// Resident memory of this process, in octets.
pub(super) fn resident() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("no memory figures")?;
    Ok(kibibytes(&status, "VmRSS:").context("no VmRSS")? * 1024)
}

/// The machine that was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cpus: usize,
    memory_mib: u64,
    kernel: String,
    /// Of this program; measurements of an unoptimised one mean nothing.
    is_optimised: bool,
    /// Mean number of processes that wanted a CPU in the minute before.
    load_before: f64,
}

impl Machine {
    pub(super) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(
                || std::env::consts::ARCH.to_owned(),
                |(_, name)| name.to_owned(),
            );
        let load = read("/proc/loadavg");
        Self {
            cpu,
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
            memory_mib: kibibytes(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default() / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            is_optimised: !cfg!(debug_assertions),
            load_before: load
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or_default(),
        }
    }

    /// For people, one line.
    pub(super) fn describe(&self) -> String {
        format!(
            "{} CPUs ({}), {} MiB memory, Linux {}, load before {:.2}{}",
            self.cpus,
            self.cpu,
            self.memory_mib,
            self.kernel,
            self.load_before,
            if self.is_optimised {
                ""
            } else {
                "; NOT OPTIMISED: build with --release"
            }
        )
    }
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_time_of_its_thread_alone() {
        let before = CpuTimes::now().unwrap();
        let worker = std::thread::Builder::new().name("busy".to_owned());
        let worker = worker.spawn(|| {
            let mut sum = 0_u64;
            while this_thread().unwrap() < Duration::from_millis(60) {
                sum = std::hint::black_box((0..10_000_u64).sum());
            }
            let times = CpuTimes::now().unwrap();
            (sum, times)
        });
        let (_, after) = worker.unwrap().join().unwrap();
        assert!(after.since(&before, &["busy"]) >= Duration::from_millis(40));
        assert!(after.since(&before, &["nobody"]).is_zero());
    }

    #[test]
    fn threads_that_have_ended_count_for_their_process() {
        let before = whole_process("self").unwrap();
        let worker = std::thread::spawn(|| {
            while this_thread().unwrap() < Duration::from_millis(80) {
                std::hint::black_box((0..10_000_u64).sum::<u64>());
            }
        });
        worker.join().unwrap();
        let used = whole_process("self").unwrap() - before;
        assert!(used >= Duration::from_millis(60), "{used:?}");
    }

    #[test]
    fn the_machine_has_memory_and_this_process_uses_some() {
        let machine = Machine::look();
        assert!(machine.memory_mib > 0 && machine.cpus > 0);
        assert!(resident().unwrap() > 1 << 20);
        assert_eq!(kibibytes("A: 1 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
    }
}
