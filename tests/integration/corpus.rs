//! The corpora of the fuzz targets, and deterministic damage to each of their inputs, read by the very functions that are
//! fuzzed: what was found once is asked of every change, with the compiler and the profile of all other tests and without a
//! search that could find something else each time. `cargo xtask test` goes on damaging them for a minute for each target, in
//! the same order each time. The search that follows what the code does with an input is `cargo xtask fuzz`.

#[path = "../../fuzz/readers/config.rs"]
mod config;
#[path = "../../fuzz/readers/delta_index.rs"]
mod delta_index;
#[path = "../../fuzz/readers/delta_log.rs"]
mod delta_log;
#[path = "../../fuzz/readers/delta_vector.rs"]
mod delta_vector;
#[path = "../../fuzz/readers/mysql_ddl.rs"]
mod mysql_ddl;
#[path = "../../fuzz/readers/mysql_gtid.rs"]
mod mysql_gtid;
#[path = "../../fuzz/readers/mysql_json.rs"]
mod mysql_json;
#[path = "../../fuzz/readers/mysql_log.rs"]
mod mysql_log;
#[path = "../../fuzz/readers/pg_copy_binary.rs"]
mod pg_copy_binary;
#[path = "../../fuzz/readers/pg_copy_line.rs"]
mod pg_copy_line;
#[path = "../../fuzz/readers/pg_frames.rs"]
mod pg_frames;
#[path = "../../fuzz/readers/pg_value.rs"]
mod pg_value;
#[path = "../../fuzz/readers/pgoutput.rs"]
mod pgoutput;

use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tidewire_testkit::workload::Dice;

/// A target: its name, its reader, and how often each input is damaged.
type Target = (&'static str, fn(&[u8]) -> bool, u64);

const TARGETS: [Target; 13] = [
    // Each is written to a file and read from there.
    ("config", config::read, 4),
    ("delta_index", delta_index::read, 100),
    ("delta_log", delta_log::read, 100),
    ("delta_vector", delta_vector::read, 100),
    ("mysql_ddl", mysql_ddl::read, 40),
    ("mysql_gtid", mysql_gtid::read, 100),
    ("mysql_json", mysql_json::read, 100),
    ("mysql_log", mysql_log::read, 40),
    ("pg_copy_binary", pg_copy_binary::read, 100),
    ("pg_copy_line", pg_copy_line::read, 100),
    ("pg_frames", pg_frames::read, 100),
    ("pg_value", pg_value::read, 40),
    ("pgoutput", pgoutput::read, 40),
];

/// Seconds for which each target is given damaged inputs, beyond those that it is always given.
const SECONDS: &str = "TESTKIT_DAMAGE_SECONDS";
/// Targets at a time, when they are given so many seconds.
const AT_ONCE: usize = 2;
/// How long all of it may take, also beside other work; it takes three seconds.
const PATIENCE: Duration = Duration::from_secs(300);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().trim_end_matches(".rs").to_owned())).collect()
}

/// The input with a few of its bytes changed, a piece gone, doubled or taken from another input, or cut off.
fn damaged(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut piece = |of: &[u8]| {
        let from = dice.below(of.len() as u64 + 1) as usize;
        let length = dice.below(9).min((of.len() - from) as u64) as usize;
        from..from + length
    };
    let (here, there) = (piece(input), piece(other));
    match dice.below(6) {
        0 => bytes.truncate(here.start),
        1 => drop(bytes.drain(here)),
        2 => drop(bytes.splice(here, other[there].iter().copied())),
        3 => drop(bytes.splice(here.start..here.start, other[there].iter().copied())),
        _ => {
            for _ in 0..=dice.below(4) {
                if bytes.is_empty() {
                    break;
                }
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = match dice.below(3) {
                    0 => bytes[at] ^ (1 << dice.below(8)),
                    1 => [0, 1, 0x7f, 0x80, 0xfe, 0xff][dice.below(6) as usize],
                    _ => dice.any() as u8,
                };
            }
        }
    }
    bytes
}

/// What each target reads at the moment.
type Current = Arc<Mutex<BTreeMap<&'static str, Vec<u8>>>>;

fn corpus(name: &str) -> Result<Vec<Vec<u8>>> {
    let folder = folder().join("corpus").join(name);
    let read_all = |name: &String| fs::read(folder.join(name)).with_context(|| format!("read {name}"));
    names(&folder)?.iter().map(read_all).collect()
}

