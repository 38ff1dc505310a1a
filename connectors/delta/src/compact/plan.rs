//! Which files to rewrite next. Pure.

use crate::config::{Budget, FILE_BYTES_MAX};
use crate::log::Partition;
use std::collections::BTreeMap;

/// What is known of a live file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Candidate {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Rows, deleted ones included.
    pub(crate) rows: u64,
    /// Rows that are deleted.
    pub(crate) deleted: u64,
    /// Bytes of its deletion vector.
    pub(crate) vector_bytes: u64,
    /// When the first of the deleted rows was deleted, in milliseconds since 1970.
    pub(crate) deleted_since: i64,
}

/// When files are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion {
    /// Milliseconds since 1970.
    pub(crate) now: i64,
    /// Whether nobody changes the table: a good time to free its readers of deleted rows.
    pub(crate) rests: bool,
    /// Files that the last rewriting left in place of others: one for each set of columns that files of the table have. So many
    /// small ones stay whatever is done.
    pub(crate) left: usize,
    /// Bytes that may be rewritten for nothing but readers' comfort.
    pub(crate) allowance: u64,
}

/// Files to rewrite together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Their places; none when the table is in order.
    pub(crate) files: Vec<usize>,
    /// Whether it is for readers' comfort alone: the next change may make it as if it had never been done, so that it must be paid for.
    pub(crate) is_paid: bool,
}

/// Files from this part of the target on are not merged for their size.
const FULL_PART: u64 = 2;
/// Tiers of small files: those below a part of the target are merged when there are so many of them.
const TIERS: [(u64, usize); 3] = [(32, 16), (4, 8), (FULL_PART, 4)];
/// A byte of deletion vectors for so many bytes of data is no burden for readers.
const DATA_PER_VECTOR_BYTE: u64 = 512;
/// Where too many files have a vector, they are merged into files of such a part of what is allowed: nearly all of them are
/// larger than half of it then, and fewer than half as many as may be.
const MERGED_PART: u64 = 4;

impl Candidate {
    /// Bytes that a copy of the live rows will take, nearly.
    fn live_bytes(&self) -> u64 {
        let live = u128::from(self.rows.saturating_sub(self.deleted));
        u64::try_from(u128::from(self.size) * live / u128::from(self.rows.max(1))).unwrap_or(self.size)
    }

    fn has_vector(&self) -> bool {
        self.deleted > 0
    }

    /// When it must have been rewritten, in milliseconds since 1970.
    fn due(&self, budget: &Budget) -> Option<i64> {
        budget.deleted_age.filter(|_| self.has_vector()).map(|age| self.deleted_since.saturating_add(age))
    }
}

/// The files to rewrite together, by their place in `files`.
pub(crate) fn plan(files: &[Candidate], budget: &Budget, occasion: Occasion) -> Plan {
    let own = plan_alike(files, budget, occasion);
    if own.files.is_empty() { over_budget(files, |_| None, budget, occasion) } else { own }
}

/// As `plan`, of files that may all be merged with each other, but for what all files of the table together are too much of.
fn plan_alike(files: &[Candidate], budget: &Budget, occasion: Occasion) -> Plan {
    let small = |tier: usize| small_files(files, budget, tier, occasion.left);
    let plans: [&dyn Fn() -> Vec<usize>; 5] = [
        &|| small(0),
        &|| too_old(files, budget, occasion.now),
        &|| too_many_deleted(files, budget),
        &|| small(1),
        &|| small(2),
    ];
    match plans.iter().map(|plan| plan()).find(|chosen| !chosen.is_empty()) {
        Some(files) => Plan { files, is_paid: false },
        None if occasion.rests => Plan { files: any_deleted(files, budget, occasion.allowance), is_paid: true },
        None => Plan::default(),
    }
}

/// When the next file will have had deleted rows for too long, in milliseconds since 1970.
pub(crate) fn next_due(files: &[Candidate], budget: &Budget) -> Option<i64> {
    files.iter().filter_map(|file| file.due(budget)).min()
}

/// Deleted rows that must not stay any longer, the oldest first.
fn too_old(files: &[Candidate], budget: &Budget, now: i64) -> Vec<usize> {
    let mut chosen = numbers(files, |file| file.due(budget).is_some_and(|due| due <= now));
    chosen.sort_by_key(|at| files.get(*at).map(|file| file.deleted_since));
    up_to_target(files, budget, chosen)
}

