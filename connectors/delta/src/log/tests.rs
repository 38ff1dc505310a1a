//! Commits against a model, reopening, crash points, lost answers and other writers, on a real directory.

use super::*;
mod crash;
mod lake;
mod names;
mod orphans;
mod partition;
mod power;
mod presence;
mod replaced;
mod split;
mod sums;
mod upkeep;

use crate::store::Store;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;
use url::Url;

const APP: &str = "tidewire:lake:shop";
const SCHEMA: &str = r#"{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}]}"#;

pub(super) fn store(directory: &TempDir) -> TableStore {
    let url = Url::from_directory_path(directory.path()).unwrap();
    Store::open(&url, &BTreeMap::new()).unwrap().table("shop/public/orders")
}

fn commit(version: i64) -> Commit {
    Commit { operation: "STREAMING UPDATE", txn: (APP.to_owned(), version), ..Commit::default() }
}

fn new_table() -> NewTable {
    NewTable { id: new_table_id(), schema_string: SCHEMA.to_owned(), ..NewTable::default() }
}

fn file(path: &str, rows: u64) -> NewFile {
    NewFile { path: path.to_owned(), size: rows * 8, num_records: rows, stats: None, partition: Partition::default() }
}

fn create(directory: &TempDir) -> Table {
    Table::create(store(directory), new_table(), commit(0)).unwrap()
}

fn reopen(directory: &TempDir) -> Table {
    Table::open(store(directory)).unwrap().unwrap()
}

/// Path to rows and deleted rows: what the table is.
fn content(table: &mut Table) -> BTreeMap<String, (u64, Vec<u32>)> {
    let files: Vec<(String, u64)> = table.files().map(|file| (file.path.clone(), file.num_records)).collect();
    let mut content = BTreeMap::new();
    for (path, rows) in files {
        let deleted = table.deleted_rows(&path).unwrap().iter().collect();
        content.insert(path, (rows, deleted));
    }
    content
}

fn lines(table: &Table, version: i64) -> Vec<serde_json::Value> {
    let entry = table.store().get(&load::entry_name(version)).unwrap().unwrap();
    std::str::from_utf8(&entry).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_missing_table_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Table::open(store(&directory)).unwrap().is_none());
}

#[test]
fn an_entry_reads_as_the_protocol_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    let stats = r#"{"numRecords":3,"minValues":{"id":12345678901234567890123456789.5},"tightBounds":true}"#;
    let add = NewFile { stats: Some(stats.to_owned()), ..file("a.parquet", 3) };
    table.commit(Commit { adds: vec![add, file("b.parquet", 2)], ..commit(1) }).unwrap();
    let deletes = |path: &str, rows: &[u32]| BTreeMap::from([(path.to_owned(), RoaringBitmap::from_iter(rows))]);
    table.commit(Commit { deletes: deletes("a.parquet", &[1]), ..commit(2) }).unwrap();
    table.commit(Commit { deletes: deletes("a.parquet", &[1, 2]), ..commit(3) }).unwrap();

    let third = lines(&table, 3);
    let kinds: Vec<&str> = third.iter().flat_map(|line| line.as_object().unwrap().keys()).map(String::as_str).collect();
    assert_eq!(kinds, ["commitInfo", "remove", "add", "txn", "domainMetadata"]);
    // The remove repeats the vector of version 2, or the file would be live twice.
    let before = &lines(&table, 2)[2]["add"]["deletionVector"];
    assert_eq!(&third[1]["remove"]["deletionVector"], before);
    assert_eq!(third[2]["add"]["deletionVector"]["cardinality"], 2);
    assert_eq!(third[2]["add"]["path"], "a.parquet");
    let stats = third[2]["add"]["stats"].as_str().unwrap();
    let loose = r#"{"minValues":{"id":12345678901234567890123456789.5},"numRecords":3,"tightBounds":false}"#;
    assert_eq!(stats, loose, "bounds keep all digits");

    // Deleting the last row removes the file and writes no vector; deleting nothing new says nothing.
    table.commit(Commit { deletes: deletes("a.parquet", &[0]), ..commit(4) }).unwrap();
    let fourth = lines(&table, 4);
    assert!(fourth.iter().all(|line| line.get("add").is_none()));
    table.commit(Commit { deletes: deletes("b.parquet", &[]), ..commit(5) }).unwrap();
    assert_eq!(lines(&table, 5).len(), 3);
    assert_eq!(content(&mut table), BTreeMap::from([("b.parquet".to_owned(), (2, vec![]))]));
    let protocol = &lines(&table, 0)[1]["protocol"];
    assert_eq!((&protocol["minReaderVersion"], &protocol["minWriterVersion"]), (&3.into(), &7.into()));
    assert_eq!(protocol["readerFeatures"], serde_json::json!(["deletionVectors"]));
}

