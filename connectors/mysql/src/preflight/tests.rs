use super::facts::{CascadeFacts, Facts, ReplicaFacts, ServerFacts, TableFacts};
use super::grants::{Account, Grants};
use super::*;
use crate::config::PositionMode;
use crate::connection::ServerVersion;
use crate::connection::testing;
use std::collections::HashMap;
use tidewire_core::{Severity, TableFilter, TableName};

fn healthy(flavour: Flavour) -> Facts {
    let mut variables = HashMap::new();
    for (name, value) in [
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("binlog_row_metadata", "FULL"),
        ("binlog_checksum", "CRC32"),
        ("gtid_mode", "ON"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("log_replica_updates", "ON"),
        ("log_slave_updates", "ON"),
        ("binlog_expire_logs_seconds", "2592000"),
        ("server_id", "1"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let (number, text, client) = match flavour {
        Flavour::MySql => (80_031, "8.0.31", "REPLICATION CLIENT"),
        Flavour::MariaDb => (101_119, "10.11.19-MariaDB", "BINLOG MONITOR"),
    };
    let lines = [
        format!("GRANT REPLICATION SLAVE, {client} ON *.* TO `cdc`@`%`"),
        "GRANT SELECT, LOCK TABLES ON `shop`.* TO `cdc`@`%`".to_owned(),
    ];
    Facts {
        server: ServerFacts {
            version: ServerVersion { flavour, number, text: text.to_owned() },
            variables,
            private: true,
            logs: Some(vec![("binlog.000001".to_owned(), 1 << 30)]),
            log_filter: Some((Vec::new(), Vec::new())),
            replicas: Some(Vec::new()),
            is_replica: Some(false),
            prepared: Some(0),
            uptime_s: Some(36_000),
            log_bytes_written: None,
        },
        account: Account::parse("cdc@%"),
        grants: Grants::parse(lines.iter().map(String::as_str), false),
        tables: vec![table("t")],
        cascades: Vec::new(),
    }
}

fn table(name: &str) -> TableFacts {
    TableFacts {
        name: TableName::new("shop", name),
        kind: "BASE TABLE".to_owned(),
        engine: Some("InnoDB".to_owned()),
        has_key: true,
        types: vec!["int".to_owned(), "varchar".to_owned()],
        charsets: vec!["utf8mb4".to_owned()],
    }
}

fn settings(patterns: &[&str]) -> Settings {
    let mut settings = testing::settings("mysql://cdc@127.0.0.1");
    settings.tables = TableFilter::parse(patterns).unwrap();
    settings
}

fn found(flavour: Flavour, change: impl FnOnce(&mut Facts, &mut Settings)) -> Vec<Finding> {
    let (mut facts, mut settings) = (healthy(flavour), settings(&["shop.*"]));
    change(&mut facts, &mut settings);
    let findings = findings(&facts, &settings);
    assert!(findings.iter().all(|finding| finding.remedy.as_deref().is_some_and(|remedy| !remedy.is_empty())));
    assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    findings
}

fn codes(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    found(Flavour::MySql, |facts, _| change(facts)).iter().map(|finding| finding.code).collect()
}

fn set(facts: &mut Facts, name: &str, value: &str) {
    facts.server.variables.insert(name.to_owned(), value.to_owned());
}

#[test]
fn a_healthy_server_gives_no_finding() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        assert_eq!(found(flavour, |_, _| ()), []);
    }
}

#[test]
fn each_setting_has_its_own_code() {
    let one = |code: &'static str, name: &str, value: &str| {
        assert_eq!(codes(|facts| set(facts, name, value)), [code], "{name}={value}");
    };
    one("log_bin_off", "log_bin", "OFF");
    one("binlog_format_not_row", "binlog_format", "MIXED");
    one("binlog_row_image_not_full", "binlog_row_image", "MINIMAL");
    one("binlog_row_metadata_not_full", "binlog_row_metadata", "NO_LOG");
    one("binlog_checksum_off", "binlog_checksum", "NONE");
    one("gtid_mode_off", "gtid_mode", "OFF");
    one("gtid_mode_permissive", "gtid_mode", "ON_PERMISSIVE");
    one("gtid_mode_permissive", "gtid_mode", "OFF_PERMISSIVE");
    one("log_retention_short", "binlog_expire_logs_seconds", "3600");
    one("binlog_order_commits_off", "binlog_order_commits", "OFF");
    one("sync_binlog_not_1", "sync_binlog", "1000");
    one("innodb_flush_log_not_1", "innodb_flush_log_at_trx_commit", "2");
    one("server_id_taken", "server_id", &testing::settings("mysql://a@h").server_id.to_string());
    // Names that a version does not know are no fault of the server's.
    assert!(codes(|facts| drop(facts.server.variables.remove("binlog_row_metadata"))).is_empty());
    assert!(codes(|facts| drop(facts.server.variables.remove("binlog_format"))).is_empty());
}

