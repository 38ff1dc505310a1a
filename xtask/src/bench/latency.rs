//! From a commit to a consumer of committed records, under a steady load of single-row transactions. Each row carries
//! the server's clock from just before its commit; server, daemon, broker, consumer and load share one machine and so
//! one clock.

use super::table::{Goal, Row};
use super::{PUBLICATION, SOURCE, postgres, program, sample, source};
use anyhow::{Context, Result, anyhow, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Postgres, process};

pub(super) const RATE: u64 = 5_000;
pub(super) const WARM_UP: Duration = Duration::from_secs(3);
const P99_MAX: Duration = Duration::from_millis(50);
/// What may still come after the load has ended.
const REST_LIMIT: Duration = Duration::from_secs(20);
pub(super) const UNKNOWN: u64 = u64::MAX;

/// A record's commit and arrival, in microseconds since 1970.
pub(super) type Arrival = (i64, i64);

/// Measures.
pub(super) fn run(binary: &Path, seconds: u64) -> Result<Vec<Row>> {
    let server = postgres()?;
    let client = server.client()?;
    client.execute(&format!(
        "CREATE TABLE ticks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, written bigint NOT NULL, note text);
         CREATE PUBLICATION {PUBLICATION} FOR TABLE ticks"
    ))?;
    client.execute("SELECT pg_create_logical_replication_slot('latency', 'pgoutput')")?;
    client.execute("INSERT INTO ticks (written) VALUES (0)")?;
    let broker = Kafka::start(&KafkaOptions::default())?;
    let sink = format!("[sinks.kafka.kafka]\nbrokers = [\"{}\"]\n", broker.brokers());
    let mut daemon = Daemon::new(binary, &(source(&server, "never", "latency") + &sink))?;
    let start = Instant::now();
    daemon.run()?;
    // The topic appears with its first record.
    sample::watch(&daemon, "kafka", 1, start)?;
    eprintln!("latency: {RATE} transactions a second for {seconds} s");
    let expected = Arc::new(AtomicU64::new(UNKNOWN));
    let consumer = {
        let (brokers, expected) = (broker.brokers(), Arc::clone(&expected));
        std::thread::spawn(move || consume(&brokers, "public", &expected))
    };
    let pid = daemon.pid().context("the daemon does not run")?;
    let cpu = sample::cpu(pid)?;
    let loaded = load(&server, daemon.folder(), Duration::from_secs(seconds) + WARM_UP);
    // The consumer must learn of an end in any case.
    expected.store(client.value("SELECT count(*) FROM ticks")?.parse()?, Ordering::Relaxed);
    let arrivals = consumer.join().map_err(|_| anyhow!("the consumer panicked"))??;
    let cpu = sample::cpu(pid)?.saturating_sub(cpu);
    loaded?;
    let memory = sample::watch(&daemon, "kafka", 1, start)?;
    daemon.terminate()?;
    Ok(vec![row(&arrivals, seconds, cpu, memory.peak_kib)?])
}

/// What the arrivals say; `cpu` is the daemon's for all of them.
pub(super) fn row(arrivals: &[Arrival], seconds: u64, cpu: Duration, peak_kib: u64) -> Result<Row> {
    let latencies = warm(arrivals)?;
    let (p50, p99) = (quantile(&latencies, 0.5)?, quantile(&latencies, 0.99)?);
    let rate = arrivals.len() as f64 / (Duration::from_secs(seconds) + WARM_UP).as_secs_f64();
    Ok(Row {
        work: format!("latency, {} commits", latencies.len()),
        contestant: "tidewire to kafka".to_owned(),
        rate: Some(rate),
        cpu_per_change: Some(cpu.div_f64(arrivals.len() as f64)),
        peak_kib: Some(peak_kib),
        latency: Some((p50, p99)),
        goals: vec![Goal::at_most("p99 50 ms", p99.as_secs_f64(), P99_MAX.as_secs_f64())],
        ..Row::default()
    })
}

/// pgbench keeps the rate, whatever the server takes for a transaction.
fn load(server: &Postgres, folder: &Path, length: Duration) -> Result<()> {
    let script = folder.join("tick.sql");
    std::fs::write(
        &script,
        "INSERT INTO ticks (written, note) VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, 'a note of some length');\n",
    )
    .context("write the load's script")?;
    let mut command = process::guarded(&program("pgbench")?);
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &server.port().to_string(), "-n", "-M", "prepared"]);
    command.args(["-c", "8", "-j", "1", "-R", &RATE.to_string(), "-T", &length.as_secs().to_string(), "-f"]);
    command.arg(&script).arg("postgres").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = process::spawn(command)?.wait().context("wait for pgbench")?;
    if !status.success() {
        bail!("pgbench ended with {status}");
    }
    Ok(())
}

/// Reads the topic until it holds as many records as `expected` says.
pub(super) fn consume(brokers: &str, schema: &str, expected: &AtomicU64) -> Result<Vec<Arrival>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()
        .context("make a consumer")?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&format!("{SOURCE}.{schema}.ticks"), 0, Offset::Beginning)?;
    consumer.assign(&assignment).context("assign the topic")?;
    let mut arrivals = Vec::new();
    let mut last = Instant::now();
    while (arrivals.len() as u64) < expected.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(message) => {
                let message = message.context("read the topic")?;
                last = Instant::now();
                let written = message.payload().and_then(written).context("a record without `written`")?;
                arrivals.push((written, now_micros()));
            }
        }
        if expected.load(Ordering::Relaxed) != UNKNOWN && last.elapsed() > REST_LIMIT {
            bail!("only {} of {} records came", arrivals.len(), expected.load(Ordering::Relaxed));
        }
    }
    Ok(arrivals)
}

/// The number after `"written":`. The record is ours: a parser's work would only delay the next one.
fn written(payload: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(payload).ok()?;
    let (_, rest) = text.split_once("\"written\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Latencies in ascending order, without those of the warm-up.
fn warm(arrivals: &[Arrival]) -> Result<Vec<i64>> {
    // The first row was written before the load and says 0.
    let first = arrivals.iter().map(|(written, _)| *written).filter(|written| *written > 0).min();
    let begin = first.context("nothing arrived")? + i64::try_from(WARM_UP.as_micros())?;
    let mut latencies: Vec<i64> =
        arrivals.iter().filter(|(written, _)| *written >= begin).map(|(written, came)| came - written).collect();
    latencies.sort_unstable();
    Ok(latencies)
}

/// The value below which the part `q` of the sorted values lies.
fn quantile(sorted: &[i64], q: f64) -> Result<Duration> {
    let at = (sorted.len() as f64 * q) as usize;
    let value = sorted.get(at.min(sorted.len().saturating_sub(1))).context("nothing was measured")?;
    Ok(Duration::from_micros(u64::try_from(*value).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_is_left_out_and_quantiles_are_of_the_rest() {
        let second = 1_000_000;
        let arrivals: Vec<Arrival> =
            [(0, 9), (second, 9 * second)].into_iter().chain((0..100).map(|i| (5 * second, 5 * second + i))).collect();
        let latencies = warm(&arrivals).unwrap();
        assert_eq!(latencies.len(), 100);
        assert_eq!(quantile(&latencies, 0.5).unwrap(), Duration::from_micros(50));
        assert_eq!(quantile(&latencies, 0.99).unwrap(), Duration::from_micros(99));
    }

    #[test]
    fn the_time_is_found_in_a_record() {
        assert_eq!(
            written(br#"{"before":null,"after":{"id":1,"written":1700000000123456,"note":"x"}}"#),
            Some(1_700_000_000_123_456)
        );
        assert_eq!(written(b"{}"), None);
    }
}
