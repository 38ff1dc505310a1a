//! XA transactions, and ends of other kinds.

use super::harness::Source;
use super::tape::{Naming, Tape, ints};
use crate::binlog::kind;
use crate::position::StoredPosition;

const T: &str = "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT)";
const PLAIN: &str = "CREATE TABLE plain (a INT NOT NULL, b INT) ENGINE = MyISAM";

/// `XA PREPARE`, or `XA COMMIT ... ONE PHASE`, of `name` around rows from `value` on.
fn prepare(tape: &mut Tape, name: &str, one_phase: bool, value: i32) {
    let xid = format!("X'{}',X'',1", name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
    tape.begin().query(&format!("XA START {xid}")).map(1, "t", 2).insert(1, &[ints([value, 0]), ints([value + 1, 0])]);
    tape.map(9, "other.u", 1)
        .insert(9, &[ints([0])])
        .insert(1, &[ints([value + 2, 0])])
        .query(&format!("XA END {xid}"));
    let body =
        [&[u8::from(one_phase), 1, 0, 0, 0, name.len() as u8, 0, 0, 0, 0, 0, 0, 0][..], name.as_bytes()].concat();
    tape.event(kind::XA_PREPARE, 0, &body).end();
}

fn decide(tape: &mut Tape, verb: &str, name: &str) {
    let xid = format!("X'{}',X'',1", name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
    tape.begin().query(&format!("XA {verb} {xid}")).end();
}

fn row(tape: &mut Tape, value: i32) {
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([value, 0])]).done());
}

/// MY-33: rows take effect where they are committed, and from any position on once.
#[test]
fn rows_count_from_the_commit() {
    for naming in [Naming::Gtids, Naming::Anonymous] {
        let mut tape = Tape::new(naming);
        row(&mut tape, 1);
        prepare(&mut tape, "one", false, 10);
        prepare(&mut tape, "two", false, 20);
        row(&mut tape, 2);
        decide(&mut tape, "COMMIT", "two");
        decide(&mut tape, "ROLLBACK", "one");
        prepare(&mut tape, "fast", true, 30);
        row(&mut tape, 3);
        for limit in [1, 2, 100] {
            let source = Source::new(naming, &[T]).limit(limit);
            let out = source.run(&tape).unwrap();
            let values: Vec<&str> = out.seen.iter().map(|seen| seen.text.split(['(', ',']).nth(1).unwrap()).collect();
            assert_eq!(values, ["1", "2", "20", "21", "22", "30", "31", "32", "3"], "{naming:?}");
            let numbers: Vec<u64> = out.seen.iter().map(|seen| seen.mark.minor).collect();
            assert_eq!(numbers, [1, 1, 1, 2, 4, 1, 2, 4, 1], "{naming:?}");
            assert_eq!(out.replays, 2);
            for batch in &out.batches {
                let again = source.resumed(&batch.position).run(&tape).unwrap();
                let rest: Vec<_> = again.seen.into_iter().filter(|seen| seen.mark > batch.position.mark).collect();
                assert_eq!(rest, out.seen[batch.changes..], "{naming:?} from {}", batch.position);
            }
        }
    }
}

/// MY-33: MariaDB, whose event says of a transaction that it is prepared.
#[test]
fn prepared_transactions_of_mariadb() {
    let mut tape = Tape::new(Naming::Domains);
    row(&mut tape, 1);
    // Flags PREPARED_XA; format 1, gtrid "g" of 1 byte, no bqual.
    tape.domain(0, 77, 2, 0x40, &[1, 0, 0, 0, 1, 0, b'g']).map(1, "t", 2).insert(1, &[ints([10, 0]), ints([11, 0])]);
    tape.event(kind::XA_PREPARE, 0, b"\0\x01\0\0\0\x01\0\0\0\0\0\0\0g").end();
    tape.domain(0, 77, 3, 0x81, &[1, 0, 0, 0, 1, 0, b'g']).query("XA COMMIT X'67',X'',1").end();
    let source = Source::new(Naming::Domains, &[T]).limit(1);
    let out = source.run(&tape).unwrap();
    assert_eq!(out.texts(), ["0-77-1#1 insert t (1, 0)", "0-77-3#1 insert t (10, 0)", "0-77-3#2 insert t (11, 0)"]);
    let positions: Vec<&str> = out.batches.iter().map(|batch| &*batch.position.text).collect();
    assert_eq!(positions[1], "mariadb-gtid:0-77-2;open=0-77-3#1;xa=67..1@0-77-1>0-77-2");
    assert_eq!(out.last_position(), "mariadb-gtid:0-77-3");
    for batch in &out.batches {
        let again = source.resumed(&batch.position).run(&tape).unwrap();
        let rest: Vec<_> = again.seen.into_iter().filter(|seen| seen.mark > batch.position.mark).collect();
        assert_eq!(rest, out.seen[batch.changes..], "from {}", batch.position);
    }
}

