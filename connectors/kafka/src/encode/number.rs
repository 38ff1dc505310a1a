//! Floats as Java prints them and decimals as Connect carries them. Knows no type and no table.

use super::json::{write_base64, write_int};
use std::io::Write as _;
use tidewire_core::decimal::{Decimal, write_unscaled_be};

/// Writes a double as Java's `Double.toString` does: `0.001 <= |x| < 10,000,000` in plain notation, the
/// rest as `d.dddE±n`, always with a point. What no JSON number can say is quoted: `"NaN"`, `"Infinity"`.
pub(crate) fn write_float64(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        write_special(out, value.is_nan(), value > 0.0);
    } else if value != 0.0 && value.abs() < f64::MIN_POSITIVE {
        write_subnormal(out, value, |text| text.parse() == Ok(value), zmij::Buffer::new().format_finite(value));
    } else if is_plain(value) {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        write_java(out, zmij::Buffer::new().format_finite(value));
    }
}

/// Writes a single float as Java's `Float.toString` does, see [`write_float64`].
pub(crate) fn write_float32(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        write_special(out, value.is_nan(), value > 0.0);
    } else if value != 0.0 && value.abs() < f32::MIN_POSITIVE {
        let same = |text: &str| text.parse() == Ok(value);
        write_subnormal(out, f64::from(value), same, zmij::Buffer::new().format_finite(value));
    } else if is_plain(f64::from(value)) {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        write_java(out, zmij::Buffer::new().format_finite(value));
    }
}

/// Writes a finite decimal as base64 of its unscaled value at `scale` digits after the point. `false`
/// when digits would have to be dropped; nothing is written then.
pub(crate) fn write_decimal_fixed(out: &mut Vec<u8>, scratch: &mut Vec<u8>, value: Decimal<'_>, scale: i32) -> bool {
    scratch.clear();
    if let Some(unscaled) = usize::try_from(scale).ok().and_then(|scale| value.unscaled(scale)) {
        write_base64(out, shortest(&unscaled.to_be_bytes()));
        return true;
    }
    // Beyond 128 bits, or a negative scale: on the digits.
    let written = value.scale();
    let text = value.text();
    let wanted = i64::from(scale);
    let surplus = written as i64 - wanted;
    if surplus <= 0 {
        let mut digits = text.to_vec();
        digits.extend(std::iter::repeat_n(b'0', surplus.unsigned_abs() as usize));
        write_unscaled_be(scratch, &digits);
    } else {
        let mut digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'.').collect();
        for _ in 0..surplus {
            match digits.last() {
                Some(b'0') => digits.truncate(digits.len() - 1),
                Some(b'1'..=b'9') => return false,
                _ => break,
            }
        }
        write_unscaled_be(scratch, &digits);
    }
    write_base64(out, scratch);
    true
}

/// Writes a finite decimal as Debezium's VariableScaleDecimal: `{"scale":n,"value":"base64"}`.
pub(crate) fn write_decimal_variable(out: &mut Vec<u8>, scratch: &mut Vec<u8>, value: Decimal<'_>) {
    out.extend_from_slice(b"{\"scale\":");
    write_int(out, value.scale());
    out.extend_from_slice(b",\"value\":");
    match value.unscaled(value.scale()) {
        Some(unscaled) => write_base64(out, shortest(&unscaled.to_be_bytes())),
        None => {
            scratch.clear();
            write_unscaled_be(scratch, value.text());
            write_base64(out, scratch);
        }
    }
    out.push(b'}');
}

// Without leading bytes that only repeat the sign.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let mut rest: &[u8] = bytes;
    while let [first, second, ..] = rest {
        let redundant = *first == 0 && second & 0x80 == 0 || *first == 0xff && second & 0x80 != 0;
        if !redundant {
            break;
        }
        rest = rest.split_first().map_or(rest, |(_, tail)| tail);
    }
    rest
}

// Where the shortest text already has Java's form.
fn is_plain(value: f64) -> bool {
    (0.001..10_000_000.0).contains(&value.abs())
}

fn write_special(out: &mut Vec<u8>, nan: bool, positive: bool) {
    let word: &[u8] = match (nan, positive) {
        (true, _) => b"\"NaN\"",
        (false, true) => b"\"Infinity\"",
        (false, false) => b"\"-Infinity\"",
    };
    out.extend_from_slice(word);
}

// Java asks for two digits at least, and for those nearest to the value: `4.9E-324`, where the shortest
// form is `5e-324`. It matters only where neighbours lie far apart.
fn write_subnormal(out: &mut Vec<u8>, value: f64, same: impl Fn(&str) -> bool, shortest: &str) {
    let one_digit = shortest.bytes().take_while(|b| *b != b'e').filter(|b| matches!(b, b'1'..=b'9')).count() == 1;
    let mut buffer = [0u8; 32];
    let mut cursor: &mut [u8] = &mut buffer;
    let fits = write!(cursor, "{value:.1e}").is_ok();
    let left = cursor.len();
    let two_digits = buffer.get(..32 - left).and_then(|bytes| std::str::from_utf8(bytes).ok());
    match two_digits {
        Some(text) if fits && one_digit && same(text) => write_java(out, text),
        _ => write_java(out, shortest),
    }
}

