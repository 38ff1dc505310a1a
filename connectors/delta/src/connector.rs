//! The front door: a checked sink that is not connected yet. Knows the configuration and how to open a store with
//! it, nothing else.

use crate::config::{Config, ConfigFault, Settings};
use crate::error::Result;
use crate::layout::Mode;
use crate::preflight;
use crate::store::Store;
use crate::write::{DeltaSink, Identity};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tidewire_core::secret::SecretResolver;
use tidewire_core::sink::SinkCapabilities;
use tidewire_core::{Finding, Progress, Sink, SinkConnector, TableSchema};

/// What the daemon gives a sink beside its configuration.
pub struct SinkOptions {
    /// The sink's name in the configuration.
    pub name: Arc<str>,
    /// Reads secrets.
    pub secrets: Arc<dyn SecretResolver>,
    /// The daemon's state directory, absolute. What the sink keeps there may be lost.
    pub state_dir: PathBuf,
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
        Store::open(&self.settings.location, &options)
    }
}

impl SinkConnector for DeltaConnector {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: self.settings.mode == Mode::Mirror,
            commit_interval: self.settings.commit_interval,
            commit_changes: self.settings.commit_rows,
            commit_bytes: self.settings.commit_bytes,
            commit_when_idle: false,
            // Rows of a large transaction wait in data files, so memory is no reason to show half of one.
            can_split_transactions: false,
        }
    }

    fn check(&self, tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        let mut findings = preflight::tables(&self.settings, tables);
        let store = self.store()?;
        findings.extend(preflight::location(&store)?);
        findings.extend(preflight::foreign_tables(&self.settings, &self.options.name, &store, tables)?);
        Ok(findings)
    }

    fn open(&self, source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        let identity = Arc::new(Identity { sink: Arc::clone(&self.options.name), source: source.into() });
        let intents = self.options.state_dir.join("delta").join(&*self.options.name).join(source);
        let store = self.store()?.with_intents(intents);
        let (sink, progress) = DeltaSink::open(Arc::clone(&self.settings), identity, store)?;
        Ok((Box::new(sink), progress))
    }
}
