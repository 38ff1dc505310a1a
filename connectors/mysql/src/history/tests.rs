//! What is kept of definitions, in a store of the memory.

use super::*;
use crate::model::{Charset, ColumnDef, ColumnKind};
use std::collections::BTreeMap;

/// Keeps definitions as the daemon does.
#[derive(Default)]
pub(crate) struct Kept {
    definitions: Mutex<BTreeMap<(String, Mark), Option<String>>>,
    covered: Mutex<Vec<Position>>,
}

impl Kept {
    /// What was recorded, without the definitions: `crm.t gone` or `crm.t made`.
    pub(crate) fn texts(&self) -> Vec<String> {
        let definitions = self.definitions.lock().unwrap();
        let text = |((table, _), text): (&(String, Mark), &Option<String>)| {
            format!("{table} {}", if text.is_some() { "made" } else { "gone" })
        };
        definitions.iter().map(text).collect()
    }
}

impl DefinitionStore for Kept {
    fn covered(&self) -> Result<Option<Position>> {
        Ok(self.covered.lock().unwrap().last().cloned())
    }

    fn at(&self, place: Mark) -> Result<Vec<StoredDefinition>> {
        let mut last = BTreeMap::new();
        for ((table, since), text) in self.definitions.lock().unwrap().iter().filter(|((_, since), _)| *since <= place)
        {
            last.insert(table.clone(), StoredDefinition { table: table.clone(), since: *since, text: text.clone() });
        }
        Ok(last.into_values().collect())
    }

    fn rewind(&self, place: &Position, ahead: &[(String, Mark)], records: &[StoredDefinition]) -> Result<()> {
        let is_kept = |table: &str, since: Mark| ahead.iter().any(|(name, until)| *name == *table && since <= *until);
        self.definitions.lock().unwrap().retain(|(table, since), _| *since <= place.mark || is_kept(table, *since));
        self.covered.lock().unwrap().push(place.clone());
        self.record(records)
    }

    fn record(&self, definitions: &[StoredDefinition]) -> Result<()> {
        let new = definitions.iter().map(|stored| ((stored.table.clone(), stored.since), stored.text.clone()));
        self.definitions.lock().unwrap().extend(new);
        Ok(())
    }

    fn cover(&self, place: &Position, _needed: Mark) -> Result<()> {
        self.covered.lock().unwrap().push(place.clone());
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        self.definitions.lock().unwrap().clear();
        self.covered.lock().unwrap().clear();
        Ok(())
    }
}

fn table(name: &str, columns: &[&str]) -> Arc<TableDef> {
    Arc::new(TableDef {
        name: TableName::new("crm", name),
        columns: columns.iter().map(|column| ColumnDef::new(*column, ColumnKind::Int)).collect(),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        charset: Charset { name: "utf8mb4".into(), collation: "".into() },
        engine: None,
        comment: None,
        numbering: None,
    })
}

fn at(major: u64, minor: u64) -> Mark {
    Mark { major, minor }
}

#[test]
fn my_40_definitions_are_those_of_the_place() {
    let kept = Arc::new(Kept::default());
    let history = History::new(Some(Arc::clone(&kept) as _));
    let mut schemas = Schemas::new(crate::ddl::Defaults {
        charset: Charset { name: "utf8mb4".into(), collation: "".into() },
        explicit_timestamps: true,
    });
    schemas.insert(TableDef::clone(&table("t", &["a"])));
    history.restart(&Position::new(at(5, 0), "p"), &schemas).unwrap();
    assert_eq!(history.covered().unwrap().unwrap().mark, at(5, 0));
    let name = |name: &str| TableName::new("crm", name);
    history.record(at(7, 1), &[(name("t"), Some(table("t", &["a", "b"])))]).unwrap();
    history.record(at(9, 1), &[(name("t"), None), (name("u"), Some(table("u", &["x"])))]).unwrap();
    for (place, expected) in [
        (at(4, 9), vec![]),
        (at(5, 0), vec![("t", 1)]),
        (at(7, 0), vec![("t", 1)]),
        (at(7, 1), vec![("t", 2)]),
        (at(8, 0), vec![("t", 2)]),
        (at(10, 0), vec![("u", 1)]),
    ] {
        let found = history.at(place).unwrap();
        let tables: Vec<_> = found.tables.iter().map(|(_, table)| (&*table.name.table, table.columns.len())).collect();
        assert_eq!(tables, expected, "{place}");
        let gone: &[TableName] = if place.major == 10 { &[name("t")] } else { &[] };
        assert_eq!(found.dropped, gone, "{place}");
    }
    history.rewind(&Position::new(at(8, 0), "p"), &[], &[(at(9, 0), name("v"), Some(table("v", &["y"])))]).unwrap();
    let found = history.at(at(10, 0)).unwrap();
    assert!(found.dropped.is_empty());
    let tables: Vec<_> = found.tables.iter().map(|(since, table)| (*since, &*table.name.table)).collect();
    assert_eq!(tables, [(at(7, 1), "t"), (at(9, 0), "v")]);
    history.restart(&Position::new(at(1, 0), "p"), &schemas).unwrap();
    assert_eq!(history.at(Mark::MAX).unwrap().tables.len(), 1, "what was kept has gone");
}

#[test]
fn my_51_what_cannot_be_read_is_an_error() {
    let kept = Arc::new(Kept::default());
    let broken = StoredDefinition { table: "crm.t".into(), since: at(1, 0), text: Some("{".into()) };
    kept.record(&[broken]).unwrap();
    let history = History::new(Some(kept));
    assert_eq!(history.at(at(2, 0)).unwrap_err().code(), "schema_history_unreadable");
}

#[test]
fn the_place_is_written_now_and_then() {
    let kept = Arc::new(Kept::default());
    let history = History::new(Some(Arc::clone(&kept) as _));
    for major in 1..5 {
        history.cover(&Position::new(at(major, 0), "p")).unwrap();
    }
    assert_eq!(kept.covered.lock().unwrap().len(), 1);
    assert!(History::new(None).covered().unwrap().is_none());
}

/// What an earlier release has kept is counted when it is read, each time the same.
#[test]
fn definitions_without_numbers_get_them() {
    let kept = Arc::new(Kept::default());
    let history = History::new(Some(Arc::clone(&kept) as _));
    history.record(at(7, 1), &[(TableName::new("crm", "t"), Some(table("t", &["a", "b"])))]).unwrap();
    let read = |place| history.at(place).unwrap().tables.remove(0).1;
    let numbers: Vec<_> = read(at(9, 0)).columns.iter().map(|column| column.number).collect();
    assert_eq!(numbers, [Some(1), Some(2)]);
    assert!(read(at(9, 0)).numbering.is_some() && read(at(9, 0)) == read(at(12, 3)));
    // And those that have numbers keep them.
    let mut numbered = read(at(9, 0));
    numbered.columns.swap(0, 1);
    history.record(at(8, 1), &[(TableName::new("crm", "t"), Some(Arc::new(numbered.clone())))]).unwrap();
    assert_eq!(read(at(9, 0)), numbered);
}
