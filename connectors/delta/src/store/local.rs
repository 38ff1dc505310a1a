//! A local directory with durable, create-only files.
//!
//! Data files are synced together, contents and then names: before the next name that something else is to find, a log
//! entry above all. An entry therefore never outlives a file that it names.

use crate::error::{self, Result};
use crate::job::side_by_side;
use crate::store::{Created, DATA_FILE_EXISTS, Object, name};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;
use tidewire_core::{Error, failpoint};
use url::Url;

/// What to do when the directory of a new file is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parents {
    /// Create and sync it.
    Create,
    /// Refuse: it was there, so the table has been taken away.
    Expect,
}

/// A directory.
#[derive(Clone, Debug)]
pub(super) struct LocalDirectory {
    path: Arc<Path>,
    unsynced: Unsynced,
}

/// The folder whose files readers find by their names: none may be torn.
const LISTED: &str = "_delta_log";

/// So many data files are left open to be synced together.
const UNSYNCED_FILES_MAX: usize = 8;

/// A larger file is synced by the thread that wrote it: nobody's entry is to wait for another one's disk.
const UNSYNCED_BYTES_MAX: u64 = 8 << 20;

/// Less content is synced by one thread: the first sync has the disk write most of what the others wait for, and threads would
/// cost more than they save.
const ALONE_BYTES_MAX: u64 = 1 << 20;

/// Data files that are not durable yet, of a whole location: by the table's directory, so that tables do not wait for each
/// other, however many handles each has.
#[derive(Clone, Debug)]
struct Unsynced {
    all: Arc<Mutex<BTreeMap<Arc<Path>, Shared>>>,
    own: Shared,
}

type Shared = Arc<Mutex<Pending>>;

#[derive(Debug, Default)]
struct Pending {
    /// With their names.
    files: Vec<(File, PathBuf)>,
    /// Of names that are not durable.
    directories: BTreeSet<PathBuf>,
    /// A sync has failed: the next one would not, although content may be lost. All that comes after it fails, whoever was told
    /// of it, until the location is opened anew.
    has_failed: bool,
}

impl Unsynced {
    /// For a location.
    fn new() -> Unsynced {
        Unsynced { all: Arc::default(), own: Arc::default() }
    }

    /// For a directory in it.
    fn of(&self, directory: &Arc<Path>) -> Unsynced {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Arc::clone(all.entry(Arc::clone(directory)).or_default());
        Unsynced { all: Arc::clone(&self.all), own }
    }

    /// The content of `file` is not durable, either.
    fn note(&self, file: Option<File>, name: &Path) -> Result<()> {
        let mut pending = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = directory_of(name);
        if !pending.directories.contains(directory) {
            pending.directories.insert(directory.to_owned());
        }
        pending.files.extend(file.map(|file| (file, name.to_owned())));
        if pending.files.len() < UNSYNCED_FILES_MAX { Ok(()) } else { pending.sync(None, &[]) }
    }

    /// Makes all durable, and the content of a further file. Whoever comes meanwhile waits: a name may need what another
    /// thread is syncing.
    fn sync(&self, file: &File, name: &Path) -> Result<()> {
        let mut pending = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directories = Vec::new();
        for directory in &pending.directories {
            match OpenDirectory::open(directory) {
                Ok(opened) => directories.push(opened),
                // What lay in it is gone with it.
                Err(error) if fs::symlink_metadata(directory).is_err_and(|cause| is_missing(&cause)) => {
                    tracing::debug!(error = %error.chain(), "a directory is gone")
                }
                Err(error) => return Err(error),
            }
        }
        pending.sync(Some((file, name)), &directories)?;
        pending.directories.clear();
        Ok(())
    }
}

/// What is to be synced.
#[derive(Clone, Copy)]
enum Part<'a> {
    File(&'a File, &'a Path),
    Directory(&'a OpenDirectory),
}

impl Part<'_> {
    /// Of content; all the threads that there are for what cannot say it.
    fn size(&self) -> u64 {
        match self {
            Part::File(file, _) => file.metadata().map_or(ALONE_BYTES_MAX, |metadata| metadata.len()),
            Part::Directory(_) => 0,
        }
    }

    fn sync(self) -> Result<()> {
        match self {
            Part::File(file, name) => file.sync_all().map_err(|cause| error::fsync(&name.display().to_string(), cause)),
            Part::Directory(directory) => directory.sync_names(),
        }
    }
}

