//! Values that are a length and bytes, and labels: how long they are, and what the bytes mean.

use super::compressed;
use super::{Scratch, ValueError, address, decimal, take, take_bytes};
use crate::charset::Converter;
use crate::json;
use std::io::Write;
use std::sync::Arc;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Dimension, Tag};

/// A value that may grow when it is written and is at least this long goes through a buffer, so that what it
/// grows to is known before it enters the arena.
const GROWING_MAX: usize = 1 << 16;
/// Bytes of an arena: its offsets have 32 bits.
const ARENA_MAX: usize = u32::MAX as usize;
/// Floats in a vector; both servers allow 16,383.
const DIMENSIONS_MAX: usize = 16_383;

/// How the length of a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// In one byte.
    One,
    /// In two bytes.
    Two,
    /// In three bytes.
    Three,
    /// In four bytes.
    Four,
    /// As the protocol's length-encoded integer: below 251 in one byte, else in two, three or eight after a marker.
    Encoded,
}

impl Frame {
    /// The length of a `CHAR` or `VARCHAR` of so many bytes at most.
    pub(super) fn for_longest(bytes: u16) -> Frame {
        if bytes < 256 { Frame::One } else { Frame::Two }
    }

    /// A length in so many bytes.
    pub(super) fn for_width(bytes: u16) -> Option<Frame> {
        Some(match bytes {
            1 => Frame::One,
            2 => Frame::Two,
            3 => Frame::Three,
            4 => Frame::Four,
            _ => return None,
        })
    }

    /// Consumes the length and that many bytes.
    #[inline]
    pub(super) fn take<'a>(self, input: &mut &'a [u8]) -> Result<&'a [u8], ValueError> {
        let length = match self {
            Frame::One => {
                let [a] = take(input)?;
                u64::from(a)
            }
            Frame::Two => u64::from(u16::from_le_bytes(take(input)?)),
            Frame::Three => three(input)?,
            Frame::Four => u64::from(u32::from_le_bytes(take(input)?)),
            Frame::Encoded => match take(input)? {
                [short @ 0..=250] => u64::from(short),
                [0xfc] => u64::from(u16::from_le_bytes(take(input)?)),
                [0xfd] => three(input)?,
                [0xfe] => u64::from_le_bytes(take(input)?),
                _ => return Err(ValueError::Malformed("preceded by its length")),
            },
        };
        take_bytes(input, usize::try_from(length).map_err(|_| ValueError::Truncated)?)
    }
}

fn three(input: &mut &[u8]) -> Result<u64, ValueError> {
    let [a, b, c] = take(input)?;
    Ok(u64::from(u32::from_le_bytes([a, b, c, 0])))
}

/// What the bytes of a value are.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// UTF-8, as it is, under this tag.
    Utf8(Tag),
    /// Text of another character set, under this tag.
    Converted(Tag, Converter),
    /// Bytes, as they are.
    Bytes,
    /// Bytes to be filled up with zeros to this length (MY-66).
    Padded(u32),
    /// MySQL's binary JSON.
    Document,
    /// Reference system, then well-known binary.
    Geometry,
    /// Floats in four bytes each.
    Vector(VectorText),
    /// 16 bytes.
    Uuid,
    /// Its text.
    UuidText,
    /// Four bytes.
    Inet4,
    /// 16 bytes.
    Inet6,
    /// Text, with so many digits after the point.
    DecimalText(u8),
    /// So many bits, big endian.
    Bits(u8),
    /// MariaDB's compression around another form.
    Compressed(Box<Form>),
}

/// How a server prints the floats of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VectorText {
    /// `VECTOR_TO_STRING` of MySQL: `[1.00000e+00,2.50000e+00]`.
    Exponent,
    /// `VEC_ToText` of MariaDB: `[1,2.5]`, six digits.
    Shortest,
}

