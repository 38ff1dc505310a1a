//! What readers of a table must see, from the source's log alone: at any place of the log, whether the table began with the
//! log or with a snapshot.

use super::datum::{Datum, Row};
use super::source::{Change, Event, Key, Old, Rows, Source, add, change_all, key_of, rename, take};
use crate::layout::Mode;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidewire_core::{Mark, Position, TableName};

/// What a table holds begins here: with a snapshot at a place, read when the table held everything up to another; or with
/// the log.
pub(super) type Beginning = Option<(Position, Mark)>;

/// One row that readers see. Of a mirror all but the values are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    /// Operation, position, ordinal.
    pub(super) change: Option<(String, String, i64)>,
    pub(super) values: Row,
    pub(super) unchanged: BTreeSet<Arc<str>>,
}

/// All rows, sorted.
pub(super) fn seen(source: &Source, mode: Mode, name: &TableName, at: Mark, beginning: &Beginning) -> Vec<Seen> {
    let mut seen = match mode {
        Mode::Mirror => mirror(source, name, at, beginning),
        Mode::Changelog => changelog(source, name, at, beginning),
        Mode::History => panic!("the model makes no histories"),
    };
    seen.sort();
    seen
}

/// Whether the log changes a row of this key behind a place.
pub(super) fn is_changed_after(source: &Source, name: &TableName, after: Mark, key: &Key) -> bool {
    let end = Mark { major: u64::MAX, minor: 0 };
    events(source, name, after, end).any(|(_, event)| {
        let is_key = |row| key_of(&event.schema, row) == *key;
        match &event.change {
            Change::Insert(row) => is_key(row),
            Change::Update { before, row, .. } => is_key(before) || is_key(row),
            Change::Delete { before, .. } => is_key(before),
            Change::Truncate => true,
            Change::AddColumn(..) | Change::DropColumn(_) | Change::RenameColumn(..) | Change::WidenColumn => false,
        }
    })
}

/// The table's changes in `after..=to`, with their places.
fn events<'a>(
    source: &'a Source,
    name: &'a TableName,
    after: Mark,
    to: Mark,
) -> impl Iterator<Item = (Mark, &'a Event)> {
    let placed = source.log.iter().flat_map(|transaction| {
        let mark = |ordinal| Mark { major: transaction.commit, minor: ordinal };
        (1..).map(mark).zip(&transaction.events)
    });
    placed.filter(move |(mark, event)| *mark > after && *mark <= to && event.schema.name == *name)
}

/// Applies a change to rows. `fills`: rows from before a column get its default; `is_source`: they do, and lose dropped ones at
/// once.
fn apply(rows: &mut Rows, event: &Event, is_source: bool, fills: bool) {
    match &event.change {
        Change::Insert(row) => add(rows, &event.schema, row.clone()),
        Change::Update { before, row, .. } => {
            take(rows, &event.schema, before);
            add(rows, &event.schema, row.clone());
        }
        Change::Delete { before, .. } => take(rows, &event.schema, before),
        Change::Truncate => rows.clear(),
        Change::AddColumn(name, Some(default)) if is_source || fills => {
            change_all(rows, &event.schema, |row| drop(row.insert(Arc::clone(name), default.clone())));
        }
        Change::DropColumn(_) | Change::RenameColumn(..) if is_source => {
            change_all(rows, &event.schema, |row| follow(row, event));
        }
        Change::AddColumn(..) | Change::DropColumn(_) | Change::RenameColumn(..) | Change::WidenColumn => {}
    }
}

/// What a change of names makes of a row that is there.
fn follow(row: &mut Row, event: &Event) {
    match &event.change {
        Change::DropColumn(name) => drop(row.remove(name)),
        Change::RenameColumn(from, to) => rename(row, from, to),
        _ => {}
    }
}

