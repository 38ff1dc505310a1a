//! The benchmark's arithmetic of rounds against a plain model of a table: what it says is deleted was there, what it
//! inserts was not, and the rows of the end are those of a run from the start.

#[path = "../benches/upsert/rounds.rs"]
mod rounds;

use proptest::prelude::*;
use rounds::{Kind, Rounds};
use std::collections::{BTreeMap, BTreeSet};

fn check(rounds: &Rounds, changes: u64, count: u64) {
    let rows = rounds.rows();
    let mut table: BTreeMap<u64, u64> = (0..rows).map(|id| (id, 0)).collect();
    for round in 0..count {
        let mut touched = BTreeSet::new();
        for (kind, id) in rounds.changes(round) {
            assert!(id < rounds.ids() && touched.insert(id), "{id} in round {round}");
            let was = match kind {
                Kind::Delete => table.remove(&id),
                _ => table.insert(id, round + 1),
            };
            assert_eq!(was.is_some(), kind != Kind::Insert, "{kind:?} of {id} in round {round}");
        }
        assert_eq!((touched.len() as u64, table.len() as u64), (changes, rows));
    }
    let mut found = BTreeMap::new();
    rounds.for_each_row(count, |id, round| assert_eq!(found.insert(id, round), None));
    assert!(found == table, "{rows} rows, {count} rounds of {changes}");
}

#[test]
fn ids_come_back_and_the_circle_closes() {
    for (rows, changes, count) in [(81, 20, 400), (1_000, 20, 45), (10_007, 2_500, 100), (8_193, 2_040, 0)] {
        check(&Rounds::new(rows, changes).unwrap(), changes, count);
    }
}

#[test]
fn a_round_has_its_shares() {
    let changes = Rounds::new(1_000_000, 10_000).unwrap().changes(7);
    let count = |kind| changes.iter().filter(|change| change.0 == kind).count();
    assert_eq!([Kind::Update, Kind::Insert, Kind::Delete].map(count), [9_000, 500, 500]);
    // Deletes and updates reach every tenth of the table.
    for kind in [Kind::Update, Kind::Delete] {
        let tenths: BTreeSet<u64> = changes.iter().filter(|c| c.0 == kind).map(|c| c.1 / 100_000).collect();
        assert!((0..10).all(|tenth| tenths.contains(&tenth)), "{kind:?}: {tenths:?}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for (rows, changes) in [(0, 20), (80, 20), (1 << 32, 20), (1_000, 0), (1_000, 30), (u64::MAX, u64::MAX)] {
        assert!(Rounds::new(rows, changes).is_none(), "{rows}, {changes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_table_is_told_without_its_history(rows in 100_u64..3_000, twenties in 1_u64..6, count in 0_u64..120) {
        prop_assume!(rows > twenties * 80);
        check(&Rounds::new(rows, twenties * 20).unwrap(), twenties * 20, count);
    }
}