/// MY-33, MY-34: rows that a savepoint took back before the transaction was prepared.
#[test]
fn savepoints_of_prepared_transactions() {
    let mut tape = Tape::new(Naming::Domains);
    tape.domain(0, 77, 1, 0x40, &[1, 0, 0, 0, 1, 0, b'g']).map(1, "t", 2).insert(1, &[ints([1, 0])]);
    tape.map(2, "plain", 2).insert(2, &[ints([2, 0])]).query("SAVEPOINT `a`");
    tape.map(3, "t", 2).insert(3, &[ints([3, 0])]).map(4, "plain", 2).insert(4, &[ints([4, 0])]);
    tape.query("ROLLBACK TO `a`").map(5, "t", 2).insert(5, &[ints([5, 0])]);
    tape.event(kind::XA_PREPARE, 0, b"\0\x01\0\0\0\x01\0\0\0\0\0\0\0g").end();
    tape.domain(0, 77, 2, 0x81, &[1, 0, 0, 0, 1, 0, b'g']).query("XA COMMIT X'67',X'',1").end();
    let out = Source::new(Naming::Domains, &[T, PLAIN]).run(&tape).unwrap();
    assert_eq!(
        out.texts(),
        [
            "0-77-2#1 insert t (1, 0)",
            "0-77-2#2 insert plain (2, 0)",
            "0-77-2#4 insert plain (4, 0)",
            "0-77-2#5 insert t (5, 0)"
        ]
    );
}

/// MY-34: a batch that ends between the savepoint and the first row behind it.
#[test]
fn a_savepoint_outlives_its_batch() {
    let mut tape = Tape::new(Naming::Gtids);
    row(&mut tape, 1);
    row(&mut tape, 2);
    tape.begin().query("BEGIN").query("SAVEPOINT `a`");
    tape.map(1, "t", 2).insert(1, &[ints([3, 0])]).query("ROLLBACK TO `a`").end();
    for limit in [2, 100] {
        let out = Source::new(Naming::Gtids, &[T]).limit(limit).run(&tape).unwrap();
        let values: Vec<_> = out.seen.iter().map(|seen| seen.text.clone()).collect();
        assert_eq!(values.len(), 2, "{limit}: {values:?}");
    }
}

#[test]
fn positions_name_what_is_prepared() {
    for naming in [Naming::Gtids, Naming::Anonymous] {
        let mut tape = Tape::new(naming);
        prepare(&mut tape, "a", false, 10);
        prepare(&mut tape, "b", false, 20);
        let out = Source::new(naming, &[T]).run(&tape).unwrap();
        let stored = StoredPosition::parse(&out.batches.last().unwrap().position).unwrap();
        let names: Vec<_> = stored.prepared.iter().map(|prepared| prepared.xid.global.clone()).collect();
        assert_eq!((out.seen.len(), names), (0, vec![b"a".to_vec(), b"b".to_vec()]));
        decide(&mut tape, "COMMIT", "a");
        decide(&mut tape, "ROLLBACK", "b");
        let out = Source::new(naming, &[T]).run(&tape).unwrap();
        assert!(!out.last_position().contains("xa="), "{}", out.last_position());
        // Prepared before the source began.
        let mut tape = Tape::new(naming);
        decide(&mut tape, "COMMIT", "a");
        assert_eq!(Source::new(naming, &[T]).error(&tape), "xa_unknown");
        let mut tape = Tape::new(naming);
        decide(&mut tape, "ROLLBACK", "a");
        assert_eq!(Source::new(naming, &[T]).run(&tape).unwrap().seen.len(), 0);
    }
}

