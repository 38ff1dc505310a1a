//! Feeds the sink like the daemon does: the snapshot, then rounds of changes, each a commit. Drives the crate's public
//! face and knows nothing of files.

use crate::rounds::Rounds;
use crate::rows::{KeyShape, Shape};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::batch::Phase;
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::sink::{PurgeRequest, Selection};
use tidewire_core::{Batch, Mark, Op, Position, Progress, Sink, SinkConnector};
use tidewire_delta::{Config, SinkOptions, connector};

/// Rows of a batch at most, as many as the daemon's.
const BATCH: u64 = 8_192;
/// Rows of a snapshot between two commits, the sink's default.
const COMMIT: u64 = 100_000;
/// Between two looks at files that are being rewritten.
const LOOK: Duration = Duration::from_millis(5);
/// Where the snapshot lies in the log.
const FLOOR: u64 = 10;
const SOURCE: &str = "bench";

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, _: &SecretRef) -> tidewire_core::Result<Secret> {
        Err(tidewire_core::Error::bug("no_secrets", "the benchmark has no secrets"))
    }
}

/// Where the sink's tables and its state lie, and how it compresses what it writes: its default when that is not said.
#[derive(Deserialize)]
pub(crate) struct Place {
    pub(crate) lake: PathBuf,
    state: PathBuf,
    #[serde(default)]
    compression: Option<String>,
}

/// Has deleted rows removed from the tables of a place.
///
/// # Errors
/// The sink's, and when not all is as it was asked for.
pub(crate) fn purge(place: &Place) -> Result<()> {
    let request = PurgeRequest { table: None, key: None, now: false };
    let tell = &mut |line| eprintln!("    {line}");
    match sink(place)?.purge(SOURCE, &request, tell).map_err(|error| error.chain())? {
        true => Ok(()),
        false => Err("rows are left that had to go".into()),
    }
}

fn sink(place: &Place) -> Result<Box<dyn SinkConnector>> {
    // The shortest that there is: a load of minutes replaces more than most disks hold.
    let settings = serde_json::json!({
        "location": format!("file://{}", place.lake.display()), "compression": place.compression,
        "file_retention": "60s", "log_retention": "60s" });
    let config: Config = serde_json::from_value(settings)?;
    let state_dir = Some(place.state.clone());
    let options = SinkOptions { name: "bench".into(), state_dir, secrets: Arc::new(NoSecrets) };
    Ok(connector(options, config).map_err(|faults| format!("{faults:?}"))?)
}

/// An open sink, and how far it has been fed.
pub(crate) struct Feed {
    sink: Box<dyn Sink>,
    progress: Progress,
    shape: Shape,
    rounds: Rounds,
    /// The next round.
    pub(crate) round: u64,
}

impl Feed {
    /// Opens the sink; it must hold the rounds before `round`.
    ///
    /// # Errors
    /// The sink's, and when it holds something else.
    pub(crate) fn open(place: &Place, key: KeyShape, rounds: Rounds, round: u64) -> Result<Feed> {
        std::fs::create_dir_all(&place.lake)?;
        std::fs::create_dir_all(&place.state)?;
        let (sink, progress) = sink(place)?.open(SOURCE).map_err(|error| error.chain())?;
        let shape = Shape::new(key, &position(FLOOR));
        let feed = Feed { sink, progress, shape, rounds, round };
        let expect = (round > 0).then(|| feed.end_of(round - 1, true));
        match &feed.progress.position {
            held if *held == expect => Ok(feed),
            held => Err(format!("the sink is at {held:?} in place of {expect:?}").into()),
        }
    }

    /// Gives it the snapshot.
    pub(crate) fn fill(&mut self) -> Result<()> {
        let (mut next, mut uncommitted) = (0, 0);
        while next < self.rounds.rows() {
            let last = (next + BATCH).min(self.rounds.rows());
            let mut b = self.shape.builder(Phase::Snapshot, Mark { major: FLOOR, minor: 0 });
            if next == 0 {
                self.shape.push_sign(&mut b, Op::SnapshotStart);
            }
            (next..last).for_each(|id| self.shape.push_read(&mut b, id));
            if last == self.rounds.rows() {
                self.shape.push_sign(&mut b, Op::SnapshotEnd);
            }
            self.write(&b.finish(None, true, 0))?;
            uncommitted += last - next;
            if uncommitted >= COMMIT || last == self.rounds.rows() {
                self.commit()?;
                self.maintain()?;
                uncommitted = 0;
            }
            next = last;
        }
        Ok(())
    }

    /// Makes the next round in memory: two transactions, a batch each.
    pub(crate) fn next_round(&mut self) -> [Batch; 2] {
        let changes = self.rounds.changes(self.round);
        let (first, second) = changes.split_at_checked(changes.len() / 2).unwrap_or_default();
        let batches = [(first, false), (second, true)].map(|(changes, is_last)| {
            let end = self.end_of(self.round, is_last);
            let mut b = self.shape.builder(Phase::Stream, end.mark);
            for (kind, id) in changes {
                self.shape.push(&mut b, *kind, *id, self.round + 1);
            }
            b.finish(Some(end), true, 0)
        });
        self.round += 1;
        batches
    }

    /// Writes and commits; the time that took.
    pub(crate) fn apply(&mut self, batches: &[Batch]) -> Result<Duration> {
        let begun = Instant::now();
        batches.iter().try_for_each(|batch| self.write(batch))?;
        self.commit()?;
        Ok(begun.elapsed())
    }

    /// What the daemon lets a sink do when nothing waits; the time that took.
    pub(crate) fn maintain(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.sink.maintain().map_err(|error| error.chain())?;
        Ok(begun.elapsed())
    }

    /// Goes on with house-keeping until no file is being rewritten.
    pub(crate) fn settle(&mut self) -> Result<()> {
        while self.sink.maintain().map_err(|error| error.chain())? == Some(Duration::ZERO) {
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// As `settle`, until the index merges nothing either: what house-keeping takes over may be due for another merge.
    pub(crate) fn rest(&mut self) -> Result<()> {
        let mut was_merging = true;
        loop {
            self.settle()?;
            let is_merging = is_merging()?;
            if !is_merging && !was_merging {
                return Ok(());
            }
            was_merging = is_merging;
            std::thread::sleep(LOOK);
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.sink.write(batch, Selection::All).map_err(|error| error.chain())?;
        self.progress.observe(batch, self.shape.source.snapshot_floor.as_ref(), &BTreeSet::new());
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        Ok(self.sink.commit(&self.progress).map_err(|error| error.chain())?)
    }

    /// Where a transaction of a round ends.
    fn end_of(&self, round: u64, is_last: bool) -> Position {
        position(FLOOR + 4 * round + if is_last { 4 } else { 2 })
    }
}

/// Whether a thread of this process merges runs of an index.
fn is_merging() -> Result<bool> {
    for task in std::fs::read_dir("/proc/self/task")? {
        match std::fs::read_to_string(task?.path().join("comm")) {
            Ok(name) if name.trim_end() == "index-merge" => return Ok(true),
            Ok(_) => {}
            // It has just ended.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn position(major: u64) -> Position {
    Position::new(Mark { major, minor: 0 }, format!("bench/{major}"))
}
