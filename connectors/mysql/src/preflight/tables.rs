//! Findings about the captured tables. Pure.

use super::facts::{Facts, TableFacts};
use crate::catalog::quoted_name;
use crate::charset::Converter;
use crate::config::Settings;
use crate::model::Flavour;
use crate::shape::is_transactional;
use std::collections::BTreeSet;
use tidewire_core::{Finding, TableFilter};

/// How many names a finding lists.
const NAMES_SHOWN: usize = 5;

/// `DATA_TYPE`s that have a neutral type.
const TYPES: &[&str] = &[
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "float",
    "double",
    "bit",
    "year",
    "date",
    "time",
    "datetime",
    "timestamp",
    "char",
    "varchar",
    "binary",
    "varbinary",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "tinyblob",
    "blob",
    "mediumblob",
    "longblob",
    "enum",
    "set",
    "json",
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
    "vector",
    "uuid",
    "inet4",
    "inet6",
];

/// All of them.
pub(super) fn findings(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    let filter = &settings.tables;
    let mut findings = Vec::new();
    for table in facts.tables.iter().filter(|table| !is_table(table)) {
        kind(table, filter, &mut findings);
    }
    let tables: Vec<&TableFacts> = facts.tables.iter().filter(|table| is_table(table)).collect();
    if tables.is_empty() {
        findings.push(Finding::error(
            "no_table_captured",
            "no table that the login can see is named by `tables`",
            "name tables that exist in `tables`, and grant SELECT on them to the login",
        ));
    }
    for table in &tables {
        types(table, &mut findings);
        versioned(table, &mut findings);
    }
    keys(&tables, &mut findings);
    engines(&tables, &mut findings);
    cascades(facts, &mut findings);
    findings
}

/// Whether the log carries its rows.
pub(super) fn is_table(table: &TableFacts) -> bool {
    matches!(table.kind.as_str(), "BASE TABLE" | "SYSTEM VERSIONED")
}

/// A view or sequence that only a glob captures is passed over without a word.
fn kind(table: &TableFacts, filter: &TableFilter, findings: &mut Vec<Finding>) {
    if filter.names(&table.name) {
        findings.push(Finding::error(
            "unsupported_relation_kind",
            format!("`{}` is a {}: its rows are not in the log", table.name, table.kind.to_lowercase()),
            format!("take it out with \"!{}\" in `tables`", table.name),
        ));
    }
}

fn types(table: &TableFacts, findings: &mut Vec<Finding>) {
    let take_out = format!("take it out with \"!{}\" in `tables`", table.name);
    let unknown: BTreeSet<&str> = table.types.iter().map(String::as_str).filter(|name| !TYPES.contains(name)).collect();
    if !unknown.is_empty() {
        findings.push(Finding::error(
            "type_unsupported",
            format!("table `{}` has columns of types that are not known: {}", table.name, list(unknown)),
            take_out.clone(),
        ));
    }
    let charsets = table.charsets.iter().map(String::as_str);
    let unknown: BTreeSet<&str> = charsets.filter(|name| Converter::for_charset(name).is_none()).collect();
    if !unknown.is_empty() {
        findings.push(Finding::error(
            "charset_unsupported",
            format!("table `{}` has columns in character sets that are not known: {}", table.name, list(unknown)),
            format!("ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4; -- or {take_out}", quoted_name(&table.name)),
        ));
    }
}

/// Every change of such a table is logged as more than one change of rows, under keys with hidden columns.
fn versioned(table: &TableFacts, findings: &mut Vec<Finding>) {
    if table.kind == "SYSTEM VERSIONED" {
        findings.push(Finding::error(
            "system_versioned_table",
            format!(
                "table `{}` is system-versioned: its log holds the rows of its history among the current ones",
                table.name
            ),
            format!("take it out with \"!{}\" in `tables`", table.name),
        ));
    }
}

fn keys(tables: &[&TableFacts], findings: &mut Vec<Finding>) {
    for table in tables.iter().filter(|table| !table.has_key) {
        findings.push(Finding::warning(
            "table_without_primary_key",
            format!("table `{}` has no primary key: no key tells its rows apart, and a Delta mirror does with it what `keyless` says", table.name),
            format!("ALTER TABLE {} ADD PRIMARY KEY (...);", quoted_name(&table.name)),
        ));
    }
}

/// MY-34. One finding for all.
fn engines(tables: &[&TableFacts], findings: &mut Vec<Finding>) {
    let plain = tables.iter().filter(|table| !is_transactional(table.engine.as_deref()));
    let names: Vec<String> = plain.map(|table| table.name.to_string()).collect();
    if names.is_empty() {
        return;
    }
    findings.push(Finding::warning(
        "engine_without_transactions",
        format!(
            "tables of engines without transactions stay locked while a snapshot reads them: {}",
            list(names.iter().map(String::as_str))
        ),
        "ALTER TABLE ... ENGINE = InnoDB;",
    ));
}

/// MY-35. From MySQL 9.6 on the server itself carries foreign keys out and logs what they change, unless the engine is
/// told to.
fn cascades(facts: &Facts, findings: &mut Vec<Finding>) {
    let server = &facts.server;
    let by_server = server.version.flavour == Flavour::MySql
        && server.variable(&["innodb_native_foreign_keys"]).is_some_and(|value| value.eq_ignore_ascii_case("off"));
    if by_server {
        return;
    }
    for cascade in &facts.cascades {
        findings.push(Finding::warning(
            "cascade_not_logged",
            format!(
                "what foreign key `{}` of table `{}` changes when `{}` changes is not in the log: sinks will differ from \
                 the source after it",
                cascade.name, cascade.table, cascade.parent
            ),
            format!(
                "ALTER TABLE {} DROP FOREIGN KEY `{}`, ADD FOREIGN KEY ... ON DELETE RESTRICT ON UPDATE RESTRICT;",
                quoted_name(&cascade.table),
                cascade.name.replace('`', "``")
            ),
        ));
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
