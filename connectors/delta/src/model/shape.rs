//! Shapes of the model's tables, and how they change.

use super::chance::Chance;
use super::datum::{Datum, Row, decimal, draw_type, value_of};
use std::convert::Infallible;
use std::sync::Arc;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{
    BatchBuilder, ColumnNumber, ColumnSchema, DataType, Missing, SchemaVersion, TableName, TableSchema,
};

/// The database's own number of each table.
const NATIVE_ID: u64 = 16_384;

/// Numbers of columns that a source counts along its log's statements are within something else.
const COUNTED: u64 = 9;

pub(crate) fn column(name: &str, data_type: DataType, nullable: bool) -> ColumnSchema {
    ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "x".into(),
        nullable,
        default: None,
        missing: Missing::Unknown,
        number: None,
    }
}

/// A table of this name, its key somewhere among its columns.
pub(super) fn draw(chance: &mut Chance, name: &str) -> TableSchema {
    let int = || DataType::Int { bits: 64 };
    let short = || DataType::Int { bits: 32 };
    let keys = match chance.below(8) {
        0 | 1 => vec![int()],
        2 => vec![DataType::Uuid],
        3 => vec![DataType::Text],
        4 => vec![DataType::Text, int()],
        5 => vec![short(), short()],
        6 => vec![decimal()],
        _ => vec![int(), DataType::Uuid, DataType::Text],
    };
    let keys = keys.into_iter().enumerate().map(|(at, data_type)| column(&format!("k{at}"), data_type, false));
    let mut columns: Vec<ColumnSchema> = keys.collect();
    let key_columns = columns.len();
    for at in 0..1 + chance.below(5) {
        let data_type = draw_type(chance);
        columns.push(column(&format!("v{at}"), data_type, chance.percent(70)));
    }
    let within = if columns.len().is_multiple_of(2) { NATIVE_ID } else { COUNTED };
    (1..).zip(&mut columns).for_each(|(number, column)| column.number = Some(ColumnNumber { within, number }));
    let first = chance.below(columns.len());
    columns.rotate_left(first);
    let place = |part: usize| columns.iter().position(|column| *column.name == *format!("k{part}")).unwrap();
    TableSchema {
        name: TableName::new("public", name),
        version: SchemaVersion(1),
        native_id: NATIVE_ID,
        key: (0..key_columns).map(place).collect(),
        columns,
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    }
}

/// The number of a column that comes, where the columns that are there are numbered.
pub(super) fn next_number(schema: &TableSchema, number: usize) -> Option<ColumnNumber> {
    let within = schema.columns.first()?.number?.within;
    Some(ColumnNumber { within, number: 1_000 + number as u32 })
}

/// A table of the same columns that has no key.
pub(super) fn without_key(schema: &TableSchema) -> TableSchema {
    TableSchema { key: Vec::new(), key_kind: KeyKind::None, old_row: OldRow::Full, ..schema.clone() }
}

/// Whether its rows are told apart by nothing but their values.
pub(super) fn is_keyless(schema: &TableSchema) -> bool {
    schema.key_kind == KeyKind::None
}

/// One of so few rows that many are equal: always the same for a number and the table's columns of today.
pub(super) fn draw_equal(schema: &TableSchema, number: usize) -> Row {
    draw_row(&mut Chance::new(number as u64), schema, number)
}

/// The shape as a source has it that does not number columns.
pub(super) fn without_numbers(schema: &TableSchema) -> Arc<TableSchema> {
    let mut schema = schema.clone();
    schema.columns.iter_mut().for_each(|column| column.number = None);
    Arc::new(schema)
}

/// A default that a column came with.
pub(super) fn missing(default: &Datum, data_type: &DataType) -> Missing {
    let constant = BatchBuilder::constant(|builder| Ok::<_, Infallible>(default.cell(data_type, builder)));
    constant.map_or(Missing::Unknown, Missing::from)
}

/// The next version of a shape.
pub(super) fn altered(schema: &TableSchema, change: impl FnOnce(&mut TableSchema)) -> Arc<TableSchema> {
    let mut next = schema.clone();
    next.version = SchemaVersion(schema.version.0 + 1);
    change(&mut next);
    Arc::new(next)
}

/// Drops a column that is not of the key; `None` when there is only one.
pub(super) fn drop_column(chance: &mut Chance, schema: &TableSchema) -> Option<(Arc<str>, Arc<TableSchema>)> {
    let others = (0..schema.columns.len()).filter(|at| !schema.key.contains(at)).collect::<Vec<_>>();
    if others.len() < 2 {
        return None;
    }
    let dropped = *chance.pick(&others);
    let name = Arc::clone(&schema.columns[dropped].name);
    let next = altered(schema, |next| {
        next.columns.remove(dropped);
        next.key.iter_mut().filter(|at| **at > dropped).for_each(|at| *at -= 1);
    });
    Some((name, next))
}

/// A row with the `key`-th key and random values.
pub(super) fn draw_row(chance: &mut Chance, schema: &TableSchema, key: usize) -> Row {
    let mut row = Row::new();
    for (at, column) in schema.columns.iter().enumerate() {
        let part = schema.key.iter().position(|place| *place == at);
        let number = match part {
            // The parts of a key vary one after the other.
            Some(part) if schema.key.len() > 1 => (if part == 0 { key % 5 } else { key / 5 }) as u64,
            Some(_) => key as u64,
            None if column.nullable && chance.percent(20) => continue,
            None => chance.next() % 5_000,
        };
        row.insert(Arc::clone(&column.name), value_of(&column.data_type, number));
    }
    row
}
