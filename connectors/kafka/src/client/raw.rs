//! The transactional producer on librdkafka's own interface: the only `unsafe` code of this crate. Knows
//! topics as handles and records as bytes; knows no table, no format and no progress.
//!
//! The wrapper's producer waits 100 ms in every commit and allocates for every record, so produce, commit
//! and the delivery reports go through the bindings here. Making and destroying the client stays with the
//! wrapper, which also owns its configuration.
//!
//! Threads: one owner calls everything; a thread of its own serves the client's event queue, which
//! `rd_kafka_flush` (inside the commit) relies on when delivery reports are events.

#![expect(unsafe_code, reason = "librdkafka is a C library; every block states why it is sound")]

mod describe;

pub(crate) use describe::{Description, describe};

use super::failure::{FailedRecord, Failure};
use super::offsets::Offsets;
use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::{RDKafkaRespErr, RDKafkaType};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the event thread sleeps at most; it is woken earlier by events and by the end.
const POLL_INTERVAL_MS: c_int = 1_000;
/// How long one call waits for records to be delivered, and a commit at least.
const FLUSH_SLICE_MS: c_int = 250;
/// How often a full queue is tried again even when no delivery report came.
const QUEUE_FULL_RECHECK: Duration = Duration::from_millis(100);
/// `RD_KAFKA_PARTITION_UA`, a macro that the bindings lack.
const PARTITION_BY_KEY: i32 = -1;
/// Longest part of a failed record's key that is kept for the message.
const KEY_EXCERPT_BYTES: usize = 200;

/// A record to produce. Everything is copied before `produce` returns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The partition, or none to place it by its key.
    pub(crate) partition: Option<i32>,
    /// Key.
    pub(crate) key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// Headers.
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since 1970, or 0 for now.
    pub(crate) timestamp_ms: i64,
}

/// A topic of a [`Producer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicHandle(usize);

/// A transactional producer.
pub(crate) struct Producer {
    // Dropped in this order: topics before the client that they belong to.
    topics: Vec<Topic>,
    poller: Option<JoinHandle<()>>,
    deliveries: Arc<Deliveries>,
    client: Arc<Client<DefaultClientContext>>,
    produced: u64,
}

/// What the event thread tells the owner.
#[derive(Default)]
struct Deliveries {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    state: Mutex<DeliveryState>,
    progress: Condvar,
}

#[derive(Default)]
struct DeliveryState {
    first_failure: Option<Failure>,
    last_error: Option<Failure>,
}

struct Topic(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: librdkafka's topic handles are reference counted under its own locks and may be used from any thread.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle came from `rd_kafka_topic_new`, is owned by this value alone, and its client is
        // still alive because `Producer` drops its topics first.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, DeliveryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a record that was not delivered, and keeps why if that is the best answer so far.
    fn note(&self, failure: Failure) {
        let mut state = self.state();
        if state.first_failure.as_ref().is_none_or(|first| failure.tells_more_than(first)) {
            state.first_failure = Some(failure);
        }
        drop(state);
        // Only now, so that whoever sees the count finds the reason.
        self.failed.fetch_add(1, Ordering::AcqRel);
    }
}

impl Producer {
    /// Makes the client and its event thread; connects in the background. Producers that write to the same topics
    /// share `offsets`.
    pub(crate) fn new(config: &ClientConfig, offsets: &Arc<Offsets>) -> Result<Producer, Failure> {
        let native = config.create_native_config().map_err(|error| Failure::of_wrapper(&error))?;
        // SAFETY: the configuration is alive and not yet given to a client.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR) }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, DefaultClientContext)
            .map_err(|error| Failure::of_wrapper(&error))?;
        let client = Arc::new(client);
        let deliveries = Arc::new(Deliveries::default());
        let poller = {
            let (client, deliveries, offsets) = (Arc::clone(&client), Arc::clone(&deliveries), Arc::clone(offsets));
            let serve = move || serve(&client, &deliveries, &offsets);
            std::thread::Builder::new().name("kafka-events".to_owned()).spawn(serve)
        };
        let poller =
            poller.map_err(|error| Failure::new(RDKafkaErrorCode::CriticalSystemResource, error.to_string()))?;
        Ok(Producer { topics: Vec::new(), poller: Some(poller), deliveries, client, produced: 0 })
    }

