//! A prefix of an object store's bucket, through `object_store` as deltalake sets it up (credentials, endpoints,
//! conditional writes). Owns the small runtime that its requests run on.

use crate::error::{self, Result};
use crate::store::{Created, DATA_FILE_EXISTS, Object, name};
use bytes::{Bytes, BytesMut};
use deltalake::logstore::{ObjectStoreRef, StorageConfig, object_store_factories};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStoreExt, PutMode, PutPayload, PutResult};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidewire_core::Error;
use tokio::runtime::Runtime;
use url::Url;

/// Bytes of one part of a large upload; S3's smallest is 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Requests to remove an object that are under way at once.
const DELETES_MAX: usize = 32;
/// Longest that one request may take with its retries.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A prefix in a bucket.
#[derive(Clone)]
pub(super) struct BucketPrefix {
    shared: Arc<Shared>,
    prefix: String,
}

struct Shared {
    store: ObjectStoreRef,
    bucket: Url,
    runtime: OwnRuntime,
    /// A race has shown that of several creators of a name only one wins.
    proven: AtomicBool,
}

/// A runtime that may be dropped anywhere.
struct OwnRuntime(Option<Runtime>);

impl BucketPrefix {
    pub(super) fn open(location: &Url, options: &BTreeMap<String, String>) -> Result<BucketPrefix> {
        if options.keys().any(|key| {
            key.eq_ignore_ascii_case("aws_s3_allow_unsafe_rename") || key.eq_ignore_ascii_case("allow_unsafe_rename")
        }) {
            return Err(Error::configuration(
                "storage_settings",
                "`allow_unsafe_rename` would let two writers overwrite each other",
            )
            .with_remedy("remove it from `storage`"));
        }
        let runtime = runtime(location)?;
        let scheme = Url::parse(&format!("{}://", location.scheme())).ok();
        let factory =
            scheme.and_then(|scheme| object_store_factories().get(&scheme).map(|entry| Arc::clone(entry.value())));
        let factory =
            factory.ok_or_else(|| Error::configuration("location_scheme", format!("no store for `{location}`")))?;
        let (store, prefix) = {
            // The factory may ask for a runtime of its caller's.
            let _guard = runtime.handle()?.enter();
            factory.parse_url_opts(location, &storage_config(options)?)
        }
        .map_err(|e| settings(location, e))?;
        let bucket = bucket_of(location).map_err(|e| settings(location, e))?;
        let shared = Shared { store, bucket, runtime, proven: AtomicBool::new(false) };
        Ok(BucketPrefix { shared: Arc::new(shared), prefix: prefix.as_ref().to_owned() })
    }

    /// A bucket kept in memory, with the same rules as a remote one.
    #[cfg(test)]
    pub(super) fn in_memory(prefix: &str) -> BucketPrefix {
        BucketPrefix::of(Arc::new(object_store::memory::InMemory::new()), prefix)
    }

    #[cfg(test)]
    pub(super) fn of(store: ObjectStoreRef, prefix: &str) -> BucketPrefix {
        let bucket = Url::parse("s3://bucket").unwrap();
        let runtime = runtime(&bucket).unwrap();
        let shared = Shared { store, bucket, runtime, proven: AtomicBool::new(false) };
        BucketPrefix { shared: Arc::new(shared), prefix: prefix.to_owned() }
    }

    #[cfg(test)]
    pub(super) fn for_others(&self) -> (ObjectStoreRef, Url) {
        (Arc::clone(&self.shared.store), Url::parse(&format!("{}/", self.place("").trim_end_matches('/'))).unwrap())
    }

    pub(super) fn child(&self, relative: &str) -> BucketPrefix {
        BucketPrefix { shared: Arc::clone(&self.shared), prefix: join(&self.prefix, relative) }
    }

    pub(super) fn place(&self, name: &str) -> String {
        let stored = name::stored(name).unwrap_or_else(|| name.into());
        format!("{}/{}", self.shared.bucket, join(&self.prefix, &stored))
    }

    pub(super) fn put_new(&self, name: &str, content: Bytes) -> Result<Created> {
        let path = self.path(name)?;
        let put = self.shared.store.put_opts(&path, PutPayload::from_bytes(content), PutMode::Create.into());
        self.created(name, self.shared.wait(put))
    }

