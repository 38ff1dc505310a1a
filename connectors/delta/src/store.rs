//! Where a sink's tables are kept: one location, a local directory or a bucket's prefix. Knows names and bytes, nothing of
//! Delta but how its logs write names (`name`): files are called what logs call them, in calls and in listings alike. The calls block: they are made from a plain thread, never from a runtime's worker.
//!
//! What a call has answered is durable: local files and their directories are synced before a name appears
//! (SK-38, SK-39, SK-53), object stores answer after they have stored. Data files alone may be so a little later: before
//! the next entry that could tell of them.

mod bucket;
#[cfg(test)]
pub(crate) mod faulty;
mod intent;
mod local;
pub(crate) mod name;
#[cfg(test)]
pub(crate) mod power;
mod race;

use crate::compression::Compression;
use crate::error::{self, Result};
use bytes::Bytes;
use intent::Intents;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tidewire_core::Error;
use url::Url;

/// The code of a data file's error whose name is taken by another file.
const DATA_FILE_EXISTS: &str = "data_file_exists";

/// A sink's location. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    backend: Backend,
    /// Where the tables' intent lists lie, if they are kept.
    intents: Option<PathBuf>,
    compression: Compression,
}

/// A directory of the location, usually a table. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TableStore {
    backend: Backend,
    intents: Option<Arc<Intents>>,
    compression: Compression,
}

#[derive(Clone, Debug)]
enum Backend {
    Local(local::LocalDirectory),
    Bucket(bucket::BucketPrefix),
    #[cfg(test)]
    Faulty(faulty::FaultyDirectory),
}

/// What came of a create-only write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The name is ours.
    Yes,
    /// The name was taken, maybe by an earlier try of this very call whose answer got lost.
    Exists,
}

/// A stored object as a listing or a look-up shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Name relative to the directory asked.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Last change, in milliseconds since 1970.
    pub(crate) modified_millis: i64,
    /// Changes whenever the object is replaced (an inode, an ETag), as far as the store can tell.
    pub(crate) identity: String,
}

impl Store {
    /// Opens `file://`, `s3://`, `az://` or `gs://`; `options` are the store's own settings. Creates nothing.
    pub(crate) fn open(location: &Url, options: &BTreeMap<String, String>) -> Result<Store> {
        match location.scheme() {
            "file" => Ok(Store::new(Backend::Local(local::LocalDirectory::open(location)?))),
            "s3" | "s3a" | "az" | "abfs" | "abfss" | "gs" => {
                Ok(Store::new(Backend::Bucket(bucket::BucketPrefix::open(location, options)?)))
            }
            scheme => {
                Err(Error::configuration("location_scheme", format!("no store for locations of scheme `{scheme}`"))
                    .with_remedy(
                        "use `file:///path`, `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`",
                    ))
            }
        }
    }

    /// A bucket kept in memory.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Store {
        Store::new(Backend::Bucket(bucket::BucketPrefix::in_memory("lake")))
    }

    fn new(backend: Backend) -> Store {
        Store { backend, intents: None, compression: Compression::default() }
    }

    /// New data files under this location are compressed so.
    pub(crate) fn with_compression(self, compression: Compression) -> Store {
        Store { compression, ..self }
    }

    /// Keeps the tables' intent lists under this local directory, which no other process may use.
    pub(crate) fn with_intents(self, directory: PathBuf) -> Store {
        Store { intents: Some(directory), ..self }
    }

    /// The same store with faults.
    #[cfg(test)]
    pub(crate) fn with_faults(&self, faults: &faulty::Faults) -> Store {
        let (backend, compression) = (self.backend.clone(), self.compression);
        let within = Box::new(TableStore { backend, intents: None, compression });
        let backend = Backend::Faulty(faulty::FaultyDirectory { within, faults: faults.clone() });
        Store { backend, intents: self.intents.clone(), compression }
    }

    /// The directory at a relative path of `/`-separated segments, taken as they are.
    pub(crate) fn table(&self, relative_path: &str) -> TableStore {
        let backend = match &self.backend {
            Backend::Local(directory) => Backend::Local(directory.child(relative_path)),
            Backend::Bucket(prefix) => Backend::Bucket(prefix.child(relative_path)),
            #[cfg(test)]
            Backend::Faulty(store) => {
                let within = Box::new(Store::new(store.within.backend.clone()).table(relative_path));
                Backend::Faulty(faulty::FaultyDirectory { within, ..store.clone() })
            }
        };
        let table = TableStore { backend, intents: None, compression: self.compression };
        let list = |directory: &PathBuf| {
            let mut path = directory.clone();
            path.extend(relative_path.split('/').filter(|segment| !segment.is_empty()));
            Arc::new(Intents::new(path.join("intent"), &table.place("")))
        };
        TableStore { intents: self.intents.as_ref().map(list), ..table }
    }
}

