//! Entries that other writers put on top of ours: which are stepped over, which are taken in where the operator allows it,
//! and which stop the table. Knows what an entry does to files and declarations; nothing of keys or rows.
//!
//! What is taken in changes rows or moves them. What would make the table's place untrue (a restore), its schema another one, or
//! its files unreadable for this writer, never is.

use crate::error::Result;
use crate::log::action::{Action, MetaData};
use crate::log::load::{self, WriterMark};
use crate::log::state::{State, WRITER_DOMAIN, row_count};
use crate::log::{Entry, Table, instance, protocol};
use crate::metrics;
use crate::store::{TableStore, name};
use siphasher::sip::SipHasher13;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::Hasher;
use std::sync::Arc;
use tidewire_core::{Error, ErrorKind};

/// What becomes of entries by which others change files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ForeignWrites {
    /// They stop the table.
    #[default]
    Pause,
    /// They are taken in.
    Adopt,
}

/// Whose an entry is that lies where ours was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Ours: the answer was lost.
    Own,
    /// Another writer's, which touches nothing of ours; it has been applied.
    Harmless,
    /// Another writer's, which has been taken in.
    Adopted,
}

/// What others have done to files.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// The files that they added, removed or deleted rows of.
    pub(crate) files: BTreeSet<Arc<str>>,
    /// Not all of it only moved rows.
    pub(crate) has_other_rows: bool,
}

/// Properties by which a table would become one that this writer writes in another way.
const OWN_PROPERTIES: [&str; 6] = [
    "tidewire.",
    "delta.appendOnly",
    "delta.enableDeletionVectors",
    "delta.columnMapping.",
    "delta.enableChangeDataFeed",
    "delta.enableTypeWidening",
];

const READ_ANEW: &str = "stop the other writer and give the sink a new name and location, which reads its tables anew";
const SCHEMA: &str = "a change of the schema, of the partitions or of what this sink set";

impl Table {
    /// Decides about an entry that is there already.
    pub(super) fn meet(&mut self, version: i64, entry: &Entry, app_id: &str, open: Option<Error>) -> Result<Met> {
        ::metrics::counter!(metrics::COMMITS_READ_BACK).increment(1);
        let Some(actions) = load::read_entry(&self.store, version)? else {
            let missing = || {
                Error::retry(
                    "delta_log_changed",
                    format!("version {version} of `{}` came and went", self.store.place("")),
                )
            };
            return Err(open.unwrap_or_else(missing));
        };
        let info = actions.iter().find_map(|action| action.commit_info.as_ref());
        if info.is_some_and(|info| info.txn_id.as_deref() == Some(&entry.token)) {
            return Ok(Met::Own);
        }
        if version == 0 && !is_of_application(&actions, app_id) {
            return Err(foreign_write(&self.store, version, &actions, Some("a table that somebody else made")));
        }
        self.take_in(version, actions, app_id)
    }

    /// Applies another writer's entry, and those after it.
    pub(super) fn catch_up(&mut self, app_id: &str) -> Result<()> {
        while let Some(actions) = load::read_entry(&self.store, self.version + 1)? {
            self.take_in(self.version + 1, actions, app_id)?;
        }
        Ok(())
    }

    /// What others have done since the last call.
    pub(crate) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Whether others have changed rows since all of them were the source's: what the source says of a row as it was may then not
    /// be what the table says of it.
    pub(crate) fn has_other_rows(&self) -> bool {
        self.state.has_other_rows
    }

    /// Whether others have written since this version.
    pub(crate) fn is_overtaken(&self) -> Result<bool> {
        Ok(self.store.head(&load::entry_name(self.version + 1))?.is_some())
    }

