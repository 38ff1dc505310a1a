//! How long a value in a row image is, by its type alone.
//!
//! Source: MySQL `libs/mysql/binlog/event/binary_log_funcs.cpp`, `calc_field_size`; manual, "Data Type Storage
//! Requirements".

use super::error::DecodeError;
use super::table_map::{WireColumn, wire};

/// Bytes of the digits that do not fill a group of nine.
const PARTIAL_GROUP: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// How the length of a value is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// By the type: so many bytes.
    Fixed(usize),
    /// By a length of so many bytes before it, 1 to 4.
    Prefixed(usize),
}

#[inline]
fn layout(column: &WireColumn) -> Result<Layout, DecodeError> {
    Ok(Layout::Fixed(match column.wire {
        wire::TINY | wire::YEAR => 1,
        wire::SHORT => 2,
        wire::INT24 | wire::DATE | wire::NEWDATE | wire::TIME => 3,
        wire::LONG | wire::FLOAT | wire::TIMESTAMP => 4,
        wire::LONGLONG | wire::DOUBLE | wire::DATETIME => 8,
        wire::NULL => 0,
        wire::TIMESTAMP2 => 4 + fraction_bytes(column.meta),
        wire::DATETIME2 => 5 + fraction_bytes(column.meta),
        wire::TIME2 => 3 + fraction_bytes(column.meta),
        wire::NEWDECIMAL => decimal_bytes(column.meta),
        wire::BIT => usize::from(column.meta).div_ceil(8),
        wire::ENUM | wire::SET => usize::from(column.meta),
        wire::VARCHAR | wire::VAR_STRING | wire::STRING | wire::VARCHAR_COMPRESSED => {
            return Ok(Layout::Prefixed(if column.meta > 255 { 2 } else { 1 }));
        }
        wire::BLOB
        | wire::BLOB_COMPRESSED
        | wire::TINY_BLOB
        | wire::MEDIUM_BLOB
        | wire::LONG_BLOB
        | wire::JSON
        | wire::GEOMETRY
        | wire::VECTOR => return Ok(Layout::Prefixed(usize::from(column.meta))),
        wire::TYPED_ARRAY => return Ok(Layout::Prefixed(4)),
        wire => return Err(DecodeError::Value { wire, problem: "is of no known length" }),
    }))
}

/// Passes over one value that is not null.
#[inline]
pub(crate) fn skip_value(input: &mut &[u8], column: &WireColumn) -> Result<(), DecodeError> {
    let length = match layout(column)? {
        Layout::Fixed(length) => length,
        Layout::Prefixed(width) => prefix(input, width, column.wire)?,
    };
    *input = input.get(length..).ok_or(DecodeError::Value { wire: column.wire, problem: "ends early" })?;
    Ok(())
}

/// Whole images without nulls in as few steps as can be: bytes whose number is known, then one value that tells its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    fixed: usize,
    /// Bytes of the length, 0 when no such value follows.
    prefix: usize,
    /// For errors: type of the value.
    wire: u8,
}

impl Steps {
    pub(super) fn of(columns: &[WireColumn]) -> Result<Steps, DecodeError> {
        let mut steps = Vec::new();
        let mut step = Step { fixed: 0, prefix: 0, wire: 0 };
        for column in columns {
            step.wire = column.wire;
            match layout(column)? {
                Layout::Fixed(length) => step.fixed += length,
                Layout::Prefixed(width) => {
                    steps.push(Step { prefix: width, ..step });
                    step.fixed = 0;
                }
            }
        }
        if step.fixed > 0 {
            steps.push(step);
        }
        Ok(Steps(steps))
    }

    /// Passes over all values of an image.
    #[inline]
    pub(super) fn skip(&self, input: &mut &[u8]) -> Result<(), DecodeError> {
        for step in &self.0 {
            let early = DecodeError::Value { wire: step.wire, problem: "ends early" };
            let Some(rest) = input.get(step.fixed..) else { return Err(early) };
            *input = rest;
            let length = prefix(input, step.prefix, step.wire)?;
            let Some(rest) = input.get(length..) else { return Err(early) };
            *input = rest;
        }
        Ok(())
    }
}

/// Reads a length of `width` bytes, 0 to 4.
#[inline]
fn prefix(input: &mut &[u8], width: usize, wire: u8) -> Result<usize, DecodeError> {
    let (bytes, rest) = input.split_at_checked(width).ok_or(DecodeError::Value { wire, problem: "ends early" })?;
    *input = rest;
    Ok(match *bytes {
        [a] => usize::from(a),
        [a, b] => usize::from(u16::from_le_bytes([a, b])),
        _ => bytes.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    })
}

