//! Dates and times in the forms of the log and of results, and what becomes of dates that no calendar has.
//!
//! Log: the packed forms of MySQL 5.6 and later (`my_datetime_packed_to_binary` and its sisters in the server's
//! `mysys/my_time.cc`) and the forms before them, which tables made by older servers keep. Results: "Binary Protocol
//! Value" of the protocol's manual.

use super::{ValueError, ZeroDates, take};
use tidewire_core::batch::BatchBuilder;
use tidewire_core::calendar::{Date, Fraction, Timestamp, write_fraction};
use tidewire_core::cell::{Cell, Tag};

const DATE: ValueError = ValueError::Malformed("a date");
const DATETIME: ValueError = ValueError::Malformed("a date and time");
const TIMESTAMP: ValueError = ValueError::Malformed("a timestamp");
const TIME: ValueError = ValueError::Malformed("a time");

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: u32 = 86_400;
/// Hours of the longest `TIME`.
const HOURS_MAX: u32 = 838;
/// The day of zero when that is no date.
const EPOCH: Timestamp = Timestamp { date: Date(0), micros: 0 };

/// Reads the dates of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// How the bytes lie.
    pub(super) shape: Shape,
    /// What the value is.
    pub(super) meaning: Meaning,
    /// Digits of a second's fraction.
    pub(super) fsp: u8,
    /// What becomes of impossible dates.
    pub(super) impossible: Impossible,
}

/// How the bytes of a date lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// 24 bits: year, month, day.
    Date,
    /// 40 bits, big endian, then the fraction.
    DateTime2,
    /// 64 bits that read `YYYYMMDDHHMMSS` as a decimal number.
    DateTimeOld,
    /// 32 bits of seconds since 1970, big endian, then the fraction.
    Timestamp2,
    /// 32 bits of seconds since 1970.
    TimestampOld,
    /// The result protocol's structure.
    Result,
}

/// What a date is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A day.
    Date,
    /// Civil time.
    DateTime,
    /// An instant in UTC.
    Timestamp,
}

/// What becomes of impossible dates in one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Impossible {
    Halt,
    Null,
    Epoch,
    /// Every value, possible or not, is text.
    Text,
}

impl Impossible {
    pub(super) fn of(zero: ZeroDates, nullable: bool) -> Impossible {
        match zero {
            ZeroDates::Halt => Impossible::Halt,
            ZeroDates::Null if nullable => Impossible::Null,
            ZeroDates::Null | ZeroDates::Epoch => Impossible::Epoch,
            ZeroDates::Text => Impossible::Text,
        }
    }
}

/// A date as MySQL has it: every part may be zero, and the day may not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Civil {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
}

impl Civil {
    /// Whether every part lies in its range: what the servers can store at all.
    #[inline]
    fn is_sound(&self) -> bool {
        self.year <= 9_999
            && self.month <= 12
            && self.day <= 31
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
            && self.micros < MICROS_PER_SECOND as u32
    }

    #[inline]
    fn to_timestamp(self) -> Option<Timestamp> {
        let date = day_number(self.year, self.month, self.day)?;
        let seconds = i64::from(self.hour * 3_600 + self.minute * 60 + self.second);
        Some(Timestamp { date, micros: seconds * MICROS_PER_SECOND + i64::from(self.micros) })
    }

    fn from_timestamp(value: Timestamp) -> Civil {
        let (year, month, day) = value.date.to_civil();
        let seconds = (value.micros / MICROS_PER_SECOND) as u32;
        Civil {
            year: year as u32,
            month,
            day,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: (value.micros % MICROS_PER_SECOND) as u32,
        }
    }

    /// As the server prints it.
    fn write(&self, out: &mut Vec<u8>, meaning: Meaning, fsp: u8) {
        let mut part = |before: &[u8], value: u32, width: u32| {
            out.extend_from_slice(before);
            for place in (0..width).rev() {
                out.push(b'0' + (value / 10u32.pow(place) % 10) as u8);
            }
        };
        part(b"", self.year, 4);
        part(b"-", self.month, 2);
        part(b"-", self.day, 2);
        if meaning == Meaning::Date {
            return;
        }
        part(b" ", self.hour, 2);
        part(b":", self.minute, 2);
        part(b":", self.second, 2);
        write_fraction(out, self.micros, Fraction::Fixed(fsp));
    }
}