    /// A kept handle of a topic; asking for the same name twice gives two handles.
    pub(crate) fn topic(&mut self, name: &str) -> Result<TopicHandle, Failure> {
        let name =
            CString::new(name).map_err(|error| Failure::new(RDKafkaErrorCode::InvalidTopic, error.to_string()))?;
        // SAFETY: the client is alive, the name ends with a zero byte, and no configuration is handed over.
        let topic = unsafe { sys::rd_kafka_topic_new(self.client.native_ptr(), name.as_ptr(), ptr::null_mut()) };
        // SAFETY: only reads an error code that librdkafka keeps for this thread.
        let code = || unsafe { sys::rd_kafka_last_error() };
        let topic = NonNull::new(topic).ok_or_else(|| Failure::new(code().into(), "make a topic handle"))?;
        self.topics.push(Topic(topic));
        Ok(TopicHandle(self.topics.len() - 1))
    }

    /// Queues a copy of a record. Waits up to `patience` while the queue is full.
    pub(crate) fn produce(
        &mut self,
        topic: TopicHandle,
        message: Message<'_>,
        patience: Duration,
    ) -> Result<(), Failure> {
        let mut full_since = None;
        loop {
            match self.try_produce(topic, message) {
                Ok(()) => {
                    self.produced += 1;
                    return Ok(());
                }
                Err(failure) if failure.code == RDKafkaErrorCode::QueueFull => {
                    let since: &mut Instant = full_since.get_or_insert_with(Instant::now);
                    if self.deliveries.failed.load(Ordering::Acquire) > 0 || since.elapsed() > patience {
                        return Err(self.root(failure));
                    }
                    // A report may come between the attempt and this wait; the short time limit covers that.
                    let state = self.deliveries.state();
                    drop(self.deliveries.progress.wait_timeout(state, QUEUE_FULL_RECHECK));
                }
                Err(failure) => return Err(self.root(failure)),
            }
        }
    }

