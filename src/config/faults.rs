//! Collects what is wrong with a configuration and finds the place of each fault in the text. Never
//! prints a secret.

use figment::error::Kind;
use figment::value::Value;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::Document;

/// Faults in one section beyond which it is not looked at any further.
const FAULTS_PER_SECTION_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Dotted key; empty for the file as a whole.
    pub key: String,
    /// Line and column, from 1, if the key stands in the file.
    pub place: Option<(usize, usize)>,
    /// The value as written, unless it may hold a secret.
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// All faults of one configuration file.
#[derive(Debug)]
pub(crate) struct Faults {
    path: PathBuf,
    text: String,
    document: Option<Box<Document<String>>>,
    list: Vec<Fault>,
    /// Keys that could not be read and stand at their defaults: what else seems wrong with them is of no interest.
    unread: BTreeSet<String>,
}

impl Faults {
    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Faults {
        let fault = Fault {
            key: String::new(),
            place: None,
            value: None,
            message: format!("the configuration cannot be read: {error}; name it with --config or $TIDEWIRE_CONFIG"),
        };
        Faults {
            path: path.to_owned(),
            text: String::new(),
            document: None,
            list: vec![fault],
            unread: BTreeSet::new(),
        }
    }

    /// Parses the text as TOML; a syntax error is the only fault that hides others.
    pub(crate) fn parse(path: &Path, text: String) -> Result<Faults, Faults> {
        let mut faults =
            Faults { path: path.to_owned(), text, document: None, list: Vec::new(), unread: BTreeSet::new() };
        match Document::parse(faults.text.clone()) {
            Ok(document) => {
                faults.document = Some(Box::new(document));
                Ok(faults)
            }
            Err(error) => {
                let place = error.span().map(|span| faults.line_and_column(span.start));
                let message = error.message().trim().to_owned();
                faults.list.push(Fault { key: String::new(), place, value: None, message });
                Err(faults)
            }
        }
    }

    /// The file's text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a fault at a dotted key.
    pub(crate) fn push(&mut self, key: &str, message: impl Into<String>) {
        if self.unread.contains(key) {
            return;
        }
        let span = self.span_of(key);
        let place = span.as_ref().map(|(key_span, _)| self.line_and_column(key_span.start));
        let value =
            span.and_then(|(_, value)| self.text.get(value?).map(str::trim).map(str::to_owned)).filter(|value| {
                !may_hold_secret(key) && value.len() <= 80 && !value.contains('\n') && !value.starts_with('[')
            });
        self.list.push(Fault { key: key.to_owned(), place, value, message: message.into() });
    }

    /// Reads a value as `T`, adding every fault: a key that is wrong is noted, taken out, and the rest is read again, so
    /// that the rest can be looked at further. `None` when a key that is required is wrong or missing.
    pub(crate) fn extract<T: DeserializeOwned>(&mut self, prefix: &str, mut value: Value) -> Option<T> {
        for _ in 0..FAULTS_PER_SECTION_MAX {
            let error = match value.deserialize::<T>() {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let mut path = error.path.clone();
            // Depending on the depth, the path ends with the field or with its table.
            let field = match &error.kind {
                Kind::UnknownField(name, _) => Some(name.clone()),
                Kind::MissingField(name) => Some(name.to_string()),
                _ => None,
            };
            path.extend(field.filter(|field| path.last() != Some(field)));
            let key = join(prefix, &path);
            self.push(&key, describe(&error.kind, may_hold_secret(&key)));
            if matches!(error.kind, Kind::MissingField(_)) || !remove(&mut value, &path) {
                return None;
            }
            self.unread.insert(key);
        }
        None
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        (line, column)
    }

    /// Spans of a key and its value; for a key that is absent, those of the nearest table that is there.
    fn span_of(&self, key: &str) -> Option<(Range<usize>, Option<Range<usize>>)> {
        let mut table: &dyn toml_edit::TableLike = self.document.as_ref()?.as_table();
        let mut found = None;
        for part in key.split('.').filter(|part| !part.is_empty()) {
            let Some((name, item)) = table.get_key_value(part) else {
                return found.map(|(span, _)| (span, None));
            };
            let key_span = name.span().or_else(|| item.span());
            found = key_span.map(|span| (span, item.is_value().then(|| item.span()).flatten())).or(found);
            match item.as_table_like() {
                Some(inner) => table = inner,
                None => break,
            }
        }
        found
    }
}

impl fmt::Display for Faults {
    /// One line per fault, in the order of the file: `FILE:LINE:COLUMN: KEY = VALUE: MESSAGE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list: Vec<&Fault> = self.list.iter().collect();
        list.sort_by_key(|fault| fault.place);
        for (index, fault) in list.into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some((line, column)) = fault.place {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": ")?;
            if !fault.key.is_empty() {
                write!(f, "{}", fault.key)?;
                if let Some(value) = &fault.value {
                    write!(f, " = {value}")?;
                }
                write!(f, ": ")?;
            }
            write!(f, "{}", fault.message)?;
        }
        Ok(())
    }
}

fn join(prefix: &str, path: &[String]) -> String {
    let parts = std::iter::once(prefix).filter(|p| !p.is_empty()).chain(path.iter().map(String::as_str));
    parts.collect::<Vec<_>>().join(".")
}

fn may_hold_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    ["password", "secret", "token", "url", "key", "credential"].iter().any(|word| last.contains(word))
}

fn describe(kind: &Kind, secret: bool) -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match kind {
        Kind::UnknownField(_, allowed) => format!("unknown key; allowed here: {}", list(allowed)),
        Kind::MissingField(_) => "this key is required".to_owned(),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if secret => {
            format!("wrong type; expected {}", plain(expected))
        }
        Kind::InvalidType(actual, expected) => format!("wrong type {actual}; expected {}", plain(expected)),
        Kind::InvalidValue(actual, expected) => format!("wrong value {actual}; expected {}", plain(expected)),
        Kind::UnknownVariant(actual, allowed) => format!("unknown value `{actual}`; allowed: {}", list(allowed)),
        other => other.to_string(),
    }
}

/// Serde's words, as people who write TOML know them.
fn plain(expected: &impl fmt::Display) -> String {
    match expected.to_string().as_str() {
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// Takes the value at `path` out of the tree.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    let mut current = value;
    for part in parents {
        match current {
            Value::Dict(_, dict) => match dict.get_mut(part) {
                Some(next) => current = next,
                None => return false,
            },
            // A fault inside an array takes the array out: its elements have no keys of their own.
            _ => return false,
        }
    }
    match current {
        Value::Dict(_, dict) => dict.remove(last).is_some(),
        _ => false,
    }
}
