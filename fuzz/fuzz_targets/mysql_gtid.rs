//! The target of `readers/mysql_gtid.rs`.
#![no_main]

#[path = "../readers/mysql_gtid.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
