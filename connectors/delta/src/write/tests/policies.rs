//! What the tables do about changes of the source's schema, by each policy, over restarts.

use super::harness::{Harness, Logical, Shape};
use crate::layout::Mode;
use crate::layout::SchemaChanges::{self, Evolve, Fail, Ignore, Lenient};
use crate::typemap::parse_schema_string;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{DataType, Error};

const MODES: [Mode; 2] = [Mode::Mirror, Mode::Changelog];

/// A table with row 1, whose changes of schema are followed so.
fn begun(mode: Mode, changes: SchemaChanges) -> Harness {
    let mut h = Harness::with_mode(Shape::Int, mode);
    h.follow_schema(changes);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h
}

fn add(h: &mut Harness, id: i64, v: &str) {
    h.send(&[Logical::insert(id, v, "B")]);
    h.commit();
}

fn texts(values: &[(i64, Option<&str>)]) -> BTreeMap<i64, Option<String>> {
    values.iter().map(|(id, value)| (*id, value.map(str::to_owned))).collect()
}

/// The source's columns of the table.
fn names(h: &Harness) -> Vec<String> {
    let columns = parse_schema_string(h.table().unwrap().schema_string()).unwrap();
    columns.iter().filter(|column| !column.family.is_empty()).map(|column| column.name.to_string()).collect()
}

/// The change was refused, and each new start refuses it again and keeps what the table shows.
fn stays_refused(h: &mut Harness, error: &Error, code: &str) {
    assert_eq!((error.code(), error.table().is_some()), (code, true), "{}", error.chain());
    let shown = |h: &Harness| (h.table().unwrap().schema_string().to_owned(), h.physical_rows());
    let before = shown(h);
    h.crash();
    let error = h.try_send(&[Logical::insert(99, "z", "Z")]).unwrap_err();
    assert_eq!(error.code(), code);
    assert_eq!(shown(h), before);
}

#[test]
fn a_retyped_column_goes_on_in_a_new_one() {
    for mode in MODES {
        let mut h = begun(mode, Lenient);
        add(&mut h, 2, "b");
        h.send(&[Logical::insert(3, "c", "C")]);
        // In the midst of a commit's rows, and the mapping outlives restarts.
        h.type_column("v", DataType::Json);
        h.send(&[Logical::insert(4, "d", "D")]);
        h.commit();
        h.crash();
        add(&mut h, 5, "e");
        h.crash();
        h.replay();
        add(&mut h, 6, "f");
        assert_eq!(names(&h), ["kind", "id", "v", "big", "v__2"], "{mode:?}");
        let (old, new) =
            ([(1, Some("a")), (2, Some("b")), (3, Some("c"))], [(4, Some("d")), (5, Some("e")), (6, Some("f"))]);
        let null = |rows: &[(i64, Option<&str>)]| texts(rows).into_keys().map(|id| (id, None)).collect::<Vec<_>>();
        assert_eq!(h.texts_by_id("v"), texts(&old).into_iter().chain(null(&new)).collect(), "{mode:?}");
        assert_eq!(h.texts_by_id("v__2"), texts(&new).into_iter().chain(null(&old)).collect(), "{mode:?}");
        // Once more, while the daemon is stopped.
        h.crash();
        h.type_column("v", DataType::Text);
        add(&mut h, 7, "g");
        assert_eq!(h.texts_by_id("v__3")[&7], Some("g".to_owned()), "{mode:?}");
        assert_eq!((&h.texts_by_id("v")[&7], &h.texts_by_id("v__2")[&7]), (&None, &None), "{mode:?}");
    }
}

#[test]
fn an_update_moves_its_value_to_the_new_column() {
    let mut h = begun(Mode::Mirror, Lenient);
    add(&mut h, 2, "b");
    h.type_column("v", DataType::Json);
    h.send(&[Logical::update(1, "a2", Some("A2"))]);
    h.commit();
    assert_eq!(h.texts_by_id("v"), texts(&[(1, None), (2, Some("b"))]));
    assert_eq!(h.texts_by_id("v__2"), texts(&[(1, Some("a2")), (2, None)]));
}

#[test]
fn a_column_that_returns_goes_on_in_a_new_one() {
    for mode in MODES {
        let mut h = begun(mode, Lenient);
        h.drop_column("v");
        add(&mut h, 2, "");
        h.crash();
        h.type_column("v", DataType::Text);
        add(&mut h, 3, "c");
        h.crash();
        add(&mut h, 4, "d");
        assert_eq!(h.texts_by_id("v"), texts(&[(1, Some("a")), (2, None), (3, None), (4, None)]), "{mode:?}");
        assert_eq!(h.texts_by_id("v__2"), texts(&[(1, None), (2, None), (3, Some("c")), (4, Some("d"))]), "{mode:?}");
    }
}

