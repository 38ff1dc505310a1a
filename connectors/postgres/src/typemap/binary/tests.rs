use super::super::Scratch;
use super::super::tests::{builder, resolve};
use super::*;
use proptest::prelude::*;
use tidewire_core::cell::Value;

/// Reads the same value from its text and from its binary form.
fn both(oid: u32, text: &str, bytes: &[u8]) {
    let mut builder = builder();
    let decoder = resolve(oid, -1).1;
    let read = decoder.decode(text.as_bytes(), &mut builder, &mut Scratch::default()).unwrap();
    let binary = decoder.decode_binary(bytes, &mut builder).unwrap();
    let batch = builder.finish(None, true, 0);
    let (read, binary) = (read.value(batch.arena()), binary.value(batch.arena()));
    // Floats by their bits: a NaN equals nothing.
    assert_eq!(format!("{binary:?}"), format!("{read:?}"), "{oid} `{text}`");
    match (read, binary) {
        (Value::Float32(read), Value::Float32(binary)) => assert_eq!(read.to_bits(), binary.to_bits()),
        (Value::Float64(read), Value::Float64(binary)) => assert_eq!(read.to_bits(), binary.to_bits()),
        _ => {}
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter(|byte| *byte != b' ').map(|b| (b as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn binary_forms_give_the_cells_of_the_text() {
    // As the server's `*send` functions write them.
    for (oid, text, bytes) in [
        (16, "t", "01"),
        (21, "-32768", "8000"),
        (23, "-2147483648", "80000000"),
        (20, "9223372036854775807", "7fffffffffffffff"),
        (26, "4294967295", "ffffffff"),
        (5069, "18446744073709551615", "ffffffffffffffff"),
        (25, "a\tb\\", "6109625c"),
        (114, "{\"a\":  1}", "7b2261223a2020317d"),
        (3802, "{\"a\": 1}", "017b2261223a20317d"),
        (17, "\\x00ff", "00ff"),
        (700, "NaN", "ffc00001"),
        (700, "1e-45", "00000001"),
        (701, "NaN", "7ff8000000000000"),
        (701, "NaN", "fff8000000000abc"),
        (701, "-0", "8000000000000000"),
        (701, "5e-324", "0000000000000001"),
        (701, "-Infinity", "fff0000000000000"),
        (1700, "1.10", "0002 0000 0000 0002 0001 03e8"),
        (1700, "0", "0000 0000 0000 0000"),
        (1700, "0.000", "0000 0000 0000 0003"),
        (1700, "-0.00001", "0001 fffe 4000 0005 03e8"),
        (1700, "10000", "0001 0001 0000 0000 0001"),
        (1700, "120000.5", "0003 0001 0000 0001 000c 0000 1388"),
        (1700, "1234567890123456789", "0005 0004 0000 0000 007b 11d7 22c5 0929 1a85"),
        (1700, "NaN", "0000 0000 c000 0000"),
        (1700, "-Infinity", "0000 0000 f000 0020"),
        (790, "-$92,233,720,368,547,758.08", "8000000000000000"),
        (790, "$0.05", "0000000000000005"),
        (1082, "2000-01-01", "00000000"),
        (1082, "-infinity", "80000000"),
        (1082, "1999-12-31", "ffffffff"),
        (1083, "24:00:00", "000000141dd76000"),
        (1266, "24:00:00-15:59:59", "000000141dd76000 0000e0ff"),
        (1114, "1999-12-31 23:59:59.999999", "ffffffffffffffff"),
        (1114, "infinity", "7fffffffffffffff"),
        (1184, "2000-01-01 00:00:00.000001+00", "0000000000000001"),
        (1186, "1 year -2 mons +3 days -04:05:06.7", "fffffffc93699120 00000003 0000000a"),
        (2950, "6f1e9d0a-1111-4222-8333-444455556666", "6f1e9d0a111142228333444455556666"),
        (1560, "10100101", "00000008 a5"),
        (1562, "10101", "00000005 a8"),
        (1562, "", "00000000"),
        (90_001, "sad", "736164"),
    ] {
        both(oid, text, &hex(bytes));
    }
}

#[test]
fn binary_forms_of_another_shape_are_refused() {
    for (oid, bytes) in [
        (16, "02"),
        (16, ""),
        (23, "0000"),
        (20, "00000000"),
        (25, "ff"),
        (3802, "027b7d"),
        (3802, ""),
        (1083, "ffffffffffffffff"),
        (1266, "0000000000000000"),
        (1700, "0001 0000 0000 0000"),
        (1700, "0001 0000 0000 0000 2710"),
        (1700, "0000 0000 1000 0000"),
        (1700, "0000"),
        (1560, "00000009 ff"),
        (2950, "00"),
    ] {
        let decoder = resolve(oid, -1).1;
        assert!(decoder.decode_binary(&hex(bytes), &mut builder()).is_err(), "{oid} {bytes}");
    }
}

/// As `numeric_send`: the digits of a plain decimal to the base of 10,000.
fn numeric_form(text: &str) -> Vec<u8> {
    let (sign, digits) = text.strip_prefix('-').map_or((0u16, text), |rest| (0x4000, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let padded = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let all = format!("{whole}{padded}");
    let group = |digits: &[u8]| digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let mut groups: Vec<u16> = all.as_bytes().chunks(4).map(group).collect();
    let mut weight = (whole.len() / 4) as i16 - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (sign, weight) = if groups.is_empty() { (0, 0) } else { (sign, weight) };
    let mut out = Vec::new();
    for part in [groups.len() as u16, weight as u16, sign, fraction.len() as u16].into_iter().chain(groups) {
        out.extend(part.to_be_bytes());
    }
    out
}

proptest! {
    #[test]
    fn numerics_are_the_same_in_both_forms(negative: bool, whole in "0|[1-9][0-9]{0,40}", fraction in "[0-9]{0,30}") {
        let sign = if negative && (whole.as_str() != "0" || fraction.bytes().any(|digit| digit != b'0')) { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{sign}{whole}{point}{fraction}");
        both(1700, &text, &numeric_form(&text));
    }

    #[test]
    fn timestamps_are_the_same_in_both_forms(micros in -211_813_488_000_000_000i64..9_223_371_331_200_000_000) {
        let days = micros.div_euclid(MICROS_PER_DAY) + 10_957;
        let value = Timestamp { date: Date(days as i32), micros: micros.rem_euclid(MICROS_PER_DAY) };
        let mut builder = builder();
        let cell = resolve(1114, -1).1.decode_binary(&micros.to_be_bytes(), &mut builder).unwrap();
        prop_assert_eq!(cell.value(&[]), Value::Timestamp(value));
    }

    #[test]
    fn no_binary_value_panics(bytes: Vec<u8>) {
        for oid in [16, 17, 20, 21, 23, 25, 26, 700, 701, 790, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1700, 2950, 3802, 5069] {
            let _ = resolve(oid, -1).1.decode_binary(&bytes, &mut builder());
        }
    }
}
