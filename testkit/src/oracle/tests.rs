//! The oracle must find what is wrong: each test breaks one promise on purpose.

use super::*;
use crate::kafka::Record;
use crate::mysql::{Mysql, MysqlOptions, MysqlVersion};
use crate::postgres::{Postgres, PostgresOptions};
use serde_json::json;

fn record(offset: i64, key: Option<Value>, value: Option<Value>) -> Record {
    let bytes = |v: Value| v.to_string().into_bytes();
    let (key, value) = (key.map(bytes), value.map(bytes));
    Record { partition: 0, offset, key, value, headers: Vec::new(), timestamp: None }
}

fn change(offset: i64, op: &str, id: i64, lsn: u64, after: Value) -> Record {
    let source = json!({ "txId": 7, "lsn": lsn });
    record(offset, Some(json!({ "id": id })), Some(json!({ "op": op, "source": source, "after": after })))
}

fn columns_of(names: &[(&str, Form)]) -> Vec<Column> {
    names.iter().map(|(name, form)| Column { name: (*name).to_owned(), form: *form, is_array: false }).collect()
}

#[test]
fn records_fold_and_unknown_keeps_what_was_known() {
    let columns = columns_of(&[("id", Form::Text), ("v", Form::Text), ("big", Form::Text)]);
    let unavailable = "__debezium_unavailable_value";
    let records = [
        change(0, "r", 1, 1, json!({ "id": 1, "v": "a", "big": "B" })),
        // PG-30: the big column was not touched.
        change(1, "u", 1, 2, json!({ "id": 1, "v": "x", "big": unavailable })),
        change(2, "c", 2, 3, json!({ "id": 2, "v": null, "big": "C" })),
        change(3, "c", 3, 4, json!({ "id": 3, "v": "z", "big": "D" })),
        change(4, "d", 3, 5, Value::Null),
        record(5, Some(json!({ "id": 3 })), None),
    ];
    let fold = Fold::of(&records, &columns).unwrap();
    let rows = vec![vec![json!("1"), json!("x"), json!("B")], vec![json!("2"), Value::Null, json!("C")]];
    assert_eq!(fold.table().rows, rows);
    assert_eq!(fold.changes().len(), 5);
}

#[test]
fn a_broken_topic_is_refused() {
    let columns = columns_of(&[("id", Form::Text)]);
    let row = || json!({ "id": 1 });
    let cases: [(&str, Vec<Record>); 6] = [
        ("twice", vec![change(0, "c", 1, 5, row()), change(1, "c", 1, 5, row())]),
        ("after", vec![change(0, "c", 1, 5, row()), change(1, "u", 1, 4, row())]),
        ("partition", vec![change(0, "c", 1, 5, row()), Record { partition: 1, ..change(0, "u", 1, 6, row()) }]),
        ("never known", vec![change(0, "u", 1, 5, json!({ "id": "__debezium_unavailable_value" }))]),
        ("lives", vec![change(0, "c", 1, 5, row()), record(1, Some(json!({ "id": 1 })), None)]),
        ("columns", vec![change(0, "c", 1, 5, json!({ "id": 1, "more": 2 }))]),
    ];
    for (what, records) in cases {
        let error = format!("{:#}", Fold::of(&records, &columns).unwrap_err());
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn the_source_is_read_in_canonical_values() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    let client = server.client().unwrap();
    client
        .execute(
            "CREATE DOMAIN flag AS bool;
             CREATE TABLE t (id int PRIMARY KEY, c char(3), f real, d float8, b bytea, k flag, n numeric, at timestamptz,
               plain timestamp, day date, l timestamptz[], words text[], twice int GENERATED ALWAYS AS (id * 2) STORED);
             SET timezone = 'Asia/Kathmandu';
             INSERT INTO t VALUES (1, 'a', 1.1, 'NaN', '\\x00ff', true, 1.20, '2024-01-02 03:04:05.000006+00',
               '2024-01-02 03:04:05', '2024-01-02', '{2024-01-02 00:00:00+00,NULL}', '{}');
             INSERT INTO t (id) VALUES (2)",
        )
        .unwrap();
    let table = source_table(&client, "public", "t").unwrap();
    assert!(!table.columns.contains(&"twice".to_owned()));
    let full = json!([
        "1",
        "a  ",
        "bits:3f8ccccd",
        "NaN",
        "hex:00ff",
        "true",
        "1.20",
        "2024-01-02T03:04:05.000006Z",
        "2024-01-02T03:04:05.000000",
        "2024-01-02",
        ["2024-01-02T00:00:00.000000Z", null],
        []
    ]);
    assert_eq!(Value::from(table.rows[0].clone()), full);
    assert_eq!(table.rows[1].iter().filter(|v| v.is_null()).count(), 11);
}

#[test]
fn the_witness_counts_what_was_committed() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    let client = server.client().unwrap();
    client.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)").unwrap();
    let witness = Witness::start(server.client().unwrap(), "witness").unwrap();
    client.execute("INSERT INTO t VALUES (1), (2); UPDATE t SET id = 3 WHERE id = 1").unwrap();
    client.execute("BEGIN; INSERT INTO t VALUES (9); ROLLBACK").unwrap();
    client.execute("TRUNCATE t, u").unwrap();
    let counts = witness.counts().unwrap();
    let kinds = |table: &str| counts[table].iter().map(|((_, kind), n)| (*kind, *n)).collect::<Vec<_>>();
    assert_eq!(kinds("public.t"), [('c', 2), ('u', 1), ('t', 1)]);
    assert_eq!(kinds("public.u"), [('t', 1)]);
    let xid = &counts["public.t"].keys().next().unwrap().0;
    let one = |op: &str, key: &str, lsn| Change {
        transaction: Some(xid.clone()),
        place: Some(Place { server: 0, file: String::new(), offset: lsn, row: 0 }),
        op: op.to_owned(),
        key: Some(key.to_owned()),
    };
    let mut came = vec![one("c", "1", 1), one("c", "2", 2), one("d", "1", 3), one("c", "3", 3)];
    witness.must_equal("public.t", &came, false).unwrap();
    assert!(witness.must_equal("public.t", &came, true).is_err());
    came.pop();
    assert!(witness.must_equal("public.t", &came, false).is_err());
}

