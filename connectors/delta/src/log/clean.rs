//! Removing what nobody needs any more: files whose removal is older than the table's retention, old entries that a
//! checkpoint stands for, temporary files of writers that died. Deletes data files only as an expired removal names them, never
//! by listing what looks unused; files of our own that tell their age by their name go by that (`replaced`, files of changes).

use crate::ambient;
use crate::deletion_vector::DvDescriptor;
use crate::error::Result;
use crate::log::state::{State, Tombstone};
use crate::log::{checkpoint, checksum, load, protocol, replaced};
use crate::metrics;
use crate::store::{Object, TableStore, name};
use std::borrow::Cow;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The folder of the log.
const LOG: &str = "_delta_log";
/// Names of the log that are asked for at a time, so that no listing takes longer than a request may.
const SHOWN_MAX: usize = 20_000;
/// The folder of the files of changes.
const CHANGES: &str = "_change_data";
const HOUR_MILLIS: i64 = 3_600_000;
/// Where a duration cannot be read: Delta's own default for files, one week.
const FALLBACK_MILLIS: i64 = 7 * 24 * HOUR_MILLIS;

/// How long files stay that were removed, in milliseconds.
pub(super) fn retention_millis(state: &State) -> i64 {
    interval_millis(state, protocol::FILE_RETENTION_PROPERTY)
}

/// The milliseconds of a property such as `interval 24 hours`.
pub(super) fn interval_millis(state: &State, property: &str) -> i64 {
    let text = state.metadata.as_ref().and_then(|metadata| metadata.configuration.get(property));
    text.and_then(|text| parse_interval(text)).unwrap_or(FALLBACK_MILLIS)
}

fn parse_interval(text: &str) -> Option<i64> {
    let mut words = text.split_ascii_whitespace();
    let (interval, count, unit) = (words.next()?, words.next()?, words.next()?);
    if !interval.eq_ignore_ascii_case("interval") || words.next().is_some() {
        return None;
    }
    let unit = match unit.to_ascii_lowercase().trim_end_matches('s') {
        "week" => 7 * 24 * HOUR_MILLIS,
        "day" => 24 * HOUR_MILLIS,
        "hour" => HOUR_MILLIS,
        "minute" => 60_000,
        "second" => 1_000,
        "millisecond" => 1,
        _ => return None,
    };
    count.parse::<i64>().ok().filter(|count| *count >= 0)?.checked_mul(unit)
}

/// Whether the removal of a file, or a vector that was replaced, has expired.
pub(super) fn has_expired(state: &State, now_millis: i64) -> bool {
    let cutoff = now_millis.saturating_sub(retention_millis(state));
    state.tombstones.iter().any(|tombstone| tombstone.deletion_timestamp < cutoff)
        || replaced::have_expired(state, now_millis)
}

/// Removes files whose removal has expired and that nothing else names, and forgets those removals: no more files than are `left` to
/// be removed now. Says whether that was all of them; of a log that names files elsewhere it is none.
pub(super) fn expired_files(store: &TableStore, state: &mut State, now_millis: i64, left: &mut usize) -> Result<bool> {
    let cutoff = now_millis.saturating_sub(retention_millis(state));
    let expired = |tombstone: &Tombstone| tombstone.deletion_timestamp < cutoff;
    if !state.tombstones.iter().any(expired) {
        return Ok(true);
    }
    let Some(needed) = state.named(|tombstone| !expired(tombstone)) else { return Ok(true) };
    let mut gone: BTreeSet<String> = BTreeSet::new();
    let goes = |tombstone: &Tombstone| {
        if !expired(tombstone) || gone.len() >= *left {
            return false;
        }
        // Other vectors of a file may have been replaced later, and their removals are forgotten.
        let vector = tombstone.deletion_vector.as_ref().filter(|vector| vector.written_at().is_none());
        let vector = vector.and_then(DvDescriptor::file_name);
        // What lies elsewhere is not ours to remove.
        let path = name::canonical(&tombstone.path).map(Cow::into_owned);
        gone.extend([path, vector].into_iter().flatten().filter(|name| !needed.contains(name)));
        true
    };
    let going: Vec<bool> = state.tombstones.iter().map(goes).collect();
    // After an error all are remembered: to remove again what is gone is no error.
    store.delete_all(&gone)?;
    let mut going = going.into_iter();
    state.tombstones.retain(|_| going.next() != Some(true));
    let is_all = gone.len() < *left;
    count(gone.len(), left);
    Ok(is_all)
}

/// So many files have been removed.
pub(super) fn count(removed: usize, left: &mut usize) {
    ::metrics::counter!(metrics::FILES_CLEANED).increment(removed as u64);
    *left = left.saturating_sub(removed);
}

/// Removes the first of these, as many as are `left` to be removed now. Says whether those were all.
fn remove_first(store: &TableStore, mut names: Vec<String>, left: &mut usize) -> Result<bool> {
    let is_all = names.len() <= *left;
    names.truncate(*left);
    store.delete_all(&names)?;
    count(names.len(), left);
    Ok(is_all)
}

