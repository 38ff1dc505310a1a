//! A configuration file, whole: the daemon's own reading of it, then the source's section, with its URL. Nothing may
//! panic, and what is refused must say why.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::{ConfigFault, Error, Result, SnapshotMode, SourceOptions};

/// The daemon is a program and no library: its reader of configurations is compiled in from where it lies.
#[path = "../../../src"]
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

/// Whether it is a configuration without a fault.
pub(crate) fn read(data: &[u8]) -> bool {
    assert!(std::fs::write(&*PLACE, data).is_ok(), "write the configuration");
    match daemon::config::load(&PLACE) {
        Ok((config, mut faults)) => {
            sources(&config, &mut faults);
            assert_eq!(faults.is_empty(), faults.to_string().is_empty());
            faults.is_empty()
        }
        Err(faults) => {
            assert!(!faults.to_string().is_empty());
            false
        }
    }
}

fn sources(config: &daemon::config::Config, faults: &mut daemon::config::Faults) {
    let secrets: Arc<dyn SecretResolver> = Arc::new(NoSecrets);
    for (name, section) in &config.sources {
        let options = || SourceOptions {
            name: name.as_str().into(),
            tables: section.tables.clone(),
            snapshot: SnapshotMode::Initial,
            secrets: Arc::clone(&secrets),
        };
        let prefix = |kind: &str| format!("sources.{name}.{kind}");
        if let Some(dict) = &section.postgres {
            let key = prefix("postgres");
            if let Some(raw) = faults.extract::<tidewire_postgres::Config>(&key, dict.clone().into()) {
                tell(tidewire_postgres::connector(options(), raw, None).err(), &key, faults);
            }
        }
        if let Some(dict) = &section.mysql {
            let key = prefix("mysql");
            if let Some(raw) = faults.extract::<tidewire_mysql::Config>(&key, dict.clone().into()) {
                tell(tidewire_mysql::connector(options(), raw, None).err(), &key, faults);
            }
        }
    }
}

fn tell(found: Option<Vec<ConfigFault>>, key: &str, faults: &mut daemon::config::Faults) {
    for fault in found.into_iter().flatten() {
        faults.push(&format!("{key}.{}", fault.key), fault.message);
    }
}
