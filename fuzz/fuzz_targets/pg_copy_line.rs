//! The target of `readers/pg_copy_line.rs`.
#![no_main]

#[path = "../readers/pg_copy_line.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
