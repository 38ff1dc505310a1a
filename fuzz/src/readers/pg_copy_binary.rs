//! SEC-62: messages of a binary `COPY ... TO STDOUT`, each led by its length in two bytes. Nothing may panic.

use tidewire_postgres::probe::copy_binary;

/// See `pg_type.dat` of the server.
const TYPES: [u32; 6] = [20, 25, 1700, 1184, 1562, 3802];
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Whether it is rows of one of the tables, to their end.
pub(crate) fn read(data: &[u8]) -> bool {
    // Behind a header, so that rows are reached at once.
    let (mut messages, mut rest) = (vec![HEADER], data);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (message, after) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
        messages.push(message);
        rest = after;
    }
    let own = messages.get(1..).unwrap_or_default();
    copy_binary(&TYPES, own) | copy_binary(&[], own) | copy_binary(&TYPES, &messages)
}
