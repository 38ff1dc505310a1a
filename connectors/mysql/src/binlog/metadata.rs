//! What a TABLE_MAP says beyond the layout of values: signedness always in MySQL, the rest by `binlog_row_metadata`.
//!
//! Source: MySQL `libs/mysql/binlog/event/rows_event.h`, `Optional_metadata_field_type`; `sql/log_event.cc`,
//! `Table_map_log_event::init_metadata_fields`; MariaDB `sql/log_event_server.cc`, the same.

use super::error::DecodeError;
use super::kind;
use super::read::Fields;
use super::table_map::{WireColumn, wire};
use crate::model::Flavour;

const SIGNEDNESS: u8 = 1;
const DEFAULT_CHARSET: u8 = 2;
const COLUMN_CHARSET: u8 = 3;
const COLUMN_NAME: u8 = 4;
const SET_LABELS: u8 = 5;
const ENUM_LABELS: u8 = 6;
const GEOMETRY_TYPE: u8 = 7;
const SIMPLE_PRIMARY_KEY: u8 = 8;
const PRIMARY_KEY_WITH_PREFIX: u8 = 9;
const ENUM_SET_DEFAULT_CHARSET: u8 = 10;
const ENUM_SET_COLUMN_CHARSET: u8 = 11;
const COLUMN_VISIBILITY: u8 = 12;
const VECTOR_DIMENSIONALITY: u8 = 13;

/// Optional fields of a table map. Vectors have an entry for each column, unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Whether a number is `UNSIGNED`; false for columns that are no numbers.
    pub(crate) unsigned: Option<Vec<bool>>,
    /// Collation id of text, binary, enum and set columns; 63 is binary.
    pub(crate) charsets: Vec<Option<u32>>,
    /// Names. There from `binlog_row_metadata=FULL` on; then a missing primary key means that there is none.
    pub(crate) names: Option<Vec<String>>,
    /// Labels of enum and set columns, in the character set of the column.
    pub(crate) labels: Vec<Option<Vec<Vec<u8>>>>,
    /// Kind of geometry: 0 any, 1 point, 2 line string, 3 polygon, 4 to 6 the multiples of these, 7 collection.
    pub(crate) geometry: Vec<Option<u8>>,
    /// Columns of the primary key, in the order of the key.
    pub(crate) primary_key: Option<Vec<usize>>,
    /// Lengths of the prefixes, in characters, of a primary key that has some; 0 for a whole column. One for each
    /// column of the key.
    pub(crate) primary_key_prefixes: Option<Vec<u32>>,
    /// Whether a column shows in `SELECT *`.
    pub(crate) visible: Option<Vec<bool>>,
    /// Dimensions of vector columns.
    pub(crate) dimensions: Vec<Option<u32>>,
    /// Types of fields that are not known. They delimit themselves and only ever add facts; whoever needs one of those
    /// can tell from this that it may be missing.
    pub(crate) unknown: Vec<u8>,
}

impl Metadata {
    /// Reads fields of type 1, length, value, to the end of the event.
    pub(super) fn parse(bytes: &[u8], columns: &[WireColumn], flavour: Flavour) -> Result<Metadata, DecodeError> {
        let mut metadata = Metadata {
            charsets: vec![None; columns.len()],
            labels: vec![None; columns.len()],
            geometry: vec![None; columns.len()],
            dimensions: vec![None; columns.len()],
            ..Metadata::default()
        };
        let table = Table { columns, flavour };
        let mut fields = Fields::new(kind::TABLE_MAP, bytes);
        while !fields.rest.is_empty() {
            let field = fields.u8("optional field")?;
            let mut value = Fields::new(kind::TABLE_MAP, fields.prefixed("optional field")?);
            metadata.read(field, &mut value, &table)?;
            value.end()?;
        }
        Ok(metadata)
    }

