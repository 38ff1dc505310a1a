//! Begin and end of transactions.

use super::support::{Body, body, format, recordings};
use crate::binlog::file::Walk;
use crate::binlog::group::XaXid;
use crate::binlog::{AlterPhase, DecodeError, Event, GtidEvent, MariaGtidEvent, XaPrepare, kind};
use crate::gtid::{DomainPositions, Gtid, MariaGtid};

const SID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn gtid_event(number: u64) -> GtidEvent {
    GtidEvent {
        gtid: Gtid { sid: SID, tag: None, number },
        flags: 1,
        logical_clock: None,
        immediate_commit: None,
        original_commit: None,
        transaction_length: None,
        immediate_version: None,
        original_version: None,
        ticket: None,
    }
}

/// Each server writes a longer event than the one before; what is missing is `None`.
#[test]
fn gtid_grew_with_versions() {
    let format = format(false);
    let start = Body::new().u8(1).bytes(&SID).u64(7);
    let mut expected = gtid_event(7);
    let parse = |bytes: &Body| match body(kind::GTID, &bytes.0, &format) {
        Ok(Event::Gtid(event)) => event,
        other => panic!("{other:?}"),
    };
    assert_eq!(parse(&start), expected, "5.6");
    assert_eq!(parse(&start.clone().u8(0).u32(9)), expected, "5.7.4, with another mark");
    let clock = start.clone().u8(2).u64(3).u64(4);
    expected.logical_clock = Some((3, 4));
    assert_eq!(parse(&clock), expected, "5.7");
    let times = clock.clone().u56(1_700_000_000_000_001);
    expected.immediate_commit = Some(1_700_000_000_000_001);
    expected.original_commit = Some(1_700_000_000_000_001);
    let long = times.clone().u8(0xfc).u16(300).u32(80_031);
    expected.transaction_length = Some(300);
    expected.immediate_version = Some(80_031);
    expected.original_version = Some(80_031);
    assert_eq!(parse(&long), expected, "8.0");
    assert_eq!(parse(&long.u64(5)), GtidEvent { ticket: Some(5), ..expected.clone() }, "8.0.28");
    let replicated = clock.u56(2 | 1 << 55).u56(1).u8(99).u32(80_031 | 1 << 31).u32(50_744);
    let event = parse(&replicated);
    assert_eq!((event.immediate_commit, event.original_commit), (Some(2), Some(1)));
    assert_eq!((event.immediate_version, event.original_version), (Some(80_031), Some(50_744)));
    assert!(event.may_have_statements());
}

#[test]
fn gtid_numbers_are_checked() {
    let format = format(false);
    let with = |number: u64| Body::new().u8(0).bytes(&SID).u64(number).0;
    for number in [0, i64::MAX as u64, u64::MAX] {
        assert!(body(kind::GTID, &with(number), &format).is_err(), "{number}");
    }
    assert!(matches!(body(kind::ANONYMOUS_GTID, &with(0), &format), Ok(Event::AnonymousGtid(_))));
    assert!(body(kind::ANONYMOUS_GTID, &with(1), &format).is_err());
    assert!(body(kind::GTID, &with(1)[..24], &format).is_err());
}

/// A number of the serialization library.
fn varlen(value: u64) -> Vec<u8> {
    let bits = 64 - value.leading_zeros().min(63);
    let length = bits.div_ceil(7).max(1) as usize;
    if length > 8 {
        return [&[0xff][..], &value.to_le_bytes()].concat();
    }
    let encoded = u128::from(value) << length | ((1 << (length - 1)) - 1);
    encoded.to_le_bytes()[..length].to_vec()
}

/// MY-0B: a tagged event; `fields` as numbers with their encoded content.
fn tagged(last_needed: u64, fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let content: Vec<u8> =
        fields.iter().flat_map(|(number, bytes)| [varlen(*number), bytes.clone()].concat()).collect();
    let mut length = 0;
    loop {
        let whole = [varlen(1), varlen(length), varlen(last_needed), content.clone()].concat();
        if whole.len() as u64 == length {
            return whole;
        }
        length = whole.len() as u64;
    }
}

