//! The statements behind the golden records, as batches: what the server's log carries of each.

use super::fixture::{Fixture, Text, Text::Is, table};
use std::sync::Arc;
use tidewire_core::batch::Before;
use tidewire_core::{Batch, Op, Phase, SourceDescriptor, TableSchema};

#[rustfmt::skip]
const ALL_TYPES: [&str; 61] = [
    "id int4 not null", "c_smallint int2", "c_int int4", "c_bigint int8", "c_num_5_2 numeric(5,2)",
    "c_num_38_10 numeric(38,10)", "c_num_9_0 numeric(9,0)", "c_num numeric", "c_float4 float4", "c_float8 float8",
    "c_bool boolean", "c_text text", "c_varchar varchar(20)", "c_char bpchar(5)", "c_bytea bytea", "c_date date",
    "c_time time", "c_time3 time(3)", "c_timetz timetz", "c_ts timestamp", "c_ts0 timestamp(0)", "c_ts3 timestamp(3)",
    "c_tstz timestamptz", "c_tstz3 timestamptz(3)", "c_interval interval", "c_uuid uuid", "c_json json",
    "c_jsonb jsonb", "c_int_arr int4[]", "c_text_arr text[]", "c_num_arr numeric(5,2)[]", "c_bool_arr boolean[]",
    "c_ts_arr timestamp[]", "c_uuid_arr uuid[]", "c_inet inet", "c_cidr cidr", "c_macaddr macaddr",
    "c_macaddr8 macaddr8", "c_point point", "c_box box", "c_enum mood", "c_enum_arr mood[]", "c_hstore hstore",
    "c_int4range int4range", "c_int8range int8range", "c_numrange numrange", "c_tsrange tsrange",
    "c_tstzrange tstzrange", "c_daterange daterange", "c_bit1 bit(1)", "c_bit8 bit(8)", "c_varbit varbit(10)",
    "c_xml xml", "c_money money", "c_oid oid", "c_citext citext", "c_ltree ltree", "c_tsvector tsvector",
    "c_def int4 not null = 42", "c_def_text varchar(10) = 'dflt'::character varying", "c_gen int4",
];
#[rustfmt::skip]
const PLAIN: &[(&str, &str)] = &[
    ("c_smallint", "1"), ("c_int", "2"), ("c_bigint", "3"), ("c_num_5_2", "1.50"),
    ("c_num_38_10", "1234567890.0123456789"), ("c_num_9_0", "42"), ("c_num", "3.14159"), ("c_float4", "1.5"),
    ("c_float8", "2.25"), ("c_bool", "t"), ("c_text", "plain"), ("c_varchar", "vc"), ("c_char", "ch   "),
    ("c_bytea", "\\xdeadbeef"), ("c_date", "2024-02-29"), ("c_time", "12:34:56.789012"), ("c_time3", "12:34:56.789"),
    ("c_timetz", "12:34:56.789+02"), ("c_ts", "2024-02-29 12:34:56.789012"), ("c_ts0", "2024-02-29 12:34:57"),
    ("c_ts3", "2024-02-29 12:34:56.789"), ("c_tstz", "2024-02-29 10:34:56.789012+00"),
    ("c_tstz3", "2024-02-29 10:34:56.789+00"), ("c_interval", "14 3 14706789000"),
    ("c_uuid", "6f1e9d0a-1111-4222-8333-444455556666"), ("c_json", r#"{"a": 1, "b": [1,2]}"#),
    ("c_jsonb", r#"{"a": 1.0, "b": [1, 2]}"#), ("c_int_arr", "{1,2,NULL}"), ("c_text_arr", "{a,\"b c\",NULL}"),
    ("c_num_arr", "{1.50,2.25}"), ("c_bool_arr", "{t,f}"), ("c_ts_arr", "{\"2024-02-29 12:34:56.789012\"}"),
    ("c_uuid_arr", "{6f1e9d0a-1111-4222-8333-444455556666}"), ("c_inet", "192.168.0.1/24"), ("c_cidr", "10.0.0.0/8"),
    ("c_macaddr", "08:00:2b:01:02:03"), ("c_macaddr8", "08:00:2b:01:02:03:04:05"), ("c_point", "(1.5,-2.5)"),
    ("c_box", "(1,1),(0,0)"), ("c_enum", "happy"), ("c_enum_arr", "{sad,ok}"),
    ("c_hstore", r#""k"=>"v", "n"=>NULL"#), ("c_int4range", "[1,10)"), ("c_int8range", "[1,10)"),
    ("c_numrange", "[1.5,2.5]"), ("c_tsrange", r#"["2024-01-01 00:00:00","2024-02-01 00:00:00")"#),
    ("c_tstzrange", r#"["2024-01-01 00:00:00+00","2024-02-01 00:00:00+00")"#), ("c_daterange", "[2024-01-01,2024-02-01)"),
    ("c_bit1", "1"), ("c_bit8", "10100101"), ("c_varbit", "10101"), ("c_xml", "<a>x</a>"), ("c_money", "12.34"),
    ("c_oid", "12345"), ("c_citext", "CiText"), ("c_ltree", "top.sub"), ("c_tsvector", "'a' 'cat' 'fat'"),
];
#[rustfmt::skip]
const LOWEST: &[(&str, &str)] = &[
    ("c_smallint", "-32768"), ("c_int", "-2147483648"), ("c_bigint", "-9223372036854775808"), ("c_num_5_2", "-999.99"),
    ("c_num_38_10", "-9999999999999999999999999999.9999999999"), ("c_num_9_0", "-999999999"),
    ("c_num", "-123456789012345678901234567890.123456789"), ("c_float4", "-3.4028235e+38"),
    ("c_float8", "-1.7976931348623157e+308"), ("c_bool", "f"), ("c_text", ""), ("c_varchar", ""), ("c_char", "     "),
    ("c_bytea", "\\x"), ("c_date", "4713-01-01 BC"), ("c_time", "00:00:00"), ("c_time3", "00:00:00"),
    ("c_timetz", "00:00:00+15:59"), ("c_ts", "4713-01-01 00:00:00 BC"), ("c_ts0", "1969-12-31 23:59:59"),
    ("c_ts3", "1969-12-31 23:59:59.999"), ("c_tstz", "1969-12-31 23:59:59.999999+00"),
    ("c_interval", "-14 -3 -14706789000"), ("c_json", "null"), ("c_jsonb", "null"), ("c_int_arr", "{}"),
    ("c_text_arr", "{}"), ("c_bit8", "00000000"), ("c_money", "-12.34"),
];
#[rustfmt::skip]
const HIGHEST: &[(&str, &str)] = &[
    ("c_smallint", "32767"), ("c_int", "2147483647"), ("c_bigint", "9223372036854775807"), ("c_num_5_2", "999.99"),
    ("c_num_38_10", "9999999999999999999999999999.9999999999"), ("c_num_9_0", "999999999"),
    ("c_num", "0.00000000000000000001"), ("c_float4", "1e-37"), ("c_float8", "5e-324"), ("c_bool", "t"),
    ("c_text", "quote\" back\\slash tab\t nl\n ctl\u{1} uni \u{e9}\u{4e2d}\u{1f600} </script>"),
    ("c_varchar", "\u{e9}\u{4e2d}"), ("c_char", "ab   "), ("c_bytea", "\\x00ff"), ("c_date", "5874897-12-31"),
    ("c_time", "24:00:00"), ("c_time3", "23:59:59.999"), ("c_timetz", "23:59:59.999999-15:59"),
    ("c_ts", "294276-12-31 23:59:59.999999"), ("c_ts0", "9999-12-31 23:59:59"), ("c_ts3", "9999-12-31 23:59:59.999"),
    ("c_tstz", "9999-12-31 23:59:59.999999+00"), ("c_interval", "1 0 0"), ("c_json", "\"s\""),
    ("c_int_arr", "{{1,2},{3,4}}"), ("c_text_arr", r#"{"a\"b","c,d",""}"#), ("c_bit8", "11111111"),
    ("c_money", "92233720368547758.07"),
];

pub(super) type Row<'a> = Vec<Text<'a>>;

pub(super) fn all_types(with_generated: bool) -> Arc<TableSchema> {
    let count = if with_generated { 61 } else { 60 };
    table("all_types", &ALL_TYPES[..count], &["id"])
}

/// A row of a table from the values that are not null.
pub(super) fn row<'a>(table: &TableSchema, values: &[(&str, &'a str)]) -> Row<'a> {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or(Text::Null, |(_, text)| Is(text));
    table.columns.iter().map(|column| value(&column.name)).collect()
}

/// A row of `all_types` with its defaults.
pub(super) fn typed<'a>(table: &TableSchema, id: &'a str, values: &[(&str, &'a str)]) -> Row<'a> {
    let mut all = vec![("id", id), ("c_def", "42"), ("c_def_text", "dflt"), ("c_gen", "3")];
    all.extend_from_slice(values);
    row(table, &all)
}

/// Only the key's columns; the rest is not in the log.
pub(super) fn key_only<'a>(table: &TableSchema, values: &[(&str, &'a str)]) -> Row<'a> {
    let value =
        |name: &str| values.iter().find(|(known, _)| *known == name).map_or(Text::Unknown, |(_, text)| Is(text));
    table.columns.iter().map(|column| value(&column.name)).collect()
}