/// `Date::from_civil` for the years 0 to 9999, in few instructions; `None` for what is no date.
#[inline]
fn day_number(year: u32, month: u32, day: u32) -> Option<Date> {
    const DAYS: [u32; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    /// Days from 400 years before 0000-03-01 to 1970-01-01.
    const BEFORE: u32 = 719_468 + 146_097;
    let is_leap_day =
        month == 2 && day == 29 && year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if day == 0 || day > *DAYS.get(month as usize)? && !is_leap_day {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month <= 2 { (year + 399, month + 9) } else { (year + 400, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(Date(days.wrapping_sub(BEFORE) as i32))
}

/// What the bytes of a date say.
enum Read {
    Instant(Timestamp),
    Civil(Civil),
}

impl Moment {
    /// Consumes one value.
    #[inline]
    pub(super) fn read(self, input: &mut &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        let civil = match self.shape.read(input, self.fsp)? {
            Read::Instant(value) if self.impossible != Impossible::Text => return Ok(Cell::timestamp_tz(value)),
            Read::Instant(value) => Civil::from_timestamp(value),
            Read::Civil(civil) => civil,
        };
        if self.impossible == Impossible::Text {
            return Ok(builder.long_with(Tag::Text, |out| civil.write(out, self.meaning, self.fsp)));
        }
        match civil.to_timestamp() {
            Some(value) => Ok(self.cell(value)),
            None => Ok(self.impossible(&civil, builder)),
        }
    }

    #[inline]
    fn cell(self, value: Timestamp) -> Cell {
        match self.meaning {
            Meaning::Date => Cell::date(value.date),
            Meaning::DateTime => Cell::timestamp(value),
            Meaning::Timestamp => Cell::timestamp_tz(value),
        }
    }

    #[cold]
    fn impossible(self, civil: &Civil, builder: &mut BatchBuilder) -> Cell {
        let text = |out: &mut Vec<u8>| civil.write(out, self.meaning, self.fsp);
        match self.impossible {
            Impossible::Null => Cell::NULL,
            Impossible::Epoch => self.cell(EPOCH),
            // It is one table that must not go on, and that a sink can halt.
            Impossible::Halt => builder.long_with(Tag::Impossible, text),
            Impossible::Text => builder.long_with(Tag::Text, text),
        }
    }
}

impl Shape {
    #[inline]
    fn read(self, input: &mut &[u8], fsp: u8) -> Result<Read, ValueError> {
        match self {
            Shape::DateTime2 => datetime2(input, fsp).map(Read::Civil),
            Shape::Timestamp2 => {
                let seconds = u32::from_be_bytes(take(input)?);
                instant(seconds, fraction(input, fsp).ok_or(TIMESTAMP)?)
            }
            Shape::Date => {
                let [a, b, c] = take(input)?;
                let packed = u32::from_le_bytes([a, b, c, 0]);
                let (year, month, day) = (packed >> 9, packed >> 5 & 15, packed & 31);
                sound(Civil { year, month, day, ..Civil::default() }, DATE)
            }
            Shape::TimestampOld => instant(u32::from_le_bytes(take(input)?), 0),
            Shape::DateTimeOld => datetime_old(u64::from_le_bytes(take(input)?)),
            Shape::Result => structure(input),
        }
    }
}

#[inline]
fn sound(civil: Civil, fault: ValueError) -> Result<Read, ValueError> {
    if civil.is_sound() { Ok(Read::Civil(civil)) } else { Err(fault) }
}

/// Seconds since 1970; zero is the zero timestamp, which is earlier than all others.
#[inline]
fn instant(seconds: u32, micros: u32) -> Result<Read, ValueError> {
    if seconds == 0 && micros == 0 {
        return Ok(Read::Civil(Civil::default()));
    }
    let date = Date((seconds / SECONDS_PER_DAY) as i32);
    let seconds = i64::from(seconds % SECONDS_PER_DAY);
    Ok(Read::Instant(Timestamp { date, micros: seconds * MICROS_PER_SECOND + i64::from(micros) }))
}

/// The fraction behind a packed value, in microseconds: big endian in one byte for each two digits.
#[inline]
fn fraction(input: &mut &[u8], fsp: u8) -> Option<u32> {
    let micros = match fsp {
        0 => 0,
        1 | 2 => {
            let [hundredths] = take(input).ok()?;
            u32::from(hundredths) * 10_000
        }
        3 | 4 => u32::from(u16::from_be_bytes(take(input).ok()?)) * 100,
        _ => {
            let [a, b, c] = take(input).ok()?;
            u32::from_be_bytes([0, a, b, c])
        }
    };
    (micros < MICROS_PER_SECOND as u32).then_some(micros)
}

/// From the top: 1 bit that is set, 17 of `year * 13 + month`, 5 of the day, 5 of the hour, 6 of the minute, 6 of the
/// second.
#[inline]
fn datetime2(input: &mut &[u8], fsp: u8) -> Result<Civil, ValueError> {
    let [a, b, c, d, e] = take(input)?;
    let packed = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
    if packed >> 39 != 1 {
        return Err(DATETIME);
    }
    let months = (packed >> 22) as u32 & 0x1_ffff;
    let clock = packed as u32;
    let civil = Civil {
        year: months / 13,
        month: months % 13,
        day: clock >> 17 & 31,
        hour: clock >> 12 & 31,
        minute: clock >> 6 & 63,
        second: clock & 63,
        micros: fraction(input, fsp).ok_or(DATETIME)?,
    };
    if civil.is_sound() { Ok(civil) } else { Err(DATETIME) }
}

fn datetime_old(packed: u64) -> Result<Read, ValueError> {
    // Fourteen digits at most, so that each half fits 32 bits.
    let (date, clock) = (packed / 1_000_000, (packed % 1_000_000) as u32);
    let date = u32::try_from(date).map_err(|_| DATETIME)?;
    let civil = Civil {
        year: date / 10_000,
        month: date / 100 % 100,
        day: date % 100,
        hour: clock / 10_000,
        minute: clock / 100 % 100,
        second: clock % 100,
        micros: 0,
    };
    sound(civil, DATETIME)
}

/// A length of 0 (all zero), 4 (no time), 7 (no fraction) or 11, then year, month, day, hour, minute, second and
/// microseconds.
fn structure(input: &mut &[u8]) -> Result<Read, ValueError> {
    let [length] = take(input)?;
    let mut civil = Civil::default();
    if !matches!(length, 0 | 4 | 7 | 11) {
        return Err(DATETIME);
    }
    if length >= 4 {
        let [low, high, month, day] = take(input)?;
        (civil.year, civil.month, civil.day) = (u32::from(u16::from_le_bytes([low, high])), month.into(), day.into());
    }
    if length >= 7 {
        let [hour, minute, second] = take(input)?;
        (civil.hour, civil.minute, civil.second) = (hour.into(), minute.into(), second.into());
    }
    if length == 11 {
        civil.micros = u32::from_le_bytes(take(input)?);
    }
    sound(civil, DATETIME)
}

/// Microseconds of a `TIME` from its parts.
#[inline]
fn span(negative: bool, hours: u32, minutes: u32, seconds: u32, micros: u32) -> Result<i64, ValueError> {
    if hours > HOURS_MAX || minutes > 59 || seconds > 59 || micros >= MICROS_PER_SECOND as u32 {
        return Err(TIME);
    }
    let seconds = i64::from(hours * 3_600 + minutes * 60 + seconds);
    let span = seconds * MICROS_PER_SECOND + i64::from(micros);
    Ok(if negative { -span } else { span })
}

/// 24 bits, big endian: 1 bit that is set unless negative, 1 unused, 10 of the hour, 6 of the minute, 6 of the second;
/// then the fraction. A negative value is the two's complement of the whole, fraction and all, which carries into the
/// seconds (MY-65).
#[inline]
pub(super) fn time2(input: &mut &[u8], fsp: u8) -> Result<i64, ValueError> {
    let [a, b, c] = take(input)?;
    let clock = u64::from(u32::from_be_bytes([0, a, b, c]));
    let (tail, bits) = match fsp {
        0 => (0, 0),
        1 | 2 => {
            let [a] = take(input)?;
            (u64::from(a), 8)
        }
        3 | 4 => (u64::from(u16::from_be_bytes(take(input)?)), 16),
        _ => {
            let [a, b, c] = take(input)?;
            (u64::from(u32::from_be_bytes([0, a, b, c])), 24)
        }
    };
    let packed = (clock << bits | tail) as i64 - (0x80_0000 << bits);
    let size = packed.unsigned_abs();
    let clock = (size >> bits) as u32;
    let micros = (size & ((1 << bits) - 1)) as u32
        * match bits {
            8 => 10_000,
            16 => 100,
            _ => 1,
        };
    if clock >> 22 != 0 {
        return Err(TIME);
    }
    span(packed < 0, clock >> 12, clock >> 6 & 63, clock & 63, micros)
}

/// `HHMMSS` as a signed decimal number.
pub(super) fn time_old([a, b, c]: [u8; 3]) -> Result<i64, ValueError> {
    let packed = i32::from_le_bytes([0, a, b, c]) >> 8;
    let size = packed.unsigned_abs();
    span(packed < 0, size / 10_000, size / 100 % 100, size % 100, 0)
}

/// A length of 0 (zero), 8 (no fraction) or 12, then a sign, days, hour, minute, second and microseconds.
pub(super) fn time_result(input: &mut &[u8]) -> Result<i64, ValueError> {
    let [length] = take(input)?;
    if !matches!(length, 0 | 8 | 12) {
        return Err(TIME);
    }
    if length == 0 {
        return Ok(0);
    }
    let [negative] = take(input)?;
    let days = u32::from_le_bytes(take(input)?);
    let [hour, minute, second] = take(input)?;
    let micros = if length == 12 { u32::from_le_bytes(take(input)?) } else { 0 };
    let hours = days.checked_mul(24).and_then(|hours| hours.checked_add(u32::from(hour))).ok_or(TIME)?;
    span(negative != 0, hours, minute.into(), second.into(), micros)
}

#[cfg(test)]
mod tests;
