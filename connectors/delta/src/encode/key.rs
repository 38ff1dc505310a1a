//! The identity of a row: its key's values in one canonical form, the same from cells and from a data file, and
//! folded into the id by which the index knows them. Knows nothing of where rows lie.
//!
//! A single integer, date or timestamp, and a pair of two short integers, are their own id: no two keys share
//! one. Every other key is hashed to 128 bits by SipHash under a seed that is drawn when the index is begun, so
//! that no one can prepare two keys with one id. The form is that of the source's equality: `1.0`
//! and `1.00` are one key, and so are `0.0` and `-0.0`.

use super::column::{Unfit, days, micros, unscaled};
use super::text::write_text;
use crate::typemap::ColumnType;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::fmt::Write as _;
use std::hash::Hasher;
use tidewire_core::{DataType, Value};

/// A key as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(pub(crate) [u64; 2]);

/// Why a row has no key. The number is the key column's place in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFault {
    /// A key column is null.
    Null(usize),
    /// A key column's value cannot be held by its column.
    Unfit(usize, Unfit),
}

/// What one key column contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Boolean,
    /// Width in bits.
    Integer(u8),
    Date,
    Micros,
    Float,
    Double,
    Decimal(u8, u8),
    /// A number that is a string in the table.
    Number,
    /// A time that is a string in the table.
    Time,
    Text,
    Bytes,
}

/// A part's value on its way into the id.
enum Piece<'a> {
    Scalar(i64),
    Wide(i128),
    Bytes(&'a [u8]),
}

/// How an id is made of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// The one value itself.
    Single,
    /// Two values of at most 32 bits.
    Pair,
    /// 128 bits of hash.
    Hashed,
}

/// Turns the key of a row into its id.
#[derive(Clone, Debug)]
pub(crate) struct KeyCodec {
    parts: Vec<Part>,
    identity: Identity,
    seed: [u64; 4],
    scratch: Vec<u8>,
    rendered: Vec<u8>,
}

impl KeyCodec {
    /// For key columns of these types, in key order. `None` when one of them cannot be a key (an array).
    pub(crate) fn new<'a>(columns: impl Iterator<Item = (&'a DataType, &'a ColumnType)>) -> Option<KeyCodec> {
        let parts = columns.map(|(source, column)| part(source, column)).collect::<Option<Vec<Part>>>()?;
        let identity = match parts.iter().map(|part| scalar_bits(*part)).collect::<Option<Vec<u8>>>().as_deref() {
            Some([_]) => Identity::Single,
            Some([..=32, ..=32]) => Identity::Pair,
            _ => Identity::Hashed,
        };
        Some(KeyCodec { parts, identity, seed: [0; 4], scratch: Vec::new(), rendered: Vec::new() })
    }

    /// From here on ids are those of this seed.
    pub(crate) fn set_seed(&mut self, seed: [u64; 4]) {
        self.seed = seed;
    }

    /// A text that is the same for codecs that make the same ids of the same rows (under one seed).
    pub(crate) fn form(&self) -> String {
        let mut form = String::new();
        for part in &self.parts {
            // A text cannot refuse what is written to it.
            let _ = write!(form, "{part:?} ");
        }
        form
    }

    /// Whether this makes of each row that was there the id that `narrower` made of it, under one seed.
    pub(crate) fn has_ids_of(&self, narrower: &KeyCodec) -> bool {
        let is_same = |(wide, narrow): (&Part, &Part)| match (wide, narrow) {
            (Part::Integer(_), Part::Integer(_)) | (Part::Double, Part::Float) => true,
            (Part::Decimal(_, scale), Part::Decimal(_, narrow)) => scale == narrow,
            (wide, narrow) => wide == narrow,
        };
        self.identity == narrower.identity
            && self.parts.len() == narrower.parts.len()
            && self.parts.iter().zip(&narrower.parts).all(is_same)
    }

    /// Goes on with the types of another, under the seed that there was.
    pub(crate) fn take_types(&mut self, other: KeyCodec) {
        *self = KeyCodec { seed: self.seed, ..other };
    }

    /// Whether ids fit 64 bits, and are the keys themselves.
    pub(crate) fn is_narrow(&self) -> bool {
        self.identity != Identity::Hashed
    }

    /// The id of a row from its key's values, in key order.
    pub(crate) fn id_of_values<'a>(&mut self, values: impl Iterator<Item = Value<'a>>) -> Result<KeyId, KeyFault> {
        self.scratch.clear();
        let mut exact = 0;
        for (at, (part, value)) in self.parts.iter().zip(values).enumerate() {
            if value == Value::Null {
                return Err(KeyFault::Null(at));
            }
            let piece = piece_of_value(*part, value, &mut self.rendered).map_err(|unfit| KeyFault::Unfit(at, unfit))?;
            match self.identity {
                Identity::Hashed => append(&mut self.scratch, *part, &piece),
                identity => exact = fold(identity, exact, &piece),
            }
        }
        Ok(self.id(exact))
    }

    /// The ids of all rows of key columns read from a data file, in key order. `None` when a column has another
    /// type than expected or holds null, neither of which Tidewire writes.
    pub(crate) fn ids_of_arrays(&mut self, arrays: &[ArrayRef], out: &mut Vec<KeyId>) -> Option<()> {
        let rows = arrays.first()?.len();
        if arrays.len() != self.parts.len() || arrays.iter().any(|a| a.null_count() > 0 || a.len() != rows) {
            return None;
        }
        for row in 0..rows {
            self.scratch.clear();
            let mut exact = 0;
            for (part, array) in self.parts.iter().zip(arrays) {
                let piece = piece_of_array(*part, array, row)?;
                match self.identity {
                    Identity::Hashed => append(&mut self.scratch, *part, &piece),
                    identity => exact = fold(identity, exact, &piece),
                }
            }
            out.push(self.id(exact));
        }
        Some(())
    }

    fn id(&self, exact: u64) -> KeyId {
        if self.identity != Identity::Hashed {
            return KeyId([exact, 0]);
        }
        let [first, second, ..] = self.seed;
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(&self.scratch);
        let hash = hasher.finish128();
        KeyId([hash.h1, hash.h2])
    }
}

