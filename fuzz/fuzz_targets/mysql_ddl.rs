//! The target of `readers/mysql_ddl.rs`.
#![no_main]

#[path = "../readers/mysql_ddl.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    reader::read(data);
});
