//! The index against a model of a table: whatever happens to both, the first candidate that is live is the row.

mod merged;

mod ordinals;

use super::*;
use crate::ambient::{self, Limit, Own};
use crate::index::Binding;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::Path;

const LIMITS: Limits = Limits { tier_entries: 8, tier_runs: 3, runs_max: 5, builder_facts: 4 };
const KEYS: u64 = 40;

#[derive(Clone, Debug)]
enum Act {
    Put(u64),
    Delete(u64),
    Look { ask: bool },
    Commit,
    Spill,
    Poll,
    Settle,
    Clear,
    Vacuum,
    BeginCompaction,
    EndCompaction,
    Prove,
    Crash,
    Close,
    Rebind,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        60 => (0..KEYS).prop_map(Act::Put),
        15 => (0..KEYS).prop_map(Act::Delete),
        15 => any::<bool>().prop_map(|ask| Act::Look { ask }),
        12 => Just(Act::Commit),
        12 => Just(Act::Spill),
        10 => Just(Act::Poll),
        4 => Just(Act::Settle),
        1 => Just(Act::Clear),
        3 => Just(Act::Vacuum),
        4 => Just(Act::BeginCompaction),
        4 => Just(Act::EndCompaction),
        1 => Just(Act::Prove),
        2 => Just(Act::Crash),
        1 => Just(Act::Close),
        1 => Just(Act::Rebind),
    ]
}

/// A compaction under way: the files that it reads, and where it puts what they hold.
struct Compaction {
    mark: Mark,
    inputs: Vec<u32>,
    moved: Vec<(u64, RowLocation, RowLocation)>,
    output: u32,
}

struct World<'a> {
    directory: Option<&'a Path>,
    narrow: bool,
    binding: Binding,
    index: Index,
    live: HashMap<u64, RowLocation>,
    /// All facts that were ever told, of any life of the index.
    told: HashSet<(u64, RowLocation)>,
    /// Files of the table, by their present ordinal.
    files: BTreeMap<u32, String>,
    gone: RoaringBitmap,
    open_file: u32,
    next_row: u32,
    next_file: u32,
    next_path: u32,
    compaction: Option<Compaction>,
    asked: bool,
}

fn binding(narrow: bool, key: u32) -> Binding {
    Binding { table: "t".to_owned(), key: key.to_string(), narrow }
}

