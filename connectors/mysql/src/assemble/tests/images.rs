//! Row images: what is not in them is unknown, and unknown is never null.

use super::harness::Source;
use super::tape::{Naming, Tape, V, ints};
use crate::binlog::kind;
use crate::binlog::tests::support::Body;

const N: V = V::Null;
const A: V = V::Absent;

fn i(value: i32) -> V {
    V::Int(value)
}

/// The rows as text, without transaction and number.
fn rows(table: &str, fill: impl FnOnce(&mut Tape)) -> Vec<String> {
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(fill);
    let out = Source::new(Naming::Gtids, &[table]).run(&tape).unwrap();
    out.texts().iter().map(|text| text.split_once(' ').unwrap().1.to_owned()).collect()
}

const T: &str = "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT, c INT DEFAULT 7, d INT NOT NULL DEFAULT (1 + 1))";

/// MY-20, MY-22, MY-23: images of every kind in one file.
#[test]
fn images_of_any_columns() {
    let seen = rows(T, |tape| {
        tape.map(1, "t", 4);
        tape.insert(1, &[ints([1, 2, 3, 4]), [i(2), N, N, i(4)]]);
        tape.insert(1, &[[i(3), A, A, A]]).insert(1, &[[i(4), N, A, i(1)]]);
        tape.update(1, &[(ints([1, 2, 3, 4]), ints([1, 2, 3, 5]))]);
        tape.update(1, &[([i(1), A, A, A], [A, N, A, A]), ([i(2), A, A, A], [A, i(9), A, A])]);
        tape.update(1, &[([i(1), A, A, A], [i(8), A, A, A])]);
        tape.update(1, &[([i(1), N, A, i(3)], [A, A, i(2), A])]);
        tape.delete(1, &[ints([1, 2, 3, 4])]).delete(1, &[[i(1), A, A, A]]);
    });
    assert_eq!(
        seen,
        [
            "insert t (1, 2, 3, 4)",
            "insert t (2, null, null, 4)",
            "insert t (3, null, 7, ?)",
            "insert t (4, null, 7, 1)",
            "update t (1, 2, 3, 4) (1, 2, 3, 5)",
            "update t (1, ?, ?, ?) (1, null, ?, ?)",
            "update t (2, ?, ?, ?) (2, 9, ?, ?)",
            "update t (1, ?, ?, ?) (8, ?, ?, ?)",
            "update t (1, null, ?, 3) (1, null, 2, 3)",
            "delete t (1, 2, 3, 4)",
            "delete t (1, ?, ?, ?)",
        ]
    );
}

/// MY-20: the log names a unique key as the primary one where there is no other. That is no other definition, so what an
/// insert leaves out is known.
#[test]
fn a_unique_key_is_no_other_definition() {
    for (key, seen) in [
        ("PRIMARY KEY (a)", "insert t (1, 6)"),
        ("UNIQUE KEY (a)", "insert t (1, 6)"),
        ("UNIQUE KEY (b), UNIQUE KEY u (a)", "insert t (1, 6)"),
        // What the log has as a key is none here.
        ("UNIQUE KEY (a, b)", "insert t (1, ?)"),
        ("KEY (a)", "insert t (1, ?)"),
    ] {
        let table = format!("CREATE TABLE t (a INT NOT NULL, b INT DEFAULT 6, {key})");
        let rows = rows(&table, |tape| {
            tape.full_metadata(true).map_named(1, "t", &["a", "b"]).insert(1, &[[i(1), A]]).done();
        });
        assert_eq!(rows.last().map(String::as_str), Some(seen), "{key}: {rows:?}");
    }
}

/// MY-20: of a row of which the statement names no column MINIMAL logs no byte.
#[test]
fn rows_of_which_nothing_is_named() {
    let keyed = "CREATE TABLE t (a INT NOT NULL DEFAULT 5, b INT DEFAULT 6, PRIMARY KEY (a))";
    let keyless = "CREATE TABLE t (a INT NOT NULL DEFAULT 5, b INT DEFAULT 6)";
    let none = &[0][..];
    let seen = rows(keyed, |tape| {
        tape.map(1, "t", 2).rows(kind::WRITE_ROWS, 1, 2, none).insert(1, &[ints([1, 2])]).done();
    });
    assert_eq!(seen, ["insert t (5, 6)", "insert t (1, 2)"]);
    for (table, kind, rest, expected) in [
        (keyless, kind::WRITE_ROWS, none, "rows_uncounted"),
        (keyed, kind::WRITE_ROWS, &[0, 1, 2], "event_undecodable"),
        (keyed, kind::DELETE_ROWS, none, "event_undecodable"),
        (keyed, kind::UPDATE_ROWS, &[0, 0, 1], "event_undecodable"),
    ] {
        let mut tape = Tape::new(Naming::Gtids);
        tape.transaction(|tape| tape.map(1, "t", 2).rows(kind, 1, 2, rest).done());
        let source = Source::new(Naming::Gtids, &[table]);
        assert_eq!(source.error(&tape), expected, "{table} {kind} {rest:?}");
    }
}

