//! SK-51: a deletion vector as storage hands it out, raw and as text in a descriptor. Nothing may panic, and no
//! few bytes may claim much memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_delta::probe::{deletion_vector, inline_deletion_vector};

fuzz_target!(|data: &[u8]| {
    deletion_vector(data);
    if let Some((size, text)) = data.split_first_chunk::<4>()
        && let Ok(text) = std::str::from_utf8(text)
    {
        inline_deletion_vector(text, i32::from_be_bytes(*size));
        inline_deletion_vector(text, i32::try_from(text.len() / 5 * 4).unwrap_or(0));
    }
    // Behind the head that every vector of ours has, so that the bitmap is reached at once.
    let mut headed = vec![0xd1, 0xd3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    headed.extend_from_slice(data);
    deletion_vector(&headed);
});
