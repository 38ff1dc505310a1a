//! Loading a table: the newest whole checkpoint, then every entry after it. A damaged checkpoint or hint costs time
//! only (SK-34); a missing entry stops the load, because what follows would rest on a guess.

use crate::error::{self, Result};
use crate::log::action::{self, Action};
use crate::log::others::{ForeignWrites, check_loaded};
use crate::log::presence::{self, Presence};
use crate::log::state::State;
use crate::log::{checkpoint, protocol};
use crate::store::{Object, TableStore};
use serde::{Deserialize, Serialize};
use tidewire_core::Error;

/// A loaded table; by default one that is about to be made.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) version: i64,
    pub(super) presence: Presence,
    /// Entries and their bytes since the checkpoint.
    pub(super) entries: u64,
    pub(super) entry_bytes: u64,
}

impl Default for Loaded {
    fn default() -> Loaded {
        let presence = Presence::of(entry_name(0));
        Loaded { state: State::default(), version: -1, presence, entries: 0, entry_bytes: 0 }
    }
}

/// The text of the domain [`WRITER_DOMAIN`](crate::log::state::WRITER_DOMAIN).
#[derive(Serialize, Deserialize)]
pub(super) struct WriterMark {
    /// The version that carries this mark.
    pub(super) version: i64,
    /// Of the metadata at this version, what others may not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<String>,
    /// Others have changed rows that are in the table at this version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_other_rows: bool,
}

/// The name of a version's entry.
pub(super) fn entry_name(version: i64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// Loads the newest version; `None` when there is no log.
pub(super) fn load(store: &TableStore, others: ForeignWrites) -> Result<Option<Loaded>> {
    let Some(mut loaded) = newest(store)? else { return Ok(None) };
    loaded.state.has_other_rows = check(store, &loaded, others)?;
    Ok(Some(loaded))
}

fn newest(store: &TableStore) -> Result<Option<Loaded>> {
    // With a hint, older names need not be listed; the hinted checkpoint itself is.
    let hint = checkpoint::hinted(store)?;
    let start_after = hint.map_or(String::new(), |version| format!("{version:020}"));
    let listing = store.list("_delta_log", &start_after)?;
    if start_after.is_empty() {
        return from_all(store, listing);
    }
    if let Some(loaded) = load_listed(store, &listing)? {
        return Ok(Some(loaded));
    }
    from_all(store, store.list("_delta_log", "")?)
}

/// Loads from a listing of everything. A log of which no part can be read is no missing table.
fn from_all(store: &TableStore, listing: Vec<Object>) -> Result<Option<Loaded>> {
    let loaded = load_listed(store, &listing)?;
    if loaded.is_none() && !checkpoint::listed::listed(&listing).is_empty() {
        let what = "it has neither version 0 nor a usable checkpoint";
        return Err(error::damaged(&store.place("_delta_log"), what));
    }
    let entry = listing.iter().find_map(|object| entry_version(&object.name));
    match entry.filter(|_| loaded.is_none()) {
        Some(entry) => Err(presence::cut(store, entry)),
        None => Ok(loaded),
    }
}

/// Loads from the newest usable checkpoint of a listing, or from version 0. `None` when the listing has neither.
fn load_listed(store: &TableStore, listing: &[Object]) -> Result<Option<Loaded>> {
    let entries: Vec<(i64, &Object)> =
        listing.iter().filter_map(|object| Some((entry_version(&object.name)?, object))).collect();
    for listed in checkpoint::listed::listed(listing) {
        if let Some(state) = checkpoint::read(store, listed)? {
            return replay(store, state, listed.version, listed.first(), &entries).map(Some);
        }
    }
    match entries.first() {
        Some((0, _)) => replay(store, State::default(), -1, entry_name(0), &entries).map(Some),
        _ => Ok(None),
    }
}

/// Applies the entries after `version`, without a gap, to what lies in `begin`.
fn replay(store: &TableStore, state: State, version: i64, begin: String, entries: &[(i64, &Object)]) -> Result<Loaded> {
    let mut loaded = Loaded { state, version, presence: Presence::of(begin), entries: 0, entry_bytes: 0 };
    for (next, object) in entries {
        if *next == loaded.version {
            loaded.presence.ends_with(Some((*object).clone()));
        }
        if *next <= loaded.version {
            continue;
        }
        let place = store.place(&entry_name(*next));
        if *next != loaded.version + 1 {
            return Err(error::damaged(&place, format!("version {} is missing", loaded.version + 1)));
        }
        let Some(actions) = read_entry(store, *next)? else {
            return Err(Error::retry("delta_log_changed", format!("`{place}` went away while the log was read")));
        };
        loaded.state.apply(actions, &place)?;
        loaded.version = *next;
        loaded.entries += 1;
        loaded.entry_bytes += object.size;
        loaded.presence.ends_with(Some((*object).clone()));
    }
    Ok(loaded)
}

/// Refuses what this writer cannot go on with; says whether others have changed rows.
fn check(store: &TableStore, loaded: &Loaded, others: ForeignWrites) -> Result<bool> {
    let place = store.place("");
    let (Some(declared), Some(metadata)) = (&loaded.state.protocol, &loaded.state.metadata) else {
        return Err(error::damaged(&place, "the log has no protocol or no metadata"));
    };
    protocol::check(declared, metadata, &place)?;
    check_loaded(store, &loaded.state, loaded.version, others)
}

/// The actions of an entry; `None` when there is no such version.
pub(super) fn read_entry(store: &TableStore, version: i64) -> Result<Option<Vec<Action>>> {
    let name = entry_name(version);
    let content = store.get(&name)?;
    content.map(|content| action::parse(&content, &store.place(&name))).transpose()
}

/// Whether a listed name is that of an entry, and of which version.
pub(super) fn entry_version(name: &str) -> Option<i64> {
    version_before(name, ".json")
}

/// The version that a listed name has before this ending.
pub(super) fn version_before(name: &str, ending: &str) -> Option<i64> {
    let digits = name.strip_suffix(ending)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}
