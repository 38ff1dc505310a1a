//! The commands, one file each, and what they share: a loaded configuration and a runtime.

pub(crate) mod check;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod status;

use crate::cli::{Global, exit};
use crate::config::{self, Config, FileSecrets};
use crate::registry::{self, Connectors};
use crate::state::StateDirectory;
use std::sync::Arc;
use tidewire_core::secret::SecretResolver;
use tidewire_core::{Error, ErrorKind};

/// Reads the configuration; prints every fault and gives the exit code when it is refused.
fn load(global: &Global) -> Result<Config, u8> {
    match config::load(&global.config) {
        Ok((config, faults)) if faults.is_empty() => Ok(config),
        // The registry adds what the connectors find, so that one run tells all.
        Ok((config, mut faults)) => {
            registry::build(&config, &mut faults, &secrets(), None);
            eprintln!("{faults}");
            Err(exit::CONFIGURATION)
        }
        Err(faults) => {
            eprintln!("{faults}");
            Err(exit::CONFIGURATION)
        }
    }
}

/// Builds the connectors of a configuration without faults of its own.
fn connectors(global: &Global, config: &Config, state: Option<&Arc<StateDirectory>>) -> Result<Connectors, u8> {
    let Ok((_, mut faults)) = config::load(&global.config) else {
        return Err(exit::CONFIGURATION);
    };
    let connectors = registry::build(config, &mut faults, &secrets(), state);
    if faults.is_empty() {
        return Ok(connectors);
    }
    eprintln!("{faults}");
    Err(exit::CONFIGURATION)
}

fn secrets() -> Arc<dyn SecretResolver> {
    Arc::new(FileSecrets::from_environment())
}

fn runtime() -> Result<tokio::runtime::Runtime, u8> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("tidewire").enable_all().build().map_err(
        |error| {
            eprintln!("tidewire: start the runtime: {error}");
            exit::FAILED
        },
    )
}

/// Prints an error for people, with its remedy.
fn print_error(subject: &str, error: &Error) {
    eprintln!("{subject}: {} [{}]", error.chain(), error.code());
    if let Some(remedy) = error.remedy() {
        eprintln!("    {}", remedy.replace('\n', "\n    "));
    }
}

fn exit_code(error: &Error) -> u8 {
    if error.kind() == ErrorKind::Configuration { exit::CONFIGURATION } else { exit::FAILED }
}