    fn read(&mut self, field: u8, value: &mut Fields<'_>, table: &Table<'_>) -> Result<(), DecodeError> {
        match field {
            SIGNEDNESS => self.unsigned = Some(table.bits(value, Table::is_numeric)?),
            DEFAULT_CHARSET => default_charset(value, table, |column| table.is_character(column), &mut self.charsets)?,
            COLUMN_CHARSET => numbers(value, table, |column| table.is_character(column), &mut self.charsets)?,
            ENUM_SET_DEFAULT_CHARSET => default_charset(value, table, Table::is_enum_or_set, &mut self.charsets)?,
            ENUM_SET_COLUMN_CHARSET => numbers(value, table, Table::is_enum_or_set, &mut self.charsets)?,
            COLUMN_NAME => self.names = Some(names(value, table)?),
            SET_LABELS => labels(value, table, wire::SET, &mut self.labels)?,
            ENUM_LABELS => labels(value, table, wire::ENUM, &mut self.labels)?,
            GEOMETRY_TYPE => {
                let mut kinds = vec![None; table.columns.len()];
                numbers(value, table, |column| column.wire == wire::GEOMETRY, &mut kinds)?;
                for (kind, found) in self.geometry.iter_mut().zip(kinds) {
                    *kind = match found {
                        Some(found @ 0..=7) => Some(found as u8),
                        Some(other) => return Err(value.undefined("kind of geometry", u64::from(other))),
                        None => None,
                    };
                }
            }
            SIMPLE_PRIMARY_KEY => self.primary_key = Some(key(value, table)?),
            PRIMARY_KEY_WITH_PREFIX => {
                let (columns, prefixes) = key_with_prefix(value, table)?;
                self.primary_key = Some(columns);
                self.primary_key_prefixes = Some(prefixes);
            }
            COLUMN_VISIBILITY => self.visible = Some(table.bits(value, |_| true)?),
            VECTOR_DIMENSIONALITY => {
                numbers(value, table, |column| column.wire == wire::VECTOR, &mut self.dimensions)?;
            }
            other => {
                value.take_rest();
                self.unknown.push(other);
            }
        }
        Ok(())
    }
}

/// The columns that fields speak of.
struct Table<'a> {
    columns: &'a [WireColumn],
    flavour: Flavour,
}

impl Table<'_> {
    /// Columns that have a bit of signedness. `YEAR` has one, always set, in either server.
    fn is_numeric(column: &WireColumn) -> bool {
        match column.wire {
            wire::TINY | wire::SHORT | wire::INT24 | wire::LONG | wire::LONGLONG => true,
            wire::NEWDECIMAL | wire::DECIMAL | wire::FLOAT | wire::DOUBLE => true,
            _ => column.wire == wire::YEAR,
        }
    }

    /// Columns that have a character set and are neither enum nor set; `binary` counts, to MySQL in vectors and to MariaDB
    /// in geometries as well.
    fn is_character(&self, column: &WireColumn) -> bool {
        match column.wire {
            wire::VECTOR => self.flavour == Flavour::MySql,
            wire::GEOMETRY => self.flavour == Flavour::MariaDb,
            wire::STRING
            | wire::VAR_STRING
            | wire::VARCHAR
            | wire::BLOB
            | wire::TINY_BLOB
            | wire::MEDIUM_BLOB
            | wire::LONG_BLOB
            | wire::VARCHAR_COMPRESSED
            | wire::BLOB_COMPRESSED => true,
            _ => false,
        }
    }

    fn is_enum_or_set(column: &WireColumn) -> bool {
        matches!(column.wire, wire::ENUM | wire::SET)
    }

    /// Indices of the columns that a field speaks of.
    fn indices(&self, of: impl Fn(&WireColumn) -> bool) -> impl Iterator<Item = usize> {
        let chosen = move |(index, column)| of(column).then_some(index);
        self.columns.iter().enumerate().filter_map(chosen)
    }

    /// A bit for each such column, highest bit of a byte first, as flags for every column.
    fn bits(&self, value: &mut Fields<'_>, of: impl Fn(&WireColumn) -> bool) -> Result<Vec<bool>, DecodeError> {
        let bytes = value.take_rest();
        let mut flags = vec![false; self.columns.len()];
        let mut count = 0;
        for (bit, index) in self.indices(of).enumerate() {
            let byte = bytes.get(bit / 8).ok_or_else(|| value.truncated("bits of columns"))?;
            if let Some(flag) = flags.get_mut(index) {
                *flag = byte << (bit % 8) & 0x80 != 0;
            }
            count += 1;
        }
        match bytes.len() == usize::div_ceil(count, 8) {
            true => Ok(flags),
            false => Err(value.undefined("number of bits of columns", bytes.len() as u64 * 8)),
        }
    }
}