impl World<'_> {
    fn new(directory: Option<&Path>, narrow: bool) -> World<'_> {
        let opened = Index::open_with(directory, binding(narrow, 0), LIMITS).unwrap();
        assert_eq!((opened.covered.len(), opened.anew), (0, Some("there was none")));
        let mut world = World {
            directory,
            narrow,
            binding: binding(narrow, 0),
            index: opened.index,
            live: HashMap::new(),
            told: HashSet::new(),
            files: BTreeMap::new(),
            gone: RoaringBitmap::new(),
            open_file: 0,
            next_row: 0,
            next_file: 0,
            next_path: 0,
            compaction: None,
            asked: false,
        };
        world.begin_file();
        world
    }

    /// Wide keys crowd: they share first halves and buckets.
    fn id(&self, key: u64) -> KeyId {
        if self.narrow { KeyId([key, 0]) } else { KeyId([((key % 3) << 62) | (key / 20), key]) }
    }

    fn new_file(&mut self) -> u32 {
        let file = self.next_file;
        self.next_file += 1;
        self.next_path += 1;
        self.files.insert(file, self.next_path.to_string());
        file
    }

    fn begin_file(&mut self) {
        self.open_file = self.new_file();
        self.next_row = 0;
    }

    fn is_live(&self, key: u64, at: RowLocation) -> bool {
        self.live.get(&key) == Some(&at)
    }

    fn insert(&mut self, key: u64, at: RowLocation) {
        self.told.insert((key, at));
        self.index.insert(self.id(key), at);
        self.live.insert(key, at);
    }

    fn ask(&mut self) {
        let keys: Vec<KeyId> = (0..KEYS).rev().chain(0..3).map(|key| self.id(key)).collect();
        self.index.prefetch(&keys).unwrap();
        self.asked = true;
    }

    fn look(&mut self, ask: bool) {
        if ask || !self.asked {
            self.ask();
        }
        for key in 0..KEYS {
            let candidates: Vec<RowLocation> = self.index.candidates(self.id(key)).unwrap().collect();
            for at in &candidates {
                assert!(self.told.contains(&(key, *at)), "{key} was never at {at:?}");
            }
            let live = candidates.into_iter().find(|at| self.is_live(key, *at));
            assert_eq!(live, self.live.get(&key).copied(), "key {key}");
        }
        let (live, mut asked) = (self.live.values().copied().collect::<HashSet<_>>(), Vec::new());
        let rows = self.index.live_rows(|at| {
            asked.push(at);
            live.contains(&at)
        });
        assert!(asked.is_sorted() && rows.len() == self.index.asked().len());
        for key in 0..KEYS {
            let number = self.index.number_of(self.id(key)).unwrap();
            assert_eq!(rows[number], self.live.get(&key).copied(), "key {key}");
        }
    }

    /// All files but the one that still grows.
    fn covered(&self) -> Vec<(u32, String)> {
        self.files.iter().filter(|(file, _)| **file != self.open_file).map(|(f, path)| (*f, path.clone())).collect()
    }

    fn drop_files(&mut self, files: &[u32]) {
        for file in files {
            self.files.remove(file);
            self.gone.insert(*file);
        }
    }

    fn begin_compaction(&mut self) {
        self.begin_file();
        let inputs: Vec<u32> = self.files.keys().copied().filter(|file| *file != self.open_file).take(3).collect();
        let mark = self.index.mark();
        let output = self.next_file;
        self.next_file += 1;
        let held: Vec<(u64, RowLocation)> = self.live.iter().map(|(key, at)| (*key, *at)).collect();
        let held = held.into_iter().filter(|(_, at)| inputs.contains(&at.file));
        let moved = (0..).zip(held).map(|(row, (key, at))| (key, at, RowLocation { file: output, row })).collect();
        self.compaction = Some(Compaction { mark, inputs, moved, output });
    }

    fn end_compaction(&mut self) {
        let Some(Compaction { mark, inputs, moved, output }) = self.compaction.take() else { return };
        let mut builder = self.index.run_builder();
        for (key, _, to) in &moved {
            builder.push(self.id(*key), *to).unwrap();
            self.told.insert((*key, *to));
        }
        let prepared = builder.finish().unwrap();
        for (key, from, to) in moved {
            if self.is_live(key, from) {
                self.live.insert(key, to);
            }
        }
        self.drop_files(&inputs);
        self.files.insert(output, format!("c{output}"));
        self.index.add_run(mark, prepared, vec![(output, format!("c{output}"))], &self.gone).unwrap();
    }

    /// Opens the index again and tells it the rows of the files that it does not cover.
    fn reopen(&mut self, key: u32) {
        let binding = binding(self.narrow, key);
        let same = binding == self.binding;
        // What the old one has at work must not be in the way of the new one.
        self.index = Index::open_with(None, binding.clone(), LIMITS).unwrap().index;
        let opened = Index::open_with(self.directory, binding.clone(), LIMITS).unwrap();
        assert!(same || opened.covered.is_empty());
        (self.index, self.binding) = (opened.index, binding);
        let new_ordinals = self.index.next_file();
        assert!(opened.covered.keys().all(|file| *file < new_ordinals));
        self.next_file = new_ordinals;
        self.told.retain(|(_, at)| at.file < new_ordinals);
        self.gone.clear();
        self.compaction = None;
        self.asked = false;
        let old_files = std::mem::take(&mut self.files);
        let rows: Vec<(u64, RowLocation)> = self.live.drain().collect();
        let paths: HashMap<&String, u32> = opened.covered.iter().map(|(file, path)| (path, *file)).collect();
        self.gone.extend((0..new_ordinals).filter(|file| !opened.covered.contains_key(file)));
        self.gone
            .extend(opened.covered.iter().filter(|(_, path)| !old_files.values().any(|p| p == *path)).map(|(f, _)| *f));
        for (old, path) in &old_files {
            let known = paths.get(path).copied();
            let file = known.unwrap_or(self.next_file);
            self.next_file = self.next_file.max(file + 1);
            self.files.insert(file, path.clone());
            for (key, at) in rows.iter().filter(|(_, at)| at.file == *old) {
                let at = RowLocation { file, row: at.row };
                match known {
                    Some(_) => drop(self.live.insert(*key, at)),
                    None => self.insert(*key, at),
                }
            }
        }
        self.begin_file();
    }

    fn run(&mut self, act: &Act) {
        match act {
            Act::Put(key) => {
                let at = RowLocation { file: self.open_file, row: self.next_row };
                self.next_row += 1;
                self.insert(*key, at);
            }
            Act::Delete(key) => {
                self.live.remove(key);
                self.index.forget(self.id(*key));
            }
            Act::Look { ask } => self.look(*ask),
            Act::Spill => {
                self.begin_file();
                self.index.spill(self.covered()).unwrap();
            }
            Act::Poll => self.index.poll(&self.gone).unwrap(),
            Act::Settle => self.index.settle(&self.gone).unwrap(),
            Act::Clear => {
                self.drop_files(&self.files.keys().copied().collect::<Vec<u32>>());
                self.live.clear();
                self.compaction = None;
                self.index.clear().unwrap();
                assert_eq!((self.index.fresh_entries(), self.index.run_count()), (0, 0));
                self.begin_file();
            }
            Act::Vacuum => {
                let busy: HashSet<u32> = self.live.values().map(|at| at.file).collect();
                let reads = self.compaction.iter().flat_map(|c| c.inputs.clone()).collect::<Vec<u32>>();
                let idle = |file: &u32| !busy.contains(file) && !reads.contains(file) && *file != self.open_file;
                self.drop_files(&self.files.keys().copied().filter(idle).collect::<Vec<u32>>());
            }
            Act::Commit => self.index.committed(),
            Act::BeginCompaction => self.begin_compaction(),
            Act::EndCompaction => self.end_compaction(),
            Act::Prove => {
                let live: HashSet<RowLocation> = self.live.values().copied().collect();
                assert_eq!(self.index.prove_unique(|at| live.contains(&at), |_, _| ()).unwrap(), None);
                assert!(self.index.run_count() <= 1 || self.compaction.is_some());
            }
            Act::Crash if self.directory.is_some() => self.reopen(self.binding.key.parse().unwrap()),
            Act::Close if self.directory.is_some() => {
                self.index.committed();
                self.index.settle(&self.gone).unwrap();
                self.reopen(self.binding.key.parse().unwrap());
            }
            Act::Rebind if self.directory.is_some() => self.reopen(self.binding.key.parse::<u32>().unwrap() + 1),
            Act::Crash | Act::Close | Act::Rebind => {}
        }
    }
}

