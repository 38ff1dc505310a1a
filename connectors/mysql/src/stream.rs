//! The log: one reader that walks the events of a dump connection in place.
//!
//! # When a batch is handed out
//!
//! When it is full, or when the socket has nothing more to give at this moment. A finished transaction is never held
//! back for a fuller batch. Only in the middle of a transaction, whose rest is on its way, a short wait saves a batch
//! that ends inside it.
//!
//! # Idle
//!
//! The server shows by heartbeats that it lives. When the place has moved without changes of ours, it is handed out as
//! an empty batch now and then, so that the sinks record it and the log before it can be purged. After a snapshot such a
//! batch comes at once.
//!
//! # Compressed transactions
//!
//! They are opened while they are read (`stream/payload.rs`); a large one in the parts in which it comes.

mod dial;
mod feedback;
mod payload;

use crate::assemble::{Applied, Assembler, Replayed};
use crate::config::{Host, Settings};
use crate::connection::{LogPacket, LogReader};
use crate::ddl::Schemas;
use crate::error::{LOG_REFUSED, protocol};
use crate::metrics::SourceMetrics;
use crate::plan;
use crate::position::Place;
use dial::Dialling;
pub(crate) use dial::{Wanted, dial};
pub(crate) use feedback::{Feedback, now_micros};
pub(crate) use payload::Payload;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::{Batch, Error, Result};
use tokio::time::{Instant, timeout_at};

/// Wait for the rest of a transaction that has begun to arrive.
const REST_OF_TRANSACTION: Duration = Duration::from_millis(10);

/// What the log needs to start.
pub(crate) struct StreamStart {
    /// Settings of the source.
    pub(crate) settings: Arc<Settings>,
    /// The server.
    pub(crate) host: Host,
    /// Whether the place is handed out at once: rows were read that are whole with it, or nobody has one yet.
    pub(crate) at_once: bool,
    /// Puts changes together.
    pub(crate) assembler: Assembler,
    /// Shared with the acknowledger.
    pub(crate) feedback: Arc<Feedback>,
    /// Handles.
    pub(crate) metrics: SourceMetrics,
}

/// The log as it runs.
pub(crate) struct LogStream {
    log: LogReader,
    assembler: Assembler,
    settings: Arc<Settings>,
    host: Host,
    feedback: Arc<Feedback>,
    metrics: SourceMetrics,
    payload: Option<Payload>,
    /// What another connection is wanted for before the log goes on.
    elsewhere: Option<Elsewhere>,
    /// Whether the place has moved without changes since the last batch.
    moved: bool,
    handed_out: Instant,
    heard: Instant,
}

/// What another connection is wanted for.
enum Elsewhere {
    /// The log from the place reached.
    Log(Dialling),
    /// A prepared transaction.
    Dial(Dialling),
    /// The same, being read.
    Prepared(Box<PreparedLog>),
}

/// The connection over which a prepared transaction is read.
struct PreparedLog {
    log: LogReader,
    payload: Option<Payload>,
}

/// What has been read.
enum Step {
    /// A batch is due.
    Full,
    /// Nothing is left in the buffer.
    Drained,
    /// Another connection has its turn first.
    Elsewhere,
}

/// When a batch is due if nothing more is heard.
enum Due {
    Now,
    At(Instant),
}

impl LogStream {
    /// Connects and asks for the log.
    pub(crate) async fn start(start: StreamStart) -> Result<LogStream> {
        let StreamStart { settings, host, at_once, assembler, feedback, metrics } = start;
        let log = dial(&settings, &host, Wanted::log(assembler.place())).await?;
        tracing::info!(start = %assembler.place(), "the log is being read");
        let now = Instant::now();
        let heartbeat = settings.heartbeat_interval;
        Ok(LogStream {
            log,
            assembler,
            settings,
            host,
            feedback,
            metrics,
            payload: None,
            elsewhere: None,
            // Sinks show what a snapshot has read once there is a place in the log for it, and that is known now.
            moved: at_once,
            handed_out: if at_once { now.checked_sub(heartbeat).unwrap_or(now) } else { now },
            heard: now,
        })
    }

