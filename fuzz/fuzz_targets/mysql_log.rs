//! The target of `readers/mysql_log.rs`.
#![no_main]

#[path = "../readers/mysql_log.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
