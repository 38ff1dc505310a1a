//! Files of commits that never landed: which names of the intent list are orphans (SK-32). Decides by the loaded state
//! only, never by a listing.

use crate::deletion_vector::{self, DvDescriptor};
use crate::log::action::Action;
use crate::log::state::State;
use crate::metrics;
use crate::store::{TableStore, name};

/// Most files removed at one opening, so that a start stays short; the next one goes on.
const ORPHANS_MAX: usize = 1_000;

/// Strikes off what a commit that is stored names.
pub(super) fn landed(store: &TableStore, actions: &[Action]) {
    let Some(intents) = store.intents() else { return };
    let adds = || actions.iter().filter_map(|action| action.add.as_ref());
    let vectors: Vec<String> = adds().filter_map(|add| vector_name(add.deletion_vector.as_ref())).collect();
    let changes = actions.iter().filter_map(|action| action.cdc.as_ref()).map(|cdc| &*cdc.path);
    intents.strike(adds().map(|add| &*add.path).chain(vectors.iter().map(String::as_str)).chain(changes));
}

/// Removes what an earlier owner of the list wrote and no commit names.
///
/// To be called only after an entry of our own was stored on top of `state`: an entry of the earlier owner whose answer
/// got lost, or that is still on its way, is in the state by then, or finds its version taken. Names of this owner
/// are left alone: their commit is still to come.
pub(super) fn remove_orphans(store: &TableStore, state: &State) {
    let Some(intents) = store.intents() else { return };
    let earlier = intents.earlier();
    if earlier.is_empty() {
        return;
    }
    // A reader of an older version may need what was removed.
    let Some(named) = state.named(|_| true) else { return };
    let is_orphan = |name: &&String| is_of_a_table(name) && !named.contains(name.as_str());
    let (orphans, kept): (Vec<&String>, Vec<&String>) = earlier.iter().partition(is_orphan);
    let mut removed: Vec<&String> = orphans.into_iter().take(ORPHANS_MAX).collect();
    if let Err(error) = store.delete_all(removed.iter().copied()) {
        // The names stay on the list.
        tracing::debug!(error = %error.chain(), "files that no commit names could not be removed");
        removed.clear();
    }
    if !removed.is_empty() {
        let (table, files) = (store.place(""), removed.len());
        tracing::info!(table, files, "removed files that were written for commits which never came");
        ::metrics::counter!(metrics::FILES_CLEANED).increment(files as u64);
    }
    intents.strike(kept.into_iter().chain(removed).map(String::as_str));
}

fn vector_name(vector: Option<&DvDescriptor>) -> Option<String> {
    vector.and_then(DvDescriptor::file_name)
}

/// Whether a name is one that this writer gives to files of rows, or gave to those of deletion vectors. The list is a file that
/// anybody may have changed. Of files of changes, and of vectors that tell their age, the state does not say which are named: they
/// go by that.
fn is_of_a_table(name: &str) -> bool {
    let (folders, file) = name.rsplit_once('/').map_or(("", name), |(folders, file)| (folders, file));
    // The folders are those of partitions.
    let is_ours = folders.is_empty() || folders.split('/').all(|folder| folder.contains('='));
    let is_kind = file.starts_with("part-")
        || file.starts_with("deletion_vector_") && deletion_vector::written_at(file).is_none();
    // Only so spelled, it can be told from the names that the state has.
    is_ours && is_kind && file.bytes().all(name::is_plain) && name::canonical(name).is_some_and(|one| one == name)
}
