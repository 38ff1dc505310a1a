//! Statements that real servers ran, and what their catalogs said after each (MY-42, MY-43): `> sql_mode, database,
//! statement`, then the lines of the catalog that went and came. `@reset` is two empty databases, `work` and `other`.

use super::super::{Context, Defaults, Schemas, parse};
use super::{catalog, charset};
use crate::model::Flavour;

/// A statement with the lines that it takes from the catalog and adds to it.
struct Step<'a> {
    header: &'a str,
    gone: Vec<String>,
    come: Vec<String>,
}

fn check(recording: &str) {
    let mut facts: Vec<&str> = Vec::new();
    let mut steps: Vec<Step<'_>> = Vec::new();
    for line in recording.lines() {
        match line.split_once(' ') {
            Some(("#", rest)) => facts = rest.split(' ').collect(),
            Some((">", header)) => steps.push(Step { header, gone: Vec::new(), come: Vec::new() }),
            Some(("-", rest)) => steps.last_mut().unwrap().gone.push(unescaped(rest)),
            Some(("+", rest)) => steps.last_mut().unwrap().come.push(unescaped(rest)),
            _ => steps.push(Step { header: "@reset", gone: Vec::new(), come: Vec::new() }),
        }
    }
    let flavour = if facts[0] == "mysql" { Flavour::MySql } else { Flavour::MariaDb };
    let version: u32 = facts[1].parse().unwrap();
    let fresh = || {
        let charset = charset(facts[3], facts[4]);
        let defaults = Defaults { charset: charset.clone(), explicit_timestamps: facts[2] == "true" };
        let mut schemas = Schemas::new(defaults);
        schemas.set_database("work", charset.clone());
        schemas.set_database("other", charset);
        schemas
    };
    let mut schemas = fresh();
    let mut expected: Vec<String> = Vec::new();
    let mut compared = 0;
    for step in &steps {
        if step.header == "@reset" {
            schemas = fresh();
            expected.clear();
            continue;
        }
        let mut parts = step.header.splitn(3, '\t');
        let sql_mode = parts.next().unwrap().parse().unwrap();
        let database = parts.next();
        let sql = unescaped(parts.next().unwrap());
        let context = Context {
            flavour,
            server_version: version,
            sql_mode,
            database,
            fold_names: false,
            origin: super::ORIGIN,
            now: None,
        };
        let statement = parse(&sql, &context).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
        schemas.apply(&statement, &context).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
        expected.retain(|line| !step.gone.contains(line));
        expected.extend(step.come.iter().cloned());
        expected.sort();
        // The collation of MariaDB's `CHARACTER SET DEFAULT` is not known here.
        let vague: Vec<String> = schemas
            .iter()
            .filter(|table| table.charset.collation.is_empty())
            .map(|table| format!("{} ", table.name))
            .collect();
        let is_clear = |line: &String| !vague.iter().any(|prefix| line.starts_with(prefix));
        let ours: Vec<String> = catalog::lines(&schemas, flavour).into_iter().filter(is_clear).collect();
        let theirs: Vec<String> = expected.iter().filter(|line| is_clear(line)).cloned().collect();
        assert_eq!(ours, theirs, "{sql}");
        compared += 1;
    }
    assert!(compared > 100);
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => out.push(if rest.next() == Some('n') { '\n' } else { '\\' }),
            other => out.push(other),
        }
    }
    out
}

#[test]
fn as_mysql_9_7() {
    check(include_str!("mysql-9.7.4.txt"));
}

#[test]
fn as_mariadb_10_5() {
    check(include_str!("mariadb-10.5.29.txt"));
}

#[test]
fn as_mariadb_11_8() {
    check(include_str!("mariadb-11.8.9.txt"));
}
