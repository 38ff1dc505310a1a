//! Opening a source: look, decide, and only then touch the slot.

use super::reader::Reader;
use crate::assemble::{Assembler, PROVENANCE};
use crate::catalog::{Described, PublishedTable, describe_table, published_tables, uncounted};
use crate::config::Settings;
use crate::connection::{Connection, SessionKind, SystemIdentity, identify};
use crate::control::Control;
use crate::error::protocol;
use crate::joined::Joined;
use crate::metrics::SourceMetrics;
use crate::monitor::Monitor;
use crate::partitions::{Known, Partitions};
use crate::position::{Lsn, StoredPosition};
use crate::preflight::{Lack, Preflight};
use crate::publication::{Kept, Publication};
use crate::slot::{Plan, ServerState, Slot, SlotUse, Start, compared, held_by_another, plan};
use crate::snapshot::{Snapshot, SnapshotPlan, SnapshotTable, shapes};
use crate::stream::{Feedback, LogStream, StreamStart};
use crate::{preflight, setup};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::source::{OpenSource, Resume};
use tidewire_core::{
    BatchLimits, Error, ErrorKind, Result, Severity, SnapshotMode, SourceDescriptor, TableName, failpoint,
};

/// How long a new slot may wait for transactions that are older (PG-16).
const SLOT_CREATION: Duration = Duration::from_secs(600);
/// How long it may keep the log from being read when only tables are waited for that nobody has begun to read.
const UNREAD_PATIENCE: Duration = Duration::from_secs(15);
/// After so long the waiting is said in the log.
const SLOT_CREATION_NOTICE: Duration = Duration::from_secs(5);

/// After so long more the server may end a session whose slot came too late.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// The code of a slot that is not made in time.
const SLOT_TIMEOUT: &str = "slot_creation_timeout";

/// The consistent point of a new slot and its exported snapshot.
struct Exported {
    point: Lsn,
    snapshot: Option<String>,
}

/// A captured table: how the publication lists it and how it is read.
struct Captured {
    published: PublishedTable,
    described: Arc<Described>,
}

pub(super) async fn open(
    settings: Arc<Settings>,
    control: Control,
    resume: &Resume,
    joined: Joined,
    known: Known,
    kept: &Kept,
) -> Result<OpenSource> {
    let host = control.host().clone();
    let captured = captured(&control, &settings, resume, &joined).await?;
    let publication = watched(&control, &settings, &captured).await?;
    let mut replication = Connection::open(&settings, &host, SessionKind::Replication).await?;
    let (system, plan) = decide(&control, &mut replication, &settings, resume, &captured, &joined).await?;
    let compared = kept.compare(&control, resume, &publication, &settings.tables, &settings.name).await?;
    let mut wanted = wanted(&control, &settings, &captured, &plan.tables).await?;
    let partitions = partitions(&control, &settings, &captured, &wanted, known).await?;
    let exported = export(&mut replication, &settings, resume, &plan, &mut wanted, &joined).await?;
    let (start, export) = beginning(plan.start, exported)?;
    let descriptor = Arc::new(SourceDescriptor {
        name: Arc::clone(&settings.name),
        connector: "postgresql",
        database: Arc::from(settings.database.as_str()),
        provenance: PROVENANCE,
        has_sequence: true,
        snapshot_floor: export.as_ref().map(|(point, _)| system.identity.boundary(*point)),
    });
    let read = wanted.iter().map(|table| table.published.oid).collect();
    let watched = compared.keep(resume, &publication, &settings.tables, &read, system.flushed)?;
    let limits = BatchLimits::default();
    let mut assembler = Assembler::new(Arc::clone(&descriptor), system.identity, limits, settings.tables.clone());
    assembler.accept_until(watched.accepted_until());
    for table in &captured {
        assembler.define(Described::clone(&table.described))?;
    }
    if let Some((floor, _)) = &export {
        pass_over_read(&mut assembler, &wanted, resume, &joined, *floor);
    }
    let metrics = SourceMetrics::new(&settings.name);
    let feedback = Arc::new(Feedback::default());
    let snapshot_rows_expected = wanted.iter().map(|table| table.published.rows_estimated).sum();
    let stream = StreamStart {
        settings: Arc::clone(&settings),
        host: host.clone(),
        start,
        after_snapshot: export.is_some(),
        assembler,
        feedback: Arc::clone(&feedback),
        metrics: metrics.clone(),
        joined,
        publication,
        watched,
        tables: captured.iter().map(|table| table.published.oid).collect(),
        partitions,
    };
    let reader = match export {
        Some((floor, name)) => {
            tracing::info!(tables = wanted.len(), place = %floor, "the snapshot begins");
            let settings = Arc::clone(&settings);
            let descriptor = Arc::clone(&descriptor);
            let plan =
                SnapshotPlan { settings, host, control, descriptor, name, floor, tables: wanted, limits, metrics };
            let snapshot = Snapshot::start(plan).await?;
            replication.close().await;
            Reader::with_snapshot(snapshot, stream)
        }
        None => {
            replication.close().await;
            let watched = stream.watched.clone();
            Reader::with_stream(LogStream::start(stream).await?, watched)
        }
    };
    Ok(OpenSource {
        descriptor,
        tables: captured.iter().map(|table| Arc::clone(&table.described.schema)).collect(),
        snapshot_rows_expected,
        reader: Box::new(reader),
        acknowledger: Arc::clone(&feedback) as _,
        monitor: Arc::new(Monitor::new(settings, feedback)),
    })
}

