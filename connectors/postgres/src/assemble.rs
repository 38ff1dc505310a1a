//! From the messages of the log to batches. Owns what the stream is in the middle of: the open transaction,
//! the tables it has been told about, the place reached. Sans-IO: knows no socket, no clock and no catalog;
//! when a table must be looked up it says so and is told the answer.
//!
//! # Order and numbers
//!
//! The server sends a transaction when it commits, whole, in the order of commit records. A change is known
//! by the place of its transaction's commit record (`Begin.final_lsn`) and its number among the changes of that
//! transaction that the server sends, counted from 1 by nothing but the log: the same on every re-read, from
//! wherever it starts and whatever `tables` captures by then. Rows that are passed over are counted too; numbers
//! have gaps, and positions that sinks hold inside a transaction outlive a change of the configuration. LSNs of messages order nothing (PG-60, PG-63, PG-64): several rows share one, and a
//! transaction's first change has the LSN where the one before it ended. Marks rise all the same: the end of
//! a transaction's commit record lies before the next transaction's commit record begins.
//!
//! # Schema changes
//!
//! A Relation message stands before the first row that uses it, also after each change of the table within a
//! transaction (PG-48). When its shape differs from the one before, a change of [`Op::Schema`] is put at that
//! place. It bears the number of the change before it and is not counted: whether it appears depends on what
//! was known before, and numbers must not.
//!
//! A Relation message is only kept until a row names its table: the server describes partitions as well whose rows it sends
//! under the name of their table, and these are no tables of ours (`assemble/leaves.rs`).

mod leaves;
mod row;
mod transaction;

use crate::catalog::Described;
use crate::position::{Lsn, ServerIdentity};
use crate::publication::recreated;
use crate::typemap::Scratch;
use crate::wire::pgoutput::{self, DecodeError, Message, MessageBody, RelationBody, TruncateBody};
use leaves::Leaves;
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::batch::{BatchBuilder, ChangeHead};
use tidewire_core::source::{ProvenanceField, ProvenanceOrigin, ProvenanceType};
use tidewire_core::{
    Batch, BatchLimits, ColumnSchema, Error, Op, Phase, Result, SchemaVersion, SourceDescriptor, TableFilter,
    TableName, TableSchema,
};
use transaction::Open;

/// What consumers are told about a change's place in the log: Debezium's fields of PostgreSQL, in its order.
pub(crate) const PROVENANCE: &[ProvenanceField] = &[
    field("txId", ProvenanceType::Int64, ProvenanceOrigin::Transaction(0), true),
    field("lsn", ProvenanceType::Int64, ProvenanceOrigin::Offset, true),
    field("xmin", ProvenanceType::Int64, ProvenanceOrigin::Null, true),
    field("origin", ProvenanceType::Text, ProvenanceOrigin::Transaction(1), true),
    field("origin_lsn", ProvenanceType::Int64, ProvenanceOrigin::Null, true),
];

const fn field(
    name: &'static str,
    field_type: ProvenanceType,
    origin: ProvenanceOrigin,
    in_snapshot: bool,
) -> ProvenanceField {
    ProvenanceField { name, field_type, optional: true, origin, in_snapshot }
}

/// What a message came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing that is shipped.
    Nothing,
    /// Changes were added.
    Changed,
    /// A transaction is whole; the place reached lies between transactions.
    TransactionEnd,
    /// A table must be looked up and given to [`Assembler::define`]; then the same message is to be applied again.
    NeedsCatalog(RelationBody),
    /// A partition logs less of an old row than its table's replica identity asks for. The same message is to be applied
    /// again, if that is no reason to stop: such rows are known for what they are.
    NarrowLeaf {
        /// The partition.
        leaf: u32,
        /// Its table.
        table: TableName,
    },
}

/// What is known about a relation id.
#[derive(Debug)]
enum Relation {
    /// Not captured: its rows are passed over.
    Passed,
    /// Captured.
    Captured(Arc<Described>),
    /// Told of by the log, and not named by a row since; with what was known of it, if it was captured.
    Told(RelationBody, Option<Arc<Described>>),
}

impl Relation {
    fn described(&self) -> Option<&Arc<Described>> {
        match self {
            Relation::Passed => None,
            Relation::Captured(described) => Some(described),
            Relation::Told(_, known) => known.as_ref(),
        }
    }
}

/// What a row's relation comes to.
enum Named {
    /// A table, as it is now.
    Captured(Arc<Described>),
    /// Nothing of ours.
    Passed,
    /// Something must be known first.
    Needs(Applied),
}

