//! SEC-63: a statement of either server under any of the modes that change how it reads, applied to no tables.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_mysql::probe::statement;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    if let Ok(sql) = std::str::from_utf8(rest) {
        let mode = u64::from(first >> 1 & 1) << 2 | u64::from(first >> 2 & 1) << 20 | u64::from(first >> 3 & 1) << 9;
        statement(first & 1 == 1, mode, sql);
    }
});
