//! The target of `readers/delta_vector.rs`.
#![no_main]

#[path = "../readers/delta_vector.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
