//! Batches: what is written is read back whatever the splitting, and progress drops exactly what is held.

use super::*;
use crate::calendar::{Date, Timestamp};
use crate::cell::Value;
use crate::data_type::DataType;
use crate::progress::{Progress, TableProgress, TableState};
use crate::schema::{ColumnSchema, KeyKind, Missing, OldRow, SchemaVersion, TableName};
use proptest::prelude::*;

fn source() -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: "s".into(),
        connector: "test",
        database: "d".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    })
}

fn schema(columns: usize) -> Arc<TableSchema> {
    let column = |i: usize| ColumnSchema {
        name: format!("c{i}").into(),
        data_type: DataType::Text,
        native_type: "text".into(),
        nullable: true,
        default: None,
        missing: Missing::Unknown,
        number: None,
    };
    Arc::new(TableSchema {
        name: TableName::new("public", "t"),
        version: SchemaVersion(1),
        native_id: 1,
        columns: (0..columns).map(column).collect(),
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}

fn transaction(commit: u64) -> Transaction {
    Transaction {
        id: commit.to_string().into(),
        commit,
        commit_time_micros: 0,
        previous_commit: None,
        provenance: Vec::new(),
    }
}

#[derive(Clone, Debug)]
enum Written {
    Null,
    Unknown,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Stamp(i32, i64),
    Span(i32, i32, i64),
    Numbers(Vec<Option<i64>>),
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        Just(Written::Null),
        Just(Written::Unknown),
        any::<i64>().prop_map(Written::Int),
        ".{0,40}".prop_map(Written::Text),
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(Written::Bytes),
        (any::<i32>(), 0i64..86_400_000_000).prop_map(|(d, m)| Written::Stamp(d, m)),
        any::<(i32, i32, i64)>().prop_map(|(m, d, u)| Written::Span(m, d, u)),
        proptest::collection::vec(any::<Option<i64>>(), 0..5).prop_map(Written::Numbers),
    ]
}

fn write(builder: &mut BatchBuilder, value: &Written) -> Cell {
    match value {
        Written::Null => Cell::NULL,
        Written::Unknown => Cell::UNKNOWN,
        Written::Int(v) => Cell::int(*v),
        Written::Text(v) => builder.long(Tag::Text, v.as_bytes()),
        Written::Bytes(v) => builder.long(Tag::Bytes, v),
        Written::Stamp(d, m) => Cell::timestamp(Timestamp { date: Date(*d), micros: *m }),
        Written::Span(m, d, u) => builder.interval(Interval { months: *m, days: *d, micros: *u }),
        Written::Numbers(list) => {
            let cells: Vec<Cell> = list.iter().map(|v| v.map_or(Cell::NULL, Cell::int)).collect();
            builder.array(b"{}", &[Dimension { length: cells.len() as u32, lower: 1 }], &cells)
        }
    }
}

fn same(value: Value<'_>, expect: &Written) -> bool {
    match (value, expect) {
        (Value::Null, Written::Null) | (Value::Unknown, Written::Unknown) => true,
        (Value::Int(a), Written::Int(b)) => a == *b,
        (Value::Text(a), Written::Text(b)) => a == b.as_bytes(),
        (Value::Bytes(a), Written::Bytes(b)) => a == b,
        (Value::Timestamp(a), Written::Stamp(d, m)) => a.date.0 == *d && a.micros == *m,
        (Value::Interval(a), Written::Span(m, d, u)) => (a.months, a.days, a.micros) == (*m, *d, *u),
        (Value::Array(a), Written::Numbers(list)) => {
            a.elements().len() == list.len()
                && a.elements().zip(list).all(|(v, e)| v == e.map_or(Value::Null, Value::Int))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However small the limits, the batches hold the rows in order and every cell as written.
    #[test]
    fn splitting_changes_nothing(rows in proptest::collection::vec(proptest::collection::vec(written(), 3), 1..40), changes_max in 1usize..12, bytes_max in 1usize..600) {
        let schema = schema(3);
        let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits { changes_max, bytes_max });
        let mut batches = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if builder.is_empty() {
                builder.transaction(transaction(9));
            }
            let table = builder.table(&schema);
            let image = builder.image();
            for value in row {
                let cell = write(&mut builder, value);
                builder.cell(cell);
            }
            let ordinal = number as u64 + 1;
            builder.push(ChangeHead { op: Op::Insert, ordinal, offset: 0, row: 0 }, table, None, Some(image));
            if builder.is_full() || number + 1 == rows.len() {
                let mark = Mark { major: 9, minor: ordinal };
                batches.push(builder.finish(Some(Position::new(mark, "p")), false, 0));
            }
        }
        let mut read = rows.iter().zip(1u64..);
        for batch in &batches {
            prop_assert!(batch.changes.len() <= changes_max);
            for change in &batch.changes {
                let (row, ordinal) = read.next().unwrap();
                prop_assert_eq!(batch.mark(change), Mark { major: 9, minor: ordinal });
                let cells = batch.after(change).unwrap();
                prop_assert!(cells.iter().zip(row).all(|(cell, expect)| same(cell.value(batch.arena()), expect)), "{:?}", row);
            }
        }
        prop_assert!(read.next().is_none());
    }

    /// A sink resumed anywhere, even inside a transaction, needs exactly the changes after that place.
    #[test]
    fn progress_drops_exactly_what_is_held(sizes in proptest::collection::vec(1u64..6, 1..8), at in 0usize..40, floor in 0u64..90) {
        let schema = schema(1);
        let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits::default());
        let mut marks = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let commit = (number as u64 + 1) * 10;
            builder.transaction(transaction(commit));
            for ordinal in 1..=*size {
                let table = builder.table(&schema);
                let image = builder.image();
                builder.cell(Cell::int(1));
                builder.push(ChangeHead { op: Op::Insert, ordinal, offset: 0, row: 0 }, table, None, Some(image));
                marks.push(Mark { major: commit, minor: ordinal });
            }
        }
        let batch = builder.finish(None, true, 0);
        let held = marks.get(at.min(marks.len() - 1)).copied().unwrap();
        let floor = Mark { major: floor, minor: 0 };
        let mut progress = Progress { position: Some(Position::new(held, "h")), ..Progress::default() };
        progress.tables.insert("public.t".into(), TableProgress { state: TableState::Done, floor: Position::new(floor, "f") });
        let needs = progress.needs(&batch);
        for (change, mark) in batch.changes.iter().zip(&marks) {
            prop_assert_eq!(needs.contains(&batch, change), *mark > held && *mark > floor);
        }
        prop_assert_eq!(progress.horizon(), held.max(floor));
    }
}

