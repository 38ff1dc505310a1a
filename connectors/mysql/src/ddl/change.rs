//! `ALTER TABLE` on a definition, by the servers' own order of work: columns dropped and changed where they stand, then
//! columns added and moved, then keys. Names of columns mean those before the statement, but for `AFTER`.
//!
//! Source: `mysql_prepare_alter_table` in `sql/sql_table.cc` of both servers.

use super::define::{self, Rules};
use super::now::Now;
use super::{AlterAction, AlterTable, ApplyError, CharsetSpec, KeyKind, Place, default, indexes};
use crate::model::{Charset, ColumnDef, DefaultValue, Generated, Given, TableDef, same_name};
use std::sync::Arc;

/// The table after the statement, still by its old name. `above` is the default character set of its database, if known.
pub(super) fn alter(
    before: &TableDef,
    alter: &AlterTable,
    above: Option<&Charset>,
    rules: Rules<'_>,
) -> Result<TableDef, ApplyError> {
    let mut table = before.clone();
    let convert = options(&mut table, &alter.actions, above, rules)?;
    let mut tail = Vec::new();
    while let Some(hidden) = table.columns.pop_if(|column| define::is_hidden(column)) {
        tail.insert(0, hidden);
    }
    let fates = stay(&mut table, alter, rules)?;
    come(&mut table, before, alter, rules)?;
    if let Some(charset) = convert {
        for column in &mut table.columns {
            define::convert(column, &charset, &before.name)?;
        }
    }
    versioning(&mut tail, alter);
    table.columns.append(&mut tail);
    keys(&mut table, alter, &fates, rules)?;
    let made = alter.actions.iter().filter_map(|action| match action {
        AlterAction::AddKey(key) => Some(key),
        _ => None,
    });
    define::finish(&mut table, made, rules);
    Ok(table)
}

/// Whether the statement may delete rows that break a new unique key, of which the log has nothing (MariaDB's `IGNORE`).
pub(super) fn may_delete_rows(alter: &AlterTable) -> bool {
    let makes_unique = |action: &AlterAction| match action {
        AlterAction::AddKey(key) => matches!(key.kind, KeyKind::Primary | KeyKind::Unique),
        AlterAction::Add { column, .. } | AlterAction::Change { column, .. } => column.primary || column.unique,
        AlterAction::Convert(_) => true,
        _ => false,
    };
    alter.ignore && alter.actions.iter().any(makes_unique)
}

/// Table options, in order. Returns the character set that columns are converted to.
fn options(
    table: &mut TableDef,
    actions: &[AlterAction],
    above: Option<&Charset>,
    rules: Rules<'_>,
) -> Result<Option<Charset>, ApplyError> {
    let mut convert = None;
    for action in actions {
        match action {
            AlterAction::Options(options) => {
                if options.charset.is_said() {
                    table.charset = resolve(&options.charset, table, above, rules)?;
                }
                if let Some(engine) = &options.engine {
                    table.engine = Some(Arc::clone(engine));
                }
                if options.comment.is_some() {
                    table.comment.clone_from(&options.comment);
                }
            }
            AlterAction::Convert(charset) => {
                table.charset = resolve(charset, table, above, rules)?;
                convert = Some(table.charset.clone());
            }
            _ => {}
        }
    }
    Ok(convert)
}

fn resolve(
    spec: &CharsetSpec,
    table: &TableDef,
    above: Option<&Charset>,
    rules: Rules<'_>,
) -> Result<Charset, ApplyError> {
    if !spec.reset {
        return Ok(spec.resolve(&table.charset, rules.context));
    }
    let above = above.ok_or_else(|| ApplyError::DatabaseUnknown { table: table.name.clone() })?;
    Ok(spec.resolve(above, rules.context))
}

/// What became of a column, by its old name: its new name, or gone.
type Fates = Vec<(Arc<str>, Option<Arc<str>>)>;

/// Columns that were there: dropped, changed where they stand, taken out to be moved, renamed, given another default.
fn stay(table: &mut TableDef, alter: &AlterTable, rules: Rules<'_>) -> Result<Fates, ApplyError> {
    missing(table, alter)?;
    let mut fates = Vec::with_capacity(table.columns.len());
    let mut columns = Vec::with_capacity(table.columns.len());
    for mut column in std::mem::take(&mut table.columns) {
        let old = Arc::clone(&column.name);
        let is = |name: &Arc<str>| same_name(name, &old);
        if alter.actions.iter().any(|action| matches!(action, AlterAction::Drop { name, .. } if is(name))) {
            fates.push((old, None));
            continue;
        }
        let change = alter.actions.iter().find_map(|action| match action {
            AlterAction::Change { old, column, place, .. } if is(old) => Some((column, place)),
            _ => None,
        });
        if let Some((spec, place)) = change {
            fates.push((old, Some(Arc::clone(&spec.name))));
            if place.is_none() {
                let number = column.number;
                columns.push(ColumnDef { number, ..define::column(spec, &table.charset, &table.name, rules)? });
            }
            continue;
        }
        for action in &alter.actions {
            match action {
                AlterAction::RenameColumn { old, new, .. } if is(old) => {
                    column.name = Arc::clone(new);
                    column.forget_older_rows();
                }
                AlterAction::SetDefault { name, default, .. } if is(name) => {
                    column.default = default.as_ref().map(|spec| default::value(spec, &column));
                }
                AlterAction::SetInvisible { name, invisible } if is(name) => column.invisible = *invisible,
                _ => {}
            }
        }
        fates.push((old, Some(Arc::clone(&column.name))));
        columns.push(column);
    }
    table.columns = columns;
    Ok(fates)
}

