//! Every test, against real servers that are fetched first: a test that waits for a download would be taken for slow.

use anyhow::{Context, Result, bail};
use std::time::Duration;
use tidewire_testkit::{process, wait};

/// How long all tests may take, their compilation included. A test that hangs is then one that fails.
const LIMIT: Duration = Duration::from_secs(75 * 60);

/// Seconds for which each reader of outside input is given damaged inputs.
const DAMAGE_SECONDS: &str = "60";

/// Fetches what is missing.
pub(crate) fn fetch() -> Result<()> {
    for place in tidewire_testkit::fetch::everything()? {
        println!("{}", place.display());
    }
    Ok(())
}

/// Fetches, then runs every test of the workspace. `rest` goes to cargo.
pub(crate) fn run(rest: &[String]) -> Result<()> {
    tidewire_testkit::fetch::everything()?;
    let mut cargo = crate::build::cargo();
    cargo.args(["test", "--workspace"]).args(rest).current_dir(crate::root()?);
    cargo.env("TESTKIT_DAMAGE_SECONDS", DAMAGE_SECONDS);
    let mut running = cargo.spawn().context("start cargo")?;
    let ended = wait::until("every test to end", LIMIT, || Ok(running.try_wait()?));
    if ended.is_err() {
        process::kill_tree(&mut running)?;
    }
    if !ended?.success() {
        bail!("there are tests that do not pass");
    }
    Ok(())
}
