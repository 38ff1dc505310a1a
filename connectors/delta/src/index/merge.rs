//! Merges runs: all their facts in one order, the newest of each key first. Knows nothing of when to merge.

use crate::index::RowLocation;
use crate::index::folder::Folder;
use crate::index::mix::Order;
use crate::index::run::{Fact, Run, RunWriter, Stream};
use roaring::RoaringBitmap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewire_core::{Error, Result};

/// Facts between two looks at the stop flag.
const STOP_EVERY: u64 = 1 << 16;

/// The code of the error with which work ends that was told to stop.
pub(crate) const STOPPED: &str = "index_stopped";

/// The facts of several runs by key, and of each key the newest first.
#[derive(Debug)]
pub(crate) struct Merged {
    streams: Vec<Stream>,
    /// The next fact of each stream; the smallest key first, then the newest stream.
    heads: BinaryHeap<Reverse<Head>>,
}

#[derive(Debug)]
struct Head {
    fact: Fact,
    stream: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        (self.fact.key, self.stream).cmp(&(other.fact.key, other.stream))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl Merged {
    /// Of these runs, newest first.
    pub(crate) fn new<'a>(runs: impl Iterator<Item = &'a Arc<Run>>) -> Result<Merged> {
        let mut streams = Vec::new();
        let mut heads = BinaryHeap::new();
        for run in runs {
            let mut stream = Stream::new(Arc::clone(run))?;
            if let Some(fact) = stream.next()? {
                heads.push(Reverse(Head { fact, stream: streams.len() }));
            }
            streams.push(stream);
        }
        Ok(Merged { streams, heads })
    }

    /// The next fact.
    pub(crate) fn next(&mut self) -> Result<Option<Fact>> {
        let Some(mut top) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let fact = top.0.fact;
        match self.streams.get_mut(top.0.stream).map(Stream::next).transpose()?.flatten() {
            Some(next) => top.0.fact = next,
            None => drop(PeekMut::pop(top)),
        }
        Ok(Some(fact))
    }
}

/// Which facts a merged run has.
#[derive(Debug)]
pub(crate) enum Keep {
    /// All.
    All,
    /// Of each key the newest that does not lie in one of these files.
    Newest(Gone),
}

/// Files that are no part of the table any more: a bit each, as they are asked for every fact.
#[derive(Debug)]
pub(crate) struct Gone(Vec<u64>);

impl Gone {
    pub(crate) fn new(files: &RoaringBitmap) -> Gone {
        let mut words = vec![0; files.max().map_or(0, |last| last as usize / 64 + 1)];
        for file in files {
            if let Some(word) = words.get_mut(file as usize / 64) {
                *word |= 1u64 << (file % 64);
            }
        }
        Gone(words)
    }

    fn holds(&self, at: RowLocation) -> bool {
        self.0.get(at.file as usize / 64).is_some_and(|word| word >> (at.file % 64) & 1 != 0)
    }
}

/// Makes one run of several, newest first; `None` when no fact is left. Ends with `index_stopped` when told to stop.
pub(crate) fn merge(
    runs: &[Arc<Run>],
    keep: &Keep,
    (folder, order): (&Folder, &Order),
    durable: bool,
    stop: &AtomicBool,
) -> Result<Option<Run>> {
    let most = runs.iter().map(|run| run.entries()).sum();
    let mut writer = RunWriter::new(folder.create()?, order, most)?;
    let mut merged = Merged::new(runs.iter())?;
    let (mut last, mut done, mut written) = (None, 0, 0u64);
    while let Some(fact) = merged.next()? {
        done += 1;
        if done % STOP_EVERY == 0 {
            go_on(stop)?;
        }
        if let Keep::Newest(gone) = keep {
            if last == Some(fact.key) || gone.holds(fact.at) {
                continue;
            }
            last = Some(fact.key);
        }
        writer.push(fact)?;
        written += 1;
    }
    if written == 0 { Ok(None) } else { writer.finish(durable).map(Some) }
}

/// An error when told to stop.
pub(crate) fn go_on(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) { Err(Error::retry(STOPPED, "work on the key index was stopped")) } else { Ok(()) }
}