fn part(source: &DataType, column: &ColumnType) -> Option<Part> {
    Some(match column {
        ColumnType::Boolean => Part::Boolean,
        ColumnType::Byte => Part::Integer(8),
        ColumnType::Short => Part::Integer(16),
        ColumnType::Integer => Part::Integer(32),
        ColumnType::Long => Part::Integer(64),
        ColumnType::Float => Part::Float,
        ColumnType::Double => Part::Double,
        ColumnType::Decimal(precision, scale) => Part::Decimal(*precision, *scale),
        ColumnType::String if matches!(source, DataType::Decimal { .. }) => Part::Number,
        ColumnType::String if matches!(source, DataType::Time { .. }) => Part::Time,
        ColumnType::String => Part::Text,
        ColumnType::Binary => Part::Bytes,
        ColumnType::Date => Part::Date,
        ColumnType::Timestamp | ColumnType::TimestampNtz => Part::Micros,
        ColumnType::Array(_) => return None,
    })
}

/// Bits of a part that is one integer.
fn scalar_bits(part: Part) -> Option<u8> {
    match part {
        Part::Boolean => Some(8),
        Part::Integer(bits) => Some(bits),
        Part::Date => Some(32),
        Part::Micros => Some(64),
        Part::Float | Part::Double | Part::Decimal(..) | Part::Number | Part::Time | Part::Text | Part::Bytes => None,
    }
}

fn fold(identity: Identity, exact: u64, piece: &Piece<'_>) -> u64 {
    match (identity, piece) {
        (Identity::Pair, Piece::Scalar(value)) => exact << 32 | value.cast_unsigned() & 0xffff_ffff,
        (_, Piece::Scalar(value)) => value.cast_unsigned(),
        // Wider pieces come only with hashed ids.
        _ => exact,
    }
}

/// Appends a part's canonical bytes: fixed width, or a length and the bytes.
fn append(out: &mut Vec<u8>, part: Part, piece: &Piece<'_>) {
    match piece {
        Piece::Scalar(value) => out.extend_from_slice(&value.to_le_bytes()),
        Piece::Wide(value) => out.extend_from_slice(&value.to_le_bytes()),
        Piece::Bytes(bytes) => {
            let at = out.len();
            out.extend_from_slice(&[0; 8]);
            match part {
                Part::Number => append_number(out, bytes),
                Part::Time => out.extend_from_slice(without_zeros(bytes)),
                _ => out.extend_from_slice(bytes),
            }
            let length = (out.len() - at - 8) as u64;
            if let Some(slot) = out.get_mut(at..at + 8) {
                slot.copy_from_slice(&length.to_le_bytes());
            }
        }
    }
}

