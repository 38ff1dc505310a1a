//! Defaults of columns: from the database's expression to the JSON of the schema block's `default`. The
//! expressions here are PostgreSQL's (`pg_get_expr`): `42`, `'text'::character varying`, `'-1'::integer`, `now()`;
//! those of MySQL and MariaDB have a module of their own.
//!
//! Only constants have a default. In the `debezium-3` profile, calls of functions have one, too: Debezium
//! shows a zero of the type for `now()` or `nextval(...)`, and only for the types that it knows.

mod mysql;

use super::column::{Dialect, Form, base_name};
use super::value::ValueWriter;
use crate::format::{ArrayBounds, Profile};
use std::borrow::Cow;
use tidewire_core::calendar::{Date, Interval, Timestamp};
use tidewire_core::decimal::Decimal;
use tidewire_core::{ColumnSchema, DataType, Value};

/// Words that are calls without parentheses.
const CURRENT: [&str; 5] = ["current_timestamp", "current_time", "current_date", "localtime", "localtimestamp"];

/// The default as JSON in the column's form; `None` when there is none or its type is not read here.
pub(crate) fn column_default(
    column: &ColumnSchema,
    form: &Form,
    profile: Profile,
    dialect: Dialect,
) -> Option<Vec<u8>> {
    if dialect == Dialect::MySql {
        return mysql::column_default(column, form, profile);
    }
    let expression = column.default.as_deref()?.trim();
    let debezium = profile == Profile::Debezium3;
    if debezium && !debezium_reads(column, form) {
        return None;
    }
    if debezium && is_call(expression) {
        return write(zero(&column.data_type)?, form, profile);
    }
    constant(&column.data_type, &literal(expression)?, form, profile)
}

fn write(value: Value<'_>, form: &Form, profile: Profile) -> Option<Vec<u8>> {
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    // Arrays are not read here.
    let array_bounds = ArrayBounds::Halt;
    let mut writer = ValueWriter { out: &mut out, scratch: &mut scratch, profile, array_bounds, streamed: false };
    writer.write(form, value).ok()?;
    Some(out)
}

fn constant(data_type: &DataType, literal: &str, form: &Form, profile: Profile) -> Option<Vec<u8>> {
    let scaled;
    let value = match data_type {
        DataType::Bool => Value::Bool(match literal {
            "true" | "t" => true,
            "false" | "f" => false,
            _ => return None,
        }),
        DataType::Int { .. } => Value::Int(literal.parse().ok()?),
        DataType::UInt { .. } => Value::UInt(literal.parse().ok()?),
        DataType::Float32 => Value::Float32(literal.parse().ok()?),
        DataType::Float64 => Value::Float64(literal.parse().ok()?),
        DataType::Decimal { scale, .. } => {
            scaled = at_scale(literal, *scale)?;
            Value::Decimal(Decimal::parse(scaled.as_bytes())?)
        }
        DataType::Date => Value::Date(date(literal)?),
        DataType::Time { .. } => Value::Time(clock(literal)?),
        DataType::Timestamp { .. } => Value::Timestamp(timestamp(literal)?),
        DataType::TimestampTz { .. } => Value::TimestampTz(timestamp(literal.strip_suffix("+00")?)?),
        DataType::Text | DataType::Other => Value::Text(literal.as_bytes()),
        DataType::Uuid => Value::Uuid(literal.as_bytes()),
        DataType::Json => Value::Json(literal.as_bytes()),
        DataType::Enum { .. } => Value::Enum(literal.as_bytes()),
        _ => return None,
    };
    write(value, form, profile)
}

// The types whose defaults Debezium reads; a struct cannot be one.
fn debezium_reads(column: &ColumnSchema, form: &Form) -> bool {
    let texts = ["text", "character varying", "character", "varchar", "bpchar", "xml"];
    match column.data_type {
        DataType::Text => texts.contains(&base_name(&column.native_type)),
        DataType::Decimal { .. } => *form != Form::DecimalVariable && base_name(&column.native_type) != "money",
        DataType::UInt { .. } | DataType::Other => false,
        _ => true,
    }
}

