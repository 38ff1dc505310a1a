//! Boundaries of transactions as statements of the log.
//!
//! Sources: MySQL manual, "START TRANSACTION, COMMIT, and ROLLBACK Statements", "XA Transaction SQL Statements".

use super::cursor::Cursor;
use super::token::Token;
use super::{DdlError, Statement, Transaction, Xid};

/// Bytes of one part of an XA identifier (`MAXGTRIDSIZE`, `MAXBQUALSIZE`).
const XID_PART: usize = 64;

/// A statement that begins with `BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT` or `XA`; `None` if it is none of these.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Statement>, DdlError> {
    let transaction = if cursor.accept("BEGIN") || cursor.accept_all(&["START", "TRANSACTION"]) {
        Transaction::Begin
    } else if cursor.accept("COMMIT") {
        Transaction::Commit
    } else if cursor.accept("ROLLBACK") {
        cursor.accept("WORK");
        if cursor.accept("TO") {
            cursor.accept("SAVEPOINT");
            Transaction::RollbackTo(cursor.name()?)
        } else {
            Transaction::Rollback
        }
    } else if cursor.accept("SAVEPOINT") {
        Transaction::Savepoint(cursor.name()?)
    } else if cursor.accept("XA") {
        return xa(cursor).map(Some);
    } else {
        return Ok(None);
    };
    Ok(Some(Statement::Transaction(transaction)))
}

fn xa(cursor: &mut Cursor<'_>) -> Result<Statement, DdlError> {
    let transaction = if cursor.accept_any(&["START", "BEGIN"]) {
        Transaction::XaStart(xid(cursor)?)
    } else if cursor.accept("END") {
        Transaction::XaEnd(xid(cursor)?)
    } else if cursor.accept("PREPARE") {
        Transaction::XaPrepare(xid(cursor)?)
    } else if cursor.accept("COMMIT") {
        let xid = xid(cursor)?;
        Transaction::XaCommit { xid, one_phase: cursor.accept_all(&["ONE", "PHASE"]) }
    } else if cursor.accept("ROLLBACK") {
        Transaction::XaRollback { xid: xid(cursor)? }
    } else if cursor.is("RECOVER") {
        return Ok(Statement::Other);
    } else {
        return Err(cursor.error("START, END, PREPARE, COMMIT or ROLLBACK"));
    };
    cursor.accept_any(&["JOIN", "RESUME"]);
    if cursor.accept("SUSPEND") {
        cursor.accept_all(&["FOR", "MIGRATE"]);
    }
    cursor.expect_end()?;
    Ok(Statement::Transaction(transaction))
}

/// `gtrid[,bqual[,format]]`; the format is 1 when not said.
fn xid(cursor: &mut Cursor<'_>) -> Result<Xid, DdlError> {
    let global = part(cursor)?;
    let branch = if cursor.accept_sign(',') { part(cursor)? } else { Vec::new() };
    let format = if cursor.accept_sign(',') {
        let negative = cursor.accept_sign('-');
        let number: i64 = cursor.number_up_to(i64::MAX.unsigned_abs())?;
        if negative { -number } else { number }
    } else {
        1
    };
    Ok(Xid { format, global, branch })
}

fn part(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, DdlError> {
    let bytes = match cursor.token(0) {
        Token::Hex(digits) => hex_bytes(digits),
        Token::Bits(digits) => bit_bytes(digits),
        Token::Text(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    match bytes {
        Some(bytes) if bytes.len() <= XID_PART => {
            cursor.advance();
            Ok(bytes)
        }
        _ => Err(cursor.error("a part of an XA identifier of up to 64 bytes")),
    }
}

/// The bytes of hexadecimal digits; an odd number of them begins with half a byte.
pub(super) fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect::<Option<_>>()?;
    let (head, pairs) = digits.split_at_checked(digits.len() % 2)?;
    let rest = pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, half| byte << 4 | half));
    Some(head.iter().copied().chain(rest).collect())
}

/// The bytes of binary digits, as few as hold them.
fn bit_bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.bytes().map(|digit| digit.checked_sub(b'0')).collect::<Option<_>>()?;
    Some(digits.rchunks(8).rev().map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit)).collect())
}
