//! The pipeline in a seeded simulation: a source that reads a tape and breaks, sinks that refuse, fail before
//! and after their commit, dawdle, and cannot take a table. Whatever happens, every sink ends with the tape, once, in
//! order, and the source was never told to forget what a sink did not hold. The seed is the bug report.

mod shelf;
mod tape;

use crate::pipeline::clock::SystemClock;
use crate::pipeline::ingest::{Ingest, Lane, LaneState, Outcome};
use crate::pipeline::pace::Pace;
use crate::pipeline::ship::{Command, Event, HaltedTables, QUEUE_BATCHES, Report, Worker};
use crate::state::StateDirectory;
use crate::status::Board;
use crate::telemetry::{SinkMeter, SourceMeter};
use shelf::{Row, Shelf, ShelfConnector};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tape::{TABLES, Tape, TapeSource, descriptor, table_of};
use tidewire_core::retry::RetryPolicy;
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Error, Finding, Mark, Phase, Position, Progress, Result, Sink, SinkConnector,
    TableSchema,
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

/// What outlives the daemon: the source's log and the sinks' tables.
struct World {
    seed: u64,
    dice: Dice,
    tape: Tape,
    acknowledged: Arc<Mutex<Mark>>,
    /// What each sink shows, and whether it can split transactions, and dawdles.
    shelves: Vec<(Arc<Mutex<Shelf>>, bool, bool)>,
}

impl World {
    fn new(seed: u64) -> World {
        let dice = Dice::new(seed);
        let tape: Tape = Arc::new((0..40).map(|_| 1 + dice.roll(20)).collect());
        let shelf = |(can_split, dawdles)| (Arc::new(Mutex::new(Shelf::default())), can_split, dawdles);
        let shelves = [(true, false), (false, true), (false, false)].into_iter().map(shelf).collect();
        World { seed, dice, tape, acknowledged: Arc::default(), shelves }
    }

    /// The tape as a sink should show it.
    fn expected(&self) -> Vec<Row> {
        let rows = |(number, size): (u64, &u64)| {
            let row = move |minor: u64| {
                let table = format!("public.{}", TABLES[table_of(minor)]);
                (Mark { major: number * 100, minor }, table, minor as i64)
            };
            (1..=*size).map(row).collect::<Vec<_>>()
        };
        (1u64..).zip(self.tape.iter()).flat_map(rows).collect()
    }

