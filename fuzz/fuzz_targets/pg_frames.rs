//! SEC-61, PG-75: what a server sends, from the first byte of the login on. Nothing may panic, and frames may not
//! depend on the portions in which their bytes come; the first byte is the size of those.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_postgres::probe::frames;

fuzz_target!(|data: &[u8]| {
    let Some((portion, bytes)) = data.split_first() else { return };
    let whole = frames(bytes, usize::MAX);
    assert_eq!(frames(bytes, usize::from(*portion)), whole);
});
