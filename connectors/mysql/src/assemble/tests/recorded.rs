//! Files that real servers wrote, read to their ends.

use super::harness::{Seen, Source};
use super::tape::{Naming, Tape};
use crate::binlog::tests::support::{recorded, recordings};
use crate::model::{Charset, Flavour};
use crate::position::{FilePlace, Place};
use std::collections::BTreeMap;
use tidewire_core::SnapshotMode;

fn source(name: &str) -> Source {
    let naming = if name.starts_with("ma") { Naming::Domains } else { Naming::Anonymous };
    let mut source = Source::new(naming, &[]);
    let utf8 = Charset { name: "utf8mb4".into(), collation: "".into() };
    source.schemas.set_database("work", utf8);
    source.place = Place::File(FilePlace {
        server: "s".into(),
        flavour: if name.starts_with("ma") { Flavour::MariaDb } else { Flavour::MySql },
        file: "binlog.000001".into(),
        offset: 4,
        begun: None,
    });
    // What is refused to capture, as its history is in the log as well, is counted nevertheless.
    Source { filter: &["work.*", "!work.special"], snapshot: SnapshotMode::Never, ..source }
}

/// Rows by operation and table. `seq` is MariaDB's sequence.
fn counted(texts: &[&str]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for text in texts {
        let mut words = text.split(' ').skip(1);
        if let (Some(op @ ("insert" | "update" | "delete")), Some(table)) = (words.next(), words.next()) {
            *counts.entry(format!("{} work.{table}", op.to_uppercase())).or_default() += 1;
        }
    }
    counts
}

/// As many rows as the server's own tool counts, less those that XA rolled back.
#[test]
fn recorded_files_come_out_whole() {
    for (name, file) in recordings() {
        let tape = Tape::recorded(&file);
        let source = source(&name);
        let out = source.run(&tape).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        let expected = std::fs::read_to_string(recorded().join(format!("{name}.rows"))).unwrap();
        let mut expected: BTreeMap<String, u64> = expected
            .lines()
            .map(|line| line.rsplit_once(' ').map(|(what, count)| (what.to_owned(), count.parse().unwrap())).unwrap())
            .collect();
        *expected.get_mut("INSERT work.keyless").unwrap() -= 1;
        expected.retain(|what, _| !what.ends_with(" work.special"));
        assert_eq!(counted(&out.texts()), expected, "{name}");
        assert!(out.seen.is_sorted_by_key(|seen| seen.mark), "{name}");
        // In parts, and from each of their ends.
        let parts = source.clone().limit(3).run(&tape).unwrap();
        same(&parts.seen, &out.seen, &name);
        for batch in &parts.batches {
            let mut again = source.resumed(&batch.position);
            again.shipped = out_tables(&out.texts());
            let again =
                again.run(&tape).unwrap_or_else(|error| panic!("{name} from {}: {}", batch.position, error.chain()));
            let skip = |texts: &Seen| !texts.text.contains(" schema ") && !texts.text.contains(" truncate ");
            let rest: Vec<_> =
                again.seen.into_iter().filter(|seen| seen.mark > batch.position.mark && skip(seen)).collect();
            let whole: Vec<_> = out.seen[batch.changes..].iter().filter(|seen| skip(seen)).cloned().collect();
            same(&rest, &whole, &format!("{name} from {}", batch.position));
        }
    }
}

/// Shows the first difference alone.
fn same(found: &[Seen], expected: &[Seen], what: &str) {
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "{what}: change {number}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

fn out_tables(texts: &[&str]) -> Vec<tidewire_core::TableName> {
    let tables: std::collections::BTreeSet<_> = counted(texts).into_keys().collect();
    tables
        .iter()
        .filter_map(|table| table.rsplit_once('.').map(|(_, table)| super::harness::name(&format!("work.{table}"))))
        .collect()
}
