//! A default as the server keeps it, from the default as said. Texts are brought to the form in which the catalog has them
//! where that is certain; otherwise they stay as written.

use super::DefaultSpec;
use crate::model::{ColumnDef, ColumnKind, DefaultValue};
use std::sync::Arc;

/// The default of a column of a type.
pub(super) fn value(spec: &DefaultSpec, column: &ColumnDef) -> DefaultValue {
    let kind = &column.kind;
    let literal = |text: String| DefaultValue::Literal { text: Arc::from(text) };
    let value = match spec {
        DefaultSpec::Null => DefaultValue::Null,
        DefaultSpec::Now(None) => DefaultValue::Expression { text: Arc::from("CURRENT_TIMESTAMP") },
        DefaultSpec::Now(Some(fsp)) => {
            DefaultValue::Expression { text: Arc::from(format!("CURRENT_TIMESTAMP({fsp})")) }
        }
        DefaultSpec::Expression(text) => DefaultValue::Expression { text: Arc::clone(text) },
        DefaultSpec::Number(text) if *kind == ColumnKind::Year && text.trim_start_matches('0').is_empty() => {
            literal("0000".to_owned())
        }
        DefaultSpec::Text(text) | DefaultSpec::Number(text) => literal(plain(text, kind)),
        DefaultSpec::Hex(bytes) => of_bytes(bytes, kind),
        DefaultSpec::Bits(digits) if matches!(kind, ColumnKind::Bit { .. }) => literal(bare(digits)),
        DefaultSpec::Bits(digits) => {
            let bytes: Vec<u8> = digits
                .as_bytes()
                .rchunks(8)
                .rev()
                .map(|byte| byte.iter().fold(0, |byte, digit| byte << 1 | u8::from(*digit == b'1')))
                .collect();
            of_bytes(&bytes, kind)
        }
    };
    match (value, column.width) {
        (DefaultValue::Literal { text }, Some(width))
            if column.zerofill && text.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            literal(format!("{text:0>width$}", width = width as usize))
        }
        (value, _) => value,
    }
}

/// Whether a default is the time of the statement.
pub(super) fn is_now(text: &str) -> bool {
    // Nothing may follow: a default that is computed from it is another.
    let digits = text.strip_prefix("CURRENT_TIMESTAMP").map(str::as_bytes);
    matches!(digits, Some([] | [b'(', b'0'..=b'6', b')']))
}

/// Bytes are a number to a number and a text to a text.
fn of_bytes(bytes: &[u8], kind: &ColumnKind) -> DefaultValue {
    let hex = || DefaultValue::Expression {
        text: Arc::from(bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02X}"))),
    };
    if is_number(kind) || matches!(kind, ColumnKind::Bit { .. }) {
        let significant =
            bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| bytes.get(first..).unwrap_or(&[]));
        if significant.len() > 8 {
            return hex();
        }
        let number = significant.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        return DefaultValue::Literal { text: Arc::from(plain(&number.to_string(), kind)) };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => DefaultValue::Literal { text: Arc::from(plain(text, kind)) },
        _ => hex(),
    }
}

fn is_number(kind: &ColumnKind) -> bool {
    matches!(
        kind,
        ColumnKind::TinyInt
            | ColumnKind::SmallInt
            | ColumnKind::MediumInt
            | ColumnKind::Int
            | ColumnKind::BigInt
            | ColumnKind::Decimal { .. }
            | ColumnKind::Float { .. }
            | ColumnKind::Double { .. }
            | ColumnKind::Year
    )
}

/// Digits without zeros in front.
fn bare(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    }
}

