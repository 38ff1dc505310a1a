//! SEC-67: a binary JSON document, and differences that are applied to it; the first two bytes are the document's length.

use tidewire_mysql::probe::document;

/// Whether the document can be printed, or the differences be applied.
pub(crate) fn read(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return false };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (whole, differences) = rest.split_at(length);
    document(whole, differences)
}
