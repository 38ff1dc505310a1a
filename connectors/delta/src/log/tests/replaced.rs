//! Deletion vectors that were replaced: what the log remembers of them, and when their files go (ADR 13, SK-3D).

use super::lake::{delete, lake, vector_of};
use super::*;
use crate::ambient::Own;
use crate::model::chance::Chance;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Some time.
const START: i64 = 1_700_000_000_000;

fn at(millis: i64) {
    ambient::take(Own { clock: Some(millis), ..Own::default() });
}

fn keeping(store: TableStore, interval: &str) -> Table {
    let configuration = [("delta.deletedFileRetentionDuration".to_owned(), format!("interval {interval}"))].into();
    Table::create(store, NewTable { configuration, ..new_table() }, commit(0)).unwrap()
}

fn deleting(path: &str, row: u32) -> Commit {
    Commit { deletes: delete(path, row), ..commit(i64::from(row)) }
}

fn lies_there(table: &Table, name: &str) -> bool {
    table.store().head(name).unwrap().is_some()
}

fn clean(table: &mut Table, now: i64) {
    while !clean::expired_files(&table.store, &mut table.state, now, &mut 3).unwrap() {}
    while !crate::log::replaced::remove(&table.store, &mut table.state, now, &mut 3).unwrap() {}
}

#[test]
fn removals_of_vectors_that_were_replaced_soon_are_in_the_entries_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = keeping(lake(&directory, None), "24 hours");
    table.commit(Commit { adds: vec![file("a.parquet", 99), file("b.parquet", 9)], ..commit(1) }).unwrap();
    for row in 0..40 {
        table.commit(deleting("a.parquet", row)).unwrap();
    }
    table.commit(deleting("b.parquet", 1)).unwrap();
    table.commit(Commit { removes: vec!["b.parquet".to_owned()], ..commit(50) }).unwrap();
    let third: Vec<String> =
        lines(&table, 3).iter().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect();
    assert!(third.contains(&"remove".to_owned()), "{third:?}");
    // The first vectors took the place of none.
    let named = |table: &Table| {
        let removals = table.state.tombstones.iter();
        removals.map(|removal| (removal.path.to_string(), removal.deletion_vector.is_some())).collect::<Vec<_>>()
    };
    let expect = [("a.parquet", false), ("b.parquet", false), ("b.parquet", true)];
    let expect = expect.map(|(path, vector)| (path.to_owned(), vector));
    assert_eq!(named(&table), expect);
    table.checkpoint().unwrap();
    (0..table.version()).for_each(|version| table.store().delete(&load::entry_name(version)).unwrap());
    let mut again = Table::open(lake(&directory, None)).unwrap().unwrap();
    assert_eq!(named(&again), expect);
    assert_eq!(content(&mut again), content(&mut table));
}

#[test]
fn a_vector_that_has_lasted_is_remembered() {
    for (lasted, is_remembered) in [(MINUTE, false), (59 * MINUTE, false), (61 * MINUTE, true), (-MINUTE, true)] {
        let directory = tempfile::tempdir().unwrap();
        at(START);
        let mut table = keeping(lake(&directory, None), "24 hours");
        table.commit(Commit { adds: vec![file("a.parquet", 99)], ..commit(1) }).unwrap();
        table.commit(deleting("a.parquet", 1)).unwrap();
        let old = vector_of(&table, "a.parquet");
        let replaced = START + lasted;
        at(replaced);
        table.commit(deleting("a.parquet", 2)).unwrap();
        let remembers = |table: &Table| table.state.tombstones.iter().any(|removal| removal.deletion_vector.is_some());
        assert_eq!(remembers(&table), is_remembered, "{lasted}");
        // With or without: it stays for the retention, and not for ever.
        clean(&mut table, replaced + 24 * HOUR - MINUTE);
        assert!(lies_there(&table, &old), "{lasted}");
        clean(&mut table, replaced + 25 * HOUR + 2 * MINUTE);
        assert!(!lies_there(&table, &old), "{lasted}");
        assert!(lies_there(&table, &vector_of(&table, "a.parquet")));
        assert_eq!((table.state.tombstones.len(), table.state.replaced_since), (0, None), "{lasted}");
    }
}

