//! Runs the fuzz targets of `fuzz/`, built with the toolchain that builds everything else: what cargo-fuzz asks of the
//! compiler beyond stable is asked for by `RUSTC_BOOTSTRAP`.

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use tidewire_testkit::folder::RunFolder;
use tidewire_testkit::{cache, process};

const VERSION: &str = "0.13.2";
/// Longest input: a few rows or messages. Longer ones are slower, not other.
const INPUT_BYTES_MAX: u32 = 4_096;
/// Most memory of one run; a few bytes that claim more than this are a fault.
const MEMORY_MIB_MAX: u32 = 2_048;
/// An input that takes longer is a fault.
const SECONDS_PER_INPUT_MAX: u32 = 20;

/// What is asked of a run.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Targets that run at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Begins with the corpus of the repository alone and takes the same turns each time, instead of going on from what
    /// earlier runs found.
    #[arg(long, value_name = "N", conflicts_with = "keep")]
    seed: Option<u32>,
    /// Adds what was found to `fuzz/corpus`, as few and as small inputs as reach the same places.
    #[arg(long)]
    keep: bool,
    /// Targets; all when none is named.
    targets: Vec<String>,
}

/// Builds and runs; once a target has found something, no other begins.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut bench = Bench::new()?;
    let known = bench.targets()?;
    if let Some(odd) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no target `{odd}`; there are {}", known.join(", "));
    }
    let targets = if options.targets.is_empty() { &known } else { &options.targets };
    bench.has_delta = targets.iter().any(|target| target.starts_with("delta_"));
    if targets.len() == known.len() {
        // All at once: what they share is built once, and two are linked at a time.
        bench.cargo_fuzz("build", None, &[])?;
    } else {
        targets.iter().try_for_each(|target| bench.cargo_fuzz("build", Some(target), &[]))?;
    }
    let bench = &bench;
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

/// The places of a run.
struct Bench {
    program: PathBuf,
    root: PathBuf,
    fuzz: PathBuf,
    /// Built targets.
    build: PathBuf,
    /// What earlier runs found; grows without limit, so it is no part of the repository.
    found: PathBuf,
    /// Whether targets of the Delta sink are among those asked for. All are built with its dependencies then: others of the
    /// same packages would be built a second time.
    has_delta: bool,
}

impl Bench {
    fn new() -> Result<Bench> {
        let root = crate::root()?;
        let fuzz = root.join("fuzz");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        // The very versions that the daemon is built with; cargo adds what only the targets need.
        std::fs::copy(root.join("Cargo.lock"), fuzz.join("Cargo.lock")).context("copy the lock file")?;
        let found = cache::folder()?.join("fuzz");
        Ok(Bench { program: program()?, fuzz, build: target.join("fuzz"), found, root, has_delta: false })
    }

    /// The names of the targets, sorted.
    fn targets(&self) -> Result<Vec<String>> {
        let files = std::fs::read_dir(self.fuzz.join("fuzz_targets")).context("look for targets")?;
        let paths = files.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let rust = paths.iter().filter(|path| path.extension() == Some(OsStr::new("rs")));
        let mut names: Vec<String> = rust.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

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
        let time = format!("-max_total_time={seconds}");
        let mut limits = vec![
            format!("-max_len={INPUT_BYTES_MAX}"),
            format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
            format!("-timeout={SECONDS_PER_INPUT_MAX}"),
        ];
        limits.extend(seed.map(|seed| format!("-seed={seed}")));
        let mut arguments: Vec<&OsStr> = vec![found.as_ref(), corpus.as_ref()];
        arguments.extend(["--", "-print_final_stats=1", "-verbosity=0", &time].map(OsStr::new));
        arguments.extend(limits.iter().map(OsStr::new));
        self.cargo_fuzz("run", Some(target), &arguments)
    }

    /// Merges what was found into the corpus, then makes the whole corpus minimal.
    fn keep(&self, target: &str) -> Result<()> {
        let (found, corpus) = (self.folder(&self.found, target)?, self.folder(&self.fuzz.join("corpus"), target)?);
        let merged = self.found.join(format!("{target}.merged"));
        if merged.exists() {
            std::fs::remove_dir_all(&merged).context("remove an interrupted merge")?;
        }
        std::fs::create_dir_all(&merged).context("make a folder for the merge")?;
        let places = [merged.as_os_str(), corpus.as_ref(), found.as_ref()];
        // Places reached count, not how often: a tenth of the inputs for the same reach.
        let how = ["--", "-set_cover_merge=1", "-use_counters=0", "-verbosity=0"].map(OsStr::new);
        self.cargo_fuzz("run", Some(target), &[places.as_slice(), how.as_slice()].concat())?;
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

    /// `cargo fuzz VERB ... TARGET ...`, with the folders in their places; of all targets when none is named.
    fn cargo_fuzz(&self, verb: &str, target: Option<&str>, rest: &[&OsStr]) -> Result<()> {
        let mut command = crate::build::bare(&self.program);
        command.args(["fuzz", verb, "--fuzz-dir"]).arg(&self.fuzz).arg("--target-dir").arg(&self.build);
        if self.has_delta {
            command.args(["--features", "delta"]);
        }
        command.args(target).args(rest).current_dir(&self.root);
        command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_INCREMENTAL", "0");
        let status = command.status().context("start cargo-fuzz")?;
        if !status.success() {
            let artifacts = self.fuzz.join("artifacts");
            let target = target.unwrap_or("all targets");
            bail!("cargo fuzz {verb}, {target}: {status}; findings are in {}", artifacts.display());
        }
        Ok(())
    }
}

fn contents(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(folder).context("read the corpus")?;
    entries.map(|entry| std::fs::read(entry?.path()).context("read an input")).collect()
}

/// cargo-fuzz of the pinned version, built when it is not in the cache.
fn program() -> Result<PathBuf> {
    let tools = cache::folder()?.join("tools");
    let program = tools.join("bin/cargo-fuzz");
    let version = Command::new(&program).arg("--version").output();
    if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("cargo-fuzz {VERSION}")) {
        return Ok(program);
    }
    eprintln!("cargo-fuzz {VERSION}: preparing");
    let mut install = crate::build::cargo();
    install.args(["install", "--quiet", "--locked", "--root"]).arg(&tools).arg(format!("cargo-fuzz@{VERSION}"));
    process::output(install.env_remove("CARGO_TARGET_DIR"))?;
    Ok(program)
}
