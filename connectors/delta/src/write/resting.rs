//! Tables that have not been written to since the sink was opened: freed of their deleted rows, and of files whose
//! retention has passed, one table at a time. The first change of such a table comes before. Knows nothing of rows.

use super::DeltaSink;
use super::compacting::REST_MILLIS;
use super::found::{own_place, take_over};
use crate::ambient::now_millis;
use crate::error::Result;
use crate::log::Table;
use crate::purge::Purge;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::{ErrorKind, Progress, TableName, TableState};

/// A table that is in order is looked at this often.
const LOOK_MILLIS: i64 = 24 * 3_600 * 1_000;
/// Between two looks at a table lies this, whatever expires.
const LOOK_MILLIS_MIN: i64 = 3_600 * 1_000;

/// Which tables are to be looked at, and when.
pub(super) struct Resting {
    /// By `schema.table`, in milliseconds since 1970.
    due: BTreeMap<String, i64>,
    /// The table whose files are being rewritten.
    visit: Option<Visit>,
}

struct Visit {
    name: String,
    table: TableName,
    purge: Purge,
    /// Whether files may be rewritten.
    frees: bool,
}

/// What a look has found.
enum Look {
    /// Nothing to do until then, in milliseconds since 1970.
    Until(i64),
    /// Files to rewrite, which has begun.
    Begun(Box<Visit>),
}

impl Resting {
    /// All tables that a sink holds rest until they are changed.
    pub(super) fn new(progress: &Progress) -> Resting {
        let whole = progress.tables.iter().filter(|(_, table)| table.state == TableState::Done).map(|(name, _)| name);
        let due = now_millis().saturating_add(REST_MILLIS);
        Resting { due: whole.chain(progress.behind.keys()).map(|name| (name.clone(), due)).collect(), visit: None }
    }

    /// The table is about to be changed: what is done to it ends at once.
    pub(super) fn give_way(&mut self, table: &TableName) {
        self.visit.take_if(|visit| visit.table == *table);
        if !self.due.is_empty() {
            self.due.remove(&table.to_string());
        }
    }

    /// Whether files are being rewritten.
    pub(super) fn is_busy(&self) -> bool {
        self.visit.is_some()
    }

    /// Whether a thread is copying rows.
    #[cfg(test)]
    pub(super) fn is_copying(&self) -> bool {
        self.visit.as_ref().is_some_and(|visit| !visit.purge.is_done())
    }
}

impl DeltaSink {
    /// Goes on with the table that is being freed of deleted rows, once its copies are there.
    pub(super) fn go_on_resting(&mut self) -> Result<()> {
        match self.resting.visit.take_if(|visit| visit.purge.is_done()) {
            Some(visit) => self.looked_at(visit.name.clone(), go_on(visit)),
            None => Ok(()),
        }
    }

    /// Looks at the next table that rests.
    pub(super) fn look_at_resting(&mut self) -> Result<()> {
        match self.next_resting() {
            Some(name) => {
                let looked = self.look_at(&name);
                self.looked_at(name, looked)
            }
            None => Ok(()),
        }
    }

    fn looked_at(&mut self, name: String, looked: Result<Look>) -> Result<()> {
        let until = match looked {
            Ok(Look::Begun(visit)) => {
                self.resting.visit = Some(*visit);
                return Ok(());
            }
            Ok(Look::Until(until)) => until,
            Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::Operator) => {
                // Whoever changes the table next meets the error as well, and halts it if need be.
                tracing::warn!(table = name, error = %error.chain(), "deleted rows stay in a table's files for now");
                now_millis() + LOOK_MILLIS_MIN
            }
            Err(error) => return Err(error),
        };
        // Its version is another one now.
        self.standings.remove(&name);
        self.resting.due.insert(name, until);
        Ok(())
    }

    /// A table that is to be looked at now, one at a time: beside the tables that change, which never all rest.
    fn next_resting(&self) -> Option<String> {
        if self.resting.due.is_empty() || self.resting.is_busy() {
            return None;
        }
        let now = now_millis();
        self.resting.due.iter().find(|(_, due)| **due <= now).map(|(name, _)| name.clone())
    }

    fn look_at(&mut self, name: &str) -> Result<Look> {
        for table in splits(name) {
            let store = self.store_of(&table);
            let Some(mut found) = Table::open_among(store, self.settings.foreign_writes)? else { continue };
            if own_place(&found, &self.identity, name, &self.settings).is_none() {
                continue;
            }
            let now = now_millis();
            let budget = self.settings.compaction;
            let holds_deleted = budget.is_some() && found.files().any(|file| file.deletion_vector.is_some());
            let expires = found.next_expiry();
            if !holds_deleted && expires.is_none_or(|expires| expires > now) {
                found.clean_entries()?;
                return Ok(Look::Until(next_look(now, expires)));
            }
            // What was found before is about to be older than the table.
            self.found.remove(&table);
            self.standings.remove(name);
            take_over(&mut found, &self.identity, self.progress.made().version(name))?;
            let target_bytes = budget.map_or(0, |budget| budget.target_bytes);
            let purge = Purge::new(found, self.identity.app_id(), target_bytes, Arc::clone(&self.turns.lane))?;
            return go_on(Visit { name: name.to_owned(), table, purge, frees: holds_deleted });
        }
        Ok(Look::Until(now_millis() + LOOK_MILLIS))
    }
}

/// Takes over what was rewritten, and begins with more or ends by removing what has expired.
fn go_on(mut visit: Visit) -> Result<Look> {
    visit.purge.finish()?;
    if visit.frees && visit.purge.start(|_| true)? {
        return Ok(Look::Begun(Box::new(visit)));
    }
    let table = visit.purge.table_mut();
    table.vacuum(false)?;
    Ok(Look::Until(next_look(now_millis(), table.next_expiry())))
}

fn next_look(now: i64, expires: Option<i64>) -> i64 {
    expires.map_or(now + LOOK_MILLIS, |expires| expires.clamp(now + LOOK_MILLIS_MIN, now + LOOK_MILLIS))
}

/// The tables that `schema.table` may name: both parts may hold dots.
pub(crate) fn splits(name: &str) -> impl Iterator<Item = TableName> {
    name.match_indices('.').filter_map(move |(at, _)| {
        let (schema, table) = name.split_at_checked(at)?;
        Some(TableName::new(schema, table.strip_prefix('.')?))
    })
}
