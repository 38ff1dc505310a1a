//! A mirror in a bucket of each kind: killed under load it ends equal to its source, and of two writers only one wins.
//! SK-33, SK-36, SK-37, SK-60.

use crate::partition::{MOVES, cities};
use crate::rig::{self, BINARY, POSTGRES};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tidewire_testkit::gcs::Trouble;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{Location, Reader};
use tidewire_testkit::workload::{Dice, TABLES, Workload};
use tidewire_testkit::{Azurite, Daemon, Gcs, Postgres, PostgresOptions, S3, azurite, gcs, oracle, s3, wait};

/// Kills in one run of the test: the local lake has its fifty, this is about the store.
const KILLS: u64 = 8;

/// A store of objects, each with a bucket of its own.
enum Store {
    S3(S3),
    Azure(Azurite),
    Google(Gcs),
}

impl Store {
    fn s3() -> Result<Store> {
        S3::start().map(Store::S3)
    }

    fn azure() -> Result<Store> {
        Azurite::start().map(Store::Azure)
    }

    fn google() -> Result<Store> {
        Gcs::start().map(Store::Google)
    }

    /// The bucket's address.
    fn address(&self) -> String {
        match self {
            Store::S3(_) => format!("s3://{}", s3::BUCKET),
            Store::Azure(_) => format!("az://{}", azurite::CONTAINER),
            Store::Google(_) => format!("gs://{}", gcs::BUCKET),
        }
    }

    fn options(&self) -> Vec<(String, String)> {
        match self {
            Store::S3(store) => store.options(),
            Store::Azure(store) => store.options(),
            Store::Google(store) => store.options(),
        }
    }
}

struct Bucket {
    // Dropped in this order: the daemon first.
    daemon: Daemon,
    postgres: Postgres,
    store: Store,
}

