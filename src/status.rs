//! What the daemon knows about itself, for the status page, `status.json`, the metrics and the
//! watchdog. Written by the pipeline, read by everyone else.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewire_core::source::LogState;
use tidewire_core::{Error, Op};

/// Where a source or sink stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Being reached for the first time.
    Connecting,
    /// Reading existing rows.
    Snapshot,
    /// Following the log.
    Streaming,
    /// A sink that fell behind: it catches up from its own position.
    Lagging,
    /// Away; tried again with growing pauses.
    Retrying,
    /// Waits for a person; see the reason.
    Halted,
    /// Asked to stop.
    Stopped,
}

impl State {
    /// Every state, in the order of its number.
    pub(crate) const ALL: [State; 7] = [
        State::Connecting,
        State::Snapshot,
        State::Streaming,
        State::Lagging,
        State::Retrying,
        State::Halted,
        State::Stopped,
    ];

    /// The word in metrics and JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Snapshot => "snapshot",
            State::Streaming => "streaming",
            State::Lagging => "lagging",
            State::Retrying => "retrying",
            State::Halted => "halted",
            State::Stopped => "stopped",
        }
    }
}

/// Why something does not run, and what resolves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reason {
    /// Stable code.
    pub code: String,
    /// One sentence with its causes.
    pub message: String,
    /// The command or setting that resolves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The table it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

impl From<&Error> for Reason {
    fn from(error: &Error) -> Reason {
        Reason {
            code: error.code().to_owned(),
            message: error.chain(),
            remedy: error.remedy().map(str::to_owned),
            table: error.table().map(ToString::to_string),
        }
    }
}

/// How far a sink is behind. It is told in seconds when somebody asks, so that it goes on growing while nothing moves.
/// Times are in microseconds since 1970 by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// Nothing is known yet; since when.
    Unknown(i64),
    /// It holds all that there was when its source was heard, which was a moment ago; when that was seen.
    Current(i64),
    /// Commit time of the last change that it holds, or when it was last seen to hold all.
    Behind(i64),
}

impl Lag {
    /// The sink does not hold all, or nobody can say so. `held` is the commit time of the last change that it holds;
    /// without one, what it does not hold yet is as old as `received`.
    pub(crate) fn fall_behind(&mut self, now: i64, held: Option<i64>, received: Option<i64>) {
        *self = match (*self, held) {
            (Lag::Unknown(since), None) => received.map_or(Lag::Unknown(since), Lag::Behind),
            (Lag::Unknown(_), Some(held)) => Lag::Behind(held),
            // A clock that was ahead saw it in what is still to come.
            (Lag::Current(seen) | Lag::Behind(seen), held) => Lag::Behind(seen.min(now).max(held.unwrap_or(i64::MIN))),
        };
    }

    /// In seconds.
    pub(crate) fn seconds(self, now: i64) -> f64 {
        match self {
            Lag::Current(_) => 0.0,
            Lag::Unknown(since) | Lag::Behind(since) => now.saturating_sub(since).max(0) as f64 / 1e6,
        }
    }
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct TableView {
    /// Being read, followed, or halted in a sink; else as its source. Filled when somebody asks, as the lag is.
    pub state: Option<State>,
    /// Largest lag of the sinks, in seconds; of a halted table the time since it was.
    pub lag_seconds: f64,
    /// Where its last change stands.
    pub position: Option<String>,
    /// When a sink halted it, in microseconds since 1970.
    #[serde(skip)]
    pub halted_at: Option<i64>,
    /// Rows read by the snapshot.
    pub reads: u64,
    /// Inserts.
    pub inserts: u64,
    /// Updates.
    pub updates: u64,
    /// Deletes.
    pub deletes: u64,
    /// Truncates.
    pub truncates: u64,
    /// Whether the snapshot of the table is whole.
    pub snapshot_done: bool,
}

impl TableView {
    /// Counts changes of one kind.
    pub(crate) fn count(&mut self, op: Op, changes: u64) {
        match op {
            Op::Read => self.reads += changes,
            Op::Insert => self.inserts += changes,
            Op::Update => self.updates += changes,
            Op::Delete => self.deletes += changes,
            Op::Truncate => self.truncates += changes,
            Op::SnapshotEnd => self.snapshot_done = true,
            Op::SnapshotStart | Op::Message | Op::Schema | Op::Ddl => {}
        }
    }
}

/// One sink of a source.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SinkView {
    /// Where it stands.
    pub state: State,
    /// Why, when it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Tables that it cannot take, and why; its other tables go on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub halted_tables: BTreeMap<String, Reason>,
    /// What it holds durably, halted tables aside.
    pub position: Option<String>,
    /// The lag in seconds; filled when somebody asks.
    pub lag_seconds: f64,
    /// See [`Lag`].
    #[serde(skip)]
    pub lag: Lag,
    /// Changes that it holds durably, since the daemon started.
    pub changes_committed: u64,
    /// Commits since the daemon started.
    pub commits: u64,
    /// Times that it was tried again.
    pub retries: u64,
}

