//! Watches a site from the side while it is tortured: that the source was never told to forget what a sink does not hold,
//! that no sink goes back, that the daemon's memory stays in bounds, that nothing stands still for long.

use super::brokers::Brokers;
use super::lake::Files;
use super::site::Site;
use super::source::{Address, Place, Server, Session};
use crate::kafka::Tail;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const PACE: Duration = Duration::from_millis(100);
/// How long a committed record may take to be shown to readers by a broker that is well.
const SHOWN: Duration = Duration::from_secs(20);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Times that what was acknowledged was compared with what the sinks held.
    pub(super) compared: u64,
    /// Most memory of the daemon, in KiB.
    pub(super) peak_kib: u64,
    /// Longest time without progress while nothing failed.
    pub(super) longest_stall: Duration,
}

/// A watch under way.
#[derive(Debug)]
pub(super) struct Watch {
    thread: Option<JoinHandle<Result<()>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Of the daemon; 0 while there is none.
    pid: AtomicU32,
    /// Something fails on purpose.
    excused: AtomicBool,
    seen: Mutex<Seen>,
}

impl Watch {
    pub(super) fn start(site: &Site) -> Result<Watch> {
        let shared = Arc::new(Shared::default());
        let mut round = Round {
            address: site.address.clone(),
            session: None,
            progress: site.lake.as_ref().map(|lake| lake.files("_tidewire/progress/shop/_delta_log")),
            brokers: site.kafka.as_ref().map(Brokers::addresses),
            tail: None,
            lake: None,
            events: None,
            moved: Instant::now(),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::spawn(move || {
            while !round.shared.stop.load(Ordering::Relaxed) {
                round.look()?;
                std::thread::sleep(PACE);
            }
            Ok(())
        });
        Ok(Watch { thread: Some(thread), shared })
    }

    /// Another process, or none.
    pub(super) fn daemon(&self, pid: Option<u32>) {
        self.shared.pid.store(pid.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether something fails on purpose, so that nothing need move.
    pub(super) fn excuse(&self, excused: bool) {
        self.shared.excused.store(excused, Ordering::Relaxed);
    }

    /// Whether it has found something already.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(super) fn end(mut self) -> Result<Seen> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the watch panicked"))??;
        }
        Ok(self.shared.lock().clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Round {
    address: Address,
    session: Option<Session>,
    /// Log of the lake's progress.
    progress: Option<Files>,
    brokers: Option<String>,
    /// Of the events' progress, once there is one.
    tail: Option<Tail>,
    lake: Option<Place>,
    events: Option<Place>,
    /// When a sink last came further.
    moved: Instant,
    shared: Arc<Shared>,
}

impl Round {
    fn look(&mut self) -> Result<()> {
        // First what the source may forget, then what the sinks hold: they may only have come further in between.
        let acknowledged = self.acknowledged();
        let before = (self.lake, self.events);
        self.read_lake()?;
        self.read_events(Duration::ZERO)?;
        if let Some(acknowledged) = acknowledged {
            self.compare(acknowledged)?;
        }
        let excused = self.shared.excused.load(Ordering::Relaxed);
        let pid = self.shared.pid.load(Ordering::Relaxed);
        let mut seen = self.shared.lock();
        if excused || before != (self.lake, self.events) {
            self.moved = Instant::now();
        }
        seen.longest_stall = seen.longest_stall.max(self.moved.elapsed());
        if pid != 0 {
            seen.peak_kib = seen.peak_kib.max(resident_kib(pid));
        }
        Ok(())
    }

    /// As the server shows it; nothing while it is away.
    fn acknowledged(&mut self) -> Option<Place> {
        if self.session.is_none() {
            self.session = self.address.connect().ok();
        }
        let asked = self.session.as_ref().map(Server::acknowledged);
        if asked.as_ref().is_none_or(Result::is_err) {
            self.session = None;
        }
        asked?.ok()?
    }

    fn compare(&mut self, acknowledged: Place) -> Result<()> {
        let mut compared = false;
        if let (Some(_), Some(held)) = (&self.progress, self.lake) {
            ensure!(
                acknowledged <= held,
                "the source was told to forget up to {acknowledged:?}; the lake holds {held:?}"
            );
            compared = true;
        }
        let end = Instant::now() + SHOWN;
        while let (Some(_), Some(held)) = (&self.tail, self.events) {
            if acknowledged <= held {
                compared = true;
                break;
            }
            // A commit is shown a moment after it was made; a broker that fails on purpose shows nothing.
            if self.shared.excused.load(Ordering::Relaxed) || self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            ensure!(
                Instant::now() < end,
                "the source was told to forget up to {acknowledged:?}; the events hold {held:?} after {} s",
                SHOWN.as_secs()
            );
            self.read_events(PACE)?;
        }
        self.shared.lock().compared += u64::from(compared);
        Ok(())
    }

    fn read_lake(&mut self) -> Result<()> {
        let Some(place) = self.progress.as_ref().map(newest).transpose()?.flatten() else { return Ok(()) };
        ensure!(Some(place) >= self.lake, "the lake went back from {:?} to {place:?}", self.lake);
        self.lake = Some(place);
        Ok(())
    }

    fn read_events(&mut self, limit: Duration) -> Result<()> {
        if let (None, Some(brokers)) = (&self.tail, &self.brokers) {
            self.tail = Tail::of(brokers, "tidewire-progress");
        }
        let Some(tail) = &self.tail else { return Ok(()) };
        let mut limit = limit;
        while let Some(record) = tail.next(limit) {
            limit = Duration::ZERO;
            let Some(value) = record.value else { continue };
            let value: Value = serde_json::from_slice(&value).context("read the events' progress")?;
            let Some(place) = value.get("position").map(place).transpose()?.flatten() else { continue };
            ensure!(Some(place) >= self.events, "the events went back from {:?} to {place:?}", self.events);
            self.events = Some(place);
        }
        Ok(())
    }
}

/// The place in the newest entry of the progress's log that tells one: a new instance's claim does not.
fn newest(log: &Files) -> Result<Option<Place>> {
    let names = log.names();
    for name in names.iter().rev().filter(|name| name.ends_with(".json") && !name.starts_with('.')) {
        // Entries behind a checkpoint are removed.
        let Some(text) = log.text(name) else { return Ok(None) };
        for line in text.lines() {
            let action: Value = serde_json::from_str(line).context("read the lake's progress")?;
            let Some(metadata) = action.get("domainMetadata") else { continue };
            let member = |name: &str| metadata.get(name).and_then(Value::as_str);
            if member("domain") == Some("tidewire.progress") {
                let text = member("configuration").context("a progress without its text")?;
                let progress: Value = serde_json::from_str(text).context("read the lake's progress")?;
                return find(&progress, "position").map(place).transpose().map(Option::flatten);
            }
        }
    }
    Ok(None)
}

/// A position as a text, or as an object that has it; null before the stream has begun.
fn place(position: &Value) -> Result<Option<Place>> {
    match position {
        Value::Null => Ok(None),
        Value::String(text) => Place::of(text).map(Some),
        other => match other.get("text").and_then(Value::as_str) {
            Some(text) => Place::of(text).map(Some),
            None => bail!("`{other}` is no position"),
        },
    }
}

/// The first value of this name, however deep.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    members.get(name).or_else(|| members.values().find_map(|inner| find(inner, name)))
}

/// Memory of a process; 0 when it is gone.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
