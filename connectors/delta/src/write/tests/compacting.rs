//! Rewriting data files between commits: what it leaves behind, and that changes which come meanwhile are kept.

use super::harness::{Harness, Logical, Shape, row, text};
use crate::config::{Budget, Retention};
use crate::layout::Mode;
use std::collections::BTreeMap;
use tidewire_core::Sink;

/// A table of `rows` rows in so many files.
fn filled(mut h: Harness, files: i64, rows: i64) -> Harness {
    compact_small_files(&mut h);
    fill(&mut h, files, rows);
    h
}

fn compact_small_files(h: &mut Harness) {
    // Only small files are rewritten, so that each test knows when.
    h.compact_by(Budget {
        target_bytes: 1 << 20,
        deleted_percent: 90,
        deleted_age: None,
        bytes_per_second: None,
        vector_files: 1_000,
        vector_bytes: 1 << 20,
    });
}

fn fill(h: &mut Harness, files: i64, rows: i64) {
    for file in 0..files {
        let rows = (file * rows..(file + 1) * rows).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>();
        h.send(&rows);
        h.commit_tables_only();
    }
}

#[test]
fn many_small_files_become_one() {
    let mut h = filled(Harness::new(Shape::Int), 16, 3);
    h.finish_compaction();
    assert_eq!((h.table().unwrap().files().count(), h.rows().len()), (1, 48));
    // Its rows are found again, also by an index that is made anew.
    for lose in [false, true] {
        if lose {
            h.lose_state();
        }
        h.send(&[Logical::update(7, "b", None), Logical::Delete(9), Logical::insert(100, "c", "C")]);
        h.send(&[Logical::Delete(100), Logical::insert(9, "n", "N")]);
        h.commit();
        assert_eq!((h.rows().len(), &h.rows()[&7]), (48, &(text("b"), text("A"))));
    }
}

/// A lake of many tables must not wait for a commit for each of them.
#[test]
fn small_files_of_many_tables_are_merged_between_two_commits() {
    let mut h = Harness::new(Shape::Int);
    compact_small_files(&mut h);
    let tables: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    for table in &tables {
        h.turn_to(table);
        fill(&mut h, 16, 2);
    }
    h.sink().maintain().unwrap();
    assert_eq!(h.sink().tables.values().filter(|table| table.is_compacting()).count(), tables.len());
    h.finish_compaction();
    for table in &tables {
        h.turn_to(table);
        assert_eq!((h.table().unwrap().files().count(), h.rows().len()), (1, 32), "{table}");
    }
}

#[test]
fn sk_35_changes_that_come_meanwhile_are_kept() {
    let mut h = filled(Harness::new(Shape::Composite), 16, 3);
    h.sink().maintain().unwrap();
    // The copies are there and not shown; now their rows change.
    h.wait_for_copies();
    let mut rows: BTreeMap<_, _> = (0..48).map(|id| row(id, "a", "A")).collect();
    h.send(&[
        Logical::update(0, "b", None),
        Logical::Update { old: Some(5), id: 50, v: text("m"), big: None },
        Logical::Delete(11),
        Logical::Delete(47),
    ]);
    h.send(&[Logical::update(0, "c", None), Logical::insert(11, "again", "AGAIN")]);
    for id in [5, 47] {
        rows.remove(&id);
    }
    rows.extend([row(0, "c", "A"), row(50, "m", "A"), row(11, "again", "AGAIN")]);
    h.commit();
    assert_eq!(h.rows(), rows);
    // The copy took the place of the 16 files, with the rows deleted that were deleted meanwhile.
    let table = h.table().unwrap();
    let copies = table.files().filter(|file| file.num_records == 48).collect::<Vec<_>>();
    assert_eq!((copies.len(), copies[0].deletion_vector.as_ref().map(|vector| vector.cardinality)), (1, Some(4)));
    h.send(&[Logical::Delete(50), Logical::Delete(0), Logical::update(11, "last", None)]);
    h.commit();
    h.finish_compaction();
    for id in [50, 0] {
        rows.remove(&id);
    }
    rows.extend([row(11, "last", "AGAIN")]);
    assert_eq!(h.rows(), rows);
}

#[test]
fn a_table_that_is_emptied_meanwhile_stays_empty() {
    let mut h = filled(Harness::new(Shape::Int), 16, 3);
    h.sink().maintain().unwrap();
    h.wait_for_copies();
    h.send(&[Logical::Truncate, Logical::insert(1, "new", "NEW")]);
    h.commit();
    h.finish_compaction();
    assert_eq!(h.rows(), [row(1, "new", "NEW")].into());
    // The copies are gone: one file is live, and no other but the removed ones lies there.
    assert_eq!(h.data_files_on_disk(), 16 + 1);
}

