//! What a column is in neutral words, and how its type is written. Pure.

use super::{Absent, Scratch, Unsupported, ZeroDates, unsupported};
use crate::charset::Converter;
use crate::model::{ColumnDef, ColumnKind, DefaultValue, Flavour, Given};
use std::fmt::Write;
use std::sync::Arc;
use tidewire_core::{BatchBuilder, ColumnSchema, DataType, Missing};

/// The neutral form of a column. An error names what is not understood about its type; a table that has such a
/// column cannot be captured.
///
/// The default is SQL: numbers bare, other constants in quotes with `'` doubled and nothing else escaped, bits as
/// `b'101'`, expressions as they are.
pub(crate) fn column_schema(
    column: &ColumnDef,
    _flavour: Flavour,
    zero: ZeroDates,
) -> Result<ColumnSchema, Unsupported> {
    Ok(ColumnSchema {
        name: Arc::clone(&column.name),
        data_type: data_type(column, zero)?,
        native_type: native_type(column).into(),
        nullable: column.nullable,
        default: default_text(column),
        missing: missing(column, zero),
        number: None,
    })
}

/// What rows from before the column have in it.
fn missing(column: &ColumnDef, zero: ZeroDates) -> Missing {
    let default = match &column.given {
        None if column.added_as_null && column.nullable => return Missing::Null,
        None => return Missing::Unknown,
        // By the time zone and the modes of the session.
        Some(Given::TypesOwn) if matches!(column.kind, ColumnKind::Timestamp { .. }) => return Missing::Unknown,
        Some(Given::TypesOwn) => None,
        Some(Given::Default(default)) => Some(default.clone()),
        Some(Given::Moment(text)) => return known(&Absent::moment(column, text, zero)),
    };
    known(&Absent::of(&ColumnDef { default, ..column.clone() }, zero))
}

fn known(absent: &Absent) -> Missing {
    let read = |builder: &mut BatchBuilder| absent.cell(builder, &mut Scratch::default());
    BatchBuilder::constant(read).map_or(Missing::Unknown, Missing::from)
}

fn data_type(column: &ColumnDef, zero: ZeroDates) -> Result<DataType, Unsupported> {
    let integer = |bits| if column.unsigned { DataType::UInt { bits } } else { DataType::Int { bits } };
    // A date that may be impossible has no place in a type of real dates.
    let dated = |data_type| if zero == ZeroDates::Text { DataType::Text } else { data_type };
    Ok(match &column.kind {
        ColumnKind::TinyInt => integer(8),
        ColumnKind::SmallInt => integer(16),
        ColumnKind::MediumInt => integer(24),
        ColumnKind::Int => integer(32),
        ColumnKind::BigInt => integer(64),
        ColumnKind::Decimal { precision, scale } => {
            DataType::Decimal { precision: Some(u32::from(*precision)), scale: Some(i32::from(*scale)) }
        }
        ColumnKind::Float { .. } => DataType::Float32,
        ColumnKind::Double { .. } => DataType::Float64,
        ColumnKind::Bit { length } => DataType::Bits { length: Some(u32::from(*length)), varying: false },
        ColumnKind::Year => DataType::Int { bits: 16 },
        ColumnKind::Date => dated(DataType::Date),
        ColumnKind::Time { fsp } => DataType::Time { precision: *fsp },
        ColumnKind::DateTime { fsp } => dated(DataType::Timestamp { precision: *fsp }),
        ColumnKind::Timestamp { fsp } => dated(DataType::TimestampTz { precision: *fsp }),
        ColumnKind::Char { .. } | ColumnKind::VarChar { .. } | ColumnKind::Text { .. } => match encoding(column)? {
            Encoding::Binary => DataType::Bytes,
            Encoding::Text(_) => DataType::Text,
        },
        ColumnKind::Binary { .. } | ColumnKind::VarBinary { .. } | ColumnKind::Blob { .. } => DataType::Bytes,
        ColumnKind::Enum { labels } => DataType::Enum { labels: Arc::clone(labels) },
        ColumnKind::Set { labels } => DataType::Set { labels: Arc::clone(labels) },
        ColumnKind::Json => DataType::Json,
        ColumnKind::Geometry { .. } => DataType::Geometry,
        ColumnKind::Vector { .. } => {
            DataType::Array { element: Box::new(DataType::Float32), element_native: "float".into() }
        }
        ColumnKind::Uuid => DataType::Uuid,
        ColumnKind::Inet4 | ColumnKind::Inet6 => DataType::Other,
        ColumnKind::Unknown { name } => return Err(unsupported(column, format!("its type `{name}` is not known"))),
    })
}

/// What the bytes of a text type are.
pub(super) enum Encoding {
    /// Declared with `CHARACTER SET binary`.
    Binary,
    /// Of a character set.
    Text(Converter),
}

/// How the texts of a column are encoded in the log.
pub(super) fn encoding(column: &ColumnDef) -> Result<Encoding, Unsupported> {
    let Some(charset) = &column.charset else {
        return Err(unsupported(column, "its character set is not known"));
    };
    if charset.name.eq_ignore_ascii_case("binary") {
        return Ok(Encoding::Binary);
    }
    let converter = Converter::for_charset(&charset.name);
    converter
        .map(Encoding::Text)
        .ok_or_else(|| unsupported(column, format!("its character set `{}` is not known", charset.name)))
}

