//! What of a directory would be left if the power went: the content that files had when they were last synced, under the names that
//! their directories had when those were. For tests of one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names in a directory, and the file's or directory's number.
type Names = BTreeMap<String, u64>;

/// What is on the disk for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<u64, Vec<u8>>,
    directories: BTreeMap<PathBuf, Names>,
}

/// Called at each moment at which more is on the disk.
type Watch = Box<dyn FnMut(&Disk)>;

thread_local! {
    static WATCHED: RefCell<Option<(Disk, Watch)>> = const { RefCell::new(None) };
}

/// Calls back for what this thread syncs while `act` runs.
pub(crate) fn watch<T>(each: impl FnMut(&Disk) + 'static, act: impl FnOnce() -> T) -> T {
    WATCHED.set(Some((Disk::default(), Box::new(each))));
    let done = act();
    WATCHED.set(None);
    done
}

/// A file has been synced.
pub(super) fn file_synced(path: &Path) {
    synced(|disk| drop(disk.files.insert(fs::metadata(path).unwrap().ino(), fs::read(path).unwrap())));
}

/// A directory has been synced.
pub(super) fn directory_synced(path: &Path) {
    synced(|disk| {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let names = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino()));
        disk.directories.insert(path.to_owned(), names.collect());
    });
}

fn synced(change: impl FnOnce(&mut Disk)) {
    // While the callback reads, nothing is watched.
    let Some((mut disk, mut each)) = WATCHED.take() else { return };
    change(&mut disk);
    each(&disk);
    WATCHED.set(Some((disk, each)));
}

impl Disk {
    /// Lays out below `to` what is left of `from`: a name whose file was never synced has an empty one.
    pub(crate) fn lay_out(&self, from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for name in self.directories.get(from).into_iter().flatten() {
            let (inner, outer) = (from.join(name.0), to.join(name.0));
            match self.directories.contains_key(&inner) || inner.is_dir() {
                true => self.lay_out(&inner, &outer),
                false => fs::write(outer, self.files.get(name.1).map_or(&[][..], Vec::as_slice)).unwrap(),
            }
        }
    }
}
