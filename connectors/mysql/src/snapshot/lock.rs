//! A state of the tables whose place in the log is known, seen by several sessions at once.
//!
//! A session sees a state from `START TRANSACTION WITH CONSISTENT SNAPSHOT` on. What has to be held still for a moment is
//! whatever could commit between the first of these and the reading of the place. From the gentlest on:
//!
//! - MariaDB tells for each such session its place in the log (`binlog_snapshot_position`): when that is the same for all,
//!   no lock was needed. Where no lock is permitted either, one session reads all: its place is its own.
//! - MariaDB's `BACKUP STAGE BLOCK_COMMIT` holds commits; the stages before it DDL, and writes to tables without transactions.
//! - `LOCK TABLES ... READ` of the captured tables: a transaction that wrote to one of them holds its metadata lock until its
//!   commit is in the log and in `gtid_executed`, so once we have the locks no commit of these tables is under way.
//!   Other tables do not matter.
//! - `FLUSH TABLES WITH READ LOCK`: the whole server.
//!
//! Each is held for as long as the sessions need to begin, some milliseconds. Waiting for a lock makes writers wait behind
//! us, so it is given up after two seconds, with all locks that we have, and tried again.
//!
//! A prepared XA transaction has its rows in the log before the place and commits behind it. On MySQL whatever it wrote to
//! keeps its metadata lock, so that under `LOCK TABLES` none is about a captured table; MariaDB lets go of it when the session
//! ends. The ways without such a lock are taken when nothing is prepared, and where that cannot be had the commit of one that
//! is not known halts the source: its rows may be neither in the snapshot nor behind the place.
//!
//! Tables of engines without transactions have no state to see: they stay locked while they are read.
//!
//! MySQL's `LOCK INSTANCE FOR BACKUP`, where permitted, keeps DDL away until all is read, and lets rows change.

use crate::catalog::{self, ListedTable, quoted_name, text};
use crate::config::{Host, PositionMode, Settings};
use crate::connection::Connection;
use crate::ddl::Schemas;
use crate::error::protocol;
use crate::gtid::{DomainPositions, GtidSet};
use crate::model::Flavour;
use crate::position::{FilePlace, Place, Prepared};
use crate::shape;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::{Error, ErrorKind, Result, TableName};
use tokio::time::Instant;

const ACT: &str = "begin the snapshot";
/// Code of a login that may lock nothing.
const LOCK_MISSING: &str = "snapshot_lock_missing";
/// Longest wait for a lock before others are let through.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(500);
/// How often sessions are begun without a lock in the hope that nothing commits in between.
const UNLOCKED_TRIES: usize = 5;

/// What is wanted.
pub(crate) struct LockPlan<'a> {
    /// Settings of the source.
    pub(crate) settings: &'a Settings,
    /// The server.
    pub(crate) host: &'a Host,
    /// How places are told.
    pub(crate) kind: PlaceKind,
    /// Tables whose rows are read.
    pub(crate) tables: &'a [ListedTable],
    /// Further tables whose definitions are wanted.
    pub(crate) others: &'a [TableName],
}

/// How a server's places are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceKind {
    /// By GTIDs of the flavour.
    Gtid,
    /// By file and offset.
    File,
}

impl PlaceKind {
    /// As a place that is held.
    pub(crate) fn of_place(place: &Place) -> PlaceKind {
        match place {
            Place::File(_) => PlaceKind::File,
            Place::Gtid(_) | Place::Domains(_) => PlaceKind::Gtid,
        }
    }

    /// By what the configuration wants and the server has.
    pub(crate) fn of(mode: PositionMode, flavour: Flavour, gtid_mode_on: bool) -> Result<PlaceKind> {
        let has_gtids = flavour == Flavour::MariaDb || gtid_mode_on;
        match mode {
            PositionMode::File => Ok(PlaceKind::File),
            PositionMode::Auto if has_gtids => Ok(PlaceKind::Gtid),
            PositionMode::Auto => Ok(PlaceKind::File),
            PositionMode::Gtid if has_gtids => Ok(PlaceKind::Gtid),
            PositionMode::Gtid => {
                Err(Error::operator("gtid_off", "the server has no GTIDs, which `position` asks for").with_remedy(
                    "set gtid_mode = ON and enforce_gtid_consistency = ON on the server, or `position = \"auto\"`",
                ))
            }
        }
    }
}

