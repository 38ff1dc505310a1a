//! The sink as a whole against a model: random tables, transactions, snapshots and schema changes, small limits, faults at
//! every call of the store, new starts, other writers. After every commit and every start each table, read from storage
//! alone, equals what the source held at the place that the table tells; before each start the Delta kernel reads the same (SK-30 to SK-37, SK-3B, SK-3C, SK-3E, PG-13, PG-30, PG-35,
//! MY-20).
//!
//! A run follows from its seed. A seed that fails is named with the command that repeats it; one that found a fault joins
//! `FIXTURES` with the fix.

pub(crate) mod chance;
mod datum;
pub(crate) mod feed;
mod following;
pub(crate) mod foreign;
pub(crate) mod kernel;
mod ops;
pub(crate) mod reading;
pub(crate) mod shape;
pub(crate) mod source;
mod truth;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Seeds of every test run, from 0.
const SEEDS_PER_RUN: u64 = 48;
/// Seeds that once failed.
const FIXTURES: [u64; 5] = [21, 22, 518, 2126, 990_019];
/// Set by `cargo xtask model`: how many seeds, from which, a folder in which to leave their tables.
const SEEDS: &str = "DELTA_MODEL_SEEDS";
const FROM: &str = "DELTA_MODEL_FROM";
const KEEP: &str = "DELTA_MODEL_KEEP";
/// Ends each seed after so many operations: to find out which one matters.
const OPERATIONS: &str = "DELTA_MODEL_OPERATIONS";

/// Tells how to repeat a seed when it fails, and that no other need begin.
struct Named<'a>(u64, &'a AtomicBool);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.store(true, Ordering::Relaxed);
            eprintln!("repeat by: cargo xtask model --seeds 1 --from {}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs seeds, as many at a time as the machine has cores; returns the number of faults that ended a sink.
fn run_all(seeds: impl Iterator<Item = u64> + Send, operations: Option<usize>, keep: Option<&Path>) -> usize {
    let (seeds, struck, failed) = (Mutex::new(seeds), AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let next = || seeds.lock().unwrap().next().filter(|_| !failed.load(Ordering::Relaxed));
        while let Some(seed) = next() {
            let _named = Named(seed, &failed);
            struck.fetch_add(ops::run(seed, operations, keep), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    struck.into_inner()
}

#[test]
fn tables_equal_their_source_whatever_fails() {
    let struck = run_all(FIXTURES.into_iter().chain(0..SEEDS_PER_RUN), None, None);
    assert!(struck > 24, "{struck} faults: the store fails");
}

/// Runs the seeds that the environment asks for; without it there is nothing to do.
#[test]
fn long() {
    let Some(seeds) = number(SEEDS) else { return };
    let from = number(FROM).unwrap_or(0);
    let operations = number(OPERATIONS).map(|operations| usize::try_from(operations).unwrap());
    let keep = std::env::var_os(KEEP).map(PathBuf::from);
    let begin = Instant::now();
    let struck = run_all(from..from + seeds, operations, keep.as_deref());
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    println!("{seeds} seeds, {struck} faults that ended a sink, {:.0} seeds a minute", seeds as f64 / minutes);
}
