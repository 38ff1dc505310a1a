//! Values as the model knows them: drawn, sent as cells, and read back from a table's columns. Null is the absence of a
//! value.

use super::chance::Chance;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType as ArrowType;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::cell::Tag;
use tidewire_core::{BatchBuilder, Cell, DataType};

/// A value other than null.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Datum {
    Int(i64),
    Text(String),
    /// In thousandths.
    Decimal(i64),
    Bool(bool),
    Bytes(Vec<u8>),
    /// In eighths.
    Double(i64),
}

/// Column to value; a column that is not there is null.
pub(super) type Row = BTreeMap<Arc<str>, Datum>;

/// Types of columns; the weights are how often.
pub(super) fn draw_type(chance: &mut Chance) -> DataType {
    match chance.below(9) {
        0 => DataType::Int { bits: 64 },
        1 => DataType::Int { bits: 32 },
        2 => decimal(),
        3 => DataType::Bool,
        4 => DataType::Bytes,
        5 => DataType::Float64,
        6 => DataType::Uuid,
        _ => DataType::Text,
    }
}

pub(super) fn decimal() -> DataType {
    DataType::Decimal { precision: Some(18), scale: Some(3) }
}

/// The `number`-th value of a type; different numbers give different values (but for booleans).
pub(super) fn value_of(data_type: &DataType, number: u64) -> Datum {
    let signed = (number as i64) * if number.is_multiple_of(3) { -1 } else { 1 };
    match data_type {
        DataType::Int { .. } => Datum::Int(signed),
        DataType::Decimal { .. } => Datum::Decimal(signed),
        DataType::Bool => Datum::Bool(number % 2 == 1),
        DataType::Bytes => Datum::Bytes(number.to_le_bytes()[..number as usize % 8 + 1].to_vec()),
        DataType::Float64 => Datum::Double(signed),
        DataType::Uuid => Datum::Text(uuid::Uuid::from_u128(u128::from(number) << 60 | 7).to_string()),
        // From the empty text over short ones to those that statistics cut off.
        _ if number == 0 => Datum::Text(String::new()),
        _ => Datum::Text(format!("{number}{}", "é".repeat((number % 41) as usize))),
    }
}

impl Datum {
    pub(super) fn cell(&self, data_type: &DataType, b: &mut BatchBuilder) -> Cell {
        match self {
            Datum::Int(value) => Cell::int(*value),
            Datum::Text(text) if *data_type == DataType::Uuid => b.long(Tag::Uuid, text.as_bytes()),
            Datum::Text(text) => b.long(Tag::Text, text.as_bytes()),
            Datum::Decimal(thousandths) => {
                let sign = if *thousandths < 0 { "-" } else { "" };
                let value = thousandths.unsigned_abs();
                b.long(Tag::Decimal, format!("{sign}{}.{:03}", value / 1_000, value % 1_000).as_bytes())
            }
            Datum::Bool(value) => Cell::boolean(*value),
            Datum::Bytes(bytes) => b.long(Tag::Bytes, bytes),
            Datum::Double(eighths) => Cell::float64(*eighths as f64 / 8.0),
        }
    }

    /// Reads a value back; `None` for null.
    pub(super) fn read(array: &ArrayRef, at: usize) -> Option<Datum> {
        array.is_valid(at).then(|| match array.data_type() {
            ArrowType::Int64 => Datum::Int(array.as_primitive::<Int64Type>().value(at)),
            ArrowType::Int32 => Datum::Int(array.as_primitive::<Int32Type>().value(at).into()),
            ArrowType::Utf8 => Datum::Text(array.as_string::<i32>().value(at).to_owned()),
            ArrowType::Decimal128(_, scale) => {
                let (value, unit) = (array.as_primitive::<Decimal128Type>().value(at), 10i128.pow(*scale as u32 - 3));
                assert_eq!(value % unit, 0);
                Datum::Decimal((value / unit).try_into().unwrap())
            }
            ArrowType::Boolean => Datum::Bool(array.as_boolean().value(at)),
            ArrowType::Binary => Datum::Bytes(array.as_binary::<i32>().value(at).to_vec()),
            ArrowType::Float64 => {
                let eighths = array.as_primitive::<Float64Type>().value(at) * 8.0;
                assert_eq!(eighths.fract(), 0.0);
                Datum::Double(eighths as i64)
            }
            other => panic!("a column of type {other} was not written by the model"),
        })
    }
}