impl Bucket {
    fn new(store: Store) -> Result<Bucket> {
        let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
        Workload::create_tables(&postgres.client()?)?;
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
        let address = format!("{}/mirrors/shop/public/{table}", self.store.address());
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
fn config(postgres: &Postgres, store: &Store, more: &str) -> String {
    let location = format!("{}/mirrors", store.address());
    config_at(postgres, &location, &store.options(), more)
}

fn config_at(postgres: &Postgres, location: &str, options: &[(String, String)], more: &str) -> String {
    let mut text = rig::config(&postgres.url("postgres"), None, None, more);
    text.push_str(&format!(
        "\n[sinks.lake.delta]\nlocation = \"{location}\"\ncommit_interval = \"200ms\"\n[sinks.lake.delta.storage]\n"
    ));
    for (key, value) in options {
        text.push_str(&format!("{key} = '{value}'\n"));
    }
    text
}

fn load(seed: u64, transactions: u64) -> Workload {
    Workload { seed, transactions, largest: 300, pause: Duration::from_millis(4), ..Workload::default() }
}

#[test]
fn a_mirror_in_a_bucket_survives_kills() -> Result<()> {
    survives_kills(Store::s3()?)
}

#[test]
fn a_mirror_in_azure_survives_kills() -> Result<()> {
    survives_kills(Store::azure()?)
}

#[test]
fn a_mirror_in_google_s_store_survives_kills() -> Result<()> {
    survives_kills(Store::google()?)
}

fn survives_kills(store: Store) -> Result<()> {
    let mut bucket = Bucket::new(store)?;
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

/// Names of objects are encoded in requests, in addresses and in the log.
#[test]
fn partitions_of_any_text_lie_in_every_bucket() -> Result<()> {
    for store in [Store::s3()?, Store::azure()?, Store::google()?] {
        let address = store.address();
        let mut bucket = Bucket::new(store)?;
        let by = "\n[sinks.lake.delta.partition_by]\n\"public.cities\" = [\"city\"]\n";
        bucket.daemon.write_config(&(config(&bucket.postgres, &bucket.store, "") + by))?;
        let client = bucket.client()?;
        client.execute(&cities())?;
        bucket.daemon.run()?;
        bucket.catch_up()?;
        for change in MOVES {
            client.execute(change)?;
            bucket.catch_up()?;
        }
        let readers = [Reader::Deltalake, Reader::Polars];
        oracle::check_mirror(&client, "public", "cities", bucket.table("cities"), &readers).context(address)?;
        ensure!(bucket.daemon.terminate()? == 0);
    }
    Ok(())
}

#[test]
fn a_bucket_whose_server_dies_is_waited_for() -> Result<()> {
    let mut bucket = Bucket::new(Store::s3()?)?;
    let url = bucket.postgres.url("postgres");
    bucket.daemon.allow_log("sink retried");
    bucket.daemon.run()?;
    bucket.catch_up()?;
    let running = load(82, 400).start(&url)?;
    if let Store::S3(store) = &mut bucket.store {
        store.restart()?;
    }
    running.join()?;
    bucket.catch_up()?;
    bucket.check(&[Reader::Deltalake])?;
    ensure!(bucket.daemon.terminate()? == 0);
    Ok(())
}

/// Requests that are refused, denied, late, done without an answer, or answered by half, and kills all the while: an entry that
/// was written, and not answered, is known again.
#[test]
fn a_store_in_trouble_loses_and_doubles_nothing_sk_31_sk_37() -> Result<()> {
    let store = Gcs::start()?;
    let mut bucket = Bucket::new(Store::Google(store))?;
    let url = bucket.postgres.url("postgres");
    for line in ["slot_active", "sink retried", "source retried", "put off", "intent list", "not removed"] {
        bucket.daemon.allow_log(line);
    }
    let trouble = |bucket: &Bucket, trouble| {
        if let Store::Google(store) = &bucket.store {
            store.trouble(trouble);
            return store.troubled();
        }
        0
    };
    bucket.daemon.run()?;
    bucket.catch_up()?;
    let running = load(83, 20_000).start(&url)?;
    let mut dice = Dice::new(83);
    for seed in 0..6 {
        let before = trouble(&bucket, Trouble { seed, refused: 10, denied: 400, lost: 12, halved: 20, late: 15 });
        let wanted = before + 40 + dice.below(60);
        wait::until("requests to go wrong", Duration::from_secs(120), || {
            let Store::Google(store) = &bucket.store else { return Ok(Some(())) };
            Ok((store.troubled() >= wanted).then_some(()))
        })?;
        bucket.daemon.kill9()?;
        bucket.daemon.run()?;
    }
    let report = running.stop()?;
    ensure!(report.committed > 200, "the load was real: {report:?}");
    ensure!(trouble(&bucket, Trouble::default()) > 240, "the store was in trouble");
    bucket.catch_up()?;
    bucket.check(&[Reader::Deltalake, Reader::Polars])?;
    ensure!(bucket.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn of_two_writers_the_newer_wins() -> Result<()> {
    newer_wins(Store::s3()?)
}

#[test]
fn of_two_writers_in_azure_the_newer_wins() -> Result<()> {
    newer_wins(Store::azure()?)
}

#[test]
fn of_two_writers_in_google_s_store_the_newer_wins() -> Result<()> {
    newer_wins(Store::google()?)
}

/// Two daemons, each with a slot of its own, so that nothing but the tables themselves can tell them apart.
fn newer_wins(store: Store) -> Result<()> {
    let mut bucket = Bucket::new(store)?;
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

/// What an operator got wrong is named as such by every store.
#[test]
fn a_wrong_login_and_a_missing_bucket_are_told_by_check() -> Result<()> {
    let azure = Store::azure()?;
    let (s3, google) = (Store::s3()?, Store::google()?);
    let changed = |store: &Store, key: &str, value: &str| {
        let pick = |(k, v): (String, String)| if k == key { (k, value.to_owned()) } else { (k, v) };
        store.options().into_iter().map(pick).collect::<Vec<_>>()
    };
    let bucket = Bucket::new(azure)?;
    let azure = &bucket.store;
    for (location, options, code) in [
        ("az://lake/x", azure.options(), None),
        ("az://lake/x", changed(azure, "azure_storage_account_key", "bm90IHRoZSBrZXk="), Some("storage_not_writable")),
        ("az://nolake/x", azure.options(), Some("storage_missing")),
        ("gs://lake/x", google.options(), None),
        ("gs://nolake/x", google.options(), Some("storage_missing")),
        ("s3://lake/x", changed(&s3, "aws_secret_access_key", "wrong"), Some("storage_not_writable")),
    ] {
        bucket.daemon.write_config(&config_at(&bucket.postgres, location, &options, ""))?;
        let output = bucket.daemon.check()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        match code {
            None => ensure!(text.contains("sink lake: ok"), "{location} is in order: {text}"),
            Some(code) => ensure!(!output.status.success() && text.contains(code), "{location} is {code}: {text}"),
        }
    }
    Ok(())
}
