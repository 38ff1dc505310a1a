//! What a statement made of tables, in the form in which Debezium tells it on its schema-change topic (`tableChanges`,
//! version 3.6). Only for consumers; nothing here is read back.

use crate::ddl::Effect;
use crate::model::{ColumnDef, ColumnKind, DefaultValue, Flavour, TableDef};
use serde::Serialize;
use std::sync::Arc;
use tidewire_core::TableName;

/// A change of one table; members in Debezium's order, here and below.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    table: Option<Table<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a> {
    default_charset_name: &'a str,
    primary_key_column_names: &'a [Arc<str>],
    columns: Vec<Column<'a>>,
    comment: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Column<'a> {
    name: &'a str,
    jdbc_type: i32,
    native_type: Option<i32>,
    type_name: String,
    type_expression: String,
    charset_name: Option<&'a str>,
    length: Option<u32>,
    scale: Option<u32>,
    position: usize,
    optional: bool,
    auto_incremented: bool,
    generated: bool,
    comment: Option<&'a str>,
    default_value_expression: Option<&'a str>,
    enum_values: Option<Vec<String>>,
}

/// The JSON text of the array.
pub(crate) fn json(effects: &[&Effect], flavour: Flavour) -> String {
    let changes: Vec<Change<'_>> = effects.iter().filter_map(|effect| change(effect, flavour)).collect();
    serde_json::to_string(&changes).unwrap_or_else(|_| "[]".to_owned())
}

fn change(effect: &Effect, flavour: Flavour) -> Option<Change<'_>> {
    let (kind, name, table) = match effect {
        Effect::Created { name, def } => ("CREATE", name, def.as_ref()),
        Effect::Altered { name, after, .. } => ("ALTER", name, Some(after)),
        Effect::Renamed { to, .. } => ("ALTER", to, None),
        Effect::Dropped { name } => ("DROP", name, None),
        Effect::Truncated { .. }
        | Effect::RowsChangedUnseen { .. }
        | Effect::Unchanged { .. }
        | Effect::Unknown { .. } => return None,
    };
    Some(Change { kind, id: id(name), table: table.map(|table| self::table(table, flavour)) })
}

fn id(name: &TableName) -> String {
    format!("\"{}\".\"{}\"", name.schema, name.table)
}

fn table(table: &TableDef, flavour: Flavour) -> Table<'_> {
    let columns = table.columns.iter().enumerate().map(|(index, each)| column(each, index + 1, flavour));
    Table {
        default_charset_name: &table.charset.name,
        primary_key_column_names: &table.primary_key,
        columns: columns.collect(),
        comment: table.comment.as_deref(),
    }
}

fn column(column: &ColumnDef, position: usize, flavour: Flavour) -> Column<'_> {
    let (jdbc_type, name) = type_of(column, flavour);
    let sign = match (column.unsigned, column.zerofill) {
        (_, true) => " UNSIGNED ZEROFILL",
        (true, false) => " UNSIGNED",
        (false, false) => "",
    };
    let name = format!("{name}{sign}");
    let (length, scale) = length_of(column);
    let enum_values = match &column.kind {
        ColumnKind::Enum { labels } | ColumnKind::Set { labels } => {
            Some(labels.iter().map(|label| format!("'{}'", label.replace('\'', "''"))).collect())
        }
        _ => None,
    };
    Column {
        name: &column.name,
        jdbc_type,
        native_type: None,
        type_name: name.clone(),
        type_expression: name,
        charset_name: column.charset.as_ref().map(|charset| &*charset.name),
        length,
        scale,
        position,
        optional: column.nullable,
        auto_incremented: column.auto_increment,
        generated: column.auto_increment,
        comment: column.comment.as_deref(),
        default_value_expression: default_of(column),
        enum_values,
    }
}

/// Debezium shows the epoch for the time of the insert, and nothing for any other expression.
fn default_of(column: &ColumnDef) -> Option<&str> {
    match column.default.as_ref()? {
        DefaultValue::Literal { text } => Some(text),
        DefaultValue::Null | DefaultValue::Unknown => None,
        DefaultValue::Expression { text } => {
            let upper = text.to_ascii_uppercase();
            let now = upper.starts_with("CURRENT_TIMESTAMP") || upper.starts_with("NOW(");
            now.then_some("1970-01-01 00:00:00")
        }
    }
}

