//! Watches a daemon from outside while it works: its status page for what is durable, /proc for what it costs.
//! Knows nothing of what is measured, or why.

use super::SOURCE;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tidewire_testkit::{Daemon, process};

/// Between two looks until something is durable, which is a time of its own, and afterwards.
const EAGER: Duration = Duration::from_millis(5);
pub(super) const GLANCE: Duration = Duration::from_millis(20);
/// Nothing measured here takes this long.
const LIMIT: Duration = Duration::from_secs(300);
/// The unit of CPU times in /proc, the same on every Linux of this architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a daemon took to make so many changes durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Changes durable in the sink.
    pub(super) changes: u64,
    /// From the start of the process until all were.
    pub(super) wall: Duration,
    /// From the start of the process until the first were.
    pub(super) first: Duration,
    /// CPU of all threads, kernel's part included.
    pub(super) cpu: Duration,
    /// Largest resident memory, in KiB.
    pub(super) peak_kib: u64,
}

/// Starts a daemon, waits until its sink holds `changes` more changes, and stops it.
pub(super) fn work(daemon: &mut Daemon, sink: &str, changes: u64) -> Result<Sample> {
    let start = Instant::now();
    daemon.run()?;
    let sample = watch(daemon, sink, changes, start).with_context(|| {
        format!("the daemon's log ends with:\n{}", process::tail(&daemon.log().unwrap_or_default()))
    })?;
    daemon.terminate()?;
    Ok(sample)
}

/// Waits until the sink holds at least so many changes.
pub(super) fn watch(daemon: &Daemon, sink: &str, changes: u64, start: Instant) -> Result<Sample> {
    let pid = daemon.pid().context("the daemon does not run")?;
    let mut first = None;
    loop {
        let wall = start.elapsed();
        let durable = match daemon.status() {
            Ok(status) => durable(&status, sink)?,
            // The page is not there yet, or no longer: then there is no process either.
            Err(error) if !Path::new(&format!("/proc/{pid}/stat")).exists() => return Err(error),
            Err(_) => 0,
        };
        if durable > 0 {
            first.get_or_insert_with(|| start.elapsed());
        }
        if durable >= changes {
            let (wall, cpu, peak_kib) = (start.elapsed(), cpu(pid)?, peak_kib(pid)?);
            return Ok(Sample { changes: durable, wall, first: first.unwrap_or(wall), cpu, peak_kib });
        }
        if wall > LIMIT {
            bail!("only {durable} of {changes} changes are durable after {} s", LIMIT.as_secs());
        }
        std::thread::sleep(if first.is_some() { GLANCE } else { EAGER });
    }
}

/// Changes that a sink holds, by the status page. A sink or source that waits for a person will never hold more.
fn durable(status: &Value, sink: &str) -> Result<u64> {
    let source = status.get("sources").and_then(|sources| sources.get(SOURCE));
    let sink = source.and_then(|source| source.get("sinks")?.get(sink));
    for part in [source, sink].into_iter().flatten() {
        if part.get("state").is_some_and(|state| state == "halted") {
            bail!("halted: {}", part.get("reason").unwrap_or(&Value::Null));
        }
    }
    Ok(sink.and_then(|sink| sink.get("changes_committed")?.as_u64()).unwrap_or_default())
}

/// CPU time of a process with all its threads: user and system.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read the process's times")?;
    // Fields count from 3 after the name, which may hold anything: utime is 14, stime 15.
    let (_, rest) = stat.rsplit_once(") ").context("no name in the process's times")?;
    let ticks: u64 = rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

fn peak_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read the process's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    line.trim().trim_end_matches(" kB").parse().context("read VmHWM")
}
