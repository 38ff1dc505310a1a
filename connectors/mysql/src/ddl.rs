//! What statements of the log do to tables: a parser of our own for MySQL's and MariaDB's DDL, and its application to
//! table definitions.
//!
//! The parser is tolerant where a clause cannot change what a table looks like (storage options, partitions, checks) and
//! strict where it can: a clause that is not recognised is an error, never skipped (MY-52). Statements that surely do not
//! change the shape or the rows of a table are [`Statement::Other`]; of those only the first words are read.
//!
//! Sources: chapters "Data Definition Statements" of MySQL's manual and "Data Definition" of MariaDB's, `sql_yacc.yy` of
//! both. The text must be UTF-8; a statement in another `character_set_client` is converted before (MY-44).
//!
//! Knows neither connections nor events.

mod alter;
mod change;
mod charset;
mod column;
mod create;
mod cursor;
mod data_type;
mod default;
mod define;
mod indexes;
mod keys;
mod now;
mod options;
mod schemas;
mod statement;
mod syntax;
mod token;
mod transaction;
mod wording;

#[cfg(test)]
mod tests;

pub(crate) use schemas::{ApplyError, Defaults, Effect, Schemas};
pub(crate) use syntax::{
    AlterAction, AlterTable, CharsetSpec, ColumnSpec, CreateBody, CreateTable, DefaultSpec, KeyKind, KeyPart, KeySpec,
    Place, TableOptions, TypeSpec,
};

use crate::model::{Flavour, Origin};
pub(crate) use now::Now;
use std::borrow::Cow;
use std::sync::Arc;
use tidewire_core::TableName;
pub(crate) use wording::Wording;

/// Bits of `sql_mode` that change how a statement reads; the same in both servers (`sql/system_variables.h`,
/// `sql/sql_class.h`). The Query event carries them all.
pub(crate) mod sql_mode {
    /// `REAL` is `FLOAT`.
    pub(crate) const REAL_AS_FLOAT: u64 = 0x1;
    /// `"` quotes names.
    pub(crate) const ANSI_QUOTES: u64 = 0x4;
    /// MariaDB: Oracle's names of types.
    pub(crate) const ORACLE: u64 = 0x200;
    /// MariaDB: `[` quotes names.
    pub(crate) const MSSQL: u64 = 0x400;
    /// MariaDB: `TIMESTAMP` is `DATETIME`.
    pub(crate) const MAXDB: u64 = 0x1000;
    /// A backslash in a string is only that.
    pub(crate) const NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;
}

/// What a statement's meaning depends on besides its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Which server wrote it.
    pub(crate) flavour: Flavour,
    /// Its version as one number, for conditional comments and defaults: 80031, 90704, 101109.
    pub(crate) server_version: u32,
    /// The session's `sql_mode`, from the Query event.
    pub(crate) sql_mode: u64,
    /// The default database of the statement, if it has one.
    pub(crate) database: Option<&'a str>,
    /// Whether names of databases and tables are folded to lower case (`lower_case_table_names` is not 0).
    pub(crate) fold_names: bool,
    /// Where the statement stands: what a definition's columns are counted from.
    pub(crate) origin: Origin,
    /// When it began; `None` for one that was not run, as the catalog's.
    pub(crate) now: Option<Now>,
}

