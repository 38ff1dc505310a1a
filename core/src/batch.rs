//! The batch: an ordered run of changes of one source that moves through the daemon as a unit.
//! Allocates per batch; a change or a cell never allocates.

mod spare;

use crate::calendar::Interval;
use crate::cell::{Cell, Constant, Dimension, Span, Tag, interval_bytes};
use crate::position::{Mark, Position};
use crate::schema::TableSchema;
use crate::source::SourceDescriptor;
use spare::{Buffers, Spares};
use std::sync::Arc;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A row was inserted.
    Insert,
    /// A row was updated.
    Update,
    /// A row was deleted.
    Delete,
    /// A table was emptied.
    Truncate,
    /// An existing row was read by a snapshot.
    Read,
    /// A snapshot of a table begins; its rows follow.
    SnapshotStart,
    /// The snapshot of a table is whole.
    SnapshotEnd,
    /// A free message in the log; see [`Batch::message`].
    Message,
    /// The table has a new version from here on.
    Schema,
    /// A statement of the log that changed the shapes of tables; see [`Batch::ddl`].
    Ddl,
}

/// Whether a batch carries existing rows or the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Existing rows.
    Snapshot,
    /// The log.
    Stream,
}

/// A source transaction, or the part of one that lies in a batch.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The source's id of it, as people know it (an xid, a GTID).
    pub id: Arc<str>,
    /// Place of its commit in the log: `Mark::major` of all its changes.
    pub commit: u64,
    /// When it was committed, in microseconds since 1970 by the source's clock.
    pub commit_time_micros: i64,
    /// Place where the transaction before it ended, if known.
    pub previous_commit: Option<u64>,
    /// Values for the descriptor's transaction-wide provenance fields, in their order.
    pub provenance: Vec<Provenance>,
}

/// A value of a provenance field, see [`SourceDescriptor::provenance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Not known for this transaction.
    Absent,
    /// An integer.
    Int(i64),
    /// A text.
    Text(Arc<str>),
}

const NO_IMAGE: u32 = u32::MAX;
/// `Change::table` of a change that belongs to no table.
pub const NO_TABLE: u32 = u32::MAX;

/// How much of the old row a change carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Absent,
    /// The key's columns; all others are unknown.
    Key,
    /// The whole row.
    Full,
}

/// One change: fixed size, its cells lie in the batch.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// What happened.
    pub op: Op,
    /// How much of the old row there is.
    pub before_kind: Before,
    /// Index into `Batch::tables`, or [`NO_TABLE`].
    pub table: u32,
    /// Index into `Batch::transactions`.
    pub transaction: u32,
    /// Number of this change in its transaction, from 1. With the transaction's id it is unique.
    pub ordinal: u64,
    /// Byte offset of the change in the log (an LSN, a binlog position).
    pub offset: u64,
    /// Number of the row within its log event, from 0.
    pub row: u32,
    before: u32,
    after: u32,
}

/// A statement that changed the shapes of tables, as the log has it. All parts are UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ddl<'a> {
    /// The database that it ran in.
    pub database: &'a [u8],
    /// Names of the tables that it touched, comma-joined; empty when it touched none.
    pub tables: &'a [u8],
    /// Its text.
    pub statement: &'a [u8],
    /// What became of the tables: the JSON of an array in Debezium's form of `tableChanges`, `[]` for nothing.
    pub table_changes: &'a [u8],
}

/// An ordered run of changes of one source.
#[derive(Debug)]
pub struct Batch {
    /// Where it comes from.
    pub source: Arc<SourceDescriptor>,
    /// Existing rows, or the log.
    pub phase: Phase,
    /// Where to resume once everything up to here is durable. `None` during a snapshot, whose progress
    /// is kept per table.
    pub position: Option<Position>,
    /// Whether `position` lies on a transaction's end.
    pub boundary: bool,
    /// When the daemon had read it, in microseconds since 1970.
    pub received_micros: i64,
    /// The changes in the log's order.
    pub changes: Vec<Change>,
    /// The table versions that the changes use.
    pub tables: Vec<Arc<TableSchema>>,
    /// The transactions that the changes belong to, in commit order.
    pub transactions: Vec<Transaction>,
    cells: Vec<Cell>,
    arena: Vec<u8>,
    spares: Arc<Spares>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.spares.keep(Buffers {
            changes: std::mem::take(&mut self.changes),
            cells: std::mem::take(&mut self.cells),
            arena: std::mem::take(&mut self.arena),
        });
    }
}

