//! SEC-02, SEC-48: what an error repeats of a statement has no value of it.

use super::super::{Wording, parse, sql_mode};
use super::context;
use crate::model::Flavour::{MariaDb, MySql};
use proptest::prelude::*;

fn shown(text: &str, mode: u64) -> String {
    let context = super::Context { sql_mode: mode, ..context(MySql) };
    Wording { text, context: &context }.to_string()
}

#[test]
fn values_are_left_out() {
    const ANSI: u64 = sql_mode::ANSI_QUOTES;
    const BARE: u64 = sql_mode::NO_BACKSLASH_ESCAPES;
    for (text, mode, expected) in [
        ("INSERT INTO customers VALUES ('Ann','4111')", 0, "INSERT INTO customers VALUES (?,?)"),
        ("insert  into\n`t` (a, b)\tvalue (-1.5e3, .5)", 0, "insert into `t` (a, b) value (-?, ?)"),
        ("REPLACE t VALUES (x'4f', 0x4f, b'01', 0b01)", 0, "REPLACE t VALUES (?, ?, ?, ?)"),
        ("UPDATE t SET a = _latin1'x' 'y', b = N'z', c = NULL", 0, "UPDATE t SET a = _latin1? ?, b = ?, c = NULL"),
        ("UPDATE t SET a = 'it''s \\' mine' WHERE b = 7", 0, "UPDATE t SET a = ? WHERE b = ?"),
        ("UPDATE t SET a = 'C:\\', b = 'x'", BARE, "UPDATE t SET a = ?, b = ?"),
        ("DELETE FROM t WHERE \"a\" = 1", 0, "DELETE FROM t WHERE ? = ?"),
        ("DELETE FROM t WHERE \"a\" = 1", ANSI, "DELETE FROM t WHERE \"a\" = ?"),
        ("DELETE /* Ann */ FROM t -- 4111\nWHERE a > 5 # Bob", 0, "DELETE FROM t WHERE a > ?"),
        ("DELETE FROM t /*!50000 WHERE a = 4111 */", 0, "DELETE FROM t WHERE a = ?"),
        (
            "CREATE TABLE f (a int) ENGINE=FEDERATED CONNECTION='mysql://user:pw@host/d/t'",
            0,
            "CREATE TABLE f (a int) ENGINE=FEDERATED CONNECTION=?",
        ),
        (
            "ALTER TABLE t ADD c enum('pw') default 'pw' comment 'pw'",
            0,
            "ALTER TABLE t ADD c enum(?) default ? comment ?",
        ),
        // Nothing is certain after what cannot be read, or was not read right.
        ("UPDATE t SET a = 'Ann", 0, "UPDATE t SET a =..."),
        ("UPDATE t SET a = x'4g', b = 'Ann'", 0, "UPDATE t SET a =..."),
        ("UPDATE t SET a = '\u{fffd}\\', b = 'Ann'", 0, "UPDATE t SET a =..."),
        ("", 0, ""),
    ] {
        assert_eq!(shown(text, mode), expected, "{text}");
    }
}

#[test]
fn a_long_statement_is_cut_at_a_token() {
    let text = format!("INSERT INTO t VALUES {}", vec!["(1)"; 100].join(","));
    let shown = shown(&text, 0);
    assert!(shown.ends_with(",(?)..."), "{shown}");
    assert_eq!(shown.chars().count(), 203);
}

#[test]
fn a_fault_shows_no_value_either() {
    for (sql, expected) in [
        ("FROBNICATE t SET a = 'Ann'", "found `FROBNICATE t SET a = ?`"),
        ("CREATE TABLE t (a int) FROBNICATE 'Ann', 4111", "found `FROBNICATE ?, ?`"),
        ("ALTER TABLE t 'Ann'", "found `?`"),
        ("ALTER TABLE t COMMENT 'Ann", "found other text"),
        ("ALTER TABLE t ADD", "found its end"),
    ] {
        for flavour in [MySql, MariaDb] {
            let cause = parse(sql, &context(flavour)).unwrap_err().to_string();
            assert!(cause.ends_with(expected), "{flavour:?}: {sql}: {cause}");
        }
    }
}

proptest! {
    #[test]
    fn no_string_is_shown(before in "[a-z=,() ]{0,20}", value in "\\PC{1,20}", number in 1000..9999_u32) {
        let quoted = value.replace('\\', "\\\\").replace('\'', "''");
        let text = shown(&format!("{before} 'secret{quoted}secret' {number}"), 0);
        prop_assert!(!text.contains("secret") && !text.contains(&number.to_string()), "{}", text);
    }
}
