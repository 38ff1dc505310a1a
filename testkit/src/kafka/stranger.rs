//! A transactional producer that belongs to nobody under test.

use anyhow::{Context, Result, anyhow};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

const ANSWER: Duration = Duration::from_secs(30);

/// Holds a transactional id: whoever held it before is refused.
pub struct Stranger(BaseProducer);

impl Stranger {
    pub(super) fn register(brokers: &str, id: &str) -> Result<Stranger> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("transactional.id", id).set("log_level", "0");
        let producer: BaseProducer = config.create().context("make a producer")?;
        producer.init_transactions(ANSWER).with_context(|| format!("register {id}"))?;
        Ok(Stranger(producer))
    }

    /// Leaves a transaction open in a topic, until [`give_up`](Stranger::give_up).
    pub fn hold_open(&self, topic: &str) -> Result<()> {
        self.0.begin_transaction()?;
        self.0.send(BaseRecord::to(topic).key("stranger").payload("open")).map_err(|(error, _)| anyhow!(error))?;
        self.0.flush(ANSWER).context("send a record")
    }

    /// Ends the open transaction.
    pub fn give_up(self) -> Result<()> {
        self.0.abort_transaction(ANSWER).context("end the transaction")
    }
}