/// Takes the slot, and leaves new tables unread whose snapshot cannot be had.
async fn export(
    replication: &mut Connection,
    settings: &Settings,
    resume: &Resume,
    plan: &Plan,
    wanted: &mut Vec<SnapshotTable>,
    joined: &Joined,
) -> Result<Option<Exported>> {
    let all_new = wanted.iter().all(|table| !begun(resume, &table.published.name));
    let can_go_on = all_new && matches!(plan.start, Start::At(_));
    let patience = if can_go_on { UNREAD_PATIENCE } else { SLOT_CREATION };
    match take_slot(replication, settings, plan, patience).await {
        // Whatever keeps new tables from being read, such as the want of a spare slot, is no reason to halt the others.
        Err(error) if can_go_on && (error.code() == SLOT_TIMEOUT || error.kind() == ErrorKind::Operator) => {
            for SnapshotTable { published, .. } in wanted.drain(..) {
                leave_unread(published.oid, &published.name, settings, joined, &error);
            }
            Ok(None)
        }
        taken => taken,
    }
}

/// Where the log is read from, and what lends the tables that are read their snapshot.
fn beginning(start: Start, exported: Option<Exported>) -> Result<(Lsn, Option<(Lsn, String)>)> {
    let start = match (start, &exported) {
        (Start::At(lsn), _) => lsn,
        (Start::Snapshot, Some(exported)) => exported.point,
        (Start::Snapshot, None) => return Err(Error::bug("snapshot_missing", "the plan needs a snapshot")),
    };
    Ok((start, exported.and_then(|exported| Some((exported.point, exported.snapshot?)))))
}