/// A compaction may end before a memtable that was frozen before it is on disk: the run that comes of that is older.
#[test]
fn no_merge_crosses_a_memtable_that_is_being_written_sk_3e() {
    let mut index = Index::open_with(None, binding(true, 0), LIMITS).unwrap().index;
    let (key, old, new) = (KeyId([7, 0]), RowLocation { file: 0, row: 0 }, RowLocation { file: 1, row: 0 });
    let none = RoaringBitmap::new();
    index.insert(key, old);
    index.spill(Vec::new()).unwrap();
    index.settle(&none).unwrap();
    index.insert(key, new);
    index.spill(Vec::new()).unwrap();
    // Not taken over yet, whether it is written or not.
    for other in 100..100 + LIMITS.tier_runs as u64 {
        let mark = index.mark();
        let mut builder = index.run_builder();
        builder.push(KeyId([other, 0]), RowLocation { file: 2, row: other as u32 }).unwrap();
        index.add_run(mark, builder.finish().unwrap(), Vec::new(), &none).unwrap();
    }
    index.start_merge().unwrap();
    index.take_merge().unwrap();
    index.settle(&none).unwrap();
    // All that there is, in one run.
    for other in 200..200 + LIMITS.runs_max as u64 + 1 {
        index.insert(KeyId([other, 0]), RowLocation { file: 3, row: other as u32 });
        index.spill(Vec::new()).unwrap();
        index.settle(&none).unwrap();
    }
    index.prefetch(&[key]).unwrap();
    assert_eq!(index.candidates(key).unwrap().collect::<Vec<_>>(), [new]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_first_live_candidate_is_the_row(
        narrow: bool,
        on_disk: bool,
        mapped_bytes in prop_oneof![Just(0), Just(1 << 20)],
        claimed_bytes in prop_oneof![Just(0), Just(1 << 20)],
        acts in proptest::collection::vec(act(), 0..150),
    ) {
        let limits = BTreeMap::from([(Limit::MappedBytes, mapped_bytes), (Limit::ClaimedBytes, claimed_bytes)]);
        ambient::take(Own { limits, ..Own::default() });
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::new(on_disk.then_some(directory.path()), narrow);
        for act in &acts {
            world.run(act);
        }
        world.look(false);
        world.look(true);
        world.index.committed();
        world.index.settle(&world.gone).unwrap();
        world.look(false);
        let runs = world.index.run_count();
        drop(world);
        if on_disk {
            prop_assert_eq!(files_of_runs(directory.path()), runs);
        }
    }
}

fn row(file: u32, row: u32) -> RowLocation {
    RowLocation { file, row }
}

fn key(n: u64) -> KeyId {
    KeyId([n, 0])
}

/// An index on disk with one run of a thousand keys, all in file 0, and the path of the run.
fn one_run(directory: &Path) -> std::path::PathBuf {
    let mut index = Index::open_with(Some(directory), binding(true, 0), LIMITS).unwrap().index;
    for n in 0..1_000 {
        index.insert(key(n), row(0, n as u32));
    }
    index.spill(vec![(0, "a".to_owned())]).unwrap();
    index.committed();
    index.settle(&RoaringBitmap::new()).unwrap();
    drop(index);
    let runs = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut runs = runs.filter(|path| path.extension().is_some_and(|ext| ext == "idx"));
    let run = runs.next().unwrap();
    assert!(runs.next().is_none());
    run
}

fn files_of_runs(directory: &Path) -> usize {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("run-")).count()
}

