//! Runs the sink against a real broker: `kafka_smoke BROKER [SCENARIO...]`. Each scenario makes topics of its own
//! and says what it saw; the first difference ends the program with an error.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::error::Error as StdError;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidewire_core::batch::{BatchBuilder, BatchLimits, ChangeHead};
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, Cell, ColumnSchema, DataType, Error, ErrorKind, Mark, Op, Phase, Position, Progress, SchemaVersion, Sink,
    SinkConnector, SourceDescriptor, TableName, TableSchema, Transaction,
};
use tidewire_kafka::{Config, SinkOptions, connector};

type Outcome = Result<(), Box<dyn StdError>>;

struct Inline;

impl SecretResolver for Inline {
    fn resolve(&self, secret: &SecretRef) -> tidewire_core::Result<Secret> {
        match secret {
            SecretRef::Inline(secret) => Ok(secret.clone()),
            _ => Err(Error::configuration("secret", "only secrets in the text itself")),
        }
    }
}

struct Bench {
    broker: String,
    source: Arc<str>,
    descriptor: Arc<SourceDescriptor>,
    table: Arc<TableSchema>,
    builder: BatchBuilder,
    lsn: u64,
}

impl Bench {
    fn new(broker: &str, source: &str) -> Bench {
        let source: Arc<str> = source.into();
        let descriptor = Arc::new(SourceDescriptor {
            name: Arc::clone(&source),
            connector: "postgresql",
            database: "shop".into(),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: None,
        });
        let builder = BatchBuilder::new(Arc::clone(&descriptor), Phase::Stream, BatchLimits::default());
        Bench { broker: broker.to_owned(), source, descriptor, table: Arc::new(table()), builder, lsn: 1_000 }
    }

    fn connector(&self, more: &str) -> Result<Box<dyn SinkConnector>, Box<dyn StdError>> {
        // `ALWAYS` holds further members for every scenario, such as `, "tls": {"ca": "ca.pem"}`.
        let always = std::env::var("ALWAYS").unwrap_or_default();
        let config: Config = serde_json::from_str(&format!(r#"{{"brokers": ["{}"]{always}{more}}}"#, self.broker))?;
        let options = SinkOptions { name: "smoke".into(), sources: Vec::new(), secrets: Arc::new(Inline) };
        connector(options, config).map_err(|faults| format!("{faults:?}").into())
    }

    fn open(&self, more: &str) -> Result<(Box<dyn Sink>, Progress), Box<dyn StdError>> {
        Ok(self.connector(more)?.open(&self.source).map_err(shown)?)
    }

    // A transaction of `rows` inserts with a note of `note` bytes.
    fn batch(&mut self, rows: u64, note: &[u8]) -> Batch {
        self.lsn += 1_000_000;
        self.builder.transaction(Transaction {
            id: self.lsn.to_string().into(),
            commit: self.lsn,
            commit_time_micros: now_micros(),
            previous_commit: None,
            provenance: Vec::new(),
        });
        let table = self.builder.table(&self.table);
        for row in 0..rows {
            let image = self.builder.image();
            self.builder.cell(Cell::int(i64::try_from(self.lsn + row).unwrap_or(i64::MAX)));
            for tag in [Tag::Text, Tag::Text, Tag::Text] {
                let cell = self.builder.long(tag, note);
                self.builder.cell(cell);
            }
            self.builder.cell(Cell::int(7));
            self.builder.cell(Cell::boolean(true));
            let head = ChangeHead { op: Op::Insert, ordinal: row + 1, offset: self.lsn + row, row: 0 };
            self.builder.push(head, table, None, Some(image));
        }
        let position = self.position();
        self.builder.finish(position, true, now_micros())
    }

    fn position(&self) -> Option<Position> {
        Some(Position::new(Mark { major: self.lsn, minor: 0 }, self.lsn.to_string()))
    }

    fn progress(&self) -> Progress {
        Progress { position: self.position(), ..Progress::default() }
    }

    fn topic(&self) -> String {
        format!("{}.public.orders", self.descriptor.name)
    }

    fn expect_rows(&self, expect: usize) -> Outcome {
        let seen = committed(&self.broker, &self.topic())?;
        if seen == expect { Ok(()) } else { Err(format!("{seen} committed records, expected {expect}").into()) }
    }
}

fn table() -> TableSchema {
    let column = |name: &str, data_type| ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "int8".into(),
        nullable: true,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    };
    TableSchema {
        name: TableName::new("public", "orders"),
        version: SchemaVersion(1),
        native_id: 16_384,
        columns: vec![
            column("id", DataType::Int { bits: 64 }),
            column("a", DataType::Text),
            column("b", DataType::Text),
            column("c", DataType::Text),
            column("quantity", DataType::Int { bits: 32 }),
            column("paid", DataType::Bool),
        ],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    }
}

fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn shown(error: Error) -> String {
    format!("{:?} {}: {} [{}]", error.kind(), error.code(), error.chain(), error.remedy().unwrap_or("-"))
}

// Number of records that a reader of committed transactions sees in partition 0.
fn committed(broker: &str, topic: &str) -> Result<usize, Box<dyn StdError>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "smoke")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let (mut seen, deadline) = (0, Instant::now() + Duration::from_secs(60));
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => seen += usize::from(message.payload().is_some()),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(seen),
            Some(Err(error))
                if error.rdkafka_error_code() == Some(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition) =>
            {
                return Ok(0);
            }
            Some(Err(_)) | None => {}
        }
    }
    Err("no end of the topic within 60 s".into())
}

