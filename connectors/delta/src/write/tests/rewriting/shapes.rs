//! Mirrors without deletion vectors that follow the source's schema: files are written anew for the new shape of their rows and
//! for the rows that they lose, also in one commit.

use super::super::harness::{Harness, Logical, Shape, text};
use super::super::partition::shapes::{five, other_files};
use super::{files, plain};
use crate::layout::{AddedDefaults, Widening};
use crate::parts::feed::{AFTER, BEFORE, CHANGE_COLUMN, DELETED, INSERTED};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tidewire_core::DataType;

const WAYS: [Widening; 2] = [Widening::Types, Widening::Rewrite];

fn int(bits: u8) -> DataType {
    DataType::Int { bits }
}

fn inserts(ids: impl IntoIterator<Item = i64>) -> Vec<Logical> {
    ids.into_iter().map(|id| Logical::insert(id, "a", "A")).collect()
}

/// Data files on disk that no entry of the log names.
fn unnamed(h: &Harness) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(h.table_directory().join("_delta_log")).unwrap();
    let entries =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    let log = entries.map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>();
    let (mut folders, mut found) = (vec![h.table_directory()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            match path.is_dir() {
                true if name != "_delta_log" => folders.push(path),
                false if name.starts_with("part-") && !log.contains(name) => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// Rows 1 to 5 in a file that lost one already, 6 and 7 in another one, 8 in a third.
fn begin(h: &mut Harness) {
    for ids in [1..=5, 6..=7, 8..=8] {
        h.send(&inserts(ids));
        h.commit();
    }
    h.send(&[Logical::Delete(5)]);
    h.commit();
}

#[test]
fn new_columns_are_filled_as_rows_go() {
    for (by, spill, is_mapped) in [
        (None, false, false),
        (None, true, false),
        (Some("v"), false, false),
        (Some("v"), true, false),
        (None, false, true),
        (Some("v"), true, true),
    ] {
        let what = format!("partitioned by {by:?}, spilled: {spill}, mapped: {is_mapped}");
        let mut h = plain(Shape::Int);
        h.partition(by);
        h.map_columns(is_mapped);
        h.number_columns();
        h.added_defaults(AddedDefaults::Fill);
        begin(&mut h);
        h.spill_always(spill);
        h.replay();
        // Of before, in memory and in files that no commit has named.
        h.send(&[Logical::update(1, "b", None), Logical::insert(20, "a", "A"), Logical::insert(21, "a", "A")]);
        h.add_missing("c", DataType::Text, five());
        // What the log leaves out is the value of before. A file loses some of its rows, another one all.
        h.leave_out("c");
        h.send(&[Logical::update(2, "b", Some("B")), Logical::update(20, "b", None), Logical::Delete(3)]);
        h.send(&[Logical::Delete(8), Logical::Delete(21)]);
        h.commit();
        let mut expected = [1, 2, 4, 6, 7, 20].map(|id| (id, Some(text("five")))).into_iter().collect();
        assert_eq!(h.texts_by_id("c"), expected, "{what}");
        assert_eq!(other_files(&h, "c"), 0, "{what}");
        files(&h);
        // By an index that is built anew.
        h.lose_state();
        h.leave_out("none");
        h.send(&[Logical::Minimal { id: 4, v: text("b") }, Logical::Delete(6), Logical::update(7, "b", None)]);
        h.commit();
        expected.remove(&6);
        // What the harness's log has in such a column is `x`.
        expected.insert(7, Some(text("x")));
        let by_kernel = h.rows_by_kernel(&["id", "c"]).into_iter();
        let by_kernel = by_kernel.map(|row| (row[0].as_deref().unwrap().parse().unwrap(), row[1].clone()));
        assert_eq!(by_kernel.collect::<BTreeMap<i64, _>>(), expected, "{what}");
        assert_eq!(h.texts_by_id("v")[&4], Some(text("b")), "{what}");
        let unnamed = unnamed(&h);
        assert!(unnamed.is_empty(), "{what}: {unnamed:?}");
        files(&h);
    }
}

#[test]
fn types_grow_as_rows_go() {
    for (widening, (by, spill, is_key, is_mapped)) in WAYS.into_iter().flat_map(|way| {
        [
            (None, false, false, false),
            (None, true, true, false),
            (None, false, true, true),
            (Some("v"), true, true, false),
            (Some("n"), false, true, false),
            (Some("n"), true, false, true),
        ]
        .map(|case| (way, case))
    }) {
        let what = format!("{widening:?}, by {by:?}, spilled: {spill}, the key: {is_key}, mapped: {is_mapped}");
        let mut h = plain(Shape::Int);
        h.partition(by);
        h.map_columns(is_mapped);
        h.widen(widening);
        h.type_column("id", int(32));
        h.type_column("n", int(16));
        h.type_column("m", int(16));
        h.number_columns();
        begin(&mut h);
        h.spill_always(spill);
        h.replay();
        h.send(&[Logical::insert(9, "a", "A"), Logical::update(1, "b", None)]);
        let last = if is_key { 1 << 40 } else { 100 };
        for name in ["n", "m"].into_iter().chain(is_key.then_some("id")) {
            h.type_column(name, int(64));
        }
        h.send(&[Logical::update(9, "b", None), Logical::insert(last, "a", "A")]);
        h.send(&[Logical::Delete(2), Logical::Delete(8)]);
        h.commit();
        files(&h);
        assert_eq!(other_files(&h, "m") > 0, widening == Widening::Types, "{what}");
        let has_told = h.table().unwrap().schema_string().contains("delta.typeChanges");
        assert_eq!(has_told, widening == Widening::Types, "{what}");
        h.lose_state();
        h.send(&[Logical::Minimal { id: 3, v: text("b") }, Logical::Delete(4), Logical::update(7, "b", None)]);
        h.commit();
        files(&h);
        let ids = [1, 3, 6, 7, 9, last];
        let mut expected = ids.map(|id| vec![Some(id.to_string()); 3]);
        expected.sort();
        assert_eq!(h.rows_by_kernel(&["id", "n", "m"]), expected, "{what}");
    }
}

#[test]
fn names_change_by_metadata_and_files_only_for_rows_that_go() {
    for by in [None, Some("v")] {
        let mut h = plain(Shape::Int);
        h.partition(by);
        h.map_columns(true);
        h.number_columns();
        begin(&mut h);
        let before = files(&h);
        h.rename_column("v", "a name, with = and (all)");
        h.drop_column("big");
        h.send(&inserts([9]));
        h.commit();
        assert!(files(&h).is_superset(&before), "{by:?}");
        h.lose_state();
        h.add_numbered("big", 9);
        h.send(&[Logical::Delete(2), Logical::update(6, "b", Some("B"))]);
        h.commit();
        assert!(!files(&h).is_superset(&before), "{by:?}");
        let row = |id: i64, v: &str, big: Option<&str>| vec![Some(id.to_string()), Some(text(v)), big.map(text)];
        // What the harness's log has in a column of another name is `x`.
        let expected = [
            row(1, "a", None),
            row(3, "a", None),
            row(4, "a", None),
            row(6, "x", Some("B")),
            row(7, "a", None),
            row(8, "a", None),
            row(9, "x", None),
        ];
        assert_eq!(h.rows_by_kernel(&["id", "a name, with = and (all)", "big"]), expected, "{by:?}");
    }
}

#[test]
fn feeds_tell_the_rows_of_files_that_are_written_anew() {
    for (spill, by) in [(false, None), (true, None), (true, Some("v"))] {
        let what = format!("spilled: {spill}, by {by:?}");
        let mut h = plain(Shape::Int);
        h.partition(by);
        h.feed_changes(true);
        h.added_defaults(AddedDefaults::Fill);
        h.widen(Widening::Rewrite);
        h.type_column("n", int(16));
        begin(&mut h);
        h.spill_always(spill);
        h.replay();
        h.send(&[Logical::update(1, "b", None), Logical::insert(20, "a", "A"), Logical::insert(21, "a", "A")]);
        h.add_missing("c", DataType::Text, five());
        // What the harness's log has in such a column is `x`.
        h.send(&[Logical::update(2, "b", Some("B")), Logical::Delete(3), Logical::update(21, "b", Some("B"))]);
        h.commit();
        let told = |id: i64, word: &str, c: Option<&str>| vec![Some(id.to_string()), Some(text(word)), c.map(text)];
        let filled = |id| [told(id, AFTER, Some("five")), told(id, BEFORE, None)];
        let mut expected = [1, 4, 6, 7, 8].into_iter().flat_map(filled).collect::<Vec<_>>();
        expected.extend([told(2, AFTER, Some("x")), told(2, BEFORE, None), told(3, DELETED, None)]);
        expected.extend([told(20, INSERTED, Some("five")), told(21, INSERTED, Some("x"))]);
        expected.sort();
        assert_eq!(h.changed_by_kernel(&["id", CHANGE_COLUMN, "c"]), expected, "{what}");
        // A type that grows changes no row, whether or not its file loses others.
        h.type_column("n", int(64));
        h.send(&[Logical::Delete(4), Logical::insert(22, "a", "A")]);
        h.commit();
        let expected = [told(22, INSERTED, Some("x")), told(4, DELETED, Some("five"))];
        assert_eq!(h.changed_by_kernel(&["id", CHANGE_COLUMN, "c"]), expected, "{what}");
        files(&h);
    }
}

#[test]
fn small_files_of_every_shape_become_one() {
    for widening in WAYS {
        let mut h = plain(Shape::Int);
        h.widen(widening);
        h.added_defaults(AddedDefaults::Fill);
        h.type_column("n", int(16));
        h.compact_always();
        for id in 0..40 {
            h.send(&inserts([id]));
            h.commit_tables_only();
        }
        h.type_column("n", int(64));
        h.add_missing("c", DataType::Text, five());
        h.send(&[Logical::Delete(5), Logical::update(6, "b", None)]);
        h.commit();
        h.finish_compaction();
        assert!(files(&h).len() < 16, "{widening:?}: {:?}", files(&h));
        h.send(&[Logical::Delete(7), Logical::update(8, "b", None)]);
        h.commit();
        let expected = (0..40).filter(|id| !matches!(id, 5 | 7)).map(|id| (id, id)).collect::<BTreeMap<_, _>>();
        assert_eq!(h.longs_by_id("n"), expected, "{widening:?}");
        let filled = h.texts("c").into_iter().filter(|value| value.as_deref() == Some("five")).count();
        assert_eq!(filled, 36, "{widening:?}");
    }
}
