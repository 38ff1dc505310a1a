//! Prepares a run from facts in any order, away from the index and in bounded memory: sorted pieces, then a merge of
//! them. Knows nothing of the other runs.

use crate::encode::key::KeyId;
use crate::index::RowLocation;
use crate::index::folder::Folder;
use crate::index::merge::{Keep, merge};
use crate::index::mix::Order;
use crate::index::run::{Fact, Run, RunWriter};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tidewire_core::Result;

/// Pieces that are merged at once; each takes 128 KiB and two file descriptors.
const PIECES_MAX: usize = 64;

/// Takes facts. It keeps all of a key's facts, so that `prove_unique` can tell.
#[derive(Debug)]
pub(crate) struct RunBuilder {
    folder: Arc<Folder>,
    order: Order,
    facts: Vec<Fact>,
    facts_max: usize,
    pieces: Vec<Arc<Run>>,
}

/// A run on disk that no manifest names yet; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct PreparedRun(pub(super) Option<Run>);

impl RunBuilder {
    pub(super) fn new(folder: Arc<Folder>, order: Order, facts_max: usize) -> RunBuilder {
        RunBuilder { folder, order, facts: Vec::new(), facts_max, pieces: Vec::new() }
    }

    /// Adds a fact. Now and then this writes a piece.
    pub(crate) fn push(&mut self, key: KeyId, at: RowLocation) -> Result<()> {
        self.facts.push(Fact { key: self.order.mixed(key), at });
        if self.facts.len() < self.facts_max {
            return Ok(());
        }
        let piece = self.write(false)?;
        self.pieces.push(Arc::new(piece));
        if self.pieces.len() == PIECES_MAX {
            self.pieces = self.merge(false)?.map(Arc::new).into_iter().collect();
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Result<PreparedRun> {
        match (self.facts.is_empty(), self.pieces.is_empty()) {
            (true, true) => return Ok(PreparedRun(None)),
            (false, true) => return self.write(true).map(|run| PreparedRun(Some(run))),
            (true, false) => {}
            (false, false) => {
                let piece = self.write(false)?;
                self.pieces.push(Arc::new(piece));
            }
        }
        self.facts = Vec::new();
        self.merge(true).map(PreparedRun)
    }

    fn write(&mut self, durable: bool) -> Result<Run> {
        self.facts.sort_unstable_by_key(|fact| fact.key);
        let mut writer = RunWriter::new(self.folder.create()?, &self.order, self.facts.len() as u64)?;
        for fact in self.facts.drain(..) {
            writer.push(fact)?;
        }
        writer.finish(durable)
    }

    fn merge(&self, durable: bool) -> Result<Option<Run>> {
        merge(&self.pieces, &Keep::All, (&self.folder, &self.order), durable, &AtomicBool::new(false))
    }
}