/// Turns messages into batches.
#[derive(Debug)]
pub(crate) struct Assembler {
    builder: BatchBuilder,
    identity: ServerIdentity,
    filter: TableFilter,
    /// The source's name.
    source: Arc<str>,
    relations: HashMap<u32, Relation>,
    leaves: Leaves,
    /// Which oid a captured name stood for last.
    names: HashMap<TableName, u32>,
    /// Which oid it stood for when the source was opened.
    opened: HashMap<TableName, u32>,
    /// Who committed before this place may have made tables anew: the operator has accepted it.
    accepted_until: u64,
    /// Tables whose changes in transactions that commit before a place are passed over: their rows show them already.
    read_until: HashMap<u32, u64>,
    /// The relation that must be defined before the next message.
    awaited: Option<u32>,
    open: Option<Open>,
    /// End of the last commit record.
    previous_commit: Option<u64>,
    /// Commit time of the last transaction, microseconds since 1970.
    previous_commit_micros: i64,
    /// Where everything before is whole.
    boundary: Option<u64>,
    scratch: Scratch,
    old_cells: Vec<tidewire_core::Cell>,
}

impl Assembler {
    /// For a source whose stream starts. Nothing is known of any table yet; those described for a snapshot may
    /// be given to [`Assembler::define`] first, so that a change since then becomes a new version.
    pub(crate) fn new(
        descriptor: Arc<SourceDescriptor>,
        identity: ServerIdentity,
        limits: BatchLimits,
        tables: TableFilter,
    ) -> Assembler {
        let source = Arc::clone(&descriptor.name);
        Assembler {
            builder: BatchBuilder::new(descriptor, Phase::Stream, limits),
            identity,
            filter: tables,
            source,
            relations: HashMap::new(),
            leaves: Leaves::default(),
            names: HashMap::new(),
            opened: HashMap::new(),
            accepted_until: 0,
            read_until: HashMap::new(),
            awaited: None,
            open: None,
            previous_commit: None,
            previous_commit_micros: 0,
            boundary: None,
            scratch: Scratch::default(),
            old_cells: Vec::new(),
        }
    }

    /// Takes one message. `wal_start` is that of its `XLogData` frame. After an error the stream must not go on.
    pub(crate) fn apply(&mut self, wal_start: u64, payload: &[u8]) -> Result<Applied> {
        if let Some(oid) = self.awaited {
            return Err(Error::bug("table_undefined", format!("relation `{oid}` was not looked up")));
        }
        match pgoutput::parse(payload).map_err(|cause| undecodable(wal_start, cause))? {
            Message::Insert(body) => match self.named(body.relation)? {
                Named::Captured(table) => self.insert(wal_start, &table, &body),
                Named::Passed => self.count_passed(),
                Named::Needs(applied) => Ok(applied),
            },
            Message::Update(body) => match self.named(body.relation)? {
                Named::Captured(table) => self.update(wal_start, &table, &body),
                Named::Passed => self.count_passed(),
                Named::Needs(applied) => Ok(applied),
            },
            Message::Delete(body) => match self.named(body.relation)? {
                Named::Captured(table) => self.delete(wal_start, &table, &body),
                Named::Passed => self.count_passed(),
                Named::Needs(applied) => Ok(applied),
            },
            Message::Begin(body) => {
                self.leaves.pass();
                self.begin(&body)
            }
            Message::Commit(body) => self.commit(&body),
            Message::Origin(body) => self.origin(body.name),
            Message::Relation(body) => {
                self.relation(body);
                Ok(Applied::Nothing)
            }
            Message::Type => Ok(Applied::Nothing),
            Message::Truncate(body) => self.truncate(wal_start, &body),
            Message::Emitted(body) => self.message(&body),
        }
    }

    /// Takes the answer to [`Applied::NeedsCatalog`], or a table that is known before the stream starts. A
    /// shape that differs from the table's last becomes a new version and, in the stream, a change of its own.
    pub(crate) fn define(&mut self, described: Described) -> Result<()> {
        let oid =
            u32::try_from(described.schema.native_id).map_err(|_| Error::bug("table_id", "a table's id is no oid"))?;
        let name = described.schema.name.clone();
        let former = self.may_bear(oid, &name)?.and_then(|former| self.described(former));
        let in_stream = self.awaited.take().is_some();
        let known = self.relations.get(&oid).and_then(Relation::described);
        let (described, changed) = match (known, former) {
            (known, Some(former)) => (take_over(known.map(AsRef::as_ref), &former, described), true),
            (Some(known), None) => succeed(known, described),
            (None, None) => (described, false),
        };
        if changed {
            self.names.retain(|_, known| *known != oid);
        }
        if !in_stream {
            self.opened.insert(name.clone(), oid);
        }
        self.names.insert(name, oid);
        let described = Arc::new(described);
        if changed && in_stream {
            self.push_schema_change(&described.schema)?;
        }
        self.relations.insert(oid, Relation::Captured(described));
        Ok(())
    }