#[test]
fn sk_51_a_damaged_index_says_so_and_begins_anew() {
    type Spoil = fn(&Path, &Path);
    let cases: [(&str, Spoil); 5] = [
        ("a run is missing", |_, run| std::fs::remove_file(run).unwrap()),
        ("a run is damaged", |_, run| std::fs::write(run, []).unwrap()),
        ("a run is damaged", |_, run| std::fs::write(run, [0; 5000]).unwrap()),
        ("a run is not the one that the manifest names", |directory, run| {
            // One that is whole, and of the same index, but another one.
            let mut index = Index::open_with(Some(directory), binding(true, 0), LIMITS).unwrap().index;
            let mut builder = index.run_builder();
            builder.push(key(5), row(0, 6)).unwrap();
            let prepared = builder.finish().unwrap();
            let mark = index.mark();
            let number = prepared.0.as_ref().unwrap().name().number();
            let before = std::fs::read(directory.join("manifest")).unwrap();
            index.add_run(mark, prepared, vec![], &RoaringBitmap::new()).unwrap();
            std::fs::rename(directory.join(format!("run-{number}.idx")), run).unwrap();
            std::fs::write(directory.join("manifest"), before).unwrap();
        }),
        ("its manifest is damaged or of another version", |directory, _| {
            std::fs::write(directory.join("manifest"), "00000000\n{}").unwrap();
        }),
    ];
    for (why, spoil) in cases {
        let directory = tempfile::tempdir().unwrap();
        let run = one_run(directory.path());
        spoil(directory.path(), &run);
        let opened = Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap();
        assert_eq!((opened.anew, opened.covered.len(), opened.index.run_count()), (Some(why), 0, 0));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{why}");
    }
}

