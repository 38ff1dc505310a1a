//! A source in miniature: tables, their rows, and a log of transactions. Draws changes that a database could have logged;
//! knows nothing of sinks.

use super::chance::Chance;
use super::datum::{Datum, Row, draw_type, value_of};
use super::shape;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::{ColumnSchema, DataType, Mark, Missing, Position, TableName, TableSchema};

pub(super) type Key = Vec<Datum>;
pub(super) type Rows = BTreeMap<Key, Row>;

/// How much of the old row a change carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    Nothing,
    Key,
    Full,
}

/// One change of one table.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert(Row),
    /// The old row, the new row, and the columns whose new value the log leaves out.
    Update {
        before: Row,
        old: Old,
        row: Row,
        unknown: BTreeSet<Arc<str>>,
    },
    Delete {
        before: Row,
        old: Old,
    },
    Truncate,
    /// Rows from before have the default.
    AddColumn(Arc<str>, Option<Datum>),
    DropColumn(Arc<str>),
    /// From this name to that. Only where tables can follow it.
    RenameColumn(Arc<str>, Arc<str>),
    /// A column's type grows. Only where tables can follow it.
    WidenColumn,
}

/// A change in its place.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) schema: Arc<TableSchema>,
    pub(super) change: Change,
}

impl Event {
    /// Whether a row is another one after it.
    fn changes_rows(&self) -> bool {
        !matches!(&self.change, Change::Update { before, row, .. } if before == row)
    }
}

/// A transaction of the log; its events count from 1.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) commit: u64,
    pub(super) events: Vec<Event>,
}

impl Transaction {
    /// The place behind it.
    pub(super) fn end(&self) -> Position {
        position(self.commit + 1)
    }
}

pub(crate) fn position(major: u64) -> Position {
    Position::new(Mark { major, minor: 0 }, format!("at/{major}"))
}

/// One table as it is now.
pub(super) struct SourceTable {
    pub(super) schema: Arc<TableSchema>,
    pub(super) rows: Rows,
    /// Columns of rows whose value a sink cannot have, because the row is older than the column.
    unsent: BTreeMap<Key, BTreeSet<Arc<str>>>,
    /// Rows that a sink does not have any more.
    lost: BTreeSet<Key>,
    /// Keys that rows may have.
    keys: usize,
    columns_added: usize,
    /// A column that is never dropped.
    pub(super) kept: Option<Arc<str>>,
}

pub(super) struct Source {
    pub(super) tables: Vec<SourceTable>,
    pub(super) log: Vec<Transaction>,
    /// What others did to the tables that come of this, each with the place that the table told then.
    pub(super) foreign: BTreeMap<TableName, Vec<(Mark, Event)>>,
    /// How far the log goes without a transaction.
    idle_until: u64,
    /// Whether the sink's tables follow the names of columns.
    pub(super) is_mapped: bool,
    /// And the types.
    may_widen: bool,
    /// Whether the sink's tables get the defaults of new columns in the rows that they have.
    pub(super) fills: bool,
}

pub(super) fn key_of(schema: &TableSchema, row: &Row) -> Key {
    schema.key_columns().map(|(_, column)| row[&column.name].clone()).collect()
}

/// Adds a row to those of its table: under its key, or without one as one more of those that equal it.
pub(super) fn add(rows: &mut Rows, schema: &TableSchema, row: Row) {
    let key = if shape::is_keyless(schema) { equal(&row, equals(rows, &row)) } else { key_of(schema, &row) };
    rows.insert(key, row);
}

/// Takes a row away, or one of those that equal it.
pub(super) fn take(rows: &mut Rows, schema: &TableSchema, row: &Row) {
    let key = match shape::is_keyless(schema) {
        true => equal(row, equals(rows, row) - 1),
        false => key_of(schema, row),
    };
    rows.remove(&key);
}

