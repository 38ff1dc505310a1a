//! Types that Debezium takes apart: points, and PostgreSQL's `hstore` from the server's text.

use super::json::{write_base64, write_escaped, write_int, write_string};
use super::number::write_float64;

/// Writes `(1.5,-2.5)` as `{"x":1.5,"y":-2.5,"wkb":"...","srid":null}`. `None` when it is no such text.
pub(crate) fn write_point(out: &mut Vec<u8>, scratch: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(text).ok()?;
    let (x, y) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let (x, y) = (x.parse::<f64>().ok()?, y.parse::<f64>().ok()?);
    // Little endian, geometry type 1, two coordinates.
    scratch.clear();
    scratch.extend_from_slice(&[1, 1, 0, 0, 0]);
    scratch.extend_from_slice(&x.to_le_bytes());
    scratch.extend_from_slice(&y.to_le_bytes());
    write_coordinates(out, x, y, scratch, 0);
    Some(())
}

/// Writes the well-known binary of a point in the same form. `None` when it is none.
pub(crate) fn write_wkb_point(out: &mut Vec<u8>, srid: u32, wkb: &[u8]) -> Option<()> {
    let (order, rest) = wkb.split_first()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (x, rest) = rest.split_first_chunk::<8>()?;
    let y = rest.first_chunk::<8>()?;
    let (kind, x, y) = match order {
        0 => (u32::from_be_bytes(*kind), f64::from_be_bytes(*x), f64::from_be_bytes(*y)),
        _ => (u32::from_le_bytes(*kind), f64::from_le_bytes(*x), f64::from_le_bytes(*y)),
    };
    if kind != 1 {
        return None;
    }
    write_coordinates(out, x, y, wkb, srid);
    Some(())
}

/// Writes the end of a geometry: `,"srid":n}`, null for none.
pub(crate) fn write_srid(out: &mut Vec<u8>, srid: u32) {
    out.extend_from_slice(b",\"srid\":");
    match srid {
        0 => out.extend_from_slice(b"null"),
        srid => write_int(out, srid),
    }
    out.push(b'}');
}

fn write_coordinates(out: &mut Vec<u8>, x: f64, y: f64, wkb: &[u8], srid: u32) {
    out.extend_from_slice(b"{\"x\":");
    write_float64(out, x);
    out.extend_from_slice(b",\"y\":");
    write_float64(out, y);
    out.extend_from_slice(b",\"wkb\":");
    write_base64(out, wkb);
    write_srid(out, srid);
}

/// Writes `"k"=>"v", "n"=>NULL` as a JSON object within a JSON string. `None` when it is no such text.
pub(crate) fn write_hstore(out: &mut Vec<u8>, scratch: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    scratch.clear();
    scratch.push(b'{');
    let mut rest = text;
    while !rest.is_empty() {
        if scratch.len() > 1 {
            rest = rest.strip_prefix(b", ")?;
            scratch.push(b',');
        }
        rest = hstore_text(scratch, rest)?.strip_prefix(b"=>")?;
        scratch.push(b':');
        rest = match rest.strip_prefix(b"NULL") {
            Some(tail) => {
                scratch.extend_from_slice(b"null");
                tail
            }
            None => hstore_text(scratch, rest)?,
        };
    }
    scratch.push(b'}');
    write_string(out, scratch);
    Some(())
}

// A quoted part, in which a backslash makes the next byte plain; gives what follows it.
fn hstore_text<'a>(out: &mut Vec<u8>, text: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    out.push(b'"');
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (run, tail) = rest.split_at_checked(end)?;
        write_escaped(out, run);
        match tail {
            [b'"', tail @ ..] => {
                out.push(b'"');
                return Some(tail);
            }
            // Only `"` and `\` are ever escaped by the server.
            [b'\\', escaped, tail @ ..] => {
                write_escaped(out, std::slice::from_ref(escaped));
                rest = tail;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hstore_becomes_json_in_a_string() {
        for (text, expect) in [
            ("", Some(r#""{}""#)),
            (r#""k"=>"v", "n"=>NULL"#, Some(r#""{\"k\":\"v\",\"n\":null}""#)),
            (r#""a\"b"=>"c\\d""#, Some(r#""{\"a\\\"b\":\"c\\\\d\"}""#)),
            (r#""k"=>"#, None),
            ("k=>v", None),
        ] {
            let mut out = Vec::new();
            let written = write_hstore(&mut out, &mut Vec::new(), text.as_bytes());
            assert_eq!(written.map(|()| String::from_utf8(out).unwrap()).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn points_carry_well_known_binary() {
        let mut out = Vec::new();
        assert!(write_point(&mut out, &mut Vec::new(), b"(1.5,-2.5)").is_some());
        let expect = r#"{"x":1.5,"y":-2.5,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAATA","srid":null}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expect);
        assert!(write_point(&mut Vec::new(), &mut Vec::new(), b"1.5,2").is_none());
        let mut wkb = vec![1, 1, 0, 0, 0];
        wkb.extend_from_slice(&1.5f64.to_le_bytes());
        wkb.extend_from_slice(&(-2.5f64).to_le_bytes());
        let mut out = Vec::new();
        assert!(write_wkb_point(&mut out, 4326, &wkb).is_some());
        assert_eq!(String::from_utf8(out).unwrap(), expect.replace("null", "4326"));
        assert!(write_wkb_point(&mut Vec::new(), 0, &[1, 2, 0, 0]).is_none());
    }
}