#[test]
fn sk_51_a_damaged_page_is_an_error_and_then_a_new_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let run = one_run(directory.path());
    let mut bytes = std::fs::read(&run).unwrap();
    // The second page of entries.
    let at = bytes.len() - 5_000;
    bytes[at] ^= 1;
    std::fs::write(&run, bytes).unwrap();
    let opened = Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap();
    let (mut index, keys) = (opened.index, (0..1_000).map(key).collect::<Vec<KeyId>>());
    assert_eq!((opened.anew, opened.covered.len()), (None, 1));
    let error = index.prefetch(&keys).unwrap_err();
    assert_eq!((error.kind(), error.code()), (tidewire_core::ErrorKind::Retry, DAMAGED));
    let none = RoaringBitmap::new();
    for error in [
        index.prefetch(&keys).unwrap_err(),
        index.spill(vec![]).unwrap_err(),
        index.poll(&none).unwrap_err(),
        index.clear().unwrap_err(),
    ] {
        assert_eq!(error.code(), DAMAGED);
    }
    assert_eq!(index.candidates(key(3)).err().unwrap().code(), "index_not_asked");
    drop(index);
    let opened = Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap();
    assert_eq!((opened.anew, opened.index.run_count()), (Some("there was none"), 0));
}

#[test]
fn two_live_rows_of_one_key_are_found() {
    for (second, live, expect) in [
        (5, [row(0, 1), row(1, 1)], Some([row(0, 1), row(1, 1)])),
        (5, [row(0, 1), row(9, 9)], None),
        (6, [row(0, 1), row(1, 1)], None),
    ] {
        let mut index = Index::open_with(None, binding(true, 0), LIMITS).unwrap().index;
        let mut builder = index.run_builder();
        builder.push(key(5), row(0, 1)).unwrap();
        (100..130).for_each(|n| builder.push(key(n), row(2, n as u32)).unwrap());
        builder.push(key(second), row(1, 1)).unwrap();
        let (mark, prepared) = (index.mark(), builder.finish().unwrap());
        index.add_run(mark, prepared, vec![], &RoaringBitmap::new()).unwrap();
        index.insert(key(7), row(3, 0));
        let mut told = 0;
        let found = index.prove_unique(|at| at.file > 1 && at.file < 9 || live.contains(&at), |done, _| told = done);
        let found = found.unwrap().map(|(first, second)| {
            let mut both = [first, second];
            both.sort_by_key(|at| at.file);
            both
        });
        assert_eq!(found, expect);
        assert!(expect.is_some() || told == 33);
    }
}

