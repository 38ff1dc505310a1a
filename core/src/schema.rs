//! Tables and columns, with versions. A change carries the version it was made under; the order of
//! versions is the order of the log.

use crate::cell::{Constant, Value};
use crate::data_type::DataType;
use std::fmt;
use std::sync::Arc;

/// A table's full name. In MySQL `schema` is the database's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// Namespace of the table.
    pub schema: Arc<str>,
    /// Name within it.
    pub table: Arc<str>,
}

impl TableName {
    /// From its two parts.
    pub fn new(schema: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> TableName {
        TableName { schema: schema.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// Counts the shapes a table has had, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaVersion(pub u32);

/// What the statement that added a column made of the rows that were there, which the log does not tell row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is not known for certain, or the column has been there from the beginning.
    #[default]
    Unknown,
    /// Null, for certain.
    Null,
    /// This value, for certain; neither null nor unknown.
    Value(Constant),
}

impl From<Constant> for Missing {
    fn from(constant: Constant) -> Missing {
        match constant.value() {
            Value::Unknown | Value::Impossible(_) => Missing::Unknown,
            Value::Null => Missing::Null,
            _ => Missing::Value(constant),
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSchema {
    /// Name as the database has it.
    pub name: Arc<str>,
    /// Neutral type.
    pub data_type: DataType,
    /// The database's own name of the type, with its modifiers (`numeric(5,2)`, `citext`).
    pub native_type: Arc<str>,
    /// Whether null is allowed.
    pub nullable: bool,
    /// The database's text of the default expression, if it has one.
    pub default: Option<Arc<str>>,
    /// What rows have in it that are older than the column: where the log leaves the column out as unchanged and a sink's own
    /// row is from before, this is what it holds.
    pub missing: Missing,
    /// Which column it is, whatever it is called. `None` where that is not certain at this place of the log.
    pub number: Option<ColumnNumber>,
}

/// A column by its number: it stays when the column gets another name, and no other column of that numbering ever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnNumber {
    /// Of what the numbers are. Where the database numbers columns itself it is the table, by [`TableSchema::native_id`], and
    /// the number is what its catalog has now. Where the source counts along the log's statements it is the definition from
    /// which it does so. Numbers of two numberings say nothing of each other.
    pub within: u64,
    /// From 1 in the order in which columns came.
    pub number: u32,
}

/// How rows of a table are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// By the primary key.
    Primary,
    /// By a unique index that the table names as its identity.
    UniqueIndex,
    /// Not at all: append-only sinks take such a table, mirrors need to be told what to do with it.
    None,
}

/// What the log carries of the old row of an update or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldRow {
    /// The key, when it changed or the row was deleted.
    Key,
    /// The whole row.
    Full,
    /// Nothing: the database refuses updates and deletes, or they cannot be followed.
    Nothing,
}

/// The shape of a table at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Name.
    pub name: TableName,
    /// Which shape this is.
    pub version: SchemaVersion,
    /// The database's own id of the table (an oid, a table id): a new id under an old name is a new table.
    pub native_id: u64,
    /// The columns in the order of every row image.
    pub columns: Vec<ColumnSchema>,
    /// Indexes into `columns` that form the key, in key order; empty without a key.
    pub key: Vec<usize>,
    /// Where the key comes from.
    pub key_kind: KeyKind,
    /// What the log carries of old rows.
    pub old_row: OldRow,
}

impl TableSchema {
    /// The column's number, if it is the database's own: what the catalog says of that column may be younger than the log's place.
    pub fn catalog_number(&self, column: &ColumnSchema) -> Option<u32> {
        column.number.filter(|number| number.within == self.native_id).map(|number| number.number)
    }

    /// Position of a column by name.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// The key's columns in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = (usize, &ColumnSchema)> {
        self.key.iter().filter_map(|index| Some((*index, self.columns.get(*index)?)))
    }
}
