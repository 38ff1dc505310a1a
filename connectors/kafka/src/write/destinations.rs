//! Where records go: which topic belongs to which table, and that it exists before its first record. Knows no
//! transaction.

use crate::client::RECORD_BYTES_MAX;
use crate::client::admin::{Admin, Cluster, Created, Effect};
use crate::client::failure::FailedRecord;
use crate::config::Settings;
use crate::topics::{NAME_LENGTH_MAX, TopicTemplate};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::{Batch, Error, Result, TableName};

/// How long the connection for creating topics is kept after its last use.
const ADMIN_IDLE: Duration = Duration::from_secs(60);
/// How long a topic that is missing is waited for: one that was just made takes a moment to be known.
const MISSING_PATIENCE: Duration = Duration::from_secs(10);

/// Which topic belongs to which table. Two tables in one topic are refused: their keys could be equal.
#[derive(Default)]
pub(super) struct TableTopics {
    known: HashSet<TableName>,
    by_topic: HashMap<String, TableName>,
}

impl TableTopics {
    /// Takes in the tables of a batch.
    pub(super) fn learn(&mut self, batch: &Batch, template: &TopicTemplate) -> Result<()> {
        for table in &batch.tables {
            if self.known.contains(&table.name) {
                continue;
            }
            let topic = template.name(&batch.source.name, &table.name);
            if topic.len() > NAME_LENGTH_MAX {
                let sentence = format!("topic `{topic}` has {} characters, {NAME_LENGTH_MAX} are allowed", topic.len());
                return Err(Error::operator("topic_name_too_long", sentence)
                    .with_table(table.name.clone())
                    .with_remedy("shorten `topic` of the sink"));
            }
            if let Some(other) = self.by_topic.get(&topic) {
                let sentence = format!("tables `{other}` and `{}` would share topic `{topic}`", table.name);
                return Err(Error::operator("topic_collision", sentence)
                    .with_table(table.name.clone())
                    .with_remedy("change `topic` of the sink, or leave one of the tables out of the source"));
            }
            self.by_topic.insert(topic, table.name.clone());
            self.known.insert(table.name.clone());
        }
        Ok(())
    }

    /// The table of a topic.
    pub(super) fn table_of(&self, topic: &str) -> Option<&TableName> {
        self.by_topic.get(topic)
    }
}

/// The topics that exist.
pub(crate) struct Destinations {
    settings: Arc<Settings>,
    existing: HashSet<String>,
    // Made on demand and dropped when idle: nobody reads its log queue.
    admin: Option<(Admin, Instant)>,
}

impl Destinations {
    /// Starts with what the cluster has.
    pub(crate) fn new(settings: Arc<Settings>, admin: Admin, cluster: &Cluster) -> Destinations {
        Destinations {
            settings,
            existing: cluster.topics.keys().cloned().collect(),
            admin: Some((admin, Instant::now())),
        }
    }

    /// Makes sure that a topic exists, creating it if that is allowed (SK-04).
    pub(super) fn ensure(&mut self, name: &str) -> Result<()> {
        if self.existing.contains(name) {
            return Ok(());
        }
        if self.settings.creation.allowed {
            let creation = self.settings.creation.clone();
            if self.admin()?.create(name, &creation, Effect::Apply)? == Created::New {
                tracing::info!(topic = name, partitions = creation.partitions, "created a topic");
            }
        } else {
            self.wait_for(name)?;
        }
        self.existing.insert(name.to_owned());
        Ok(())
    }

