//! From the events of the log to batches. Owns what the stream is in the middle of: the open transaction, the tables
//! it has been told about, the place reached. Sans-IO: knows no socket and no clock.
//!
//! # Order and numbers
//!
//! A transaction's changes bear the number of the place before it (`position.rs`) and are counted from 1 by nothing
//! but the log: every row of every rows event, captured or not, so that positions inside a transaction outlive a change
//! of `tables`. The place moves only at a transaction's end (MY-07, MY-08).
//!
//! # Definitions of tables
//!
//! Rows carry values without names. The definition in force comes from the catalog at a known place and follows the
//! log's DDL from there; what a table map says of itself is compared with it each time, and with `binlog_row_metadata
//! = FULL` it wins. A definition that is only assumed to be in force is used with such proof and not without (MY-40).
//!
//! # Tables that join
//!
//! A captured table that no sink holds is not shipped from the middle: the stream ends, the source is opened anew and
//! reads the table first. Of a table read so, what the log has before that place is passed over, rows and DDL.

mod binding;
mod effect;
mod group;
mod rename;
mod rollback;
mod row;
mod statement;
mod xa;

use crate::binlog::{
    self, Checksum, Compression, DecodeError, Event, Format, HEADER_LENGTH, Header, Inflater, PayloadEvent, kind,
};
use crate::charset::charset_of_collation;
use crate::ddl::Schemas;
use crate::history::History;
use crate::joined::Joined;
use crate::model::Flavour;
use crate::position::{FilePlace, Place, Prepared};
use crate::typemap::{Scratch, ZeroDates};
use binding::{Binding, Known};
use group::Group;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::options::SnapshotMode;
use tidewire_core::source::{ProvenanceField, ProvenanceOrigin, ProvenanceType};
use tidewire_core::tables::TableFilter;
use tidewire_core::{Batch, BatchLimits, Cell, Error, Phase, Result, SourceDescriptor, TableName};
pub(crate) use xa::Replayed;

/// What consumers are told about a change's place in the log: Debezium's fields of MySQL and MariaDB, in its order.
pub(crate) const PROVENANCE: &[ProvenanceField] = &[
    field("server_id", ProvenanceType::Int64, ProvenanceOrigin::Transaction(0), false),
    field("gtid", ProvenanceType::Text, ProvenanceOrigin::Transaction(1), true),
    field("file", ProvenanceType::Text, ProvenanceOrigin::Transaction(2), false),
    field("pos", ProvenanceType::Int64, ProvenanceOrigin::Offset, false),
    field("row", ProvenanceType::Int32, ProvenanceOrigin::Row, false),
    field("thread", ProvenanceType::Int64, ProvenanceOrigin::Transaction(3), true),
    field("query", ProvenanceType::Text, ProvenanceOrigin::Null, true),
];

const fn field(
    name: &'static str,
    field_type: ProvenanceType,
    origin: ProvenanceOrigin,
    optional: bool,
) -> ProvenanceField {
    ProvenanceField { name, field_type, optional, origin, in_snapshot: true }
}

/// What an event came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing that is shipped.
    Nothing,
    /// Changes were added.
    Changed,
    /// A transaction is whole; the place reached lies between transactions.
    GroupEnd,
    /// The event is a compressed transaction: its inner events follow, through [`Assembler::apply_inner`].
    Payload,
    /// An XA transaction takes effect here; its rows must be read again from where they were prepared and given to
    /// [`Assembler::apply_prepared`] before the next event.
    NeedsPrepared(Prepared),
    /// All that one sink lacks has been read, and transactions were passed over on the way that the others lack: the
    /// log must be asked for anew from the place reached.
    Redial,
}

/// What does not change while a source runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Which server.
    pub(crate) flavour: Flavour,
    /// Its version as a number (`80031`, `101109`).
    pub(crate) version: u32,
    /// Whether names of tables are folded to lower case by the server (`lower_case_table_names = 1`).
    pub(crate) fold_names: bool,
    /// What becomes of dates that are none.
    pub(crate) zero_dates: ZeroDates,
    /// How existing rows are read.
    pub(crate) snapshot: SnapshotMode,
    /// What is captured.
    pub(crate) filter: TableFilter,
}

