//! The definitions of tables that a source keeps between runs, in the state's SQLite file.

use super::{StateDirectory, failed};
use rusqlite::{OptionalExtension, Transaction, params};
use std::sync::Arc;
use tidewire_core::definitions::{DefinitionStore, StoredDefinition};
use tidewire_core::{Mark, Position, Result, failpoint};

/// Makes the tables.
pub(super) const SCHEMA: &str = "
    CREATE TABLE definition (
        source TEXT NOT NULL, table_name TEXT NOT NULL, since BLOB NOT NULL, text TEXT,
        PRIMARY KEY (source, table_name, since)) STRICT, WITHOUT ROWID;
    CREATE TABLE definition_cover (source TEXT PRIMARY KEY, mark BLOB NOT NULL, text TEXT NOT NULL) STRICT;";

/// How many definitions of a table are kept beyond what is needed: a sink that is away may need older ones.
const SPARE_VERSIONS: u32 = 16;

/// The definitions of one source.
#[derive(Debug)]
pub(crate) struct SourceDefinitions {
    state: Arc<StateDirectory>,
    source: Arc<str>,
}

impl SourceDefinitions {
    /// Those of `source`.
    pub(crate) fn new(state: Arc<StateDirectory>, source: Arc<str>) -> SourceDefinitions {
        SourceDefinitions { state, source }
    }

    /// Writes all of it or nothing; it is on the disk when this returns.
    fn durably(&self, act: &str, write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<()> {
        failpoint::step("definitions_before_commit")?;
        let all = || {
            let mut database = self.state.database();
            let transaction = database.transaction()?;
            write(&transaction)?;
            transaction.commit()
        };
        all().map_err(|error| failed(act, error))?;
        failpoint::step("definitions_after_commit")
    }
}

impl DefinitionStore for SourceDefinitions {
    fn covered(&self) -> Result<Option<Position>> {
        let row: Option<([u8; 16], String)> = self
            .state
            .database()
            .query_row("SELECT mark, text FROM definition_cover WHERE source = ?1", params![self.source], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|error| failed("read how far the schema history goes", error))?;
        Ok(row.map(|(mark, text)| Position::new(from_bytes(mark), text)))
    }

