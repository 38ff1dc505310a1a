//! Every supported PostgreSQL, read by a login that may do nothing else and whose settings are hostile: every
//! built-in type with its extreme values arrives the same from the snapshot and from the log, and equals the source.
//! PG-13, PG-20, PG-24, PG-30 to PG-34, PG-36, PG-38, PG-39, PG-50 to PG-58, PG-90, PG-98.

mod narrowed;
mod shapes;
mod types;

use crate::rig::{self, BINARY};
use anyhow::{Context, Result, ensure};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tidewire_testkit::kafka::{Isolation, Record};
use tidewire_testkit::oracle;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Postgres, PostgresOptions};
use types::Types;

#[test]
fn postgresql_13() -> Result<()> {
    version(13)
}

#[test]
fn postgresql_14() -> Result<()> {
    version(14)
}

#[test]
fn postgresql_15() -> Result<()> {
    version(15)
}

#[test]
fn postgresql_16() -> Result<()> {
    version(16)
}

#[test]
fn postgresql_17() -> Result<()> {
    version(17)
}

#[test]
fn postgresql_18() -> Result<()> {
    version(18)
}

/// One broker for all versions that run at a time; it ends with the last of them.
fn broker() -> Result<Arc<Kafka>> {
    static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return Ok(running);
    }
    let started = Arc::new(Kafka::start(&KafkaOptions::default())?);
    *shared = Arc::downgrade(&started);
    Ok(started)
}

/// What a careless or hostile administrator may set for a role (PG-90).
const HOSTILE: [&str; 15] = [
    "DateStyle = 'German, DMY'",
    "IntervalStyle = 'iso_8601'",
    "TimeZone = 'Asia/Kathmandu'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "xmlbinary = 'hex'",
    "xmloption = 'document'",
    "array_nulls = off",
    "search_path = 'hostile'",
    "quote_all_identifiers = on",
    "standard_conforming_strings = off",
    "client_encoding = 'LATIN1'",
    "statement_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "default_transaction_read_only = on",
];

struct Bench {
    // Fields are dropped in this order: the daemon first.
    daemon: Daemon,
    kafka: Arc<Kafka>,
    client: Client,
    /// Sees every name in full, as the daemon's sessions do.
    viewer: Client,
    source: String,
    lake: TempDir,
    _postgres: Postgres,
}

impl Bench {
    fn new(major: u16, types: &Types) -> Result<Bench> {
        let postgres = Postgres::start(&PostgresOptions::version(major))?;
        let client = postgres.client()?;
        let viewer = postgres.client()?;
        viewer.execute("SET TimeZone = 'UTC'; SET search_path = ''")?;
        client.execute(&types.create())?;
        client.execute(shapes::CREATE)?;
        let source = format!("pg{major}");
        postgres.create_limited_role("cdc", "postgres", &["public"])?;
        client.execute("CREATE SCHEMA hostile; GRANT USAGE ON SCHEMA hostile TO cdc")?;
        client.execute(
            "CREATE FUNCTION hostile.format_type(oid, int) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$",
        )?;
        for setting in HOSTILE {
            client.execute(&format!("ALTER ROLE cdc SET {setting}"))?;
        }
        let publication = "FOR ALL TABLES WITH (publish_via_partition_root = true)";
        client.execute(&format!("CREATE PUBLICATION tidewire_{source} {publication}"))?;
        let kafka = broker()?;
        let lake = tempfile::tempdir().context("make a folder for the tables")?;
        let texts: Vec<String> = types.text_columns().map(|name| format!("\"public.{name}\"")).collect();
        let config = format!(
            "[sources.{source}]\ntables = [\"public.*\"]\n[sources.{source}.postgres]\nurl = \"{}\"\nheartbeat_interval = \"1s\"\n\
             [sinks.events.kafka]\nbrokers = [\"{}\"]\nformat = {{ array_bounds = \"drop\" }}\n\
             [sinks.lake.delta]\nlocation = \"file://{}\"\ncommit_interval = \"200ms\"\ntext_columns = [{}]\n",
            postgres.url("cdc"),
            kafka.brokers(),
            lake.path().display(),
            texts.join(", ")
        );
        let mut daemon = Daemon::new(BINARY, &config)?;
        daemon.set_patience(Duration::from_secs(120));
        Ok(Bench { daemon, kafka, client, viewer, source, lake, _postgres: postgres })
    }

    fn catch_up(&mut self) -> Result<()> {
        let target = rig::lsn(&self.client.value("SELECT pg_current_wal_lsn()")?)?;
        self.daemon.wait_for("every sink to hold what is committed", |status| rig::holds(status, target))?;
        Ok(())
    }

    fn records(&self, table: &str) -> Result<Vec<Record>> {
        self.kafka.consume(&format!("{}.public.{table}", self.source), Isolation::ReadCommitted)
    }

