use super::super::tests::{builder, charset, column, show};
use super::*;

/// The value of a column that is not in an insert, as the server would show it.
fn absent(column: &ColumnDef, zero: ZeroDates) -> String {
    let mut builder = builder();
    let cell = Absent::of(column, zero).cell(&mut builder, &mut Scratch::default()).unwrap();
    if cell.is_unknown() {
        return "unknown".to_owned();
    }
    let batch = builder.finish(None, true, 0);
    show(cell.value(batch.arena()))
}

fn labels(all: &[&str]) -> Arc<[Arc<str>]> {
    all.iter().map(|label| Arc::from(*label)).collect()
}

fn with_default(kind: ColumnKind, text: &str) -> ColumnDef {
    ColumnDef { default: Some(DefaultValue::Literal { text: text.into() }), ..column(kind) }
}

/// MY-20: a constant default is the value.
#[test]
fn a_constant_default_is_the_value_of_what_an_insert_lacks() {
    let decimal = ColumnKind::Decimal { precision: 5, scale: 2 };
    let letters = labels(&["p", "q", "r"]);
    for (kind, text, value) in [
        (ColumnKind::TinyInt, "-128", "-128"),
        (ColumnKind::TinyInt, "128", "unknown"),
        (ColumnKind::MediumInt, "-8388608", "-8388608"),
        (ColumnKind::Int, "5", "5"),
        (ColumnKind::Int, "5.5", "unknown"),
        (ColumnKind::BigInt, "9223372036854775807", "9223372036854775807"),
        (ColumnKind::BigInt, "9223372036854775808", "unknown"),
        (decimal.clone(), "1.50", "1.50"),
        (decimal.clone(), "-0.01", "-0.01"),
        (decimal.clone(), "1.5", "unknown"),
        (decimal, "1000.00", "unknown"),
        (ColumnKind::Double { digits: None }, "0.1", "0.1"),
        (ColumnKind::Double { digits: None }, "inf", "unknown"),
        (ColumnKind::Double { digits: Some((7, 3)) }, "0.1", "unknown"),
        (ColumnKind::Float { digits: None }, "0.1", "unknown"),
        (ColumnKind::Float { digits: None }, "0", "0.0"),
        (ColumnKind::Bit { length: 3 }, "101", "101"),
        (ColumnKind::Bit { length: 9 }, "1", "000000001"),
        (ColumnKind::Bit { length: 3 }, "1010", "unknown"),
        (ColumnKind::Year, "2024", "2024"),
        (ColumnKind::Year, "0000", "0"),
        (ColumnKind::Year, "24", "unknown"),
        (ColumnKind::Date, "2024-02-29", "2024-02-29"),
        (ColumnKind::Date, "20240229", "unknown"),
        (ColumnKind::DateTime { fsp: 0 }, "2024-02-29 01:02:03", "2024-02-29 01:02:03"),
        (ColumnKind::DateTime { fsp: 3 }, "2024-02-29 01:02:03.004", "2024-02-29 01:02:03.004"),
        (ColumnKind::DateTime { fsp: 3 }, "2024-02-29 01:02:03", "unknown"),
        (ColumnKind::DateTime { fsp: 0 }, "2024-02-29", "unknown"),
        (ColumnKind::Timestamp { fsp: 0 }, "2024-02-29 01:02:03", "unknown"),
        (ColumnKind::Time { fsp: 0 }, "-838:59:59", "-838:59:59"),
        (ColumnKind::Time { fsp: 3 }, "00:00:00.500", "00:00:00.500"),
        (ColumnKind::Time { fsp: 0 }, "12:30", "unknown"),
        (ColumnKind::VarChar { length: 3 }, "é ", "é "),
        (ColumnKind::VarChar { length: 3 }, "abcd", "unknown"),
        (ColumnKind::Char { length: 3 }, "é ", "é"),
        (ColumnKind::Text { width: 2 }, "abc", "abc"),
        (ColumnKind::Binary { length: 3 }, "a", "610000"),
        (ColumnKind::VarBinary { length: 3 }, "a", "61"),
        (ColumnKind::VarBinary { length: 3 }, "é", "unknown"),
        (ColumnKind::Enum { labels: Arc::clone(&letters) }, "q", "q"),
        (ColumnKind::Enum { labels: Arc::clone(&letters) }, "z", "unknown"),
        (ColumnKind::Set { labels: Arc::clone(&letters) }, "p,r", "p,r"),
        (ColumnKind::Set { labels: Arc::clone(&letters) }, "r,p", "unknown"),
        (ColumnKind::Set { labels: letters }, "", ""),
        (ColumnKind::Uuid, "123e4567-e89b-12d3-a456-426655440000", "unknown"),
    ] {
        let column = with_default(kind, text);
        assert_eq!(absent(&column, ZeroDates::Halt), value, "{column:?}");
    }
    let unsigned = ColumnDef { unsigned: true, ..with_default(ColumnKind::BigInt, "18446744073709551615") };
    assert_eq!(absent(&unsigned, ZeroDates::Halt), "18446744073709551615");
    let latin1 = ColumnDef { charset: charset("latin1"), ..with_default(ColumnKind::VarChar { length: 3 }, "é") };
    assert_eq!(absent(&latin1, ZeroDates::Halt), "unknown");
    let long = "x".repeat(300);
    let text = with_default(ColumnKind::Text { width: 2 }, &long);
    assert_eq!(absent(&text, ZeroDates::Halt), long);
}

