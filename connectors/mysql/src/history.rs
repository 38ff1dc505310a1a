//! The definitions of tables by place of the log, as the daemon keeps them for us. Everything that the log changes is
//! recorded before anything after it is handed out; so what is kept is whole up to whatever a sink holds, unless the
//! state directory was lost or is an older copy.

use crate::ddl::Schemas;
use crate::model::TableDef;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewire_core::definitions::{DefinitionStore, StoredDefinition};
use tidewire_core::{Error, Mark, Position, Result, TableName};

/// How often the place up to which the history is whole is written.
const COVER_INTERVAL: Duration = Duration::from_secs(1);

/// What was in force at a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct InForce {
    /// Definitions.
    pub(crate) tables: Vec<TableDef>,
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
                Some(text) => in_force.tables.push(definition(&stored.table, &text)?),
                None => in_force
                    .dropped
                    .extend(stored.table.split_once('.').map(|(schema, table)| TableName::new(schema, table))),
            }
        }
        Ok(in_force)
    }

    /// Forgets what is recorded beyond a place: the log brings it again.
    pub(crate) fn forget_after(&self, place: Mark) -> Result<()> {
        self.store.as_ref().map_or(Ok(()), |store| store.forget_after(place))
    }

    /// Starts anew with what is in force at a place.
    pub(crate) fn restart(&self, place: &Position, schemas: &Schemas) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        store.clear()?;
        let stored =
            schemas.iter().map(|table| stored(&table.name, place.mark, Some(table))).collect::<Result<Vec<_>>>()?;
        store.record(&stored)?;
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
        store.cover(place, place.mark)
    }
}

fn definition(table: &str, text: &str) -> Result<TableDef> {
    serde_json::from_str(text).map_err(|cause| {
        Error::operator("schema_history_unreadable", format!("read the kept definition of table `{table}`"))
            .with_remedy("move state.sqlite away: what it holds is found again where that is possible")
            .with_cause(cause)
    })
}

fn stored(name: &TableName, since: Mark, table: Option<&TableDef>) -> Result<StoredDefinition> {
    let text = table.map(serde_json::to_string).transpose();
    let text =
        text.map_err(|cause| Error::bug("definition_not_json", "write a definition as JSON").with_cause(cause))?;
    Ok(StoredDefinition { table: name.to_string(), since, text })
}

#[cfg(test)]
pub(crate) mod tests;
