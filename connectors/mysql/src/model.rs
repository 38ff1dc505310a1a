//! Tables as MySQL and MariaDB declare them: what the catalog, the DDL parser, the schema history and the log's own
//! metadata all speak of. Pure data; what it means for cells is `typemap`'s affair.

mod numbering;

pub(crate) use numbering::{Numbering, Origin, OriginKind};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use tidewire_core::TableName;

/// Which server this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flavour {
    /// MySQL and what derives from it without another log format (Percona Server).
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Flavour {
    /// The connector's name on the wire.
    pub(crate) fn connector(self) -> &'static str {
        match self {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        }
    }
}

/// A character set and a collation by their names in the server (`utf8mb4`, `utf8mb4_0900_ai_ci`). The collation
/// may be empty when only the character set is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Charset {
    /// Character set.
    pub(crate) name: Arc<str>,
    /// Collation, empty when not known.
    #[serde(default)]
    pub(crate) collation: Arc<str>,
}

/// The declared type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ColumnKind {
    /// `TINYINT`, 8 bits. `BOOL` is `TINYINT(1)`.
    TinyInt,
    /// `SMALLINT`, 16 bits.
    SmallInt,
    /// `MEDIUMINT`, 24 bits.
    MediumInt,
    /// `INT`, 32 bits.
    Int,
    /// `BIGINT`, 64 bits.
    BigInt,
    /// `DECIMAL(precision, scale)`.
    Decimal {
        /// Digits in all, 1 to 65.
        precision: u8,
        /// Digits after the point, 0 to 38.
        scale: u8,
    },
    /// `FLOAT`, single precision; with digits when declared as `FLOAT(M,D)`.
    Float {
        /// `(M, D)`.
        digits: Option<(u8, u8)>,
    },
    /// `DOUBLE`; with digits when declared as `DOUBLE(M,D)`.
    Double {
        /// `(M, D)`.
        digits: Option<(u8, u8)>,
    },
    /// `BIT(length)`, 1 to 64.
    Bit {
        /// In bits.
        length: u8,
    },
    /// `YEAR`.
    Year,
    /// `DATE`.
    Date,
    /// `TIME(fsp)`.
    Time {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// `DATETIME(fsp)`.
    DateTime {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// `TIMESTAMP(fsp)`.
    Timestamp {
        /// Digits of the fraction, 0 to 6.
        fsp: u8,
    },
    /// `CHAR(length)`.
    Char {
        /// In characters.
        length: u32,
    },
    /// `VARCHAR(length)`.
    VarChar {
        /// In characters.
        length: u32,
    },
    /// `BINARY(length)`.
    Binary {
        /// In bytes.
        length: u32,
    },
    /// `VARBINARY(length)`.
    VarBinary {
        /// In bytes.
        length: u32,
    },
    /// `TINYTEXT`, `TEXT`, `MEDIUMTEXT`, `LONGTEXT`.
    Text {
        /// Bytes of the length, 1 to 4.
        width: u8,
    },
    /// `TINYBLOB`, `BLOB`, `MEDIUMBLOB`, `LONGBLOB`.
    Blob {
        /// Bytes of the length, 1 to 4.
        width: u8,
    },
    /// `ENUM`.
    Enum {
        /// Labels in order, as UTF-8.
        labels: Arc<[Arc<str>]>,
    },
    /// `SET`.
    Set {
        /// Labels in order, as UTF-8.
        labels: Arc<[Arc<str>]>,
    },
    /// `JSON` of MySQL (binary in the log). MariaDB's `JSON` is `LONGTEXT`.
    Json,
    /// A spatial type.
    Geometry {
        /// Which.
        subtype: GeometryKind,
    },
    /// `VECTOR(dimensions)`: 32-bit floats.
    Vector {
        /// Number of floats; 0 when not known.
        dimensions: u32,
    },
    /// MariaDB's `UUID`.
    Uuid,
    /// MariaDB's `INET4`.
    Inet4,
    /// MariaDB's `INET6`.
    Inet6,
    /// A type that is not known here, by its name. A table that has one cannot be captured.
    Unknown {
        /// Lower-case name.
        name: Arc<str>,
    },
}

/// Which spatial type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GeometryKind {
    /// `GEOMETRY`.
    Geometry,
    /// `POINT`.
    Point,
    /// `LINESTRING`.
    LineString,
    /// `POLYGON`.
    Polygon,
    /// `MULTIPOINT`.
    MultiPoint,
    /// `MULTILINESTRING`.
    MultiLineString,
    /// `MULTIPOLYGON`.
    MultiPolygon,
    /// `GEOMETRYCOLLECTION` (also `GEOMCOLLECTION`).
    GeometryCollection,
}

