//! ship: one worker thread per (source, sink). Encodes, writes, commits, tries again. Owns the sink;
//! the ingest task holds the other end of both channels and outlives it.
//!
//! # Crash points
//!
//! A worker commits data and progress in the sink's own atomic step and reports `Durable` only after that
//! returned. Wherever the process ends, the sink's stored progress says what is in it; the next run drops
//! exactly that (`Progress::needs`). A sink that fails is dropped, opened anew and asked again: nothing
//! that was written and not committed counts.

use crate::retry::Pauses;
use crate::telemetry::SinkMeter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::retry::RetryPolicy;
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{Batch, Error, ErrorKind, Mark, Phase, Progress, Result, Sink, SinkConnector, failpoint};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{debug, info};

/// Batches that may wait for one sink.
pub(crate) const QUEUE_BATCHES: usize = 8;

/// Longest time without a sign of life of an idle worker.
const TICK: Duration = Duration::from_millis(500);

/// An idle queue is no reason for a commit until the last one is so many times its own length ago: a source that gives
/// just less than a sink takes would else be held up by a commit for every batch.
const COMMIT_REST: u32 = 2;
/// Longest such rest.
const COMMIT_REST_MAX: Duration = Duration::from_millis(20);

/// What the ingest task tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// The source is ready: open the sink, which takes it away from any earlier instance.
    Open,
    /// A run begins: batches of this generation follow, from a place at or before what was reported.
    Start(u64),
    /// Changes of a run. Batches of a generation that was not started are stale and dropped.
    Deliver(u64, Arc<Batch>),
    /// The run is over: commit what ends on a boundary, forget the rest, and report `Ready`.
    Settle,
    /// Commit what ends on a boundary and end.
    Close,
}

/// What a worker tells the ingest task.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which worker.
    pub worker: usize,
    /// What.
    pub event: Event,
}

/// See [`Report`].
#[derive(Debug)]
pub(crate) enum Event {
    /// The sink is open, holds this, and waits for `Start`.
    Ready(Progress),
    /// The sink holds this durably.
    Durable(Durable),
    /// The sink failed; it is being opened anew after a pause.
    Failed(Error),
    /// The sink failed for good; the worker has ended.
    Halted(Error),
    /// The worker has ended as asked.
    Closed,
}

/// What a commit made durable.
#[derive(Debug)]
pub(crate) struct Durable {
    /// All of it.
    pub progress: Progress,
    /// Changes in this commit.
    pub changes: u64,
    /// Commit time at the source of the last change, in microseconds since 1970, if there was one.
    pub commit_time_micros: Option<i64>,
}

/// A worker before its thread starts.
pub(crate) struct Worker {
    /// Its number in the source.
    pub index: usize,
    /// The source's name.
    pub source: Arc<str>,
    /// What it opens.
    pub connector: Arc<dyn SinkConnector>,
    /// From the ingest task.
    pub commands: mpsc::Receiver<Command>,
    /// To the ingest task.
    pub reports: mpsc::Sender<Report>,
    /// Pauses between attempts.
    pub(crate) retry: RetryPolicy,
    /// For waiting with a deadline.
    pub runtime: Handle,
    /// Its metrics.
    pub meter: SinkMeter,
    /// Called whenever the worker goes round its loop.
    pub alive: Box<dyn Fn() + Send>,
}

enum Turn {
    Continue,
    Close,
}

/// A sink that is open, and what has been written to it since its last commit.
struct OpenSink {
    sink: Box<dyn Sink>,
    capabilities: SinkCapabilities,
    /// What the sink holds plus what was written: what the next commit stores.
    progress: Progress,
    /// What it held when the run began: the filter of the run.
    base: Progress,
    generation: Option<u64>,
    pending: Pending,
    maintained: bool,
    /// Until then an idle queue is no reason for a commit.
    rests_until: Instant,
}

#[derive(Default)]
struct Pending {
    /// Whether there is anything that a commit would store.
    dirty: bool,
    /// Whether the last batch ended inside a transaction.
    inside_transaction: bool,
    changes: u64,
    bytes: usize,
    since: Option<Instant>,
    commit_time_micros: Option<i64>,
    scratch: Vec<u32>,
}

