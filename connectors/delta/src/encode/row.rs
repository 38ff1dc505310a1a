//! The identity of a row by all its values, for tables without a key: the values in one canonical form, folded into the id by
//! which the index knows the row. It is made from arrays alone, whether they were filled from cells or read from a data file, so
//! that both give the same. Knows nothing of where rows lie.
//!
//! Equal rows are told apart by a number, from 0. The id is 96 bits of SipHash, under a seed that is drawn when the index is begun,
//! and 32 of that number. A column that is null adds nothing, so that a new one leaves the ids of older rows as they are. Values are
//! the same if the database prints them alike: `1.0` and `1.00` in a number without a scale are two, and so are `0.0` and `-0.0`.

use super::key::{KeyCodec, KeyId};
use crate::typemap::ColumnType;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// The bits of an id's second half that number equal rows.
const NUMBER_BITS: u64 = 0xffff_ffff;

/// Equal rows are so far from each other in the order of ids: their first halves fall evenly over all of it, as an index
/// expects of hashes.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes ids of the rows of a table.
#[derive(Clone, Debug)]
pub(crate) enum IdCodec {
    /// By their key.
    Key(KeyCodec),
    /// By all values.
    Row(RowCodec),
}

/// Turns whole rows into ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowCodec {
    seed: [u64; 4],
    scratch: Vec<u8>,
}

/// Whether rows keep their ids when a column of them grows from one type to the other.
pub(crate) fn keeps_ids(narrow: &ColumnType, wider: &ColumnType) -> bool {
    use ColumnType::{Array, Byte, Decimal, Double, Float, Integer, Long, Short};
    match (narrow, wider) {
        (Byte | Short | Integer | Long, Byte | Short | Integer | Long) | (Float, Double) => true,
        // Digits before the point add nothing to a number's bytes.
        (Decimal(_, from), Decimal(_, to)) => from == to,
        (Array(narrow), Array(wider)) => keeps_ids(narrow, wider),
        _ => false,
    }
}

impl KeyId {
    /// The id of another row of the same values.
    pub(crate) fn numbered(self, number: u32) -> KeyId {
        let KeyId([first, second]) = self;
        let apart = |number: u32| u64::from(number).wrapping_mul(APART);
        let first = first.wrapping_sub(apart(self.number())).wrapping_add(apart(number));
        KeyId([first, second & !NUMBER_BITS | u64::from(number)])
    }

    /// What tells the row from those of the same values.
    pub(crate) fn number(self) -> u32 {
        let KeyId([_, second]) = self;
        (second & NUMBER_BITS) as u32
    }
}

impl IdCodec {
    /// From here on ids are those of this seed.
    pub(crate) fn set_seed(&mut self, seed: [u64; 4]) {
        match self {
            IdCodec::Key(codec) => codec.set_seed(seed),
            IdCodec::Row(codec) => codec.seed = seed,
        }
    }

    /// A text that is the same for codecs that make the same ids of the same rows (under one seed).
    pub(crate) fn form(&self) -> String {
        match self {
            IdCodec::Key(codec) => codec.form(),
            IdCodec::Row(_) => "whole row 1".to_owned(),
        }
    }

    /// Whether ids fit 64 bits.
    pub(crate) fn is_narrow(&self) -> bool {
        match self {
            IdCodec::Key(codec) => codec.is_narrow(),
            IdCodec::Row(_) => false,
        }
    }

    /// The ids of all rows of columns that were read from a data file: those of `Layout::identity`. `None` when they are not what
    /// Tidewire writes.
    pub(crate) fn ids_of_arrays(&mut self, columns: &[Option<ArrayRef>], out: &mut Vec<KeyId>) -> Option<()> {
        match self {
            IdCodec::Key(codec) => {
                let key = columns.iter().cloned().collect::<Option<Vec<ArrayRef>>>()?;
                codec.ids_of_arrays(&key, out)
            }
            IdCodec::Row(codec) => {
                let (numbers, columns) = columns.split_last()?;
                let numbers = numbers.as_ref()?.as_primitive_opt::<Int32Type>().filter(|n| n.null_count() == 0)?;
                let first = out.len();
                codec.ids_of_rows(columns, numbers.len(), out)?;
                for (id, number) in out.iter_mut().skip(first).zip(numbers.values()) {
                    *id = id.numbered(u32::try_from(*number).ok()?);
                }
                Some(())
            }
        }
    }
}

