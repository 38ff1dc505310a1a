//! QUERY: statements and what they were run under.

use super::support::{Body, Contents, body, format, recordings};
use crate::binlog::file::Walk;
use crate::binlog::{DecodeError, Event, QueryEvent, kind};

fn query(thread: u32, error: u16, status: &[u8], database: &[u8], statement: &[u8]) -> Vec<u8> {
    Body::new()
        .u32(thread)
        .u32(2)
        .u8(database.len() as u8)
        .u16(error)
        .u16(status.len() as u16)
        .bytes(status)
        .bytes(database)
        .u8(0)
        .bytes(statement)
        .0
}

fn parse(bytes: &[u8]) -> Result<QueryEvent<'_>, DecodeError> {
    match body(kind::QUERY, bytes, &format(true))? {
        Event::Query(query) => Ok(query),
        other => panic!("{other:?}"),
    }
}

/// Every status variable of either server, in one event.
#[test]
fn status_variables_are_read() {
    let status = Body::new()
        .u8(0)
        .u32(0x4000)
        .u8(1)
        .u64(1 << 22)
        .u8(6)
        .u8(3)
        .bytes(b"std")
        .u8(3)
        .u16(2)
        .u16(1)
        .u8(4)
        .u16(33)
        .u16(45)
        .u16(255)
        .u8(5)
        .u8(6)
        .bytes(b"+02:00")
        .u8(7)
        .u16(11)
        .u8(8)
        .u16(8)
        .u8(9)
        .u64(3)
        .u8(10)
        .u32(1)
        .u8(11)
        .u8(1)
        .bytes(b"u")
        .u8(2)
        .bytes(b"h1")
        .u8(12)
        .u8(2)
        .bytes(b"a\0bc\0")
        .u8(13)
        .bytes(&[0x40, 0x42, 0x0f])
        .u8(16)
        .u8(1)
        .u8(17)
        .u64(77)
        .u8(18)
        .u16(255)
        .u8(19)
        .u8(0)
        .u8(20)
        .u8(1);
    let bytes = query(9, 1146, &status.0, b"shop", b"DROP TABLE t");
    let event = parse(&bytes).unwrap();
    assert_eq!((event.thread_id, event.execution_seconds, event.error_code), (9, 2, 1146));
    assert_eq!((event.database, event.statement), (&b"shop"[..], &b"DROP TABLE t"[..]));
    let status = event.status;
    assert_eq!((status.flags2, status.sql_mode, status.catalog), (Some(0x4000), Some(1 << 22), Some(&b"std"[..])));
    assert_eq!((status.auto_increment, status.charset), (Some((2, 1)), Some([33, 45, 255])));
    assert_eq!((status.time_zone, status.lc_time_names), (Some(&b"+02:00"[..]), Some(11)));
    assert_eq!((status.database_collation, status.table_map_for_update), (Some(8), Some(3)));
    assert_eq!(status.invoker, Some((&b"u"[..], &b"h1"[..])));
    assert_eq!((status.updated_databases, status.microseconds), (Some(&b"a\0bc\0"[..]), Some(1_000_000)));
    assert_eq!((status.explicit_defaults_for_timestamp, status.ddl_xid), (Some(true), Some(77)));
    assert_eq!(status.default_collation_for_utf8mb4, Some(255));
    assert_eq!((status.sql_require_primary_key, status.default_table_encryption), (Some(false), Some(true)));
    assert_eq!(status.unknown, None);
}

#[test]
fn status_variables_of_mariadb_alone() {
    let status = Body::new()
        .u8(131)
        .u8(1)
        .u16(45)
        .u16(2304)
        .u8(4)
        .u16(33)
        .u16(45)
        .u16(255)
        .u8(128)
        .bytes(&[1, 0, 0])
        .u8(129)
        .u64(5)
        .u8(130)
        .u8(4)
        .u64(99)
        .u8(255);
    let bytes = query(9, 0, &status.0, b"", b"ALTER");
    let status = parse(&bytes).unwrap().status;
    assert_eq!(status.charset, Some([33, 45, 255]), "behind a larger code");
    assert_eq!((status.microseconds, status.ddl_xid, status.extra_flags), (Some(1), Some(5), Some((4, Some(99)))));
    assert_eq!(status.charset_collations, Some(&[45, 0, 0, 9][..]));
    let bytes = query(9, 0, &[130, 2], b"", b"ALTER");
    assert_eq!(parse(&bytes).unwrap().status.extra_flags, Some((2, None)));
}

/// What comes behind a variable that is not known cannot be read; what came before stays.
#[test]
fn unknown_variable_ends_the_reading() {
    let status = Body::new().u8(0).u32(1).u8(77).u32(4).u8(1).u64(1).0;
    let bytes = query(9, 0, &status, b"d", b"CREATE");
    let event = parse(&bytes).unwrap();
    assert_eq!((event.status.flags2, event.status.sql_mode, event.status.unknown), (Some(1), None, Some(77)));
    assert_eq!((event.database, event.statement), (&b"d"[..], &b"CREATE"[..]));
}

#[test]
fn broken_statements_are_refused() {
    let whole = query(9, 0, &[1, 0, 0, 0, 0, 0, 0, 0, 0], b"shop", b"");
    assert!(parse(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(parse(&whole[..cut]).is_err(), "cut to {cut}");
    }
    for status in [&[1, 0][..], &[5, 9, b'x'], &[12, 3, b'a', 0], &[11, 1, b'u'], &[131, 2, 0, 0]] {
        assert!(parse(&query(9, 0, status, b"", b"x")).is_err(), "{status:?}");
    }
    let mut other = query(9, 0, &[], b"shop", b"x");
    other[17] = b'x';
    assert!(parse(&other).is_err(), "no end of the database");
}

/// MY-31: MariaDB's comment in the place of an event, whole, padded and cut.
#[test]
fn dummy_events_halt() {
    for statement in [
        &b"# Dummy event replacing event type 160 that slave cannot handle."[..],
        b"# Dummy event replacing event type 167 that slave cannot handle.          ",
        b"# Dummy event repl",
        b"#",
    ] {
        let bytes = query(0, 0, &[], b"", statement);
        let error = parse(&bytes).unwrap_err();
        assert!(matches!(&error, DecodeError::Dummy { comment } if comment.starts_with('#')), "{error}");
    }
    let bytes = query(9, 0, &[0, 0, 0, 0, 0], b"", b"# Dummy");
    assert!(parse(&bytes).is_ok(), "a comment of a client");
}

/// Statements of real files, compressed or not, are those of `types.sql`.
#[test]
fn statements_of_real_files() {
    for (name, file) in recordings() {
        let statements = Contents::read(&file).unwrap().statements;
        let has = |start: &str| statements.iter().any(|statement| statement.starts_with(start));
        for start in ["CREATE TABLE numbers (", "ALTER TABLE keyless", "DROP TABLE", "XA COMMIT ", "XA ROLLBACK "] {
            assert!(has(start), "{name} lacks {start}: {statements:#?}");
        }
        let mut walk = Walk::new(&file).unwrap();
        while let Some((_, event)) = walk.next_event().unwrap() {
            let (Event::Query(query) | Event::CompressedQuery(query)) = event else { continue };
            assert_eq!(query.status.unknown, None, "{name}");
            assert!(query.status.sql_mode.is_some() && query.status.charset.is_some(), "{name}");
        }
    }
}
