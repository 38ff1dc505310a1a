//! SK-51: an entry of a Delta log, which others may have written. Nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_delta::probe::log_entry;

fuzz_target!(|data: &[u8]| {
    log_entry(data);
});