impl Batch {
    /// The bytes that long cells point into.
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The schema of a change's table.
    pub fn table(&self, change: &Change) -> Option<&Arc<TableSchema>> {
        self.tables.get(change.table as usize)
    }

    /// The transaction of a change.
    pub fn transaction(&self, change: &Change) -> Option<&Transaction> {
        self.transactions.get(change.transaction as usize)
    }

    /// The place right after a change.
    pub fn mark(&self, change: &Change) -> Mark {
        Mark { major: self.transaction(change).map_or(0, |t| t.commit), minor: change.ordinal }
    }

    /// The old row: one cell per column of the table.
    pub fn before(&self, change: &Change) -> Option<&[Cell]> {
        self.image(change, change.before)
    }

    /// The new row: one cell per column of the table.
    pub fn after(&self, change: &Change) -> Option<&[Cell]> {
        self.image(change, change.after)
    }

    /// Prefix and content of a log message.
    pub fn message(&self, change: &Change) -> Option<(&[u8], &[u8])> {
        if change.op != Op::Message {
            return None;
        }
        let start = change.after as usize;
        match self.cells.get(start..start + 2)? {
            [prefix, content] => Some((prefix.bytes(&self.arena), content.bytes(&self.arena))),
            _ => None,
        }
    }

    /// The statement of a change of [`Op::Ddl`].
    pub fn ddl(&self, change: &Change) -> Option<Ddl<'_>> {
        if change.op != Op::Ddl {
            return None;
        }
        let start = change.after as usize;
        let [database, tables, statement, table_changes] = self.cells.get(start..start.checked_add(4)?)? else {
            return None;
        };
        let bytes = |cell: &Cell| cell.bytes(&self.arena);
        Some(Ddl {
            database: bytes(database),
            tables: bytes(tables),
            statement: bytes(statement),
            table_changes: bytes(table_changes),
        })
    }

    /// Memory that the batch holds, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.arena.len() + self.cells.len() * size_of::<Cell>() + self.changes.len() * size_of::<Change>()
    }

    fn image(&self, change: &Change, start: u32) -> Option<&[Cell]> {
        if start == NO_IMAGE {
            return None;
        }
        let columns = self.table(change)?.columns.len();
        self.cells.get(start as usize..start as usize + columns)
    }
}

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Most changes.
    pub changes_max: usize,
    /// Most bytes of cells and arena together; a single larger row still makes a batch of its own.
    pub bytes_max: usize,
}

impl Default for BatchLimits {
    fn default() -> BatchLimits {
        BatchLimits { changes_max: 8_192, bytes_max: 2 << 20 }
    }
}

/// A row image that has been started in a [`BatchBuilder`].
#[derive(Clone, Copy, Debug)]
pub struct ImageStart(u32);

/// The part of a [`Change`] that a source states; the builder adds the rest.
#[derive(Clone, Copy, Debug)]
pub struct ChangeHead {
    /// What happened.
    pub op: Op,
    /// Number in the transaction, from 1.
    pub ordinal: u64,
    /// Byte offset in the log.
    pub offset: u64,
    /// Number of the row within its log event.
    pub row: u32,
}