    fn at(&self, place: Mark) -> Result<Vec<StoredDefinition>> {
        let read = || {
            let database = self.state.database();
            // Of a bare column beside max() SQLite takes the row that holds the maximum.
            let mut statement = database.prepare(
                "SELECT table_name, max(since), text FROM definition WHERE source = ?1 AND since <= ?2
                  GROUP BY table_name",
            )?;
            let rows = statement.query_map(params![self.source, to_bytes(place)], |row| {
                Ok(StoredDefinition { table: row.get(0)?, since: from_bytes(row.get(1)?), text: row.get(2)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| failed("read the schema history", error))
    }

    fn record(&self, definitions: &[StoredDefinition]) -> Result<()> {
        self.durably("record the schema history", |transaction| add(transaction, &self.source, definitions))
    }

    fn cover(&self, place: &Position, needed: Mark) -> Result<()> {
        self.durably("record how far the schema history goes", |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO definition_cover (source, mark, text) VALUES (?1, ?2, ?3)",
                params![self.source, to_bytes(place.mark), &*place.text],
            )?;
            transaction.execute(
                "DELETE FROM definition AS old WHERE source = ?1 AND (
                     SELECT count(*) FROM definition AS new WHERE new.source = old.source
                        AND new.table_name = old.table_name AND new.since > old.since AND new.since <= ?2) > ?3",
                params![self.source, to_bytes(needed), SPARE_VERSIONS],
            )?;
            Ok(())
        })
    }

    fn rewind(&self, place: &Position, ahead: &[(String, Mark)], records: &[StoredDefinition]) -> Result<()> {
        self.durably("go back in the schema history", |transaction| {
            let beyond: Vec<(String, [u8; 16])> = transaction
                .prepare("SELECT table_name, since FROM definition WHERE source = ?1 AND since > ?2")?
                .query_map(params![self.source, to_bytes(place.mark)], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let is_kept =
                |table: &str, since: Mark| ahead.iter().any(|(name, until)| *name == *table && since <= *until);
            for (table, since) in beyond.iter().filter(|(table, since)| !is_kept(table, from_bytes(*since))) {
                transaction.execute(
                    "DELETE FROM definition WHERE source = ?1 AND table_name = ?2 AND since = ?3",
                    params![self.source, table, since],
                )?;
            }
            add(transaction, &self.source, records)?;
            transaction.execute(
                "UPDATE definition_cover SET mark = ?2, text = ?3 WHERE source = ?1 AND mark > ?2",
                params![self.source, to_bytes(place.mark), &*place.text],
            )?;
            Ok(())
        })
    }

    fn clear(&self) -> Result<()> {
        self.durably("forget the schema history", |transaction| {
            transaction.execute("DELETE FROM definition_cover WHERE source = ?1", params![self.source])?;
            transaction.execute("DELETE FROM definition WHERE source = ?1", params![self.source])?;
            Ok(())
        })
    }
}

fn add(transaction: &Transaction<'_>, source: &str, definitions: &[StoredDefinition]) -> rusqlite::Result<()> {
    for definition in definitions {
        transaction.execute(
            "INSERT OR REPLACE INTO definition (source, table_name, since, text) VALUES (?1, ?2, ?3, ?4)",
            params![source, definition.table, to_bytes(definition.since), definition.text],
        )?;
    }
    Ok(())
}

/// Big endian, so that SQLite's order of blobs is that of marks.
fn to_bytes(mark: Mark) -> [u8; 16] {
    ((u128::from(mark.major) << 64) | u128::from(mark.minor)).to_be_bytes()
}

fn from_bytes(bytes: [u8; 16]) -> Mark {
    let number = u128::from_be_bytes(bytes);
    Mark { major: (number >> 64) as u64, minor: number as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(major: u64, minor: u64) -> Mark {
        Mark { major, minor }
    }

    fn stored(table: &str, since: Mark, text: Option<&str>) -> StoredDefinition {
        StoredDefinition { table: table.to_owned(), since, text: text.map(str::to_owned) }
    }

    #[test]
    fn my_50_old_definitions_go_but_for_some() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDirectory::open(dir.path()).unwrap());
        let definitions = SourceDefinitions::new(state, Arc::from("crm"));
        let versions: Vec<_> = (1..=40).map(|major| stored("a.t", mark(major, 0), Some("x"))).collect();
        definitions.record(&versions).unwrap();
        definitions.cover(&Position::new(mark(50, 0), "there"), mark(30, 0)).unwrap();
        let oldest = 30 - u64::from(SPARE_VERSIONS);
        assert!(definitions.at(mark(oldest - 1, 0)).unwrap().is_empty());
        for major in oldest..=40 {
            assert_eq!(definitions.at(mark(major, 0)).unwrap(), [versions[major as usize - 1].clone()]);
        }
    }

    #[test]
    fn my_40_the_definition_in_force_at_a_place_is_found_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDirectory::open(dir.path()).unwrap());
        let ours = SourceDefinitions::new(Arc::clone(&state), Arc::from("crm"));
        let other = SourceDefinitions::new(state, Arc::from("other"));
        let versions = [
            stored("a.t", mark(1, 0), Some("one")),
            stored("a.t", mark(u64::MAX - 1, 3), Some("two")),
            stored("a.gone", mark(2, 0), Some("x")),
            stored("a.gone", mark(5, 0), None),
        ];
        ours.record(&versions).unwrap();
        other.record(&[stored("a.t", mark(0, 0), Some("theirs"))]).unwrap();
        let [one, two, there, gone] = versions.clone();
        assert_eq!(ours.at(mark(0, 9)).unwrap(), []);
        assert_eq!(ours.at(mark(4, 0)).unwrap(), [there.clone(), one.clone()]);
        assert_eq!(ours.at(mark(5, 0)).unwrap(), [gone.clone(), one.clone()]);
        assert_eq!(ours.at(Mark::MAX).unwrap(), [gone.clone(), two]);
        assert_eq!(ours.covered().unwrap(), None);
        let place = Position::new(mark(u64::MAX, 0), "there");
        ours.cover(&place, mark(u64::MAX, 0)).unwrap();
        assert_eq!(ours.covered().unwrap(), Some(place));
        assert_eq!(ours.at(mark(4, 0)).unwrap(), [there, one.clone()], "a sink that is away may need it");
        let ahead = stored("a.ahead", mark(9, 0), Some("ahead"));
        ours.record(&[ahead.clone(), stored("a.ahead", mark(11, 0), Some("beyond"))]).unwrap();
        let back = Position::new(mark(5, 0), "back");
        let added = stored("a.added", mark(7, 0), Some("added"));
        ours.rewind(&back, &[("a.ahead".to_owned(), mark(10, 0))], std::slice::from_ref(&added)).unwrap();
        assert_eq!(ours.at(Mark::MAX).unwrap(), [added, ahead, gone, one]);
        assert_eq!(ours.covered().unwrap(), Some(back));
        ours.clear().unwrap();
        assert_eq!((ours.covered().unwrap(), ours.at(Mark::MAX).unwrap()), (None, vec![]));
        assert_eq!(other.at(Mark::MAX).unwrap().len(), 1);
    }
}
