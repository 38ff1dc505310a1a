//! Keys and constraints as `CREATE TABLE`, `ALTER TABLE` and `CREATE INDEX` say them.
//!
//! Sources: MySQL manual, "CREATE TABLE Statement", "CREATE INDEX Statement", "FOREIGN KEY Constraints".

use super::cursor::Cursor;
use super::options::value;
use super::{DdlError, KeyKind, KeyPart, KeySpec, Statement};
use crate::model::Flavour;
use std::sync::Arc;

/// Whether a key or constraint is next, rather than a column. All words but `VECTOR` and `PERIOD` are reserved in both
/// servers, so a column of that name is quoted.
pub(super) fn is_key(cursor: &mut Cursor<'_>) -> bool {
    cursor.is_any(&["PRIMARY", "KEY", "INDEX", "UNIQUE", "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN", "CHECK"])
        || cursor.are(&["VECTOR", "INDEX"])
        || cursor.are(&["VECTOR", "KEY"])
}

/// A key or constraint.
pub(super) fn key(cursor: &mut Cursor<'_>) -> Result<KeySpec, DdlError> {
    let mut constraint = None;
    if cursor.accept("CONSTRAINT") {
        cursor.accept_all(&["IF", "NOT", "EXISTS"]);
        if !cursor.is_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            constraint = Some(cursor.name()?);
        }
    }
    if cursor.accept("CHECK") {
        check(cursor)?;
        return Ok(spec(KeyKind::Check, constraint, Vec::new()));
    }
    if cursor.accept("FOREIGN") {
        cursor.expect("KEY")?;
        let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
        let own = if cursor.is_sign('(') { None } else { Some(cursor.name()?) };
        let parts = parts(cursor)?;
        cursor.expect("REFERENCES")?;
        references(cursor)?;
        // The index of a foreign key bears the constraint's name before its own.
        return Ok(KeySpec { if_not_exists, ..spec(KeyKind::Foreign, constraint.or(own), parts) });
    }
    let kind = if cursor.accept("PRIMARY") {
        cursor.expect("KEY")?;
        KeyKind::Primary
    } else if cursor.accept("UNIQUE") {
        cursor.accept_any(&["KEY", "INDEX"]);
        KeyKind::Unique
    } else {
        cursor.accept_any(&["FULLTEXT", "SPATIAL", "VECTOR"]);
        cursor.accept_any(&["KEY", "INDEX"]);
        KeyKind::Index
    };
    let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
    let own = if cursor.is_sign('(') || cursor.are_using() { None } else { Some(cursor.name()?) };
    let before = index_options(cursor)?;
    let parts = parts(cursor)?;
    let hash = index_options(cursor)? || before;
    Ok(KeySpec { if_not_exists, hash, ..spec(kind, own.or(constraint), parts) })
}

fn spec(kind: KeyKind, name: Option<Arc<str>>, parts: Vec<KeyPart>) -> KeySpec {
    KeySpec { kind, name, parts, hash: false, if_not_exists: false, or_replace: false }
}

impl Cursor<'_> {
    /// Whether the kind of index is next, not an index of the name `using` or `type`.
    fn are_using(&mut self) -> bool {
        const KINDS: &[&str] = &["BTREE", "HASH", "RTREE"];
        let kind = self.word(1).is_some_and(|word| KINDS.iter().any(|kind| word.eq_ignore_ascii_case(kind)));
        kind && self.is_any(&["USING", "TYPE"])
    }
}

/// The parts of a key in parentheses. `WITHOUT OVERLAPS` (MariaDB's application-time periods) is not known here.
pub(super) fn parts(cursor: &mut Cursor<'_>) -> Result<Vec<KeyPart>, DdlError> {
    cursor.expect_sign('(')?;
    let mut parts = Vec::new();
    loop {
        if cursor.is_sign('(') {
            cursor.parenthesised()?;
            parts.push(KeyPart::Expression);
        } else {
            let name = cursor.name()?;
            let mut prefix = None;
            if cursor.accept_sign('(') {
                prefix = Some(cursor.number()?);
                cursor.expect_sign(')')?;
            }
            parts.push(KeyPart::Column { name, prefix });
        }
        cursor.accept_any(&["ASC", "DESC"]);
        if cursor.accept_all(&["WITHOUT", "OVERLAPS"]) {
            return Err(cursor.error("a key without periods"));
        }
        if !cursor.accept_sign(',') {
            cursor.expect_sign(')')?;
            return Ok(parts);
        }
    }
}

