//! Version checksums: what they say is what the entries add up to, and nothing depends on them.

use super::*;

fn stored(table: &Table, version: i64) -> Option<serde_json::Value> {
    let content = table.store().get(&checksum::name(version)).unwrap();
    content.map(|content| serde_json::from_slice(&content).unwrap())
}

/// The newest version's checksum against the files one by one.
pub(super) fn assert_agrees(table: &Table) {
    let Some(found) = stored(table, table.version()) else {
        assert_eq!(table.files().count(), 0, "version {} has no checksum", table.version());
        return;
    };
    let vectors = table.files().filter(|file| file.deletion_vector.is_some()).count();
    let expect = [
        ("numFiles", table.files().count() as u64),
        ("tableSizeBytes", table.files().map(|file| file.size).sum()),
        ("numDeletedRecordsOpt", table.files().map(LiveFile::deleted_count).sum()),
        ("numDeletionVectorsOpt", vectors as u64),
        ("numMetadata", 1),
        ("numProtocol", 1),
    ];
    for (name, value) in expect {
        assert_eq!(found[name], value, "{name} of version {}", table.version());
    }
    assert!(checksum::compare(table.store(), table.version(), &table.state));
}

#[test]
fn a_checksum_reads_as_the_protocol_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    assert_eq!(stored(&table, 0), None, "no files, nothing to sum");
    let domains = vec![("tidewire.position".to_owned(), "{}".to_owned())];
    let adds = vec![file("a.parquet", 9), file("b.parquet", 3)];
    table.commit(Commit { adds, domains, ..commit(1) }).unwrap();
    let deletes = BTreeMap::from([("a.parquet".to_owned(), RoaringBitmap::from_iter([2, 3]))]);
    table.commit(Commit { deletes, ..commit(2) }).unwrap();
    let (found, entry) = (stored(&table, 2).unwrap(), lines(&table, 2));
    let of = |name: &str| entry.iter().find_map(|line| line.get(name).cloned()).unwrap();
    let first = lines(&table, 0);
    let mark = entry.last().unwrap()["domainMetadata"]["configuration"].clone();
    assert!(mark.as_str().unwrap().starts_with("{\"version\":2,\"shape\":"), "{mark}");
    let expect = serde_json::json!({
        "txnId": of("commitInfo")["txnId"],
        "tableSizeBytes": 96, "numFiles": 2, "numMetadata": 1, "numProtocol": 1,
        "setTransactions": [of("txn")],
        "domainMetadata": [
            { "domain": "tidewire.position", "configuration": "{}", "removed": false },
            { "domain": "tidewire.writer", "configuration": mark, "removed": false },
        ],
        "metadata": first[2]["metaData"], "protocol": first[1]["protocol"],
        "numDeletedRecordsOpt": 2, "numDeletionVectorsOpt": 1,
    });
    assert_eq!(found, expect);
    // After a load from a checkpoint the sums go on from there.
    table.checkpoint().unwrap();
    let mut again = reopen(&directory);
    assert_eq!(again.state.sums, table.state.sums);
    again.commit(Commit { removes: vec!["b.parquet".to_owned()], ..commit(3) }).unwrap();
    assert_agrees(&again);
    assert_eq!(again.state.sums.bytes, 72);
}

#[test]
fn an_append_only_table_counts_no_vectors() {
    let directory = tempfile::tempdir().unwrap();
    let new = NewTable { features: Features::AppendOnly, ..new_table() };
    let first = Commit { adds: vec![file("a.parquet", 3)], ..commit(0) };
    let table = Table::create(store(&directory), new, first).unwrap();
    let found = stored(&table, 0).unwrap();
    assert_eq!((&found["numFiles"], found.get("numDeletionVectorsOpt")), (&1.into(), None));
}

#[test]
fn a_checksum_that_is_missing_torn_or_wrong_stops_nobody() {
    for (content, agrees) in [
        (None, true),
        (Some(""), true),
        (Some("{\"numFiles\":1,\"tableSi"), true),
        (Some(r#"{"numFiles":1,"tableSizeBytes":72}"#), true),
        (Some(r#"{"numFiles":2,"tableSizeBytes":72}"#), false),
        (Some(r#"{"numFiles":1,"tableSizeBytes":73}"#), false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut table = create(&directory);
        table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
        table.store().delete(&checksum::name(1)).unwrap();
        if let Some(content) = content {
            table.store().put(&checksum::name(1), content.into()).unwrap();
        }
        let mut again = reopen(&directory);
        assert_eq!(checksum::compare(again.store(), 1, &again.state), agrees, "{content:?}");
        again.claim(APP).unwrap();
        assert_agrees(&again);
    }
}

#[test]
fn a_checksum_that_is_there_stays_and_its_commit_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    // As left by a version that an operator took back.
    table.store().put(&checksum::name(1), "{}".into()).unwrap();
    table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
    assert_eq!((stored(&table, 1), table.version()), (Some(serde_json::json!({})), 1));
    let names = table.store().list("_delta_log", "").unwrap().into_iter().map(|object| object.name);
    assert_eq!(names.filter(|name| name.contains("tmp")).count(), 0);
}

/// How many are removed.
fn beside_entries(table: &Table, now_millis: i64) -> usize {
    let mut left = 1_000;
    assert!(clean::beside_entries(table.store(), &mut 0, now_millis, &mut left).unwrap());
    1_000 - left
}

#[test]
fn checksums_go_that_no_load_begins_with() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=5 {
        table.commit(Commit { adds: vec![file(&format!("{version}.parquet"), 10)], ..commit(version) }).unwrap();
    }
    let versions = |table: &Table| -> Vec<i64> {
        let listing = table.store().list("_delta_log", "").unwrap();
        listing.iter().filter_map(|object| checksum::version_of(&object.name)).collect()
    };
    let (now, later) = (now_millis(), now_millis() + 3_700_000);
    assert_eq!(beside_entries(&table, later), 0, "there is no checkpoint");
    table.checkpoint().unwrap();
    table.commit(commit(6)).unwrap();
    assert_eq!(beside_entries(&table, now), 0, "somebody may be reading them");
    assert_eq!(versions(&table), [1, 2, 3, 4, 5, 6]);
    assert_eq!(beside_entries(&table, later), 4);
    assert_eq!(versions(&table), [5, 6]);
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}
