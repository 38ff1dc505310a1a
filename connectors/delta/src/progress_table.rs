//! What the sink holds of one source, kept as a small Delta table beside the data. Knows nothing of rows.

use crate::error::Result;
use crate::log::Table;
use crate::store::Store;
use tidewire_core::{Error, Progress};

/// The progress of one source in one sink.
#[derive(Debug)]
pub(crate) struct ProgressTable {
    table: Table,
}

impl ProgressTable {
    /// Opens or creates the table of `source` and reads the progress.
    pub(crate) fn open(_store: &Store, _sink: &str, _source: &str) -> Result<(ProgressTable, Progress)> {
        Err(Error::bug("delta_not_built", "the progress table is not built yet"))
    }

    /// Stores the progress durably.
    pub(crate) fn store(&mut self, _progress: &Progress) -> Result<()> {
        Err(Error::bug("delta_not_built", "the progress table is not built yet"))
    }

    /// House-keeping of the table itself.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        self.table.maintain()
    }
}
