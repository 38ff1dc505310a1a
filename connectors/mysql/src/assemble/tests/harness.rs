//! Runs a log through an assembler as the stream does, and writes down what comes out.

use super::tape::{Naming, Tape, UUID};
use crate::assemble::{Applied, Assembler, AssemblerStart, Facts, PROVENANCE, Replayed};
use crate::ddl::{Context, Defaults, Schemas, parse};
use crate::gtid::{DomainPositions, GtidSet};
use crate::history::History;
use crate::history::tests::Kept;
use crate::joined::Joined;
use crate::model::{Charset, Flavour, Origin, OriginKind};
use crate::position::{FilePlace, Place, Prepared, StoredPosition};
use crate::stream::Payload;
use crate::typemap::ZeroDates;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tidewire_core::cell::Value;
use tidewire_core::options::SnapshotMode;
use tidewire_core::tables::TableFilter;
use tidewire_core::{Batch, BatchLimits, Cell, Mark, Op, Position, Result, SourceDescriptor, TableName};

/// A change that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mark: Mark,
    pub(super) offset: u64,
    pub(super) row: u32,
    /// Transaction, what happened, table and rows: `crm.t insert (1, null)`.
    pub(super) text: String,
}

/// A batch that came out.
#[derive(Clone, Debug)]
pub(super) struct Handed {
    pub(super) position: Position,
    pub(super) boundary: bool,
    /// Number of changes up to its end.
    pub(super) changes: usize,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) seen: Vec<Seen>,
    pub(super) batches: Vec<Handed>,
    pub(super) redials: usize,
    pub(super) replays: usize,
}

impl Out {
    pub(super) fn texts(&self) -> Vec<&str> {
        self.seen.iter().map(|seen| seen.text.as_str()).collect()
    }

    pub(super) fn last_position(&self) -> &str {
        self.batches.last().map_or("", |batch| &batch.position.text)
    }
}

/// A source that can be started on a tape.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) naming: Naming,
    pub(super) place: Place,
    pub(super) prepared: Vec<Prepared>,
    pub(super) targets: Vec<Place>,
    pub(super) schemas: Schemas,
    pub(super) unproven: Vec<&'static str>,
    pub(super) dropped: Vec<TableName>,
    pub(super) shipped: Vec<TableName>,
    pub(super) read_until: Vec<(&'static str, u64)>,
    pub(super) filter: &'static [&'static str],
    pub(super) snapshot: SnapshotMode,
    pub(super) joined: Joined,
    pub(super) kept: Arc<Kept>,
    pub(super) limits: BatchLimits,
}

pub(super) fn name(text: &str) -> TableName {
    let (schema, table) = text.split_once('.').unwrap_or(("crm", text));
    TableName::new(schema, table)
}

pub(super) fn start_of(naming: Naming) -> Place {
    match naming {
        Naming::Gtids => Place::Gtid(GtidSet::default()),
        Naming::Domains => Place::Domains(DomainPositions::default()),
        Naming::Anonymous => Place::File(FilePlace {
            server: UUID.into(),
            flavour: Flavour::MySql,
            file: "binlog.000001".into(),
            offset: 4,
            begun: None,
        }),
    }
}

impl Source {
    /// At the begin of the log, everything in `crm` captured, with tables defined by statements, all of them shipped.
    pub(super) fn new(naming: Naming, tables: &[&str]) -> Source {
        let utf8 = Charset { name: "utf8mb4".into(), collation: "utf8mb4_0900_ai_ci".into() };
        let mut schemas = Schemas::new(Defaults { charset: utf8.clone(), explicit_timestamps: true });
        schemas.set_database("crm", utf8.clone());
        schemas.set_database("other", utf8);
        let context = Context {
            flavour: if naming == Naming::Domains { Flavour::MariaDb } else { Flavour::MySql },
            server_version: 90_704,
            sql_mode: 0,
            database: Some("crm"),
            fold_names: false,
            origin: Origin { kind: OriginKind::Statement, micros: 0 },
            now: None,
        };
        for text in tables {
            schemas.apply(&parse(text, &context).unwrap(), &context).unwrap();
        }
        let shipped = schemas.iter().map(|table| table.name.clone()).filter(|name| *name.schema == *"crm").collect();
        Source {
            naming,
            place: start_of(naming),
            prepared: Vec::new(),
            targets: Vec::new(),
            schemas,
            unproven: Vec::new(),
            dropped: Vec::new(),
            shipped,
            read_until: Vec::new(),
            filter: &["crm.*"],
            snapshot: SnapshotMode::Initial,
            joined: Joined::default(),
            kept: Arc::default(),
            limits: BatchLimits::default(),
        }
    }

