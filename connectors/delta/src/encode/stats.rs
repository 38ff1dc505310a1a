//! Statistics of a data file as the log carries them: the row count, and bounds of the key columns. A bound that
//! could make a reader skip a row that is there is left out. Knows nothing of changes.
//!
//! Rules (protocol, "Per-file Statistics", and what readers do with them): text bounds are cut to 32 characters,
//! and a cut upper bound gets a tie-breaker above everything cut away; a column with a NaN has no bounds; upper
//! bounds of timestamps, which the log keeps in milliseconds, are rounded up.

use crate::typemap::{ColumnType, TableColumn};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use tidewire_core::calendar::{Date, Fraction, Timestamp, write_date, write_timestamp};

const TEXT_CHARS_MAX: usize = 32;

/// Bounds of a file in the making.
#[derive(Debug)]
pub(crate) struct Stats {
    columns: Vec<ColumnStats>,
}

#[derive(Debug)]
struct ColumnStats {
    at: usize,
    name: String,
    column_type: ColumnType,
    bounds: Bounds,
    nulls: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Bounds {
    /// No value yet.
    Empty,
    Integer(i128, i128),
    Float(f64, f64),
    Text(String, String),
    /// Not to be stated.
    Omitted,
}

impl Stats {
    /// For the columns at `key`.
    pub(crate) fn new(columns: &[TableColumn], key: &[usize]) -> Stats {
        let column = |at: &usize| {
            let column = columns.get(*at)?;
            let column_type = column.column_type.clone();
            Some(ColumnStats {
                at: *at,
                name: column.file_name().to_string(),
                column_type,
                bounds: Bounds::Empty,
                nulls: 0,
            })
        };
        Stats { columns: key.iter().filter_map(column).collect() }
    }

    /// Takes rows into account.
    pub(crate) fn observe(&mut self, batch: &RecordBatch) {
        for column in &mut self.columns {
            if let Some(array) = batch.columns().get(column.at) {
                column.nulls += array.null_count() as u64;
                column.bounds.extend(bounds_of(&column.column_type, array));
            }
        }
    }

    /// The log's JSON text.
    pub(crate) fn json(&self, rows: u64) -> String {
        let (mut lower, mut upper, mut nulls) = (BTreeMap::new(), BTreeMap::new(), Map::new());
        for column in &self.columns {
            nulls.insert(column.name.clone(), column.nulls.into());
            if let Some((min, max)) = column.bounds.render(&column.column_type) {
                lower.insert(&column.name, min);
                upper.insert(&column.name, max);
            }
        }
        let text =
            |map: &BTreeMap<&String, Box<RawValue>>| serde_json::to_string(map).unwrap_or_else(|_| "{}".to_owned());
        format!(
            r#"{{"numRecords":{rows},"minValues":{},"maxValues":{},"nullCount":{},"tightBounds":true}}"#,
            text(&lower),
            text(&upper),
            Json::Object(nulls)
        )
    }
}

impl Bounds {
    fn extend(&mut self, other: Bounds) {
        *self = match (std::mem::replace(self, Bounds::Omitted), other) {
            (Bounds::Empty, other) | (other, Bounds::Empty) => other,
            (Bounds::Integer(a, b), Bounds::Integer(c, d)) => Bounds::Integer(a.min(c), b.max(d)),
            (Bounds::Float(a, b), Bounds::Float(c, d)) => Bounds::Float(a.min(c), b.max(d)),
            (Bounds::Text(a, b), Bounds::Text(c, d)) => Bounds::Text(a.min(c), b.max(d)),
            _ => Bounds::Omitted,
        };
    }

