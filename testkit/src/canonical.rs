//! One text for each value, whatever it was read from: the database itself (by SQL expressions that use none of our
//! code), a Debezium record, or a Delta reader (`readers/read_delta.py` writes the same forms). Floats are their bits,
//! instants are UTC to the microsecond, bytes are hexadecimal; everything else is the database's own text.

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// How a column's values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The database's own text.
    Text,
    /// `true` or `false`.
    Bool,
    /// 4-byte float.
    Single,
    /// 8-byte float.
    Double,
    /// Bytes.
    Bytes,
    /// Date.
    Date,
    /// Timestamp without time zone.
    Timestamp,
    /// Timestamp with time zone.
    Instant,
    /// A span or time of day, whose fraction may end in zeros.
    Time,
    /// Bits, as the digits 0 and 1.
    Bits,
    /// A geometry as MySQL stores it: four bytes of its reference system, then its well-known binary.
    Geometry,
}

impl Form {
    /// Of a type, by its name in `pg_type`.
    pub fn of_postgres(typname: &str) -> Form {
        match typname {
            "bool" => Form::Bool,
            "float4" => Form::Single,
            "float8" => Form::Double,
            "bytea" => Form::Bytes,
            "date" => Form::Date,
            "timestamp" => Form::Timestamp,
            "timestamptz" => Form::Instant,
            _ => Form::Text,
        }
    }

    /// The SQL expression of PostgreSQL that gives the canonical text of `value`.
    pub fn sql(self, value: &str) -> String {
        let float = |send: &str| {
            format!("CASE WHEN {value}::text = 'NaN' THEN 'NaN' ELSE 'bits:' || encode({send}({value}), 'hex') END")
        };
        let time = |value: &str| format!("to_char({value}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')");
        match self {
            // Unlike a cast, format() keeps the padding of char(n).
            Form::Text | Form::Time | Form::Bits | Form::Geometry => {
                format!("CASE WHEN {value} IS NOT NULL THEN format('%s', {value}) END")
            }
            Form::Bool => format!("{value}::text"),
            Form::Single => float("float4send"),
            Form::Double => float("float8send"),
            Form::Bytes => format!("'hex:' || encode({value}, 'hex')"),
            Form::Date => format!("to_char({value}, 'YYYY-MM-DD')"),
            Form::Timestamp => time(value),
            Form::Instant => format!("{} || 'Z'", time(&format!("({value} AT TIME ZONE 'UTC')"))),
        }
    }

    /// The canonical value of what a reader or a source gave: only times may be written in several ways there.
    pub fn of_text(self, value: Value) -> Value {
        match (self, value) {
            (Form::Time, Value::String(text)) => Value::String(trimmed(&text)),
            (_, value) => value,
        }
    }

    /// The canonical value of a field in a Debezium record of our default modes (decimals as strings, times as ISO
    /// 8601, bytes in base64).
    pub fn of_json(self, raw: &RawValue) -> Result<Value> {
        let text = raw.get();
        if self == Form::Geometry && text.starts_with('{') {
            return geometry(text);
        }
        if text.starts_with('[') && self != Form::Text {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
            return Ok(Value::Array(items.iter().map(|item| self.of_json(item)).collect::<Result<_>>()?));
        }
        let value: Value = serde_json::from_str(text)?;
        let plain = match &value {
            Value::Null => return Ok(Value::Null),
            Value::String(inner) => inner.clone(),
            Value::Array(items) => {
                let item =
                    |v: &Value| if let Value::Null | Value::String(_) = v { v.clone() } else { v.to_string().into() };
                return Ok(Value::Array(items.iter().map(item).collect()));
            }
            _ => text.to_owned(),
        };
        let canonical = match self {
            Form::Text | Form::Bool => plain,
            // One bit is a flag.
            Form::Bits => plain.replace("true", "1").replace("false", "0"),
            Form::Time => trimmed(plain.trim_end_matches('Z')),
            Form::Single => float(&plain, plain.parse::<f32>().map(|f| (f.is_nan(), format!("{:08x}", f.to_bits()))))?,
            Form::Double => float(&plain, plain.parse::<f64>().map(|f| (f.is_nan(), format!("{:016x}", f.to_bits()))))?,
            Form::Bytes | Form::Geometry => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(&plain);
                let bytes = bytes.with_context(|| format!("`{plain}` is not base64"))?;
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                format!("hex:{hex}")
            }
            Form::Date => plain.trim_end_matches('Z').to_owned(),
            Form::Timestamp => microseconds(plain.trim_end_matches('Z'))?,
            Form::Instant => {
                let Some(time) = plain.strip_suffix('Z') else { bail!("`{plain}` is not in UTC") };
                microseconds(time)? + "Z"
            }
        };
        Ok(Value::String(canonical))
    }
}

