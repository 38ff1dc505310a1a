//! What the sink holds of one source, kept as a small Delta table beside the data: no rows, only the text of a domain,
//! which checkpoints keep and which outlives the state directory (SK-3G, SK-50). Knows nothing of rows.
//!
//! Beside the progress it keeps the names of the tables that were made, so that one that is gone is not taken for one that
//! has yet to begin (SK-3A).

use crate::error::{self, Result};
use crate::log::{Commit, Features, NewTable, Table, new_table_id};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{Error, Progress, TableState};

const DOMAIN: &str = "tidewire.progress";
const MADE: &str = "tidewire.tables";
/// For people who open the table: the progress itself lies in the log.
const SCHEMA: &str = r#"{"type":"struct","fields":[{"name":"source","type":"string","nullable":true,"metadata":{}},{"name":"note","type":"string","nullable":true,"metadata":{}}]}"#;

/// The progress of one source in one sink.
#[derive(Debug)]
pub(crate) struct ProgressTable {
    table: Table,
    app_id: String,
    made: Made,
    /// Whether tables were made that the stored names lack.
    is_unstored: bool,
}

/// Names of the tables that were made, as `schema.table`. Those of an older version are missing, unless they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made(BTreeSet<String>);

impl Made {
    fn of(table: &Table) -> Result<Made> {
        let Some(text) = table.domain(MADE) else { return Ok(Made::default()) };
        let names = serde_json::from_str(text)
            .map_err(|e| error::damaged(&table.store().place(""), "its names of tables are malformed").with_cause(e))?;
        Ok(Made(names))
    }

    /// Whether a table must be there: it was made, or has been read whole.
    pub(crate) fn has(&self, name: &str, progress: &Progress) -> bool {
        let read = progress.tables.get(name);
        self.0.contains(name) || read.is_some_and(|table| table.state == TableState::Done)
    }
}

impl ProgressTable {
    /// Opens or creates the table of `source`, takes it over from an earlier instance, and reads the progress.
    pub(crate) fn open(store: &Store, sink: &str, source: &str) -> Result<(ProgressTable, Progress)> {
        let directory = store.table(&format!("_tidewire/progress/{source}"));
        let place = directory.place("");
        let app_id = format!("tidewire:{sink}:{source}");
        let Some(mut table) = Table::open(directory.clone())? else {
            let progress = Progress::default();
            let new = NewTable {
                id: new_table_id(),
                schema_string: SCHEMA.to_owned(),
                partition_columns: Vec::new(),
                configuration: BTreeMap::new(),
                features: Features::AppendOnly,
            };
            let table = Table::create(directory, new, commit(&app_id, 0, &progress)?)?;
            return Ok((ProgressTable { table, app_id, made: Made::default(), is_unstored: false }, progress));
        };
        if table.txn(&app_id).is_none() {
            return Err(Error::operator(
                "progress_of_another_sink",
                format!("`{place}` holds no progress of sink `{sink}`"),
            )
            .with_remedy("give every sink its own `location`, and keep a sink's name"));
        }
        table.claim(&app_id)?;
        let text = table.domain(DOMAIN).ok_or_else(|| lost(&place))?;
        let progress = serde_json::from_str(text)
            .map_err(|e| error::damaged(&place, "its progress is malformed").with_cause(e))?;
        let made = Made::of(&table)?;
        Ok((ProgressTable { table, app_id, made, is_unstored: false }, progress))
    }

    /// Reads the progress and the names of the tables without taking anything over; `None` when there is none.
    pub(crate) fn look(store: &Store, sink: &str, source: &str) -> Result<Option<(Progress, Made)>> {
        let table = Table::open(store.table(&format!("_tidewire/progress/{source}")))?;
        let Some(table) = table.filter(|table| table.txn(&format!("tidewire:{sink}:{source}")).is_some()) else {
            return Ok(None);
        };
        let made = Made::of(&table)?;
        let progress = table.domain(DOMAIN).and_then(|text| serde_json::from_str(text).ok());
        Ok(progress.map(|progress| (progress, made)))
    }

    /// The tables that were made.
    pub(crate) fn made(&self) -> &Made {
        &self.made
    }

    /// Keeps in mind that a table was made; the next progress is stored with it.
    pub(crate) fn note_made(&mut self, name: &str) {
        if !self.made.0.contains(name) {
            self.made.0.insert(name.to_owned());
            self.is_unstored = true;
        }
    }

    /// Stores the progress durably.
    pub(crate) fn store(&mut self, progress: &Progress) -> Result<()> {
        let version = self.table.txn(&self.app_id).map_or(0, |version| version.saturating_add(1));
        let mut commit = commit(&self.app_id, version, progress)?;
        if self.is_unstored {
            let names = serde_json::to_string(&self.made.0)
                .map_err(|e| Error::bug("table_names", "write the names of the tables as JSON").with_cause(e))?;
            commit.domains.push((MADE.to_owned(), names));
        }
        self.table.commit(commit)?;
        self.is_unstored = false;
        Ok(())
    }

    /// House-keeping of the table itself.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        self.table.maintain()
    }
}

fn commit(app_id: &str, version: i64, progress: &Progress) -> Result<Commit> {
    let text = serde_json::to_string(progress)
        .map_err(|e| Error::bug("progress_text", "write the progress as JSON").with_cause(e))?;
    Ok(Commit {
        operation: "STREAMING UPDATE",
        txn: (app_id.to_owned(), version),
        domains: vec![(DOMAIN.to_owned(), text)],
        blind_append: true,
        ..Commit::default()
    })
}

/// Never start from "now": the data tables may hold what would then be sent again.
fn lost(place: &str) -> Error {
    Error::operator("progress_lost", format!("`{place}` has lost the text of its progress"))
        .with_remedy("restore the table from a backup, or remove the sink's tables and progress to start anew")
}

#[cfg(test)]
mod tests;
