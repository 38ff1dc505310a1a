//! Frames, checksums and the events about the log itself.

use super::support::{Body, body, checked, description, event, flagged, format, sealed_description};
use crate::binlog::{
    Checksum, DecodeError, Event, FLAG_ARTIFICIAL, FLAG_IGNORABLE, FLAG_IN_USE, Format, HeartbeatEvent, Incident,
    IntVar, kind, parse, split,
};
use crate::model::Flavour;

#[test]
fn format_description_says_what_follows() {
    for (version, types, algorithm, flavour, checksum) in [
        ("8.0.31", 41, 1, Flavour::MySql, Checksum::Crc32),
        ("9.7.4-log", 42, 0, Flavour::MySql, Checksum::None),
        ("5.7.44-percona", 38, 1, Flavour::MySql, Checksum::Crc32),
        ("10.5.29-MariaDB-1:10.5.29+maria~deb11-log", 171, 1, Flavour::MariaDb, Checksum::Crc32),
        // A MariaDB that hides its name is told by its event types.
        ("11.4.2-custom", 171, 0, Flavour::MariaDb, Checksum::None),
    ] {
        let bytes = sealed_description(0, &description(version, types, algorithm));
        let raw = split(&bytes, &Format::default()).unwrap();
        let Event::FormatDescription(found) = parse(&raw, &Format::default()).unwrap() else { panic!("{version}") };
        assert_eq!((&*found.server_version, found.flavour, found.checksum), (version, flavour, checksum));
        assert_eq!(found.post_header(kind::TABLE_MAP), Some(8));
        assert_eq!(found.post_header(types as u8), found.post_header(types as u8));
        assert_eq!(found.post_header(types as u8 + 1), None);
        assert_eq!(found.inner().checksum, Checksum::None);
    }
}

#[test]
fn old_servers_and_broken_descriptions_are_refused() {
    for version in ["5.6.0", "5.1.73-log", "", "x", "5"] {
        let bytes = event(kind::FORMAT_DESCRIPTION, 0, &description(version, 41, 0), true);
        let error = split(&bytes, &Format::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Unsupported { .. }), "{version}: {error}");
    }
    let bytes = event(kind::FORMAT_DESCRIPTION, 0, &description("8.0.31", 41, 2), true);
    assert!(matches!(split(&bytes, &Format::default()), Err(DecodeError::Undefined { .. })));
    let mut other = description("8.0.31", 41, 0);
    other[0] = 3;
    let bytes = event(kind::FORMAT_DESCRIPTION, 0, &other, true);
    assert!(matches!(split(&bytes, &Format::default()), Err(DecodeError::Undefined { .. })));
}

/// MY-28: the flag of an open file is not part of the checksum; without checksums the room is not looked at.
#[test]
fn description_is_checked_without_its_open_flag() {
    let body = description("8.0.31", 41, 1);
    assert!(split(&sealed_description(FLAG_IN_USE, &body), &Format::default()).is_ok());
    let mut flipped = sealed_description(0, &body);
    flipped[70] ^= 1;
    assert!(matches!(split(&flipped, &Format::default()), Err(DecodeError::Checksum { .. })));
    let mut off = sealed_description(0, &description("8.0.31", 41, 0));
    let length = off.len();
    off[length - 1] ^= 0xff;
    assert!(split(&off, &Format::default()).is_ok());
}

/// MY-28: every flipped bit of an event is found.
#[test]
fn checksums_are_verified() {
    let checked = checked(false);
    let bytes = event(kind::XID, 0, &Body::new().u64(9).0, true);
    assert_eq!(parse(&split(&bytes, &checked).unwrap(), &checked), Ok(Event::Xid(9)));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(split(&flipped, &checked).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(split(&bytes[..length], &checked).is_err(), "cut to {length}");
    }
}

/// Before the first FORMAT_DESCRIPTION MySQL adds a checksum if asked to, MariaDB never does.
#[test]
fn artificial_rotate_comes_before_everything() {
    let rotate = Body::new().u64(4).bytes(b"binlog.000007").0;
    for checksum in [false, true] {
        let bytes = event(kind::ROTATE, FLAG_ARTIFICIAL, &rotate, checksum);
        let raw = split(&bytes, &Format::default()).unwrap();
        assert!(raw.header.is_artificial());
        let parsed = parse(&raw, &Format::default()).unwrap();
        assert_eq!(parsed, Event::Rotate { position: 4, file: b"binlog.000007" });
    }
    let other = event(kind::XID, 0, &Body::new().u64(9).0, false);
    assert!(matches!(split(&other, &Format::default()), Err(DecodeError::Unsupported { .. })));
    // A flipped checksum leaves bytes behind the name that no name has.
    let mut flipped = event(kind::ROTATE, FLAG_ARTIFICIAL, &rotate, true);
    let length = flipped.len();
    flipped[length - 4..].copy_from_slice(&[1, 2, 3, 4]);
    let raw = split(&flipped, &Format::default()).unwrap();
    assert!(parse(&raw, &Format::default()).is_err());
}

#[test]
fn rotate_within_a_file_follows_the_format() {
    let format = checked(true);
    let bytes = event(kind::ROTATE, 0, &Body::new().u64(1 << 33).bytes(b"b.2").0, true);
    let raw = split(&bytes, &format).unwrap();
    assert_eq!(parse(&raw, &format), Ok(Event::Rotate { position: 1 << 33, file: b"b.2" }));
    for broken in [Body::new().u64(3).bytes(b"b.2"), Body::new().u64(4), Body::new().u32(4)] {
        let bytes = event(kind::ROTATE, 0, &broken.0, true);
        assert!(parse(&split(&bytes, &format).unwrap(), &format).is_err());
    }
}

