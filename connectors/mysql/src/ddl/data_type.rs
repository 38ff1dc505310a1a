//! Types of columns with all their synonyms.
//!
//! Sources: MySQL manual, "Data Types"; MariaDB's, "Data Types" and "SQL_MODE=ORACLE"; `sql_yacc.yy` of both.

use super::cursor::Cursor;
use super::options::named;
use super::token::Token;
use super::{CharsetSpec, DdlError, TypeSpec, options, sql_mode};
use crate::model::{ColumnKind, Flavour, GeometryKind};
use std::sync::Arc;

/// Characters or bytes of a length, more than any type has: `LONGTEXT`'s.
const LENGTH: u64 = u32::MAX as u64;

/// A type and its attributes `UNSIGNED`, `ZEROFILL`, `BINARY`, `ASCII`, `UNICODE`, `BYTE`, `CHARACTER SET`.
pub(super) fn data_type(cursor: &mut Cursor<'_>) -> Result<TypeSpec, DdlError> {
    let mut spec = TypeSpec {
        kind: ColumnKind::Int,
        declared: None,
        unsigned: false,
        zerofill: false,
        width: None,
        charset: CharsetSpec::default(),
        serial: false,
    };
    let mut dialect = Dialect::of(cursor);
    let Some(word) = cursor.word(0) else { return Err(cursor.error("a type")) };
    let name = word.to_ascii_lowercase();
    if cursor.is_sign_at(1, '.') && dialect.qualify(&name) {
        cursor.advance();
        cursor.advance();
        let Some(word) = cursor.word(0) else { return Err(cursor.error("a type")) };
        let name = word.to_ascii_lowercase();
        cursor.advance();
        named_type(cursor, &name, dialect, &mut spec)?;
    } else {
        cursor.advance();
        named_type(cursor, &name, dialect, &mut spec)?;
    }
    attributes(cursor, &mut spec)?;
    Ok(spec)
}

/// What names of types mean.
#[derive(Clone, Copy)]
struct Dialect {
    maria: bool,
    oracle: bool,
    maxdb: bool,
    real_as_float: bool,
}

impl Dialect {
    fn of(cursor: &Cursor<'_>) -> Dialect {
        let maria = cursor.context.flavour == Flavour::MariaDb;
        let mode = |bit| cursor.context.sql_mode & bit != 0;
        Dialect {
            maria,
            oracle: maria && mode(sql_mode::ORACLE),
            maxdb: maria && mode(sql_mode::MAXDB),
            real_as_float: mode(sql_mode::REAL_AS_FLOAT),
        }
    }

    /// MariaDB's `oracle_schema.date` and the like: a type in another dialect. False if it is none.
    fn qualify(&mut self, schema: &str) -> bool {
        let (oracle, maxdb) = match schema {
            "mariadb_schema" => (false, false),
            "oracle_schema" => (true, false),
            "maxdb_schema" => (false, true),
            _ => return false,
        };
        if self.maria {
            (self.oracle, self.maxdb) = (oracle, maxdb);
        }
        self.maria
    }
}

fn named_type(cursor: &mut Cursor<'_>, name: &str, dialect: Dialect, spec: &mut TypeSpec) -> Result<(), DdlError> {
    if dialect.oracle && oracle(cursor, name, spec)? {
        return Ok(());
    }
    if number(cursor, name, dialect, spec)? || time(cursor, name, dialect, spec)? || string(cursor, name, spec)? {
        return Ok(());
    }
    if let Some(subtype) = geometry(name) {
        // MariaDB takes `POINT(n)`, with no meaning.
        if cursor.is_sign('(') {
            cursor.parenthesised()?;
        }
        spec.kind = ColumnKind::Geometry { subtype };
        return Ok(());
    }
    spec.kind = match name {
        "json" if dialect.maria => {
            spec.charset = named("utf8mb4", Some("utf8mb4_bin"));
            ColumnKind::Text { width: 4 }
        }
        "json" => ColumnKind::Json,
        "vector" => {
            let dimensions = length(cursor, LENGTH)?.and_then(|n| u32::try_from(n).ok());
            // MySQL manual, "The VECTOR Type": 2048 when not said.
            ColumnKind::Vector { dimensions: dimensions.unwrap_or(2048) }
        }
        "uuid" if dialect.maria => ColumnKind::Uuid,
        "inet4" if dialect.maria => ColumnKind::Inet4,
        "inet6" if dialect.maria => ColumnKind::Inet6,
        _ => {
            if cursor.is_sign('(') {
                cursor.parenthesised()?;
            }
            ColumnKind::Unknown { name: Arc::from(name) }
        }
    };
    Ok(())
}