    /// Lets a daemon run until `done`, and stops it. `refuses` is, by sink, from where on it cannot take table `u`.
    async fn live(&self, refuses: [Option<Mark>; 3], done: impl Fn(&[Progress], &[Vec<Row>]) -> bool) {
        let (seed, ms) = (self.seed, Duration::from_millis);
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let (ingest, threads) = self.daemon(refuses, folder.path(), &stop);
        let task = tokio::spawn(ingest.run());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let seen: Vec<_> = self
                .shelves
                .iter()
                .map(|(shelf, ..)| {
                    let shelf = shelf.lock().unwrap();
                    (shelf.progress.clone(), shelf.rows.clone())
                })
                .collect();
            let (progress, rows): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
            if done(&progress, &rows) {
                break;
            }
            assert!(Instant::now() < deadline, "seed {seed}: the sinks hold {progress:?}");
            tokio::time::timeout(ms(5), std::future::pending::<()>()).await.unwrap_err();
        }
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), task).await;
        assert_eq!(ended.expect("the task ends").unwrap(), Outcome::Stopped, "seed {seed}");
        for thread in threads {
            thread.join().unwrap();
        }
        let heard = *self.acknowledged.lock().unwrap();
        for (shelf, ..) in &self.shelves {
            let progress = shelf.lock().unwrap().progress.clone();
            assert!(progress.lets_go().unwrap().mark >= heard, "seed {seed}: acknowledged too early");
        }
    }

    fn daemon(
        &self,
        refuses: [Option<Mark>; 3],
        folder: &std::path::Path,
        stop: &CancellationToken,
    ) -> (Ingest, Vec<JoinHandle<()>>) {
        let retry = RetryPolicy::new(Duration::from_millis(1), Duration::from_millis(8), 2.0, 0.5).unwrap();
        let ms = Duration::from_millis;
        let pace = Pace { retry, grace: ms(20), stall_max: ms(10), rejoin_min: ms(20), tick: ms(5) };
        let board = Board::new(["s"].into_iter());
        let (report, reports) = mpsc::channel(256);
        let (mut lanes, mut threads) = (Vec::new(), Vec::new());
        for (index, ((shelf, can_split, dawdles), refuses)) in self.shelves.iter().zip(refuses).enumerate() {
            let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
            let (shelf, dice) = (Arc::clone(shelf), self.dice.clone());
            let connector = ShelfConnector { shelf, dice, can_split: *can_split, dawdles: *dawdles, refuses };
            let worker = worker(index, Arc::new(connector), queue, report.clone(), retry);
            threads.push(std::thread::spawn(move || worker.run()));
            let sink = index.to_string().into();
            lanes.push(Lane { sink, commands, state: LaneState::Away, halted: BTreeSet::new() });
        }
        let (tape, acknowledged) = (Arc::clone(&self.tape), Arc::clone(&self.acknowledged));
        let ingest = Ingest {
            source: "s".into(),
            connector: Arc::new(TapeSource { tape, dice: self.dice.clone(), acknowledged }),
            lanes,
            reports,
            state: Arc::new(StateDirectory::open(folder).unwrap()),
            board: Arc::clone(board.source("s").unwrap()),
            meter: SourceMeter::new("s".into()),
            stop: stop.clone(),
            pace,
            clock: Arc::new(SystemClock(Handle::current())),
            metrics_per_table: true,
            accept_server_position: false,
            lanes_opened: false,
        };
        (ingest, threads)
    }
}

fn worker(
    index: usize,
    connector: Arc<dyn SinkConnector>,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Sender<Report>,
    retry: RetryPolicy,
) -> Worker {
    Worker {
        index,
        source: "s".into(),
        connector,
        commands,
        reports,
        retry,
        clock: Arc::new(SystemClock(Handle::current())),
        meter: SinkMeter::new("s".into(), index.to_string().into()),
        alive: Box::new(|| ()),
        halted: HaltedTables::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sink_ends_with_the_tape_whatever_breaks() {
    for seed in 1..=12 {
        let world = World::new(seed);
        let expect = world.expected();
        world.live([None; 3], |_, rows| rows.iter().all(|rows| rows.len() >= expect.len())).await;
        for (shelf, ..) in &world.shelves {
            assert_eq!(shelf.lock().unwrap().rows, expect, "seed {seed}");
        }
    }
}

/// Two of three sinks meet a row that they cannot take. Everything else arrives, nothing of the table from that
/// transaction on is in them, and the log stays; once the row fits, the next daemon brings the rest, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_a_sink_cannot_take_halts_alone_and_catches_up() {
    for seed in 1..=8 {
        let world = World::new(seed);
        let expect = world.expected();
        let in_u = |row: &&Row| row.1 == "public.u";
        let poison = expect.iter().filter(in_u).nth(expect.iter().filter(in_u).count() / 2).unwrap().0;
        let without: Vec<Row> = expect.iter().filter(|row| !in_u(row) || row.0.major < poison.major).cloned().collect();
        let refuses = [Some(poison), None, Some(poison)];
        let end = expect.last().unwrap().0.major;
        let reached = |progress: &Progress| progress.position.as_ref().is_some_and(|p| p.mark.major > end);
        world.live(refuses, |progress, _| progress.iter().all(reached)).await;
        for (index, (shelf, can_split, _)) in world.shelves.iter().enumerate() {
            let shelf = shelf.lock().unwrap();
            let behind: Vec<&String> = shelf.progress.behind.keys().collect();
            if index == 1 {
                assert_eq!((&shelf.rows, behind.len()), (&expect, 0), "seed {seed}");
                continue;
            }
            assert_eq!(behind, ["public.u"], "seed {seed}");
            let place = shelf.progress.lets_go().unwrap().mark;
            let held = |row: &&Row| !in_u(row) || row.0 <= place;
            assert!(place < poison, "seed {seed}");
            let shown: Vec<Row> = expect.iter().filter(held).cloned().collect();
            assert_eq!(shelf.rows, shown, "seed {seed}, sink {index}");
            if !can_split {
                assert!(shown.len() <= without.len(), "seed {seed}: a part of the transaction is shown");
            }
        }
        // A table is with the others again once a batch has come that ends behind where they are.
        let level = |progress: &[Progress]| progress.iter().all(|progress| progress.behind.is_empty());
        let whole = |rows: &[Vec<Row>]| rows.iter().all(|rows| rows.len() >= expect.len());
        world.live([None; 3], |progress, rows| level(progress) && whole(rows)).await;
        for (shelf, ..) in &world.shelves {
            let mut shelf = shelf.lock().unwrap();
            assert!(shelf.progress.behind.is_empty(), "seed {seed}");
            let of = |table: &str| shelf.rows.iter().filter(|row| row.1 == table).cloned().collect::<Vec<_>>();
            for table in ["public.t", "public.u"] {
                let expect: Vec<Row> = expect.iter().filter(|row| row.1 == table).cloned().collect();
                assert_eq!(of(table), expect, "seed {seed}: order within {table}");
            }
            shelf.rows.sort();
            assert_eq!(shelf.rows, expect, "seed {seed}");
        }
    }
}

/// A sink whose first commit succeeds and whose others fail.
#[derive(Clone, Default)]
struct Failing {
    committed: Arc<AtomicBool>,
    /// Batches that it was given.
    written: Arc<AtomicUsize>,
}

impl SinkConnector for Failing {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: Duration::from_secs(3600),
            commit_changes: usize::MAX,
            commit_bytes: usize::MAX,
            commit_when_idle: false,
            can_split_transactions: true,
        }
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, _source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        Ok((Box::new(self.clone()), Progress::default()))
    }
}

