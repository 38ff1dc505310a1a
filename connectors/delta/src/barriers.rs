//! The table of barriers: which versions of the tables are one picture of the source. Delta has no commit over several
//! tables, so between two commits of a sink a reader sees some tables ahead of others; a reader who takes the versions of
//! one barrier sees all of them at one place of the log. Knows no rows of other tables.

use crate::encode::file::PartWriter;
use crate::encode::read::ColumnReader;
use crate::error::{self, Result};
use crate::log::{Commit, Features, LiveFile, NewTable, Table, new_table_id};
use crate::store::{Store, TableStore};
use crate::typemap::{ColumnType, TableColumn, schema_string};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow_select::filter::filter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::{Error, Position};

const DOMAIN: &str = "tidewire.barrier";
const TIME: &str = "commit_time";
const TIME_AT: usize = 1;
const COLUMNS: [(&str, ColumnType); 4] = [
    ("position", ColumnType::String),
    (TIME, ColumnType::Timestamp),
    ("table", ColumnType::String),
    ("version", ColumnType::Long),
];
/// When there are so many files, they become one, without the barriers that have expired.
const FILES_MAX: usize = 64;
/// A version can be read for a day at least, as long as files are kept that were removed after it. What is older than
/// this is no promise.
const KEEP_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// The last barrier, in the same commit as its rows: what comes again after a crash is no other barrier.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Last {
    position: Position,
    /// When it was written, in milliseconds since 1970.
    written: i64,
    /// The tables that it names and that no snapshot was read of: nothing else tells that the sink holds them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    unread: BTreeSet<String>,
}

/// Where one table stands at a barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// `schema.table`.
    pub(crate) table: String,
    /// Its version.
    pub(crate) version: i64,
}

/// The barriers of one source in one sink.
pub(crate) struct Barriers {
    store: TableStore,
    table: Option<Table>,
    app_id: String,
    last: Option<Last>,
    /// Milliseconds between two of them.
    interval: i64,
    /// Changes since the last one, and the newest commit time among them, in microseconds since 1970.
    changed: Option<i64>,
    /// A commit came too soon after the last one to have a barrier, and nothing was written since.
    is_owed: bool,
}

impl Barriers {
    /// Takes the table over from an earlier instance, if there is one.
    pub(crate) fn open(store: &Store, sink: &str, source: &str, interval: i64) -> Result<Barriers> {
        let store = store.table(&format!("_tidewire/barriers/{source}"));
        let app_id = format!("tidewire:{sink}:{source}");
        let mut table = Table::open(store.clone())?;
        let mut last = None;
        if let Some(table) = &mut table {
            let place = store.place("");
            if table.txn(&app_id).is_none() {
                return Err(Error::operator("foreign_table", format!("`{place}` holds no barriers of sink `{sink}`"))
                    .with_remedy("give every sink its own `location`, and keep a sink's name"));
            }
            table.claim(&app_id)?;
            let text = table.domain(DOMAIN).map(serde_json::from_str);
            last =
                text.transpose().map_err(|e| error::damaged(&place, "its last barrier is malformed").with_cause(e))?;
        }
        Ok(Barriers { store, table, app_id, last, interval, changed: None, is_owed: false })
    }

    /// Tables were changed, at the latest at this time, in microseconds since 1970.
    pub(crate) fn changed(&mut self, commit_time: i64) {
        self.changed = Some(self.changed.map_or(commit_time, |time| time.max(commit_time)));
        self.is_owed = false;
    }

    /// Whether a barrier at this place, where all that was written is committed, is due; `now` in milliseconds since 1970. One
    /// that comes too soon is owed from here on.
    pub(crate) fn is_due(&mut self, position: &Position, now: i64) -> bool {
        let is_new = |last: &Last| last.position.mark < position.mark;
        let is_time = |last: &Last| (now - last.written).abs() >= self.interval;
        let is_wanted = self.changed.is_some() && self.last.as_ref().is_none_or(is_new);
        let is_due = is_wanted && self.last.as_ref().is_none_or(is_time);
        self.is_owed = is_wanted && !is_due;
        is_due
    }

    /// In how many milliseconds the place of the last commit is to have a barrier, if it came too soon for one.
    pub(crate) fn owed_in(&self, now: i64) -> Option<i64> {
        let last = self.last.as_ref().filter(|_| self.is_owed)?;
        Some(self.interval.saturating_sub((now - last.written).abs()).max(0))
    }

