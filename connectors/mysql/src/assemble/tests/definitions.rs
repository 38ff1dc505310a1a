//! Statements at their places, and definitions that are told by the log.

use super::harness::{Out, Source, name};
use super::tape::{Naming, Tape, ints};
use tidewire_core::Result;

const T: &str = "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT)";

fn source() -> Source {
    Source::new(Naming::Gtids, &[T])
}

fn run(source: &Source, fill: impl FnOnce(&mut Tape)) -> Result<Out> {
    let mut tape = Tape::new(Naming::Gtids);
    fill(&mut tape);
    source.run(&tape)
}

fn error(source: &Source, fill: impl FnOnce(&mut Tape)) -> &'static str {
    match run(source, fill) {
        Ok(out) => panic!("no error, but {:#?}", out.texts()),
        Err(error) => error.code(),
    }
}

fn row(tape: &mut Tape, id: u64, columns: usize) {
    let rest = [&[0xff, 0][..], &[1, 0, 0, 0].repeat(columns)].concat();
    tape.transaction(|tape| {
        tape.map(id, "t", columns).rows(crate::binlog::kind::WRITE_ROWS, id, columns, &rest).done()
    });
}

/// MY-40, MY-43, MY-53: what becomes of a table, in order: statement, emptying, shape, rows.
#[test]
fn statements_at_their_places() {
    let made = "CREATE TABLE t (x INT NOT NULL PRIMARY KEY)";
    for (statements, columns, expected) in [
        (vec!["ALTER TABLE t ADD COLUMN c INT"], 3, vec!["1#2 schema t v2 (a, b, c)", "2#1 insert t (1, 1, 1)"]),
        (vec!["ALTER TABLE crm.t CHANGE b z INT"], 2, vec!["1#2 schema t v2 (a, z)", "2#1 insert t (1, 1)"]),
        (vec!["ALTER TABLE t ENGINE = InnoDB"], 2, vec!["2#1 insert t (1, 1)"]),
        (vec!["CREATE INDEX i ON t (b)"], 2, vec!["2#1 insert t (1, 1)"]),
        (vec!["TRUNCATE TABLE t"], 2, vec!["1#2 truncate t", "2#1 insert t (1, 1)"]),
        (vec!["CREATE TABLE IF NOT EXISTS t (x INT)"], 2, vec!["2#1 insert t (1, 1)"]),
        (vec!["DROP TABLE t", made], 1, vec!["2#2 truncate t", "3#1 insert t (1)"]),
        (vec!["DROP TABLE IF EXISTS x, t", made], 1, vec!["2#2 truncate t", "3#1 insert t (1)"]),
        (vec!["DROP TABLE t", "CREATE TABLE IF NOT EXISTS t (x INT)"], 1, vec!["2#2 truncate t", "3#1 insert t (1)"]),
        (vec!["CREATE OR REPLACE TABLE t (x INT NOT NULL)"], 1, vec!["1#2 truncate t", "2#1 insert t (1)"]),
    ] {
        let naming = if statements[0].contains("REPLACE") { Naming::Domains } else { Naming::Gtids };
        let mut tape = Tape::new(naming);
        statements.iter().for_each(|text| tape.ddl(text).done());
        row(&mut tape, 5, columns);
        let out = Source::new(naming, &[T]).run(&tape).unwrap();
        let (ddl, rest): (Vec<&str>, Vec<&str>) = out.texts().into_iter().partition(|text| text.contains(" ddl "));
        let rest: Vec<String> = rest.iter().map(|text| text.replace("0-77-", "")).collect();
        assert_eq!(rest, expected, "{statements:?}");
        let told = statements.iter().filter(|text| !text.starts_with("TRUNCATE")).count();
        assert_eq!(ddl.len(), told, "{statements:?}");
        // Marks never fall.
        assert!(out.seen.is_sorted_by_key(|seen| seen.mark), "{statements:?}");
    }
}

/// MY-25: a map with number and bytes of one before, after its table was changed.
#[test]
fn a_map_does_not_outlive_its_definition() {
    let out = run(&source(), |tape| {
        row(tape, 1, 2);
        tape.ddl("ALTER TABLE t CHANGE a b INT NOT NULL, CHANGE b a INT");
        row(tape, 1, 2);
    });
    let out = out.unwrap();
    assert_eq!(out.texts()[2..], ["2#2 schema t v2 (b, a)", "3#1 insert t (1, 1)"]);
    assert_eq!(out.seen.len(), 4);
}

