//! What a table map says of its columns, beside a definition: whether the two agree, and the definition that the map
//! alone gives when it is whole (`binlog_row_metadata = FULL`). See "Table_map_event" in the manual's chapter on the
//! replication protocol.

use crate::binlog::{Metadata, TableMap, WireColumn};
use crate::charset::{Converter, charset_of_collation};
use crate::model::{
    Charset, ColumnDef, ColumnKind, DefaultValue, Flavour, Generated, GeometryKind, TableDef, same_name,
};
use crate::typemap::{self, Decoder, ZeroDates};
use std::sync::Arc;
use tidewire_core::TableName;

/// The collation of bytes.
const BINARY: u32 = 63;

/// Why a definition is not the one of a table map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disagreement(pub(crate) String);

/// Whether the map names its columns: then it tells all that is needed to read rows.
pub(crate) fn is_full(map: &TableMap) -> bool {
    map.metadata.as_ref().is_some_and(|metadata| metadata.names.is_some())
}

/// Whether a definition is one under which the map's rows can have been written, by everything that the map tells:
/// number of columns, types, signs, character sets, names, labels, key.
pub(crate) fn compare(known: &TableDef, map: &TableMap, flavour: Flavour) -> Result<(), Disagreement> {
    let hidden = |index: usize| own_name(map, index).is_some_and(|name| name.starts_with("!hidden!"));
    let visible = (0..map.columns.len()).take_while(|index| !hidden(*index)).count();
    if visible != known.columns.len() {
        let message = format!("the log has {visible} columns, the definition {}", known.columns.len());
        return Err(Disagreement(message));
    }
    for (index, (wire, column)) in map.columns.iter().zip(&known.columns).enumerate() {
        agree(map, index, wire, column, flavour)
            .map_err(|what| Disagreement(format!("column {} (`{}`): {what}", index + 1, column.name)))?;
    }
    match own_key(map).filter(|_| is_full(map)) {
        Some(names) => {
            let same = names.len() == known.primary_key.len()
                && names.iter().zip(&known.primary_key).all(|(a, b)| same_name(a, b));
            if same || is_unique_key(known, &names) {
                Ok(())
            } else {
                Err(Disagreement(format!("the log's primary key is ({})", names.join(", "))))
            }
        }
        None if is_full(map) && !known.primary_key.is_empty() => {
            Err(Disagreement("the log has no primary key".to_owned()))
        }
        None => Ok(()),
    }
}

/// The names of the columns that the map has as the primary key.
fn own_key(map: &TableMap) -> Option<Vec<&str>> {
    let key = map.metadata.as_ref()?.primary_key.as_ref()?;
    Some(key.iter().filter_map(|index| own_name(map, *index)).collect())
}

/// Whether what the log has as the primary key is a unique one: where there is no other, both servers take the first over
/// whole columns none of which may be null for it.
fn is_unique_key(known: &TableDef, names: &[&str]) -> bool {
    let column = |name: &str| known.columns.get(known.position(name)?);
    let is_filled = |name: &&str| column(name).is_some_and(|column| !column.nullable);
    known.primary_key.is_empty()
        && names.iter().all(is_filled)
        && known.unique_keys.iter().filter(|unique| unique.whole).any(|unique| {
            unique.columns.len() == names.len() && unique.columns.iter().zip(names).all(|(a, b)| same_name(a, b))
        })
}

fn own_name(map: &TableMap, index: usize) -> Option<&str> {
    map.metadata.as_ref()?.names.as_ref()?.get(index).map(String::as_str)
}

fn agree(map: &TableMap, index: usize, wire: &WireColumn, column: &ColumnDef, flavour: Flavour) -> Result<(), String> {
    Decoder::for_log(wire, column, flavour, ZeroDates::Halt).map_err(|cause| cause.to_string())?;
    let Some(metadata) = &map.metadata else { return Ok(()) };
    if let Some(name) = own_name(map, index)
        && *name != *column.name
    {
        return Err(format!("its name in the log is `{name}`"));
    }
    let is_number = matches!(wire.wire, 1..=5 | 8 | 9 | 246);
    if let Some(unsigned) = metadata.unsigned.as_ref().and_then(|unsigned| unsigned.get(index))
        && is_number
        && *unsigned != column.unsigned
    {
        return Err(format!("it is {} in the log", if *unsigned { "unsigned" } else { "signed" }));
    }
    let has_text = matches!(
        column.kind,
        ColumnKind::Char { .. }
            | ColumnKind::VarChar { .. }
            | ColumnKind::Text { .. }
            | ColumnKind::Enum { .. }
            | ColumnKind::Set { .. }
    );
    if let (true, Some(collation)) = (has_text, metadata.charsets.get(index).copied().flatten()) {
        let charset = charset_of_collation(collation, flavour);
        let declared = column.charset.as_ref().map(|charset| normal(&charset.name));
        if charset.map(normal) != declared {
            return Err(format!("its character set in the log is `{}`", charset.unwrap_or("unknown")));
        }
    }
    match (&column.kind, metadata.labels.get(index).and_then(Option::as_ref)) {
        (ColumnKind::Enum { labels } | ColumnKind::Set { labels }, Some(own)) => {
            let own = texts(own, charset_at(metadata, index, flavour))?;
            if own.iter().eq(labels.iter()) { Ok(()) } else { Err("its labels differ in the log".to_owned()) }
        }
        _ => Ok(()),
    }
}

