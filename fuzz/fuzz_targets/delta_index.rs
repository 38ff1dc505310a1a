//! The target of `readers/delta_index.rs`.
#![no_main]

#[path = "../readers/delta_index.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
