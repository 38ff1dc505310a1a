//! SK-51: an entry of a Delta log, which others may have written. Nothing may panic.

use tidewire_delta::probe::log_entry;

/// Whether it is an entry.
pub(crate) fn read(data: &[u8]) -> bool {
    log_entry(data)
}