/// Whether a column is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Generated {
    /// It is not.
    #[default]
    No,
    /// When read: `VIRTUAL`.
    Virtual,
    /// When written: `STORED`, `PERSISTENT`.
    Stored,
    /// When a row comes to be or ends: MariaDB's `ROW START` and `ROW END` of system versioning.
    RowTime,
}

/// A column's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum DefaultValue {
    /// A constant, as plain text without quotes (`5`, `abc`, `b'101'` as `101`).
    Literal {
        /// Its text.
        text: Arc<str>,
    },
    /// `NULL`, said or implied.
    Null,
    /// An expression such as `CURRENT_TIMESTAMP(6)` or `(uuid())`.
    Expression {
        /// Its text.
        text: Arc<str>,
    },
    /// There may be one or none: the definition was taken from the log's metadata, which has no defaults.
    Unknown,
}

/// What `ADD COLUMN` gave the rows that were there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Given {
    /// What the server takes for the type where a column may not be null and has no default.
    TypesOwn,
    /// The default of then.
    Default(DefaultValue),
    /// The time of the statement, as text with the column's digits of a fraction; of a timestamp in UTC.
    Moment(Arc<str>),
}

/// A column as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnDef {
    /// Name, in the case it was declared in.
    pub(crate) name: Arc<str>,
    /// Type.
    pub(crate) kind: ColumnKind,
    /// `UNSIGNED` (also implied by `ZEROFILL`).
    #[serde(default)]
    pub(crate) unsigned: bool,
    /// `ZEROFILL`.
    #[serde(default)]
    pub(crate) zerofill: bool,
    /// Display width of an integer, if declared: `TINYINT(1)`.
    #[serde(default)]
    pub(crate) width: Option<u32>,
    /// Character set of a text type, of enum and of set; the table's when none is declared.
    #[serde(default)]
    pub(crate) charset: Option<Charset>,
    /// Whether null is allowed.
    pub(crate) nullable: bool,
    /// Default; `None` when there is none.
    #[serde(default)]
    pub(crate) default: Option<DefaultValue>,
    /// Whether it is computed.
    #[serde(default)]
    pub(crate) generated: Generated,
    /// `AUTO_INCREMENT`.
    #[serde(default)]
    pub(crate) auto_increment: bool,
    /// `INVISIBLE`: not in `SELECT *`, yet in the log.
    #[serde(default)]
    pub(crate) invisible: bool,
    /// MariaDB's `COMPRESSED` column attribute: values in the log are compressed.
    #[serde(default)]
    pub(crate) compressed: bool,
    /// `SRID n` of a spatial column.
    #[serde(default)]
    pub(crate) srid: Option<u32>,
    /// Comment, if any.
    #[serde(default)]
    pub(crate) comment: Option<Arc<str>>,
    /// Whether `ADD COLUMN` brought it, and with null for the rows that were there. No longer known once the column is
    /// declared anew, or the table has another name: what was done to its rows before is not in the log.
    #[serde(default)]
    pub(crate) added_as_null: bool,
    /// The same where it brought something else than null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<Given>,
    /// Which column it is, whatever it is called, in the table's [`Numbering`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u32>,
}

impl ColumnDef {
    /// A nullable column of a type and nothing else.
    pub(crate) fn new(name: impl Into<Arc<str>>, kind: ColumnKind) -> ColumnDef {
        ColumnDef {
            name: name.into(),
            kind,
            unsigned: false,
            zerofill: false,
            width: None,
            charset: None,
            nullable: true,
            default: None,
            generated: Generated::No,
            auto_increment: false,
            invisible: false,
            compressed: false,
            srid: None,
            comment: None,
            added_as_null: false,
            given: None,
            number: None,
        }
    }

    /// What its rows had before it came is not known any more.
    pub(crate) fn forget_older_rows(&mut self) {
        (self.added_as_null, self.given) = (false, None);
    }
}

