//! Turns a commit into the actions of one entry. Decides their order and what the log says of a file whose rows are
//! deleted; stores nothing but deletion vectors.

use crate::deletion_vector::{self, DvDescriptor};
use crate::error::Result;
use crate::log::action::{Action, Add, Cdc, CommitInfo, DomainMetadata, MetaData, Remove, Txn};
use crate::log::load::WriterMark;
use crate::log::state::{State, WRITER_DOMAIN};
use crate::log::{Commit, NewFile, NewMetadata, Weight, others, protocol};
use crate::store::TableStore;
use roaring::RoaringBitmap;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::Error;

/// An entry that waits for its version.
pub(super) struct Entry {
    /// Everything but the writer's mark, which holds the version.
    actions: Vec<Action>,
    shape: Option<String>,
    /// Rows that others have changed are still there.
    pub(super) has_other_rows: bool,
    /// Random; by it the entry is recognised.
    pub(super) token: String,
    /// The whole deletion vectors of the touched files.
    pub(super) deleted: BTreeMap<Arc<str>, RoaringBitmap>,
    /// Of its files; nothing when rows only move.
    pub(super) weight: Weight,
}

/// What becomes of a file whose rows are deleted.
enum Fate {
    /// Nothing new is deleted.
    Same,
    /// All of its rows are.
    Gone,
    /// Some of them are: all those, old and new.
    Partly(RoaringBitmap),
}

impl Entry {
    /// The lines of the entry, and its actions, at a version.
    pub(super) fn at_version(&self, version: i64) -> Result<Vec<Action>> {
        let mark = WriterMark { version, shape: self.shape.clone(), has_other_rows: self.has_other_rows };
        let mark = serde_json::to_string(&mark).map_err(|e| failed(e.into()))?;
        let domain = DomainMetadata { domain: WRITER_DOMAIN.to_owned(), configuration: mark, removed: false };
        let mut actions = self.actions.clone();
        actions.push(Action { domain_metadata: Some(domain), ..Action::default() });
        Ok(actions)
    }

    /// Builds the entry and stores its deletion vectors. `deleted` must hold the present vector of every live file that
    /// `commit.deletes` names; `first` are actions that precede the files (a new table's).
    pub(super) fn build(
        store: &TableStore,
        state: &State,
        deleted: &BTreeMap<String, Arc<RoaringBitmap>>,
        commit: &Commit,
        first: Vec<Action>,
        now_millis: i64,
    ) -> Result<Entry> {
        let token = crate::ambient::uuid().to_string();
        let mut actions = vec![commit_info(commit, &token, now_millis)];
        let append_only = state.metadata.as_ref().is_some_and(protocol::is_append_only);
        if append_only && !commit.only_moves && !(commit.removes.is_empty() && commit.deletes.is_empty()) {
            return Err(Error::bug(
                "append_only",
                format!("rows of the append-only table `{}` were to be deleted", store.place("")),
            ));
        }
        actions.extend(first);
        if let Some(metadata) = &commit.metadata {
            actions.extend(metadata_actions(state, metadata)?);
        }
        let data_change = !commit.only_moves;
        let (kept, vectors, moves) = (Vec::new(), Vec::new(), &commit.moves);
        let mut plan = Plan { store, state, now_millis, data_change, moves, actions, kept, vectors };
        plan.files(commit, deleted)?;
        let Plan { mut actions, kept, vectors, .. } = plan;
        let descriptors = deletion_vector::store_all(store, &vectors)?;
        let mut weight = Weight::default();
        if data_change {
            weight.data = commit.adds.iter().map(|file| file.size).sum();
            weight.burden = descriptors.iter().filter_map(|vector| u64::try_from(vector.size_in_bytes).ok()).sum();
        }
        let mut all = BTreeMap::new();
        for ((add, vector), rows) in kept.into_iter().zip(descriptors).zip(vectors) {
            all.insert(Arc::clone(&add.path), rows);
            actions.push(Action { add: Some(Add { deletion_vector: Some(vector), ..add }), ..Action::default() });
        }
        for file in &commit.changes {
            let size = i64::try_from(file.size).map_err(|e| failed(e.into()))?;
            let (path, partition_values) = (file.path.as_str().into(), Arc::clone(&file.partition));
            let cdc = Cdc { path, partition_values, size, data_change: false };
            actions.push(Action { cdc: Some(cdc), ..Action::default() });
        }
        let (app_id, version) = commit.txn.clone();
        let txn = Txn { app_id, version, last_updated: Some(now_millis) };
        actions.push(Action { txn: Some(txn), ..Action::default() });
        actions.extend(commit.domains.iter().cloned().map(|(domain, configuration)| Action {
            domain_metadata: Some(DomainMetadata { domain, configuration, removed: false }),
            ..Action::default()
        }));
        let metadata = actions.iter().find_map(|action| action.meta_data.as_ref()).or(state.metadata.as_ref());
        let shape = metadata.map(others::shape);
        let has_other_rows = state.has_other_rows && leaves_files(state, commit);
        Ok(Entry { actions, shape, has_other_rows, token, deleted: all, weight })
    }
}

