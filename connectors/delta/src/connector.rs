//! The front door: a checked sink that is not connected yet. Knows the configuration and how to open a store with
//! it, nothing else.

use crate::config::{Config, ConfigFault, Keyless, Settings};
use crate::erase::Eraser;
use crate::error::Result;
use crate::preflight;
use crate::progress_table::ProgressTable;
use crate::store::Store;
use crate::write::{DeltaSink, Identity};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tidewire_core::secret::SecretResolver;
use tidewire_core::sink::{PurgeRequest, SinkCapabilities};
use tidewire_core::{Finding, Progress, Sink, SinkConnector, TableSchema};

/// What the daemon gives a sink beside its configuration.
pub struct SinkOptions {
    /// The sink's name in the configuration.
    pub name: Arc<str>,
    /// The daemon's state directory; what the sink keeps there can be had again from its tables. `None` when it shall
    /// only be checked.
    pub state_dir: Option<PathBuf>,
    /// Reads secrets.
    pub secrets: Arc<dyn SecretResolver>,
}

/// A sink for this configuration.
///
/// # Errors
/// Every fault of the configuration.
pub fn connector(options: SinkOptions, config: Config) -> Result<Box<dyn SinkConnector>, Vec<ConfigFault>> {
    let settings = Arc::new(Settings::check(config)?);
    Ok(Box::new(DeltaConnector { options, settings }))
}

struct DeltaConnector {
    options: SinkOptions,
    settings: Arc<Settings>,
}

impl DeltaConnector {
    fn store(&self) -> Result<Store> {
        let mut options = BTreeMap::new();
        for (key, secret) in &self.settings.storage {
            options.insert(key.clone(), self.options.secrets.resolve(secret)?.reveal().to_owned());
        }
        let store = Store::open(&self.settings.location, &options)?;
        Ok(store.with_compression(self.settings.compression))
    }

    /// Who writes a source's tables, and where.
    fn parts(&self, source: &str) -> Result<(Arc<Identity>, Store)> {
        let identity = Arc::new(Identity { sink: Arc::clone(&self.options.name), source: source.into() });
        let state_dir = self.options.state_dir.as_ref();
        let directory = state_dir.map(|path| path.join("delta").join(&*self.options.name).join(source));
        let mut store = self.store()?;
        if let Some(directory) = directory {
            store = store.with_intents(directory);
        }
        Ok((identity, store))
    }
}

impl SinkConnector for DeltaConnector {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: self.settings.mode.keeps_keys() && self.settings.keyless == Keyless::Refuse,
            commit_interval: self.settings.commit_interval,
            commit_changes: self.settings.commit_rows,
            commit_bytes: self.settings.commit_bytes,
            commit_when_idle: false,
            // Rows of a large transaction wait in data files, so memory is no reason to show half of one.
            can_split_transactions: false,
        }
    }

    fn check(&self, tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        let mut findings = preflight::paths(&self.settings, tables);
        let store = self.store()?;
        if let Some(found) = preflight::location(&store)? {
            // Every table would meet it, and a store need not name it again: none does when a bucket that is missing is listed.
            findings.push(found);
            return Ok(findings);
        }
        findings.extend(preflight::tables(&self.settings, &self.options.name, &store, tables)?);
        Ok(findings)
    }

    fn held(&self, source: &str) -> Result<Option<Progress>> {
        let held = ProgressTable::look(&self.store()?, &self.options.name, source)?;
        Ok(held.map(|(progress, _)| progress))
    }

    fn open(&self, source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        let (identity, store) = self.parts(source)?;
        let (sink, progress) = DeltaSink::open(Arc::clone(&self.settings), identity, store)?;
        Ok((Box::new(sink), progress))
    }

    fn purge(&self, source: &str, request: &PurgeRequest, tell: &mut dyn FnMut(String)) -> Result<bool> {
        let (identity, store) = self.parts(source)?;
        Eraser { settings: &self.settings, identity: &identity, store: &store, request, tell }.run()
    }
}
