//! SEC-64: a binary JSON document, and differences that are applied to it; the first two bytes are the document's length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_mysql::probe::document;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (whole, differences) = rest.split_at(length);
    document(whole, differences);
});
