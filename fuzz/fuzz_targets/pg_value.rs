//! The target of `readers/pg_value.rs`.
#![no_main]

#[path = "../readers/pg_value.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
