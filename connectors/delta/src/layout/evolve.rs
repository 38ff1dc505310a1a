//! What a new version of the source's schema means for a table that is there: which columns stay, come, go or move,
//! by the sink's policy. Pure: no file, no row.
//!
//! A column that does not fit any more is never changed, for the rows before would then say something else than they
//! did. At most it is left as it stands, and the source's values go to a new column that names its source.

use super::refusal::{self, Misfit};
use super::{Layout, Mode, TextColumns, Widening, is_own, mapping, numbers_rows, wanted};
use crate::typemap::{TableColumn, column_name, parse_schema_string};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use tidewire_core::{ColumnSchema, Missing, Result, TableSchema};

/// The table's property that names the source's columns which are not in it, as a JSON array: for each of them it is
/// not known what older rows hold.
pub(crate) const LEFT_OUT_PROPERTY: &str = "tidewire.left_out";

/// What a table does about a change of the source's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SchemaChanges {
    /// Follows what keeps old rows true, halts at the rest.
    #[default]
    Evolve,
    /// As `Evolve`; what does not fit goes to a new column.
    Lenient,
    /// Keeps its columns: new ones are left out. Halts at what does not fit.
    Ignore,
    /// Halts at any change that readers would see.
    Fail,
}

impl SchemaChanges {
    /// As the configuration writes it; `None` for another word.
    pub(crate) fn parse(word: &str) -> Option<SchemaChanges> {
        Some(match word {
            "evolve" => SchemaChanges::Evolve,
            "lenient" => SchemaChanges::Lenient,
            "ignore" => SchemaChanges::Ignore,
            "fail" => SchemaChanges::Fail,
            _ => return None,
        })
    }
}

/// What the configuration says of a table's columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// What the table holds.
    pub(crate) mode: Mode,
    /// Columns that are wanted as text.
    pub(crate) texts: &'a TextColumns,
    /// What to do about changes.
    pub(crate) changes: SchemaChanges,
    /// Whether a new table's columns have names of their own in data files.
    pub(crate) column_mapping: bool,
    /// What to do about types that grow.
    pub(crate) widening: Widening,
}

/// One thing that a new version of the source's schema did to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new column of the source has a new column of the table; `native` is its type in the source's words. `is_filled`: the
    /// source gave the rows that were there a value, which the log does not tell.
    Added { source: Arc<str>, native: Arc<str>, column: Arc<str>, is_filled: bool },
    /// The source has the column no more, and the new rows have null.
    Dropped(Arc<str>),
    /// The source has the column no more, and the table neither.
    Removed(Arc<str>),
    /// The column has another name.
    Renamed { from: Arc<str>, to: Arc<str> },
    /// The column may be null from here on.
    NullAllowed(Arc<str>),
    /// The column's type no longer fits: `to` takes the source's values from here on.
    Moved { misfit: Misfit, from: Arc<str>, to: Arc<str> },
    /// The column's type has grown in its place. `keeps_ids`: rows that are found by all their values are so as before.
    Widened { misfit: Misfit, column: Arc<str>, keeps_ids: bool },
    /// A new column of the source is not in the table.
    LeftOut(Arc<str>),
}

impl Step {
    /// Whether the source has a column no more, or calls it otherwise.
    pub(super) fn loses_a_column(&self) -> bool {
        match self {
            Step::Dropped(_) | Step::Removed(_) => true,
            // What is renamed is known by its number.
            Step::Renamed { .. } | Step::Added { .. } | Step::NullAllowed(_) => false,
            Step::Moved { .. } | Step::Widened { .. } | Step::LeftOut(_) => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Added { source, native, column, .. } if source == column => write!(f, "added `{source}` ({native})"),
            Step::Added { source, native, column, .. } => write!(f, "added `{source}` ({native}) as `{column}`"),
            Step::Dropped(column) => write!(f, "dropped `{column}`"),
            Step::Removed(column) => write!(f, "removed `{column}`"),
            Step::Renamed { from, to } => write!(f, "renamed `{from}` to `{to}`"),
            Step::NullAllowed(column) => write!(f, "`NOT NULL` dropped from `{column}`"),
            Step::Moved { misfit, from, to } => write!(f, "retyped `{from}` ({misfit}), now `{to}`"),
            Step::Widened { misfit, column, .. } => write!(f, "widened `{column}` ({misfit})"),
            Step::LeftOut(column) => write!(f, "left out `{column}`"),
        }
    }
}