    pub(super) fn limit(mut self, changes_max: usize) -> Source {
        self.limits.changes_max = changes_max;
        self
    }

    pub(super) fn assembler(&self) -> Result<Assembler> {
        let flavour = if self.naming == Naming::Domains { Flavour::MariaDb } else { Flavour::MySql };
        Assembler::new(AssemblerStart {
            facts: Facts {
                flavour,
                version: 90_704,
                fold_names: false,
                zero_dates: ZeroDates::Halt,
                snapshot: self.snapshot,
                filter: TableFilter::parse(self.filter).unwrap(),
            },
            descriptor: Arc::new(SourceDescriptor {
                name: "s".into(),
                connector: flavour.connector(),
                database: "".into(),
                provenance: PROVENANCE,
                has_sequence: false,
                snapshot_floor: None,
            }),
            limits: self.limits,
            place: self.place.clone(),
            prepared: self.prepared.clone(),
            targets: VecDeque::from(self.targets.clone()),
            schemas: self.schemas.clone(),
            unproven: self.unproven.iter().map(|table| name(table)).collect(),
            dropped: self.dropped.iter().cloned().collect(),
            shipped: self.shipped.iter().cloned().collect::<HashSet<_>>(),
            read_until: self.read_until.iter().map(|(table, floor)| (name(table), *floor)).collect::<HashMap<_, _>>(),
            history: History::new(Some(Arc::clone(&self.kept) as _)),
            joined: self.joined.clone(),
        })
    }

    /// Reads the tape to its end.
    pub(super) fn run(&self, tape: &Tape) -> Result<Out> {
        let mut run = Run { assembler: self.assembler()?, tape, out: Out::default() };
        run.all()?;
        Ok(run.out)
    }

    /// The code of the error that reading ends with.
    pub(super) fn error(&self, tape: &Tape) -> &'static str {
        match self.run(tape) {
            Ok(out) => panic!("no error, but {:#?}", out.texts()),
            Err(error) => error.code(),
        }
    }

    /// The source as it starts from a position: definitions are those that were kept.
    pub(super) fn resumed(&self, position: &Position) -> Source {
        let stored = StoredPosition::parse(position).unwrap();
        let mut source = Source { place: stored.place, prepared: stored.prepared, ..self.clone() };
        let history = History::new(Some(Arc::clone(&self.kept) as _));
        let in_force = history.at(stored.mark).unwrap();
        in_force.dropped.iter().for_each(|table| drop(source.schemas.remove(table)));
        source.dropped = in_force.dropped;
        in_force.tables.into_iter().for_each(|(_, table)| source.schemas.insert(table));
        source
    }
}