impl Worker {
    /// Runs until closed or halted. Blocks; for a thread of its own.
    pub(crate) fn run(mut self) {
        let guard = PanicGuard { index: self.index, reports: self.reports.clone() };
        let mut pauses = Pauses::new(self.retry);
        if !self.wait_to_open() {
            self.report(Event::Closed);
            return;
        }
        loop {
            let error = match self.open_and_serve(&mut pauses) {
                Ok(()) => {
                    self.report(Event::Closed);
                    break;
                }
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Retry {
                self.report(Event::Halted(error));
                break;
            }
            self.meter.retried(error.code());
            self.report(Event::Failed(error));
            if let Turn::Close = self.pause(pauses.next_pause()) {
                self.report(Event::Closed);
                break;
            }
        }
        drop(guard);
    }

    /// Whether the sink is to be opened; `false` when the worker is closed before.
    fn wait_to_open(&mut self) -> bool {
        loop {
            (self.alive)();
            match self.receive(TICK) {
                Some(Some(Command::Open)) => return true,
                Some(Some(Command::Close)) | None => return false,
                Some(_) => {}
            }
        }
    }

    fn report(&self, event: Event) {
        // The ingest task drains reports until every worker has ended; if it is gone there is no one to tell.
        let _ = self.reports.blocking_send(Report { worker: self.index, event });
    }

    /// Waits, dropping what arrives: the sink is away and will be fed again from its own position.
    fn pause(&mut self, length: Duration) -> Turn {
        let until = Instant::now() + length;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            (self.alive)();
            match self.receive(left.min(TICK)) {
                Some(Some(Command::Close)) | None => return Turn::Close,
                Some(_) => {}
            }
        }
        Turn::Continue
    }

    /// The next command: `Some(None)` when none came in time, `None` when the other end is gone.
    fn receive(&mut self, timeout: Duration) -> Option<Option<Command>> {
        if let Ok(command) = self.commands.try_recv() {
            return Some(Some(command));
        }
        let commands = &mut self.commands;
        match self.runtime.block_on(async { tokio::time::timeout(timeout, commands.recv()).await }) {
            Ok(Some(command)) => Some(Some(command)),
            Ok(None) => None,
            Err(_) => Some(None),
        }
    }

    fn open_and_serve(&mut self, pauses: &mut Pauses) -> Result<()> {
        let (sink, progress) = self.connector.open(&self.source)?;
        pauses.reset();
        let mut open = OpenSink {
            sink,
            capabilities: self.connector.capabilities(),
            base: progress.clone(),
            progress: progress.clone(),
            generation: None,
            pending: Pending::default(),
            maintained: false,
            rests_until: Instant::now(),
        };
        self.report(Event::Ready(progress));
        loop {
            (self.alive)();
            let turn = match self.receive(open.patience()) {
                None | Some(Some(Command::Close)) => Turn::Close,
                Some(Some(command)) => match self.obey(&mut open, command)? {
                    true => Turn::Continue,
                    // A partial transaction cannot be taken back from this sink: open it anew.
                    false => return self.open_and_serve(pauses),
                },
                Some(None) => Turn::Continue,
            };
            if let Turn::Close = turn {
                if open.pending.dirty && !open.pending.inside_transaction {
                    self.commit(&mut open)?;
                }
                return Ok(());
            }
            if open.commit_is_due(self.commands.is_empty()) {
                self.commit(&mut open)?;
            } else if !open.pending.dirty && !open.maintained && self.commands.is_empty() {
                open.sink.maintain()?;
                open.maintained = true;
            }
        }
    }

    /// Returns whether the sink can go on being used.
    fn obey(&mut self, open: &mut OpenSink, command: Command) -> Result<bool> {
        match command {
            Command::Start(generation) => {
                open.base = open.progress.clone();
                open.generation = Some(generation);
                debug!(generation, "sink starts a run");
            }
            Command::Deliver(generation, batch) => {
                if open.generation == Some(generation) {
                    let begin = Instant::now();
                    open.write(&batch)?;
                    self.meter.wrote(begin.elapsed());
                }
            }
            Command::Settle => {
                open.generation = None;
                if open.pending.inside_transaction && !open.capabilities.can_split_transactions {
                    info!("sink gives up a partial transaction and starts anew");
                    return Ok(false);
                }
                if open.pending.dirty {
                    self.commit(open)?;
                }
                self.report(Event::Ready(open.progress.clone()));
            }
            Command::Open | Command::Close => {}
        }
        Ok(true)
    }

