//! Reading the binary format (MySQL's `sql-common/json_binary.h`). All numbers are little-endian. A document is a type
//! byte and a value; an array or object has its number of elements, its size in bytes, entries, and then the keys and
//! values that the entries point to, counted from the container's first byte. In the small format counts and offsets
//! have two bytes, in the large one four. Updates in place leave holes, so order and density mean nothing.

use super::JsonError;

const SMALL_OBJECT: u8 = 0x00;
const LARGE_OBJECT: u8 = 0x01;
const SMALL_ARRAY: u8 = 0x02;
const LARGE_ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT16: u8 = 0x05;
const UINT16: u8 = 0x06;
const INT32: u8 = 0x07;
const UINT32: u8 = 0x08;
const INT64: u8 = 0x09;
const UINT64: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0f;

/// Bytes that may still be read. Values never share bytes, so all of them together are no longer than the document;
/// without this a few bytes whose entries point to the same container again and again would unfold without end.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(bytes: usize) -> Budget {
        Budget(bytes)
    }

    fn take(&mut self, bytes: usize) -> Result<(), JsonError> {
        self.0 = self.0.checked_sub(bytes).ok_or(JsonError::Overlap)?;
        Ok(())
    }
}

/// One value, its parts still in the document.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(&'a [u8]),
    Opaque {
        /// The server's type number (`enum_field_types`).
        field_type: u8,
        data: &'a [u8],
    },
    Array(Container<'a>),
    Object(Container<'a>),
}

/// An array or an object whose entries are known to lie within it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    /// From the number of elements to the last byte of the last value.
    data: &'a [u8],
    /// Entries of keys; empty for an array.
    keys: &'a [u8],
    /// Entries of values.
    values: &'a [u8],
    large: bool,
}

