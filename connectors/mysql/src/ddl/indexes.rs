//! Keys of a table definition: making, naming, renaming, dropping.
//!
//! Sources: `mysql_prepare_create_table` and `make_unique_key_name` in `sql/sql_table.cc` of both servers; MySQL manual,
//! "ALTER TABLE Statement" ("If columns are dropped from a table, the columns are also removed from any index").

use super::{KeyKind, KeyPart, KeySpec};
use crate::model::{ColumnKind, DefaultValue, IndexDef, TableDef, UniqueKey, same_name};
use std::sync::Arc;

/// Adds a key. Its columns must exist; the first that does not is the error.
pub(super) fn add(table: &mut TableDef, spec: &KeySpec) -> Result<(), Arc<str>> {
    if spec.kind == KeyKind::Check {
        return Ok(());
    }
    if let Some(name) = spec.name.as_deref().filter(|name| spec.kind != KeyKind::Primary && has(table, name)) {
        if spec.or_replace {
            remove(table, &Arc::from(name));
        } else if spec.if_not_exists || spec.kind == KeyKind::Foreign {
            return Ok(());
        }
    }
    let mut columns: Vec<Arc<str>> = Vec::with_capacity(spec.parts.len());
    let mut whole = true;
    for part in &spec.parts {
        match part {
            KeyPart::Column { name, prefix } => {
                let Some(column) = table.position(name).and_then(|at| table.columns.get(at)) else {
                    return Err(Arc::clone(name));
                };
                // A spatial value is in a key by its first bytes only.
                whole &= prefix.is_none_or(|prefix| covers(prefix, &column.kind))
                    && !matches!(column.kind, ColumnKind::Geometry { .. });
                columns.push(Arc::clone(&column.name));
            }
            KeyPart::Expression => {
                whole = false;
                columns.push(Arc::from(""));
            }
        }
    }
    if spec.kind == KeyKind::Period {
        not_null(table, &columns);
        return Ok(());
    }
    let generated = spec.kind == KeyKind::Foreign;
    if generated && serves(table, &columns) {
        return Ok(());
    }
    table.indexes.retain(|index| !index.generated || !columns.starts_with(&index.columns));
    if spec.kind == KeyKind::Primary {
        table.primary_key = columns;
        return Ok(());
    }
    let name = spec.name.clone().unwrap_or_else(|| free_name(table, &columns));
    match spec.kind {
        KeyKind::Unique => {
            columns.retain(|name| !name.is_empty());
            table.unique_keys.push(UniqueKey { name, columns, whole });
        }
        _ => table.indexes.push(IndexDef { name, columns, generated }),
    }
    Ok(())
}

/// Whether a prefix takes in all of a column: then the server keeps no prefix.
fn covers(prefix: u64, kind: &ColumnKind) -> bool {
    match kind {
        ColumnKind::Char { length }
        | ColumnKind::VarChar { length }
        | ColumnKind::Binary { length }
        | ColumnKind::VarBinary { length } => prefix >= u64::from(*length),
        ColumnKind::Text { .. } | ColumnKind::Blob { .. } | ColumnKind::Geometry { .. } => false,
        // MariaDB takes a prefix of a number or a date and forgets it.
        _ => true,
    }
}

/// Whether a foreign key needs no index of its own: a key begins with its columns. Of two that the server would make over
/// the same columns the later stays.
fn serves(table: &TableDef, columns: &[Arc<str>]) -> bool {
    let made = |index: &IndexDef| index.generated && index.columns.len() == columns.len();
    let others = table.indexes.iter().filter(|index| !made(index)).map(|index| &index.columns);
    let keys = std::iter::once(&table.primary_key).chain(table.unique_keys.iter().map(|key| &key.columns));
    keys.chain(others).any(|key| key.starts_with(columns))
}

fn not_null(table: &mut TableDef, columns: &[Arc<str>]) {
    for column in table.columns.iter_mut().filter(|column| columns.contains(&column.name)) {
        column.nullable = false;
        column.default = column.default.take().filter(|default| *default != DefaultValue::Null);
    }
}

/// Whether a key other than the primary one has this name.
fn has(table: &TableDef, name: &str) -> bool {
    table.unique_keys.iter().any(|key| same_name(&key.name, name))
        || table.indexes.iter().any(|index| same_name(&index.name, name))
}

/// The name of a key that was given none: its first column's, or that with `_2`, `_3` and so on.
fn free_name(table: &TableDef, columns: &[Arc<str>]) -> Arc<str> {
    let first = match columns.first() {
        Some(first) if !first.is_empty() => first.as_ref(),
        _ => "functional_index",
    };
    if !has(table, first) && !first.eq_ignore_ascii_case("PRIMARY") {
        return Arc::from(first);
    }
    let mut number = 2_u32;
    loop {
        let name = format!("{first}_{number}");
        if !has(table, &name) {
            return Arc::from(name);
        }
        number += 1;
    }
}

/// Removes a key by name. One that is not known is a foreign key, a check or an index of a catalog that told no indexes.
pub(super) fn remove(table: &mut TableDef, name: &Arc<str>) {
    if name.eq_ignore_ascii_case("PRIMARY") {
        table.primary_key.clear();
        return;
    }
    let keys = table.unique_keys.len();
    table.unique_keys.retain(|key| !same_name(&key.name, name));
    if table.unique_keys.len() == keys {
        table.indexes.retain(|index| !same_name(&index.name, name));
    }
}

/// Renames a key.
pub(super) fn rename(table: &mut TableDef, old: &str, new: &Arc<str>) {
    if let Some(key) = table.unique_keys.iter_mut().find(|key| same_name(&key.name, old)) {
        key.name = Arc::clone(new);
    } else if let Some(index) = table.indexes.iter_mut().find(|index| same_name(&index.name, old)) {
        index.name = Arc::clone(new);
    }
}

/// Follows what became of columns: each by its new name, or gone. A key whose columns are all gone goes too.
pub(super) fn follow(table: &mut TableDef, fate: impl Fn(&Arc<str>) -> Option<Arc<str>>) {
    let follow_all = |columns: &mut Vec<Arc<str>>| {
        *columns = columns
            .iter()
            .filter_map(|name| if name.is_empty() { Some(Arc::clone(name)) } else { fate(name) })
            .collect();
    };
    follow_all(&mut table.primary_key);
    // A key of expressions alone has no columns by name.
    table.unique_keys.retain_mut(|key| {
        let is_bare = key.columns.is_empty();
        follow_all(&mut key.columns);
        is_bare || !key.columns.is_empty()
    });
    for index in &mut table.indexes {
        follow_all(&mut index.columns);
    }
    table.indexes.retain(|index| !index.columns.is_empty());
}