impl Pending {
    /// Syncs the files' contents and names, all at once: the disk then has one wait for all of them. In which order they
    /// become durable is all the same, as nothing tells of them yet.
    fn sync(&mut self, further: Option<(&File, &Path)>, directories: &[OpenDirectory]) -> Result<()> {
        if self.has_failed {
            let place = further.map(|(_, name)| name.display().to_string()).unwrap_or_default();
            return Err(error::fsync(&place, io::Error::other("an earlier sync has failed")));
        }
        let files = self.files.iter().map(|(file, name)| (file, name.as_path())).chain(further);
        let parts = files.map(|(file, name)| Part::File(file, name)).chain(directories.iter().map(Part::Directory));
        let parts = parts.collect::<Vec<_>>();
        let bytes = parts.iter().map(Part::size).sum::<u64>();
        let threads = if bytes < ALONE_BYTES_MAX { 1 } else { UNSYNCED_FILES_MAX };
        let synced = side_by_side(parts.clone(), threads, Part::sync);
        self.has_failed = synced.is_err();
        #[cfg(test)]
        parts.iter().for_each(|part| match part {
            Part::File(_, name) => super::power::file_synced(name),
            Part::Directory(directory) => super::power::directory_synced(Path::new(&directory.place)),
        });
        self.files.clear();
        synced
    }
}

fn directory_of(name: &Path) -> &Path {
    name.parent().unwrap_or(Path::new("/"))
}

/// A file that has no name yet but a temporary one.
#[derive(Debug)]
pub(super) struct LocalFile {
    file: File,
    temporary: Temporary,
    target: PathBuf,
    size: u64,
    unsynced: Unsynced,
}

/// A temporary name, removed when dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // A name that stays is an orphan that nothing refers to; it costs space only.
        let _ = fs::remove_file(&self.0);
    }
}

impl LocalDirectory {
    pub(super) fn open(location: &Url) -> Result<LocalDirectory> {
        let path = location.to_file_path().map_err(|()| {
            Error::configuration("location_path", format!("`{location}` is no local path"))
                .with_remedy("write it as `file:///absolute/path`")
        })?;
        Ok(LocalDirectory { path: path.into(), unsynced: Unsynced::new() })
    }

    pub(super) fn child(&self, relative: &str) -> LocalDirectory {
        let mut path = self.path.to_path_buf();
        path.extend(relative.split('/').filter(|segment| !segment.is_empty()));
        let path = Arc::from(path);
        LocalDirectory { unsynced: self.unsynced.of(&path), path }
    }

    /// Directories whose names are not durable yet.
    #[cfg(test)]
    pub(super) fn unsynced(&self) -> Vec<PathBuf> {
        self.unsynced.own.lock().unwrap().directories.iter().cloned().collect()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn place(&self, name: &str) -> String {
        match name::stored(name) {
            Some(stored) => self.path.join(&*stored).display().to_string(),
            None => format!("{}/{name}", self.path.display()),
        }
    }

    /// Where the file lies that the log calls `name`.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf> {
        let stored = name::stored(name).ok_or_else(|| error::misnamed(&self.place(""), name))?;
        Ok(self.path.join(&*stored))
    }

    pub(super) fn put_new(&self, name: &str, content: &[u8], parents: Parents) -> Result<Created> {
        let mut file = self.start(name, parents)?;
        file.file.write_all(content).map_err(|e| error::local_io("write", &self.place(name), e))?;
        file.link()
    }