fn write(sink: &mut dyn Sink, batch: &Batch) -> Result<(), String> {
    sink.write(batch, Selection::All).map_err(shown)
}

fn expect(what: &str, truth: bool) -> Outcome {
    if truth { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

fn commit_and_resume(bench: &mut Bench) -> Outcome {
    let started = Instant::now();
    let (mut sink, progress) = bench.open("")?;
    println!("  first open {:?}", started.elapsed());
    expect("nothing held at first", progress.is_empty())?;
    for _ in 0..3 {
        let batch = bench.batch(10, b"first");
        write(sink.as_mut(), &batch)?;
    }
    sink.commit(&bench.progress()).map_err(shown)?;
    bench.expect_rows(30)?;
    let batch = bench.batch(5, b"given up");
    let before = Progress {
        position: Some(Position::new(
            Mark { major: bench.lsn - 1_000_000, minor: 0 },
            (bench.lsn - 1_000_000).to_string(),
        )),
        ..Progress::default()
    };
    write(sink.as_mut(), &batch)?;
    drop(sink);
    bench.expect_rows(30)?;
    let started = Instant::now();
    let (mut sink, progress) = bench.open("")?;
    println!("  second open {:?}", started.elapsed());
    expect("progress of the last commit", progress == before)?;
    write(sink.as_mut(), &batch)?;
    sink.commit(&bench.progress()).map_err(shown)?;
    bench.expect_rows(35)
}

// SK-02, SK-61: the earlier instance is fenced and says so; none of its records after the take-over is seen.
fn fence(bench: &mut Bench) -> Outcome {
    let (mut first, _) = bench.open("")?;
    let batch = bench.batch(10, b"zombie");
    write(first.as_mut(), &batch)?;
    let (mut second, progress) = bench.open("")?;
    expect("nothing held", progress.is_empty())?;
    let error = first.commit(&bench.progress()).err().ok_or("the first instance could still commit")?;
    println!("  first instance: {:?} {}: {}", error.kind(), error.code(), error.chain());
    expect("it is fenced", error.kind() == ErrorKind::Fenced)?;
    write(second.as_mut(), &batch)?;
    second.commit(&bench.progress()).map_err(shown)?;
    bench.expect_rows(10)
}

// SK-07: the coordinator gave up; without a successor this is a reason to try again, not to halt.
fn expire(bench: &mut Bench) -> Outcome {
    let (mut sink, _) = bench.open(r#", "transaction_timeout": "5s", "commit_interval": "1s""#)?;
    let batch = bench.batch(10, b"slow");
    write(sink.as_mut(), &batch)?;
    std::thread::sleep(Duration::from_secs(25));
    let error = sink.commit(&bench.progress()).err().ok_or("a commit long after the time limit succeeded")?;
    println!("  {}", shown(error));
    bench.expect_rows(0)?;
    drop(sink);
    let (mut sink, progress) = bench.open("")?;
    expect("nothing held", progress.is_empty())?;
    write(sink.as_mut(), &batch)?;
    sink.commit(&bench.progress()).map_err(shown)?;
    bench.expect_rows(10)
}

// SK-03: over the broker's limit, and over the client's.
fn too_large(bench: &mut Bench) -> Outcome {
    for (bytes, step) in [(2_000_000, "commit"), (20_000_000, "write")] {
        let (mut sink, _) = bench.open("")?;
        let small = bench.batch(3, b"small");
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..bytes / 3)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                b' ' + u8::try_from(state >> 58).unwrap_or(0)
            })
            .map(|byte| if matches!(byte, b'"' | b'\\') { b'x' } else { byte })
            .collect();
        let large = bench.batch(1, &noise);
        write(sink.as_mut(), &small)?;
        let error = match sink.write(&large, Selection::All) {
            Ok(()) => sink.commit(&bench.progress()).err().ok_or("the record was taken")?,
            Err(error) => error,
        };
        println!("  at {step}: {:?}: {}", error.table().map(ToString::to_string), shown(error));
    }
    bench.expect_rows(0)
}

