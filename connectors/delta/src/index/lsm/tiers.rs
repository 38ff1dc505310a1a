//! Which runs to merge next. Knows only their sizes and their order.

use super::Limits;
use crate::index::run::ENTRIES_MAX;
use std::ops::Range;

/// A run to the policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sized {
    pub(super) entries: u64,
    pub(super) sequence: u64,
}

/// Neighbours, of the lowest tier that has enough runs: a streak of runs of the tier and lower ones. `marks` are
/// numbers in the order that no merge may cross. With too many runs, the longest streak whatever its sizes.
pub(super) fn choose(runs: &[Sized], marks: &[u64], limits: &Limits) -> Option<Range<usize>> {
    let highest = runs.iter().map(|run| tier(run.entries, limits)).max()?;
    for wanted in 0..=highest {
        let streaks = streaks(runs, marks, |run| tier(run.entries, limits) <= wanted);
        let enough = |streak: &Range<usize>| {
            let members = runs.get(streak.clone()).unwrap_or_default();
            members.iter().filter(|run| tier(run.entries, limits) == wanted).count() >= limits.tier_runs
        };
        if let Some(streak) = streaks.into_iter().find(enough) {
            return Some(streak);
        }
    }
    let all = streaks(runs, marks, |_| true);
    if let Some(range) = all.last().filter(|range| range.len() > 1 && is_mostly_newer(runs, range, limits)) {
        return Some(range.clone());
    }
    let longest = all.into_iter().max_by_key(ExactSizeIterator::len)?;
    (runs.len() > limits.runs_max && longest.len() > 1).then_some(longest)
}

/// Whether the runs that are newer than the oldest are half as large as it. Each of their facts has likely put one of
/// the oldest out of date, which takes space until they are merged.
fn is_mostly_newer(runs: &[Sized], range: &Range<usize>, limits: &Limits) -> bool {
    let oldest = runs.get(range.end - 1).filter(|_| range.end == runs.len()).map_or(0, |run| run.entries);
    let sum: u64 = runs.get(range.clone()).unwrap_or_default().iter().map(|run| run.entries).sum();
    oldest >= limits.tier_entries && (sum - oldest) * 2 >= oldest
}

fn tier(entries: u64, limits: &Limits) -> u32 {
    (entries / limits.tier_entries).checked_ilog2().map_or(0, |log| log / 2 + 1)
}

/// The longest ranges of neighbours that fit, fill no more than one run, and have no mark between them.
fn streaks(runs: &[Sized], marks: &[u64], fits: impl Fn(&Sized) -> bool) -> Vec<Range<usize>> {
    let mut streaks: Vec<Range<usize>> = Vec::new();
    let mut current: Option<(Range<usize>, u64)> = None;
    let mut newer = u64::MAX;
    for (at, run) in runs.iter().enumerate() {
        let crossed = marks.iter().any(|mark| (run.sequence..newer).contains(mark));
        newer = run.sequence;
        current = match current {
            Some((range, entries)) if fits(run) && !crossed && entries + run.entries <= ENTRIES_MAX => {
                Some((range.start..at + 1, entries + run.entries))
            }
            other => {
                streaks.extend(other.map(|(range, _)| range));
                fits(run).then_some((at..at + 1, run.entries))
            }
        };
    }
    streaks.extend(current.map(|(range, _)| range));
    streaks
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { tier_entries: 10, tier_runs: 4, runs_max: 12, builder_facts: 10 };

    fn sized(entries: &[u64]) -> Vec<Sized> {
        let last = entries.len() as u64;
        (0..).zip(entries).map(|(at, entries)| Sized { entries: *entries, sequence: 10 * (last - at) }).collect()
    }

    #[test]
    fn neighbours_of_one_tier_are_merged() {
        for (entries, marks, expect) in [
            (&[][..], &[][..], None),
            (&[1, 2, 3], &[], None),
            (&[1, 2, 3, 9], &[], Some(0..4)),
            (&[1, 2, 3, 9, 10], &[], Some(0..4)),
            // Sequences 50, 40, 30, 20, 10.
            (&[1, 2, 3, 4, 5], &[45], Some(1..5)),
            (&[1, 2, 3, 4, 5], &[35], None),
            // Older than all, or newer.
            (&[1, 2, 3, 4, 5], &[5, 60], Some(0..5)),
            // A small run between large ones goes with them.
            (&[1, 12, 1, 13, 14, 15, 400], &[], Some(0..6)),
            // A large one is not rewritten for a few small ones.
            (&[1, 1, 1, 13, 1, 1, 1], &[], None),
            // Newer runs of half the size of the oldest are merged into it.
            (&[20, 1, 1, 47], &[], None),
            (&[20, 1, 1, 44], &[], Some(0..4)),
            (&[1, 1, 9], &[], None),
            (&[20, 20, 1, 47], &[35], None),
            (&[20, 24, 1, 47], &[35], Some(1..4)),
            (&[ENTRIES_MAX, 1, 1, 1, 1], &[], Some(1..5)),
            (&[1, 100, 1, 1000, 1, 10_000, 1, 100, 1, 1000, 1, 10_000, 1], &[], Some(0..13)),
        ] {
            assert_eq!(choose(&sized(entries), marks, &LIMITS), expect, "{entries:?} {marks:?}");
        }
    }

    #[test]
    fn a_hundred_million_entries_are_few_runs() {
        let limits = Limits::default();
        let mut runs: Vec<Sized> = Vec::new();
        for sequence in 1..=100 {
            runs.insert(0, Sized { entries: 1 << 20, sequence });
            while let Some(range) = choose(&runs, &[], &limits) {
                let entries = runs[range.clone()].iter().map(|run| run.entries).sum();
                runs.splice(range.clone(), [Sized { entries, sequence: runs[range.start].sequence }]);
            }
            assert!(runs.len() <= 12, "{runs:?}");
        }
    }
}