/// Other writers give names that tell no age: their removals are all that tells when the files may go.
#[test]
fn vectors_of_others_go_by_their_removals() {
    let directory = tempfile::tempdir().unwrap();
    at(START);
    let mut table = keeping(lake(&directory, None), "24 hours");
    table.commit(Commit { adds: vec![file("a.parquet", 99)], ..commit(1) }).unwrap();
    table.commit(deleting("a.parquet", 1)).unwrap();
    let (ours, theirs) = (vector_of(&table, "a.parquet"), uuid::Uuid::new_v4());
    let name = format!("deletion_vector_{theirs}.bin");
    table.store().put_new(&name, table.store().get(&ours).unwrap().unwrap()).unwrap();
    let live = table.state.files.get_mut("a.parquet").unwrap();
    let vector = live.deletion_vector.as_mut().unwrap();
    vector.path_or_inline_dv = deletion_vector::encoded(&theirs).into();
    table.commit(deleting("a.parquet", 2)).unwrap();
    assert_eq!(table.state.tombstones.iter().filter(|removal| removal.deletion_vector.is_some()).count(), 1);
    clean(&mut table, START + 24 * HOUR - 1);
    assert!(lies_there(&table, &name));
    clean(&mut table, START + 25 * HOUR);
    assert!(!lies_there(&table, &name));
    // What the log has never named is another's as well.
    table.store().put_new(&name, Bytes::new()).unwrap();
    clean(&mut table, START + 250 * HOUR);
    assert!(lies_there(&table, &name));
}

#[test]
fn a_vector_whose_commit_is_to_come_stays_and_one_that_never_came_goes() {
    let directory = tempfile::tempdir().unwrap();
    let store = lake(&directory, None);
    let mut table = keeping(store, "0 hours");
    let vector = |table: &Table| {
        let stored = deletion_vector::store_all(table.store(), &[RoaringBitmap::from_iter([1])]).unwrap();
        stored[0].file_name().unwrap()
    };
    let to_come = vector(&table);
    clean(&mut table, now_millis() + 10);
    assert!(lies_there(&table, &to_come));
    // The process ends, and the next one does not know of it any more.
    drop(table);
    let mut table = Table::open(lake(&directory, None)).unwrap().unwrap();
    table.claim(APP).unwrap();
    clean(&mut table, now_millis() + 10);
    assert!(!lies_there(&table, &to_come));
}

/// Whoever has come after may have named files that this one knows nothing of.
#[test]
fn behind_another_writers_entry_nothing_is_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = keeping(lake(&directory, None), "0 hours");
    table.commit(Commit { adds: vec![file("a.parquet", 99)], ..commit(1) }).unwrap();
    let mut other = Table::open(lake(&directory, None)).unwrap().unwrap();
    other.commit(deleting("a.parquet", 1)).unwrap();
    let live = vector_of(&other, "a.parquet");
    assert!(table.remove_replaced(now_millis() + HOUR, &mut 1_000).unwrap());
    assert!(lies_there(&other, &live));
    assert!(other.remove_replaced(now_millis() + HOUR, &mut 1_000).unwrap());
    assert!(lies_there(&other, &live));
}

#[test]
fn much_to_remove_is_removed_in_steps() {
    for bucket in [None, Some(Store::in_memory())] {
        let directory = tempfile::tempdir().unwrap();
        let mut table = keeping(lake(&directory, bucket.as_ref()), "24 hours");
        for row in 0..2_500 {
            let stored = deletion_vector::store_all(table.store(), &[RoaringBitmap::from_iter([row])]).unwrap();
            table.store().intents().unwrap().strike([&*stored[0].file_name().unwrap()]);
        }
        for name in ["a=1/part-1.parquet", "deletion_vector_x/y", "deletion_vector_strange", "part-1.parquet"] {
            table.store().put_new(name, Bytes::new()).unwrap();
        }
        let files = |table: &Table| table.store().list("", "").unwrap().len();
        let mut left = Vec::new();
        for hours in [24, 26, 26, 26] {
            let now = now_millis() + hours * HOUR;
            let is_all = crate::log::replaced::remove(&table.store, &mut table.state, now, &mut 1_000).unwrap();
            left.push((files(&table), is_all, table.state.replaced_since.is_some()));
        }
        let expect = [(2_502, true, true), (1_502, false, true), (502, false, true), (2, true, false)];
        assert_eq!(left, expect, "bucket: {}", bucket.is_some());
    }
}