// Takes any decimal text of a finite float apart into digits and exponent, and writes it in Java's form.
fn write_java(out: &mut Vec<u8>, text: &str) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The value is 0.DIGITS * 10^point.
    let mut point = whole.len() as i32 + exponent.parse::<i32>().unwrap_or(0);
    let mut digits = [0u8; 40];
    let mut count = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if count == 0 && byte == b'0' {
            point -= 1;
            continue;
        }
        if let Some(slot) = digits.get_mut(count) {
            *slot = byte;
            count += 1;
        }
    }
    let used = digits.iter().take(count).rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    let digits = digits.get(..used).unwrap_or_default();
    if negative {
        out.push(b'-');
    }
    if digits.is_empty() {
        out.extend_from_slice(b"0.0");
    } else if (-2..=7).contains(&point) {
        write_plain(out, digits, point);
    } else {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, &[]));
        out.extend_from_slice(first);
        out.push(b'.');
        out.extend_from_slice(if rest.is_empty() { b"0" } else { rest });
        out.push(b'E');
        write_int(out, point - 1);
    }
}

fn write_plain(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    let whole = usize::try_from(point).unwrap_or(0);
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
        out.extend_from_slice(digits);
        return;
    }
    let (before, after) = digits.split_at_checked(whole).unwrap_or((digits, &[]));
    out.extend_from_slice(before);
    out.extend(std::iter::repeat_n(b'0', whole - before.len()));
    out.push(b'.');
    out.extend_from_slice(if after.is_empty() { b"0" } else { after });
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_print_as_in_java() {
        for (value, expect) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (123_456_789.123_456_79, "1.2345678912345679E8"),
            (-1.797_693_134_862_315_7e308, "-1.7976931348623157E308"),
            (5e-324, "4.9E-324"),
            (1e-323, "9.9E-324"),
            (2.225_073_858_507_201_4e-308, "2.2250738585072014E-308"),
            (1e21, "1.0E21"),
            (9_007_199_254_740_993.0, "9.007199254740992E15"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(text(|out| write_float64(out, value)), expect);
        }
    }

    #[test]
    fn floats_print_as_in_java() {
        for (value, expect) in [
            (-3.402_823_5e38, "-3.4028235E38"),
            (1e-37, "1.0E-37"),
            (1e-45, "1.4E-45"),
            (123_456.79, "123456.79"),
            (16_777_216.0, "1.6777216E7"),
            (1.5, "1.5"),
            (f32::INFINITY, "\"Infinity\""),
        ] {
            assert_eq!(text(|out| write_float32(out, value)), expect);
        }
    }

    #[test]
    fn decimals_are_the_unscaled_value() {
        for (value, scale, expect) in [
            ("1.50", 2, Some("AJY=")),
            ("-999.99", 2, Some("/nlh")),
            ("0", 2, Some("AA==")),
            ("0.5", 2, Some("Mg==")),
            ("-9999999999999999999999999999.9999999999", 10, Some("tMSzV6V5O4X2dd3AAAAAAQ==")),
            ("1.505", 2, None),
            ("12300", -2, Some("ew==")),
            ("12345", -2, None),
            ("0", -2, Some("AA==")),
        ] {
            let mut out = Vec::new();
            let written =
                write_decimal_fixed(&mut out, &mut Vec::new(), Decimal::parse(value.as_bytes()).unwrap(), scale);
            assert_eq!(written, expect.is_some(), "{value}");
            assert_eq!(String::from_utf8(out).unwrap(), expect.map_or(String::new(), |e| format!("\"{e}\"")));
        }
    }

    proptest! {
        #[test]
        fn doubles_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let shown = text(|out| write_float64(out, value));
            prop_assert_eq!(shown.parse::<f64>().unwrap().to_bits(), bits);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
        }

        #[test]
        fn floats_read_back(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(|out| write_float32(out, value)).parse::<f32>().unwrap().to_bits(), bits);
        }

        #[test]
        fn wide_decimals_agree_with_narrow_ones(value: i128) {
            let digits = value.to_string();
            let mut wide = Vec::new();
            write_unscaled_be(&mut wide, digits.as_bytes());
            let shown = text(|out| {
                write_decimal_fixed(out, &mut Vec::new(), Decimal::parse(digits.as_bytes()).unwrap(), 0);
            });
            let expect = base64::engine::general_purpose::STANDARD.encode(&wide);
            prop_assert_eq!(shown, format!("\"{expect}\""));
        }
    }
}
