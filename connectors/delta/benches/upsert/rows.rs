//! The rows: their columns and values, each told by the row's id and the round that wrote it; as cells of a batch, as
//! lines of CSV, and as sums. Knows nothing of a sink.

use crate::rounds::{Kind, mix};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::sync::Arc;
use tidewire_core::batch::{Before, ChangeHead, Phase};
use tidewire_core::calendar::Timestamp;
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{
    BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Mark, Op, Position, SchemaVersion, SourceDescriptor,
    TableName, TableSchema, Transaction,
};

/// 2023-11-14 22:13:20 UTC, in microseconds since 1970.
const SOME_TIME: i64 = 1_700_000_000_000_000;
/// Letters of a note: six bits each, so that it cannot be compressed much.
const LETTERS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NOTE_CHARACTERS: u32 = 20;

/// What the key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyShape {
    /// `id bigint`.
    Int,
    /// `id uuid`, text in the table.
    Uuid,
    /// `region text, code text`.
    Text,
}

/// The values of a row beside its key.
struct Values {
    number: i64,
    price: f64,
    note: Vec<u8>,
    at: i64,
    quantity: i64,
}

impl Values {
    fn of(id: u64, round: u64) -> Values {
        let dice = mix(mix(id) ^ round);
        let letters = (0..NOTE_CHARACTERS).map(|at| mix(dice ^ u64::from(at / 10)) >> (at % 10 * 6));
        Values {
            number: number(id),
            // Two decimals.
            price: (dice % 10_000_000) as f64 / 100.0,
            note: letters.filter_map(|bits| LETTERS.get((bits % 64) as usize).copied()).collect(),
            at: SOME_TIME + (id * 1_000 + round) as i64,
            quantity: (dice >> 44) as i64,
        }
    }
}

/// The first eight digits of the row's UUID, for every kind of key.
fn number(id: u64) -> i64 {
    (mix(id) >> 32) as i64
}

fn uuid(id: u64) -> String {
    let bits = (u128::from(mix(id)) << 64) | u128::from(mix(!id));
    uuid_text(bits)
}

fn uuid_text(bits: u128) -> String {
    let mut text = format!("{bits:032x}");
    for dash in [20, 16, 12, 8] {
        text.insert(dash, '-');
    }
    text
}

fn region(id: u64) -> String {
    format!("region-{}", id % 7)
}

/// What the table holds, as sums that any reader can tell. All exact.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sums {
    count: u64,
    /// Of what the keys say: ids, or the first eight digits of UUIDs.
    key: i64,
    number: i64,
    quantity: i64,
}

impl Sums {
    pub(crate) fn add(&mut self, key: KeyShape, id: u64, round: u64) {
        self.count += 1;
        self.key += if key == KeyShape::Uuid { number(id) } else { id as i64 };
        self.number += number(id);
        self.quantity += Values::of(id, round).quantity;
    }
}

/// The table, and the source that it comes from.
pub(crate) struct Shape {
    key: KeyShape,
    pub(crate) source: Arc<SourceDescriptor>,
    schema: Arc<TableSchema>,
}

impl Shape {
    /// `floor` is the snapshot's place in the log.
    pub(crate) fn new(key: KeyShape, floor: &Position) -> Shape {
        let source = SourceDescriptor {
            name: "bench".into(),
            connector: "postgresql",
            database: "bench".into(),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: Some(floor.clone()),
        };
        let key_columns = match key {
            KeyShape::Int => vec![column("id", DataType::Int { bits: 64 })],
            KeyShape::Uuid => vec![column("id", DataType::Uuid)],
            KeyShape::Text => vec![column("region", DataType::Text), column("code", DataType::Text)],
        };
        let key_length = key_columns.len();
        let values = [
            column("number", DataType::Int { bits: 64 }),
            column("price", DataType::Float64),
            column("note", DataType::Text),
            column("at", DataType::TimestampTz { precision: 6 }),
            column("quantity", DataType::Int { bits: 32 }),
        ];
        let schema = TableSchema {
            name: TableName::new("public", "rows"),
            version: SchemaVersion(1),
            native_id: 1,
            columns: key_columns.into_iter().chain(values).collect(),
            key: (0..key_length).collect(),
            key_kind: KeyKind::Primary,
            old_row: OldRow::Key,
        };
        Shape { key, source: Arc::new(source), schema: Arc::new(schema) }
    }

