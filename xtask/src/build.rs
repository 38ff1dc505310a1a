//! Building the daemon, as whoever runs it needs it.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds the daemon, soon, and says where it is.
pub(crate) fn daemon() -> Result<PathBuf> {
    build(&["--bin", "tidewire"])
}

/// Builds it as it is shipped.
pub(crate) fn release() -> Result<PathBuf> {
    build(&["--bin", "tidewire", "--release"])
}

/// Builds an example of a connector, with the same dependencies as what is shipped.
pub(crate) fn example(package: &str, name: &str) -> Result<PathBuf> {
    build(&["--package", package, "--example", name, "--release"])
}

/// Builds a benchmark of a connector, with the same dependencies as what is shipped.
pub(crate) fn benchmark(package: &str, name: &str) -> Result<PathBuf> {
    build(&["--package", package, "--bench", name, "--release"])
}

/// Cargo, as a person would start it. `cargo run`, which started us, leaves the variables of this package behind; build
/// scripts that watch them would take every crate below theirs for changed and build it anew.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "DEP_", "OUT_DIR"];
        if name.to_str().is_some_and(|name| ours.iter().any(|start| name.starts_with(start))) {
            command.env_remove(name);
        }
    }
    command
}

fn build(options: &[&str]) -> Result<PathBuf> {
    executable(cargo().args(["build", "--package", "tidewire"]).args(options))
}

/// Runs cargo to build something; the program that it names last.
pub(crate) fn executable(cargo: &mut Command) -> Result<PathBuf> {
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .current_dir(crate::root()?)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        let words: Vec<_> = cargo.get_args().map(OsStr::to_string_lossy).collect();
        bail!("cargo {} fails", words.join(" "));
    }
    let text = String::from_utf8(output.stdout).context("read what cargo wrote")?;
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo named no executable")
}
