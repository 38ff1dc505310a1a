//! Turns changes into records: Debezium's JSON, written by hand into buffers that are used again. Knows
//! the event model and the settings; knows no broker.
//!
//! What is constant for a table version (names, the schema block, how each column is written) is prepared
//! once in a `TablePlan`; a row then costs copies of prepared bytes and the writing of its values.
//! Nothing is allocated for a row or a cell, except for decimals beyond 128 bits.

mod binlog_json;
mod column;
mod connect_type;
mod default_value;
mod fault;
mod json;
pub mod mask;
mod message;
mod native;
mod number;
mod plans;
mod row;
mod schema_change;
mod source_block;
mod table;
mod temporal;
mod transaction;
mod value;

pub use table::TopicId;

use crate::format::{FormatSettings, Profile};
use crate::topics::{TopicTemplate, message_topic, schema_change_topic, transaction_topic};
use column::Dialect;
use message::MessagePlan;
use plans::Plans;
use row::{Clock, RowContext};
use schema_change::SchemaChangePlan;
use source_block::{Place, SourceBlock};
use std::collections::HashMap;
use std::sync::Arc;
use table::{TablePlan, open};
use tidewire_core::batch::Provenance;
use tidewire_core::{Batch, Change, Error, Op, Result, SourceDescriptor, TableSchema};
use transaction::{IdForm, Listing, OpenTransaction, Status};

/// A record, borrowed from the encoder's buffers until the callback returns.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it goes.
    pub topic: TopicId,
    /// None for a table without a key.
    pub key: Option<&'a [u8]>,
    /// None for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// When the source committed the change (for existing rows: when they were read), in milliseconds
    /// since 1970.
    pub timestamp_ms: i64,
}

/// Takes the records.
pub type Output<'a> = dyn FnMut(Record<'_>) -> Result<()> + 'a;

/// Buffers that are used again for each record.
#[derive(Debug, Default)]
struct Buffers {
    key: Vec<u8>,
    old_key: Vec<u8>,
    value: Vec<u8>,
    scratch: Vec<u8>,
}

/// Where the snapshot stands, for the word in `source.snapshot`.
#[derive(Debug, Default)]
struct SnapshotMarks {
    tables: u64,
    table: Option<u32>,
}

struct TransactionTopic {
    topic: TopicId,
    key_open: Box<[u8]>,
    value_open: Box<[u8]>,
}

/// The names of topics and their numbers.
#[derive(Default)]
struct Topics {
    names: Vec<String>,
    ids: HashMap<String, TopicId>,
}

/// Encodes the changes of one source.
pub struct Encoder {
    settings: FormatSettings,
    template: TopicTemplate,
    source: SourceBlock,
    topics: Topics,
    plans: Plans,
    message: Option<MessagePlan>,
    /// Whether they are written, and the plan once one was.
    schema_changes: bool,
    schema_change: Option<SchemaChangePlan>,
    transaction_topic: Option<TransactionTopic>,
    id_form: IdForm,
    open: Option<OpenTransaction>,
    marks: SnapshotMarks,
    clock: Clock,
    buffers: Buffers,
}

impl Encoder {
    /// An encoder for one source.
    pub fn new(settings: FormatSettings, source: Arc<SourceDescriptor>, template: TopicTemplate) -> Encoder {
        let mut topics = Topics::default();
        let transaction_topic = settings.transactions.then(|| {
            let shown = |schema: String| if settings.schemas { open(&schema) } else { Box::default() };
            TransactionTopic {
                topic: topics.id(transaction_topic(&source.name)),
                key_open: shown(transaction::key_schema()),
                value_open: shown(transaction::value_schema()),
            }
        });
        let id_form = match (source.has_sequence, settings.profile) {
            (false, _) => IdForm::Plain,
            (true, Profile::Tidewire) => IdForm::WithCommit,
            (true, Profile::Debezium3) => IdForm::WithPlace,
        };
        Encoder {
            settings,
            template,
            source: SourceBlock::new(source, settings.profile),
            topics,
            plans: Plans::default(),
            message: None,
            schema_changes: true,
            schema_change: None,
            transaction_topic,
            id_form,
            open: None,
            marks: SnapshotMarks::default(),
            clock: Clock::default(),
            buffers: Buffers::default(),
        }
    }

    /// Whether statements that changed tables are written to a topic of their own; they are unless told otherwise.
    #[must_use]
    pub fn with_schema_changes(self, written: bool) -> Encoder {
        Encoder { schema_changes: written, ..self }
    }