/// The source's own rows at a place.
pub(super) fn rows_at(source: &Source, name: &TableName, at: Mark) -> Rows {
    let mut rows = Rows::new();
    events(source, name, Mark::default(), at).for_each(|(_, event)| apply(&mut rows, event, true, true));
    rows
}

fn mirror(source: &Source, name: &TableName, at: Mark, beginning: &Beginning) -> Vec<Seen> {
    let (mut rows, after) = match beginning {
        Some((floor, _)) => (rows_at(source, name, floor.mark), floor.mark),
        None => (Rows::new(), Mark::default()),
    };
    // Others came after what the table held then, and before the rest.
    let mut others = source.foreign.get(name).into_iter().flatten().peekable();
    for (mark, event) in events(source, name, after, at) {
        while let Some((_, foreign)) = others.next_if(|(place, _)| *place < mark) {
            apply(&mut rows, foreign, false, false);
        }
        apply(&mut rows, event, false, source.fills);
        if source.is_mapped {
            change_all(&mut rows, &event.schema, |row| follow(row, event));
        }
    }
    others.for_each(|(_, foreign)| apply(&mut rows, foreign, false, false));
    rows.into_values().map(|values| Seen { values, ..Seen::default() }).collect()
}

fn changelog(source: &Source, name: &TableName, at: Mark, beginning: &Beginning) -> Vec<Seen> {
    let (floor, before) = beginning.as_ref().map_or((Mark::default(), at), |(floor, held)| (floor.mark, *held));
    let mut seen = Vec::new();
    let append = |seen: &mut Vec<Seen>, (mark, event): (Mark, &Event)| {
        if source.is_mapped {
            seen.iter_mut().for_each(|one| follow(&mut one.values, event));
        }
        seen.extend(appended((mark, event)));
    };
    events(source, name, Mark::default(), before.min(at)).for_each(|placed| append(&mut seen, placed));
    if beginning.is_some() {
        // The columns are now those that were read, whatever happened to them in between.
        let missed = events(source, name, before.min(at), floor).filter(|_| source.is_mapped);
        missed.for_each(|(_, event)| seen.iter_mut().for_each(|one| follow(&mut one.values, event)));
        let read = rows_at(source, name, floor).into_values();
        let change = Some(("r".to_owned(), floor.to_string(), 0));
        seen.extend(read.map(|values| Seen { change: change.clone(), values, ..Seen::default() }));
        events(source, name, floor, at).for_each(|placed| append(&mut seen, placed));
    }
    seen
}

fn appended((mark, event): (Mark, &Event)) -> Option<Seen> {
    let keys: BTreeSet<&str> = event.schema.key_columns().map(|(_, column)| &*column.name).collect();
    let names = || event.schema.columns.iter().map(|column| Arc::clone(&column.name));
    // Columns that neither the new nor the old row tells.
    let untold = |unknown: &BTreeSet<Arc<str>>, old: Old| -> BTreeSet<Arc<str>> {
        let told = |name: &&Arc<str>| match old {
            Old::Nothing => false,
            Old::Key => keys.contains(&***name),
            Old::Full => true,
        };
        unknown.iter().filter(|name| !told(name)).cloned().collect()
    };
    let (op, row, unchanged) = match &event.change {
        Change::Insert(row) => ("c", row.clone(), BTreeSet::new()),
        Change::Update { row, unknown, old, .. } => ("u", row.clone(), untold(unknown, *old)),
        Change::Delete { before, old } => ("d", before.clone(), untold(&names().collect(), *old)),
        Change::Truncate => ("t", Row::new(), BTreeSet::new()),
        Change::AddColumn(..) | Change::DropColumn(_) | Change::RenameColumn(..) | Change::WidenColumn => return None,
    };
    let values = row.into_iter().filter(|(name, _): &(Arc<str>, Datum)| !unchanged.contains(name)).collect();
    Some(Seen { change: Some((op.to_owned(), mark.to_string(), mark.minor as i64)), values, unchanged })
}