    fn take_in(&mut self, version: i64, actions: Vec<Action>, app_id: &str) -> Result<Met> {
        if is_of_application(&actions, app_id) {
            return Err(self.of_this_application(version, &actions));
        }
        let met = if is_harmless(&actions) { Met::Harmless } else { Met::Adopted };
        if met == Met::Adopted {
            check(&self.store, version, &actions, (&self.state, true))?;
            if self.others == ForeignWrites::Pause {
                return Err(foreign_write(&self.store, version, &actions, None));
            }
            let adds = actions.iter().filter_map(|action| action.add.as_ref()).map(|add| &add.path);
            let removes = actions.iter().filter_map(|action| action.remove.as_ref()).map(|remove| &remove.path);
            self.touched.files.extend(adds.chain(removes).cloned());
            let has_other_rows = !only_moves(&actions);
            self.touched.has_other_rows |= has_other_rows;
            self.state.has_other_rows |= has_other_rows;
            let (operation, engine) = who(&actions);
            tracing::info!(
                table = self.store.place(""),
                version,
                operation,
                engine,
                "a change by another writer is adopted"
            );
            ::metrics::counter!(metrics::FOREIGN_COMMITS).increment(1);
        }
        let shape = self.state.metadata.as_ref().map(shape);
        let refused = foreign_write(&self.store, version, &actions, Some(SCHEMA));
        self.state.apply(actions, &self.store.place(&load::entry_name(version)))?;
        if self.state.metadata.as_ref().map(self::shape) != shape {
            return Err(refused);
        }
        if let (Some(declared), Some(metadata)) = (&self.state.protocol, &self.state.metadata) {
            protocol::check(declared, metadata, &self.store.place(""))?;
        }
        self.version = version;
        self.entries += 1;
        self.is_unmarked = true;
        Ok(met)
    }

    /// Another process that writes as this sink; or a late write of this very one, which is no other instance: opening the
    /// table anew takes it in.
    fn of_this_application(&self, version: i64, actions: &[Action]) -> Error {
        let info = actions.iter().find_map(|action| action.commit_info.as_ref());
        let own = info.is_some_and(|info| info.tidewire_instance.as_deref() == Some(instance()));
        let message = format!("another instance committed version {version} of `{}`", self.store.place(""));
        match own {
            true => Error::retry("delta_commit_late", message),
            false => Error::new(ErrorKind::Fenced, "fenced", message)
                .with_remedy("run one instance for each sink and source"),
        }
    }
}

/// Refuses a table to whose rows others have done what cannot be taken in since this writer's last commit: its position would
/// no longer tell what the table holds (SK-35, a restore above all). Says whether others have changed rows.
pub(super) fn check_loaded(store: &TableStore, state: &State, newest: i64, others: ForeignWrites) -> Result<bool> {
    let Some(mark) = mark(state) else {
        return Err(Error::operator("foreign_table", format!("`{}` was not made by this sink", store.place("")))
            .with_remedy("choose another `location` or `table`, or move the table away"));
    };
    let mut has_other_rows = mark.has_other_rows;
    for version in mark.version + 1..=newest {
        match load::read_entry(store, version)? {
            Some(actions) if is_harmless(&actions) => {}
            Some(actions) => {
                check(store, version, &actions, (state, false))?;
                let is_same = state.metadata.as_ref().map(shape) == mark.shape;
                if !is_same && actions.iter().any(|action| action.meta_data.is_some()) {
                    return Err(foreign_write(store, version, &actions, Some(SCHEMA)));
                }
                if others == ForeignWrites::Pause {
                    return Err(foreign_write(store, version, &actions, None));
                }
                has_other_rows |= !only_moves(&actions);
            }
            None => return Err(foreign_write(store, version, &[], Some("what the entry said before it was removed"))),
        }
    }
    Ok(has_other_rows)
}

/// What the newest entry of this writer says of itself.
pub(super) fn mark(state: &State) -> Option<WriterMark> {
    state.domains.get(WRITER_DOMAIN).and_then(|text| serde_json::from_str(text).ok())
}

/// The part of a table's metadata that is this writer's to change, as a short text.
pub(super) fn shape(metadata: &MetaData) -> String {
    let mut hasher = SipHasher13::new();
    let mut add = |text: &str| {
        hasher.write(text.as_bytes());
        hasher.write_u8(0xff);
    };
    add(&metadata.id);
    // Others may write the same schema in another way.
    match serde_json::from_str::<serde_json::Value>(&metadata.schema_string) {
        Ok(schema) => add(&schema.to_string()),
        Err(_) => add(&metadata.schema_string),
    }
    metadata.partition_columns.iter().for_each(|column| add(column));
    let is_own = |key: &str| OWN_PROPERTIES.iter().any(|own| key.starts_with(own));
    for (key, value) in metadata.configuration.iter().filter(|(key, _)| is_own(key)) {
        add(key);
        add(value);
    }
    format!("{:016x}", hasher.finish())
}