/// Bytes of a fraction of `digits`, 0 to 6.
fn fraction_bytes(digits: u16) -> usize {
    usize::from(digits.div_ceil(2))
}

/// Bytes of a `DECIMAL` of precision and scale in one number: four for nine digits on either side of the point.
fn decimal_bytes(meta: u16) -> usize {
    let [scale, precision] = meta.to_le_bytes().map(usize::from);
    let side = |digits: usize| digits / 9 * 4 + PARTIAL_GROUP.get(digits % 9).copied().unwrap_or(0);
    side(precision.saturating_sub(scale)) + side(scale)
}

/// Whether a `DECIMAL` can be: precision 1 to 65, scale at most that and 38. The value that cannot be as error.
pub(super) fn check_decimal(precision: u8, scale: u8) -> Result<(), u64> {
    match precision {
        1..=65 if scale <= precision && scale <= 38 => Ok(()),
        1..=65 => Err(u64::from(scale)),
        _ => Err(u64::from(precision)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of values as the manual gives them.
    #[test]
    fn every_type_has_its_length() {
        let cases: &[(u8, u16, &[u8], usize)] = &[
            (wire::TINY, 0, &[1], 1),
            (wire::YEAR, 0, &[1], 1),
            (wire::SHORT, 0, &[1, 2], 2),
            (wire::INT24, 0, &[1, 2, 3], 3),
            (wire::LONG, 0, &[0; 4], 4),
            (wire::LONGLONG, 0, &[0; 8], 8),
            (wire::FLOAT, 4, &[0; 4], 4),
            (wire::DOUBLE, 8, &[0; 8], 8),
            (wire::DATE, 0, &[0; 3], 3),
            (wire::TIME, 0, &[0; 3], 3),
            (wire::DATETIME, 0, &[0; 8], 8),
            (wire::TIMESTAMP, 0, &[0; 4], 4),
            (wire::TIME2, 0, &[0; 3], 3),
            (wire::TIME2, 1, &[0; 4], 4),
            (wire::TIME2, 6, &[0; 6], 6),
            (wire::DATETIME2, 3, &[0; 7], 7),
            (wire::TIMESTAMP2, 5, &[0; 7], 7),
            (wire::NEWDECIMAL, 10 << 8, &[0; 5], 5),
            (wire::NEWDECIMAL, 14 << 8 | 4, &[0; 7], 7),
            (wire::NEWDECIMAL, 65 << 8 | 30, &[0; 30], 30),
            (wire::BIT, 1, &[0], 1),
            (wire::BIT, 9, &[0; 2], 2),
            (wire::BIT, 64, &[0; 8], 8),
            (wire::ENUM, 2, &[0; 2], 2),
            (wire::SET, 8, &[0; 8], 8),
            (wire::VARCHAR, 255, &[2, b'a', b'b'], 3),
            (wire::VARCHAR, 256, &[2, 0, b'a', b'b'], 4),
            (wire::STRING, 1020, &[1, 0, b'a'], 3),
            (wire::BLOB, 1, &[1, 7], 2),
            (wire::BLOB, 3, &[1, 0, 0, 7], 4),
            (wire::JSON, 4, &[1, 0, 0, 0, 7], 5),
            (wire::VECTOR, 4, &[0; 4], 4),
            (wire::GEOMETRY, 4, &[0; 4], 4),
            (wire::BLOB_COMPRESSED, 2, &[1, 0, 9], 3),
            (wire::VARCHAR_COMPRESSED, 300, &[1, 0, 9], 3),
            (wire::TYPED_ARRAY, u16::from(wire::LONG), &[1, 0, 0, 0, 9], 5),
        ];
        for (wire, meta, bytes, length) in cases {
            let column = WireColumn { wire: *wire, meta: *meta, nullable: true };
            let padded = [bytes, &[0xee; 3][..]].concat();
            let mut input = &padded[..];
            skip_value(&mut input, &column).unwrap();
            assert_eq!(padded.len() - input.len(), *length, "{column:?}");
            for cut in 0..bytes.len() {
                assert!(skip_value(&mut &bytes[..cut], &column).is_err(), "{column:?} cut to {cut}");
            }
            let four = Steps::of(&[column; 4]).unwrap();
            let many = bytes.repeat(4);
            let mut input = &many[..];
            four.skip(&mut input).unwrap();
            assert!(input.is_empty(), "{column:?}");
            assert!(four.skip(&mut &many[..many.len() - 1]).is_err(), "{column:?}");
        }
        let unknown = WireColumn { wire: 200, meta: 0, nullable: true };
        assert!(skip_value(&mut &[0u8; 9][..], &unknown).is_err());
    }
}
