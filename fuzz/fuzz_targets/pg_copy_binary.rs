//! The target of `readers/pg_copy_binary.rs`.
#![no_main]

#[path = "../readers/pg_copy_binary.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
