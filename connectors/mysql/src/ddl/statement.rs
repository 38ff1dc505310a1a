//! Which statement it is, by its first words. Knows no columns.

use super::cursor::Cursor;
use super::{CharsetSpec, Context, DdlError, KeyKind, Statement, alter, create, keys, options, transaction};
use tidewire_core::TableName;

/// First words of statements that change neither the shape nor the rows of a table, or only as other events say.
const HARMLESS: &[&str] = &[
    "ANALYZE",
    "BACKUP",
    "BINLOG",
    "CACHE",
    "CHANGE",
    "CHECK",
    "CHECKSUM",
    "CLONE",
    "CLOSE",
    "DEALLOCATE",
    "DECLARE",
    "DESC",
    "DESCRIBE",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "FLUSH",
    "GET",
    "GRANT",
    "HANDLER",
    "HELP",
    "INSTALL",
    "KILL",
    "LOCK",
    "OPEN",
    "OPTIMIZE",
    "PREPARE",
    "PURGE",
    "RELEASE",
    "REPAIR",
    "RESET",
    "RESIGNAL",
    "RESTART",
    "REVOKE",
    "SET",
    "SHOW",
    "SHUTDOWN",
    "SIGNAL",
    "START",
    "STOP",
    "UNINSTALL",
    "UNLOCK",
    "USE",
];

/// Words after `CREATE` and its prefixes of what is no table.
const NO_TABLE: &[&str] = &[
    "AGGREGATE",
    "ALGORITHM",
    "DEFINER",
    "EVENT",
    "FUNCTION",
    "INSTANCE",
    "JSON",
    "LIBRARY",
    "LOGFILE",
    "MASKING",
    "PACKAGE",
    "PROCEDURE",
    "RESOURCE",
    "ROLE",
    "SERVER",
    "SQL",
    "TABLESPACE",
    "TRIGGER",
    "UNDO",
    "USER",
    "VIEW",
    "CATALOG",
    "PREPARE",
    "MATERIALIZED",
];