fn plain(text: &str, kind: &ColumnKind) -> String {
    match kind {
        ColumnKind::TinyInt | ColumnKind::SmallInt | ColumnKind::MediumInt | ColumnKind::Int | ColumnKind::BigInt => {
            decimal(text, 0)
        }
        ColumnKind::Decimal { scale, .. } => decimal(text, usize::from(*scale)),
        ColumnKind::Float { .. } | ColumnKind::Double { .. } => floating(text),
        // As a text one digit or two mean 2000 to 2069 and 1970 to 1999, and so do numbers but for 0.
        ColumnKind::Year => match text.parse::<u16>() {
            Ok(year @ 0..=69) => (2000 + year).to_string(),
            Ok(year @ 70..=99) => (1900 + year).to_string(),
            _ => text.to_owned(),
        },
        ColumnKind::Date => date(text),
        ColumnKind::Bit { .. } => match text.parse::<u64>() {
            Ok(number) => format!("{number:b}"),
            Err(_) => text.to_owned(),
        },
        ColumnKind::DateTime { fsp } | ColumnKind::Timestamp { fsp } => date_time(text, *fsp),
        ColumnKind::Time { fsp } if text.contains(':') => fraction(text, *fsp),
        ColumnKind::Enum { labels } => label(text, labels),
        ColumnKind::Set { labels } if !text.is_empty() => {
            let said: Vec<String> = text.split(',').map(|member| label(member, labels)).collect();
            let members: Vec<&str> =
                labels.iter().map(|label| &**label).filter(|label| said.iter().any(|s| s == label)).collect();
            if said.iter().all(|member| members.contains(&member.as_str())) {
                members.join(",")
            } else {
                text.to_owned()
            }
        }
        _ => text.to_owned(),
    }
}

fn label(text: &str, labels: &[Arc<str>]) -> String {
    let found = labels.iter().find(|label| crate::model::same_name(label, text));
    found.map_or_else(|| text.to_owned(), |label| label.to_string())
}

/// With as many digits after the point as the column has. The server rounds a default that has more, half away from zero.
fn decimal(text: &str, scale: usize) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let kept = fraction.trim_end_matches('0');
    if !is_digits(whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return text.to_owned();
    }
    if let Some(next) = kept.as_bytes().get(scale) {
        let digits = format!("{whole}{}", kept.get(..scale).unwrap_or_default());
        let Ok(number) = digits.parse::<u128>() else { return text.to_owned() };
        let rounded = format!("{:0>width$}", number + u128::from(*next >= b'5'), width = scale + 1);
        let point = rounded.len() - scale;
        let (whole, fraction) = rounded.split_at_checked(point).unwrap_or((&rounded, ""));
        let sign = if number == 0 && *next < b'5' { "" } else { sign };
        return if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
    }
    let whole = bare(whole);
    let sign = if whole == "0" && kept.is_empty() { "" } else { sign };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{kept:0<scale$}") }
}

/// A number that is a whole one, or one whose fraction ends in zeros; any other stays as written.
fn floating(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number}"),
        Ok(_) if text.contains('.') && !text.contains(['e', 'E']) => {
            text.trim_start_matches('+').trim_end_matches('0').to_owned()
        }
        _ => text.to_owned(),
    }
}

/// `20200101` as `2020-01-01`.
fn date(text: &str) -> String {
    match (text.get(..4), text.get(4..6), text.get(6..)) {
        (Some(year), Some(month), Some(day)) if day.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{year}-{month}-{day}")
        }
        _ => text.to_owned(),
    }
}

fn date_time(text: &str, fsp: u8) -> String {
    let is_date = |text: &str| {
        text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    };
    if text == "0" {
        return fraction("0000-00-00 00:00:00", fsp);
    }
    if is_date(text) {
        return fraction(&format!("{text} 00:00:00"), fsp);
    }
    match text.get(..10).zip(text.get(10..11)) {
        Some((date, " ")) if is_date(date) && text.get(11..19).is_some() => fraction(text, fsp),
        _ => text.to_owned(),
    }
}

/// With `fsp` digits of the fraction, if none is lost by it.
fn fraction(text: &str, fsp: u8) -> String {
    let scale = usize::from(fsp);
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let kept = part.trim_end_matches('0');
    if kept.len() > scale {
        return text.to_owned();
    }
    if scale == 0 { whole.to_owned() } else { format!("{whole}.{kept:0<scale$}") }
}
