//! TABLE_MAP: how the values of a table's rows are laid out.
//!
//! Source: MySQL `libs/mysql/binlog/event/rows_event.h`, `Table_map_event`; `sql/field.cc`, `do_save_field_metadata`.

use super::error::DecodeError;
use super::read::Fields;
use super::{Format, Metadata, kind, value};

/// Most columns of a table in either server.
pub(crate) const COLUMNS_MAX: usize = 4096;

/// Numbers of types as they stand in a table map: `enum_field_types`.
pub(crate) mod wire {
    pub(crate) const DECIMAL: u8 = 0;
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const NULL: u8 = 6;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const TYPED_ARRAY: u8 = 20;
    /// MariaDB, `COMPRESSED`.
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    /// MariaDB, `COMPRESSED`.
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const MEDIUM_BLOB: u8 = 250;
    pub(crate) const LONG_BLOB: u8 = 251;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

/// A TABLE_MAP that is not read yet. Two with the same body are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableMapEvent<'a> {
    /// Number by which rows name the table.
    pub(crate) id: u64,
    /// Flags: 1 lengths of `BIT` are exact, 2 the table only has a foreign key on a changed one (MySQL), 4 it has an
    /// invisible primary key that the server made (MySQL), 0x4000 it has triggers (MariaDB).
    pub(crate) flags: u16,
    /// The whole body, for [`TableMap::parse`] and to compare.
    pub(crate) body: &'a [u8],
}

impl<'a> TableMapEvent<'a> {
    #[inline]
    pub(super) fn parse(body: &'a [u8], format: &Format) -> Result<TableMapEvent<'a>, DecodeError> {
        let mut fields = Fields::new(kind::TABLE_MAP, body);
        let id = table_id(&mut fields, kind::TABLE_MAP, format)?;
        Ok(TableMapEvent { id, flags: fields.u16("flags")?, body })
    }

    /// Database and table as they stand in the event, without reading the columns.
    #[cfg(test)]
    pub(crate) fn names(&self, format: &Format) -> Result<(&'a str, &'a str), DecodeError> {
        let mut fields = Fields::new(kind::TABLE_MAP, self.body);
        table_id(&mut fields, kind::TABLE_MAP, format)?;
        fields.u16("flags")?;
        names(&mut fields)
    }
}

/// Table numbers have six bytes, four in development versions before 5.1.4.
#[inline]
pub(super) fn table_id(fields: &mut Fields<'_>, kind: u8, format: &Format) -> Result<u64, DecodeError> {
    match format.post_header(kind) {
        Some(6) => fields.u32("table id").map(u64::from),
        _ => fields.u48("table id"),
    }
}

fn names<'a>(fields: &mut Fields<'a>) -> Result<(&'a str, &'a str), DecodeError> {
    let mut name = |field| {
        let bytes = fields.prefixed(field)?;
        match fields.u8(field)? {
            0 => fields.text(bytes, field),
            other => Err(fields.undefined(field, u64::from(other))),
        }
    };
    Ok((name("database")?, name("table")?))
}

/// How values of a column are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WireColumn {
    /// Type, one of [`wire`]: `ENUM` and `SET` by their own number although the event hides them behind `STRING`.
    pub(crate) wire: u8,
    /// What the type needs:
    /// `STRING`, `VARCHAR`, `VAR_STRING`, `VARCHAR_COMPRESSED`: longest value in bytes, above 255 the length has two bytes;
    /// `BLOB` and its kind, `JSON`, `GEOMETRY`, `VECTOR`: bytes of the length, 1 to 4;
    /// `NEWDECIMAL`: precision in the high byte, scale in the low one;
    /// `BIT`: length in bits; `ENUM`, `SET`: bytes of a value;
    /// `TIME2`, `DATETIME2`, `TIMESTAMP2`: digits of the fraction, 0 to 6; `FLOAT`, `DOUBLE`: bytes, 4 or 8;
    /// `TYPED_ARRAY`: type of the elements; else 0.
    pub(crate) meta: u16,
    /// Whether null is allowed.
    pub(crate) nullable: bool,
}

/// A TABLE_MAP, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableMap {
    /// Number by which rows name the table.
    pub(crate) id: u64,
    /// Database.
    pub(crate) database: String,
    /// Table.
    pub(crate) table: String,
    /// Columns in the order of row images, the hidden ones too that the server logs.
    pub(crate) columns: Vec<WireColumn>,
    /// What `binlog_row_metadata` adds; `None` when there is nothing at all.
    pub(crate) metadata: Option<Metadata>,
    /// Columns of type `JSON`, which the bitmap of partial updates counts.
    pub(crate) json_columns: usize,
    /// How to pass over a whole image.
    pub(super) steps: value::Steps,
}