#[test]
fn rows_of_a_file_may_be_deleted_in_the_commit_that_adds_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    let deletes = BTreeMap::from([
        ("a.parquet".to_owned(), RoaringBitmap::from_iter([0])),
        ("b.parquet".to_owned(), RoaringBitmap::from_iter([0, 1])),
    ]);
    table.commit(Commit { adds: vec![file("a.parquet", 2), file("b.parquet", 2)], deletes, ..commit(1) }).unwrap();
    assert_eq!(content(&mut table), BTreeMap::from([("a.parquet".to_owned(), (2, vec![0]))]));
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

#[test]
fn nonsense_is_a_bug_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    table.commit(Commit { adds: vec![file("a.parquet", 2)], ..commit(1) }).unwrap();
    let deletes = |path: &str, row: u32| BTreeMap::from([(path.to_owned(), RoaringBitmap::from_iter([row]))]);
    let wrong_stats = NewFile { stats: Some(r#"{"numRecords":7}"#.to_owned()), ..file("c.parquet", 2) };
    for bad in [
        Commit { adds: vec![file("a.parquet", 2)], ..commit(2) },
        Commit { adds: vec![file("b.parquet", 2), file("b.parquet", 2)], ..commit(2) },
        Commit { adds: vec![wrong_stats], ..commit(2) },
        Commit { removes: vec!["x.parquet".to_owned()], ..commit(2) },
        Commit { deletes: deletes("x.parquet", 0), ..commit(2) },
        Commit { deletes: deletes("a.parquet", 2), ..commit(2) },
    ] {
        let mut table = reopen(&directory);
        assert_eq!(table.commit(bad).unwrap_err().kind(), ErrorKind::Bug);
        assert_eq!(table.commit(commit(3)).unwrap_err().code(), "delta_table_stale");
    }
    assert_eq!(reopen(&directory).version(), 1);
}

#[test]
fn everything_survives_a_checkpoint_without_the_entries_sk_3g() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=60 {
        let path = format!("{version}.parquet");
        let deletes = match version {
            1 => BTreeMap::new(),
            _ => BTreeMap::from([("1.parquet".to_owned(), RoaringBitmap::from_iter([version as u32]))]),
        };
        let domains = vec![("tidewire.progress".to_owned(), format!("{{\"at\":{version}}}"))];
        table.commit(Commit { adds: vec![file(&path, 100)], deletes, domains, ..commit(version) }).unwrap();
        table.maintain().unwrap();
    }
    let checkpoints: Vec<_> = table
        .store()
        .list("_delta_log", "")
        .unwrap()
        .into_iter()
        .filter_map(|o| checkpoint::version_of(&o.name))
        .collect();
    assert_eq!(checkpoints, [49]);
    for version in 0..49 {
        table.store().delete(&load::entry_name(version)).unwrap();
    }
    let mut again = reopen(&directory);
    assert_eq!(again.version(), 60);
    assert_eq!((again.txn(APP), again.domain("tidewire.progress")), (Some(60), Some("{\"at\":60}")));
    assert_eq!(again.metadata_id(), table.metadata_id());
    assert_eq!(again.configuration(), table.configuration());
    assert_eq!(again.schema_string(), SCHEMA);
    assert_eq!(content(&mut again), content(&mut table));
    assert_eq!(again.state.tombstones.len(), table.state.tombstones.len());
    again.commit(Commit { removes: vec!["2.parquet".to_owned()], ..commit(61) }).unwrap();
}

