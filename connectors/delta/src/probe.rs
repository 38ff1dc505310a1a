//! Doors for fuzz targets: the readers of bytes that storage hands out, without a store. Not part of the crate's
//! face; nothing else may use them.

use crate::{deletion_vector, index, log};

/// Reads a deletion vector's magic number and bitmap; the number of rows that it deletes.
pub fn deletion_vector(payload: &[u8]) -> Option<u64> {
    deletion_vector::decode(payload, "probe").ok().map(|rows| rows.len())
}

/// The same of a vector that lies in its descriptor.
pub fn inline_deletion_vector(text: &str, size: i32) -> Option<u64> {
    deletion_vector::decode_inline(text, size, "probe").ok().map(|rows| rows.len())
}

/// Reads the lines of a log entry.
pub fn log_entry(lines: &[u8]) -> bool {
    log::is_entry(lines)
}

/// Opens a run of the key index, sweeps it and looks keys up; the number of entries that were read and found. The
/// pages get right checksums first when `sealed`, so that what is behind them is reached.
pub fn index_run(bytes: &[u8], sealed: bool, keys: &[u64]) -> Option<u64> {
    let bytes = if sealed { index::seal(bytes) } else { bytes.to_vec() };
    index::probe(bytes, keys).ok()
}