impl RowCodec {
    /// The ids of so many rows, each numbered 0; a column that is not there is null in all. `None` when a column is of a type
    /// that no table has.
    pub(crate) fn ids_of_rows(
        &mut self,
        columns: &[Option<ArrayRef>],
        rows: usize,
        out: &mut Vec<KeyId>,
    ) -> Option<()> {
        let mut cells = Vec::with_capacity(columns.len());
        for (number, column) in (0u32..).zip(columns) {
            let Some(column) = column else { continue };
            if column.len() != rows {
                return None;
            }
            cells.push((number, column, Cells::of(column)?));
        }
        let [first, second, ..] = self.seed;
        for row in 0..rows {
            self.scratch.clear();
            for (number, column, cells) in &cells {
                if column.is_valid(row) {
                    self.scratch.extend_from_slice(&number.to_le_bytes());
                    cells.append(&mut self.scratch, row);
                }
            }
            let mut hasher = SipHasher13::new_with_keys(first, second);
            hasher.write(&self.scratch);
            let hash = hasher.finish128();
            out.push(KeyId([hash.h1, hash.h2]).numbered(0));
        }
        Some(())
    }
}

/// A column's values.
enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Byte(&'a Int8Array),
    Short(&'a Int16Array),
    Integer(&'a Int32Array),
    Long(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array),
    Date(&'a Date32Array),
    Micros(&'a TimestampMicrosecondArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    List(&'a ListArray, Box<Cells<'a>>),
}

impl<'a> Cells<'a> {
    fn of(array: &'a ArrayRef) -> Option<Cells<'a>> {
        Some(match array.data_type() {
            DataType::Boolean => Cells::Boolean(array.as_boolean_opt()?),
            DataType::Int8 => Cells::Byte(array.as_primitive_opt::<Int8Type>()?),
            DataType::Int16 => Cells::Short(array.as_primitive_opt::<Int16Type>()?),
            DataType::Int32 => Cells::Integer(array.as_primitive_opt::<Int32Type>()?),
            DataType::Int64 => Cells::Long(array.as_primitive_opt::<Int64Type>()?),
            DataType::Float32 => Cells::Float(array.as_primitive_opt::<Float32Type>()?),
            DataType::Float64 => Cells::Double(array.as_primitive_opt::<Float64Type>()?),
            DataType::Decimal128(..) => Cells::Decimal(array.as_primitive_opt::<Decimal128Type>()?),
            DataType::Date32 => Cells::Date(array.as_primitive_opt::<Date32Type>()?),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Cells::Micros(array.as_primitive_opt::<TimestampMicrosecondType>()?)
            }
            DataType::Utf8 => Cells::Text(array.as_string_opt::<i32>()?),
            DataType::Binary => Cells::Bytes(array.as_binary_opt::<i32>()?),
            DataType::List(_) => {
                let list = array.as_list_opt::<i32>()?;
                Cells::List(list, Box::new(Cells::of(list.values())?))
            }
            _ => return None,
        })
    }

    /// Appends a value's canonical bytes, whose length follows from themselves. Integers are as long as the widest, so that a
    /// column that grows keeps its values.
    fn append(&self, out: &mut Vec<u8>, row: usize) {
        let integer = |out: &mut Vec<u8>, value: i64| out.extend_from_slice(&value.to_le_bytes());
        match self {
            Cells::Boolean(array) => integer(out, i64::from(array.value(row))),
            Cells::Byte(array) => integer(out, array.value(row).into()),
            Cells::Short(array) => integer(out, array.value(row).into()),
            Cells::Integer(array) => integer(out, array.value(row).into()),
            Cells::Long(array) => integer(out, array.value(row)),
            Cells::Date(array) => integer(out, array.value(row).into()),
            Cells::Micros(array) => integer(out, array.value(row)),
            Cells::Float(array) => integer(out, float_bits(array.value(row).into())),
            Cells::Double(array) => integer(out, float_bits(array.value(row))),
            Cells::Decimal(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            Cells::Text(array) => bytes(out, array.value(row).as_bytes()),
            Cells::Bytes(array) => bytes(out, array.value(row)),
            Cells::List(array, elements) => {
                let offsets = array.value_offsets();
                let bound = |at: usize| offsets.get(at).and_then(|at| usize::try_from(*at).ok()).unwrap_or_default();
                let (start, end) = (bound(row), bound(row + 1));
                out.extend_from_slice(&((end - start) as u64).to_le_bytes());
                for element in start..end {
                    let is_valid = array.values().is_valid(element);
                    out.push(u8::from(is_valid));
                    if is_valid {
                        elements.append(out, element);
                    }
                }
            }
        }
    }
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    out.extend_from_slice(value);
}

/// The bits of a float as they are; not a number has no two forms that the database tells apart.
fn float_bits(value: f64) -> i64 {
    let canonical = if value.is_nan() { f64::NAN } else { value };
    canonical.to_bits().cast_signed()
}

#[cfg(test)]
mod tests;