/// Options of an index, before or after its parts; whether `USING HASH` is among them.
fn index_options(cursor: &mut Cursor<'_>) -> Result<bool, DdlError> {
    let mut hash = false;
    loop {
        if cursor.accept_any(&["VISIBLE", "INVISIBLE", "IGNORED", "CLUSTERING"])
            || cursor.accept_all(&["NOT", "IGNORED"])
        {
            continue;
        }
        if cursor.are_using() {
            cursor.advance();
            hash |= cursor.is("HASH");
            cursor.advance();
        } else if cursor.accept_all(&["WITH", "PARSER"]) {
            cursor.name()?;
        } else if cursor.accept("COMMENT") {
            cursor.text()?;
        } else if cursor.accept_any(&["KEY_BLOCK_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
            cursor.accept_sign('=');
            value(cursor)?;
        } else if cursor.context.flavour == Flavour::MariaDb
            && cursor.is_name()
            && cursor.is_sign_at(1, '=')
            && !ends_index(cursor)
        {
            cursor.advance();
            cursor.advance();
            value(cursor)?;
        } else {
            return Ok(hash);
        }
    }
}

/// `ALGORITHM = ...` and `LOCK = ...` after an index belong to the statement.
fn ends_index(cursor: &mut Cursor<'_>) -> bool {
    cursor.is_any(&["ALGORITHM", "LOCK"])
}

/// `CHECK` has been passed.
pub(super) fn check(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    cursor.parenthesised()?;
    cursor.accept("NOT");
    cursor.accept("ENFORCED");
    Ok(())
}

/// `REFERENCES` has been passed.
pub(super) fn references(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    // The table may be in a database that does not matter; a default is not asked for.
    cursor.column_name()?;
    if cursor.is_sign('(') {
        cursor.parenthesised()?;
    }
    loop {
        if cursor.accept("MATCH") {
            cursor.name()?;
        } else if cursor.are(&["ON", "DELETE"]) || (cursor.are(&["ON", "UPDATE"]) && !is_now(cursor, 2)) {
            cursor.advance();
            cursor.advance();
            let known = cursor.accept_all(&["NO", "ACTION"])
                || cursor.accept_all(&["SET", "NULL"])
                || cursor.accept_all(&["SET", "DEFAULT"])
                || cursor.accept_any(&["CASCADE", "RESTRICT"]);
            if !known {
                return Err(cursor.error("what the foreign key does"));
            }
        } else {
            return Ok(());
        }
    }
}

/// Whether one of the names of the present time is at a place ahead.
pub(super) fn is_now(cursor: &mut Cursor<'_>, ahead: usize) -> bool {
    const NOW: &[&str] = &["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"];
    cursor.word(ahead).is_some_and(|word| NOW.iter().any(|now| word.eq_ignore_ascii_case(now)))
}

/// `CREATE ... INDEX` has been passed.
pub(super) fn create_index(cursor: &mut Cursor<'_>, kind: KeyKind, or_replace: bool) -> Result<Statement, DdlError> {
    let if_not_exists = cursor.accept_all(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name()?;
    let before = index_options(cursor)?;
    cursor.expect("ON")?;
    let table = cursor.table_name()?;
    cursor.table = Some(table.clone());
    super::statement::wait(cursor)?;
    let parts = parts(cursor)?;
    let hash = index_options(cursor)? || before;
    how(cursor)?;
    Ok(Statement::CreateIndex {
        table,
        key: KeySpec { hash, if_not_exists, or_replace, ..spec(kind, Some(name), parts) },
    })
}

/// `DROP INDEX` has been passed.
pub(super) fn drop_index(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    cursor.accept_all(&["IF", "EXISTS"]);
    let name = cursor.name()?;
    cursor.expect("ON")?;
    let table = cursor.table_name()?;
    cursor.table = Some(table.clone());
    super::statement::wait(cursor)?;
    how(cursor)?;
    Ok(Statement::DropIndex { table, name })
}

/// `ALGORITHM [=] x` and `LOCK [=] x`.
fn how(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    while cursor.accept_any(&["ALGORITHM", "LOCK"]) {
        cursor.accept_sign('=');
        cursor.name()?;
    }
    Ok(())
}