impl Default for SinkView {
    fn default() -> SinkView {
        SinkView {
            state: State::Connecting,
            reason: None,
            halted_tables: BTreeMap::new(),
            position: None,
            lag_seconds: 0.0,
            lag: Lag::Unknown(now_micros()),
            changes_committed: 0,
            commits: 0,
            retries: 0,
        }
    }
}

/// The log on the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LogView {
    /// Bytes of log between what was acknowledged and the server's end.
    pub lag_bytes: Option<u64>,
    /// Bytes of log that the server keeps for this source.
    pub retained_bytes: Option<u64>,
    /// Bytes that it may still keep before it gives up.
    pub allowance_bytes: Option<i64>,
    /// The server's own word for it.
    pub state: Option<String>,
}

impl From<LogState> for LogView {
    fn from(state: LogState) -> LogView {
        LogView {
            lag_bytes: state.lag_bytes,
            retained_bytes: state.retained_bytes,
            allowance_bytes: state.allowance_bytes,
            state: state.state,
        }
    }
}

/// One source.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SourceView {
    /// Where it stands.
    pub state: State,
    /// Why, when it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Read up to here.
    pub position: Option<String>,
    /// Acknowledged to the server up to here: every sink holds it.
    pub acknowledged: Option<String>,
    /// Largest lag of its sinks, in seconds; filled when somebody asks.
    pub lag_seconds: f64,
    /// The log on the server.
    pub log: LogView,
    /// Rows that the snapshot read.
    pub snapshot_rows: u64,
    /// Rows that it will read, by the server's estimate.
    pub snapshot_rows_expected: u64,
    /// Times that it was tried again.
    pub retries: u64,
    /// Its tables.
    pub tables: BTreeMap<String, TableView>,
    /// Its sinks.
    pub sinks: BTreeMap<String, SinkView>,
}

impl Default for SourceView {
    fn default() -> SourceView {
        SourceView {
            state: State::Connecting,
            reason: None,
            position: None,
            acknowledged: None,
            lag_seconds: 0.0,
            log: LogView::default(),
            snapshot_rows: 0,
            snapshot_rows_expected: 0,
            retries: 0,
            tables: BTreeMap::new(),
            sinks: BTreeMap::new(),
        }
    }
}

impl SourceView {
    /// Fills in what changes by the clock alone, and what follows from the rest.
    fn fill(&mut self, now: i64) {
        self.sinks.values_mut().for_each(|sink| sink.lag_seconds = sink.lag.seconds(now));
        self.lag_seconds = self.sinks.values().map(|sink| sink.lag_seconds).fold(0.0, f64::max);
        let halted = |name: &String| self.sinks.values().any(|sink| sink.halted_tables.contains_key(name));
        for (name, table) in &mut self.tables {
            let is_read = table.snapshot_done || self.state != State::Snapshot;
            (table.state, table.lag_seconds) = match table.halted_at.filter(|_| halted(name)) {
                Some(since) => (Some(State::Halted), self.lag_seconds.max(Lag::Behind(since).seconds(now))),
                None if is_read && self.state == State::Snapshot => (Some(State::Streaming), self.lag_seconds),
                None => (Some(self.state), self.lag_seconds),
            };
        }
    }

    /// Whether somebody has to wait for it: a source that no sink takes is not read.
    fn is_of_use(&self) -> bool {
        !self.sinks.is_empty()
    }

    /// Whether it streams or snapshots.
    pub(crate) fn runs(&self) -> bool {
        !self.is_of_use() || matches!(self.state, State::Snapshot | State::Streaming)
    }
}

/// The view of one source, and when its tasks last moved.
#[derive(Debug)]
pub(crate) struct SourceBoard {
    view: Mutex<SourceView>,
    moved: Mutex<BTreeMap<String, Instant>>,
}

impl SourceBoard {
    fn new() -> SourceBoard {
        SourceBoard { view: Mutex::new(SourceView::default()), moved: Mutex::new(BTreeMap::new()) }
    }

    /// Changes the view. The closure must not block.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut SourceView) -> T) -> T {
        change(&mut self.view())
    }

    /// Changes the view of one sink.
    pub(crate) fn update_sink<T>(&self, sink: &str, change: impl FnOnce(&mut SinkView) -> T) -> T {
        change(self.view().sinks.entry(sink.to_owned()).or_default())
    }

    /// A copy of the view as of now.
    pub(crate) fn snapshot(&self) -> SourceView {
        let mut view = self.view().clone();
        view.fill(now_micros());
        view
    }

    /// A task of this source is alive: it went round its loop.
    pub(crate) fn mark_alive(&self, task: &str) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        match moved.get_mut(task) {
            Some(at) => *at = Instant::now(),
            None => {
                moved.insert(task.to_owned(), Instant::now());
            }
        }
    }

    /// A task ended on purpose and is no longer expected to move.
    pub(crate) fn mark_ended(&self, task: &str) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    /// Tasks that have not moved for longer than `limit`.
    pub(crate) fn stuck(&self, limit: Duration) -> Vec<String> {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.iter().filter(|(_, at)| at.elapsed() > limit).map(|(task, _)| task.clone()).collect()
    }

    fn view(&self) -> MutexGuard<'_, SourceView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All sources.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    started: Instant,
    sources: Arc<BTreeMap<String, Arc<SourceBoard>>>,
}

