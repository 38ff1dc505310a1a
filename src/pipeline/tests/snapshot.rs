//! The snapshot of the simulated source: the rows that tables have at a place of the tape, in batches of several tables by
//! turns. Knows nothing of the log after that place.

use super::fate::Hand;
use super::tape::{Row, Tape};
use std::sync::Arc;
use tidewire_core::batch::ChangeHead;
use tidewire_core::{Batch, BatchBuilder, BatchLimits, Cell, Mark, Op, Phase, SourceDescriptor, Transaction};

/// Tables that are being read.
pub(super) struct Snapshot {
    pub(super) source: Arc<SourceDescriptor>,
    pub(super) tape: Arc<Tape>,
    pub(super) hand: Hand,
    pub(super) floor: Mark,
    /// Each with the number of its rows that were handed out; `None` before its start.
    pub(super) left: Vec<(usize, Option<usize>)>,
}

impl Snapshot {
    /// A part of one of the tables, of so many rows at most. Not to be called when none is left.
    pub(super) fn read(&mut self, most: u64) -> Batch {
        let dice = self.hand.fate.dice.clone();
        let which = dice.roll(self.left.len() as u64) as usize;
        let (table, begun) = self.left[which];
        self.hand.fate.note("snapshot");
        let mut builder = BatchBuilder::new(Arc::clone(&self.source), Phase::Snapshot, BatchLimits::default());
        builder.transaction(Transaction {
            id: "snapshot".into(),
            commit: self.floor.major,
            commit_time_micros: 1,
            previous_commit: None,
            provenance: Vec::new(),
        });
        let first = self.tape.schemas[table][0].clone();
        let mark = |builder: &mut BatchBuilder, op| {
            let number = builder.table(&first);
            builder.push(ChangeHead { op, ordinal: 1, offset: 0, row: 0 }, number, None, None);
        };
        if begun.is_none() {
            mark(&mut builder, Op::SnapshotStart);
        }
        let (from, all) = (begun.unwrap_or_default(), self.tape.until(table, self.floor));
        let until = all.min(from + dice.roll(most + 1) as usize);
        for row in &self.tape.rows[table][from..until] {
            push(&mut builder, &self.tape, row, Op::Read);
        }
        self.left[which].1 = Some(until);
        if until == all && dice.roll(2) == 0 {
            mark(&mut builder, Op::SnapshotEnd);
            self.left.swap_remove(which);
        }
        builder.finish(None, false, 0)
    }
}

/// Adds a row of the tape.
pub(super) fn push(builder: &mut BatchBuilder, tape: &Tape, row: &Row, op: Op) {
    let table = builder.table(&tape.schemas[row.table][row.version as usize - 1]);
    let image = builder.image();
    for column in 0..i64::from(row.version) {
        builder.cell(Cell::int(row.value + column));
    }
    builder.push(ChangeHead { op, ordinal: row.mark.minor, offset: 0, row: 0 }, table, None, Some(image));
}
