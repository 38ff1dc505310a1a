//! Folders of a run: private to one server or daemon, removed when it is dropped, kept when the test panics, and
//! swept away by a later run when this one was killed.

use anyhow::{Context, Result};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use tempfile::TempDir;

const PREFIX: &str = "tidewire-run-";
const KEPT: &str = "kept";
/// Keeps every folder when it is set, for the search for a fault.
const KEEP_ALL: &str = "TESTKIT_KEEP_RUNS";

/// A folder that goes when this is dropped, unless the thread is panicking.
#[derive(Debug)]
pub struct RunFolder {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl RunFolder {
    /// A new one in the system's folder for temporary files; others may read it, since servers run as another user.
    pub fn new(what: &str) -> Result<RunFolder> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        RunFolder::within(&std::env::temp_dir(), what)
    }

    /// A new one in a folder of the caller's choice, which is not swept.
    pub fn within(base: &Path, what: &str) -> Result<RunFolder> {
        std::fs::create_dir_all(base).with_context(|| format!("make the folder {}", base.display()))?;
        let base = base.canonicalize().with_context(|| format!("find {}", base.display()))?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-{what}-", std::process::id()))
            .tempdir_in(base)
            .context("make a folder for the run")?;
        let path = folder.path().to_path_buf();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).context("open the run's folder")?;
        spread(&path);
        Ok(RunFolder { folder: Some(folder), path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it for a person to look at.
    pub fn keep(&mut self) {
        if let Some(folder) = self.folder.take() {
            let path = folder.keep();
            let _ = std::fs::write(path.join(KEPT), "");
            eprintln!("kept for inspection: {}", path.display());
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // A test that fails by an error ends like one that passes.
        if std::thread::panicking() || std::env::var_os(KEEP_ALL).is_some() {
            self.keep();
        }
    }
}

/// Has the file system keep the folders in it apart. An ext4 without a journal goes through every inode of the neighbourhood that
/// was freed in the last five minutes before it makes a file: up to two milliseconds each, where thousands were removed.
/// Only a wish: others have no such flag.
fn spread(folder: &Path) {
    let Ok(folder) = std::fs::File::open(folder) else { return };
    if let Ok(flags) = ioctl_getflags(&folder) {
        let _ = ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
}

/// Removes what killed runs have left: folders named after a process that no longer exists.
fn sweep() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::to_owned);
        let Some(owner) = owner.filter(|pid| pid.parse::<u32>().is_ok()) else { continue };
        let alive = Path::new("/proc").join(&owner).exists();
        if !alive && !entry.path().join(KEPT).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_when_dropped_and_stays_when_kept() {
        let gone = RunFolder::new("gone").unwrap();
        let path = gone.path().to_path_buf();
        assert!(path.is_dir());
        drop(gone);
        assert!(!path.exists());
        let mut kept = RunFolder::new("kept").unwrap();
        let path = kept.path().to_path_buf();
        kept.keep();
        drop(kept);
        assert!(path.is_dir());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_dead_process_leaves_nothing_for_long() {
        let stale = std::env::temp_dir().join(format!("{PREFIX}4294967294-test"));
        std::fs::create_dir_all(&stale).unwrap();
        sweep();
        assert!(!stale.exists());
    }
}