#[test]
fn my_0a_gtids_are_wanted_or_must_be() {
    let severity = |position| {
        let found = found(Flavour::MySql, |facts, settings| {
            set(facts, "gtid_mode", "OFF");
            settings.position = position;
        });
        found[0].severity
    };
    assert_eq!(severity(PositionMode::Auto), Severity::Warning);
    assert_eq!(severity(PositionMode::Gtid), Severity::Error);
    let maria = found(Flavour::MariaDb, |facts, _| drop(facts.server.variables.remove("gtid_mode")));
    assert_eq!(maria, []);
}

#[test]
fn replicas_and_filters() {
    assert_eq!(
        codes(|facts| {
            facts.server.is_replica = Some(true);
            set(facts, "log_replica_updates", "OFF");
        }),
        ["log_replica_updates_off"]
    );
    assert_eq!(
        codes(|facts| facts.server.log_filter = Some((Vec::new(), vec!["shop".to_owned()]))),
        ["database_not_logged"]
    );
    assert_eq!(
        codes(|facts| facts.server.log_filter = Some((vec!["crm".to_owned()], Vec::new()))),
        ["database_not_logged"]
    );
    assert!(codes(|facts| facts.server.log_filter = Some((vec!["shop".to_owned()], vec!["x".to_owned()]))).is_empty());
    assert_eq!(codes(|facts| facts.server.private = false), ["connection_not_encrypted"]);
    assert_eq!(codes(|facts| facts.server.prepared = Some(2)), ["xa_transactions_prepared"]);
}

#[test]
fn my_57_another_replica_with_our_number_is_named() {
    let with = |host: &str| {
        found(Flavour::MySql, |facts, settings| {
            let replica = ReplicaFacts { server_id: settings.server_id, host: host.to_owned() };
            facts.server.replicas = Some(vec![replica]);
        })
    };
    assert_eq!(with("db-replica-2")[0].code, "server_id_taken");
    assert!(with("db-replica-2")[0].message.contains("db-replica-2"));
    // A daemon that runs already is no fault in a check.
    assert_eq!(with("tidewire/shop"), []);
}

#[test]
fn a_log_that_is_limited_by_size_is_weighed_against_its_pace() {
    let with = |limit: u64, written: u64| {
        codes(|facts| {
            set(facts, "max_binlog_total_size", &limit.to_string());
            facts.server.log_bytes_written = Some(written);
        })
    };
    // 10 GiB in ten hours: an hour for each.
    assert_eq!(with(5 << 30, 10 << 30), ["log_retention_short"]);
    assert!(with(100 << 30, 10 << 30).is_empty());
    assert!(with(0, 10 << 30).is_empty());
}

