//! Table maps, row images, compressed rows and payloads on constructed bytes.

use super::support::{Body, LIMIT, body, event, format};
use crate::binlog::payload::reader::PayloadReader;
use crate::binlog::table_map::wire;
use crate::binlog::{
    Bitmap, Compression, DecodeError, Event, ImageHeader, Inflater, PayloadEvent, RowsEvent, RowsKind, TableMap,
    count_rows_in, kind, parse, split,
};
use std::io::Write as _;

/// A map of `a INT NOT NULL, j1 JSON, b VARCHAR(300), j2 JSON`.
fn map_body(optional: &[u8]) -> Vec<u8> {
    Body::new()
        .u48(0x0102_0304_0506)
        .u16(1)
        .u8(1)
        .bytes(b"d\0")
        .u8(2)
        .bytes(b"\xc3\xbc\0")
        .u8(4)
        .bytes(&[wire::LONG, wire::JSON, wire::VARCHAR, wire::JSON])
        .u8(4)
        .bytes(&[4, 0x2c, 0x01, 4])
        .u8(0b1110)
        .bytes(optional)
        .0
}

fn rows_body(kind: u8, extra: &[u8], width: u8, rest: &[u8]) -> Vec<u8> {
    let body = Body::new().u48(0x0102_0304_0506).u16(1);
    let second = matches!(kind, kind::WRITE_ROWS..=kind::DELETE_ROWS | kind::PARTIAL_UPDATE_ROWS | 169..=171);
    let body = if second { body.u16(extra.len() as u16 + 2).bytes(extra) } else { body };
    body.u8(width).bytes(rest).0
}

fn rows(kind: u8, bytes: &[u8]) -> Result<RowsEvent<'_>, DecodeError> {
    match body(kind, bytes, &format(kind > 159))? {
        Event::Rows(rows) => Ok(rows),
        other => panic!("{other:?}"),
    }
}

#[test]
fn table_map_is_read() {
    let bytes = map_body(&[]);
    let format = format(false);
    let Ok(Event::TableMap(event)) = body(kind::TABLE_MAP, &bytes, &format) else { panic!() };
    assert_eq!((event.id, event.flags, event.body), (0x0102_0304_0506, 1, &bytes[..]));
    assert_eq!(event.names(&format), Ok(("d", "ü")));
    let map = TableMap::parse(&bytes, &format).unwrap();
    assert_eq!((map.id, &*map.database, &*map.table, map.json_columns), (event.id, "d", "ü", 2));
    assert_eq!(map.metadata, None);
    let columns: Vec<_> = map.columns.iter().map(|column| (column.wire, column.meta, column.nullable)).collect();
    let expected = [(wire::LONG, 0, false), (wire::JSON, 4, true), (wire::VARCHAR, 300, true), (wire::JSON, 4, true)];
    assert_eq!(columns, expected);
    for cut in 0..bytes.len() {
        assert!(TableMap::parse(&bytes[..cut], &format).is_err(), "cut to {cut}");
    }
}

/// One column of each type with wrong metadata.
#[test]
fn impossible_columns_are_refused() {
    let with = |wire: u8, meta: &[u8]| {
        let body = Body::new().u48(1).u16(0).bytes(b"\x01d\0\x01t\0").u8(1).u8(wire).u8(meta.len() as u8);
        TableMap::parse(&body.bytes(meta).u8(0).0, &format(false))
    };
    let fine: &[(u8, &[u8], u16)] = &[
        (wire::STRING, &[254, 10], 10),
        (wire::STRING, &[0xee, 0xfc], 508),
        (wire::STRING, &[0xde, 0], 512),
        (wire::STRING, &[0xce, 0xff], 1023),
        (wire::STRING, &[247, 2], 2),
        (wire::STRING, &[248, 8], 8),
        (wire::BIT, &[1, 1], 9),
        (wire::BIT, &[0, 8], 64),
        (wire::NEWDECIMAL, &[65, 30], 65 << 8 | 30),
        (wire::TYPED_ARRAY, &[wire::LONGLONG], u16::from(wire::LONGLONG)),
    ];
    for (wire, meta, expected) in fine {
        assert_eq!(with(*wire, meta).unwrap().columns[0].meta, *expected, "{wire} {meta:?}");
    }
    let broken: &[(u8, &[u8])] = &[
        (wire::STRING, &[247, 3]),
        (wire::STRING, &[248, 5]),
        (wire::STRING, &[1, 1]),
        (wire::BIT, &[8, 1]),
        (wire::BIT, &[0, 0]),
        (wire::BIT, &[1, 8]),
        (wire::NEWDECIMAL, &[0, 0]),
        (wire::NEWDECIMAL, &[66, 0]),
        (wire::NEWDECIMAL, &[5, 6]),
        (wire::BLOB, &[0]),
        (wire::BLOB, &[5]),
        (wire::TIME2, &[7]),
        (wire::FLOAT, &[8]),
        (wire::LONG, &[1]),
        (wire::TYPED_ARRAY, &[wire::TYPED_ARRAY]),
        (200, &[]),
    ];
    for (wire, meta) in broken {
        assert!(with(*wire, meta).is_err(), "{wire} {meta:?}");
    }
}

