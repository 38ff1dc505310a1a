//! The C library's allocator, told to give memory back.

#![allow(unsafe_code, reason = "calls of mallopt(3) and malloc_trim(3), which have no safe wrappers")]

/// Buffers from this size on are mapped for themselves and given back when they are freed. Above the size of a row and
/// below that of a batch.
#[cfg(target_env = "gnu")]
const MAP_FROM: libc::c_int = 256 << 10;
/// Free memory at the end of the heap that is kept for the next buffers.
#[cfg(target_env = "gnu")]
const KEEP_FREE: libc::c_int = 1 << 20;

/// Heaps that all threads share. Left alone there are eight for each core, and each keeps what its largest moment took: a
/// lake's commits and rewritings, each on a thread of its own, came to 800 MB in twenty minutes, of which 67 were in use.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 4;

/// Fixes glibc's thresholds. Left alone they grow with the buffers that are freed, up to 32 and 64 MiB: then what one
/// large batch or row group took stays with the process for good. To be called before there are threads.
pub(crate) fn keep_flat() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only writes the allocator's settings; no other thread runs yet.
    unsafe {
        // A value that it does not take leaves it as it was, which costs memory and nothing else.
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP_FREE);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Gives pages back that are free, wherever in the heaps they are: freeing alone gives back the end of a heap. Takes
/// milliseconds, in which other threads may wait for memory.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the heaps' locks, and touches nothing that is in use.
    unsafe {
        // Whether there was anything.
        let _ = libc::malloc_trim(0);
    }
}

#[cfg(test)]
#[cfg(target_env = "gnu")]
mod tests {
    use super::*;

    /// Pages of the process, in bytes.
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
    }

    /// Memory does not grow with the time that a daemon runs (PG-79).
    #[test]
    fn what_is_free_amid_a_heap_goes_back() {
        let many: Vec<Box<[u8; 1_024]>> = (0..128 << 10).map(|_| Box::new([1; 1_024])).collect();
        // Every hundredth stays, so that no end of the heap is free.
        let kept: Vec<_> = many.into_iter().step_by(100).collect();
        let before = resident();
        give_back();
        let after = resident();
        assert!(after + (64 << 20) < before, "{before} bytes before, {after} after, {} kept", kept.len());
    }
}
