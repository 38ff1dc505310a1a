//! The source of the simulation: reads the tape, breaks anywhere, begins again where it was told to or earlier, and
//! looks into every sink when it is told what it may forget.

use super::fate::Hand;
use super::shelf::Shelf;
use super::snapshot::{Snapshot, push};
use super::tape::{STRIDE, Tape, end_of, first_after, is_inside};
use crate::pipeline::clock::Clock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewire_core::source::{Acknowledger, BoxFuture, LogMonitor, LogState, OpenSource, Resume, SetupStep};
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Error, Finding, Mark, Op, Phase, Position, Result, SourceConnector,
    SourceDescriptor, SourceReader, Transaction,
};

/// The source.
pub(super) fn descriptor(floor: Option<Mark>) -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: "s".into(),
        connector: "test",
        database: "d".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: floor.map(|floor| Position::new(floor, floor.to_string())),
    })
}

/// How long the log is silent when there is nothing more in it.
const HEARTBEAT: Duration = Duration::from_millis(400);

#[derive(Clone)]
pub(super) struct TapeSource {
    pub(super) tape: Arc<Tape>,
    pub(super) hand: Hand,
    pub(super) shelves: Arc<[Arc<Mutex<Shelf>>]>,
    /// What the server was told, over all lives of the daemon.
    pub(super) acknowledged: Arc<Mutex<Mark>>,
    /// As far as the server's log goes, as far as anybody saw it.
    pub(super) seen: Arc<Mutex<Mark>>,
    /// So many tables are captured, the first ones.
    pub(super) captured: usize,
    /// Most changes of a batch.
    pub(super) batch_max: u64,
}

struct TapeReader {
    source: Arc<SourceDescriptor>,
    tape: Arc<Tape>,
    hand: Hand,
    seen: Arc<Mutex<Mark>>,
    captured: usize,
    batch_max: u64,
    snapshot: Snapshot,
    /// The place up to which everything was handed out.
    at: Mark,
    /// The log says nothing before.
    silent_until: Option<Instant>,
}

impl TapeReader {
    /// The next changes, which are there.
    fn read(&mut self) -> Batch {
        let dice = self.hand.fate.dice.clone();
        let mut builder = BatchBuilder::new(Arc::clone(&self.source), Phase::Stream, BatchLimits::default());
        let (mut left, mut transactions) = (1 + dice.roll(self.batch_max), 0);
        loop {
            let number = first_after(self.at);
            let rows = &self.tape.transactions[number as usize - 1];
            let from = if is_inside(self.at) { self.at.minor as usize } else { 0 };
            if from < rows.len() {
                transactions += 1;
                builder.transaction(Transaction {
                    id: number.to_string().into(),
                    commit: number * STRIDE,
                    commit_time_micros: 1,
                    previous_commit: None,
                    provenance: Vec::new(),
                });
            }
            let count = (rows.len() - from).min(left as usize);
            for row in rows[from..from + count].iter().filter(|row| row.table < self.captured) {
                if row.version > 1 && row.mark.minor > 1 {
                    self.hand.fate.note("schema change");
                }
                push(&mut builder, &self.tape, row, Op::Insert);
            }
            left -= count as u64;
            let minor = (from + count) as u64;
            // The end of a transaction may come in a batch of its own.
            let whole = minor == rows.len() as u64 && (count == 0 || dice.roll(4) > 0);
            self.at = if whole { end_of(number) } else { Mark { major: number * STRIDE, minor } };
            if whole && count == 0 {
                self.hand.fate.note("end alone");
            }
            if !whole || left == 0 || dice.roll(3) == 0 || self.at >= self.tape.end() {
                break;
            }
        }
        if transactions > 1 {
            self.hand.fate.note("batch of several transactions");
        }
        builder.finish(Some(self.place()), !is_inside(self.at), 0)
    }

    fn place(&self) -> Position {
        Position::new(self.at, self.at.to_string())
    }

    /// Tells that the log holds nothing for us up to a place.
    fn heartbeat(&mut self) -> Batch {
        self.hand.fate.note("heartbeat");
        self.at.major += 1;
        let mut builder = BatchBuilder::new(Arc::clone(&self.source), Phase::Stream, BatchLimits::default());
        builder.finish(Some(self.place()), true, 0)
    }

    /// Whether the log may go on a little without anything for us.
    fn has_room(&self) -> bool {
        !is_inside(self.at) && self.at.major > 0 && self.at.major % STRIDE < STRIDE - 1
    }
}

impl SourceReader for TapeReader {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(async move {
            self.hand.step();
            self.hand.clock.give_way_in_task().await;
            // The future may be dropped while it waits, and asked for again.
            if let Some(until) = self.silent_until {
                let left = until.saturating_duration_since(self.hand.clock.now());
                self.hand.clock.sleep(left).await;
            } else if let Some(delay) = self.hand.delay() {
                self.silent_until = Some(self.hand.clock.now() + delay);
                self.hand.clock.sleep(delay).await;
            }
            if self.hand.fails("line cut") {
                return Err(Error::retry("cut", "the line was cut"));
            }
            if self.hand.halts() {
                return Err(Error::operator("odd", "the log holds what nobody can read"));
            }
            if !self.snapshot.left.is_empty() {
                return Ok(self.snapshot.read(self.batch_max));
            }
            let over = self.at >= self.tape.end();
            self.silent_until = over.then(|| self.hand.clock.now() + HEARTBEAT);
            let idle = over || (self.has_room() && self.hand.fate.dice.roll(12) == 0);
            let batch = if idle { self.heartbeat() } else { self.read() };
            let mut seen = self.seen.lock().unwrap();
            *seen = self.at.max(*seen);
            drop(seen);
            self.hand.step();
            // The server does not wait for ever for one that does not answer.
            if self.hand.hold_up() && self.hand.fate.dice.roll(2) == 0 {
                self.hand.fate.note("line cut");
                return Err(Error::retry("cut", "the server ended the session"));
            }
            Ok(batch)
        })
    }
}