/// MY-34, MY-38: what a ROLLBACK at the end leaves, and what it cannot leave.
#[test]
fn transactions_that_are_rolled_back() {
    for (steps, expected) in [
        (&["plain", "ROLLBACK"][..], Ok(1)),
        (&["plain", "t", "ROLLBACK"], Ok(1)),
        (&["t", "ROLLBACK"], Ok(0)),
        (&["plain", "other.u", "ROLLBACK"], Ok(1)),
        (&["t", "SAVEPOINT `a`", "COMMIT"], Ok(1)),
        (&["t", "SAVEPOINT `a`", "plain", "ROLLBACK TO `a`", "COMMIT"], Ok(2)),
        (&["SAVEPOINT `a`", "t", "ROLLBACK TO `a`", "COMMIT"], Ok(0)),
        (&["t", "SAVEPOINT `a`", "t", "SAVEPOINT `b`", "t", "ROLLBACK TO `A`", "t", "COMMIT"], Ok(2)),
        (&["SAVEPOINT `a`", "t", "SAVEPOINT `a`", "plain", "t", "ROLLBACK TO `a`", "COMMIT"], Ok(2)),
        // One batch holds no more, and what was handed out cannot be taken back.
        (&["t", "t", "t", "ROLLBACK", "few"], Err("rows_taken_back")),
        (&["t", "t", "SAVEPOINT `a`", "plain", "ROLLBACK TO `a`", "COMMIT", "few"], Ok(3)),
    ] {
        let mut tape = Tape::new(Naming::Gtids);
        tape.begin().query("BEGIN");
        for (id, step) in (1..).zip(steps) {
            match *step {
                "few" => {}
                "plain" | "t" => tape.map(id, step, 2).insert(id, &[ints([1, 1])]).done(),
                "other.u" => tape.map(id, step, 1).insert(id, &[ints([1])]).done(),
                statement => tape.query(statement).done(),
            }
        }
        let source = Source::new(Naming::Gtids, &[T, PLAIN]);
        let source = if steps.contains(&"few") { source.limit(2) } else { source };
        let out = source.run(tape.end());
        assert_eq!(out.map(|out| out.seen.len()).map_err(|error| error.code()), expected, "{steps:?}");
    }
}

/// MY-14, MY-37.
#[test]
fn events_that_must_not_be_passed_over() {
    let source = Source::new(Naming::Gtids, &[T]);
    for (number, flags, body, code) in [
        (kind::INCIDENT, 0, &b"\x01\0\x04lost"[..], Some("log_incident")),
        (200, 0, b"?", Some("event_undecodable")),
        (200, 0x80, b"?", None),
        (kind::IGNORABLE, 0x80, b"?", None),
        (kind::PARTIAL_ROW_DATA, 0, b"?", Some("event_undecodable")),
        (kind::STOP, 0, b"", None),
        (kind::PREVIOUS_GTIDS, 0, &[0; 8], None),
        (kind::XID, 0, b"?", Some("event_undecodable")),
    ] {
        let mut tape = Tape::new(Naming::Gtids);
        tape.event(number, flags, body);
        match source.run(&tape) {
            Ok(out) => assert_eq!((None, out.last_position()), (code, "mysql-gtid:"), "{number}"),
            Err(error) => assert_eq!(Some(error.code()), code, "{number}"),
        }
    }
    // MY-28: a bit that has turned over.
    let mut tape = Tape::with(Naming::Gtids, true);
    row(&mut tape, 1);
    let mut assembler = source.assembler().unwrap();
    let mut events = tape.serve(&source.place);
    events[5][30] ^= 1;
    let failed = events.iter().find_map(|event| assembler.apply(event).err()).unwrap();
    assert_eq!(failed.code(), "event_undecodable");
}
