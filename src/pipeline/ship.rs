//! ship: one worker thread per (source, sink). Encodes, writes, commits, tries again. Owns the sink;
//! the ingest task holds the other end of both channels and outlives it.
//!
//! # Crash points
//!
//! A worker commits data and progress in the sink's own atomic step and reports `Durable` only after that
//! returned. Wherever the process ends, the sink's stored progress says what is in it; the next run drops
//! exactly that (`Progress::needs`). A sink that fails is dropped, opened anew and asked again: nothing
//! that was written and not committed counts.
//!
//! # A table that the sink cannot take
//!
//! An error that waits for a person and names a table halts that table alone. Everything uncommitted is given up, so
//! that nothing of the table's transaction is in the sink; the sink is opened anew, the table is left behind at the
//! place that the sink holds (`Progress::leave_behind`, stored with the next commit), and the others go on from
//! there. The log is kept from that place on. The table is tried again when the daemon starts.

mod halted;
mod open;

pub(crate) use halted::HaltedTables;

use crate::pipeline::clock::Clock;
use crate::retry::Pauses;
use crate::telemetry::SinkMeter;
use open::{OpenSink, Pending, TICK};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::retry::RetryPolicy;
use tidewire_core::{Batch, Error, ErrorKind, Progress, Result, SinkConnector, TableName, failpoint};
use tokio::sync::mpsc;
use tracing::{debug, info};

#[cfg(test)]
thread_local! {
    /// Planted by the simulation, which must find it: this thread's worker takes batches of any run.
    pub(crate) static TAKES_STALE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Batches that may wait for one sink.
pub(crate) const QUEUE_BATCHES: usize = 8;

/// What the ingest task tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// The source is ready: open the sink, which takes it away from any earlier instance.
    Open,
    /// A run begins: batches of this generation follow, from a place at or before what was reported. The tables
    /// that the source captures; one that is behind and no longer among them is given up.
    Start(u64, Arc<BTreeSet<String>>),
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
    /// The sink cannot take this table any more; it is being opened anew for the others.
    TableHalted(TableName, Error),
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
    /// What it waits by.
    pub clock: Arc<dyn Clock>,
    /// Its metrics.
    pub meter: SinkMeter,
    /// Called whenever the worker goes round its loop.
    pub alive: Box<dyn Fn() + Send>,
    /// What it has halted; empty at first.
    pub halted: HaltedTables,
}

enum Turn {
    Continue,
    Close,
}

