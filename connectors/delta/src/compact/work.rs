//! The copying itself: live rows of some files to few new ones, and where each row went. Runs on a thread of its own
//! and touches nothing but the store.

use super::lane::Lane;
use crate::encode::file::PartWriter;
use crate::encode::partition::array_of;
use crate::encode::read::ColumnReader;
use crate::encode::row::IdCodec;
use crate::error::{self, Result};
use crate::index::{PreparedRun, RowLocation, RunBuilder};
use crate::job::give_way;
use crate::log::{NewFile, Partition, Table};
use crate::mirror::current_rows;
use crate::parts::PART_ROWS_MAX;
use crate::parts::files::Ordinals;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_select::filter::filter;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewire_core::Error;

/// A file to be copied, as it was when the work began.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Its ordinal, in a table with a key index.
    pub(crate) ordinal: Option<u32>,
    /// Its path.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Rows, deleted ones included.
    pub(crate) rows: u64,
    /// The deleted ones.
    pub(crate) deleted: Arc<RoaringBitmap>,
    /// What its rows have in the partition columns.
    pub(crate) partition: Partition,
}

/// What the facts of copied rows are made with.
pub(crate) struct Facts {
    /// Makes ids of rows.
    pub(crate) codec: IdCodec,
    /// Positions in `Work::columns` of what it makes them of, in its order.
    pub(crate) identity: Vec<usize>,
    /// Position in `Work::columns` of what tells a history's current rows, the only ones that there are facts of.
    pub(crate) current: Option<usize>,
    /// Collects them.
    pub(crate) run: RunBuilder,
    /// Ordinals for the copies.
    pub(crate) ordinals: Ordinals,
}

/// What is to be copied, and everything that this needs.
pub(crate) struct Work {
    /// The table's directory.
    pub(crate) store: TableStore,
    /// The table's columns.
    pub(crate) columns: Vec<TableColumn>,
    /// Positions in `columns` of those that get statistics.
    pub(crate) stats: Vec<usize>,
    /// The files.
    pub(crate) inputs: Vec<Input>,
    /// For a table with a key index.
    pub(crate) facts: Option<Facts>,
    /// A copy ends before a file with which it would be larger than this, in bytes.
    pub(crate) target_bytes: u64,
    /// Of the sink whose table it is.
    pub(crate) lane: Arc<Lane>,
}

/// A copy.
pub(super) struct Output {
    pub(super) file: NewFile,
    pub(super) ordinal: Option<u32>,
    /// Numbers of the inputs whose rows it holds, each with the row number at which they begin.
    pub(super) pieces: Vec<(usize, u32)>,
}

/// The copies.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) outputs: Vec<Output>,
    pub(super) facts: Option<PreparedRun>,
}

impl Input {
    /// Adds the rows that have been deleted since the work began, as rows of a copy in which the live ones of this file
    /// begin at row `base`.
    pub(super) fn deleted_since(&self, table: &mut Table, base: u32, dead: &mut RoaringBitmap) -> Result<()> {
        if table.file(&self.path).is_none() {
            let kept = self.rows - self.deleted.len();
            dead.insert_range(base..base + u32::try_from(kept).map_err(|_| too_many())?);
            return Ok(());
        }
        let now = Arc::clone(table.deleted_rows(&self.path)?);
        let mut earlier = self.deleted.iter().peekable();
        let mut passed = 0;
        for row in &(now.as_ref() - self.deleted.as_ref()) {
            while earlier.next_if(|earlier| *earlier < row).is_some() {
                passed += 1;
            }
            dead.insert(base + row - passed);
        }
        Ok(())
    }
}

/// Bytes of the files.
pub(super) fn bytes_of(inputs: &[Input]) -> u64 {
    inputs.iter().map(|input| input.size).sum()
}

fn given_up() -> Error {
    Error::retry("delta_compaction", "rewriting data files was given up")
}

/// Copies with their ordinals, and where their rows are.
pub(crate) type Copies = (Vec<(u32, NewFile)>, Option<PreparedRun>);

/// Numbers of inputs by their partition and by which of the table's columns they have.
type Others = BTreeMap<(Partition, Vec<bool>), Vec<usize>>;

/// A copy in the making.
struct Open {
    writer: PartWriter,
    /// Which of the table's columns it has.
    present: Vec<bool>,
    partition: Partition,
    ordinal: Option<u32>,
    pieces: Vec<(usize, u32)>,
}

impl Work {
    /// Copies all files, until `stop` is set: nobody wants the copies then. What it has written when it fails is removed.
    pub(super) fn run(mut self, stop: &AtomicBool) -> Result<Copied> {
        give_way();
        let lane = Arc::clone(&self.lane);
        let Some(_turn) = lane.turn(bytes_of(&self.inputs), self.columns.len(), stop) else { return Err(given_up()) };
        let mut outputs = Vec::new();
        let copied = self.copy(stop, &mut outputs);
        if let Err(error) = copied {
            for output in outputs {
                self.store.delete_unnamed(&output.file.path);
            }
            return Err(error);
        }
        let facts = self.facts.take().map(|facts| facts.run.finish()).transpose()?;
        Ok(Copied { outputs, facts })
    }

    /// As `run`, on the caller's thread and for a commit that waits for it.
    pub(crate) fn run_here(mut self) -> Result<Copies> {
        let mut outputs = Vec::new();
        self.copy(&AtomicBool::new(false), &mut outputs)?;
        let facts = self.facts.take().map(|facts| facts.run.finish()).transpose()?;
        Ok((outputs.into_iter().filter_map(|output| Some((output.ordinal?, output.file))).collect(), facts))
    }

