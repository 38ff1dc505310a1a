//! Changes to rows of a mirror or a history whose table has no key: a row is found by all its values. Equal rows are numbered from
//! 0 without a gap, in a column of the data files that no reader sees (`Layout::number`): a new one takes the first free number, the one
//! that goes has the highest. Which of them it is makes no difference in a mirror; in a history it is the last that came, for the source
//! does not say which.
//!
//! Of a change both rows must be told whole. What the log left out, or a row that the table does not have, halts the table: any
//! other row in its place would be a guess.

use super::faults::whole_rows;
use super::{Counts, Mirror, Row, add, unfit_error};
use crate::encode::column::{Column, Unfit};
use crate::encode::key::KeyId;
use crate::encode::row::IdCodec;
use crate::error::Result;
use crate::history::Versions;
use crate::layout::Layout;
use crate::log::Table;
use crate::parts::{Parts, push};
use arrow_array::ArrayRef;
use hashbrown::HashMap;
use tidewire_core::{Batch, Change, Error, Op, TableSchema, Value};

/// So many changes are looked up together; their rows are in memory twice meanwhile.
const CHANGES_MAX: usize = 4_096;

/// The ids, numbered 0, of the new and of the old row of a change, as far as it has them.
type Ids = (Option<KeyId>, Option<KeyId>);

/// How many rows of the same values there are, and how many of the changes to come add or take one.
#[derive(Clone, Copy, Debug, Default)]
struct Equals {
    rows: u32,
    comes: u32,
    goes: u32,
}

/// The search for the first free number: all below `taken` are taken, `free` is not.
struct Search {
    id: KeyId,
    taken: u32,
    free: Option<u32>,
    step: u32,
}

impl Search {
    fn new(id: KeyId) -> Search {
        Search { id, taken: 0, free: None, step: 0 }
    }

    /// The number to ask about next, in ever longer steps and then in halves; `None` when it is found.
    fn next(&self) -> Option<u32> {
        match self.free {
            None => Some(self.taken.saturating_add(self.step)),
            Some(free) if free == self.taken => None,
            Some(free) => Some(self.taken + (free - self.taken) / 2),
        }
    }

    fn learn(&mut self, number: u32, is_taken: bool) {
        if is_taken {
            // Most rows have no equal.
            self.step = if number == 0 { 0 } else { self.step.saturating_mul(2).saturating_add(1) };
            self.taken = number.saturating_add(1);
        } else {
            self.free = Some(number);
        }
    }
}

impl Mirror {
    /// Applies changes of one table version, in order.
    pub(super) fn apply_rows(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        (batch, schema): (&Batch, &TableSchema),
        changes: &[&Change],
        mut table: Option<&mut Table>,
    ) -> Result<()> {
        let mut versions = Versions::of(layout)?;
        for some in changes.chunks(CHANGES_MAX) {
            let row = |change: &Change| Row::of(batch, schema, change);
            let ids = self.ids_of_images(layout, some, row)?;
            let mut equals = self.count_equals(parts, &ids, versions.is_some(), table.as_deref_mut())?;
            for (change, ids) in some.iter().zip(ids) {
                if let Some(versions) = &mut versions {
                    versions.turn_to(batch, change);
                }
                let counts = self.replace_row(parts, layout, versions.as_ref(), row(change), ids, &mut equals)?;
                let counts = counts.ok_or_else(|| row_missing(batch, schema, change))?;
                self.counts.inserted += counts.inserted;
                self.counts.updated += counts.updated;
                self.counts.deleted += counts.deleted;
            }
        }
        Ok(())
    }

