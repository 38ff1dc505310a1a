//! From the text that PostgreSQL prints for a value to a cell. Owns the text form of every type; knows
//! nothing of where the text came from, so that a row read by a snapshot and the same row read from the
//! log give the same cells.
//!
//! Text is what the log gives on every supported major, and a type that nobody has heard of still has an exact
//! text. The connection pins the settings that shape it (`DateStyle`, `IntervalStyle`, `TimeZone`,
//! `extra_float_digits`, `bytea_output`, `lc_monetary`), and the readers here take no other form (PG-90). A snapshot
//! may read a table in binary form where every column's type gives the same cell so, see `typemap/binary.rs`.

mod array;
mod binary;
mod number;
pub(crate) mod resolve;
mod scalar;
mod temporal;

use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Dimension, Tag};

/// Why a text is no value of its type. Never holds the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// Bytes of another encoding (PG-93).
    #[error("the value is not utf-8")]
    NotUtf8,
    /// Not the form that the pinned settings give.
    #[error("the value is not {0}")]
    Malformed(&'static str),
    /// Beyond what a batch can hold.
    #[error("the value is larger than what fits a batch beside the rest of its row")]
    TooLarge,
}

/// Places in a batch's arena are 32 bits wide.
const ARENA_MAX: usize = u32::MAX as usize;
/// What a value may become longer by when it is written: an interval, or the zeros of a number.
const GROWING_MAX: usize = 1 << 18;

/// Whether a value of so many bytes has room in the batch's arena: a row may have several of a gigabyte, old and new.
#[inline]
fn fits(length: usize, builder: &BatchBuilder) -> Result<(), ValueError> {
    has_room(length, builder.size_bytes())
}

#[inline]
fn has_room(length: usize, held: usize) -> Result<(), ValueError> {
    let needed = length.saturating_add(held).saturating_add(GROWING_MAX);
    if needed <= ARENA_MAX { Ok(()) } else { Err(ValueError::TooLarge) }
}

/// Room that an array needs while it is read; kept from value to value.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    elements: Vec<Cell>,
    dimensions: Vec<Dimension>,
    unescaped: Vec<u8>,
}

impl Scratch {
    /// Elements that are kept allocated between values.
    const ELEMENTS_KEPT: usize = 1 << 16;
    /// Bytes that are kept allocated between values.
    const BYTES_KEPT: usize = 1 << 20;

    /// Gives back the memory of an unusually large value.
    fn settle(&mut self) {
        self.elements.clear();
        self.dimensions.clear();
        self.unescaped.clear();
        self.elements.shrink_to(Self::ELEMENTS_KEPT);
        self.unescaped.shrink_to(Self::BYTES_KEPT);
    }
}

/// Reads the values of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ColumnDecoder {
    kind: Kind,
    /// How the binary form is read, for the types that have one which is as good as the text.
    binary: Option<binary::Form>,
}

/// How a text is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    UInt {
        max: u64,
    },
    Float32,
    Float64,
    Decimal,
    Money,
    /// UTF-8, as it is, under this tag.
    Plain(Tag),
    Bytea,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Bits,
    Array {
        element: Box<Kind>,
        delimiter: u8,
    },
}

impl ColumnDecoder {
    /// Makes the cell of a value; long values go to the builder's arena. Allocates nothing for a value of
    /// usual size.
    #[inline]
    pub(crate) fn decode(
        &self,
        text: &[u8],
        builder: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<Cell, ValueError> {
        match &self.kind {
            Kind::Array { element, delimiter } => {
                let cell = array::read(text, element, *delimiter, builder, scratch);
                scratch.settle();
                cell
            }
            kind => kind.read(text, builder),
        }
    }

    /// Whether the binary form gives the same cells as the text.
    pub(crate) fn reads_binary(&self) -> bool {
        self.binary.is_some()
    }

    /// Makes the cell of a value in binary form.
    #[inline]
    pub(crate) fn decode_binary(&self, bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        fits(bytes.len(), builder)?;
        match self.binary {
            Some(form) => form.read(bytes, builder),
            None => Err(ValueError::Malformed("of a type that is read in binary form")),
        }
    }
}

impl Kind {
    #[inline]
    fn read(&self, text: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
        match self {
            Kind::Int { min, max } => number::int(text, *min, *max).map(Cell::int),
            Kind::Plain(tag) => plain(*tag, text, builder),
            Kind::Bool => scalar::boolean(text).map(Cell::boolean),
            Kind::UInt { max } => number::uint(text, *max).map(Cell::uint),
            Kind::Float32 => number::float::<f32>(text).map(Cell::float32),
            Kind::Float64 => number::float::<f64>(text).map(Cell::float64),
            Kind::Decimal => number::decimal(text, builder),
            Kind::Money => number::money(text, builder),
            Kind::Bytea => scalar::bytea(text, builder),
            Kind::Date => temporal::date(text).map(Cell::date),
            Kind::Time => temporal::time(text).map(Cell::time),
            Kind::TimeTz => temporal::time_tz(text).map(|(micros, offset)| Cell::time_tz(micros, offset)),
            Kind::Timestamp => temporal::timestamp(text).map(Cell::timestamp),
            Kind::TimestampTz => temporal::timestamp_tz(text).map(Cell::timestamp_tz),
            Kind::Interval => {
                fits(text.len(), builder)?;
                temporal::interval(text).map(|value| builder.interval(value))
            }
            Kind::Uuid => {
                fits(text.len(), builder)?;
                scalar::uuid(text).map(|()| builder.long(Tag::Uuid, text))
            }
            Kind::Bits => {
                fits(text.len(), builder)?;
                scalar::bits(text).map(|()| builder.long(Tag::Bits, text))
            }
            // `resolve` never builds an array of arrays: a domain over an array is read as text there.
            Kind::Array { .. } => plain(Tag::Other, text, builder),
        }
    }
}

#[inline]
fn plain(tag: Tag, text: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    check_utf8(text)?;
    fits(text.len(), builder)?;
    Ok(builder.long(tag, text))
}

#[inline]
fn check_utf8(text: &[u8]) -> Result<(), ValueError> {
    simdutf8::basic::from_utf8(text).map(|_| ()).map_err(|_| ValueError::NotUtf8)
}

#[cfg(test)]
mod tests;
