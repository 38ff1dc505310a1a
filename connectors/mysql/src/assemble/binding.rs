//! What the rows of a table mean: a table map of the log beside the definition in force, once for each new map.

use super::{Applied, Assembler};
use crate::binlog::{TableMap, TableMapEvent, WireColumn};
use crate::metadata::{self, Disagreement};
use crate::model::{ColumnDef, Origin, OriginKind, TableDef};
use crate::shape;
use crate::typemap::{Absent, Decoder};
use std::sync::Arc;
use tidewire_core::batch::ChangeHead;
use tidewire_core::options::SnapshotMode;
use tidewire_core::{Error, Op, Result, SchemaVersion, TableName, TableSchema};

/// A table id of the log.
#[derive(Debug)]
pub(super) struct Binding {
    /// The map's body, to tell whether the next one is the same.
    body: Vec<u8>,
    pub(super) map: TableMap,
    /// `None` when its rows are passed over.
    pub(super) captured: Option<Captured>,
    /// Whether it holds for later maps as well.
    lasting: bool,
}

/// How the rows of a captured table become cells.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) schema: Arc<TableSchema>,
    /// By column of the log; the columns of the schema are those with a decoder, in order.
    pub(super) slots: Vec<Slot>,
    /// Whether a rollback takes its rows back.
    pub(super) transactional: bool,
}

/// A column of the log.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) wire: WireColumn,
    /// `None` for a column that is not in the shape: it is passed over.
    pub(super) decoder: Option<Decoder>,
    /// What an insert without it means.
    pub(super) absent: Absent,
}

/// A captured table as it was shipped last.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) schema: Arc<TableSchema>,
}

impl Binding {
    /// Whether it is one of the table.
    pub(super) fn is_of(&self, name: &TableName) -> bool {
        self.map.table == *name.table && self.map.database == *name.schema
    }
}

impl Assembler {
    /// Whether the configuration wants a table. What online schema changes make beside it is not wanted (MY-45, MY-46):
    /// its rows are copies, and come again under the table's own name.
    pub(super) fn captures(&self, name: &TableName) -> bool {
        if !self.facts.filter.captures_name(name) {
            return false;
        }
        shape::online_change_of(&name.table)
            .is_none_or(|base| !self.shipped.contains(&TableName::new(Arc::clone(&name.schema), base)))
    }

    pub(super) fn table_map(&mut self, event: &TableMapEvent<'_>) -> Result<Applied> {
        if self.open.as_ref().is_some_and(|group| group.skipped || group.preparing) && self.replay.is_none() {
            return Ok(Applied::Nothing);
        }
        let TableMapEvent { id, body, .. } = *event;
        if self.bindings.get(&id).is_some_and(|known| known.lasting && known.body == body) {
            return Ok(Applied::Nothing);
        }
        let map = TableMap::parse(body, &self.format).map_err(|cause| self.undecodable(cause))?;
        let name = TableName::new(map.database.as_str(), map.table.as_str());
        let passed = self.is_read(&name);
        let captured = if passed || !self.captures(&name) { None } else { Some(self.bind(&name, &map)?) };
        let binding = Binding { body: body.to_vec(), map, captured, lasting: !passed };
        self.bindings.insert(id, Arc::new(binding));
        Ok(Applied::Nothing)
    }

    /// Whether the rows of a table show what the open transaction does to it.
    pub(super) fn is_read(&self, name: &TableName) -> bool {
        self.read_until.get(name).is_some_and(|floor| self.major < *floor)
    }

    fn bind(&mut self, name: &TableName, map: &TableMap) -> Result<Captured> {
        self.admit(name)?;
        let definition = self.definition(name, map)?;
        let schema = self.shape(&definition)?;
        let schema = self.succeed(name, schema)?;
        let mut slots = Vec::with_capacity(map.columns.len());
        for (index, wire) in map.columns.iter().enumerate() {
            let column = definition.columns.get(index);
            let is_shown = |column: &&ColumnDef| shape::is_shown(column, self.facts.flavour, self.facts.version);
            let Some(column) = column.filter(is_shown) else {
                slots.push(Slot { wire: *wire, decoder: None, absent: Absent::Unknown });
                continue;
            };
            let decoder = Decoder::for_log(wire, column, self.facts.flavour, self.facts.zero_dates);
            let decoder = decoder.map_err(|cause| self.disagrees(name, &cause.to_string()))?;
            let absent = Absent::of(column, self.facts.zero_dates);
            slots.push(Slot { wire: *wire, decoder: Some(decoder), absent });
        }
        Ok(Captured { schema, slots, transactional: shape::is_transactional(definition.engine.as_deref()) })
    }

