//! One session of a snapshot: takes tables from the queue until none is left.

use super::rows::Rows;
use super::{Shared, SnapshotTable};
use crate::catalog::{self, quote_identifier, quoted_name};
use crate::connection::Connection;
use crate::model::ColumnDef;
use crate::shape;
use crate::stream::now_micros;
use std::sync::Arc;
use tidewire_core::batch::{BatchBuilder, ChangeHead, Provenance};
use tidewire_core::{Batch, Error, Op, Phase, Result, Transaction};
use tokio::sync::mpsc::Sender;

/// What snapshot rows name as their transaction.
const TRANSACTION: &str = "snapshot";
const ACT: &str = "read the table";
/// Texts of rows as they are stored: the server puts `?` for what it cannot convert, and does not say so (MY-67).
const AS_STORED: &str = "SET character_set_results = NULL";
/// Of the catalog, in UTF-8.
const CONVERTED: &str = "SET character_set_results = utf8mb4";

/// A worker.
pub(super) struct Worker {
    shared: Arc<Shared>,
    session: Connection,
    builder: BatchBuilder,
    /// Whether the session holds its tables locked and has no transaction.
    locked: bool,
    started_micros: i64,
    /// The reader holds the other end; once it is gone there is nothing left to do.
    batches: Sender<Result<Batch>>,
}

