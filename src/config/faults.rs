//! Collects what is wrong with a configuration and finds the place of each fault, in the text or the environment. Never
//! prints a secret.

use super::environment::{Environment, Reading};
use super::hide::{masked, may_hold_secret, scrubbed};
use super::layer::table;
use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
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
    /// The environment variable that gives the value, if it is none of the file's.
    pub variable: Option<String>,
    /// The value, unless it may hold a secret.
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// All faults of one configuration: of the file, and of the variables that override it.
#[derive(Debug)]
pub(crate) struct Faults {
    path: PathBuf,
    text: String,
    document: Option<Box<Document<String>>>,
    environment: Box<Environment>,
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
            variable: None,
            value: None,
            message: format!("the configuration cannot be read: {error}; name it with --config or $TIDEWIRE_CONFIG"),
        };
        Faults {
            path: path.to_owned(),
            text: String::new(),
            document: None,
            environment: Box::default(),
            list: vec![fault],
            unread: BTreeSet::new(),
        }
    }

    /// Parses the text as TOML; a syntax error is the only fault that hides others.
    pub(crate) fn parse(path: &Path, text: String) -> Result<Faults, Faults> {
        let mut faults = Faults {
            path: path.to_owned(),
            text,
            document: None,
            environment: Box::default(),
            list: Vec::new(),
            unread: BTreeSet::new(),
        };
        match Document::parse(faults.text.clone()) {
            Ok(document) => {
                faults.document = Some(Box::new(document));
                Ok(faults)
            }
            Err(error) => {
                let place = error.span().map(|span| faults.line_and_column(span.start));
                let message = error.message().trim().to_owned();
                faults.list.push(Fault { key: String::new(), place, variable: None, value: None, message });
                Err(faults)
            }
        }
    }

    /// The file, as a table.
    pub(super) fn table(&self) -> Dict {
        self.document.as_ref().map(|document| table(document.as_table())).unwrap_or_default()
    }

    /// Takes the variables that override the file, and what is wrong with others.
    pub(super) fn override_by(&mut self, environment: Environment, amiss: Vec<(String, &'static str)>) {
        *self.environment = environment;
        self.list.extend(amiss.into_iter().map(|(variable, message)| Fault {
            key: String::new(),
            place: None,
            variable: Some(variable),
            value: None,
            message: message.to_owned(),
        }));
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a fault at a dotted key, whose value is shown unless it may hold a secret.
    pub(crate) fn push(&mut self, key: &str, message: impl Into<String>) {
        self.add(key, &message.into(), Shown::Value);
    }

    fn add(&mut self, key: &str, message: &str, shown: Shown) {
        if self.unread.contains(key) {
            return;
        }
        let found = self.find(key);
        let in_file = found.as_ref().and_then(|found| found.value);
        let origin = self.environment.origin(key, in_file.is_some());
        let is_secret = may_hold_secret(key);
        let value = match origin {
            Some(reading) => given_value(reading, key, shown),
            None => in_file.and_then(|item| shown_value(&self.text, item, shown)),
        };
        let values = match origin {
            Some(reading) => {
                std::iter::once(reading).chain(self.environment.below(key)).map(|r| r.text.clone()).collect()
            }
            None => in_file.map(texts).unwrap_or_default(),
        };
        let place = found.filter(|_| origin.is_none()).map(|found| self.line_and_column(found.key.start));
        let fault = Fault {
            key: key.to_owned(),
            place,
            variable: origin.map(|reading| reading.variable.clone()),
            value: value.filter(|_| !is_secret),
            message: scrubbed(message, &values, is_secret),
        };
        self.list.push(fault);
    }

    /// Reads a value as `T`, adding every fault: a key that is wrong is noted, taken out, and the rest is read again, so
    /// that the rest can be looked at further. `None` when a key that is required is wrong or missing.
    pub(crate) fn extract<T: DeserializeOwned>(&mut self, prefix: &str, mut value: Value) -> Option<T> {
        for _ in 0..FAULTS_PER_SECTION_MAX {
            let error = match self.environment.read::<T>(prefix, &mut value) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let path = path_of(&error);
            let key = join(prefix, &path);
            self.add(&key, &describe(&error.kind, may_hold_secret(&key)), Shown::of(&error.kind));
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

    /// A key and its value; for a key that is absent, the nearest table that is there.
    fn find(&self, key: &str) -> Option<Found<'_>> {
        let mut table: &dyn toml_edit::TableLike = self.document.as_ref()?.as_table();
        let mut found = None;
        let mut rest = key;
        while !rest.is_empty() {
            let Some((name, item, tail)) = first_of(table, rest) else {
                return found.map(|found| Found { value: None, ..found });
            };
            let span = name.span().or_else(|| item.span());
            found = span.map(|key| Found { key, value: Some(item) }).or(found);
            rest = tail;
            match item.as_table_like() {
                Some(inner) => table = inner,
                None if rest.is_empty() => break,
                None => return found.map(|found| Found { value: None, ..found }),
            }
        }
        found
    }
}

/// Where a key stands, and what it has.
struct Found<'a> {
    key: Range<usize>,
    value: Option<&'a toml_edit::Item>,
}

/// How much of a value may be shown, where its key is none of those that hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// All of it, without passwords of logins.
    Value,
    /// Nothing but `true` and `false`: nobody knows what an unknown key is for.
    Flag,
    /// Nothing: there is a text where keys of all kinds were to stand.
    Nothing,
}

