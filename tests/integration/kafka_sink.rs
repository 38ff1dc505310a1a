//! The Kafka sink by itself, on a real broker: what halts one table and what does not, topics that changed while nobody
//! looked, and that an earlier instance is shut out whichever of its producers has its turn.
//! SK-02, SK-03, SK-04, SK-0C, SK-61.

mod shared;
mod taken;
mod torn;

use anyhow::{Context, Result, anyhow, bail, ensure};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidewire_core::batch::{BatchBuilder, BatchLimits, Before, ChangeHead, ImageStart};
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, Cell, ColumnSchema, DataType, Error, ErrorKind, Mark, Op, Phase, Position, Progress, SchemaVersion, Sink,
    SinkConnector, SourceDescriptor, TableName, TableSchema, Transaction,
};
use tidewire_kafka::{Config, SinkOptions, connector};
use tidewire_testkit::kafka::Isolation;
use tidewire_testkit::{Kafka, KafkaOptions, wait};

const SOURCE: &str = "shop";

struct Inline;

impl SecretResolver for Inline {
    fn resolve(&self, _: &SecretRef) -> tidewire_core::Result<Secret> {
        Err(Error::configuration("secret", "there is none"))
    }
}

struct Bench {
    kafka: Kafka,
    /// Whose changes are made.
    source: &'static str,
    lsn: u64,
    /// When transactions were committed.
    commit_micros: i64,
}

impl Bench {
    fn new() -> Result<Bench> {
        Bench::with(&KafkaOptions::default())
    }

    fn with(options: &KafkaOptions) -> Result<Bench> {
        Ok(Bench { kafka: Kafka::start(options)?, source: SOURCE, lsn: 1_000, commit_micros: now_micros() })
    }

    fn connector(&self, more: &str) -> Result<Box<dyn SinkConnector>> {
        self.connector_by(&self.kafka.brokers(), more)
    }

