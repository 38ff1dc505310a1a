//! Paths to one place in a document, as the log writes them: `$.name`, `$."any text"`, `$[3]`, `$[last]`, `$[last-2]`
//! (MySQL's manual, JSON Path Syntax; `Json_path::to_string` of `sql-common/json_path.cc`). Wildcards and ranges, which
//! mean many places, do not occur in changes and are errors.

use super::JsonError;
use std::borrow::Cow;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leg<'a> {
    /// The member of an object.
    Member(Cow<'a, [u8]>),
    /// The element of an array, counted from the first.
    Cell(usize),
    /// The element of an array, counted back from the last.
    FromLast(usize),
}

impl Leg<'_> {
    /// Which element of an array this is, if there is one; the second is where an insertion puts a new one: before the
    /// element, at the end when beyond it, at the beginning when before it.
    pub(super) fn position(&self, length: usize) -> Option<(Option<usize>, usize)> {
        match self {
            Leg::Member(_) => None,
            Leg::Cell(index) => Some((Some(*index).filter(|index| *index < length), (*index).min(length))),
            Leg::FromLast(back) => {
                let index = length.checked_sub(1).and_then(|last| last.checked_sub(*back));
                Some((index, index.unwrap_or(0)))
            }
        }
    }
}

const BAD: JsonError = JsonError::Diff("a path that is not understood");

/// The legs of a path; none for the document itself (`$`).
pub(super) fn parse(path: &[u8]) -> Result<Vec<Leg<'_>>, JsonError> {
    let mut rest = path.trim_ascii().strip_prefix(b"$").ok_or(BAD)?.trim_ascii_start();
    let mut legs = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let (leg, after) = match first {
            b'.' => member(after.trim_ascii_start())?,
            b'[' => cell(after)?,
            _ => return Err(BAD),
        };
        legs.push(leg);
        rest = after.trim_ascii_start();
    }
    Ok(legs)
}

fn cell(text: &[u8]) -> Result<(Leg<'_>, &[u8]), JsonError> {
    let end = text.iter().position(|byte| *byte == b']').ok_or(BAD)?;
    let (inside, after) = text.split_at_checked(end).ok_or(BAD)?;
    let inside = inside.trim_ascii();
    let leg = match inside.strip_prefix(b"last") {
        None => Leg::Cell(index(inside)?),
        Some(back) => match back.trim_ascii_start().strip_prefix(b"-") {
            Some(back) => Leg::FromLast(index(back.trim_ascii_start())?),
            None if back.is_empty() => Leg::FromLast(0),
            None => return Err(BAD),
        },
    };
    Ok((leg, after.get(1..).unwrap_or_default()))
}

/// A number of up to 32 bits.
fn index(text: &[u8]) -> Result<usize, JsonError> {
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let number = text.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    u32::try_from(number).map(|number| number as usize).map_err(|_| BAD)
}

fn member(text: &[u8]) -> Result<(Leg<'_>, &[u8]), JsonError> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'[' | b'.' | b'*');
        let (name, after) = text.split_at(text.iter().position(ends).unwrap_or(text.len()));
        // The log never escapes within a name without quotes: such names are letters, digits, `$` and `_`.
        if name.is_empty() || name.iter().any(|byte| matches!(byte, b'\\' | b'"')) {
            return Err(BAD);
        }
        return Ok((Leg::Member(Cow::Borrowed(name)), after));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let (name, after) = quoted.split_at_checked(end.ok_or(BAD)?).ok_or(BAD)?;
    Ok((Leg::Member(unescape(name)?), after.get(1..).unwrap_or_default()))
}

/// A JSON string without its quotes.
fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, JsonError> {
    if !text.contains(&b'\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first().ok_or(BAD)?;
        rest = after;
        match escape {
            b'"' | b'\\' | b'/' => plain.push(*escape),
            b'b' => plain.push(0x08),
            b'f' => plain.push(0x0c),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => {
                let (unit, after) = hex(rest)?;
                rest = after;
                let code = if (0xd800..0xdc00).contains(&unit) {
                    let (low, after) = hex(rest.strip_prefix(b"\\u").ok_or(BAD)?)?;
                    rest = after;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(BAD)?;
                    0x1_0000 + ((unit - 0xd800) << 10) + low
                } else {
                    unit
                };
                let letter = char::from_u32(code).ok_or(BAD)?;
                plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(BAD),
        }
    }
    Ok(Cow::Owned(plain))
}

/// Four hexadecimal digits.
fn hex(text: &[u8]) -> Result<(u32, &[u8]), JsonError> {
    let (digits, after) = text.split_at_checked(4).ok_or(BAD)?;
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | char::from(*digit).to_digit(16).ok_or(BAD)?;
    }
    Ok((unit, after))
}
