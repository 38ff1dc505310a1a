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
    let mut pack = Pack::new(false);
    pack.push(&RoaringBitmap::from_iter([3, 4, 7, 11, 18, 29])).unwrap();
    let expect =
        "010000002cd1d339640100000000000000000000003a3000000100000000000500100000000300040007000b0012001d00acd74a79";
    assert_eq!(hex(&pack.bytes), expect);
    pack.push(&RoaringBitmap::from_iter([0, 9])).unwrap();
    assert_eq!(hex(&pack.bytes[pack.bytes.len() - 4..]), "2a671846");
    let descriptor = |index: usize| {
        let d = &pack.descriptors[index];
        (d.offset, d.size_in_bytes, d.cardinality)
    };
    assert_eq!((descriptor(0), descriptor(1)), ((Some(1), 44, 6), (Some(53), 36, 2)));
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
        let descriptors = store_all(&store, &mut vectors.clone()).unwrap();
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
    let descriptors = store_all(&store, &mut [RoaringBitmap::from_iter([1, 2, 70_000])]).unwrap();
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
    assert_eq!(store_all(&store, &mut [RoaringBitmap::new()]).unwrap_err().code(), "empty_deletion_vector");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_rows_round_trip(rows in proptest::collection::btree_set(0u32.., 1..300)) {
        let (_directory, store) = directory();
        let rows = RoaringBitmap::from_iter(rows);
        let descriptors = store_all(&store, &mut [rows.clone()]).unwrap();
        prop_assert_eq!(load(&store, &descriptors[0]).unwrap(), rows);
    }
}
