//! What the publication showed to each sink, kept in the state between runs (PG-11). Whoever narrows it, or makes a table
//! anew, while nobody looks is found out at the next start; and what has halted a source once halts each later start, whatever
//! the publication shows by then, because what was left out in between is in no log. Until the operator accepts it: only then
//! what is seen takes the place of what is kept.
//!
//! By sink: one with a new name reads the tables anew and misses nothing, one that is away for a while is compared when it is
//! back. Where nothing is kept, what is seen first is taken for what was.

use super::{Change, Code, Narrowed, Publication, refusal};
use crate::control::Control;
use crate::position::Lsn;
use crate::records::Records;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewire_core::definitions::DefinitionStore;
use tidewire_core::source::Resume;
use tidewire_core::{Error, Progress, Result, TableFilter, TableName};

/// Before a sink's name: under this the state keeps its record; no table has it.
const RECORD: &str = "publication of sink ";

/// What is kept of one sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// As it was seen last without a loss, or accepted.
    publication: Publication,
    /// Oids of tables that the sink had nothing of by then, and that are read before their changes come.
    #[serde(default)]
    fresh: BTreeSet<u32>,
    /// Schema, name and oid of tables that it lists no more, or not as they were, and that the sink may hold.
    #[serde(default)]
    gone: Vec<(String, String, u32)>,
    /// The operator has accepted what became of the tables up to this place of the log.
    #[serde(default)]
    accepted_until: u64,
    /// What has halted the source since.
    #[serde(default)]
    refused: Option<Refused>,
}

/// A change that halted the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    code: Code,
    message: String,
    /// Schema and name of the table, where it was one.
    table: Option<(String, String)>,
}

/// What a start comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// One was refused before, and so is this.
    Again(Refused),
    /// What a comparison shows.
    Compared(Narrowed),
}

impl Record {
    fn new(publication: &Publication) -> Record {
        let (fresh, gone, accepted_until) = (BTreeSet::new(), Vec::new(), 0);
        Record { publication: publication.clone(), fresh, gone, accepted_until, refused: None }
    }

    /// Judges a start of a sink that holds something. What is captured no more concerns nobody, and of a table that the sink
    /// has nothing of it misses nothing.
    fn judge(&self, now: &Publication, progress: &Progress, captured: &TableFilter) -> Verdict {
        let counts = |table: &TableName, oid: u32| {
            let holds = || !self.fresh.contains(&oid) || progress.tables.contains_key(&table.to_string());
            captured.captures_name(table) && holds()
        };
        if let Some(refused) = &self.refused {
            let oid = |table: &TableName| self.publication.tables.get(table).map_or(0, |shown| shown.oid);
            if refused.table().is_none_or(|table| counts(&table, oid(&table))) {
                return Verdict::Again(refused.clone());
            }
        }
        for (schema, table, oid) in &self.gone {
            let table = TableName::new(schema.as_str(), table.as_str());
            if counts(&table, *oid) && now.tables.get(&table).is_some_and(|shown| shown.oid != *oid) {
                return Verdict::Compared(Narrowed::Yes(Change::recreated(&table)));
            }
        }
        Verdict::Compared(self.publication.narrowed(now, counts))
    }

    /// What is to be kept once `now` has been seen. `is_fresh` tells of a table that it lists whether the sink has nothing of it.
    fn succeed(&self, now: &Publication, captured: &TableFilter, is_fresh: impl Fn(&TableName, u32) -> bool) -> Record {
        let listed = self.publication.tables.iter().map(|(name, shown)| (name.clone(), shown.oid));
        let gone = self.gone.iter().map(|(schema, table, oid)| (TableName::new(&**schema, &**table), *oid));
        // Of the tables that a name has stood for the sink may hold the first.
        let mut held: BTreeMap<TableName, u32> = listed.chain(gone).collect();
        held.retain(|name, oid| captured.captures_name(name) && now.tables.get(name).is_none_or(|is| is.oid != *oid));
        let still = held.values().copied().filter(|oid| self.fresh.contains(oid));
        let fresh = now.tables.iter().filter(|(name, shown)| is_fresh(name, shown.oid)).map(|(_, shown)| shown.oid);
        Record {
            publication: now.clone(),
            fresh: fresh.chain(still).collect(),
            gone: held.iter().map(|(name, oid)| (name.schema.to_string(), name.table.to_string(), *oid)).collect(),
            accepted_until: self.accepted_until,
            refused: self.refused.clone(),
        }
    }

