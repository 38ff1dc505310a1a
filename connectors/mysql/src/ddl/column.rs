//! A column as `CREATE TABLE` and `ALTER TABLE` say it: type, then attributes in any order.
//!
//! Sources: MySQL manual, "CREATE TABLE Statement" (`column_definition`), "Data Type Default Values"; MariaDB's, "CREATE
//! TABLE", "Column Definitions".

use super::cursor::Cursor;
use super::data_type::data_type;
use super::keys::{check, is_now, references};
use super::options::{charset, value};
use super::token::Token;
use super::transaction::hex_bytes;
use super::{ColumnSpec, DdlError, DefaultSpec};
use crate::model::{Flavour, Generated};
use std::sync::Arc;

/// Name, type and attributes.
pub(super) fn column(cursor: &mut Cursor<'_>) -> Result<ColumnSpec, DdlError> {
    let name = cursor.column_name()?;
    let data_type = data_type(cursor)?;
    let serial = data_type.serial;
    let mut spec = ColumnSpec {
        name,
        data_type,
        nullable: serial.then_some(false),
        default: None,
        on_update: false,
        auto_increment: serial,
        primary: false,
        unique: serial,
        references: false,
        generated: Generated::No,
        row_time: false,
        invisible: false,
        compressed: false,
        versioned: false,
        srid: None,
        comment: None,
    };
    while attribute(cursor, &mut spec)? {}
    Ok(spec)
}

/// One attribute; false if none is next.
fn attribute(cursor: &mut Cursor<'_>, spec: &mut ColumnSpec) -> Result<bool, DdlError> {
    if cursor.accept_all(&["NOT", "NULL"]) {
        spec.nullable = Some(false);
        // MariaDB: `NOT NULL ENABLE` in Oracle's way.
        cursor.accept("ENABLE");
    } else if cursor.accept("NULL") {
        spec.nullable = Some(true);
    } else if cursor.accept("DEFAULT") {
        spec.default = Some(default(cursor)?);
    } else if cursor.are(&["ON", "UPDATE"]) && is_now(cursor, 2) {
        cursor.advance();
        cursor.advance();
        now(cursor)?;
        spec.on_update = true;
    } else if cursor.accept("AUTO_INCREMENT") {
        spec.auto_increment = true;
    } else if cursor.accept_all(&["SERIAL", "DEFAULT", "VALUE"]) {
        (spec.auto_increment, spec.unique, spec.nullable) = (true, true, Some(false));
    } else if cursor.accept("UNIQUE") {
        cursor.accept("KEY");
        spec.unique = true;
    } else if cursor.accept_all(&["PRIMARY", "KEY"]) || cursor.accept_any(&["PRIMARY", "KEY"]) {
        spec.primary = true;
    } else if cursor.accept("COMMENT") {
        spec.comment = Some(cursor.text()?).filter(|comment| !comment.is_empty());
    } else if charset(cursor, &mut spec.data_type.charset)? {
    } else if cursor.accept("BINARY") {
        spec.data_type.charset.binary = true;
    } else if cursor.accept("REFERENCES") {
        references(cursor)?;
        // MariaDB since 10.5, MySQL since 9.0; before, it was read and forgotten.
        let since = if cursor.context.flavour == Flavour::MariaDb { 100_500 } else { 90_000 };
        spec.references = cursor.context.server_version >= since;
    } else if cursor.accept("CONSTRAINT") {
        if !cursor.is("CHECK") {
            cursor.name()?;
        }
        cursor.expect("CHECK")?;
        check(cursor)?;
    } else if cursor.accept("CHECK") {
        check(cursor)?;
    } else if cursor.accept_all(&["GENERATED", "ALWAYS", "AS"]) || cursor.accept("AS") {
        generated(cursor, spec)?;
    } else if cursor.accept_any(&["VISIBLE"]) {
        spec.invisible = false;
    } else if cursor.accept("INVISIBLE") {
        spec.invisible = true;
    } else if cursor.accept("COMPRESSED") {
        spec.compressed = true;
        if cursor.accept_sign('=') {
            value(cursor)?;
        }
    } else if cursor.accept("SRID") || cursor.accept("REF_SYSTEM_ID") {
        cursor.accept_sign('=');
        spec.srid = Some(cursor.number_up_to(u64::from(u32::MAX))?);
    } else if cursor.accept_all(&["WITH", "SYSTEM", "VERSIONING"]) {
        spec.versioned = true;
    } else if cursor.accept_all(&["WITHOUT", "SYSTEM", "VERSIONING"]) {
    } else {
        return harmless(cursor);
    }
    Ok(true)
}

/// Attributes of storage.
fn harmless(cursor: &mut Cursor<'_>) -> Result<bool, DdlError> {
    if cursor.accept_any(&["COLUMN_FORMAT", "STORAGE"]) {
        value(cursor)?;
        return Ok(true);
    }
    if cursor.accept_any(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
        cursor.accept_sign('=');
        value(cursor)?;
        return Ok(true);
    }
    // MySQL's secondary engine, `NOT SECONDARY`.
    if cursor.accept_all(&["NOT", "SECONDARY"]) {
        return Ok(true);
    }
    // Attributes that a storage engine of MariaDB defines: any name, but always with `=`.
    if cursor.context.flavour == Flavour::MariaDb && cursor.is_name() && cursor.is_sign_at(1, '=') {
        cursor.advance();
        cursor.advance();
        value(cursor)?;
        return Ok(true);
    }
    Ok(false)
}

