//! The pipeline from ingest to watermark in a seeded simulation: a source that reads a tape, breaks anywhere and begins
//! again early, sinks that refuse, fail before and after their commit, dawdle and cannot take a table, a daemon whose
//! process ends at any of their calls, a state directory that vanishes or is an old one. One actor at a time and a clock
//! that costs no time, so a run follows from its seed.
//!
//! At every commit a sink shows exactly the tape up to its place, once, in order, whole transactions only; no place goes
//! back; at the moment of an acknowledgement every sink holds what it gives up; and the run ends. A seed that fails is
//! named with the command that repeats it; one that found a fault joins `FIXTURES` with the fix.

mod dice;
mod fate;
mod planted;
mod resume;
mod shelf;
mod snapshot;
mod source;
mod stage;
mod tables;
mod tape;
mod worker;
mod world;

use fate::BLOWS;
use planted::Plant;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use world::Tally;

/// Seeds of every test run, from 0.
const SEEDS_PER_RUN: u64 = 400;
/// Seeds that once failed. 18535: a run that nobody settled left a part of a transaction, which the next one showed (the seed
/// goes another way since sinks commit table by table; `worker.rs` asks for the case itself). 8114: a sink that answered twice
/// committed in between, and the log was asked for from before what was given up.
const FIXTURES: [u64; 2] = [18_535, 8_114];
/// Set by `cargo xtask simulate`: how many seeds, and from which.
const SEEDS: &str = "PIPELINE_SIMULATION_SEEDS";
const FROM: &str = "PIPELINE_SIMULATION_FROM";

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs seeds, as many at a time as the machine has cores, until one fails.
fn run_all(seeds: impl Iterator<Item = u64> + Send) -> Tally {
    let (seeds, sum, failed) = (Mutex::new(seeds), Mutex::new(Tally::default()), AtomicBool::new(false));
    let work = || {
        let next = || seeds.lock().unwrap().next().filter(|_| !failed.load(Ordering::Relaxed));
        while let Some(seed) = next() {
            let tally = world::run(seed, None).unwrap_or_else(|wrong| {
                failed.store(true, Ordering::Relaxed);
                panic!("seed {seed}: {wrong}\nrepeat by: cargo xtask simulate --seeds 1 --from {seed}")
            });
            let mut sum = sum.lock().unwrap();
            sum.lives += tally.lives;
            sum.turns += tally.turns;
            sum.last = sum.last.max(tally.last);
            for (what, count) in tally.struck {
                *sum.struck.entry(what).or_default() += count;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap()
}

#[test]
fn every_sink_ends_with_the_tape_whatever_breaks() {
    let tally = run_all(FIXTURES.into_iter().chain(0..SEEDS_PER_RUN));
    let missing: Vec<_> = BLOWS.iter().filter(|what| !tally.struck.contains_key(*what)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

/// Runs the seeds that the environment asks for; without it there is nothing to do.
#[test]
fn long() {
    let Some(seeds) = number(SEEDS) else { return };
    let from = number(FROM).unwrap_or(0);
    let begin = Instant::now();
    let tally = run_all(from..from + seeds);
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    let (lives, turns, last, struck) = (tally.lives, tally.turns, tally.last, tally.struck);
    println!("{seeds} seeds, {lives} lives, {turns} turns, a last life of {last:?} at most, {struck:?}");
    println!("{:.0} seeds a minute", seeds as f64 / minutes);
}

/// The same seed is the same run: or a seed would be no bug report.
#[test]
fn a_seed_runs_the_same_way_twice() {
    for seed in 0..40 {
        let [first, second] = [(); 2].map(|()| world::run(seed, None).unwrap());
        assert_eq!((first.turns, first.struck), (second.turns, second.struck), "seed {seed}");
    }
}

/// The checks are checked: whatever is planted is found by several seeds, and called by its name by one at least. Most are
/// by a few of the first; a worker that takes what is stale does harm only where the task is held up at the wrong moment.
#[test]
fn planted_faults_are_caught() {
    let plants: [(Plant, &str); 19] = [
        (Plant::SourceDrops, "was due"),
        (Plant::SourceDoubles, "out of order"),
        (Plant::SourceSwaps, "out of order"),
        (Plant::SourceStale, "was due"),
        (Plant::SourceTears, "a part of the transaction is shown"),
        (Plant::SourceSkips, "was due"),
        (Plant::AcknowledgedEarly, "is acknowledged and sink"),
        (Plant::SinkDrops, "was due"),
        (Plant::SinkDoubles, "out of order"),
        (Plant::SinkSwaps, "out of order"),
        (Plant::SinkTears, "a part of the transaction is shown"),
        (Plant::SinkPromises, "is acknowledged and sink"),
        (Plant::SinkForgets, "was given up until"),
        (Plant::SinkBoasts, "was due"),
        (Plant::SinkStale, "and not"),
        (Plant::SinkRefuses, "still running after"),
        (Plant::WorkerStale, "was due"),
        (Plant::TablesForget, "was due"),
        (Plant::TablesLast, "is told to hold"),
    ];
    let catch = |(plant, name): (Plant, &str)| {
        let mut verdicts = Vec::new();
        for seed in 0..600 {
            verdicts.extend(world::run(seed, Some(plant)).err());
            if verdicts.len() >= 4 && verdicts.iter().any(|verdict: &String| verdict.contains(name)) {
                return;
            }
        }
        panic!("{plant:?} is not caught: {verdicts:#?}");
    };
    std::thread::scope(|scope| {
        plants.map(|plant| scope.spawn(move || catch(plant))).map(|caught| caught.join().unwrap())
    });
}