    /// Passes over a table's changes before the place at which its rows were read. Only for a table none of whose
    /// changes has ever been shipped. They are counted all the same, because numbers must not depend on it.
    pub(crate) fn pass_until(&mut self, oid: u32, floor: Lsn) {
        self.read_until.insert(oid, floor.0);
    }

    /// Takes tables that were made anew by who committed before this place for those whose names they bear, and so the ones
    /// that bear them when the source is opened.
    pub(crate) fn accept_until(&mut self, place: Lsn) {
        self.accepted_until = place.0;
    }

    /// Refuses a table under the name of another one. Hands out the other one where the operator has accepted that.
    fn may_bear(&self, oid: u32, name: &TableName) -> Result<Option<u32>> {
        let Some(former) = self.names.get(name).copied().filter(|former| *former != oid) else { return Ok(None) };
        let is_accepted = self.open.as_ref().is_some_and(|open| open.mark().major < self.accepted_until);
        let is_of_today = self.accepted_until > 0 && self.opened.get(name) == Some(&oid);
        if is_accepted || is_of_today { Ok(Some(former)) } else { Err(recreated(name, &self.source)) }
    }

    /// A table as it was described last.
    pub(crate) fn described(&self, oid: u32) -> Option<Arc<Described>> {
        self.relations.get(&oid)?.described().cloned()
    }

    /// Whether a table has been described.
    pub(crate) fn knows(&self, oid: u32) -> bool {
        self.described(oid).is_some()
    }

    /// Whether the batch should be finished before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.builder.is_full() || self.open.is_none() && self.builder.is_full_at_boundary()
    }

    /// Whether the batch holds changes.
    pub(crate) fn has_changes(&self) -> bool {
        !self.builder.is_empty()
    }

    /// Whether the place reached lies inside a transaction.
    pub(crate) fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the server's word that nothing of ours lies before `wal_end`. Only between transactions and with
    /// nothing pending (PG-68); true when the place reached has moved, so that an empty batch can report it.
    pub(crate) fn keepalive(&mut self, wal_end: u64) -> bool {
        let idle = self.open.is_none() && self.builder.is_empty();
        let moved = idle && self.boundary.is_none_or(|boundary| boundary < wal_end);
        if moved {
            self.boundary = Some(wal_end);
        }
        moved
    }

    /// Hands out what was added, with the place right after it. In mid-transaction that place is the number of
    /// changes so far, and the next batch opens the transaction again. A transaction of which nothing was shipped
    /// yet need not be entered: the place before it is as true.
    pub(crate) fn finish(&mut self, now_micros: i64) -> Batch {
        self.builder.drop_empty_transaction();
        let inside = self.open.as_ref().filter(|open| open.shipped).map(Open::mark);
        let position = match inside {
            Some(mark) => Some(self.identity.position(mark)),
            None => self.boundary.map(|lsn| self.identity.boundary(Lsn(lsn))),
        };
        if let Some(open) = &mut self.open {
            open.in_batch = false;
        }
        self.builder.finish(position, inside.is_none(), now_micros)
    }

    fn relation(&mut self, body: RelationBody) {
        self.leaves.describe(&body);
        // An earlier shape, maybe an earlier name: the shape at the place of the reading is known.
        if !self.is_read(body.oid) {
            let known = self.described(body.oid);
            self.relations.insert(body.oid, Relation::Told(body, known));
        }
    }

    /// What is known of a row's relation.
    #[inline]
    fn named(&mut self, oid: u32) -> Result<Named> {
        if self.leaves.are_settled() {
            match self.relations.get(&oid) {
                Some(Relation::Captured(described)) => return Ok(Named::Captured(Arc::clone(described))),
                Some(Relation::Passed) => return Ok(Named::Passed),
                _ => {}
            }
        }
        self.settle(oid)
    }

    /// The first row since something was described.
    #[cold]
    fn settle(&mut self, oid: u32) -> Result<Named> {
        match self.resolve(oid)? {
            Named::Captured(described) => Ok(match self.leaves.settle(oid, &described) {
                Some(leaf) => Named::Needs(Applied::NarrowLeaf { leaf, table: described.schema.name.clone() }),
                None => Named::Captured(described),
            }),
            Named::Passed => {
                self.leaves.pass();
                Ok(Named::Passed)
            }
            needs => Ok(needs),
        }
    }

    /// Whether a relation that a row or a truncate names is ours.
    fn resolve(&mut self, oid: u32) -> Result<Named> {
        let (body, known) = match self.relations.get(&oid) {
            Some(Relation::Captured(described)) => return Ok(Named::Captured(Arc::clone(described))),
            Some(Relation::Passed) => return Ok(Named::Passed),
            Some(Relation::Told(body, known)) => (body, known),
            None => {
                let message = format!("the log names relation `{oid}` without a description of it");
                return Err(Error::operator("relation_unknown", message)
                    .with_remedy("restart the source; if it comes again, report the server's version"));
            }
        };
        if !self.filter.captures(&body.namespace, &body.name) {
            // A table that was captured until it was renamed or moved must not end without a word (PG-49).
            if let Some(known) = known {
                let name = known.schema.name.clone();
                let message = format!(
                    "table `{name}` is now `{}.{}`, which `tables` does not capture",
                    body.namespace, body.name
                );
                return Err(Error::operator("table_renamed", message)
                    .with_remedy(format!("add `{}.{}` to `tables`", body.namespace, body.name))
                    .with_table(name));
            }
            self.relations.insert(oid, Relation::Passed);
            return Ok(Named::Passed);
        }
        let name = TableName::new(body.namespace.as_str(), body.name.as_str());
        self.may_bear(oid, &name)?;
        let needed = Applied::NeedsCatalog(body.clone());
        self.awaited = Some(oid);
        Ok(Named::Needs(needed))
    }

    fn push_schema_change(&mut self, schema: &Arc<TableSchema>) -> Result<()> {
        let ordinal = self.open_transaction()?.ordinal;
        let table = self.builder.table(schema);
        self.builder.push(ChangeHead { op: Op::Schema, ordinal, offset: 0, row: 0 }, table, None, None);
        Ok(())
    }

    fn truncate(&mut self, wal_start: u64, body: &TruncateBody<'_>) -> Result<Applied> {
        let mut tables = Vec::with_capacity(body.relations().len());
        for oid in body.relations() {
            match self.resolve(oid)? {
                Named::Captured(described) => tables.push((oid, Some(described))),
                Named::Passed => tables.push((oid, None)),
                Named::Needs(applied) => return Ok(applied),
            }
        }
        self.leaves.pass();
        let mut applied = Applied::Nothing;
        for (oid, described) in tables {
            let Some(described) = described.filter(|_| !self.is_read(oid)) else {
                self.count_passed()?;
                continue;
            };
            let head = self.next_change(Op::Truncate, wal_start)?;
            let table = self.builder.table(&described.schema);
            self.builder.push(head, table, None, None);
            applied = Applied::Changed;
        }
        Ok(applied)
    }

    fn message(&mut self, body: &MessageBody<'_>) -> Result<Applied> {
        if !body.transactional {
            return self.free_message(body);
        }
        let head = self.next_change(Op::Message, body.lsn)?;
        self.builder.push_message(head, body.prefix.as_bytes(), body.content);
        Ok(Applied::Changed)
    }

    /// Whether the rows of a table show what the open transaction does to it.
    #[inline]
    fn is_read(&self, oid: u32) -> bool {
        if self.read_until.is_empty() {
            return false;
        }
        let floor = self.read_until.get(&oid);
        floor.zip(self.open.as_ref()).is_some_and(|(floor, open)| open.mark().major < *floor)
    }
}

