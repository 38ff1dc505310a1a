//! Tables partitioned by texts of all kinds: files lie in folders that are called by the encoded text, and every name that the log
//! has of them is one that a listing has.

use super::super::harness::{Harness, Logical, Rows, Shape, text};
use crate::layout::Mode;
use crate::parts::feed::{AFTER, BEFORE, INSERTED};
use crate::store::name;
use std::collections::BTreeSet;
use tidewire_core::sink::PurgeRequest;

const TEXTS: [&str; 36] = [
    "plain",
    "New York",
    " leading",
    "trailing ",
    " ",
    ".",
    "..",
    "../up",
    "/etc",
    "a/b",
    "a//b/",
    "a\\b",
    "a=b",
    "a:b",
    "a%20b",
    "%",
    "%2F",
    "%%zz",
    "a+b",
    "#?&",
    "*",
    "~",
    "\"quoted\"",
    "it's",
    "[x]",
    "{y}",
    "<z>|^`",
    "tab\tand\nline\r",
    "\u{1}\u{7f}",
    "null",
    "\u{e9}",
    "e\u{301}",
    "\u{65e5}\u{672c} \u{6771}\u{4eac}",
    "\u{1f980}",
    "part-1",
    "_delta_log",
];

fn id(at: usize) -> i64 {
    i64::try_from(at).unwrap()
}

/// The row `id` has the text that comes `shift` later.
fn texts(shift: usize) -> impl Iterator<Item = (i64, &'static str)> {
    (0..TEXTS.len()).map(move |at| (id(at), TEXTS[(at + shift) % TEXTS.len()]))
}

/// Our reader and another one see these, and the log names what lies there.
fn check(h: &Harness, shift: usize, what: &str) {
    let expected: Rows = texts(shift).map(|(id, v)| (id, (text(v), text("big")))).collect();
    assert_eq!(h.rows(), expected, "{what}");
    let mut rows: Vec<_> = expected.iter().map(|(id, row)| vec![Some(id.to_string()), Some(row.0.clone())]).collect();
    rows.sort();
    assert_eq!(h.rows_by_kernel(&["id", "v"]), rows, "{what}");
    let table = h.table().unwrap();
    let listed: BTreeSet<String> =
        table.store().list_below("").unwrap().into_iter().map(|object| object.name).collect();
    for file in table.files() {
        let value = file.partition["v"].as_deref().unwrap();
        assert!(listed.contains(&file.path), "{what}: {}", file.path);
        let stored = name::stored(&file.path).unwrap();
        assert!(stored.starts_with(&format!("v={}/part-", name::segment_of(value))), "{what}: {stored}");
    }
}

#[test]
fn any_text_is_a_partition() {
    for (is_bucket, spill) in [(false, false), (false, true), (true, false)] {
        let what = format!("bucket: {is_bucket}, spilled: {spill}");
        let mut h = super::partitioned(Shape::Int, Mode::Mirror, "v");
        h.feed_changes(true);
        if is_bucket {
            h.move_to_bucket();
        }
        h.spill_always(spill);
        h.snapshot_start();
        h.snapshot_end();
        h.send(&texts(0).map(|(id, v)| Logical::insert(id, v, "big")).collect::<Vec<_>>());
        h.commit();
        check(&h, 0, &what);
        let inserted = texts(0).map(|(id, v)| (id, text(INSERTED), text(v))).collect::<Vec<_>>();
        // New rows alone are told by their data files.
        assert_eq!(h.changes_by_kernel(), inserted, "{what}");
        // Every row moves, and what the log leaves out comes from the other partition.
        for shift in 1..4 {
            h.send(&texts(shift).map(|(id, v)| Logical::update(id, v, None)).collect::<Vec<_>>());
            h.commit();
            let moved = (texts(shift - 1).map(|(id, v)| (id, text(BEFORE), text(v))))
                .chain(texts(shift).map(|(id, v)| (id, text(AFTER), text(v))));
            let mut moved = moved.collect::<Vec<_>>();
            moved.sort();
            assert_eq!((h.changes_by_kernel(), h.changes()), (moved.clone(), moved), "{what}");
            check(&h, shift, &what);
        }
        h.lose_state();
        h.compact_always();
        h.send(&texts(4).map(|(id, v)| Logical::update(id, v, None)).collect::<Vec<_>>());
        h.commit();
        h.finish_compaction();
        h.finish_compaction();
        check(&h, 4, &what);
        let (is_done, lines) = h.purge(&PurgeRequest { table: None, key: None, now: true }).unwrap();
        assert!(is_done, "{what}: {lines:?}");
        check(&h, 4, &what);
        // Nothing lies there that the log does not name, and the other way round.
        let table = h.table().unwrap();
        let listed = table.store().list_below("").unwrap().into_iter().map(|object| object.name);
        let listed: BTreeSet<String> =
            listed.filter(|name| name.contains("/part-") && name.starts_with("v=")).collect();
        assert_eq!(listed, table.files().map(|file| file.path.clone()).collect(), "{what}");
        h.replay();
        h.send(&texts(5).map(|(id, v)| Logical::update(id, v, None)).collect::<Vec<_>>());
        h.commit();
        check(&h, 5, &what);
    }
}
