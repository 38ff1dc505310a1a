//! Options of tables, and the character set as tables, databases and columns say it.
//!
//! Sources: MySQL manual, "CREATE TABLE Statement", `table_options`; MariaDB's, "CREATE TABLE", "Table Options".

use super::charset::{canonical_charset, canonical_collation};
use super::cursor::Cursor;
use super::token::Token;
use super::{CharsetSpec, DdlError, TableOptions};
use crate::model::Flavour;
use std::sync::Arc;

/// Options whose value is one token (or a list in parentheses) and that change neither columns nor rows.
const HARMLESS: &[&str] = &[
    "AUTOEXTEND_SIZE",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTED",
    "ENCRYPTION",
    "ENCRYPTION_KEY_ID",
    "ENGINE_ATTRIBUTE",
    "FETCH",
    "IETF_QUOTES",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PAGE_CHECKSUM",
    "PAGE_COMPRESSED",
    "PAGE_COMPRESSION_LEVEL",
    "PASSWORD",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "TABLE_CHECKSUM",
    "TRANSACTIONAL",
    "TYPE",
    "UNION",
];

/// `CHARACTER SET name`, `CHARSET name`, `COLLATE name`, each with an optional `=`; false if none of these is next.
pub(super) fn charset(cursor: &mut Cursor<'_>, into: &mut CharsetSpec) -> Result<bool, DdlError> {
    if cursor.accept("CHARSET") || cursor.accept_all(&["CHARACTER", "SET"]) || cursor.accept_all(&["CHAR", "SET"]) {
        cursor.accept_sign('=');
        if cursor.accept("DEFAULT") {
            into.reset = true;
            into.name = None;
        } else {
            into.name = Some(canonical_charset(&cursor.name_or_text()?));
        }
        return Ok(true);
    }
    if cursor.accept("COLLATE") {
        cursor.accept_sign('=');
        // `COLLATE DEFAULT` is the default collation of the set.
        into.collation =
            if cursor.accept("DEFAULT") { None } else { Some(canonical_collation(&cursor.name_or_text()?)) };
        return Ok(true);
    }
    Ok(false)
}

/// One option of a table; false if none is next. Partitioning is no option: see [`partitioning`].
pub(super) fn option(cursor: &mut Cursor<'_>, into: &mut TableOptions) -> Result<bool, DdlError> {
    let place = cursor.place();
    cursor.accept("DEFAULT");
    if charset(cursor, &mut into.charset)? {
        return Ok(true);
    }
    cursor.back_to(place);
    if cursor.accept("ENGINE") {
        cursor.accept_sign('=');
        into.engine = Some(cursor.name_or_text()?);
        return Ok(true);
    }
    if cursor.accept("COMMENT") {
        cursor.accept_sign('=');
        into.comment = Some(cursor.text()?).filter(|comment| !comment.is_empty());
        return Ok(true);
    }
    if cursor.accept_all(&["WITH", "SYSTEM", "VERSIONING"]) {
        into.versioned = true;
        return Ok(true);
    }
    if cursor.is("SEQUENCE") && cursor.context.flavour == Flavour::MariaDb {
        cursor.advance();
        cursor.accept_sign('=');
        into.sequence = cursor.number_up_to::<u8>(1)? == 1;
        return Ok(true);
    }
    if cursor.accept_all(&["DATA", "DIRECTORY"]) || cursor.accept_all(&["INDEX", "DIRECTORY"]) {
        cursor.accept_sign('=');
        cursor.text()?;
        return Ok(true);
    }
    if cursor.accept_any(HARMLESS) {
        cursor.accept_sign('=');
        value(cursor)?;
        return Ok(true);
    }
    // Options that a storage engine of MariaDB defines: any name, but always with `=`.
    if cursor.context.flavour == Flavour::MariaDb && cursor.is_name() && cursor.is_sign_at(1, '=') {
        cursor.advance();
        cursor.advance();
        value(cursor)?;
        return Ok(true);
    }
    Ok(false)
}

/// The value of an option that does not matter.
pub(super) fn value(cursor: &mut Cursor<'_>) -> Result<(), DdlError> {
    match cursor.token(0) {
        Token::Sign('(') => cursor.parenthesised().map(|_| ()),
        Token::Text(_) => cursor.text().map(|_| ()),
        Token::Word(_) | Token::Name(_) | Token::Number(_) | Token::Hex(_) | Token::Bits(_) => {
            cursor.advance();
            Ok(())
        }
        _ => Err(cursor.error("the value of an option")),
    }
}

/// Passes `PARTITION BY ...` up to one of the keywords or the end.
pub(super) fn partitioning(cursor: &mut Cursor<'_>, until: &[&str]) -> Result<(), DdlError> {
    while !cursor.is_any(until) {
        match cursor.token(0) {
            Token::Sign('(') => {
                cursor.parenthesised()?;
            }
            Token::Bad(_) => return Err(cursor.error("more of the statement")),
            Token::Sign(';') | Token::End => return Ok(()),
            _ => cursor.advance(),
        }
    }
    Ok(())
}

/// A character set with its collation by name.
pub(super) fn named(name: &str, collation: Option<&str>) -> CharsetSpec {
    CharsetSpec { name: Some(Arc::from(name)), collation: collation.map(Arc::from), ..CharsetSpec::default() }
}
