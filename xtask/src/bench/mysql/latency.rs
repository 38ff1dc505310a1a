//! From a commit to a consumer of committed records, under a steady load of single-row transactions. Each row carries the
//! server's clock from just before its commit.

use super::super::latency::{RATE, UNKNOWN, WARM_UP, consume, row};
use super::super::sample;
use super::super::table::Row;
use super::Bench;
use anyhow::{Context, Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidewire_testkit::mysql::DATABASE;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Mysql};

/// Sessions that write.
const WRITERS: u64 = 8;
const TICK: &str = "INSERT INTO ticks (written, note) VALUES (CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED), 'a note of some length')";

impl Bench<'_> {
    pub(super) fn latency(&self) -> Result<Vec<Row>> {
        let seconds = self.options.seconds;
        let server = self.server()?;
        let client = server.client()?;
        client.execute(
            "CREATE TABLE ticks (id bigint AUTO_INCREMENT PRIMARY KEY, written bigint NOT NULL, note varchar(100))",
        )?;
        let broker = Kafka::start(&KafkaOptions::default())?;
        let sink = format!("[sinks.kafka.kafka]\nbrokers = [\"{}\"]\n", broker.brokers());
        let mut daemon = Daemon::new(self.binary, &(self.source(&server, "never", 0) + &sink))?;
        let start = Instant::now();
        daemon.run()?;
        daemon.wait_for("the source to stream", |status| {
            status.pointer("/sources/bench/state").is_some_and(|state| state == "streaming")
        })?;
        client.execute("INSERT INTO ticks (written) VALUES (0)")?;
        // The topic appears with its first record.
        sample::watch(&daemon, "kafka", 1, start)?;
        eprintln!("latency: {RATE} transactions a second for {seconds} s");
        let expected = Arc::new(AtomicU64::new(UNKNOWN));
        let consumer = {
            let (brokers, expected) = (broker.brokers(), Arc::clone(&expected));
            std::thread::spawn(move || consume(&brokers, DATABASE, &expected))
        };
        let pid = daemon.pid().context("the daemon does not run")?;
        let cpu = sample::cpu(pid)?;
        let loaded = load(&server, Duration::from_secs(seconds) + WARM_UP);
        // The consumer must learn of an end in any case.
        expected.store(client.value("SELECT count(*) FROM ticks")?.parse()?, Ordering::Relaxed);
        let arrivals = consumer.join().map_err(|_| anyhow!("the consumer panicked"))??;
        let cpu = sample::cpu(pid)?.saturating_sub(cpu);
        loaded?;
        let memory = sample::watch(&daemon, "kafka", 1, start)?;
        daemon.terminate()?;
        Ok(vec![row(&arrivals, seconds, cpu, memory.peak_kib)?])
    }
}

/// Each writer keeps its share of the rate, whatever the server takes for a transaction.
fn load(server: &Mysql, length: Duration) -> Result<()> {
    let begin = Instant::now();
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let client = server.client()?;
        writers.push(std::thread::spawn(move || -> Result<()> {
            let step = Duration::from_secs(1).mul_f64(WRITERS as f64 / RATE as f64);
            let mut due = step.mul_f64(number as f64 / WRITERS as f64);
            while due < length {
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                client.execute(TICK)?;
                due += step;
            }
            Ok(())
        }));
    }
    for writer in writers {
        writer.join().map_err(|_| anyhow!("a writer panicked"))??;
    }
    Ok(())
}