    fn render(&self, column_type: &ColumnType) -> Option<(Box<RawValue>, Box<RawValue>)> {
        let (min, max) = match (self, column_type) {
            (Bounds::Integer(min, max), ColumnType::Date) => (quoted(&date(*min)?)?, quoted(&date(*max)?)?),
            (Bounds::Integer(min, max), ColumnType::Timestamp) => {
                (quoted(&milliseconds(*min, "Z")?)?, quoted(&milliseconds(max.checked_add(999)?, "Z")?)?)
            }
            (Bounds::Integer(min, max), ColumnType::TimestampNtz) => {
                (quoted(&milliseconds(*min, "")?)?, quoted(&milliseconds(max.checked_add(999)?, "")?)?)
            }
            (Bounds::Integer(min, max), ColumnType::Decimal(_, scale)) => (scaled(*min, *scale), scaled(*max, *scale)),
            (Bounds::Integer(min, max), _) => (min.to_string(), max.to_string()),
            (Bounds::Float(min, max), _) => (serde_json::to_string(min).ok()?, serde_json::to_string(max).ok()?),
            (Bounds::Text(min, max), _) => (quoted(&cut_lower(min))?, quoted(&cut_upper(max)?)?),
            (Bounds::Empty | Bounds::Omitted, _) => return None,
        };
        Some((RawValue::from_string(min).ok()?, RawValue::from_string(max).ok()?))
    }
}

fn bounds_of(column_type: &ColumnType, array: &ArrayRef) -> Bounds {
    fn integers<A: ArrowPrimitiveType>(array: &ArrayRef) -> Bounds
    where
        A::Native: Into<i128>,
    {
        let Some(values) = array.as_primitive_opt::<A>() else { return Bounds::Omitted };
        let mut bounds: Option<(A::Native, A::Native)> = None;
        for value in values.iter().flatten() {
            bounds = Some(match bounds {
                Some((min, max)) if value < min => (value, max),
                Some((min, max)) if value > max => (min, value),
                Some(same) => same,
                None => (value, value),
            });
        }
        bounds.map_or(Bounds::Empty, |(min, max)| Bounds::Integer(min.into(), max.into()))
    }
    match column_type {
        ColumnType::Byte => integers::<Int8Type>(array),
        ColumnType::Short => integers::<Int16Type>(array),
        ColumnType::Integer => integers::<Int32Type>(array),
        ColumnType::Long => integers::<Int64Type>(array),
        ColumnType::Date => integers::<Date32Type>(array),
        ColumnType::Timestamp | ColumnType::TimestampNtz => integers::<TimestampMicrosecondType>(array),
        ColumnType::Decimal(..) => integers::<Decimal128Type>(array),
        ColumnType::Float => {
            let values = array.as_primitive_opt::<Float32Type>();
            values.map_or(Bounds::Omitted, |values| floats(values.iter().flatten().map(f64::from)))
        }
        ColumnType::Double => {
            let values = array.as_primitive_opt::<Float64Type>();
            values.map_or(Bounds::Omitted, |values| floats(values.iter().flatten()))
        }
        ColumnType::String => {
            let Some(values) = array.as_string_opt::<i32>() else { return Bounds::Omitted };
            let mut bounds: Option<(&str, &str)> = None;
            for value in values.iter().flatten() {
                let (min, max) = bounds.unwrap_or((value, value));
                bounds = Some((min.min(value), max.max(value)));
            }
            // Only what the log will carry is kept: a value may be a gigabyte.
            let kept = |text: &str| text.chars().take(TEXT_CHARS_MAX + 1).collect::<String>();
            bounds.map_or(Bounds::Empty, |(min, max)| Bounds::Text(kept(min), kept(max)))
        }
        ColumnType::Boolean | ColumnType::Binary | ColumnType::Array(_) => Bounds::Omitted,
    }
}

/// JSON has no infinities, and readers differ on NaN and on the two zeros.
fn floats(values: impl Iterator<Item = f64>) -> Bounds {
    let mut bounds = Bounds::Empty;
    for value in values {
        if !value.is_finite() {
            return Bounds::Omitted;
        }
        bounds = match bounds {
            Bounds::Float(min, max) => Bounds::Float(min.min(value), max.max(value)),
            _ => Bounds::Float(value, value),
        };
    }
    match bounds {
        Bounds::Float(min, max) => {
            Bounds::Float(if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max })
        }
        other => other,
    }
}

fn quoted(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}

fn date(days: i128) -> Option<String> {
    let mut out = Vec::new();
    write_date(&mut out, Date(i32::try_from(days).ok()?));
    String::from_utf8(out).ok()
}

/// `2024-01-31T12:00:00.123Z`; what lies below a millisecond is cut. `None` where rounding up left the calendar.
fn milliseconds(micros: i128, suffix: &str) -> Option<String> {
    let timestamp = Timestamp::from_epoch_micros(i64::try_from(micros).ok()?);
    if timestamp.date.to_civil().0 > 9_999 {
        return None;
    }
    let mut out = Vec::new();
    write_timestamp(&mut out, timestamp, b'T', Fraction::Fixed(3), suffix.as_bytes());
    String::from_utf8(out).ok()
}

