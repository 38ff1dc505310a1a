//! Doors for fuzz targets and benchmarks: the readers of outside bytes, without a server. Not part of the crate's face;
//! nothing else may use them.

use crate::assemble::{Applied, Assembler, AssemblerStart, Facts, PROVENANCE};
use crate::binlog::HEADER_LENGTH;
use crate::ddl::{self, Context, Defaults, Schemas, Wording};
use crate::gtid::{DomainPositions, GtidSet};
use crate::history::History;
use crate::joined::Joined;
use crate::json;
use crate::model::{Charset, Flavour, Origin};
use crate::position::{FilePlace, Place};
use crate::stream::Payload;
use crate::typemap::ZeroDates;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tidewire_core::{Batch, BatchLimits, Error, Result, SnapshotMode, SourceDescriptor, TableFilter};

/// What a binary log file begins with.
const MAGIC: &[u8] = b"\xfebin";

fn flavour(mariadb: bool) -> Flavour {
    if mariadb { Flavour::MariaDb } else { Flavour::MySql }
}

fn schemas() -> Schemas {
    let charset = Charset { name: "utf8mb4".into(), collation: "utf8mb4_general_ci".into() };
    Schemas::new(Defaults { charset, explicit_timestamps: true })
}

/// Events of a file become batches. Every table is captured; what the log tells of its columns must be whole
/// (`binlog_row_metadata = FULL`).
pub struct Log {
    assembler: Assembler,
    payload: Option<Payload>,
}

impl Log {
    /// From the begin of a file.
    pub fn new(mariadb: bool) -> Result<Log> {
        let flavour = flavour(mariadb);
        let place = FilePlace { server: "probe".into(), flavour, file: "probe.000001".into(), offset: 4, begun: None };
        let descriptor = Arc::new(SourceDescriptor {
            name: "probe".into(),
            connector: flavour.connector(),
            database: "".into(),
            provenance: PROVENANCE,
            has_sequence: false,
            snapshot_floor: None,
        });
        let facts = Facts {
            flavour,
            version: if mariadb { 110_800 } else { 90_700 },
            fold_names: false,
            zero_dates: ZeroDates::Text,
            snapshot: SnapshotMode::Never,
            filter: TableFilter::all(),
        };
        let assembler = Assembler::new(AssemblerStart {
            facts,
            descriptor,
            limits: BatchLimits::default(),
            place: Place::File(place),
            prepared: Vec::new(),
            targets: VecDeque::new(),
            schemas: schemas(),
            unproven: HashSet::new(),
            dropped: HashSet::new(),
            shipped: HashSet::new(),
            read_until: HashMap::new(),
            history: History::new(None),
            joined: Joined::default(),
        })?;
        Ok(Log { assembler, payload: None })
    }

    /// Takes events out of `bytes`, which begin with one, until a batch is full or nothing is left; hands back the rest.
    pub fn read<'a>(&mut self, mut bytes: &'a [u8]) -> Result<(Option<Batch>, &'a [u8])> {
        loop {
            if self.assembler.is_full() {
                return Ok((Some(self.assembler.finish(0)?), bytes));
            }
            if self.assembler.continue_rest()? {
                continue;
            }
            if let Some(payload) = &mut self.payload {
                if let Some(event) = payload.next_event()? {
                    if let Applied::NeedsPrepared(_) = self.assembler.apply_inner(event)? {
                        return Err(Error::bug("probe", "a prepared transaction cannot be read again here"));
                    }
                    continue;
                }
                self.payload = None;
            }
            let length = bytes.get(9..13).and_then(|length| Some(u32::from_le_bytes(length.try_into().ok()?)));
            let length = length.map_or(0, |length| length as usize);
            let Some(event) = bytes.get(..length).filter(|event| event.len() >= HEADER_LENGTH) else {
                return Ok((None, bytes));
            };
            bytes = bytes.get(length..).unwrap_or_default();
            match self.assembler.apply(event)? {
                Applied::Payload => {
                    let (compression, packed) = self.assembler.payload_of(event)?;
                    self.payload = Some(Payload::whole(compression, packed)?);
                }
                Applied::NeedsPrepared(_) => {
                    return Err(Error::bug("probe", "a prepared transaction cannot be read again here"));
                }
                _ => {}
            }
        }
    }

    /// What was added since the last batch.
    pub fn finish(&mut self) -> Result<Batch> {
        self.assembler.finish(0)
    }
}

/// The events of a file, behind its first bytes.
pub fn events(file: &[u8]) -> Option<&[u8]> {
    file.strip_prefix(MAGIC)
}

/// Reads a statement.
pub fn statement(mariadb: bool, sql_mode: u64, sql: &str) -> bool {
    let context = Context {
        flavour: flavour(mariadb),
        server_version: if mariadb { 110_800 } else { 90_700 },
        sql_mode,
        database: Some("probe"),
        fold_names: false,
        origin: Origin::catalog(),
        now: None,
    };
    let _ = Wording { text: sql, context: &context }.to_string();
    ddl::parse(sql, &context).is_ok_and(|statement| schemas().apply(&statement, &context).is_ok())
}

/// Reads a binary JSON document, and applies differences to it.
pub fn document(document: &[u8], differences: &[u8]) -> bool {
    let mut out = Vec::new();
    json::write_text(document, &mut out).is_ok() | json::write_patched(document, differences, &mut out).is_ok()
}

/// Reads GTIDs in every form.
pub fn gtids(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    GtidSet::decode(bytes).is_ok() | GtidSet::parse(&text).is_ok() | DomainPositions::parse(&text).is_ok()
}
