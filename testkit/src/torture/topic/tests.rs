//! Whoever checks is checked: each fault is planted in a topic that was right, and must be found.

use super::*;
use serde_json::json;

/// Columns of a table `t`, with a large one that updates leave alone.
fn columns() -> Vec<Column> {
    ["id", "v", "body"]
        .iter()
        .map(|name| Column { name: (*name).to_owned(), form: Form::Text, is_array: false })
        .collect()
}

/// A change by a transaction at a place of the log.
fn change(op: &str, id: i64, transaction: u64, lsn: u64, after: Value) -> Record {
    let value = json!({ "op": op, "source": { "txId": transaction, "lsn": lsn }, "after": after });
    record(id, Some(value))
}

fn record(id: i64, value: Option<Value>) -> Record {
    let bytes = |value: Value| value.to_string().into_bytes();
    let key = Some(bytes(json!({ "id": id })));
    Record { partition: 0, offset: 0, key, value: value.map(bytes), headers: Vec::new(), timestamp: None }
}

fn half(mut record: Record, header: &str) -> Record {
    record.headers.push((header.to_owned(), Some(b"{}".to_vec())));
    record
}

const UNKNOWN: &str = "__debezium_unavailable_value";

/// Three transactions: a row comes and is changed, another comes and goes, the first one's key changes.
fn right() -> Vec<Record> {
    vec![
        change("c", 1, 7, 10, json!({ "id": "1", "v": "a", "body": "B" })),
        change("c", 2, 7, 11, json!({ "id": "2", "v": "b", "body": "C" })),
        change("u", 1, 8, 20, json!({ "id": "1", "v": "x", "body": UNKNOWN })),
        change("d", 2, 8, 21, Value::Null),
        record(2, None),
        half(change("d", 1, 9, 30, Value::Null), HALVES[1]),
        record(1, None),
        half(change("c", 3, 9, 30, json!({ "id": "3", "v": "x", "body": UNKNOWN })), HALVES[0]),
    ]
}

fn committed() -> Committed {
    let counts = [(("7", 'c'), 2), (("8", 'u'), 1), (("8", 'd'), 1), (("9", 'u'), 1)];
    let counts = counts.into_iter().map(|((name, kind), times)| ((name.to_owned(), kind), times)).collect();
    let order = ["7", "8", "9"].map(str::to_owned).to_vec();
    Committed { tables: BTreeMap::from([("public.t".to_owned(), counts)]), order }
}

/// What the source holds in the end.
fn source() -> Table {
    let names = columns().into_iter().map(|column| column.name).collect();
    Table::new(names, vec![vec![json!("3"), json!("x"), json!("B")]])
}

fn check(name: &str, records: &[Record], committed: &Committed, source: &Table) -> Result<()> {
    let columns = columns();
    let ranks: HashMap<&str, usize> = committed.order.iter().map(String::as_str).zip(0..).collect();
    let mut topic = Topic::new(name, &columns, &ranks, Terms::default());
    records.iter().try_for_each(|record| topic.add(record))?;
    topic.must_be_whole("public.t", committed)?;
    source.must_equal(&topic.table(), "the source and its topic")
}

#[test]
fn what_is_right_passes() {
    check("t", &right(), &committed(), &source()).unwrap();
}

