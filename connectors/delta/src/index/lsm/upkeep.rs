//! Spills and merges: when they start, and how what they made takes the place of what there was. A manifest is on
//! disk after the runs that it names, and before those go that it no longer names.

use super::tiers::{Sized, choose};
use super::{Frozen, Index, Merging, Placed};
use crate::index::MemoryIndex;
use crate::index::folder::Folder;
use crate::index::manifest::{Manifest, Named};
use crate::index::merge::{Gone, Keep, go_on, merge};
use crate::index::mix::Order;
use crate::index::run::{Fact, Run, RunWriter};
use crate::job::{Job, give_way};
use roaring::RoaringBitmap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use tidewire_core::{Error, Result};

impl Index {
    /// Freezes the memtable and starts to write it; waits for an earlier one, and with far too many runs for a merge.
    /// `covered` are files whose facts are all in the memtable or in runs; the manifest says so once they are.
    /// After an error nothing is lost, and the next call tries again.
    pub(crate) fn spill(&mut self, covered: Vec<(u32, String)>) -> Result<()> {
        self.usable()?;
        self.finish_spill()?;
        while self.runs.len() > self.limits.runs_max {
            self.start_merge()?;
            if self.merging.is_none() {
                break;
            }
            self.take_merge()?;
        }
        if self.memtable.len() == 0 {
            self.dirty |= !covered.is_empty();
            self.cover(covered);
        } else {
            self.sequence += 1;
            let fresh = self.new_memtable();
            let facts = Arc::new(std::mem::replace(&mut self.memtable, fresh));
            self.frozen = Some(Frozen { facts, sequence: self.sequence, covered });
            self.start_spill()?;
        }
        self.publish()
    }

    /// Takes over what has been written and merged, and starts the next merge. Never waits. `gone` are the files that
    /// are no part of the table any more, or never became one; there may only ever be more of them.
    pub(crate) fn poll(&mut self, gone: &RoaringBitmap) -> Result<()> {
        self.usable()?;
        self.note(gone);
        if self.spilling.as_ref().is_some_and(Job::is_finished) {
            self.take_spill()?;
        }
        self.start_spill()?;
        if self.merging.as_ref().is_some_and(|merging| merging.job.is_finished()) {
            self.take_merge()?;
        }
        self.start_merge()?;
        self.publish()
    }

    /// Waits for the spill and the merge that are at work, and takes them over.
    pub(crate) fn settle(&mut self, gone: &RoaringBitmap) -> Result<()> {
        self.usable()?;
        self.note(gone);
        self.finish_spill()?;
        self.take_merge()?;
        self.publish()
    }

    pub(super) fn note(&mut self, gone: &RoaringBitmap) {
        if !gone.is_subset(&self.gone) {
            self.gone |= gone;
            self.covered.retain(|file, _| !gone.contains(*file));
        }
    }

    /// Waits until no memtable is frozen.
    fn finish_spill(&mut self) -> Result<()> {
        self.start_spill()?;
        self.take_spill()
    }

    /// Starts to write the frozen memtable, unless that is at work.
    fn start_spill(&mut self) -> Result<()> {
        if let (Some(frozen), None) = (&self.frozen, &self.spilling) {
            let (facts, folder, order) = (Arc::clone(&frozen.facts), Arc::clone(&self.folder), self.order);
            self.spilling = Some(Job::start("index-spill", move |stop| write(&facts, &folder, &order, stop))?);
        }
        Ok(())
    }

    /// Puts the spilled run in the place of the frozen memtable, which stays when it could not be written.
    fn take_spill(&mut self) -> Result<()> {
        let Some(job) = self.spilling.take() else {
            return Ok(());
        };
        let run = self.watch(job.join())?;
        if let Some(frozen) = self.frozen.take() {
            self.place(run, frozen.sequence);
            self.cover(frozen.covered);
        }
        // What the batch's keys had in the frozen memtable is in a run now.
        self.gather()
    }