/// The document behind `status.json` and `tidewire status --json`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusDocument {
    /// The daemon's version.
    pub version: &'static str,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Whether every source that a sink takes streams or snapshots.
    pub ready: bool,
    /// The sources.
    pub sources: BTreeMap<String, SourceView>,
}

impl Board {
    /// A board for these sources.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Board {
        let sources = names.map(|name| (name.to_owned(), Arc::new(SourceBoard::new()))).collect();
        Board { started: Instant::now(), sources: Arc::new(sources) }
    }

    /// The board of one source.
    pub(crate) fn source(&self, name: &str) -> Option<&Arc<SourceBoard>> {
        self.sources.get(name)
    }

    /// All boards by name.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &Arc<SourceBoard>)> {
        self.sources.iter().map(|(name, board)| (name.as_str(), board))
    }

    /// Everything, as of now.
    pub(crate) fn document(&self) -> StatusDocument {
        let sources: BTreeMap<String, SourceView> =
            self.sources().map(|(name, board)| (name.to_owned(), board.snapshot())).collect();
        StatusDocument {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: sources.values().all(SourceView::runs),
            sources,
        }
    }
}

/// Microseconds since 1970 by this machine's clock.
pub(crate) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn lag_grows_while_nothing_moves() {
        let at = |seconds: i64| seconds * SECOND;
        let mut lag = Lag::Unknown(at(100));
        assert_eq!(lag.seconds(at(130)), 30.0, "nobody has said that there is none");
        lag.fall_behind(at(130), None, Some(at(40)));
        assert_eq!(lag, Lag::Behind(at(40)), "as old as what it is given first");
        lag.fall_behind(at(131), Some(at(50)), Some(at(60)));
        assert_eq!(lag.seconds(at(140)), 90.0);
        lag = Lag::Current(at(200));
        assert_eq!(lag.seconds(at(210)), 0.0);
        // The last change was an hour before, and all of it was held until a moment ago.
        lag.fall_behind(at(210), Some(at(50)), Some(at(209)));
        assert_eq!(lag.seconds(at(215)), 15.0);
        lag.fall_behind(at(220), Some(at(212)), None);
        assert_eq!(lag.seconds(at(220)), 8.0);
        // A clock that was ahead by a day, and is put right.
        lag = Lag::Current(at(90_000));
        lag.fall_behind(at(300), Some(at(212)), None);
        assert_eq!((lag.seconds(at(300)), lag.seconds(at(310))), (0.0, 10.0));
    }

    #[test]
    fn each_table_has_a_state_and_a_lag() {
        let board = SourceBoard::new();
        let reason = Reason { code: "c".into(), message: "m".into(), remedy: None, table: None };
        board.update(|view| {
            view.state = State::Snapshot;
            for name in ["read", "waits", "halted"] {
                view.tables.entry(name.to_owned()).or_default().snapshot_done = name != "waits";
            }
            view.tables.entry("halted".to_owned()).or_default().halted_at = Some(now_micros() - 60 * SECOND);
        });
        board.update_sink("s", |sink| {
            sink.lag = Lag::Current(now_micros());
            sink.halted_tables.insert("halted".to_owned(), reason);
        });
        let states =
            |view: SourceView| view.tables.into_iter().map(|(name, table)| (name, table.state.unwrap().word()));
        let seen: Vec<_> = states(board.snapshot()).collect();
        let expected = [("halted", "halted"), ("read", "streaming"), ("waits", "snapshot")];
        assert_eq!(seen, expected.map(|(name, word)| (name.to_owned(), word)));
        let view = board.snapshot();
        assert!(view.tables.get("halted").unwrap().lag_seconds >= 60.0 && view.lag_seconds == 0.0);
        board.update(|view| view.state = State::Retrying);
        assert!(
            states(board.snapshot()).all(|(name, word)| word == if name == "halted" { "halted" } else { "retrying" })
        );
    }

    #[test]
    fn a_source_that_no_sink_takes_is_waited_for_by_nobody() {
        let board = Board::new(["used", "unused"].into_iter());
        board.source("unused").unwrap().update(|view| view.state = State::Stopped);
        board.source("used").unwrap().update_sink("s", |_| ());
        assert!(!board.document().ready);
        board.source("used").unwrap().update(|view| view.state = State::Streaming);
        assert!(board.document().ready);
    }
}
