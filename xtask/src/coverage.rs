//! Builds the search of `fuzz/` with our crates counted. Cargo asks a wrapper for each crate of the workspace and for no
//! other: it is this program, which adds the compiler's flags and starts the compiler in its own place. So only our crates
//! are built once more, and what lies below them is shared with all other tests.

use anyhow::{Context, Result, anyhow};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Set for the wrapper alone.
const WRAPPER: &str = "XTASK_COVERAGE";
/// What libFuzzer needs to know which places an input reached and what was compared there.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Crates that run so many times a second that their code is worth the compiler's while.
const SEARCHED: [&str; 5] = ["tidewire-core", "tidewire-delta", "tidewire-mysql", "tidewire-postgres", "tidewire-fuzz"];

/// Builds the search; its path. Overflows and failed assertions end it, as in all tests.
pub(crate) fn search() -> Result<PathBuf> {
    let mut cargo = crate::build::cargo();
    // Of the whole workspace, as `cargo test --workspace`: with the features of dependencies that this asks for.
    cargo.args(["test", "--workspace", "--no-run", "--test", "search", "--features", "tidewire-fuzz/search"]);
    for name in SEARCHED {
        cargo.args(["--config", &format!("profile.dev.package.{name}.opt-level=1")]);
    }
    let own = std::env::current_exe().context("find this program")?;
    cargo.env("RUSTC_WORKSPACE_WRAPPER", own).env(WRAPPER, "1").env("CARGO_INCREMENTAL", "0");
    crate::build::executable(&mut cargo)
}

/// When cargo asks for a compiler: becomes it, and returns only if that fails.
pub(crate) fn wrap() -> Option<anyhow::Error> {
    std::env::var_os(WRAPPER)?;
    let mut words = std::env::args_os().skip(1);
    let Some(compiler) = words.next() else { return Some(anyhow!("a wrapper of nothing")) };
    let mut words: Vec<OsString> = words.collect();
    if is_counted(&words) {
        words.extend(FLAGS.map(OsString::from));
    }
    Some(anyhow::Error::new(Command::new(&compiler).args(words).exec()).context("start the compiler"))
}

/// Whether this builds a crate that the search is linked from. Programs that cargo itself runs are linked without the
/// search, and questions about the compiler name no crate.
fn is_counted(words: &[OsString]) -> bool {
    let follows = |flag: &str, text: &str| words.windows(2).any(|pair| *pair == [flag, text]);
    words.iter().any(|word| word == "--crate-name")
        && !follows("--crate-name", "build_script_build")
        && !follows("--crate-type", "proc-macro")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_search_is_linked_from_is_counted() {
        for (line, counted) in [
            ("--crate-name tidewire_delta --crate-type lib --edition=2024", true),
            ("--crate-name search --edition=2024 fuzz/tests/search.rs --test", true),
            ("--crate-name build_script_build --crate-type bin", false),
            ("--crate-name derive --crate-type proc-macro", false),
            ("-vV", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(is_counted(&words), counted, "{line}");
        }
    }
}