/// Does the same to every row. Where they are told apart by their values they are put in order again.
pub(super) fn change_all(rows: &mut Rows, schema: &TableSchema, change: impl Fn(&mut Row)) {
    rows.values_mut().for_each(change);
    if shape::is_keyless(schema) {
        for row in std::mem::take(rows).into_values() {
            add(rows, schema, row);
        }
    }
}

fn equal(row: &Row, number: usize) -> Key {
    vec![Datum::Text(format!("{row:?}")), Datum::Int(number as i64)]
}

fn equals(rows: &Rows, row: &Row) -> usize {
    rows.range(equal(row, 0)..equal(row, usize::MAX >> 1)).count()
}

pub(super) fn rename(row: &mut Row, from: &Arc<str>, to: &Arc<str>) {
    if let Some(value) = row.remove(from) {
        row.insert(Arc::clone(to), value);
    }
}

impl Source {
    pub(super) fn new(chance: &mut Chance, is_mapped: bool, may_widen: bool, fills: bool) -> Source {
        let tables = (0..1 + chance.below(3)).map(|number| SourceTable {
            schema: Arc::new(shape::draw(chance, ["t", "a.b", "u/v"][number])),
            rows: Rows::new(),
            unsent: BTreeMap::new(),
            lost: BTreeSet::new(),
            keys: *chance.pick(&[6, 25, 120, 400]),
            columns_added: 0,
            kept: None,
        });
        let mut tables = tables.collect::<Vec<SourceTable>>();
        if fills && !is_mapped {
            // Numbers of columns without a table that keeps them would leave open which columns are new.
            tables.iter_mut().for_each(|table| table.schema = shape::without_numbers(&table.schema));
        }
        let (log, foreign) = (Vec::new(), BTreeMap::new());
        Source { tables, log, foreign, idle_until: 10, is_mapped, may_widen, fills }
    }

    /// Some of the tables have no key.
    pub(super) fn drop_keys(&mut self, chance: &mut Chance) {
        let always = chance.below(self.tables.len());
        for (at, table) in self.tables.iter_mut().enumerate() {
            if at == always || chance.percent(40) {
                table.schema = Arc::new(shape::without_key(&table.schema));
                table.keys = *chance.pick(&[2, 6, 25]);
            }
        }
    }

    pub(super) fn table(&self, name: &TableName) -> &SourceTable {
        self.tables.iter().find(|table| table.schema.name == *name).unwrap()
    }

    /// The place behind the last transaction.
    pub(super) fn end(&self) -> Position {
        let idle = position(self.idle_until);
        self.log.last().map_or(idle.clone(), |last| last.end().max(idle))
    }

    /// The log goes on without a transaction.
    pub(super) fn idle(&mut self) {
        self.idle_until = self.end().mark.major + 1;
    }

    fn append(&mut self, events: Vec<Event>) {
        let commit = self.end().mark.major + 10;
        self.log.push(Transaction { commit, events });
    }

    /// Appends a transaction of about so many changes of some of the tables.
    pub(super) fn transact(&mut self, chance: &mut Chance, changes: usize) {
        let mut events = Vec::new();
        let mut at = chance.below(self.tables.len());
        while events.len() < changes {
            if chance.percent(15) {
                at = chance.below(self.tables.len());
            }
            self.tables[at].change(chance, &mut events);
        }
        self.append(events);
    }

    /// Changes one row of this table, whatever else happens.
    pub(super) fn touch(&mut self, chance: &mut Chance, name: &TableName) {
        let table = self.tables.iter_mut().find(|table| table.schema.name == *name).unwrap();
        let mut events: Vec<Event> = Vec::new();
        // Of a table without a key a row that becomes its own equal is no change: nothing would be committed.
        while !events.iter().any(Event::changes_rows) {
            table.upsert(chance, &mut events);
        }
        self.append(events);
    }

    /// The table that comes of this has lost a row: all of it is sent when it changes.
    pub(super) fn lost(&mut self, name: &TableName, key: &Key) {
        let table = self.tables.iter_mut().find(|table| table.schema.name == *name).unwrap();
        table.lost.extend(table.rows.contains_key(key).then(|| key.clone()));
    }

