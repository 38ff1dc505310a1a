//! Defaults as MySQL and MariaDB declare them: a constant in quotes (only quotes are doubled in it), a number, bits as
//! `b'101'`, or an expression such as `CURRENT_TIMESTAMP(6)` or `uuid()`.
//!
//! In the `debezium-3` profile the time of now is shown as 1970, as Debezium's parsers of DDL have it
//! (`DefaultValueParserListener`), and a zero date as null or 1970; other expressions have no default there either.

use super::{Timestamp, at_scale, clock, date, write};
use crate::encode::column::{Form, base_name};
use crate::format::Profile;
use std::borrow::Cow;
use tidewire_core::calendar::Date;
use tidewire_core::decimal::Decimal;
use tidewire_core::{ColumnSchema, DataType, Value};

/// Names of the time of now, with or without parentheses.
const NOW: [&str; 4] = ["current_timestamp", "now", "localtime", "localtimestamp"];
const EPOCH: Timestamp = Timestamp { date: Date(0), micros: 0 };
/// Whole numbers up to here are exact in a double, which Debezium reads defaults through.
const EXACT_MAX: u64 = 1 << 53;

/// A default, understood.
#[derive(Debug, PartialEq, Eq)]
enum Constant<'a> {
    /// Text or a number.
    Plain(Cow<'a, str>),
    /// `0` and `1` characters.
    Bits(&'a str),
    Now,
}

/// See [`super::column_default`].
pub(super) fn column_default(column: &ColumnSchema, form: &Form, profile: Profile) -> Option<Vec<u8>> {
    let debezium = profile == Profile::Debezium3;
    match constant(column.default.as_deref()?.trim())? {
        Constant::Now if debezium => write(now(column)?, form, profile),
        Constant::Now => None,
        Constant::Bits(bits) => of_bits(&column.data_type, bits, form, profile),
        Constant::Plain(text) => of_text(column, &text, form, profile),
    }
}

fn now(column: &ColumnSchema) -> Option<Value<'static>> {
    Some(match column.data_type {
        DataType::Date => Value::Date(EPOCH.date),
        DataType::Time { .. } => Value::Time(0),
        DataType::Timestamp { .. } => Value::Timestamp(EPOCH),
        DataType::TimestampTz { .. } if !column.nullable => Value::TimestampTz(EPOCH),
        _ => return None,
    })
}

fn of_bits(data_type: &DataType, bits: &str, form: &Form, profile: Profile) -> Option<Vec<u8>> {
    let DataType::Bits { length: Some(length), .. } = data_type else { return None };
    let length = usize::try_from(*length).ok().filter(|length| *length >= bits.len())?;
    write(Value::Bits(format!("{bits:0>length$}").as_bytes()), form, profile)
}

fn of_text(column: &ColumnSchema, text: &str, form: &Form, profile: Profile) -> Option<Vec<u8>> {
    let debezium = profile == Profile::Debezium3;
    let scaled;
    let value = match &column.data_type {
        DataType::Int { .. } => Value::Int(whole(text, debezium && base_name(&column.native_type) != "year")?),
        DataType::UInt { .. } if debezium => {
            // Through a signed number, as their values; beyond its range the largest there is.
            let number = text.parse().ok().filter(|number| *number <= EXACT_MAX);
            Value::UInt(number.or_else(|| u64::try_from(whole(text, true)?).ok())?)
        }
        DataType::UInt { .. } => Value::UInt(text.parse().ok()?),
        DataType::Float32 if *form == Form::Widened => {
            return write(Value::Float64(float(text)?), &Form::Float64, profile);
        }
        DataType::Float32 => Value::Float32(text.parse().ok().filter(|value: &f32| value.is_finite())?),
        DataType::Float64 => Value::Float64(float(text)?),
        DataType::Decimal { scale, .. } => {
            scaled = at_scale(text, *scale)?;
            Value::Decimal(Decimal::parse(scaled.as_bytes())?)
        }
        DataType::Bits { length: Some(1), .. } => Value::Bits(if text.parse::<i64>().ok()? == 0 { b"0" } else { b"1" }),
        DataType::Date => Value::Date(day_and_time(text, column.nullable, debezium)?.date),
        DataType::Timestamp { .. } => Value::Timestamp(day_and_time(text, column.nullable, debezium)?),
        // The text is of the server's time zone, which is not known here; Debezium takes its own.
        DataType::TimestampTz { .. } if debezium => {
            let value = day_and_time(text, column.nullable, true)?;
            Value::TimestampTz(Some(value).filter(|value| *value != EPOCH || !column.nullable)?)
        }
        DataType::Time { .. } => Value::Time(span(text)?),
        DataType::Text => Value::Text(text.as_bytes()),
        DataType::Enum { .. } => Value::Enum(text.as_bytes()),
        DataType::Set { .. } => Value::Set(text.as_bytes()),
        DataType::Uuid if !debezium => Value::Uuid(text.as_bytes()),
        DataType::Other if !debezium => Value::Other(text.as_bytes()),
        _ => return None,
    };
    write(value, form, profile)
}