    fn try_produce(&self, topic: TopicHandle, message: Message<'_>) -> Result<(), Failure> {
        let Some(topic) = self.topics.get(topic.0) else {
            return Err(Failure::new(RDKafkaErrorCode::UnknownTopic, "a topic handle of another producer"));
        };
        let headers = self.headers(message.headers)?;
        let arguments = [
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT, |u| u.rkt = topic.0.as_ptr()),
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION, |u| {
                u.i32_ = message.partition.unwrap_or(PARTITION_BY_KEY);
            }),
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS, |u| u.i = sys::RD_KAFKA_MSG_F_COPY),
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, |u| u.mem = memory(message.key)),
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, |u| u.mem = memory(message.value)),
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_TIMESTAMP, |u| u.i64_ = message.timestamp_ms),
            argument(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers),
        ];
        let count = if headers.is_null() { arguments.len() - 1 } else { arguments.len() };
        // SAFETY: the first `count` arguments are initialized, each with the member that its type names. Topic and
        // client are alive. With F_COPY key and value are only read during the call. On success the headers
        // belong to the record, on error they stay ours.
        let error = unsafe { sys::rd_kafka_produceva(self.client.native_ptr(), arguments.as_ptr(), count) };
        let outcome = check(error);
        if outcome.is_err() && !headers.is_null() {
            // SAFETY: produceva failed, so the headers are still owned here, and they are not used again.
            unsafe { sys::rd_kafka_headers_destroy(headers) }
        }
        outcome
    }

    // Null when there are none.
    fn headers(&self, headers: &[(&str, &[u8])]) -> Result<*mut sys::rd_kafka_headers_t, Failure> {
        if headers.is_empty() {
            return Ok(ptr::null_mut());
        }
        // SAFETY: allocates; librdkafka aborts rather than return null.
        let list = unsafe { sys::rd_kafka_headers_new(headers.len()) };
        for (name, value) in headers {
            // SAFETY: the list is alive; name and value are copied, with the lengths given.
            let code = unsafe {
                sys::rd_kafka_header_add(
                    list,
                    name.as_ptr().cast::<c_char>(),
                    name.len() as isize,
                    value.as_ptr().cast::<c_void>(),
                    value.len() as isize,
                )
            };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                // SAFETY: the list is owned here and not used again.
                unsafe { sys::rd_kafka_headers_destroy(list) }
                return Err(Failure::new(code.into(), "add a header"));
            }
        }
        Ok(list)
    }

    /// Registers the transactional id: fences the instance before this one and ends its open transaction.
    pub(crate) fn init_transactions(&self, patience: Duration) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        let outcome = check(unsafe { sys::rd_kafka_init_transactions(self.client.native_ptr(), millis(patience)) });
        // A connection that cannot be made only shows as a time-out here; its cause came as an event.
        outcome.map_err(|failure| match (failure.code, self.deliveries.state().last_error.clone()) {
            (RDKafkaErrorCode::OperationTimedOut, Some(cause)) => cause,
            _ => failure,
        })
    }

    /// Begins a transaction.
    pub(crate) fn begin_transaction(&self) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        check(unsafe { sys::rd_kafka_begin_transaction(self.client.native_ptr()) }).map_err(|e| self.root(e))
    }

    /// Waits until every record is delivered and commits, for `patience` at most. Only `Ok` means that the transaction
    /// is committed; on an error its outcome is unknown until another `init_transactions`.
    pub(crate) fn commit_transaction(&self, patience: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        self.flush(patience)?;
        let left = millis(patience.saturating_sub(began.elapsed())).max(FLUSH_SLICE_MS);
        // SAFETY: the client is alive.
        check(unsafe { sys::rd_kafka_commit_transaction(self.client.native_ptr(), left) }).map_err(|e| self.root(e))
    }

    // Waits for the answer to every record. Before the commit and in slices, because librdkafka keeps back the records
    // behind one that was refused, and the wait inside its commit, once begun, then has no end. The commit itself must
    // not be called in slices: one that runs out of time before it has begun leaves its request behind, and the answer
    // to that is taken for the next one's.
    fn flush(&self, patience: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            // SAFETY: the client is alive.
            let code = unsafe { sys::rd_kafka_flush(self.client.native_ptr(), FLUSH_SLICE_MS) };
            if self.deliveries.failed.load(Ordering::Acquire) > 0 {
                let lost = Failure::new(RDKafkaErrorCode::Fail, "a record was not delivered");
                let first = self.deliveries.state().first_failure.clone();
                return Err(self.root(first.unwrap_or(lost)));
            }
            match RDKafkaErrorCode::from(code) {
                RDKafkaErrorCode::NoError => return Ok(()),
                RDKafkaErrorCode::OperationTimedOut if began.elapsed() < patience => {}
                code => return Err(self.root(Failure::new(code, "wait for the records to be delivered"))),
            }
        }
    }

    /// Aborts the open transaction.
    pub(crate) fn abort_transaction(&self, patience: Duration) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        check(unsafe { sys::rd_kafka_abort_transaction(self.client.native_ptr(), millis(patience)) })
    }

    /// Records accepted by `produce` so far.
    pub(crate) fn produced(&self) -> u64 {
        self.produced
    }

    /// Records that brokers have acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.deliveries.acknowledged.load(Ordering::Acquire)
    }

    /// Describes a record that `produce` refused.
    pub(crate) fn failed_record(&self, topic: TopicHandle, key: Option<&[u8]>, size: usize) -> FailedRecord {
        let name = self.topics.get(topic.0).map_or_else(String::new, |topic| {
            // SAFETY: the handle is alive, and its name lives as long.
            unsafe { text(sys::rd_kafka_topic_name(topic.0.as_ptr())) }
        });
        let key = key.map(|key| key.iter().take(KEY_EXCERPT_BYTES).copied().collect());
        FailedRecord { topic: name, key, size }
    }

    // The failure behind a failure: once a transaction is lost, calls only say that it is. A fatal error (being
    // fenced is one) comes first, then the first record that was refused and not merely thrown away with the rest.
    fn root(&self, failure: Failure) -> Failure {
        if let Some((code, text)) = self.client.fatal_error() {
            return Failure::new(code, text);
        }
        let refused = self.deliveries.state().first_failure.clone();
        refused.filter(Failure::is_cause).unwrap_or(failure)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.topics.clear();
        self.deliveries.stop.store(true, Ordering::Release);
        // SAFETY: the client is alive; the queue reference is given back after the wake-up.
        unsafe {
            let queue = sys::rd_kafka_queue_get_main(self.client.native_ptr());
            sys::rd_kafka_queue_yield(queue);
            sys::rd_kafka_queue_destroy(queue);
        }
        if let Some(poller) = self.poller.take()
            && poller.join().is_err()
        {
            tracing::error!("the thread that serves the kafka client's events panicked");
        }
    }
}