/// Gives a description its version: the known one's when the shape is the same, else the next.
fn succeed(known: &Described, next: Described) -> (Described, bool) {
    let version = known.schema.version;
    let mut schema = Arc::unwrap_or_clone(next.schema);
    schema.version = version;
    for column in &mut schema.columns {
        let is_it = |known: &&ColumnSchema| column.number.is_some() && known.number == column.number;
        // What older rows had in a column does not change; the catalog forgets it when it writes them anew.
        if let Some(known) = known.schema.columns.iter().find(is_it).filter(|known| known.data_type == column.data_type)
        {
            column.missing = known.missing.clone();
        }
    }
    if schema == *known.schema {
        return (Described { schema: Arc::clone(&known.schema), ..next }, false);
    }
    schema.version = SchemaVersion(version.0.saturating_add(1));
    (Described { schema: Arc::new(schema), ..next }, true)
}

/// Gives a description the version after those of the table whose name it has taken, and of its own.
fn take_over(known: Option<&Described>, former: &Described, next: Described) -> Described {
    let version = known.map_or(former.schema.version, |known| known.schema.version.max(former.schema.version));
    let mut schema = Arc::unwrap_or_clone(next.schema);
    schema.version = SchemaVersion(version.0.saturating_add(1));
    Described { schema: Arc::new(schema), ..next }
}

fn undecodable(wal_start: u64, cause: DecodeError) -> Error {
    Error::operator("message_undecodable", format!("read the message at `{}`", Lsn(wal_start)))
        .with_remedy("report the server's version; nothing was acknowledged past this place")
        .with_cause(cause)
}

#[cfg(test)]
mod tests;
