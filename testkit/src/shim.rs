//! Failing disks and a jumping wall clock for a program that runs: a library for `LD_PRELOAD` (`shim/faults.rs`, which
//! says what it sees and what it does not), built once into the cache, and the control file by which a test changes what
//! fails while the program runs. Must not know which program that is.

use crate::{cache, process};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOURCE: &str = include_str!("../shim/faults.rs");
const LIBRARY: &str = "libfaults.so";

/// The control file as `shim/faults.rs` has it: 64-bit words at these numbers.
const SIZE: u64 = 4096;
const MAGIC: u64 = 0x5449_4445_464c_5431;
const WORD_MODE: u64 = 1;
const WORD_EVERY: u64 = 2;
const WORD_SEED: u64 = 3;
const WORD_CLOCK: u64 = 4;
const WORD_OFFSETS: u64 = 5;
const WORD_ROOM: u64 = 7;
const WORD_INJECTED: u64 = 8;
const WORD_RESYNCED: u64 = 10;
/// Byte at which the folders begin, each ended by a zero byte, and one more.
const FOLDERS: u64 = 256;

/// What a disk does wrong. Faults may be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Disk {
    mode: u8,
    every: u64,
    seed: u64,
    room: u64,
}

impl Disk {
    /// Nothing can be written, no name be made: ENOSPC.
    pub const FULL: Disk = Disk { mode: 1, every: 1, seed: 0, room: 0 };
    /// fsync and fdatasync fail with EIO, once for each open file; the next one of it succeeds, as on Linux, whatever
    /// became of the content.
    pub const SYNC_FAILS: Disk = Disk { mode: 2, every: 1, seed: 0, room: 0 };
    /// Of each write half is taken.
    pub const SHORT_WRITES: Disk = Disk { mode: 4, every: 1, seed: 0, room: 0 };

    /// ENOSPC once so many bytes have been written; the write that meets the end is a short one.
    pub const fn full_after(room: u64) -> Disk {
        Disk { mode: 8, every: 1, seed: 0, room }
    }

    /// The other's faults as well.
    pub const fn and(self, other: Disk) -> Disk {
        let room = if other.mode & 8 == 0 { self.room } else { other.room };
        Disk { mode: self.mode | other.mode, room, ..self }
    }

    /// Only one call in `every`, chosen by `seed`.
    pub const fn one_in(self, every: u64, seed: u64) -> Disk {
        Disk { every, seed, ..self }
    }
}

/// The control of one program's faults.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    path: PathBuf,
    control: File,
}

impl Shim {
    /// Builds the library unless the cache has it, and makes a control file without faults in `folder`, which must not be
    /// a folder whose disk is to fail.
    pub fn new(folder: &Path) -> Result<Shim> {
        let path = folder.join("faults.control");
        let control = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let control = control.with_context(|| format!("make {}", path.display()))?;
        control.set_len(SIZE).context("make the control file")?;
        let shim = Shim { library: library()?, path, control };
        shim.set(0, MAGIC)?;
        Ok(shim)
    }

    /// What the program needs in its environment, before its start.
    pub fn environment(&self) -> [(String, String); 2] {
        let (library, control) = (self.library.display().to_string(), self.path.display().to_string());
        [("LD_PRELOAD".to_owned(), library), ("TESTKIT_FAULTS".to_owned(), control)]
    }

    /// From now on the disk of these folders fails; one that is not there yet may be named by an absolute path.
    pub fn disk(&self, fault: Disk, folders: &[&Path]) -> Result<()> {
        self.heal()?;
        let mut text = Vec::new();
        for folder in folders {
            text.extend_from_slice(real_path(folder)?.as_os_str().as_encoded_bytes());
            text.push(0);
        }
        text.push(0);
        if text.len() as u64 > SIZE - FOLDERS {
            bail!("the names of the folders are too long");
        }
        self.control.write_all_at(&text, FOLDERS).context("write the control file")?;
        self.set(WORD_EVERY, fault.every)?;
        self.set(WORD_SEED, fault.seed)?;
        self.set(WORD_ROOM, fault.room)?;
        self.set_byte(WORD_MODE, fault.mode)
    }

    /// From now on disks are whole again.
    pub fn heal(&self) -> Result<()> {
        self.set_byte(WORD_MODE, 0)
    }

    /// Sets the program's wall clock by so many seconds before or after the machine's.
    pub fn clock_offset(&self, seconds: i64) -> Result<()> {
        let nanos = Duration::from_secs(seconds.unsigned_abs()).as_nanos();
        let nanos = i64::try_from(nanos).context("a clock off by centuries")? * seconds.signum();
        let slot = u8::from(self.get(WORD_CLOCK)? == 0);
        self.set(WORD_OFFSETS + u64::from(slot), nanos.cast_unsigned())?;
        self.set_byte(WORD_CLOCK, slot)
    }

    /// Calls that have failed or were cut short, since the beginning.
    pub fn injected(&self) -> Result<u64> {
        self.get(WORD_INJECTED)
    }

    /// Syncs of files whose sync had failed before: each told its caller that content is durable which the disk lost.
    pub fn resynced(&self) -> Result<u64> {
        self.get(WORD_RESYNCED)
    }

    fn get(&self, word: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 8 * word).context("read the control file")?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn set(&self, word: u64, value: u64) -> Result<()> {
        self.control.write_all_at(&value.to_ne_bytes(), 8 * word).context("write the control file")
    }

    /// A word that the program may read meanwhile: of a single byte it never sees half.
    fn set_byte(&self, word: u64, value: u8) -> Result<()> {
        let first = if cfg!(target_endian = "big") { 7 } else { 0 };
        self.control.write_all_at(&[value], 8 * word + first).context("write the control file")
    }
}

/// The folder as the kernel names it, though its end may not be there yet.
fn real_path(folder: &Path) -> Result<PathBuf> {
    let there = folder.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"));
    let real = there.canonicalize().with_context(|| format!("find {}", there.display()))?;
    let rest = folder.strip_prefix(there).unwrap_or(folder);
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// The built library, by what it is built from.
fn library() -> Result<PathBuf> {
    let mut content = DefaultHasher::new();
    (SOURCE, std::env::consts::ARCH, env!("CARGO_PKG_RUST_VERSION")).hash(&mut content);
    let name = format!("faults-{:016x}", content.finish());
    let place = cache::entry(&cache::folder()?.join("tools"), &name, "library of faults", |folder| {
        let source = folder.join("faults.rs");
        std::fs::write(&source, SOURCE).context("write the library's source")?;
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(compiler);
        command.args(["--edition", "2024", "--crate-type", "cdylib", "-O", "-C", "panic=abort", "-C", "strip=symbols"]);
        process::output(command.arg("-o").arg(folder.join(LIBRARY)).arg(&source)).map(drop)
    })?;
    Ok(place.join(LIBRARY))
}

#[cfg(test)]
mod tests;