/// MY-36, MY-43, MY-52, MY-54: what is about a captured table halts, and about another passes.
#[test]
fn what_cannot_be_followed_halts_where_it_matters() {
    for (text, failed, code) in [
        ("ALTER TABLE t FROBNICATE", 0, Some("ddl_not_understood")),
        ("ALTER TABLE other.u FROBNICATE", 0, None),
        ("FROBNICATE EVERYTHING", 0, Some("ddl_not_understood")),
        ("DELETE FROM t", 0, Some("statement_dml")),
        ("INSERT INTO other.u VALUES (1)", 0, None),
        ("ALTER TABLE t ADD COLUMN c INT", 1, Some("statement_failed")),
        ("DROP TABLE other.u, t", 1051, Some("statement_failed")),
        ("DROP TABLE other.u", 1051, None),
        ("ALTER TABLE t TRUNCATE PARTITION p0", 0, Some("rows_changed_unseen")),
        ("ALTER TABLE other.u EXCHANGE PARTITION p WITH TABLE t", 0, Some("rows_changed_unseen")),
        ("ALTER TABLE other.u TRUNCATE PARTITION p0", 0, None),
        ("ALTER TABLE t DROP COLUMN zz", 0, Some("ddl_not_applied")),
        ("ALTER TABLE other.u DROP COLUMN zz", 0, None),
        ("CREATE VIEW v AS SELECT 1", 0, None),
        ("DROP TEMPORARY TABLE t", 0, None),
        ("GRANT ALL ON *.* TO x", 0, None),
    ] {
        let out = run(&Source::new(Naming::Gtids, &[T, "CREATE TABLE other.u (a INT)"]), |tape| {
            tape.begin().failed(text, failed).end();
            row(tape, 1, 2);
        });
        match (out, code) {
            (Ok(out), None) => assert_eq!(out.texts(), ["2#1 insert t (1, 1)"], "{text}"),
            (Err(error), Some(code)) => assert_eq!(error.code(), code, "{text}"),
            (Ok(out), Some(code)) => panic!("{text}: {code} did not come, but {:?}", out.texts()),
            (Err(error), None) => panic!("{text}: {}", error.chain()),
        }
    }
    // Within a transaction too.
    let code = error(&source(), |tape| tape.begin().query("BEGIN").query("UPDATE t SET a = 1").done());
    assert_eq!(code, "statement_dml");
}

/// SEC-02: a halt names the statement and the table, and shows no value.
#[test]
fn an_error_repeats_no_value_of_a_statement() {
    for (text, failed, told) in [
        ("INSERT INTO t VALUES (4111, 'Ann')", 0, "INSERT INTO t VALUES (?, ?)"),
        ("ALTER TABLE t FROBNICATE 'Ann', 4111", 0, "FROBNICATE ?, ?"),
        ("ALTER TABLE t ADD c INT COMMENT 'Ann 4111'", 1, "COMMENT ?"),
        ("ALTER TABLE t DROP zz, COMMENT 'Ann 4111'", 0, "DROP zz, COMMENT ?"),
    ] {
        let error = run(&source(), |tape| {
            tape.begin().failed(text, failed).end();
        })
        .unwrap_err();
        let chain = error.chain();
        assert!(chain.contains(told) && !chain.contains("Ann") && !chain.contains("4111"), "{text}: {chain}");
        assert_eq!(error.table(), Some(&name("t")), "{text}");
    }
}

#[test]
fn a_table_whose_definition_is_not_known() {
    let source = Source { shipped: vec![name("t")], ..Source::new(Naming::Gtids, &[]) };
    assert_eq!(error(&source, |tape| row(tape, 1, 2)), "schema_unknown");
    assert_eq!(error(&source, |tape| tape.ddl("TRUNCATE TABLE t").done()), "ddl_not_applied");
    let altered = run(&source, |tape| tape.ddl("ALTER TABLE t ADD x INT").done()).unwrap();
    assert_eq!(altered.texts(), ["1#1 ddl [t] ALTER TABLE t ADD x INT"]);
    // The log's own metadata make up for it.
    let out = run(&source, |tape| {
        tape.full_metadata(true).ddl("ALTER TABLE t ADD x INT");
        row(tape, 1, 3);
        tape.ddl("TRUNCATE TABLE t");
    });
    assert_eq!(out.unwrap().texts()[1..], ["2#1 insert t (1, 1, 1)", "3#2 truncate t"]);
    assert_eq!(source.kept.texts(), ["crm.t made"]);
    // One that no sink has needs no emptying.
    let source = Source { snapshot: tidewire_core::SnapshotMode::Never, ..Source::new(Naming::Gtids, &[]) };
    let out = run(&source, |tape| tape.ddl("TRUNCATE TABLE t").done()).unwrap();
    assert_eq!(out.seen.len(), 0);
}