/// Refuses what cannot work, then makes the publication if it is missing, before any slot exists (PG-09, PG-10b).
/// Hands back the captured tables.
async fn prepare(
    control: &Control,
    settings: &Settings,
    resume: &Resume,
    joined: &Joined,
) -> Result<Vec<PublishedTable>> {
    let looked = preflight::run(control.client(), settings, &settings.tables).await?;
    let Preflight { findings, mut lacks, tables, unpublished, elsewhere, publication, .. } = looked;
    lacks.retain(|lack| has_streamed(resume) && !lack.tables.iter().any(|(_, table)| begun(resume, table)));
    for finding in findings {
        if lacks.iter().any(|lack| lack.finding == finding) {
            continue;
        }
        if finding.severity == Severity::Error {
            return Err(finding.into_error());
        }
        // A publication that is missing is made below.
        if publication.is_some() {
            // Nothing has happened: `check` warns, a start only mentions it.
            tracing::info!(code = finding.code, remedy = finding.remedy, "{}", finding.message);
        }
    }
    for Lack { finding, tables } in lacks {
        let cause = finding.into_error();
        for (oid, table) in tables {
            leave_unread(oid, &table, settings, joined, &cause);
        }
    }
    if publication.is_some() {
        if let Some(table) = unpublished.into_iter().find(|table| begun(resume, table)) {
            return Err(taken_out(table, &settings.publication));
        }
        return match elsewhere.into_iter().find(|table| begun(resume, table)) {
            Some(table) => Err(renamed(table)),
            None => Ok(tables),
        };
    }
    setup::ensure_publication(control.client(), settings).await?;
    let mut tables = published_tables(control.client(), &settings.publication).await?;
    tables.retain(|table| settings.tables.captures_name(&table.name));
    Ok(tables)
}

/// Whether any sink has taken changes of the log. Then a table that is new does not halt the others.
fn has_streamed(resume: &Resume) -> bool {
    resume.sinks.iter().any(|sink| sink.progress.position.is_some())
}

/// Whether any sink holds rows of the table's first reading.
fn begun(resume: &Resume, table: &TableName) -> bool {
    let name = table.to_string();
    resume.sinks.iter().any(|sink| sink.progress.tables.contains_key(&name))
}

/// PG-11, when it happened while nobody looked.
fn taken_out(table: TableName, publication: &str) -> Error {
    let message = format!("table `{table}` was taken out of publication `{publication}`, and the sinks hold its rows");
    let remedy = format!(
        "changes since then are not in the log: take it out with \"!{table}\" in `tables`; or add it to the publication \
         again and read it anew, by new names of the sinks (and a new location of a Delta sink)"
    );
    Error::operator("publication_changed", message).with_remedy(remedy).with_table(table)
}

/// PG-24, when a table became a partition, or partitions are published by another name, while nobody looked. The sinks
/// hold its rows under its own name, and none of them under the one by which its changes come.
fn renamed(table: TableName) -> Error {
    let message = format!(
        "changes of table `{table}` come under the name of its partitioned table or of its partitions now, and the sinks \
         hold its rows under its own"
    );
    let remedy = format!(
        "read the tables anew, by new names of the sinks (and a new location of a Delta sink); or, to go on without the \
         rows that it had before under the other name, take it out with \"!{table}\" in `tables`"
    );
    Error::operator("publication_changed", message).with_remedy(remedy).with_table(table)
}

async fn captured(control: &Control, settings: &Settings, resume: &Resume, joined: &Joined) -> Result<Vec<Captured>> {
    let mut captured = Vec::new();
    for published in prepare(control, settings, resume, joined).await? {
        let described = describe_table(control.client(), Some(&settings.publication), published.oid).await?;
        captured.push(Captured { published, described: Arc::new(described) });
    }
    Ok(captured)
}

/// The publication as the stream must find it again. Read after the tables were: one that it lists no longer has left
/// in between, and the next opening sees that.
async fn watched(control: &Control, settings: &Settings, captured: &[Captured]) -> Result<Publication> {
    let publication = Publication::read(control, settings).await?;
    match captured.iter().map(|table| &table.published.name).find(|name| !publication.lists(name)) {
        Some(name) => {
            let message = format!("table `{name}` has just left the publication, or has another name");
            Err(Error::retry("publication_changing", message).with_table(name.clone()))
        }
        None => Ok(publication),
    }
}

