//! The target of `readers/pg_frames.rs`.
#![no_main]

#[path = "../readers/pg_frames.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
