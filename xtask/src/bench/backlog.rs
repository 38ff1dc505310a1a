//! A backlog, written before anybody reads it, drained by `pg_recvlogical` to /dev/null (the floor: what the server
//! gives) and by the daemon to each sink. Every contestant has a slot of its own, so all read the same log. A daemon has
//! run before and shipped some rows: what is measured is a restart, not the making of topics and tables.

use super::sample::{self, GLANCE, Sample};
use super::table::{Goal, Row};
use super::{PUBLICATION, create_rows, insert_rows, postgres, program, source};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Postgres, process};

/// Where a backlog may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// Nowhere.
    Null,
    /// A topic, exactly once.
    Kafka,
    /// A mirror table.
    Delta,
}

impl Contestant {
    pub(super) fn name(self) -> &'static str {
        match self {
            Contestant::Null => "null",
            Contestant::Kafka => "kafka",
            Contestant::Delta => "delta",
        }
    }

    /// Most of the floor's wall time that it may take.
    fn ratio_max(self) -> f64 {
        match self {
            Contestant::Null => 1.1,
            Contestant::Kafka => 1.3,
            Contestant::Delta => 1.6,
        }
    }
}

pub(super) const CPU_MAX: Duration = Duration::from_micros(6);
pub(super) const PEAK_MAX_MIB: u64 = 150;
pub(super) const FIRST_MAX: Duration = Duration::from_secs(1);
/// Rows that a daemon ships before the backlog is written.
const PRIMING: u64 = 20_000;
pub(super) const TRANSACTION: u64 = 1_000;
const FLOOR_LIMIT: Duration = Duration::from_secs(300);
/// The floor is measured before and after the contestants; its mean is what they are compared with.
const FLOORS: [&str; 2] = ["floor_before", "floor_after"];

/// Inserts in transactions of 1,000, then updates of every fifth row, too.
pub(super) fn drain(binary: &Path, rows: u64, only: &[Contestant]) -> Result<Vec<Row>> {
    let rows = rows.next_multiple_of(5 * TRANSACTION);
    let last = rows / TRANSACTION - 1;
    let updates = rows / 5;
    let write = format!(
        "DO $$ BEGIN
           FOR t IN 0..{last} LOOP {insert}; COMMIT; END LOOP;
           FOR t IN 0..{last_update} LOOP
             UPDATE rows SET state = 'shipped', total = total + 1 WHERE id IN
               (SELECT 5 * g FROM generate_series(t * {TRANSACTION} + 1, (t + 1) * {TRANSACTION}) g);
             COMMIT;
           END LOOP;
         END $$",
        insert = insert_rows(&format!("t * {TRANSACTION} + 1"), &format!("(t + 1) * {TRANSACTION}")),
        last_update = updates / TRANSACTION - 1,
    );
    let work = format!("backlog, {} changes", rows + updates);
    let backlog = Backlog { work, write, changes: rows + updates, has_ratios: true };
    backlog.measure(binary, only)
}

/// One transaction that inserts everything.
pub(super) fn large(binary: &Path, rows: u64, only: &[Contestant]) -> Result<Vec<Row>> {
    let write = insert_rows("1", &rows.to_string());
    let backlog = Backlog { work: format!("one transaction, {rows} rows"), write, changes: rows, has_ratios: false };
    backlog.measure(binary, only)
}

struct Backlog {
    work: String,
    write: String,
    changes: u64,
    /// Whether there are limits for the ratios, and for what a start may take.
    has_ratios: bool,
}

impl Backlog {
    fn measure(&self, binary: &Path, only: &[Contestant]) -> Result<Vec<Row>> {
        let takes_part = |contestant: &&Contestant| only.is_empty() || only.contains(contestant);
        let server = postgres()?;
        let client = server.client()?;
        create_rows(&client)?;
        let mut entrants = Vec::new();
        for contestant in Contestant::value_variants().iter().filter(takes_part) {
            make_slot(&client, contestant.name())?;
            entrants.push(Entrant::new(binary, &source(&server, "never", contestant.name()), *contestant)?);
        }
        client.execute(&insert_rows(&format!("-{PRIMING}"), "-1"))?;
        for entrant in &mut entrants {
            eprintln!("{}: a first run to {}", self.work, entrant.contestant.name());
            entrant.run(PRIMING)?;
        }
        for slot in FLOORS {
            make_slot(&client, slot)?;
        }
        eprintln!("{}: writing", self.work);
        client.execute(&self.write)?;
        // Its end is what pg_recvlogical waits for; nobody else writes.
        let end = client.value("SELECT pg_current_wal_insert_lsn()")?;
        let [before, after] = FLOORS;
        let mut floors = vec![self.floor(&server, before, &end)?];
        let mut samples = Vec::new();
        for entrant in &mut entrants {
            eprintln!("{}: {}", self.work, entrant.contestant.name());
            samples.push((entrant.contestant, entrant.run(self.changes)?));
        }
        floors.push(self.floor(&server, after, &end)?);
        let floor = floors.iter().sum::<Duration>() / 2;
        let mut rows = vec![Row {
            work: self.work.clone(),
            contestant: format!("pg_recvlogical ({})", floors.iter().map(seconds).collect::<Vec<_>>().join(", ")),
            wall: Some(floor),
            rate: Some(self.changes as f64 / floor.as_secs_f64()),
            ratio: Some(1.0),
            ..Row::default()
        }];
        rows.extend(samples.iter().map(|(contestant, sample)| self.row(*contestant, sample, floor)));
        Ok(rows)
    }

