//! The source of the simulation: reads a tape of two tables, breaks, and knows what it was told to forget.

use super::Dice;
use std::sync::{Arc, Mutex};
use tidewire_core::batch::ChangeHead;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::source::{Acknowledger, BoxFuture, LogMonitor, LogState, OpenSource, Resume, SetupStep};
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Error, Finding, Mark, Op, Phase, Position, Result,
    SchemaVersion, SourceConnector, SourceDescriptor, SourceReader, TableName, TableSchema, Transaction,
};

/// Changes per transaction; transaction `n` (from 1) commits at `n * 100`.
pub(super) type Tape = Arc<Vec<u64>>;

/// The tables on the tape, all of schema `public`.
pub(super) const TABLES: [&str; 2] = ["t", "u"];

/// Which of them a change belongs to.
pub(super) fn table_of(ordinal: u64) -> usize {
    usize::from(ordinal.is_multiple_of(3))
}

/// The source.
pub(super) fn descriptor() -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: "s".into(),
        connector: "test",
        database: "d".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    })
}

fn schema(id: u64, name: &str) -> Arc<TableSchema> {
    Arc::new(TableSchema {
        name: TableName::new("public", name),
        version: SchemaVersion(1),
        native_id: id,
        columns: vec![ColumnSchema {
            name: "id".into(),
            data_type: DataType::Int { bits: 64 },
            native_type: "bigint".into(),
            nullable: false,
            default: None,
            missing: tidewire_core::Missing::Unknown,
            number: None,
        }],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}

pub(super) struct TapeSource {
    pub(super) tape: Tape,
    pub(super) dice: Dice,
    pub(super) acknowledged: Arc<Mutex<Mark>>,
}

struct TapeReader {
    source: Arc<SourceDescriptor>,
    schemas: Vec<Arc<TableSchema>>,
    tape: Tape,
    dice: Dice,
    next: Mark,
}

struct Ear(Arc<Mutex<Mark>>);

impl Acknowledger for Ear {
    fn acknowledge(&self, position: &Position) {
        let mut heard = self.0.lock().unwrap();
        *heard = (*heard).max(position.mark);
    }
}

struct NoMonitor;

impl LogMonitor for NoMonitor {
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>> {
        Box::pin(std::future::ready(Ok(LogState::default())))
    }
}

impl SourceReader for TapeReader {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let number = (self.next.major / 100) as usize;
            let Some(size) = self.tape.get(number - 1).copied() else {
                std::future::pending::<()>().await;
                return Err(Error::bug("unreachable", "the tape is over"));
            };
            if self.dice.roll(40) == 0 {
                return Err(Error::retry("cut", "the line was cut"));
            }
            let mut builder = BatchBuilder::new(Arc::clone(&self.source), Phase::Stream, BatchLimits::default());
            builder.transaction(Transaction {
                id: number.to_string().into(),
                commit: self.next.major,
                commit_time_micros: 1,
                previous_commit: None,
                provenance: Vec::new(),
            });
            let count = (1 + self.dice.roll(4)).min(size - self.next.minor);
            for ordinal in self.next.minor + 1..=self.next.minor + count {
                let table = builder.table(&self.schemas[table_of(ordinal)]);
                let image = builder.image();
                builder.cell(Cell::int(ordinal as i64));
                builder.push(ChangeHead { op: Op::Insert, ordinal, offset: 0, row: 0 }, table, None, Some(image));
            }
            let minor = self.next.minor + count;
            let ends = minor == size;
            // As in a real log, a transaction's end lies beyond its commit and before the next one's.
            let mark = if ends {
                Mark { major: self.next.major + 1, minor: 0 }
            } else {
                Mark { major: self.next.major, minor }
            };
            self.next = if ends { Mark { major: self.next.major + 100, minor: 0 } } else { mark };
            Ok(builder.finish(Some(Position::new(mark, mark.to_string())), ends, 0))
        })
    }
}

impl SourceConnector for TapeSource {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn setup(&self, _apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        Box::pin(async move {
            if self.dice.roll(10) == 0 {
                return Err(Error::retry("refused", "the server refused"));
            }
            let lowest =
                resume.sinks.iter().map(|sink| sink.progress.resume_from().map_or(Mark::default(), |p| p.mark));
            let lowest = lowest.min().unwrap_or_default();
            assert!(lowest >= *self.acknowledged.lock().unwrap(), "acknowledged what a sink did not hold");
            // A log is sent again from the start of the first transaction that is not held whole.
            let major = if lowest.major == 0 {
                100
            } else {
                lowest.major / 100 * 100 + if lowest.major % 100 == 0 { 0 } else { 100 }
            };
            let descriptor = descriptor();
            let schemas: Vec<_> = (1..).zip(TABLES).map(|(id, name)| schema(id, name)).collect();
            Ok(OpenSource {
                descriptor: Arc::clone(&descriptor),
                tables: schemas.clone(),
                snapshot_rows_expected: 0,
                reader: Box::new(TapeReader {
                    source: descriptor,
                    schemas,
                    tape: Arc::clone(&self.tape),
                    dice: self.dice.clone(),
                    next: Mark { major, minor: 0 },
                }),
                acknowledger: Arc::new(Ear(Arc::clone(&self.acknowledged))),
                monitor: Arc::new(NoMonitor),
            })
        })
    }
}
