//! Columns that come with a value for the rows that are there (PG-48, MY-79): by each policy, in each mode, whatever ends the
//! daemon in between.

use super::harness::{Harness, Logical, Shape, text};
use crate::config::Keyless;
use crate::encode::read::ColumnReader;
use crate::layout::SchemaChanges::{Evolve, Ignore};
use crate::layout::{AddedDefaults, Mode, Widening};
use crate::model::shape::column;
use crate::store::faulty::{Call, Fault, Faults, Plan};
use crate::typemap::parse_schema_string;
use std::collections::BTreeMap;
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{BatchBuilder, Cell, ColumnNumber, ColumnSchema, DataType, Missing, Sink as _};

fn constant(make: impl FnOnce(&mut BatchBuilder) -> Cell) -> Missing {
    BatchBuilder::constant(|builder| Ok::<_, ()>(make(builder))).unwrap().into()
}

fn texts(value: &str) -> Missing {
    constant(|builder| builder.long(Tag::Text, value.as_bytes()))
}

/// A table with rows 1 to 3, of which the last is deleted again, in two files.
fn begun(mode: Mode, policy: AddedDefaults) -> Harness {
    let mut h = Harness::with_mode(Shape::Int, mode);
    h.added_defaults(policy);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h.send(&[Logical::insert(3, "c", "C")]);
    h.commit();
    h.send(&[Logical::Delete(3)]);
    h.commit();
    h
}

fn by_id(rows: &[(i64, Option<&str>)]) -> BTreeMap<i64, Option<String>> {
    rows.iter().map(|(id, value)| (*id, value.map(text))).collect()
}

/// How many of the table's files lack a column.
fn files_without(h: &Harness, name: &str) -> usize {
    let table = h.table().unwrap();
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let column = columns.iter().find(|column| &*column.name == name).unwrap();
    let lacks = |file: &&crate::log::LiveFile| {
        let reader = ColumnReader::open(table.store(), &file.path, file.size, &[column], None).unwrap();
        reader.present() == [false]
    };
    table.files().filter(lacks).count()
}

fn shown(h: &Harness) -> BTreeMap<i64, Option<String>> {
    h.texts_by_id("c")
}

#[test]
fn each_policy_has_its_way_with_what_older_rows_are_given() {
    use AddedDefaults::{Fill, Halt, Null};
    let five = || texts("five");
    for (policy, missing, expect) in [
        (Null, five(), Ok(None)),
        (Null, Missing::Unknown, Ok(None)),
        (Null, Missing::Null, Ok(None)),
        (Fill, five(), Ok(Some("five"))),
        (Fill, Missing::Null, Ok(None)),
        (Fill, Missing::Unknown, Err("added_default_unknown")),
        (Halt, five(), Err("added_default")),
        (Halt, Missing::Null, Ok(None)),
        (Halt, Missing::Unknown, Err("added_default")),
    ] {
        let mut h = begun(Mode::Mirror, policy);
        h.add_missing("c", DataType::Text, missing.clone());
        // What the harness's log has in such a column is `x`.
        let sent = h.try_send(&[Logical::insert(4, "d", "D")]);
        let what = format!("{policy:?} {missing:?}");
        match expect {
            Ok(value) => {
                sent.unwrap();
                h.commit();
                assert_eq!(shown(&h), by_id(&[(1, value), (2, value), (4, Some("x"))]), "{what}");
                assert_eq!(files_without(&h, "c") == 0, value.is_some(), "{what}");
            }
            Err(code) => {
                let error = sent.unwrap_err();
                assert_eq!(error.code(), code, "{what}");
                assert!(error.table().is_some() && error.remedy().unwrap().contains("added_defaults = \"null\""));
                // And goes on from where it stopped.
                h.added_defaults(Null);
                h.replay();
                h.commit();
                assert_eq!(shown(&h), by_id(&[(1, None), (2, None), (4, Some("x"))]), "{what}");
            }
        }
    }
}

