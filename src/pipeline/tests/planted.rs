//! Faults that are planted to prove the checks: a source or a sink that does what no daemon may do. Each must be caught.

use super::shelf::ShelfConnector;
use super::source::TapeSource;
use std::sync::{Arc, Mutex};
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::source::{Acknowledger, BoxFuture, OpenSource, Resume, SetupStep};
use tidewire_core::{
    Batch, Finding, Mark, Position, Progress, Result, Sink, SinkConnector, SourceConnector, SourceReader, TableSchema,
};

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    /// The source leaves out a row, gives one twice, gives two in the other order, or gives a row the value before it.
    SourceDrops,
    SourceDoubles,
    SourceSwaps,
    SourceStale,
    /// The source calls a place inside a transaction its end.
    SourceTears,
    /// The server is told more than the daemon told it.
    AcknowledgedEarly,
    /// The log is sent from a place beyond what the sinks hold.
    SourceSkips,
    /// A batch does not reach the sink whole: without a row, with one twice, with two in the other order.
    SinkDrops,
    SinkDoubles,
    SinkSwaps,
    /// Commits lie inside transactions of a sink that shows whole ones.
    SinkTears,
    /// What is told to be durable is so with the next commit only.
    SinkPromises,
    /// A sink tells an older place than it holds, and a newer one.
    SinkForgets,
    SinkBoasts,
    /// A commit stores the place of the one before it.
    SinkStale,
    /// A sink never takes anything.
    SinkRefuses,
    /// A worker takes what was meant for its sink as it was.
    WorkerStale,
    /// Of a sink that commits table by table: a table that is ahead takes again what it holds; the progress is stored
    /// before the tables.
    TablesForget,
    TablesLast,
}

/// One in so many calls goes wrong; counted, so that the first ones are right.
const EVERY: u64 = 5;

#[derive(Default)]
struct Counter(u64);

impl Counter {
    fn is_due(&mut self) -> bool {
        self.0 += 1;
        self.0.is_multiple_of(EVERY)
    }
}

pub(super) struct PlantedSource {
    plant: Plant,
    inner: TapeSource,
}

impl PlantedSource {
    pub(super) fn new(plant: Plant, inner: TapeSource) -> PlantedSource {
        PlantedSource { plant, inner }
    }
}

struct PlantedReader {
    plant: Plant,
    counter: Counter,
    inner: Box<dyn SourceReader>,
}

impl PlantedReader {
    fn spoil(&mut self, mut batch: Batch) -> Batch {
        let rows = batch.changes.len();
        let needed = match self.plant {
            Plant::SourceDrops | Plant::SourceDoubles => 1,
            Plant::SourceSwaps | Plant::SourceStale => 2,
            Plant::SourceTears if !batch.boundary => 0,
            _ => return batch,
        };
        if rows < needed || !self.counter.is_due() {
            return batch;
        }
        match self.plant {
            Plant::SourceDrops => drop(batch.changes.pop()),
            Plant::SourceDoubles => batch.changes.push(batch.changes[rows - 1]),
            Plant::SourceSwaps => batch.changes.swap(rows - 2, rows - 1),
            Plant::SourceStale => {
                let (before, last) = (batch.changes[rows - 2], batch.changes[rows - 1]);
                let mut stale = before;
                (stale.table, stale.transaction, stale.ordinal) = (last.table, last.transaction, last.ordinal);
                batch.changes[rows - 1] = stale;
            }
            _ => batch.boundary = true,
        }
        batch
    }
}

impl SourceReader for PlantedReader {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(async move {
            let batch = self.inner.next_batch().await?;
            Ok(self.spoil(batch))
        })
    }
}

struct PlantedEar(Arc<dyn Acknowledger>);

impl Acknowledger for PlantedEar {
    fn acknowledge(&self, position: &Position) {
        let mark = Mark { major: position.mark.major + 1, minor: 0 };
        self.0.acknowledge(&Position::new(mark, mark.to_string()));
    }
}

impl SourceConnector for PlantedSource {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        self.inner.check()
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.ready()
    }

    fn setup(&self, apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        self.inner.setup(apply)
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        self.inner.remove()
    }

    fn open(&self, mut resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        Box::pin(async move {
            if self.plant == Plant::SourceSkips {
                // As if the sink that is behind the others had not been asked.
                let ahead = |sink: &tidewire_core::source::SinkProgress| sink.progress.lets_go().cloned();
                let most = resume.sinks.iter().map(ahead).max().flatten();
                resume.sinks.retain(|sink| sink.progress.lets_go() == most.as_ref());
            }
            let mut open = self.inner.open(resume).await?;
            let (plant, counter) = (self.plant, Counter::default());
            open.reader = Box::new(PlantedReader { plant, counter, inner: open.reader });
            if self.plant == Plant::AcknowledgedEarly {
                open.acknowledger = Arc::new(PlantedEar(open.acknowledger));
            }
            Ok(open)
        })
    }
}

pub(super) struct PlantedSink {
    plant: Plant,
    inner: ShelfConnector,
    /// What the sink held before its last commit.
    before: Arc<Mutex<Progress>>,
    counter: Mutex<Counter>,
}

impl PlantedSink {
    pub(super) fn new(plant: Plant, inner: ShelfConnector) -> PlantedSink {
        PlantedSink { plant, inner, before: Arc::default(), counter: Mutex::default() }
    }
}

struct Spoiled {
    plant: Plant,
    inner: Box<dyn Sink>,
    before: Arc<Mutex<Progress>>,
    held: Progress,
    counter: Counter,
}

impl SinkConnector for PlantedSink {
    fn capabilities(&self) -> SinkCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.can_split_transactions |= self.plant == Plant::SinkTears;
        capabilities
    }

    fn check(&self, tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        self.inner.check(tables)
    }

    fn open(&self, source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        let (inner, mut progress) = self.inner.open(source)?;
        let held = progress.clone();
        match self.plant {
            Plant::SinkForgets => progress = self.before.lock().unwrap().clone(),
            Plant::SinkBoasts if self.counter.lock().unwrap().is_due() => {
                if let Some(place) = &mut progress.position {
                    place.mark.major += super::tape::STRIDE;
                }
            }
            _ => {}
        }
        let (plant, before) = (self.plant, Arc::clone(&self.before));
        Ok((Box::new(Spoiled { plant, inner, before, held, counter: Counter::default() }), progress))
    }
}

impl Sink for Spoiled {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        let mut indexes: Vec<u32> = match selection {
            Selection::All => (0..batch.changes.len() as u32).collect(),
            Selection::Some(indexes) => indexes.to_vec(),
        };
        let rows = indexes.len();
        match self.plant {
            Plant::SinkRefuses => return Err(tidewire_core::Error::retry("never", "the sink takes nothing")),
            Plant::SinkDrops if rows > 0 && self.counter.is_due() => drop(indexes.remove(rows / 2)),
            Plant::SinkDoubles if rows > 0 && self.counter.is_due() => indexes.push(indexes[rows - 1]),
            Plant::SinkSwaps if rows > 1 && self.counter.is_due() => indexes.swap(rows - 2, rows - 1),
            _ => {}
        }
        self.inner.write(batch, Selection::Some(&indexes))
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        if self.plant == Plant::SinkPromises && self.counter.is_due() {
            return Ok(());
        }
        let stale = self.plant == Plant::SinkStale && self.counter.is_due();
        self.inner.commit(if stale { &self.held } else { progress })?;
        *self.before.lock().unwrap() = std::mem::replace(&mut self.held, progress.clone());
        Ok(())
    }
}
