//! Batches as a source builds them: of a log's transactions, and of a snapshot's rows.

use super::chance::Chance;
use super::datum::Row;
use super::source::{Change, Event, Old, Rows, Transaction};
use std::collections::BTreeSet;
use std::sync::Arc;
use tidewire_core::batch::{Before, ChangeHead, ImageStart};
use tidewire_core::{Batch, BatchBuilder, BatchLimits, Cell, Mark, Op, Phase, Position, SourceDescriptor, TableSchema};

pub(crate) fn head(op: Op, ordinal: u64) -> ChangeHead {
    ChangeHead { op, ordinal, offset: 0, row: 0 }
}

pub(crate) fn transaction(commit: u64) -> tidewire_core::Transaction {
    tidewire_core::Transaction {
        id: commit.to_string().into(),
        commit,
        commit_time_micros: 1_700_000_000_000_000,
        previous_commit: None,
        provenance: Vec::new(),
    }
}

pub(crate) fn descriptor(floor: Option<Position>) -> SourceDescriptor {
    SourceDescriptor {
        name: "shop".into(),
        connector: "postgresql",
        database: "shop".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: floor,
    }
}

fn builder(source: &Arc<SourceDescriptor>, phase: Phase) -> BatchBuilder {
    BatchBuilder::new(Arc::clone(source), phase, BatchLimits::default())
}

/// The log goes on to a place without a change.
pub(super) fn idle(place: Position) -> Batch {
    builder(&Arc::new(descriptor(None)), Phase::Stream).finish(Some(place), true, 0)
}

/// The transactions as batches: some hold several, some end inside of one.
pub(super) fn stream(chance: &mut Chance, source: &Arc<SourceDescriptor>, log: &[Transaction]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut b = builder(source, Phase::Stream);
    for (at, one) in log.iter().enumerate() {
        b.transaction(transaction(one.commit));
        for (ordinal, event) in (1..).zip(&one.events) {
            push(&mut b, ordinal, event);
            if one.events.len() > 20 && chance.percent(2) {
                let inside = Mark { major: one.commit, minor: ordinal };
                let inside = Position::new(inside, format!("at/{}/{ordinal}", one.commit));
                batches.push(b.finish(Some(inside), false, 0));
                b.transaction(transaction(one.commit));
            }
        }
        if at + 1 == log.len() || chance.percent(60) {
            batches.push(b.finish(Some(one.end()), true, 0));
        }
    }
    batches
}

fn push(b: &mut BatchBuilder, ordinal: u64, event: &Event) {
    let schema = &event.schema;
    let table = b.table(schema);
    let before_of = |b: &mut BatchBuilder, row: &Row, old: Old| match old {
        Old::Nothing => None,
        Old::Key => Some((Before::Key, image(b, schema, row, |at| !schema.key.contains(&at)))),
        Old::Full => Some((Before::Full, image(b, schema, row, |_| false))),
    };
    let (op, before, after) = match &event.change {
        Change::Insert(row) => (Op::Insert, None, Some(image(b, schema, row, |_| false))),
        Change::Update { before, old, row, unknown } => {
            let before = before_of(b, before, *old);
            let is_unknown = |at: usize| unknown.contains(&schema.columns[at].name);
            (Op::Update, before, Some(image(b, schema, row, is_unknown)))
        }
        Change::Delete { before, old } => (Op::Delete, before_of(b, before, *old), None),
        Change::Truncate => (Op::Truncate, None, None),
        Change::AddColumn(..) | Change::DropColumn(_) | Change::RenameColumn(..) | Change::WidenColumn => {
            (Op::Schema, None, None)
        }
    };
    b.push(head(op, ordinal), table, before, after);
}

fn image(b: &mut BatchBuilder, schema: &TableSchema, row: &Row, unknown: impl Fn(usize) -> bool) -> ImageStart {
    let start = b.image();
    for (at, column) in schema.columns.iter().enumerate() {
        let cell = match row.get(&column.name) {
            _ if unknown(at) => Cell::UNKNOWN,
            Some(value) => value.cell(&column.data_type, b),
            None => Cell::NULL,
        };
        b.cell(cell);
    }
    start
}

/// A table's snapshot in batches; it may begin a second time before it ends.
pub(super) fn snapshot(
    chance: &mut Chance,
    source: &Arc<SourceDescriptor>,
    schema: &Arc<TableSchema>,
    rows: &Rows,
) -> Vec<Batch> {
    let floor = source.snapshot_floor.as_ref().map_or(0, |floor| floor.mark.major);
    let mut batches = Vec::new();
    let again = chance.percent(15);
    for is_last in BTreeSet::from([!again, true]) {
        let mut b = builder(source, Phase::Snapshot);
        b.transaction(transaction(floor));
        let table = b.table(schema);
        b.push(head(Op::SnapshotStart, 0), table, None, None);
        for row in rows.values() {
            if chance.percent(4) {
                batches.push(b.finish(None, true, 0));
                b.transaction(transaction(floor));
                b.table(schema);
            }
            let image = image(&mut b, schema, row, |_| false);
            b.push(head(Op::Read, 0), table, None, Some(image));
        }
        if is_last {
            b.push(head(Op::SnapshotEnd, 0), table, None, None);
        }
        batches.push(b.finish(None, true, 0));
    }
    batches
}
