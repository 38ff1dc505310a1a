//! The files of one index: their names, how they come and go. Knows nothing of what they hold.

use crate::error;
use rustix::fs::MemfdFlags;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidewire_core::Result;

const PREFIX: &str = "run-";
const SUFFIX: &str = ".idx";
const MANIFEST: &str = "manifest";
const MANIFEST_NEW: &str = "manifest.new";

/// The directory of an index; without a path its files are in memory and have no names.
#[derive(Debug)]
pub(crate) struct Folder {
    path: Option<PathBuf>,
    next: AtomicU64,
}

/// A run's file. It is removed with the last use of it, unless it is kept.
#[derive(Debug)]
pub(crate) struct Name {
    path: Option<PathBuf>,
    number: u64,
    kept: AtomicBool,
}

impl Name {
    /// Of bytes that are no file.
    pub(crate) fn nowhere() -> Name {
        Name { path: None, number: 0, kept: AtomicBool::new(true) }
    }

    /// For errors.
    pub(crate) fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "memory".to_owned(), |path| path.display().to_string())
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the file stays.
    pub(crate) fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Relaxed);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| !self.is_kept()) {
            // What stays is an orphan, which the next start removes.
            let _ = fs::remove_file(path);
        }
    }
}

impl Folder {
    /// Creates the directory if it is missing.
    pub(crate) fn open(path: Option<&Path>) -> Result<Folder> {
        if let Some(path) = path {
            fs::create_dir_all(path)
                .map_err(|cause| error::local_io("create the directory", &path.display().to_string(), cause))?;
        }
        Ok(Folder { path: path.map(Path::to_owned), next: AtomicU64::new(1) })
    }

    /// One that may be missing.
    pub(crate) fn at(path: &Path) -> Folder {
        Folder { path: Some(path.to_owned()), next: AtomicU64::new(1) }
    }

    /// For errors and logs.
    pub(crate) fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "memory".to_owned(), |path| path.display().to_string())
    }

    /// The number that no run has had.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Numbers go on from here.
    pub(crate) fn go_on_from(&self, next: u64) {
        self.next.fetch_max(next, Ordering::Relaxed);
    }

    /// A new file for a run.
    pub(crate) fn create(&self) -> Result<(Name, File)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.as_ref().map(|path| path.join(format!("{PREFIX}{number}{SUFFIX}")));
        let name = Name { path, number, kept: AtomicBool::new(false) };
        let file = match &name.path {
            Some(path) => OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path),
            None => rustix::fs::memfd_create("tidewire-index", MemfdFlags::CLOEXEC).map(File::from).map_err(Into::into),
        };
        let file = file.map_err(|cause| error::local_io("create", &name.place(), cause))?;
        Ok((name, file))
    }

    /// The file of a run that was kept; `None` when it is missing.
    pub(crate) fn find(&self, number: u64) -> Result<Option<(Name, File)>> {
        let Some(path) = self.path.as_ref().map(|path| path.join(format!("{PREFIX}{number}{SUFFIX}"))) else {
            return Ok(None);
        };
        let name = Name { path: Some(path.clone()), number, kept: AtomicBool::new(true) };
        match File::open(&path) {
            Ok(file) => Ok(Some((name, file))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(error::local_io("open", &name.place(), cause)),
        }
    }

    /// The manifest's bytes; `None` when there is none.
    pub(crate) fn manifest(&self) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.path.as_ref().map(|path| path.join(MANIFEST)) else {
            return Ok(None);
        };
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(error::local_io("read", &path.display().to_string(), cause)),
        }
    }

    /// Puts a new manifest in the place of the old one, durably.
    pub(crate) fn replace_manifest(&self, bytes: &[u8]) -> Result<()> {
        let Some(folder) = &self.path else {
            return Ok(());
        };
        let (fresh, place) = (folder.join(MANIFEST_NEW), folder.join(MANIFEST).display().to_string());
        let failed = |cause| error::local_io("write", &place, cause);
        let file = File::create(&fresh).map_err(failed)?;
        io::Write::write_all(&mut &file, bytes).map_err(failed)?;
        file.sync_all().map_err(|cause| error::fsync(&place, cause))?;
        fs::rename(&fresh, folder.join(MANIFEST)).map_err(failed)?;
        self.sync()
    }

    /// Whatever the runs hold, nothing says so any more.
    pub(crate) fn remove_manifest(&self) -> Result<()> {
        let Some(folder) = &self.path else {
            return Ok(());
        };
        match fs::remove_file(folder.join(MANIFEST)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(error::local_io("remove the manifest of", &self.place(), cause))
            }
            _ => self.sync(),
        }
    }

    /// Removes the runs that are not among these, and what is left of a manifest that was being written.
    pub(crate) fn remove_others(&self, numbers: &[u64]) -> Result<()> {
        let Some(folder) = &self.path else {
            return Ok(());
        };
        let failed = |cause| error::local_io("clean", &self.place(), cause);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let number = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
            if name == MANIFEST_NEW || number.is_some_and(|number| !numbers.contains(&number)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let Some(folder) = &self.path else {
            return Ok(());
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|cause| error::fsync(&self.place(), cause))
    }
}