    fn floor(&self, server: &Postgres, slot: &str, end: &str) -> Result<Duration> {
        eprintln!("{}: {slot}", self.work);
        let mut command = process::guarded(&program("pg_recvlogical")?);
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-p", &server.port().to_string()]);
        command.args(["--slot", slot, "--start", "--no-loop", "--endpos", end, "-f", "/dev/null"]);
        command.args(["-o", "proto_version=1", "-o", &format!("publication_names={PUBLICATION}")]);
        command.stdin(Stdio::null());
        let start = Instant::now();
        let mut child = process::spawn(command)?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > FLOOR_LIMIT {
                process::kill_tree(&mut child)?;
                bail!("pg_recvlogical did not reach {end} within {} s", FLOOR_LIMIT.as_secs());
            }
            std::thread::sleep(GLANCE);
        };
        let wall = start.elapsed();
        if !status.success() {
            bail!("pg_recvlogical ended with {status}");
        }
        Ok(wall)
    }

    fn row(&self, contestant: Contestant, sample: &Sample, floor: Duration) -> Row {
        let ratio = sample.wall.as_secs_f64() / floor.as_secs_f64();
        let cpu_per_change = sample.cpu.div_f64(sample.changes as f64);
        let mut goals = Vec::new();
        if self.has_ratios {
            let most = contestant.ratio_max();
            goals.push(Goal::at_most(&format!("{most}x"), ratio, most));
            if contestant == Contestant::Kafka {
                goals.push(Goal::at_most("6 us", cpu_per_change.as_secs_f64(), CPU_MAX.as_secs_f64()));
            }
            goals.push(Goal::at_most("1 s", sample.first.as_secs_f64(), FIRST_MAX.as_secs_f64()));
        }
        let peak = sample.peak_kib as f64 / 1024.0;
        goals.push(Goal::at_most(&format!("{PEAK_MAX_MIB} MiB"), peak, PEAK_MAX_MIB as f64));
        Row {
            work: self.work.clone(),
            contestant: format!("tidewire to {}", contestant.name()),
            wall: Some(sample.wall),
            rate: Some(sample.changes as f64 / sample.wall.as_secs_f64()),
            ratio: Some(ratio),
            cpu_per_change: Some(cpu_per_change),
            peak_kib: Some(sample.peak_kib),
            first: Some(sample.first),
            latency: None,
            goals,
        }
    }
}

/// A daemon and what it ships to.
pub(super) struct Entrant {
    pub(super) contestant: Contestant,
    // Dropped before its broker.
    pub(super) daemon: Daemon,
    _broker: Option<Kafka>,
}

impl Entrant {
    /// `source` is the source's part of its configuration.
    pub(super) fn new(binary: &Path, source: &str, contestant: Contestant) -> Result<Entrant> {
        let broker = (contestant == Contestant::Kafka).then(|| Kafka::start(&KafkaOptions::default())).transpose()?;
        let daemon = Daemon::new(binary, "")?;
        let sink = match (contestant, &broker) {
            (Contestant::Kafka, Some(broker)) => format!("[sinks.kafka.kafka]\nbrokers = [\"{}\"]\n", broker.brokers()),
            (Contestant::Delta, _) => format!(
                "[sinks.delta.delta]\nlocation = \"file://{}/lake\"\ncommit_interval = \"1s\"\n",
                daemon.folder().display()
            ),
            _ => "[sinks.null.null]\n".to_owned(),
        };
        daemon.write_config(&(source.to_owned() + &sink))?;
        Ok(Entrant { contestant, daemon, _broker: broker })
    }

    /// Runs the daemon until so many changes are durable.
    pub(super) fn run(&mut self, changes: u64) -> Result<Sample> {
        sample::work(&mut self.daemon, self.contestant.name(), changes)
    }
}

fn make_slot(client: &Client, name: &str) -> Result<()> {
    client.execute(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).map(drop)
}

pub(super) fn seconds(duration: &Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}
