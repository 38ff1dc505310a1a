//! Reads existing rows: several tables at a time, all under one exported snapshot, so that together with the log from
//! the snapshot's place on they make up every change exactly once (PG-15).
//!
//! What would make a snapshot lie is guarded: a table that was rewritten or emptied after the snapshot was taken looks
//! empty to it (`ALTER TABLE` and `TRUNCATE` are not MVCC-safe), so each table is locked against that and its file is
//! compared with the one it had before; row-level security raises an error instead of hiding rows (PG-19); a row
//! filter of the publication applies here as it does in the log.

mod table;
mod worker;

pub(crate) use table::{SnapshotTable, shapes};

use crate::config::{Host, Settings};
use crate::connection::{Connection, SessionKind};
use crate::control::Control;
use crate::metrics::SourceMetrics;
use crate::position::Lsn;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::{Batch, BatchLimits, Error, Result, SourceDescriptor};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use worker::Worker;

/// What a snapshot reads.
pub(crate) struct SnapshotPlan {
    /// Settings of the source.
    pub(crate) settings: Arc<Settings>,
    /// The server.
    pub(crate) host: Host,
    /// A session for the first worker's questions.
    pub(crate) control: Control,
    /// Descriptor of the run.
    pub(crate) descriptor: Arc<SourceDescriptor>,
    /// Name of the exported snapshot.
    pub(crate) name: String,
    /// Its place in the log.
    pub(crate) floor: Lsn,
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
    _workers: JoinSet<()>,
}

/// What the workers share.
pub(crate) struct Shared {
    settings: Arc<Settings>,
    host: Host,
    descriptor: Arc<SourceDescriptor>,
    floor: Lsn,
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
    /// Opens the sessions and imports the snapshot in each; when this returns, the session that exports it may go.
    pub(crate) async fn start(plan: SnapshotPlan) -> Result<Snapshot> {
        let SnapshotPlan { settings, host, control, descriptor, name, floor, tables, limits, metrics } = plan;
        let count = settings.snapshot_parallelism.min(tables.len());
        metrics.snapshot_tables_left.set(tables.len() as f64);
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            sessions.push(import(&settings, &host, &name).await?);
        }
        let queue = Mutex::new(VecDeque::from(tables));
        let shared = Arc::new(Shared { settings, host, descriptor, floor, limits, metrics, queue });
        // One more than workers: none waits for the reader while another batch of its own is on the way.
        let (sender, batches) = mpsc::channel(count + 1);
        let mut workers = JoinSet::new();
        let mut control = Some(control);
        for session in sessions {
            workers.spawn(Worker::new(Arc::clone(&shared), session, sender.clone()).run(control.take()));
        }
        Ok(Snapshot { batches, _workers: workers })
    }

    /// The next batch, or `None` when every table has been read. Dropping the future loses nothing.
    pub(crate) async fn next_batch(&mut self) -> Option<Result<Batch>> {
        self.batches.recv().await
    }
}

async fn import(settings: &Settings, host: &Host, name: &str) -> Result<Connection> {
    let mut session = Connection::open(settings, host, SessionKind::Query).await?;
    let act = "import the snapshot";
    session.query(act, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // The server names it with hexadecimal digits and dashes; anything else is not passed on.
    if !name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Err(Error::bug("snapshot_name", "the exported snapshot has an unexpected name"));
    }
    session.query(act, &format!("SET TRANSACTION SNAPSHOT '{name}'")).await.map_err(|cause| {
        // Whatever the reason, it is gone for good and another one can be had (PG-15).
        Error::retry("snapshot_gone", act).with_cause(cause)
    })?;
    Ok(session)
}