impl TableStore {
    /// Proves that of several creators of a name one wins and the others are told so; with a store that lets two win,
    /// commits would be lost (SK-36). A local link cannot overwrite. Asks a store once. Leaves nothing behind.
    pub(crate) fn probe_create_only(&self) -> Result<()> {
        match &self.backend {
            Backend::Local(_) => Ok(()),
            Backend::Bucket(prefix) if prefix.is_proven() => Ok(()),
            Backend::Bucket(prefix) => race::run(prefix).inspect(|()| prefix.set_proven()),
            #[cfg(test)]
            Backend::Faulty(store) => store.within.probe_create_only(),
        }
    }

    /// Creates `name` with this content, durably and at once, unless it exists. Missing directories are
    /// created. After a kind `Retry` error it is unknown whether the name exists.
    pub(crate) fn put_new(&self, name: &str, content: Bytes) -> Result<Created> {
        match &self.backend {
            Backend::Local(directory) => directory.put_new(name, &content, local::Parents::Create),
            Backend::Bucket(prefix) => prefix.put_new(name, content),
            #[cfg(test)]
            Backend::Faulty(store) => store.create(name, content, TableStore::put_new),
        }
    }

    /// Writes a data file of this content.
    pub(crate) fn put_file(&self, name: &str, content: &[u8]) -> Result<()> {
        let mut file = self.data_file(name)?;
        let written = io::Write::write_all(&mut file, content);
        written.map_err(|cause| error::local_io("write", &self.place(name), cause))?;
        file.finish().map(|_| ())
    }

    /// As `put_new`, but refuses when the directory of `name` is gone (where the store has directories).
    pub(crate) fn put_new_in_place(&self, name: &str, content: Bytes) -> Result<Created> {
        match &self.backend {
            Backend::Local(directory) => directory.put_new(name, &content, local::Parents::Expect),
            Backend::Bucket(prefix) => prefix.put_new(name, content),
            #[cfg(test)]
            Backend::Faulty(store) => store.create(name, content, TableStore::put_new_in_place),
        }
    }

    /// Creates `name` unless it exists, at once but not durably: after a power cut it may be gone or torn. Only for
    /// hints, in a directory that is there.
    pub(crate) fn put_new_unsynced(&self, name: &str, content: Bytes) -> Result<Created> {
        match &self.backend {
            Backend::Local(directory) => directory.put_new_unsynced(name, &content),
            Backend::Bucket(prefix) => prefix.put_new(name, content),
            #[cfg(test)]
            Backend::Faulty(store) => store.create(name, content, TableStore::put_new_unsynced),
        }
    }

    /// Replaces `name`, durably and at once. Only for hints that may be lost.
    pub(crate) fn put(&self, name: &str, content: Bytes) -> Result<()> {
        match &self.backend {
            Backend::Local(directory) => directory.put(name, &content),
            Backend::Bucket(prefix) => prefix.put(name, content),
            #[cfg(test)]
            Backend::Faulty(store) => store.put(name, content),
        }
    }

