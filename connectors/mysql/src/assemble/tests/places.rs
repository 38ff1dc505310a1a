//! The place moves at a transaction's end and nowhere else, and numbers depend on the log alone.

use super::harness::{Source, name, start_of};
use super::tape::{Naming, Tape, UUID, V, ints};
use crate::binlog::kind;
use crate::position::{FilePlace, Place, StoredPosition};
use tidewire_core::Mark;

const T: &str = "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT)";
const PLAIN: &str = "CREATE TABLE plain (a INT NOT NULL, b INT) ENGINE = MyISAM";

/// MY-07, MY-34: after each event, the place and whether a transaction is open.
#[test]
fn the_place_moves_at_the_end_of_a_transaction() {
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([1, 2])]).insert(1, &[ints([2, 2])]).done());
    tape.begin().query("BEGIN").map(2, "plain", 2).insert(2, &[ints([1, 2])]).query("COMMIT").end();
    tape.ddl("CREATE TABLE other.x (a INT)");
    tape.ddl("ANALYZE TABLE t");
    let source = Source::new(Naming::Gtids, &[T, PLAIN]);
    let mut assembler = source.assembler().unwrap();
    let mut places = Vec::new();
    for event in tape.serve(&source.place) {
        assembler.apply(&event).unwrap();
        let Place::Gtid(set) = assembler.place() else { panic!() };
        places.push((set.count(), assembler.in_transaction()));
    }
    let expected = [
        [(0, false); 2].as_slice(),
        &[(0, true); 5],
        &[(1, false)],
        &[(1, true); 4],
        &[(2, false), (2, true), (3, false), (3, true), (4, false)],
    ];
    assert_eq!(places, expected.concat());
    let out = source.run(&tape).unwrap();
    assert_eq!(out.texts(), ["1#1 insert t (1, 2)", "1#2 insert t (2, 2)", "2#1 insert plain (1, 2)"]);
    assert_eq!(out.last_position(), format!("mysql-gtid:{UUID}:1-4"));
    assert_eq!(out.batches.len(), 1);
    assert!(out.batches[0].boundary);
}

#[test]
fn my_07_a_batch_that_ends_inside_says_how_far_it_came() {
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(|tape| {
        tape.map(1, "other.u", 1).map(2, "t", 2).insert(1, &[ints([1]), ints([2]), ints([3])]);
        tape.insert(2, &[ints([1, 1]), ints([2, 2]), ints([3, 3])]).insert(1, &[ints([4])]).insert(2, &[ints([4, 4])]);
    });
    let out = Source::new(Naming::Gtids, &[T]).limit(2).run(&tape).unwrap();
    let batches: Vec<_> =
        out.batches.iter().map(|batch| (&*batch.position.text, batch.boundary, batch.changes)).collect();
    let inside = |number| format!("mysql-gtid:;open={UUID}:1#{number}");
    let expected = [(inside(5), false, 2), (inside(8), false, 4), (format!("mysql-gtid:{UUID}:1"), true, 4)];
    assert_eq!(batches, expected.each_ref().map(|(text, boundary, changes)| (text.as_str(), *boundary, *changes)));
    let numbers: Vec<u64> = out.seen.iter().map(|seen| seen.mark.minor).collect();
    assert_eq!(numbers, [4, 5, 6, 8]);
    assert_eq!(out.batches[0].position.mark, Mark { major: 0, minor: 5 });
}

/// A transaction of which nothing is shipped is never part of a position.
#[test]
fn a_transaction_without_our_changes_is_not_entered() {
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(|tape| tape.map(1, "other.u", 1).insert(1, &[ints([1])]).done());
    let source = Source::new(Naming::Gtids, &[T]);
    let mut assembler = source.assembler().unwrap();
    let events = tape.serve(&source.place);
    for event in events.iter().take(events.len() - 1) {
        assembler.apply(event).unwrap();
    }
    assert!(assembler.in_transaction() && !assembler.has_changes());
    let batch = assembler.finish(0).unwrap();
    assert_eq!((&*batch.position.as_ref().unwrap().text, batch.boundary), ("mysql-gtid:", true));
}

fn at(file: &str, offset: u64) -> Place {
    let Place::File(place) = start_of(Naming::Anonymous) else { panic!() };
    Place::File(FilePlace { file: file.into(), offset, ..place })
}

/// MY-08: places by file and offset, over a rotation, and from anywhere again.
#[test]
fn places_in_files() {
    let mut tape = Tape::new(Naming::Anonymous);
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([1, 1])]).done());
    let first_end = tape.offset;
    tape.rotate();
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([2, 2])]).done());
    let end = tape.offset;
    let source = Source::new(Naming::Anonymous, &[T]).limit(1);
    let out = source.run(&tape).unwrap();
    assert_eq!(out.seen.len(), 2);
    assert_eq!(out.last_position(), format!("mysql-file:{UUID}/binlog.000002:{end};begun=1700000000"));
    // Whatever the place, the same changes have the same marks.
    for place in [at("binlog.000001", first_end), at("binlog.000002", 4)] {
        let again = Source { place: place.clone(), ..source.clone() }.run(&tape).unwrap();
        assert_eq!(again.seen, out.seen[1..], "{place}");
    }
    // Idle at the begin of the new file.
    let mut tape = Tape::new(Naming::Anonymous);
    tape.rotate();
    let out = source.run(&tape).unwrap();
    assert_eq!(out.last_position(), format!("mysql-file:{UUID}/binlog.000002:{};begun=1700000000", tape.offset));
}

