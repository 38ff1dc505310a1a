//! Which files to rewrite next. Pure.

use crate::config::Budget;
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
}

/// Files from this part of the target on are not merged for their size.
const FULL_PART: u64 = 2;
/// Tiers of small files: those below a part of the target are merged when there are so many of them.
const TIERS: [(u64, usize); 3] = [(32, 16), (4, 8), (FULL_PART, 4)];
/// A byte of deletion vectors for so many bytes of data is no burden for readers.
const DATA_PER_VECTOR_BYTE: u64 = 512;

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

/// The files to rewrite together, by their place in `files`; empty when the table is in order.
pub(crate) fn plan(files: &[Candidate], budget: &Budget, occasion: Occasion) -> Vec<usize> {
    let small = |tier: usize| small_files(files, budget, tier, occasion.left);
    let plans: [&dyn Fn() -> Vec<usize>; 7] = [
        &|| small(0),
        &|| too_old(files, budget, occasion.now),
        &|| too_many_deleted(files, budget),
        &|| over_budget(files, budget),
        &|| small(1),
        &|| small(2),
        &|| if occasion.rests { any_deleted(files, budget) } else { Vec::new() },
    ];
    plans.iter().map(|plan| plan()).find(|chosen| !chosen.is_empty()).unwrap_or_default()
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

/// Any deleted rows; what takes least time first.
fn any_deleted(files: &[Candidate], budget: &Budget) -> Vec<usize> {
    let mut chosen = numbers(files, Candidate::has_vector);
    chosen.sort_by_key(|at| files.get(*at).map(|file| file.size));
    up_to_target(files, budget, chosen)
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
) -> Vec<usize> {
    let mut by_partition: BTreeMap<&Partition, Vec<usize>> = BTreeMap::new();
    for (at, partition) in partitions.iter().enumerate() {
        by_partition.entry(partition).or_default().push(at);
    }
    let of = |places: &[usize]| places.iter().filter_map(|at| files.get(*at)).copied().collect::<Vec<_>>();
    let mut turn = by_partition.iter().collect::<Vec<_>>();
    turn.sort_by_key(|(partition, _)| Some(**partition) <= last);
    let own = turn.into_iter().find_map(|(_, places)| {
        let chosen = plan(&of(places), budget, occasion);
        (!chosen.is_empty()).then(|| chosen.iter().filter_map(|at| places.get(*at)).copied().collect())
    });
    // What all of them together are too much of, the partition of the worst file has to make good.
    own.unwrap_or_else(|| {
        let chosen = over_budget(files, budget);
        let first = chosen.first().and_then(|at| partitions.get(*at));
        chosen.iter().filter(|at| partitions.get(**at) == first).copied().collect()
    })
}

fn over_budget(files: &[Candidate], budget: &Budget) -> Vec<usize> {
    let vectors = files.iter().filter(|file| file.has_vector()).count();
    let vector_bytes = files.iter().map(|file| file.vector_bytes).sum::<u64>();
    let data_bytes = files.iter().map(|file| file.size).sum::<u64>();
    let bytes_max = budget.vector_bytes.max(data_bytes / DATA_PER_VECTOR_BYTE);
    if vectors <= budget.vector_files && vector_bytes <= bytes_max {
        return Vec::new();
    }
    // Too many files are fewest bytes to rewrite with the smallest first, too many bytes with the worst.
    let mut chosen = numbers(files, Candidate::has_vector);
    match vectors > budget.vector_files {
        true => chosen.sort_by_key(|at| files.get(*at).map(|file| file.size)),
        false => chosen.sort_by_key(|at| files.get(*at).map(|file| u64::MAX - file.deleted)),
    }
    up_to_target(files, budget, chosen)
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

    const MB: u64 = 1 << 20;
    const BUDGET: Budget = Budget {
        target_bytes: 256 * MB,
        deleted_percent: 20,
        deleted_age: Some(70),
        bytes_per_second: None,
        vector_files: 256,
        vector_bytes: 4 * MB,
    };
    const BUSY: Occasion = Occasion { now: 100, rests: false, left: 1 };
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
            assert_eq!(plan(&files, &BUDGET, BUSY), chosen, "{what}");
        }
        for (left, chosen) in [(0, 20), (10, 20), (11, 0), (usize::MAX, 0)] {
            assert_eq!(
                plan(&[file(MB, 0, 0); 20], &BUDGET, Occasion { left, ..BUSY }).len(),
                chosen,
                "{left} are left"
            );
        }
        let of = |name: &str| Partition::new(BTreeMap::from([("p".to_owned(), Some(name.to_owned()))]));
        let (small, names) = ([file(MB, 0, 0); 32], [of("a"), of("b")]);
        let partitions: Vec<Partition> = (0..32).map(|at| Partition::clone(&names[usize::from(at >= 15)])).collect();
        assert_eq!(
            plan_partitioned(&small, &partitions, (&BUDGET, BUSY), None),
            (15..32).collect::<Vec<_>>(),
            "those of one partition"
        );
        let vectors = [file(140 * MB, 10, 3 * MB), file(140 * MB, 12, 3 * MB), file(140 * MB, 11, MB)];
        let partitions = [of("a"), of("b"), of("b")];
        assert_eq!(plan_partitioned(&vectors, &partitions, (&BUDGET, BUSY), None), [1], "all vectors together");
        let many = vec![file(140 * MB, 1, 9); 257];
        assert_eq!(plan(&many, &BUDGET, BUSY), [0], "the number of files with vectors");
    }

    #[test]
    fn partitions_take_turns() {
        let of = |name: &str| Partition::new(BTreeMap::from([("p".to_owned(), Some(name.to_owned()))]));
        let (files, names) = ([file(MB, 0, 0); 64], ["a", "b", "c", "d"].map(of));
        let partitions: Vec<Partition> = (0..64).map(|at| Partition::clone(&names[at % 4])).collect();
        let turns = [None, Some(0), Some(1), Some(2), Some(3)].map(|last| {
            let last = last.and_then(|at: usize| names.get(at));
            let chosen = plan_partitioned(&files, &partitions, (&BUDGET, BUSY), last);
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
            assert_eq!(plan(&files, &Budget { deleted_age: age, ..BUDGET }, occasion), chosen, "{what}");
        }
        assert_eq!(next_due(&files, &BUDGET), Some(29 + 70));
        assert_eq!(next_due(&files[1..2], &BUDGET), None);
    }
}