/// A unique index that is not the primary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UniqueKey {
    /// Name.
    pub(crate) name: Arc<str>,
    /// Columns by name, in key order.
    pub(crate) columns: Vec<Arc<str>>,
    /// Whether every part is a whole column: no prefix, no expression. Only such a key tells rows apart by columns.
    pub(crate) whole: bool,
}

/// An index that is not unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexDef {
    /// Name.
    pub(crate) name: Arc<str>,
    /// Columns by name, in key order; an empty name for an expression.
    pub(crate) columns: Vec<Arc<str>>,
    /// Whether the server made it for a foreign key: it goes when another index serves as well.
    #[serde(default)]
    pub(crate) generated: bool,
}

/// A table as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableDef {
    /// Database (`schema`) and name.
    #[serde(with = "table_name")]
    pub(crate) name: TableName,
    /// Columns in the order of the table, which is that of row images. Virtual ones too, and invisible ones.
    pub(crate) columns: Vec<ColumnDef>,
    /// Columns of the primary key by name, in key order; empty without one.
    #[serde(default)]
    pub(crate) primary_key: Vec<Arc<str>>,
    /// Other unique indexes in the order they were made.
    #[serde(default)]
    pub(crate) unique_keys: Vec<UniqueKey>,
    /// Indexes that are not unique, in the order they were made. They do not matter to rows, yet decide by which name a
    /// later statement means a unique one: the server names `UNIQUE (a)` by the first of `a`, `a_2`, ... that is free.
    #[serde(default)]
    pub(crate) indexes: Vec<IndexDef>,
    /// Default character set of new columns.
    pub(crate) charset: Charset,
    /// Storage engine, if known.
    #[serde(default)]
    pub(crate) engine: Option<Arc<str>>,
    /// Comment, if any.
    #[serde(default)]
    pub(crate) comment: Option<Arc<str>>,
    /// How its columns are numbered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) numbering: Option<Numbering>,
}

impl TableDef {
    /// Counts the columns as they are now.
    pub(crate) fn number_columns(&mut self, origin: Origin) {
        self.numbering = Some(Numbering::at(origin, &self.name));
        for at in 0..self.columns.len() {
            let number = self.next_number();
            self.columns.get_mut(at).into_iter().for_each(|column| column.number = number);
        }
    }

    /// Whether both say the same of a table, however its columns are counted: each reading of a catalog counts anew.
    pub(crate) fn says_the_same(&self, other: &TableDef) -> bool {
        let said = |table: &TableDef| {
            let mut table = TableDef { numbering: None, ..table.clone() };
            table.columns.iter_mut().for_each(|column| column.number = None);
            table
        };
        said(self) == said(other)
    }

    /// The number of the next column that is added.
    pub(crate) fn next_number(&mut self) -> Option<u32> {
        let numbering = self.numbering.as_mut()?;
        numbering.last = numbering.last.checked_add(1)?;
        Some(numbering.last)
    }

    /// The same under another name. What the rows of its columns had before they were added is no longer known then.
    pub(crate) fn under_name(&self, name: TableName) -> TableDef {
        let mut table = TableDef { name, ..self.clone() };
        table.columns.iter_mut().for_each(ColumnDef::forget_older_rows);
        table
    }

    /// Position of a column; names of columns do not differ by case in either server.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| same_name(&column.name, name))
    }
}

/// Whether two column or index names are the same to the server: they are compared without regard to case.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

mod table_name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tidewire_core::TableName;

    pub(super) fn serialize<S: Serializer>(name: &TableName, serializer: S) -> Result<S::Ok, S::Error> {
        (&*name.schema, &*name.table).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TableName, D::Error> {
        <(String, String)>::deserialize(deserializer).map(|(schema, table)| TableName::new(schema, table))
    }
}

impl fmt::Display for GeometryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GeometryKind::Geometry => "geometry",
            GeometryKind::Point => "point",
            GeometryKind::LineString => "linestring",
            GeometryKind::Polygon => "polygon",
            GeometryKind::MultiPoint => "multipoint",
            GeometryKind::MultiLineString => "multilinestring",
            GeometryKind::MultiPolygon => "multipolygon",
            GeometryKind::GeometryCollection => "geometrycollection",
        })
    }
}
