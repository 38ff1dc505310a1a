//! A mirror under random upserts, as `cargo xtask bench delta` asks for: it is given a scenario as one JSON argument, feeds
//! the sink, and prints a line of JSON for each phase. Measures this process and its files; compares nothing, and knows
//! no reader.

mod feed;
mod rounds;
mod rows;

use feed::{Feed, Place, Result};
use rounds::Rounds;
use rows::{KeyShape, Shape, Sums};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidewire_core::{Mark, Position};

/// Commits before the measured ones.
const WARM_UP: u64 = 5;
/// Between two looks at what was written: well below the retention of files.
const LOOK: Duration = Duration::from_secs(20);

/// What to do. `round` counts the rounds that were applied before.
#[derive(Deserialize)]
struct Scenario {
    /// Rows of the table.
    rows: u64,
    /// Changes of a round.
    changes: u64,
    key: KeyShape,
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    task: Task,
}

#[derive(Deserialize)]
#[serde(tag = "task", rename_all = "lowercase")]
enum Task {
    /// Makes the table, measures so many commits, and goes on for some seconds with house-keeping in between.
    Churn { commits: u64, seconds: u64 },
    /// Opens the sink again, and applies one round. With `settle` it then waits until no file is rewritten any more.
    Resume {
        round: u64,
        #[serde(default)]
        settle: bool,
    },
    /// Has deleted rows removed, as `tidewire purge` does.
    Purge,
    /// Writes the next rounds as `0.csv`, `1.csv` and so on.
    Csv { folder: PathBuf, round: u64, count: u64 },
    /// Tells what the table must hold.
    Sums { round: u64 },
}

fn main() -> Result<()> {
    let Some(text) = std::env::args().nth(1).filter(|text| text.starts_with('{')) else {
        println!("measures nothing by itself: `cargo xtask bench delta` does");
        return Ok(());
    };
    let Scenario { rows, changes, key, place, task } = serde_json::from_str(&text)?;
    let rounds = Rounds::new(rows, changes).ok_or("too few rows, or too many, for such rounds")?;
    match task {
        Task::Churn { commits, seconds } => {
            let feed = Feed::open(&place, key, rounds, 0)?;
            churn(feed, &place.lake, commits, changes, Duration::from_secs(seconds))
        }
        Task::Resume { round, settle } => {
            let begun = Instant::now();
            let mut feed = Feed::open(&place, key, rounds, round)?;
            let opened = begun.elapsed();
            let batches = feed.next_round();
            let applied = feed.apply(&batches)?;
            tell("resume", json!({ "seconds": (opened + applied).as_secs_f64(), "peak_kib": peak_kib()? }));
            feed.maintain()?;
            if settle {
                feed.settle()?;
            }
            Ok(())
        }
        Task::Purge => {
            let begun = Instant::now();
            feed::purge(&place)?;
            tell("purge", json!({ "seconds": begun.elapsed().as_secs_f64(), "peak_kib": peak_kib()? }));
            Ok(())
        }
        Task::Csv { folder, round, count } => {
            let shape = Shape::new(key, &Position::new(Mark::default(), ""));
            (0..count).try_for_each(|number| {
                let mut text = shape.csv_head();
                for (kind, id) in rounds.changes(round + number) {
                    shape.csv_line(&mut text, kind, id, round + number + 1)?;
                }
                Ok(std::fs::write(folder.join(format!("{number}.csv")), text)?)
            })
        }
        Task::Sums { round } => {
            let mut sums = Sums::default();
            rounds.for_each_row(round, |id, round| sums.add(key, id, round));
            tell("sums", serde_json::to_value(sums)?);
            Ok(())
        }
    }
}

fn churn(mut feed: Feed, lake: &Path, commits: u64, changes: u64, length: Duration) -> Result<()> {
    let begun = Instant::now();
    feed.fill()?;
    tell("fill", json!({ "seconds": begun.elapsed().as_secs_f64(), "peak_kib": peak_kib()? }));
    // Of 100 M rows the index merges for many seconds after the last has come: no work of the batches that follow.
    let begun = Instant::now();
    feed.rest()?;
    tell("rest", json!({ "seconds": begun.elapsed().as_secs_f64() }));
    let mut written = Written::since(lake)?;
    let written_before = bytes_written()?;

    let mut millis = Vec::new();
    for number in 0..WARM_UP + commits {
        let batches = feed.next_round();
        let took = feed.apply(&batches)?;
        feed.maintain()?;
        if number >= WARM_UP {
            millis.push(took.as_secs_f64() * 1e3);
        }
    }
    tell("commits", json!({ "millis": millis }));

    let (mut busy, mut maintaining, mut slowest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (begun, first) = (Instant::now(), feed.round);
    let mut looked = begun;
    loop {
        // What the source would have done by then is no work of the sink's.
        let batches = feed.next_round();
        let applied = feed.apply(&batches)?;
        let maintained = feed.maintain()?;
        busy += applied + maintained;
        maintaining += maintained;
        slowest = slowest.max(applied + maintained);
        if looked.elapsed() >= LOOK {
            written.look(lake)?;
            looked = Instant::now();
        }
        if begun.elapsed() >= length {
            break;
        }
    }
    let sustained = (feed.round - first) * changes;
    tell(
        "sustained",
        json!({ "changes": sustained, "seconds": busy.as_secs_f64(), "maintain_seconds": maintaining.as_secs_f64(),
                "slowest_seconds": slowest.as_secs_f64() }),
    );

    let (peak_kib, all_bytes, round) = (peak_kib()?, bytes_written()?.saturating_sub(written_before), feed.round);
    drop(feed);
    written.look(lake)?;
    let Written { bytes, files, .. } = written;
    tell(
        "end",
        json!({ "round": round, "peak_kib": peak_kib, "changes": round * changes, "lake_bytes": bytes,
                "all_bytes": all_bytes, "files": files }),
    );
    Ok(())
}

/// What was written into a folder since a moment, also what was removed again: no file goes between two looks at it.
struct Written {
    seen: HashSet<u64>,
    bytes: u64,
    files: u64,
}

impl Written {
    fn since(folder: &Path) -> Result<Written> {
        let mut written = Written { seen: HashSet::new(), bytes: 0, files: 0 };
        written.look(folder)?;
        Ok(Written { bytes: 0, files: 0, ..written })
    }

    fn look(&mut self, folder: &Path) -> Result<()> {
        for_each_file(folder, &mut |path, bytes| {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            // Paths themselves would be a good part of the memory that is measured.
            if self.seen.insert(hasher.finish()) {
                self.bytes += bytes;
                self.files += 1;
            }
        })
    }
}

fn tell(phase: &str, figures: serde_json::Value) {
    println!("{}", json!({ "phase": phase, "figures": figures }));
}

/// Largest resident memory so far, in KiB.
fn peak_kib() -> Result<u64> {
    number_in("/proc/self/status", "VmHWM:")
}

/// Bytes that this process has handed to the system, to whatever file.
fn bytes_written() -> Result<u64> {
    number_in("/proc/self/io", "wchar:")
}

fn number_in(file: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name} in {file}"))?;
    Ok(rest.trim().trim_end_matches(" kB").parse()?)
}

/// Calls back with the path and bytes of every file below a folder.
fn for_each_file(folder: &Path, each: &mut impl FnMut(PathBuf, u64)) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = match entry.metadata() {
            // Its retention has passed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            about => about?,
        };
        if about.is_dir() {
            for_each_file(&entry.path(), each)?;
        } else {
            each(entry.path(), about.len());
        }
    }
    Ok(())
}
