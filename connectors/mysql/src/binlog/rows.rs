//! Rows events: which rows of which table changed, and how to walk their images.
//!
//! Source: MySQL `libs/mysql/binlog/event/rows_event.h`, `Rows_event`; `sql/rpl_record.cc` (row images, partial updates);
//! MariaDB `sql/log_event.cc`, `row_log_event_uncompress`.

use super::error::DecodeError;
use super::read::Fields;
use super::table_map::{COLUMNS_MAX, TableMap, table_id, wire};
use super::{Format, kind, skip_value};

/// Post-header of version 2: table 6, flags 2, length of the extra data 2.
const POST_HEADER_V2: usize = 10;

/// What happened to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowsKind {
    /// An image after for each.
    Insert,
    /// An image before and one after for each.
    Update,
    /// An image before for each.
    Delete,
}

/// A bit for each column, lowest bit first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl<'a> Bitmap<'a> {
    /// Over as many bytes as `width` bits need; what is beyond is not looked at.
    pub(crate) fn new(bytes: &'a [u8], width: usize) -> Bitmap<'a> {
        Bitmap { bytes, width }
    }

    /// The bytes, to compare two maps with.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A bit; none beyond the width is set.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> bool {
        index < self.width && self.bytes.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 != 0)
    }

    /// Number of set bits.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        let whole = self.width / 8;
        let full: u32 = self.bytes.iter().take(whole).map(|byte| byte.count_ones()).sum();
        let last = self.bytes.get(whole).map_or(0, |byte| (byte & !(0xff << (self.width % 8))).count_ones());
        (full + last) as usize
    }

    /// Whether every bit is set.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.count() == self.width
    }

    /// Whether no bit is set.
    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        self.count() == 0
    }

    /// Indices of the set bits.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let map = *self;
        (0..map.width).filter(move |index| map.get(*index))
    }
}

/// A rows event of either version, compressed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowsEvent<'a> {
    /// Number of the table, as the TABLE_MAP before says.
    pub(crate) table_id: u64,
    /// Flags: 1 says that it is the last one of its statement, where table numbers may end (MY-25).
    pub(crate) flags: u16,
    /// What happened.
    pub(crate) kind: RowsKind,
    /// Whether images after an update begin with options and may hold differences of JSON instead of values.
    pub(crate) partial: bool,
    /// Number of columns; that of the table map.
    pub(crate) width: usize,
    /// Columns in images before; empty of an insert.
    pub(crate) before: Bitmap<'a>,
    /// Columns in images after; empty of a delete.
    pub(crate) after: Bitmap<'a>,
    /// The images, one behind the other: of an update before and after by turns. Compressed if `compressed` says so:
    /// [`super::Inflater::rows`] gives them.
    pub(crate) rows: &'a [u8],
    /// Whether MariaDB compressed the images.
    pub(crate) compressed: bool,
    event: u8,
}

