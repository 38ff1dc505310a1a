//! From the form that `COPY ... (FORMAT binary)` gives a value to the very cell that its text gives. Only types whose
//! binary form is documented by the server's `*send` functions, has been the same on every supported major and loses
//! nothing are read so; a table with any other column is read as text.
//!
//! The log stays text: what is read here must therefore equal what the text readers make of the same value, down to
//! the digits of a numeric and the bits of a NaN.

use super::{ValueError, fits, plain};
use tidewire_core::batch::BatchBuilder;
use tidewire_core::calendar::{Date, Interval, MICROS_PER_DAY, Timestamp};
use tidewire_core::cell::{Cell, Tag};

/// How a value's binary form is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int16,
    Int32,
    Int64,
    UInt32,
    UInt64,
    Float32,
    Float64,
    Numeric,
    Money,
    /// UTF-8, as it is, under this tag.
    Text(Tag),
    Jsonb,
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Bits,
}

const WIDTH: ValueError = ValueError::Malformed("as long as its type in binary form");
const RANGE: ValueError = ValueError::Malformed("within its type's range in binary form");
const NUMERIC: ValueError = ValueError::Malformed("a numeric in binary form");

/// Days from 1970-01-01 to 2000-01-01, the server's own epoch.
const EPOCH_DAYS: i64 = 10_957;

impl Form {
    /// The form of a built-in type, by its fixed oid; `None` where only the text will do. "char" prints some bytes
    /// otherwise from 16 on, xml is converted on its way out, and network addresses have forms of their own.
    pub(super) fn of_built_in(oid: u32) -> Option<Form> {
        Some(match oid {
            16 => Form::Bool,
            17 => Form::Bytea,
            // name, text, bpchar, varchar.
            19 | 25 | 1042 | 1043 => Form::Text(Tag::Text),
            20 => Form::Int64,
            21 => Form::Int16,
            23 => Form::Int32,
            // oid, xid, cid.
            26 | 28 | 29 => Form::UInt32,
            114 => Form::Text(Tag::Json),
            700 => Form::Float32,
            701 => Form::Float64,
            790 => Form::Money,
            1082 => Form::Date,
            1083 => Form::Time,
            1114 => Form::Timestamp,
            1184 => Form::TimestampTz,
            1186 => Form::Interval,
            1266 => Form::TimeTz,
            1560 | 1562 => Form::Bits,
            1700 => Form::Numeric,
            2950 => Form::Uuid,
            3802 => Form::Jsonb,
            5069 => Form::UInt64,
            _ => return None,
        })
    }

    /// Makes the cell of a value; long values go to the builder's arena.
    #[inline]
    pub(super) fn read(self, bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        Ok(match self {
            Form::Int64 => Cell::int(i64::from_be_bytes(exact(bytes)?)),
            Form::Int32 => Cell::int(i64::from(i32::from_be_bytes(exact(bytes)?))),
            Form::Text(tag) => return plain(tag, bytes, builder),
            Form::Numeric => return numeric(bytes, builder),
            Form::TimestampTz => Cell::timestamp_tz(timestamp(bytes)?),
            Form::Timestamp => Cell::timestamp(timestamp(bytes)?),
            Form::Int16 => Cell::int(i64::from(i16::from_be_bytes(exact(bytes)?))),
            Form::UInt32 => Cell::uint(u64::from(u32::from_be_bytes(exact(bytes)?))),
            Form::UInt64 => Cell::uint(u64::from_be_bytes(exact(bytes)?)),
            Form::Bool => Cell::boolean(match exact::<1>(bytes)? {
                [0] => false,
                [1] => true,
                _ => return Err(RANGE),
            }),
            Form::Float32 => {
                let value = f32::from_be_bytes(exact(bytes)?);
                // The text of every NaN is the same.
                Cell::float32(if value.is_nan() { f32::NAN } else { value })
            }
            Form::Float64 => {
                let value = f64::from_be_bytes(exact(bytes)?);
                Cell::float64(if value.is_nan() { f64::NAN } else { value })
            }
            Form::Money => money(i64::from_be_bytes(exact(bytes)?), builder),
            Form::Jsonb => {
                let text = bytes.strip_prefix(&[1]).ok_or(ValueError::Malformed("jsonb of version 1"))?;
                return plain(Tag::Json, text, builder);
            }
            Form::Bytea => builder.long(Tag::Bytes, bytes),
            Form::Date => Cell::date(match i32::from_be_bytes(exact(bytes)?) {
                i32::MAX => Date::INFINITY,
                i32::MIN => Date::NEG_INFINITY,
                days => day(i64::from(days))?,
            }),
            Form::Time => Cell::time(time_of_day(exact(bytes)?)?),
            Form::TimeTz => {
                let (micros, west) = bytes.split_first_chunk::<8>().ok_or(WIDTH)?;
                let east = i32::from_be_bytes(exact(west)?).checked_neg().ok_or(RANGE)?;
                Cell::time_tz(time_of_day(*micros)?, east)
            }
            Form::Interval => {
                let (micros, rest) = bytes.split_first_chunk::<8>().ok_or(WIDTH)?;
                let (days, months) = rest.split_first_chunk::<4>().ok_or(WIDTH)?;
                builder.interval(Interval {
                    months: i32::from_be_bytes(exact(months)?),
                    days: i32::from_be_bytes(*days),
                    micros: i64::from_be_bytes(*micros),
                })
            }
            Form::Uuid => uuid(exact(bytes)?, builder),
            Form::Bits => return bits(bytes, builder),
        })
    }
}

