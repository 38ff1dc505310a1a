//! Proves that no key has two live rows. The caller says which rows are live.

use super::{Index, Placed};
use crate::index::RowLocation;
use crate::index::merge::Merged;
use crate::index::run::{ENTRIES_MAX, Fact, Run, RunWriter};
use tidewire_core::Result;

/// Facts between two words on the progress.
const TELL_EVERY: u64 = 1 << 20;

impl Index {
    /// Sweeps all facts, of the memtable too, and makes one run of those of live rows. Returns two rows that are live
    /// and have one key, if there are such. For an index that was built from the table by `run_builder`, which keeps
    /// all facts of a key; merges keep only the newest. `progress` is told the facts that are done and all of them.
    pub(crate) fn prove_unique(
        &mut self,
        live: impl Fn(RowLocation) -> bool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Option<(RowLocation, RowLocation)>> {
        self.spill(Vec::new())?;
        let gone = self.gone.clone();
        self.settle(&gone)?;
        let inputs = self.runs.clone();
        let swept = sweep(self, &inputs, live, &mut progress);
        match self.watch(swept)? {
            Swept::Twice(first, second) => return Ok(Some((first, second))),
            Swept::One(run) => {
                self.replace(&inputs, run.map(|run| *run));
                self.publish()?;
                self.gather()?;
            }
            Swept::Proved => {}
        }
        Ok(None)
    }
}

enum Swept {
    Twice(RowLocation, RowLocation),
    /// All facts in one run, if there are any.
    One(Option<Box<Run>>),
    /// The runs stay.
    Proved,
}

fn sweep(
    index: &Index,
    inputs: &[Placed],
    live: impl Fn(RowLocation) -> bool,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Swept> {
    let of = inputs.iter().map(|placed| placed.run.entries()).sum();
    // A run that is to come for a mark must find its place between the others.
    let as_one = inputs.len() > 1 && of <= ENTRIES_MAX && index.live_marks().is_empty();
    let mut writer = if as_one { Some(RunWriter::new(index.folder.create()?, &index.order, of)?) } else { None };
    let mut merged = Merged::new(inputs.iter().map(|placed| &placed.run))?;
    let (mut last, mut done): (Option<Fact>, u64) = (None, 0);
    while let Some(fact) = merged.next()? {
        done += 1;
        if done % TELL_EVERY == 0 || done == of {
            progress(done, of);
        }
        if !live(fact.at) || last == Some(fact) {
            continue;
        }
        if let Some(last) = last.filter(|last| last.key == fact.key) {
            return Ok(Swept::Twice(last.at, fact.at));
        }
        if let Some(writer) = &mut writer {
            writer.push(fact)?;
        }
        last = Some(fact);
    }
    Ok(match writer {
        Some(_) if last.is_none() => Swept::One(None),
        Some(writer) => Swept::One(Some(Box::new(writer.finish(true)?))),
        None => Swept::Proved,
    })
}
