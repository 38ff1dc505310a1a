//! What a table holds at one version: the sum of its actions. Pure; reads no storage.

use crate::deletion_vector::DvDescriptor;
use crate::error::{self, Result};
use crate::log::LiveFile;
use crate::log::action::{Action, Add, MetaData, Partition, Protocol, Remove, Txn};
use crate::log::checksum::Sums;
use crate::log::mapped;
use crate::store::name;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The domain that says which version this writer committed last; a table that is ahead of it has been written
/// to by others.
pub(super) const WRITER_DOMAIN: &str = "tidewire.writer";

/// A table's content.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Option<MetaData>,
    /// The names by which files tell their values of the partition columns.
    pub(super) partition_keys: BTreeSet<String>,
    pub(super) files: BTreeMap<Arc<str>, LiveFile>,
    /// Sums over `files`.
    pub(super) sums: Sums,
    /// Files and deletion vectors that are no longer live and not yet cleaned, oldest first; but for vectors that were replaced
    /// soon ([`replaced`](super::replaced)).
    pub(super) tombstones: Vec<Tombstone>,
    /// When the oldest of those was written, as far as is known, in milliseconds since 1970.
    pub(super) replaced_since: Option<i64>,
    pub(super) txns: BTreeMap<String, Txn>,
    /// Domain to its JSON text.
    pub(super) domains: BTreeMap<String, String>,
    /// Other writers have changed rows since all of them were the source's.
    pub(super) has_other_rows: bool,
}

/// A logical file that was removed: the data file itself, or only an older deletion vector of it.
#[derive(Clone, Debug)]
pub(super) struct Tombstone {
    pub(super) path: Arc<str>,
    pub(super) deletion_timestamp: i64,
    pub(super) size: Option<i64>,
    pub(super) partition: Partition,
    pub(super) deletion_vector: Option<DvDescriptor>,
}

/// The part of a file's statistics that this writer needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RowCount {
    num_records: u64,
}

/// The number of rows in a file, deleted ones included; `None` when its statistics do not tell.
pub(super) fn row_count(add: &Add) -> Option<u64> {
    serde_json::from_str::<RowCount>(add.stats.as_deref()?).ok().map(|count| count.num_records)
}

impl State {
    /// Adds the actions of one entry. `place` names it in errors.
    pub(super) fn apply(&mut self, actions: Vec<Action>, place: &str) -> Result<()> {
        let known = self.tombstones.len();
        self.apply_part(actions, place)?;
        self.forget_replaced(known);
        Ok(())
    }

    /// Adds actions of one entry, or of a checkpoint, of which there may be more. The order inside has no meaning, so removes
    /// come first.
    pub(super) fn apply_part(&mut self, actions: Vec<Action>, place: &str) -> Result<()> {
        for remove in actions.iter().filter_map(|action| action.remove.as_ref()) {
            self.remove(remove);
        }
        if let Some(metadata) = actions.iter().rev().find_map(|action| action.meta_data.as_ref()) {
            self.partition_keys = mapped::partition_keys(metadata);
        }
        for action in actions {
            if let Some(add) = action.add {
                self.add(add, place)?;
            }
            if let Some(protocol) = action.protocol {
                self.protocol = Some(protocol);
            }
            if let Some(metadata) = action.meta_data {
                self.metadata = Some(metadata);
            }
            if let Some(txn) = action.txn {
                self.txns.insert(txn.app_id.clone(), txn);
            }
            if let Some(domain) = action.domain_metadata {
                match domain.removed {
                    true => self.domains.remove(&domain.domain),
                    false => self.domains.insert(domain.domain, domain.configuration),
                };
            }
        }
        Ok(())
    }

    fn remove(&mut self, remove: &Remove) {
        // A remove names a file together with its deletion vector; another vector is another logical file.
        let live = self.files.get(&remove.path);
        let path =
            if live.is_some_and(|live| same_vector(live.deletion_vector.as_ref(), remove.deletion_vector.as_ref())) {
                self.files.remove_entry(&remove.path).map(|(path, file)| {
                    self.sums.remove(&file);
                    path
                })
            } else {
                None
            };
        self.tombstones.push(Tombstone {
            path: path.unwrap_or_else(|| Arc::clone(&remove.path)),
            // Without a time it counts as removed long ago, as the protocol's default says.
            deletion_timestamp: remove.deletion_timestamp.unwrap_or(0),
            size: remove.size,
            partition: remove.partition_values.clone().unwrap_or_default(),
            deletion_vector: remove.deletion_vector.clone(),
        });
    }