/// Refuses an entry that cannot be taken in. The state is the table's without it, or else with it and all that followed.
fn check(store: &TableStore, version: i64, actions: &[Action], (state, is_before): (&State, bool)) -> Result<()> {
    let refuse = |what: &str| Err(foreign_write(store, version, actions, Some(what)));
    if who(actions).0.eq_ignore_ascii_case("restore") {
        return refuse("a restore, after which the table's place in the source's log would be untrue");
    }
    if actions.iter().any(|action| !leaves_domains(action)) {
        return refuse("a change of what this sink notes of itself");
    }
    let before = is_before.then_some(state);
    let tombstones = before.iter().flat_map(|before| &before.tombstones);
    let removed: BTreeSet<Cow<'_, str>> = tombstones.filter_map(|tombstone| name::canonical(&tombstone.path)).collect();
    for add in actions.iter().filter_map(|action| action.add.as_ref()) {
        let Some(canonical) = name::canonical(&add.path) else {
            return refuse("a file whose name is none in the table's directory");
        };
        if !add.partition_values.keys().all(|key| state.partition_keys.contains(key)) {
            return refuse("a file of other partitions than the table's");
        }
        if row_count(add).is_none() {
            return refuse("a file without a number of rows (`numRecords`)");
        }
        let Some(before) = before else { continue };
        let new = add.deletion_vector.as_ref().map_or(0, |vector| vector.cardinality);
        match before.files.get(&add.path) {
            Some(live) if u64::try_from(new).unwrap_or(0) < live.deleted_count() => {
                return refuse("deleted rows that came back");
            }
            None if removed.contains(&canonical) => return refuse("a removed file that came back"),
            _ => {}
        }
    }
    Ok(())
}

fn leaves_domains(action: &Action) -> bool {
    action.domain_metadata.as_ref().is_none_or(|domain| !domain.domain.starts_with("tidewire."))
}

fn is_of_application(actions: &[Action], app_id: &str) -> bool {
    actions.iter().any(|action| action.txn.as_ref().is_some_and(|txn| txn.app_id == app_id))
}

/// Whether an entry of others leaves each row as it was, wherever that lies now.
fn only_moves(actions: &[Action]) -> bool {
    let adds = actions.iter().filter_map(|action| action.add.as_ref()).map(|add| add.data_change);
    let removes = actions.iter().filter_map(|action| action.remove.as_ref()).map(|remove| remove.data_change);
    adds.chain(removes).all(|is_change| !is_change)
}

/// Whether an entry of others leaves files, schema and our texts alone (a vacuum's note in the history).
fn is_harmless(actions: &[Action]) -> bool {
    actions.iter().all(|action| {
        action.add.is_none()
            && action.remove.is_none()
            && action.meta_data.is_none()
            && action.protocol.is_none()
            && leaves_domains(action)
    })
}

/// The operation and the engine that an entry names.
fn who(actions: &[Action]) -> (&str, &str) {
    let info = actions.iter().find_map(|action| action.commit_info.as_ref());
    let operation = info.and_then(|info| info.operation.as_deref());
    let engine = info.and_then(|info| info.engine_info.as_deref().or(info.client_version.as_deref()));
    (operation.unwrap_or("unknown"), engine.unwrap_or("unknown"))
}

/// The refusal of a log that does not tell any more how far this sink has come.
pub(super) fn forgotten(store: &TableStore, version: i64) -> Error {
    let message = format!(
        "version {version} of `{}` has no `txn` of this sink any more: another writer removed it",
        store.place("")
    );
    Error::operator("foreign_write", message).with_remedy(READ_ANEW)
}

/// The refusal of another writer's entry: `what` it is that cannot be taken in, or `None` when it is only not allowed.
fn foreign_write(store: &TableStore, version: i64, actions: &[Action], what: Option<&str>) -> Error {
    let (operation, engine) = who(actions);
    let place = store.place("");
    let by = format!("version {version} (operation `{operation}`, engine `{engine}`)");
    let message = match what {
        None => format!("another writer changed `{place}` in {by}"),
        Some(what) => format!("another writer changed `{place}` in {by}, and {what} cannot be adopted"),
    };
    Error::operator("foreign_write", message).with_remedy(match what {
        None => {
            "set `foreign_writes = \"adopt\"` and restart, or stop the other writer and give the sink a new name and location, which reads \
             its tables anew"
        }
        Some(_) => READ_ANEW,
    })
}
