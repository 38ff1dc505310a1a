//! From a definition to the shape that sinks know, and what else follows from a definition alone.

use crate::model::{ColumnDef, ColumnKind, Flavour, Generated, Numbering, TableDef, same_name};
use crate::typemap::{self, ZeroDates};
use std::sync::Arc;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{ColumnNumber, ColumnSchema, Error, Result, SchemaVersion, TableSchema};

/// From this version on MariaDB leaves what is computed out of the rows of updates and deletions: 11.8.9 does, 10.5 to
/// 10.11 and 11.4.5 do not, the releases between are taken for such as do.
const GENERATED_UNLOGGED: u32 = 110_400;

/// Whether a column is in the shape: both in rows that are read and in the log's. What MariaDB computes is not where its
/// log has the value of new rows only: it would be stale after the first update. Nor are the hashes that it keeps of
/// unique keys over long texts, which no statement can read (MY-47). Invisible columns are.
pub(crate) fn is_shown(column: &ColumnDef, flavour: Flavour, version: u32) -> bool {
    let is_logged = column.generated == Generated::No || version < GENERATED_UNLOGGED;
    flavour == Flavour::MySql || (is_logged && !is_hash(column))
}

/// Whether a column of MariaDB holds the hash of a unique key over long texts.
fn is_hash(column: &ColumnDef) -> bool {
    column.invisible && column.kind == ColumnKind::BigInt && column.name.starts_with("DB_ROW_HASH_")
}

/// The neutral shape of a table, as version 1. `version` is the server's.
pub(crate) fn table_schema(table: &TableDef, flavour: Flavour, version: u32, zero: ZeroDates) -> Result<TableSchema> {
    if table.columns.iter().any(|column| column.generated == Generated::RowTime) {
        return Err(system_versioned(table));
    }
    let shown: Vec<&ColumnDef> = table.columns.iter().filter(|column| is_shown(column, flavour, version)).collect();
    let mut columns = Vec::with_capacity(shown.len());
    for declared in &shown {
        let column = typemap::column_schema(declared, flavour, zero).map_err(|cause| {
            let message = format!("column `{}` of table `{}`: {cause}", declared.name, table.name);
            Error::operator("type_unsupported", message)
                .with_remedy(format!("take the table out with \"!{}\" in `tables`", table.name))
                .with_table(table.name.clone())
        })?;
        let number = |(numbering, number): (Numbering, u32)| ColumnNumber { within: numbering.id, number };
        columns.push(ColumnSchema { number: table.numbering.zip(declared.number).map(number), ..column });
    }
    let (key, key_kind) = key(table, &shown);
    Ok(TableSchema {
        name: table.name.clone(),
        version: SchemaVersion(1),
        native_id: 0,
        columns,
        key,
        key_kind,
        old_row: OldRow::Full,
    })
}

/// Its log has the rows of its history among the current ones, under keys with a column that the definition does not name.
fn system_versioned(table: &TableDef) -> Error {
    let message = format!("table `{}` is system-versioned: its log holds the rows of its history as well", table.name);
    Error::operator("system_versioned_table", message)
        .with_remedy(format!("take the table out with \"!{}\" in `tables`", table.name))
        .with_table(table.name.clone())
}

/// The primary key; without one, the first unique index over whole columns none of which may be null: the server
/// itself tells rows apart by it.
fn key(table: &TableDef, shown: &[&ColumnDef]) -> (Vec<usize>, KeyKind) {
    let position = |name: &Arc<str>| shown.iter().position(|column| same_name(&column.name, name));
    let positions = |names: &[Arc<str>]| names.iter().map(position).collect::<Option<Vec<_>>>();
    if !table.primary_key.is_empty()
        && let Some(key) = positions(&table.primary_key)
    {
        return (key, KeyKind::Primary);
    }
    let unique =
        table.unique_keys.iter().filter(|unique| unique.whole && !unique.columns.is_empty()).find_map(|unique| {
            let key = positions(&unique.columns)?;
            let filled = |index: &usize| shown.get(*index).is_some_and(|column| !column.nullable);
            key.iter().all(filled).then_some(key)
        });
    unique.map_or((Vec::new(), KeyKind::None), |key| (key, KeyKind::UniqueIndex))
}

/// Whether a rollback takes a table's rows back. An engine that is not known is taken for one that does.
pub(crate) fn is_transactional(engine: Option<&str>) -> bool {
    let without = ["MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE", "MRG_MyISAM", "BLACKHOLE"];
    !engine.is_some_and(|engine| without.iter().any(|other| other.eq_ignore_ascii_case(engine)))
}