    /// The tables of the last barrier that no snapshot was read of.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &String> {
        self.last.iter().flat_map(|last| &last.unread)
    }

    /// Writes the barrier: every table at this place, and nothing beyond it.
    pub(crate) fn write(
        &mut self,
        position: &Position,
        cuts: &[Cut],
        unread: BTreeSet<String>,
        now: i64,
    ) -> Result<()> {
        let Some(time) = self.changed.filter(|_| !cuts.is_empty()) else { return Ok(()) };
        let last = Last { position: position.clone(), written: now, unread };
        let text = serde_json::to_string(&last).map_err(|e| failed(e.into()))?;
        let files = self.files();
        let removes = if files.len() >= FILES_MAX { files } else { Vec::new() };
        let mut writer = PartWriter::create(&self.store, &columns(), &[TIME_AT])?;
        for file in &removes {
            self.copy(file, time.saturating_sub(KEEP_MICROS), &mut writer)?;
        }
        writer.write(rows(position, time, cuts))?;
        let commit = Commit {
            operation: "STREAMING UPDATE",
            blind_append: removes.is_empty(),
            adds: vec![writer.finish()?],
            removes: removes.into_iter().map(|file| file.path).collect(),
            txn: (self.app_id.clone(), i64::try_from(position.mark.major).unwrap_or(i64::MAX)),
            domains: vec![(DOMAIN.to_owned(), text)],
            ..Commit::default()
        };
        match &mut self.table {
            Some(table) => {
                table.commit(commit)?;
            }
            None => self.table = Some(Table::create(self.store.clone(), new_table(), commit)?),
        }
        self.last = Some(last);
        self.changed = None;
        Ok(())
    }

    /// House-keeping of the table itself.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        self.table.as_mut().map_or(Ok(()), Table::maintain)
    }

    /// Its files, the oldest first.
    fn files(&self) -> Vec<LiveFile> {
        let mut files: Vec<LiveFile> = self.table.iter().flat_map(Table::files).cloned().collect();
        files.sort_by_key(|file| file.modification_time);
        files
    }

    /// Copies the barriers of a file from this time on.
    fn copy(&self, file: &LiveFile, from: i64, writer: &mut PartWriter) -> Result<()> {
        let bad = || error::damaged(&self.store.place(&file.path), "its columns are not those of barriers");
        let columns = columns();
        let columns = columns.iter().collect::<Vec<_>>();
        let mut reader = ColumnReader::open_whole(&self.store, &file.path, file.size, file.num_records, &columns)?;
        while let Some(arrays) = reader.next_arrays()? {
            let arrays = arrays.into_iter().collect::<Option<Vec<ArrayRef>>>().ok_or_else(bad)?;
            let times = arrays.get(TIME_AT).and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
            let keep: BooleanArray = times.ok_or_else(bad)?.iter().map(|time| Some(time? >= from)).collect();
            let sift = |array: &ArrayRef| filter(array, &keep).map_err(|cause| failed(cause.into()));
            writer.write(arrays.iter().map(sift).collect::<Result<Vec<ArrayRef>>>()?)?;
        }
        Ok(())
    }
}

fn columns() -> Vec<TableColumn> {
    COLUMNS.iter().map(|(name, kind)| TableColumn::own(name, kind.clone())).collect()
}

fn new_table() -> NewTable {
    NewTable {
        id: new_table_id(),
        schema_string: schema_string(&columns()),
        configuration: BTreeMap::from([("delta.dataSkippingStatsColumns".to_owned(), TIME.to_owned())]),
        features: Features::Plain,
        partition_columns: Vec::new(),
    }
}

fn rows(position: &Position, time: i64, cuts: &[Cut]) -> Vec<ArrayRef> {
    let count = cuts.len();
    let times = TimestampMicrosecondArray::from(vec![time; count]).with_timezone("UTC");
    vec![
        Arc::new(StringArray::from(vec![&*position.text; count])),
        Arc::new(times),
        Arc::new(cuts.iter().map(|cut| Some(cut.table.as_str())).collect::<StringArray>()),
        Arc::new(cuts.iter().map(|cut| Some(cut.version)).collect::<Int64Array>()),
    ]
}

fn failed(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::bug("delta_barrier", "write a barrier").with_cause(cause)
}