// kill -9 in the middle of a transaction, and between the commit and everything that would follow.
fn crash(bench: &mut Bench) -> Outcome {
    let mut expected = 0;
    for place in ["written", "kafka_before_commit", "kafka_after_commit"] {
        let mut child = Command::new(std::env::current_exe()?)
            .args([&bench.broker, "child", &*bench.source, place])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let line = lines.next().ok_or("the child ended early")??;
        if place == "written" {
            child.kill()?;
        }
        let status = child.wait()?;
        let started = Instant::now();
        let (sink, progress) = bench.open("")?;
        println!("  {place}: child said `{line}`, ended with {status}; opened in {:?}", started.elapsed());
        drop(sink);
        expected += if place == "kafka_after_commit" { 100 } else { 0 };
        bench.expect_rows(expected)?;
        expect("progress goes with the records", progress.is_empty() == (expected == 0))?;
    }
    Ok(())
}

fn child(bench: &mut Bench, place: &str) -> Outcome {
    let (mut sink, _) = bench.open("")?;
    let batch = bench.batch(100, b"to be killed");
    write(sink.as_mut(), &batch)?;
    println!("written");
    std::io::stdout().flush()?;
    if place == "written" {
        std::thread::sleep(Duration::from_secs(60));
    }
    tidewire_core::failpoint::arm(place, 1, tidewire_core::failpoint::Act::End);
    sink.commit(&bench.progress()).map_err(shown)?;
    Ok(())
}

