//! Rows: row images become images of cells. What the log does not carry is unknown, and unknown is never null.

use super::binding::{Binding, Captured, Slot};
use super::{Applied, Assembler};
use crate::binlog::{Bitmap, DecodeError, ImageHeader, RowsEvent, RowsKind, count_rows_in, skip_value};
use crate::json;
use crate::typemap::{Scratch, ValueError};
use std::sync::Arc;
use tidewire_core::batch::{BatchBuilder, Before, ChangeHead, ImageStart};
use tidewire_core::cell::Tag;
use tidewire_core::schema::KeyKind;
use tidewire_core::{Cell, Error, Op, Result};

/// Most bytes of an event whose rows no batch divides; servers end an event after 8 KiB, unless they are told otherwise.
const UNDIVIDED_MAX: usize = 1 << 20;

/// Number of the type JSON in table maps.
const JSON: u8 = 245;

/// Rows of an event that wait for the next batch.
pub(super) struct Rest {
    binding: Arc<Binding>,
    kind: RowsKind,
    partial: bool,
    width: usize,
    before: Vec<u8>,
    after: Vec<u8>,
    rows: Vec<u8>,
    at: usize,
    row: u32,
}

/// The rows of one event, from some row on.
#[derive(Clone, Copy)]
struct Rows<'a> {
    kind: RowsKind,
    partial: bool,
    before: Bitmap<'a>,
    after: Bitmap<'a>,
    bytes: &'a [u8],
    row: u32,
    /// A row comes that takes no bytes.
    unnamed: bool,
}

impl<'a> Rows<'a> {
    fn of(event: &RowsEvent<'a>, bytes: &'a [u8], row: u32) -> Rows<'a> {
        let RowsEvent { kind, partial, before, after, .. } = *event;
        Rows { kind, partial, before, after, bytes, row, unnamed: false }
    }
}

/// Why a row cannot be read.
enum Fault {
    Row(DecodeError),
    Value(usize, ValueError),
    Json(usize, json::JsonError),
}

impl From<DecodeError> for Fault {
    fn from(cause: DecodeError) -> Fault {
        Fault::Row(cause)
    }
}

impl Assembler {
    #[inline]
    pub(super) fn rows(&mut self, event: &RowsEvent<'_>) -> Result<Applied> {
        match &self.open {
            None => return Err(self.out_of_order("rows without a transaction")),
            Some(group) if group.skipped || group.preparing => return Ok(Applied::Nothing),
            Some(_) => {}
        }
        if event.is_dummy() {
            return Ok(Applied::Nothing);
        }
        let Some(binding) = self.bindings.get(&event.table_id) else {
            return Err(self.out_of_order(&format!("rows of table {} without a map of it", event.table_id)));
        };
        let binding = Arc::clone(binding);
        if !event.compressed {
            return self.images(&binding, event, event.rows);
        }
        // Taken out while its buffer is read.
        let mut inflater = self.inflater.take().unwrap_or_else(super::inflater);
        let applied = match inflater.rows(event) {
            Ok(bytes) => self.images(&binding, event, bytes),
            Err(cause) => Err(self.undecodable(cause)),
        };
        self.inflater = Some(inflater);
        applied
    }

    fn images(&mut self, binding: &Arc<Binding>, event: &RowsEvent<'_>, bytes: &[u8]) -> Result<Applied> {
        self.touch_rows(binding);
        if event.names_nothing() {
            return self.unnamed(binding, event, bytes);
        }
        let Some(captured) = &binding.captured else {
            let count = count_rows_in(event, bytes, &binding.map).map_err(|cause| self.undecodable(cause))?;
            self.group()?.ordinal += count;
            self.payload_rows = self.payload_rows.wrapping_add(count as u32);
            return Ok(Applied::Nothing);
        };
        if event.width != captured.slots.len() {
            return Err(self.out_of_order("rows with another number of columns than their map"));
        }
        let rows = Rows::of(event, bytes, self.payload_rows);
        let left = self.walk(captured, binding, rows)?;
        if left.bytes.is_empty() {
            self.payload_rows = left.row;
        } else {
            self.rest = Some(Rest {
                binding: Arc::clone(binding),
                kind: event.kind,
                partial: event.partial,
                width: event.width,
                before: event.before.bytes().to_vec(),
                after: event.after.bytes().to_vec(),
                rows: left.bytes.to_vec(),
                at: 0,
                row: left.row,
            });
        }
        Ok(Applied::Changed)
    }