// `name(...)`, also within parentheses, or one of the words.
fn is_call(expression: &str) -> bool {
    let open = expression.strip_prefix('(').unwrap_or(expression);
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let call = open
        .split_once('(')
        .is_some_and(|(word, rest)| !word.is_empty() && word.chars().all(name) && rest.contains(')'));
    call || CURRENT.contains(&expression.to_ascii_lowercase().as_str())
}

fn zero(data_type: &DataType) -> Option<Value<'static>> {
    let epoch = Timestamp { date: Date(0), micros: 0 };
    Some(match data_type {
        DataType::Bool => Value::Bool(false),
        DataType::Int { .. } => Value::Int(0),
        DataType::Float32 => Value::Float32(0.0),
        DataType::Float64 => Value::Float64(0.0),
        DataType::Decimal { .. } => Value::Decimal(Decimal::parse(b"0.0")?),
        DataType::Text => Value::Text(b""),
        DataType::Json => Value::Json(b"{}"),
        DataType::Uuid => Value::Uuid(b"00000000-0000-0000-0000-000000000000"),
        DataType::Date => Value::Date(epoch.date),
        DataType::Time { .. } => Value::Time(0),
        DataType::Timestamp { .. } => Value::Timestamp(epoch),
        DataType::TimestampTz { .. } => Value::TimestampTz(epoch),
        DataType::Interval => Value::Interval(Interval { months: 0, days: 0, micros: 0 }),
        _ => return None,
    })
}

// The text of a literal, without quotes and cast; `None` for NULL and for what is no literal.
fn literal(expression: &str) -> Option<Cow<'_, str>> {
    let expression = expression.trim();
    let inner = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    if let Some(inner) = inner {
        return literal(inner);
    }
    if let Some(quoted) = expression.strip_prefix('\'') {
        let mut from = 0;
        loop {
            let end = from + quoted.get(from..)?.find('\'')?;
            let tail = quoted.get(end + 1..)?;
            if tail.starts_with('\'') {
                from = end + 2;
                continue;
            }
            let text = quoted.get(..end)?;
            return is_cast(tail).then(|| Cow::Owned(text.replace("''", "'")));
        }
    }
    let (word, cast) = expression.split_once("::").map_or((expression, ""), |(word, _)| (word, "::"));
    let word = word.trim().trim_start_matches('(').trim_end_matches(')');
    let number = word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
        && word.bytes().any(|byte| byte.is_ascii_digit());
    (number || matches!(word, "true" | "false") && cast.is_empty()).then_some(Cow::Borrowed(word))
}

// Empty, or `::type` and no operator after it.
fn is_cast(tail: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '"' | '.' | '(' | ')' | ',' | '[' | ']');
    tail.is_empty() || tail.strip_prefix("::").is_some_and(|name| !name.is_empty() && name.chars().all(allowed))
}

// As the server would store it: with all digits of the column's scale. `None` if that would round.
fn at_scale(literal: &str, scale: Option<i32>) -> Option<String> {
    let written = Decimal::parse(literal.as_bytes())?.scale();
    let wanted = match scale {
        Some(scale) => usize::try_from(scale).ok()?,
        None => return Some(literal.to_owned()),
    };
    let missing = wanted.checked_sub(written)?;
    let point = if written == 0 && missing > 0 { "." } else { "" };
    Some(format!("{literal}{point}{}", "0".repeat(missing)))
}

fn date(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>());
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Date::from_civil(i32::try_from(year).ok()?, month, day)
}