impl TableMap {
    /// Reads a body. Allocates; a caller does so only when the body differs from the last one of the same number.
    pub(crate) fn parse(body: &[u8], format: &Format) -> Result<TableMap, DecodeError> {
        let mut fields = Fields::new(kind::TABLE_MAP, body);
        let id = table_id(&mut fields, kind::TABLE_MAP, format)?;
        fields.u16("flags")?;
        let (database, table) = names(&mut fields)?;
        let count = fields.length("number of columns")?;
        if count > COLUMNS_MAX {
            return Err(fields.undefined("number of columns", count as u64));
        }
        let types = fields.bytes(count, "column types")?;
        let mut metas = Fields::new(kind::TABLE_MAP, fields.prefixed("column metadata")?);
        let nulls = fields.bytes(count.div_ceil(8), "null bits")?;
        let mut columns = Vec::with_capacity(count);
        for (index, wire) in types.iter().enumerate() {
            let nullable = nulls.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 != 0);
            let (wire, meta) = column_meta(*wire, &mut metas)?;
            columns.push(WireColumn { wire, meta, nullable });
        }
        metas.end()?;
        let optional = fields.take_rest();
        let metadata =
            if optional.is_empty() { None } else { Some(Metadata::parse(optional, &columns, format.flavour)?) };
        let json_columns = columns.iter().filter(|column| column.wire == wire::JSON).count();
        let steps = value::Steps::of(&columns)?;
        let (database, table) = (database.to_owned(), table.to_owned());
        Ok(TableMap { id, database, table, columns, metadata, json_columns, steps })
    }
}

/// Reads what the event says of one column's type; see [`WireColumn::meta`].
fn column_meta(kind: u8, metas: &mut Fields<'_>) -> Result<(u8, u16), DecodeError> {
    const FIELD: &str = "column metadata";
    let meta = match kind {
        wire::TINY | wire::SHORT | wire::INT24 | wire::LONG | wire::LONGLONG => 0,
        wire::YEAR | wire::DATE | wire::NEWDATE | wire::TIME | wire::DATETIME | wire::TIMESTAMP | wire::NULL => 0,
        wire::FLOAT | wire::DOUBLE => {
            let bytes = metas.u8(FIELD)?;
            let expected = if kind == wire::FLOAT { 4 } else { 8 };
            if bytes != expected {
                return Err(metas.undefined("bytes of a float", u64::from(bytes)));
            }
            u16::from(bytes)
        }
        wire::VARCHAR | wire::VAR_STRING | wire::VARCHAR_COMPRESSED => metas.u16(FIELD)?,
        wire::BLOB
        | wire::BLOB_COMPRESSED
        | wire::TINY_BLOB
        | wire::MEDIUM_BLOB
        | wire::LONG_BLOB
        | wire::JSON
        | wire::GEOMETRY
        | wire::VECTOR => {
            let bytes = metas.u8(FIELD)?;
            if !(1..=4).contains(&bytes) {
                return Err(metas.undefined("bytes of a length", u64::from(bytes)));
            }
            u16::from(bytes)
        }
        wire::TIME2 | wire::DATETIME2 | wire::TIMESTAMP2 => {
            let digits = metas.u8(FIELD)?;
            if digits > 6 {
                return Err(metas.undefined("digits of a fraction", u64::from(digits)));
            }
            u16::from(digits)
        }
        wire::NEWDECIMAL => {
            let (precision, scale) = (metas.u8(FIELD)?, metas.u8(FIELD)?);
            value::check_decimal(precision, scale).map_err(|found| metas.undefined("precision", found))?;
            u16::from(precision) << 8 | u16::from(scale)
        }
        wire::BIT => {
            let (bits, bytes) = (metas.u8(FIELD)?, metas.u8(FIELD)?);
            let length = u16::from(bytes) * 8 + u16::from(bits);
            if bits > 7 || !(1..=64).contains(&length) {
                return Err(metas.undefined("bits", u64::from(length)));
            }
            length
        }
        wire::STRING | wire::ENUM | wire::SET => return string_meta(metas),
        wire::TYPED_ARRAY => return array_meta(metas),
        other => return Err(metas.undefined("column type", u64::from(other))),
    };
    Ok((kind, meta))
}

/// `STRING`: real type 1, length 1. A length of `CHAR` above 255 has its two upper bits, inverted, in bits 4 and 5 of
/// the real type, which are set in all of 247, 248 and 254.
fn string_meta(metas: &mut Fields<'_>) -> Result<(u8, u16), DecodeError> {
    let (real, low) = (metas.u8("column metadata")?, metas.u8("column metadata")?);
    match real {
        wire::ENUM if matches!(low, 1 | 2) => Ok((real, u16::from(low))),
        wire::SET if matches!(low, 1 | 2 | 3 | 4 | 8) => Ok((real, u16::from(low))),
        _ if real | 0x30 == wire::STRING => Ok((wire::STRING, u16::from(!real & 0x30) << 4 | u16::from(low))),
        other => Err(metas.undefined("real type of a string", u64::from(other))),
    }
}

/// `TYPED_ARRAY`, the hidden column of an index on a JSON array: type of the elements 1 and their own metadata. A value
/// is a JSON document behind four bytes of length.
fn array_meta(metas: &mut Fields<'_>) -> Result<(u8, u16), DecodeError> {
    let element = metas.u8("column metadata")?;
    if element == wire::TYPED_ARRAY {
        return Err(metas.undefined("element type", u64::from(element)));
    }
    if element == wire::VARCHAR {
        // Three bytes of length here, as the elements of an array may be longer than a column's value.
        metas.u24("column metadata")?;
    } else {
        column_meta(element, metas)?;
    }
    Ok((wire::TYPED_ARRAY, u16::from(element)))
}
