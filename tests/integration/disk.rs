//! A disk that is full, that takes half of a write, that cannot sync, and a wall clock that jumps, all under load: the
//! daemon says so, goes on or ends as the fault demands, and no change is lost or there twice. SK-38, SK-52, SK-53, SK-67.

use crate::rig::{self, Rig, Sinks};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tidewire_testkit::oracle;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::shim::Disk;
use tidewire_testkit::workload::{Running, Workload};
use tidewire_testkit::{Daemon, Shim, process, wait};

const DAY: i64 = 86_400;

/// A rig whose daemon runs with the faults' library, and has caught up.
fn rig() -> Result<(Rig, Shim)> {
    let mut rig = Rig::new(Sinks::Lake)?;
    rig.client()?.execute("CREATE TABLE shape (id int PRIMARY KEY)")?;
    let shim = Shim::new(rig.daemon.folder())?;
    for (key, value) in shim.environment() {
        rig.daemon.set_env(&key, &value);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    Ok((rig, shim))
}

/// Transactions that come until they are stopped.
fn load(rig: &Rig, seed: u64) -> Result<Running> {
    // Little enough to be caught up with on a machine that does other things too.
    let pause = Duration::from_millis(12);
    Workload { seed, transactions: 20_000, largest: 300, pause, ..Workload::default() }
        .start(&rig.postgres.url("postgres"))
}

fn retries_for(view: &Value, code: &str) -> bool {
    view["state"] == "retrying" && view["reason"]["code"] == code
}

fn lake(status: &Value) -> &Value {
    &status["sources"]["shop"]["sinks"]["lake"]
}

/// The status once the lake's sink has been opened once more, in vain.
fn retried(rig: &mut Rig, before: &Value) -> Result<Value> {
    let retries = |status: &Value| lake(status)["retries"].as_u64();
    rig.daemon.wait_for("the sink to be opened again", |status| retries(status) > retries(before))
}

/// Waits until faults have struck a number of times more.
fn struck(shim: &Shim, times: u64) -> Result<()> {
    let before = shim.injected()?;
    wait::until("faults to strike", wait::PATIENCE, || Ok((shim.injected()? >= before + times).then_some(())))
}

/// The pause that a line of the log tells, in milliseconds.
fn pause_millis(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?["retry_in_ms"].as_u64()
}

/// Names below a folder that a writer leaves behind when it gives up.
fn temporary_files(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            found.extend(temporary_files(&entry.path())?);
        } else if name.ends_with(".tmp") {
            found.push(name);
        }
    }
    Ok(found)
}

