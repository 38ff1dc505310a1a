//! MariaDB's `UUID`, `INET4` and `INET6`. The log carries them in network order, whatever order the tables keep, and
//! without zeros at the end, as it does with `BINARY`; see `pack` in `plugin/type_uuid/sql_type_uuid.h` and
//! `sql/sql_type_fixedbin.h` of the server. Results carry their text.

use super::ValueError;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Tag};

const UUID: ValueError = ValueError::Malformed("a uuid");
const HEX: &[u8; 16] = b"0123456789abcdef";
/// Bytes of a UUID's text.
const UUID_TEXT: usize = 36;

/// All `N` bytes, the missing ones zero.
fn filled<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    out.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(out)
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        out.push(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    }
}

pub(super) fn uuid(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let bytes: [u8; 16] = filled(bytes).ok_or(UUID)?;
    Ok(builder.long_with(Tag::Uuid, |out| {
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            push_hex(out, *byte);
        }
    }))
}

/// Lower-case text with hyphens.
pub(super) fn uuid_text(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let well_formed = bytes.len() == UUID_TEXT
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => HEX.contains(byte),
        });
    if well_formed { Ok(builder.long(Tag::Uuid, bytes)) } else { Err(UUID) }
}

pub(super) fn inet4(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let bytes: [u8; 4] = filled(bytes).ok_or(ValueError::Malformed("an address of four bytes"))?;
    Ok(builder.long_with(Tag::Other, |out| write_inet4(out, bytes)))
}

fn write_inet4(out: &mut Vec<u8>, bytes: [u8; 4]) {
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(*byte).as_bytes());
    }
}

/// As `INET6_NTOA` prints it: the first of the longest runs of zero groups, be it a single one, is `::`; the last four
/// bytes are an IPv4 address after six zero groups, or five and `ffff`.
pub(super) fn inet6(bytes: &[u8], builder: &mut BatchBuilder) -> Result<Cell, ValueError> {
    let bytes: [u8; 16] = filled(bytes).ok_or(ValueError::Malformed("an address of 16 bytes"))?;
    Ok(builder.long_with(Tag::Other, |out| write_inet6(out, bytes)))
}

fn write_inet6(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let mut groups = [0u16; 8];
    for (group, pair) in groups.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *group = u16::from_be_bytes(*pair);
    }
    let (mut gap, mut gap_length) = (usize::MAX, 0);
    let mut run = 0;
    for (index, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > gap_length {
            (gap, gap_length) = (index + 1 - run, run);
        }
    }
    let mapped = gap_length == 6 || gap_length == 5 && groups.get(5) == Some(&0xffff);
    let mut index = 0;
    while let Some(group) = groups.get(index) {
        if index == gap {
            out.extend_from_slice(if index == 0 { b"::" } else { b":" });
            index += gap_length;
            continue;
        }
        if index == 6 && gap == 0 && mapped {
            let [.., a, b, c, d] = bytes;
            write_inet4(out, [a, b, c, d]);
            return;
        }
        write_group(out, *group);
        index += 1;
        if index < groups.len() {
            out.push(b':');
        }
    }
}

/// In hexadecimal without zeros in front.
fn write_group(out: &mut Vec<u8>, group: u16) {
    let mut shift = 12;
    while shift > 0 && group >> shift == 0 {
        shift -= 4;
    }
    loop {
        out.push(HEX.get(usize::from(group >> shift & 15)).copied().unwrap_or(b'0'));
        if shift == 0 {
            return;
        }
        shift -= 4;
    }
}

#[cfg(test)]
mod tests;
