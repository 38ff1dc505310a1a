//! One table that cannot go on: its error says so, and the others go on from wherever it struck. And what a sink that
//! is given up leaves on disk: nothing that no log names.

use super::harness::{Harness, Logical, Shape, row};
use crate::ambient::{self, Limit, Own};
use crate::config::Keyless;
use crate::layout::Mode;
use std::collections::BTreeSet;
use std::fs;
use tidewire_core::schema::KeyKind;
use tidewire_core::{DataType, Error, ErrorKind, TableName};

fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

/// Two tables with a row each, the second one at hand.
fn two_tables(second: &str) -> Harness {
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.turn_to(second);
    h.send(&[Logical::insert(1, "z", "Z")]);
    h.commit();
    h
}

/// Whatever struck `table`: the sink is opened anew without it, and the other table ends up equal to its source.
fn goes_on_without(mut h: Harness, table: &str, error: &Error, case: &str) {
    assert_eq!(error.kind(), ErrorKind::Operator, "{case}: {}", error.chain());
    assert_eq!(error.table(), Some(&name(table)), "{case}: {}", error.chain());
    assert!(error.remedy().is_some(), "{case}");
    h.halt(&name(table));
    h.turn_to("t");
    h.commit();
    h.send(&[Logical::update(1, "a2", None), Logical::insert(9, "i", "I")]);
    h.commit();
    h.crash();
    h.replay();
    h.commit();
    let rows = h.rows();
    assert_eq!((rows.get(&1), rows.get(&9)), (Some(&row(1, "a2", "A").1), Some(&row(9, "i", "I").1)), "{case}");
}

/// Adds an entry of another writer to the log of the table at hand.
fn foreign_entry(h: &Harness, lines: &str) {
    let version = h.table_version().unwrap() + 1;
    fs::write(h.table_directory().join(format!("_delta_log/{version:020}.json")), lines).unwrap();
}

#[test]
fn an_error_of_one_table_names_it() {
    type Strike = fn(&mut Harness) -> Error;
    let cases: [(&str, Strike); 12] = [
        ("unknown_value", |h| h.try_send(&[Logical::update(77, "z2", None)]).unwrap_err()),
        ("table_without_key", |h| {
            h.without_keys(Keyless::Refuse);
            h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::None, Vec::new()));
            h.try_send(&[Logical::insert(2, "y", "Y")]).unwrap_err()
        }),
        // A mirror does not become a changelog, neither while the daemon runs nor when it starts.
        ("key_changed", |h| {
            h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::None, Vec::new()));
            h.try_send(&[Logical::insert(2, "y", "Y")]).unwrap_err()
        }),
        ("key_changed", |h| {
            h.crash();
            h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::None, Vec::new()));
            h.try_send(&[Logical::insert(2, "y", "Y")]).unwrap_err()
        }),
        ("key_changed", |h| {
            h.change_schema(|schema| schema.key = vec![0, 1]);
            h.try_send(&[Logical::insert(2, "y", "Y")]).unwrap_err()
        }),
        ("column_type_changed", |h| {
            h.change_schema(|schema| schema.columns[2].data_type = DataType::Date);
            h.try_send(&[Logical::insert(2, "y", "Y")]).unwrap_err()
        }),
        ("foreign_write", |h| {
            let add = r#"{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#;
            foreign_entry(h, add);
            h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap();
            h.try_commit().unwrap_err()
        }),
        ("unsupported_delta_table", |h| {
            let features = r#"["deletionVectors","domainMetadata","rowTracking"]"#;
            foreign_entry(
                h,
                &format!(
                    r#"{{"protocol":{{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":{features}}}}}"#
                ),
            );
            h.crash();
            h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap_err()
        }),
        ("delta_table_damaged", |h| {
            let files = fs::read_dir(h.table_directory()).unwrap().map(|entry| entry.unwrap().path());
            for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")) {
                fs::remove_file(file).unwrap();
            }
            h.crash();
            h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap_err()
        }),
        ("delta_table_gone", |h| {
            h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap();
            fs::remove_dir_all(h.table_directory().join("_delta_log")).unwrap();
            h.try_commit().unwrap_err()
        }),
        // Found by a file of it: what the log did not carry is in the table.
        ("delta_table_gone", |h| {
            fs::remove_dir_all(h.table_directory()).unwrap();
            h.try_send(&[Logical::update(1, "z2", None)]).and_then(|()| h.try_commit()).unwrap_err()
        }),
        // While nobody looked: the changes that come are no table by themselves.
        ("delta_table_gone", |h| {
            fs::remove_dir_all(h.table_directory()).unwrap();
            h.crash();
            h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap_err()
        }),
    ];
    for (code, strike) in cases {
        let mut h = two_tables("u");
        let error = strike(&mut h);
        assert_eq!(error.code(), code, "{}", error.chain());
        goes_on_without(h, "u", &error, code);
    }
}

