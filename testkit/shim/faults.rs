//! A library for `LD_PRELOAD` that makes disks fail and the wall clock jump under a program that knows nothing of it:
//! it stands before the C library's calls and passes them on, but for those that a control file asks it to spoil.
//! `src/shim.rs` builds it and writes that file. Must not know whose program it is in, and calls nothing of Rust's own
//! library that could come back here.
//!
//! Calls that go past the C library (rustix, `io_uring`) and memory that is mapped are not seen. `CLOCK_MONOTONIC` is
//! true; so are waits until a moment of the wall clock, which the kernel keeps.
//!
//! The control file is [`SIZE`] bytes: words of 64 bits in the machine's order, at the places below, then the folders
//! whose files fail, as text, each ended by a zero byte. What the harness changes while the program runs is one byte:
//! it fills in the other words first.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// Bytes of the control file.
const SIZE: usize = 4096;
/// "TIDEFLT1".
const MAGIC: u64 = 0x5449_4445_464c_5431;
/// Which faults, by bits. Word 0 is [`MAGIC`].
const WORD_MODE: usize = 1;
/// One call in so many fails; 0 and 1 mean each.
const WORD_EVERY: usize = 2;
/// Chooses which ones.
const WORD_SEED: usize = 3;
/// Which of the two offsets of the clock counts: 0 or 1.
const WORD_CLOCK: usize = 4;
/// Two offsets in nanoseconds, signed.
const WORD_OFFSETS: usize = 5;
/// Bytes that may still be written before [`ROOM`] refuses.
const WORD_ROOM: usize = 7;
/// Faults so far.
const WORD_INJECTED: usize = 8;
/// Calls that could have failed so far.
const WORD_CALLS: usize = 9;
/// Syncs of a file whose sync had failed before.
const WORD_RESYNCED: usize = 10;
/// Byte at which the folders begin.
const FOLDERS: usize = 256;

/// Writes and new names are refused with ENOSPC.
const FULL: u64 = 1;
/// fsync and fdatasync fail with EIO, once for each open file: the next one succeeds, as Linux has it.
const SYNC: u64 = 2;
/// Half of a write is taken.
const SHORT: u64 = 4;
/// ENOSPC once the room is used up.
const ROOM: u64 = 8;

const EIO: c_int = 5;
const ENOSPC: c_int = 28;
const ENOSYS: c_int = 38;
const AT_FDCWD: c_int = -100;
const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
const NANOS: i64 = 1_000_000_000;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
    fn readlink(path: *const c_char, into: *mut c_char, size: usize) -> isize;
    fn __errno_location() -> *mut c_int;
}

/// The mapped control file; null while there is none, and then everything is passed on.
static CONTROL: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// Files open now whose sync has failed, by their number.
static LOST: [AtomicBool; 4096] = [const { AtomicBool::new(false) }; 4096];

/// Digests of the paths that standard output and error had when the program began.
static LOGS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Runs when the library is loaded, before the program has a second thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    for (log, fd) in LOGS.iter().zip([1, 2]) {
        log.store(digest(path_of(fd, &mut [0; SIZE])), Ordering::Relaxed);
    }
    // SAFETY: the names end with zero; nobody changes the environment yet. The mapping is never taken away.
    unsafe {
        let path = getenv(c"TESTKIT_FAULTS".as_ptr());
        if path.is_null() {
            return;
        }
        let read_write_close_on_exec = 0o2 | 0o2_000_000;
        let fd = open(path, read_write_close_on_exec);
        if fd < 0 {
            return;
        }
        // The protection is read and write, the mapping is shared. The descriptor stays open: one is no matter.
        let at = mmap(std::ptr::null_mut(), SIZE, 1 | 2, 1, fd, 0);
        if at as isize != -1 && (*at.cast::<AtomicU64>()).load(Ordering::Relaxed) == MAGIC {
            CONTROL.store(at.cast(), Ordering::Release);
        }
    }
}

