//! Findings about the server, the login, the slot and the publication as such.

use super::facts::{Facts, Names, PublicationFacts, ServerFacts, SlotFacts};
use crate::catalog::{literal, quoted};
use crate::slot::Loss;
use tidewire_core::Finding;

/// The majors that are supported.
const MAJORS: std::ops::RangeInclusive<i32> = 13..=18;

/// The first version after each major's begin without a known loss of changes in logical decoding (PG-45, PG-87). 13 ended
/// without one: what an open transaction does to a table that is added to the publication stays out of its log when the
/// transaction had changed that table before (seen in 13.23).
const SAFE: [(i32, (i32, i32)); 5] = [(13, (14, 19)), (14, (14, 19)), (15, (15, 14)), (16, (16, 10)), (17, (17, 6))];

/// All of them.
pub(super) fn findings(facts: &Facts, names: Names<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    version(&facts.server, &mut findings);
    encoding(&facts.server, &mut findings);
    login_and_limits(facts, &mut findings);
    retention(&facts.server, &mut findings);
    if let Some(slot) = &facts.slot {
        slot_state(slot, &facts.server, names.slot, &mut findings);
    }
    if let Some(publication) = &facts.publication {
        operations(publication, names.publication, &mut findings);
    }
    findings
}

fn version(server: &ServerFacts, findings: &mut Vec<Finding>) {
    let (major, minor) = (server.version_num / 10_000, server.version_num % 10_000);
    if !MAJORS.contains(&major) {
        findings.push(Finding::error(
            "server_version_unsupported",
            format!("the server is PostgreSQL {major}.{minor}; 13 to 18 are supported"),
            "use a server of a supported version",
        ));
    }
    if let Some((_, (safe_major, safe_minor))) =
        SAFE.iter().find(|(known, safe)| *known == major && (major, minor) < *safe)
    {
        findings.push(Finding::warning(
            "server_outdated",
            format!("PostgreSQL {major}.{minor} may leave changes out of the log while a publication is altered"),
            format!("update the server to {safe_major}.{safe_minor} or later"),
        ));
    }
}

/// PG-93. All other encodings are converted by the server.
fn encoding(server: &ServerFacts, findings: &mut Vec<Finding>) {
    if server.encoding == "SQL_ASCII" {
        findings.push(Finding::warning(
            "encoding_unchecked",
            format!("database `{}` has the encoding SQL_ASCII: the server takes any bytes for text", server.database),
            "nothing while all text in it is UTF-8; a value that is not halts the source and is named",
        ));
    }
}

fn login_and_limits(facts: &Facts, findings: &mut Vec<Finding>) {
    let server = &facts.server;
    if server.wal_level != "logical" {
        findings.push(Finding::error(
            "wal_level_not_logical",
            format!("wal_level is `{}`", server.wal_level),
            "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server",
        ));
    }
    if !server.may_replicate {
        findings.push(Finding::error(
            "role_lacks_replication",
            format!("role `{}` may not replicate", server.user),
            format!("ALTER ROLE {} REPLICATION;", quoted(&server.user)),
        ));
    }
    if facts.slot.is_none() && server.slots >= server.slots_max {
        findings.push(Finding::error(
            "slots_exhausted",
            format!("all {} replication slots of the server are taken", server.slots_max),
            format!("ALTER SYSTEM SET max_replication_slots = {}; -- then restart the server", server.slots_max + 4),
        ));
    }
    let streaming = facts.slot.as_ref().is_some_and(|slot| slot.active);
    if !streaming && server.senders >= server.senders_max {
        findings.push(Finding::error(
            "senders_exhausted",
            format!("all {} walsenders of the server are at work", server.senders_max),
            format!("ALTER SYSTEM SET max_wal_senders = {}; -- then restart the server", server.senders_max + 4),
        ));
    }
    if server.in_recovery && server.version_num < 160_000 {
        findings.push(Finding::error(
            "server_is_standby",
            "the server is a standby, and standbys before PostgreSQL 16 cannot decode their log",
            "let `url` lead to the primary",
        ));
    } else if server.in_recovery && !server.standby_feedback {
        findings.push(Finding::warning(
            "standby_feedback_off",
            "hot_standby_feedback is off: the primary may remove rows that the slot of this standby needs, and the slot is lost then",
            "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(); -- on the standby; and let it follow by a slot \
             of the primary (primary_slot_name)",
        ));
    }
}

fn retention(server: &ServerFacts, findings: &mut Vec<Finding>) {
    if server.slot_wal_keep_mib < 0 {
        findings.push(Finding::warning(
            "wal_retention_unlimited",
            "max_slot_wal_keep_size has no limit: while this source is stopped, its log may fill the server's disk",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); -- a size that the disk can spare",
        ));
    }
    if server.idle_slot_timeout_s > 0 {
        findings.push(Finding::warning(
            "idle_replication_slot_timeout",
            format!(
                "idle_replication_slot_timeout is {} s: a source that is stopped longer must be read anew",
                server.idle_slot_timeout_s
            ),
            "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf();",
        ));
    }
}

fn slot_state(slot: &SlotFacts, server: &ServerFacts, name: &str, findings: &mut Vec<Finding>) {
    let drop = format!("SELECT pg_drop_replication_slot({});", literal(name));
    let differs = if !slot.logical {
        Some("is a physical slot".to_owned())
    } else if slot.plugin.as_deref() != Some("pgoutput") {
        Some(format!("uses plugin `{}`", slot.plugin.as_deref().unwrap_or("none")))
    } else if slot.database.as_deref() != Some(server.database.as_str()) {
        Some(format!("belongs to database `{}`", slot.database.as_deref().unwrap_or("none")))
    } else if slot.temporary {
        Some("is temporary".to_owned())
    } else if slot.two_phase {
        Some("decodes prepared transactions before they are committed".to_owned())
    } else {
        None
    };
    if let Some(differs) = differs {
        findings.push(Finding::error(
            "slot_unusable",
            format!("slot `{name}` {differs}"),
            format!("give the source another `slot`, or, if nothing else needs it: {drop}"),
        ));
    } else if slot.lost {
        let loss = Loss { reason: slot.reason.as_deref(), conflicting: slot.conflicting };
        findings.push(Finding::error(
            "slot_lost",
            format!("the server has given up on slot `{name}` ({}): changes since then are gone", loss.words()),
            format!(
                "{drop} -- then give its sinks new names (and a Delta sink a new location), which reads the tables anew; {}",
                loss.prevention()
            ),
        ));
    }
}

fn operations(publication: &PublicationFacts, name: &str, findings: &mut Vec<Finding>) {
    let all = [
        ("insert", publication.inserts),
        ("update", publication.updates),
        ("delete", publication.deletes),
        ("truncate", publication.truncates),
    ];
    for (operation, _) in all.iter().filter(|(_, published)| !published) {
        findings.push(Finding::warning(
            "publication_lacks_operation",
            format!("publication `{name}` does not publish `{operation}`: sinks will differ from the source after one"),
            format!("ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate');", quoted(name)),
        ));
    }
}
