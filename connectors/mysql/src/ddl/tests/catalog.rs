//! Definitions as lines, in the words of `information_schema`, for comparison with a server's catalog.

use super::super::{Schemas, define};
use crate::model::{ColumnDef, ColumnKind, DefaultValue, Flavour, Generated, GeometryKind, TableDef};
use std::sync::Arc;

/// All tables but sequences, sorted: `work.t TABLE collation`, a line for each column that the catalog shows, one for each
/// key.
pub(super) fn lines(schemas: &Schemas, flavour: Flavour) -> Vec<String> {
    let tables = schemas.iter().filter(|table| table.engine.as_deref() != Some("SEQUENCE"));
    let mut lines: Vec<String> = tables.flat_map(|table| of_table(table, flavour)).collect();
    lines.sort();
    lines
}

fn of_table(table: &TableDef, flavour: Flavour) -> Vec<String> {
    let mut lines = vec![format!("{} TABLE {}", table.name, table.charset.collation)];
    let shown = table.columns.iter().filter(|column| !define::is_hidden(column));
    lines.extend(
        shown.enumerate().map(|(at, column)| format!("{} {:02} {}", table.name, at + 1, of_column(column, flavour))),
    );
    if !table.primary_key.is_empty() {
        lines.push(format!("{} PRIMARY {}", table.name, table.primary_key.join(",")));
    }
    for key in &table.unique_keys {
        lines.push(format!("{} UNIQUE {} {} whole={}", table.name, key.name, key.columns.join(","), key.whole));
    }
    for index in &table.indexes {
        lines.push(format!("{} INDEX {} {}", table.name, index.name, index.columns.join(",")));
    }
    lines
}

fn of_column(column: &ColumnDef, flavour: Flavour) -> String {
    let mut line = format!("{} {}", column.name, column_type(column, flavour));
    if column.nullable {
        line += " null";
    }
    line += &format!(" default={}", default(column, flavour));
    if let Some(charset) = column.charset.as_ref().filter(|charset| &*charset.name != "binary") {
        line += &format!(" {}", charset.collation);
    }
    if column.auto_increment {
        line += " auto";
    }
    match column.generated {
        Generated::No => {}
        Generated::Virtual => line += " virtual",
        Generated::Stored | Generated::RowTime => line += " stored",
    }
    if column.invisible {
        line += " invisible";
    }
    if let Some(srid) = column.srid.filter(|_| flavour == Flavour::MySql) {
        line += &format!(" srid={srid}");
    }
    if let Some(comment) = &column.comment {
        line += &format!(" comment={comment:?}").replace("\\'", "'").replace("\\\"", "\"");
    }
    line
}

/// Only what both say alike: of expressions no more than that they are, of binary defaults nothing.
fn default(column: &ColumnDef, flavour: Flavour) -> String {
    if column.generated != Generated::No {
        return "gen".to_owned();
    }
    match &column.default {
        _ if matches!(column.kind, ColumnKind::Binary { .. } | ColumnKind::VarBinary { .. }) => "bin".to_owned(),
        None if flavour == Flavour::MariaDb => "-".to_owned(),
        None | Some(DefaultValue::Null) => "NULL".to_owned(),
        Some(DefaultValue::Literal { text }) => format!("={text}"),
        Some(DefaultValue::Expression { text }) if text.starts_with("CURRENT_") => format!("expr {text}"),
        Some(DefaultValue::Expression { .. }) => "expr".to_owned(),
        Some(DefaultValue::Unknown) => "unknown".to_owned(),
    }
}

fn column_type(column: &ColumnDef, flavour: Flavour) -> String {
    let maria = flavour == Flavour::MariaDb;
    let integer = |name: &str, signed: u32, unsigned: u32| {
        let usual = if column.unsigned { unsigned } else { signed };
        let flag = name == "tinyint" && column.width == Some(1) && !column.unsigned;
        match column.width {
            Some(width) if maria || column.zerofill || flag => format!("{name}({width})"),
            None if maria => format!("{name}({usual})"),
            _ => name.to_owned(),
        }
    };
    let of_fsp = |name: &str, fsp: u8| if fsp == 0 { name.to_owned() } else { format!("{name}({fsp})") };
    let of_digits = |name: &str, digits: Option<(u8, u8)>| {
        digits.map_or_else(|| name.to_owned(), |(m, d)| format!("{name}({m},{d})"))
    };
    let of_labels = |name: &str, labels: &[Arc<str>]| {
        let quoted: Vec<String> = labels.iter().map(|label| format!("'{}'", label.replace('\'', "''"))).collect();
        format!("{name}({})", quoted.join(","))
    };
    let sized = |names: [&str; 4], width: u8| names[usize::from(width) - 1].to_owned();
    let mut text = match &column.kind {
        ColumnKind::TinyInt => integer("tinyint", 4, 3),
        ColumnKind::SmallInt => integer("smallint", 6, 5),
        ColumnKind::MediumInt => integer("mediumint", 9, 8),
        ColumnKind::Int => integer("int", 11, 10),
        ColumnKind::BigInt => integer("bigint", 20, 20),
        ColumnKind::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnKind::Float { digits } => of_digits("float", *digits),
        ColumnKind::Double { digits } => of_digits("double", *digits),
        ColumnKind::Bit { length } => format!("bit({length})"),
        ColumnKind::Year => if maria { "year(4)" } else { "year" }.to_owned(),
        ColumnKind::Date => "date".to_owned(),
        ColumnKind::Time { fsp } => of_fsp("time", *fsp),
        ColumnKind::DateTime { fsp } => of_fsp("datetime", *fsp),
        ColumnKind::Timestamp { fsp } => of_fsp("timestamp", *fsp),
        ColumnKind::Char { length } => format!("char({length})"),
        ColumnKind::VarChar { length } => format!("varchar({length})"),
        ColumnKind::Binary { length } => format!("binary({length})"),
        ColumnKind::VarBinary { length } => format!("varbinary({length})"),
        ColumnKind::Text { width } => sized(["tinytext", "text", "mediumtext", "longtext"], *width),
        ColumnKind::Blob { width } => sized(["tinyblob", "blob", "mediumblob", "longblob"], *width),
        ColumnKind::Enum { labels } => of_labels("enum", labels),
        ColumnKind::Set { labels } => of_labels("set", labels),
        ColumnKind::Json => "json".to_owned(),
        ColumnKind::Geometry { subtype: GeometryKind::GeometryCollection } if !maria => "geomcollection".to_owned(),
        ColumnKind::Geometry { subtype } => subtype.to_string(),
        ColumnKind::Vector { dimensions } => format!("vector({dimensions})"),
        ColumnKind::Uuid => "uuid".to_owned(),
        ColumnKind::Inet4 => "inet4".to_owned(),
        ColumnKind::Inet6 => "inet6".to_owned(),
        ColumnKind::Unknown { name } => format!("unknown {name}"),
    };
    if column.unsigned {
        text += " unsigned";
    }
    if column.zerofill {
        text += " zerofill";
    }
    text
}