/// Where a stream starts and what is known there.
pub(crate) struct AssemblerStart {
    /// What does not change.
    pub(crate) facts: Facts,
    /// Descriptor of the run.
    pub(crate) descriptor: Arc<SourceDescriptor>,
    /// When a batch is full.
    pub(crate) limits: BatchLimits,
    /// State before the first event.
    pub(crate) place: Place,
    /// XA transactions that are prepared there.
    pub(crate) prepared: Vec<Prepared>,
    /// Further places at which sinks stand, ascending: each must be reached before anything beyond it is read.
    pub(crate) targets: VecDeque<Place>,
    /// Definitions of tables.
    pub(crate) schemas: Schemas,
    /// Tables whose definition is only assumed to be in force.
    pub(crate) unproven: HashSet<TableName>,
    /// Tables that had gone.
    pub(crate) dropped: HashSet<TableName>,
    /// Captured tables that are shipped from the start: those of the sinks, and those that were just read.
    pub(crate) shipped: HashSet<TableName>,
    /// Tables whose rows were read at a place of the log beyond the start: `Mark::major` of it.
    pub(crate) read_until: HashMap<TableName, u64>,
    /// Where definitions are recorded.
    pub(crate) history: History,
    /// Tables that were turned away.
    pub(crate) joined: Joined,
}

/// Turns events into batches.
pub(crate) struct Assembler {
    facts: Facts,
    builder: BatchBuilder,
    format: Format,
    /// The format of events within a compressed transaction.
    inner: Format,
    /// The file being read, and the end of the last event in it.
    file: Arc<str>,
    offset: u64,
    /// Whether the connection has said which file it reads.
    file_known: bool,
    /// Where the last event begins.
    event_start: u64,
    /// When the last statement began, in seconds since 1970.
    statement_seconds: u32,
    /// Rows of a compressed transaction so far: its changes share an offset.
    payload_rows: u32,
    place: Place,
    /// `place.major()`, kept beside it.
    major: u64,
    prepared: Vec<Prepared>,
    targets: VecDeque<Place>,
    /// Whether a transaction was passed over that lies beyond the target.
    passed_over: bool,
    open: Option<Group>,
    schemas: Schemas,
    unproven: HashSet<TableName>,
    dropped: HashSet<TableName>,
    shipped: HashSet<TableName>,
    known: HashMap<TableName, Known>,
    bindings: HashMap<u64, Arc<Binding>>,
    read_until: HashMap<TableName, u64>,
    history: History,
    joined: Joined,
    /// Rows of an event that did not fit the batch.
    rest: Option<row::Rest>,
    /// The format of the connection over which a prepared transaction is read again.
    replay: Option<xa::Replay>,
    scratch: Scratch,
    old_cells: Vec<Cell>,
    /// Opens what MariaDB compressed; taken out while its buffer is read.
    inflater: Option<Inflater>,
    /// Captured tables that were renamed.
    renamed_away: HashMap<TableName, rename::Away>,
}

impl Assembler {
    /// For a stream that starts.
    pub(crate) fn new(start: AssemblerStart) -> Result<Assembler> {
        let major = start.place.major()?;
        let (file, offset) = match &start.place {
            Place::File(FilePlace { file, offset, .. }) => (Arc::clone(file), *offset),
            _ => (Arc::from(""), 0),
        };
        let mut assembler = Assembler {
            facts: start.facts,
            builder: BatchBuilder::new(start.descriptor, Phase::Stream, start.limits),
            format: Format::default(),
            inner: Format::default(),
            file,
            offset,
            file_known: false,
            event_start: offset,
            statement_seconds: 0,
            payload_rows: 0,
            place: start.place,
            major,
            prepared: start.prepared,
            targets: start.targets,
            passed_over: false,
            open: None,
            schemas: start.schemas,
            unproven: start.unproven,
            dropped: start.dropped,
            shipped: start.shipped,
            known: HashMap::new(),
            bindings: HashMap::new(),
            read_until: start.read_until,
            history: start.history,
            joined: start.joined,
            rest: None,
            replay: None,
            scratch: Scratch::default(),
            old_cells: Vec::new(),
            inflater: None,
            renamed_away: HashMap::new(),
        };
        assembler.next_target();
        Ok(assembler)
    }

    /// Takes one event of the dump connection, without the packet's status byte. After an error the stream must not
    /// go on.
    pub(crate) fn apply(&mut self, bytes: &[u8]) -> Result<Applied> {
        if self.replay.is_some() || self.rest.is_some() {
            return Err(Error::bug("event_out_of_turn", "an event is given while another is not finished"));
        }
        let raw = binlog::split(bytes, &self.format).map_err(|cause| self.undecodable(cause))?;
        self.advance(&raw.header);
        let event = binlog::parse(&raw, &self.format).map_err(|cause| self.undecodable(cause))?;
        let applied = self.take(event, &raw.header)?;
        if self.open.is_none() && matches!(self.place, Place::File(_)) {
            self.follow_file();
        }
        Ok(applied)
    }

    /// Takes one event out of a compressed transaction. They carry no place of their own.
    pub(crate) fn apply_inner(&mut self, bytes: &[u8]) -> Result<Applied> {
        let raw = binlog::split(bytes, &self.inner).map_err(|cause| self.undecodable(cause))?;
        let event = binlog::parse(&raw, &self.inner).map_err(|cause| self.undecodable(cause))?;
        self.take(event, &raw.header)
    }

