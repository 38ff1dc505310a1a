//! Transactions of every kind: large ones, compressed, prepared and decided later, in several domains, with tags. MY-07,
//! MY-0B, MY-0C, MY-30, MY-33, MY-38, MY-39.

use super::rig::{NEWEST, Rig};
use crate::rig::Sinks;
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::TABLES;
use tidewire_testkit::{MysqlOptions, MysqlVersion};

/// Rows of a transaction that no buffer holds whole.
const LARGE: u64 = 300_000;

/// One transaction, and a kill in the midst of it.
fn large(options: &MysqlOptions) -> Result<()> {
    let mut rig = Rig::with(Sinks::Both, options, "")?;
    rig.daemon.allow_log("source retried");
    rig.daemon.set_patience(Duration::from_secs(180));
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::of_log(&rig.server)?;
    let client = rig.client()?;
    let mariadb = options.version.is_some_and(MysqlVersion::is_mariadb);
    let depth = if mariadb { "max_recursive_iterations" } else { "cte_max_recursion_depth" };
    client.execute(&format!(
        "SET SESSION {depth} = {LARGE};
         INSERT INTO work_pairs WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {LARGE})
           SELECT i, CONCAT('pair ', i), i / 7 FROM n"
    ))?;
    for _ in 0..3 {
        let moment = std::time::Instant::now() + Duration::from_millis(150);
        tidewire_testkit::wait::until("the moment of the kill", Duration::from_secs(5), || {
            Ok((std::time::Instant::now() >= moment).then_some(()))
        })?;
        rig.daemon.kill9()?;
        rig.daemon.run()?;
    }
    client
        .execute("UPDATE work_pairs SET value = value + 1 WHERE a % 3 = 0; DELETE FROM work_pairs WHERE a % 5 = 0")?;
    rig.catch_up()?;
    rig.check_mirrors(&["work_pairs"], &[Reader::Duckdb])?;
    rig.check_topics(&["work_pairs"], Some(&witness))?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_large_transaction() -> Result<()> {
    large(&MysqlOptions::version(NEWEST))
}

#[test]
fn a_large_transaction_that_is_compressed() -> Result<()> {
    large(&MysqlOptions::version(NEWEST).compressed())
}

#[test]
fn a_large_transaction_of_mariadb() -> Result<()> {
    large(&MysqlOptions::version(MysqlVersion::MariaDb118).compressed())
}

/// Rows of a prepared transaction count when it is committed, at any later time, and never when it is rolled back (MY-33).
fn prepared(version: MysqlVersion) -> Result<()> {
    let mut rig = Rig::new(Sinks::Both, version)?;
    for line in ["source retried", "xa_transactions_prepared"] {
        rig.daemon.allow_log(line);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let prepare = |id: &str, key: u32| {
        format!(
            "XA START '{id}','b',1; INSERT INTO work_pairs VALUES ({key}, '{id}', 1); UPDATE work_items SET quantity = {key};
             XA END '{id}','b',1; XA PREPARE '{id}','b',1"
        )
    };
    // A session that has prepared one can do nothing else; MySQL 8.0.29 and newer detach it.
    for (id, key) in [("kept", 1), ("lost", 2), ("late", 3)] {
        rig.client()?.execute(&prepare(id, key))?;
    }
    let client = rig.client()?;
    client.execute("INSERT INTO work_pairs VALUES (10, 'plain', 1)")?;
    rig.catch_up()?;
    let folded = |rig: &Rig| rig.check_topics(&["work_pairs"], None);
    folded(&rig)?;
    client.execute("XA COMMIT 'kept','b',1; XA ROLLBACK 'lost','b',1")?;
    rig.catch_up()?;
    folded(&rig)?;
    // Over a restart of the daemon, and of the server.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute("INSERT INTO work_pairs VALUES (11, 'plain', 1); FLUSH LOGS")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.daemon.kill9()?;
    rig.server.kill()?;
    rig.server.restart()?;
    rig.client()?.execute("INSERT INTO work_pairs VALUES (12, 'plain', 1); XA COMMIT 'late','b',1")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.client()?.execute(
        "XA START 'one'; INSERT INTO work_pairs VALUES (13, 'one', 1); XA END 'one'; XA COMMIT 'one' ONE PHASE",
    )?;
    rig.catch_up()?;
    rig.check_mirrors(&["work_pairs"], &[Reader::Deltalake])?;
    folded(&rig)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn prepared_transactions() -> Result<()> {
    prepared(NEWEST)
}

#[test]
fn prepared_transactions_of_mysql_8_0() -> Result<()> {
    prepared(MysqlVersion::MySql8031)
}

#[test]
fn prepared_transactions_of_mariadb() -> Result<()> {
    prepared(MysqlVersion::MariaDb118)
}

/// Global ids with tags, and ids that people set themselves, with gaps (MY-02, MY-0B).
#[test]
fn tags_and_gaps() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both, NEWEST)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    let other = "11111111-2222-3333-4444-555555555555";
    let write = |id: &str, key: u32| {
        client.execute(&format!(
            "SET gtid_next = '{id}'; INSERT INTO work_pairs VALUES ({key}, 'x', 1); SET gtid_next = 'AUTOMATIC'"
        ))
    };
    write("AUTOMATIC:nightly", 1)?;
    for (number, key) in [(1, 2), (2, 3), (7, 4)] {
        write(&format!("{other}:{number}"), key)?;
    }
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    // The gap is filled while the daemon is down, as by a replica that applies in parallel.
    for (number, key) in [(4, 5), (3, 6), (9, 7)] {
        write(&format!("{other}:{number}"), key)?;
    }
    write(&format!("{other}:nightly:5"), 8)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_mirrors(&["work_pairs"], &[Reader::Deltalake])?;
    rig.check_topics(&["work_pairs"], None)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// Two domains, each with sequence numbers of its own (MY-0C).
#[test]
fn domains_of_mariadb() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both, MysqlVersion::MariaDb118)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    for round in 0..3 {
        client.execute(&format!(
            "SET SESSION gtid_domain_id = 5; INSERT INTO work_pairs VALUES ({round}, 'five', 1);
             SET SESSION gtid_domain_id = 0; INSERT INTO work_pairs VALUES ({round}, 'zero', 1)"
        ))?;
        rig.catch_up()?;
        rig.daemon.kill9()?;
        rig.daemon.run()?;
    }
    rig.catch_up()?;
    rig.check_mirrors(&["work_pairs"], &[Reader::Deltalake])?;
    rig.check_topics(&["work_pairs"], None)?;
    Ok(())
}