/// A word of the control file, if there is one.
fn word(place: usize) -> Option<&'static AtomicU64> {
    let control = CONTROL.load(Ordering::Acquire);
    // SAFETY: when it is not null it points to SIZE bytes that stay mapped, and `place` is one of the words above.
    (!control.is_null()).then(|| unsafe { &*control.add(place) })
}

fn value(place: usize) -> u64 {
    word(place).map_or(0, |word| word.load(Ordering::Acquire))
}

fn count(place: usize) -> u64 {
    word(place).map_or(0, |word| word.fetch_add(1, Ordering::AcqRel))
}

/// The C library's own function of that name, looked up once.
macro_rules! real {
    ($name:literal, $type:ty) => {{
        static FOUND: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
        let mut found = FOUND.load(Ordering::Relaxed);
        if found.is_null() {
            let next = -1isize as *mut c_void;
            // SAFETY: the name ends with zero.
            found = unsafe { dlsym(next, $name.as_ptr()) };
            if found.is_null() {
                return failed(ENOSYS) as _;
            }
            FOUND.store(found, Ordering::Relaxed);
        }
        // SAFETY: the C library's function of this name has this type.
        unsafe { std::mem::transmute::<*mut c_void, $type>(found) }
    }};
}

fn failed(number: c_int) -> c_int {
    // SAFETY: it points to this thread's errno.
    unsafe { *__errno_location() = number };
    -1
}

/// Which of these faults are asked for.
fn armed(bits: u64) -> u64 {
    value(WORD_MODE) & bits
}

/// Whether this call is one of those that fail.
fn strikes() -> bool {
    let call = count(WORD_CALLS);
    let every = value(WORD_EVERY);
    // Splitmix64, so that a seed gives the same calls again and no pattern.
    let mut mixed = value(WORD_SEED).wrapping_add(call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    every <= 1 || (mixed ^ mixed >> 31) % every == 0
}

/// Whether a path lies in one of the folders.
fn is_within(path: &[u8]) -> bool {
    let control = CONTROL.load(Ordering::Acquire);
    if control.is_null() {
        return false;
    }
    // SAFETY: SIZE bytes are mapped. The harness writes the folders only while no fault is armed.
    let folders = unsafe { std::slice::from_raw_parts(control.cast::<u8>().add(FOLDERS), SIZE - FOLDERS) };
    let within =
        |folder: &[u8]| path.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')));
    folders.split(|byte| *byte == 0).take_while(|folder| !folder.is_empty()).any(within)
}

/// What a link in `/proc/self` names: the rest of `into` is zero.
fn link<'a>(path: &CStr, into: &'a mut [u8; SIZE]) -> &'a [u8] {
    // SAFETY: `into` has that size.
    let length = unsafe { readlink(path.as_ptr(), into.as_mut_ptr().cast(), into.len()) };
    usize::try_from(length).ok().and_then(|length| into.get(..length)).unwrap_or_default()
}

