//! Statements and what they make of definitions.

mod catalog;
mod effects;
mod parsing;
mod recorded;
mod wording;

use super::{Context, Defaults, Now, Schemas, Statement, parse};
use crate::model::{Charset, Flavour, Origin, OriginKind};
use tidewire_core::TableName;

/// Where all statements stand.
const ORIGIN: Origin = Origin { kind: OriginKind::Statement, micros: 5 };

/// The `sql_mode` empty, database `work`.
fn context(flavour: Flavour) -> Context<'static> {
    let server_version = if flavour == Flavour::MySql { 90_704 } else { 110_809 };
    Context {
        flavour,
        server_version,
        sql_mode: 0,
        database: Some("work"),
        fold_names: false,
        origin: ORIGIN,
        now: Some(now()),
    }
}

/// A second into a leap day, with microseconds and a time zone.
fn now() -> Now {
    Now::of(1_709_164_801, Some(250_000), Some(b"+02:00"))
}

fn charset(name: &str, collation: &str) -> Charset {
    Charset { name: name.into(), collation: collation.into() }
}

fn schemas() -> Schemas {
    let charset = charset("utf8mb4", "utf8mb4_bin");
    let mut schemas = Schemas::new(Defaults { charset: charset.clone(), explicit_timestamps: true });
    schemas.set_database("work", charset);
    schemas
}

fn parsed(sql: &str, flavour: Flavour) -> Statement {
    parse(sql, &context(flavour)).unwrap_or_else(|cause| panic!("{sql}: {cause}"))
}

fn name(table: &str) -> TableName {
    match table.split_once('.') {
        Some((schema, table)) => TableName::new(schema, table),
        None => TableName::new("work", table),
    }
}
