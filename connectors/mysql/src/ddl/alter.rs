//! `ALTER TABLE`.
//!
//! Sources: MySQL manual, "ALTER TABLE Statement", "ALTER TABLE Partition Operations"; MariaDB's, "ALTER TABLE".

use super::cursor::Cursor;
use super::token::Token;
use super::{
    AlterAction, AlterTable, CharsetSpec, ColumnSpec, DdlError, Place, Statement, TableOptions, column, create, keys,
    options, statement,
};
use std::sync::Arc;
use tidewire_core::TableName;

/// `ALTER ... TABLE` has been passed.
pub(super) fn table(cursor: &mut Cursor<'_>, ignore: bool) -> Result<Statement, DdlError> {
    let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
    let name = cursor.table_name()?;
    cursor.table = Some(name.clone());
    statement::wait(cursor)?;
    if let Some((what, other)) = partition_data(cursor)? {
        return Ok(Statement::PartitionData { table: name, other, what });
    }
    let mut actions = Vec::new();
    while !cursor.at_end() {
        actions_of(cursor, &mut actions)?;
        // Options and partitioning may follow without a comma.
        cursor.accept_sign(',');
    }
    Ok(Statement::AlterTable(AlterTable { name, if_exists, ignore, actions }))
}

/// What moves rows without row events. Each of these stands alone in a statement.
fn partition_data(cursor: &mut Cursor<'_>) -> Result<Option<(&'static str, Option<TableName>)>, DdlError> {
    const ALONE: &[(&[&str], &str)] = &[
        (&["DROP", "PARTITION"], "DROP PARTITION"),
        (&["TRUNCATE", "PARTITION"], "TRUNCATE PARTITION"),
        (&["DISCARD", "TABLESPACE"], "DISCARD TABLESPACE"),
        (&["IMPORT", "TABLESPACE"], "IMPORT TABLESPACE"),
        (&["DISCARD", "PARTITION"], "DISCARD PARTITION TABLESPACE"),
        (&["IMPORT", "PARTITION"], "IMPORT PARTITION TABLESPACE"),
    ];
    for (words, what) in ALONE {
        if cursor.accept_all(words) {
            rest(cursor)?;
            return Ok(Some((what, None)));
        }
    }
    let what = if cursor.accept_all(&["EXCHANGE", "PARTITION"]) {
        cursor.name()?;
        cursor.expect("WITH")?;
        cursor.expect("TABLE")?;
        "EXCHANGE PARTITION"
    } else if cursor.accept_all(&["CONVERT", "PARTITION"]) {
        cursor.name()?;
        cursor.expect("TO")?;
        cursor.expect("TABLE")?;
        "CONVERT PARTITION TO TABLE"
    } else if cursor.accept_all(&["CONVERT", "TABLE"]) {
        "CONVERT TABLE TO PARTITION"
    } else {
        return Ok(None);
    };
    let other = cursor.table_name()?;
    // The other table changes too: the statement is no longer about one alone.
    cursor.table = None;
    rest(cursor)?;
    Ok(Some((what, Some(other))))
}

/// Passes what is left of the statement.
fn rest(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    while !cursor.at_end() {
        cursor.pass()?;
    }
    Ok(())
}

/// One action, or several in parentheses.
fn actions_of(cursor: &mut Cursor<'_>, into: &mut Vec<AlterAction>) -> Result<(), DdlError> {
    if cursor.accept("ADD") {
        return add(cursor, into);
    }
    let action = if cursor.accept("DROP") {
        drop(cursor)?
    } else if cursor.accept("CHANGE") {
        cursor.accept("COLUMN");
        let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
        let old = cursor.column_name()?;
        let (column, place) = placed(cursor)?;
        AlterAction::Change { old, column, place, if_exists }
    } else if cursor.accept("MODIFY") {
        cursor.accept("COLUMN");
        let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
        let (column, place) = placed(cursor)?;
        AlterAction::Change { old: column.name.clone(), column, place, if_exists }
    } else if cursor.accept("RENAME") {
        rename(cursor)?
    } else if cursor.accept("ALTER") {
        alter(cursor)?
    } else if cursor.accept_all(&["CONVERT", "TO"]) {
        let mut charset = CharsetSpec::default();
        while options::charset(cursor, &mut charset)? {}
        if charset == CharsetSpec::default() {
            return Err(cursor.error("CHARACTER SET"));
        }
        AlterAction::Convert(charset)
    } else {
        other(cursor)?
    };
    into.push(action);
    Ok(())
}

