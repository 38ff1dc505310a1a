//! The commands of the repository: `cargo xtask demo`, `test`, `fetch`, `bench`, `fuzz`, `model`, `simulate`, `torture`, `tidy`.
//! Scripts hold no logic; this does.

mod bench;
mod build;
mod coverage;
mod demo;
mod fuzz;
mod model;
mod simulate;
mod test;
mod tidy;
mod torture;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Commands of the Tidewire repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetches the servers and readers that tests need, then runs every test of the workspace.
    Test {
        /// Passed on to the test runner, such as a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Shows Tidewire at work on a throw-away PostgreSQL, MySQL or MariaDB with a small shop; ends on Ctrl-C and leaves nothing behind.
    Demo(demo::Options),
    /// Fetches the servers and readers that tests need.
    Fetch,
    /// Measures the release build beside what the server itself can do, and prints one table.
    Bench(bench::Options),
    /// Feeds broken and hostile input to everything that reads bytes from outside.
    Fuzz(fuzz::Options),
    /// Runs random operations, faults and new starts of the Delta sink against a model, seed by seed.
    Model(model::Options),
    /// Runs the pipeline with a scripted source and sinks, faults, crashes and a clock of its own, seed by seed.
    Simulate(simulate::Options),
    /// Kills, cuts and stalls the daemon and its servers under load, and proves that no change is lost or doubled.
    Torture(torture::Options),
    /// Checks the form of the repository; `cargo test` does so too.
    Tidy,
}

fn main() -> ExitCode {
    if let Some(error) = coverage::wrap() {
        eprintln!("cargo xtask: {error:#}");
        return ExitCode::FAILURE;
    }
    let result = match Arguments::parse().command {
        Command::Test { rest } => test::run(&rest),
        Command::Demo(options) => demo::run(&options),
        Command::Fetch => test::fetch(),
        Command::Bench(options) => bench::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Model(options) => model::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Torture(options) => torture::run(&options),
        Command::Tidy => tidy::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository, which this was started in or below. Not where it was compiled: several clones may share one
/// target folder, and cargo takes what was compiled in one of them for the others too.
fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("find the current folder")?;
    let root = here.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
    Ok(root.with_context(|| format!("{} is not in a clone of this repository", here.display()))?.to_path_buf())
}