/// Every column that is named must be there, unless the statement says that it need not; and none is dropped and changed in
/// one, of which MariaDB makes something of its own.
fn missing(table: &TableDef, alter: &AlterTable) -> Result<(), ApplyError> {
    for action in &alter.actions {
        let (name, forgiven) = match action {
            AlterAction::Drop { name, if_exists } | AlterAction::SetDefault { name, if_exists, .. } => {
                (name, *if_exists)
            }
            AlterAction::Change { old, if_exists, .. } | AlterAction::RenameColumn { old, if_exists, .. } => {
                (old, *if_exists)
            }
            AlterAction::SetInvisible { name, .. } => (name, false),
            _ => continue,
        };
        let is_dropped = matches!(action, AlterAction::Change { .. })
            && alter
                .actions
                .iter()
                .any(|other| matches!(other, AlterAction::Drop { name: gone, .. } if same_name(gone, name)));
        if is_dropped || (!forgiven && table.position(name).is_none()) {
            return Err(ApplyError::ColumnMissing { table: table.name.clone(), column: Arc::clone(name) });
        }
    }
    Ok(())
}

/// Columns that are added, and those that are moved, in the statement's order.
fn come(table: &mut TableDef, before: &TableDef, alter: &AlterTable, rules: Rules<'_>) -> Result<(), ApplyError> {
    for action in &alter.actions {
        let (spec, place, old) = match action {
            AlterAction::Add { column, place, if_not_exists } => {
                if table.position(&column.name).is_some() {
                    if *if_not_exists {
                        continue;
                    }
                    return Err(ApplyError::ColumnExists {
                        table: table.name.clone(),
                        column: Arc::clone(&column.name),
                    });
                }
                (column, place, None)
            }
            AlterAction::Change { old, column, place: place @ Some(_), .. } => (column, place, Some(old)),
            _ => continue,
        };
        let mut column = define::column(spec, &table.charset, &table.name, rules)?;
        match old {
            // It is the one that it was.
            Some(old) => {
                let old = before.position(old).and_then(|at| before.columns.get(at));
                column.number = old.and_then(|old| old.number);
            }
            None => {
                column.number = table.next_number();
                column.added_as_null = starts_as_null(&column);
                column.given = given(&column, rules.context.now);
            }
        }
        let at = match place {
            None => table.columns.len(),
            Some(Place::First) => 0,
            Some(Place::After(other)) => {
                let missing = || ApplyError::ColumnMissing { table: table.name.clone(), column: Arc::clone(other) };
                table.position(other).ok_or_else(missing)? + 1
            }
        };
        table.columns.insert(at, column);
    }
    Ok(())
}

/// Whether rows that are there get null in a column that is added.
fn starts_as_null(column: &ColumnDef) -> bool {
    column.nullable
        && column.generated == Generated::No
        && !column.auto_increment
        && matches!(column.default, None | Some(DefaultValue::Null))
}

/// What rows that are there get in a column that is added, other than null.
fn given(column: &ColumnDef, now: Option<Now>) -> Option<Given> {
    let is_told = column.generated == Generated::No && !column.auto_increment;
    match &column.default {
        _ if !is_told => None,
        Some(DefaultValue::Expression { text }) if default::is_now(text) => {
            now.and_then(|now| now.text(&column.kind)).map(|text| Given::Moment(text.into()))
        }
        None if column.nullable => None,
        None => Some(Given::TypesOwn),
        Some(DefaultValue::Null | DefaultValue::Unknown) => None,
        Some(default) => Some(Given::Default(default.clone())),
    }
}

/// Implied system versioning comes or goes with its hidden columns.
fn versioning(tail: &mut Vec<ColumnDef>, alter: &AlterTable) {
    let names_own = alter.actions.iter().any(|action| match action {
        AlterAction::Add { column, .. } | AlterAction::Change { column, .. } => column.row_time,
        AlterAction::AddPeriod => true,
        _ => false,
    });
    for action in &alter.actions {
        match action {
            AlterAction::DropVersioning => tail.retain(|column| !define::is_row_time(column)),
            AlterAction::AddVersioning if !names_own => {
                let hashes = std::mem::replace(tail, define::row_times());
                tail.extend(hashes);
            }
            _ => {}
        }
    }
}

/// Keys follow their columns, then go, come and change names.
fn keys(table: &mut TableDef, alter: &AlterTable, fates: &Fates, rules: Rules<'_>) -> Result<(), ApplyError> {
    // A column that is dropped and added anew in one statement stays in its keys.
    let anew = |name: &str| {
        alter.actions.iter().find_map(|action| match action {
            AlterAction::Add { column, .. } if same_name(&column.name, name) => Some(Arc::clone(&column.name)),
            _ => None,
        })
    };
    indexes::follow(table, |name| match fates.iter().find(|(old, _)| same_name(old, name)) {
        Some((_, Some(new))) => Some(Arc::clone(new)),
        Some((_, None)) => anew(name),
        None => Some(Arc::clone(name)),
    });
    for key in &mut table.unique_keys {
        // The server keeps the length of such a part, so it may be a prefix now.
        key.whole &= !key.columns.iter().any(|name| anew(name).is_some());
    }
    for action in &alter.actions {
        match action {
            AlterAction::DropPrimary => table.primary_key.clear(),
            AlterAction::DropKey(name) => indexes::remove(table, name),
            AlterAction::RenameKey { old, new } => indexes::rename(table, old, new),
            _ => {}
        }
    }
    for action in &alter.actions {
        match action {
            AlterAction::AddKey(spec) => define::add_key(table, spec)?,
            AlterAction::Add { column, .. } | AlterAction::Change { column, .. } => {
                for spec in define::column_keys(column, rules) {
                    define::add_key(table, &spec)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
