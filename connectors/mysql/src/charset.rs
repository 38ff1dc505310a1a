//! The servers' character sets to UTF-8, and which of them a collation belongs to. What is made of a valid code is what
//! MySQL and MariaDB make of it in `CONVERT(text USING utf8mb4)`; both servers agree on every code of every set that
//! both have. Bytes that the server cannot convert itself (it puts `?` for them) are an error, never a replacement
//! character. So are lone surrogates, which MariaDB stores in its Unicode sets and hands on as what is not UTF-8.

mod collation;
mod multi;
mod single;
#[cfg(test)]
mod tests;
mod unicode;

pub(crate) use collation::charset_of_collation;

use multi::Pairs;

/// Bytes that are not text in the character set of their column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes {} at offset {offset} are no character of {charset}", self.shown())]
pub(crate) struct ConvertError {
    /// The character set, by its name in the server.
    pub(crate) charset: &'static str,
    /// Of the first byte that was not understood, from the start of the text.
    pub(crate) offset: usize,
    bytes: [u8; 4],
    length: u8,
}

impl ConvertError {
    /// The bytes that were not understood, at most four.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn shown(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}

/// How the bytes of a character set are to be read.
#[derive(Clone, Copy)]
enum Kind {
    Binary,
    Utf8,
    Ascii,
    Swe7,
    /// ASCII and a table for the bytes from 0x80 on.
    Single(&'static [u16; 128]),
    /// ASCII and codes of two or more bytes.
    Multi(&'static Pairs),
    Ucs2,
    Utf16,
    Utf16Le,
    Utf32,
}

/// Converts text of one character set to UTF-8. Small and free to copy.
#[derive(Clone, Copy)]
pub(crate) struct Converter {
    name: &'static str,
    kind: Kind,
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Converter({})", self.name)
    }
}

impl Converter {
    /// The converter for a character set by its name in the server, in any case; `utf8` is `utf8mb3`. `None` for a
    /// name that neither server has. The first call for a set of several bytes builds its table, some milliseconds.
    pub(crate) fn for_charset(name: &str) -> Option<Converter> {
        let single = |name, table| (name, Kind::Single(table));
        let multi = |name, pairs: &'static multi::Lazy| (name, Kind::Multi(pairs.get()));
        let mut lower = [0u8; 16];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let (name, kind) = match &*lower {
            b"utf8mb4" => ("utf8mb4", Kind::Utf8),
            b"utf8" | b"utf8mb3" => ("utf8mb3", Kind::Utf8),
            b"binary" => ("binary", Kind::Binary),
            b"latin1" => single("latin1", &single::LATIN1),
            b"ascii" => ("ascii", Kind::Ascii),
            b"latin2" => single("latin2", &single::LATIN2),
            b"latin5" => single("latin5", &single::LATIN5),
            b"latin7" => single("latin7", &single::LATIN7),
            b"cp1250" => single("cp1250", &single::CP1250),
            b"cp1251" => single("cp1251", &single::CP1251),
            b"cp1256" => single("cp1256", &single::CP1256),
            b"cp1257" => single("cp1257", &single::CP1257),
            b"cp850" => single("cp850", &single::CP850),
            b"cp852" => single("cp852", &single::CP852),
            b"cp866" => single("cp866", &single::CP866),
            b"koi8r" => single("koi8r", &single::KOI8R),
            b"koi8u" => single("koi8u", &single::KOI8U),
            b"greek" => single("greek", &single::GREEK),
            b"hebrew" => single("hebrew", &single::HEBREW),
            b"tis620" => single("tis620", &single::TIS620),
            b"armscii8" => single("armscii8", &single::ARMSCII8),
            b"geostd8" => single("geostd8", &single::GEOSTD8),
            b"dec8" => single("dec8", &single::DEC8),
            b"hp8" => single("hp8", &single::HP8),
            b"keybcs2" => single("keybcs2", &single::KEYBCS2),
            b"macce" => single("macce", &single::MACCE),
            b"macroman" => single("macroman", &single::MACROMAN),
            b"swe7" => ("swe7", Kind::Swe7),
            b"ucs2" => ("ucs2", Kind::Ucs2),
            b"utf16" => ("utf16", Kind::Utf16),
            b"utf16le" => ("utf16le", Kind::Utf16Le),
            b"utf32" => ("utf32", Kind::Utf32),
            b"big5" => multi("big5", &multi::BIG5),
            b"gbk" => multi("gbk", &multi::GBK),
            b"gb2312" => multi("gb2312", &multi::GB2312),
            b"gb18030" => multi("gb18030", &multi::GB18030),
            b"sjis" => multi("sjis", &multi::SJIS),
            b"cp932" => multi("cp932", &multi::CP932),
            b"ujis" => multi("ujis", &multi::UJIS),
            b"eucjpms" => multi("eucjpms", &multi::EUCJPMS),
            b"euckr" => multi("euckr", &multi::EUCKR),
            _ => return None,
        };
        Some(Converter { name, kind })
    }