#[test]
fn sec_81_each_right_has_its_own_code_and_grant() {
    let with =
        |lines: &[&str]| found(Flavour::MySql, |facts, _| facts.grants = Grants::parse(lines.iter().copied(), false));
    let all = "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `cdc`@`%`";
    let shown = |findings: Vec<Finding>| -> Vec<(&'static str, String)> {
        findings.into_iter().map(|finding| (finding.code, finding.remedy.unwrap_or_default())).collect()
    };
    assert_eq!(
        shown(with(&[])),
        [
            ("login_lacks_replication_slave", "GRANT REPLICATION SLAVE ON *.* TO `cdc`@`%`;".to_owned()),
            ("login_lacks_replication_client", "GRANT REPLICATION CLIENT ON *.* TO `cdc`@`%`;".to_owned()),
            ("table_not_readable", "GRANT SELECT ON `shop`.`t` TO `cdc`@`%`;".to_owned()),
            ("login_lacks_lock_tables", "GRANT LOCK TABLES ON `shop`.* TO `cdc`@`%`;".to_owned()),
        ]
    );
    assert_eq!(shown(with(&[all, "GRANT SELECT ON `shop`.`t` TO `cdc`@`%`"]))[0].0, "login_lacks_lock_tables");
    assert!(with(&[all, "GRANT RELOAD ON *.* TO `cdc`@`%`", "GRANT SELECT ON `shop`.`t` TO `cdc`@`%`"]).is_empty());
    let maria = found(Flavour::MariaDb, |facts, _| {
        let lines = ["GRANT REPLICATION SLAVE ON *.* TO `cdc`@`%`", "GRANT SELECT ON `shop`.`t` TO `cdc`@`%`"];
        facts.grants = Grants::parse(lines.into_iter(), false);
    });
    let expected = [("login_lacks_replication_client", "GRANT BINLOG MONITOR ON *.* TO `cdc`@`%`;".to_owned())];
    assert_eq!(shown(maria), expected);
    // A table that stays locked while it is read is locked by nothing else than this.
    let lock = [("login_lacks_lock_tables", "GRANT LOCK TABLES ON `shop`.* TO `cdc`@`%`;".to_owned())];
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let plain = found(flavour, |facts, _| {
            let all = "GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.* TO `cdc`@`%`";
            facts.grants = Grants::parse([all, "GRANT SELECT ON `shop`.`t` TO `cdc`@`%`"].into_iter(), false);
            facts.tables[0].engine = Some("MyISAM".to_owned());
        });
        let rights = plain.into_iter().filter(|finding| finding.code.starts_with("login_"));
        assert_eq!(shown(rights.collect()), lock, "{flavour:?}");
    }
}

#[test]
fn tables_are_looked_at_one_by_one() {
    let one = |code: &'static str, change: fn(&mut TableFacts)| {
        assert_eq!(codes(|facts| change(&mut facts.tables[0])), [code]);
    };
    one("table_without_primary_key", |t| t.has_key = false);
    one("engine_without_transactions", |t| t.engine = Some("MyISAM".to_owned()));
    one("type_unsupported", |t| t.types.push("xmltype".to_owned()));
    one("charset_unsupported", |t| t.charsets.push("klingon".to_owned()));
    one("system_versioned_table", |t| t.kind = "SYSTEM VERSIONED".to_owned());
    // A view that only a glob captures is no table, and then there is none.
    one("no_table_captured", |t| t.kind = "VIEW".to_owned());
    let named = found(Flavour::MySql, |facts, settings| {
        facts.tables.push(TableFacts { kind: "VIEW".to_owned(), ..table("v") });
        settings.tables = TableFilter::parse(&["shop.*", "shop.v"]).unwrap();
    });
    assert_eq!(named[0].code, "unsupported_relation_kind");
}

#[test]
fn my_35_cascades_are_told_where_they_are_not_logged() {
    let cascade = |facts: &mut Facts| {
        facts.cascades = vec![CascadeFacts {
            table: TableName::new("shop", "lines"),
            name: "fk".to_owned(),
            parent: "orders".to_owned(),
        }];
    };
    assert_eq!(codes(cascade), ["cascade_not_logged"]);
    let logged = codes(|facts| {
        cascade(facts);
        set(facts, "innodb_native_foreign_keys", "OFF");
    });
    assert!(logged.is_empty());
}
