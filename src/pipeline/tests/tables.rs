//! Sinks that commit table by table, as tables of a lake are: each table shows its rows and its own place in one step, the
//! progress of the whole is stored last, and the process may end between any two of these. A table that is ahead drops what
//! comes again. A table that is read is shown when it is whole; before that the progress says that it is being read.

use super::planted::Plant;
use super::shelf::{Entry, Reader, Shelf};
use super::tape::is_inside;
use std::sync::MutexGuard;
use std::time::Duration;
use tidewire_core::sink::Selection;
use tidewire_core::{Batch, Error, Mark, Progress, Result, Sink, TableProgress, TableState};

pub(super) struct TablesSink {
    reader: Reader,
    plant: Option<Plant>,
    /// By table, what waits for its commit.
    tables: Vec<Waiting>,
    /// What a table cannot take is found out when it is committed.
    accepts_late: bool,
}

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Its rows are being read; until they all are there is nothing to show.
    is_reading: bool,
    /// What it holds, and what waits: changes up to here are not needed again.
    applied: Mark,
    /// What it held when the sink was opened.
    opened_at: Mark,
    /// Where the snapshot lies that waits.
    floor: Option<Mark>,
}

impl TablesSink {
    /// A table that was shown whole before the progress could say so is found.
    pub(super) fn open(reader: Reader, mut progress: Progress, plant: Option<Plant>) -> (TablesSink, Progress) {
        let shelf = reader.shelf.lock().unwrap();
        for (table, shown) in shelf.tables.iter().enumerate() {
            let name = shelf.tape.schemas[table][0].name.to_string();
            if let Some(told) = progress.tables.get_mut(&name)
                && told.state == TableState::Reading
                && shown.floor.is_some_and(|floor| floor >= told.floor.mark)
            {
                told.state = TableState::Done;
                reader.hand.fate.note("snapshot found whole");
            }
        }
        let waiting = |place: Mark| Waiting { applied: place, opened_at: place, ..Waiting::default() };
        let tables = shelf.tables.iter().map(|shown| waiting(shown.place)).collect();
        drop(shelf);
        let accepts_late = reader.hand.fate.dice.roll(2) == 0;
        (TablesSink { reader, plant, tables, accepts_late }, progress)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.reader.shelf.lock().unwrap()
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        let (Entry::Log(row) | Entry::Read(row)) = entry else {
            self.begin_or_end(entry);
            return Ok(());
        };
        let waiting = &mut self.tables[row.table];
        if matches!(entry, Entry::Log(_)) && row.mark <= waiting.applied && self.plant != Some(Plant::TablesForget) {
            if row.mark <= waiting.opened_at {
                self.reader.hand.fate.note("table ahead");
            }
            return Ok(());
        }
        waiting.entries.push(entry);
        if self.accepts_late { Ok(()) } else { self.reader.accept(entry) }
    }

    fn begin_or_end(&mut self, entry: Entry) {
        match entry {
            Entry::Start(table) => {
                let waiting = &mut self.tables[table];
                // The rows that are read take the place of all.
                waiting.entries.clear();
                (waiting.is_reading, waiting.floor) = (true, None);
                waiting.entries.push(entry);
            }
            Entry::End(table, floor) => {
                let waiting = &mut self.tables[table];
                (waiting.is_reading, waiting.floor) = (false, Some(floor));
                waiting.applied = waiting.applied.max(floor);
                waiting.entries.push(entry);
            }
            Entry::Log(_) | Entry::Read(_) => {}
        }
    }

    /// Stores that tables are being read, before a commit shows them whole.
    fn note_reading(&self, progress: &Progress) -> Result<()> {
        let mut noted = self.shelf().progress.clone();
        let before = noted.clone();
        for (table, waiting) in self.tables.iter().enumerate() {
            let name = self.reader.tape.schemas[table][0].name.to_string();
            if let (Some(_), false, Some(told)) = (waiting.floor, waiting.is_reading, progress.tables.get(&name)) {
                let reading = TableProgress { state: TableState::Reading, floor: told.floor.clone() };
                noted.tables.entry(name).or_insert(reading);
            }
        }
        if noted == before { Ok(()) } else { self.store(&noted) }
    }

    fn store(&self, progress: &Progress) -> Result<()> {
        self.amid()?;
        let stored = self.shelf().store(progress);
        stored.map_err(|wrong| self.reader.hand.condemn(wrong))
    }