    pub(super) fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let mut file = self.start(name, Parents::Expect)?;
        file.file.write_all(content).map_err(|e| error::local_io("write", &self.place(name), e))?;
        file.replace()
    }

    pub(super) fn put_new_unsynced(&self, name: &str, content: &[u8]) -> Result<Created> {
        let mut file = self.start(name, Parents::Expect)?;
        file.file.write_all(content).map_err(|e| error::local_io("write", &self.place(name), e))?;
        match fs::hard_link(&file.temporary.0, &file.target) {
            Ok(()) => Ok(Created::Yes),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
            Err(e) => Err(error::local_io("link", &self.place(name), e)),
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match fs::read(self.file(name)?) {
            Ok(content) => Ok(Some(content.into())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(error::local_io("read", &self.place(name), e)),
        }
    }

    pub(super) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let path = self.file(name)?;
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut content = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut content)?;
            Ok(content)
        };
        match read() {
            Ok(content) => Ok(Some(content.into())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(error::local_io("read", &self.place(name), e)),
        }
    }

    pub(super) fn head(&self, name: &str) -> Result<Option<Object>> {
        match fs::metadata(self.file(name)?) {
            Ok(metadata) => Ok(Some(object(name.to_owned(), &metadata))),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(error::local_io("look up", &self.place(name), e)),
        }
    }

    pub(super) fn list(&self, prefix: &str, start_after: &str) -> Result<Vec<Object>> {
        let mut found = Vec::new();
        self.visit(prefix, start_after, &mut |object| {
            found.push(object);
            true
        })?;
        Ok(found)
    }

    pub(super) fn show(&self, prefix: &str, start_after: &str, more: &mut dyn FnMut(&Object) -> bool) -> Result<()> {
        self.visit(prefix, start_after, &mut |object| more(&object))
    }

    /// Files are looked up as they are visited: a log has a hundred thousand names, of which few are asked for.
    fn visit(&self, prefix: &str, start_after: &str, more: &mut dyn FnMut(Object) -> bool) -> Result<()> {
        let start_after = name::stored(start_after).ok_or_else(|| error::misnamed(&self.place(prefix), start_after))?;
        let directory = self.file(prefix)?;
        let mut found = files_in(&directory)?;
        found.retain(|stored| **stored > *start_after);
        found.sort_unstable();
        for stored in found {
            let Some(name) = name::listed(&stored) else { continue };
            let Some(metadata) = look_up(&directory.join(&stored))? else { continue };
            if !more(object(name, &metadata)) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn list_below(&self, prefix: &str) -> Result<Vec<Object>> {
        let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
        let top = self.file(prefix)?;
        while let Some(folder) = folders.pop() {
            let directory = top.join(&folder);
            found.extend(files_in(&directory)?.into_iter().map(|stored| folder.clone() + &stored));
            folders.extend(folders_in(&directory)?.into_iter().map(|below| format!("{folder}{below}/")));
        }
        found.sort_unstable();
        let named = found.iter().filter_map(|stored| Some((stored, name::listed(stored)?)));
        let objects = named.map(|(stored, name)| Ok(look_up(&top.join(stored))?.map(|found| object(name, &found))));
        objects.filter_map(Result::transpose).collect()
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.file(name)?) {
            Ok(()) => Ok(()),
            Err(e) if is_missing(&e) => Ok(()),
            Err(e) => Err(error::local_io("remove", &self.place(name), e)),
        }
    }

    pub(super) fn data_file(&self, name: &str) -> Result<LocalFile> {
        self.start(name, Parents::Create)
    }

    /// Opens a temporary file in the directory of `name`.
    fn start(&self, name: &str, parents: Parents) -> Result<LocalFile> {
        let target = self.file(name)?;
        let directory = target.parent().unwrap_or(&self.path);
        if parents == Parents::Create {
            create_directories(directory)?;
        }
        // A leading dot keeps the name out of every reader's listing.
        let temporary = directory.join(format!(".tidewire-{}.tmp", crate::ambient::uuid()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|e| error::local_io("create", &temporary.display().to_string(), e))?;
        let unsynced = self.unsynced.clone();
        Ok(LocalFile { file, temporary: Temporary(temporary), target, size: 0, unsynced })
    }
}

impl LocalFile {
    /// The name is there; it and the content will be durable before any name that is put.
    pub(super) fn finish(self) -> Result<u64> {
        let LocalFile { file, temporary, target, size, unsynced } = self;
        let place = target.display().to_string();
        let waits = size <= UNSYNCED_BYTES_MAX && !directory_of(&target).ends_with(LISTED);
        if !waits {
            file.sync_all().map_err(|e| error::fsync(&place, e))?;
            #[cfg(test)]
            super::power::file_synced(&temporary.0);
        }
        failpoint::step("delta_store_written")?;
        let linked = fs::hard_link(&temporary.0, &target);
        failpoint::pass("delta_store_linked");
        // One sync of the directory covers both names.
        drop(temporary);
        // Not before the link, or another thread could sync the directory without the name.
        unsynced.note(waits.then_some(file), &target)?;
        match linked {
            Ok(()) => Ok(size),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match fs::metadata(&target) {
                // The name is random, so the file is of this very call, whose answer a network got wrong.
                Ok(found) if found.len() == size => Ok(size),
                _ => Err(Error::bug(DATA_FILE_EXISTS, format!("`{place}` exists already"))),
            },
            Err(e) => Err(error::local_io("link", &place, e)),
        }
    }

    fn directory(&self) -> &Path {
        directory_of(&self.target)
    }

    /// Gives the synced content its name, unless that is taken.
    fn link(self) -> Result<Created> {
        let place = self.target.display().to_string();
        // Opened before there is anything to lose: once the name exists, only the disk can keep it from being durable.
        let directory = OpenDirectory::open(self.directory())?;
        self.unsynced.sync(&self.file, &self.temporary.0)?;
        failpoint::step("delta_store_synced")?;
        let linked = fs::hard_link(&self.temporary.0, &self.target);
        // The temporary name goes first, so that one sync of the directory covers both.
        failpoint::pass("delta_store_linked");
        drop(self.temporary);
        match linked {
            Ok(()) => directory.sync().map(|()| Created::Yes),
            // The name may be of this very call, whose answer a network got wrong: whoever finds it there takes it for
            // durable.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => directory.sync().map(|()| Created::Exists),
            Err(e) => {
                let error = error::local_io("link", &place, e);
                if error.code() == "storage_io" {
                    directory.sync()?;
                }
                Err(error)
            }
        }
    }

    fn replace(self) -> Result<()> {
        let place = self.target.display().to_string();
        let directory = OpenDirectory::open(self.directory())?;
        self.unsynced.sync(&self.file, &self.temporary.0)?;
        fs::rename(&self.temporary.0, &self.target).map_err(|e| error::local_io("rename", &place, e))?;
        directory.sync()
    }
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The files right in a directory, by their names there; links are none.
fn files_in(directory: &Path) -> Result<Vec<String>> {
    // Names that are no text are not ours and cannot be named in a log.
    names_in(directory, fs::FileType::is_file)
}

/// The folders right in a directory, by their names there; links are not followed.
fn folders_in(directory: &Path) -> Result<Vec<String>> {
    names_in(directory, fs::FileType::is_dir)
}

/// Nothing lies in a directory that is not there.
fn names_in(directory: &Path, wanted: fn(&fs::FileType) -> bool) -> Result<Vec<String>> {
    let list = || -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            match (entry.file_type(), entry.file_name().into_string()) {
                (Ok(kind), Ok(stored)) if wanted(&kind) => found.push(stored),
                (Err(e), _) if !is_missing(&e) => return Err(e),
                _ => {}
            }
        }
        Ok(found)
    };
    match list() {
        Err(e) if is_missing(&e) => Ok(Vec::new()),
        found => found.map_err(|e| error::local_io("list", &directory.display().to_string(), e)),
    }
}

