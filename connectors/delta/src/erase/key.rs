//! A key as an operator types it, and the rows of a data file that have it. Compares values as the table's columns hold
//! them; knows nothing of what is live.

use crate::encode::read::ColumnReader;
use crate::error::Result;
use crate::store::TableStore;
use crate::typemap::{ColumnType, TableColumn};
use arrow_array::{Array, ArrayRef};
use arrow_json::ReaderBuilder;
use arrow_schema::{Field, Schema};
use roaring::RoaringBitmap;
use serde_json::{Map, Value};
use std::sync::Arc;
use tidewire_core::Error;

/// One value for each column of the key.
#[derive(Debug)]
pub(super) struct SoughtKey {
    columns: Vec<TableColumn>,
    /// Arrays of one value.
    values: Vec<ArrayRef>,
}

impl SoughtKey {
    /// Reads a text: the value of the only column, or JSON, a list in key order or an object by name. Bytes are in
    /// hexadecimal.
    pub(super) fn parse(text: &str, columns: &[TableColumn], key: &[usize]) -> Result<SoughtKey> {
        let key: Vec<&TableColumn> = key.iter().filter_map(|at| columns.get(*at)).collect();
        let names: Vec<String> = key.iter().map(|column| column.name.to_string()).collect();
        let values = values_of(text, &key).ok_or_else(|| refused(&names))?;
        let fields = key.iter().map(|column| Field::new(&*column.name, column.column_type.arrow(), false));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let row: Map<String, Value> = names.iter().cloned().zip(values).collect();
        let line = Value::Object(row).to_string();
        let reader = ReaderBuilder::new(schema).with_coerce_primitive(true).build(line.as_bytes());
        let batch = reader.ok().and_then(|mut reader| reader.next()).and_then(|batch| batch.ok());
        match batch {
            Some(batch) if batch.num_rows() == 1 => {
                Ok(SoughtKey { columns: key.into_iter().cloned().collect(), values: batch.columns().to_vec() })
            }
            _ => Err(refused(&names)),
        }
    }

    /// The numbers of the rows of a file that have the key; none in a file with other columns.
    pub(super) fn rows_in(&self, store: &TableStore, path: &str, size: u64) -> Result<RoaringBitmap> {
        let columns: Vec<&TableColumn> = self.columns.iter().collect();
        let mut reader = ColumnReader::open(store, path, size, &columns, None)?;
        let (mut first, mut rows) = (0u32, RoaringBitmap::new());
        while let Some(arrays) = reader.next_arrays()? {
            let Some(arrays) = arrays.into_iter().collect::<Option<Vec<ArrayRef>>>() else { break };
            let count = arrays.first().map_or(0, |array| array.len());
            let has_key = |row: &usize| self.values.iter().zip(&arrays).all(|(one, array)| is_at(one, array, *row));
            rows.extend((0..count).filter(has_key).filter_map(|row| u32::try_from(row).ok()).map(|row| first + row));
            first += u32::try_from(count).unwrap_or(u32::MAX);
        }
        Ok(rows)
    }
}

fn is_at(one: &ArrayRef, array: &ArrayRef, row: usize) -> bool {
    one.data_type() == array.data_type() && array.slice(row, 1).as_ref() == one.as_ref()
}

/// The values as JSON, in key order; `None` when the text has not one for each column.
fn values_of(text: &str, key: &[&TableColumn]) -> Option<Vec<Value>> {
    let json = serde_json::from_str::<Value>(text).ok();
    match (json, key) {
        (_, []) => None,
        (Some(Value::Array(values)), _) => (values.len() == key.len()).then_some(values),
        (Some(Value::Object(values)), _) => {
            let is_whole = values.len() == key.len();
            let value = |column: &&TableColumn| values.get(&*column.name).cloned();
            key.iter().map(value).collect::<Option<Vec<_>>>().filter(|_| is_whole)
        }
        // A number in a column of text is meant as it was typed.
        (Some(Value::String(value)), [_]) => Some(vec![Value::String(value)]),
        (Some(value), [column]) if column.column_type == ColumnType::Boolean => Some(vec![value]),
        (_, [_]) => Some(vec![Value::String(text.to_owned())]),
        _ => None,
    }
}

/// Without the text: it is a value of a row.
fn refused(names: &[String]) -> Error {
    Error::operator("purge_key", format!("`--key` is no key of the columns `{}`", names.join("`, `"))).with_remedy(
        "give the value of the only column as text, or JSON with all of them: [1, \"a\"] or {\"id\": 1, \"kind\": \"a\"}",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Decimal128Type, Int64Type};

    fn columns(types: &[ColumnType]) -> Vec<TableColumn> {
        let column = |(at, kind): (usize, &ColumnType)| TableColumn {
            nullable: false,
            family: "x".into(),
            ..TableColumn::own(&format!("k{at}"), kind.clone())
        };
        types.iter().enumerate().map(column).collect()
    }

    fn parse(text: &str, types: &[ColumnType]) -> Option<SoughtKey> {
        let key = (0..types.len()).collect::<Vec<_>>();
        SoughtKey::parse(text, &columns(types), &key).ok()
    }

    #[test]
    fn keys_as_people_write_them() {
        use ColumnType::{Boolean, Date, Decimal, Long, String, Timestamp};
        for (text, types, good) in [
            ("7", &[Long][..], true),
            ("\"7\"", &[Long], true),
            ("[7]", &[Long], true),
            ("{\"k0\": 7}", &[Long], true),
            ("{\"k1\": 7}", &[Long], false),
            ("seven", &[Long], false),
            ("7.5", &[Long], false),
            ("null", &[Long], false),
            ("[null]", &[Long], false),
            ("", &[Long], false),
            ("[7, 8]", &[Long], false),
            ("7", &[Long, String], false),
            ("[7, \"a\"]", &[Long, String], true),
            ("{\"k1\": \"a\", \"k0\": 7}", &[Long, String], true),
            ("{\"k1\": \"a\", \"k0\": 7, \"k2\": 1}", &[Long, String], false),
            ("12.50", &[Decimal(10, 2)], true),
            ("2024-02-29", &[Date], true),
            ("2024-02-29T10:00:00Z", &[Timestamp], true),
            ("true", &[Boolean], true),
            ("x", &[], false),
        ] {
            assert_eq!(parse(text, types).is_some(), good, "{text} of {types:?}");
        }
    }

    #[test]
    fn values_are_those_that_were_typed() {
        for text in ["007", "7.0", "1e3", "a b", "{", "\u{fc}"] {
            let key = parse(text, &[ColumnType::String]).unwrap();
            assert_eq!(key.values[0].as_string::<i32>().value(0), text);
        }
        let key = parse("9007199254740993", &[ColumnType::Long]).unwrap();
        assert_eq!(key.values[0].as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
        let key = parse("18446744073709551615", &[ColumnType::Decimal(20, 0)]).unwrap();
        assert_eq!(key.values[0].as_primitive::<Decimal128Type>().value(0), 18_446_744_073_709_551_615);
    }
}