/// `(n)` if it is next.
fn length(cursor: &mut Cursor<'_>, limit: u64) -> Result<Option<u64>, DdlError> {
    if !cursor.accept_sign('(') {
        return Ok(None);
    }
    let length = cursor.number_up_to(limit)?;
    cursor.expect_sign(')')?;
    Ok(Some(length))
}

/// `(n)` or `(n, m)` if it is next.
fn digits(cursor: &mut Cursor<'_>) -> Result<Option<(u8, Option<u8>)>, DdlError> {
    if !cursor.accept_sign('(') {
        return Ok(None);
    }
    let whole = cursor.number_up_to(255)?;
    let scale = if cursor.accept_sign(',') { Some(cursor.number_up_to(255)?) } else { None };
    cursor.expect_sign(')')?;
    Ok(Some((whole, scale)))
}

fn number(cursor: &mut Cursor<'_>, name: &str, dialect: Dialect, spec: &mut TypeSpec) -> Result<bool, DdlError> {
    let integer = match name {
        "tinyint" | "int1" => Some(ColumnKind::TinyInt),
        "smallint" | "int2" => Some(ColumnKind::SmallInt),
        "mediumint" | "int3" | "middleint" => Some(ColumnKind::MediumInt),
        "int" | "integer" | "int4" => Some(ColumnKind::Int),
        "bigint" | "int8" => Some(ColumnKind::BigInt),
        _ => None,
    };
    if let Some(kind) = integer {
        spec.kind = kind;
        spec.width = length(cursor, 255)?.and_then(|width| u32::try_from(width).ok());
        return Ok(true);
    }
    spec.kind = match name {
        "bool" | "boolean" => {
            spec.width = Some(1);
            ColumnKind::TinyInt
        }
        "serial" => {
            (spec.serial, spec.unsigned) = (true, true);
            ColumnKind::BigInt
        }
        "decimal" | "dec" | "numeric" | "fixed" => decimal(digits(cursor)?),
        "number" if dialect.maria && cursor.is_sign('(') => decimal(digits(cursor)?),
        "float" | "float4" => match digits(cursor)? {
            None => ColumnKind::Float { digits: None },
            Some((whole, Some(scale))) => ColumnKind::Float { digits: Some((whole, scale)) },
            // A precision in bits, which only picks the type: 24 are a float's.
            Some((bits, None)) if bits <= 24 => ColumnKind::Float { digits: None },
            Some((_, None)) => ColumnKind::Double { digits: None },
        },
        "double" | "float8" => {
            cursor.accept("PRECISION");
            double(cursor)?
        }
        "real" if dialect.real_as_float => match double(cursor)? {
            ColumnKind::Double { digits } => ColumnKind::Float { digits },
            kind => kind,
        },
        "real" => double(cursor)?,
        "number" if dialect.maria => ColumnKind::Double { digits: None },
        "bit" => {
            let bits = length(cursor, 64)?.and_then(|bits| u8::try_from(bits).ok());
            ColumnKind::Bit { length: bits.filter(|bits| *bits != 0).unwrap_or(1) }
        }
        _ => return Ok(false),
    };
    Ok(true)
}

/// `DECIMAL` is (10, 0), and so is `DECIMAL(0)`.
fn decimal(digits: Option<(u8, Option<u8>)>) -> ColumnKind {
    match digits {
        None | Some((0, None | Some(0))) => ColumnKind::Decimal { precision: 10, scale: 0 },
        Some((precision, scale)) => ColumnKind::Decimal { precision, scale: scale.unwrap_or(0) },
    }
}