/// What is known of a file; `None` when it is no longer there.
fn look_up(file: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(file) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(error::local_io("look up", &file.display().to_string(), e)),
    }
}

fn object(name: String, metadata: &fs::Metadata) -> Object {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Object {
        name,
        size: metadata.len(),
        modified_millis: modified.and_then(|age| i64::try_from(age.as_millis()).ok()).unwrap_or(0),
        identity: format!("{}-{}-{}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec()),
    }
}

/// Creates a directory and the missing ones above it, each synced into the one above it.
fn create_directories(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        create_directories(above)?;
        let above = OpenDirectory::open(above)?;
        match fs::create_dir(directory) {
            Ok(()) => return above.sync(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(error::local_io("create", &directory.display().to_string(), e)),
        }
    }
    Ok(())
}

/// A directory to be synced after a change of its names. Opening it may fail for reasons that pass, a sync may not.
struct OpenDirectory {
    handle: File,
    place: String,
}

impl OpenDirectory {
    fn open(directory: &Path) -> Result<OpenDirectory> {
        let place = directory.display().to_string();
        let flags = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(flags).open(directory) {
            Ok(handle) => Ok(OpenDirectory { handle, place }),
            Err(e) => Err(error::local_io("open", &place, e)),
        }
    }

    fn sync(&self) -> Result<()> {
        self.sync_names()?;
        #[cfg(test)]
        super::power::directory_synced(Path::new(&self.place));
        Ok(())
    }

    fn sync_names(&self) -> Result<()> {
        // By the C library, where tests make it fail.
        self.handle.sync_all().map_err(|e| error::fsync(&self.place, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_sync_nothing_counts_as_durable_sk_38() {
        let directory = tempfile::tempdir().unwrap();
        let location = LocalDirectory::open(&Url::from_directory_path(directory.path()).unwrap()).unwrap();
        let (table, other) = (location.child("t"), location.child("u"));
        assert_eq!(table.put_new("_delta_log/0.json", b"0", Parents::Create).unwrap(), Created::Yes);
        // The kernel syncs no such file.
        table.unsynced.note(Some(File::open("/dev/null").unwrap()), &table.path.join("part")).unwrap();
        for _ in 0..2 {
            // Another handle of the table is told, too.
            let error = location.child("t").put_new("_delta_log/1.json", b"1", Parents::Expect).unwrap_err();
            assert_eq!(error.code(), "storage_fsync");
            assert_eq!(table.get("_delta_log/1.json").unwrap(), None);
        }
        assert_eq!(other.put_new("_delta_log/0.json", b"0", Parents::Create).unwrap(), Created::Yes);
        let anew = LocalDirectory::open(&Url::from_directory_path(directory.path()).unwrap()).unwrap();
        assert_eq!(anew.child("t").put_new("_delta_log/1.json", b"1", Parents::Expect).unwrap(), Created::Yes);
    }
}