/// A decimal's digits with its point.
pub(super) fn scaled(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let sign = if unscaled < 0 { "-" } else { "" };
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits}"),
    }
}

fn cut_lower(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Cuts an upper bound so that it still lies above every text with this beginning. `None` where nothing does.
fn cut_upper(text: &str) -> Option<String> {
    let mut out = cut_lower(text);
    let Some(next) = text.chars().nth(TEXT_CHARS_MAX) else { return Some(out) };
    match next {
        '\u{10FFFF}' => return None,
        c if c.is_ascii() && c < '\u{7f}' => out.push('\u{7f}'),
        _ => out.push('\u{10FFFF}'),
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::Column;
    use crate::encode::file::file_schema;
    use proptest::prelude::*;
    use tidewire_core::Value;
    use tidewire_core::decimal::Decimal;

    fn stats(column_type: ColumnType, values: &[Value<'_>]) -> Json {
        serde_json::from_str(&stats_text(column_type, values)).unwrap()
    }

    fn stats_text(column_type: ColumnType, values: &[Value<'_>]) -> String {
        let columns = [TableColumn::own("k", column_type)];
        let mut column = Column::new(&columns[0].column_type);
        for value in values {
            column.push(*value).unwrap();
        }
        let batch = RecordBatch::try_new(file_schema(&columns), vec![column.finish().unwrap()]).unwrap();
        let mut stats = Stats::new(&columns, &[0]);
        stats.observe(&batch);
        stats.json(values.len() as u64)
    }

    #[test]
    fn bounds_never_hide_a_row() {
        let at = |micros| Value::TimestampTz(Timestamp::from_epoch_micros(micros));
        let decimal = |text: &'static str| Value::Decimal(Decimal::parse(text.as_bytes()).unwrap());
        let long = "x".repeat(40);
        let cut = format!("{}\u{7f}", "x".repeat(32));
        for (column_type, values, min, max) in [
            (ColumnType::Long, vec![Value::Int(3), Value::Null, Value::Int(-4)], r#"-4"#.to_owned(), "3".to_owned()),
            (ColumnType::Decimal(5, 2), vec![decimal("-0.05"), decimal("1.5")], "-0.05".to_owned(), "1.50".to_owned()),
            (
                ColumnType::Timestamp,
                vec![at(1_001), at(1_999)],
                r#""1970-01-01T00:00:00.001Z""#.to_owned(),
                r#""1970-01-01T00:00:00.002Z""#.to_owned(),
            ),
            (ColumnType::Date, vec![Value::Date(Date(0))], r#""1970-01-01""#.to_owned(), r#""1970-01-01""#.to_owned()),
            (
                ColumnType::String,
                vec![Value::Text(long.as_bytes())],
                format!("\"{}\"", "x".repeat(32)),
                format!("\"{cut}\""),
            ),
        ] {
            // As text: a parser may not keep a number's own digits.
            let text = stats_text(column_type, &values);
            let bounds = format!(r#""minValues":{{"k":{min}}},"maxValues":{{"k":{max}}}"#);
            assert!(text.contains(&bounds), "{text}");
            assert!(text.starts_with(&format!(r#"{{"numRecords":{},"#, values.len())), "{text}");
        }
    }

    #[test]
    fn a_column_with_nan_has_no_bounds() {
        let json = stats(ColumnType::Double, &[Value::Float64(1.0), Value::Float64(f64::NAN)]);
        assert_eq!(json["minValues"].to_string(), "{}");
        assert_eq!(json["nullCount"]["k"], 0);
        assert!(stats_text(ColumnType::Double, &[Value::Float64(0.0)]).contains(r#""minValues":{"k":-0.0}"#));
    }

    proptest! {
        #[test]
        fn text_bounds_enclose(text in "\\PC{0,40}") {
            let json = stats(ColumnType::String, &[Value::Text(text.as_bytes())]);
            prop_assert!(json["minValues"]["k"].as_str().unwrap() <= text.as_str());
            prop_assert!(json["maxValues"]["k"].as_str().unwrap() >= text.as_str());
        }
    }
}
