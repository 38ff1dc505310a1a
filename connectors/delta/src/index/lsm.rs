//! The index: a memtable, one that is being written, and runs; what is asked, and what is added. Knows nothing of
//! which rows are live: of a key's facts the caller takes the first whose row is.
//!
//! Of the facts of one key whose files are not gone, only the newest can be about a live row. The memtable is newer
//! than the frozen one, that is newer than the runs, and of the runs the higher sequence is newer.

mod open;
mod proof;
mod sweep;
#[cfg(test)]
mod tests;
mod tiers;
mod upkeep;

use crate::ambient::{Limit, limit};
use crate::encode::key::KeyId;
use crate::index::batch::Batch;
use crate::index::claim::WHOLE_MAX;
use crate::index::folder::Folder;
use crate::index::manifest::Binding;
use crate::index::mix::Order;
use crate::index::page::DAMAGED;
use crate::index::run::{FILES_MAX, Run, SPENT, spent};
use crate::index::{MemoryIndex, PreparedRun, RowLocation, RunBuilder};
use crate::job::Job;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tidewire_core::{Error, Result};

pub(crate) use open::{Opened, forget_later};
use sweep::sweep;

/// Keys whose slots are brought near at once: more would push each other out of the fastest caches.
const STRIDE: usize = 256;

/// Ordinals that are left when a new index is asked for: more than are given out until then.
const ORDINALS_SPARED: u32 = 1 << 20;

/// Sizes, so that tests can have small ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries below which runs are of the lowest tier; each tier is four times the one before.
    tier_entries: u64,
    /// So many runs of one tier are merged.
    tier_runs: usize,
    /// With more runs than this a spill waits for a merge.
    runs_max: usize,
    /// Facts that a builder sorts in memory.
    builder_facts: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { tier_entries: 2 << 20, tier_runs: 4, runs_max: 40, builder_facts: 1 << 20 }
    }
}

/// A place in the order of what is added.
#[derive(Debug)]
pub(crate) struct Mark(Arc<u64>);

/// The index of one table.
#[derive(Debug)]
pub(crate) struct Index {
    folder: Arc<Folder>,
    binding: Binding,
    order: Order,
    limits: Limits,
    memtable: MemoryIndex,
    frozen: Option<Frozen>,
    /// Newest first.
    runs: Vec<Placed>,
    covered: BTreeMap<u32, String>,
    batch: Batch,
    spilling: Option<Job<Run>>,
    merging: Option<Merging>,
    /// The last that was given out.
    sequence: u64,
    marks: Vec<Weak<u64>>,
    /// Files that the caller said are gone, and those that were not covered at the start.
    gone: RoaringBitmap,
    next_file: u32,
    /// The table's version to which the facts go, but for those that no commit has shown.
    reached: Option<i64>,
    /// The manifest on disk is older than this.
    dirty: bool,
    /// Facts have been put in the place of others that no commit has shown: should it never come, those others count, and
    /// the manifest on disk must not be without them.
    is_held: bool,
    /// Runs that the manifest on disk may still name.
    doomed: Vec<Arc<Run>>,
    is_damaged: bool,
}

/// A memtable on its way to disk.
#[derive(Debug)]
struct Frozen {
    facts: Arc<MemoryIndex>,
    sequence: u64,
    covered: Vec<(u32, String)>,
}

/// A run and its place in the order.
#[derive(Clone, Debug)]
struct Placed {
    run: Arc<Run>,
    sequence: u64,
}

/// A merge that is at work.
#[derive(Debug)]
struct Merging {
    job: Job<Option<Run>>,
    inputs: Vec<Placed>,
}

impl Index {
    /// Drawn when the index was created, and secret. What of a key does not fit 64 bits is to be hashed with it.
    pub(crate) fn seed(&self) -> [u64; 4] {
        self.order.seed()
    }

    /// Ordinals of files from here on are in no run and not covered. The caller must give a file that is not covered one of these:
    /// a run may have facts of an ordinal whose file was never committed.
    pub(crate) fn next_file(&self) -> u32 {
        self.next_file
    }

    /// Gathers what the runs know of these keys; `candidates` answers for them until the next call.
    pub(crate) fn prefetch(&mut self, keys: &[KeyId]) -> Result<()> {
        self.usable()?;
        let order = self.order;
        self.batch = Batch::new(keys, |key| order.mixed(key));
        self.gather()
    }

