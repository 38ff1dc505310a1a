//! What real servers wrote for known values: in the log, in results and as text. The three must agree.
//!
//! `recorded/*.txt`: after a line with the server's version, for each type a line `type`, a line with the log's type
//! and metadata and the result's type and flags, and for each value a line with its bytes in a row image, its bytes in
//! a result row and the server's own text (hexadecimal for bytes and geometries, without leading zeros where the column
//! has them by declaration); the line begins with `row`, or with `bad` where the bytes are no text of the column's
//! character set. `-` stands for no bytes. Recorded with `sql_mode = ALLOW_INVALID_DATES`, `time_zone = +00:00`,
//! `SET NAMES utf8mb4`, the results with `character_set_results = NULL`; the types of MariaDB's last lines with `mysql56_temporal_format = OFF`. The environment
//! variable `TIDEWIRE_RECORDED` may name more such files, with `:` between them.

use super::*;

pub(super) struct Record {
    pub(super) flavour: Flavour,
    pub(super) types: Vec<Case>,
}

pub(super) struct Case {
    pub(super) sql: String,
    pub(super) column: ColumnDef,
    wire: WireColumn,
    result: (u8, u16),
    pub(super) rows: Vec<Row>,
    bad: Vec<Row>,
}

pub(super) struct Row {
    pub(super) log: Vec<u8>,
    pub(super) result: Vec<u8>,
    text: String,
}

impl Case {
    pub(super) fn log(&self, flavour: Flavour, zero: ZeroDates) -> Decoder {
        Decoder::for_log(&self.wire, &self.column, flavour, zero)
            .unwrap_or_else(|error| panic!("{}: {error}", self.sql))
    }

    pub(super) fn result(&self, flavour: Flavour, zero: ZeroDates) -> Decoder {
        Decoder::for_result(&self.column, self.result.0, self.result.1, flavour, zero)
            .unwrap_or_else(|error| panic!("{}: {error}", self.sql))
    }

    fn is_dated(&self) -> bool {
        matches!(self.column.kind, ColumnKind::Date | ColumnKind::DateTime { .. } | ColumnKind::Timestamp { .. })
    }
}

pub(super) fn all() -> Vec<Record> {
    let mut files =
        vec![include_str!("../recorded/my97.txt").to_owned(), include_str!("../recorded/ma118.txt").to_owned()];
    if let Ok(more) = std::env::var("TIDEWIRE_RECORDED") {
        files.extend(more.split(':').map(|path| std::fs::read_to_string(path).unwrap()));
    }
    files.iter().map(|file| parse(file)).collect()
}

fn parse(file: &str) -> Record {
    let mut lines = file.lines();
    let flavour = if lines.next().unwrap().contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
    let mut types: Vec<Case> = Vec::new();
    let mut sql = "";
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "type" => sql = rest,
            "wire" => {
                let numbers: Vec<u16> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
                let [wire, meta, kind, flags] = numbers[..] else { panic!("{line}") };
                types.push(Case {
                    sql: sql.into(),
                    column: column_of(sql, flavour),
                    wire: super::wire(wire as u8, meta),
                    result: (kind as u8, flags),
                    rows: Vec::new(),
                    bad: Vec::new(),
                });
            }
            _ => {
                let mut parts = rest.splitn(3, ' ');
                let (log, result) = (unhex(parts.next().unwrap()), unhex(parts.next().unwrap()));
                let row = Row { log, result, text: parts.next().unwrap().into() };
                let case = types.last_mut().unwrap();
                if word == "bad" { case.bad.push(row) } else { case.rows.push(row) }
            }
        }
    }
    Record { flavour, types }
}

