//! Tables without a key, by what the sink is to do with them.

use super::harness::{Harness, Logical, Shape, row};
use crate::config::Keyless;
use crate::layout::{Mode, SchemaChanges};
use tidewire_core::schema::KeyKind;
use tidewire_core::{ColumnSchema, DataType, Severity, TableName};

fn drop_key(h: &mut Harness) {
    h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::None, Vec::new()));
}

#[test]
fn a_table_without_a_key_is_a_changelog_beside_mirrors() {
    for mode in [Mode::Mirror, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        // What is for mirrors alone does not keep it from being one.
        h.feed_changes(mode == Mode::Mirror);
        h.delete_by_vectors(mode == Mode::History);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.turn_to("u");
        drop_key(&mut h);
        assert_eq!(
            h.findings().iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>(),
            [("table_without_key", Severity::Warning)]
        );
        h.snapshot_start();
        h.snapshot_rows(&[(1, "x"), (1, "x")]);
        h.snapshot_end();
        h.commit_tables_only();
        h.crash();
        assert!(h.progress_at_open().is_done(&TableName::new("public", "u")), "{mode:?}");
        h.replay();
        h.send(&[Logical::insert(1, "x", "X"), Logical::Delete(1), Logical::Truncate]);
        h.commit();
        h.crash();
        h.replay();
        h.send(&[Logical::insert(2, "y", "Y")]);
        h.commit();
        let mut ops = h.texts("_op").into_iter().flatten().collect::<Vec<_>>();
        ops.sort();
        assert_eq!(ops.concat(), "ccdrrt", "{mode:?}");
        h.turn_to("t");
        assert!(h.findings().is_empty());
        h.send(&[Logical::update(1, "a2", Some("A2"))]);
        h.commit();
        match mode {
            Mode::History => assert_eq!(h.versions().len(), 2),
            _ => assert_eq!(h.rows(), [row(1, "a2", "A2")].into()),
        }
    }
}

#[test]
fn a_table_stays_what_it_was_made_as() {
    for is_restarted in [false, true] {
        let mut h = Harness::new(Shape::Int);
        drop_key(&mut h);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        if is_restarted {
            h.crash();
        }
        h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::Primary, vec![1]));
        assert_eq!(h.findings()[0].code, "key_changed");
        let error = h.try_send(&[Logical::insert(2, "b", "B")]).unwrap_err();
        assert_eq!(error.code(), "key_changed", "{}", error.chain());
        // Not by a snapshot either.
        h.crash();
        assert_eq!(h.try_snapshot_start().unwrap_err().code(), "key_changed");
    }
    let mut h = Harness::new(Shape::Int);
    drop_key(&mut h);
    h.without_keys(Keyless::Refuse);
    assert_eq!(h.findings()[0].code, "table_without_key");
    assert_eq!(h.try_send(&[Logical::insert(1, "a", "A")]).unwrap_err().code(), "table_without_key");
}

#[test]
fn check_asks_of_a_table_that_is_there_what_its_opening_asks() {
    let mut h = Harness::new(Shape::Int);
    h.follow_schema(SchemaChanges::Lenient);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.change_schema(|schema| schema.columns[2].data_type = DataType::Date);
    assert!(h.findings().is_empty(), "it goes on in another column");
    h.follow_schema(SchemaChanges::Evolve);
    assert_eq!(h.findings()[0].code, "column_type_changed");
    h.change_schema(|schema| {
        schema.columns[2].data_type = DataType::Text;
        let twin = schema.columns[2].clone();
        schema.columns.push(ColumnSchema { name: "V".into(), ..twin });
    });
    assert_eq!(h.findings()[0].code, "column_name_collision");
    h.follow_schema(SchemaChanges::Lenient);
    assert!(h.findings().is_empty(), "it goes on as `V__2`");
    h.send(&[Logical::insert(2, "b", "B")]);
    h.commit();
    h.rename_sink("other");
    assert_eq!(h.findings()[0].code, "foreign_table");
}
