//! Dates, times and intervals as exact integers, and their canonical text. Knows nothing of
//! time zones beyond a fixed offset and never reads a clock.

/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 in the proleptic Gregorian calendar. `Date::INFINITY` and
/// `Date::NEG_INFINITY` are the special values some databases have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

impl Date {
    /// Later than every date.
    pub const INFINITY: Date = Date(i32::MAX);
    /// Earlier than every date.
    pub const NEG_INFINITY: Date = Date(i32::MIN);

    /// Whether this is one of the two infinities.
    pub fn is_infinite(self) -> bool {
        self == Self::INFINITY || self == Self::NEG_INFINITY
    }

    /// From a civil date; `year` is astronomical (0 is 1 BC). `None` when the parts are no date or
    /// the date does not fit 32 bits of days.
    pub fn from_civil(year: i32, month: u32, day: u32) -> Option<Date> {
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        // Howard Hinnant's `days_from_civil`: eras of 400 years that start on 1 March.
        let y = i64::from(year) - i64::from(month <= 2);
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let shifted = i64::from((month + 9) % 12);
        let doy = (153 * shifted + 2) / 5 + i64::from(day) - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        let days = era * 146_097 + doe - 719_468;
        let days = i32::try_from(days).ok()?;
        (days != i32::MAX && days != i32::MIN).then_some(Date(days))
    }

    /// Astronomical year, month and day of a finite date.
    pub fn to_civil(self) -> (i32, u32, u32) {
        let z = i64::from(self.0) + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
        let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
        let year = yoe + era * 400 + i64::from(month <= 2);
        (year as i32, month, day)
    }
}

/// A point in civil time: a day and the microseconds into it (`0..MICROS_PER_DAY`). Two parts,
/// because the span that databases allow does not fit 64 bits of microseconds since 1970. With a
/// zone the value is in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// The day.
    pub date: Date,
    /// Microseconds into the day.
    pub micros: i64,
}

impl Timestamp {
    /// Later than every timestamp.
    pub const INFINITY: Timestamp = Timestamp { date: Date::INFINITY, micros: 0 };
    /// Earlier than every timestamp.
    pub const NEG_INFINITY: Timestamp = Timestamp { date: Date::NEG_INFINITY, micros: 0 };

    /// Whether this is one of the two infinities.
    pub fn is_infinite(self) -> bool {
        self.date.is_infinite()
    }

    /// Microseconds since 1970-01-01T00:00:00, if finite and within 64 bits.
    pub fn epoch_micros(self) -> Option<i64> {
        if self.is_infinite() {
            return None;
        }
        let total = i128::from(self.date.0) * i128::from(MICROS_PER_DAY) + i128::from(self.micros);
        i64::try_from(total).ok()
    }

    /// From microseconds since 1970-01-01T00:00:00.
    pub fn from_epoch_micros(micros: i64) -> Timestamp {
        Timestamp { date: Date(micros.div_euclid(MICROS_PER_DAY) as i32), micros: micros.rem_euclid(MICROS_PER_DAY) }
    }

    /// The same instant moved by whole seconds, as when an offset is taken away to reach UTC.
    /// `None` when the day leaves its range. Infinities stay what they are.
    pub fn plus_seconds(self, seconds: i64) -> Option<Timestamp> {
        if self.is_infinite() {
            return Some(self);
        }
        let micros = self.micros + seconds * 1_000_000;
        let days = i64::from(self.date.0) + micros.div_euclid(MICROS_PER_DAY);
        let date = i32::try_from(days).ok().map(Date).filter(|d| !d.is_infinite())?;
        Some(Timestamp { date, micros: micros.rem_euclid(MICROS_PER_DAY) })
    }
}