    /// The whole object; `None` when there is none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match &self.backend {
            Backend::Local(directory) => directory.get(name),
            Backend::Bucket(prefix) => prefix.get(name),
            #[cfg(test)]
            Backend::Faulty(store) => store.get(name),
        }
    }

    /// These bytes of an object; fewer when it ends before; `None` when there is no such object.
    pub(crate) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        match &self.backend {
            Backend::Local(directory) => directory.get_range(name, range),
            Backend::Bucket(prefix) => prefix.get_range(name, range),
            #[cfg(test)]
            Backend::Faulty(store) => store.get_range(name, range),
        }
    }

    /// Looks one object up.
    pub(crate) fn head(&self, name: &str) -> Result<Option<Object>> {
        match &self.backend {
            Backend::Local(directory) => directory.head(name),
            Backend::Bucket(prefix) => prefix.head(name),
            #[cfg(test)]
            Backend::Faulty(store) => store.head(name),
        }
    }

    /// Looks two objects up, at a time where each is a request.
    pub(crate) fn head_both(&self, one: &str, other: &str) -> Result<(Option<Object>, Option<Object>)> {
        match &self.backend {
            Backend::Local(directory) => Ok((directory.head(one)?, directory.head(other)?)),
            Backend::Bucket(prefix) => prefix.head_both(one, other),
            #[cfg(test)]
            Backend::Faulty(store) => Ok((store.head(one)?, store.head(other)?)),
        }
    }

    /// The objects directly in the directory `prefix` whose names come after `start_after`, ascending by the names that the
    /// store has.
    pub(crate) fn list(&self, prefix: &str, start_after: &str) -> Result<Vec<Object>> {
        match &self.backend {
            Backend::Local(directory) => directory.list(prefix, start_after),
            Backend::Bucket(bucket) => bucket.list(prefix, start_after),
            #[cfg(test)]
            Backend::Faulty(store) => store.list(prefix, start_after),
        }
    }

    /// Shows what `list` has, one after the other, until `more` has seen enough. What comes after it is not asked for, but for
    /// the rest of a request's answer. `more` must not use the store.
    pub(crate) fn show(&self, prefix: &str, start_after: &str, more: &mut dyn FnMut(&Object) -> bool) -> Result<()> {
        match &self.backend {
            Backend::Local(directory) => directory.show(prefix, start_after, more),
            Backend::Bucket(bucket) => bucket.show(prefix, start_after, more),
            #[cfg(test)]
            Backend::Faulty(store) => store.show(prefix, start_after, more),
        }
    }

    /// As `list`, of a folder and all that are in it; the names begin with theirs.
    pub(crate) fn list_below(&self, prefix: &str) -> Result<Vec<Object>> {
        match &self.backend {
            Backend::Local(directory) => directory.list_below(prefix),
            Backend::Bucket(bucket) => bucket.list_below(prefix),
            #[cfg(test)]
            Backend::Faulty(store) => store.list_below(prefix),
        }
    }

    /// Removes an object; a missing one is no error.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        match &self.backend {
            Backend::Local(directory) => directory.delete(name),
            Backend::Bucket(prefix) => prefix.delete(name),
            #[cfg(test)]
            Backend::Faulty(store) => store.delete(name),
        }
    }

    /// Removes all of them, many at a time where each has to be asked for over a network; missing ones are no error. After an
    /// error some may be left.
    pub(crate) fn delete_all<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
        match &self.backend {
            Backend::Bucket(prefix) => prefix.delete_all(names),
            _ => names.into_iter().try_for_each(|name| self.delete(name)),
        }
    }

    /// Removes a file that no commit names, and its name from the list of such. Says whether the store did: one that
    /// stays costs space only.
    pub(crate) fn delete_unnamed(&self, name: &str) -> bool {
        if let Err(error) = self.delete(name) {
            tracing::debug!(error = %error.chain(), "a file that no commit names could not be removed");
            return false;
        }
        if let Some(intents) = self.intents() {
            intents.strike([name]);
        }
        true
    }

    /// The list of files that no commit names yet. A new name goes there before its file is created.
    pub(crate) fn intents(&self) -> Option<&Intents> {
        self.intents.as_deref()
    }

    /// How new data files are to be compressed.
    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// The same place for a file that a commit begins with so many bytes of rows.
    pub(crate) fn of_commit(&self, bytes: usize) -> TableStore {
        TableStore { compression: self.compression.of_commit(bytes), ..self.clone() }
    }

    /// Starts a data file under a new name. Nothing is visible before `DataFile::finish`.
    pub(crate) fn data_file(&self, name: &str) -> Result<DataFile> {
        Ok(DataFile(match &self.backend {
            Backend::Local(directory) => Target::Local(directory.data_file(name)?),
            Backend::Bucket(prefix) => Target::Bucket(prefix.data_file(name)),
            #[cfg(test)]
            Backend::Faulty(store) => Target::Faulty(store.data_file(name)?),
        }))
    }

    /// Whether each call is a request that is waited for, so that two at a time take no longer than one.
    pub(crate) fn is_remote(&self) -> bool {
        self.local_path().is_none()
    }

    /// The directory on a local disk; `None` for object stores.
    pub(crate) fn local_path(&self) -> Option<PathBuf> {
        match &self.backend {
            Backend::Local(directory) => Some(directory.path().to_path_buf()),
            Backend::Bucket(_) => None,
            #[cfg(test)]
            Backend::Faulty(store) => store.within.local_path(),
        }
    }

    /// Where a file lies on a local disk; `None` for object stores.
    pub(crate) fn local_file(&self, name: &str) -> Result<Option<PathBuf>> {
        match &self.backend {
            Backend::Local(directory) => directory.file(name).map(Some),
            Backend::Bucket(_) => Ok(None),
            #[cfg(test)]
            Backend::Faulty(store) => store.within.local_file(name),
        }
    }

    /// The address of the directory or of a file in it, for messages and for readers outside.
    pub(crate) fn place(&self, name: &str) -> String {
        match &self.backend {
            Backend::Local(directory) => directory.place(name),
            Backend::Bucket(prefix) => prefix.place(name),
            #[cfg(test)]
            Backend::Faulty(store) => store.within.place(name),
        }
    }

    /// The objects, and the directory's address among them, for a reader that knows stores of its own.
    #[cfg(test)]
    pub(crate) fn for_others(&self) -> (deltalake::logstore::ObjectStoreRef, Url) {
        match &self.backend {
            Backend::Local(directory) => {
                let disk = Arc::new(object_store::local::LocalFileSystem::new());
                (disk, Url::from_directory_path(directory.path()).unwrap())
            }
            Backend::Bucket(prefix) => prefix.for_others(),
            Backend::Faulty(store) => store.within.for_others(),
        }
    }
}

