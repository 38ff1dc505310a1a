//! Rewriting data files so that readers have few of them with few deleted rows, while changes go on. A thread copies the
//! live rows of some files; when it is done, the rows deleted meanwhile are deleted in the copies too, and one commit
//! puts the copies in the place of the originals. Changes never wait for it, and its work is never thrown away for
//! a change that came in between. Knows nothing of what a change means.

mod allowance;
mod lane;
mod pace;
mod plan;
mod work;

pub(crate) use allowance::Allowance;
pub(crate) use lane::{Lane, SMALL_BYTES};
pub(crate) use plan::{Candidate, Occasion, Plan, bytes_of, fill, next_due, plan, plan_partitioned, waiting_bytes};
pub(crate) use work::{Facts, Input, Work};

use crate::error::Result;
use crate::index::{Mark, PreparedRun};
use crate::job::Job;
use crate::log::{Commit, LiveFile, NewFile, Table};
use crate::metrics;
use crate::store::TableStore;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::time::Instant;
use tidewire_core::failpoint;
use work::Copied;

/// A rewriting under way.
pub(crate) struct Compaction {
    store: TableStore,
    inputs: Vec<Input>,
    /// The place of the copies' facts among those of the index.
    mark: Option<Mark>,
    /// `None` once its copies have been taken.
    copying: Option<Job<Copied>>,
    begun: Instant,
}

/// The name of a rewriting in the table's history.
const OPERATION: &str = "OPTIMIZE";

/// What a commit takes over.
#[derive(Default)]
pub(crate) struct Exchange {
    /// The copies.
    pub(crate) adds: Vec<NewFile>,
    /// The originals that are still part of the table.
    pub(crate) removes: Vec<String>,
    /// Rows of the copies that have been deleted meanwhile.
    pub(crate) deletes: BTreeMap<String, RoaringBitmap>,
    /// Ordinals of the originals, where they have one.
    pub(crate) gone: Vec<u32>,
    /// Ordinals of the copies, where they have one.
    pub(crate) come: Vec<(u32, NewFile)>,
    /// Facts of the copies' rows for the index.
    pub(crate) facts: Option<(Mark, PreparedRun)>,
}

/// What became of a rewriting that was to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// There was nothing to commit.
    Nothing,
    /// It is part of the table.
    Done(Rewritten),
    /// Other writers came first, and the copies may be of what is gone: they are removed.
    Overtaken,
}

/// What a rewriting has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// Files that are no longer part of the table.
    pub(crate) files: usize,
    /// Files in their place.
    pub(crate) copies: usize,
    /// Bytes of the copies.
    pub(crate) bytes: u64,
}

impl Exchange {
    /// Commits it under the application's id: rows move, and nothing of what the table says changes.
    pub(crate) fn show(&mut self, table: &mut Table, app_id: &str) -> Result<Shown> {
        if self.removes.is_empty() && self.adds.is_empty() {
            return Ok(Shown::Nothing);
        }
        let (files, copies) = (self.removes.len(), self.adds.len());
        let bytes = self.adds.iter().map(|file| file.size).sum::<u64>();
        let commit = Commit {
            operation: OPERATION,
            adds: std::mem::take(&mut self.adds),
            removes: std::mem::take(&mut self.removes),
            deletes: std::mem::take(&mut self.deletes),
            txn: (app_id.to_owned(), table.txn(app_id).unwrap_or(0)),
            only_moves: true,
            ..Commit::default()
        };
        if !table.offer(&commit)? {
            for copy in &commit.adds {
                table.store().delete_unnamed(&copy.path);
            }
            return Ok(Shown::Overtaken);
        }
        failpoint::step("delta_compaction_committed")?;
        ::metrics::counter!(metrics::COMPACTIONS).increment(1);
        ::metrics::counter!(metrics::COMPACTED_BYTES).increment(bytes);
        ::metrics::counter!(metrics::COMPACTED_FILES).increment(copies as u64);
        tracing::debug!(table = table.store().place(""), files, copies, bytes, "data files rewritten");
        Ok(Shown::Done(Rewritten { files, copies, bytes }))
    }
}

/// What a plan looks at in a file.
pub(crate) fn candidate(file: &LiveFile) -> Candidate {
    let vector = file.deletion_vector.as_ref();
    Candidate {
        size: file.size,
        rows: file.num_records,
        deleted: file.deleted_count(),
        vector_bytes: vector.map_or(0, |vector| u64::try_from(vector.size_in_bytes).unwrap_or(0)),
        deleted_since: file.modification_time,
    }
}

impl Compaction {
    /// Starts the work.
    pub(crate) fn start(work: Work, mark: Option<Mark>) -> Result<Compaction> {
        let (store, inputs) = (work.store.clone(), work.inputs.clone());
        let copying = Job::start("tidewire-delta-compact", move |stop| work.run(stop))?;
        Ok(Compaction { store, inputs, mark, copying: Some(copying), begun: Instant::now() })
    }

    /// Bytes of the files that are copied.
    pub(crate) fn bytes(&self) -> u64 {
        work::bytes_of(&self.inputs)
    }

    /// Whether a file that is copied is no part of the table any more.
    pub(crate) fn has_lost(&self, table: &Table) -> bool {
        self.inputs.iter().any(|input| table.file(&input.path).is_none())
    }

    /// Whether the copies are written.
    pub(crate) fn is_done(&self) -> bool {
        self.copying.as_ref().is_none_or(Job::is_finished)
    }

    /// The exchange of files for a commit; waits for the copies. Deletions that no commit has shown must not be open.
    pub(crate) fn finish(mut self, table: &mut Table) -> Result<Exchange> {
        ::metrics::histogram!(metrics::COMPACTION_SECONDS).record(self.begun.elapsed().as_secs_f64());
        ::metrics::counter!(metrics::COMPACTION_READ_FILES).increment(self.inputs.len() as u64);
        ::metrics::counter!(metrics::COMPACTION_READ_BYTES).increment(self.bytes());
        let copied = self.copying.take().map_or_else(|| Ok(Copied::default()), Job::join)?;
        let mut exchange = Exchange::default();
        for input in &self.inputs {
            exchange.gone.extend(input.ordinal);
            if table.file(&input.path).is_some() {
                exchange.removes.push(input.path.clone());
            }
        }
        for output in copied.outputs {
            let mut dead = RoaringBitmap::new();
            for (number, base) in &output.pieces {
                if let Some(input) = self.inputs.get(*number) {
                    input.deleted_since(table, *base, &mut dead)?;
                }
            }
            if dead.len() == output.file.num_records {
                self.store.delete_unnamed(&output.file.path);
                continue;
            }
            exchange.come.extend(output.ordinal.map(|at| (at, output.file.clone())));
            if !dead.is_empty() {
                exchange.deletes.insert(output.file.path.clone(), dead);
            }
            exchange.adds.push(output.file);
        }
        exchange.facts = self.mark.take().zip(copied.facts);
        Ok(exchange)
    }
}

impl Drop for Compaction {
    /// Given up: the copies go.
    fn drop(&mut self) {
        for output in self.copying.take().and_then(|copying| copying.give_up().ok()).unwrap_or_default().outputs {
            self.store.delete_unnamed(&output.file.path);
        }
    }
}
