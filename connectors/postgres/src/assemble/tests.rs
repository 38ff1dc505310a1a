mod accepted;
mod leaves;

use super::*;
use crate::catalog::described_without_server;
use tidewire_core::batch::{Before, Provenance};
use tidewire_core::cell::Value;
use tidewire_core::{Change, ColumnNumber, DataType, Mark, Missing, Position};

/// `tests/recorded/changes.sql` on PostgreSQL 15.18, as `pg_logical_slot_get_binary_changes` gave it.
const RECORDED: &str = include_str!("../../tests/recorded/pgoutput-15.txt");

fn recorded() -> Vec<(u64, Vec<u8>)> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let line = |line: &str| {
        let (lsn, hex) = line.split_once(' ').unwrap();
        (lsn.parse::<Lsn>().unwrap().0, hex.as_bytes().chunks(2).map(byte).collect())
    };
    RECORDED.lines().map(line).collect()
}

fn assembler(filter: &[&str], changes_max: usize) -> Assembler {
    let descriptor = SourceDescriptor {
        name: "test".into(),
        connector: "postgresql",
        database: "test".into(),
        provenance: PROVENANCE,
        has_sequence: true,
        snapshot_floor: None,
    };
    let limits = BatchLimits { changes_max, ..BatchLimits::default() };
    let identity = ServerIdentity { system_id: 1, timeline: 1 };
    Assembler::new(Arc::new(descriptor), identity, limits, TableFilter::parse(filter).unwrap())
}

fn feed(assembler: &mut Assembler, wal_start: u64, payload: &[u8]) -> Result<Applied> {
    loop {
        match assembler.apply(wal_start, payload)? {
            Applied::NeedsCatalog(relation) => assembler.define(described_without_server(&relation))?,
            Applied::NarrowLeaf { .. } => {}
            applied => return Ok(applied),
        }
    }
}

/// The recording as batches of at most so many changes, from the transaction with number `from` on.
fn batches(filter: &[&str], changes_max: usize, from: usize) -> Vec<Batch> {
    let mut assembler = assembler(filter, changes_max);
    let messages = recorded();
    let starts: Vec<usize> =
        messages.iter().enumerate().filter(|(_, (_, payload))| payload[0] == b'B').map(|(index, _)| index).collect();
    let mut out = Vec::new();
    let mut described = std::collections::HashSet::new();
    for (index, (wal_start, payload)) in messages.iter().enumerate() {
        if index < starts[from] {
            continue;
        }
        // A server that starts here describes every table anew.
        if matches!(payload[0], b'I' | b'U' | b'D') && described.insert(payload[1..5].to_vec()) {
            let earlier = messages[..index].iter().rev();
            let relation = earlier.filter(|(_, m)| m[0] == b'R').find(|(_, m)| m[1..5] == payload[1..5]).unwrap();
            feed(&mut assembler, *wal_start, &relation.1).unwrap();
        }
        feed(&mut assembler, *wal_start, payload).unwrap();
        if assembler.is_full() {
            out.push(assembler.finish(0));
        }
    }
    out.push(assembler.finish(0));
    out
}

fn show_cell(cell: &tidewire_core::Cell, arena: &[u8]) -> String {
    match cell.value(arena) {
        Value::Null => "null".to_owned(),
        Value::Unknown => "?".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Decimal(value) => String::from_utf8_lossy(value.text()).into_owned(),
        Value::Text(text) if text.len() > 40 => format!("{}x{}", char::from(text[0]), text.len()),
        Value::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
        other => format!("{other:?}"),
    }
}

fn show(batch: &Batch, change: &Change) -> String {
    let row = |cells: Option<&[tidewire_core::Cell]>| {
        cells.map_or(String::new(), |cells| {
            format!(" [{}]", cells.iter().map(|cell| show_cell(cell, batch.arena())).collect::<Vec<_>>().join(", "))
        })
    };
    if let Some((prefix, content)) = batch.message(change) {
        return format!(
            "{} Message {:?} {:?}",
            change.ordinal,
            String::from_utf8_lossy(prefix),
            String::from_utf8_lossy(content)
        );
    }
    let table = batch.table(change).unwrap();
    let before = match change.before_kind {
        Before::Absent => String::new(),
        kind => format!(" {kind:?}{}", row(batch.before(change))),
    };
    format!(
        "{} {:?} {} v{}{before}{}",
        change.ordinal,
        change.op,
        table.name.table,
        table.version.0,
        row(batch.after(change))
    )
}

