//! Other writers' changes of a table's files, at every joint of the sink's own (SK-35): taken in where that is asked for, and
//! otherwise the table halts with a line that says what to do.

use super::harness::{Harness, ID, Logical, Rows, Shape, row};
use crate::deletion_vector;
use crate::layout::Mode;
use crate::log::{ForeignWrites, LiveFile, NewFile, Table};
use crate::model::foreign::{added, as_new, copy, copy_with, removed};
use crate::parts::feed::{AFTER, BEFORE, DELETED, INSERTED};
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use tidewire_core::ErrorKind;
use tidewire_core::sink::PurgeRequest;

/// Rows 1 to 4 in two files.
fn harness(mode: Mode) -> Harness {
    harness_of(mode, |_| {})
}

fn harness_of(mode: Mode, set: fn(&mut Harness)) -> Harness {
    harness_with(Shape::Int, mode, set)
}

fn harness_with(shape: Shape, mode: Mode, set: fn(&mut Harness)) -> Harness {
    let mut h = Harness::with_mode(shape, mode);
    set(&mut h);
    h.meet_others(ForeignWrites::Adopt);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h.send(&[Logical::insert(3, "c", "C"), Logical::insert(4, "d", "D")]);
    h.commit();
    h
}

/// Adds an entry of another writer to the log.
fn entry(h: &Harness, operation: &str, actions: &[Value]) {
    let version = h.table_version().unwrap() + 1;
    let info = json!({"commitInfo": {"timestamp": 1, "operation": operation, "engineInfo": "Apache-Spark/4.2.0"}});
    let lines: String = [info].iter().chain(actions).map(|action| format!("{action}\n")).collect();
    fs::write(h.table_directory().join(format!("_delta_log/{version:020}.json")), lines).unwrap();
}

fn files(table: &Table) -> Vec<LiveFile> {
    let mut files: Vec<LiveFile> = table.files().cloned().collect();
    files.sort_by_key(|file| file.modification_time);
    files
}

/// All files become one.
fn optimize(h: &Harness) {
    let mut table = h.table().unwrap();
    let files = files(&table);
    let whole = copy(&mut table, &files.iter().collect::<Vec<_>>(), |deleted, row| !deleted.contains(row)).unwrap();
    let mut actions: Vec<Value> = files.iter().map(|file| removed(file, false)).collect();
    actions.push(added(&whole, false));
    entry(h, "OPTIMIZE", &actions);
}

/// The row goes, by a vector; `again` it comes back in a file of its own.
fn remove(h: &Harness, id: i64, again: bool) {
    let mut table = h.table().unwrap();
    let (file, number) = h.place_of(id);
    let mut rows: RoaringBitmap = table.deleted_rows(&file.path).unwrap().as_ref().clone();
    let mut actions = vec![removed(&file, true)];
    if again {
        actions.push(added(&copy(&mut table, &[&file], |_, row| row == number).unwrap(), true));
    }
    rows.insert(number);
    if rows.len() < file.num_records {
        let mut add = removed(&file, true)["remove"].clone();
        let members = add.as_object_mut().unwrap();
        members
            .retain(|key, _| !["deletionTimestamp", "extendedFileMetadata", "deletionVector"].contains(&key.as_str()));
        members.insert("modificationTime".to_owned(), json!(1));
        members.insert("stats".to_owned(), json!(format!("{{\"numRecords\":{}}}", file.num_records)));
        let vector = deletion_vector::store_all(table.store(), &[rows]).unwrap().remove(0);
        members.insert("deletionVector".to_owned(), serde_json::to_value(vector).unwrap());
        actions.push(json!({ "add": add }));
    }
    entry(h, if again { "UPDATE" } else { "DELETE" }, &actions);
}

/// The row gets another `v`.
fn change(h: &Harness, id: i64, v: &str) {
    let mut table = h.table().unwrap();
    let (file, number) = h.place_of(id);
    let rows = table.deleted_rows(&file.path).unwrap().as_ref().clone();
    let rest = copy(&mut table, &[&file], |_, row| row != number && !rows.contains(row));
    let changed = copy_with(&mut table, &[&file], |_, row| row == number, Some(("v", v)));
    let adds = rest.into_iter().chain(changed).map(|file| added(&file, true));
    entry(h, "UPDATE", &[removed(&file, true)].into_iter().chain(adds).collect::<Vec<_>>());
}