    /// The ids of the changes' rows. They are made from arrays, as those of a file are.
    fn ids_of_images<'a>(
        &mut self,
        layout: &Layout,
        changes: &[&Change],
        row: impl Fn(&Change) -> Row<'a>,
    ) -> Result<Vec<Ids>> {
        let IdCodec::Row(codec) = &mut self.codec else {
            return Err(Error::bug("row_identity", "rows of a table with a key were looked for by all their values"));
        };
        let told = layout.told().collect::<Vec<_>>();
        let columns = told.iter().filter_map(|at| layout.columns.get(*at));
        let mut columns: Vec<Column> = columns.map(|column| Column::new(&column.column_type)).collect();
        let (mut has, mut rows) = (Vec::with_capacity(changes.len()), 0);
        for change in changes {
            let row = row(change);
            let (new, old) = match row.op {
                Op::Insert | Op::Read => (true, false),
                Op::Update => (true, true),
                Op::Delete => (false, true),
                Op::Truncate | Op::SnapshotStart | Op::SnapshotEnd | Op::Message | Op::Schema | Op::Ddl => {
                    (false, false)
                }
            };
            if new {
                push_image(&mut columns, &told, layout, row, |at| row.new_value(at))?;
            }
            if old {
                push_image(&mut columns, &told, layout, row, |at| row.old_value(at))?;
            }
            rows += usize::from(new) + usize::from(old);
            has.push((new, old));
        }
        let finish = |column: &mut Column| column.finish().map(Some);
        let arrays = columns.iter_mut().map(finish).collect::<std::result::Result<Vec<Option<ArrayRef>>, _>>();
        let arrays = arrays.map_err(|cause| Error::bug("delta_column", "finish a column").with_cause(cause))?;
        let mut ids = Vec::with_capacity(rows);
        codec
            .ids_of_rows(&arrays, rows, &mut ids)
            .ok_or_else(|| Error::bug("row_identity", "a column of a type that no table has"))?;
        let mut ids = ids.into_iter();
        let mut take = |has: bool| if has { ids.next() } else { None };
        Ok(has.into_iter().map(|(new, old)| (take(new), take(old))).collect())
    }

    /// How many rows there are that equal one of the changes' rows; `with_same`: also one that stays as it is. Afterwards the
    /// numbers that the changes come to are known.
    fn count_equals(
        &mut self,
        parts: &mut Parts,
        changes: &[Ids],
        with_same: bool,
        mut table: Option<&mut Table>,
    ) -> Result<HashMap<KeyId, Equals>> {
        let mut equals: HashMap<KeyId, Equals> = HashMap::with_capacity(changes.len());
        for (new, old) in changes.iter().filter(|(new, old)| with_same || new != old) {
            if let Some(new) = new {
                equals.entry(*new).or_default().comes += 1;
            }
            if let Some(old) = old {
                equals.entry(*old).or_default().goes += 1;
            }
        }
        let mut searches = equals.keys().map(|id| Search::new(*id)).collect::<Vec<_>>();
        while !searches.is_empty() {
            let asked = searches.iter().filter_map(|search| Some(search.id.numbered(search.next()?)));
            let asked = asked.collect::<Vec<_>>();
            self.prefetch(&asked, table.as_deref_mut(), parts)?;
            for (search, id) in searches.iter_mut().zip(asked) {
                let is_taken = self.find(parts, id)?.is_some();
                search.learn(id.number(), is_taken);
            }
            for search in searches.extract_if(.., |search| search.next().is_none()) {
                if let Some(equals) = equals.get_mut(&search.id) {
                    equals.rows = search.taken;
                }
            }
        }
        let mut asked = Vec::with_capacity(changes.len());
        for (id, equals) in &equals {
            let numbers = equals.rows.saturating_sub(equals.goes)..equals.rows.saturating_add(equals.comes);
            asked.extend(numbers.map(|number| id.numbered(number)));
        }
        self.prefetch(&asked, table, parts)?;
        Ok(equals)
    }

    /// Takes the old row away, or ends it, and adds the new one; `None` when the table does not have the old one.
    fn replace_row(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        versions: Option<&Versions>,
        row: Row<'_>,
        (new, old): Ids,
        equals: &mut HashMap<KeyId, Equals>,
    ) -> Result<Option<Counts>> {
        // In a history it is another version all the same.
        if versions.is_none() && new.is_some() && new == old {
            return Ok(Some(Counts { updated: 1, ..Counts::default() }));
        }
        if let Some(old) = old {
            let Some(last) = equals.get_mut(&old).and_then(|equals| {
                equals.rows = equals.rows.checked_sub(1)?;
                Some(equals.rows)
            }) else {
                return Ok(None);
            };
            let last = old.numbered(last);
            let mut gone = self.find(parts, last)?;
            if let (Some(row), Some(_)) = (gone, versions) {
                self.make_readable(parts, row)?;
                gone = self.find(parts, last)?;
            }
            let gone = gone.ok_or_else(|| Error::bug("row_identity", "a row that was counted is not there"))?;
            Mirror::leaves(parts, layout, (last, gone), false, row, true)?;
            match versions {
                Some(versions) => self.end(parts, versions, gone)?,
                None => parts.delete(gone),
            }
            self.index.forget(last);
        }
        if let Some(new) = new {
            let Some(equals) = equals.get_mut(&new) else { return Ok(None) };
            let number = equals.rows;
            equals.rows = number.saturating_add(1);
            add(parts, layout, row, None)?;
            if parts.returns(new.numbered(number)) {
                parts.follows_old_row();
            }
            let at = layout.number().ok_or_else(|| Error::bug("row_identity", "equal rows have no numbers"))?;
            push(parts.columns_mut(), at, Value::Int(number.into())).map_err(|_| too_many(row.schema))?;
            let location = match versions {
                Some(versions) => versions.open(parts)?,
                None => parts.end_row(),
            };
            self.buffered.push(Some(new.numbered(number)));
            self.index.insert(new.numbered(number), location);
        }
        Ok(Some(match (new, old) {
            (Some(_), Some(_)) => Counts { updated: 1, ..Counts::default() },
            (Some(_), None) => Counts { inserted: 1, ..Counts::default() },
            (None, _) => Counts { deleted: u64::from(old.is_some()), ..Counts::default() },
        }))
    }
}

