//! Opening a source: look, decide, and only then read.

use super::ahead::Ahead;
use super::definitions::{self, Known};
use super::reader::Reader;
use crate::assemble::{Assembler, AssemblerStart, Facts, PROVENANCE};
use crate::catalog::{self, Listed, ListedTable};
use crate::config::{Host, Settings};
use crate::connection::{Connection, open_any};
use crate::ddl::Schemas;
use crate::history::History;
use crate::joined::Joined;
use crate::metrics::SourceMetrics;
use crate::monitor::Monitor;
use crate::plan::{self, Start};
use crate::position::{Place, Prepared, StoredPosition};
use crate::preflight;
use crate::rivals::Rivals;
use crate::server_log;
use crate::shape;
use crate::snapshot::{self, Consistent, LockPlan, PlaceKind, Snapshot, SnapshotPlan, SnapshotTable};
use crate::stream::{Feedback, LogStream, StreamStart};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tidewire_core::options::SnapshotMode;
use tidewire_core::source::{OpenSource, Resume};
use tidewire_core::{BatchLimits, Error, Position, Result, Severity, SourceDescriptor, TableName, TableSchema};

/// How often definitions are read in the hope that nobody alters them meanwhile.
const DEFINE_TRIES: usize = 5;

/// Everything that is known before the decision.
pub(super) struct Look {
    pub(super) host: Host,
    pub(super) control: Connection,
    pub(super) facts: Facts,
    pub(super) kind: PlaceKind,
    listed: Listed,
    start: Option<Start>,
    wanted: Vec<ListedTable>,
}

pub(super) async fn open(
    settings: Arc<Settings>,
    resume: Resume,
    history: History,
    joined: Joined,
    rivals: Rivals,
) -> Result<OpenSource> {
    let mut look = look(&settings, &resume).await?;
    let Begin { shipped, known, first, consistent, floor, descriptor, read_until, targets } =
        begin(&settings, &resume, &mut look, &history).await?;
    let Known { schemas, unproven, dropped } = known;
    let (flavour, version) = (look.facts.flavour, look.facts.version);
    let shape = |name: &TableName| -> Result<Option<Arc<TableSchema>>> {
        let definition = schemas.get(name);
        definition
            .map(|table| shape::table_schema(&table, flavour, version, settings.zero_dates).map(Arc::new))
            .transpose()
    };
    let mut tables = Vec::new();
    for table in &look.listed.captured {
        tables.extend(shape(&table.name)?);
    }
    let metrics = SourceMetrics::new(&settings.name);
    let feedback = Arc::new(Feedback::new(history.clone()));
    let StoredPosition { place, prepared, .. } = first;
    let limits = BatchLimits::default();
    let assembler = Assembler::new(AssemblerStart {
        facts: look.facts.clone(),
        descriptor: Arc::clone(&descriptor),
        limits,
        place,
        prepared,
        targets,
        schemas,
        unproven,
        dropped,
        shipped,
        read_until,
        history,
        joined,
    })?;
    let stream = StreamStart {
        settings: Arc::clone(&settings),
        host: look.host.clone(),
        // A beginning is a place too: what comes after it must not be missed because nobody stored it.
        at_once: consistent.is_some() || look.start.is_none(),
        assembler,
        feedback: Arc::clone(&feedback),
        metrics: metrics.clone(),
    };
    let snapshot_rows_expected = look.wanted.iter().map(|table| table.rows_estimated).sum();
    let monitor = Arc::new(Monitor::new(Arc::clone(&settings), Arc::clone(&feedback)));
    let reader = match (consistent, floor) {
        (Some(state), Some(floor)) => {
            let flavour = look.facts.flavour;
            let (locked, tables) = snapshot_tables(&settings, &look, &state)?;
            tracing::info!(tables = look.wanted.len(), place = %floor, "the snapshot begins");
            let plan = SnapshotPlan {
                settings,
                flavour,
                descriptor: Arc::clone(&descriptor),
                sessions: state.sessions,
                guards: state.guards,
                locked: state.locked.map(|(session, _)| (session, locked)),
                floor,
                file: state.file,
                tables,
                limits,
                metrics,
            };
            Reader::with_snapshot(Snapshot::start(plan), stream, rivals)
        }
        _ => Reader::with_stream(LogStream::start(stream).await?, rivals),
    };
    look.control.close().await;
    Ok(OpenSource {
        descriptor,
        tables,
        snapshot_rows_expected,
        reader: Box::new(reader),
        acknowledger: feedback,
        monitor,
    })
}

