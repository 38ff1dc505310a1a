//! The operations of a run, how often each comes, and what each does. A new one is a variant, a weight and an arm.

use super::chance::Chance;
use super::foreign::{self, Act, Expect};
use super::source::{Change, Event, Source, key_of};
use super::world::World;
use crate::ambient::{self, Limit, Own};
use crate::compression::Compression;
use crate::config::{Budget, Keyless, Settings};
use crate::layout::{AddedDefaults, Mode, PartitionBy, Widening};
use crate::log::ForeignWrites;
use crate::store::Store;
use crate::store::faulty::{Call, Fault, Plan};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::{DataType, TableName};
use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// A transaction of one to 500 changes.
    Transact,
    AlterTable,
    Heartbeat,
    Commit,
    Maintain,
    /// The sink is dropped and opened anew.
    Reopen,
    /// A call of the store to come will fail.
    Fault,
    /// A table is read as a whole from now on.
    ReadTable,
    /// Another writer comes by.
    Foreign,
    /// Hours go by.
    Wait,
    /// Data files are rewritten for as long as there is a reason to.
    Compact,
    /// The state directory is lost.
    LoseState,
}

const WEIGHTS: [(usize, Op); 12] = [
    (40, Op::Transact),
    (5, Op::AlterTable),
    (3, Op::Heartbeat),
    (26, Op::Commit),
    (12, Op::Maintain),
    (4, Op::Reopen),
    (30, Op::Fault),
    (2, Op::ReadTable),
    (2, Op::Foreign),
    (6, Op::Wait),
    (4, Op::Compact),
    (2, Op::LoseState),
];

const HOUR_MILLIS: i64 = 3_600_000;

/// Gives the thread back its surroundings.
struct Surroundings(Own);

impl Drop for Surroundings {
    fn drop(&mut self) {
        ambient::take(std::mem::take(&mut self.0));
    }
}

/// Prints what a run did when it fails.
struct Traced(World);

impl Drop for Traced {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{:?}", self.0.trace.join("\n"), self.0.faults);
        }
    }
}

/// Runs one seed to its end, or for so many operations; returns the number of faults that ended a sink. With `keep` its
/// tables stay in the folder of the seed's number there.
pub(super) fn run(seed: u64, operations: Option<usize>, keep: Option<&Path>) -> usize {
    let mut chance = Chance::new(seed);
    let _surroundings = Surroundings(ambient::take(surroundings(&mut chance)));
    let directory = tempfile::tempdir().unwrap();
    let is_local = chance.percent(20) || keep.is_some();
    let path = keep.map_or_else(|| directory.path().to_path_buf(), |keep| keep.join(seed.to_string()));
    std::fs::create_dir_all(&path).unwrap();
    let location = Url::from_directory_path(&path).unwrap();
    let store = if is_local { Store::open(&location, &BTreeMap::new()).unwrap() } else { Store::in_memory() };
    // By the seed, so that what is drawn for the others stays as it is.
    let (is_mapped, widening) = (
        seed % 3 == 2,
        match seed % 5 {
            3 => Widening::Types,
            4 => Widening::Rewrite,
            _ => Widening::Halt,
        },
    );
    let keyless = keyless(seed);
    let is_adopted = matches!(seed % 4, 0 | 3) && keyless.is_none();
    let foreign_writes = if is_adopted { ForeignWrites::Adopt } else { ForeignWrites::Pause };
    let fills = matches!(seed % 7, 3 | 5) || seed % 11 == 7;
    let added_defaults = if fills { AddedDefaults::Fill } else { AddedDefaults::Null };
    let mut settings = Settings {
        column_mapping: is_mapped,
        widening,
        foreign_writes,
        added_defaults,
        compression: Compression::ALL[usize::try_from(seed / 5 % 4).unwrap()],
        ..settings(&mut chance, &location)
    };
    if keyless == Some(Keyless::Rows) {
        settings.keyless = Keyless::Rows;
    }
    let is_plain = !is_mapped && widening == Widening::Halt && !fills;
    let mut source = Source::new(&mut chance, is_mapped, widening != Widening::Halt, fills);
    if keyless.is_some() {
        source.drop_keys(&mut Chance::new(!seed));
    }
    // As above: those with a feed, or of files of more than one shape, had no partitions once.
    let mut apart = Chance::new(!seed);
    let drawn = if is_plain && !settings.change_data_feed { &mut chance } else { &mut apart };
    if drawn.percent(40) {
        settings.partition_by = partition_by(drawn, &mut source);
    }
    let planned = 25 + chance.below(40);
    let mut run = Traced(World::new(chance, source, store, settings));
    let world = &mut run.0;
    for name in world.names() {
        if world.chance.percent(40) {
            world.to_read.insert(name);
        }
    }
    world.start();
    for _ in 0..operations.unwrap_or(planned).min(planned) {
        let op = world.chance.weighted(&WEIGHTS);
        world.note(format!("{op:?}"));
        step(world, op);
    }
    end(world);
    world.struck
}

