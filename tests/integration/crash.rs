//! Killed at random moments and at every named place, and failing at each, under load: nothing is lost, nothing is there
//! twice.
//! SK-05, SK-08, SK-32, SK-33, SK-64, PG-18, PG-60, PG-63, PG-64, PG-75.

use crate::rig::{Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{Dice, Running, Workload};
use tidewire_testkit::{Daemon, wait};

/// Kills in one run of the test.
const KILLS: u64 = 50;

/// How long a place may take to be passed: checkpoints come only after many commits.
const PATIENCE: Duration = Duration::from_secs(180);

/// Places that are passed with the lake, in the order of one commit.
pub(crate) const LAKE_PLACES: [&str; 13] = [
    "before_write:2",
    "after_write:2",
    "before_commit:2",
    "delta_store_written:3",
    "delta_store_synced:3",
    "delta_store_linked:3",
    "delta_files_written:2",
    "delta_committed:2",
    "delta_table_committed:2",
    "delta_checkpoint_written",
    "after_commit:2",
    "before_acknowledge:2",
    "after_acknowledge:2",
];

/// Places that are passed with the events, in the order of one transaction.
pub(crate) const EVENTS_PLACES: [&str; 8] = [
    "before_write:2",
    "after_write:2",
    "before_commit:2",
    "kafka_before_commit:2",
    "kafka_after_commit:2",
    "after_commit:2",
    "before_acknowledge:2",
    "after_acknowledge:2",
];

/// Places at which a step of the lake can fail, in the order of one commit.
pub(crate) const LAKE_STEPS: [&str; 12] = [
    "before_write:2",
    "after_write:2",
    "before_commit:2",
    "delta_store_written:3",
    "delta_store_synced:3",
    "delta_store_synced:4",
    "delta_files_written:2",
    "delta_committed:2",
    "delta_table_committed:2",
    "delta_checkpoint_written:1",
    "delta_compaction_copied:1",
    "after_commit:2",
];

/// Places at which a step of the events can fail, in the order of one transaction.
pub(crate) const EVENTS_STEPS: [&str; 6] = [
    "before_write:2",
    "after_write:2",
    "before_commit:2",
    "kafka_before_commit:2",
    "kafka_after_commit:2",
    "after_commit:2",
];

fn load(seed: u64, transactions: u64) -> Workload {
    Workload { seed, transactions, largest: 300, pause: Duration::from_millis(4), ..Workload::default() }
}

/// Lets the daemon live until it has committed something or a seeded moment has passed, then kills it.
pub(crate) fn live_and_die(daemon: &mut Daemon, dice: &mut Dice) -> Result<()> {
    daemon.run()?;
    let moment = Instant::now() + Duration::from_millis(60 + dice.below(700));
    // The moment of the kill is the stimulus itself: it must not follow from anything the daemon does.
    wait::until("the moment of the kill", Duration::from_secs(10), || Ok((Instant::now() >= moment).then_some(())))?;
    daemon.kill9()
}

/// Every sink that is there holds what was committed.
fn check(rig: &Rig, sinks: Sinks, readers: &[Reader], witness: &Witness) -> Result<()> {
    if sinks != Sinks::Events {
        rig.check_lake(readers)?;
    }
    if sinks != Sinks::Lake {
        rig.check_events(Some(witness))?;
    }
    Ok(())
}

fn kill_many_times(sinks: Sinks, seed: u64) -> Result<()> {
    let mut rig = Rig::new(sinks)?;
    let url = rig.postgres.url("postgres");
    rig.daemon.allow_log("slot_active");
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.daemon.kill9()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    let running = load(seed, 4_000).start(&url)?;
    let mut dice = Dice::new(seed);
    for _ in 0..KILLS {
        live_and_die(&mut rig.daemon, &mut dice)?;
    }
    let report = running.stop()?;
    ensure!(report.committed > 200, "the load was real: {report:?}");
    rig.daemon.run()?;
    rig.catch_up()?;
    check(&rig, sinks, &[Reader::Deltalake, Reader::Duckdb], &witness)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn the_lake_survives_fifty_kills() -> Result<()> {
    kill_many_times(Sinks::Lake, 11)
}

#[test]
fn the_events_survive_fifty_kills() -> Result<()> {
    kill_many_times(Sinks::Events, 12)
}

/// A daemon with a source of any kind.
pub(crate) trait Subject {
    /// The daemon.
    fn daemon(&mut self) -> &mut Daemon;

    /// Begins to write to the source.
    fn begin_load(&self, seed: u64) -> Result<Running>;

    /// Waits until the sinks hold what is committed.
    fn must_catch_up(&mut self) -> Result<()>;
}

impl Subject for Rig {
    fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    fn begin_load(&self, seed: u64) -> Result<Running> {
        load(seed, 10_000).start(&self.postgres.url("postgres"))
    }

    fn must_catch_up(&mut self) -> Result<()> {
        self.catch_up()
    }
}

/// Each place ends a daemon, and the next one goes on. It is stopped before and afterwards.
pub(crate) fn end_at_each(subject: &mut impl Subject, places: &[&str], seed: u64) -> Result<()> {
    for (number, place) in places.iter().enumerate() {
        let running = subject.begin_load(seed + number as u64)?;
        subject.daemon().set_failpoint(Some(place));
        subject.daemon().run()?;
        let status = subject.daemon().wait_exit()?;
        running.stop()?;
        ensure!(!status.success(), "{place} was passed and ended the daemon");
        subject.daemon().set_failpoint(None);
        subject.daemon().run()?;
        subject.must_catch_up().with_context(|| format!("after {place}"))?;
        ensure!(subject.daemon().terminate()? == 0, "after {place}");
    }
    Ok(())
}

/// At each place a step fails once, half done, or done and its answer lost. The daemon goes on by itself. It runs before and
/// afterwards.
pub(crate) fn fail_at_each(subject: &mut impl Subject, places: &[&str], seed: u64) -> Result<()> {
    subject.daemon().allow_log("which is armed to fail");
    for (number, place) in places.iter().enumerate() {
        ensure!(subject.daemon().terminate()? == 0, "before {place}");
        let before = failures(subject.daemon())?;
        subject.daemon().set_failpoint(Some(&format!("{place}:error")));
        let running = subject.begin_load(seed + number as u64)?;
        subject.daemon().run()?;
        wait::until(&format!("a failure at {place}"), PATIENCE, || {
            ensure!(!subject.daemon().has_ended()?, "{place} ended the daemon");
            Ok((failures(subject.daemon())? > before).then_some(()))
        })?;
        running.stop()?;
        subject.must_catch_up().with_context(|| format!("after {place}"))?;
    }
    subject.daemon().set_failpoint(None);
    Ok(())
}

fn end_at_every_place(sinks: Sinks, places: &[&str], seed: u64) -> Result<()> {
    let mut rig = Rig::new(sinks)?;
    rig.daemon.allow_log("slot_active");
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let witness = Witness::start(rig.client()?, "witness")?;
    end_at_each(&mut rig, places, seed)?;
    check(&rig, sinks, &[Reader::Deltalake], &witness)
}

#[test]
fn the_lake_survives_an_end_at_every_place() -> Result<()> {
    end_at_every_place(Sinks::Lake, &LAKE_PLACES, 20)
}

#[test]
fn the_events_survive_an_end_at_every_place() -> Result<()> {
    end_at_every_place(Sinks::Events, &EVENTS_PLACES, 40)
}

/// How often a step failed at its armed place, as the log tells.
pub(crate) fn failures(daemon: &Daemon) -> Result<usize> {
    Ok(daemon.log()?.matches("which is armed to fail").count())
}

fn fail_at_every_place(sinks: Sinks, places: &[&str], seed: u64) -> Result<()> {
    let mut rig = Rig::new(sinks)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    fail_at_each(&mut rig, places, seed)?;
    check(&rig, sinks, &[Reader::Deltalake], &witness)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn the_lake_survives_a_failure_at_every_place() -> Result<()> {
    fail_at_every_place(Sinks::Lake, &LAKE_STEPS, 80)
}

#[test]
fn the_events_survive_a_failure_at_every_place() -> Result<()> {
    fail_at_every_place(Sinks::Events, &EVENTS_STEPS, 100)
}

/// A slot that was made and that nobody has read by, since the daemon ended or its answer was lost: all rows come once, and
/// no slot is left over (PG-75).
#[test]
fn pg_75_a_slot_that_was_just_made_is_taken_up() -> Result<()> {
    for act in ["", ":error"] {
        let mut rig = Rig::new(Sinks::Lake)?;
        // The load empties tables while they are read for the first time, which begins the reading anew.
        for line in ["source retried", "slot_active"] {
            rig.daemon.allow_log(line);
        }
        let running = rig.begin_load(120)?;
        rig.daemon.set_failpoint(Some(&format!("slot_created:1{act}")));
        rig.daemon.run()?;
        if act.is_empty() {
            ensure!(!rig.daemon.wait_exit()?.success(), "it was passed and ended the daemon");
            rig.daemon.set_failpoint(None);
            rig.daemon.run()?;
        }
        rig.catch_up().with_context(|| format!("after slot_created{act}"))?;
        running.stop()?;
        rig.catch_up()?;
        rig.check_lake(&[Reader::Deltalake])?;
        let slots = rig.client()?.value("SELECT count(*) FROM pg_replication_slots")?;
        ensure!(slots == "1", "{slots} slots are there");
        ensure!(act.is_empty() || failures(&rig.daemon)? == 1, "the step failed");
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}

#[test]
fn servers_may_be_killed_too() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    let url = rig.postgres.url("postgres");
    // What is expected of a daemon whose servers die under it is that it says so.
    for line in ["source retried", "sink retried", "commit", "transaction"] {
        rig.daemon.allow_log(line);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let mut witness = Witness::start(rig.client()?, "witness")?;
    for round in 0..3 {
        load(60 + round, 150).run(&url)?;
        rig.postgres.kill()?;
        rig.postgres.restart()?;
        load(70 + round, 150).run(&url)?;
        if let Some(kafka) = rig.kafka.as_mut() {
            kafka.kill()?;
            kafka.restart()?;
        }
    }
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    witness.reconnect(rig.client()?);
    rig.check_events(Some(&witness))
}