/// A span of time in the three parts that have no fixed ratio to one another. All three at their
/// maximum is infinity, at their minimum minus infinity, as PostgreSQL 17 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Calendar months.
    pub months: i32,
    /// Calendar days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// Longer than every interval.
    pub const INFINITY: Interval = Interval { months: i32::MAX, days: i32::MAX, micros: i64::MAX };
    /// Shorter than every interval.
    pub const NEG_INFINITY: Interval = Interval { months: i32::MIN, days: i32::MIN, micros: i64::MIN };
}

/// How the fraction of a second is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fraction {
    /// As many digits as needed, none when zero.
    Trimmed,
    /// Always this many digits (0 to 6); what lies beyond is cut, so the caller states the column's scale.
    Fixed(u8),
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn push_two(out: &mut Vec<u8>, value: u32) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

/// Writes `YYYY-MM-DD` with at least four digits of an era year (1 or more); the caller adds the era.
/// Returns whether the year lies before year 1, so that the caller can mark it.
pub fn write_date(out: &mut Vec<u8>, date: Date) -> bool {
    let (year, month, day) = date.to_civil();
    let before = year <= 0;
    let shown = if before { 1 - i64::from(year) } else { i64::from(year) };
    push_padded(out, shown as u64, 4);
    out.push(b'-');
    push_two(out, month);
    out.push(b'-');
    push_two(out, day);
    before
}

/// Writes `[-]HH:MM:SS[.ffffff]`. Hours may pass 24 and the value may be negative (MySQL's TIME).
pub fn write_time(out: &mut Vec<u8>, micros: i64, fraction: Fraction) {
    if micros < 0 {
        out.push(b'-');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    push_padded(out, seconds / 3_600, 2);
    out.push(b':');
    push_two(out, (seconds / 60 % 60) as u32);
    out.push(b':');
    push_two(out, (seconds % 60) as u32);
    write_fraction(out, (micros % 1_000_000) as u32, fraction);
}

/// Writes `.ffffff` for the microseconds of a second, or nothing.
pub fn write_fraction(out: &mut Vec<u8>, micros: u32, fraction: Fraction) {
    let mut digits = [0u8; 6];
    let mut rest = micros;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let count = match fraction {
        Fraction::Trimmed => digits.iter().rposition(|d| *d != b'0').map_or(0, |last| last + 1),
        Fraction::Fixed(width) => usize::from(width.min(6)),
    };
    if count > 0 {
        out.push(b'.');
        out.extend(digits.iter().take(count));
    }
}

/// Writes a zone offset as `+HH`, `+HH:MM` or `+HH:MM:SS`, the shortest that is exact. `seconds` is
/// positive east of Greenwich.
pub fn write_offset(out: &mut Vec<u8>, seconds: i32) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.unsigned_abs();
    push_two(out, seconds / 3_600);
    if !seconds.is_multiple_of(3_600) {
        out.push(b':');
        push_two(out, seconds / 60 % 60);
        if !seconds.is_multiple_of(60) {
            out.push(b':');
            push_two(out, seconds % 60);
        }
    }
}

/// Writes a timestamp as `date SEP time`, with ` BC` at the end where the year needs it. Infinities
/// are `infinity` and `-infinity`. The form is that of PostgreSQL's ISO date style.
pub fn write_timestamp(out: &mut Vec<u8>, value: Timestamp, separator: u8, fraction: Fraction, suffix: &[u8]) {
    if value.is_infinite() {
        let word: &[u8] = if value.date == Date::INFINITY { b"infinity" } else { b"-infinity" };
        out.extend_from_slice(word);
        return;
    }
    let before = write_date(out, value.date);
    out.push(separator);
    write_time(out, value.micros, fraction);
    out.extend_from_slice(suffix);
    if before {
        out.extend_from_slice(b" BC");
    }
}

