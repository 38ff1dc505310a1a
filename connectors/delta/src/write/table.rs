//! One table of the running sink: opens it, applies changes to its rows, and commits them with the place in the
//! log that they reach. Knows nothing of other tables.

use crate::changelog::Changelog;
use crate::config::{Settings, mode_changed};
use crate::encode::file::PartWriter;
use crate::error::Result;
use crate::layout::{Earlier, Evolution, Layout, Mode, Widening, feed_columns};
use crate::log::{Commit, Table, Weight, new_table_id};
use crate::mirror::{IndexHome, Mirror};
use crate::parts::Parts;
use crate::store::TableStore;
use crate::write::compacting::Compacting;
use crate::write::declaring::stats_columns;
use crate::write::found::{Found, Identity, POSITION_DOMAIN, Place, count_held, index_directory};
use crate::write::opening::{Fitted, fit};
use crate::write::widening::Widened;
use crate::write::{filling, no_floor, telling};
use std::sync::Arc;
use tidewire_core::{Batch, Change, Error, Mark, Op, Position, TableSchema};

const OPERATION: &str = "STREAMING UPDATE";

/// The rows of a table, by its mode.
pub(super) enum Rows {
    Mirror(Box<Mirror>),
    Changelog(Changelog),
}

/// One table of the running sink.
pub(crate) struct TableWriter {
    /// The sink's.
    of_sink: Arc<Settings>,
    /// Those of this table.
    pub(super) settings: Arc<Settings>,
    pub(super) identity: Arc<Identity>,
    pub(super) store: TableStore,
    pub(super) table: Option<Table>,
    pub(super) schema: Arc<TableSchema>,
    pub(super) layout: Layout,
    pub(super) parts: Parts,
    pub(super) rows: Rows,
    pub(super) home: IndexHome,
    /// The index holds the table's rows.
    pub(super) is_loaded: bool,
    /// A snapshot is being read: nothing may be shown.
    pub(super) is_reading: bool,
    /// The next commit removes every file that is live now.
    pub(super) replaces_all: bool,
    pub(super) metadata_due: bool,
    /// Files from before have narrower types, and have to be written anew before the next commit.
    pub(super) rewrite_due: bool,
    /// Changes at or before this place are in the table.
    applied: Mark,
    /// The place that the table itself tells. It never goes back, whatever the progress says.
    place: Option<Position>,
    snapshot_floor: Option<Position>,
    pub(super) snapshot_due: Option<Position>,
    native_id: u64,
    pub(super) compacting: Compacting,
    /// The operator knows that rows are missing.
    pub(super) is_unseen_told: bool,
}

impl TableWriter {
    /// Goes on with the table that was found, or prepares to create it; `first` is the first change that it needs,
    /// of this version of the source's schema.
    ///
    /// # Errors
    /// When the source's schema no longer fits.
    pub(crate) fn open(
        settings: Arc<Settings>,
        identity: Arc<Identity>,
        found: Found,
        schema: &Arc<TableSchema>,
        first: Op,
    ) -> Result<TableWriter> {
        let (of_sink, settings) = (Arc::clone(&settings), settings.of_table(schema)?);
        let mode = settings.mode;
        let Found { store, table } = found;
        let (table, place) = table.unzip();
        let found = table.as_ref().zip(place.as_ref().map(Place::mode));
        let Fitted { layout, evolution, metadata_due } = fit(&settings, schema, &store, found, first)?;
        of_sink.tell_keyless(schema);
        telling::tell(&schema.name, &evolution);
        let table_id = table.as_ref().map_or_else(new_table_id, |table| table.metadata_id().to_owned());
        let directory = index_directory(&store);
        let home = IndexHome { directory, table_id };
        let rows = match mode {
            Mode::Mirror | Mode::History => Rows::Mirror(Box::new(Mirror::new(schema, &layout, &home)?)),
            Mode::Changelog => Rows::Changelog(Changelog::default()),
        };
        let mut parts = Parts::new(store.clone(), layout.columns.clone(), stats_columns(&layout, mode));
        parts.partition_by(&layout.partition, home.directory.as_deref());
        if !settings.deletion_vectors {
            parts.limit_files(settings.file_bytes);
        }
        if settings.change_data_feed {
            parts.feed_changes();
        }
        Ok(TableWriter {
            is_loaded: table.is_none() || !mode.keeps_keys(),
            rewrite_due: evolution.has_wider_columns() && settings.widening == Widening::Rewrite,
            of_sink,
            settings,
            identity,
            store,
            table,
            schema: Arc::clone(schema),
            layout,
            parts,
            rows,
            home,
            is_reading: false,
            replaces_all: false,
            metadata_due,
            applied: place.as_ref().map_or(Mark::default(), |place| place.position.mark),
            place: place.as_ref().map(|place| place.position.clone()),
            native_id: place.as_ref().map_or(schema.native_id, |place| place.native_id),
            snapshot_floor: place.and_then(|place| place.snapshot_floor),
            snapshot_due: None,
            compacting: Compacting::new(),
            is_unseen_told: false,
        })
    }

