//! The progress topic: what a sink holds of a source, as a record in the transaction of the data.
//!
//! # What is stored
//! One record for each pair of sink and source (and one of their topics, see the crate's `facts`) in `tidewire-progress` (compacted, partition 0). The key is the
//! pair, the value [`Stored`]. It is written in the same Kafka transaction as the records that it counts,
//! so the two cannot part.
//!
//! # How it is read
//! After `init_transactions`, which fences the instance before us and ends its transaction: from then on no record
//! of our key can appear that we do not write ourselves. The end of the topic is asked for at that moment,
//! uncommitted records included. A reader of committed transactions stops at the first open one, which may be
//! another sink's, and our newest record may lie behind it; so we first wait until nothing before that end is open.
//! The newest record of a key wins, hence the search starts near the end and widens only while it finds nothing.

use crate::client::admin::{Admin, Cluster, Created, Effect};
use crate::client::{Isolation, REQUEST_TIMEOUT, reader_config};
use crate::config::{Creation, Settings};
use crate::error;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tidewire_core::{Error, Finding, Progress, Result};

/// Name of the progress topic.
pub(crate) const TOPIC: &str = "tidewire-progress";
/// Its only partition that is used.
pub(crate) const PARTITION: i32 = 0;
/// Form of the value that this version writes, and the newest that it reads.
const VERSION: u32 = 1;
/// Offsets that the first search looks back over, and by how much each next one looks further.
const WINDOW: i64 = 1_000;
const WINDOW_GROWTH: i64 = 32;
/// Compaction spares the newest segment: small ones keep the topic short.
const SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.1")];

/// The value of a progress record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Form of this value.
    version: u32,
    /// Counts the instances that have opened this pair.
    pub(crate) epoch: u64,
    /// What the sink holds.
    #[serde(flatten)]
    pub(crate) progress: Progress,
}

#[derive(Serialize)]
struct Key<'a> {
    sink: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'static str>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[derive(Serialize)]
struct StoredRef<'a> {
    version: u32,
    epoch: u64,
    #[serde(flatten)]
    progress: &'a Progress,
}

/// The key of a pair's progress.
pub(crate) fn key(sink: &str, source: &str) -> Result<Vec<u8>> {
    key_of(&Key { sink, source, record: None })
}

/// The key of another record of a pair, such as that of its topics.
pub(crate) fn record_key(sink: &str, source: &str, record: &'static str) -> Result<Vec<u8>> {
    key_of(&Key { sink, source, record: Some(record) })
}

fn key_of(key: &Key<'_>) -> Result<Vec<u8>> {
    serde_json::to_vec(key).map_err(|e| Error::bug("progress_key", "write a key of the progress topic").with_cause(e))
}

/// Writes a value into a reused buffer.
pub(crate) fn write_value(epoch: u64, progress: &Progress, out: &mut Vec<u8>) -> Result<()> {
    out.clear();
    serde_json::to_writer(out, &StoredRef { version: VERSION, epoch, progress })
        .map_err(|e| Error::bug("progress_value", "write a progress value").with_cause(e))
}

/// Reads a value. A newer form and a damaged one are refused: guessing would lose or repeat changes (SK-54, SK-51).
pub(crate) fn parse_value(value: &[u8]) -> Result<Stored> {
    check_version(value, VERSION)?;
    serde_json::from_slice(value).map_err(damaged)
}

/// The error for a record of the progress topic that cannot be read.
pub(crate) fn damaged(cause: serde_json::Error) -> Error {
    Error::operator("progress_unreadable", format!("a record of topic `{TOPIC}` is none of ours"))
        .with_remedy(format!("find out who else writes to `{TOPIC}`, and restore the record"))
        .with_cause(cause)
}

/// Refuses a record whose form is newer than this version reads.
pub(crate) fn check_version(value: &[u8], newest: u32) -> Result<()> {
    let VersionOnly { version } = serde_json::from_slice(value).map_err(damaged)?;
    if version > newest {
        let sentence = format!("a record in topic `{TOPIC}` has form {version}, this version reads up to {newest}");
        return Err(Error::operator("progress_newer", sentence).with_remedy("run the newer version of tidewire again"));
    }
    Ok(())
}

