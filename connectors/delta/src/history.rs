//! A history's own columns: from when to when a version of a row was the row. Knows nothing of commits, files or keys.
//!
//! A version begins with the change that made it and ends with the next change of its row: `_valid_from` and `_valid_to` are the
//! times at which these were committed, `_from_position` and `_to_position` their places in the log, which sort as the log does
//! and tell versions within one transaction apart. Of a row that a snapshot read nobody knows since when it was so.

use crate::encode::column::Unfit;
use crate::error::Result;
use crate::index::RowLocation;
use crate::layout::Layout;
use crate::parts::{Parts, push};
use std::fmt::Write as _;
use tidewire_core::calendar::Timestamp;
use tidewire_core::{Batch, Change, Error, Op, Value};

/// `_valid_from` of what a snapshot read, in microseconds since 1970: before any log, so that one comparison finds the version of a
/// time. Readers of old calendars refuse years before 1900, and nanoseconds begin in 1677.
const BEFORE_THE_LOG: i64 = 0;

/// A moment in the log, and the columns that keep it.
pub(crate) struct Versions {
    valid_from: usize,
    valid_to: usize,
    current: usize,
    from_position: usize,
    to_position: usize,
    time: Timestamp,
    position: String,
}

impl Versions {
    /// Of this table; `None` when it is no history.
    pub(crate) fn of(layout: &Layout) -> Result<Option<Versions>> {
        let Some(current) = layout.current() else { return Ok(None) };
        let place = |name: &str| {
            layout.own(name).ok_or_else(|| Error::bug("history_columns", format!("a history without `{name}`")))
        };
        Ok(Some(Versions {
            valid_from: place("_valid_from")?,
            valid_to: place("_valid_to")?,
            current,
            from_position: place("_from_position")?,
            to_position: place("_to_position")?,
            time: Timestamp::from_epoch_micros(BEFORE_THE_LOG),
            position: String::new(),
        }))
    }

    /// From here on the moment is that of this change.
    pub(crate) fn turn_to(&mut self, batch: &Batch, change: &Change) {
        let is_read = change.op == Op::Read;
        let transaction = batch.transaction(change).filter(|_| !is_read);
        let micros = transaction.map_or(BEFORE_THE_LOG, |transaction| transaction.commit_time_micros);
        let floor = batch.source.snapshot_floor.as_ref().map(|floor| floor.mark);
        let mark = if is_read { floor.unwrap_or_default() } else { batch.mark(change) };
        self.time = Timestamp::from_epoch_micros(micros);
        self.position.clear();
        // A text cannot refuse what is written to it.
        let _ = write!(self.position, "{mark}");
    }

    /// Ends a row in the making as a version that begins at the moment; its other columns are there.
    pub(crate) fn open(&self, parts: &mut Parts) -> Result<RowLocation> {
        let columns = parts.columns_mut();
        let mut set = |at, value| push(columns, at, value).map_err(|unfit| bad_column(&unfit));
        set(self.valid_from, Value::TimestampTz(self.time))?;
        set(self.valid_to, Value::Null)?;
        set(self.current, Value::Bool(true))?;
        set(self.from_position, Value::Text(self.position.as_bytes()))?;
        set(self.to_position, Value::Null)?;
        Ok(parts.end_row())
    }

    /// Adds a copy of a version that ends at the moment. The version must not lie in the open file.
    pub(crate) fn close(&self, parts: &mut Parts, version: RowLocation) -> Result<()> {
        parts.choose_as(version);
        for at in 0..parts.columns_mut().len() {
            let is_ours = [self.valid_to, self.current, self.to_position].contains(&at);
            let pushed = match at {
                _ if !is_ours => parts.carry_as_shown(at, version),
                at if at == self.valid_to => push(parts.columns_mut(), at, Value::TimestampTz(self.time)),
                at if at == self.current => push(parts.columns_mut(), at, Value::Bool(false)),
                at => push(parts.columns_mut(), at, Value::Text(self.position.as_bytes())),
            };
            pushed.map_err(|unfit| bad_column(&unfit))?;
        }
        parts.end_row();
        Ok(())
    }
}

fn bad_column(unfit: &Unfit) -> Error {
    Error::bug("history_columns", format!("write a version: {unfit:?}"))
}
