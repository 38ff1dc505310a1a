//! Rows of many partitions in no order: they wait for others of their partition, within a memory that is bounded, and so
//! make few files.

use super::*;
use crate::ambient::{self, Limit, Own};

/// What may wait, in memory and on disk, and what is worth a file there, in bytes.
type Limits = [u64; 3];

/// Rows of all partitions come with each transaction of one commit.
fn sent([held, spilled, worth]: Limits, partitions: i64, transactions: i64) -> Harness {
    let limits = [(Limit::HeldBytes, held), (Limit::SpilledBytes, spilled), (Limit::SpilledFileBytes, worth)];
    ambient::take(Own { limits: limits.into(), ..Own::default() });
    let mut h = partitioned(Shape::Int, Mode::Mirror, "v");
    h.spill_always(true);
    for transaction in 0..transactions {
        let id = |partition| transaction * partitions + partition;
        let rows = (0..partitions).map(|at| Logical::insert(id(at), &format!("v{at}"), &"big".repeat(40)));
        h.send(&rows.collect::<Vec<_>>());
        let table = h.sink().tables.values().next().unwrap();
        assert!(table.held_bytes() as u64 <= held, "{} bytes wait", table.held_bytes());
        assert!(table.open_files() <= 128, "{} files", table.open_files());
    }
    h
}

#[test]
fn rows_in_no_order_make_few_files() {
    for (limits, partitions, files) in [
        // In memory, and with an open file for each partition.
        ([4 << 20, 0, 0], 200, 200..=200),
        ([0, 0, 0], 100, 100..=100),
        // On disk.
        ([1 << 17, 64 << 20, 64 << 20], 200, 200..=200),
        ([0, 64 << 20, 64 << 20], 200, 200..=200),
        ([0, 64 << 20, 20_000], 200, 400..=1_000),
        ([0, 8 << 20, 64 << 20], 200, 210..=600),
        // With next to no place there.
        ([1 << 17, 0, 1 << 20], 200, 201..=1_000),
    ] {
        let mut h = sent(limits, partitions, 10);
        h.commit();
        assert_eq!(h.rows().len() as i64, partitions * 10);
        let found = super::partitions(&h);
        assert_eq!(found.len() as i64, partitions);
        assert!(found.values().all(|(_, rows)| *rows == 10), "{found:?}");
        let count = found.values().map(|(files, _)| files).sum::<usize>();
        assert!(files.contains(&count), "{count} files with {limits:?}");
    }
}

/// PG-30: what the log does not carry is read from a row that waits, and only that one's file ends for it.
#[test]
fn a_row_that_waits_can_be_read() {
    let mut h = sent([1 << 20, 0, 0], 20, 3);
    h.send(&[Logical::update(7, "v7", None), Logical::update(28, "v1", None), Logical::Delete(40), Logical::Delete(3)]);
    h.commit();
    let (big, rows) = ("big".repeat(40), h.rows());
    assert_eq!(rows.len(), 58);
    assert_eq!((&rows[&7], &rows[&28]), (&row(7, "v7", &big).1, &row(28, "v1", &big).1));
    let files = super::partitions(&h).into_iter().filter(|(_, (files, _))| *files > 1);
    // What `v8` had of row 28 went to `v1`.
    assert_eq!(files.collect::<Vec<_>>(), [(text("v7"), (2, 3))]);
}

/// PG-30: so is one that waits on disk; rows of a commit that does not come are forgotten.
#[test]
fn a_row_that_waits_on_disk_can_be_read() {
    let mut h = sent([0, 64 << 20, 64 << 20], 150, 3);
    h.send(&[Logical::update(7, "v7", None), Logical::update(160, "v1", None), Logical::Delete(303)]);
    h.crash();
    h.replay();
    h.commit();
    let (big, rows) = ("big".repeat(40), h.rows());
    assert_eq!(rows.len(), 449);
    assert_eq!((&rows[&7], &rows[&160]), (&row(7, "v7", &big).1, &row(160, "v1", &big).1));
}
