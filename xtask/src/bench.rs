//! The seat of the benchmarks.

use anyhow::{Result, bail};

/// Says that there is nothing to run yet.
pub(crate) fn run() -> Result<()> {
    bail!("there are no benchmarks yet")
}