/// The keys of a large batch are shared out among threads when entries are copied from files.
#[test]
fn several_threads_find_what_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let keys = 5_000;
    for (threads, mapped_bytes) in [(1, 0), (3, 0), (3, 1 << 30)] {
        let limits =
            [(Limit::CommitThreads, threads), (Limit::MappedBytes, mapped_bytes), (Limit::ClaimedBytes, 1 << 30)];
        ambient::take(Own { limits: limits.into(), ..Own::default() });
        let folder = directory.path().join(format!("{threads}-{mapped_bytes}"));
        let mut index = Index::open_with(Some(&folder), binding(true, 0), Limits::default()).unwrap().index;
        for (file, step) in [(0, 1), (1, 3), (2, 5)] {
            (0..keys).step_by(step).for_each(|n| index.insert(key(n), row(file, n as u32)));
            index.spill(vec![]).unwrap();
            index.settle(&RoaringBitmap::new()).unwrap();
        }
        assert_eq!(index.run_count(), 3);
        for _ in 0..3 {
            index.prefetch(&(0..keys + 500).map(key).collect::<Vec<_>>()).unwrap();
            for n in 0..keys + 500 {
                let files = [(2, 5), (1, 3), (0, 1)].into_iter().filter(|(_, step)| n < keys && n % step == 0);
                let expect = files.map(|(file, _)| row(file, n as u32)).collect::<Vec<_>>();
                assert_eq!(index.candidates(key(n)).unwrap().collect::<Vec<_>>(), expect, "{threads} {n}");
            }
        }
    }
}

#[test]
fn what_was_not_asked_for_or_comes_too_late_is_refused() {
    let mut index = Index::open_with(None, binding(true, 0), LIMITS).unwrap().index;
    assert_eq!(index.candidates(key(1)).unwrap().count(), 0);
    index.insert(key(1), row(0, 0));
    index.spill(vec![]).unwrap();
    index.settle(&RoaringBitmap::new()).unwrap();
    assert_eq!(index.candidates(key(1)).err().unwrap().code(), "index_not_asked");
    let (mark, prepared) = (index.mark(), index.run_builder().finish().unwrap());
    index.clear().unwrap();
    let late = index.add_run(mark, prepared, vec![], &RoaringBitmap::new()).unwrap_err();
    assert_eq!(late.code(), "index_mark");
    // A row that no entry can name is refused when it is written, and the fact stays.
    index.insert(key(1), row(0, 1 << 30));
    index.spill(vec![]).unwrap();
    assert_eq!(index.settle(&RoaringBitmap::new()).unwrap_err().code(), "delta_file_rows");
    assert_eq!(index.candidates(key(1)).unwrap().next(), Some(row(0, 1 << 30)));
}

/// A change that no commit shows is not there after a crash; the fact that it covered, or made forgotten, is.
#[test]
fn sk_32_facts_that_no_commit_followed_do_not_replace_others() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap();
    let gone = RoaringBitmap::new();
    let mut index = open().index;
    for n in 0..20 {
        index.insert(key(n), row(0, n as u32));
    }
    index.committed();
    index.insert(key(7), row(1, 0));
    index.forget(key(8));
    for _ in 0..4 {
        index.spill(vec![(0, "a".to_owned())]).unwrap();
        index.insert(key(9), row(1, 1));
        index.poll(&gone).unwrap();
    }
    index.settle(&gone).unwrap();
    drop(index);
    // Nothing was published, so file 0 is to be read again.
    assert_eq!((open().covered.len(), open().index.run_count()), (0, 0));
    let mut index = open().index;
    for n in 0..20 {
        index.insert(key(n), row(0, n as u32));
    }
    index.committed();
    index.spill(vec![(0, "a".to_owned())]).unwrap();
    index.settle(&gone).unwrap();
    index.insert(key(7), row(1, 0));
    for _ in 0..6 {
        index.insert(key(7), row(1, 0));
        index.spill(vec![(0, "a".to_owned())]).unwrap();
        index.settle(&gone).unwrap();
        index.poll(&gone).unwrap();
    }
    drop(index);
    let Opened { mut index, covered, .. } = open();
    assert_eq!(covered.len(), 1);
    index.prefetch(&[key(7), key(8)]).unwrap();
    assert_eq!(index.candidates(key(7)).unwrap().collect::<Vec<_>>(), [row(0, 7)]);
    assert_eq!(index.candidates(key(8)).unwrap().collect::<Vec<_>>(), [row(0, 8)]);
}
