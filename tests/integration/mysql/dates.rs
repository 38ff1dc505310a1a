//! A date that no calendar has halts its table in each sink, and no other; with another `zero_dates` the table goes on. MY-64.

use super::rig::{NEWEST, Rig};
use crate::rig::Sinks;
use anyhow::{Result, ensure};
use serde_json::Value;
use tidewire_testkit::mysql::DATABASE;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{Daemon, MysqlOptions};

/// The tables that a sink has given up for now, by the log: `sink` and `table`.
fn halted(daemon: &Daemon) -> Result<Vec<String>> {
    let log = daemon.log()?;
    let lines = log.lines().filter(|line| line.contains("table halted") && line.contains("date_impossible"));
    let named = |line: &str| {
        let line: Value = serde_json::from_str(line)?;
        Ok(format!("{} {}", line["sink"].as_str().unwrap_or("?"), line["table"].as_str().unwrap_or("?")))
    };
    let mut named = lines.map(named).collect::<Result<Vec<String>>>()?;
    named.sort();
    Ok(named)
}

#[test]
fn an_impossible_date_halts_its_table_alone() -> Result<()> {
    let mut rig = Rig::with(Sinks::Both, &MysqlOptions::version(NEWEST), "")?;
    rig.daemon.allow_log("table halted");
    let client = rig.client()?;
    client.execute("SET sql_mode = ''")?;
    client.execute(
        "CREATE TABLE early (id int PRIMARY KEY, d date); INSERT INTO early VALUES (1, '2024-02-29'), (2, '0000-00-00');
         CREATE TABLE late (id int PRIMARY KEY, d datetime(3)); INSERT INTO late VALUES (1, '2024-02-29 01:02:03.5');
         CREATE TABLE plain (id int PRIMARY KEY, a int); INSERT INTO plain VALUES (1, 1)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("INSERT INTO late VALUES (2, '2024-00-00'); UPDATE plain SET a = 2")?;
    rig.catch_up()?;
    client.execute("INSERT INTO plain VALUES (2, 2)")?;
    rig.catch_up()?;
    let tables = ["events", "lake"].map(|sink| ["early", "late"].map(|table| format!("{sink} {DATABASE}.{table}")));
    let expect: Vec<String> = tables.into_iter().flatten().collect();
    let found = halted(&rig.daemon)?;
    ensure!(found == expect, "{found:?}");
    rig.check_mirrors(&["plain"], &[Reader::Deltalake])?;
    rig.check_topics(&["plain"], None)?;
    ensure!(rig.daemon.terminate()? == 0);
    // They go on from where they were.
    rig.daemon.write_config(&rig.config(Sinks::Both, rig.server.port(), "zero_dates = \"null\"\n"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("INSERT INTO late VALUES (3, NULL)")?;
    rig.catch_up()?;
    for (table, rows, last) in [("early", 2, 2), ("late", 3, 3)] {
        let seen = readers::read(Reader::Deltalake, &rig.table(table))?.select(&["d".to_owned()])?.rows;
        let nulls = seen.iter().filter(|row| row[0].is_null()).count();
        ensure!((seen.len(), nulls) == (rows, last - 1), "{table}: {seen:?}");
        let records = rig.records(table)?;
        ensure!(records.len() >= rows, "{table}: {} records", records.len());
    }
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
