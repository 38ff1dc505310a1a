//! The open transaction: where it begins and ends, and the numbers of its changes.

use super::rollback::Savepoint;
use super::{Applied, Assembler};
use crate::binlog::{AlterPhase as TwoPhase, Format, GtidEvent, Header, MariaGtidEvent};
use crate::gtid::{Gtid, MariaGtid};
use crate::position::Place;
use std::sync::Arc;
use tidewire_core::batch::Provenance;
use tidewire_core::{Error, Result, Transaction};

/// Most ids of tables that are kept from one transaction to the next.
const BINDINGS_MAX: usize = 4_096;

/// What the log calls a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GroupId {
    /// MySQL's GTID.
    MySql(Gtid),
    /// MariaDB's.
    MariaDb(MariaGtid),
    /// None.
    Anonymous,
}

/// A two-phase ALTER of MariaDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlterPhase {
    /// An ordinary group, or the second phase that takes effect.
    Effective,
    /// The first phase, or one that came to nothing.
    Idle,
}

/// A transaction whose end has not been read yet.
#[derive(Debug)]
pub(super) struct Group {
    /// For people and consumers: the GTID, or file and offset.
    pub(super) id: Arc<str>,
    pub(super) gtid: GroupId,
    server_id: u32,
    /// The session that made it, once its BEGIN tells.
    pub(super) thread: Option<u32>,
    pub(super) commit_micros: i64,
    /// Whether a BEGIN was read, or MariaDB's event says as much: then only a COMMIT ends it.
    pub(super) begun: bool,
    /// Whether the statement in it takes effect.
    pub(super) alter: AlterPhase,
    /// Whether its rows are only prepared: nothing of it is shipped.
    pub(super) preparing: bool,
    /// Where it begins, for a prepared one that is read again without GTIDs.
    pub(super) start: (Arc<str>, u64),
    /// Whether it lies beyond the place that has to be reached first.
    pub(super) skipped: bool,
    /// Whether rows of transactional tables were shipped.
    pub(super) transactional_rows: bool,
    /// Tables of the batch without transactions, whose rows stay when others are taken back.
    pub(super) lasting: Vec<u32>,
    /// Savepoints in order.
    pub(super) savepoints: Vec<Savepoint>,
    /// Changes in the batch before its first one.
    pub(super) begins_at: usize,
    /// Whether a batch with some of it was handed out.
    pub(super) handed_out: bool,
    /// Changes so far, also those that are passed over.
    pub(super) ordinal: u64,
    /// Whether the batch in the making has it.
    pub(super) in_batch: bool,
    /// Whether any batch has had it.
    pub(super) shipped: bool,
}

impl Group {
    fn new(id: String, gtid: GroupId, header: &Header, commit_micros: Option<u64>, start: (Arc<str>, u64)) -> Group {
        let header_micros = i64::from(header.timestamp).saturating_mul(1_000_000);
        Group {
            id: id.into(),
            gtid,
            server_id: header.server_id,
            thread: None,
            commit_micros: commit_micros.and_then(|micros| i64::try_from(micros).ok()).unwrap_or(header_micros),
            begun: false,
            alter: AlterPhase::Effective,
            preparing: false,
            start,
            skipped: false,
            transactional_rows: false,
            lasting: Vec::new(),
            savepoints: Vec::new(),
            begins_at: 0,
            handed_out: false,
            ordinal: 0,
            in_batch: false,
            shipped: false,
        }
    }

    fn in_batch(&self, major: u64, file: &Arc<str>) -> Transaction {
        let gtid = match self.gtid {
            GroupId::Anonymous => Provenance::Absent,
            _ => Provenance::Text(Arc::clone(&self.id)),
        };
        Transaction {
            id: Arc::clone(&self.id),
            commit: major,
            commit_time_micros: self.commit_micros,
            previous_commit: None,
            provenance: vec![
                Provenance::Int(i64::from(self.server_id)),
                gtid,
                Provenance::Text(Arc::clone(file)),
                self.thread.map_or(Provenance::Absent, |thread| Provenance::Int(i64::from(thread))),
            ],
        }
    }
}

impl Assembler {
    pub(super) fn begin_gtid(&mut self, event: &GtidEvent, header: &Header) -> Result<Applied> {
        let gtid = event.gtid.clone();
        let micros = event.original_commit.filter(|micros| *micros > 0).or(event.immediate_commit);
        let mut group = Group::new(gtid.to_string(), GroupId::MySql(gtid.clone()), header, micros, self.start());
        match &self.place {
            Place::Gtid(set) if set.contains(&gtid) => {
                return Err(self.out_of_order(&format!("transaction `{gtid}` comes a second time")));
            }
            Place::Gtid(_) => {
                group.skipped = matches!(self.targets.front(), Some(Place::Gtid(target)) if !target.contains(&gtid));
            }
            Place::File(_) => {}
            Place::Domains(_) => return Err(self.out_of_order("a GTID of MySQL in a log of MariaDB")),
        }
        self.open(group)
    }

