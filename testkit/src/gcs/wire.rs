//! HTTP/1.1 as the stand-in for Google's store speaks it: heads, bodies of a known length, names and values encoded with `%`.
//! Knows no object.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest body that is taken: far more than one part of an upload.
const BODY_MAX: usize = 256 << 20;

/// A request, decoded.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the first slash.
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    /// By names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// What comes back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// An error as Google words it.
    pub(super) fn error(status: u16, code: &str) -> Answer {
        Answer::new(status, format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"))
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

/// The next request; `None` when the client has no more.
pub(super) fn read(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let Some(first) = line(reader)? else { return Ok(None) };
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let (path, query) = words.next().map(|target| target.split_once('?').unwrap_or((target, ""))).context("no path")?;
    let mut request = Request { method, path: decode(path.trim_start_matches('/'))?, ..Request::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.query.insert(decode(name)?, decode(&value.replace('+', " "))?);
    }
    loop {
        let header = line(reader)?.context("a head without an end")?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').context("a header without a value")?;
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.headers.get("content-length").map_or(Ok(0), |length| length.parse::<usize>())?;
    if length > BODY_MAX {
        bail!("a body of {length} bytes");
    }
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    let read = reader.by_ref().take(64 << 10).read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}

/// Writes an answer in one piece; without its body when only the head was asked for.
pub(super) fn write(mut client: impl Write, request: &Request, answer: Answer) -> Result<()> {
    client.write_all(&encode(request, answer)?)?;
    Ok(())
}

/// The first half of it.
pub(super) fn write_half(mut client: impl Write, request: &Request, answer: Answer) -> Result<()> {
    let bytes = encode(request, answer)?;
    client.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
    Ok(())
}

fn encode(request: &Request, answer: Answer) -> Result<Vec<u8>> {
    let mut bytes = format!("HTTP/1.1 {} -\r\nContent-Length: {}\r\n", answer.status, answer.body.len()).into_bytes();
    for (name, value) in &answer.headers {
        write!(bytes, "{name}: {value}\r\n")?;
    }
    bytes.extend_from_slice(b"\r\n");
    if request.method != "HEAD" {
        bytes.extend_from_slice(&answer.body);
    }
    Ok(bytes)
}

fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.unwrap_or_default()).to_digit(16));
        let [Some(high), Some(low)] = digits else { bail!("`{text}` is not encoded well") };
        bytes.push(u8::try_from(high * 16 + low)?);
    }
    Ok(String::from_utf8(bytes)?)
}

/// A moment in its two forms: `Thu, 26 Nov 2026 08:20:40 GMT` and `2026-11-26T08:20:40.000Z`.
pub(super) fn dates(moment: SystemTime) -> (String, String) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while let Some(length) = lengths.get(month).filter(|length| day >= **length) {
        day -= length;
        month += 1;
    }
    let (name, weekday) = (MONTHS.get(month).unwrap_or(&"Dec"), days % 7);
    let weekday = usize::try_from(weekday).ok().and_then(|weekday| DAYS.get(weekday)).unwrap_or(&"Thu");
    let (day, month, millis) = (day + 1, month + 1, since.subsec_millis());
    (
        format!("{weekday}, {day:02} {name} {year} {hour:02}:{minute:02}:{second:02} GMT"),
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"),
    )
}
