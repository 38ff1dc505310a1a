//! Names and paths, case by case.

mod mapping;
mod policies;

use super::*;
use crate::model::shape::column;
use proptest::prelude::*;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{ColumnNumber, DataType, SchemaVersion, TableName};

fn table(columns: Vec<ColumnSchema>) -> TableSchema {
    TableSchema {
        name: TableName::new("public", "t"),
        version: SchemaVersion(1),
        native_id: 1,
        columns,
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    }
}

fn rules(mode: Mode, changes: SchemaChanges) -> Rules<'static> {
    static TEXTS: TextColumns = TextColumns::new();
    Rules { mode, texts: &TEXTS, changes, column_mapping: false, widening: Widening::Halt }
}

const INT: DataType = DataType::Int { bits: 32 };

#[test]
fn names_that_delta_takes_for_one_are_refused() {
    for (first, second) in [("A", "a"), ("a b", "a_b"), ("É", "é")] {
        let schema = table(vec![column(first, INT, false), column(second, INT, false)]);
        let error = Layout::create(&schema, rules(Mode::Mirror, SchemaChanges::Evolve)).unwrap_err();
        assert_eq!(error.code(), "column_name_collision");
    }
    let schema = table(vec![column("id", INT, false), column("_OP", INT, false)]);
    assert!(Layout::create(&schema, rules(Mode::Changelog, SchemaChanges::Evolve)).is_err());
    assert!(Layout::create(&schema, rules(Mode::Mirror, SchemaChanges::Evolve)).is_ok());
}

#[test]
fn a_column_may_be_asked_for_as_text() {
    let schema = table(vec![column("id", INT, false), column("day", DataType::Date, true)]);
    let texts = TextColumns::from(["public.t.day".to_owned()]);
    let rules = Rules { texts: &texts, ..rules(Mode::Mirror, SchemaChanges::Evolve) };
    assert_eq!(Layout::create(&schema, rules).unwrap().columns[1].column_type, ColumnType::String);
}

fn path(schema: &str, name: &str) -> String {
    table_path("{source}/{schema}/{table}", "shop", &TableName::new(schema, name))
}

#[test]
fn hostile_names_stay_inside() {
    // SEC-20.
    for (schema, name, expect) in [
        ("public", "orders", "shop/public/orders"),
        ("..", "../etc", "shop/%2E./%2E.%2Fetc"),
        ("a/b", "x\0y", "shop/a%2Fb/x%00y"),
        ("100%", "_delta_log", "shop/100%25/%5Fdelta_log"),
        ("名前", ".hidden", "shop/名前/%2Ehidden"),
    ] {
        assert_eq!(path(schema, name), expect);
    }
}

#[test]
fn templates_are_checked() {
    for good in ["{source}/{schema}/{table}", "lake/{schema}__{table}"] {
        assert_eq!(check_template(good), Ok(()));
    }
    for bad in ["{table}", "/{schema}/{table}", "{schema}//{table}", "../{schema}/{table}", "{schema}/{table}/{day}"] {
        assert!(check_template(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn two_tables_never_share_a_path(a in ("\\PC{1,6}", "\\PC{1,6}"), b in ("\\PC{1,6}", "\\PC{1,6}")) {
        let same = a == b;
        prop_assert_eq!(path(&a.0, &a.1) == path(&b.0, &b.1), same);
        prop_assert_eq!(path(&a.0, &a.1).split('/').count(), 3);
    }
}
