//! The parser's place among a statement's tokens: looking ahead, accepting, expecting, names, and faults. Knows no
//! statement.

use super::token::{Lexer, Spanned, Token};
use super::{Context, DdlError, wording};
use std::borrow::Cow;
use std::sync::Arc;
use tidewire_core::TableName;

/// A place among the tokens of a statement. Tokens are read when first looked at.
pub(super) struct Cursor<'a> {
    sql: &'a str,
    lexer: Lexer<'a>,
    seen: Vec<Spanned<'a>>,
    at: usize,
    pub(super) context: &'a Context<'a>,
    /// The only table the statement can change, once that is certain.
    pub(super) table: Option<TableName>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(sql: &'a str, context: &'a Context<'a>) -> Cursor<'a> {
        Cursor { sql, lexer: Lexer::new(sql, context), seen: Vec::new(), at: 0, context, table: None }
    }

    fn spanned(&mut self, ahead: usize) -> &Spanned<'a> {
        const END: Spanned<'static> = Spanned { token: Token::End, start: 0, end: 0 };
        let wanted = self.at + ahead;
        while self.seen.len() <= wanted {
            let next = self.lexer.next();
            self.seen.push(next);
        }
        self.seen.get(wanted).unwrap_or(&END)
    }

    /// The token so many after the next one.
    pub(super) fn token(&mut self, ahead: usize) -> &Token<'a> {
        &self.spanned(ahead).token
    }

    /// Goes past the next token.
    pub(super) fn advance(&mut self) {
        self.spanned(0);
        self.at += 1;
    }

    /// Passes the next token, whatever it is, if it can be read: a fault repeats itself for ever, and so does the end.
    pub(super) fn pass(&mut self) -> Result<(), DdlError> {
        if matches!(self.token(0), Token::Bad(_)) {
            return Err(self.error("more of the statement"));
        }
        self.advance();
        Ok(())
    }

    /// The place, for [`Self::back_to`].
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Back to a place.
    pub(super) fn back_to(&mut self, place: usize) {
        self.at = place;
    }

    /// The first byte of the next token.
    pub(super) fn start(&mut self) -> usize {
        self.spanned(0).start
    }

    /// The byte after the last token passed.
    pub(super) fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|last| self.seen.get(last)).map_or(0, |token| token.end)
    }

    /// The statement's text between two bytes.
    pub(super) fn source(&self, start: usize, end: usize) -> &'a str {
        self.sql.get(start..end).unwrap_or_default()
    }

    /// The word without quotes at a place ahead, as written.
    pub(super) fn word(&mut self, ahead: usize) -> Option<&'a str> {
        match self.token(ahead) {
            Token::Word(word) => Some(*word),
            _ => None,
        }
    }

    /// Whether the word at a place ahead is this keyword.
    pub(super) fn is_at(&mut self, ahead: usize, keyword: &str) -> bool {
        self.word(ahead).is_some_and(|word| word.eq_ignore_ascii_case(keyword))
    }

    /// Whether the next word is this keyword.
    pub(super) fn is(&mut self, keyword: &str) -> bool {
        self.is_at(0, keyword)
    }

    /// Whether the next word is one of these keywords.
    pub(super) fn is_any(&mut self, keywords: &[&str]) -> bool {
        self.word(0).is_some_and(|word| keywords.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)))
    }

    /// Whether these keywords follow one another.
    pub(super) fn are(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().enumerate().all(|(ahead, keyword)| self.is_at(ahead, keyword))
    }

    /// Passes the keyword if it is next.
    pub(super) fn accept(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        self.at += usize::from(found);
        found
    }

    /// Passes one of the keywords if it is next.
    pub(super) fn accept_any(&mut self, keywords: &[&str]) -> bool {
        let found = self.is_any(keywords);
        self.at += usize::from(found);
        found
    }

    /// Passes the keywords if all of them are next.
    pub(super) fn accept_all(&mut self, keywords: &[&str]) -> bool {
        let found = self.are(keywords);
        self.at += if found { keywords.len() } else { 0 };
        found
    }

    /// Passes the keyword.
    pub(super) fn expect(&mut self, keyword: &'static str) -> Result<(), DdlError> {
        if self.accept(keyword) { Ok(()) } else { Err(self.error(keyword)) }
    }

    /// Whether the token at a place ahead is this character.
    pub(super) fn is_sign_at(&mut self, ahead: usize, sign: char) -> bool {
        *self.token(ahead) == Token::Sign(sign)
    }

    /// Whether the next token is this character.
    pub(super) fn is_sign(&mut self, sign: char) -> bool {
        self.is_sign_at(0, sign)
    }

    /// Passes the character if it is next.
    pub(super) fn accept_sign(&mut self, sign: char) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    /// Passes the character.
    pub(super) fn expect_sign(&mut self, sign: char) -> Result<(), DdlError> {
        if self.accept_sign(sign) { Ok(()) } else { Err(self.error(format!("`{sign}`"))) }
    }

    /// Whether the statement ends here, a `;` aside.
    pub(super) fn at_end(&mut self) -> bool {
        self.is_sign(';') || *self.token(0) == Token::End
    }

    /// Passes the end.
    pub(super) fn expect_end(&mut self) -> Result<(), DdlError> {
        while self.accept_sign(';') {}
        if *self.token(0) == Token::End { Ok(()) } else { Err(self.error("the end of the statement")) }
    }

    /// What is wrong at the next token.
    pub(super) fn error(&mut self, expected: impl Into<Cow<'static, str>>) -> DdlError {
        const SHOWN: usize = 40;
        let spanned = self.spanned(0).clone();
        let mut expected = expected.into();
        let found = match spanned.token {
            Token::End => "its end".to_owned(),
            Token::Bad(fault) => {
                expected = Cow::Borrowed(fault);
                "other text".to_owned()
            }
            _ => {
                let rest = self.source(spanned.start, self.sql.len());
                format!("`{}`", wording::without_values(rest, self.context, SHOWN))
            }
        };
        DdlError { offset: spanned.start, expected, found, table: self.table.clone() }
    }

    /// A name, quoted or not.
    pub(super) fn name(&mut self) -> Result<Arc<str>, DdlError> {
        let name: Arc<str> = match self.token(0) {
            Token::Word(word) => Arc::from(*word),
            Token::Name(name) => Arc::from(&**name),
            _ => return Err(self.error("a name")),
        };
        self.advance();
        Ok(name)
    }

    /// Whether a name is next.
    pub(super) fn is_name(&mut self) -> bool {
        matches!(self.token(0), Token::Word(_) | Token::Name(_))
    }

    /// A name or a string: collations, engines.
    pub(super) fn name_or_text(&mut self) -> Result<Arc<str>, DdlError> {
        if matches!(self.token(0), Token::Text(_)) { self.text() } else { self.name() }
    }

    /// A name of a database or table, folded if the server folds.
    fn folded(&mut self) -> Result<Arc<str>, DdlError> {
        let name = self.name()?;
        Ok(if self.context.fold_names { Arc::from(name.to_lowercase()) } else { name })
    }

    /// The name of a database.
    pub(super) fn database_name(&mut self) -> Result<Arc<str>, DdlError> {
        self.folded()
    }

    /// The statement's default database.
    pub(super) fn default_database(&mut self) -> Result<Arc<str>, DdlError> {
        match self.context.database {
            Some(database) if self.context.fold_names => Ok(Arc::from(database.to_lowercase())),
            Some(database) => Ok(Arc::from(database)),
            None => Err(self.error("the name of a database, for the statement has no default")),
        }
    }

    /// `table`, `database.table` or `.table`; a table without database is the default database's.
    pub(super) fn table_name(&mut self) -> Result<TableName, DdlError> {
        if self.accept_sign('.') {
            let table = self.folded()?;
            return Ok(TableName::new(self.default_database()?, table));
        }
        let first = self.folded()?;
        if self.accept_sign('.') {
            return Ok(TableName::new(first, self.folded()?));
        }
        Ok(TableName::new(self.default_database()?, first))
    }

    /// A column that may be qualified with its table and database: only its own name.
    pub(super) fn column_name(&mut self) -> Result<Arc<str>, DdlError> {
        self.accept_sign('.');
        let mut name = self.name()?;
        while self.accept_sign('.') {
            name = self.name()?;
        }
        Ok(name)
    }

    /// A string; strings beside one another are one. `_charset` before it is passed.
    pub(super) fn text(&mut self) -> Result<Arc<str>, DdlError> {
        if self.word(0).is_some_and(|word| word.starts_with('_')) && matches!(self.token(1), Token::Text(_)) {
            self.advance();
        }
        let Token::Text(text) = self.token(0) else { return Err(self.error("a string")) };
        let mut text = text.clone();
        self.advance();
        while let Token::Text(more) = self.token(0) {
            text.to_mut().push_str(more);
            self.advance();
        }
        Ok(Arc::from(&*text))
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Result<u64, DdlError> {
        let Token::Number(digits) = self.token(0) else { return Err(self.error("a number")) };
        let Ok(number) = digits.parse() else { return Err(self.error("a whole number")) };
        self.advance();
        Ok(number)
    }

    /// A whole number not above a limit.
    pub(super) fn number_up_to<T: TryFrom<u64>>(&mut self, limit: u64) -> Result<T, DdlError> {
        let place = self.at;
        let number = self.number()?;
        match T::try_from(number) {
            Ok(small) if number <= limit => Ok(small),
            _ => {
                self.at = place;
                Err(self.error(format!("a number up to {limit}")))
            }
        }
    }

    /// Passes parentheses and what is between, and returns the text within.
    pub(super) fn parenthesised(&mut self) -> Result<&'a str, DdlError> {
        self.expect_sign('(')?;
        let start = self.last_end();
        let mut depth = 1_u32;
        loop {
            match self.token(0) {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') if depth == 1 => break,
                Token::Sign(')') => depth -= 1,
                Token::End | Token::Bad(_) => return Err(self.error("`)`")),
                _ => {}
            }
            self.advance();
        }
        let end = self.start();
        self.advance();
        Ok(self.source(start, end).trim())
    }

    /// Passes tokens until one of the keywords, a `,`, a `;` or the end, all outside parentheses.
    pub(super) fn skip_to(&mut self, keywords: &[&str]) -> Result<(), DdlError> {
        while !self.is_any(keywords) {
            match self.token(0) {
                Token::Sign('(') => {
                    self.parenthesised()?;
                }
                Token::Bad(_) => return Err(self.error("more of the statement")),
                Token::Sign(',' | ';' | ')') | Token::End => return Ok(()),
                _ => self.advance(),
            }
        }
        Ok(())
    }
}
