use super::*;
use crate::ambient::{self, Limit, Own};
use crate::encode::key::KeyId;
use crate::index::folder::Folder;
use crate::index::mix::random_seed;
use crate::index::page::{DAMAGED, PAGE, sealed};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn row(file: u32, row: u32) -> RowLocation {
    RowLocation { file, row }
}

/// The bytes of a run of these facts.
fn bytes_of(order: &Order, facts: &BTreeMap<Mixed, Vec<RowLocation>>, most: u64) -> Vec<u8> {
    let mut writer = RunWriter::new(Folder::open(None).unwrap().create().unwrap(), order, most).unwrap();
    for (key, locations) in facts {
        locations.iter().for_each(|at| writer.push(Fact { key: *key, at: *at }).unwrap());
    }
    writer.finish(true).unwrap().sealed.all_bytes().to_vec()
}

fn open(bytes: Vec<u8>, order: &Order) -> Result<Arc<Run>> {
    Run::open(Bytes::Owned(bytes), Name::nowhere(), order).map(Arc::new)
}

fn sweep(run: &Arc<Run>) -> Result<Vec<Fact>> {
    let mut stream = Stream::new(Arc::clone(run))?;
    let mut facts = Vec::new();
    while let Some(fact) = stream.next()? {
        facts.push(fact);
    }
    Ok(facts)
}

type Answers = (Vec<(u32, RowLocation)>, Vec<Fact>);

/// What look-ups of these keys and a sweep give, if they give anything.
fn ask(run: &Arc<Run>, keys: &[Mixed], with_sweep: bool) -> Result<Answers> {
    let mut found = Vec::new();
    run.seek(keys, true, &mut found)?;
    Ok((found, if with_sweep { sweep(run)? } else { Vec::new() }))
}

/// Narrow keys anywhere; wide ones that crowd in one bucket and share their first halves.
fn facts(order: &Order, count: u64) -> BTreeMap<Mixed, Vec<RowLocation>> {
    let key = |n: u64| if order.is_narrow() { KeyId([n, 0]) } else { KeyId([((n % 5) << 62) | (n / 40), n]) };
    (0..count).map(|n| (order.mixed(key(n)), vec![row(n as u32 % 7, n as u32)])).collect()
}

/// A large run is read through its map once most of it was found in the page cache, a small one at once; either only while
/// the allowance of all runs lasts. A warm one beyond it is read without asking for the cache.
#[test]
fn a_warm_run_may_be_mapped() {
    let order = Order::new(true, random_seed());
    let facts = facts(&order, 5_000);
    let keys = facts.keys().copied().collect::<Vec<_>>();
    for (small, claimed_bytes, keys_asked, expected) in [
        (false, 1 << 30, keys.len(), Patience::Mapped),
        (false, 0, keys.len(), Patience::Disk),
        (false, 1 << 30, 10, Patience::None),
        (true, 1 << 30, 10, Patience::Mapped),
        (true, 0, keys.len(), Patience::Disk),
    ] {
        let limits = [(Limit::MappedBytes, if small { 1 << 20 } else { 0 }), (Limit::ClaimedBytes, claimed_bytes)];
        ambient::take(Own { limits: limits.into(), ..Own::default() });
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(directory.path())).unwrap();
        let mut writer = RunWriter::new(folder.create().unwrap(), &order, 5_000).unwrap();
        for (key, at) in &facts {
            writer.push(Fact { key: *key, at: at[0] }).unwrap();
        }
        let run = writer.finish(true).unwrap();
        for sweep in 0..70 {
            let mut found = Vec::new();
            run.seek(&keys[..keys_asked], true, &mut found).unwrap();
            assert!(found.iter().map(|(_, at)| *at).eq(facts.values().take(keys_asked).map(|at| at[0])), "{sweep}");
        }
        assert_eq!(run.patience(true), expected, "{small} {claimed_bytes} {keys_asked}");
        assert_eq!(run.patience(false), expected, "what was claimed is kept");
    }
}

/// Now and then a sweep looks whether a warm run still is: one that is not has its entries fetched together.
#[test]
fn a_run_is_warm_until_a_sweep_finds_otherwise() {
    let order = Order::new(true, random_seed());
    ambient::take(Own { limits: [(Limit::MappedBytes, 0), (Limit::ClaimedBytes, 0)].into(), ..Own::default() });
    let directory = tempfile::tempdir().unwrap();
    let mut writer =
        RunWriter::new(Folder::open(Some(directory.path())).unwrap().create().unwrap(), &order, 9).unwrap();
    writer.push(Fact { key: Mixed { high: 1, low: 0 }, at: row(0, 0) }).unwrap();
    let run = writer.finish(true).unwrap();
    let looks = |count: u32| (0..count).filter(|_| run.begin(false).patience == Patience::None).count();
    assert_eq!(looks(40), 40, "it is not known");
    let swept = |sought, late| Swept { sought, late, found: 0 };
    run.end(Way { patience: Patience::None, is_sure: false }, 1, swept(STRIDE, 0));
    assert_eq!(looks(10 * SWEEPS_WARM), 10);
    for (patience, swept, looks_of) in [
        (Patience::Disk, swept(STRIDE, 1), 1),
        (Patience::None, swept(10, 0), 1),
        (Patience::None, swept(10, 1), SWEEPS_WARM as usize),
        (Patience::None, swept(10, 0), SWEEPS_WARM as usize),
        (Patience::None, swept(STRIDE, 0), 1),
    ] {
        run.end(Way { patience, is_sure: false }, 1, swept);
        assert_eq!(looks(SWEEPS_WARM), looks_of, "{patience:?} {swept:?}");
    }
}