/// Makes sure that the topic is there.
pub(crate) fn ensure(settings: &Settings, admin: &Admin, cluster: &Cluster) -> Result<Created> {
    if cluster.topics.contains_key(TOPIC) {
        return Ok(Created::Existing);
    }
    if !settings.creation.allowed {
        return Err(missing(settings).into_error());
    }
    admin.create(TOPIC, &creation(settings), Effect::Apply)
}

/// How the topic is created.
pub(crate) fn creation(settings: &Settings) -> Creation {
    Creation {
        allowed: true,
        partitions: 1,
        replication: settings.creation.replication,
        config: SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

/// The finding when it is neither there nor to be created.
pub(crate) fn missing(settings: &Settings) -> Finding {
    let config: String = SETTINGS.iter().map(|(key, value)| format!(" --config {key}={value}")).collect();
    Finding::error(
        "progress_topic_missing",
        format!("topic `{TOPIC}` is missing and `create_topics` is off"),
        format!(
            "run `kafka-topics --bootstrap-server {} --create --topic {TOPIC} --partitions 1{config}`",
            settings.brokers
        ),
    )
}

/// What is odd about an existing topic (SK-0B).
pub(crate) fn oddities(settings: &Settings, admin: &Admin, cluster: &Cluster) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let Some(partitions) = cluster.topics.get(TOPIC) else {
        return Ok(findings);
    };
    if *partitions > 1 {
        findings.push(Finding::warning(
            "progress_topic_partitions",
            format!("topic `{TOPIC}` has {partitions} partitions; only the first is used"),
            "nothing has to be done; a new topic would have one",
        ));
    }
    let topic_settings = admin.topic_settings(&[TOPIC])?.into_iter().next().flatten();
    let policy = topic_settings.as_ref().and_then(|settings| settings.get("cleanup.policy"));
    if let Some(policy) = policy
        && policy != "compact"
    {
        findings.push(Finding::error(
            "progress_topic_deletes",
            format!("topic `{TOPIC}` has `cleanup.policy={policy}`: the progress of a quiet source would be deleted"),
            format!(
                "run `kafka-configs --bootstrap-server {} --alter --entity-type topics --entity-name {TOPIC} --add-config cleanup.policy=compact`",
                settings.brokers
            ),
        ));
    }
    Ok(findings)
}

/// Reads the values of the newest committed records of some keys. Waits up to `patience` for open transactions of others.
pub(crate) fn read<const N: usize>(
    settings: &Settings,
    keys: [&[u8]; N],
    patience: Duration,
) -> Result<[Option<Vec<u8>>; N]> {
    let mut values = read_all(settings, &keys, patience)?.into_iter();
    Ok(keys.map(|_| values.next().flatten()))
}

/// The same for any number of keys.
pub(crate) fn read_all(settings: &Settings, keys: &[&[u8]], patience: Duration) -> Result<Vec<Option<Vec<u8>>>> {
    let deadline = Instant::now() + patience;
    let (low, end) = watermarks(&reader(settings, Isolation::Uncommitted)?)?;
    if low >= end {
        return Ok(vec![None; keys.len()]);
    }
    let reader = reader(settings, Isolation::Committed)?;
    wait_for_stable_end(&reader, end, deadline)?;
    let mut window = WINDOW;
    loop {
        let start = end.saturating_sub(window).max(low);
        let found = scan(&reader, keys, start, deadline)?;
        if start == low || found.iter().all(|found| !matches!(found, Found::Nothing)) {
            let value = |found| match found {
                Found::Value(value) => Some(value),
                Found::Tombstone | Found::Nothing => None,
            };
            return Ok(found.into_iter().map(value).collect());
        }
        window = window.saturating_mul(WINDOW_GROWTH);
    }
}

enum Found {
    Value(Vec<u8>),
    Tombstone,
    Nothing,
}

fn reader(settings: &Settings, isolation: Isolation) -> Result<BaseConsumer> {
    reader_config(settings, isolation)?.create().map_err(|e| error::of_wrapper("make a kafka client", &e))
}

fn watermarks(reader: &BaseConsumer) -> Result<(i64, i64)> {
    let answer = reader.fetch_watermarks(TOPIC, PARTITION, REQUEST_TIMEOUT);
    answer.map_err(|e| error::of_wrapper("ask for the ends of the progress topic", &e))
}

// A reader of committed transactions is told the offset of the first open one as the end.
fn wait_for_stable_end(reader: &BaseConsumer, end: i64, deadline: Instant) -> Result<()> {
    loop {
        let (_, stable) = watermarks(reader)?;
        if stable >= end {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let sentence =
                format!("topic `{TOPIC}` has a transaction open since offset {stable}, before its end {end}");
            return Err(Error::retry("progress_blocked", sentence)
                .with_remedy("look for it with `kafka-transactions find-hanging`"));
        }
        // The other side is a coordinator that gives up on a dead producer: nothing here can be waited on.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn scan(reader: &BaseConsumer, keys: &[&[u8]], start: i64, deadline: Instant) -> Result<Vec<Found>> {
    let act = "read the progress topic";
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, PARTITION, Offset::Offset(start)).map_err(|e| error::of_wrapper(act, &e))?;
    reader.assign(&assignment).map_err(|e| error::of_wrapper(act, &e))?;
    let mut found: Vec<Found> = keys.iter().map(|_| Found::Nothing).collect();
    let mut last_error = None;
    loop {
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let ours = keys.iter().zip(&mut found).find(|(key, _)| message.key() == Some(**key));
                if let Some((_, found)) = ours {
                    *found = message.payload().map_or(Found::Tombstone, |value| Found::Value(value.to_vec()));
                }
            }
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
            // Looked up on the side, though no group is joined.
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed))) => {}
            Some(Err(error @ KafkaError::MessageConsumption(RDKafkaErrorCode::TopicAuthorizationFailed))) => {
                return Err(error::of_wrapper(act, &error));
            }
            Some(Err(error)) => last_error = Some(error),
        }
        if Instant::now() >= deadline {
            let error = Error::retry("progress_unread", "the end of the progress topic did not come in time");
            return Err(match last_error {
                Some(cause) => error.with_cause(cause),
                None => error,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::{ErrorKind, Mark, Position, TableProgress, TableState};

    fn progress() -> Progress {
        let position = Position::new(Mark { major: u64::MAX, minor: 7 }, "7000000000/1/0:FFFFFFFF/7");
        let table = TableProgress { state: TableState::Done, floor: position.clone() };
        Progress {
            position: Some(position),
            tables: [("public.\"x\"".to_owned(), table)].into(),
            ..Progress::default()
        }
    }

    #[test]
    fn a_value_comes_back_as_it_was() {
        for (epoch, progress) in [(1, Progress::default()), (u64::MAX, progress())] {
            let mut value = b"left over".to_vec();
            write_value(epoch, &progress, &mut value).expect("a value");
            assert_eq!(parse_value(&value).expect("stored"), Stored { version: VERSION, epoch, progress });
        }
    }

    #[test]
    fn the_key_tells_pairs_apart() {
        assert_eq!(key("events", "shop").expect("a key"), br#"{"sink":"events","source":"shop"}"#);
        assert_ne!(key("a-b", "c").expect("a key"), key("a", "b-c").expect("a key"));
    }

    #[test]
    fn damage_and_newer_forms_are_refused() {
        for (value, code) in [
            (r#"{"version":2,"whatever":1}"#, "progress_newer"),
            (r#"{"version":1}"#, "progress_unreadable"),
            (r#"{"version":1,"epoch":1,"position":3}"#, "progress_unreadable"),
            ("", "progress_unreadable"),
        ] {
            let error = parse_value(value.as_bytes()).expect_err(value);
            assert_eq!((error.code(), error.kind()), (code, ErrorKind::Operator));
        }
    }
}