/// Any deleted rows, for so many bytes; what takes least time first.
fn any_deleted(files: &[Candidate], budget: &Budget, allowance: u64) -> Vec<usize> {
    let mut left = allowance;
    let mut chosen = with_vectors(files);
    chosen.retain(|at| {
        let rest = files.get(*at).and_then(|file| left.checked_sub(file.size));
        left = rest.unwrap_or(0);
        rest.is_some()
    });
    up_to_target(files, budget, chosen)
}

/// Files with deleted rows, the smallest first.
fn with_vectors(files: &[Candidate]) -> Vec<usize> {
    let mut chosen = numbers(files, Candidate::has_vector);
    chosen.sort_by_key(|at| files.get(*at).map(|file| file.size));
    chosen
}

/// What would be rewritten for readers' comfort if that cost nothing: bytes of the smallest such file.
pub(crate) fn waiting_bytes(files: &[Candidate], budget: &Budget, rests: bool) -> Option<u64> {
    let smallest = files.iter().filter(|file| file.has_vector()).map(|file| file.size).min();
    smallest.filter(|_| rests || vectors(files) > budget.vector_files)
}

fn vectors(files: &[Candidate]) -> usize {
    files.iter().filter(|file| file.has_vector()).count()
}

/// Merges the files of a tier when they are many, and at least twice as many as will be `left`.
fn small_files(files: &[Candidate], budget: &Budget, tier: usize, left: usize) -> Vec<usize> {
    let Some((part, many)) = TIERS.get(tier) else { return Vec::new() };
    let from = tier.checked_sub(1).and_then(|below| TIERS.get(below)).map_or(0, |(part, _)| budget.target_bytes / part);
    let range = from..budget.target_bytes / part;
    let mut chosen = numbers(files, |file| range.contains(&file.size));
    if chosen.len() < left.saturating_mul(2).max(*many) {
        return Vec::new();
    }
    chosen.sort_by_key(|at| files.get(*at).map(|file| file.size));
    up_to_target(files, budget, chosen)
}

fn too_many_deleted(files: &[Candidate], budget: &Budget) -> Vec<usize> {
    let mut chosen = numbers(files, |file| {
        u128::from(file.deleted) * 100 > u128::from(budget.deleted_percent) * u128::from(file.rows)
    });
    chosen.sort_by_key(|at| files.get(*at).map(Candidate::live_bytes));
    up_to_target(files, budget, chosen)
}

/// The files to rewrite of a table with partitions, whose files are of these; all are of one. The partitions after the `last`
/// one that was rewritten come first: some always have too many files again by the time that the next one may be.
pub(crate) fn plan_partitioned(
    files: &[Candidate],
    partitions: &[Partition],
    (budget, occasion): (&Budget, Occasion),
    last: Option<&Partition>,
) -> Plan {
    let mut by_partition: BTreeMap<&Partition, Vec<usize>> = BTreeMap::new();
    for (at, partition) in partitions.iter().enumerate() {
        by_partition.entry(partition).or_default().push(at);
    }
    let of = |places: &[usize]| places.iter().filter_map(|at| files.get(*at)).copied().collect::<Vec<_>>();
    let mut turn = by_partition.iter().collect::<Vec<_>>();
    turn.sort_by_key(|(partition, _)| Some(**partition) <= last);
    let own = turn.into_iter().find_map(|(_, places)| {
        let Plan { files, is_paid } = plan_alike(&of(places), budget, occasion);
        let files: Vec<usize> = files.iter().filter_map(|at| places.get(*at)).copied().collect();
        (!files.is_empty()).then_some(Plan { files, is_paid })
    });
    own.unwrap_or_else(|| over_budget(files, |at| partitions.get(at), budget, occasion))
}

/// What all files together have too much of, a partition has to make good.
fn over_budget<'a>(
    files: &[Candidate],
    partition_of: impl Fn(usize) -> Option<&'a Partition>,
    budget: &Budget,
    occasion: Occasion,
) -> Plan {
    if vectors(files) > budget.vector_files {
        let chosen = with_vectors(files);
        let merged = mergeable(files, chosen.iter().map(|at| (partition_of(*at), *at)), budget, occasion.left);
        if !merged.is_empty() {
            return Plan { files: merged, is_paid: false };
        }
        // No file less, but one with no vector until its next row goes, which may be at once.
        let first = chosen.first().copied().filter(|at| files.get(*at).is_some_and(|f| f.size <= occasion.allowance));
        return Plan { files: first.into_iter().collect(), is_paid: true };
    }
    let vector_bytes = files.iter().map(|file| file.vector_bytes).sum::<u64>();
    if vector_bytes <= budget.vector_bytes.max(bytes_of(files) / DATA_PER_VECTOR_BYTE) {
        return Plan::default();
    }
    // Fewest bytes are to be rewritten with the worst first, and they come again only with as many more deleted rows.
    let mut chosen = numbers(files, Candidate::has_vector);
    chosen.sort_by_key(|at| files.get(*at).map(|file| u64::MAX - file.deleted));
    let partition = chosen.first().and_then(|at| partition_of(*at));
    chosen.retain(|at| partition_of(*at) == partition);
    Plan { files: up_to_target(files, budget, chosen), is_paid: false }
}