    /// Sweeps the runs for the keys of the batch.
    fn gather(&mut self) -> Result<()> {
        let may_claim = self.run_bytes() <= WHOLE_MAX;
        let mut found = Vec::new();
        let swept = sweep(&self.runs, self.batch.keys(), may_claim, &mut found);
        if swept.is_err() {
            // Half an answer would be taken for all of it.
            self.batch = Batch::default();
        }
        self.watch(swept)?;
        self.batch.fill(&found);
        Ok(())
    }

    /// Where the key's row may lie, the newest first. A key that was not asked for by `prefetch` is an error, as what
    /// the runs know of it is not known.
    pub(crate) fn candidates(&self, key: KeyId) -> Result<impl Iterator<Item = RowLocation>> {
        let found = self.batch.of(self.order.mixed(key));
        if found.is_none() && (self.is_damaged || !self.runs.is_empty()) {
            return Err(Error::bug("index_not_asked", "a key was looked up that had not been prefetched"));
        }
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.facts.get(key));
        let memory = self.memtable.get(key).into_iter().chain(frozen);
        Ok(memory.chain(found.into_iter().flatten().copied()))
    }

    /// The keys last asked for by `prefetch`, each once. What follows counts them in this order.
    pub(crate) fn asked(&self) -> &[KeyId] {
        self.batch.ids()
    }

    /// For each key in the order of asking, its number among `asked`.
    pub(crate) fn numbers(&self) -> &[u32] {
        self.batch.numbers()
    }

    /// A key's number among `asked`.
    pub(crate) fn number_of(&self, key: KeyId) -> Option<usize> {
        self.batch.number_of(self.order.mixed(key))
    }

    /// Of each key of `asked` the newest candidate that is live. They are asked in the order in which the memtable holds
    /// them, and its slots are brought near for many at once, so that one cache miss does not wait for another. `is_live` is
    /// asked file by file and row by row, since in a large table what it looks at is larger than the caches.
    pub(crate) fn live_rows(&self, mut is_live: impl FnMut(RowLocation) -> bool) -> Vec<Option<RowLocation>> {
        let mut candidates = Vec::with_capacity(self.asked().len());
        let mut counts = Vec::with_capacity(self.asked().len());
        let frozen = self.frozen.as_ref().map(|frozen| &frozen.facts);
        for some in self.asked().chunks(STRIDE) {
            self.memtable.touch(some);
            if let Some(frozen) = frozen {
                frozen.touch(some);
            }
            for id in some {
                let before = candidates.len();
                candidates.extend(self.memtable.get(*id));
                candidates.extend(frozen.and_then(|frozen| frozen.get(*id)));
                candidates.extend(self.batch.at(counts.len()).into_iter().flatten());
                counts.push(candidates.len() - before);
            }
        }
        // One number is compared faster than two.
        let place = |at: &RowLocation| u64::from(at.file) << 32 | u64::from(at.row);
        let mut order: Vec<(u64, u32)> = candidates.iter().map(place).zip(0..).collect();
        order.sort_unstable_by_key(|(place, _)| *place);
        let mut live = vec![false; candidates.len()];
        for (_, at) in order {
            if let (Some(live), Some(location)) = (live.get_mut(at as usize), candidates.get(at as usize)) {
                *live = is_live(*location);
            }
        }
        let mut candidates = candidates.into_iter().zip(live);
        let newest_of = |count| {
            let own = candidates.by_ref().take(count);
            own.fold(None, |newest: Option<RowLocation>, (location, is_live)| newest.or(is_live.then_some(location)))
        };
        counts.into_iter().map(newest_of).collect()
    }

    /// Adds a fact, the newest of its key.
    pub(crate) fn insert(&mut self, key: KeyId, at: RowLocation) {
        self.is_held = true;
        self.memtable.insert(key, at);
    }

    /// As `insert` and `forget`, of the keys of `asked`: for each its row's place, or that it has no row, or nothing.
    pub(crate) fn learn(&mut self, rows: impl IntoIterator<Item = Option<Option<RowLocation>>>) {
        let mut rows = rows.into_iter();
        for some in self.batch.ids().chunks(STRIDE) {
            self.memtable.touch(some);
            for (id, row) in some.iter().zip(&mut rows) {
                match row {
                    Some(Some(at)) => _ = self.memtable.insert(*id, at),
                    Some(None) => _ = self.memtable.remove(*id),
                    None => continue,
                }
                self.is_held = true;
            }
        }
    }

    /// Drops the key's fact from the memtable. What the runs have is dead by the caller's word.
    pub(crate) fn forget(&mut self, key: KeyId) {
        self.is_held = true;
        self.memtable.remove(key);
    }

    /// Forgets every fact, on disk with the next commit. Marks are of no use any more; the seed stays, and so do the ordinals that were used.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.usable()?;
        (self.spilling, self.merging, self.frozen) = (None, None, None);
        self.is_held = true;
        self.memtable = self.new_memtable();
        self.marks.clear();
        self.covered.clear();
        let runs = std::mem::take(&mut self.runs);
        self.doom(runs.into_iter().map(|placed| placed.run));
        self.batch.fill(&[]);
        self.dirty = true;
        self.publish()
    }

    /// Facts of commits up to this version of the table are here, or come now. To be said before they go to disk.
    pub(crate) fn reach(&mut self, version: i64) {
        self.reached = self.reached.max(Some(version));
    }

    /// What was added and forgotten so far is in the table for good: it may go to disk.
    pub(crate) fn committed(&mut self) {
        self.is_held = false;
    }

    /// A mark of now: what is added from here on is newer, what the runs hold is older. No merge crosses it while it
    /// is held.
    pub(crate) fn mark(&mut self) -> Mark {
        self.sequence += 1;
        let mark = Arc::new(self.sequence);
        self.marks.retain(|mark| mark.strong_count() > 0);
        self.marks.push(Arc::downgrade(&mark));
        Mark(mark)
    }

    /// Takes a run that is as old as the mark, and what is covered with it. `gone` must have the files from which its
    /// rows were moved: their facts may be newer than the mark, and a merge would take them for the better ones.
    pub(crate) fn add_run(
        &mut self,
        mark: Mark,
        facts: PreparedRun,
        covered: Vec<(u32, String)>,
        gone: &RoaringBitmap,
    ) -> Result<()> {
        self.usable()?;
        if !self.marks.iter().any(|known| known.as_ptr() == Arc::as_ptr(&mark.0)) {
            return Err(Error::bug("index_mark", "a run came for a mark that the index has forgotten"));
        }
        self.note(gone);
        if let Some(run) = facts.0 {
            self.place(run, *mark.0);
        }
        drop(mark);
        self.cover(covered);
        self.dirty = true;
        self.publish()?;
        self.gather()
    }

    /// Prepares a run on any thread.
    pub(crate) fn run_builder(&self) -> RunBuilder {
        RunBuilder::new(Arc::clone(&self.folder), self.order, self.limits.builder_facts)
    }

    /// Entries of the memtable: what a spill would write.
    pub(crate) fn fresh_entries(&self) -> usize {
        self.memtable.len()
    }

    /// Bytes of the runs.
    pub(crate) fn run_bytes(&self) -> u64 {
        self.runs.iter().map(|placed| placed.run.file_bytes()).sum()
    }

    /// Entries of runs and in memory; a key that was superseded may have several.
    pub(crate) fn entries(&self) -> u64 {
        self.runs.iter().map(|placed| placed.run.entries()).sum::<u64>() + self.memtable.len() as u64
    }

    /// Number of runs.
    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    fn new_memtable(&self) -> MemoryIndex {
        MemoryIndex::with_seed(self.order.is_narrow(), self.order.seed())
    }

    /// Notes files whose facts are all in runs.
    fn cover(&mut self, files: Vec<(u32, String)>) {
        for (file, path) in files {
            self.next_file = self.next_file.max(file.saturating_add(1));
            if !self.gone.contains(file) {
                self.covered.insert(file, path);
            }
        }
    }

    /// Puts a run among the others.
    fn place(&mut self, run: Run, sequence: u64) {
        self.next_file = self.next_file.max(run.last_file().saturating_add(1));
        let at = self.runs.partition_point(|placed| placed.sequence > sequence);
        self.runs.insert(at, Placed { run: Arc::new(run), sequence });
        self.dirty = true;
    }

    /// An error once a run was found damaged: from then on only a new start helps.
    fn usable(&self) -> Result<()> {
        if self.is_damaged {
            return Err(crate::index::page::damaged(&self.folder.place(), "it was found damaged before"));
        }
        Ok(())
    }

    /// Has the next start build the index anew when few ordinals of files are left; `next` is the next one. A table of many
    /// partitions that is written to for weeks uses them up.
    ///
    /// # Errors
    /// That it is so.
    pub(crate) fn spare_ordinals(&mut self, next: u32) -> Result<()> {
        let is_spent = next >= limit(Limit::Ordinals, FILES_MAX - ORDINALS_SPARED);
        if is_spent { self.watch(Err(spent())) } else { Ok(()) }
    }

    /// Sees to it that the next start throws an index away that is damaged, or of no more use.
    fn watch<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|error| [DAMAGED, SPENT].contains(&error.code())) && !self.is_damaged {
            self.is_damaged = true;
            (self.spilling, self.merging) = (None, None);
            self.folder.remove_manifest()?;
        }
        result
    }
}
