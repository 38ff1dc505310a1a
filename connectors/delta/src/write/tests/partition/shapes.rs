//! Partitioned tables whose columns get wider types, or come with a value for the rows that are there: files stay in their
//! partitions, rows in their places.

use super::super::harness::{Harness, Logical, NULL, Shape, text};
use crate::encode::read::ColumnReader;
use crate::layout::{AddedDefaults, Mode, Widening};
use crate::log::LiveFile;
use crate::typemap::parse_schema_string;
use std::collections::BTreeMap;
use std::convert::Infallible;
use tidewire_core::cell::Tag;
use tidewire_core::{BatchBuilder, DataType, Missing, Sink as _};

const WAYS: [Widening; 2] = [Widening::Types, Widening::Rewrite];
/// Partitions of the tables, more than files may be open, and rows.
const MANY: i64 = 40;
const ROWS: i64 = 4 * MANY;

fn int(bits: u8) -> DataType {
    DataType::Int { bits }
}

fn partitioned(mode: Mode, by: &str) -> Harness {
    // By a part of the key there must be another one.
    let shape = if matches!(by, "kind" | "id") { Shape::Composite } else { Shape::Int };
    super::partitioned(shape, mode, by)
}

/// For each row its `v`, which is one of many values.
fn v(id: i64) -> String {
    format!("v{}", id % MANY)
}

/// Rows of so many partitions in two files of each, of which every seventh is deleted again.
fn fill(h: &mut Harness) {
    for ids in [0..ROWS / 2, ROWS / 2..ROWS] {
        h.send(&ids.map(|id| Logical::insert(id, &v(id), "big")).collect::<Vec<_>>());
        h.commit();
    }
    h.send(&(0..ROWS).filter(|id| id % 7 == 0).map(Logical::Delete).collect::<Vec<_>>());
    h.commit();
}

