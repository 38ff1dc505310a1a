//! Documents that real servers wrote must be printed as those servers print them (MY-74), changes to them likewise
//! (MY-32), and no bytes at all may do harm.

use super::recorded::{DOCUMENTS, PATCHES};
use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn text(document: &[u8]) -> Result<String, JsonError> {
    let mut out = b"kept".to_vec();
    let result = write_text(document, &mut out);
    let written = out.strip_prefix(b"kept").unwrap().to_vec();
    assert!(result.is_ok() || written.is_empty(), "what failed leaves nothing behind");
    result.map(|()| String::from_utf8(written).unwrap())
}

fn patched(before: &[u8], diffs: &[u8]) -> Result<String, JsonError> {
    let mut out = Vec::new();
    write_patched(before, diffs, &mut out).map(|()| String::from_utf8(out).unwrap())
}

/// A small array around values that are given as type, bytes.
fn array(values: &[(u8, &[u8])]) -> Vec<u8> {
    let mut offset = 4 + 3 * values.len();
    let (mut entries, mut tail) = (Vec::new(), Vec::new());
    for (kind, value) in values {
        entries.push(*kind);
        entries.extend((offset as u16).to_le_bytes());
        tail.extend_from_slice(value);
        offset += value.len();
    }
    let mut out = vec![0x02];
    out.extend((values.len() as u16).to_le_bytes());
    out.extend((offset as u16).to_le_bytes());
    out.extend(entries);
    out.extend(tail);
    out
}

fn change(operation: u8, path: &str, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = vec![operation];
    for part in std::iter::once(path.as_bytes()).chain(value) {
        if part.len() > 250 {
            out.push(252);
            out.extend((part.len() as u16).to_le_bytes());
        } else {
            out.push(part.len() as u8);
        }
        out.extend(part);
    }
    out
}

/// MY-74.
#[test]
fn recorded_documents_are_printed_as_by_the_server() {
    for (document, expected) in DOCUMENTS {
        assert_eq!(text(&bytes(document)).as_deref(), Ok(*expected), "{document}");
    }
    assert_eq!(text(b"").as_deref(), Ok("null"), "an empty document is the JSON null");
}

/// MY-32.
#[test]
fn recorded_patches_give_what_the_server_stored() {
    for (before, diffs, expected) in PATCHES {
        assert_eq!(patched(&bytes(before), &bytes(diffs)).as_deref(), Ok(*expected), "{before} {diffs}");
    }
    for (document, expected) in DOCUMENTS {
        assert_eq!(patched(&bytes(document), b"").as_deref(), Ok(*expected), "no change: {document}");
    }
}

