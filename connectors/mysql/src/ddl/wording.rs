//! A statement as an error may repeat it. Its names and keywords tell a person what it does; its values may be a row's, and
//! its strings a password (`CONNECTION`, `DATA DIRECTORY`, comments), so that none of them is ever shown.

use super::Context;
use super::token::{Lexer, Token};
use std::fmt;

/// Most characters of a statement that an error repeats.
const SHOWN: usize = 200;

/// What stands for a value.
const VALUE: &str = "?";

/// A statement's text and what its meaning depends on. Displayed without its values, from its begin and on one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wording<'a> {
    /// The statement, as the log has it.
    pub(crate) text: &'a str,
    /// What its meaning depends on.
    pub(crate) context: &'a Context<'a>,
}

impl fmt::Display for Wording<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_values(self.text, self.context, SHOWN))
    }
}

/// At most so many characters of a statement, a `?` in the place of every value, and no comments. Ends at what is no token,
/// and at text that was not read right: from there on no quote says for certain where a string begins.
pub(super) fn without_values(sql: &str, context: &Context<'_>, limit: usize) -> String {
    const CUT: &str = "...";
    let mut lexer = Lexer::new(sql, context);
    let mut shown = String::new();
    let mut left = limit;
    let mut last_end = 0;
    loop {
        let spanned = lexer.next();
        let source = sql.get(spanned.start..spanned.end).unwrap_or_default();
        let piece = match spanned.token {
            Token::End => return shown,
            Token::Bad(_) => return shown + CUT,
            _ if source.contains(char::REPLACEMENT_CHARACTER) => return shown + CUT,
            Token::Text(_) | Token::Hex(_) | Token::Bits(_) | Token::Number(_) => VALUE.to_owned(),
            Token::Word(_) | Token::Name(_) | Token::Sign(_) => source.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let gap = usize::from(spanned.start > last_end && !shown.is_empty());
        let length = gap + piece.chars().count();
        if length > left {
            return shown + CUT;
        }
        left -= length;
        last_end = spanned.end;
        shown.extend(std::iter::repeat_n(' ', gap));
        shown.push_str(&piece);
    }
}
