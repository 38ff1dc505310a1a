//! Which Delta type holds a column: the map from neutral types, and Delta's schema JSON in both directions.
//! The type is always one that holds every value of the source's type exactly; where Delta has none it is a
//! string with the database's own text. Knows nothing of rows, files or tables.

mod mapped;
mod widen;

pub(crate) use mapped::{LAST_ID_PROPERTY, MODE_NAME, MODE_PROPERTY, Mapped};

use arrow_schema::{DataType as ArrowType, Field, TimeUnit};
use serde_json::{Map, Value as Json, json};
use std::fmt;
use std::sync::Arc;
use tidewire_core::{Constant, DataType};

/// Digits of Delta's widest decimal.
pub(crate) const DECIMAL_DIGITS_MAX: u32 = 38;

/// A Delta type, in the words of the protocol's section "Schema Serialization Format".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// `boolean`.
    Boolean,
    /// `byte`, 8 bits.
    Byte,
    /// `short`, 16 bits.
    Short,
    /// `integer`, 32 bits.
    Integer,
    /// `long`, 64 bits.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `decimal(precision,scale)`.
    Decimal(u8, u8),
    /// `string`.
    String,
    /// `binary`.
    Binary,
    /// `date`, years 1 to 9999.
    Date,
    /// `timestamp`, microseconds in UTC, years 1 to 9999.
    Timestamp,
    /// `timestamp_ntz`, microseconds without a zone, years 1 to 9999.
    TimestampNtz,
    /// `array`, its elements may be null.
    Array(Box<ColumnType>),
}

impl ColumnType {
    /// The type that holds every value of a source's type.
    pub(crate) fn of(source: &DataType) -> ColumnType {
        match source {
            DataType::Bool => ColumnType::Boolean,
            DataType::Int { bits: ..=8 } => ColumnType::Byte,
            DataType::Int { bits: ..=16 } | DataType::UInt { bits: ..=8 } => ColumnType::Short,
            DataType::Int { bits: ..=32 } | DataType::UInt { bits: ..=16 } => ColumnType::Integer,
            DataType::Int { .. } | DataType::UInt { bits: ..=32 } => ColumnType::Long,
            DataType::UInt { .. } => ColumnType::Decimal(20, 0),
            DataType::Float32 => ColumnType::Float,
            DataType::Float64 => ColumnType::Double,
            DataType::Decimal { precision, scale } => decimal(*precision, *scale),
            DataType::Bytes | DataType::Geometry => ColumnType::Binary,
            DataType::Date => ColumnType::Date,
            DataType::Timestamp { .. } => ColumnType::TimestampNtz,
            DataType::TimestampTz { .. } => ColumnType::Timestamp,
            DataType::Array { element, .. } => ColumnType::Array(Box::new(ColumnType::of(element))),
            DataType::Text
            | DataType::Time { .. }
            | DataType::TimeTz { .. }
            | DataType::Interval
            | DataType::Uuid
            | DataType::Json
            | DataType::Enum { .. }
            | DataType::Set { .. }
            | DataType::Bits { .. }
            | DataType::Range
            | DataType::Composite
            | DataType::Other => ColumnType::String,
        }
    }

    /// Whether a column of this type holds every value of `other` as it is.
    pub(crate) fn holds(&self, other: &ColumnType) -> bool {
        let integer_width = |t: &ColumnType| match t {
            ColumnType::Byte => Some(1),
            ColumnType::Short => Some(2),
            ColumnType::Integer => Some(4),
            ColumnType::Long => Some(8),
            _ => None,
        };
        match (self, other) {
            (ColumnType::Decimal(p, s), ColumnType::Decimal(q, t)) => {
                s >= t && i16::from(*p) - i16::from(*s) >= i16::from(*q) - i16::from(*t)
            }
            (ColumnType::Array(own), ColumnType::Array(their)) => own.holds(their),
            _ => match (integer_width(self), integer_width(other)) {
                (Some(own), Some(their)) => own >= their,
                _ => self == other,
            },
        }
    }