impl<'a> RowsEvent<'a> {
    /// Table 6, flags 2, in version 2 extra data behind its length of two bytes that counts itself (MY-26), number of
    /// columns, bitmaps, images.
    #[inline]
    pub(super) fn parse(event: u8, body: &'a [u8], format: &Format) -> Result<RowsEvent<'a>, DecodeError> {
        let mut fields = Fields::new(event, body);
        let (rows_kind, compressed) = match event {
            kind::WRITE_ROWS | kind::WRITE_ROWS_V1 => (RowsKind::Insert, false),
            kind::UPDATE_ROWS | kind::UPDATE_ROWS_V1 | kind::PARTIAL_UPDATE_ROWS => (RowsKind::Update, false),
            kind::DELETE_ROWS | kind::DELETE_ROWS_V1 => (RowsKind::Delete, false),
            kind::WRITE_ROWS_COMPRESSED | kind::WRITE_ROWS_COMPRESSED_V1 => (RowsKind::Insert, true),
            kind::UPDATE_ROWS_COMPRESSED | kind::UPDATE_ROWS_COMPRESSED_V1 => (RowsKind::Update, true),
            kind::DELETE_ROWS_COMPRESSED | kind::DELETE_ROWS_COMPRESSED_V1 => (RowsKind::Delete, true),
            kind => return Err(DecodeError::UnknownEvent { kind }),
        };
        let table_id = table_id(&mut fields, event, format)?;
        let flags = fields.u16("flags")?;
        let second_version = match format.post_header(event) {
            Some(length) => length == POST_HEADER_V2,
            None => return Err(DecodeError::Unsupported { kind: event, reason: "its format description lacks it" }),
        };
        if second_version {
            let length = fields.u16("length of the extra data")?;
            let length = usize::from(length)
                .checked_sub(2)
                .ok_or_else(|| fields.undefined("length of the extra data", u64::from(length)))?;
            fields.bytes(length, "extra data")?;
        }
        let width = fields.lenenc("number of columns")?;
        let width = usize::try_from(width)
            .ok()
            .filter(|width| *width <= COLUMNS_MAX)
            .ok_or_else(|| fields.undefined("number of columns", width))?;
        let first = Bitmap::new(fields.bytes(width.div_ceil(8), "columns present")?, width);
        let none = Bitmap::default();
        let (before, after) = match rows_kind {
            RowsKind::Insert => (none, first),
            RowsKind::Delete => (first, none),
            RowsKind::Update => (first, Bitmap::new(fields.bytes(width.div_ceil(8), "columns present after")?, width)),
        };
        Ok(RowsEvent {
            table_id,
            flags,
            kind: rows_kind,
            partial: event == kind::PARTIAL_UPDATE_ROWS,
            width,
            before,
            after,
            rows: fields.take_rest(),
            compressed,
            event,
        })
    }

    /// Whether it only ends its statement: no rows, and the number that no table has (MY-25).
    pub(crate) fn is_dummy(&self) -> bool {
        self.rows.is_empty() && matches!(self.table_id, 0x00ff_ffff | 0xffff_ffff_ffff)
    }

    /// Whether an image has no column, and so takes no bytes. With `binlog_row_image = MINIMAL` an inserted row is logged so
    /// when its statement names no column.
    pub(crate) fn names_nothing(&self) -> bool {
        !self.partial && self.before.count() + self.after.count() == 0
    }

    /// Type number of the event.
    pub(crate) fn event(&self) -> u8 {
        self.event
    }
}

/// What stands before the values of a row image: which columns follow and which of them are null.
///
/// Reading it moves the input to the first value. The caller then takes one value for each column that is present and
/// not null, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageHeader<'a> {
    present: Bitmap<'a>,
    nulls: Bitmap<'a>,
    partial: Bitmap<'a>,
}