/// Adds a row's values, as the table's columns hold them.
fn push_image<'a>(
    columns: &mut [Column],
    told: &[usize],
    layout: &Layout,
    row: Row<'a>,
    value: impl Fn(usize) -> Value<'a>,
) -> Result<()> {
    for (column, at) in columns.iter_mut().zip(told) {
        let source = layout.sources.get(*at).copied().flatten();
        let held = source.map_or(Value::Null, &value);
        column.push(held).map_err(|unfit| match unfit {
            Unfit::Unknown => not_whole(row.schema, source),
            unfit => unfit_error(row.schema, layout, *at, unfit, &value),
        })?;
    }
    Ok(())
}

fn not_whole(schema: &TableSchema, source: Option<usize>) -> Error {
    let column = source.and_then(|at| schema.columns.get(at)).map_or("?", |column| &*column.name);
    let message = format!(
        "the log left out column `{column}` of a row of `{}`, which has no key: its rows are told apart by all their values",
        schema.name
    );
    Error::operator("row_not_whole", message)
        .with_remedy(format!(
            "{}, then give the sink a new name and location, which reads its tables anew; or use `keyless = \"changelog\"` there",
            whole_rows(schema)
        ))
        .with_table(schema.name.clone())
}

fn row_missing(batch: &Batch, schema: &TableSchema, change: &Change) -> Error {
    let what = if change.op == Op::Delete { "a delete" } else { "an update" };
    let message = format!(
        "`{}` has no row that equals the old one of {what} at {}: it has not all of the source's rows, or not as they are there",
        schema.name,
        batch.mark(change)
    );
    Error::operator("row_missing", message)
        .with_remedy("give the sink a new name and location, which reads its tables anew")
        .with_table(schema.name.clone())
}

fn too_many(schema: &TableSchema) -> Error {
    Error::operator("equal_rows", format!("`{}` has more than {} equal rows", schema.name, i32::MAX))
        .with_remedy(format!("add a primary key to `{}`, or leave it out of this sink", schema.name))
        .with_table(schema.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_free_number_is_found_in_few_steps(rows in prop_oneof![0u32..6, 0u32..5_000, Just(i32::MAX as u32)]) {
            let mut search = Search::new(KeyId([1, 2]));
            let mut steps = 0;
            while let Some(number) = search.next() {
                search.learn(number, number < rows);
                steps += 1;
            }
            prop_assert_eq!(search.taken, rows);
            prop_assert!(steps <= 2 + 2 * (rows + 1).ilog2(), "{} steps for {}", steps, rows);
        }
    }
}
