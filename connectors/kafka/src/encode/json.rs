//! Strings and bytes as JSON: escapes, base64 and hexadecimal, appended to a buffer. Knows no type and
//! no table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";
const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";

/// Writes UTF-8 as a JSON string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Writes UTF-8 with the escapes that Jackson uses: the short ones, `\u00XX` for other controls, and
/// surrogate pairs for what lies beyond the basic plane.
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let (words, tail) = text.as_chunks::<8>();
    // What lies before this is written.
    let mut done = 0;
    for (index, word) in words.iter().enumerate() {
        let found = specials(u64::from_le_bytes(*word));
        if found != 0 {
            done = write_specials(out, text, done, index * 8, found);
        }
    }
    if !tail.is_empty() {
        // Spaces stand for what is missing: they need no escape.
        let mut word = [b' '; 8];
        word.iter_mut().zip(tail).for_each(|(slot, byte)| *slot = *byte);
        let found = specials(u64::from_le_bytes(word));
        if found != 0 {
            done = write_specials(out, text, done, text.len() - tail.len(), found);
        }
    }
    out.extend_from_slice(text.get(done..).unwrap_or_default());
}

/// Writes text that is known to need no escape as a JSON string.
pub(crate) fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Writes a colon-ended member name: `"name":`.
pub(crate) fn write_name(out: &mut Vec<u8>, name: &str) {
    write_string(out, name.as_bytes());
    out.push(b':');
}

/// Writes bytes as base64 text with quotes.
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(slot) = out.get_mut(start..) {
        // The slot has exactly the encoded length, which is the only thing that could go wrong.
        let written = STANDARD.encode_slice(bytes, slot).unwrap_or(0);
        out.truncate(start + written);
    }
    out.push(b'"');
}

/// Writes bytes as lower-case hexadecimal text with quotes.
pub(crate) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for byte in bytes {
        out.extend([nibble(HEX_LOWER, byte >> 4), nibble(HEX_LOWER, byte & 15)]);
    }
    out.push(b'"');
}

/// Writes an integer.
pub(crate) fn write_int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

// The high bit of each byte that needs an escape: `"`, `\`, controls, and the first byte of what lies
// beyond the basic plane. Exact: adding within seven bits never carries into the next byte.
fn specials(word: u64) -> u64 {
    let low = !HIGH;
    let nonzero = |x: u64| ((x & low) + low) | x;
    let quote_or_backslash = !(nonzero(word ^ (ONES * 0x22)) & nonzero(word ^ (ONES * 0x5c)));
    let control = !(((word & low) + ONES * 0x60) | word);
    let astral = word & (word << 1) & (word << 2) & (word << 3);
    (quote_or_backslash | control | astral) & HIGH
}

// Writes the bytes from `done` on up to and with each special byte of the word at `base`; gives what is
// written then.
fn write_specials(out: &mut Vec<u8>, text: &[u8], mut done: usize, base: usize, mut found: u64) -> usize {
    while found != 0 {
        let at = base + found.trailing_zeros() as usize / 8;
        found &= found - 1;
        out.extend_from_slice(text.get(done..at).unwrap_or_default());
        done = match text.get(at..).unwrap_or_default() {
            [a @ 0xf0..=0xff, b, c, d, ..] => {
                write_surrogates(out, *a, *b, *c, *d);
                at + 4
            }
            // The byte itself is copied with what follows it.
            [b'"' | b'\\', ..] => {
                out.push(b'\\');
                at
            }
            [byte, ..] => {
                write_escape(out, *byte);
                at + 1
            }
            [] => at,
        };
    }
    done
}

fn nibble(digits: &[u8; 16], value: u8) -> u8 {
    digits.get(usize::from(value & 15)).copied().unwrap_or(b'0')
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            write_unit(out, u32::from(byte));
            return;
        }
    };
    out.extend([b'\\', short]);
}

fn write_unit(out: &mut Vec<u8>, unit: u32) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(nibble(HEX_UPPER, (unit >> shift) as u8));
    }
}

fn write_surrogates(out: &mut Vec<u8>, a: u8, b: u8, c: u8, d: u8) {
    let low = |byte: u8| u32::from(byte & 0x3f);
    let code = u32::from(a & 7) << 18 | low(b) << 12 | low(c) << 6 | low(d);
    let rest = code.saturating_sub(0x1_0000);
    write_unit(out, 0xd800 + (rest >> 10));
    write_unit(out, 0xdc00 + (rest & 0x3ff));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_those_of_jackson() {
        for (text, expect) in [
            ("plain", r#""plain""#),
            (
                "quote\" back\\ tab\t nl\n \u{1}\u{1f}\u{7f}/",
                "\"quote\\\" back\\\\ tab\\t nl\\n \\u0001\\u001F\u{7f}/\"",
            ),
            ("\u{8}\u{c}\r", r#""\b\f\r""#),
            ("é中", "\"é中\""),
            ("1234567😀", r#""1234567\uD83D\uDE00""#),
            ("\u{10000}\u{10ffff}", r#""\uD800\uDC00\uDBFF\uDFFF""#),
        ] {
            assert_eq!(string(text), expect);
        }
    }

    proptest! {
        #[test]
        fn strings_read_back(text: String) {
            prop_assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text);
        }

        #[test]
        fn strings_of_specials_read_back(text in "[\\x00-\\x22\\\\😀é\\x7f]{0,40}") {
            prop_assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text);
        }

        #[test]
        fn bytes_read_back(bytes: Vec<u8>) {
            let mut out = Vec::new();
            write_base64(&mut out, &bytes);
            let text: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(STANDARD.decode(text).unwrap(), bytes);
        }
    }
}
