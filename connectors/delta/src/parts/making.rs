//! A partition's file in the making: rows that are written to it, and rows that wait until they are worth a row group. Each row
//! has its place in the file from the beginning, so that waiting moves none.

use super::Holes;
use super::files::Files;
use crate::encode::file::PartWriter;
use crate::error::Result;
use crate::index::RowLocation;
use crate::log::NewFile;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::{Array, ArrayRef};

/// Rows that wait are written when they take this much memory: a row group of fewer is mostly its own description.
pub(super) const WORTH_BYTES: usize = 1 << 20;
/// Memory that waiting rows take beside their values, in bytes, nearly.
const PIECE_BYTES: usize = 64;

/// What a file is begun with.
pub(super) struct Site<'a> {
    pub(super) store: &'a TableStore,
    pub(super) files: &'a Files,
    /// The table's columns.
    pub(super) columns: &'a [TableColumn],
    /// Begins the file, for a commit of so many bytes of rows.
    pub(super) begin: &'a dyn Fn(usize) -> Result<PartWriter>,
}

/// A file in the making.
pub(super) struct Making {
    ordinal: u32,
    writer: Option<PartWriter>,
    /// Rows that wait, as they came.
    held: Vec<Vec<ArrayRef>>,
    held_rows: u64,
    held_bytes: usize,
}

impl Making {
    /// No rows yet.
    pub(super) fn new(ordinal: u32) -> Making {
        Making { ordinal, writer: None, held: Vec::new(), held_rows: 0, held_bytes: 0 }
    }

    /// Where the next row will lie.
    pub(super) fn next_row(&self) -> RowLocation {
        RowLocation { file: self.ordinal, row: self.rows() as u32 }
    }

    pub(super) fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Rows, with those that wait.
    pub(super) fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, PartWriter::rows) + self.held_rows
    }

    /// Memory that the waiting rows take, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The file, once it is begun.
    pub(super) fn writer(&self) -> Option<&PartWriter> {
        self.writer.as_ref()
    }

    /// As `writer`, to write.
    pub(super) fn writer_mut(&mut self) -> Option<&mut PartWriter> {
        self.writer.as_mut()
    }

    /// Adds rows that wait from now on.
    pub(super) fn hold(&mut self, rows: Vec<ArrayRef>) {
        self.held_rows += rows.first().map_or(0, |array| array.len()) as u64;
        let arrays = rows.iter().map(|array| array.get_array_memory_size()).sum::<usize>();
        self.held_bytes += arrays + rows.capacity() * size_of::<ArrayRef>() + PIECE_BYTES;
        self.held.push(rows);
    }

    /// Writes the rows that wait, and then these with their holes.
    pub(super) fn write(&mut self, rows: Option<(Vec<ArrayRef>, Holes)>, site: &Site<'_>) -> Result<()> {
        let coming = rows.as_ref().map_or(0, |(rows, _)| super::bytes_of(rows));
        let (held, bytes) = (std::mem::take(&mut self.held), std::mem::take(&mut self.held_bytes));
        self.held_rows = 0;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert((site.begin)(bytes + coming)?),
        };
        for rows in held {
            writer.write(rows)?;
        }
        match rows {
            Some((rows, holes)) => holes.write(site.store, site.files, site.columns, rows, writer),
            None => Ok(()),
        }
    }

    /// Ends the file. No row may wait.
    pub(super) fn finish(self) -> Result<Option<NewFile>> {
        self.writer.map(PartWriter::finish).transpose()
    }

    /// The name of the file, if it is begun.
    pub(super) fn into_name(self) -> Option<String> {
        self.writer.map(|writer| writer.name().to_owned())
    }
}
