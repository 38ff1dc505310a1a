//! The statements that a database still needs, from what its catalog says. Pure.

use crate::catalog::{literal, quoted, quoted_table};
use crate::config::Settings;
use crate::preflight::{Facts, RelationFacts, is_table, publishable};
use std::collections::{BTreeSet, HashSet};
use tidewire_core::source::SetupStep;

/// What setting `wal_level` means.
pub(super) const WAL_LEVEL_LEFT: &str = "it needs a superuser and a restart of the server, and lets the server write more log; a \
                                         hosted server has it among its parameters (Amazon RDS: rds.logical_replication)";

/// The comment by which a publication is known as made by this source.
pub(super) fn mark(source: &str) -> String {
    format!("made by tidewire for source {source}")
}

/// All of them, in the order to run them.
pub(super) fn needed(facts: &Facts, settings: &Settings) -> Vec<SetupStep> {
    let mut statements = Vec::new();
    server(facts, &settings.user, &mut statements);
    let captured = captured(facts, settings);
    grants(&captured, &settings.user, facts, &mut statements);
    identities(&captured, &mut statements);
    match &facts.publication {
        None => statements.extend(create_publication(facts, settings)),
        Some(_) => additions(facts, &captured, settings, &mut statements),
    }
    statements
}

/// Creates the publication and marks it as ours; `None` when there is no table to publish.
pub(super) fn create_publication(facts: &Facts, settings: &Settings) -> Option<SetupStep> {
    let tables: Vec<String> =
        publishable(facts, &settings.tables).map(|relation| quoted_table(&relation.name)).collect();
    if tables.is_empty() {
        return None;
    }
    let name = quoted(&settings.publication);
    let sql = format!(
        "CREATE PUBLICATION {name} FOR TABLE {} WITH (publish_via_partition_root = true); COMMENT ON PUBLICATION {name} IS {};",
        tables.join(", "),
        literal(&mark(&settings.name)),
    );
    Some(SetupStep::new("publish the captured tables", sql))
}

/// Captured tables whose rows are in the log. A partition counts when its root is captured: it is published
/// under the root's name.
fn captured<'a>(facts: &'a Facts, settings: &Settings) -> Vec<&'a RelationFacts> {
    let tables = facts.relations.iter().filter(|relation| is_table(relation));
    tables.filter(|relation| settings.tables.captures_name(&relation.name)).collect()
}

fn server(facts: &Facts, user: &str, statements: &mut Vec<SetupStep>) {
    if facts.server.wal_level != "logical" {
        statements.push(SetupStep::to_weigh(
            "write what logical decoding needs to the log; takes effect when the server is restarted",
            "ALTER SYSTEM SET wal_level = 'logical';",
            WAL_LEVEL_LEFT,
        ));
    }
    if !facts.server.may_replicate {
        statements.push(SetupStep::new("let the login replicate", format!("ALTER ROLE {} REPLICATION;", quoted(user))));
    }
}

fn grants(captured: &[&RelationFacts], user: &str, facts: &Facts, statements: &mut Vec<SetupStep>) {
    let schemas: BTreeSet<&str> =
        captured.iter().filter(|relation| !relation.schema_usable).map(|relation| &*relation.name.schema).collect();
    for schema in schemas {
        let sql = format!("GRANT USAGE ON SCHEMA {} TO {};", quoted(schema), quoted(user));
        statements.push(SetupStep::new(format!("let the login use schema `{schema}`"), sql));
    }
    for relation in captured {
        if !relation.readable {
            let sql = format!("GRANT SELECT ON {} TO {};", quoted_table(&relation.name), quoted(user));
            statements.push(SetupStep::new(format!("let the snapshot read table `{}`", relation.name), sql));
        }
    }
    let hidden = captured.iter().any(|relation| relation.row_security);
    if hidden && !facts.server.bypasses_row_security {
        statements.push(SetupStep::to_weigh(
            "let the snapshot read all rows of tables with row security, as the log has them",
            format!("ALTER ROLE {} BYPASSRLS;", quoted(user)),
            "it needs a superuser, and the login then sees all rows of every table that it may read",
        ));
    }
}

fn identities(captured: &[&RelationFacts], statements: &mut Vec<SetupStep>) {
    for relation in captured.iter().filter(|relation| !relation.identified()) {
        statements.push(SetupStep::to_weigh(
            format!(
                "table `{}` has no replica identity: give it one before it is published, or the server refuses its updates",
                relation.name
            ),
            format!("ALTER TABLE {} REPLICA IDENTITY FULL;", quoted_table(&relation.name)),
            "it needs the table's owner, and every update and delete then writes the whole old row to the log; a primary key \
             does as well",
        ));
    }
}

fn additions(facts: &Facts, captured: &[&RelationFacts], settings: &Settings, statements: &mut Vec<SetupStep>) {
    let published: HashSet<u32> = facts.published.iter().map(|table| table.oid).collect();
    let via_root = facts.publication.as_ref().is_some_and(|publication| publication.via_root);
    for relation in captured {
        let covered = published.contains(&relation.oid)
            || relation.root.is_some_and(|root| published.contains(&root))
            || relation.kind == 'p' && !via_root;
        if covered || !relation.identified() {
            continue;
        }
        let sql =
            format!("ALTER PUBLICATION {} ADD TABLE {};", quoted(&settings.publication), quoted_table(&relation.name));
        statements.push(SetupStep::new(format!("publish table `{}`", relation.name), sql));
    }
}
