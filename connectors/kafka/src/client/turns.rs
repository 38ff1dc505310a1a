//! Two transactional producers that take turns, a transaction each: the next one is begun at once while the brokers
//! still write the markers of the last. Knows the order of the two; knows no table and no progress.
//!
//! A broker answers the end of a transaction as soon as the decision is stored, and only then writes its markers to the
//! partitions. The same producer cannot add partitions to its next transaction before that is done; librdkafka is told
//! so and tries again after 20 ms. Another producer need not wait.
//!
//! # Why the order holds
//! Only one of the two has a transaction open. The other begins after the commit of the first was answered with
//! success, so records lie in each partition in the order of the commits, and a reader of committed records, who stops
//! at the first transaction that is not ended, sees them in that order whichever markers are written first. An unknown
//! outcome ends both: the sink is dropped, and the next start asks the brokers for it by registering both ids anew.
//!
//! # Why the ids are registered one after the other
//! Two instances that start at the same moment could else hold one id each. The first id decides: it is registered
//! first and proved first, so of two instances that hold one each only the holder of the first goes on. It finds the
//! second taken, proves that it still holds the first, and registers both anew.

use super::failure::Failure;
use super::offsets::Offsets;
use super::raw::{Message, Producer, TopicHandle};
use crate::config::Settings;
use crate::error;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::Result;

/// Producers of a sink and a source.
pub(crate) const PRODUCERS: usize = 2;

/// Producers that take turns.
pub(crate) struct Turns {
    producers: [Producer; PRODUCERS],
    current: usize,
}

impl Turns {
    /// Makes both and registers their ids, in order: from here on no earlier instance can add anything.
    pub(crate) fn register(settings: &Settings, source: &str, patience: Duration) -> Result<Turns> {
        let offsets = Arc::new(Offsets::default());
        let make = |number: usize| {
            let config = super::producer_config(settings, source, number)?;
            Producer::new(&config, &offsets).map_err(|e| error::of_failure("make a kafka producer", e))
        };
        let turns = Turns { producers: [make(0)?, make(1)?], current: 0 };
        for producer in &turns.producers {
            let registered = producer.init_transactions(patience);
            registered.map_err(|e| error::of_failure("register the transactional id", e))?;
        }
        Ok(turns)
    }

    /// Opens a topic in both; the handle is the same, since both open the same topics in the same order.
    pub(crate) fn topic(&mut self, name: &str) -> Result<TopicHandle, Failure> {
        let mut first = None;
        for producer in &mut self.producers {
            let handle = producer.topic(name)?;
            if *first.get_or_insert(handle) != handle {
                return Err(Failure::new(RDKafkaErrorCode::Fail, "the two producers have different topics"));
            }
        }
        first.ok_or_else(|| Failure::new(RDKafkaErrorCode::Fail, "there is no producer"))
    }

    /// Begins a transaction of the producer whose turn it is.
    pub(crate) fn begin_transaction(&self) -> Result<(), Failure> {
        self.producer()?.begin_transaction()
    }

    /// Queues a copy of a record in the open transaction. Waits up to `patience` while the queue is full.
    pub(crate) fn produce(
        &mut self,
        topic: TopicHandle,
        message: Message<'_>,
        patience: Duration,
    ) -> Result<(), Failure> {
        match self.producers.get_mut(self.current) {
            Some(producer) => producer.produce(topic, message, patience),
            None => Err(lost()),
        }
    }

    /// Waits until every record is delivered and commits, for `patience` at most; then it is the other's turn. Only `Ok` means that the
    /// transaction is committed; on an error neither producer may be used for another.
    pub(crate) fn commit_transaction(&mut self, patience: Duration) -> Result<(), Failure> {
        self.producer()?.commit_transaction(patience)?;
        self.current = (self.current + 1) % PRODUCERS;
        Ok(())
    }

    /// Whether it is the turn of the first one, whose id decides.
    pub(crate) fn first_has_its_turn(&self) -> bool {
        self.current == 0
    }

    /// Gives the first one its turn, to prove that its id is still ours after the other was fenced.
    pub(crate) fn return_to_first(&mut self) {
        self.current = 0;
    }

    /// Aborts the open transaction.
    pub(crate) fn abort_transaction(&self, patience: Duration) -> Result<(), Failure> {
        self.producer()?.abort_transaction(patience)
    }

    /// Records accepted by `produce` so far.
    pub(crate) fn produced(&self) -> u64 {
        self.producers.iter().map(Producer::produced).sum()
    }

    /// Records that brokers have acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.producers.iter().map(Producer::acknowledged).sum()
    }

    /// Describes a record that `produce` refused.
    pub(crate) fn failed_record(
        &self,
        topic: TopicHandle,
        key: Option<&[u8]>,
        size: usize,
    ) -> Option<super::failure::FailedRecord> {
        self.producer().ok().map(|producer| producer.failed_record(topic, key, size))
    }

    fn producer(&self) -> Result<&Producer, Failure> {
        self.producers.get(self.current).ok_or_else(lost)
    }
}

fn lost() -> Failure {
    Failure::new(RDKafkaErrorCode::Fail, "no producer has its turn")
}
