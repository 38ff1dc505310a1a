//! Findings about the captured tables.

use super::facts::{Facts, PublicationFacts, RelationFacts};
use crate::catalog::{quoted, quoted_table};
use crate::identities;
use std::collections::{BTreeSet, HashSet};
use tidewire_core::{Finding, Severity, TableFilter, TableName};

/// How many names a finding lists.
const NAMES_SHOWN: usize = 5;

/// A right that the login lacks to read tables, and which.
#[derive(Clone, Debug)]
pub(crate) struct Lack {
    /// What is missing.
    pub(crate) finding: Finding,
    /// Oids and names of the tables.
    pub(crate) tables: Vec<(u32, TableName)>,
}

/// All of them.
pub(super) fn findings(facts: &Facts, filter: &TableFilter, publication: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let captured: Vec<&RelationFacts> =
        facts.relations.iter().filter(|relation| filter.captures_name(&relation.name)).collect();
    kinds(&captured, filter, &mut findings);
    if let Some(state) = &facts.publication {
        partitions(facts, filter, state, &mut findings);
        for relation in unpublished(facts, filter) {
            findings.push(Finding {
                severity: severity(relation, filter),
                code: "table_not_published",
                message: format!("table `{}` is not in publication `{publication}`", relation.name),
                remedy: Some(format!(
                    "ALTER PUBLICATION {} ADD TABLE {};",
                    quoted(publication),
                    quoted_table(&relation.name)
                )),
            });
        }
    }
    let read = read(facts, filter);
    if read.is_empty() {
        findings.push(Finding::error(
            "no_table_captured",
            "no table is both named by `tables` and in the publication",
            "name tables that exist in `tables`, and run `tidewire setup` to publish them",
        ));
    }
    if facts.publication.is_none() {
        missing(facts, &read, publication, &mut findings);
    }
    findings.extend(rights(&read, facts).into_iter().map(|lack| lack.finding));
    for relation in &read {
        identity(relation, facts, filter, &mut findings);
        narrowed(relation, &mut findings);
    }
    for narrow in facts.narrow.iter().filter(|narrow| filter.captures_name(&narrow.table)) {
        findings.push(Finding::error(identities::CODE, narrow.message(), narrow.remedy()));
    }
    toast(&read, &mut findings);
    findings
}

/// The captured tables whose rows are to be read.
fn read<'a>(facts: &'a Facts, filter: &TableFilter) -> Vec<&'a RelationFacts> {
    let published: HashSet<u32> = facts.published.iter().map(|table| table.oid).collect();
    let read = facts.relations.iter().filter(|relation| match facts.publication {
        Some(_) => published.contains(&relation.oid),
        None => is_table(relation),
    });
    read.filter(|relation| filter.captures_name(&relation.name)).collect()
}

/// What the login lacks to read captured tables. The log has their changes all the same.
pub(super) fn lacks(facts: &Facts, filter: &TableFilter) -> Vec<Lack> {
    rights(&read(facts, filter), facts)
}

/// Whether the log carries its rows.
pub(crate) fn is_table(relation: &RelationFacts) -> bool {
    matches!(relation.kind, 'r' | 'p') && relation.persistence == 'p'
}

/// A table that is named must be shipped; one that only a glob captures does not keep the others from it.
fn severity(relation: &RelationFacts, filter: &TableFilter) -> Severity {
    if filter.names(&relation.name) { Severity::Error } else { Severity::Warning }
}

/// PG-27. Views that only a glob captures are passed over without a word.
fn kinds(captured: &[&RelationFacts], filter: &TableFilter, findings: &mut Vec<Finding>) {
    for relation in captured {
        let what = match (relation.kind, relation.persistence) {
            ('f', _) => "a foreign table",
            ('r' | 'p', 'u') => "an unlogged table",
            ('r' | 'p', 't') => "a temporary table",
            ('v', _) if filter.names(&relation.name) => "a view",
            ('m', _) if filter.names(&relation.name) => "a materialized view",
            _ => continue,
        };
        findings.push(Finding {
            severity: severity(relation, filter),
            code: "unsupported_relation_kind",
            message: format!("`{}` is {what}: its rows are not in the log and are not shipped", relation.name),
            remedy: Some(format!("take it out with \"!{}\" in `tables`", relation.name)),
        });
    }
}