/// Copies of the first file's rows are added.
fn insert_twice(h: &Harness) {
    let mut table = h.table().unwrap();
    let first = files(&table).remove(0);
    let twice = copy(&mut table, &[&first], |deleted, row| !deleted.contains(row)).unwrap();
    entry(h, "WRITE", &[added(&twice, true)]);
}

/// The table's metadata with a change.
fn metadata(h: &Harness, change: fn(&mut Value)) {
    let first = fs::read_to_string(h.table_directory().join(format!("_delta_log/{:020}.json", 0))).unwrap();
    let lines = first.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut metadata = lines.into_iter().find(|line| line.get("metaData").is_some()).unwrap();
    change(&mut metadata["metaData"]);
    entry(h, "SET TBLPROPERTIES", &[metadata]);
}

fn expected(rows: &[(i64, (String, String))]) -> Rows {
    rows.iter().cloned().collect()
}

#[test]
fn changes_that_wait_follow_the_rows_of_others_sk_35() {
    type Act = fn(&Harness);
    let acts: [(&str, Act); 4] = [
        ("optimize", optimize),
        ("delete", |h| remove(h, 4, false)),
        ("update", |h| remove(h, 2, true)),
        ("all of them", |h| {
            remove(h, 2, true);
            optimize(h);
            remove(h, 1, true);
            remove(h, 4, false);
            optimize(h);
        }),
    ];
    for (what, act) in acts {
        for (at, is_started_anew) in [("waiting", false), ("committed", false), ("committed", true), ("waiting", true)]
        {
            let mut h = harness(Mode::Mirror);
            let changes = [
                Logical::update(1, "a2", Some("A2")),
                Logical::Delete(2),
                Logical::Update { old: Some(3), id: 30, v: "c2".to_owned(), big: None },
                Logical::insert(5, "e", "E"),
            ];
            h.send(&changes);
            if at == "committed" {
                h.commit();
                if what != "optimize" {
                    // Row 2 is gone.
                    continue;
                }
            }
            act(&h);
            if is_started_anew {
                h.crash();
                h.replay();
            }
            h.send(&[Logical::update(5, "e2", None), Logical::update(1, "a3", None)]);
            h.commit();
            let mut rows = vec![row(1, "a3", "A2"), row(30, "c2", "C"), row(5, "e2", "E")];
            if matches!(what, "optimize" | "update") {
                rows.push(row(4, "d", "D"));
            }
            assert_eq!(h.rows(), expected(&rows), "{what}, {at}, {is_started_anew}");
            // And the index knows the rows where they are now.
            h.send(&[Logical::Delete(30), Logical::update(5, "e3", Some("E3"))]);
            h.commit();
            let rows: Vec<_> = h.rows().into_iter().map(|(id, (v, _))| (id, v)).collect();
            assert!(rows.contains(&(5, "e3".to_owned())) && !rows.iter().any(|(id, _)| *id == 30), "{what}, {at}");
        }
    }
}

#[test]
fn copies_of_files_that_others_replaced_are_given_up_sk_35() {
    let mut h = harness(Mode::Mirror);
    h.compact_always();
    h.send(&[Logical::Delete(1), Logical::Delete(3)]);
    h.try_commit().unwrap();
    h.wait_for_copies();
    optimize(&h);
    h.finish_compaction();
    h.send(&[Logical::update(2, "b2", None)]);
    h.commit();
    h.finish_compaction();
    assert_eq!(h.rows(), expected(&[row(2, "b2", "B"), row(4, "d", "D")]));
    let (stored, shown) = h.stored_and_shown();
    let parts = |names: &std::collections::BTreeSet<String>| names.iter().filter(|n| n.starts_with("part-")).count();
    // Of what lies there and is not shown nothing is a copy that was given up: those are two originals, the other writer's file
    // and a rewriting of ours.
    assert!(parts(&stored) >= parts(&shown), "{stored:?}");
}

#[test]
fn a_history_follows_the_rows_of_others_sk_35() {
    let mut h = harness(Mode::History);
    h.send(&[Logical::update(1, "a2", None), Logical::Delete(2)]);
    h.commit();
    h.send(&[Logical::update(1, "a3", None), Logical::update(3, "c2", None)]);
    optimize(&h);
    h.commit();
    h.send(&[Logical::update(1, "a4", None), Logical::Delete(4)]);
    h.commit();
    let versions: Vec<_> =
        h.versions().into_iter().map(|version| (version.id, version.v, version.to.is_none())).collect();
    let expect = [
        (1, "a", false),
        (1, "a2", false),
        (1, "a3", false),
        (1, "a4", true),
        (2, "b", false),
        (3, "c", false),
        (3, "c2", true),
        (4, "d", false),
    ];
    assert_eq!(versions, expect.map(|(id, v, open)| (id, v.to_owned(), open)));
}