fn tagged_fields() -> Vec<(u64, Vec<u8>)> {
    let sid = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 200, 255].into_iter().flat_map(varlen).collect();
    vec![
        (0, varlen(1)),
        (1, sid),
        (2, varlen(7 << 1)),
        (3, [varlen(3), b"t_1".to_vec()].concat()),
        (4, varlen(3 << 1)),
        (5, varlen(4 << 1)),
        (6, varlen(1_700_000_000_000_001)),
        (8, varlen(300)),
        (9, varlen(90_704)),
    ]
}

#[test]
fn tagged_gtid_is_read() {
    let format = format(false);
    let Ok(Event::Gtid(event)) = body(kind::GTID_TAGGED, &tagged(10, &tagged_fields()), &format) else { panic!() };
    assert_eq!(event.gtid.to_string(), "01020304-0506-0708-090a-0b0c0d0ec8ff:t_1:7");
    assert_eq!(event.logical_clock, Some((3, 4)));
    assert_eq!((event.immediate_commit, event.original_commit), (event.original_commit, Some(1_700_000_000_000_001)));
    assert_eq!((event.immediate_version, event.original_version), (Some(90_704), Some(90_704)));
    assert_eq!((event.transaction_length, event.ticket), (Some(300), None));
}

#[test]
fn tagged_gtid_of_later_and_broken_servers() {
    let format = format(false);
    let parse = |bytes: &[u8]| body(kind::GTID_TAGGED, bytes, &format).map(|_| ());
    // A field that is not known and may be ignored; then one that may not.
    let mut fields = tagged_fields();
    fields.push((12, vec![1, 2, 3]));
    assert_eq!(parse(&tagged(10, &fields)), Ok(()));
    assert!(parse(&tagged(13, &fields)).is_err());
    let without = |number: u64| tagged_fields().into_iter().filter(|field| field.0 != number).collect::<Vec<_>>();
    assert!(parse(&tagged(10, &without(1))).is_err(), "no source");
    assert!(parse(&tagged(10, &without(2))).is_err(), "no number");
    assert_eq!(parse(&tagged(10, &without(3))), Ok(()), "no tag");
    let mut twice = tagged_fields();
    twice.push((9, varlen(1)));
    assert!(parse(&tagged(10, &twice)).is_err(), "a field twice");
    let mut bad = tagged_fields();
    bad[3].1 = [varlen(1), b"T".to_vec()].concat();
    assert!(parse(&tagged(10, &bad)).is_err(), "no tag by its letters");
    let whole = tagged(10, &tagged_fields());
    for cut in 0..whole.len() {
        assert!(parse(&whole[..cut]).is_err(), "cut to {cut}");
    }
}

/// MY-33.
#[test]
fn xa_prepare_names_its_transaction() {
    let format = format(false);
    let bytes = Body::new().u8(0).u32(7).u32(6).u32(2).bytes(b"globalbr").0;
    let xid = XaXid { format: 7, global: b"global", branch: b"br" };
    assert_eq!(body(kind::XA_PREPARE, &bytes, &format), Ok(Event::XaPrepare(XaPrepare { one_phase: false, xid })));
    let long = Body::new().u8(0).u32(7).u32(65).u32(0).bytes(&[b'x'; 65]).0;
    assert!(matches!(body(kind::XA_PREPARE, &long, &format), Err(DecodeError::Undefined { .. })));
    assert!(body(kind::XA_PREPARE, &Body::new().u8(2).u32(7).u32(0).u32(0).0, &format).is_err());
}

fn maria(bytes: &[u8]) -> Result<MariaGtidEvent<'_>, DecodeError> {
    match body(kind::MARIA_GTID, bytes, &format(true))? {
        Event::MariaGtid(event) => Ok(event),
        other => panic!("{other:?}"),
    }
}

