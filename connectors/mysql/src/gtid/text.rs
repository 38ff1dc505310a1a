//! Sets as text, as the server writes them and takes them.
//!
//! Source: MySQL manual, "GTID Sets": `uuid:n[-m][:n[-m]]…[:tag:n[-m]…]…`, joined by commas; blanks and line ends may
//! stand anywhere between.

use super::set::Interval;
use super::{GtidError, GtidSet, LAST_NUMBER, Uuid, is_tag};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// As the server writes: sources apart by a comma and a line end. The alternate form (`{:#}`) has no line ends.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for source in &self.sources {
            if last != Some(source.sid) {
                if last.is_some() {
                    f.write_str(if f.alternate() { "," } else { ",\n" })?;
                }
                Uuid(&source.sid).fmt(f)?;
                last = Some(source.sid);
            }
            if let Some(tag) = &source.tag {
                write!(f, ":{tag}")?;
            }
            for Interval { first, last } in &source.intervals {
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<GtidSet, GtidError> {
        GtidSet::parse(text)
    }
}

impl GtidSet {
    /// Reads text of a server or a person. Empty text is the empty set; empty parts between commas are passed over, as
    /// the server does. An interval that runs backwards, which the server drops without a word, is an error.
    pub(crate) fn parse(text: &str) -> Result<GtidSet, GtidError> {
        let mut set = GtidSet::default();
        let mut input = Input { text, at: 0 };
        loop {
            while input.take(b',') {}
            if input.peek().is_none() {
                return Ok(set);
            }
            input.source(&mut set)?;
            if input.peek().is_some_and(|byte| byte != b',') {
                return Err(input.error("a comma or a colon is missing"));
            }
        }
    }
}

struct Input<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Input<'a> {
    fn error(&self, problem: &'static str) -> GtidError {
        GtidError::Text { problem, at: self.at }
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += blanks;
        rest.get(blanks).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Letters, digits and underscores.
    fn word(&mut self) -> &'a str {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// `uuid` and what hangs on it.
    fn source(&mut self, set: &mut GtidSet) -> Result<(), GtidError> {
        let sid = self.uuid()?;
        let mut tag: Option<Arc<str>> = None;
        while self.take(b':') {
            let start = self.at;
            let word = self.word();
            if word.starts_with(|first: char| first.is_ascii_digit()) {
                let first = self.number(word)?;
                let last = if self.take(b'-') {
                    let word = self.word();
                    self.number(word)?
                } else {
                    first
                };
                if last < first {
                    return Err(self.error("an interval runs backwards"));
                }
                set.add(&sid, tag.as_ref(), Interval { first, last });
                continue;
            }
            let name = word.to_ascii_lowercase();
            if !is_tag(&name) {
                self.at = start;
                return Err(self.error("neither a number nor a tag"));
            }
            tag = Some(Arc::from(name));
        }
        Ok(())
    }

    fn number(&self, word: &str) -> Result<u64, GtidError> {
        let number = word.parse().ok().filter(|number| (1..=LAST_NUMBER).contains(number));
        number.ok_or_else(|| self.error("not a number from 1 to 9223372036854775806"))
    }

    /// 32 hexadecimal digits with or without the four dashes.
    fn uuid(&mut self) -> Result<[u8; 16], GtidError> {
        self.peek();
        let mut sid = [0; 16];
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        let dashed = bytes.get(at + 8) == Some(&b'-');
        for (index, byte) in sid.iter_mut().enumerate() {
            if dashed && matches!(index, 4 | 6 | 8 | 10) {
                if bytes.get(at) != Some(&b'-') {
                    return Err(self.error("not a uuid"));
                }
                at += 1;
            }
            for _ in 0..2 {
                let digit = bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                let digit = digit.ok_or_else(|| self.error("not a uuid"))?;
                *byte = *byte << 4 | digit as u8;
                at += 1;
            }
        }
        self.at = at;
        Ok(sid)
    }
}
