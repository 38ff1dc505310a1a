//! A Delta table as its log tells it: load, commit, checkpoint, clean up. Owned by one thread. Knows files, row numbers
//! and versions; nothing of keys, batches or Arrow rows.
//!
//! # One writer
//!
//! A commit creates the entry of the next version, or fails: it is never rebased over the entry of another writer
//! by itself (`others`).
//! Whether an entry is ours is told by its random token, because an answer can get lost after the entry was stored
//! (SK-31). An entry with our application id from another process means that this one has been replaced (SK-30).

mod action;
mod checkpoint;
mod checksum;
mod clean;
mod entry;
mod intent;
mod load;
mod maintain;
mod mapped;
mod others;
#[cfg(test)]
mod past;
mod presence;
mod protocol;
mod replaced;
mod state;
mod upkeep;
mod vacuum;
mod weight;

pub(crate) use action::Partition;
pub(crate) use clean::new_change_file;
pub(crate) use protocol::{CHANGE_FEED_PROPERTY, FILE_RETENTION_PROPERTY, LOG_RETENTION_PROPERTY};

use crate::ambient::{self, now_millis};
use crate::deletion_vector::{self, DvDescriptor};
use crate::error::Result;
use crate::job::beside;
use crate::metrics;
use crate::store::{Created, TableStore};
use action::{Action, MetaData};
use bytes::Bytes;
use entry::Entry;
use load::Loaded;
use others::Met;
pub(crate) use others::{ForeignWrites, Touched};
use presence::Presence;
pub(crate) use presence::{gone, rolled_back};
use roaring::RoaringBitmap;
use state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, LazyLock};
use tidewire_core::{Error, ErrorKind, failpoint};
use upkeep::Upkeep;

pub(crate) use weight::Weight;

/// Entries of others that leave our files alone and may come between two of ours at once.
const HARMLESS_MAX: u32 = 16;

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
    /// When it was written or, with deleted rows, when the first of them was deleted, in milliseconds since 1970.
    pub(crate) modification_time: i64,
    /// What its rows have in the partition columns.
    pub(crate) partition: Partition,
    /// Its deleted rows' place, if it has any.
    pub(crate) deletion_vector: Option<DvDescriptor>,
    deleted: Option<Arc<RoaringBitmap>>,
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
    /// Its id; random.
    pub(crate) id: String,
    /// The schema in Delta's JSON.
    pub(crate) schema_string: String,
    /// Names of the columns that it is partitioned by.
    pub(crate) partition_columns: Vec<String>,
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
    /// Files come and go whole: nothing that a reader must know of.
    Plain,
}

/// A change of the table's metadata; the id, the creation time and the other properties stay.
#[derive(Clone, Debug)]
pub(crate) struct NewMetadata {
    /// The schema in Delta's JSON.
    pub(crate) schema_string: String,
    /// Names of the columns that it is partitioned by: the same columns, though they may have other names.
    pub(crate) partition_columns: Vec<String>,
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
    /// What its rows have in the partition columns.
    pub(crate) partition: Partition,
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
    /// Files of the change data feed, which may be among `adds`. Without one readers take whole files that come and go for
    /// the changes; with one they look at nothing else.
    pub(crate) changes: Vec<NewFile>,
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
    /// Whether rows only move to other files: whoever follows the table's changes sees none (`dataChange`).
    pub(crate) only_moves: bool,
    /// As `only_moves`, of single files among `adds` and `removes`, by path.
    pub(crate) moves: BTreeSet<String>,
}

/// An id for a table that is to be created.
pub(crate) fn new_table_id() -> String {
    ambient::uuid().to_string()
}

/// This process, among all that may write to a table under one application id.
fn instance() -> &'static str {
    static INSTANCE: LazyLock<String> = LazyLock::new(|| ambient::uuid().to_string());
    &INSTANCE
}

/// A table at its newest version.
#[derive(Debug)]
pub(crate) struct Table {
    store: TableStore,
    others: ForeignWrites,
    state: State,
    version: i64,
    presence: Presence,
    /// Entries and their bytes since the last checkpoint.
    entries: u64,
    entry_bytes: u64,
    /// Set by an error whose outcome is open: what storage holds is no longer known.
    stale: bool,
    upkeep: Upkeep,
    /// Of the commits since it was asked for.
    weight: Weight,
    /// What others have done and nobody has asked for yet.
    touched: Touched,
    /// The newest entry is another's. Until one of ours follows, a start has to read it again: it must not be cleaned away.
    is_unmarked: bool,
}