/// The path of an open file, or of the working directory.
fn path_of(fd: c_int, into: &mut [u8; SIZE]) -> &[u8] {
    if fd == AT_FDCWD {
        return link(c"/proc/self/cwd", into);
    }
    // By hand: the text must need no memory from the heap, as the program may hold its lock.
    let mut name = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
    let (mut rest, mut digits) = (fd.unsigned_abs(), 1);
    while rest >= 10 {
        (rest, digits) = (rest / 10, digits + 1);
    }
    rest = fd.unsigned_abs();
    for place in (14..14 + digits).rev() {
        if let Some(byte) = name.get_mut(place) {
            *byte = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
    }
    CStr::from_bytes_until_nul(&name).map_or(&[], |name| link(name, into))
}

/// Whether an open file lies in one of the folders, and is not the program's log.
fn holds(fd: c_int) -> bool {
    let mut space = [0; SIZE];
    let path = path_of(fd, &mut space);
    is_within(path) && !LOGS.iter().any(|log| log.load(Ordering::Relaxed) == digest(path))
}

/// FNV-1a of a path.
fn digest(path: &[u8]) -> u64 {
    path.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether the file named so, as seen from a folder, lies in one of the folders.
///
/// # Safety
/// `path` ends with zero.
unsafe fn names(folder: c_int, path: *const c_char) -> bool {
    // SAFETY: as the caller promises.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if path.first() == Some(&b'/') { is_within(path) } else { holds(folder) }
}

/// How many of these bytes may be written, or that none may.
fn allowed(fd: c_int, bytes: usize) -> Result<usize, ()> {
    let mode = armed(FULL | SHORT | ROOM);
    if mode == 0 || bytes == 0 || !holds(fd) || !strikes() {
        return Ok(bytes);
    }
    if mode & FULL != 0 {
        count(WORD_INJECTED);
        return Err(());
    }
    let mut left = bytes;
    if mode & SHORT != 0 && left > 1 {
        left /= 2;
    }
    if mode & ROOM != 0 {
        let Some(room) = word(WORD_ROOM) else { return Ok(left) };
        let take = |room: u64| Some(room.saturating_sub(left as u64));
        let before = room.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).unwrap_or_default();
        left = left.min(usize::try_from(before).unwrap_or(usize::MAX));
    }
    if left < bytes {
        count(WORD_INJECTED);
    }
    if left == 0 { Err(()) } else { Ok(left) }
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, from: *const c_void, bytes: usize) -> isize {
    let real = real!(c"write", unsafe extern "C" fn(c_int, *const c_void, usize) -> isize);
    match allowed(fd, bytes) {
        // SAFETY: as the caller promises; no more bytes than it gave.
        Ok(bytes) => unsafe { real(fd, from, bytes) },
        Err(()) => failed(ENOSPC) as isize,
    }
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, from: *const c_void, bytes: usize, at: i64) -> isize {
    let real = real!(c"pwrite64", unsafe extern "C" fn(c_int, *const c_void, usize, i64) -> isize);
    match allowed(fd, bytes) {
        // SAFETY: as the caller promises; no more bytes than it gave.
        Ok(bytes) => unsafe { real(fd, from, bytes, at) },
        Err(()) => failed(ENOSPC) as isize,
    }
}

/// # Safety
/// As of the C library's function. Offsets have 64 bits on every machine that this is for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, from: *const c_void, bytes: usize, at: i64) -> isize {
    // SAFETY: the same function.
    unsafe { pwrite64(fd, from, bytes, at) }
}

/// A piece of memory, as `writev` has it.
#[repr(C)]
pub struct Piece {
    from: *const c_void,
    bytes: usize,
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, pieces: *const Piece, number: c_int) -> isize {
    let real = real!(c"writev", unsafe extern "C" fn(c_int, *const Piece, c_int) -> isize);
    if armed(FULL | SHORT | ROOM) != 0 && holds(fd) {
        let number = usize::try_from(number).unwrap_or_default();
        // SAFETY: the caller promises that there are so many.
        let mut all = (0..number).map(|place| unsafe { &*pieces.add(place) });
        // The first piece alone is a short write as well; nothing at all would be taken for an end.
        if let Some(first) = all.find(|piece| piece.bytes > 0) {
            // SAFETY: as the caller promises.
            return unsafe { write(fd, first.from, first.bytes) };
        }
    }
    // SAFETY: as the caller promises.
    unsafe { real(fd, pieces, number) }
}

/// Whether this sync is to fail.
fn sync_fails(fd: c_int) -> bool {
    let Some(lost) = usize::try_from(fd).ok().and_then(|fd| LOST.get(fd)) else { return false };
    if lost.load(Ordering::Acquire) {
        count(WORD_RESYNCED);
        return false;
    }
    let fails = armed(SYNC) != 0 && holds(fd) && strikes();
    if fails {
        lost.store(true, Ordering::Release);
        count(WORD_INJECTED);
    }
    fails
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    let real = real!(c"fsync", unsafe extern "C" fn(c_int) -> c_int);
    // SAFETY: as the caller promises.
    if sync_fails(fd) { failed(EIO) } else { unsafe { real(fd) } }
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    let real = real!(c"fdatasync", unsafe extern "C" fn(c_int) -> c_int);
    // SAFETY: as the caller promises.
    if sync_fails(fd) { failed(EIO) } else { unsafe { real(fd) } }
}

