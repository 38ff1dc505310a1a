//! Reading topics to their end, with librdkafka's plain consumer. Knows nothing of what the records mean.

use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::MetadataBroker;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only those of committed transactions.
    ReadCommitted,
    /// Those of open and aborted transactions too.
    ReadUncommitted,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Partition.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970, as the record says.
    pub timestamp: Option<i64>,
}

const ANSWER: Duration = Duration::from_secs(30);
/// How long a reader of committed records waits for transactions to end: one that nobody ends is ended by its coordinator after
/// a minute, and coordinators look every ten seconds.
pub(super) const MARKER_LIMIT: Duration = Duration::from_secs(100);
const READ_LIMIT: Duration = Duration::from_secs(120);

fn consumer(brokers: &str, isolation: Isolation) -> Result<BaseConsumer> {
    let level = match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "testkit")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", level)
        .set("auto.offset.reset", "error")
        .set("log_level", "0")
        .create()
        .context("make a consumer")
}

/// Ids of the nodes that the cluster shows.
pub(super) fn registered(brokers: &str) -> Result<Vec<i32>> {
    let metadata = consumer(brokers, Isolation::ReadCommitted)?.fetch_metadata(None, Duration::from_secs(1))?;
    Ok(metadata.brokers().iter().map(MetadataBroker::id).collect())
}

/// The node that leads a partition, and those that are in sync with it.
pub(super) fn leadership(brokers: &str, topic: &str, partition: i32) -> Result<(i32, Vec<i32>)> {
    let metadata =
        consumer(brokers, Isolation::ReadCommitted)?.fetch_metadata(None, ANSWER).context("ask for leaders")?;
    let found = metadata.topics().iter().find(|t| t.name() == topic).with_context(|| format!("no topic {topic}"))?;
    let found = found.partitions().iter().find(|p| p.id() == partition);
    let found = found.with_context(|| format!("no partition {topic}/{partition}"))?;
    ensure!(found.leader() >= 0, "{topic}/{partition} has no leader now");
    Ok((found.leader(), found.isr().to_vec()))
}

pub(super) fn topics(brokers: &str) -> Result<Vec<String>> {
    let metadata =
        consumer(brokers, Isolation::ReadCommitted)?.fetch_metadata(None, ANSWER).context("ask for topics")?;
    let mut names: Vec<String> =
        metadata.topics().iter().map(|t| t.name().to_owned()).filter(|name| !name.starts_with("__")).collect();
    names.sort();
    Ok(names)
}

/// Where each partition ends now. One that is written to all the while may never be seen at its end.
fn ends(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let metadata = consumer.fetch_metadata(None, ANSWER).context("ask for partitions")?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    found.iter().flat_map(|t| t.partitions()).map(|partition| end(consumer, topic, partition.id())).collect()
}

/// A broker that was just restarted is up before it leads its partitions.
fn end(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i32, i64)> {
    let mut refused = None;
    let asked = wait::until("a partition to be served", ANSWER, || {
        Ok(match consumer.fetch_watermarks(topic, partition, ANSWER) {
            Ok((_, end)) => Some((partition, end)),
            Err(error) => {
                refused = Some(error);
                None
            }
        })
    });
    asked.with_context(|| format!("ask for the end of {topic}/{partition}: {refused:?}"))
}

/// A commit is answered when the coordinator has noted it; each partition shows it a little later, and a broker that was
/// just restarted takes its time. A transaction that nobody ends shows nothing, however long one waits: an
/// error, or what lies behind it would be taken for lost.
fn wait_for_markers(committed: &BaseConsumer, brokers: &str, topic: &str, limit: Duration) -> Result<()> {
    let written = ends(&consumer(brokers, Isolation::ReadUncommitted)?, topic)?;
    let begin = Instant::now();
    let ended = wait::until("transactions to end", READ_LIMIT, || {
        let ended = is_shown(committed, topic, &written)?;
        Ok((ended || begin.elapsed() > limit).then_some(ended))
    })?;
    if ended {
        return Ok(());
    }
    let shown = ends(committed, topic)?;
    let open = written.iter().filter(|(partition, end)| shown.get(partition) < Some(end));
    let open = open.map(|(partition, end)| {
        format!("partition {partition} shows {} of {end} records", shown.get(partition).copied().unwrap_or(0))
    });
    let open = open.collect::<Vec<_>>().join(", ");
    bail!("{topic} has transactions that are open after {} s: {open}", limit.as_secs())
}

fn is_shown(committed: &BaseConsumer, topic: &str, written: &BTreeMap<i32, i64>) -> Result<bool> {
    let shown = ends(committed, topic)?;
    Ok(written.iter().all(|(partition, end)| shown.get(partition) >= Some(end)))
}

pub(super) fn all_ended(brokers: &str, topic: &str) -> Result<bool> {
    let written = ends(&consumer(brokers, Isolation::ReadUncommitted)?, topic)?;
    is_shown(&consumer(brokers, Isolation::ReadCommitted)?, topic, &written)
}

/// Every record of a topic. What is committed is waited for, for so long.
pub(super) fn consume(brokers: &str, topic: &str, isolation: Isolation, limit: Duration) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut keep = |record| {
        records.push(record);
        Ok(())
    };
    visit(brokers, topic, isolation, limit, &mut keep)?;
    records.sort_by_key(|record: &Record| (record.partition, record.offset));
    Ok(records)
}

