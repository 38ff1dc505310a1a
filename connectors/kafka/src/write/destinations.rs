//! Where records go: which topic belongs to which table, and that it exists before its first record. Knows no
//! transaction.

use crate::client::RECORD_BYTES_MAX;
use crate::client::admin::{Admin, Created, Effect};
use crate::client::failure::FailedRecord;
use crate::client::raw::Description;
use crate::config::{ChangedTopics, Creation, Settings};
use crate::error;
use crate::facts::{self, Change, Facts, Topic};
use crate::position;
use crate::topics::{
    NAME_LENGTH_MAX, TopicTemplate, has_schema_changes, message_topic, schema_change_topic, transaction_topic,
};
use crate::write::owners::{Owner, TopicOwners};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::sink::Selection;
use tidewire_core::{Batch, Error, Result, TableName};

/// How long the connection for creating topics is kept after its last use.
const ADMIN_IDLE: Duration = Duration::from_secs(60);
/// How long a topic that is missing is waited for: one that was just made takes a moment to be known.
const MISSING_PATIENCE: Duration = Duration::from_secs(10);
/// What a batch of one record may add to key and value.
const RECORD_OVERHEAD_MAX: usize = 1_024;
/// How often it is looked for.
const MISSING_RECHECK: Duration = Duration::from_millis(20);

/// Which topic belongs to which table. Two tables in one topic are refused, also of two sources: their keys could be equal.
pub(super) struct TableTopics {
    source: Arc<str>,
    // Shared with the sinks of the other sources.
    owners: Arc<TopicOwners>,
    template: TopicTemplate,
    own: OwnRecords,
    known: HashSet<TableName>,
    by_topic: HashMap<String, TableName>,
    // Tables of the batch at hand that were looked at.
    seen: Vec<bool>,
    // Whether the topics of the sink's own records are taken.
    has_own: bool,
}

/// What records a sink may write beside those of tables and messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnRecords {
    /// BEGIN and END of transactions.
    pub(super) transactions: bool,
    /// Statements that changed tables.
    pub(super) schema_changes: bool,
}

impl OwnRecords {
    pub(super) fn of(settings: &Settings) -> OwnRecords {
        OwnRecords { transactions: settings.format.transactions, schema_changes: settings.schema_changes }
    }
}

impl TableTopics {
    pub(super) fn new(
        source: &str,
        owners: Arc<TopicOwners>,
        template: &TopicTemplate,
        own: OwnRecords,
    ) -> TableTopics {
        TableTopics {
            source: source.into(),
            owners,
            template: template.clone(),
            own,
            known: HashSet::new(),
            by_topic: HashMap::new(),
            seen: Vec::new(),
            has_own: false,
        }
    }

    /// Takes in the tables of those changes of a batch that are written: one that is left out halts nothing.
    pub(super) fn learn(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        self.claim_own(batch.source.connector)?;
        self.seen.clear();
        self.seen.resize(batch.tables.len(), false);
        for change in selection.of(batch) {
            let (Some(table), Some(seen @ false)) = (batch.table(change), self.seen.get_mut(change.table as usize))
            else {
                continue;
            };
            *seen = true;
            if !self.known.contains(&table.name) {
                self.learn_table(&table.name, batch.source.connector)?;
            }
        }
        Ok(())
    }

    fn learn_table(&mut self, table: &TableName, connector: &str) -> Result<()> {
        let topic = self.template.name(&self.source, table);
        if topic.len() > NAME_LENGTH_MAX {
            let sentence = format!("topic `{topic}` has {} characters, {NAME_LENGTH_MAX} are allowed", topic.len());
            return Err(Error::operator("topic_name_too_long", sentence)
                .with_table(table.clone())
                .with_remedy("shorten `topic` of the sink"));
        }
        let other = match self.by_topic.get(&topic) {
            Some(other) => Some(format!("tables `{other}` and `{table}`")),
            None if self.is_reserved(&topic, connector) => {
                Some(format!("table `{table}` and records of the sink itself"))
            }
            None => {
                let owner = Owner { source: Arc::clone(&self.source), table: Some(table.clone()) };
                let other = self.owners.claim(&topic, owner);
                other.map(|other| format!("table `{table}` of source `{}` and {other}", self.source))
            }
        };
        if let Some(both) = other {
            return Err(Error::operator("topic_collision", format!("{both} would share topic `{topic}`"))
                .with_table(table.clone())
                .with_remedy("change `topic` of the sink, or leave one of the tables out of its source"));
        }
        self.by_topic.insert(topic, table.clone());
        self.known.insert(table.clone());
        Ok(())
    }