fn unhex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    let digits: Vec<u8> = text.bytes().map(|byte| char::from(byte).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The column of a type as the recordings write it.
fn column_of(sql: &str, flavour: Flavour) -> ColumnDef {
    let end = sql.find([' ', '(']).unwrap_or(sql.len());
    let (word, mut rest) = sql.split_at(end);
    let mut inner = "";
    if let Some(open) = rest.strip_prefix('(') {
        (inner, rest) = open.rsplit_once(')').unwrap();
    }
    let numbers: Vec<u32> = inner.split(',').filter_map(|part| part.parse().ok()).collect();
    let number = |index: usize| numbers.get(index).copied();
    let length = number(0).unwrap_or(1);
    let fsp = number(0).unwrap_or(0) as u8;
    let digits = number(0).zip(number(1)).map(|(m, d)| (m as u8, d as u8));
    let geometry = |subtype| ColumnKind::Geometry { subtype };
    let kind = match word {
        "tinyint" => ColumnKind::TinyInt,
        "smallint" => ColumnKind::SmallInt,
        "mediumint" => ColumnKind::MediumInt,
        "int" => ColumnKind::Int,
        "bigint" => ColumnKind::BigInt,
        "decimal" => ColumnKind::Decimal { precision: length as u8, scale: number(1).unwrap() as u8 },
        "float" => ColumnKind::Float { digits },
        "double" => ColumnKind::Double { digits },
        "bit" => ColumnKind::Bit { length: length as u8 },
        "year" => ColumnKind::Year,
        "date" => ColumnKind::Date,
        "time" => ColumnKind::Time { fsp },
        "datetime" => ColumnKind::DateTime { fsp },
        "timestamp" => ColumnKind::Timestamp { fsp },
        "char" => ColumnKind::Char { length },
        "varchar" => ColumnKind::VarChar { length },
        "binary" => ColumnKind::Binary { length },
        "varbinary" => ColumnKind::VarBinary { length },
        "tinytext" => ColumnKind::Text { width: 1 },
        "text" => ColumnKind::Text { width: 2 },
        "mediumtext" => ColumnKind::Text { width: 3 },
        "longtext" => ColumnKind::Text { width: 4 },
        "tinyblob" => ColumnKind::Blob { width: 1 },
        "blob" => ColumnKind::Blob { width: 2 },
        "mediumblob" => ColumnKind::Blob { width: 3 },
        "longblob" => ColumnKind::Blob { width: 4 },
        "enum" => ColumnKind::Enum { labels: labels(inner) },
        "set" => ColumnKind::Set { labels: labels(inner) },
        "json" if flavour == Flavour::MariaDb => ColumnKind::Text { width: 4 },
        "json" => ColumnKind::Json,
        "point" => geometry(GeometryKind::Point),
        "geometry" => geometry(GeometryKind::Geometry),
        "multipoint" => geometry(GeometryKind::MultiPoint),
        "vector" => ColumnKind::Vector { dimensions: length },
        "uuid" => ColumnKind::Uuid,
        "inet4" => ColumnKind::Inet4,
        "inet6" => ColumnKind::Inet6,
        other => panic!("{other}"),
    };
    let set = rest.split_once("character set ").map_or("utf8mb4", |(_, set)| set.split(' ').next().unwrap());
    ColumnDef {
        unsigned: rest.contains("unsigned"),
        zerofill: rest.contains("zerofill"),
        compressed: rest.contains("compressed"),
        width: number(0),
        charset: charset(set),
        ..column(kind)
    }
}

fn labels(inner: &str) -> Arc<[Arc<str>]> {
    let inner = inner.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
    inner.split("','").map(|label| Arc::from(label.replace("''", "'"))).collect()
}

/// MY-60 to MY-75: the log, a result and the server's text say the same.
#[test]
fn the_log_and_a_result_and_the_servers_text_agree() {
    let mut values = 0;
    for record in all() {
        for case in &record.types {
            let decoders = [case.log(record.flavour, ZeroDates::Text), case.result(record.flavour, ZeroDates::Text)];
            for row in &case.rows {
                values += 1;
                let [log, result] = [(&decoders[0], &row.log), (&decoders[1], &row.result)].map(|(decoder, bytes)| {
                    read(decoder, bytes).unwrap_or_else(|error| panic!("{}: {}: {error}", case.sql, row.text))
                });
                assert_eq!(log, result, "{}: {}", case.sql, row.text);
                match case.column.kind {
                    // The server's text has six digits (MY-62).
                    ColumnKind::Float { .. } => {}
                    ColumnKind::Double { .. } => {
                        let text: f64 = row.text.parse().unwrap();
                        assert_eq!(log.parse::<f64>().unwrap(), text, "{}", case.sql);
                    }
                    _ => assert_eq!(log, row.text, "{}", case.sql),
                }
            }
        }
    }
    assert!(values > 400, "{values}");
}

/// MY-67: bytes that are no text halt in a result as they do in the log; the server's text has `?` for them.
#[test]
fn bytes_that_are_no_text_are_refused_in_the_log_and_in_results() {
    let mut refused = 0;
    for record in all() {
        for case in &record.types {
            for row in &case.bad {
                refused += 1;
                let log = read(&case.log(record.flavour, ZeroDates::Halt), &row.log);
                assert!(matches!(log, Err(ValueError::Charset(_))), "{}: {log:?}", case.sql);
                assert_eq!(log, read(&case.result(record.flavour, ZeroDates::Halt), &row.result), "{}", case.sql);
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

/// Without the zeros at the end of a fraction.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// MY-64: real dates are dates, all others follow the setting; from the log and from results alike.
#[test]
fn dates_that_no_calendar_has_follow_the_setting() {
    let mut impossible = 0;
    for record in all() {
        for case in record.types.iter().filter(|case| case.is_dated()) {
            let zero = |text: &str| text.contains("-00") || ["2023-02-30", "2023-02-31 00:00:00"].contains(&text);
            let epoch = if case.column.kind == ColumnKind::Date { "1970-01-01" } else { "1970-01-01 00:00:00" };
            let not_null = Case {
                column: ColumnDef { nullable: false, ..case.column.clone() },
                sql: case.sql.clone(),
                wire: case.wire,
                result: case.result,
                rows: Vec::new(),
                bad: Vec::new(),
            };
            for row in &case.rows {
                let of = |case: &Case, zero| {
                    let log = read(&case.log(record.flavour, zero), &row.log);
                    assert_eq!(log, read(&case.result(record.flavour, zero), &row.result), "{}", case.sql);
                    log
                };
                if zero(&row.text) {
                    impossible += 1;
                    assert_eq!(of(case, ZeroDates::Halt).unwrap(), format!("impossible {}", row.text));
                    assert_eq!(of(case, ZeroDates::Null).unwrap(), "NULL");
                    assert_eq!(of(case, ZeroDates::Epoch).unwrap(), epoch);
                    assert_eq!(of(&not_null, ZeroDates::Null).unwrap(), epoch);
                } else {
                    // The calendar has a year 0, and calls it 1 BC.
                    let shown = if row.text == "0000-01-01" { "0001-01-01" } else { trimmed(&row.text) };
                    assert_eq!(of(case, ZeroDates::Halt).unwrap(), shown, "{}", case.sql);
                    assert_eq!(of(&not_null, ZeroDates::Null).unwrap(), shown, "{}", case.sql);
                }
            }
        }
    }
    assert!(impossible > 15, "{impossible}");
}
