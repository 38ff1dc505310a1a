use super::*;
use proptest::prelude::*;

/// `tests/recorded/changes.sql` on PostgreSQL 15.18, as `pg_logical_slot_get_binary_changes` gave it.
const RECORDED: &str = include_str!("../../../tests/recorded/pgoutput-15.txt");

fn recorded() -> impl Iterator<Item = Vec<u8>> {
    RECORDED.lines().map(|line| {
        let hex = line.split_once(' ').unwrap().1;
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    })
}

#[test]
fn recorded_messages_are_read_whole() {
    let mut tags = std::collections::BTreeMap::new();
    for payload in recorded() {
        let message = parse(&payload).unwrap();
        if let Message::Insert(InsertBody { new, .. }) | Message::Update(UpdateBody { new, .. }) = message {
            assert_eq!(new.iter().count(), new.len());
        }
        *tags.entry(char::from(payload[0])).or_insert(0) += 1;
    }
    let counts: Vec<(char, usize)> = tags.into_iter().collect();
    assert_eq!(counts, [('B', 18), ('C', 18), ('D', 3), ('I', 15), ('M', 2), ('O', 1), ('R', 15), ('T', 1), ('U', 7)]);
}

#[test]
fn a_cut_message_is_refused_at_every_byte() {
    for payload in recorded() {
        for end in 0..payload.len().min(200) {
            assert!(parse(&payload[..end]).is_err(), "{:?}", &payload[..end]);
        }
        let mut longer = payload.clone();
        longer.push(0);
        assert!(matches!(parse(&longer), Err(DecodeError::Trailing { count: 1, .. })));
    }
}

/// Open transactions, and what takes a part of one back, among it: only the server sorts out what a savepoint undid (PG-42,
/// PG-43).
#[test]
fn r5_what_was_not_asked_for_is_refused() {
    for tag in *b"SEcAbPKrp" {
        assert_eq!(parse(&[tag, 0, 0, 0, 0]), Err(DecodeError::NotAskedFor(tag)));
    }
    for tag in (0..=u8::MAX).filter(|tag| !b"BCORYIUDTMSEcAbPKrp".contains(tag)) {
        assert_eq!(parse(&[tag]), Err(DecodeError::UnknownMessage(tag)));
    }
    assert!(matches!(parse(b"I\0\0\0\x01X\0\0"), Err(DecodeError::Undefined { found: b'X', .. })));
    assert!(matches!(parse(b"I\0\0\0\x01N\0\x01z"), Err(DecodeError::Undefined { found: b'z', .. })));
    assert!(matches!(parse(b"O\0\0\0\0\0\0\0\0\xff\0"), Err(DecodeError::NotUtf8 { .. })));
}

#[test]
fn pg_5a_a_row_without_columns_is_a_row() {
    let Message::Insert(body) = parse(b"I\0\0\0\x01N\0\0").unwrap() else { panic!() };
    assert_eq!((body.new.len(), body.new.iter().count()), (0, 0));
}

fn datum() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn changed_recordings_never_panic(pick in 0usize..80, at: prop::sample::Index, byte: u8) {
        let mut payload = recorded().nth(pick).unwrap();
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = parse(&payload);
    }

    #[test]
    fn rows_read_back_as_written(relation: u32, row in proptest::collection::vec(datum(), 0..30)) {
        let mut payload = vec![b'I'];
        payload.extend_from_slice(&relation.to_be_bytes());
        payload.push(b'N');
        payload.extend_from_slice(&(row.len() as u16).to_be_bytes());
        for value in &row {
            match value {
                None => payload.push(b'n'),
                Some(text) => {
                    payload.push(b't');
                    payload.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    payload.extend_from_slice(text);
                }
            }
        }
        let Message::Insert(body) = parse(&payload).unwrap() else { panic!() };
        prop_assert_eq!(body.relation, relation);
        let read: Vec<Option<Vec<u8>>> = body.new.iter().map(|datum| match datum {
            Datum::Text(text) => Some(text.to_vec()),
            _ => None,
        }).collect();
        prop_assert_eq!(read, row);
    }
}