/// Fills one batch after another. The source writes cells straight into it.
#[derive(Debug)]
pub struct BatchBuilder {
    source: Arc<SourceDescriptor>,
    limits: BatchLimits,
    phase: Phase,
    changes: Vec<Change>,
    tables: Vec<Arc<TableSchema>>,
    transactions: Vec<Transaction>,
    cells: Vec<Cell>,
    arena: Vec<u8>,
    /// Whether the batch before ended inside a transaction.
    begins_inside: bool,
    spares: Arc<Spares>,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new(source: Arc<SourceDescriptor>, phase: Phase, limits: BatchLimits) -> BatchBuilder {
        BatchBuilder {
            source,
            limits,
            phase,
            changes: Vec::new(),
            tables: Vec::new(),
            transactions: Vec::new(),
            cells: Vec::new(),
            arena: Vec::new(),
            begins_inside: false,
            spares: Arc::default(),
        }
    }

    /// Lets a reader of values make a cell, and takes it out of any batch.
    ///
    /// # Errors
    /// The reader's.
    pub fn constant<E>(make: impl FnOnce(&mut BatchBuilder) -> Result<Cell, E>) -> Result<Constant, E> {
        let nobody = SourceDescriptor {
            name: Arc::from(""),
            connector: "",
            database: Arc::from(""),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: None,
        };
        let mut builder = BatchBuilder::new(Arc::new(nobody), Phase::Stream, BatchLimits::default());
        let cell = make(&mut builder)?;
        Ok(Constant::new(cell, &builder.arena))
    }

    /// The batch's number for a table version. Cheap when it is the one used last.
    pub fn table(&mut self, schema: &Arc<TableSchema>) -> u32 {
        let known = self.tables.iter().rposition(|known| Arc::ptr_eq(known, schema));
        known.unwrap_or_else(|| {
            self.tables.push(Arc::clone(schema));
            self.tables.len() - 1
        }) as u32
    }

    /// Opens a transaction; the changes pushed from here on belong to it. A transaction that goes on in
    /// the next batch is opened there again.
    pub fn transaction(&mut self, transaction: Transaction) {
        self.transactions.push(transaction);
    }

    /// Takes back the transaction opened last if no change has been pushed since.
    pub fn drop_empty_transaction(&mut self) {
        let last = self.transactions.len().wrapping_sub(1);
        if self.changes.last().is_none_or(|change| change.transaction as usize != last) {
            self.transactions.pop();
        }
    }

    /// Starts a row image: exactly one `cell` for each column of its table must follow.
    pub fn image(&mut self) -> ImageStart {
        ImageStart(self.cells.len() as u32)
    }

