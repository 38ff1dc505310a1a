//! Changes to rows of a mirror: one row per key, the newest wins. Finds the row that a change supersedes through
//! the index, marks it deleted and adds the new one. Knows nothing of commits, files or positions.
//!
//! The index says where a row of a key was put, and that stays true for ever; whether the row is still there is what
//! `parts` knows: the deletions of the table's commits and of the changes since. So an index from before a crash needs
//! only the rows of files that it has not seen.
//!
//! A history is a mirror that keeps what it deletes, as a copy that says when it ended (`history`). The index knows of
//! the versions that are current, one a key.

mod adopting;
mod ending;
mod faults;
mod feeding;
mod load;
mod present;
mod rows;
mod widening;

pub(crate) use ending::current_rows;
pub(crate) use faults::unfit_error;
pub(crate) use feeding::{Filled, Told};
pub(crate) use load::Teller;

use crate::encode::key::{KeyCodec, KeyId};
use crate::encode::row::{IdCodec, RowCodec};
use crate::error::Result;
use crate::history::Versions;
use crate::index::{Binding, Index, Mark, Opened, PreparedRun, RowLocation, RunBuilder};
use crate::layout::Layout;
use crate::log::Table;
use crate::parts::{Moved, Parts};
use faults::key_fault;
use present::{Known, Present};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tidewire_core::{Batch, Cell, Change, Error, Op, TableSchema, Value};

/// Memory that a fact of the index takes before it is on disk, in bytes, nearly.
const FACT_BYTES: usize = 24;
/// Memory for such facts while the index is loaded, in bytes; later all indexes of a sink share a limit.
const LOAD_BYTES_MAX: usize = 24 << 20;

/// What was done since the last commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rows added for new keys.
    pub(crate) inserted: u64,
    /// Rows that superseded another.
    pub(crate) updated: u64,
    /// Rows deleted.
    pub(crate) deleted: u64,
    /// Updates and deletes of rows that the table did not have.
    pub(crate) unseen: u64,
}

/// Where a mirror's index is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexHome {
    /// A folder of its own; `None` to keep it in memory.
    pub(crate) directory: Option<PathBuf>,
    /// The id of the table that it is of.
    pub(crate) table_id: String,
}

/// What `Mirror::load` found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Rows of the table's files.
    pub(crate) rows: u64,
    /// Those of them that were read, because the index did not know their file.
    pub(crate) rows_read: u64,
    /// Bytes of the index on disk.
    pub(crate) index_bytes: u64,
}

/// The rows of one mirrored table.
pub(crate) struct Mirror {
    codec: IdCodec,
    index: Index,
    /// Files, by ordinal, that the index has known from before and that `load` has not looked for yet.
    covered: BTreeMap<u32, String>,
    /// The ids of the buffered rows, for when they move; `None` for versions that have ended.
    buffered: Vec<Option<KeyId>>,
    present: Present,
    counts: Counts,
}

/// A change beside what is needed to read it.
#[derive(Clone, Copy)]
struct Row<'a> {
    batch: &'a Batch,
    schema: &'a TableSchema,
    op: Op,
    before: Option<&'a [Cell]>,
    after: Option<&'a [Cell]>,
}

impl Mirror {
    /// A mirror of a table that has no rows, or whose rows `load` will look for.
    ///
    /// # Errors
    /// When the table has no key, or one that cannot be compared.
    pub(crate) fn new(schema: &TableSchema, layout: &Layout, home: &IndexHome) -> Result<Mirror> {
        let mut codec = Mirror::codec_of(schema, layout)?;
        let binding = Binding { table: home.table_id.clone(), key: codec.form(), narrow: codec.is_narrow() };
        let Opened { index, covered, anew } = Index::open(home.directory.as_deref(), binding)?;
        if let Some(why) = anew {
            tracing::debug!(table = %schema.name, why, "key index begins anew");
        }
        codec.set_seed(index.seed());
        let (buffered, present, counts) = (Vec::new(), Present::default(), Counts::default());
        Ok(Mirror { codec, index, covered, buffered, present, counts })
    }

    /// What makes ids of the table's keys.
    fn codec_of(schema: &TableSchema, layout: &Layout) -> Result<IdCodec> {
        if layout.number().is_some() {
            return Ok(IdCodec::Row(RowCodec::default()));
        }
        let types = schema.key_columns().zip(&layout.key);
        let types =
            types.filter_map(|((_, source), at)| Some((&source.data_type, &layout.columns.get(*at)?.column_type)));
        let codec = KeyCodec::new(types).filter(|_| layout.key.len() == schema.key.len());
        codec.map(IdCodec::Key).ok_or_else(|| {
            Error::operator(
                "key_type",
                format!("the key of `{}` holds an array, which cannot be looked up", schema.name),
            )
            .with_remedy("add the key's column to `text_columns`, or use `mode = \"changelog\"`")
            .with_table(schema.name.clone())
        })
    }

