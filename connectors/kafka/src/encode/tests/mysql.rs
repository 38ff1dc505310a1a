//! The statements behind the golden records of MySQL as batches, and what our own profile makes of MySQL's values.

use super::fixture::{Fixture, Text, Text::Is};
use super::{GOLDEN, Recorded, check_records, encode_of};
use crate::format::{BinaryMode, DecimalMode, FormatSettings, Profile, TemporalMode};
use std::sync::Arc;
use tidewire_core::batch::{Before, Ddl, Provenance};
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::source::{ProvenanceField, ProvenanceOrigin, ProvenanceType};
use tidewire_core::{
    Batch, ColumnSchema, DataType, Op, Phase, SchemaVersion, SourceDescriptor, TableName, TableSchema,
};

/// What differs from Debezium on purpose: that a truncate is row 0 (there the number of the row before stays), that
/// a date within JSON has the server's digits, and that the last table of a snapshot is not known as such.
const DIFFERENCES: [(&str, &str); 3] = [
    (r#""row":1,"thread":null"#, r#""row":0,"thread":null"#),
    (r"2024-02-29 12:34:56.789\", r"2024-02-29 12:34:56.789000\"),
    (r#""snapshot":"last""#, r#""snapshot":"last_in_data_collection""#),
];

pub(super) fn descriptor(name: &str, connector: &'static str) -> Arc<SourceDescriptor> {
    const fn field(
        name: &'static str,
        field_type: ProvenanceType,
        optional: bool,
        origin: ProvenanceOrigin,
    ) -> ProvenanceField {
        ProvenanceField { name, field_type, optional, origin, in_snapshot: true }
    }
    static FIELDS: [ProvenanceField; 7] = [
        field("server_id", ProvenanceType::Int64, false, ProvenanceOrigin::Transaction(0)),
        field("gtid", ProvenanceType::Text, true, ProvenanceOrigin::Transaction(1)),
        field("file", ProvenanceType::Text, false, ProvenanceOrigin::Transaction(2)),
        field("pos", ProvenanceType::Int64, false, ProvenanceOrigin::Offset),
        field("row", ProvenanceType::Int32, false, ProvenanceOrigin::Row),
        field("thread", ProvenanceType::Int64, true, ProvenanceOrigin::Transaction(3)),
        field("query", ProvenanceType::Text, true, ProvenanceOrigin::Null),
    ];
    Arc::new(SourceDescriptor {
        name: name.into(),
        connector,
        database: "".into(),
        provenance: &FIELDS,
        has_sequence: false,
        snapshot_floor: None,
    })
}

/// A table from `name|type[ not null][|default]` lines; `key` names its key's columns.
fn table(name: &str, columns: &[&str], key: &[&str]) -> Arc<TableSchema> {
    let columns: Vec<ColumnSchema> = columns.iter().map(|line| column(line)).collect();
    let index = |name: &&str| columns.iter().position(|column| &*column.name == *name).expect("a column");
    Arc::new(TableSchema {
        name: TableName::new("golden", name),
        version: SchemaVersion(1),
        native_id: 1,
        key: key.iter().map(index).collect(),
        key_kind: if key.is_empty() { KeyKind::None } else { KeyKind::Primary },
        old_row: OldRow::Full,
        columns,
    })
}

fn column(line: &str) -> ColumnSchema {
    let mut parts = line.split('|');
    let (name, native, default) = (parts.next().expect("a name"), parts.next().expect("a type"), parts.next());
    let (native, nullable) = native.strip_suffix(" not null").map_or((native, true), |native| (native, false));
    let data_type = data_type(native);
    ColumnSchema {
        name: name.into(),
        data_type,
        native_type: native.into(),
        nullable,
        default: default.map(Into::into),
        missing: tidewire_core::Missing::Unknown,
        number: None,
    }
}

fn data_type(native: &str) -> DataType {
    let (name, modifier) = native.split_once('(').unwrap_or((native, ""));
    let inner = modifier.split(')').next().unwrap_or_default();
    let mut numbers = inner.split(',').filter_map(|part| part.parse::<u32>().ok());
    let first = numbers.next();
    let precision = first.unwrap_or(0) as u8;
    let labels = || inner.split(',').map(|label| label.trim_matches('\'').into()).collect();
    let bits = match name.split(' ').next() {
        Some("tinyint") => 8,
        Some("smallint") => 16,
        Some("mediumint") => 24,
        Some("int" | "year") => 32,
        Some("bigint") => 64,
        _ => 0,
    };
    match name {
        _ if bits > 0 && native.contains("unsigned") => DataType::UInt { bits },
        _ if bits > 0 => DataType::Int { bits },
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "decimal" => DataType::Decimal { precision: first, scale: numbers.next().map(|scale| scale as i32) },
        "bit" => DataType::Bits { length: first, varying: false },
        "binary" | "varbinary" | "tinyblob" | "blob" => DataType::Bytes,
        "json" => DataType::Json,
        "enum" => DataType::Enum { labels: labels() },
        "set" => DataType::Set { labels: labels() },
        "date" => DataType::Date,
        "time" => DataType::Time { precision },
        "datetime" => DataType::Timestamp { precision },
        "timestamp" => DataType::TimestampTz { precision },
        "point" | "geometry" => DataType::Geometry,
        "uuid" => DataType::Uuid,
        "inet6" => DataType::Other,
        "vector" => DataType::Array { element: Box::new(DataType::Float32), element_native: "float".into() },
        _ => DataType::Text,
    }
}

#[rustfmt::skip]
const ALL_TYPES: [&str; 53] = [
    "id|int not null", "c_tiny|tinyint", "c_utiny|tinyint unsigned", "c_tiny1|tinyint(1)", "c_bool|tinyint(1)",
    "c_small|smallint", "c_usmall|smallint unsigned", "c_med|mediumint", "c_umed|mediumint unsigned", "c_int|int",
    "c_uint|int unsigned", "c_big|bigint", "c_ubig|bigint unsigned", "c_dec_5_2|decimal(5,2)",
    "c_dec_38_10|decimal(38,10)", "c_dec_9_0|decimal(9,0)", "c_udec|decimal(10,2) unsigned", "c_float|float",
    "c_double|double", "c_bit1|bit(1)", "c_bit8|bit(8)", "c_bit64|bit(64)", "c_char|char(5)", "c_varchar|varchar(20)",
    "c_latin1|varchar(20)", "c_binary|binary(4)", "c_varbinary|varbinary(8)", "c_tinyblob|tinyblob", "c_blob|blob",
    "c_text|text", "c_mediumtext|mediumtext", "c_json|json", "c_enum|enum('a','b','c')", "c_set|set('x','y','z')",
    "c_date|date", "c_time|time", "c_time3|time(3)", "c_time6|time(6)", "c_dt|datetime", "c_dt3|datetime(3)",
    "c_dt6|datetime(6)", "c_ts|timestamp", "c_ts3|timestamp(3)", "c_ts6|timestamp(6)", "c_year|year", "c_point|point",
    "c_geom|geometry", "c_def|int not null|42", "c_def_vc|varchar(10)|'dflt'", "c_def_dec|decimal(5,2) not null|'1.25'",
    "c_def_ts|timestamp not null|CURRENT_TIMESTAMP", "c_def_dt|datetime not null|'2020-01-02 03:04:05'", "c_gen|int",
];
const POINT: &str = "0 \\x0101000000000000000000f83f00000000000004c0";
const LINE: &str = "4326 \\x01020000000200000000000000000000000000000000000000000000000000f03f000000000000f03f";
#[rustfmt::skip]
const PLAIN: &[(&str, &str)] = &[
    ("c_tiny", "1"), ("c_utiny", "2"), ("c_tiny1", "1"), ("c_bool", "1"), ("c_small", "3"), ("c_usmall", "4"),
    ("c_med", "5"), ("c_umed", "6"), ("c_int", "7"), ("c_uint", "8"), ("c_big", "9"), ("c_ubig", "10"),
    ("c_dec_5_2", "1.50"), ("c_dec_38_10", "1234567890.0123456789"), ("c_dec_9_0", "42"), ("c_udec", "9.99"),
    ("c_float", "1.5"), ("c_double", "2.25"), ("c_bit1", "1"), ("c_bit8", "10100101"),
    ("c_bit64", "0000000100000010000000110000010000000101000001100000011100001000"), ("c_char", "ch"),
    ("c_varchar", "vc"), ("c_latin1", "é"), ("c_binary", "\\x01020000"), ("c_varbinary", "\\xdeadbeef"),
    ("c_tinyblob", "\\x01"), ("c_blob", "\\xff00"), ("c_text", "plain"), ("c_mediumtext", "med"),
    ("c_json", r#"{"a": 1, "b": [1, 2.5, null, true, "x"]}"#), ("c_enum", "b"), ("c_set", "x,z"),
    ("c_date", "2024-02-29"), ("c_time", "12:34:56"), ("c_time3", "12:34:56.789"), ("c_time6", "12:34:56.789012"),
    ("c_dt", "2024-02-29 12:34:56"), ("c_dt3", "2024-02-29 12:34:56.789"), ("c_dt6", "2024-02-29 12:34:56.789012"),
    ("c_ts", "2024-02-29 12:34:56"), ("c_ts3", "2024-02-29 12:34:56.789"), ("c_ts6", "2024-02-29 12:34:56.789012"),
    ("c_year", "2024"), ("c_point", POINT), ("c_geom", LINE),
];
#[rustfmt::skip]
const LOWEST: &[(&str, &str)] = &[
    ("c_tiny", "-128"), ("c_utiny", "0"), ("c_tiny1", "-128"), ("c_small", "-32768"), ("c_usmall", "0"),
    ("c_med", "-8388608"), ("c_umed", "0"), ("c_int", "-2147483648"), ("c_uint", "0"), ("c_big", "-9223372036854775808"),
    ("c_ubig", "0"), ("c_dec_5_2", "-999.99"), ("c_dec_38_10", "-9999999999999999999999999999.9999999999"),
    ("c_dec_9_0", "-999999999"), ("c_udec", "0.00"), ("c_float", "-3.40282e38"),
    ("c_double", "-1.7976931348623157e308"), ("c_bit1", "0"), ("c_bit8", "00000000"),
    ("c_bit64", "0000000000000000000000000000000000000000000000000000000000000000"), ("c_char", ""), ("c_varchar", ""),
    ("c_binary", "\\x00000000"), ("c_varbinary", "\\x"), ("c_blob", "\\x"), ("c_text", ""), ("c_json", "null"),
    ("c_set", ""), ("c_date", "1000-01-01"), ("c_time", "-838:59:59"), ("c_time6", "-838:59:59.000000"),
    ("c_dt", "1000-01-01 00:00:00"), ("c_dt6", "1000-01-01 00:00:00"), ("c_ts", "1970-01-01 00:00:01"),
    ("c_ts6", "1970-01-01 00:00:01"), ("c_year", "1901"),
];
#[rustfmt::skip]
const HIGHEST: &[(&str, &str)] = &[
    ("c_tiny", "127"), ("c_utiny", "255"), ("c_tiny1", "127"), ("c_small", "32767"), ("c_usmall", "65535"),
    ("c_med", "8388607"), ("c_umed", "16777215"), ("c_int", "2147483647"), ("c_uint", "4294967295"),
    ("c_big", "9223372036854775807"), ("c_ubig", "18446744073709551615"), ("c_dec_5_2", "999.99"),
    ("c_dec_38_10", "9999999999999999999999999999.9999999999"), ("c_dec_9_0", "999999999"), ("c_udec", "99999999.99"),
    ("c_float", "1e-37"), ("c_double", "5e-324"), ("c_bit1", "1"), ("c_bit8", "11111111"),
    ("c_bit64", "1111111111111111111111111111111111111111111111111111111111111111"), ("c_char", "ab"),
    ("c_varchar", "é中😀"), ("c_binary", "\\x00000000"), ("c_varbinary", "\\x0000"), ("c_blob", "\\x00ff"),
    ("c_text", "quote\" back\\slash tab\t nl\n é中😀 </script>"),
    ("c_json", r#"{"d": 12345678901234567890, "e": 1e100, "s": "q\"uote", "nested": {"k": [[], {}]}}"#),
    ("c_set", "x,y,z"), ("c_date", "9999-12-31"), ("c_time", "838:59:59"), ("c_time6", "838:59:58.999999"),
    ("c_dt", "9999-12-31 23:59:59"), ("c_dt6", "9999-12-31 23:59:59.999999"), ("c_ts", "2038-01-19 03:14:07"),
    ("c_ts6", "2038-01-19 03:14:07.999999"), ("c_year", "2155"),
];
const MIXED: [&str; 3] = ["Id|int not null", "some col|text", "наme|text"];

type Row<'a> = Vec<Text<'a>>;
type Values<'a> = [(&'a str, &'a str)];

fn all_types() -> Arc<TableSchema> {
    table("all_types", &ALL_TYPES, &["id"])
}

/// A row of `all_types`, with its defaults: `made` is when it was.
fn typed<'a>(table: &TableSchema, id: &'a str, made: &'a str, values: &Values<'a>) -> Row<'a> {
    let fixed =
        [("id", id), ("c_def_ts", made), ("c_def", "42"), ("c_def_vc", "dflt"), ("c_def_dec", "1.25"), ("c_gen", "3")];
    let fixed = fixed.into_iter().chain([("c_def_dt", "2020-01-02 03:04:05")]);
    let all: Vec<(&str, &str)> = values.iter().copied().chain(fixed).collect();
    let value = |name: &str| all.iter().find(|(known, _)| *known == name).map_or(Text::Null, |(_, text)| Is(text));
    table.columns.iter().map(|column| value(&column.name)).collect()
}

fn snapshot(source: &Arc<SourceDescriptor>) -> Batch {
    let mut fixture = Fixture::new(source, Phase::Snapshot);
    let file = Provenance::Text("binlog.000001".into());
    fixture.binlog_transaction("", vec![Provenance::Int(0), Provenance::Absent, file, Provenance::Absent]);
    let all = all_types();
    let made = "2026-11-23 11:42:21";
    let rows = vec![typed(&all, "1", made, &[]), typed(&all, "2", made, PLAIN)];
    for (table, rows) in [(&table("Mixed Case-Tbl", &MIXED, &["Id"]), vec![]), (&all, rows)] {
        fixture.change(Op::SnapshotStart, table, None, None);
        for row in rows {
            fixture.change(Op::Read, table, None, Some(&row));
        }
        fixture.change(Op::SnapshotEnd, table, None, None);
    }
    fixture.finish()
}

fn begin(fixture: &mut Fixture, number: u64) {
    let gtid = format!("66a526c7-e723-11f1-ac0a-02fc00000001:{number}");
    let text = |text: &str| Provenance::Text(text.into());
    fixture
        .binlog_transaction(&gtid, vec![Provenance::Int(1), text(&gtid), text("binlog.000001"), Provenance::Int(122)]);
}

fn stream(source: &Arc<SourceDescriptor>) -> Batch {
    let mut fixture = Fixture::new(source, Phase::Stream);
    stream_all_types(&mut fixture);
    stream_keys(&mut fixture);
    stream_transactions(&mut fixture);
    stream_shapes(&mut fixture);
    fixture.finish()
}

fn stream_all_types(fixture: &mut Fixture) {
    let all = all_types();
    let made = "2026-11-23 11:43:34";
    let one = |id, values: &Values<'static>| typed(&all, id, made, values);
    let changed = |id, changes: &Values<'static>| {
        let values: Vec<_> = changes.iter().chain(PLAIN).copied().collect();
        typed(&all, id, made, &values)
    };
    let dates = r#"{"dt": "2024-02-29 12:34:56.789000", "dec": 1.50}"#;
    let small = [("c_float", "0.1"), ("c_double", "0.1"), ("c_time6", "-00:00:00.000001"), ("c_json", dates)];
    let wide = [("c_float", "1e10"), ("c_double", "1e21"), ("c_time6", "00:00:00"), ("c_json", "[]")];
    let long = [
        ("c_float", "123456.789"),
        ("c_double", "123456789.123456789"),
        ("c_time6", "23:59:59.999999"),
        ("c_json", "\"str\""),
    ];
    let inserts = [
        vec![one("3", PLAIN)],
        vec![one("4", &[])],
        vec![one("5", LOWEST), one("6", HIGHEST)],
        vec![one("7", &small), one("8", &wide), one("9", &long)],
    ];
    for (number, rows) in (2441..).zip(inserts) {
        begin(fixture, number);
        for (index, row) in (0..).zip(rows) {
            fixture.row(index);
            fixture.change(Op::Insert, &all, None, Some(&row));
        }
    }
    let json = ("c_json", r#"{"a": 2, "b": [1, 2.5, null, true, "x"]}"#);
    let (integer, text) = (("c_int", "77"), ("c_text", "upd"));
    let steps = [
        changed("3", &[]),
        changed("3", &[integer, text]),
        changed("3", &[integer, text, json]),
        changed("33", &[integer, text, json]),
    ];
    for (number, pair) in (2445..).zip(steps.windows(2)) {
        begin(fixture, number);
        fixture.change(Op::Update, &all, Some((Before::Full, &pair[0])), Some(&pair[1]));
    }
    begin(fixture, 2448);
    fixture.change(Op::Delete, &all, Some((Before::Full, &one("4", &[]))), None);
}

fn stream_keys(fixture: &mut Fixture) {
    let columns = ["k1|int not null", "k2|varchar(10) not null", "v|text"];
    let pair = table("composite_pk", &columns, &["k1", "k2"]);
    let row = |k2, v| [Is("1"), Is(k2), Is(v)];
    let steps = [
        (None, Some(row("a", "v1"))),
        (Some(row("a", "v1")), Some(row("a", "v2"))),
        (Some(row("a", "v2")), Some(row("b", "v2"))),
        (Some(row("b", "v2")), None),
    ];
    rows(fixture, 2449, &pair, &steps);
    let keyless = no_pk();
    let row = |b| [Is("1"), Is(b)];
    rows(fixture, 2453, &keyless, &[(None, Some(row("x"))), (Some(row("x")), Some(row("y"))), (Some(row("y")), None)]);
    let mixed = table("Mixed Case-Tbl", &MIXED, &["Id"]);
    rows(fixture, 2456, &mixed, &[(None, Some([Is("1"), Is("a"), Is("b")]))]);
}

fn no_pk() -> Arc<TableSchema> {
    table("no_pk", &["a|int", "b|text"], &[])
}

type Step<'a, const N: usize> = (Option<[Text<'a>; N]>, Option<[Text<'a>; N]>);

// Each in a transaction of its own.
fn rows<const N: usize>(fixture: &mut Fixture, first: u64, table: &Arc<TableSchema>, steps: &[Step<'_, N>]) {
    for (number, step) in (first..).zip(steps) {
        begin(fixture, number);
        write(fixture, table, step);
    }
}

fn write<const N: usize>(fixture: &mut Fixture, table: &Arc<TableSchema>, (before, after): &Step<'_, N>) {
    let op = match (before, after) {
        (None, _) => Op::Insert,
        (_, None) => Op::Delete,
        _ => Op::Update,
    };
    let before = before.as_ref().map(|row| (Before::Full, &row[..]));
    fixture.change(op, table, before, after.as_ref().map(|row| &row[..]));
}

fn trunc_me(columns: &[&str]) -> Arc<TableSchema> {
    table("trunc_me", columns, &["id"])
}

fn stream_transactions(fixture: &mut Fixture) {
    let trunc = trunc_me(&["id|int not null", "v|text"]);
    let keyless = no_pk();
    let row = |id, v| [Is(id), Is(v)];
    begin(fixture, 2457);
    write(fixture, &trunc, &(None, Some(row("1", "a"))));
    fixture.row(1);
    write(fixture, &trunc, &(None, Some(row("2", "b"))));
    begin(fixture, 2458);
    fixture.change(Op::Truncate, &trunc, None, None);
    begin(fixture, 2459);
    write(fixture, &trunc, &(None, Some(row("3", "tx1"))));
    write(fixture, &keyless, &(None, Some(row("3", "tx1"))));
    write(fixture, &trunc, &(Some(row("3", "tx1")), Some(row("3", "tx1b"))));
    write(fixture, &trunc, &(None, Some(row("4", "tx1"))));
    rows(fixture, 2460, &trunc, &[(None, Some(row("5", "sp")))]);
}

fn stream_shapes(fixture: &mut Fixture) {
    let column = |name: &str, kind: (i32, &str), charset: &str, position: u32, default: &str| {
        let (jdbc, word) = kind;
        format!(
            r#"{{"name":"{name}","jdbcType":{jdbc},"nativeType":null,"typeName":"{word}","typeExpression":"{word}","charsetName":{charset},"length":null,"scale":null,"position":{position},"optional":{},"autoIncremented":false,"generated":false,"comment":null,"defaultValueExpression":{default},"enumValues":null}}"#,
            position > 1
        )
    };
    let (int, text) = ((4, "INT"), (12, "TEXT"));
    let id = column("id", int, "null", 1, "null");
    let v = column("v", text, "\"utf8mb4\"", 2, "null");
    let extra = |name: &str, position| column(name, int, "null", position, "\"5\"");
    let steps = [
        ("ALTER TABLE trunc_me ADD COLUMN extra int DEFAULT 5", vec![id.clone(), v, extra("extra", 3)]),
        ("ALTER TABLE trunc_me DROP COLUMN v", vec![id.clone(), extra("extra", 2)]),
        ("ALTER TABLE trunc_me RENAME COLUMN extra TO extra2", vec![id, extra("extra2", 2)]),
    ];
    let tables = [
        (trunc_me(&["id|int not null", "v|text", "extra|int|5"]), vec![Is("7"), Is("after alter"), Is("8")]),
        (trunc_me(&["id|int not null", "extra|int|5"]), vec![Is("8"), Is("5")]),
        (trunc_me(&["id|int not null", "extra2|int|5"]), vec![Is("9"), Is("9")]),
    ];
    for (number, ((statement, columns), (table, row))) in (2461..).step_by(2).zip(steps.iter().zip(tables)) {
        begin(fixture, number);
        let changes = format!(
            r#"[{{"type":"ALTER","id":"\"golden\".\"trunc_me\"","table":{{"defaultCharsetName":"utf8mb4","primaryKeyColumnNames":["id"],"columns":[{}],"comment":null}}}}]"#,
            columns.join(",")
        );
        fixture.ddl(&Ddl {
            database: b"golden",
            tables: b"trunc_me",
            statement: statement.as_bytes(),
            table_changes: changes.as_bytes(),
        });
        fixture.change(Op::Schema, &table, None, None);
        begin(fixture, number + 1);
        fixture.change(Op::Insert, &table, None, Some(&row));
    }
    let columns =
        ["id|int not null", "d|date", "dt|datetime", "ts|timestamp", "dn|date not null", "dtn|datetime not null"];
    let zero = table("zero_dates", &columns, &["id"]);
    // As the source hands out dates that are none, with `zero_dates = "null"`.
    begin(fixture, 2467);
    let row = |id, date, time| [Is(id), Text::Null, Text::Null, Text::Null, Is(date), Is(time)];
    write(fixture, &zero, &(None, Some(row("1", "1970-01-01", "1970-01-01 00:00:00"))));
    fixture.row(1);
    write(fixture, &zero, &(None, Some(row("2", "2024-01-01", "2024-01-01 00:00:00"))));
}

fn records(source: &str, settings: FormatSettings) -> Vec<Recorded> {
    let descriptor = descriptor(source, "mysql");
    encode_of(settings, Arc::clone(&descriptor), &[snapshot(&descriptor), stream(&descriptor)]).expect("records")
}

#[test]
fn debezium_s_records_of_mysql_without_schemas() {
    let (source, settings) = ("g-mysql-schemas-false", FormatSettings { schemas: false, ..GOLDEN });
    let golden = include_str!("../../../tests/golden/mysql_schemas_false.jsonl");
    check_records(golden, source, settings, &records(source, settings), &DIFFERENCES);
}

#[test]
fn debezium_s_records_of_mysql_with_schemas() {
    let source = "g-mysql-schemas-true";
    let golden = include_str!("../../../tests/golden/mysql_schemas_true.jsonl");
    check_records(golden, source, GOLDEN, &records(source, GOLDEN), &DIFFERENCES);
}

#[test]
fn debezium_s_records_of_mysql_with_decimals_as_strings_and_times_in_microseconds() {
    let (decimal, temporal) = (DecimalMode::String, TemporalMode::Microseconds);
    let (source, settings) = ("g-mysql-string-micro", FormatSettings { schemas: false, decimal, temporal, ..GOLDEN });
    let golden = include_str!("../../../tests/golden/mysql_string_micro.jsonl");
    check_records(golden, source, settings, &records(source, settings), &DIFFERENCES);
}

fn rows_of(table: &Arc<TableSchema>, settings: FormatSettings, rows: &[Row<'_>]) -> Vec<String> {
    let source = descriptor("shop", "mariadb");
    let mut fixture = Fixture::new(&source, Phase::Stream);
    begin(&mut fixture, 1);
    for row in rows {
        fixture.change(Op::Insert, table, None, Some(row));
    }
    let records = encode_of(settings, source, &[fixture.finish()]).expect("records");
    records.iter().map(|record| super::own::member(record, "after")).collect()
}

#[test]
fn our_own_profile_keeps_every_value() {
    let all = all_types();
    let made = "2026-11-23 11:43:34";
    let rows = [typed(&all, "5", made, LOWEST), typed(&all, "6", made, HIGHEST)];
    let shown = rows_of(&all, FormatSettings::DEFAULT, &rows);
    for (row, expects) in shown.iter().zip([
        [
            r#""c_tiny1":-128"#,
            r#""c_dec_38_10":"-9999999999999999999999999999.9999999999""#,
            r#""c_udec":"0.00""#,
            r#""c_bit8":"00000000""#,
            r#""c_time":"-838:59:59Z""#,
            r#""c_dt":"1000-01-01T00:00:00Z""#,
            r#""c_ts6":"1970-01-01T00:00:01.000000Z""#,
            r#""c_year":1901"#,
        ],
        [
            r#""c_ubig":18446744073709551615"#,
            r#""c_uint":4294967295"#,
            r#""c_bit1":true"#,
            r#""c_double":4.9E-324"#,
            r#""c_json":"{\"d\": 12345678901234567890, \"e\": 1e100, \"s\": \"q\\\"uote\", \"nested\": {\"k\": [[], {}]}}""#,
            r#""c_set":"x,y,z""#,
            r#""c_time6":"838:59:58.999999Z""#,
            r#""c_dt6":"9999-12-31T23:59:59.999999Z""#,
        ],
    ]) {
        for expect in expects {
            assert!(row.contains(expect), "{expect}: {row}");
        }
    }
}

#[test]
fn mariadb_s_own_types_and_vectors_have_a_form_in_both_profiles() {
    let columns = ["id|int not null", "u|uuid", "i|inet6", "v|vector(2)", "f|float(7,3)", "t|time(1)"];
    let table = table("t", &columns, &["id"]);
    let uuid = "6f1e9d0a-1111-4222-8333-444455556666";
    let row = || vec![Is("1"), Is(uuid), Is("::1"), Is("{0.5,-1}"), Is("1.1"), Is("-00:00:00.5")];
    let (own, debezium) = (FormatSettings::DEFAULT, FormatSettings { schemas: false, ..FormatSettings::DEBEZIUM_3 });
    for (settings, expect) in
        [(own, r#""f":1.1,"t":"-00:00:00.5Z""#), (debezium, r#""f":1.100000023841858,"t":-500000"#)]
    {
        let expect = format!(r#"{{"id":1,"u":"{uuid}","i":"::1","v":[0.5,-1.0],{expect}}}"#);
        assert_eq!(rows_of(&table, settings, &[row()]), [expect]);
    }
}

#[test]
fn a_binlog_without_gtids_names_transactions_by_their_place() {
    let source = descriptor("shop", "mysql");
    for (profile, expect) in
        [(Profile::Tidewire, "\"binlog.000007:154\""), (Profile::Debezium3, "\"file=binlog.000007,pos=154\"")]
    {
        let mut fixture = Fixture::new(&source, Phase::Stream);
        let file = Provenance::Text("binlog.000007".into());
        let thread = Provenance::Int(9);
        fixture.binlog_transaction("binlog.000007:154", vec![Provenance::Int(1), Provenance::Absent, file, thread]);
        write(&mut fixture, &no_pk(), &(None, Some([Is("1"), Is("x")])));
        let settings = FormatSettings { profile, transactions: true, ..FormatSettings::DEFAULT };
        let records = encode_of(settings, Arc::clone(&source), &[fixture.finish()]).expect("records");
        assert!(records.iter().filter(|record| record.topic == "shop.transaction").count() == 2);
        for record in &records {
            assert!(record.value.as_deref().is_some_and(|value| value.contains(expect)), "{record:?}");
        }
    }
}

#[test]
fn statements_can_be_left_out_and_need_no_table() {
    let source = descriptor("shop", "mariadb");
    let mut fixture = Fixture::new(&source, Phase::Stream);
    begin(&mut fixture, 7);
    let statement = b"CREATE DATABASE \"x\"";
    fixture.ddl(&Ddl { database: b"x", tables: b"", statement, table_changes: b"[]" });
    let batches = [fixture.finish()];
    let settings =
        FormatSettings { schemas: true, transactions: true, binary: BinaryMode::Hex, ..FormatSettings::DEFAULT };
    let records = encode_of(settings, Arc::clone(&source), &batches).expect("records");
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&*record.topic, record.headers.len()), ("shop", 0));
    let value = record.value.as_deref().expect("a value");
    for part in [
        r#""table":null,"server_id":1,"#,
        r#""databaseName":"x","schemaName":null,"ddl":"CREATE DATABASE \"x\"","tableChanges":[]}}"#,
        r#""name":"io.debezium.connector.mariadb.SchemaChangeValue","version":1"#,
    ] {
        assert!(value.contains(part), "{part}: {value}");
    }
    let left_out = super::encode_with(settings, source, &batches, false).expect("records");
    assert_eq!(left_out, []);
}
