//! Which decoder reads a column's values in row images: what the log's table map says of the column must fit what is
//! declared, to the byte (MY-40, MY-68). Lengths within the row follow from the table map.

use super::form::{Form, Frame, Labels, VectorText};
use super::schema::{Encoding, encoding, native_type};
use super::temporal::{Impossible, Meaning, Moment, Shape};
use super::{Decoder, Kind, Layout, Mismatch, ZeroDates, integer, mismatch, types, unsupported};
use crate::binlog::WireColumn;
use crate::model::{ColumnDef, ColumnKind, Flavour};
use std::sync::Arc;
use tidewire_core::cell::Tag;

/// Most bytes of a character in any character set.
const CHARACTER_BYTES_MAX: u32 = 5;
/// Dimensions of a vector whose declaration does not say.
const DIMENSIONS_UNKNOWN: u32 = 0;

impl Decoder {
    /// A decoder for the values of a column in row images. An error tells what of the log's column does not fit the
    /// declared one.
    pub(crate) fn for_log(
        wire: &WireColumn,
        column: &ColumnDef,
        flavour: Flavour,
        zero: ZeroDates,
    ) -> Result<Decoder, Mismatch> {
        let kind = match &column.kind {
            ColumnKind::Date | ColumnKind::Time { .. } | ColumnKind::DateTime { .. } | ColumnKind::Timestamp { .. } => {
                temporal(wire, column, zero)
            }
            ColumnKind::Char { .. }
            | ColumnKind::VarChar { .. }
            | ColumnKind::Binary { .. }
            | ColumnKind::VarBinary { .. }
            | ColumnKind::Text { .. }
            | ColumnKind::Blob { .. } => string(wire, column)?,
            ColumnKind::Unknown { name } => {
                return Err(unsupported(column, format!("its type `{name}` is not known")).into());
            }
            _ => plain(wire, column, flavour),
        };
        let kind = kind.ok_or_else(|| mismatch(column, found(wire, column)))?;
        Ok(Decoder { kind })
    }
}

/// What is in the log, for people.
fn found(wire: &WireColumn, column: &ColumnDef) -> String {
    let WireColumn { wire: kind, meta, .. } = *wire;
    let name = types::name(kind);
    let text = match kind {
        types::NEWDECIMAL => format!("DECIMAL({},{})", meta >> 8, meta & 0xff),
        types::VARCHAR | types::VAR_STRING | types::STRING | types::VARCHAR_COMPRESSED => {
            format!("{name} of {meta} bytes")
        }
        types::BIT => format!("BIT({meta})"),
        types::TIMESTAMP2 | types::DATETIME2 | types::TIME2 => format!("{name}({meta})"),
        _ => format!("{name} (type {kind}, metadata {meta})"),
    };
    // The types of MariaDB's old temporal format hide their fractions.
    let hint = matches!(kind, types::TIME | types::DATETIME | types::TIMESTAMP) && native_type(column).contains('(');
    let hint = if hint {
        ", whose fraction the log does not describe; rebuild the table with `ALTER TABLE ... FORCE`"
    } else {
        ""
    };
    format!("the log has {text}{hint}")
}

/// Numbers, labels and what else has one form.
fn plain(wire: &WireColumn, column: &ColumnDef, flavour: Flavour) -> Option<Kind> {
    let WireColumn { wire, meta, .. } = *wire;
    let framed = |form| Some(Kind::Framed(Frame::for_width(meta)?, form));
    let fixed = |length: u16, form| (wire == types::STRING && meta == length).then_some(Kind::Framed(Frame::One, form));
    match (&column.kind, wire) {
        (ColumnKind::TinyInt, types::TINY) => Some(integer(8, column.unsigned)),
        (ColumnKind::SmallInt, types::SHORT) => Some(integer(16, column.unsigned)),
        (ColumnKind::MediumInt, types::INT24) => Some(integer(24, column.unsigned)),
        (ColumnKind::Int, types::LONG) => Some(integer(32, column.unsigned)),
        (ColumnKind::BigInt, types::LONGLONG) => Some(integer(64, column.unsigned)),
        (ColumnKind::Decimal { precision, scale }, types::NEWDECIMAL) => {
            let same = meta == u16::from(*precision) << 8 | u16::from(*scale);
            Layout::new(*precision, *scale).filter(|_| same).map(Kind::Decimal)
        }
        (ColumnKind::Float { .. }, types::FLOAT) => (meta == 4).then_some(Kind::Float32),
        (ColumnKind::Double { .. }, types::DOUBLE) => (meta == 8).then_some(Kind::Float64),
        (ColumnKind::Bit { length }, types::BIT) => {
            (meta == u16::from(*length) && (1..=64).contains(length)).then_some(Kind::Bits(*length))
        }
        (ColumnKind::Year, types::YEAR) if column.width == Some(2) => Some(Kind::YearOfTwo),
        (ColumnKind::Year, types::YEAR) => Some(Kind::Year),
        (ColumnKind::Enum { labels }, types::ENUM) => {
            let bytes = if labels.len() < 256 { 1 } else { 2 };
            (meta == bytes).then(|| Kind::Enum(Labels { bytes: bytes as u8, labels: Arc::clone(labels) }))
        }
        (ColumnKind::Set { labels }, types::SET) => {
            let bytes = set_bytes(labels.len())?;
            (meta == u16::from(bytes)).then(|| Kind::Set(Labels { bytes, labels: Arc::clone(labels) }))
        }
        (ColumnKind::Json, types::JSON) => framed(Form::Document),
        (ColumnKind::Geometry { .. }, types::GEOMETRY) => framed(Form::Geometry),
        (ColumnKind::Vector { .. }, types::VECTOR) => framed(Form::Vector(VectorText::Exponent)),
        (ColumnKind::Vector { dimensions }, types::VARCHAR | types::VAR_STRING) if flavour == Flavour::MariaDb => {
            let same = *dimensions == DIMENSIONS_UNKNOWN || u32::from(meta) == dimensions.saturating_mul(4);
            same.then_some(Kind::Framed(Frame::for_longest(meta), Form::Vector(VectorText::Shortest)))
        }
        (ColumnKind::Uuid, _) => fixed(16, Form::Uuid),
        (ColumnKind::Inet6, _) => fixed(16, Form::Inet6),
        (ColumnKind::Inet4, _) => fixed(4, Form::Inet4),
        _ => None,
    }
}