/// Whether files of the table stay.
fn leaves_files(state: &State, commit: &Commit) -> bool {
    let removed: BTreeSet<&str> = commit.removes.iter().map(String::as_str).collect();
    state.files.keys().any(|path| !removed.contains(&**path))
}

/// The files of an entry being planned.
struct Plan<'a> {
    store: &'a TableStore,
    state: &'a State,
    now_millis: i64,
    data_change: bool,
    /// Files whose rows only move all the same.
    moves: &'a BTreeSet<String>,
    actions: Vec<Action>,
    /// Files that stay with a new vector: the same index in `vectors`.
    kept: Vec<Add>,
    vectors: Vec<RoaringBitmap>,
}

impl Plan<'_> {
    fn files(&mut self, commit: &Commit, deleted: &BTreeMap<String, Arc<RoaringBitmap>>) -> Result<()> {
        let added: BTreeSet<&str> = commit.adds.iter().map(|file| file.path.as_str()).collect();
        let removed: BTreeSet<&str> = commit.removes.iter().map(String::as_str).collect();
        if added.len() != commit.adds.len() || added.iter().any(|path| self.state.files.contains_key(*path)) {
            return Err(self.bug("a file was to be added twice"));
        }
        for path in &removed {
            self.remove(path)?;
        }
        let mut marked = Vec::new();
        for (path, rows) in &commit.deletes {
            if added.contains(path.as_str()) || removed.contains(path.as_str()) {
                continue;
            }
            let live = self.state.files.get_key_value(path.as_str());
            let live = live.ok_or_else(|| self.bug("rows were to be deleted from a file that is not live"))?;
            marked.push((live, (deleted.get(path).map(Arc::as_ref), rows)));
        }
        let pairs: Vec<_> = marked.iter().map(|(_, pair)| *pair).collect();
        let unions = deletion_vector::unions(&pairs)?;
        for (((path, file), (before, _)), all) in marked.into_iter().zip(unions) {
            match self.fate(file.num_records, before.map_or(0, RoaringBitmap::len), all)? {
                Fate::Same => {}
                Fate::Gone => self.remove(path)?,
                Fate::Partly(all) => {
                    let stats = loose_stats(file.stats.as_deref(), file.num_records)?;
                    // The logical file with deleted rows is as old as the first of them.
                    let modification_time =
                        if file.deletion_vector.is_some() { file.modification_time } else { self.now_millis };
                    self.remove(path)?;
                    let add = file.to_add(path, self.data_change);
                    self.kept.push(Add { stats: Some(stats), modification_time, ..add });
                    self.vectors.push(all);
                }
            }
        }
        for file in &commit.adds {
            self.add(file, commit.deletes.get(&file.path))?;
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let Some((path, file)) = self.state.files.get_key_value(path) else {
            return Err(self.bug("a file that is not live was to be removed"));
        };
        let remove = Remove {
            path: Arc::clone(path),
            deletion_timestamp: Some(self.now_millis),
            data_change: self.data_change && !self.moves.contains(&**path),
            extended_file_metadata: Some(true),
            partition_values: Some(Arc::clone(&file.partition)),
            size: i64::try_from(file.size).ok(),
            // The old vector is part of the identity: without it the old logical file would stay alive.
            deletion_vector: file.deletion_vector.clone(),
        };
        self.actions.push(Action { remove: Some(remove), ..Action::default() });
        Ok(())
    }

    fn add(&mut self, file: &NewFile, deletes: Option<&RoaringBitmap>) -> Result<()> {
        let plain = |stats: Arc<str>, vector: Option<DvDescriptor>| -> Result<Add> {
            Ok(Add {
                path: file.path.as_str().into(),
                partition_values: Arc::clone(&file.partition),
                size: i64::try_from(file.size).map_err(|e| failed(e.into()))?,
                modification_time: self.now_millis,
                data_change: self.data_change && !self.moves.contains(&file.path),
                stats: Some(stats),
                deletion_vector: vector,
            })
        };
        let all = deletes.map(|rows| deletion_vector::union(None, rows));
        match all.map_or(Ok(Fate::Same), |all| self.fate(file.num_records, 0, all))? {
            Fate::Same => {
                let stats = checked_stats(file.stats.as_deref(), file.num_records)?;
                self.actions.push(Action { add: Some(plain(stats, None)?), ..Action::default() });
            }
            // Never visible: its file is left behind as an orphan.
            Fate::Gone => {}
            Fate::Partly(rows) => {
                self.kept.push(plain(loose_stats(file.stats.as_deref(), file.num_records)?, None)?);
                self.vectors.push(rows);
            }
        }
        Ok(())
    }

    /// What becomes of a file of so many rows, of which so many were deleted, when all these are.
    fn fate(&self, records: u64, before: u64, all: RoaringBitmap) -> Result<Fate> {
        if all.max().is_some_and(|row| u64::from(row) >= records) {
            return Err(self.bug("a row beyond a file's end was to be deleted"));
        }
        Ok(match all.len() {
            count if count == before => Fate::Same,
            count if count == records => Fate::Gone,
            _ if !self.may_delete() => {
                return Err(self.bug("rows were to be deleted from a table without deletion vectors"));
            }
            _ => Fate::Partly(all),
        })
    }

    fn may_delete(&self) -> bool {
        self.state.protocol.as_ref().is_none_or(protocol::allows_deletion_vectors)
    }

    fn bug(&self, what: &str) -> Error {
        Error::bug("delta_commit", format!("{what} in `{}`", self.store.place("")))
    }
}

