//! Every test, against real servers that are fetched first: a test that waits for a download would be taken for slow.

use anyhow::{Context, Result, bail};

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
    let status = crate::build::cargo()
        .args(["test", "--workspace"])
        .args(rest)
        .current_dir(crate::root()?)
        .status()
        .context("start cargo")?;
    if !status.success() {
        bail!("there are tests that do not pass");
    }
    Ok(())
}
