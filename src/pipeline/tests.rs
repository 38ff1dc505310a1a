//! The pipeline in a seeded simulation: a source that reads a tape and breaks, sinks that refuse, fail before
//! and after their commit, and dawdle. Whatever happens, every sink ends with the tape, once, in order, and
//! the source was never told to forget what a sink did not hold. The seed is the bug report.

use crate::pipeline::ingest::{Ingest, Lane, LaneState, Outcome};
use crate::pipeline::pace::Pace;
use crate::pipeline::ship::{QUEUE_BATCHES, Worker};
use crate::state::StateDirectory;
use crate::status::Board;
use crate::telemetry::{SinkMeter, SourceMeter};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewire_core::batch::ChangeHead;
use tidewire_core::retry::RetryPolicy;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::source::{Acknowledger, BoxFuture, LogMonitor, LogState, OpenSource, Resume, SetupStep};
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Error, Finding, Mark, Op, Phase, Position,
    Progress, Result, SchemaVersion, Sink, SinkConnector, SourceConnector, SourceDescriptor, SourceReader, TableName,
    TableSchema, Transaction, Value,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// SplitMix64: the whole run follows from one number.
#[derive(Clone)]
struct Dice(Arc<Mutex<u64>>);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(Arc::new(Mutex::new(seed)))
    }

    fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// Changes per transaction; transaction `n` (from 1) commits at `n * 100`.
type Tape = Arc<Vec<u64>>;

struct TapeSource {
    tape: Tape,
    dice: Dice,
    acknowledged: Arc<Mutex<Mark>>,
}

struct TapeReader {
    source: Arc<SourceDescriptor>,
    schema: Arc<TableSchema>,
    tape: Tape,
    dice: Dice,
    next: Mark,
}

struct Ear(Arc<Mutex<Mark>>);

impl Acknowledger for Ear {
    fn acknowledge(&self, position: &Position) {
        let mut heard = self.0.lock().unwrap();
        *heard = (*heard).max(position.mark);
    }
}

struct NoMonitor;

impl LogMonitor for NoMonitor {
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>> {
        Box::pin(std::future::ready(Ok(LogState::default())))
    }
}

impl SourceReader for TapeReader {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let number = (self.next.major / 100) as usize;
            let Some(size) = self.tape.get(number - 1).copied() else {
                std::future::pending::<()>().await;
                return Err(Error::bug("unreachable", "the tape is over"));
            };
            if self.dice.roll(40) == 0 {
                return Err(Error::retry("cut", "the line was cut"));
            }
            let mut builder = BatchBuilder::new(Arc::clone(&self.source), Phase::Stream, BatchLimits::default());
            builder.transaction(Transaction {
                id: number.to_string().into(),
                commit: self.next.major,
                commit_time_micros: 1,
                previous_commit: None,
                provenance: Vec::new(),
            });
            let count = (1 + self.dice.roll(4)).min(size - self.next.minor);
            let table = builder.table(&self.schema);
            for ordinal in self.next.minor + 1..=self.next.minor + count {
                let image = builder.image();
                builder.cell(Cell::int(ordinal as i64));
                builder.push(ChangeHead { op: Op::Insert, ordinal, offset: 0, row: 0 }, table, None, Some(image));
            }
            let minor = self.next.minor + count;
            let ends = minor == size;
            // As in a real log, a transaction's end lies beyond its commit and before the next one's.
            let mark = if ends {
                Mark { major: self.next.major + 1, minor: 0 }
            } else {
                Mark { major: self.next.major, minor }
            };
            self.next = if ends { Mark { major: self.next.major + 100, minor: 0 } } else { mark };
            Ok(builder.finish(Some(Position::new(mark, mark.to_string())), ends, 0))
        })
    }
}

impl SourceConnector for TapeSource {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn setup(&self, _apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        Box::pin(async move {
            if self.dice.roll(10) == 0 {
                return Err(Error::retry("refused", "the server refused"));
            }
            let lowest =
                resume.sinks.iter().map(|s| s.progress.position.as_ref().map_or(Mark::default(), |p| p.mark)).min();
            let lowest = lowest.unwrap_or_default();
            assert!(lowest >= *self.acknowledged.lock().unwrap(), "acknowledged what a sink did not hold");
            // A log is sent again from the start of the first transaction that is not held whole.
            let major = if lowest.major == 0 {
                100
            } else {
                lowest.major / 100 * 100 + if lowest.major % 100 == 0 { 0 } else { 100 }
            };
            let descriptor = Arc::new(SourceDescriptor {
                name: "s".into(),
                connector: "test",
                database: "d".into(),
                provenance: &[],
                has_sequence: false,
                snapshot_floor: None,
            });
            let schema = Arc::new(TableSchema {
                name: TableName::new("public", "t"),
                version: SchemaVersion(1),
                native_id: 1,
                columns: vec![ColumnSchema {
                    name: "id".into(),
                    data_type: DataType::Int { bits: 64 },
                    native_type: "bigint".into(),
                    nullable: false,
                    default: None,
                }],
                key: vec![0],
                key_kind: KeyKind::Primary,
                old_row: OldRow::Key,
            });
            Ok(OpenSource {
                descriptor: Arc::clone(&descriptor),
                tables: vec![Arc::clone(&schema)],
                snapshot_rows_expected: 0,
                reader: Box::new(TapeReader {
                    source: descriptor,
                    schema,
                    tape: Arc::clone(&self.tape),
                    dice: self.dice.clone(),
                    next: Mark { major, minor: 0 },
                }),
                acknowledger: Arc::new(Ear(Arc::clone(&self.acknowledged))),
                monitor: Arc::new(NoMonitor),
            })
        })
    }
}

