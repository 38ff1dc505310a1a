//! SK-39, SK-38: the power goes at any moment. What was synced until then is a table at a version that was committed, none that was
//! acknowledged is missing, and every file that it names is whole.

use super::*;
use crate::store::power;
use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

const COMMITS: i64 = 7;

fn store_at(directory: &Path) -> TableStore {
    Store::open(&Url::from_directory_path(directory).unwrap(), &BTreeMap::new()).unwrap().table("t")
}

/// A data file of these bytes.
fn written(store: &TableStore, name: &str) -> NewFile {
    let mut out = store.data_file(name).unwrap();
    out.write_all(name.as_bytes()).unwrap();
    let size = out.finish().unwrap();
    NewFile { size, ..file(name, 50) }
}

/// The version that is left, if there is a table at all.
fn left(directory: &Path) -> Option<i64> {
    let store = store_at(directory);
    let mut table = Table::open(store.clone()).unwrap()?;
    for file in table.files().cloned().collect::<Vec<_>>() {
        let size = store.head(&file.path).unwrap().map(|object| object.size);
        assert_eq!(size, Some(file.size), "{}", file.path);
        table.deleted_rows(&file.path).unwrap();
    }
    // And it goes on.
    let version = table.version();
    table.claim(APP).unwrap();
    assert_eq!(table.version(), version + 1);
    Some(version)
}

#[test]
fn what_was_acknowledged_outlives_the_power_sk_38_sk_39() {
    let directory = tempfile::tempdir().unwrap();
    // The location itself is the operator's.
    let (root, acknowledged, cuts) = (directory.path().to_owned(), Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
    let store = store_at(&root);
    let (lake, told, count) = (root.clone(), Rc::clone(&acknowledged), Rc::clone(&cuts));
    let check = move |disk: &power::Disk| {
        let cut = tempfile::tempdir().unwrap();
        disk.lay_out(&lake, cut.path());
        let (version, told): (Option<i64>, Option<i64>) = (left(cut.path()), told.get());
        assert!(version >= told, "{version:?} is left of {told:?}");
        assert!(version <= Some(told.map_or(0, |told| told + 1)), "{version:?} came of {told:?}");
        count.set(count.get() + 1);
    };
    power::watch(check, || {
        let mut table = Table::create(store.clone(), new_table(), commit(0)).unwrap();
        acknowledged.set(Some(table.version()));
        for n in 1..=COMMITS {
            let deletes = (1..n).map(|older| (format!("{older}.parquet"), RoaringBitmap::from_iter([n as u32])));
            let adds = vec![written(&store, &format!("{n}.parquet"))];
            let version = table.commit(Commit { adds, deletes: deletes.collect(), ..commit(n) }).unwrap();
            acknowledged.set(Some(version));
            if n % 3 == 0 {
                table.checkpoint().unwrap();
            }
        }
    });
    assert!(cuts.get() > 40, "{} moments", cuts.get());
}