// `None` for NULL and for what is neither a constant nor the time of now.
fn constant(expression: &str) -> Option<Constant<'_>> {
    if let Some(text) = quoted(expression) {
        return Some(Constant::Plain(text));
    }
    if let Some(bits) = expression.strip_prefix(['b', 'B']).and_then(quoted_bits) {
        return Some(Constant::Bits(bits));
    }
    match expression.to_ascii_lowercase().as_str() {
        "true" => return Some(Constant::Plain("1".into())),
        "false" => return Some(Constant::Plain("0".into())),
        _ => {}
    }
    if is_now(expression) {
        return Some(Constant::Now);
    }
    let digits = expression.trim_start_matches(['-', '+']);
    let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && expression.parse::<f64>().is_ok();
    number.then_some(Constant::Plain(Cow::Borrowed(expression)))
}

fn quoted(expression: &str) -> Option<Cow<'_, str>> {
    let inner = expression.strip_prefix('\'')?.strip_suffix('\'')?;
    if !inner.contains('\'') {
        return Some(Cow::Borrowed(inner));
    }
    let text = inner.replace("''", "\u{0}");
    (!inner.contains('\u{0}') && !text.contains('\'')).then(|| Cow::Owned(text.replace('\u{0}', "'")))
}

fn quoted_bits(expression: &str) -> Option<&str> {
    let bits = expression.strip_prefix('\'')?.strip_suffix('\'')?;
    bits.bytes().all(|bit| matches!(bit, b'0' | b'1')).then_some(bits)
}

fn is_now(expression: &str) -> bool {
    let (name, rest) = expression.split_once('(').unwrap_or((expression, ")"));
    let digits = rest.strip_suffix(')').unwrap_or("?");
    digits.bytes().all(|byte| byte.is_ascii_digit()) && NOW.iter().any(|now| now.eq_ignore_ascii_case(name.trim()))
}

// `rounded` lets a fraction pass, to the nearest whole number and a half upwards, and what is beyond 64 bits saturate.
fn whole(text: &str, rounded: bool) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(number) if !rounded || number.unsigned_abs() <= EXACT_MAX => Some(number),
        _ if rounded => Some((float(text)? + 0.5).floor() as i64),
        _ => None,
    }
}

fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

// `2020-01-02`, with ` 03:04:05.6` or without. A date that is none is 1970 in a column without nulls, in Debezium.
fn day_and_time(text: &str, nullable: bool, debezium: bool) -> Option<Timestamp> {
    let (day, time) = text.split_once([' ', 'T']).map_or((text, None), |(day, time)| (day, Some(time)));
    let micros = time.map_or(Some(0), clock);
    // Month 0 and day 0 are no date; year 0 is one only to the calendar.
    let value = date(day).filter(|_| !day.starts_with("0000")).zip(micros);
    match value {
        Some((date, micros)) => Some(Timestamp { date, micros }),
        None => (debezium && !nullable).then_some(EPOCH),
    }
}