#[test]
fn an_empty_transaction_leaves_no_trace() {
    let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits::default());
    builder.transaction(transaction(1));
    builder.drop_empty_transaction();
    assert!(builder.finish(None, true, 0).transactions.is_empty());
}

#[test]
fn messages_carry_prefix_and_content() {
    let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits::default());
    builder.transaction(transaction(1));
    builder.push_message(ChangeHead { op: Op::Message, ordinal: 1, offset: 5, row: 0 }, b"prefix", b"content");
    let batch = builder.finish(None, true, 0);
    let change = batch.changes.first().unwrap();
    assert_eq!(batch.message(change), Some((&b"prefix"[..], &b"content"[..])));
    assert!(batch.table(change).is_none() && batch.after(change).is_none());
}

#[test]
fn statements_carry_their_parts() {
    let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits::default());
    builder.transaction(transaction(1));
    let ddl = Ddl {
        database: b"shop",
        tables: b"orders,lines",
        statement: b"DROP TABLE orders, lines",
        table_changes: br#"[{"type":"DROP"}]"#,
    };
    builder.push_ddl(ChangeHead { op: Op::Ddl, ordinal: 1, offset: 5, row: 0 }, &ddl);
    let empty = Ddl { database: b"", tables: b"", statement: b"", table_changes: b"" };
    builder.push_ddl(ChangeHead { op: Op::Insert, ordinal: 2, offset: 5, row: 0 }, &empty);
    builder.push_message(ChangeHead { op: Op::Message, ordinal: 3, offset: 5, row: 0 }, b"prefix", b"content");
    let batch = builder.finish(None, true, 0);
    let [first, second, message] = &batch.changes[..] else { panic!("{:?}", batch.changes) };
    assert_eq!((batch.ddl(first), batch.ddl(second), batch.ddl(message)), (Some(ddl), Some(empty), None));
    assert_eq!((first.op, second.op, batch.message(first)), (Op::Ddl, Op::Ddl, None));
    assert!(batch.table(first).is_none() && batch.after(first).is_none());
}