proptest! {
    /// However the keys of a sweep are shared out.
    #[test]
    fn parts_of_a_sweep_find_what_all_of_it_does(count in 1u64..3_000, length in 1usize..3_000, narrow: bool) {
        let order = Order::new(narrow, [1, 2, 3, 4]);
        let facts = facts(&order, count);
        let run = open(bytes_of(&order, &facts, count), &order).unwrap();
        let keys = facts.keys().copied().collect::<Vec<_>>();
        let whole = ask(&run, &keys, false).unwrap().0;
        let (way, mut parts, mut sum) = (run.begin(true), Vec::new(), Swept::default());
        for (number, some) in keys.chunks(length).enumerate() {
            sum += run.sweep(way, some, (number * length) as u32, &mut parts).unwrap();
        }
        prop_assert_eq!((sum.found, sum.late), (whole.len(), 0));
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn a_run_gives_back_its_facts(
        narrow: bool,
        seed: [u64; 4],
        facts in proptest::collection::btree_map(
            (prop_oneof![any::<u64>(), 0u64..20, (0u64..20).prop_map(|n| u64::MAX - n)], 0u64..3),
            proptest::collection::vec((0u32..1 << 26, 0u32..1 << 30), 1..3),
            0..400,
        ),
        spare in 0u64..10_000,
        others in proptest::collection::vec((any::<u64>(), 0u64..3), 0..20),
    ) {
        let order = Order::new(narrow, seed);
        let mixed = |(high, low): (u64, u64)| order.mixed(KeyId([high, if narrow { 0 } else { low }]));
        let facts: BTreeMap<Mixed, Vec<RowLocation>> =
            facts.into_iter().map(|(key, at)| (mixed(key), at.into_iter().map(|(f, r)| row(f, r)).collect())).collect();
        let count = facts.values().map(Vec::len).sum::<usize>() as u64;
        let run = open(bytes_of(&order, &facts, count + spare), &order).unwrap();
        prop_assert_eq!(run.entries(), count);
        let mut keys: Vec<Mixed> = facts.keys().copied().chain(others.into_iter().map(mixed)).collect();
        keys.sort();
        keys.dedup();
        let (found, swept) = ask(&run, &keys, true).unwrap();
        let at_of = |(at, key): (usize, &Mixed)| {
            facts.get(key).into_iter().flatten().map(|location| (at as u32, *location)).collect::<Vec<_>>()
        };
        prop_assert_eq!(found, keys.iter().enumerate().flat_map(at_of).collect::<Vec<_>>());
        let all = facts.iter().flat_map(|(key, at)| at.iter().map(|at| Fact { key: *key, at: *at }));
        prop_assert_eq!(swept, all.collect::<Vec<_>>());
    }

    /// With right checksums only what is behind them stands between hostile bytes and a panic.
    #[test]
    fn no_sealed_bytes_make_it_panic(
        narrow: bool,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        header in proptest::collection::vec((24usize..48, any::<u8>()), 0..3),
        cut in proptest::option::of(0usize..8 * PAGE),
    ) {
        let order = Order::new(narrow, [1, 2, 3, 4]);
        let facts = facts(&order, 700);
        let mut bytes = bytes_of(&order, &facts, 700);
        let pages = open(bytes.clone(), &order).unwrap().sealed.pages() as usize;
        bytes.truncate(pages * PAGE);
        for (at, value) in changes {
            let length = bytes.len();
            bytes[PAGE + at.index(length - PAGE)] = value;
        }
        header.into_iter().for_each(|(at, value)| bytes[at] = value);
        bytes.truncate(cut.unwrap_or(usize::MAX));
        let keys: Vec<Mixed> = facts.keys().copied().collect();
        if let Ok(run) = open(sealed(&bytes), &order) {
            let _ = ask(&run, &keys, true);
        }
        let _ = probe(sealed(&bytes), &[0, 1, u64::MAX]);
        let _ = probe(bytes, &[0, 1, u64::MAX]);
    }
}

/// With right checksums, a directory that leaves out the last entries or all of them.
#[test]
fn sk_51_a_directory_without_entries_is_damaged() {
    let order = Order::new(true, [1, 2, 3, 4]);
    let good = bytes_of(&order, &facts(&order, 140), 140);
    let run = open(good.clone(), &order).unwrap();
    let (at, pages, buckets) = (run.layout.directory_at() as usize, run.sealed.pages() as usize, run.layout.buckets());
    assert!(buckets > 1);
    // Every bucket ends there: before the last entry, or before any.
    for end in [139_u32, 0] {
        let mut bad = good[..pages * PAGE].to_vec();
        for bucket in 1..=buckets as usize {
            bad[at + 4 * bucket..at + 4 * bucket + 4].copy_from_slice(&end.to_le_bytes());
        }
        let run = open(sealed(&bad), &order).unwrap();
        assert_eq!(sweep(&run).unwrap_err().code(), DAMAGED, "{end}");
    }
}

#[test]
fn sk_51_no_changed_or_shortened_run_gives_a_wrong_answer() {
    for narrow in [true, false] {
        let order = Order::new(narrow, random_seed());
        let facts = facts(&order, 60);
        let keys: Vec<Mixed> = facts.keys().copied().collect();
        let good = bytes_of(&order, &facts, 60);
        let right = ask(&open(good.clone(), &order).unwrap(), &keys, true).unwrap();
        assert_eq!(right.0.len(), 60);
        let (mut refused, mut failed) = (0, 0);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            match open(bad, &order) {
                Err(error) => {
                    assert_eq!(error.code(), DAMAGED);
                    refused += 1;
                }
                Ok(run) => {
                    let error = ask(&run, &keys, at % 16 == 0).unwrap_err();
                    assert_eq!(error.code(), DAMAGED);
                    failed += 1;
                }
            }
        }
        // The header, the checksums and the footer are checked at once, three more pages when they are touched.
        assert_eq!((refused, failed), (PAGE + 4 * 4 + 16, 3 * PAGE));
        for length in (0..good.len()).rev().step_by(61).chain(good.len() - 40..good.len()) {
            assert_eq!(open(good[..length].to_vec(), &order).unwrap_err().code(), DAMAGED, "cut at {length}");
        }
        for stranger in [Order::new(!narrow, order.seed()), Order::new(narrow, random_seed())] {
            assert_eq!(open(good.clone(), &stranger).unwrap_err().code(), DAMAGED);
        }
    }
}

