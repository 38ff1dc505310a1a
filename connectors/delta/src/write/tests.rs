//! The sink as a whole on a real directory: sequences of changes against a model, snapshots, crashes between
//! commits, schema changes.

mod adopting;
mod ahead;
mod barriers;
mod compacting;
mod erasing;
mod facts;
mod feed;
mod filling;
mod halting;
mod harness;
mod history;
mod keyless;
mod limits;
mod mapping;
mod older;
mod partition;
mod policies;
mod resting;
mod rewriting;
mod unseen;
mod widening;

use super::*;
use crate::layout::Mode;
use crate::typemap::parse_schema_string;
use harness::{Harness, Logical, NULL, Shape, position, row, text};
use tidewire_core::ErrorKind;

#[test]
fn a_mirror_equals_the_source_after_each_commit() {
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "big one"), Logical::insert(2, "b", "big two"), Logical::insert(3, "c", "x")]);
    h.commit();
    assert_eq!(h.rows().len(), 3);
    // PG-30: `big` is not in the log; PG-13: the key moves; a delete; an insert that the same commit takes back.
    h.send(&[
        Logical::update(1, "a2", None),
        Logical::Update { old: Some(2), id: 20, v: text("b2"), big: None },
        Logical::Delete(3),
        Logical::insert(4, "d", "y"),
        Logical::Delete(4),
        Logical::Delete(99),
    ]);
    h.commit();
    assert_eq!(h.rows(), [row(1, "a2", "big one"), row(20, "b2", "big two")].into());
}

#[test]
fn known_values_are_carried_through_unknown_ones() {
    // PG-35, all in one commit, and once more over a spilled buffer.
    for spill in [false, true] {
        let mut h = Harness::new(Shape::Composite);
        h.spill_always(spill);
        h.send(&[Logical::insert(1, "a", "A"), Logical::update(1, "b", None)]);
        h.send(&[Logical::update(1, "c", Some("B"))]);
        h.send(&[Logical::update(1, "d", None)]);
        h.send(&[Logical::Update { old: Some(1), id: 2, v: text("e"), big: None }]);
        h.commit();
        assert_eq!(h.rows(), [row(2, "e", "B")].into());
    }
}

#[test]
fn my_20_a_partial_image_without_its_key_is_completed_from_the_table() {
    for (shape, spill) in [(Shape::Int, false), (Shape::Composite, false), (Shape::Composite, true)] {
        let mut h = Harness::new(shape);
        h.spill_always(spill);
        let minimal = |id, v: &str| Logical::Minimal { id, v: text(v) };
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), minimal(1, "a2")]);
        h.commit();
        h.send(&[minimal(2, "b2"), minimal(2, "b3"), Logical::Delete(1)]);
        h.commit();
        assert_eq!(h.rows(), [row(2, "b3", "B")].into());
    }
    // A row that the table never had cannot be completed.
    let mut h = Harness::new(Shape::Int);
    let error = h.try_send(&[Logical::Minimal { id: 7, v: text("x") }]).unwrap_err();
    assert_eq!(error.code(), "unknown_value");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("binlog_row_image")));
}

#[test]
fn keys_may_be_swapped_in_one_transaction() {
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    let rename = |old, id, v: &str| Logical::Update { old: Some(old), id, v: text(v), big: None };
    h.send(&[rename(1, 9, "a"), rename(2, 1, "b"), rename(9, 2, "a")]);
    h.commit();
    assert_eq!(h.rows(), [row(1, "b", "B"), row(2, "a", "A")].into());
}

#[test]
fn a_value_that_nobody_knows_stops_the_table() {
    let mut h = Harness::new(Shape::Int);
    let error = h.try_send(&[Logical::update(1, "a", None)]).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "unknown_value"));
    assert!(error.table().is_some() && error.remedy().is_some());
}

#[test]
fn truncate_keeps_its_place_among_the_rows() {
    // PG-20.
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.send(&[Logical::insert(2, "b", "B"), Logical::Truncate, Logical::insert(1, "c", "C")]);
    h.commit();
    assert_eq!(h.rows(), [row(1, "c", "C")].into());
    h.send(&[Logical::Truncate]);
    h.commit();
    assert!(h.rows().is_empty());
}

