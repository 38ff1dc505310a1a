//! The race that tells a store whose create-only write is atomic from one that looks first and writes then. One write
//! after the other tells nothing: stores whose commits get lost in races refuse a taken name as well, when they are not
//! hurried (SK-36). Knows names and creators, no table.

use super::Created;
use super::bucket::BucketPrefix;
use crate::error::Result;
use tidewire_core::Error;

/// Names that are raced for, all of them at once.
const NAMES: usize = 8;
/// Creators of each name.
const CREATORS: usize = 4;

/// Runs one race; an error of kind `Operator` and code `store_not_atomic` when a name had two winners. Removes what it made.
pub(super) fn run(prefix: &BucketPrefix) -> Result<()> {
    let id = uuid::Uuid::new_v4();
    let names: Vec<String> = (0..NAMES).map(|n| format!("_tidewire_probe-{id}-{n}")).collect();
    let told = prefix.put_new_at_once(&names, CREATORS);
    let removed = prefix.delete_all(&names);
    for answers in told? {
        verdict(prefix, answers)?;
    }
    removed
}

fn verdict(prefix: &BucketPrefix, answers: Vec<Result<Created>>) -> Result<()> {
    let winners = answers.iter().filter(|answer| matches!(answer, Ok(Created::Yes))).count();
    if winners > 1 {
        let place = prefix.place("");
        return Err(Error::operator(
            "store_not_atomic",
            format!("{winners} writers of `{place}` got the same new name"),
        )
        .with_remedy("use a store that creates a name once: `If-None-Match: *` must hold when writers race"));
    }
    for answer in answers {
        answer?;
    }
    match winners {
        1 => Ok(()),
        // The winner's answer got lost, and its next try found its own object.
        _ => Err(Error::retry("storage_request", format!("no writer of `{}` got a new name", prefix.place("")))
            .with_remedy("see whether the store answers at all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use futures_util::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
        PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    };
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tidewire_core::ErrorKind;

    /// What is wrong with a create-only write.
    #[derive(Clone, Copy, Debug)]
    enum Fault {
        None,
        /// Looks first, writes then.
        LooksFirst,
        /// Does not know of such writes.
        Overwrites,
        Denies,
        /// Its answers get lost, the next try finds the name taken.
        TellsNoWinner,
        /// Refuses with the answer of a taken name, as Azure does for reasons of its own.
        RefusesAsTaken,
    }

    /// A store in memory with a fault, which counts its writes.
    #[derive(Debug)]
    struct Faulty {
        inner: InMemory,
        fault: Fault,
        writes: AtomicUsize,
    }

    impl std::fmt::Display for Faulty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?}", self.fault)
        }
    }

    #[async_trait]
    impl ObjectStore for Faulty {
        async fn put_opts(&self, at: &Path, what: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            let taken = || object_store::Error::AlreadyExists { path: at.to_string(), source: "taken".into() };
            match self.fault {
                Fault::RefusesAsTaken => Err(taken()),
                Fault::None => self.inner.put_opts(at, what, opts).await,
                Fault::LooksFirst => {
                    if self.inner.head(at).await.is_ok() {
                        return Err(taken());
                    }
                    tokio::task::yield_now().await;
                    self.inner.put(at, what).await
                }
                Fault::Overwrites => self.inner.put(at, what).await,
                Fault::Denies => {
                    Err(object_store::Error::PermissionDenied { path: at.to_string(), source: "denied".into() })
                }
                Fault::TellsNoWinner => self.inner.put_opts(at, what, PutMode::Create.into()).await.and(Err(taken())),
            }
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            opts: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(at, opts).await
        }

        async fn get_opts(&self, at: &Path, opts: GetOptions) -> object_store::Result<GetResult> {
            self.inner.get_opts(at, opts).await
        }

        fn delete_stream(
            &self,
            paths: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.inner.delete_stream(paths)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, opts: CopyOptions) -> object_store::Result<()> {
            self.inner.copy_opts(from, to, opts).await
        }
    }

    #[test]
    fn a_store_that_lets_two_win_is_refused_sk_36() {
        for (fault, expected) in [
            (Fault::None, None),
            (Fault::LooksFirst, Some((ErrorKind::Operator, "store_not_atomic"))),
            (Fault::Overwrites, Some((ErrorKind::Operator, "store_not_atomic"))),
            (Fault::Denies, Some((ErrorKind::Retry, "storage_not_writable"))),
            (Fault::TellsNoWinner, Some((ErrorKind::Retry, "storage_request"))),
        ] {
            let store = Arc::new(Faulty { inner: InMemory::new(), fault, writes: AtomicUsize::new(0) });
            let prefix = BucketPrefix::of(Arc::clone(&store) as _, "lake");
            let told = run(&prefix).err();
            assert_eq!(told.as_ref().map(|error| (error.kind(), error.code())), expected, "{fault:?}");
            assert!(told.is_none_or(|error| error.remedy().is_some()), "{fault:?}");
            assert_eq!(store.writes.load(Ordering::Relaxed), NAMES * CREATORS);
            assert!(prefix.list("", "").unwrap().is_empty(), "{fault:?} left something behind");
        }
    }

    /// A file that is not there must not be taken for one whose answer got lost: a commit would name it.
    #[test]
    fn a_refusal_is_no_taken_name_sk_31() {
        for (fault, expect) in [(Fault::RefusesAsTaken, Some("storage_refused")), (Fault::TellsNoWinner, None)] {
            let store = Faulty { inner: InMemory::new(), fault, writes: AtomicUsize::new(0) };
            let prefix = BucketPrefix::of(Arc::new(store), "lake");
            let table = super::super::Store::new(super::super::Backend::Bucket(prefix)).table("t");
            let mut rows = table.data_file("rows").unwrap();
            rows.write_all(b"rows").unwrap();
            let told = [rows.finish().err(), table.put_file("vectors", b"bits").err()];
            assert_eq!(told.map(|error| error.map(|error| error.code())), [expect; 2], "{fault:?}");
        }
    }

    #[test]
    fn the_looking_store_passes_when_nobody_races() {
        let store = Faulty { inner: InMemory::new(), fault: Fault::LooksFirst, writes: AtomicUsize::new(0) };
        let prefix = BucketPrefix::of(Arc::new(store), "lake");
        assert_eq!(prefix.put_new("x", "1".into()).unwrap(), Created::Yes);
        assert_eq!(prefix.put_new("x", "2".into()).unwrap(), Created::Exists);
    }

    #[test]
    fn a_store_is_asked_once() {
        let store = Arc::new(Faulty { inner: InMemory::new(), fault: Fault::None, writes: AtomicUsize::new(0) });
        let lake =
            super::super::Store::new(super::super::Backend::Bucket(BucketPrefix::of(Arc::clone(&store) as _, "lake")));
        for table in ["a", "b"] {
            lake.table(table).probe_create_only().unwrap();
        }
        assert_eq!(store.writes.load(Ordering::Relaxed), NAMES * CREATORS);
    }
}
