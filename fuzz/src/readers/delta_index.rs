//! SK-51: a run of the key index as a disk may hand it out, as it is and under checksums that are right. Its parts begin at
//! whole pages and are mostly nothing, so they come without what is nothing, each led by its length in two bytes. Nothing
//! may panic.

use tidewire_delta::probe::index_run;

const PAGE: usize = 4096;
/// Bytes of an entry of a small run, which begins with its key.
const ENTRY: usize = 15;

/// Whether it is a run, and a key of its last part is found.
pub(crate) fn read(data: &[u8]) -> bool {
    let (mut run, mut last, mut rest) = (Vec::new(), data, data);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        (last, rest) = after.split_at(length);
        run.extend_from_slice(last);
        run.resize(run.len().next_multiple_of(PAGE), 0);
    }
    let key = |entry: &[u8]| entry.first_chunk().map_or(0, |key| u64::from_be_bytes(*key));
    let keys: Vec<u64> = last.chunks(ENTRY).take(16).map(key).collect();
    index_run(data, false, &keys);
    index_run(&run, false, &keys);
    index_run(&run, true, &keys).is_some_and(|found| found > 0)
}
