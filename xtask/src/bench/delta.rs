//! `cargo xtask bench delta`: random upserts into mirrors of growing size, beside what delta-rs takes to append or to merge
//! the same rows, and what readers take before and after. Contents are checked against the generator's own account.

mod figures;
mod programs;

use crate::build;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use figures::{Figures, quantile};
use programs::{Programs, bytes_below, number, numbers};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tidewire_testkit::folder::RunFolder;
use tidewire_testkit::process;

/// Rows of a batch.
const CHANGES: u64 = 10_000;
/// Batches that delta-rs appends before, and again after.
const APPENDS: u64 = 10;
const MERGES: u64 = 5;
/// In larger tables delta-rs takes minutes and more memory than most machines have.
const MERGE_ROWS_MAX: u64 = 20_000_000;
const READERS: [&str; 3] = ["duckdb", "polars", "deltalake"];

/// What may be asked.
#[derive(Args)]
pub(crate) struct Options {
    /// Rows of the tables.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1_000_000, 10_000_000])]
    rows: Vec<u64>,
    /// Keys of the tables; those of more than 10,000,000 rows have integers alone.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [KeyKind::Int, KeyKind::Uuid, KeyKind::Text])]
    keys: Vec<KeyKind>,
    /// Minutes of upserts with house-keeping in between, for each table.
    #[arg(long, value_name = "N", default_value_t = 1)]
    minutes: u64,
    /// Batches that are measured before.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    batches: u64,
    /// How data files are compressed, as the sink's setting says; its default when it is not said.
    #[arg(long, value_name = "CODEC")]
    compression: Option<String>,
    /// A writer that is built already, instead of the release build.
    #[arg(long, value_name = "FILE")]
    writer: Option<PathBuf>,
    /// Where tables are made and removed again, in place of the folder for temporary files.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// What the key is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKind {
    /// One bigint.
    #[default]
    Int,
    /// One UUID, which is text in the table.
    Uuid,
    /// Two texts.
    Text,
}

impl KeyKind {
    fn name(self) -> &'static str {
        match self {
            KeyKind::Int => "int",
            KeyKind::Uuid => "uuid",
            KeyKind::Text => "text",
        }
    }

    fn columns(self) -> &'static str {
        if self == KeyKind::Text { "region,code" } else { "id" }
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = match &options.folder {
        Some(base) => RunFolder::within(base, "bench-delta")?,
        None => RunFolder::new("bench-delta")?,
    };
    let mut sizes = options.rows.clone();
    sizes.sort_unstable();
    sizes.dedup();
    check_space(folder.path(), sizes.last().copied().unwrap_or_default(), options.minutes)?;
    let writer = match &options.writer {
        Some(writer) => writer.clone(),
        None => {
            eprintln!("building the writer (the first time takes minutes)");
            build::benchmark("tidewire-delta", "upsert")?
        }
    };
    let programs = Programs::new(writer)?;
    let mut all: Vec<Figures> = Vec::new();
    for key in &options.keys {
        let sizes = sizes.iter().filter(|rows| *key == KeyKind::Int || **rows <= 10_000_000);
        let mut smallest = None;
        for rows in sizes {
            let place = folder.path().join(format!("{}-{rows}", key.name()));
            let table = Contest { programs: &programs, options, place, rows: *rows, key: *key };
            let mut figures = table.measure().with_context(|| format!("measure {rows} rows, key {}", key.name()))?;
            figures.growth = smallest.map(|p50| figures.p50 / p50);
            smallest = smallest.or(Some(figures.p50));
            // What is known is not lost with a run that is ended.
            eprint!("{}", figures::show(std::slice::from_ref(&figures)));
            all.push(figures);
        }
    }
    print!("{}", figures::show(&all));
    Ok(())
}

/// What readers took.
struct Read {
    scans: [Option<f64>; 3],
    /// Once no file was being rewritten any more.
    scans_settled: [Option<f64>; 3],
    /// Seconds that the removal of deleted rows took.
    purge: f64,
    scans_purged: [Option<f64>; 3],
    merge: Option<f64>,
}

