//! Histories: every version of every row, through commits, restarts, truncates, schema changes and rewritten files.

use super::harness::{Harness, Logical, Rows, SNAPSHOT_AT, Shape, Version, commit_time, row, text};
use crate::layout::Mode;
use std::collections::BTreeMap;
use tidewire_core::{ErrorKind, Mark, Sink};

/// A history in memory.
#[derive(Default)]
pub(super) struct Past {
    open: BTreeMap<i64, Version>,
    ended: Vec<Version>,
}

impl Past {
    /// The changes of a transaction, in order.
    pub(super) fn add(&mut self, commit: u64, changes: &[Logical]) {
        for (ordinal, change) in (1..).zip(changes) {
            let now = moment(commit, ordinal);
            match change {
                Logical::Insert { id, v, big } => {
                    self.end(*id, &now);
                    self.begin(*id, &now, v, big);
                }
                Logical::Update { old, id, v, big } => {
                    let was = self.end(old.unwrap_or(*id), &now);
                    self.end(*id, &now);
                    self.begin(*id, &now, v, &big.clone().or(was.map(|was| was.big)).unwrap());
                }
                Logical::Minimal { id, v } => {
                    let was = self.end(*id, &now).unwrap();
                    self.begin(*id, &now, v, &was.big);
                }
                Logical::Delete(id) => drop(self.end(*id, &now)),
                Logical::Truncate => {
                    for id in self.open.keys().copied().collect::<Vec<_>>() {
                        self.end(id, &now);
                    }
                }
                Logical::Whole { .. } => panic!("a history has a key"),
            }
        }
    }

    /// A snapshot that lies at `floor` has read a row.
    fn read(&mut self, floor: u64, id: i64, v: &str) {
        self.begin(id, &(0, Mark { major: floor, minor: 0 }.to_string()), v, "snap");
    }

    fn begin(&mut self, id: i64, now: &(i64, String), v: &str, big: &str) {
        let version = Version { id, from: now.clone(), to: None, v: text(v), big: text(big) };
        assert_eq!(self.open.insert(id, version), None);
    }

    fn end(&mut self, id: i64, now: &(i64, String)) -> Option<Version> {
        let version = self.open.remove(&id)?;
        self.ended.push(Version { to: Some(now.clone()), ..version.clone() });
        Some(version)
    }

    pub(super) fn versions(&self) -> Vec<Version> {
        let mut versions: Vec<Version> = self.ended.iter().chain(self.open.values()).cloned().collect();
        versions.sort();
        versions
    }

    pub(super) fn rows(&self) -> Rows {
        self.open.values().map(|version| row(version.id, &version.v, &version.big)).collect()
    }
}

fn moment(commit: u64, ordinal: u64) -> (i64, String) {
    (commit_time(commit), Mark { major: commit, minor: ordinal }.to_string())
}

/// A sink and the history that it should write.
struct Pair {
    h: Harness,
    past: Past,
}

impl Pair {
    fn new(shape: Shape) -> Pair {
        Pair { h: Harness::with_mode(shape, Mode::History), past: Past::default() }
    }

    fn send(&mut self, changes: &[Logical]) {
        self.past.add(self.h.next_commit(), changes);
        self.h.send(changes);
    }

    fn commit(&mut self) {
        self.h.commit();
        assert_eq!(self.h.versions(), self.past.versions());
    }
}

#[test]
fn an_update_ends_one_version_and_begins_another() {
    for spill in [false, true] {
        let mut p = Pair::new(Shape::Composite);
        p.h.spill_always(spill);
        p.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), Logical::insert(3, "c", "C")]);
        p.commit();
        // PG-30, PG-13, and several versions in one transaction.
        p.send(&[
            Logical::update(1, "a2", None),
            Logical::update(1, "a3", Some("A3")),
            Logical::Update { old: Some(2), id: 20, v: text("b2"), big: None },
            Logical::Delete(3),
            Logical::insert(4, "d", "D"),
            Logical::Delete(4),
            Logical::Minimal { id: 20, v: text("b3") },
        ]);
        p.commit();
        // Each version of a row ends where its next begins.
        let of_1 = p.h.versions().into_iter().filter(|version| version.id == 1).collect::<Vec<_>>();
        assert_eq!(of_1.iter().map(|version| version.v.as_str()).collect::<Vec<_>>(), ["a", "a2", "a3"]);
        assert!(of_1.windows(2).all(|pair| pair[0].to.as_ref() == Some(&pair[1].from) && pair[0].from < pair[1].from));
        p.send(&[Logical::insert(3, "again", "C"), Logical::Delete(1)]);
        p.commit();
    }
}

