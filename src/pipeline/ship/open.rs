//! A sink that is open: which changes it gets, what waits for its next commit, and when that is due. Knows nothing of
//! threads or channels.

use super::halted::HaltedTables;
use crate::pipeline::clock::Clock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{Batch, Mark, Phase, Position, Progress, Result, Sink, TableProgress, TableState, failpoint};
use tracing::info;

/// Longest time without a sign of life of an idle worker.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// A sink that rests keeps house this often: what it keeps for a time expires all the same.
const MAINTAIN_INTERVAL: Duration = Duration::from_mins(10);

/// An idle queue is no reason for a commit until the last one is so many times its own length ago: a source that gives
/// just less than a sink takes would else be held up by a commit for every batch.
const COMMIT_REST: u32 = 2;
/// Longest such rest.
const COMMIT_REST_MAX: Duration = Duration::from_millis(20);

/// A sink that is open, and what has been written to it since its last commit.
pub(super) struct OpenSink {
    pub(super) sink: Box<dyn Sink>,
    clock: Arc<dyn Clock>,
    pub(super) capabilities: SinkCapabilities,
    /// What the sink holds plus what was written: what the next commit stores.
    pub(super) progress: Progress,
    /// What it held when the run began: the filter of the run.
    pub(super) base: Progress,
    pub(super) generation: Option<u64>,
    /// Where the snapshot of the run lies in the log, if one is read.
    pub(super) floor: Option<Position>,
    pub(super) pending: Pending,
    /// When the sink last kept house, and in how long after that it is to again; `None` after a commit.
    pub(super) maintained: Option<(Instant, Duration)>,
    /// When the last commit was; `None` before the first.
    pub(super) committed: Option<Instant>,
    /// Until then an idle queue is no reason for a commit.
    pub(super) rests_until: Instant,
}

#[derive(Default)]
pub(super) struct Pending {
    /// Whether there is anything that a commit would store.
    pub(super) dirty: bool,
    /// Whether the last batch ended inside a transaction.
    pub(super) inside_transaction: bool,
    pub(super) changes: u64,
    pub(super) bytes: usize,
    pub(super) commit_time_micros: Option<i64>,
    pub(super) scratch: Vec<u32>,
}

