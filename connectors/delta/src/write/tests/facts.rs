//! What the key index knows of a file stays known for as long as the file is there, over starts and merges (SK-33).

use super::harness::{Harness, Logical, Shape, row};
use crate::write::table::Rows;

/// Waits until runs of the table's index have been merged: four of them are.
fn merge(h: &mut Harness) {
    let table = h.sink().tables.values_mut().next().unwrap();
    let Rows::Mirror(mirror) = &mut table.rows else { panic!("a mirror has an index") };
    while mirror.index_sizes().0 >= 4 {
        mirror.committed(&table.parts).unwrap();
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