    /// Adds or drops a column of one of the tables.
    pub(super) fn alter(&mut self, chance: &mut Chance) {
        let at = chance.below(self.tables.len());
        let is_renamed = self.is_mapped && chance.percent(35);
        let (is_mapped, fills) = (self.is_mapped, self.fills);
        let is_widened = self.may_widen && chance.percent(40);
        let table = &mut self.tables[at];
        // A sink that has no table yet looks for the column it is to be partitioned by under the name in its settings.
        let is_of_table = |event: &Event| event.schema.name == table.schema.name;
        let is_told = self.log.iter().any(|transaction| transaction.events.iter().any(is_of_table));
        let event = if is_widened {
            table.widen(chance)
        } else if is_renamed {
            table.rename(chance, is_told)
        } else if shape::is_keyless(&table.schema) {
            Some(table.add_null_column(chance))
        } else {
            table.alter(chance, is_mapped, fills)
        };
        self.append(event.into_iter().collect());
    }
}

impl SourceTable {
    fn event(&self, change: Change) -> Event {
        Event { schema: Arc::clone(&self.schema), change }
    }

    fn change(&mut self, chance: &mut Chance, events: &mut Vec<Event>) {
        match chance.weighted(&[(40, 0), (14, 1), (3, 2), (1, 3)]) {
            0 => self.upsert(chance, events),
            1 => self.delete(chance, events),
            2 => self.swap(chance, events),
            _ if chance.percent(30) => {
                self.rows.clear();
                self.unsent.clear();
                self.lost.clear();
                events.push(self.event(Change::Truncate));
            }
            _ => {}
        }
    }

    /// A random row, if there is any.
    fn held(&self, chance: &mut Chance) -> Option<(Key, Row)> {
        let at = chance.below(self.rows.len().max(1));
        self.rows.iter().nth(at).map(|(key, row)| (key.clone(), row.clone()))
    }

    /// Adds a row, or changes one, of which there may be many that equal it.
    fn upsert_equal(&mut self, chance: &mut Chance, events: &mut Vec<Event>) {
        let number = chance.below(self.keys);
        let row = shape::draw_equal(&self.schema, number);
        let Some((_, before)) = self.held(chance).filter(|_| chance.percent(40)) else {
            add(&mut self.rows, &self.schema, row.clone());
            events.push(self.event(Change::Insert(row)));
            return;
        };
        // The log may leave out what the old row, which it has whole, tells as well.
        let is_same = |column: &&ColumnSchema| row.get(&column.name) == before.get(&column.name);
        let unknown = self.schema.columns.iter().filter(is_same).filter(|_| chance.percent(30));
        let unknown = unknown.map(|column| Arc::clone(&column.name)).collect();
        take(&mut self.rows, &self.schema, &before);
        add(&mut self.rows, &self.schema, row.clone());
        events.push(self.event(Change::Update { before, old: Old::Full, row, unknown }));
    }

    fn upsert(&mut self, chance: &mut Chance, events: &mut Vec<Event>) {
        if shape::is_keyless(&self.schema) {
            return self.upsert_equal(chance, events);
        }
        let key = chance.below(self.keys);
        let row = shape::draw_row(chance, &self.schema, key);
        let key = key_of(&self.schema, &row);
        match self.held(chance) {
            Some((_, before)) if self.rows.contains_key(&key) => {
                // The row with this key changes, or the other one does.
                let before = if chance.percent(70) { self.rows[&key].clone() } else { before };
                let to = key_of(&self.schema, &before);
                self.update(chance, before, row, to, events);
            }
            Some((_, before)) if chance.percent(20) => self.update(chance, before, row, key, events),
            _ => {
                self.rows.insert(key, row.clone());
                events.push(self.event(Change::Insert(row)));
            }
        }
    }

