//! What a statement does to captured tables, as changes: rows that go, shapes that change, and what halts.

use super::Assembler;
use crate::ddl::{Effect, Wording};
use crate::model::TableDef;
use std::sync::Arc;
use tidewire_core::batch::ChangeHead;
use tidewire_core::{Error, Op, Result, TableName, TableSchema};

impl Assembler {
    /// Before anything of the statement is shown: a table that joins ends the stream, and nothing of it may be lost.
    pub(super) fn admit_effect(&mut self, effect: &Effect) -> Result<()> {
        match effect {
            Effect::Created { name, .. } => self.admit(name),
            Effect::Renamed { to, .. } if self.captures(to) && !self.shipped.contains(to) => self.admit(to),
            _ => Ok(()),
        }
    }

    pub(super) fn take_effect(&mut self, effect: &Effect, ordinal: u64, wording: Wording<'_>) -> Result<()> {
        match effect {
            Effect::Created { name, def: Some(definition) } => self.reshaped(name, definition),
            Effect::Created { name, def: None } => {
                self.unproven.insert(name.clone());
                Ok(())
            }
            Effect::Altered { name, before, after } => {
                self.shaped(name, before)?;
                self.reshaped(name, after)
            }
            Effect::Truncated { name } if !self.shipped.contains(name) => Ok(()),
            Effect::Truncated { name } => self.emptied(name, ordinal, wording),
            Effect::Renamed { from, to } => self.renamed(from, to, wording),
            Effect::RowsChangedUnseen { name, what } => {
                let message = format!(
                    "rows of table `{name}` changed by `{what}`, which the log does not tell, at `{}`: {wording}",
                    self.here()
                );
                Err(Error::operator("rows_changed_unseen", message)
                    .with_remedy(
                        "read the table anew: take it out of `tables`, or give its sinks new names (and a Delta sink a \
                         new location)",
                    )
                    .with_table(name.clone()))
            }
            Effect::Unknown { name } => {
                self.unproven.insert(name.clone());
                Ok(())
            }
            Effect::Dropped { name } => {
                tracing::warn!(table = %name, code = "table_dropped", "the table was dropped: what the sinks hold of it stays");
                Ok(())
            }
            Effect::Unchanged { .. } => Ok(()),
        }
    }

    /// The shape that a table had, if nothing of it has been shipped yet: what comes next is told apart from it.
    pub(super) fn shaped(&mut self, name: &TableName, definition: &TableDef) -> Result<()> {
        if self.known.contains_key(name) {
            return Ok(());
        }
        let schema = self.shape(definition)?;
        self.succeed(name, schema).map(drop)
    }

    pub(super) fn reshaped(&mut self, name: &TableName, definition: &Arc<TableDef>) -> Result<()> {
        let schema = self.shape(definition)?;
        self.succeed(name, schema).map(drop)
    }

    pub(super) fn emptied(&mut self, name: &TableName, ordinal: u64, wording: Wording<'_>) -> Result<()> {
        let Some(schema) = self.current_schema(name)? else {
            return Err(self.unclear(name, wording, "its definition is not known"));
        };
        let offset = self.event_start;
        self.open_transaction()?;
        let table = self.builder.table(&schema);
        let head = ChangeHead { op: Op::Truncate, ordinal, offset, row: 0 };
        self.builder.push(head, table, None, None);
        Ok(())
    }

    /// The shape in which a table was shipped last, or would be.
    fn current_schema(&mut self, name: &TableName) -> Result<Option<Arc<TableSchema>>> {
        if let Some(known) = self.known.get(name) {
            return Ok(Some(Arc::clone(&known.schema)));
        }
        let Some(definition) = self.schemas.get(name) else { return Ok(None) };
        let schema = self.shape(&definition)?;
        self.succeed(name, schema).map(Some)
    }
}
