//! The records of one change of a row: key, envelope, tombstone, and the three records of a changed key.

use super::fault::row_error;
use super::json::write_int;
use super::source_block::{Place, SourceBlock, write_micros_and_nanos};
use super::table::{RowFault, TablePlan, Unknown, close_object};
use super::transaction::{IdForm, OpenTransaction};
use super::value::ValueWriter;
use super::{Buffers, Output, Record};
use crate::format::{Envelope, FormatSettings, Profile};
use tidewire_core::batch::Before;
use tidewire_core::{Batch, Cell, Op, Result};

const NEW_KEY: &str = "__debezium.newkey";
const OLD_KEY: &str = "__debezium.oldkey";

/// The end of an envelope: when the daemon had read the change. The same for a whole batch.
#[derive(Debug, Default)]
pub(super) struct Clock {
    micros: i64,
    /// `,"ts_ms":n,"ts_us":n,"ts_ns":n}`.
    tail: Vec<u8>,
}

impl Clock {
    pub(super) fn set(&mut self, micros: i64) {
        if micros == self.micros && !self.tail.is_empty() {
            return;
        }
        self.micros = micros;
        self.tail.clear();
        self.tail.extend_from_slice(b",\"ts_ms\":");
        write_int(&mut self.tail, micros.div_euclid(1_000));
        write_micros_and_nanos(&mut self.tail, micros);
        self.tail.push(b'}');
    }
}

/// Everything that the records of one change are made from.
pub(super) struct RowContext<'a> {
    pub(super) settings: &'a FormatSettings,
    pub(super) source: &'a SourceBlock,
    pub(super) plan: &'a TablePlan,
    pub(super) batch: &'a Batch,
    pub(super) place: Place<'a>,
    pub(super) clock: &'a Clock,
    pub(super) id_form: IdForm,
}

/// The images and the operation of one envelope.
#[derive(Clone, Copy)]
struct Event<'a> {
    op: &'static [u8; 1],
    before: Option<&'a [Cell]>,
    after: Option<&'a [Cell]>,
}

type Headers<'a> = &'a [(&'a str, &'a [u8])];