/// MY-40, MY-41: what the log tells wins; without it nothing is guessed.
#[test]
fn the_log_corrects_a_definition_or_halts() {
    for wrong in [
        "CREATE TABLE t (a INT NOT NULL PRIMARY KEY)",
        "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT, c INT)",
        "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b VARCHAR(10))",
    ] {
        let source = Source::new(Naming::Gtids, &[wrong]);
        assert_eq!(error(&source, |tape| row(tape, 1, 2)), "schema_unknown", "{wrong}");
        let out = run(&source, |tape| row(tape.full_metadata(true), 1, 2)).unwrap();
        assert_eq!(out.texts(), ["1#1 insert t (1, 1)"], "{wrong}");
        assert_eq!(source.kept.texts(), ["crm.t made"]);
    }
    for wrong in [
        "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, z INT)",
        "CREATE TABLE t (a INT NOT NULL, b INT)",
        "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT UNSIGNED)",
    ] {
        let source = Source::new(Naming::Gtids, &[wrong]);
        let out = run(&source, |tape| row(tape.full_metadata(true), 1, 2)).unwrap();
        assert_eq!(
            (out.texts(), source.kept.texts()),
            (vec!["1#1 insert t (1, 1)"], vec!["crm.t made".to_owned()]),
            "{wrong}"
        );
    }
}

#[test]
fn an_assumed_definition_needs_proof() {
    let source = Source { unproven: vec!["t"], ..source() };
    assert_eq!(error(&source, |tape| row(tape, 1, 2)), "schema_unknown");
    // Proven once, it holds.
    let out = run(&source, |tape| {
        row(tape.full_metadata(true), 1, 2);
        row(tape.full_metadata(false), 1, 2);
    });
    assert_eq!(out.unwrap().seen.len(), 2);
    assert_eq!(source.kept.texts(), ["crm.t made"]);
    // A statement that has been applied already, as the definition is one of later.
    let out = run(&source, |tape| {
        tape.full_metadata(true);
        row(tape, 1, 1);
        tape.ddl("ALTER TABLE t ADD COLUMN b INT");
        row(tape, 2, 2);
    });
    assert_eq!(
        out.unwrap().texts(),
        [
            "1#1 insert t (1)",
            "2#1 ddl [t] ALTER TABLE t ADD COLUMN b INT",
            "2#2 schema t v2 (a, b)",
            "3#1 insert t (1, 1)",
        ]
    );
    let out = run(&source, |tape| {
        tape.full_metadata(true).ddl("ALTER TABLE t ADD COLUMN b INT");
        row(tape, 2, 2);
    });
    assert_eq!(out.unwrap().texts()[1..], ["2#1 insert t (1, 1)"]);
}

/// MY-3B: an ALTER in two phases takes effect in the second.
#[test]
fn alters_in_two_phases() {
    let text = "ALTER TABLE t ADD COLUMN c INT";
    for (end, columns) in [(4, 3), (8, 2)] {
        let mut tape = Tape::new(Naming::Domains);
        tape.domain(0, 77, 1, 0x21, &[2]).query(text).end();
        tape.domain(0, 77, 2, 0, &[]).map(1, "t", 2).insert(1, &[ints([1, 1])]).xid();
        tape.domain(0, 77, 3, 0x21, &[end, 1, 0, 0, 0, 0, 0, 0, 0]).query(text).end();
        tape.domain(0, 77, 4, 0, &[]).map(2, "t", columns);
        let out = match columns {
            3 => Source::new(Naming::Domains, &[T]).run(tape.insert(2, &[ints([1, 1, 1])]).xid()),
            _ => Source::new(Naming::Domains, &[T]).run(tape.insert(2, &[ints([1, 1])]).xid()),
        };
        let out = out.unwrap();
        let expected = match columns {
            3 => vec![
                "0-77-2#1 insert t (1, 1)",
                "0-77-3#1 ddl [t] ALTER TABLE t ADD COLUMN c INT",
                "0-77-3#2 schema t v2 (a, b, c)",
                "0-77-4#1 insert t (1, 1, 1)",
            ],
            _ => vec!["0-77-2#1 insert t (1, 1)", "0-77-4#1 insert t (1, 1)"],
        };
        assert_eq!(out.texts(), expected);
    }
}

