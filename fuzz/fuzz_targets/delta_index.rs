//! SK-51: a run of the key index as a disk may hand it out, as it is and under checksums that are right. Nothing may
//! panic, and a key that is found must be one that was asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_delta::probe::index_run;

fuzz_target!(|data: &[u8]| {
    let keys: Vec<u64> = data.chunks_exact(8).take(16).map(|c| u64::from_le_bytes(c.try_into().unwrap_or_default())).collect();
    for sealed in [false, true] {
        index_run(data, sealed, &keys);
    }
});