    /// Takes the tables that bear their names now for those that the sink holds, and what halted the source for settled.
    fn settle(mut self) -> Record {
        let now = &self.publication;
        self.gone.retain(|(schema, table, _)| !now.lists(&TableName::new(schema.as_str(), table.as_str())));
        self.refused = None;
        self
    }
}

impl Refused {
    fn of(error: &Error) -> Option<Refused> {
        let table = error.table().map(|table| (table.schema.to_string(), table.table.to_string()));
        Some(Refused { code: Code::of(error)?, message: error.to_string(), table })
    }

    fn table(&self) -> Option<TableName> {
        self.table.as_ref().map(|(schema, table)| TableName::new(schema.as_str(), table.as_str()))
    }

    fn into_error(self, source: &str) -> Error {
        let table = self.table();
        refusal(self.code, self.message, table, source)
    }
}

/// The records of a source's sinks; shared by a connector and its readers.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    records: Records,
}

impl Kept {
    /// In `store`; without one nothing is kept.
    pub(crate) fn new(store: Option<Arc<dyn DefinitionStore>>) -> Kept {
        Kept { records: Records::new(store) }
    }

    /// By sink.
    fn load(&self) -> Result<BTreeMap<String, Record>> {
        Ok(self.records.load(RECORD)?.into_iter().collect())
    }

    /// All of them, or none.
    fn keep<'a>(&self, records: impl Iterator<Item = (&'a String, &'a Record)>) -> Result<()> {
        self.records.keep(records.map(|(sink, record)| (format!("{RECORD}{sink}"), record)))
    }

    /// Compares what the sinks were shown with what is shown now, and refuses a loss that the operator does not accept.
    pub(crate) async fn compare(
        &self,
        session: &Control,
        resume: &Resume,
        now: &Publication,
        captured: &TableFilter,
        source: &str,
    ) -> Result<Compared> {
        let before = self.load()?;
        let mut accepted = false;
        for sink in resume.sinks.iter().filter(|sink| !sink.progress.is_empty()) {
            let Some(record) = before.get(&*sink.sink) else { continue };
            let error = match record.judge(now, &sink.progress, captured) {
                Verdict::Again(refused) => Some(refused.into_error(source)),
                Verdict::Compared(narrowed) => {
                    narrowed.confirmed(session).await?.map(|change| change.into_error(&now.name, source))
                }
            };
            let Some(error) = error else { continue };
            if !resume.accept_server_position {
                return Err(error);
            }
            let (sink, code) = (&*sink.sink, error.code());
            tracing::warn!(sink, code, "the operator accepts the tables as they are published now: {error}");
            accepted = true;
        }
        Ok(Compared { kept: self.clone(), before, accepted })
    }

    /// Remembers what halted the source before it was read, for the sinks that something is kept of.
    pub(crate) fn refuse(&self, resume: &Resume, error: &Error) {
        if Code::of(error).is_none() {
            return;
        }
        let noted = self.load().and_then(|mut records| {
            records.retain(|name, _| resume.sinks.iter().any(|sink| *sink.sink == **name));
            self.note(&mut records, error)
        });
        warn_unless(noted);
    }

    fn note(&self, records: &mut BTreeMap<String, Record>, error: &Error) -> Result<()> {
        let Some(refused) = Refused::of(error) else { return Ok(()) };
        // The first one began the loss.
        records.retain(|_, record| record.refused.is_none());
        records.values_mut().for_each(|record| record.refused = Some(refused.clone()));
        self.keep(records.iter())
    }
}