    // Takes the topics of the sink's own records, before the first table of any source may.
    fn claim_own(&mut self, connector: &str) -> Result<()> {
        if std::mem::replace(&mut self.has_own, true) {
            return Ok(());
        }
        for topic in self.own(connector) {
            let owner = Owner { source: Arc::clone(&self.source), table: None };
            if let Some(other) = self.owners.claim(&topic, owner) {
                let sentence = format!(
                    "{other} and records of the sink itself for source `{}` share topic `{topic}`",
                    self.source
                );
                return Err(Error::operator("topic_collision", sentence)
                    .with_remedy("change `topic` of the sink, or the name of the source"));
            }
        }
        Ok(())
    }

    fn is_reserved(&self, topic: &str, connector: &str) -> bool {
        topic == position::TOPIC || self.own(connector).any(|own| own == topic)
    }

    // The topics of the source that are no table's.
    fn own(&self, connector: &str) -> impl Iterator<Item = String> + use<> {
        let statements = self.own.schema_changes && has_schema_changes(connector);
        let statements = statements.then(|| schema_change_topic(&self.source));
        let transactions = self.own.transactions.then(|| transaction_topic(&self.source));
        [message_topic(&self.source)].into_iter().chain(transactions).chain(statements)
    }

    /// The table of a topic.
    pub(super) fn table_of(&self, topic: &str) -> Option<&TableName> {
        self.by_topic.get(topic)
    }
}

/// The topics that exist, and what they were when they were first written.
pub(crate) struct Destinations {
    settings: Arc<Settings>,
    facts: Facts,
    // Whether the facts are others than those stored.
    unstored: bool,
    commits: u32,
    // Made on demand and dropped when idle: nobody reads its log queue.
    admin: Option<(Admin, Instant)>,
}

impl Destinations {
    /// Starts with what earlier instances knew.
    pub(crate) fn new(settings: Arc<Settings>, admin: Admin, facts: Facts) -> Destinations {
        Destinations { settings, facts, unstored: true, commits: 0, admin: Some((admin, Instant::now())) }
    }

    /// Makes sure that a topic exists, creating it if that is allowed, and that it is still what it was when it was
    /// first written (SK-04, SK-0C). Returns its number of partitions.
    pub(super) fn ensure(&mut self, name: &str) -> Result<NonZeroU32> {
        let mut now = self.look(name)?;
        if now.is_none() && self.facts.knows(name) {
            // A broker that has just started may not know it yet.
            now = self.wait_for(name)?;
        }
        if let Some(change) = self.facts.compare(name, now.as_ref()) {
            self.judge(name, &change)?;
        }
        let now = match now {
            Some(topic) => topic,
            None => self.create(name)?,
        };
        self.unstored |= self.facts.learn(name, &now);
        NonZeroU32::new(now.partitions)
            .ok_or_else(|| Error::retry("topic_without_partitions", format!("topic `{name}` has no partition yet")))
    }

    /// Looks whether a topic that was written is still there, and no other one of its name. An answer that does not come says
    /// nothing.
    pub(super) fn must_be_there(&mut self, name: &str) -> Result<()> {
        let Ok(now) = self.look(name) else { return Ok(()) };
        match self.facts.compare(name, now.as_ref()) {
            Some(change @ (Change::Gone | Change::Recreated)) => match self.judge(name, &change) {
                Ok(()) => Err(Error::retry("topic_gone", format!("topic `{name}` is gone and is made again"))),
                Err(error) => Err(error),
            },
            _ => Ok(()),
        }
    }

    /// Writes the topics' record if this commit is to store it.
    pub(super) fn write_facts(&self, out: &mut Vec<u8>) -> Result<bool> {
        let due = self.unstored || self.commits >= facts::COMMITS_BETWEEN;
        if due {
            self.facts.write(out)?;
        }
        Ok(due)
    }

    /// To be called after a commit; `stored` is what [`Destinations::write_facts`] said before.
    pub(super) fn committed(&mut self, stored: bool) {
        self.unstored &= !stored;
        self.commits = if stored { 0 } else { self.commits.saturating_add(1) };
    }

    fn judge(&self, name: &str, change: &Change) -> Result<()> {
        let (code, sentence) = match change {
            Change::Gone => ("topic_gone", format!("topic `{name}` held changes of this sink and is gone")),
            Change::Recreated => (
                "topic_recreated",
                format!("topic `{name}` was deleted and made again: the changes that this sink wrote are gone"),
            ),
            Change::Repartitioned { before, now } => (
                "topic_repartitioned",
                format!(
                    "topic `{name}` has {now} partitions instead of {before}: keys would move away from their older records"
                ),
            ),
        };
        if self.settings.changed_topics == ChangedTopics::Accept {
            tracing::warn!(code, topic = name, "{sentence}; accepted, as `changed_topics` says");
            return Ok(());
        }
        Err(Error::operator(code, sentence).with_remedy(
            "set `changed_topics = \"accept\"` of the sink to go on with the topic as it is, or give the sink a new name, \
             which reads its tables anew",
        ))
    }