/// Null bits over several bytes, with columns left out between them.
#[test]
fn null_bits_count_the_columns_that_are_there() {
    let columns: Vec<String> = (1..18).map(|number| format!("c{number} INT")).collect();
    let table = format!("CREATE TABLE t (a INT NOT NULL PRIMARY KEY, {})", columns.join(", "));
    for null in 1..18 {
        for absent in (1..18).filter(|absent| *absent != null) {
            let mut before = ints([0; 18]);
            (0..18).for_each(|index| before[index] = i(index as i32));
            before[null] = N;
            let mut after = before;
            after[absent] = A;
            let seen = rows(&table, |tape| tape.map(1, "t", 18).update(1, &[(before, after)]).done());
            let row: Vec<String> =
                (0..18).map(|index| if index == null { "null".to_owned() } else { index.to_string() }).collect();
            let row = row.join(", ");
            assert_eq!(seen, [format!("update t ({row}) ({row})")], "null {null}, absent {absent}");
        }
    }
}

/// `{"a": 1}` as the server stores it.
const DOCUMENT: &[u8] = b"\0\x01\0\x0c\0\x0b\0\x01\0\x05\x01\0a";
/// `$.a` becomes 2.
const DIFFERENCE: &[u8] = b"\0\x03$.a\x03\x05\x02\0";

fn json_map(tape: &mut Tape) {
    let body = Body::new().u48(1).u16(1).bytes(b"\x03crm\0\x01j\0\x03\x03\xf5\x03\x01\x04\x06").0;
    tape.event(kind::TABLE_MAP, 0, &body);
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// MY-32: differences of JSON, on the document before, and without it.
#[test]
fn differences_of_json() {
    let table = "CREATE TABLE j (a INT NOT NULL PRIMARY KEY, doc JSON, n INT)";
    let (one, two, document) = (1i32.to_le_bytes(), 2i32.to_le_bytes(), framed(DOCUMENT));
    let difference = framed(DIFFERENCE);
    for (before, after, rest, expected) in [
        (
            7,
            7,
            vec![&[0][..], &one, &document, &two, &[1, 1, 0], &one, &difference, &two],
            r#"(1, {"a": 1}, 2) (1, {"a": 2}, 2)"#,
        ),
        (7, 2, vec![&[0], &one, &document, &two, &[1, 1, 0], &difference], r#"(1, {"a": 1}, 2) (1, {"a": 2}, 2)"#),
        (7, 2, vec![&[0], &one, &document, &two, &[1, 0, 0], &document], r#"(1, {"a": 1}, 2) (1, {"a": 1}, 2)"#),
        (7, 4, vec![&[0], &one, &document, &two, &[1, 0, 1]], r#"(1, {"a": 1}, 2) (1, {"a": 1}, null)"#),
        (7, 2, vec![&[0], &one, &document, &two, &[0, 1]], r#"(1, {"a": 1}, 2) (1, null, 2)"#),
        (1, 2, vec![&[0], &one, &[1, 1, 0], &difference], "(1, ?, ?) (1, ?, ?)"),
        (7, 2, vec![&[2], &one, &two, &[1, 1, 0], &difference], "(1, null, 2) (1, ?, 2)"),
    ] {
        let rest = [&[before, after][..], &rest.concat()].concat();
        let seen = rows(table, |tape| {
            json_map(tape);
            tape.rows(kind::PARTIAL_UPDATE_ROWS, 1, 3, &rest);
        });
        assert_eq!(seen, [format!("update j {expected}")]);
    }
}

/// Bytes that are no rows of their table.
#[test]
fn broken_rows_halt() {
    let source = Source::new(Naming::Gtids, &[T, "CREATE TABLE j (a INT NOT NULL PRIMARY KEY, doc JSON, n INT)"]);
    let of = |kind, columns, rest: &[u8]| {
        let mut tape = Tape::new(Naming::Gtids);
        tape.transaction(|tape| tape.map(1, "t", 4).rows(kind, 1, columns, rest).done());
        source.error(&tape)
    };
    assert_eq!(of(kind::WRITE_ROWS, 4, &[15, 0, 1, 0, 0]), "value_unreadable");
    assert_eq!(of(kind::WRITE_ROWS, 4, &[15, 14, 1, 0, 0, 0, 7]), "value_unreadable", "a second row that is cut");
    assert_eq!(of(kind::UPDATE_ROWS, 4, &[1, 1, 0, 1, 0, 0, 0]), "value_unreadable", "no image after");
    assert_eq!(of(kind::WRITE_ROWS, 3, &[7, 0]), "log_out_of_order", "another width than the map's");
    let mut tape = Tape::new(Naming::Gtids);
    tape.transaction(|tape| {
        json_map(tape);
        let rest =
            [&[7, 2, 0][..], &[1, 0, 0, 0], &framed(DOCUMENT), &[2, 0, 0, 0, 1, 1, 0], &framed(b"\x07\x01$")].concat();
        tape.rows(kind::PARTIAL_UPDATE_ROWS, 1, 3, &rest);
    });
    assert_eq!(source.error(&tape), "value_unreadable", "a difference that is none");
}

/// MY-25: two maps before their rows, and the number that no table has.
#[test]
fn maps_are_told_apart_by_their_numbers() {
    let seen = rows("CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT)", |tape| {
        tape.map(1, "t", 2).map(2, "other.u", 3).insert(2, &[ints([7, 7, 7])]).insert(1, &[ints([1, 1])]);
        tape.map(2, "t", 2).insert(2, &[ints([2, 2])]).rows(kind::WRITE_ROWS, 0x00ff_ffff, 0, &[]);
    });
    assert_eq!(seen, ["insert t (1, 1)", "insert t (2, 2)"]);
}