#[test]
fn the_commit_that_adds_the_column_has_the_value_in_all_rows() {
    for mode in [Mode::Mirror, Mode::History] {
        let mut h = begun(mode, AddedDefaults::Fill);
        // Rows of before in a file that no commit has named, in memory, and gone again.
        h.send(&[Logical::insert(4, "d", "D"), Logical::insert(5, "e", "E"), Logical::Delete(5)]);
        h.sink().maintain().unwrap();
        h.send(&[Logical::insert(6, "f", "F")]);
        let version = h.table_version();
        h.add_missing("c", DataType::Text, texts("five"));
        // What the log leaves out is the value of before.
        h.leave_out("c");
        h.send(&[Logical::update(1, "a2", Some("A")), Logical::update(4, "d2", None)]);
        assert_eq!(h.table_version(), version, "{mode:?}");
        h.commit();
        let rows = h.current_texts("c");
        assert_eq!(
            rows,
            by_id(&[(1, Some("five")), (2, Some("five")), (4, Some("five")), (6, Some("five"))]),
            "{mode:?}"
        );
        assert_eq!(files_without(&h, "c"), 0, "{mode:?}");
        // From its files, by an index that is built anew.
        h.lose_state();
        h.leave_out("none");
        h.send(&[Logical::Minimal { id: 2, v: text("b2") }, Logical::Delete(6)]);
        h.commit();
        let rows = h.current_texts("c");
        assert_eq!(rows, by_id(&[(1, Some("five")), (2, Some("five")), (4, Some("five"))]), "{mode:?}");
    }
}

/// Versions that had ended before the column came never had it; the others have it from the beginning.
#[test]
fn a_history_has_the_value_in_versions_that_were_the_row_when_the_column_came() {
    let mut h = begun(Mode::History, AddedDefaults::Fill);
    h.send(&[Logical::update(1, "a2", Some("A"))]);
    h.commit();
    h.add_missing("c", DataType::Text, texts("five"));
    h.send(&[Logical::update(2, "b2", Some("B")), Logical::insert(3, "c2", "C")]);
    h.commit();
    let mut seen = h.version_texts("c");
    seen.sort();
    let expect = [
        (1, "a", None),
        (1, "a2", Some("five")),
        (2, "b", Some("five")),
        (2, "b2", Some("x")),
        (3, "c", None),
        (3, "c2", Some("x")),
    ];
    assert_eq!(seen, expect.map(|(id, v, c)| (id, text(v), c.map(text))));
}

#[test]
fn a_changelog_has_nothing_to_fill() {
    for policy in [AddedDefaults::Fill, AddedDefaults::Halt] {
        for missing in [texts("five"), Missing::Unknown] {
            let mut h = begun(Mode::Changelog, policy);
            let files = h.table().unwrap().files().count();
            h.add_missing("c", DataType::Text, missing);
            h.send(&[Logical::insert(4, "d", "D")]);
            h.commit();
            assert_eq!(h.texts("c").iter().filter(|value| value.is_some()).count(), 1, "{policy:?}");
            assert_eq!(h.table().unwrap().files().count(), files + 1);
        }
    }
}

#[test]
fn a_table_that_has_no_rows_goes_on_whatever_they_would_have() {
    for policy in [AddedDefaults::Fill, AddedDefaults::Halt] {
        let mut h = begun(Mode::Mirror, policy);
        h.send(&[Logical::Truncate]);
        h.add_missing("c", DataType::Text, Missing::Unknown);
        h.send(&[Logical::insert(4, "d", "D")]);
        h.commit();
        assert_eq!(shown(&h), by_id(&[(4, Some("x"))]), "{policy:?}");
    }
}

