//! What goes on beside the log: catalog questions of the reader, the watch over the publication, and the heartbeat
//! message. The watch is a task of its own and ends with the reader.

use crate::config::{Host, Settings};
use crate::control::Control;
use crate::error::control;
use crate::identities::narrow;
use crate::partitions::Partitions;
use crate::publication::{Publication, Watched};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidewire_core::{Error, ErrorKind, Result};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often the publication is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(15);
/// Log that the server must have written since the last heartbeat message before another one is worth its bytes.
const HEARTBEAT_BYTES: i64 = 1 << 20;
/// What marks our message in the log; it is never shipped.
const HEARTBEAT_PREFIX: &str = "tidewire.heartbeat";

/// Whether a message of the log is our own heartbeat: it only has to pass through the server. Layout of `M`: flags,
/// LSN, prefix with a zero byte.
pub(super) fn is_heartbeat(payload: &[u8]) -> bool {
    let Some((b"M", rest)) = payload.split_at_checked(1) else { return false };
    let prefix = rest.split_at_checked(1 + 8).and_then(|(_, rest)| rest.strip_prefix(HEARTBEAT_PREFIX.as_bytes()));
    prefix.is_some_and(|rest| rest.first() == Some(&0))
}

/// The reader's end.
pub(super) struct Side {
    settings: Arc<Settings>,
    host: Host,
    control: Option<Control>,
    /// The publication as the watch saw it last.
    publication: Arc<Mutex<Publication>>,
    /// Oids of the captured tables.
    tables: Arc<[u32]>,
    /// Written by the watch when the source must stop.
    verdict: Arc<Mutex<Option<Error>>>,
}

impl Side {
    /// The watch's verdict.
    pub(super) fn check(&self) -> Result<()> {
        match self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// A session for catalog questions; connects again when it was lost.
    pub(super) async fn control(&mut self) -> Result<&Control> {
        if self.control.as_ref().is_none_or(|control| control.client().is_closed()) {
            self.control = None;
            let control = Control::connect_to(&self.settings, &self.host).await?;
            return Ok(self.control.insert(control));
        }
        self.control.as_ref().ok_or_else(|| Error::bug("control_session", "the control session is missing"))
    }

    /// Refuses tables with narrower partitions, without waiting for the watch.
    pub(super) async fn look_at_leaves(&mut self) -> Result<()> {
        let tables = Arc::clone(&self.tables);
        refuse_narrow(self.control().await?, &tables).await
    }

    /// Refuses a publication that shows less than it did, without waiting for the watch.
    pub(super) async fn look(&mut self) -> Result<()> {
        let (settings, before) = (Arc::clone(&self.settings), Arc::clone(&self.publication));
        look_at(&settings, self.control().await?, &before).await.map(drop)
    }
}

/// Watches the publication and the partitions of its tables.
pub(super) struct Watch {
    settings: Arc<Settings>,
    host: Host,
    control: Option<Control>,
    /// As it was at the last look, or when the source was opened.
    publication: Arc<Mutex<Publication>>,
    /// What is kept of it for the next start.
    watched: Watched,
    /// Oids of the captured tables.
    tables: Arc<[u32]>,
    partitions: Partitions,
    verdict: Arc<Mutex<Option<Error>>>,
    heartbeat: bool,
    /// End of the log at the last heartbeat message.
    beaten: Option<String>,
}

impl Watch {
    /// Compares the publication as it is now with how it was when the source was opened: a long snapshot may lie between.
    pub(super) async fn prepare(
        settings: Arc<Settings>,
        host: Host,
        publication: Publication,
        watched: Watched,
        tables: Arc<[u32]>,
        partitions: Partitions,
    ) -> Result<Watch> {
        let (control, verdict) = (None, Arc::new(Mutex::new(None)));
        let (heartbeat, beaten) = (false, None);
        let publication = Arc::new(Mutex::new(publication));
        let mut watch =
            Watch { settings, host, control, publication, watched, tables, partitions, verdict, heartbeat, beaten };
        watch.look().await?;
        Ok(watch)
    }

