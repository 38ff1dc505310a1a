//! SEC-65: GTID sets in the log's form and as text, and MariaDB's positions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_mysql::probe::gtids;

fuzz_target!(|data: &[u8]| {
    gtids(data);
});