    /// A builder whose changes belong to the transaction that ends at `end`.
    pub(crate) fn builder(&self, phase: Phase, end: Mark) -> BatchBuilder {
        let limits = BatchLimits { changes_max: usize::MAX, bytes_max: usize::MAX };
        let mut builder = BatchBuilder::new(Arc::clone(&self.source), phase, limits);
        builder.transaction(Transaction {
            id: end.major.to_string().into(),
            commit: end.major.saturating_sub(1),
            commit_time_micros: SOME_TIME,
            previous_commit: None,
            provenance: Vec::new(),
        });
        builder
    }

    /// Adds a change of no row.
    pub(crate) fn push_sign(&self, b: &mut BatchBuilder, op: Op) {
        let table = b.table(&self.schema);
        b.push(ChangeHead { op, ordinal: 0, offset: 0, row: 0 }, table, None, None);
    }

    /// Adds a row that the snapshot reads.
    pub(crate) fn push_read(&self, b: &mut BatchBuilder, id: u64) {
        let table = b.table(&self.schema);
        let image = b.image();
        self.key_cells(b, id);
        value_cells(b, &Values::of(id, 0));
        b.push(ChangeHead { op: Op::Read, ordinal: 0, offset: 0, row: 0 }, table, None, Some(image));
    }

    /// Adds a change of the log.
    pub(crate) fn push(&self, b: &mut BatchBuilder, kind: Kind, id: u64, round: u64) {
        let table = b.table(&self.schema);
        let op = match kind {
            Kind::Insert => Op::Insert,
            Kind::Update => Op::Update,
            Kind::Delete => Op::Delete,
        };
        let head = ChangeHead { op, ordinal: b.len() as u64 + 1, offset: 0, row: 0 };
        let image = b.image();
        self.key_cells(b, id);
        if kind == Kind::Delete {
            (self.schema.key.len()..self.schema.columns.len()).for_each(|_| b.cell(Cell::UNKNOWN));
            b.push(head, table, Some((Before::Key, image)), None);
        } else {
            value_cells(b, &Values::of(id, round));
            b.push(head, table, None, Some(image));
        }
    }

    fn key_cells(&self, b: &mut BatchBuilder, id: u64) {
        match self.key {
            KeyShape::Int => b.cell(Cell::int(id as i64)),
            KeyShape::Uuid => {
                let cell = b.long(Tag::Uuid, uuid(id).as_bytes());
                b.cell(cell);
            }
            KeyShape::Text => {
                let region = b.long(Tag::Text, region(id).as_bytes());
                let code = b.long(Tag::Text, id.to_string().as_bytes());
                b.cell(region);
                b.cell(code);
            }
        }
    }

    /// The head of the CSV.
    pub(crate) fn csv_head(&self) -> String {
        let columns = self.schema.columns.iter().map(|column| column.name.as_ref());
        std::iter::once("op").chain(columns).collect::<Vec<_>>().join(",") + "\n"
    }

    /// Adds a line of the CSV. A deleted row has values too; times are microseconds since 1970.
    pub(crate) fn csv_line(&self, out: &mut String, kind: Kind, id: u64, round: u64) -> std::fmt::Result {
        let key = match self.key {
            KeyShape::Int => id.to_string(),
            KeyShape::Uuid => uuid(id),
            KeyShape::Text => format!("{},{id}", region(id)),
        };
        let Values { number, price, note, at, quantity } = Values::of(id, round);
        let note = String::from_utf8_lossy(&note);
        writeln!(out, "{kind:?},{key},{number},{price},{note},{at},{quantity}")
    }
}

fn value_cells(b: &mut BatchBuilder, values: &Values) {
    let note = b.long(Tag::Text, &values.note);
    let at = Cell::timestamp_tz(Timestamp::from_epoch_micros(values.at));
    for cell in [Cell::int(values.number), Cell::float64(values.price), note, at, Cell::int(values.quantity)] {
        b.cell(cell);
    }
}

fn column(name: &str, data_type: DataType) -> ColumnSchema {
    ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "any".into(),
        nullable: !matches!(name, "id" | "region" | "code"),
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    }
}
