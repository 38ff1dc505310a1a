//! Runs the pipeline's simulation over many seeds. What it runs is cheap and what it is built with is not, so it is built
//! as `cargo test` builds it.

use anyhow::{Context, Result, bail};
use clap::Args;

/// What is asked of a run.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Builds with optimisation, as what is shipped.
    #[arg(long)]
    release: bool,
}

/// Builds and runs; the first seed that fails ends it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut cargo = crate::build::cargo();
    cargo.args(["test", "--package", "tidewire", "--bin", "tidewire"]).current_dir(crate::root()?);
    if options.release {
        cargo.arg("--release");
    }
    cargo.args(["--", "--exact", "pipeline::tests::long", "--nocapture"]);
    cargo.env("PIPELINE_SIMULATION_SEEDS", options.seeds.to_string());
    cargo.env("PIPELINE_SIMULATION_FROM", options.from.to_string());
    if !cargo.status().context("start cargo")?.success() {
        bail!("a seed fails; the last lines say how to repeat it");
    }
    Ok(())
}
