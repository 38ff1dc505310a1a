use super::*;
use crate::catalog::described_without_server;
use crate::wire::pgoutput::{RelationBody, RelationColumn};
use proptest::prelude::*;
use tidewire_core::cell::Value;
use tidewire_core::{BatchLimits, Cell, Phase, SourceDescriptor};

fn table(types: &[u32]) -> Arc<Described> {
    let columns = types.iter().enumerate().map(|(index, type_oid)| RelationColumn {
        identity: index == 0,
        name: format!("c{index}"),
        type_oid: *type_oid,
        type_modifier: -1,
    });
    Arc::new(described_without_server(&RelationBody {
        oid: 1,
        namespace: "public".to_owned(),
        name: "t".to_owned(),
        replica_identity: b'd',
        columns: columns.collect(),
    }))
}

fn builder() -> BatchBuilder {
    let descriptor = SourceDescriptor {
        name: "test".into(),
        connector: "postgresql",
        database: "test".into(),
        provenance: &[],
        has_sequence: true,
        snapshot_floor: None,
    };
    BatchBuilder::new(Arc::new(descriptor), Phase::Snapshot, BatchLimits::default())
}

fn texts(types: &[u32], line: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
    let mut builder = builder();
    let mut rows = SnapshotRows::new(table(types), CopyFormat::Text, 9, 1);
    rows.push_copy_data(line, &mut builder)?;
    assert_eq!(rows.next_ordinal(), 2);
    let batch = builder.finish(None, true, 0);
    let [change] = batch.changes[..] else { panic!() };
    assert_eq!((change.op, change.ordinal, change.offset), (Op::Read, 1, 9));
    let show = |cell: &Cell| match cell.value(batch.arena()) {
        Value::Null => None,
        Value::Text(text) | Value::Bytes(text) => Some(text.to_vec()),
        other => panic!("{other:?}"),
    };
    Ok(batch.after(&change).unwrap().iter().map(show).collect())
}

#[test]
fn a_line_is_taken_apart_as_copy_wrote_it() {
    let line = b"\\N\t\ta\\tb\\nc\\\\d\\b\\f\\r\\v\t\\\\N\t\\\\x00ff\n";
    let expected: Vec<Option<Vec<u8>>> = vec![
        None,
        Some(b"".to_vec()),
        Some(b"a\tb\nc\\d\x08\x0c\r\x0b".to_vec()),
        Some(b"\\N".to_vec()),
        Some(vec![0, 0xff]),
    ];
    assert_eq!(texts(&[25, 25, 25, 25, 17], line).unwrap(), expected);
}

#[test]
fn pg_5a_no_columns_and_one_empty_column_differ() {
    assert_eq!(texts(&[], b"\n").unwrap(), Vec::<Option<Vec<u8>>>::new());
    assert_eq!(texts(&[25], b"\n").unwrap(), [Some(Vec::new())]);
}

#[test]
fn a_line_of_another_shape_is_refused() {
    for (types, line) in [
        (&[25, 25][..], &b"a\n"[..]),
        (&[25], b"a\tb\n"),
        (&[], b"a\n"),
        (&[25], b"a"),
        (&[25], b""),
        (&[25], b"a\\q\n"),
        (&[25], b"a\\\n"),
    ] {
        assert!(texts(types, line).is_err(), "{line:?}");
    }
}

#[test]
fn pg_93_an_unreadable_value_is_named_and_not_shown() {
    let error = texts(&[23, 25], b"1\tcaf\xe9\n").unwrap_err();
    assert_eq!(error.code(), "invalid_utf8");
    assert_eq!(error.chain(), "read column `c1` of table `public.t`: the value is not utf-8");
    let error = texts(&[23, 25], b"secret\tx\n").unwrap_err();
    assert_eq!(error.code(), "value_unreadable");
    assert!(!error.chain().contains("secret"));
}

/// As `CopyAttributeOutText` of the server.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c => out.push(c),
        }
    }
    out
}

