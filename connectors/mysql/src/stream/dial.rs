//! Asks for the log from a place.

use crate::config::{Host, Settings};
use crate::connection::{Connection, DumpStart, LogReader, Replica};
use crate::gtid::{DomainPositions, GtidSet};
use crate::position::{FilePlace, Place, Prepared};
use std::sync::Arc;
use tidewire_core::{Error, Result};
use tokio::task::JoinHandle;

/// Where to ask from, and as whom.
pub(crate) struct Wanted {
    place: Place,
    replica: Replica,
}

impl Wanted {
    /// The log from a place on, as the source's replica.
    pub(crate) fn log(place: &Place) -> Wanted {
        Wanted { place: place.clone(), replica: Replica::Own }
    }

    /// The log from where a prepared transaction begins, or from before. `place` is the state reached.
    pub(crate) fn prepared(place: &Place, prepared: &Prepared) -> Result<Wanted> {
        let unreadable =
            || Error::bug("origin_unreadable", format!("a prepared transaction is at `{}`", prepared.origin));
        let place = match place {
            Place::Gtid(set) => {
                let own = GtidSet::parse(&prepared.origin).map_err(|_| unreadable())?;
                Place::Gtid(set.subtract(&own))
            }
            Place::Domains(domains) => {
                let (before, own) = prepared.origin.split_once('>').ok_or_else(unreadable)?;
                let own = DomainPositions::parse(own).map_err(|_| unreadable())?;
                let before = DomainPositions::parse(before).map_err(|_| unreadable())?;
                let mut others = DomainPositions::default();
                domains.iter().filter(|gtid| own.get(gtid.domain).is_none()).for_each(|gtid| others.set(gtid));
                before.iter().for_each(|gtid| others.set(gtid));
                Place::Domains(others)
            }
            Place::File(at) => {
                let (file, offset) = prepared.origin.rsplit_once(':').ok_or_else(unreadable)?;
                let offset = offset.parse().map_err(|_| unreadable())?;
                Place::File(FilePlace { file: Arc::from(file), offset, begun: None, ..at.clone() })
            }
        };
        Ok(Wanted { place, replica: Replica::Aside })
    }
}

/// Connects and asks.
pub(crate) async fn dial(settings: &Settings, host: &Host, wanted: Wanted) -> Result<LogReader> {
    let connection = Connection::open(settings, host).await?;
    let Wanted { place, replica } = wanted;
    match &place {
        Place::Gtid(set) => {
            let mut encoded = Vec::new();
            set.encode_dump(&mut encoded);
            connection.start_dump(settings, DumpStart::MySqlGtids { encoded: &encoded }, replica).await
        }
        Place::Domains(domains) => {
            let state = domains.to_string();
            connection.start_dump(settings, DumpStart::MariaDbGtids { state: &state }, replica).await
        }
        Place::File(place) => {
            // The protocol has 32 bits for it (MY-10).
            let position = u32::try_from(place.offset).map_err(|_| {
                let message = format!("the server cannot be asked for `{}` from offset {}", place.file, place.offset);
                Error::operator("offset_too_large", message).with_remedy(
                    "turn on GTIDs, keep transactions below 4 GiB; then give the sinks new names (and a Delta sink a new \
                     location), which reads the tables anew",
                )
            })?;
            connection.start_dump(settings, DumpStart::File { name: &place.file, position }, replica).await
        }
    }
}

/// A dialling under way, in a task of its own: a future that is dropped does not break it off half way.
pub(super) struct Dialling(JoinHandle<Result<LogReader>>);

impl Dialling {
    pub(super) fn start(settings: &Arc<Settings>, host: &Host, wanted: Wanted) -> Dialling {
        let (settings, host) = (Arc::clone(settings), host.clone());
        let limit = settings.connect_timeout * 2;
        let dialled = async move {
            let dialled = tokio::time::timeout(limit, dial(&settings, &host, wanted)).await;
            dialled.unwrap_or_else(|_| Err(Error::retry("connect_timeout", "ask for the log")))
        };
        Dialling(tokio::spawn(dialled))
    }

    /// Waits for its end. Dropping the future loses nothing.
    pub(super) async fn end(&mut self) -> Result<LogReader> {
        let ended = (&mut self.0).await;
        ended.map_err(|cause| Error::bug("task_failed", "ask for the log").with_cause(cause))?
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.abort();
    }
}