#[test]
fn a_table_that_never_rests_is_checkpointed_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=100 {
        table.commit(commit(version)).unwrap();
    }
    assert!(table.store().head(&checkpoint::name(99)).unwrap().is_some());
    assert_eq!(reopen(&directory).entries, 1);
}

#[test]
fn a_torn_checkpoint_or_hint_costs_time_only_sk_34() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=55 {
        table.commit(Commit { adds: vec![file(&format!("{version}.parquet"), 10)], ..commit(version) }).unwrap();
        table.maintain().unwrap();
    }
    let expect = content(&mut table);
    let name = checkpoint::name(49);
    let good = table.store().get(&name).unwrap().unwrap();
    for cut in [0, 1, 4, good.len() / 2, good.len() - 1] {
        table.store().put(&name, good.slice(..cut)).unwrap();
        assert_eq!(content(&mut reopen(&directory)), expect, "checkpoint cut at {cut}");
    }
    table.store().put(&name, good).unwrap();
    for hint in ["", "{\"version\":", "{\"version\":99,\"size\":1}", "{\"version\":10,\"size\":1}"] {
        table.store().put("_delta_log/_last_checkpoint", hint.into()).unwrap();
        assert_eq!(content(&mut reopen(&directory)), expect, "hint {hint:?}");
    }
    table.store().delete("_delta_log/_last_checkpoint").unwrap();
    assert_eq!(content(&mut reopen(&directory)), expect);
    // Without version 0 and with nothing to stand in, it is no missing table either.
    table.store().put(&name, "torn".into()).unwrap();
    table.store().delete(&load::entry_name(0)).unwrap();
    assert_eq!(Table::open(store(&directory)).unwrap_err().code(), "delta_table_damaged");
    table.store().delete(&name).unwrap();
    assert_eq!(Table::open(store(&directory)).unwrap_err().code(), "delta_table_gone");
}

#[test]
fn a_missing_entry_stops_the_load() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=3 {
        table.commit(commit(version)).unwrap();
    }
    table.store().delete(&load::entry_name(2)).unwrap();
    assert_eq!(Table::open(store(&directory)).unwrap_err().code(), "delta_table_damaged");
}

#[test]
fn files_without_a_commit_are_invisible_sk_32() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
    let expect = content(&mut table);
    // As after a crash between the files and the entry: a data file, a vector, a temporary file.
    table.store().put_new("b.parquet", Bytes::from_static(b"rows")).unwrap();
    deletion_vector::store_all(table.store(), &[RoaringBitmap::from_iter([1])]).unwrap();
    table.store().put_new("_delta_log/.tidewire-1.tmp", Bytes::from_static(b"{")).unwrap();
    let mut again = reopen(&directory);
    assert_eq!((again.version(), content(&mut again)), (1, expect));
    again.commit(Commit { adds: vec![file("c.parquet", 1)], ..commit(2) }).unwrap();
}

#[test]
fn a_lost_answer_is_recognised_by_its_token_sk_31() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    let now = now_millis();
    let deleted = BTreeMap::new();
    let with = Commit { adds: vec![file("a.parquet", 9)], ..commit(1) };
    let entry = Entry::build(&table.store, &table.state, &deleted, &with, Vec::new(), now).unwrap();
    // The entry is stored, the answer never comes.
    let stored = action::to_lines(&entry.at_version(1).unwrap()).unwrap();
    table.store().put_new(&load::entry_name(1), stored.into()).unwrap();
    table.publish(entry, APP).unwrap();
    assert_eq!((table.version(), table.files().count()), (1, 1));
    assert_eq!(table.commit(commit(2)).unwrap(), 2);
}

fn foreign(table: &Table, version: i64, lines: &str) {
    let info = r#"{"commitInfo":{"timestamp":1,"operation":"OPTIMIZE","operationParameters":{}}}"#;
    let entry = format!("{info}\n{lines}\n");
    table.store().put_new(&load::entry_name(version), entry.into()).unwrap();
}

