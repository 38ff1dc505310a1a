//! A run of the simulation: what outlives the daemon, and the lives of the daemon in it, each of which ends in a crash,
//! by a stop or, the last one, when every sink has everything.

use super::dice::Dice;
use super::fate::{Fate, Hand};
use super::planted::{Plant, PlantedSink, PlantedSource};
use super::shelf::{Refusal, Shelf, ShelfConnector, wants};
use super::source::TapeSource;
use super::stage::{Stage, StageClock};
use super::tape::{STRIDE, Tape};
use crate::pipeline::ingest::{Ingest, Lane, LaneState, Outcome};
use crate::pipeline::pace::Pace;
use crate::pipeline::ship::{HaltedTables, QUEUE_BATCHES, TAKES_STALE, Worker};
use crate::state::StateDirectory;
use crate::status::{Board, SourceBoard, State};
use crate::telemetry::{SinkMeter, SourceMeter};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tidewire_core::retry::RetryPolicy;
use tidewire_core::{Mark, SinkConnector, SourceConnector};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A life of the daemon takes no longer, by its own clock, and no more turns.
const LONGEST_LIFE: Duration = Duration::from_mins(15);
const MOST_TURNS: u64 = 100_000;

/// What came of a run.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) struck: BTreeMap<&'static str, u64>,
    pub(super) lives: u64,
    pub(super) turns: u64,
    /// Time that the last life took, by its own clock.
    pub(super) last: Duration,
}

/// What outlives the daemon: the source's log, the sinks' tables, the state directory.
pub(super) struct World {
    dice: Dice,
    fate: Arc<Fate>,
    tape: Arc<Tape>,
    pub(super) shelves: Arc<[Arc<Mutex<Shelf>>]>,
    acknowledged: Arc<Mutex<Mark>>,
    seen: Arc<Mutex<Mark>>,
    captured: usize,
    pace: Pace,
    batch_max: u64,
    folder: TempDir,
    plant: Option<Plant>,
    turns: u64,
    last: Duration,
}

/// One life of the daemon.
#[derive(Default)]
struct Life {
    /// By sink.
    refusals: Vec<Refusal>,
    crash_in: Option<u64>,
    /// `None`: when every sink has everything.
    stop_at: Option<Duration>,
}

/// Runs a seed, with a planted fault if one is given.
///
/// # Errors
/// What is wrong.
pub(super) fn run(seed: u64, plant: Option<Plant>) -> Result<Tally, String> {
    let mut world = World::new(seed, plant);
    let lives = world.dice.roll(7);
    for _ in 0..lives {
        let life = world.draw();
        world.live(&life)?;
        world.meddle();
        world.captured = world.tape.rows.len().min(world.captured + world.dice.roll(2) as usize);
    }
    world.captured = world.tape.rows.len();
    world.live(&Life { refusals: vec![Refusal::default(); world.shelves.len()], ..Life::default() })?;
    Ok(Tally { struck: world.fate.struck(), lives: lives + 1, turns: world.turns, last: world.last })
}

