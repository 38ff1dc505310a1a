//! Random sequences of changes, commits, crashes and replays: what readers see equals the source at the position
//! of the last commit (SK-3E, PG-35, VER-15), and a history holds every version up to there.

use super::harness::{Harness, Logical, Rows, Shape};
use super::history::Past;
use crate::layout::Mode;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Key, value, whether `big` is in the log, where the key goes.
    Put(u8, u16, bool, Option<u8>),
    Delete(u8),
    Truncate,
    EndTransaction,
    Commit,
    /// The daemon ends with nothing, or only the tables, committed.
    Crash {
        after_tables: bool,
    },
    /// Data files are rewritten until that is no use any more.
    Compact,
    /// The state directory is lost.
    LoseState,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0u8..12, any::<u16>(), any::<bool>(), proptest::option::weighted(0.2, 0u8..12))
            .prop_map(|(key, value, whole, to)| Step::Put(key, value, whole, to)),
        4 => (0u8..12).prop_map(Step::Delete),
        1 => Just(Step::Truncate),
        5 => Just(Step::EndTransaction),
        3 => Just(Step::Commit),
        1 => any::<bool>().prop_map(|after_tables| Step::Crash { after_tables }),
        1 => Just(Step::Compact),
        1 => Just(Step::LoseState),
    ]
}

/// Turns a step into what a source would log, given the rows it has.
fn logical(rows: &mut Rows, step: &Step) -> Option<Logical> {
    match *step {
        Step::Put(key, value, whole, to) => {
            let (id, v) = (i64::from(key), format!("v{value}"));
            let Some((_, held)) = rows.get(&id).cloned() else {
                rows.insert(id, (v.clone(), format!("big{value}")));
                return Some(Logical::Insert { id, v, big: format!("big{value}") });
            };
            let target = to.map_or(id, i64::from);
            let moved = target != id && !rows.contains_key(&target);
            let target = if moved { target } else { id };
            let big = if whole { format!("big{value}") } else { held };
            rows.remove(&id);
            rows.insert(target, (v.clone(), big.clone()));
            Some(Logical::Update { old: moved.then_some(id), id: target, v, big: whole.then_some(big) })
        }
        Step::Delete(key) => {
            rows.remove(&i64::from(key))?;
            Some(Logical::Delete(i64::from(key)))
        }
        Step::Truncate => {
            rows.clear();
            Some(Logical::Truncate)
        }
        Step::EndTransaction | Step::Commit | Step::Crash { .. } | Step::Compact | Step::LoseState => None,
    }
}

/// What a reader sees against what it should.
fn check(h: &Harness, mode: Mode, rows: &Rows, past: &Past) -> Result<(), TestCaseError> {
    if mode == Mode::History {
        prop_assert_eq!(past.rows(), rows.clone());
        prop_assert_eq!(h.versions(), past.versions());
    } else {
        prop_assert_eq!(&h.rows(), rows);
    }
    Ok(())
}

fn run(mode: Mode, shape: Shape, spill: bool, compact: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut h = Harness::with_mode(shape, mode);
    let mut past = Past::default();
    h.spill_always(spill);
    if compact {
        h.compact_always();
    }
    let mut rows = Rows::new();
    let mut open = Vec::new();
    for step in steps {
        open.extend(logical(&mut rows, step));
        if matches!(step, Step::Put(..) | Step::Delete(_) | Step::Truncate) {
            continue;
        }
        if !open.is_empty() {
            past.add(h.next_commit(), &open);
            h.send(&std::mem::take(&mut open));
        }
        match step {
            Step::Commit => {
                h.commit();
                check(&h, mode, &rows, &past)?;
            }
            Step::Crash { after_tables } => {
                if *after_tables {
                    h.commit_tables_only();
                }
                h.crash();
                h.replay();
            }
            Step::Compact => {
                h.commit();
                h.finish_compaction();
                check(&h, mode, &rows, &past)?;
            }
            Step::LoseState => {
                h.lose_state();
                h.replay();
            }
            _ => {}
        }
    }
    if !open.is_empty() {
        past.add(h.next_commit(), &open);
        h.send(&open);
    }
    h.commit();
    h.finish_compaction();
    check(&h, mode, &rows, &past)?;
    h.crash();
    h.replay();
    h.commit();
    check(&h, mode, &rows, &past)?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn readers_see_the_source(steps in proptest::collection::vec(step(), 1..60)) {
        run(Mode::Mirror, Shape::Int, false, false, &steps)?;
    }

    #[test]
    fn readers_see_the_source_when_every_write_spills(steps in proptest::collection::vec(step(), 1..40)) {
        run(Mode::Mirror, Shape::Composite, true, false, &steps)?;
    }

    #[test]
    fn readers_see_the_source_while_files_are_rewritten(steps in proptest::collection::vec(step(), 1..80)) {
        run(Mode::Mirror, Shape::Int, false, true, &steps)?;
    }

    #[test]
    fn readers_see_the_source_while_files_are_rewritten_and_every_write_spills(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(Mode::Mirror, Shape::Composite, true, true, &steps)?;
    }

    #[test]
    fn a_history_holds_every_version(steps in proptest::collection::vec(step(), 1..60)) {
        run(Mode::History, Shape::Int, false, false, &steps)?;
    }

    #[test]
    fn a_history_holds_every_version_when_every_write_spills(steps in proptest::collection::vec(step(), 1..40)) {
        run(Mode::History, Shape::Composite, true, false, &steps)?;
    }

    #[test]
    fn a_history_holds_every_version_while_files_are_rewritten(steps in proptest::collection::vec(step(), 1..80)) {
        run(Mode::History, Shape::Int, false, true, &steps)?;
    }

    #[test]
    fn a_history_holds_every_version_while_files_are_rewritten_and_every_write_spills(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(Mode::History, Shape::Composite, true, true, &steps)?;
    }
}
