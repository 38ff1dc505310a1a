//! A row that a sink cannot take halts its table in that sink, with one line that says which row and what to do; the
//! other tables and sinks go on, and the log stays. Mended, the table catches up, every change once; left out of the
//! configuration, it lets the log go. SK-0B, SK-30, architecture 4.

use crate::rig::{self, Rig, Sinks, lsn};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::Daemon;
use tidewire_testkit::oracle;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};

fn halted_line(daemon: &Daemon, table: &str) -> Result<String> {
    let log = daemon.log()?;
    let line = log.lines().find(|line| line.contains("table halted") && line.contains(table));
    Ok(line.with_context(|| format!("a line says why {table} is halted"))?.to_owned())
}

fn confirmed(client: &Client) -> Result<u64> {
    lsn(&client.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'")?)
}

#[test]
fn a_value_out_of_range_halts_its_table_and_a_table_given_up_lets_the_log_go() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let (client, url) = (rig.client()?, rig.postgres.url("postgres"));
    client.execute(
        "CREATE TABLE stamped (id int PRIMARY KEY, at timestamptz); INSERT INTO stamped VALUES (1, now());
         CREATE TABLE early (id int PRIMARY KEY, at timestamptz); INSERT INTO early VALUES (1, '-infinity');
         CREATE TABLE plain (id int PRIMARY KEY, a int); INSERT INTO plain VALUES (1, 1)",
    )?;
    rig.daemon.allow_log("table halted");
    // One table cannot be read at all, the others are whole all the same.
    rig.daemon.run()?;
    rig.catch_up()?;
    let line = halted_line(&rig.daemon, "public.early")?;
    ensure!(line.contains("text_columns"), "{line}");
    for table in ["stamped", "plain"] {
        oracle::check_mirror(&client, "public", table, &rig.table(table), &[Reader::Deltalake])?;
    }
    client.execute(
        "BEGIN; INSERT INTO stamped VALUES (2, now()); INSERT INTO stamped VALUES (3, 'infinity');
         INSERT INTO plain VALUES (2, 2); COMMIT; UPDATE plain SET a = 10 WHERE id = 1",
    )?;
    rig.catch_up()?;
    halted_line(&rig.daemon, "public.stamped")?;
    oracle::check_mirror(&client, "public", "plain", &rig.table("plain"), &[Reader::Deltalake])?;
    let kept = confirmed(&client)?;
    rig.daemon.kill9()?;
    rig.daemon.run()?;
    client.execute("INSERT INTO plain VALUES (3, 3)")?;
    rig.catch_up()?;
    ensure!(confirmed(&client)? == kept, "the log is kept for the halted tables");
    // `early` is read as text from its beginning, `stamped` is given up.
    ensure!(rig.daemon.terminate()? == 0);
    let config = rig::config(&url, None, Some(rig.lake.path()), "text_columns = [\"public.early.at\"]\n")
        .replace("[\"public.*\"]", "[\"public.*\", \"!public.stamped\"]");
    rig.daemon.write_config(&config)?;
    rig.daemon.run()?;
    client.execute("INSERT INTO early VALUES (2, 'infinity')")?;
    rig.catch_up()?;
    let early = readers::read(Reader::Deltalake, &rig.table("early"))?;
    let texts = early.select(&["at".to_owned()])?.rows;
    ensure!(texts == [[Value::from("-infinity")], [Value::from("infinity")]], "{texts:?}");
    let end = lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    rig.daemon.wait_for("the log to be let go", |_| confirmed(&client).is_ok_and(|lsn| lsn >= end))?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
