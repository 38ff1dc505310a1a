//! Every type of every version with its extreme values, three ways: as the snapshot read it, as the log carried it, as the
//! server's own SELECT says. MY-60 to MY-78, MY-47.

mod columns;

use super::rig::{Rig, SOURCE};
use crate::rig::Sinks;
use crate::versions::snapshot_and_log_must_agree;
use anyhow::{Context, Result, ensure};
use columns::Columns;
use std::time::Duration;
use tidewire_testkit::kafka::Isolation;
use tidewire_testkit::mysql::{Client, DATABASE};
use tidewire_testkit::oracle;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{MysqlOptions, MysqlVersion};

/// Tables that are odd as a whole: their columns, and rows before and after the start of the daemon.
const ODD: [(&str, &str, &str, &str); 4] = [
    // MY-47: columns that are computed, and that `SELECT *` does not show.
    (
        "computed",
        "(id int PRIMARY KEY, a int, stored_one int AS (a + 1) STORED, virtual_one varchar(20) AS (CONCAT('v', a)) VIRTUAL,
          unseen int NOT NULL INVISIBLE DEFAULT 9)",
        "INSERT INTO computed (id, a) VALUES (1, 10), (2, NULL)",
        "INSERT INTO computed (id, a) VALUES (3, 30); UPDATE computed SET a = 11, unseen = 8 WHERE id = 1;
         DELETE FROM computed WHERE id = 2",
    ),
    // MY-78: names that are no words.
    (
        "od`d \u{e9}\u{4e2d}.na\"me",
        "(`i-d` int PRIMARY KEY, `a``b` int, `select` varchar(9), `\u{4e2d}` int)",
        "INSERT INTO `od``d \u{e9}\u{4e2d}.na\"me` VALUES (1, 2, 'x', 3)",
        "INSERT INTO `od``d \u{e9}\u{4e2d}.na\"me` VALUES (2, 2, 'y', NULL)",
    ),
    // Keys of text, bytes and unsigned numbers, together.
    (
        "wide_key",
        "(a bigint unsigned, b varchar(20) CHARACTER SET latin1, c binary(4), d date, v int, PRIMARY KEY (a, b, c, d))",
        "INSERT INTO wide_key VALUES (18446744073709551615, '\u{e9}', x'0100', '2024-02-29', 1), (0, '', x'', '0001-01-01', 2)",
        "UPDATE wide_key SET v = v + 1; UPDATE wide_key SET c = x'02' WHERE a = 0; DELETE FROM wide_key WHERE a > 9",
    ),
    // MY-34: no transactions, one group for each statement.
    (
        "plain_old",
        "(id int PRIMARY KEY, v varchar(9)) ENGINE = MyISAM",
        "INSERT INTO plain_old VALUES (1, 'x')",
        "INSERT INTO plain_old VALUES (2, 'y'), (3, 'z'); UPDATE plain_old SET v = 'w' WHERE id < 3; DELETE FROM plain_old WHERE id = 3",
    ),
];

fn check(version: MysqlVersion) -> Result<()> {
    check_with(&MysqlOptions::version(version), version)
}

