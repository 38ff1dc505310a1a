//! Findings about the server as such. Pure.

use super::facts::{Facts, ReplicaFacts, ServerFacts};
use super::{is_ours, name_of};
use crate::config::{PositionMode, Settings};
use crate::model::Flavour;
use tidewire_core::Finding;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// All of them.
pub(super) fn findings(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    let server = &facts.server;
    let mut findings = Vec::new();
    log(server, &mut findings);
    order(server, &mut findings);
    row_events(server, &mut findings);
    if server.version.flavour == Flavour::MySql {
        gtids(server, settings, &mut findings);
    }
    retention(server, &mut findings);
    durability(server, &mut findings);
    filters(facts, &mut findings);
    others(server, settings, &mut findings);
    findings
}

/// The statement that changes a variable for good, as far as the server has one.
pub(crate) fn set_variable(server: &ServerFacts, name: &str, value: &str) -> String {
    match server.version.flavour {
        Flavour::MySql if server.version.number >= 80_000 => format!("SET PERSIST {name} = {value};"),
        _ => format!("SET GLOBAL {name} = {value}; -- and the same in the server's option file"),
    }
}

fn log(server: &ServerFacts, findings: &mut Vec<Finding>) {
    if !server.is_on(&["log_bin"]) {
        let flavour = name_of(server.version.flavour);
        findings.push(Finding::error(
            "log_bin_off",
            format!("{flavour} writes no binary log"),
            "set `log_bin = binlog` and a `server_id` in the server's option file, then restart it",
        ));
    }
    // A replica that does not log what it replicates has a log without the others' changes.
    let logs_replicated = server.is_on(&["log_replica_updates", "log_slave_updates"]);
    if server.is_replica == Some(true) && !logs_replicated {
        findings.push(Finding::error(
            "log_replica_updates_off",
            "the server is a replica and does not log what it replicates",
            "set `log_replica_updates = ON` (`log_slave_updates` before MySQL 8.0.26 and in MariaDB) in the server's \
             option file, then restart it",
        ));
    }
}

/// The state that a snapshot sees is the log's up to its place only if both are in the same order.
fn order(server: &ServerFacts, findings: &mut Vec<Finding>) {
    if server.version.flavour == Flavour::MySql && server.variable(&["binlog_order_commits"]) == Some("OFF") {
        findings.push(Finding::error(
            "binlog_order_commits_off",
            "the server commits transactions in another order than it logs them",
            set_variable(server, "binlog_order_commits", "ON"),
        ));
    }
}

fn row_events(server: &ServerFacts, findings: &mut Vec<Finding>) {
    let is = |name: &str, wanted: &str| server.variable(&[name]).is_none_or(|value| value.eq_ignore_ascii_case(wanted));
    let shown = |name: &str| server.variable(&[name]).unwrap_or_default().to_owned();
    if !is("binlog_format", "ROW") {
        findings.push(Finding::error(
            "binlog_format_not_row",
            format!("binlog_format is `{}`: changes may be logged as statements", shown("binlog_format")),
            set_variable(server, "binlog_format", "'ROW'"),
        ));
    }
    if !is("binlog_row_image", "FULL") {
        findings.push(Finding::warning(
            "binlog_row_image_not_full",
            format!(
                "binlog_row_image is `{}`: columns that a change leaves alone are not in the log, and not known",
                shown("binlog_row_image")
            ),
            set_variable(server, "binlog_row_image", "'FULL'"),
        ));
    }
    if !is("binlog_row_metadata", "FULL") {
        findings.push(Finding::warning(
            "binlog_row_metadata_not_full",
            format!(
                "binlog_row_metadata is `{}`: the log does not name columns, so a history of definitions is kept, and \
                 a DDL statement that is not understood halts the source",
                shown("binlog_row_metadata")
            ),
            set_variable(server, "binlog_row_metadata", "'FULL'"),
        ));
    }
    if is("binlog_checksum", "NONE") && server.variable(&["binlog_checksum"]).is_some() {
        findings.push(Finding::warning(
            "binlog_checksum_off",
            "binlog_checksum is `NONE`: damage to the log would not be seen",
            set_variable(server, "binlog_checksum", "'CRC32'"),
        ));
    }
}

/// MY-0A. In the permissive modes transactions with and without a GTID stand side by side.
fn gtids(server: &ServerFacts, settings: &Settings, findings: &mut Vec<Finding>) {
    let mode = server.variable(&["gtid_mode"]).unwrap_or("OFF").to_ascii_uppercase();
    let steps = "SET GLOBAL enforce_gtid_consistency = ON; SET GLOBAL gtid_mode = OFF_PERMISSIVE; \
                 SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = ON; -- and both in the server's option file";
    match mode.as_str() {
        "ON" => {}
        "OFF" if settings.position == PositionMode::Gtid => findings.push(Finding::error(
            "gtid_mode_off",
            "gtid_mode is `OFF`, and `position` asks for GTIDs",
            format!("{steps} -- or set `position = \"auto\"`"),
        )),
        "OFF" => findings.push(Finding::warning(
            "gtid_mode_off",
            "gtid_mode is `OFF`: places are kept by file, so the source cannot go on at another server after a failover",
            steps,
        )),
        _ => findings.push(Finding::error(
            "gtid_mode_permissive",
            format!("gtid_mode is `{mode}`: transactions with and without a GTID would be mixed"),
            "SET GLOBAL gtid_mode = ON; -- once no transaction without a GTID is under way; or back to OFF",
        )),
    }
}

