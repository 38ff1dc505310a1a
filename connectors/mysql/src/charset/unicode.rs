//! The forms of Unicode: UTF-8 is checked, the others are converted. Numbers are big-endian except in `utf16le`.
//! Surrogates are characters only as pairs, and only in `utf16` and `utf16le`.

use super::{At, push_char};

/// `utf8mb3` and `utf8mb4`.
pub(super) fn utf8(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), At> {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(_) => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        Err(fault) => Err(At(fault.valid_up_to(), fault.error_len().unwrap_or(4))),
    }
}

/// `ucs2`: two bytes for each character.
pub(super) fn ucs2(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), At> {
    each(bytes, |unit: [u8; 2]| char::from_u32(u16::from_be_bytes(unit).into()), out)
}

/// `utf32`: four bytes for each character.
pub(super) fn utf32(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), At> {
    each(bytes, |unit: [u8; 4]| char::from_u32(u32::from_be_bytes(unit)), out)
}

/// `utf16` and `utf16le`.
pub(super) fn utf16(bytes: &[u8], out: &mut Vec<u8>, unit: impl Fn([u8; 2]) -> u16) -> Result<(), At> {
    let (units, rest) = bytes.as_chunks::<2>();
    let mut offset = 0;
    for character in char::decode_utf16(units.iter().map(|bytes| unit(*bytes))) {
        let character = character.map_err(|_| At(offset, 2))?;
        offset += 2 * character.len_utf16();
        push_char(character, out);
    }
    if rest.is_empty() { Ok(()) } else { Err(At(offset, rest.len())) }
}

fn each<const N: usize>(
    bytes: &[u8],
    character: impl Fn([u8; N]) -> Option<char>,
    out: &mut Vec<u8>,
) -> Result<(), At> {
    let (units, rest) = bytes.as_chunks::<N>();
    for (index, unit) in units.iter().enumerate() {
        push_char(character(*unit).ok_or(At(index * N, N))?, out);
    }
    if rest.is_empty() { Ok(()) } else { Err(At(units.len() * N, rest.len())) }
}