/// MY-20: what the server gives where neither a value nor a default is said. Recorded with `sql_mode = ''`.
#[test]
fn a_column_without_default_has_the_value_of_its_type() {
    let letters = labels(&["p", "q"]);
    for (kind, value) in [
        (ColumnKind::Int, "0"),
        (ColumnKind::Decimal { precision: 5, scale: 2 }, "0.00"),
        (ColumnKind::Decimal { precision: 5, scale: 0 }, "0"),
        (ColumnKind::Double { digits: None }, "0.0"),
        (ColumnKind::Float { digits: Some((7, 3)) }, "0.0"),
        (ColumnKind::Bit { length: 5 }, "00000"),
        (ColumnKind::Year, "0"),
        (ColumnKind::Time { fsp: 3 }, "00:00:00.000"),
        (ColumnKind::VarChar { length: 3 }, ""),
        (ColumnKind::Char { length: 3 }, ""),
        (ColumnKind::Text { width: 2 }, ""),
        (ColumnKind::Blob { width: 2 }, ""),
        (ColumnKind::Binary { length: 3 }, "000000"),
        (ColumnKind::Enum { labels: Arc::clone(&letters) }, "p"),
        (ColumnKind::Set { labels: letters }, ""),
        (ColumnKind::Date, "1970-01-01"),
        (ColumnKind::DateTime { fsp: 6 }, "1970-01-01 00:00:00"),
        (ColumnKind::Timestamp { fsp: 3 }, "1970-01-01 00:00:00"),
        (ColumnKind::Json, "unknown"),
        (ColumnKind::Uuid, "unknown"),
    ] {
        let filled = ColumnDef { nullable: false, ..column(kind.clone()) };
        assert_eq!(absent(&filled, ZeroDates::Epoch), value, "{filled:?}");
        assert_eq!(absent(&column(kind), ZeroDates::Epoch), "NULL");
    }
    let date = ColumnDef { nullable: false, ..column(ColumnKind::DateTime { fsp: 3 }) };
    assert_eq!(absent(&date, ZeroDates::Text), "0000-00-00 00:00:00.000");
    assert_eq!(absent(&date, ZeroDates::Halt), "impossible 0000-00-00 00:00:00.000");
}

/// Unknown is never null.
#[test]
fn what_is_computed_or_not_known_is_unknown() {
    let int = || column(ColumnKind::Int);
    let expression = DefaultValue::Expression { text: "(1+1)".into() };
    for column in [
        ColumnDef { auto_increment: true, ..int() },
        ColumnDef { generated: Generated::Virtual, ..int() },
        ColumnDef { generated: Generated::Stored, default: Some(DefaultValue::Null), ..int() },
        ColumnDef { default: Some(expression), ..int() },
        ColumnDef { default: Some(DefaultValue::Unknown), ..int() },
        ColumnDef { default: Some(DefaultValue::Null), nullable: false, ..int() },
    ] {
        assert_eq!(absent(&column, ZeroDates::Halt), "unknown", "{column:?}");
    }
}