    /// A row that took no bytes (MY-20). How many they were the event does not tell: with a key there can be only one, for
    /// each would have the default of that key.
    #[cold]
    fn unnamed(&mut self, binding: &Binding, event: &RowsEvent<'_>, bytes: &[u8]) -> Result<Applied> {
        if event.kind != RowsKind::Insert || !bytes.is_empty() {
            return Err(self.undecodable(DecodeError::Image { problem: "rows follow that have no columns" }));
        }
        let Some(captured) = &binding.captured else {
            self.group()?.ordinal += 1;
            self.payload_rows = self.payload_rows.wrapping_add(1);
            return Ok(Applied::Nothing);
        };
        if captured.schema.key_kind == KeyKind::None {
            let name = &captured.schema.name;
            let message = format!(
                "rows were inserted into table `{name}` before `{}` that name no column, and without a key the log does not \
                 tell how many",
                self.here()
            );
            return Err(Error::operator("rows_uncounted", message)
                .with_remedy(
                    "SET GLOBAL binlog_row_image = 'FULL'; then give the sinks new names (and a Delta sink a new location), \
                     which reads the tables anew; or take the table out with \"!\" in `tables`",
                )
                .with_table(name.clone()));
        }
        let left = self.walk(captured, binding, Rows { unnamed: true, ..Rows::of(event, bytes, self.payload_rows) })?;
        self.payload_rows = left.row;
        Ok(Applied::Changed)
    }

    /// Whether rows of an event wait.
    pub(crate) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Goes on with the rows that did not fit the last batch; false when there are none.
    pub(crate) fn continue_rest(&mut self) -> Result<bool> {
        let Some(mut rest) = self.rest.take() else { return Ok(false) };
        let binding = Arc::clone(&rest.binding);
        let Some(captured) = &binding.captured else { return Ok(false) };
        let rows = Rows {
            kind: rest.kind,
            partial: rest.partial,
            before: Bitmap::new(&rest.before, if rest.before.is_empty() { 0 } else { rest.width }),
            after: Bitmap::new(&rest.after, if rest.after.is_empty() { 0 } else { rest.width }),
            bytes: rest.rows.get(rest.at..).unwrap_or_default(),
            row: rest.row,
            unnamed: false,
        };
        let left = self.walk(captured, &binding, rows)?;
        let (row, waiting) = (left.row, left.bytes.len());
        if waiting == 0 {
            self.payload_rows = row;
            return Ok(true);
        }
        rest.at = rest.rows.len() - waiting;
        rest.row = row;
        self.rest = Some(rest);
        Ok(true)
    }

    /// Makes changes of rows until the batch is full; hands back what is left.
    ///
    /// A replica of MySQL looks for all rows of an event at once where no key leads to them, and logs them in the order in
    /// which it meets them (`HASH_SCAN`). A place after some of them would mean others in its log, so there is none.
    fn walk<'a>(&mut self, captured: &Captured, binding: &Binding, mut rows: Rows<'a>) -> Result<Rows<'a>> {
        let offset = self.event_start;
        let table = self.builder.table(&captured.schema);
        let group = self.open_transaction()?;
        group.note_rows(table, captured.transactional);
        let mut ordinal = group.ordinal;
        let is_found_by_values = captured.schema.key_kind == KeyKind::None && rows.kind != RowsKind::Insert;
        let is_undivided = is_found_by_values && rows.bytes.len() <= UNDIVIDED_MAX;
        let mut walker = Walker {
            builder: &mut self.builder,
            scratch: &mut self.scratch,
            old: &mut self.old_cells,
            slots: &captured.slots,
            json_columns: binding.map.json_columns,
            rows,
            before_is_whole: is_whole(&captured.slots, rows.before),
            before_count: rows.before.count(),
            after_count: rows.after.count(),
        };
        let walked = loop {
            let is_unnamed = std::mem::take(&mut walker.rows.unnamed);
            if !is_unnamed && (walker.rows.bytes.is_empty() || !is_undivided && walker.builder.is_full()) {
                break Ok(());
            }
            ordinal += 1;
            let row = walker.rows.row;
            let op = match rows.kind {
                RowsKind::Insert => Op::Insert,
                RowsKind::Update => Op::Update,
                RowsKind::Delete => Op::Delete,
            };
            let head = ChangeHead { op, ordinal, offset, row };
            if let Err(fault) = walker.row(head, table) {
                break Err(fault);
            }
            walker.rows.row = row.wrapping_add(1);
        };
        rows = walker.rows;
        self.group()?.ordinal = ordinal;
        match walked {
            Ok(()) => Ok(rows),
            Err(fault) => Err(self.unreadable(captured, fault)),
        }
    }

    #[cold]
    fn unreadable(&self, captured: &Captured, fault: Fault) -> Error {
        let name = &captured.schema.name;
        let column = |index: usize| {
            let visible = captured.slots.iter().take(index).filter(|slot| slot.decoder.is_some()).count();
            captured.schema.columns.get(visible).map_or("?", |column| &column.name).to_owned()
        };
        let (message, cause): (String, Box<dyn std::error::Error + Send + Sync>) = match fault {
            Fault::Row(cause) => (format!("a row of table `{name}` before `{}`", self.here()), Box::new(cause)),
            Fault::Value(index, cause) => {
                let message = format!("column `{}` of a row of table `{name}` before `{}`", column(index), self.here());
                let (remedy, name) = (cause.remedy(), name.clone());
                let error = Error::operator("value_unreadable", message).with_remedy(remedy);
                return error.with_table(name).with_cause(cause);
            }
            Fault::Json(index, cause) => (
                format!("column `{}` of a row of table `{name}` before `{}`", column(index), self.here()),
                Box::new(cause),
            ),
        };
        Error::operator("value_unreadable", message)
            .with_remedy("report the server's version; or take the table out with \"!\" in `tables`")
            .with_table(name.clone())
            .with_cause(cause)
    }
}