fn shown(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.changes.iter().map(|change| show(batch, change))).collect()
}

#[test]
fn the_recording_becomes_these_changes() {
    let batches = batches(&["public.*"], 10_000, 0);
    let expected = [
        "1 Insert t v1 [1, 10, 'one']",
        "2 Insert t v1 [2, null, null]",
        "3 Insert t v1 [3, -5, 'tab\t\"quote\" \\ ü']",
        "1 Update t v1 [1, 10, 'uno']",
        // The key changed: only the key's columns of the old row are known (PG-13).
        "2 Update t v1 Key [2, ?, ?] [20, null, null]",
        "3 Delete t v1 Key [3, ?, ?]",
        "1 Insert big v1 [1, 'v', xx2100]",
        // PG-30: unknown, and never null.
        "1 Update big v1 [1, 'w', ?]",
        // PG-32.
        "1 Update big v1 Key [1, ?, ?] [2, 'w', ?]",
        "1 Insert bigkey v1 [kx2100, 'v']",
        // PG-33: the key itself is TOASTed.
        "1 Update bigkey v1 Key [kx2100, ?] [kx2100, 'w']",
        "1 Insert fullrow v1 [1, 'v', yx2100]",
        // PG-34.
        "1 Update fullrow v1 Full [1, 'v', yx2100] [1, 'w', yx2100]",
        "1 Delete fullrow v1 Full [1, 'w', yx2100]",
        "1 Insert idx v1 [1, 2, 'c']",
        "1 Update idx v1 Key [1, 2, ?] [3, 2, 'c']",
        "1 Delete idx v1 Key [3, 2, ?]",
        "1 Insert z v1 []",
        // PG-65: the free message comes before its transaction.
        "1 Message \"free\" \"now\"",
        "1 Insert u v1 [1]",
        "2 Message \"bound\" \"with it\"",
        // PG-20.
        "1 Truncate t v1",
        "2 Truncate u v1",
        // PG-48.
        "1 Insert t v1 [1, 1, 'a']",
        "1 Schema t v2",
        "2 Insert t v2 [2, 'b']",
        "2 Schema t v3",
        "3 Insert t v3 [3, 'c', 7]",
        "3 Schema t v4",
        "4 Insert t v4 [4, 'd', 7]",
        "4 Schema t v5",
        "5 Insert t v5 [5, 'e', 1.50]",
        "1 Insert t v5 [6, 'f', 2.00]",
    ];
    assert_eq!(shown(&batches), expected);
}

#[test]
fn pg_60_63_64_marks_rise_and_numbers_do_not_depend_on_the_start() {
    let whole = batches(&["public.*"], 10_000, 0);
    let marks = |batches: &[Batch]| -> Vec<(Mark, String)> {
        let rows = batches.iter().flat_map(|batch| batch.changes.iter().map(move |change| (batch, change)));
        let rows = rows.filter(|(_, change)| change.op != Op::Schema);
        rows.map(|(batch, change)| (batch.mark(change), show(batch, change).replace(char::is_numeric, ""))).collect()
    };
    let all = marks(&whole);
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for from in 1..18 {
        let later = marks(&batches(&["public.*"], 10_000, from));
        assert_eq!(later, all[all.len() - later.len()..], "from transaction {from}");
    }
}

#[test]
fn pg_13_40_a_transaction_is_split_anywhere() {
    let whole = batches(&["public.*"], 10_000, 0);
    for changes_max in 1..8 {
        let split = batches(&["public.*"], changes_max, 0);
        assert_eq!(shown(&split), shown(&whole));
        let positions: Vec<&Position> = split.iter().filter_map(|batch| batch.position.as_ref()).collect();
        assert!(positions.is_sorted(), "{positions:?}");
        for batch in &split {
            let position = batch.position.as_ref().unwrap();
            assert_eq!(batch.boundary, position.mark.minor == 0);
            for change in &batch.changes {
                assert!(batch.mark(change) <= position.mark, "{} {position}", show(batch, change));
            }
        }
        assert_eq!(split.last().unwrap().position, whole.last().unwrap().position);
    }
}