/// The source halts for the error that was to be noted, which is told elsewhere.
fn warn_unless(noted: Result<()>) {
    if let Err(error) = noted {
        let cause = error.chain();
        tracing::warn!(code = error.code(), cause, "the next start may not know what halted the source");
    }
}

/// A start that nothing speaks against.
pub(crate) struct Compared {
    kept: Kept,
    before: BTreeMap<String, Record>,
    accepted: bool,
}

impl Compared {
    /// Keeps what is seen, before anything is shipped by it. `read` are the oids of tables that are read first, and `end` is
    /// where the server's log ended when the operator's word was taken.
    pub(crate) fn keep(
        self,
        resume: &Resume,
        now: &Publication,
        captured: &TableFilter,
        read: &BTreeSet<u32>,
        end: Lsn,
    ) -> Result<Watched> {
        let Compared { kept, before, accepted } = self;
        let mut records = BTreeMap::new();
        for sink in &resume.sinks {
            let is_fresh = |name: &TableName, oid: u32| {
                read.contains(&oid) && !sink.progress.tables.contains_key(&name.to_string())
            };
            // One that holds nothing begins anew, whoever had its name before.
            let held = before.get(&*sink.sink).filter(|_| !sink.progress.is_empty()).cloned();
            let held = held.unwrap_or_else(|| Record::new(now));
            records.insert(sink.sink.to_string(), held.succeed(now, captured, is_fresh).settle());
        }
        if accepted {
            // The word is about the source: it holds for a sink that is away as well.
            for (name, away) in &before {
                let is_fresh = |_: &TableName, oid: u32| away.fresh.contains(&oid);
                records.entry(name.clone()).or_insert_with(|| away.succeed(now, captured, is_fresh).settle());
            }
            records.values_mut().for_each(|record| record.accepted_until = end.0);
        }
        kept.keep(records.iter().filter(|(name, record)| before.get(*name) != Some(*record)))?;
        records.retain(|name, _| resume.sinks.iter().any(|sink| *sink.sink == **name));
        Ok(Watched { kept, captured: captured.clone(), records: Arc::new(Mutex::new(records)) })
    }
}

/// The records of the sinks that a running source serves.
#[derive(Clone)]
pub(crate) struct Watched {
    kept: Kept,
    captured: TableFilter,
    records: Arc<Mutex<BTreeMap<String, Record>>>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to here the operator has accepted what became of the tables.
    pub(crate) fn accepted_until(&self) -> Lsn {
        Lsn(self.lock().values().map(|record| record.accepted_until).max().unwrap_or_default())
    }

    /// Keeps what is shown now, without a loss: what is more than before may be shipped from here on. A table that comes
    /// while the log is read is read itself before its changes come.
    pub(crate) fn see(&self, now: &Publication) -> Result<()> {
        let mut records = self.lock();
        let mut next = BTreeMap::new();
        for (name, record) in records.iter().filter(|(_, record)| record.publication != *now) {
            let known: BTreeSet<u32> = record.publication.tables.values().map(|shown| shown.oid).collect();
            let is_fresh = |_: &TableName, oid: u32| record.fresh.contains(&oid) || !known.contains(&oid);
            next.insert(name.clone(), record.succeed(now, &self.captured, is_fresh));
        }
        self.kept.keep(next.iter())?;
        records.extend(next);
        Ok(())
    }

    /// Remembers what halts the source.
    pub(crate) fn refuse(&self, error: &Error) {
        if Code::of(error).is_none() {
            return;
        }
        let mut records = self.lock();
        let mut refused = records.clone();
        let noted = self.kept.note(&mut refused, error);
        records.extend(refused);
        warn_unless(noted);
    }
}

#[cfg(test)]
mod tests;
