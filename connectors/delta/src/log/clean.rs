//! Removing what nobody needs any more: files whose removal is older than the table's retention, old entries that a
//! checkpoint stands for, temporary files of writers that died. Deletes data files only as an expired removal names them, never
//! by listing what looks unused; files of our own that tell their age by their name go by that (`replaced`, files of changes).

use crate::ambient::{self, Limit, limit};
use crate::deletion_vector::DvDescriptor;
use crate::error::Result;
use crate::log::state::{State, Tombstone};
use crate::log::{checkpoint, checksum, protocol, replaced};
use crate::metrics;
use crate::store::{Object, TableStore, name};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Most files removed in one go, so that house-keeping stays short.
pub(super) const FILES_MAX: usize = 1_000;
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

/// Removes files whose removal has expired and that nothing else names, and forgets those removals. Says whether that was
/// all of them; of a log that names files elsewhere it is none.
pub(super) fn expired_files(store: &TableStore, state: &mut State, now_millis: i64) -> Result<bool> {
    let cutoff = now_millis.saturating_sub(retention_millis(state));
    let expired = |tombstone: &Tombstone| tombstone.deletion_timestamp < cutoff;
    if !state.tombstones.iter().any(expired) {
        return Ok(true);
    }
    let Some(needed) = state.named(|tombstone| !expired(tombstone)) else { return Ok(true) };
    let mut gone: BTreeSet<String> = BTreeSet::new();
    let mut kept = Vec::with_capacity(state.tombstones.len());
    let mut failure = None;
    let files_max = limit(Limit::CleanFiles, FILES_MAX);
    for tombstone in state.tombstones.drain(..) {
        if !expired(&tombstone) || gone.len() >= files_max || failure.is_some() {
            kept.push(tombstone);
            continue;
        }
        // Other vectors of a file may have been replaced later, and their removals are forgotten.
        let vector = tombstone.deletion_vector.as_ref().filter(|vector| vector.written_at().is_none());
        let vector = vector.and_then(DvDescriptor::file_name);
        // What lies elsewhere is not ours to remove.
        let path = name::canonical(&tombstone.path).map(Cow::into_owned);
        let names = [path, vector];
        let unneeded = |name: &String| !needed.contains(name) && !gone.contains(name);
        let names: Vec<String> = names.into_iter().flatten().filter(unneeded).collect();
        match names.iter().try_for_each(|name| store.delete(name)) {
            Ok(()) => gone.extend(names),
            Err(error) => {
                failure = Some(error);
                kept.push(tombstone);
            }
        }
    }
    state.tombstones = kept;
    ::metrics::counter!(metrics::FILES_CLEANED).increment(gone.len() as u64);
    failure.map_or(Ok(gone.len() < files_max), Err)
}

/// Removes what lies beside the entries of the log and no load of the table begins with, and returns the number: checksums of
/// versions before the newest checkpoint, and of the checkpoints before the last hour all but one of each hour. No version
/// goes with them: the entries lead to each from the checkpoint before it.
pub(super) fn beside_entries(store: &TableStore, now_millis: i64) -> Result<usize> {
    let listing = store.list("_delta_log", "")?;
    let checkpoint = |object: &Object| Some((checkpoint::version_of(&object.name)?, object.modified_millis));
    let mut checkpoints: Vec<(i64, i64)> = listing.iter().filter_map(checkpoint).collect();
    checkpoints.sort_unstable();
    // Whoever began to load the table a moment ago may still be about to read them.
    let old = now_millis.saturating_sub(HOUR_MILLIS);
    let newest = checkpoints.last().map(|(version, _)| *version);
    let (mut removed, mut last_kept) = (0, None);
    for (version, written) in checkpoints {
        // The oldest stays: entries before it may be gone.
        let is_near = last_kept.is_some_and(|kept: i64| written.saturating_sub(kept) < HOUR_MILLIS);
        if is_near && written < old && Some(version) != newest {
            store.delete(&checkpoint::name(version))?;
            removed += 1;
        } else {
            last_kept = Some(written);
        }
    }
    for object in &listing {
        let is_before = |version: i64| newest.is_some_and(|newest| version < newest);
        if checksum::version_of(&object.name).is_some_and(is_before) && object.modified_millis < old {
            store.delete(&format!("_delta_log/{}", object.name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The name of a new file of changes, in its partition's folder (`column=value/`, or none). It begins with the time, so that
/// nothing but its name need be known to tell when it has expired: no checkpoint keeps it, and a listing of all files of
/// changes is short.
pub(crate) fn new_change_file(store: &TableStore, folder: &str) -> String {
    let (millis, uuid, suffix) = (ambient::now_millis(), ambient::uuid(), store.compression().suffix());
    format!("{CHANGES}/{folder}cdc-{millis:013}-{uuid}{suffix}")
}

/// Removes files of changes that are older than the retention of removed files, and returns their number. Those whose
/// commit is still to come are left alone.
pub(super) fn change_files(store: &TableStore, state: &State, now_millis: i64) -> Result<usize> {
    if !state.protocol.as_ref().is_some_and(protocol::has_change_feed) {
        return Ok(0);
    }
    let cutoff = now_millis.saturating_sub(retention_millis(state));
    let written = |name: &str| name.rsplit('/').next()?.strip_prefix("cdc-")?.split_once('-')?.0.parse::<i64>().ok();
    let mut removed = 0;
    for object in store.list_below(CHANGES)? {
        let name = format!("{CHANGES}/{}", object.name);
        let is_noted = store.intents().is_some_and(|intents| intents.holds(&name));
        if written(&object.name).is_some_and(|written| written < cutoff) && !is_noted {
            store.delete(&name)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes temporary files that a writer left behind more than an hour ago. Only a writer does, as it is the only one:
/// somebody who looks at the table may meet a large file that a daemon has been writing for longer.
pub(super) fn temporary_files(store: &TableStore, state: &State, now_millis: i64) -> Result<()> {
    if store.local_path().is_none() || store.intents().is_none() {
        return Ok(());
    }
    let Some(named) = state.named(|_| true) else { return Ok(()) };
    let partitions = named.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect::<BTreeSet<_>>();
    for directory in ["", "_delta_log", CHANGES].into_iter().chain(partitions) {
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
