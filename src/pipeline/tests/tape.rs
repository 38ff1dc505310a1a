//! The tape: the log that the simulated source reads, transactions of one row to many batches, of several tables whose
//! schemas change amid them. Knows nothing of who reads it.

use super::dice::Dice;
use std::sync::Arc;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{ColumnSchema, DataType, Mark, SchemaVersion, TableName, TableSchema};

/// Places from one transaction's commit to the next one's. As in a real log, a transaction's end lies beyond its commit
/// and before the next one's; the places from there on are the log's that holds nothing for us.
pub(super) const STRIDE: u64 = 1 << 20;

/// A row on the tape, and on a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The place after it.
    pub(super) mark: Mark,
    pub(super) table: usize,
    /// Version of its table: the number of its columns too.
    pub(super) version: u32,
    /// What its first column holds; each other one holds one more than the one before it.
    pub(super) value: i64,
}

/// The log.
pub(super) struct Tape {
    /// Transaction `n` (from 1) commits at `n * STRIDE`.
    pub(super) transactions: Vec<Vec<Row>>,
    /// By table.
    pub(super) rows: Vec<Vec<Row>>,
    /// Whether the tables are read before their log is; else the log has all that ever was.
    pub(super) has_snapshot: bool,
    /// By table, its versions from 1.
    pub(super) schemas: Vec<Vec<Arc<TableSchema>>>,
}

impl Tape {
    pub(super) fn new(dice: &Dice) -> Tape {
        let tables = 1 + dice.roll(4) as usize;
        let has_snapshot = dice.roll(2) == 0;
        let rows = vec![Vec::new(); tables];
        let mut tape = Tape { transactions: Vec::new(), rows, has_snapshot, schemas: Vec::new() };
        let (count, change) = (2 + dice.roll(24), dice.pick(&[0, 60, 12]));
        let mut versions = vec![1; tables];
        let mut value = 0;
        for number in 1..=count {
            let size = 1 + dice.pick(&[0, 0, 3, 3, 12, 70]);
            let size = 1 + dice.roll(size);
            let mut transaction = Vec::new();
            for minor in 1..=size {
                let table = dice.roll(tables as u64) as usize;
                if dice.strikes(change) {
                    versions[table] += 1;
                }
                value += 10;
                let mark = Mark { major: number * STRIDE, minor };
                let row = Row { mark, table, version: versions[table], value };
                transaction.push(row);
                tape.rows[table].push(row);
            }
            tape.transactions.push(transaction);
        }
        let of = |(table, last): (usize, u32)| (1..=last).map(|version| schema(table, version)).collect();
        tape.schemas = versions.into_iter().enumerate().map(of).collect();
        tape
    }

    /// The first place at which all of it is held.
    pub(super) fn end(&self) -> Mark {
        end_of(self.transactions.len() as u64)
    }

    /// How many rows of a table lie at or before a place.
    pub(super) fn until(&self, table: usize, place: Mark) -> usize {
        self.rows[table].partition_point(|row| row.mark <= place)
    }

    /// The row with this value.
    pub(super) fn row(&self, value: i64) -> Option<&Row> {
        let all = self.transactions.iter();
        let after = all.filter(|rows| rows.last().is_some_and(|row| row.value >= value));
        after.flatten().find(|row| row.value == value)
    }

    /// The number of a table.
    pub(super) fn table(&self, schema: &TableSchema) -> usize {
        schema.native_id as usize
    }
}

/// Where a transaction ends.
pub(super) fn end_of(number: u64) -> Mark {
    Mark { major: number * STRIDE + 1, minor: 0 }
}

/// The first transaction that is not held whole by who holds everything up to here.
pub(super) fn first_after(place: Mark) -> u64 {
    let number = place.major / STRIDE;
    if place.major.is_multiple_of(STRIDE) { number.max(1) } else { number + 1 }
}

/// Whether a place lies inside a transaction.
pub(super) fn is_inside(place: Mark) -> bool {
    place.major > 0 && place.major.is_multiple_of(STRIDE)
}

fn schema(table: usize, version: u32) -> Arc<TableSchema> {
    let column = |number: u32| ColumnSchema {
        name: format!("c{number}").into(),
        data_type: DataType::Int { bits: 64 },
        native_type: "bigint".into(),
        nullable: false,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    };
    Arc::new(TableSchema {
        name: TableName::new("public", format!("t{table}")),
        version: SchemaVersion(version),
        native_id: table as u64,
        columns: (0..version).map(column).collect(),
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}