struct Run<'t> {
    assembler: Assembler,
    tape: &'t Tape,
    out: Out,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        let mut events = VecDeque::from(self.tape.serve(self.assembler.place()));
        while let Some(event) = events.pop_front() {
            let mut applied = vec![self.assembler.apply(&event)?];
            if applied == [Applied::Payload] {
                let (compression, packed) = self.assembler.payload_of(&event)?;
                let mut payload = Payload::whole(compression, packed)?;
                while let Some(inner) = payload.next_event()? {
                    applied.push(self.assembler.apply_inner(inner)?);
                    self.rest()?;
                }
            }
            self.rest()?;
            for applied in applied {
                match applied {
                    Applied::NeedsPrepared(prepared) if self.replay(&prepared)? => events = self.redial(),
                    Applied::Redial => events = self.redial(),
                    _ => {}
                }
            }
        }
        if self.assembler.has_changes() || !self.assembler.in_transaction() {
            self.hand_out()?;
        }
        Ok(())
    }

    fn redial(&mut self) -> VecDeque<Vec<u8>> {
        self.out.redials += 1;
        self.tape.serve(self.assembler.place()).into()
    }

    /// What is left of rows, and full batches.
    fn rest(&mut self) -> Result<()> {
        loop {
            if self.assembler.is_full() {
                self.hand_out()?;
            } else if !self.assembler.continue_rest()? {
                return Ok(());
            }
        }
    }

    fn replay(&mut self, prepared: &Prepared) -> Result<bool> {
        self.out.replays += 1;
        let from = match self.assembler.place() {
            Place::File(at) => {
                let (file, offset) = prepared.origin.rsplit_once(':').unwrap();
                Place::File(FilePlace { file: file.into(), offset: offset.parse().unwrap(), ..at.clone() })
            }
            // Others come too, as they may.
            Place::Gtid(_) => Place::Gtid(GtidSet::default()),
            Place::Domains(_) => Place::Domains(DomainPositions::default()),
        };
        for event in self.tape.serve(&from) {
            let mut replayed = self.assembler.apply_prepared(&event)?;
            if replayed == Replayed::Payload {
                let (compression, packed) = self.assembler.payload_of(&event)?;
                let mut payload = Payload::whole(compression, packed)?;
                while let Some(inner) = payload.next_event()? {
                    replayed = self.assembler.apply_prepared_inner(inner)?;
                    self.rest()?;
                }
            }
            self.rest()?;
            if let Replayed::Whole(redial) = replayed {
                return Ok(redial);
            }
        }
        panic!("the prepared transaction did not come");
    }

    fn hand_out(&mut self) -> Result<()> {
        let batch = self.assembler.finish(0)?;
        self.out.seen.extend(batch.changes.iter().map(|change| Seen {
            mark: batch.mark(change),
            offset: change.offset,
            row: change.row,
            text: shown(&batch, change),
        }));
        let position = batch.position.clone().unwrap();
        self.out.batches.push(Handed { position, boundary: batch.boundary, changes: self.out.seen.len() });
        Ok(())
    }
}

fn shown(batch: &Batch, change: &tidewire_core::Change) -> String {
    let transaction = batch.transaction(change).unwrap();
    let id = transaction.id.rsplit_once(':').map_or(&*transaction.id, |(_, number)| number);
    if let Some(ddl) = batch.ddl(change) {
        return format!("{id}#{} ddl [{}] {}", change.ordinal, text(ddl.tables), text(ddl.statement));
    }
    let table = batch.table(change).unwrap();
    let row = |cells: &[Cell]| {
        let values: Vec<String> = cells.iter().map(|cell| value(*cell, batch.arena())).collect();
        format!(" ({})", values.join(", "))
    };
    let before = batch.before(change).map(row).unwrap_or_default();
    let after = batch.after(change).map(row).unwrap_or_default();
    let op = format!("{:?}", change.op).to_lowercase();
    let names = match change.op {
        Op::Schema => {
            let names: Vec<&str> = table.columns.iter().map(|column| &*column.name).collect();
            format!(" v{} ({})", table.version.0, names.join(", "))
        }
        _ => String::new(),
    };
    format!("{id}#{} {op} {}{names}{before}{after}", change.ordinal, table.name.table)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn value(cell: Cell, arena: &[u8]) -> String {
    match cell.value(arena) {
        Value::Null => "null".to_owned(),
        Value::Unknown => "?".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Text(bytes) | Value::Json(bytes) => text(bytes).to_owned(),
        Value::Array(array) => text(array.text()).to_owned(),
        other => format!("{other:?}"),
    }
}
