use super::super::tests::{builder, show};
use super::*;
use proptest::prelude::*;

/// Packs plain digits, the way the server does.
fn pack(precision: u8, scale: u8, negative: bool, whole: &str, fraction: &str) -> Vec<u8> {
    let bytes = |digits: usize| [0, 1, 1, 2, 2, 3, 3, 4, 4, 4][digits];
    let mut out = Vec::new();
    let mut push = |digits: &str| {
        let value: u32 = if digits.is_empty() { 0 } else { digits.parse().unwrap() };
        out.extend_from_slice(&value.to_be_bytes()[4 - bytes(digits.len())..]);
    };
    let whole = format!("{whole:0>width$}", width = usize::from(precision - scale));
    let whole = if precision == scale { "" } else { &whole };
    let fraction = format!("{fraction:0<width$}", width = usize::from(scale));
    let (lead, groups) = whole.split_at(whole.len() % 9);
    push(lead);
    for group in groups.as_bytes().chunks(9) {
        push(std::str::from_utf8(group).unwrap());
    }
    for group in fraction.as_bytes().chunks(9) {
        push(std::str::from_utf8(group).unwrap());
    }
    if negative {
        out.iter_mut().for_each(|byte| *byte = !*byte);
    }
    out[0] ^= 0x80;
    out
}

fn read(precision: u8, scale: u8, bytes: &[u8]) -> Result<String, ValueError> {
    let mut builder = builder();
    let mut input = bytes;
    let cell = Layout::new(precision, scale).unwrap().read(&mut input, &mut builder)?;
    assert!(input.is_empty());
    let batch = builder.finish(None, true, 0);
    Ok(show(cell.value(batch.arena())))
}

fn read_text(scale: u8, bytes: &[u8]) -> Result<String, ValueError> {
    let mut builder = builder();
    let cell = text(bytes, scale, &mut builder)?;
    let batch = builder.finish(None, true, 0);
    Ok(show(cell.value(batch.arena())))
}

/// MY-61. The bytes of the first are the example of the server's `decimal2bin`.
#[test]
fn packed_decimals_have_their_digits() {
    for (precision, scale, bytes, expect) in [
        (14, 4, &b"\x81\x0d\xfb\x38\xd2\x04\xd2"[..], "1234567890.1234"),
        (14, 4, b"\x7e\xf2\x04\xc7\x2d\xfb\x2d", "-1234567890.1234"),
        (5, 2, b"\x80\x01\x32", "1.50"),
        (5, 2, b"\x80\x00\x00", "0.00"),
        // Zero with the sign of a negative value.
        (5, 2, b"\x7f\xff\xff", "0.00"),
        (2, 2, b"\x80", "0.00"),
        (2, 2, b"\x7a", "-0.05"),
        (1, 0, b"\x89", "9"),
    ] {
        assert_eq!(read(precision, scale, bytes).unwrap(), expect);
    }
}

#[test]
fn a_group_beyond_its_digits_is_no_decimal() {
    for (precision, scale, bytes) in
        [(2, 0, &b"\xe4"[..]), (2, 2, b"\xe4"), (9, 0, b"\xbb\x9a\xca\x00"), (11, 2, b"\x80\x00\x00\x00\x64")]
    {
        assert_eq!(read(precision, scale, bytes), Err(FORM));
    }
    assert_eq!(read(10, 2, b"\x80\x00\x00\x00"), Err(ValueError::Truncated));
}

#[test]
fn there_are_no_decimals_beyond_the_servers() {
    for (precision, scale) in [(0, 0), (66, 0), (5, 6), (65, 39), (255, 0)] {
        assert_eq!(Layout::new(precision, scale), None);
    }
    for precision in 1..=65 {
        for scale in 0..=precision.min(38) {
            let nines = "9".repeat(usize::from(precision));
            let (whole, fraction) = nines.split_at(usize::from(precision - scale));
            let text = read(precision, scale, &pack(precision, scale, true, whole, fraction)).unwrap();
            let whole = if whole.is_empty() { "0" } else { whole };
            let point = if scale > 0 { "." } else { "" };
            assert_eq!(text, format!("-{whole}{point}{fraction}"));
        }
    }
}

#[test]
fn texts_of_results_are_made_plain() {
    for (scale, text, expect) in [
        (2, "1.50", Some("1.50")),
        (2, "00000001.50", Some("1.50")),
        (0, "000", Some("0")),
        (2, "-0.00", Some("0.00")),
        (2, "-0.05", Some("-0.05")),
        (2, "1.5", None),
        (0, "1.", Some("1")),
        (2, ".50", None),
        (2, "1e5", None),
        (0, "", None),
        (0, "-", None),
        (1, "1.-", None),
    ] {
        assert_eq!(read_text(scale, text.as_bytes()).ok().as_deref(), expect, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_packed_is_read(
        (precision, scale) in (1u8..=65).prop_flat_map(|p| (Just(p), 0..=p.min(38))),
        digits in "[0-9]{65}",
        negative: bool,
    ) {
        let (digits, _) = digits.split_at(usize::from(precision));
        let (whole, fraction) = digits.split_at(usize::from(precision - scale));
        let text = read(precision, scale, &pack(precision, scale, negative, whole, fraction)).unwrap();
        let trimmed = whole.trim_start_matches('0');
        let sign = if negative && digits.bytes().any(|digit| digit != b'0') { "-" } else { "" };
        let whole = if trimmed.is_empty() { "0" } else { trimmed };
        let point = if scale > 0 { "." } else { "" };
        prop_assert_eq!(&text, &format!("{sign}{whole}{point}{fraction}"));
        prop_assert_eq!(read_text(scale, text.as_bytes()).unwrap(), text);
    }
}