fn number(value: &mut Fields<'_>, field: &'static str) -> Result<u32, DecodeError> {
    let number = value.lenenc(field)?;
    u32::try_from(number).map_err(|_| value.undefined(field, number))
}

/// A number for each such column.
fn numbers(
    value: &mut Fields<'_>,
    table: &Table<'_>,
    of: impl Fn(&WireColumn) -> bool,
    out: &mut [Option<u32>],
) -> Result<(), DecodeError> {
    for index in table.indices(of) {
        let found = number(value, "number of a column")?;
        if let Some(slot) = out.get_mut(index) {
            *slot = Some(found);
        }
    }
    Ok(())
}

/// A collation that most such columns have, then pairs of a place among these columns and the collation of that one.
fn default_charset(
    value: &mut Fields<'_>,
    table: &Table<'_>,
    of: impl Fn(&WireColumn) -> bool,
    out: &mut [Option<u32>],
) -> Result<(), DecodeError> {
    let indices: Vec<usize> = table.indices(of).collect();
    let common = number(value, "default collation")?;
    for index in &indices {
        if let Some(slot) = out.get_mut(*index) {
            *slot = Some(common);
        }
    }
    while !value.rest.is_empty() {
        let place = number(value, "place of a collation")?;
        let collation = number(value, "collation")?;
        let slot = indices.get(place as usize).and_then(|index| out.get_mut(*index));
        *slot.ok_or_else(|| value.undefined("place of a collation", u64::from(place)))? = Some(collation);
    }
    Ok(())
}

fn names(value: &mut Fields<'_>, table: &Table<'_>) -> Result<Vec<String>, DecodeError> {
    let mut names = Vec::with_capacity(table.columns.len());
    for _ in table.columns {
        let name = value.prefixed("column name")?;
        names.push(value.text(name, "column name")?.to_owned());
    }
    Ok(names)
}

/// Of each column of the type: number of labels and the labels.
fn labels(
    value: &mut Fields<'_>,
    table: &Table<'_>,
    of: u8,
    out: &mut [Option<Vec<Vec<u8>>>],
) -> Result<(), DecodeError> {
    for index in table.indices(|column| column.wire == of) {
        // A label takes a byte at least: more than there are bytes cannot be.
        let count = value.length("number of labels")?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(value.prefixed("label")?.to_vec());
        }
        if let Some(slot) = out.get_mut(index) {
            *slot = Some(list);
        }
    }
    Ok(())
}

fn key_column(value: &mut Fields<'_>, table: &Table<'_>) -> Result<usize, DecodeError> {
    let index = number(value, "column of the primary key")?;
    let known = (index as usize) < table.columns.len();
    if known { Ok(index as usize) } else { Err(value.undefined("column of the primary key", u64::from(index))) }
}

fn key(value: &mut Fields<'_>, table: &Table<'_>) -> Result<Vec<usize>, DecodeError> {
    let mut columns = Vec::new();
    while !value.rest.is_empty() {
        columns.push(key_column(value, table)?);
    }
    Ok(columns)
}

fn key_with_prefix(value: &mut Fields<'_>, table: &Table<'_>) -> Result<(Vec<usize>, Vec<u32>), DecodeError> {
    let (mut columns, mut prefixes) = (Vec::new(), Vec::new());
    while !value.rest.is_empty() {
        columns.push(key_column(value, table)?);
        prefixes.push(number(value, "prefix of the primary key")?);
    }
    Ok((columns, prefixes))
}