fn double(cursor: &mut Cursor<'_>) -> Result<ColumnKind, DdlError> {
    match digits(cursor)? {
        None => Ok(ColumnKind::Double { digits: None }),
        Some((whole, Some(scale))) => Ok(ColumnKind::Double { digits: Some((whole, scale)) }),
        Some((_, None)) => Err(cursor.error("a scale after the precision")),
    }
}

fn time(cursor: &mut Cursor<'_>, name: &str, dialect: Dialect, spec: &mut TypeSpec) -> Result<bool, DdlError> {
    let mut fsp = || length(cursor, 6).map(|fsp| fsp.and_then(|fsp| u8::try_from(fsp).ok()).unwrap_or(0));
    spec.kind = match name {
        "date" => ColumnKind::Date,
        "time" => ColumnKind::Time { fsp: fsp()? },
        "datetime" => ColumnKind::DateTime { fsp: fsp()? },
        "timestamp" if dialect.maxdb => ColumnKind::DateTime { fsp: fsp()? },
        "timestamp" => ColumnKind::Timestamp { fsp: fsp()? },
        "year" => {
            length(cursor, 255)?;
            ColumnKind::Year
        }
        _ => return Ok(false),
    };
    Ok(true)
}

fn string(cursor: &mut Cursor<'_>, name: &str, spec: &mut TypeSpec) -> Result<bool, DdlError> {
    spec.kind = match name {
        "char" | "character" if cursor.accept_any(&["VARYING"]) => var_char(cursor)?,
        "char" | "character" => char_type(cursor)?,
        "varchar" | "varcharacter" | "varchar2" => var_char(cursor)?,
        "nchar" | "nvarchar" | "national" => return national(cursor, name, spec).map(|()| true),
        "binary" => ColumnKind::Binary { length: small(length(cursor, 255)?.unwrap_or(1)) },
        "varbinary" => match length(cursor, LENGTH)? {
            Some(length) => ColumnKind::VarBinary { length: small(length) },
            None => return Err(cursor.error("a length")),
        },
        "tinytext" => ColumnKind::Text { width: 1 },
        "text" => {
            spec.declared = length(cursor, LENGTH)?;
            ColumnKind::Text { width: 2 }
        }
        "mediumtext" => ColumnKind::Text { width: 3 },
        "longtext" => ColumnKind::Text { width: 4 },
        "tinyblob" => ColumnKind::Blob { width: 1 },
        "blob" => {
            spec.declared = length(cursor, LENGTH)?;
            ColumnKind::Blob { width: 2 }
        }
        "mediumblob" => ColumnKind::Blob { width: 3 },
        "longblob" => ColumnKind::Blob { width: 4 },
        "long" if cursor.accept("VARBINARY") => ColumnKind::Blob { width: 3 },
        "long" => {
            if cursor.accept_any(&["CHAR", "CHARACTER"]) {
                cursor.expect("VARYING")?;
            } else {
                cursor.accept_any(&["VARCHAR", "VARCHARACTER"]);
            }
            ColumnKind::Text { width: 3 }
        }
        "enum" => ColumnKind::Enum { labels: labels(cursor)? },
        "set" => ColumnKind::Set { labels: labels(cursor)? },
        _ => return Ok(false),
    };
    Ok(true)
}

