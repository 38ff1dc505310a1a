//! `CREATE TABLE` and `ALTER TABLE` as said, before defaults and character sets are resolved.

use crate::model::{ColumnKind, Generated};
use std::sync::Arc;
use tidewire_core::TableName;

/// `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateTable {
    /// Name.
    pub(crate) name: TableName,
    /// MariaDB's `OR REPLACE`.
    pub(crate) or_replace: bool,
    /// `IF NOT EXISTS`.
    pub(crate) if_not_exists: bool,
    /// `TEMPORARY`: no table of the log.
    pub(crate) temporary: bool,
    /// What it is made of.
    pub(crate) body: CreateBody,
    /// `[AS] SELECT ...`: further columns come from a query.
    pub(crate) as_select: bool,
    /// `START TRANSACTION` at the end: the rows of a `CREATE TABLE ... SELECT` follow in the same transaction (MySQL
    /// 8.0.21, WL#13355).
    pub(crate) start_transaction: bool,
}

/// What a table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CreateBody {
    /// As said.
    Columns {
        /// Columns in order.
        columns: Vec<ColumnSpec>,
        /// Keys and constraints in order, without those said at a column.
        keys: Vec<KeySpec>,
        /// Table options.
        options: TableOptions,
    },
    /// Like another table.
    Like(TableName),
}

/// Options of a table that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableOptions {
    /// Default character set.
    pub(crate) charset: CharsetSpec,
    /// Storage engine.
    pub(crate) engine: Option<Arc<str>>,
    /// Comment.
    pub(crate) comment: Option<Arc<str>>,
    /// MariaDB's `WITH SYSTEM VERSIONING`.
    pub(crate) versioned: bool,
    /// MariaDB's `SEQUENCE=1`: the table is a sequence.
    pub(crate) sequence: bool,
}

/// A character set as said, not yet resolved against defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CharsetSpec {
    /// `CHARACTER SET name`, canonical.
    pub(crate) name: Option<Arc<str>>,
    /// `COLLATE name`, canonical.
    pub(crate) collation: Option<Arc<str>>,
    /// `BINARY`: the `_bin` collation of the set.
    pub(crate) binary: bool,
    /// `CHARACTER SET DEFAULT`: what the level above has.
    pub(crate) reset: bool,
}

/// A column as said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnSpec {
    /// Name.
    pub(crate) name: Arc<str>,
    /// Type and its attributes.
    pub(crate) data_type: TypeSpec,
    /// `NULL` (true) or `NOT NULL` (false), if said.
    pub(crate) nullable: Option<bool>,
    /// `DEFAULT`.
    pub(crate) default: Option<DefaultSpec>,
    /// `ON UPDATE CURRENT_TIMESTAMP`.
    pub(crate) on_update: bool,
    /// `AUTO_INCREMENT`.
    pub(crate) auto_increment: bool,
    /// `PRIMARY KEY` said at the column.
    pub(crate) primary: bool,
    /// `UNIQUE` said at the column.
    pub(crate) unique: bool,
    /// `REFERENCES` said at the column: a foreign key, where the server heeds it.
    pub(crate) references: bool,
    /// Computed.
    pub(crate) generated: Generated,
    /// `GENERATED ALWAYS AS ROW START` or `ROW END`.
    pub(crate) row_time: bool,
    /// `INVISIBLE`.
    pub(crate) invisible: bool,
    /// MariaDB's `COMPRESSED`.
    pub(crate) compressed: bool,
    /// MariaDB's `WITH SYSTEM VERSIONING` at the column: the table becomes versioned.
    pub(crate) versioned: bool,
    /// `SRID n`.
    pub(crate) srid: Option<u32>,
    /// `COMMENT`.
    pub(crate) comment: Option<Arc<str>>,
}

/// A type as said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeSpec {
    /// Type before what the character set makes of it: `CHAR` in the set `binary` will be `BINARY`.
    pub(crate) kind: ColumnKind,
    /// The length of `TEXT(n)` in characters or of `BLOB(n)` in bytes, which decides the width.
    pub(crate) declared: Option<u64>,
    /// `UNSIGNED`.
    pub(crate) unsigned: bool,
    /// `ZEROFILL`.
    pub(crate) zerofill: bool,
    /// Display width of an integer.
    pub(crate) width: Option<u32>,
    /// Character set of a text type.
    pub(crate) charset: CharsetSpec,
    /// `SERIAL`: `NOT NULL AUTO_INCREMENT UNIQUE` as well.
    pub(crate) serial: bool,
}