    /// Spawns the watch, and leaves its first session to the reader's questions.
    pub(super) fn start(mut self, messages: bool, stop: &CancellationToken) -> Side {
        self.heartbeat = messages && self.settings.heartbeat_message;
        let side = Side {
            settings: Arc::clone(&self.settings),
            host: self.host.clone(),
            control: self.control.take(),
            publication: Arc::clone(&self.publication),
            tables: Arc::clone(&self.tables),
            verdict: Arc::clone(&self.verdict),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(self.run()));
        side
    }

    async fn run(mut self) {
        let interval =
            if self.heartbeat { self.settings.heartbeat_interval.min(WATCH_INTERVAL) } else { WATCH_INTERVAL };
        loop {
            sleep(interval).await;
            match self.look().await {
                Ok(()) => {}
                // The log's own connection decides whether the server is gone.
                Err(error) if error.kind() == ErrorKind::Retry => self.control = None,
                Err(error) => {
                    *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return;
                }
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        if self.control.as_ref().is_none_or(|control| control.client().is_closed()) {
            self.control = Some(Control::connect_to(&self.settings, &self.host).await?);
        }
        let Some(session) = &self.control else { return Ok(()) };
        let now = look_at(&self.settings, session, &self.publication).await?;
        self.watched.see(&now)?;
        if now.sends_old_rows() {
            refuse_narrow(session, &self.tables).await?;
        }
        *self.publication.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.partitions.look(session).await?;
        if self.heartbeat {
            self.beaten = beat(session, self.beaten.take()).await?;
        }
        Ok(())
    }
}

/// The publication as it is now, unless it shows less than before.
async fn look_at(settings: &Settings, session: &Control, before: &Mutex<Publication>) -> Result<Publication> {
    let now = Publication::read(session, settings).await?;
    let before = before.lock().unwrap_or_else(PoisonError::into_inner).clone();
    before.must_be_whole_in(&now, session, &settings.name).await?;
    Ok(now)
}

/// Refuses tables of which some partition logs less of an old row than the server says to send.
async fn refuse_narrow(session: &Control, tables: &[u32]) -> Result<()> {
    match narrow(session.client(), tables).await?.into_iter().next() {
        Some(narrow) => Err(narrow.into_error()),
        None => Ok(()),
    }
}

/// Writes a small message when the log has grown since the last one. It is transactional, because only then the
/// server works out anew how much log it must keep (PG-74). A standby writes no log, until it is promoted.
async fn beat(session: &Control, beaten: Option<String>) -> Result<Option<String>> {
    let sql = "SELECT e.lsn::text, pg_catalog.pg_wal_lsn_diff(e.lsn, coalesce($1::text::pg_lsn, '0/0'))::int8 \
                 FROM (SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn() END) e(lsn)";
    let failed = |cause| control("write a heartbeat message", cause);
    let row = session.client().query_one(sql, &[&beaten]).await.map_err(failed)?;
    let (end, grown): (Option<String>, Option<i64>) =
        (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    if grown.is_none_or(|grown| grown < HEARTBEAT_BYTES) {
        return Ok(beaten);
    }
    let sql = "SELECT pg_catalog.pg_logical_emit_message(true, $1, '')::text";
    session.client().query_one(sql, &[&HEARTBEAT_PREFIX]).await.map_err(failed)?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_74_only_our_own_message_is_passed_over() {
        let message = |prefix: &[u8]| [b"M\x01\0\0\0\0\0\0\0\x07", prefix, b"\0\0\0\0\0"].concat();
        assert!(is_heartbeat(&message(b"tidewire.heartbeat")));
        for other in [message(b"tidewire.heartbeats"), message(b""), b"M".to_vec(), b"I".to_vec(), Vec::new()] {
            assert!(!is_heartbeat(&other));
        }
    }
}