impl Shown {
    fn of(kind: &Kind) -> Shown {
        match kind {
            Kind::UnknownField(..) => Shown::Flag,
            Kind::InvalidType(_, expected) if is_table(&expected.to_string()) => Shown::Nothing,
            _ => Shown::Value,
        }
    }
}

/// The entry of a table that a dotted key begins with: names may have dots themselves.
fn first_of<'a, 'k>(
    table: &'a dyn toml_edit::TableLike,
    key: &'k str,
) -> Option<(&'a toml_edit::Key, &'a toml_edit::Item, &'k str)> {
    let ends = key.match_indices('.').map(|(index, _)| index).chain([key.len()]);
    let mut found = None;
    for end in ends {
        let (name, rest) = key.split_at_checked(end)?;
        if let Some((name, item)) = table.get_key_value(name) {
            found = Some((name, item, rest.strip_prefix('.').unwrap_or(rest)));
        }
    }
    found
}

/// A value for people, if it is short and none that has others inside.
fn shown_value(text: &str, item: &toml_edit::Item, shown: Shown) -> Option<String> {
    let is_shown = match shown {
        Shown::Value => !item.is_array() && !item.is_table_like(),
        Shown::Flag => item.is_bool(),
        Shown::Nothing => false,
    };
    let raw = text.get(item.span()?)?.trim();
    // Escapes could hide an `@` from the mask.
    let value = match item.as_str().map(|text| (text, masked(text))) {
        Some((text, mask)) if mask != text => format!("\"{mask}\""),
        _ => masked(raw),
    };
    (is_shown && item.is_value() && value.len() <= 80 && !value.contains('\n')).then_some(value)
}

/// What a variable gives to a key, as far as it may be shown.
fn given_value(reading: &Reading, key: &str, shown: Shown) -> Option<String> {
    let is_shown = match shown {
        Shown::Value => reading.key == key && !reading.is_structure(),
        Shown::Flag => matches!(reading.text.as_str(), "true" | "false"),
        Shown::Nothing => false,
    };
    let value = format!("\"{}\"", masked(&reading.text));
    (is_shown && value.len() <= 80 && !value.contains('\n')).then_some(value)
}