/// MY-72, MY-73: MariaDB lists the collation of geometries among those of texts and MySQL does not; MySQL lists that of
/// vectors. Recorded: `g geometry, a latin1, b ascii, p point, c ascii, d ascii` and `v vector(3), a latin1, b, c ascii`.
#[test]
fn collations_are_those_of_the_columns_that_each_server_lists() {
    const TEXT: (u8, &[u8]) = (wire::VARCHAR, &[20, 0]);
    let map = |columns: &[(u8, &[u8])], optional: &[u8], maria| {
        let metas: Vec<u8> = columns.iter().flat_map(|(_, meta)| meta.iter().copied()).collect();
        let body = Body::new().u48(1).u16(0).bytes(b"\x01d\0\x01t\0").u8(columns.len() as u8);
        let types: Vec<u8> = columns.iter().map(|(wire, _)| *wire).collect();
        let body = body.bytes(&types).u8(metas.len() as u8).bytes(&metas).u8(0).bytes(optional);
        TableMap::parse(&body.0, &format(maria)).map(|map| map.metadata.unwrap().charsets)
    };
    let geometry = [(wire::GEOMETRY, &[4][..]), TEXT, TEXT, (wire::GEOMETRY, &[4]), TEXT, (wire::BLOB, &[2])];
    let (texts, of_mysql, of_mariadb) =
        ([8, 11, 11, 11], &[2, 3, 11, 0, 8][..], &[3, 6, 0x3f, 8, 11, 0x3f, 11, 11][..]);
    let without = [None, Some(texts[0]), Some(texts[1]), None, Some(texts[2]), Some(texts[3])];
    assert_eq!(map(&geometry, of_mysql, false).unwrap(), without);
    let with = without.map(|collation| collation.or(Some(63)));
    assert_eq!(map(&geometry, of_mariadb, true).unwrap(), with);
    assert!(map(&geometry, of_mariadb, false).is_err());
    let vector = [(wire::VECTOR, &[4][..]), TEXT, TEXT, TEXT];
    let collations = map(&vector, &[3, 4, 0x3f, 8, 8, 11], false).unwrap();
    assert_eq!(collations, [Some(63), Some(8), Some(8), Some(11)]);
}

/// Types and lengths of optional fields that do not fit the columns.
#[test]
fn optional_metadata_must_fit_its_columns() {
    let parse = |optional: &[u8]| TableMap::parse(&map_body(optional), &format(false));
    let fine: &[&[u8]] = &[&[1, 1, 0x80], &[2, 1, 45], &[3, 1, 45], &[8, 1, 3], &[9, 2, 2, 10], &[12, 1, 0xf0]];
    for optional in fine {
        parse(optional).unwrap();
    }
    let metadata = parse(&[2, 3, 45, 0, 8]).unwrap().metadata.unwrap();
    assert_eq!(metadata.charsets, [None, None, Some(8), None]);
    assert_eq!(parse(&[1, 1, 0x80]).unwrap().metadata.unwrap().unsigned, Some(vec![true, false, false, false]));
    let visible = parse(&[12, 1, 0b1011_0000]).unwrap().metadata.unwrap().visible;
    assert_eq!(visible, Some(vec![true, false, true, true]));
    assert_eq!(parse(&[99, 2, 7, 7]).unwrap().metadata.unwrap().unknown, [99]);
    let broken: &[&[u8]] = &[
        &[1, 0],
        &[1, 2, 0, 0],
        &[2, 2, 45, 1],
        &[2, 3, 45, 1, 8],
        &[3, 2, 45, 45],
        &[4, 2, 1, b'a'],
        &[8, 1, 4],
        &[9, 1, 0],
        &[1],
        &[1, 9, 0],
        &[3, 5, 0xfd, 0, 0, 0, 1],
        &[4, 8, 1, b'a', 1, 0xff, 1, b'c', 1, b'd'],
    ];
    for optional in broken {
        assert!(parse(optional).is_err(), "{optional:?}");
    }
}

