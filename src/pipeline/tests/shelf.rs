//! The sinks of the simulation: they refuse, fail before and after their commit, dawdle, and cannot take a table. What
//! they show their readers is compared with the tape at every commit, so a shelf is no more than a place for each table.
//! Those that commit table by table are in `tables`.

use super::dice::Dice;
use super::fate::Hand;
use super::planted::Plant;
use super::tables::TablesSink;
use super::tape::{Row, Tape, is_inside};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{
    Batch, Change, Error, Finding, Mark, Op, Progress, Result, Sink, SinkConnector, TableProgress, TableSchema,
    TableState, Value,
};

/// What a sink shows its readers, beyond the life of the daemon.
pub(super) struct Shelf {
    pub(super) tape: Arc<Tape>,
    /// By table.
    pub(super) tables: Vec<Shown>,
    pub(super) progress: Progress,
    pub(super) wants: SinkCapabilities,
    /// Each table is committed by itself, with a place of its own.
    is_by_table: bool,
}

/// What is shown of a table: rows of the tape from its first one on, those and no others.
#[derive(Clone, Default)]
pub(super) struct Shown {
    /// So many came by the log, or lie before the place from which its log counts.
    pub(super) log: usize,
    /// So many came by a snapshot that was read to its end.
    read: usize,
    /// So many have come by the one that is being read.
    reading: Option<usize>,
    /// What the table says of itself, where each is committed by itself: its place, and that of its last snapshot.
    pub(super) place: Mark,
    pub(super) floor: Option<Mark>,
}

/// What is written before a commit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Log(Row),
    Read(Row),
    /// A table is read, and has been up to this floor.
    Start(usize),
    End(usize, Mark),
}

impl Shelf {
    pub(super) fn new(tape: Arc<Tape>, wants: SinkCapabilities, is_by_table: bool) -> Shelf {
        let tables = vec![Shown::default(); tape.rows.len()];
        Shelf { tables, tape, progress: Progress::default(), wants, is_by_table }
    }

    /// Whether everything is shown, and every table is where the others are.
    pub(super) fn is_complete(&self) -> bool {
        let is_whole = |(shown, rows): (&Shown, &Vec<Row>)| shown.log == rows.len();
        self.lets_go() >= self.tape.end()
            && self.progress.behind.is_empty()
            && self.tables.iter().zip(&self.tape.rows).all(is_whole)
    }

    /// Everything up to here is shown.
    pub(super) fn lets_go(&self) -> Mark {
        self.progress.lets_go().map_or(Mark::default(), |place| place.mark)
    }

