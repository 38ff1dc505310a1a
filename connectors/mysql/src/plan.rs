//! Where the log begins for us: what the sinks hold beside what the server still has. Without any I/O. Refuses whatever
//! could lose a change, and never begins past it.

use crate::gtid::{DomainPositions, GtidSet, MariaGtid};
use crate::model::Flavour;
use crate::position::{FilePlace, Place, StoredPosition, file_number};
use std::collections::{BTreeMap, VecDeque};
use tidewire_core::source::Resume;
use tidewire_core::{Error, Mark, Position, Progress, Result, TableName};

/// Room that the event at a file's end takes which names the next file: 31 bytes and the name. Less than the smallest
/// transaction, which is two events.
const ROTATE_MAX: u64 = 64;

/// What the server has.
#[derive(Clone, Debug)]
pub(crate) struct ServerLog {
    /// Which server.
    pub(crate) flavour: Flavour,
    /// Its identity, for places in files.
    pub(crate) server: String,
    /// Its files and their sizes, from the oldest on.
    pub(crate) files: Vec<(String, u64)>,
    /// MySQL: what it ever executed, and what of that it no longer has. MariaDB: none.
    pub(crate) sets: Option<(GtidSet, GtidSet)>,
    /// MariaDB: where its log ends, and where its oldest file begins. MySQL: none.
    pub(crate) domains: Option<(DomainPositions, DomainPositions)>,
}

/// The decision.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The lowest place that a sink needs.
    pub(crate) stored: StoredPosition,
    /// Further places that must be reached one after another.
    pub(crate) targets: VecDeque<Place>,
}

/// Decides where to begin; `None` when no sink holds anything.
pub(crate) fn plan(resume: &Resume, server: &ServerLog) -> Result<Option<Start>> {
    let held = resume.sinks.iter().filter_map(|sink| sink.progress.resume_from());
    let held = held.map(StoredPosition::parse).collect::<Result<Vec<_>>>()?;
    let Some(lowest) = held.into_iter().min_by_key(|stored| stored.mark) else { return Ok(None) };
    let targets = targets(&compared(resume)?, &lowest, server)?;
    let mut stored = lowest;
    next_file(&mut stored.place, server);
    Ok(Some(Start { stored, targets }))
}

/// Every place that some sink compares changes with, in order: its own, those of tables behind it, and the floors of
/// tables that were read.
fn compared(resume: &Resume) -> Result<Vec<StoredPosition>> {
    let mut places: BTreeMap<(Mark, &str), &Position> = BTreeMap::new();
    for progress in resume.sinks.iter().map(|sink| &sink.progress) {
        let floors = progress.tables.values().map(|table| &table.floor);
        for position in progress.position.iter().chain(progress.behind.values()).chain(floors) {
            places.insert((position.mark, &*position.text), position);
        }
    }
    places.into_values().map(StoredPosition::parse).collect()
}

/// The places that must be reached one after another, ascending: those of the sinks, and the ends of the transactions that
/// they are in. Places below the lowest that is needed are behind us.
fn targets(places: &[StoredPosition], lowest: &StoredPosition, server: &ServerLog) -> Result<VecDeque<Place>> {
    let mut targets = VecDeque::new();
    // Between transactions, and where the transaction ends that any sink there is in.
    let (mut at, mut end): (&Place, Option<Place>) = (&lowest.place, None);
    served(at, server)?;
    for stored in places.iter().filter(|stored| stored.mark >= lowest.mark) {
        if stored.place != *at {
            served(&stored.place, server)?;
            let before = end.as_ref().unwrap_or(at);
            if !contains(&stored.place, before) {
                return Err(diverged(before, &stored.place));
            }
            if stored.place != *before && !matches!(stored.place, Place::File(_)) {
                targets.push_back(stored.place.clone());
            }
            (at, end) = (&stored.place, None);
        }
        let Some(own) = with_open(stored)? else { continue };
        match &end {
            None => {
                served(&own, server)?;
                targets.push_back(own.clone());
                end = Some(own);
            }
            Some(end) if *end != own => return Err(diverged(end, &own)),
            Some(_) => {}
        }
    }
    Ok(targets)
}

/// From where on some sink needs the changes of a table. `read_at` is the place of a reading that begins now.
pub(crate) fn needed_from(resume: &Resume, table: &TableName, read_at: Option<Mark>) -> Mark {
    let name = table.to_string();
    let of = |progress: &Progress| {
        let held = progress.position_of(table).map_or(Mark::default(), |position| position.mark);
        match progress.tables.get(&name) {
            Some(table) => held.max(table.floor.mark),
            None => read_at.unwrap_or(held),
        }
    };
    resume.sinks.iter().map(|sink| of(&sink.progress)).min().or(read_at).unwrap_or_default()
}

/// The place after the open transaction of a position: that one must come next, whatever another server's order is.
fn with_open(stored: &StoredPosition) -> Result<Option<Place>> {
    let Some((id, _)) = &stored.open else { return Ok(None) };
    let unreadable = || {
        Error::operator("position_unreadable", format!("the stored position names transaction `{id}`"))
            .with_remedy("give the sinks new names (and a Delta sink a new location), which reads the tables anew")
    };
    match &stored.place {
        Place::Gtid(set) => {
            let mut set = set.clone();
            set.union(&GtidSet::parse(id).map_err(|_| unreadable())?);
            Ok(Some(Place::Gtid(set)))
        }
        Place::Domains(domains) => {
            let mut domains = domains.clone();
            let own = DomainPositions::parse(id).map_err(|_| unreadable())?;
            own.iter().for_each(|gtid| domains.set(gtid));
            Ok(Some(Place::Domains(domains)))
        }
        Place::File(_) => Ok(None),
    }
}