/// PG-09, PG-10, PG-10b: a publication must be older than the slot. The server looks it up as of each change;
/// made anew it is missing for the changes before, which 13 to 17 refuse and 18 passes over silently.
fn missing(facts: &Facts, read: &[&RelationFacts], name: &str, findings: &mut Vec<Finding>) {
    let message = format!("publication `{name}` does not exist in database `{}`", facts.server.database);
    findings.push(if facts.slot.is_some() {
        Finding::error(
            "publication_missing",
            format!("{message}, but the slot does: changes since it was dropped cannot be told from the log"),
            "give the slot back with `tidewire remove`, then start the source anew",
        )
    } else if facts.server.may_create && read.iter().all(|relation| relation.owned) {
        Finding::warning(
            "publication_missing",
            message,
            "it is created at the first start, or now by `tidewire setup --apply`",
        )
    } else {
        let remedy = "run the statements that `tidewire setup` prints as the owner of the tables";
        Finding::error("publication_missing", message, remedy)
    });
}

/// PG-24: what is named must be what arrives.
fn partitions(facts: &Facts, filter: &TableFilter, publication: &PublicationFacts, findings: &mut Vec<Finding>) {
    let root_of = |relation: &RelationFacts| {
        relation.root.and_then(|root| facts.relations.iter().find(|candidate| candidate.oid == root))
    };
    for relation in &facts.relations {
        if publication.via_root {
            let Some(root) = root_of(relation) else { continue };
            if filter.captures_name(&relation.name) && !filter.captures_name(&root.name) {
                findings.push(Finding::error(
                    "partition_without_root",
                    format!(
                        "rows of partition `{}` arrive as `{}`, which `tables` does not capture",
                        relation.name, root.name
                    ),
                    format!("add \"{}\" to `tables`", root.name),
                ));
            }
        } else if relation.kind == 'p' && relation.root.is_none() && filter.captures_name(&relation.name) {
            let mut leaves = facts.relations.iter().filter(|leaf| leaf.root == Some(relation.oid) && leaf.kind == 'r');
            if leaves.any(|leaf| !filter.captures_name(&leaf.name)) {
                findings.push(Finding::error(
                    "root_without_partitions",
                    format!(
                        "rows of `{}` arrive under the names of its partitions, which `tables` does not all capture",
                        relation.name
                    ),
                    "ALTER PUBLICATION ... SET (publish_via_partition_root = true), or name the partitions in `tables`",
                ));
            }
        }
    }
}

/// Captured tables that the publication lacks; none while it is missing itself.
pub(super) fn unpublished<'a>(facts: &'a Facts, filter: &'a TableFilter) -> impl Iterator<Item = &'a RelationFacts> {
    unlisted(facts, filter).filter(|(_, elsewhere)| !elsewhere).map(|(relation, _)| relation)
}

/// Captured tables whose rows the publication has under another name only: a partitioned table and its partitions stand
/// for each other.
pub(super) fn elsewhere<'a>(facts: &'a Facts, filter: &'a TableFilter) -> impl Iterator<Item = &'a RelationFacts> {
    unlisted(facts, filter).filter(|(_, elsewhere)| *elsewhere).map(|(relation, _)| relation)
}

/// Captured tables that the publication does not list, and whether it has their rows all the same.
fn unlisted<'a>(facts: &'a Facts, filter: &'a TableFilter) -> impl Iterator<Item = (&'a RelationFacts, bool)> {
    let published: HashSet<u32> = facts.published.iter().map(|table| table.oid).collect();
    let via_root = facts.publication.as_ref().map(|publication| publication.via_root);
    facts.relations.iter().filter_map(move |relation| {
        let via_root = via_root?;
        if !filter.captures_name(&relation.name) || !is_table(relation) || published.contains(&relation.oid) {
            return None;
        }
        let elsewhere =
            relation.root.is_some_and(|root| published.contains(&root)) || relation.kind == 'p' && !via_root;
        Some((relation, elsewhere))
    })
}

fn rights(read: &[&RelationFacts], facts: &Facts) -> Vec<Lack> {
    let user = &facts.server.user;
    let mut lacks = Vec::new();
    let mut lack = |code, message: String, remedy: String, tables: &[&RelationFacts]| {
        let tables = tables.iter().map(|relation| (relation.oid, relation.name.clone())).collect();
        lacks.push(Lack { finding: Finding::error(code, message, remedy), tables });
    };
    let closed = |relation: &&RelationFacts| !relation.schema_usable;
    let schemas: BTreeSet<&str> = read.iter().copied().filter(closed).map(|relation| &*relation.name.schema).collect();
    for schema in schemas {
        let inside: Vec<_> = read.iter().copied().filter(|relation| &*relation.name.schema == schema).collect();
        lack(
            "schema_not_usable",
            format!("role `{user}` may not use schema `{schema}`"),
            format!("GRANT USAGE ON SCHEMA {} TO {};", quoted(schema), quoted(user)),
            &inside,
        );
    }
    for relation in read {
        if !relation.readable {
            lack(
                "table_not_readable",
                format!("role `{user}` may not read table `{}`", relation.name),
                format!("GRANT SELECT ON {} TO {};", quoted_table(&relation.name), quoted(user)),
                &[relation],
            );
        }
        if relation.row_security && !facts.server.bypasses_row_security {
            lack(
                "row_level_security",
                format!(
                    "row security on table `{}` would hide rows from the snapshot, but not from the log",
                    relation.name
                ),
                format!("ALTER ROLE {} BYPASSRLS;", quoted(user)),
                &[relation],
            );
        }
    }
    lacks
}

