//! SK-51: a deletion vector as storage hands it out, raw and as text in a descriptor. Nothing may panic, and no
//! few bytes may claim much memory.

use tidewire_delta::probe::{deletion_vector, inline_deletion_vector};

/// Whether it is a vector of any form.
pub(crate) fn read(data: &[u8]) -> bool {
    let mut is_read = deletion_vector(data).is_some();
    if let Some((size, text)) = data.split_first_chunk::<4>()
        && let Ok(text) = std::str::from_utf8(text)
    {
        is_read |= inline_deletion_vector(text, i32::from_be_bytes(*size)).is_some();
        is_read |= inline_deletion_vector(text, i32::try_from(text.len() / 5 * 4).unwrap_or(0)).is_some();
    }
    // Behind the head that every vector of ours has, so that the bitmap is reached at once.
    let mut headed = vec![0xd1, 0xd3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    headed.extend_from_slice(data);
    is_read | deletion_vector(&headed).is_some()
}
