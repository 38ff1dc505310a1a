//! Tables that came to be while the log was read: made, or renamed to a captured name. They are not shipped before their
//! rows have been read: the stream ends at the first sight of such a table, and the source is opened anew, which reads it.
//! One that has gone again by then is shipped as the log has it. Forgotten with the process.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::TableName;

/// The names of such tables; shared by a connector and its readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joined(Arc<Mutex<HashSet<TableName>>>);

impl Joined {
    /// Remembers a table that was turned away before any of its changes was shipped. False when it was already, and
    /// nothing has come of it.
    pub(crate) fn turn_away(&self, table: &TableName) -> bool {
        self.names(|names| names.insert(table.clone()))
    }

    /// Its changes are shipped now.
    pub(crate) fn let_in(&self, table: &TableName) {
        self.names(|names| names.remove(table));
    }

    fn names<T>(&self, act: impl FnOnce(&mut HashSet<TableName>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