/// The table for which an online schema change makes a helper of this name, by the tools' own ways of naming: gh-ost
/// (`_t_gho`, `_t_ghc`, `_t_del`), pt-online-schema-change (`_t_new`, `_t_old`, with more underscores in front when taken)
/// and spirit (`_t_new`, `_t_old`).
pub(crate) fn online_change_of(name: &str) -> Option<&str> {
    let inner = name.strip_prefix('_')?;
    let base = ["_gho", "_ghc", "_del", "_new", "_old"].iter().find_map(|suffix| inner.strip_suffix(suffix))?;
    let base = base.trim_start_matches('_');
    (!base.is_empty()).then_some(base)
}

/// The same, of a helper that has the table's rows and takes its place: the others hold what it was before.
pub(crate) fn online_result_of(name: &str) -> Option<&str> {
    online_change_of(name).filter(|_| name.ends_with("_gho") || name.ends_with("_new"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Charset, ColumnKind, UniqueKey};
    use tidewire_core::TableName;

    fn table() -> TableDef {
        let mut columns: Vec<ColumnDef> =
            ["a", "b", "c"].iter().map(|name| ColumnDef::new(*name, ColumnKind::Int)).collect();
        columns[1].nullable = false;
        TableDef {
            name: TableName::new("crm", "t"),
            columns,
            primary_key: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            charset: Charset { name: "utf8mb4".into(), collation: "".into() },
            engine: None,
            comment: None,
            numbering: None,
        }
    }

    #[test]
    fn rows_are_told_apart_by_what_the_server_tells_them_apart_by() {
        let unique = |columns: &[&str], whole| UniqueKey {
            name: "u".into(),
            columns: columns.iter().map(|name| (*name).into()).collect(),
            whole,
        };
        let mut table = table();
        let key = |table: &TableDef| key(table, &table.columns.iter().collect::<Vec<_>>());
        assert_eq!(key(&table), (vec![], KeyKind::None));
        table.unique_keys = vec![unique(&["a"], true), unique(&["B"], false), unique(&["B"], true)];
        assert_eq!(key(&table), (vec![1], KeyKind::UniqueIndex));
        table.primary_key = vec!["c".into(), "a".into()];
        assert_eq!(key(&table), (vec![2, 0], KeyKind::Primary));
    }

    /// MY-47: the shape has what both the log and a query have of every row.
    #[test]
    fn what_the_log_lacks_is_not_in_the_shape() {
        let mut table = table();
        table.columns[0].generated = Generated::Stored;
        table.columns[1].invisible = true;
        let mut hash = ColumnDef::new("DB_ROW_HASH_1", ColumnKind::BigInt);
        (hash.invisible, hash.generated, hash.nullable) = (true, Generated::Virtual, false);
        table.columns.push(hash);
        table.unique_keys.push(UniqueKey { name: "u".into(), columns: vec!["b".into()], whole: true });
        for (flavour, version, names) in [
            (Flavour::MySql, 90_704, &["a", "b", "c", "DB_ROW_HASH_1"][..]),
            (Flavour::MariaDb, 101_119, &["a", "b", "c"]),
            (Flavour::MariaDb, 110_809, &["b", "c"]),
        ] {
            let shape = table_schema(&table, flavour, version, ZeroDates::Halt).unwrap();
            let found: Vec<&str> = shape.columns.iter().map(|column| &*column.name).collect();
            assert_eq!(found, names);
            let at = names.iter().position(|name| *name == "b").unwrap();
            assert_eq!((shape.key, shape.key_kind), (vec![at], KeyKind::UniqueIndex));
        }
    }

    #[test]
    fn a_table_with_the_rows_of_its_history_is_refused() {
        let mut table = table();
        table.columns[2].generated = Generated::RowTime;
        let error = table_schema(&table, Flavour::MariaDb, 101_119, ZeroDates::Halt).unwrap_err();
        assert_eq!(error.code(), "system_versioned_table");
    }

    #[test]
    fn my_45_helpers_of_online_schema_changes_are_known_by_name() {
        for (name, base) in [
            ("_orders_gho", Some("orders")),
            ("_orders_ghc", Some("orders")),
            ("_orders_del", Some("orders")),
            ("_orders_new", Some("orders")),
            ("___orders_old", Some("orders")),
            ("orders_new", None),
            ("_new", None),
            ("_orders", None),
        ] {
            assert_eq!(online_change_of(name), base, "{name}");
        }
    }
}