/// Tables made from a query, loaded, filled by triggers; temporary ones; savepoints; rows that replace others; values that
/// the server makes up (MY-24, MY-38, MY-39, MY-76).
#[test]
fn rows_of_every_origin() -> Result<()> {
    for version in [NEWEST, MysqlVersion::MariaDb118] {
        let mut rig = Rig::new(Sinks::Both, version)?;
        rig.daemon.allow_log("table_joined");
        rig.daemon.run()?;
        rig.catch_up()?;
        rig.client()?.execute(
            "CREATE TRIGGER t AFTER INSERT ON work_pairs FOR EACH ROW INSERT INTO work_log (line) VALUES (NEW.b);
             CREATE TEMPORARY TABLE passing (id int PRIMARY KEY); INSERT INTO passing VALUES (1); DROP TEMPORARY TABLE passing;
             INSERT INTO work_pairs VALUES (1, 'a', 1), (2, 'b', 2);
             BEGIN; INSERT INTO work_pairs VALUES (3, 'c', 1); SAVEPOINT s; INSERT INTO work_pairs VALUES (4, 'd', 1);
             ROLLBACK TO s; INSERT INTO work_pairs VALUES (5, 'e', 1); COMMIT;
             CREATE TABLE copied (id int PRIMARY KEY) SELECT a AS id, b FROM work_pairs;
             CREATE TABLE made (id int AUTO_INCREMENT PRIMARY KEY, n int UNIQUE, u varchar(36) DEFAULT (uuid()),
                                at timestamp(6) DEFAULT CURRENT_TIMESTAMP(6));
             INSERT INTO made (n) VALUES (1), (2), (3), (4); SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO');
             INSERT INTO made (id, n) VALUES (0, 5); INSERT IGNORE INTO made (n) VALUES (1), (6);
             REPLACE INTO made (id, n) VALUES (1, 2), (7, 3), (4, 4);
             INSERT INTO made (id, n) VALUES (9, 4), (8, 8) ON DUPLICATE KEY UPDATE id = 20, n = 21;
             BEGIN; DELETE FROM work_pairs; ROLLBACK; TRUNCATE work_log; INSERT INTO work_log (line) VALUES ('after')",
        )?;
        rig.catch_up()?;
        rig.check_mirrors(&TABLES, &[Reader::Deltalake])?;
        rig.check_topics(&TABLES, None)?;
        rig.check_mirrors(&["copied", "made"], &[Reader::Deltalake])?;
        rig.check_topics(&["made"], None)?;
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}