/// A message that an application writes into the log, free or bound to its transaction, moves no place past rows that are
/// still to come: whoever stops at any point and goes on from the place that was handed out has each row once.
#[test]
fn pg_65_66_a_message_moves_no_place_past_rows() {
    let messages = recorded();
    let kind = |index: &usize| messages[*index].1[0];
    // Of a message its own, of a commit the start of its record.
    let lsn = |at: usize| u64::from_be_bytes(messages[at].1[2..10].try_into().unwrap());
    let free = (0..messages.len()).find(|at| kind(at) == b'M').unwrap();
    let end = (free..messages.len()).find(|at| kind(at) == b'C').unwrap();
    let inside: Vec<usize> = (free + 1..=end).collect();
    assert_eq!((messages[free].1[1], kind(&inside[0])), (0, b'B'));
    // Written behind a row of the transaction, the free one still comes before all of it.
    let wal_start = |at: usize| if kind(&at) == b'I' { lsn(free) - 0x80 } else { messages[at].0 };
    let bound = *inside.iter().find(|at| kind(at) == b'M').unwrap();
    let message_first = inside[..1].iter().chain([&bound]).chain(inside[1..].iter().filter(|at| **at != bound));
    for order in [inside.clone(), message_first.copied().collect()] {
        let read = |assembler: &mut Assembler, part: &[usize]| {
            part.iter().for_each(|at| drop(feed(assembler, wal_start(*at), &messages[*at].1).unwrap()));
            assembler.finish(0)
        };
        let rows = |batch: &Batch, beyond: Mark| -> Vec<String> {
            let left = batch.changes.iter().filter(|change| batch.mark(change) > beyond);
            left.map(|change| show(batch, change)).filter(|text| text.contains("Insert")).collect()
        };
        for stop in 0..=order.len() {
            let mut first = assembler(&["public.*"], 10_000);
            let held = read(&mut first, &[&[free], &order[..stop]].concat());
            let place = held.position.as_ref().unwrap().mark;
            // The log is asked for from there on, and the server sends whole what commits behind it.
            let is_sent = place.major <= lsn(end);
            let again = match is_sent {
                true => rows(&read(&mut assembler(&["public.*"], 10_000), &order), place),
                false => Vec::new(),
            };
            assert_eq!([rows(&held, Mark::default()), again].concat().len(), 1, "after {stop} of {order:?}");
        }
    }
}

#[test]
fn transactions_carry_their_provenance() {
    let batches = batches(&["public.*"], 10_000, 0);
    let last = batches[0].transactions.last().unwrap();
    assert_eq!(last.provenance[1], Provenance::Text("elsewhere".into()));
    assert_eq!(last.commit_time_micros, 1_704_067_200_000_000);
    let second = &batches[0].transactions[1];
    // T(n) ends where the first change of T(n+1) begins.
    assert_eq!(second.previous_commit, Some(batches[0].changes[3].offset));
    assert_eq!(second.provenance[0], Provenance::Int(second.id.parse().unwrap()));
    assert_eq!(batches[0].transactions[0].previous_commit, None);
}

#[test]
fn tables_that_are_not_captured_are_passed_over_and_counted() {
    let batches = batches(&["public.u", "public.z"], 10_000, 0);
    let expected = [
        "1 Insert z v1 []",
        "1 Message \"free\" \"now\"",
        "1 Insert u v1 [1]",
        "2 Message \"bound\" \"with it\"",
        // The first is that of `t`.
        "2 Truncate u v1",
    ];
    assert_eq!(shown(&batches), expected);
    assert!(batches[0].boundary);
}

