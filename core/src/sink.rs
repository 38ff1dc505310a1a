//! The sink's side of the contract: validate, build, run. A running sink is owned by one thread of
//! its own, so its calls may block.

use crate::batch::{Batch, Change};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::progress::Progress;
use crate::schema::TableSchema;
use std::sync::Arc;
use std::time::Duration;

/// What a sink wants of its worker; read before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkCapabilities {
    /// Whether rows are applied by key, so that a table without one cannot be shipped.
    pub needs_key: bool,
    /// Commit at the latest after this time.
    pub commit_interval: Duration,
    /// Commit at the latest after this many changes.
    pub commit_changes: usize,
    /// Commit at the latest after this many bytes of batches.
    pub commit_bytes: usize,
    /// Commit as soon as nothing waits, without waiting for the interval.
    pub commit_when_idle: bool,
    /// Whether a commit may lie inside a source transaction that is larger than the limits above.
    pub can_split_transactions: bool,
}

/// The changes of a batch that a sink still needs.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All of them.
    All,
    /// Those at these indexes, ascending.
    Some(&'a [u32]),
}

impl<'a> Selection<'a> {
    /// The selected changes of a batch, in order.
    pub fn of<'b>(self, batch: &'b Batch) -> impl Iterator<Item = &'b Change>
    where
        'a: 'b,
    {
        let (all, some) = match self {
            Selection::All => (Some(batch.changes.iter()), None),
            Selection::Some(indexes) => (None, Some(indexes.iter().filter_map(|i| batch.changes.get(*i as usize)))),
        };
        all.into_iter().flatten().chain(some.into_iter().flatten())
    }
}

/// What deleted rows a sink is to forget for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Only those of this `schema.table`.
    pub table: Option<String>,
    /// Only those with this key, and proof that no file holds it: the key's column as text, or JSON with all of its columns.
    pub key: Option<String>,
    /// Whether what only serves older versions goes too, at once.
    pub now: bool,
}

/// A checked sink that is not connected yet.
pub trait SinkConnector: Send + Sync {
    /// What it wants of its worker.
    fn capabilities(&self) -> SinkCapabilities;

    /// Connects and says what is missing or odd, given the tables that sources would ship (empty when
    /// they could not be asked); changes nothing. Blocks.
    fn check(&self, tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>>;

    /// What it holds of a source, read without taking anything over, so that an instance that runs may be ahead of it already.
    /// `None` when it holds nothing. Blocks.
    fn held(&self, _source: &str) -> Result<Option<Progress>> {
        Ok(None)
    }

    /// Connects for one source, takes over from an earlier instance (which is fenced from here on), and
    /// reads what the sink holds of that source. Blocks.
    fn open(&self, source: &str) -> Result<(Box<dyn Sink>, Progress)>;

    /// Removes deleted rows of one source from storage, and `tell`s what was done, a line at a time. Returns whether all is
    /// as it was asked for. To be called while no sink of this name is open. Blocks.
    fn purge(&self, _source: &str, _request: &PurgeRequest, _tell: &mut dyn FnMut(String)) -> Result<bool> {
        Err(Error::operator("nothing_to_purge", "this kind of sink keeps no files with deleted rows")
            .with_remedy("name a Delta sink"))
    }
}

/// A running sink of one source.
///
/// Order: batches come in the source's order. Duplicates: none reach it, its worker drops what the progress
/// of `open` already holds; a sink that keeps tables at places of their own drops the rest itself.
/// After an error the sink is dropped and opened anew: what was written and not committed must then be
/// invisible to readers.
pub trait Sink: Send {
    /// Accepts changes; they need not be durable or visible.
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()>;

    /// Makes everything written durable and visible together with `progress`, in one atomic step as far
    /// as the sink has one, and returns only when that is certain. With nothing written it stores the progress.
    fn commit(&mut self, progress: &Progress) -> Result<()>;

    /// Asked after each commit: the time that commits are to be apart from here on, where that changes with what is written.
    fn commit_interval(&self) -> Option<Duration> {
        None
    }

    /// Called when nothing waits, after a commit and then now and again: house-keeping that must not delay a commit. Says
    /// in how long it wants to be asked again, where that matters: zero while something goes on beside the sink.
    fn maintain(&mut self) -> Result<Option<Duration>> {
        Ok(None)
    }
}