/// The lowest and the highest values, as rows of `all_types`.
pub(super) fn extremes(table: &TableSchema) -> [Row<'static>; 2] {
    [typed(table, "5", LOWEST), typed(table, "6", HIGHEST)]
}

pub(super) fn snapshot(source: &Arc<SourceDescriptor>) -> Batch {
    let mut fixture = Fixture::new(source, Phase::Snapshot);
    fixture.transaction(0);
    let mixed = table("Mixed Case-Tbl", &["Id int4 not null", "some col text", "наme text"], &["Id"]);
    let all = all_types(true);
    let full = full_ident();
    let rows = [
        (&mixed, vec![]),
        (&all, vec![typed(&all, "1", &[]), typed(&all, "2", PLAIN)]),
        (&full, vec![vec![Is("1"), Is("10"), Is("one")], vec![Is("2"), Is("20"), Is("two")]]),
    ];
    for (table, rows) in rows {
        fixture.change(Op::SnapshotStart, table, None, None);
        for row in rows {
            fixture.change(Op::Read, table, None, Some(&row));
        }
        fixture.change(Op::SnapshotEnd, table, None, None);
    }
    fixture.finish()
}

fn full_ident() -> Arc<TableSchema> {
    table("full_ident", &["id int8 not null", "a int4", "b text"], &["id"])
}

