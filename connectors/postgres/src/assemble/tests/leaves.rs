//! Partitions that are published by the name of their table. PG-24, PG-34.

use super::*;

/// A Relation message of columns `id`, `big` and `note`, which are texts.
pub(super) fn told(oid: u32, name: &str, identity: u8, flagged: &[usize]) -> Vec<u8> {
    let mut out = [b"R", &oid.to_be_bytes()[..], b"public\0", name.as_bytes(), b"\0", &[identity], b"\0\x03"].concat();
    for (at, column) in ["id", "big", "note"].iter().enumerate() {
        out.push(u8::from(flagged.contains(&at)));
        out.extend([column.as_bytes(), b"\0", &25u32.to_be_bytes(), &(-1i32).to_be_bytes()].concat());
    }
    out
}

fn tuple(values: [&str; 3]) -> Vec<u8> {
    let value = |text: &str| match text {
        "null" => vec![b'n'],
        "same" => vec![b'u'],
        text => [b"t", &u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat(),
    };
    [b"\0\x03".to_vec(), values.map(value).concat()].concat()
}

fn change(kind: u8, oid: u32, old: Option<(u8, [&str; 3])>, new: Option<[&str; 3]>) -> Vec<u8> {
    let mut out = [&[kind][..], &oid.to_be_bytes()].concat();
    if let Some((kind, old)) = old {
        out.push(kind);
        out.extend(tuple(old));
    }
    if let Some(new) = new {
        out.push(b'N');
        out.extend(tuple(new));
    }
    out
}

pub(super) fn insert(oid: u32) -> Vec<u8> {
    change(b'I', oid, None, Some(["1", "b", "n"]))
}

/// A table of its own whose primary key is `id`, whatever its replica identity.
pub(super) fn described(relation: &RelationBody) -> Described {
    let described = described_without_server(relation);
    let mut schema = (*described.schema).clone();
    schema.key = vec![0];
    Described { schema: Arc::new(schema), ..described }
}

/// What messages of one transaction come to, and which partitions were asked about.
fn run(filter: &[&str], messages: &[Vec<u8>]) -> Result<(Vec<String>, Vec<u32>)> {
    let mut assembler = assembler(filter, 100);
    assembler.apply(1, &recorded()[0].1).unwrap();
    let mut asked = Vec::new();
    for message in messages {
        loop {
            match assembler.apply(1, message)? {
                Applied::NeedsCatalog(relation) => assembler.define(described(&relation))?,
                Applied::NarrowLeaf { leaf, table } => {
                    assert_eq!(table.to_string(), "public.t");
                    asked.push(leaf);
                }
                _ => break,
            }
        }
    }
    Ok((shown(&[assembler.finish(0)]), asked))
}

const ALL: [usize; 3] = [0, 1, 2];

/// A partition of another oid under a name that a partition had, or under one that `tables` does not capture, is nothing to
/// halt for: its rows are its table's.
#[test]
fn pg_24_a_partition_is_described_and_never_a_table() {
    let root = || told(1, "t", b'd', &[0]);
    let messages = [
        root(),
        told(2, "t_cur", b'd', &[0]),
        insert(1),
        root(),
        told(3, "t_cur", b'd', &[0]),
        insert(1),
        root(),
        told(3, "uncaptured", b'd', &[0]),
        insert(1),
    ];
    let (changes, asked) = run(&["public.t*"], &messages).unwrap();
    assert_eq!((changes.len(), asked), (3, vec![]), "{changes:?}");
    assert!(changes.iter().all(|change| change.contains("Insert t v1")), "{changes:?}");
}

/// What was a table until it became a partition, and what is one after it was a partition.
#[test]
fn pg_49_tables_are_looked_at_when_a_row_names_them() {
    let code = |messages: &[Vec<u8>]| run(&["public.t*"], messages).err().map(|error| error.code());
    let [one, again] = [told(1, "t", b'd', &[0]), told(2, "t", b'd', &[0])];
    assert_eq!(code(&[one.clone(), insert(1), again.clone(), insert(2)]), Some("table_recreated"));
    assert_eq!(code(&[one.clone(), insert(1), again.clone()]), None);
    assert_eq!(code(&[one.clone(), insert(1), told(1, "u", b'd', &[0]), insert(1)]), Some("table_renamed"));
    assert_eq!(code(&[one.clone(), insert(1), told(1, "u", b'd', &[0])]), None);
    let detached = [one, told(3, "t_1", b'd', &[0]), insert(1), told(3, "t_1", b'd', &[0]), insert(3)];
    let (changes, _) = run(&["public.t*"], &detached).unwrap();
    assert_eq!(changes.iter().filter(|change| change.contains("Insert t_1 v1")).count(), 1, "{changes:?}");
    // A truncate names several, and none of them is a partition of another.
    let both = [&b"T\0\0\0\x02\0"[..], &1u32.to_be_bytes(), &3u32.to_be_bytes()].concat();
    let truncated = [told(1, "t", b'f', &ALL), told(3, "t_1", b'd', &[0]), both, insert(1)];
    let (changes, asked) = run(&["public.t*"], &truncated).unwrap();
    assert_eq!((changes.len(), asked), (3, vec![]), "{changes:?}");
}

#[test]
fn pg_34_what_a_partition_did_not_log_is_unknown() {
    let full = || told(1, "t", b'f', &ALL);
    let narrow = |oid: u32| told(oid, &format!("t_{oid}"), b'd', &[0]);
    let moved = |old: [&str; 3], new: [&str; 3]| change(b'U', 1, Some((b'O', old)), Some(new));
    let deleted = |kind: u8, old: [&str; 3]| change(b'D', 1, Some((kind, old)), None);
    let after =
        |messages: &[Vec<u8>]| run(&["public.t*"], messages).map(|(changes, asked)| (changes[1..].to_vec(), asked));
    // As PostgreSQL 13 to 18 send it.
    let (changes, asked) = after(&[
        full(),
        narrow(2),
        insert(1),
        moved(["4", "null", "null"], ["5", "same", "n"]),
        deleted(b'O', ["5", "null", "null"]),
        // A row of another partition, which logs all.
        full(),
        told(3, "t_3", b'f', &ALL),
        deleted(b'O', ["6", "null", "n"]),
        deleted(b'O', ["7", "null", "null"]),
    ])
    .unwrap();
    let expected = [
        "2 Update t v1 Key ['4', ?, ?] ['5', ?, 'n']",
        "3 Delete t v1 Key ['5', ?, ?]",
        "4 Delete t v1 Full ['6', null, 'n']",
        "5 Delete t v1 Key ['7', ?, ?]",
    ];
    assert_eq!((changes, asked), (expected.map(str::to_owned).to_vec(), vec![2]));
    // Once all partitions log all, a null is one.
    let mended =
        [full(), narrow(2), insert(1), full(), told(2, "t_2", b'f', &ALL), deleted(b'O', ["5", "null", "null"])];
    assert_eq!(after(&mended).unwrap(), (vec!["2 Delete t v1 Full ['5', null, null]".to_owned()], vec![2]));
    // A table whose identity alone was changed is not described anew.
    let widened = [told(1, "t", b'd', &[0]), narrow(2), insert(1), deleted(b'O', ["5", "null", "null"])];
    assert_eq!(after(&widened).unwrap(), (vec!["2 Delete t v1 Key ['5', ?, ?]".to_owned()], vec![]));
    // A partition without any identity has no old rows, and one that logs more is as good as its table.
    let none = [full(), told(2, "t_2", b'n', &[]), insert(1), deleted(b'O', ["5", "null", "null"])];
    assert_eq!(after(&none).unwrap(), (vec!["2 Delete t v1 Full ['5', null, null]".to_owned()], vec![]));
    let more = [told(1, "t", b'd', &[0]), told(2, "t_2", b'f', &ALL), insert(1), deleted(b'K', ["5", "b", "n"])];
    assert_eq!(after(&more).unwrap(), (vec!["2 Delete t v1 Key ['5', ?, ?]".to_owned()], vec![]));
    // By another index: without the key nobody knows which row it was.
    let other = [full(), told(2, "t_2", b'i', &[2]), insert(1), deleted(b'O', ["null", "null", "n"])];
    assert_eq!(after(&other).unwrap_err().code(), "partition_identity");
}