/// Removes entries and checkpoints of the log that expired before `cutoff_millis` (since 1970) and that a checkpoint up to
/// `version` stands for, no more than are `left` to be removed now but for those of one checkpoint. Says whether that was all of them.
/// The first version that has not expired can be read afterwards, from the newest checkpoint before it: where there is none, nothing
/// goes.
pub(super) fn expired_entries(store: &TableStore, version: i64, cutoff_millis: i64, left: &mut usize) -> Result<bool> {
    let mut expired = Expired::new(version, cutoff_millis, *left);
    let mut next = None;
    let mut is_whole = true;
    store.show(LOG, "", &mut |object| {
        if let Some((version, kind)) = version_of(object) {
            is_whole = next.is_none_or(|next| next == version);
            next = Some(if kind == Kind::Entry { version + 1 } else { version });
        }
        is_whole && expired.see(object)
    })?;
    if !is_whole {
        // Some buckets list as they like, and some logs have holes. What is not seen may need what was.
        expired = Expired::new(version, cutoff_millis, *left);
        let all = store.list(LOG, "")?;
        let _ = all.iter().try_for_each(|object| expired.see(object).then_some(()));
    }
    let Expired { names, is_all, .. } = expired;
    store.delete_all(&names)?;
    count(names.len(), left);
    Ok(is_all)
}

/// What a name in the log is of, as far as it takes part in a load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Checkpoint,
    /// Of a checkpoint that another writer has split. It goes like an entry: nothing goes because of it, as others may be missing.
    Part,
    Entry,
}

/// The version of an entry or a checkpoint.
fn version_of(object: &Object) -> Option<(i64, Kind)> {
    let name = &object.name;
    let checkpoint = checkpoint::version_of(name).map(|version| (version, Kind::Checkpoint));
    let part = || checkpoint::listed::part_of(name).map(|part| (part.version, Kind::Part));
    checkpoint.or_else(part).or_else(|| load::entry_version(name).map(|version| (version, Kind::Entry)))
}

/// What of a log has expired, found out from its names in their order: the oldest come first, and a checkpoint before the entry
/// of its version.
struct Expired {
    version: i64,
    cutoff_millis: i64,
    files_max: usize,
    /// Before the newest checkpoint that was seen.
    names: Vec<String>,
    since_checkpoint: Vec<String>,
    /// Whether nothing is left for the next look.
    is_all: bool,
}

impl Expired {
    fn new(version: i64, cutoff_millis: i64, files_max: usize) -> Expired {
        Expired { version, cutoff_millis, files_max, names: Vec::new(), since_checkpoint: Vec::new(), is_all: true }
    }

    /// Takes the next object in; says whether more are wanted.
    fn see(&mut self, object: &Object) -> bool {
        let Some((version, kind)) = version_of(object) else { return true };
        if kind == Kind::Checkpoint && version <= self.version {
            self.names.append(&mut self.since_checkpoint);
        }
        if object.modified_millis >= self.cutoff_millis {
            return false;
        }
        self.is_all = self.names.len() < self.files_max;
        self.since_checkpoint.push(format!("{LOG}/{}", object.name));
        self.is_all
    }
}

/// Removes what lies beside the entries of the log and no load of the table begins with: checksums of versions before the newest
/// checkpoint, and of the checkpoints before the last hour all but one of each hour; no more than are `left` to be removed now. Says
/// whether that was all of them. No version goes with them: the entries lead to each from the checkpoint before it. What lies before
/// version `from` is not looked at again; once all is in order it becomes the one to go on from.
pub(super) fn beside_entries(store: &TableStore, from: &mut i64, now_millis: i64, left: &mut usize) -> Result<bool> {
    let (mut checkpoints, mut checksums) = (Vec::<(i64, i64)>::new(), Vec::<(i64, i64)>::new());
    let mut after = if *from > 0 { format!("{from:020}.") } else { String::new() };
    loop {
        let (mut seen, mut last) = (0, None);
        store.show(LOG, &after, &mut |object| {
            if let Some(version) = checkpoint::version_of(&object.name) {
                checkpoints.push((version, object.modified_millis));
            } else if let Some(version) = checksum::version_of(&object.name) {
                checksums.push((version, object.modified_millis));
            }
            seen += 1;
            last = (seen == SHOWN_MAX).then(|| object.name.clone());
            last.is_none()
        })?;
        match last {
            Some(name) => after = name,
            None => break,
        }
    }
    checkpoints.sort_unstable();
    let newest = checkpoints.last().map_or(0, |(version, _)| *version);
    // Whoever began to load the table a moment ago may still be about to read them.
    let old = now_millis.saturating_sub(HOUR_MILLIS);
    let (mut names, mut last_kept, mut next) = (Vec::new(), None, *from);
    for (version, written) in checkpoints {
        // The oldest stays: entries before it may be gone.
        let is_near = last_kept.is_some_and(|kept: i64| written.saturating_sub(kept) < HOUR_MILLIS);
        if is_near && written < old && version != newest {
            names.push(checkpoint::name(version));
            continue;
        }
        last_kept = Some(written);
        if written < old {
            next = version;
        }
    }
    let unneeded = checksums.into_iter().filter(|(version, written)| *version < newest && *written < old);
    names.extend(unneeded.map(|(version, _)| checksum::name(version)));
    let is_all = remove_first(store, names, left)?;
    if is_all {
        *from = next;
    }
    Ok(is_all)
}