    /// Name of a topic.
    pub fn topic_name(&self, topic: TopicId) -> &str {
        self.topics.names.get(topic.0 as usize).map_or("", |name| name)
    }

    /// All topics so far, by number. It only grows: a longer list after a call has new topics at its end,
    /// and a topic is in it before its first record is handed out.
    pub fn topics(&self) -> &[String] {
        &self.topics.names
    }

    /// Hands out the records of a change, in order: none (a schema change, say), one, or up to three (a
    /// changed key). With transaction metadata the END of the transaction before and the BEGIN of this one
    /// come first. An error of `out` is passed on; after any error the encoder must be made anew.
    ///
    /// # Errors
    /// `value_out_of_range`, `value_not_logged`, `column_name_reserved`: the operator has to act.
    pub fn encode(&mut self, batch: &Batch, change: &Change, out: &mut Output<'_>) -> Result<()> {
        self.clock.set(batch.received_micros);
        match change.op {
            Op::Schema | Op::SnapshotEnd => Ok(()),
            Op::SnapshotStart => {
                self.marks.start_table();
                Ok(())
            }
            Op::Truncate if !self.settings.truncates => Ok(()),
            Op::Message => self.encode_message(batch, change, out),
            Op::Ddl if !self.schema_changes => Ok(()),
            Op::Ddl => self.encode_ddl(batch, change, out),
            Op::Insert | Op::Update | Op::Delete | Op::Read | Op::Truncate => self.encode_row(batch, change, out),
        }
    }

    /// To be called after the changes of each batch, empty ones too: writes the END of a transaction that
    /// is whole.
    pub fn end_batch(&mut self, batch: &Batch, out: &mut Output<'_>) -> Result<()> {
        if batch.boundary { self.end_transaction(out) } else { Ok(()) }
    }

    fn encode_row(&mut self, batch: &Batch, change: &Change, out: &mut Output<'_>) -> Result<()> {
        let schema = batch.table(change).ok_or_else(|| {
            Error::bug("change_without_table", "a change of a row names no table of its batch".to_owned())
        })?;
        let place = self.place(batch, change);
        self.begin_transaction(place, out)?;
        let index = self.plan(schema)?;
        let Some(plan) = self.plans.get(index) else {
            return Err(Error::bug("plan_lost", "a prepared table is not where it was put"));
        };
        let open = self.open.as_mut().filter(|_| place.counted);
        let context = RowContext {
            settings: &self.settings,
            source: &self.source,
            plan,
            batch,
            place,
            clock: &self.clock,
            id_form: self.id_form,
        };
        context.encode(&mut self.buffers, open, out)
    }

    fn encode_message(&mut self, batch: &Batch, change: &Change, out: &mut Output<'_>) -> Result<()> {
        let (prefix, content) = batch
            .message(change)
            .ok_or_else(|| Error::bug("message_without_content", "a message carries no content".to_owned()))?;
        let place = self.place(batch, change);
        self.begin_transaction(place, out)?;
        let plan = match &mut self.message {
            Some(plan) => plan,
            slot @ None => {
                let topic = self.topics.id(message_topic(&self.source.descriptor().name));
                slot.insert(MessagePlan::new(topic, &self.settings, &self.source))
            }
        };
        let Buffers { key, value, scratch, .. } = &mut self.buffers;
        scratch.clear();
        match &mut self.open {
            Some(open) if place.counted => {
                let counts = open.count(&plan.collection);
                open.write_block(scratch, self.id_form, change.offset, counts);
            }
            _ => scratch.extend_from_slice(b"null"),
        }
        key.clear();
        value.clear();
        plan.write_key(key, prefix);
        plan.write_value(value, &self.source, place, batch.received_micros, scratch, (prefix, content));
        let timestamp_ms = place.micros.div_euclid(1_000);
        out(Record { topic: plan.topic, key: Some(key), value: Some(value), headers: &[], timestamp_ms })
    }

