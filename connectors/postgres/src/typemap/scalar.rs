//! Texts of booleans, bytes, bit strings and UUIDs.

use super::{ValueError, fits};
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Tag};

const BYTEA: ValueError = ValueError::Malformed("bytea as printed with `bytea_output = hex`");

/// `t` or `f`.
#[inline]
pub(super) fn boolean(text: &[u8]) -> Result<bool, ValueError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(ValueError::Malformed("a boolean")),
    }
}

/// `\x` and two hex digits a byte.
pub(super) fn bytea(text: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    fits(text.len() / 2, builder)?;
    let hex = text.strip_prefix(b"\\x").ok_or(BYTEA)?;
    let (pairs, odd) = hex.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(BYTEA);
    }
    // Bits above the lowest eight are set by a digit that is none.
    let mut seen = 0u16;
    let cell = builder.long_with(Tag::Bytes, |arena| {
        arena.extend(pairs.iter().map(|[high, low]| {
            let byte = nibble(*high) << 4 | nibble(*low);
            seen |= byte;
            byte as u8
        }));
    });
    if seen > 0xff { Err(BYTEA) } else { Ok(cell) }
}

#[inline]
fn nibble(digit: u8) -> u16 {
    match digit {
        b'0'..=b'9' => u16::from(digit - b'0'),
        b'a'..=b'f' => u16::from(digit - b'a' + 10),
        b'A'..=b'F' => u16::from(digit - b'A' + 10),
        _ => 0x1000,
    }
}

/// `0` and `1`, any number of them.
pub(super) fn bits(text: &[u8]) -> Result<(), ValueError> {
    let valid = text.iter().all(|byte| matches!(byte, b'0' | b'1'));
    valid.then_some(()).ok_or(ValueError::Malformed("a bit string"))
}

/// 36 characters, lower case.
pub(super) fn uuid(text: &[u8]) -> Result<(), ValueError> {
    let valid = text.len() == 36
        && text.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    valid.then_some(()).ok_or(ValueError::Malformed("a uuid"))
}
