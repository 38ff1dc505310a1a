//! Three brokers of which any may go: leaders and the transaction coordinator change in the midst of commits, and too few
//! copies are in sync. Each change comes exactly once, and nothing is acknowledged that two brokers do not hold.
//! SK-01, SK-0E, PG-62.

use crate::rig::{self, BINARY, POSTGRES, Rig};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};
use tidewire_testkit::kafka::{Cluster, Isolation};
use tidewire_testkit::oracle::{self, Witness};
use tidewire_testkit::workload::{Dice, Running, TABLES, Workload};
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, wait};

/// A table whose topic has many partitions, and the rows of a transaction of it.
const WIDE: &str = "wide";
const PARTITIONS: i32 = 12;
const ROWS: u64 = 10_000;
/// Three brokers and all else on two cores.
const PATIENCE: Duration = Duration::from_secs(180);

struct Bench {
    // Dropped in this order: the daemon first.
    rig: Rig,
    cluster: Cluster,
    witness: Witness,
    rows: u64,
}

impl Bench {
    /// A daemon that has caught up, with further settings of its sink.
    fn new(more: &str) -> Result<Bench> {
        let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
        let client = postgres.client()?;
        Workload::create_tables(&client)?;
        client.execute(&format!("CREATE TABLE {WIDE} (id int PRIMARY KEY, v text)"))?;
        let cluster = Cluster::start()?;
        cluster.create_topic(&topic(WIDE), PARTITIONS, &[])?;
        let brokers: Vec<String> = cluster.brokers().iter().map(|address| format!("{address:?}")).collect();
        let sink = format!("[sinks.events.kafka]\nbrokers = [{}]\n{more}", brokers.join(", "));
        let mut daemon = Daemon::new(BINARY, &rig::config(&postgres.url("postgres"), None, None, &sink))?;
        // What is expected of a daemon whose brokers die under it is that it says so.
        for line in ["sink retried", "sink_left_behind"] {
            daemon.allow_log(line);
        }
        daemon.set_patience(PATIENCE);
        let lake = tempfile::tempdir().context("make a folder that stays empty")?;
        let mut rig = Rig { daemon, kafka: None, postgres, lake };
        rig.daemon.run()?;
        rig.catch_up()?;
        let witness = Witness::start(rig.client()?, "witness")?;
        Ok(Bench { rig, cluster, witness, rows: 0 })
    }

    fn load(&self, seed: u64) -> Result<Running> {
        let load = Workload {
            seed,
            transactions: 100_000,
            largest: 100,
            pause: Duration::from_millis(20),
            ..Workload::default()
        };
        load.start(&self.rig.postgres.url("postgres"))
    }

    /// Commits a transaction over all partitions and waits until the daemon has read of it, and a seeded moment more.
    /// Whether the sink is still at work on it.
    fn be_amid_a_transaction(&mut self, dice: &mut Dice) -> Result<bool> {
        let client = self.rig.client()?;
        let (before, first, last) = (self.rows, self.rows + 1, self.rows + ROWS);
        self.rows = last;
        client.execute(&format!(
            "INSERT INTO {WIDE} SELECT i, repeat('w', 100) FROM generate_series({first}, {last}) i"
        ))?;
        let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
        let inserts = |status: &Value| status["sources"]["shop"]["tables"]["public.wide"]["inserts"].as_u64();
        self.rig.daemon.wait_for("a row of it", |status| inserts(status).is_some_and(|count| count > before))?;
        // The moment is the stimulus itself: it must not follow from anything the daemon does.
        let moment = Instant::now() + Duration::from_millis(dice.below(300));
        wait::until("the moment", PATIENCE, || Ok((Instant::now() >= moment).then_some(())))?;
        Ok(!rig::holds(&self.rig.daemon.status()?, target))
    }

    /// The node that leads a partition, as soon as one does.
    fn leader(&self, (topic, partition): (&str, i32)) -> Result<i32> {
        wait::until("a leader", PATIENCE, || Ok(self.cluster.leader(topic, partition).ok()))
    }

    fn wait_for_another(&self, led: (&str, i32), before: i32) -> Result<()> {
        wait::until("another leader", PATIENCE, || {
            Ok(self.cluster.leader(led.0, led.1).is_ok_and(|node| node != before).then_some(()))
        })
    }

    fn confirmed(&self) -> Result<u64> {
        let slot = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'";
        rig::lsn(&self.rig.client()?.value(slot)?)
    }

