//! Text of an array: `{1,2,NULL}`, `{"a,b","\""}`, `{{1,2},{3,4}}`, `[0:1]={7,8}`. The exact inverse of the
//! server's `array_out`; what that function does not print is refused.

use super::{Kind, Scratch, ValueError, check_utf8, fits};
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Dimension};

const ARRAY: ValueError = ValueError::Malformed("an array");
/// `MAXDIM` of the server.
const DIMENSIONS_MAX: usize = 6;
/// An element takes 16 bytes in a batch, whose arena ends at 4 GiB.
const ELEMENTS_MAX: usize = 1 << 26;

/// Reads an array and its elements.
pub(super) fn read(
    text: &[u8],
    element: &Kind,
    delimiter: u8,
    builder: &mut BatchBuilder,
    scratch: &mut Scratch,
) -> Result<Cell, ValueError> {
    check_utf8(text)?;
    let Scratch { elements, dimensions, unescaped } = scratch;
    let body = bounds(text, dimensions).ok_or(ARRAY)?;
    if body != b"{}" {
        let mut walk = Walk {
            rest: body,
            delimiter,
            depth: 0,
            leaf: None,
            counts: [0; DIMENSIONS_MAX],
            lengths: [None; DIMENSIONS_MAX],
        };
        walk.run(|item| {
            if elements.len() >= ELEMENTS_MAX {
                return Err(ValueError::TooLarge);
            }
            let cell = match item {
                Item::Null => Cell::NULL,
                Item::Plain(text) => element.read(text, builder)?,
                Item::Escaped(text) => {
                    unescape(text, unescaped);
                    element.read(unescaped, builder)?
                }
            };
            elements.push(cell);
            Ok(())
        })?;
        walk.settle(dimensions)?;
    } else if !dimensions.is_empty() {
        return Err(ARRAY);
    }
    fits(text.len().saturating_add(elements.len().saturating_mul(size_of::<Cell>())), builder)?;
    Ok(builder.array(text, dimensions, elements))
}

/// Reads `[lower:upper]...=` at the front, if it is there, and returns what follows.
fn bounds<'a>(text: &'a [u8], dimensions: &mut Vec<Dimension>) -> Option<&'a [u8]> {
    let mut rest = text;
    while let Some(after) = rest.strip_prefix(b"[") {
        let colon = memchr::memchr(b':', after)?;
        let (lower, after) = after.split_at_checked(colon)?;
        let close = memchr::memchr(b']', after)?;
        let (upper, after) = after.split_at_checked(close)?;
        let lower = super::number::int(lower, i32::MIN.into(), i32::MAX.into()).ok()?;
        let upper = super::number::int(upper.get(1..)?, i32::MIN.into(), i32::MAX.into()).ok()?;
        let length = u32::try_from(upper - lower + 1).ok()?;
        if dimensions.len() == DIMENSIONS_MAX {
            return None;
        }
        dimensions.push(Dimension { length, lower: i32::try_from(lower).ok()? });
        rest = after.get(1..)?;
    }
    if dimensions.is_empty() { Some(rest) } else { rest.strip_prefix(b"=") }
}

/// One element as it is written.
enum Item<'a> {
    Null,
    Plain(&'a [u8]),
    Escaped(&'a [u8]),
}

/// The walk through the braces. Iterative, so that depth costs no stack.
struct Walk<'a> {
    rest: &'a [u8],
    delimiter: u8,
    depth: usize,
    /// The depth at which elements stand.
    leaf: Option<usize>,
    /// Items seen so far in the open brace of each depth.
    counts: [u32; DIMENSIONS_MAX],
    /// Items in the closed braces of each depth: the same for all of them.
    lengths: [Option<u32>; DIMENSIONS_MAX],
}

impl<'a> Walk<'a> {
    fn run(&mut self, mut element: impl FnMut(Item<'a>) -> Result<(), ValueError>) -> Result<(), ValueError> {
        self.open().ok_or(ARRAY)?;
        loop {
            while self.rest.first() == Some(&b'{') {
                self.open().ok_or(ARRAY)?;
            }
            if *self.leaf.get_or_insert(self.depth) != self.depth {
                return Err(ARRAY);
            }
            let item = self.item().ok_or(ARRAY)?;
            element(item)?;
            self.count().ok_or(ARRAY)?;
            while self.rest.first() == Some(&b'}') {
                self.close().ok_or(ARRAY)?;
                if self.depth == 0 {
                    return if self.rest.is_empty() { Ok(()) } else { Err(ARRAY) };
                }
                self.count().ok_or(ARRAY)?;
            }
            self.rest = self.rest.strip_prefix(&[self.delimiter]).ok_or(ARRAY)?;
        }
    }

    fn open(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"{")?;
        *self.counts.get_mut(self.depth)? = 0;
        self.depth += 1;
        Some(())
    }

    fn count(&mut self) -> Option<()> {
        let count = self.counts.get_mut(self.depth.checked_sub(1)?)?;
        *count = count.checked_add(1)?;
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"}")?;
        self.depth = self.depth.checked_sub(1)?;
        let count = *self.counts.get(self.depth)?;
        let length = self.lengths.get_mut(self.depth)?.get_or_insert(count);
        (*length == count).then_some(())
    }

    fn item(&mut self) -> Option<Item<'a>> {
        match self.rest.strip_prefix(b"\"") {
            Some(after) => self.quoted(after),
            None => self.bare(),
        }
    }

    fn bare(&mut self) -> Option<Item<'a>> {
        let end = memchr::memchr2(self.delimiter, b'}', self.rest)?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        if text.is_empty() || memchr::memchr3(b'"', b'\\', b'{', text).is_some() {
            return None;
        }
        Some(if text == b"NULL" { Item::Null } else { Item::Plain(text) })
    }

    fn quoted(&mut self, after: &'a [u8]) -> Option<Item<'a>> {
        let mut end = 0;
        let mut escaped = false;
        loop {
            end += memchr::memchr2(b'"', b'\\', after.get(end..)?)?;
            if after.get(end) == Some(&b'"') {
                break;
            }
            escaped = true;
            end += 2;
        }
        let (text, rest) = after.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(if escaped { Item::Escaped(text) } else { Item::Plain(text) })
    }

    /// Writes the dimensions found, or compares them with those stated before the braces.
    fn settle(&self, dimensions: &mut Vec<Dimension>) -> Result<(), ValueError> {
        let found = self.lengths.iter().map_while(|length| *length);
        if dimensions.is_empty() {
            dimensions.extend(found.map(|length| Dimension { length, lower: 1 }));
            return Ok(());
        }
        let stated = dimensions.iter().map(|dimension| dimension.length);
        if stated.eq(found) { Ok(()) } else { Err(ARRAY) }
    }
}

/// Takes each backslash away; the byte after it stands for itself.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some([escaped, after @ ..]) = after.get(1..) else { return };
        out.push(*escaped);
        rest = after;
    }
    out.extend_from_slice(rest);
}