    /// Adds the next cell of the image that was started last.
    pub fn cell(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// Copies bytes into the arena.
    pub fn span(&mut self, bytes: &[u8]) -> Span {
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Span { offset, length: bytes.len() as u32 }
    }

    /// Copies a long value into the arena and makes its cell; the image still needs it as `cell`.
    pub fn long(&mut self, tag: Tag, bytes: &[u8]) -> Cell {
        Cell::in_arena(tag, self.span(bytes))
    }

    /// Lets a writer append a long value to the arena and makes its cell.
    pub fn long_with(&mut self, tag: Tag, write: impl FnOnce(&mut Vec<u8>)) -> Cell {
        let offset = self.arena.len() as u32;
        write(&mut self.arena);
        Cell::in_arena(tag, Span { offset, length: self.arena.len() as u32 - offset })
    }

    /// Makes the cell of an interval.
    pub fn interval(&mut self, value: Interval) -> Cell {
        self.long(Tag::Interval, &interval_bytes(value))
    }

    /// Makes the cell of an array from the database's text, its dimensions and its elements (row-major;
    /// long elements must already lie in this arena).
    pub fn array(&mut self, text: &[u8], dimensions: &[Dimension], elements: &[Cell]) -> Cell {
        self.long_with(Tag::Array, |arena| {
            arena.extend_from_slice(&(text.len() as u32).to_le_bytes());
            arena.extend_from_slice(text);
            arena.extend_from_slice(&(dimensions.len() as u32).to_le_bytes());
            for dimension in dimensions {
                arena.extend_from_slice(&dimension.length.to_le_bytes());
                arena.extend_from_slice(&dimension.lower.to_le_bytes());
            }
            for element in elements {
                arena.extend_from_slice(&element.to_bytes());
            }
        })
    }

    /// Adds a change of a table. The images must have been written since the last change.
    pub fn push(
        &mut self,
        head: ChangeHead,
        table: u32,
        before: Option<(Before, ImageStart)>,
        after: Option<ImageStart>,
    ) {
        self.changes.push(Change {
            op: head.op,
            before_kind: before.map_or(Before::Absent, |(kind, _)| kind),
            table,
            transaction: self.transactions.len().wrapping_sub(1) as u32,
            ordinal: head.ordinal,
            offset: head.offset,
            row: head.row,
            before: before.map_or(NO_IMAGE, |(_, start)| start.0),
            after: after.map_or(NO_IMAGE, |start| start.0),
        });
    }

    /// Adds a log message.
    pub fn push_message(&mut self, head: ChangeHead, prefix: &[u8], content: &[u8]) {
        let start = self.image();
        let prefix = self.long(Tag::Text, prefix);
        let content = self.long(Tag::Bytes, content);
        self.cell(prefix);
        self.cell(content);
        self.push(ChangeHead { op: Op::Message, ..head }, NO_TABLE, None, Some(start));
    }

    /// Adds a statement that changed the shapes of tables. The changes of [`Op::Schema`] that follow from it, if any,
    /// are pushed by themselves.
    pub fn push_ddl(&mut self, head: ChangeHead, ddl: &Ddl<'_>) {
        let start = self.image();
        let tags = [Tag::Text, Tag::Text, Tag::Text, Tag::Json];
        for (tag, part) in tags.into_iter().zip([ddl.database, ddl.tables, ddl.statement, ddl.table_changes]) {
            let cell = self.long(tag, part);
            self.cell(cell);
        }
        self.push(ChangeHead { op: Op::Ddl, ..head }, NO_TABLE, None, Some(start));
    }

    /// Whether the batch should be finished before more is added.
    pub fn is_full(&self) -> bool {
        self.changes.len() >= self.limits.changes_max || self.size_bytes() >= self.limits.bytes_max
    }

    /// The same where a transaction has just ended. Batches filled to the brim would nearly all end inside of one, and a sink
    /// that makes whole transactions visible could not commit for as long as there is a backlog: so one that is half full, or
    /// that began inside a transaction, ends here.
    pub fn is_full_at_boundary(&self) -> bool {
        let half = self.changes.len() >= self.limits.changes_max / 2 || self.size_bytes() >= self.limits.bytes_max / 2;
        !self.is_empty() && (half || self.begins_inside)
    }

    /// Bytes held so far.
    pub fn size_bytes(&self) -> usize {
        self.arena.len() + self.cells.len() * size_of::<Cell>()
    }

    /// Number of changes so far.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Takes back the changes from the `from`-th on, but those that are to be kept. What they point to stays in memory
    /// until the batch is finished.
    pub fn retract(&mut self, from: usize, keep: impl Fn(&Change) -> bool) {
        let mut index = 0;
        self.changes.retain(|change| {
            index += 1;
            index <= from || keep(change)
        });
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Hands out what was added and starts anew. `boundary` says whether `position` lies on a
    /// transaction's end; `received_micros` is now, in microseconds since 1970.
    pub fn finish(&mut self, position: Option<Position>, boundary: bool, received_micros: i64) -> Batch {
        // The next batch will be much like this one: ask for its memory in one piece.
        let next = |length: usize| length + length / 8;
        self.begins_inside = !boundary;
        let mut fresh = self.spares.take();
        fresh.reserve(next(self.changes.len()), next(self.cells.len()), next(self.arena.len()));
        Batch {
            source: Arc::clone(&self.source),
            phase: self.phase,
            position,
            boundary,
            received_micros,
            changes: std::mem::replace(&mut self.changes, fresh.changes),
            tables: std::mem::take(&mut self.tables),
            transactions: std::mem::take(&mut self.transactions),
            cells: std::mem::replace(&mut self.cells, fresh.cells),
            arena: std::mem::replace(&mut self.arena, fresh.arena),
            spares: Arc::clone(&self.spares),
        }
    }
}

#[cfg(test)]
mod tests;