    /// Creates every one of `names` by `creators` requests, all under way together. What each was told, name by name.
    pub(super) fn put_new_at_once(&self, names: &[String], creators: usize) -> Result<Vec<Vec<Result<Created>>>> {
        let paths = names.iter().map(|name| self.path(name)).collect::<Result<Vec<Path>>>()?;
        let store = &self.shared.store;
        let by_name = paths.iter().map(|path| {
            let content = |creator: usize| PutPayload::from_bytes(Bytes::from(creator.to_string()));
            join_all((0..creators).map(move |n| store.put_opts(path, content(n), PutMode::Create.into())))
        });
        let race = join_all(by_name);
        let told = self.shared.wait(async { Ok(race.await) });
        let told = told.map_err(|e| error::object("write", &self.place(""), e))?;
        let of_name = |(name, told): (&String, Vec<_>)| told.into_iter().map(|put| self.created(name, put)).collect();
        Ok(names.iter().zip(told).map(of_name).collect())
    }

    fn created(&self, name: &str, told: object_store::Result<PutResult>) -> Result<Created> {
        match told {
            Ok(_) => Ok(Created::Yes),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(e) => Err(error::object("write", &self.place(name), e)),
        }
    }

    /// Whether this store has been seen to give a name to one creator only.
    pub(super) fn is_proven(&self) -> bool {
        self.shared.proven.load(Ordering::Relaxed)
    }

    pub(super) fn set_proven(&self) {
        self.shared.proven.store(true, Ordering::Relaxed);
    }

    pub(super) fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let path = self.path(name)?;
        let put = self.shared.store.put(&path, PutPayload::from_bytes(content));
        self.shared.wait(put).map(|_| ()).map_err(|e| error::object("write", &self.place(name), e))
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.fetch(name, GetOptions::default())
    }

    pub(super) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.fetch(name, GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() })
    }

    fn fetch(&self, name: &str, options: GetOptions) -> Result<Option<Bytes>> {
        let path = self.path(name)?;
        let get = async { self.shared.store.get_opts(&path, options).await?.bytes().await };
        match self.shared.wait(get) {
            Ok(content) => Ok(Some(content)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(error::object("read", &self.place(name), e)),
        }
    }

    pub(super) fn head(&self, name: &str) -> Result<Option<Object>> {
        let path = self.path(name)?;
        self.seen(name, self.shared.wait(self.shared.store.head(&path)))
    }

    /// Looks two objects up at a time.
    pub(super) fn head_both(&self, one: &str, other: &str) -> Result<(Option<Object>, Option<Object>)> {
        let (path, other_path) = (self.path(one)?, self.path(other)?);
        let store = &self.shared.store;
        let both = self.shared.wait(async { Ok(tokio::join!(store.head(&path), store.head(&other_path))) });
        let (first, second) = both.map_err(|late| error::object("look up", &self.place(one), late))?;
        Ok((self.seen(one, first)?, self.seen(other, second)?))
    }

    fn seen(&self, name: &str, answer: object_store::Result<ObjectMeta>) -> Result<Option<Object>> {
        match answer {
            Ok(meta) => Ok(Some(object(name.to_owned(), &meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(error::object("look up", &self.place(name), e)),
        }
    }

    pub(super) fn list(&self, prefix: &str, start_after: &str) -> Result<Vec<Object>> {
        let listing = self.listing(prefix, start_after)?;
        let found: Vec<ObjectMeta> =
            self.shared.wait(listing.try_collect()).map_err(|e| error::object("list", &self.place(prefix), e))?;
        let start_after = name::stored(start_after).unwrap_or_default();
        let is_asked = |stored: &str| !stored.contains('/') && *stored > *start_after;
        Ok(objects_of(&found, &format!("{}/", self.path(prefix)?), is_asked))
    }

    /// As they come, which is in the order of the names.
    pub(super) fn show(&self, prefix: &str, start_after: &str, more: &mut dyn FnMut(&Object) -> bool) -> Result<()> {
        let mut listing = self.listing(prefix, start_after)?;
        let base = format!("{}/", self.path(prefix)?);
        let after = name::stored(start_after).unwrap_or_default();
        let shown = self.shared.wait(async {
            while let Some(meta) = listing.try_next().await? {
                let stored = meta.location.as_ref().strip_prefix(&*base);
                let stored = stored.filter(|stored| !stored.contains('/') && **stored > *after);
                let name = stored.and_then(name::listed);
                if name.is_some_and(|name| !more(&object(name, &meta))) {
                    break;
                }
            }
            Ok(())
        });
        shown.map_err(|e| error::object("list", &self.place(prefix), e))
    }

    /// What lies in the directory and below it; names up to `start_after` may be among it.
    fn listing(&self, prefix: &str, start_after: &str) -> Result<BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let directory = self.path(prefix)?;
        Ok(match start_after {
            // Azure has an offset only in newer versions of its interface than the one that requests name.
            _ if is_azure(self.shared.bucket.scheme()) => self.shared.store.list(Some(&directory)),
            "" => self.shared.store.list(Some(&directory)),
            after => self.shared.store.list_with_offset(Some(&directory), &self.path(&join(prefix, after))?),
        })
    }

    pub(super) fn list_below(&self, prefix: &str) -> Result<Vec<Object>> {
        let directory = self.path(prefix)?;
        let listing = self.shared.store.list(Some(&directory));
        let found: Vec<ObjectMeta> =
            self.shared.wait(listing.try_collect()).map_err(|e| error::object("list", &self.place(prefix), e))?;
        Ok(objects_of(&found, &format!("{directory}/"), |_| true))
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match self.shared.wait(self.shared.store.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(error::object("remove", &self.place(name), e)),
        }
    }

    /// Removes all of them, many at a time; a missing one is no error. An answer takes longer than the request, so that one
    /// after the other the files of an hour would take minutes.
    pub(super) fn delete_all<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
        let paths = names.into_iter().map(|name| self.path(name)).collect::<Result<Vec<Path>>>()?;
        for paths in paths.chunks(DELETES_MAX) {
            let deletes = join_all(paths.iter().map(|path| self.shared.store.delete(path)));
            let gone = self.shared.wait(async {
                let answers = deletes.await.into_iter();
                answers.filter(|answer| !matches!(answer, Err(object_store::Error::NotFound { .. }))).collect()
            });
            let () = gone.map_err(|e| error::object("remove", &self.place(""), e))?;
        }
        Ok(())
    }

    pub(super) fn data_file(&self, name: &str) -> BucketFile {
        BucketFile { prefix: self.clone(), name: name.to_owned(), buffer: BytesMut::new(), upload: None, size: 0 }
    }

    fn path(&self, name: &str) -> Result<Path> {
        let stored = name::stored(name).ok_or_else(|| error::misnamed(&self.place(""), name))?;
        let key = join(&self.prefix, &stored);
        Path::parse(&key).map_err(|e| error::object("name", &key, e.into()))
    }
}

impl fmt::Debug for BucketPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the store itself: it holds credentials.
        f.debug_tuple("BucketPrefix").field(&self.place("")).finish()
    }
}