#[test]
fn another_instance_fences_us_sk_30() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    foreign(&table, 1, &format!(r#"{{"txn":{{"appId":"{APP}","version":7}}}}"#));
    let error = table.commit(commit(1)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Fenced, "fenced"));
}

#[test]
fn a_late_write_of_this_process_is_no_other_instance() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    let mut twin = reopen(&directory);
    twin.commit(commit(1)).unwrap();
    assert_eq!(table.commit(commit(1)).unwrap_err().code(), "delta_commit_late");
    let mut again = reopen(&directory);
    assert_eq!((again.txn(APP), again.commit(commit(2)).unwrap()), (Some(1), 2));
}

#[test]
fn other_writers_are_refused_and_never_overwritten_sk_35() {
    let optimize = concat!(
        r#"{"remove":{"path":"a.parquet","dataChange":false,"deletionTimestamp":1}}"#,
        "\n",
        r#"{"add":{"path":"z.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":false,"stats":"{\"numRecords\":9}"}}"#
    );
    let schema = r#"{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":[],"configuration":{}}}"#;
    for lines in [optimize, schema] {
        let directory = tempfile::tempdir().unwrap();
        let mut table = create(&directory);
        table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
        foreign(&table, 2, lines);
        let error = table.commit(commit(2)).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "foreign_write"));
        assert!(error.to_string().contains("version 2 (operation `OPTIMIZE`, engine `unknown`)"), "{error}");
        // Neither after a restart: a restore would leave our position ahead of the rows.
        assert_eq!(Table::open(store(&directory)).unwrap_err().code(), "foreign_write");
    }
}

