//! Runs the Delta sink's model test over many seeds, built as what is shipped.

use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;

/// What is asked of a run.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Ends each seed after so many operations: to find out which one matters.
    #[arg(long)]
    operations: Option<u64>,
    /// Leaves the tables of each seed in a folder of its number in this one.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Builds without optimisation, as `cargo test` does.
    #[arg(long)]
    debug: bool,
}

/// Builds and runs; the first seed that fails ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut cargo = crate::build::cargo();
    cargo.args(["test", "--package", "tidewire-delta", "--lib"]).current_dir(crate::root()?);
    if !options.debug {
        cargo.arg("--release");
    }
    cargo.args(["--", "--exact", "model::long", "--nocapture"]);
    cargo.env("DELTA_MODEL_SEEDS", options.seeds.to_string()).env("DELTA_MODEL_FROM", options.from.to_string());
    if let Some(operations) = options.operations {
        cargo.env("DELTA_MODEL_OPERATIONS", operations.to_string());
    }
    if let Some(keep) = &options.keep {
        cargo.env("DELTA_MODEL_KEEP", std::path::absolute(keep).context("find the folder to keep tables in")?);
    }
    if !cargo.status().context("start cargo")?.success() {
        bail!("a seed fails; the last lines say how to repeat it");
    }
    Ok(())
}
