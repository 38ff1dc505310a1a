//! Deletion vectors that were replaced soon after they were written. A commit replaces one in every file that it touches, so that
//! their removals would become most of what a log holds: of every checkpoint, and of memory. They are forgotten at once, and
//! their files go by the age that their names tell (ADR 13).
//!
//! A vector counts as replaced soon when it has lasted no longer than a small part of the retention, the *grace*. A file of vectors
//! goes when it is older than retention and grace, and neither a live file nor a removal that is still remembered names it.
//! Whatever lies in it was then replaced a whole retention ago: soon, within the grace, or else its removal is remembered for that long.

use crate::deletion_vector;
use crate::error::Result;
use crate::log::clean::{self, retention_millis};
use crate::log::state::{State, Tombstone};
use crate::store::TableStore;

/// The grace is this part of the retention: an hour of a day. Files of vectors stay for so much longer than the retention says,
/// and a vacuum by others, which knows of no removal, may take them for so much less.
const GRACE_PART: i64 = 24;
/// What the names of files of vectors begin with.
const FILES: &str = "deletion_vector_";

fn grace_millis(retention_millis: i64) -> i64 {
    retention_millis / GRACE_PART
}

impl State {
    /// Forgets, among the removals from this one on, those of vectors that were replaced soon. A file that was removed with its
    /// vector is not live: that removal stays.
    pub(super) fn forget_replaced(&mut self, from: usize) {
        let (grace, files) = (grace_millis(retention_millis(self)), &self.files);
        let soon = |tombstone: &Tombstone| {
            let written = tombstone.deletion_vector.as_ref()?.written_at()?;
            let lasted = tombstone.deletion_timestamp.checked_sub(written)?;
            ((0..=grace).contains(&lasted) && files.contains_key(&tombstone.path)).then_some(written)
        };
        for removal in self.tombstones.split_off(from.min(self.tombstones.len())) {
            match soon(&removal) {
                Some(written) => self.replaced_since = Some(self.replaced_since.map_or(written, |at| at.min(written))),
                None => self.tombstones.push(removal),
            }
        }
    }
}

/// Files of vectors that were written before this are no longer needed unless the log names them.
fn cutoff_millis(state: &State, now_millis: i64) -> i64 {
    let retention = retention_millis(state);
    now_millis.saturating_sub(retention).saturating_sub(grace_millis(retention))
}

/// Whether one that is known to have been replaced has expired.
pub(super) fn have_expired(state: &State, now_millis: i64) -> bool {
    state.replaced_since.is_some_and(|since| since < cutoff_millis(state, now_millis))
}

/// Removes files of vectors that have expired, no more than are `left` to be removed now, and says whether that was all of them. Of a
/// log that names files elsewhere it is none. A file whose commit is still to come is left alone.
pub(super) fn remove(store: &TableStore, state: &mut State, now_millis: i64, left: &mut usize) -> Result<bool> {
    let Some(needed) = state.named(|_| true) else { return Ok(true) };
    let is_to_come = |name: &str| store.intents().is_some_and(|intents| intents.holds(name));
    let cutoff = cutoff_millis(state, now_millis);
    let (mut expired, mut next) = (Vec::new(), None);
    // The oldest come first.
    store.show("", FILES, &mut |object| {
        let name = &*object.name;
        let Some(written) = deletion_vector::written_at(name) else { return name.starts_with(FILES) };
        if needed.contains(name) || is_to_come(name) {
            return true;
        }
        if written >= cutoff || expired.len() == *left {
            next = Some(written);
            return false;
        }
        expired.push(name.to_owned());
        true
    })?;
    store.delete_all(&expired)?;
    clean::count(expired.len(), left);
    state.replaced_since = next;
    Ok(next.is_none_or(|next| next >= cutoff))
}
