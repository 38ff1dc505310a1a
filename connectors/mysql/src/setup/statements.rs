//! The statements that a server still needs, from what it says. Pure.

use crate::catalog::quote_identifier;
use crate::config::{PositionMode, Settings};
use crate::preflight::{Account, Facts, Right, missing_rights, set_variable};
use tidewire_core::source::SetupStep;

/// All of them, in the order to run them.
pub(super) fn needed(facts: &Facts, settings: &Settings) -> Vec<SetupStep> {
    let mut statements = Vec::new();
    variables(facts, settings, &mut statements);
    let account = &facts.account;
    let grant = |right: Right| {
        SetupStep::new(format!("let the login {}", right.lack), format!("GRANT {} TO {account};", right.grant))
    };
    statements.extend(missing_rights(facts, settings).into_iter().map(grant));
    // A login that may not see any table of a database is told of none.
    let unseen = |database: &String| !facts.tables.iter().any(|table| *table.name.schema == **database);
    statements
        .extend(databases(&settings.patterns).iter().filter(|name| unseen(name)).map(|name| reading(name, account)));
    statements
}

fn reading(database: &str, account: &Account) -> SetupStep {
    SetupStep::new(
        format!("let the snapshot read database `{database}`, and hold its tables for the moment in which it begins"),
        format!("GRANT SELECT, LOCK TABLES ON {}.* TO {account};", quote_identifier(database)),
    )
}

/// What a setting of the log means.
const LOG_LEFT: &str = "it needs SYSTEM_VARIABLES_ADMIN (SUPER in MariaDB), and changes what the sessions that begin from then on \
                        write to the log";
/// What the way to GTIDs means.
const GTID_LEFT: &str = "it needs SYSTEM_VARIABLES_ADMIN, each step once all replicas have taken the one before, and some \
                         statements of applications are refused then (see the manual's \"Enabling GTID Transactions Online\")";

/// Log settings. All of them change what every session of the server logs from then on.
fn variables(facts: &Facts, settings: &Settings, statements: &mut Vec<SetupStep>) {
    let server = &facts.server;
    if !server.is_on(&["log_bin"]) {
        statements.push(SetupStep::to_weigh(
            "write a binary log; takes effect when the server is restarted",
            "-- in the server's option file, under [mysqld]: log_bin = binlog, server_id = 1",
            "it needs access to the server's machine and a restart, and the server then writes every change to its disk twice",
        ));
    }
    for (name, wanted, reason) in [
        ("binlog_format", "ROW", "log changes of rows and not statements"),
        ("binlog_row_image", "FULL", "log whole rows, so that no column's value is unknown"),
        ("binlog_row_metadata", "FULL", "log the names of columns, so that no history of definitions is needed"),
    ] {
        if server.variable(&[name]).is_some_and(|value| !value.eq_ignore_ascii_case(wanted)) {
            let sql = set_variable(server, name, &format!("'{wanted}'"));
            statements.push(SetupStep::to_weigh(reason, sql, LOG_LEFT));
        }
    }
    let gtid_mode = server.variable(&["gtid_mode"]).filter(|mode| !mode.eq_ignore_ascii_case("on"));
    if let Some(mode) = gtid_mode.filter(|_| settings.position != PositionMode::File) {
        let all = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
        let from = all.iter().position(|step| step.eq_ignore_ascii_case(mode)).unwrap_or(0);
        let reason = "give every transaction a GTID, so that the source can go on at another server";
        if !server.is_on(&["enforce_gtid_consistency"]) {
            statements.push(SetupStep::to_weigh(
                reason,
                set_variable(server, "enforce_gtid_consistency", "ON"),
                GTID_LEFT,
            ));
        }
        for step in all.iter().skip(from + 1) {
            statements.push(SetupStep::to_weigh(reason, set_variable(server, "gtid_mode", step), GTID_LEFT));
        }
    }
}

/// For a login that does not exist, or whose password is another. Which server it is is not known: a statement that
/// differs is there for both.
pub(super) fn from_scratch(settings: &Settings) -> Vec<SetupStep> {
    let account = Account { user: settings.user.clone(), host: "%".to_owned() };
    let mut statements = vec![
        SetupStep::new(
            "create the login; with the password that is in the configuration",
            format!("CREATE USER {account} IDENTIFIED BY '...';"),
        ),
        SetupStep::new("let the login read the server's log", format!("GRANT REPLICATION SLAVE ON *.* TO {account};")),
        SetupStep::new(
            "let the login ask for the state of the server's log",
            format!("GRANT REPLICATION CLIENT ON *.* TO {account}; -- in MariaDB: BINLOG MONITOR"),
        ),
    ];
    let databases = databases(&settings.patterns);
    match databases.as_slice() {
        [] => statements.push(SetupStep::new(
            "let the snapshot read the tables, and hold them for the moment in which it begins",
            format!("GRANT SELECT, LOCK TABLES ON *.* TO {account}; -- or on the captured databases only"),
        )),
        databases => statements.extend(databases.iter().map(|database| reading(database, &account))),
    }
    statements
}

/// Databases that patterns name without wildcards; none when some pattern reaches further.
fn databases(patterns: &[String]) -> Vec<String> {
    let named = patterns.iter().filter(|pattern| !pattern.starts_with('!'));
    let mut databases = Vec::new();
    for pattern in named {
        match pattern.split_once('.') {
            Some((database, _)) if !database.contains(['*', '?']) => databases.push(database.to_owned()),
            _ => return Vec::new(),
        }
    }
    databases.dedup();
    databases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing;

    fn scratch(patterns: &[&str]) -> Vec<String> {
        let mut settings = testing::settings("mysql://cdc@127.0.0.1");
        settings.patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        from_scratch(&settings).into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn a_login_that_does_not_exist_gets_all_that_it_needs() {
        let statements = scratch(&["shop.*", "!shop.audit_*", "crm.t"]);
        let expected = [
            "CREATE USER `cdc`@`%` IDENTIFIED BY '...';",
            "GRANT REPLICATION SLAVE ON *.* TO `cdc`@`%`;",
            "GRANT REPLICATION CLIENT ON *.* TO `cdc`@`%`; -- in MariaDB: BINLOG MONITOR",
            "GRANT SELECT, LOCK TABLES ON `shop`.* TO `cdc`@`%`;",
            "GRANT SELECT, LOCK TABLES ON `crm`.* TO `cdc`@`%`;",
        ];
        assert_eq!(statements, expected);
        for open in [&[][..], &["shop_*.t"], &["!crm.*"]] {
            assert!(scratch(open).last().is_some_and(|sql| sql.starts_with("GRANT SELECT, LOCK TABLES ON *.*")));
        }
    }
}