    /// As `new`, for a table that gets other rows and maybe another key.
    pub(crate) fn renew(&mut self, schema: &TableSchema, layout: &Layout, home: &IndexHome) -> Result<()> {
        // Two indexes must not have one folder at the same time.
        *self = Mirror::new(schema, layout, &IndexHome::default())?;
        *self = Mirror::new(schema, layout, home)?;
        Ok(())
    }

    /// Applies changes of one table version, in order.
    pub(crate) fn apply(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        batch: &Batch,
        changes: &[&Change],
        table: Option<&mut Table>,
    ) -> Result<()> {
        let Some(schema) = changes.first().and_then(|change| batch.table(change)) else { return Ok(()) };
        if layout.number().is_some() {
            return self.apply_rows(parts, layout, (batch, schema), changes, table);
        }
        let row = |change: &Change| Row::of(batch, schema, change);
        let mut has = Vec::with_capacity(changes.len());
        let mut asked = Vec::with_capacity(changes.len());
        for change in changes {
            let (new, old) = self.ids_of(row(change))?;
            asked.extend(new.into_iter().chain(old));
            has.push((new.is_some(), old.is_some()));
        }
        let known = self.know(&asked, table, parts)?;
        let applied =
            self.apply_known(parts, layout, batch, changes.iter().map(|change| (*change, row(change))), (&has, &known));
        // Whatever came of the changes: rows that were added are in `parts`.
        let told = self.tell_index();
        applied.and(told)
    }