#[test]
fn a_table_that_paused_goes_on_when_others_may_write_sk_35() {
    let mut h = harness(Mode::Mirror);
    h.meet_others(ForeignWrites::Pause);
    h.send(&[Logical::update(1, "a2", None)]);
    remove(&h, 4, false);
    let error = h.try_commit().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "foreign_write"));
    let text = error.to_string();
    for part in ["in version 3 ", "operation `DELETE`", "engine `Apache-Spark/4.2.0`"] {
        assert!(text.contains(part), "{text} does not say {part}");
    }
    assert!(error.remedy().unwrap().contains("foreign_writes = \"adopt\""));
    h.meet_others(ForeignWrites::Adopt);
    h.replay();
    h.commit();
    assert_eq!(h.rows(), expected(&[row(1, "a2", "A"), row(2, "b", "B"), row(3, "c", "C")]));
}

#[test]
fn two_rows_of_one_key_halt_the_table_wherever_they_are_met() {
    for is_started_anew in [false, true] {
        let mut h = harness(Mode::Mirror);
        insert_twice(&h);
        if is_started_anew {
            h.crash();
        }
        let sent = h.try_send(&[Logical::update(4, "d2", None)]);
        let error = sent.and_then(|()| h.try_commit()).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "duplicate_key"), "{}", error.chain());
        assert!(error.table().is_some());
    }
}

#[test]
fn what_would_make_the_place_untrue_is_never_adopted_sk_35() {
    type Act = fn(&Harness);
    let cases: [(&str, Act); 8] = [
        ("a restore", |h| entry(h, "RESTORE", &[removed(&files(&h.table().unwrap())[1], true)])),
        ("a removed file that came back", |h| {
            let file = files(&h.table().unwrap()).remove(0);
            entry(h, "DELETE", &[removed(&file, true)]);
            entry(h, "WRITE", &[added(&as_new(&file), true)]);
        }),
        ("a file elsewhere", |h| {
            let file = as_new(&files(&h.table().unwrap())[0]);
            entry(h, "WRITE", &[added(&NewFile { path: "../x".to_owned(), ..file }, true)]);
        }),
        ("a file of other partitions", |h| {
            let partition = Arc::new([("v".to_owned(), Some("a".to_owned()))].into());
            let file = as_new(&files(&h.table().unwrap())[0]);
            entry(h, "WRITE", &[added(&NewFile { path: "v=a/x".to_owned(), partition, ..file }, true)]);
        }),
        ("a file of nobody knows how many rows", |h| {
            let file = as_new(&files(&h.table().unwrap())[0]);
            let mut file = added(&NewFile { path: "x".to_owned(), ..file }, true);
            file["add"].as_object_mut().unwrap().remove("stats");
            entry(h, "WRITE", &[file]);
        }),
        ("other partitions", |h| metadata(h, |metadata| metadata["partitionColumns"] = json!(["v"]))),
        ("what the sink notes of itself", |h| {
            let domain = json!({"domain": "tidewire.position", "configuration": "{}", "removed": true});
            entry(h, "WRITE", &[json!({ "domainMetadata": domain })]);
        }),
        ("an entry of another instance's name", |h| {
            entry(
                h,
                "WRITE",
                &[json!({"metaData": {
            "id": "other", "format": {"provider": "parquet", "options": {}}, "schemaString": "{}", "partitionColumns": [],
            "configuration": {}}})],
            )
        }),
    ];
    for (what, act) in cases {
        let mut h = harness(Mode::Mirror);
        h.send(&[Logical::update(3, "c2", None)]);
        act(&h);
        let error = h.try_commit().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "foreign_write"), "{what}: {}", error.chain());
        for part in ["cannot be adopted", "in version 2 (operation `", "engine `Apache-Spark/4.2.0`"] {
            assert!(error.to_string().contains(part) || what == "a removed file that came back", "{what}: {error}");
        }
        assert!(error.remedy().unwrap().contains("a new name and location"));
    }
    // Of the table's properties those that are not ours may change, and those that are may not.
    let mut h = harness(Mode::Mirror);
    metadata(&h, |metadata| metadata["configuration"]["delta.targetFileSize"] = json!("1mb"));
    h.send(&[Logical::update(3, "c2", None)]);
    h.commit();
    assert_eq!(h.table().unwrap().configuration()["delta.targetFileSize"], "1mb");
    h.crash();
    metadata(&h, |metadata| metadata["configuration"]["delta.appendOnly"] = json!("true"));
    assert_eq!(h.try_send(&[Logical::Delete(3)]).unwrap_err().code(), "foreign_write");
}

