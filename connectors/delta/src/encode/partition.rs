//! Values of partition columns, which lie in the log and not in data files: as the log writes them, and back as a column.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization>

use super::column::{Column, Unfit, days, unscaled};
use super::stats::scaled;
use super::text::write_text;
use crate::log::Partition;
use crate::store::name;
use crate::typemap::{ColumnType, TableColumn};
use arrow_array::ArrayRef;
use tidewire_core::Value;
use tidewire_core::calendar::{Date, write_date};
use tidewire_core::decimal::Decimal;

/// Whether a column of the type may be one that a table is partitioned by. Floats have no one text, and readers differ
/// on that of timestamps.
pub(crate) fn may_partition(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Boolean
        | ColumnType::Byte
        | ColumnType::Short
        | ColumnType::Integer
        | ColumnType::Long
        | ColumnType::Decimal(..)
        | ColumnType::String
        | ColumnType::Date => true,
        ColumnType::Float
        | ColumnType::Double
        | ColumnType::Binary
        | ColumnType::Timestamp
        | ColumnType::TimestampNtz
        | ColumnType::Array(_) => false,
    }
}

/// Whether the log's texts of a type's values are those that the wider type's values have: readers know no other ones, and
/// what the log holds of a file is never written again.
pub(crate) fn keeps_texts(narrow: &ColumnType, wider: &ColumnType) -> bool {
    let digits_of_fraction = |column_type: &ColumnType| match column_type {
        ColumnType::Decimal(_, scale) => *scale,
        _ => 0,
    };
    may_partition(wider) && digits_of_fraction(narrow) == digits_of_fraction(wider)
}

/// The log's text of a value; `None` for null.
///
/// # Errors
/// When the column cannot hold it; `Unfit::Empty` for an empty text, which readers take for null, `Unfit::Path` for one
/// that no folder can be called by.
pub(crate) fn text_of(column_type: &ColumnType, value: Value<'_>) -> Result<Option<String>, Unfit> {
    let mut out = Vec::new();
    match (column_type, value) {
        (_, Value::Null) => return Ok(None),
        (ColumnType::Boolean, Value::Bool(value)) => return Ok(Some(value.to_string())),
        (ColumnType::Byte | ColumnType::Short | ColumnType::Integer | ColumnType::Long, Value::Int(value)) => {
            return Ok(Some(value.to_string()));
        }
        (ColumnType::Short | ColumnType::Integer | ColumnType::Long, Value::UInt(value)) => {
            return Ok(Some(value.to_string()));
        }
        (ColumnType::Decimal(precision, scale), value) => {
            return Ok(Some(scaled(unscaled(value, *precision, *scale)?, *scale)));
        }
        (ColumnType::Date, Value::Date(date)) => {
            days(date)?;
            write_date(&mut out, date);
        }
        (ColumnType::String, value) => write_text(&mut out, value)?,
        (_, Value::Unknown) => return Err(Unfit::Unknown),
        (_, Value::Impossible(_)) => return Err(Unfit::Calendar),
        _ => return Err(Unfit::Kind),
    }
    match String::from_utf8(out) {
        Ok(text) if text.is_empty() => Err(Unfit::Empty),
        Ok(text) if fits_path(&text) => Ok(Some(text)),
        _ => Err(Unfit::Path),
    }
}

/// What a path has in place of null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Bytes that a text may take in the name of a folder, which holds the column's name, too: a file system's name ends at 255, a
/// column's in any source at 64.
const PATH_TEXT_MAX: usize = 190;

/// Whether a folder can be called by the text: one byte there is none for, and one text means null.
fn fits_path(text: &str) -> bool {
    text != NULL && !text.contains('\0') && name::segment_bytes(text) <= PATH_TEXT_MAX
}

/// Whether a folder can be called by the column as it is: on how its name would be encoded readers may differ.
pub(crate) fn is_plain_name(column: &str) -> bool {
    column.len() <= 100 && column.bytes().all(name::is_plain)
}

/// The folder of a partition's files as the log names it, `column=value/...`; empty without partitions. The log has the values,
/// but Polars takes them from the folder: that is called by the value percent-encoded, and the log encodes its name once more.
pub(crate) fn folder(partition: &Partition) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| NULL.to_owned(), name::segment_of);
    let folders = partition.iter().map(|(column, text)| format!("{column}={}/", value(text)));
    name::logged(&folders.collect::<String>())
}

/// A partition column of so many rows of a file; `None` when the log's text is not one of the type.
pub(crate) fn array_of(column: &TableColumn, partition: &Partition, rows: usize) -> Option<ArrayRef> {
    let text = partition.get(&**column.file_name())?.as_deref();
    let mut out = Column::new(&column.column_type);
    for row in 0..rows {
        match row {
            0 => out.push(value_of(&column.column_type, text)?).ok()?,
            _ => out.repeat(0).ok()?,
        }
    }
    out.finish().ok()
}

