use super::super::tests::{charset, column};
use super::*;
use crate::model::GeometryKind;

fn schema(column: &ColumnDef, zero: ZeroDates) -> ColumnSchema {
    column_schema(column, Flavour::MySql, zero).unwrap()
}

#[test]
fn types_are_written_as_the_server_writes_them() {
    let labels: Arc<[Arc<str>]> = Arc::from([Arc::from("a")]);
    let unsigned = |kind| ColumnDef { unsigned: true, ..column(kind) };
    let width = |kind, width| ColumnDef { width: Some(width), ..column(kind) };
    let zerofill = |kind, width| ColumnDef { unsigned: true, zerofill: true, width: Some(width), ..column(kind) };
    let decimal = ColumnKind::Decimal { precision: 10, scale: 2 };
    for (column, expect) in [
        (width(ColumnKind::TinyInt, 1), "tinyint(1)"),
        (width(ColumnKind::TinyInt, 4), "tinyint"),
        (ColumnDef { unsigned: true, ..width(ColumnKind::TinyInt, 1) }, "tinyint unsigned"),
        (width(ColumnKind::Int, 11), "int"),
        (unsigned(ColumnKind::Int), "int unsigned"),
        (zerofill(ColumnKind::Int, 10), "int(10) unsigned zerofill"),
        (unsigned(ColumnKind::BigInt), "bigint unsigned"),
        (column(ColumnKind::MediumInt), "mediumint"),
        (column(ColumnKind::SmallInt), "smallint"),
        (column(decimal.clone()), "decimal(10,2)"),
        (zerofill(decimal, 10), "decimal(10,2) unsigned zerofill"),
        (column(ColumnKind::Float { digits: Some((7, 3)) }), "float(7,3)"),
        (column(ColumnKind::Float { digits: None }), "float"),
        (unsigned(ColumnKind::Double { digits: None }), "double unsigned"),
        (column(ColumnKind::Bit { length: 9 }), "bit(9)"),
        (width(ColumnKind::Year, 4), "year"),
        (column(ColumnKind::Time { fsp: 0 }), "time"),
        (column(ColumnKind::DateTime { fsp: 6 }), "datetime(6)"),
        (column(ColumnKind::Timestamp { fsp: 3 }), "timestamp(3)"),
        (column(ColumnKind::VarChar { length: 20 }), "varchar(20)"),
        (column(ColumnKind::Binary { length: 4 }), "binary(4)"),
        (column(ColumnKind::Text { width: 1 }), "tinytext"),
        (column(ColumnKind::Text { width: 2 }), "text"),
        (column(ColumnKind::Blob { width: 3 }), "mediumblob"),
        (column(ColumnKind::Blob { width: 4 }), "longblob"),
        (column(ColumnKind::Enum { labels: Arc::clone(&labels) }), "enum"),
        (column(ColumnKind::Set { labels }), "set"),
        (column(ColumnKind::Json), "json"),
        (column(ColumnKind::Geometry { subtype: GeometryKind::Point }), "point"),
        (column(ColumnKind::Vector { dimensions: 3 }), "vector(3)"),
        (column(ColumnKind::Uuid), "uuid"),
        (column(ColumnKind::Inet6), "inet6"),
    ] {
        assert_eq!(&*schema(&column, ZeroDates::Halt).native_type, expect);
    }
}

#[test]
fn types_have_neutral_words() {
    let unsigned = |kind| ColumnDef { unsigned: true, ..column(kind) };
    let labels: Arc<[Arc<str>]> = Arc::from([Arc::from("a"), Arc::from("b")]);
    for (column, expect) in [
        (column(ColumnKind::MediumInt), DataType::Int { bits: 24 }),
        (unsigned(ColumnKind::MediumInt), DataType::UInt { bits: 24 }),
        (unsigned(ColumnKind::BigInt), DataType::UInt { bits: 64 }),
        (column(ColumnKind::Year), DataType::Int { bits: 16 }),
        (unsigned(ColumnKind::Year), DataType::Int { bits: 16 }),
        (
            column(ColumnKind::Decimal { precision: 65, scale: 30 }),
            DataType::Decimal { precision: Some(65), scale: Some(30) },
        ),
        (column(ColumnKind::Bit { length: 1 }), DataType::Bits { length: Some(1), varying: false }),
        (column(ColumnKind::Time { fsp: 3 }), DataType::Time { precision: 3 }),
        (column(ColumnKind::Timestamp { fsp: 6 }), DataType::TimestampTz { precision: 6 }),
        (column(ColumnKind::DateTime { fsp: 0 }), DataType::Timestamp { precision: 0 }),
        (column(ColumnKind::Text { width: 4 }), DataType::Text),
        (column(ColumnKind::Enum { labels: Arc::clone(&labels) }), DataType::Enum { labels: Arc::clone(&labels) }),
        (column(ColumnKind::Set { labels: Arc::clone(&labels) }), DataType::Set { labels }),
        (
            column(ColumnKind::Vector { dimensions: 3 }),
            DataType::Array { element: Box::new(DataType::Float32), element_native: "float".into() },
        ),
        (column(ColumnKind::Inet4), DataType::Other),
        (ColumnDef { charset: charset("binary"), ..column(ColumnKind::Text { width: 2 }) }, DataType::Bytes),
    ] {
        assert_eq!(schema(&column, ZeroDates::Halt).data_type, expect);
    }
    let unknown =
        column_schema(&column(ColumnKind::Unknown { name: "xmltype".into() }), Flavour::MariaDb, ZeroDates::Halt);
    assert!(unknown.unwrap_err().to_string().contains("`xmltype`"));
}

/// Where a date may be impossible and must be kept, the column is text; times are never dates.
#[test]
fn dates_become_text_where_asked() {
    for (kind, expect) in [
        (ColumnKind::Date, DataType::Text),
        (ColumnKind::DateTime { fsp: 3 }, DataType::Text),
        (ColumnKind::Timestamp { fsp: 0 }, DataType::Text),
        (ColumnKind::Time { fsp: 3 }, DataType::Time { precision: 3 }),
        (ColumnKind::Year, DataType::Int { bits: 16 }),
    ] {
        assert_eq!(schema(&column(kind), ZeroDates::Text).data_type, expect);
    }
}

#[test]
fn defaults_are_sql() {
    let literal = |text: &str| Some(DefaultValue::Literal { text: text.into() });
    let expression = |text: &str| Some(DefaultValue::Expression { text: text.into() });
    let varchar = ColumnKind::VarChar { length: 10 };
    for (kind, default, expect) in [
        (ColumnKind::Int, literal("42"), Some("42")),
        (ColumnKind::Decimal { precision: 5, scale: 2 }, literal("-1.25"), Some("-1.25")),
        (ColumnKind::Year, literal("2024"), Some("2024")),
        (varchar.clone(), literal("it's \\"), Some("'it''s \\'")),
        (varchar.clone(), literal("42"), Some("'42'")),
        (varchar.clone(), literal(""), Some("''")),
        (ColumnKind::Bit { length: 3 }, literal("101"), Some("b'101'")),
        (ColumnKind::DateTime { fsp: 0 }, literal("2020-01-02 03:04:05"), Some("'2020-01-02 03:04:05'")),
        (ColumnKind::Timestamp { fsp: 6 }, expression("CURRENT_TIMESTAMP(6)"), Some("CURRENT_TIMESTAMP(6)")),
        (varchar.clone(), Some(DefaultValue::Null), None),
        (varchar, None, None),
    ] {
        let column = ColumnDef { default, ..column(kind) };
        assert_eq!(schema(&column, ZeroDates::Halt).default.as_deref(), expect);
    }
}