fn identity(relation: &RelationFacts, facts: &Facts, filter: &TableFilter, findings: &mut Vec<Finding>) {
    let version = facts.server.version_num;
    let created = facts.publication.is_none();
    let writes = facts.publication.as_ref().is_none_or(|state| state.updates || state.deletes);
    let table = quoted_table(&relation.name);
    if !relation.identified() && writes {
        findings.push(Finding {
            severity: if created { severity(relation, filter) } else { Severity::Warning },
            code: "table_without_key",
            message: format!(
                "table `{}` has no replica identity: the server refuses its updates and deletes while it is published{}",
                relation.name,
                if created { ", so it is left out of the publication" } else { "" },
            ),
            remedy: Some(match relation.kind {
                'p' => format!("ALTER TABLE {table} ADD PRIMARY KEY (...); -- or REPLICA IDENTITY FULL, for it and each partition"),
                _ => format!("ALTER TABLE {table} REPLICA IDENTITY FULL; -- or give it a primary key"),
            }),
        });
    } else if relation.identity == 'f' && !relation.primary_key {
        findings.push(Finding::warning(
            "table_without_primary_key",
            format!("table `{}` has no primary key: no key tells its rows apart, and a Delta mirror does with it what `keyless` says", relation.name),
            format!("ALTER TABLE {table} ADD PRIMARY KEY (...);"),
        ));
    }
    if !relation.generated.is_empty() && version >= 180_000 && relation.identity == 'f' {
        findings.push(Finding::warning(
            "generated_column_in_identity",
            format!("table `{}` has a full replica identity with generated columns: unless they are published, the server refuses its updates", relation.name),
            "ALTER PUBLICATION ... SET (publish_generated_columns = stored);",
        ));
    } else if !relation.generated.is_empty() {
        let how = match version >= 180_000 {
            true => "unless the publication has publish_generated_columns = stored",
            false => "before PostgreSQL 18",
        };
        findings.push(Finding::warning(
            "generated_column_unpublished",
            format!(
                "generated columns of table `{}` ({}) are not in the log {how}",
                relation.name,
                list(&relation.generated)
            ),
            "compute them where the rows are read",
        ));
    }
}

fn narrowed(relation: &RelationFacts, findings: &mut Vec<Finding>) {
    if !relation.folding.is_empty() {
        findings.push(Finding::warning(
            "columns_fold_together",
            format!(
                "columns {} of table `{}` differ only in case, which Delta tables do not allow",
                list(&relation.folding),
                relation.name
            ),
            format!("ALTER TABLE {} RENAME COLUMN ...;", quoted_table(&relation.name)),
        ));
    }
    if relation.column_list {
        findings.push(Finding::warning(
            "column_list",
            format!("the publication shows only some columns of table `{}`", relation.name),
            "nothing, if this is meant",
        ));
    }
    if let Some(filter) = &relation.row_filter {
        findings.push(Finding::warning(
            "row_filter",
            format!("the publication shows only rows of table `{}` where {filter}", relation.name),
            "nothing, if this is meant; the snapshot reads the same rows",
        ));
    }
}

/// PG-32. Nearly every table has such columns: one finding for all.
fn toast(read: &[&RelationFacts], findings: &mut Vec<Finding>) {
    let at_risk = |relation: &&&RelationFacts| relation.toastable && relation.primary_key && relation.identity != 'f';
    let names: Vec<String> = read.iter().filter(at_risk).map(|relation| relation.name.to_string()).collect();
    if names.is_empty() {
        return;
    }
    findings.push(Finding::warning(
        "toast_key_change",
        format!("when a key is changed, long values that stay the same are not in the log: {}", list(&names)),
        "ALTER TABLE ... REPLICA IDENTITY FULL; for tables whose keys change, and for each partition of theirs",
    ));
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
