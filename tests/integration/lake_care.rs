//! What the operator of a lake relies on: a reader who keeps to a barrier sees each of the source's transactions whole in
//! all tables, and deleted rows can be proved to be gone. SK-3C, SK-33, delta-upserts 3.13, 5.6.

use crate::rig::{BINARY, POSTGRES, config, holds, lsn};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, wait};

const TOTAL: i64 = 2_000;

struct Bank {
    // Fields are dropped in this order: the daemon first.
    daemon: Daemon,
    postgres: Postgres,
    lake: TempDir,
}

impl Bank {
    /// Two tables of ten accounts each.
    fn new() -> Result<Bank> {
        let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
        let client = postgres.client()?;
        for table in ["a", "b"] {
            client.execute(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, balance bigint NOT NULL);
                 INSERT INTO {table} SELECT n, 100 FROM generate_series(1, 10) n"
            ))?;
        }
        let lake = tempfile::tempdir()?;
        let more = "barriers = true\nbarrier_interval = \"1s\"\n";
        let daemon = Daemon::new(BINARY, &config(&postgres.url("postgres"), None, Some(lake.path()), more))?;
        Ok(Bank { daemon, postgres, lake })
    }

    fn transfer(&self, client: &Client, from: u64, count: u64) -> Result<()> {
        for n in from..from + count {
            let (debtor, creditor, amount) = (n % 10 + 1, n * 7 % 10 + 1, n % 13);
            client.execute(&format!(
                "BEGIN; UPDATE a SET balance = balance - {amount} WHERE id = {debtor};
                 UPDATE b SET balance = balance + {amount} WHERE id = {creditor}; COMMIT"
            ))?;
        }
        Ok(())
    }

    fn catch_up(&mut self) -> Result<()> {
        let target = lsn(&self.postgres.client()?.value("SELECT pg_current_wal_lsn()")?)?;
        self.daemon.wait_for("the lake to hold what is committed", |status| holds(status, target))?;
        Ok(())
    }

    fn table(&self, table: &str) -> std::path::PathBuf {
        self.lake.path().join("shop/public").join(table)
    }

    /// The tables' versions by position.
    fn barriers(&self) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        let path = self.lake.path().join("_tidewire/barriers/shop");
        let columns = ["position", "table", "version"].map(str::to_owned);
        let mut barriers: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for row in readers::read(Reader::Deltalake, &path)?.select(&columns)?.rows {
            let text = |at: usize| row[at].as_str().map(str::to_owned).context("a text");
            let twice = barriers.entry(text(0)?).or_default().insert(text(1)?, number(&row[2])? as u64);
            ensure!(twice.is_none(), "the barrier at {} comes twice", text(0)?);
        }
        Ok(barriers)
    }
}

/// A number, also where it is written as text to be exact.
fn number(value: &Value) -> Result<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).with_context(|| format!("{value} is a whole number"))
}

fn sum(path: &Path, version: u64) -> Result<(usize, i64)> {
    let table = readers::read_version(Reader::Deltalake, path, Some(version))?.select(&["balance".to_owned()])?;
    let balances = table.rows.iter().map(|row| number(&row[0])).collect::<Result<Vec<i64>>>()?;
    Ok((balances.len(), balances.iter().sum()))
}

