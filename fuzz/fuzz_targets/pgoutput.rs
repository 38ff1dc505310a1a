//! The target of `readers/pgoutput.rs`.
#![no_main]

#[path = "../readers/pgoutput.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
