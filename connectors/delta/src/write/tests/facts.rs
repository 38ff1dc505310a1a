//! What the key index knows of a file stays known for as long as the file is there, over starts and merges (SK-33).

use super::harness::{Harness, Logical, Shape, row};
use std::time::{Duration, Instant};
use tidewire_core::Sink;

/// Runs of the table's index. Four of them are merged.
fn runs(h: &mut Harness) -> u64 {
    h.sink().tables.values().map(|table| table.index_sizes().0).sum()
}

/// Waits until they have been merged, with no commit that would have it go on.
fn merge(h: &mut Harness) {
    let end = Instant::now() + Duration::from_secs(60);
    while runs(h) >= 4 {
        assert!(Instant::now() < end, "runs of a table at rest are not merged");
        h.sink().maintain().unwrap();
        std::thread::yield_now();
    }
}

#[test]
fn keys_of_the_first_file_are_found_after_a_start_and_a_merge() {
    let mut h = Harness::new(Shape::Int);
    // Each commit makes a run.
    h.sink().limits.index_bytes = 0;
    for id in 1..=4 {
        h.send(&[Logical::insert(id, "old", "x")]);
        h.commit();
    }
    h.crash();
    h.sink().limits.index_bytes = 0;
    for id in 5..=9 {
        h.send(&[Logical::insert(id, "old", "x")]);
        h.commit();
    }
    merge(&mut h);
    h.send(&[Logical::update(1, "new", Some("y")), Logical::Delete(2)]);
    h.commit();
    let mut rows = (3..=9).map(|id| row(id, "old", "x")).collect::<Vec<_>>();
    rows.push(row(1, "new", "y"));
    assert_eq!(h.rows(), rows.into_iter().collect());
    assert_eq!(h.physical_rows(), 8);
}

#[test]
fn runs_are_merged_while_a_table_rests() {
    let mut h = Harness::new(Shape::Int);
    h.sink().limits.index_bytes = 0;
    // The commit that makes the fourth run begins the merge, and none follows that would take it over.
    let mut ids = 1..=20;
    while runs(&mut h) < 4 {
        h.send(&[Logical::insert(ids.next().unwrap(), "v", "x")]);
        h.try_commit().unwrap();
    }
    merge(&mut h);
    assert_eq!(h.rows().len() as i64, ids.next().unwrap() - 1);
}