impl Table {
    /// Loads the table; `None` when there is no log.
    pub(crate) fn open(store: TableStore) -> Result<Option<Table>> {
        Table::open_among(store, ForeignWrites::Pause)
    }

    /// As `open`, with a word on what others may do to the table.
    pub(crate) fn open_among(store: TableStore, others: ForeignWrites) -> Result<Option<Table>> {
        let Some(loaded) = load::load(&store, others)? else {
            return Ok(None);
        };
        clean::temporary_files(&store, &loaded.state, now_millis())?;
        Ok(Some(Table::new(store, others, loaded)))
    }

    /// Creates the table together with its first commit, version 0. A table that appears meanwhile is an error.
    pub(crate) fn create(store: TableStore, new: NewTable, first: Commit) -> Result<Table> {
        Table::create_among(store, ForeignWrites::Pause, new, &first)
    }

    /// As `create`, with a word on what others may do to the table.
    pub(crate) fn create_among(
        store: TableStore,
        others: ForeignWrites,
        new: NewTable,
        first: &Commit,
    ) -> Result<Table> {
        store.probe_create_only()?;
        let now = now_millis();
        let configuration = protocol::new_configuration(new.features, new.configuration);
        let protocol = protocol::new_protocol(new.features, &new.schema_string, &configuration);
        let metadata = MetaData {
            id: new.id,
            name: None,
            description: None,
            format: action::Format::default(),
            schema_string: new.schema_string,
            partition_columns: new.partition_columns,
            configuration,
            created_time: Some(now),
        };
        protocol::check(&protocol, &metadata, &store.place(""))?;
        let declared = State { protocol: Some(protocol.clone()), metadata: Some(metadata.clone()), ..State::default() };
        let declarations = vec![
            Action { protocol: Some(protocol), ..Action::default() },
            Action { meta_data: Some(metadata), ..Action::default() },
        ];
        let txn_app = first.txn.0.clone();
        let entry = Entry::build(&store, &declared, &BTreeMap::new(), first, declarations, now)?;
        let loaded = Loaded::default();
        let mut table = Table::new(store, others, loaded);
        if !table.publish(entry, &txn_app)? {
            return Err(table.overtaken());
        }
        intent::remove_orphans(&table.store, &table.state);
        Ok(table)
    }

    fn new(store: TableStore, others: ForeignWrites, loaded: Loaded) -> Table {
        let Loaded { state, version, presence, entries, entry_bytes } = loaded;
        let is_unmarked = others::mark(&state).is_none_or(|mark| mark.version < version);
        Table {
            store,
            others,
            state,
            version,
            presence,
            entries,
            entry_bytes,
            stale: false,
            upkeep: Upkeep::new(),
            weight: Weight::default(),
            touched: Touched::default(),
            is_unmarked,
        }
    }

    /// Where the table's files are.
    pub(crate) fn store(&self) -> &TableStore {
        &self.store
    }

    /// The newest version.
    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// The newest version that this writer has committed: no other writer makes it higher, and it is lower in an older copy.
    pub(crate) fn own_version(&self) -> i64 {
        others::mark(&self.state).map_or(self.version, |mark| mark.version)
    }

    /// The schema in Delta's JSON.
    pub(crate) fn schema_string(&self) -> &str {
        self.state.metadata.as_ref().map_or("", |metadata| &metadata.schema_string)
    }

    /// The table's id: a new one under an old path is a new table.
    pub(crate) fn metadata_id(&self) -> &str {
        self.state.metadata.as_ref().map_or("", |metadata| &metadata.id)
    }

    /// Whether rows may be deleted by vectors.
    pub(crate) fn has_deletion_vectors(&self) -> bool {
        self.state.protocol.as_ref().is_some_and(protocol::allows_deletion_vectors)
    }

    /// The columns that the table is partitioned by.
    pub(crate) fn partition_columns(&self) -> &[String] {
        self.state.metadata.as_ref().map_or(&[], |metadata| &metadata.partition_columns)
    }

    /// The table's properties.
    pub(crate) fn configuration(&self) -> &BTreeMap<String, String> {
        static EMPTY: BTreeMap<String, String> = BTreeMap::new();
        self.state.metadata.as_ref().map_or(&EMPTY, |metadata| &metadata.configuration)
    }

