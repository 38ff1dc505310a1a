//! The corpora of the fuzz targets, and deterministic damage to each of their inputs, read by the very functions that are
//! fuzzed: what was found once is asked of every change, with the compiler and the profile of all other tests and without a
//! search that could find something else each time. The search that follows what the code does with an input is `cargo xtask
//! fuzz`, with which `cargo xtask test` ends.

use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tidewire_fuzz::{TARGETS, Target};
use tidewire_testkit::workload::Dice;

/// How long all of it may take, also beside other work; it takes three seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// Tests run in the folder of their package.
fn folder() -> PathBuf {
    PathBuf::from("fuzz")
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
fn ask(Target { name, read, .. }: Target, input: &[u8], current: &Current) -> Result<bool> {
    current.lock().unwrap_or_else(PoisonError::into_inner).insert(name, input.to_vec());
    let asked = catch_unwind(|| read(input));
    asked.ok().with_context(|| format!("{name} panics at {}", input.escape_ascii()))
}

fn replay(target: Target, current: &Current) -> Result<()> {
    let Target { name, damages, .. } = target;
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

#[test]
fn every_target_has_a_corpus_and_reads_it() -> Result<()> {
    let of_targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    for place in ["src/readers", "corpus"] {
        ensure!(names(&folder().join(place))? == of_targets, "fuzz/{place} and the targets differ");
    }
    let (tell, told) = mpsc::sync_channel(TARGETS.len());
    let current = Current::default();
    for target in TARGETS {
        let (tell, current) = (tell.clone(), Arc::clone(&current));
        // Nobody listens any more once one has failed.
        std::thread::spawn(move || drop(tell.send(replay(target, &current))));
    }
    let end = Instant::now() + PATIENCE;
    for _ in TARGETS {
        match told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(done) => done?,
            // Nothing can end a thread that reads for ever; what it reads can be told.
            Err(_) => bail!("not read in {} s: {:?}", PATIENCE.as_secs(), shown(&current)),
        }
    }
    Ok(())
}

fn shown(current: &Current) -> Vec<String> {
    let current = current.lock().unwrap_or_else(PoisonError::into_inner);
    current.iter().map(|(name, input)| format!("{name} {}", input.escape_ascii())).collect()
}