impl RowContext<'_> {
    pub(super) fn encode(
        &self,
        buffers: &mut Buffers,
        mut open: Option<&mut OpenTransaction>,
        out: &mut Output<'_>,
    ) -> Result<()> {
        let change = self.place.change;
        let after = self.batch.after(change);
        let before = self.batch.before(change).filter(|_| change.before_kind != Before::Absent);
        buffers.key.clear();
        let event = match change.op {
            Op::Insert => Event { op: b"c", before: None, after },
            Op::Read => Event { op: b"r", before: None, after },
            Op::Delete => Event { op: b"d", before, after: None },
            Op::Truncate => {
                let event = Event { op: b"t", before: None, after: None };
                self.write_value(buffers, event, open)?;
                return self.emit(None, Some(&buffers.value), &[], out);
            }
            _ => {
                if let (Some(before), Some(after)) = (before, after)
                    && self.key_changed(buffers, before, after)?
                {
                    return self.encode_key_change(buffers, (before, after), open, out);
                }
                Event { op: b"u", before, after }
            }
        };
        if event.before.or(event.after).is_none() {
            return Err(row_error(self.plan, &[], RowFault::Shape));
        }
        if self.plan.has_key() {
            let cells = event.after.or(event.before).unwrap_or_default();
            self.write_key(&mut buffers.key, &mut buffers.scratch, cells, before)?;
        }
        self.write_value(buffers, event, open.take())?;
        let key = self.plan.has_key().then_some(&*buffers.key);
        self.emit(key, Some(&buffers.value), &[], out)?;
        // Debezium writes a tombstone without a key, too, which says nothing to anyone.
        let says_something = key.is_some() || self.settings.profile == Profile::Debezium3;
        if change.op == Op::Delete && self.settings.tombstones && says_something {
            self.emit(key, None, &[], out)?;
        }
        Ok(())
    }

    // A delete of the old key, its tombstone, and a create of the new one. `buffers` holds both keys.
    fn encode_key_change(
        &self,
        buffers: &mut Buffers,
        (before, after): (&[Cell], &[Cell]),
        mut open: Option<&mut OpenTransaction>,
        out: &mut Output<'_>,
    ) -> Result<()> {
        self.write_value(buffers, Event { op: b"d", before: Some(before), after: None }, open.as_deref_mut())?;
        let to_new = [(NEW_KEY, self.payload(&buffers.key))];
        self.emit(Some(&buffers.old_key), Some(&buffers.value), &to_new, out)?;
        if self.settings.tombstones {
            self.emit(Some(&buffers.old_key), None, &to_new, out)?;
        }
        self.write_value(buffers, Event { op: b"c", before: None, after: Some(after) }, open)?;
        let to_old = [(OLD_KEY, self.payload(&buffers.old_key))];
        self.emit(Some(&buffers.key), Some(&buffers.value), &to_old, out)
    }

    fn emit(&self, key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers<'_>, out: &mut Output<'_>) -> Result<()> {
        let timestamp_ms = self.place.micros.div_euclid(1_000);
        out(Record { topic: self.plan.topic, key, value, headers, timestamp_ms })
    }

    // Leaves both keys in the buffers when it says yes.
    fn key_changed(&self, buffers: &mut Buffers, before: &[Cell], after: &[Cell]) -> Result<bool> {
        let arena = self.batch.arena();
        let same = |index: &usize| match (before.get(*index), after.get(*index)) {
            (Some(old), Some(new)) => {
                old == new
                    || old.is_unknown()
                    || new.is_unknown()
                    || old.tag() == new.tag() && !old.bytes(arena).is_empty() && old.bytes(arena) == new.bytes(arena)
            }
            _ => true,
        };
        if self.plan.schema.key.iter().all(same) {
            return Ok(false);
        }
        // Cells that differ may still be one value (arrays point to their elements): what is written decides.
        buffers.old_key.clear();
        self.write_key(&mut buffers.old_key, &mut buffers.scratch, before, Some(after))?;
        self.write_key(&mut buffers.key, &mut buffers.scratch, after, Some(before))?;
        let changed = buffers.old_key != buffers.key;
        if !changed {
            buffers.key.clear();
        }
        Ok(changed)
    }

    fn write_key(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        cells: &[Cell],
        other: Option<&[Cell]>,
    ) -> Result<()> {
        out.extend_from_slice(&self.plan.key_open);
        let mut writer = self.writer(out, scratch);
        let written = self.plan.write_key(&mut writer, cells, other, self.batch.arena());
        written.map_err(|fault| row_error(self.plan, &[], fault))?;
        if !self.plan.key_open.is_empty() {
            out.push(b'}');
        }
        Ok(())
    }

    fn writer<'b>(&self, out: &'b mut Vec<u8>, scratch: &'b mut Vec<u8>) -> ValueWriter<'b> {
        ValueWriter {
            out,
            scratch,
            profile: self.settings.profile,
            array_bounds: self.settings.array_bounds,
            streamed: self.place.change.op != Op::Read,
        }
    }

    // A key without its schema block.
    fn payload<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        match key.strip_prefix(&*self.plan.key_open) {
            Some(payload) if !self.plan.key_open.is_empty() => payload.strip_suffix(b"}").unwrap_or(payload),
            _ => key,
        }
    }

    fn write_value(&self, buffers: &mut Buffers, event: Event<'_>, open: Option<&mut OpenTransaction>) -> Result<()> {
        let Buffers { key, value, scratch, .. } = buffers;
        value.clear();
        value.extend_from_slice(&self.plan.value_open);
        let written = match self.settings.envelope {
            Envelope::Debezium => self.write_envelope(value, scratch, event, open),
            Envelope::Flat => {
                // The member is not shown, the counts of the END record still are.
                open.map(|open| open.count(&self.plan.collection));
                self.write_flat(value, scratch, event)
            }
        };
        written.map_err(|fault| row_error(self.plan, self.payload(key), fault))?;
        if !self.plan.value_open.is_empty() {
            value.push(b'}');
        }
        Ok(())
    }

    fn write_envelope(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        event: Event<'_>,
        open: Option<&mut OpenTransaction>,
    ) -> std::result::Result<(), RowFault> {
        out.extend_from_slice(b"{\"before\":");
        self.write_image(out, scratch, event.before, self.unknown_before())?;
        out.extend_from_slice(b",\"after\":");
        self.write_image(out, scratch, event.after, Unknown::Placeholder)?;
        out.extend_from_slice(b",\"source\":");
        self.source.write(out, &self.plan.names, self.place);
        match open {
            Some(open) => {
                out.extend_from_slice(b",\"transaction\":");
                let counts = open.count(&self.plan.collection);
                open.write_block(out, self.id_form, self.place.change.offset, counts);
                out.extend_from_slice(b",\"op\":\"");
            }
            None => out.extend_from_slice(b",\"transaction\":null,\"op\":\""),
        }
        out.extend_from_slice(event.op);
        out.push(b'"');
        out.extend_from_slice(&self.clock.tail);
        Ok(())
    }

    fn write_flat(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        event: Event<'_>,
    ) -> std::result::Result<(), RowFault> {
        let start = out.len();
        let unknown = if event.after.is_some() { Unknown::Placeholder } else { self.unknown_before() };
        if let Some(cells) = event.after.or(event.before) {
            let mut writer = self.writer(out, scratch);
            self.plan.write_members(&mut writer, cells, self.batch.arena(), unknown)?;
        }
        let deleted: &[u8] = if event.op == b"d" { b",\"__deleted\":\"true\"" } else { b",\"__deleted\":\"false\"" };
        out.extend_from_slice(deleted);
        out.extend_from_slice(b",\"__op\":\"");
        out.extend_from_slice(event.op);
        out.extend_from_slice(b"\",\"__source_ts_ms\":");
        write_int(out, self.place.micros.div_euclid(1_000));
        if let Some(field) = self.source.offset_field() {
            out.extend_from_slice(b",\"__");
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b"\":");
            write_int(out, self.place.change.offset);
        }
        close_object(out, start);
        Ok(())
    }

    fn write_image(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        cells: Option<&[Cell]>,
        unknown: Unknown,
    ) -> std::result::Result<(), RowFault> {
        let Some(cells) = cells else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        let start = out.len();
        let mut writer = self.writer(out, scratch);
        self.plan.write_members(&mut writer, cells, self.batch.arena(), unknown)?;
        close_object(out, start);
        Ok(())
    }

    // An old row of which the log carries only the key.
    fn unknown_before(&self) -> Unknown {
        match (self.place.change.before_kind, self.settings.profile) {
            (Before::Key, Profile::Debezium3) => Unknown::Null,
            (Before::Key, Profile::Tidewire) => Unknown::Omit,
            _ => Unknown::Placeholder,
        }
    }
}