struct Ear(TapeSource);

impl Acknowledger for Ear {
    /// Forgets: so at this very moment every sink must hold all of it.
    fn acknowledge(&self, position: &Position) {
        self.0.hand.step();
        for (index, shelf) in self.0.shelves.iter().enumerate() {
            let holds = shelf.lock().unwrap().lets_go();
            if holds < position.mark {
                self.0.hand.condemn(format!("{position} is acknowledged and sink {index} is at {holds}"));
            }
        }
        let before = std::mem::replace(&mut *self.0.acknowledged.lock().unwrap(), position.mark);
        if before > position.mark {
            self.0.hand.condemn(format!("{position} is acknowledged after {before}"));
        }
        self.0.hand.step();
    }
}

struct NoMonitor;

impl LogMonitor for NoMonitor {
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>> {
        Box::pin(std::future::ready(Ok(LogState::default())))
    }
}

impl TapeSource {
    /// The tables to read, as those of which some sink does not have all rows.
    fn to_read(&self, resume: &Resume) -> Vec<(usize, Option<usize>)> {
        if !self.tape.has_snapshot {
            return Vec::new();
        }
        let is_whole = |table: usize| {
            let name = &self.tape.schemas[table][0].name;
            resume.sinks.iter().all(|sink| sink.progress.is_done(name))
        };
        (0..self.captured).filter(|table| !is_whole(*table)).map(|table| (table, None)).collect()
    }

    /// Where the server's log ends now: nobody saw more of it, and it may have gone on.
    fn floor(&self) -> Mark {
        let mut seen = self.seen.lock().unwrap();
        let number = first_after(*seen) - u64::from(!is_inside(*seen)) + self.hand.fate.dice.roll(3);
        *seen = end_of(number.min(self.tape.transactions.len() as u64)).max(*seen);
        *seen
    }

    /// Where the log is sent from: where the sinks need it, or earlier, but not what was forgotten.
    fn start(&self, lowest: Mark) -> Mark {
        let (dice, fate) = (&self.hand.fate.dice, &self.hand.fate);
        let acknowledged = *self.acknowledged.lock().unwrap();
        if lowest < acknowledged {
            self.hand.condemn(format!("the log is asked for from {lowest} and was given up until {acknowledged}"));
        }
        if !is_inside(lowest) && dice.roll(2) == 0 {
            return lowest;
        }
        if is_inside(lowest) && dice.roll(2) == 0 {
            fate.note("start amid a transaction");
            return lowest;
        }
        // From the start of a transaction, as after the end of the one before it.
        let (from, to) = (first_after(acknowledged), first_after(lowest));
        let number = if dice.roll(3) == 0 { from + dice.roll(to - from + 1) } else { to };
        if number < to {
            fate.note("early start");
        }
        if number == 1 { Mark::default() } else { end_of(number - 1) }
    }
}

impl SourceConnector for TapeSource {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.hand.step();
            self.hand.dawdle_in_task().await;
            if self.hand.fails("server not ready") {
                return Err(Error::retry("not_ready", "the server serves another"));
            }
            Ok(())
        })
    }

    fn setup(&self, _apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        Box::pin(async move {
            self.hand.step();
            self.hand.dawdle_in_task().await;
            if self.hand.fails("server refused") {
                return Err(Error::retry("refused", "the server refused"));
            }
            if self.hand.halts() {
                return Err(Error::operator("gone", "the server refused for good"));
            }
            let left = self.to_read(&resume);
            let floor = self.floor();
            let needs = resume.sinks.iter().filter_map(|sink| sink.progress.resume_from().map(|place| place.mark));
            let at = match needs.min() {
                Some(lowest) if self.tape.has_snapshot => self.start(lowest),
                // A sink that holds nothing has its tables from the snapshot, up to there.
                None if self.tape.has_snapshot => floor,
                Some(lowest) if resume.sinks.iter().all(|sink| !sink.progress.is_empty()) => self.start(lowest),
                _ => self.start(Mark::default()),
            };
            let descriptor = descriptor((!left.is_empty()).then_some(floor));
            self.hand.step();
            self.hand.hold_up();
            Ok(OpenSource {
                descriptor: Arc::clone(&descriptor),
                tables: self.tape.schemas.iter().take(self.captured).map(|versions| Arc::clone(&versions[0])).collect(),
                snapshot_rows_expected: left.len() as u64,
                reader: Box::new(TapeReader {
                    source: Arc::clone(&descriptor),
                    tape: Arc::clone(&self.tape),
                    hand: self.hand.clone(),
                    seen: Arc::clone(&self.seen),
                    captured: self.captured,
                    batch_max: self.batch_max,
                    snapshot: Snapshot {
                        source: descriptor,
                        tape: Arc::clone(&self.tape),
                        hand: self.hand.clone(),
                        floor,
                        left,
                    },
                    at,
                    silent_until: None,
                }),
                acknowledger: Arc::new(Ear(self.clone())),
                monitor: Arc::new(NoMonitor),
            })
        })
    }
}