/// A file and its vector, and what was replaced when.
struct History {
    now: i64,
    live: Vec<(String, Option<String>)>,
    replaced: Vec<(String, i64)>,
}

impl History {
    /// A file that is new, a file that goes, or vectors of some or all.
    fn go_on(&mut self, table: &mut Table, chance: &mut Chance, step: i64) {
        if self.live.len() < 3 {
            let path = format!("part-{step}.parquet");
            table.store().put_new(&path, Bytes::from_static(b"rows")).unwrap();
            table.commit(Commit { adds: vec![file(&path, 1_000)], ..commit(step) }).unwrap();
            self.live.push((path, None));
        }
        let chosen = chance.below(self.live.len());
        match chance.below(8) {
            0 => {
                let (path, vector) = self.live.swap_remove(chosen);
                table.commit(Commit { removes: vec![path.clone()], ..commit(step) }).unwrap();
                self.replaced.extend([Some(path), vector].into_iter().flatten().map(|name| (name, self.now)));
            }
            which => {
                let touched = |at: usize| which > 3 || at == chosen;
                let paths = self.live.iter().enumerate().filter(|(at, _)| touched(*at)).map(|(_, (path, _))| path);
                let row = RoaringBitmap::from_iter([u32::try_from(step).unwrap()]);
                let deletes = paths.map(|path| (path.clone(), row.clone())).collect();
                table.commit(Commit { deletes, ..commit(step) }).unwrap();
                for (_, (path, vector)) in self.live.iter_mut().enumerate().filter(|(at, _)| touched(*at)) {
                    let old = vector.replace(vector_of(table, path));
                    self.replaced.extend(old.map(|name| (name, self.now)));
                }
            }
        }
    }

    fn names_live(&self) -> BTreeSet<String> {
        self.live.iter().flat_map(|(path, vector)| [Some(path), vector.as_ref()]).flatten().cloned().collect()
    }
}

/// What was live at some time within the retention is there, and nothing for longer than need be, whatever the times.
#[test]
fn whatever_was_replaced_stays_for_its_retention_sk_3d() {
    for seed in 0..60 {
        let mut chance = Chance::new(seed);
        let directory = tempfile::tempdir().unwrap();
        // A disk takes its time.
        let bucket = (seed % 10 > 0).then(Store::in_memory);
        let retention = *chance.pick(&[MINUTE, HOUR, 24 * HOUR, 7 * 24 * HOUR]);
        at(START);
        let mut table = keeping(lake(&directory, bucket.as_ref()), &format!("{} seconds", retention / 1_000));
        let mut history = History { now: START, live: Vec::new(), replaced: Vec::new() };
        for step in 1..60 {
            let pace = retention / chance.pick(&[2, 20, 24, 30, 1_000]);
            history.now += i64::try_from(chance.below(usize::try_from(pace).unwrap())).unwrap();
            at(history.now);
            history.go_on(&mut table, &mut chance, step);
            if chance.percent(15) {
                table.checkpoint().unwrap();
                table = Table::open(lake(&directory, bucket.as_ref())).unwrap().unwrap();
            }
            clean(&mut table, history.now);
            let recent = history.replaced.iter().filter(|(_, since)| history.now - since <= retention);
            for name in history.names_live().iter().chain(recent.map(|(name, _)| name)) {
                assert!(lies_there(&table, name), "seed {seed}, step {step}: `{name}` is gone");
            }
        }
        clean(&mut table, history.now + retention + retention / 24 + 1_000);
        let names = table.store().list("", "").unwrap().into_iter().map(|object| object.name);
        assert_eq!(names.collect::<BTreeSet<_>>(), history.names_live(), "seed {seed}");
    }
}