/// The state.
pub(crate) struct Consistent {
    /// Sessions that see it.
    pub(crate) sessions: Vec<Connection>,
    /// Sessions whose locks last.
    pub(crate) guards: Vec<Connection>,
    /// A session that holds the tables without transactions locked.
    pub(crate) locked: Option<(Connection, Vec<TableName>)>,
    /// Its place.
    pub(crate) place: Place,
    /// The same as file and offset.
    pub(crate) file: (Arc<str>, u64),
    /// [`Prepared::earlier`] where XA transactions may be prepared that are surely about no captured table.
    pub(crate) prepared: Vec<Prepared>,
    /// Whether some may be prepared that are about a table whose rows are read.
    pub(crate) xa_unknown: bool,
    /// The definitions in force there.
    pub(crate) schemas: Schemas,
}

/// What holds commits still.
enum Held {
    Nothing,
    Stage(Connection),
    Tables(Connection),
    Server(Connection),
}

/// Comes by such a state.
pub(crate) async fn consistent(plan: &LockPlan<'_>) -> Result<Consistent> {
    let mut control = Connection::open(plan.settings, plan.host).await?;
    let flavour = control.version().flavour;
    let mut guards = Vec::new();
    if flavour == Flavour::MySql
        && let Some(guard) = instance_lock(plan).await?
    {
        guards.push(guard);
    }
    let before = definitions(&mut control, plan).await?;
    let lasting =
        |name: &TableName| before.get(name).is_some_and(|table| !shape::is_transactional(table.engine.as_deref()));
    let (lasting, passing): (Vec<&TableName>, Vec<&TableName>) =
        plan.tables.iter().map(|table| &table.name).partition(|name| lasting(name));
    let count = plan.settings.snapshot_parallelism.min(passing.len()).max(1);
    let does_without = flavour == Flavour::MariaDb && lasting.is_empty();
    if does_without && let Unlocked::Seen(consistent) = unlocked(plan, &mut control, count, &before).await? {
        return Ok(*consistent);
    }
    let (locked, held) = match hold(plan, flavour, &lasting, &passing).await {
        Err(refused) if does_without && refused.code() == LOCK_MISSING => {
            return alone(plan, &mut control, &before, refused).await;
        }
        held => held?,
    };
    let (prepared, xa_unknown) = match &held {
        Held::Stage(_) => (Vec::new(), false),
        Held::Server(_) => (Vec::new(), true),
        Held::Nothing | Held::Tables(_) => {
            let unknown = flavour == Flavour::MariaDb && is_prepared(&mut control).await?;
            (if unknown { Vec::new() } else { vec![Prepared::earlier()] }, unknown)
        }
    };
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        sessions.push(begin(plan).await?);
    }
    let file = log_end(&mut control).await?;
    let place = place_now(&mut control, plan.kind, &file).await?;
    let schemas = definitions(&mut control, plan).await?;
    release(held).await?;
    control.close().await;
    // Of tables that are not locked the definitions are those of the place if they were the same before.
    let is_same = |name| match (before.get(name), schemas.get(name)) {
        (Some(before), Some(now)) => before.says_the_same(&now),
        (before, now) => before.is_none() && now.is_none(),
    };
    if !plan.others.iter().all(is_same) {
        return Err(Error::retry("tables_changing", "captured tables that are not read are just being altered"));
    }
    let locked = locked.map(|session| (session, lasting.into_iter().cloned().collect()));
    Ok(Consistent { sessions, guards, locked, place, file, prepared, xa_unknown, schemas })
}