    pub(super) fn told<'a>(&self, table: usize, progress: &'a Progress) -> Option<&'a TableProgress> {
        progress.tables.get(&self.tape.schemas[table][0].name.to_string())
    }

    /// Up to where the log of a table is held: changes before its floor are among the rows that were read.
    pub(super) fn place_of(&self, table: usize, progress: &Progress) -> Mark {
        let floor = self.told(table, progress).map(|told| told.floor.mark);
        let place = progress.position_of(&self.tape.schemas[table][0].name).map(|place| place.mark);
        match floor {
            None if self.tape.has_snapshot => Mark::default(),
            floor => floor.max(place).unwrap_or_default(),
        }
    }

    pub(super) fn take(&mut self, entry: Entry) -> std::result::Result<(), String> {
        match entry {
            Entry::Log(row) => {
                let shown = &mut self.tables[row.table];
                let due = self.tape.rows[row.table].get(shown.log);
                if due != Some(&row) {
                    return Err(format!("{row:?} came where {due:?} was due"));
                }
                shown.log += 1;
            }
            Entry::Start(table) => {
                if self.told(table, &self.progress).is_some_and(|told| told.state == TableState::Done) {
                    return Err(format!("table {table} is read again"));
                }
                self.tables[table].reading = Some(0);
            }
            Entry::Read(row) => {
                let shown = &mut self.tables[row.table];
                let due = shown.reading.and_then(|read| self.tape.rows[row.table].get(read));
                if due != Some(&row) {
                    return Err(format!("{row:?} was read where {due:?} was due"));
                }
                shown.reading = shown.reading.map(|read| read + 1);
            }
            Entry::End(table, floor) => {
                let (shown, due) = (&mut self.tables[table], self.tape.until(table, floor));
                let read = shown.reading.take();
                if read != Some(due) {
                    return Err(format!("{read:?} rows of table {table} were read, and not {due}"));
                }
                shown.read = due;
            }
        }
        Ok(())
    }

    /// Makes what was written and its progress visible, as one.
    ///
    /// # Errors
    /// What is wrong about it.
    fn show(&mut self, written: &[Entry], progress: &Progress) -> std::result::Result<(), String> {
        let marks = written.iter().filter_map(|entry| if let Entry::Log(row) = entry { Some(row.mark) } else { None });
        if !marks.is_sorted_by(|before, after| before < after) {
            return Err(format!("out of order: {written:?}"));
        }
        for table in 0..self.tables.len() {
            // One that is read a second time keeps the floor of the first reading.
            if let (None, Some(told)) = (self.told(table, &self.progress), self.told(table, progress)) {
                self.tables[table].log = self.tape.until(table, told.floor.mark);
            }
        }
        for entry in written {
            self.take(*entry)?;
        }
        for table in 0..self.tables.len() {
            self.compare(table, progress)?;
        }
        if progress.position < self.progress.position {
            return Err(format!("the sink goes back from {:?} to {:?}", self.progress.position, progress.position));
        }
        self.progress = progress.clone();
        Ok(())
    }

    /// Whether a table shows what its progress tells.
    fn compare(&self, table: usize, progress: &Progress) -> std::result::Result<(), String> {
        let (before, after) = (self.place_of(table, &self.progress), self.place_of(table, progress));
        if after < before {
            return Err(format!("table {table} goes back from {before} to {after}"));
        }
        let (shown, due) = (&self.tables[table], self.tape.until(table, after));
        if shown.log != due {
            return Err(format!("{} rows of table {table} at {after}, and not {due}", shown.log));
        }
        if is_inside(after) && !self.wants.can_split_transactions {
            return Err(format!("a part of the transaction is shown at {after}"));
        }
        if let Some(told) = self.told(table, progress) {
            let is_done = told.state == TableState::Done;
            if is_done && (shown.reading.is_some() || shown.read < self.tape.until(table, told.floor.mark)) {
                return Err(format!("table {table} is called whole and is not"));
            }
        }
        Ok(())
    }
}

/// What a sink cannot take in one life of the daemon.
#[derive(Clone, Copy, Default)]
pub(super) struct Refusal {
    /// A table from a place on.
    pub(super) table: Option<(usize, Mark)>,
    /// Anything from a place on: it halts as a whole.
    pub(super) all: Option<Mark>,
}

pub(super) struct ShelfConnector {
    pub(super) shelf: Arc<Mutex<Shelf>>,
    pub(super) hand: Hand,
    pub(super) refusal: Refusal,
    pub(super) plant: Option<Plant>,
}

struct ShelfSink {
    reader: Reader,
    written: Vec<Entry>,
}

/// What a sink needs to understand what it is given.
pub(super) struct Reader {
    pub(super) shelf: Arc<Mutex<Shelf>>,
    pub(super) tape: Arc<Tape>,
    pub(super) hand: Hand,
    refusal: Refusal,
}

impl SinkConnector for ShelfConnector {
    fn capabilities(&self) -> SinkCapabilities {
        self.shelf.lock().unwrap().wants
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, _source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        self.hand.step();
        self.hand.dawdle();
        if self.hand.fails("open refused") {
            return Err(Error::retry("refused", "the sink refused"));
        }
        let (tape, progress, is_by_table) = {
            let shelf = self.shelf.lock().unwrap();
            (Arc::clone(&shelf.tape), shelf.progress.clone(), shelf.is_by_table)
        };
        let (shelf, hand, refusal) = (Arc::clone(&self.shelf), self.hand.clone(), self.refusal);
        let reader = Reader { shelf, tape, hand, refusal };
        self.hand.step();
        if is_by_table {
            let (sink, progress) = TablesSink::open(reader, progress, self.plant);
            return Ok((Box::new(sink), progress));
        }
        Ok((Box::new(ShelfSink { reader, written: Vec::new() }), progress))
    }
}

