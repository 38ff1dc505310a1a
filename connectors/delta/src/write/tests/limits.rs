//! A transaction over many tables: what is open or waits for it stays bounded, and all of it is shown.

use super::harness::{Harness, Logical, Shape, row};
use crate::ambient::{self, Limit, Own};
use crate::layout::Mode;
use crate::write::table::TableWriter;
use std::time::Duration;
use tidewire_core::Sink;

fn sum(h: &mut Harness, of: impl Fn(&TableWriter) -> usize) -> usize {
    h.sink().tables.values().map(of).sum()
}

#[test]
fn files_that_are_open_at_once_are_bounded() {
    let mut h = Harness::new(Shape::Int);
    h.spill_always(true);
    let limit = h.sink().limits.files;
    for table in 0..=limit {
        h.turn_to(&format!("t{table}"));
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    }
    assert_eq!(sum(&mut h, |table| usize::from(table.open_file_bytes().is_some())), limit);
    // Whether their files are closed or not, the tables are written on, with values that lie in those files.
    h.sink().limits.files = 2;
    let touched = ["t0", "t1", "t2", "t3", "t4"];
    for table in touched {
        h.turn_to(table);
        h.send(&[Logical::update(1, "a2", None), Logical::Delete(2)]);
        assert!(sum(&mut h, |table| usize::from(table.open_file_bytes().is_some())) <= 2);
    }
    h.sink().tables.retain(|name, _| touched.contains(&&*name.table));
    h.commit();
    for table in touched {
        h.turn_to(table);
        assert_eq!(h.rows(), [row(1, "a2", "A")].into());
    }
}

/// A text that compression leaves long.
fn noise() -> String {
    (0..1_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect()
}

#[test]
fn what_waits_for_an_upload_is_bounded() {
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.move_to_bucket();
        h.spill_always(true);
        let sink = h.sink();
        (sink.limits.row_groups_bytes, sink.limits.uploads_bytes) = (0, 64 << 10);
        let tables = ["a", "b", "c", "d"];
        for id in 0..8 {
            for table in tables {
                h.turn_to(table);
                h.send(&[Logical::insert(id, "v", &noise())]);
                let waiting = sum(&mut h, TableWriter::upload_bytes);
                assert!(waiting <= 64 << 10, "{waiting} bytes wait");
            }
        }
        h.commit();
        for table in tables {
            h.turn_to(table);
            assert_eq!(h.physical_rows(), 8, "{mode:?}");
            assert!(h.table().unwrap().files().count() > 1);
        }
    }
}

#[test]
fn a_file_that_fits_the_limits_goes_on() {
    let mut h = Harness::with_mode(Shape::Int, Mode::Changelog);
    h.move_to_bucket();
    h.spill_always(true);
    for id in 0..8 {
        h.send(&[Logical::insert(id, "v", "big")]);
    }
    h.commit();
    assert_eq!(h.table().unwrap().files().count(), 1);
}

#[test]
fn tables_have_house_keeping_in_turn() {
    let limits = [(Limit::CheckpointEntries, 1), (Limit::KeptTables, 2)].into();
    ambient::take(Own { limits, ..Own::default() });
    let mut h = Harness::new(Shape::Int);
    let tables = ["t", "u", "v", "w", "x"];
    for table in tables {
        if table != "t" {
            h.turn_to(table);
        }
        h.send(&[Logical::insert(1, "a", "A")]);
    }
    let folder = h.table_directory().parent().unwrap().to_owned();
    let has_checkpoint = |table: &&str| {
        let log = std::fs::read_dir(folder.join(table).join("_delta_log")).unwrap();
        log.into_iter().any(|entry| entry.unwrap().file_name().to_str().unwrap().contains(".checkpoint"))
    };
    let has_more = |h: &mut Harness| h.sink().maintain().unwrap() == Some(Duration::ZERO);
    let kept = || tables.iter().copied().filter(has_checkpoint).collect::<String>();
    h.try_commit().unwrap();
    for (more, expect) in [(true, "tu"), (true, "tuvw"), (false, "tuvwx")] {
        assert_eq!((has_more(&mut h), kept()), (more, expect.to_owned()));
    }
    // Those that are due again at once wait for the others.
    for (id, changed, waiting) in [(2, &["t", "u", "v"][..], "v"), (3, &["t", "u"], "u")] {
        for table in changed {
            h.turn_to(table);
            h.send(&[Logical::insert(id, "b", "B")]);
        }
        h.try_commit().unwrap();
        assert!(has_more(&mut h));
        let left = h.sink().tables.iter().filter(|(_, table)| table.is_maintenance_due());
        assert_eq!(left.map(|(name, _)| &*name.table).collect::<String>(), waiting);
    }
}