#[test]
fn a_note_of_others_in_the_history_is_stepped_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    foreign(&table, 1, r#"{"txn":{"appId":"spark-stream","version":3}}"#);
    foreign(&table, 2, "");
    assert_eq!(reopen(&directory).version(), 2);
    assert_eq!(table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap(), 3);
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

#[test]
fn a_claim_fences_the_instance_before_sk_63() {
    let directory = tempfile::tempdir().unwrap();
    let mut old = create(&directory);
    old.commit(commit(1)).unwrap();
    let mut new = reopen(&directory);
    new.claim(APP).unwrap();
    assert_eq!(new.txn(APP), Some(1), "a claim moves nothing");
    // In one process it shows as late; the entry of another process fences.
    assert!(old.commit(commit(2)).is_err());
    assert_eq!(new.commit(commit(2)).unwrap(), 3);
}

#[test]
fn expired_files_go_and_needed_ones_stay_sk_3d() {
    // No two commits in one millisecond, so that each vector has lasted longer than the grace.
    ambient::take(ambient::Own { clock: Some(now_millis()), ..ambient::Own::default() });
    let directory = tempfile::tempdir().unwrap();
    let configuration =
        BTreeMap::from([("delta.deletedFileRetentionDuration".to_owned(), "interval 0 hours".to_owned())]);
    let mut table = Table::create(store(&directory), NewTable { configuration, ..new_table() }, commit(0)).unwrap();
    for path in ["a.parquet", "b.parquet"] {
        table.store().put_new(path, Bytes::from_static(b"rows")).unwrap();
    }
    table.commit(Commit { adds: vec![file("a.parquet", 9), file("b.parquet", 9)], ..commit(1) }).unwrap();
    for row in 0..3 {
        let deletes = BTreeMap::from([("a.parquet".to_owned(), RoaringBitmap::from_iter([row]))]);
        table.commit(Commit { deletes, ..commit(2) }).unwrap();
    }
    table.commit(Commit { removes: vec!["b.parquet".to_owned()], ..commit(5) }).unwrap();
    assert_eq!(table.state.tombstones.len(), 4);
    clean::expired_files(&table.store, &mut table.state, now_millis() + 10, &mut 1_000).unwrap();
    super::replaced::remove(&table.store, &mut table.state, now_millis() + 10, &mut 1_000).unwrap();
    assert_eq!(table.state.tombstones.len(), 0);
    let names: Vec<String> = table.store().list("", "").unwrap().into_iter().map(|object| object.name).collect();
    let live = table.file("a.parquet").unwrap().deletion_vector.as_ref().unwrap().file_name().unwrap();
    assert_eq!(names, ["a.parquet".to_owned(), live]);
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

/// The number of entries and checkpoints that were removed, and whether those were all.
fn expired_entries(table: &Table, version: i64, cutoff_millis: i64) -> (usize, bool) {
    let mut left = 1_000;
    let is_all = clean::expired_entries(table.store(), version, cutoff_millis, &mut left).unwrap();
    (1_000 - left, is_all)
}

#[test]
fn the_log_is_cleaned_behind_a_checkpoint_only_sk_34() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=5 {
        table.commit(Commit { adds: vec![file(&format!("{version}.parquet"), 10)], ..commit(version) }).unwrap();
    }
    let far = now_millis() + 1_000_000;
    assert_eq!(expired_entries(&table, 5, far), (0, true), "no checkpoint, nothing to remove");
    table.checkpoint().unwrap();
    table.commit(commit(6)).unwrap();
    assert_eq!(expired_entries(&table, 6, far), (5, true));
    let mut again = reopen(&directory);
    assert_eq!((again.version(), content(&mut again)), (6, content(&mut table)));
}

#[test]
fn a_schema_change_keeps_the_table_and_extends_the_protocol_sk_3b() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    let id = table.metadata_id().to_owned();
    let schema = SCHEMA.replace("]}", r#",{"name":"at","type":"timestamp_ntz","nullable":true,"metadata":{}}]}"#);
    let configuration = BTreeMap::from([("delta.dataSkippingStatsColumns".to_owned(), "id".to_owned())]);
    let change = NewMetadata { schema_string: schema.clone(), partition_columns: Vec::new(), configuration };
    table.commit(Commit { metadata: Some(change), adds: vec![file("a.parquet", 1)], ..commit(1) }).unwrap();
    assert_eq!(
        lines(&table, 1)[1]["protocol"]["readerFeatures"],
        serde_json::json!(["deletionVectors", "timestampNtz"])
    );
    table.checkpoint().unwrap();
    let again = reopen(&directory);
    assert_eq!((again.schema_string(), again.metadata_id()), (schema.as_str(), id.as_str()));
    assert_eq!(again.configuration()["delta.enableDeletionVectors"], "true");
    assert_eq!(again.configuration()["delta.dataSkippingStatsColumns"], "id");
    assert_eq!(again.state.protocol, table.state.protocol);
}

#[test]
fn rows_of_an_append_only_table_stay() {
    let directory = tempfile::tempdir().unwrap();
    let new = NewTable { features: Features::AppendOnly, ..new_table() };
    let first = Commit { adds: vec![file("a.parquet", 3)], ..commit(0) };
    let mut table = Table::create(store(&directory), new, first).unwrap();
    assert_eq!(lines(&table, 0)[1]["protocol"]["minReaderVersion"], 1, "every reader can read it");
    let removes = vec!["a.parquet".to_owned()];
    assert_eq!(table.commit(Commit { removes, ..commit(1) }).unwrap_err().code(), "append_only");
}

#[test]
fn two_writers_lose_no_version_sk_36() {
    let directory = tempfile::tempdir().unwrap();
    create(&directory);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let directory = &directory;
            scope.spawn(move || {
                for n in 0..30 {
                    let add = file(&format!("{writer}-{n}.parquet"), 1);
                    while reopen(directory).commit(Commit { adds: vec![add.clone()], ..commit(1) }).is_err() {}
                }
            });
        }
    });
    let table = reopen(&directory);
    assert_eq!((table.version(), table.files().count()), (60, 60));
}