/// A time's text without zeros at the end of its fraction: older rows have the digits that the column had then.
fn without_zeros(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let end = text.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let text = text.get(..end).unwrap_or(text);
    text.strip_suffix(b".").unwrap_or(text)
}

/// Appends a number's text without zeros that do not change it.
fn append_number(out: &mut Vec<u8>, text: &[u8]) {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (&b"-"[..], rest),
        None => (&b""[..], text),
    };
    if !digits.first().is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
        out.extend_from_slice(text);
        return;
    }
    let mut halves = digits.splitn(2, |b| *b == b'.');
    let (whole, fraction) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let leading = whole.iter().take_while(|b| **b == b'0').count();
    let trailing = fraction.iter().rev().take_while(|b| **b == b'0').count();
    let whole = whole.split_at_checked(leading).map_or(whole, |(_, rest)| rest);
    let fraction = fraction.split_at_checked(fraction.len() - trailing).map_or(fraction, |(kept, _)| kept);
    if !(whole.is_empty() && fraction.is_empty()) {
        out.extend_from_slice(sign);
    }
    out.extend_from_slice(whole);
    out.push(b'.');
    out.extend_from_slice(fraction);
}

fn piece_of_value<'a>(part: Part, value: Value<'a>, rendered: &'a mut Vec<u8>) -> Result<Piece<'a>, Unfit> {
    Ok(match (part, value) {
        (_, Value::Unknown) => return Err(Unfit::Unknown),
        (Part::Date | Part::Micros, Value::Impossible(_)) => return Err(Unfit::Calendar),
        (Part::Integer(64), Value::Int(v)) => Piece::Scalar(v),
        (Part::Integer(bits), Value::Int(v)) => Piece::Scalar(fits(v, bits)?),
        (Part::Integer(bits), Value::UInt(v)) => {
            Piece::Scalar(fits(i64::try_from(v).map_err(|_| Unfit::Digits)?, bits)?)
        }
        (Part::Boolean, Value::Bool(v)) => Piece::Scalar(i64::from(v)),
        (Part::Date, Value::Date(date)) => Piece::Scalar(i64::from(days(date)?)),
        (Part::Micros, Value::Timestamp(t) | Value::TimestampTz(t)) => Piece::Scalar(micros(t)?),
        (Part::Float, Value::Float32(v)) => Piece::Scalar(float_bits(f64::from(v))),
        (Part::Double, Value::Float64(v)) => Piece::Scalar(float_bits(v)),
        (Part::Decimal(precision, scale), value) => Piece::Wide(unscaled(value, precision, scale)?),
        (Part::Bytes, Value::Bytes(v)) | (Part::Text, Value::Text(v) | Value::Uuid(v)) => Piece::Bytes(v),
        (Part::Number, Value::Decimal(v)) => Piece::Bytes(v.text()),
        (Part::Text | Part::Time, value) => {
            rendered.clear();
            write_text(rendered, value)?;
            Piece::Bytes(rendered)
        }
        _ => return Err(Unfit::Kind),
    })
}

fn fits(value: i64, bits: u8) -> Result<i64, Unfit> {
    let limit = 1i64 << bits.saturating_sub(1).min(62);
    if bits >= 64 || (-limit..limit).contains(&value) { Ok(value) } else { Err(Unfit::Digits) }
}

/// The bits of a float in the form in which equal floats are equal: one zero, one NaN.
fn float_bits(value: f64) -> i64 {
    let canonical = match value {
        v if v.is_nan() => f64::NAN,
        0.0 => 0.0,
        v => v,
    };
    canonical.to_bits().cast_signed()
}

