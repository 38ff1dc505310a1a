//! XA transactions: their rows lie in the log where they were prepared, and count from where they are committed (MY-33).
//! Nothing of them is kept in between but where to find them: they are read again, over a connection of its own, when
//! the commit comes. So no memory and no disk is needed for what may stay prepared for days, and a transaction that is
//! rolled back costs nothing.

use super::binding::Binding;
use super::group::GroupId;
use super::{Applied, Assembler};
use crate::binlog::{self, Event, Format, XaPrepare};
use crate::ddl::Xid;
use crate::position::{Place, Prepared};
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::{Error, Result};

/// A prepared transaction that is being read again.
pub(super) struct Replay {
    prepared: Prepared,
    format: Format,
    /// The format of events within a compressed transaction.
    inner: Format,
    /// Whether the transaction has begun on that connection.
    inside: bool,
    /// Ids of tables there: they need not be those of the log's place that is being read.
    bindings: HashMap<u64, Arc<Binding>>,
}

impl Replay {
    /// How the events of the connection look.
    pub(super) fn format(&self) -> &Format {
        &self.format
    }
}

/// What came of an event of that connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// More is to come.
    More,
    /// The event is a compressed transaction: its inner events follow, through [`Assembler::apply_prepared_inner`].
    Payload,
    /// The transaction was whole, and has taken effect where its commit was read. Whether the log must be asked for anew,
    /// as for [`Applied::Redial`].
    Whole(bool),
}

impl Assembler {
    pub(super) fn xa_start(&mut self) -> Result<Applied> {
        let group = self.group()?;
        group.begun = true;
        group.preparing = true;
        Ok(Applied::Nothing)
    }

    pub(super) fn xa_prepare(&mut self, event: &XaPrepare<'_>) -> Result<Applied> {
        let xid = Xid {
            format: i64::from(event.xid.format),
            global: event.xid.global.to_vec(),
            branch: event.xid.branch.to_vec(),
        };
        let origin = self.origin()?;
        let group = self.group()?;
        if group.skipped {
            return self.commit();
        }
        if event.one_phase {
            group.preparing = false;
            return Ok(self.replay(Prepared { xid, origin }));
        }
        self.prepared.retain(|known| known.xid != xid);
        self.prepared.push(Prepared { xid, origin });
        self.commit()
    }

    /// By what the open transaction can be asked for again.
    fn origin(&mut self) -> Result<Arc<str>> {
        let before = |domain| match &self.place {
            Place::Domains(domains) => domains.get(domain).map(|gtid| gtid.to_string()),
            _ => None,
        };
        let group = self.open.as_ref().ok_or_else(|| self.out_of_order("an XA transaction without a begin"))?;
        Ok(match (&self.place, &group.gtid) {
            (Place::File(_), _) => format!("{}:{}", group.start.0, group.start.1).into(),
            (_, GroupId::MariaDb(gtid)) => format!("{}>{gtid}", before(gtid.domain).unwrap_or_default()).into(),
            _ => Arc::clone(&group.id),
        })
    }

    pub(super) fn xa_commit(&mut self, xid: &Xid) -> Result<Applied> {
        let Some(prepared) = self.prepared.iter().find(|known| known.xid == *xid) else {
            if self.prepared.iter().any(Prepared::is_earlier) {
                // Prepared before the source began, and about no captured table.
                self.group()?.preparing = false;
                return self.commit();
            }
            let message = format!(
                "an XA transaction is committed at `{}` that was prepared before the place where this source began",
                self.here()
            );
            return Err(Error::operator("xa_unknown", message).with_remedy(
                "its rows are in no snapshot and not in the log from here on: give the sinks new names (and a Delta sink a \
                 new location), which reads the tables anew; `XA RECOVER` shows what is prepared",
            ));
        };
        // Until its rows are through it stays prepared: a position may lie among them.
        let prepared = prepared.clone();
        self.group()?.preparing = false;
        Ok(self.replay(prepared))
    }

    pub(super) fn xa_rollback(&mut self, xid: &Xid) -> Result<Applied> {
        self.prepared.retain(|known| known.xid != *xid);
        self.group()?.preparing = false;
        self.commit()
    }

    fn replay(&mut self, prepared: Prepared) -> Applied {
        self.replay = Some(Replay {
            prepared: prepared.clone(),
            format: Format::default(),
            inner: Format::default(),
            inside: false,
            bindings: HashMap::new(),
        });
        Applied::NeedsPrepared(prepared)
    }

    /// Takes an event of the connection over which the prepared transaction is read again.
    pub(crate) fn apply_prepared(&mut self, bytes: &[u8]) -> Result<Replayed> {
        self.apply_replayed(bytes, false)
    }

    /// Takes an event out of a compressed transaction of that connection.
    pub(crate) fn apply_prepared_inner(&mut self, bytes: &[u8]) -> Result<Replayed> {
        self.apply_replayed(bytes, true)
    }

    fn apply_replayed(&mut self, bytes: &[u8], inner: bool) -> Result<Replayed> {
        let Some(mut replay) = self.replay.take() else {
            return Err(Error::bug("replay_missing", "no prepared transaction is being read"));
        };
        std::mem::swap(&mut self.bindings, &mut replay.bindings);
        let replayed = self.replay_event(&mut replay, bytes, inner);
        std::mem::swap(&mut self.bindings, &mut replay.bindings);
        match replayed {
            Ok(more @ (Replayed::More | Replayed::Payload)) => {
                self.replay = Some(replay);
                Ok(more)
            }
            Ok(Replayed::Whole(_)) => {
                self.prepared.retain(|known| known.xid != replay.prepared.xid);
                let redial = self.commit()? == Applied::Redial;
                Ok(Replayed::Whole(redial))
            }
            Err(error) => Err(error),
        }
    }

    fn replay_event(&mut self, replay: &mut Replay, bytes: &[u8], inner: bool) -> Result<Replayed> {
        let format = if inner { &replay.inner } else { &replay.format };
        let raw = binlog::split(bytes, format).map_err(|cause| self.undecodable(cause))?;
        let event = binlog::parse(&raw, format).map_err(|cause| self.undecodable(cause))?;
        let origin = &*replay.prepared.origin;
        let own = origin.rsplit_once('>').map_or(origin, |(_, own)| own);
        // By file and offset it is the first that comes.
        let first = matches!(self.place, Place::File(_));
        match event {
            Event::FormatDescription(format) => {
                replay.inner = format.inner();
                replay.format = format;
            }
            Event::Gtid(event) => replay.inside = first || event.gtid.to_string() == *own,
            Event::MariaGtid(event) => replay.inside = first || event.gtid.to_string() == *own,
            Event::AnonymousGtid(_) => replay.inside = first,
            Event::TableMap(map) if replay.inside => {
                self.table_map(&map)?;
            }
            Event::Rows(rows) if replay.inside => {
                self.rows(&rows)?;
            }
            Event::Query(query) if replay.inside => self.replayed_statement(&query)?,
            Event::CompressedQuery(query) if replay.inside => self.opened(&query, Assembler::replayed_statement)?,
            Event::XaPrepare(_) if replay.inside => return Ok(Replayed::Whole(false)),
            Event::Payload(_) if replay.inside => return Ok(Replayed::Payload),
            _ => {}
        }
        Ok(Replayed::More)
    }
}
