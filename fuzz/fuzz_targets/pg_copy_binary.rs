//! SEC-62: messages of a binary `COPY ... TO STDOUT`. Nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_postgres::probe::copy_binary;

fuzz_target!(|data: &[u8]| {
    let (first, second) = data.split_at(data.len() / 2);
    copy_binary(&[20, 25, 1700, 1184, 1562, 3802], &[first, second]);
    copy_binary(&[], &[data]);
    // Behind a header, so that rows are reached at once.
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    copy_binary(&[20, 25, 1700, 1184, 1562, 3802], &[header, first, second]);
});