/// Number of `java.sql.Types` and name.
fn type_of(column: &ColumnDef, flavour: Flavour) -> (i32, String) {
    let (jdbc, name) = match &column.kind {
        ColumnKind::TinyInt => (5, "TINYINT"),
        ColumnKind::SmallInt => (5, "SMALLINT"),
        ColumnKind::MediumInt => (4, "MEDIUMINT"),
        ColumnKind::Int => (4, "INT"),
        ColumnKind::BigInt => (-5, "BIGINT"),
        ColumnKind::Decimal { .. } => (3, "DECIMAL"),
        ColumnKind::Float { .. } => (6, "FLOAT"),
        ColumnKind::Double { .. } => (8, "DOUBLE"),
        ColumnKind::Bit { .. } => (-7, "BIT"),
        ColumnKind::Year => (4, "YEAR"),
        ColumnKind::Date => (91, "DATE"),
        ColumnKind::Time { .. } => (92, "TIME"),
        ColumnKind::DateTime { .. } => (93, "DATETIME"),
        ColumnKind::Timestamp { .. } => (2014, "TIMESTAMP"),
        ColumnKind::Char { .. } => (1, "CHAR"),
        ColumnKind::VarChar { .. } => (12, "VARCHAR"),
        ColumnKind::Binary { .. } => (-2, "BINARY"),
        ColumnKind::VarBinary { .. } => (-3, "VARBINARY"),
        ColumnKind::Text { width: 1 } => (12, "TINYTEXT"),
        ColumnKind::Text { width: 3 } => (12, "MEDIUMTEXT"),
        ColumnKind::Text { width: 4 } => (12, "LONGTEXT"),
        ColumnKind::Text { .. } => (12, "TEXT"),
        ColumnKind::Blob { width: 1 } => (2004, "TINYBLOB"),
        ColumnKind::Blob { width: 3 } => (2004, "MEDIUMBLOB"),
        ColumnKind::Blob { width: 4 } => (2004, "LONGBLOB"),
        ColumnKind::Blob { .. } => (2004, "BLOB"),
        ColumnKind::Enum { .. } => (1, "ENUM"),
        ColumnKind::Set { .. } => (1, "SET"),
        ColumnKind::Json => (1111, "JSON"),
        ColumnKind::Vector { .. } => (1111, "VECTOR"),
        ColumnKind::Geometry { subtype } => return (1111, subtype.to_string().to_uppercase()),
        ColumnKind::Uuid => (if flavour == Flavour::MariaDb { 12 } else { 1111 }, "UUID"),
        ColumnKind::Inet4 => (12, "INET4"),
        ColumnKind::Inet6 => (12, "INET6"),
        ColumnKind::Unknown { name } => return (1111, name.to_uppercase()),
    };
    (jdbc, name.to_owned())
}

fn length_of(column: &ColumnDef) -> (Option<u32>, Option<u32>) {
    let fsp = |fsp: u8| (fsp > 0).then_some(u32::from(fsp));
    match &column.kind {
        ColumnKind::TinyInt | ColumnKind::SmallInt | ColumnKind::MediumInt | ColumnKind::Int | ColumnKind::BigInt => {
            (column.width, None)
        }
        ColumnKind::Decimal { precision, scale } => (Some(u32::from(*precision)), Some(u32::from(*scale))),
        ColumnKind::Float { digits } | ColumnKind::Double { digits } => {
            (digits.map(|(m, _)| u32::from(m)), digits.map(|(_, d)| u32::from(d)))
        }
        ColumnKind::Bit { length } => (Some(u32::from(*length)), None),
        ColumnKind::Time { fsp: digits }
        | ColumnKind::DateTime { fsp: digits }
        | ColumnKind::Timestamp { fsp: digits } => (fsp(*digits), None),
        ColumnKind::Char { length }
        | ColumnKind::VarChar { length }
        | ColumnKind::Binary { length }
        | ColumnKind::VarBinary { length } => (Some(*length), None),
        ColumnKind::Enum { .. } => (Some(1), None),
        ColumnKind::Set { labels } => {
            let number = u32::try_from(labels.len()).unwrap_or(u32::MAX);
            (Some(number.saturating_mul(2).saturating_sub(1)), None)
        }
        ColumnKind::Vector { dimensions } if *dimensions > 0 => (Some(*dimensions), None),
        _ => (None, None),
    }
}
