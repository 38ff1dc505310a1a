//! House-keeping of a table's log: checkpoints, and some at a time of the files and entries that have expired, for the next commit
//! waits for it. When each is due is the matter of `upkeep`, what may go that of `clean`.

use crate::ambient::{Limit, limit, now_millis};
use crate::error::Result;
use crate::log::{LOG_RETENTION_PROPERTY, Table, checkpoint, clean};
use crate::metrics;

/// A checkpoint is due after this many entries or bytes of them, if not for its age: some readers stop working on long
/// tails of entries.
const CHECKPOINT_ENTRIES: u64 = 50;
const CHECKPOINT_ENTRY_BYTES: u64 = 4 << 20;
/// A table that never rests is not maintained; at this many times the limits a commit writes the checkpoint itself.
const CHECKPOINT_OVERDUE: u32 = 2;
/// Most files that are removed beside one commit, so that the next one does not wait: a disk may take a millisecond for each.
const CLEAN_FILES: usize = 256;

impl Table {
    /// Whether `maintain` has something to do.
    pub(crate) fn is_maintenance_due(&self) -> bool {
        let cleans = || self.upkeep.is_behind || self.upkeep.is_rest_clean_due(&self.state, now_millis());
        let is_due = || self.is_checkpoint_due(1) || cleans();
        !self.stale && !self.is_unmarked && is_due()
    }

    /// Writes a checkpoint when one is due and removes what has expired.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        if !self.is_maintenance_due() {
            return Ok(());
        }
        if self.is_checkpoint_due(1) {
            return self.checkpoint();
        }
        self.clean()
    }

    fn is_checkpoint_due(&self, times: u32) -> bool {
        let factor = u64::from(times);
        self.entries >= limit(Limit::CheckpointEntries, CHECKPOINT_ENTRIES) * factor
            || self.entry_bytes >= CHECKPOINT_ENTRY_BYTES * factor
            || self.upkeep.is_checkpoint_due(times)
    }

    pub(super) fn checkpoint(&mut self) -> Result<()> {
        // One of a table that was taken away would look like a table.
        self.check_presence()?;
        let now = now_millis();
        let left = if self.upkeep.is_clean_due(&self.state) { self.clean_files(now)? } else { None };
        checkpoint::write(&self.store, self.version, &self.state)?;
        self.presence.begins_with(checkpoint::name(self.version));
        ::metrics::counter!(metrics::CHECKPOINTS).increment(1);
        (self.entries, self.entry_bytes) = (0, 0);
        self.upkeep.checkpointed();
        left.map_or(Ok(()), |left| self.clean_log(now, left))
    }

    /// Removes a part of what has expired, without a checkpoint.
    fn clean(&mut self) -> Result<()> {
        let now = now_millis();
        self.clean_files(now)?.map_or(Ok(()), |left| self.clean_log(now, left))
    }

    /// Removes expired files. How many more may go beside this commit; `None` when some are left, or others have come: what they
    /// have done is the next commit's to meet, and until then nothing is removed.
    fn clean_files(&mut self, now_millis: i64) -> Result<Option<usize>> {
        let mut left = limit(Limit::CleanFiles, CLEAN_FILES);
        // After an error the next checkpoint tries again.
        self.upkeep.is_behind = false;
        if !self.is_newest()? {
            self.upkeep.cleaned();
            return Ok(None);
        }
        let is_all = clean::expired_files(&self.store, &mut self.state, now_millis, &mut left)?;
        self.upkeep.is_behind = !is_all;
        Ok(is_all.then_some(left))
    }

    /// Removes expired entries before the oldest checkpoint that is still needed, and in turn what else has expired: no more files
    /// than are `left` to be removed now. Our own last entry may be among them: the checkpoint keeps our `txn` and our domains, and
    /// with them our place.
    pub(super) fn clean_log(&mut self, now_millis: i64, mut left: usize) -> Result<()> {
        let cutoff = now_millis.saturating_sub(clean::interval_millis(&self.state, LOG_RETENTION_PROPERTY));
        let mut is_all = clean::expired_entries(&self.store, self.version, cutoff, &mut left)?
            && clean::change_files(&self.store, &self.state, now_millis, &mut left)?;
        if is_all && self.upkeep.is_order_due() {
            is_all = clean::beside_entries(&self.store, &mut self.upkeep.in_order_to, now_millis, &mut left)?;
            if is_all {
                self.upkeep.put_in_order();
            }
        }
        is_all = is_all && self.remove_replaced(now_millis, &mut left)?;
        self.upkeep.is_behind = !is_all;
        if is_all {
            self.upkeep.cleaned();
        }
        Ok(())
    }

    /// The upkeep of a table that never rests, so that nobody calls `maintain`.
    pub(super) fn keep_up(&mut self) -> Result<()> {
        if self.is_checkpoint_due(CHECKPOINT_OVERDUE) {
            self.checkpoint()
        } else if self.is_checkpoint_due(1) && self.upkeep.is_behind {
            self.clean()
        } else {
            Ok(())
        }
    }
}