    /// Whether the table lacks a feature that its schema needs; the next change of its metadata declares it.
    pub(crate) fn lacks_features(&self) -> bool {
        let protocol = self.state.protocol.as_ref();
        protocol
            .is_some_and(|protocol| protocol::extend(protocol, self.schema_string(), self.configuration()).is_some())
    }

    /// The live files, by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = &LiveFile> {
        self.state.files.values()
    }

    /// A live file.
    pub(crate) fn file(&self, path: &str) -> Option<&LiveFile> {
        self.state.files.get(path)
    }

    /// The deleted rows of a live file; read from storage the first time.
    pub(crate) fn deleted_rows(&mut self, path: &str) -> Result<&Arc<RoaringBitmap>> {
        let store = &self.store;
        let file = self.state.files.get_mut(path).ok_or_else(|| {
            Error::bug("delta_file_unknown", format!("`{}` is not live in `{}`", path, store.place("")))
        })?;
        let deleted = match (file.deleted.take(), &file.deletion_vector) {
            (Some(deleted), _) => deleted,
            (None, Some(vector)) => Arc::new(deletion_vector::load(store, vector)?),
            (None, None) => Arc::default(),
        };
        Ok(file.deleted.insert(deleted))
    }

    /// Has the deleted rows of live files at hand; those that have not been read yet are read together.
    pub(crate) fn read_deleted<'a>(&mut self, paths: impl Iterator<Item = &'a str>) -> Result<()> {
        let unread = paths.filter_map(|path| {
            let file = self.state.files.get(path).filter(|file| file.deleted.is_none())?;
            Some((path, file.deletion_vector.clone()?))
        });
        let (paths, vectors): (Vec<_>, Vec<_>) = unread.unzip();
        for (path, rows) in paths.into_iter().zip(deletion_vector::load_all(&self.store, &vectors)?) {
            if let Some(file) = self.state.files.get_mut(path) {
                file.deleted = Some(Arc::new(rows));
            }
        }
        Ok(())
    }

    /// What was written since the last call for changes of rows.
    pub(crate) fn take_weight(&mut self) -> Weight {
        std::mem::take(&mut self.weight)
    }

    /// The version that an application committed last.
    pub(crate) fn txn(&self, app_id: &str) -> Option<i64> {
        self.state.txns.get(app_id).map(|txn| txn.version)
    }

    /// A domain's text.
    pub(crate) fn domain(&self, name: &str) -> Option<&str> {
        self.state.domains.get(name).map(String::as_str)
    }

    /// The domains whose names begin so, each with the rest of its name and its text.
    pub(crate) fn domains_of(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let from = self.state.domains.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map_while(move |(name, text)| Some((name.strip_prefix(prefix)?, text.as_str())))
    }

    /// Commits the next version, atomically; returns it. After an error the table must be opened anew: what was
    /// written and not committed is invisible.
    pub(crate) fn commit(&mut self, commit: Commit) -> Result<i64> {
        match self.offer(&commit)? {
            true => Ok(self.version),
            false => Err(self.overtaken()),
        }
    }

    /// As `commit`, where others may have come first. `false`: they have, and nothing was committed; the table is as they left
    /// it, `take_touched` tells what that is, and the commit has to be made anew from it.
    pub(crate) fn offer(&mut self, commit: &Commit) -> Result<bool> {
        if self.stale {
            return Err(Error::bug("delta_table_stale", "a table was used after an error without being opened anew"));
        }
        // Cleared again only by success.
        self.stale = true;
        let is_remote = self.store.is_remote();
        if !is_remote {
            self.check_presence()?;
        }
        let mut deleted = BTreeMap::new();
        for path in commit.deletes.keys() {
            if !self.state.files.contains_key(path.as_str()) {
                continue;
            }
            deleted.insert(path.clone(), Arc::clone(self.deleted_rows(path)?));
        }
        let app_id = commit.txn.0.clone();
        let build = || Entry::build(&self.store, &self.state, &deleted, commit, Vec::new(), now_millis());
        let entry = if is_remote {
            // Vectors may come into a table that is gone: no entry names them.
            let (ends, entry) = beside(|| self.ends(), build)?;
            self.check(&ends?)?;
            entry?
        } else {
            build()?
        };
        failpoint::step("delta_files_written")?;
        let is_stored = self.publish(entry, &app_id)?;
        self.stale = false;
        if is_stored && let Err(error) = self.keep_up() {
            // The commit stands; the next one tries again.
            tracing::warn!(table = self.store.place(""), error = %error.chain(), "upkeep put off");
        }
        Ok(is_stored)
    }

    /// Takes the table over from an earlier instance of the same application: its next commit finds a version that it did
    /// not write, and stops (SK-30). Anything that it committed before is loaded.
    pub(crate) fn claim(&mut self, app_id: &str) -> Result<()> {
        checksum::compare(&self.store, self.version, &self.state);
        for _ in 0..HARMLESS_MAX {
            let version = self.txn(app_id).ok_or_else(|| others::forgotten(&self.store, self.version))?;
            let commit = Commit { operation: "CLAIM", txn: (app_id.to_owned(), version), ..Commit::default() };
            match self.offer(&commit) {
                Err(error) if error.kind() == ErrorKind::Fenced => {
                    let loaded = load::load(&self.store, self.others)?.ok_or_else(|| gone(&self.store))?;
                    *self = Table::new(self.store.clone(), self.others, loaded);
                }
                Ok(false) => {}
                done => {
                    done?;
                    self.touched = Touched::default();
                    intent::remove_orphans(&self.store, &self.state);
                    return Ok(());
                }
            }
        }
        Err(Error::retry("delta_claim", format!("another instance keeps writing to `{}`", self.store.place(""))))
    }

    /// Stores the entry as the next version and applies it; `false` when entries of others were taken in instead.
    fn publish(&mut self, entry: Entry, app_id: &str) -> Result<bool> {
        for _ in 0..HARMLESS_MAX {
            let version = self.version + 1;
            let actions = entry.at_version(version)?;
            let name = load::entry_name(version);
            let lines = Bytes::from(action::to_lines(&actions)?);
            let size = lines.len() as u64;
            let created = match version {
                0 => self.store.put_new(&name, lines),
                _ => self.store.put_new_in_place(&name, lines),
            };
            let met = match created {
                Ok(Created::Yes) => Met::Own,
                Ok(Created::Exists) => self.meet(version, &entry, app_id, None)?,
                // The answer is open: the entry may have been stored all the same.
                Err(error) if error.kind() == ErrorKind::Retry => self.meet(version, &entry, app_id, Some(error))?,
                Err(error) => return Err(error),
            };
            match met {
                Met::Own => {
                    failpoint::step("delta_committed")?;
                    return self.adopt(actions, entry, size).map(|()| true);
                }
                Met::Harmless => {}
                Met::Adopted => {
                    self.catch_up(app_id)?;
                    self.see_head()?;
                    return Ok(false);
                }
            }
        }
        Err(self.contended())
    }

    /// Others came first, and what was to be committed does not fit what they did.
    pub(crate) fn overtaken(&self) -> Error {
        Error::retry("delta_overtaken", format!("other writers came before a commit to `{}`", self.store.place("")))
    }

    /// Others came first again and again.
    pub(crate) fn contended(&self) -> Error {
        Error::retry("delta_commit_contended", format!("other writers keep writing to `{}`", self.store.place("")))
    }

    /// Takes the stored entry into the state.
    fn adopt(&mut self, actions: Vec<Action>, entry: Entry, size: u64) -> Result<()> {
        let name = load::entry_name(self.version + 1);
        intent::landed(&self.store, &actions);
        self.upkeep.committed(&actions);
        self.is_unmarked = false;
        self.state.apply(actions, &name)?;
        self.state.has_other_rows = entry.has_other_rows;
        for (path, rows) in entry.deleted {
            if let Some(file) = self.state.files.get_mut(&path) {
                file.deleted = Some(Arc::new(rows));
            }
        }
        self.version += 1;
        self.entries += 1;
        self.entry_bytes += size;
        if entry.weight != Weight::default() {
            self.weight += entry.weight;
            self.weight.burden += size;
        }
        let sum = || checksum::write(&self.store, self.version, &entry.token, &self.state);
        if self.store.is_remote() && !self.state.files.is_empty() {
            let ((), ends) = beside(sum, || self.ends())?;
            self.see(ends?)?;
        } else {
            sum();
            self.see_head()?;
        }
        ::metrics::counter!(metrics::COMMITS).increment(1);
        ::metrics::counter!(metrics::LOG_BYTES).increment(size);
        Ok(())
    }
}

/// Whether lines are an entry that a table could begin with; a door for `probe`.
pub(crate) fn is_entry(lines: &[u8]) -> bool {
    action::parse(lines, "probe").and_then(|actions| State::default().apply(actions, "probe")).is_ok()
}

#[cfg(test)]
mod tests;
