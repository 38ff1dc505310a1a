//! What lies at a table's path before the sink writes to it, and what a table says of itself. Knows no rows.

use super::committing::COMMIT_THREADS;
use crate::ambient::{Limit, limit};
use crate::config::Settings;
use crate::error::{Result, of_table};
use crate::index::forget_later;
use crate::job::side_by_side;
#[cfg(test)]
use crate::log::ForeignWrites;
use crate::log::{Table, rolled_back};
use crate::progress_table::Made;
use crate::store::TableStore;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::{Batch, Change, Error, Mark, Phase, Position, TableName};

/// The domain of a table's place.
pub(super) const POSITION_DOMAIN: &str = "tidewire.position";

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The sink's name.
    pub(crate) sink: Arc<str>,
    /// The source's name.
    pub(crate) source: Arc<str>,
}

impl Identity {
    /// The application id of our `txn` actions.
    pub(crate) fn app_id(&self) -> String {
        format!("tidewire:{}:{}", self.sink, self.source)
    }
}

/// What a table says of itself, in the same commit as its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(super) sink: String,
    pub(super) source: String,
    pub(super) table: String,
    pub(super) mode: String,
    /// The database's id of the table.
    pub(super) native_id: u64,
    /// Every change of the table at or before this place is in it.
    pub(super) position: Position,
    /// Where its last snapshot lies, if it has had one.
    pub(super) snapshot_floor: Option<Position>,
}

impl Place {
    /// Every change at or before it is in the table.
    #[cfg(test)]
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Where the table's last snapshot lies.
    #[cfg(test)]
    pub(crate) fn snapshot_floor(&self) -> Option<&Position> {
        self.snapshot_floor.as_ref()
    }

    /// The name of the table's mode.
    pub(crate) fn mode(&self) -> &str {
        &self.mode
    }

    /// Every change at or before it is in the table.
    pub(super) fn mark(&self) -> Mark {
        self.position.mark
    }

    /// Whether the table is this source's table of this name in this sink.
    pub(crate) fn is_of(&self, identity: &Identity, name: &str) -> bool {
        *self.sink == *identity.sink && *self.source == *identity.source && self.table == name
    }
}

/// What the table at a path says of itself; `None` when there is no table, or one of somebody else.
#[cfg(test)]
pub(crate) fn stored_place(store: &TableStore, others: ForeignWrites) -> Result<Option<Place>> {
    let table = Table::open_among(store.clone(), others)?;
    Ok(table.and_then(|table| serde_json::from_str(table.domain(POSITION_DOMAIN)?).ok()))
}

/// What lies at a table's path before the first change that it needs: only then is it known which version of the
/// source's schema the table goes on with. A table that is ahead of the progress may have left earlier ones behind.
pub(crate) struct Found {
    pub(super) store: TableStore,
    /// The table, taken over from an earlier instance, and what it says of itself.
    pub(super) table: Option<(Table, Place)>,
}

impl Found {
    /// Looks, and takes the table over if it is this source's table `name` in this sink; `None` when it is not. `known` is the
    /// newest version of it that the progress knows of.
    pub(crate) fn look(
        identity: &Identity,
        store: &TableStore,
        name: &str,
        known: Option<i64>,
        settings: &Settings,
    ) -> Result<Option<Found>> {
        let Some(mut table) = Table::open_among(store.clone(), settings.foreign_writes)? else {
            return Ok(Some(Found { store: store.clone(), table: None }));
        };
        if own_place(&table, identity, name, settings).is_none() {
            return Ok(None);
        }
        // From here on an earlier instance cannot commit (SK-63). It may have done so a moment ago.
        take_over(&mut table, identity, known)?;
        let place = own_place(&table, identity, name, settings);
        Ok(place.map(|place| Found { store: store.clone(), table: Some((table, place)) }))
    }

    /// As `look`.
    ///
    /// # Errors
    /// When there is a table of somebody else.
    pub(crate) fn open(
        identity: &Identity,
        store: &TableStore,
        name: &str,
        known: Option<i64>,
        settings: &Settings,
    ) -> Result<Found> {
        Found::look(identity, store, name, known, settings)?.ok_or_else(|| foreign_table(store, name))
    }