/// Whether `place` lies at or behind `before`.
pub(crate) fn contains(place: &Place, before: &Place) -> bool {
    match (place, before) {
        (Place::Gtid(place), Place::Gtid(before)) => before.is_subset_of(place),
        (Place::Domains(place), Place::Domains(before)) => {
            before.is_reached_by(place) && clash(before, place).is_none()
        }
        (Place::File(place), Place::File(before)) => {
            let key = |place: &FilePlace| (file_number(&place.file), place.offset);
            place.server == before.server && key(before) <= key(place)
        }
        _ => false,
    }
}

/// The transaction of which the other has another one with the same number.
fn clash(one: &DomainPositions, other: &DomainPositions) -> Option<MariaGtid> {
    one.iter().find(|own| other.get(own.domain).is_some_and(|last| last.sequence == own.sequence && last != *own))
}

/// Whether the server can send everything after a place, and is one that has been there.
fn served(place: &Place, server: &ServerLog) -> Result<()> {
    match place {
        Place::Gtid(set) => {
            let Some((executed, purged)) = &server.sets else { return Err(other_kind(place, server)) };
            let errant = set.subtract(executed);
            if !errant.is_empty() {
                return Err(lacks(&errant.to_string()));
            }
            let gone = purged.subtract(set);
            if gone.is_empty() { Ok(()) } else { Err(purged_error(&gone.to_string())) }
        }
        Place::Domains(domains) => {
            let Some((end, begin)) = &server.domains else { return Err(other_kind(place, server)) };
            let behind = |own: &MariaGtid| end.get(own.domain).is_none_or(|last| last.sequence < own.sequence);
            if let Some(errant) = domains.iter().find(behind).or_else(|| clash(domains, end)) {
                return Err(lacks(&errant.to_string()));
            }
            // What lay before the oldest file and is not ours has gone.
            let gone =
                begin.iter().find(|first| domains.get(first.domain).is_none_or(|own| own.sequence < first.sequence));
            gone.map_or(Ok(()), |gone| Err(purged_error(&gone.to_string())))
        }
        Place::File(place) => file_served(place, server),
    }
}

fn file_served(place: &FilePlace, server: &ServerLog) -> Result<()> {
    if *place.server != *server.server || place.flavour != server.flavour {
        let message = format!(
            "the sinks hold a place in a file of server `{}`, and this is server `{}`",
            place.server, server.server
        );
        return Err(Error::operator("server_changed", message).with_remedy(
            "places in files mean nothing to another server: point `url` at the one that was read before; or give the sinks \
             new names (and a Delta sink a new location), which reads the tables anew. With GTIDs a failover needs neither",
        ));
    }
    let Some((_, size)) = server.files.iter().find(|(name, _)| *name == *place.file) else {
        return Err(purged_error(&place.file));
    };
    if place.offset > *size {
        let message = format!("file `{}` ends at {size}, and the sinks hold its offset {}", place.file, place.offset);
        return Err(Error::operator("server_behind", message).with_remedy(
            "the server lost the end of its log or was reset: what the sinks hold may not be on it; give them new names \
             (and a Delta sink a new location), which reads the tables anew",
        ));
    }
    Ok(())
}

/// A place at the very end of a file is the begin of the next one. Beyond 4 GiB only so can the log be asked for (MY-10).
fn next_file(place: &mut Place, server: &ServerLog) {
    let Place::File(place) = place else { return };
    let at = server.files.iter().position(|(name, _)| *name == *place.file);
    let ends =
        |index: usize| server.files.get(index).is_some_and(|(_, size)| size - place.offset.min(*size) <= ROTATE_MAX);
    if let Some(index) = at.filter(|index| u32::try_from(place.offset).is_err() && ends(*index))
        && let Some((next, _)) = server.files.get(index + 1)
    {
        place.file = next.as_str().into();
        (place.offset, place.begun) = (4, None);
    }
}

fn other_kind(place: &Place, server: &ServerLog) -> Error {
    let message = format!(
        "the sinks hold `{}`, and the server is {} {}",
        place.to_string().chars().take(60).collect::<String>(),
        server.flavour.connector(),
        if server.sets.is_some() || server.domains.is_some() { "with other GTIDs" } else { "without GTIDs" }
    );
    Error::operator("position_of_other_server", message).with_remedy(
        "point `url` at the server that was read before, or turn its gtid_mode ON again; or give the sinks new names (and a \
         Delta sink a new location), which reads the tables anew",
    )
}

/// MY-04: the server was restored to an earlier state, or took over without all that its predecessor had.
pub(crate) fn lacks(what: &str) -> Error {
    Error::operator("errant_gtid", format!("the sinks hold transactions that the server does not have: {what}")).with_remedy(
        "it lost them or never had them: point `url` at a server that has them; or give the sinks new names (and a Delta \
         sink a new location), which reads the tables anew",
    )
}

/// MY-01, MY-05.
fn purged_error(what: &str) -> Error {
    Error::operator("binlog_purged", format!("the server no longer has all of its log that the sinks need: {what} is gone"))
        .with_remedy(
            "point `url` at a replica that still has it; or give the sinks new names (and a Delta sink a new location), which \
             reads the tables anew; raise binlog_expire_logs_seconds (MariaDB: expire_logs_days) so that it does not \
             happen again",
        )
}

fn diverged(one: &Place, other: &Place) -> Error {
    Error::operator("positions_diverged", format!("two sinks hold places of which neither lies behind the other: {one} and {other}"))
        .with_remedy(
            "one of them was away while another server with another order of commits took over, or they were fed from \
             different histories: give one of them a new name (and a Delta sink a new location), which reads the tables anew",
        )
}

#[cfg(test)]
mod tests;
