//! Cells to data files and back: columns, keys, statistics, Parquet. Knows no table log and no change.

pub(crate) mod column;
mod dictionary;
pub(crate) mod file;
pub(crate) mod filling;
pub(crate) mod key;
pub(crate) mod partition;
pub(crate) mod read;
pub(crate) mod row;
pub(crate) mod stats;
pub(crate) mod text;