    /// As `open`, of many.
    pub(super) fn open_all(
        identity: &Identity,
        tables: Vec<(&TableName, TableStore)>,
        made: &Made,
        settings: &Settings,
    ) -> Result<Vec<(TableName, Found)>> {
        let all = Mutex::new(Vec::with_capacity(tables.len()));
        side_by_side(tables, limit(Limit::CommitThreads, COMMIT_THREADS), |(name, store)| {
            let text = name.to_string();
            let found = Found::open(identity, &store, &text, made.version(&text), settings);
            let found = found.map_err(|error| of_table(error, name))?;
            all.lock().unwrap_or_else(PoisonError::into_inner).push((name.clone(), found));
            Ok(())
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the table shows a snapshot that lies at this place or beyond.
    pub(crate) fn shows_snapshot(&self, floor: &Position) -> bool {
        let shown = self.table.as_ref().and_then(|(_, place)| place.snapshot_floor.as_ref());
        shown.is_some_and(|shown| shown >= floor)
    }

    /// The newest version of the table that this writer has committed.
    pub(super) fn own_version(&self) -> Option<i64> {
        self.table.as_ref().map(|(table, _)| table.own_version())
    }

    /// The table's version, and the place that it shows.
    pub(super) fn standing(&self) -> Option<(i64, Mark)> {
        self.table.as_ref().map(|(table, place)| (table.version(), place.mark()))
    }

    /// Whether there is a table. One that an earlier instance creates is only seen by looking again.
    pub(crate) fn is_table(&self) -> bool {
        self.table.is_some()
    }

    /// The first of the changes, in order, that the table does not hold yet.
    pub(crate) fn first_needed<'a>(&self, batch: &Batch, changes: &[&'a Change]) -> Option<&'a Change> {
        let held = self.table.as_ref().map_or(Mark::default(), |(_, place)| place.position.mark);
        changes.get(count_held(batch, changes, held)).copied()
    }
}

/// Takes a table over from an earlier instance. `known` is the newest version of it that the progress knows of: an older copy
/// lacks changes that do not come again (SK-35). To be found out before the claim, which makes it the newer by one.
pub(crate) fn take_over(table: &mut Table, identity: &Identity, known: Option<i64>) -> Result<()> {
    refuse_older(table, known)?;
    // Where the progress went back too, the changes do come again; of the key index there is no older copy.
    if let Some(directory) = index_directory(table.store()) {
        forget_later(&directory, table.own_version())?;
    }
    table.claim(&identity.app_id())
}

/// Refuses an older copy of a table that the progress knows at a later version.
pub(crate) fn refuse_older(table: &Table, known: Option<i64>) -> Result<()> {
    let version = table.own_version();
    match known.filter(|known| version < *known) {
        Some(known) => Err(rolled_back(table.store(), known, version)),
        None => Ok(()),
    }
}

/// Where a table's key index lies; `None` to keep it in memory.
pub(super) fn index_directory(store: &TableStore) -> Option<PathBuf> {
    store.intents().map(|intents| intents.directory().join("index"))
}

/// The number of changes, the first ones, that a table which stands at `held` has already. Rows that are read have no
/// place in the log.
pub(super) fn count_held(batch: &Batch, changes: &[&Change], held: Mark) -> usize {
    match batch.phase {
        Phase::Snapshot => 0,
        Phase::Stream => changes.partition_point(|change| batch.mark(change) <= held),
    }
}

/// What our own table says of itself; `None` when it is not ours.
pub(crate) fn own_place(table: &Table, identity: &Identity, name: &str, settings: &Settings) -> Option<Place> {
    let place: Place = serde_json::from_str(table.domain(POSITION_DOMAIN)?).ok()?;
    (place.is_of(identity, name) && settings.may_hold(&place.mode)).then_some(place)
}

/// The refusal of a table of somebody else.
pub(crate) fn foreign_table(store: &TableStore, name: &str) -> Error {
    Error::operator(
        "foreign_table",
        format!("`{}` holds a table that this sink did not write for `{name}`", store.place("")),
    )
    .with_remedy("move that table away, or give this sink another `location`, `table` or `mode`")
}