/// One size and kind of key.
struct Contest<'a> {
    programs: &'a Programs,
    options: &'a Options,
    place: PathBuf,
    rows: u64,
    key: KeyKind,
}

impl Contest<'_> {
    fn measure(&self) -> Result<Figures> {
        eprintln!("{} rows, key {}", self.rows, self.key.name());
        for name in ["lake", "state", "batches", "merges"] {
            std::fs::create_dir_all(self.place.join(name)).context("make the table's folder")?;
        }
        let mut appends = self.append()?;
        let churned =
            self.write("churn", json!({ "commits": self.options.batches, "seconds": self.options.minutes * 60 }))?;
        appends.0.extend(self.append()?.0);
        let index = self.place.join("state/delta");
        let index_bytes = Some(bytes_below(&index)? as f64).filter(|bytes| *bytes > 0.0);
        let round = number(&churned, "/end/round")? as u64;
        let restart = self.write("resume", json!({ "round": round }))?;
        if index.exists() {
            std::fs::remove_dir_all(&index).context("remove the index")?;
        }
        let rebuild = self.write("resume", json!({ "round": round + 1 }))?;
        let found = self.read(round + 2)?;
        std::fs::remove_dir_all(&self.place).context("remove the table")?;

        let millis = numbers(&churned, "/commits/millis")?;
        let (append_bytes, append_times) = (appends.1, appends.0);
        let at = |share: f64| quantile(&millis, share).map(|ms| ms / 1e3).context("no commit was measured");
        let changes = number(&churned, "/end/changes")?;
        let busy = number(&churned, "/sustained/seconds")?;
        let megabytes = |figures, at| Ok::<_, anyhow::Error>(number(figures, at)? * 1024.0 / 1e6);
        Ok(Figures {
            rows: self.rows,
            key: self.key,
            p50: at(0.5)?,
            p99: at(0.99)?,
            append: quantile(&append_times, 0.5).context("nothing was appended")?,
            merge: found.merge,
            growth: None,
            rate: number(&churned, "/sustained/changes")? / busy,
            maintaining: number(&churned, "/sustained/maintain_seconds")? / busy,
            slowest: number(&churned, "/sustained/slowest_seconds")?,
            written: number(&churned, "/end/lake_bytes")? / (changes * append_bytes),
            written_in_all: number(&churned, "/end/all_bytes")? / (changes * append_bytes),
            index_bytes,
            peaks_mb: [
                megabytes(&churned, "/end/peak_kib")?,
                megabytes(&restart, "/resume/peak_kib")?,
                megabytes(&rebuild, "/resume/peak_kib")?,
            ],
            rebuild: number(&rebuild, "/resume/seconds")?,
            restart: number(&restart, "/resume/seconds")?,
            scans: found.scans,
            scans_settled: found.scans_settled,
            purge: found.purge,
            scans_purged: found.scans_purged,
        })
    }

    /// Lets delta-rs append batches: the times, and bytes for each row.
    fn append(&self) -> Result<(Vec<f64>, f64)> {
        eprintln!("  appends by delta-rs");
        self.write_csv("batches", 0, APPENDS)?;
        let found = self.programs.ask(&["append", &self.path("batches"), &self.path("appended")])?;
        let bytes = number(&found, "/bytes_each")? / number(&found, "/rows_each")?;
        Ok((numbers(&found, "/times")?, bytes))
    }

    /// What readers and delta-rs's `MERGE` take, and whether all see the same rows, also without the deleted ones. So many
    /// rounds were applied.
    fn read(&self, rounds: u64) -> Result<Read> {
        let (table, copy) = (self.path("lake/bench/public/rows"), self.path("copy"));
        self.check(&READERS, &table, rounds)?;
        eprintln!("  a copy by delta-rs");
        self.programs.ask(&["copy", &table, &copy])?;
        let scans = self.scans(&table, &copy);
        self.write("resume", json!({ "round": rounds, "settle": true }))?;
        self.check(&READERS, &table, rounds + 1)?;
        let scans_settled = self.scans(&table, &copy);
        let purge = number(&self.write("purge", json!({}))?, "/purge/seconds")?;
        self.check(&READERS, &table, rounds + 1)?;
        let scans_purged = self.scans(&table, &copy);
        let merge = if self.rows > MERGE_ROWS_MAX { None } else { Some(self.merge(&copy, rounds)?) };
        Ok(Read { scans, scans_settled, purge, scans_purged, merge })
    }

    /// Each reader's time for one table, in multiples of that for another.
    fn scans(&self, table: &str, copy: &str) -> [Option<f64>; 3] {
        let mut scans = [None; 3];
        for (reader, scan) in READERS.iter().zip(&mut scans) {
            eprintln!("  scans by {reader}");
            let found = self.programs.ask(&["scan", reader, table, copy]);
            match found.and_then(|found| Ok(number(&found, "/seconds")? / number(&found, "/other_seconds")?)) {
                Ok(ratio) => *scan = Some(ratio),
                // It could read the table a moment ago: a goal that is missed, and no reason to throw the rest away.
                Err(error) => eprintln!("  {error:#}"),
            }
        }
        scans
    }

    /// What delta-rs takes to merge the next rounds into a copy.
    fn merge(&self, copy: &str, rounds: u64) -> Result<f64> {
        eprintln!("  MERGE by delta-rs");
        self.write_csv("merges", rounds, MERGES)?;
        let merged = self.programs.ask(&["merge", &self.path("merges"), copy, self.key.columns()])?;
        // What was merged are the same changes.
        self.check(&["duckdb"], copy, rounds + MERGES)?;
        number(&merged, "/median")
    }

    /// Fails when a reader sees other rows than there must be.
    fn check(&self, readers: &[&str], table: &str, rounds: u64) -> Result<()> {
        let expect = self.write("sums", json!({ "round": rounds }))?;
        let expect = expect.get("sums").context("no sums")?;
        for reader in readers {
            eprintln!("  contents by {reader}");
            let found = self.programs.ask(&["sums", reader, table, self.key.name()])?;
            if found != *expect {
                bail!("{reader} finds {found} in {table}, but there must be {expect}");
            }
        }
        Ok(())
    }

    fn write_csv(&self, folder: &str, round: u64, count: u64) -> Result<()> {
        self.write("csv", json!({ "folder": self.path(folder), "round": round, "count": count })).map(drop)
    }

    /// Gives the writer a task.
    fn write(&self, task: &str, mut scenario: Value) -> Result<Value> {
        let common = json!({ "task": task, "rows": self.rows, "changes": CHANGES, "key": self.key.name(),
                             "lake": self.path("lake"), "state": self.path("state"),
                             "compression": self.options.compression });
        if let (Some(scenario), Value::Object(common)) = (scenario.as_object_mut(), common) {
            scenario.extend(common);
        }
        self.programs.write(&scenario)
    }

    fn path(&self, name: &str) -> String {
        self.place.join(name).display().to_string()
    }
}

/// Says how much space there is, and refuses to start when that cannot be enough.
fn check_space(folder: &Path, rows: u64, minutes: u64) -> Result<()> {
    let output = process::output(Command::new("df").args(["-Pk"]).arg(folder))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text.lines().last().and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    let free = free.with_context(|| format!("read the output of df: {text}"))? / 1_000_000;
    let need = space_needed_gb(rows, minutes);
    eprintln!("{free} GB are free in {}, {need} GB may be needed", folder.display());
    if free < need {
        bail!("too little space: free some, take fewer rows or minutes, or name another --folder");
    }
    Ok(())
}

/// The table, its copy and what churn leaves behind until its retention has passed: about 80 bytes a row each for the first
/// two, and as much for the third; then up to 5 GB a minute, for the minute of the retention and the one until a checkpoint.
fn space_needed_gb(rows: u64, minutes: u64) -> u64 {
    1 + rows * 240 / 1_000_000_000 + 5 * minutes.min(3)
}