    /// In which form the snapshot read a table.
    fn was_read_in(&self, table: &str, format: &str) -> Result<()> {
        let log = self.daemon.log()?;
        let name = format!("\"public.{table}\"");
        let line = log.lines().find(|line| line.contains("has been read") && line.contains(&name));
        let line = line.with_context(|| format!("no line says that {name} was read"))?;
        ensure!(line.contains(&format!("\"{format}\"")), "{name} was not read in {format} form: {line}");
        Ok(())
    }

    /// Compares the mirror of `table` with `shown`, the table itself or a view of it in the mirror's types.
    fn check_mirror(&self, table: &str, shown: &str, with: &[Reader]) -> Result<()> {
        let path = self.lake.path().join(&self.source).join("public").join(table);
        oracle::check_mirror(&self.viewer, "public", shown, &path, with)
    }
}

fn version(major: u16) -> Result<()> {
    let types = Types::of(major);
    let mut bench = Bench::new(major, &types)?;
    types.must_be_all(&bench.client)?;
    bench.client.execute(&types.insert(0))?;
    bench.client.execute(shapes::BEFORE)?;
    bench.daemon.run()?;
    bench.catch_up()?;
    bench.check_mirror("every_type", "every_type_shown", &[Reader::Deltalake])?;
    bench.check_mirror("binary_type", "binary_type_shown", &[Reader::Deltalake])?;
    bench.was_read_in("every_type", "text")?;
    bench.was_read_in("binary_type", "binary")?;

    bench.client.execute(&types.insert(types::STREAMED))?;
    bench.client.execute(shapes::AFTER)?;
    bench.client.execute(shapes::MESSAGES)?;
    bench.catch_up()?;
    bench.check_mirror("every_type", "every_type_shown", &[Reader::Deltalake])?;
    bench.check_mirror("binary_type", "binary_type_shown", &[Reader::Deltalake])?;
    snapshot_and_log_must_agree(&bench.records("every_type")?, types.rows())?;
    snapshot_and_log_must_agree(&bench.records("binary_type")?, types.rows())?;
    for (table, shown, topic) in shapes::TABLES {
        bench.check_mirror(table, shown, &[Reader::Deltalake])?;
        oracle::check_topic(&bench.client, "public", table, &bench.records(topic)?).context(table)?;
    }
    shapes::messages_must_be(
        &bench.kafka.consume(&format!("{}.message", bench.source), Isolation::ReadCommitted)?,
        major,
    )?;

    // Rows of all types are found again by their key, changed and deleted. Some are so long that parts of them are kept
    // elsewhere, which the log carries only with the whole old row, and not every type has a placeholder in Kafka.
    bench.client.execute(
        "ALTER TABLE every_type REPLICA IDENTITY FULL;
         UPDATE every_type SET c_text = 'changed' WHERE id % 3 = 0; DELETE FROM every_type WHERE id % 3 = 1",
    )?;
    bench.catch_up()?;
    bench.check_mirror("every_type", "every_type_shown", &[Reader::Duckdb, Reader::Kernel])?;
    ensure!(bench.daemon.terminate()? == 0);
    Ok(())
}

/// The row that the snapshot read is the row that the log carried, to the byte, in every column but the key.
pub(crate) fn snapshot_and_log_must_agree(records: &[Record], rows: usize) -> Result<()> {
    type Image = BTreeMap<String, Box<RawValue>>;
    let mut images: BTreeMap<u64, (String, Image)> = BTreeMap::new();
    for record in records {
        let value = record.value.as_deref().context("a tombstone")?;
        let mut envelope: Image = serde_json::from_slice(value)?;
        let op = envelope.remove("op").context("an op")?.get().to_owned();
        let mut after: Image = serde_json::from_str(envelope.remove("after").context("an after image")?.get())?;
        let id: u64 = after.remove("id").context("an id")?.get().parse()?;
        ensure!(images.insert(id, (op, after)).is_none(), "row {id} came twice");
    }
    ensure!(images.len() == 2 * rows, "{} rows instead of {}", images.len(), 2 * rows);
    for id in 0..rows as u64 {
        let read = images.get(&id).with_context(|| format!("row {id} from the snapshot"))?;
        let logged = images.get(&(id + types::STREAMED)).with_context(|| format!("row {id} from the log"))?;
        ensure!(read.0 == "\"r\"" && logged.0 == "\"c\"", "row {id}: ops {} and {}", read.0, logged.0);
        for (column, value) in &read.1 {
            let other = logged.1.get(column).with_context(|| format!("row {id} of the log has no `{column}`"))?;
            ensure!(value.get() == other.get(), "row {id}, `{column}`: snapshot {value}, log {other}");
        }
        ensure!(read.1.len() == logged.1.len(), "row {id} has columns in the log that the snapshot lacks");
    }
    Ok(())
}
