//! The running sink of one source: encodes batches into an open Kafka transaction and commits it together with the
//! progress. Knows the order of these steps; knows neither the bytes of a record nor librdkafka.
//!
//! Several source transactions share a Kafka transaction, which begins with the first record after a commit.
//! Whatever goes wrong after that, the transaction is given up and this value cannot be used again: the sink is
//! opened anew, reads what it holds, and the source's changes come once more. Nothing is lost by that, since
//! nothing of the transaction was visible.

mod destinations;
mod outbox;
mod owners;
mod partition;

pub(crate) use destinations::{Destinations, create_command};
pub(crate) use owners::{Owner, TopicOwners};

use crate::client::failure::Failure;
use crate::client::turns::Turns;
use crate::config::Settings;
use crate::encode::Encoder;
use crate::error;
use crate::facts;
use crate::metrics::SinkMetrics;
use crate::position;
use crate::topics::TopicTemplate;
use destinations::{OwnRecords, TableTopics};
use outbox::Outbox;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::sink::Selection;
use tidewire_core::{Batch, Error, ErrorKind, Progress, Result, Sink, TableName, failpoint};

/// How long giving a transaction up may take; the next instance does it otherwise.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the search for a successor may take once this producer is fenced.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks for it: nothing tells when it writes.
const SUCCESSOR_LOOK: Duration = Duration::from_millis(500);

/// The record without a value by which an instance proves that its id is still its own.
const PROOF: &str = "proof";

/// A running sink.
pub(crate) struct KafkaSink {
    settings: Arc<Settings>,
    source: Arc<str>,
    outbox: Outbox,
    destinations: Destinations,
    tables: TableTopics,
    encoder: Option<Encoder>,
    progress_key: Vec<u8>,
    progress_value: Vec<u8>,
    proof_key: Vec<u8>,
    facts_key: Vec<u8>,
    epoch: u64,
    metrics: SinkMetrics,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No transaction is open.
    Idle,
    /// One is, since then.
    Open(Instant),
    /// Something went wrong.
    Broken,
}

impl KafkaSink {
    /// Takes over producers whose transactional ids are registered. `epoch` counts the instances.
    pub(crate) fn new(
        settings: Arc<Settings>,
        source: &str,
        producers: Turns,
        destinations: Destinations,
        owners: Arc<TopicOwners>,
        epoch: u64,
    ) -> Result<KafkaSink> {
        let mut outbox = Outbox::new(producers, settings.transaction_timeout);
        outbox.progress_topic(position::TOPIC).map_err(|e| error::of_failure("open the progress topic", e))?;
        Ok(KafkaSink {
            source: source.into(),
            outbox,
            destinations,
            tables: TableTopics::new(source, owners, &settings.template, OwnRecords::of(&settings)),
            encoder: None,
            progress_key: position::key(&settings.sink, source)?,
            progress_value: Vec::new(),
            proof_key: position::record_key(&settings.sink, source, PROOF)?,
            facts_key: facts::key(&settings.sink, source)?,
            epoch,
            metrics: SinkMetrics::new(&settings.sink, source),
            state: State::Idle,
            settings,
        })
    }

    fn begin(&mut self) -> Result<()> {
        match self.state {
            State::Open(_) => Ok(()),
            State::Idle => {
                self.outbox.begin().map_err(|e| error::of_failure("begin a transaction", e))?;
                self.state = State::Open(Instant::now());
                Ok(())
            }
            State::Broken => Err(Error::bug("sink_used_after_error", "a kafka sink was used after an error")),
        }
    }

