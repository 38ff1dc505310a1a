//! Whether a column's values repeat often enough for a dictionary. Where they do not, building one is work for nothing, and in a
//! small file a fifth of its bytes: every value is written once to the dictionary, and its number to a page. Looks at the
//! first rows of a file only; knows nothing of files.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use hashbrown::HashSet;

/// Rows that are looked at.
const SAMPLE: usize = 1024;

/// What the first rows of a column hold: values that are not null, how many different ones, and the bytes that all would take in a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    values: usize,
    distinct: usize,
    bytes: usize,
}

/// Whether a dictionary of at most `bytes_max` bytes may hold the column's values, to judge by its first rows.
///
/// Of n values that are drawn evenly from D, about n²/2D meet one that was drawn before. So D is told by those that
/// repeat, long before all have been seen: a column of ten thousand values in a large file gets its dictionary, although nearly each of
/// the first thousand is new.
pub(super) fn may_hold(column: &ArrayRef, bytes_max: usize) -> bool {
    let sample = column.slice(0, column.len().min(SAMPLE));
    // D * bytes / n <= bytes_max, without a division.
    let fits = |seen: Seen| seen.values * seen.bytes <= 2 * (seen.values - seen.distinct) * bytes_max;
    look(&sample).is_none_or(fits)
}

/// `None` for types that are not looked into.
fn look(array: &ArrayRef) -> Option<Seen> {
    // A dictionary has a text with its length.
    match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string_opt::<i32>()?;
            Some(count(array, 4, |row| texts.value(row).as_bytes()))
        }
        DataType::Binary => {
            let texts = array.as_binary_opt::<i32>()?;
            Some(count(array, 4, |row| texts.value(row)))
        }
        fixed => {
            let width = fixed.primitive_width()?;
            let data = array.to_data();
            let bytes = data.buffers().first()?.as_slice().get(data.offset() * width..)?;
            Some(count(array, 0, |row| bytes.get(row * width..(row + 1) * width).unwrap_or_default()))
        }
    }
}

fn count<'a>(array: &ArrayRef, beside: usize, value: impl Fn(usize) -> &'a [u8]) -> Seen {
    let mut seen = Seen { values: 0, distinct: 0, bytes: 0 };
    let mut met = HashSet::with_capacity(array.len());
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        let value = value(row);
        seen.values += 1;
        seen.bytes += value.len() + beside;
        seen.distinct += usize::from(met.insert(value));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BooleanArray, Decimal128Array, Int64Array, StringArray};
    use std::sync::Arc;

    const MAX: usize = 256 << 10;

    /// Numbers that look drawn at random, of so many different ones.
    fn drawn(rows: u64, of: u64) -> impl Iterator<Item = i64> {
        (0..rows).map(move |row| ((row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % of) as i64)
    }

    fn longs(rows: u64, of: u64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(drawn(rows, of)))
    }

    fn texts(rows: u64, of: u64) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(drawn(rows, of).map(|number| format!("{number:020}"))))
    }

    #[test]
    fn only_values_that_repeat_get_a_dictionary() {
        // 32,768 longs fill it, and 10,922 texts of twenty letters.
        let cases: [(&str, ArrayRef, bool); 12] = [
            ("all different", longs(10_000, u64::MAX), false),
            ("a hundred", longs(10_000, 100), true),
            ("ten thousand in a large file", longs(1_000_000, 10_000), true),
            ("a million in a large file", longs(1_000_000, 1_000_000), false),
            ("texts, all different", texts(10_000, u64::MAX), false),
            ("texts, a thousand", texts(10_000, 1_000), true),
            ("texts, a million", texts(10_000, 1_000_000), false),
            ("one row", longs(1, 1), false),
            ("the same in two rows", longs(2, 1), true),
            ("none", longs(0, 1), true),
            ("all null", Arc::new(Int64Array::from(vec![None; 100])), true),
            ("of a type that is not looked into", Arc::new(BooleanArray::from(vec![true, false])), true),
        ];
        for (what, column, expected) in cases {
            assert_eq!(may_hold(&column, MAX), expected, "{what}");
        }
    }

    #[test]
    fn nulls_and_the_rows_before_a_slice_are_no_values() {
        let numbers = [Some(1), None, Some(2), Some(2), None, Some(3)];
        let longs: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let decimals: ArrayRef = Arc::new(
            Decimal128Array::from(numbers.map(|n| n.map(i128::from)).to_vec()).with_precision_and_scale(38, 0).unwrap(),
        );
        let texts: ArrayRef = Arc::new(StringArray::from(numbers.map(|n| n.map(|n| n.to_string())).to_vec()));
        for (column, bytes) in [(longs, 24), (decimals, 48), (texts, 15)] {
            assert_eq!(look(&column.slice(1, 4)), Some(Seen { values: 2, distinct: 1, bytes: bytes / 3 * 2 }));
            assert_eq!(look(&column.slice(2, 4)), Some(Seen { values: 3, distinct: 2, bytes }));
        }
    }
}
