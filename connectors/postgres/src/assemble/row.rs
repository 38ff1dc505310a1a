//! Rows: inserts, updates and deletes become images of cells. What the log does not carry is unknown, and
//! unknown is never null.

use super::{Applied, Assembler};
use crate::catalog::Described;
use crate::wire::pgoutput::{Datum, DeleteBody, InsertBody, OldTuple, Tuple, UpdateBody};
use tidewire_core::batch::{Before, ImageStart};
use tidewire_core::schema::OldRow;
use tidewire_core::{Cell, Error, Op, Result};

impl Assembler {
    #[inline]
    pub(super) fn insert(&mut self, wal_start: u64, described: &Described, body: &InsertBody<'_>) -> Result<Applied> {
        if self.is_read(body.relation) {
            return self.count_passed();
        }
        let head = self.next_change(Op::Insert, wal_start)?;
        let table = self.builder.table(&described.schema);
        self.old_cells.clear();
        let after = self.new_image(described, &body.new)?;
        self.builder.push(head, table, None, Some(after));
        Ok(Applied::Changed)
    }

    pub(super) fn update(&mut self, wal_start: u64, described: &Described, body: &UpdateBody<'_>) -> Result<Applied> {
        if self.is_read(body.relation) {
            return self.count_passed();
        }
        let head = self.next_change(Op::Update, wal_start)?;
        let table = self.builder.table(&described.schema);
        let before = match &body.old {
            Some(old) => Some(self.old_image(described, body.relation, old)?),
            None => {
                self.old_cells.clear();
                None
            }
        };
        let after = self.new_image(described, &body.new)?;
        self.builder.push(head, table, before, Some(after));
        Ok(Applied::Changed)
    }

    pub(super) fn delete(&mut self, wal_start: u64, described: &Described, body: &DeleteBody<'_>) -> Result<Applied> {
        if self.is_read(body.relation) {
            return self.count_passed();
        }
        let head = self.next_change(Op::Delete, wal_start)?;
        let table = self.builder.table(&described.schema);
        let before = self.old_image(described, body.relation, &body.old)?;
        self.builder.push(head, table, Some(before), None);
        Ok(Applied::Changed)
    }

    /// Writes the old row and keeps its cells for the new one. Of a key tuple only the identity's columns are
    /// the row's; the server sends the others as null, and they are unknown. So is what a partition may not have logged.
    fn old_image(&mut self, described: &Described, table: u32, old: &OldTuple<'_>) -> Result<(Before, ImageStart)> {
        let (kind, tuple) = match old {
            OldTuple::Key(tuple) => (Before::Key, tuple),
            // A table whose identity became full is described anew only when one of its partitions is.
            OldTuple::Full(tuple) if described.schema.old_row != OldRow::Full => (Before::Key, tuple),
            OldTuple::Full(tuple) => (Before::Full, tuple),
        };
        check_width(described, tuple)?;
        let unknown = self.leaves.unknown(table, tuple);
        let is_unknown = |index: usize| unknown.as_ref().is_some_and(|unknown| unknown.get(index) == Some(&true));
        if described.schema.key.iter().any(|index| is_unknown(*index)) {
            return Err(keyless(described));
        }
        let kind = if unknown.is_some() { Before::Key } else { kind };
        self.old_cells.clear();
        let start = self.builder.image();
        for (index, datum) in tuple.iter().enumerate() {
            let carried = (kind == Before::Full || described.identity.get(index) == Some(&true)) && !is_unknown(index);
            let cell = if carried { self.cell(described, index, datum)? } else { Cell::UNKNOWN };
            self.builder.cell(cell);
            self.old_cells.push(cell);
        }
        Ok((kind, start))
    }

    /// Writes the new row. A TOASTed value that did not change is not in it: it is taken from the old row where
    /// that has it (PG-33, PG-34) and is unknown otherwise (PG-30).
    #[inline]
    fn new_image(&mut self, described: &Described, tuple: &Tuple<'_>) -> Result<ImageStart> {
        check_width(described, tuple)?;
        let start = self.builder.image();
        for (index, datum) in tuple.iter().enumerate() {
            let cell = match datum {
                Datum::Unchanged => self.old_cells.get(index).copied().unwrap_or(Cell::UNKNOWN),
                datum => self.cell(described, index, datum)?,
            };
            self.builder.cell(cell);
        }
        Ok(start)
    }

    #[inline]
    fn cell(&mut self, described: &Described, index: usize, datum: Datum<'_>) -> Result<Cell> {
        let text = match datum {
            Datum::Text(text) => text,
            Datum::Null => return Ok(Cell::NULL),
            Datum::Unchanged => return Ok(Cell::UNKNOWN),
            Datum::Binary(_) => return Err(binary(described)),
        };
        let decoder = described.decoders.get(index).ok_or_else(|| binary(described))?;
        decoder.decode(text, &mut self.builder, &mut self.scratch).map_err(|cause| described.unreadable(index, cause))
    }
}

#[inline]
fn check_width(described: &Described, tuple: &Tuple<'_>) -> Result<()> {
    let columns = described.decoders.len();
    if tuple.len() == columns {
        return Ok(());
    }
    let name = &described.schema.name;
    let message = format!("a row of table `{name}` has {} columns, its description {columns}", tuple.len());
    Err(Error::operator("column_count_mismatch", message)
        .with_remedy("restart the source; if it comes again, report the server's version")
        .with_table(name.clone()))
}

/// An old row of a partition whose replica identity has other columns than the table's.
#[cold]
fn keyless(described: &Described) -> Error {
    let name = &described.schema.name;
    let message = format!("a partition of table `{name}` did not log the key of a row that was changed");
    Error::operator("partition_identity", message)
        .with_remedy(
            "give the partitions the table's replica identity (`tidewire check` names the statements) and the sinks new names \
             (and a Delta sink a new location), which reads the tables anew",
        )
        .with_table(name.clone())
}

#[cold]
fn binary(described: &Described) -> Error {
    let name = &described.schema.name;
    Error::operator("binary_value", format!("a row of table `{name}` comes in binary form, which was not asked for"))
        .with_remedy("report the server's version")
        .with_table(name.clone())
}