/// Walks rows; apart from the assembler so that its parts can be borrowed at once.
struct Walker<'w, 'a> {
    builder: &'w mut BatchBuilder,
    scratch: &'w mut Scratch,
    /// Cells of the image before, for what the one after lacks.
    old: &'w mut Vec<Cell>,
    slots: &'w [Slot],
    json_columns: usize,
    rows: Rows<'a>,
    /// Whether the old rows have every column of the shape.
    before_is_whole: bool,
    before_count: usize,
    after_count: usize,
}

fn is_whole(slots: &[Slot], present: Bitmap<'_>) -> bool {
    present.count() == slots.len()
        || slots.iter().enumerate().all(|(index, slot)| slot.decoder.is_none() || present.get(index))
}

impl<'a> Walker<'_, 'a> {
    #[inline]
    fn row(&mut self, head: ChangeHead, table: u32) -> Result<(), Fault> {
        match self.rows.kind {
            RowsKind::Insert => {
                self.old.clear();
                let after = self.after(true)?;
                self.builder.push(head, table, None, Some(after));
            }
            RowsKind::Update => {
                let before_bytes = self.rows.bytes;
                let before = self.before()?;
                let after = match self.rows.partial {
                    true => self.partial_after(before_bytes)?,
                    false => self.after(false)?,
                };
                self.builder.push(head, table, Some(before), Some(after));
            }
            RowsKind::Delete => {
                let before = self.before()?;
                self.builder.push(head, table, Some(before), None);
            }
        }
        Ok(())
    }

    /// The old row. It is whole, or has at least the key (MY-20, MY-23).
    fn before(&mut self) -> Result<(Before, ImageStart), Fault> {
        let every = self.before_count == self.slots.len();
        let start = self.builder.image();
        self.old.clear();
        let image = ImageHeader::read(&mut self.rows.bytes, self.rows.before, self.before_count)?;
        let mut slot = 0;
        for (index, column) in self.slots.iter().enumerate() {
            let present = every || self.rows.before.get(index);
            let is_null = present && image.is_null(slot);
            slot += usize::from(present);
            let cell = match (present, is_null) {
                (false, _) => Cell::UNKNOWN,
                (true, true) => Cell::NULL,
                (true, false) => match value(column, &mut self.rows.bytes, self.builder, self.scratch, index)? {
                    Some(cell) => cell,
                    None => continue,
                },
            };
            if column.decoder.is_some() {
                self.builder.cell(cell);
                self.old.push(cell);
            }
        }
        Ok((if self.before_is_whole { Before::Full } else { Before::Key }, start))
    }

    /// The new row. A column that is not in it has the value of the old row where that is known, and is unknown otherwise;
    /// what an insert does not name is what the server puts there, where the definition tells that.
    #[inline]
    fn after(&mut self, insert: bool) -> Result<ImageStart, Fault> {
        let start = self.builder.image();
        let image = ImageHeader::read(&mut self.rows.bytes, self.rows.after, self.after_count)?;
        if self.after_count == self.slots.len() {
            let nulls = image.has_nulls();
            for (index, column) in self.slots.iter().enumerate() {
                if nulls && image.is_null(index) {
                    if column.decoder.is_some() {
                        self.builder.cell(Cell::NULL);
                    }
                    continue;
                }
                if let Some(cell) = value(column, &mut self.rows.bytes, self.builder, self.scratch, index)? {
                    self.builder.cell(cell);
                }
            }
            return Ok(start);
        }
        self.sparse(&image, insert)?;
        Ok(start)
    }

    fn sparse(&mut self, image: &ImageHeader<'a>, insert: bool) -> Result<(), Fault> {
        let (mut slot, mut shown) = (0, 0);
        for (index, column) in self.slots.iter().enumerate() {
            let cell = if self.rows.after.get(index) {
                slot += 1;
                match image.is_null(slot - 1) {
                    true => Some(Cell::NULL),
                    false => value(column, &mut self.rows.bytes, self.builder, self.scratch, index)?,
                }
            } else {
                Some(self.absent(column, index, shown, insert)?)
            };
            if column.decoder.is_some() {
                self.builder.cell(cell.unwrap_or(Cell::UNKNOWN));
                shown += 1;
            }
        }
        Ok(())
    }

    fn absent(&mut self, column: &Slot, index: usize, shown: usize, insert: bool) -> Result<Cell, Fault> {
        match insert {
            true => column.absent.cell(self.builder, self.scratch).map_err(|cause| Fault::Value(index, cause)),
            false => Ok(self.old.get(shown).copied().unwrap_or(Cell::UNKNOWN)),
        }
    }

    /// The new row of an update that tells of JSON columns only how they differ (MY-32). `before` starts at the old row.
    fn partial_after(&mut self, before: &'a [u8]) -> Result<ImageStart, Fault> {
        let start = self.builder.image();
        let image =
            ImageHeader::read_partial(&mut self.rows.bytes, self.rows.after, self.after_count, self.json_columns)?;
        let (mut slot, mut shown, mut document) = (0, 0, 0);
        for (index, column) in self.slots.iter().enumerate() {
            let is_json = column.wire.wire == JSON;
            let differs = is_json && image.is_partial(document);
            document += usize::from(is_json);
            let cell = if !self.rows.after.get(index) {
                Some(self.absent(column, index, shown, false)?)
            } else {
                slot += 1;
                match (image.is_null(slot - 1), differs) {
                    (true, _) => Some(Cell::NULL),
                    (false, true) => Some(self.patched(before, index, column)?),
                    (false, false) => value(column, &mut self.rows.bytes, self.builder, self.scratch, index)?,
                }
            };
            if column.decoder.is_some() {
                self.builder.cell(cell.unwrap_or(Cell::UNKNOWN));
                shown += 1;
            }
        }
        Ok(start)
    }

    /// A document out of the one before and its differences. Without the one before it is unknown.
    fn patched(&mut self, before: &'a [u8], index: usize, column: &Slot) -> Result<Cell, Fault> {
        let differences = framed(&mut self.rows.bytes, column)?;
        let Some(document) = self.document_before(before, index)? else { return Ok(Cell::UNKNOWN) };
        let mut patched = Ok(());
        let cell = self.builder.long_with(Tag::Json, |out| patched = json::write_patched(document, differences, out));
        patched.map_err(|cause| Fault::Json(index, cause))?;
        Ok(cell)
    }

    /// The bytes of a document in the old row.
    fn document_before(&self, mut input: &'a [u8], wanted: usize) -> Result<Option<&'a [u8]>, Fault> {
        let image = ImageHeader::read(&mut input, self.rows.before, self.before_count)?;
        for (index, is_null) in image.columns() {
            let Some(column) = self.slots.get(index) else { break };
            if index == wanted {
                return if is_null { Ok(None) } else { framed(&mut input, column).map(Some) };
            }
            if !is_null {
                skip_value(&mut input, &column.wire)?;
            }
        }
        Ok(None)
    }
}

/// The bytes of a value that has its length before it.
fn framed<'a>(input: &mut &'a [u8], column: &Slot) -> Result<&'a [u8], Fault> {
    let whole = *input;
    skip_value(input, &column.wire)?;
    let length = whole.len() - input.len();
    let bytes = whole.get(usize::from(column.wire.meta)..length);
    bytes.ok_or(Fault::Row(DecodeError::Image { problem: "a value is shorter than its length" }))
}

/// One value; `None` of a column that is none to users.
#[inline]
fn value(
    column: &Slot,
    input: &mut &[u8],
    builder: &mut BatchBuilder,
    scratch: &mut Scratch,
    index: usize,
) -> Result<Option<Cell>, Fault> {
    match &column.decoder {
        Some(decoder) => decoder.decode(input, builder, scratch).map(Some).map_err(|cause| Fault::Value(index, cause)),
        None => {
            skip_value(input, &column.wire)?;
            Ok(None)
        }
    }
}