#[test]
fn an_entry_of_ours_that_others_overwrite_is_noticed_sk_36() {
    let mut h = harness(Mode::Mirror);
    let newest = h.table_directory().join(format!("_delta_log/{:020}.json", h.table_version().unwrap()));
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "WRITE"}});
    fs::remove_file(&newest).unwrap();
    fs::write(&newest, format!("{info}\n")).unwrap();
    h.send(&[Logical::update(1, "a2", None)]);
    let error = h.try_commit().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Operator, "delta_commit_overwritten"), "{}", error.chain());
}

#[test]
fn files_that_others_vacuum_too_early_are_looked_for_anew_sk_35() {
    let mut h = harness(Mode::Mirror);
    let before = files(&h.table().unwrap());
    h.send(&[Logical::update(1, "a2", None), Logical::Delete(3)]);
    optimize(&h);
    for file in before {
        fs::remove_file(h.table_directory().join(file.path)).unwrap();
    }
    let error = h.try_commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{}", error.chain());
    h.crash();
    h.replay();
    h.commit();
    assert_eq!(h.rows(), expected(&[row(1, "a2", "A"), row(2, "b", "B"), row(4, "d", "D")]));
}

#[test]
fn tables_of_every_kind_follow_the_rows_of_others_sk_35() {
    type Set = fn(&mut Harness);
    let kinds: [(&str, Shape, Set); 6] = [
        ("plain", Shape::Int, |_| {}),
        ("with a key of two columns", Shape::Composite, |_| {}),
        ("mapped", Shape::Int, |h| h.map_columns(true)),
        ("partitioned", Shape::Int, |h| h.partition(Some("big"))),
        ("partitioned by a part of the key", Shape::Composite, |h| h.partition(Some("kind"))),
        ("without deletion vectors", Shape::Int, |h| h.delete_by_vectors(false)),
    ];
    for (what, shape, set) in kinds {
        let mut h = harness_with(shape, Mode::Mirror, set);
        for id in 5..=6 {
            h.send(&[Logical::insert(id, "v", "D")]);
            h.commit();
        }
        let rows = |h: &Harness| h.rows().into_iter().map(|(id, (v, big))| format!("{id}{v}{big}")).collect::<Vec<_>>();
        h.send(&[Logical::Delete(5), Logical::update(4, "w", Some("D"))]);
        // Two files of one partition become one.
        let mut table = h.table().unwrap();
        let old = [5, 6].map(|id| h.place_of(id).0);
        let whole = copy(&mut table, &[&old[0], &old[1]], |_, _| true).unwrap();
        let mut actions = old.iter().map(|file| removed(file, false)).collect::<Vec<_>>();
        actions.push(added(&whole, false));
        entry(&h, "OPTIMIZE", &actions);
        if let Err(error) = h.try_commit() {
            // What it copied is made anew by the next start.
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Retry, "delta_overtaken"),
                "{what}: {}",
                error.chain()
            );
            assert_eq!(what, "without deletion vectors");
            h.crash();
            h.replay();
            h.commit();
        }
        h.send(&[Logical::update(6, "v2", Some("D"))]);
        h.commit();
        assert_eq!(rows(&h), ["1aA", "2bB", "3cC", "4wD", "6v2D"], "{what}");
    }
}

#[test]
fn a_feed_tells_rows_as_others_left_them_sk_35() {
    type Act = fn(&Harness);
    let told = |id, word: &str, v: &str| (id, word.to_owned(), v.to_owned());
    let first = [told(1, AFTER, "a2"), told(1, BEFORE, "a")];
    let third = [told(3, DELETED, "c")];
    let fifth = [told(5, INSERTED, "e")];
    let cases: [(&str, Act, bool, Vec<_>); 4] = [
        ("rows are moved", optimize, false, [&first[..], &third, &fifth].concat()),
        ("a row is changed", |h| remove(h, 2, true), true, [&first[..], &third, &fifth].concat()),
        ("a row goes", |h| remove(h, 3, false), true, [&first[..], &fifth].concat()),
        (
            "a row goes, and all are moved",
            |h| {
                remove(h, 1, false);
                optimize(h);
            },
            true,
            [&[told(1, INSERTED, "a2")][..], &third, &fifth].concat(),
        ),
    ];
    for (what, act, is_made_anew, expected) in cases {
        for spill in [false, true] {
            let mut h = harness_of(Mode::Mirror, |h| h.feed_changes(true));
            h.spill_always(spill);
            h.replay();
            h.send(&[Logical::update(1, "a2", Some("A2")), Logical::Delete(3), Logical::insert(5, "e", "E")]);
            act(&h);
            if is_made_anew {
                let error = h.try_commit().unwrap_err();
                assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "delta_overtaken"), "{}", error.chain());
                h.crash();
                h.replay();
            }
            h.commit();
            assert_eq!(h.changes(), expected, "{what}, spilled: {spill}");
            assert_eq!(h.changes_by_kernel(), expected, "{what}, spilled: {spill}, by the kernel");
        }
    }
}