#[test]
fn what_does_not_fit_an_entry_is_refused() {
    let order = Order::new(true, random_seed());
    let folder = Folder::open(None).unwrap();
    let key = |high| Mixed { high, low: 0 };
    for (first, second, code) in [
        (Fact { key: key(1), at: row(1 << 26, 0) }, None, "index_spent"),
        (Fact { key: key(1), at: row(0, 1 << 30) }, None, "delta_file_rows"),
        (Fact { key: key(2), at: row(0, 0) }, Some(Fact { key: key(1), at: row(0, 1) }), "index_order"),
    ] {
        let mut writer = RunWriter::new(folder.create().unwrap(), &order, 2).unwrap();
        let pushed = writer.push(first).and_then(|()| second.map_or(Ok(()), |fact| writer.push(fact)));
        assert_eq!(pushed.unwrap_err().code(), code);
    }
    assert_eq!(RunWriter::new(folder.create().unwrap(), &order, 1 << 32).unwrap_err().code(), "index_range");
    let mut full = RunWriter::new(folder.create().unwrap(), &order, 1).unwrap();
    let last = Fact { key: key(u64::MAX), at: row((1 << 26) - 1, (1 << 30) - 1) };
    full.push(last).unwrap();
    assert_eq!(full.push(last).unwrap_err().code(), "index_order");
    assert_eq!(sweep(&Arc::new(full.finish(false).unwrap())).unwrap(), [last]);
}

/// KiB of a run's map that are part of the process.
fn resident(run: &Run) -> u64 {
    let address = run.sealed.all_bytes().as_ptr() as u64;
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_ours = false;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match (words.next().unwrap(), words.next()) {
            ("Rss:", Some(size)) if is_ours => return size.parse().unwrap(),
            (range, Some(_)) if range.contains('-') => {
                let (from, to) = range.split_once('-').unwrap();
                let at = |text| u64::from_str_radix(text, 16).unwrap();
                is_ours = (at(from)..at(to)).contains(&address);
            }
            _ => {}
        }
    }
    panic!("the run is not mapped")
}

/// The pieces of a large table wait by the dozen for their merge, and are no part of the process before, in and after it.
#[test]
fn a_run_that_is_only_swept_takes_no_memory() {
    let order = Order::new(true, random_seed());
    let facts = facts(&order, 100_000);
    let mut writer = RunWriter::new(Folder::open(None).unwrap().create().unwrap(), &order, 100_000).unwrap();
    for (key, locations) in &facts {
        locations.iter().for_each(|at| writer.push(Fact { key: *key, at: *at }).unwrap());
    }
    let run = Arc::new(writer.finish(true).unwrap());
    assert_eq!(resident(&run), 0, "opened");
    assert_eq!(sweep(&run).unwrap().len(), facts.len());
    assert_eq!(resident(&run), 0, "swept");
    let mut found = Vec::new();
    run.seek(&facts.keys().copied().collect::<Vec<_>>(), false, &mut found).unwrap();
    assert_eq!(found.len(), facts.len());
    assert_eq!(resident(&run), 0, "every key was found: the filter is let go");
    run.seek(&facts.keys().copied().collect::<Vec<_>>(), false, &mut found).unwrap();
    assert!(resident(&run) > 0, "small as it is, it is read through the map");
}
