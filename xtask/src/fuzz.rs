//! Searches for inputs that break a reader of outside bytes: builds the targets of `fuzz/` with our own crates counted by the
//! compiler (what lies below them is that of all other tests) and runs libFuzzer on one after the other.

use crate::coverage;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use tidewire_testkit::folder::RunFolder;
use tidewire_testkit::{cache, process};

/// Longest input: a few rows or messages. Longer ones are slower, not other.
const INPUT_BYTES_MAX: u32 = 4_096;
/// Most memory of one run; a few bytes that claim more than this are a fault.
const MEMORY_MIB_MAX: u32 = 2_048;
/// An input that takes longer is a fault.
const SECONDS_PER_INPUT_MAX: u32 = 20;
/// Tells the search its target; `TARGET_VARIABLE` of `fuzz/src/lib.rs`, which xtask does not link for all that is below it.
const TARGET_VARIABLE: &str = "FUZZ_TARGET";

/// What is asked of a run.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Targets that run at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub jobs: u64,
    /// Begins with the corpus of the repository alone and takes the same turns each time, instead of going on from what
    /// earlier runs found.
    #[arg(long, value_name = "N", conflicts_with = "keep")]
    pub seed: Option<u32>,
    /// Adds what was found to `fuzz/corpus`, as few and as small inputs as reach the same places.
    #[arg(long)]
    pub keep: bool,
    /// Targets; all when none is named.
    pub targets: Vec<String>,
}

/// Builds and runs; once a target has found something, no other begins.
pub(crate) fn run(options: &Options) -> Result<()> {
    let fuzz = crate::root()?.join("fuzz");
    let known = targets(&fuzz)?;
    if let Some(odd) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no target `{odd}`; there are {}", known.join(", "));
    }
    let targets = if options.targets.is_empty() { &known } else { &options.targets };
    let bench = &Bench { program: coverage::search()?, found: cache::folder()?.join("fuzz"), fuzz };
    let left = Mutex::new(targets.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(target) = next() {
            eprintln!("{target}: {} s", options.seconds);
            if let Err(found) = bench.run_one(target, options) {
                while next().is_some() {}
                return Err(found);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?);
        // All are waited for, whatever the first of them says.
        ends.collect::<Vec<Result<()>>>().into_iter().collect()
    })
}

/// The names of the targets, sorted; a test keeps the folders of their corpora the same as the targets.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let folders = std::fs::read_dir(fuzz.join("corpus")).context("look for targets")?;
    let names = folders.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The places of a run.
struct Bench {
    /// The search, with all targets.
    program: PathBuf,
    fuzz: PathBuf,
    /// What earlier runs found; grows without limit, so it is no part of the repository.
    found: PathBuf,
}

impl Bench {
    fn run_one(&self, target: &str, options: &Options) -> Result<()> {
        match options.seed {
            Some(seed) => {
                let folder = RunFolder::new("fuzz")?;
                self.search(target, folder.path(), options.seconds, Some(seed))
            }
            None => self.search(target, &self.folder(&self.found, target)?, options.seconds, None),
        }?;
        if options.keep { self.keep(target) } else { Ok(()) }
    }

    /// Searches for inputs that break a target, from the corpus and what is `found` already; what is new goes there.
    fn search(&self, target: &str, found: &Path, seconds: u64, seed: Option<u32>) -> Result<()> {
        let corpus = self.folder(&self.fuzz.join("corpus"), target)?;
        let mut how = vec![
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
            format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
            format!("-timeout={SECONDS_PER_INPUT_MAX}"),
            "-print_final_stats=1".to_owned(),
        ];
        how.extend(seed.map(|seed| format!("-seed={seed}")));
        self.libfuzzer(target, &how, &[found, &corpus])
    }

    /// Merges what was found into the corpus, then makes the whole corpus minimal.
    fn keep(&self, target: &str) -> Result<()> {
        let (found, corpus) = (self.folder(&self.found, target)?, self.folder(&self.fuzz.join("corpus"), target)?);
        let merged = self.found.join(format!("{target}.merged"));
        if merged.exists() {
            std::fs::remove_dir_all(&merged).context("remove an interrupted merge")?;
        }
        std::fs::create_dir_all(&merged).context("make a folder for the merge")?;
        // Places reached count, not how often: a tenth of the inputs for the same reach.
        let how = ["-set_cover_merge=1", "-use_counters=0"].map(str::to_owned);
        self.libfuzzer(target, &how, &[&merged, &corpus, &found])?;
        // Seeds that a person named stay; what the machine named is replaced.
        let is_sum = |name: &str| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        for entry in std::fs::read_dir(&corpus).context("read the corpus")? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_sum) {
                std::fs::remove_file(entry.path()).context("remove an old input")?;
            }
        }
        let seeds = contents(&corpus)?;
        for entry in std::fs::read_dir(&merged).context("read the merge")? {
            let (name, path) = (entry.as_ref().map(std::fs::DirEntry::file_name), entry.as_ref().map(|e| e.path()));
            let (Ok(name), Ok(path)) = (name, path) else { bail!("read the merge") };
            if !seeds.contains(&std::fs::read(&path)?) {
                std::fs::copy(&path, corpus.join(name)).context("keep an input")?;
            }
        }
        std::fs::remove_dir_all(&merged).context("remove the merge")
    }

    fn folder(&self, base: &Path, target: &str) -> Result<PathBuf> {
        let folder = base.join(target);
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }

    /// One run of libFuzzer; what it says is shown when it fails.
    fn libfuzzer(&self, target: &str, how: &[String], folders: &[&Path]) -> Result<()> {
        let artifacts = self.folder(&self.fuzz.join("artifacts"), target)?;
        let mut command = process::guarded(&self.program);
        command.env(TARGET_VARIABLE, target).arg("-verbosity=0").args(how).args(folders);
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        let output = command.stdin(Stdio::null()).output().context("start the search")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{target}: {}; findings are in {}\n{said}", output.status, artifacts.display());
        }
        for line in said.lines().filter(|line| line.starts_with("stat::")) {
            eprintln!("{target}: {line}");
        }
        Ok(())
    }
}

fn contents(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(folder).context("read the corpus")?;
    entries.map(|entry| std::fs::read(entry?.path()).context("read an input")).collect()
}