/// Sinks hold positions inside a transaction; a table that leaves `tables` must not move what comes after them.
#[test]
fn pg_13_40_numbers_do_not_depend_on_what_is_captured() {
    // Before each row of `t` the same row of a table `s`.
    let mut messages = Vec::new();
    for (wal_start, payload) in recorded().into_iter().take_while(|(_, payload)| payload[0] != b'O') {
        let named_t = payload[0] == b'R' && payload[5..14] == *b"public\0t\0";
        if named_t || matches!(payload[0], b'I' | b'U' | b'D') {
            let mut other = payload.clone();
            other[1] ^= 0x40;
            if named_t {
                other[12] = b's';
            }
            messages.push((wal_start, other));
        }
        messages.push((wal_start, payload));
        if messages.iter().filter(|(_, payload)| payload[0] == b'C').count() == 2 {
            break;
        }
    }
    let read = |filter: &[&str], changes_max: usize| {
        let mut assembler = assembler(filter, changes_max);
        let mut out = Vec::new();
        for (wal_start, payload) in &messages {
            feed(&mut assembler, *wal_start, payload).unwrap();
            if assembler.is_full() {
                out.push(assembler.finish(0));
            }
        }
        out.push(assembler.finish(0));
        out
    };
    let of_t = |batches: &[Batch]| -> Vec<(Mark, String)> {
        let rows = batches.iter().flat_map(|batch| batch.changes.iter().map(move |change| (batch, change)));
        let rows = rows.filter(|(batch, change)| &*batch.table(change).unwrap().name.table == "t");
        rows.map(|(batch, change)| (batch.mark(change), show(batch, change))).collect()
    };
    let whole = read(&["public.*"], 10_000);
    assert_eq!(of_t(&whole).len() * 2, shown(&whole).len());
    for changes_max in 1..5 {
        assert_eq!(of_t(&read(&["public.t"], changes_max)), of_t(&whole));
    }
    // Held up to here with both tables: what comes after is numbered higher without `s`, too.
    let held = read(&["public.*"], 3)[0].position.clone().unwrap().mark;
    let left = |batches: &[Batch]| of_t(batches).into_iter().filter(|(mark, _)| *mark > held).collect::<Vec<_>>();
    assert_eq!(left(&read(&["public.t"], 2)), left(&whole));
    assert!(!left(&whole).is_empty());
}

#[test]
fn a_transaction_of_which_nothing_was_shipped_is_not_entered() {
    let mut assembler = assembler(&["public.u"], 10_000);
    assert!(assembler.keepalive(100));
    for (wal_start, payload) in recorded().iter().take(4) {
        feed(&mut assembler, *wal_start, payload).unwrap();
    }
    assert!(assembler.in_transaction());
    let batch = assembler.finish(0);
    assert_eq!((batch.position.as_ref().unwrap().mark, batch.boundary), (Mark { major: 100, minor: 0 }, true));
}

/// A server whose slot lags behind its own confirmed place reads again from there, and answers meanwhile: the stream begins
/// with its start as the place reached.
#[test]
fn no_place_before_the_start_is_recorded() {
    let mut assembler = assembler(&[], 10);
    assert!(assembler.keepalive(500));
    for (told, moves, place) in [(100, false, 500), (500, false, 500), (501, true, 501)] {
        assert_eq!(assembler.keepalive(told), moves, "{told}");
        assert_eq!(assembler.finish(0).position.as_ref().map(|position| position.mark.major), Some(place), "{told}");
    }
}

#[test]
fn pg_68_a_keepalive_moves_only_an_idle_stream() {
    let mut assembler = assembler(&[], 100);
    assert!(assembler.keepalive(100) && !assembler.keepalive(100) && !assembler.keepalive(99));
    let batch = assembler.finish(0);
    assert_eq!((batch.position.as_ref().unwrap().text.as_ref(), batch.boundary), ("pg:1/1/0/64/0", true));
    let messages = recorded();
    feed(&mut assembler, messages[0].0, &messages[0].1).unwrap();
    assert!(assembler.in_transaction() && !assembler.keepalive(u64::MAX));
}

#[test]
fn pg_49_a_table_under_an_old_name_is_another_table() {
    let mut assembler = assembler(&[], 100);
    let messages = recorded();
    for (wal_start, payload) in &messages[..3] {
        feed(&mut assembler, *wal_start, payload).unwrap();
    }
    let [relation, row] = [1, 2].map(|index| {
        let mut other = messages[index].1.clone();
        other[4] ^= 1;
        other
    });
    feed(&mut assembler, 1, &relation).unwrap();
    assert_eq!(feed(&mut assembler, 1, &row).unwrap_err().code(), "table_recreated");
}