/// A default as said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DefaultSpec {
    /// `NULL`.
    Null,
    /// A string.
    Text(Arc<str>),
    /// A number with its sign, as written; `TRUE` is `1`.
    Number(Arc<str>),
    /// `x'..'` or `0x..`: its bytes.
    Hex(Arc<[u8]>),
    /// `b'..'` or `0b..`: its digits.
    Bits(Arc<str>),
    /// `CURRENT_TIMESTAMP[(fsp)]` and its synonyms.
    Now(Option<u8>),
    /// An expression, its text without outer parentheses.
    Expression(Arc<str>),
}

/// What a key or constraint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// `PRIMARY KEY`.
    Primary,
    /// `UNIQUE`.
    Unique,
    /// `INDEX`, `FULLTEXT`, `SPATIAL`, `VECTOR`.
    Index,
    /// `FOREIGN KEY`: the server makes an index for it if none serves.
    Foreign,
    /// `CHECK`.
    Check,
    /// MariaDB's `PERIOD FOR` of an application: no key, yet its columns are not null.
    Period,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPart {
    /// A column.
    Column {
        /// Name.
        name: Arc<str>,
        /// Length of its prefix, if said.
        prefix: Option<u64>,
    },
    /// An expression.
    Expression,
}

/// A key or constraint as said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeySpec {
    /// What.
    pub(crate) kind: KeyKind,
    /// Name of the index: that said at the key, else that of the constraint.
    pub(crate) name: Option<Arc<str>>,
    /// Parts in order.
    pub(crate) parts: Vec<KeyPart>,
    /// `USING HASH`.
    pub(crate) hash: bool,
    /// MariaDB's `IF NOT EXISTS`.
    pub(crate) if_not_exists: bool,
    /// MariaDB's `OR REPLACE`.
    pub(crate) or_replace: bool,
}

/// `ALTER TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlterTable {
    /// Table.
    pub(crate) name: TableName,
    /// MariaDB's `IF EXISTS`.
    pub(crate) if_exists: bool,
    /// MariaDB's `IGNORE`: rows that break a new unique key are deleted, without row events.
    pub(crate) ignore: bool,
    /// What is done, in order.
    pub(crate) actions: Vec<AlterAction>,
}

/// Where a column goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `FIRST`.
    First,
    /// `AFTER column`.
    After(Arc<str>),
}

/// One action of `ALTER TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AlterAction {
    /// `ADD COLUMN`.
    Add {
        /// What.
        column: Box<ColumnSpec>,
        /// Where; at the end when not said.
        place: Option<Place>,
        /// MariaDB's `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// `CHANGE`, `MODIFY`.
    Change {
        /// Which column.
        old: Arc<str>,
        /// What it becomes.
        column: Box<ColumnSpec>,
        /// Where; where it was when not said.
        place: Option<Place>,
        /// MariaDB's `IF EXISTS`.
        if_exists: bool,
    },
    /// `DROP COLUMN`.
    Drop {
        /// Which.
        name: Arc<str>,
        /// MariaDB's `IF EXISTS`.
        if_exists: bool,
    },
    /// `RENAME COLUMN`.
    RenameColumn {
        /// Which.
        old: Arc<str>,
        /// New name.
        new: Arc<str>,
        /// MariaDB's `IF EXISTS`.
        if_exists: bool,
    },
    /// `ALTER COLUMN ... SET DEFAULT` or `DROP DEFAULT` (`None`).
    SetDefault {
        /// Which.
        name: Arc<str>,
        /// New default.
        default: Option<DefaultSpec>,
        /// MariaDB's `IF EXISTS`.
        if_exists: bool,
    },
    /// `ALTER COLUMN ... SET VISIBLE` or `SET INVISIBLE`.
    SetInvisible {
        /// Which.
        name: Arc<str>,
        /// New state.
        invisible: bool,
    },
    /// `ADD INDEX`, `ADD UNIQUE`, `ADD PRIMARY KEY`, `ADD CONSTRAINT`.
    AddKey(KeySpec),
    /// `DROP PRIMARY KEY`.
    DropPrimary,
    /// `DROP INDEX`, `DROP CONSTRAINT`.
    DropKey(Arc<str>),
    /// `RENAME INDEX`.
    RenameKey {
        /// Which.
        old: Arc<str>,
        /// New name.
        new: Arc<str>,
    },
    /// `RENAME TO`.
    Rename(TableName),
    /// `CONVERT TO CHARACTER SET`.
    Convert(CharsetSpec),
    /// Table options.
    Options(TableOptions),
    /// MariaDB's `ADD SYSTEM VERSIONING`.
    AddVersioning,
    /// MariaDB's `DROP SYSTEM VERSIONING`.
    DropVersioning,
    /// MariaDB's `ADD PERIOD FOR SYSTEM_TIME`.
    AddPeriod,
    /// Changes neither columns nor keys nor rows: `ENGINE`, `LOCK`, partitioning, foreign keys dropped, `FORCE`.
    Harmless,
}
