//! The oracle must find what is wrong: each test breaks one promise on purpose.

use super::*;
use crate::kafka::Record;
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
    let xid = counts["public.t"].keys().next().unwrap().0;
    let one = |op: &str, key: &str, lsn| Change {
        transaction: Some(xid),
        lsn: Some(lsn),
        op: op.to_owned(),
        key: Some(key.to_owned()),
    };
    let mut came = vec![one("c", "1", 1), one("c", "2", 2), one("d", "1", 3), one("c", "3", 3)];
    witness.must_equal("public.t", &came, false).unwrap();
    assert!(witness.must_equal("public.t", &came, true).is_err());
    came.pop();
    assert!(witness.must_equal("public.t", &came, false).is_err());
}
