//! A position means something only on servers that have the same history: fail-over by global ids, files that are purged,
//! transactions that the new server lacks, another server behind the same address, newer programs, lost state. MY-01, MY-04,
//! MY-05, MY-06, MY-07, MY-09, MY-51, MY-5D, SK-50.

use super::rig::{NEWEST, Rig};
use crate::lineage::{check_says, halted};
use crate::rig::Sinks;
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;
use tidewire_testkit::{Mysql, MysqlOptions, MysqlVersion, Proxy, wait};

fn load(seed: u64) -> Workload {
    Workload { seed, transactions: 60, largest: 50, ..Workload::default() }
}

/// A rig whose sinks hold something, with the daemon stopped.
fn filled(sinks: Sinks, options: &MysqlOptions) -> Result<Rig> {
    let mut rig = Rig::with(sinks, options, "")?;
    rig.daemon.allow_log("gtid_mode_off");
    load(501).run(&rig.server)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(rig)
}

/// The rig's daemon reads from this server from now on.
fn turn_to(rig: &mut Rig, sinks: Sinks, server: Mysql) -> Result<Mysql> {
    rig.daemon.write_config(&rig.config(sinks, server.port(), ""))?;
    Ok(std::mem::replace(&mut rig.server, server))
}

/// The new server has transactions of its own and of the old one, in another order of files.
fn fail_over(version: MysqlVersion) -> Result<()> {
    let mut rig = filled(Sinks::Both, &MysqlOptions::version(version))?;
    let replica = Mysql::replica_of(&rig.server, &MysqlOptions::default())?;
    load(502).run(&rig.server)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    // What the daemon has not read yet comes from the new server.
    load(503).run(&rig.server)?;
    replica.level_with(&rig.server)?;
    rig.server.kill()?;
    replica.promote()?;
    turn_to(&mut rig, Sinks::Both, replica)?;
    load(504).run(&rig.server)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(None)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_replica_of_mysql_takes_over() -> Result<()> {
    fail_over(NEWEST)
}

#[test]
fn a_replica_of_mysql_8_0_takes_over() -> Result<()> {
    fail_over(MysqlVersion::MySql8031)
}

#[test]
fn a_replica_of_mariadb_takes_over() -> Result<()> {
    fail_over(MysqlVersion::MariaDb118)
}

/// The server ends amid the first reading of a large table, and a replica goes on in its place. What was read before of another
/// server's snapshot is read again.
fn fail_over_while_read(version: MysqlVersion) -> Result<()> {
    const ROWS: usize = 120_000;
    let mut rig = Rig::with(Sinks::Both, &MysqlOptions::version(version), "")?;
    rig.daemon.allow_log("connection_lost");
    load(505).run(&rig.server)?;
    rig.client()?.execute(&format!(
        "CREATE TABLE large (id int PRIMARY KEY, t varchar(200)); INSERT INTO large VALUES (0, repeat('x', 200));
         SET @n = 0; INSERT INTO large SELECT @n := @n + 1, repeat(hex(@n + 1048576), 30) FROM
           (SELECT 1 FROM {UNITS} a, {UNITS} b, {UNITS} c, {UNITS} d, {UNITS} e, {UNITS} f) n LIMIT {ROWS}"
    ))?;
    let replica = Mysql::replica_of(&rig.server, &MysqlOptions::default())?;
    replica.level_with(&rig.server)?;
    let line = Proxy::start(rig.server.port())?;
    rig.daemon.write_config(&rig.config(Sinks::Both, line.port(), ""))?;
    line.delay(Duration::from_millis(20));
    rig.daemon.run()?;
    wait::until("all tables but the large one", wait::PATIENCE, || {
        Ok((rig.daemon.log()?.matches("the table has been read").count() == 3).then_some(()))
    })?;
    line.stall();
    rig.client()?.execute("INSERT INTO large VALUES (-1, 'meanwhile'); DELETE FROM large WHERE id = 7")?;
    replica.level_with(&rig.server)?;
    rig.server.kill()?;
    replica.promote()?;
    line.turn_to(replica.port());
    line.resume();
    rig.server = replica;
    load(506).run(&rig.server)?;
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    ensure!(log.matches("the snapshot begins").count() > 1, "the reading began once");
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_mirrors(&["large"], &[Reader::Deltalake])?;
    rig.check_topics(&["large"], None)?;
    rig.check_events(None)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// A table of ten rows.
const UNITS: &str = "(SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 1 UNION ALL
    SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT 1)";

#[test]
fn a_replica_of_mysql_takes_over_amid_the_first_reading() -> Result<()> {
    fail_over_while_read(NEWEST)
}

#[test]
fn a_replica_of_mariadb_takes_over_amid_the_first_reading() -> Result<()> {
    fail_over_while_read(MysqlVersion::MariaDb118)
}

/// A replica looks for all rows of an event at once where no key leads to them, and logs them in the order in which it meets
/// them. A place amid a transaction must mean the same rows in its log.
#[test]
fn a_replica_takes_over_amid_a_transaction_without_a_key() -> Result<()> {
    const ROWS: usize = 20_000;
    let mut rig = Rig::with(Sinks::Events, &MysqlOptions::version(NEWEST), "")?;
    rig.client()?.execute(&format!(
        "CREATE TABLE loose (a int, b int); SET SESSION cte_max_recursion_depth = {ROWS};
         INSERT INTO loose WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
           SELECT i, 0 FROM n ORDER BY i DESC"
    ))?;
    let config = |rig: &Rig, server: &Mysql| rig.config(Sinks::Events, server.port(), "") + "commit_changes = 1000\n";
    rig.daemon.write_config(&config(&rig, &rig.server))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let replica = Mysql::replica_of(&rig.server, &MysqlOptions::default())?;
    // The rows lie the other way round.
    rig.client()?.execute("UPDATE loose SET b = 1 ORDER BY a")?;
    let updated = |rig: &Rig| -> Result<Vec<String>> {
        let records = rig.records("loose")?.into_iter().filter_map(|record| record.value);
        let values = records.map(|value| Ok(serde_json::from_slice::<serde_json::Value>(&value)?));
        let values: Vec<_> = values.collect::<Result<_>>()?;
        Ok(values.iter().filter(|value| value["op"] == "u").map(|value| value["after"].to_string()).collect())
    };
    // The first commits are of no more than a place.
    let mut part = 0;
    for commits in 1..8 {
        rig.daemon.set_failpoint(Some(&format!("kafka_after_commit:{commits}")));
        rig.daemon.run()?;
        rig.daemon.wait_exit()?;
        part = updated(&rig)?.len();
        if part > 0 {
            break;
        }
    }
    rig.daemon.set_failpoint(None);
    ensure!(part > 0 && part < ROWS, "{part} rows came");
    replica.level_with(&rig.server)?;
    rig.server.kill()?;
    replica.promote()?;
    rig.daemon.write_config(&config(&rig, &replica))?;
    rig.server = replica;
    rig.daemon.run()?;
    rig.catch_up()?;
    let rows = updated(&rig)?;
    let different: std::collections::BTreeSet<_> = rows.iter().collect();
    ensure!(rows.len() == ROWS, "{} of {ROWS} rows came", rows.len());
    ensure!(different.len() == ROWS, "{} rows came twice, as many never", ROWS - different.len());
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// The programs are newer at each start, and the log goes on (MY-5D). MySQL goes from 8.0 to 9 only by 8.4, which is not to
/// be had here.
#[test]
fn a_server_that_is_upgraded_in_place_goes_on() -> Result<()> {
    let mut rig = filled(Sinks::Both, &MysqlOptions::version(MysqlVersion::MariaDb105))?;
    rig.daemon.allow_log("source retried");
    rig.daemon.allow_log("table_joined");
    rig.client()?.execute("CREATE TABLE kept (id int PRIMARY KEY, t varchar(20), j json, at timestamp(3) NULL)")?;
    let versions = [(10, MysqlVersion::MariaDb1011), (20, MysqlVersion::MariaDb114), (30, MysqlVersion::MariaDb118)];
    for (number, version) in versions {
        // At the first turn the daemon is away, at the others it is cut off.
        let before = format!("INSERT INTO kept (id, t, j) VALUES ({number}, 'äö', '[1.50]')");
        rig.client()?.execute(&before)?;
        rig.server.upgrade(version)?;
        rig.client()?.execute(&format!(
            "ALTER TABLE kept ADD COLUMN a{number} inet6; UPDATE kept SET t = 'ß', at = now(3), a{number} = '::1' WHERE id = {number};
             INSERT INTO kept (id, t) VALUES ({number} + 1, 'new'); DELETE FROM work_pairs LIMIT 3"
        ))?;
        if rig.daemon.pid().is_none() {
            rig.daemon.run()?;
        }
        rig.catch_up()?;
    }
    // Newer servers print the -0.0 of old rows of the third table as 0.
    rig.check_mirrors(&["kept", "work_pairs", "work_log"], &[Reader::Deltalake])?;
    rig.check_topics(&["work_pairs", "work_log"], None)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// The daemon has a transaction that never reached the replica (MY-04).
fn errant(version: MysqlVersion) -> Result<()> {
    let mut rig = filled(Sinks::Lake, &MysqlOptions::version(version))?;
    let replica = Mysql::replica_of(&rig.server, &MysqlOptions::default())?;
    replica.level_with(&rig.server)?;
    replica.promote()?;
    rig.client()?.execute("INSERT INTO work_pairs VALUES (9999, 'lost', 1)")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    rig.server.kill()?;
    turn_to(&mut rig, Sinks::Lake, replica)?;
    load(505).run(&rig.server)?;
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    // MariaDB's sequence numbers do not tell whether a transaction is there; its server does, when it is asked for the log.
    let expected = if version.is_mariadb() { ["errant_gtid", "log_read_refused"] } else { ["errant_gtid"; 2] };
    ensure!(expected.contains(&code.as_str()), "{code}");
    Ok(())
}

#[test]
fn a_server_that_lacks_what_was_read_is_refused() -> Result<()> {
    errant(NEWEST)
}

#[test]
fn a_mariadb_that_lacks_what_was_read_is_refused() -> Result<()> {
    errant(MysqlVersion::MariaDb118)
}

/// The log that the daemon has not read is gone (MY-01, MY-05).
fn purged(options: &MysqlOptions) -> Result<()> {
    let mut rig = filled(Sinks::Lake, options)?;
    load(506).run(&rig.server)?;
    rig.server.purge_log()?;
    load(507).run(&rig.server)?;
    check_says(&rig.daemon, "binlog_purged")?;
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    ensure!(code == "binlog_purged", "{code}");
    Ok(())
}

#[test]
fn a_purged_log_is_never_skipped() -> Result<()> {
    purged(&MysqlOptions::version(NEWEST))
}

#[test]
fn a_purged_log_is_never_skipped_without_global_ids() -> Result<()> {
    purged(&MysqlOptions::version(NEWEST).without_gtid())
}

#[test]
fn a_purged_log_of_mariadb_is_never_skipped() -> Result<()> {
    purged(&MysqlOptions::version(MysqlVersion::MariaDb118))
}

/// Files of the same names hold something else (MY-06).
#[test]
fn a_log_that_was_made_anew_is_refused() -> Result<()> {
    let mut rig = filled(Sinks::Lake, &MysqlOptions::version(NEWEST))?;
    rig.client()?.execute("RESET BINARY LOGS AND GTIDS")?;
    load(508).run(&rig.server)?;
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    ensure!(code == "errant_gtid" || code == "server_behind", "{code}");
    check_says(&rig.daemon, &code)
}

/// Files of one server mean nothing to another (MY-09).
#[test]
fn another_server_is_refused_without_global_ids() -> Result<()> {
    let options = MysqlOptions::version(NEWEST).without_gtid();
    let mut rig = filled(Sinks::Lake, &options)?;
    let other = Mysql::start(&options)?;
    other.create_limited_user(super::rig::USER, &[tidewire_testkit::mysql::DATABASE])?;
    Workload::create_tables(&other.client()?)?;
    load(509).run(&other)?;
    turn_to(&mut rig, Sinks::Lake, other)?;
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    ensure!(code == "server_changed", "{code}");
    check_says(&rig.daemon, &code)
}

/// After `RESET MASTER` a file of the same name holds something else, and may be longer (MY-04).
fn reset(options: &MysqlOptions, more: &str, statement: &str) -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, options, more)?;
    rig.daemon.allow_log("gtid_mode_off");
    load(520).run(&rig.server)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let (file, held) = rig.server.log_place()?;
    // Files are told apart by the second in which they were begun.
    let client = rig.client()?;
    let second = || client.value("SELECT UNIX_TIMESTAMP()");
    let now = second()?;
    wait::until("the next second", wait::PATIENCE, || Ok((second()? != now).then_some(())))?;
    client.execute(statement)?;
    for seed in 521..540 {
        load(seed).run(&rig.server)?;
        if rig.server.log_place()?.1 > held {
            break;
        }
    }
    let (again, offset) = rig.server.log_place()?;
    ensure!(again == file && offset > held, "`{again}` at {offset} after `{file}` at {held}");
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    ensure!(code == "server_reset", "{code}");
    Ok(())
}

#[test]
fn a_log_that_was_reset_is_refused() -> Result<()> {
    reset(&MysqlOptions::version(NEWEST).without_gtid(), "", "RESET BINARY LOGS AND GTIDS")
}

#[test]
fn a_log_of_mariadb_that_was_reset_is_refused() -> Result<()> {
    reset(&MysqlOptions::version(MysqlVersion::MariaDb118), "position = \"file\"\n", "RESET MASTER")
}

/// The state directory is gone; sinks know how far they are, and tables did not change meanwhile (SK-50).
#[test]
fn a_deleted_state_directory_costs_nothing_but_time() -> Result<()> {
    let mut rig = filled(Sinks::Both, &MysqlOptions::version(NEWEST))?;
    rig.daemon.allow_log("the schema history is missing");
    let witness = Witness::of_log(&rig.server)?;
    for seed in 510..513 {
        load(seed).run(&rig.server)?;
        std::fs::remove_dir_all(rig.daemon.state_folder())?;
        rig.daemon.run()?;
        rig.catch_up()?;
        rig.daemon.kill9()?;
    }
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))
}
