//! What the key index knows of a file stays known for as long as the file is there, over starts and merges (SK-33).

use super::harness::{Harness, Logical, Shape, row};
use crate::write::table::TableWriter;
use std::time::{Duration, Instant};
use tidewire_core::Sink;

/// Waits until runs of the table's index have been merged, four of which are, with no commit that would have it go on.
fn merge(h: &mut Harness) {
    let end = Instant::now() + Duration::from_secs(60);
    while h.sink().tables.values().map(TableWriter::index_sizes).any(|(runs, ..)| runs >= 4) {
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