impl<'a> ImageHeader<'a> {
    /// Reads the header of an image whose columns are `present`, of which there are `count` (reckoned once an event):
    /// a null bit for each column that is present.
    #[inline]
    pub(crate) fn read(
        input: &mut &'a [u8],
        present: Bitmap<'a>,
        count: usize,
    ) -> Result<ImageHeader<'a>, DecodeError> {
        let (nulls, rest) = input
            .split_at_checked(count.div_ceil(8))
            .ok_or(DecodeError::Image { problem: "it ends inside its null bits" })?;
        *input = rest;
        Ok(ImageHeader { present, nulls: Bitmap::new(nulls, count), partial: Bitmap::default() })
    }

    /// Reads the header of an image after an update of a [`RowsEvent::partial`] event: options as a length-encoded
    /// integer, if they say so a bit for each `JSON` column *of the table*, then as [`ImageHeader::read`].
    pub(crate) fn read_partial(
        input: &mut &'a [u8],
        present: Bitmap<'a>,
        count: usize,
        json_columns: usize,
    ) -> Result<ImageHeader<'a>, DecodeError> {
        const PARTIAL_JSON: u64 = 1;
        let mut fields = Fields::new(kind::PARTIAL_UPDATE_ROWS, input);
        let options = fields.lenenc("value options")?;
        let partial = match options {
            0 => Bitmap::default(),
            PARTIAL_JSON => Bitmap::new(fields.bytes(json_columns.div_ceil(8), "partial columns")?, json_columns),
            other => return Err(fields.undefined("value options", other)),
        };
        *input = fields.rest;
        Ok(ImageHeader { partial, ..ImageHeader::read(input, present, count)? })
    }

    /// The columns of the image.
    #[inline]
    pub(crate) fn columns(&self) -> Columns<'a> {
        Columns { image: *self, index: 0, slot: 0 }
    }

    /// Whether a column of the image is null; `slot` counts the columns that are present.
    #[inline]
    pub(crate) fn is_null(&self, slot: usize) -> bool {
        self.nulls.get(slot)
    }

    /// Whether any column is null.
    #[inline]
    pub(crate) fn has_nulls(&self) -> bool {
        !self.nulls.is_zero()
    }

    /// Whether any value is a difference.
    #[inline]
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_zero()
    }

    /// Whether the value of a `JSON` column is a difference to the one before: four bytes of length, then the
    /// differences. `json` counts the `JSON` columns of the table, present or not.
    #[inline]
    pub(crate) fn is_partial(&self, json: usize) -> bool {
        self.partial.get(json)
    }
}

/// Columns of an image, as index in the table and whether null.
#[derive(Clone, Debug)]
pub(crate) struct Columns<'a> {
    image: ImageHeader<'a>,
    index: usize,
    slot: usize,
}

impl Iterator for Columns<'_> {
    type Item = (usize, bool);

    #[inline]
    fn next(&mut self) -> Option<(usize, bool)> {
        while self.index < self.image.present.width {
            let index = self.index;
            self.index += 1;
            if self.image.present.get(index) {
                let slot = self.slot;
                self.slot += 1;
                return Some((index, self.image.is_null(slot)));
            }
        }
        None
    }
}

/// Number of rows of an event whose images are `rows`, decompressed if need be; walks every value. An error when a row
/// ends beside its map.
pub(crate) fn count_rows_in(event: &RowsEvent<'_>, rows: &[u8], map: &TableMap) -> Result<u64, DecodeError> {
    if event.width != map.columns.len() {
        return Err(DecodeError::Image { problem: "it has another number of columns" });
    }
    let (before, after) = (event.before.count(), event.after.count());
    let mut input = rows;
    let mut count = 0;
    while !input.is_empty() {
        let start = input.len();
        if event.kind != RowsKind::Insert {
            let image = ImageHeader::read(&mut input, event.before, before)?;
            skip_image(&mut input, &image, map)?;
        }
        if event.kind != RowsKind::Delete {
            let image = match event.partial {
                true => ImageHeader::read_partial(&mut input, event.after, after, map.json_columns)?,
                false => ImageHeader::read(&mut input, event.after, after)?,
            };
            skip_image(&mut input, &image, map)?;
        }
        if input.len() == start {
            return Err(DecodeError::Image { problem: "rows follow that have no columns" });
        }
        count += 1;
    }
    Ok(count)
}

fn skip_image(input: &mut &[u8], image: &ImageHeader<'_>, map: &TableMap) -> Result<(), DecodeError> {
    if image.present.is_full() && !image.has_nulls() {
        return map.steps.skip(input);
    }
    for (index, is_null) in image.columns() {
        let column = map.columns.get(index).ok_or(DecodeError::Image { problem: "it has more columns" })?;
        // A partial JSON value has the same frame as a whole one.
        debug_assert!(column.wire != wire::JSON || column.meta == 4 || !image.has_partial());
        if !is_null {
            skip_value(input, column)?;
        }
    }
    Ok(())
}
