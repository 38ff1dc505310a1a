//! The definitions of tables by place of the log, as the daemon keeps them for us. Everything that the log changes is
//! recorded before anything after it is handed out; so what is kept is whole up to whatever a sink holds, unless the
//! state directory was lost or is an older copy.

use crate::ddl::Schemas;
use crate::model::{Origin, OriginKind, TableDef};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewire_core::definitions::{DefinitionStore, StoredDefinition};
use tidewire_core::{Error, Mark, Position, Result, TableName};

/// How often the place up to which the history is whole is written.
const COVER_INTERVAL: Duration = Duration::from_secs(1);

/// From a place on, what is in force of a table: none of one that has gone.
pub(crate) type Record = (Mark, TableName, Option<Arc<TableDef>>);

/// What was in force at a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct InForce {
    /// Definitions, and since when they are in force.
    pub(crate) tables: Vec<(Mark, TableDef)>,
    /// Tables that had gone.
    pub(crate) dropped: Vec<TableName>,
}

/// The history of one source.
#[derive(Clone)]
pub(crate) struct History {
    store: Option<Arc<dyn DefinitionStore>>,
    covered: Arc<Mutex<Option<Instant>>>,
}

impl History {
    /// `None` where nothing is kept, as for a `check`.
    pub(crate) fn new(store: Option<Arc<dyn DefinitionStore>>) -> History {
        History { store, covered: Arc::default() }
    }

    /// Up to where it is whole.
    pub(crate) fn covered(&self) -> Result<Option<Position>> {
        self.store.as_ref().map_or(Ok(None), |store| store.covered())
    }

    /// What was in force at a place.
    pub(crate) fn at(&self, place: Mark) -> Result<InForce> {
        let mut in_force = InForce::default();
        let Some(store) = &self.store else { return Ok(in_force) };
        for stored in store.at(place)? {
            match stored.text {
                Some(text) => in_force.tables.push((stored.since, definition(&stored.table, stored.since, &text)?)),
                None => in_force
                    .dropped
                    .extend(stored.table.split_once('.').map(|(schema, table)| TableName::new(schema, table))),
            }
        }
        Ok(in_force)
    }

    /// Goes back to a place: the log brings again what is recorded beyond it, but for tables that are `ahead`, up to their
    /// places. `records` are added.
    pub(crate) fn rewind(&self, place: &Position, ahead: &[(TableName, Mark)], records: &[Record]) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let ahead: Vec<(String, Mark)> = ahead.iter().map(|(name, mark)| (name.to_string(), *mark)).collect();
        let records = records.iter().map(|(since, name, table)| stored(name, *since, table.as_deref()));
        store.rewind(place, &ahead, &records.collect::<Result<Vec<_>>>()?)
    }

    /// Starts anew with what is in force at a place.
    pub(crate) fn restart(&self, place: &Position, schemas: &Schemas) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        store.clear()?;
        self.go_on(place, schemas)
    }

    /// Goes on at a later place with what is in force there. What is kept of before stays: a sink that is away may need it.
    pub(crate) fn go_on(&self, place: &Position, schemas: &Schemas) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let kept = store.at(place.mark)?.into_iter().filter(|kept| kept.text.is_some());
        let is_known = |table: &str| schemas.iter().any(|known| known.name.to_string() == table);
        let gone = kept
            .filter(|kept| !is_known(&kept.table))
            .map(|kept| Ok(StoredDefinition { table: kept.table, since: place.mark, text: None }));
        let known = schemas.iter().map(|table| stored(&table.name, place.mark, Some(table)));
        store.record(&known.chain(gone).collect::<Result<Vec<_>>>()?)?;
        store.cover(place, Mark::default())
    }

    /// Records what a place of the log changed: a definition, or none for a table that has gone.
    pub(crate) fn record(&self, since: Mark, changes: &[(TableName, Option<Arc<TableDef>>)]) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let changes = changes.iter().map(|(name, table)| stored(name, since, table.as_deref()));
        store.record(&changes.collect::<Result<Vec<_>>>()?)
    }

    /// Every sink holds all up to a place. Written now and then only: what lies between is read again from the log.
    pub(crate) fn cover(&self, place: &Position) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut last = self.covered.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < COVER_INTERVAL) {
            return Ok(());
        }
        *last = Some(Instant::now());
        // A start inside a transaction begins with its first change.
        store.cover(place, Mark { minor: 0, ..place.mark })
    }
}

fn definition(table: &str, since: Mark, text: &str) -> Result<TableDef> {
    let mut definition: TableDef = serde_json::from_str(text).map_err(|cause| {
        Error::operator("schema_history_unreadable", format!("read the kept definition of table `{table}`"))
            .with_remedy("move state.sqlite away: what it holds is found again where that is possible")
            .with_cause(cause)
    })?;
    if definition.numbering.is_none() {
        // The same each time that it is read.
        let micros = i64::try_from(since.major).unwrap_or(i64::MAX);
        definition.number_columns(Origin { kind: OriginKind::Kept, micros });
    }
    Ok(definition)
}

fn stored(name: &TableName, since: Mark, table: Option<&TableDef>) -> Result<StoredDefinition> {
    let text = table.map(serde_json::to_string).transpose();
    let text =
        text.map_err(|cause| Error::bug("definition_not_json", "write a definition as JSON").with_cause(cause))?;
    Ok(StoredDefinition { table: name.to_string(), since, text })
}

#[cfg(test)]
pub(crate) mod tests;
