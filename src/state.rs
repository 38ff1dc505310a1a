//! The state directory: one lock, one SQLite file. Everything in it is a cache of what the sinks hold,
//! a record for people, or what a source saw of the catalog that its log does not tell. Deleting it costs time, never
//! data that a sink holds.

mod definitions;

pub(crate) use definitions::SourceDefinitions;

use rusqlite::{Connection, OptionalExtension, params};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidewire_core::schema::TableSchema;
use tidewire_core::{Error, Position, Progress, Result};

const SCHEMA_VERSION: i64 = 2;
const REMEDY: &str = "see to it that the state directory has free space and can be written to";
/// "TIDE" in ASCII, so that `file` and SQLite's own tools can tell whose database this is.
const APPLICATION_ID: i64 = 0x5449_4445;

/// The state of one daemon.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    database: Mutex<Connection>,
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory if need be, takes its lock, and opens the database. A second daemon on the same
    /// directory gets `state_locked` (SK-60); the lock goes with the process, however it ends.
    pub(crate) fn open(path: &Path) -> Result<StateDirectory> {
        let broken =
            |act: &str| Error::operator("state_unusable", format!("{act} in the state directory `{}`", path.display()));
        std::fs::create_dir_all(path).map_err(|error| {
            broken("create files")
                .with_remedy("make it writable for the service's user, or set state_dir")
                .with_cause(error)
        })?;
        let lock = lock(path)?;
        let database = Connection::open(path.join("state.sqlite"))
            .map_err(|error| broken("open state.sqlite").with_cause(error))?;
        prepare(&database).map_err(|error| {
            broken("prepare state.sqlite")
                .with_remedy("move state.sqlite away: it is a cache, the sinks know their positions")
                .with_cause(error)
        })?;
        Ok(StateDirectory { path: path.to_owned(), database: Mutex::new(database), _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What a sink was last known to hold of a source.
    pub(crate) fn cached_progress(&self, source: &str, sink: &str) -> Result<Option<Progress>> {
        let text: Option<String> = self
            .database()
            .query_row(
                "SELECT progress FROM sink_progress WHERE source = ?1 AND sink = ?2",
                params![source, sink],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| failed("read the cached progress", error))?;
        // A cache that cannot be read is no cache.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Remembers what a sink holds.
    pub(crate) fn cache_progress(&self, source: &str, sink: &str, progress: &Progress) -> Result<()> {
        let text = serde_json::to_string(progress)
            .map_err(|error| Error::bug("progress_not_json", "write progress as JSON").with_cause(error))?;
        self.database()
            .execute(
                "INSERT INTO sink_progress (source, sink, progress) VALUES (?1, ?2, ?3)
                 ON CONFLICT (source, sink) DO UPDATE SET progress = excluded.progress",
                params![source, sink, text],
            )
            .map_err(|error| failed("cache the progress", error))?;
        Ok(())
    }

    /// Adds a table's version to the history; a version that is there already stays as it is.
    pub(crate) fn record_schema(&self, source: &str, schema: &TableSchema, position: Option<&Position>) -> Result<()> {
        let columns: Vec<serde_json::Value> = schema
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                serde_json::json!({
                    "name": column.name, "type": column.native_type, "nullable": column.nullable,
                    "key": schema.key.iter().position(|k| *k == index).map(|p| p + 1),
                })
            })
            .collect();
        self.database()
            .execute(
                "INSERT OR IGNORE INTO schema_history (source, table_name, native_id, columns, position, seen_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, datetime('now'))",
                params![
                    source,
                    schema.name.to_string(),
                    schema.native_id as i64,
                    serde_json::Value::from(columns).to_string(),
                    position.map(|p| p.text.to_string())
                ],
            )
            .map_err(|error| failed("record the schema", error))?;
        Ok(())
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls back what a panicking holder left open.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(act: &str, error: rusqlite::Error) -> Error {
    Error::retry("state_unusable", act).with_remedy(REMEDY).with_cause(error)
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    let unusable = |error: std::io::Error| {
        Error::operator("state_unusable", format!("lock `{}`", path.display())).with_remedy(REMEDY).with_cause(error)
    };
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(unusable)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).map_err(unusable)?;
        return Err(Error::operator(
            "state_locked",
            format!("the state directory is locked by process {}", holder.trim()),
        )
        .with_remedy("stop the other daemon, or give this one a state_dir of its own"));
    }
    file.set_len(0).map_err(unusable)?;
    file.rewind().map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
}

fn prepare(database: &Connection) -> rusqlite::Result<()> {
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.busy_timeout(std::time::Duration::from_secs(5))?;
    let found: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        // A newer Tidewire wrote it: refuse rather than misread (SK-54).
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "state.sqlite has version {found}, this daemon knows {SCHEMA_VERSION}"
        )));
    }
    if found == 0 {
        database.pragma_update(None, "application_id", APPLICATION_ID)?;
        database.execute_batch(
            "BEGIN;
             CREATE TABLE sink_progress (
                 source TEXT NOT NULL, sink TEXT NOT NULL, progress TEXT NOT NULL, PRIMARY KEY (source, sink)) STRICT;
             CREATE TABLE schema_history (
                 id INTEGER PRIMARY KEY, source TEXT NOT NULL, table_name TEXT NOT NULL, native_id INTEGER NOT NULL,
                 columns TEXT NOT NULL, position TEXT, seen_at TEXT NOT NULL,
                 UNIQUE (source, table_name, native_id, columns)) STRICT;
             PRAGMA user_version = 1;
             COMMIT;",
        )?;
    }
    if found < SCHEMA_VERSION {
        database.execute_batch(&format!("BEGIN; {} PRAGMA user_version = 2; COMMIT;", definitions::SCHEMA))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::Mark;

    #[test]
    fn progress_survives_and_a_second_daemon_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let progress =
            Progress { position: Some(Position::new(Mark { major: 7, minor: 1 }, "x:7/1")), ..Progress::default() };
        {
            let state = StateDirectory::open(dir.path()).unwrap();
            state.cache_progress("shop", "lake", &progress).unwrap();
            let second = StateDirectory::open(dir.path()).unwrap_err();
            assert_eq!(second.code(), "state_locked");
            assert!(second.to_string().contains(&std::process::id().to_string()));
        }
        let state = StateDirectory::open(dir.path()).unwrap();
        assert_eq!(state.cached_progress("shop", "lake").unwrap(), Some(progress));
        assert_eq!(state.cached_progress("shop", "other").unwrap(), None);
    }
}
