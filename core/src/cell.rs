//! The cell: one value of one row in 16 bytes, in one of three states: a value, null, or unknown
//! (the log did not carry it). Unknown is never null. Long values lie in the batch's arena.

use crate::calendar::{Date, Interval, Timestamp};
use crate::decimal::Decimal;
use std::sync::Arc;

/// What a cell holds. Stored as one byte; the numbers never leave the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// SQL null.
    Null = 0,
    /// Not in the log: unchanged TOAST, or a column outside a partial row image.
    Unknown,
    /// Boolean.
    Bool,
    /// Signed integer.
    Int,
    /// Unsigned integer.
    UInt,
    /// Single float.
    Float32,
    /// Double float.
    Float64,
    /// Decimal digits in the arena.
    Decimal,
    /// UTF-8 in the arena.
    Text,
    /// Bytes in the arena.
    Bytes,
    /// Day number.
    Date,
    /// Microseconds.
    Time,
    /// Microseconds and digits of the fraction.
    FixedTime,
    /// Microseconds and offset.
    TimeTz,
    /// Text of a date that is none, in the arena.
    Impossible,
    /// Day and microseconds, no zone.
    Timestamp,
    /// Day and microseconds, UTC.
    TimestampTz,
    /// Sixteen bytes in the arena.
    Interval,
    /// 36 characters in the arena.
    Uuid,
    /// JSON text in the arena.
    Json,
    /// Label in the arena.
    Enum,
    /// Labels in the arena.
    Set,
    /// `0` and `1` characters in the arena.
    Bits,
    /// WKB in the arena, SRID in the cell.
    Geometry,
    /// A block in the arena, see [`Array`].
    Array,
    /// Text in the arena.
    Range,
    /// Text in the arena.
    Composite,
    /// Text in the arena.
    Other,
}

const TAGS: [Tag; 28] = [
    Tag::Null,
    Tag::Unknown,
    Tag::Bool,
    Tag::Int,
    Tag::UInt,
    Tag::Float32,
    Tag::Float64,
    Tag::Decimal,
    Tag::Text,
    Tag::Bytes,
    Tag::Date,
    Tag::Time,
    Tag::FixedTime,
    Tag::TimeTz,
    Tag::Impossible,
    Tag::Timestamp,
    Tag::TimestampTz,
    Tag::Interval,
    Tag::Uuid,
    Tag::Json,
    Tag::Enum,
    Tag::Set,
    Tag::Bits,
    Tag::Geometry,
    Tag::Array,
    Tag::Range,
    Tag::Composite,
    Tag::Other,
];

/// Where a long value lies: byte offset and length in the batch's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub length: u32,
}

/// One value of one row. `Copy`, 16 bytes, without a pointer: it means something only beside the
/// arena of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Cell {
    payload: u64,
    extra: u32,
    tag: Tag,
    _reserved: [u8; 3],
}

const _: () = assert!(size_of::<Cell>() == 16);

/// What resolves a [`Value::Impossible`].
pub const IMPOSSIBLE_DATE_REMEDY: &str = "set `zero_dates` of the source to \"null\", \"epoch\" or \"string\", or correct the row at the source and read the table again";