/// The partitions of the captured tables, as the stream must find them again.
async fn partitions(
    control: &Control,
    settings: &Settings,
    captured: &[Captured],
    wanted: &[SnapshotTable],
    known: Known,
) -> Result<Partitions> {
    // Who wants no rows of before does not miss those of a partition.
    let is_watched = settings.snapshot == SnapshotMode::Initial;
    let tables = captured.iter().filter(|_| is_watched).map(|table| table.published.oid).collect();
    let read = wanted.iter().map(|table| table.published.oid).collect();
    Partitions::begin(control, &settings.slot, tables, &read, known).await
}

/// Whether a start would be refused. Touches nothing.
pub(super) async fn can_resume(settings: &Settings, control: &Control, resume: &Resume) -> Result<()> {
    // Whoever reads it goes on while we look, so that our word for its place may be old.
    if Slot::read(control, &settings.slot).await?.is_some_and(|slot| slot.active_pid.is_some()) {
        return Ok(());
    }
    let mut replication = Connection::open(settings, control.host(), SessionKind::Replication).await?;
    let decided = decide(control, &mut replication, settings, resume, &[], &Joined::default()).await;
    replication.close().await;
    decided.map(drop)
}

async fn decide(
    control: &Control,
    replication: &mut Connection,
    settings: &Settings,
    resume: &Resume,
    captured: &[Captured],
    joined: &Joined,
) -> Result<(SystemIdentity, Plan)> {
    let system = identify(replication).await?;
    let slot = Slot::read(control, &settings.slot).await?;
    if let Some(pid) = slot.as_ref().and_then(|slot| slot.active_pid) {
        return Err(held_by_another(control, &settings.slot, pid).await);
    }
    let mut switches = Vec::new();
    for place in compared(resume) {
        if StoredPosition::parse(place)?.identity.timeline != system.identity.timeline {
            switches = timeline_switches(replication, system.identity.timeline).await?;
            break;
        }
    }
    let server = ServerState {
        identity: system.identity,
        flushed: system.flushed,
        switches,
        database: settings.database.clone(),
        source: settings.name.to_string(),
        slot_name: settings.slot.clone(),
        slot,
    };
    // A table that could not be read waits for the next start of the daemon: each try stops all others for a while.
    let waits =
        |table: &PublishedTable| joined.is_unread(table.oid) && has_streamed(resume) && !begun(resume, &table.name);
    let captured = captured.iter().map(|table| &table.published).filter(|table| !waits(table));
    let names: Vec<TableName> = captured.map(|table| table.name.clone()).collect();
    Ok((system, plan(resume, &server, &names, settings.snapshot)?))
}

/// Where the server left its earlier timelines. See `TIMELINE_HISTORY` in the manual; a line is the timeline, its end
/// and a reason.
async fn timeline_switches(replication: &mut Connection, timeline: u32) -> Result<Vec<(u32, Lsn)>> {
    if timeline <= 1 {
        return Ok(Vec::new());
    }
    let rows = replication.query("read the timelines", &format!("TIMELINE_HISTORY {timeline}")).await?;
    let text = rows.first().and_then(|row| row.get(1)?.as_deref()).unwrap_or_default();
    let switch = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(switch).collect())
}

/// The tables to read, the largest first, with their shapes as they are before the snapshot is taken.
async fn wanted(
    control: &Control,
    settings: &Settings,
    captured: &[Captured],
    names: &[TableName],
) -> Result<Vec<SnapshotTable>> {
    let chosen: Vec<&Captured> = captured.iter().filter(|table| names.contains(&table.published.name)).collect();
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let oids: Vec<u32> = chosen.iter().map(|table| table.published.oid).collect();
    let mut shapes: HashMap<u32, _> = shapes(control, &settings.publication, &oids).await?;
    let uncounted = uncounted(control.client(), &oids).await?;
    let mut tables = Vec::with_capacity(chosen.len());
    for table in chosen {
        let shape = shapes.remove(&table.published.oid).ok_or_else(|| {
            Error::retry("snapshot_table_changed", format!("table `{}` has just gone", table.published.name))
        })?;
        let (mut published, described) = (table.published.clone(), Arc::clone(&table.described));
        let more = uncounted.get(&published.oid).copied().unwrap_or_default();
        published.rows_estimated += more.rows;
        published.pages_estimated += more.pages;
        tables.push(SnapshotTable { published, described, shape });
    }
    tables.sort_by_key(|table| std::cmp::Reverse(table.published.pages_estimated));
    Ok(tables)
}