/// A data file being written. Dropping it unfinished leaves no name behind.
#[derive(Debug)]
pub(crate) struct DataFile(Target);

#[derive(Debug)]
enum Target {
    Local(local::LocalFile),
    Bucket(bucket::BucketFile),
    #[cfg(test)]
    Faulty(faulty::FaultyFile),
}

impl DataFile {
    /// Memory, in bytes, that is only given back when the file ends: what waits for the next part of an upload.
    pub(crate) fn buffered_bytes(&self) -> usize {
        match &self.0 {
            Target::Local(_) => 0,
            Target::Bucket(file) => file.buffered_bytes(),
            #[cfg(test)]
            Target::Faulty(file) => file.within.buffered_bytes(),
        }
    }

    /// Makes the file visible; it is durable before any name that `put` or `put_new` makes
    /// afterwards. Returns its size in bytes. An existing name is an error.
    pub(crate) fn finish(self) -> Result<u64> {
        match self.0 {
            Target::Local(file) => file.finish(),
            Target::Bucket(file) => file.finish(),
            #[cfg(test)]
            Target::Faulty(file) => file.finish(),
        }
    }
}

impl io::Write for DataFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Target::Local(file) => file.write(bytes),
            Target::Bucket(file) => file.write(bytes),
            #[cfg(test)]
            Target::Faulty(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Target::Local(file) => file.flush(),
            Target::Bucket(_) => Ok(()),
            #[cfg(test)]
            Target::Faulty(file) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
