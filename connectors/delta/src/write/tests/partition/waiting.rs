//! Rows of many partitions in no order: they wait for others of their partition, within a memory that is bounded, and so
//! make few files.

use super::*;
use crate::ambient::{self, Limit, Own};

/// Rows of all partitions come with each transaction of one commit.
fn sent(held_bytes: u64, partitions: i64, transactions: i64) -> Harness {
    ambient::take(Own { limits: [(Limit::HeldBytes, held_bytes)].into(), ..Own::default() });
    let mut h = partitioned(Shape::Int, Mode::Mirror, "v");
    h.spill_always(true);
    for transaction in 0..transactions {
        let id = |partition| transaction * partitions + partition;
        let rows = (0..partitions).map(|at| Logical::insert(id(at), &format!("v{at}"), &"big".repeat(40)));
        h.send(&rows.collect::<Vec<_>>());
        let table = h.sink().tables.values().next().unwrap();
        assert!(table.held_bytes() as u64 <= held_bytes, "{} bytes wait", table.held_bytes());
        assert!(table.open_files() <= 128, "{} files", table.open_files());
    }
    h
}

#[test]
fn rows_in_no_order_make_few_files() {
    for (held_bytes, partitions, files_max) in
        [(1 << 20, 200, 200), (1 << 17, 200, 600), (0, 100, 100), (0, 200, 1_000)]
    {
        let mut h = sent(held_bytes, partitions, 10);
        h.commit();
        assert_eq!(h.rows().len() as i64, partitions * 10);
        let found = super::partitions(&h);
        assert_eq!(found.len() as i64, partitions);
        assert!(found.values().all(|(_, rows)| *rows == 10), "{found:?}");
        let files = found.values().map(|(files, _)| files).sum::<usize>();
        assert!(files <= files_max, "{files} files with {held_bytes} bytes");
    }
}

/// PG-30: what the log does not carry is read from a row that waits, and only that one's file ends for it.
#[test]
fn a_row_that_waits_can_be_read() {
    let mut h = sent(1 << 20, 20, 3);
    h.send(&[Logical::update(7, "v7", None), Logical::update(28, "v1", None), Logical::Delete(40), Logical::Delete(3)]);
    h.commit();
    let (big, rows) = ("big".repeat(40), h.rows());
    assert_eq!(rows.len(), 58);
    assert_eq!((&rows[&7], &rows[&28]), (&row(7, "v7", &big).1, &row(28, "v1", &big).1));
    let files = super::partitions(&h).into_iter().filter(|(_, (files, _))| *files > 1);
    // What `v8` had of row 28 went to `v1`.
    assert_eq!(files.collect::<Vec<_>>(), [(text("v7"), (2, 3))]);
}
