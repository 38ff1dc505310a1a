//! What befalls a run: how often calls fail or take long, where the process ends, and what the checks found. Knows
//! nothing of sources or sinks.

use super::dice::Dice;
use super::stage::StageClock;
use crate::pipeline::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Everything that can befall a run, for the proof that it does.
pub(super) const BLOWS: [&str; 28] = [
    "answer lost",
    "amid the tables of a commit",
    "batch of several transactions",
    "commit failed",
    "crash",
    "early start",
    "end alone",
    "heartbeat",
    "keeping house failed",
    "late",
    "left behind",
    "line cut",
    "old state",
    "open refused",
    "schema change",
    "read again",
    "server not ready",
    "server refused",
    "sink halted",
    "snapshot found whole",
    "snapshot",
    "source halted",
    "start amid a transaction",
    "state lost",
    "table ahead",
    "table refused",
    "task held up",
    "write failed",
];

#[derive(Default)]
struct State {
    /// Blows that may still fall: a run must end.
    budget: u64,
    /// The process ends at this call from here.
    crash_in: Option<u64>,
    /// The server may refuse for good.
    may_halt: bool,
    verdict: Option<String>,
    struck: BTreeMap<&'static str, u64>,
}

/// The fate of a run.
pub(super) struct Fate {
    pub(super) dice: Dice,
    /// A call fails once in so many; 0 for never.
    fails: u64,
    /// A call takes long once in so many.
    late: u64,
    /// The machine lets the task wait amid a turn, once in so many of its calls.
    held_up: u64,
    state: Mutex<State>,
}

impl Fate {
    pub(super) fn new(dice: Dice, held_up: u64) -> Arc<Fate> {
        let odds = [0, 400, 100, 30, 10];
        let (fails, late) = (dice.pick(&odds), dice.pick(&odds));
        let budget = dice.pick(&[3, 12, 40]);
        let state = Mutex::new(State { budget, ..State::default() });
        Arc::new(Fate { dice, fails, late, held_up, state })
    }

    /// A life of the daemon begins: the process is to end at this call from here, or not at all, and the server may
    /// refuse for good or not.
    pub(super) fn begin(&self, crash_in: Option<u64>, may_halt: bool) {
        let mut state = self.state.lock().unwrap();
        (state.crash_in, state.may_halt) = (crash_in, may_halt);
    }

    /// Notes that something happened, for the proof that it does.
    pub(super) fn note(&self, what: &'static str) {
        assert!(BLOWS.contains(&what), "{what}");
        *self.state.lock().unwrap().struck.entry(what).or_default() += 1;
    }

    /// How often what happened.
    pub(super) fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().unwrap().struck.clone()
    }

    /// What a check found.
    pub(super) fn verdict(&self) -> Option<String> {
        self.state.lock().unwrap().verdict.clone()
    }

    fn strikes(&self, odds: u64, what: &'static str) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.budget == 0 || !self.dice.strikes(odds) {
            return false;
        }
        state.budget -= 1;
        *state.struck.entry(what).or_default() += 1;
        true
    }
}

/// An actor in the hand of fate.
#[derive(Clone)]
pub(super) struct Hand {
    pub(super) clock: StageClock,
    pub(super) fate: Arc<Fate>,
}

impl Hand {
    /// A place at which the process may end.
    fn pass(&self) {
        let ends = {
            let mut state = self.fate.state.lock().unwrap();
            state.crash_in = state.crash_in.map(|calls| calls.saturating_sub(1));
            state.crash_in == Some(0)
        };
        if ends {
            self.fate.note("crash");
            self.clock.stage.crash();
        }
    }

    /// The same, and others may act in between.
    pub(super) fn step(&self) {
        self.pass();
        if self.fate.dice.roll(3) == 0 {
            self.clock.give_way();
        }
    }

    /// Whether a call fails.
    pub(super) fn fails(&self, what: &'static str) -> bool {
        self.fate.strikes(self.fate.fails, what)
    }

    /// Whether the server refuses for good.
    pub(super) fn halts(&self) -> bool {
        let may = self.fate.state.lock().unwrap().may_halt;
        may && self.fate.strikes(self.fate.fails * 4, "source halted")
    }

    /// How long a call takes that takes long.
    pub(super) fn delay(&self) -> Option<Duration> {
        let late = self.fate.strikes(self.fate.late, "late");
        late.then(|| Duration::from_millis(self.fate.dice.pick(&[1, 20, 300, 1_500, 8_000])))
    }

    /// The task is held up, perhaps, between two steps of one turn, so that what it goes by is old: a thread that has no
    /// processor for a while is nothing odd.
    /// Returns whether it was.
    pub(super) fn hold_up(&self) -> bool {
        let is_held = self.fate.strikes(self.fate.held_up, "task held up");
        if is_held {
            self.clock.pause_amid_turn(Duration::from_millis(self.fate.dice.pick(&[60, 500, 3_000])));
        }
        is_held
    }

    /// Takes long, perhaps, in a thread.
    pub(super) fn dawdle(&self) {
        if let Some(delay) = self.delay() {
            self.clock.pause(delay);
        }
    }

    /// Takes long, perhaps, in the task.
    pub(super) async fn dawdle_in_task(&self) {
        if let Some(delay) = self.delay() {
            self.clock.sleep(delay).await;
        }
        self.clock.give_way_in_task().await;
    }

    /// A check has failed: nothing after it counts.
    pub(super) fn condemn(&self, verdict: String) -> ! {
        self.fate.state.lock().unwrap().verdict.get_or_insert(verdict);
        self.clock.stage.crash();
    }
}