    fn connector_by(&self, brokers: &str, more: &str) -> Result<Box<dyn SinkConnector>> {
        let config: Config = serde_json::from_str(&format!(r#"{{"brokers": ["{brokers}"]{more}}}"#))?;
        let sources = [SOURCE, shared::OTHER].map(Arc::from).to_vec();
        let options = SinkOptions { name: "events".into(), sources, secrets: Arc::new(Inline) };
        connector(options, config).map_err(|faults| anyhow!("{faults:?}"))
    }

    fn open(&self, more: &str) -> Result<(Box<dyn Sink>, Progress)> {
        self.connector(more)?.open(SOURCE).map_err(|error| anyhow!("{}", shown(&error)))
    }

    /// A transaction with one row in each of some tables.
    fn batch(&mut self, rows: &[(&str, i64, &[u8])]) -> Batch {
        let mut builder = self.transaction();
        for (ordinal, (name, id, note)) in (1..).zip(rows) {
            let table = builder.table(&table(name));
            let image = image(&mut builder, *id, Some(note));
            let head = ChangeHead { op: Op::Insert, ordinal, offset: self.lsn + ordinal, row: 0 };
            builder.push(head, table, None, Some(image));
        }
        builder.finish(self.position(), true, now_micros())
    }

    /// A transaction in which a row gets another key.
    fn moved(&mut self, name: &str, from: i64, to: i64, note: &[u8]) -> Batch {
        let mut builder = self.transaction();
        let table = builder.table(&table(name));
        let before = image(&mut builder, from, None);
        let after = image(&mut builder, to, Some(note));
        let head = ChangeHead { op: Op::Update, ordinal: 1, offset: self.lsn + 1, row: 0 };
        builder.push(head, table, Some((Before::Key, before)), Some(after));
        builder.finish(self.position(), true, now_micros())
    }

    fn transaction(&mut self) -> BatchBuilder {
        self.lsn += 1_000;
        let source = SourceDescriptor {
            name: self.source.into(),
            connector: "postgresql",
            database: "shop".into(),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: None,
        };
        let mut builder = BatchBuilder::new(Arc::new(source), Phase::Stream, BatchLimits::default());
        builder.transaction(Transaction {
            id: self.lsn.to_string().into(),
            commit: self.lsn,
            commit_time_micros: self.commit_micros,
            previous_commit: None,
            provenance: Vec::new(),
        });
        builder
    }

    fn position(&self) -> Option<Position> {
        Some(Position::new(Mark { major: self.lsn, minor: 0 }, self.lsn.to_string()))
    }

    fn progress(&self) -> Progress {
        Progress { position: self.position(), ..Progress::default() }
    }

    /// Writes and commits.
    fn ship(&self, sink: &mut dyn Sink, batch: &Batch) -> tidewire_core::Result<()> {
        sink.write(batch, Selection::All)?;
        sink.commit(&self.progress())
    }

    fn must_ship(&mut self, sink: &mut dyn Sink, rows: &[(&str, i64, &[u8])]) -> Result<()> {
        let batch = self.batch(rows);
        self.ship(sink, &batch).map_err(|error| anyhow!("{}", shown(&error)))
    }

    fn must_fail(&mut self, sink: &mut dyn Sink, rows: &[(&str, i64, &[u8])]) -> Result<Error> {
        let batch = self.batch(rows);
        self.ship(sink, &batch).err().context("it was shipped")
    }

    /// Keys and partitions of a table's committed records.
    fn committed(&self, table: &str) -> Result<Vec<(String, i32)>> {
        let records = self.kafka.consume(&format!("{SOURCE}.public.{table}"), Isolation::ReadCommitted)?;
        records
            .into_iter()
            .map(|record| Ok((String::from_utf8(record.key.context("a key")?)?, record.partition)))
            .collect()
    }
}

/// A row, or of the old one its key alone.
fn image(builder: &mut BatchBuilder, id: i64, note: Option<&[u8]>) -> ImageStart {
    let image = builder.image();
    builder.cell(Cell::int(id));
    let note = note.map_or(Cell::UNKNOWN, |note| builder.long(Tag::Text, note));
    builder.cell(note);
    image
}

fn table(name: &str) -> Arc<TableSchema> {
    let column = |name: &str, data_type, native: &str| ColumnSchema {
        name: name.into(),
        data_type,
        native_type: native.into(),
        nullable: true,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    };
    Arc::new(TableSchema {
        name: TableName::new("public", name),
        version: SchemaVersion(1),
        native_id: 16_384,
        columns: vec![column("id", DataType::Int { bits: 64 }, "int8"), column("note", DataType::Text, "text")],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}

// Brokers soon delete records that are older than a topic's retention.
fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn shown(error: &Error) -> String {
    format!("{:?} {}: {} [{}]", error.kind(), error.code(), error.chain(), error.remedy().unwrap_or("-"))
}

/// Text that does not become smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'0' + u8::try_from(state >> 59).unwrap_or(0)
    };
    (0..length).map(|_| next()).map(|byte| if byte == b'\\' { b'x' } else { byte }).collect()
}

/// The error is the operator's, of this table, and says these words.
fn must_name(error: &Error, code: &str, of: &str, words: &[&str]) -> Result<()> {
    let text = shown(error);
    ensure!((error.kind(), error.code()) == (ErrorKind::Operator, code), "{text}");
    ensure!(error.table() == Some(&TableName::new("public", of)), "{:?}: {text}", error.table());
    ensure!(error.remedy().is_some(), "no remedy: {text}");
    for word in words {
        ensure!(text.contains(word), "`{word}` is not in: {text}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_one_table_names_it_and_leaves_nothing() -> Result<()> {
    let mut bench = Bench::new()?;
    bench.kafka.create_topic("shop.public.narrow", 1, &[("max.message.bytes", "20000")])?;
    bench.kafka.create_topic("shop.public.punctual", 1, &[("message.timestamp.before.max.ms", "1000")])?;
    let (broker, client, narrow) = (noise(2_000_000), noise(20_000_000), noise(30_000));
    let no_topics = r#", "topic_config": {"cleanup.policy": "nonsense"}"#;
    for (settings, of, note, code, words) in [
        ("", "big", &broker[..], "record_too_large", &[r#"{"id":7}"#, "a record of 2000", "max.message.bytes"][..]),
        ("", "big", &client, "record_too_large", &[r#"{"id":7}"#, "a record of 20000"]),
        ("", "narrow", &narrow, "record_too_large", &[r#"{"id":7}"#, "a record of 30", "20000"]),
        ("", "punctual", b"late", "timestamp_refused", &["shop.public.punctual"]),
        (r#", "replication": 3"#, "new", b"x", "topic_replication_refused", &["shop.public.new"]),
        (no_topics, "new", b"x", "topic_settings_refused", &["shop.public.new"]),
        (r#", "create_topics": false"#, "new", b"x", "topic_missing", &["shop.public.new", "--create"]),
    ] {
        let (mut sink, held) = bench.open("")?;
        // The topic of the good table is there, as it would be.
        bench.must_ship(sink.as_mut(), &[("good", 1, b"before")])?;
        drop(sink);
        let before = bench.committed("good")?.len();
        let progress = bench.progress();
        ensure!(held.position < progress.position);
        let (mut sink, _) = bench.open(settings)?;
        let hour = 3_600_000_000;
        bench.commit_micros -= hour;
        let error = bench.must_fail(sink.as_mut(), &[("good", 2, b"with it"), (of, 7, note), ("good", 3, b"after")])?;
        bench.commit_micros += hour;
        must_name(&error, code, of, words)?;
        drop(sink);
        // What was written with it is gone, and without it the other table goes on.
        let (mut sink, held) = bench.open(settings)?;
        ensure!(held == progress, "{held:?}");
        ensure!((bench.committed("good")?.len(), bench.committed(of)?.len()) == (before, 0), "{code}");
        bench.must_ship(sink.as_mut(), &[("good", 2, b"alone")])?;
        ensure!(bench.committed("good")?.len() == before + 1);
    }
    Ok(())
}

/// Of a batch that holds one record that is refused, the client says of all others that they are not to blame; the first of
/// them is not the reason. SK-03, SK-12.
#[test]
fn a_record_that_is_refused_behind_others_halts_its_table() -> Result<()> {
    let mut bench = Bench::new()?;
    bench.kafka.create_topic("shop.public.punctual", 1, &[("message.timestamp.before.max.ms", "60000")])?;
    for late in [1, 3] {
        let (mut sink, _) = bench.open(r#", "librdkafka": {"linger.ms": "500"}"#)?;
        let rows: Vec<(&str, i64, &[u8])> = (0..50).map(|id| ("punctual", id, &b"in time"[..])).collect();
        let in_time = bench.batch(&rows);
        sink.write(&in_time, Selection::All).map_err(|error| anyhow!("{}", shown(&error)))?;
        bench.commit_micros -= 3_600_000_000;
        let rows: Vec<(&str, i64, &[u8])> = (0..late).map(|id| ("punctual", 100 + id, &b"late"[..])).collect();
        let error = bench.must_fail(sink.as_mut(), &rows)?;
        bench.commit_micros += 3_600_000_000;
        // Of one the client says what is wrong with it, of several only that they are wrong.
        let code = if late == 1 { "timestamp_refused" } else { "record_refused" };
        must_name(&error, code, "punctual", &["shop.public.punctual"])?;
        let remedy = error.remedy().unwrap_or_default();
        ensure!(remedy.contains("compare the clocks"), "no word of the time: {remedy}");
        ensure!(bench.committed("punctual")?.is_empty(), "nothing of it is seen");
    }
    Ok(())
}

#[test]
fn a_topic_that_vanishes_while_it_is_written_halts_its_table() -> Result<()> {
    let mut bench = Bench::new()?;
    // The client forgets a topic that the brokers do not know after this time.
    let settings = r#", "librdkafka": {"topic.metadata.propagation.max.ms": "2000"}, "transaction_timeout": "20s""#;
    let (mut sink, _) = bench.open(settings)?;
    bench.must_ship(sink.as_mut(), &[("good", 1, b"x"), ("bad", 1, b"x")])?;
    bench.must_ship(sink.as_mut(), &[("good", 2, b"x"), ("bad", 2, b"x")])?;
    bench.kafka.delete_topic("shop.public.bad")?;
    let mut error = bench.must_fail(sink.as_mut(), &[("good", 3, b"x"), ("bad", 3, b"x")])?;
    // A time limit may come first: then the next attempt finds out.
    let mut attempts = 0;
    while error.kind() == ErrorKind::Retry && attempts < 3 {
        drop(sink);
        (sink, _) = bench.open(settings)?;
        error = bench.must_fail(sink.as_mut(), &[("good", 3, b"x"), ("bad", 3, b"x")])?;
        attempts += 1;
    }
    ensure!(matches!(error.code(), "topic_missing" | "topic_gone"), "{}", shown(&error));
    must_name(&error, error.code(), "bad", &["shop.public.bad"])?;
    drop(sink);
    let (mut sink, _) = bench.open(settings)?;
    ensure!(bench.committed("good")?.len() == 2);
    bench.must_ship(sink.as_mut(), &[("good", 3, b"x")])
}

/// The brokers say only that a topic holds less than it did: that it was made again is found out, with the way on (SK-0C).
#[test]
fn a_topic_that_is_made_again_while_it_is_written_halts_its_table() -> Result<()> {
    let mut bench = Bench::new()?;
    let settings = r#", "librdkafka": {"topic.metadata.propagation.max.ms": "2000"}, "transaction_timeout": "20s""#;
    let (mut sink, _) = bench.open(settings)?;
    for id in 1..4 {
        bench.must_ship(sink.as_mut(), &[("good", id, b"x"), ("bad", id, b"x")])?;
    }
    bench.kafka.delete_topic("shop.public.bad")?;
    bench.kafka.create_topic("shop.public.bad", 1, &[])?;
    let mut error = bench.must_fail(sink.as_mut(), &[("good", 4, b"x"), ("bad", 4, b"x")])?;
    // A time limit may come first: then the next attempt finds out.
    let mut attempts = 0;
    while error.kind() == ErrorKind::Retry && attempts < 3 {
        drop(sink);
        (sink, _) = bench.open(settings)?;
        error = bench.must_fail(sink.as_mut(), &[("good", 4, b"x"), ("bad", 4, b"x")])?;
        attempts += 1;
    }
    must_name(&error, "topic_recreated", "bad", &["shop.public.bad", "`changed_topics = \"accept\"`"])
}

#[test]
fn a_topic_that_changed_while_nobody_looked_halts_its_table_until_it_is_accepted() -> Result<()> {
    let mut bench = Bench::new()?;
    let (mut sink, _) = bench.open("")?;
    for id in 0..3 {
        bench.must_ship(
            sink.as_mut(),
            &[("gone", id, b"x"), ("again", id, b"x"), ("wider", id, b"x"), ("good", id, b"x")],
        )?;
    }
    drop(sink);
    bench.kafka.delete_topic("shop.public.gone")?;
    bench.kafka.delete_topic("shop.public.again")?;
    bench.kafka.create_topic("shop.public.again", 1, &[])?;
    bench.kafka.add_partitions("shop.public.wider", 3)?;
    for (table, code) in [("gone", "topic_gone"), ("again", "topic_recreated"), ("wider", "topic_repartitioned")] {
        // Twice: a start that only looked has not come to terms with it.
        for _ in 0..2 {
            let (mut sink, _) = bench.open("")?;
            let error = bench.must_fail(sink.as_mut(), &[("good", 10, b"x"), (table, 10, b"x")])?;
            must_name(&error, code, table, &[&format!("shop.public.{table}"), "`changed_topics = \"accept\"`"])?;
        }
    }
    let (mut sink, _) = bench.open("")?;
    bench.must_ship(sink.as_mut(), &[("good", 10, b"x")])?;
    let (good, again) = (bench.committed("good")?, bench.committed("again")?);
    ensure!((good.len(), again.len()) == (4, 0), "{good:?} {again:?}");
    drop(sink);
    let (mut sink, _) = bench.open(r#", "changed_topics": "accept""#)?;
    let rows: &[(&str, i64, &[u8])] = &[("gone", 11, b"x"), ("again", 11, b"x"), ("wider", 11, b"x")];
    bench.must_ship(sink.as_mut(), rows)?;
    drop(sink);
    // From here on this is what they are.
    let (mut sink, _) = bench.open("")?;
    bench.must_ship(sink.as_mut(), rows)?;
    ensure!(bench.committed("gone")?.len() == 2);
    Ok(())
}

#[test]
fn what_topics_were_is_found_behind_many_commits() -> Result<()> {
    let mut bench = Bench::new()?;
    let (mut sink, _) = bench.open("")?;
    bench.must_ship(sink.as_mut(), &[("orders", 1, b"x")])?;
    for _ in 0..700 {
        bench.lsn += 1;
        sink.commit(&bench.progress()).map_err(|error| anyhow!("{}", shown(&error)))?;
    }
    drop(sink);
    bench.kafka.delete_topic("shop.public.orders")?;
    let (mut sink, held) = bench.open("")?;
    ensure!(held == bench.progress());
    let error = bench.must_fail(sink.as_mut(), &[("orders", 2, b"x")])?;
    must_name(&error, "topic_gone", "orders", &[])
}

#[test]
fn partitions_added_while_it_runs_move_no_key() -> Result<()> {
    let mut bench = Bench::new()?;
    // The client learns of new partitions soon.
    let settings = r#", "partitions": 2, "librdkafka": {"topic.metadata.refresh.interval.ms": "100"}"#;
    let (mut sink, _) = bench.open(settings)?;
    let ship = |bench: &mut Bench, sink: &mut dyn Sink| -> Result<()> {
        for id in 0..20 {
            bench.must_ship(sink, &[("orders", id, b"x")])?;
        }
        Ok(())
    };
    ship(&mut bench, sink.as_mut())?;
    bench.kafka.add_partitions("shop.public.orders", 5)?;
    let mut rounds = 1;
    wait::until("some rounds, in which the client learns of them", Duration::from_secs(60), || {
        ship(&mut bench, sink.as_mut())?;
        rounds += 1;
        Ok((rounds > 8).then_some(()))
    })?;
    let mut records = bench.committed("orders")?;
    ensure!(records.len() == 20 * rounds);
    records.sort();
    records.dedup();
    ensure!(records.len() == 20, "keys lie in two partitions: {records:?}");
    ensure!(records.iter().all(|(_, partition)| *partition < 2), "{records:?}");
    Ok(())
}

#[test]
fn an_earlier_instance_is_fenced_whichever_producer_has_its_turn() -> Result<()> {
    let mut bench = Bench::new()?;
    for turns in [0, 1, 2, 3] {
        let (mut first, _) = bench.open("")?;
        for id in 0..turns {
            bench.must_ship(first.as_mut(), &[("orders", id, b"first")])?;
        }
        let held = bench.progress();
        // Before a transaction is open, which a reader of what is committed would wait for.
        let before = bench.committed("orders")?.len();
        let zombie = bench.batch(&[("orders", 100, b"zombie")]);
        first.write(&zombie, Selection::All).map_err(|error| anyhow!("{}", shown(&error)))?;
        let (mut second, progress) = bench.open("")?;
        ensure!(turns == 0 || progress == held, "{progress:?}");
        let error = first.commit(&bench.progress()).err().context("the first instance could still commit")?;
        ensure!(error.kind() == ErrorKind::Fenced, "{}", shown(&error));
        drop(first);
        ensure!(bench.committed("orders")?.len() == before);
        for id in 0..3 {
            bench.must_ship(second.as_mut(), &[("orders", id, b"second")])?;
        }
        ensure!(bench.committed("orders")?.len() == before + 3);
    }
    Ok(())
}

fn open_and_commit(connector: &dyn SinkConnector, progress: &Progress) -> tidewire_core::Result<()> {
    let (mut sink, _) = connector.open(SOURCE)?;
    for _ in 0..20 {
        sink.commit(progress)?;
    }
    Ok(())
}

/// Of instances that start at the same moment one goes on, whichever ids each got hold of.
#[test]
fn of_instances_that_start_together_one_goes_on() -> Result<()> {
    let bench = Bench::new()?;
    for round in 0..5 {
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| -> Result<bool> {
                        let connector = bench.connector("")?;
                        // As a worker would: anew after an error that asks for it.
                        for _ in 0..20 {
                            match open_and_commit(&*connector, &bench.progress()) {
                                Ok(()) => return Ok(true),
                                Err(error) if error.kind() == ErrorKind::Fenced => return Ok(false),
                                Err(error) if error.kind() == ErrorKind::Retry => {}
                                Err(error) => bail!("{}", shown(&error)),
                            }
                        }
                        bail!("twenty attempts were not enough")
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().map_err(|_| anyhow!("a panic"))?).collect::<Result<_>>()
        })?;
        ensure!(outcomes.contains(&true), "round {round}: all have halted");
    }
    Ok(())
}
