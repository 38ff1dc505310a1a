//! A row that a sink cannot take halts its table in that sink, with one line that says which row and what to do; the
//! other tables and sinks go on, and the log stays. Mended, the table catches up, every change once; left out of the
//! configuration, it lets the log go. SK-0B, SK-30, architecture 4.

use crate::rig::{self, Rig, Sinks, lsn};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::oracle::{self, Witness};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{Daemon, KafkaOptions};

/// A value of about 3 MB that hardly compresses: no record of the default size holds it.
const LARGE: &str = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 98304) n)";

const TABLES: &str =
    "CREATE TABLE big (id int PRIMARY KEY, body text); ALTER TABLE big ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE small (id int PRIMARY KEY, body text)";

fn halted_line(daemon: &Daemon, table: &str) -> Result<String> {
    let log = daemon.log()?;
    let line = log.lines().find(|line| line.contains("table halted") && line.contains(table));
    Ok(line.with_context(|| format!("a line says why {table} is halted"))?.to_owned())
}

fn md5_of_one(client: &Client) -> Result<String> {
    client.value("SELECT md5('1')")
}

fn confirmed(client: &Client) -> Result<u64> {
    lsn(&client.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'")?)
}

#[test]
fn a_record_too_large_halts_its_topic_alone_and_comes_once_it_fits() -> Result<()> {
    let mut rig = Rig::with_broker(&KafkaOptions::default().set("message.max.bytes", "1000000"))?;
    let client = rig.client()?;
    client.execute(TABLES)?;
    rig.daemon.allow_log("table halted");
    rig.daemon.allow_log("record_too_large");
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    client.execute("INSERT INTO big VALUES (1, 'fits'); INSERT INTO small VALUES (1, 'one')")?;
    rig.catch_up()?;
    // Both tables in one transaction: nothing of it may be in the topic of the large one, before or after the row.
    client.execute(&format!(
        "BEGIN; INSERT INTO big VALUES (2, 'of the same transaction'); INSERT INTO big VALUES (3, {LARGE});
         INSERT INTO small VALUES (2, 'two'); COMMIT"
    ))?;
    client.execute("INSERT INTO big VALUES (4, 'after it'); INSERT INTO small VALUES (3, 'three'); UPDATE big SET body = 'new' WHERE id = 1")?;
    let before = lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    rig.catch_up()?;
    let line = halted_line(&rig.daemon, "public.big")?;
    ensure!(line.contains("remedy") && line.contains("max.message.bytes"), "{line}");
    ensure!(line.contains(r#""id":3"#) || line.contains(r#"\"id\":3"#), "the line has the key: {line}");
    ensure!(line.contains("a record of 31"), "the line has the size: {line}");
    ensure!(!line.contains(&md5_of_one(&client)?), "no row values in the log");
    oracle::check_topic(&client, "public", "small", &rig.records("small")?)?;
    let big = rig.records("big")?;
    ensure!(big.len() == 1, "the topic ends before the transaction: {} records", big.len());
    // A daemon that knows nothing of it meets the row again, and the log is still there.
    for kill in [true, false] {
        if kill {
            rig.daemon.kill9()?;
        } else {
            ensure!(rig.daemon.terminate()? == 0);
        }
        rig.daemon.run()?;
        client.execute("UPDATE small SET body = body || '!'")?;
        rig.catch_up()?;
        ensure!(rig.records("big")?.len() == 1);
    }
    ensure!(confirmed(&client)? < before, "the log is kept for the halted table");
    let status = rig.daemon.status()?;
    let halted = &status["sources"]["shop"]["sinks"]["events"]["halted_tables"]["public.big"];
    ensure!(halted["code"] == "record_too_large", "{status}");
    ensure!(rig.daemon.metric("tidewire_sink_tables_halted", &["events"])? == Some(1.0));

    // The operator does what the line says.
    let kafka = rig.kafka.as_ref().context("a broker")?;
    kafka.alter_topic("shop.public.big", &[("max.message.bytes", "10000000")])?;
    ensure!(rig.daemon.terminate()? == 0);
    rig.daemon.run()?;
    client.execute("DELETE FROM big WHERE id = 2; INSERT INTO small VALUES (4, 'four')")?;
    rig.catch_up()?;
    for table in ["big", "small"] {
        let fold = oracle::check_topic(&client, "public", table, &rig.records(table)?)?;
        witness.must_equal(&format!("public.{table}"), fold.changes(), true)?;
    }
    ensure!(rig.daemon.status()?["sources"]["shop"]["sinks"]["events"]["halted_tables"].is_null());
    let end = lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    rig.catch_up()?;
    rig.daemon.wait_for("the log to be let go", |_| confirmed(&client).is_ok_and(|lsn| lsn >= end))?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
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