/// What a sink shows its readers.
#[derive(Default)]
struct Shelf {
    rows: Vec<(Mark, i64)>,
    progress: Progress,
}

struct ShelfConnector {
    shelf: Arc<Mutex<Shelf>>,
    dice: Dice,
    can_split: bool,
    dawdles: bool,
}

struct ShelfSink {
    shelf: Arc<Mutex<Shelf>>,
    dice: Dice,
    dawdles: bool,
    written: Vec<(Mark, i64)>,
}

impl SinkConnector for ShelfConnector {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: Duration::from_millis(3),
            commit_changes: 7,
            commit_bytes: 1 << 20,
            commit_when_idle: self.can_split,
            can_split_transactions: self.can_split,
        }
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, _source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        if self.dice.roll(8) == 0 {
            return Err(Error::retry("refused", "the sink refused"));
        }
        let progress = self.shelf.lock().unwrap().progress.clone();
        let sink = ShelfSink {
            shelf: Arc::clone(&self.shelf),
            dice: self.dice.clone(),
            dawdles: self.dawdles,
            written: Vec::new(),
        };
        Ok((Box::new(sink), progress))
    }
}

impl Sink for ShelfSink {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        if self.dawdles && self.dice.roll(10) == 0 {
            // The fault under test is a slow sink; nothing is waited for.
            std::thread::park_timeout(Duration::from_millis(30));
        }
        if self.dice.roll(60) == 0 {
            return Err(Error::retry("broken", "the sink broke while writing"));
        }
        for change in selection.of(batch) {
            let Some([Value::Int(value)]) = batch.after(change).map(|cells| [cells[0].value(batch.arena())]) else {
                panic!("a change without its row");
            };
            self.written.push((batch.mark(change), value));
        }
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        if self.dice.roll(30) == 0 {
            return Err(Error::retry("broken", "the sink broke before its commit"));
        }
        {
            let mut shelf = self.shelf.lock().unwrap();
            shelf.rows.append(&mut self.written);
            shelf.progress = progress.clone();
        }
        if self.dice.roll(30) == 0 {
            return Err(Error::retry("broken", "the answer to a commit that happened was lost"));
        }
        Ok(())
    }
}

async fn simulate(seed: u64) {
    let dice = Dice::new(seed);
    let tape: Tape = Arc::new((0..40).map(|_| 1 + dice.roll(20)).collect());
    let expect: Vec<(Mark, i64)> = (1u64..)
        .zip(tape.iter())
        .flat_map(|(number, size)| (1..=*size).map(move |minor| (Mark { major: number * 100, minor }, minor as i64)))
        .collect();
    let retry = RetryPolicy::new(Duration::from_millis(1), Duration::from_millis(8), 2.0, 0.5).unwrap();
    let ms = Duration::from_millis;
    let pace = Pace { retry, grace: ms(20), stall_max: ms(10), rejoin_min: ms(20), tick: ms(5) };
    let folder = tempfile::tempdir().unwrap();
    let board = Board::new(["s"].into_iter());
    let (stop, acknowledged) = (CancellationToken::new(), Arc::new(Mutex::new(Mark::default())));
    let (report, reports) = mpsc::channel(256);
    let mut lanes = Vec::new();
    let mut shelves = Vec::new();
    let mut threads = Vec::new();
    for (index, (can_split, dawdles)) in [(true, false), (false, true), (false, false)].into_iter().enumerate() {
        let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let worker = Worker {
            index,
            source: "s".into(),
            connector: Arc::new(ShelfConnector { shelf: Arc::clone(&shelf), dice: dice.clone(), can_split, dawdles }),
            commands: queue,
            reports: report.clone(),
            retry,
            runtime: Handle::current(),
            meter: SinkMeter::new("s".into(), index.to_string().into()),
            alive: Box::new(|| ()),
        };
        threads.push(std::thread::spawn(move || worker.run()));
        lanes.push(Lane { sink: index.to_string().into(), commands, state: LaneState::Away });
        shelves.push(shelf);
    }
    let ingest = Ingest {
        source: "s".into(),
        connector: Arc::new(TapeSource { tape, dice, acknowledged: Arc::clone(&acknowledged) }),
        lanes,
        reports,
        state: Arc::new(StateDirectory::open(folder.path()).unwrap()),
        board: Arc::clone(board.source("s").unwrap()),
        meter: SourceMeter::new("s".into()),
        stop: stop.clone(),
        pace,
        metrics_per_table: true,
        accept_server_position: false,
        lanes_opened: false,
    };
    let task = tokio::spawn(ingest.run());
    let deadline = Instant::now() + Duration::from_secs(60);
    let whole =
        |shelves: &[Arc<Mutex<Shelf>>]| shelves.iter().all(|shelf| shelf.lock().unwrap().rows.len() >= expect.len());
    while !whole(&shelves) && Instant::now() < deadline {
        tokio::time::timeout(ms(5), std::future::pending::<()>()).await.unwrap_err();
    }
    stop.cancel();
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap(),
        Outcome::Stopped,
        "seed {seed}"
    );
    for thread in threads {
        thread.join().unwrap();
    }
    let heard = *acknowledged.lock().unwrap();
    for shelf in shelves {
        let shelf = shelf.lock().unwrap();
        assert_eq!(shelf.rows, expect, "seed {seed}");
        assert!(shelf.progress.position.as_ref().unwrap().mark >= heard, "seed {seed}: acknowledged too early");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sink_ends_with_the_tape_whatever_breaks() {
    for seed in 1..=12 {
        simulate(seed).await;
    }
}
