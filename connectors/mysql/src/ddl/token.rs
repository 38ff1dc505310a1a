//! A statement's tokens. Conditional comments are opened here, so that the parser sees what the server ran. Knows no
//! grammar.
//!
//! Sources: MySQL manual, "Language Structure" (literals, names, comments); `sql/sql_lex.cc` of both servers.

use super::{Context, sql_mode};
use crate::model::Flavour;
use std::borrow::Cow;

/// One token. Borrowed from the statement unless quoting had to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word without quotes: a keyword or a name.
    Word(&'a str),
    /// A quoted name.
    Name(Cow<'a, str>),
    /// A string.
    Text(Cow<'a, str>),
    /// The digits of `x'..'` or `0x..`.
    Hex(&'a str),
    /// The digits of `b'..'` or `0b..`.
    Bits(&'a str),
    /// A number without sign, as written.
    Number(&'a str),
    /// Any other character.
    Sign(char),
    /// The statement ends.
    End,
    /// Cannot be read as a token; what would have been expected. Nothing follows.
    Bad(&'static str),
}

/// A token and where it is.
#[derive(Clone, Debug)]
pub(super) struct Spanned<'a> {
    pub(super) token: Token<'a>,
    /// First byte.
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
}

/// Cuts a statement into tokens, one at a time: what is not asked for is not read.
pub(super) struct Lexer<'a> {
    sql: &'a str,
    at: usize,
    flavour: Flavour,
    version: u32,
    ansi_quotes: bool,
    brackets: bool,
    backslashes: bool,
    /// Open conditional comments.
    open: u32,
    /// Whether the last token may be a name that a `.` continues.
    named: bool,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || byte == 0
}

impl<'a> Lexer<'a> {
    pub(super) fn new(sql: &'a str, context: &Context<'_>) -> Lexer<'a> {
        let mode = |bit| context.sql_mode & bit != 0;
        let maria = context.flavour == Flavour::MariaDb;
        Lexer {
            sql,
            at: 0,
            flavour: context.flavour,
            version: context.server_version,
            ansi_quotes: mode(sql_mode::ANSI_QUOTES),
            brackets: maria && mode(sql_mode::MSSQL),
            backslashes: !mode(sql_mode::NO_BACKSLASH_ESCAPES),
            open: 0,
            named: false,
        }
    }

    /// The next token; [`Token::End`] for ever at the end, [`Token::Bad`] for ever after a fault.
    pub(super) fn next(&mut self) -> Spanned<'a> {
        if let Err(expected) = self.skip_blank() {
            return Spanned { token: Token::Bad(expected), start: self.at, end: self.at };
        }
        let start = self.at;
        let token = self.read();
        self.named = matches!(token, Token::Word(_) | Token::Name(_));
        if matches!(token, Token::Bad(_)) {
            self.at = start;
        }
        Spanned { token, start, end: self.at }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.sql.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.sql.get(start..end).unwrap_or_default()
    }

    fn skip_blank(&mut self) -> Result<(), &'static str> {
        loop {
            match self.byte(0) {
                Some(byte) if is_space(byte) => self.at += 1,
                Some(b'#') => self.skip_line(),
                Some(b'-') if self.byte(1) == Some(b'-') && self.byte(2).is_none_or(|b| is_space(b) || b < 0x20) => {
                    self.skip_line();
                }
                Some(b'/') if self.byte(1) == Some(b'*') => self.comment()?,
                Some(b'*') if self.open > 0 && self.byte(1) == Some(b'/') => {
                    self.open -= 1;
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        self.at = match memchr::memchr(b'\n', self.rest().as_bytes()) {
            Some(length) => self.at + length + 1,
            None => self.sql.len(),
        };
    }

    /// Enters a conditional comment that this server runs, passes over any other. MariaDB does not run those for MySQL
    /// 5.7 and above (50700 to 99999) and has its own `/*M!`. A version has 5 digits, or 6.
    fn comment(&mut self) -> Result<(), &'static str> {
        let maria = self.flavour == Flavour::MariaDb;
        let own = maria && self.byte(2) == Some(b'M') && self.byte(3) == Some(b'!');
        if !own && self.byte(2) != Some(b'!') {
            return self.skip_comment(0);
        }
        self.at += if own { 4 } else { 3 };
        let digits = self.rest().bytes().take(6).take_while(u8::is_ascii_digit).count();
        // MySQL took to six digits in 8.0.34; before, the sixth belonged to the text.
        let digits = if digits == 6 && !maria && self.version < 80_034 { 5 } else { digits };
        if digits < 5 {
            self.open += 1;
            return Ok(());
        }
        let version: u32 = self.slice(self.at, self.at + digits).parse().unwrap_or(u32::MAX);
        self.at += digits;
        let foreign = maria && !own && (50_700..=99_999).contains(&version);
        if version <= self.version && !foreign {
            self.open += 1;
            return Ok(());
        }
        self.skip_comment(1)
    }

    /// Passes over a comment; `depth` levels of comments within it are allowed.
    fn skip_comment(&mut self, depth: u32) -> Result<(), &'static str> {
        const FAULT: &str = "the end of the comment";
        if depth == 0 {
            self.at += 2;
            let length = memchr::memmem::find(self.rest().as_bytes(), b"*/").ok_or(FAULT)?;
            self.at += length + 2;
            return Ok(());
        }
        loop {
            let bytes = self.rest().as_bytes();
            self.at += memchr::memchr2(b'*', b'/', bytes).ok_or(FAULT)?;
            match (self.byte(0), self.byte(1)) {
                (Some(b'*'), Some(b'/')) => {
                    self.at += 2;
                    return Ok(());
                }
                (Some(b'/'), Some(b'*')) => self.skip_comment(depth - 1)?,
                _ => self.at += 1,
            }
        }
    }

    fn read(&mut self) -> Token<'a> {
        let Some(byte) = self.byte(0) else {
            return if self.open > 0 { Token::Bad("the end of the comment") } else { Token::End };
        };
        match byte {
            b'\'' => self.text(b'\''),
            b'"' if !self.ansi_quotes => self.text(b'"'),
            b'"' => self.name(b'"'),
            b'`' => self.name(b'`'),
            b'[' if self.brackets => self.name(b']'),
            b'0'..=b'9' => self.number(),
            b'.' if !self.named && self.byte(1).is_some_and(|b| b.is_ascii_digit()) => self.fraction(self.at),
            _ if is_word(byte) => self.word(byte),
            _ => match self.rest().chars().next() {
                Some(sign) => {
                    self.at += sign.len_utf8();
                    Token::Sign(sign)
                }
                None => Token::End,
            },
        }
    }

    fn word(&mut self, first: u8) -> Token<'a> {
        let quoted = self.byte(1) == Some(b'\'');
        match first {
            b'n' | b'N' if quoted => {
                self.at += 1;
                return self.text(b'\'');
            }
            b'x' | b'X' if quoted => {
                return self.digits(u8::is_ascii_hexdigit).map_or(Token::Bad("hexadecimal digits"), Token::Hex);
            }
            b'b' | b'B' if quoted => {
                return self
                    .digits(|byte| matches!(byte, b'0' | b'1'))
                    .map_or(Token::Bad("binary digits"), Token::Bits);
            }
            _ => {}
        }
        let start = self.at;
        self.pass_word();
        Token::Word(self.slice(start, self.at))
    }

    fn pass_word(&mut self) {
        self.at += self.rest().bytes().take_while(|byte| is_word(*byte)).count();
    }

    /// The digits of `x'..'`, `b'..'`.
    fn digits(&mut self, is_digit: impl Fn(&u8) -> bool) -> Option<&'a str> {
        let start = self.at + 2;
        let length = self.slice(start, self.sql.len()).bytes().take_while(|byte| is_digit(byte)).count();
        if self.sql.as_bytes().get(start + length) != Some(&b'\'') {
            return None;
        }
        self.at = start + length + 1;
        Some(self.slice(start, start + length))
    }

    /// A number, or a name that begins with digits. After a `.` such as in `db.1t` it is a name: [`Self::named`] keeps the
    /// point from being a fraction's.
    fn number(&mut self) -> Token<'a> {
        let start = self.at;
        self.pass_word();
        let word = self.slice(start, self.at);
        let digits = |text: &str, ok: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| ok(&byte));
        if let Some(hex) = word.strip_prefix("0x").filter(|hex| digits(hex, u8::is_ascii_hexdigit)) {
            return Token::Hex(hex);
        }
        if let Some(bits) = word.strip_prefix("0b").filter(|bits| digits(bits, |byte| matches!(byte, b'0' | b'1'))) {
            return Token::Bits(bits);
        }
        if digits(word, u8::is_ascii_digit) {
            if self.byte(0) == Some(b'.') {
                return self.fraction(start);
            }
            return Token::Number(word);
        }
        let whole = word.bytes().take_while(u8::is_ascii_digit).count();
        let exponent = word.get(whole..).unwrap_or_default();
        match exponent.strip_prefix(['e', 'E']) {
            Some(power) if digits(power, u8::is_ascii_digit) => Token::Number(word),
            Some("")
                if matches!(self.byte(0), Some(b'+' | b'-')) && self.byte(1).is_some_and(|b| b.is_ascii_digit()) =>
            {
                self.at += 1;
                self.pass_digits();
                Token::Number(self.slice(start, self.at))
            }
            _ => Token::Word(word),
        }
    }

    fn pass_digits(&mut self) {
        self.at += self.rest().bytes().take_while(u8::is_ascii_digit).count();
    }

    /// The fraction and exponent of a number that began at `start`; the place is at its point.
    fn fraction(&mut self, start: usize) -> Token<'a> {
        self.at += 1;
        self.pass_digits();
        if matches!(self.byte(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(1), Some(b'+' | b'-')));
            if self.byte(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.pass_digits();
            }
        }
        Token::Number(self.slice(start, self.at))
    }

    /// A quoted name; the closing quote doubled stands for itself.
    fn name(&mut self, close: u8) -> Token<'a> {
        let mut text = Cow::Borrowed("");
        self.at += 1;
        loop {
            let Some(length) = memchr::memchr(close, self.rest().as_bytes()) else {
                return Token::Bad("the end of the name");
            };
            append(&mut text, self.slice(self.at, self.at + length));
            self.at += length + 1;
            if self.byte(0) != Some(close) {
                return Token::Name(text);
            }
            append(&mut text, self.slice(self.at, self.at + 1));
            self.at += 1;
        }
    }

    /// A string. Escapes as in the manual's "String Literals"; `\%` and `\_` keep their backslash.
    fn text(&mut self, quote: u8) -> Token<'a> {
        const FAULT: Token<'static> = Token::Bad("the end of the string");
        let mut text = Cow::Borrowed("");
        self.at += 1;
        loop {
            let bytes = self.rest().as_bytes();
            let found =
                if self.backslashes { memchr::memchr2(quote, b'\\', bytes) } else { memchr::memchr(quote, bytes) };
            let Some(length) = found else { return FAULT };
            append(&mut text, self.slice(self.at, self.at + length));
            self.at += length;
            if self.byte(0) == Some(quote) {
                self.at += 1;
                if self.byte(0) != Some(quote) {
                    return Token::Text(text);
                }
                append(&mut text, self.slice(self.at, self.at + 1));
                self.at += 1;
                continue;
            }
            self.at += 1;
            let Some(escaped) = self.rest().chars().next() else { return FAULT };
            let start = self.at;
            self.at += escaped.len_utf8();
            match escaped {
                'n' => append(&mut text, "\n"),
                't' => append(&mut text, "\t"),
                'r' => append(&mut text, "\r"),
                'b' => append(&mut text, "\u{8}"),
                '0' => append(&mut text, "\0"),
                'Z' => append(&mut text, "\u{1a}"),
                '%' | '_' => append(&mut text, self.slice(start - 1, self.at)),
                _ => append(&mut text, self.slice(start, self.at)),
            }
        }
    }
}

/// Stays borrowed while there is but one piece.
fn append<'a>(text: &mut Cow<'a, str>, piece: &'a str) {
    if text.is_empty() {
        *text = Cow::Borrowed(piece);
    } else if !piece.is_empty() {
        text.to_mut().push_str(piece);
    }
}
