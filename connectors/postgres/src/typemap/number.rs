//! Texts of integers, floats, decimals and money. Exact, or refused.

use super::{ValueError, fits};
use std::str::FromStr;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Tag};
use tidewire_core::decimal::Decimal;

const INTEGER: ValueError = ValueError::Malformed("an integer within its type's range");
const MONEY: ValueError = ValueError::Malformed("money as printed with `lc_monetary = C`");

/// Decimal digits, nothing else. Eighteen digits cannot overflow, so only longer ones are checked.
#[inline]
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u64;
    if text.len() <= 18 {
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
        return Some(value);
    }
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// A signed integer between two bounds.
#[inline]
pub(super) fn int(text: &[u8], min: i64, max: i64) -> Result<i64, ValueError> {
    let value = match text.strip_prefix(b"-") {
        None => digits(text).and_then(|value| i64::try_from(value).ok()),
        Some(rest) => digits(rest).and_then(|value| 0i64.checked_sub_unsigned(value)),
    };
    value.filter(|value| (min..=max).contains(value)).ok_or(INTEGER)
}

/// An unsigned integer up to a bound.
#[inline]
pub(super) fn uint(text: &[u8], max: u64) -> Result<u64, ValueError> {
    digits(text).filter(|value| *value <= max).ok_or(INTEGER)
}

/// A float. The server prints the shortest digits that read back to the same bits, and the standard
/// library reads them to the nearest value, so the bits are those of the server (PG-53).
pub(super) fn float<F: FromStr>(text: &[u8]) -> Result<F, ValueError> {
    let text = simdutf8::basic::from_utf8(text).map_err(|_| ValueError::NotUtf8)?;
    text.parse().map_err(|_| ValueError::Malformed("a float"))
}

/// A numeric: `numeric_out` prints plain notation or a special value, never an exponent.
pub(super) fn decimal(text: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    fits(text.len(), builder)?;
    match Decimal::parse(text) {
        Some(_) => Ok(builder.long(Tag::Decimal, text)),
        None => Err(ValueError::Malformed("a numeric in plain notation")),
    }
}

/// Money: `-$1,234.56` becomes the decimal `-1234.56`.
pub(super) fn money(text: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    fits(text.len(), builder)?;
    let (negative, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let amount = rest.strip_prefix(b"$").ok_or(MONEY)?;
    let (whole, cents) = amount.split_last_chunk::<3>().ok_or(MONEY)?;
    if !matches!(cents, [b'.', b'0'..=b'9', b'0'..=b'9']) || !is_grouped(whole) {
        return Err(MONEY);
    }
    Ok(builder.long_with(Tag::Decimal, |arena| {
        if negative {
            arena.push(b'-');
        }
        arena.extend(whole.iter().filter(|byte| **byte != b','));
        arena.extend_from_slice(cents);
    }))
}

/// Digits with a comma before every third of them from the right.
fn is_grouped(whole: &[u8]) -> bool {
    !whole.is_empty()
        && whole.first() != Some(&b',')
        && whole.iter().rev().enumerate().all(|(place, byte)| match place % 4 {
            3 => *byte == b',',
            _ => byte.is_ascii_digit(),
        })
}