fn commit_info(commit: &Commit, token: &str, now_millis: i64) -> Action {
    let info = CommitInfo {
        timestamp: Some(now_millis),
        operation: Some(commit.operation.to_owned()),
        operation_parameters: BTreeMap::new(),
        is_blind_append: Some(commit.blind_append),
        engine_info: Some(concat!("Tidewire/", env!("CARGO_PKG_VERSION")).to_owned()),
        client_version: None,
        txn_id: Some(token.to_owned()),
        tidewire_instance: Some(super::instance().to_owned()),
        user_metadata: commit.user_metadata.clone(),
    };
    Action { commit_info: Some(info), ..Action::default() }
}

fn metadata_actions(state: &State, new: &NewMetadata) -> Result<Vec<Action>> {
    let (Some(protocol), Some(metadata)) = (&state.protocol, &state.metadata) else {
        return Err(Error::bug("delta_commit", "a table without metadata was to be changed"));
    };
    let mut configuration = metadata.configuration.clone();
    configuration.extend(new.configuration.clone());
    let (schema_string, partition_columns) = (new.schema_string.clone(), new.partition_columns.clone());
    let metadata = MetaData { schema_string, partition_columns, configuration, ..metadata.clone() };
    let protocol = protocol::extend(protocol, &new.schema_string, &metadata.configuration);
    let protocol = protocol.map(|protocol| Action { protocol: Some(protocol), ..Action::default() });
    Ok(protocol.into_iter().chain([Action { meta_data: Some(metadata), ..Action::default() }]).collect())
}

/// Statistics of a file with a deletion vector: its bounds need no longer be met by a live row.
fn loose_stats(stats: Option<&str>, records: u64) -> Result<Arc<str>> {
    let text = checked_stats(stats, records)?;
    // Raw values keep every digit of bounds that no float could hold.
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).map_err(|e| failed(e.into()))?;
    members.insert("tightBounds".to_owned(), RawValue::from_string("false".to_owned()).map_err(|e| failed(e.into()))?);
    Ok(serde_json::to_string(&members).map_err(|e| failed(e.into()))?.into())
}

/// Statistics that agree with the file's number of rows; made when there are none.
fn checked_stats(stats: Option<&str>, records: u64) -> Result<Arc<str>> {
    let Some(stats) = stats else {
        return Ok(format!("{{\"numRecords\":{records}}}").into());
    };
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(stats).map_err(|e| failed(e.into()))?;
    match members.get("numRecords").map(|count| count.get()) {
        Some(count) if count == records.to_string() => Ok(stats.into()),
        _ => Err(Error::bug("delta_commit", "a file's statistics do not have its number of rows")),
    }
}

fn failed(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::bug("delta_commit", "write an entry of a table log").with_cause(cause)
}