#[test]
fn keys_may_be_swapped_in_one_transaction() {
    let mut p = Pair::new(Shape::Int);
    p.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    p.commit();
    let rename = |old, id, v: &str| Logical::Update { old: Some(old), id, v: text(v), big: None };
    p.send(&[rename(1, 9, "a"), rename(2, 1, "b"), rename(9, 2, "a")]);
    p.commit();
    assert_eq!(p.past.rows(), [row(1, "b", "B"), row(2, "a", "A")].into());
}

#[test]
fn a_row_that_was_read_is_valid_from_before_the_log() {
    let mut p = Pair::new(Shape::Int);
    p.h.snapshot_start();
    p.h.snapshot_rows(&[(1, "a"), (2, "b")]);
    // SK-32: the reading breaks off and comes again.
    p.h.crash();
    p.h.snapshot_start();
    p.h.snapshot_rows(&[(1, "a"), (2, "b")]);
    p.h.snapshot_end();
    p.past.read(SNAPSHOT_AT, 1, "a");
    p.past.read(SNAPSHOT_AT, 2, "b");
    p.send(&[Logical::update(1, "a2", None)]);
    p.commit();
    p.h.crash();
    p.h.replay();
    p.send(&[Logical::Delete(2)]);
    p.commit();
}

#[test]
fn sk_33_what_comes_again_ends_no_version_twice() {
    for lose in [false, true] {
        let mut p = Pair::new(Shape::Int);
        p.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
        p.commit();
        p.send(&[Logical::update(1, "a2", None), Logical::Delete(2), Logical::insert(3, "c", "C")]);
        p.h.commit_tables_only();
        match lose {
            true => p.h.lose_state(),
            false => p.h.crash(),
        }
        p.h.replay();
        p.send(&[Logical::update(1, "a3", None), Logical::insert(2, "new", "NEW")]);
        p.commit();
    }
}

#[test]
fn pg_20_a_truncate_ends_what_is_open() {
    for spill in [false, true] {
        let mut p = Pair::new(Shape::Int);
        p.h.spill_always(spill);
        p.send(&(0..300).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        p.commit();
        p.send(&[Logical::update(7, "b", None), Logical::Delete(8)]);
        p.commit();
        p.h.crash();
        p.h.replay();
        // Rows of the table, of a spilled file and of the buffer.
        p.send(&[Logical::insert(400, "x", "X"), Logical::update(9, "b", None)]);
        p.send(&[Logical::insert(401, "y", "Y"), Logical::Truncate, Logical::insert(7, "c", "C")]);
        p.commit();
        assert_eq!(p.past.rows(), [row(7, "c", "C")].into());
        p.send(&[Logical::Truncate, Logical::Truncate]);
        p.commit();
        assert_eq!(p.h.versions().iter().filter(|version| version.to.is_none()).count(), 0);
    }
}

#[test]
fn a_second_snapshot_does_not_replace_a_history() {
    let refused = |h: &mut Harness| {
        let error = h.try_snapshot_start().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "history_snapshot"));
        assert!(error.table().is_some() && error.remedy().is_some());
    };
    let mut p = Pair::new(Shape::Int);
    p.send(&[Logical::insert(1, "a", "A")]);
    refused(&mut p.h);
    p.h.crash();
    p.h.replay();
    p.commit();
    p.h.crash();
    p.h.floor_at_end();
    // Not even one that only tells what was.
    p.send(&[Logical::Delete(1)]);
    p.commit();
    for _ in 0..2 {
        refused(&mut p.h);
        p.h.crash();
    }
    assert_eq!(p.h.versions(), p.past.versions());
}

