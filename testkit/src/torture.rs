//! The torture of a daemon: a database under a load that leaves little out, faults of every kind all the while, and in the
//! end the proof, by readers that are not ours, that every change is in every sink exactly once. One number, the seed, says
//! what the load and the faults of a round are; only their moments are the machine's.

mod brokers;
mod check;
mod fault;
mod lake;
mod load;
mod modes;
mod nemesis;
mod replica;
mod report;
mod site;
mod source;
mod taken;
mod topic;
mod watch;

pub use fault::Which;
pub use report::{HEAD, Round, markdown};
pub use site::Sinks;
pub use source::Kind;
pub use taken::Taken;

use crate::readers::Reader;
use crate::workload::Dice;
use anyhow::{Context, Result, ensure};
use check::Check;
use load::{Journal, Load};
use modes::Modes;
use nemesis::Nemesis;
use replica::Replica;
use site::{Build, Site};
use source::Setup;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use watch::{Seen, Watch};

/// No sink may stand still for longer while nothing fails and changes come.
const STALL_MAX: Duration = Duration::from_secs(120);
/// Most memory of the daemon.
const MEMORY_MAX_KIB: u64 = 700 << 10;
/// How long replaced files stay in a load without faults: hours of small commits would fill the disk, and the removal of
/// files is a part of what such a load is to show.
const RETENTION: &str = "file_retention = \"10m\"\n";

/// What is asked of a round.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon.
    pub binary: PathBuf,
    /// Says what load and faults are.
    pub seed: u64,
    /// The source.
    pub kind: Kind,
    /// The sinks.
    pub sinks: Sinks,
    /// Which faults come.
    pub faults: Which,
    /// Whether a replica takes over in every round whose server can have one, not just in every third.
    pub failover: bool,
    /// Whether there are three brokers in every round with topics, not just in every fifth.
    pub three_brokers: bool,
    /// Whether the tables are in a bucket in every round that has some, not just in every fourth.
    pub bucket: bool,
    /// How long they come.
    pub length: Duration,
    /// Most rows of a statement.
    pub bulk: u64,
}

/// One round. What is wrong is in the report; an error is one of the bench itself.
pub fn round(options: &Options) -> Result<Round> {
    let begin = Instant::now();
    let mut dice = Dice::new(options.seed);
    let setup = Setup::of(options.kind, options.sinks.events, &mut dice);
    let commit_interval = [50, 200, 1_000].get(dice.below(3) as usize).copied().unwrap_or(200);
    let (kind, sinks, barriers) = (options.kind, options.sinks, dice.one_in(3));
    // Of dice of their own: the other faults of a seed are the same with a replica and without.
    let is_wanted = options.failover || options.faults == Which::All && Dice::new(!options.seed).one_in(3);
    let replica = is_wanted && Replica::is_possible(&setup);
    let is_fifth = options.faults == Which::All && Dice::new(options.seed.rotate_left(32)).one_in(5);
    let three_brokers = sinks.events && (options.three_brokers || is_fifth);
    let is_fourth = options.faults == Which::All && Dice::new(options.seed.rotate_left(16)).one_in(4);
    let bucket = sinks.lake && (options.bucket || is_fourth);
    let modes = Modes::of_round(options.seed, sinks.lake);
    let may_lose_state = true;
    let retention = if options.faults == Which::None { RETENTION } else { "" };
    let mut build = Build {
        kind,
        sinks,
        setup,
        replica,
        three_brokers,
        bucket,
        commit_interval,
        retention,
        barriers,
        modes,
        may_lose_state,
    };
    let load = Load {
        kind,
        seed: dice.any(),
        sessions: 2 + dice.below(4),
        first: 0,
        statements: 40 + dice.below(300),
        bulk: options.bulk,
        pause: Duration::from_millis(2 + dice.below(15)),
        shapes: dice.one_in(2),
        truncates: dice.one_in(2),
        prepares: dice.one_in(2),
        renames: modes.mapped && !sinks.events && kind != Kind::Postgres,
    };
    // Without its state a daemon rightly halts where tables were altered and the log does not tell their columns, and does not
    // know which column has got another name.
    build.may_lose_state = !(load.shapes && (load.renames || build.setup.needs_definitions()));
    let mut site = Site::new(&options.binary, &build)?;
    let mut round = Round { seed: options.seed, kind, sinks, setup: build.name(), ..Round::default() };
    let done = torture(&mut site, &load, options, &mut round, &mut dice);
    if let Err(error) = done {
        round.fault = Some(format!("{error:#}"));
        site.keep();
    }
    // What it says has been looked at.
    site.daemon.allow_log("");
    round.took = begin.elapsed();
    Ok(round)
}