/// Where the log begins, and what is known there.
struct Begin {
    shipped: HashSet<TableName>,
    known: Known,
    first: StoredPosition,
    consistent: Option<Consistent>,
    floor: Option<Position>,
    descriptor: Arc<SourceDescriptor>,
    read_until: HashMap<TableName, u64>,
    targets: VecDeque<Place>,
}

async fn begin(settings: &Arc<Settings>, resume: &Resume, look: &mut Look, history: &History) -> Result<Begin> {
    let mut shipped: HashSet<TableName> = look.listed.captured.iter().map(|table| table.name.clone()).collect();
    shipped.extend(held_tables(resume));
    // Before any lock is taken: it may take a scan of the log.
    let known = match look.start.as_ref().map(|start| start.stored.clone()) {
        Some(first) => {
            let ahead = Ahead::sort(resume, &shipped, |table| wanted(look, table), &first, history)?;
            let held: Vec<TableName> = ahead.with_log.iter().chain(&look.listed.helpers).cloned().collect();
            let scanning = descriptor(settings, look, None);
            let begun = |table: &TableName| begun(resume, table);
            let known = definitions::known(settings, look, &first, &held, begun, &scanning, history).await?;
            Some((known, first, ahead))
        }
        None => None,
    };
    let consistent = snapshot_state(settings, look).await?;
    let floor = consistent.as_ref().map(|state| state.place.boundary(&state.prepared)).transpose()?;
    let descriptor = descriptor(settings, look, floor.clone());
    let mut read_until = HashMap::new();
    let mut targets = look.start.as_ref().map_or_else(VecDeque::new, |start| start.targets.clone());
    let (known, first) = match known {
        Some((mut known, mut first, ahead)) => {
            if consistent.as_ref().is_some_and(|state| state.xa_unknown) {
                // That none of those is about a captured table was true before these tables joined.
                first.prepared.retain(|prepared| !prepared.is_earlier());
            }
            read_until = ahead.settle(&first, consistent.as_ref().zip(floor.as_ref()), &mut known, history)?;
            if let Some(state) = consistent.as_ref().filter(|state| !matches!(state.place, Place::File(_))) {
                // Changes are compared with this place as well.
                targets.push_back(state.place.clone());
            }
            (known, first)
        }
        None => afresh(settings, look, consistent.as_ref(), history).await?,
    };
    Ok(Begin { shipped, known, first, consistent, floor, descriptor, read_until, targets })
}

async fn look(settings: &Arc<Settings>, resume: &Resume) -> Result<Look> {
    let (host, mut control) = open_any(settings).await?;
    for finding in preflight::run(settings, &host).await?.findings {
        if finding.severity == Severity::Error {
            return Err(finding.into_error());
        }
        // `check` warns, a start only mentions it.
        tracing::info!(code = finding.code, remedy = finding.remedy, "{}", finding.message);
    }
    let flavour = control.version().flavour;
    let version = control.version().number;
    let facts = Facts {
        flavour,
        version,
        fold_names: catalog::folds_names(&mut control).await?,
        zero_dates: settings.zero_dates,
        snapshot: settings.snapshot,
        filter: settings.tables.clone(),
    };
    let gtids = server_log::gtid_mode_on(&mut control).await?;
    let mut kind = PlaceKind::of(settings.position, flavour, gtids)?;
    let start = plan::plan(resume, &server_log::read(&mut control).await?)?;
    // A source goes on as it was begun: nothing else compares with what its sinks hold.
    if let Some(start) = &start {
        kind = PlaceKind::of_place(&start.stored.place);
    }
    let listed = catalog::list(&mut control, &settings.tables).await?;
    let mut wanted: Vec<ListedTable> = match settings.snapshot {
        SnapshotMode::Never => Vec::new(),
        SnapshotMode::Initial => {
            let missing = |table: &&ListedTable| {
                resume.sinks.is_empty() || resume.sinks.iter().any(|sink| !sink.progress.is_done(&table.name))
            };
            listed.captured.iter().filter(missing).cloned().collect()
        }
    };
    wanted.sort_by_key(|table| std::cmp::Reverse(table.bytes_estimated));
    Ok(Look { host, control, facts, kind, listed, start, wanted })
}

/// A state of the tables to read, if there are any; the definitions in it are those of all captured tables when nothing
/// is held yet.
async fn snapshot_state(settings: &Settings, look: &Look) -> Result<Option<Consistent>> {
    if look.wanted.is_empty() {
        return Ok(None);
    }
    let mut others: Vec<TableName> = look.listed.helpers.clone();
    let wanted = |name: &TableName| look.wanted.iter().any(|table| table.name == *name);
    others.extend(look.listed.captured.iter().map(|table| table.name.clone()).filter(|name| !wanted(name)));
    let plan = LockPlan { settings, host: &look.host, kind: look.kind, tables: &look.wanted, others: &others };
    let mut state = snapshot::consistent(&plan).await?;
    know_file(settings, &look.host, &mut state.place).await?;
    Ok(Some(state))
}