/// `[GENERATED ALWAYS] AS` has been passed.
fn generated(cursor: &mut Cursor<'_>, spec: &mut ColumnSpec) -> Result<(), DdlError> {
    if cursor.accept("ROW") {
        if !cursor.accept_any(&["START", "END"]) {
            return Err(cursor.error("START or END"));
        }
        spec.row_time = true;
        return Ok(());
    }
    cursor.parenthesised()?;
    spec.generated = Generated::Virtual;
    if cursor.accept_any(&["STORED", "PERSISTENT"]) {
        spec.generated = Generated::Stored;
    } else {
        cursor.accept("VIRTUAL");
    }
    Ok(())
}

/// `DEFAULT` has been passed. See "Data Type Default Values" of the manual; MariaDB takes expressions without parentheses
/// if they are a literal or a call.
pub(super) fn default(cursor: &mut Cursor<'_>) -> Result<DefaultSpec, DdlError> {
    if is_now(cursor, 0) {
        return now(cursor);
    }
    if cursor.is_sign('(') {
        return parenthesised(cursor);
    }
    if matches!(cursor.token(0), Token::Text(_)) || (introducer(cursor) && matches!(cursor.token(1), Token::Text(_))) {
        return cursor.text().map(DefaultSpec::Text);
    }
    if introducer(cursor) && matches!(cursor.token(1), Token::Hex(_) | Token::Bits(_)) {
        cursor.advance();
    }
    let found = match cursor.token(0) {
        Token::Hex(digits) => hex_bytes(digits).map(|bytes| DefaultSpec::Hex(Arc::from(bytes))),
        Token::Bits(digits) => Some(DefaultSpec::Bits(Arc::from(*digits))),
        Token::Number(number) => Some(DefaultSpec::Number(Arc::from(*number))),
        Token::Sign(sign @ ('+' | '-')) => {
            let minus = if *sign == '-' { "-" } else { "" };
            let Token::Number(number) = cursor.token(1) else { return Err(cursor.error("a number after the sign")) };
            let number = format!("{minus}{number}");
            cursor.advance();
            Some(DefaultSpec::Number(Arc::from(number)))
        }
        Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Some(DefaultSpec::Null),
        Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => Some(DefaultSpec::Number(Arc::from("1"))),
        Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => Some(DefaultSpec::Number(Arc::from("0"))),
        _ => None,
    };
    let Some(found) = found else { return called(cursor) };
    cursor.advance();
    Ok(found)
}

/// Whether `_charset` is next.
fn introducer(cursor: &mut Cursor<'_>) -> bool {
    cursor.word(0).is_some_and(|word| word.starts_with('_'))
}

/// A default in parentheses. A mere literal or the present time within is no expression to MariaDB; to MySQL it is.
fn parenthesised(cursor: &mut Cursor<'_>) -> Result<DefaultSpec, DdlError> {
    let place = cursor.place();
    if cursor.context.flavour == Flavour::MariaDb {
        cursor.advance();
        if let Ok(inner) = default(cursor)
            && cursor.accept_sign(')')
        {
            return Ok(inner);
        }
        cursor.back_to(place);
    }
    Ok(DefaultSpec::Expression(Arc::from(cursor.parenthesised()?)))
}

/// `DATE '...'` and the like; MariaDB also takes a function, a column or `NEXT VALUE FOR sequence`.
fn called(cursor: &mut Cursor<'_>) -> Result<DefaultSpec, DdlError> {
    if cursor.is_any(&["DATE", "TIME", "TIMESTAMP"]) && matches!(cursor.token(1), Token::Text(_)) {
        cursor.advance();
        return cursor.text().map(DefaultSpec::Text);
    }
    if cursor.context.flavour != Flavour::MariaDb || !cursor.is_name() {
        return Err(cursor.error("a default"));
    }
    let start = cursor.start();
    cursor.accept_all(&["NEXT", "VALUE", "FOR"]);
    cursor.column_name()?;
    if cursor.is_sign('(') {
        cursor.parenthesised()?;
    }
    let end = cursor.last_end();
    Ok(DefaultSpec::Expression(Arc::from(cursor.source(start, end))))
}

/// `CURRENT_TIMESTAMP`, `NOW()` and the like with an optional precision.
fn now(cursor: &mut Cursor<'_>) -> Result<DefaultSpec, DdlError> {
    cursor.advance();
    let mut fsp = None;
    if cursor.accept_sign('(') {
        if !cursor.is_sign(')') {
            fsp = Some(cursor.number_up_to(6)?).filter(|fsp| *fsp != 0);
        }
        cursor.expect_sign(')')?;
    }
    Ok(DefaultSpec::Now(fsp))
}
