//! A mirror in a bucket: killed under load it ends equal to its source, and of two writers only one wins.
//! SK-33, SK-36, SK-37, SK-60.

use crate::rig::{self, BINARY, POSTGRES};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{Location, Reader};
use tidewire_testkit::workload::{Dice, TABLES, Workload};
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, S3, oracle, s3, wait};

/// Kills in one run of the test: the local lake has its fifty, this is about the store.
const KILLS: u64 = 8;

struct Bucket {
    // Dropped in this order: the daemon first.
    daemon: Daemon,
    postgres: Postgres,
    store: S3,
}

impl Bucket {
    fn new() -> Result<Bucket> {
        let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
        Workload::create_tables(&postgres.client()?)?;
        let store = S3::start()?;
        let mut daemon = Daemon::new(BINARY, &config(&postgres, &store, ""))?;
        daemon.set_patience(Duration::from_secs(180));
        Ok(Bucket { daemon, postgres, store })
    }

    fn client(&self) -> Result<Client> {
        self.postgres.client()
    }

    fn catch_up(&mut self) -> Result<()> {
        let target = rig::lsn(&self.client()?.value("SELECT pg_current_wal_lsn()")?)?;
        self.daemon.wait_for("the bucket to hold what is committed", |status| rig::holds(status, target))?;
        Ok(())
    }

    fn table(&self, table: &str) -> Location {
        let address = format!("s3://{}/mirrors/shop/public/{table}", s3::BUCKET);
        Location { address, options: self.store.options() }
    }

    fn check(&self, with: &[Reader]) -> Result<()> {
        let client = self.client()?;
        for table in TABLES {
            oracle::check_mirror(&client, "public", table, self.table(table), with)?;
        }
        Ok(())
    }
}

/// One source `shop` and the sink `lake` in the bucket. `more` is for the source's own table.
fn config(postgres: &Postgres, store: &S3, more: &str) -> String {
    let mut text = rig::config(&postgres.url("postgres"), None, None, more);
    text.push_str(&format!(
        "\n[sinks.lake.delta]\nlocation = \"s3://{}/mirrors\"\ncommit_interval = \"200ms\"\n[sinks.lake.delta.storage]\n",
        s3::BUCKET
    ));
    for (key, value) in store.options() {
        text.push_str(&format!("{key} = \"{value}\"\n"));
    }
    text
}

fn load(seed: u64, transactions: u64) -> Workload {
    Workload { seed, transactions, largest: 300, pause: Duration::from_millis(4), ..Workload::default() }
}

#[test]
fn a_mirror_in_a_bucket_survives_kills() -> Result<()> {
    let mut bucket = Bucket::new()?;
    let url = bucket.postgres.url("postgres");
    // The killed daemon's session may live on for a moment; the load empties a table now and then, snapshot or not.
    for line in ["slot_active", "snapshot_table_changed", "lock_timeout"] {
        bucket.daemon.allow_log(line);
    }
    let running = load(81, 20_000).start(&url)?;
    let mut dice = Dice::new(81);
    for _ in 0..KILLS {
        bucket.daemon.run()?;
        let moment = Instant::now() + Duration::from_millis(300 + dice.below(3_000));
        // The moment of the kill is the stimulus itself: it must not follow from anything the daemon does.
        let limit = Duration::from_secs(10);
        wait::until("the moment of the kill", limit, || Ok((Instant::now() >= moment).then_some(())))?;
        bucket.daemon.kill9()?;
    }
    let report = running.stop()?;
    ensure!(report.committed > 200, "the load was real: {report:?}");
    bucket.daemon.run()?;
    bucket.catch_up()?;
    bucket.check(&[Reader::Deltalake, Reader::Polars])?;
    ensure!(bucket.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_bucket_whose_server_dies_is_waited_for() -> Result<()> {
    let mut bucket = Bucket::new()?;
    let url = bucket.postgres.url("postgres");
    bucket.daemon.allow_log("sink retried");
    bucket.daemon.run()?;
    bucket.catch_up()?;
    let running = load(82, 400).start(&url)?;
    bucket.store.restart()?;
    running.join()?;
    bucket.catch_up()?;
    bucket.check(&[Reader::Deltalake])?;
    ensure!(bucket.daemon.terminate()? == 0);
    Ok(())
}

/// Two daemons, each with a slot of its own, so that nothing but the tables themselves can tell them apart.
#[test]
fn of_two_writers_the_newer_wins() -> Result<()> {
    let mut bucket = Bucket::new()?;
    let url = bucket.postgres.url("postgres");
    bucket.daemon.run()?;
    bucket.catch_up()?;
    // Every table is open here before the other one comes.
    load(84, 60).run(&url)?;
    bucket.catch_up()?;
    let running = load(83, 20_000).start(&url)?;
    bucket.client()?.execute("SELECT pg_copy_logical_replication_slot('tidewire_shop', 'other')")?;
    let mut newer = Daemon::new(BINARY, &config(&bucket.postgres, &bucket.store, "slot = \"other\"\n"))?;
    newer.set_patience(Duration::from_secs(180));
    newer.run()?;
    for line in ["halted", "no source can run"] {
        bucket.daemon.allow_log(line);
    }
    let status = bucket.daemon.wait_exit()?;
    ensure!(status.code() == Some(1), "the fenced one ends, with exit code 1 and not {status}");
    let log = bucket.daemon.log()?;
    let line = log.lines().find(|line| line.contains("sink halted")).context("no line says why")?;
    let line: serde_json::Value = serde_json::from_str(line)?;
    ensure!(line["code"] == "fenced", "{line}");
    ensure!(line["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "a remedy is named: {line}");
    std::mem::swap(&mut bucket.daemon, &mut newer);
    running.stop()?;
    bucket.catch_up()?;
    bucket.check(&[Reader::Deltalake, Reader::Polars])?;
    ensure!(bucket.daemon.terminate()? == 0);
    Ok(())
}
