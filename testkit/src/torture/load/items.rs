//! The table `items`: columns of many types, and for each the literals that have broken others.

use super::super::source::Kind;
use crate::workload::Dice;

/// A column: its name, how it is declared, and literals.
type Column = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const POSTGRES: &[Column] = &[
    ("small", "smallint", &["-32768", "32767", "0"]),
    ("whole", "int", &["-2147483648", "2147483647", "7"]),
    ("large", "bigint", &["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    ("price", "numeric(12,2)", &["0", "-9999999999.99", "9999999999.99", "0.10"]),
    ("exact", "numeric", &["'NaN'", "1.10", "1.100", "-0.00000000000000000000000000000000000001", "123456789012345678901234567890123456789012345678901234567890.5"]),
    ("ratio", "float8", &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'1.7976931348623157e308'", "'5e-324'", "0.1"]),
    ("share", "float4", &["'NaN'", "'-0'", "'3.4028235e38'", "'1e-45'", "0.1"]),
    ("note", "text", &["''", "E'quote\" back\\\\slash\\ttab\\nnl\\r\\x01ctl \u{e9}\u{4e2d}\u{1f600} '''", "'NULL'", "'\\N'", "repeat('long \u{1f30a} ', 1500)"]),
    ("short", "varchar(20)", &["''", "'trailing  '", "'\u{1f600}'"]),
    ("fixed", "char(5)", &["''", "'ab'", "'\u{e9}\u{4e2d}'"]),
    ("raw", "bytea", &["'\\x'", "'\\x00ff5c27'", "decode(repeat('00ff', 3000), 'hex')"]),
    ("flag", "bool", &["true", "false"]),
    ("day", "date", &["'0001-01-01'", "'9999-12-31'", "'2024-02-29'", "'1582-10-10'"]),
    ("local", "timestamp", &["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'"]),
    ("zoned", "timestamptz", &["'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'", "'2024-03-31 02:30:00+05:45'"]),
    ("code", "uuid", &["'6F1E9D0A-1111-4222-8333-444455556666'", "'00000000-0000-0000-0000-000000000000'"]),
    ("packed", "jsonb", &["'{\"b\": [1.10, 12345678901234567890, 1e30], \"a\": {\"c\": \"\\u00e9\"}, \"a\": 2}'", "'null'", "'[]'", "'\"s\"'"]),
    ("net", "inet", &["'192.168.0.1/24'", "'::1'", "'10.0.0.1'"]),
    ("span", "int4range", &["'[1,10)'", "'empty'", "'(,)'"]),
    ("numbers", "int[]", &["'{}'", "'{1,NULL,-2147483648}'"]),
    ("words", "text[]", &["'{}'", "'{a,NULL,\"\",\"it''s \\\"so\\\"\"}'"]),
];

#[rustfmt::skip]
const MYSQL: &[Column] = &[
    ("tiny", "tinyint unsigned", &["255", "0"]),
    ("medium", "mediumint", &["-8388608", "8388607"]),
    ("whole", "int unsigned", &["4294967295", "0", "7"]),
    ("large", "bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("stock", "bigint unsigned", &["18446744073709551615", "9007199254740993", "0"]),
    ("price", "decimal(12,2)", &["0", "-9999999999.99", "9999999999.99", "0.10"]),
    ("exact", "decimal(65,30)", &["-99999999999999999999999999999999999.999999999999999999999999999999", "0.000000000000000000000000000001"]),
    ("ratio", "double", &["1.7976931348623157e308", "-0e0", "5e-324", "0.1"]),
    ("share", "float", &["3.4028234e38", "-0e0", "1e-45", "0.1"]),
    ("note", "mediumtext", &["''", "'quote\" back\\\\slash\ttab\nnl\r\u{1}ctl \u{e9}\u{4e2d}\u{1f600} '''", "'NULL'", "REPEAT('long \u{1f30a} ', 1500)"]),
    ("short", "varchar(255)", &["''", "'trailing  '", "'\u{1f600}'"]),
    ("wide", "varchar(256) CHARACTER SET latin1", &["REPEAT('\u{e9}', 256)", "'x'"]),
    ("fixed", "char(5)", &["''", "'ab'", "'\u{e9}\u{4e2d}\u{1f600}'"]),
    ("raw", "varbinary(300)", &["x'0100'", "x''", "REPEAT(x'ff', 300)"]),
    ("padded", "binary(5)", &["x'0100'", "x''", "x'ffffffffff'"]),
    ("packed", "blob", &["x''", "REPEAT(x'0d0a00', 3000)"]),
    ("flag", "boolean", &["1", "0", "-7"]),
    ("bits", "bit(9)", &["b'100000001'", "b'0'"]),
    ("mood", "enum('a','it''s','\u{20ac},x','')", &["'a'", "'it''s'", "3", "4"]),
    ("tags", "set('a','it''s','\u{20ac}')", &["'a,\u{20ac}'", "''", "7"]),
    ("day", "date", &["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'0001-01-01'"]),
    ("local", "datetime(6)", &["'9999-12-31 23:59:59.999999'", "'1000-01-01 00:00:00.000001'", "'1969-12-31 23:59:59'"]),
    ("zoned", "timestamp(6) NULL", &["'2038-01-19 03:14:07.999999'", "'1970-01-01 00:00:01.000001'"]),
    ("lasts", "time(3)", &["'-838:59:58.999'", "'838:59:59'", "'00:00:00'", "'-00:00:00.001'"]),
    ("born", "year", &["0", "1901", "2155"]),
    ("document", "json", &["'{\"bb\": 1, \"a\": [1, 1.0, 1e100, true, null], \"t\": \"\u{e9}\u{1f600}\"}'", "'null'", "'[]'", "'\"text\"'"]),
];

fn columns(kind: Kind) -> &'static [Column] {
    if kind == Kind::Postgres { POSTGRES } else { MYSQL }
}

pub(super) fn create(kind: Kind) -> String {
    let columns: Vec<String> = columns(kind).iter().map(|(name, declared, _)| format!("{name} {declared}")).collect();
    format!("CREATE TABLE items (id int PRIMARY KEY, {})", columns.join(", "))
}

fn literal(dice: &mut Dice, (_, _, literals): &Column) -> &'static str {
    let place = dice.below(literals.len() as u64 + 1);
    literals.get(place as usize).copied().unwrap_or("NULL")
}

/// The list after INSERT INTO, for rows with these keys.
pub(super) fn rows(kind: Kind, dice: &mut Dice, ids: &[u64]) -> String {
    let mut rows = Vec::new();
    for id in ids {
        let values: Vec<&str> = columns(kind).iter().map(|column| literal(dice, column)).collect();
        rows.push(format!("({id}, {})", values.join(", ")));
    }
    format!("items VALUES {}", rows.join(", "))
}

/// An update of a few columns; what is large stays as it is now and then, and is then not in the log.
pub(super) fn update(kind: Kind, dice: &mut Dice, id: u64) -> String {
    let columns = columns(kind);
    let mut sets = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let place = dice.below(columns.len() as u64) as usize;
        let Some(column) = columns.get(place) else { continue };
        let set = format!("{} = {}", column.0, literal(dice, column));
        // A column is set once.
        if !sets.iter().any(|other: &String| other.split(' ').next() == Some(column.0)) {
            sets.push(set);
        }
    }
    format!("UPDATE items SET {} WHERE id = {id}", sets.join(", "))
}
