//! The target of `readers/mysql_json.rs`.
#![no_main]

#[path = "../readers/mysql_json.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
