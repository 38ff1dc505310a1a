//! Files of real servers: every event parses, rows walk exactly to their end, and there are as many as the servers' own
//! tools count. How they were made: `tests/recorded/record.sh`.

use super::support::{Contents, recorded, recordings};
use crate::binlog::file::Walk;
use crate::binlog::table_map::wire;
use crate::binlog::{Event, Metadata, kind};
use crate::gtid::GtidSet;
use std::collections::BTreeMap;

/// `NAME.rows`: what happened, table, number.
fn counted(name: &str) -> BTreeMap<(String, String), u64> {
    let text = std::fs::read_to_string(recorded().join(name).with_extension("rows")).unwrap();
    let parse = |line: &str| {
        let [what, table, number] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        ((what.to_owned(), table.to_owned()), number.parse().unwrap())
    };
    text.lines().map(parse).collect()
}

#[test]
fn rows_are_as_many_as_the_server_says() {
    for (name, file) in recordings() {
        let contents = Contents::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(contents.rows, counted(&name), "{name}");
    }
}

/// The kinds of events that each recording is there for (MY-0B, MY-30, MY-31, MY-32, MY-33).
#[test]
fn recordings_hold_what_they_were_made_for() {
    let cases: &[(&str, &[u8])] = &[
        ("my97-full", &[kind::GTID_TAGGED, kind::PARTIAL_UPDATE_ROWS, kind::XA_PREPARE, kind::ROWS_QUERY]),
        ("my97-compressed", &[kind::TRANSACTION_PAYLOAD, kind::GTID_TAGGED, kind::PARTIAL_UPDATE_ROWS]),
        ("my80-full", &[kind::GTID, kind::PREVIOUS_GTIDS, kind::PARTIAL_UPDATE_ROWS, kind::XA_PREPARE]),
        ("my80-compressed", &[kind::TRANSACTION_PAYLOAD, kind::UPDATE_ROWS, kind::DELETE_ROWS]),
        ("my80-unchecked", &[kind::GTID, kind::WRITE_ROWS]),
        ("ma105-full", &[kind::MARIA_GTID, kind::MARIA_GTID_LIST, kind::BINLOG_CHECKPOINT, kind::WRITE_ROWS_V1]),
        ("ma1011-bare", &[kind::MARIA_GTID, kind::ANNOTATE_ROWS, kind::XA_PREPARE]),
        (
            "ma1011-compressed",
            &[
                kind::QUERY_COMPRESSED,
                kind::WRITE_ROWS_COMPRESSED_V1,
                kind::UPDATE_ROWS_COMPRESSED_V1,
                kind::DELETE_ROWS_COMPRESSED_V1,
            ],
        ),
        ("ma114-full", &[kind::MARIA_GTID]),
        ("ma118-full", &[kind::MARIA_GTID]),
        ("ma118-compressed", &[kind::QUERY_COMPRESSED, kind::UPDATE_ROWS_COMPRESSED_V1]),
    ];
    for (name, expected) in cases {
        let file = std::fs::read(recorded().join(name).with_extension("binlog")).unwrap();
        let contents = Contents::read(&file).unwrap();
        for kind in *expected {
            assert!(contents.kinds.contains_key(kind), "{name} lacks {}: {:?}", kind::Named(*kind), contents.kinds);
        }
    }
}

/// Facts that `binlog_row_metadata` adds, of one table, against its declaration in `types.sql`.
#[test]
fn metadata_says_what_was_declared() {
    for (name, file) in recordings() {
        let maps = Contents::read(&file).unwrap().maps;
        let numbers = &maps["numbers"];
        let Some(metadata) = &numbers.metadata else {
            assert_eq!(name, "ma1011-bare", "metadata is missing");
            continue;
        };
        assert!(metadata.unknown.is_empty(), "{name}");
        let unsigned = metadata.unsigned.as_ref().unwrap();
        // `YEAR`, 3 and 12, counts as unsigned.
        let expected = [0, 2, 3, 5, 7, 9, 11, 12, 14, 17, 19];
        for (index, found) in unsigned.iter().enumerate() {
            assert_eq!(*found, expected.contains(&index), "{name} column {index}");
        }
        let Some(names) = &metadata.names else { continue };
        assert_eq!(names[..4], ["id", "t1", "t2", "y1"], "{name}");
        assert_eq!(metadata.primary_key, Some(vec![0]), "{name}");
        texts(&name, maps["texts"].metadata.as_ref().unwrap());
        let shapes = maps["shapes"].metadata.as_ref().unwrap();
        assert_eq!(shapes.geometry, [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6), Some(7)]);
        assert_eq!(maps["keyless"].metadata.as_ref().unwrap().primary_key, None);
    }
}