/// Everything after the snapshot, one transaction after another.
pub(super) fn stream(source: &Arc<SourceDescriptor>) -> Batch {
    let mut fixture = Fixture::new(source, Phase::Stream);
    stream_all_types(&mut fixture);
    stream_identities(&mut fixture);
    stream_toasted(&mut fixture);
    stream_transactions(&mut fixture);
    stream_special(&mut fixture);
    fixture.finish()
}

fn stream_all_types(fixture: &mut Fixture) {
    let all = all_types(false);
    let wide = format!("[1{}, 0.10, 12345678901234567890]", "0".repeat(400));
    let [lowest, highest] = extremes(&all);
    let mut highest: Row<'_> = highest;
    highest[27] = Is(&wide);
    let plain = |id: &'static str| typed(&all, id, PLAIN);
    let updated = |id: &'static str| {
        let mut row = plain(id);
        row[2] = Is("7");
        row[11] = Is("upd");
        row
    };
    let numbers = |id, num, f4, f8, num_5_2| {
        typed(&all, id, &[("c_num", num), ("c_float4", f4), ("c_float8", f8), ("c_num_5_2", num_5_2)])
    };
    let mut insert = |transaction, rows: &[Row<'_>]| {
        fixture.transaction(transaction);
        for row in rows {
            fixture.change(Op::Insert, &all, None, Some(row));
        }
    };
    insert(1, &[plain("3")]);
    insert(2, &[typed(&all, "4", &[])]);
    insert(3, &[lowest, highest]);
    insert(
        4,
        &[
            numbers("7", "0", "0.1", "0.1", "0.00"),
            numbers("8", "100", "1e10", "1e21", "-0.01"),
            numbers("9", "1000000000000", "123456.79", "123456789.12345679", "0.50"),
            numbers("10", "0.000001", "16777216", "9007199254740992", "1.00"),
        ],
    );
    fixture.transaction(5);
    fixture.change(Op::Update, &all, None, Some(&updated("3")));
    fixture.transaction(6);
    let old = key_only(&all, &[("id", "3")]);
    fixture.change(Op::Update, &all, Some((Before::Key, &old)), Some(&updated("33")));
    fixture.transaction(7);
    fixture.change(Op::Delete, &all, Some((Before::Key, &key_only(&all, &[("id", "4")]))), None);
}