/// Every file lies in the folder of the partition that the log names, and has none of its columns.
pub(super) fn check_places(h: &Harness, what: &str) {
    let table = h.table().unwrap();
    let columns = parse_schema_string(table.schema_string()).unwrap();
    for file in table.files() {
        let folder = file
            .partition
            .iter()
            .map(|(name, value)| format!("{name}={}/", value.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__")))
            .collect::<String>();
        assert!(file.path.starts_with(&format!("{folder}part-")), "{what}: {}", file.path);
        let by = columns.iter().filter(|column| file.partition.contains_key(&**column.file_name())).collect::<Vec<_>>();
        assert_eq!(by.len(), 1, "{what}");
        let reader = ColumnReader::open(table.store(), &file.path, file.size, &by, None).unwrap();
        assert_eq!(reader.present(), [false], "{what}: {}", file.path);
    }
}

/// How many of the table's files are other than its columns: narrower, or without this one.
pub(in crate::write::tests) fn other_files(h: &Harness, name: &str) -> usize {
    let table = h.table().unwrap();
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let at = columns.iter().position(|column| &*column.name == name).unwrap();
    let columns = columns.iter().collect::<Vec<_>>();
    let is_other = |file: &&LiveFile| {
        let reader = ColumnReader::open(table.store(), &file.path, file.size, &columns, None).unwrap();
        !reader.is_as_declared() || !reader.present()[at]
    };
    table.files().filter(is_other).count()
}

/// The deleted rows of the files of each partition.
fn vectors(h: &Harness) -> BTreeMap<String, Vec<u32>> {
    let mut table = h.table().unwrap();
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for file in table.files().cloned().collect::<Vec<_>>() {
        let rows = table.deleted_rows(&file.path).unwrap().iter().collect::<Vec<_>>();
        found.entry(format!("{:?}", file.partition.values().next())).or_default().extend(rows);
    }
    found.values_mut().for_each(|rows| rows.sort_unstable());
    found
}

pub(in crate::write::tests) fn five() -> Missing {
    let five = BatchBuilder::constant(|builder| Ok::<_, Infallible>(builder.long(Tag::Text, b"five")));
    Missing::from(five.unwrap())
}

#[test]
fn new_columns_are_filled_in_every_partition() {
    for (mode, by, spill) in [
        (Mode::Mirror, "v", false),
        (Mode::Mirror, "v", true),
        (Mode::Mirror, "kind", true),
        (Mode::Mirror, "id", false),
        (Mode::History, "v", true),
        (Mode::History, "kind", false),
    ] {
        let what = format!("{mode:?} by {by}, spilled: {spill}");
        let mut h = partitioned(mode, by);
        h.added_defaults(AddedDefaults::Fill);
        fill(&mut h);
        let deleted = vectors(&h);
        assert!(by == "id" || deleted.values().any(|rows| !rows.is_empty()), "{what}");
        h.spill_always(spill);
        h.replay();
        // Of before, in files that no commit has named, and in memory: a row that is new, one that moves, one in no partition.
        h.send(&[
            Logical::insert(1000, "v1", "big"),
            Logical::update(1, "v9", None),
            Logical::insert(1001, NULL, "big"),
        ]);
        h.add_missing("c", DataType::Text, five());
        // What the log leaves out is the value of before.
        h.leave_out("c");
        h.send(&[Logical::update(2, "v3", Some("big")), Logical::update(1000, "v2", None), Logical::Delete(3)]);
        h.commit();
        let mut expected: BTreeMap<i64, Option<String>> =
            (0..ROWS).filter(|id| id % 7 != 0 && *id != 3).map(|id| (id, Some(text("five")))).collect();
        expected.extend([1000, 1001].map(|id| (id, Some(text("five")))));
        assert_eq!(h.current_texts("c"), expected, "{what}");
        assert_eq!(other_files(&h, "c"), 0, "{what}");
        check_places(&h, &what);
        // The vectors of before are those of the copies.
        let now = vectors(&h);
        let has = |partition: &String, rows: &[u32]| {
            let now = now.get(partition).map_or(&[][..], Vec::as_slice);
            rows.iter().all(|row| now.contains(row))
        };
        // What was left of this one's file has moved.
        let stays = |partition: &String| !partition.contains("\"v2\"");
        let mut before = deleted.iter().filter(|(partition, _)| stays(partition));
        assert!(before.all(|(partition, rows)| has(partition, rows)), "{what}: {deleted:?} {now:?}");
        let by_kernel = h.rows_by_kernel(&["id", "v", "c"]);
        let is_filled = |row: &Vec<Option<String>>| row[2].as_deref() == Some("five");
        let filled = by_kernel.iter().filter(|row| is_filled(row)).count();
        match mode {
            Mode::Mirror => assert_eq!((filled, by_kernel.len()), (expected.len(), expected.len()), "{what}"),
            // Versions that were the row when the column came, and have ended since, have it too.
            _ => assert_eq!(filled, expected.len() + 3, "{what}"),
        }
        // From its files, by an index that is built anew.
        h.lose_state();
        h.leave_out("none");
        h.send(&[Logical::Minimal { id: 4, v: text("v5") }, Logical::Delete(5), Logical::update(6, "v7", None)]);
        h.commit();
        expected.remove(&5);
        // What the harness's log has in such a column is `x`.
        expected.insert(6, Some(text("x")));
        assert_eq!(h.current_texts("c"), expected, "{what}");
        assert_eq!(h.current_texts("v")[&4], Some(text("v5")), "{what}");
        check_places(&h, &what);
    }
}

#[test]
fn types_grow_within_their_partitions() {
    // The partition's column itself, one of the key, one that grows with the key, and another one.
    let all =
        WAYS.map(|way| [("n", false), ("n", true), ("id", true), ("kind", false), ("v", true)].map(|by| (way, by)));
    let cases = all.into_iter().flatten().map(|case| (Mode::Mirror, case));
    let others = [Mode::Changelog, Mode::History].map(|mode| WAYS.map(|way| (mode, (way, ("n", true)))));
    for (mode, (widening, (by, spill))) in cases.chain(others.into_iter().flatten()) {
        let what = format!("{mode:?} {widening:?} by {by}, spilled: {spill}");
        let mut h = partitioned(mode, by);
        h.widen(widening);
        h.type_column("id", int(32));
        h.type_column("n", int(16));
        h.type_column("m", int(16));
        fill(&mut h);
        h.spill_always(spill);
        h.replay();
        h.send(&[Logical::insert(1000, "v1", "big"), Logical::update(1, "v9", None)]);
        for name in ["id", "n", "m"] {
            h.type_column(name, int(64));
        }
        h.send(&[Logical::update(1000, "v2", None), Logical::insert(1 << 40, "v1", "big"), Logical::Delete(3)]);
        h.commit();
        check_places(&h, &what);
        assert_eq!(other_files(&h, "m") > 0, widening == Widening::Types, "{what}");
        let has_told = h.table().unwrap().schema_string().contains("delta.typeChanges");
        assert_eq!(has_told, widening == Widening::Types, "{what}");
        h.lose_state();
        h.send(&[Logical::Minimal { id: 2, v: text("v5") }, Logical::Delete(4), Logical::update(5, "v7", None)]);
        h.commit();
        let gone = |id: &i64| id % 7 == 0 || matches!(id, 3 | 4);
        let ids = (0..ROWS).filter(|id| !gone(id)).chain([1000, 1 << 40]);
        let expected = ids.map(|id| (id, id)).collect::<BTreeMap<_, _>>();
        // The log does not carry them of rows that are deleted.
        if mode == Mode::Mirror {
            for name in ["n", "m"] {
                assert_eq!(h.longs_by_id(name), expected, "{what}");
            }
        }
        let rows = h.rows_by_kernel(&["id", "n", "m"]);
        if mode == Mode::Mirror {
            let as_text = |id: &i64| vec![Some(id.to_string()); 3];
            let mut expected = expected.keys().map(as_text).collect::<Vec<_>>();
            expected.sort();
            assert_eq!(rows, expected, "{what}");
        }
        let is_right = |row: &Vec<Option<String>>| row.iter().flatten().all(|value| Some(value) == row[0].as_ref());
        assert!(rows.iter().all(is_right), "{what}: {rows:?}");
        check_places(&h, &what);
    }
}

#[test]
fn copies_that_changes_came_before_are_not_taken() {
    for widening in WAYS {
        let mut h = partitioned(Mode::Mirror, "v");
        h.widen(widening);
        h.added_defaults(AddedDefaults::Fill);
        h.type_column("n", int(16));
        h.compact_always();
        for id in 0..40 {
            h.send(&[Logical::insert(id, if id % 2 == 0 { "even" } else { "odd" }, "big")]);
            h.commit_tables_only();
        }
        h.sink().maintain().unwrap();
        h.type_column("n", int(64));
        h.add_missing("c", DataType::Text, five());
        h.send(&[Logical::Delete(5), Logical::update(6, "odd", None)]);
        h.commit();
        h.finish_compaction();
        let expected = (0..40).filter(|id| *id != 5).map(|id| (id, id)).collect::<BTreeMap<_, _>>();
        assert_eq!(h.longs_by_id("n"), expected, "{widening:?}");
        let filled = h.texts("c").into_iter().filter(|value| value.as_deref() == Some("five")).count();
        assert_eq!(filled, 38, "{widening:?}");
        check_places(&h, &format!("{widening:?}"));
    }
}

#[test]
fn a_partitions_column_that_can_be_one_no_more_halts_its_table() {
    let decimal = |precision, scale| DataType::Decimal { precision: Some(precision), scale: Some(scale) };
    for widening in [Widening::Halt, Widening::Types, Widening::Rewrite] {
        for wider in [DataType::Float64, decimal(12, 2)] {
            let mut h = partitioned(Mode::Mirror, "n");
            h.widen(widening);
            h.type_column("n", int(16));
            h.send(&[Logical::insert(1, "a", "A")]);
            h.commit();
            h.type_column("n", wider.clone());
            let error = h.try_send(&[Logical::Delete(1)]).unwrap_err();
            assert_eq!(error.code(), "partition_column_type", "{widening:?} {wider:?}");
            let remedy = error.remedy().unwrap();
            assert!(error.table().is_some() && remedy.contains("partition_by"), "{remedy}");
            // The same at a start, when nothing is in memory.
            h.crash();
            let error = h.try_send(&[Logical::Delete(1)]).unwrap_err();
            assert_eq!(error.code(), "partition_column_type", "{widening:?} {wider:?}");
        }
    }
}
