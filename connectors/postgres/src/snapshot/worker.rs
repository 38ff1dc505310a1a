//! One session of a snapshot: takes tables from the queue until none is left.

use super::Shared;
use super::table::{SnapshotTable, shapes};
use crate::assemble::PROVENANCE;
use crate::catalog::describe_table;
use crate::connection::{Connection, Take};
use crate::control::Control;
use crate::copy::{CopyFormat, SnapshotRows};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidewire_core::batch::{BatchBuilder, ChangeHead, Provenance};
use tidewire_core::source::ProvenanceOrigin;
use tidewire_core::{Batch, Error, Op, Phase, Result, Transaction};
use tokio::sync::mpsc::Sender;

/// What snapshot rows name as their transaction.
const TRANSACTION: &str = "snapshot";

/// A worker.
pub(super) struct Worker {
    shared: Arc<Shared>,
    session: Connection,
    builder: BatchBuilder,
    started_micros: i64,
    /// The reader holds the other end; once it is gone there is nothing left to do.
    batches: Sender<Result<Batch>>,
}

/// The reader does not want more.
struct Gone;

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, session: Connection, batches: Sender<Result<Batch>>) -> Worker {
        let builder = BatchBuilder::new(Arc::clone(&shared.descriptor), Phase::Snapshot, shared.limits);
        Worker { shared, session, builder, started_micros: now_micros(), batches }
    }

    /// Works until the queue is empty; asks the catalog over `control`, or over a session that it opens for itself.
    pub(super) async fn run(mut self, control: Option<Control>) {
        let opened = match control {
            Some(control) => Ok(control),
            None => Control::connect_to(&self.shared.settings, &self.shared.host).await,
        };
        let control = match opened {
            Ok(control) => control,
            Err(error) => return self.report(error).await,
        };
        while let Some(table) = self.shared.next_table() {
            match self.table(&control, &table).await {
                Ok(Ok(rows)) => {
                    self.shared.metrics.snapshot_tables_left.decrement(1);
                    let format = CopyFormat::of(&table.described).name();
                    tracing::info!(table = %table.published.name, rows, format, "the table has been read");
                }
                Ok(Err(Gone)) => return,
                Err(error) => return self.report(error.with_table(table.published.name.clone())).await,
            }
        }
        self.session.close().await;
    }

    async fn report(&self, error: Error) {
        // Without a reader nobody wants to know.
        self.batches.send(Err(error)).await.ok();
    }

    async fn table(&mut self, control: &Control, table: &SnapshotTable) -> Result<Result<u64, Gone>> {
        self.guard(control, table).await?;
        let format = CopyFormat::of(&table.described);
        self.session.copy_out("read the table", &table.copy_statement(format)).await?;
        self.open_transaction();
        self.mark(table, Op::SnapshotStart, 1);
        let mut rows = SnapshotRows::new(Arc::clone(&table.described), format, self.shared.floor.0, 2);
        let mut counted = rows.next_ordinal();
        loop {
            let builder = &mut self.builder;
            let take = |line: &[u8]| {
                rows.push_copy_data(line, builder)?;
                Ok(if builder.is_full() { Take::Pause } else { Take::More })
            };
            let more = self.session.copy_data("read the table", take).await?;
            if self.builder.is_full() {
                self.shared.metrics.snapshot_rows.increment(rows.next_ordinal() - counted);
                counted = rows.next_ordinal();
                if self.send().await.is_err() {
                    return Ok(Err(Gone));
                }
                self.open_transaction();
            }
            if !more {
                break;
            }
        }
        rows.finish()?;
        self.shared.metrics.snapshot_rows.increment(rows.next_ordinal() - counted);
        self.mark(table, Op::SnapshotEnd, rows.next_ordinal());
        Ok(self.send().await.map(|()| rows.next_ordinal() - 2))
    }

    /// Locks the table and makes sure that it is still the one of the snapshot.
    async fn guard(&mut self, control: &Control, table: &SnapshotTable) -> Result<()> {
        self.session.query("lock the table", &table.lock_statement()).await?;
        let publication = &self.shared.settings.publication;
        let oid = table.published.oid;
        let shape = shapes(control, publication, &[oid]).await?.remove(&oid);
        let described = describe_table(control.client(), Some(publication), oid).await?;
        if shape.as_ref() == Some(&table.shape) && described.schema == table.described.schema {
            return Ok(());
        }
        let message = format!("table `{}` was altered or emptied while the snapshot began", table.published.name);
        Err(Error::retry("snapshot_table_changed", message))
    }

    fn open_transaction(&mut self) {
        let absent = PROVENANCE.iter().filter(|field| matches!(field.origin, ProvenanceOrigin::Transaction(_)));
        self.builder.transaction(Transaction {
            id: Arc::from(TRANSACTION),
            commit: self.shared.floor.0,
            commit_time_micros: self.started_micros,
            previous_commit: None,
            provenance: absent.map(|_| Provenance::Absent).collect(),
        });
    }

    fn mark(&mut self, table: &SnapshotTable, op: Op, ordinal: u64) {
        let number = self.builder.table(&table.described.schema);
        let head = ChangeHead { op, ordinal, offset: self.shared.floor.0, row: 0 };
        self.builder.push(head, number, None, None);
    }

    async fn send(&mut self) -> Result<(), Gone> {
        self.builder.drop_empty_transaction();
        let batch = self.builder.finish(None, false, now_micros());
        self.batches.send(Ok(batch)).await.map_err(|_| Gone)
    }
}

/// Microseconds since 1970; 0 when the clock stands before that.
fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