/// What a new version of the source's schema did to the layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evolution {
    /// The table's metadata must be written again.
    pub(crate) metadata_changed: bool,
    /// What older rows have in some column is known no more.
    pub(crate) old_rows_forgotten: bool,
    /// What changed, in the order of the source's columns.
    pub(crate) steps: Vec<Step>,
}

impl Evolution {
    /// Whether rows from here on go to other columns than those before, or to columns of other names.
    pub(crate) fn has_other_columns(&self) -> bool {
        let is_other = |step: &Step| match step {
            Step::Added { .. } | Step::Moved { .. } | Step::Removed(_) | Step::Renamed { .. } => true,
            Step::Widened { .. } => true,
            Step::Dropped(_) | Step::NullAllowed(_) | Step::LeftOut(_) => false,
        };
        self.steps.iter().any(is_other)
    }

    /// The first step after which the source tells rows from before otherwise than the table has them.
    pub(crate) fn changes_rows(&self) -> Option<&Step> {
        self.steps.iter().find(|step| match step {
            Step::Added { is_filled, .. } => *is_filled,
            Step::Widened { keeps_ids, .. } => !keeps_ids,
            // A column that has another name has kept its place.
            Step::Renamed { .. } | Step::NullAllowed(_) | Step::LeftOut(_) => false,
            Step::Dropped(_) | Step::Removed(_) | Step::Moved { .. } => true,
        })
    }

    /// Whether files from before have a column of a narrower type.
    pub(crate) fn has_wider_columns(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Widened { .. }))
    }
}

impl Layout {
    /// What a table says of its own columns, no source beside them; `None` when it is not one that Tidewire wrote.
    pub(crate) fn read(mode: Mode, schema_string: &str, configuration: &BTreeMap<String, String>) -> Option<Layout> {
        let mut columns = parse_schema_string(schema_string)?;
        columns.extend(numbers_rows(configuration).then(TableColumn::number));
        let left_out = configuration.get(LEFT_OUT_PROPERTY).map(|text| serde_json::from_str(text));
        let left_out: BTreeSet<Arc<str>> = left_out
            .transpose()
            .ok()?
            .map_or_else(BTreeSet::new, |names: Vec<String>| names.into_iter().map(Arc::from).collect());
        let last_id = mapping::last_id(configuration);
        Some(Layout {
            mode,
            sources: vec![None; columns.len()],
            columns,
            key: Vec::new(),
            partition: Vec::new(),
            left_out,
            last_id,
        })
    }

    /// A table whose rows are found by all their values cannot go on with rows that the source tells otherwise from here on.
    pub(crate) fn refuse_other_rows(&self, schema: &TableSchema, evolution: &Evolution) -> Result<()> {
        match evolution.changes_rows().filter(|_| self.number().is_some()) {
            Some(step) => Err(refusal::other_rows(schema, step)),
            None => Ok(()),
        }
    }

    /// The columns that are left out, as the table's property keeps them.
    pub(crate) fn left_out_property(&self) -> String {
        serde_json::Value::from(self.left_out.iter().map(|name| &**name).collect::<Vec<_>>()).to_string()
    }

    /// Fits the table's present columns to a version of the source's schema.
    ///
    /// # Errors
    /// When the source's column no longer fits the table's, or a dropped name returns, and the policy has no place for
    /// it: the rows written before would then no longer equal the source's. When the policy refuses all changes.
    pub(crate) fn evolve(&self, schema: &TableSchema, rules: Rules<'_>) -> Result<(Layout, Evolution)> {
        let layout = Layout {
            mode: self.mode,
            columns: self.columns.clone(),
            sources: vec![None; self.columns.len()],
            key: Vec::new(),
            partition: Vec::new(),
            left_out: BTreeSet::new(),
            last_id: self.last_id,
        };
        let by = self.partition.iter().filter_map(|at| self.columns.get(*at));
        let by = by.map(|column| Arc::clone(column.file_name())).collect();
        let (was_left_out, evolution) = (&self.left_out, Evolution::default());
        let mut fit = Fit { schema, rules, layout, by, was_left_out, evolution };
        fit.remove_gone();
        fit.rename();
        let wanted = wanted(schema, rules, self.is_mapped());
        for (at, (source, column)) in schema.columns.iter().zip(wanted).enumerate() {
            fit.place(at, source, column)?;
        }
        fit.drop_others();
        fit.note_numbers();
        let Fit { mut layout, mut evolution, .. } = fit;
        if rules.changes == SchemaChanges::Fail && !evolution.steps.is_empty() {
            return Err(refusal::changed(schema, &evolution.steps));
        }
        evolution.metadata_changed |= !evolution.steps.is_empty() || layout.left_out != self.left_out;
        layout.settle_number(schema);
        layout.refuse_collisions(schema)?;
        layout.place_key(schema);
        Ok((layout, evolution))
    }