    fn write_batch(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        self.tables.learn(batch, selection)?;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(new_encoder(&self.settings, batch)),
        };
        let (records, bytes) = self.outbox.totals();
        for change in selection.of(batch) {
            let outbox = &mut self.outbox;
            encoder.encode(batch, change, &mut |record| outbox.put(&record))?;
            open_topics(&mut self.outbox, &mut self.destinations, &self.tables, encoder)?;
        }
        let outbox = &mut self.outbox;
        encoder.end_batch(batch, &mut |record| outbox.put(&record))?;
        open_topics(&mut self.outbox, &mut self.destinations, &self.tables, encoder)?;
        let (records_now, bytes_now) = self.outbox.totals();
        self.metrics.records.increment(records_now - records);
        self.metrics.record_bytes.increment(bytes_now - bytes);
        Ok(())
    }

    fn commit_with(&mut self, progress: &Progress) -> Result<()> {
        self.begin()?;
        let facts_stored = self.destinations.write_facts(&mut self.progress_value)?;
        if facts_stored {
            self.outbox.put_progress(&self.facts_key, &self.progress_value)?;
        }
        position::write_value(self.epoch, progress, &mut self.progress_value)?;
        self.outbox.put_progress(&self.progress_key, &self.progress_value)?;
        failpoint::step("kafka_before_commit")?;
        let started = Instant::now();
        self.outbox.commit()?;
        failpoint::step("kafka_after_commit")?;
        self.state = State::Idle;
        self.destinations.committed(facts_stored);
        self.metrics.records.increment(1);
        self.metrics.transactions.increment(1);
        self.metrics.commit_duration.record(started.elapsed());
        Ok(())
    }

    // Every error ends this value: the transaction is given up and its records stay invisible.
    fn give_up(&mut self, error: Error) -> Error {
        let state = std::mem::replace(&mut self.state, State::Broken);
        let State::Open(since) = state else {
            return error;
        };
        self.metrics.aborts.increment(1);
        // Before the brokers are asked for anything more, which may take long itself.
        let (open_for, limit) = (since.elapsed(), self.settings.transaction_timeout);
        match error.kind() {
            ErrorKind::Fenced if self.holds_first() => match open_for >= limit {
                true => error::expired(error, open_for, limit),
                false => {
                    Error::retry("producer_taken", "another instance of this sink started and halted").with_cause(error)
                }
            },
            ErrorKind::Fenced => self.judge_fencing(error, open_for),
            ErrorKind::Retry | ErrorKind::Operator | ErrorKind::Configuration | ErrorKind::Bug => {
                if let Err(failure) = self.outbox.abort(ABORT_TIMEOUT) {
                    tracing::info!(code = ?failure.code, error = failure.text, "the transaction could not be aborted; the next start does it");
                }
                error::outlived(self.explain(error), open_for, limit)
            }
        }
    }

    // Whether only the second id was taken: by an instance that started at the same moment and lost the first, or by the
    // coordinator, which gave up on it. The proof says nothing of what is held: the commit that was refused may have
    // been stored all the same, when its first answer was lost, and only the next start can ask.
    fn holds_first(&mut self) -> bool {
        !self.outbox.first_has_its_turn() && self.outbox.prove_first(&self.proof_key).is_ok()
    }

    // The brokers refuse a producer as they would after a take-over when its transaction outlived its time limit (SK-07),
    // when they forgot its id, and when a request of an instance that is dead came late. Only a live successor writes a
    // higher epoch, and each one does so first of all: without one, the next start takes the ids back. Should one be slow
    // to write, the higher epoch of that start halts it in turn, so that one instance goes on whatever happens.
    fn judge_fencing(&self, error: Error, open_for: Duration) -> Error {
        let deadline = Instant::now() + SUCCESSOR_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let stored = position::read(&self.settings, [&self.progress_key], left)
                .and_then(|[stored]| stored.as_deref().map(position::parse_value).transpose());
            match &stored {
                Ok(Some(stored)) if stored.epoch > self.epoch => return error,
                Ok(_) if open_for >= self.settings.transaction_timeout => {
                    return error::expired(error, open_for, self.settings.transaction_timeout);
                }
                Ok(_) | Err(_) if Instant::now() < deadline => std::thread::sleep(SUCCESSOR_LOOK),
                Ok(_) => {
                    let sentence = format!(
                        "the brokers refuse this producer, and no other instance has shown itself within {SUCCESSOR_TIMEOUT:?}"
                    );
                    return Error::retry("producer_lost", sentence).with_cause(error);
                }
                Err(failure) => {
                    let sentence = format!(
                        "the brokers refuse this producer, and whether it has a successor cannot be read ({failure})"
                    );
                    return Error::retry("producer_lost", sentence).with_cause(error);
                }
            }
        }
    }

    // Says which table, which record and which limits (SK-03), so that no other table has to halt.
    fn explain(&mut self, error: Error) -> Error {
        if matches!(error.code(), "topic_missing" | "partition_unseen" | "topic_rewound")
            && error.table().is_none()
            && let Some(vanished) = self.vanished()
        {
            return vanished;
        }
        match self.outbox.refused_record() {
            Some(record) if error.table().is_none() && error::concerns_topic(&error) => {
                let table = self.tables.table_of(&record.topic);
                let about = match error.code() {
                    "record_too_large" => self.destinations.too_large(record),
                    _ => error,
                };
                with_table(about, table)
            }
            _ => error,
        }
    }
}

impl KafkaSink {
    // The brokers only say that a topic is missing, or holds less than before: find out which of those that were written.
    fn vanished(&mut self) -> Option<Error> {
        for name in self.encoder.as_ref()?.topics() {
            if let Err(error) = self.destinations.must_be_there(name) {
                return Some(with_table(error, self.tables.table_of(name)));
            }
        }
        None
    }
}

impl Sink for KafkaSink {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        // An empty batch only moves the position, unless the end of a transaction is to be written.
        if batch.changes.is_empty() && !self.settings.format.transactions {
            return Ok(());
        }
        self.begin().and_then(|()| self.write_batch(batch, selection)).map_err(|error| self.give_up(error))
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.commit_with(progress).map_err(|error| self.give_up(error))
    }

    fn maintain(&mut self) -> Result<Option<Duration>> {
        self.destinations.rest();
        Ok(None)
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        if let State::Open(_) = self.state {
            // Readers of committed transactions wait behind an open one: end it now rather than at its time limit.
            if let Err(Failure { code, text, .. }) = self.outbox.abort(ABORT_TIMEOUT) {
                tracing::info!(
                    source = &*self.source,
                    ?code,
                    error = text,
                    "the transaction could not be aborted; the next start does it"
                );
            }
        }
    }
}

// Gives the records kept aside a topic: it appears with its first record, since an empty table needs none.
fn open_topics(
    outbox: &mut Outbox,
    destinations: &mut Destinations,
    tables: &TableTopics,
    encoder: &Encoder,
) -> Result<()> {
    while let Some(topic) = outbox.unknown_topic() {
        let name = encoder.topic_name(topic);
        let partitions = destinations.ensure(name).map_err(|error| match error::concerns_topic(&error) {
            true => with_table(error, tables.table_of(name)),
            false => error,
        })?;
        outbox.open_topic(topic, name, partitions)?;
    }
    Ok(())
}

fn with_table(error: Error, table: Option<&TableName>) -> Error {
    match table {
        Some(table) => error.with_table(table.clone()),
        None => error,
    }
}

fn new_encoder(settings: &Settings, batch: &Batch) -> Encoder {
    let template: TopicTemplate = settings.template.clone();
    Encoder::new(settings.format, Arc::clone(&batch.source), template).with_schema_changes(settings.schema_changes)
}
