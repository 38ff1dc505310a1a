//! What may be rewritten for nothing but the comfort of readers. Whoever frees a table of deleted rows whenever it rests, or
//! whenever too many of its files have some, writes it again as often as it is changed: a hundred times a day, for a few rows
//! an hour. Pure but for being told the time.

use crate::ambient::{Limit, limit};

/// What a table may cost in a day, besides as many bytes as it has.
const DAY_MIN: u64 = 1 << 30;
/// Milliseconds.
const DAY: u64 = 24 * 3_600 * 1_000;

/// Bytes that may be read, for one table: those of a day at first, and never more at once.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// Bytes that were rewritten, less those that have come since.
    spent: u64,
    /// As of then, in milliseconds since 1970.
    since: i64,
}

impl Allowance {
    /// What is left, in bytes, at `now` in milliseconds since 1970, of a table of so many bytes.
    pub(crate) fn at(&mut self, now: i64, table_bytes: u64) -> u64 {
        let day = day(table_bytes);
        let passed = u64::try_from(now.saturating_sub(self.since)).unwrap_or(0);
        let come = u64::try_from(u128::from(day) * u128::from(passed) / u128::from(DAY)).unwrap_or(u64::MAX);
        // What is less than a byte is kept for later; a clock that was set back is followed at once.
        if come > 0 || now < self.since {
            self.since = now;
        }
        // Nobody owes more than a day's, also of a table that has become smaller.
        self.spent = self.spent.min(day).saturating_sub(come);
        day.saturating_sub(self.spent)
    }

    /// So many bytes are rewritten.
    pub(crate) fn spend(&mut self, bytes: u64) {
        self.spent = self.spent.saturating_add(bytes);
    }

    /// When so many bytes will be left, in milliseconds since 1970.
    pub(crate) fn when(&self, bytes: u64, table_bytes: u64) -> i64 {
        let day = day(table_bytes);
        let missing = bytes.min(day).saturating_sub(day.saturating_sub(self.spent));
        let millis = (u128::from(missing) * u128::from(DAY)).div_ceil(u128::from(day.max(1)));
        self.since.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

fn day(table_bytes: u64) -> u64 {
    table_bytes.saturating_add(limit(Limit::ReaderBytes, DAY_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;
    const HOUR: i64 = 3_600 * 1_000;

    #[test]
    fn a_day_costs_what_the_table_has_and_little_more() {
        let mut allowance = Allowance::default();
        // Three bytes of a day come in an hour when there are 24 times as many.
        let table = 71 * GB;
        for (what, hour, spent, left) in [
            ("at first, all of a day", 0, 0, 72),
            ("spent", 0, 70, 2),
            ("an hour later", 1, 0, 5),
            ("more than there is", 1, 9, 0),
            ("two hours later", 3, 0, 6),
            ("a clock that is set back", -1_000, 0, 6),
            ("goes on from there", -999, 0, 9),
            ("weeks later, no more than of a day", 1_000, 0, 72),
        ] {
            allowance.at(hour * HOUR, table);
            allowance.spend(spent * GB);
            assert_eq!(allowance.at(hour * HOUR, table), left * GB, "{what}");
        }
    }

    #[test]
    fn it_grows_with_the_table() {
        let mut allowance = Allowance::default();
        assert_eq!([5, 2, 0].map(|table| allowance.at(0, table * GB) / GB), [6, 3, 1]);
        allowance.spend(2 * GB);
        assert_eq!([5, 2, 0].map(|table| allowance.at(0, table * GB) / GB), [4, 1, 0]);
    }

    #[test]
    fn looking_often_costs_nothing() {
        let mut allowance = Allowance::default();
        allowance.at(0, 0);
        allowance.spend(GB);
        // A byte comes every 80 microseconds, and 12.4 a millisecond.
        let often = (0..=HOUR).map(|now| allowance.at(now, 0)).last().unwrap_or_default();
        let hour = GB / 24;
        assert!((hour * 96 / 100..=hour).contains(&often), "{often} of {hour}");
    }

    #[test]
    fn it_tells_when_there_will_be_enough() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.at(5, 23 * GB), 24 * GB);
        allowance.spend(24 * GB);
        for bytes in [0, 1, GB, 7 * GB + 1, 24 * GB, 100 * GB] {
            let mut later = Allowance { ..allowance };
            let when = later.when(bytes, 23 * GB);
            let enough = bytes.min(24 * GB);
            assert!(later.at(when, 23 * GB) >= enough, "{bytes}");
            let mut sooner = Allowance { ..allowance };
            assert!(bytes == 0 || sooner.at(when - 1, 23 * GB) < enough, "{bytes}: a moment before");
        }
    }
}