/// Every value in an item, as text.
fn texts(item: &toml_edit::Item) -> Vec<String> {
    match item {
        toml_edit::Item::Value(value) => texts_of(value),
        toml_edit::Item::Table(table) => table.iter().flat_map(|(_, item)| texts(item)).collect(),
        toml_edit::Item::ArrayOfTables(list) => {
            list.iter().flat_map(|table| table.iter().flat_map(|(_, item)| texts(item)).collect::<Vec<_>>()).collect()
        }
        toml_edit::Item::None => Vec::new(),
    }
}

fn texts_of(value: &toml_edit::Value) -> Vec<String> {
    match value {
        toml_edit::Value::String(text) => vec![text.value().clone()],
        toml_edit::Value::Array(list) => list.iter().flat_map(texts_of).collect(),
        toml_edit::Value::InlineTable(table) => table.iter().flat_map(|(_, value)| texts_of(value)).collect(),
        other => vec![other.to_string().trim().to_owned()],
    }
}

impl fmt::Display for Faults {
    /// One line per fault, in the order of the file: `FILE:LINE:COLUMN: KEY = VALUE: MESSAGE`. Where the environment gives
    /// the value, its variable stands in the file's place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list: Vec<&Fault> = self.list.iter().collect();
        list.sort_by_key(|fault| fault.place);
        for (index, fault) in list.into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &fault.variable {
                Some(variable) => write!(f, "environment variable {}", masked(variable))?,
                None => write!(f, "{}", self.path.display())?,
            }
            if let Some((line, column)) = fault.place {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": ")?;
            if !fault.key.is_empty() {
                write!(f, "{}", masked(&fault.key))?;
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

/// Where in a value an error lies.
pub(super) fn path_of(error: &figment::Error) -> Vec<String> {
    let mut path = error.path.clone();
    // Depending on the depth, the path ends with the field or with its table.
    let field = match &error.kind {
        Kind::UnknownField(name, _) => Some(name.clone()),
        Kind::MissingField(name) => Some(name.to_string()),
        _ => None,
    };
    path.extend(field.filter(|field| path.last() != Some(field)));
    path
}

/// The dotted key of a path.
pub(super) fn join(prefix: &str, path: &[String]) -> String {
    let parts = std::iter::once(prefix).filter(|p| !p.is_empty()).chain(path.iter().map(String::as_str));
    parts.collect::<Vec<_>>().join(".")
}

/// What is wrong, in words that show no secret.
pub(super) fn describe(kind: &Kind, secret: bool) -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match kind {
        Kind::UnknownField(_, allowed) => format!("unknown key; allowed here: {}", list(allowed)),
        Kind::MissingField(_) => "this key is required".to_owned(),
        Kind::InvalidType(actual, expected) if secret || is_table(&expected.to_string()) => {
            format!("wrong type {}; expected {}", kind_of(actual), plain(expected))
        }
        Kind::InvalidValue(_, expected) if secret => format!("wrong value; expected {}", plain(expected)),
        Kind::InvalidType(actual, expected) => format!("wrong type {}; expected {}", shown(actual), plain(expected)),
        Kind::InvalidValue(actual, expected) => format!("wrong value {}; expected {}", shown(actual), plain(expected)),
        Kind::UnknownVariant(_, allowed) if secret => format!("unknown value; allowed: {}", list(allowed)),
        Kind::UnknownVariant(actual, allowed) => {
            format!("unknown value `{}`; allowed: {}", masked(actual), list(allowed))
        }
        other => other.to_string(),
    }
}

/// Serde's words, as people who write TOML know them.
fn plain(expected: &impl fmt::Display) -> String {
    match expected.to_string().as_str() {
        "a sequence" => "a list".to_owned(),
        other if is_table(other) => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// Whether these are Serde's words for a table.
fn is_table(expected: &str) -> bool {
    expected == "a map" || expected.starts_with("struct ")
}

/// What was found, without a password.
fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Str(text) => format!("string {:?}", masked(text)),
        other => other.to_string(),
    }
}

/// What kind of value was found.
fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "number",
        Actual::Char(_) | Actual::Str(_) => "text",
        Actual::Seq => "list",
        Actual::Map => "table",
        _ => "value",
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