impl OpenSink {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        capabilities: SinkCapabilities,
        progress: Progress,
        clock: Arc<dyn Clock>,
    ) -> OpenSink {
        OpenSink {
            sink,
            capabilities,
            base: progress.clone(),
            progress,
            generation: None,
            floor: None,
            pending: Pending::default(),
            maintained: None,
            committed: None,
            rests_until: clock.now(),
            clock,
        }
    }

    /// Whether what was written ends inside a transaction that the sink must not show a part of.
    pub(super) fn holds_a_part(&self) -> bool {
        self.pending.inside_transaction && !self.capabilities.can_split_transactions
    }

    pub(super) fn start(&mut self, generation: u64, captured: &BTreeSet<String>) {
        // Nobody wants a table any more that is not captured: the log need not be kept for it.
        let given_up = self.progress.behind.extract_if(.., |table, _| !captured.contains(table));
        for (table, place) in given_up {
            info!(table, %place, "a table that was left behind is given up: it is not captured any more");
            self.pending.dirty = true;
        }
        self.base = self.progress.clone();
        self.generation = Some(generation);
    }

    pub(super) fn write(&mut self, batch: &Batch, halted: &HaltedTables) -> Result<()> {
        self.floor.clone_from(&batch.source.snapshot_floor);
        let all = self.select(batch, halted);
        let selection = if all { Selection::All } else { Selection::Some(&self.pending.scratch) };
        let count = if all { batch.changes.len() } else { self.pending.scratch.len() };
        // A sink that shows transactions needs their ends too, and those may come alone.
        if count > 0 || batch.changes.is_empty() {
            failpoint::step("before_write")?;
            self.sink.write(batch, selection)?;
            failpoint::step("after_write")?;
        }
        self.progress.observe(batch, batch.source.snapshot_floor.as_ref(), &halted.names);
        if batch.phase == Phase::Snapshot {
            self.note_floors();
        }
        let pending = &mut self.pending;
        pending.dirty = true;
        pending.inside_transaction = !batch.boundary;
        pending.changes += count as u64;
        pending.bytes += batch.size_bytes();
        if let Some(last) = batch.transactions.last() {
            pending.commit_time_micros = Some(last.commit_time_micros);
        }
        Ok(())
    }

    /// A table that this run begins to read holds what the log has before its floor: another sink may need those
    /// changes, and they come by here as well.
    fn note_floors(&mut self) {
        for (name, table) in &self.progress.tables {
            if !self.base.tables.contains_key(name) {
                let floor = TableProgress { state: TableState::Reading, floor: table.floor.clone() };
                self.base.tables.insert(name.clone(), floor);
            }
        }
    }

    /// Fills `scratch` with the changes still needed; returns whether all are.
    fn select(&mut self, batch: &Batch, halted: &HaltedTables) -> bool {
        let first = batch.changes.first().map_or(Mark::default(), |change| batch.mark(change));
        let beyond = match batch.phase {
            Phase::Stream => first > self.base.horizon(),
            Phase::Snapshot => self.base.tables.is_empty(),
        };
        if (beyond && halted.names.is_empty()) || batch.changes.is_empty() {
            return true;
        }
        let mut needs = self.base.needs(batch);
        if !halted.names.is_empty() {
            for (index, schema) in batch.tables.iter().enumerate() {
                if halted.names.contains(&schema.name.to_string()) {
                    needs.exclude(index);
                }
            }
        }
        let needed = batch.changes.iter().enumerate().filter(|(_, change)| needs.contains(batch, change));
        self.pending.scratch.clear();
        self.pending.scratch.extend(needed.map(|(index, _)| index as u32));
        self.pending.scratch.len() == batch.changes.len()
    }

    /// Whether an idle sink is to keep house.
    pub(super) fn maintenance_is_due(&self) -> bool {
        !self.pending.dirty && self.maintained.is_none_or(|(last, pause)| self.clock.since(last) >= pause)
    }

    pub(super) fn maintain(&mut self) -> Result<()> {
        let again = self.sink.maintain()?.unwrap_or(MAINTAIN_INTERVAL).min(MAINTAIN_INTERVAL);
        self.maintained = Some((self.clock.now(), again));
        Ok(())
    }

    pub(super) fn commit_is_due(&self, idle: bool) -> bool {
        let (pending, capabilities) = (&self.pending, &self.capabilities);
        if !pending.dirty || self.holds_a_part() {
            return false;
        }
        let large = pending.changes >= capabilities.commit_changes as u64 || pending.bytes >= capabilities.commit_bytes;
        if pending.inside_transaction {
            // Only a transaction above the limits is split.
            return large;
        }
        large || self.interval_left().is_zero() || (idle && capabilities.commit_when_idle && self.rest_left().is_zero())
    }

    /// A commit has just ended that took so long.
    pub(super) fn rest(&mut self, took: Duration) {
        let now = self.clock.now();
        self.committed = Some(now);
        self.rests_until = now + (took * COMMIT_REST).min(COMMIT_REST_MAX);
    }

    /// Commits are an interval apart, and a change that comes after a quiet time waits for none.
    fn interval_left(&self) -> Duration {
        self.committed
            .map_or(Duration::ZERO, |last| self.capabilities.commit_interval.saturating_sub(self.clock.since(last)))
    }

    fn rest_left(&self) -> Duration {
        self.rests_until.saturating_duration_since(self.clock.now())
    }

    /// How long to wait for a command.
    pub(super) fn patience(&self) -> Duration {
        if !self.pending.dirty || self.pending.inside_transaction {
            return TICK;
        }
        let left = self.interval_left();
        let due = if self.capabilities.commit_when_idle { left.min(self.rest_left()) } else { left };
        due.min(TICK)
    }
}