/// A cell's value, borrowed from the arena. Text-like variants are UTF-8, checked by the source that
/// wrote them; they are bytes here because most encoders copy them as bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// SQL null.
    Null,
    /// Not carried by the log. Never to be written as null.
    Unknown,
    /// Boolean.
    Bool(bool),
    /// Signed integer.
    Int(i64),
    /// Unsigned integer.
    UInt(u64),
    /// Single float, bit-exact.
    Float32(f32),
    /// Double float, bit-exact.
    Float64(f64),
    /// Decimal in plain notation.
    Decimal(Decimal<'a>),
    /// UTF-8 text.
    Text(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Date.
    Date(Date),
    /// Microseconds since midnight; `24:00:00` is 86,400,000,000.
    Time(i64),
    /// The same, or a signed span, and the digits of a second's fraction with which the database prints it, zeros at the end
    /// too: MySQL's `TIME(3)`.
    FixedTime(i64, u8),
    /// Microseconds since local midnight, and the offset in seconds east of Greenwich.
    TimeTz(i64, i32),
    /// The database's text of a date or a timestamp that no calendar has (MySQL's `0000-00-00`), in a column of such. A sink
    /// that has no text for the column halts the table.
    Impossible(&'a [u8]),
    /// Civil time.
    Timestamp(Timestamp),
    /// Instant in UTC.
    TimestampTz(Timestamp),
    /// Interval.
    Interval(Interval),
    /// UUID text.
    Uuid(&'a [u8]),
    /// JSON text as the database prints it.
    Json(&'a [u8]),
    /// Enum label.
    Enum(&'a [u8]),
    /// Comma-joined set labels.
    Set(&'a [u8]),
    /// `0` and `1` characters.
    Bits(&'a [u8]),
    /// Reference system (0 when none) and well-known binary.
    Geometry(u32, &'a [u8]),
    /// Array.
    Array(Array<'a>),
    /// Range text.
    Range(&'a [u8]),
    /// Composite text.
    Composite(&'a [u8]),
    /// Text of a type without a neutral word.
    Other(&'a [u8]),
}

impl Cell {
    /// SQL null.
    pub const NULL: Cell = Cell::raw(Tag::Null, 0, 0);
    /// A value that the log did not carry.
    pub const UNKNOWN: Cell = Cell::raw(Tag::Unknown, 0, 0);

    const fn raw(tag: Tag, payload: u64, extra: u32) -> Cell {
        Cell { payload, extra, tag, _reserved: [0; 3] }
    }

    /// A boolean.
    pub fn boolean(value: bool) -> Cell {
        Cell::raw(Tag::Bool, u64::from(value), 0)
    }

    /// A signed integer.
    pub fn int(value: i64) -> Cell {
        Cell::raw(Tag::Int, value as u64, 0)
    }

    /// An unsigned integer.
    pub fn uint(value: u64) -> Cell {
        Cell::raw(Tag::UInt, value, 0)
    }

    /// A single float.
    pub fn float32(value: f32) -> Cell {
        Cell::raw(Tag::Float32, u64::from(value.to_bits()), 0)
    }

    /// A double float.
    pub fn float64(value: f64) -> Cell {
        Cell::raw(Tag::Float64, value.to_bits(), 0)
    }

    /// A date.
    pub fn date(value: Date) -> Cell {
        Cell::raw(Tag::Date, 0, value.0 as u32)
    }

    /// A time of day, in microseconds.
    pub fn time(micros: i64) -> Cell {
        Cell::raw(Tag::Time, micros as u64, 0)
    }

    /// A time of day or signed span, in microseconds, that is printed with so many digits of a fraction.
    pub fn fixed_time(micros: i64, digits: u8) -> Cell {
        Cell::raw(Tag::FixedTime, micros as u64, digits.into())
    }

    /// A time of day in microseconds with an offset in seconds east of Greenwich.
    pub fn time_tz(micros: i64, offset_seconds: i32) -> Cell {
        Cell::raw(Tag::TimeTz, micros as u64, offset_seconds as u32)
    }

    /// Civil time.
    pub fn timestamp(value: Timestamp) -> Cell {
        Cell::raw(Tag::Timestamp, value.micros as u64, value.date.0 as u32)
    }

    /// An instant in UTC.
    pub fn timestamp_tz(value: Timestamp) -> Cell {
        Cell::raw(Tag::TimestampTz, value.micros as u64, value.date.0 as u32)
    }

    /// A value in the arena. `tag` is one of those that its comment places there.
    pub fn in_arena(tag: Tag, span: Span) -> Cell {
        Cell::raw(tag, u64::from(span.offset), span.length)
    }

    /// A geometry: WKB in the arena and its reference system (0 for none).
    pub fn geometry(span: Span, srid: u32) -> Cell {
        Cell::raw(Tag::Geometry, u64::from(srid) << 32 | u64::from(span.offset), span.length)
    }

    /// What the cell holds.
    pub fn tag(self) -> Tag {
        self.tag
    }

    /// Whether this is SQL null.
    pub fn is_null(self) -> bool {
        self.tag == Tag::Null
    }

    /// Whether the log did not carry this value.
    pub fn is_unknown(self) -> bool {
        self.tag == Tag::Unknown
    }

    /// The arena bytes of a long value; empty for one that lies in the cell itself.
    pub fn bytes(self, arena: &[u8]) -> &[u8] {
        let start = self.payload as u32 as usize;
        arena.get(start..start + self.extra as usize).unwrap_or_default()
    }

    /// Reads the value beside the arena of its batch.
    pub fn value(self, arena: &[u8]) -> Value<'_> {
        let timestamp = || Timestamp { date: Date(self.extra as i32), micros: self.payload as i64 };
        match self.tag {
            Tag::Null => Value::Null,
            Tag::Unknown => Value::Unknown,
            Tag::Bool => Value::Bool(self.payload != 0),
            Tag::Int => Value::Int(self.payload as i64),
            Tag::UInt => Value::UInt(self.payload),
            Tag::Float32 => Value::Float32(f32::from_bits(self.payload as u32)),
            Tag::Float64 => Value::Float64(f64::from_bits(self.payload)),
            Tag::Decimal => Value::Decimal(Decimal::trusted(self.bytes(arena))),
            Tag::Text => Value::Text(self.bytes(arena)),
            Tag::Bytes => Value::Bytes(self.bytes(arena)),
            Tag::Date => Value::Date(Date(self.extra as i32)),
            Tag::Time => Value::Time(self.payload as i64),
            Tag::FixedTime => Value::FixedTime(self.payload as i64, self.extra as u8),
            Tag::TimeTz => Value::TimeTz(self.payload as i64, self.extra as i32),
            Tag::Impossible => Value::Impossible(self.bytes(arena)),
            Tag::Timestamp => Value::Timestamp(timestamp()),
            Tag::TimestampTz => Value::TimestampTz(timestamp()),
            Tag::Interval => Value::Interval(read_interval(self.bytes(arena))),
            Tag::Uuid => Value::Uuid(self.bytes(arena)),
            Tag::Json => Value::Json(self.bytes(arena)),
            Tag::Enum => Value::Enum(self.bytes(arena)),
            Tag::Set => Value::Set(self.bytes(arena)),
            Tag::Bits => Value::Bits(self.bytes(arena)),
            Tag::Geometry => Value::Geometry((self.payload >> 32) as u32, self.bytes(arena)),
            Tag::Array => Value::Array(Array { block: self.bytes(arena), arena }),
            Tag::Range => Value::Range(self.bytes(arena)),
            Tag::Composite => Value::Composite(self.bytes(arena)),
            Tag::Other => Value::Other(self.bytes(arena)),
        }
    }

    /// The 16 bytes by which an array keeps its elements in the arena.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        let (payload, rest) = out.split_at_mut(8);
        payload.copy_from_slice(&self.payload.to_le_bytes());
        let (extra, tag) = rest.split_at_mut(4);
        extra.copy_from_slice(&self.extra.to_le_bytes());
        if let Some(first) = tag.first_mut() {
            *first = self.tag as u8;
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Cell> {
        let (payload, rest) = bytes.split_first_chunk::<8>()?;
        let (extra, rest) = rest.split_first_chunk::<4>()?;
        let tag = *TAGS.get(usize::from(*rest.first()?))?;
        Some(Cell::raw(tag, u64::from_le_bytes(*payload), u32::from_le_bytes(*extra)))
    }
}

fn read_interval(bytes: &[u8]) -> Interval {
    let part =
        |from: usize| bytes.get(from..from + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map_or(0, i32::from_le_bytes);
    let micros = bytes.get(8..16).and_then(|b| <[u8; 8]>::try_from(b).ok()).map_or(0, i64::from_le_bytes);
    Interval { months: part(0), days: part(4), micros }
}

/// The arena form of an interval.
pub(crate) fn interval_bytes(value: Interval) -> [u8; 16] {
    let mut out = [0; 16];
    let (months, rest) = out.split_at_mut(4);
    months.copy_from_slice(&value.months.to_le_bytes());
    let (days, micros) = rest.split_at_mut(4);
    days.copy_from_slice(&value.days.to_le_bytes());
    micros.copy_from_slice(&value.micros.to_le_bytes());
    out
}

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Number of elements.
    pub length: u32,
    /// Index of the first; 1 unless the value says otherwise.
    pub lower: i32,
}

/// An array: its dimensions, its elements in row-major order, and the database's own text.
///
/// Block in the arena, little endian: u32 length of the text, the text, u32 number of dimensions, per
/// dimension u32 length and i32 lower bound, then 16 bytes for each element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    block: &'a [u8],
    arena: &'a [u8],
}

impl<'a> Array<'a> {
    fn text_and_rest(self) -> Option<(&'a [u8], &'a [u8])> {
        let (length, rest) = self.block.split_first_chunk::<4>()?;
        rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    }

    fn dimensions_and_cells(self) -> Option<(&'a [u8], &'a [u8])> {
        let (count, rest) = self.text_and_rest()?.1.split_first_chunk::<4>()?;
        rest.split_at_checked(u32::from_le_bytes(*count) as usize * 8)
    }

    /// The database's text of the whole array.
    pub fn text(self) -> &'a [u8] {
        self.text_and_rest().map_or(&[], |(text, _)| text)
    }

    /// The dimensions; none for an empty array.
    pub fn dimensions(self) -> impl Iterator<Item = Dimension> + 'a {
        let bytes = self.dimensions_and_cells().map_or(&[][..], |(dimensions, _)| dimensions);
        bytes.as_chunks::<8>().0.iter().map(|[a, b, c, d, e, f, g, h]| Dimension {
            length: u32::from_le_bytes([*a, *b, *c, *d]),
            lower: i32::from_le_bytes([*e, *f, *g, *h]),
        })
    }

    /// The elements as values, row-major.
    pub fn elements(self) -> impl ExactSizeIterator<Item = Value<'a>> + 'a {
        let bytes = self.dimensions_and_cells().map_or(&[][..], |(_, cells)| cells);
        let arena = self.arena;
        bytes.as_chunks::<16>().0.iter().map(move |chunk| Cell::from_bytes(chunk).unwrap_or(Cell::UNKNOWN).value(arena))
    }
}

/// A value that stands by itself, beside no batch; [`BatchBuilder::constant`](crate::BatchBuilder::constant) makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constant {
    cell: Cell,
    arena: Arc<[u8]>,
}

impl Constant {
    /// A cell and the arena that it lies in.
    pub(crate) fn new(cell: Cell, arena: &[u8]) -> Constant {
        Constant { cell, arena: arena.into() }
    }

    /// The value.
    pub fn value(&self) -> Value<'_> {
        self.cell.value(&self.arena)
    }

    /// Memory that it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of::<Constant>() + self.arena.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn null_and_unknown_are_different_states() {
        assert!(Cell::NULL.is_null() && !Cell::NULL.is_unknown());
        assert!(Cell::UNKNOWN.is_unknown() && !Cell::UNKNOWN.is_null());
        assert_ne!(Cell::NULL.value(&[]), Cell::UNKNOWN.value(&[]));
    }

    #[test]
    fn a_span_outside_the_arena_reads_as_empty() {
        let cell = Cell::in_arena(Tag::Text, Span { offset: 10, length: 5 });
        assert_eq!(cell.value(b"short"), Value::Text(b""));
    }

    #[test]
    fn every_tag_survives_its_byte_form() {
        for (number, tag) in TAGS.iter().enumerate() {
            assert_eq!(*tag as usize, number);
            let cell = Cell::raw(*tag, 0x0102_0304_0506_0708, 9);
            assert_eq!(Cell::from_bytes(&cell.to_bytes()), Some(cell));
        }
        assert_eq!(Cell::from_bytes(&[0xff; 16]), None);
    }

    proptest! {
        #[test]
        fn scalars_are_bit_exact(i: i64, u: u64, f: u64, g: u32, t: i64, o: i32, d: i32) {
            prop_assert_eq!(Cell::int(i).value(&[]), Value::Int(i));
            prop_assert_eq!(Cell::uint(u).value(&[]), Value::UInt(u));
            match Cell::float64(f64::from_bits(f)).value(&[]) {
                Value::Float64(v) => prop_assert_eq!(v.to_bits(), f),
                other => prop_assert!(false, "{:?}", other),
            }
            match Cell::float32(f32::from_bits(g)).value(&[]) {
                Value::Float32(v) => prop_assert_eq!(v.to_bits(), g),
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(Cell::fixed_time(t, 3).value(&[]), Value::FixedTime(t, 3));
            prop_assert_eq!(Cell::time_tz(t, o).value(&[]), Value::TimeTz(t, o));
            prop_assert_eq!(Cell::date(Date(d)).value(&[]), Value::Date(Date(d)));
            let stamp = Timestamp { date: Date(d), micros: t };
            prop_assert_eq!(Cell::timestamp(stamp).value(&[]), Value::Timestamp(stamp));
            prop_assert_eq!(Cell::timestamp_tz(stamp).value(&[]), Value::TimestampTz(stamp));
        }
    }
}