fn check_with(options: &MysqlOptions, version: MysqlVersion) -> Result<()> {
    let columns = Columns::of(version);
    // Sessions of people and of the daemon may be in any zone.
    let options = options.clone().set("default-time-zone", "+05:45");
    let mut rig = Rig::with(Sinks::Both, &options, "")?;
    // What such tables and servers are worth being told.
    for code in ["engine_without_transactions", "binlog_row_metadata_not_full"] {
        rig.daemon.allow_log(code);
    }
    rig.daemon.set_patience(Duration::from_secs(120));
    let client = rig.client()?;
    client.execute("SET sql_mode = ''; SET time_zone = '+00:00'")?;
    client.execute(&columns.create())?;
    client.execute(&columns.insert(0))?;
    for (name, declared, before, _) in ODD {
        client.execute(&declare(version, name, declared))?;
        client.execute(before)?;
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_mirrors(&["every_type"], &[Reader::Deltalake])?;
    times_have_the_digits_of_their_columns(&rig, &client)?;
    client.execute(&columns.insert(columns::STREAMED))?;
    for (_, _, _, after) in ODD {
        client.execute(after)?;
    }
    rig.catch_up()?;
    rig.check_mirrors(&["every_type"], &[Reader::Deltalake, Reader::Duckdb])?;
    times_have_the_digits_of_their_columns(&rig, &client)?;
    snapshot_and_log_must_agree(&rig.records("every_type")?, columns.rows())?;
    rig.check_topics(&["every_type"], None)?;
    let kafka = rig.kafka.as_ref().context("a broker")?;
    for (name, ..) in ODD {
        oracle::check_mirror(&client, DATABASE, name, &rig.table(name), &[Reader::Deltalake]).context(name)?;
        let topic: String = format!("{SOURCE}.{DATABASE}.{name}");
        let topic: String = topic
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
            .collect();
        let records = kafka.consume(&topic, Isolation::ReadCommitted)?;
        oracle::check_topic(&client, DATABASE, name, &records).context(name)?;
    }
    // Rows of all types are found again by their key, changed and deleted.
    client.execute(
        "UPDATE every_type SET c_varchar = 'changed' WHERE id % 3 = 0; DELETE FROM every_type WHERE id % 3 = 1",
    )?;
    rig.catch_up()?;
    rig.check_mirrors(&["every_type"], &[Reader::Duckdb, Reader::Kernel])?;
    rig.check_topics(&["every_type"], None)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// MY-65: other checks take `12:34:56.78` and `12:34:56.780` for one, a mirror has what the server prints.
fn times_have_the_digits_of_their_columns(rig: &Rig, client: &Client) -> Result<()> {
    for digits in [1, 2, 3, 4, 6] {
        let column = format!("c_time_{digits}");
        let sql = format!("SELECT CAST({column} AS CHAR) FROM every_type WHERE {column} IS NOT NULL ORDER BY 1");
        let printed: Vec<String> = client.rows(&sql)?.iter().filter_map(|row| row[0].clone()).collect();
        let seen = readers::read(Reader::Deltalake, &rig.table("every_type"))?.select(&[column])?.rows;
        let mut seen: Vec<&str> = seen.iter().filter_map(|row| row[0].as_str()).collect();
        seen.sort_unstable();
        ensure!(!seen.is_empty() && seen == printed, "{seen:?} and {printed:?}");
    }
    Ok(())
}

fn declare(version: MysqlVersion, name: &str, declared: &str) -> String {
    // MariaDB's word for a column that need not be given comes before its default, MySQL takes both orders.
    let declared = if version.is_mariadb() {
        declared.replace("NOT NULL INVISIBLE", "INVISIBLE NOT NULL")
    } else {
        declared.to_owned()
    };
    format!("CREATE TABLE `{}` {declared} DEFAULT CHARACTER SET utf8mb4", name.replace('`', "``"))
}

#[test]
fn of_mysql_8_0() -> Result<()> {
    check(MysqlVersion::MySql8031)
}

#[test]
fn of_mysql_9_7() -> Result<()> {
    check(MysqlVersion::MySql97)
}

#[test]
fn of_mariadb_10_5() -> Result<()> {
    check(MysqlVersion::MariaDb105)
}

#[test]
fn of_mariadb_10_11() -> Result<()> {
    check(MysqlVersion::MariaDb1011)
}

#[test]
fn of_mariadb_11_4() -> Result<()> {
    check(MysqlVersion::MariaDb114)
}

#[test]
fn of_mariadb_11_8() -> Result<()> {
    check(MysqlVersion::MariaDb118)
}

/// MY-40: nothing but the history of statements says what the columns are.
#[test]
fn of_mysql_9_7_without_names_in_the_log() -> Result<()> {
    check_with(&MysqlOptions::version(MysqlVersion::MySql97).row_metadata("MINIMAL"), MysqlVersion::MySql97)
}

#[test]
fn of_mariadb_11_8_without_metadata() -> Result<()> {
    check_with(&MysqlOptions::version(MysqlVersion::MariaDb118).row_metadata("NO_LOG"), MysqlVersion::MariaDb118)
}

#[test]
fn of_mariadb_10_11_without_metadata() -> Result<()> {
    check_with(&MysqlOptions::version(MysqlVersion::MariaDb1011).row_metadata("NO_LOG"), MysqlVersion::MariaDb1011)
}
