//! Every test, against real servers that are fetched first: a test that waits for a download would be taken for slow.

use crate::fuzz;
use anyhow::{Context, Result, bail};
use std::time::Duration;
use tidewire_testkit::{process, wait};

/// How long all tests may take once they are compiled, for which a slow machine with empty caches may need as long again. A
/// test that hangs is then one that fails.
const LIMIT: Duration = Duration::from_secs(70 * 60);

/// Tests at a time: more than the two cores of the machines that check every change, since each waits now and then.
const TESTS_AT_A_TIME: &str = "3";

/// The search for inputs that break a reader of outside bytes, the same each time as far as its minute goes.
const SEARCH: fuzz::Options = fuzz::Options { seconds: 60, jobs: 2, seed: Some(1), keep: false, targets: Vec::new() };

/// Fetches what is missing.
pub(crate) fn fetch() -> Result<()> {
    for place in tidewire_testkit::fetch::everything()? {
        println!("{}", place.display());
    }
    Ok(())
}

/// Fetches, then runs every test of the workspace, then searches. `rest` goes to cargo; with it there is no search.
pub(crate) fn run(rest: &[String]) -> Result<()> {
    tidewire_testkit::fetch::everything()?;
    let root = crate::root()?;
    let test = |arguments: &[&str]| {
        let mut cargo = crate::build::cargo();
        cargo.args(["test", "--workspace"]).args(arguments).args(rest).current_dir(&root);
        cargo
    };
    if !test(&["--no-run"]).status().context("start cargo")?.success() {
        bail!("the tests do not compile");
    }
    let mut cargo = test(&[]);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        cargo.env("RUST_TEST_THREADS", TESTS_AT_A_TIME);
    }
    let mut running = cargo.spawn().context("start cargo")?;
    let ended = wait::until("every test to end", LIMIT, || Ok(running.try_wait()?));
    if ended.is_err() {
        process::kill_tree(&mut running)?;
    }
    if !ended?.success() {
        bail!("there are tests that do not pass");
    }
    if rest.is_empty() { fuzz::run(&SEARCH) } else { Ok(()) }
}