    fn look(&mut self, name: &str) -> Result<Option<Topic>> {
        let topic = self.admin()?.topic(name)?;
        Ok(topic.map(|Description { id, partitions }| Topic { id, partitions }))
    }

    fn create(&mut self, name: &str) -> Result<Topic> {
        if self.settings.creation.allowed {
            let creation = self.settings.creation.clone();
            if self.create_patiently(name, &creation)? == Created::New {
                tracing::info!(topic = name, partitions = creation.partitions, "created a topic");
            }
        }
        match self.wait_for(name)? {
            Some(topic) => {
                self.wait_until_served(name, topic.partitions)?;
                Ok(topic)
            }
            None if self.settings.creation.allowed => {
                Err(Error::retry("topic_not_seen", format!("topic `{name}` was created and is not to be seen yet")))
            }
            None => {
                let sentence = format!("topic `{name}` is missing and `create_topics` is off");
                Err(Error::operator("topic_missing", sentence).with_remedy(create_command(&self.settings, name)))
            }
        }
    }

    // A broker that restarts is missing for a moment, and says no more than that.
    fn create_patiently(&mut self, name: &str, creation: &Creation) -> Result<Created> {
        let deadline = Instant::now() + MISSING_PATIENCE;
        loop {
            match self.admin()?.create(name, creation, Effect::Apply) {
                Err(error) if error.code() == error::TOO_FEW_BROKERS && Instant::now() < deadline => {
                    std::thread::sleep(MISSING_RECHECK);
                }
                outcome => return outcome,
            }
        }
    }

    fn wait_for(&mut self, name: &str) -> Result<Option<Topic>> {
        let deadline = Instant::now() + MISSING_PATIENCE;
        loop {
            let topic = self.look(name)?;
            if topic.is_some() || Instant::now() >= deadline {
                return Ok(topic);
            }
            // Somebody else creates it, or the brokers tell each other; there is nothing to be woken by.
            std::thread::sleep(MISSING_RECHECK);
        }
    }

    // Of several requests on their way to a partition that is not served yet the first may fail and the next be taken,
    // which costs the transaction. One that is not served in time is none of our business: producing says more.
    fn wait_until_served(&mut self, name: &str, partitions: u32) -> Result<()> {
        let deadline = Instant::now() + MISSING_PATIENCE;
        for partition in 0..partitions {
            while !self.admin()?.is_served(name, partition) {
                if Instant::now() >= deadline {
                    return Ok(());
                }
                std::thread::sleep(MISSING_RECHECK);
            }
        }
        Ok(())
    }

