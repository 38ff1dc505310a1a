//! Writing text as the server does (`wrapper_to_string` and `double_quote` of MySQL's `sql-common/json_dom.cc`):
//! a blank after each colon and comma, keys in stored order, and as few escapes as JSON allows.

use super::value::{Budget, Value};
use super::{JsonError, MAX_DEPTH, double, opaque};

/// Appends a value that lies `depth` containers deep.
pub(super) fn write_value(
    value: Value<'_>,
    depth: usize,
    budget: &mut Budget,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::UInt(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        Value::Double(number) => double::write(number, out)?,
        Value::Text(text) => write_string(text, out),
        Value::Opaque { field_type, data } => opaque::write(field_type, data, out)?,
        Value::Array(array) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (index, entry) in array.entries().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write_value(array.value(entry, budget)?, depth, budget, out)?;
            }
            out.push(b']');
        }
        Value::Object(object) => {
            let depth = deeper(depth)?;
            out.push(b'{');
            for (index, (key, entry)) in object.key_entries().zip(object.entries()).enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(object.key(key, budget)?, out);
                out.extend_from_slice(b": ");
                write_value(object.value(entry, budget)?, depth, budget, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// The depth of what lies in a container at `depth`.
pub(super) fn deeper(depth: usize) -> Result<usize, JsonError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(JsonError::TooDeep) }
}

/// Appends a string in quotes. Only quotes, backslashes and control characters below U+0020 are escaped.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = special(rest) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        match byte {
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            control => {
                let low = control & 0x0f;
                out.extend_from_slice(b"\\u00");
                out.push(b'0' + (control >> 4));
                out.push(if low < 10 { b'0' + low } else { b'a' + low - 10 });
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte is that needs an escape.
fn special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    /// The high bits of the bytes below a limit of at most 0x80. A borrow can only make bytes above such a byte look
    /// like one, so the lowest bit is right.
    fn below(word: u64, limit: u64) -> u64 {
        word.wrapping_sub(ONES * limit) & !word & HIGH
    }
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = below(word, 0x20) | quote | backslash;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\')?;
    Some(words.len() * 8 + at)
}
