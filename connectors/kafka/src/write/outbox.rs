//! The producer's side of a transaction: records in, a commit out, and the proof that none was lost between.
//! Knows topics by the encoder's numbers; knows no table.

use crate::client::RECORD_BYTES_MAX;
use crate::client::failure::{FailedRecord, Failure};
use crate::client::raw::{Message, TopicHandle};
use crate::client::turns::Turns;
use crate::encode::{Record, TopicId};
use crate::error;
use crate::position;
use crate::write::partition;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;
use tidewire_core::{Error, Result};

/// Queues records in the open transaction.
pub(super) struct Outbox {
    producers: Turns,
    // How long a full queue is waited on.
    patience: Duration,
    // By the encoder's topic number.
    targets: Vec<Option<Target>>,
    progress: Option<TopicHandle>,
    // Records of the change at hand whose topic was not known yet, in order.
    waiting: VecDeque<OwnedRecord>,
    refused: Option<FailedRecord>,
    records: u64,
    bytes: u64,
}

/// A topic that is open.
#[derive(Clone, Copy)]
struct Target {
    handle: TopicHandle,
    partitions: NonZeroU32,
}

struct OwnedRecord {
    topic: TopicId,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    timestamp_ms: i64,
}

impl Outbox {
    pub(super) fn new(producers: Turns, patience: Duration) -> Outbox {
        Outbox {
            producers,
            patience,
            targets: Vec::new(),
            progress: None,
            waiting: VecDeque::new(),
            refused: None,
            records: 0,
            bytes: 0,
        }
    }

    /// Opens the topic of [`Outbox::put_progress`].
    pub(super) fn progress_topic(&mut self, name: &str) -> Result<(), Failure> {
        self.progress = Some(self.producers.topic(name)?);
        Ok(())
    }

    /// Records and bytes taken so far.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.records, self.bytes)
    }

    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.producers.begin_transaction()
    }

    /// Queues a record, or keeps it aside while its topic is unknown; see [`Outbox::unknown_topic`].
    pub(super) fn put(&mut self, record: &Record<'_>) -> Result<()> {
        match self.target(record.topic) {
            // What was kept aside comes first.
            Some(target) if self.waiting.is_empty() => self.produce(
                target.handle,
                Message {
                    partition: target.partition(record.key),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                    timestamp_ms: record.timestamp_ms,
                },
            ),
            _ => {
                self.waiting.push_back(OwnedRecord::of(record));
                Ok(())
            }
        }
    }

    /// The topic that the first record kept aside waits for. None when nothing is kept aside.
    pub(super) fn unknown_topic(&self) -> Option<TopicId> {
        self.waiting.front().map(|record| record.topic)
    }

    /// Opens a topic and queues the records that waited for it.
    pub(super) fn open_topic(&mut self, topic: TopicId, name: &str, partitions: NonZeroU32) -> Result<()> {
        let handle = self.producers.topic(name).map_err(|e| error::of_failure(&format!("open topic `{name}`"), e))?;
        let index = topic.0 as usize;
        if self.targets.len() <= index {
            self.targets.resize(index + 1, None);
        }
        if let Some(slot) = self.targets.get_mut(index) {
            *slot = Some(Target { handle, partitions });
        }
        while let Some(target) = self.waiting.front().and_then(|record| self.target(record.topic)) {
            let Some(record) = self.waiting.pop_front() else {
                break;
            };
            let headers: Vec<_> =
                record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let message = Message {
                partition: target.partition(record.key.as_deref()),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
                timestamp_ms: record.timestamp_ms,
            };
            self.produce(target.handle, message)?;
        }
        Ok(())
    }

    /// Queues a record of the progress topic.
    pub(super) fn put_progress(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_in_progress_topic(key, Some(value))
    }

    fn put_in_progress_topic(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let handle =
            self.progress.ok_or_else(|| Error::bug("progress_topic_closed", "the progress topic is not open"))?;
        let message =
            Message { partition: Some(position::PARTITION), key: Some(key), value, headers: &[], timestamp_ms: 0 };
        self.produce(handle, message)
    }

    /// Commits. Only `Ok` means that every record and the progress are visible together.
    pub(super) fn commit(&mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            return Err(Error::bug("records_kept_aside", "records wait for a topic at commit"));
        }
        let outcome = self.producers.commit_transaction(self.patience);
        outcome.map_err(|failure| self.refused("commit a transaction", failure))?;
        // SK-05: a commit that succeeds means that all were delivered. Believe it only when the count agrees.
        let (produced, acknowledged) = (self.producers.produced(), self.producers.acknowledged());
        if produced != acknowledged {
            let sentence = format!("committed after {produced} records of which {acknowledged} were acknowledged");
            return Err(Error::bug("records_unacknowledged", sentence));
        }
        Ok(())
    }

    /// Whether the producer whose id decides is at work.
    pub(super) fn first_has_its_turn(&self) -> bool {
        self.producers.first_has_its_turn()
    }

    /// Commits a record that says nothing by the producer whose id decides, after the other was fenced: it can only
    /// while no other instance has taken over.
    pub(super) fn prove_first(&mut self, key: &[u8]) -> Result<()> {
        self.producers.return_to_first();
        self.begin().map_err(|e| error::of_failure("begin a transaction", e))?;
        self.put_in_progress_topic(key, None)?;
        self.producers
            .commit_transaction(self.patience)
            .map_err(|failure| error::of_failure("commit a transaction", failure))
    }

    /// Gives the transaction up.
    pub(super) fn abort(&mut self, patience: Duration) -> Result<(), Failure> {
        self.waiting.clear();
        self.producers.abort_transaction(patience)
    }

    /// The record that was refused, if that is what went wrong.
    pub(super) fn refused_record(&self) -> Option<&FailedRecord> {
        self.refused.as_ref()
    }

    fn target(&self, topic: TopicId) -> Option<Target> {
        self.targets.get(topic.0 as usize).copied().flatten()
    }

    fn produce(&mut self, handle: TopicHandle, message: Message<'_>) -> Result<()> {
        let size = message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
        match self.producers.produce(handle, message, self.patience) {
            Ok(()) => {
                self.records += 1;
                self.bytes += size as u64;
                Ok(())
            }
            Err(mut failure) => {
                if failure.record.is_none() {
                    failure.record = self.producers.failed_record(handle, message.key, size);
                }
                Err(self.refused("send a record", failure))
            }
        }
    }

    fn refused(&mut self, act: &str, failure: Failure) -> Error {
        self.refused.clone_from(&failure.record);
        error::of_failure(act, failure)
    }
}

impl Target {
    // None lets the client choose.
    fn partition(self, key: Option<&[u8]>) -> Option<i32> {
        key.map(|key| partition::of_key(key, self.partitions))
    }
}

impl OwnedRecord {
    fn of(record: &Record<'_>) -> OwnedRecord {
        OwnedRecord {
            topic: record.topic,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
            timestamp_ms: record.timestamp_ms,
        }
    }
}

// A record at the client's limit must fit the queue, or it would wait for room for ever.
const _: () = assert!((RECORD_BYTES_MAX as u64) * 2 <= 32 << 20);