#[test]
fn half_a_snapshot_is_never_seen() {
    let mut h = Harness::new(Shape::Int);
    h.snapshot_start();
    h.snapshot_rows(&[(1, "a"), (2, "b")]);
    h.commit();
    assert!(h.table_version().is_none(), "a commit in the middle showed the table");
    // SK-32: the daemon ends; the table is read again, and the first attempt leaves nothing behind.
    h.crash();
    h.snapshot_start();
    h.snapshot_rows(&[(2, "b"), (3, "c")]);
    h.snapshot_end();
    h.send(&[Logical::update(3, "c2", None)]);
    h.commit();
    assert_eq!(h.rows(), [row(2, "b", "snap"), row(3, "c2", "snap")].into());
}

#[test]
fn a_killed_sink_leaves_no_file_for_good_sk_32() {
    for is_bucket in [false, true] {
        let mut h = Harness::new(Shape::Int);
        if is_bucket {
            h.move_to_bucket();
        }
        h.spill_always(true);
        h.snapshot_start();
        h.snapshot_rows(&[(1, "a"), (2, "b")]);
        h.sink().close_all();
        h.kill();
        h.snapshot_start();
        h.snapshot_rows(&[(1, "a"), (2, "b")]);
        h.snapshot_end();
        h.commit();
        let (stored, shown) = h.stored_and_shown();
        assert_eq!(stored, shown, "the first reading's file went when the table came");
        h.send(&[Logical::insert(3, "c", "C")]);
        h.sink().close_all();
        assert_eq!(h.stored_and_shown().0.len(), shown.len() + 1);
        h.kill();
        h.replay();
        let (stored, _) = h.stored_and_shown();
        assert_eq!(stored, shown, "the killed sink's file went when its table was taken over");
        h.commit();
        let (stored, shown) = h.stored_and_shown();
        assert_eq!((stored, h.rows().len()), (shown, 3));
    }
}

#[test]
fn a_snapshot_that_was_shown_is_not_read_again() {
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.snapshot_start();
        h.snapshot_rows(&[(1, "a")]);
        h.snapshot_end();
        h.commit_tables_only();
        h.crash();
        let name = TableName::new("public", "t");
        assert!(h.progress_at_open().is_done(&name), "{mode:?}");
        h.send(&[Logical::insert(5, "e", "E")]);
        h.commit();
        assert_eq!(h.physical_rows(), 2, "{mode:?}");
    }
}

#[test]
fn tables_ahead_of_the_progress_drop_what_they_hold() {
    // SK-33: the tables have committed, the progress has not.
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        h.send(&[Logical::insert(2, "b", "B"), Logical::update(1, "a2", Some("A2"))]);
        h.commit_tables_only();
        h.crash();
        h.replay();
        h.send(&[Logical::insert(3, "c", "C")]);
        h.commit();
        match mode {
            Mode::Mirror => assert_eq!(h.rows(), [row(1, "a2", "A2"), row(2, "b", "B"), row(3, "c", "C")].into()),
            Mode::Changelog => assert_eq!(h.physical_rows(), 4),
            Mode::History => assert_eq!(h.versions().len(), 4),
        }
    }
}