    fn commit(&self, open: &mut OpenSink) -> Result<()> {
        failpoint::pass("before_commit");
        let begin = Instant::now();
        open.sink.commit(&open.progress)?;
        failpoint::pass("after_commit");
        let scratch = std::mem::take(&mut open.pending.scratch);
        let pending = std::mem::replace(&mut open.pending, Pending { scratch, ..Pending::default() });
        open.maintained = false;
        let took = begin.elapsed();
        open.rests_until = Instant::now() + (took * COMMIT_REST).min(COMMIT_REST_MAX);
        self.meter.committed(took, pending.changes, pending.bytes as u64);
        self.report(Event::Durable(Durable {
            progress: open.progress.clone(),
            changes: pending.changes,
            commit_time_micros: pending.commit_time_micros,
        }));
        Ok(())
    }
}

impl OpenSink {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let all = self.select(batch);
        let selection = if all { Selection::All } else { Selection::Some(&self.pending.scratch) };
        let count = if all { batch.changes.len() } else { self.pending.scratch.len() };
        if count > 0 {
            failpoint::pass("before_write");
            self.sink.write(batch, selection)?;
            failpoint::pass("after_write");
        }
        self.progress.observe(batch, batch.source.snapshot_floor.as_ref());
        let pending = &mut self.pending;
        pending.dirty = true;
        pending.inside_transaction = !batch.boundary;
        pending.changes += count as u64;
        pending.bytes += batch.size_bytes();
        pending.since.get_or_insert_with(Instant::now);
        if let Some(last) = batch.transactions.last() {
            pending.commit_time_micros = Some(last.commit_time_micros);
        }
        Ok(())
    }

    /// Fills `scratch` with the changes still needed; returns whether all are.
    fn select(&mut self, batch: &Batch) -> bool {
        let first = batch.changes.first().map_or(Mark::default(), |change| batch.mark(change));
        let beyond = match batch.phase {
            Phase::Stream => first > self.base.horizon(),
            Phase::Snapshot => self.base.tables.is_empty(),
        };
        if beyond || batch.changes.is_empty() {
            return true;
        }
        self.pending.scratch.clear();
        for (index, change) in batch.changes.iter().enumerate() {
            if self.base.needs(batch, change) {
                self.pending.scratch.push(index as u32);
            }
        }
        self.pending.scratch.len() == batch.changes.len()
    }

    fn commit_is_due(&self, idle: bool) -> bool {
        let (pending, capabilities) = (&self.pending, &self.capabilities);
        if !pending.dirty || (pending.inside_transaction && !capabilities.can_split_transactions) {
            return false;
        }
        let large = pending.changes >= capabilities.commit_changes as u64 || pending.bytes >= capabilities.commit_bytes;
        if pending.inside_transaction {
            // Only a transaction above the limits is split.
            return large;
        }
        let old = pending.since.is_some_and(|since| since.elapsed() >= capabilities.commit_interval);
        large || old || (idle && capabilities.commit_when_idle && Instant::now() >= self.rests_until)
    }

    /// How long to wait for a command.
    fn patience(&self) -> Duration {
        let left = |since: Instant| self.capabilities.commit_interval.saturating_sub(since.elapsed());
        match self.pending.since {
            Some(since) if !self.pending.inside_transaction => {
                let rest = self.rests_until.saturating_duration_since(Instant::now());
                let due = if self.capabilities.commit_when_idle { left(since).min(rest) } else { left(since) };
                due.min(TICK)
            }
            _ => TICK,
        }
    }
}

/// Tells the ingest task when the thread unwinds: a dead worker must never look alive (SK-69).
struct PanicGuard {
    index: usize,
    reports: mpsc::Sender<Report>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::bug("sink_panicked", "the sink's worker ended by a panic")
                .with_remedy("report it with the lines before this one");
            let _ = self.reports.blocking_send(Report { worker: self.index, event: Event::Halted(error) });
        }
    }
}
