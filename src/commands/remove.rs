//! `tidewire remove`: gives back what a source holds on its server. The daemon must not be running with it:
//! the lock on the state directory proves that.

use crate::cli::{Global, exit};
use crate::commands::{connectors, exit_code, load, print_error, runtime};
use crate::state::StateDirectory;

/// Runs the command.
pub(crate) fn remove(global: &Global, source: &str, yes: bool) -> u8 {
    let (config, faults) = match load(global) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let connectors = match connectors(&config, faults, None) {
        Ok(connectors) => connectors,
        Err(code) => return code,
    };
    let Some(connector) = connectors.sources.get(source) else {
        eprintln!("tidewire: `{source}` is not a configured source");
        return exit::USAGE;
    };
    if !yes {
        eprintln!(
            "this gives up the log that the server keeps for `{source}`: what its sinks do not hold yet can then only be \
             read by a new snapshot; say it again with --yes"
        );
        return exit::USAGE;
    }
    if let Err(error) = StateDirectory::open(&config.state_dir) {
        print_error("tidewire", &error);
        return exit_code(&error);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(connector.remove()) {
        Ok(done) => {
            done.iter().for_each(|line| println!("{line}"));
            exit::OK
        }
        Err(error) => {
            print_error(&format!("source {source}"), &error);
            exit_code(&error)
        }
    }
}