impl World {
    fn new(seed: u64, plant: Option<Plant>) -> World {
        let dice = Dice::new(seed);
        let tape = Arc::new(Tape::new(&dice));
        let tables = tape.rows.len();
        let captured = if tape.has_snapshot { 1 + dice.roll(tables as u64) as usize } else { tables };
        let sinks = 1 + dice.roll(3);
        let (held_up, by_table) = extras(seed, sinks);
        let shelf = |is_by_table: bool| Arc::new(Mutex::new(Shelf::new(Arc::clone(&tape), wants(&dice), is_by_table)));
        let shelves = by_table.into_iter().map(shelf).collect();
        let ms = Duration::from_millis;
        let pace = Pace {
            retry: RetryPolicy::new(ms(50), ms(dice.pick(&[400, 2_000])), 2.0, 0.0).unwrap(),
            grace: ms(dice.pick(&[20, 2_000])),
            stall_max: ms(dice.pick(&[10, 500])),
            rejoin_min: ms(dice.pick(&[20, 3_000])),
            tick: ms(dice.pick(&[50, 250])),
        };
        // The state directory costs a sync of a disk otherwise.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        World {
            fate: Fate::new(dice.clone(), held_up),
            tape,
            shelves,
            acknowledged: Arc::default(),
            seen: Arc::default(),
            captured,
            pace,
            batch_max: dice.pick(&[1, 4, 40]),
            folder: folder.unwrap(),
            plant,
            turns: 0,
            last: Duration::ZERO,
            dice,
        }
    }

    /// What befalls the next life.
    fn draw(&self) -> Life {
        let dice = &self.dice;
        let place = || Mark { major: STRIDE * (1 + dice.roll(self.tape.transactions.len() as u64)), minor: 1 };
        let refusal = |_: &Arc<Mutex<Shelf>>| {
            let table = (dice.roll(4) == 0).then(|| (dice.roll(self.tape.rows.len() as u64) as usize, place()));
            Refusal { table, all: (dice.roll(12) == 0).then(place) }
        };
        let refusals = self.shelves.iter().map(refusal).collect();
        let reach = dice.pick(&[4, 20, 100, 600]);
        let crash_in = (dice.roll(3) > 0).then(|| 1 + dice.roll(reach));
        let most = dice.pick(&[20, 500, 10_000]);
        Life { refusals, crash_in, stop_at: Some(Duration::from_millis(dice.roll(most))) }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// What becomes of the state directory between two lives.
    fn meddle(&self) {
        let old = self.folder.path().join("old");
        match self.dice.roll(6) {
            0 => {
                self.fate.note("state lost");
                std::fs::remove_dir_all(self.state()).unwrap();
            }
            1 => copy(&self.state(), &old),
            2 if old.is_dir() => {
                self.fate.note("old state");
                copy(&old, &self.state());
            }
            _ => {}
        }
    }

    /// One life.
    fn live(&mut self, life: &Life) -> Result<(), String> {
        let latest = LONGEST_LIFE;
        let stage = Stage::new(self.shelves.len(), self.dice.clone(), latest, MOST_TURNS);
        let halted_before = self.halts();
        self.fate.begin(life.crash_in, life.stop_at.is_some());
        let stop = CancellationToken::new();
        // What is asked of the log beside the flow is asked in this runtime, which nobody drives.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let entered = runtime.enter();
        let board = Board::new(["s"].into_iter());
        let board = board.source("s").unwrap();
        let (ingest, workers) = self.daemon(life, &stage, &stop, board);
        let act = |(index, worker): (usize, Worker)| {
            let (stage, takes_stale) = (Arc::clone(&stage), self.plant == Some(Plant::WorkerStale));
            std::thread::spawn(move || {
                TAKES_STALE.set(takes_stale);
                stage.enact(1 + index, || worker.run());
            })
        };
        let threads: Vec<_> = workers.into_iter().enumerate().map(act).collect();
        let curtain = || {
            let now = stage.now();
            self.note_left_behind(board);
            let falls = life.stop_at.map_or_else(|| self.is_complete(), |at| at <= now);
            if falls {
                stop.cancel();
            }
            life.stop_at.filter(|_| !falls)
        };
        let ended = stage.play(ingest.run(), curtain);
        drop(entered);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        self.turns += stage.turns();
        self.last = stage.now();
        if let Some(verdict) = self.fate.verdict() {
            return Err(verdict);
        }
        self.judge(life, ended?, self.halts() != halted_before)
    }

    /// How often the source halted.
    fn halts(&self) -> Option<u64> {
        self.fate.struck().get("source halted").copied()
    }

    /// How a life may end.
    fn judge(&self, life: &Life, ended: Option<Outcome>, source_halted: bool) -> Result<(), String> {
        let no_sink_left = life.refusals.iter().all(|refusal| refusal.table.is_some() || refusal.all.is_some());
        match ended {
            None if life.crash_in.is_some() => Ok(()),
            Some(Outcome::Halted) if source_halted || no_sink_left => Ok(()),
            Some(Outcome::Stopped) if life.stop_at.is_some() || self.is_complete() => Ok(()),
            ended => Err(format!("the daemon ended as {ended:?}")),
        }
    }

    /// Whether every sink has everything, and the server was told.
    fn is_complete(&self) -> bool {
        let shelves = self.shelves.iter().all(|shelf| shelf.lock().unwrap().is_complete());
        shelves && *self.acknowledged.lock().unwrap() >= self.tape.end()
    }

    fn note_left_behind(&self, board: &SourceBoard) {
        let is_behind = |index| board.update_sink(&format!("{index}"), |sink| sink.state == State::Lagging);
        if (0..self.shelves.len()).any(is_behind) {
            self.fate.note("left behind");
        }
    }

    fn daemon(
        &self,
        life: &Life,
        stage: &Arc<Stage>,
        stop: &CancellationToken,
        board: &Arc<SourceBoard>,
    ) -> (Ingest, Vec<Worker>) {
        let (report, reports) = mpsc::channel(1024);
        let (mut lanes, mut workers) = (Vec::new(), Vec::new());
        for (index, (shelf, refusal)) in self.shelves.iter().zip(&life.refusals).enumerate() {
            let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
            let clock = StageClock::of_thread(stage, index);
            let hand = Hand { clock: clock.clone(), fate: Arc::clone(&self.fate) };
            let shelf = ShelfConnector { shelf: Arc::clone(shelf), hand, refusal: *refusal, plant: self.plant };
            let connector: Arc<dyn SinkConnector> = match self.plant {
                Some(plant) => Arc::new(PlantedSink::new(plant, shelf)),
                None => Arc::new(shelf),
            };
            let sink: Arc<str> = index.to_string().into();
            workers.push(Worker {
                index,
                source: "s".into(),
                connector,
                commands: queue,
                reports: report.clone(),
                retry: self.pace.retry,
                clock: Arc::new(clock),
                meter: SinkMeter::new("s".into(), Arc::clone(&sink)),
                alive: Box::new(|| ()),
                halted: HaltedTables::default(),
            });
            lanes.push(Lane { sink, commands, state: LaneState::Away, halted: BTreeSet::new(), refused: false });
        }
        let clock = StageClock::of_task(stage);
        let ingest = Ingest {
            source: "s".into(),
            connector: self.source(&clock),
            lanes,
            reports,
            state: Arc::new(StateDirectory::open(&self.state()).unwrap()),
            board: Arc::clone(board),
            meter: SourceMeter::new("s".into()),
            stop: stop.clone(),
            pace: self.pace,
            clock: Arc::new(clock),
            metrics_per_table: true,
            accept_server_position: false,
            lanes_opened: false,
        };
        (ingest, workers)
    }

    fn source(&self, clock: &StageClock) -> Arc<dyn SourceConnector> {
        let source = TapeSource {
            tape: Arc::clone(&self.tape),
            hand: Hand { clock: clock.clone(), fate: Arc::clone(&self.fate) },
            shelves: Arc::clone(&self.shelves),
            acknowledged: Arc::clone(&self.acknowledged),
            seen: Arc::clone(&self.seen),
            captured: self.captured,
            batch_max: self.batch_max,
        };
        match self.plant {
            Some(plant) => Arc::new(PlantedSource::new(plant, source)),
            None => Arc::new(source),
        }
    }
}

/// How often the task is held up, and which sinks commit table by table. Nothing of it befalls odd seeds: they are what they
/// were before it was there, and those that once failed are of use.
fn extras(seed: u64, sinks: u64) -> (u64, Vec<bool>) {
    if seed % 2 == 1 {
        return (0, vec![false; sinks as usize]);
    }
    let dice = Dice::new(!seed);
    (dice.pick(&[0, 12, 3]), (0..sinks).map(|_| dice.roll(2) == 0).collect())
}

/// Puts a copy of a folder in the place of another.
fn copy(from: &Path, to: &Path) {
    if to.is_dir() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