#[test]
fn sk_30_whatever_ends_the_daemon_no_reader_sees_the_column_half_filled() {
    let (mut struck, mut before, mut after_it) = (0, 0, 0);
    for (after, fault) in (0..20).flat_map(|after| [Fault::Gone, Fault::After].map(|fault| (after, fault))) {
        let mut h = begun(Mode::Mirror, AddedDefaults::Fill);
        let faults = Faults::default();
        h.faults = Some(faults.clone());
        h.crash();
        h.send(&[Logical::insert(4, "d", "D")]);
        h.add_missing("c", DataType::Text, texts("five"));
        h.send(&[Logical::update(2, "b2", Some("B"))]);
        let calls = vec![Call::Read, Call::Write, Call::Finish, Call::Create, Call::Entry, Call::Replace, Call::Remove];
        faults.plan(Plan { calls, after, fault, is_final: false });
        drop(h.try_commit());
        struck += usize::from(faults.take_struck().is_some());
        faults.clear();
        let expect = by_id(&[(1, Some("five")), (2, Some("x")), (4, Some("five"))]);
        if h.table().unwrap().schema_string().contains("\"name\":\"c\"") {
            after_it += 1;
            assert_eq!(shown(&h), expect, "{fault:?} after {after}");
            assert_eq!(files_without(&h, "c"), 0, "{fault:?} after {after}");
        } else {
            before += 1;
            assert_eq!(h.rows().into_keys().collect::<Vec<_>>(), [1, 2], "{fault:?} after {after}");
        }
        h.crash();
        h.replay();
        h.commit();
        assert_eq!(shown(&h), expect, "{fault:?} after {after}");
        assert_eq!(files_without(&h, "c"), 0, "{fault:?} after {after}");
    }
    assert!(
        struck > 20 && before > 10 && after_it > 5,
        "{struck} faults, {before} before and {after_it} after the commit"
    );
}

#[test]
fn the_value_follows_a_type_that_grows_before_it_is_written() {
    for widening in [Widening::Rewrite, Widening::Types] {
        let mut h = begun(Mode::Mirror, AddedDefaults::Fill);
        h.widen(widening);
        h.add_missing("n", DataType::Int { bits: 32 }, constant(|_| Cell::int(5)));
        h.send(&[Logical::insert(4, "d", "D")]);
        h.type_column("n", DataType::Int { bits: 64 });
        h.send(&[Logical::insert(5, "e", "E")]);
        h.commit();
        assert_eq!(h.longs_by_id("n"), [(1, 5), (2, 5), (4, 4), (5, 5)].into(), "{widening:?}");
    }
}

#[test]
fn a_value_that_its_column_cannot_hold_stops_the_table() {
    let mut h = begun(Mode::Mirror, AddedDefaults::Fill);
    let many = constant(|builder| builder.long(Tag::Decimal, b"123456.78"));
    h.add_missing("n", DataType::Decimal { precision: Some(5), scale: Some(2) }, many);
    let error = h.try_send(&[Logical::insert(4, "d", "D")]).unwrap_err();
    assert_eq!(error.code(), "value_out_of_range");
    assert!(error.remedy().unwrap().contains("text_columns"), "{error}");
}

#[test]
fn a_column_that_was_left_out_has_had_other_values() {
    let mut h = begun(Mode::Mirror, AddedDefaults::Fill);
    h.follow_schema(Ignore);
    h.add_missing("c", DataType::Text, texts("five"));
    h.send(&[Logical::insert(4, "d", "D")]);
    h.commit();
    h.follow_schema(Evolve);
    let error = h.try_send(&[Logical::insert(5, "e", "E")]).unwrap_err();
    assert_eq!(error.code(), "added_default_unknown");
}