#[test]
fn a_changelog_never_takes_unknown_for_null() {
    // PG-31.
    let mut h = Harness::with_mode(Shape::Int, Mode::Changelog);
    h.send(&[Logical::insert(1, "a", "A"), Logical::update(1, "b", None), Logical::Delete(1), Logical::Truncate]);
    h.commit();
    let read = |name| h.texts(name);
    let some = |values: [&str; 4]| values.map(|v| Some(v.to_owned())).to_vec();
    assert_eq!(read("_op"), some(["c", "u", "d", "t"]));
    let positions = read("_position");
    assert!(positions.is_sorted() && positions.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(read("big"), [Some("A".to_owned()), None, None, None]);
    assert_eq!(h.unchanged(), [vec![], vec!["big".to_owned()], ["kind", "v", "big"].map(text).to_vec(), vec![]]);
}

#[test]
fn columns_come_and_go() {
    // SK-3B.
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h.send(&[Logical::insert(3, "c", "C")]);
    h.add_column("extra");
    h.send(&[Logical::insert(4, "d", "D"), Logical::update(1, "a2", Some("A2"))]);
    h.commit();
    assert_eq!(h.texts_by_id("extra"), [(1, Some("x")), (2, None), (3, None), (4, Some("x"))].map(own).into());
    h.drop_column("v");
    h.send(&[Logical::update(2, "gone", Some("B2"))]);
    h.commit();
    let expect = [(1, Some("a2")), (2, None), (3, Some("c")), (4, Some("d"))];
    assert_eq!(h.texts_by_id("v"), expect.map(own).into());
    h.crash();
    h.send(&[Logical::update(4, "", Some("D2"))]);
    h.commit();
    assert_eq!(
        h.texts_by_id("big"),
        [(1, Some("A2")), (2, Some("B2")), (3, Some("C")), (4, Some("D2"))].map(own).into()
    );
}

#[test]
fn a_null_in_a_column_that_should_have_none_is_shown() {
    let mut h = Harness::new(Shape::Int);
    h.change_schema(|schema| schema.columns[3].nullable = false);
    let nullable = |h: &Harness| {
        let columns = parse_schema_string(h.table().unwrap().schema_string()).unwrap();
        columns.iter().find(|column| &*column.name == "big").unwrap().nullable
    };
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    assert!(!nullable(&h));
    // The change is older than the constraint.
    h.send(&[Logical::insert(2, "b", NULL)]);
    h.commit();
    assert!(nullable(&h));
    assert_eq!(h.texts_by_id("big"), [(1, Some("A")), (2, None)].map(own).into());
    h.crash();
    h.send(&[Logical::insert(3, "c", "C")]);
    h.commit();
    assert!(nullable(&h));
}

fn own((id, value): (i64, Option<&str>)) -> (i64, Option<String>) {
    (id, value.map(str::to_owned))
}

#[test]
fn a_value_from_before_its_column_is_not_null() {
    for mode in [Mode::Mirror, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        h.add_column("extra");
        h.leave_out("extra");
        h.try_send(&[Logical::update(1, "b", Some("B"))]).unwrap();
        assert_eq!(h.try_commit().unwrap_err().code(), "unknown_value", "{mode:?}");
    }
}

#[test]
fn a_value_from_before_its_column_is_null_where_the_column_came_with_null() {
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), Logical::insert(3, "c", "C")]);
    h.commit();
    h.add_column_as_null("extra");
    h.send(&[Logical::insert(4, "d", "D")]);
    h.commit();
    h.leave_out("extra");
    // One from a file without the column, one from a file with it.
    h.send(&[Logical::update(1, "a2", Some("A")), Logical::update(4, "d2", Some("D"))]);
    h.commit();
    h.crash();
    h.leave_out("extra");
    h.send(&[Logical::update(2, "b2", Some("B")), Logical::update(1, "a3", Some("A"))]);
    h.commit();
    let expected = [(1, None), (2, None), (3, None), (4, Some("x"))].map(own);
    assert_eq!(h.texts_by_id("extra"), expected.into());
    // Declared anew: what rows from before have is known no more.
    h.forget_added("extra");
    h.leave_out("extra");
    h.try_send(&[Logical::update(3, "c2", Some("C"))]).unwrap();
    assert_eq!(h.try_commit().unwrap_err().code(), "unknown_value");
}

#[test]
fn another_sinks_table_is_left_alone() {
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.rename_sink("other");
    let error = h.try_send(&[Logical::insert(2, "b", "B")]).unwrap_err();
    assert_eq!(error.code(), "foreign_table");
}

#[test]
fn a_table_made_anew_needs_a_snapshot() {
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.recreate_at_source();
    assert_eq!(h.try_send(&[Logical::insert(1, "b", "B")]).unwrap_err().code(), "table_recreated");
    h.crash();
    h.floor_at_end();
    h.snapshot_start();
    h.snapshot_rows(&[(7, "z")]);
    h.snapshot_end();
    h.commit();
    assert_eq!(h.rows(), [row(7, "z", "snap")].into());
}

#[test]
fn nothing_written_stores_the_progress() {
    let mut h = Harness::new(Shape::Int);
    let sink = h.sink();
    let progress = Progress { position: Some(position(77)), ..Progress::default() };
    sink.commit(&progress).unwrap();
    h.crash();
    assert_eq!(h.progress_at_open().position, Some(position(77)));
    assert!(h.table_version().is_none());
}
