//! Tables that are ahead of the progress: what comes again meets a table that has gone on.

use super::harness::{Harness, Logical, Shape, commit_tables};
use crate::layout::Mode;
use std::fs;
use tidewire_core::{ErrorKind, TableName};

#[test]
fn a_schema_that_the_table_has_left_behind_changes_nothing() {
    // SK-33, SK-3B: the table has seen the column come or go, the progress has not.
    type Alter = fn(&mut Harness);
    let some = |text| Some(String::from(text));
    let cases: [(&str, Alter, _); 2] = [
        ("extra", |h| h.add_column("extra"), [(1, None), (2, None), (3, some("x")), (4, some("x"))]),
        ("v", |h| h.drop_column("v"), [(1, some("a")), (2, some("b")), (3, None), (4, None)]),
    ];
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        for (column, alter, expect) in cases.clone() {
            let mut h = Harness::with_mode(Shape::Int, mode);
            h.send(&[Logical::insert(1, "a", "A")]);
            h.commit();
            h.send(&[Logical::insert(2, "b", "B")]);
            alter(&mut h);
            h.send(&[Logical::insert(3, "c", "C")]);
            h.commit_tables_only();
            let shown = h.table().unwrap().schema_string().to_owned();
            // Each time the source comes as far as one more transaction before the daemon ends.
            for transactions in 1..=3 {
                h.crash();
                h.replay_first(transactions);
                h.commit();
                assert_eq!(h.table().unwrap().schema_string(), shown, "{column}, {mode:?}");
            }
            h.send(&[Logical::insert(4, "d", "D")]);
            h.commit();
            assert_eq!(h.physical_rows(), 4, "{column}, {mode:?}");
            assert_eq!(h.texts_by_id(column), expect.into(), "{column}, {mode:?}");
        }
    }
}

/// A snapshot of two rows is written and waits for its commit. With `has_table`, there is a table with one row before.
fn about_to_show(mode: Mode, has_table: bool) -> Harness {
    let mut h = Harness::with_mode(Shape::Int, mode);
    if has_table {
        h.send(&[Logical::insert(9, "i", "I")]);
        h.commit();
        h.floor_at_end();
        h.crash();
    }
    read_anew(&mut h);
    h.note_reading();
    h
}

fn read_anew(h: &mut Harness) {
    h.snapshot_start();
    h.snapshot_rows(&[(1, "a"), (2, "b")]);
    h.snapshot_end();
}

/// Rows that two readings of the table, or one and another, leave in it.
fn rows_after(mode: Mode, has_table: bool) -> usize {
    if has_table && mode == Mode::Changelog { 3 } else { 2 }
}

#[test]
fn a_snapshot_is_not_shown_behind_the_back_of_a_new_instance() {
    // SK-63: the earlier instance is inside its commit when the new one asks what is visible.
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        for has_table in [true, false] {
            // A history does not take a second snapshot.
            if has_table && mode == Mode::History {
                continue;
            }
            let mut h = about_to_show(mode, has_table);
            let mut earlier = h.overtake();
            let name = TableName::new("public", "t");
            assert!(!h.progress_at_open().is_done(&name));
            // Where there is a table, it is the new one's already.
            assert_eq!(commit_tables(&mut earlier, None).is_err(), has_table, "{mode:?}");
            drop(earlier);
            if !has_table {
                let error = h.try_snapshot_start().unwrap_err();
                assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "snapshot_visible"), "{mode:?}");
                h.crash();
                assert!(h.progress_at_open().is_done(&name), "{mode:?}");
            }
            read_anew(&mut h);
            h.commit();
            assert_eq!(h.physical_rows(), rows_after(mode, has_table), "{mode:?}, {has_table}");
        }
    }
}

#[test]
fn a_snapshot_that_could_not_be_seen_is_not_written_again() {
    for mode in [Mode::Mirror, Mode::Changelog] {
        let mut h = about_to_show(mode, true);
        h.commit_tables_only();
        // The table cannot be read while the sink is opened, and can be a moment later.
        let log = h.table_directory().join("_delta_log");
        let entry = log.join(format!("{:020}.json", h.table_version().unwrap()));
        let content = fs::read(&entry).unwrap();
        fs::write(&entry, "{").unwrap();
        h.crash();
        assert!(!h.progress_at_open().is_done(&TableName::new("public", "t")));
        fs::write(&entry, content).unwrap();
        assert_eq!(h.try_snapshot_start().unwrap_err().code(), "snapshot_visible", "{mode:?}");
        h.crash();
        read_anew(&mut h);
        h.commit();
        assert_eq!(h.physical_rows(), rows_after(mode, true), "{mode:?}");
    }
}