    /// A copy has the columns of its originals, so those with the same ones are copied together, whatever lies between them.
    fn copy(&mut self, stop: &AtomicBool, outputs: &mut Vec<Output>) -> Result<()> {
        let is_live = |number: &usize| self.inputs.get(*number).is_some_and(|input| input.deleted.len() < input.rows);
        let live = (0..self.inputs.len()).filter(is_live).collect();
        let mut others = Others::new();
        self.copy_alike(live, stop, outputs, &mut others)?;
        while let Some((_, alike)) = others.pop_first() {
            self.copy_alike(alike, stop, outputs, &mut others)?;
        }
        Ok(())
    }

    /// Copies the inputs of these numbers that are like the first one; leaves the others.
    fn copy_alike(
        &mut self,
        numbers: Vec<usize>,
        stop: &AtomicBool,
        outputs: &mut Vec<Output>,
        others: &mut Others,
    ) -> Result<()> {
        let mut open: Option<Open> = None;
        for number in numbers {
            let Some(input) = self.inputs.get(number).cloned() else { break };
            let columns = self.columns.iter().collect::<Vec<_>>();
            let reader = ColumnReader::open_whole(&self.store, &input.path, input.size, input.rows, &columns)?;
            let present = reader.present();
            if open.as_ref().is_some_and(|open| open.present != present || open.partition != input.partition) {
                others.entry((input.partition, present)).or_default().push(number);
                continue;
            }
            let is_full = |open: &Open| {
                (open.writer.size_bytes() as u64).saturating_add(input.size) > self.target_bytes
                    || open.writer.rows().saturating_add(input.rows) > PART_ROWS_MAX
            };
            if open.as_ref().is_some_and(is_full) {
                outputs.extend(open.take().map(Open::finish).transpose()?);
            }
            let open = match &mut open {
                Some(open) => open,
                none => none.insert(self.begin(present, &input.partition)?),
            };
            let base = u32::try_from(open.writer.rows()).map_err(|_| too_many())?;
            open.pieces.push((number, base));
            self.copy_file(stop, &input, reader, open)?;
        }
        outputs.extend(open.map(Open::finish).transpose()?);
        Ok(())
    }

    fn begin(&self, present: Vec<bool>, partition: &Partition) -> Result<Open> {
        let (columns, stats) = (&self.columns, &self.stats);
        let writer = PartWriter::create_some(&self.store, columns, stats, &present, Arc::clone(partition))?;
        let ordinal = self.facts.as_ref().map(|facts| facts.ordinals.take());
        Ok(Open { writer, present, partition: Arc::clone(partition), ordinal, pieces: Vec::new() })
    }

    fn copy_file(&mut self, stop: &AtomicBool, input: &Input, mut reader: ColumnReader, open: &mut Open) -> Result<()> {
        let mut first = 0u32;
        let mut ids = Vec::new();
        while let Some(arrays) = reader.next_arrays()? {
            if stop.load(Ordering::Relaxed) {
                return Err(given_up());
            }
            let rows = arrays.iter().flatten().map(|array| array.len()).next().unwrap_or(0);
            let next = first + u32::try_from(rows).map_err(|_| too_many())?;
            self.lane.read(input.size.saturating_mul(rows as u64) / input.rows.max(1), stop);
            let arrays = live_rows(arrays, &input.deleted, first..next)?;
            first = next;
            let base = u32::try_from(open.writer.rows()).map_err(|_| too_many())?;
            if let (Some(facts), Some(file)) = (&mut self.facts, open.ordinal) {
                ids.clear();
                let length = arrays.iter().flatten().map(|array| array.len()).next().unwrap_or(0);
                let part = |at: &usize| match (arrays.get(*at)?, self.columns.get(*at)?) {
                    (None, column) if input.partition.contains_key(&**column.file_name()) => {
                        array_of(column, &input.partition, length).map(Some)
                    }
                    (array, _) => Some(array.clone()),
                };
                let identity = facts.identity.iter().map(part).collect::<Option<Vec<_>>>();
                let read = identity.and_then(|columns| facts.codec.ids_of_arrays(&columns, &mut ids));
                let bad =
                    || error::damaged(&self.store.place(&input.path), "its key columns are not those of the table");
                read.ok_or_else(bad)?;
                let current = facts.current.map(|at| current_rows(arrays.get(at).cloned().flatten()).ok_or_else(bad));
                let current = current.transpose()?;
                for (at, (row, id)) in (base..).zip(&ids).enumerate() {
                    if current.as_ref().is_none_or(|current| current.value(at)) {
                        facts.run.push(*id, RowLocation { file, row })?;
                    }
                }
            }
            let arrays = arrays.into_iter().flatten().collect::<Vec<ArrayRef>>();
            if arrays.first().is_some_and(|array| !array.is_empty()) {
                open.writer.write(arrays)?;
            }
        }
        Ok(())
    }
}

impl Open {
    fn finish(self) -> Result<Output> {
        Ok(Output { file: self.writer.finish()?, ordinal: self.ordinal, pieces: self.pieces })
    }
}

/// The rows of a batch that are not deleted.
fn live_rows(
    arrays: Vec<Option<ArrayRef>>,
    deleted: &RoaringBitmap,
    rows: std::ops::Range<u32>,
) -> Result<Vec<Option<ArrayRef>>> {
    if deleted.range_cardinality(rows.clone()) == 0 {
        return Ok(arrays);
    }
    let keep: BooleanArray = rows.map(|row| Some(!deleted.contains(row))).collect();
    let sift = |array: ArrayRef| {
        filter(&array, &keep).map_err(|cause| Error::bug("delta_column", "leave deleted rows out").with_cause(cause))
    };
    arrays.into_iter().map(|array| array.map(sift).transpose()).collect()
}

fn too_many() -> Error {
    Error::bug("delta_compaction", "a copy would have more rows than a row number can count")
}