/// The same, one by one.
pub(super) fn visit(
    brokers: &str,
    topic: &str,
    isolation: Isolation,
    limit: Duration,
    act: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<()> {
    let consumer = consumer(brokers, isolation)?;
    if isolation == Isolation::ReadCommitted {
        wait_for_markers(&consumer, brokers, topic, limit)?;
    }
    let mut open = ends(&consumer, topic)?;
    let mut assignment = TopicPartitionList::new();
    for partition in open.keys() {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).context("assign a partition")?;
    }
    consumer.assign(&assignment).context("assign partitions")?;
    let mut last = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(500)) {
            None => {}
            Some(Ok(message)) => {
                let Some(end) = open.get(&message.partition()).copied() else { continue };
                if message.offset() < end {
                    act(read(&message))?;
                }
                if message.offset() + 1 >= end {
                    open.remove(&message.partition());
                }
                last = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            // A line that broke: the client goes on over another one.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
            ))) => {}
            Some(Err(error)) => return Err(error).with_context(|| format!("read {topic}")),
        }
        if last.elapsed() > READ_LIMIT {
            bail!("{topic} gave nothing for {} s: partitions {open:?} are still open", READ_LIMIT.as_secs());
        }
    }
    Ok(())
}

/// A reader that goes on where it was.
pub struct Tail {
    consumer: BaseConsumer,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tail")
    }
}

impl Tail {
    /// Of a topic of one partition, from its beginning; nothing while it is not there, or the broker is away.
    pub fn of(brokers: &str, topic: &str) -> Option<Tail> {
        let consumer = consumer(brokers, Isolation::ReadCommitted).ok()?;
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_millis(500)).ok()?;
        let is_there = metadata.topics().iter().any(|t| t.name() == topic && !t.partitions().is_empty());
        if is_there { Tail::new(brokers, topic).ok() } else { None }
    }

    fn new(brokers: &str, topic: &str) -> Result<Tail> {
        let consumer = consumer(brokers, Isolation::ReadCommitted)?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, 0, Offset::Beginning).context("assign a partition")?;
        consumer.assign(&assignment).context("assign partitions")?;
        Ok(Tail { consumer })
    }

    /// The next record, if one comes within this time. A broker that is away has none.
    pub fn next(&self, limit: Duration) -> Option<Record> {
        let end = Instant::now() + limit;
        loop {
            match self.consumer.poll(end.saturating_duration_since(Instant::now())) {
                Some(Ok(message)) => return Some(read(&message)),
                Some(Err(_)) if Instant::now() < end => {}
                _ => return None,
            }
        }
    }
}

fn read(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|list| list.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
        timestamp: message.timestamp().to_millis(),
    }
}

pub(super) fn alter_topic(brokers: &str, topic: &str, settings: &[(&str, &str)]) -> Result<()> {
    let alter = AlterConfig { specifier: ResourceSpecifier::Topic(topic), entries: settings.iter().copied().collect() };
    let ask = async |admin: &Admin, options: &AdminOptions| {
        let altered = admin.alter_configs([&alter], options).await?;
        Ok(altered
            .into_iter()
            .map(|one| one.map(|_| topic.to_owned()).map_err(|(_, code)| (topic.to_owned(), code)))
            .collect())
    };
    must_be_done("alter", admin(brokers, ask)?, None)
}

/// `copies` is -1 for as many as the brokers make by default.
pub(super) fn create_topic(
    brokers: &str,
    topic: &str,
    partitions: i32,
    copies: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let results = admin(brokers, async |admin, options| admin.create_topics([&new], options).await)?;
    must_be_done("create", results, Some(RDKafkaErrorCode::TopicAlreadyExists))
}

pub(super) fn delete_topic(brokers: &str, topic: &str) -> Result<()> {
    let results = admin(brokers, async |admin, options| admin.delete_topics(&[topic], options).await)?;
    must_be_done("delete", results, None)?;
    wait::until("the topic to be gone", ANSWER, || {
        Ok((!topics(brokers)?.iter().any(|name| name == topic)).then_some(()))
    })
}

pub(super) fn add_partitions(brokers: &str, topic: &str, partitions: usize) -> Result<()> {
    let new = NewPartitions::new(topic, partitions);
    let results = admin(brokers, async |admin, options| admin.create_partitions([&new], options).await)?;
    must_be_done("add partitions to", results, None)
}

type Admin = AdminClient<DefaultClientContext>;

fn admin(
    brokers: &str,
    ask: impl AsyncFnOnce(&Admin, &AdminOptions) -> KafkaResult<Vec<TopicResult>>,
) -> Result<Vec<TopicResult>> {
    let admin: Admin = ClientConfig::new().set("bootstrap.servers", brokers).set("log_level", "0").create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    runtime.block_on(ask(&admin, &options)).context("ask the broker")
}

fn must_be_done(act: &str, results: Vec<TopicResult>, or: Option<RDKafkaErrorCode>) -> Result<()> {
    for result in results {
        match result {
            Ok(_) => {}
            Err((_, code)) if or == Some(code) => {}
            Err((name, code)) => bail!("{act} topic {name}: {code}"),
        }
    }
    Ok(())
}