fn value_of<'a>(column_type: &ColumnType, text: Option<&'a str>) -> Option<Value<'a>> {
    let Some(text) = text else { return Some(Value::Null) };
    Some(match column_type {
        ColumnType::Boolean => Value::Bool(text.parse().ok()?),
        ColumnType::Byte | ColumnType::Short | ColumnType::Integer | ColumnType::Long => Value::Int(text.parse().ok()?),
        ColumnType::Decimal(..) => Value::Decimal(Decimal::parse(text.as_bytes())?),
        ColumnType::Date => {
            let mut parts = text.splitn(3, '-');
            let (year, month, day) =
                (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Value::Date(Date::from_civil(year, month, day)?)
        }
        ColumnType::String => Value::Text(text.as_bytes()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn values_come_back_as_they_went() {
        let decimal = |text: &'static str| Value::Decimal(Decimal::parse(text.as_bytes()).unwrap());
        for (column_type, value, text) in [
            (ColumnType::Boolean, Value::Bool(true), Some("true")),
            (ColumnType::Byte, Value::Int(-128), Some("-128")),
            (ColumnType::Long, Value::Int(i64::MIN), Some("-9223372036854775808")),
            (ColumnType::Long, Value::UInt(7), Some("7")),
            (ColumnType::Decimal(5, 2), decimal("-0.05"), Some("-0.05")),
            (ColumnType::Decimal(20, 0), Value::UInt(u64::MAX), Some("18446744073709551615")),
            (ColumnType::Date, Value::Date(Date::from_civil(2024, 2, 29).unwrap()), Some("2024-02-29")),
            (ColumnType::Date, Value::Date(Date::from_civil(1, 1, 1).unwrap()), Some("0001-01-01")),
            (ColumnType::String, Value::Text(b"a-B_.1"), Some("a-B_.1")),
            (ColumnType::String, Value::Null, None),
        ] {
            assert!(may_partition(&column_type));
            assert_eq!(text_of(&column_type, value), Ok(text.map(str::to_owned)));
            let column = TableColumn::own("p", column_type);
            let partition = Arc::new(BTreeMap::from([("p".to_owned(), text.map(str::to_owned))]));
            let mut expected = Column::new(&column.column_type);
            (0..3).for_each(|_| expected.push(value).unwrap());
            let back = array_of(&column, &partition, 3).unwrap();
            assert_eq!((&back, back.len()), (&expected.finish().unwrap(), 3));
        }
    }

    #[test]
    fn any_other_text_has_a_folder_of_its_own() {
        let longest = ["x".repeat(190), "\u{e9}".repeat(31), "\u{1f980}".repeat(15)];
        let mut folders = std::collections::BTreeSet::new();
        for (text, folder) in [
            ("a-B_.1", "p=a-B_.1/"),
            ("New York", "p=New%2520York/"),
            ("\u{e9}", "p=%25C3%25A9/"),
            ("a%20b", "p=a%252520b/"),
            ("a/../b=c:d", "p=a%252F..%252Fb%253Dc%253Ad/"),
            ("\t\n\u{1}", "p=%2509%250A%2501/"),
            ("..", "p=../"),
            (" ", "p=%2520/"),
            ("~", "p=%257E/"),
        ]
        .into_iter()
        .chain(longest.iter().map(|text| (text.as_str(), "")))
        {
            assert_eq!(text_of(&ColumnType::String, Value::Text(text.as_bytes())), Ok(Some(text.to_owned())));
            let partition = Partition::new([("p".to_owned(), Some(text.to_owned()))].into());
            let name = super::folder(&partition);
            assert!(folder.is_empty() || name == folder, "{name}");
            assert!(folders.insert(name.clone()), "{name} twice");
            let stored = name::stored(name.trim_end_matches('/')).unwrap().into_owned();
            assert!(stored.len() <= 192 && name::logged(&stored) + "/" == name, "{stored}");
            let column = TableColumn::own("p", ColumnType::String);
            let mut expected = Column::new(&column.column_type);
            expected.push(Value::Text(text.as_bytes())).unwrap();
            let back = array_of(&column, &partition, 1).unwrap();
            assert_eq!(&back, &expected.finish().unwrap());
        }
    }

    #[test]
    fn an_empty_text_is_no_null() {
        assert_eq!(text_of(&ColumnType::String, Value::Text(b"")), Err(Unfit::Empty));
        for text in [NULL, "a\0b", &"x".repeat(191), &"\u{e9}".repeat(32), &"/".repeat(64)] {
            assert_eq!(text_of(&ColumnType::String, Value::Text(text.as_bytes())), Err(Unfit::Path), "{text}");
        }
        let values = [("a", Some("1")), ("b", None)].map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(folder(&Partition::new(values.into())), format!("a=1/b={NULL}/"));
        assert_eq!(text_of(&ColumnType::Date, Value::Date(Date::INFINITY)), Err(Unfit::NotFinite));
        assert_eq!(text_of(&ColumnType::String, Value::Unknown), Err(Unfit::Unknown));
        assert!(!may_partition(&ColumnType::Timestamp));
    }
}
