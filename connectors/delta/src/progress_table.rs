//! What the sink holds of one source, kept as a small Delta table beside the data: no rows, only texts of domains, which
//! checkpoints keep and which outlive the state directory (SK-3G, SK-50). Knows nothing of rows.
//!
//! A progress is stored every few seconds, so each part of it is a domain of its own that an entry has only when it has changed: the
//! place in the log, always; what snapshots have read, seldom; and of each table that was made its version, so that
//! one that is gone is not taken for one that has yet to begin (SK-3A), nor an older copy for the table (SK-35).

use crate::error::{self, Result};
use crate::log::{Commit, Features, LOG_RETENTION_PROPERTY, NewMetadata, NewTable, Table, new_table_id};
use crate::store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{Error, Progress, TableProgress, TableState};

/// The progress, without its tables. Earlier builds had them in it.
const DOMAIN: &str = "tidewire.progress";
/// The tables of the progress.
const READ: &str = "tidewire.snapshots";
/// With a table's name: its version.
const VERSION: &str = "tidewire.version.";
/// Where earlier builds kept the names of the tables that were made.
const MADE: &str = "tidewire.tables";
/// For people who open the table: the progress itself lies in the log.
const SCHEMA: &str = r#"{"type":"struct","fields":[{"name":"source","type":"string","nullable":true,"metadata":{}},{"name":"note","type":"string","nullable":true,"metadata":{}}]}"#;
/// There is an entry every few seconds, and nobody asks for an older one.
const LOG_RETENTION: &str = "interval 24 hours";

/// The progress of one source in one sink.
#[derive(Debug)]
pub(crate) struct ProgressTable {
    table: Table,
    app_id: String,
    made: Made,
    /// Tables whose stored version is another one, or none.
    unstored: BTreeSet<String>,
    /// The tables of the progress as they are stored; `None` where they are not by themselves.
    read: Option<BTreeMap<String, TableProgress>>,
}

/// The tables that were made, as `schema.table`, and the newest version that this sink is known to have committed of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made(BTreeMap<String, Option<i64>>);

impl Made {
    fn of(table: &Table) -> Result<Made> {
        let names: Vec<String> = parse(table, MADE)?.unwrap_or_default();
        let mut made: BTreeMap<String, Option<i64>> = names.into_iter().map(|name| (name, None)).collect();
        for (name, text) in table.domains_of(VERSION) {
            let version = text.parse::<i64>();
            let version = version.map_err(|cause| malformed(table, "a table's version").with_cause(cause))?;
            made.insert(name.to_owned(), Some(version));
        }
        Ok(Made(made))
    }

    /// Whether a table must be there: it was made, or has been read whole.
    pub(crate) fn has(&self, name: &str, progress: &Progress) -> bool {
        let read = progress.tables.get(name);
        self.0.contains_key(name) || read.is_some_and(|table| table.state == TableState::Done)
    }

