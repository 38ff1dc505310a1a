//! normalize: what is true of every batch before it is shipped. Keeps the schema history and counts
//! what came in, once per batch.

use crate::state::StateDirectory;
use crate::status::SourceBoard;
use crate::telemetry::{SourceMeter, TableMeter};
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::batch::NO_TABLE;
use tidewire_core::{Batch, Op, Result, TableName, TableSchema};

const OPS: [Op; 10] = [
    Op::Insert,
    Op::Update,
    Op::Delete,
    Op::Truncate,
    Op::Read,
    Op::SnapshotStart,
    Op::SnapshotEnd,
    Op::Message,
    Op::Schema,
    Op::Ddl,
];

/// Keeps the books of one source.
pub(crate) struct Normalizer {
    source: Arc<str>,
    state: Arc<StateDirectory>,
    board: Arc<SourceBoard>,
    meter: SourceMeter,
    /// Metrics by table; `None` when the operator dropped the label.
    tables: Option<HashMap<String, TableMeter>>,
    /// The shape of each table that was recorded last. Not its version alone: a source that is opened anew counts from 1.
    recorded: HashMap<TableName, Arc<TableSchema>>,
    counts: Vec<[u64; OPS.len()]>,
}

impl Normalizer {
    /// For one source.
    pub(crate) fn new(
        source: Arc<str>,
        state: Arc<StateDirectory>,
        board: Arc<SourceBoard>,
        meter: SourceMeter,
        per_table: bool,
    ) -> Normalizer {
        let tables = per_table.then(HashMap::new);
        Normalizer { source, state, board, meter, tables, recorded: HashMap::new(), counts: Vec::new() }
    }

    /// Records table versions and counts the batch's changes.
    pub(crate) fn normalize(&mut self, batch: &Batch) -> Result<()> {
        for schema in &batch.tables {
            self.record(schema, batch)?;
        }
        self.count(batch);
        Ok(())
    }

    fn record(&mut self, schema: &Arc<TableSchema>, batch: &Batch) -> Result<()> {
        let known = self.recorded.get(&schema.name);
        if known.is_some_and(|known| Arc::ptr_eq(known, schema)) {
            return Ok(());
        }
        if known.is_none_or(|known| known != schema) {
            self.state.record_schema(&self.source, schema, batch.position.as_ref())?;
        }
        self.recorded.insert(schema.name.clone(), Arc::clone(schema));
        Ok(())
    }

    fn count(&mut self, batch: &Batch) {
        self.counts.clear();
        self.counts.resize(batch.tables.len() + 1, [0; OPS.len()]);
        for change in &batch.changes {
            let row = if change.table == NO_TABLE { batch.tables.len() } else { change.table as usize };
            let op = OPS.iter().position(|op| *op == change.op).unwrap_or_default();
            if let Some(count) = self.counts.get_mut(row).and_then(|counts| counts.get_mut(op)) {
                *count += 1;
            }
        }
        let counts = &self.counts;
        self.board.update(|view| {
            if let Some(position) = &batch.position {
                view.position = Some(position.text.to_string());
            }
            for (schema, counts) in batch.tables.iter().zip(counts) {
                let table = view.tables.entry(schema.name.to_string()).or_default();
                if counts.iter().any(|count| *count > 0) && batch.position.is_some() {
                    table.position.clone_from(&view.position);
                }
                for (op, count) in OPS.iter().zip(counts).filter(|(_, count)| **count > 0) {
                    table.count(*op, *count);
                    if *op == Op::Read {
                        view.snapshot_rows += count;
                    }
                }
            }
        });
        if let Some(meters) = &mut self.tables {
            for (schema, counts) in batch.tables.iter().zip(counts) {
                let name = schema.name.to_string();
                let meter = meters.entry(name).or_insert_with_key(|name| self.meter.table(name));
                for (op, count) in OPS.iter().zip(counts).filter(|(_, count)| **count > 0) {
                    meter.read(*op, *count);
                }
            }
        }
        for (op, column) in OPS.iter().enumerate() {
            let total = counts.iter().filter_map(|counts| counts.get(op)).sum();
            self.meter.read(*column, total);
        }
        self.meter.read_bytes(batch.size_bytes() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Board;
    use tidewire_core::schema::{KeyKind, OldRow};
    use tidewire_core::{
        BatchBuilder, BatchLimits, ColumnSchema, DataType, Missing, Phase, SchemaVersion, SourceDescriptor,
    };

    /// A batch of a table with these columns, which its source counts as its first shape.
    fn batch(columns: &[&str]) -> Batch {
        let column = |name: &&str| ColumnSchema {
            name: (*name).into(),
            data_type: DataType::Int { bits: 64 },
            native_type: "bigint".into(),
            nullable: true,
            default: None,
            missing: Missing::Unknown,
            number: None,
        };
        let schema = TableSchema {
            name: TableName::new("public", "t"),
            version: SchemaVersion(1),
            native_id: 7,
            columns: columns.iter().map(column).collect(),
            key: vec![0],
            key_kind: KeyKind::Primary,
            old_row: OldRow::Key,
        };
        let source = SourceDescriptor {
            name: "s".into(),
            connector: "test",
            database: "d".into(),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: None,
        };
        let mut builder = BatchBuilder::new(Arc::new(source), Phase::Stream, BatchLimits::default());
        builder.table(&Arc::new(schema));
        builder.finish(None, true, 0)
    }

    #[test]
    fn a_shape_that_came_while_the_source_was_away_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDirectory::open(folder.path()).unwrap());
        let board = Arc::clone(Board::new(["s"].into_iter()).source("s").unwrap());
        let mut normalizer = Normalizer::new("s".into(), state, board, SourceMeter::new("s".into()), true);
        let recorded = || {
            let database = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
            let count = database.query_row("SELECT count(*) FROM schema_history", [], |row| row.get::<_, i64>(0));
            count.unwrap()
        };
        for (columns, expect) in [(&["id"][..], 1), (&["id"], 1), (&["id", "a"], 2), (&["id"], 2), (&["id", "b"], 3)] {
            normalizer.normalize(&batch(columns)).unwrap();
            assert_eq!(recorded(), expect, "{columns:?}");
        }
    }
}