/// What becomes of tables without a key, by the seed, if there are any.
fn keyless(seed: u64) -> Option<Keyless> {
    match seed % 7 {
        3 | 5 => Some(Keyless::Rows),
        6 => Some(Keyless::Changelog),
        _ => None,
    }
}

fn surroundings(chance: &mut Chance) -> Own {
    let limits = [
        (Limit::RowsBytes, [0, 500, 20_000, 1 << 20]),
        (Limit::RowGroupsBytes, [0, 4 << 20, 16 << 20, 16 << 20]),
        (Limit::UploadsBytes, [0, 2_000, 16 << 20, 16 << 20]),
        (Limit::Files, [0, 1, 2, 256]),
        (Limit::PartRows, [3, 20, 100, 1 << 20]),
        (Limit::RowGroupRows, [1, 5, 50, 1 << 20]),
        (Limit::FillHoles, [1, 3, 20, 64]),
        (Limit::PackVectors, [1, 2, 5, 32]),
        (Limit::IndexBytes, [0, 500, 5_000, 1 << 20]),
        (Limit::CheckpointEntries, [1, 2, 4, 9]),
        (Limit::CleanSeconds, [0, 0, 0, 3_600]),
        (Limit::CleanFiles, [1, 3, 1_000, 1_000]),
    ];
    let mut limits: BTreeMap<Limit, u64> =
        limits.into_iter().map(|(limit, values)| (limit, *chance.pick(&values))).collect();
    // Where the clock is ahead of the files' own times, old entries of the log expire; where it is behind, none does.
    let years = if chance.percent(60) { 100 } else { 20 };
    let names = chance.next() >> 1;
    // In one order, so that a seed is one run.
    limits.insert(Limit::CommitThreads, 1);
    limits.insert(Limit::MappedBytes, (names & 1) << 24);
    limits.insert(Limit::HeldBytes, [0, 1_000, 20_000, 1 << 20].get((names >> 5 & 3) as usize).copied().unwrap_or(0));
    let spilled = [0, 30_000, 1 << 20, 64 << 20].get((names >> 7 & 3) as usize).copied().unwrap_or(0);
    limits.insert(Limit::SpilledBytes, spilled);
    limits.insert(Limit::SpilledFileBytes, if names >> 9 & 1 == 0 { 20_000 } else { 64 << 20 });
    limits.insert(Limit::Ordinals, if names & 24 == 0 { 40 } else { 1 << 25 });
    limits.insert(Limit::ReaderBytes, if names & 6 == 0 { 0 } else { 1 << 30 });
    Own { limits, clock: Some(years * 365 * 24 * HOUR_MILLIS), names: Some(names) }
}

fn settings(chance: &mut Chance, location: &Url) -> Settings {
    let mode = if chance.percent(75) { Mode::Mirror } else { Mode::Changelog };
    let mut settings = Settings {
        mode,
        commit_rows: 1_000,
        deletion_vectors: mode != Mode::Mirror || chance.percent(70),
        file_bytes: *chance.pick(&[100, 20_000, 1 << 20]),
        change_data_feed: mode == Mode::Mirror && chance.percent(50),
        compaction: chance.percent(70).then(|| budget(chance)),
        ..Settings::at(location)
    };
    // With tables that are compacted beside them, and with such as are not.
    let has_barriers = settings.compaction.is_none_or(|budget| budget.deleted_age.is_some());
    settings.barriers = has_barriers.then_some(Duration::ZERO);
    settings
}

fn budget(chance: &mut Chance) -> Budget {
    let (target_bytes, deleted_age) = *chance.pick(&[(100, Some(1)), (20_000, Some(5 * HOUR_MILLIS)), (1 << 20, None)]);
    Budget {
        target_bytes,
        deleted_percent: *chance.pick(&[1, 20, 90]),
        deleted_age,
        bytes_per_second: None,
        vector_files: *chance.pick(&[0, 2, 256]),
        vector_bytes: *chance.pick(&[0, 100, 4 << 20]),
    }
}

/// Partitions for some of the tables: by flags, and by parts of keys and numbers of many values.
fn partition_by(chance: &mut Chance, source: &mut Source) -> PartitionBy {
    let mut by = BTreeMap::new();
    for table in &mut source.tables {
        let schema = Arc::clone(&table.schema);
        let is_fit = |at: &usize| match schema.columns[*at].data_type {
            DataType::Bool => true,
            DataType::Int { .. } | DataType::Decimal { .. } => schema.key.len() > 1 || !schema.key.contains(at),
            _ => false,
        };
        let fit = (0..schema.columns.len()).filter(is_fit).collect::<Vec<_>>();
        if fit.is_empty() || chance.percent(20) {
            continue;
        }
        let column = Arc::clone(&schema.columns[*chance.pick(&fit)].name);
        by.insert(schema.name.to_string(), vec![column.to_string()]);
        table.kept = Some(column);
    }
    PartitionBy::parse(by).unwrap()
}