fn piece_of_array(part: Part, array: &ArrayRef, row: usize) -> Option<Piece<'_>> {
    fn at<A: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> Option<A::Native> {
        array.as_primitive_opt::<A>()?.values().get(row).copied()
    }
    Some(match part {
        Part::Boolean => Piece::Scalar(i64::from(array.as_boolean_opt()?.value(row))),
        Part::Integer(8) => Piece::Scalar(at::<Int8Type>(array, row)?.into()),
        Part::Integer(16) => Piece::Scalar(at::<Int16Type>(array, row)?.into()),
        Part::Integer(32) => Piece::Scalar(at::<Int32Type>(array, row)?.into()),
        Part::Integer(_) => Piece::Scalar(at::<Int64Type>(array, row)?),
        Part::Date => Piece::Scalar(at::<Date32Type>(array, row)?.into()),
        Part::Micros => Piece::Scalar(at::<TimestampMicrosecondType>(array, row)?),
        Part::Float => Piece::Scalar(float_bits(at::<Float32Type>(array, row)?.into())),
        Part::Double => Piece::Scalar(float_bits(at::<Float64Type>(array, row)?)),
        Part::Decimal(..) => Piece::Wide(at::<Decimal128Type>(array, row)?),
        Part::Number | Part::Time | Part::Text => Piece::Bytes(array.as_string_opt::<i32>()?.value(row).as_bytes()),
        Part::Bytes => Piece::Bytes(array.as_binary_opt::<i32>()?.value(row)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::Column;
    use arrow_array::StringArray;
    use proptest::prelude::*;
    use std::sync::Arc;
    use tidewire_core::calendar::{Date, Timestamp};
    use tidewire_core::decimal::Decimal;

    fn codec(types: &[DataType]) -> KeyCodec {
        let columns: Vec<ColumnType> = types.iter().map(ColumnType::of).collect();
        KeyCodec::new(types.iter().zip(&columns)).unwrap()
    }

    fn number() -> DataType {
        DataType::Decimal { precision: None, scale: None }
    }

    fn decimal(text: &str) -> Value<'_> {
        Value::Decimal(Decimal::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn equal_keys_have_one_id() {
        let mut numbers = codec(&[number()]);
        for (a, b, equal) in [
            ("1.0", "1.00", true),
            ("0", "-0.00", true),
            ("007", "7", true),
            (".5", "0.50", true),
            ("10", "1", false),
            ("1.01", "1.1", false),
            ("-1", "1", false),
            ("NaN", "NaN", true),
            ("Infinity", "-Infinity", false),
        ] {
            let id = |c: &mut KeyCodec, text| c.id_of_values([decimal(text)].into_iter()).unwrap();
            assert_eq!(id(&mut numbers, a) == id(&mut numbers, b), equal, "{a} {b}");
        }
        let mut floats = codec(&[DataType::Float64]);
        let mut id = |v| floats.id_of_values([Value::Float64(v)].into_iter()).unwrap();
        assert_eq!(id(0.0), id(-0.0));
        assert_eq!(id(f64::NAN), id(-f64::NAN));
    }

    #[test]
    fn my_65_a_time_is_one_key_whatever_its_digits() {
        let mut times = codec(&[DataType::Time { precision: 3 }]);
        let mut of = |value| times.id_of_values([value].into_iter()).unwrap();
        let half = of(Value::FixedTime(500_000, 1));
        for same in [Value::FixedTime(500_000, 3), Value::Time(500_000)] {
            assert_eq!(of(same), half, "{same:?}");
        }
        let whole = of(Value::FixedTime(600_000_000, 0));
        assert_eq!(of(Value::FixedTime(600_000_000, 6)), whole);
        assert_ne!(of(Value::FixedTime(60_000_000, 0)), whole);
        // Rows of before were written with the digits that the column had.
        let mut ids = Vec::new();
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec!["00:00:00.5", "00:00:00.500000", "00:10:00", "00:10:00.0"]));
        times.ids_of_arrays(&[texts], &mut ids).unwrap();
        assert_eq!(ids, [half, half, whole, whole]);
    }

    #[test]
    fn my_60_unsigned_numbers_and_labels_are_keys() {
        let labels = || ["a", "b"].map(Into::into).into();
        let types = [
            DataType::UInt { bits: 64 },
            DataType::UInt { bits: 32 },
            DataType::Enum { labels: labels() },
            DataType::Set { labels: labels() },
            DataType::Bits { length: Some(9), varying: false },
            DataType::Time { precision: 6 },
            DataType::Bytes,
        ];
        let values = |number, time| {
            [
                Value::UInt(number),
                Value::UInt(u64::from(u32::MAX)),
                Value::Enum(b"a"),
                Value::Set(b"a,b"),
                Value::Bits(b"000000001"),
                Value::FixedTime(time, 6),
                Value::Bytes(b"\0\xff"),
            ]
        };
        let mut all = codec(&types);
        let mut columns: Vec<Column> = types.iter().map(|t| Column::new(&ColumnType::of(t))).collect();
        let rows = [values(u64::MAX, -1), values(0, 3_020_399_000_000)];
        let mut expect = Vec::new();
        for row in rows {
            expect.push(all.id_of_values(row.into_iter()).unwrap());
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value).unwrap());
        }
        let arrays: Vec<ArrayRef> = columns.iter_mut().map(|c| c.finish().unwrap()).collect();
        let mut ids = Vec::new();
        assert_eq!((all.ids_of_arrays(&arrays, &mut ids), &ids), (Some(()), &expect));
        assert_ne!(expect[0], expect[1]);
    }

    #[test]
    fn composite_parts_do_not_run_together() {
        let mut texts = codec(&[DataType::Text, DataType::Text]);
        let mut id = |a: &'static [u8], b: &'static [u8]| {
            texts.id_of_values([Value::Text(a), Value::Text(b)].into_iter()).unwrap()
        };
        assert_ne!(id(b"ab", b"c"), id(b"a", b"bc"));
        assert_ne!(id(b"", b"a"), id(b"a", b""));
    }

    #[test]
    fn null_and_unknown_are_no_keys() {
        let mut ints = codec(&[DataType::Int { bits: 32 }, DataType::Int { bits: 32 }]);
        assert!(ints.is_narrow());
        let mut fault = |value| ints.id_of_values([Value::Int(1), value].into_iter()).unwrap_err();
        assert_eq!(fault(Value::Null), KeyFault::Null(1));
        assert_eq!(fault(Value::Unknown), KeyFault::Unfit(1, Unfit::Unknown));
        assert_eq!(fault(Value::Int(1 << 40)), KeyFault::Unfit(1, Unfit::Digits));
    }

    proptest! {
        #[test]
        fn a_file_gives_the_ids_that_the_cells_gave(
            rows in proptest::collection::vec(
                (any::<i32>(), ".{0,6}", -719_162i32..2_932_896, any::<i64>(), any::<f64>(), any::<i16>(), any::<bool>()),
                1..20,
            ),
        ) {
            let types = [
                DataType::Int { bits: 32 },
                DataType::Text,
                DataType::Date,
                DataType::Decimal { precision: Some(30), scale: Some(2) },
                DataType::Float64,
                number(),
                DataType::Bool,
                DataType::Timestamp { precision: 6 },
            ];
            let mut all = codec(&types);
            let mut columns: Vec<Column> = types.iter().map(|t| Column::new(&ColumnType::of(t))).collect();
            let mut expect = Vec::new();
            for (int, text, date, wide, float, small, flag) in &rows {
                let (wide, small) = (wide.to_string(), format!("{small}.50"));
                let stamp = Timestamp { date: Date(*date), micros: 17 };
                let values = [
                    Value::Int((*int).into()), Value::Text(text.as_bytes()), Value::Date(Date(*date)), decimal(&wide),
                    Value::Float64(*float), decimal(&small), Value::Bool(*flag), Value::Timestamp(stamp),
                ];
                expect.push(all.id_of_values(values.into_iter()).unwrap());
                for (column, value) in columns.iter_mut().zip(values) {
                    column.push(value).unwrap();
                }
            }
            let arrays: Vec<ArrayRef> = columns.iter_mut().map(|c| c.finish().unwrap()).collect();
            let mut ids = Vec::new();
            prop_assert_eq!(all.ids_of_arrays(&arrays, &mut ids), Some(()));
            prop_assert_eq!(ids, expect);
        }

        #[test]
        fn exact_ids_are_injective(a: (i32, i32), b: (i32, i32)) {
            let mut ints = codec(&[DataType::Int { bits: 32 }, DataType::Int { bits: 32 }]);
            let mut id = |(x, y): (i32, i32)| ints.id_of_values([Value::Int(x.into()), Value::Int(y.into())].into_iter()).unwrap();
            prop_assert_eq!(id(a) == id(b), a == b);
        }
    }
}
