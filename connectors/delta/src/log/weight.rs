//! What commits cost beside the rows that they bring. Pure.

use std::ops::AddAssign;

/// Bytes that commits have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Of new data files.
    pub(crate) data: u64,
    /// Of deletion vectors and entries of the log: they grow with the files that are touched, not with the changes.
    pub(crate) burden: u64,
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Weight) {
        self.data += other.data;
        self.burden += other.burden;
    }
}
