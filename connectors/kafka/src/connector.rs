//! The checked sink: what it wants of its worker, its check and its start. Knows the order of a start; the
//! steps live elsewhere.

use crate::client::admin::{Admin, Created};
use crate::client::turns::{PRODUCERS, Turns};
use crate::config::{Config, ConfigFault, Settings, SinkOptions};
use crate::facts::{self, Facts};
use crate::write::{Destinations, KafkaSink, Owner, TopicOwners};
use crate::{position, preflight};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidewire_core::sink::SinkCapabilities;
use tidewire_core::{Finding, Progress, Result, Sink, SinkConnector, TableSchema};

/// How long a start waits for the transaction coordinator.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long somebody who only looks waits for transactions that are open.
const HELD_TIMEOUT: Duration = Duration::from_secs(20);

struct KafkaConnector {
    settings: Arc<Settings>,
    // Which source each topic belongs to: the open sinks share it.
    owners: Arc<TopicOwners>,
    // Whether it has what earlier instances wrote. What is written from then on is taken first.
    has_written: Mutex<bool>,
}

/// Checks the configuration of a sink. Connects nowhere; the error lists every fault.
pub fn connector(options: SinkOptions, config: Config) -> Result<Box<dyn SinkConnector>, Vec<ConfigFault>> {
    let settings = Settings::try_from_config(options, config)?;
    Ok(Box::new(KafkaConnector {
        settings: Arc::new(settings),
        owners: Arc::default(),
        has_written: Mutex::new(false),
    }))
}

impl KafkaConnector {
    // Takes the topics that earlier instances wrote for their sources, so that it does not depend on the order of a start
    // which of two tables with one topic goes on. Of two that have shared one it is the first source by name.
    fn remember_owners(&self) -> Result<()> {
        let settings = &self.settings;
        if settings.sources.len() < 2 || settings.template.tells_sources_apart() {
            return Ok(());
        }
        let mut has_written = self.has_written.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_written {
            return Ok(());
        }
        let keys = settings.sources.iter().map(|source| facts::key(&settings.sink, source));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let stored = position::read_all(settings, &keys, settings.transaction_timeout + INIT_TIMEOUT)?;
        for (source, value) in settings.sources.iter().zip(stored) {
            let facts = value.as_deref().map(Facts::parse).transpose()?.unwrap_or_default();
            for topic in facts.names() {
                self.owners.claim(topic, Owner { source: Arc::clone(source), table: None });
            }
        }
        *has_written = true;
        Ok(())
    }
}

impl SinkConnector for KafkaConnector {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: self.settings.commit_interval,
            commit_changes: self.settings.commit_changes,
            commit_bytes: self.settings.commit_bytes,
            commit_when_idle: true,
            can_split_transactions: self.settings.format.can_split_transactions(),
        }
    }

    fn check(&self, tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        preflight::check(&self.settings, tables)
    }

    fn held(&self, source: &str) -> Result<Option<Progress>> {
        let settings = &self.settings;
        if !Admin::new(settings)?.cluster()?.topics.contains_key(position::TOPIC) {
            return Ok(None);
        }
        let [stored] = position::read(settings, [&*position::key(&settings.sink, source)?], HELD_TIMEOUT)?;
        let stored = stored.as_deref().map(position::parse_value).transpose()?;
        Ok(stored.map(|stored| stored.progress))
    }

    fn open(&self, source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        let settings = &self.settings;
        // First of all: from here on no earlier instance can add anything.
        let producers = Turns::register(settings, source, INIT_TIMEOUT)?;
        let admin = Admin::new(settings)?;
        let cluster = admin.cluster()?;
        let [stored, facts] = match position::ensure(settings, &admin, &cluster)? {
            Created::New => [None, None],
            Created::Existing => {
                for finding in position::oddities(settings, &admin, &cluster)? {
                    tracing::warn!(code = finding.code, remedy = finding.remedy, "{}", finding.message);
                }
                // An open transaction of a dead instance of another sink ends at its time limit at the latest.
                let patience = settings.transaction_timeout + INIT_TIMEOUT;
                self.remember_owners()?;
                let (progress, facts) = (position::key(&settings.sink, source)?, facts::key(&settings.sink, source)?);
                position::read(settings, [&progress, &facts], patience)?
            }
        };
        let stored = stored.as_deref().map(position::parse_value).transpose()?.unwrap_or_default();
        let facts = facts.as_deref().map(Facts::parse).transpose()?.unwrap_or_default();
        let epoch = stored.epoch.saturating_add(1);
        let destinations = Destinations::new(Arc::clone(settings), admin, facts);
        let mut sink =
            KafkaSink::new(Arc::clone(settings), source, producers, destinations, Arc::clone(&self.owners), epoch)?;
        // Proves that transactions work, and shows the earlier instance that it has a successor.
        sink.commit(&stored.progress)?;
        // Once for each producer, before anything is written.
        for _ in 1..PRODUCERS {
            sink.commit(&stored.progress)?;
        }
        tracing::info!(
            sink = &*settings.sink,
            source,
            epoch,
            position = stored.progress.position.as_ref().map(tracing::field::display),
            "opened the kafka sink"
        );
        Ok((Box::new(sink), stored.progress))
    }
}
