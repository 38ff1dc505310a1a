//! What rows from before have in a column that was added, as arrays. Knows no file and no change.

use super::column::{Column, Unfit};
use crate::error::Result;
use crate::typemap::{ColumnType, Filling};
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_select::take::take;
use tidewire_core::Error;

/// Bytes that the values of a column take in memory at a time when they are all the same.
const SAME_BYTES_MAX: usize = 8 << 20;

impl Filling {
    /// The value in one row, of the column's type of today.
    ///
    /// # Errors
    /// When the type does not hold it.
    pub(crate) fn one(&self, column_type: &ColumnType) -> std::result::Result<ArrayRef, Unfit> {
        let mut column = Column::new(&self.column_type);
        column.push(self.constant.value())?;
        let array = column.finish().map_err(|_| Unfit::Kind)?;
        if self.column_type == *column_type { Ok(array) } else { column_type.widen(&array).ok_or(Unfit::Kind) }
    }

    /// The value in so many rows.
    pub(crate) fn rows(&self, column_type: &ColumnType, rows: usize) -> Result<ArrayRef> {
        let one = self.one(column_type);
        let one = one.map_err(|unfit| Error::bug("delta_filling", format!("a value of before: {unfit:?}")))?;
        repeat(&one, rows)
    }
}

/// An array of one row, so many times.
pub(crate) fn repeat(one: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let bug = |what: &str| Error::bug("delta_filling", what.to_owned());
    let first = UInt32Array::from_value(0, rows);
    take(one, &first, None).map_err(|cause| bug("repeat a value").with_cause(cause))
}

/// How many rows may have the array's value in memory at a time.
pub(crate) fn rows_at_once(one: &ArrayRef) -> usize {
    (SAME_BYTES_MAX / one.get_buffer_memory_size().max(1)).max(1)
}