/// The log as another implementation reads it, from entries and from a checkpoint alone.
#[test]
fn delta_rs_reads_the_same_sk_3f() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for version in 1..=60 {
        let deletes = match version {
            1 => BTreeMap::new(),
            _ => BTreeMap::from([(format!("{}.parquet", version / 2), RoaringBitmap::from_iter([version as u32]))]),
        };
        let adds = vec![file(&format!("{version}.parquet"), 100)];
        table.commit(Commit { adds, deletes, ..commit(version) }).unwrap();
        table.maintain().unwrap();
        if version == 30 || version == 60 {
            let url = Url::from_directory_path(table.store().local_path().unwrap()).unwrap();
            let (theirs, txn) = runtime.block_on(async {
                let opened = deltalake::open_table(url).await.unwrap();
                let snapshot = opened.snapshot().unwrap();
                let txn = snapshot.transaction_version(opened.log_store().as_ref(), APP).await.unwrap();
                (opened, txn)
            });
            assert_eq!((theirs.version(), txn), (u64::try_from(table.version()).ok(), Some(version)));
            let files: BTreeMap<String, (usize, i64)> = theirs
                .snapshot()
                .unwrap()
                .log_data()
                .iter()
                .map(|file| {
                    let deleted = file.deletion_vector_descriptor().map_or(0, |vector| vector.cardinality);
                    (file.path().into_owned(), (file.num_records().unwrap(), deleted))
                })
                .collect();
            let ours = table.files().map(|file| {
                let rows = usize::try_from(file.num_records).unwrap();
                (file.path.clone(), (rows, file.deleted_count() as i64))
            });
            assert_eq!(files, ours.collect());
        }
        if version == 50 {
            for old in 0..49 {
                table.store().delete(&load::entry_name(old)).unwrap();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit { add: Option<u8>, delete: Vec<(u8, u8)>, remove: Option<u8> },
    Checkpoint,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = (
        proptest::option::of(1u8..20),
        proptest::collection::vec((any::<u8>(), any::<u8>()), 0..6),
        proptest::option::weighted(0.1, any::<u8>()),
    )
        .prop_map(|(add, delete, remove)| Step::Commit { add, delete, remove });
    proptest::collection::vec(prop_oneof![8 => commit, 1 => Just(Step::Checkpoint), 2 => Just(Step::Reopen)], 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// SK-3E at the level of files: whatever is committed, the table equals a model, and so does a fresh load.
    #[test]
    fn a_table_equals_its_model(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let mut table = create(&directory);
        let mut model: BTreeMap<String, (u64, BTreeSet<u32>)> = BTreeMap::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Checkpoint => table.checkpoint().unwrap(),
                Step::Reopen => table = reopen(&directory),
                Step::Commit { add, delete, remove } => {
                    next += 1;
                    let mut with = commit(next);
                    let paths: Vec<String> = model.keys().cloned().collect();
                    let pick = |n: u8| paths.get(usize::from(n) % paths.len().max(1)).cloned();
                    with.removes.extend(remove.and_then(pick));
                    for (file, row) in delete {
                        let Some(path) = pick(file) else { continue };
                        let (rows, deleted) = model.get_mut(&path).unwrap();
                        let row = u32::from(row) % *rows as u32;
                        deleted.insert(row);
                        with.deletes.entry(path).or_default().insert(row);
                    }
                    with.removes.iter().for_each(|path| drop(model.remove(path)));
                    model.retain(|_, (rows, deleted)| deleted.len() as u64 != *rows);
                    if let Some(rows) = add {
                        let path = format!("{next}.parquet");
                        with.adds.push(file(&path, rows.into()));
                        model.insert(path, (rows.into(), BTreeSet::new()));
                    }
                    table.commit(with).unwrap();
                }
            }
            let expect: BTreeMap<_, _> =
                model.iter().map(|(path, (rows, deleted))| (path.clone(), (*rows, deleted.iter().copied().collect::<Vec<_>>()))).collect();
            prop_assert_eq!(content(&mut table), expect);
            sums::assert_agrees(&table);
        }
        let version = table.version();
        let expect = content(&mut table);
        let mut again = reopen(&directory);
        prop_assert_eq!((again.version(), again.txn(APP)), (version, Some(next)));
        prop_assert_eq!(content(&mut again), expect);
    }
}
