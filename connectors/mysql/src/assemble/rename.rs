//! Tables that get other names. What comes into a name that is shipped must have the rows that the sinks hold of it.

use super::Assembler;
use super::binding::Binding;
use crate::ddl::{self, Effect, Statement, Wording};
use crate::model::TableDef;
use crate::shape;
use tidewire_core::{Error, Result, TableName};

/// What a shipped table is called since it lost its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Away {
    now: TableName,
    /// Whether its rows may have changed since: nobody was told.
    touched: bool,
}

impl Assembler {
    /// A table gets another name. Into a name that is shipped comes the result of an online schema change, whose rows are
    /// the table's own (MY-45, MY-46); any other table there holds rows that the sinks do not have.
    pub(super) fn renamed(&mut self, from: &TableName, to: &TableName, wording: Wording<'_>) -> Result<()> {
        let comes_in = self.captures(to) && self.shipped.contains(to) && !self.is_read(to);
        if comes_in {
            let own =
                from.schema == to.schema && shape::online_result_of(&from.table).is_some_and(|base| *base == *to.table);
            let back = self.renamed_away.get(to).is_some_and(|away| away.now == *from && !away.touched);
            if !own && !back {
                let message = format!(
                    "table `{from}` took the place of `{to}` at `{}`, and the sinks hold the rows of the one before: {wording}",
                    self.here()
                );
                return Err(Error::operator("table_replaced", message)
                    .with_remedy(
                        "read the table anew: give its sinks new names (and a Delta sink a new location), or take it out \
                         with \"!\" in `tables`",
                    )
                    .with_table(to.clone()));
            }
            return match self.schemas.get(to) {
                Some(definition) => self.reshaped(to, &definition),
                None => {
                    self.unproven.insert(to.clone());
                    Ok(())
                }
            };
        }
        if self.goes_away(from) {
            if let Some(moved) = self.schemas.get(to) {
                self.shaped(from, &TableDef { name: from.clone(), ..TableDef::clone(&moved) })?;
            }
            if !self.facts.filter.captures_name(to) && shape::online_change_of(&to.table).is_none() {
                tracing::warn!(
                    table = %from, now = %to, code = "table_renamed",
                    "the table has a name now that `tables` does not capture: its changes are shipped no longer"
                );
            }
        }
        Ok(())
    }

    fn goes_away(&self, from: &TableName) -> bool {
        self.shipped.contains(from) && self.facts.filter.captures_name(from) && !self.is_read(from)
    }

    /// Keeps in mind where a table that lost its name is, and whether it is still what it was.
    pub(super) fn follow_name(&mut self, effect: &Effect) {
        match effect {
            Effect::Renamed { from, to } => {
                self.renamed_away.remove(to);
                for away in self.renamed_away.values_mut().filter(|away| away.now == *from) {
                    away.now = to.clone();
                }
                if self.goes_away(from) {
                    self.renamed_away.insert(from.clone(), Away { now: to.clone(), touched: false });
                }
            }
            Effect::Created { name, .. } => {
                self.renamed_away.remove(name);
                self.touch(name);
            }
            Effect::Dropped { name }
            | Effect::Truncated { name }
            | Effect::RowsChangedUnseen { name, .. }
            | Effect::Unknown { name } => self.touch(name),
            Effect::Altered { .. } | Effect::Unchanged { .. } => {}
        }
    }

    /// The rows of a table may have changed.
    pub(super) fn touch(&mut self, name: &TableName) {
        self.renamed_away.values_mut().filter(|away| away.now == *name).for_each(|away| away.touched = true);
    }

    /// The same, of a rows event.
    #[inline]
    pub(super) fn touch_rows(&mut self, binding: &Binding) {
        if !self.renamed_away.is_empty() {
            self.renamed_away.values_mut().filter(|away| binding.is_of(&away.now)).for_each(|away| away.touched = true);
        }
    }
}

/// A table whose definition is not known gets another name like any other.
pub(super) fn of_unknown(effects: Vec<Effect>, statement: &Statement) -> Vec<Effect> {
    if !matches!(statement, Statement::RenameTables(_) | Statement::AlterTable(_)) {
        return effects;
    }
    // Both kinds of statement name the old and the new one after another.
    let names = ddl::tables_of(statement);
    let is_pair = |old: &TableName, new: &TableName| names.windows(2).any(|pair| *pair == [old, new]);
    let mut renamed = Vec::with_capacity(effects.len());
    let mut effects = effects.into_iter().peekable();
    while let Some(effect) = effects.next() {
        let to = match (&effect, effects.peek()) {
            (Effect::Unknown { name: from }, Some(Effect::Unknown { name: to })) if is_pair(from, to) => to.clone(),
            _ => {
                renamed.push(effect);
                continue;
            }
        };
        effects.next();
        if let Effect::Unknown { name: from } = effect {
            renamed.push(Effect::Renamed { from, to });
        }
    }
    renamed
}
