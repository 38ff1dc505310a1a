//! A sink between a source and a store that fails: feeds it as the daemon's worker does, opens it anew after every error,
//! sends again from where it says that it stands, and compares its tables with the truth.

use super::chance::Chance;
use super::datum::{Datum, Row};
use super::feed;
use super::following::Follower;
use super::foreign::Expect;
use super::kernel;
use super::reading::{each_row, each_row_of_file};
use super::source::{Event, Source};
use super::truth::{self, Beginning, Seen};
use crate::ambient::{self, Limit, Own};
use crate::config::Settings;
use crate::layout::{Mode, table_path};
use crate::log::{ForeignWrites, Table};
use crate::store::faulty::Faults;
use crate::store::{Store, TableStore};
use crate::typemap::parse_schema_string;
use crate::write::{DeltaSink, Identity, stored_place};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, Error, Mark, Phase, Position, Progress, Result, Sink, TableName, TableProgress, TableState,
};

/// Openings in a row that may fail: more faults than one are never on their way.
const OPENINGS_MAX: usize = 6;
/// Rewritings in a row; a budget of nothing finds a reason each time.
const COMPACTIONS_MAX: usize = 4;

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) source: Source,
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) settings: Settings,
    pub(super) identity: Identity,
    sink: Option<DeltaSink>,
    /// The sink's part of the state directory; after the sink, which may still write there.
    state: tempfile::TempDir,
    /// As the sink told at its last start, and what the run filters by.
    base: Progress,
    /// What the next commit stores.
    progress: Progress,
    /// What the last commit that succeeded stored.
    pub(super) acknowledged: Progress,
    /// Tables whose rows are read before their changes come, until they have been.
    pub(super) to_read: BTreeSet<TableName>,
    /// Floors of the readings of a table, and what it held before each.
    readings: BTreeMap<TableName, Vec<(Position, Mark)>>,
    versions: BTreeMap<TableName, i64>,
    files: Files,
    /// Readers of the tables' feeds.
    followers: BTreeMap<TableName, Follower>,
    /// The truth as it was asked for last, by table: by place and beginning.
    truths: BTreeMap<TableName, (Mark, Beginning, Vec<Seen>)>,
    /// What was done to tables by others.
    pub(super) foreign: BTreeMap<TableName, Expect>,
    halted: BTreeSet<TableName>,
    pub(super) trace: Vec<String>,
    /// What has happened in all.
    pub(super) struck: usize,
}