#[test]
fn a_mysql_source_is_read_in_canonical_values() {
    let server = Mysql::start(&MysqlOptions::version(MysqlVersion::MySql97)).unwrap();
    let client = server.client().unwrap();
    client
        .execute(
            "CREATE TABLE t (id bigint unsigned PRIMARY KEY, c char(3), f float, d double, b binary(2), k tinyint(1),
               n decimal(30,2), at timestamp(6) NULL, plain datetime, day date, span time(3), bits bit(3), e enum('a','\u{20ac}'),
               s set('x','y'), j json, y year, g point, v vector(2), z int(5) zerofill);
             SET time_zone = '+05:45';
             INSERT INTO t VALUES (18446744073709551615, 'a', 1.1, -0e0, x'00ff', 1, 1.2, '2024-01-02 08:49:05.000006',
               '2024-01-02 03:04:05', '2024-01-02', '-838:59:58.500', b'101', '\u{20ac}', 'x,y', '{\"b\": 1, \"a\": [1.0]}', 2155,
               POINT(1, 2), STRING_TO_VECTOR('[1,-2]'), 7);
             INSERT INTO t (id) VALUES (2)",
        )
        .unwrap();
    let table = source_table(&client, "work", "t").unwrap();
    let full = json!([
        "18446744073709551615",
        "a",
        "bits:3f8ccccd",
        "bits:8000000000000000",
        "hex:00ff",
        "1",
        "1.20",
        "2024-01-02T03:04:05.000006Z",
        "2024-01-02T03:04:05.000000",
        "2024-01-02",
        "-838:59:58.5",
        "101",
        "\u{20ac}",
        "x,y",
        "{\"a\": [1.0], \"b\": 1}",
        "2155",
        "hex:000000000101000000000000000000f03f0000000000000040",
        ["bits:3f800000", "bits:c0000000"],
        "7"
    ]);
    assert_eq!(Value::from(table.rows[0].clone()), full);
    assert_eq!(table.rows[1].iter().filter(|v| v.is_null()).count(), 18);
}

#[test]
fn the_log_s_own_tool_counts_what_was_committed() {
    for version in MysqlVersion::ALL {
        for compression in [false, true] {
            let options = MysqlOptions { compression, ..MysqlOptions::version(version) };
            let server = Mysql::start(&options).unwrap();
            let client = server.client().unwrap();
            client.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)").unwrap();
            let witness = Witness::of_log(&server).unwrap();
            client.execute("INSERT INTO t VALUES (1), (2); UPDATE t SET id = 3 WHERE id = 1").unwrap();
            client.execute("FLUSH LOGS; BEGIN; INSERT INTO t VALUES (9); ROLLBACK; DELETE FROM t; TRUNCATE t").unwrap();
            let mut kinds: Vec<(char, usize)> = Vec::new();
            for ((id, kind), times) in &witness.counts().unwrap()["work.t"] {
                assert!(!id.is_empty(), "{version:?}: a change without its transaction");
                kinds.push((*kind, *times));
            }
            kinds.sort_unstable();
            assert_eq!(kinds, [('c', 2), ('d', 3), ('t', 1), ('u', 1)], "{version:?}");
        }
    }
}
