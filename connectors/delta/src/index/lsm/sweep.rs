//! Asks all runs for the keys of a batch, on several threads where there is enough to ask. Knows nothing of which answer
//! counts.

use super::Placed;
use crate::index::RowLocation;
use crate::index::mix::Mixed;
use crate::index::run::{Swept, Way};
use crate::job::{self, side_by_side};
use tidewire_core::Result;

/// Keys for which another thread is worth its start where each look-up is a system call.
const PART: usize = 1 << 10;
/// Keys, of one run, for which it is worth it where each is a few cache misses.
const MAPPED_PART: usize = 1 << 14;

/// A part of the keys, and what is found of them.
struct Part<'a> {
    first: u32,
    keys: &'a [Mixed],
    found: Vec<(u32, RowLocation)>,
    /// Of each run.
    swept: Vec<Swept>,
}

/// Appends what the runs, newest first, know of these keys, which stand in order: the place among the keys, and the location;
/// of each key the newest first.
pub(super) fn sweep(
    runs: &[Placed],
    keys: &[Mixed],
    may_claim: bool,
    found: &mut Vec<(u32, RowLocation)>,
) -> Result<()> {
    let ways = runs.iter().map(|placed| placed.run.begin(may_claim)).collect::<Vec<_>>();
    let is_long = ways.iter().any(|way| way.is_long());
    let part = if is_long { PART } else { (MAPPED_PART / runs.len().max(1)).max(1) };
    let threads = job::threads();
    let length = keys.len().div_ceil(threads).max(part);
    let begin = |(number, keys)| {
        let (found, swept) = (Vec::with_capacity(length), vec![Swept::default(); runs.len()]);
        Part { first: (number * length) as u32, keys, found, swept }
    };
    let mut parts = keys.chunks(length).enumerate().map(begin).collect::<Vec<_>>();
    side_by_side(parts.iter_mut().collect(), threads, |part| ask(runs, &ways, part))?;
    for (number, (placed, way)) in runs.iter().zip(ways).enumerate() {
        let mut sum = Swept::default();
        parts.iter().filter_map(|part| part.swept.get(number)).for_each(|swept| sum += *swept);
        placed.run.end(way, keys.len(), sum);
    }
    parts.into_iter().for_each(|part| found.extend(part.found));
    Ok(())
}

fn ask(runs: &[Placed], ways: &[Way], part: &mut Part<'_>) -> Result<()> {
    for ((placed, way), swept) in runs.iter().zip(ways).zip(&mut part.swept) {
        *swept = placed.run.sweep(*way, part.keys, part.first, &mut part.found)?;
    }
    Ok(())
}