/// What is done to the records, and what the error must say.
type Plant = (&'static str, fn(&mut Vec<Record>));

#[test]
fn every_planted_fault_is_found() {
    let plants: [Plant; 14] = [
        ("was committed", |records| drop(records.remove(2))),
        ("which is not there", |records| drop(records.remove(1))),
        ("was committed", |records| records.truncate(5)),
        ("came twice", |records| records.insert(3, records[2].clone())),
        ("came twice", |records| records.insert(1, records[0].clone())),
        // A swapped pair: within a key, and of two transactions.
        ("came after", |records| {
            records.insert(3, change("u", 1, 8, 19, json!({ "id": "1", "v": "y", "body": UNKNOWN })));
        }),
        ("came after", |records| records.swap(1, 2)),
        // A large value that was not touched comes as null.
        ("only here", |records| {
            records[2] = change("u", 1, 8, 20, json!({ "id": "1", "v": "x", "body": null }));
        }),
        // A transaction comes in part.
        ("that lives", |records| drop(records.remove(3))),
        ("was committed", |records| drop(records.drain(3..5))),
        // A value of before.
        ("only here", |records| {
            let stale = change("c", 3, 9, 30, json!({ "id": "3", "v": "a", "body": UNKNOWN }));
            records[7] = half(stale, HALVES[0]);
        }),
        ("not committed", |records| records.push(change("c", 4, 99, 40, json!({ "id": "4", "v": "z", "body": "D" })))),
        ("that lives", |records| records.insert(2, record(1, None))),
        ("was never known", |records| {
            records[0] = change("c", 1, 7, 10, json!({ "id": "1", "v": "a", "body": UNKNOWN }));
        }),
    ];
    for (number, (words, plant)) in plants.into_iter().enumerate() {
        let mut records = right();
        plant(&mut records);
        let error = check("t", &records, &committed(), &source()).expect_err(&format!("plant {number}: {words}"));
        assert!(format!("{error:#}").contains(words), "plant {number}: {error:#}");
    }
}

/// A change by a transaction with a global id, at a place of a file.
fn logged(transaction: &str, file: &str, offset: u64) -> Record {
    let source = json!({ "gtid": transaction, "file": file, "pos": offset, "row": 0 });
    record(1, Some(json!({ "op": "u", "source": source, "after": { "id": "1", "v": "a", "body": "B" } })))
}

#[test]
fn one_transaction_at_most_is_of_the_logs_of_two_servers() {
    let (columns, ranks) = (columns(), HashMap::from([("a:1", 0), ("a:2", 1), ("a:3", 2)]));
    let cases: [(&[Record], bool, bool); 6] = [
        (&[logged("a:1", "log.9", 50), logged("a:2", "log.2", 10)], true, true),
        (&[logged("a:1", "log.9", 50), logged("a:2", "log.2", 10)], false, false),
        (&[logged("a:1", "log.9", 50), logged("a:1", "log.2", 10), logged("a:1", "log.2", 20)], true, true),
        (&[logged("a:1", "log.2", 20), logged("a:1", "log.2", 10), logged("a:1", "log.2", 20)], false, false),
        (&[logged("a:2", "log.9", 50), logged("a:1", "log.9", 60)], true, false),
        (
            &[
                logged("a:1", "log.9", 50),
                logged("a:1", "log.2", 10),
                logged("a:3", "log.2", 20),
                logged("a:3", "log.2", 9),
            ],
            true,
            false,
        ),
    ];
    for (number, (records, has_two_logs, is_right)) in cases.into_iter().enumerate() {
        let mut topic = Topic::new("t", &columns, &ranks, Terms { has_two_logs, ..Terms::default() });
        let added = records.iter().try_for_each(|record| topic.add(record));
        assert_eq!(added.is_ok(), is_right, "case {number}: {added:?}");
    }
}

fn numbered(column: &str) -> Vec<Column> {
    ["id", column].iter().map(|name| Column { name: (*name).to_owned(), form: Form::Text, is_array: false }).collect()
}

#[test]
fn a_counter_that_jumps_and_money_that_is_lost_are_found() {
    let ranks = HashMap::from([("7", 0), ("8", 1)]);
    let columns = numbered("n");
    for (next, is_right) in [(2, true), (3, false), (1, false)] {
        let mut topic = Topic::new("counters", &columns, &ranks, Terms::default());
        topic.add(&change("c", 1, 7, 10, json!({ "id": 1, "n": 1 }))).unwrap();
        assert_eq!(topic.add(&change("u", 1, 8, 20, json!({ "id": 1, "n": next }))).is_ok(), is_right, "{next}");
    }
    let columns = numbered("balance");
    for (taken, is_right) in [(5, true), (6, false)] {
        let mut topic = Topic::new("accounts", &columns, &ranks, Terms::default());
        for id in [1, 2] {
            topic.add(&change("r", id, 7, 10, json!({ "id": id, "balance": 100 }))).unwrap();
        }
        topic.add(&change("u", 1, 8, 20, json!({ "id": 1, "balance": 100 - taken }))).unwrap();
        topic.add(&change("u", 2, 8, 21, json!({ "id": 2, "balance": 105 }))).unwrap();
        let counts = Counts::from([(("8".to_owned(), 'u'), 2)]);
        let committed = Committed { tables: BTreeMap::from([("t".to_owned(), counts)]), order: Vec::new() };
        assert_eq!(topic.must_be_whole("t", &committed).is_ok(), is_right, "{taken}");
    }
}

#[test]
fn of_an_early_round_a_row_may_go_that_never_came() {
    let (columns, ranks) = (columns(), HashMap::from([("7", 0)]));
    for is_early in [true, false] {
        let mut topic = Topic::new("t", &columns, &ranks, Terms { is_early, ..Terms::default() });
        assert_eq!(topic.add(&change("d", 1, 7, 10, Value::Null)).is_ok(), is_early);
        assert!(topic.add(&change("d", 1, 7, 10, Value::Null)).is_err(), "twice");
    }
}

/// Without names nothing tells what came as rows from what is missing.
#[test]
fn of_an_early_round_without_names_only_what_came_too_often_is_found() {
    let count = |times: usize| Counts::from([((String::new(), 'c'), times)]);
    let committed = Committed { tables: [("t".to_owned(), count(9))].into(), order: vec![String::new()] };
    for (came, is_right, is_right_early) in [(9, true, true), (4, false, true), (10, false, false)] {
        for (is_early, is_right) in [(false, is_right), (true, is_right_early)] {
            assert_eq!(must_equal("t", &committed, &count(came), is_early).is_ok(), is_right, "{came} {is_early}");
        }
    }
}

#[test]
fn of_an_early_round_only_what_came_before_the_first_may_be_missing() {
    let count = |names: &[&str]| names.iter().map(|name| (((*name).to_owned(), 'c'), 1)).collect::<Counts>();
    let committed = Committed {
        tables: BTreeMap::from([("t".to_owned(), count(&["7", "8", "9"]))]),
        order: ["7", "8", "9"].map(str::to_owned).to_vec(),
    };
    let cases: [(&[&str], bool, bool); 6] = [
        (&["7", "8", "9"], false, true),
        (&["8", "9"], false, false),
        (&["8", "9"], true, true),
        (&["7", "9"], true, false),
        (&["7", "8"], true, false),
        (&[], true, true),
    ];
    for (came, is_early, is_right) in cases {
        assert_eq!(must_equal("t", &committed, &count(came), is_early).is_ok(), is_right, "{came:?} {is_early}");
    }
}