    /// Between two steps of a commit.
    fn amid(&self) -> Result<()> {
        self.reader.hand.step();
        if self.reader.hand.fails("amid the tables of a commit") {
            return Err(Error::retry("broken", "the sink broke amid the tables of a commit"));
        }
        Ok(())
    }

    fn commit_table(&mut self, table: usize, progress: &Progress) -> Result<()> {
        self.amid()?;
        if self.accepts_late {
            self.tables[table].entries.iter().try_for_each(|entry| self.reader.accept(*entry))?;
        }
        let name = &self.reader.tape.schemas[table][0].name;
        let place = progress.position_of(name).map_or(Mark::default(), |place| place.mark);
        let waiting = &mut self.tables[table];
        let entries = std::mem::take(&mut waiting.entries);
        let shown =
            self.reader.shelf.lock().unwrap().show_table(table, &entries, place.max(waiting.floor.unwrap_or_default()));
        match shown {
            Ok(place) => waiting.applied = waiting.applied.max(place),
            Err(wrong) => self.reader.hand.condemn(wrong),
        }
        waiting.floor = None;
        Ok(())
    }
}

impl Sink for TablesSink {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        self.reader.begin_write()?;
        for change in selection.of(batch) {
            self.take(self.reader.read(batch, change))?;
        }
        self.reader.hand.step();
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.reader.begin_commit()?;
        if self.plant == Some(Plant::TablesLast) {
            self.store(progress)?;
        }
        self.note_reading(progress)?;
        let is_due = |table: &usize| !self.tables[*table].is_reading && !self.tables[*table].entries.is_empty();
        let mut due: Vec<usize> = (0..self.tables.len()).filter(is_due).collect();
        // Several are committed at once, so that any may be the first.
        while !due.is_empty() {
            let next = self.reader.hand.fate.dice.roll(due.len() as u64) as usize;
            self.commit_table(due.swap_remove(next), progress)?;
        }
        self.store(progress)?;
        self.reader.end_commit()
    }

    fn maintain(&mut self) -> Result<Option<Duration>> {
        self.reader.maintain()
    }
}

impl Shelf {
    /// Makes what was written of a table visible, and up to where it holds everything, as one. Returns that place, which does
    /// not go back.
    ///
    /// # Errors
    /// What is wrong about it.
    fn show_table(&mut self, table: usize, written: &[Entry], place: Mark) -> std::result::Result<Mark, String> {
        for entry in written {
            self.take(*entry)?;
            if let Entry::End(_, floor) = entry {
                let read = self.tape.until(table, *floor);
                let shown = &mut self.tables[table];
                (shown.floor, shown.log) = (shown.floor.max(Some(*floor)), shown.log.max(read));
            }
        }
        let shown = &mut self.tables[table];
        let place = shown.place.max(place);
        let (log, due) = (shown.log, self.tape.until(table, place));
        if log != due {
            return Err(format!("{log} rows of table {table} at {place}, and not {due}"));
        }
        if is_inside(place) && !self.wants.can_split_transactions {
            return Err(format!("a part of the transaction is shown at {place}"));
        }
        shown.place = place;
        Ok(place)
    }

    /// Stores the progress of the whole: no table is told to hold more than it shows.
    ///
    /// # Errors
    /// What is wrong about it.
    fn store(&mut self, progress: &Progress) -> std::result::Result<(), String> {
        if progress.position < self.progress.position {
            return Err(format!("the sink goes back from {:?} to {:?}", self.progress.position, progress.position));
        }
        for (table, shown) in self.tables.iter().enumerate() {
            let (before, after) = (self.place_of(table, &self.progress), self.place_of(table, progress));
            if after < before {
                return Err(format!("table {table} goes back from {before} to {after}"));
            }
            let told = self.told(table, progress);
            let (is_read, due) = (self.tape.has_snapshot, self.tape.until(table, after));
            if is_read && told.is_none_or(|told| told.state == TableState::Reading) {
                continue;
            }
            let is_whole = told.is_none_or(|told| shown.floor.is_some_and(|floor| floor >= told.floor.mark));
            if shown.log < due || !is_whole {
                return Err(format!("table {table} is told to hold {due} rows at {after}, and shows {}", shown.log));
            }
        }
        self.progress = progress.clone();
        Ok(())
    }
}
