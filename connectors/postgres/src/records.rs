//! What a source remembers between runs beside its place in the log: JSON in the state's store of definitions, under names that
//! no table has.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tidewire_core::definitions::{DefinitionStore, StoredDefinition};
use tidewire_core::{Error, Mark, Result};

/// A record has no place in the log.
pub(crate) const PLACE: Mark = Mark { major: 0, minor: 0 };

/// The records of a source.
#[derive(Clone, Default)]
pub(crate) struct Records(Option<Arc<dyn DefinitionStore>>);

impl Records {
    /// In `store`; without one nothing is kept.
    pub(crate) fn new(store: Option<Arc<dyn DefinitionStore>>) -> Records {
        Records(store)
    }

    /// Those whose names begin so, each with the rest of its name. What cannot be read is no record.
    pub(crate) fn load<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        let Some(store) = &self.0 else { return Ok(Vec::new()) };
        let records = store.at(PLACE)?.into_iter().filter_map(|stored| {
            let rest = stored.table.strip_prefix(prefix)?.to_owned();
            Some((rest, serde_json::from_str(&stored.text?).ok()?))
        });
        Ok(records.collect())
    }

    /// Keeps all of these, or none.
    pub(crate) fn keep<T: Serialize>(&self, records: impl Iterator<Item = (String, T)>) -> Result<()> {
        let Some(store) = &self.0 else { return Ok(()) };
        let stored = records.map(|(table, record)| {
            let text = serde_json::to_string(&record)
                .map_err(|cause| Error::bug("record_not_json", format!("keep `{table}`")).with_cause(cause))?;
            Ok(StoredDefinition { table, since: PLACE, text: Some(text) })
        });
        match stored.collect::<Result<Vec<_>>>()? {
            stored if stored.is_empty() => Ok(()),
            stored => store.record(&stored),
        }
    }
}