    /// The Arrow type in memory and in the Parquet file.
    pub(crate) fn arrow(&self) -> ArrowType {
        match self {
            ColumnType::Boolean => ArrowType::Boolean,
            ColumnType::Byte => ArrowType::Int8,
            ColumnType::Short => ArrowType::Int16,
            ColumnType::Integer => ArrowType::Int32,
            ColumnType::Long => ArrowType::Int64,
            ColumnType::Float => ArrowType::Float32,
            ColumnType::Double => ArrowType::Float64,
            ColumnType::Decimal(precision, scale) => ArrowType::Decimal128(*precision, scale.cast_signed()),
            ColumnType::String => ArrowType::Utf8,
            ColumnType::Binary => ArrowType::Binary,
            ColumnType::Date => ArrowType::Date32,
            ColumnType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::TimestampNtz => ArrowType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::Array(element) => ArrowType::List(Arc::new(element.element_field())),
        }
    }

    /// The field by which a list names its elements; `element` is the Parquet format's name.
    pub(crate) fn element_field(&self) -> Field {
        Field::new("element", self.arrow(), true)
    }

    /// The type as schema JSON.
    fn to_json(&self) -> Json {
        match self {
            ColumnType::Array(element) => {
                json!({ "type": "array", "elementType": element.to_json(), "containsNull": true })
            }
            flat => Json::String(flat.to_string()),
        }
    }

    /// Reads the type from schema JSON; `None` for types that Tidewire never writes.
    fn from_json(json: &Json) -> Option<ColumnType> {
        if let Json::Object(object) = json {
            let is_array = object.get("type")?.as_str()? == "array";
            let element = ColumnType::from_json(object.get("elementType")?)?;
            return is_array.then(|| ColumnType::Array(Box::new(element)));
        }
        Some(match json.as_str()? {
            "boolean" => ColumnType::Boolean,
            "byte" => ColumnType::Byte,
            "short" => ColumnType::Short,
            "integer" => ColumnType::Integer,
            "long" => ColumnType::Long,
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "string" => ColumnType::String,
            "binary" => ColumnType::Binary,
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp,
            "timestamp_ntz" => ColumnType::TimestampNtz,
            other => {
                let (precision, scale) = other.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                ColumnType::Decimal(precision.trim().parse().ok()?, scale.trim().parse().ok()?)
            }
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            ColumnType::Boolean => "boolean",
            ColumnType::Byte => "byte",
            ColumnType::Short => "short",
            ColumnType::Integer => "integer",
            ColumnType::Long => "long",
            ColumnType::Float => "float",
            ColumnType::Double => "double",
            ColumnType::Decimal(precision, scale) => return write!(f, "decimal({precision},{scale})"),
            ColumnType::String => "string",
            ColumnType::Binary => "binary",
            ColumnType::Date => "date",
            ColumnType::Timestamp => "timestamp",
            ColumnType::TimestampNtz => "timestamp_ntz",
            ColumnType::Array(element) => return write!(f, "array<{element}>"),
        };
        f.write_str(word)
    }
}

/// `numeric(p,s)`; a negative scale rounds to tens at the source, so it only needs more whole digits, and a
/// scale above the precision only needs more fraction digits.
fn decimal(precision: Option<u32>, scale: Option<i32>) -> ColumnType {
    let exact = |precision: Option<u32>, scale: Option<i32>| {
        let (precision, scale) = (precision?, scale.unwrap_or(0));
        let whole_extra = u32::try_from(-i64::from(scale)).unwrap_or(0);
        let scale = u32::try_from(scale).unwrap_or(0);
        let precision = precision.checked_add(whole_extra)?.max(scale).max(1);
        if precision > DECIMAL_DIGITS_MAX {
            return None;
        }
        Some(ColumnType::Decimal(u8::try_from(precision).ok()?, u8::try_from(scale).ok()?))
    };
    exact(precision, scale).unwrap_or(ColumnType::String)
}

/// A word for the family of a source's type, stored beside the column: two types that are both strings in
/// Delta still differ in how the database prints their values.
pub(crate) fn family(source: &DataType) -> String {
    let word = match source {
        DataType::Bool => "boolean",
        DataType::Int { .. } | DataType::UInt { .. } => "integer",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Decimal { .. } => "decimal",
        DataType::Text => "text",
        DataType::Bytes => "bytes",
        DataType::Date => "date",
        DataType::Time { .. } => "time",
        DataType::TimeTz { .. } => "timetz",
        DataType::Timestamp { .. } => "timestamp",
        DataType::TimestampTz { .. } => "timestamptz",
        DataType::Interval => "interval",
        DataType::Uuid => "uuid",
        DataType::Json => "json",
        DataType::Enum { .. } => "enum",
        DataType::Set { .. } => "set",
        DataType::Bits { .. } => "bits",
        DataType::Geometry => "geometry",
        DataType::Array { element, .. } => return format!("{}[]", family(element)),
        DataType::Range => "range",
        DataType::Composite => "composite",
        DataType::Other => "other",
    };
    word.to_owned()
}

/// A value that the rows of before have in a column that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filling {
    /// The value.
    pub(crate) constant: Constant,
    /// The column's type when it was added; it may have grown since.
    pub(crate) column_type: ColumnType,
}

