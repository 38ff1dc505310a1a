//! From the bytes of a value to a cell, for the two forms in which the servers hand out rows: row images of the log
//! and rows of the binary result protocol. Owns what each type of a column means in neutral words; knows nothing of
//! events, packets and null bitmaps.
//!
//! A decoder is made once for a column of a version of its table and consumes exactly one value from the front of a
//! row, in one pass. The same value read from the log and selected by a snapshot gives the same cell. The snapshot's
//! session has `character_set_results = NULL` and `+00:00` as its time zone.

mod absent;
mod address;
mod compressed;
mod decimal;
mod form;
mod log;
mod result;
mod schema;
mod temporal;

use crate::charset::ConvertError;
use crate::json::JsonError;
use crate::model::ColumnDef;
use decimal::Layout;
use form::{Form, Frame, Labels};
use std::sync::Arc;
use temporal::Moment;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::Cell;

pub(crate) use absent::Absent;
pub(crate) use schema::{column_schema, default_text};

/// What becomes of dates that no calendar has: `0000-00-00`, `2024-00-10`, `2023-02-30`, and the zero timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZeroDates {
    /// An error that shows the value.
    Halt,
    /// Null; 1970-01-01 where the column is `NOT NULL`, as Debezium does.
    Null,
    /// 1970-01-01.
    Epoch,
    /// Every value of the column is the server's text.
    Text,
}

/// Why a column has no neutral type. Its text does not name the column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Unsupported {
    /// Name of the column.
    pub(crate) column: Arc<str>,
    /// What about it.
    pub(crate) reason: String,
}

/// Why the values of a column cannot be read as declared (MY-40).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// The declared type itself is not understood.
    #[error("column `{}` is not understood: {}", .0.column, .0)]
    Unsupported(#[from] Unsupported),
    /// What is sent is not what is declared.
    #[error("column `{column}` is known as {declared}, yet {found}")]
    Type {
        /// Name of the column.
        column: Arc<str>,
        /// The declared type.
        declared: String,
        /// What the log or the result has.
        found: String,
    },
}

/// Why bytes are no value of their type. Holds no value but an impossible date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// The row ends within the value.
    #[error("the row ends within a value")]
    Truncated,
    /// Text that should be UTF-8.
    #[error("the value is not utf-8")]
    NotUtf8,
    /// Text that is not of the column's character set (MY-67).
    #[error("the value is not text of its character set: {0}")]
    Charset(Box<ConvertError>),
    /// A binary document.
    #[error("the value is not a document: {0}")]
    Json(Box<JsonError>),
    /// Not the form that the type has.
    #[error("the value is not {0}")]
    Malformed(&'static str),
    /// A label of an enum or a set that is not declared (MY-69, MY-70).
    #[error("the value has label number {number}, but {labels} labels are known")]
    Label {
        /// Counted from 1.
        number: u32,
        /// How many there are.
        labels: u32,
    },
    /// Beyond what a batch can hold.
    #[error("the value does not fit a batch")]
    TooLarge,
}

// What is passed with every value is small.
const _: () = assert!(size_of::<ValueError>() <= 24);

impl From<ConvertError> for ValueError {
    fn from(cause: ConvertError) -> ValueError {
        ValueError::Charset(Box::new(cause))
    }
}

impl From<JsonError> for ValueError {
    fn from(cause: JsonError) -> ValueError {
        ValueError::Json(Box::new(cause))
    }
}

impl ValueError {
    /// What an operator can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            ValueError::NotUtf8 | ValueError::Charset(_) => {
                "take the table out with \"!\" in `tables`; correct such values, or make the column VARBINARY or BLOB, \
                 before it is read anew"
            }
            _ => "report the server's version; or take the table out with \"!\" in `tables`",
        }
    }
}

/// Room that some values need while they are read; kept from value to value.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    elements: Vec<Cell>,
    text: Vec<u8>,
    inflated: Vec<u8>,
    inflater: compressed::Inflater,
}