#[inline]
fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], ValueError> {
    <[u8; N]>::try_from(bytes).map_err(|_| WIDTH)
}

/// A day, counted from the server's epoch.
#[inline]
fn day(days: i64) -> Result<Date, ValueError> {
    let date = i32::try_from(days + EPOCH_DAYS).map(Date).map_err(|_| RANGE)?;
    if date.is_infinite() { Err(RANGE) } else { Ok(date) }
}

/// Microseconds since 2000-01-01; both ends are the infinities.
#[inline]
fn timestamp(bytes: &[u8]) -> Result<Timestamp, ValueError> {
    match i64::from_be_bytes(exact(bytes)?) {
        i64::MAX => Ok(Timestamp::INFINITY),
        i64::MIN => Ok(Timestamp::NEG_INFINITY),
        micros => {
            let date = day(micros.div_euclid(MICROS_PER_DAY))?;
            Ok(Timestamp { date, micros: micros.rem_euclid(MICROS_PER_DAY) })
        }
    }
}

fn time_of_day(bytes: [u8; 8]) -> Result<i64, ValueError> {
    let micros = i64::from_be_bytes(bytes);
    if (0..=MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(RANGE) }
}

/// Cents as `money` prints them with `lc_monetary = C`, without the sign of the currency.
fn money(cents: i64, builder: &mut BatchBuilder) -> Cell {
    let whole = cents.unsigned_abs() / 100;
    let rest = cents.unsigned_abs() % 100;
    builder.long_with(Tag::Decimal, |out| {
        if cents < 0 {
            out.push(b'-');
        }
        push_digits(out, whole);
        out.extend_from_slice(&[b'.', b'0' + (rest / 10) as u8, b'0' + (rest % 10) as u8]);
    })
}

fn push_digits(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (value % 10) as u8);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.get_mut(start..).unwrap_or_default().reverse();
}

fn uuid(bytes: [u8; 16], builder: &mut BatchBuilder) -> Cell {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    builder.long_with(Tag::Uuid, |out| {
        for (place, byte) in bytes.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
    })
}

/// A count of bits and the bits, the highest of a byte first.
fn bits(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let (count, bytes) = bytes.split_first_chunk::<4>().ok_or(WIDTH)?;
    let count = u32::from_be_bytes(*count) as usize;
    if bytes.len() != count.div_ceil(8) {
        return Err(WIDTH);
    }
    fits(count, builder)?;
    Ok(builder.long_with(Tag::Bits, |out| {
        let all = bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| b'0' + (byte >> place & 1)));
        out.extend(all.take(count));
    }))
}

/// A numeric: digits to the base of 10,000, the weight of the first, a sign, and how many decimal digits are shown
/// after the point. Written as `get_str_from_var` of the server's numeric.c does.
fn numeric(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    const POSITIVE: u16 = 0x0000;
    const NEGATIVE: u16 = 0x4000;
    let (header, digits) = bytes.split_first_chunk::<8>().ok_or(NUMERIC)?;
    let [n1, n2, w1, w2, s1, s2, d1, d2] = *header;
    let (digits, odd) = digits.as_chunks::<2>();
    if digits.len() != usize::from(u16::from_be_bytes([n1, n2])) || !odd.is_empty() {
        return Err(NUMERIC);
    }
    let negative = match u16::from_be_bytes([s1, s2]) {
        POSITIVE => false,
        NEGATIVE => true,
        0xC000 => return Ok(builder.long(Tag::Decimal, b"NaN")),
        0xD000 => return Ok(builder.long(Tag::Decimal, b"Infinity")),
        0xF000 => return Ok(builder.long(Tag::Decimal, b"-Infinity")),
        _ => return Err(NUMERIC),
    };
    let weight = i32::from(i16::from_be_bytes([w1, w2]));
    let scale = usize::from(u16::from_be_bytes([d1, d2]));
    let mut sound = true;
    let mut group = |place: i32| {
        let digits = usize::try_from(place).ok().and_then(|place| digits.get(place));
        let value = digits.map_or(0, |pair| u16::from_be_bytes(*pair));
        sound &= value < 10_000;
        [value / 1000, value / 100 % 10, value / 10 % 10, value % 10].map(|digit| b'0' + digit as u8)
    };
    let cell = builder.long_with(Tag::Decimal, |out| {
        if negative {
            out.push(b'-');
        }
        if weight < 0 {
            out.push(b'0');
        } else {
            let first = group(0);
            let zeros = first.iter().take(3).take_while(|digit| **digit == b'0').count();
            out.extend_from_slice(first.get(zeros..).unwrap_or_default());
            for place in 1..=weight {
                out.extend_from_slice(&group(place));
            }
        }
        if scale > 0 {
            out.push(b'.');
            let end = out.len() + scale;
            for place in (weight + 1..).take(scale.div_ceil(4)) {
                out.extend_from_slice(&group(place));
            }
            out.truncate(end);
        }
    });
    if sound { Ok(cell) } else { Err(NUMERIC) }
}

#[cfg(test)]
mod tests;
