//! Tables that came into the publication while the log was read. Their changes are not shipped before their rows have
//! been read: the stream ends at the first sight of such a table, and the source is opened anew, which reads it (PG-12).
//! Who was turned away so has shipped nothing, and needs none of the changes that its first reading already shows.
//! Who cannot be read is shipped without its rows, and not tried again: each try would stop all other tables.
//! Forgotten with the process: then those changes are shipped again on top, which ends in the same rows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The oids of such tables; shared by a connector and its readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joined(Arc<Mutex<Oids>>);

#[derive(Debug, Default)]
struct Oids {
    turned_away: HashSet<u32>,
    unread: HashSet<u32>,
}

impl Joined {
    /// Remembers a table that was turned away before any of its changes was shipped. False when it was already, and
    /// nothing has come of it.
    pub(crate) fn turn_away(&self, oid: u32) -> bool {
        self.oids().turned_away.insert(oid)
    }

    /// Its changes are shipped now, without its rows.
    pub(crate) fn let_in(&self, oid: u32) {
        self.oids().turned_away.remove(&oid);
    }

    /// Whether it was.
    pub(crate) fn was_turned_away(&self, oid: u32) -> bool {
        self.oids().turned_away.contains(&oid)
    }

    /// Lets a table in whose rows cannot be read, and remembers it as long as the process lives. False when it was known.
    pub(crate) fn leave_unread(&self, oid: u32) -> bool {
        let mut oids = self.oids();
        oids.turned_away.remove(&oid);
        oids.unread.insert(oid)
    }

    /// Whether its rows could not be read.
    pub(crate) fn is_unread(&self, oid: u32) -> bool {
        self.oids().unread.contains(&oid)
    }

    fn oids(&self) -> MutexGuard<'_, Oids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_12_a_table_is_turned_away_once_and_left_unread_for_good() {
        let joined = Joined::default();
        assert!(joined.turn_away(1) && !joined.turn_away(1) && joined.was_turned_away(1));
        joined.let_in(1);
        assert!(!joined.was_turned_away(1) && !joined.is_unread(1));
        assert!(joined.turn_away(2) && joined.leave_unread(2) && !joined.leave_unread(2));
        assert!(!joined.was_turned_away(2) && joined.is_unread(2));
    }
}
