//! The null sink: takes everything, keeps nothing, remembers how far it came in the state directory. It
//! shows what a source can give, without any sink's cost.

use crate::state::StateDirectory;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{Batch, Finding, Progress, Result, Sink, SinkConnector, TableSchema};

/// A sink that drops what it gets.
pub(crate) struct NullConnector {
    name: Arc<str>,
    state: Option<Arc<StateDirectory>>,
}

impl NullConnector {
    /// Remembers its progress in `state`, if there is one.
    pub(crate) fn new(name: Arc<str>, state: Option<Arc<StateDirectory>>) -> NullConnector {
        NullConnector { name, state }
    }
}

impl SinkConnector for NullConnector {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: Duration::from_secs(1),
            commit_changes: 200_000,
            commit_bytes: 64 << 20,
            commit_when_idle: true,
            can_split_transactions: true,
        }
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        let progress = match &self.state {
            Some(state) => state.cached_progress(source, &self.name)?.unwrap_or_default(),
            None => Progress::default(),
        };
        let sink = NullSink { name: Arc::clone(&self.name), source: source.to_owned(), state: self.state.clone() };
        Ok((Box::new(sink), progress))
    }
}

struct NullSink {
    name: Arc<str>,
    source: String,
    state: Option<Arc<StateDirectory>>,
}

impl Sink for NullSink {
    fn write(&mut self, _batch: &Batch, _selection: Selection<'_>) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        match &self.state {
            Some(state) => state.cache_progress(&self.source, &self.name, progress),
            None => Ok(()),
        }
    }
}
