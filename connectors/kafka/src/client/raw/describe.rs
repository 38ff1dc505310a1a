//! Asks what a topic is: its id and its partitions, neither of which the wrapper's metadata tells together. Knows
//! librdkafka's administration events; decides nothing.

use super::{check_code, millis, text};
use crate::client::failure::Failure;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use std::ffi::{CString, c_char};
use std::ptr::NonNull;
use std::time::Duration;

/// Time for librdkafka's own answer after its time limit.
const GRACE: Duration = Duration::from_secs(2);

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// Its id; none where brokers have none.
    pub(crate) id: Option<String>,
    /// Number of its partitions.
    pub(crate) partitions: u32,
}

struct Queue(NonNull<sys::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue came from `rd_kafka_queue_new` and is owned by this value alone.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event came from `rd_kafka_queue_poll` and is owned by this value alone.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// Describes a topic; `None` when the broker that was asked does not know it. Creates nothing. Blocks.
pub(crate) fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    patience: Duration,
) -> Result<Option<Description>, Failure> {
    let name = CString::new(topic).map_err(|e| Failure::new(RDKafkaErrorCode::InvalidTopic, e.to_string()))?;
    let out_of_memory = || Failure::new(RDKafkaErrorCode::CriticalSystemResource, "make a queue");
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    // SAFETY: the client is alive for the whole block, since it is borrowed. The name ends with a zero byte and is
    // copied into the collection. Collection and options are only read by the request and destroyed once, after it.
    // The queue outlives the request: should the answer come late, librdkafka keeps a reference of its own.
    let queue = unsafe {
        let rk = client.native_ptr();
        let queue = Queue(NonNull::new(sys::rd_kafka_queue_new(rk)).ok_or_else(out_of_memory)?);
        let options = sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let mut sentence: [c_char; 256] = [0; 256];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            millis(patience),
            sentence.as_mut_ptr(),
            sentence.len(),
        );
        let collection = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        sys::rd_kafka_DescribeTopics(rk, collection, options, queue.0.as_ptr());
        sys::rd_kafka_TopicCollection_destroy(collection);
        sys::rd_kafka_AdminOptions_destroy(options);
        check_code(set, "limit the time of a request")?;
        queue
    };
    // SAFETY: the queue is alive; the event is owned here.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.0.as_ptr(), millis(patience + GRACE)) };
    let timed_out = || Failure::new(RDKafkaErrorCode::OperationTimedOut, "no answer in time");
    let event = Event(NonNull::new(event).ok_or_else(timed_out)?);
    // SAFETY: the event is alive until the end of this function, and everything that is read belongs to it.
    unsafe { read(&event) }
}

/// # Safety
/// The event must be live.
unsafe fn read(event: &Event) -> Result<Option<Description>, Failure> {
    let event = event.0.as_ptr();
    // SAFETY: by the contract above. Each pointer is checked before it is read; an error that is null is none.
    unsafe {
        check_code(sys::rd_kafka_event_error(event), &text(sys::rd_kafka_event_error_string(event)))?;
        let odd = || Failure::new(RDKafkaErrorCode::BadMessage, "an answer without topics");
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(odd());
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return Err(odd());
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        match RDKafkaErrorCode::from(sys::rd_kafka_error_code(error)) {
            RDKafkaErrorCode::NoError => {}
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => return Ok(None),
            code => return Err(Failure::new(code, text(sys::rd_kafka_error_string(error)))),
        }
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        Ok(Some(Description { id: id_of(topic), partitions: u32::try_from(partitions).unwrap_or(u32::MAX) }))
    }
}

/// # Safety
/// `topic` must point to a live description.
unsafe fn id_of(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<String> {
    // SAFETY: by the contract above; the text belongs to the id, and the id to the description.
    unsafe {
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)) == (0, 0)
        {
            return None;
        }
        Some(text(sys::rd_kafka_Uuid_base64str(id)))
    }
}
