//! Progress: a table read twice, and a table that was left behind and catches up.

use super::*;
use crate::batch::{BatchBuilder, BatchLimits, ChangeHead, Transaction};
use crate::schema::{KeyKind, OldRow, SchemaVersion};
use crate::source::SourceDescriptor;
use proptest::prelude::*;

fn place(major: u64) -> Position {
    Position::new(Mark { major, minor: 0 }, format!("t:{major}"))
}

fn builder(phase: Phase, commit: u64) -> BatchBuilder {
    let source = SourceDescriptor {
        name: "s".into(),
        connector: "test",
        database: "d".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    };
    let mut builder = BatchBuilder::new(Arc::new(source), phase, BatchLimits::default());
    builder.transaction(Transaction {
        id: commit.to_string().into(),
        commit,
        commit_time_micros: 0,
        previous_commit: None,
        provenance: Vec::new(),
    });
    builder
}

fn schema(table: &str) -> Arc<TableSchema> {
    Arc::new(TableSchema {
        name: TableName::new("public", table),
        version: SchemaVersion(1),
        native_id: 1,
        columns: Vec::new(),
        key: Vec::new(),
        key_kind: KeyKind::None,
        old_row: OldRow::Key,
    })
}

/// A batch of changes of these tables, in one transaction or one piece of a snapshot.
fn batch(phase: Phase, commit: u64, changes: &[(&str, Op)], position: Option<Position>) -> Batch {
    let mut builder = builder(phase, commit);
    for (ordinal, (table, op)) in (1..).zip(changes) {
        let table = builder.table(&schema(table));
        builder.push(ChangeHead { op: *op, ordinal, offset: 0, row: 0 }, table, None, None);
    }
    builder.finish(position, true, 0)
}

fn snapshot(table: &str, floor: u64, op: Op) -> Batch {
    batch(Phase::Snapshot, floor, &[(table, op)], None)
}

#[test]
fn a_table_read_twice_keeps_its_first_floor() {
    let mut progress = Progress::default();
    for floor in [10, 20] {
        progress.observe(&snapshot("t", floor, Op::SnapshotStart), Some(&place(floor)), &BTreeSet::new());
    }
    assert_eq!(progress.resume_from(), Some(&place(10)));
    assert!(!progress.is_done(&TableName::new("public", "t")));
}

#[test]
fn a_table_halted_in_its_first_reading_is_not_done_and_holds_the_log() {
    let halted = BTreeSet::from(["public.t".to_owned()]);
    let mut progress = Progress::default();
    assert!(!progress.leave_behind("public.t", None), "there is no place to leave it at");
    assert!(progress.leave_behind("public.t", Some(&place(10))));
    for (table, op) in
        [("t", Op::SnapshotStart), ("u", Op::SnapshotStart), ("t", Op::SnapshotEnd), ("u", Op::SnapshotEnd)]
    {
        progress.observe(&snapshot(table, 10, op), Some(&place(10)), &halted);
    }
    assert!(!progress.is_done(&TableName::new("public", "t")));
    assert!(progress.is_done(&TableName::new("public", "u")));
    assert_eq!((progress.lets_go(), progress.resume_from()), (None, Some(&place(10))));
    progress.observe(&batch(Phase::Stream, 30, &[("u", Op::Insert)], Some(place(31))), None, &halted);
    assert_eq!(progress.position, Some(place(31)));
    assert_eq!(progress.lets_go(), Some(&place(10)), "its log must stay");
}

#[test]
fn what_is_stored_without_tables_behind_is_read_as_before() {
    let stored = r#"{"position":{"mark":{"major":7,"minor":0},"text":"t:7"},"tables":{}}"#;
    let progress: Progress = serde_json::from_str(stored).unwrap();
    assert_eq!(progress, Progress { position: Some(place(7)), ..Progress::default() });
    assert_eq!(serde_json::to_string(&progress).unwrap(), stored);
}

/// The sink of a model: takes what it needs, transaction by transaction, commits after each.
struct Model {
    taken: Vec<(u64, String)>,
    progress: Progress,
    halted: BTreeSet<String>,
}

impl Model {
    /// Reads the log again from where the sink needs it, up to transaction `until`.
    fn run(&mut self, log: &[Vec<usize>], until: usize) {
        let base = self.progress.clone();
        let from = base.resume_from().map_or(0, |place| place.mark.major);
        for (number, tables) in (1u64..).zip(log).take(until) {
            let (commit, names) = (number * 10, ["t", "u", "v"]);
            if commit < from {
                continue;
            }
            let changes: Vec<(&str, Op)> =
                tables.iter().filter_map(|table| Some((*names.get(*table)?, Op::Insert))).collect();
            let batch = batch(Phase::Stream, commit, &changes, Some(place(commit + 1)));
            let mut needs = base.needs(&batch);
            for (index, schema) in batch.tables.iter().enumerate() {
                if self.halted.contains(&schema.name.to_string()) {
                    needs.exclude(index);
                }
            }
            for change in batch.changes.iter().filter(|change| needs.contains(&batch, change)) {
                self.taken.push((batch.mark(change).major, batch.table(change).unwrap().name.to_string()));
            }
            self.progress.observe(&batch, None, &self.halted);
            assert!(self.progress.lets_go() <= self.progress.position.as_ref());
        }
    }
}

proptest! {
    /// Two tables are halted one after the other, at any places; after a restart both are right again, another
    /// restart cuts their catching up short: every change is taken once, and the log was never let go too far.
    #[test]
    fn tables_left_behind_catch_up_exactly_once(
        log in proptest::collection::vec(proptest::collection::vec(0usize..3, 1..4), 1..14),
        first in 0usize..14, second in 0usize..14, restart in 0usize..14, cut in 0usize..14,
    ) {
        let start = Progress { position: Some(place(1)), ..Progress::default() };
        let mut model = Model { taken: Vec::new(), progress: start, halted: BTreeSet::new() };
        let mut upto = 0;
        for (table, at) in [("public.t", first), ("public.u", second)] {
            upto = upto.max(at);
            model.run(&log, upto);
            prop_assert!(model.progress.leave_behind(table, None));
            model.halted.insert(table.to_owned());
        }
        upto = upto.max(restart);
        model.run(&log, upto);
        let missing = |name: &str, at: usize| (1u64..).zip(&log).skip(at).take(upto.min(log.len()).saturating_sub(at))
            .filter(|(_, tables)| tables.iter().any(|t| ["public.t", "public.u", "public.v"].get(*t) == Some(&name)))
            .map(|(number, _)| number * 10).min();
        for lost in [missing("public.t", first), missing("public.u", first.max(second))].into_iter().flatten() {
            prop_assert!(model.progress.lets_go().unwrap().mark.major <= lost, "let go {:?}", model.progress);
        }
        model.halted.clear();
        model.run(&log, cut.min(log.len()));
        model.run(&log, log.len());
        let beat = batch(Phase::Stream, 0, &[], Some(place(log.len() as u64 * 10 + 5)));
        model.progress.observe(&beat, None, &model.halted);
        prop_assert!(model.progress.behind.is_empty());
        let mut taken = model.taken;
        let mut expect: Vec<(u64, String)> = (1u64..).zip(&log)
            .flat_map(|(number, tables)| tables.iter().map(move |t| (number * 10, ["public.t", "public.u", "public.v"].get(*t).unwrap().to_string())))
            .collect();
        taken.sort();
        expect.sort();
        prop_assert_eq!(taken, expect);
    }
}