    pub(super) fn begin_anonymous(&mut self, event: &GtidEvent, header: &Header) -> Result<Applied> {
        if !matches!(self.place, Place::File(_)) {
            let message = format!("a transaction without a GTID among those with one, at `{}`", self.here());
            return Err(Error::operator("anonymous_transaction", message).with_remedy(
                "set gtid_mode = ON on the server and let no transaction come without a GTID; to read a server without \
                 GTIDs set `position = \"file\"` and give the sinks new names (and a Delta sink a new location)",
            ));
        }
        let micros = event.original_commit.filter(|micros| *micros > 0).or(event.immediate_commit);
        let start = self.start();
        let id = format!("{}:{}", start.0, start.1);
        self.open(Group::new(id, GroupId::Anonymous, header, micros, start))
    }

    pub(super) fn begin_mariadb(&mut self, event: &MariaGtidEvent<'_>, header: &Header) -> Result<Applied> {
        let gtid = event.gtid;
        let mut group = Group::new(gtid.to_string(), GroupId::MariaDb(gtid), header, None, self.start());
        group.begun = !event.is_standalone();
        group.thread = event.thread_id;
        if matches!(event.alter, Some(TwoPhase::Start | TwoPhase::Rollback { .. })) {
            group.alter = AlterPhase::Idle;
        }
        group.preparing = event.prepares_xa();
        match &self.place {
            // Of a domain that the place does not know everything is new.
            Place::Domains(domains) if domains.covers(&gtid) => {
                let message =
                    format!("transaction `{gtid}` comes after a later one of its domain, at `{}`", self.here());
                return Err(Error::operator("gtid_out_of_order", message).with_remedy(
                    "sequence numbers of a domain must rise: see gtid_strict_mode; to go by files and offsets instead set \
                     `position = \"file\"` and give the sinks new names (and a Delta sink a new location)",
                ));
            }
            Place::Domains(domains) => {
                if let Some(Place::Domains(target)) = self.targets.front() {
                    let wanted = target.get(gtid.domain).filter(|wanted| !domains.covers(wanted));
                    if let Some(wanted) = wanted.filter(|wanted| wanted.sequence <= gtid.sequence && *wanted != gtid) {
                        return Err(crate::plan::lacks(&wanted.to_string()));
                    }
                    group.skipped = !target.covers(&gtid);
                }
            }
            Place::File(_) => {}
            Place::Gtid(_) => return Err(self.out_of_order("a GTID of MariaDB in a log of MySQL")),
        }
        self.open(group)
    }

    /// File and offset at which the event begins.
    fn start(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.file), self.event_start)
    }

    fn open(&mut self, group: Group) -> Result<Applied> {
        if self.open.is_some() {
            return Err(self.out_of_order("a transaction begins inside another"));
        }
        if let Place::File(_) = self.place {
            self.major = self.place.major()?;
        }
        self.passed_over |= group.skipped;
        self.open = Some(group);
        Ok(Applied::Nothing)
    }

    /// The transaction takes effect.
    pub(super) fn commit(&mut self) -> Result<Applied> {
        let group = self.open.take().ok_or_else(|| self.out_of_order("a commit without a transaction"))?;
        // Ids of tables are made anew again and again, and maps come with each transaction.
        if self.bindings.len() > BINDINGS_MAX {
            self.bindings.clear();
        }
        if group.skipped {
            return Ok(Applied::Nothing);
        }
        match (&mut self.place, group.gtid) {
            (Place::Gtid(set), GroupId::MySql(gtid)) => {
                set.insert(&gtid);
                self.major += 1;
            }
            (Place::Domains(domains), GroupId::MariaDb(gtid)) => {
                domains.advance(gtid).map_err(|cause| {
                    Error::operator("gtid_out_of_order", "follow the GTIDs of the log").with_cause(cause)
                })?;
                self.major = domains.sum();
            }
            (Place::File(_), _) => self.follow_file(),
            _ => return Err(self.out_of_order("a transaction of another kind than the place")),
        }
        if !self.next_target() {
            return Ok(Applied::GroupEnd);
        }
        // The next connection says anew how its events look.
        self.format = Format::default();
        Ok(Applied::Redial)
    }

    /// Goes on to the next place that has to be reached. True when transactions were passed over on the way to this.
    pub(super) fn next_target(&mut self) -> bool {
        let mut reached = false;
        while self.targets.front().is_some_and(|target| *target == self.place) {
            self.targets.pop_front();
            reached = true;
        }
        reached && std::mem::take(&mut self.passed_over)
    }

    pub(super) fn group(&mut self) -> Result<&mut Group> {
        match self.open {
            Some(ref mut group) => Ok(group),
            None => Err(Error::operator(
                "log_out_of_order",
                format!("a change without a transaction, before offset {}", self.offset),
            )
            .with_remedy("report the server's version; nothing was acknowledged past this place")),
        }
    }

    /// The open transaction, made part of the batch.
    pub(super) fn open_transaction(&mut self) -> Result<&mut Group> {
        let (major, file) = (self.major, Arc::clone(&self.file));
        let group = self.open.as_mut().ok_or_else(|| {
            Error::operator("log_out_of_order", format!("a change without a transaction, in `{file}`"))
        })?;
        if !group.in_batch {
            group.begins_at = self.builder.len();
            self.builder.transaction(group.in_batch(major, &file));
            (group.in_batch, group.shipped) = (true, true);
        }
        Ok(group)
    }
}
