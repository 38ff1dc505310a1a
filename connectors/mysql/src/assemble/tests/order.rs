//! Transactions in the order of the log, and of another server's log.

use super::harness::{Source, start_of};
use super::tape::{Naming, Tape, UUID, ints};
use crate::binlog::kind;
use crate::gtid::{DomainPositions, GtidSet};
use crate::position::Place;

const T: &str = "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT)";

fn set(numbers: &str) -> Place {
    let text = if numbers.is_empty() { String::new() } else { format!("{UUID}:{numbers}") };
    Place::Gtid(GtidSet::parse(&text).unwrap())
}

/// One row a transaction, its value the transaction's number.
fn numbered(numbers: &[u64], checksum: bool) -> Tape {
    let mut tape = Tape::with(Naming::Gtids, checksum);
    for number in numbers {
        tape.begin_as(*number, 0).query("BEGIN").map(1, "t", 2).insert(1, &[ints([*number as i32, 0])]).xid();
    }
    tape
}

fn values(texts: &[&str]) -> Vec<u64> {
    texts.iter().map(|text| text.split(['(', ',']).nth(1).unwrap().parse().unwrap()).collect()
}

#[test]
fn my_02_gaps_are_filled_and_nothing_comes_twice() {
    let tape = numbered(&[1, 2, 3, 4, 5, 6], false);
    let source = Source { place: set("1-2:5"), ..Source::new(Naming::Gtids, &[T]) };
    let out = source.run(&tape).unwrap();
    assert_eq!(values(&out.texts()), [3, 4, 6]);
    assert_eq!(out.seen.iter().map(|seen| seen.mark.major).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(out.last_position(), format!("mysql-gtid:{UUID}:1-6"));
    // A gap that stays.
    let out = source.run(&numbered(&[1, 2, 5, 6, 9], false)).unwrap();
    assert_eq!((values(&out.texts()), out.last_position()), (vec![6, 9], &*format!("mysql-gtid:{UUID}:1-2:5-6:9")));
}

/// Sinks hold states of one server, and another one has them in another order: what lies beyond a state waits for it.
#[test]
fn the_order_of_another_server() {
    for checksum in [false, true] {
        for (log, place, targets, expected, redials) in [
            (vec![1, 2, 3], "", vec!["1-2"], vec![1, 2, 3], 0),
            (vec![2, 1, 3], "", vec!["1"], vec![1, 2, 3], 1),
            (vec![3, 1, 2, 4], "", vec!["1-2"], vec![1, 2, 3, 4], 1),
            (vec![3, 2, 1, 4], "", vec!["1", "1-2"], vec![1, 2, 3, 4], 2),
            (vec![1, 3, 2, 5, 4], "1", vec!["1-2", "1-2:4", "1-5"], vec![2, 4, 3, 5], 2),
            // Nothing passed over, nothing asked anew.
            (vec![1, 2, 3, 4], "1", vec!["1", "1-2", "1-3"], vec![2, 3, 4], 0),
        ] {
            let tape = numbered(&log, checksum);
            let targets = targets.into_iter().map(set).collect();
            let source = Source { place: set(place), targets, ..Source::new(Naming::Gtids, &[T]) };
            let out = source.run(&tape).unwrap();
            assert_eq!((values(&out.texts()), out.redials), (expected, redials), "{log:?}");
            let majors: Vec<u64> = out.seen.iter().map(|seen| seen.mark.major).collect();
            assert!(majors.is_sorted() && majors.windows(2).all(|pair| pair[0] != pair[1]), "{majors:?}");
        }
    }
}

/// What is passed over may be of any kind.
#[test]
fn transactions_are_passed_over_whole() {
    let mut tape = Tape::new(Naming::Gtids);
    let xa = "X'67',X'62',1";
    tape.begin_as(3, 0).query(&format!("XA START {xa}")).map(1, "t", 2).insert(1, &[ints([3, 0])]);
    tape.query(&format!("XA END {xa}")).event(kind::XA_PREPARE, 0, b"\0\x01\0\0\0\x01\0\0\0\x01\0\0\0gb").end();
    tape.begin_as(4, 0).query(&format!("XA COMMIT {xa}")).end();
    tape.begin_as(5, 0).query("DROP TABLE t").end();
    tape.begin_as(6, 0).query("BEGIN").query("SAVEPOINT a").query("COMMIT").end();
    tape.begin_as(7, 0).query("BEGIN").query("DELETE FROM t").query("ROLLBACK").end();
    tape.begin_as(1, 0).query("BEGIN").map(1, "t", 2).insert(1, &[ints([1, 0])]).xid();
    let source = Source { targets: vec![set("1")], ..Source::new(Naming::Gtids, &[T]) };
    let mut assembler = source.assembler().unwrap();
    let mut redial = false;
    for event in tape.serve(&source.place) {
        redial |= assembler.apply(&event).unwrap() == crate::assemble::Applied::Redial;
    }
    assert!(redial && assembler.prepared.is_empty());
    assert_eq!(*assembler.place(), set("1"));
}

/// MY-0A: among transactions with GTIDs one without.
#[test]
fn an_anonymous_transaction_halts() {
    let mut tape = Tape::new(Naming::Anonymous);
    tape.transaction(|tape| tape.map(1, "t", 2).done());
    let source = Source { place: set(""), ..Source::new(Naming::Anonymous, &[T]) };
    assert_eq!(source.error(&tape), "anonymous_transaction");
}

#[test]
fn a_transaction_that_comes_again_halts() {
    let source = Source::new(Naming::Gtids, &[T]);
    assert_eq!(source.error(&numbered(&[1, 2, 1], false)), "log_out_of_order");
    let mut tape = Tape::new(Naming::Domains);
    tape.domain(0, 1, 5, 1, &[]).query("ANALYZE TABLE t").end();
    tape.domain(0, 2, 5, 1, &[]).query("ANALYZE TABLE t").end();
    assert_eq!(Source::new(Naming::Domains, &[T]).error(&tape), "gtid_out_of_order");
}

#[test]
fn transactions_do_not_lie_in_each_other() {
    let gtids = || Tape::new(Naming::Gtids);
    let source = Source::new(Naming::Gtids, &[T]);
    let mut tape = gtids();
    tape.begin().query("BEGIN").begin();
    assert_eq!(source.error(&tape), "log_out_of_order");
    let mut tape = gtids();
    tape.query("BEGIN");
    assert_eq!(source.error(&tape), "log_out_of_order");
    let mut tape = gtids();
    tape.map(1, "t", 2).insert(1, &[ints([1, 1])]);
    assert_eq!(source.error(&tape), "log_out_of_order");
    let mut tape = gtids();
    tape.xid();
    assert_eq!(source.error(&tape), "log_out_of_order");
    let mut tape = gtids();
    tape.begin().query("BEGIN").rotate();
    assert_eq!(source.error(&tape), "log_out_of_order");
    let mut tape = gtids();
    tape.begin().query("BEGIN").insert(9, &[ints([1, 1])]);
    assert_eq!(source.error(&tape), "log_out_of_order", "rows without a map");
    assert_eq!(
        Source { place: start_of(Naming::Domains), ..source.clone() }.error(&numbered(&[1], false)),
        "log_out_of_order"
    );
}

fn domains(text: &str) -> Place {
    Place::Domains(DomainPositions::parse(text).unwrap())
}

fn row(tape: &mut Tape, domain: u32, server: u32, sequence: u64) {
    tape.domain(domain, server, sequence, 0, &[])
        .map(1, "t", 2)
        .insert(1, &[ints([(domain * 100) as i32 + sequence as i32, 0])]);
    tape.xid();
}

/// MY-0C: each domain has a place of its own.
#[test]
fn domains_of_mariadb() {
    let mut tape = Tape::with(Naming::Domains, true);
    for (domain, server, sequence) in [(0, 1, 1), (1, 1, 1), (0, 1, 2), (1, 2, 7), (0, 2, 3)] {
        row(&mut tape, domain, server, sequence);
    }
    let source = Source::new(Naming::Domains, &[T]);
    let run = |place: &str, targets: &[&str]| {
        let targets = targets.iter().map(|text| domains(text)).collect();
        Source { place: domains(place), targets, ..source.clone() }
            .run(&tape)
            .map(|out| (values(&out.texts()), out.redials, out.last_position().to_owned()))
    };
    let end = "mariadb-gtid:0-2-3,1-2-7".to_owned();
    assert_eq!(run("", &[]).unwrap(), (vec![1, 101, 2, 107, 3], 0, end.clone()));
    assert_eq!(run("0-1-2", &[]).unwrap(), (vec![101, 107, 3], 0, end.clone()));
    assert_eq!(run("", &["0-1-2"]).unwrap(), (vec![1, 2, 101, 107, 3], 1, end.clone()));
    assert_eq!(run("0-1-1", &["0-1-1,1-2-7", "0-2-3,1-2-7"]).unwrap(), (vec![101, 107, 2, 3], 1, end));
    // The log has another transaction there, or none: the place would never be reached.
    for target in ["0-1-3", "1-1-6", "1-2-6"] {
        assert_eq!(run("", &[target]).unwrap_err().code(), "errant_gtid", "{target}");
    }
    let mut tape = Tape::new(Naming::Domains);
    tape.event(kind::MARIA_GTID_LIST, 0, &[0; 6]).event(kind::BINLOG_CHECKPOINT, 0, b"\x01\0\0\0b");
    tape.begin_with(0).query("COMMIT").end();
    assert_eq!(source.run(&tape).unwrap().last_position(), "mariadb-gtid:0-77-1");
}