/// The name of a new file of changes, in its partition's folder (`column=value/`, or none). It begins with the time, so that
/// nothing but its name need be known to tell when it has expired: no checkpoint keeps it, and a listing of all files of
/// changes is short.
pub(crate) fn new_change_file(store: &TableStore, folder: &str) -> String {
    let (millis, uuid, suffix) = (ambient::now_millis(), ambient::uuid(), store.compression().suffix());
    format!("{CHANGES}/{folder}cdc-{millis:013}-{uuid}{suffix}")
}

/// When a file of ours of that name was begun, in milliseconds since 1970. Others' names (`cdc-00000-<uuid>.c000…` of Spark)
/// tell no time.
fn change_written_at(name: &str) -> Option<i64> {
    let (millis, rest) = name.rsplit('/').next()?.strip_prefix("cdc-")?.split_once('-')?;
    let is_time = millis.len() == 13 && millis.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = is_time && rest.split_once('.').is_some_and(|(id, _)| id.len() == 36 && Uuid::try_parse(id).is_ok());
    if is_ours { millis.parse().ok() } else { None }
}

/// Removes files of changes that are older than the retention of removed files, no more than are `left` to be removed now. Says
/// whether that was all of them. Those whose commit is still to come are left alone. Others' files are as old as the store says.
pub(super) fn change_files(store: &TableStore, state: &State, now_millis: i64, left: &mut usize) -> Result<bool> {
    if !state.protocol.as_ref().is_some_and(protocol::has_change_feed) {
        return Ok(true);
    }
    let cutoff = now_millis.saturating_sub(retention_millis(state));
    let written = |object: &Object| change_written_at(&object.name).unwrap_or(object.modified_millis);
    let is_noted = |name: &String| store.intents().is_some_and(|intents| intents.holds(name));
    // What is still being written has a name of another kind.
    let is_whole = |object: &Object| !object.name.rsplit('/').next().unwrap_or_default().starts_with('.');
    let listing = store.list_below(CHANGES)?.into_iter().filter(is_whole);
    let expired = listing.filter(|object| written(object) < cutoff);
    let expired = expired.map(|object| format!("{CHANGES}/{}", object.name)).filter(|name| !is_noted(name));
    remove_first(store, expired.collect(), left)
}

/// Removes temporary files that a writer left behind more than an hour ago. Only a writer does, as it is the only one:
/// somebody who looks at the table may meet a large file that a daemon has been writing for longer.
pub(super) fn temporary_files(store: &TableStore, state: &State, now_millis: i64) -> Result<()> {
    if store.local_path().is_none() || store.intents().is_none() {
        return Ok(());
    }
    let Some(named) = state.named(|_| true) else { return Ok(()) };
    let partitions = named.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect::<BTreeSet<_>>();
    for directory in ["", LOG, CHANGES].into_iter().chain(partitions) {
        let is_of_changes = directory == CHANGES;
        for object in if is_of_changes { store.list_below(directory)? } else { store.list(directory, "")? } {
            let own = object.name.rsplit('/').next().unwrap_or_default();
            let ours = own.starts_with(".tidewire-") && own.ends_with(".tmp");
            if ours && object.modified_millis < now_millis.saturating_sub(HOUR_MILLIS) {
                let name = if directory.is_empty() { object.name } else { format!("{directory}/{}", object.name) };
                store.delete(&name)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_of_files_of_changes_tell_their_time() {
        let id = "0190d6a4-7c1e-7c3b-9d2f-0123456789ab";
        for (name, time) in [
            (format!("cdc-1700000000000-{id}.snappy.parquet"), Some(1_700_000_000_000)),
            (format!("a=1/b=cdc-2-3/cdc-1700000000000-{id}.parquet"), Some(1_700_000_000_000)),
            (format!("cdc-00000-{id}.c000.snappy.parquet"), None),
            (format!("cdc-17000000000000-{id}.parquet"), None),
            (format!("cdc-+700000000000-{id}.parquet"), None),
            (format!("cdc-1700000000000-{id}-1.parquet"), None),
            ("cdc-1700000000000-x.parquet".to_owned(), None),
            (format!("part-1700000000000-{id}.parquet"), None),
        ] {
            assert_eq!(change_written_at(&name), time, "{name}");
        }
    }

    #[test]
    fn durations_as_delta_writes_them() {
        for (text, millis) in [
            ("interval 24 hours", Some(24 * HOUR_MILLIS)),
            ("interval 1 week", Some(7 * 24 * HOUR_MILLIS)),
            ("INTERVAL 90 SECONDS", Some(90_000)),
            ("interval 1 month", None),
            ("interval 1 day 2 hours", None),
            ("interval -1 days", None),
            ("24 hours", None),
        ] {
            assert_eq!(parse_interval(text), millis, "{text}");
        }
    }
}