/// Files of a partition that are fewer once they are merged, and stay so, even if every one has a vector again with the next
/// commit: in a large table changes of rows anywhere leave no file without one. Those of the partition with most of them;
/// each comes with its partition, the smallest first.
fn mergeable<'a>(
    files: &[Candidate],
    with_vectors: impl Iterator<Item = (Option<&'a Partition>, usize)>,
    budget: &Budget,
    left: usize,
) -> Vec<usize> {
    let mut by_partition: BTreeMap<Option<&Partition>, Vec<usize>> = BTreeMap::new();
    for (partition, at) in with_vectors {
        by_partition.entry(partition).or_default().push(at);
    }
    let most = by_partition.into_values().max_by_key(Vec::len).unwrap_or_default();
    let part = bytes_of(files).saturating_mul(MERGED_PART) / (budget.vector_files as u64).max(1);
    let target = part.min(FILE_BYTES_MAX).max(budget.target_bytes);
    let chosen = fill(most, target, |at| files.get(*at).map_or(0, Candidate::live_bytes));
    if chosen.len() < left.saturating_mul(2).max(2) { Vec::new() } else { chosen }
}

/// Bytes of all of them.
pub(crate) fn bytes_of(files: &[Candidate]) -> u64 {
    files.iter().map(|file| file.size).sum()
}