/// Bytes of a set's number; see `get_set_pack_length` of the server.
fn set_bytes(labels: usize) -> Option<u8> {
    Some(match labels.div_ceil(8) {
        0 => 1,
        bytes @ 1..=4 => bytes as u8,
        5..=8 => 8,
        _ => return None,
    })
}

fn temporal(wire: &WireColumn, column: &ColumnDef, zero: ZeroDates) -> Option<Kind> {
    let WireColumn { wire, meta, .. } = *wire;
    let impossible = Impossible::of(zero, column.nullable);
    let moment = |shape, meaning, fsp| Kind::Moment(Moment { shape, meaning, fsp, impossible });
    let exact = |fsp: u8| u16::from(fsp) == meta && fsp <= 6;
    Some(match (&column.kind, wire) {
        (ColumnKind::Date, types::DATE | types::NEWDATE) => moment(Shape::Date, Meaning::Date, 0),
        (ColumnKind::Time { fsp }, types::TIME2) if exact(*fsp) => Kind::Time2(*fsp),
        (ColumnKind::Time { fsp: 0 }, types::TIME) => Kind::TimeOld,
        (ColumnKind::DateTime { fsp }, types::DATETIME2) if exact(*fsp) => {
            moment(Shape::DateTime2, Meaning::DateTime, *fsp)
        }
        (ColumnKind::DateTime { fsp: 0 }, types::DATETIME) => moment(Shape::DateTimeOld, Meaning::DateTime, 0),
        (ColumnKind::Timestamp { fsp }, types::TIMESTAMP2) if exact(*fsp) => {
            moment(Shape::Timestamp2, Meaning::Timestamp, *fsp)
        }
        (ColumnKind::Timestamp { fsp: 0 }, types::TIMESTAMP) => moment(Shape::TimestampOld, Meaning::Timestamp, 0),
        _ => return None,
    })
}

/// Texts and bytes. `None` when the log's type does not fit.
fn string(wire: &WireColumn, column: &ColumnDef) -> Result<Option<Kind>, Mismatch> {
    let WireColumn { wire, meta, .. } = *wire;
    let binary = || Form::Bytes;
    let text = || {
        Ok::<_, Mismatch>(match encoding(column)? {
            Encoding::Binary => Form::Bytes,
            Encoding::Text(converter) if converter.is_utf8() => Form::Utf8(Tag::Text),
            Encoding::Text(converter) => Form::Converted(Tag::Text, converter),
        })
    };
    // Bytes in the log, characters in the declaration.
    let characters = |length: u32| {
        let bytes = u32::from(meta);
        length <= bytes && bytes <= length.saturating_mul(CHARACTER_BYTES_MAX)
    };
    let longest = Frame::for_longest(meta);
    Ok(match (&column.kind, wire) {
        (ColumnKind::Char { length }, types::STRING) if characters(*length) => {
            let form = match text()? {
                Form::Bytes => Form::Padded(u32::from(meta)),
                form => form,
            };
            Some(Kind::Framed(longest, form))
        }
        (ColumnKind::Binary { length }, types::STRING) if *length == u32::from(meta) => {
            Some(Kind::Framed(longest, Form::Padded(*length)))
        }
        (ColumnKind::VarChar { length }, types::VARCHAR | types::VAR_STRING) if characters(*length) => {
            Some(Kind::Framed(longest, text()?))
        }
        (ColumnKind::VarBinary { length }, types::VARCHAR | types::VAR_STRING) if *length == u32::from(meta) => {
            Some(Kind::Framed(longest, binary()))
        }
        // The stored length has a byte more, for the method.
        (ColumnKind::VarChar { .. }, types::VARCHAR_COMPRESSED) => {
            Some(Kind::Framed(longest, Form::Compressed(Box::new(text()?))))
        }
        (ColumnKind::VarBinary { .. }, types::VARCHAR_COMPRESSED) => {
            Some(Kind::Framed(longest, Form::Compressed(Box::new(binary()))))
        }
        (ColumnKind::Text { width } | ColumnKind::Blob { width }, _) if u16::from(*width) == meta => {
            let form = if matches!(column.kind, ColumnKind::Text { .. }) { text()? } else { binary() };
            let form = match wire {
                types::TINY_BLOB | types::MEDIUM_BLOB | types::LONG_BLOB | types::BLOB => form,
                types::BLOB_COMPRESSED => Form::Compressed(Box::new(form)),
                _ => return Ok(None),
            };
            Frame::for_width(meta).map(|frame| Kind::Framed(frame, form))
        }
        _ => None,
    })
}