    /// Changes a row; some columns take the values of `drawn`, its key becomes `to`, which is free or its own.
    fn update(&mut self, chance: &mut Chance, before: Row, drawn: Row, to: Key, events: &mut Vec<Event>) {
        let from = key_of(&self.schema, &before);
        let mut row = before.clone();
        let key_names: Vec<Arc<str>> = self.schema.key_columns().map(|(_, column)| Arc::clone(&column.name)).collect();
        row.extend(key_names.iter().cloned().zip(to.iter().cloned()));
        let mut unsent = self.unsent.remove(&from).unwrap_or_default();
        let mut unknown = BTreeSet::new();
        let is_lost = self.lost.remove(&from);
        let partial = chance.percent(50) && !is_lost;
        for column in self.schema.columns.iter().filter(|column| !key_names.contains(&column.name)) {
            let name = &column.name;
            if chance.percent(50) {
                match drawn.get(name) {
                    Some(value) => row.insert(Arc::clone(name), value.clone()),
                    None => row.remove(name),
                };
            }
            let is_same = row.get(name) == before.get(name);
            if partial && is_same && !unsent.contains(name) && chance.percent(70) {
                unknown.insert(Arc::clone(name));
            } else {
                unsent.remove(name);
            }
        }
        let old = match chance.below(4) {
            0 => Old::Full,
            1 => Old::Key,
            _ if from == to => Old::Nothing,
            _ => Old::Key,
        };
        // A minimal image leaves the key out as well (MY-20).
        if old != Old::Nothing && from == to && partial && chance.percent(30) {
            unknown.extend(key_names);
        }
        // A whole old row tells what the new one leaves out.
        if old == Old::Full {
            unsent.clear();
        }
        self.rows.remove(&from);
        if !unsent.is_empty() {
            self.unsent.insert(to.clone(), unsent);
        }
        self.rows.insert(to, row.clone());
        events.push(self.event(Change::Update { before, old, row, unknown }));
    }

    fn delete(&mut self, chance: &mut Chance, events: &mut Vec<Event>) {
        let Some((key, before)) = self.held(chance) else { return };
        let is_keyless = shape::is_keyless(&self.schema);
        take(&mut self.rows, &self.schema, &before);
        self.unsent.remove(&key);
        self.lost.remove(&key);
        let old = if is_keyless || chance.percent(30) { Old::Full } else { Old::Key };
        events.push(self.event(Change::Delete { before, old }));
    }

    /// Two rows change their keys, by way of a free one.
    fn swap(&mut self, chance: &mut Chance, events: &mut Vec<Event>) {
        if shape::is_keyless(&self.schema) {
            return;
        }
        let (Some((a, _)), Some((b, _))) = (self.held(chance), self.held(chance)) else { return };
        let spare = key_of(&self.schema, &shape::draw_row(chance, &self.schema, self.keys));
        if a == b || self.rows.contains_key(&spare) {
            return;
        }
        for (from, to) in [(&a, &spare), (&b, &a), (&spare, &b)] {
            let before = self.rows[from].clone();
            let drawn = before.clone();
            self.update(chance, before, drawn, to.clone(), events);
        }
    }

    /// Lets the type of a column grow, of the key as well; `None` when it cannot.
    fn widen(&mut self, chance: &mut Chance) -> Option<Event> {
        let at = chance.below(self.schema.columns.len());
        let wider = match self.schema.columns[at].data_type {
            DataType::Int { bits: 32 } => DataType::Int { bits: 64 },
            DataType::Decimal { precision: Some(precision), scale: Some(scale) } if precision < 36 => {
                // One more digit of a fraction would halt a table that is partitioned by it, or whose rows are told apart by it.
                let is_kept = self.kept.as_ref() == Some(&self.schema.columns[at].name);
                let is_fixed = is_kept || shape::is_keyless(&self.schema);
                let fraction = if is_fixed { 0 } else { chance.below(2) as u32 };
                DataType::Decimal { precision: Some(precision + 1 + fraction), scale: Some(scale + fraction as i32) }
            }
            _ => return None,
        };
        self.schema = shape::altered(&self.schema, |schema| schema.columns[at].data_type = wider);
        Some(self.event(Change::WidenColumn))
    }

