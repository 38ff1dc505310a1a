//! Ordinals of files run out.

use super::*;
use tidewire_core::ErrorKind;

/// Of files that no entry can name any more, and of few that it still can, the next start makes an index with all numbers.
#[test]
fn an_index_that_has_counted_all_files_begins_anew() {
    for next in [FILES_MAX, FILES_MAX - ORDINALS_SPARED] {
        let directory = tempfile::tempdir().unwrap();
        let open = || Index::open_with(Some(directory.path()), binding(true, 0), LIMITS).unwrap();
        let mut index = open().index;
        index.insert(key(1), row(next - 1, 0));
        index.spare_ordinals(next - 1 - ORDINALS_SPARED).unwrap();
        index.spill(vec![(next - 1, "a".to_owned())]).unwrap();
        index.settle(&RoaringBitmap::new()).unwrap();
        index.committed();
        index.poll(&RoaringBitmap::new()).unwrap();
        drop(index);
        let mut index = open().index;
        assert_eq!((index.next_file(), index.entries()), (next, 1));
        let error = if next == FILES_MAX {
            index.insert(key(2), row(next, 0));
            index.spill(vec![]).unwrap();
            index.settle(&RoaringBitmap::new()).unwrap_err()
        } else {
            index.spare_ordinals(next).unwrap_err()
        };
        assert_eq!((error.code(), error.kind()), (SPENT, ErrorKind::Retry));
        assert_eq!(index.prefetch(&[key(1)]).unwrap_err().kind(), ErrorKind::Retry);
        drop(index);
        let opened = open();
        assert_eq!((opened.index.next_file(), opened.index.entries(), opened.anew.is_some()), (0, 0, true));
    }
}