impl Shared {
    /// Waits for a request, at most `REQUEST_TIMEOUT`.
    fn wait<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        wait(&self.runtime, request)
    }
}

fn wait<T>(runtime: &OwnRuntime, request: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
        store: "bucket",
        source: cause,
    };
    let handle = runtime.handle().map_err(|e| failed(e.into()))?;
    match handle.block_on(async { tokio::time::timeout(REQUEST_TIMEOUT, request).await }) {
        Ok(answer) => answer,
        Err(late) => Err(failed(late.into())),
    }
}

impl OwnRuntime {
    fn handle(&self) -> Result<&Runtime> {
        self.0.as_ref().ok_or_else(|| Error::bug("delta_runtime", "the store's runtime has ended"))
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // Dropping a runtime waits, which is forbidden inside another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A file on its way into a bucket: one request when it is small, else in parts. It becomes visible as a whole.
pub(super) struct BucketFile {
    prefix: BucketPrefix,
    name: String,
    buffer: BytesMut,
    upload: Option<Box<dyn MultipartUpload>>,
    size: u64,
}

impl BucketFile {
    pub(super) fn finish(mut self) -> Result<u64> {
        let place = self.prefix.place(&self.name);
        let rest = self.buffer.split().freeze();
        let Some(mut upload) = self.upload.take() else {
            return match self.prefix.put_new(&self.name, rest)? {
                Created::Yes => Ok(self.size),
                Created::Exists => self.same_size(&place),
            };
        };
        let shared = &self.prefix.shared;
        if !rest.is_empty() {
            let part = upload.put_part(PutPayload::from_bytes(rest));
            shared.wait(part).map_err(|e| error::object("write", &place, e))?;
        }
        shared.wait(upload.complete()).map_err(|e| error::object("write", &place, e))?;
        Ok(self.size)
    }

    /// A lost answer of our own try leaves exactly our file under its random name. Azure gives the same answer for other
    /// reasons too, as that the container is being deleted: then there is no file.
    fn same_size(&self, place: &str) -> Result<u64> {
        match self.prefix.head(&self.name)? {
            Some(found) if found.size == self.size => Ok(self.size),
            Some(_) => Err(Error::bug(DATA_FILE_EXISTS, format!("`{place}` exists already"))),
            None => Err(Error::retry("storage_refused", format!("`{place}` was refused as taken, and does not exist"))
                .with_remedy("check the state of the bucket or container, and its rules of retention")),
        }
    }

    /// Memory that what was not sent yet takes.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn send_part(&mut self) -> Result<()> {
        let place = self.prefix.place(&self.name);
        let path = self.prefix.path(&self.name)?;
        let shared = Arc::clone(&self.prefix.shared);
        let part = PutPayload::from_bytes(self.buffer.split_to(PART_BYTES.min(self.buffer.len())).freeze());
        let failed = |e| error::object("write", &place, e);
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(shared.wait(shared.store.put_multipart(&path)).map_err(failed)?),
        };
        shared.wait(upload.put_part(part)).map_err(failed)
    }
}

