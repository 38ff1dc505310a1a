//! MySQL's JSON as Debezium's binlog client prints it, from the text that the server prints: no blanks between
//! tokens, doubles that have an exponent written out digit by digit, upper-case hexadecimal in escapes.
//!
//! The server's text no longer tells a double from a decimal, nor a date from a string: without an exponent both
//! are left as they are.

use super::json::write_string;
use std::io::Write as _;

/// Most digits behind the point of a double that is written out.
const FRACTION_MAX: usize = 1_074;

/// Writes the text as a JSON string. `None` when it is no JSON as MySQL prints it.
pub(crate) fn write_binlog_json(out: &mut Vec<u8>, scratch: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    scratch.clear();
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = match byte {
            b' ' => tail,
            b'"' => copy_string(scratch, rest)?,
            b'-' | b'0'..=b'9' => copy_number(scratch, rest)?,
            _ => {
                scratch.push(*byte);
                tail
            }
        };
    }
    write_string(out, scratch);
    Some(())
}

// Copies a string with its quotes; gives what follows it.
fn copy_string<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    out.push(b'"');
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (run, tail) = rest.split_at_checked(end)?;
        out.extend_from_slice(run);
        rest = match tail {
            [b'"', tail @ ..] => {
                out.push(b'"');
                return Some(tail);
            }
            [b'\\', b'u', tail @ ..] => {
                let (digits, tail) = tail.split_at_checked(4)?;
                out.extend_from_slice(b"\\u");
                out.extend(digits.iter().map(u8::to_ascii_uppercase));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.extend([b'\\', *escaped]);
                tail
            }
            _ => return None,
        };
    }
}

fn copy_number<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> Option<&'a [u8]> {
    let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let end = text.iter().position(|byte| !part(byte)).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    if number.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        write_out(out, std::str::from_utf8(number).ok()?.parse().ok()?);
    } else {
        out.extend_from_slice(number);
    }
    Some(rest)
}

// All digits of a double, which are finitely many.
fn write_out(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    let digits = if value.fract() == 0.0 { 0 } else { FRACTION_MAX };
    // Writing into a buffer in memory does not fail.
    let _ = write!(out, "{value:.digits$}");
    if digits > 0 {
        let zeros = out.iter().skip(start).rev().take_while(|byte| **byte == b'0').count();
        out.truncate(out.len() - zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write_binlog_json(&mut out, &mut Vec::new(), text.as_bytes())?;
        Some(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn my_74_text_is_that_of_the_binlog_client() {
        for (text, expect) in [
            (r#"{"a": 1, "b": [1, 2.5, null, true, "x"]}"#, r#"{"a":1,"b":[1,2.5,null,true,"x"]}"#),
            (r#"{"k: v": "a, b  \"c\" \\"}"#, r#"{"k: v":"a, b  \"c\" \\"}"#),
            (r#""a\u001fb\u000bc\n \u00ff""#, r#""a\u001Fb\u000Bc\n \u00FF""#),
            ("[]", "[]"),
            ("null", "null"),
            ("-12.50", "-12.50"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e15", "1000000000000000"),
            (
                "[1e100]",
                "[10000000000000000159028911097599180468360808563945281389781327557747838772170381060813469985856815104]",
            ),
            ("-2.5e-7", "-0.00000024999999999999998868702795647156467140348468092270195484161376953125"),
            ("123456789.5", "123456789.5"),
        ] {
            assert_eq!(compact(text).as_deref(), Some(expect), "{text}");
        }
        for text in [r#""open"#, r#""\u00"#, "1e", r#"{"a": 1-e}"#, "\"\\"] {
            assert_eq!(compact(text), None, "{text}");
        }
    }
}