#[test]
fn at_a_barrier_no_money_is_lost_or_doubled() -> Result<()> {
    let mut bank = Bank::new()?;
    let client = bank.postgres.client()?;
    bank.daemon.run()?;
    bank.catch_up()?;
    for round in 0..3 {
        bank.transfer(&client, round * 200, 150)?;
        // Killed wherever it is, then in its second commit: as soon as one of the two tables is committed, and when both are.
        bank.daemon.kill9()?;
        bank.daemon.set_failpoint(["delta_table_committed:3", "delta_table_committed:4"].get(round as usize).copied());
        bank.transfer(&client, round * 200 + 150, 50)?;
        bank.daemon.run()?;
        if round < 2 {
            // A commit may take any number of transactions, so they come until it ends.
            let mut next = 1_000;
            wait::until("the daemon to end", wait::PATIENCE, || {
                bank.transfer(&client, next, 2)?;
                next += 2;
                Ok(bank.daemon.has_ended()?.then_some(()))
            })?;
            bank.daemon.wait_exit()?;
        }
    }
    bank.daemon.set_failpoint(None);
    bank.catch_up()?;
    let before = bank.barriers()?.len();
    bank.transfer(&client, 2_000, 20)?;
    bank.daemon.wait_for("another barrier", |_| bank_has_more(&bank.lake, before))?;
    let barriers = bank.barriers()?;
    ensure!(barriers.len() >= 3, "{} barriers", barriers.len());
    // Reading starts a process each time: the newest ones, where the crashes are, will do.
    for (at, tables) in barriers.iter().rev().take(6) {
        let of = |name: &str| tables.get(&format!("public.{name}")).copied().with_context(|| format!("{name} at {at}"));
        let (a, b) = (sum(&bank.table("a"), of("a")?)?, sum(&bank.table("b"), of("b")?)?);
        ensure!((a.0, b.0) == (10, 10), "{a:?} and {b:?} rows at {at}");
        ensure!(a.1 + b.1 == TOTAL, "{a:?} and {b:?} are not {TOTAL} in all at {at}");
    }
    ensure!(bank.daemon.terminate()? == 0);
    Ok(())
}

/// Whether the log of barriers has entries beyond so many barriers and the claims between.
fn bank_has_more(lake: &TempDir, barriers: usize) -> bool {
    let log = lake.path().join("_tidewire/barriers/shop/_delta_log");
    let is_barrier = |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"add\""));
    let entries = std::fs::read_dir(log).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "json") && is_barrier(path)).count() > barriers
}

#[test]
fn a_deleted_row_is_proved_to_be_gone() -> Result<()> {
    let mut bank = Bank::new()?;
    let client = bank.postgres.client()?;
    bank.daemon.run()?;
    bank.catch_up()?;
    client.execute("DELETE FROM a WHERE id = 7; UPDATE a SET balance = 1 WHERE id = 8; DELETE FROM b WHERE id = 1")?;
    bank.catch_up()?;
    let purge = |bank: &Bank, more: &[&str]| bank.daemon.command(&[&["purge", "--sink", "lake"], more].concat());
    said(&purge(&bank, &[])?, 1, "state_locked")?;
    ensure!(bank.daemon.terminate()? == 0);
    said(&purge(&bank, &["--key", "7"])?, 2, "--table")?;
    said(&bank.daemon.command(&["purge", "--sink", "nosuch"])?, 2, "nosuch")?;
    said(&purge(&bank, &["--table", "public.a", "--key", "x"])?, 1, "purge_key")?;
    said(&purge(&bank, &["--table", "public.a", "--key", "7"])?, 3, "--now removes it")?;
    said(&purge(&bank, &["--table", "public.a", "--key", "7", "--now"])?, 0, "no file holds the key")?;
    said(&purge(&bank, &["--table", "public.a", "--key", "8", "--now"])?, 3, "not deleted")?;
    said(&purge(&bank, &["--now"])?, 0, "shop public.b: 1 files with deleted rows rewritten")?;
    // The tables are whole for another reader, and the daemon goes on.
    for (table, rows) in [("a", 9), ("b", 9)] {
        let read = readers::read(Reader::Duckdb, &bank.table(table))?;
        ensure!(read.rows.len() == rows, "{table} has {} rows", read.rows.len());
    }
    bank.daemon.run()?;
    client.execute("UPDATE a SET balance = 2 WHERE id = 9; INSERT INTO a VALUES (7, 7)")?;
    bank.catch_up()?;
    let read = readers::read(Reader::Deltalake, &bank.table("a"))?;
    ensure!(read.rows.len() == 10, "{} rows", read.rows.len());
    ensure!(bank.daemon.terminate()? == 0);
    Ok(())
}

fn said(output: &Output, code: i32, text: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code) && said.contains(text),
        "{:?}, not {code} and `{text}`: {said}",
        output.status
    );
    Ok(())
}