impl Worker {
    /// Runs until closed or halted. Blocks; for a thread of its own.
    pub(crate) fn run(mut self) {
        let _guard = PanicGuard { index: self.index, reports: self.reports.clone() };
        let mut pauses = Pauses::new(self.retry);
        let mut turn = if self.wait_to_open() { Turn::Continue } else { Turn::Close };
        while let Turn::Continue = turn {
            match self.open_and_serve(&mut pauses) {
                Ok(next) => turn = next,
                Err(error) if pauses.outlast(&error) => {
                    self.meter.retried(error.code());
                    self.report(Event::Failed(error));
                    turn = self.pause(pauses.next_pause());
                }
                Err(error) => return self.report(Event::Halted(error)),
            }
        }
        self.report(Event::Closed);
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

    /// Waits, dropping what arrives: the sink is away and will be fed again from its own position. Drops at least what
    /// has arrived.
    fn pause(&mut self, length: Duration) -> Turn {
        let until = self.clock.now() + length;
        loop {
            (self.alive)();
            let left = until.saturating_duration_since(self.clock.now());
            match self.receive(left.min(TICK)) {
                Some(Some(Command::Close)) | None => return Turn::Close,
                Some(Some(_)) => {}
                Some(None) if left.is_zero() => return Turn::Continue,
                Some(None) => {}
            }
        }
    }

    /// The next command: `Some(None)` when none came in time, `None` when the other end is gone.
    fn receive(&mut self, timeout: Duration) -> Option<Option<Command>> {
        if let Ok(command) = self.commands.try_recv() {
            return Some(Some(command));
        }
        match self.clock.wait(timeout, self.commands.recv()) {
            Some(Some(command)) => Some(Some(command)),
            Some(None) => None,
            None => Some(None),
        }
    }

    /// Opens the sink and serves it until it is closed or has to be opened anew.
    fn open_and_serve(&mut self, pauses: &mut Pauses) -> Result<Turn> {
        let (sink, mut progress) = self.connector.open(&self.source)?;
        pauses.let_in();
        self.halted.leave_behind(&mut progress)?;
        let mut open = OpenSink::new(sink, self.connector.capabilities(), progress, Arc::clone(&self.clock));
        self.report(Event::Ready(open.progress.clone()));
        match self.serve(&mut open, pauses) {
            Err(error) => match self.halted.add(&error, open.floor.as_ref()) {
                Some(table) => {
                    self.report(Event::TableHalted(table, error));
                    // What waits was meant for the sink as it was.
                    Ok(self.pause(Duration::ZERO))
                }
                None => Err(error),
            },
            served => served,
        }
    }

    fn serve(&mut self, open: &mut OpenSink, pauses: &mut Pauses) -> Result<Turn> {
        loop {
            (self.alive)();
            match self.receive(open.patience()) {
                None | Some(Some(Command::Close)) => {
                    self.close(open);
                    return Ok(Turn::Close);
                }
                Some(Some(command)) => {
                    if !self.obey(open, command)? {
                        return Ok(Turn::Continue);
                    }
                }
                Some(None) => {}
            }
            if open.commit_is_due(self.commands.is_empty()) {
                self.commit(open)?;
                // A sink that can be opened but not written to is no success: its pauses go on growing.
                pauses.reset();
            } else if open.maintenance_is_due() && self.commands.is_empty() {
                open.maintain()?;
            }
        }
    }

    /// The last commit. There is no later attempt: what it does not store is read again at the next start.
    fn close(&self, open: &mut OpenSink) {
        if !open.pending.dirty || open.pending.inside_transaction {
            return;
        }
        match self.commit(open) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Retry => self.report(Event::Failed(error)),
            Err(error) => self.report(Event::Halted(error)),
        }
    }

    /// Returns whether the sink can go on being used; if not, it is to be opened anew.
    fn obey(&mut self, open: &mut OpenSink, command: Command) -> Result<bool> {
        match command {
            Command::Start(generation, captured) => {
                // Nobody settled the run before if it had begun when the task did not yet know that this sink was opened anew.
                if open.holds_a_part() {
                    info!("sink gives up a partial transaction of a run that ended, and starts anew");
                    return Ok(false);
                }
                open.start(generation, &captured);
                debug!(generation, "sink starts a run");
            }
            Command::Deliver(generation, batch) => {
                if Worker::is_of_run(open, generation) {
                    let begin = self.clock.now();
                    open.write(&batch, &self.halted)?;
                    self.meter.wrote(self.clock.since(begin));
                }
            }
            Command::Settle => {
                open.generation = None;
                if open.holds_a_part() {
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

    /// Whether a batch is of the run that the sink takes part in. What waited for the sink as it was before it was opened
    /// anew is not, and would leave a gap.
    fn is_of_run(open: &OpenSink, generation: u64) -> bool {
        #[cfg(test)]
        if TAKES_STALE.get() {
            return true;
        }
        open.generation == Some(generation)
    }

    fn commit(&self, open: &mut OpenSink) -> Result<()> {
        failpoint::step("before_commit")?;
        let begin = self.clock.now();
        open.sink.commit(&open.progress)?;
        failpoint::step("after_commit")?;
        if let Some(interval) = open.sink.commit_interval() {
            open.capabilities.commit_interval = interval;
        }
        let scratch = std::mem::take(&mut open.pending.scratch);
        let pending = std::mem::replace(&mut open.pending, Pending { scratch, ..Pending::default() });
        open.maintained = None;
        let took = self.clock.since(begin);
        open.rest(took);
        self.meter.committed(took, pending.changes, pending.bytes as u64);
        self.report(Event::Durable(Durable {
            progress: open.progress.clone(),
            changes: pending.changes,
            commit_time_micros: pending.commit_time_micros,
        }));
        Ok(())
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