fn float(text: &str, parsed: Result<(bool, String), std::num::ParseFloatError>) -> Result<String> {
    let (is_nan, bits) = parsed.with_context(|| format!("`{text}` is no float"))?;
    Ok(if is_nan { "NaN".to_owned() } else { format!("bits:{bits}") })
}

/// `{"wkb":base64,"srid":number or null}` as bytes.
fn geometry(text: &str) -> Result<Value> {
    #[derive(Deserialize)]
    struct Members {
        wkb: Box<RawValue>,
        srid: Option<u32>,
    }
    let Members { wkb, srid } = serde_json::from_str(text)?;
    let system: String = srid.unwrap_or(0).to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let binary = Form::Bytes.of_json(&wkb)?;
    let binary = binary.as_str().and_then(|text| text.strip_prefix("hex:")).context("a geometry without bytes")?;
    Ok(format!("hex:{system}{binary}").into())
}

/// A time without the zeros at the end of its fraction, which say nothing.
fn trimmed(time: &str) -> String {
    match time.split_once('.') {
        Some((_, fraction)) if fraction.bytes().all(|digit| digit.is_ascii_digit()) => {
            time.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => time.to_owned(),
    }
}

/// An ISO 8601 time with its fraction written to six digits.
fn microseconds(text: &str) -> Result<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 && fraction.bytes().skip(6).any(|digit| digit != b'0') {
        bail!("`{text}` is finer than a microsecond");
    }
    // A time on the minute may come without its seconds.
    let seconds = if whole.matches(':').count() == 1 { ":00" } else { "" };
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Ok(format!("{whole}{seconds}.{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(form: Form, input: &str, expect: Value) {
        let raw: Box<RawValue> = serde_json::from_str(input).unwrap();
        assert_eq!(form.of_json(&raw).unwrap(), expect, "{input}");
    }

    #[test]
    fn record_fields_come_to_their_canonical_text() {
        check(Form::Text, "9007199254740993", json!("9007199254740993"));
        check(Form::Text, "\"1.20\"", json!("1.20"));
        check(Form::Text, "null", Value::Null);
        check(Form::Text, "[1,null,\"x\"]", json!(["1", null, "x"]));
        check(Form::Bool, "true", json!("true"));
        check(Form::Double, "0.1", json!("bits:3fb999999999999a"));
        check(Form::Single, "0.1", json!("bits:3dcccccd"));
        check(Form::Double, "\"NaN\"", json!("NaN"));
        check(Form::Double, "\"-Infinity\"", json!("bits:fff0000000000000"));
        check(Form::Bytes, "\"AP8=\"", json!("hex:00ff"));
        check(Form::Date, "\"2024-01-02Z\"", json!("2024-01-02"));
        check(Form::Instant, "\"2024-01-02T03:04:05.1Z\"", json!("2024-01-02T03:04:05.100000Z"));
        check(Form::Time, "\"-838:59:59.500Z\"", json!("-838:59:59.5"));
        check(Form::Time, "\"10:00:00.000\"", json!("10:00:00"));
        check(Form::Bits, "true", json!("1"));
        check(Form::Bits, "\"0101\"", json!("0101"));
        check(Form::Geometry, "{\"wkb\":\"AP8=\",\"srid\":4326}", json!("hex:e610000000ff"));
        check(Form::Timestamp, "\"2024-01-02T03:04:05\"", json!("2024-01-02T03:04:05.000000"));
        check(Form::Instant, "[\"2024-01-02T03:04Z\",null]", json!(["2024-01-02T03:04:00.000000Z", null]));
    }
}
