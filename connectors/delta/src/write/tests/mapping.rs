//! Tables whose columns have names of their own in data files.

use super::harness::{Harness, Logical, Shape};
use crate::layout::Mode;
use crate::layout::SchemaChanges::{Evolve, Lenient};
use crate::typemap::parse_schema_string;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::{BTreeMap, BTreeSet};

const MODES: [Mode; 3] = [Mode::Mirror, Mode::Changelog, Mode::History];

/// A mapped table with row 1.
fn begun(mode: Mode) -> Harness {
    let mut h = Harness::with_mode(Shape::Int, mode);
    h.map_columns(true);
    h.number_columns();
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h
}

fn add(h: &mut Harness, id: i64) {
    h.send(&[Logical::insert(id, "v", "B")]);
    h.commit();
}

fn texts(values: &[(i64, Option<&str>)]) -> BTreeMap<i64, Option<String>> {
    values.iter().map(|(id, value)| (*id, value.map(str::to_owned))).collect()
}

#[test]
fn columns_are_renamed_dropped_and_come_back_by_metadata_alone() {
    for mode in MODES {
        for changes in [Evolve, Lenient] {
            let mut h = begun(mode);
            h.follow_schema(changes);
            let files: Vec<String> = h.table().unwrap().files().map(|file| file.path.clone()).collect();
            // In the midst of a commit's rows, and after a restart.
            h.send(&[Logical::insert(2, "b", "B")]);
            h.rename_column("v", "a name, with = and (all)");
            add(&mut h, 3);
            h.drop_column("big");
            add(&mut h, 4);
            h.crash();
            h.add_numbered("big", 9);
            add(&mut h, 5);
            h.crash();
            h.replay();
            add(&mut h, 6);
            let expected =
                [(1, Some("a")), (2, Some("b")), (3, Some("x")), (4, Some("x")), (5, Some("x")), (6, Some("x"))];
            assert_eq!(h.texts_by_id("a name, with = and (all)"), texts(&expected), "{mode:?}");
            let expected = [(1, None), (2, None), (3, None), (4, None), (5, Some("B")), (6, Some("B"))];
            assert_eq!(h.texts_by_id("big"), texts(&expected), "{mode:?}");
            let table = h.table().unwrap();
            assert!(files.iter().all(|path| table.file(path).is_some()), "a file was rewritten");
            assert_eq!(table.configuration()["delta.columnMapping.mode"], "name");
        }
    }
}

#[test]
fn the_key_may_have_another_name() {
    for mode in MODES {
        let mut h = begun(mode);
        add(&mut h, 2);
        h.rename_column("id", "number");
        h.send(&[Logical::insert(3, "c", "C")]);
        h.commit();
        // The index is made anew from files that have never heard of either name.
        h.lose_state();
        h.send(&[Logical::Delete(1)]);
        h.commit();
        let table = h.table().unwrap();
        let columns = parse_schema_string(table.schema_string()).unwrap();
        assert!(columns.iter().any(|column| &*column.name == "number"), "{mode:?}");
        let rows = table.files().map(|file| file.num_records - file.deleted_count()).sum::<u64>();
        // A version that has ended stays, and so does a change.
        let expected = match mode {
            Mode::Mirror => 2,
            Mode::History => 3,
            Mode::Changelog => 4,
        };
        assert_eq!(rows, expected, "{mode:?}");
    }
}

#[test]
fn what_the_log_left_out_is_found_under_the_files_names() {
    for compact in [false, true] {
        let mut h = begun(Mode::Mirror);
        add(&mut h, 2);
        h.rename_column("big", "BIG one");
        h.add_numbered("more", 20);
        if compact {
            h.compact_always();
            h.finish_compaction();
        }
        h.leave_out("BIG one");
        h.send(&[Logical::update(1, "a2", None)]);
        h.commit();
        assert_eq!(h.texts_by_id("BIG one"), texts(&[(1, Some("A")), (2, Some("B"))]));
        assert_eq!(h.texts_by_id("v"), texts(&[(1, Some("a2")), (2, Some("v"))]));
    }
}

#[test]
fn files_and_statistics_have_the_physical_names_and_the_ids() {
    for mode in MODES {
        let h = begun(mode);
        let table = h.table().unwrap();
        let columns = parse_schema_string(table.schema_string()).unwrap();
        let mapped: BTreeMap<String, i32> = columns
            .iter()
            .map(|column| column.mapped.as_ref().unwrap())
            .map(|mapped| (mapped.physical.to_string(), mapped.id as i32))
            .collect();
        assert_eq!(table.configuration()["delta.columnMapping.maxColumnId"], columns.len().to_string());
        assert!(mapped.keys().all(|name| name.starts_with("col-")));
        for file in table.files() {
            let content = table.store().get(&file.path).unwrap().unwrap();
            let reader = SerializedFileReader::new(content).unwrap();
            let fields = reader.metadata().file_metadata().schema_descr().root_schema().get_fields().to_vec();
            let found: BTreeMap<String, i32> =
                fields.iter().map(|field| (field.name().to_owned(), field.get_basic_info().id())).collect();
            assert_eq!(found, mapped, "{mode:?}");
            let stats: serde_json::Value = serde_json::from_str(file.stats.as_deref().unwrap()).unwrap();
            let bounds: BTreeSet<&String> = stats["minValues"].as_object().unwrap().keys().collect();
            assert!(!bounds.is_empty() && bounds.iter().all(|name| mapped.contains_key(*name)), "{mode:?}: {stats}");
        }
    }
}

#[test]
fn a_table_stays_as_it_was_created() {
    for mode in MODES {
        let mut h = Harness::with_mode(Shape::Int, mode);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        h.map_columns(true);
        let error = h.try_send(&[Logical::insert(2, "b", "B")]).unwrap_err();
        assert_eq!((error.code(), error.table().is_some()), ("table_without_column_mapping", true));
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("new name and location")), "{error}");
        // By the other remedy.
        h.map_columns(false);
        h.replay();
        h.commit();
        assert_eq!(h.texts_by_id("v").len(), 2, "{mode:?}");
        // And a mapped one goes on without the key.
        let mut h = begun(mode);
        h.map_columns(false);
        h.rename_column("v", "w");
        add(&mut h, 2);
        assert_eq!(h.texts_by_id("w"), texts(&[(1, Some("a")), (2, Some("x"))]), "{mode:?}");
    }
}