    /// Applies changes of this table, in order; those that it holds already are dropped.
    pub(crate) fn apply(&mut self, batch: &Batch, changes: &[&Change]) -> Result<()> {
        let held = count_held(batch, changes, self.applied);
        let Some((_, changes)) = changes.split_at_checked(held) else { return Ok(()) };
        for run in changes.chunk_by(|a, b| a.table == b.table && is_row(a.op) && is_row(b.op)) {
            let Some(first) = run.first() else { continue };
            if let Some(schema) = batch.table(first)
                && !Arc::ptr_eq(schema, &self.schema)
            {
                self.change_schema(schema, first.op)?;
            }
            self.refuse_other_table(first.op)?;
            match first.op {
                Op::SnapshotStart => self.start_snapshot()?,
                Op::SnapshotEnd => self.end_snapshot(batch)?,
                Op::Truncate if self.settings.mode == Mode::Mirror => self.empty()?,
                Op::Truncate if self.settings.mode == Mode::History => self.end_versions(batch, first)?,
                Op::Schema | Op::Message | Op::Ddl => {}
                _ => self.apply_rows(batch, run)?,
            }
        }
        Ok(())
    }

    /// Bytes of rows that wait in memory.
    pub(crate) fn buffered_bytes(&self) -> usize {
        let beside = match &self.rows {
            Rows::Mirror(mirror) => mirror.buffered_bytes(),
            Rows::Changelog(_) => 0,
        };
        self.parts.buffered_bytes() + beside
    }

    /// Bytes of rows that wait for more of their partition.
    pub(crate) fn held_bytes(&self) -> usize {
        self.parts.held_bytes()
    }

    /// Writes some of these.
    pub(crate) fn write_held(&mut self) -> Result<()> {
        self.parts.write_held()
    }

    /// Bytes of encoded rows that wait in memory for their row group's end.
    pub(crate) fn writer_bytes(&self) -> usize {
        self.parts.writer_bytes()
    }

    /// Bytes that wait in memory for the open file's end.
    pub(crate) fn upload_bytes(&self) -> usize {
        self.parts.upload_bytes()
    }

    /// Number of open files.
    pub(crate) fn open_files(&self) -> usize {
        self.parts.open_files()
    }

    /// Size of the open files, if there are any.
    pub(crate) fn open_file_bytes(&self) -> Option<usize> {
        self.parts.open_file_bytes()
    }

