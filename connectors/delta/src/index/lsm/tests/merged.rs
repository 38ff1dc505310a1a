//! What becomes of runs that are merged, and of what was known of them.

use super::*;

/// A snapshot of a large table is one commit: what its runs were merged from takes no space and no memory until then.
#[test]
fn runs_that_no_manifest_names_go_when_they_are_merged() {
    let directory = tempfile::tempdir().unwrap();
    let mut index = Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap().index;
    let none = RoaringBitmap::new();
    let fill = |index: &mut Index, from: u64| {
        for n in from..from + 200 {
            index.insert(key(n), row(0, n as u32));
            if n % 5 == 0 {
                index.spill(Vec::new()).unwrap();
                index.settle(&none).unwrap();
                index.poll(&none).unwrap();
            }
        }
        index.settle(&none).unwrap();
    };
    fill(&mut index, 0);
    assert_eq!(files_of_runs(directory.path()), index.run_count());
    index.committed();
    index.poll(&none).unwrap();
    index.settle(&none).unwrap();
    let named = index.run_count();
    fill(&mut index, 200);
    // Those that the manifest names are still there.
    assert!(files_of_runs(directory.path()) <= index.run_count() + named);
}

/// The filter of a large run is not brought into the process to find out once more that it is of no use.
#[test]
fn a_merged_run_is_expected_to_hold_what_its_parts_did() {
    for (first, is_sure) in [(0, true), (5_000, false)] {
        let directory = tempfile::tempdir().unwrap();
        let mut index = Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap().index;
        let none = RoaringBitmap::new();
        for file in 0..3 {
            (0..1_000).for_each(|n| index.insert(key(n), row(file, n as u32)));
            index.spill(vec![]).unwrap();
            index.settle(&none).unwrap();
            if file == 0 {
                index.prefetch(&(first..first + 1_000).map(key).collect::<Vec<_>>()).unwrap();
            }
        }
        let sure = |index: &Index| index.runs.iter().map(|placed| placed.run.is_sure()).collect::<Vec<_>>();
        // Each new run is asked for the batch's keys as well.
        assert_eq!(sure(&index), [is_sure; 3]);
        index.poll(&none).unwrap();
        index.settle(&none).unwrap();
        assert_eq!(sure(&index), [is_sure], "of the merged one");
        // Which it is until a sweep finds otherwise.
        index.prefetch(&(4_999..6_000).map(key).collect::<Vec<_>>()).unwrap();
        assert_eq!(sure(&index), [false]);
        index.prefetch(&[key(7)]).unwrap();
        assert_eq!(index.candidates(key(7)).unwrap().collect::<Vec<_>>(), [row(2, 7)]);
    }
}
