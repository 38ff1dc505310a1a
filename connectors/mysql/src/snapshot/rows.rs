//! From the rows of a prepared statement to cells. See "Binary Protocol Resultset Row" in the protocol's manual.

use crate::error::protocol;
use crate::model::{ColumnDef, Flavour};
use crate::typemap::{Decoder, Scratch, ValueError, ZeroDates};
use crate::wire::answer::ResultColumn;
use tidewire_core::batch::{BatchBuilder, ImageStart};
use tidewire_core::{Cell, Error, Result, TableName, TableSchema};

/// First bits of a row's null bitmap that stand for no column.
const NULL_BITS_BEFORE: usize = 2;

/// Reads the rows of one table.
pub(super) struct Rows {
    /// Of the shape's columns.
    decoders: Vec<Decoder>,
    scratch: Scratch,
}

impl Rows {
    /// From what the server says of the result beside the table's definition.
    pub(super) fn new(
        table: &TableName,
        shown: &[&ColumnDef],
        columns: &[ResultColumn],
        flavour: Flavour,
        zero: ZeroDates,
    ) -> Result<Rows> {
        if columns.len() != shown.len() {
            return Err(protocol(format!("table `{table}` is read with {} columns", columns.len())));
        }
        let decoder = |(column, result): (&&ColumnDef, &ResultColumn)| {
            Decoder::for_result(column, result.kind, result.flags, flavour, zero).map_err(|cause| {
                Error::retry("snapshot_table_changed", format!("read table `{table}`")).with_cause(cause)
            })
        };
        let decoders = shown.iter().zip(columns).map(decoder).collect::<Result<Vec<_>>>()?;
        Ok(Rows { decoders, scratch: Scratch::default() })
    }

    /// Makes the image of a row.
    #[inline]
    pub(super) fn image(&mut self, row: &[u8], table: &TableSchema, builder: &mut BatchBuilder) -> Result<ImageStart> {
        let bits = (self.decoders.len() + NULL_BITS_BEFORE).div_ceil(8);
        let (Some((0, rest)), true) = (row.split_first(), row.len() > bits) else {
            return Err(protocol("a row that is none of the binary protocol"));
        };
        let (nulls, mut input) = rest.split_at(bits);
        let start = builder.image();
        for (index, decoder) in self.decoders.iter().enumerate() {
            let bit = index + NULL_BITS_BEFORE;
            let is_null = nulls.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 != 0);
            let cell = match is_null {
                true => Cell::NULL,
                false => decoder
                    .decode(&mut input, builder, &mut self.scratch)
                    .map_err(|cause| unreadable(table, index, cause))?,
            };
            builder.cell(cell);
        }
        match input.is_empty() {
            true => Ok(start),
            false => Err(protocol("a row is longer than its values")),
        }
    }
}

#[cold]
fn unreadable(table: &TableSchema, index: usize, cause: ValueError) -> Error {
    let column = table.columns.get(index).map_or("?", |column| &column.name);
    let message = format!("column `{column}` of a row of table `{}`", table.name);
    Error::operator("value_unreadable", message).with_remedy(cause.remedy()).with_cause(cause)
}
