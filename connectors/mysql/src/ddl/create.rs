//! `CREATE TABLE` and MariaDB's `CREATE SEQUENCE`.
//!
//! Sources: MySQL manual, "CREATE TABLE Statement", "CREATE TABLE ... LIKE", "CREATE TABLE ... SELECT"; MariaDB's,
//! "CREATE TABLE", "System-Versioned Tables", "Sequences".

use super::cursor::Cursor;
use super::{ColumnSpec, CreateBody, CreateTable, DdlError, KeyKind, KeySpec, TableOptions, column, keys, options};
use tidewire_core::TableName;

/// Words that begin a query, at which the options end.
const QUERY: &[&str] = &["SELECT", "AS", "IGNORE", "REPLACE", "WITH", "VALUES", "TABLE"];

/// `CREATE ... TABLE` has been passed.
pub(super) fn table(cursor: &mut Cursor<'_>, or_replace: bool, temporary: bool) -> Result<CreateTable, DdlError> {
    let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    if !temporary {
        cursor.table = Some(name.clone());
    }
    let mut create = CreateTable {
        name,
        or_replace,
        if_not_exists,
        temporary,
        body: CreateBody::Columns { columns: Vec::new(), keys: Vec::new(), options: TableOptions::default() },
        as_select: false,
        start_transaction: false,
    };
    if let Some(source) = like(cursor)? {
        create.body = CreateBody::Like(source);
        return Ok(create);
    }
    let mut columns = Vec::new();
    let mut keys = Vec::new();
    if cursor.is_sign('(') && !cursor.is_at(1, "SELECT") && !cursor.is_at(1, "WITH") && !cursor.is_sign_at(1, '(') {
        cursor.advance();
        elements(cursor, &mut columns, &mut keys)?;
    }
    let mut options = TableOptions::default();
    loop {
        // Options may be separated by commas.
        cursor.accept_sign(',');
        if cursor.accept_all(&["START", "TRANSACTION"]) {
            create.start_transaction = true;
        } else if cursor.accept_all(&["PARTITION", "BY"]) {
            options::partitioning(cursor, QUERY)?;
        } else if !options::option(cursor, &mut options)? {
            break;
        }
    }
    if cursor.is_sign('(') || cursor.is_any(QUERY) {
        create.as_select = true;
        while !cursor.at_end() {
            if cursor.is_sign('(') {
                cursor.parenthesised()?;
            } else {
                cursor.pass()?;
            }
        }
    } else if columns.is_empty() {
        return Err(cursor.error("columns"));
    }
    create.body = CreateBody::Columns { columns, keys, options };
    Ok(create)
}

/// `LIKE table`, also in parentheses.
fn like(cursor: &mut Cursor<'_>) -> Result<Option<TableName>, DdlError> {
    let wrapped = cursor.is_sign('(') && cursor.is_at(1, "LIKE");
    if wrapped {
        cursor.advance();
    }
    if !cursor.accept("LIKE") {
        return Ok(None);
    }
    let source = cursor.table_name()?;
    if wrapped {
        cursor.expect_sign(')')?;
    }
    Ok(Some(source))
}

/// Columns and keys up to the closing parenthesis.
fn elements(cursor: &mut Cursor<'_>, columns: &mut Vec<ColumnSpec>, keys: &mut Vec<KeySpec>) -> Result<(), DdlError> {
    loop {
        if keys::is_key(cursor) {
            keys.push(keys::key(cursor)?);
        } else if cursor.are(&["PERIOD", "FOR"]) {
            keys.extend(period(cursor)?);
        } else {
            columns.push(column::column(cursor)?);
        }
        if !cursor.accept_sign(',') {
            return cursor.expect_sign(')');
        }
    }
}

/// `PERIOD FOR name (start, end)`; `None` for the system's. A period of an application changes what `DELETE` and `UPDATE`
/// do, yet those log their rows.
pub(super) fn period(cursor: &mut Cursor<'_>) -> Result<Option<KeySpec>, DdlError> {
    cursor.expect("PERIOD")?;
    cursor.expect("FOR")?;
    let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
    let system = cursor.is("SYSTEM_TIME");
    let name = cursor.name()?;
    let parts = keys::parts(cursor)?;
    let spec =
        KeySpec { kind: KeyKind::Period, name: Some(name), parts, hash: false, if_not_exists, or_replace: false };
    Ok(Some(spec).filter(|_| !system))
}

/// `CREATE SEQUENCE` has been passed. To the log a sequence is a table of one row and these columns.
pub(super) fn sequence(cursor: &mut Cursor<'_>, or_replace: bool, temporary: bool) -> Result<CreateTable, DdlError> {
    const COLUMNS: &str = "(next_not_cached_value bigint NOT NULL, minimum_value bigint NOT NULL, maximum_value bigint \
        NOT NULL, start_value bigint NOT NULL, increment bigint NOT NULL, cache_size bigint unsigned NOT NULL, \
        cycle_option tinyint(1) unsigned NOT NULL, cycle_count bigint NOT NULL)";
    let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
    let name = cursor.table_name()?;
    if !temporary {
        cursor.table = Some(name.clone());
    }
    // `AS type` (11.5) changes the type of some columns.
    if cursor.is("AS") {
        return Err(cursor.error("a sequence of BIGINT"));
    }
    while !cursor.at_end() {
        cursor.pass()?;
    }
    let (mut columns, mut keys) = (Vec::new(), Vec::new());
    let mut fixed = Cursor::new(COLUMNS, cursor.context);
    fixed.advance();
    elements(&mut fixed, &mut columns, &mut keys)?;
    let options = TableOptions { sequence: true, ..TableOptions::default() };
    Ok(CreateTable {
        name,
        or_replace,
        if_not_exists,
        temporary,
        body: CreateBody::Columns { columns, keys, options },
        as_select: false,
        start_transaction: false,
    })
}