/// The number may be another file's afterwards.
///
/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let real = real!(c"close", unsafe extern "C" fn(c_int) -> c_int);
    if let Some(lost) = usize::try_from(fd).ok().and_then(|fd| LOST.get(fd)) {
        lost.store(false, Ordering::Release);
    }
    // SAFETY: as the caller promises.
    unsafe { real(fd) }
}

/// Whether a new name is refused: a full disk has no place for it, either.
///
/// # Safety
/// `path` ends with zero.
unsafe fn name_fails(folder: c_int, path: *const c_char) -> bool {
    let full = |mode: u64| mode & FULL != 0 || mode & ROOM != 0 && value(WORD_ROOM) == 0;
    // SAFETY: as the caller promises.
    let fails = full(value(WORD_MODE)) && unsafe { names(folder, path) } && strikes();
    if fails {
        count(WORD_INJECTED);
    }
    fails
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let real = real!(c"rename", unsafe extern "C" fn(*const c_char, *const c_char) -> c_int);
    // SAFETY: as the caller promises.
    unsafe { if name_fails(AT_FDCWD, to) { failed(ENOSPC) } else { real(from, to) } }
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(at: c_int, from: *const c_char, folder: c_int, to: *const c_char) -> c_int {
    let real = real!(c"renameat", unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char) -> c_int);
    // SAFETY: as the caller promises.
    unsafe { if name_fails(folder, to) { failed(ENOSPC) } else { real(at, from, folder, to) } }
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(
    at: c_int,
    from: *const c_char,
    folder: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    let real = real!(c"linkat", unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char, c_int) -> c_int);
    // SAFETY: as the caller promises.
    unsafe { if name_fails(folder, to) { failed(ENOSPC) } else { real(at, from, folder, to, flags) } }
}

/// # Safety
/// As of the C library's function.
#[unsafe(export_name = "link")]
pub unsafe extern "C" fn hard_link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the same as this, by POSIX.
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

/// Seconds and a smaller unit.
#[repr(C)]
pub struct Moment {
    seconds: i64,
    rest: c_long,
}

/// By how much the wall clock is to be wrong, in nanoseconds.
fn offset() -> i64 {
    let slot = WORD_OFFSETS + usize::from(value(WORD_CLOCK) != 0);
    value(slot) as i64
}

/// Moves a moment whose smaller unit is of so many nanoseconds.
fn shift(moment: &mut Moment, unit: i64) {
    let offset = offset();
    if offset != 0 {
        let rest = moment.rest.saturating_mul(unit).saturating_add(offset.rem_euclid(NANOS));
        moment.seconds = moment.seconds.saturating_add(offset.div_euclid(NANOS)).saturating_add(rest.div_euclid(NANOS));
        moment.rest = rest.rem_euclid(NANOS) / unit;
    }
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, into: *mut Moment) -> c_int {
    let real = real!(c"clock_gettime", unsafe extern "C" fn(c_int, *mut Moment) -> c_int);
    // SAFETY: as the caller promises.
    let result = unsafe { real(clock, into) };
    if result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        // SAFETY: the call has filled it in.
        shift(unsafe { &mut *into }, 1);
    }
    result
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(into: *mut Moment, zone: *mut c_void) -> c_int {
    let real = real!(c"gettimeofday", unsafe extern "C" fn(*mut Moment, *mut c_void) -> c_int);
    // SAFETY: as the caller promises.
    let result = unsafe { real(into, zone) };
    if result == 0 && !into.is_null() {
        // SAFETY: the call has filled it in.
        shift(unsafe { &mut *into }, 1000);
    }
    result
}

/// # Safety
/// As of the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(into: *mut i64) -> i64 {
    let mut now = Moment { seconds: 0, rest: 0 };
    // SAFETY: it is filled in.
    unsafe { clock_gettime(CLOCK_REALTIME, &raw mut now) };
    if !into.is_null() {
        // SAFETY: as the caller promises.
        unsafe { *into = now.seconds };
    }
    now.seconds
}