fn normal(charset: &str) -> &str {
    if charset == "utf8" { "utf8mb3" } else { charset }
}

fn charset_at(metadata: &Metadata, index: usize, flavour: Flavour) -> &'static str {
    let collation = metadata.charsets.get(index).copied().flatten();
    collation.and_then(|id| charset_of_collation(id, flavour)).unwrap_or("utf8mb4")
}

/// Labels lie in the log in the column's character set.
fn texts(labels: &[Vec<u8>], charset: &str) -> Result<Vec<Arc<str>>, String> {
    let converter = Converter::for_charset(charset).ok_or_else(|| format!("character set `{charset}` is not known"))?;
    let text = |label: &Vec<u8>| {
        let mut out = Vec::new();
        converter.convert(label, &mut out).map_err(|cause| cause.to_string())?;
        String::from_utf8(out).map(Arc::from).map_err(|cause| cause.to_string())
    };
    labels.iter().map(text).collect()
}

/// The definition that a whole map gives. What it does not carry (defaults, comments, MariaDB's own types, which look
/// like others) is taken from a known column of the same name if that fits.
pub(crate) fn definition(map: &TableMap, known: Option<&TableDef>, flavour: Flavour) -> Result<TableDef, Disagreement> {
    let mut columns = Vec::with_capacity(map.columns.len());
    for (index, wire) in map.columns.iter().enumerate() {
        let name = own_name(map, index).unwrap_or_default();
        if name.starts_with("!hidden!") {
            break;
        }
        let same = known.and_then(|known| known.columns.get(known.position(name)?));
        let column = match same.filter(|column| agree(map, index, wire, column, flavour).is_ok()) {
            Some(column) => {
                let default = doubted(column);
                ColumnDef { default, added_as_null: false, given: None, number: None, ..column.clone() }
            }
            None => {
                derived(map, index, wire, flavour).map_err(|what| Disagreement(format!("column `{name}`: {what}")))?
            }
        };
        columns.push(ColumnDef { nullable: wire.nullable, ..column });
    }
    let key = own_key(map).filter(|names| !known.is_some_and(|known| is_unique_key(known, names)));
    let primary_key = key.unwrap_or_default().into_iter().map(Arc::from).collect();
    Ok(TableDef {
        name: TableName::new(map.database.as_str(), map.table.as_str()),
        columns,
        primary_key,
        unique_keys: known.map(|known| known.unique_keys.clone()).unwrap_or_default(),
        indexes: known.map(|known| known.indexes.clone()).unwrap_or_default(),
        charset: known
            .map_or_else(|| Charset { name: "utf8mb4".into(), collation: "".into() }, |known| known.charset.clone()),
        engine: known.and_then(|known| known.engine.clone()),
        comment: None,
        numbering: None,
    })
}

/// A default that may have been another where the definition was not the one in force: still the text to show, but no
/// value of rows.
fn doubted(column: &ColumnDef) -> Option<DefaultValue> {
    match typemap::default_text(column) {
        Some(text) => Some(DefaultValue::Expression { text }),
        None => Some(DefaultValue::Unknown),
    }
}