/// One column of a Delta table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableColumn {
    /// Name in the table: the source's, without column mapping with `_` for characters that Delta forbids.
    pub(crate) name: Arc<str>,
    /// Type.
    pub(crate) column_type: ColumnType,
    /// Whether the table's schema allows null. Files always do.
    pub(crate) nullable: bool,
    /// Family of the source's type, see [`family`]; empty for columns of our own.
    pub(crate) family: Arc<str>,
    /// Whether the source has dropped the column: it stays, and new rows have null.
    pub(crate) dropped: bool,
    /// Whether it came to a table that had rows, so that files may lack it.
    pub(crate) added: bool,
    /// Whether files that lack the column have null there in truth, and not for want of the value.
    pub(crate) added_as_null: bool,
    /// What is to be in files that lack the column, until they have it; the schema does not keep it.
    pub(crate) filling: Option<Filling>,
    /// The source's column whose values it takes, where that is not told by the name.
    pub(crate) source: Option<Arc<str>>,
    /// How its type has grown, for readers of files from before: entries of `delta.typeChanges`.
    pub(crate) type_changes: Vec<Json>,
    /// With column mapping, what stays when the name changes.
    pub(crate) mapped: Option<Mapped>,
    /// With column mapping, the name by which the configuration has the table partitioned by it: it may have another one since.
    pub(crate) partition: Option<Arc<str>>,
}

impl TableColumn {
    /// A column that no source has.
    pub(crate) fn own(name: &str, column_type: ColumnType) -> TableColumn {
        TableColumn {
            name: name.into(),
            column_type,
            nullable: true,
            family: "".into(),
            dropped: false,
            added: false,
            added_as_null: false,
            filling: None,
            source: None,
            type_changes: Vec::new(),
            mapped: None,
            partition: None,
        }
    }

    /// The column in which a mirror numbers rows that have no key and are equal. It is in data files only.
    pub(crate) fn number() -> TableColumn {
        TableColumn::own(NUMBER_COLUMN, ColumnType::Integer)
    }

    /// Whether it is in data files only, so that no reader sees it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.family.is_empty() && *self.name == *NUMBER_COLUMN
    }

    /// Whether it takes the values of the source's column of this name, as long as it is not dropped.
    pub(crate) fn takes(&self, source: &str) -> bool {
        match (&self.source, &self.mapped) {
            (Some(own), _) => **own == *source,
            (None, Some(_)) => *self.name == *source,
            (None, None) => self.name == column_name(source),
        }
    }

    /// Its name in data files and their statistics.
    pub(crate) fn file_name(&self) -> &Arc<str> {
        self.mapped.as_ref().map_or(&self.name, |mapped| &mapped.physical)
    }
}

