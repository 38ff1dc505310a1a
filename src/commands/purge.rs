//! `tidewire purge`: removes deleted rows from the files of a sink. The daemon must not be running: the lock on the
//! state directory proves that, as far as it is this one's.

use crate::cli::{Global, exit};
use crate::commands::{connectors, exit_code, load, print_error};
use crate::state::StateDirectory;
use std::sync::Arc;
use tidewire_core::sink::PurgeRequest;

/// Runs the command.
pub(crate) fn purge(global: &Global, sink: &str, request: &PurgeRequest) -> u8 {
    let (config, faults) = match load(global) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if !config.sinks.contains_key(sink) {
        eprintln!("tidewire: `{sink}` is not a configured sink");
        return exit::USAGE;
    }
    let state = match StateDirectory::open(&config.state_dir) {
        Ok(state) => Arc::new(state),
        Err(error) => {
            print_error("tidewire", &error);
            return exit_code(&error);
        }
    };
    let connectors = match connectors(&config, faults, Some(&state)) {
        Ok(connectors) => connectors,
        Err(code) => return code,
    };
    let Some(connector) = connectors.sinks.get(sink) else { return exit::FAILED };
    let mut code = exit::OK;
    for source in config.sources.keys().filter(|source| config.sinks_of(source).any(|name| name == sink)) {
        match connector.purge(source, request, &mut |line| println!("{source} {line}")) {
            Ok(true) => {}
            Ok(false) => code = exit::AMISS,
            Err(error) => {
                print_error(&format!("sink {sink}, source {source}"), &error);
                return exit_code(&error);
            }
        }
    }
    code
}
