//! Texts of dates, times and intervals, as printed with `DateStyle = ISO`, `IntervalStyle = postgres` and
//! `TimeZone = UTC`. See `EncodeDateTime` and `EncodeInterval` in the server's datetime.c.

use super::ValueError;
use tidewire_core::calendar::{Date, Interval, Timestamp};

const DATE: ValueError = ValueError::Malformed("a date in iso style");
const TIME: ValueError = ValueError::Malformed("a time of day");
const TIME_TZ: ValueError = ValueError::Malformed("a time of day with an offset");
const TIMESTAMP: ValueError = ValueError::Malformed("a timestamp in iso style");
const TIMESTAMP_TZ: ValueError = ValueError::Malformed("a timestamp with an offset in iso style");
const INTERVAL: ValueError = ValueError::Malformed("an interval in postgres style");

/// Longest text of an interval: every part at its widest.
const INTERVAL_LENGTH_MAX: usize = 96;

/// `2024-02-29`, `0044-03-15 BC`, `infinity`.
pub(super) fn date(text: &[u8]) -> Result<Date, ValueError> {
    match text {
        b"infinity" => return Ok(Date::INFINITY),
        b"-infinity" => return Ok(Date::NEG_INFINITY),
        _ => {}
    }
    let (text, era) = era(text);
    match civil(text, era) {
        Some((date, b"")) => Ok(date),
        _ => Err(DATE),
    }
}

/// `12:34:56.789`, up to `24:00:00`; microseconds since midnight.
pub(super) fn time(text: &[u8]) -> Result<i64, ValueError> {
    match clock(text) {
        Some((micros, b"")) => Ok(micros),
        _ => Err(TIME),
    }
}

/// `12:34:56.789+05:30`; microseconds since local midnight and seconds east of Greenwich.
pub(super) fn time_tz(text: &[u8]) -> Result<(i64, i32), ValueError> {
    let (micros, rest) = clock(text).ok_or(TIME_TZ)?;
    Ok((micros, offset(rest).ok_or(TIME_TZ)?))
}

/// `2024-02-29 12:34:56.789`, with ` BC` at its end where the year needs it.
pub(super) fn timestamp(text: &[u8]) -> Result<Timestamp, ValueError> {
    if let Some(infinity) = infinity(text) {
        return Ok(infinity);
    }
    match moment(text) {
        Some((value, b"")) => Ok(value),
        _ => Err(TIMESTAMP),
    }
}

/// As `timestamp`, with an offset, which is taken away.
pub(super) fn timestamp_tz(text: &[u8]) -> Result<Timestamp, ValueError> {
    if let Some(infinity) = infinity(text) {
        return Ok(infinity);
    }
    let (value, rest) = moment(text).ok_or(TIMESTAMP_TZ)?;
    let east = offset(rest).ok_or(TIMESTAMP_TZ)?;
    value.plus_seconds(-i64::from(east)).ok_or(TIMESTAMP_TZ)
}

/// `1 year 2 mons -3 days +04:05:06.7`, `infinity` (17 and later).
pub(super) fn interval(text: &[u8]) -> Result<Interval, ValueError> {
    match text {
        b"infinity" => return Ok(Interval::INFINITY),
        b"-infinity" => return Ok(Interval::NEG_INFINITY),
        _ => {}
    }
    if text.is_empty() || text.len() > INTERVAL_LENGTH_MAX {
        return Err(INTERVAL);
    }
    interval_parts(text).ok_or(INTERVAL)
}

fn infinity(text: &[u8]) -> Option<Timestamp> {
    match text {
        b"infinity" => Some(Timestamp::INFINITY),
        b"-infinity" => Some(Timestamp::NEG_INFINITY),
        _ => None,
    }
}

/// Whether a year counts backwards.
#[derive(Clone, Copy, PartialEq)]
enum Era {
    Common,
    Before,
}

#[inline]
fn era(text: &[u8]) -> (&[u8], Era) {
    match text.strip_suffix(b" BC") {
        Some(text) => (text, Era::Before),
        None => (text, Era::Common),
    }
}

#[inline]
fn two(pair: [u8; 2]) -> Option<u32> {
    let [tens, ones] = pair.map(|byte| u32::from(byte.wrapping_sub(b'0')));
    (tens <= 9 && ones <= 9).then_some(tens * 10 + ones)
}

/// Digits at the front: their value and what follows. `None` without a digit or beyond 64 bits.
#[inline]
fn number(text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(count)?;
    let mut value = 0i64;
    for byte in digits {
        value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
    }
    (count > 0).then_some((value, rest))
}