fn texts(name: &str, texts: &Metadata) {
    const BINARY: Option<u32> = Some(63);
    let names = texts.names.as_ref().unwrap();
    let at = |column: &str| names.iter().position(|name| name == column).unwrap();
    assert_eq!(texts.primary_key, Some(vec![0, 2 + 1]), "{name}");
    assert_eq!(texts.primary_key_prefixes, Some(vec![0, 10]), "{name}");
    for column in ["b16", "vb20", "vb500", "tb", "bl", "mb", "lb"] {
        assert_eq!(texts.charsets[at(column)], BINARY, "{name} {column}");
    }
    // latin1_swedish_ci and ascii_general_ci have the same numbers everywhere.
    for (column, id) in [("l1", 8), ("e2", 8), ("s", 8), ("a", 11)] {
        assert_eq!(texts.charsets[at(column)], Some(id), "{name} {column}");
    }
    let utf8mb4 = texts.charsets[at("c10")];
    assert!(utf8mb4.is_some_and(|id| id != 8 && id != 63));
    for column in ["c255", "v50", "v300", "tt", "te", "mt", "lt", "e", "s2"] {
        assert_eq!(texts.charsets[at(column)], utf8mb4, "{name} {column}");
    }
    assert_eq!(texts.charsets[0], None);
    let labels = |column| texts.labels[at(column)].as_ref().unwrap();
    assert_eq!(labels("e"), &[b"a".to_vec(), b"b".to_vec(), "ü".as_bytes().to_vec()], "{name}");
    assert_eq!(labels("e2"), &[b"x".to_vec(), b"y".to_vec()], "{name}");
    assert_eq!(labels("s"), &[b"p".to_vec(), b"q".to_vec(), b"r".to_vec()], "{name}");
    assert_eq!(labels("s2").len(), 10, "{name}");
    assert_eq!(texts.labels[at("c10")], None);
}

/// Lengths above 255 are hidden in the real type of `CHAR`; enum and set hide behind `STRING`.
#[test]
fn wire_columns_are_unpacked() {
    for (name, file) in recordings() {
        let maps = Contents::read(&file).unwrap().maps;
        let columns = &maps["texts"].columns;
        let found: Vec<(u8, u16)> = columns.iter().map(|column| (column.wire, column.meta)).collect();
        let expected = [
            (wire::LONG, 0),
            (wire::STRING, 40),
            (wire::STRING, 1020),
            (wire::VARCHAR, 200),
            (wire::VARCHAR, 1200),
            (wire::STRING, 16),
            (wire::VARCHAR, 20),
            (wire::VARCHAR, 500),
            (wire::BLOB, 1),
            (wire::BLOB, 2),
            (wire::BLOB, 3),
            (wire::BLOB, 4),
            (wire::BLOB, 1),
            (wire::BLOB, 2),
            (wire::BLOB, 3),
            (wire::BLOB, 4),
            (wire::ENUM, 1),
            (wire::ENUM, 1),
            (wire::SET, 1),
            (wire::SET, 2),
            (wire::VARCHAR, 20),
            (wire::STRING, 4),
        ];
        assert_eq!(found, expected, "{name}");
        let nullable = columns.iter().map(|column| column.nullable).collect::<Vec<_>>();
        assert!(!nullable[0] && !nullable[3] && nullable[1] && nullable[4], "{name}");
    }
}