/// The faults are over: the daemon catches up and the lake is the source's equal.
fn is_whole(rig: &mut Rig) -> Result<()> {
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake, Reader::Duckdb])?;
    oracle::check_mirror(&rig.client()?, "public", "shape", &rig.table("shape"), &[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_full_state_directory_is_waited_for_sk_52() -> Result<()> {
    let (mut rig, shim) = rig()?;
    let (state, client) = (rig.daemon.state_folder(), rig.client()?);
    for line in ["intent list not written", "put off", "source retried", "sink retried", "slot_active"] {
        rig.daemon.allow_log(line);
    }
    let running = load(&rig, 1)?;
    shim.disk(Disk::FULL, &[&state])?;
    struck(&shim, 1)?;
    running.stop()?;
    // A shape is recorded before its rows are shipped.
    client.execute("ALTER TABLE shape ADD a int; INSERT INTO shape VALUES (1, 1)")?;
    let refused = |status: &Value| retries_for(&status["sources"]["shop"], "state_unusable");
    let first = rig.daemon.wait_for("the full disk to be told", refused)?;
    client.execute("INSERT INTO shape VALUES (2, 2)")?;
    let retries = |status: &Value| status["sources"]["shop"]["retries"].as_u64().unwrap_or_default();
    rig.daemon.wait_for("it to be tried again", |status| retries(status) >= retries(&first) + 3)?;
    let log = rig.daemon.log()?;
    let pauses = log.lines().filter(|line| line.contains("source retried")).filter_map(pause_millis);
    ensure!(pauses.max() >= Some(700), "the pauses grow, as the source has come no further: {log}");
    shim.heal()?;
    is_whole(&mut rig)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    // Nothing can be recorded at a start, either.
    shim.disk(Disk::FULL, &[&state])?;
    rig.daemon.kill9()?;
    for line in ["state_unusable", "see to it that the state directory has free space"] {
        rig.daemon.allow_log(line);
    }
    let running = load(&rig, 2)?;
    rig.daemon.run()?;
    let status = rig.daemon.wait_exit()?;
    ensure!(status.code() == Some(1), "a restart may help: {status}");
    shim.heal()?;
    rig.daemon.run()?;
    running.stop()?;
    is_whole(&mut rig)
}

#[test]
fn a_full_lake_is_waited_for_sk_38() -> Result<()> {
    let (mut rig, shim) = rig()?;
    // What tidies up is put off as well.
    for line in ["sink retried", "put off"] {
        rig.daemon.allow_log(line);
    }
    for (round, fault) in
        (0..).zip([Disk::full_after(200_000), Disk::FULL, Disk::full_after(5_000).and(Disk::SHORT_WRITES)])
    {
        let running = load(&rig, 10 + round)?;
        shim.disk(fault, &[rig.lake.path()])?;
        let first =
            rig.daemon.wait_for("the full disk to be told", |status| retries_for(lake(status), "storage_full"))?;
        // Where the sink is it reads in the lake when it is opened again: what failed may have been behind the commit.
        let second = retried(&mut rig, &first)?;
        let third = retried(&mut rig, &second)?;
        ensure!(lake(&third)["position"] == lake(&second)["position"], "nothing counts that was not written: {third}");
        shim.heal()?;
        running.stop()?;
        rig.catch_up()?;
        rig.check_lake(&[Reader::Deltalake])?;
    }
    // Now and then in the midst of anything. After a commit the pauses are short again.
    let running = load(&rig, 20)?;
    for seed in 0..5 {
        shim.disk(Disk::FULL.one_in(30, seed), &[rig.lake.path()])?;
        struck(&shim, 3)?;
        shim.heal()?;
        let commits = lake(&rig.daemon.status()?)["commits"].as_u64();
        rig.daemon.wait_for("the sink to commit", |status| lake(status)["commits"].as_u64() > commits)?;
    }
    running.stop()?;
    is_whole(&mut rig)?;
    // Once nobody writes any more.
    let left = temporary_files(rig.lake.path())?;
    ensure!(left.is_empty(), "nothing is left behind: {left:?}");
    Ok(())
}

#[test]
fn a_sync_that_failed_is_never_taken_for_one_that_did_not_sk_53() -> Result<()> {
    let (mut rig, shim) = rig()?;
    for line in ["storage_fsync", "no_sink_left", "nothing_left", "slot_active", "put off"] {
        rig.daemon.allow_log(line);
    }
    let running = load(&rig, 30)?;
    for (seed, every) in [(1, 1), (2, 7), (3, 20), (4, 50), (5, 50)] {
        shim.disk(Disk::SYNC_FAILS.one_in(every, seed), &[rig.lake.path()])?;
        let status = rig.daemon.wait_exit().context("the daemon ends when a sync has failed")?;
        ensure!(status.code() == Some(1), "a restart may help: {status}");
        ensure!(shim.resynced()? == 0, "no file is synced again after a failure");
        shim.heal()?;
        rig.daemon.run()?;
        rig.daemon.wait_for("the sink to commit", |status| lake(status)["commits"].as_u64() > Some(0))?;
    }
    running.stop()?;
    is_whole(&mut rig)
}

/// An index that lost something would find a row where it is not: like the lake it is left alone until a new start.
#[test]
fn a_state_directory_that_cannot_sync_costs_no_change_sk_53() -> Result<()> {
    let (mut rig, shim) = rig()?;
    let (state, client) = (rig.daemon.state_folder(), rig.client()?);
    for line in ["storage_fsync", "no_sink_left", "nothing_left", "state_unusable", "put off", "slot_active"] {
        rig.daemon.allow_log(line);
    }
    let running = load(&rig, 40)?;
    for (column, fault) in [("a", Disk::SYNC_FAILS), ("b", Disk::SYNC_FAILS.one_in(3, 1))] {
        shim.disk(fault, &[&state])?;
        client.execute(&format!("ALTER TABLE shape ADD {column} int; INSERT INTO shape SELECT count(*) FROM shape"))?;
        struck(&shim, 1)?;
        rig.daemon.kill9()?;
        shim.heal()?;
        rig.daemon.run()?;
        rig.daemon.wait_for("the sink to commit", |status| lake(status)["commits"].as_u64() > Some(0))?;
    }
    running.stop()?;
    is_whole(&mut rig)
}

#[test]
fn short_writes_are_gone_on_with_sk_38() -> Result<()> {
    let (mut rig, shim) = rig()?;
    let state = rig.daemon.state_folder();
    let running = load(&rig, 50)?;
    shim.disk(Disk::SHORT_WRITES, &[rig.lake.path(), &state])?;
    struck(&shim, 500)?;
    rig.daemon.kill9()?;
    rig.daemon.allow_log("slot_active");
    rig.daemon.run()?;
    struck(&shim, 500)?;
    running.stop()?;
    is_whole(&mut rig)
}

#[test]
fn a_clock_that_jumps_stops_nothing_sk_67() -> Result<()> {
    let (mut rig, shim) = rig()?;
    let running = load(&rig, 60)?;
    let mut shown = 0;
    for offset in [DAY, -DAY, 0, -1, 40 * DAY, 0] {
        shim.clock_offset(offset)?;
        let before = lake(&rig.daemon.status()?)["commits"].as_u64().context("a sink counts its commits")?;
        let mut lags = Vec::new();
        let status = rig.daemon.wait_for("the sink to go on committing", |status| {
            lags.extend(
                [&status["sources"]["shop"], lake(status)].map(|view| view["lag_seconds"].as_f64().unwrap_or(-1.0)),
            );
            lake(status)["commits"].as_u64() >= Some(before + 5)
        })?;
        // By a clock that is ahead the newest change is that old; by one that is behind it is new, and never of tomorrow.
        // What the clock said before may be shown a moment longer.
        let most = 60.0 + offset.max(shown).max(0) as f64;
        shown = offset;
        ensure!(lags.iter().all(|lag| (0.0..=most).contains(lag)), "{offset}: {lags:?}");
        for view in [&status["sources"]["shop"], lake(&status)] {
            ensure!(view["state"] == "streaming" && view["retries"] == 0, "{offset}: {status}");
        }
    }
    running.stop()?;
    rig.catch_up()?;
    rig.daemon.wait_for("no lag", |status| lake(status)["lag_seconds"] == 0.0)?;
    let lag = rig.daemon.metric("tidewire_source_lag_seconds", &["shop"])?;
    ensure!(lag == Some(0.0), "{lag:?}");
    is_whole(&mut rig)
}

/// A daemon that starts by a wrong clock takes nothing of the lake for old, and nothing that it left for new.
#[test]
fn a_start_by_a_wrong_clock_is_a_start_sk_67() -> Result<()> {
    let (mut rig, shim) = rig()?;
    rig.daemon.allow_log("slot_active");
    let running = load(&rig, 70)?;
    for offset in [DAY, -DAY, 40 * DAY, -40 * DAY, 0] {
        rig.daemon.kill9()?;
        shim.clock_offset(offset)?;
        rig.daemon.run()?;
        rig.daemon.wait_for("the sink to commit", |status| lake(status)["commits"].as_u64() >= Some(3))?;
    }
    running.stop()?;
    is_whole(&mut rig)
}

/// A log that nobody can write is no reason to end: a full disk, a journal that went away.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() -> Result<()> {
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/postgres", process::free_port()?);
    let daemon = Daemon::new(rig::BINARY, &rig::config(&nowhere, None, None, "[sinks.measure.null]\n"))?;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").context("open what is always full")?;
    let mut running = Command::new(rig::BINARY)
        .args(["run", "--config"])
        .arg(daemon.config_path())
        .stderr(full)
        .spawn()
        .context("start the daemon")?;
    // Each of them is a line of the log.
    let tried = wait::until("the source to be tried again", wait::PATIENCE, || {
        if let Some(ended) = running.try_wait()? {
            bail!("the daemon ended with {ended}");
        }
        Ok(daemon.metric("tidewire_retries_total", &["shop"]).ok().flatten().filter(|times| *times >= 3.0))
    });
    running.kill()?;
    running.wait()?;
    tried.map(drop)
}