#[test]
fn rows_from_before_a_column_stay_without_it() {
    let mut h = filled(Harness::new(Shape::Int), 8, 2);
    h.add_column("late");
    for id in 100..108 {
        h.send(&[Logical::insert(id, "a", "A")]);
        h.commit_tables_only();
    }
    h.finish_compaction();
    // One copy for each set of columns: in the older one no value says that there never was one.
    assert_eq!(h.table().unwrap().files().count(), 2);
    assert_eq!(h.rows().len(), 24);
}

/// Whatever the order of their sizes, in which they are taken up; and what cannot be merged is not tried again and again.
#[test]
fn files_with_the_same_columns_are_merged_together() {
    let mut h = Harness::new(Shape::Int);
    compact_small_files(&mut h);
    let insert = |h: &mut Harness, id: i64| {
        // Numbers that no codec makes shorter.
        let text: String =
            (0..5 * (id % 40)).map(|n| format!("{:x}", (n + id) * 2_654_435_761 % 4_294_967_291)).collect();
        h.send(&[Logical::insert(id, &text, "A")]);
        h.commit_tables_only();
    };
    (0..40).step_by(2).for_each(|id| insert(&mut h, id));
    h.add_column("late");
    (1..40).step_by(2).for_each(|id| insert(&mut h, id));
    h.finish_compaction();
    assert_eq!((h.table().unwrap().files().count(), h.rows().len()), (2, 40));
    // As many as there are sets of columns, each in a file of its own.
    for number in 0..20 {
        h.add_column(&format!("later{number}"));
        insert(&mut h, 100 + number);
    }
    let mut commits = Vec::new();
    for id in 200..215 {
        h.finish_compaction();
        commits.push(h.table().unwrap().version());
        insert(&mut h, id);
    }
    let rewritten = commits.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
    assert!(rewritten <= 1, "{commits:?}");
    assert_eq!(h.rows().len(), 75);
}

#[test]
fn a_changelog_is_rewritten_too() {
    let mut h = filled(Harness::with_mode(Shape::Int, Mode::Changelog), 17, 3);
    h.finish_compaction();
    assert_eq!((h.table().unwrap().files().count(), h.physical_rows()), (1, 51));
}

#[test]
fn a_file_whose_rows_are_all_gone_is_only_removed() {
    let mut h = filled(Harness::new(Shape::Int), 16, 1);
    h.sink().maintain().unwrap();
    h.wait_for_copies();
    h.send(&(0..16).map(Logical::Delete).collect::<Vec<_>>());
    h.commit();
    h.finish_compaction();
    assert_eq!((h.table().unwrap().files().count(), h.rows().len()), (0, 0));
    h.send(&[Logical::insert(3, "x", "X")]);
    h.commit();
    assert_eq!(h.rows(), [row(3, "x", "X")].into());
}

#[test]
fn sk_32_an_index_that_was_written_amid_changes_finds_what_stood_before() {
    for change in [Logical::update(1, "b", None), Logical::Delete(1)] {
        let mut h = Harness::new(Shape::Int);
        h.compact_always();
        h.sink().limits.index_bytes = usize::MAX;
        h.send(&(0..6).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        h.commit_tables_only();
        // The index is written with these changes in it, and the daemon ends before they are committed.
        h.send(&[change]);
        h.sink().limits.index_bytes = 0;
        h.send(&[Logical::insert(9, "a", "A")]);
        h.send(&[Logical::insert(10, "a", "A")]);
        h.crash();
        h.replay();
        h.send(&[Logical::insert(1, "c", "C")]);
        h.commit();
        assert_eq!((h.rows().len(), &h.rows()[&1]), (8, &(text("c"), text("C"))));
    }
}

/// A table that is there takes what the sink is set to with its next change, and keeps it when the setting is gone.
#[test]
fn a_table_declares_how_long_its_files_stay() {
    let mut h = Harness::new(Shape::Int);
    let mut id = 0;
    for (files, log, expect) in [
        (None, None, ["interval 24 hours", "interval 168 hours"]),
        (Some(90), None, ["interval 90 seconds", "interval 168 hours"]),
        (Some(7_200), Some(24 * 3_600), ["interval 2 hours", "interval 24 hours"]),
        (None, None, ["interval 2 hours", "interval 24 hours"]),
    ] {
        h.retain(Retention::of_seconds(files, log));
        h.replay();
        id += 1;
        h.send(&[Logical::insert(id, "a", "A")]);
        h.commit();
        let table = h.table().unwrap();
        let names = ["delta.deletedFileRetentionDuration", "delta.logRetentionDuration"];
        assert_eq!(names.map(|name| table.configuration()[name].as_str()), expect);
    }
}