/// The name of `TableColumn::number`.
const NUMBER_COLUMN: &str = "_tidewire_number";
/// Of a field that has had a narrower type.
pub(crate) const TYPE_CHANGES_KEY: &str = "delta.typeChanges";
const FAMILY_KEY: &str = "tidewire.type";
const DROPPED_KEY: &str = "tidewire.dropped";
const SOURCE_KEY: &str = "tidewire.source";
const ADDED_KEY: &str = "tidewire.added";
const PARTITION_KEY: &str = "tidewire.partition";
/// Of [`ADDED_KEY`]: the rows from before had null.
const AS_NULL: &str = "null";
/// Of [`ADDED_KEY`]: they had some value.
const AS_VALUE: &str = "value";

/// The schema string of a table.
pub(crate) fn schema_string(columns: &[TableColumn]) -> String {
    let field = |column: &TableColumn| {
        let mut metadata = Map::new();
        if !column.family.is_empty() {
            metadata.insert(FAMILY_KEY.to_owned(), Json::String(column.family.to_string()));
        }
        if column.dropped {
            metadata.insert(DROPPED_KEY.to_owned(), Json::String("true".to_owned()));
        }
        if column.added || column.added_as_null {
            let word = if column.added_as_null { AS_NULL } else { AS_VALUE };
            metadata.insert(ADDED_KEY.to_owned(), Json::String(word.to_owned()));
        }
        if let Some(source) = &column.source {
            metadata.insert(SOURCE_KEY.to_owned(), Json::String(source.to_string()));
        }
        if !column.type_changes.is_empty() {
            metadata.insert(TYPE_CHANGES_KEY.to_owned(), Json::Array(column.type_changes.clone()));
        }
        if let Some(mapped) = &column.mapped {
            mapped.write(&mut metadata);
        }
        if let Some(partition) = &column.partition {
            metadata.insert(PARTITION_KEY.to_owned(), Json::String(partition.to_string()));
        }
        json!({
            "name": &*column.name,
            "type": column.column_type.to_json(),
            "nullable": column.nullable,
            "metadata": metadata,
        })
    };
    let shown = columns.iter().filter(|column| !column.is_hidden());
    json!({ "type": "struct", "fields": shown.map(field).collect::<Vec<_>>() }).to_string()
}

/// Reads a schema string back; `None` when it is not one that Tidewire writes.
pub(crate) fn parse_schema_string(text: &str) -> Option<Vec<TableColumn>> {
    let schema: Json = serde_json::from_str(text).ok()?;
    let column = |field: &Json| {
        let metadata = field.get("metadata");
        let note = |key| metadata.and_then(|m| m.get(key)).and_then(Json::as_str);
        Some(TableColumn {
            name: field.get("name")?.as_str()?.into(),
            column_type: ColumnType::from_json(field.get("type")?)?,
            nullable: field.get("nullable")?.as_bool()?,
            family: note(FAMILY_KEY).unwrap_or_default().into(),
            dropped: note(DROPPED_KEY) == Some("true"),
            added: note(ADDED_KEY).is_some(),
            added_as_null: note(ADDED_KEY) == Some(AS_NULL),
            filling: None,
            source: note(SOURCE_KEY).map(Arc::from),
            type_changes: metadata
                .and_then(|metadata| metadata.get(TYPE_CHANGES_KEY)?.as_array().cloned())
                .unwrap_or_default(),
            mapped: metadata.and_then(Mapped::read),
            partition: note(PARTITION_KEY).map(Arc::from),
        })
    };
    schema.get("fields")?.as_array()?.iter().map(column).collect()
}

