//! The `TIDEWIRE_` variables of the environment: which setting each one is for, and what its text can mean. A variable has
//! no types, a setting has: what is given is text as long as the setting takes text. Pure.

mod written;

use super::faults::{join, path_of};
use figment::error::{Actual, Kind};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;

const PREFIX: &str = "TIDEWIRE_";
/// Stands between the names of a key.
const BETWEEN: &str = "__";
/// These say how the process runs, not what flows where.
const NO_SETTINGS: &[&str] = &["config", "log", "failpoint"];

/// What one variable, or a value in the table or list that it holds, can be.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    /// Dotted key of the setting.
    pub key: String,
    /// The variable's name.
    pub variable: String,
    /// The text as it is.
    pub text: String,
    /// What else it can be: a number, a flag, a table, a list.
    other: Option<Value>,
}

impl Reading {
    /// Whether it is a table or a list.
    pub(super) fn is_structure(&self) -> bool {
        matches!(self.other, Some(Value::Dict(..) | Value::Array(..)))
    }
}

/// The variables that are settings.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// Each with the path and the value that it sets, in the order in which they count.
    settings: Vec<(Vec<String>, Value)>,
    readings: Vec<Reading>,
}

impl Environment {
    /// Those of a process's variables that are for us; and the names of those that cannot be read, with the reason.
    pub(super) fn of(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> (Environment, Vec<(String, &'static str)>) {
        let mut ours: Vec<(String, Option<String>)> = variables
            .map(|(name, text)| (name.to_string_lossy().into_owned(), text.into_string().ok()))
            .filter(|(name, _)| name.get(..PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX)))
            .collect();
        ours.sort();
        let (mut environment, mut amiss) = (Environment::default(), Vec::new());
        for (variable, text) in ours {
            let name = variable.get(PREFIX.len()..).unwrap_or_default();
            let key = name.to_ascii_lowercase();
            let path: Vec<String> = key.split(BETWEEN).map(str::to_owned).collect();
            match text {
                _ if NO_SETTINGS.contains(&key.as_str()) => {}
                Some(text) if is_service_link(name, &text) => {}
                _ if path.iter().any(String::is_empty) => {
                    amiss.push((variable, "no key has an empty name: write TIDEWIRE_ADMIN__LISTEN for `admin.listen`"));
                }
                None => amiss.push((variable, "the value is not UTF-8")),
                Some(text) => environment.add(variable, path, text),
            }
        }
        (environment, amiss)
    }

    fn add(&mut self, variable: String, path: Vec<String>, text: String) {
        let key = path.join(".");
        let value = match written::structure(&text) {
            // It comes as a table, so that the file's own table is added to and not replaced.
            Some(structure) => {
                let value = structure.value();
                self.add_parts(&variable, &key, &structure);
                self.readings.push(Reading { key, variable, text, other: Some(value.clone()) });
                value
            }
            None => {
                let value = Value::from(text.clone());
                self.readings.push(Reading { key, variable, other: written::scalar(&text), text });
                value
            }
        };
        self.settings.push((path, value));
    }

    /// The values in a table or a list: each is for a setting of its own.
    fn add_parts(&mut self, variable: &str, key: &str, structure: &written::Structure) {
        for (name, part) in structure.parts() {
            let key = format!("{key}.{name}");
            let (text, other) = match part {
                written::Structure::Quoted(text) => (text.clone(), None),
                written::Structure::Bare(text) => (text.clone(), written::scalar(text)),
                inner => {
                    self.add_parts(variable, &key, inner);
                    continue;
                }
            };
            self.readings.push(Reading { key, variable: variable.to_owned(), text, other });
        }
    }

    /// The variables as layers of a configuration, later ones above.
    pub(super) fn layers(&self) -> impl Iterator<Item = Dict> {
        self.settings.iter().filter_map(|(path, value)| {
            let nest = |inner, name: &String| Value::from(Dict::from([(name.clone(), inner)]));
            path.iter().rev().fold(value.clone(), nest).into_dict()
        })
    }

    /// What gives a key its value, or what is inside it; `in_file`: the key stands in the file, too.
    pub(super) fn origin(&self, key: &str, in_file: bool) -> Option<&Reading> {
        let is_above = |reading: &&Reading| {
            let is_table = matches!(reading.other, Some(Value::Dict(..)));
            let rest = key.strip_prefix(reading.key.as_str());
            rest.is_some_and(
                |rest| if rest.is_empty() { !(is_table && in_file) } else { rest.starts_with('.') && !is_table },
            )
        };
        let above = self.readings.iter().filter(is_above).max_by_key(|reading| reading.key.len());
        above.or_else(|| self.below(key).next().filter(|_| !in_file))
    }

    /// What stands under a key.
    pub(super) fn below(&self, key: &str) -> impl Iterator<Item = &Reading> {
        let is_below = move |rest: &str| !key.is_empty() && rest.starts_with('.');
        self.readings.iter().filter(move |reading| reading.key.strip_prefix(key).is_some_and(is_below))
    }

    /// Reads a value as `T`. Where a setting does not take what came from a variable, it is asked for the other thing
    /// that the text can be, which then stays in `value`.
    pub(super) fn read<T: DeserializeOwned>(&self, prefix: &str, value: &mut Value) -> Result<T, Box<figment::Error>> {
        let mut tried = BTreeSet::new();
        let mut clearer = None;
        loop {
            let error = match value.deserialize::<T>() {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            let path = path_of(&error);
            let Some((reading, place)) = self.untried(prefix, &path, &mut tried) else {
                return Err(Box::new(clearer.unwrap_or(error)));
            };
            let Some((current, other)) = at(value, place).zip(reading.other.clone()) else { continue };
            let was_text = matches!(current, Value::String(..));
            let kept = std::mem::replace(current, if was_text { other } else { Value::from(reading.text.clone()) });
            match value.deserialize::<T>() {
                Ok(read) => return Ok(read),
                Err(next) if !path_of(&next).starts_with(place) => clearer = None,
                Err(next) => {
                    // No text is wanted here at all: what is wrong with the number says more.
                    if was_text && matches!(error.kind, Kind::InvalidType(Actual::Str(_), _)) {
                        clearer = Some(next);
                    }
                    if let Some(current) = at(value, place) {
                        *current = kept;
                    }
                }
            }
        }
    }

    /// What came from a variable on the way to a path, the innermost first, and its own path; each is told once.
    fn untried<'a>(
        &self,
        prefix: &str,
        path: &'a [String],
        tried: &mut BTreeSet<usize>,
    ) -> Option<(&Reading, &'a [String])> {
        (0..=path.len()).rev().find_map(|length| {
            let place = path.get(..length)?;
            let key = join(prefix, place);
            let index = self.readings.iter().rposition(|reading| reading.key == key && reading.other.is_some())?;
            tried.insert(index).then_some((self.readings.get(index)?, place))
        })
    }
}

/// The value at a path.
fn at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| match value {
        Value::Dict(_, dict) => dict.get_mut(name),
        Value::Array(_, list) => list.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Whether a variable is one that Kubernetes sets for a service named `tidewire` or `tidewire-...`, as in
/// `TIDEWIRE_SERVICE_HOST` and `TIDEWIRE_PORT_9187_TCP_ADDR`. Whoever writes a setting writes no such value.
fn is_service_link(name: &str, text: &str) -> bool {
    let ends =
        |name: &str, end: &str| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    let is_port = || text.parse::<u16>().is_ok();
    let is_url = || ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    // A port of a service: PORT_9187_TCP.
    let of_port = |name: &str| {
        let rest = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|protocol| name.strip_suffix(protocol));
        let number = rest.and_then(|rest| rest.rsplit_once('_'));
        number.is_some_and(|(rest, number)| number.parse::<u16>().is_ok() && ends(rest, "PORT"))
    };
    !name.contains(BETWEEN)
        && (ends(name, "SERVICE_HOST") && text.parse::<IpAddr>().is_ok()
            || ends(name, "SERVICE_PORT") && is_port()
            || name.split_once("SERVICE_PORT_").is_some_and(|(rest, _)| ends(rest, "")) && is_port()
            || (ends(name, "PORT") || of_port(name)) && is_url()
            || name.strip_suffix("_PROTO").is_some_and(of_port) && matches!(text, "tcp" | "udp" | "sctp")
            || name.strip_suffix("_PORT").is_some_and(of_port) && is_port()
            || name.strip_suffix("_ADDR").is_some_and(of_port) && text.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests;