#[test]
fn bitmaps_do_not_look_beyond_their_width() {
    let map = Bitmap::new(&[0xff, 0xfb], 11);
    assert_eq!((map.count(), map.is_full(), map.is_zero()), (10, false, false));
    assert_eq!(map.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(!map.get(10) && !map.get(12));
    assert!(Bitmap::new(&[0xff, 0xff], 11).is_full() && Bitmap::new(&[0xff, 0x07], 11).is_full());
    assert!(Bitmap::new(&[0, 0xf8], 11).is_zero());
    assert!(Bitmap::default().is_full() && Bitmap::default().is_zero());
}

/// MY-20, MY-26: versions 1 and 2 with extra data, images with absent columns and nulls.
#[test]
fn rows_of_both_versions() {
    let map = TableMap::parse(&map_body(&[]), &format(false)).unwrap();
    let image = [&[0b0010][..], &[1, 0, 0, 0], &[1, 0, b'x'], &[1, 0, 0, 0, 9]].concat();
    for (kind, extra) in [(kind::WRITE_ROWS_V1, &[][..]), (kind::WRITE_ROWS, &[]), (kind::WRITE_ROWS, &[1, 7, 0])] {
        let bytes = rows_body(kind, extra, 4, &[&[0x0f][..], &image, &image].concat());
        let event = rows(kind, &bytes).unwrap();
        assert_eq!((event.kind, event.width, event.partial, event.compressed), (RowsKind::Insert, 4, false, false));
        assert!(event.before.is_zero() && event.after.is_full());
        assert_eq!(count_rows_in(&event, event.rows, &map), Ok(2), "{kind}");
        let header = ImageHeader::read(&mut &event.rows[..], event.after, 4).unwrap();
        assert_eq!(header.columns().collect::<Vec<_>>(), [(0, false), (1, true), (2, false), (3, false)]);
        assert!(header.has_nulls() && !header.has_partial());
    }
    // A minimal update: the key before, one column after.
    let bytes = rows_body(kind::UPDATE_ROWS, &[], 4, &[0x01, 0x04, 0, 1, 0, 0, 0, 1]);
    let event = rows(kind::UPDATE_ROWS, &bytes).unwrap();
    assert_eq!(count_rows_in(&event, event.rows, &map), Ok(1));
    let mut input = event.rows;
    let before = ImageHeader::read(&mut input, event.before, 1).unwrap();
    assert_eq!(before.columns().collect::<Vec<_>>(), [(0, false)]);
    let after = ImageHeader::read(&mut &input[4..], event.after, 1).unwrap();
    assert_eq!(after.columns().collect::<Vec<_>>(), [(2, true)]);
    let bytes = rows_body(kind::DELETE_ROWS, &[], 4, &[0x01, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0]);
    let event = rows(kind::DELETE_ROWS, &bytes).unwrap();
    assert_eq!(count_rows_in(&event, event.rows, &map), Ok(2));
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let map = TableMap::parse(&map_body(&[]), &format(false)).unwrap();
    let count = |kind, width, rest: &[u8]| {
        let bytes = rows_body(kind, &[], width, rest);
        let event = rows(kind, &bytes)?;
        count_rows_in(&event, event.rows, &map)
    };
    assert!(count(kind::DELETE_ROWS, 4, &[0x01, 0, 1, 0, 0]).is_err(), "ends in a value");
    assert!(count(kind::DELETE_ROWS, 3, &[0x01, 0, 1, 0, 0, 0]).is_err(), "another width");
    assert!(count(kind::DELETE_ROWS, 4, &[0x00, 0]).is_err(), "rows without columns");
    assert!(count(kind::UPDATE_ROWS, 4, &[0x01, 0x01, 0, 1, 0, 0, 0]).is_err(), "no image after");
    assert!(rows(kind::UPDATE_ROWS, &rows_body(kind::UPDATE_ROWS, &[], 4, &[0x01])).is_err(), "one bitmap");
    let short = Body::new().u48(1).u16(0).u16(1).u8(4).u8(0xf).0;
    assert!(rows(kind::WRITE_ROWS, &short).is_err(), "extra data shorter than its length");
    let wide = Body::new().u48(1).u16(0).u16(2).u8(0xfc).u16(4097).bytes(&[0; 600]).0;
    assert!(rows(kind::WRITE_ROWS, &wide).is_err(), "too many columns");
}

/// MY-25.
#[test]
fn dummy_rows_only_end_their_statement() {
    let bytes = Body::new().u48(0x00ff_ffff).u16(1).u16(2).u8(1).u8(0).0;
    let event = rows(kind::WRITE_ROWS, &bytes).unwrap();
    assert!(event.is_dummy() && event.flags == 1);
    let bytes = Body::new().u48(0x00ff_ffff).u16(1).u16(2).u8(1).u8(1).bytes(&[0, 5]).0;
    assert!(!rows(kind::WRITE_ROWS, &bytes).unwrap().is_dummy(), "a table with that number");
}

/// MY-32: options and a bit for each JSON column of the table before an image after.
#[test]
fn partial_updates_mark_json_columns() {
    let map = TableMap::parse(&map_body(&[]), &format(false)).unwrap();
    // Before: the key; after: `b` and `j2`, the latter in part, `j1` is not there but has a bit.
    let row = [&[0, 1, 0, 0, 0][..], &[1, 0b10, 0], &[1, 0, b'x'], &[2, 0, 0, 0, 7, 7]].concat();
    let plain = [&[0, 1, 0, 0, 0][..], &[0, 0], &[1, 0, b'x'], &[2, 0, 0, 0, 7, 7]].concat();
    let bytes = rows_body(kind::PARTIAL_UPDATE_ROWS, &[], 4, &[&[0x01, 0x0c][..], &row, &plain].concat());
    let event = rows(kind::PARTIAL_UPDATE_ROWS, &bytes).unwrap();
    assert!(event.partial && event.kind == RowsKind::Update);
    assert_eq!(count_rows_in(&event, event.rows, &map), Ok(2));
    let header = ImageHeader::read_partial(&mut &event.rows[5..], event.after, 2, map.json_columns).unwrap();
    assert!(header.has_partial() && !header.is_partial(0) && header.is_partial(1) && !header.is_partial(2));
    let mut wrong = event.rows[5..].to_vec();
    wrong[0] = 2;
    assert!(ImageHeader::read_partial(&mut &wrong[..], event.after, 2, 2).is_err(), "an option that is not known");
}

/// A record of MariaDB, with the length as stated.
fn record(content: &[u8], stated: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    [&[0x84][..], &(stated as u32).to_be_bytes(), &encoder.finish().unwrap()].concat()
}

/// MY-31: rows of both compressed versions.
#[test]
fn compressed_rows_are_opened() {
    let map = TableMap::parse(&map_body(&[]), &format(true)).unwrap();
    let images: Vec<u8> = (0..200_000_u32).flat_map(|n| [&[0][..], &n.to_le_bytes()].concat()).collect();
    let mut inflater = Inflater::new(LIMIT);
    for kind in [kind::DELETE_ROWS_COMPRESSED_V1, kind::DELETE_ROWS_COMPRESSED] {
        let bytes = rows_body(kind, &[], 4, &[&[0x01][..], &record(&images, images.len())].concat());
        let event = rows(kind, &bytes).unwrap();
        assert!(event.compressed && event.kind == RowsKind::Delete);
        assert_eq!(inflater.rows(&event).unwrap(), images);
        assert_eq!(count_rows_in(&event, inflater.rows(&event).unwrap(), &map), Ok(200_000));
    }
    let bytes = rows_body(kind::DELETE_ROWS, &[], 4, &[&[0x01][..], &images[..10]].concat());
    let event = rows(kind::DELETE_ROWS, &bytes).unwrap();
    assert_eq!(inflater.rows(&event).unwrap(), &images[..10], "not compressed");
}

/// A stated length reserves nothing, and must be right.
#[test]
fn compressed_records_are_not_believed() {
    let mut inflater = Inflater::new(1000);
    let mut fails = |record: &[u8]| inflater.inflate(kind::QUERY_COMPRESSED, record).map(<[u8]>::len).unwrap_err();
    let content = [b'x'; 900];
    assert!(matches!(fails(&record(&content, 0x7fff_ffff)), DecodeError::TooLong { .. }));
    assert!(matches!(fails(&record(&content, 899)), DecodeError::Compression { .. }));
    assert!(matches!(fails(&record(&content, 901)), DecodeError::Compression { .. }));
    assert!(matches!(fails(&record(&[b'x'; 1_000_000], 900)), DecodeError::Compression { .. }));
    let whole = record(&content, 900);
    for cut in 0..whole.len() {
        fails(&whole[..cut]);
    }
    fails(&[&whole[..], &[0]].concat());
    for head in [0x04, 0x94, 0x80, 0x85, 0xff] {
        let mut other = whole.clone();
        other[0] = head;
        fails(&other);
    }
    assert_eq!(inflater.inflate(kind::QUERY_COMPRESSED, &whole), Ok(&content[..]), "the state is clean again");
}

/// Fields of a payload event, then the payload.
fn payload(compression: u8, uncompressed: u64, payload: &[u8]) -> Vec<u8> {
    let number = |value: u64| Body::new().u8(9).u8(0xfe).u64(value).0;
    Body::new()
        .u8(2)
        .u8(if compression > 250 { 3 } else { 1 })
        .bytes(&if compression > 250 { vec![0xfc, compression, 0] } else { vec![compression] })
        .u8(3)
        .bytes(&number(uncompressed))
        .u8(1)
        .bytes(&number(payload.len() as u64))
        .u8(0)
        .bytes(payload)
        .0
}

fn open(bytes: &[u8]) -> Result<PayloadEvent<'_>, DecodeError> {
    match body(kind::TRANSACTION_PAYLOAD, bytes, &format(false))? {
        Event::Payload(event) => Ok(event),
        other => panic!("{other:?}"),
    }
}