/// The type as `SHOW CREATE TABLE` has it, in lower case. A display width is written only where it says something,
/// in `tinyint(1)` and with `zerofill`, so that a server that shows widths and one that does not give the same text.
/// Labels, character sets and attributes that are no part of the type are left out.
pub(super) fn native_type(column: &ColumnDef) -> String {
    let mut out = String::new();
    write_type(&mut out, column);
    if column.unsigned && is_number(&column.kind) {
        out.push_str(" unsigned");
    }
    if column.zerofill && is_number(&column.kind) {
        out.push_str(" zerofill");
    }
    out
}

// Writing into a string never fails.
fn write_type(out: &mut String, column: &ColumnDef) {
    let _ = match &column.kind {
        ColumnKind::TinyInt => write_integer(out, "tinyint", column),
        ColumnKind::SmallInt => write_integer(out, "smallint", column),
        ColumnKind::MediumInt => write_integer(out, "mediumint", column),
        ColumnKind::Int => write_integer(out, "int", column),
        ColumnKind::BigInt => write_integer(out, "bigint", column),
        ColumnKind::Decimal { precision, scale } => write!(out, "decimal({precision},{scale})"),
        ColumnKind::Float { digits: Some((m, d)) } => write!(out, "float({m},{d})"),
        ColumnKind::Float { digits: None } => out.write_str("float"),
        ColumnKind::Double { digits: Some((m, d)) } => write!(out, "double({m},{d})"),
        ColumnKind::Double { digits: None } => out.write_str("double"),
        ColumnKind::Bit { length } => write!(out, "bit({length})"),
        ColumnKind::Year => out.write_str("year"),
        ColumnKind::Date => out.write_str("date"),
        ColumnKind::Time { fsp } => write_fsp(out, "time", *fsp),
        ColumnKind::DateTime { fsp } => write_fsp(out, "datetime", *fsp),
        ColumnKind::Timestamp { fsp } => write_fsp(out, "timestamp", *fsp),
        ColumnKind::Char { length } => write!(out, "char({length})"),
        ColumnKind::VarChar { length } => write!(out, "varchar({length})"),
        ColumnKind::Binary { length } => write!(out, "binary({length})"),
        ColumnKind::VarBinary { length } => write!(out, "varbinary({length})"),
        ColumnKind::Text { width } => write!(out, "{}text", size_word(*width)),
        ColumnKind::Blob { width } => write!(out, "{}blob", size_word(*width)),
        ColumnKind::Enum { .. } => out.write_str("enum"),
        ColumnKind::Set { .. } => out.write_str("set"),
        ColumnKind::Json => out.write_str("json"),
        ColumnKind::Geometry { subtype } => write!(out, "{subtype}"),
        ColumnKind::Vector { dimensions: 0 } => out.write_str("vector"),
        ColumnKind::Vector { dimensions } => write!(out, "vector({dimensions})"),
        ColumnKind::Uuid => out.write_str("uuid"),
        ColumnKind::Inet4 => out.write_str("inet4"),
        ColumnKind::Inet6 => out.write_str("inet6"),
        ColumnKind::Unknown { name } => out.write_str(name),
    };
}

fn write_integer(out: &mut String, word: &str, column: &ColumnDef) -> std::fmt::Result {
    let flag = column.kind == ColumnKind::TinyInt && column.width == Some(1) && !column.unsigned;
    match column.width {
        Some(width) if column.zerofill || flag => write!(out, "{word}({width})"),
        _ => out.write_str(word),
    }
}

fn write_fsp(out: &mut String, word: &str, fsp: u8) -> std::fmt::Result {
    match fsp {
        0 => out.write_str(word),
        _ => write!(out, "{word}({fsp})"),
    }
}

/// What stands before `text` and `blob` for a length of so many bytes.
fn size_word(width: u8) -> &'static str {
    match width {
        1 => "tiny",
        2 => "",
        3 => "medium",
        _ => "long",
    }
}

pub(super) fn is_integer(kind: &ColumnKind) -> bool {
    matches!(
        kind,
        ColumnKind::TinyInt | ColumnKind::SmallInt | ColumnKind::MediumInt | ColumnKind::Int | ColumnKind::BigInt
    )
}

fn is_number(kind: &ColumnKind) -> bool {
    is_integer(kind)
        || matches!(kind, ColumnKind::Decimal { .. } | ColumnKind::Float { .. } | ColumnKind::Double { .. })
}

/// A default in SQL; `None` when there is none, or none is known.
pub(crate) fn default_text(column: &ColumnDef) -> Option<Arc<str>> {
    match column.default.as_ref()? {
        DefaultValue::Null | DefaultValue::Unknown => None,
        DefaultValue::Expression { text } => Some(Arc::clone(text)),
        DefaultValue::Literal { text } if is_number(&column.kind) || column.kind == ColumnKind::Year => {
            Some(Arc::clone(text))
        }
        DefaultValue::Literal { text } if matches!(column.kind, ColumnKind::Bit { .. }) => {
            Some(format!("b'{text}'").into())
        }
        DefaultValue::Literal { text } => Some(format!("'{}'", text.replace('\'', "''")).into()),
    }
}

#[cfg(test)]
mod tests;