fn derived(map: &TableMap, index: usize, wire: &WireColumn, flavour: Flavour) -> Result<ColumnDef, String> {
    let metadata = map.metadata.as_ref().ok_or("the log has no metadata of it")?;
    let collation = metadata.charsets.get(index).copied().flatten();
    let is_bytes = collation.is_none_or(|id| id == BINARY);
    let length = u32::from(wire.meta);
    let charset = charset_at(metadata, index, flavour);
    let characters = length / width(charset);
    let text_or = |bytes, text| if is_bytes { bytes } else { text };
    let fsp = wire.meta as u8;
    let labels = || {
        let own = metadata.labels.get(index).and_then(Option::as_ref).ok_or("its labels are not in the log")?;
        texts(own, charset).map(Arc::<[Arc<str>]>::from)
    };
    let pack = wire.meta as u8;
    let kind = match wire.wire {
        1 => ColumnKind::TinyInt,
        2 => ColumnKind::SmallInt,
        3 => ColumnKind::Int,
        4 => ColumnKind::Float { digits: None },
        5 => ColumnKind::Double { digits: None },
        8 => ColumnKind::BigInt,
        9 => ColumnKind::MediumInt,
        10 | 14 => ColumnKind::Date,
        13 => ColumnKind::Year,
        7 => ColumnKind::Timestamp { fsp: 0 },
        11 => ColumnKind::Time { fsp: 0 },
        12 => ColumnKind::DateTime { fsp: 0 },
        17 => ColumnKind::Timestamp { fsp },
        18 => ColumnKind::DateTime { fsp },
        19 => ColumnKind::Time { fsp },
        16 => ColumnKind::Bit { length: pack },
        246 => ColumnKind::Decimal { precision: (wire.meta >> 8) as u8, scale: pack },
        15 | 253 | 141 => text_or(ColumnKind::VarBinary { length }, ColumnKind::VarChar { length: characters }),
        254 => text_or(ColumnKind::Binary { length }, ColumnKind::Char { length: characters }),
        252 | 140 => text_or(ColumnKind::Blob { width: pack }, ColumnKind::Text { width: pack }),
        247 => ColumnKind::Enum { labels: labels()? },
        248 => ColumnKind::Set { labels: labels()? },
        245 => ColumnKind::Json,
        255 => ColumnKind::Geometry { subtype: geometry(metadata.geometry.get(index).copied().flatten()) },
        242 => ColumnKind::Vector { dimensions: metadata.dimensions.get(index).copied().flatten().unwrap_or(0) },
        other => return Err(format!("type {other} is not known")),
    };
    let mut column = ColumnDef::new(own_name(map, index).unwrap_or_default(), kind);
    column.unsigned =
        metadata.unsigned.as_ref().and_then(|unsigned| unsigned.get(index)).is_some_and(|unsigned| *unsigned);
    column.compressed = matches!(wire.wire, 140 | 141);
    column.nullable = wire.nullable;
    column.default = Some(DefaultValue::Unknown);
    column.invisible =
        metadata.visible.as_ref().and_then(|visible| visible.get(index)).is_some_and(|visible| !*visible);
    // MariaDB does not tell what is hidden; its hashes of unique keys go by these names.
    if flavour == Flavour::MariaDb && column.kind == ColumnKind::BigInt && column.name.starts_with("DB_ROW_HASH_") {
        (column.invisible, column.generated) = (true, Generated::Virtual);
    }
    let textual = !is_bytes && matches!(wire.wire, 15 | 253 | 254 | 252 | 140 | 141) || matches!(wire.wire, 247 | 248);
    column.charset = textual.then(|| Charset { name: charset.into(), collation: "".into() });
    Ok(column)
}

/// Bytes of the widest character: a declared length counts characters.
fn width(charset: &str) -> u32 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8mb3" | "utf8" | "ujis" | "eucjpms" => 3,
        "ucs2" | "big5" | "gbk" | "gb2312" | "sjis" | "cp932" | "euckr" => 2,
        _ => 1,
    }
}

/// See `Field::geometry_type` in the server's source.
fn geometry(code: Option<u8>) -> GeometryKind {
    match code {
        Some(1) => GeometryKind::Point,
        Some(2) => GeometryKind::LineString,
        Some(3) => GeometryKind::Polygon,
        Some(4) => GeometryKind::MultiPoint,
        Some(5) => GeometryKind::MultiLineString,
        Some(6) => GeometryKind::MultiPolygon,
        Some(7) => GeometryKind::GeometryCollection,
        _ => GeometryKind::Geometry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MY-20, MY-51: a default that may not be the one in force is shown, and is never a value of a row.
    #[test]
    fn a_doubted_default_is_no_value() {
        let with = |default| ColumnDef { default, ..ColumnDef::new("a", ColumnKind::VarChar { length: 5 }) };
        let literal = |text: &str| Some(DefaultValue::Literal { text: text.into() });
        let expression = |text: &str| Some(DefaultValue::Expression { text: text.into() });
        for (known, doubt) in [
            (literal("it's"), expression("'it''s'")),
            (expression("(uuid())"), expression("(uuid())")),
            (Some(DefaultValue::Null), Some(DefaultValue::Unknown)),
            (None, Some(DefaultValue::Unknown)),
        ] {
            let column = with(known);
            let doubted = with(doubted(&column));
            assert_eq!(doubted.default, doubt);
            assert_eq!(typemap::default_text(&doubted), typemap::default_text(&column));
            assert!(matches!(typemap::Absent::of(&doubted, ZeroDates::Halt), typemap::Absent::Unknown));
        }
    }
}