/// Tagged and untagged transactions of one file add up to a set, and PREVIOUS_GTIDS of real files decode (MY-0B).
#[test]
fn identifiers_of_real_files_add_up() {
    for (name, file) in recordings().into_iter().filter(|(name, _)| name.starts_with("my")) {
        let mut walk = Walk::new(&file).unwrap();
        let (mut before, mut seen, mut tagged) = (None, GtidSet::default(), 0);
        while let Some((raw, event)) = walk.next_event().unwrap() {
            match event {
                Event::PreviousGtids(body) => before = Some(GtidSet::decode(body).unwrap()),
                Event::Gtid(event) => {
                    assert!(seen.insert(&event.gtid), "{name}: {} twice", event.gtid);
                    assert!(event.immediate_commit.unwrap() > 1_500_000_000_000_000);
                    assert_eq!(event.original_commit, event.immediate_commit);
                    let version = event.immediate_version.unwrap();
                    assert_eq!(version, if name.starts_with("my80") { 80031 } else { 90704 });
                    assert!(event.transaction_length.unwrap() > u64::from(raw.header.length));
                    tagged += usize::from(event.gtid.tag.is_some());
                }
                _ => {}
            }
        }
        assert!(seen.subtract(&before.unwrap()) == seen);
        assert_eq!(tagged > 0, name.starts_with("my97"), "{name}");
        assert_eq!(seen.has_tags(), tagged > 0);
        let mut bytes = Vec::new();
        seen.encode_dump(&mut bytes);
        assert_eq!(GtidSet::decode(&bytes).unwrap(), seen);
    }
}

/// MY-47: which columns a map has. Hidden columns of functional indexes are not in it; invisible ones, those that are
/// computed, the key that MySQL makes and the periods of system versioning are.
#[test]
fn maps_have_invisible_columns() {
    let file = |name: &str| Contents::read(&std::fs::read(recorded().join(name)).unwrap()).unwrap().maps;
    for name in ["my80-full.binlog", "my97-full.binlog"] {
        let maps = file(name);
        let facts = |table: &str| {
            let metadata = maps[table].metadata.clone().unwrap();
            (metadata.names.unwrap(), metadata.visible.unwrap())
        };
        assert_eq!(facts("indexed").0, ["id", "tags"], "{name}");
        assert_eq!(facts("hidden"), (["my_row_id", "a", "b"].map(String::from).to_vec(), vec![false, true, true]));
        let (names, visible) = facts("keyless");
        assert_eq!((&names[..], visible[0]), (&["c", "a", "b", "v", "w"].map(String::from)[..], false), "{name}");
        assert_eq!(maps["documents"].json_columns, 2);
    }
    let vectors = &file("my97-minimal.binlog")["vectors"];
    assert_eq!(vectors.columns[1].wire, wire::VECTOR);
    assert_eq!(vectors.metadata.as_ref().unwrap().dimensions, [None, Some(3), Some(5)]);
    let maps = file("ma118-full.binlog");
    let special = &maps["special"];
    let metadata = special.metadata.as_ref().unwrap();
    let names = metadata.names.as_ref().unwrap();
    assert_eq!(names[..], ["id", "i6", "c", "t", "j", "n", "row_start", "row_end"]);
    assert_eq!(metadata.visible, None, "MariaDB does not tell");
    let wires: Vec<u8> = special.columns.iter().map(|column| column.wire).collect();
    let stamps = [wire::TIMESTAMP2; 2];
    let compressed = [wire::VARCHAR_COMPRESSED, wire::BLOB_COMPRESSED];
    assert_eq!((&wires[2..4], &wires[6..]), (&compressed[..], &stamps[..]));
    // Types of MariaDB's own are binary strings to the log.
    let modern = &maps["modern"];
    let columns: Vec<_> = modern.columns.iter().map(|column| (column.wire, column.meta)).collect();
    assert_eq!(columns, [(wire::STRING, 16), (wire::STRING, 4), (wire::VARCHAR, 12)]);
    assert_eq!(modern.metadata.as_ref().unwrap().charsets, [Some(63); 3]);
}
