//! A commit over all tables: which have something to show, and several at once. Knows nothing of what they show.

use super::DeltaSink;
use super::table::TableWriter;
use crate::ambient::{Limit, limit};
use crate::error::{Result, of_table};
use crate::job::side_by_side;
use tidewire_core::{Progress, failpoint};

/// Tables that are committed at once. Most of the time each waits for storage.
pub(super) const COMMIT_THREADS: usize = 8;

impl DeltaSink {
    /// Shows the changes of every table. After an error some tables may be ahead of others, as after a crash.
    pub(super) fn commit_tables(&mut self, progress: &Progress) -> Result<()> {
        let due = self.tables.iter_mut().filter(|(_, table)| table.is_commit_due());
        side_by_side(due.collect(), limit(Limit::CommitThreads, COMMIT_THREADS), |(name, table)| {
            // A table that was left behind is not where the others are.
            table.commit(progress.position_of(name)).map_err(|error| of_table(error, name))?;
            failpoint::step("delta_table_committed")
        })
    }
}

impl TableWriter {
    /// Whether `commit` may have something to show.
    fn is_commit_due(&self) -> bool {
        !self.is_reading && (self.has_changes() || self.rewrite_due)
    }

    /// Whether a commit would show anything.
    pub(super) fn has_changes(&self) -> bool {
        !self.parts.is_empty() || self.replaces_all || self.metadata_due || self.snapshot_due.is_some()
    }
}
