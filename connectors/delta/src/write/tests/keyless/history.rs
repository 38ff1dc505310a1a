//! Histories of tables without a key.

use super::*;

#[test]
fn a_history_ends_one_of_the_rows_that_are_equal() {
    for case in 0..16 {
        let name = format!("{case:b}");
        let mut bag = Bag::of(Harness::with_mode(Shape::Int, Mode::History));
        bag.vary(case);
        for round in 0..12 {
            bag.send_some();
            match round % 4 {
                0 => {
                    bag.h.crash();
                    bag.h.replay();
                }
                1 => {
                    bag.h.commit_tables_only();
                    bag.h.crash();
                    bag.h.replay();
                }
                2 => {
                    bag.commit(&name);
                    bag.h.lose_state();
                }
                _ if case & 8 != 0 => {
                    bag.commit(&name);
                    bag.h.finish_compaction();
                }
                _ => {}
            }
            bag.commit(&name);
        }
        bag.h.send(&[Logical::whole(None, Some("a")), Logical::Truncate, Logical::whole(None, Some("a"))]);
        bag.ended += bag.rows.len() + 1;
        bag.rows = vec!["a".to_owned()];
        bag.commit(&name);
        bag.drain(&name);
    }
}

#[test]
fn of_equal_rows_the_last_that_came_ends_first() {
    let mut bag = Bag::of(Harness::with_mode(Shape::Int, Mode::History));
    // Each in a transaction of its own.
    let changes: [(Option<&str>, Option<&str>); 6] = [
        (None, Some("a")),
        (None, Some("a")),
        (Some("a"), None),
        (None, Some("a")),
        // Nothing is another value, and it is another version all the same.
        (Some("a"), Some("a")),
        (Some("a"), Some("b")),
    ];
    let begun = bag.h.next_commit();
    for change in changes {
        bag.send(&[change]);
    }
    bag.commit("");
    let number = |position: &str| (u64::from_str_radix(position.split('-').next().unwrap(), 16).unwrap() - begun) / 10;
    let versions = bag.h.versions().into_iter();
    let mut intervals = versions
        .map(|version| (number(&version.from.1), version.to.map(|to| number(&to.1)), version.v))
        .collect::<Vec<_>>();
    intervals.sort();
    let expect = [(0, None, "a"), (1, Some(2), "a"), (3, Some(4), "a"), (4, Some(5), "a"), (5, None, "b")];
    assert_eq!(intervals, expect.map(|(from, to, v)| (from, to, v.to_owned())));
}
