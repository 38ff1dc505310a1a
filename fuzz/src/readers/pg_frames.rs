//! SEC-61, PG-75: what a server sends, from the first byte of the login on. Nothing may panic, and frames may not
//! depend on the portions in which their bytes come; the first byte is the size of those.

use tidewire_postgres::probe::frames;

/// Whether there is a frame.
pub(crate) fn read(data: &[u8]) -> bool {
    let Some((portion, bytes)) = data.split_first() else { return false };
    let whole = frames(bytes, usize::MAX);
    assert_eq!(frames(bytes, usize::from(*portion)), whole);
    !whole.is_empty()
}
