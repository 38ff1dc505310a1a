//! The database's own text of a value, for columns that are strings in Delta. Knows no column and no table.

use super::column::Unfit;
use tidewire_core::Value;
use tidewire_core::calendar::{Fraction, write_date, write_interval, write_offset, write_time, write_timestamp};

/// Appends the canonical text of a value.
///
/// # Errors
/// For values that have no text of their own here: null, unknown, floats, bytes, geometries.
pub(crate) fn write_text(out: &mut Vec<u8>, value: Value<'_>) -> Result<(), Unfit> {
    match value {
        Value::Text(text)
        | Value::Uuid(text)
        | Value::Json(text)
        | Value::Enum(text)
        | Value::Set(text)
        | Value::Bits(text)
        | Value::Range(text)
        | Value::Composite(text)
        | Value::Impossible(text)
        | Value::Other(text) => out.extend_from_slice(text),
        Value::Decimal(decimal) => out.extend_from_slice(decimal.text()),
        Value::Array(array) => out.extend_from_slice(array.text()),
        Value::Int(v) => out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes()),
        Value::UInt(v) => out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes()),
        Value::Date(date) if date.is_infinite() => {
            let word: &[u8] = if date.0 > 0 { b"infinity" } else { b"-infinity" };
            out.extend_from_slice(word);
        }
        Value::Date(date) => {
            if write_date(out, date) {
                out.extend_from_slice(b" BC");
            }
        }
        Value::Time(micros) => write_time(out, micros, Fraction::Trimmed),
        Value::FixedTime(micros, digits) => write_time(out, micros, Fraction::Fixed(digits)),
        Value::TimeTz(micros, offset) => {
            write_time(out, micros, Fraction::Trimmed);
            write_offset(out, offset);
        }
        Value::Timestamp(timestamp) => write_timestamp(out, timestamp, b' ', Fraction::Trimmed, b""),
        Value::TimestampTz(timestamp) => write_timestamp(out, timestamp, b' ', Fraction::Trimmed, b"+00"),
        Value::Interval(interval) => write_interval(out, interval),
        Value::Unknown => return Err(Unfit::Unknown),
        Value::Null
        | Value::Bool(_)
        | Value::Float32(_)
        | Value::Float64(_)
        | Value::Bytes(_)
        | Value::Geometry(..) => {
            return Err(Unfit::Kind);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::calendar::{Date, Interval, Timestamp};

    #[test]
    fn values_print_as_the_database_prints_them() {
        let bc = Timestamp { date: Date::from_civil(-43, 3, 15).unwrap(), micros: 1_500_000 };
        for (value, expect) in [
            (Value::Date(Date::INFINITY), "infinity"),
            (Value::Date(Date::NEG_INFINITY), "-infinity"),
            (Value::Date(Date::from_civil(-43, 3, 15).unwrap()), "0044-03-15 BC"),
            (Value::Timestamp(bc), "0044-03-15 00:00:01.5 BC"),
            (Value::TimestampTz(Timestamp::from_epoch_micros(0)), "1970-01-01 00:00:00+00"),
            (Value::TimestampTz(Timestamp::INFINITY), "infinity"),
            (Value::Time(86_400_000_000), "24:00:00"),
            (Value::Time(43_200_500_000), "12:00:00.5"),
            // MY-65: a span, with the digits of its column.
            (Value::FixedTime(-3_020_399_000_000, 0), "-838:59:59"),
            (Value::FixedTime(-1, 6), "-00:00:00.000001"),
            (Value::FixedTime(43_200_500_000, 3), "12:00:00.500"),
            (Value::FixedTime(0, 2), "00:00:00.00"),
            (Value::Impossible(b"0000-00-00"), "0000-00-00"),
            (Value::Set(b"x,z"), "x,z"),
            (Value::Bits(b"0000000101"), "0000000101"),
            (Value::TimeTz(0, -12_600), "00:00:00-03:30"),
            (Value::Interval(Interval { months: 1, days: 0, micros: 0 }), "1 mon"),
            (Value::UInt(u64::MAX), "18446744073709551615"),
        ] {
            let mut out = Vec::new();
            write_text(&mut out, value).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }
}