    /// Applies changes whose keys are present; `has` tells whether each has a new key and an old one, `known` are those.
    fn apply_known<'a>(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        batch: &Batch,
        changes: impl Iterator<Item = (&'a Change, Row<'a>)>,
        (has, known): (&[(bool, bool)], &[Known]),
    ) -> Result<()> {
        let mut known = known.iter().copied();
        let mut versions = Versions::of(layout)?;
        for ((change, row), (has_new, has_old)) in changes.zip(has) {
            if let Some(versions) = &mut versions {
                versions.turn_to(batch, change);
            }
            let versions = versions.as_ref();
            let new = if *has_new { known.next() } else { None };
            let old = if *has_old { known.next() } else { None };
            match (new, old) {
                (Some(new), old) => self.upsert(parts, layout, versions, row, (new, old))?,
                (None, Some(old)) => self.delete(parts, layout, versions, row, old)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Forgets all rows: the table is emptied here and now.
    pub(crate) fn clear(&mut self, parts: &mut Parts) -> Result<()> {
        parts.files_mut().skip_to(self.index.next_file());
        parts.discard();
        self.covered.clear();
        self.buffered.clear();
        self.index.clear()
    }

    /// Writes the buffer to a file, and follows the rows that move.
    pub(crate) fn flush(&mut self, parts: &mut Parts) -> Result<()> {
        let moved = parts.flush()?;
        self.follow(moved)
    }

    /// Writes the buffer and closes the file.
    pub(crate) fn close(&mut self, parts: &mut Parts) -> Result<()> {
        let moved = parts.close()?;
        self.follow(moved)
    }

    /// Memory that is kept beside the rows in the buffer, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffered.len() * size_of::<Option<KeyId>>()
    }

    /// What was done since the last call.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Memory that the index takes for what it has not begun to write to disk, in bytes.
    pub(crate) fn index_bytes(&self) -> usize {
        self.index.fresh_entries() * FACT_BYTES
    }

    /// Runs of the index, their bytes, and the entries of the whole.
    pub(crate) fn index_sizes(&self) -> (u64, u64, u64) {
        (self.index.run_count() as u64, self.index.run_bytes(), self.index.entries())
    }

    /// Has what the index holds in memory written to disk. Not in the midst of changes: it moves rows.
    pub(crate) fn spill_index(&mut self, parts: &mut Parts) -> Result<()> {
        // Rows in the buffer may still move.
        self.flush(parts)?;
        self.index.spill(parts.files().named().map(|(ordinal, path)| (ordinal, path.to_owned())).collect())
    }

    /// A commit, of this version, has shown all changes: the index takes over what its own threads have done, and lets it be
    /// seen by the next start.
    pub(crate) fn committed(&mut self, parts: &Parts, version: i64) -> Result<()> {
        self.index.reach(version);
        self.index.committed();
        self.poll_index(parts)
    }

    /// Takes over what the index' own threads have done, and has them go on.
    pub(crate) fn poll_index(&mut self, parts: &Parts) -> Result<()> {
        self.index.spare_ordinals(parts.files().ordinals().next())?;
        self.index.poll(parts.files().gone())
    }

    /// What a rewriting of data files needs to tell the index where their rows went; everything that the index learns
    /// from now on is newer than that.
    pub(crate) fn prepare_facts(&mut self) -> (IdCodec, RunBuilder, Mark) {
        let mark = self.index.mark();
        (self.codec.clone(), self.index.run_builder(), mark)
    }

    /// Where the rows of rewritten files are since this version.
    pub(crate) fn add_facts(
        &mut self,
        mark: Mark,
        facts: PreparedRun,
        covered: Vec<(u32, String)>,
        parts: &Parts,
        version: i64,
    ) -> Result<()> {
        self.index.reach(version);
        self.index.add_run(mark, facts, covered, parts.files().gone())
    }

    fn prefetch(&mut self, ids: &[KeyId], table: Option<&mut Table>, parts: &mut Parts) -> Result<()> {
        self.index.prefetch(ids)?;
        let Some(table) = table.filter(|_| parts.files().has_unread()) else { return Ok(()) };
        let mut unread: BTreeMap<u32, String> = BTreeMap::new();
        for id in ids {
            for RowLocation { file, .. } in self.index.candidates(*id)? {
                if let Some(path) = parts.files().unread(file).filter(|_| !unread.contains_key(&file)) {
                    unread.insert(file, path.to_owned());
                }
            }
        }
        // After a start this may be every file of the table, and in a bucket each vector is a request.
        table.read_deleted(unread.values().map(String::as_str))?;
        for (file, path) in unread {
            let deleted = Arc::clone(table.deleted_rows(&path)?);
            parts.files_mut().set_deleted(file, deleted);
        }
        Ok(())
    }

    /// Where the row of a key lies now; the key must have been prefetched.
    fn find(&self, parts: &Parts, key: KeyId) -> Result<Option<RowLocation>> {
        Ok(self.index.candidates(key)?.find(|location| parts.is_live(*location)))
    }

    fn follow(&mut self, moved: Option<Moved>) -> Result<()> {
        let ids = std::mem::take(&mut self.buffered);
        let Some(Moved { file, base, places }) = moved else { return Ok(()) };
        for (row, (id, place)) in (0u32..).zip(ids.into_iter().zip(places)) {
            let from = RowLocation { file, row: base + row };
            if let (Some(id), Some(place)) = (id, place.filter(|place| *place != from)) {
                self.present.follow(&self.index, id, (from, place));
                self.index.insert(id, place);
            }
        }
        Ok(())
    }

    /// The keys of the new and of the old row, as far as the change has them.
    fn ids_of(&mut self, row: Row<'_>) -> Result<(Option<KeyId>, Option<KeyId>)> {
        let (wants_new, wants_old) = match row.op {
            Op::Insert | Op::Read => (true, false),
            Op::Update => (true, row.before.is_some()),
            Op::Delete => (false, true),
            Op::Truncate | Op::SnapshotStart | Op::SnapshotEnd | Op::Message | Op::Schema | Op::Ddl => (false, false),
        };
        let new = self.id_of(wants_new, row.schema, |at| row.new_value(at))?;
        let old = self.id_of(wants_old, row.schema, |at| row.old_value(at))?;
        Ok((new, old))
    }

    fn id_of<'a>(
        &mut self,
        wanted: bool,
        schema: &TableSchema,
        value: impl Fn(usize) -> Value<'a>,
    ) -> Result<Option<KeyId>> {
        if !wanted {
            return Ok(None);
        }
        let IdCodec::Key(codec) = &mut self.codec else {
            return Err(Error::bug("row_identity", "a row of a table without a key was looked for by it"));
        };
        let id = codec.id_of_values(schema.key.iter().map(|at| value(*at)));
        id.map(Some).map_err(|fault| key_fault(schema, fault, value))
    }

    fn upsert(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        versions: Option<&Versions>,
        row: Row<'_>,
        (new, old): (Known, Option<Known>),
    ) -> Result<()> {
        let old = old.filter(|old| *old != new);
        let mut left = old.and_then(|old| self.present.row(old));
        let mut superseded = self.present.row(new);
        // A snapshot reads rows, it does not change them.
        let versions_end = versions.filter(|_| row.op != Op::Read);
        if row.has_unknown() || versions_end.is_some() {
            for at in [left, superseded].into_iter().flatten() {
                self.make_readable(parts, at)?;
            }
            left = old.and_then(|old| self.present.row(old));
            superseded = self.present.row(new);
        }
        let carried = if old.is_some() { left } else { superseded };
        add(parts, layout, row, carried)?;
        let follows = match superseded {
            Some(row) => parts.was_there(row),
            None => parts.returns(new.id),
        };
        if follows {
            parts.follows_old_row();
        }
        let location = match versions {
            Some(versions) => versions.open(parts)?,
            None => parts.end_row(),
        };
        self.buffered.push(Some(new.id));
        if let (Some(gone), Some(old)) = (left, old) {
            Mirror::leaves(parts, layout, (old.id, gone), false, row, true)?;
        }
        if let Some(gone) = superseded {
            Mirror::leaves(parts, layout, (new.id, gone), true, row, old.is_none())?;
        }
        for gone in left.into_iter().chain(superseded) {
            match versions_end {
                Some(versions) => self.end(parts, versions, gone)?,
                None => parts.delete(gone),
            }
        }
        if let Some(old) = old {
            self.present.set(old, None);
        }
        self.present.set(new, Some(location));
        match (row.op, left.or(superseded)) {
            (_, Some(_)) => self.counts.updated += 1,
            (Op::Update, None) => self.counts.unseen += 1,
            (_, None) => self.counts.inserted += 1,
        }
        Ok(())
    }

    fn delete(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        versions: Option<&Versions>,
        row: Row<'_>,
        old: Known,
    ) -> Result<()> {
        let mut gone = self.present.row(old);
        if let (Some(row), Some(_)) = (gone, versions) {
            self.make_readable(parts, row)?;
            gone = self.present.row(old);
        }
        if let Some(gone) = gone {
            Mirror::leaves(parts, layout, (old.id, gone), false, row, true)?;
        }
        match (gone, versions) {
            (Some(gone), Some(versions)) => self.end(parts, versions, gone)?,
            (Some(gone), None) => parts.delete(gone),
            (None, _) => {}
        }
        match gone {
            Some(_) => self.counts.deleted += 1,
            None => self.counts.unseen += 1,
        }
        self.present.set(old, None);
        Ok(())
    }

    /// Ends the file in the making that a row lies in, if it does: only then its values can be read. Rows may move.
    fn make_readable(&mut self, parts: &mut Parts, row: RowLocation) -> Result<()> {
        if parts.is_in_open_file(row) && !parts.close_partition_of(row)? {
            self.close(parts)?;
        }
        Ok(())
    }

    /// Puts a copy of a version that ends in its place.
    fn end(&mut self, parts: &mut Parts, versions: &Versions, version: RowLocation) -> Result<()> {
        versions.close(parts, version)?;
        self.buffered.push(None);
        parts.delete(version);
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn of(batch: &'a Batch, schema: &'a TableSchema, change: &Change) -> Row<'a> {
        Row { batch, schema, op: change.op, before: batch.before(change), after: batch.after(change) }
    }

    fn value(self, image: Option<&'a [Cell]>, at: usize) -> Value<'a> {
        image.and_then(|cells| cells.get(at)).map_or(Value::Unknown, |cell| cell.value(self.batch.arena()))
    }

    fn old_value(self, at: usize) -> Value<'a> {
        self.value(self.before, at)
    }

    /// The new value; where the log left it out as unchanged, the old one (PG-33, PG-34).
    fn new_value(self, at: usize) -> Value<'a> {
        match self.value(self.after, at) {
            Value::Unknown => self.old_value(at),
            known => known,
        }
    }

    fn has_unknown(self) -> bool {
        let unknown = |(at, cell): (usize, &Cell)| cell.is_unknown() && self.old_value(at) == Value::Unknown;
        self.after.is_some_and(|cells| cells.iter().enumerate().any(unknown))
    }
}

/// Pushes a row; values that the change does not have come from where the row lay before.
fn add(parts: &mut Parts, layout: &Layout, row: Row<'_>, prior: Option<RowLocation>) -> Result<()> {
    if parts.is_partitioned() {
        let value = |at: usize| layout.sources.get(at).copied().flatten().map_or(Value::Null, |at| row.new_value(at));
        let chosen = parts.choose(prior, value);
        chosen.map_err(|(at, unfit)| unfit_error(row.schema, layout, at, unfit, |source| row.new_value(source)))?;
    }
    for (at, source) in layout.sources.iter().enumerate() {
        // Our own columns follow; a dropped one is null from here on.
        if source.is_none() && !layout.columns.get(at).is_some_and(|column| column.dropped) {
            continue;
        }
        let value = source.map_or(Value::Null, |source| row.new_value(source));
        let pushed = match (value, prior) {
            (Value::Unknown, Some(prior)) => parts.carry(at, prior),
            (value, _) => crate::parts::push(parts.columns_mut(), at, value),
        };
        pushed.map_err(|unfit| unfit_error(row.schema, layout, at, unfit, |source| row.new_value(source)))?;
    }
    Ok(())
}