/// MySQL's backup lock; `None` where it is not permitted or not known, or where DDL is under way for longer.
async fn instance_lock(plan: &LockPlan<'_>) -> Result<Option<Connection>> {
    match try_all(plan, &["LOCK INSTANCE FOR BACKUP".to_owned()]).await {
        Ok(session) => Ok(Some(session)),
        Err(error) if matches!(error.code(), "permission_denied" | "request_not_understood" | "lock_timeout") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What came of sessions that begin without a lock.
enum Unlocked {
    /// They see one state.
    Seen(Box<Consistent>),
    /// Something was committed, altered or prepared in between.
    Restless,
    /// The server does not tell their places.
    Untold,
}

/// Sessions of MariaDB that happen to see the same state, while nothing is prepared and no table is altered.
async fn unlocked(plan: &LockPlan<'_>, control: &mut Connection, count: usize, before: &Schemas) -> Result<Unlocked> {
    for _ in 0..UNLOCKED_TRIES {
        if is_prepared(control).await? {
            break;
        }
        let mut sessions = Vec::with_capacity(count);
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            let mut session = begin(plan).await?;
            places.push(snapshot_place(&mut session).await?);
            sessions.push(session);
        }
        let Some(Some(file)) = places.first().cloned() else { return Ok(Unlocked::Untold) };
        if places.iter().any(|place| place.as_ref() != Some(&file)) {
            continue;
        }
        let schemas = definitions(control, plan).await?;
        if is_prepared(control).await? || !schemas.say_the_same(before) {
            break;
        }
        let place = match plan.kind {
            PlaceKind::File => Place::File(file_place(control, &file).await?),
            PlaceKind::Gtid => {
                let sql = format!("SELECT BINLOG_GTID_POS('{}', {})", file.0.replace(['\'', '\\'], ""), file.1);
                let rows = control.query(ACT, &sql).await?;
                let gone = || Error::retry("log_moving", "the file of the snapshot's place has just gone");
                Place::Domains(domains(&rows.first().and_then(|row| text(row, 0).ok()).ok_or_else(gone)?)?)
            }
        };
        // One that was prepared and committed in between, around the place, is not known: its commit halts.
        let (guards, prepared) = (Vec::new(), Vec::new());
        let (locked, xa_unknown) = (None, false);
        let seen = Consistent { sessions, guards, locked, place, file, prepared, xa_unknown, schemas };
        return Ok(Unlocked::Seen(Box::new(seen)));
    }
    Ok(Unlocked::Restless)
}

/// One session without a lock, for a login that may lock nothing: whatever is committed meanwhile, its place is its own. While
/// something is prepared or altered it waits, like for a lock.
async fn alone(plan: &LockPlan<'_>, control: &mut Connection, before: &Schemas, refused: Error) -> Result<Consistent> {
    let until = Instant::now() + plan.settings.lock_timeout;
    let mut known = None;
    loop {
        match unlocked(plan, control, 1, known.as_ref().unwrap_or(before)).await? {
            Unlocked::Seen(consistent) => return Ok(*consistent),
            Unlocked::Restless if Instant::now() < until => tokio::time::sleep(LOCK_PAUSE).await,
            Unlocked::Restless | Unlocked::Untold => return Err(refused),
        }
        known = Some(definitions(control, plan).await?);
    }
}

/// Whether any XA transaction is prepared. Who may not ask is told that there may be.
async fn is_prepared(control: &mut Connection) -> Result<bool> {
    match control.query(ACT, "XA RECOVER").await {
        Ok(rows) => Ok(!rows.is_empty()),
        Err(error) if error.kind() == ErrorKind::Retry => Err(error),
        Err(_) => Ok(true),
    }
}

async fn snapshot_place(session: &mut Connection) -> Result<Option<(Arc<str>, u64)>> {
    let rows = session.query(ACT, "SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
    let value = |name: &str| {
        let row = rows.iter().find(|row| text(row, 0).is_ok_and(|found| found.eq_ignore_ascii_case(name)))?;
        text(row, 1).ok()
    };
    let (file, offset) = (value("binlog_snapshot_file"), value("binlog_snapshot_position"));
    Ok(file
        .zip(offset.and_then(|offset| offset.parse().ok()))
        .filter(|(file, _)| !file.is_empty())
        .map(|(f, o)| (f.into(), o)))
}

/// A session that sees the state of now from here on.
async fn begin(plan: &LockPlan<'_>) -> Result<Connection> {
    let mut session = Connection::open(plan.settings, plan.host).await?;
    session.query(ACT, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    session.query(ACT, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    Ok(session)
}

/// Locks the `lasting` tables for as long as they are read, and holds commits of the `passing` ones still.
async fn hold(
    plan: &LockPlan<'_>,
    flavour: Flavour,
    lasting: &[&TableName],
    passing: &[&TableName],
) -> Result<(Option<Connection>, Held)> {
    let until = Instant::now() + plan.settings.lock_timeout;
    loop {
        match hold_once(plan, flavour, lasting, passing).await {
            Err(error) if error.code() == "lock_timeout" && Instant::now() < until => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            held => return held,
        }
    }
}

async fn hold_once(
    plan: &LockPlan<'_>,
    flavour: Flavour,
    lasting: &[&TableName],
    passing: &[&TableName],
) -> Result<(Option<Connection>, Held)> {
    let locked = match lasting.is_empty() {
        true => None,
        false => Some(lock_tables(plan, lasting).await.map_err(not_permitted)?),
    };
    if passing.is_empty() {
        return Ok((locked, Held::Nothing));
    }
    if flavour == Flavour::MariaDb {
        let stages = ["START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"];
        match try_all(plan, &stages.map(|stage| format!("BACKUP STAGE {stage}"))).await {
            Ok(mut session) => match is_prepared(&mut session).await? {
                true => release(Held::Stage(session)).await?,
                false => return Ok((locked, Held::Stage(session))),
            },
            Err(error) if error.code() == "permission_denied" => {}
            Err(error) => return Err(error),
        }
    }
    let refused = match lock_tables(plan, passing).await {
        Ok(session) => return Ok((locked, Held::Tables(session))),
        // The whole server cannot be locked beside tables that stay locked.
        Err(error) if error.code() == "permission_denied" && locked.is_none() => error,
        Err(error) if error.code() == "permission_denied" => return Err(not_permitted(error)),
        Err(error) => return Err(error),
    };
    match try_all(plan, &["FLUSH TABLES WITH READ LOCK".to_owned()]).await {
        Ok(session) => Ok((locked, Held::Server(session))),
        Err(error) if error.code() == "permission_denied" => Err(not_permitted(refused)),
        Err(error) => Err(error),
    }
}

fn not_permitted(cause: Error) -> Error {
    if cause.code() != "permission_denied" {
        return cause;
    }
    Error::operator(LOCK_MISSING, "the login may lock neither the captured tables nor the server")
        .with_remedy("grant LOCK TABLES on the captured databases to the login (`tidewire setup` prints it)")
        .with_cause(cause)
}

async fn lock_tables(plan: &LockPlan<'_>, tables: &[&TableName]) -> Result<Connection> {
    let tables: Vec<String> = tables.iter().map(|name| format!("{} READ", quoted_name(name))).collect();
    try_all(plan, &[format!("LOCK TABLES {}", tables.join(", "))]).await
}

/// Runs the statements in a new session, giving way to others after two seconds.
async fn try_all(plan: &LockPlan<'_>, statements: &[String]) -> Result<Connection> {
    let mut session = Connection::open(plan.settings, plan.host).await?;
    let seconds = LOCK_WAIT.as_secs();
    session.query(ACT, &format!("SET SESSION lock_wait_timeout = {seconds}")).await?;
    for statement in statements {
        session.query(ACT, statement).await?;
    }
    Ok(session)
}

async fn release(held: Held) -> Result<()> {
    let (mut session, statement) = match held {
        Held::Nothing => return Ok(()),
        Held::Stage(session) => (session, "BACKUP STAGE END"),
        Held::Tables(session) | Held::Server(session) => (session, "UNLOCK TABLES"),
    };
    session.query(ACT, statement).await?;
    session.close().await;
    Ok(())
}

async fn definitions(control: &mut Connection, plan: &LockPlan<'_>) -> Result<Schemas> {
    let mut schemas = catalog::schemas(control).await?;
    for name in plan.tables.iter().map(|table| &table.name).chain(plan.others) {
        catalog::define(control, &mut schemas, name).await?;
    }
    Ok(schemas)
}

/// Where the log ends now, as file and offset.
pub(crate) async fn log_end(control: &mut Connection) -> Result<(Arc<str>, u64)> {
    let version = control.version();
    // MySQL 8.2 has the new words, and 8.4 only those.
    let new = version.flavour == Flavour::MySql && version.number >= 80_200;
    let sql = if new { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let rows = control.query("read the end of the log", sql).await?;
    let row = rows.first().ok_or_else(|| {
        Error::operator("log_off", "the server keeps no binary log").with_remedy("start the server with `log_bin`")
    })?;
    let offset = text(row, 1)?.parse().map_err(|_| protocol("the end of the log cannot be read"))?;
    Ok((text(row, 0)?.into(), offset))
}

/// The place at the end of the log.
pub(crate) async fn place_now(control: &mut Connection, kind: PlaceKind, file: &(Arc<str>, u64)) -> Result<Place> {
    let sql = match (kind, control.version().flavour) {
        (PlaceKind::File, _) => return file_place(control, file).await.map(Place::File),
        (PlaceKind::Gtid, Flavour::MySql) => "SELECT @@global.gtid_executed",
        (PlaceKind::Gtid, Flavour::MariaDb) => "SELECT @@global.gtid_binlog_pos",
    };
    let flavour = control.version().flavour;
    let rows = control.query("read the place in the log", sql).await?;
    let value = text(rows.first().ok_or_else(|| protocol("the place in the log cannot be read"))?, 0)?;
    match flavour {
        Flavour::MySql => gtid_set(&value).map(Place::Gtid),
        Flavour::MariaDb => domains(&value).map(Place::Domains),
    }
}

async fn file_place(control: &mut Connection, file: &(Arc<str>, u64)) -> Result<FilePlace> {
    let flavour = control.version().flavour;
    let rows = control.query("read the server's identity", catalog::identity_query(flavour)).await?;
    let server = text(rows.first().ok_or_else(|| protocol("the server's identity cannot be read"))?, 0)?;
    Ok(FilePlace { server: server.into(), flavour, file: Arc::clone(&file.0), offset: file.1, begun: None })
}

/// A set as the server prints it.
pub(crate) fn gtid_set(text: &str) -> Result<GtidSet> {
    GtidSet::parse(text).map_err(|cause| protocol("a set of GTIDs cannot be read").with_cause(cause))
}

/// Positions of domains as the server prints them.
pub(crate) fn domains(text: &str) -> Result<DomainPositions> {
    DomainPositions::parse(text).map_err(|cause| protocol("the positions of domains cannot be read").with_cause(cause))
}