/// A column's name in the table: characters that Delta forbids without column mapping become `_`.
pub(crate) fn column_name(source: &str) -> Arc<str> {
    let forbidden = |c: char| matches!(c, ' ' | ',' | ';' | '{' | '}' | '(' | ')' | '=' | '\n' | '\t');
    if source.contains(forbidden) { source.replace(forbidden, "_").into() } else { source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidewire_core::ColumnNumber;

    fn numeric(precision: u32, scale: i32) -> DataType {
        DataType::Decimal { precision: Some(precision), scale: Some(scale) }
    }

    #[test]
    fn every_type_has_one_that_holds_it() {
        let element = |element| DataType::Array { element: Box::new(element), element_native: "x".into() };
        for (source, expect) in [
            (DataType::Int { bits: 16 }, "short"),
            (DataType::Int { bits: 32 }, "integer"),
            (DataType::Int { bits: 64 }, "long"),
            (DataType::UInt { bits: 8 }, "short"),
            (DataType::UInt { bits: 32 }, "long"),
            // MY-60: Delta has no unsigned 64-bit integer.
            (DataType::UInt { bits: 64 }, "decimal(20,0)"),
            (numeric(10, 2), "decimal(10,2)"),
            (numeric(38, 38), "decimal(38,38)"),
            (numeric(39, 0), "string"),
            // PG-52: scales outside 0..=precision.
            (numeric(5, -2), "decimal(7,0)"),
            (numeric(3, 5), "decimal(5,5)"),
            (numeric(38, -1), "string"),
            (DataType::Decimal { precision: None, scale: None }, "string"),
            (DataType::Timestamp { precision: 6 }, "timestamp_ntz"),
            (DataType::TimestampTz { precision: 6 }, "timestamp"),
            (element(DataType::Uuid), "array<string>"),
            (element(DataType::Int { bits: 32 }), "array<integer>"),
        ] {
            assert_eq!(ColumnType::of(&source).to_string(), expect, "{source:?}");
        }
    }

    #[test]
    fn holding_is_exact() {
        let d = ColumnType::Decimal;
        for (own, other, expect) in [
            (ColumnType::Long, ColumnType::Integer, true),
            (ColumnType::Integer, ColumnType::Long, false),
            (d(12, 2), d(10, 2), true),
            (d(12, 4), d(10, 2), true),
            (d(12, 2), d(12, 4), false),
            (d(10, 4), d(10, 2), false),
            (ColumnType::String, ColumnType::Date, false),
            (ColumnType::Double, ColumnType::Float, false),
        ] {
            assert_eq!(own.holds(&other), expect, "{own} {other}");
        }
    }

    #[test]
    fn forbidden_characters_become_underscores() {
        assert_eq!(&*column_name("a b,c;d{e}f(g)h=i\tj\nk"), "a_b_c_d_e_f_g_h_i_j_k");
        assert_eq!(&*column_name("名前.x"), "名前.x");
    }

    fn any_type() -> impl Strategy<Value = ColumnType> {
        let flat = prop_oneof![
            Just(ColumnType::Boolean),
            Just(ColumnType::Byte),
            Just(ColumnType::Short),
            Just(ColumnType::Integer),
            Just(ColumnType::Long),
            Just(ColumnType::Float),
            Just(ColumnType::Double),
            Just(ColumnType::String),
            Just(ColumnType::Binary),
            Just(ColumnType::Date),
            Just(ColumnType::Timestamp),
            Just(ColumnType::TimestampNtz),
            (1u8..=38, 0u8..=38).prop_map(|(p, s)| ColumnType::Decimal(p, s.min(p))),
        ];
        (flat, any::<bool>()).prop_map(|(t, array)| if array { ColumnType::Array(Box::new(t)) } else { t })
    }

    proptest! {
        #[test]
        fn schema_strings_round_trip(
            types in proptest::collection::vec((any_type(), ".{1,8}", any::<[bool; 4]>(), any::<Option<(u32, Option<u32>)>>()), 0..6)
        ) {
            let columns: Vec<TableColumn> = types
                .into_iter()
                .map(|(column_type, name, [nullable, dropped, added_as_null, moved], mapped)| TableColumn {
                    type_changes: moved.then(|| column_type.change_to(&ColumnType::String)).into_iter().collect(),
                    mapped: mapped.map(|(id, number)| Mapped {
                        id,
                        physical: format!("col-{id}").into(),
                        number: number.map(|number| ColumnNumber { within: u64::from(id) << 8, number }),
                    }),
                    source: moved.then(|| format!("{name}'s").into()),
                    partition: added_as_null.then(|| format!("{name} once").into()),
                    name: name.into(), column_type, nullable, family: "text".into(), dropped,
                    added: added_as_null, added_as_null, filling: None,
                })
                .collect();
            prop_assert_eq!(parse_schema_string(&schema_string(&columns)), Some(columns));
        }
    }
}