    pub(super) fn start_merge(&mut self) -> Result<()> {
        if self.merging.is_some() {
            return Ok(());
        }
        let sizes = |placed: &Placed| Sized { entries: placed.run.entries(), sequence: placed.sequence };
        let sizes: Vec<Sized> = self.runs.iter().map(sizes).collect();
        let Some(inputs) = choose(&sizes, &self.live_marks(), &self.limits).and_then(|range| self.runs.get(range))
        else {
            return Ok(());
        };
        let inputs = inputs.to_vec();
        let runs: Vec<Arc<Run>> = inputs.iter().map(|placed| Arc::clone(&placed.run)).collect();
        let (keep, folder, order) = (Keep::Newest(Gone::new(&self.gone)), Arc::clone(&self.folder), self.order);
        let job = Job::start("index-merge", move |stop| {
            give_way();
            merge(&runs, &keep, (&folder, &order), true, stop)
        })?;
        self.merging = Some(Merging { job, inputs });
        Ok(())
    }

    /// The places that a run may still come for: marks that are held, and that of the memtable that is being written. A merge across
    /// one would take older facts along to a newer place, from where the next merge puts them in the place of those that
    /// have come since.
    pub(super) fn live_marks(&self) -> Vec<u64> {
        let held = self.marks.iter().filter_map(Weak::upgrade).map(|mark| *mark);
        held.chain(self.frozen.as_ref().map(|frozen| frozen.sequence)).collect()
    }

    /// Puts the merged run in the place of its parts.
    pub(super) fn take_merge(&mut self) -> Result<()> {
        let Some(Merging { job, inputs }) = self.merging.take() else {
            return Ok(());
        };
        let run = self.watch(job.join())?;
        self.replace(&inputs, run);
        Ok(())
    }

    /// Neighbours become one run, which is as new as the newest of them.
    pub(super) fn replace(&mut self, inputs: &[Placed], run: Option<Run>) {
        self.runs.retain(|placed| !inputs.iter().any(|input| input.sequence == placed.sequence));
        self.doom(inputs.iter().map(|placed| Arc::clone(&placed.run)));
        if let (Some(run), Some(newest)) = (run, inputs.first()) {
            if inputs.iter().any(|placed| placed.run.is_sure()) {
                run.expect_most();
            }
            self.place(run, newest.sequence);
        }
        self.dirty = true;
    }

    /// Lets go of runs. Those that the manifest on disk names have to stay until the next one; of the others, as a large
    /// snapshot makes many before its commit, neither file nor memory is kept.
    pub(super) fn doom(&mut self, runs: impl Iterator<Item = Arc<Run>>) {
        self.doomed.extend(runs.filter(|run| run.name().is_kept()));
    }

    /// Writes the manifest if it is older than the index, and only then lets go of runs that it named.
    pub(super) fn publish(&mut self) -> Result<()> {
        if !self.dirty || self.is_held {
            return Ok(());
        }
        let mut manifest = Manifest::new(self.binding.clone(), self.order.seed());
        manifest.next_run = self.folder.next();
        manifest.next_file = self.next_file;
        manifest.covered.clone_from(&self.covered);
        manifest.reached = self.reached;
        for Placed { run, sequence } in &self.runs {
            run.name().keep(true);
            let number = run.name().number();
            manifest.runs.push(Named { number, sequence: *sequence, entries: run.entries(), sum: run.sum() });
        }
        let bytes = manifest.write();
        let bytes = bytes.map_err(|cause| Error::bug("index_manifest", "write the manifest").with_cause(cause))?;
        self.folder.replace_manifest(&bytes)?;
        self.dirty = false;
        self.doomed.drain(..).for_each(|run| run.name().keep(false));
        Ok(())
    }
}

/// Writes a memtable as a run. It is in order but for the second halves of wide keys.
fn write(facts: &MemoryIndex, folder: &Folder, order: &Order, stop: &AtomicBool) -> Result<Run> {
    let mut writer = RunWriter::new(folder.create()?, order, facts.len() as u64)?;
    let mut same: Vec<Fact> = Vec::new();
    for (number, (key, at)) in facts.iter().enumerate() {
        if number % (1 << 16) == 0 {
            go_on(stop)?;
        }
        let key = order.mixed(key);
        if same.last().is_some_and(|last| last.key.high != key.high) {
            flush(&mut same, &mut writer)?;
        }
        same.push(Fact { key, at });
    }
    flush(&mut same, &mut writer)?;
    writer.finish(true)
}

fn flush(same: &mut Vec<Fact>, writer: &mut RunWriter) -> Result<()> {
    same.sort_unstable_by_key(|fact| fact.key);
    same.drain(..).try_for_each(|fact| writer.push(fact))
}