    /// A version that the table has had: one that is older is not the whole of it. `None` when that is not known.
    pub(crate) fn version(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied().flatten()
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
                configuration: configuration(),
                features: Features::AppendOnly,
            };
            let table = Table::create(directory, new, commit(&app_id, 0, &progress)?)?;
            return Ok((ProgressTable::new(table, app_id, Made::default(), None), progress));
        };
        if table.txn(&app_id).is_none() {
            return Err(Error::operator(
                "progress_of_another_sink",
                format!("`{place}` holds no progress of sink `{sink}`"),
            )
            .with_remedy("give every sink its own `location`, and keep a sink's name"));
        }
        table.claim(&app_id)?;
        let progress = read(&table)?.ok_or_else(|| lost(&place))?;
        let (made, read) = (Made::of(&table)?, parse(&table, READ)?);
        Ok((ProgressTable::new(table, app_id, made, read), progress))
    }

    fn new(table: Table, app_id: String, made: Made, read: Option<BTreeMap<String, TableProgress>>) -> ProgressTable {
        ProgressTable { table, app_id, made, unstored: BTreeSet::new(), read }
    }

    /// Reads the progress and the versions of the tables without taking anything over; `None` when there is none.
    pub(crate) fn look(store: &Store, sink: &str, source: &str) -> Result<Option<(Progress, Made)>> {
        let table = Table::open(store.table(&format!("_tidewire/progress/{source}")))?;
        let Some(table) = table.filter(|table| table.txn(&format!("tidewire:{sink}:{source}")).is_some()) else {
            return Ok(None);
        };
        let made = Made::of(&table)?;
        Ok(read(&table).ok().flatten().map(|progress| (progress, made)))
    }

    /// The tables that were made.
    pub(crate) fn made(&self) -> &Made {
        &self.made
    }

    /// Keeps in mind that a table has this version; the next progress is stored with it.
    pub(crate) fn note_made(&mut self, name: &str, version: i64) {
        if self.made.version(name).is_none_or(|known| known < version) {
            self.made.0.insert(name.to_owned(), Some(version));
            self.unstored.insert(name.to_owned());
        }
    }

    /// Stores the progress durably.
    pub(crate) fn store(&mut self, progress: &Progress) -> Result<()> {
        let version = self.table.txn(&self.app_id).map_or(0, |version| version.saturating_add(1));
        let mut commit = commit(&self.app_id, version, progress)?;
        let is_read_stored = self.read.as_ref() == Some(&progress.tables);
        if !is_read_stored {
            commit.domains.push((READ.to_owned(), text(&progress.tables)?));
        }
        let version_of = |name: &String| Some((format!("{VERSION}{name}"), self.made.version(name)?.to_string()));
        commit.domains.extend(self.unstored.iter().filter_map(version_of));
        if self.table.configuration().get(LOG_RETENTION_PROPERTY).is_none_or(|interval| interval != LOG_RETENTION) {
            commit.metadata = Some(NewMetadata {
                schema_string: self.table.schema_string().to_owned(),
                partition_columns: Vec::new(),
                configuration: configuration(),
            });
        }
        self.table.commit(commit)?;
        self.unstored.clear();
        if !is_read_stored {
            self.read = Some(progress.tables.clone());
        }
        Ok(())
    }

    /// House-keeping of the table itself.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        self.table.maintain()
    }
}

fn configuration() -> BTreeMap<String, String> {
    BTreeMap::from([(LOG_RETENTION_PROPERTY.to_owned(), LOG_RETENTION.to_owned())])
}

/// The whole progress; `None` where there is none any more.
fn read(table: &Table) -> Result<Option<Progress>> {
    let Some(mut progress) = parse::<Progress>(table, DOMAIN)? else { return Ok(None) };
    if let Some(tables) = parse(table, READ)? {
        progress.tables = tables;
    }
    Ok(Some(progress))
}

/// What a domain's text says; `None` without such a domain.
fn parse<T: DeserializeOwned>(table: &Table, domain: &str) -> Result<Option<T>> {
    let parsed = table.domain(domain).map(serde_json::from_str);
    parsed.transpose().map_err(|cause| malformed(table, domain).with_cause(cause))
}

fn malformed(table: &Table, what: &str) -> Error {
    error::damaged(&table.store().place(""), format!("its text of `{what}` is malformed"))
}

fn commit(app_id: &str, version: i64, progress: &Progress) -> Result<Commit> {
    let (position, behind) = (progress.position.clone(), progress.behind.clone());
    Ok(Commit {
        operation: "STREAMING UPDATE",
        txn: (app_id.to_owned(), version),
        domains: vec![(DOMAIN.to_owned(), text(&Progress { position, tables: BTreeMap::new(), behind })?)],
        blind_append: true,
        ..Commit::default()
    })
}

fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::bug("progress_text", "write the progress as JSON").with_cause(e))
}

/// Never start from "now": the data tables may hold what would then be sent again.
fn lost(place: &str) -> Error {
    Error::operator("progress_lost", format!("`{place}` has lost the text of its progress"))
        .with_remedy("restore the table from a backup, or remove the sink's tables and progress to start anew")
}

#[cfg(test)]
mod tests;