    /// The layout of a table whose rows are all read again. It may take the source's shape as it is now, unless its
    /// columns are to stay.
    ///
    /// # Errors
    /// As `create` and `evolve`.
    pub(crate) fn read_anew(&self, schema: &TableSchema, rules: Rules<'_>) -> Result<(Layout, Evolution)> {
        match rules.changes {
            SchemaChanges::Evolve | SchemaChanges::Lenient => {
                let layout = Layout::create_after(schema, rules, Some(self))?;
                let metadata_changed = self.columns != layout.columns || self.left_out != layout.left_out;
                Ok((layout, Evolution { metadata_changed, ..Evolution::default() }))
            }
            SchemaChanges::Ignore | SchemaChanges::Fail => self.evolve(schema, rules),
        }
    }
}

/// A layout that is being fitted, column by column of the source.
pub(super) struct Fit<'a> {
    pub(super) schema: &'a TableSchema,
    pub(super) rules: Rules<'a>,
    pub(super) layout: Layout,
    /// The columns that the table is partitioned by, by the names that never change.
    by: BTreeSet<Arc<str>>,
    was_left_out: &'a BTreeSet<Arc<str>>,
    pub(super) evolution: Evolution,
}

impl Fit<'_> {
    /// Finds the place of the source's column `at`.
    fn place(&mut self, at: usize, source: &ColumnSchema, column: TableColumn) -> Result<()> {
        let Some(held) = (0..self.layout.columns.len()).find(|held| self.is_of(*held, at)) else {
            return self.place_new(at, source, column);
        };
        let misfit = self.layout.columns.get(held).and_then(|held| Misfit::of(held, &column, &source.native_type));
        match misfit {
            None => self.keep(held, at, &column),
            Some(misfit) if self.may_widen(held, &column) => self.widen(held, at, column, misfit),
            Some(misfit) if self.may_move(at) => {
                // What a row from before has in the column that stays is not null.
                let column = TableColumn { added_as_null: false, filling: None, ..column };
                let column = self.numbered(source, column);
                let (from, to) = (self.retire(held), Arc::clone(&column.name));
                self.evolution.steps.push(Step::Moved { misfit, from, to });
                self.add(at, column);
            }
            Some(misfit) => {
                let is_key = self.schema.key.contains(&at);
                let grows = self.grows(held, &column);
                if grows && !self.keeps_partitions(held, &column) {
                    return Err(refusal::partition_retyped(self.schema, source, &misfit, is_key));
                }
                return Err(refusal::retyped(self.schema, source, &misfit, is_key, grows));
            }
        }
        Ok(())
    }

    /// Finds the place of a column that the table does not have, or not any more.
    fn place_new(&mut self, at: usize, source: &ColumnSchema, mut column: TableColumn) -> Result<()> {
        let was_left_out = self.was_left_out.contains(&source.name);
        let changes = self.rules.changes;
        // A column that is not in the table is no change for a table that knows it.
        if changes == SchemaChanges::Ignore || (changes == SchemaChanges::Fail && was_left_out) {
            if self.rules.mode.keeps_keys() && self.schema.key.contains(&at) {
                return Err(refusal::key_left_out(self.schema, source));
            }
            if !was_left_out {
                self.evolution.steps.push(Step::LeftOut(Arc::clone(&source.name)));
            }
            self.layout.left_out.insert(Arc::clone(&source.name));
            return Ok(());
        }
        // Rows have been written without the values that it had then.
        if was_left_out {
            (column.added_as_null, column.filling) = (false, None);
        }
        let returned = self.layout.columns.iter().any(|held| held.dropped && held.name == column.name);
        let is_taken = self.layout.columns.iter().any(|held| is_one(&held.name, &column.name));
        if is_taken && self.may_move(at) {
            column = self.numbered(source, column);
        } else if returned {
            return Err(refusal::returned(self.schema, source, self.schema.key.contains(&at)));
        }
        self.evolution.steps.push(Step::Added {
            source: Arc::clone(&source.name),
            native: Arc::clone(&source.native_type),
            column: Arc::clone(&column.name),
            is_filled: match source.missing {
                Missing::Null => was_left_out,
                Missing::Value(_) => true,
                Missing::Unknown => !source.nullable || source.default.is_some(),
            },
        });
        self.add(at, column);
        Ok(())
    }

    /// Whether the table is partitioned by the `held`-th of its columns.
    pub(super) fn is_partition(&self, held: usize) -> bool {
        self.layout.columns.get(held).is_some_and(|held| self.by.contains(held.file_name()))
    }

    /// Whether the source's column `at` may go to a column of another name. A key may not: the rows before would have
    /// none.
    pub(super) fn may_move(&self, at: usize) -> bool {
        let may = matches!(self.rules.changes, SchemaChanges::Lenient | SchemaChanges::Fail);
        may && !self.schema.key.contains(&at)
    }

    /// The column fits where it is.
    pub(super) fn keep(&mut self, held: usize, at: usize, column: &TableColumn) {
        let (Some(held), Some(slot)) = (self.layout.columns.get_mut(held), self.layout.sources.get_mut(held)) else {
            return;
        };
        *slot = Some(at);
        if column.nullable && !held.nullable {
            held.nullable = true;
            self.evolution.steps.push(Step::NullAllowed(Arc::clone(&held.name)));
        }
        // No reader sees it, so it is no change that a policy could refuse.
        if held.added_as_null && !column.added_as_null {
            held.added_as_null = false;
            self.evolution.old_rows_forgotten = true;
            self.evolution.metadata_changed = true;
        }
    }

    fn add(&mut self, at: usize, mut column: TableColumn) {
        self.layout.map(&mut column, mapping::number(self.schema, at));
        self.layout.columns.push(TableColumn { nullable: true, added: true, ..column });
        self.layout.sources.push(Some(at));
    }

    /// The column stays, null from here on. Returns its name.
    pub(super) fn retire(&mut self, held: usize) -> Arc<str> {
        let Some(held) = self.layout.columns.get_mut(held) else { return "?".into() };
        held.dropped = true;
        held.nullable = true;
        Arc::clone(&held.name)
    }

    /// Columns that the source has no more.
    fn drop_others(&mut self) {
        let mode = self.rules.mode;
        let is_gone =
            |(held, source): (&TableColumn, &Option<usize>)| source.is_none() && !held.dropped && !is_own(held, mode);
        let places = self.layout.columns.iter().zip(&self.layout.sources).map(is_gone).collect::<Vec<_>>();
        for (held, _) in places.into_iter().enumerate().filter(|(_, is_gone)| *is_gone) {
            let name = self.retire(held);
            self.evolution.steps.push(Step::Dropped(name));
        }
    }

    /// The column under the first free name of the form `name__2`, with a note of whose values it takes.
    pub(super) fn numbered(&self, source: &ColumnSchema, column: TableColumn) -> TableColumn {
        let is_free = |name: &String| {
            let is_held = self.layout.columns.iter().any(|held| is_one(&held.name, name));
            // Not the name that another column of the source has a claim to.
            !is_held && !self.schema.columns.iter().any(|other| is_one(&column_name(&other.name), name))
        };
        let name = (2..=u32::MAX).map(|number| format!("{}__{number}", column.name)).find(is_free);
        let name = name.map_or_else(|| Arc::clone(&column.name), Arc::from);
        TableColumn { name, source: Some(Arc::clone(&source.name)), ..column }
    }
}

/// Whether Delta takes two names for one (PG-94).
pub(super) fn is_one(first: &str, second: &str) -> bool {
    first == second || first.to_lowercase() == second.to_lowercase()
}
