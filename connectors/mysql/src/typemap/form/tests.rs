use super::super::tests::{builder, charset, column, for_log, read, show};
use super::super::{Decoder, ZeroDates, types};
use super::*;
use crate::model::{ColumnDef, ColumnKind, Flavour, GeometryKind};
use tidewire_core::cell::Value;

fn labels(count: usize) -> Arc<[Arc<str>]> {
    (1..=count).map(|number| Arc::from(format!("l{number}"))).collect()
}

fn log(kind: ColumnKind, wire: u8, meta: u16) -> Decoder {
    for_log(wire, meta, &column(kind), ZeroDates::Halt).unwrap()
}

/// MY-68: the length has as many bytes as the longest value needs.
#[test]
fn lengths_are_as_wide_as_the_longest_value_needs() {
    for (meta, bytes) in [(255, &b"\x01a"[..]), (256, b"\x01\x00a"), (1_020, b"\x01\x00a")] {
        for (kind, wire) in
            [(ColumnKind::Char { length: 255 }, types::STRING), (ColumnKind::VarChar { length: 255 }, types::VARCHAR)]
        {
            assert_eq!(read(&log(kind, wire, meta), bytes).unwrap(), "a");
        }
    }
    for (width, bytes) in
        [(1, &b"\x01\xff"[..]), (2, b"\x01\x00\xff"), (3, b"\x01\x00\x00\xff"), (4, b"\x01\x00\x00\x00\xff")]
    {
        assert_eq!(read(&log(ColumnKind::Blob { width }, types::BLOB, width.into()), bytes).unwrap(), "FF");
    }
    for count in [0usize, 1, 250, 251, 255, 256, 65_535, 65_536, 70_000] {
        let body = vec![b'x'; count];
        let head = match count {
            0..=250 => vec![count as u8],
            251..=65_535 => [&[0xfc], &count.to_le_bytes()[..2]].concat(),
            _ => [&[0xfd], &count.to_le_bytes()[..3]].concat(),
        };
        let bytes = [head, body.clone()].concat();
        assert_eq!(Frame::Encoded.take(&mut &bytes[..]).unwrap(), body);
    }
    assert_eq!(Frame::Encoded.take(&mut &b"\xfe\x02\0\0\0\0\0\0\0ab"[..]).unwrap(), b"ab");
    assert_eq!(Frame::Encoded.take(&mut &b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"[..]), Err(ValueError::Truncated));
    for head in [b"\xfb", b"\xff"] {
        assert!(matches!(Frame::Encoded.take(&mut &head[..]), Err(ValueError::Malformed(_))));
    }
}

/// MY-66.
#[test]
fn fixed_bytes_are_filled_up() {
    let binary = log(ColumnKind::Binary { length: 5 }, types::STRING, 5);
    assert_eq!(read(&binary, b"\x01\x01").unwrap(), "0100000000");
    assert_eq!(read(&binary, b"\x00").unwrap(), "0000000000");
    assert!(matches!(read(&binary, b"\x06abcdef"), Err(ValueError::Malformed(_))));
}

/// MY-69: labels are by number; 0 is the value of what was no label.
#[test]
fn an_enum_has_its_label() {
    for (count, bytes, expect) in [
        (3, &b"\x03"[..], Some("l3")),
        (3, b"\x00", Some("")),
        (3, b"\x04", None),
        (255, b"\xff", Some("l255")),
        (256, b"\x00\x01", Some("l256")),
        (300, b"\x2c\x01", Some("l300")),
        (300, b"\x2d\x01", None),
    ] {
        let decoder = log(ColumnKind::Enum { labels: labels(count) }, types::ENUM, bytes.len() as u16);
        let value = read(&decoder, bytes);
        if expect.is_none() {
            assert!(matches!(value, Err(ValueError::Label { .. })), "{value:?}");
        }
        assert_eq!(value.ok().as_deref(), expect);
    }
}

/// MY-70.
#[test]
fn a_set_has_its_labels() {
    for (count, bytes, expect) in [
        (3, &b"\x05"[..], Some("l1,l3")),
        (3, b"\x00", Some("")),
        (3, b"\x08", None),
        (9, b"\x01\x01", Some("l1,l9")),
        (24, b"\x00\x00\x80", Some("l24")),
        (33, b"\x00\x00\x00\x00\x01\x00\x00\x00", Some("l33")),
        (33, b"\x00\x00\x00\x00\x02\x00\x00\x00", None),
        (64, b"\x02\x00\x00\x00\x00\x00\x00\x80", Some("l2,l64")),
    ] {
        let decoder = log(ColumnKind::Set { labels: labels(count) }, types::SET, bytes.len() as u16);
        assert_eq!(read(&decoder, bytes).ok().as_deref(), expect, "{count}");
    }
}

/// MY-63.
#[test]
fn bits_are_characters_from_the_highest() {
    for (length, bytes, expect) in [
        (1, &b"\x01"[..], Some("1")),
        (9, b"\x01\x55", Some("101010101")),
        (9, b"\x02\x00", None),
        (
            64,
            b"\x80\x00\x00\x00\x00\x00\x00\x01",
            Some("1000000000000000000000000000000000000000000000000000000000000001"),
        ),
    ] {
        let decoder = log(ColumnKind::Bit { length }, types::BIT, length.into());
        assert_eq!(read(&decoder, bytes).ok().as_deref(), expect);
        let result =
            Decoder::for_result(&column(ColumnKind::Bit { length }), types::BIT, 32, Flavour::MySql, ZeroDates::Halt);
        let framed = [&[bytes.len() as u8], bytes].concat();
        assert_eq!(read(&result.unwrap(), &framed).ok().as_deref(), expect);
    }
    let result =
        Decoder::for_result(&column(ColumnKind::Bit { length: 9 }), types::BIT, 32, Flavour::MySql, ZeroDates::Halt);
    assert!(read(&result.unwrap(), b"\x01\x01").is_err());
}

/// MY-72.
#[test]
fn a_geometry_is_a_reference_system_and_well_known_binary() {
    let decoder = log(ColumnKind::Geometry { subtype: GeometryKind::Geometry }, types::GEOMETRY, 4);
    let empty = b"\x0d\x00\x00\x00\xe6\x10\x00\x00\x01\x07\x00\x00\x00\x00\x00\x00\x00";
    let mut builder = builder();
    let cell = decoder.decode(&mut &empty[..], &mut builder, &mut Scratch::default()).unwrap();
    let batch = builder.finish(None, true, 0);
    assert_eq!(cell.value(batch.arena()), Value::Geometry(4_326, &empty[8..]));
    for bad in [&b"\x00\x00\x00\x00"[..], b"\x04\x00\x00\x00\x00\x00\x00\x00", b"\x05\x00\x00\x00\0\0\0\0\x02"] {
        assert!(matches!(read(&decoder, bad), Err(ValueError::Malformed(_))));
    }
}

/// MY-73.
#[test]
fn a_vector_has_its_floats() {
    let decoder = log(ColumnKind::Vector { dimensions: 0 }, types::VECTOR, 4);
    let floats = [1.0f32, -0.5, f32::MIN_POSITIVE, 16_777_216.0];
    let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
    let mut builder = builder();
    let input = [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
    let cell = decoder.decode(&mut &input[..], &mut builder, &mut Scratch::default()).unwrap();
    let batch = builder.finish(None, true, 0);
    let Value::Array(array) = cell.value(batch.arena()) else { panic!() };
    assert_eq!(array.elements().collect::<Vec<_>>(), floats.map(Value::Float32));
    assert_eq!(array.text(), b"[1.00000e+00,-5.00000e-01,1.17549e-38,1.67772e+07]");
    assert_eq!(show(cell.value(batch.arena())), "[1.00000e+00,-5.00000e-01,1.17549e-38,1.67772e+07]");
    assert_eq!(read(&decoder, b"\x00\x00\x00\x00").unwrap(), "[]");
    assert!(read(&decoder, b"\x03\x00\x00\x00abc").is_err());
    let long = [&(65_536u32).to_le_bytes()[..], &[0; 65_536]].concat();
    assert!(read(&decoder, &long).is_err());
}

/// A long value of another character set takes another way than a short one, to the same text.
#[test]
fn long_texts_are_converted_as_short_ones() {
    let column = ColumnDef { charset: charset("latin1"), ..column(ColumnKind::Text { width: 4 }) };
    let decoder = for_log(types::BLOB, 4, &column, ZeroDates::Halt).unwrap();
    for count in [1usize, 100, 65_535, 65_536, 200_000] {
        let bytes = [&(count as u32).to_le_bytes()[..], &vec![0xe9; count]].concat();
        assert_eq!(read(&decoder, &bytes).unwrap(), "é".repeat(count));
    }
}