#[test]
fn a_value_from_before_its_new_column_is_not_null() {
    for column in ["v", "extra"] {
        let mut h = begun(Mode::Mirror, Lenient);
        h.add_column_as_null("extra");
        h.send(&[Logical::insert(2, "b", "B")]);
        h.commit();
        h.type_column(column, DataType::Json);
        h.leave_out(column);
        h.try_send(&[Logical::update(2, "b2", Some("B"))]).unwrap();
        assert_eq!(h.try_commit().unwrap_err().code(), "unknown_value", "{column}");
    }
}

#[test]
fn a_changelog_names_the_tables_own_columns_as_unchanged() {
    // PG-31.
    let mut h = begun(Mode::Changelog, Lenient);
    h.type_column("big", DataType::Json);
    h.send(&[Logical::update(1, "b", None)]);
    h.commit();
    // Files come in no order.
    let lists = h.unchanged().into_iter().collect::<BTreeSet<_>>();
    assert_eq!(lists, [vec![], vec!["big__2".to_owned()]].into());
}

#[test]
fn a_column_may_become_text_in_the_midst() {
    for mode in MODES {
        let mut h = begun(mode, Lenient);
        h.type_column("n", DataType::Int { bits: 64 });
        add(&mut h, 2, "b");
        h.want_text("n");
        add(&mut h, 3, "c");
        h.crash();
        add(&mut h, 4, "d");
        assert_eq!(names(&h), ["kind", "id", "v", "big", "n", "n__2"], "{mode:?}");
        assert_eq!(h.texts_by_id("n__2"), texts(&[(1, None), (2, None), (3, Some("3")), (4, Some("4"))]), "{mode:?}");
    }
    let mut h = begun(Mode::Mirror, Evolve);
    h.type_column("n", DataType::Int { bits: 64 });
    add(&mut h, 2, "b");
    h.want_text("n");
    let error = h.try_send(&[Logical::insert(3, "c", "C")]).unwrap_err();
    stays_refused(&mut h, &error, "column_type_changed");
    // And goes on by the remedy.
    h.follow_schema(Lenient);
    h.replay();
    add(&mut h, 4, "d");
    assert_eq!(h.texts_by_id("n__2"), texts(&[(1, None), (2, None), (3, Some("3")), (4, Some("4")), (99, Some("99"))]));
}

#[test]
fn new_columns_are_left_out_for_good() {
    for mode in MODES {
        let mut h = begun(mode, Ignore);
        h.add_column_as_null("extra");
        add(&mut h, 2, "b");
        h.crash();
        add(&mut h, 3, "c");
        h.drop_column("v");
        add(&mut h, 4, "");
        h.crash();
        // It comes back, and is left out as well.
        h.type_column("v", DataType::Text);
        add(&mut h, 5, "e");
        assert_eq!(names(&h), ["kind", "id", "v", "big"], "{mode:?}");
        let kept = [(1, Some("a")), (2, Some("b")), (3, Some("c")), (4, None), (5, None)];
        assert_eq!(h.texts_by_id("v"), texts(&kept), "{mode:?}");
        h.type_column("big", DataType::Json);
        let error = h.try_send(&[Logical::insert(6, "f", "F")]).unwrap_err();
        stays_refused(&mut h, &error, "column_type_changed");
    }
}

#[test]
fn names_that_delta_takes_for_one_do_not_halt_a_table_that_is_there() {
    // PG-94. `_op` is a changelog's own.
    for mode in MODES {
        for (changes, expected) in
            [(Lenient, ["kind", "id", "v", "big", "V__2"].as_slice()), (Ignore, &["kind", "id", "v", "big"])]
        {
            let mut h = begun(mode, changes);
            h.add_column("V");
            add(&mut h, 2, "b");
            h.crash();
            add(&mut h, 3, "c");
            assert_eq!(names(&h), expected, "{mode:?}, {changes:?}");
            assert_eq!(h.texts_by_id("v"), texts(&[(1, Some("a")), (2, Some("b")), (3, Some("c"))]), "{mode:?}");
        }
    }
    let mut h = begun(Mode::Changelog, Lenient);
    h.add_column("_op");
    add(&mut h, 2, "b");
    h.crash();
    add(&mut h, 3, "c");
    assert_eq!(h.texts_by_id("_op"), texts(&[(1, Some("c")), (2, Some("c")), (3, Some("c"))]));
    assert_eq!(h.texts_by_id("_op__2"), texts(&[(1, None), (2, Some("x")), (3, Some("x"))]));
}