/// `ADD` has been passed.
fn add(cursor: &mut Cursor<'_>, into: &mut Vec<AlterAction>) -> Result<(), DdlError> {
    if keys::is_key(cursor) {
        into.push(AlterAction::AddKey(keys::key(cursor)?));
        return Ok(());
    }
    if cursor.accept("PARTITION") {
        // `ADD PARTITION (...)`, `ADD PARTITION PARTITIONS n`: empty ones.
        options::partitioning(cursor, &[])?;
        into.push(AlterAction::Harmless);
        return Ok(());
    }
    if cursor.accept_all(&["SYSTEM", "VERSIONING"]) {
        into.push(AlterAction::AddVersioning);
        return Ok(());
    }
    if cursor.are(&["PERIOD", "FOR"]) {
        into.push(create::period(cursor)?.map_or(AlterAction::AddPeriod, AlterAction::AddKey));
        return Ok(());
    }
    cursor.accept("COLUMN");
    let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
    if !cursor.accept_sign('(') {
        let (column, place) = placed(cursor)?;
        into.push(AlterAction::Add { column, place, if_not_exists });
        return Ok(());
    }
    loop {
        if keys::is_key(cursor) {
            into.push(AlterAction::AddKey(keys::key(cursor)?));
        } else {
            let column = Box::new(column::column(cursor)?);
            into.push(AlterAction::Add { column, place: None, if_not_exists });
        }
        if !cursor.accept_sign(',') {
            return cursor.expect_sign(')');
        }
    }
}

/// A column and where it goes.
fn placed(cursor: &mut Cursor<'_>) -> Result<(Box<ColumnSpec>, Option<Place>), DdlError> {
    let column = Box::new(column::column(cursor)?);
    let place = if cursor.accept("FIRST") {
        Some(Place::First)
    } else if cursor.accept("AFTER") {
        Some(Place::After(cursor.column_name()?))
    } else {
        None
    };
    Ok((column, place))
}

/// `DROP` has been passed.
fn drop(cursor: &mut Cursor<'_>) -> Result<AlterAction, DdlError> {
    if cursor.accept_all(&["PRIMARY", "KEY"]) {
        return Ok(AlterAction::DropPrimary);
    }
    if cursor.accept_any(&["INDEX", "KEY", "CONSTRAINT"]) {
        cursor.accept_all(&["IF", "EXISTS"]);
        return Ok(AlterAction::DropKey(cursor.name()?));
    }
    if cursor.accept_all(&["FOREIGN", "KEY"]) || cursor.accept("CHECK") {
        cursor.accept_all(&["IF", "EXISTS"]);
        cursor.name()?;
        return Ok(AlterAction::Harmless);
    }
    if cursor.accept_all(&["SYSTEM", "VERSIONING"]) {
        return Ok(AlterAction::DropVersioning);
    }
    if cursor.accept_all(&["PERIOD", "FOR"]) {
        cursor.accept_all(&["IF", "EXISTS"]);
        cursor.name()?;
        return Ok(AlterAction::Harmless);
    }
    cursor.accept("COLUMN");
    let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
    let name = cursor.column_name()?;
    cursor.accept_any(&["RESTRICT", "CASCADE"]);
    Ok(AlterAction::Drop { name, if_exists })
}

/// `RENAME` has been passed.
fn rename(cursor: &mut Cursor<'_>) -> Result<AlterAction, DdlError> {
    // `RENAME COLUMN a TO b`, yet `RENAME column` would be a table of that name.
    if cursor.is("COLUMN") {
        cursor.advance();
        let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
        let (old, new) = pair(cursor)?;
        return Ok(AlterAction::RenameColumn { old, new, if_exists });
    }
    if cursor.accept_any(&["INDEX", "KEY"]) {
        cursor.accept_all(&["IF", "EXISTS"]);
        let (old, new) = pair(cursor)?;
        return Ok(AlterAction::RenameKey { old, new });
    }
    if !cursor.accept_any(&["TO", "AS"]) {
        cursor.accept_sign('=');
    }
    let known = cursor.table.take();
    let name = cursor.table_name()?;
    // Two names are at stake now.
    if known.as_ref().is_some_and(|known| *known == name) {
        cursor.table = known;
    }
    Ok(AlterAction::Rename(name))
}