    /// The character set, by its name in the server.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the bytes are UTF-8 already, to be checked and no more.
    pub(crate) fn is_utf8(&self) -> bool {
        matches!(self.kind, Kind::Utf8)
    }

    /// Whether this is `binary`: bytes, not text.
    #[cfg(test)]
    pub(crate) fn is_binary(&self) -> bool {
        matches!(self.kind, Kind::Binary)
    }

    /// Appends text as UTF-8; `binary` is appended as it is, unchecked. What was appended is taken back on error.
    ///
    /// # Errors
    /// [`ConvertError`] at the first bytes that are no character of the set.
    pub(crate) fn convert(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ConvertError> {
        let start = out.len();
        out.reserve(bytes.len());
        let done = match self.kind {
            Kind::Binary => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Kind::Utf8 => unicode::utf8(bytes, out),
            Kind::Ascii => high(bytes, out, |_, _| Err(Fault)),
            Kind::Single(table) => high(bytes, out, |bytes, out| single_byte(table, bytes, out)),
            Kind::Multi(pairs) => high(bytes, out, |bytes, out| pairs.convert(bytes, out)),
            Kind::Swe7 => swe7(bytes, out),
            Kind::Ucs2 => unicode::ucs2(bytes, out),
            Kind::Utf16 => unicode::utf16(bytes, out, u16::from_be_bytes),
            Kind::Utf16Le => unicode::utf16(bytes, out, u16::from_le_bytes),
            Kind::Utf32 => unicode::utf32(bytes, out),
        };
        done.map_err(|At(offset, length)| {
            out.truncate(start);
            let mut kept = [0; 4];
            let wrong = bytes.get(offset..).unwrap_or_default();
            let length = length.min(wrong.len()).min(kept.len());
            for (slot, byte) in kept.iter_mut().zip(wrong.iter().take(length)) {
                *slot = *byte;
            }
            ConvertError { charset: self.name, offset, bytes: kept, length: length as u8 }
        })
    }
}

/// Offset and number of the bytes that are no character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(usize, usize);

/// The bytes at hand are no character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault;

/// Copies ASCII and leaves each character that begins with a byte from 0x80 on to `character`, which gets all bytes
/// that are left, appends one character and says how many bytes it took.
fn high(
    bytes: &[u8],
    out: &mut Vec<u8>,
    mut character: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Fault>,
) -> Result<(), At> {
    let mut rest = bytes;
    loop {
        let plain = rest.iter().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (ascii, others) = rest.split_at(plain);
        out.extend_from_slice(ascii);
        if others.is_empty() {
            return Ok(());
        }
        rest = others;
        while rest.first().is_some_and(|byte| !byte.is_ascii()) {
            let taken = character(rest, out).map_err(|Fault| At(bytes.len() - rest.len(), 4))?;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// Appends a character of the Basic Multilingual Plane; 0 stands for none, and surrogates are none.
#[inline]
fn push_unit(unit: u16, out: &mut Vec<u8>) -> Result<(), Fault> {
    // Pieces of fixed sizes: several times as fast as `encode_utf8` and a copy of some length.
    let tail = 0x80 | (unit & 0x3f) as u8;
    match unit {
        0 | 0xd800..=0xdfff => return Err(Fault),
        1..=0x7f => out.push(unit as u8),
        0x80..=0x7ff => out.extend_from_slice(&[0xc0 | (unit >> 6) as u8, tail]),
        _ => out.extend_from_slice(&[0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, tail]),
    }
    Ok(())
}

fn push_char(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn single_byte(table: &[u16; 128], bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
    let byte = bytes.first().ok_or(Fault)?;
    let unit = table.get(usize::from(byte & 0x7f)).ok_or(Fault)?;
    push_unit(*unit, out)?;
    Ok(1)
}

/// ASCII but for some letters; bytes from 0x80 on are no characters.
fn swe7(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), At> {
    for (offset, byte) in bytes.iter().enumerate() {
        let letter = single::SWE7.iter().find(|(code, _)| code == byte);
        match letter {
            Some((_, unit)) => push_unit(*unit, out).map_err(|Fault| At(offset, 1))?,
            None if byte.is_ascii() => out.push(*byte),
            None => return Err(At(offset, 1)),
        }
    }
    Ok(())
}