    fn encode_ddl(&mut self, batch: &Batch, change: &Change, out: &mut Output<'_>) -> Result<()> {
        let ddl = batch
            .ddl(change)
            .ok_or_else(|| Error::bug("ddl_without_text", "a schema change carries no statement".to_owned()))?;
        let place = self.place(batch, change);
        let plan = match &mut self.schema_change {
            Some(plan) => plan,
            slot @ None => {
                let topic = self.topics.id(schema_change_topic(&self.source.descriptor().name));
                slot.insert(SchemaChangePlan::new(topic, self.settings.schemas, &self.source))
            }
        };
        let Buffers { key, value, .. } = &mut self.buffers;
        key.clear();
        value.clear();
        plan.write_key(key, &ddl);
        plan.write_value(value, &self.source, place, batch.received_micros, &ddl);
        let timestamp_ms = place.micros.div_euclid(1_000);
        out(Record { topic: plan.topic, key: Some(key), value: Some(value), headers: &[], timestamp_ms })
    }

    fn place<'a>(&mut self, batch: &'a Batch, change: &'a Change) -> Place<'a> {
        let transaction = batch.transaction(change);
        let micros = transaction.map_or(batch.received_micros, |transaction| transaction.commit_time_micros);
        let snapshot = if change.op == Op::Read { self.marks.word(batch, change) } else { "false" };
        // A message outside transactions stands in one of its own, of which nothing is known.
        let known = |value: &Provenance| *value != Provenance::Absent;
        let counted = match change.op {
            Op::Read | Op::Ddl => false,
            // A statement there, and Debezium counts rows.
            Op::Truncate if self.settings.profile == Profile::Debezium3 && self.source.dialect() == Dialect::MySql => {
                false
            }
            Op::Message => transaction.is_some_and(|transaction| transaction.provenance.iter().any(known)),
            _ => transaction.is_some(),
        };
        Place { change, transaction, counted, micros, snapshot }
    }

    fn plan(&mut self, schema: &Arc<TableSchema>) -> Result<usize> {
        if let Some(index) = self.plans.find(schema) {
            return Ok(index);
        }
        let name = self.template.name(&self.source.descriptor().name, &schema.name);
        let topic = self.topics.id(name.clone());
        Ok(self.plans.add(TablePlan::new(schema, topic, &name, &self.settings, &self.source)?))
    }

    fn begin_transaction(&mut self, place: Place<'_>, out: &mut Output<'_>) -> Result<()> {
        let Some(transaction) = place.transaction.filter(|_| place.counted && self.transaction_topic.is_some()) else {
            return Ok(());
        };
        if self.open.as_ref().is_some_and(|open| open.is(transaction)) {
            return Ok(());
        }
        self.end_transaction(out)?;
        let (listing, shown) = match self.settings.profile {
            Profile::Tidewire => (Listing::ByName, None),
            Profile::Debezium3 => (Listing::ByJavaHash, self.source.debezium_transaction_id(transaction)),
        };
        self.open = Some(OpenTransaction::new(transaction, shown, listing));
        self.write_transaction(place.change.offset, Status::Begin, out)
    }

    fn end_transaction(&mut self, out: &mut Output<'_>) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        self.write_transaction(open.commit(), Status::End, out)?;
        self.open = None;
        Ok(())
    }

    fn write_transaction(&mut self, place: u64, status: Status, out: &mut Output<'_>) -> Result<()> {
        let (Some(target), Some(open)) = (&self.transaction_topic, &self.open) else { return Ok(()) };
        let Buffers { key, value, .. } = &mut self.buffers;
        key.clear();
        value.clear();
        key.extend_from_slice(&target.key_open);
        open.write_key(key, self.id_form, place);
        value.extend_from_slice(&target.value_open);
        open.write_value(value, self.id_form, place, status);
        if !target.key_open.is_empty() {
            key.push(b'}');
            value.push(b'}');
        }
        let timestamp_ms = open.commit_time_micros.div_euclid(1_000);
        out(Record { topic: target.topic, key: Some(key), value: Some(value), headers: &[], timestamp_ms })
    }
}

impl Topics {
    fn id(&mut self, name: String) -> TopicId {
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let id = TopicId(self.names.len() as u32);
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }
}

impl SnapshotMarks {
    fn start_table(&mut self) {
        self.tables += 1;
        self.table = None;
    }

    // Whether a table is the last is not known while it streams by, so `last` is never said.
    fn word(&mut self, batch: &Batch, change: &Change) -> &'static str {
        let next = batch.changes.element_offset(change).and_then(|index| batch.changes.get(index + 1));
        let first_of_table = self.table.replace(change.table).is_none();
        if next.is_some_and(|next| next.op == Op::SnapshotEnd) {
            "last_in_data_collection"
        } else if first_of_table {
            if self.tables <= 1 { "first" } else { "first_in_data_collection" }
        } else {
            "true"
        }
    }
}

#[cfg(test)]
mod tests;