/// The reader does not want more.
struct Gone;

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, session: Connection, batches: Sender<Result<Batch>>) -> Worker {
        let builder = BatchBuilder::new(Arc::clone(&shared.descriptor), Phase::Snapshot, shared.limits);
        Worker { shared, session, builder, locked: false, started_micros: now_micros(), batches }
    }

    /// Works until the queue is empty.
    pub(super) async fn run(mut self) {
        while let Some(table) = self.shared.next_table() {
            if !self.one(&table).await {
                return;
            }
        }
        self.session.close().await;
    }

    /// Reads tables that the session holds locked, then lets go of them.
    pub(super) async fn run_locked(mut self, tables: Vec<SnapshotTable>) {
        self.locked = true;
        for table in &tables {
            if !self.one(table).await {
                return;
            }
        }
        self.session.close().await;
    }

    /// Reads a table; false when nothing more is wanted.
    async fn one(&mut self, table: &SnapshotTable) -> bool {
        match self.table(table).await {
            Ok(Ok(rows)) => {
                self.shared.metrics.snapshot_tables_left.decrement(1);
                tracing::info!(table = %table.schema.name, rows, "the table has been read");
                true
            }
            Ok(Err(Gone)) => false,
            Err(error) => {
                // Without a reader nobody wants to know.
                self.batches.send(Err(error.with_table(table.schema.name.clone()))).await.ok();
                false
            }
        }
    }

    /// Reads a table. What the reading locks of it (its definition, against DDL) goes with the savepoint, so that an ALTER
    /// waits for this table at most and not for all that follow.
    async fn table(&mut self, table: &SnapshotTable) -> Result<Result<u64, Gone>> {
        if self.locked {
            return self.rows(table).await;
        }
        self.session.query(ACT, "SAVEPOINT tidewire_table").await?;
        let read = self.rows(table).await?;
        if read.is_ok() {
            self.session.query(ACT, "ROLLBACK TO SAVEPOINT tidewire_table").await?;
        }
        Ok(read)
    }

    async fn rows(&mut self, table: &SnapshotTable) -> Result<Result<u64, Gone>> {
        let definition = &table.definition;
        let version = self.session.version().number;
        let is_shown = |column: &&ColumnDef| shape::is_shown(column, self.shared.flavour, version);
        let shown: Vec<&ColumnDef> = definition.columns.iter().filter(is_shown).collect();
        let columns: Vec<String> = shown.iter().map(|column| quote_identifier(&column.name)).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted_name(&definition.name));
        self.session.query(ACT, AS_STORED).await?;
        let statement = self.session.prepare(ACT, &sql).await.map_err(changed)?;
        let result = self.session.execute(ACT, &statement, &[]).await.map_err(changed)?;
        let zero_dates = self.shared.settings.zero_dates;
        let mut rows = Rows::new(&definition.name, &shown, &result, self.shared.flavour, zero_dates)?;
        self.open_transaction();
        self.mark(table, Op::SnapshotStart, 1);
        let (mut ordinal, mut counted) = (1, 1);
        let mut number = self.builder.table(&table.schema);
        loop {
            // What has arrived is taken without a turn through the runtime for each row.
            let ready = self.session.ready_row(ACT)?;
            let row = match ready {
                Some(row) => row,
                None => self.session.next_row(ACT).await?,
            };
            let Some(row) = row else { break };
            ordinal += 1;
            let image = rows.image(row, &table.schema, &mut self.builder)?;
            let head = ChangeHead { op: Op::Read, ordinal, offset: self.shared.file.1, row: 0 };
            self.builder.push(head, number, None, Some(image));
            if self.builder.is_full() {
                self.shared.metrics.snapshot_rows.increment(ordinal - counted);
                counted = ordinal;
                if self.send().await.is_err() {
                    return Ok(Err(Gone));
                }
                self.open_transaction();
                number = self.builder.table(&table.schema);
            }
        }
        self.session.close_statement(ACT, statement).await?;
        self.guard(table).await?;
        self.shared.metrics.snapshot_rows.increment(ordinal - counted);
        self.mark(table, Op::SnapshotEnd, ordinal + 1);
        Ok(self.send().await.map(|()| ordinal - 1))
    }

    /// The session has read the table and holds its definition still; it must be the one of the snapshot's place.
    async fn guard(&mut self, table: &SnapshotTable) -> Result<()> {
        self.session.query(ACT, CONVERTED).await?;
        let mut now = catalog::schemas(&mut self.session).await?;
        let found = catalog::define(&mut self.session, &mut now, &table.definition.name).await?;
        if found.is_some_and(|found| found.says_the_same(&table.definition)) {
            return Ok(());
        }
        let message = format!("table `{}` was altered while the snapshot began", table.schema.name);
        Err(Error::retry("snapshot_table_changed", message))
    }

    fn open_transaction(&mut self) {
        self.builder.transaction(Transaction {
            id: Arc::from(TRANSACTION),
            commit: self.shared.floor.mark.major,
            commit_time_micros: self.started_micros,
            previous_commit: None,
            provenance: vec![
                Provenance::Int(0),
                Provenance::Absent,
                Provenance::Text(Arc::clone(&self.shared.file.0)),
                Provenance::Absent,
            ],
        });
    }

    fn mark(&mut self, table: &SnapshotTable, op: Op, ordinal: u64) {
        let number = self.builder.table(&table.schema);
        let head = ChangeHead { op, ordinal, offset: self.shared.file.1, row: 0 };
        self.builder.push(head, number, None, None);
    }

    async fn send(&mut self) -> Result<(), Gone> {
        self.builder.drop_empty_transaction();
        let batch = self.builder.finish(None, false, now_micros());
        self.batches.send(Ok(batch)).await.map_err(|_| Gone)
    }
}

/// A table that cannot be read any more as it was (error 1412), or has gone, or lost a column, is a reason to begin anew.
fn changed(error: Error) -> Error {
    let what = match error.code() {
        "table_missing" => "a table has just gone",
        "column_missing" => "a column has just gone",
        _ => return error,
    };
    Error::retry("snapshot_table_changed", what).with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::ErrorKind;

    #[test]
    fn what_goes_while_it_is_read_is_read_anew() {
        for (code, kind) in [
            ("table_missing", ErrorKind::Retry),
            ("column_missing", ErrorKind::Retry),
            ("permission_denied", ErrorKind::Operator),
        ] {
            assert_eq!(changed(Error::operator(code, "x").with_remedy("y")).kind(), kind, "{code}");
        }
    }
}