    fn add(&mut self, add: Add, place: &str) -> Result<()> {
        let bad = |what: &str| error::damaged(place, format!("file `{}` {what}", add.path));
        let file = LiveFile {
            path: add.path.as_ref().to_owned(),
            size: u64::try_from(add.size).map_err(|_| bad("has a negative size"))?,
            num_records: row_count(&add).ok_or_else(|| bad("has no row count"))?,
            stats: add.stats.clone(),
            modification_time: add.modification_time,
            partition: self.whole(&add.partition_values),
            deletion_vector: add.deletion_vector,
            deleted: None,
        };
        self.sums.add(&file);
        if let Some(before) = self.files.insert(Arc::clone(&add.path), file) {
            self.sums.remove(&before);
        }
        Ok(())
    }

    /// The values of all partition columns: a checkpoint leaves null out. A file that went with its columns has others.
    fn whole(&self, values: &Partition) -> Partition {
        let keys = &self.partition_keys;
        if keys.iter().all(|key| values.contains_key(key)) || values.keys().any(|key| !keys.contains(key)) {
            return Arc::clone(values);
        }
        Arc::new(keys.iter().map(|key| (key.clone(), values.get(key).cloned().flatten())).collect())
    }

    /// Gives each file the values of all partition columns, once all of a checkpoint is read: the columns may be named after the files.
    pub(super) fn complete(&mut self) {
        let mut files = std::mem::take(&mut self.files);
        files.values_mut().for_each(|file| file.partition = self.whole(&file.partition));
        self.files = files;
    }

    /// Names of the data files and deletion vectors that are live, or were until a removal that `counts`, in their canonical
    /// spelling: whoever asks is about to remove the others, and a file must not go because it is spelled in two ways. For the
    /// same reason there are none when a name means no file in the table's directory: it might lie there under an address.
    pub(super) fn named(&self, counts: impl Fn(&Tombstone) -> bool) -> Option<BTreeSet<String>> {
        let live = self.files.iter().map(|(path, file)| (path, &file.deletion_vector));
        let removed = self.tombstones.iter().filter(|tombstone| counts(tombstone));
        let removed = removed.map(|tombstone| (&tombstone.path, &tombstone.deletion_vector));
        let mut names = BTreeSet::new();
        for (path, vector) in live.chain(removed) {
            names.insert(name::canonical(path)?.into_owned());
            names.extend(vector.as_ref().and_then(DvDescriptor::file_name));
        }
        Some(names)
    }

    /// Everything as actions, for a checkpoint.
    pub(super) fn actions(&self) -> impl Iterator<Item = Action> {
        let protocol = self.protocol.clone().map(|protocol| Action { protocol: Some(protocol), ..Action::default() });
        let metadata = self.metadata.clone().map(|data| Action { meta_data: Some(data), ..Action::default() });
        let txns = self.txns.values().map(|txn| Action { txn: Some(txn.clone()), ..Action::default() });
        let domains = self.domains.iter().map(|(domain, configuration)| Action {
            domain_metadata: Some(super::action::DomainMetadata {
                domain: domain.clone(),
                configuration: configuration.clone(),
                removed: false,
            }),
            ..Action::default()
        });
        let adds =
            self.files.iter().map(|(path, file)| Action { add: Some(file.to_add(path, false)), ..Action::default() });
        // A file that has come back (a restore) must not be listed as removed too.
        let removes = self.tombstones.iter().filter(|tombstone| !self.is_live(tombstone)).map(|tombstone| Action {
            remove: Some(Remove {
                path: Arc::clone(&tombstone.path),
                deletion_timestamp: Some(tombstone.deletion_timestamp),
                data_change: false,
                extended_file_metadata: Some(true),
                partition_values: Some(self.whole(&tombstone.partition)),
                size: tombstone.size,
                deletion_vector: tombstone.deletion_vector.clone(),
            }),
            ..Action::default()
        });
        protocol.into_iter().chain(metadata).chain(txns).chain(domains).chain(adds).chain(removes)
    }

    fn is_live(&self, tombstone: &Tombstone) -> bool {
        self.files
            .get(&tombstone.path)
            .is_some_and(|live| same_vector(live.deletion_vector.as_ref(), tombstone.deletion_vector.as_ref()))
    }
}

impl LiveFile {
    pub(super) fn to_add(&self, path: &Arc<str>, data_change: bool) -> Add {
        Add {
            path: Arc::clone(path),
            partition_values: Arc::clone(&self.partition),
            // It was read from an i64, or checked when it was added.
            size: i64::try_from(self.size).unwrap_or(i64::MAX),
            modification_time: self.modification_time,
            data_change,
            stats: self.stats.clone(),
            deletion_vector: self.deletion_vector.clone(),
        }
    }
}

fn same_vector(a: Option<&DvDescriptor>, b: Option<&DvDescriptor>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.unique_id() == b.unique_id(),
        _ => false,
    }
}
