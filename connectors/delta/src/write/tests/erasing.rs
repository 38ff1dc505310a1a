//! `purge`: what is left of deleted rows in storage, and what the sink makes of its tables afterwards.

use super::harness::{Harness, Logical, Shape, row};
use crate::layout::Mode;
use tidewire_core::sink::PurgeRequest;

/// A table of three files with ten rows each; rows 1, 11 and 12 are deleted.
fn filled(shape: Shape) -> Harness {
    let mut h = Harness::new(shape);
    h.snapshot_start();
    h.snapshot_end();
    for file in 0..3 {
        h.send(&(file * 10..file * 10 + 10).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        h.commit();
    }
    h.send(&[Logical::Delete(1), Logical::Delete(11), Logical::Delete(12)]);
    h.commit();
    h
}

fn request(table: Option<&str>, key: Option<&str>, now: bool) -> PurgeRequest {
    PurgeRequest { table: table.map(str::to_owned), key: key.map(str::to_owned), now }
}

fn vectors(h: &Harness) -> usize {
    h.table().unwrap().files().filter(|file| file.deletion_vector.is_some()).count()
}

#[test]
fn all_deleted_rows_leave_the_files() {
    for (now, on_disk) in [(false, 4), (true, 2)] {
        let mut h = filled(Shape::Int);
        let (done, lines) = h.purge(&request(None, None, now)).unwrap();
        assert!(done && lines[0].contains("2 files with deleted rows rewritten (1 files"), "{lines:?}");
        assert_eq!(lines.len(), if now { 1 } else { 2 }, "what stays for older versions is told: {lines:?}");
        assert_eq!((vectors(&h), h.rows().len(), h.data_files_on_disk()), (0, 27, on_disk));
        // The sink goes on, and its index finds rows where they are now.
        h.send(&[Logical::update(2, "b", None), Logical::Delete(13), Logical::insert(1, "n", "N")]);
        h.commit();
        assert_eq!((h.rows().len(), h.rows().get(&2)), (27, Some(&row(2, "b", "A").1)));
        // Once more finds the rest, and then nothing.
        assert!(h.purge(&request(None, None, now)).unwrap().1[0].contains(": 1 files"));
        assert!(h.purge(&request(None, None, now)).unwrap().1[0].contains(": 0 files"));
    }
}

#[test]
fn a_key_is_proved_to_be_gone() {
    for (shape, key) in [(Shape::Int, "11"), (Shape::Composite, r#"["even", 11]"#)] {
        let mut h = filled(shape);
        let table = Some("public.t");
        let (done, lines) = h.purge(&request(table, Some(key), false)).unwrap();
        assert!(!done && lines[0].contains(": 1 files") && lines[1].contains("older versions"), "{lines:?}");
        assert_eq!(vectors(&h), 1, "the other file is left as it is");
        let (done, lines) = h.purge(&request(table, Some(key), true)).unwrap();
        assert!(done && lines[1].contains("no file holds the key"), "{lines:?}");
        assert!(!lines.concat().contains("even"), "values of rows are not told");
        assert_eq!(h.rows().len(), 27);
        // A row that is there is no matter of a purge, and is told.
        let there = key.replace("11", "3");
        let (done, lines) = h.purge(&request(table, Some(&there), true)).unwrap();
        assert!(!done && lines[1].contains("not deleted"), "{lines:?}");
        // Nor is a file that nobody names.
        let path = h.table_directory();
        for file in h.table().unwrap().files() {
            std::fs::copy(path.join(&file.path), path.join(format!("part-copy-{}", file.path))).unwrap();
        }
        let (done, lines) = h.purge(&request(table, Some(&there), true)).unwrap();
        assert!(!done && lines.iter().any(|line| line.contains("the log does not name")), "{lines:?}");
    }
}

/// Old rows are in files of changes too, and in a partitioned table files lie in folders.
#[test]
fn files_of_changes_and_of_partitions_go_at_once() {
    for (now, told) in [(false, ", 0 removed files deleted"), (true, ", 2 removed files deleted")] {
        let mut h = Harness::new(Shape::Int);
        h.feed_changes(true);
        h.partition(Some("v"));
        h.snapshot_start();
        h.snapshot_end();
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "a", "B")]);
        h.commit();
        h.send(&[Logical::Delete(1)]);
        h.commit();
        let changes = h.change_files();
        assert_eq!(changes.len(), 1);
        let (done, lines) = h.purge(&request(None, None, now)).unwrap();
        assert!(done && lines[0].contains(": 1 files") && lines[0].ends_with(told), "{lines:?}");
        assert_eq!(h.table_directory().join(&changes[0].0).exists(), !now);
        assert_eq!(h.rows(), [row(2, "a", "B")].into());
    }
}

#[test]
fn what_cannot_be_purged_is_refused() {
    let mut h = filled(Shape::Int);
    for (table, key, code) in [("public.nosuch", None, "purge_table"), ("public.t", Some("x"), "purge_key")] {
        assert_eq!(h.purge(&request(Some(table), key, false)).unwrap_err().code(), code);
    }
    let mut h = Harness::with_mode(Shape::Int, Mode::Changelog);
    h.snapshot_start();
    h.snapshot_end();
    h.send(&[Logical::insert(1, "a", "A"), Logical::Delete(1)]);
    h.commit();
    let (done, lines) = h.purge(&request(None, None, true)).unwrap();
    assert!(done && lines[0].contains("changelog"), "{lines:?}");
}