/// The sinks may hold a place for long before anything is read of the log, and its file may be another by then.
async fn know_file(settings: &Settings, host: &Host, place: &mut Place) -> Result<()> {
    if let Place::File(place) = place {
        place.begun = Some(server_log::begun(settings, host, &place.file).await?);
    }
    Ok(())
}

/// A beginning: at the place of the snapshot, or now.
async fn afresh(
    settings: &Settings,
    look: &mut Look,
    consistent: Option<&Consistent>,
    history: &History,
) -> Result<(Known, StoredPosition)> {
    let (place, prepared, schemas) = match consistent {
        Some(state) => (state.place.clone(), state.prepared.clone(), state.schemas.clone()),
        None => now(settings, look).await?,
    };
    let position = place.boundary(&prepared)?;
    match history.covered()?.map(|covered| StoredPosition::parse(&covered)).transpose()? {
        Some(covered) if plan::contains(&place, &covered.place) => history.go_on(&position, &schemas)?,
        // Kept of another life.
        _ => history.restart(&position, &schemas)?,
    }
    let known = Known { schemas, unproven: HashSet::new(), dropped: HashSet::new() };
    Ok((known, StoredPosition::parse(&position)?))
}

/// The place now, and the definitions there: those that are the same before and after.
async fn now(settings: &Settings, look: &mut Look) -> Result<(Place, Vec<Prepared>, Schemas)> {
    let mut before = defined(look).await?;
    for _ in 0..DEFINE_TRIES {
        let file = snapshot::log_end(&mut look.control).await?;
        let mut place = snapshot::place_now(&mut look.control, look.kind, &file).await?;
        let after = defined(look).await?;
        if after.iter().eq(before.iter()) {
            know_file(settings, &look.host, &mut place).await?;
            return Ok((place, Vec::new(), after));
        }
        before = after;
    }
    Err(Error::retry(
        "tables_changing",
        "the captured tables are altered all the time: their definitions cannot be read",
    ))
}

async fn defined(look: &mut Look) -> Result<Schemas> {
    let mut schemas = catalog::schemas(&mut look.control).await?;
    for name in look.listed.captured.iter().map(|table| &table.name).chain(&look.listed.helpers) {
        catalog::define(&mut look.control, &mut schemas, name).await?;
    }
    Ok(schemas)
}

fn descriptor(settings: &Settings, look: &Look, snapshot_floor: Option<Position>) -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: Arc::clone(&settings.name),
        connector: look.facts.flavour.connector(),
        database: Arc::from(""),
        provenance: PROVENANCE,
        has_sequence: false,
        snapshot_floor,
    })
}

fn wanted(look: &Look, table: &TableName) -> bool {
    look.wanted.iter().any(|wanted| wanted.name == *table)
}

/// The tables to read with their definitions: those that stay locked, and the others.
fn snapshot_tables(
    settings: &Settings,
    look: &Look,
    state: &Consistent,
) -> Result<(Vec<SnapshotTable>, Vec<SnapshotTable>)> {
    let (mut locked, mut others) = (Vec::new(), Vec::new());
    for table in &look.wanted {
        let definition = state
            .schemas
            .get(&table.name)
            .ok_or_else(|| Error::retry("snapshot_table_changed", format!("table `{}` has just gone", table.name)))?;
        let schema =
            Arc::new(shape::table_schema(&definition, look.facts.flavour, look.facts.version, settings.zero_dates)?);
        let is_locked = state.locked.as_ref().is_some_and(|(_, names)| names.contains(&table.name));
        let list = if is_locked { &mut locked } else { &mut others };
        list.push(SnapshotTable { definition, schema });
    }
    Ok((locked, others))
}

/// Whether any sink holds rows of the table's first reading.
fn begun(resume: &Resume, table: &TableName) -> bool {
    let name = table.to_string();
    resume.sinks.iter().any(|sink| sink.progress.tables.contains_key(&name))
}

/// The tables that sinks hold, by name.
fn held_tables(resume: &Resume) -> impl Iterator<Item = TableName> {
    let names = resume.sinks.iter().flat_map(|sink| sink.progress.tables.keys());
    names.filter_map(|name| name.split_once('.').map(|(schema, table)| TableName::new(schema, table)))
}