// The event thread: ends after `stop`.
fn serve(client: &Client<DefaultClientContext>, deliveries: &Deliveries, offsets: &Offsets) {
    // SAFETY: the client is alive as long as this thread, which holds a reference.
    let queue = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
    while !deliveries.stop.load(Ordering::Acquire) {
        // SAFETY: the queue is alive until the end of this function.
        let event = unsafe { sys::rd_kafka_queue_poll(queue, POLL_INTERVAL_MS) };
        if event.is_null() {
            continue;
        }
        // SAFETY: the event is alive, owned here, and destroyed after its last use. Destroying a delivery report
        // frees its records, which is what makes room in the queue: hence the notification comes after it.
        unsafe {
            match sys::rd_kafka_event_type(event) {
                sys::RD_KAFKA_EVENT_DR => take_reports(event, deliveries, offsets),
                sys::RD_KAFKA_EVENT_ERROR => take_error(event, deliveries),
                sys::RD_KAFKA_EVENT_LOG => take_log(event),
                _ => {}
            }
            sys::rd_kafka_event_destroy(event);
        }
        deliveries.progress.notify_all();
    }
    // SAFETY: gives back the reference taken above; the queue is not used again.
    unsafe { sys::rd_kafka_queue_destroy(queue) }
}

/// # Safety
/// `event` must be a live delivery report event.
unsafe fn take_reports(event: *mut sys::rd_kafka_event_t, deliveries: &Deliveries, offsets: &Offsets) {
    let (mut acknowledged, mut looked) = (0, false);
    // SAFETY: the event is live; a record stays valid until the event is destroyed.
    while let Some(record) = unsafe { sys::rd_kafka_event_message_next(event).as_ref() } {
        if record.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            // One report holds records of one partition: its first one stands for all.
            let first = !std::mem::replace(&mut looked, true);
            // SAFETY: a reported record has a topic.
            match unsafe { doubt(record, offsets, first) } {
                Some(failure) => deliveries.note(failure),
                None => acknowledged += 1,
            }
            continue;
        }
        // SAFETY: a reported record has a topic, and its key points to `key_len` bytes.
        deliveries.note(unsafe { failed_record(record) });
    }
    deliveries.acknowledged.fetch_add(acknowledged, Ordering::AcqRel);
}

/// Why a record that counts as delivered may not be in its partition after all. The `first` of a report is compared
/// with the offsets before it.
///
/// A record without an offset was acknowledged by no broker: librdkafka concludes from the answer to a later request
/// that an earlier one, which failed, was written as well. That is wrong where a broker knows nothing of the producer
/// yet, as in a partition that is new: it takes any number for the first one (KAFKA-15591). The transaction is given up
/// then, and its records come again.
///
/// # Safety
/// `record` must come from a live delivery report.
unsafe fn doubt(record: &sys::rd_kafka_message_t, offsets: &Offsets, first: bool) -> Option<Failure> {
    if record.offset >= 0 && !first {
        return None;
    }
    // SAFETY: by the contract above; the name lives as long as the topic, which outlives the report.
    let topic = unsafe { text(sys::rd_kafka_topic_name(record.rkt)) };
    let (code, sentence) = if record.offset < 0 {
        (
            RDKafkaErrorCode::OutOfOrderSequenceNumber,
            format!("no broker has said that partition {} holds a record", record.partition),
        )
    } else {
        let previous = offsets.advance(&topic, record.partition, record.offset)?;
        (
            RDKafkaErrorCode::LogTruncation,
            format!("partition {} gave offset {} after offset {previous}", record.partition, record.offset),
        )
    };
    Some(Failure { code, text: sentence, record: Some(FailedRecord { topic, key: None, size: 0 }) })
}

/// # Safety
/// `record` must come from a live delivery report.
unsafe fn failed_record(record: &sys::rd_kafka_message_t) -> Failure {
    // SAFETY: by the contract above; the name lives as long as the topic.
    let topic = unsafe { text(sys::rd_kafka_topic_name(record.rkt)) };
    let key = NonNull::new(record.key.cast::<u8>()).map(|key| {
        // SAFETY: `key` points to `key_len` readable bytes.
        let key = unsafe { std::slice::from_raw_parts(key.as_ptr(), record.key_len) };
        key.iter().take(KEY_EXCERPT_BYTES).copied().collect()
    });
    let size = record.len.saturating_add(record.key_len);
    // Not `rd_kafka_message_produce_errstr`: what a broker said of a record is freed with its answer, before the event is
    // here (librdkafka 2.12). SAFETY: takes a code, gives a static text.
    let sentence = unsafe { text(sys::rd_kafka_err2str(record.err)) };
    Failure { code: record.err.into(), text: sentence, record: Some(FailedRecord { topic, key, size }) }
}

