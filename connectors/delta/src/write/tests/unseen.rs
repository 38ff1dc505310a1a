//! Changes of rows that a table should have and has not.

use super::harness::{Harness, Logical, Shape};
use crate::ambient::{self, Limit, Own};
use crate::metrics::UNSEEN_CHANGES;
use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts one metric.
#[derive(Default)]
struct Unseen(Arc<AtomicU64>);

impl Recorder for Unseen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == UNSEEN_CHANGES { Counter::from_arc(Arc::clone(&self.0)) } else { Counter::noop() }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn changes_of_rows_that_are_missing_are_counted() {
    ambient::take(Own { limits: [(Limit::CommitThreads, 1)].into(), ..Own::default() });
    let unseen = Unseen::default();
    ::metrics::with_local_recorder(&unseen, || {
        let mut h = Harness::new(Shape::Int);
        for (changes, all) in [
            (vec![Logical::insert(1, "a", "A"), Logical::update(1, "b", Some("B")), Logical::Delete(1)], 0),
            (vec![Logical::update(2, "b", Some("B")), Logical::Delete(3)], 2),
            (vec![Logical::update(2, "c", Some("C")), Logical::Delete(1)], 3),
        ] {
            h.send(&changes);
            h.commit();
            assert_eq!(unseen.0.load(Ordering::Relaxed), all);
        }
    });
}
