//! Partitioned tables whose columns have names of their own in data files: the log and the folders have those, whatever the
//! columns are called.

use super::super::harness::{Harness, Logical, Shape, text};
use super::shapes::{check_places, five};
use crate::layout::SchemaChanges::{Evolve, Lenient};
use crate::layout::{AddedDefaults, Mode, Widening};
use crate::parts::feed::{AFTER, BEFORE, CHANGE_COLUMN, DELETED, INSERTED};
use crate::typemap::parse_schema_string;
use tidewire_core::DataType;

const MODES: [Mode; 3] = [Mode::Mirror, Mode::Changelog, Mode::History];
const NAME: &str = "a name, with = and (all)";

/// A mapped table with rows 1 and 2, partitioned by `v`.
fn begun(mode: Mode) -> Harness {
    let mut h = super::partitioned(Shape::Int, mode, "v");
    h.map_columns(true);
    h.number_columns();
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h
}

/// The name in the table, and in files, of the column that the table is partitioned by.
fn partition_column(h: &Harness) -> (String, String) {
    let table = h.table().unwrap();
    let [name] = table.partition_columns() else { panic!("{:?}", table.partition_columns()) };
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let column = columns.iter().find(|column| *column.name == **name).unwrap();
    (name.clone(), column.file_name().to_string())
}

/// Each row's key and text in the column, as the kernel reads them.
fn texts(h: &Harness, name: &str) -> Vec<(String, Option<String>)> {
    let rows = h.rows_by_kernel(&["id", name]);
    rows.into_iter().map(|mut row| (row.remove(0).unwrap(), row.remove(0))).collect()
}

fn pairs(expected: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    expected.iter().map(|(id, value)| (text(id), value.map(text))).collect()
}

#[test]
fn the_column_may_have_another_name() {
    for (mode, is_stopped) in MODES.into_iter().flat_map(|mode| [(mode, false), (mode, true)]) {
        let what = format!("{mode:?}, while it is stopped: {is_stopped}");
        let mut h = begun(mode);
        let (name, physical) = partition_column(&h);
        assert!(name == "v" && physical.starts_with("col-"), "{what}");
        check_places(&h, &what);
        // In the midst of a commit's rows; a column before it goes, so that it lies elsewhere.
        h.send(&[Logical::insert(3, "c", "C")]);
        if is_stopped {
            h.commit();
            h.crash();
        }
        h.rename_column("v", NAME);
        h.change_schema(|schema| {
            schema.columns.remove(0);
            schema.key = vec![0];
        });
        // What the harness's log has in such a column is `x`.
        h.send(&[Logical::insert(4, "d", "D"), Logical::insert(5, "e", "E")]);
        h.commit();
        assert_eq!(partition_column(&h), (text(NAME), physical.clone()), "{what}");
        check_places(&h, &what);
        let expected =
            pairs(&[("1", Some("a")), ("2", Some("b")), ("3", Some("c")), ("4", Some("x")), ("5", Some("x"))]);
        assert_eq!(texts(&h, NAME), expected, "{what}");
        // By its name of when the table was made, and by the one of today.
        h.lose_state();
        h.leave_out(NAME);
        h.send(&[Logical::update(2, "-", Some("B2"))]);
        h.commit();
        h.partition(Some(NAME));
        h.send(&[Logical::Delete(3), Logical::Delete(5)]);
        h.commit();
        assert_eq!(partition_column(&h), (text(NAME), physical), "{what}");
        check_places(&h, &what);
        if mode == Mode::Mirror {
            assert_eq!(texts(&h, NAME), pairs(&[("1", Some("a")), ("2", Some("b")), ("4", Some("x"))]));
            assert_eq!(texts(&h, "big"), pairs(&[("1", Some("A")), ("2", Some("B2")), ("4", Some("D"))]));
        }
        h.partition(Some("big"));
        assert_eq!(h.try_send(&[Logical::Delete(1)]).map_err(|error| error.code()), Err("partition_changed"), "{what}");
    }
}