/// A table that was read further on in the log: what lies before is in its rows, and numbers go on as ever.
#[test]
fn a_table_that_was_read_is_passed_over_up_to_there() {
    let source = Source { read_until: vec![("t", 3)], ..Source::new(Naming::Gtids, &[T, "CREATE TABLE u (a INT)"]) };
    let out = run(&source, |tape| {
        // The definition is that of the reading already.
        tape.ddl("ALTER TABLE t ADD COLUMN b INT");
        tape.ddl("TRUNCATE TABLE t");
        tape.transaction(|tape| {
            tape.map(1, "t", 1).map(2, "u", 1).insert(1, &[ints([1])]).insert(2, &[ints([1])]);
        });
        tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([1, 1])]).done());
        tape.ddl("ALTER TABLE t FROBNICATE");
    });
    assert_eq!(out.unwrap_err().code(), "ddl_not_understood", "beyond the reading it matters");
    let out = run(&source, |tape| {
        tape.ddl("ALTER TABLE t FROBNICATE").ddl("DELETE FROM t").transaction(|tape| {
            tape.map(1, "t", 1).map(2, "u", 1).insert(1, &[ints([1])]).insert(2, &[ints([1])]);
        });
        tape.transaction(|tape| tape.map(1, "t", 2).insert(1, &[ints([1, 1])]).done());
        tape.ddl("ALTER TABLE t ADD COLUMN c INT");
    });
    assert_eq!(
        out.unwrap().texts(),
        [
            "3#2 insert u (1)",
            "4#1 insert t (1, 1)",
            "5#1 ddl [t] ALTER TABLE t ADD COLUMN c INT",
            "5#2 schema t v2 (a, b, c)",
        ]
    );
}

/// A table that comes to be is turned away once; if nothing comes of it, it is shipped as the log has it.
#[test]
fn a_table_that_joins_is_turned_away_once() {
    let statements = |tape: &mut Tape| {
        tape.ddl("CREATE TABLE fresh (a INT NOT NULL PRIMARY KEY)");
        tape.transaction(|tape| tape.map(1, "fresh", 1).insert(1, &[ints([1])]).done());
    };
    let source = source();
    let turned = run(&source, statements).unwrap_err();
    assert_eq!((turned.code(), turned.kind()), ("table_joined", tidewire_core::ErrorKind::Retry));
    assert_eq!(turned.table(), Some(&name("fresh")));
    let out = run(&source, statements).unwrap();
    let ddl = "1#1 ddl [fresh] CREATE TABLE fresh (a INT NOT NULL PRIMARY KEY)";
    assert_eq!(out.texts(), [ddl, "2#1 insert fresh (1)"]);
    let never = Source { snapshot: tidewire_core::SnapshotMode::Never, joined: Default::default(), ..source.clone() };
    assert_eq!(run(&never, statements).unwrap().seen.len(), 2);
    // Rows are a first sight as well, and a new name.
    let rows = |tape: &mut Tape| tape.transaction(|tape| tape.map(1, "u", 1).insert(1, &[ints([1])]).done()).done();
    let source = Source {
        shipped: vec![name("t")],
        joined: Default::default(),
        ..Source::new(Naming::Gtids, &[T, "CREATE TABLE u (a INT)"])
    };
    assert_eq!(error(&source, rows), "table_joined");
    let source = Source { joined: Default::default(), ..source };
    assert_eq!(error(&source, |tape| tape.ddl("RENAME TABLE t TO newer").done()), "table_joined");
}

/// What people say of tables in other places of the statement is no table.
#[test]
fn databases_go_with_their_tables() {
    let out = run(&source(), |tape| {
        tape.ddl("DROP DATABASE crm").ddl("CREATE DATABASE crm").ddl("CREATE TABLE t (x INT NOT NULL)");
        row(tape, 1, 1);
    });
    let out = out.unwrap();
    assert_eq!(
        out.texts(),
        [
            "1#1 ddl [t] DROP DATABASE crm",
            "3#1 ddl [t] CREATE TABLE t (x INT NOT NULL)",
            "3#2 truncate t",
            "4#1 insert t (1)",
        ]
    );
}
