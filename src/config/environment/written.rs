//! How a variable may write a number, a flag, a list or a table: `5`, `true`, `[a, b]`, `{ file = "x" }`, words without
//! quotes. What is none of these is text, and only that. Pure.

use figment::value::{Dict, Value};

/// Tables and lists inside each other, at most.
const DEPTH_MAX: usize = 16;

/// A list or a table, and what is in it.
#[derive(Debug, PartialEq)]
pub(super) enum Structure {
    /// Text in quotes.
    Quoted(String),
    /// A word without quotes: text, a number or a flag.
    Bare(String),
    /// `[a, b]`.
    List(Vec<Structure>),
    /// `{ a = b }`.
    Table(Vec<(String, Structure)>),
}

impl Structure {
    /// The value, with every word as text.
    pub(super) fn value(&self) -> Value {
        match self {
            Structure::Quoted(text) | Structure::Bare(text) => Value::from(text.clone()),
            Structure::List(list) => Value::from(list.iter().map(Structure::value).collect::<Vec<_>>()),
            Structure::Table(table) => {
                Value::from(table.iter().map(|(name, part)| (name.clone(), part.value())).collect::<Dict>())
            }
        }
    }

    /// What is in it, by the name or the place.
    pub(super) fn parts(&self) -> Vec<(String, &Structure)> {
        match self {
            Structure::Quoted(_) | Structure::Bare(_) => Vec::new(),
            Structure::List(list) => list.iter().enumerate().map(|(index, part)| (index.to_string(), part)).collect(),
            Structure::Table(table) => table.iter().map(|(name, part)| (name.clone(), part)).collect(),
        }
    }
}

/// The number or the flag that a word is.
pub(super) fn scalar(text: &str) -> Option<Value> {
    let text = text.trim();
    let flag = text.parse::<bool>().map(Value::from);
    let number =
        flag.or_else(|_| text.parse::<u64>().map(Value::from)).or_else(|_| text.parse::<i64>().map(Value::from));
    number.ok().or_else(|| text.contains('.').then(|| text.parse::<f64>().ok().map(Value::from))?)
}

/// The list or the table that a text is, if it is one from its first sign to its last.
pub(super) fn structure(text: &str) -> Option<Structure> {
    let text = text.trim();
    if !text.starts_with(['[', '{']) {
        return None;
    }
    let mut rest = text;
    value(&mut rest, 0).filter(|_| rest.is_empty())
}

fn value(rest: &mut &str, depth: usize) -> Option<Structure> {
    let found = match rest.chars().next()? {
        _ if depth > DEPTH_MAX => return None,
        '[' => Structure::List(list(rest, ']', |rest| value(rest, depth + 1))?),
        '{' => Structure::Table(list(rest, '}', |rest| {
            let name = match quoted(rest) {
                Some(name) => name,
                None => word(rest, |c| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))?,
            };
            eat(rest, '=')?;
            Some((name, value(rest, depth + 1)?))
        })?),
        '"' | '\'' => Structure::Quoted(quoted(rest)?),
        _ => Structure::Bare(word(rest, |c| matches!(c, ',' | '[' | ']' | '{' | '}'))?),
    };
    *rest = rest.trim_start();
    Some(found)
}

/// What stands between two brackets, with commas between.
fn list<T>(rest: &mut &str, end: char, mut one: impl FnMut(&mut &str) -> Option<T>) -> Option<Vec<T>> {
    let mut found = Vec::new();
    *rest = rest.get(1..)?.trim_start();
    while eat(rest, end).is_none() {
        found.push(one(rest)?);
        if eat(rest, ',').is_none() {
            eat(rest, end)?;
            break;
        }
    }
    Some(found)
}

fn eat(rest: &mut &str, sign: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(sign)?.trim_start();
    Some(())
}

/// Text up to a sign that ends it, without the spaces around.
fn word(rest: &mut &str, ends: impl Fn(char) -> bool) -> Option<String> {
    let (word, after) = rest.split_at_checked(rest.find(ends).unwrap_or(rest.len()))?;
    *rest = after;
    Some(word.trim().to_owned()).filter(|word| !word.is_empty())
}

/// Text in quotes, as TOML has it.
fn quoted(rest: &mut &str) -> Option<String> {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut is_escaped = false;
    let is_end = |(_, c): &(usize, char)| {
        let ends = *c == quote && !is_escaped;
        is_escaped = *c == '\\' && quote == '"' && !is_escaped;
        ends
    };
    let (end, _) = rest.char_indices().skip(1).find(is_end)?;
    let (text, after) = rest.split_at_checked(end + 1)?;
    let read = text.parse::<toml_edit::Value>().ok()?;
    *rest = after;
    read.as_str().map(str::to_owned)
}
