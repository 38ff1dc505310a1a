//! A Delta table as its log tells it: load, commit, checkpoint, clean up. Owned by one thread. Knows files, row numbers and
//! versions; nothing of keys, batches or Arrow rows.

use crate::deletion_vector::DvDescriptor;
use crate::error::Result;
use crate::store::TableStore;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Error;

/// A file of the table's current version.
#[derive(Clone, Debug)]
pub(crate) struct LiveFile {
    /// Path relative to the table, URL-encoded as in the log.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Rows in the file, deleted ones included.
    pub(crate) num_records: u64,
    /// Statistics, the log's JSON text.
    pub(crate) stats: Option<Arc<str>>,
    /// When it was written, in milliseconds since 1970.
    pub(crate) modification_time: i64,
    /// Its deleted rows' place, if it has any.
    pub(crate) deletion_vector: Option<DvDescriptor>,
    deleted: Option<RoaringBitmap>,
}

impl LiveFile {
    /// Rows that are deleted.
    pub(crate) fn deleted_count(&self) -> u64 {
        self.deletion_vector.as_ref().map_or(0, |dv| u64::try_from(dv.cardinality).unwrap_or(0))
    }
}

/// What a new table declares. `domainMetadata` is always declared; `timestampNtz` when the schema has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTable {
    /// The schema in Delta's JSON.
    pub(crate) schema_string: String,
    /// Table properties, added to those that the features need.
    pub(crate) configuration: BTreeMap<String, String>,
    /// Whether rows are deleted in place, or files are only added.
    pub(crate) features: Features,
}

/// How the table's rows change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Features {
    /// Rows are deleted by deletion vectors (mirror).
    #[default]
    DeletionVectors,
    /// Files are only added (changelog): declared as `delta.appendOnly`.
    AppendOnly,
}

/// A change of the table's metadata; the id, the creation time and the other properties stay.
#[derive(Clone, Debug)]
pub(crate) struct NewMetadata {
    /// The schema in Delta's JSON.
    pub(crate) schema_string: String,
    /// Properties to set.
    pub(crate) configuration: BTreeMap<String, String>,
}

/// A data file that a commit adds; it is durable already.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    /// Path relative to the table, URL-encoded.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Rows in the file.
    pub(crate) num_records: u64,
    /// Statistics as a JSON object with `numRecords`; without them only the count is written.
    pub(crate) stats: Option<String>,
}

/// One atomic step of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    /// The name that the table's history shows.
    pub(crate) operation: &'static str,
    /// New files.
    pub(crate) adds: Vec<NewFile>,
    /// Files removed whole, by path.
    pub(crate) removes: Vec<String>,
    /// Row numbers newly deleted, by path of a live file or of one in `adds`.
    pub(crate) deletes: BTreeMap<String, RoaringBitmap>,
    /// A change of the schema or the properties.
    pub(crate) metadata: Option<NewMetadata>,
    /// Who commits, and how far it has come: (application id, version).
    pub(crate) txn: (String, i64),
    /// Texts kept with the table: (domain, JSON).
    pub(crate) domains: Vec<(String, String)>,
    /// Free text in the history.
    pub(crate) user_metadata: Option<String>,
    /// Whether nothing but new rows is added, without having read any.
    pub(crate) blind_append: bool,
}

/// A table at its newest version.
#[derive(Debug)]
pub(crate) struct Table {
    store: TableStore,
}

fn unfinished() -> Error {
    Error::bug("delta_not_built", "the table log is not built yet")
}

impl Table {
    /// Loads the table; `None` when there is no log.
    pub(crate) fn open(_store: TableStore) -> Result<Option<Table>> {
        Err(unfinished())
    }

    /// Creates the table together with its first commit, version 0.
    pub(crate) fn create(_store: TableStore, _new: NewTable, _first: Commit) -> Result<Table> {
        Err(unfinished())
    }

    /// Where the table's files are.
    pub(crate) fn store(&self) -> &TableStore {
        &self.store
    }

    /// The newest version.
    pub(crate) fn version(&self) -> i64 {
        0
    }

    /// The schema in Delta's JSON.
    pub(crate) fn schema_string(&self) -> &str {
        ""
    }

    /// The table's id: a new one under an old path is a new table.
    pub(crate) fn metadata_id(&self) -> &str {
        ""
    }

    /// The table's properties.
    pub(crate) fn configuration(&self) -> &BTreeMap<String, String> {
        const EMPTY: &BTreeMap<String, String> = &BTreeMap::new();
        EMPTY
    }

    /// The live files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = &LiveFile> {
        std::iter::empty()
    }

    /// A live file.
    pub(crate) fn file(&self, _path: &str) -> Option<&LiveFile> {
        None
    }

    /// The deleted rows of a live file; read from storage the first time.
    pub(crate) fn deleted_rows(&mut self, _path: &str) -> Result<&RoaringBitmap> {
        Err(unfinished())
    }

    /// The version that an application committed last.
    pub(crate) fn txn(&self, _app_id: &str) -> Option<i64> {
        None
    }

    /// A domain's text.
    pub(crate) fn domain(&self, _name: &str) -> Option<&str> {
        None
    }

    /// Commits the next version, atomically; returns it. After an error the table must be opened anew: what was
    /// written and not committed is invisible.
    pub(crate) fn commit(&mut self, _commit: Commit) -> Result<i64> {
        Err(unfinished())
    }

    /// Writes a checkpoint when one is due and removes what has expired.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        Ok(())
    }
}
