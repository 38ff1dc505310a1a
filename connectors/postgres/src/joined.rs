//! Tables that came into the publication while the log was read. Their changes are not shipped before their rows have
//! been read: the stream ends at the first sight of such a table, and the source is opened anew, which reads it (PG-12).
//! Who was turned away so has shipped nothing, and needs none of the changes that its first reading already shows.
//! Forgotten with the process: then those changes are shipped again on top, which ends in the same rows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The oids of tables that were turned away; shared by a connector and its readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joined(Arc<Mutex<HashSet<u32>>>);

impl Joined {
    /// Remembers a table that was turned away before any of its changes was shipped. False when it was already, and
    /// nothing has come of it.
    pub(crate) fn turn_away(&self, oid: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(oid)
    }

    /// Its changes are shipped now, without its rows.
    pub(crate) fn let_in(&self, oid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&oid);
    }

    /// Whether it was.
    pub(crate) fn was_turned_away(&self, oid: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&oid)
    }
}