/// `YYYY-MM-DD` at the front, four digits of a year or more.
#[inline]
fn civil(text: &[u8], era: Era) -> Option<(Date, &[u8])> {
    let (year, rest) = number(text)?;
    if text.len() - rest.len() < 4 || year == 0 {
        return None;
    }
    let ([b'-', m1, m2, b'-', d1, d2], rest) = rest.split_first_chunk::<6>()? else {
        return None;
    };
    let year = if era == Era::Before { 1 - year } else { year };
    let date = Date::from_civil(i32::try_from(year).ok()?, two([*m1, *m2])?, two([*d1, *d2])?)?;
    Some((date, rest))
}

/// `HH:MM:SS[.ffffff]` at the front, up to `24:00:00`.
#[inline]
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([h1, h2, b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk::<8>()? else {
        return None;
    };
    let (hours, minutes, seconds) = (two([*h1, *h2])?, two([*m1, *m2])?, two([*s1, *s2])?);
    let (fraction, rest) = fraction(rest)?;
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let micros = i64::from(hours * 3_600 + minutes * 60 + seconds) * 1_000_000 + fraction;
    (micros <= 86_400_000_000).then_some((micros, rest))
}

/// `.` and one to six digits, or nothing.
#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let (value, rest) = number(after)?;
    let factor = match after.len() - rest.len() {
        1 => 100_000,
        2 => 10_000,
        3 => 1_000,
        4 => 100,
        5 => 10,
        6 => 1,
        _ => return None,
    };
    Some((value * factor, rest))
}

/// Date, a blank and a time of day less than 24 hours; what follows is an offset or nothing.
#[inline]
fn moment(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, era) = era(text);
    let (date, rest) = civil(text, era)?;
    let (micros, rest) = clock(rest.strip_prefix(b" ")?)?;
    (micros < 86_400_000_000).then_some((Timestamp { date, micros }, rest))
}

/// `+HH[:MM[:SS]]` and nothing after it; seconds east of Greenwich.
#[inline]
fn offset(text: &[u8]) -> Option<i32> {
    let (sign, hours, rest) = match text {
        [sign, h1, h2, rest @ ..] => (*sign, two([*h1, *h2])?, rest),
        _ => return None,
    };
    let (minutes, seconds) = match rest {
        [] => (0, 0),
        [b':', m1, m2] => (two([*m1, *m2])?, 0),
        [b':', m1, m2, b':', s1, s2] => (two([*m1, *m2])?, two([*s1, *s2])?),
        _ => return None,
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return None;
    }
    let total = (hours * 3_600 + minutes * 60 + seconds) as i32;
    match sign {
        b'+' => Some(total),
        b'-' => Some(-total),
        _ => None,
    }
}

fn interval_parts(text: &[u8]) -> Option<Interval> {
    let mut months = 0i64;
    let mut days = 0i64;
    let mut micros = 0i64;
    // Each part may stand once and only after those before it: year, mon, day, time.
    let mut place = 0;
    let mut words = text.split(|byte| *byte == b' ');
    while let Some(word) = words.next() {
        if word.contains(&b':') {
            micros = span(word)?;
            place = if place < 4 { 4 } else { return None };
            continue;
        }
        let (negative, rest) = sign(word);
        let (amount, b"") = number(rest)? else { return None };
        let amount = if negative { -amount } else { amount };
        let next = match words.next()? {
            b"year" | b"years" => {
                months = amount.checked_mul(12)?;
                1
            }
            b"mon" | b"mons" => {
                months = months.checked_add(amount)?;
                2
            }
            b"day" | b"days" => {
                days = amount;
                3
            }
            _ => return None,
        };
        place = if next > place { next } else { return None };
    }
    Some(Interval { months: i32::try_from(months).ok()?, days: i32::try_from(days).ok()?, micros })
}

fn sign(word: &[u8]) -> (bool, &[u8]) {
    match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    }
}

/// `[+-]H:MM:SS[.ffffff]` with any number of hours. Counted downwards, because the smallest span has no
/// positive counterpart.
fn span(word: &[u8]) -> Option<i64> {
    let (negative, rest) = sign(word);
    let (hours, rest) = number(rest)?;
    let ([b':', m1, m2, b':', s1, s2], rest) = rest.split_first_chunk::<6>()? else {
        return None;
    };
    let (minutes, seconds) = (two([*m1, *m2])?, two([*s1, *s2])?);
    let (fraction, b"") = fraction(rest)? else { return None };
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let downwards = hours
        .checked_mul(-3_600_000_000)?
        .checked_sub(i64::from(minutes * 60 + seconds) * 1_000_000)?
        .checked_sub(fraction)?;
    if negative { Some(downwards) } else { downwards.checked_neg() }
}