/// A source that numbers columns tells by the number whether a name is a new column's.
#[test]
fn a_column_that_may_be_an_older_one_is_not_filled() {
    let numbered = |name: &str, number: u32| ColumnSchema {
        number: Some(ColumnNumber { within: 16_384, number }),
        missing: texts("five"),
        ..column(name, DataType::Text, true)
    };
    // Columns are kind 1, id 2, v 3 and big 4. What the source does, whether this run has seen the table before, and what comes of it.
    for (what, change, seen, expect) in [
        ("added", vec![("c", 5)], true, Ok(())),
        ("added", vec![("c", 5)], false, Ok(())),
        ("one renamed", vec![("-big", 0), ("c", 4)], true, Err("added_default_unknown")),
        ("one renamed", vec![("-big", 0), ("c", 4)], false, Err("added_default_unknown")),
        ("one dropped, one added", vec![("-big", 0), ("c", 5)], true, Ok(())),
        // It could be the same to a run that has not seen the numbers before.
        ("one dropped, one added", vec![("-big", 0), ("c", 5)], false, Err("added_default_unknown")),
        // Its name has gone to a new one.
        ("one renamed, one added", vec![("-big", 0), ("c", 4), ("big", 5)], true, Err("added_default_unknown")),
        ("one renamed, one added", vec![("-big", 0), ("c", 4), ("big", 5)], false, Err("added_default_unknown")),
    ] {
        let mut h = begun(Mode::Mirror, AddedDefaults::Fill);
        h.number_columns();
        h.send(&[Logical::insert(4, "d", "D")]);
        h.commit();
        if !seen {
            h.crash();
        }
        h.change_schema(|schema| {
            for (name, number) in change {
                match name.strip_prefix('-') {
                    Some(gone) => schema.columns.retain(|column| &*column.name != gone),
                    None => schema.columns.push(numbered(name, number)),
                }
            }
        });
        let sent = h.try_send(&[Logical::Delete(4)]);
        assert_eq!(sent.map_err(|error| error.code()), expect, "{what}, seen: {seen}");
    }
}

/// With column mapping the table itself keeps the numbers.
#[test]
fn a_mapped_table_knows_which_column_is_new_whenever_it_was_seen() {
    let mut h = Harness::with_mode(Shape::Int, Mode::Mirror);
    h.map_columns(true);
    h.added_defaults(AddedDefaults::Fill);
    h.number_columns();
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    // The last one is a rename.
    for (gone, name, number) in [("big", "c", 5), ("c", "d", 6), ("d", "e", 6)] {
        h.crash();
        h.drop_column(gone);
        h.change_schema(|schema| {
            let missing = texts("five");
            let number = Some(ColumnNumber { within: schema.native_id, number });
            schema.columns.push(ColumnSchema { number, missing, ..column(name, DataType::Text, true) });
        });
        h.send(&[Logical::update(1, "a2", None)]);
        h.commit();
        assert_eq!(h.texts_by_id(name), by_id(&[(1, Some("x")), (2, Some("five"))]), "{name}");
    }
}

/// Its rows would be found by other values than the index has.
#[test]
fn a_mirror_without_a_key_is_not_filled() {
    let mut h = Harness::with_mode(Shape::Int, Mode::Mirror);
    h.added_defaults(AddedDefaults::Fill);
    h.without_keys(Keyless::Rows);
    h.change_schema(|schema| {
        schema.key.clear();
        (schema.key_kind, schema.old_row) = (KeyKind::None, OldRow::Full);
    });
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h.add_missing("c", DataType::Text, texts("five"));
    assert_eq!(h.try_send(&[Logical::insert(4, "d", "D")]).unwrap_err().code(), "rows_changed");
}

#[test]
fn copies_that_were_being_made_without_the_column_are_given_up() {
    let mut h = begun(Mode::Mirror, AddedDefaults::Fill);
    h.compact_always();
    for id in 4..20 {
        h.send(&[Logical::insert(id, "a", "A")]);
        h.commit_tables_only();
    }
    h.sink().maintain().unwrap();
    h.add_missing("c", DataType::Text, texts("five"));
    h.send(&[Logical::insert(20, "z", "Z")]);
    h.commit();
    h.finish_compaction();
    let mut expect = by_id(&[(1, Some("five")), (2, Some("five")), (20, Some("x"))]);
    expect.extend((4..20).map(|id| (id, Some(text("five")))));
    assert_eq!(shown(&h), expect);
    assert_eq!(files_without(&h, "c"), 0);
}
