//! Building the daemon, as whoever runs it needs it.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds the daemon, soon, and says where it is.
pub(crate) fn daemon() -> Result<PathBuf> {
    build(&[])
}

/// Builds it as it is shipped.
pub(crate) fn release() -> Result<PathBuf> {
    build(&["--release"])
}

fn build(options: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "tidewire", "--bin", "tidewire"])
        .args(options)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(crate::root()?)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("the daemon does not build");
    }
    let text = String::from_utf8(output.stdout).context("read what cargo wrote")?;
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo named no executable")
}