#[test]
fn a_column_that_is_dropped_stays_and_is_null() {
    for (mode, changes) in MODES.into_iter().flat_map(|mode| [(mode, Evolve), (mode, Lenient)]) {
        let what = format!("{mode:?} {changes:?}");
        let mut h = begun(mode);
        h.follow_schema(changes);
        let column = partition_column(&h);
        h.drop_column("v");
        h.drop_column("big");
        h.send(&[Logical::insert(3, "c", "C")]);
        h.commit();
        assert_eq!(partition_column(&h), column, "{what}");
        assert_eq!(texts(&h, "v"), pairs(&[("1", Some("a")), ("2", Some("b")), ("3", None)]), "{what}");
        assert!(!h.table().unwrap().schema_string().contains("\"big\""), "{what}");
        h.lose_state();
        h.send(&[Logical::insert(4, "d", "D")]);
        h.commit();
        check_places(&h, &what);
        // Another one of its name: a column without mapping would do the same.
        h.add_numbered("v", 9);
        let sent = h.try_send(&[Logical::insert(5, "e", "E")]);
        if changes == Evolve {
            assert_eq!(sent.map_err(|error| error.code()), Err("column_returned"), "{what}");
            continue;
        }
        sent.unwrap();
        h.commit();
        assert_eq!(partition_column(&h), column, "{what}");
        let expected = [("1", None), ("2", None), ("3", None), ("4", None), ("5", Some("e"))];
        // What the harness's log has in such a column is the row's `v`.
        assert_eq!(texts(&h, "v__2"), pairs(&expected), "{what}");
        check_places(&h, &what);
    }
}