/// Writes an interval as PostgreSQL prints it with `IntervalStyle = postgres`
/// (`1 year 2 mons -3 days +04:05:06.7`), see `EncodeInterval` in the server's datetime.c.
pub fn write_interval(out: &mut Vec<u8>, value: Interval) {
    if value == Interval::INFINITY || value == Interval::NEG_INFINITY {
        let word: &[u8] = if value == Interval::INFINITY { b"infinity" } else { b"-infinity" };
        out.extend_from_slice(word);
        return;
    }
    let start = out.len();
    let mut sign_needed = false;
    let mut part = |out: &mut Vec<u8>, amount: i32, unit: &str| {
        if amount == 0 {
            return;
        }
        if out.len() > start {
            out.push(b' ');
        }
        if sign_needed && amount > 0 {
            out.push(b'+');
        }
        sign_needed = amount < 0;
        out.extend_from_slice(itoa::Buffer::new().format(amount).as_bytes());
        out.push(b' ');
        out.extend_from_slice(unit.as_bytes());
        if amount != 1 {
            out.push(b's');
        }
    };
    part(out, value.months / 12, "year");
    part(out, value.months % 12, "mon");
    part(out, value.days, "day");
    if value.micros != 0 || out.len() == start {
        if out.len() > start {
            out.push(b' ');
        }
        if sign_needed && value.micros >= 0 {
            out.push(b'+');
        }
        write_time(out, value.micros, Fraction::Trimmed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn civil_dates_have_known_day_numbers() {
        for (y, m, d, days) in [
            (1970, 1, 1, 0),
            (2000, 3, 1, 11_017),
            (1969, 12, 31, -1),
            (0, 3, 1, -719_468),
            (-4712, 1, 1, -2_440_550),
            (5_874_897, 12, 31, 2_145_042_905),
        ] {
            assert_eq!(Date::from_civil(y, m, d), Some(Date(days)), "{y}-{m}-{d}");
            assert_eq!(Date(days).to_civil(), (y, m, d));
        }
        for (y, m, d) in [(2023, 2, 29), (2024, 13, 1), (2024, 4, 31), (1900, 2, 29), (2024, 1, 0)] {
            assert_eq!(Date::from_civil(y, m, d), None);
        }
    }

    #[test]
    fn the_span_of_timestamps_passes_64_bits_of_micros() {
        let last = Timestamp { date: Date::from_civil(294_276, 12, 31).unwrap(), micros: MICROS_PER_DAY - 1 };
        assert_eq!(last.epoch_micros(), None);
        let shown = text(|out| write_timestamp(out, last, b' ', Fraction::Trimmed, b""));
        assert_eq!(shown, "294276-12-31 23:59:59.999999");
    }

    #[test]
    fn intervals_print_as_the_server_prints_them() {
        for (months, days, micros, expect) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_789_000, "1 year 2 mons 3 days 04:05:06.789"),
            (-14, -3, -14_706_789_000, "-1 years -2 mons -3 days -04:05:06.789"),
            (-1, 1, 1_000_000, "-1 mons +1 day 00:00:01"),
            (0, -1, 3_600_000_000, "-1 days +01:00:00"),
            (1, 0, 0, "1 mon"),
            (0, 0, 100 * 3_600_000_000, "100:00:00"),
        ] {
            assert_eq!(text(|out| write_interval(out, Interval { months, days, micros })), expect);
        }
        assert_eq!(text(|out| write_interval(out, Interval::NEG_INFINITY)), "-infinity");
    }

    #[test]
    fn offsets_print_the_shortest_exact_form() {
        for (seconds, expect) in [(0, "+00"), (7_200, "+02"), (-12_600, "-03:30"), (57_599, "+15:59:59")] {
            assert_eq!(text(|out| write_offset(out, seconds)), expect);
        }
    }

    proptest! {
        #[test]
        fn civil_round_trips(days in i32::MIN + 1_000_000..i32::MAX - 1_000_000) {
            let (y, m, d) = Date(days).to_civil();
            prop_assert_eq!(Date::from_civil(y, m, d), Some(Date(days)));
        }

        #[test]
        fn epoch_micros_round_trip(micros: i64) {
            prop_assert_eq!(Timestamp::from_epoch_micros(micros).epoch_micros(), Some(micros));
        }
    }
}