    /// The compressed bytes of the event that was given last and was a compressed transaction.
    pub(crate) fn payload_of<'a>(&self, bytes: &'a [u8]) -> Result<(Compression, &'a [u8])> {
        let format = self.replay.as_ref().map_or(&self.format, xa::Replay::format);
        let raw = binlog::split(bytes, format).map_err(|cause| self.undecodable(cause))?;
        let event = PayloadEvent::parse(raw.body).map_err(|cause| self.undecodable(cause))?;
        Ok((event.compression, event.payload))
    }

    /// Takes the begin of a compressed transaction that comes in parts. Hands back how it is compressed, the bytes before
    /// the compressed ones, those of the compressed ones that are here, and whether a checksum ends the event.
    pub(crate) fn enter_payload<'a>(&mut self, bytes: &'a [u8]) -> Result<(Compression, &'a [u8], &'a [u8], bool)> {
        if self.rest.is_some() {
            return Err(Error::bug("event_out_of_turn", "an event is given while another is not finished"));
        }
        let header = Header::read(bytes).map_err(|cause| self.undecodable(cause))?;
        let body = bytes.get(HEADER_LENGTH..).unwrap_or_default();
        let (event, _) = PayloadEvent::parse_begin(body).map_err(|cause| self.undecodable(cause))?;
        let (head, packed) = bytes.split_at(bytes.len() - event.payload.len());
        let checksum = match &self.replay {
            Some(replay) => replay.format().checksum,
            None => {
                self.advance(&header);
                self.format.checksum
            }
        };
        Ok((event.compression, head, packed, checksum == Checksum::Crc32))
    }

    fn take(&mut self, event: Event<'_>, header: &Header) -> Result<Applied> {
        match event {
            Event::Rows(rows) => self.rows(&rows),
            Event::TableMap(map) => self.table_map(&map),
            Event::Gtid(gtid) => self.begin_gtid(&gtid, header),
            Event::AnonymousGtid(gtid) => self.begin_anonymous(&gtid, header),
            Event::MariaGtid(gtid) => self.begin_mariadb(&gtid, header),
            Event::Query(query) => {
                self.statement_seconds = header.timestamp;
                self.query(&query)
            }
            Event::CompressedQuery(query) => {
                self.statement_seconds = header.timestamp;
                self.opened(&query, Assembler::query)
            }
            Event::Xid(_) => self.commit(),
            Event::XaPrepare(event) => self.xa_prepare(&event),
            Event::Payload(_) => Ok(Applied::Payload),
            Event::FormatDescription(format) => {
                self.inner = format.inner();
                self.format = format;
                self.bindings.clear();
                self.know_file(header.timestamp)?;
                Ok(Applied::Nothing)
            }
            Event::Rotate { position, file } => self.rotate(position, file),
            Event::Incident(incident) => {
                let (number, message) = (incident.number, String::from_utf8_lossy(incident.message));
                Err(Error::operator(
                    "log_incident",
                    format!(
                        "the server noted that its log may lack changes, at `{}`: {message} ({number})",
                        self.here()
                    ),
                )
                .with_remedy(
                    "the log cannot be trusted past this place: read the tables anew, by new names of the sinks (and a \
                     new location of a Delta sink)",
                ))
            }
            Event::Ignored(kind) => {
                tracing::debug!(kind, "the log holds an event of an unknown kind that may be ignored");
                Ok(Applied::Nothing)
            }
            Event::LoadData(kind::EXEC_LOAD | kind::EXECUTE_LOAD_QUERY)
                if self.open.as_ref().is_some_and(|g| !g.skipped) =>
            {
                Err(self.statement_halt(None, "LOAD DATA", None))
            }
            // What helps statements along, what tells of files, and what people wrote.
            _ => Ok(Applied::Nothing),
        }
    }

    /// Follows the offset in 64 bits; the header has 32 (MY-10), and none inside MariaDB's caches (MY-11). Outside of
    /// transactions an event without a place is a copy: the FORMAT_DESCRIPTION of a file that is read from the middle.
    fn advance(&mut self, header: &Header) {
        let in_no_file = header.is_artificial() || matches!(header.kind, kind::HEARTBEAT | kind::HEARTBEAT_V2);
        if in_no_file || header.log_pos == 0 && self.open.is_none() {
            return;
        }
        self.follow(header);
        self.event_start = self.offset.saturating_sub(u64::from(header.length));
        self.payload_rows = 0;
    }

    fn follow(&mut self, header: &Header) {
        let next = self.offset.wrapping_add(u64::from(header.length));
        if header.log_pos == 0 || header.log_pos == next as u32 {
            self.offset = next;
            return;
        }
        // Far below is beyond the next 4 GiB; a little below is a copy of an event from the file's begin.
        let mut end = (self.offset & !0xffff_ffff) | u64::from(header.log_pos);
        if end + (1 << 31) < self.offset {
            end += 1 << 32;
        }
        self.offset = end;
    }

    fn rotate(&mut self, position: u64, file: &[u8]) -> Result<Applied> {
        if self.open.is_some() {
            return Err(self.out_of_order("a new file begins inside a transaction"));
        }
        let file = std::str::from_utf8(file).map_err(|_| self.out_of_order("a file's name is not UTF-8"))?;
        // Also back, when the log was asked for anew.
        self.offset = position;
        if *file == *self.file {
            return Ok(Applied::Nothing);
        }
        self.file = file.into();
        // A place without GTIDs has moved, and the file before may be purged.
        Ok(if matches!(self.place, Place::File(_)) { Applied::GroupEnd } else { Applied::Nothing })
    }

    /// Between transactions the place without GTIDs is the end of the last event.
    fn follow_file(&mut self) {
        if let Place::File(place) = &mut self.place {
            if *place.file != *self.file {
                place.file = Arc::clone(&self.file);
                place.begun = None;
            }
            place.offset = self.offset;
        }
    }

    /// A file bears the time of its begin; another of the same name would be read from the middle of what it holds.
    fn know_file(&mut self, begun: u32) -> Result<()> {
        self.file_known = true;
        let Place::File(place) = &mut self.place else { return Ok(()) };
        if *place.file != *self.file {
            return Ok(());
        }
        let known = *place.begun.get_or_insert(begun);
        if known == begun {
            return Ok(());
        }
        let message = format!(
            "file `{}` was begun at {begun} s since 1970, and the one that the sinks hold a place of at {known}: the log was reset",
            place.file
        );
        Err(Error::operator("server_reset", message).with_remedy(
            "what was in the log before is gone: give the sinks new names (and a Delta sink a new location), which reads the \
             tables anew. With GTIDs a reset is told apart before anything is read",
        ))
    }

    /// Whether a position would name the file that is read.
    pub(crate) fn knows_file(&self) -> bool {
        self.file_known || !matches!(self.place, Place::File(_))
    }

    /// Whether the batch should be finished before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.builder.is_full() || self.open.is_none() && self.builder.is_full_at_boundary()
    }

    /// Whether the batch holds changes.
    pub(crate) fn has_changes(&self) -> bool {
        !self.builder.is_empty()
    }

    /// File and offset of the last event read.
    pub(crate) fn file_and_offset(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.file), self.offset)
    }

    /// Whether the place reached lies inside a transaction.
    pub(crate) fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// The definitions in force at the place reached.
    pub(crate) fn into_schemas(self) -> Schemas {
        self.schemas
    }

    /// The state between transactions.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// File and offset of the last event read.
    pub(crate) fn here(&self) -> String {
        format!("{}:{}", self.file, self.offset)
    }

    /// Hands out what was added, with the place right after it. In mid-transaction that place is the number of
    /// changes so far, and the next batch opens the transaction again. A transaction of which nothing was shipped
    /// yet need not be entered: the place before it is as true.
    pub(crate) fn finish(&mut self, now_micros: i64) -> Result<Batch> {
        self.builder.drop_empty_transaction();
        let inside = self.open.as_ref().filter(|group| group.shipped);
        let position = match inside {
            Some(group) => self.place.inside(&self.prepared, &group.id, group.ordinal)?,
            None => self.place.boundary(&self.prepared)?,
        };
        let boundary = inside.is_none();
        if let Some(group) = &mut self.open {
            group.in_batch = false;
            group.handed_out |= group.shipped;
            group.begin_batch();
        }
        Ok(self.builder.finish(Some(position), boundary, now_micros))
    }

    fn charset_of(&self, collation: u32) -> Option<&'static str> {
        charset_of_collation(collation, self.facts.flavour)
    }

    #[cold]
    fn undecodable(&self, cause: DecodeError) -> Error {
        Error::operator("event_undecodable", format!("read the event before `{}`", self.here()))
            .with_remedy("report the server's version; nothing was acknowledged past this place")
            .with_cause(cause)
    }

    #[cold]
    fn out_of_order(&self, what: &str) -> Error {
        Error::operator("log_out_of_order", format!("{what}, at `{}`", self.here()))
            .with_remedy("report the server's version; nothing was acknowledged past this place")
    }
}

/// Opens compressed events of MariaDB; those are as long as `max_allowed_packet` at most.
fn inflater() -> Inflater {
    Inflater::new(1 << 30)
}

#[cfg(test)]
mod tests;
