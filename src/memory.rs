//! The C library's allocator, told to give memory back.

#![allow(unsafe_code, reason = "two calls of mallopt(3), which have no safe wrapper")]

/// Buffers from this size on are mapped for themselves and given back when they are freed. Above the size of a row and
/// below that of a batch.
#[cfg(target_env = "gnu")]
const MAP_FROM: libc::c_int = 256 << 10;
/// Free memory at the end of the heap that is kept for the next buffers.
#[cfg(target_env = "gnu")]
const KEEP_FREE: libc::c_int = 1 << 20;

/// Fixes glibc's thresholds. Left alone they grow with the buffers that are freed, up to 32 and 64 MiB: then what one
/// large batch or row group took stays with the process for good. To be called before there are threads.
pub(crate) fn keep_flat() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only writes the allocator's settings; no other thread runs yet.
    unsafe {
        // A value that it does not take leaves it as it was, which costs memory and nothing else.
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAP_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP_FREE);
    }
}
