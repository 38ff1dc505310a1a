//! A table with an intent list beside it, as a process finds it that starts now.

use super::*;

/// Its store: below the directory, or in the bucket.
pub(super) fn lake(directory: &TempDir, bucket: Option<&Store>) -> TableStore {
    let url = Url::from_directory_path(directory.path().join("lake")).unwrap();
    let store = bucket.cloned().unwrap_or_else(|| Store::open(&url, &BTreeMap::new()).unwrap());
    store.with_intents(directory.path().join("state")).table("shop/orders")
}

/// What deletes a row of a file.
pub(super) fn delete(path: &str, row: u32) -> BTreeMap<String, RoaringBitmap> {
    BTreeMap::from([(path.to_owned(), RoaringBitmap::from_iter([row]))])
}

/// The file that holds a live file's vector.
pub(super) fn vector_of(table: &Table, path: &str) -> String {
    table.file(path).unwrap().deletion_vector.as_ref().unwrap().file_name().unwrap()
}
