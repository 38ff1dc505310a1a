//! Rows of a snapshot: what `COPY ... TO STDOUT` sends becomes one change a row. Owns which of the two forms a table
//! is read in; values are read by `typemap`, so that both give the cells that the stream gives. Knows no connection
//! and no snapshot.

mod binary;
mod text;

use crate::catalog::Described;
use std::sync::Arc;
use tidewire_core::batch::{BatchBuilder, ChangeHead, ImageStart};
use tidewire_core::{Error, Op, Result, TableName};

/// How the server writes a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    /// Lines: every type has one.
    Text,
    /// Less work on both sides, where every column's type gives the same cells so.
    Binary,
}

impl CopyFormat {
    /// The cheapest that is exact for the table.
    pub(crate) fn of(table: &Described) -> CopyFormat {
        match table.decoders.iter().all(crate::typemap::ColumnDecoder::reads_binary) {
            true => CopyFormat::Binary,
            false => CopyFormat::Text,
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            CopyFormat::Text => "text",
            CopyFormat::Binary => "binary",
        }
    }

    /// What a `COPY` statement ends with.
    pub(crate) fn options(self) -> &'static str {
        match self {
            CopyFormat::Text => "",
            CopyFormat::Binary => " (FORMAT binary)",
        }
    }
}

/// Turns what is sent of one table into [`Op::Read`] changes.
#[derive(Debug)]
pub(crate) struct SnapshotRows {
    table: Arc<Described>,
    /// Where the snapshot lies in the log.
    offset: u64,
    /// Number of the next row.
    ordinal: u64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Text(text::Lines),
    Binary(binary::Tuples),
}

impl SnapshotRows {
    /// For one table, whose columns the `COPY` must name in the order of its schema. `offset` is the snapshot's
    /// place in the log, `first_ordinal` the number of the first row in the transaction that the caller opens.
    pub(crate) fn new(table: Arc<Described>, format: CopyFormat, offset: u64, first_ordinal: u64) -> SnapshotRows {
        let form = match format {
            CopyFormat::Text => Form::Text(text::Lines::default()),
            CopyFormat::Binary => Form::Binary(binary::Tuples::default()),
        };
        SnapshotRows { table, offset, ordinal: first_ordinal, form }
    }

    /// Number that the next row will have.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Takes the content of one `CopyData` message, which the server never makes longer than one row.
    #[inline]
    pub(crate) fn push_copy_data(&mut self, data: &[u8], builder: &mut BatchBuilder) -> Result<()> {
        let table = builder.table(&self.table.schema);
        let row = match &mut self.form {
            Form::Text(lines) => Some(lines.read(&self.table, data, builder)?),
            Form::Binary(tuples) => tuples.read(&self.table, data, builder)?,
        };
        if let Some(image) = row {
            self.push(table, image, builder);
        }
        Ok(())
    }

    /// Makes sure that nothing is missing at the end.
    pub(crate) fn finish(&self) -> Result<()> {
        match &self.form {
            Form::Binary(tuples) if !tuples.is_complete() => {
                Err(malformed(&self.table.schema.name, "the rows of `COPY` end without their trailer"))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn push(&mut self, table: u32, image: ImageStart, builder: &mut BatchBuilder) {
        let head = ChangeHead { op: Op::Read, ordinal: self.ordinal, offset: self.offset, row: 0 };
        builder.push(head, table, None, Some(image));
        self.ordinal += 1;
    }
}

#[cold]
fn malformed(table: &TableName, message: &str) -> Error {
    Error::operator("snapshot_row_malformed", format!("{message}: table `{table}`"))
        .with_remedy("make sure that nothing altered the table while it was read, then start again")
        .with_table(table.clone())
}

#[cold]
fn too_many(table: &TableName) -> Error {
    malformed(table, "a row of `COPY` has more values than the table has columns")
}

#[cold]
fn too_few(table: &TableName) -> Error {
    malformed(table, "a row of `COPY` has fewer values than the table has columns")
}

#[cfg(test)]
mod tests;
