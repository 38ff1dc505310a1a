//! SEC-62: one line of `COPY ... TO STDOUT` in text form. Nothing may panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_postgres::probe::copy_line;

fuzz_target!(|data: &[u8]| {
    copy_line(&[20, 25, 17, 1009], data);
    copy_line(&[25], data);
    copy_line(&[], data);
});