#[test]
fn buffers_of_a_batch_that_is_done_with_are_used_again() {
    let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits::default());
    let fill = |builder: &mut BatchBuilder, size: usize| {
        builder.transaction(transaction(1));
        builder.push_message(ChangeHead { op: Op::Message, ordinal: 1, offset: 5, row: 0 }, b"p", &vec![b'x'; size]);
        builder.finish(None, true, 0)
    };
    let first = fill(&mut builder, 100_000);
    let room = first.arena.as_ptr();
    drop(first);
    // What was handed out in between had asked for its room before.
    drop(fill(&mut builder, 10));
    let third = fill(&mut builder, 20);
    let fourth = fill(&mut builder, 20);
    assert!(third.arena.as_ptr() == room || fourth.arena.as_ptr() == room);
    assert_eq!(fourth.message(fourth.changes.first().unwrap()).unwrap().1.len(), 20);
    drop((third, fourth));
    let many: Vec<Batch> = (0..10).map(|_| fill(&mut builder, 10)).collect();
    drop(many);
    assert_eq!(builder.spares.count(), 3, "a few are kept");
    drop(fill(&mut builder, 9 << 20));
    assert_eq!(builder.spares.count(), 2, "a huge one is not");
}

/// A backlog of transactions: where batches end.
#[test]
fn batches_end_with_a_transaction_where_they_can() {
    let limits = BatchLimits { changes_max: 100, ..BatchLimits::default() };
    for (size, expected) in [
        (10, vec![(50, true), (50, true), (50, true)]),
        (60, vec![(60, true), (60, true), (60, true)]),
        (100, vec![(100, true), (100, true), (100, true)]),
        (130, vec![(100, false), (30, true), (100, false), (30, true)]),
    ] {
        let mut builder = BatchBuilder::new(source(), Phase::Stream, limits);
        let mut ends = Vec::new();
        for commit in 1..=20 {
            builder.transaction(transaction(commit));
            for ordinal in 1..=size {
                builder.push_message(ChangeHead { op: Op::Message, ordinal, offset: 5, row: 0 }, b"", b"");
                if builder.is_full() && ordinal < size {
                    ends.push((builder.finish(None, false, 0).changes.len(), false));
                    builder.transaction(transaction(commit));
                }
            }
            if builder.is_full_at_boundary() {
                ends.push((builder.finish(None, true, 0).changes.len(), true));
            }
        }
        ends.truncate(expected.len());
        assert_eq!(ends, expected, "transactions of {size}");
    }
}

#[test]
fn a_constant_is_its_value_beside_no_batch() {
    let text = |b: &mut BatchBuilder| Ok::<_, ()>(b.long(Tag::Text, "née".as_bytes()));
    let constant = BatchBuilder::constant(text).unwrap();
    assert_eq!(constant.value(), Value::Text("née".as_bytes()));
    assert_eq!(BatchBuilder::constant(text), Ok(constant.clone()));
    let elements = |b: &mut BatchBuilder| {
        let element = b.long(Tag::Text, b"x");
        Ok::<_, ()>(b.array(b"{x}", &[Dimension { length: 1, lower: 1 }], &[element]))
    };
    let array = BatchBuilder::constant(elements).unwrap();
    assert!(matches!(array.value(), Value::Array(array) if array.elements().eq([Value::Text(b"x")])));
    assert_eq!(BatchBuilder::constant(|_| Err(3)), Err(3));
    // Null and unknown stay what they are.
    let of = |cell: Cell| Missing::from(BatchBuilder::constant(|_| Ok::<_, ()>(cell)).unwrap());
    assert_eq!((of(Cell::NULL), of(Cell::UNKNOWN)), (Missing::Null, Missing::Unknown));
    assert_eq!(Missing::from(constant.clone()), Missing::Value(constant));
}