impl Reader {
    /// Reads a change, which has to be whole.
    pub(super) fn read(&self, batch: &Batch, change: &Change) -> Entry {
        let schema = batch.table(change).unwrap();
        let (table, version) = (self.tape.table(schema), schema.version.0);
        if matches!(change.op, Op::SnapshotStart | Op::SnapshotEnd) {
            let floor = batch.source.snapshot_floor.as_ref().unwrap().mark;
            let is_start = change.op == Op::SnapshotStart;
            if is_start && self.shelf.lock().unwrap().progress.tables.contains_key(&schema.name.to_string()) {
                self.hand.fate.note("read again");
            }
            return if is_start { Entry::Start(table) } else { Entry::End(table, floor) };
        }
        let cells = batch.after(change).unwrap().iter().map(|cell| match cell.value(batch.arena()) {
            Value::Int(value) => value,
            other => panic!("{other:?} on the tape"),
        });
        let cells: Vec<i64> = cells.collect();
        if cells.len() != version as usize || cells.windows(2).any(|two| two[0] + 1 != two[1]) {
            self.hand.condemn(format!("a row of version {version} with the cells {cells:?}"));
        }
        let mut row = Row { mark: batch.mark(change), table, version, value: cells[0] };
        if change.op == Op::Read {
            // Rows that are read have no place of their own.
            row.mark = self.tape.row(row.value).map_or(Mark::MAX, |row| row.mark);
            return Entry::Read(row);
        }
        Entry::Log(row)
    }

    /// Whether the sink can take it.
    pub(super) fn accept(&self, entry: Entry) -> Result<()> {
        let (Entry::Read(row) | Entry::Log(row)) = entry else { return Ok(()) };
        if self.refusal.table.is_some_and(|(refused, from)| refused == row.table && row.mark >= from) {
            self.hand.fate.note("table refused");
            let table = self.tape.schemas[row.table][0].name.clone();
            return Err(Error::operator("poison", "a row that does not fit").with_table(table));
        }
        if self.refusal.all.is_some_and(|from| row.mark >= from) {
            self.hand.fate.note("sink halted");
            return Err(Error::operator("full", "the sink takes no more"));
        }
        Ok(())
    }

    /// A batch comes.
    pub(super) fn begin_write(&self) -> Result<()> {
        self.hand.step();
        self.hand.dawdle();
        if self.hand.fails("write failed") {
            return Err(Error::retry("broken", "the sink broke while writing"));
        }
        Ok(())
    }

    /// What was written is to be shown.
    pub(super) fn begin_commit(&self) -> Result<()> {
        self.hand.step();
        self.hand.dawdle();
        if self.hand.fails("commit failed") {
            return Err(Error::retry("broken", "the sink broke before its commit"));
        }
        Ok(())
    }

    /// What was written is shown.
    pub(super) fn end_commit(&self) -> Result<()> {
        self.hand.step();
        self.hand.dawdle();
        if self.hand.fails("answer lost") {
            return Err(Error::retry("broken", "the answer to a commit that happened was lost"));
        }
        Ok(())
    }

    /// The sink rests.
    pub(super) fn maintain(&self) -> Result<Option<Duration>> {
        self.hand.step();
        self.hand.dawdle();
        if self.hand.fails("keeping house failed") {
            return Err(Error::retry("broken", "the sink broke while it kept house"));
        }
        Ok(self.hand.fate.dice.pick(&[None, None, Some(Duration::ZERO), Some(Duration::from_secs(1))]))
    }
}

impl Sink for ShelfSink {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        self.reader.begin_write()?;
        for change in selection.of(batch) {
            let entry = self.reader.read(batch, change);
            self.reader.accept(entry)?;
            self.written.push(entry);
        }
        self.reader.hand.step();
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.reader.begin_commit()?;
        let shown = self.reader.shelf.lock().unwrap().show(&self.written, progress);
        if let Err(wrong) = shown {
            self.reader.hand.condemn(wrong);
        }
        self.written.clear();
        self.reader.end_commit()
    }

    fn maintain(&mut self) -> Result<Option<Duration>> {
        self.reader.maintain()
    }
}

/// What a sink may want of its worker.
pub(super) fn wants(dice: &Dice) -> SinkCapabilities {
    SinkCapabilities {
        needs_key: false,
        commit_interval: Duration::from_millis(dice.pick(&[0, 3, 40, 700])),
        commit_changes: dice.pick(&[1, 7, 50]),
        commit_bytes: dice.pick(&[64, 1 << 20]),
        commit_when_idle: dice.roll(2) == 0,
        can_split_transactions: dice.roll(2) == 0,
    }
}