impl Form {
    /// Makes the cell of the value that lies in all of `bytes`.
    #[inline]
    pub(super) fn read(
        &self,
        bytes: &[u8],
        builder: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<Cell, ValueError> {
        match self {
            Form::Utf8(tag) => {
                simdutf8::basic::from_utf8(bytes).map_err(|_| ValueError::NotUtf8)?;
                copy(*tag, bytes, builder)
            }
            Form::Bytes => copy(Tag::Bytes, bytes, builder),
            Form::Converted(tag, converter) => {
                growing(*tag, bytes, builder, scratch, |bytes, out| Ok(converter.convert(bytes, out)?))
            }
            Form::Padded(length) => padded(bytes, *length, builder),
            Form::Document => {
                growing(Tag::Json, bytes, builder, scratch, |bytes, out| Ok(json::write_text(bytes, out)?))
            }
            Form::Geometry => geometry(bytes, builder),
            Form::Vector(text) => {
                let cell = vector(bytes, *text, builder, scratch);
                scratch.settle();
                cell
            }
            Form::Uuid => address::uuid(bytes, builder),
            Form::UuidText => address::uuid_text(bytes, builder),
            Form::Inet4 => address::inet4(bytes, builder),
            Form::Inet6 => address::inet6(bytes, builder),
            Form::DecimalText(scale) => decimal::text(bytes, *scale, builder),
            Form::Bits(count) => bits(bytes, *count, builder),
            Form::Compressed(inner) => compressed::read(inner, bytes, builder, scratch),
        }
    }
}

/// Whether so many more bytes have room in the batch's arena.
fn fits(length: usize, builder: &BatchBuilder) -> Result<(), ValueError> {
    let room = ARENA_MAX.checked_sub(builder.size_bytes()).is_some_and(|room| length < room);
    if room { Ok(()) } else { Err(ValueError::TooLarge) }
}

#[inline]
fn copy(tag: Tag, bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    fits(bytes.len(), builder)?;
    Ok(builder.long(tag, bytes))
}

/// A value that may become longer when it is written.
#[inline]
fn growing(
    tag: Tag,
    bytes: &[u8],
    builder: &mut BatchBuilder,
    scratch: &mut Scratch,
    write: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<Cell, ValueError> {
    if bytes.len() >= GROWING_MAX {
        scratch.text.clear();
        let written = write(bytes, &mut scratch.text);
        let cell = written.and_then(|()| copy(tag, &scratch.text, builder));
        scratch.settle();
        return cell;
    }
    let mut written = Ok(());
    let cell = builder.long_with(tag, |out| written = write(bytes, out));
    written.map(|()| cell)
}

fn padded(bytes: &[u8], length: u32, builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let missing = (length as usize).checked_sub(bytes.len()).ok_or(ValueError::Malformed("of the column's length"))?;
    Ok(builder.long_with(Tag::Bytes, |out| {
        out.extend_from_slice(bytes);
        out.resize(out.len() + missing, 0);
    }))
}

/// See "Values with Geometry Types" in MySQL's manual: four bytes of a reference system, then well-known binary,
/// whose shortest is a byte order, a type and a count.
fn geometry(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    match bytes.split_first_chunk::<4>() {
        Some((srid, wkb @ [0 | 1, _, _, _, _, _, _, _, _, ..])) => {
            fits(wkb.len(), builder)?;
            Ok(Cell::geometry(builder.span(wkb), u32::from_le_bytes(*srid)))
        }
        _ => Err(ValueError::Malformed("a geometry")),
    }
}

/// Bits, big endian, as characters; what is above the last of them must be zero.
pub(super) fn bits(bytes: &[u8], count: u8, builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    const FORM: ValueError = ValueError::Malformed("as many bits as the column has");
    let unused = (bytes.len() * 8).checked_sub(usize::from(count)).filter(|unused| *unused < 8).ok_or(FORM)?;
    if bytes.first().is_some_and(|first| u16::from(*first) >> (8 - unused) != 0) {
        return Err(FORM);
    }
    Ok(builder.long_with(Tag::Bits, |out| {
        let all = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| b'0' + (byte >> bit & 1)));
        out.extend(all.skip(unused));
    }))
}

fn vector(
    bytes: &[u8],
    text: VectorText,
    builder: &mut BatchBuilder,
    scratch: &mut Scratch,
) -> Result<Cell, ValueError> {
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || floats.len() > DIMENSIONS_MAX {
        return Err(ValueError::Malformed("a vector of floats"));
    }
    scratch.text.clear();
    scratch.elements.clear();
    scratch.text.push(b'[');
    for (index, float) in floats.iter().enumerate() {
        if index > 0 {
            scratch.text.push(b',');
        }
        let value = f32::from_le_bytes(*float);
        scratch.elements.push(Cell::float32(value));
        match text {
            VectorText::Exponent => write_exponent(&mut scratch.text, value),
            VectorText::Shortest => write_shortest(&mut scratch.text, value),
        }
    }
    scratch.text.push(b']');
    let dimension = [Dimension { length: floats.len() as u32, lower: 1 }];
    let dimensions = if floats.is_empty() { &[][..] } else { &dimension };
    Ok(builder.array(&scratch.text, dimensions, &scratch.elements))
}