impl Sink for Failing {
    fn write(&mut self, _batch: &Batch, _selection: Selection<'_>) -> Result<()> {
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&mut self, _progress: &Progress) -> Result<()> {
        if self.committed.swap(true, Ordering::Relaxed) {
            Err(Error::retry("broken", "the sink is broken"))
        } else {
            Ok(())
        }
    }
}

/// The last commit has no later attempt: a daemon that is asked to stop must not wait for a sink that is broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_ends_when_its_last_commit_fails() {
    let retry = RetryPolicy::new(Duration::from_millis(1), Duration::from_millis(8), 2.0, 0.5).unwrap();
    let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
    let (report, mut reports) = mpsc::channel(256);
    // An empty batch moves the place that a commit stores. The first is committed at once, the second at the end.
    let batch = |major| {
        let place = Position::new(Mark { major, minor: 0 }, "t");
        Arc::new(BatchBuilder::new(descriptor(), Phase::Stream, BatchLimits::default()).finish(Some(place), true, 0))
    };
    let script = [
        Command::Open,
        Command::Start(1, Arc::default()),
        Command::Deliver(1, batch(10)),
        Command::Deliver(1, batch(20)),
        Command::Close,
    ];
    for command in script {
        commands.send(command).await.unwrap();
    }
    let sink = Failing::default();
    let worker = worker(0, Arc::new(sink.clone()), queue, report, retry);
    let thread = std::thread::spawn(move || worker.run());
    let mut seen = Vec::new();
    while let Some(report) = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await.expect("an end") {
        seen.push(match report.event {
            Event::Ready(_) => "ready",
            Event::Durable(_) => "durable",
            Event::Failed(_) => "failed",
            Event::Closed => "closed",
            other => panic!("{other:?}"),
        });
    }
    thread.join().unwrap();
    assert_eq!(seen, ["ready", "durable", "failed", "closed"]);
    // The end of a transaction may come in a batch of its own.
    assert_eq!(sink.written.load(Ordering::Relaxed), 2);
}