/// MY-10: the position of the later event has 64 bits, and MariaDB's does when it must.
#[test]
fn heartbeats_tell_where_the_server_is() {
    let format = format(false);
    let beat = |position, whole| Ok(Event::Heartbeat(HeartbeatEvent { file: b"b.1", position, whole }));
    assert_eq!(body(kind::HEARTBEAT, b"b.1", &format), beat(4242, false));
    let second =
        |position: &[u8]| Body::new().u8(1).u8(3).bytes(b"b.1").u8(2).u8(position.len() as u8).bytes(position).u8(0).0;
    assert_eq!(body(kind::HEARTBEAT_V2, &second(&[0xfa]), &format), beat(0xfa, true));
    assert_eq!(body(kind::HEARTBEAT_V2, &second(&[0xfe, 0, 0, 0, 0, 2, 0, 0, 0]), &format), beat(1 << 33, true));
    let swapped = Body::new().u8(2).u8(1).u8(9).u8(7).u8(1).u8(1).u8(1).u8(3).bytes(b"b.1").u8(0).0;
    assert_eq!(body(kind::HEARTBEAT_V2, &swapped, &format), beat(9, true));
    for cut in 0..7 {
        assert!(body(kind::HEARTBEAT_V2, &second(&[0xfa])[..cut], &format).is_err(), "cut to {cut}");
    }
    let mut wide = event(kind::HEARTBEAT, 0, &Body::new().u64(1 << 33).bytes(b"b.1").0, false);
    wide[13..17].fill(0);
    assert_eq!(parse(&split(&wide, &format).unwrap(), &format), beat(1 << 33, true));
}

/// MY-14: types that are known for what they are, and those that are not.
#[test]
fn every_type_is_known_refused_or_may_be_ignored() {
    let format = format(true);
    let ignored = |kind| flagged(kind, FLAG_IGNORABLE, b"whatever", &format);
    assert_eq!(ignored(43), Ok(Event::Ignored(43)));
    assert_eq!(ignored(200), Ok(Event::Ignored(200)));
    assert_eq!(body(43, b"whatever", &format), Err(DecodeError::UnknownEvent { kind: 43 }));
    assert_eq!(body(0, b"", &format), Err(DecodeError::UnknownEvent { kind: 0 }));
    assert_eq!(body(kind::IGNORABLE, b"x", &format), Ok(Event::Ignored(kind::IGNORABLE)));
    // MY-3B: by name, and not to be ignored whatever the flag says.
    for kind in
        [kind::PARTIAL_ROW_DATA, kind::WRITE_ROWS_V0, kind::UPDATE_ROWS_V0, kind::DELETE_ROWS_V0, kind::START_V3]
    {
        let error = ignored(kind).unwrap_err();
        assert!(matches!(error, DecodeError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(kind::name(kind).unwrap()), "{error}");
    }
    assert_eq!(body(kind::STOP, b"", &format), Ok(Event::Stop));
    assert_eq!(body(kind::TRANSACTION_CONTEXT, b"\0\0", &format), Ok(Event::TransactionContext));
    assert_eq!(body(kind::EXECUTE_LOAD_QUERY, b"", &format), Ok(Event::LoadData(kind::EXECUTE_LOAD_QUERY)));
}

/// MY-37.
#[test]
fn incidents_speak() {
    let bytes = Body::new().u16(1).u8(4).bytes(b"lost").0;
    let expected = Event::Incident(Incident { number: 1, message: b"lost" });
    assert_eq!(body(kind::INCIDENT, &bytes, &format(false)), Ok(expected));
    assert!(body(kind::INCIDENT, &bytes[..5], &format(false)).is_err());
}

#[test]
fn comments_and_variables_of_statements() {
    let format = format(false);
    assert_eq!(body(kind::ROWS_QUERY, b"\x05INSERT", &format), Ok(Event::RowsQuery(b"INSERT")));
    assert_eq!(body(kind::ANNOTATE_ROWS, b"UPDATE", &format), Ok(Event::AnnotateRows(b"UPDATE")));
    let checkpoint = Body::new().u32(3).bytes(b"b.1").0;
    assert_eq!(body(kind::BINLOG_CHECKPOINT, &checkpoint, &format), Ok(Event::BinlogCheckpoint(b"b.1")));
    let insert_id = Body::new().u8(2).u64(5).0;
    assert_eq!(body(kind::INTVAR, &insert_id, &format), Ok(Event::IntVar(IntVar::InsertId(5))));
    let seeds = Body::new().u64(1).u64(2).0;
    assert_eq!(body(kind::RAND, &seeds, &format), Ok(Event::Rand { first: 1, second: 2 }));
    let variable = Body::new().u32(1).bytes(b"v").u8(1).0;
    assert!(matches!(body(kind::USER_VAR, &variable, &format), Ok(Event::UserVar(_))));
    // MY-31: what MariaDB sends instead of an event too short for a comment.
    let dummy = Body::new().u32(4).bytes(b"!dum").u8(1).0;
    assert!(matches!(body(kind::USER_VAR, &dummy, &format), Err(DecodeError::Dummy { .. })));
}
