//! The decision itself, without any I/O.

use super::{Loss, Slot};
use crate::position::{Lsn, ServerIdentity, StoredPosition};
use tidewire_core::source::Resume;
use tidewire_core::{Error, Position, Progress, Result, SnapshotMode, TableName};

/// What is known of the server.
#[derive(Clone, Debug)]
pub(crate) struct ServerState {
    /// Cluster and timeline.
    pub(crate) identity: ServerIdentity,
    /// End of the flushed log.
    pub(crate) flushed: Lsn,
    /// Ends of earlier timelines, as `TIMELINE_HISTORY` tells; empty when nobody asked.
    pub(crate) switches: Vec<(u32, Lsn)>,
    /// The database we are in.
    pub(crate) database: String,
    /// The source's name.
    pub(crate) source: String,
    /// The slot's name.
    pub(crate) slot_name: String,
    /// The slot.
    pub(crate) slot: Option<Slot>,
}

/// What to do about the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotUse {
    /// Create it.
    Create,
    /// Use it as it is.
    Keep,
}

/// Where the log begins for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the consistent point of the slot whose snapshot is read.
    Snapshot,
    /// Here.
    At(Lsn),
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// About the slot.
    pub(crate) slot: SlotUse,
    /// Where the log begins.
    pub(crate) start: Start,
    /// Tables to read.
    pub(crate) tables: Vec<TableName>,
}

/// Decides; refuses whatever could lose a change. The captured tables are those of the publication that the
/// configuration wants.
pub(crate) fn plan(
    resume: &Resume,
    server: &ServerState,
    captured: &[TableName],
    snapshot: SnapshotMode,
) -> Result<Plan> {
    let tables = match snapshot {
        SnapshotMode::Never => Vec::new(),
        SnapshotMode::Initial => missing_somewhere(resume, captured),
    };
    let held = resume.sinks.iter().filter_map(|sink| sink.progress.resume_from());
    let held = held.map(StoredPosition::parse).collect::<Result<Vec<_>>>()?;
    let lowest = held.iter().copied().min_by_key(|stored| stored.mark);

    let (slot, lowest) = match (&server.slot, lowest) {
        (None, None) => return Ok(Plan { slot: SlotUse::Create, start: Start::Snapshot, tables }),
        (None, Some(lowest)) => return Err(slot_missing(server, lowest)),
        (Some(slot), lowest) => (slot, lowest),
    };
    let confirmed = usable(server, slot)?;
    let Some(lowest) = lowest else {
        let start = if tables.is_empty() { Start::At(confirmed) } else { Start::Snapshot };
        return Ok(Plan { slot: SlotUse::Keep, start, tables });
    };
    for place in compared(resume) {
        same_history(server, slot, confirmed, &StoredPosition::parse(place)?)?;
    }
    if lowest.lsn() < confirmed {
        if !resume.accept_server_position {
            return Err(slot_ahead(server, slot, confirmed, lowest));
        }
        tracing::warn!(
            slot = server.slot_name,
            stored = %lowest.lsn(),
            server = %confirmed,
            "the operator accepts the server's position; changes in between are not shipped"
        );
        return Ok(Plan { slot: SlotUse::Keep, start: Start::At(confirmed), tables });
    }
    Ok(Plan { slot: SlotUse::Keep, start: Start::At(lowest.lsn()), tables })
}

/// Every place that a sink compares changes with: its own, those of tables behind it, and the floors beyond it. On another
/// timeline each of them must lie before the switch, not just the lowest: changes up to there are taken for held.
pub(crate) fn compared(resume: &Resume) -> impl Iterator<Item = &Position> {
    resume.sinks.iter().flat_map(|sink| {
        let Progress { position, tables, behind } = &sink.progress;
        let is_beyond = move |floor: &&Position| position.as_ref().is_none_or(|held| held.mark < floor.mark);
        let floors = tables.values().map(|table| &table.floor).filter(is_beyond);
        position.iter().chain(behind.values()).chain(floors)
    })
}

/// A table is read again when at least one sink does not hold it whole.
fn missing_somewhere(resume: &Resume, captured: &[TableName]) -> Vec<TableName> {
    let missing =
        |table: &&TableName| resume.sinks.is_empty() || resume.sinks.iter().any(|sink| !sink.progress.is_done(table));
    captured.iter().filter(missing).cloned().collect()
}

