//! The tables' versions at a barrier are one picture of the source: money that moves between two tables is neither lost
//! nor doubled at any of them, wherever the sink was killed.

use crate::ambient::{self, Own};
use crate::barriers::{Barriers, Cut};
use crate::config::Settings;
use crate::log::Table;
use crate::model::feed::{head, transaction};
use crate::model::reading::each_row;
use crate::model::shape::column;
use crate::model::source::position;
use crate::store::Store;
use crate::store::faulty::{Call, Fault, Faults, Plan};
use crate::write::{DeltaSink, Identity};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Cell, DataType, Op, Phase, Result, SchemaVersion, Sink, SourceDescriptor,
    TableName, TableSchema,
};
use url::Url;

const ACCOUNTS: i64 = 4;
const BALANCE: i64 = 100;
const TRANSFERS: u64 = 8;
/// Past the calls of the store in a run that nothing happens to.
const CALLS: u32 = 80;

fn settings() -> Settings {
    Settings {
        commit_interval_max: Duration::from_secs(5),
        commit_rows: 1_000,
        compaction: None,
        ..Settings::at(&Url::parse("file:///nowhere").unwrap())
    }
}

fn schema(name: &str) -> Arc<TableSchema> {
    let int = || DataType::Int { bits: 64 };
    Arc::new(TableSchema {
        name: TableName::new("public", name),
        version: SchemaVersion(1),
        native_id: 16_384,
        columns: vec![column("id", int(), false), column("balance", int(), false)],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}

/// A change of an account's balance in one of the two tables.
type Step = (usize, Op, i64, i64);

/// The source's log: accounts in both tables, then transfers, most of them from one table to the other.
fn log() -> Vec<Vec<Step>> {
    let mut balances = [[BALANCE; ACCOUNTS as usize]; 2];
    let open = (0..2).flat_map(|table| (0..ACCOUNTS).map(move |id| (table, Op::Insert, id, BALANCE)));
    let mut log = vec![open.collect::<Vec<Step>>()];
    for number in 1..=TRANSFERS {
        let (from, to) = (number as usize % 2, (number as usize / 3) % 2);
        let (debtor, creditor) = (number as usize * 7 % 4, number as usize * 5 % 4);
        let mut steps = Vec::new();
        for (table, id, amount) in [(from, debtor, -(number as i64)), (to, creditor, number as i64)] {
            balances[table][id] += amount;
            steps.push((table, Op::Update, id as i64, balances[table][id]));
        }
        log.push(steps);
    }
    log
}

struct Bank {
    store: Store,
    faults: Faults,
    schemas: [Arc<TableSchema>; 2],
    log: Vec<Vec<Step>>,
}

impl Bank {
    fn new() -> Bank {
        let schemas = ["a", "b"].map(schema);
        Bank { store: Store::in_memory(), faults: Faults::default(), schemas, log: log() }
    }

    fn batch(&self, number: usize) -> Batch {
        let source = SourceDescriptor {
            name: "shop".into(),
            connector: "postgresql",
            database: "shop".into(),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: None,
        };
        let mut b = BatchBuilder::new(Arc::new(source), Phase::Stream, BatchLimits::default());
        let commit = 10 * (number as u64 + 1);
        b.transaction(transaction(commit));
        for (ordinal, (at, op, id, balance)) in (1..).zip(&self.log[number]) {
            let table = b.table(&self.schemas[*at]);
            let image = b.image();
            b.cell(Cell::int(*id));
            b.cell(Cell::int(*balance));
            b.push(head(*op, ordinal), table, None, Some(image));
        }
        b.finish(Some(position(commit + 1)), true, 0)
    }

    fn open(&self) -> Result<(DeltaSink, tidewire_core::Progress)> {
        self.open_with(Some(Duration::ZERO))
    }

    fn open_with(&self, barriers: Option<Duration>) -> Result<(DeltaSink, tidewire_core::Progress)> {
        let identity = Identity { sink: "lake".into(), source: "shop".into() };
        let settings = Settings { barriers, ..settings() };
        DeltaSink::open(Arc::new(settings), Arc::new(identity), self.store.with_faults(&self.faults))
    }

    /// Opens the sink and sends all that it lacks, with commits of one to three transactions.
    fn run(&self) -> Result<()> {
        let (mut sink, mut progress) = self.open()?;
        let base = progress.clone();
        for number in 0..self.log.len() {
            let batch = self.batch(number);
            let needs = base.needs(&batch);
            let needed = |at: &u32| needs.contains(&batch, &batch.changes[*at as usize]);
            let selected: Vec<u32> = (0..batch.changes.len() as u32).filter(needed).collect();
            if selected.is_empty() {
                continue;
            }
            sink.write(&batch, Selection::Some(&selected))?;
            progress.observe(&batch, None, &BTreeSet::new());
            if number % 3 != 1 {
                sink.commit(&progress)?;
                sink.maintain()?;
            }
        }
        sink.commit(&progress)
    }

    fn table(&self, name: &str) -> crate::store::TableStore {
        self.store.table(&format!("shop/public/{name}"))
    }

    /// All barriers: the tables' versions by position.
    fn barriers(&self) -> BTreeMap<String, BTreeMap<String, i64>> {
        let mut barriers: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        let Some(mut table) = Table::open(self.store.table("_tidewire/barriers/shop")).unwrap() else {
            return barriers;
        };
        each_row(&mut table, &["position", "table", "version"], |arrays, at| {
            let text = |column: usize| arrays[column].as_ref().unwrap().as_string::<i32>().value(at).to_owned();
            let version = arrays[2].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
            let twice = barriers.entry(text(0)).or_default().insert(text(1), version);
            assert_eq!(twice, None, "the barrier at {} was written twice", text(0));
        });
        barriers
    }

    fn balances(&self, name: &str, version: i64) -> Vec<i64> {
        let mut table = Table::open_at(self.table(name), version);
        let mut balances = Vec::new();
        each_row(&mut table, &["balance"], |arrays, at| {
            balances.push(arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at));
        });
        balances
    }

    /// At each barrier both tables are there, with all accounts and all money.
    fn check(&self) -> usize {
        let barriers = self.barriers();
        for (at, tables) in &barriers {
            assert_eq!(tables.keys().collect::<Vec<_>>(), ["public.a", "public.b"], "{at}");
            let both = ["a", "b"].map(|name| self.balances(name, tables[&format!("public.{name}")])).concat();
            assert_eq!(both.len() as i64, 2 * ACCOUNTS, "{at}");
            assert_eq!(both.iter().sum::<i64>(), 2 * ACCOUNTS * BALANCE, "{at}");
        }
        barriers.len()
    }
}

#[test]
fn sk_3c_at_a_barrier_the_tables_are_one_picture_wherever_the_sink_was_killed() {
    let mut struck = 0;
    for after in 0..CALLS {
        let faults = [Fault::Gone, Fault::Before, Fault::After];
        for fault in faults.into_iter().take(if after % 4 == 0 { 3 } else { 1 }) {
            let bank = Bank::new();
            let calls = vec![Call::Entry, Call::Create, Call::Finish, Call::Replace];
            bank.faults.plan(Plan { calls, after, fault, is_final: false });
            while let Err(error) = bank.run() {
                assert!(bank.faults.take_struck().is_some(), "{}", error.chain());
                struck += 1;
                bank.faults.clear();
                bank.check();
            }
            let count = bank.check();
            assert!(count > 2, "{count} barriers");
            let end = position(10 * (bank.log.len() as u64) + 1).text.to_string();
            assert!(bank.barriers().contains_key(&end), "the last commit is no barrier");
        }
    }
    assert!(struck > 80, "{struck} faults");
}

#[test]
fn the_last_commit_before_a_rest_has_its_barrier() {
    // This clock also goes on by a millisecond whenever it is asked.
    let at = |now: i64| ambient::take(Own { clock: Some(now), ..Own::default() });
    let start = ambient::now_millis();
    let bank = Bank::new();
    let (mut sink, mut progress) = bank.open_with(Some(Duration::from_secs(60))).unwrap();
    let mut send = |sink: &mut DeltaSink, number: usize| {
        let batch = bank.batch(number);
        sink.write(&batch, Selection::All).unwrap();
        progress.observe(&batch, None, &BTreeSet::new());
        progress.clone()
    };
    let end = |number: u64| position(10 * (number + 1) + 1).text.to_string();
    let places = || bank.barriers().into_keys().collect::<Vec<_>>();
    for (number, now) in [(0, start), (1, start + 1_000)] {
        at(now);
        let progress = send(&mut sink, number);
        sink.commit(&progress).unwrap();
        // Whoever is owed a barrier asks again when its time has come.
        let again = sink.maintain().unwrap();
        assert_eq!(again.map(|again| again.as_secs()), (number == 1).then_some(58), "{number}");
    }
    assert_eq!(places(), [end(0)], "the interval has not passed");
    // What is written and not committed is at no barrier.
    at(start + 61_000);
    let progress = send(&mut sink, 2);
    assert_eq!(sink.maintain().unwrap(), None);
    assert_eq!(places(), [end(0)]);
    sink.commit(&progress).unwrap();
    let progress = send(&mut sink, 3);
    sink.commit(&progress).unwrap();
    at(start + 119_000);
    assert!(sink.maintain().unwrap().is_some());
    at(start + 123_000);
    for _ in 0..2 {
        assert_eq!(sink.maintain().unwrap(), None);
        assert_eq!(places(), [end(0), end(2), end(3)]);
    }
    ambient::take(Own::default());
    assert_eq!(bank.check(), 3);
}

#[test]
fn barriers_are_an_interval_apart_and_only_for_changes() {
    let store = Store::in_memory();
    let mut barriers = Barriers::open(&store, "lake", "shop", 60_000).unwrap();
    let cut = [Cut { table: "public.a".to_owned(), version: 3 }];
    assert!(!barriers.is_due(&position(10), 0), "nothing has changed");
    barriers.changed(1);
    assert!(barriers.is_due(&position(10), 0));
    barriers.write(&position(10), &cut, BTreeSet::new(), 0).unwrap();
    barriers.changed(2);
    // Another start knows when the last one was, and where.
    let mut barriers = Barriers::open(&store, "lake", "shop", 60_000).unwrap();
    barriers.changed(2);
    for (at, now, due) in [(20, 59_999, false), (20, 60_000, true), (10, 60_000, false), (9, 60_000, false)] {
        assert_eq!(barriers.is_due(&position(at), now), due, "at {at}, {now}");
    }
    let error = Barriers::open(&store, "other", "shop", 0).err().unwrap();
    assert_eq!(error.code(), "foreign_table");
}

#[test]
fn barriers_expire() {
    const HOUR: i64 = 3_600_000;
    let start = ambient::now_millis();
    let store = Store::in_memory();
    let mut barriers = Barriers::open(&store, "lake", "shop", 0).unwrap();
    for hour in 0..200 {
        ambient::take(Own { clock: Some(start + hour * HOUR), ..Own::default() });
        barriers.changed((start + hour * HOUR) * 1_000);
        let cuts = ["a", "b"].map(|table| Cut { table: table.to_owned(), version: hour });
        barriers.write(&position(hour as u64 + 1), &cuts, BTreeSet::new(), start + hour * HOUR).unwrap();
        barriers.maintain().unwrap();
    }
    ambient::take(Own::default());
    let mut table = Table::open(store.table("_tidewire/barriers/shop")).unwrap().unwrap();
    assert!(table.files().count() <= 64);
    let (mut versions, mut times) = (Vec::new(), BTreeSet::new());
    each_row(&mut table, &["version", "commit_time"], |arrays, at| {
        versions.push(arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at));
        times.insert(arrays[1].as_ref().unwrap().as_primitive::<TimestampMicrosecondType>().value(at));
    });
    versions.sort_unstable();
    let oldest = versions[0];
    // Those of a day before the last merging, and all since.
    let whole = (oldest..200).flat_map(|version| [version, version]).collect::<Vec<_>>();
    assert!(oldest >= 200 - 24 - 64 - 1, "{oldest}");
    assert_eq!((versions, times.len() as i64), (whole, 200 - oldest));
}