// `-838:59:59.999999`, in microseconds.
fn span(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<u32>());
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next().unwrap_or(Ok(0)).ok()?);
    let micros = format!("{fraction:0<6}").parse::<u32>().ok()?;
    let fits = hour <= 838 && minute < 60 && second < 60 && fraction.len() <= 6;
    let total = i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000 + i64::from(micros);
    fits.then_some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::{Dialect, plan};
    use crate::format::{DecimalMode, FormatSettings};

    fn shown(expression: &str, data_type: &DataType, native: &str, nullable: bool, settings: FormatSettings) -> String {
        let (form, _) = plan(data_type, native, &settings, Dialect::MySql).unwrap();
        let column = ColumnSchema {
            name: "c".into(),
            data_type: data_type.clone(),
            native_type: native.into(),
            nullable,
            default: Some(expression.into()),
            missing: tidewire_core::Missing::Unknown,
            number: None,
        };
        column_default(&column, &form, settings.profile).map_or("-".into(), |out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn constants_are_written_exactly_and_expressions_are_not() {
        let int = DataType::Int { bits: 32 };
        let unsigned = DataType::UInt { bits: 64 };
        let decimal = DataType::Decimal { precision: Some(5), scale: Some(2) };
        let timestamp = DataType::Timestamp { precision: 6 };
        let instant = DataType::TimestampTz { precision: 0 };
        let bits = |length| DataType::Bits { length: Some(length), varying: false };
        let set = DataType::Set { labels: ["x", "y"].map(Into::into).into() };
        let time = DataType::Time { precision: 6 };
        let d = "\"1970-01-01T00:00:00Z\"";
        for (expression, data_type, native, own, debezium) in [
            ("42", &int, "int", "42", "42"),
            ("'42'", &int, "int", "42", "42"),
            ("-7", &int, "int", "-7", "-7"),
            ("true", &int, "tinyint(1)", "1", "1"),
            ("1.5", &int, "int", "-", "2"),
            ("-1.5", &int, "int", "-", "-1"),
            ("NULL", &int, "int", "-", "-"),
            ("(1 + 2)", &int, "int", "-", "-"),
            ("1-2", &int, "int", "-", "-"),
            ("'2024'", &int, "year", "2024", "2024"),
            ("9007199254740993", &DataType::Int { bits: 64 }, "bigint", "9007199254740993", "9007199254740992"),
            ("18446744073709551615", &unsigned, "bigint unsigned", "18446744073709551615", "9223372036854775807"),
            ("7", &unsigned, "bigint unsigned", "7", "7"),
            ("'1.25'", &decimal, "decimal(5,2)", "\"1.25\"", "\"fQ==\""),
            ("1", &decimal, "decimal(5,2)", "\"1.00\"", "\"ZA==\""),
            ("1e-7", &DataType::Float64, "double", "1.0E-7", "1.0E-7"),
            ("1.1", &DataType::Float32, "float", "1.1", "1.1"),
            ("1.1", &DataType::Float32, "float(7,3)", "1.1", "1.1"),
            ("'it''s'", &DataType::Text, "varchar(9)", "\"it's\"", "\"it's\""),
            ("''", &DataType::Text, "varchar(9)", "\"\"", "\"\""),
            ("'a'b'", &DataType::Text, "varchar(9)", "-", "-"),
            ("uuid()", &DataType::Text, "varchar(9)", "-", "-"),
            ("'x,y'", &set, "set", "\"x,y\"", "\"x,y\""),
            ("b'1'", &bits(1), "bit(1)", "true", "true"),
            ("b'101'", &bits(10), "bit(10)", "\"0000000101\"", "\"BQA=\""),
            ("b'102'", &bits(10), "bit(10)", "-", "-"),
            ("b'11'", &bits(1), "bit(1)", "-", "-"),
            ("'2020-01-02'", &DataType::Date, "date", "\"2020-01-02Z\"", "18263"),
            ("'2020-01-02 03:04:05'", &timestamp, "datetime(6)", "\"2020-01-02T03:04:05Z\"", "1577934245000000"),
            ("'2020-01-02'", &timestamp, "datetime(6)", "\"2020-01-02T00:00:00Z\"", "1577923200000000"),
            ("'0000-00-00 00:00:00'", &timestamp, "datetime(6)", "-", "0"),
            ("'2020-00-10'", &DataType::Date, "date", "-", "0"),
            ("'2020-01-02 03:04:05'", &instant, "timestamp", "-", "\"2020-01-02T03:04:05Z\""),
            ("CURRENT_TIMESTAMP", &instant, "timestamp", "-", d),
            ("current_timestamp()", &instant, "timestamp", "-", d),
            ("CURRENT_TIMESTAMP(6)", &timestamp, "datetime(6)", "-", "0"),
            ("current_timestamp(x)", &timestamp, "datetime(6)", "-", "-"),
            ("'-838:59:59.5'", &time, "time(6)", "\"-838:59:59.5Z\"", "-3020399500000"),
            ("'839:00:00'", &time, "time(6)", "-", "-"),
        ] {
            let found = |settings| shown(expression, data_type, native, false, settings);
            assert_eq!(found(FormatSettings::DEFAULT), own, "{expression} {native}");
            assert_eq!(found(FormatSettings::DEBEZIUM_3), debezium, "{expression} {native} in debezium-3");
        }
        let strings = FormatSettings { decimal: DecimalMode::String, ..FormatSettings::DEBEZIUM_3 };
        assert_eq!(shown("'1.25'", &decimal, "decimal(5,2)", false, strings), "\"1.25\"");
    }

    #[test]
    fn my_64_a_zero_date_is_no_default_of_a_column_with_nulls() {
        let timestamp = DataType::Timestamp { precision: 0 };
        let instant = DataType::TimestampTz { precision: 0 };
        for (expression, data_type, native, expect) in [
            ("'0000-00-00'", &DataType::Date, "date", "-"),
            ("'0000-00-00 00:00:00'", &timestamp, "datetime", "-"),
            ("CURRENT_TIMESTAMP", &instant, "timestamp", "-"),
            ("'1970-01-01 00:00:00'", &instant, "timestamp", "-"),
            ("CURRENT_TIMESTAMP", &timestamp, "datetime", "0"),
        ] {
            assert_eq!(shown(expression, data_type, native, true, FormatSettings::DEBEZIUM_3), expect, "{expression}");
        }
    }
}