fn stream_identities(fixture: &mut Fixture) {
    let full = full_ident();
    let one = |id, a, b| [Is(id), Is(a), Is(b)];
    fixture.transaction(8);
    let old = (Before::Full, &one("1", "10", "one")[..]);
    fixture.change(Op::Update, &full, Some(old), Some(&one("1", "11", "one")));
    fixture.transaction(9);
    let old = (Before::Full, &one("2", "20", "two")[..]);
    fixture.change(Op::Update, &full, Some(old), Some(&one("22", "20", "two")));
    fixture.transaction(10);
    fixture.change(Op::Delete, &full, Some((Before::Full, &one("1", "11", "one"))), None);

    let pair = table("composite_pk", &["k1 int4 not null", "k2 varchar(10) not null", "v text"], &["k1", "k2"]);
    let old = |k2| [Is("1"), Is(k2), Text::Unknown];
    fixture.transaction(11);
    fixture.change(Op::Insert, &pair, None, Some(&one("1", "a", "v1")));
    fixture.transaction(12);
    fixture.change(Op::Update, &pair, None, Some(&one("1", "a", "v2")));
    fixture.transaction(13);
    fixture.change(Op::Update, &pair, Some((Before::Key, &old("a"))), Some(&one("1", "b", "v2")));
    fixture.transaction(14);
    fixture.change(Op::Delete, &pair, Some((Before::Key, &old("b"))), None);

    let keyless = table("no_pk", &["a int4", "b text"], &[]);
    let two = |b| [Is("1"), Is(b)];
    fixture.transaction(15);
    fixture.change(Op::Insert, &keyless, None, Some(&two("x")));
    fixture.transaction(16);
    fixture.change(Op::Update, &keyless, Some((Before::Full, &two("x"))), Some(&two("y")));
    fixture.transaction(17);
    fixture.change(Op::Delete, &keyless, Some((Before::Full, &two("y"))), None);
}

pub(super) fn toasted() -> Arc<TableSchema> {
    table("toasted", &["id int4 not null", "big text", "bigb bytea", "bigj jsonb", "note text"], &["id"])
}