    /// The next batch. Dropping the future loses nothing.
    pub(crate) async fn next_batch(&mut self) -> Result<Batch> {
        loop {
            match self.decode()? {
                Step::Full => return self.hand_out(),
                Step::Elsewhere => {
                    self.elsewhere().await?;
                    continue;
                }
                Step::Drained => {}
            }
            if self.log.read_ready().await? {
                self.heard = Instant::now();
                continue;
            }
            let wait_until = match self.due() {
                Due::Now => return self.hand_out(),
                Due::At(time) => time,
            };
            match timeout_at(wait_until, self.log.read()).await {
                Ok(read) => {
                    read?;
                    self.heard = Instant::now();
                }
                Err(_) if self.assembler.has_changes() => return self.hand_out(),
                Err(_) => self.check_silence()?,
            }
        }
    }

    /// Reads on until the place reached is such as `reached` says, and keeps no changes.
    pub(crate) async fn read_until(&mut self, reached: impl Fn(&Place) -> bool) -> Result<()> {
        loop {
            if !self.assembler.in_transaction() && reached(self.assembler.place()) {
                return Ok(());
            }
            match self.decode_until(&reached)? {
                Step::Full => drop(self.hand_out()?),
                Step::Elsewhere => self.elsewhere().await?,
                Step::Drained if reached(self.assembler.place()) => {}
                Step::Drained => {
                    let limit = self.settings.silence_limit();
                    let read = tokio::time::timeout(limit, self.log.read()).await;
                    read.map_err(|_| Error::retry("server_silent", "follow the schema history"))??;
                }
            }
        }
    }

    /// The definitions as they are at the place reached.
    pub(crate) fn into_schemas(self) -> Schemas {
        self.assembler.into_schemas()
    }

    fn due(&self) -> Due {
        let now = Instant::now();
        if self.assembler.has_changes() {
            return if self.assembler.in_transaction() { Due::At(now + REST_OF_TRANSACTION) } else { Due::Now };
        }
        let silence = self.heard + self.settings.silence_limit();
        if !self.moved || self.assembler.in_transaction() || !self.assembler.knows_file() {
            return Due::At(silence.max(now));
        }
        let record = self.handed_out + self.settings.heartbeat_interval;
        if record <= now { Due::Now } else { Due::At(record.min(silence).max(now)) }
    }

    /// A connection that is half open is noticed by the heartbeats that do not come (MY-58).
    fn check_silence(&self) -> Result<()> {
        let limit = self.settings.silence_limit();
        if self.heard.elapsed() < limit {
            return Ok(());
        }
        Err(Error::retry("server_silent", format!("the server has said nothing for {} s", limit.as_secs())))
    }

    /// Decodes what is in the buffer. No row allocates here.
    fn decode(&mut self) -> Result<Step> {
        self.decode_until(|_| false)
    }