#[test]
fn files_are_written_anew_under_the_files_names() {
    for (mode, widening) in [
        (Mode::Mirror, Widening::Rewrite),
        (Mode::Mirror, Widening::Types),
        (Mode::History, Widening::Rewrite),
        (Mode::Changelog, Widening::Rewrite),
    ] {
        let what = format!("{mode:?} {widening:?}");
        let mut h = super::partitioned(Shape::Int, mode, "n");
        h.map_columns(true);
        h.widen(widening);
        h.added_defaults(AddedDefaults::Fill);
        h.type_column("n", DataType::Int { bits: 16 });
        h.type_column("m", DataType::Int { bits: 16 });
        h.number_columns();
        h.send(&(1..=6).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        h.commit();
        let (_, physical) = partition_column(&h);
        h.send(&[Logical::update(1, "b", None), Logical::insert(7, "a", "A")]);
        h.rename_column("n", NAME);
        h.type_column(NAME, DataType::Int { bits: 64 });
        h.type_column("m", DataType::Int { bits: 64 });
        h.add_missing("c", DataType::Text, five());
        h.send(&[Logical::Delete(2), Logical::insert(1 << 40, "c", "C")]);
        h.commit();
        assert_eq!(partition_column(&h), (text(NAME), physical), "{what}");
        check_places(&h, &what);
        let rows = h.rows_by_kernel(&["id", NAME, "m", "c"]);
        let is_right = |row: &Vec<Option<String>>| row[1].is_none() || (row[1] == row[0] && row[2] == row[0]);
        assert!(rows.iter().all(is_right), "{what}: {rows:?}");
        let filled = rows.iter().filter(|row| row[3].as_deref() == Some("five")).count();
        // In a history the row that has been deleted since had it as well.
        let expected = match mode {
            Mode::Mirror => (6, 7),
            Mode::History => (7, 9),
            Mode::Changelog => (0, 10),
        };
        assert_eq!((filled, rows.len()), expected, "{what}");
    }
}

#[test]
fn a_table_that_is_read_anew_has_the_partitions_of_its_columns() {
    for is_stopped in [false, true] {
        let mut h = begun(Mode::Mirror);
        let (_, physical) = partition_column(&h);
        h.floor_at_end();
        if is_stopped {
            h.crash();
        }
        h.rename_column("v", NAME);
        h.snapshot_start();
        h.snapshot_rows(&[(1, "-"), (8, "-")]);
        h.snapshot_end();
        h.commit();
        // What the harness's source has in such a column is `x`.
        assert_eq!(partition_column(&h), (text(NAME), physical));
        assert_eq!(texts(&h, NAME), pairs(&[("1", Some("x")), ("8", Some("x"))]));
    }
}

#[test]
fn a_table_that_is_read_anew_may_have_another_column_of_the_name() {
    let mut h = begun(Mode::Mirror);
    let before = partition_column(&h);
    h.floor_at_end();
    h.type_column("v", DataType::Int { bits: 64 });
    h.snapshot_start();
    h.snapshot_rows(&[(1, "-"), (8, "-")]);
    h.snapshot_end();
    h.commit();
    let (name, physical) = partition_column(&h);
    assert!(name == before.0 && physical != before.1, "another column: {physical}");
    assert_eq!(texts(&h, "v"), pairs(&[("1", Some("1")), ("8", Some("8"))]));
    check_places(&h, "read anew");
    // The files of before are told of in a checkpoint, each with the partition that it was in.
    h.lose_state();
    h.send(&[Logical::Delete(8)]);
    h.commit();
    assert_eq!(texts(&h, "v"), pairs(&[("1", Some("1"))]));
}

#[test]
fn a_name_that_the_table_does_not_have_is_refused() {
    let mut h = super::partitioned(Shape::Int, Mode::Mirror, "nothing");
    h.map_columns(true);
    let error = h.try_send(&[Logical::insert(1, "a", "A")]).unwrap_err();
    assert_eq!(error.code(), "partition_column_missing");
}

#[test]
fn changes_lie_in_the_partitions_of_the_files_names() {
    for spill in [false, true] {
        let mut h = begun(Mode::Mirror);
        let (_, physical) = partition_column(&h);
        h.feed_changes(true);
        h.spill_always(spill);
        h.replay();
        // Before and after the new name; what the harness's log has in such a column is `x`.
        h.send(&[Logical::update(1, "c", None), Logical::insert(3, "a", "A")]);
        h.rename_column("v", NAME);
        h.send(&[Logical::update(1, "-", None), Logical::Delete(2), Logical::update(3, "-", Some("B"))]);
        h.commit();
        let told = |id: i64, word: &str, v: &str| vec![Some(id.to_string()), Some(text(word)), Some(text(v))];
        let expected = [told(1, AFTER, "x"), told(1, BEFORE, "a"), told(2, DELETED, "b"), told(3, INSERTED, "x")];
        assert_eq!(h.changed_by_kernel(&["id", CHANGE_COLUMN, NAME]), expected, "spilled: {spill}");
        for (path, partition) in h.change_files() {
            let value = partition[&physical].as_deref().unwrap();
            let is_data = path.starts_with(&format!("{physical}={value}/part-"));
            assert!(is_data || path.starts_with(&format!("_change_data/{physical}={value}/cdc-")), "{path}");
        }
    }
}

#[test]
fn whoever_might_read_it_by_duckdb_is_told() {
    for (is_mapped, is_partitioned, expect) in
        [(true, true, &["partition_column_misread"][..]), (true, false, &[]), (false, true, &[])]
    {
        let mut h = match is_partitioned {
            true => super::partitioned(Shape::Int, Mode::Mirror, "v"),
            false => Harness::new(Shape::Int),
        };
        h.map_columns(is_mapped);
        let found = h.findings();
        assert_eq!(
            found.iter().map(|finding| finding.code).collect::<Vec<_>>(),
            expect,
            "{is_mapped} {is_partitioned}"
        );
        assert!(found.iter().all(|finding| finding.severity == tidewire_core::Severity::Warning));
    }
}