#[test]
fn r5_what_does_not_fit_is_refused() {
    let messages = recorded();
    let code = |indexes: &[usize], filter: &[&str]| {
        let mut assembler = assembler(filter, 100);
        let outcomes = indexes.iter().map(|index| feed(&mut assembler, messages[*index].0, &messages[*index].1));
        outcomes.filter_map(Result::err).next().map(|error| error.code())
    };
    assert_eq!(code(&[0, 2], &[]), Some("relation_unknown"));
    assert_eq!(code(&[1, 2], &[]), Some("log_out_of_order"));
    assert_eq!(code(&[0, 0], &[]), Some("log_out_of_order"));
    assert_eq!(code(&[0, 10], &[]), Some("log_out_of_order"));
    assert_eq!(code(&[5], &[]), Some("log_out_of_order"));
    // Transactions in another order than that of their commits.
    assert_eq!(code(&[6, 10, 0], &[]), Some("log_out_of_order"));
    let mut narrow = assembler(&[], 100);
    feed(&mut narrow, 1, &messages[0].1).unwrap();
    feed(&mut narrow, 1, &messages[1].1).unwrap();
    let relation = u32::from_be_bytes(messages[1].1[1..5].try_into().unwrap());
    let mut row = vec![b'I'];
    row.extend_from_slice(&relation.to_be_bytes());
    row.extend_from_slice(b"N\0\x01n");
    assert_eq!(feed(&mut narrow, 1, &row).unwrap_err().code(), "column_count_mismatch");
    let mut binary = assembler(&[], 100);
    feed(&mut binary, 1, &messages[0].1).unwrap();
    feed(&mut binary, 1, &messages[1].1).unwrap();
    row.truncate(6);
    row.extend_from_slice(b"\0\x03b\0\0\0\x01xnn");
    assert_eq!(feed(&mut binary, 1, &row).unwrap_err().code(), "binary_value");
}

/// What older rows have in a column is a fact of the column: when the catalog has forgotten it, it is no new shape.
#[test]
fn pg_48_what_older_rows_have_is_known_once_and_for_all() {
    let relation = RelationBody {
        oid: 7,
        namespace: "public".to_owned(),
        name: "t".to_owned(),
        replica_identity: b'n',
        columns: Vec::new(),
    };
    let five = Missing::from(BatchBuilder::constant(|_| Ok::<_, ()>(tidewire_core::Cell::int(5))).unwrap());
    let describe = |data_type: DataType, number: Option<u32>, missing: &Missing| {
        let described = described_without_server(&relation);
        let mut schema = (*described.schema).clone();
        schema.columns.push(ColumnSchema {
            name: "c".into(),
            data_type,
            native_type: "x".into(),
            nullable: true,
            default: None,
            missing: missing.clone(),
            number: number.map(|number| ColumnNumber { within: 7, number }),
        });
        Described { schema: Arc::new(schema), ..described }
    };
    let int = || DataType::Int { bits: 32 };
    for (data_type, number, told, expect, version) in [
        (int(), Some(4), Missing::Unknown, &five, 1),
        (int(), Some(4), five.clone(), &five, 1),
        (DataType::Int { bits: 64 }, Some(4), Missing::Unknown, &Missing::Unknown, 2),
        (int(), Some(5), Missing::Null, &Missing::Null, 2),
        (int(), None, Missing::Unknown, &Missing::Unknown, 2),
    ] {
        let mut assembler = assembler(&["public.*"], 10);
        assembler.define(describe(int(), Some(4), &five)).unwrap();
        assembler.define(describe(data_type, number, &told)).unwrap();
        let schema = Arc::clone(&assembler.described(7).unwrap().schema);
        assert_eq!((&schema.columns[0].missing, schema.version.0), (expect, version), "{told:?}");
    }
    assert!(assembler(&["public.*"], 10).described(7).is_none());
}