// `12:34:56` with up to six digits of a fraction.
fn clock(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<u32>());
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let micros = format!("{fraction:0<6}").parse::<u32>().ok()?;
    let fits = hour < 24 && minute < 60 && second < 60 && fraction.len() <= 6;
    fits.then(|| i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000 + i64::from(micros))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let (day, time) = text.split_once(' ')?;
    Some(Timestamp { date: date(day)?, micros: clock(time)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::plan;
    use crate::format::FormatSettings;

    fn default(expression: &str, data_type: DataType) -> Option<String> {
        shown(expression, data_type, "", FormatSettings::DEFAULT)
    }

    fn shown(expression: &str, data_type: DataType, native: &str, settings: FormatSettings) -> Option<String> {
        let (form, _) = plan(&data_type, native, &settings, Dialect::PostgreSql).unwrap();
        let column = ColumnSchema {
            name: "c".into(),
            data_type,
            native_type: native.into(),
            nullable: false,
            default: Some(expression.into()),
            missing: tidewire_core::Missing::Unknown,
            number: None,
        };
        column_default(&column, &form, settings.profile, Dialect::PostgreSql).map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn constants_are_written_and_expressions_are_not() {
        let int = DataType::Int { bits: 32 };
        let numeric = DataType::Decimal { precision: Some(5), scale: Some(2) };
        for (expression, data_type, expect) in [
            ("42", int.clone(), Some("42")),
            ("'-1'::integer", int.clone(), Some("-1")),
            ("(-1)", int.clone(), Some("-1")),
            ("nextval('s'::regclass)", int.clone(), None),
            ("1 + 2", int.clone(), None),
            ("NULL::integer", int, None),
            ("'dflt'::character varying", DataType::Text, Some("\"dflt\"")),
            ("'it''s'::text", DataType::Text, Some("\"it's\"")),
            ("'a'::text || 'b'::text", DataType::Text, None),
            ("CURRENT_USER", DataType::Text, None),
            ("true", DataType::Bool, Some("true")),
            ("1.5", numeric.clone(), Some("\"1.50\"")),
            ("7", numeric.clone(), Some("\"7.00\"")),
            ("1.555", numeric, None),
            ("'2024-02-29'::date", DataType::Date, Some("\"2024-02-29Z\"")),
            ("now()", DataType::Date, None),
            (
                "'2024-02-29 12:34:56.5'::timestamp without time zone",
                DataType::Timestamp { precision: 6 },
                Some("\"2024-02-29T12:34:56.5Z\""),
            ),
            ("'12:34:60'::time", DataType::Time { precision: 6 }, None),
        ] {
            assert_eq!(default(expression, data_type).as_deref(), expect, "{expression}");
        }
    }
    #[test]
    fn debezium_shows_a_zero_for_what_is_generated() {
        let numeric = DataType::Decimal { precision: Some(5), scale: Some(2) };
        for (expression, data_type, native, expect) in [
            ("nextval('t_id_seq'::regclass)", DataType::Int { bits: 32 }, "integer", Some("0")),
            ("now()", DataType::Timestamp { precision: 6 }, "timestamp without time zone", Some("0")),
            (
                "CURRENT_TIMESTAMP",
                DataType::TimestampTz { precision: 6 },
                "timestamp with time zone",
                Some("\"1970-01-01T00:00:00.000000Z\""),
            ),
            ("gen_random_uuid()", DataType::Uuid, "uuid", Some("\"00000000-0000-0000-0000-000000000000\"")),
            ("f(1)", numeric, "numeric(5,2)", Some("\"AA==\"")),
            ("upper('x'::text)", DataType::Text, "text", Some("\"\"")),
            ("'x'::citext", DataType::Text, "citext", None),
            ("'1.2.3.4'::inet", DataType::Other, "inet", None),
            ("42", DataType::Int { bits: 32 }, "integer", Some("42")),
        ] {
            let found = shown(expression, data_type, native, FormatSettings::DEBEZIUM_3);
            assert_eq!(found.as_deref(), expect, "{expression}");
        }
    }
}
