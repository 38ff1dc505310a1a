//! The commands, one file each, and what they share: a loaded configuration and a runtime.

pub(crate) mod check;
pub(crate) mod purge;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod status;

use crate::cli::{Global, exit};
use crate::config::{self, Config, Faults, FileSecrets};
use crate::registry::{self, Connectors};
use crate::state::StateDirectory;
use std::sync::Arc;
use tidewire_core::secret::SecretResolver;
use tidewire_core::{Error, ErrorKind};

/// Reads the configuration once; prints every fault and gives the exit code when it is refused. What comes back has no
/// faults; the registry adds what the connectors find to the list beside it.
fn load(global: &Global) -> Result<(Config, Faults), u8> {
    match config::load(&global.config) {
        Ok((config, faults)) if faults.is_empty() => Ok((config, faults)),
        // One run tells all: the connectors' faults too.
        Ok((config, faults)) => Err(connectors(&config, faults, None).err().unwrap_or(exit::CONFIGURATION)),
        Err(faults) => {
            eprintln!("{faults}");
            Err(exit::CONFIGURATION)
        }
    }
}

/// Builds the connectors; prints every fault and gives the exit code when there are any.
fn connectors(config: &Config, mut faults: Faults, state: Option<&Arc<StateDirectory>>) -> Result<Connectors, u8> {
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