/// As C's `%.5e`: an exponent of two digits and a sign at least.
fn write_exponent(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        return write_special(out, value);
    }
    let start = out.len();
    // Writing into a vector never fails.
    let _ = write!(out, "{value:.5e}");
    let Some(mark) = out.get(start..).and_then(|text| text.iter().position(|byte| *byte == b'e')) else { return };
    let digits = start + mark + 1;
    let negative = out.get(digits) == Some(&b'-');
    if !negative {
        out.insert(digits, b'+');
    }
    if out.len() - digits == 2 {
        out.insert(digits + 1, b'0');
    }
}

/// As `my_gcvt` prints a float in at most [`GCVT_WIDTH`] characters and six digits: with an exponent only where it
/// would not fit otherwise.
fn write_shortest(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        return write_special(out, value);
    }
    let mut buffer = [0u8; GCVT_BUFFER];
    let mut rest = &mut buffer[..];
    // `d.ddddde-dd`; writing into a buffer that is large enough never fails.
    let _ = write!(rest, "{:.5e}", value.abs());
    let length = GCVT_BUFFER - rest.len();
    let text = buffer.get(..length).unwrap_or_default();
    let mark = text.iter().position(|byte| *byte == b'e').unwrap_or(length);
    let exponent = text.get(mark + 1..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<i32>().ok());
    let mut digits = [b'0'; 6];
    for (slot, digit) in digits.iter_mut().zip(text.iter().take(mark).filter(|byte| byte.is_ascii_digit())) {
        *slot = *digit;
    }
    let count = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    if value < 0.0 {
        out.push(b'-');
    }
    let width = GCVT_WIDTH - i32::from(value < 0.0);
    layout_digits(out, digits.get(..count).unwrap_or_default(), exponent.unwrap_or_default(), width);
}

/// `MAX_FLOAT_STR_LENGTH` of the server.
const GCVT_WIDTH: i32 = 12;
const GCVT_BUFFER: usize = 16;

/// `digits` with the point after the first of them, times ten to the `exponent`.
fn layout_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32, width: i32) {
    let count = digits.len() as i32;
    let plain = match exponent {
        ..0 => count - exponent + 1,
        _ if exponent + 1 < count => count + 1,
        _ => exponent + 1,
    };
    let (first, rest) = digits.split_at_checked(1).unwrap_or_default();
    if plain > width {
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
    } else {
        let (whole, fraction) = digits.split_at_checked((exponent + 1).min(count) as usize).unwrap_or_default();
        out.extend_from_slice(whole);
        out.extend(std::iter::repeat_n(b'0', (exponent + 1 - count).max(0) as usize));
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
}

/// Neither server stores such a float.
fn write_special(out: &mut Vec<u8>, value: f32) {
    let word: &[u8] = match (value.is_nan(), value < 0.0) {
        (true, _) => b"NaN",
        (false, true) => b"-Inf",
        (false, false) => b"Inf",
    };
    out.extend_from_slice(word);
}

/// The labels of an enum or a set, and the bytes of their numbers, little endian.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    pub(super) bytes: u8,
    pub(super) labels: Arc<[Arc<str>]>,
}

impl Labels {
    /// Consumes a number from 1; 0 stands for a value that was none of the labels, which reads as the empty text.
    #[inline]
    pub(super) fn one(&self, input: &mut &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        let number = self.number(input)?;
        let label = match number {
            0 => "",
            _ => self.label(number)?,
        };
        Ok(builder.long(Tag::Enum, label.as_bytes()))
    }

    /// Consumes a number with one bit for each label; the lowest is the first.
    pub(super) fn several(&self, input: &mut &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        let mut rest = self.number(input)?;
        let highest = u64::from(u64::BITS - rest.leading_zeros());
        if highest > 0 {
            self.label(highest)?;
        }
        Ok(builder.long_with(Tag::Set, |out| {
            let start = out.len();
            while rest != 0 {
                if out.len() > start {
                    out.push(b',');
                }
                let label = self.labels.get(rest.trailing_zeros() as usize);
                out.extend_from_slice(label.map_or(&[], |label| label.as_bytes()));
                rest &= rest - 1;
            }
        }))
    }

    #[inline]
    fn number(&self, input: &mut &[u8]) -> Result<u64, ValueError> {
        let mut number = [0u8; 8];
        for (to, from) in number.iter_mut().zip(take_bytes(input, usize::from(self.bytes))?) {
            *to = *from;
        }
        Ok(u64::from_le_bytes(number))
    }

    #[inline]
    fn label(&self, number: u64) -> Result<&str, ValueError> {
        let found = usize::try_from(number).ok().and_then(|number| self.labels.get(number.checked_sub(1)?));
        match found {
            Some(label) => Ok(label),
            None => {
                // Two bytes or a number of a bit, and as many labels at most.
                Err(ValueError::Label { number: number as u32, labels: self.labels.len() as u32 })
            }
        }
    }
}

#[cfg(test)]
mod tests;
