//! SEC-62: a binary log from its first event on, of either server, into one assembler; each event has its length within
//! itself. Nothing may panic; an error ends the log, as it ends a stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_mysql::probe::{Log, events};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(mut log) = Log::new(first & 1 == 1) else { return };
    let mut rest = events(rest).unwrap_or(rest);
    while let Ok((Some(_), left)) = log.read(rest) {
        rest = left;
    }
});
