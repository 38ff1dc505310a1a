//! House-keeping of the tables that are open: several at once and, where many are due, some at a time, because changes wait for it.
//! Knows nothing of what there is to do.

use super::DeltaSink;
use super::committing::COMMIT_THREADS;
use crate::ambient::{Limit, limit, now_millis};
use crate::error::{Result, of_table};
use crate::job::side_by_side;
use std::time::Duration;

/// Tables that have house-keeping between two commits. Those that are committed together need checkpoints together, which in a lake
/// of a thousand tables in a bucket would take half a minute.
const KEPT_TABLES: usize = 64;

impl DeltaSink {
    /// Does some of what is due. Says whether more of it is due now.
    pub(super) fn keep_tables(&mut self) -> Result<bool> {
        for (name, table) in &mut self.tables {
            table.poll_index().map_err(|error| of_table(error, name))?;
        }
        let mut due: Vec<_> = self.tables.iter_mut().filter(|(_, table)| table.is_maintenance_due()).collect();
        // In turn: one that has much to do does not come before another that waits.
        let first = self.kept.as_ref().map_or(0, |last| due.partition_point(|(name, _)| *name <= last));
        due.rotate_left(first);
        let tables_max = limit(Limit::KeptTables, KEPT_TABLES);
        let has_more = due.len() > tables_max;
        due.truncate(tables_max);
        let last = due.last().map(|(name, _)| (*name).clone());
        side_by_side(due, limit(Limit::CommitThreads, COMMIT_THREADS), |(name, table)| {
            table.maintain().map_err(|error| of_table(error, name))
        })?;
        self.kept = last;
        Ok(has_more)
    }

    /// In how long there will be something to do for house-keeping that nothing else brings about.
    pub(super) fn asks_again(&self, has_more: bool) -> Option<Duration> {
        if has_more || self.is_compacting() {
            return Some(Duration::ZERO);
        }
        let now = now_millis();
        let tables = self.tables.values().filter_map(|table| table.rests_in(now));
        let barrier = self.barriers.as_ref().and_then(|barriers| barriers.owed_in(now));
        tables.chain(barrier).min().map(|left| Duration::from_millis(left.unsigned_abs()))
    }
}