#[test]
fn an_empty_history_takes_a_snapshot() {
    let mut p = Pair::new(Shape::Int);
    p.h.snapshot_start();
    p.h.snapshot_end();
    p.commit();
    assert!(p.h.table().is_some());
    // The sink's progress is lost, so the source reads the table again.
    std::fs::remove_dir_all(p.h.table_directory().join("../../../_tidewire")).unwrap();
    p.h.crash();
    p.h.floor_at_end();
    let floor = p.h.next_commit();
    p.h.snapshot_start();
    p.h.snapshot_rows(&[(1, "a")]);
    p.h.snapshot_end();
    p.past.read(floor, 1, "a");
    p.commit();
}

#[test]
fn columns_come_and_go() {
    // SK-3B.
    let mut p = Pair::new(Shape::Int);
    p.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    p.commit();
    p.h.add_column("extra");
    p.send(&[Logical::update(1, "a2", Some("A2")), Logical::insert(3, "c", "C")]);
    p.commit();
    // What ended before the column came has null in it, as it had when it was current.
    let extra = |h: &Harness| {
        let mut all = h.texts("extra");
        all.sort();
        all
    };
    assert_eq!(extra(&p.h), [None, None, Some(text("x")), Some(text("x"))]);
    p.h.crash();
    p.h.drop_column("extra");
    p.send(&[Logical::update(3, "c2", None), Logical::Delete(2)]);
    p.commit();
    assert_eq!(extra(&p.h), [None, None, None, Some(text("x")), Some(text("x"))]);
}

#[test]
fn a_changed_row_that_the_table_lacks_begins_a_version() {
    let mut p = Pair::new(Shape::Int);
    p.send(&[Logical::update(1, "a", Some("A")), Logical::Delete(2)]);
    p.commit();
    let mut h = Harness::with_mode(Shape::Int, Mode::History);
    assert_eq!(h.try_send(&[Logical::update(1, "a", None)]).unwrap_err().code(), "unknown_value");
}

#[test]
fn a_source_column_with_a_name_of_ours_is_refused() {
    for name in ["_valid_from", "_VALID_TO", "_is_current", "_from_position", "_to_position"] {
        for (mode, refused) in [(Mode::History, true), (Mode::Mirror, false)] {
            let mut h = Harness::with_mode(Shape::Int, mode);
            h.add_column(name);
            let result = h.try_send(&[Logical::insert(1, "a", "A")]);
            assert_eq!(result.err().map(|error| error.code()), refused.then_some("column_name_collision"), "{name}");
        }
    }
}

#[test]
fn another_modes_table_is_left_alone() {
    let mut h = Harness::with_mode(Shape::Int, Mode::Mirror);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.change_mode(Mode::History);
    assert_eq!(h.try_send(&[Logical::insert(2, "b", "B")]).unwrap_err().code(), "foreign_table");
}

#[test]
fn sk_35_versions_that_end_while_files_are_rewritten_end_once() {
    for lose in [false, true] {
        let mut p = Pair::new(Shape::Int);
        p.h.compact_always();
        for id in 0..6 {
            p.send(&[Logical::insert(id, "a", "A"), Logical::insert(id + 10, "a", "A")]);
            p.h.commit_tables_only();
        }
        p.send(&[Logical::update(0, "b", None), Logical::Delete(1)]);
        p.h.commit_tables_only();
        p.h.sink().maintain().unwrap();
        p.h.wait_for_copies();
        p.send(&[Logical::update(0, "c", None), Logical::update(2, "b", None), Logical::insert(1, "again", "A")]);
        p.commit();
        p.h.finish_compaction();
        assert_eq!(p.h.versions(), p.past.versions());
        // The index has the open version of each key, whether it followed the files or is made anew.
        if lose {
            p.h.lose_state();
            p.h.replay();
        }
        p.send(&(0..6).map(|id| Logical::update(id, "d", None)).collect::<Vec<_>>());
        p.commit();
        p.send(&[Logical::Truncate]);
        p.commit();
    }
}
