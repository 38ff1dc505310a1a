//! How fast files are rewritten: so many bytes read a second, or as fast as the machine can. A disk or an uplink that
//! others need is not taken from them for minutes. Knows nothing of files.

use std::time::{Duration, Instant};

/// Time that was not used is no reason to be faster later, beyond this.
const CREDIT: Duration = Duration::from_secs(1);

/// A pace.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: Option<u64>,
    /// When all that was read so far may have been read.
    due: Instant,
}

impl Pace {
    /// Begins now.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Pace {
        Pace { bytes_per_second, due: Instant::now() }
    }

    /// So many bytes have been read: puts off the next reading for the time that they are worth, and says until when.
    pub(super) fn note(&mut self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else { return self.due };
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        let worth = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        self.due = self.due.max(earliest).checked_add(worth).unwrap_or(now);
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let begin = Instant::now() + Duration::from_secs(100);
        for (what, rate, readings, due) in [
            ("no limit", None, &[(0, 1u64 << 40)][..], 0),
            ("bytes of one second", Some(1_000), &[(0, 1_000)], 1_000),
            ("faster than the pace", Some(1_000), &[(0, 500), (0, 500), (100, 1_000)], 2_000),
            ("slower than the pace", Some(1_000), &[(0, 500), (5_000, 500)], 4_500),
            ("more than a counter holds", Some(1), &[(0, u64::MAX)], u64::MAX),
        ] {
            let mut pace = Pace { bytes_per_second: rate, due: begin };
            for (at, bytes) in readings {
                pace.note(*bytes, begin + Duration::from_millis(*at));
            }
            let late = pace.due.saturating_duration_since(begin).as_millis() as u64;
            assert!(late == due || due == u64::MAX, "{what}: {late}");
        }
    }
}