fn check(bench: &mut Bench) -> Outcome {
    let tables = [(Arc::clone(&bench.source), Arc::clone(&bench.table)), ("other".into(), Arc::clone(&bench.table))];
    for (topic, expected) in [("{source}.{table}", 0), ("all", 1)] {
        let findings = bench.connector(&format!(r#", "topic": "{topic}""#))?.check(&tables).map_err(shown)?;
        println!("  {topic}: {findings:#?}");
        expect("the findings", findings.len() == expected)?;
    }
    let away = Bench::new("127.0.0.1:1", "x").connector("")?.check(&tables).map_err(shown)?;
    println!("  away: {away:#?}");
    expect("a finding", away.len() == 1)
}

// Keeps committing while somebody stops, starts or kills the broker; opens the sink anew after an error, as a
// worker would. Every batch must be seen once in the end. `SECONDS` says for how long.
fn endure(bench: &mut Bench) -> Outcome {
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut batches, mut longest, mut failures) = (0, Duration::ZERO, 0);
    let (mut sink, mut held) = bench.open("")?;
    while Instant::now() < end {
        let started = Instant::now();
        let batch = bench.batch(10, b"endured");
        let target = bench.progress();
        while held != target {
            let outcome = sink.write(&batch, Selection::All).and_then(|()| sink.commit(&target));
            match outcome {
                Ok(()) => held = target.clone(),
                Err(error) => {
                    println!("  after {:.1?}: {}", started.elapsed(), shown(error));
                    failures += 1;
                    drop(sink);
                    (sink, held) = loop {
                        match bench.connector("")?.open(&bench.source) {
                            Ok(opened) => break opened,
                            Err(error) => println!("  not opened: {}", shown(error)),
                        }
                    };
                }
            }
        }
        batches += 1;
        longest = longest.max(started.elapsed());
    }
    println!("  {batches} batches, {failures} failures, the longest took {longest:.1?}");
    bench.expect_rows(batches * 10)
}

// Logs in and commits; what is seen is not read, since this program's own reader cannot log in.
fn login(bench: &mut Bench) -> Outcome {
    println!("  {:#?}", bench.connector("")?.check(&[]).map_err(shown)?);
    let (mut sink, _) = bench.open("")?;
    let batch = bench.batch(10, b"safe");
    write(sink.as_mut(), &batch)?;
    sink.commit(&bench.progress()).map_err(shown)?;
    drop(sink);
    let (_, progress) = bench.open("")?;
    expect("the progress is there", progress == bench.progress())
}

// Throughput of a backlog, then the time of small commits.
fn speed(bench: &mut Bench) -> Outcome {
    let changes: u64 = std::env::var("CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(300_000);
    let (mut sink, _) = bench.open(&std::env::var("MORE").unwrap_or_default())?;
    let batch = bench.batch(8_000, b"some text of forty characters or so, ok.");
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (mut written, mut since, mut commits) = (0, 0, 0_u32);
    while written < changes {
        write(sink.as_mut(), &batch)?;
        written += 8_000;
        since += 8_000;
        if since >= 48_000 {
            sink.commit(&bench.progress()).map_err(shown)?;
            (since, commits) = (0, commits + 1);
        }
    }
    sink.commit(&bench.progress()).map_err(shown)?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "  {written} changes, {commits} commits: {wall:.2} s, {:.0} changes/s, {:.2} us of CPU a change",
        written as f64 / wall,
        cpu * 1e6 / written as f64
    );
    for pause_ms in [0, 1, 2, 3, 5, 10, 20] {
        let mut times = Vec::new();
        for _ in 0..200 {
            let batch = bench.batch(20, b"some text of forty characters or so, ok.");
            std::thread::sleep(Duration::from_millis(pause_ms));
            let started = Instant::now();
            write(sink.as_mut(), &batch)?;
            sink.commit(&bench.progress()).map_err(shown)?;
            times.push(started.elapsed());
        }
        times.sort();
        let [p50, p90, p99] = [100, 180, 198].map(|index| times.get(index).copied().unwrap_or_default());
        println!(
            "  {pause_ms} ms after a commit, 20 changes and a commit: p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}"
        );
    }
    Ok(())
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 =
        stat.rsplit(") ").next().unwrap_or("").split(' ').skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut arguments = arguments.iter().map(String::as_str);
    let broker = arguments.next().ok_or("usage: kafka_smoke BROKER [SCENARIO...]")?;
    let mut scenarios: Vec<&str> = arguments.collect();
    if let ["child", source, place] = scenarios.as_slice() {
        return child(&mut Bench::new(broker, source), place);
    }
    if scenarios.is_empty() {
        scenarios = vec!["commit", "crash", "fence", "too_large", "check", "speed"];
    }
    let run = now_micros();
    for scenario in scenarios {
        println!("{scenario}");
        let mut bench = Bench::new(broker, &format!("smoke_{scenario}_{run}"));
        match scenario {
            "commit" => commit_and_resume(&mut bench)?,
            "crash" => crash(&mut bench)?,
            "fence" => fence(&mut bench)?,
            "expire" => expire(&mut bench)?,
            "too_large" => too_large(&mut bench)?,
            "check" => check(&mut bench)?,
            "login" => login(&mut bench)?,
            "endure" => endure(&mut bench)?,
            "speed" => speed(&mut bench)?,
            _ => return Err(format!("`{scenario}` is no scenario").into()),
        }
    }
    println!("all as expected");
    Ok(())
}