fn retention(server: &ServerFacts, findings: &mut Vec<Finding>) {
    let by_seconds = server.number(&["binlog_expire_logs_seconds"]).filter(|seconds| *seconds > 0);
    let by_days = server.number(&["expire_logs_days"]).filter(|days| *days > 0).map(|days| days * DAY);
    if let Some(seconds) = by_seconds.or(by_days).filter(|seconds| *seconds < DAY) {
        let pace = match pace(server, Some(seconds)) {
            Some(pace) => format!(", at about {} MiB an hour", pace.saturating_mul(HOUR) >> 20),
            None => String::new(),
        };
        findings.push(Finding::warning(
            "log_retention_short",
            format!(
                "the server keeps its log for {} h{pace}: a source that is stopped longer must be read anew",
                seconds / HOUR
            ),
            set_variable(server, "binlog_expire_logs_seconds", "604800"),
        ));
    }
    let limit = server.number(&["max_binlog_total_size"]).or_else(|| server.number(&["binlog_space_limit"]));
    let (Some(limit @ 1..), Some(pace @ 1..)) = (limit, pace(server, None)) else { return };
    let seconds = limit / pace;
    if seconds < DAY {
        findings.push(Finding::warning(
            "log_retention_short",
            format!(
                "the server keeps {} MiB of its log, which at its pace so far is about {} h: a source that is stopped \
                 longer must be read anew",
                limit >> 20,
                seconds / HOUR
            ),
            set_variable(server, "max_binlog_total_size", &pace.saturating_mul(7 * DAY).to_string()),
        ));
    }
}

/// Bytes of log a second: by the server's own count where it has one, else by the files that there are and the time
/// since its start, or for which it keeps them.
fn pace(server: &ServerFacts, kept_s: Option<u64>) -> Option<u64> {
    let uptime = server.uptime_s.filter(|seconds| *seconds > 0)?;
    if let Some(written) = server.log_bytes_written {
        return Some(written / uptime);
    }
    let held: u64 = server.logs.as_ref()?.iter().map(|(_, size)| size).sum();
    Some(held / kept_s.map_or(uptime, |kept| kept.min(uptime)))
}

/// MY-5A: what a crash of the server may take back.
fn durability(server: &ServerFacts, findings: &mut Vec<Finding>) {
    for (name, code) in
        [("sync_binlog", "sync_binlog_not_1"), ("innodb_flush_log_at_trx_commit", "innodb_flush_log_not_1")]
    {
        let Some(value) = server.variable(&[name]).filter(|value| *value != "1") else { continue };
        findings.push(Finding::warning(
            code,
            format!("{name} is {value}: when the server's machine crashes it may lose commits that sinks already hold"),
            set_variable(server, name, "1"),
        ));
    }
}

/// Databases that are kept out of the log.
fn filters(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some((only, without)) = &facts.server.log_filter else { return };
    let mut hidden: Vec<&str> = facts.tables.iter().map(|table| &*table.name.schema).collect();
    hidden.dedup();
    hidden.retain(|database| {
        let among = |list: &[String]| list.iter().any(|name| name == database);
        among(without) || !only.is_empty() && !among(only)
    });
    for database in hidden {
        findings.push(Finding::error(
            "database_not_logged",
            format!("the server keeps database `{database}` out of its log (binlog_do_db, binlog_ignore_db)"),
            "take the filter out of the server's option file and restart it, or the database out of `tables`",
        ));
    }
}

fn others(server: &ServerFacts, settings: &Settings, findings: &mut Vec<Finding>) {
    if !server.private {
        findings.push(Finding::warning(
            "connection_not_encrypted",
            "the connection is not encrypted: rows can be read and changed on the way",
            "set `ssl-mode=VERIFY_IDENTITY` in `url`",
        ));
    }
    let taken = server.replicas.iter().flatten().find(|replica| replica.server_id == settings.server_id);
    if let Some(replica) = taken.filter(|replica| !is_ours(replica, settings)) {
        findings.push(id_taken(replica, settings));
    }
    if server.number(&["server_id"]) == Some(u64::from(settings.server_id)) {
        findings.push(Finding::error(
            "server_id_taken",
            format!("`server_id` {} is the server's own", settings.server_id),
            "set another `server_id`",
        ));
    }
    if let Some(count @ 1..) = server.prepared {
        findings.push(Finding::warning(
            "xa_transactions_prepared",
            format!("{count} XA transactions are prepared: what they changed is shipped when they are committed"),
            "XA RECOVER; -- then XA COMMIT or XA ROLLBACK what nobody waits for",
        ));
    }
}

/// MY-57.
pub(super) fn id_taken(replica: &ReplicaFacts, settings: &Settings) -> Finding {
    let host = if replica.host.is_empty() { "one without a name" } else { &replica.host };
    Finding::error(
        "server_id_taken",
        format!("`server_id` {} is that of another replica of the server: {host}", settings.server_id),
        "set another `server_id`",
    )
}
