//! Where the columns of a group of rows lie in a data file, and what their values take in memory, by the file's footer. Knows
//! nothing of how they are read.

use parquet::arrow::ProjectionMask;
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use std::collections::VecDeque;
use std::ops::Range;

/// Of a dictionary whose values nobody has counted, one may be nearly as large as the whole and stand in each row. Most are not:
/// a batch that grows to so many times its bytes is still no harm.
const DICTIONARY_EXCESS: u64 = 8;

fn columns<'a>(group: &'a RowGroupMetaData, mask: &ProjectionMask) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
    group.columns().iter().enumerate().filter(|(at, _)| mask.leaf_included(*at)).map(|(_, chunk)| chunk)
}

fn count(number: i64) -> u64 {
    // A damaged footer may say anything.
    u64::try_from(number).unwrap_or(0)
}

/// Where the columns of a group lie.
pub(super) fn places(group: &RowGroupMetaData, mask: &ProjectionMask) -> Vec<Range<u64>> {
    let place = |chunk: &ColumnChunkMetaData| {
        let data = chunk.data_page_offset();
        let start = count(chunk.dictionary_page_offset().map_or(data, |dictionary| dictionary.min(data)));
        start..start.saturating_add(count(chunk.compressed_size()))
    };
    columns(group, mask).map(place).collect()
}

/// Groups of rows, those together that are read alike, and how many rows at a time, a power of two: up to so many, and so many bytes
/// as far as the average of a group tells.
pub(super) fn batches(
    groups: &[RowGroupMetaData],
    mask: &ProjectionMask,
    (rows_max, bytes_max): (usize, u64),
) -> VecDeque<(Vec<usize>, usize)> {
    let mut batches: VecDeque<(Vec<usize>, usize)> = VecDeque::new();
    for (number, group) in groups.iter().enumerate() {
        let bytes = columns(group, mask).map(bytes_of).fold(0, u64::saturating_add);
        let row = bytes.div_ceil(count(group.num_rows()).max(1)).max(1);
        let fit = usize::try_from(bytes_max / row).unwrap_or(rows_max).clamp(1, rows_max);
        let rows = 1 << fit.ilog2();
        match batches.back_mut().filter(|(_, last)| *last == rows) {
            Some((alike, _)) => alike.push(number),
            None => batches.push_back((vec![number], rows)),
        }
    }
    batches
}

/// What the values of a column take in memory.
fn bytes_of(chunk: &ColumnChunkMetaData) -> u64 {
    let values = count(chunk.num_values());
    let width = match chunk.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        // Decimals become 16 bytes.
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => 16.max(u64::try_from(chunk.column_descr().type_length()).unwrap_or(0)),
        Type::BYTE_ARRAY => return texts(chunk, values).saturating_add(values.saturating_mul(4)),
    };
    values.saturating_mul(width)
}

fn texts(chunk: &ColumnChunkMetaData, values: u64) -> u64 {
    if let Some(bytes) = chunk.unencoded_byte_array_data_bytes() {
        return count(bytes);
    }
    // Older writers do not say what the values are without their dictionary.
    let (whole, packed) = (count(chunk.uncompressed_size()), count(chunk.compressed_size()).max(1));
    let dictionary = chunk.dictionary_page_offset().map_or(0, |at| count(chunk.data_page_offset().saturating_sub(at)));
    let largest = dictionary.saturating_mul(whole.div_ceil(packed).max(1));
    whole.max(values.saturating_mul(largest / DICTIONARY_EXCESS))
}