#[test]
fn a_table_says_once_what_it_leaves_out() {
    let mut h = begun(Mode::Mirror, Ignore);
    h.add_column("extra");
    add(&mut h, 2, "b");
    let metadata = |h: &Harness| h.table().unwrap().configuration().get("tidewire.left_out").cloned();
    assert_eq!(metadata(&h).as_deref(), Some(r#"["extra"]"#));
    h.drop_column("extra");
    add(&mut h, 3, "c");
    assert_eq!(metadata(&h).as_deref(), Some("[]"));
}

#[test]
fn a_column_that_was_left_out_is_unknown_in_older_rows() {
    let mut h = begun(Mode::Mirror, Ignore);
    h.add_column_as_null("extra");
    add(&mut h, 2, "b");
    h.follow_schema(Evolve);
    add(&mut h, 3, "c");
    assert_eq!(h.texts_by_id("extra"), texts(&[(1, None), (2, None), (3, Some("x"))]));
    // The source has a value for it; the table never had it.
    h.leave_out("extra");
    h.try_send(&[Logical::update(2, "b2", Some("B"))]).unwrap();
    assert_eq!(h.try_commit().unwrap_err().code(), "unknown_value");
}

#[test]
fn a_refused_change_halts_until_it_is_followed() {
    type Alter = fn(&mut Harness);
    let cases: [(SchemaChanges, Alter); 5] = [
        (Evolve, |h| h.add_column("extra")),
        (Evolve, |h| h.drop_column("v")),
        (Evolve, |h| h.change_schema(|schema| schema.columns[3].nullable = true)),
        (Lenient, |h| h.type_column("v", DataType::Json)),
        (Ignore, |h| h.add_column("extra")),
    ];
    for mode in MODES {
        for (case, (remedy, alter)) in cases.into_iter().enumerate() {
            let mut h = Harness::with_mode(Shape::Int, mode);
            h.follow_schema(Fail);
            h.change_schema(|schema| schema.columns[3].nullable = false);
            h.send(&[Logical::insert(1, "a", "A")]);
            h.commit();
            h.send(&[Logical::insert(2, "b", "B")]);
            alter(&mut h);
            let refused = h.try_send(&[Logical::insert(3, "c", "C")]);
            if mode == Mode::Changelog && case == 2 {
                // Its columns may always be null.
                refused.unwrap();
                continue;
            }
            stays_refused(&mut h, &refused.unwrap_err(), "schema_change_refused");
            // Nothing is lost: what came before the change, with it, and while the table stood.
            h.follow_schema(remedy);
            h.replay();
            h.commit();
            assert_eq!(h.texts_by_id("big").into_keys().collect::<Vec<_>>(), [1, 2, 3, 99], "{mode:?}, {case}");
            // What is settled is no change.
            h.follow_schema(Fail);
            add(&mut h, 4, "d");
        }
    }
}

#[test]
fn a_table_that_is_read_anew_keeps_to_its_policy() {
    let cases: [(SchemaChanges, Option<&[&str]>); 4] = [
        (Evolve, Some(&["kind", "id", "big", "extra"])),
        (Lenient, Some(&["kind", "id", "big", "extra"])),
        (Ignore, Some(&["kind", "id", "v", "big"])),
        (Fail, None),
    ];
    for (changes, expected) in cases {
        // Before the sink has opened the table, and after.
        for is_open in [false, true] {
            let mut h = begun(Mode::Mirror, changes);
            h.floor_at_end();
            if !is_open {
                h.crash();
            }
            h.add_column("extra");
            h.drop_column("v");
            let started = h.try_snapshot_start();
            let Some(expected) = expected else {
                assert_eq!(started.unwrap_err().code(), "schema_change_refused");
                continue;
            };
            started.unwrap();
            h.snapshot_rows(&[(1, "a"), (2, "b")]);
            h.snapshot_end();
            add(&mut h, 3, "c");
            assert_eq!(names(&h), expected, "{changes:?}");
            assert_eq!(h.texts_by_id("big").len(), 3, "{changes:?}");
        }
    }
}
