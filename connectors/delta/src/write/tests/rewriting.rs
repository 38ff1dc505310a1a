//! Mirrors without deletion vectors: a file that loses rows is rewritten, and no other.

mod shapes;

use super::harness::{Harness, Logical, Shape, row, text};
use crate::parts::feed::{AFTER, BEFORE, DELETED};
use std::collections::BTreeSet;

fn plain(shape: Shape) -> Harness {
    let mut h = Harness::new(shape);
    h.delete_by_vectors(false);
    h
}

fn files(h: &Harness) -> BTreeSet<String> {
    let table = h.table().unwrap();
    assert!(table.files().all(|file| file.deletion_vector.is_none()));
    table.files().map(|file| file.path.clone()).collect()
}

#[test]
fn files_that_lose_rows_are_rewritten_and_no_others() {
    for (shape, spill) in [(Shape::Int, false), (Shape::Int, true), (Shape::Composite, true)] {
        let mut h = plain(shape);
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B")]);
        h.commit();
        let first = files(&h);
        h.send(&[Logical::insert(3, "c", "C"), Logical::insert(4, "d", "D")]);
        h.commit();
        let both = files(&h);
        h.spill_always(spill);
        h.replay();
        // PG-30: `big` comes from the file that is about to go. A row that the same commit takes back was written.
        for change in [
            Logical::update(1, "a2", None),
            Logical::insert(5, "e", "E"),
            Logical::insert(6, "f", "F"),
            Logical::Delete(5),
        ] {
            h.send(&[change]);
        }
        h.commit();
        let now = files(&h);
        assert_eq!(now.intersection(&both).collect::<Vec<_>>(), both.difference(&first).collect::<Vec<_>>());
        let expected = [row(1, "a2", "A"), row(2, "b", "B"), row(3, "c", "C"), row(4, "d", "D"), row(6, "f", "F")];
        assert_eq!(h.rows(), expected.into());
        let (stored, shown) = h.stored_and_shown();
        assert_eq!(
            stored.difference(&shown).cloned().collect::<BTreeSet<_>>(),
            first,
            "only the tombstone's file is kept"
        );
        // The index knows where the copies are, and so does one that is built anew.
        h.send(&[Logical::update(2, "b2", None), Logical::update(1, "a3", None)]);
        h.commit();
        h.lose_state();
        h.send(&[Logical::update(2, "b3", None), Logical::Delete(3), Logical::Delete(4)]);
        h.commit();
        assert_eq!(h.rows(), [row(1, "a3", "A"), row(2, "b3", "B"), row(6, "f", "F")].into());
        files(&h);
    }
}

#[test]
fn what_is_rewritten_has_a_feed_too() {
    for spill in [false, true] {
        let mut h = plain(Shape::Int);
        h.feed_changes(true);
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), Logical::insert(3, "c", "C")]);
        h.commit();
        h.spill_always(spill);
        h.replay();
        h.send(&[Logical::update(1, "x", None)]);
        h.send(&[Logical::update(1, "a2", None), Logical::Delete(3)]);
        h.commit();
        let told = |id, word: &str, v: &str| (id, text(word), text(v));
        assert_eq!(h.changes(), [told(1, AFTER, "a2"), told(1, BEFORE, "a"), told(3, DELETED, "c")]);
        assert_eq!(h.rows(), [row(1, "a2", "A"), row(2, "b", "B")].into());
    }
}

#[test]
fn small_files_become_one() {
    let mut h = plain(Shape::Int);
    h.compact_always();
    for id in 0..40 {
        h.send(&[Logical::insert(id, "v", "big"), Logical::update(id / 2, "w", None)]);
        h.commit();
    }
    h.finish_compaction();
    assert!(files(&h).len() < 16, "{:?}", files(&h));
    h.send(&[Logical::update(30, "x", None), Logical::Delete(31)]);
    h.commit();
    assert_eq!((h.rows().len(), h.rows()[&30].clone()), (39, row(30, "x", "big").1));
}

#[test]
fn a_table_stays_as_it_was_made() {
    for by_vectors in [true, false] {
        let mut h = Harness::new(Shape::Int);
        h.delete_by_vectors(by_vectors);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        h.delete_by_vectors(!by_vectors);
        let error = h.try_send(&[Logical::update(1, "b", Some("B"))]).unwrap_err();
        assert_eq!(error.code(), "deletion_vectors_changed");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains(&format!("deletion_vectors = {by_vectors}"))));
    }
}
