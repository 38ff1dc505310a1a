//! Leaving a table that nobody holds open otherwise in good order: what has expired is removed at once, and a long tail of
//! entries gets a checkpoint. Knows no rows and decides about no file that the log does not name.

use crate::ambient::{Limit, limit, now_millis};
use crate::error::{self, Result};
use crate::log::state::Tombstone;
use crate::log::{Table, clean, replaced};

/// Most files removed in one go, where nobody waits for it.
const FILES_MAX: usize = 1_000;
/// Entries of fewer bytes are no burden for readers: they are parsed in a millisecond.
const REST_ENTRY_BYTES: u64 = 64 << 10;

fn files_max() -> usize {
    limit(Limit::CleanFiles, FILES_MAX)
}

impl Table {
    /// Removes files whose removal has expired, all of them or, with `whole`, those that have not expired either. What is
    /// left of the log then is a checkpoint that no longer names them. Nobody changes the table for now, so one is written,
    /// too, when each of its readers would have much to read beside the last. Returns the number of removals forgotten.
    ///
    /// # Errors
    /// When others have come meanwhile and `whole` cannot be done.
    pub(crate) fn vacuum(&mut self, whole: bool) -> Result<usize> {
        let before = self.state.tombstones.len();
        // A removal of this very moment has not expired by its clock.
        let now = if whole { i64::MAX } else { now_millis() };
        let is_all = self.while_newest(|it| clean::expired_files(&it.store, &mut it.state, now, &mut files_max()))?
            && self.while_newest(|it| it.remove_expired_vectors(now, &mut files_max()))?
            // Old rows lie in files of changes as well, which otherwise go when the log is cleaned.
            && (!whole || self.while_newest(|it| clean::change_files(&it.store, &it.state, now, &mut files_max()))?);
        if whole && !is_all {
            return Err(self.overtaken());
        }
        let forgotten = before - self.state.tombstones.len();
        if whole && !self.state.tombstones.is_empty() {
            let what = "it names a file outside the table's directory, so that none can be removed";
            return Err(error::damaged(&self.store.place("_delta_log"), what));
        }
        if forgotten > 0 || self.entry_bytes >= REST_ENTRY_BYTES {
            self.checkpoint()?;
        }
        Ok(forgotten)
    }

    /// Takes steps until one says that it was the last, as long as others have put nothing on top. Whether it came to that.
    fn while_newest(&mut self, mut step: impl FnMut(&mut Table) -> Result<bool>) -> Result<bool> {
        while self.is_newest()? {
            if step(self)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes files of deletion vectors that have expired, no more than are `left` to be removed now, and says whether that was all
    /// of them. When somebody else's entry has come, files may be live that the state does not know.
    pub(super) fn remove_replaced(&mut self, now_millis: i64, left: &mut usize) -> Result<bool> {
        if self.has_deletion_vectors() && !self.is_newest()? {
            return Ok(true);
        }
        self.remove_expired_vectors(now_millis, left)
    }

    /// The same for a caller who has just asked whether somebody else's entry has come.
    fn remove_expired_vectors(&mut self, now_millis: i64, left: &mut usize) -> Result<bool> {
        if !self.has_deletion_vectors() {
            return Ok(true);
        }
        replaced::remove(&self.store, &mut self.state, now_millis, left)
    }

    /// Removes entries of the log that have expired. Where the newest is another writer's the next start has to read it.
    pub(crate) fn clean_entries(&mut self) -> Result<()> {
        if self.is_unmarked || !self.is_newest()? { Ok(()) } else { self.clean_log(now_millis(), files_max()) }
    }

    /// When the oldest removal will have expired, in milliseconds since 1970.
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        let oldest = self.state.tombstones.iter().map(|tombstone| tombstone.deletion_timestamp).min();
        // The removals expire when their time is past, not when it has come.
        oldest.map(|oldest| oldest.saturating_add(clean::retention_millis(&self.state)).saturating_add(1))
    }

    /// When the newest removal will have expired, in milliseconds since 1970.
    pub(crate) fn last_expiry(&self) -> Option<i64> {
        let newest = self.state.tombstones.iter().map(|tombstone| tombstone.deletion_timestamp).max();
        newest.map(|newest| newest.saturating_add(clean::retention_millis(&self.state)))
    }

    /// When the removal of a data file expires, in milliseconds since 1970; `None` for one that the log does not name as
    /// removed. A file that is live may have removals of its own, of older deletion vectors.
    pub(crate) fn expiry_of(&self, path: &str) -> Option<i64> {
        let of = |tombstone: &&Tombstone| &*tombstone.path == path;
        let removed = self.state.tombstones.iter().filter(of).map(|tombstone| tombstone.deletion_timestamp).max();
        removed.map(|removed| removed.saturating_add(clean::retention_millis(&self.state)))
    }
}
