//! Constant defaults of columns: from the database's expression to the JSON of the schema block's
//! `default`. Expressions that must be evaluated have none. The expressions are PostgreSQL's
//! (`pg_get_expr`): `42`, `'text'::character varying`, `'-1'::integer`.

use super::column::Form;
use super::value::ValueWriter;
use crate::format::Profile;
use std::borrow::Cow;
use tidewire_core::calendar::Date;
use tidewire_core::decimal::Decimal;
use tidewire_core::{ColumnSchema, DataType, Value};

/// The default as JSON in the column's form; `None` when it is no constant or of a type not read here.
pub(crate) fn constant_default(column: &ColumnSchema, form: &Form, profile: Profile) -> Option<Vec<u8>> {
    let literal = literal(column.default.as_deref()?)?;
    let padded;
    let value = match column.data_type {
        DataType::Bool => Value::Bool(match literal.as_ref() {
            "true" | "t" => true,
            "false" | "f" => false,
            _ => return None,
        }),
        DataType::Int { .. } => Value::Int(literal.parse().ok()?),
        DataType::UInt { .. } => Value::UInt(literal.parse().ok()?),
        DataType::Float32 => Value::Float32(literal.parse().ok()?),
        DataType::Float64 => Value::Float64(literal.parse().ok()?),
        DataType::Decimal { scale, .. } => {
            padded = at_scale(&literal, scale)?;
            Value::Decimal(Decimal::parse(padded.as_bytes())?)
        }
        DataType::Date => Value::Date(date(&literal)?),
        DataType::Text | DataType::Other => Value::Text(literal.as_bytes()),
        DataType::Uuid => Value::Uuid(literal.as_bytes()),
        DataType::Json => Value::Json(literal.as_bytes()),
        DataType::Enum { .. } => Value::Enum(literal.as_bytes()),
        _ => return None,
    };
    let (mut out, mut scratch) = (Vec::new(), Vec::new());
    let mut writer = ValueWriter { out: &mut out, scratch: &mut scratch, profile };
    writer.write(form, value).ok()?;
    Some(out)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::plan;
    use crate::format::FormatSettings;

    fn default(expression: &str, data_type: DataType) -> Option<String> {
        let settings = FormatSettings::DEFAULT;
        let (form, _) = plan(&data_type, "", &settings, false).unwrap();
        let column = ColumnSchema {
            name: "c".into(),
            data_type,
            native_type: "".into(),
            nullable: false,
            default: Some(expression.into()),
        };
        constant_default(&column, &form, settings.profile).map(|out| String::from_utf8(out).unwrap())
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
        ] {
            assert_eq!(default(expression, data_type).as_deref(), expect, "{expression}");
        }
    }
}
