//! Vectors from the protocol's own readers, round trips, and damage of every kind (SK-51).

use super::*;
use crate::store::Store;
use proptest::prelude::*;
use std::collections::BTreeMap;
use url::Url;

fn directory() -> (tempfile::TempDir, TableStore) {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path()).unwrap();
    let store = Store::open(&url, &BTreeMap::new()).unwrap().table("t");
    (directory, store)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn bytes_as_other_writers_make_them() {
    let vectors = [RoaringBitmap::from_iter([3, 4, 7, 11, 18, 29]), RoaringBitmap::from_iter([0, 9])];
    let (_directory, store) = directory();
    let descriptors = store_all(&store, &vectors).unwrap();
    let bytes = store.get(&descriptors[0].file_name().unwrap()).unwrap().unwrap();
    let expect =
        "010000002cd1d339640100000000000000000000003a3000000100000000000500100000000300040007000b0012001d00acd74a79";
    assert_eq!((hex(&bytes[..53]), hex(&bytes[bytes.len() - 4..])), (expect.to_owned(), "2a671846".to_owned()));
    let facts: Vec<_> = descriptors.iter().map(|d| (d.offset, d.size_in_bytes, d.cardinality)).collect();
    assert_eq!(facts, [(Some(1), 44, 6), (Some(53), 36, 2)]);
}

/// Rows next to each other become runs, also such that come one by one; rows here and there leave a vector as it was.
#[test]
fn a_union_is_small() {
    let sparse: RoaringBitmap = (0..60_000).step_by(30).collect();
    let range: RoaringBitmap = (0..60_000).collect();
    for (before, rows, bytes) in [
        (None, sparse.clone(), 4_016),
        (Some(sparse.clone()), (15..60_000).step_by(30).collect(), 8_016),
        (Some(range.clone()), RoaringBitmap::from_iter([60_000]), 15),
        (Some(sparse.clone()), range.clone(), 15),
        (Some(union(None, &range)), RoaringBitmap::from_iter([60_001, 61_000]), 23),
        (None, range.clone(), 15),
    ] {
        let all = union(before.as_ref(), &rows);
        assert_eq!(all, before.unwrap_or_default() | rows);
        assert_eq!(all.serialized_size(), bytes);
    }
}

#[test]
fn many_unions_are_made_side_by_side() {
    let before: Vec<RoaringBitmap> = (0..9).map(|n| (n..600_000).step_by(10).collect()).collect();
    let rows: Vec<RoaringBitmap> = (0..9).map(|n| RoaringBitmap::from_iter([n, n + 700_000])).collect();
    let pairs: Vec<_> = before.iter().map(Some).zip(&rows).collect();
    let expect: Vec<_> = before.iter().zip(&rows).map(|(before, rows)| before | rows).collect();
    assert!(before.iter().map(RoaringBitmap::len).sum::<u64>() > ALONE_ROWS_MAX);
    assert_eq!(unions(&pairs).unwrap(), expect);
    assert_eq!(unions(&[]).unwrap(), []);
}

#[test]
fn an_inline_vector_is_read() {
    let (_directory, store) = directory();
    let descriptor = DvDescriptor {
        storage_type: "i".into(),
        path_or_inline_dv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L".into(),
        offset: None,
        size_in_bytes: 44,
        cardinality: 6,
    };
    assert_eq!(load(&store, &descriptor).unwrap(), RoaringBitmap::from_iter([3, 4, 7, 11, 18, 29]));
}

#[test]
fn packs_are_small_and_read_back() {
    let (_directory, local) = directory();
    let small = (0..70).map(|n| RoaringBitmap::from_iter([n, n * 1000, 5_000_000]));
    let large = (0..10).map(|n| (n..1_000_000).step_by(2).collect());
    let vectors: Vec<RoaringBitmap> = small.chain(large).chain([RoaringBitmap::from_iter([1])]).collect();
    for (store, expect, why) in [
        (Store::in_memory().table("t"), 14, "32 + 32 + 6, a large one each, the last one"),
        (local, 2, "what fits a megabyte"),
    ] {
        let descriptors = store_all(&store, &vectors).unwrap();
        let files: std::collections::BTreeSet<_> = descriptors.iter().filter_map(DvDescriptor::file_name).collect();
        assert_eq!(files.len(), expect, "{why}");
        for (rows, descriptor) in vectors.iter().zip(&descriptors) {
            assert_eq!(&load(&store, descriptor).unwrap(), rows);
        }
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let (_directory, store) = directory();
    let descriptors = store_all(&store, &[RoaringBitmap::from_iter([1, 2, 70_000])]).unwrap();
    let descriptor = &descriptors[0];
    let name = descriptor.file_name().unwrap();
    let good = store.get(&name).unwrap().unwrap();
    for index in 1..good.len() {
        let mut bad = good.to_vec();
        bad[index] ^= 1;
        store.put(&name, bad.into()).unwrap();
        assert_eq!(load(&store, descriptor).unwrap_err().code(), "delta_table_damaged", "bit of byte {index}");
        store.put(&name, good.slice(..index)).unwrap();
        assert_eq!(load(&store, descriptor).unwrap_err().code(), "delta_table_damaged", "cut at byte {index}");
    }
    store.put(&name, good).unwrap();
    let miscounted = DvDescriptor { cardinality: 2, ..descriptor.clone() };
    assert_eq!(load(&store, &miscounted).unwrap_err().code(), "delta_table_damaged");
    store.delete(&name).unwrap();
    assert_eq!(load(&store, descriptor).unwrap_err().code(), "delta_table_damaged");
}

#[test]
fn an_empty_vector_is_never_written() {
    let (_directory, store) = directory();
    assert_eq!(store_all(&store, &[RoaringBitmap::new()]).unwrap_err().code(), "empty_deletion_vector");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_rows_round_trip(rows in proptest::collection::btree_set(0u32.., 1..300)) {
        let (_directory, store) = directory();
        let rows = RoaringBitmap::from_iter(rows);
        let descriptors = store_all(&store, std::slice::from_ref(&rows)).unwrap();
        prop_assert_eq!(load(&store, &descriptors[0]).unwrap(), rows);
    }
}