impl Scratch {
    /// Elements that are kept allocated between values.
    const ELEMENTS_KEPT: usize = 1 << 14;
    /// Bytes that are kept allocated between values.
    const BYTES_KEPT: usize = 1 << 20;

    /// Gives back the memory of an unusually large value.
    fn settle(&mut self) {
        self.elements.clear();
        self.text.clear();
        self.elements.shrink_to(Self::ELEMENTS_KEPT);
        self.text.shrink_to(Self::BYTES_KEPT);
    }
}

/// Reads the values of one column.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    kind: Kind,
}

/// How a value is read. Numbers are little endian unless said otherwise.
#[derive(Clone, Debug)]
enum Kind {
    Int8,
    Int16,
    Int24,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt24,
    UInt32,
    UInt64,
    /// A length, then that many bytes.
    Framed(Frame, Form),
    /// A date, with or without a time.
    Moment(Moment),
    /// Digits of the fraction: 24 bits of a time, big endian, then the fraction.
    Time2(u8),
    /// 24 bits that read `HHMMSS` as a decimal number.
    TimeOld,
    /// Digits of the fraction: the result protocol's time.
    TimeResult(u8),
    Decimal(Layout),
    Float32,
    Float64,
    /// One byte: years since 1900, and 0 for 0.
    Year,
    /// The same, of which MariaDB's `YEAR(2)` shows two digits.
    YearOfTwo,
    /// Number of bits, big endian in as many bytes as they need.
    Bits(u8),
    Enum(Labels),
    Set(Labels),
}

impl Decoder {
    /// Consumes one value and makes its cell; long values go to the builder's arena. `input` starts at the value's
    /// first byte. Allocates nothing for a value of usual size. After an error the place of `input` means nothing.
    #[inline]
    pub(crate) fn decode(
        &self,
        input: &mut &[u8],
        builder: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<Cell, ValueError> {
        Ok(match &self.kind {
            Kind::Int32 => Cell::int(i64::from(i32::from_le_bytes(take(input)?))),
            Kind::Int64 => Cell::int(i64::from_le_bytes(take(input)?)),
            Kind::Framed(frame, form) => {
                let bytes = frame.take(input)?;
                return form.read(bytes, builder, scratch);
            }
            Kind::Moment(moment) => return moment.read(input, builder),
            Kind::Decimal(layout) => return layout.read(input, builder),
            Kind::Int8 => Cell::int(i64::from(i8::from_le_bytes(take(input)?))),
            Kind::Int16 => Cell::int(i64::from(i16::from_le_bytes(take(input)?))),
            // Read into the upper bytes: the shift back brings the sign along.
            Kind::Int24 => {
                let [a, b, c] = take(input)?;
                Cell::int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
            }
            Kind::UInt8 => Cell::uint(u64::from(u8::from_le_bytes(take(input)?))),
            Kind::UInt16 => Cell::uint(u64::from(u16::from_le_bytes(take(input)?))),
            Kind::UInt24 => {
                let [a, b, c] = take(input)?;
                Cell::uint(u64::from(u32::from_le_bytes([a, b, c, 0])))
            }
            Kind::UInt32 => Cell::uint(u64::from(u32::from_le_bytes(take(input)?))),
            Kind::UInt64 => Cell::uint(u64::from_le_bytes(take(input)?)),
            Kind::Float32 => Cell::float32(f32::from_le_bytes(take(input)?)),
            Kind::Float64 => Cell::float64(f64::from_le_bytes(take(input)?)),
            Kind::Time2(fsp) => Cell::fixed_time(temporal::time2(input, *fsp)?, *fsp),
            Kind::TimeOld => Cell::fixed_time(temporal::time_old(take(input)?)?, 0),
            Kind::TimeResult(fsp) => Cell::fixed_time(temporal::time_result(input)?, *fsp),
            Kind::Year => {
                let [years] = take(input)?;
                Cell::int(if years == 0 { 0 } else { 1_900 + i64::from(years) })
            }
            Kind::YearOfTwo => {
                let [years] = take(input)?;
                Cell::int(i64::from(years % 100))
            }
            Kind::Bits(count) => {
                let bytes = take_bytes(input, usize::from(count.div_ceil(8)))?;
                return form::bits(bytes, *count, builder);
            }
            Kind::Enum(labels) => return labels.one(input, builder),
            Kind::Set(labels) => return labels.several(input, builder),
        })
    }
}

/// The next `N` bytes.
#[inline]
fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], ValueError> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(ValueError::Truncated)?;
    *input = rest;
    Ok(*head)
}