/// # Safety
/// `event` must be a live error event.
unsafe fn take_error(event: *mut sys::rd_kafka_event_t, deliveries: &Deliveries) {
    // SAFETY: by the contract above; the text lives as long as the event.
    let (code, sentence) = unsafe { (sys::rd_kafka_event_error(event), text(sys::rd_kafka_event_error_string(event))) };
    tracing::debug!(target: "librdkafka", code = ?code, "{sentence}");
    let failure = Failure::new(code.into(), sentence);
    let mut state = deliveries.state();
    // "All brokers are down" follows the error that says why; keep that one.
    let keep = failure.code != RDKafkaErrorCode::AllBrokersDown || state.last_error.is_none();
    if keep {
        state.last_error = Some(failure);
    }
}

/// # Safety
/// `event` must be a live log event.
unsafe fn take_log(event: *mut sys::rd_kafka_event_t) {
    let (mut facility, mut sentence, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: by the contract above; on success both texts live as long as the event.
    unsafe {
        if sys::rd_kafka_event_log(event, &raw mut facility, &raw mut sentence, &raw mut level) == 0 {
            // What matters comes back as an error of a call; librdkafka's own view is for debugging.
            tracing::debug!(target: "librdkafka", level, facility = text(facility), "{}", text(sentence));
        }
    }
}

/// # Safety
/// `pointer` must be null or point to a text that ends with a zero byte.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: by the contract above.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

// Takes over the error, if there is one.
fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null result of the calls above is owned by the caller; it is read, then destroyed once.
    let failure = unsafe {
        let code = sys::rd_kafka_error_code(error);
        let failure = Failure::new(code.into(), text(sys::rd_kafka_error_string(error)));
        sys::rd_kafka_error_destroy(error);
        failure
    };
    Err(failure)
}

fn check_code(code: RDKafkaRespErr, sentence: &str) -> Result<(), Failure> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(Failure::new(code.into(), sentence)),
    }
}

fn argument(
    vtype: sys::rd_kafka_vtype_t,
    set: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1),
) -> sys::rd_kafka_vu_t {
    let mut argument = sys::rd_kafka_vu_t { vtype, u: sys::rd_kafka_vu_s__bindgen_ty_1 { ptr: ptr::null_mut() } };
    set(&mut argument.u);
    argument
}

fn memory(bytes: Option<&[u8]>) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    // An empty slice keeps its pointer, which is not null: empty and absent are different on the wire.
    let (ptr, size) =
        bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast::<c_void>(), bytes.len()));
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size }
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    #[test]
    fn a_broker_that_is_not_there_is_named_by_its_cause() {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("transactional.id", "t")
            .set("transaction.timeout.ms", "1000");
        config.set("message.timeout.ms", "1000").set("socket.timeout.ms", "1000");
        let producer = Producer::new(&config, &Arc::default()).expect("a client");
        let failure = producer.init_transactions(Duration::from_millis(500)).expect_err("no broker");
        assert_eq!(failure.code, RDKafkaErrorCode::BrokerTransportFailure, "{}", failure.text);
    }

    // SK-05. The client's own imitation of a broker, because a real one cannot be told what to answer: here that it has a
    // record already, which librdkafka takes for delivered. The record is nowhere.
    #[test]
    fn a_record_that_no_broker_has_given_an_offset_is_not_believed() {
        for (answers, committed) in [(0, true), (1, false)] {
            let cluster = MockCluster::new(1).expect("a cluster");
            cluster.create_topic("t", 1, 1).expect("a topic");
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", cluster.bootstrap_servers()).set("transactional.id", "t");
            let patience = Duration::from_secs(30);
            let mut producer = Producer::new(&config, &Arc::default()).expect("a client");
            producer.init_transactions(patience).expect("an id");
            producer.begin_transaction().expect("a transaction");
            let topic = producer.topic("t").expect("a handle");
            let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
            cluster.request_errors(RDKafkaApiKey::Produce, &vec![error; answers]);
            let message = Message { partition: Some(0), key: None, value: Some(b"a"), headers: &[], timestamp_ms: 0 };
            producer.produce(topic, message, patience).expect("room");
            let outcome = producer.commit_transaction(patience);
            assert_eq!(outcome.is_ok(), committed, "{answers} such answers: {outcome:?}");
            if let Err(failure) = outcome {
                assert_eq!(failure.code, RDKafkaErrorCode::OutOfOrderSequenceNumber, "{}", failure.text);
            }
        }
    }
}
