use super::super::tests::{builder, show};
use super::*;
use flate2::{Compress, Compression, FlushCompress};

fn decode(bytes: &[u8], scratch: &mut Scratch) -> Result<String, ValueError> {
    let mut builder = builder();
    let cell = read(&Form::Utf8(tidewire_core::cell::Tag::Text), bytes, &mut builder, scratch)?;
    let batch = builder.finish(None, true, 0);
    Ok(show(cell.value(batch.arena())))
}

/// `claimed` is the length that is written, which an attacker chooses.
fn compress(text: &[u8], framed: bool, claimed: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(text.len() + 100);
    Compress::new(Compression::default(), framed).compress_vec(text, &mut body, FlushCompress::Finish).unwrap();
    let length = claimed.to_be_bytes();
    let length = &length[claimed.leading_zeros() as usize / 8..];
    let head = 0x80 | length.len() as u8 | if framed { 0 } else { 8 };
    [&[head], length, &body].concat()
}

#[test]
fn every_way_of_storing_a_value_is_read() {
    let long = "ab".repeat(100_000);
    let mut scratch = Scratch::default();
    for (bytes, expect) in [
        (vec![], ""),
        (vec![0], ""),
        (vec![0, b'x'], "x"),
        (compress(b"abcabcabcabc", true, 12), "abcabcabcabc"),
        (compress(b"abcabcabcabc", false, 12), "abcabcabcabc"),
        (compress(long.as_bytes(), true, 200_000), &long),
        (compress(long.as_bytes(), false, 200_000), &long),
    ] {
        // A decompressor that has failed is good for the next value.
        assert!(decode(b"\x81\x05garbage", &mut scratch).is_err());
        assert_eq!(decode(&bytes, &mut scratch).unwrap(), expect);
    }
}

#[test]
fn a_value_is_as_long_as_it_says() {
    let mut scratch = Scratch::default();
    let text = "z".repeat(1_000);
    for claimed in [0u64, 1, 999, 1_001, 70_000, 1 << 29] {
        assert_eq!(decode(&compress(text.as_bytes(), true, claimed), &mut scratch), Err(FORM), "{claimed}");
    }
    assert!(scratch.inflated.capacity() <= Scratch::BYTES_KEPT, "a claim is no reason to ask for memory");
    assert_eq!(decode(&compress(text.as_bytes(), true, 1 << 31), &mut scratch), Err(ValueError::TooLarge));
    let good = compress(text.as_bytes(), true, 1_000);
    for length in 1..good.len() {
        assert!(decode(&good[..length], &mut scratch).is_err(), "{length}");
    }
    let more = [&good[..], b"x"].concat();
    assert_eq!(decode(&more, &mut scratch), Err(FORM));
    for method in [0x10, 0x70, 0x90, 0xf0] {
        assert_eq!(decode(&[method, 1, 1], &mut scratch), Err(FORM));
    }
}