/// The next `length` bytes.
#[inline]
fn take_bytes<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], ValueError> {
    let (head, rest) = input.split_at_checked(length).ok_or(ValueError::Truncated)?;
    *input = rest;
    Ok(head)
}

/// Integers have the same bytes in the log and in results, but for 24 bits, which results widen.
fn integer(bits: u8, unsigned: bool) -> Kind {
    match (bits, unsigned) {
        (8, false) => Kind::Int8,
        (16, false) => Kind::Int16,
        (24, false) => Kind::Int24,
        (32, false) => Kind::Int32,
        (8, true) => Kind::UInt8,
        (16, true) => Kind::UInt16,
        (24, true) => Kind::UInt24,
        (32, true) => Kind::UInt32,
        (_, false) => Kind::Int64,
        (_, true) => Kind::UInt64,
    }
}

fn unsupported(column: &ColumnDef, reason: impl Into<String>) -> Unsupported {
    Unsupported { column: Arc::clone(&column.name), reason: reason.into() }
}

/// A column that is sent as something else than declared. `found` completes "..., yet".
fn mismatch(column: &ColumnDef, found: String) -> Mismatch {
    Mismatch::Type { column: Arc::clone(&column.name), declared: schema::native_type(column), found }
}

/// `MYSQL_TYPE_*`, the byte by which a type goes by in table maps and column definitions; see
/// `include/field_types.h` of MySQL and `include/mysql_com.h` of MariaDB.
mod types {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const TIMESTAMP2: u8 = 17;
    pub(super) const DATETIME2: u8 = 18;
    pub(super) const TIME2: u8 = 19;
    /// MariaDB's `COMPRESSED` blobs and texts.
    pub(super) const BLOB_COMPRESSED: u8 = 140;
    /// MariaDB's `COMPRESSED` variable-length strings.
    pub(super) const VARCHAR_COMPRESSED: u8 = 141;
    pub(super) const VECTOR: u8 = 242;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const TINY_BLOB: u8 = 249;
    pub(super) const MEDIUM_BLOB: u8 = 250;
    pub(super) const LONG_BLOB: u8 = 251;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;

    /// A name for people.
    pub(super) fn name(wire: u8) -> &'static str {
        match wire {
            0 => "DECIMAL of MySQL 4",
            TINY => "TINYINT",
            SHORT => "SMALLINT",
            LONG => "INT",
            FLOAT => "FLOAT",
            DOUBLE => "DOUBLE",
            6 => "NULL",
            TIMESTAMP => "TIMESTAMP of MySQL 5.5",
            LONGLONG => "BIGINT",
            INT24 => "MEDIUMINT",
            DATE | NEWDATE => "DATE",
            TIME => "TIME of MySQL 5.5",
            DATETIME => "DATETIME of MySQL 5.5",
            YEAR => "YEAR",
            VARCHAR | VAR_STRING => "VARCHAR",
            BIT => "BIT",
            TIMESTAMP2 => "TIMESTAMP",
            DATETIME2 => "DATETIME",
            TIME2 => "TIME",
            20 => "an array of a multi-valued index",
            BLOB_COMPRESSED => "a compressed BLOB",
            VARCHAR_COMPRESSED => "a compressed VARCHAR",
            VECTOR => "VECTOR",
            JSON => "JSON",
            NEWDECIMAL => "DECIMAL",
            ENUM => "ENUM",
            SET => "SET",
            TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB => "BLOB or TEXT",
            STRING => "CHAR",
            GEOMETRY => "GEOMETRY",
            _ => "a type that is not known",
        }
    }
}

#[cfg(test)]
mod tests;
