//! Values that JSON itself does not have and that the server keeps in the form of its own types: decimals, dates and
//! times are printed as such, all others as their bytes in base 64.

use super::{JsonError, text};

/// The server's type numbers (`enum_field_types`).
const TIMESTAMP: u8 = 7;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const DECIMAL: u8 = 246;
const VAR_STRING: u8 = 253;

/// Appends an opaque value.
pub(super) fn write(field_type: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    match field_type {
        DECIMAL => write_decimal(data, out),
        DATE => write_moment(data, "date", out, write_date),
        DATETIME | TIMESTAMP => write_moment(data, "datetime", out, |packed, out| {
            write_date(packed, out);
            out.push(b' ');
            write_clock(packed, (packed >> 36) & 0x1f, out);
        }),
        TIME => write_moment(data, "time", out, |packed, out| write_clock(packed, (packed >> 36) & 0x3ff, out)),
        // The server prints these as the strings they are.
        VAR_STRING => {
            text::write_string(data, out);
            Ok(())
        }
        _ => {
            write_base64(field_type, data, out);
            Ok(())
        }
    }
}

/// The eight bytes of a moment (`TIME_to_longlong_packed` of MySQL's `sql-common/my_time.cc`): a signed number whose
/// lowest 24 bits are microseconds, above them 6 bits of seconds, 6 of minutes, and the hours: 5 bits in a datetime,
/// then 5 bits of the day and `year * 13 + month`; 10 bits in a time. Negative as a whole.
fn write_moment(
    data: &[u8],
    what: &'static str,
    out: &mut Vec<u8>,
    write: impl FnOnce(u64, &mut Vec<u8>),
) -> Result<(), JsonError> {
    let bytes = <[u8; 8]>::try_from(data).map_err(|_| JsonError::Opaque(what))?;
    let packed = i64::from_le_bytes(bytes);
    let magnitude = packed.unsigned_abs();
    let clock_fits =
        magnitude & 0xff_ffff < 1_000_000 && (magnitude >> 24) & 0x3f < 60 && (magnitude >> 30) & 0x3f < 60;
    if !clock_fits || (packed < 0 && what != "time") || magnitude >> 46 > 9999 * 13 + 12 {
        return Err(JsonError::Opaque(what));
    }
    out.push(b'"');
    if packed < 0 {
        out.push(b'-');
    }
    write(magnitude, out);
    out.push(b'"');
    Ok(())
}

fn write_date(packed: u64, out: &mut Vec<u8>) {
    let months = packed >> 46;
    let year = months / 13;
    push_two(year / 100, out);
    push_two(year % 100, out);
    out.push(b'-');
    push_two(months % 13, out);
    out.push(b'-');
    push_two((packed >> 41) & 0x1f, out);
}

/// `HH:MM:SS.ffffff`; always six digits of fraction. A time has up to three digits of hours.
fn write_clock(packed: u64, hours: u64, out: &mut Vec<u8>) {
    if hours >= 100 {
        out.push(b'0' + (hours / 100) as u8);
    }
    push_two(hours % 100, out);
    out.push(b':');
    push_two((packed >> 30) & 0x3f, out);
    out.push(b':');
    push_two((packed >> 24) & 0x3f, out);
    out.push(b'.');
    let micros = packed & 0xff_ffff;
    push_two(micros / 10_000, out);
    push_two(micros / 100 % 100, out);
    push_two(micros % 100, out);
}

/// Two digits of a number below 100.
fn push_two(number: u64, out: &mut Vec<u8>) {
    out.push(b'0' + (number / 10 % 10) as u8);
    out.push(b'0' + (number % 10) as u8);
}

