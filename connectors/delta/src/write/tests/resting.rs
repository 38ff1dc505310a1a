//! Deleted rows leave the data files of a table that rests, and of any table after a time, restarts or not.

use super::harness::{Harness, Logical, Shape, row, text};
use crate::ambient::{self, Limit, Own};
use crate::config::Budget;
use crate::layout::Mode;
use tidewire_core::Sink;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A clock of the test's own; the process's again when it is dropped.
struct Clock;

impl Clock {
    fn start() -> Clock {
        ambient::take(Own { clock: Some(ambient::now_millis()), ..Own::default() });
        Clock
    }

    fn wait(&self, millis: i64) {
        let own = ambient::take(Own::default());
        ambient::take(Own { clock: own.clock.map(|clock| clock + millis), ..own });
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        ambient::take(Own::default());
    }
}

/// A table of three files with ten rows each, of which nothing is to be rewritten but for rest or age.
fn filled(mode: Mode, deleted_age: Option<i64>) -> Harness {
    let mut h = Harness::with_mode(Shape::Int, mode);
    let never = Budget {
        target_bytes: 1 << 20,
        deleted_percent: 90,
        deleted_age,
        bytes_per_second: None,
        vector_files: 1_000,
        vector_bytes: 1 << 20,
    };
    h.compact_by(never);
    h.snapshot_start();
    h.snapshot_end();
    for file in 0..3 {
        h.send(&(file * 10..file * 10 + 10).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        h.commit();
    }
    h
}

fn vectors(h: &Harness) -> usize {
    h.table().unwrap().files().filter(|file| file.deletion_vector.is_some()).count()
}

#[test]
fn a_table_that_rests_is_freed_of_deleted_rows() {
    let clock = Clock::start();
    for mode in [Mode::Mirror, Mode::History] {
        let mut h = filled(mode, None);
        h.send(&[Logical::Delete(1), Logical::update(2, "b", None), Logical::Delete(11)]);
        h.commit();
        h.sink().maintain().unwrap();
        clock.wait(MINUTE - 5_000);
        // Whoever is asked before the time says when it will be.
        let again = h.sink().maintain().unwrap().unwrap();
        assert!((1..=5).contains(&again.as_secs()) && vectors(&h) == 2, "{mode:?} {again:?}");
        clock.wait(5_000);
        h.finish_compaction();
        assert_eq!(vectors(&h), 0, "{mode:?}");
        assert_eq!(h.sink().maintain().unwrap(), None, "{mode:?}");
        // Its rows are found where they are now.
        h.send(&[Logical::update(3, "c", None), Logical::Delete(12), Logical::update(2, "d", None)]);
        h.commit();
        match mode {
            Mode::History => assert_eq!(h.versions().len(), 30 + 3),
            _ => assert_eq!((h.rows().len(), &h.rows()[&2]), (27, &(text("d"), text("A")))),
        }
        assert!(vectors(&h) > 0, "{mode:?}");
    }
}

#[test]
fn changes_come_before_rest() {
    let clock = Clock::start();
    let mut h = filled(Mode::Mirror, None);
    h.send(&[Logical::Delete(1), Logical::Delete(11)]);
    h.commit();
    clock.wait(11 * MINUTE);
    h.sink().maintain().unwrap();
    h.wait_for_copies();
    h.send(&[Logical::Delete(2), Logical::Delete(21)]);
    h.commit();
    h.finish_compaction();
    // What was begun is done, with the row deleted that was deleted meanwhile; nothing else is begun.
    assert_eq!((vectors(&h), h.rows().len()), (2, 26));
    clock.wait(11 * MINUTE);
    h.finish_compaction();
    assert_eq!((vectors(&h), h.rows().len()), (0, 26));
}

/// A table with a few changes every quarter of an hour is not written anew a hundred times a day.
#[test]
fn what_rest_costs_is_bounded_by_the_day() {
    let clock = Clock::start();
    let own = ambient::take(Own::default());
    ambient::take(Own { limits: [(Limit::ReaderBytes, 0)].into(), ..own });
    let mut h = filled(Mode::Mirror, None);
    let delete = |h: &mut Harness, id: i64, wait: i64| {
        h.send(&[0, 10, 20].map(|first| Logical::Delete(first + id)));
        h.commit();
        clock.wait(wait);
        h.finish_compaction();
        vectors(h)
    };
    assert_eq!(delete(&mut h, 1, 11 * MINUTE), 0, "the first rest of a day");
    assert_eq!(delete(&mut h, 2, 15 * MINUTE), 1, "the second one");
    assert_eq!(delete(&mut h, 3, 12 * HOUR), 1, "half a day later");
    clock.wait(12 * HOUR);
    h.finish_compaction();
    assert_eq!((vectors(&h), h.rows().len()), (0, 21), "and a day");
}

#[test]
fn a_deleted_row_is_not_kept_for_long_in_a_busy_table() {
    for lose in [false, true] {
        let clock = Clock::start();
        let mut h = filled(Mode::Mirror, Some(6 * HOUR));
        h.send(&[Logical::Delete(1)]);
        h.commit();
        let oldest = h.table().unwrap().files().find(|file| file.deletion_vector.is_some()).unwrap().path.clone();
        for id in [2, 3] {
            clock.wait(2 * HOUR + HOUR / 2);
            h.crash();
            if lose {
                h.lose_state();
            }
            h.replay();
            // A table that is busy all the time: the same file loses more rows, and another one does too.
            h.send(&[Logical::Delete(id), Logical::Delete(id + 10), Logical::insert(100 + id, "a", "A")]);
            h.commit();
            h.finish_compaction();
            assert!(h.table().unwrap().file(&oldest).is_some());
        }
        clock.wait(HOUR);
        h.send(&[Logical::Delete(4)]);
        h.commit();
        h.finish_compaction();
        assert!(h.table().unwrap().file(&oldest).is_none(), "six hours are over");
        // What was deleted later may stay, and the age of files is that of their first deleted row.
        assert_eq!((vectors(&h), h.rows().len()), (1, 26));
    }
}

#[test]
fn a_table_that_no_change_comes_to_is_freed_too() {
    let clock = Clock::start();
    for mode in [Mode::Mirror, Mode::History] {
        let mut h = filled(mode, None);
        h.send(&[Logical::Delete(1), Logical::Delete(11)]);
        h.commit();
        let shown = h.physical_rows();
        h.crash();
        h.finish_compaction();
        assert_eq!(vectors(&h), 2, "{mode:?}: it does not rest yet");
        clock.wait(11 * MINUTE);
        h.finish_compaction();
        assert_eq!((vectors(&h), h.physical_rows()), (0, shown), "{mode:?}");
        let with_removed = h.data_files_on_disk();
        clock.wait(25 * HOUR);
        h.finish_compaction();
        let live = h.table().unwrap().files().count();
        assert!(h.data_files_on_disk() == live && live < with_removed, "{mode:?}: what was removed is gone");
        // An index that has not seen the copies finds their rows.
        h.send(&[Logical::update(2, "b", None), Logical::Delete(12)]);
        h.commit();
        match mode {
            Mode::History => assert_eq!(h.versions().len(), 31),
            _ => assert_eq!((h.rows().len(), h.rows().get(&2)), (27, Some(&row(2, "b", "A").1))),
        }
    }
}

#[test]
fn sk_35_a_table_that_is_being_freed_gives_way_to_a_change() {
    let clock = Clock::start();
    let mut h = filled(Mode::Mirror, None);
    h.send(&[Logical::Delete(1), Logical::Delete(11)]);
    h.commit();
    h.crash();
    clock.wait(11 * MINUTE);
    h.sink().maintain().unwrap();
    assert!(h.sink().is_compacting());
    let files = h.data_files_on_disk();
    h.send(&[Logical::Delete(2)]);
    assert!(!h.sink().is_compacting(), "it went on beside the change");
    h.commit();
    assert_eq!((vectors(&h), h.rows().len()), (2, 27));
    assert!(h.data_files_on_disk() <= files, "copies of nobody stay");
}
