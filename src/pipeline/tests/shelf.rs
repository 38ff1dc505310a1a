//! The sinks of the simulation: they refuse, fail before and after their commit, dawdle, and cannot take a table.

use super::Dice;
use super::tape::TABLES;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{Batch, Error, Finding, Mark, Progress, Result, Sink, SinkConnector, TableSchema, Value};

/// A row that a reader sees: where it was in the log, its table, its value.
pub(super) type Row = (Mark, String, i64);

/// What a sink shows its readers.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) rows: Vec<Row>,
    pub(super) progress: Progress,
}

pub(super) struct ShelfConnector {
    pub(super) shelf: Arc<Mutex<Shelf>>,
    pub(super) dice: Dice,
    pub(super) can_split: bool,
    pub(super) dawdles: bool,
    /// Takes no change of table `u` at or after this place.
    pub(super) refuses: Option<Mark>,
}

struct ShelfSink {
    shelf: Arc<Mutex<Shelf>>,
    dice: Dice,
    dawdles: bool,
    refuses: Option<Mark>,
    written: Vec<Row>,
}

impl SinkConnector for ShelfConnector {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: Duration::from_millis(3),
            commit_changes: 7,
            commit_bytes: 1 << 20,
            commit_when_idle: self.can_split,
            can_split_transactions: self.can_split,
        }
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, _source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        if self.dice.roll(8) == 0 {
            return Err(Error::retry("refused", "the sink refused"));
        }
        let progress = self.shelf.lock().unwrap().progress.clone();
        let sink = ShelfSink {
            shelf: Arc::clone(&self.shelf),
            dice: self.dice.clone(),
            dawdles: self.dawdles,
            refuses: self.refuses,
            written: Vec::new(),
        };
        Ok((Box::new(sink), progress))
    }
}

impl Sink for ShelfSink {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        if self.dawdles && self.dice.roll(10) == 0 {
            // The fault under test is a slow sink; nothing is waited for.
            std::thread::park_timeout(Duration::from_millis(30));
        }
        if self.dice.roll(60) == 0 {
            return Err(Error::retry("broken", "the sink broke while writing"));
        }
        for change in selection.of(batch) {
            let Some([Value::Int(value)]) = batch.after(change).map(|cells| [cells[0].value(batch.arena())]) else {
                panic!("a change without its row");
            };
            let (mark, table) = (batch.mark(change), batch.table(change).unwrap().name.clone());
            if &*table.table == TABLES[1] && self.refuses.is_some_and(|from| mark >= from) {
                return Err(Error::operator("poison", "a row that does not fit").with_table(table));
            }
            self.written.push((mark, table.to_string(), value));
        }
        Ok(())
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        if self.dice.roll(30) == 0 {
            return Err(Error::retry("broken", "the sink broke before its commit"));
        }
        {
            let mut shelf = self.shelf.lock().unwrap();
            shelf.rows.append(&mut self.written);
            shelf.progress = progress.clone();
        }
        if self.dice.roll(30) == 0 {
            return Err(Error::retry("broken", "the answer to a commit that happened was lost"));
        }
        Ok(())
    }
}