/// Bytes that hold 0 to 9 decimal digits in the server's packed form.
const PACKED: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Precision, scale, and the packed form of `decimal2bin` (MySQL's `strings/decimal.cc`): groups of nine digits in four
/// bytes, big-endian, counted from the point; the outermost groups may be shorter. The first bit is set for a number
/// that is not negative, and all bits of a negative one are inverted.
fn write_decimal(data: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    const BAD: JsonError = JsonError::Opaque("decimal");
    let (precision, scale, packed) = match data {
        [precision, scale, packed @ ..] => (usize::from(*precision), usize::from(*scale), packed),
        _ => return Err(BAD),
    };
    let whole = precision.checked_sub(scale).filter(|_| (1..=81).contains(&precision)).ok_or(BAD)?;
    let size = |digits: usize| digits / 9 * 4 + PACKED.get(digits % 9).copied().unwrap_or(0);
    let (before, after) = packed.split_at_checked(size(whole)).ok_or(BAD)?;
    if after.len() != size(scale) {
        return Err(BAD);
    }
    let negative = packed.first().ok_or(BAD)? & 0x80 == 0;
    if negative {
        out.push(b'-');
    }
    let mut groups = Groups { negative, first: true, out };
    let start = groups.out.len();
    let (lead, full) = before.split_at_checked(PACKED.get(whole % 9).copied().unwrap_or(0)).ok_or(BAD)?;
    groups.push(lead, whole % 9)?;
    for group in full.chunks_exact(4) {
        groups.push(group, 9)?;
    }
    // Leading zeros are not printed, yet one digit always is.
    let zeros = groups.out.iter().skip(start).take_while(|digit| **digit == b'0').count();
    groups.out.drain(start..start + zeros);
    if groups.out.len() == start {
        groups.out.push(b'0');
    }
    if scale > 0 {
        groups.out.push(b'.');
        let (full, tail) = after.split_at_checked(scale / 9 * 4).ok_or(BAD)?;
        for group in full.chunks_exact(4) {
            groups.push(group, 9)?;
        }
        groups.push(tail, scale % 9)?;
    }
    Ok(())
}

struct Groups<'a> {
    negative: bool,
    /// Whether the next byte is the first, whose highest bit is the sign.
    first: bool,
    out: &'a mut Vec<u8>,
}

impl Groups<'_> {
    /// Appends a group of up to nine digits with its leading zeros.
    fn push(&mut self, bytes: &[u8], digits: usize) -> Result<(), JsonError> {
        let mut number = 0u32;
        for byte in bytes {
            let mut byte = if self.negative { !byte } else { *byte };
            if std::mem::take(&mut self.first) {
                byte ^= 0x80;
            }
            number = number << 8 | u32::from(byte);
        }
        let mut text = [b'0'; 9];
        for digit in text.iter_mut().take(digits).rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        if number != 0 {
            return Err(JsonError::Opaque("decimal"));
        }
        self.out.extend(text.iter().take(digits));
        Ok(())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters of base 64 in a line; the server breaks lines (`base64_encode` of MySQL's `include/base64.h`) and then
/// escapes the line breaks.
const LINE: usize = 76;

/// `"base64:typeN:..."`.
fn write_base64(field_type: u8, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"base64:type");
    out.extend_from_slice(itoa::Buffer::new().format(field_type).as_bytes());
    out.push(b':');
    let mut column = 0;
    for group in data.chunks(3) {
        if column == LINE {
            out.extend_from_slice(b"\\n");
            column = 0;
        }
        let (a, b, c) = match group {
            [a, b, c] => (*a, Some(*b), Some(*c)),
            [a, b] => (*a, Some(*b), None),
            [a] => (*a, None, None),
            _ => break,
        };
        let bits = u32::from(a) << 16 | u32::from(b.unwrap_or(0)) << 8 | u32::from(c.unwrap_or(0));
        let letter = |shift: u32| ALPHABET.get((bits >> shift) as usize & 0x3f).copied().unwrap_or(b'=');
        out.push(letter(18));
        out.push(letter(12));
        out.push(if b.is_some() { letter(6) } else { b'=' });
        out.push(if c.is_some() { letter(0) } else { b'=' });
        column += 4;
    }
    out.push(b'"');
}