fn inner() -> Vec<u8> {
    let begin = event(kind::XID, 0, &Body::new().u64(1).0, false);
    // Longer than what is decompressed at once.
    let long = event(kind::ANNOTATE_ROWS, 0, &vec![b'a'; 700_000], false);
    let many = (0..5000_u64).flat_map(|n| event(kind::XID, 0, &Body::new().u64(n).0, false)).collect::<Vec<_>>();
    [begin.clone(), long, many, begin].concat()
}

fn read_all(event: &PayloadEvent<'_>, limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut reader = PayloadReader::new(event, event.payload, limit)?;
    let format = format(false).inner();
    let mut all = Vec::new();
    while let Some(bytes) = reader.next_event()? {
        parse(&split(bytes, &format)?, &format)?;
        all.extend_from_slice(bytes);
    }
    Ok(all)
}

/// MY-30: compressed in one frame, in several, and not at all.
#[test]
fn payloads_hand_out_their_events() {
    let events = inner();
    let size = events.len() as u64;
    let zipped = zstd::encode_all(&events[..], 3).unwrap();
    let halves =
        [zstd::encode_all(&events[..1000], 3).unwrap(), zstd::encode_all(&events[1000..], 3).unwrap()].concat();
    for (compression, bytes) in [(0, &zipped), (0, &halves), (255, &events)] {
        let whole = payload(compression, size, bytes);
        let event = open(&whole).unwrap();
        let expected = if compression == 0 { Compression::Zstd } else { Compression::None };
        assert_eq!((event.compression, event.uncompressed_size), (expected, Some(size)));
        assert!(read_all(&event, LIMIT).unwrap() == events);
    }
    let whole = payload(0, size, &zipped);
    let event = open(&whole).unwrap();
    let mut reader = PayloadReader::new(&event, event.payload.to_vec(), LIMIT).unwrap();
    for _ in 0..3 {
        assert!(reader.next_event().unwrap().is_some());
    }
    reader.restart(&event, event.payload.to_vec()).unwrap();
    let mut count = 0;
    while reader.next_event().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 5003, "after a restart in the midst of another");
}