fn stream_toasted(fixture: &mut Fixture) {
    let toasted = toasted();
    let unchanged = [Is("1"), Text::Unknown, Text::Unknown, Text::Unknown, Is("unchanged toast")];
    fixture.transaction(18);
    fixture.change(Op::Update, &toasted, None, Some(&unchanged));
    fixture.transaction(19);
    let short = [Is("1"), Is("short"), Text::Unknown, Text::Unknown, Is("changed")];
    fixture.change(Op::Update, &toasted, None, Some(&short));
    fixture.transaction(20);
    fixture.change(Op::Delete, &toasted, Some((Before::Key, &key_only(&toasted, &[("id", "1")]))), None);
    let mixed = table("Mixed Case-Tbl", &["Id int4 not null", "some col text", "наme text"], &["Id"]);
    fixture.transaction(21);
    fixture.change(Op::Insert, &mixed, None, Some(&[Is("1"), Is("a"), Is("b")]));
}

fn stream_transactions(fixture: &mut Fixture) {
    let before = table("trunc_me", &["id int4 not null", "v text"], &["id"]);
    let full = full_ident();
    let row = |id, v| [Is(id), Is(v)];
    fixture.transaction(22);
    fixture.change(Op::Insert, &before, None, Some(&row("1", "a")));
    fixture.change(Op::Insert, &before, None, Some(&row("2", "b")));
    fixture.transaction(23);
    fixture.change(Op::Truncate, &before, None, None);
    fixture.transaction(24);
    fixture.change(Op::Insert, &before, None, Some(&row("3", "tx1")));
    fixture.change(Op::Insert, &full, None, Some(&[Is("3"), Is("30"), Is("tx1")]));
    fixture.change(Op::Update, &before, None, Some(&row("3", "tx1b")));
    fixture.change(Op::Insert, &before, None, Some(&row("4", "tx1")));
    fixture.transaction(25);
    fixture.change(Op::Insert, &before, None, Some(&row("5", "sp")));
    fixture.transaction(26);
    fixture.message("my-prefix", "hello transactional");
    fixture.no_transaction();
    fixture.message("my-prefix", "hello non transactional");
    let added = table("trunc_me", &["id int4 not null", "v text", "extra int4 = 5"], &["id"]);
    let dropped = table("trunc_me", &["id int4 not null", "extra int4 = 5"], &["id"]);
    fixture.transaction(27);
    fixture.change(Op::Schema, &added, None, None);
    fixture.change(Op::Insert, &added, None, Some(&[Is("7"), Is("after alter"), Is("8")]));
    fixture.transaction(28);
    fixture.change(Op::Insert, &dropped, None, Some(&[Is("8"), Is("5")]));
}

pub(super) fn special() -> Arc<TableSchema> {
    let columns = [
        "id int4 not null",
        "c_f4 float4",
        "c_f8 float8",
        "c_num numeric",
        "c_num_10_2 numeric(10,2)",
        "c_date date",
        "c_ts timestamp",
        "c_tstz timestamptz",
    ];
    table("special", &columns, &["id"])
}

pub(super) const SPECIAL: [&[&[(&str, &str)]]; 7] = [
    &[&[("id", "1"), ("c_f4", "NaN"), ("c_f8", "NaN")], &[("id", "2"), ("c_f4", "Infinity"), ("c_f8", "-Infinity")]],
    &[
        &[("id", "3"), ("c_ts", "infinity"), ("c_tstz", "infinity")],
        &[("id", "4"), ("c_ts", "-infinity"), ("c_tstz", "-infinity")],
    ],
    &[&[("id", "5"), ("c_date", "infinity")], &[("id", "6"), ("c_date", "-infinity")]],
    &[&[("id", "7"), ("c_num", "NaN")]],
    &[&[("id", "8"), ("c_num", "Infinity")]],
    &[&[("id", "9"), ("c_num_10_2", "NaN")]],
    &[&[("id", "10"), ("c_num", "1")]],
];

fn stream_special(fixture: &mut Fixture) {
    let special = special();
    for (number, rows) in SPECIAL.iter().enumerate() {
        fixture.transaction(30 + number as i64);
        for values in *rows {
            fixture.change(Op::Insert, &special, None, Some(&row(&special, values)));
        }
    }
}
