//! How far commits are apart. Changes spread over a large table touch most of its files in every commit, and what is
//! written for that (deletion vectors, entries of the log) does not grow with the time between two commits, while the new
//! rows do: commits that are further apart cost less in all. Pure but for being told the time.

use crate::log::Weight;
use std::collections::VecDeque;
use std::time::Duration;

/// Commits that are looked back at.
const WINDOW: usize = 8;
/// Bytes of burden that are worth one byte of new data.
const BURDEN_PER_DATA: u64 = 2;
/// A commit whose burden is smaller is no reason to let readers wait: at five seconds this is 4 GB a day.
const BURDEN_MIN: u64 = 256 << 10;
/// The interval grows at most by this factor from one commit to the next.
const GROWTH_MAX: u32 = 2;
/// A commit that came later than so many intervals waited for changes, not for the interval.
const IDLE_INTERVALS: u32 = 2;

/// The time between commits of one sink.
#[derive(Debug)]
pub(super) struct Cadence {
    shortest: Duration,
    longest: Duration,
    now: Duration,
    /// When the last commit with changes was, in milliseconds since 1970.
    last: Option<i64>,
    /// The last commits: what each wrote, and for how long before it changes had come; `None` when they had not.
    window: VecDeque<(Weight, Option<Duration>)>,
}

impl Cadence {
    /// Between `shortest`, where it begins, and `longest`.
    pub(super) fn new(shortest: Duration, longest: Duration) -> Cadence {
        Cadence { shortest, longest, now: shortest, last: None, window: VecDeque::with_capacity(WINDOW) }
    }

    /// The time that commits are apart now.
    pub(super) fn interval(&self) -> Duration {
        self.now
    }

    /// Takes a commit with changes into account; `now` in milliseconds since 1970.
    pub(super) fn committed(&mut self, now: i64, weight: Weight) {
        let since = self.last.replace(now).and_then(|last| u64::try_from(now - last).ok()).map(Duration::from_millis);
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back((weight, since.filter(|since| *since <= self.now * IDLE_INTERVALS)));
        self.now = self.wanted().min(self.now * GROWTH_MAX).clamp(self.shortest, self.longest);
    }

    /// The interval at which the burden of a commit is worth its new data.
    fn wanted(&self) -> Duration {
        let (mut weight, mut time, mut busy) = (Weight::default(), Duration::ZERO, 0u64);
        for (one, since) in self.window.iter().filter_map(|(weight, since)| Some((*weight, (*since)?))) {
            weight += one;
            time += since;
            busy += 1;
        }
        let is_heavy = busy * 2 >= WINDOW as u64 && weight.burden / busy.max(1) >= BURDEN_MIN;
        if !is_heavy {
            return self.shortest;
        }
        // burden of a commit <= BURDEN_PER_DATA * data of an interval
        let worth = u128::from(BURDEN_PER_DATA) * u128::from(weight.data) * u128::from(busy);
        let millis = time.as_millis().saturating_mul(u128::from(weight.burden)).checked_div(worth);
        millis.and_then(|millis| u64::try_from(millis).ok()).map_or(self.longest, Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;

    fn cadence() -> Cadence {
        Cadence::new(Duration::from_secs(5), Duration::from_secs(60))
    }

    /// Commits for as long as the interval says, with so much data a second and so much burden a commit; the intervals.
    fn run(cadence: &mut Cadence, now: &mut i64, commits: usize, data: u64, burden: u64) -> Vec<u64> {
        let mut intervals = Vec::new();
        for _ in 0..commits {
            let interval = cadence.interval();
            *now += interval.as_millis() as i64;
            cadence.committed(*now, Weight { data: data * interval.as_secs(), burden });
            intervals.push(cadence.interval().as_secs());
        }
        intervals
    }

    #[test]
    fn the_burden_of_a_commit_decides() {
        for (what, data, burden, settled) in [
            ("a small table", 1_000, 100 << 10, 5),
            ("a large one with as many changes", 100 << 10, 1 << 20, 5),
            ("one whose commits cost too much", 20 << 10, 1 << 20, 25),
            ("one whose commits cost far too much", 1 << 10, 10 << 20, 60),
            ("one that rows are only deleted from", 0, 1 << 20, 60),
        ] {
            let (mut cadence, mut now) = (cadence(), 0);
            let intervals = run(&mut cadence, &mut now, 30, data, burden);
            assert!(intervals[29].abs_diff(settled) <= 1, "{what}: {intervals:?}");
            assert!(intervals[29] == intervals[20], "{what} swings: {intervals:?}");
            assert!(intervals.windows(2).all(|pair| pair[1] <= pair[0] * 2), "{what} leaps: {intervals:?}");
        }
    }

    #[test]
    fn it_shortens_when_the_reason_has_gone() {
        let (mut cadence, mut now) = (cadence(), 0);
        assert_eq!(run(&mut cadence, &mut now, 20, 1 << 10, 10 << 20).last(), Some(&60));
        assert_eq!(run(&mut cadence, &mut now, WINDOW, 1 << 10, 1 << 10).last(), Some(&5));
    }

    #[test]
    fn changes_now_and_then_do_not_wait() {
        let (mut cadence, mut now) = (cadence(), 0);
        for _ in 0..20 {
            now += 600 * SECOND;
            cadence.committed(now, Weight { data: 100, burden: 10 << 20 });
            assert_eq!(cadence.interval().as_secs(), 5);
        }
        // A clock that is set back is no commit that came early.
        cadence.committed(0, Weight { data: 100, burden: 10 << 20 });
        assert_eq!(cadence.interval().as_secs(), 5);
    }

    #[test]
    fn it_can_be_off() {
        let mut cadence = Cadence::new(Duration::from_secs(5), Duration::from_secs(5));
        assert_eq!(run(&mut cadence, &mut 0, 20, 1, 10 << 20).last(), Some(&5));
    }
}