/// MY-04: after `RESET MASTER` a file of the same name holds something else from its begin on.
#[test]
fn a_file_is_known_by_when_it_was_begun() {
    let mut tape = Tape::new(Naming::Anonymous);
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([1, 1])]).done());
    let middle = tape.offset;
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([2, 2])]).done());
    for (begun, expected) in [(None, Ok(1)), (Some(1_700_000_000), Ok(1)), (Some(1_699_999_999), Err("server_reset"))] {
        let Place::File(place) = at("binlog.000001", middle) else { panic!() };
        let place = Place::File(FilePlace { begun, ..place });
        let out = Source { place, ..Source::new(Naming::Anonymous, &[T]) }.run(&tape);
        assert_eq!(out.map(|out| out.seen.len()).map_err(|error| error.code()), expected, "{begun:?}");
    }
}

/// MY-10: the header has 32 bits.
#[test]
fn offsets_beyond_4_gib() {
    let mut tape = Tape::new(Naming::Anonymous);
    let row = |tape: &mut Tape, value| {
        tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([value, 0])]).done()).done()
    };
    row(&mut tape, 1);
    tape.skip_to((1 << 32) - 150);
    row(&mut tape, 2);
    row(&mut tape, 3);
    tape.skip_to((1 << 32) + (3 << 30));
    row(&mut tape, 4);
    tape.skip_to((2 << 32) - 10);
    row(&mut tape, 5);
    let source = Source { place: at("binlog.000001", (1 << 32) - 150), ..Source::new(Naming::Anonymous, &[T]) };
    let out = source.run(&tape).unwrap();
    assert_eq!(out.seen.len(), 4);
    assert!(out.seen[0].offset < 1 << 32 && out.seen[1].offset > 1 << 32 && out.seen[3].offset > 2 << 32);
    assert_eq!(out.last_position(), format!("mysql-file:{UUID}/binlog.000001:{};begun=1700000000", tape.offset));
}

/// MY-11: from MariaDB 11.4 on events from a transaction's cache have no place.
#[test]
fn events_without_a_place() {
    let mut tape = Tape::new(Naming::Domains);
    tape.begin_with(0);
    let map = crate::binlog::tests::support::Body::new().u48(1).u16(1).bytes(b"\x03crm\0\x01t\0\x02\x03\x03\0\x02").0;
    tape.event_at(kind::TABLE_MAP, 0, &map, 0, 77);
    let row_start = tape.offset;
    tape.event_at(kind::WRITE_ROWS_V1, 0, &[1, 0, 0, 0, 0, 0, 1, 0, 2, 3, 0, 1, 0, 0, 0, 2, 0, 0, 0], 0, 77);
    tape.event_at(kind::XID, 0, &[0; 8], 0, 77).end();
    let source = Source::new(Naming::Domains, &[T]);
    let out = source.run(&tape).unwrap();
    assert_eq!(out.texts(), ["0-77-1#1 insert t (1, 2)"]);
    assert_eq!(out.seen[0].offset, row_start);
    let mut assembler = source.assembler().unwrap();
    tape.serve(&source.place).iter().for_each(|event| drop(assembler.apply(event).unwrap()));
    assert_eq!(assembler.file_and_offset(), ("binlog.000001".into(), tape.offset));
}

/// Heartbeats and copies of events lie in no file and move nothing.
#[test]
fn my_14_what_lies_in_no_file_moves_nothing() {
    let mut tape = Tape::new(Naming::Anonymous);
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([1, 1])]).done());
    let end = tape.offset;
    let Place::File(place) = at("binlog.000001", end) else { panic!() };
    let place = Place::File(FilePlace { begun: Some(1_700_000_000), ..place });
    let source = Source { place, ..Source::new(Naming::Anonymous, &[T]) };
    let mut assembler = source.assembler().unwrap();
    tape.serve(&source.place).iter().for_each(|event| drop(assembler.apply(event).unwrap()));
    let mut beats = Tape::new(Naming::Anonymous);
    let first = beats.len();
    beats.event_at(kind::HEARTBEAT, 0, b"binlog.000001", end as u32, 77);
    beats.event_at(kind::HEARTBEAT, 0, b"\0\0\0\0\x01\0\0\0binlog.000001", 0, 77);
    beats.event_at(kind::HEARTBEAT_V2, 0, b"\x01\x0dbinlog.000001\x02\x02\xfc\x10", 0, 77);
    beats.event_at(kind::ROTATE, 0x20, &[&end.to_le_bytes()[..], b"binlog.000001"].concat(), 0, 77);
    for event in beats.serve(&start_of(Naming::Gtids)).iter().skip(1 + first) {
        // What a heartbeat cannot be is refused; none moves the place.
        let _ = assembler.apply(event);
        assert_eq!(*assembler.place(), source.place);
    }
    let batch = assembler.finish(0).unwrap();
    assert_eq!(StoredPosition::parse(batch.position.as_ref().unwrap()).unwrap().place, source.place);
}