/// MY-74: what the server printed for `JSON_ARRAY(x)`, both sides of each turn from plain notation to an exponent.
#[test]
fn doubles() {
    let cases: &[(f64, &str)] = &[
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (100.0, "100.0"),
        (0.1, "0.1"),
        (-12.5, "-12.5"),
        (0.0125, "0.0125"),
        (1e14, "100000000000000.0"),
        (1e15, "1e15"),
        (999_999_999_999_999.0, "999999999999999.0"),
        (9_999_999_999_999_990.0, "9.99999999999999e15"),
        (1_234_567_890_123_456.5, "1234567890123456.5"),
        (1_234_567_890_123_456.0, "1.234567890123456e15"),
        (1e-5, "0.00001"),
        (1e-14, "0.00000000000001"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (1.5e-15, "0.0000000000000015"),
        (1e100, "1e100"),
        (-1.5e-100, "-1.5e-100"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (9_007_199_254_740_993.0, "9.007199254740992e15"),
    ];
    for (number, expected) in cases {
        let mut document = vec![0x0b];
        document.extend(number.to_le_bytes());
        assert_eq!(text(&document).as_deref(), Ok(*expected));
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut document = vec![0x0b];
        document.extend(number.to_le_bytes());
        assert_eq!(text(&document), Err(JsonError::NotFinite));
    }
}

/// MY-74: the large format begins where offsets no longer have two bytes.
#[test]
fn large_containers() {
    let long = "v".repeat(70_000);
    let mut document = vec![0x01];
    let header = 8 + 2 * 6 + 2 * 5;
    let size = header + 1 + 2 + 3 + long.len();
    document.extend(2u32.to_le_bytes());
    document.extend((size as u32).to_le_bytes());
    for (offset, length) in [(header, 1u16), (header + 1, 2)] {
        document.extend((offset as u32).to_le_bytes());
        document.extend(length.to_le_bytes());
    }
    document.push(0x07);
    document.extend((-70_000i32).to_le_bytes());
    document.push(0x0c);
    document.extend((header as u32 + 3).to_le_bytes());
    document.extend(b"abb");
    document.extend([0xf0, 0xa2, 0x04]);
    document.extend(long.as_bytes());
    assert_eq!(text(&document), Ok(format!(r#"{{"a": -70000, "bb": "{long}"}}"#)));
}

/// MY-74: a hundred levels are allowed.
#[test]
fn depth() {
    let nested = |levels: usize| {
        let mut document = vec![0x02, 0, 0, 4, 0];
        for _ in 1..levels {
            let inner = document.split_off(1);
            document = array(&[(0x02, &inner)]);
        }
        document
    };
    assert_eq!(text(&nested(100)), Ok("[".repeat(100) + &"]".repeat(100)));
    assert_eq!(text(&nested(101)), Err(JsonError::TooDeep));
    let deeper = change(0, &path_of(99), Some(&nested(2)));
    assert_eq!(patched(&nested(100), &deeper), Err(JsonError::TooDeep), "a change may not nest deeper either");
    let inside = change(1, &path_of(100), Some(&nested(1)));
    assert_eq!(patched(&nested(100), &inside), Err(JsonError::TooDeep));
    let outside = change(2, &path_of(100), None);
    let misfit = JsonError::Misfit { what: "nothing to remove", path: path_of(100) };
    assert_eq!(patched(&nested(100), &outside), Err(misfit));
}

fn path_of(levels: usize) -> String {
    format!("${}", "[0]".repeat(levels))
}

#[test]
fn damaged_documents_are_errors() {
    let cases: &[(&[u8], JsonError)] = &[
        (&[0x0d], JsonError::UnknownType(0x0d)),
        (&[0x04, 0x03], JsonError::UnknownLiteral(3)),
        (&[0x04], JsonError::Truncated("a literal")),
        (&[0x0c, 0x05, b'a'], JsonError::Truncated("a string")),
        (&[0x0c, 0x01, 0xff], JsonError::NotUtf8),
        (&[0x0c, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], JsonError::Truncated("a string")),
        (&[0x0f, 10, 0x07, 0, 0, 0, 0, 0, 0, 0], JsonError::Opaque("date")),
        (&[0x0f, 246, 0x03, 5, 2, 0x80], JsonError::Opaque("decimal")),
        (&[0x0f, 246, 0x03, 5, 6, 0x80], JsonError::Opaque("decimal")),
        // An element within the entries, and one beyond the end.
        (&[0x02, 1, 0, 8, 0, 0x0c, 4, 0, 0], JsonError::Offset { what: "a value", offset: 4, length: 8 }),
        (&[0x02, 1, 0, 8, 0, 0x0c, 9, 0, 0], JsonError::Offset { what: "a value", offset: 9, length: 8 }),
        (&[0x02, 255, 255, 8, 0, 0x0c, 9, 0, 0], JsonError::Truncated("an array")),
        (&[0x03, 255, 255, 255, 255, 8, 0, 0, 0], JsonError::Truncated("an array")),
    ];
    for (document, expected) in cases {
        match (text(document), expected) {
            // The budget may notice a length beyond the document first.
            (Err(JsonError::Overlap), JsonError::Truncated(_) | JsonError::Opaque(_)) => {}
            (result, expected) => assert_eq!(result.as_ref(), Err(expected), "{document:02x?}"),
        }
    }
}

/// Entries that all point to the same container, level upon level, would unfold to 2^90 values.
#[test]
fn shared_values_do_not_unfold() {
    let mut document = vec![0x02, 0, 0, 4, 0];
    for _ in 0..90 {
        let inner = document.split_off(1);
        let size = 10 + inner.len();
        document = vec![0x02, 2, 0];
        document.extend((size as u16).to_le_bytes());
        document.extend([0x02, 10, 0, 0x02, 10, 0]);
        document.extend(inner);
    }
    assert_eq!(text(&document), Err(JsonError::Overlap));
}

/// MY-32: the server refuses these as well.
#[test]
fn changes_that_do_not_fit_are_errors() {
    let one = &[0x05, 1, 0][..];
    let before = array(&[(0x0c, b"\x01a")]);
    let object = bytes(DOCUMENTS.iter().find(|(_, text)| text.starts_with(r#"{"": 4"#)).unwrap().0);
    let misfit = |what, path: &str| Err(JsonError::Misfit { what, path: path.to_owned() });
    let cases = [
        (&before, change(0, "$[1]", Some(one)), misfit("nothing to replace", "$[1]")),
        (&before, change(0, "$.a", Some(one)), misfit("nothing to replace", "$.a")),
        (&before, change(1, "$.a", Some(one)), misfit("nowhere to insert", "$.a")),
        (&before, change(1, "$[0].a", Some(one)), misfit("nowhere to insert", "$[0].a")),
        (&before, change(2, "$[1]", None), misfit("nothing to remove", "$[1]")),
        (&before, change(2, "$[last-1]", None), misfit("nothing to remove", "$[last-1]")),
        (&before, change(2, "$[7][0]", None), misfit("no such place", "$[7][0]")),
        (&object, change(1, "$.a", Some(one)), misfit("nowhere to insert", "$.a")),
        (&object, change(0, "$[0]", Some(one)), misfit("nothing to replace", "$[0]")),
        (&before, change(0, "$", Some(one)), Err(JsonError::Diff("a change of the whole document"))),
        (&before, change(3, "$[0]", Some(one)), Err(JsonError::Diff("an unknown operation"))),
        (&before, change(0, "$[0]", Some(b"")), Err(JsonError::Diff("a value without bytes"))),
        (&before, change(0, "$[*]", Some(one)), Err(JsonError::Diff("a path that is not understood"))),
        (&before, change(0, "$[0 to 1]", Some(one)), Err(JsonError::Diff("a path that is not understood"))),
        (&before, change(0, "$**.a", Some(one)), Err(JsonError::Diff("a path that is not understood"))),
        (&before, change(0, "a", Some(one)), Err(JsonError::Diff("a path that is not understood"))),
        (&before, change(0, "$.\"a", Some(one)), Err(JsonError::Diff("a path that is not understood"))),
        (&before, vec![2, 9, b'$'], Err(JsonError::Diff("it ends early"))),
        (&before, vec![2, 251], Err(JsonError::Diff("a length that is not one"))),
        (&before, vec![2, 254, 255, 255, 255, 255, 255, 255, 255, 255], Err(JsonError::Diff("it ends early"))),
    ];
    for (document, diffs, expected) in cases {
        assert_eq!(patched(document, &diffs), expected, "{diffs:?}");
    }
}

/// MY-32: forms of paths and places that count from the end.
#[test]
fn paths() {
    let before = array(&[(0x05, &[]), (0x05, &[]), (0x05, &[])]);
    // The entries of 16-bit integers hold what `array` put there as offsets: 13 each.
    let cases = [("$[last]", "[13, 13, 1]"), ("$[ last - 1 ]", "[13, 1, 13]"), ("$ [ 0 ]", "[1, 13, 13]")];
    for (path, expected) in cases {
        assert_eq!(patched(&before, &change(0, path, Some(&[0x05, 1, 0]))).as_deref(), Ok(expected), "{path}");
    }
    let inserts = [("$[3]", "[13, 13, 13, 1]"), ("$[99]", "[13, 13, 13, 1]"), ("$[last-9]", "[1, 13, 13, 13]")];
    for (path, expected) in inserts {
        assert_eq!(patched(&before, &change(1, path, Some(&[0x05, 1, 0]))).as_deref(), Ok(expected), "{path}");
    }
    let names = [
        (r#"$."a b""#, r#"{"a b": 1}"#),
        (r#"$."q\"\\\u00e9\ud83d\ude00""#, r#"{"q\"\\é😀": 1}"#),
        ("$.é", r#"{"é": 1}"#),
        ("$ . a", r#"{"a": 1}"#),
        (r#"$."""#, r#"{"": 1}"#),
    ];
    for (path, expected) in names {
        let empty = [0x00, 0, 0, 4, 0];
        assert_eq!(patched(&empty, &change(1, path, Some(&[0x05, 1, 0]))).as_deref(), Ok(expected), "{path}");
    }
}

proptest! {
    /// Damaged documents and changes give an error or some text, never a panic, and never much more than they are.
    #[test]
    fn no_bytes_do_harm(which in 0..DOCUMENTS.len(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut document = bytes(DOCUMENTS[which].0);
        let index = at.index(document.len());
        if cut {
            document.truncate(index);
        } else {
            document[index] = byte;
        }
        if let Ok(text) = text(&document) {
            prop_assert!(text.len() <= 8 * document.len() + 400);
        }
    }

    #[test]
    fn no_changes_do_harm(which in 0..PATCHES.len(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let (before, mut diffs) = (bytes(PATCHES[which].0), bytes(PATCHES[which].1));
        let index = at.index(diffs.len());
        if cut {
            diffs.truncate(index);
        } else {
            diffs[index] = byte;
        }
        let _ = patched(&before, &diffs);
    }

    #[test]
    fn random_bytes_do_no_harm(document in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = text(&document);
        let _ = patched(&document, &document);
    }

    /// The digits say the same number and no shorter ones do.
    #[test]
    fn any_double(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let mut document = vec![0x0b];
        document.extend(number.to_le_bytes());
        let text = text(&document).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        prop_assert!(text.len() <= 36);
    }
}
