//! Where each row of a table lies, by its key. Knows nothing of files but their ordinals.
//!
//! The index holds facts that stay true for ever: "the row with this key lies in this file at this row". Files are
//! immutable, so that an old fact is at worst about a row that is dead by now, and whether it is, the caller knows: from
//! deletion vectors and from the files that are gone. So nothing is ever taken back, a crash loses no more than facts
//! that can be read from the table again, and a look-up yields candidates, the newest first.

mod batch;
mod bloom;
mod builder;
mod claim;
mod folder;
mod lsm;
mod manifest;
mod map;
mod memory;
mod merge;
mod mix;
mod page;
mod run;

pub(crate) use builder::{PreparedRun, RunBuilder};
pub(crate) use lsm::{Index, Mark, Opened, forget_later};
pub(crate) use manifest::Binding;
use memory::MemoryIndex;
pub(crate) use page::sealed as seal;
pub(crate) use run::probe;

/// A row: a file's ordinal, given out by the writer, and the row's number in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowLocation {
    /// Ordinal of the file.
    pub(crate) file: u32,
    /// Physical row number, from 0; below `u32::MAX`.
    pub(crate) row: u32,
}