/// MY-3B, MY-3C: flags and what they bring along.
#[test]
fn maria_gtid_has_what_its_flags_say() {
    let start = |flags: u8| Body::new().u64(100).u32(7).u8(flags);
    let bytes = start(0x0d).bytes(&[0; 6]).0;
    let event = maria(&bytes).unwrap();
    assert_eq!(event.gtid, MariaGtid { domain: 7, server: 77, sequence: 100 });
    assert!(event.is_standalone() && event.is_transactional());
    assert_eq!((event.commit_id, event.xid, event.alter, event.extra_flags), (None, None, None, 0));
    assert_eq!(maria(&start(0x02).u64(55).0).unwrap().commit_id, Some(55));
    let bytes = start(0x42).u64(55).u32(1).u8(2).u8(1).bytes(b"gtb").0;
    let event = maria(&bytes).unwrap();
    assert_eq!(event.xid, Some(XaXid { format: 1, global: b"gt", branch: b"b" }));
    assert!(event.prepares_xa());
    let bytes = start(0x80).u32(1).u8(2).u8(1).bytes(b"gtb").0;
    let event = maria(&bytes).unwrap();
    assert!(event.xid.is_some() && !event.prepares_xa());
    assert_eq!(maria(&start(0x21).u8(0x02).bytes(&[0; 5]).0).unwrap().alter, Some(AlterPhase::Start));
    assert_eq!(maria(&start(0x21).u8(0x04).u64(99).0).unwrap().alter, Some(AlterPhase::Commit { start: 99 }));
    let bytes = start(0x21).u8(0x19).u8(1).u64(99).u32(12).0;
    let event = maria(&bytes).unwrap();
    assert_eq!((event.alter, event.thread_id), (Some(AlterPhase::Rollback { start: 99 }), Some(12)));
    for broken in [start(1).u8(0x20).0, start(1).u8(0x06).u64(1).0, start(1).u8(0).u8(9).0, start(2).u32(1).0] {
        assert!(maria(&broken).is_err(), "{broken:?}");
    }
}

/// MY-0C: a list may hold several servers of a domain, the last of which counts.
#[test]
fn maria_lists_are_positions() {
    let format = format(true);
    let bytes = Body::new().u32(3 | 1 << 28).u32(0).u32(1).u64(10).u32(0).u32(2).u64(11).u32(5).u32(1).u64(3).0;
    let Ok(Event::MariaGtidList(list)) = body(kind::MARIA_GTID_LIST, &bytes, &format) else { panic!() };
    assert_eq!(list.flags, 1);
    assert_eq!(list.iter().collect::<DomainPositions>().to_string(), "0-2-11,5-1-3");
    let empty = Body::new().u32(0).u16(0).0;
    assert!(
        matches!(body(kind::MARIA_GTID_LIST, &empty, &format), Ok(Event::MariaGtidList(list)) if list.iter().len() == 0)
    );
    assert!(body(kind::MARIA_GTID_LIST, &bytes[..40], &format).is_err());
    assert!(body(kind::MARIA_GTID_LIST, &Body::new().u32(0x0fff_ffff).0, &format).is_err());
}

#[test]
fn encryption_is_told() {
    let bytes = Body::new().u8(1).u32(2).bytes(&[9; 12]).0;
    let event = body(kind::START_ENCRYPTION, &bytes, &format(true));
    assert!(matches!(event, Ok(Event::StartEncryption(event)) if event.key_version == 2 && event.nonce == [9; 12]));
}

/// Groups of real MariaDB files: numbers rise in each domain, XA and two-phase `ALTER` are marked.
#[test]
fn groups_of_real_files_of_mariadb() {
    for (name, file) in recordings().into_iter().filter(|(name, _)| name.starts_with("ma")) {
        let mut walk = Walk::new(&file).unwrap();
        let mut positions = DomainPositions::default();
        let (mut prepared, mut completed, mut starts, mut ends) = (0, 0, 0, 0);
        while let Some((_, event)) = walk.next_event().unwrap() {
            match event {
                Event::MariaGtidList(list) => positions = list.iter().collect(),
                Event::MariaGtid(event) => {
                    positions.advance(event.gtid).unwrap_or_else(|error| panic!("{name}: {error}"));
                    prepared += usize::from(event.prepares_xa());
                    completed += usize::from(event.xid.is_some() && !event.prepares_xa());
                    starts += usize::from(event.alter == Some(AlterPhase::Start));
                    ends += usize::from(matches!(event.alter, Some(AlterPhase::Commit { .. })));
                }
                _ => {}
            }
        }
        assert_eq!((prepared, completed), (2, 2), "{name}");
        let two_phase = usize::from(name == "ma118-full");
        assert_eq!((starts, ends), (two_phase, two_phase), "{name}");
        assert_eq!(positions.iter().map(|gtid| gtid.domain).collect::<Vec<_>>(), [7, 8], "{name}");
    }
}
