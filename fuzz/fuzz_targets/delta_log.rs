//! The target of `readers/delta_log.rs`.
#![no_main]

#[path = "../readers/delta_log.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