/// SK-3A.
#[test]
fn a_table_that_is_gone_halts_at_every_start_until_it_is_back() {
    for is_read in [false, true] {
        let mut h = two_tables("u");
        if is_read {
            h.floor_at_end();
            h.snapshot_start();
            h.snapshot_rows(&[(1, "z")]);
            h.snapshot_end();
            h.commit();
        }
        let (folder, away) = (h.table_directory(), h.table_directory().with_extension("away"));
        fs::rename(&folder, &away).unwrap();
        for start in 0..3 {
            h.crash();
            let error = h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap_err();
            assert_eq!(error.code(), "delta_table_gone", "start {start}: {}", error.chain());
            assert!(!folder.exists(), "nothing is made in its place");
        }
        fs::rename(&away, &folder).unwrap();
        h.crash();
        h.replay();
        h.commit();
        assert_eq!(h.rows(), [row(1, "z2", "Z2")].into(), "{is_read}");
    }
}

#[test]
fn an_error_between_the_commits_of_two_tables_loses_nothing() {
    // Tables are committed in the order of their names, or at once: one that strikes before `t`, and one after.
    for (second, threads) in [("a", 1), ("u", 1), ("a", 8), ("u", 8)] {
        ambient::take(Own { limits: [(Limit::CommitThreads, threads)].into(), ..Own::default() });
        let mut h = two_tables(second);
        h.add_column("extra");
        h.leave_out("extra");
        h.try_send(&[Logical::update(1, "z2", Some("Z2"))]).unwrap();
        h.turn_to("t");
        h.send(&[Logical::insert(2, "b", "B"), Logical::update(1, "a1", Some("A"))]);
        let before = h.table_version();
        let error = h.try_commit().unwrap_err();
        assert_eq!(error.code(), "unknown_value");
        let is_ahead = h.table_version() > before;
        assert!(threads > 1 || is_ahead == (second == "u"), "the other table is ahead of the progress or not");
        goes_on_without(h, second, &error, second);
    }
}

#[test]
fn a_snapshot_beside_a_halted_table_is_kept() {
    let mut h = two_tables("u");
    h.crash();
    // `t` is read anew and shown; the commit of `u`, which follows, cannot be.
    h.turn_to("t");
    h.floor_at_end();
    h.snapshot_start();
    h.snapshot_rows(&[(1, "s"), (2, "s")]);
    h.snapshot_end();
    h.turn_to("u");
    h.add_column("extra");
    h.leave_out("extra");
    h.send(&[Logical::update(1, "z2", Some("Z2"))]);
    let error = h.try_commit().unwrap_err();
    assert_eq!(error.table(), Some(&name("u")));
    h.halt(&name("u"));
    h.turn_to("t");
    assert!(h.progress_at_open().is_done(&name("t")));
    assert_eq!(h.rows(), [row(1, "s", "snap"), row(2, "s", "snap")].into());
}

#[test]
fn a_table_that_cannot_be_opened_leaves_the_others_open() {
    let mut h = two_tables("u");
    h.floor_at_end();
    h.snapshot_start();
    h.snapshot_rows(&[(1, "s")]);
    h.snapshot_end();
    h.commit_tables_only();
    let log = h.table_directory().join("_delta_log");
    for entry in fs::read_dir(&log).unwrap() {
        fs::write(entry.unwrap().path(), "{").unwrap();
    }
    // The place of `u` cannot be read: it is not known to be whole, and its next reading says why.
    h.crash();
    assert!(!h.progress_at_open().is_done(&name("u")));
    let error = h.try_send(&[Logical::insert(5, "y", "Y")]).unwrap_err();
    assert_eq!(error.code(), "delta_table_damaged");
    goes_on_without(h, "u", &error, "damaged");
}

#[test]
fn a_reading_that_breaks_off_leaves_no_rows() {
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.spill_always(true);
        h.snapshot_start();
        h.snapshot_rows(&[(1, "a"), (2, "b")]);
        h.commit();
        // The same sink is given the table from its beginning.
        h.snapshot_start();
        h.snapshot_rows(&[(2, "b"), (3, "c")]);
        h.snapshot_end();
        h.commit();
        assert_eq!(h.physical_rows(), 2, "{mode:?}");
    }
}

#[test]
fn a_sink_that_is_given_up_leaves_no_files() {
    for mode in [Mode::Mirror, Mode::Changelog, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.spill_always(true);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        // A file that is closed, one in the making, and one that a schema change closes.
        h.send(&[Logical::insert(2, "b", "B")]);
        h.add_column("extra");
        h.send(&[Logical::insert(3, "c", "C")]);
        h.crash();
        assert_only_named_files(&h);
        h.replay();
        h.commit();
        assert_eq!(h.physical_rows(), 3, "{mode:?}");
        assert_only_named_files(&h);
    }
}

#[test]
fn a_file_whose_rows_all_went_is_not_kept() {
    let mut h = Harness::new(Shape::Int);
    h.spill_always(true);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.send(&[Logical::Delete(1), Logical::Delete(2)]);
    h.commit();
    assert!(h.rows().is_empty());
    assert_only_named_files(&h);
}

fn assert_only_named_files(h: &Harness) {
    let table = h.table().unwrap();
    let named: BTreeSet<String> = table.files().map(|file| file.path.clone()).collect();
    let found = fs::read_dir(h.table_directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let found = found.map(|name| name.into_string().unwrap()).filter(|name| name != "_delta_log");
    let found: BTreeSet<String> = found.filter(|name| !name.starts_with("deletion_vector_")).collect();
    assert_eq!(found, named);
}