/// MY-30: sizes are not believed, cut payloads are found out, and bombs stop at the limit of one event.
#[test]
fn payloads_are_not_believed() {
    let events = inner();
    let size = events.len() as u64;
    let zipped = zstd::encode_all(&events[..], 3).unwrap();
    let fails = |whole: &[u8], limit| open(whole).and_then(|event| read_all(&event, limit)).unwrap_err();
    assert!(matches!(fails(&payload(0, size - 1, &zipped), LIMIT), DecodeError::Undefined { .. }));
    assert!(matches!(fails(&payload(0, u64::MAX, &zipped), LIMIT), DecodeError::Undefined { .. }));
    assert!(matches!(fails(&payload(0, size, &zipped), 600_000), DecodeError::TooLong { .. }));
    fails(&payload(7, size, &zipped), LIMIT);
    for cut in [0, 1, 5, zipped.len() / 2, zipped.len() - 1] {
        fails(&payload(0, size, &zipped[..cut]), LIMIT);
        fails(&payload(255, size, &events[..cut]), LIMIT);
    }
    fails(&payload(0, size, &[&zipped[..], b"garbage"].concat()), LIMIT);
    let mut lying = payload(0, size, &zipped);
    lying.push(0);
    assert!(open(&lying).is_err(), "longer than it says");
    // Zeros without end are events of length 0.
    let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 28), 3).unwrap();
    assert!(matches!(fails(&payload(0, 1 << 28, &bomb), LIMIT), DecodeError::Undefined { .. }));
    // An event that states a great length grows only with what comes.
    let head = Body::new().u32(0).u8(kind::XID).u32(1).u32(1 << 23).u32(0).u16(0).0;
    assert!(matches!(fails(&payload(255, 19, &head), LIMIT), DecodeError::Truncated { .. }));
}

use std::io::Read as _;