/// Checks that the slot can serve us and tells where it goes on.
fn usable(server: &ServerState, slot: &Slot) -> Result<Lsn> {
    let name = &server.slot_name;
    let differs = [
        (slot.slot_type.as_deref() != Some("logical"), "it is no logical slot".to_owned()),
        (
            slot.plugin.as_deref() != Some("pgoutput"),
            format!("its plugin is `{}` and not `pgoutput`", slot.plugin.as_deref().unwrap_or("")),
        ),
        (
            slot.database.as_deref() != Some(&server.database),
            format!("it belongs to database `{}`", slot.database.as_deref().unwrap_or("")),
        ),
        (slot.temporary, "it is temporary".to_owned()),
        (slot.two_phase, "it decodes prepared transactions before they are committed".to_owned()),
    ];
    if let Some((_, reason)) = differs.into_iter().find(|(differs, _)| *differs) {
        return Err(Error::operator("slot_unusable", format!("slot `{name}` cannot be used: {reason}"))
            .with_remedy("give another name as `slot`, or drop the slot if nobody needs it"));
    }
    let lsn = |text: &Option<String>| text.as_deref().map(str::parse::<Lsn>).transpose();
    let read =
        |text| lsn(text).map_err(|cause| Error::bug("slot_unreadable", "read the slot's place").with_cause(cause));
    let (restart, confirmed) = (read(&slot.restart_lsn)?, read(&slot.confirmed_flush_lsn)?);
    let loss = Loss { reason: slot.invalidation_reason.as_deref(), conflicting: slot.conflicting == Some(true) };
    let lost = slot.wal_status.as_deref() == Some("lost") || loss.reason.is_some() || loss.conflicting;
    if lost || (restart.is_none() && confirmed.is_some()) {
        let message = format!("slot `{name}` is lost on the server ({})", loss.words());
        return Err(Error::operator("slot_lost", message).with_remedy(format!(
            "the log in between is gone: drop the slot and give the sinks new names (and a Delta sink a new location), which \
             reads the tables anew; {}",
            loss.prevention()
        )));
    }
    // A slot without a place is still being made: its maker waits for older transactions (PG-16).
    confirmed.ok_or_else(|| Error::retry("slot_unready", format!("slot `{name}` is still being created")))
}

/// Checks that a stored place lies in the server's history (PG-06, PG-06b, PG-07).
fn same_history(server: &ServerState, slot: &Slot, confirmed: Lsn, stored: &StoredPosition) -> Result<()> {
    let (ours, theirs) = (stored.identity, server.identity);
    if ours.system_id != theirs.system_id {
        let message = format!(
            "the server is cluster {} and the sinks hold positions of cluster {}",
            theirs.system_id, ours.system_id
        );
        return Err(Error::operator("system_identifier_mismatch", message)
            .with_remedy("point `url` at the server that was read before, or use a new source name for this one"));
    }
    if ours.timeline != theirs.timeline {
        let switched = server.switches.iter().find(|(timeline, _)| *timeline == ours.timeline).map(|(_, lsn)| *lsn);
        let carried_over = slot.failover && slot.synced && confirmed <= stored.lsn();
        if !carried_over || switched.is_none_or(|switched| !reaches(switched, stored)) {
            let message = format!(
                "the server is on timeline {} and the sinks hold position {} of timeline {}",
                theirs.timeline,
                stored.lsn(),
                ours.timeline
            );
            return Err(Error::operator("timeline_changed", message).with_remedy(
                "it was restored or promoted: its history may differ from what the sinks hold; give them new names \
                 (and a Delta sink a new location), which reads the tables anew. From PostgreSQL 17 a slot with failover \
                 survives a promotion",
            ));
        }
    }
    if !reaches(server.flushed, stored) {
        let message =
            format!("the server's log ends at {} and the sinks hold position {}", server.flushed, stored.lsn());
        return Err(Error::operator("server_behind", message).with_remedy(
            "the server was restored to an earlier state: give the sinks new names (and a Delta sink a new location), which \
             reads the tables anew",
        ));
    }
    Ok(())
}

/// Whether a log that ends here has all before a place. One inside a transaction is named by the start of its commit record,
/// and the transaction is there only with that record.
fn reaches(end: Lsn, stored: &StoredPosition) -> bool {
    if stored.mark.minor == 0 { stored.lsn() <= end } else { stored.lsn() < end }
}

fn slot_missing(server: &ServerState, lowest: StoredPosition) -> Error {
    let message =
        format!("slot `{}` does not exist, and the sinks hold positions from {}", server.slot_name, lowest.lsn());
    Error::operator("slot_missing", message).with_remedy(format!(
        "changes since then may be lost: give the sinks new names (and a Delta sink a new location), which reads the \
         tables anew; or, to go on without them, run \
         `SELECT pg_catalog.pg_create_logical_replication_slot('{}', 'pgoutput')` and start once with `tidewire run --accept-slot-position {}`",
        server.slot_name, server.source
    ))
}

/// No slot of ours is ever ahead of the sinks: it moves only after them. Either it was advanced by hand, or it was
/// dropped and created anew, and then nothing before its creation can be had from it (PG-04).
fn slot_ahead(server: &ServerState, slot: &Slot, confirmed: Lsn, lowest: StoredPosition) -> Error {
    let restart = slot.restart_lsn.as_deref().and_then(|text| text.parse::<Lsn>().ok());
    let code =
        if restart.is_some_and(|restart| restart > lowest.lsn()) { "slot_recreated" } else { "slot_ahead_of_sink" };
    let message =
        format!("slot `{}` goes on at {confirmed}, and a sink needs the log from {}", server.slot_name, lowest.lsn());
    Error::operator(code, message).with_remedy(format!(
        "someone advanced or recreated the slot: give the sinks new names (and a Delta sink a new location), which reads \
         the tables anew; or, if nothing of the captured tables changed in between, start once with \
         `tidewire run --accept-slot-position {}`",
        server.source
    ))
}

#[cfg(test)]
mod tests;