fn step(world: &mut World, op: Op) {
    match op {
        Op::Transact => {
            let most = *world.chance.pick(&[1, 1, 3, 3, 3, 10, 10, 10, 40, 40, 40, 40, 120, 120, 120, 500]);
            let changes = 1 + world.chance.below(most);
            world.source.transact(&mut world.chance, changes);
            world.attempt(send_last);
        }
        Op::AlterTable => {
            world.source.alter(&mut world.chance);
            world.attempt(send_last);
        }
        Op::Heartbeat => world.attempt(World::heartbeat),
        Op::Commit => world.attempt(World::commit),
        Op::Maintain => world.attempt(World::maintain),
        Op::Reopen => world.start(),
        Op::Fault if world.settings.foreign_writes == ForeignWrites::Adopt && world.chance.percent(12) => others(world),
        Op::Fault => {
            let plan = fault(&mut world.chance);
            world.note(format!("  {plan:?}"));
            world.faults.plan(plan);
        }
        Op::Compact => world.attempt(World::compact),
        Op::LoseState => world.lose_state(),
        Op::ReadTable => read_table(world),
        Op::Foreign => others(world),
        Op::Wait => {
            let hours = 1 + world.chance.below(20) as i64;
            let mut own = ambient::take(Own::default());
            own.clock = own.clock.map(|clock| clock + hours * HOUR_MILLIS);
            ambient::take(own);
        }
    }
}

fn send_last(world: &mut World) -> tidewire_core::Result<()> {
    world.send(world.source.log.len() - 1)
}

fn fault(chance: &mut Chance) -> Plan {
    use Call::{Create, Entry, Finish, Read, Remove, Replace, Write};
    let (calls, within): (&[Call], usize) = match chance.below(8) {
        0 | 1 => (&[Entry], 4),
        2 => (&[Create, Finish, Remove], 10),
        3 => (&[Replace, Remove], 6),
        4 => (&[Write], 60),
        5 => (&[Read], 60),
        _ => (&[Entry, Create, Replace, Finish, Read, Remove], 80),
    };
    let fault = match chance.below(10) {
        0..=2 => Fault::Before,
        3 | 4 => Fault::After,
        5 => Fault::Late(chance.below(30) as u32),
        6 => Fault::Twice,
        _ => Fault::Gone,
    };
    Plan { calls: calls.to_vec(), after: chance.below(within) as u32, fault, is_final: chance.percent(10) }
}

/// A table that has come with the log is read as a whole from now on.
fn read_table(world: &mut World) {
    let name = world.names()[world.chance.below(world.source.tables.len())].clone();
    let is_known = world.acknowledged.tables.contains_key(&name.to_string());
    let is_own = !world.foreign.contains_key(&name) && !world.source.foreign.contains_key(&name);
    if !is_known && is_own && world.to_read.insert(name) {
        world.start();
    }
}

fn others(world: &mut World) {
    let is_adopted = world.settings.foreign_writes == ForeignWrites::Adopt;
    let acts = if is_adopted { 1 + world.chance.below(4) } else { 1 };
    for _ in 0..acts {
        let name = world.names()[world.chance.below(world.source.tables.len())].clone();
        let is_free = !world.foreign.contains_key(&name) && !world.to_read.contains(&name);
        if world.acknowledged.position.is_some() && is_free {
            ambient::by_real_time(|| other(world, &name, is_adopted));
        }
    }
}

fn other(world: &mut World, name: &TableName, is_adopted: bool) {
    let acts = foreign::acts(is_adopted, world.mode_of(name));
    let act = *world.chance.pick(acts);
    let store = world.table_store(name);
    world.see_version(name);
    let Some(change) = foreign::act(&mut world.chance, &world.source, name, &store, act) else {
        return;
    };
    world.note(format!("  {act:?} to {name}: {change:?}"));
    match (is_adopted, act) {
        (_, Act::Note) => {}
        (false, _) => drop(world.foreign.insert(name.clone(), Expect::Halt("foreign_write"))),
        (true, _) => {
            if let Some(Event { schema, change: Change::Delete { before, .. } | Change::Update { before, .. } }) =
                &change.event
            {
                world.source.lost(name, &key_of(schema, before));
            }
            world.changed_by_others(name, change.at, change.event);
            // A reader of the feed that waits may find that what went has been cleaned away.
            world.check_table(name);
        }
    }
}

/// Everything that is on its way arrives, and everything is sent again and again: it must be in the tables.
fn end(world: &mut World) {
    world.note("end");
    world.faults.clear();
    world.faults.settle();
    for name in world.foreign.keys().cloned().collect::<Vec<_>>() {
        world.source.touch(&mut world.chance, &name);
        world.attempt(send_last);
    }
    for _ in 0..2 {
        // The first commit may meet a table that others have changed, or what has just arrived.
        for _ in 0..1 + world.source.tables.len() {
            world.attempt(World::commit);
        }
        world.start();
    }
    world.forget();
    world.attempt(World::commit);
    world.check_end();
}