fn small(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn char_type(cursor: &mut Cursor<'_>) -> Result<ColumnKind, DdlError> {
    Ok(ColumnKind::Char { length: small(length(cursor, 255)?.unwrap_or(1)) })
}

fn var_char(cursor: &mut Cursor<'_>) -> Result<ColumnKind, DdlError> {
    match length(cursor, LENGTH)? {
        Some(length) => Ok(ColumnKind::VarChar { length: small(length) }),
        None => Err(cursor.error("a length")),
    }
}

/// `NCHAR`, `NATIONAL CHAR` and their varying forms: in the set `utf8mb3`.
fn national(cursor: &mut Cursor<'_>, name: &str, spec: &mut TypeSpec) -> Result<(), DdlError> {
    let varying = match name {
        "nvarchar" => true,
        "nchar" => cursor.accept_any(&["VARYING", "VARCHAR", "VARCHARACTER"]),
        _ if cursor.accept_any(&["VARCHAR", "VARCHARACTER"]) => true,
        _ if cursor.accept_any(&["CHAR", "CHARACTER"]) => cursor.accept("VARYING"),
        _ => return Err(cursor.error("CHAR or VARCHAR")),
    };
    spec.charset = named("utf8mb3", None);
    spec.kind = if varying { var_char(cursor)? } else { char_type(cursor)? };
    Ok(())
}

/// Labels of `ENUM` and `SET`; spaces at their end do not count (MySQL manual, "The ENUM Type").
fn labels(cursor: &mut Cursor<'_>) -> Result<Arc<[Arc<str>]>, DdlError> {
    cursor.expect_sign('(')?;
    let mut labels: Vec<Arc<str>> = Vec::new();
    loop {
        let label = match cursor.token(0) {
            Token::Hex(digits) => {
                let text = super::transaction::hex_bytes(digits).and_then(|bytes| String::from_utf8(bytes).ok());
                // Bytes are in the column's set, which is not known yet; ASCII is the same in nearly all.
                let Some(text) = text.filter(|text| text.is_ascii()) else {
                    return Err(cursor.error("a label as text"));
                };
                cursor.advance();
                Arc::from(text)
            }
            _ => cursor.text()?,
        };
        labels.push(Arc::from(label.trim_end_matches(' ')));
        if !cursor.accept_sign(',') {
            cursor.expect_sign(')')?;
            return Ok(Arc::from(labels));
        }
    }
}

fn geometry(name: &str) -> Option<GeometryKind> {
    Some(match name {
        "geometry" => GeometryKind::Geometry,
        "point" => GeometryKind::Point,
        "linestring" => GeometryKind::LineString,
        "polygon" => GeometryKind::Polygon,
        "multipoint" => GeometryKind::MultiPoint,
        "multilinestring" => GeometryKind::MultiLineString,
        "multipolygon" => GeometryKind::MultiPolygon,
        "geometrycollection" | "geomcollection" => GeometryKind::GeometryCollection,
        _ => return None,
    })
}

/// MariaDB in `sql_mode=ORACLE`: names that mean something else, or exist there alone.
fn oracle(cursor: &mut Cursor<'_>, name: &str, spec: &mut TypeSpec) -> Result<bool, DdlError> {
    spec.kind = match name {
        "date" => ColumnKind::DateTime { fsp: 0 },
        "clob" => ColumnKind::Text { width: 4 },
        "blob" => {
            length(cursor, LENGTH)?;
            ColumnKind::Blob { width: 4 }
        }
        "raw" => match length(cursor, LENGTH)? {
            Some(length) => ColumnKind::VarBinary { length: small(length) },
            None => return Err(cursor.error("a length")),
        },
        _ => return Ok(false),
    };
    Ok(true)
}

fn attributes(cursor: &mut Cursor<'_>, spec: &mut TypeSpec) -> Result<(), DdlError> {
    loop {
        if cursor.accept("UNSIGNED") {
            spec.unsigned = true;
        } else if cursor.accept("ZEROFILL") {
            (spec.zerofill, spec.unsigned) = (true, true);
        } else if cursor.accept("SIGNED") {
            spec.unsigned = false;
        } else if cursor.accept("ASCII") {
            spec.charset.name = Some(Arc::from("latin1"));
        } else if cursor.accept("UNICODE") {
            spec.charset.name = Some(Arc::from("ucs2"));
        } else if cursor.accept("BYTE") {
            spec.charset.name = Some(Arc::from("binary"));
        } else if cursor.accept("BINARY") {
            spec.charset.binary = true;
        } else if cursor.is("COLLATE") || !options::charset(cursor, &mut spec.charset)? {
            // A collation may come later too; all of them are the column's affair.
            return Ok(());
        }
    }
}