    fn wait_for(&mut self, name: &str) -> Result<()> {
        let deadline = Instant::now() + MISSING_PATIENCE;
        loop {
            if self.admin()?.cluster()?.topics.contains_key(name) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let sentence = format!("topic `{name}` is missing and `create_topics` is off");
                return Err(
                    Error::operator("topic_missing", sentence).with_remedy(create_command(&self.settings, name))
                );
            }
            // Somebody else creates it; there is nothing to be woken by.
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The error for a record that is over a limit (SK-03).
    pub(super) fn too_large(&self, record: &FailedRecord, table: Option<&TableName>) -> Error {
        let topic = &record.topic;
        // The limit only makes the message better; without it the message still names the topic.
        let limit = Admin::new(&self.settings).and_then(|admin| admin.topic_settings(&[topic])).ok();
        let limit = limit.and_then(|all| all.into_iter().next().flatten()?.get("max.message.bytes").cloned());
        let key =
            record.key.as_ref().map_or_else(|| "none".to_owned(), |key| String::from_utf8_lossy(key).into_owned());
        let sentence = format!(
            "a record of {size} bytes is too large for topic `{topic}`: its `max.message.bytes` is {limit}, the client's \
             limit is {client}; key `{key}`",
            size = record.size,
            limit = limit.as_deref().unwrap_or("unknown"),
            client = RECORD_BYTES_MAX,
        );
        let remedy = format!(
            "run `kafka-configs --bootstrap-server {} --alter --entity-type topics --entity-name {topic} --add-config \
             max.message.bytes={}`, and set librdkafka's \"message.max.bytes\" if it is over the client's limit",
            self.settings.brokers,
            record.size.saturating_add(record.size / 10).saturating_add(1_024),
        );
        let error = Error::operator("record_too_large", sentence).with_remedy(remedy);
        match table {
            Some(table) => error.with_table(table.clone()),
            None => error,
        }
    }

    /// Drops the administration connection when it has not been needed for a while.
    pub(super) fn rest(&mut self) {
        if self.admin.as_ref().is_some_and(|(_, used)| used.elapsed() > ADMIN_IDLE) {
            self.admin = None;
        }
    }

    fn admin(&mut self) -> Result<&Admin> {
        let admin = match self.admin.take() {
            Some((admin, _)) => admin,
            None => Admin::new(&self.settings)?,
        };
        Ok(&self.admin.insert((admin, Instant::now())).0)
    }
}

/// The command that creates a topic as this sink would.
pub(crate) fn create_command(settings: &Settings, name: &str) -> String {
    let creation = &settings.creation;
    let replication = match creation.replication {
        -1 => String::new(),
        replicas => format!(" --replication-factor {replicas}"),
    };
    let config: String = creation.config.iter().map(|(key, value)| format!(" --config {key}={value}")).collect();
    format!(
        "run `kafka-topics --bootstrap-server {} --create --topic {name} --partitions {}{replication}{config}`",
        settings.brokers, creation.partitions
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::schema::{KeyKind, OldRow};
    use tidewire_core::{BatchBuilder, BatchLimits, Phase, SchemaVersion, SourceDescriptor, TableSchema};

    fn batch(tables: &[(&str, &str)]) -> Batch {
        let source = SourceDescriptor {
            name: "shop".into(),
            connector: "postgresql",
            database: "shop".into(),
            provenance: &[],
            has_sequence: true,
            snapshot_floor: None,
        };
        let mut builder = BatchBuilder::new(Arc::new(source), Phase::Stream, BatchLimits::default());
        for (schema, table) in tables {
            builder.table(&Arc::new(TableSchema {
                name: TableName::new(*schema, *table),
                version: SchemaVersion(1),
                native_id: 1,
                columns: Vec::new(),
                key: Vec::new(),
                key_kind: KeyKind::None,
                old_row: OldRow::Full,
            }));
        }
        builder.finish(None, true, 0)
    }

    fn learn(template: &str, tables: &[(&str, &str)]) -> Result<TableTopics> {
        let mut topics = TableTopics::default();
        let template = TopicTemplate::parse(template).expect("a template");
        topics.learn(&batch(tables), &template).map(|()| topics)
    }

    #[test]
    fn a_topic_has_one_table() {
        let topics = learn(TopicTemplate::DEFAULT, &[("a", "x"), ("a", "y"), ("a", "x")]).expect("topics");
        assert_eq!(topics.table_of("shop.a.y"), Some(&TableName::new("a", "y")));
        for (template, tables) in
            [("{table}", [("a", "x"), ("b", "x")]), (TopicTemplate::DEFAULT, [("a", "x y"), ("a", "x_y")])]
        {
            let error = learn(template, &tables).err().expect("a collision");
            assert_eq!(error.code(), "topic_collision");
        }
    }

    #[test]
    fn a_name_is_never_cut() {
        let long = "t".repeat(NAME_LENGTH_MAX);
        assert!(learn("{table}", &[("a", &long)]).is_ok());
        let error = learn("x{table}", &[("a", &long)]).err().expect("too long");
        assert_eq!(error.code(), "topic_name_too_long");
    }
}
