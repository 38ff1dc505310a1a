//! SEC-65: a binary log from its first event on, of either server, into one assembler; each event has its length within
//! itself. Nothing may panic; an error ends the log, as it ends a stream.

use tidewire_mysql::probe::{Log, events};

/// Whether it was read as far as it has whole events.
pub(crate) fn read(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let Ok(mut log) = Log::new(first & 1 == 1) else { return false };
    let mut rest = events(rest).unwrap_or(rest);
    loop {
        match log.read(rest) {
            Ok((Some(_), left)) => rest = left,
            Ok((None, _)) => return true,
            Err(_) => return false,
        }
    }
}
