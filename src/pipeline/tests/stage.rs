//! The stage of the simulation: the ingest task and the sinks' threads, of which one acts at a time, and a clock that
//! moves on when all of them wait. Who acts next follows from the seed. Knows nothing of what they do.

use super::dice::Dice;
use crate::pipeline::clock::Clock;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tidewire_core::source::BoxFuture;

/// The actor that is the task; the threads have the numbers after it.
const TASK: usize = 0;

/// What unwinds an actor whose process has ended.
struct Crash;

pub(super) struct Stage {
    state: Mutex<State>,
    /// One for each actor: rung when it is to act.
    bells: Vec<Condvar>,
    /// By actor, whether what it waits for may have come.
    woken: Vec<AtomicBool>,
    begin: Instant,
}

struct State {
    now: Duration,
    turn: usize,
    actors: Vec<Actor>,
    dice: Dice,
    /// The machine is busy once in so many turns: time passes while actors could act.
    busy: u64,
    turns: u64,
    /// The process has ended: nobody acts any more.
    crashed: bool,
    /// The limits of the run, and whether they were passed.
    latest: Duration,
    most_turns: u64,
    stuck: Option<String>,
    /// When the sleeps of the task end.
    sleeps: Vec<Duration>,
}

#[derive(Clone, Default)]
struct Actor {
    until: Option<Duration>,
    ended: bool,
}

