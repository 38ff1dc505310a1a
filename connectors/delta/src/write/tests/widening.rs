//! Tables whose columns get wider types: by what the log says of them, or by files that are written anew.

use super::harness::{Harness, Logical, Shape};
use crate::encode::read::ColumnReader;
use crate::layout::SchemaChanges::{Evolve, Fail, Ignore, Lenient};
use crate::layout::{Mode, Widening};
use crate::model::reading::each_row;
use crate::typemap::parse_schema_string;
use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use std::collections::BTreeMap;
use tidewire_core::{DataType, Sink as _};

const MODES: [Mode; 3] = [Mode::Mirror, Mode::Changelog, Mode::History];
const WAYS: [Widening; 2] = [Widening::Types, Widening::Rewrite];

fn int(bits: u8) -> DataType {
    DataType::Int { bits }
}

/// A table with rows 1 and 2, whose `n` has 16 bits and whose key has 32; `n` is the number of its row.
fn begun(mode: Mode, widening: Widening) -> Harness {
    let mut h = Harness::with_mode(Shape::Int, mode);
    h.widen(widening);
    h.type_column("id", int(32));
    h.type_column("n", int(16));
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
    h.commit();
    h
}

fn numbers(h: &Harness) -> BTreeMap<i64, i64> {
    let mut numbers = BTreeMap::new();
    each_row(&mut h.table().unwrap(), &["id", "n"], |arrays, at| {
        let value = |column: usize| arrays[column].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
        // The log did not carry it of a row that was deleted.
        if arrays[1].as_ref().unwrap().is_valid(at) {
            numbers.insert(value(0), value(1));
        }
    });
    numbers
}

/// How many files have narrower types than the table.
fn narrow_files(h: &Harness) -> usize {
    let table = h.table().unwrap();
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let columns = columns.iter().collect::<Vec<_>>();
    let is_narrow = |file: &&crate::log::LiveFile| {
        let reader = ColumnReader::open(table.store(), &file.path, file.size, &columns, None).unwrap();
        !reader.is_as_declared()
    };
    table.files().filter(is_narrow).count()
}

#[test]
fn a_wider_type_takes_the_place_of_the_narrower_one() {
    for (mode, widening) in MODES.into_iter().flat_map(|mode| WAYS.map(|way| (mode, way))) {
        for is_key in [false, true] {
            let mut h = begun(mode, widening);
            h.send(&[Logical::Delete(2), Logical::insert(3, "c", "C"), Logical::insert(7, "rests", "R")]);
            h.commit();
            // Rows before and after in one commit, some of them in a file that no commit has named.
            h.send(&[Logical::insert(4, "d", "D"), Logical::update(1, "a2", Some("A2"))]);
            h.type_column("n", int(64));
            h.type_column("id", int(if is_key { 64 } else { 32 }));
            h.send(&[
                Logical::update(3, "c2", Some("C")),
                Logical::update(4, "d2", None),
                Logical::insert(5, "e", "E"),
            ]);
            h.commit();
            h.crash();
            h.replay();
            h.send(&[Logical::update(1, "a3", None), Logical::insert(6, "f", "F")]);
            h.commit();
            h.lose_state();
            h.type_column("id", int(64));
            h.send(&[Logical::Delete(6), Logical::insert(1_000_000, "big", "B")]);
            h.commit();
            let what = format!("{mode:?} {widening:?} {is_key}");
            let mut expected: BTreeMap<i64, i64> = [1, 3, 4, 5, 7, 1_000_000].map(|id| (id, id)).into();
            if mode != Mode::Mirror {
                expected.extend([(2, 2), (6, 6)]);
            }
            assert_eq!(numbers(&h), expected, "{what}");
            let table = h.table().unwrap();
            let live = table.files().map(|file| file.num_records - file.deleted_count()).sum::<u64>();
            let rows = match mode {
                Mode::Mirror => 6,
                Mode::History => 12,
                Mode::Changelog => 14,
            };
            assert_eq!(live, rows, "{what}");
            let is_told =
                table.schema_string().contains(r#""delta.typeChanges":[{"fromType":"short","toType":"long"}]"#);
            assert_eq!(is_told, widening == Widening::Types, "{what}");
            assert_eq!(narrow_files(&h) > 0, widening == Widening::Types, "{what}");
            let property = table.configuration().get("delta.enableTypeWidening");
            assert_eq!(property.is_some(), widening == Widening::Types, "{what}");
        }
    }
}

#[test]
fn a_table_halts_and_names_the_choices() {
    for mode in MODES {
        let mut h = begun(mode, Widening::Halt);
        h.type_column("n", int(64));
        let error = h.try_send(&[Logical::insert(3, "c", "C")]).unwrap_err();
        assert_eq!(error.code(), "column_type_changed");
        for choice in ["widening = \"rewrite\"", "widening = \"types\"", "schema_changes = \"lenient\""] {
            assert!(error.remedy().unwrap().contains(choice), "{error}");
        }
        // And goes on from where it stopped.
        h.widen(Widening::Rewrite);
        h.replay();
        h.type_column("id", int(64));
        h.send(&[Logical::insert(4, "d", "D")]);
        h.commit();
        assert_eq!(numbers(&h).len(), 4, "{mode:?}");
    }
}

#[test]
fn each_policy_has_its_way_with_wider_types() {
    for (changes, expected) in
        [(Evolve, None), (Lenient, None), (Ignore, Some("column_type_changed")), (Fail, Some("schema_change_refused"))]
    {
        let mut h = begun(Mode::Mirror, Widening::Types);
        h.follow_schema(changes);
        h.type_column("n", int(64));
        let sent = h.try_send(&[Logical::insert(3, "c", "C")]);
        assert_eq!(sent.map_err(|error| error.code()).err(), expected, "{changes:?}");
    }
}

#[test]
fn a_changelog_is_only_written_anew_where_old_changes_still_fit() {
    // Should the daemon end between its two commits, they come again.
    let mut h = begun(Mode::Changelog, Widening::Rewrite);
    h.type_column("n", DataType::Float64);
    assert_eq!(h.try_send(&[Logical::insert(3, "c", "C")]).unwrap_err().code(), "column_type_changed");
}

#[test]
fn what_is_being_copied_with_the_narrower_type_is_given_up() {
    for widening in WAYS {
        let mut h = begun(Mode::Mirror, widening);
        h.compact_always();
        for id in 3..20 {
            h.send(&[Logical::insert(id, "a", "A")]);
            h.commit_tables_only();
        }
        h.sink().maintain().unwrap();
        h.type_column("n", int(64));
        h.type_column("id", int(64));
        h.send(&[Logical::insert(20, "z", "Z"), Logical::update(5, "b", None)]);
        h.commit();
        h.finish_compaction();
        assert_eq!(numbers(&h), (1..=20).map(|id| (id, id)).collect(), "{widening:?}");
    }
}
