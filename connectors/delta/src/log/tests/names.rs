//! Files that a log spells in several ways, or that it says lie elsewhere: none that is needed is removed for it.

use super::lake::lake;
use super::*;

/// A table with these files, of which the second is no longer part of it.
fn table_of(store: TableStore, live: &str, removed: &str) -> Table {
    let configuration = ("delta.deletedFileRetentionDuration".to_owned(), "interval 0 hours".to_owned());
    let new = NewTable { configuration: BTreeMap::from([configuration]), ..new_table() };
    let mut table = Table::create(store, new, commit(0)).unwrap();
    table.commit(Commit { adds: vec![file(live, 9), file(removed, 9)], ..commit(1) }).unwrap();
    table.commit(Commit { removes: vec![removed.to_owned()], ..commit(2) }).unwrap();
    table
}

fn expire(table: &mut Table) {
    assert!(!table.state.tombstones.is_empty());
    assert!(clean::expired_files(&table.store, &mut table.state, now_millis() + 10, &mut 1_000).unwrap());
}

#[test]
fn a_live_file_stays_however_it_is_spelled_sk_3d() {
    let spellings = [
        ("c=a b/part-1.parquet", "c=a%20b/part-1.parquet"),
        ("c=\u{e9}/part-1.parquet", "c=%C3%A9/part-1.parquet"),
        ("c=%c3%a9/part-1.parquet", "c=%C3%A9/part-1.parquet"),
        ("%63=1/part-1.parquet", "c=1/part-1.parquet"),
        ("c=%257e/part-1.parquet", "%63=%257e/part-1.parquet"),
    ];
    for (live, other) in spellings.into_iter().flat_map(|(one, other)| [(one, other), (other, one)]) {
        let directory = tempfile::tempdir().unwrap();
        let store = lake(&directory, None);
        store.put_new(live, Bytes::from_static(b"rows")).unwrap();
        let mut table = table_of(store, live, other);
        expire(&mut table);
        assert!(table.state.tombstones.is_empty());
        assert!(table.store().head(other).unwrap().is_some(), "{live} {other}");
        // What a process before has noted, and did not strike off.
        for name in [live, other] {
            table.store().intents().unwrap().record(name);
        }
        let mut again = Table::open(lake(&directory, None)).unwrap().unwrap();
        again.claim(APP).unwrap();
        assert!(again.store().head(live).unwrap().is_some(), "{live} {other}");
        // Once nothing needs it, it goes.
        again.commit(Commit { removes: vec![live.to_owned()], ..commit(3) }).unwrap();
        expire(&mut again);
        assert_eq!(again.store().head(live).unwrap(), None, "{live} {other}");
    }
}

#[test]
fn a_log_that_tells_of_other_places_removes_nothing() {
    for elsewhere in
        ["s3://lake/shop/orders/part-1.parquet", "../orders/part-1.parquet", "%2E./orders/part-1.parquet", "%zz"]
    {
        let directory = tempfile::tempdir().unwrap();
        let store = lake(&directory, None);
        store.put_new("part-1.parquet", Bytes::from_static(b"rows")).unwrap();
        let mut table = table_of(store, elsewhere, "part-1.parquet");
        expire(&mut table);
        table.store().intents().unwrap().record("part-1.parquet");
        let mut again = Table::open(lake(&directory, None)).unwrap().unwrap();
        again.claim(APP).unwrap();
        assert!(again.store().head("part-1.parquet").unwrap().is_some(), "{elsewhere}");
        assert_eq!(again.store().get(elsewhere).unwrap_err().code(), "delta_table_damaged");
        // A removal of such a file is forgotten with its time.
        let directory = tempfile::tempdir().unwrap();
        let mut table = table_of(lake(&directory, None), "part-2.parquet", elsewhere);
        expire(&mut table);
        assert!(table.state.tombstones.is_empty());
    }
}