impl io::Write for BucketFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.size += bytes.len() as u64;
        while self.buffer.len() >= PART_BYTES {
            self.send_part().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BucketFile {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // Parts that stay are removed by the bucket's rule for unfinished uploads.
            let _ = self.prefix.shared.wait(upload.abort());
        }
    }
}

impl fmt::Debug for BucketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BucketFile").field(&self.prefix.place(&self.name)).finish()
    }
}

fn runtime(location: &Url) -> Result<OwnRuntime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("tidewire-delta-store")
        .enable_all()
        .build()
        .map(|runtime| OwnRuntime(Some(runtime)))
        .map_err(|e| error::local_io("start the store's runtime for", location.as_str(), e))
}

fn storage_config(options: &BTreeMap<String, String>) -> Result<StorageConfig> {
    StorageConfig::parse_options(options.iter().map(|(key, value)| (key.clone(), value.clone())))
        .map_err(|e| Error::configuration("storage_settings", "read the settings under `storage`").with_cause(e))
}

/// Whether a location of this scheme is in Azure's blob storage.
pub(super) fn is_azure(scheme: &str) -> bool {
    matches!(scheme, "az" | "abfs" | "abfss")
}

/// The bucket alone: `s3://bucket`, `abfss://container@account.dfs.core.windows.net`.
fn bucket_of(location: &Url) -> Result<Url, url::ParseError> {
    let host = location.host_str().unwrap_or_default();
    let container = match location.username() {
        "" => String::new(),
        container => format!("{container}@"),
    };
    Url::parse(&format!("{}://{container}{host}", location.scheme()))
}

fn settings(location: &Url, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::configuration("storage_settings", format!("set up the store of `{location}`"))
        .with_remedy("correct the settings under `storage`")
        .with_cause(cause)
}

/// What was found below `base`, as far as it is asked for: in the order of the store's names, by those that logs have.
fn objects_of(found: &[ObjectMeta], base: &str, is_asked: impl Fn(&str) -> bool) -> Vec<Object> {
    let stored = found.iter().filter_map(|meta| Some((meta.location.as_ref().strip_prefix(base)?, meta)));
    let mut asked: Vec<_> = stored.filter(|(stored, _)| is_asked(stored)).collect();
    asked.sort_unstable_by_key(|(stored, _)| *stored);
    asked.into_iter().filter_map(|(stored, meta)| Some(object(name::listed(stored)?, meta))).collect()
}

fn object(name: String, meta: &ObjectMeta) -> Object {
    Object {
        name,
        size: meta.size,
        modified_millis: meta.last_modified.timestamp_millis(),
        identity: meta.e_tag.clone().unwrap_or_default(),
    }
}

fn join(prefix: &str, name: &str) -> String {
    let segments = prefix.split('/').chain(name.split('/')).filter(|segment| !segment.is_empty());
    segments.collect::<Vec<_>>().join("/")
}
