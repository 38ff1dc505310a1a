//! Partitioned tables: rows move between partitions, values of partition columns come from the log, files are of one
//! partition each and few of them are open.

mod mapped;
pub(super) mod shapes;
mod texts;
mod waiting;

use super::harness::{Harness, Logical, NULL, Shape, row, text};
use crate::layout::Mode;
use std::collections::BTreeMap;

fn partitioned(shape: Shape, mode: Mode, by: &str) -> Harness {
    let mut h = Harness::with_mode(shape, mode);
    h.partition(Some(by));
    h
}

/// Each partition's files and live rows.
fn partitions(h: &Harness) -> BTreeMap<String, (usize, u64)> {
    let mut found = BTreeMap::new();
    for file in h.table().unwrap().files() {
        let value = file.partition.values().next().unwrap().clone().unwrap_or_else(|| text(NULL));
        let (files, rows) = found.entry(value).or_insert((0, 0));
        *files += 1;
        *rows += file.num_records - file.deleted_count();
    }
    found
}

#[test]
fn rows_move_between_partitions() {
    for spill in [false, true] {
        let mut h = partitioned(Shape::Int, Mode::Mirror, "v");
        h.spill_always(spill);
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), Logical::insert(3, NULL, "C")]);
        h.send(&[Logical::insert(4, "a-_.9", "D"), Logical::insert(5, "a", "E"), Logical::Delete(5)]);
        h.commit();
        let one = |name: &str| (text(name), (1, 1));
        assert_eq!(partitions(&h), [one("a"), one("b"), one(NULL), one("a-_.9")].into());
        // PG-30: `big` is not in the log, and comes from the other partition.
        h.send(&[Logical::update(1, "b", None), Logical::update(1, "c", None), Logical::update(2, "a", Some("B2"))]);
        h.commit();
        assert_eq!(h.rows()[&1], row(1, "c", "A").1);
        assert_eq!(partitions(&h), [one("a"), one("c"), one(NULL), one("a-_.9")].into());
        // Polars takes a partition's values from the path.
        for file in h.table().unwrap().files() {
            let value = file.partition["v"].as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
            assert!(file.path.starts_with(&format!("v={value}/part-")), "{}", file.path);
        }
    }
}

#[test]
fn a_partition_that_the_log_leaves_out_is_that_of_the_row() {
    // MY-20, by the log's old row and by the table's.
    for (shape, by) in [(Shape::Int, "big"), (Shape::Composite, "big"), (Shape::Composite, "kind")] {
        for spill in [false, true] {
            let mut h = partitioned(shape, Mode::Mirror, by);
            h.spill_always(spill);
            h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", NULL)]);
            h.send(&[Logical::Minimal { id: 1, v: text("a1") }, Logical::Minimal { id: 2, v: text("b1") }]);
            h.commit();
            h.lose_state();
            h.send(&[Logical::Minimal { id: 1, v: text("a2") }, Logical::update(2, "b2", None), Logical::Delete(9)]);
            h.commit();
            assert_eq!(h.texts_by_id("v"), [(1, Some(text("a2"))), (2, Some(text("b2")))].into());
            assert_eq!(h.texts_by_id("big"), [(1, Some(text("A"))), (2, None)].into());
        }
    }
}

#[test]
fn what_has_ended_stays_in_its_partition() {
    let mut h = partitioned(Shape::Int, Mode::History, "v");
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h.send(&[Logical::update(1, "b", None), Logical::update(1, "c", None), Logical::Delete(2)]);
    h.commit();
    let all = h.versions().into_iter().map(|version| (version.id, version.v, version.to.is_none())).collect::<Vec<_>>();
    let of = |id, v: &str, is_current| (id, text(v), is_current);
    let mut expected = vec![of(1, "a", false), of(1, "b", false), of(1, "c", true), of(2, "b", false)];
    expected.sort();
    assert_eq!(
        {
            let mut all = all;
            all.sort();
            all
        },
        expected
    );
    assert_eq!(
        partitions(&h).into_iter().map(|(name, (_, rows))| (name, rows)).collect::<Vec<_>>(),
        [(text("a"), 1), (text("b"), 2), (text("c"), 1)]
    );
}

#[test]
fn files_of_one_partition_become_one() {
    let mut h = partitioned(Shape::Composite, Mode::Mirror, "v");
    h.compact_always();
    for id in 0..40 {
        h.send(&[Logical::insert(id, if id % 2 == 0 { "even" } else { "odd" }, "big")]);
        h.commit();
    }
    h.finish_compaction();
    h.finish_compaction();
    let found = partitions(&h);
    assert!(found.values().all(|(files, rows)| *files < 10 && *rows == 20), "{found:?}");
    h.lose_state();
    h.send(&[Logical::update(7, "even", None), Logical::Delete(8)]);
    h.commit();
    assert_eq!((h.rows().len(), h.rows()[&7].clone()), (39, row(7, "even", "big").1));
}

#[test]
fn partitions_cannot_change() {
    let mut h = partitioned(Shape::Int, Mode::Mirror, "v");
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    for by in [None, Some("big")] {
        h.partition(by);
        let error = h.try_send(&[Logical::update(1, "b", Some("B"))]).unwrap_err();
        assert_eq!(error.code(), "partition_changed");
        assert!(error.table().is_some() && error.remedy().is_some());
    }
}

#[test]
fn what_cannot_be_a_partition_halts_its_table() {
    for (by, v, code) in [
        ("nothing", "a", "partition_column_missing"),
        ("id", "a", "partition_per_row"),
        ("v", "", "partition_value_empty"),
        ("v", "__HIVE_DEFAULT_PARTITION__", "partition_value_text"),
        ("v", "a\0b", "partition_value_text"),
        ("v", &"/".repeat(64), "partition_value_text"),
    ] {
        let mut h = partitioned(Shape::Int, Mode::Mirror, by);
        let error = h.try_send(&[Logical::insert(1, v, "A")]).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.table().is_some() && error.remedy().is_some());
    }
}
