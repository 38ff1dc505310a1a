//! Changes as rows of a changelog: every change is appended, with what happened and where in the log. Knows
//! nothing of commits, files or keys.
//!
//! `_op` is `c`, `u`, `d`, `r` or `t`; `_position` sorts as the log does; (`_position`, `_ordinal`) is unique per
//! change. A column that the log did not carry is null and named in `_unchanged`, so that this null is never
//! taken for the database's (PG-31); the old row fills it where the change has one.

use crate::encode::column::Unfit;
use crate::error::Result;
use crate::layout::{Layout, UNCHANGED_COLUMN};
use crate::mirror::unfit_error;
use crate::parts::{Parts, push};
use std::fmt::Write as _;
use tidewire_core::calendar::Timestamp;
use tidewire_core::{Batch, Change, Error, Op, TableSchema, Value};

/// The appender of one changelog table.
#[derive(Debug, Default)]
pub(crate) struct Changelog {
    position: String,
    unchanged: Vec<usize>,
    appended: u64,
}

/// Where our own columns stand.
struct Own {
    op: usize,
    position: usize,
    transaction: usize,
    ordinal: usize,
    commit_time: usize,
    unchanged: usize,
}

impl Own {
    fn of(layout: &Layout) -> Option<Own> {
        Some(Own {
            op: layout.own("_op")?,
            position: layout.own("_position")?,
            transaction: layout.own("_transaction")?,
            ordinal: layout.own("_ordinal")?,
            commit_time: layout.own("_commit_time")?,
            unchanged: layout.own(UNCHANGED_COLUMN)?,
        })
    }
}

impl Changelog {
    /// Appends changes of one table version, in order.
    pub(crate) fn apply(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        batch: &Batch,
        changes: &[&Change],
    ) -> Result<()> {
        let Some(schema) = changes.first().and_then(|change| batch.table(change)) else { return Ok(()) };
        let own =
            Own::of(layout).ok_or_else(|| Error::bug("changelog_columns", "a changelog without its own columns"))?;
        for change in changes {
            let op = match change.op {
                Op::Insert => "c",
                Op::Update => "u",
                Op::Delete => "d",
                Op::Read => "r",
                Op::Truncate => "t",
                Op::SnapshotStart | Op::SnapshotEnd | Op::Message | Op::Schema | Op::Ddl => continue,
            };
            self.append_columns(parts, layout, schema, batch, change)?;
            self.append_own(parts, &own, layout, batch, change, op)
                .map_err(|unfit| Error::bug("changelog_columns", format!("append a change: {unfit:?}")))?;
            parts.end_row();
            self.appended += 1;
        }
        Ok(())
    }

    /// Rows appended since the last call.
    pub(crate) fn take_appended(&mut self) -> u64 {
        std::mem::take(&mut self.appended)
    }

    fn append_columns(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        schema: &TableSchema,
        batch: &Batch,
        change: &Change,
    ) -> Result<()> {
        let (before, after) = (batch.before(change), batch.after(change));
        let cell = |image: Option<&[tidewire_core::Cell]>, at: usize| {
            image.and_then(|cells| cells.get(at)).map_or(Value::Unknown, |cell| cell.value(batch.arena()))
        };
        let value = |at: usize| match cell(after, at) {
            _ if change.op == Op::Truncate => Value::Null,
            Value::Unknown => cell(before, at),
            known => known,
        };
        if parts.is_partitioned() {
            let held = |at: usize| match layout.sources.get(at).copied().flatten().map_or(Value::Null, value) {
                Value::Unknown => Value::Null,
                known => known,
            };
            let chosen = parts.choose(None, held);
            chosen.map_err(|(at, unfit)| unfit_error(schema, layout, at, unfit, value))?;
        }
        self.unchanged.clear();
        for (at, source) in layout.sources.iter().enumerate() {
            let Some(source) = source else {
                // Our own columns follow; a dropped one is null from here on.
                if layout.columns.get(at).is_some_and(|column| column.dropped) {
                    push(parts.columns_mut(), at, Value::Null)
                        .map_err(|unfit| unfit_error(schema, layout, at, unfit, value))?;
                }
                continue;
            };
            let mut held = value(*source);
            if held == Value::Unknown {
                self.unchanged.push(at);
                held = Value::Null;
            }
            push(parts.columns_mut(), at, held).map_err(|unfit| unfit_error(schema, layout, at, unfit, value))?;
        }
        Ok(())
    }

    fn append_own(
        &mut self,
        parts: &mut Parts,
        own: &Own,
        layout: &Layout,
        batch: &Batch,
        change: &Change,
        op: &str,
    ) -> std::result::Result<(), Unfit> {
        let columns = parts.columns_mut();
        let transaction = batch.transaction(change);
        let floor = batch.source.snapshot_floor.as_ref().map(|floor| floor.mark);
        let mark = if change.op == Op::Read { floor.unwrap_or_default() } else { batch.mark(change) };
        self.position.clear();
        write!(self.position, "{mark}").map_err(|_| Unfit::Kind)?;
        push(columns, own.op, Value::Text(op.as_bytes()))?;
        push(columns, own.position, Value::Text(self.position.as_bytes()))?;
        push(columns, own.transaction, transaction.map_or(Value::Null, |t| Value::Text(t.id.as_bytes())))?;
        push(columns, own.ordinal, Value::Int(i64::try_from(change.ordinal).map_err(|_| Unfit::Digits)?))?;
        let time = transaction.map(|t| Timestamp::from_epoch_micros(t.commit_time_micros));
        push(columns, own.commit_time, time.map_or(Value::Null, Value::TimestampTz))?;
        let column = columns.get_mut(own.unchanged).ok_or(Unfit::Kind)?;
        if self.unchanged.is_empty() {
            column.push_null();
            return Ok(());
        }
        let names = self.unchanged.iter().filter_map(|at| layout.columns.get(*at));
        column.push_texts(names.map(|column| column.name.as_bytes()))
    }
}
