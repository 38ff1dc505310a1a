//! A configuration file, whole: the daemon's own reading of it, then the source's section, with its URL. Nothing may
//! panic, and what is refused must say why.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::{Error, Result, SnapshotMode, SourceOptions};

/// The daemon is a program and no library: its reader of configurations is compiled in from where it lies.
#[path = "../../src"]
#[allow(dead_code, unused_imports, reason = "only the reader is called here")]
mod daemon {
    pub(crate) mod config;
}

/// Where the file lies that is read.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("tidewire-fuzz-{}.toml", std::process::id()))
});

/// Nothing of a check needs a secret.
struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::operator("secret_missing", "there are no secrets here"))
    }
}

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*PLACE, data).expect("write the configuration");
    match daemon::config::load(&PLACE) {
        Ok((config, mut faults)) => {
            sources(&config, &mut faults);
            assert_eq!(faults.is_empty(), faults.to_string().is_empty());
        }
        Err(faults) => assert!(!faults.to_string().is_empty()),
    }
});

fn sources(config: &daemon::config::Config, faults: &mut daemon::config::Faults) {
    let secrets: Arc<dyn SecretResolver> = Arc::new(NoSecrets);
    for (name, section) in &config.sources {
        let Some(dict) = &section.postgres else { continue };
        let key = format!("sources.{name}.postgres");
        let Some(raw) = faults.extract::<tidewire_postgres::Config>(&key, dict.clone().into()) else { continue };
        let options = SourceOptions {
            name: name.as_str().into(),
            tables: section.tables.clone(),
            snapshot: SnapshotMode::Initial,
            secrets: Arc::clone(&secrets),
        };
        if let Err(list) = tidewire_postgres::connector(options, raw, None) {
            list.into_iter().for_each(|fault| faults.push(&format!("{key}.{}", fault.key), fault.message));
        }
    }
}
