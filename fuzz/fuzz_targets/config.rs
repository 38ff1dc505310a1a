//! The target of `readers/config.rs`.
#![no_main]

#[path = "../readers/config.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
