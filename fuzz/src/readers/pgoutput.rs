//! SEC-61: a sequence of pgoutput messages, each led by its length in two bytes, into one assembler. Nothing
//! may panic; an error ends the sequence, as it ends a stream.

use tidewire_postgres::probe::{Stream, pgoutput};

/// Whether a message was accepted.
pub(crate) fn read(data: &[u8]) -> bool {
    let mut is_read = pgoutput(data);
    let mut stream = Stream::new();
    let mut rest = data;
    let mut place = 0;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let Some((message, after)) = after.split_at_checked(length) else { break };
        rest = after;
        place += 1;
        if stream.apply(place, message).is_err() {
            break;
        }
        is_read = true;
    }
    is_read
}
