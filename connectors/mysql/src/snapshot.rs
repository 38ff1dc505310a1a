//! Reads existing rows: several tables at a time, in sessions that all see the same state, so that together with the
//! log from that place on they make up every change exactly once (MY-15).
//!
//! Rows come by the binary protocol: it has every value as the log has it, where text would round floats.
//!
//! What would make a snapshot lie is guarded: a table that was altered, emptied or swapped between the place and its
//! reading fails to be read (error 1412), or its definition is found to be another; either way the snapshot begins anew.

mod lock;
mod rows;
mod worker;

pub(crate) use lock::{Consistent, LockPlan, PlaceKind, consistent, domains, gtid_set, log_end, place_now};

use crate::config::Settings;
use crate::connection::Connection;
use crate::metrics::SourceMetrics;
use crate::model::{Flavour, TableDef};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::{Batch, BatchLimits, Error, Position, Result, SourceDescriptor, TableSchema};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use worker::Worker;

/// A table to read.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotTable {
    /// Its definition at the snapshot's place.
    pub(crate) definition: Arc<TableDef>,
    /// Its shape.
    pub(crate) schema: Arc<TableSchema>,
}

/// What a snapshot reads.
pub(crate) struct SnapshotPlan {
    /// Settings of the source.
    pub(crate) settings: Arc<Settings>,
    /// Which server.
    pub(crate) flavour: Flavour,
    /// Descriptor of the run.
    pub(crate) descriptor: Arc<SourceDescriptor>,
    /// Sessions that see the same state.
    pub(crate) sessions: Vec<Connection>,
    /// Sessions whose locks last as long as the reading.
    pub(crate) guards: Vec<Connection>,
    /// A session that holds the tables locked which no state can be had of, and those tables.
    pub(crate) locked: Option<(Connection, Vec<SnapshotTable>)>,
    /// The place in the log.
    pub(crate) floor: Position,
    /// The same as file and offset.
    pub(crate) file: (Arc<str>, u64),
    /// Tables, the largest first.
    pub(crate) tables: Vec<SnapshotTable>,
    /// When a batch is full.
    pub(crate) limits: BatchLimits,
    /// Handles.
    pub(crate) metrics: SourceMetrics,
}

/// A snapshot that is being read.
pub(crate) struct Snapshot {
    /// Fed by the workers; closed when the last of them is done.
    batches: mpsc::Receiver<Result<Batch>>,
    /// The workers; they end with the snapshot.
    workers: JoinSet<()>,
    /// Their locks go with the snapshot.
    _guards: Vec<Connection>,
}

/// What the workers share.
pub(crate) struct Shared {
    settings: Arc<Settings>,
    flavour: Flavour,
    descriptor: Arc<SourceDescriptor>,
    floor: Position,
    file: (Arc<str>, u64),
    limits: BatchLimits,
    metrics: SourceMetrics,
    queue: Mutex<VecDeque<SnapshotTable>>,
}

impl Shared {
    fn next_table(&self) -> Option<SnapshotTable> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
}

impl Snapshot {
    /// Puts the sessions to work.
    pub(crate) fn start(plan: SnapshotPlan) -> Snapshot {
        let locked_count = plan.locked.as_ref().map_or(0, |(_, tables)| tables.len());
        plan.metrics.snapshot_tables_left.set((plan.tables.len() + locked_count) as f64);
        let shared = Arc::new(Shared {
            settings: plan.settings,
            flavour: plan.flavour,
            descriptor: plan.descriptor,
            floor: plan.floor,
            file: plan.file,
            limits: plan.limits,
            metrics: plan.metrics,
            queue: Mutex::new(VecDeque::from(plan.tables)),
        });
        // One more than workers: none waits for the reader while another batch of its own is on the way.
        let (sender, batches) = mpsc::channel(plan.sessions.len() + 2);
        let mut workers = JoinSet::new();
        if let Some((session, tables)) = plan.locked {
            workers.spawn(Worker::new(Arc::clone(&shared), session, sender.clone()).run_locked(tables));
        }
        for session in plan.sessions {
            workers.spawn(Worker::new(Arc::clone(&shared), session, sender.clone()).run());
        }
        Snapshot { batches, workers, _guards: plan.guards }
    }

    /// The next batch, or `None` when every table has been read. Dropping the future loses nothing.
    pub(crate) async fn next_batch(&mut self) -> Option<Result<Batch>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        // Only workers that came to their end have read everything.
        while let Some(ended) = self.workers.join_next().await {
            if let Err(cause) = ended {
                return Some(Err(Error::bug("task_failed", "read the tables").with_cause(cause)));
            }
        }
        None
    }
}