/// A table that was turned away has shipped nothing: it needs no change that its reading shows.
fn pass_over_read(assembler: &mut Assembler, read: &[SnapshotTable], resume: &Resume, joined: &Joined, floor: Lsn) {
    for table in read.iter().map(|table| &table.published) {
        if joined.was_turned_away(table.oid) && !begun(resume, &table.name) {
            assembler.pass_until(table.oid, floor);
        }
    }
}

/// New tables must not keep all others from being shipped, such as for as long as some transaction stays open.
fn leave_unread(oid: u32, table: &TableName, settings: &Settings, joined: &Joined, cause: &Error) {
    if joined.leave_unread(oid) && settings.snapshot == SnapshotMode::Initial {
        tracing::warn!(
            code = "table_unread",
            %table,
            cause = cause.chain(),
            remedy = cause.remedy(),
            "a new table cannot be read now: its changes are shipped, and the rows that it had before are read at the \
             next start of the daemon"
        );
    }
}

/// Creates the slot, or a temporary one that only lends its snapshot, or none.
async fn take_slot(
    replication: &mut Connection,
    settings: &Settings,
    plan: &Plan,
    patience: Duration,
) -> Result<Option<Exported>> {
    let snapshot = if plan.tables.is_empty() { "NOEXPORT_SNAPSHOT" } else { "EXPORT_SNAPSHOT" };
    let sql = match (plan.slot, plan.tables.is_empty()) {
        (SlotUse::Keep, true) => return Ok(None),
        (SlotUse::Create, _) => format!("CREATE_REPLICATION_SLOT \"{}\" LOGICAL pgoutput {snapshot}", settings.slot),
        (SlotUse::Keep, false) => {
            // Ends with the session; the name only has to be free.
            let name = format!("tidewire_snapshot_{}_{:x}", std::process::id(), crate::stream::now_micros());
            format!("CREATE_REPLICATION_SLOT \"{name}\" TEMPORARY LOGICAL pgoutput {snapshot}")
        }
    };
    // The server's own limit on each wait is ours and a bit: whoever asks for less, such as the login's settings, could
    // never have a slot beside a transaction that lasts longer. It ends a session that we have given up on.
    let limit = (patience + GIVEN_UP_AFTER).as_millis();
    replication.query("set up the session", &format!("SET lock_timeout = {limit}")).await?;
    let created = async {
        let create = replication.query("create the replication slot", &sql);
        tokio::pin!(create);
        if let Ok(rows) = tokio::time::timeout(SLOT_CREATION_NOTICE, &mut create).await {
            return rows;
        }
        tracing::info!(slot = settings.slot, "the new slot waits for transactions that are older to end");
        create.await
    };
    let rows = tokio::time::timeout(patience, created).await.map_err(|_| {
        Error::retry(SLOT_TIMEOUT, "the new slot waits too long for older transactions")
            .with_remedy("end the oldest transactions of `pg_stat_activity` and `pg_prepared_xacts`")
    })??;
    failpoint::step("slot_created")?;
    let exported = rows
        .first()
        .and_then(|row| Some(Exported { point: row.get(1)?.as_deref()?.parse().ok()?, snapshot: row.get(2)?.clone() }));
    let exported = exported.ok_or_else(|| protocol("the answer to CREATE_REPLICATION_SLOT cannot be read"))?;
    tracing::info!(slot = settings.slot, place = %exported.point, kept = plan.slot == SlotUse::Keep, "the slot is ready");
    Ok(Some(exported))
}