    fn decode_until(&mut self, reached: impl Fn(&Place) -> bool) -> Result<Step> {
        let mut bytes = 0;
        let step = loop {
            if !self.assembler.in_transaction() && reached(self.assembler.place()) {
                break Step::Drained;
            }
            if self.assembler.is_full() {
                break Step::Full;
            }
            if self.elsewhere.is_some() {
                break Step::Elsewhere;
            }
            if self.assembler.continue_rest()? {
                continue;
            }
            if let Some(payload) = &mut self.payload {
                let whole = payload.is_whole();
                if let Some(event) = payload.next_event()? {
                    let applied = self.assembler.apply_inner(event)?;
                    self.applied(applied)?;
                    continue;
                }
                if whole {
                    self.payload = None;
                    continue;
                }
            }
            let packet = match self.log.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break Step::Drained,
                Err(cause) => return Err(refused(cause, self.assembler.place())),
            };
            let applied = match packet {
                LogPacket::Event(event) => {
                    bytes += event.len();
                    let applied = self.assembler.apply(event)?;
                    if applied == Applied::Payload {
                        let (compression, packed) = self.assembler.payload_of(event)?;
                        self.payload = Some(Payload::whole(compression, packed)?);
                    }
                    applied
                }
                LogPacket::Part { bytes: part, first, last } => {
                    bytes += part.len();
                    take_part(&mut self.payload, &mut self.assembler, part, first, last)?;
                    Applied::Nothing
                }
            };
            self.applied(applied)?;
        };
        if bytes > 0 {
            self.metrics.log_bytes.increment(bytes as u64);
        }
        Ok(step)
    }

    fn applied(&mut self, applied: Applied) -> Result<()> {
        match applied {
            Applied::Nothing | Applied::Changed | Applied::Payload => {}
            Applied::GroupEnd => self.moved = true,
            Applied::NeedsPrepared(prepared) => {
                let wanted = Wanted::prepared(self.assembler.place(), &prepared)?;
                self.elsewhere = Some(Elsewhere::Dial(Dialling::start(&self.settings, &self.host, wanted)));
            }
            Applied::Redial => self.ask_anew(),
        }
        Ok(())
    }

    fn ask_anew(&mut self) {
        self.moved = true;
        let wanted = Wanted::log(self.assembler.place());
        self.elsewhere = Some(Elsewhere::Log(Dialling::start(&self.settings, &self.host, wanted)));
    }

    /// Asks for the log anew, or reads a prepared transaction again until the batch is full or it is whole.
    async fn elsewhere(&mut self) -> Result<()> {
        let prepared = match &mut self.elsewhere {
            None => return Ok(()),
            Some(Elsewhere::Log(dialling)) => {
                self.log = dialling.end().await?;
                self.elsewhere = None;
                self.heard = Instant::now();
                return Ok(());
            }
            Some(Elsewhere::Dial(dialling)) => {
                let log = dialling.end().await?;
                self.heard = Instant::now();
                self.elsewhere = Some(Elsewhere::Prepared(Box::new(PreparedLog { log, payload: None })));
                return Ok(());
            }
            Some(Elsewhere::Prepared(prepared)) => prepared,
        };
        let PreparedLog { log, payload } = &mut **prepared;
        if self.assembler.continue_rest()? {
            return Ok(());
        }
        while !self.assembler.is_full() && !self.assembler.has_rest() {
            let mut inner = None;
            if let Some(open) = payload {
                let whole = open.is_whole();
                match open.next_event()? {
                    Some(event) => inner = Some(self.assembler.apply_prepared_inner(event)?),
                    None if whole => *payload = None,
                    None => {}
                }
            }
            let replayed = match inner {
                Some(replayed) => replayed,
                None => match log.next_packet()? {
                    Some(LogPacket::Event(event)) => {
                        let replayed = self.assembler.apply_prepared(event)?;
                        if replayed == Replayed::Payload {
                            let (compression, packed) = self.assembler.payload_of(event)?;
                            *payload = Some(Payload::whole(compression, packed)?);
                        }
                        replayed
                    }
                    Some(LogPacket::Part { bytes, first, last }) => {
                        take_part(payload, &mut self.assembler, bytes, first, last)?;
                        Replayed::More
                    }
                    None => {
                        let silence = self.heard + self.settings.silence_limit();
                        let read = timeout_at(silence, log.read()).await;
                        read.map_err(|_| Error::retry("server_silent", "read a prepared transaction again"))??;
                        self.heard = Instant::now();
                        Replayed::More
                    }
                },
            };
            if let Replayed::Whole(redial) = replayed {
                self.elsewhere = None;
                self.moved = true;
                self.heard = Instant::now();
                if redial {
                    self.ask_anew();
                }
                return Ok(());
            }
        }
        // What waits in the log's own connection is not silence.
        self.heard = Instant::now();
        Ok(())
    }

    fn hand_out(&mut self) -> Result<Batch> {
        self.moved = false;
        self.handed_out = Instant::now();
        self.metrics.log_batches.increment(1);
        let batch = self.assembler.finish(now_micros())?;
        self.feedback.read_up_to(self.assembler.file_and_offset());
        Ok(batch)
    }
}

/// A part of an event too long to be held: only a compressed transaction comes so.
fn take_part(
    payload: &mut Option<Payload>,
    assembler: &mut Assembler,
    part: &[u8],
    first: bool,
    last: bool,
) -> Result<()> {
    if !first {
        let payload = payload.as_mut().ok_or_else(|| protocol("a part of an event without its begin"))?;
        return payload.feed(part, last);
    }
    let (compression, head, packed, checksum) = assembler.enter_payload(part)?;
    let mut begun = Payload::in_parts(compression, head, checksum)?;
    begun.feed(packed, last)?;
    *payload = Some(begun);
    Ok(())
}

/// MariaDB finds out itself whether a place is one of its log: numbers alone do not tell (MY-04).
fn refused(cause: Error, place: &Place) -> Error {
    match place {
        Place::Domains(domains) if cause.code() == LOG_REFUSED => plan::lacks(&domains.to_string()).with_cause(cause),
        _ => cause,
    }
}