    /// Every change came exactly once, in each partition by key in the order of the source, and gives the source's tables.
    fn check(&mut self) -> Result<()> {
        self.rig.catch_up()?;
        let client = self.rig.client()?;
        for table in TABLES.into_iter().chain([WIDE]) {
            let records = self.cluster.consume(&topic(table), Isolation::ReadCommitted)?;
            let fold = oracle::check_topic(&client, "public", table, &records)?;
            self.witness.must_equal(&format!("public.{table}"), fold.changes(), true)?;
        }
        ensure!(self.rig.daemon.terminate()? == 0);
        Ok(())
    }
}

fn topic(table: &str) -> String {
    format!("shop.public.{table}")
}

/// One after the other goes and comes back under load; the daemon is told nothing.
#[test]
fn sk_01_every_broker_may_be_killed_in_turn() -> Result<()> {
    let mut bench = Bench::new("")?;
    let running = bench.load(81)?;
    for node in bench.cluster.nodes().into_iter().cycle().take(6) {
        bench.cluster.kill(node)?;
        bench.cluster.restart(node)?;
    }
    let report = running.stop()?;
    ensure!(report.committed > 200, "the load was real: {report:?}");
    bench.check()
}

/// Who leads what a commit needs: records, the decision, the progress.
const LED: [(&str, i32); 4] =
    [("shop.public.wide", 5), ("__transaction_state", 0), ("tidewire-progress", 0), ("shop.public.work_items", 0)];

fn lose_leaders(signal: Signal, seed: u64) -> Result<()> {
    let mut bench = Bench::new("")?;
    let running = bench.load(seed)?;
    let mut dice = Dice::new(seed);
    let mut amid = 0;
    // Of a partition of the wide topic and of the coordinator twice, at other moments.
    for led in LED.into_iter().chain(LED.into_iter().take(2)) {
        let leader = bench.leader(led)?;
        amid += usize::from(bench.be_amid_a_transaction(&mut dice)?);
        if signal == Signal::KILL {
            bench.cluster.kill(leader)?;
            bench.wait_for_another(led, leader)?;
            bench.cluster.restart(leader)?;
        } else {
            bench.cluster.signal(leader, signal)?;
            bench.wait_for_another(led, leader)?;
            // It wakes up in the belief that it leads.
            bench.cluster.signal(leader, Signal::CONT)?;
        }
    }
    let report = running.stop()?;
    ensure!(report.committed > 200, "the load was real: {report:?}");
    ensure!(amid > 0, "none of the moments was amid a transaction");
    bench.check()
}

#[test]
fn sk_01_leaders_and_the_coordinator_die_amid_commits() -> Result<()> {
    lose_leaders(Signal::KILL, 82)
}

#[test]
fn sk_0e_leaders_and_the_coordinator_freeze_amid_commits() -> Result<()> {
    lose_leaders(Signal::STOP, 83)
}

/// Without enough copies in sync nothing is committed, and so nothing acknowledged to the source (PG-62); it goes on by itself.
/// First the majority is gone with all that decides; then one topic alone wants more copies than there are.
#[test]
fn sk_0e_what_too_few_brokers_hold_is_not_acknowledged() -> Result<()> {
    let mut bench = Bench::new("transaction_timeout = \"10s\"\n")?;
    let strict = topic("work_items");
    let url = bench.rig.postgres.url("postgres");
    let load = |seed| Workload { seed, transactions: 100, largest: 100, ..Workload::default() }.run(&url);
    for (seed, gone) in [(84, &[1, 2][..]), (86, &[3])] {
        // All topics are there, so that it is a commit that fails.
        load(seed)?;
        bench.rig.catch_up()?;
        if gone.len() == 1 {
            bench.cluster.alter_topic(&strict, &[("min.insync.replicas", "3")])?;
        }
        gone.iter().try_for_each(|node| bench.cluster.kill(*node))?;
        // A commit that was under way may still be answered, but for nothing that comes from here on.
        let client = bench.rig.client()?;
        let last = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
        let before = bench.rig.daemon.log()?.matches("sink retried").count();
        load(seed + 1)?;
        wait::until("a commit to have failed", PATIENCE, || {
            let confirmed = bench.confirmed()?;
            ensure!(confirmed <= last, "{gone:?}: acknowledged {confirmed}, and {last} is the last that can be held");
            Ok((bench.rig.daemon.log()?.matches("sink retried").count() > before).then_some(()))
        })?;
        gone.iter().try_for_each(|node| bench.cluster.restart(*node))?;
    }
    bench.check()
}