    /// Gives a column a name that no other has, maybe one that another had before; the one that is kept only if `may_be_kept`.
    fn rename(&mut self, chance: &mut Chance, may_be_kept: bool) -> Option<Event> {
        let at = chance.below(self.schema.columns.len());
        let name = self.free_name(chance);
        let old = Arc::clone(&self.schema.columns[at].name);
        if self.kept.as_ref() == Some(&old) {
            if !may_be_kept {
                return None;
            }
            self.kept = Some(Arc::clone(&name));
        }
        self.schema = shape::altered(&self.schema, |schema| schema.columns[at].name = Arc::clone(&name));
        change_all(&mut self.rows, &self.schema, |row| rename(row, &old, &name));
        self.unsent.values_mut().for_each(|columns| {
            if columns.remove(&old) {
                columns.insert(Arc::clone(&name));
            }
        });
        Some(self.event(Change::RenameColumn(old, name)))
    }

    fn free_name(&self, chance: &mut Chance) -> Arc<str> {
        loop {
            let name: Arc<str> = format!("a name {}", chance.below(8)).into();
            if self.schema.columns.iter().all(|column| column.name != name) {
                return name;
            }
        }
    }

    /// A column that is null in all rows from before.
    fn add_null_column(&mut self, chance: &mut Chance) -> Event {
        self.columns_added += 1;
        let name: Arc<str> = format!("n{}", self.columns_added).into();
        let column = ColumnSchema {
            missing: if chance.percent(60) { Missing::Null } else { Missing::Unknown },
            number: shape::next_number(&self.schema, self.columns_added),
            ..shape::column(&name, draw_type(chance), true)
        };
        self.schema = shape::altered(&self.schema, |schema| schema.columns.push(column));
        self.event(Change::AddColumn(name, None))
    }

    fn alter(&mut self, chance: &mut Chance, is_mapped: bool, fills: bool) -> Option<Event> {
        if chance.percent(40) {
            let (name, next) =
                shape::drop_column(chance, &self.schema).filter(|(name, _)| self.kept.as_ref() != Some(name))?;
            self.schema = next;
            self.rows.values_mut().for_each(|row| drop(row.remove(&name)));
            self.unsent.values_mut().for_each(|columns| {
                columns.remove(&name);
            });
            return Some(self.event(Change::DropColumn(name)));
        }
        self.columns_added += 1;
        let name: Arc<str> = match is_mapped && self.schema.columns.len() < 8 {
            true => self.free_name(chance),
            false => format!("n{}", self.columns_added).into(),
        };
        let data_type = draw_type(chance);
        let default = chance.percent(50).then(|| value_of(&data_type, 1 + chance.next() % 100));
        let column = ColumnSchema {
            missing: match &default {
                None if chance.percent(60) || fills => Missing::Null,
                None => Missing::Unknown,
                Some(default) => shape::missing(default, &data_type),
            },
            number: if is_mapped || !fills { shape::next_number(&self.schema, self.columns_added) } else { None },
            ..shape::column(&name, data_type, true)
        };
        let is_unsent = match column.missing {
            Missing::Null => false,
            Missing::Value(_) => !fills,
            Missing::Unknown => true,
        };
        if is_unsent {
            for key in self.rows.keys() {
                self.unsent.entry(key.clone()).or_default().insert(Arc::clone(&name));
            }
        }
        self.schema = shape::altered(&self.schema, |schema| schema.columns.push(column));
        if let Some(default) = &default {
            self.rows.values_mut().for_each(|row| drop(row.insert(Arc::clone(&name), default.clone())));
        }
        Some(self.event(Change::AddColumn(name, default)))
    }
}
