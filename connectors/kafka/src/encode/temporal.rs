//! Dates, times and intervals as ISO 8601 text and as numbers. Knows no type and no table.
//!
//! The text is that of Java's ISO formatters, which Debezium uses: a year of four digits, signed where it
//! needs more or lies before year 0 (astronomical), a fraction as long as needed. It holds every value.

use super::json::write_int;
use tidewire_core::calendar::{Date, Fraction, Interval, MICROS_PER_DAY, Timestamp, write_date, write_time};

/// Microseconds of Debezium's average month, 365.25 / 12 days.
const MICROS_PER_MONTH: i128 = 2_629_800_000_000;
/// What Debezium writes for `infinity`, and for `-infinity`, whatever the unit.
const DEBEZIUM_INFINITY: (i64, i64) = (9_223_372_036_825_200_000, -9_223_372_036_832_400_000);
/// What Debezium writes for a date of `infinity`, and of `-infinity`: the wire's value wrapped around.
const DEBEZIUM_DATE_INFINITY: (i32, i32) = (-2_147_472_692, -2_147_472_691);

/// Days of 0001-01-01 and 9999-12-31.
const COMMON_YEARS: (i32, i32) = (-719_162, 2_932_896);

/// Unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds; finer fractions are cut towards the past.
    Millis,
    /// Microseconds.
    Micros,
}

/// Writes `2024-02-29Z`, or `infinity`, quoted.
pub(crate) fn write_iso_date(out: &mut Vec<u8>, date: Date) {
    out.push(b'"');
    if date.is_infinite() {
        out.extend_from_slice(infinity_word(date));
    } else {
        write_year_first(out, date);
        out.push(b'Z');
    }
    out.push(b'"');
}

/// Writes `12:34:56.789Z`, quoted. Signs and hours past 24 stay as they are.
pub(crate) fn write_iso_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    write_time(out, micros, Fraction::Trimmed);
    out.extend_from_slice(b"Z\"");
}

/// Writes `12:34:56.789+02:00`, quoted; `Z` stands for no offset.
pub(crate) fn write_iso_time_tz(out: &mut Vec<u8>, micros: i64, offset_seconds: i32) {
    out.push(b'"');
    write_time(out, micros, Fraction::Trimmed);
    write_offset(out, offset_seconds);
    out.push(b'"');
}

/// Writes a time with an offset as Debezium does: moved to UTC within its day, the offset is lost.
pub(crate) fn write_utc_time(out: &mut Vec<u8>, micros: i64, offset_seconds: i32) {
    let utc = micros - i64::from(offset_seconds) * 1_000_000;
    write_iso_time(out, utc.rem_euclid(MICROS_PER_DAY));
}

/// Writes `2024-02-29T12:34:56.789Z`, or `infinity`, quoted.
pub(crate) fn write_iso_timestamp(out: &mut Vec<u8>, value: Timestamp, fraction: Fraction) {
    if (COMMON_YEARS.0..=COMMON_YEARS.1).contains(&value.date.0) && (0..MICROS_PER_DAY).contains(&value.micros) {
        write_common_timestamp(out, value, fraction);
        return;
    }
    out.push(b'"');
    if value.is_infinite() {
        out.extend_from_slice(infinity_word(value.date));
    } else {
        write_year_first(out, value.date);
        out.push(b'T');
        write_time(out, value.micros, fraction);
        out.push(b'Z');
    }
    out.push(b'"');
}

/// Writes `P1Y2M3DT4H5M6.789S`, quoted: Debezium's text of an interval, each part always present. Parts
/// have signs of their own. Infinities are `infinity` and `-infinity`.
pub(crate) fn write_iso_interval(out: &mut Vec<u8>, value: Interval) {
    let word: &[u8] = match value {
        Interval::INFINITY => b"\"infinity\"",
        Interval::NEG_INFINITY => b"\"-infinity\"",
        _ => b"\"P",
    };
    out.extend_from_slice(word);
    if word != b"\"P" {
        return;
    }
    let seconds = value.micros / 1_000_000;
    for (amount, unit) in [
        (i64::from(value.months / 12), &b"Y"[..]),
        (i64::from(value.months % 12), b"M"),
        (i64::from(value.days), b"DT"),
        (seconds / 3_600, b"H"),
        (seconds / 60 % 60, b"M"),
    ] {
        write_int(out, amount);
        out.extend_from_slice(unit);
    }
    if value.micros < 0 && seconds % 60 == 0 && value.micros % 1_000_000 != 0 {
        out.push(b'-');
    }
    write_int(out, seconds % 60);
    let micros = (value.micros % 1_000_000).unsigned_abs() as u32;
    tidewire_core::calendar::write_fraction(out, micros, Fraction::Trimmed);
    out.extend_from_slice(b"S\"");
}