/// The rows of one event over several batches, with any limit.
#[test]
fn the_rest_of_an_event_comes_with_the_next_batch() {
    let rows: Vec<[V; 2]> = (0..10).map(|row| ints([row, row])).collect();
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &rows).delete(1, &rows).done());
    let source = Source::new(Naming::Gtids, &[T]);
    let whole = source.run(&tape).unwrap();
    assert_eq!(whole.seen.iter().map(|seen| seen.row).collect::<Vec<_>>(), (0..10).chain(0..10).collect::<Vec<_>>());
    for limit in 1..21 {
        let parts = source.clone().limit(limit).run(&tape).unwrap();
        assert_eq!(parts.seen, whole.seen, "{limit}");
        // Batches are full, but the last, which ends with the transaction.
        let most = 20usize.div_ceil(limit);
        assert!((most..=most + 1).contains(&parts.batches.len()), "{limit}: {}", parts.batches.len());
    }
}

/// MY-30: a compressed transaction is like any other, but that its changes share an offset.
#[test]
fn compressed_transactions() {
    let fill = |tape: &mut Tape| {
        tape.map(1, "t", 2).map(2, "other.u", 1).insert(1, &[ints([1, 1]), ints([2, 2])]);
        tape.insert(2, &[ints([1]), ints([2])]).update(1, &[(ints([1, 1]), ints([1, 5]))]);
    };
    let (mut plain, mut packed) = (Tape::new(Naming::Gtids), Tape::new(Naming::Gtids));
    plain.transaction(fill);
    let start = packed.offset;
    packed.compressed(fill);
    let source = Source::new(Naming::Gtids, &[T]);
    let (plain, packed) = (source.run(&plain).unwrap(), source.clone().limit(2).run(&packed).unwrap());
    assert_eq!(plain.texts(), packed.texts());
    assert_eq!(plain.last_position(), packed.last_position());
    assert!(packed.seen.iter().all(|seen| seen.offset == packed.seen[0].offset && seen.offset > start));
    assert_eq!(packed.seen.iter().map(|seen| seen.row).collect::<Vec<_>>(), [0, 1, 4]);
}

/// Numbers count what is not captured, statements too.
#[test]
fn numbers_do_not_depend_on_what_is_captured() {
    let mut tape = Tape::new(Naming::Gtids);
    tape.begin().query("BEGIN").query("CREATE TABLE made (a INT NOT NULL PRIMARY KEY, b INT) START TRANSACTION");
    tape.map(3, "made", 2).insert(3, &[ints([1, 1])]).map(1, "t", 2).insert(1, &[ints([1, 1])]).xid();
    tape.begin().query("TRUNCATE TABLE other.u").end();
    tape.begin().query("RENAME TABLE other.u TO other.v, t TO other.t").end();
    let mut source = Source::new(Naming::Gtids, &[T]);
    source.shipped.push(name("made"));
    let all = source.run(&tape).unwrap();
    assert_eq!(
        all.texts(),
        [
            "1#1 ddl [made] CREATE TABLE made (a INT NOT NULL PRIMARY KEY, b INT) START TRANSACTION",
            "1#2 truncate made",
            "1#3 insert made (1, 1)",
            "1#4 insert t (1, 1)",
            "3#1 ddl [t] RENAME TABLE other.u TO other.v, t TO other.t",
        ]
    );
    let few = Source { filter: &["crm.t"], ..source }.run(&tape).unwrap();
    assert_eq!(few.seen, all.seen[3..]);
}

/// In the log of a replica the rows of one event may come in another order, where no key tells them apart (MY-04).
#[test]
fn no_place_lies_among_the_rows_of_an_event_without_a_key() {
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(|tape| {
        let rows = [1, 2, 3, 4, 5].map(|number| ints([number, 0]));
        let changed = [1, 2, 3, 4, 5].map(|number| (ints([number, 0]), ints([number, 1])));
        tape.map(1, "t", 2).insert(1, &rows).update(1, &changed).delete(1, &rows);
    });
    let parts = |table| {
        let out = Source::new(Naming::Gtids, &[table]).limit(2).run(&tape).unwrap();
        out.batches.iter().map(|batch| batch.changes).collect::<Vec<_>>()
    };
    assert_eq!(parts(T), [2, 4, 6, 8, 10, 12, 14, 15, 15]);
    assert_eq!(parts("CREATE TABLE t (a INT, b INT)"), [2, 4, 10, 15, 15]);
}