/// What a statement can begin with that changes rows.
const DML: &[&str] =
    &["INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "CALL", "DO", "SELECT", "WITH", "VALUES", "TABLE", "MERGE"];

/// Parses one statement.
pub(super) fn parse(sql: &str, context: &Context<'_>) -> Result<Statement, DdlError> {
    // Almost all statements of a log of rows are these.
    match sql {
        "BEGIN" => return Ok(Statement::Transaction(super::Transaction::Begin)),
        "COMMIT" => return Ok(Statement::Transaction(super::Transaction::Commit)),
        _ => {}
    }
    let mut cursor = Cursor::new(sql, context);
    set_statement(&mut cursor)?;
    if cursor.at_end() {
        return Ok(Statement::Other);
    }
    if let Some(statement) = transaction::parse(&mut cursor)? {
        return Ok(statement);
    }
    let statement = dispatch(&mut cursor)?;
    match statement {
        Statement::Other | Statement::Dml { .. } => {}
        _ => cursor.expect_end()?,
    }
    Ok(statement)
}

/// Passes MariaDB's `SET STATEMENT variable = value, ... FOR`.
fn set_statement(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    while cursor.accept_all(&["SET", "STATEMENT"]) {
        loop {
            cursor.skip_to(&["FOR"])?;
            if cursor.accept("FOR") {
                break;
            }
            if !cursor.accept_sign(',') {
                return Err(cursor.error("FOR"));
            }
        }
    }
    Ok(())
}

fn dispatch(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    if cursor.is_sign('(') {
        return Ok(Statement::Dml { tables: Vec::new(), verb: "SELECT" });
    }
    if cursor.accept("CREATE") {
        return create_statement(cursor);
    }
    if cursor.accept("ALTER") {
        return alter_statement(cursor);
    }
    if cursor.accept("DROP") {
        return drop_statement(cursor);
    }
    if cursor.accept("RENAME") {
        return rename(cursor);
    }
    if cursor.accept("TRUNCATE") {
        cursor.accept("TABLE");
        let name = cursor.table_name()?;
        wait(cursor)?;
        return Ok(Statement::Truncate(name));
    }
    if cursor.are(&["LOAD", "INDEX"]) || cursor.is_any(HARMLESS) {
        return Ok(Statement::Other);
    }
    if let Some(verb) = cursor.word(0).and_then(|word| DML.iter().copied().find(|verb| word.eq_ignore_ascii_case(verb)))
    {
        return Ok(Statement::Dml { tables: targets(cursor, verb), verb });
    }
    Err(cursor.error("a statement that is known"))
}

/// MariaDB's `WAIT n` and `NOWAIT`.
pub(super) fn wait(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    if cursor.accept("WAIT") {
        cursor.number()?;
    } else {
        cursor.accept("NOWAIT");
    }
    Ok(())
}

fn create_statement(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    let or_replace = cursor.accept_all(&["OR", "REPLACE"]);
    if cursor.are(&["TEMPORARY", "TABLE"]) || cursor.is("TABLE") {
        let temporary = cursor.accept("TEMPORARY");
        cursor.advance();
        return create::table(cursor, or_replace, temporary).map(Statement::CreateTable);
    }
    if cursor.are(&["TEMPORARY", "SEQUENCE"]) || cursor.is("SEQUENCE") {
        let temporary = cursor.accept("TEMPORARY");
        cursor.advance();
        return create::sequence(cursor, or_replace, temporary).map(Statement::CreateTable);
    }
    if cursor.accept_any(&["DATABASE", "SCHEMA"]) {
        let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
        let name = cursor.database_name()?;
        let charset = database_options(cursor)?;
        return Ok(Statement::CreateDatabase { name, charset, if_not_exists });
    }
    if cursor.are(&["SPATIAL", "REFERENCE"]) || cursor.is_any(NO_TABLE) {
        return Ok(Statement::Other);
    }
    cursor.accept_any(&["ONLINE", "OFFLINE"]);
    let kind = if cursor.accept("UNIQUE") { KeyKind::Unique } else { KeyKind::Index };
    cursor.accept_any(&["FULLTEXT", "SPATIAL", "VECTOR"]);
    if cursor.accept("INDEX") {
        return keys::create_index(cursor, kind, or_replace);
    }
    Err(cursor.error("what to create"))
}

fn database_options(cursor: &mut Cursor<'_>) -> Result<CharsetSpec, DdlError> {
    let mut charset = CharsetSpec::default();
    while !cursor.at_end() {
        cursor.accept("DEFAULT");
        if options::charset(cursor, &mut charset)? {
            continue;
        }
        if cursor.accept_any(&["ENCRYPTION", "COMMENT"]) || cursor.accept_all(&["READ", "ONLY"]) {
            cursor.accept_sign('=');
            cursor.advance();
            continue;
        }
        return Err(cursor.error("an option of a database"));
    }
    Ok(charset)
}

fn alter_statement(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    if cursor.accept_any(&["DATABASE", "SCHEMA"]) {
        let is_option = cursor.is_any(&["CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION", "COMMENT"])
            || cursor.are(&["READ", "ONLY"]);
        let name = if is_option { cursor.default_database()? } else { cursor.database_name()? };
        if cursor.is("UPGRADE") {
            return Ok(Statement::Other);
        }
        let charset = database_options(cursor)?;
        return Ok(Statement::AlterDatabase { name, charset });
    }
    let place = cursor.place();
    cursor.accept_any(&["ONLINE", "OFFLINE"]);
    let ignore = cursor.accept("IGNORE");
    if cursor.accept("TABLE") {
        return alter::table(cursor, ignore);
    }
    cursor.back_to(place);
    if cursor.is_any(NO_TABLE) || cursor.is("SEQUENCE") {
        return Ok(Statement::Other);
    }
    Err(cursor.error("what to alter"))
}

fn drop_statement(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    if cursor.accept_any(&["DATABASE", "SCHEMA"]) {
        cursor.accept_all(&["IF", "EXISTS"]);
        return cursor.database_name().map(Statement::DropDatabase);
    }
    let temporary = cursor.accept("TEMPORARY");
    if cursor.accept_any(&["TABLE", "TABLES", "SEQUENCE"]) {
        let if_exists = cursor.accept_all(&["IF", "EXISTS"]);
        let mut names = vec![cursor.table_name()?];
        while cursor.accept_sign(',') {
            names.push(cursor.table_name()?);
        }
        wait(cursor)?;
        cursor.accept_any(&["RESTRICT", "CASCADE"]);
        return Ok(Statement::DropTables { names, if_exists, temporary });
    }
    if cursor.are(&["SPATIAL", "REFERENCE"]) || cursor.is_any(NO_TABLE) {
        return Ok(Statement::Other);
    }
    cursor.accept_any(&["ONLINE", "OFFLINE"]);
    if cursor.accept("INDEX") {
        return keys::drop_index(cursor);
    }
    Err(cursor.error("what to drop"))
}

fn rename(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    if cursor.is("USER") {
        return Ok(Statement::Other);
    }
    if !cursor.accept_any(&["TABLE", "TABLES"]) {
        return Err(cursor.error("what to rename"));
    }
    cursor.accept_all(&["IF", "EXISTS"]);
    let mut pairs = Vec::new();
    loop {
        let from = cursor.table_name()?;
        wait(cursor)?;
        cursor.expect("TO")?;
        pairs.push((from, cursor.table_name()?));
        if !cursor.accept_sign(',') {
            return Ok(Statement::RenameTables(pairs));
        }
    }
}

/// The tables that a change of rows surely has as its targets, only where the form says so at once.
fn targets(cursor: &mut Cursor<'_>, verb: &str) -> Vec<TableName> {
    cursor.advance();
    while cursor.accept_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "QUICK", "HISTORY"]) {}
    let target = match verb {
        "INSERT" | "REPLACE" => {
            cursor.accept("INTO");
            cursor.table_name()
        }
        "DELETE" if cursor.accept("FROM") => match cursor.table_name() {
            // `DELETE FROM a, b USING ...` and `DELETE FROM a.* USING ...`.
            Ok(_) if cursor.is_sign(',') || cursor.is_sign('.') || cursor.is("USING") => return Vec::new(),
            name => name,
        },
        "UPDATE" => match cursor.table_name() {
            Ok(name) if cursor.is("SET") => Ok(name),
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    target.into_iter().collect()
}