proptest! {
    #[test]
    fn lines_read_back(row in proptest::collection::vec(proptest::option::of("[\\PC\\\\\t\n\r\u{b}\u{8}N]{0,8}"), 1..6)) {
        let fields: Vec<String> = row.iter().map(|v| v.as_deref().map_or("\\N".to_owned(), escape)).collect();
        let line = format!("{}\n", fields.join("\t"));
        let expected: Vec<Option<Vec<u8>>> = row.iter().map(|v| v.as_ref().map(|v| v.clone().into_bytes())).collect();
        prop_assert_eq!(texts(&vec![25; row.len()], line.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = texts(&[25, 25], &line);
    }
}

/// What a binary `COPY` sends, with each row as a message of its own and the header before the first.
fn binary(rows: &[&[Option<&[u8]>]]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut next = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for row in rows {
        next.extend((row.len() as i16).to_be_bytes());
        for value in *row {
            next.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
            next.extend(value.unwrap_or_default());
        }
        messages.push(std::mem::take(&mut next));
    }
    next.extend((-1i16).to_be_bytes());
    messages.push(next);
    messages
}

fn read_binary(types: &[u32], messages: &[Vec<u8>]) -> Result<usize> {
    let mut builder = builder();
    let mut rows = SnapshotRows::new(table(types), CopyFormat::Binary, 9, 1);
    for message in messages {
        rows.push_copy_data(message, &mut builder)?;
    }
    rows.finish()?;
    Ok(builder.finish(None, true, 0).changes.len())
}

#[test]
fn binary_rows_come_with_header_and_trailer() {
    assert_eq!(read_binary(&[25], &binary(&[])).unwrap(), 0);
    assert_eq!(read_binary(&[], &binary(&[&[], &[]])).unwrap(), 2);
    let rows: &[&[Option<&[u8]>]] = &[&[Some(b"a"), None], &[Some(b""), Some(&[0, 0, 0, 7])]];
    assert_eq!(read_binary(&[25, 23], &binary(rows)).unwrap(), 2);
}

#[test]
fn binary_rows_of_another_shape_are_refused() {
    let row: &[Option<&[u8]>] = &[Some(b"a"), None];
    let whole = binary(&[row, row]);
    for types in [&[25][..], &[25, 23, 23], &[]] {
        assert_eq!(read_binary(types, &whole).unwrap_err().code(), "snapshot_row_malformed");
    }
    let refused = |messages: &[Vec<u8>]| assert!(read_binary(&[25, 23], messages).is_err(), "{messages:?}");
    // Without its trailer, with more after it, without its header, cut off, with two rows in one message.
    refused(&whole[..2]);
    refused(&[whole.clone(), whole[1..].to_vec()].concat());
    refused(&whole[1..]);
    // A header alone is none of these.
    for at in (0..whole[0].len()).filter(|at| *at != 19) {
        refused(&[vec![whole[0][..at].to_vec()], whole[1..].to_vec()].concat());
    }
    refused(&[whole[0].clone(), [whole[1].clone(), whole[1].clone()].concat(), whole[2].clone()]);
    // A flag that a reader must know.
    let mut flagged = whole.clone();
    flagged[0][12] = 1;
    refused(&flagged);
    assert_eq!(read_binary(&[25, 23], &whole).unwrap(), 2);
}

#[test]
fn a_table_is_read_in_binary_form_only_when_every_column_can_be() {
    for (types, format) in [
        (&[20, 23, 25, 1700, 1184, 25][..], CopyFormat::Binary),
        (
            &[16, 17, 19, 21, 26, 114, 700, 701, 790, 1042, 1043, 1082, 1083, 1114, 1186, 1266, 1560, 1562, 2950, 3802],
            CopyFormat::Binary,
        ),
        (&[20, 1007], CopyFormat::Text),
        (&[20, 869], CopyFormat::Text),
        (&[20, 142], CopyFormat::Text),
        (&[20, 18], CopyFormat::Text),
    ] {
        assert_eq!(CopyFormat::of(&table(types)), format, "{types:?}");
    }
}

proptest! {
    #[test]
    fn no_binary_row_panics(first in proptest::collection::vec(any::<u8>(), 0..60), second: Vec<u8>) {
        let header = binary(&[])[0][..19].to_vec();
        let _ = read_binary(&[1700, 1560], &[[header, first.clone()].concat(), second]);
        let _ = read_binary(&[25, 25], &[first]);
    }
}
