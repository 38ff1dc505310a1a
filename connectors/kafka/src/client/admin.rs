//! Metadata, topic creation and topic settings. Knows Kafka's administration requests; decides nothing.

use super::raw::{self, Description};
use super::{REQUEST_TIMEOUT, admin_config};
use crate::config::{Creation, Settings};
use crate::error;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;
use tidewire_core::Result;

/// How long a partition's leader is asked for.
const SERVED_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection for administration. Keeps no open request; cheap to drop and make anew.
pub(crate) struct Admin {
    client: AdminClient<DefaultClientContext>,
}

/// What the cluster says about its topics.
pub(crate) struct Cluster {
    /// Ids of the brokers that are up.
    pub(crate) brokers: Vec<i32>,
    /// Number of partitions by topic; only topics that we may see.
    pub(crate) topics: HashMap<String, usize>,
}

/// What came of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is new.
    New,
    /// It was there already.
    Existing,
}

/// Whether a request only asks if it would succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Do it.
    Apply,
    /// Only say what would come of it.
    Validate,
}

impl Admin {
    /// Makes the client; it connects with the first request.
    pub(crate) fn new(settings: &Settings) -> Result<Admin> {
        let client = admin_config(settings)?.create().map_err(|e| error::of_wrapper("make a kafka client", &e))?;
        Ok(Admin { client })
    }

    /// Asks for all topics at once, because asking for one by name may create it.
    pub(crate) fn cluster(&self) -> Result<Cluster> {
        let metadata = self.client.inner().fetch_metadata(None, REQUEST_TIMEOUT);
        let metadata = metadata.map_err(|e| error::of_wrapper("ask the brokers for their topics", &e))?;
        Ok(Cluster {
            brokers: metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect(),
            topics: metadata.topics().iter().map(|t| (t.name().to_owned(), t.partitions().len())).collect(),
        })
    }

    /// What a topic is; none when the broker that was asked does not know it.
    pub(crate) fn topic(&self, name: &str) -> Result<Option<Description>> {
        let described = raw::describe(self.client.inner(), name, REQUEST_TIMEOUT);
        described.map_err(|e| error::of_failure(&format!("look at topic `{name}`"), e))
    }

    /// Whether the leader of a partition serves it. One that was just made is known before it is served.
    pub(crate) fn is_served(&self, topic: &str, partition: u32) -> bool {
        let Ok(partition) = i32::try_from(partition) else { return false };
        self.client.inner().fetch_watermarks(topic, partition, SERVED_TIMEOUT).is_ok()
    }

    /// Creates a topic.
    pub(crate) fn create(&self, name: &str, creation: &Creation, effect: Effect) -> Result<Created> {
        let mut topic = NewTopic::new(name, creation.partitions, TopicReplication::Fixed(creation.replication));
        for (key, value) in &creation.config {
            topic = topic.set(key, value);
        }
        let options = options().validate_only(effect == Effect::Validate);
        let act = || format!("create topic `{name}`");
        let results = wait(self.client.create_topics([&topic], &options));
        for result in results.map_err(|e| error::of_wrapper(&act(), &e))? {
            match result {
                Ok(_) => {}
                Err((_, Code::TopicAlreadyExists)) => return Ok(Created::Existing),
                Err((_, code)) => return Err(error::of_code(&act(), code, &code.to_string())),
            }
        }
        Ok(Created::New)
    }

    /// Settings of topics, in the order asked; `None` where they could not be read.
    pub(crate) fn topic_settings(&self, topics: &[&str]) -> Result<Vec<Option<HashMap<String, String>>>> {
        self.settings(topics.iter().map(|topic| ResourceSpecifier::Topic(topic)))
    }

    /// Settings of a broker; `None` if they could not be read.
    pub(crate) fn broker_settings(&self, broker: i32) -> Result<Option<HashMap<String, String>>> {
        Ok(self.settings([ResourceSpecifier::Broker(broker)])?.into_iter().next().flatten())
    }

    fn settings<'a>(
        &self,
        of: impl IntoIterator<Item = ResourceSpecifier<'a>>,
    ) -> Result<Vec<Option<HashMap<String, String>>>> {
        let of: Vec<ResourceSpecifier<'_>> = of.into_iter().collect();
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let results = wait(self.client.describe_configs(&of, &options()));
        let results = results.map_err(|e| error::of_wrapper("read settings of topics and brokers", &e))?;
        Ok(results
            .into_iter()
            .map(|result| {
                let entries = result.ok()?.entries;
                Some(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
            })
            .collect())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

// The wrapper answers from a thread of its own and limits the time itself, so parking is enough.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(1)),
        }
    }
}
