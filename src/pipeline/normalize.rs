//! normalize: what is true of every batch before it is shipped. Keeps the schema history and counts
//! what came in, once per batch.

use crate::state::StateDirectory;
use crate::status::SourceBoard;
use crate::telemetry::{SourceMeter, TableMeter};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tidewire_core::batch::NO_TABLE;
use tidewire_core::{Batch, Op, Result, TableSchema};

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
    /// Shapes recorded in this process: name, id and version.
    recorded: HashSet<(String, u64, u32)>,
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
        Normalizer { source, state, board, meter, tables, recorded: HashSet::new(), counts: Vec::new() }
    }

    /// Records table versions and counts the batch's changes.
    pub(crate) fn normalize(&mut self, batch: &Batch) -> Result<()> {
        for schema in &batch.tables {
            self.record(schema, batch)?;
        }
        self.count(batch);
        Ok(())
    }

    fn record(&mut self, schema: &TableSchema, batch: &Batch) -> Result<()> {
        let identity = (schema.name.to_string(), schema.native_id, schema.version.0);
        if self.recorded.contains(&identity) {
            return Ok(());
        }
        self.state.record_schema(&self.source, schema, batch.position.as_ref())?;
        self.recorded.insert(identity);
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