fn pair(cursor: &mut Cursor<'_>) -> Result<(Arc<str>, Arc<str>), DdlError> {
    let old = cursor.column_name()?;
    cursor.expect("TO")?;
    Ok((old, cursor.column_name()?))
}

/// `ALTER` within `ALTER TABLE` has been passed.
fn alter(cursor: &mut Cursor<'_>) -> Result<AlterAction, DdlError> {
    if cursor.accept_any(&["INDEX", "KEY"]) {
        cursor.accept_all(&["IF", "EXISTS"]);
        cursor.name()?;
        if cursor.accept_any(&["VISIBLE", "INVISIBLE", "IGNORED"]) || cursor.accept_all(&["NOT", "IGNORED"]) {
            return Ok(AlterAction::Harmless);
        }
        return Err(cursor.error("VISIBLE or INVISIBLE"));
    }
    if cursor.accept_any(&["CHECK", "CONSTRAINT"]) {
        cursor.name()?;
        cursor.accept("NOT");
        cursor.expect("ENFORCED")?;
        return Ok(AlterAction::Harmless);
    }
    cursor.accept("COLUMN");
    let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
    let name = cursor.column_name()?;
    if cursor.accept_all(&["SET", "DEFAULT"]) {
        return Ok(AlterAction::SetDefault { name, default: Some(column::default(cursor)?), if_exists });
    }
    if cursor.accept_all(&["DROP", "DEFAULT"]) {
        return Ok(AlterAction::SetDefault { name, default: None, if_exists });
    }
    let invisible = cursor.accept_all(&["SET", "INVISIBLE"]);
    if invisible || cursor.accept_all(&["SET", "VISIBLE"]) {
        return Ok(AlterAction::SetInvisible { name, invisible });
    }
    Err(cursor.error("SET DEFAULT, DROP DEFAULT, SET VISIBLE or SET INVISIBLE"))
}

/// What changes no column: options, partitioning, ways of working.
fn other(cursor: &mut Cursor<'_>) -> Result<AlterAction, DdlError> {
    if cursor.accept_any(&["ALGORITHM", "LOCK"]) {
        cursor.accept_sign('=');
        cursor.name()?;
    } else if cursor.accept_any(&["FORCE", "NOWAIT", "SECONDARY_LOAD", "SECONDARY_UNLOAD"])
        || cursor.accept_all(&["ENABLE", "KEYS"])
        || cursor.accept_all(&["DISABLE", "KEYS"])
        || cursor.accept_all(&["WITH", "VALIDATION"])
        || cursor.accept_all(&["WITHOUT", "VALIDATION"])
        || cursor.accept_all(&["REMOVE", "PARTITIONING"])
        || cursor.accept_all(&["UPGRADE", "PARTITIONING"])
    {
    } else if cursor.accept_all(&["ORDER", "BY"]) {
        order_by(cursor)?;
    } else if cursor.accept_all(&["PARTITION", "BY"])
        || (cursor.is_any(&["COALESCE", "REORGANIZE", "ANALYZE", "CHECK", "OPTIMIZE", "REBUILD", "REPAIR"])
            && cursor.is_at(1, "PARTITION"))
    {
        options::partitioning(cursor, &[])?;
    } else {
        let mut options = TableOptions::default();
        if !options::option(cursor, &mut options)? {
            return Err(cursor.error("an action of ALTER TABLE"));
        }
        return Ok(AlterAction::Options(options));
    }
    Ok(AlterAction::Harmless)
}

/// Columns with `ASC` or `DESC`, to the end: nothing may follow but another action after a comma, which would be taken for
/// a column; so each is looked at.
fn order_by(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    loop {
        cursor.column_name()?;
        cursor.accept_any(&["ASC", "DESC"]);
        let another = cursor.is_sign(',') && {
            let follows = matches!(cursor.token(2), Token::Sign(',' | ';' | '.') | Token::End);
            follows || cursor.is_at(2, "ASC") || cursor.is_at(2, "DESC")
        };
        if !another {
            return Ok(());
        }
        cursor.advance();
    }
}