    /// Writes the open row group out.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        self.parts.end_row_group()
    }

    /// Bytes of the key index that wait in memory.
    pub(crate) fn index_bytes(&self) -> usize {
        match &self.rows {
            Rows::Mirror(mirror) => mirror.index_bytes(),
            Rows::Changelog(_) => 0,
        }
    }

    /// Runs of the key index, their bytes, and the entries of the whole.
    pub(crate) fn index_sizes(&self) -> (u64, u64, u64) {
        match &self.rows {
            Rows::Mirror(mirror) => mirror.index_sizes(),
            Rows::Changelog(_) => (0, 0, 0),
        }
    }

    /// Has the key index write to disk what it holds in memory.
    pub(crate) fn spill_index(&mut self) -> Result<()> {
        match &mut self.rows {
            Rows::Mirror(mirror) => mirror.spill_index(&mut self.parts),
            Rows::Changelog(_) => Ok(()),
        }
    }

    /// Whether the next commit shows a snapshot.
    pub(crate) fn has_snapshot_to_publish(&self) -> bool {
        self.snapshot_due.is_some() && !self.is_reading
    }

    /// Moves the rows in memory to a data file.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.rows {
            Rows::Mirror(mirror) => mirror.flush(&mut self.parts),
            Rows::Changelog(_) => self.parts.flush().map(|_| ()),
        }
    }

    /// Shows everything applied so far, in one Delta commit; `position` is where the source's log now stands.
    pub(crate) fn commit(&mut self, position: Option<&Position>) -> Result<()> {
        if self.is_reading {
            return Ok(());
        }
        self.close().map_err(|error| self.or_taken_away(error))?;
        self.allow_nulls();
        let mut widened = self.rewrite_files()?;
        if !self.has_changes() {
            self.rewrite_due = false;
            return Ok(());
        }
        self.settle_feed(&mut widened)?;
        let floor = self.snapshot_due.as_ref().or(self.snapshot_floor.as_ref());
        let places = position.into_iter().chain(floor).chain(&self.place);
        let reached = places.max().cloned().ok_or_else(|| no_floor(&self.schema.name))?;
        let may_follow = self.may_follow_others(&widened);
        let (mut commit, mut touched) = self.take_commit(&reached, widened)?;
        let rewritten = match self.settings.deletion_vectors {
            true => None,
            false => Some(self.rewrite(&mut commit)?),
        };
        if self.table.is_some() {
            self.commit_among_others(commit, &mut touched, may_follow)?;
        } else {
            let others = self.settings.foreign_writes;
            self.table = Some(Table::create_among(self.store.clone(), others, self.new_table(), &commit)?);
        }
        self.follow_commit(touched)?;
        rewritten.map_or(Ok(()), |rewritten| self.follow_rewrite(rewritten))?;
        self.applied = self.applied.max(reached.mark);
        self.place = Some(reached);
        self.snapshot_floor = self.snapshot_due.take().or_else(|| self.snapshot_floor.take());
        self.replaces_all = false;
        (self.metadata_due, self.rewrite_due) = (false, false);
        self.forget_filling();
        Ok(())
    }

    /// What its commits have written since the last call for changes of rows.
    pub(crate) fn take_weight(&mut self) -> Weight {
        self.table.as_mut().map(Table::take_weight).unwrap_or_default()
    }

    /// Whether a snapshot of it is being read.
    pub(crate) fn is_reading(&self) -> bool {
        self.is_reading || self.snapshot_due.is_some()
    }

    /// The version that it shows, and the place that this tells; `None` before its first commit.
    pub(crate) fn standing(&self) -> Option<(i64, Mark)> {
        let (table, place) = self.table.as_ref().zip(self.place.as_ref())?;
        Some((table.version(), place.mark))
    }

    /// The newest version that it has committed; `None` before the first.
    pub(crate) fn own_version(&self) -> Option<i64> {
        self.table.as_ref().map(Table::own_version)
    }

    /// House-keeping of the key index, whose merges go on where no commit follows.
    pub(crate) fn poll_index(&mut self) -> Result<()> {
        match &mut self.rows {
            Rows::Mirror(mirror) if self.is_loaded && self.parts.is_empty() => mirror.poll_index(&self.parts),
            _ => Ok(()),
        }
    }

    /// Whether `maintain` has something to do.
    pub(crate) fn is_maintenance_due(&self) -> bool {
        self.table.as_ref().is_some_and(Table::is_maintenance_due)
    }

    /// House-keeping of the table's log.
    pub(crate) fn maintain(&mut self) -> Result<()> {
        self.table.as_mut().map_or(Ok(()), Table::maintain)
    }

    /// Sees to it that the index holds the table's rows.
    fn load(&mut self) -> Result<()> {
        if let (false, Rows::Mirror(mirror), Some(table)) = (self.is_loaded, &mut self.rows, &mut self.table) {
            let loaded = mirror.load(table, &mut self.parts, &self.layout)?;
            let (rows, rows_read, bytes) = (loaded.rows, loaded.rows_read, loaded.index_bytes);
            tracing::info!(table = %self.schema.name, rows, rows_read, bytes, "key index ready");
        }
        self.is_loaded = true;
        Ok(())
    }

    fn apply_rows(&mut self, batch: &Batch, run: &[&Change]) -> Result<()> {
        self.load()?;
        match &mut self.rows {
            Rows::Mirror(mirror) => {
                let has_other_rows = self.table.as_ref().is_some_and(Table::has_other_rows);
                self.parts.feed_from_files(has_other_rows && !self.replaces_all);
                mirror.apply(&mut self.parts, &self.layout, batch, run, self.table.as_mut())
            }
            Rows::Changelog(changelog) => changelog.apply(&mut self.parts, &self.layout, batch, run),
        }
    }

    /// Moves the rows in memory to the open file and ends it.
    pub(crate) fn close(&mut self) -> Result<()> {
        match &mut self.rows {
            Rows::Mirror(mirror) => mirror.close(&mut self.parts),
            Rows::Changelog(_) => self.parts.close().map(|_| ()),
        }
    }

    /// Ends what is largest in this respect: the file of one partition, or all that is open.
    pub(crate) fn close_some(&mut self, bytes: impl Fn(&PartWriter) -> usize) -> Result<()> {
        if self.parts.close_largest(bytes)? { Ok(()) } else { self.close() }
    }

    /// A column may be free of null at the source today and not have been so when a change was made. A reader must
    /// not take the table's word for it then.
    fn allow_nulls(&mut self) {
        for at in self.parts.take_nulls() {
            if let Some(column) = self.layout.columns.get_mut(at).filter(|column| !column.nullable) {
                column.nullable = true;
                self.metadata_due = true;
            }
        }
    }

    /// The table is empty from here on. Nothing of what it held needs to be looked at.
    fn empty(&mut self) -> Result<()> {
        self.compacting.give_up();
        if let Rows::Mirror(mirror) = &mut self.rows {
            mirror.clear(&mut self.parts)?;
            self.replaces_all = true;
            self.is_loaded = true;
        }
        Ok(())
    }

    /// As `empty`, for a history: what it holds stays, and has ended.
    fn end_versions(&mut self, batch: &Batch, change: &Change) -> Result<()> {
        self.load()?;
        let Rows::Mirror(mirror) = &mut self.rows else { return Ok(()) };
        mirror.end_all(&mut self.parts, &self.layout, batch, change, self.table.as_mut())
    }

    /// The rows of a snapshot take the place of all that were there, which in a history are the past.
    fn refuse_second_snapshot(&self) -> Result<()> {
        let shows_rows = self.table.as_ref().is_some_and(|table| table.files().next().is_some());
        // What comes from a snapshot that was never shown may go.
        let holds_changes = !self.parts.is_empty() && !self.is_reading && self.snapshot_due.is_none();
        if self.settings.mode != Mode::History || !(shows_rows || holds_changes) {
            return Ok(());
        }
        Err(Error::operator(
            "history_snapshot",
            format!("a new snapshot of `{}` would take the place of the history that is there", self.schema.name),
        )
        .with_remedy("give the sink a new name and location, where another history begins with the snapshot")
        .with_table(self.schema.name.clone()))
    }

    fn start_snapshot(&mut self) -> Result<()> {
        self.refuse_second_snapshot()?;
        self.compacting.give_up();
        match &mut self.rows {
            Rows::Mirror(mirror) => {
                let rules = self.settings.rules();
                let (layout, evolution) = match &self.table {
                    Some(_) => self.layout.read_anew(&self.schema, rules)?,
                    None => (Layout::create(&self.schema, rules)?, Evolution::default()),
                };
                let layout = layout.partition(&self.schema, &self.settings.partition_by)?;
                if self.settings.change_data_feed {
                    feed_columns(&self.schema, &layout.columns)?;
                }
                telling::tell(&self.schema.name, &evolution);
                self.metadata_due |= evolution.metadata_changed || layout.key_names() != self.layout.key_names();
                mirror.clear(&mut self.parts)?;
                mirror.renew(&self.schema, &layout, &self.home)?;
                self.parts.set_columns(layout.columns.clone(), layout.key.clone());
                self.parts.partition_by(&layout.partition, self.home.directory.as_deref());
                self.layout = layout;
                self.replaces_all = true;
                self.is_loaded = true;
            }
            // The rows of a reading that broke off come again.
            Rows::Changelog(changelog) if self.is_reading => {
                self.parts.discard();
                changelog.take_appended();
            }
            Rows::Changelog(_) => {}
        }
        self.is_reading = true;
        self.native_id = self.schema.native_id;
        Ok(())
    }

    /// A table that was dropped and made anew under the same name has other rows, and the log does not say which.
    fn refuse_other_table(&self, op: Op) -> Result<()> {
        let is_same = self.schema.native_id == self.native_id || !self.settings.mode.keeps_keys();
        if is_same || op == Op::SnapshotStart || !(is_row(op) || op == Op::Truncate) {
            return Ok(());
        }
        Err(Error::operator(
            "table_recreated",
            format!("`{}` was dropped and created anew at the source", self.schema.name),
        )
        .with_remedy("give the sink a new name and location, which reads its tables anew")
        .with_table(self.schema.name.clone()))
    }

    fn end_snapshot(&mut self, batch: &Batch) -> Result<()> {
        let floor = batch.source.snapshot_floor.as_ref().ok_or_else(|| no_floor(&self.schema.name))?;
        self.is_reading = false;
        self.applied = self.applied.max(floor.mark);
        self.snapshot_due = Some(floor.clone());
        Ok(())
    }

    fn change_schema(&mut self, schema: &Arc<TableSchema>, op: Op) -> Result<()> {
        if **schema == *self.schema {
            self.schema = Arc::clone(schema);
            return Ok(());
        }
        let mode = self.settings.mode;
        let wanted = self.of_sink.of_table(schema)?.mode;
        if wanted != mode {
            return Err(mode_changed(schema, mode.name(), wanted));
        }
        if mode.keeps_keys() && op == Op::SnapshotStart {
            // The snapshot brings its own layout.
            self.schema = Arc::clone(schema);
            return Ok(());
        }
        let (mut layout, mut evolution) = self.layout.evolve(schema, self.settings.rules())?;
        let earlier = Earlier { layout: &self.layout, schema: Some(&self.schema), has_rows: self.has_rows() };
        filling::settle(&self.settings, schema, earlier, &mut layout, &mut evolution)?;
        let layout = layout.partition(schema, &self.settings.partition_by)?;
        if mode.keeps_keys() && layout.key_names() != self.layout.key_names() {
            return Err(key_changed(schema));
        }
        let has_files = self.table.as_ref().is_some_and(|table| table.files().next().is_some());
        if (has_files && !self.replaces_all) || !self.parts.is_empty() {
            layout.refuse_other_rows(schema, &evolution)?;
        }
        if self.settings.change_data_feed {
            feed_columns(schema, &layout.columns)?;
        }
        if evolution.has_other_columns() || evolution.old_rows_forgotten {
            // The rows so far go to a file of the columns that there were; readers see null in those that are new, unless they
            // get a value there before the next commit.
            self.close()?;
            self.parts.set_columns(layout.columns.clone(), stats_columns(&layout, mode));
            // They may lie elsewhere among the columns.
            self.parts.partition_by(&layout.partition, self.home.directory.as_deref());
        }
        if evolution.has_wider_columns() {
            self.types_widened();
            if let Rows::Mirror(mirror) = &mut self.rows {
                let key = (schema.as_ref(), &layout);
                mirror.widen_key(key, &self.home, &mut self.parts, self.table.as_mut(), self.is_loaded)?;
            }
        }
        telling::tell(&schema.name, &evolution);
        self.metadata_due |= evolution.metadata_changed;
        self.layout = layout;
        self.schema = Arc::clone(schema);
        if self.has_filling() {
            self.compacting.give_up();
        }
        Ok(())
    }

    /// The commit, and the files with their ordinals whose rows it adds or deletes.
    fn take_commit(&mut self, reached: &Position, widened: Widened) -> Result<(Commit, Vec<(u32, String)>)> {
        let mut sealed = self.parts.seal();
        let moves = self.moved_files(&widened, &sealed.deletes);
        let Widened { adds, mut removes, deletes, .. } = widened;
        removes.extend(self.files_to_replace());
        sealed.adds.extend(adds);
        for (path, rows) in deletes {
            *sealed.deletes.entry(path).or_default() |= rows;
        }
        let place = Place {
            sink: self.identity.sink.to_string(),
            source: self.identity.source.to_string(),
            table: self.schema.name.to_string(),
            mode: self.settings.mode.name().to_owned(),
            native_id: self.native_id,
            position: reached.clone(),
            snapshot_floor: self.snapshot_due.clone().or_else(|| self.snapshot_floor.clone()),
        };
        let json = |cause: serde_json::Error| Error::bug("delta_json", "write a table's place").with_cause(cause);
        let version = i64::try_from(reached.mark.major).map_err(|_| {
            Error::bug("position_range", format!("position `{reached}` is beyond what a table's version can count"))
        })?;
        let metadata = self.metadata_due.then(|| self.new_metadata());
        let blind_append = sealed.deletes.is_empty() && removes.is_empty() && self.settings.mode == Mode::Changelog;
        let commit = Commit {
            operation: OPERATION,
            adds: sealed.adds,
            removes,
            deletes: sealed.deletes,
            changes: sealed.changes,
            metadata: metadata.filter(|_| self.table.is_some()),
            txn: (self.identity.app_id(), version),
            domains: vec![(POSITION_DOMAIN.to_owned(), serde_json::to_string(&place).map_err(json)?)],
            user_metadata: Some(self.user_metadata(reached)),
            blind_append,
            only_moves: false,
            moves,
        };
        Ok((commit, sealed.touched))
    }

    /// What the commit has made of the files: rows that it deleted, files that it emptied.
    fn follow_commit(&mut self, touched: Vec<(u32, String)>) -> Result<()> {
        self.compacting.rows_changed();
        let (Rows::Mirror(mirror), Some(table)) = (&mut self.rows, &mut self.table) else { return Ok(()) };
        for (ordinal, path) in touched {
            match table.file(&path) {
                Some(_) => {
                    let deleted = Arc::clone(table.deleted_rows(&path)?);
                    self.parts.files_mut().set_deleted(ordinal, deleted);
                }
                None => self.parts.files_mut().forget(ordinal),
            }
        }
        mirror.committed(&self.parts, table.own_version())
    }
}

fn is_row(op: Op) -> bool {
    matches!(op, Op::Insert | Op::Update | Op::Delete | Op::Read)
}

pub(super) fn key_changed(schema: &TableSchema) -> Error {
    Error::operator("key_changed", format!("the key of `{}` is not the one that the table was built with", schema.name))
        .with_remedy("give the sink a new name and location, which reads its tables anew")
        .with_table(schema.name.clone())
}
