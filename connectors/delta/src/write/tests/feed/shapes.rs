//! The feed of commits that write data files anew: with wider types, or with the values of new columns.

use super::super::harness::{Harness, Logical, Shape, text};
use crate::encode::read::ColumnReader;
use crate::layout::{AddedDefaults, Widening};
use crate::parts::feed::{AFTER, BEFORE, CHANGE_COLUMN, DELETED, INSERTED};
use crate::typemap::parse_schema_string;
use std::convert::Infallible;
use tidewire_core::cell::Tag;
use tidewire_core::{BatchBuilder, DataType, Missing};

fn int(bits: u8) -> DataType {
    DataType::Int { bits }
}

/// Rows 1 to 4, of which the last has been deleted from its file; `n` has 16 bits, the key 32.
fn narrow(widening: Widening, by: Option<&str>) -> Harness {
    let mut h = super::fed(Shape::Int);
    h.widen(widening);
    h.partition(by);
    h.type_column("id", int(32));
    h.type_column("n", int(16));
    h.send(&(1..=4).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
    h.commit();
    h.send(&[Logical::Delete(4)]);
    h.commit();
    h
}

/// How many files of the newest version's changes have narrower types than the table.
fn narrow_changes(h: &Harness) -> usize {
    let table = h.table().unwrap();
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let columns = columns.iter().collect::<Vec<_>>();
    let is_narrow = |path: &String| {
        let size = table.store().head(path).unwrap().unwrap().size;
        !ColumnReader::open(table.store(), path, size, &columns, None).unwrap().is_as_declared()
    };
    h.change_files().iter().filter(|(path, _)| is_narrow(path)).count()
}

#[test]
fn wider_types_change_no_row() {
    for (widening, spill, is_key, by) in [
        (Widening::Types, false, false, None),
        (Widening::Types, true, true, None),
        (Widening::Rewrite, false, false, None),
        (Widening::Rewrite, false, true, None),
        (Widening::Rewrite, true, true, None),
        // Rows move between partitions, and their column itself grows.
        (Widening::Types, true, true, Some("v")),
        (Widening::Types, false, false, Some("n")),
        (Widening::Rewrite, true, true, Some("v")),
        (Widening::Rewrite, true, true, Some("n")),
        (Widening::Rewrite, false, false, Some("v")),
    ] {
        let what = format!("{widening:?}, spilled: {spill}, of the key: {is_key}, partitioned by {by:?}");
        let mut h = narrow(widening, by);
        h.spill_always(spill);
        h.replay();
        // One commit, of changes before and after the new type.
        h.send(&[Logical::update(1, "b", None), Logical::Delete(2), Logical::insert(5, "a", "A")]);
        h.type_column("n", int(64));
        h.type_column("id", int(if is_key { 64 } else { 32 }));
        h.send(&[Logical::update(1, "c", None), Logical::insert(2, "again", "A"), Logical::Delete(5)]);
        h.send(&[Logical::insert(6, "a", "A")]);
        h.commit();
        let told = |id: i64, word: &str, v: &str| (id, text(word), text(v));
        let mut expected = vec![
            told(1, BEFORE, "a"),
            told(1, AFTER, "c"),
            told(2, BEFORE, "a"),
            told(2, AFTER, "again"),
            told(6, INSERTED, "a"),
        ];
        expected.sort();
        assert_eq!(h.changes_by_kernel(), expected, "{what}");
        assert!(widening == Widening::Types || narrow_changes(&h) == 0, "{what}");
    }
}

#[test]
fn a_table_that_is_written_anew_shows_only_what_changed() {
    for (is_key, by) in [(false, None), (true, None), (false, Some("v")), (true, Some("v"))] {
        let mut h = narrow(Widening::Rewrite, by);
        h.type_column("n", int(64));
        h.type_column("id", int(if is_key { 64 } else { 32 }));
        // Without a file of changes readers look at files that come and go: the copies are none of them.
        h.send(&[Logical::insert(5, "b", "B")]);
        h.commit();
        assert_eq!(h.change_files(), [], "{is_key}");
        assert_eq!(h.changes_by_kernel(), [(5, text(INSERTED), text("b"))], "{is_key}");
        assert_eq!(h.physical_rows(), 4);
        h.send(&[Logical::Delete(1), Logical::Delete(3)]);
        h.commit();
        assert_eq!(h.changes_by_kernel(), [1, 3].map(|id| (id, text(DELETED), text("a"))), "{is_key}");
    }
}

#[test]
fn rows_that_get_a_value_are_told_one_by_one() {
    use super::MAPPED;
    for (spill, by) in
        [(false, None), (true, None), (true, Some(MAPPED)), (false, Some("v")), (true, Some("v")), (true, Some("big"))]
    {
        let mut h = super::fed(Shape::Int);
        match by {
            Some(MAPPED) => super::map(&mut h),
            by => h.partition(by),
        }
        h.added_defaults(AddedDefaults::Fill);
        h.send(&(1..=5).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        h.commit();
        h.send(&[Logical::Delete(5)]);
        h.commit();
        h.spill_always(spill);
        h.replay();
        h.send(&[Logical::update(1, "b", None), Logical::insert(6, "a", "A"), Logical::insert(7, "a", "A")]);
        let five = BatchBuilder::constant(|builder| Ok::<_, Infallible>(builder.long(Tag::Text, b"five")));
        h.add_missing("c", DataType::Text, Missing::from(five.unwrap()));
        // What the harness's log has in such a column is `x`.
        h.send(&[Logical::update(2, "b", Some("B")), Logical::Delete(3), Logical::update(7, "b", Some("B"))]);
        h.commit();
        let told = |id: i64, word: &str, c: Option<&str>| vec![Some(id.to_string()), Some(text(word)), c.map(text)];
        let expected = [
            told(1, AFTER, Some("five")),
            told(1, BEFORE, None),
            told(2, AFTER, Some("x")),
            told(2, BEFORE, None),
            told(3, DELETED, None),
            // Nothing but the new column.
            told(4, AFTER, Some("five")),
            told(4, BEFORE, None),
            told(6, INSERTED, Some("five")),
            told(7, INSERTED, Some("x")),
        ];
        let what = format!("spilled: {spill}, {by:?}");
        assert_eq!(h.changed_by_kernel(&["id", CHANGE_COLUMN, "c"]), expected, "{what}");
        h.send(&[Logical::Delete(4)]);
        h.commit();
        let expected = [told(4, DELETED, Some("five"))];
        assert_eq!(h.changed_by_kernel(&["id", CHANGE_COLUMN, "c"]), expected, "{what}");
    }
}