impl<'a> Value<'a> {
    /// A whole document.
    pub(super) fn document(bytes: &'a [u8], budget: &mut Budget) -> Result<Value<'a>, JsonError> {
        match bytes.split_first() {
            None => Ok(Value::Null),
            Some((kind, rest)) => {
                budget.take(1)?;
                Value::read(*kind, rest, budget)
            }
        }
    }

    /// A value of a type that starts with the first of these bytes and ends somewhere within them.
    fn read(kind: u8, bytes: &'a [u8], budget: &mut Budget) -> Result<Value<'a>, JsonError> {
        Ok(match kind {
            SMALL_OBJECT | LARGE_OBJECT => Value::Object(Container::read(bytes, true, kind == LARGE_OBJECT, budget)?),
            SMALL_ARRAY | LARGE_ARRAY => Value::Array(Container::read(bytes, false, kind == LARGE_ARRAY, budget)?),
            INT32 => Value::Int(i32::from_le_bytes(fixed(bytes, budget)?).into()),
            UINT32 => Value::UInt(u32::from_le_bytes(fixed(bytes, budget)?).into()),
            INT64 => Value::Int(i64::from_le_bytes(fixed(bytes, budget)?)),
            UINT64 => Value::UInt(u64::from_le_bytes(fixed(bytes, budget)?)),
            DOUBLE => Value::Double(f64::from_le_bytes(fixed(bytes, budget)?)),
            STRING => Value::Text(counted(bytes, "a string", budget)?),
            OPAQUE => {
                let (field_type, rest) = bytes.split_first().ok_or(JsonError::Truncated("an opaque value"))?;
                Value::Opaque { field_type: *field_type, data: counted(rest, "an opaque value", budget)? }
            }
            LITERAL | INT16 | UINT16 => {
                budget.take(if kind == LITERAL { 1 } else { 2 })?;
                Value::short(kind, bytes)?
            }
            other => return Err(JsonError::UnknownType(other)),
        })
    }

    /// A literal or a 16-bit integer, which lie in their entries and are read without an allocation of bytes.
    fn short(kind: u8, bytes: &[u8]) -> Result<Value<'a>, JsonError> {
        if kind == LITERAL {
            return match bytes.first() {
                Some(0) => Ok(Value::Null),
                Some(1) => Ok(Value::Bool(true)),
                Some(2) => Ok(Value::Bool(false)),
                Some(other) => Err(JsonError::UnknownLiteral(*other)),
                None => Err(JsonError::Truncated("a literal")),
            };
        }
        let number = *bytes.first_chunk().ok_or(JsonError::Truncated("a number"))?;
        Ok(match kind {
            INT16 => Value::Int(i16::from_le_bytes(number).into()),
            _ => Value::UInt(u16::from_le_bytes(number).into()),
        })
    }
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8], object: bool, large: bool, budget: &mut Budget) -> Result<Container<'a>, JsonError> {
        let what = if object { "an object" } else { "an array" };
        let width = if large { 4 } else { 2 };
        let count = unsigned(bytes, large).ok_or(JsonError::Truncated(what))?;
        let size = bytes.get(width..).and_then(|rest| unsigned(rest, large)).ok_or(JsonError::Truncated(what))?;
        let data = bytes.get(..size).ok_or(JsonError::Truncated(what))?;
        let keys_size = if object { count.saturating_mul(width + 2) } else { 0 };
        let values_size = count.saturating_mul(width + 1);
        let entries = data.get(2 * width..).ok_or(JsonError::Truncated(what))?;
        let (keys, rest) = entries.split_at_checked(keys_size).ok_or(JsonError::Truncated(what))?;
        let values = rest.get(..values_size).ok_or(JsonError::Truncated(what))?;
        budget.take(2 * width + keys_size + values_size)?;
        Ok(Container { data, keys, values, large })
    }

    fn entry_width(&self) -> usize {
        if self.large { 5 } else { 3 }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.values.len() / self.entry_width()
    }

    /// The entries of the values in order, to be read with [`Container::value`].
    pub(super) fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values.chunks_exact(self.entry_width())
    }

    /// The value of an entry.
    pub(super) fn value(&self, entry: &'a [u8], budget: &mut Budget) -> Result<Value<'a>, JsonError> {
        let (kind, rest) = entry.split_first().ok_or(JsonError::Truncated("an entry"))?;
        match *kind {
            // These lie in the entry, whose bytes are already counted.
            LITERAL | INT16 | UINT16 => Value::short(*kind, rest),
            INT32 if self.large => Ok(Value::Int(i32::from_le_bytes(inlined(rest)?).into())),
            UINT32 if self.large => Ok(Value::UInt(u32::from_le_bytes(inlined(rest)?).into())),
            kind => {
                let offset = unsigned(rest, self.large).ok_or(JsonError::Truncated("an entry"))?;
                Value::read(kind, self.at(offset, "a value")?, budget)
            }
        }
    }

    /// The entries of the keys in order, by length and then by bytes, to be read with [`Container::key`].
    pub(super) fn key_entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.keys.chunks_exact(if self.large { 6 } else { 4 })
    }

    /// The key of an entry.
    pub(super) fn key(&self, entry: &'a [u8], budget: &mut Budget) -> Result<&'a [u8], JsonError> {
        let width = if self.large { 4 } else { 2 };
        let offset = unsigned(entry, self.large).ok_or(JsonError::Truncated("an entry"))?;
        let length =
            entry.get(width..).and_then(|rest| unsigned(rest, false)).ok_or(JsonError::Truncated("an entry"))?;
        budget.take(length)?;
        self.at(offset, "a key")?.get(..length).ok_or(JsonError::Truncated("a key"))
    }

    /// The container from an offset on; keys and values begin behind all entries.
    fn at(&self, offset: usize, what: &'static str) -> Result<&'a [u8], JsonError> {
        let header = if self.large { 8 } else { 4 } + self.keys.len() + self.values.len();
        match self.data.get(offset..) {
            Some(bytes) if offset >= header => Ok(bytes),
            _ => Err(JsonError::Offset { what, offset, length: self.data.len() }),
        }
    }
}

/// A count, size or offset.
fn unsigned(bytes: &[u8], large: bool) -> Option<usize> {
    if large {
        bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize)
    } else {
        bytes.first_chunk().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
    }
}

fn inlined<const N: usize>(bytes: &[u8]) -> Result<[u8; N], JsonError> {
    bytes.first_chunk().copied().ok_or(JsonError::Truncated("a number"))
}

fn fixed<const N: usize>(bytes: &[u8], budget: &mut Budget) -> Result<[u8; N], JsonError> {
    budget.take(N)?;
    inlined(bytes)
}

/// Bytes after their length, which has seven bits in each of one to five bytes, the lowest first.
fn counted<'a>(bytes: &'a [u8], what: &'static str, budget: &mut Budget) -> Result<&'a [u8], JsonError> {
    let mut length = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).map_err(|_| JsonError::Truncated(what))?;
            let end = length.checked_add(index + 1).ok_or(JsonError::Truncated(what))?;
            budget.take(end)?;
            return bytes.get(index + 1..end).ok_or(JsonError::Truncated(what));
        }
    }
    Err(JsonError::Truncated(what))
}