/// Days since 1970; `None` for an infinity.
pub(crate) fn epoch_days(date: Date) -> Option<i32> {
    (!date.is_infinite()).then_some(date.0)
}

/// Days since 1970 as Debezium has them.
pub(crate) fn debezium_days(date: Date) -> i32 {
    match date {
        Date::INFINITY => DEBEZIUM_DATE_INFINITY.0,
        Date::NEG_INFINITY => DEBEZIUM_DATE_INFINITY.1,
        Date(days) => days,
    }
}

/// A finite timestamp in the unit, if it fits 64 bits.
pub(crate) fn epoch_units(value: Timestamp, unit: Unit) -> Option<i64> {
    match unit {
        Unit::Micros => value.epoch_micros(),
        Unit::Millis if value.is_infinite() => None,
        // The span of dates is 2^32 days: far within 64 bits of milliseconds.
        Unit::Millis => Some(i64::from(value.date.0) * (MICROS_PER_DAY / 1_000) + value.micros.div_euclid(1_000)),
    }
}

/// A timestamp in the unit as Debezium has it: odd numbers for infinities, and beyond 64 bits the seconds
/// saturate before the fraction is added and wraps around.
pub(crate) fn debezium_units(value: Timestamp, unit: Unit) -> i64 {
    match value.date {
        Date::INFINITY => DEBEZIUM_INFINITY.0,
        Date::NEG_INFINITY => DEBEZIUM_INFINITY.1,
        Date(days) => epoch_units(value, unit).unwrap_or_else(|| {
            let seconds = i64::from(days) * 86_400 + value.micros.div_euclid(1_000_000);
            seconds.saturating_mul(1_000_000).wrapping_add(value.micros.rem_euclid(1_000_000))
        }),
    }
}

/// An interval in microseconds with Debezium's average month; `None` beyond 64 bits or for an infinity.
pub(crate) fn debezium_interval(value: Interval) -> Option<i64> {
    if value == Interval::INFINITY || value == Interval::NEG_INFINITY {
        return None;
    }
    let total = i128::from(value.months) * MICROS_PER_MONTH
        + i128::from(value.days) * i128::from(MICROS_PER_DAY)
        + i128::from(value.micros);
    i64::try_from(total).ok()
}

// The hot path: a year of four digits, put together in one place.
fn write_common_timestamp(out: &mut Vec<u8>, value: Timestamp, fraction: Fraction) {
    let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
    let (year, month, day) = value.date.to_civil();
    let two = |value: u32| [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
    let year = year as u32;
    let seconds = (value.micros / 1_000_000) as u32;
    let micros = (value.micros % 1_000_000) as u32;
    [text[1], text[2]] = two(year / 100);
    [text[3], text[4]] = two(year % 100);
    [text[6], text[7]] = two(month);
    [text[9], text[10]] = two(day);
    [text[12], text[13]] = two(seconds / 3_600);
    [text[15], text[16]] = two(seconds / 60 % 60);
    [text[18], text[19]] = two(seconds % 60);
    [text[21], text[22]] = two(micros / 10_000);
    [text[23], text[24]] = two(micros / 100 % 100);
    [text[25], text[26]] = two(micros % 100);
    let digits = match fraction {
        Fraction::Fixed(width) => usize::from(width.min(6)),
        Fraction::Trimmed if micros == 0 => 0,
        Fraction::Trimmed => text.iter().take(27).rposition(|digit| *digit != b'0').map_or(0, |last| last - 20),
    };
    let length = if digits == 0 { 20 } else { 21 + digits };
    out.extend_from_slice(text.get(..length).unwrap_or_default());
    out.extend_from_slice(b"Z\"");
}

fn infinity_word(date: Date) -> &'static [u8] {
    if date == Date::INFINITY { b"infinity" } else { b"-infinity" }
}