fn numbers(files: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<usize> {
    files.iter().enumerate().filter(|(_, file)| wanted(file)).map(|(at, _)| at).collect()
}

fn up_to_target(files: &[Candidate], budget: &Budget, chosen: Vec<usize>) -> Vec<usize> {
    fill(chosen, budget.target_bytes, |at| files.get(*at).map_or(0, Candidate::live_bytes))
}

/// The first files, as many as fill a file of so many bytes; at least one.
pub(crate) fn fill<T>(files: Vec<T>, target_bytes: u64, bytes_of: impl Fn(&T) -> u64) -> Vec<T> {
    let mut bytes = 0;
    let fits = |file: &T| {
        let first = bytes == 0;
        bytes += bytes_of(file).max(1);
        first || bytes <= target_bytes
    };
    files.into_iter().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::Allowance;

    const MB: u64 = 1 << 20;
    const BUDGET: Budget = Budget {
        target_bytes: 256 * MB,
        deleted_percent: 20,
        deleted_age: Some(70),
        bytes_per_second: None,
        vector_files: 256,
        vector_bytes: 4 * MB,
    };
    const BUSY: Occasion = Occasion { now: 100, rests: false, left: 1, allowance: u64::MAX };
    const RESTS: Occasion = Occasion { rests: true, ..BUSY };

    fn file(size: u64, deleted: u64, vector_bytes: u64) -> Candidate {
        Candidate { size, rows: 1_000, deleted, vector_bytes, deleted_since: 50 }
    }

    #[test]
    fn what_is_rewritten() {
        for (what, files, chosen) in [
            ("nothing", vec![file(256 * MB, 0, 0); 40], vec![]),
            ("few small ones", vec![file(MB, 0, 0); 15], vec![]),
            ("many small ones", [vec![file(200 * MB, 0, 0)], vec![file(MB, 0, 0); 16]].concat(), (1..17).collect()),
            ("a snapshot's files are left alone", vec![file(130 * MB, 0, 0); 8], vec![]),
            ("the second tier", vec![file(9 * MB, 0, 0); 8], (0..8).collect()),
            ("a file at the limit", vec![file(256 * MB, 200, 9)], vec![]),
            ("a file above the limit", vec![file(256 * MB, 0, 0), file(256 * MB, 201, 9)], vec![1]),
            ("as many as fill a file", vec![file(200 * MB, 500, 9); 5], vec![0, 1]),
            ("one that is too large by itself", vec![file(900 * MB, 500, 9); 2], vec![0]),
            ("the bytes of vectors", vec![file(140 * MB, 10, MB), file(140 * MB, 11, 4 * MB)], vec![1]),
            (
                "bytes that the data outweighs",
                [vec![file(9_000 * MB, 0, 0)], vec![file(140 * MB, 9, 6 * MB)]].concat(),
                vec![],
            ),
        ] {
            assert_eq!(plan(&files, &BUDGET, BUSY).files, chosen, "{what}");
        }
        for (left, chosen) in [(0, 20), (10, 20), (11, 0), (usize::MAX, 0)] {
            assert_eq!(
                plan(&[file(MB, 0, 0); 20], &BUDGET, Occasion { left, ..BUSY }).files.len(),
                chosen,
                "{left} are left"
            );
        }
        let of = |name: &str| Partition::new(BTreeMap::from([("p".to_owned(), Some(name.to_owned()))]));
        let (small, names) = ([file(MB, 0, 0); 32], [of("a"), of("b")]);
        let partitions: Vec<Partition> = (0..32).map(|at| Partition::clone(&names[usize::from(at >= 15)])).collect();
        assert_eq!(
            plan_partitioned(&small, &partitions, (&BUDGET, BUSY), None).files,
            (15..32).collect::<Vec<_>>(),
            "those of one partition"
        );
        let vectors = [file(140 * MB, 10, 3 * MB), file(140 * MB, 12, 3 * MB), file(140 * MB, 11, MB)];
        let partitions = [of("a"), of("b"), of("b")];
        assert_eq!(plan_partitioned(&vectors, &partitions, (&BUDGET, BUSY), None).files, [1], "all vectors together");
    }

    #[test]
    fn partitions_take_turns() {
        let of = |name: &str| Partition::new(BTreeMap::from([("p".to_owned(), Some(name.to_owned()))]));
        let (files, names) = ([file(MB, 0, 0); 64], ["a", "b", "c", "d"].map(of));
        let partitions: Vec<Partition> = (0..64).map(|at| Partition::clone(&names[at % 4])).collect();
        let turns = [None, Some(0), Some(1), Some(2), Some(3)].map(|last| {
            let last = last.and_then(|at: usize| names.get(at));
            let chosen = plan_partitioned(&files, &partitions, (&BUDGET, BUSY), last).files;
            (chosen.len(), chosen[0])
        });
        assert_eq!(turns, [(16, 0), (16, 1), (16, 2), (16, 3), (16, 0)]);
    }

    #[test]
    fn deleted_rows_do_not_stay() {
        let since = |size, deleted, deleted_since| Candidate { deleted_since, ..file(size, deleted, 9) };
        let files = [since(200 * MB, 3, 40), since(100 * MB, 0, 0), since(90 * MB, 1, 60), since(80 * MB, 1, 29)];
        for (what, occasion, age, chosen) in [
            ("none is old", BUSY, Some(72), vec![]),
            ("one is", BUSY, Some(71), vec![3]),
            ("the older first, as many as fill a file", BUSY, Some(60), vec![3]),
            ("there is no age", BUSY, None, vec![]),
            ("a table at rest, as many as fill a file", RESTS, None, vec![3, 2]),
        ] {
            assert_eq!(plan(&files, &Budget { deleted_age: age, ..BUDGET }, occasion).files, chosen, "{what}");
        }
        assert_eq!(next_due(&files, &BUDGET), Some(29 + 70));
        assert_eq!(next_due(&files[1..2], &BUDGET), None);
    }

    #[test]
    fn too_many_files_with_vectors_become_fewer() {
        let of = |names: &[usize]| {
            let one = |name| Partition::new(BTreeMap::from([("p".to_owned(), Some(format!("{name}")))]));
            names.iter().map(one).collect::<Vec<_>>()
        };
        let (paid, free) = (|files: Vec<usize>| Plan { files, is_paid: true }, |files| Plan { files, is_paid: false });
        let alone = (0..257).collect::<Vec<_>>();
        let first = [alone.clone(), vec![0, 0]].concat();
        for (what, size, names, allowance, left, expected) in [
            ("as many as a 64th of the table has", 140 * MB, vec![0; 257], 0, 1, free(vec![0, 1, 2, 3])),
            ("two of the largest that there are", 2_048 * MB, vec![0; 257], 0, 1, free(vec![0, 1])),
            ("files that are as large as any may be", 3_000 * MB, vec![0; 257], u64::MAX, 1, paid(vec![0])),
            ("those of one partition", 140 * MB, first, 0, 1, free(vec![0, 257, 258])),
            ("files of other columns each", 140 * MB, vec![0; 257], 140 * MB, 3, paid(vec![0])),
            ("each in a partition", 140 * MB, alone.clone(), 140 * MB, 1, paid(vec![0])),
            ("there is nothing to pay it with", 140 * MB, alone, 139 * MB, 1, paid(vec![])),
        ] {
            let (files, partitions) = (vec![file(size, 1, 9); names.len()], of(&names));
            let occasion = Occasion { allowance, left, ..BUSY };
            assert_eq!(plan_partitioned(&files, &partitions, (&BUDGET, occasion), None), expected, "{what}");
            assert_eq!(waiting_bytes(&files, &BUDGET, false), Some(size), "{what}");
            assert_eq!(waiting_bytes(&files[..256], &BUDGET, false), None, "{what}, one less");
        }
    }

    #[test]
    fn what_rests_is_freed_for_as_many_bytes_as_there_are() {
        let files = [file(90 * MB, 1, 9), file(20 * MB, 0, 0), file(70 * MB, 1, 9), file(80 * MB, 1, 9)];
        for (allowance, chosen) in [(0, vec![]), (149, vec![2]), (150, vec![2, 3]), (240, vec![2, 3, 0])] {
            let expected = Plan { is_paid: !chosen.is_empty(), files: chosen };
            assert_eq!(plan(&files, &BUDGET, Occasion { allowance: allowance * MB, ..RESTS }), expected, "{allowance}");
        }
        let waiting = [true, false].map(|rests| waiting_bytes(&files, &BUDGET, rests));
        assert_eq!(waiting, [Some(70 * MB), None]);
    }

    /// A day of commits that each leave a vector in every file, a minute apart, or so far apart that the table rests in between,
    /// with as much rewritten as there is reason to: times the table was written, and files in the end.
    fn day_of_changes(files: usize, partitions: usize, rests: bool) -> (f64, usize) {
        let names = ["a", "b", "c", "d", "e"].map(|name| Partition::new(BTreeMap::from([(name.to_owned(), None)])));
        let name = |at: usize| names[at % partitions.min(names.len())].clone();
        let mut live: Vec<(Candidate, Partition)> = (0..files).map(|at| (file(200 * MB, 1, 9), name(at))).collect();
        let (mut allowance, mut left, mut written) = (Allowance::default(), 0, 0);
        let table: u64 = bytes_of(&live.iter().map(|(file, _)| *file).collect::<Vec<_>>());
        for minute in (0..24 * 60).step_by(if rests { 11 } else { 1 }) {
            live.iter_mut().for_each(|(file, _)| *file = Candidate { deleted: 1, vector_bytes: 9, ..*file });
            for _ in 0..50 {
                let (found, of): (Vec<_>, Vec<_>) = live.iter().cloned().unzip();
                let now = minute * 60_000;
                let occasion = Occasion { now, rests, left, allowance: allowance.at(now, bytes_of(&found)) };
                let budget = Budget { deleted_age: None, ..BUDGET };
                let plan = plan_partitioned(&found, &of, (&budget, occasion), None);
                let Some(first) = plan.files.first() else { break };
                let bytes = plan.files.iter().map(|at| found[*at].size).sum();
                written += bytes;
                if plan.is_paid {
                    allowance.spend(bytes);
                }
                left = 1;
                live.push((file(bytes, 0, 0), of[*first].clone()));
                let mut at = 0..;
                live.retain(|_| at.next().is_none_or(|at| !plan.files.contains(&at)));
            }
        }
        (written as f64 / table as f64, live.len())
    }

    /// In a table whose changes are anywhere, whatever is freed of vectors has one again with the next commit.
    #[test]
    fn rewriting_for_readers_ends() {
        for (what, files, partitions, rests, times, fewer) in [
            ("few enough files", 250, 1, false, 0.0, 250),
            ("many", 1_000, 1, false, 1.2, 256),
            ("many, of partitions", 1_000, 5, false, 1.2, 256),
            ("a table that rests between two changes", 100, 1, true, 2.2, 100),
        ] {
            let (written, left) = day_of_changes(files, partitions, rests);
            assert!(written <= times && left <= fewer, "{what}: written {written} times, {left} files");
        }
    }
}
