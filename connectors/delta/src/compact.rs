//! Rewriting data files so that readers have few of them with few deleted rows, while changes go on. A thread copies the
//! live rows of some files; when it is done, the rows deleted meanwhile are deleted in the copies too, and one commit
//! puts the copies in the place of the originals. Changes never wait for it, and its work is never thrown away for
//! a change that came in between. Knows nothing of what a change means.

mod plan;
mod work;

pub(crate) use plan::{Candidate, plan};
pub(crate) use work::{Facts, Input, Job};

use crate::ambient;
use crate::error::Result;
use crate::index::{Mark, PreparedRun};
use crate::log::{NewFile, Table};
use crate::store::TableStore;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tidewire_core::Error;
use work::Copied;

/// A rewriting under way.
pub(crate) struct Compaction {
    store: TableStore,
    inputs: Vec<Input>,
    /// The place of the copies' facts among those of the index.
    mark: Option<Mark>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Copied>>>,
}

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
    /// Ordinals of the copies, where they have one, with path and size.
    pub(crate) come: Vec<(u32, String, u64)>,
    /// Facts of the copies' rows for the index.
    pub(crate) facts: Option<(Mark, PreparedRun)>,
}

impl Compaction {
    /// Starts the work.
    pub(crate) fn start(job: Job, mark: Option<Mark>) -> Result<Compaction> {
        let stop = Arc::clone(&job.stop);
        let (store, inputs) = (job.store.clone(), job.inputs.clone());
        let thread = std::thread::Builder::new().name("tidewire-delta-compact".to_owned());
        let surroundings = ambient::branch();
        let run = move || {
            surroundings.enter();
            job.run()
        };
        let thread = thread.spawn(run).map_err(|cause| {
            Error::retry("delta_compaction", "start a thread that rewrites data files").with_cause(cause)
        })?;
        Ok(Compaction { store, inputs, mark, stop, thread: Some(thread) })
    }

    /// Whether the copies are written.
    pub(crate) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The exchange of files for a commit; waits for the copies. Deletions that no commit has shown must not be open.
    pub(crate) fn finish(mut self, table: &mut Table) -> Result<Exchange> {
        let copied = self.join().unwrap_or_else(|| Ok(Copied::default()))?;
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
                remove(&self.store, &output.file.path);
                continue;
            }
            exchange.come.extend(output.ordinal.map(|at| (at, output.file.path.clone(), output.file.size)));
            if !dead.is_empty() {
                exchange.deletes.insert(output.file.path.clone(), dead);
            }
            exchange.adds.push(output.file);
        }
        exchange.facts = self.mark.take().zip(copied.facts);
        Ok(exchange)
    }

    fn join(&mut self) -> Option<Result<Copied>> {
        let died = |_| Err(Error::bug("delta_compaction", "the thread that rewrites data files died"));
        self.thread.take().map(|thread| thread.join().unwrap_or_else(died))
    }
}

impl Drop for Compaction {
    /// Given up: the copies go.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(copied)) = self.join() {
            for output in copied.outputs {
                remove(&self.store, &output.file.path);
            }
        }
    }
}

fn remove(store: &TableStore, path: &str) {
    match store.delete(path) {
        Ok(()) => store.intents().into_iter().for_each(|intents| intents.strike([path])),
        Err(error) => {
            tracing::debug!(error = %error.chain(), "a copy that no commit names could not be removed");
        }
    }
}