impl Stage {
    /// For a task and so many threads. The run is stuck after so much time of its own, or so many turns.
    pub(super) fn new(threads: usize, dice: Dice, latest: Duration, most_turns: u64) -> Arc<Stage> {
        let state = State {
            now: Duration::ZERO,
            turn: TASK,
            actors: vec![Actor::default(); threads + 1],
            busy: dice.pick(&[0, 50, 10]),
            dice,
            turns: 0,
            crashed: false,
            latest,
            most_turns,
            stuck: None,
            sleeps: Vec::new(),
        };
        Arc::new(Stage {
            state: Mutex::new(state),
            bells: (0..=threads).map(|_| Condvar::new()).collect(),
            woken: (0..=threads).map(|_| AtomicBool::new(true)).collect(),
            begin: Instant::now(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Time since the run began.
    pub(super) fn now(&self) -> Duration {
        self.state().now
    }

    /// Turns that were taken.
    pub(super) fn turns(&self) -> u64 {
        self.state().turns
    }

    /// Ends the process here.
    pub(super) fn crash(&self) -> ! {
        self.state().crashed = true;
        resume_unwind(Box::new(Crash));
    }

    /// Lets others act, until `until` or until this actor is woken.
    fn pass(&self, me: usize, until: Option<Duration>) {
        let mut state = self.state();
        state.actors[me].until = until;
        let next = self.next(&mut state);
        state = self.hand_over(state, me, next);
        self.woken[me].store(false, Ordering::Relaxed);
        if state.crashed && me != TASK {
            drop(state);
            resume_unwind(Box::new(Crash));
        }
    }

    fn hand_over<'a>(&self, mut state: MutexGuard<'a, State>, me: usize, next: usize) -> MutexGuard<'a, State> {
        state.turn = next;
        if next != me {
            self.bells[next].notify_one();
            state = self.bells[me].wait_while(state, |state| state.turn != me).unwrap();
        }
        state
    }

    /// Who acts next. The clock moves when all wait.
    fn next(&self, state: &mut State) -> usize {
        state.turns += 1;
        if state.turns > state.most_turns && state.stuck.is_none() {
            state.stuck = Some(format!("still running after {} turns", state.turns));
        }
        let mut busy = state.dice.strikes(state.busy);
        loop {
            if state.crashed || state.stuck.is_some() {
                state.crashed = true;
                return TASK;
            }
            let now = state.now;
            let can_act = |index: usize, actor: &Actor| {
                !actor.ended
                    && (self.woken[index].load(Ordering::Relaxed) || actor.until.is_some_and(|until| until <= now))
            };
            let actors = state.actors.iter().enumerate();
            let able: Vec<usize> = actors.filter(|(index, actor)| can_act(*index, actor)).map(|(i, _)| i).collect();
            if !able.is_empty() && !std::mem::take(&mut busy) {
                return state.dice.pick(&able);
            }
            if state.actors.iter().all(|actor| actor.ended) {
                return TASK;
            }
            let waiting = state.actors.iter().filter(|actor| !actor.ended);
            match waiting.filter_map(|actor| actor.until).min() {
                Some(next) if next <= state.latest => state.now = next.max(now),
                _ if !able.is_empty() => {}
                Some(_) => state.stuck = Some(format!("still running after {:?}", state.latest)),
                None => state.stuck = Some("everybody waits for ever".to_owned()),
            }
        }
    }

    /// Runs a thread's part in its turns, from its first to its last.
    pub(super) fn enact(self: &Arc<Stage>, me: usize, part: impl FnOnce()) {
        let run = || {
            let state = self.state();
            let state = self.bells[me].wait_while(state, |state| state.turn != me).unwrap();
            if !state.crashed {
                drop(state);
                part();
            }
        };
        let ended = catch_unwind(AssertUnwindSafe(run));
        let mut state = self.state();
        state.actors[me].ended = true;
        let next = self.next(&mut state);
        state.turn = next;
        self.bells[next].notify_one();
        drop(state);
        ended.unwrap_or_else(not_a_crash);
    }

    /// Runs the task; `curtain` is asked after each of its turns, and when its time has come. `None` when the process
    /// crashed. Afterwards no actor is left.
    ///
    /// # Errors
    /// When the run does not end.
    pub(super) fn play<T>(
        self: &Arc<Stage>,
        task: impl Future<Output = T>,
        curtain: impl FnMut() -> Option<Duration>,
    ) -> Result<Option<T>, String> {
        let mut task = Box::pin(task);
        let ended = self.poll_to_the_end(task.as_mut(), curtain);
        drop(task);
        let mut state = self.state();
        if ended.is_none() {
            state.crashed = true;
        }
        state.actors[TASK].ended = true;
        while let Some(left) = state.actors.iter().position(|actor| !actor.ended) {
            let next = if state.crashed { left } else { self.next(&mut state) };
            state = self.hand_over(state, TASK, next);
        }
        match state.stuck.take() {
            Some(stuck) => Err(stuck),
            None => Ok(ended),
        }
    }

    fn poll_to_the_end<T>(
        self: &Arc<Stage>,
        mut task: Pin<&mut impl Future<Output = T>>,
        mut curtain: impl FnMut() -> Option<Duration>,
    ) -> Option<T> {
        let waker = self.waker(TASK);
        loop {
            self.state().sleeps.clear();
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
            match polled {
                Ok(Poll::Ready(outcome)) => return Some(outcome),
                Ok(Poll::Pending) => {}
                Err(payload) => {
                    not_a_crash(payload);
                    return None;
                }
            }
            let curtain = curtain();
            let until = self.state().sleeps.iter().copied().chain(curtain).min();
            self.pass(TASK, until);
            if self.state().crashed {
                return None;
            }
        }
    }

    fn waker(self: &Arc<Stage>, me: usize) -> Waker {
        Waker::from(Arc::new(Ring { stage: Arc::clone(self), me }))
    }
}

/// A panic that is no crash goes on.
fn not_a_crash(payload: Box<dyn Any + Send>) {
    if !payload.is::<Crash>() {
        resume_unwind(payload);
    }
}

struct Ring {
    stage: Arc<Stage>,
    me: usize,
}

impl Wake for Ring {
    fn wake(self: Arc<Ring>) {
        self.stage.woken[self.me].store(true, Ordering::Relaxed);
    }
}

/// An actor's clock.
#[derive(Clone)]
pub(super) struct StageClock {
    pub(super) stage: Arc<Stage>,
    pub(super) me: usize,
}

impl StageClock {
    /// The task's.
    pub(super) fn of_task(stage: &Arc<Stage>) -> StageClock {
        StageClock { stage: Arc::clone(stage), me: TASK }
    }

    /// Of the thread with this number, from 0.
    pub(super) fn of_thread(stage: &Arc<Stage>, index: usize) -> StageClock {
        StageClock { stage: Arc::clone(stage), me: TASK + 1 + index }
    }

    /// Blocks a thread.
    pub(super) fn pause(&self, length: Duration) {
        let until = self.stage.now() + length;
        while self.stage.now() < until {
            self.stage.pass(self.me, Some(until));
        }
    }

    /// Holds up the task in the midst of a turn.
    pub(super) fn pause_amid_turn(&self, length: Duration) {
        let until = self.stage.now() + length;
        while self.stage.now() < until && !self.stage.state().crashed {
            self.stage.pass(self.me, Some(until));
        }
        self.give_way();
    }

    /// Lets others act, perhaps, before this one goes on: a thread, or the task in the midst of a turn.
    pub(super) fn give_way(&self) {
        self.stage.woken[self.me].store(true, Ordering::Relaxed);
        self.stage.pass(self.me, None);
        // What it waits for may have come meanwhile.
        self.stage.woken[self.me].store(true, Ordering::Relaxed);
        if self.stage.state().crashed {
            resume_unwind(Box::new(Crash));
        }
    }

    /// The same between two turns of the task.
    pub(super) async fn give_way_in_task(&self) {
        let mut given = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut given, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl Clock for StageClock {
    fn now(&self) -> Instant {
        self.stage.begin + self.stage.now()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let (stage, until) = (Arc::clone(&self.stage), self.stage.now() + length);
        Box::pin(std::future::poll_fn(move |_| {
            let mut state = stage.state();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.sleeps.push(until);
            Poll::Pending
        }))
    }

    fn block_on(&self, limit: Duration, mut future: Pin<&mut (dyn Future<Output = ()> + Send)>) -> bool {
        let (waker, until) = (self.stage.waker(self.me), self.stage.now() + limit);
        loop {
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                return true;
            }
            if self.stage.now() >= until {
                // Others have their turn even where this one asks again and again.
                self.give_way();
                return false;
            }
            self.stage.pass(self.me, Some(until));
        }
    }
}
