//! The two programs that do the work: our writer, and the Python script that asks others. Each runs in a process of its
//! own, tells its figures as JSON, and ends with us. Knows nothing of what figures mean.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tidewire_testkit::{fetch, process, wait};

const SCRIPT: &str = include_str!("../delta.py");
/// A reader that takes longer is taken for hung.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// What the daemon tells the allocator (`src/memory.rs`).
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "262144"), ("MALLOC_TRIM_THRESHOLD_", "1048576"), ("MALLOC_ARENA_MAX", "4")];

/// Where they are.
pub(super) struct Programs {
    writer: PathBuf,
    python: PathBuf,
}

impl Programs {
    /// `writer` is built already.
    pub(super) fn new(writer: PathBuf) -> Result<Programs> {
        Ok(Programs { writer, python: fetch::python::interpreter()? })
    }

    /// Runs the writer; its figures by phase.
    pub(super) fn write(&self, scenario: &Value) -> Result<Value> {
        let mut command = process::guarded(&self.writer);
        command.arg(scenario.to_string()).envs(ALLOCATOR).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = process::spawn(command)?;
        let mut figures = Map::new();
        for line in BufReader::new(child.stdout.take().context("the writer's output")?).lines() {
            let mut line: Value = serde_json::from_str(&line?).context("read what the writer tells")?;
            let phase = line.get("phase").and_then(Value::as_str).context("a line without a phase")?.to_owned();
            eprintln!("  {phase}");
            figures.insert(phase, line.get_mut("figures").map(Value::take).unwrap_or_default());
        }
        let status = child.wait().context("wait for the writer")?;
        if !status.success() {
            bail!("the writer ended with {status}; it was given {scenario}");
        }
        Ok(figures.into())
    }

    /// Runs the script; its figures.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let mut command: Command = process::guarded(&self.python);
        command.args(["-c", SCRIPT]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = process::spawn(command)?;
        let found = self.answer(&mut child);
        if found.is_err() {
            process::kill_tree(&mut child)?;
        }
        found.with_context(|| format!("ask others: {}", arguments.join(" ")))
    }

    /// One line, shorter than a pipe holds.
    fn answer(&self, child: &mut Child) -> Result<Value> {
        let status = wait::until("an answer", PATIENCE, || Ok(child.try_wait()?))?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        let mut text = String::new();
        child.stdout.take().context("its output")?.read_to_string(&mut text).context("read its answer")?;
        serde_json::from_str(&text).context("read its answer")
    }
}

/// A number in what a program told.
pub(super) fn number(figures: &Value, pointer: &str) -> Result<f64> {
    figures.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no number at {pointer} in {figures}"))
}

/// A list of numbers.
pub(super) fn numbers(figures: &Value, pointer: &str) -> Result<Vec<f64>> {
    let list = figures.pointer(pointer).and_then(Value::as_array);
    let list = list.with_context(|| format!("no list at {pointer} in {figures}"))?;
    list.iter().map(|value| value.as_f64().with_context(|| format!("no number in {pointer}"))).collect()
}

/// Bytes of all files below a folder, 0 when there is none.
pub(super) fn bytes_below(folder: &Path) -> Result<u64> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("look into {}", folder.display()))? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