    /// The neutral shape of a table.
    pub(super) fn shape(&self, table: &TableDef) -> Result<TableSchema> {
        shape::table_schema(table, self.facts.flavour, self.facts.version, self.facts.zero_dates)
    }

    /// Lets a table in, or turns it away until its rows have been read.
    pub(super) fn admit(&mut self, name: &TableName) -> Result<()> {
        if self.shipped.contains(name) {
            return Ok(());
        }
        if self.facts.snapshot == SnapshotMode::Initial && self.joined.turn_away(name) {
            return Err(Error::retry("table_joined", format!("table `{name}` has come to be and is read first"))
                .with_remedy("nothing: the source starts again with it")
                .with_table(name.clone()));
        }
        self.joined.let_in(name);
        self.shipped.insert(name.clone());
        tracing::info!(table = %name, "a table that was not read is shipped from here on");
        Ok(())
    }

    /// The definition in force: the known one as far as the log bears it out, else the log's own.
    fn definition(&mut self, name: &TableName, map: &TableMap) -> Result<Arc<TableDef>> {
        let known = self.schemas.get(name);
        let own = metadata::is_full(map);
        let disagreement = match &known {
            Some(known) => match metadata::compare(known, map, self.facts.flavour) {
                Ok(()) if own || !self.unproven.contains(name) => {
                    if self.unproven.remove(name) {
                        self.history.record(self.mark(), &[(name.clone(), Some(Arc::clone(known)))])?;
                    }
                    return Ok(Arc::clone(known));
                }
                Ok(()) => Disagreement("it is not known to be in force here".to_owned()),
                Err(disagreement) => disagreement,
            },
            None => Disagreement("it is not known".to_owned()),
        };
        if !own {
            return Err(self.disagrees(name, &disagreement.0));
        }
        tracing::info!(table = %name, reason = disagreement.0, "the definition is taken from the log's own metadata");
        let mut definition = metadata::definition(map, known.as_deref(), self.facts.flavour)
            .map_err(|cause| self.disagrees(name, &cause.0))?;
        definition.number_columns(self.first_known(OriginKind::Metadata));
        let definition = Arc::new(definition);
        self.schemas.insert(TableDef::clone(&definition));
        self.unproven.remove(name);
        let change = [(name.clone(), Some(Arc::clone(&definition)))];
        self.history.record(self.mark(), &change)?;
        Ok(definition)
    }

    /// Where a definition comes to be known that the open transaction tells.
    pub(super) fn first_known(&self, kind: OriginKind) -> Origin {
        Origin { kind, micros: self.open.as_ref().map_or(0, |group| group.commit_micros) }
    }

    /// The place of the open transaction's last change so far.
    pub(super) fn mark(&self) -> tidewire_core::Mark {
        tidewire_core::Mark { major: self.major, minor: self.open.as_ref().map_or(0, |group| group.ordinal) }
    }

    /// Gives a shape its version: the known one's when it is the same, else the next, which becomes a change of its own.
    pub(super) fn succeed(&mut self, name: &TableName, mut schema: TableSchema) -> Result<Arc<TableSchema>> {
        let Some(known) = self.known.get(name) else {
            let schema = Arc::new(schema);
            self.known.insert(name.clone(), Known { schema: Arc::clone(&schema) });
            return Ok(schema);
        };
        schema.version = known.schema.version;
        if schema == *known.schema {
            return Ok(Arc::clone(&known.schema));
        }
        schema.version = SchemaVersion(schema.version.0.saturating_add(1));
        let schema = Arc::new(schema);
        self.known.insert(name.clone(), Known { schema: Arc::clone(&schema) });
        self.push_schema_change(&schema)?;
        Ok(schema)
    }

    /// A change of the shape bears the number of the change before it and is not counted: whether it appears depends on
    /// what was known before, and numbers must not.
    fn push_schema_change(&mut self, schema: &Arc<TableSchema>) -> Result<()> {
        let offset = self.event_start;
        let ordinal = self.open_transaction()?.ordinal;
        let table = self.builder.table(schema);
        self.builder.push(ChangeHead { op: Op::Schema, ordinal, offset, row: 0 }, table, None, None);
        Ok(())
    }

    #[cold]
    fn disagrees(&self, name: &TableName, what: &str) -> Error {
        let message = format!("the definition of table `{name}` in force at `{}` cannot be told: {what}", self.here());
        Error::operator("schema_unknown", message)
            .with_remedy(
                "run `SET GLOBAL binlog_row_metadata = FULL` so that the log tells it from now on, and read the table anew: \
                 take it out of `tables` and give its sinks new names (and a Delta sink a new location)",
            )
            .with_table(name.clone())
    }
}