// Core writes years of an era; ISO 8601 wants astronomical ones, with a sign outside 0000 to 9999.
fn write_year_first(out: &mut Vec<u8>, date: Date) {
    let (year, month, day) = date.to_civil();
    if (1..=9_999).contains(&year) {
        write_date(out, date);
        return;
    }
    if year > 9_999 {
        out.push(b'+');
    } else if year < 0 {
        out.push(b'-');
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(year.unsigned_abs()).as_bytes();
    out.extend(std::iter::repeat_n(b'0', 4usize.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
    for part in [month, day] {
        out.extend([b'-', b'0' + (part / 10) as u8, b'0' + (part % 10) as u8]);
    }
}

fn write_offset(out: &mut Vec<u8>, seconds: i32) {
    if seconds == 0 {
        out.push(b'Z');
        return;
    }
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.unsigned_abs();
    let two = |value: u32| [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
    out.extend(two(seconds / 3_600));
    out.push(b':');
    out.extend(two(seconds / 60 % 60));
    if !seconds.is_multiple_of(60) {
        out.push(b':');
        out.extend(two(seconds % 60));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn date(year: i32, month: u32, day: u32) -> Date {
        Date::from_civil(year, month, day).unwrap()
    }

    #[test]
    fn dates_are_iso_text_of_any_year() {
        for (value, expect) in [
            (date(2024, 2, 29), "2024-02-29Z"),
            (date(0, 1, 1), "0000-01-01Z"),
            (date(-4712, 1, 1), "-4712-01-01Z"),
            (date(12, 1, 9), "0012-01-09Z"),
            (date(5_874_897, 12, 31), "+5874897-12-31Z"),
            (Date::INFINITY, "infinity"),
            (Date::NEG_INFINITY, "-infinity"),
        ] {
            assert_eq!(text(|out| write_iso_date(out, value)), format!("\"{expect}\""));
        }
    }

    #[test]
    fn timestamps_are_iso_text_of_any_year() {
        for (day, micros, fraction, expect) in [
            (date(2024, 2, 29), 45_296_789_012, Fraction::Trimmed, "2024-02-29T12:34:56.789012Z"),
            (date(2024, 2, 29), 45_296_789_000, Fraction::Trimmed, "2024-02-29T12:34:56.789Z"),
            (date(2024, 2, 29), 45_296_000_000, Fraction::Trimmed, "2024-02-29T12:34:56Z"),
            (date(2024, 2, 29), 45_296_789_012, Fraction::Fixed(6), "2024-02-29T12:34:56.789012Z"),
            (date(1, 1, 1), 0, Fraction::Fixed(3), "0001-01-01T00:00:00.000Z"),
            (date(9999, 12, 31), MICROS_PER_DAY - 1, Fraction::Fixed(0), "9999-12-31T23:59:59Z"),
            (date(10_000, 1, 1), 0, Fraction::Fixed(1), "+10000-01-01T00:00:00.0Z"),
            (date(0, 12, 31), 1, Fraction::Trimmed, "0000-12-31T00:00:00.000001Z"),
        ] {
            let value = Timestamp { date: day, micros };
            assert_eq!(text(|out| write_iso_timestamp(out, value, fraction)), format!("\"{expect}\""));
        }
        assert_eq!((date(1, 1, 1).0, date(9999, 12, 31).0), COMMON_YEARS);
    }

    #[test]
    fn times_keep_their_offset() {
        for (micros, offset, expect) in [
            (45_296_789_000, 7_200, "12:34:56.789+02:00"),
            (0, 57_599, "00:00:00+15:59:59"),
            (86_400_000_000, 0, "24:00:00Z"),
            (1, -12_600, "00:00:00.000001-03:30"),
        ] {
            assert_eq!(text(|out| write_iso_time_tz(out, micros, offset)), format!("\"{expect}\""));
        }
        assert_eq!(text(|out| write_utc_time(out, 0, 57_540)), "\"08:01:00Z\"");
    }

    #[test]
    fn intervals_keep_their_parts() {
        for (months, days, micros, expect) in [
            (14, 3, 14_706_789_000, "P1Y2M3DT4H5M6.789S"),
            (-14, -3, -14_706_789_000, "P-1Y-2M-3DT-4H-5M-6.789S"),
            (0, 0, -500_000, "P0Y0M0DT0H0M-0.5S"),
            (0, 0, 0, "P0Y0M0DT0H0M0S"),
        ] {
            let value = Interval { months, days, micros };
            assert_eq!(text(|out| write_iso_interval(out, value)), format!("\"{expect}\""));
        }
        assert_eq!(text(|out| write_iso_interval(out, Interval::NEG_INFINITY)), "\"-infinity\"");
        assert_eq!(
            debezium_interval(Interval { months: 14, days: 3, micros: 14_706_789_000 }),
            Some(37_091_106_789_000)
        );
    }

    #[test]
    fn numbers_say_when_they_cannot_hold_a_value() {
        let last = Timestamp { date: date(294_276, 12, 31), micros: MICROS_PER_DAY - 1 };
        assert_eq!(epoch_units(last, Unit::Micros), None);
        assert_eq!(debezium_units(last, Unit::Micros), -9_223_372_036_853_775_810);
        assert_eq!(epoch_units(Timestamp::INFINITY, Unit::Millis), None);
        let before = Timestamp { date: Date(-1), micros: MICROS_PER_DAY - 1 };
        assert_eq!(epoch_units(before, Unit::Millis), Some(-1));
    }
}