/// Whether the target accepts an input; an error when it panics.
fn ask((name, read, _): Target, input: &[u8], current: &Current) -> Result<bool> {
    current.lock().unwrap_or_else(PoisonError::into_inner).insert(name, input.to_vec());
    let asked = catch_unwind(|| read(input));
    asked.ok().with_context(|| format!("{name} panics at {}", input.escape_ascii()))
}

fn replay(target: Target, current: &Current) -> Result<()> {
    let (name, _, damages) = target;
    let inputs = corpus(name)?;
    let ask = |input: &[u8]| ask(target, input, current);
    let mut accepted = 0;
    for input in &inputs {
        accepted += usize::from(ask(input)?);
    }
    // Inputs of which none is read as what it was meant for test nothing but the refusal.
    ensure!(accepted > 0, "none of {} inputs of {name} is accepted: the format is another one now", inputs.len());
    let mut dice = Dice::new(inputs.len() as u64);
    for (at, input) in inputs.iter().enumerate() {
        for _ in 0..damages {
            let other = &inputs[dice.below(inputs.len() as u64) as usize];
            ask(&damaged(input, other, &mut dice)).with_context(|| format!("made from input {at}"))?;
        }
    }
    current.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    eprintln!("{name}: {} inputs, {accepted} accepted, {damages} times damaged each", inputs.len());
    Ok(())
}

/// As long as it takes: inputs of the corpus, each damaged up to four times.
fn go_on(target: Target, current: &Current, length: Duration) -> Result<()> {
    let (name, ..) = target;
    let inputs = corpus(name)?;
    let (mut dice, mut asked, end) = (Dice::new(1), 0u64, Instant::now() + length);
    while Instant::now() < end {
        let pick = |dice: &mut Dice| &inputs[dice.below(inputs.len() as u64) as usize];
        let mut input = pick(&mut dice).clone();
        for _ in 0..=dice.below(4) {
            let other = pick(&mut dice);
            input = damaged(&input, other, &mut dice);
        }
        ask(target, &input, current).with_context(|| format!("damaged input {asked}"))?;
        asked += 1;
    }
    current.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    eprintln!("{name}: {asked} damaged inputs in {} s", length.as_secs());
    Ok(())
}

#[test]
fn every_target_has_a_corpus_and_reads_it() -> Result<()> {
    let of_targets: BTreeSet<String> = TARGETS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    for place in ["fuzz_targets", "readers", "corpus"] {
        ensure!(names(&folder().join(place))? == of_targets, "fuzz/{place} and the targets here differ");
    }
    run(TARGETS.len(), PATIENCE, replay)?;
    let Some(seconds) = std::env::var(SECONDS).ok() else { return Ok(()) };
    let length = Duration::from_secs(seconds.parse().with_context(|| format!("read {SECONDS}"))?);
    let rounds = TARGETS.len().div_ceil(AT_ONCE) as u32;
    run(AT_ONCE, PATIENCE + length * rounds, move |target, current| go_on(target, current, length))
}

/// Does the same with each target, so many at a time; all of it in so much time.
fn run(
    threads: usize,
    patience: Duration,
    act: impl Fn(Target, &Current) -> Result<()> + Send + Sync + 'static,
) -> Result<()> {
    let (tell, told) = mpsc::sync_channel(TARGETS.len());
    let (current, act, waiting) = (Current::default(), Arc::new(act), Arc::new(Mutex::new(TARGETS.into_iter())));
    for _ in 0..threads {
        let (tell, current, act, waiting) =
            (tell.clone(), Arc::clone(&current), Arc::clone(&act), Arc::clone(&waiting));
        std::thread::spawn(move || {
            let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(target) = next() {
                // Nobody listens any more once one has failed.
                let _ = tell.send(act(target, &current));
            }
        });
    }
    let end = Instant::now() + patience;
    for _ in TARGETS {
        match told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(done) => done?,
            // Nothing can end a thread that reads for ever; what it reads can be told.
            Err(_) => bail!("not read in {} s: {:?}", patience.as_secs(), shown(&current)),
        }
    }
    Ok(())
}

fn shown(current: &Current) -> Vec<String> {
    let current = current.lock().unwrap_or_else(PoisonError::into_inner);
    current.iter().map(|(name, input)| format!("{name} {}", input.escape_ascii())).collect()
}
