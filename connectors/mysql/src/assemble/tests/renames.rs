//! Tables that get other names.

use super::harness::{Out, Source, name};
use super::tape::{Naming, Tape};
use tidewire_core::Result;

const T: &str = "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT)";
const U: &str = "CREATE TABLE u (a INT NOT NULL PRIMARY KEY, b INT)";

fn row(tape: &mut Tape, table: &str, columns: usize) {
    let rest = [&[0xff, 0][..], &[1, 0, 0, 0].repeat(columns)].concat();
    let id = table.bytes().map(u64::from).sum::<u64>() + columns as u64;
    tape.transaction(|tape| {
        tape.map(id, table, columns).rows(crate::binlog::kind::WRITE_ROWS, id, columns, &rest).done()
    });
}

fn run(source: &Source, steps: &[&str]) -> Result<Out> {
    let mut tape = Tape::new(Naming::Gtids);
    for step in steps {
        match step.strip_prefix("row ") {
            Some(table) => {
                let (table, columns) = table.split_once(' ').unwrap_or((table, "2"));
                row(&mut tape, table, columns.parse().unwrap());
            }
            None => tape.ddl(step).done(),
        }
    }
    source.run(&tape)
}

/// MY-45, MY-46: copies are not shipped, and the table goes on under its name with another shape.
#[test]
fn online_schema_changes() {
    for (made, steps) in [
        (
            "_t_gho",
            vec![
                "CREATE TABLE _t_ghc (id BIGINT)",
                "CREATE TABLE _t_gho LIKE t",
                "ALTER TABLE _t_gho ADD c INT",
                "row _t_gho 3",
                "row t",
                "CREATE TABLE _t_del (id INT)",
                "DROP TABLE _t_del",
                "RENAME TABLE t TO _t_del, _t_gho TO t",
                "row t 3",
                "DROP TABLE _t_del",
                "row t 3",
            ],
        ),
        (
            "_t_new",
            vec![
                "CREATE TABLE _t_new (a INT NOT NULL PRIMARY KEY, b INT)",
                "ALTER TABLE _t_new ADD COLUMN c INT",
                "row _t_new 3",
                "row t",
                "RENAME TABLE `crm`.`t` TO `crm`.`_t_old`, `crm`.`_t_new` TO `crm`.`t`",
                "row t 3",
                "DROP TABLE IF EXISTS `_t_old`",
                "row t 3",
            ],
        ),
        (
            "_t_gho",
            vec![
                "CREATE TABLE _t_gho LIKE t",
                "ALTER TABLE _t_gho ADD c INT",
                "row t",
                "RENAME TABLE t TO _t_del",
                "RENAME TABLE _t_gho TO t",
                "row t 3",
                "row t 3",
            ],
        ),
        (
            "_t_gho",
            vec![
                "CREATE TABLE _t_gho LIKE t",
                "row t",
                "ALTER TABLE t RENAME TO _t_del",
                "ALTER TABLE _t_gho ADD c INT, RENAME TO t",
                "row t 3",
                "row t 3",
            ],
        ),
    ] {
        // Whether the changed shape is told does not depend on rows that came before.
        for steps in [steps.clone(), steps.iter().copied().filter(|step| *step != "row t").collect()] {
            let out = run(&Source::new(Naming::Gtids, &[T]), &steps).unwrap();
            let all = out.texts();
            let texts: Vec<&str> =
                all.iter().filter(|text| !text.contains(" ddl ")).map(|text| text.split_once(' ').unwrap().1).collect();
            let expected = ["insert t (1, 1)", "schema t v2 (a, b, c)", "insert t (1, 1, 1)", "insert t (1, 1, 1)"];
            let skipped = usize::from(!steps.contains(&"row t"));
            assert_eq!(texts, expected[skipped..], "{made}: {steps:?}");
            assert!(all.iter().filter(|text| text.contains(" ddl ")).all(|text| text.contains("RENAME")), "{all:?}");
        }
    }
}

/// A helper that was made before the log that we read.
#[test]
fn a_helper_of_unknown_definition() {
    let steps = ["RENAME TABLE t TO _t_del, _t_gho TO t", "row t 3"];
    assert_eq!(run(&Source::new(Naming::Gtids, &[T]), &steps).unwrap_err().code(), "schema_unknown");
    let mut tape = Tape::new(Naming::Gtids);
    tape.full_metadata(true).ddl(steps[0]);
    row(&mut tape, "t", 3);
    let out = Source::new(Naming::Gtids, &[T]).run(&tape).unwrap();
    assert_eq!(out.texts()[1..], ["2#0 schema t v2 (a, b, c)", "2#1 insert t (1, 1, 1)"]);
}