impl World {
    pub(super) fn new(chance: Chance, source: Source, store: Store, settings: Settings) -> World {
        World {
            chance,
            source,
            store,
            faults: Faults::default(),
            settings,
            identity: Identity { sink: "lake".into(), source: "shop".into() },
            sink: None,
            state: tempfile::tempdir().unwrap(),
            base: Progress::default(),
            progress: Progress::default(),
            acknowledged: Progress::default(),
            to_read: BTreeSet::new(),
            readings: BTreeMap::new(),
            versions: BTreeMap::new(),
            files: Files::default(),
            followers: BTreeMap::new(),
            truths: BTreeMap::new(),
            foreign: BTreeMap::new(),
            halted: BTreeSet::new(),
            trace: Vec::new(),
            struck: 0,
        }
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    pub(super) fn names(&self) -> Vec<TableName> {
        self.source.tables.iter().map(|table| table.schema.name.clone()).collect()
    }

    pub(super) fn table_store(&self, name: &TableName) -> TableStore {
        self.store.table(&table_path(&self.settings.table, &self.identity.source, name))
    }

    /// Does something with the sink; an error that was to be expected is followed by a new start.
    pub(super) fn attempt(&mut self, act: impl FnOnce(&mut World) -> Result<()>) {
        if let Err(error) = act(self) {
            self.explain(&error);
            self.start();
        }
    }

    /// Drops the sink and opens it anew, until it has been sent all that it needs.
    pub(super) fn start(&mut self) {
        for _ in 0..OPENINGS_MAX {
            self.sink = None;
            self.faults.clear();
            self.check();
            ambient::by_real_time(|| self.check_by_kernel());
            match self.run() {
                Ok(()) => return,
                Err(error) => self.explain(&error),
            }
        }
        panic!("the sink cannot be opened");
    }

    /// Panics unless there is a reason for the error.
    fn explain(&mut self, error: &Error) {
        let struck = self.faults.take_struck();
        self.note(format!("  error {}: {} ({struck:?})", error.code(), error.chain()));
        if struck.is_some() {
            assert_ne!(
                error.code(),
                "delta_table_damaged",
                "a store that fails says nothing of a file: {}",
                error.chain()
            );
            self.struck += 1;
            return;
        }
        // A commit that copies rows is made anew by a new start.
        let is_adopting = self.settings.foreign_writes == ForeignWrites::Adopt;
        if is_adopting && error.code() == "delta_overtaken" {
            return;
        }
        // The index of a table that has more files than the limit would begin anew for ever.
        if error.code() == "index_spent" {
            let mut own = ambient::take(Own::default());
            own.limits.entry(Limit::Ordinals).and_modify(|limit| *limit *= 2);
            ambient::take(own);
            return;
        }
        // Of an earlier fault, whose effect was still on its way.
        if matches!(error.code(), "snapshot_visible" | "delta_commit_late") {
            return;
        }
        let expected = error.table().and_then(|name| Some((name.clone(), self.foreign.get(name)?.clone())));
        match expected {
            Some((name, Expect::Halt(code))) if code == error.code() => {
                assert!(self.halted.insert(name), "a halted table was given to the sink");
            }
            _ => panic!("{}: {}", error.code(), error.chain()),
        }
    }

    fn run(&mut self) -> Result<()> {
        let (settings, identity) = (Arc::new(self.settings.clone()), Arc::new(self.identity.clone()));
        let (sink, mut progress) = DeltaSink::open(settings, identity, self.sink_store())?;
        self.sink = Some(sink);
        let acknowledged = self.acknowledged.position.as_ref().map(|position| position.mark);
        assert!(progress.position.as_ref().map(|position| position.mark) >= acknowledged, "the progress went back");
        for (name, table) in &self.acknowledged.tables {
            assert!(table.state == TableState::Reading || progress.tables[name].state == TableState::Done, "{name}");
        }
        for name in &self.halted {
            assert!(progress.leave_behind(&name.to_string(), None), "{name} has no place to be left behind at");
        }
        // A table that comes with the log comes from its beginning; and another sink may need the log from further back.
        let resume = progress.resume_from().filter(|_| progress.position.is_some() && !self.chance.percent(30));
        let resume = resume.map_or(0, |place| place.mark.major);
        (self.base, self.progress) = (progress.clone(), progress);
        let end = self.source.end();
        self.read_tables(&end)?;
        let first = self.source.log.partition_point(|transaction| transaction.commit < resume);
        self.send(first)?;
        self.write(&feed::idle(end))
    }

    /// Reads the tables that are to be read and that the sink does not hold whole.
    fn read_tables(&mut self, floor: &Position) -> Result<()> {
        let names = self.to_read.iter().filter(|name| !self.base.is_done(name) && !self.halted.contains(name));
        for name in names.cloned().collect::<Vec<_>>() {
            let held = stored_place(&self.table_store(&name), self.settings.foreign_writes).ok().flatten();
            let held = held.map_or(Mark::default(), |place| place.position().mark);
            self.readings.entry(name.clone()).or_default().push((floor.clone(), held));
            self.note(format!("  read {name} at {floor}, it held {held}"));
            let rows = truth::rows_at(&self.source, &name, floor.mark);
            let source = Arc::new(feed::descriptor(Some(floor.clone())));
            let schema = Arc::clone(&self.source.table(&name).schema);
            for batch in feed::snapshot(&mut self.chance, &source, &schema, &rows) {
                self.write(&batch)?;
                if self.chance.percent(10) {
                    self.commit()?;
                }
            }
        }
        Ok(())
    }

    /// Sends the log from its `first` transaction on.
    pub(super) fn send(&mut self, first: usize) -> Result<()> {
        let floor = self.readings.values().flatten().map(|(floor, _)| floor).max().cloned();
        let source = Arc::new(feed::descriptor(floor));
        let log = self.source.log[first..].to_vec();
        for batch in feed::stream(&mut self.chance, &source, &log) {
            self.write(&batch)?;
            if batch.boundary && self.chance.percent(6) {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut needs = self.base.needs(batch);
        for (index, _) in batch.tables.iter().enumerate().filter(|(_, schema)| self.halted.contains(&schema.name)) {
            needs.exclude(index);
        }
        let needed = |at: &u32| needs.contains(batch, &batch.changes[*at as usize]);
        let selected: Vec<u32> = (0..batch.changes.len() as u32).filter(needed).collect();
        if !selected.is_empty() || batch.changes.is_empty() {
            self.sink.as_mut().unwrap().write(batch, Selection::Some(&selected))?;
        }
        let halted: BTreeSet<String> = self.halted.iter().map(ToString::to_string).collect();
        self.progress.observe(batch, batch.source.snapshot_floor.as_ref(), &halted);
        if batch.phase == Phase::Snapshot {
            for (name, table) in &self.progress.tables {
                let floor = TableProgress { state: TableState::Reading, floor: table.floor.clone() };
                self.base.tables.entry(name.clone()).or_insert(floor);
            }
        }
        Ok(())
    }

    /// Commits what was sent, and compares.
    pub(super) fn commit(&mut self) -> Result<()> {
        let progress = self.progress.clone();
        self.note(format!("  commit at {:?}", progress.position.as_ref().map(|position| &position.text)));
        self.sink.as_mut().unwrap().commit(&progress)?;
        self.wait_for_copies();
        self.acknowledged = progress;
        self.to_read.retain(|name| !self.acknowledged.is_done(name));
        self.check();
        Ok(())
    }

    pub(super) fn maintain(&mut self) -> Result<()> {
        self.sink.as_mut().unwrap().maintain()?;
        self.wait_for_copies();
        self.check();
        Ok(())
    }

    /// Rewrites data files until none has a reason to be; with changes that no commit has shown, that comes later.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.commit()?;
        for _ in 0..COMPACTIONS_MAX {
            if self.sink.as_mut().unwrap().maintain()? != Some(Duration::ZERO) {
                return Ok(());
            }
            self.wait_for_copies();
            self.check();
        }
        Ok(())
    }

    /// A copying that is under way goes on alone, so that a seed does the same each time.
    fn wait_for_copies(&mut self) {
        while self.sink.as_ref().is_some_and(DeltaSink::is_copying) {
            std::thread::yield_now();
        }
    }

    pub(super) fn lose_state(&mut self) {
        self.sink = None;
        self.state = tempfile::tempdir().unwrap();
        self.start();
    }

    fn sink_store(&self) -> Store {
        let store = self.store.with_faults(&self.faults).with_compression(self.settings.compression);
        store.with_intents(self.state.path().to_path_buf())
    }

    /// The source is idle, and its place goes on.
    pub(super) fn heartbeat(&mut self) -> Result<()> {
        self.source.idle();
        let batch = feed::idle(self.source.end());
        self.write(&batch)
    }

    /// Every table, opened from storage alone, is what the source was at the place that the table tells, and holds what
    /// was acknowledged.
    pub(super) fn check(&mut self) {
        for name in self.names() {
            if !matches!(self.foreign.get(&name), Some(Expect::Halt(_))) {
                ambient::by_real_time(|| self.check_table(&name));
            }
        }
    }

    /// Another writer has changed a table.
    pub(super) fn changed_by_others(&mut self, name: &TableName, at: Mark, event: Option<Event>) {
        self.truths.remove(name);
        let events = self.source.foreign.entry(name.clone()).or_default();
        events.extend(event.map(|event| (at, event)));
    }

    /// Another reader sees of every table what ours sees.
    fn check_by_kernel(&mut self) {
        for name in self.names() {
            let store = self.table_store(&name);
            // The kernel decodes an address twice, so that it finds no folder whose name has an escape.
            let has_escape = store.place("").contains('%');
            if has_escape || matches!(self.foreign.get(&name), Some(Expect::Halt(_))) {
                continue;
            }
            let (mode, others) = (self.mode_of(&name), self.settings.foreign_writes);
            let Some(mut table) = Table::open_among(store.clone(), others).unwrap() else { continue };
            let (version, seen) = kernel::read(&store, mode);
            assert_eq!(version, table.version(), "{name} by the kernel");
            let ours = self.files.read(&mut table, mode);
            if let Some((theirs, ours)) = seen.iter().zip(&ours).find(|(theirs, ours)| theirs != ours) {
                panic!("version {version} of {name}: {theirs:#?} by the kernel, {ours:#?} by ours");
            }
            assert_eq!(seen.len(), ours.len(), "rows of {name} by the kernel");
        }
    }

    /// Nothing that was read before counts.
    pub(super) fn forget(&mut self) {
        self.files = Files::default();
    }

    /// All of the log is in the tables, and those that others have changed are halted.
    pub(super) fn check_end(&self) {
        assert_eq!(self.acknowledged.position, Some(self.source.end()), "the log is not in the sink");
        assert!(self.to_read.is_empty(), "{:?} have not been read", self.to_read);
        let halted: Vec<&TableName> = self.halted.iter().collect();
        assert_eq!(halted, self.foreign.keys().collect::<Vec<_>>(), "the tables that others have changed");
        ambient::by_real_time(|| self.check_barriers());
    }

    /// No place has two barriers, and none names a version that a table does not have.
    fn check_barriers(&self) {
        let Some(mut table) = Table::open(self.store.table("_tidewire/barriers/shop")).unwrap() else { return };
        let mut seen = BTreeSet::new();
        each_row(&mut table, &["position", "table", "version"], |arrays, at| {
            let text = |column: usize| arrays[column].as_ref().unwrap().as_string::<i32>().value(at).to_owned();
            let version = arrays[2].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
            let (position, name) = (text(0), text(1));
            let last = self.versions.iter().find(|(held, _)| held.to_string() == name).map(|(_, version)| *version);
            // The versions of a table that others have changed are not looked at any more.
            let is_left =
                |(held, expect): (&TableName, &Expect)| held.to_string() == name && matches!(expect, Expect::Halt(_));
            let is_there = last.is_some_and(|last| version <= last) || self.foreign.iter().any(is_left);
            assert!(is_there, "{name} has no version {version}: {last:?}");
            assert!(seen.insert((position.clone(), name)), "two barriers at {position}");
        });
    }

    /// The table's version before others come by: the sink may have taken the table over since the last check.
    pub(super) fn see_version(&mut self, name: &TableName) {
        let table =
            ambient::by_real_time(|| Table::open_among(self.table_store(name), self.settings.foreign_writes)).unwrap();
        self.versions.extend(table.map(|table| (name.clone(), table.version())));
    }

    /// The same of one table.
    pub(super) fn check_table(&mut self, name: &TableName) {
        let store = self.table_store(name);
        let others = self.settings.foreign_writes;
        let table = Table::open_among(store.clone(), others).unwrap();
        let mode = self.mode_of(name);
        let (place, version, seen) = match table {
            Some(mut table) => {
                let place = stored_place(&store, others).unwrap().unwrap();
                let has_vector = table.files().any(|file| file.deletion_vector.is_some());
                assert!(self.settings.deletion_vectors || !has_vector, "a deletion vector in {name}");
                (Some(place), table.version(), self.files.read(&mut table, mode))
            }
            None => (None, -1, Vec::new()),
        };
        let before = self.versions.insert(name.clone(), version);
        assert!(before.is_none_or(|before| before <= version), "{name} went from version {before:?} to {version}");
        if self.settings.change_data_feed && mode == self.settings.mode {
            let rows = seen.iter().map(|seen| seen.values.clone());
            self.followers.entry(name.clone()).or_default().follow(&store, version, rows);
        }
        let at = place.as_ref().map_or(Mark::default(), |place| place.position().mark);
        let floor = place.as_ref().and_then(|place| place.snapshot_floor());
        let beginning: Beginning = floor.map(|floor| {
            let reading = self.readings.get(name).and_then(|all| all.iter().rfind(|(at, _)| at == floor));
            reading.unwrap_or_else(|| panic!("{name} shows a snapshot at {floor} that was not read")).clone()
        });
        self.compare(name, "its own place", at, &beginning, &seen);
        let is_done = self.acknowledged.is_done(name);
        if is_done {
            assert!(beginning.is_some(), "{name} was read, and shows nothing of it");
        }
        if let Some(acknowledged) =
            self.acknowledged.position_of(name).filter(|_| is_done || !self.to_read.contains(name))
        {
            let place = acknowledged.mark.max(at);
            self.compare(name, "the place that was acknowledged", place, &beginning, &seen);
        }
    }

    /// What a table is, which may be another thing than the others because it has no key.
    pub(super) fn mode_of(&self, name: &TableName) -> Mode {
        Arc::new(self.settings.clone()).of_table(&self.source.table(name).schema).unwrap().mode
    }

    fn compare(&mut self, name: &TableName, which: &str, at: Mark, beginning: &Beginning, seen: &[Seen]) {
        let is_known = self.truths.get(name).is_some_and(|(place, with, _)| (place, with) == (&at, beginning));
        if !is_known {
            let truth = truth::seen(&self.source, self.mode_of(name), name, at, beginning);
            self.truths.insert(name.clone(), (at, beginning.clone(), truth));
        }
        let expected = &self.truths[name].2;
        if seen != expected {
            let odd = seen.iter().zip(expected).find(|(seen, expected)| seen != expected);
            let (rows, wanted) = (seen.len(), expected.len());
            panic!("{name} has {rows} rows instead of {wanted} at {which} {at}; the first that differ: {odd:#?}");
        }
    }
}

/// The rows of files that were read before, by path and the table's schema: files never change.
#[derive(Default)]
pub(super) struct Files(BTreeMap<String, Vec<Seen>>);

impl Files {
    /// All rows of a table as a reader sees them, sorted.
    fn read(&mut self, table: &mut Table, mode: Mode) -> Vec<Seen> {
        let columns = parse_schema_string(table.schema_string()).unwrap();
        let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        let all: Vec<_> = columns.iter().collect();
        let mut seen = Vec::new();
        for file in table.files().cloned().collect::<Vec<_>>() {
            let size = table.store().head(&file.path).unwrap().map(|object| object.size);
            assert_eq!(size, Some(file.size), "{}", file.path);
            let deleted = table.deleted_rows(&file.path).unwrap().clone();
            let rows = self.0.entry(format!("{} {}", file.path, table.schema_string())).or_insert_with(|| {
                let mut rows = Vec::new();
                each_row_of_file(table, &file, &all, |arrays, at| rows.push(row(&names, arrays, at, mode)));
                rows
            });
            seen.extend((0..).zip(rows).filter(|(number, _)| !deleted.contains(*number)).map(|(_, row)| row.clone()));
        }
        seen.sort();
        seen
    }
}

pub(super) fn row(names: &[&str], arrays: &[Option<ArrayRef>], at: usize, mode: Mode) -> Seen {
    let value = |column: usize| arrays[column].as_ref().and_then(|array| Datum::read(array, at));
    let own = |name: &str| names.iter().position(|held| *held == name).unwrap();
    let mut one = Seen::default();
    if mode == Mode::Changelog {
        let (Some(Datum::Text(op)), Some(Datum::Text(place)), Some(Datum::Int(ordinal))) =
            (value(own("_op")), value(own("_position")), value(own("_ordinal")))
        else {
            panic!("a change without its place");
        };
        one.change = Some((op, place, ordinal));
        let list = arrays[own("_unchanged")].as_ref().unwrap().as_list::<i32>();
        if list.is_valid(at) {
            one.unchanged = list.value(at).as_string::<i32>().iter().flatten().map(Into::into).collect();
        }
    }
    let values = names.iter().enumerate().filter(|(_, name)| !name.starts_with('_'));
    one.values = values.filter_map(|(column, name)| Some(((*name).into(), value(column)?))).collect::<Row>();
    one
}