fn torture(site: &mut Site, load: &Load, options: &Options, round: &mut Round, dice: &mut Dice) -> Result<()> {
    let session = site.server.session()?;
    load.create_tables(&session)?;
    load.fill(&session, options.bulk)?;
    // Whether faults come while the first rows are read.
    let is_early = dice.one_in(3);
    if !is_early {
        site.daemon.run()?;
        site.catch_up().context("the first rows")?;
    }
    let mut witness = site.witness()?;
    let watch = Watch::start(site)?;
    let mut nemesis = Nemesis::new(dice.any(), options.faults, site);
    let running = load.start(&site.address);
    if is_early {
        site.daemon.run()?;
    }
    watch.daemon(site.daemon.pid());
    let end = Instant::now() + options.length;
    let mut struck = Ok(());
    while struck.is_ok() && Instant::now() < end {
        struck = nemesis.strike(site, &watch);
    }
    let (ended, watch_ended) = (running.ended(), watch.has_ended());
    round.faults = nemesis.done.iter().map(|(fault, times)| (fault.name(), *times)).collect();
    (round.daemon_kills, round.server_kills) = fault::kills(&nemesis.done);
    round.own_ends = nemesis.own_ends;
    if watch_ended {
        // What it found is the first cause.
        watch.end()?;
        struck?;
        anyhow::bail!("the watch ended without a word");
    }
    struck?;
    nemesis.heal_all(site, &watch)?;
    let mut journals = running.stop().context("the load")?;
    ensure!(ended > 0, "there was no load");
    load.settle(&site.server.session()?, None)?;
    let begin = Instant::now();
    site.catch_up().context("after the last fault")?;
    round.caught_up = begin.elapsed();
    if dice.one_in(2) && site.may_lose_state {
        journals.extend(begin_anew(site, load, &watch)?);
    }
    let Seen { compared, peak_kib, longest_stall } = watch.end()?;
    (round.compared, round.peak_kib, round.longest_stall) = (compared, peak_kib, longest_stall);
    ensure!(longest_stall < STALL_MAX, "nothing moved for {} s while nothing failed", longest_stall.as_secs());
    ensure!(peak_kib < MEMORY_MAX_KIB, "the daemon took {} MiB", peak_kib / 1024);

    site.bring(&mut witness)?;
    let committed = witness.committed()?;
    let second = [Reader::Duckdb, Reader::Polars].get(dice.below(2) as usize).copied().unwrap_or(Reader::Duckdb);
    let is_bucket = site.lake.as_ref().is_some_and(|lake| lake.bucket().is_some());
    let (readers, spares_bulk) = match options.faults {
        // The others read local disks only.
        _ if is_bucket => (vec![Reader::Deltalake, Reader::Polars], true),
        Which::None => (Reader::ALL.to_vec(), false),
        Which::All | Which::Kills => (vec![Reader::Deltalake, second], true),
    };
    let readers = site.modes.read_by(&readers);
    let checked = Check { site, committed: &committed, is_early, readers, spares_bulk }.all(&journals)?;
    (round.changes, round.transactions) = (checked.changes, checked.transactions);
    (round.records, round.rows, round.versions) = (checked.records, checked.rows, checked.versions);
    let code = site.daemon.terminate()?;
    ensure!(code == 0, "asked to stop, the daemon ended with {code}");
    fault::expected(&nemesis.done).iter().for_each(|line| site.daemon.allow_log(line));
    let unexpected = site.daemon.unexpected()?;
    ensure!(
        unexpected.is_empty(),
        "the log holds {} lines nobody expected: {}",
        unexpected.len(),
        unexpected.join("\n")
    );
    if options.faults == Which::All {
        round.taken = Some(taken::last_act(site, load, &witness, is_early, options.seed)?);
    }
    Ok(())
}

/// A stop, and a start without any state; then more changes (SK-50).
fn begin_anew(site: &mut Site, load: &Load, watch: &Watch) -> Result<Vec<Journal>> {
    watch.excuse(true);
    watch.daemon(None);
    let code = site.daemon.terminate()?;
    ensure!(code == 0, "asked to stop, the daemon ended with {code}");
    std::fs::remove_dir_all(site.daemon.state_folder()).context("remove the state")?;
    let more = Load { seed: load.seed.wrapping_add(1), sessions: 2, bulk: 0, shapes: false, first: 50, ..load.clone() };
    let running = more.start(&site.address);
    site.daemon.run()?;
    watch.daemon(site.daemon.pid());
    crate::wait::until("a hundred more transactions", crate::wait::PATIENCE, || {
        Ok((running.ended() >= 100).then_some(()))
    })?;
    let journals = running.stop()?;
    more.settle(&site.server.session()?, None)?;
    site.catch_up().context("after a start without any state")?;
    watch.excuse(false);
    Ok(journals)
}