/// A statement that could not be understood, or that the server would not have run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the statement: expected {expected}, found {found}")]
pub(crate) struct DdlError {
    /// Byte of the statement where it stops being understood.
    pub(crate) offset: usize,
    /// What would have been understood.
    pub(crate) expected: Cow<'static, str>,
    /// What is there instead, shortened and without values.
    pub(crate) found: String,
    /// The only table that the statement can change, if that much is certain. Who does not capture it may go on (MY-52).
    pub(crate) table: Option<TableName>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// `ALTER TABLE`.
    AlterTable(AlterTable),
    /// `DROP TABLE`.
    DropTables {
        /// Tables in order.
        names: Vec<TableName>,
        /// `IF EXISTS`.
        if_exists: bool,
        /// `TEMPORARY`: no table of the log.
        temporary: bool,
    },
    /// `RENAME TABLE`: old and new name, one after another.
    RenameTables(Vec<(TableName, TableName)>),
    /// `TRUNCATE TABLE`.
    Truncate(TableName),
    /// `DROP DATABASE`.
    DropDatabase(Arc<str>),
    /// `CREATE DATABASE`.
    CreateDatabase {
        /// Name.
        name: Arc<str>,
        /// Declared default character set.
        charset: CharsetSpec,
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// `ALTER DATABASE`.
    AlterDatabase {
        /// Name, the default database's when the statement has none.
        name: Arc<str>,
        /// Newly declared default character set.
        charset: CharsetSpec,
    },
    /// `CREATE INDEX`.
    CreateIndex {
        /// Table.
        table: TableName,
        /// Index.
        key: KeySpec,
    },
    /// `DROP INDEX`.
    DropIndex {
        /// Table.
        table: TableName,
        /// Index; `PRIMARY` is the primary key.
        name: Arc<str>,
    },
    /// Rows appear or vanish without row events: `EXCHANGE`, `TRUNCATE`, `DROP`, `CONVERT PARTITION`, `DISCARD` and
    /// `IMPORT TABLESPACE` (MY-43).
    PartitionData {
        /// Table.
        table: TableName,
        /// The table at the other end of `EXCHANGE PARTITION ... WITH TABLE` or `CONVERT`.
        other: Option<TableName>,
        /// What it is, in SQL's words.
        what: &'static str,
    },
    /// A change of rows logged as a statement (MY-36).
    Dml {
        /// Tables that it surely names as its targets; empty when that is not certain.
        tables: Vec<TableName>,
        /// First word, upper case.
        verb: &'static str,
    },
    /// A boundary of a transaction.
    Transaction(Transaction),
    /// Anything else: views, routines, triggers, events, accounts, `SET`, `FLUSH`, `ANALYZE`, `OPTIMIZE`, comments alone.
    Other,
}

/// A boundary of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`.
    Commit,
    /// `ROLLBACK`.
    Rollback,
    /// `SAVEPOINT`.
    Savepoint(Arc<str>),
    /// `ROLLBACK TO`.
    RollbackTo(Arc<str>),
    /// `XA START`, `XA BEGIN`.
    XaStart(Xid),
    /// `XA END`.
    XaEnd(Xid),
    /// `XA PREPARE`.
    XaPrepare(Xid),
    /// `XA COMMIT`.
    XaCommit {
        /// Which.
        xid: Xid,
        /// `ONE PHASE`.
        one_phase: bool,
    },
    /// `XA ROLLBACK`.
    XaRollback {
        /// Which.
        xid: Xid,
    },
}

/// A distributed transaction's identifier; `X'676964',X'6271',1` in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Xid {
    /// Format.
    pub(crate) format: i64,
    /// Global part, up to 64 bytes.
    pub(crate) global: Vec<u8>,
    /// Branch part, up to 64 bytes.
    pub(crate) branch: Vec<u8>,
}

/// Parses one statement. A trailing `;` is allowed, a second statement is an error.
///
/// # Errors
///
/// [`DdlError`] on what may change a table and is not understood.
pub(crate) fn parse(sql: &str, context: &Context<'_>) -> Result<Statement, DdlError> {
    statement::parse(sql, context)
}

/// Every table whose shape or rows the statement may change, as far as its text says; databases' tables are not in it.
pub(crate) fn tables_of(statement: &Statement) -> Vec<&TableName> {
    match statement {
        Statement::CreateTable(create) if !create.temporary => vec![&create.name],
        Statement::AlterTable(alter) => {
            let renamed = alter.actions.iter().filter_map(|action| match action {
                AlterAction::Rename(to) => Some(to),
                _ => None,
            });
            std::iter::once(&alter.name).chain(renamed).collect()
        }
        Statement::DropTables { names, temporary: false, .. } => names.iter().collect(),
        Statement::RenameTables(pairs) => pairs.iter().flat_map(|(from, to)| [from, to]).collect(),
        Statement::Truncate(table) | Statement::CreateIndex { table, .. } | Statement::DropIndex { table, .. } => {
            vec![table]
        }
        Statement::PartitionData { table, other, .. } => std::iter::once(table).chain(other).collect(),
        Statement::Dml { tables, .. } => tables.iter().collect(),
        Statement::CreateTable(_)
        | Statement::DropTables { .. }
        | Statement::DropDatabase(_)
        | Statement::CreateDatabase { .. }
        | Statement::AlterDatabase { .. }
        | Statement::Transaction(_)
        | Statement::Other => Vec::new(),
    }
}
