//! `DECIMAL`: groups of nine decimal digits in four big-endian bytes each, fewer bytes for the digits left over at
//! both ends, the first bit inverted, and all bits inverted when negative. See `decimal2bin` in the server's
//! `strings/decimal.c`. Never touches binary floats.

use super::{ValueError, take_bytes};
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Tag};

const FORM: ValueError = ValueError::Malformed("a packed decimal");
const TEXT: ValueError = ValueError::Malformed("a decimal of the column's scale");

/// Most digits of a decimal.
const DIGITS_MAX: u8 = 65;
/// Most digits after the point in MariaDB; MySQL has 30.
const SCALE_MAX: u8 = 38;
/// Digits in a full group, and the bytes they take.
const GROUP: u8 = 9;
const GROUP_BYTES: u8 = 4;
/// The bytes that hold so many digits, and the first number that has more of them.
const GROUPS: [(usize, u32); 10] = [
    (0, 1),
    (1, 10),
    (1, 100),
    (2, 1_000),
    (2, 10_000),
    (3, 100_000),
    (3, 1_000_000),
    (4, 10_000_000),
    (4, 100_000_000),
    (4, 1_000_000_000),
];
/// A sign, all digits, a zero before the point and the point.
const TEXT_MAX: usize = DIGITS_MAX as usize + 3;

/// Where the digits of a column lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Digits of the first, partial group, 0 to 8.
    lead: u8,
    /// Full groups before the point.
    whole: u8,
    /// Full groups after the point.
    fraction: u8,
    /// Digits of the last, partial group, 0 to 8.
    trail: u8,
    /// Digits after the point.
    scale: u8,
    /// Of a value.
    bytes: u8,
}

impl Layout {
    /// `None` when there is no such decimal.
    pub(super) fn new(precision: u8, scale: u8) -> Option<Layout> {
        let digits = precision.checked_sub(scale)?;
        if precision == 0 || precision > DIGITS_MAX || scale > SCALE_MAX {
            return None;
        }
        let (lead, whole) = (digits % GROUP, digits / GROUP);
        let (trail, fraction) = (scale % GROUP, scale / GROUP);
        let part = |digits: u8| GROUPS.get(usize::from(digits)).map(|(length, _)| *length as u8);
        let bytes = part(lead)? + part(trail)? + (whole + fraction) * GROUP_BYTES;
        Some(Layout { lead, whole, fraction, trail, scale, bytes })
    }

    /// Consumes a packed value.
    #[inline]
    pub(super) fn read(self, input: &mut &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        let packed = take_bytes(input, usize::from(self.bytes))?;
        // The text grows from the front, behind a place for the sign.
        let mut text = [b'0'; TEXT_MAX];
        let (start, end) = self.write(packed, &mut text).ok_or(FORM)?;
        Ok(builder.long(Tag::Decimal, text.get(start..end).ok_or(FORM)?))
    }

    /// Writes the digits from the second byte on. Gives the place of the text.
    #[inline]
    fn write(self, packed: &[u8], text: &mut [u8; TEXT_MAX]) -> Option<(usize, usize)> {
        let negative = packed.first()? & 0x80 == 0;
        let mut groups = Groups { rest: packed, mask: if negative { u32::MAX } else { 0 }, sign: 0x80, some: 0 };
        let mut end = 1;
        groups.write(text, &mut end, self.lead)?;
        for _ in 0..self.whole {
            groups.write(text, &mut end, GROUP)?;
        }
        // Zeros in front are not written, but for one.
        let digits = text.get(1..end).unwrap_or_default();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        let mut start = 1 + zeros.min(digits.len().saturating_sub(1));
        if digits.is_empty() {
            end += 1;
        }
        if self.scale > 0 {
            *text.get_mut(end)? = b'.';
            end += 1;
            for _ in 0..self.fraction {
                groups.write(text, &mut end, GROUP)?;
            }
            groups.write(text, &mut end, self.trail)?;
        }
        // Zero has no sign, whatever its first bit says.
        if negative && groups.some != 0 {
            start -= 1;
            *text.get_mut(start)? = b'-';
        }
        Some((start, end))
    }
}

/// The groups of a packed value, from the first.
struct Groups<'a> {
    rest: &'a [u8],
    /// All bits of a negative value are inverted.
    mask: u32,
    /// The first bit of the first byte is inverted once more.
    sign: u8,
    /// Not zero once a group was not.
    some: u32,
}

impl Groups<'_> {
    /// Writes the next group as so many digits, which may be none.
    #[inline]
    fn write(&mut self, text: &mut [u8; TEXT_MAX], end: &mut usize, digits: u8) -> Option<()> {
        let (length, limit) = *GROUPS.get(usize::from(digits))?;
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let mut value = 0u32;
        for byte in head {
            value = value << 8 | u32::from(byte ^ std::mem::take(&mut self.sign));
        }
        // As many bits as the group has.
        value ^= self.mask.checked_shr(32 - 8 * length as u32).unwrap_or(0);
        if value >= limit {
            return None;
        }
        self.some |= value;
        let out = text.get_mut(*end..*end + usize::from(digits))?;
        *end += out.len();
        let mut pairs = out.rchunks_exact_mut(2);
        for pair in &mut pairs {
            let two = (value % 100) as u8;
            value /= 100;
            if let [tens, ones] = pair {
                (*tens, *ones) = (b'0' + two / 10, b'0' + two % 10);
            }
        }
        if let [first] = pairs.into_remainder() {
            *first = b'0' + value as u8;
        }
        Some(())
    }
}

/// Longer than any text of a decimal: the display width is one byte.
const ZEROFILL_MAX: usize = 300;

/// The text of a decimal in a result: as the server prints it, which is with zeros in front where the column is
/// declared `ZEROFILL`. The digits after the point must be those of the column.
pub(super) fn text(bytes: &[u8], scale: u8, builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = digits.split_at_checked(point.unwrap_or(digits.len())).ok_or(TEXT)?;
    let fraction = fraction.strip_prefix(b".").unwrap_or_default();
    let are_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !are_digits || whole.is_empty() || bytes.len() > ZEROFILL_MAX || fraction.len() != usize::from(scale) {
        return Err(TEXT);
    }
    let zeros = whole.iter().take_while(|byte| **byte == b'0').count().min(whole.len() - 1);
    let whole = whole.get(zeros..).unwrap_or_default();
    let negative = negative && whole.iter().chain(fraction).any(|byte| *byte != b'0');
    Ok(builder.long_with(Tag::Decimal, |out| {
        if negative {
            out.push(b'-');
        }
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }))
}

#[cfg(test)]
mod tests;