#[test]
fn a_feed_tells_what_others_left_and_not_what_the_source_says_of_it_sk_35() {
    let told = |word: &str, v: &str| (ID, word.to_owned(), v.to_owned());
    let whole =
        |old: Option<&str>, new: &str| Logical::Whole { old: old.map(str::to_owned), new: Some(new.to_owned()) };
    for is_started_anew in [false, true] {
        let mut h = Harness::with_mode(Shape::Int, Mode::Mirror);
        h.feed_changes(true);
        h.meet_others(ForeignWrites::Adopt);
        h.send(&[whole(None, "a"), Logical::insert(2, "b", "B")]);
        h.commit();
        change(&h, ID, "of others");
        if !is_started_anew {
            h.send(&[Logical::update(2, "b2", None)]);
            assert_eq!(h.try_commit().unwrap_err().code(), "delta_overtaken");
        }
        h.crash();
        h.replay();
        h.commit();
        optimize(&h);
        // The log has the old row as the source had it.
        h.send(&[whole(Some("a"), "c")]);
        h.commit();
        assert_eq!(h.changes(), [told(AFTER, "c"), told(BEFORE, "of others")], "{is_started_anew}");
        // A table that is emptied is the source's again.
        let has_mark = |h: &Harness| h.table().unwrap().has_other_rows();
        assert!(has_mark(&h));
        h.send(&[Logical::Truncate, whole(None, "d")]);
        h.commit();
        assert!(!has_mark(&h));
        h.crash();
        h.replay();
        h.send(&[whole(Some("d"), "e")]);
        h.commit();
        assert_eq!(h.changes(), [told(AFTER, "e"), told(BEFORE, "d")], "{is_started_anew}");
    }
}

/// Spark calls a folder by most texts as they are, and encodes them in the log.
#[test]
fn files_are_found_by_the_names_that_others_encode() {
    let mut h = harness_of(Mode::Mirror, |h| {
        h.partition(Some("v"));
        h.snapshot_start();
        h.snapshot_end();
        h.commit();
    });
    h.send(&[Logical::insert(5, "New York", "E"), Logical::insert(6, "New York", "F")]);
    h.commit();
    let (file, _) = h.place_of(5);
    assert!(file.path.starts_with("v=New%2520York/part-"), "{}", file.path);
    let (store, directory) = (h.table().unwrap().store().clone(), h.table_directory().join("v=New York"));
    fs::create_dir(&directory).unwrap();
    fs::copy(store.local_file(&file.path).unwrap().unwrap(), directory.join("part-spark.parquet")).unwrap();
    let spark = NewFile { path: "v=New%20York/part-spark.parquet".to_owned(), ..as_new(&file) };
    entry(&h, "OPTIMIZE", &[removed(&file, false), added(&spark, false)]);
    // What the log leaves out is read from it.
    h.send(&[Logical::update(5, "\u{c5}lesund", None)]);
    h.commit();
    let mut rows = expected(&[row(1, "a", "A"), row(2, "b", "B"), row(3, "c", "C"), row(4, "d", "D")]);
    rows.extend([row(5, "\u{c5}lesund", "E"), row(6, "New York", "F")]);
    assert_eq!(h.rows(), rows);
    assert_eq!(h.place_of(6).0.path, spark.path);
    let request = PurgeRequest { table: None, key: None, now: true };
    let (is_done, lines) = h.purge(&request).unwrap();
    assert!(is_done && lines[0].contains("1 files with deleted rows"), "{lines:?}");
    assert_eq!((h.rows(), fs::read_dir(&directory).unwrap().count()), (rows.clone(), 0));
    h.send(&[Logical::Delete(6), Logical::update(4, "New York", None)]);
    h.commit();
    rows.remove(&6);
    rows.insert(4, row(4, "New York", "D").1);
    assert_eq!(h.rows(), rows);
}