#[test]
fn names_that_change_hands() {
    let few: &[&str] = &["crm.t", "crm.u"];
    for (filter, steps, code) in [
        // Away, and back as it was.
        (few, vec!["RENAME TABLE t TO x", "RENAME TABLE x TO t", "row t"], None),
        (few, vec!["RENAME TABLE t TO x, x TO t", "row t"], None),
        (few, vec!["RENAME TABLE t TO x", "RENAME TABLE x TO other.y", "RENAME TABLE other.y TO t", "row t"], None),
        (few, vec!["RENAME TABLE t TO x, x TO y, y TO t", "row t"], None),
        (few, vec!["RENAME TABLE t TO x", "ALTER TABLE x ADD INDEX (b), RENAME TO t", "row t"], None),
        // What happened to it meanwhile nobody was told.
        (few, vec!["RENAME TABLE t TO x", "row x", "RENAME TABLE x TO t"], Some("table_replaced")),
        (few, vec!["RENAME TABLE t TO x", "TRUNCATE TABLE x", "RENAME TABLE x TO t"], Some("table_replaced")),
        (
            few,
            vec!["RENAME TABLE t TO x", "DROP TABLE x", "CREATE TABLE x (a INT)", "RENAME TABLE x TO t"],
            Some("table_replaced"),
        ),
        (
            few,
            vec!["RENAME TABLE t TO x", "CREATE TABLE t (a INT)", "DROP TABLE t", "RENAME TABLE x TO t"],
            Some("table_replaced"),
        ),
        // Another table takes the place.
        (few, vec!["RENAME TABLE t TO x, u TO t, x TO u"], Some("table_replaced")),
        (few, vec!["RENAME TABLE t TO x", "RENAME TABLE u TO t"], Some("table_replaced")),
        (few, vec!["DROP TABLE t", "RENAME TABLE u TO t"], Some("table_replaced")),
        (few, vec!["DROP TABLE t", "RENAME TABLE stranger TO t"], Some("table_replaced")),
        (few, vec!["ALTER TABLE stranger RENAME TO t"], Some("table_replaced")),
        (few, vec!["RENAME TABLE t TO x, stranger TO t"], Some("table_replaced")),
        (few, vec!["RENAME TABLE other._t_gho TO crm.t"], Some("table_replaced")),
        (few, vec!["RENAME TABLE _u_gho TO t"], Some("table_replaced")),
        (&["crm.*"], vec!["RENAME TABLE t TO x, u TO t, x TO u"], Some("table_joined")),
        // Away for good, and anew: the rows of the one before go.
        (few, vec!["RENAME TABLE t TO x", "row x", T, "row t"], None),
    ] {
        let source = Source { filter, ..Source::new(Naming::Gtids, &[T, U]) };
        match (run(&source, &steps), code) {
            (Ok(out), None) => {
                let texts = out.texts();
                assert!(texts.last().unwrap().contains("insert t (1, 1)"), "{steps:?}: {texts:?}");
                assert_eq!(
                    texts.iter().any(|text| text.contains("truncate t")),
                    steps.contains(&T),
                    "{steps:?}: {texts:?}"
                );
                assert!(!texts.iter().any(|text| text.contains("insert x")), "{steps:?}: {texts:?}");
            }
            (Err(error), Some(code)) => {
                assert_eq!(error.code(), code, "{steps:?}");
                let table = if code == "table_replaced" { "t" } else { "x" };
                assert_eq!(error.table(), Some(&name(table)), "{steps:?}");
            }
            (Ok(out), Some(code)) => panic!("{steps:?}: {code} did not come, but {:?}", out.texts()),
            (Err(error), None) => panic!("{steps:?}: {}", error.chain()),
        }
    }
}

/// What is kept is what is in force, also when it is that nothing is known.
#[test]
fn lost_definitions_are_recorded_as_lost() {
    let source = Source { filter: &["crm.t"], ..Source::new(Naming::Gtids, &[T, U]) };
    for (step, kept) in [
        ("RENAME TABLE u TO v", vec!["crm.u gone", "crm.v made"]),
        ("ALTER TABLE u DROP COLUMN zz", vec!["crm.u gone"]),
        ("ALTER TABLE u FROBNICATE", vec!["crm.u gone"]),
        ("RENAME TABLE stranger TO u", vec!["crm.stranger gone", "crm.u gone"]),
        ("ALTER TABLE stranger ADD x INT", vec![]),
        ("DROP TABLE stranger", vec![]),
        ("DROP TABLE u", vec!["crm.u gone"]),
    ] {
        let source = Source { kept: Default::default(), ..source.clone() };
        run(&source, &[step]).unwrap();
        assert_eq!(source.kept.texts(), kept, "{step}");
    }
}