    /// The error for a record that is over a limit (SK-03).
    pub(super) fn too_large(&self, record: &FailedRecord) -> Error {
        let topic = &record.topic;
        // The limit only makes the message better; without it the message still names the topic.
        let limit = Admin::new(&self.settings).and_then(|admin| admin.topic_settings(&[topic])).ok();
        let limit = limit.and_then(|all| all.into_iter().next().flatten()?.get("max.message.bytes").cloned());
        if let Some(limit) = limit.as_ref().and_then(|limit| limit.parse::<usize>().ok())
            && record.size.saturating_add(RECORD_OVERHEAD_MAX) < limit
        {
            let sentence =
                format!("a batch of records is too large for topic `{topic}`: its `max.message.bytes` is {limit}");
            return Error::operator("record_too_large", sentence).with_remedy(format!(
                "raise `max.message.bytes` of the topic, or set librdkafka's \"batch.size\" to {limit} or less"
            ));
        }
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
        Error::operator("record_too_large", sentence).with_remedy(remedy)
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
    use tidewire_core::batch::ChangeHead;
    use tidewire_core::schema::{KeyKind, OldRow};
    use tidewire_core::{BatchBuilder, BatchLimits, Op, Phase, SchemaVersion, SourceDescriptor, TableSchema};

    fn batch(connector: &'static str, tables: &[(&str, &str)]) -> Batch {
        let source = SourceDescriptor {
            name: "shop".into(),
            connector,
            database: "shop".into(),
            provenance: &[],
            has_sequence: true,
            snapshot_floor: None,
        };
        let mut builder = BatchBuilder::new(Arc::new(source), Phase::Stream, BatchLimits::default());
        for (schema, table) in tables {
            let table = builder.table(&Arc::new(TableSchema {
                name: TableName::new(*schema, *table),
                version: SchemaVersion(1),
                native_id: 1,
                columns: Vec::new(),
                key: Vec::new(),
                key_kind: KeyKind::None,
                old_row: OldRow::Full,
            }));
            builder.push(ChangeHead { op: Op::Truncate, ordinal: 1, offset: 1, row: 0 }, table, None, None);
        }
        builder.finish(None, true, 0)
    }

    fn learn(template: &str, tables: &[(&str, &str)], selection: Selection<'_>) -> Result<TableTopics> {
        let mut topics = topics_of("shop", &Arc::default(), template);
        topics.learn(&batch("postgresql", tables), selection).map(|()| topics)
    }

    const ALL: OwnRecords = OwnRecords { transactions: true, schema_changes: true };

    fn topics_of(source: &str, owners: &Arc<TopicOwners>, template: &str) -> TableTopics {
        TableTopics::new(source, Arc::clone(owners), &TopicTemplate::parse(template).expect("a template"), ALL)
    }

    #[test]
    fn the_topic_of_statements_is_no_table_s() {
        let template = TopicTemplate::parse("{source}").expect("a template");
        for (connector, schema_changes, expect) in
            [("postgresql", true, true), ("mysql", true, false), ("mariadb", true, false), ("mysql", false, true)]
        {
            let mut topics = TableTopics::new("shop", Arc::default(), &template, OwnRecords { schema_changes, ..ALL });
            let learnt = topics.learn(&batch(connector, &[("a", "x")]), Selection::All);
            assert_eq!(learnt.is_ok(), expect, "{connector}");
        }
    }

    #[test]
    fn a_topic_has_one_table() {
        let tables = [("a", "x"), ("a", "y"), ("a", "x")];
        let topics = learn(TopicTemplate::DEFAULT, &tables, Selection::All).expect("topics");
        assert_eq!(topics.table_of("shop.a.y"), Some(&TableName::new("a", "y")));
        for (template, tables) in [
            ("{table}", [("a", "x"), ("b", "x")]),
            (TopicTemplate::DEFAULT, [("a", "x y"), ("a", "x_y")]),
            ("{table}", [("a", "x"), ("a", "tidewire-progress")]),
            ("{table}", [("a", "x"), ("a", "shop.message")]),
        ] {
            let error = learn(template, &tables, Selection::All).err().expect("a collision");
            let (schema, table) = tables[1];
            assert_eq!((error.code(), error.table()), ("topic_collision", Some(&TableName::new(schema, table))));
            // Once that table is left out, the other goes on.
            assert!(learn(template, &tables, Selection::Some(&[0])).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_topic_has_one_source() {
        for (template, table, topic) in
            [("{schema}.{table}", "orders", "a.orders"), ("{table}", "shop.message", "shop.message")]
        {
            let owners = Arc::default();
            let [mut shop, mut crm, mut anew] = ["shop", "crm", "shop"].map(|of| topics_of(of, &owners, template));
            let one = batch("postgresql", &[("a", "orders")]);
            shop.learn(&one, Selection::All).expect("the first");
            let two = batch("postgresql", &[("a", table), ("a", "items")]);
            let error = crm.learn(&two, Selection::All).expect_err(template);
            assert_eq!((error.code(), error.table()), ("topic_collision", Some(&TableName::new("a", table))));
            assert!(error.to_string().contains(topic) && error.to_string().contains("`shop`"), "{error}");
            crm.learn(&two, Selection::Some(&[1])).expect("its other table goes on");
            anew.learn(&one, Selection::All).expect("the first, opened anew");
        }
    }

    #[test]
    fn a_topic_of_the_sink_s_own_records_that_a_table_has_halts_the_source() {
        let owners = Arc::default();
        let table = batch("mysql", &[("a", "crm")]);
        topics_of("shop", &owners, "{table}").learn(&table, Selection::All).expect("a table");
        let error = topics_of("crm", &owners, "{table}").learn(&batch("mysql", &[]), Selection::All);
        let error = error.expect_err("the topic of statements is taken");
        assert_eq!((error.code(), error.table()), ("topic_collision", None));
    }

    #[test]
    fn a_name_is_never_cut() {
        let long = "t".repeat(NAME_LENGTH_MAX);
        assert!(learn("{table}", &[("a", &long)], Selection::All).is_ok());
        let error = learn("x{table}", &[("a", &long)], Selection::All).err().expect("too long");
        assert_eq!((error.code(), error.table()), ("topic_name_too_long", Some(&TableName::new("a", &*long))));
    }
}
