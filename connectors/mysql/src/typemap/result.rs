//! Which decoder reads a column's values in rows of the binary result protocol ("Binary Protocol Resultset Row" and
//! "Binary Protocol Value" of the protocol's manual). The session has `character_set_results = NULL`, so that texts and
//! labels come as they are stored, in the column's character set: converted by the server, bytes that are no text of it
//! would come as `?`, while the log has the bytes themselves (MY-67). Numbers and addresses are ASCII, documents UTF-8.

use super::form::{Form, Frame, VectorText};
use super::schema::{Encoding, encoding, is_integer};
use super::temporal::{Impossible, Meaning, Moment, Shape};
use super::{Decoder, Kind, Layout, Mismatch, ZeroDates, integer, mismatch, types, unsupported};
use crate::charset::Converter;
use crate::model::{ColumnDef, ColumnKind, Flavour};
use tidewire_core::cell::Tag;

/// `UNSIGNED_FLAG` of a column definition.
const UNSIGNED: u16 = 1 << 5;

impl Decoder {
    /// A decoder for the values of a column in result rows; type and flags are those of the column definition. An
    /// error tells what of the result's column does not fit the declared one.
    pub(crate) fn for_result(
        column: &ColumnDef,
        result_type: u8,
        result_flags: u16,
        flavour: Flavour,
        zero: ZeroDates,
    ) -> Result<Decoder, Mismatch> {
        if let ColumnKind::Unknown { name } = &column.kind {
            return Err(unsupported(column, format!("its type `{name}` is not known")).into());
        }
        let name = types::name(result_type);
        if is_integer(&column.kind) && column.unsigned != (result_flags & UNSIGNED != 0) {
            let sign = if column.unsigned { "signed" } else { "unsigned" };
            return Err(mismatch(column, format!("the result has a {sign} {name}")));
        }
        let kind = match number(column, result_type) {
            Some(kind) => Some(kind),
            None => temporal(column, result_type, zero),
        };
        let kind = match kind {
            Some(kind) => Some(kind),
            None => framed(column, result_type, flavour)?.map(|form| Kind::Framed(Frame::Encoded, form)),
        };
        let kind = kind.ok_or_else(|| mismatch(column, format!("the result has {name} (type {result_type})")))?;
        Ok(Decoder { kind })
    }
}

fn number(column: &ColumnDef, result_type: u8) -> Option<Kind> {
    Some(match (&column.kind, result_type) {
        (ColumnKind::TinyInt, types::TINY) => integer(8, column.unsigned),
        (ColumnKind::SmallInt, types::SHORT) => integer(16, column.unsigned),
        // Widened.
        (ColumnKind::MediumInt, types::INT24) | (ColumnKind::Int, types::LONG) => integer(32, column.unsigned),
        (ColumnKind::BigInt, types::LONGLONG) => integer(64, column.unsigned),
        (ColumnKind::Float { .. }, types::FLOAT) => Kind::Float32,
        (ColumnKind::Double { .. }, types::DOUBLE) => Kind::Float64,
        // Two bytes, all of the year.
        (ColumnKind::Year, types::YEAR) => integer(16, false),
        _ => return None,
    })
}

fn temporal(column: &ColumnDef, result_type: u8, zero: ZeroDates) -> Option<Kind> {
    let impossible = Impossible::of(zero, column.nullable);
    let (meaning, fsp) = match (&column.kind, result_type) {
        (ColumnKind::Time { fsp }, types::TIME) => return Some(Kind::TimeResult(*fsp)),
        (ColumnKind::Date, types::DATE | types::NEWDATE) => (Meaning::Date, 0),
        (ColumnKind::DateTime { fsp }, types::DATETIME) => (Meaning::DateTime, *fsp),
        (ColumnKind::Timestamp { fsp }, types::TIMESTAMP) => (Meaning::Timestamp, *fsp),
        _ => return None,
    };
    Some(Kind::Moment(Moment { shape: Shape::Result, meaning, fsp, impossible }))
}

/// Values that are a length and bytes. `None` when the result's type does not fit.
fn framed(column: &ColumnDef, result_type: u8, flavour: Flavour) -> Result<Option<Form>, Mismatch> {
    let string = matches!(result_type, types::STRING | types::VAR_STRING | types::VARCHAR);
    let blob = matches!(result_type, types::TINY_BLOB | types::MEDIUM_BLOB | types::LONG_BLOB | types::BLOB);
    let fits = match &column.kind {
        ColumnKind::Decimal { .. } => result_type == types::NEWDECIMAL,
        ColumnKind::Bit { .. } => result_type == types::BIT,
        ColumnKind::Json => result_type == types::JSON,
        ColumnKind::Geometry { .. } => result_type == types::GEOMETRY,
        ColumnKind::Vector { .. } => match flavour {
            Flavour::MySql => result_type == types::VECTOR,
            Flavour::MariaDb => string || blob,
        },
        ColumnKind::Text { .. } | ColumnKind::Blob { .. } => blob,
        ColumnKind::Enum { .. } => string || result_type == types::ENUM,
        ColumnKind::Set { .. } => string || result_type == types::SET,
        _ => string,
    };
    if !fits {
        return Ok(None);
    }
    Ok(Some(match &column.kind {
        ColumnKind::Char { length } => match encoding(column)? {
            Encoding::Binary => Form::Padded(*length),
            Encoding::Text(converter) => text(Tag::Text, converter),
        },
        ColumnKind::VarChar { .. } | ColumnKind::Text { .. } => match encoding(column)? {
            Encoding::Binary => Form::Bytes,
            Encoding::Text(converter) => text(Tag::Text, converter),
        },
        ColumnKind::Binary { length } => Form::Padded(*length),
        ColumnKind::VarBinary { .. } | ColumnKind::Blob { .. } => Form::Bytes,
        ColumnKind::Decimal { precision, scale } => match Layout::new(*precision, *scale) {
            Some(_) => Form::DecimalText(*scale),
            None => return Ok(None),
        },
        ColumnKind::Bit { length } => Form::Bits(*length),
        ColumnKind::Json => Form::Utf8(Tag::Json),
        ColumnKind::Geometry { .. } => Form::Geometry,
        ColumnKind::Vector { .. } => Form::Vector(match flavour {
            Flavour::MySql => VectorText::Exponent,
            Flavour::MariaDb => VectorText::Shortest,
        }),
        ColumnKind::Enum { .. } => labels(column, Tag::Enum)?,
        ColumnKind::Set { .. } => labels(column, Tag::Set)?,
        ColumnKind::Uuid => Form::UuidText,
        ColumnKind::Inet4 | ColumnKind::Inet6 => Form::Utf8(Tag::Other),
        _ => return Ok(None),
    }))
}

fn text(tag: Tag, converter: Converter) -> Form {
    if converter.is_utf8() { Form::Utf8(tag) } else { Form::Converted(tag, converter) }
}

/// Labels as text; those of a set with commas between them, in its character set as well.
fn labels(column: &ColumnDef, tag: Tag) -> Result<Form, Mismatch> {
    Ok(match encoding(column)? {
        Encoding::Binary => Form::Utf8(tag),
        Encoding::Text(converter) => text(tag, converter),
    })
}
